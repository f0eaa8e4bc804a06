/* The value grammar of both formats (docs/semantics.md, "Parsers"):
 *
 *   [+-] digits [. digits] [e [+-] digits]     at least one digit; "1." and ".5" are fine
 *   [+-] inf | [+-] infinity | nan             any letter case, nan without a sign
 *
 * Correctly rounded in three steps, each for what the one before cannot do: Clinger's exact product of two doubles
 * (nearly every value of a real page), Eisel-Lemire (128-bit product, up to 19 digits), strtod for the rest, which gets
 * digits and an exponent but no decimal point, so that the locale cannot matter.
 *
 * expo_scan_number is inline, because it is half the cost of a sample that was seen before.
 */
#pragma once

#include <errno.h>

#include "gleaner/expo.h"

#define EXPO_NAN_BITS UINT64_C(0x7ff8000000000001)

/* digits * 10^exponent; inexact: digits holds the first 19 only and there are more, which stand in `text`. */
struct expo_decimal {
	uint64_t digits;
	int64_t exponent;
	bool negative, inexact;
	struct span text; /* from the first digit to before the exponent part */
};

extern const double expo_powers_of_ten[23];

/* The two ways that are not inline. 0, -ERANGE (overflow). */
int expo_decimal_round(const struct expo_decimal *decimal, double *ret_value);
/* inf, infinity, nan; end as in expo_scan_number. 0, -EINVAL. */
int expo_scan_word(const char *at, const char *end, const char **ret_end, double *ret_value);
/* More than 19 digits: finds the 19 that count and the exponent. */
void expo_decimal_shorten(struct expo_decimal *decimal);

static inline bool expo_is_digit(const char *at, const char *end)
{
	return (!end || at < end) && (unsigned char)(*at - '0') < 10;
}

/* Eight digits at once: from https://johnnylee-sde.github.io/Fast-numeric-string-to-int/ (public domain idea). */
static inline bool expo_eight_digits(const char *at, const char *end, uint64_t *digits)
{
	uint64_t word;
	if (end && end - at < 8)
		return false;
	memcpy(&word, at, sizeof(word));
	if (((word & UINT64_C(0xf0f0f0f0f0f0f0f0)) |
		    (((word + UINT64_C(0x0606060606060606)) & UINT64_C(0xf0f0f0f0f0f0f0f0)) >> 4)) !=
		UINT64_C(0x3333333333333333))
		return false;
	word -= UINT64_C(0x3030303030303030);
	word = word * 10 + (word >> 8);
	word = ((word & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064) +
		       ((word >> 16) & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001)) >>
	       32;
	*digits = *digits * 100000000 + (uint32_t)word;
	return true;
}

static inline const char *expo_scan_digits(const char *at, const char *end, uint64_t *digits)
{
	while (expo_eight_digits(at, end, digits))
		at += 8;
	for (; expo_is_digit(at, end); at++)
		*digits = *digits * 10 + (uint64_t)(*at - '0');
	return at;
}

/* The e part, when there is one. NULL: an e without digits. */
static inline const char *expo_scan_exponent(const char *at, const char *end, int64_t *exponent)
{
	if ((end && at == end) || (*at | 0x20) != 'e')
		return at;
	at++;
	bool negative = (!end || at < end) && *at == '-';
	if ((!end || at < end) && (*at == '-' || *at == '+'))
		at++;
	if (!expo_is_digit(at, end))
		return NULL;
	int64_t value = 0;
	for (; expo_is_digit(at, end); at++)
		if (value <
			100000) /* far outside the range of a double already, with any number of digits that fit a line */
			value = value * 10 + (*at - '0');
	*exponent += negative ? -value : value;
	return at;
}

/* Reads a number as far as it goes.
 *   end      NULL: the text is followed by EXPO_PADDING zero bytes, as a body is, and no bound is checked
 *   ret_end  behind the number, also when it is too large
 *   returns  0, -EINVAL, -ERANGE (overflow) */
static inline __attribute__((always_inline)) int expo_scan_number(
	const char *at, const char *end, const char **ret_end, double *ret_value)
{
	const char *start = at;
	struct expo_decimal decimal = {0};
	if (end && at == end)
		return -EINVAL;
	decimal.negative = *at == '-';
	if (*at == '-' || *at == '+')
		at++;

	const char *first = at;
	at = expo_scan_digits(at, end, &decimal.digits);
	size_t count = (size_t)(at - first);
	if ((!end || at < end) && *at == '.') {
		const char *point = ++at;
		at = expo_scan_digits(at, end, &decimal.digits);
		decimal.exponent = point - at;
		count += (size_t)(at - point);
	}
	if (count == 0)
		return expo_scan_word(start, end, ret_end, ret_value);
	decimal.text = span_of(first, (size_t)(at - first));

	at = expo_scan_exponent(at, end, &decimal.exponent);
	if (!at)
		return -EINVAL;
	if (count > 19)
		expo_decimal_shorten(&decimal);
	if (!decimal.inexact && decimal.digits <= UINT64_C(1) << 53 && decimal.exponent >= -22 &&
		decimal.exponent <= 22) {
		double value = (double)decimal.digits;
		value = decimal.exponent < 0 ? value / expo_powers_of_ten[-decimal.exponent]
					     : value * expo_powers_of_ten[decimal.exponent];
		*ret_value = decimal.negative ? -value : value;
		*ret_end = at;
		return 0;
	}
	*ret_end = at;
	return expo_decimal_round(&decimal, ret_value);
}
