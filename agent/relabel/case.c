/* Case mapping by table. The C library's would need a locale file, which a minimal image and a sandboxed scraper do not have. */
#include "case.h"

#include "case_table.h"

static uint32_t map_code(const struct case_range *ranges, size_t count, uint32_t code)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (ranges[middle].last < code)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == count || code < ranges[low].first || (code - ranges[low].first) % ranges[low].step != 0)
		return code;
	return code + (uint32_t)ranges[low].delta;
}

/* Decodes one code point of valid UTF-8; returns its length, 1 for a byte that begins none. */
static size_t decode(struct span text, size_t at, uint32_t *ret_code)
{
	static const unsigned char masks[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	unsigned char lead = (unsigned char)text.ptr[at];
	size_t len = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	if (len > text.len - at || (lead >= 0x80 && !span_is_utf8(span_of(text.ptr + at, len)))) {
		*ret_code = UINT32_MAX;
		return 1;
	}
	uint32_t code = lead & masks[len];
	for (size_t i = 1; i < len; i++)
		code = code << 6 | ((unsigned char)text.ptr[at + i] & 0x3f);
	*ret_code = code;
	return len;
}

static size_t encode(uint32_t code, char *out)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	for (size_t i = len - 1; i > 0; i--, code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)((0xf00u >> len & 0xff) | code);
	return len;
}

static struct span map_text(struct arena *arena, struct span text, const struct case_range *ranges, size_t count)
{
	/* A letter of two bytes can become one of three, never more. */
	char *out = arena_alloc(arena, text.len + text.len / 2 + 1);
	size_t len = 0;
	if (!out)
		return SPAN_NONE;
	for (size_t at = 0; at < text.len;) {
		uint32_t code;
		size_t taken = decode(text, at, &code);
		if (code == UINT32_MAX)
			out[len++] = text.ptr[at];
		else
			len += encode(map_code(ranges, count, code), out + len);
		at += taken;
	}
	return span_of(out, len);
}

struct span case_upper(struct arena *arena, struct span text)
{
	return map_text(arena, text, to_upper, ARRAY_SIZE(to_upper));
}

struct span case_lower(struct arena *arena, struct span text)
{
	return map_text(arena, text, to_lower, ARRAY_SIZE(to_lower));
}
