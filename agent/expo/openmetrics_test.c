#include "dump.h"

/* One case or more for every row of the OpenMetrics table in docs/semantics.md, "Parsers". */
static const struct dump_case accepted[] = {
	{"empty body", {"", 0}, ""},
	{"only the end", SPAN("# EOF\n"), ""},
	{"LF behind # EOF is optional", SPAN("a 1\n# EOF"), "a 1\n"},
	{"labels", SPAN("a{b=\"c\",d=\"e\"} 1\n# EOF\n"), "a{b|c,d|e} 1\n"},
	{"trailing comma", SPAN("a{b=\"c\",} 1\n# EOF\n"), "a{b|c} 1\n"},
	{"empty braces", SPAN("a{} 1\n# EOF\n"), "a 1\n"},
	{"quoted name", SPAN("{\"my.metric\",\"la.bel\"=\"v\"} 1\n{\"x\"} 2\n# EOF\n"), "my.metric{la.bel|v} 1\nx 2\n"},
	{"LF in a quoted name", SPAN("{\"a\nb\"} 1\n# EOF\n"), "a\nb 1\n"},
	{"escapes", SPAN("a{b=\"\\\\ \\\" \\n \\t\"} 1\n# HELP a \\\\ \\\" \\n \\t\n# EOF\n"),
		"a{b|\\ \" \n \\t} 1\nHELP a|\\ \" \n \\t\n"},
	{"metadata",
		SPAN("# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds some  text \n# UNIT b \n# "
		     "HELP c \n"
		     "# HELP \"x y\" z\n# EOF\n"),
		"TYPE a_seconds counter\nUNIT a_seconds|seconds\nHELP a_seconds|some  text \nUNIT b|\nHELP c|\n"
		"HELP x y|z\n"},
	{"types",
		SPAN("# TYPE a gauge\n# TYPE a histogram\n# TYPE a gaugehistogram\n# TYPE a summary\n# TYPE a info\n"
		     "# TYPE a stateset\n# TYPE a unknown\n# EOF\n"),
		"TYPE a gauge\nTYPE a histogram\nTYPE a gaugehistogram\nTYPE a summary\nTYPE a info\n"
		"TYPE a stateset\nTYPE a unknown\n"},
	{"timestamps in seconds, cut to ms", SPAN("a 1 1520872607.1239\na 1 -5\na 1 -0.0019\na 1 1e3\na 1 0\n# EOF\n"),
		"a 1 @1520872607123\na 1 @-5000\na 1 @-1\na 1 @1000000\na 1 @0\n"},
	{"timestamps outside int64 end at its ends", SPAN("a 1 1e300\na 1 -1e300\n# EOF\n"),
		"a 1 @9223372036854775807\na 1 @-9223372036854775807\n"},
	{"exemplar", SPAN("a 1 # {b=\"c\",d=\"e\",} 0.5\na 1 2 # {b=\"c\"} 0.5 1.5\na 1 # {} NaN -1\n# EOF\n"),
		"a 1 # {b|c,d|e} 0.5\na 1 @2000 # {b|c} 0.5 @1500\na 1 #  nan @-1000\n"},
	{"exemplar with a quoted label name", SPAN("a 1 # {\"b c\"=\"d\"} 2\n# EOF\n"), "a 1 # {b c|d} 2\n"},
	{"exemplar on any type", SPAN("# TYPE a gauge\na 1 # {b=\"c\"} 1\n# EOF\n"), "TYPE a gauge\na 1 # {b|c} 1\n"},
	{"what Prometheus does not check (D-24)",
		SPAN("# TYPE a counter\na 1\nb 2\na -1\na NaN\n# TYPE a gauge\na_bucket{le=\"2\"} "
		     "1\na_bucket{le=\"1\"} 2\n# EOF\n"),
		"TYPE a counter\na 1\nb 2\na -1\na nan\nTYPE a gauge\na_bucket{le|2} 1\na_bucket{le|1} 2\n"},
	{"created is an ordinary sample", SPAN("a_created 1520872607.123\n# EOF\n"), "a_created 1520872607.1229999\n"},
};

static void rows_of_the_openmetrics_table_are_accepted(void **state)
{
	(void)state;
	dump_check(EXPO_OPENMETRICS, false, accepted, ARRAY_SIZE(accepted));
}

static void nul_in_values_and_help_is_kept(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1000);
	dump_body(&out, EXPO_OPENMETRICS, SPAN("a{b=\"x\0y\"} 1\n# HELP a x\0y\n# EOF\n"), false);
	assert_true(span_eq(buf_view(&out), SPAN("a{b|x\0y} 1\nHELP a|x\0y\n")));
	buf_done(&out);
}

static const struct dump_case refused[] = {
	{"no # EOF", SPAN("a 1\n"), "a 1\n! no # EOF at the end @4:2\n"},
	{"no LF at the end", SPAN("a 1"), "! no # EOF at the end @3:1\n"},
	{"data behind # EOF", SPAN("# EOF\na 1\n"), "! data after # EOF @6:2\n"},
	{"blank line behind # EOF", SPAN("# EOF\n\n"), "! data after # EOF @6:2\n"},
	{"blank line", SPAN("\n# EOF\n"), "! expected a metric name @0:1\n"},
	{"comment", SPAN("# a\n# EOF\n"), "! expected # HELP, # TYPE, # UNIT or # EOF @0:1\n"},
	{"comment without a space", SPAN("#HELP a b\n# EOF\n"), "! expected # HELP, # TYPE, # UNIT or # EOF @0:1\n"},
	{"blank first", SPAN(" a 1\n# EOF\n"), "! expected a metric name @0:1\n"},
	{"two spaces", SPAN("a  1\n# EOF\n"), "! expected a value after the series @2:1\n"},
	{"tab", SPAN("a\t1\n# EOF\n"), "! expected a space and a value after the series @1:1\n"},
	{"space at the end", SPAN("a 1 \n# EOF\n"), "! expected a timestamp in seconds @4:1\n"},
	{"no space behind the brace", SPAN("a{b=\"c\"}1\n"), "! expected a space and a value after the series @8:1\n"},
	{"space before the brace", SPAN("a {b=\"c\"} 1\n"), "! expected a value after the series @2:1\n"},
	{"space in the braces", SPAN("a{b=\"c\", d=\"e\"} 1\n"), "! expected a label name @8:1\n"},
	{"space before the equals sign", SPAN("a{b =\"c\"} 1\n"), "! expected '=' after the label name @3:1\n"},
	{"no comma", SPAN("a{b=\"c\"d=\"e\"} 1\n"), "! expected ',' or '}' after the label value @7:1\n"},
	{"two commas", SPAN("a{b=\"c\",,} 1\n"), "! expected a label name @8:1\n"},
	{"LF in a value", SPAN("a{b=\"c\n\"} 1\n"), "! no closing quote @6:1\n"},
	{"LF behind a backslash", SPAN("a{b=\"c\\\n\"} 1\n"), "! LF behind a backslash @7:1\n"},
	{"NUL in an exemplar", SPAN("a 1 # {b=\"\0\"} 1\n"), "! NUL where none may be @10:1\n"},
	{"LF in an exemplar's label name", SPAN("a 1 # {\"\n\"=\"c\"} 1\n"), "! no closing quote @8:1\n"},

	{"no value", SPAN("a\n"), "! expected a space and a value after the series @1:1\n"},
	{"CR", SPAN("a 1\r\n# EOF\n"), "! expected the end of the line @3:1\n"},
	{"timestamp not finite", SPAN("a 1 NaN\n"), "! timestamp is not finite @4:1\n"},
	{"timestamp infinite", SPAN("a 1 +Inf\n"), "! timestamp is not finite @4:1\n"},
	{"timestamp is a word", SPAN("a 1 x\n"), "! expected a timestamp in seconds @4:1\n"},
	{"exemplar without a value", SPAN("a 1 # {b=\"c\"}\n"),
		"! expected a space and a value after the exemplar's labels @13:1\n"},
	{"exemplar with a bad value", SPAN("a 1 # {b=\"c\"} x\n"),
		"! expected a value after the exemplar's labels @14:1\n"},
	{"exemplar without labels", SPAN("a 1 # 1\n"), "! expected a timestamp in seconds @4:1\n"},
	{"exemplar with a name", SPAN("a 1 # {\"b\"} 1\n"), "! expected '=' after the label name @10:1\n"},
	{"exemplar with an infinite time", SPAN("a 1 # {b=\"c\"} 1 Inf\n"), "! timestamp is not finite @16:1\n"},
	{"text behind the exemplar", SPAN("a 1 # {b=\"c\"} 1 1 1\n"), "! expected the end of the line @17:1\n"},
	{"type untyped", SPAN("# TYPE a untyped\n"), "! not a metric type @9:1\n"},
	{"type with a blank", SPAN("# TYPE a counter \n"), "! not a metric type @9:1\n"},
	{"no text", SPAN("# HELP a\n# EOF\n"), "! expected a space after the name @8:1\n"},
	{"metadata without LF", SPAN("# HELP a b"), "! no # EOF at the end @8:1\n"},
	{"two spaces before a name", SPAN("# HELP  a b\n"), "! expected a metric name @7:1\n"},
	{"UNIT is no suffix", SPAN("# UNIT a_seconds bytes\n"),
		"! the unit is not a suffix of the metric's name @17:1\n"},
	{"UNIT without an underscore", SPAN("# UNIT aseconds seconds\n"),
		"! the unit is not a suffix of the metric's name @16:1\n"},
	{"UNIT is the whole name", SPAN("# UNIT seconds seconds\n"),
		"! the unit is not a suffix of the metric's name @15:1\n"},
	{"HELP not UTF-8", SPAN("# HELP a \xff\n"), "! HELP is not valid UTF-8 @9:1\n"},
	{"NUL at the start of a line", SPAN("\0a 1\n"), "! expected a metric name @0:1\n"},
	{"NUL behind # EOF", SPAN("# EOF\n\0"), "! data after # EOF @6:2\n"},
};

static void rows_of_the_openmetrics_table_are_refused(void **state)
{
	(void)state;
	dump_check(EXPO_OPENMETRICS, false, refused, ARRAY_SIZE(refused));
}

static void real_bodies_give_every_series_and_exemplar(void **state)
{
	(void)state;
	static const struct {
		const char *file;
		size_t samples, types, exemplars;
	} bodies[] = {{"golden/expo/alltypes.5mfs.om.txt", 53, 5, 6}, {"golden/expo/1histogram.om.txt", 42, 1, 0},
		{"fuzz/corpus/expo/python_client.om.txt", 29, 8, 6}};
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct span body = test_file(bodies[i].file);
		struct expo_parser parser;
		struct expo_entry entry;
		size_t kinds[4] = {0}, exemplars = 0;
		int r;
		expo_init(&parser, EXPO_OPENMETRICS, body, 1 << 20);
		while ((r = expo_next(&parser, &entry)) > 0) {
			kinds[entry.kind]++;
			exemplars += entry.has_exemplar;
		}
		assert_int_equal(r, 0);
		assert_true(parser.saw_eof);
		assert_int_equal(kinds[EXPO_SAMPLE], bodies[i].samples);
		assert_int_equal(kinds[EXPO_TYPE], bodies[i].types);
		assert_int_equal(exemplars, bodies[i].exemplars);
		test_file_free(body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_of_the_openmetrics_table_are_accepted),
		cmocka_unit_test(nul_in_values_and_help_is_kept),
		cmocka_unit_test(rows_of_the_openmetrics_table_are_refused),
		cmocka_unit_test(real_bodies_give_every_series_and_exemplar),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
