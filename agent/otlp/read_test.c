/* The readers against what a real Collector printed for the same bytes (tests/golden/otlp/README.md) and garbage. */
#include "test.h"

#include "gleaner/otlp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX = 1 << 22 };

static const char *const requests[] = {"written", "foreign"};

/* tests/golden/otlp/NAME.SUFFIX */
static struct span golden(const char *name, const char *suffix)
{
	char path[128];
	snprintf(path, sizeof(path), "golden/otlp/%s.%s", name, suffix);
	return test_file(path);
}

/* The message of the second log line: what stands between "info\t" and "\t{". */
static struct span second_message(const struct buf *log)
{
	struct span rest = buf_view(log), first;
	assert_true(span_next(&rest, '\n', &first));
	struct span prefix = SPAN("2026-11-24T09:04:11.610Z\tinfo\t");
	assert_true(span_starts_with(rest, prefix));
	const char *end = memmem(rest.ptr, rest.len, "\n\t{\"resource\"", 13);
	assert_non_null(end);
	return span_of(rest.ptr + prefix.len, (size_t)(end + 1 - rest.ptr) - prefix.len);
}

static void assert_debug(enum otlp_verbosity verbosity, const char *suffix)
{
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct span request = golden(requests[i], "pb"), expected = golden(requests[i], suffix);
		struct buf log;
		buf_init(&log, MAX);
		assert_int_equal(otlp_debug(request, verbosity, "2026-11-24T09:04:11.610Z", &log), 0);
		test_assert_text(second_message(&log), expected.ptr);
		buf_done(&log);
		test_file_free(request);
		test_file_free(expected);
	}
}

static void detailed_prints_the_tree_that_the_collector_prints(void **state)
{
	(void)state;
	assert_debug(OTLP_DETAILED, "detailed.txt");
}

static void normal_prints_the_lines_that_the_collector_prints(void **state)
{
	(void)state;
	assert_debug(OTLP_NORMAL, "normal.txt");
}

#define FIELDS                                                                                                         \
	"{\"resource\": {\"service.name\": \"gleaner\", \"service.version\": \"" GLEANER_VERSION                       \
	"\"}, \"otelcol.component.id\": \"debug\", \"otelcol.component.kind\": \"exporter\", "                         \
	"\"otelcol.signal\": \"metrics\""

static void basic_prints_the_counts(void **state)
{
	(void)state;
	struct span request = golden("written", "pb");
	struct buf log;
	buf_init(&log, MAX);
	assert_int_equal(otlp_debug(request, OTLP_BASIC, "T", &log), 0);
	test_assert_text(buf_view(&log),
		"T\tinfo\tMetrics\t" FIELDS ", \"resource metrics\": 2, \"metrics\": 6, \"data points\": 19}\n");
	buf_done(&log);
	test_file_free(request);
}

static struct span line_of(struct span text, size_t number)
{
	struct span line = SPAN_NONE;
	for (size_t i = 0; i < number; i++)
		assert_true(span_next(&text, '\n', &line));
	return line;
}

/* Everything but the fields' values, which tell who printed it. */
static void the_log_lines_have_the_captured_shape(void **state)
{
	(void)state;
	struct span captured = test_file("golden/otelcol-debug-detailed.txt"), request = golden("written", "pb");
	struct buf log;
	buf_init(&log, MAX);
	assert_int_equal(otlp_debug(request, OTLP_DETAILED, "2026-11-24T09:04:11.610Z", &log), 0);
	struct span prefix = SPAN("2026-11-24T09:04:11.610Z\tinfo\tMetrics\t{\"resource\": {\"service.");
	assert_true(span_starts_with(line_of(captured, 1), prefix));
	assert_true(span_starts_with(line_of(buf_view(&log), 1), prefix));
	struct span second = SPAN("2026-11-24T09:04:11.610Z\tinfo\tResourceMetrics #0");
	assert_true(span_eq(line_of(captured, 2), second));
	assert_true(span_eq(line_of(buf_view(&log), 2), second));
	assert_true(span_eq(line_of(captured, 3), line_of(buf_view(&log), 3)));
	assert_true(span_ends_with(buf_view(&log), SPAN("\n\t" FIELDS "}\n")));
	buf_done(&log);
	test_file_free(captured);
	test_file_free(request);
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
	(void)state;
	struct buf log;
	buf_init(&log, MAX);
	/* One gauge without points, by hand: resource_metrics{scope_metrics{metrics{name}}} */
	static const char request[] = "\x0a\x0d\x12\x0b\x12\x09\x0a\x07"
				      "a\x1b[\rb\xc2\x9b";
	assert_int_equal(otlp_debug(SPAN(request), OTLP_DETAILED, "T", &log), 0);
	buf_char(&log, '\0');
	assert_non_null(strstr(log.ptr, "     -> Name: a\\x1b[\\x0db\\u009b\n"));
	buf_done(&log);
}

static void json_is_the_mapping_that_the_collector_reads(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct span request = golden(requests[i], "pb"), expected = golden(requests[i], "json");
		struct buf json;
		buf_init(&json, MAX);
		assert_int_equal(otlp_json(request, &json), 0);
		test_assert_text(buf_view(&json), expected.ptr);
		buf_done(&json);
		test_file_free(request);
		test_file_free(expected);
	}
}

static void text_shows_what_other_writers_send(void **state)
{
	(void)state;
	struct span request = golden("foreign", "pb"), expected = golden("foreign", "text");
	struct buf text;
	buf_init(&text, MAX);
	assert_int_equal(otlp_text(request, &text), 0);
	test_assert_text(buf_view(&text), expected.ptr);
	buf_done(&text);
	test_file_free(request);
	test_file_free(expected);
}

static void requests_are_counted(void **state)
{
	(void)state;
	struct span request = golden("written", "pb");
	struct otlp_counts counts = {.resources = 99};
	assert_int_equal(otlp_count(request, &counts), 0);
	assert_true(counts.resources == 2 && counts.metrics == 6 && counts.points == 19);
	assert_int_equal(otlp_count(SPAN("\x0a\x05x"), &counts), -EBADMSG);
	assert_int_equal(counts.points, 19);
	assert_int_equal(otlp_count(SPAN_NONE, &counts), 0);
	assert_true(counts.resources == 0 && counts.points == 0);
	test_file_free(request);
}

static void a_request_cut_off_anywhere_is_no_crash(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct span request = golden(requests[i], "pb");
		for (size_t len = 0; len < request.len; len++) {
			struct buf out;
			char *cut = malloc(len + 1);
			memcpy(cut, request.ptr, len);
			buf_init(&out, MAX);
			int result = otlp_text(span_of(cut, len), &out);
			assert_true(result == 0 || result == -EBADMSG);
			assert_int_equal(otlp_json(span_of(cut, len), &out), result);
			assert_int_equal(otlp_debug(span_of(cut, len), OTLP_DETAILED, "T", &out), result);
			buf_done(&out);
			free(cut);
		}
		test_file_free(request);
	}
}

static void output_stops_at_its_ceiling(void **state)
{
	(void)state;
	struct span request = golden("written", "pb");
	struct buf out;
	for (size_t max = 0; max < 2000; max += 13) {
		buf_init(&out, max);
		assert_int_equal(otlp_text(request, &out), -EMSGSIZE);
		buf_done(&out);
		buf_init(&out, max);
		assert_int_equal(otlp_json(request, &out), -EMSGSIZE);
		buf_done(&out);
		buf_init(&out, max);
		assert_int_equal(otlp_debug(request, OTLP_DETAILED, "T", &out), -EMSGSIZE);
		buf_done(&out);
	}
	test_file_free(request);
}

static void a_response_says_what_was_rejected(void **state)
{
	(void)state;
	struct otlp_response response = {.rejected = 9, .message = "x"};
	assert_int_equal(otlp_response_read(SPAN_NONE, &response), 0);
	assert_true(response.rejected == 0 && response.message[0] == '\0');
	assert_int_equal(otlp_response_read(SPAN("\x0a\x00"), &response), 0);
	assert_true(response.rejected == 0);
	assert_int_equal(otlp_response_read(SPAN("\x0a\x0a\x08\xac\x02\x12\x05"
						 "no\n\x1b!"),
				 &response),
		0);
	assert_true(response.rejected == 300);
	assert_string_equal(response.message, "no%0A%1B!");
	/* -1 */
	assert_int_equal(
		otlp_response_read(SPAN("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &response), 0);
	assert_true(response.rejected == 0);
	assert_int_equal(otlp_response_read(SPAN("<html>"), &response), -EBADMSG);
	assert_int_equal(otlp_response_read(SPAN("\x0a\x05"), &response), -EBADMSG);
}

static void a_long_message_of_the_gateway_is_cut(void **state)
{
	(void)state;
	struct otlp_response response;
	char body[3 + 3 + 1000];
	memset(body, 'm', sizeof(body));
	memcpy(body, "\x0a\xeb\x07\x12\xe8\x07", 6);
	assert_int_equal(otlp_response_read(span_of(body, sizeof(body)), &response), 0);
	assert_true(strlen(response.message) > 100 && strlen(response.message) <= 256);
}

static int attempt_debug(void *arg)
{
	const struct span *request = arg;
	struct buf out;
	buf_init(&out, MAX);
	int result = otlp_debug(*request, OTLP_DETAILED, "T", &out);
	buf_done(&out);
	return result;
}

static int attempt_text(void *arg)
{
	const struct span *request = arg;
	struct buf out;
	buf_init(&out, MAX);
	int result = otlp_text(*request, &out);
	buf_done(&out);
	return result;
}

static int attempt_json(void *arg)
{
	const struct span *request = arg;
	struct buf out;
	buf_init(&out, MAX);
	int result = otlp_json(*request, &out);
	buf_done(&out);
	return result;
}

static int attempt_response(void *arg)
{
	struct otlp_response response;
	(void)arg;
	return otlp_response_read(SPAN("\x0a\x04\x12\x02no"), &response);
}

static void out_of_memory_is_an_error_and_no_leak(void **state)
{
	(void)state;
	struct span request = golden("foreign", "pb");
	test_out_of_memory(attempt_debug, &request);
	test_out_of_memory(attempt_text, &request);
	test_out_of_memory(attempt_json, &request);
	test_out_of_memory(attempt_response, NULL);
	test_file_free(request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(detailed_prints_the_tree_that_the_collector_prints),
		cmocka_unit_test(normal_prints_the_lines_that_the_collector_prints),
		cmocka_unit_test(basic_prints_the_counts),
		cmocka_unit_test(the_log_lines_have_the_captured_shape),
		cmocka_unit_test(control_characters_do_not_reach_the_terminal),
		cmocka_unit_test(json_is_the_mapping_that_the_collector_reads),
		cmocka_unit_test(text_shows_what_other_writers_send),
		cmocka_unit_test(requests_are_counted),
		cmocka_unit_test(a_request_cut_off_anywhere_is_no_crash),
		cmocka_unit_test(output_stops_at_its_ceiling),
		cmocka_unit_test(a_response_says_what_was_rejected),
		cmocka_unit_test(a_long_message_of_the_gateway_is_cut),
		cmocka_unit_test(out_of_memory_is_an_error_and_no_leak),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
