/* Batches: grouping, cuts at every limit, no allocation once warm. */
#include "test.h"

#include "gleaner/otlp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX = 1 << 24 };

/* What the callback saw, in order. */
struct sink {
	struct buf text; /* of all requests, "request\n" before each */
	uint32_t requests, points, metrics, resources;
	uint64_t t_min_ns, t_max_ns;
	uint32_t most_points;
	size_t most_bytes;
	int answer;
};

static int sink_request(void *arg, const struct otlp_request *request)
{
	struct sink *sink = arg;
	struct otlp_counts counts;
	assert_int_equal(otlp_count(request->body, &counts), 0);
	assert_int_equal(counts.points, request->points);
	assert_int_equal(counts.metrics, request->metrics);
	assert_int_equal(counts.resources, request->resources);
	sink->requests++;
	sink->points += request->points;
	sink->metrics += request->metrics;
	sink->resources += request->resources;
	sink->t_min_ns = request->t_min_ns;
	sink->t_max_ns = request->t_max_ns;
	if (request->points > sink->most_points)
		sink->most_points = request->points;
	if (request->body.len > sink->most_bytes)
		sink->most_bytes = request->body.len;
	buf_str(&sink->text, "request\n");
	assert_int_equal(otlp_text(request->body, &sink->text), 0);
	return sink->answer;
}

/* Levels and records that the tests share. */
struct parts {
	struct buf resource, scope, heads[3], records;
	size_t record_len; /* all records have this length */
	struct sink sink;
	struct otlp_batch *batch;
};

static void parts_init(struct parts *parts, uint32_t records, struct otlp_batch_limits limits)
{
	*parts = (struct parts){.record_len = 0};
	buf_init(&parts->resource, MAX);
	buf_init(&parts->scope, MAX);
	buf_init(&parts->records, MAX);
	buf_init(&parts->sink.text, MAX);
	otlp_resource_attribute(&parts->resource, SPAN("service.name"), SPAN("my-app"));
	otlp_resource_attribute(&parts->resource, SPAN("service.instance.id"), SPAN("10.0.0.1:80"));
	struct buf scope_attributes;
	buf_init(&scope_attributes, MAX);
	otlp_resource_attribute(&scope_attributes, SPAN("k"), SPAN("v"));
	assert_int_equal(otlp_scope(&parts->scope, SPAN("gleaner"), SPAN("0.1.0"), buf_view(&scope_attributes)), 0);
	buf_done(&scope_attributes);
	for (int i = 0; i < 3; i++) {
		char name[] = {'m', (char)('0' + i)};
		buf_init(&parts->heads[i], MAX);
		assert_int_equal(otlp_metric_head(&parts->heads[i], span_of(name, 2), SPAN("What it is."), SPAN("s"),
					 SPAN("counter")),
			0);
	}
	for (uint32_t i = 0; i < records; i++) {
		struct buf attributes;
		char number[16];
		buf_init(&attributes, MAX);
		snprintf(number, sizeof(number), "%06" PRIu32, i);
		otlp_point_attribute(&attributes, OTLP_SUM, SPAN("n"), span_str(number));
		assert_int_equal(otlp_number_record(&parts->records, buf_view(&attributes)), 0);
		otlp_number_patch(parts->records.ptr + parts->records.len, 0, 1000, i);
		buf_done(&attributes);
	}
	parts->record_len = records > 0 ? parts->records.len / records : 0;
	assert_int_equal(otlp_batch_new(limits, sink_request, &parts->sink, &parts->batch), 0);
}

static void parts_done(struct parts *parts)
{
	otlp_batch_free(parts->batch);
	buf_done(&parts->resource);
	buf_done(&parts->scope);
	for (int i = 0; i < 3; i++)
		buf_done(&parts->heads[i]);
	buf_done(&parts->records);
	buf_done(&parts->sink.text);
}

static void open_levels(struct parts *parts)
{
	assert_int_equal(otlp_batch_resource(parts->batch, buf_view(&parts->resource)), 0);
	assert_int_equal(otlp_batch_scope(parts->batch, buf_view(&parts->scope), SPAN("http://schema")), 0);
}

static int add(struct parts *parts, int metric, uint32_t first, uint32_t count)
{
	otlp_batch_metric(parts->batch, buf_view(&parts->heads[metric]), OTLP_SUM);
	return otlp_batch_points(parts->batch,
		span_of(parts->records.ptr + first * parts->record_len, count * parts->record_len), count, 1000, 1000);
}

static void finish(struct parts *parts)
{
	assert_int_equal(otlp_batch_end(parts->batch), 0);
	assert_int_equal(otlp_batch_seal(parts->batch), 0);
	assert_int_equal(otlp_batch_pending_points(parts->batch), 0);
}

static const struct otlp_batch_limits ROOMY = {8192, 3 << 20};

static void points_are_grouped_under_their_levels(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 4, ROOMY);
	struct buf other;
	buf_init(&other, MAX);
	otlp_resource_attribute(&other, SPAN("service.name"), SPAN("other"));
	open_levels(&parts);
	assert_int_equal(add(&parts, 0, 0, 2), 0);
	assert_int_equal(add(&parts, 1, 2, 1), 0);
	assert_int_equal(otlp_batch_scope(parts.batch, SPAN_NONE, SPAN_NONE), 0);
	assert_int_equal(add(&parts, 1, 3, 1), 0);
	assert_int_equal(otlp_batch_resource(parts.batch, buf_view(&other)), 0);
	assert_int_equal(otlp_batch_scope(parts.batch, SPAN_NONE, SPAN_NONE), 0);
	assert_int_equal(add(&parts, 1, 0, 1), 0);
	assert_int_equal(otlp_batch_pending_points(parts.batch), 5);
	finish(&parts);
	test_assert_text(buf_view(&parts.sink.text),
		"request\n"
		"resource service.name=\"my-app\" service.instance.id=\"10.0.0.1:80\"\n"
		" scope \"gleaner\" \"0.1.0\" k=\"v\" schema_url=\"http://schema\"\n"
		"  metric \"m0\" sum cumulative monotonic unit=\"s\" type=\"counter\" description=\"What it is.\"\n"
		"   point {n=\"000000\"} start=0 time=1000 value=0\n"
		"   point {n=\"000001\"} start=0 time=1000 value=1\n"
		"  metric \"m1\" sum cumulative monotonic unit=\"s\" type=\"counter\" description=\"What it is.\"\n"
		"   point {n=\"000002\"} start=0 time=1000 value=2\n"
		" scope \"\" \"\"\n"
		"  metric \"m1\" sum cumulative monotonic unit=\"s\" type=\"counter\" description=\"What it is.\"\n"
		"   point {n=\"000003\"} start=0 time=1000 value=3\n"
		"resource service.name=\"other\"\n"
		" scope \"\" \"\"\n"
		"  metric \"m1\" sum cumulative monotonic unit=\"s\" type=\"counter\" description=\"What it is.\"\n"
		"   point {n=\"000000\"} start=0 time=1000 value=0\n");
	buf_done(&other);
	parts_done(&parts);
}

static void every_kind_of_data_gets_its_field_and_temporality(void **state)
{
	(void)state;
	static const char *const kinds[] = {
		[OTLP_GAUGE] = "gauge",
		[OTLP_SUM] = "sum cumulative monotonic",
		[OTLP_SUM_NONMONOTONIC] = "sum cumulative",
		[OTLP_HISTOGRAM] = "histogram cumulative",
		[OTLP_SUMMARY] = "summary",
	};
	for (size_t data = 0; data < ARRAY_SIZE(kinds); data++) {
		struct parts parts;
		char expected[128];
		struct buf record;
		buf_init(&record, MAX);
		parts_init(&parts, 0, ROOMY);
		/* An empty message is a point of any kind. */
		buf_append(&record, "\x0a\x00", 2);
		otlp_batch_metric(parts.batch, SPAN_NONE, (enum otlp_data)data);
		assert_int_equal(otlp_batch_points(parts.batch, buf_view(&record), 1, 1, 1), 0);
		finish(&parts);
		snprintf(expected, sizeof(expected), "  metric \"\" %s unit=\"\" description=\"\"\n", kinds[data]);
		buf_char(&parts.sink.text, '\0');
		assert_non_null(strstr(parts.sink.text.ptr, expected));
		buf_done(&record);
		parts_done(&parts);
	}
}

static void levels_without_points_leave_no_bytes(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 1, ROOMY);
	open_levels(&parts);
	otlp_batch_metric(parts.batch, buf_view(&parts.heads[0]), OTLP_SUM);
	finish(&parts);
	assert_int_equal(parts.sink.requests, 0);
	open_levels(&parts);
	assert_int_equal(add(&parts, 0, 0, 0), 0);
	assert_int_equal(add(&parts, 1, 0, 1), 0);
	assert_int_equal(add(&parts, 2, 0, 0), 0);
	finish(&parts);
	assert_int_equal(parts.sink.requests, 1);
	assert_int_equal(parts.sink.metrics, 1);
	parts_done(&parts);
}

static void a_level_announced_again_with_the_same_bytes_goes_on(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 3, ROOMY);
	open_levels(&parts);
	assert_int_equal(add(&parts, 0, 0, 1), 0);
	open_levels(&parts);
	assert_int_equal(add(&parts, 0, 1, 1), 0);
	assert_int_equal(otlp_batch_end(parts.batch), 0);
	/* Ended: the next scrape's resource is one of its own, be it equal. */
	open_levels(&parts);
	assert_int_equal(add(&parts, 0, 2, 1), 0);
	finish(&parts);
	assert_int_equal(parts.sink.resources, 2);
	assert_int_equal(parts.sink.metrics, 2);
	parts_done(&parts);
}

/* The series engine may build every head in one scratch buffer. */
static void a_head_in_reused_memory_is_a_new_metric(void **state)
{
	(void)state;
	struct parts parts;
	char scratch[64];
	parts_init(&parts, 2, ROOMY);
	for (uint32_t i = 0; i < 2; i++) {
		struct span head = span_of(scratch, parts.heads[i].len);
		memcpy(scratch, parts.heads[i].ptr, head.len);
		otlp_batch_metric(parts.batch, head, OTLP_SUM);
		assert_int_equal(
			otlp_batch_points(parts.batch, span_of(parts.records.ptr, parts.record_len), 1, 1, 1), 0);
	}
	finish(&parts);
	assert_int_equal(parts.sink.metrics, 2);
	parts_done(&parts);
}

/* All points exactly once and in order, whatever the cuts. */
static void assert_all_once(const struct sink *sink, uint32_t metrics, uint32_t points)
{
	struct span rest = buf_view(&sink->text), line;
	uint32_t metric = 0, n = 0, seen = 0;
	while (span_next(&rest, '\n', &line)) {
		char expected[64];
		if (span_starts_with(line, SPAN("  metric \"m"))) {
			uint32_t next = (uint32_t)(line.ptr[11] - '0');
			assert_true(next == metric || (next == metric + 1 && n == points));
			n = next == metric ? n : 0;
			metric = next;
		} else if (span_starts_with(line, SPAN("   point"))) {
			snprintf(expected, sizeof(expected),
				"   point {n=\"%06" PRIu32 "\"} start=0 time=1000 value=%" PRIu32, n, n);
			assert_true(span_eq(line, span_str(expected)));
			n++;
			seen++;
		}
	}
	assert_int_equal(seen, metrics * points);
	assert_int_equal(sink->points, seen);
}

static void a_cut_at_any_number_of_points_loses_nothing(void **state)
{
	(void)state;
	for (uint32_t max_points = 1; max_points <= 31; max_points++) {
		struct parts parts;
		parts_init(&parts, 10, (struct otlp_batch_limits){max_points, 3 << 20});
		open_levels(&parts);
		for (int metric = 0; metric < 3; metric++)
			assert_int_equal(add(&parts, metric, 0, 10), 0);
		finish(&parts);
		assert_all_once(&parts.sink, 3, 10);
		assert_int_equal(parts.sink.requests, (30 + max_points - 1) / max_points);
		assert_int_equal(parts.sink.most_points, max_points < 30 ? max_points : 30);
		parts_done(&parts);
	}
}

static void a_cut_at_any_number_of_bytes_loses_nothing(void **state)
{
	(void)state;
	for (size_t max_bytes = 1; max_bytes < 1700; max_bytes += max_bytes < 400 ? 1 : 7) {
		struct parts parts;
		parts_init(&parts, 10, (struct otlp_batch_limits){8192, max_bytes});
		open_levels(&parts);
		for (int metric = 0; metric < 3; metric++)
			assert_int_equal(add(&parts, metric, 0, 10), 0);
		finish(&parts);
		assert_all_once(&parts.sink, 3, 10);
		/* Only a request that holds a single point may be larger than asked for. */
		assert_true(parts.sink.most_bytes <= max_bytes || parts.sink.most_points == 1);
		parts_done(&parts);
	}
}

static void a_request_carries_the_range_of_its_times(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 4, (struct otlp_batch_limits){3, 3 << 20});
	open_levels(&parts);
	struct span record = span_of(parts.records.ptr, parts.record_len);
	otlp_batch_metric(parts.batch, buf_view(&parts.heads[0]), OTLP_SUM);
	assert_int_equal(otlp_batch_points(parts.batch, record, 1, 50, 60), 0);
	assert_int_equal(otlp_batch_points(parts.batch, record, 1, 40, 45), 0);
	assert_int_equal(otlp_batch_points(parts.batch, record, 1, 55, 59), 0);
	assert_int_equal(otlp_batch_points(parts.batch, record, 1, 70, 80), 0);
	assert_true(parts.sink.t_min_ns == 40 && parts.sink.t_max_ns == 60);
	finish(&parts);
	assert_true(parts.sink.t_min_ns == 70 && parts.sink.t_max_ns == 80);
	parts_done(&parts);
}

static void what_the_callback_answers_is_passed_on(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 3, (struct otlp_batch_limits){2, 3 << 20});
	parts.sink.answer = -EPIPE;
	open_levels(&parts);
	assert_int_equal(add(&parts, 0, 0, 3), -EPIPE);
	assert_int_equal(otlp_batch_pending_points(parts.batch), 0);
	parts.sink.answer = 0;
	assert_int_equal(add(&parts, 0, 2, 1), 0);
	parts.sink.answer = -EPIPE;
	otlp_batch_end(parts.batch);
	assert_int_equal(otlp_batch_seal(parts.batch), -EPIPE);
	assert_int_equal(otlp_batch_seal(parts.batch), 0);
	assert_int_equal(parts.sink.points, 3);
	parts_done(&parts);
}

static void a_run_with_fewer_records_than_said_is_refused(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 3, (struct otlp_batch_limits){2, 3 << 20});
	open_levels(&parts);
	otlp_batch_metric(parts.batch, buf_view(&parts.heads[0]), OTLP_SUM);
	assert_int_equal(
		otlp_batch_points(parts.batch, span_of(parts.records.ptr, parts.record_len), 3, 1, 1), -EINVAL);
	assert_int_equal(otlp_batch_points(parts.batch, span_of(parts.records.ptr, 5), 3, 1, 1), -EINVAL);
	parts_done(&parts);
}

static void limits_that_cannot_be_kept_are_refused(void **state)
{
	(void)state;
	struct otlp_batch *batch = NULL;
	assert_int_equal(otlp_batch_new((struct otlp_batch_limits){0, 1}, sink_request, NULL, &batch), -EINVAL);
	assert_int_equal(otlp_batch_new((struct otlp_batch_limits){1, 0}, sink_request, NULL, &batch), -EINVAL);
	assert_int_equal(otlp_batch_new((struct otlp_batch_limits){1, 1 << 28}, sink_request, NULL, &batch), -EINVAL);
	assert_null(batch);
	otlp_batch_free(NULL);
}

static int ignore_request(void *arg, const struct otlp_request *request)
{
	(void)arg;
	(void)request;
	return 0;
}

static void a_warm_batch_allocates_nothing(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 100, ROOMY);
	struct otlp_batch *batch = NULL;
	assert_int_equal(otlp_batch_new((struct otlp_batch_limits){150, 3 << 20}, ignore_request, NULL, &batch), 0);
	otlp_batch_free(parts.batch);
	parts.batch = batch;
	size_t before = 0;
	for (int scrape = 0; scrape < 20; scrape++) {
		if (scrape == 3)
			before = test_allocations();
		open_levels(&parts);
		for (int metric = 0; metric < 3; metric++)
			assert_int_equal(add(&parts, metric, 0, 100), 0);
		finish(&parts);
	}
	assert_int_equal(test_allocations(), before);
	parts_done(&parts);
}

static int attempt(void *arg)
{
	struct parts *parts = arg;
	struct otlp_batch *batch = NULL;
	int result = otlp_batch_new((struct otlp_batch_limits){50, 3 << 20}, ignore_request, NULL, &batch);
	if (result < 0)
		return result;
	otlp_batch_metric(batch, buf_view(&parts->heads[0]), OTLP_SUM);
	result = otlp_batch_points(batch, buf_view(&parts->records), 100, 1, 1);
	otlp_batch_free(batch);
	return result;
}

static void out_of_memory_is_an_error_and_no_leak(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 100, ROOMY);
	test_out_of_memory(attempt, &parts);
	parts_done(&parts);
}

static void a_batch_goes_on_after_out_of_memory(void **state)
{
	(void)state;
	struct parts parts;
	parts_init(&parts, 10, ROOMY);
	open_levels(&parts);
	test_allocation_fail_after(0);
	int result = add(&parts, 0, 0, 10);
	test_allocation_heal();
	assert_int_equal(result, -ENOMEM);
	assert_int_equal(add(&parts, 0, 0, 10), 0);
	finish(&parts);
	assert_all_once(&parts.sink, 1, 10);
	parts_done(&parts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_are_grouped_under_their_levels),
		cmocka_unit_test(every_kind_of_data_gets_its_field_and_temporality),
		cmocka_unit_test(levels_without_points_leave_no_bytes),
		cmocka_unit_test(a_level_announced_again_with_the_same_bytes_goes_on),
		cmocka_unit_test(a_head_in_reused_memory_is_a_new_metric),
		cmocka_unit_test(a_cut_at_any_number_of_points_loses_nothing),
		cmocka_unit_test(a_cut_at_any_number_of_bytes_loses_nothing),
		cmocka_unit_test(a_request_carries_the_range_of_its_times),
		cmocka_unit_test(what_the_callback_answers_is_passed_on),
		cmocka_unit_test(a_run_with_fewer_records_than_said_is_refused),
		cmocka_unit_test(limits_that_cannot_be_kept_are_refused),
		cmocka_unit_test(a_warm_batch_allocates_nothing),
		cmocka_unit_test(out_of_memory_is_an_error_and_no_leak),
		cmocka_unit_test(a_batch_goes_on_after_out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
