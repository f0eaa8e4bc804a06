/* Numbers: the parts of the value grammar that are not on the hot path (see number.h). */
#include "number.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "powers_of_five.h"

const double expo_powers_of_ten[23] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
	1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static double double_of(uint64_t bits)
{
	double value;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

static bool word_at(const char *at, const char *end, const char *word)
{
	size_t len = strlen(word);
	return (!end || (size_t)(end - at) >= len) && strncasecmp(at, word, len) == 0;
}

int expo_scan_word(const char *at, const char *end, const char **ret_end, double *ret_value)
{
	if (word_at(at, end, "nan")) {
		*ret_value = double_of(EXPO_NAN_BITS);
		*ret_end = at + 3;
		return 0;
	}
	bool negative = *at == '-';
	if (*at == '-' || *at == '+')
		at++;
	if (!word_at(at, end, "inf"))
		return -EINVAL;
	*ret_end = at + (word_at(at, end, "infinity") ? 8 : 3);
	*ret_value = negative ? -__builtin_inf() : __builtin_inf();
	return 0;
}

void expo_decimal_shorten(struct expo_decimal *decimal)
{
	const char *end = decimal->text.ptr + decimal->text.len;
	size_t kept = 0;
	decimal->digits = 0;
	for (const char *at = decimal->text.ptr; at < end; at++) {
		if (*at == '.')
			continue;
		if (kept < 19) {
			decimal->digits = decimal->digits * 10 + (uint64_t)(*at - '0');
			kept += decimal->digits > 0; /* leading zeros are no digits that count */
		} else {
			decimal->exponent++;
			decimal->inexact |= *at != '0';
		}
	}
}

/* Bits of the double nearest to digits * 10^q, without the sign; those of infinity when it is too large.
 * Lemire, "Number Parsing at a Gigabyte per Second" (2021), section 5; digits is not 0. */
static uint64_t eisel_lemire(uint64_t digits, int64_t q)
{
	const uint64_t infinity = UINT64_C(0x7ff) << 52;
	if (q < POWER_FIRST)
		return 0;
	if (q > POWER_LAST)
		return infinity;
	int zeros = __builtin_clzll(digits);
	digits <<= zeros;

	const uint64_t *power = powers_of_five[q - POWER_FIRST];
	unsigned __int128 product = (unsigned __int128)digits * power[0];
	if (((uint64_t)(product >> 64) & 0x1ff) ==
		0x1ff) /* the low half of the power may carry into the bits that count */
		product += (uint64_t)(((unsigned __int128)digits * power[1]) >> 64);
	uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;

	int top = (int)(high >> 63);
	uint64_t mantissa = high >> (top + 9); /* 54 bits: one more than kept, for rounding */
	int64_t exponent = ((217706 * q) >> 16) + 63 + top - zeros + 1023;
	if (exponent <= 0) {
		if (exponent < -62)
			return 0;
		mantissa >>= 1 - exponent;
		mantissa = (mantissa + (mantissa & 1)) >> 1;
		return mantissa; /* rounding up into the smallest normal number gives the right bits by itself */
	}
	/* Exactly half way, which only a small power of five can be: round to even. */
	if (low <= 1 && q >= -4 && q <= 23 && (mantissa & 3) == 1 && mantissa << (top + 9) == high)
		mantissa &= ~UINT64_C(1);
	mantissa = (mantissa + (mantissa & 1)) >> 1;
	if (mantissa >= UINT64_C(1) << 53) {
		mantissa = UINT64_C(1) << 52;
		exponent++;
	}
	if (exponent >= 0x7ff)
		return infinity;
	return (mantissa & ~(UINT64_C(1) << 52)) | (uint64_t)exponent << 52;
}

/* All digits that can matter (a double's half way point has at most 767), a 1 for the rest, and the exponent.
 * Without a decimal point strtod knows no locale. */
static double last_resort(const struct expo_decimal *decimal)
{
	enum { MOST = 800 };
	char text[MOST + 32];
	size_t len = 0;
	bool rest = false;
	const char *end = decimal->text.ptr + decimal->text.len;
	for (const char *at = decimal->text.ptr; at < end; at++) {
		if (*at == '.' || (len == 0 && *at == '0'))
			continue;
		if (len < MOST)
			text[len++] = *at;
		else
			rest |= *at != '0';
	}
	int64_t exponent = decimal->exponent + 19 - (int64_t)len; /* decimal->exponent is that of the 19th digit */
	if (rest) {
		text[len++] = '1';
		exponent--;
	}
	snprintf(text + len, sizeof(text) - len, "e%lld", (long long)exponent);
	return strtod(text, NULL);
}

int expo_decimal_round(const struct expo_decimal *decimal, double *ret_value)
{
	double value = 0;
	if (decimal->digits > 0) {
		uint64_t bits = eisel_lemire(decimal->digits, decimal->exponent);
		if (decimal->inexact && bits != eisel_lemire(decimal->digits + 1, decimal->exponent))
			value = last_resort(decimal);
		else
			value = double_of(bits);
	}
	if (__builtin_isinf(value))
		return -ERANGE;
	*ret_value = decimal->negative ? -value : value;
	return 0;
}

int expo_number(struct span text, double *ret_value)
{
	const char *end = text.ptr + text.len, *stop;
	double value;
	if (!text.ptr || text.len == 0)
		return -EINVAL;
	int r = expo_scan_number(text.ptr, end, &stop, &value);
	if (r != -EINVAL && stop != end)
		r = -EINVAL;
	if (r == 0)
		*ret_value = value;
	return r;
}
