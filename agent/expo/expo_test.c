#include <errno.h>

#include "dump.h"

/* A body with the zero bytes that the parser asks for: a literal in an array of its own. */
#define BODY(name, literal)                                                                                            \
	static const char name##_bytes[sizeof(literal) + EXPO_PADDING] = literal;                                      \
	const struct span name = {name##_bytes, sizeof(literal) - 1}

static void media_type_decides_the_format(void **state)
{
	(void)state;
	static const struct {
		const char *content_type;
		int expected; /* enum expo_format or an error; 9: the fallback */
	} cases[] = {
		{"text/plain", EXPO_TEXT},
		{"text/plain; version=0.0.4; charset=utf-8", EXPO_TEXT},
		{"text/plain; version=1.0.0; escaping=allow-utf-8", EXPO_TEXT},
		{" TEXT/Plain ;x", EXPO_TEXT},
		{"application/openmetrics-text; version=1.0.0; charset=utf-8", EXPO_OPENMETRICS},
		{"application/openmetrics-text", EXPO_OPENMETRICS},
		{"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
			-EPROTONOSUPPORT},
		{"", 9},
		{";", 9},
		{"text/html", 9},
		{"text/plainx", 9},
		{"application/json; x=text/plain", 9},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (enum expo_format fallback = EXPO_TEXT; fallback <= EXPO_OPENMETRICS; fallback++) {
			enum expo_format format = (enum expo_format)7;
			int r = expo_format_of(span_str(cases[i].content_type), fallback, &format);
			int expected = cases[i].expected == 9 ? (int)fallback : cases[i].expected;
			assert_int_equal(r, expected < 0 ? expected : 0);
			assert_int_equal(format, expected < 0 ? 7 : expected);
		}
	}
	enum expo_format format;
	assert_int_equal(expo_format_of(SPAN_NONE, EXPO_OPENMETRICS, &format), 0);
	assert_int_equal(format, EXPO_OPENMETRICS);
}

static void entry_says_where_its_parts_stand(void **state)
{
	(void)state;
	BODY(body, "\n#x\n  a {b=\"c\"}  1 5 \nb 2");
	struct expo_parser parser;
	struct expo_entry entry;
	expo_init(&parser, EXPO_TEXT, body, 100);
	assert_int_equal(expo_next(&parser, &entry), 1);
	assert_true(span_eq(entry.line, SPAN("  a {b=\"c\"}  1 5 \n")));
	assert_true(span_eq(entry.prefix, SPAN("  a {b=\"c\"}  ")));
	assert_true(span_eq(entry.series, SPAN("a {b=\"c\"}")));
	assert_true(span_eq(entry.labels, SPAN("b=\"c\"")));
	assert_int_equal(expo_next(&parser, &entry), 1);
	assert_true(span_eq(entry.line, SPAN("b 2")));
	assert_true(span_eq(entry.series, SPAN("b")));
	assert_int_equal(entry.labels.len, 0);
	assert_int_equal(entry.time_ms, EXPO_NO_TIME);
}

static void failure_stays_and_leaves_the_entry_alone(void **state)
{
	(void)state;
	BODY(body, "# x\na 1\r\nb ?\nc 3\n");
	struct expo_parser parser;
	struct expo_entry entry;
	expo_init(&parser, EXPO_TEXT, body, 100);
	assert_int_equal(expo_next(&parser, &entry), 1);
	struct expo_entry before = entry;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(expo_next(&parser, &entry), -EBADMSG);
		assert_memory_equal(&entry, &before, sizeof(entry));
		assert_string_equal(parser.reason, "expected a value after the series");
		assert_int_equal(parser.offset, 11);
		assert_int_equal(expo_error_line(&parser), 3);
		assert_int_equal(parser.tolerated, 1);
	}
}

static void line_longer_than_the_limit_is_refused(void **state)
{
	(void)state;
	BODY(body, "a 1\nbc 2\n");
	struct expo_parser parser;
	struct expo_entry entry;
	expo_init(&parser, EXPO_TEXT, body, 4);
	assert_int_equal(expo_next(&parser, &entry), 1);
	assert_int_equal(expo_tail(&parser, 3, &entry), 0);
	assert_int_equal(expo_next(&parser, &entry), -EBADMSG);
	assert_string_equal(parser.reason, "line longer than the limit");
	assert_int_equal(parser.offset, 4);
}

static int tail_of(struct span body, enum expo_format format, size_t prefix_len, struct expo_entry *ret_entry)
{
	struct expo_parser parser;
	expo_init(&parser, format, body, 1000);
	int r = expo_tail(&parser, prefix_len, ret_entry);
	assert_true(r == 1 || (r == 0 && parser.at == body.ptr && parser.tolerated == 0));
	return r;
}

static void tail_reads_what_follows_a_known_prefix(void **state)
{
	(void)state;
	static const struct {
		enum expo_format format;
		const char *line;
		size_t prefix_len;
		double value;
		int64_t time_ms;
	} cases[] = {
		{EXPO_TEXT, "a 7\n", 2, 7, EXPO_NO_TIME},
		{EXPO_TEXT, "a 7", 2, 7, EXPO_NO_TIME},
		{EXPO_TEXT, "a 1.5e3\n", 2, 1500, EXPO_NO_TIME},
		{EXPO_TEXT, "a -2\r\n", 2, -2, EXPO_NO_TIME},
		{EXPO_TEXT, "a   3 \t99 \n", 2, 3, 99},
		{EXPO_TEXT, "a 3 -99\n", 2, 3, -99},
		{EXPO_TEXT, "a{} +Inf\n", 3, __builtin_inf(), EXPO_NO_TIME},
		{EXPO_TEXT, " a 1e-400\n", 3, 0, EXPO_NO_TIME},
		{EXPO_OPENMETRICS, "a 12345.678 1.5\n", 2, 12345.678, 1500},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char line[32 + EXPO_PADDING] = {0};
		struct expo_entry entry = {.time_ms = 1, .has_exemplar = true};
		memcpy(line, cases[i].line, strlen(cases[i].line));
		assert_int_equal(tail_of(span_str(line), cases[i].format, cases[i].prefix_len, &entry), 1);
		assert_int_equal(dump_bits(entry.value), dump_bits(cases[i].value));
		assert_int_equal(entry.time_ms, cases[i].time_ms);
		assert_false(entry.has_exemplar);
	}
}

/* A prefix that matches does not make the line the same series. */
static void tail_leaves_other_lines_to_next(void **state)
{
	(void)state;
	struct expo_entry entry = {.value = 42};
	BODY(braces, "a {b=\"c\"} 5\n");
	assert_int_equal(tail_of(braces, EXPO_TEXT, 2, &entry), 0);
	BODY(no_value, "a ");
	assert_int_equal(tail_of(no_value, EXPO_TEXT, 2, &entry), 0);
	BODY(bad, "a 1 x\n");
	assert_int_equal(tail_of(bad, EXPO_TEXT, 2, &entry), 0);
	BODY(no_line_end, "a 1");
	assert_int_equal(tail_of(no_line_end, EXPO_OPENMETRICS, 2, &entry), 0);
	assert_true(entry.value == 42);
}

static void tail_reads_exemplars(void **state)
{
	(void)state;
	BODY(body, "a 1 # {b=\"c\"} 0.5 2\n");
	struct expo_entry entry;
	assert_int_equal(tail_of(body, EXPO_OPENMETRICS, 2, &entry), 1);
	assert_true(entry.has_exemplar);
	assert_true(span_eq(entry.exemplar.labels, SPAN("b=\"c\"")));
	assert_true(entry.exemplar.value == 0.5);
	assert_int_equal(entry.exemplar.time_ms, 2000);
}

static void same_metadata_line_is_skipped_only_when_it_is_whole(void **state)
{
	(void)state;
	BODY(body, "# TYPE a gauge\n# TYPE a gaugehistogram\n");
	struct expo_parser parser;
	expo_init(&parser, EXPO_OPENMETRICS, body, 100);
	assert_false(expo_skip_same(&parser, SPAN("# TYPE b gauge\n")));
	assert_false(expo_skip_same(&parser, SPAN_NONE));
	assert_true(expo_skip_same(&parser, SPAN("# TYPE a gauge\n")));
	assert_false(expo_skip_same(&parser, SPAN("# TYPE a gauge"))); /* was the last line of a body without LF */
	assert_true(expo_skip_same(&parser, SPAN("# TYPE a gaugehistogram\n")));
	assert_ptr_equal(parser.at, parser.end);
	assert_false(expo_skip_same(&parser, SPAN("# TYPE a gauge\n")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(media_type_decides_the_format),
		cmocka_unit_test(entry_says_where_its_parts_stand),
		cmocka_unit_test(failure_stays_and_leaves_the_entry_alone),
		cmocka_unit_test(line_longer_than_the_limit_is_refused),
		cmocka_unit_test(tail_reads_what_follows_a_known_prefix),
		cmocka_unit_test(tail_leaves_other_lines_to_next),
		cmocka_unit_test(tail_reads_exemplars),
		cmocka_unit_test(same_metadata_line_is_skipped_only_when_it_is_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
