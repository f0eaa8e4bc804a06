#include "dump.h"

static void labels_are_taken_apart_in_order(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1000);
	dump_labels(&out, EXPO_TEXT, SPAN(" a = \"1\" ,\"b c\"=\"x,}=\\\"\",\"metric\",d=\"\"\te=\"2\", "));
	test_assert_text(buf_view(&out), "{a|1,b c|x,}=\",d|,e|2}");
	buf_done(&out);
}

static void escapes_are_seen_but_not_touched(void **state)
{
	(void)state;
	struct span rest = SPAN("a=\"x\\ny\",\"b\\\\\"=\"z\"");
	struct expo_text name, value;
	assert_int_equal(expo_label_next(EXPO_TEXT, &rest, &name, &value), 1);
	assert_true(span_eq(value.raw, SPAN("x\\ny")));
	assert_true(value.escaped && !name.escaped);
	assert_int_equal(expo_label_next(EXPO_TEXT, &rest, &name, &value), 1);
	assert_true(name.escaped && !value.escaped);
	assert_int_equal(expo_label_next(EXPO_TEXT, &rest, &name, &value), 0);
	assert_int_equal(rest.len, 0);
}

static void text_that_was_never_accepted_does_no_harm(void **state)
{
	(void)state;
	static const struct span broken[] = {SPAN("a"), SPAN("a="), SPAN("a=\""), SPAN("a=\"\\"), SPAN("\""), SPAN("="),
		SPAN("a=b"), SPAN("\"\\"), SPAN("{}")};
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		struct span rest = broken[i];
		struct expo_text name, value;
		size_t rounds = 0;
		while (expo_label_next(EXPO_TEXT, &rest, &name, &value) > 0)
			assert_true(++rounds <= broken[i].len);
		assert_int_equal(rest.len, 0);
	}
}

static void unknown_escapes_stay_as_they_are(void **state)
{
	(void)state;
	static const struct {
		const char *raw, *label, *help;
	} cases[] = {
		{"plain", "plain", "plain"},
		{"\\\\n", "\\n", "\\n"},
		{"\\\\\\n", "\\\n", "\\\n"},
		{"a\\\"b", "a\"b", "a\\\"b"},
		{"\\t\\", "\\t\\", "\\t\\"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf out;
		buf_init(&out, 100);
		struct expo_text text = {span_str(cases[i].raw), true};
		assert_int_equal(expo_unescape(&out, text, false), 0);
		test_assert_text(buf_view(&out), cases[i].label);
		buf_reset(&out);
		assert_int_equal(expo_unescape(&out, text, true), 0);
		test_assert_text(buf_view(&out), cases[i].help);
		buf_done(&out);
	}
}

static int unescape_once(void *arg)
{
	struct buf out;
	(void)arg;
	buf_init(&out, 100);
	int r = expo_unescape(&out, (struct expo_text){SPAN("a\\nb"), true}, false);
	buf_done(&out);
	return r;
}

static void unescape_survives_no_memory(void **state)
{
	(void)state;
	test_out_of_memory(unescape_once, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_are_taken_apart_in_order),
		cmocka_unit_test(escapes_are_seen_but_not_touched),
		cmocka_unit_test(text_that_was_never_accepted_does_no_harm),
		cmocka_unit_test(unknown_escapes_stay_as_they_are),
		cmocka_unit_test(unescape_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
