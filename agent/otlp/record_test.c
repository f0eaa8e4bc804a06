/* Records, patches, heads: what is written here is read by protobuf-c and compared as text. */
#include "test.h"

#include "gleaner/otlp.h"

#include "encode.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { MAX = 1 << 20 };

/* The text of the one request that the batch seals. */
static int keep_text(void *arg, const struct otlp_request *request)
{
	return otlp_text(request->body, arg);
}

/* Puts records under a metric of that kind and returns the lines below the metric's. */
static void assert_points(enum otlp_data data, const struct buf *records, uint32_t count, const char *expected)
{
	struct buf text, head;
	struct otlp_batch *batch = NULL;
	buf_init(&text, MAX);
	buf_init(&head, MAX);
	assert_int_equal(otlp_metric_head(&head, SPAN("m"), SPAN_NONE, SPAN_NONE, SPAN_NONE), 0);
	assert_int_equal(otlp_batch_new((struct otlp_batch_limits){8192, MAX}, keep_text, &text, &batch), 0);
	assert_int_equal(otlp_batch_resource(batch, SPAN_NONE), 0);
	assert_int_equal(otlp_batch_scope(batch, SPAN_NONE, SPAN_NONE), 0);
	assert_int_equal(otlp_batch_metric(batch, buf_view(&head), data), 0);
	assert_int_equal(otlp_batch_points(batch, buf_view(records), count, 1, 1), 0);
	assert_int_equal(otlp_batch_end(batch), 0);
	assert_int_equal(otlp_batch_seal(batch), 0);
	struct span lines = buf_view(&text), line;
	for (int i = 0; i < 3; i++)
		assert_true(span_next(&lines, '\n', &line));
	test_assert_text(lines, expected);
	otlp_batch_free(batch);
	buf_done(&text);
	buf_done(&head);
}

static void number_records_are_patched_in_place(void **state)
{
	(void)state;
	struct buf attributes, records;
	buf_init(&attributes, MAX);
	buf_init(&records, MAX);
	otlp_point_attribute(&attributes, OTLP_GAUGE, SPAN("code"), SPAN("200"));
	otlp_point_attribute(&attributes, OTLP_GAUGE, SPAN("nul"), span_of("a\0b\"", 4));
	assert_int_equal(otlp_number_record(&records, buf_view(&attributes)), 0);
	size_t first = records.len;
	assert_int_equal(otlp_number_record(&records, SPAN_NONE), 0);
	otlp_number_patch(records.ptr + first, 3, 1700000000000000000, 0.1);
	otlp_number_patch(records.ptr + records.len, 0, 5, -INFINITY);
	otlp_number_patch(records.ptr + records.len, 0, 6, NAN);
	assert_points(OTLP_GAUGE, &records, 2,
		"   point {code=\"200\",nul=\"a\\u0000b\\\"\"} start=3 time=1700000000000000000 value=0.1\n"
		"   point {} start=0 time=6 value=NaN\n");
	buf_done(&attributes);
	buf_done(&records);
}

static void histogram_records_are_patched_in_place(void **state)
{
	(void)state;
	struct buf attributes, records;
	buf_init(&attributes, MAX);
	buf_init(&records, MAX);
	const double bounds[] = {0.5, 1, 1e300};
	const uint64_t counts[] = {1, 2, 3, UINT64_MAX};
	otlp_point_attribute(&attributes, OTLP_HISTOGRAM, SPAN("a.b"), SPAN("\xe2\x82\xac"));
	assert_int_equal(otlp_histogram_record(&records, buf_view(&attributes), bounds, 3, true), 0);
	otlp_histogram_patch(records.ptr + records.len, 7, 8, 9, 10.5, true, counts, 4);
	assert_int_equal(otlp_histogram_record(&records, buf_view(&attributes), bounds, 2, false), 0);
	otlp_histogram_patch(records.ptr + records.len, 1, 2, 6, 10.5, false, counts, 3);
	assert_int_equal(otlp_histogram_record(&records, SPAN_NONE, NULL, 0, true), 0);
	otlp_histogram_patch(records.ptr + records.len, 0, 1, 5, NAN, true, counts + 1, 1);
	assert_points(OTLP_HISTOGRAM, &records, 3,
		"   point {a.b=\"\xe2\x82\xac\"} start=7 time=8 count=9 sum=10.5 bounds=[0.5,1,1e+300] "
		"counts=[1,2,3,18446744073709551615]\n"
		"   point {a.b=\"\xe2\x82\xac\"} start=1 time=2 count=6 bounds=[0.5,1] counts=[1,2,3]\n"
		"   point {} start=0 time=1 count=5 sum=NaN bounds=[] counts=[2]\n");
	buf_done(&attributes);
	buf_done(&records);
}

static void summary_records_are_patched_in_place(void **state)
{
	(void)state;
	struct buf attributes, records;
	buf_init(&attributes, MAX);
	buf_init(&records, MAX);
	const double quantiles[] = {0, 0.5, 0.99}, values[] = {1, 1.5, NAN};
	otlp_point_attribute(&attributes, OTLP_SUMMARY, SPAN("k"), SPAN("v"));
	assert_int_equal(otlp_summary_record(&records, buf_view(&attributes), quantiles, 3), 0);
	otlp_summary_patch(records.ptr + records.len, 1, 2, 3, 4.5, values, 3);
	assert_int_equal(otlp_summary_record(&records, SPAN_NONE, NULL, 0), 0);
	otlp_summary_patch(records.ptr + records.len, 0, 2, 3, -4.5, NULL, 0);
	assert_points(OTLP_SUMMARY, &records, 2,
		"   point {k=\"v\"} start=1 time=2 count=3 sum=4.5 quantiles={0:1,0.5:1.5,0.99:NaN}\n"
		"   point {} start=0 time=2 count=3 sum=-4.5 quantiles={}\n");
	buf_done(&attributes);
	buf_done(&records);
}

/* semantics */
static void flagged_points_keep_attributes_bounds_and_quantiles(void **state)
{
	(void)state;
	struct buf attributes, live, records;
	const double steps[] = {0.5, 1}, values[] = {8, 9};
	const uint64_t counts[] = {1, 2, 3};
	buf_init(&attributes, MAX);
	buf_init(&live, MAX);
	buf_init(&records, MAX);
	otlp_point_attribute(&attributes, OTLP_SUM, SPAN("k"), SPAN("v"));
	otlp_number_record(&live, buf_view(&attributes));
	otlp_number_patch(live.ptr + live.len, 1, 2, 3);
	assert_int_equal(otlp_flagged_record(&records, OTLP_SUM, buf_view(&live), 77), 0);
	assert_points(OTLP_SUM, &records, 1, "   point {k=\"v\"} start=0 time=77 no_recorded_value\n");

	buf_reset(&live);
	buf_reset(&records);
	otlp_summary_record(&live, buf_view(&attributes), steps, 2);
	otlp_summary_patch(live.ptr + live.len, 1, 2, 3, 4, values, 2);
	assert_int_equal(otlp_flagged_record(&records, OTLP_SUMMARY, buf_view(&live), 78), 0);
	assert_points(OTLP_SUMMARY, &records, 1,
		"   point {k=\"v\"} start=0 time=78 no_recorded_value quantiles={0.5:0,1:0}\n");

	buf_reset(&attributes);
	buf_reset(&live);
	buf_reset(&records);
	otlp_point_attribute(&attributes, OTLP_HISTOGRAM, SPAN("k"), SPAN("v"));
	otlp_histogram_record(&live, buf_view(&attributes), steps, 2, true);
	otlp_histogram_patch(live.ptr + live.len, 1, 2, 6, 4, true, counts, 3);
	assert_int_equal(otlp_flagged_record(&records, OTLP_HISTOGRAM, buf_view(&live), 79), 0);
	assert_points(OTLP_HISTOGRAM, &records, 1,
		"   point {k=\"v\"} start=0 time=79 no_recorded_value bounds=[0.5,1] counts=[0,0,0]\n");
	buf_done(&attributes);
	buf_done(&live);
	buf_done(&records);
}

static void exemplars_leave_the_tail_patchable(void **state)
{
	(void)state;
	struct buf attributes, live, records, exemplar_attributes;
	const double bounds[] = {1};
	const uint64_t counts[] = {1, 2};
	buf_init(&attributes, MAX);
	buf_init(&live, MAX);
	buf_init(&records, MAX);
	buf_init(&exemplar_attributes, MAX);
	otlp_exemplar_attribute(&exemplar_attributes, SPAN("user"), SPAN("x"));
	const struct otlp_exemplar exemplars[] = {
		{.value = 0.5, .time_ns = 4, .attributes = buf_view(&exemplar_attributes)},
		{.value = 2,
			.time_ns = 5,
			.trace_id = SPAN("0123456789abcdef"),
			.span_id = SPAN("\x01\x02\x03\x04\x05\x06\x07\x08")},
	};
	otlp_point_attribute(&attributes, OTLP_HISTOGRAM, SPAN("k"), SPAN("v"));
	otlp_histogram_record(&live, buf_view(&attributes), bounds, 1, true);
	assert_int_equal(otlp_record_with_exemplars(&records, OTLP_HISTOGRAM, buf_view(&live), exemplars, 2), 0);
	otlp_histogram_patch(records.ptr + records.len, 1, 2, 3, 4, true, counts, 2);
	assert_points(OTLP_HISTOGRAM, &records, 1,
		"   point {k=\"v\"} start=1 time=2 count=3 sum=4 bounds=[1] counts=[1,2]\n"
		"    exemplar value=0.5 time=4 trace_id= span_id= {user=\"x\"}\n"
		"    exemplar value=2 time=5 trace_id=30313233343536373839616263646566 span_id=0102030405060708 {}\n");

	buf_reset(&live);
	buf_reset(&records);
	otlp_number_record(&live, SPAN_NONE);
	assert_int_equal(otlp_record_with_exemplars(&records, OTLP_SUM, buf_view(&live), exemplars, 1), 0);
	otlp_number_patch(records.ptr + records.len, 1, 2, 3);
	assert_points(OTLP_SUM, &records, 1,
		"   point {} start=1 time=2 value=3\n"
		"    exemplar value=0.5 time=4 trace_id= span_id= {user=\"x\"}\n");
	buf_done(&attributes);
	buf_done(&live);
	buf_done(&records);
	buf_done(&exemplar_attributes);
}

/* Every length of key and value around the places where a varint grows. */
static void attributes_of_any_length_are_read_back(void **state)
{
	(void)state;
	char *bytes = malloc(20000);
	memset(bytes, 'x', 20000);
	const size_t lengths[] = {0, 1, 100, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16370, 16380,
		16381, 16382, 16383, 16384, 16390};
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct buf attributes, records, expected;
		buf_init(&attributes, MAX);
		buf_init(&records, MAX);
		buf_init(&expected, MAX);
		otlp_point_attribute(&attributes, OTLP_GAUGE, SPAN("k"), span_of(bytes, lengths[i]));
		otlp_point_attribute(&attributes, OTLP_GAUGE, span_of(bytes, lengths[i]), SPAN("v"));
		otlp_number_record(&records, buf_view(&attributes));
		buf_printf(&expected, "   point {k=\"%.*s\",%s%.*s%s=\"v\"} start=0 time=0 value=0\n", (int)lengths[i],
			bytes, lengths[i] > 0 ? "" : "\"", (int)lengths[i], bytes, lengths[i] > 0 ? "" : "\"");
		buf_char(&expected, '\0');
		assert_points(OTLP_GAUGE, &records, 1, expected.ptr);
		buf_done(&attributes);
		buf_done(&records);
		buf_done(&expected);
	}
	free(bytes);
}

static void varints_have_the_size_that_is_written(void **state)
{
	(void)state;
	char at[16];
	for (unsigned shift = 0; shift < 64; shift++) {
		uint64_t power = UINT64_C(1) << shift;
		assert_int_equal(put_varint(at, power) - at, varint_size(power));
		assert_int_equal(put_varint(at, power - 1) - at, varint_size(power - 1));
	}
	assert_int_equal(varint_size(UINT64_MAX), 10);
}

static void what_is_no_record_is_refused(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, MAX);
	assert_int_equal(otlp_flagged_record(&out, OTLP_SUM, SPAN_NONE, 1), -EBADMSG);
	assert_int_equal(otlp_flagged_record(&out, OTLP_SUM, SPAN("\x0a\x05x"), 1), -EBADMSG);
	assert_int_equal(otlp_flagged_record(&out, OTLP_SUM, SPAN("\x0a\x02\x3a\x01"), 1), -EBADMSG);
	assert_int_equal(otlp_flagged_record(&out, OTLP_SUM, SPAN("\x0a\x01\x07"), 1), -EBADMSG);
	assert_int_equal(otlp_record_with_exemplars(&out, OTLP_SUM, SPAN("\x12\x00"), NULL, 0), -EBADMSG);
	assert_int_equal(otlp_scope(&out, SPAN("n"), SPAN("v"), SPAN("\x12\x00")), -EBADMSG);
	buf_done(&out);
}

static void every_append_respects_the_ceiling(void **state)
{
	(void)state;
	struct buf whole, small;
	const double steps[] = {1, 2};
	buf_init(&whole, MAX);
	otlp_number_record(&whole, SPAN_NONE);
	for (size_t max = 0; max < 16; max++) {
		buf_init(&small, max);
		assert_int_equal(otlp_point_attribute(&small, OTLP_SUM, SPAN("key"), SPAN("long value")), -EMSGSIZE);
		assert_int_equal(small.len, 0);
		buf_done(&small);
		buf_init(&small, max);
		assert_int_equal(otlp_number_record(&small, SPAN_NONE), -EMSGSIZE);
		buf_done(&small);
		buf_init(&small, max);
		assert_int_equal(otlp_histogram_record(&small, SPAN_NONE, steps, 2, true), -EMSGSIZE);
		buf_done(&small);
		buf_init(&small, max);
		assert_int_equal(otlp_summary_record(&small, SPAN_NONE, steps, 2), -EMSGSIZE);
		buf_done(&small);
		buf_init(&small, max < 12 ? max : 12);
		assert_int_equal(otlp_flagged_record(&small, OTLP_SUM, buf_view(&whole), 1), -EMSGSIZE);
		buf_done(&small);
		buf_init(&small, max);
		assert_int_equal(otlp_record_with_exemplars(&small, OTLP_SUM, buf_view(&whole), NULL, 0), -EMSGSIZE);
		buf_done(&small);
	}
	buf_done(&whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(number_records_are_patched_in_place),
		cmocka_unit_test(histogram_records_are_patched_in_place),
		cmocka_unit_test(summary_records_are_patched_in_place),
		cmocka_unit_test(flagged_points_keep_attributes_bounds_and_quantiles),
		cmocka_unit_test(exemplars_leave_the_tail_patchable),
		cmocka_unit_test(attributes_of_any_length_are_read_back),
		cmocka_unit_test(varints_have_the_size_that_is_written),
		cmocka_unit_test(what_is_no_record_is_refused),
		cmocka_unit_test(every_append_respects_the_ceiling),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
