/* A byte string with a ceiling. Doubling growth, sticky failure. */
#include "gleaner/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){.max = max};
}

void buf_done(struct buf *buf)
{
	free(buf->ptr);
	*buf = (struct buf){.max = buf->max};
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
		char *ptr = realloc(buf->ptr, cap);
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
