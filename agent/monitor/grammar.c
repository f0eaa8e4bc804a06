/* The patterns of the CRDs, anchored at both ends (the published pattern of ByteSize is not). */
#include "grammar.h"

#include <errno.h>

int grammar_duration(struct span text, uint64_t *ret_ns)
{
	if (text.len > 0)
		return duration_parse(text, ret_ns);
	*ret_ns = 0;
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool take(struct span *rest, char c)
{
	if (rest->len == 0 || rest->ptr[0] != c)
		return false;
	*rest = span_of(rest->ptr + 1, rest->len - 1);
	return true;
}

static struct span take_digits(struct span *rest)
{
	size_t len = 0;
	while (len < rest->len && is_digit(rest->ptr[len]))
		len++;
	struct span digits = span_of(rest->ptr, len);
	*rest = span_of(rest->ptr + len, rest->len - len);
	return digits;
}

/* The place of the first byte among the letters, from 1, taken off the front; 0: it is none of them. */
static unsigned take_letter(struct span *rest, const char *letters)
{
	const char *at = rest->len > 0 && rest->ptr[0] ? strchr(letters, rest->ptr[0]) : NULL;
	if (!at)
		return 0;
	*rest = span_of(rest->ptr + 1, rest->len - 1);
	return (unsigned)(at - letters) + 1;
}

/* ---- ByteSize ------------------------------------------------------------------------- */

/* 0.fraction * 2^shift, rounded down; digits beyond the eighteenth change nothing that counts. */
static uint64_t fraction_bytes(struct span fraction, unsigned shift)
{
	unsigned __int128 numerator = 0, denominator = 1;
	for (size_t i = 0; i < fraction.len && i < 18; i++) {
		numerator = numerator * 10 + (unsigned)(fraction.ptr[i] - '0');
		denominator *= 10;
	}
	return (uint64_t)((numerator << shift) / denominator);
}

int grammar_byte_size(struct span text, uint64_t *ret_bytes)
{
	struct span rest = text, fraction = SPAN_NONE;
	uint64_t whole = 0;
	if (span_eq(text, SPAN("0"))) {
		*ret_bytes = 0;
		return 0;
	}
	struct span digits = take_digits(&rest);
	if (take(&rest, '.') && (fraction = take_digits(&rest)).len == 0)
		return -EINVAL;
	if (digits.len + fraction.len == 0)
		return -EINVAL;
	unsigned shift = take_letter(&rest, "KMGTPE") * 10;
	if (shift > 0)
		take(&rest, 'i');
	if (!take(&rest, 'B') || rest.len > 0)
		return -EINVAL;
	if (digits.len > 0 && span_to_u64(digits, &whole) < 0)
		return -ERANGE;
	if (whole > (UINT64_MAX >> shift))
		return -ERANGE;
	uint64_t high = whole << shift, low = fraction_bytes(fraction, shift);
	if (high > UINT64_MAX - low)
		return -ERANGE;
	*ret_bytes = high + low;
	return 0;
}

/* ---- Quantity --------------------------------------------------------------------------- */

/* 12, 12., 12.5, .5, with a sign. */
static bool take_decimal(struct span *rest)
{
	if (!take(rest, '+'))
		take(rest, '-');
	size_t before = take_digits(rest).len;
	bool dot = take(rest, '.');
	size_t after = dot ? take_digits(rest).len : 0;
	return before > 0 || after > 0;
}

bool grammar_is_quantity(struct span text)
{
	struct span rest = text;
	if (!take_decimal(&rest))
		return false;
	if (rest.len == 2 && rest.ptr[1] == 'i')
		return take_letter(&rest, "KMGTPE") > 0;
	if (rest.len == 1)
		return take_letter(&rest, "numkMGTPE") > 0;
	if (rest.len > 1 && take_letter(&rest, "eE") > 0)
		return take_decimal(&rest) && rest.len == 0;
	return rest.len == 0;
}
