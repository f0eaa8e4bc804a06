/* A byte string with a ceiling. Doubling growth, sticky failure. */
#include "gleaner/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){.max = max};
}

static void give_back(struct buf *buf)
{
	if (buf->secret && buf->ptr)
		explicit_bzero(buf->ptr, buf->cap);
	free(buf->ptr);
}

/* realloc, but that a secret leaves no copy behind. */
static char *resize(struct buf *buf, size_t cap)
{
	if (!buf->secret)
		return realloc(buf->ptr, cap);
	char *ptr = malloc(cap);
	if (!ptr)
		return NULL;
	if (buf->len > 0)
		memcpy(ptr, buf->ptr, buf->len);
	give_back(buf);
	return ptr;
}

void buf_done(struct buf *buf)
{
	give_back(buf);
	*buf = (struct buf){.max = buf->max, .secret = buf->secret};
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
	buf->failed = 0;
}

char *buf_reserve(struct buf *buf, size_t more)
{
	if (buf->failed)
		return NULL;
	if (more > buf->max - buf->len) {
		buf->failed = -EMSGSIZE;
		return NULL;
	}
	if (more > buf->cap - buf->len || !buf->ptr) {
		size_t cap = buf->cap < buf->max / 2 ? buf->cap * 2 : buf->max;
		if (cap < 64)
			cap = 64;
		if (cap < buf->len + more)
			cap = buf->len + more;
		char *ptr = resize(buf, cap);
		if (!ptr) {
			buf->failed = -ENOMEM;
			return NULL;
		}
		buf->ptr = ptr;
		buf->cap = cap;
	}
	return buf->ptr + buf->len;
}

int buf_append(struct buf *buf, const void *bytes, size_t len)
{
	char *at = buf_reserve(buf, len);
	if (!at)
		return buf->failed;
	if (len > 0)
		memcpy(at, bytes, len);
	buf->len += len;
	return 0;
}

int buf_span(struct buf *buf, struct span s)
{
	return buf_append(buf, s.ptr, s.len);
}

int buf_str(struct buf *buf, const char *text)
{
	return buf_append(buf, text, strlen(text));
}

int buf_char(struct buf *buf, char c)
{
	return buf_append(buf, &c, 1);
}

int buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	/* vsnprintf wants room for a NUL that does not count against the ceiling. */
	char stack[256], *heap = NULL, *text = stack;
	if (len >= (int)sizeof(stack)) {
		heap = malloc((size_t)len + 1);
		text = heap;
	}
	if (len < 0 || !text) {
		buf->failed = buf->failed ? buf->failed : -ENOMEM;
	} else {
		vsnprintf(text, (size_t)len + 1, fmt, again);
		buf_append(buf, text, (size_t)len);
	}
	va_end(again);
	free(heap);
	return buf->failed;
}

int buf_json(struct buf *buf, struct span s)
{
	buf_char(buf, '"');
	while (s.len > 0) {
		unsigned char c = (unsigned char)s.ptr[0];
		size_t len = span_utf8_length(s);
		if (len == 0) {
			buf_str(buf, "\xef\xbf\xbd");
			len = 1;
		} else if (c == '"' || c == '\\') {
			buf_char(buf, '\\');
			buf_char(buf, (char)c);
		} else if (c == '\n') {
			buf_str(buf, "\\n");
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(buf, "\\u%04x", c);
		} else if (c == 0xc2 &&
			   (unsigned char)s.ptr[1] < 0xa0) { /* U+0080 to U+009F: terminals obey them, too */
			buf_printf(buf, "\\u%04x", (unsigned char)s.ptr[1]);
		} else {
			buf_append(buf, s.ptr, len);
		}
		s = span_of(s.ptr + len, s.len - len);
	}
	return buf_char(buf, '"');
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int buf_base64(struct buf *out, struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i += 3) {
		uint32_t group = 0;
		for (size_t k = 0; k < 3; k++)
			group = group << 8 | (i + k < bytes.len ? (unsigned char)bytes.ptr[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			buf_char(out, i + k <= bytes.len ? base64_digits[group >> (18 - 6 * k) & 63] : '=');
	}
	return out->failed;
}

int buf_unbase64(struct buf *out, struct span text)
{
	size_t padding = span_ends_with(text, SPAN("==")) ? 2 : span_ends_with(text, SPAN("=")) ? 1 : 0;
	if (text.len % 4 != 0)
		return -EBADMSG;
	for (size_t i = 0; i < text.len; i += 4) {
		size_t digits = i + 4 == text.len ? 4 - padding : 4;
		uint32_t group = 0;
		for (size_t k = 0; k < 4; k++) {
			const char *digit =
				k < digits && text.ptr[i + k] ? strchr(base64_digits, text.ptr[i + k]) : NULL;
			if (k < digits && !digit)
				return -EBADMSG;
			group = group << 6 | (digit ? (uint32_t)(digit - base64_digits) : 0);
		}
		if (group & ((UINT32_C(1) << 8 * (4 - digits)) - 1)) /* bits behind the last byte */
			return -EBADMSG;
		for (size_t k = 0; k + 1 < digits; k++)
			buf_char(out, (char)(group >> (16 - 8 * k) & 255));
	}
	return out->failed;
}
