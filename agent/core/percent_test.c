#include "percent.h"

#include "test.h"

#include <errno.h>

static void assert_decoded(const char *text, bool plus_is_blank, const char *expected)
{
	struct arena arena;
	struct span decoded;
	arena_init(&arena, 4096);
	int result = percent_decode(span_str(text), plus_is_blank, &arena, &decoded);
	assert_int_equal(result, expected ? 0 : -EINVAL);
	if (expected)
		test_assert_text(decoded, expected);
	arena_done(&arena);
}

static void two_hexadecimal_digits_are_a_byte(void **state)
{
	(void)state;
	assert_decoded("", false, "");
	assert_decoded("plain", false, "plain");
	assert_decoded("a%20b%2Cc%C3%a9", false, "a b,c\xc3\xa9");
	assert_decoded("%25%32%35", false, "%25");
}

static void plus_is_a_blank_in_queries_only(void **state)
{
	(void)state;
	assert_decoded("a+b%2B", true, "a b+");
	assert_decoded("a+b", false, "a+b");
}

static void anything_else_behind_a_percent_sign_is_refused(void **state)
{
	(void)state;
	const char *const broken[] = {"%", "a%4", "%4g", "%g4", "% 4", "%+4", "%00", "%%20", "%\x14\x11"};
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		assert_decoded(broken[i], false, NULL);
}

static int attempt(void *arg)
{
	struct arena arena;
	struct span decoded;
	arena_init(&arena, 4096);
	int result = percent_decode(span_str(arg), false, &arena, &decoded);
	arena_done(&arena);
	return result;
}

static void no_memory_is_reported(void **state)
{
	(void)state;
	test_out_of_memory(attempt, (void *)"a%20b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_hexadecimal_digits_are_a_byte),
		cmocka_unit_test(plus_is_a_blank_in_queries_only),
		cmocka_unit_test(anything_else_behind_a_percent_sign_is_refused),
		cmocka_unit_test(no_memory_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
