#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dump.h"

static const struct {
	struct span text;
	double value;
} good[] = {
	{SPAN("0"), 0},
	{SPAN("-0"), -0.0},
	{SPAN("+0.0"), 0},
	{SPAN("1."), 1},
	{SPAN(".5"), 0.5},
	{SPAN("+.5e1"), 5},
	{SPAN("080"), 80},
	{SPAN("1E+3"), 1000},
	{SPAN("1e-3"), 0.001},
	{SPAN("12345678"), 12345678},
	{SPAN("123456789012345678"), 123456789012345678.0},
	{SPAN("9007199254740993"), 9007199254740992.0},
	{SPAN("9007199254740993.00000000000000000001"), 9007199254740994.0},     /* just above half way */
	{SPAN("9007199254740992999999999999999999999e-21"), 9007199254740992.0}, /* just below */
	{SPAN("1.7976931348623157e308"), 1.7976931348623157e308},
	{SPAN("5e-324"), 5e-324},
	{SPAN("2e-324"), 0},
	{SPAN("2.2250738585072011e-308"), 2.2250738585072011e-308},
	{SPAN("1e-99999999999999999999"), 0},
	{SPAN("0e99999999999999999999"), 0},
	{SPAN("inf"), __builtin_inf()},
	{SPAN("-InFiNiTy"), -__builtin_inf()},
	{SPAN("0.000000000000000000000000000000000000000000000000001e51"), 1},
	{SPAN("10000000000000000000000000000000000000000e-40"), 1},
};

static void grammar_accepts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		double value = 42;
		assert_int_equal(expo_number(good[i].text, &value), 0);
		if (dump_bits(value) != dump_bits(good[i].value))
			fail_msg("%.*s is %.17g instead of %.17g", SPAN_ARGS(good[i].text), value, good[i].value);
	}
}

static void every_nan_is_the_normal_one(void **state)
{
	(void)state;
	double value;
	assert_int_equal(expo_number(SPAN("nAn"), &value), 0);
	assert_int_equal(dump_bits(value), UINT64_C(0x7ff8000000000001));
}

static void grammar_refuses(void **state)
{
	(void)state;
	static const struct span bad[] = {{NULL, 0}, SPAN("+"), SPAN("-"), SPAN("."), SPAN("-."), SPAN("e5"),
		SPAN("1e"), SPAN("1e+"), SPAN("1e5.0"), SPAN("0x10"), SPAN("0x1p4"), SPAN("1_000"), SPAN(" 1"),
		SPAN("1 "), SPAN("1,5"), SPAN("+nan"), SPAN("-nan"), SPAN("nan(1)"), SPAN("in"), SPAN("infi"),
		SPAN("infinit"), SPAN("infinityx"), SPAN("--1"), SPAN("1-"), SPAN("1..2"), SPAN("1\0"), SPAN("1e400x"),
		SPAN("StaleNaN")};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		double value = 42;
		if (expo_number(bad[i], &value) != -EINVAL || value != 42)
			fail_msg("\"%.*s\" is no number", SPAN_ARGS(bad[i]));
	}
}

static void overflow_is_an_error_of_its_own(void **state)
{
	(void)state;
	static const struct span large[] = {SPAN("1e400"), SPAN("-1e309"), SPAN("1.7976931348623159e308"),
		SPAN("1e99999999999999999999"), SPAN("179769313486231590000000000000000000000000000000e262")};
	double value = 42;
	for (size_t i = 0; i < ARRAY_SIZE(large); i++)
		assert_int_equal(expo_number(large[i], &value), -ERANGE);
	assert_true(value == 42);
}

static void number_is_not_read_past_its_span(void **state)
{
	(void)state;
	for (size_t len = 1; len <= 20; len++) {
		char *exact = malloc(len); /* an overrun is found by the sanitizer */
		assert_non_null(exact);
		memset(exact, '1', len);
		double value;
		assert_int_equal(expo_number(span_of(exact, len), &value), 0);
		exact[len - 1] = 'e';
		assert_int_equal(expo_number(span_of(exact, len), &value), -EINVAL);
		exact[len - 1] = 'i';
		assert_int_equal(expo_number(span_of(exact, len), &value), -EINVAL);
		free(exact);
	}
}

static void check_against_strtod(const char *text)
{
	double value = 0, expected = strtod(text, NULL);
	int r = expo_number(span_str(text), &value);
	if (r != (__builtin_isinf(expected) ? -ERANGE : 0) || (r == 0 && dump_bits(value) != dump_bits(expected)))
		fail_msg("%s: %d, %.17g instead of %.17g", text, r, value, expected);
}

static void every_exponent_rounds_as_strtod_does(void **state)
{
	(void)state;
	static const char *const digits[] = {"1", "3", "9007199254740993", "1234567890123456789",
		"18446744073709551615", "99999999999999999999999",
		"0.1000000000000000055511151231257827021181583404541015625"};
	char text[200];
	for (int exponent = -400; exponent <= 330; exponent++) {
		for (size_t i = 0; i < ARRAY_SIZE(digits); i++) {
			snprintf(text, sizeof(text), "%se%d", digits[i], exponent);
			check_against_strtod(text);
		}
	}
}

static void random_doubles_come_back(void **state)
{
	(void)state;
	static const char *const formats[] = {"%.17g", "%.15g", "%g", "%.25e", "%.3f"};
	struct rng rng;
	char text[400];
	rng_init(&rng, 7);
	for (size_t i = 0; i < 20000; i++) {
		uint64_t bits = rng_next(&rng);
		double value;
		memcpy(&value, &bits, sizeof(value));
		if (i % 5 == 4)
			value = (double)rng_below(&rng, 1000000000) / 1000;
		if (!__builtin_isfinite(value))
			continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), formats[i % 5], value);
#pragma GCC diagnostic pop
		check_against_strtod(text);
	}
}

/* The double's neighbours meet half way at a number of up to 767 digits: the last of them decides. */
static void half_way_points_of_many_digits_are_decided_by_the_last(void **state)
{
	(void)state;
	char text[1300];
	int len = snprintf(text, sizeof(text), "%.1080f", 0x1p-1074 * 1.5e16); /* a small number, written out in full */
	assert_true(len > 1000);
	check_against_strtod(text);
	/* 2^53 + 1, a thousand zeros and a 1. */
	len = snprintf(text, sizeof(text), "9007199254740993.%0*d", 1000, 0);
	check_against_strtod(text);
	text[len - 1] = '1';
	check_against_strtod(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grammar_accepts),
		cmocka_unit_test(every_nan_is_the_normal_one),
		cmocka_unit_test(grammar_refuses),
		cmocka_unit_test(overflow_is_an_error_of_its_own),
		cmocka_unit_test(number_is_not_read_past_its_span),
		cmocka_unit_test(every_exponent_rounds_as_strtod_does),
		cmocka_unit_test(random_doubles_come_back),
		cmocka_unit_test(half_way_points_of_many_digits_are_decided_by_the_last),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
