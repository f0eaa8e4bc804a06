/* Notations of the CRDs. */
#include "grammar.h"

#include <errno.h>

#include "test.h"

static void byte_sizes_are_powers_of_two_either_way(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int result;
		uint64_t bytes;
	} cases[] = {
		{"0", 0, 0},
		{"1B", 0, 1},
		{"1KB", 0, 1024},
		{"1KiB", 0, 1024},
		{"1.5KB", 0, 1536},
		{".5MB", 0, 512 << 10},
		{"0.1KB", 0, 102},
		{"15EB", 0, UINT64_C(15) << 60},
		{"1.0000000000000000000000001KB", 0, 1024},
		{"16EB", -ERANGE, 0},
		{"99999999999999999999B", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"1", -EINVAL, 0},
		{"00", -EINVAL, 0},
		{"1K", -EINVAL, 0},
		{"1kB", -EINVAL, 0},
		{"1iB", -EINVAL, 0},
		{"1.KB", -EINVAL, 0},
		{"KB", -EINVAL, 0},
		{"1KBx", -EINVAL, 0},
		{"x 1KB", -EINVAL, 0}, /* what the CRD's pattern lets in */
		{"-1B", -EINVAL, 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = 0;
		assert_int_equal(grammar_byte_size(span_str(cases[i].text), &bytes), cases[i].result);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void quantities_have_a_suffix_or_an_exponent(void **state)
{
	(void)state;
	static const char *const good[] = {
		"1", "1.5", ".5", "5.", "+1", "-1", "1500m", "1Ki", "2E", "1e3", "1E-3", "1e+.5", "1n"};
	static const char *const bad[] = {"", ".", "+", "1x", "1K", "1ki", "1Kii", "1e", "e1", "1 ", "1m5", "--1"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(grammar_is_quantity(span_str(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(grammar_is_quantity(span_str(bad[i])));
}

static void empty_duration_is_none(void **state)
{
	(void)state;
	uint64_t ns = 7;
	assert_int_equal(grammar_duration(SPAN(""), &ns), 0);
	assert_int_equal(ns, 0);
	assert_int_equal(grammar_duration(SPAN("1h30m"), &ns), 0);
	assert_int_equal(ns, 5400 * NS_PER_SEC);
	assert_int_equal(grammar_duration(SPAN("30"), &ns), -EINVAL);
	assert_int_equal(grammar_duration(SPAN("1.5s"), &ns), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(byte_sizes_are_powers_of_two_either_way),
		cmocka_unit_test(quantities_have_a_suffix_or_an_exponent),
		cmocka_unit_test(empty_duration_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
