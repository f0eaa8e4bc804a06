#include "dump.h"

/* One case or more for every row of the text table in docs/semantics.md, "Parsers". */
static const struct dump_case accepted[] = {
	{"empty body", {"", 0}, ""},
	{"only blanks", SPAN(" \t\n\n  "), ""},
	{"final LF is optional", SPAN("a 1"), "a 1\n"},
	{"empty lines", SPAN("\n\na 1\n\n\nb 2\n\n"), "a 1\nb 2\n"},
	{"blanks and tabs anywhere", SPAN("a\t{ b = \"c\" , d=\"e\" }\t 1 \t 5 \t\n"), "a{b|c,d|e} 1 @5\n"},
	{"value right behind the brace", SPAN("a{b=\"c\"}-Inf\n"), "a{b|c} -inf\n"},
	{"empty braces", SPAN("a{} 1\n"), "a 1\n"},
	{"trailing comma", SPAN("a{b=\"c\",} 1\n"), "a{b|c} 1\n"},
	{"missing comma (T-24)", SPAN("a{b=\"c\"d=\"e\" f=\"g\"} 1\n"), "a{b|c,d|e,f|g} 1\n"},
	{"LF in a value", SPAN("a{b=\"c\nd\"} 1\nb 2\n"), "a{b|c\nd} 1\nb 2\n"},
	{"escapes in a value", SPAN("a{b=\"\\\\ \\\" \\n \\t \\\"\"} 1\n"), "a{b|\\ \" \n \\t \"} 1\n"},
	{"empty value", SPAN("a{b=\"\"} 1\n"), "a{b|} 1\n"},
	{"colons in the name", SPAN(":a:b1 1\n"), ":a:b1 1\n"},
	{"quoted name", SPAN("{\"my.metric\",\"la.bel\"=\"v\"} 1\n"), "my.metric{la.bel|v} 1\n"},
	{"quoted name alone", SPAN("{\"my metric\"} 1\n"), "my metric 1\n"},
	{"quoted name behind a label", SPAN("{ a=\"b\", \"x\\\"y\" , } 1\n"), "x\"y{a|b} 1\n"},
	{"UTF-8", SPAN("a{b=\"\xc3\xa9\"} 1\n# HELP a \xe2\x82\xac\n"), "a{b|\xc3\xa9} 1\nHELP a|\xe2\x82\xac\n"},
	{"numbers", SPAN("a +1.5e+3\nb .5\nc 1.\nd nan\ne +InF\nf -infinity\n"),
		"a 1500\nb 0.5\nc 1\nd nan\ne inf\nf -inf\n"},
	{"underflow is 0", SPAN("a 1e-400\n"), "a 0\n"},
	{"timestamp", SPAN("a 1 1395066363000\n"), "a 1 @1395066363000\n"},
	{"largest timestamp", SPAN("a 1 9223372036854775807\n"), "a 1 @9223372036854775807\n"},
	{"comments", SPAN("#\n# \n#a b\n#HELP a b\n# HELPx a\n# EOF\n# UNIT a b\n#   foo\n# HELP\n# TYPE\na 1\n# x"),
		"a 1\n"},
	{"blanks before a comment", SPAN("  # HELP a b\n\t#\n"), "HELP a|b\n"},
	{"HELP", SPAN("#\t HELP \t a \t b  c \n# HELP b\n# HELP c \n"), "HELP a|\t b  c \nHELP b|\nHELP c|\n"},
	{"escapes in HELP", SPAN("# HELP a \\\\ \\n \\\" \\t \"\n"), "HELP a|\\ \n \\\" \\t \"\n"},
	{"any byte separates HELP's text", SPAN("# HELP a.b c\n"), "HELP a|b c\n"},
	{"TYPE", SPAN("# TYPE a counter\n# TYPE b\tgauge\n#  TYPE  c histogram\n# TYPE d summary\n# TYPE e untyped"),
		"TYPE a counter\nTYPE b gauge\nTYPE c histogram\nTYPE d summary\nTYPE e unknown\n"},
	{"quoted names in metadata", SPAN("# HELP \"a b\" c\n# TYPE \"a b\" gauge\n"), "HELP a b|c\nTYPE a b gauge\n"},
	{"LF in a quoted name", SPAN("# HELP \"a\nb\" c\n{\"a\nb\"} 1\n"), "HELP a\nb|c\na\nb 1\n"},
	{"metadata in any order", SPAN("a 1\n# TYPE a gauge\n# TYPE a counter\n# HELP a x\n# HELP a y\n"),
		"a 1\nTYPE a gauge\nTYPE a counter\nHELP a|x\nHELP a|y\n"},
	{"repeated label names are the caller's", SPAN("a{b=\"1\",b=\"2\",__name__=\"c\"} 1\n"),
		"a{b|1,b|2,__name__|c} 1\n"},
	{"NUL at the start of a line ends the body (T-23)", SPAN("a 1\n \0b 2\n"), "a 1\n"},
};

static void rows_of_the_text_table_are_accepted(void **state)
{
	(void)state;
	dump_check(EXPO_TEXT, false, accepted, ARRAY_SIZE(accepted));
	dump_check(EXPO_TEXT, true, accepted, ARRAY_SIZE(accepted));
}

static void nul_in_values_help_and_comments_is_kept(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1000);
	dump_body(&out, EXPO_TEXT, SPAN("a{b=\"x\0y\"} 1\n# HELP a x\0y\n# x\0y\nb 2\n"), false);
	assert_true(span_eq(buf_view(&out), SPAN("a{b|x\0y} 1\nHELP a|x\0y\nb 2\n")));
	buf_done(&out);
}

static const struct dump_case refused[] = {
	{"no value", SPAN("b 1\na\n"), "b 1\n! expected a value after the series @5:2\n"},
	{"no value, but a blank", SPAN("a \n"), "! expected a value after the series @2:1\n"},
	{"no value at the end", SPAN("a"), "! expected a value after the series @1:1\n"},
	{"name starts with a digit", SPAN("3a 1\n"), "! expected a metric name @0:1\n"},
	{"name with a minus", SPAN("a-b 1\n"), "! not a metric name @1:1\n"},
	{"no name", SPAN("{b=\"c\"} 1\n"), "! no metric name @0:1\n"},
	{"empty braces without a name", SPAN("{} 1\n"), "! no metric name @0:1\n"},
	{"two names", SPAN("a{\"b\"} 1\n"), "! second metric name @2:1\n"},
	{"two quoted names", SPAN("{\"a\",\"b\"} 1\n"), "! second metric name @5:1\n"},
	{"quoted name outside the braces", SPAN("\"a\" 1\n"),
		"! a quoted metric name belongs inside the braces @0:1\n"},
	{"empty quoted name", SPAN("{\"\"} 1\n"), "! empty name @1:1\n"},
	{"empty quoted label name", SPAN("a{\"\"=\"x\"} 1\n"), "! empty name @2:1\n"},
	{"bare name inside the braces", SPAN("{a} 1\n"), "! expected '=' after the label name @2:1\n"},
	{"quoted name and a label without a comma", SPAN("{\"a\" b=\"c\"} 1\n"),
		"! expected '=' after the label name @5:1\n"},
	{"colon in a label name", SPAN("a{b:c=\"d\"} 1\n"), "! expected '=' after the label name @3:1\n"},
	{"label without a value", SPAN("a{b} 1\n"), "! expected '=' after the label name @3:1\n"},
	{"value without quotes", SPAN("a{b=c} 1\n"), "! expected a label value in quotes @4:1\n"},
	{"comma first", SPAN("a{,b=\"c\"} 1\n"), "! expected a label name @2:1\n"},
	{"two commas", SPAN("a{b=\"c\",,} 1\n"), "! expected a label name @8:1\n"},
	{"open quote", SPAN("a{b=\"c} 1\nb 1\n"), "! no closing quote @14:3\n"},
	{"open quote behind a backslash", SPAN("a{b=\"c\\"), "! no closing quote @7:1\n"},
	{"open brace", SPAN("a{b=\"c\" 1\n"), "! expected a label name @8:1\n"},
	{"LF in the braces", SPAN("a{b=\"c\",\n} 1\n"), "! expected a label name @8:1\n"},
	{"value is no number", SPAN("a 0x1p-2\n"), "! not a number @3:1\n"},
	{"value with an underscore", SPAN("a 1_0\n"), "! not a number @3:1\n"},
	{"value is a word", SPAN("a infinit\n"), "! not a number @5:1\n"},
	{"signed nan", SPAN("a -nan\n"), "! expected a value after the series @2:1\n"},
	{"exponent without digits", SPAN("a 1e\n"), "! expected a value after the series @2:1\n"},
	{"value too large", SPAN("a 1e400\n"), "! number too large @2:1\n"},
	{"StaleNaN", SPAN("a StaleNaN\n"), "! expected a value after the series @2:1\n"},
	{"fractional timestamp", SPAN("a 1 1.5\n"), "! expected the end of the line after the timestamp @5:1\n"},
	{"timestamp is a word", SPAN("a 1 x\n"),
		"! expected a timestamp in milliseconds, or the end of the line @4:1\n"},
	{"timestamp with a plus", SPAN("a 1 +5\n"),
		"! expected a timestamp in milliseconds, or the end of the line @4:1\n"},
	{"timestamp too large", SPAN("a 1 9223372036854775808\n"), "! timestamp too large @4:1\n"},
	{"text behind the timestamp", SPAN("a 1 5 x\n"), "! expected the end of the line after the timestamp @6:1\n"},
	{"exemplar", SPAN("a 1 # {b=\"c\"} 1\n"),
		"! expected a timestamp in milliseconds, or the end of the line @4:1\n"},
	{"type unknown", SPAN("# TYPE a unknown\n"), "! expected counter, gauge, histogram, summary or untyped @8:1\n"},
	{"type info", SPAN("# TYPE a info\n"), "! expected counter, gauge, histogram, summary or untyped @8:1\n"},
	{"type in capitals", SPAN("# TYPE a Counter\n"),
		"! expected counter, gauge, histogram, summary or untyped @8:1\n"},
	{"no type", SPAN("# TYPE a\n"), "! expected counter, gauge, histogram, summary or untyped @8:1\n"},
	{"two types", SPAN("# TYPE a counter gauge\n"),
		"! expected counter, gauge, histogram, summary or untyped @8:1\n"},
	{"type without a blank", SPAN("# TYPE a-counter\n"),
		"! expected counter, gauge, histogram, summary or untyped @8:1\n"},
	{"metadata with a bad name", SPAN("# HELP 3a b\n"), "! expected a metric name @7:1\n"},
	{"metadata with an open quote", SPAN("# HELP \"a c\n"), "! no closing quote @12:2\n"},
	{"LF behind a backslash", SPAN("a{b=\"\\\n\"} 1\n"), "! LF behind a backslash @6:1\n"},
	{"NUL in a quoted name", SPAN("{\"a\0\"} 1\n"), "! NUL where none may be @3:1\n"},
	{"value not UTF-8", SPAN("a{b=\"\xff\"} 1\n"), "! label value is not valid UTF-8 @4:1\n"},
	{"value not UTF-8 behind a backslash", SPAN("a{b=\"\\\xff\"} 1\n"), "! label value is not valid UTF-8 @4:1\n"},
	{"name not UTF-8", SPAN("{\"\xc3\"} 1\n"), "! name is not valid UTF-8 @1:1\n"},
	{"HELP not UTF-8", SPAN("# HELP a \xff\n"), "! HELP is not valid UTF-8 @9:1\n"},
	{"NUL in a name", SPAN("a\0b 1\n"), "! not a metric name @1:1\n"},
	{"NUL behind a value", SPAN("a 1\0\n"), "! not a number @3:1\n"},
	{"NUL behind a blank", SPAN("a 1 \0\n"),
		"! expected a timestamp in milliseconds, or the end of the line @4:1\n"},
	{"NUL in the braces", SPAN("a{\0b=\"c\"} 1\n"), "! expected a label name @2:1\n"},
	{"CR inside a line", SPAN("a\r1\n"), "! expected a value after the series @1:1\n"},
	{"two CR", SPAN("a 1\r\r\n"), "! not a number @3:1\n"},
};

static void rows_of_the_text_table_are_refused(void **state)
{
	(void)state;
	dump_check(EXPO_TEXT, false, refused, ARRAY_SIZE(refused));
}

static const struct dump_case tolerated[] = {
	{"CR before LF", SPAN("a 1\r\nb 2 5\r\nc 3 \r\n\r\n# HELP a b\r\n# TYPE a counter\r\nd 4\r"),
		"a 1\nb 2 @5\nc 3\nHELP a|b\nTYPE a counter\nd 4\n~ 6\n"},
	{"blanks around the type", SPAN("# TYPE a  counter\n# TYPE b gauge \n# TYPE c\t \tsummary\t\r\n"),
		"TYPE a counter\nTYPE b gauge\nTYPE c summary\n~ 3\n"},
	{"metadata without a name", SPAN("# HELP \n# TYPE  \t\n# HELP \r\n"), "~ 3\n"},
	{"negative timestamp (T-09)", SPAN("a 1 -5\nb 1 -9223372036854775807\n"),
		"a 1 @-5\nb 1 @-9223372036854775807\n~ 2\n"},
};

static void d12_is_tolerated_and_counted(void **state)
{
	(void)state;
	dump_check(EXPO_TEXT, false, tolerated, ARRAY_SIZE(tolerated));
}

static const struct dump_case strict[] = {
	{"CR before LF", SPAN("a 1\r\n"), "! not a number @3:1\n"},
	{"CR behind a blank", SPAN("a 1 \r\n"), "! expected the end of the line after the timestamp @4:1\n"},
	{"CR alone", SPAN("\r\n"), "! expected a metric name @0:1\n"},
	{"CR stays in HELP", SPAN("# HELP a b\r\n"), "HELP a|b\r\n"},
	{"blanks before the type", SPAN("# TYPE a  counter\n"),
		"! expected counter, gauge, histogram, summary or untyped @8:1\n"},
	{"blanks behind the type", SPAN("# TYPE a counter \n"),
		"! expected counter, gauge, histogram, summary or untyped @8:1\n"},
	{"metadata without a name", SPAN("# HELP \n"), "! expected a metric name @7:1\n"},
	{"negative timestamp", SPAN("a 1 -5\n"),
		"! expected a timestamp in milliseconds, or the end of the line @4:1\n"},
};

static void d12_is_refused_when_strict(void **state)
{
	(void)state;
	dump_check(EXPO_TEXT, true, strict, ARRAY_SIZE(strict));
}

static const struct dump_case indented[] = {
	{"blanks", SPAN("# TYPE a counter\n  a 1\n\ta{b=\"c\"} 2\r\n"), "TYPE a counter\na 1\na{b|c} 2\n~ 2\n"},
};

static void blanks_before_a_sample_are_not_part_of_its_name(void **state) /* D-25, T-26 */
{
	(void)state;
	dump_check(EXPO_TEXT, false, indented, ARRAY_SIZE(indented));
}

static void common_corpus_has_the_known_verdicts(void **state)
{
	(void)state;
	static const struct {
		const char *file;
		int samples; /* -1: refused */
	} verdicts[] = {{"0", 0}, {"1", 3}, {"2", 4}, {"3", 12}, {"4", 7}, {"error_0", 1}, {"error_1", 1},
		{"error_2", 1}, {"error_3", -1}, {"error_4", 1}, {"error_5", -1}, {"error_6", -1}, {"error_7", 1},
		{"error_8", -1}, {"error_9", -1}, {"error_10", -1}, {"error_11", -1}, {"error_12", 0}, {"error_13", 0},
		{"error_14", 1}, {"error_15", -1}, {"error_16", -1}, {"error_17", -1}, {"error_18", -1},
		{"error_19", 1}};
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		char path[100];
		snprintf(path, sizeof(path), "fuzz/corpus/expo/from_test_parse_%s", verdicts[i].file);
		struct span body = test_file(path);
		struct expo_parser parser;
		struct expo_entry entry;
		int samples = 0, r;
		expo_init(&parser, EXPO_TEXT, body, 1 << 20);
		while ((r = expo_next(&parser, &entry)) > 0)
			samples += entry.kind == EXPO_SAMPLE;
		if (r < 0)
			samples = -1;
		if (samples != verdicts[i].samples)
			fail_msg("%s: %d samples instead of %d", path, samples, verdicts[i].samples);
		test_file_free(body);
	}
}

static void real_body_of_237_families_gives_every_series(void **state)
{
	(void)state;
	struct span body = test_file("golden/expo/alltypes.237mfs.prom.txt");
	struct expo_parser parser;
	struct expo_entry entry;
	size_t kinds[4] = {0}, types[EXPO_TYPE_STATESET + 1] = {0};
	size_t allocations = test_allocations();
	expo_init(&parser, EXPO_TEXT, body, 1 << 20);
	int r;
	while ((r = expo_next(&parser, &entry)) > 0) {
		kinds[entry.kind]++;
		types[entry.type] += entry.kind == EXPO_TYPE;
	}
	assert_int_equal(r, 0);
	assert_int_equal(test_allocations(), allocations);
	assert_int_equal(kinds[EXPO_SAMPLE], 1857);
	assert_int_equal(types[EXPO_TYPE_COUNTER], 112);
	assert_int_equal(types[EXPO_TYPE_GAUGE], 97);
	assert_int_equal(types[EXPO_TYPE_HISTOGRAM], 15);
	assert_int_equal(types[EXPO_TYPE_SUMMARY], 13);
	assert_int_equal(parser.tolerated, 0);
	test_file_free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_of_the_text_table_are_accepted),
		cmocka_unit_test(nul_in_values_help_and_comments_is_kept),
		cmocka_unit_test(rows_of_the_text_table_are_refused),
		cmocka_unit_test(d12_is_tolerated_and_counted),
		cmocka_unit_test(d12_is_refused_when_strict),
		cmocka_unit_test(blanks_before_a_sample_are_not_part_of_its_name),
		cmocka_unit_test(common_corpus_has_the_known_verdicts),
		cmocka_unit_test(real_body_of_237_families_gives_every_series),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
