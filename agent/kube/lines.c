/* Newline-delimited JSON (see lines.h). The API server writes no newline within an event: strings have \n escaped. */
#include "lines.h"

#include <errno.h>

void kube_lines_init(struct kube_lines *lines, size_t max)
{
	*lines = (struct kube_lines){.max = max};
	buf_init(&lines->line, max);
}

void kube_lines_done(struct kube_lines *lines)
{
	buf_done(&lines->line);
}

void kube_lines_reset(struct kube_lines *lines)
{
	buf_reset(&lines->line);
	lines->skipping = lines->told = false;
}

/* Appends a part of a line. 0, -E2BIG, -ENOMEM. */
static int keep(struct kube_lines *lines, struct span part)
{
	if (lines->skipping)
		return 0;
	if (part.len <= lines->max - lines->line.len)
		return buf_span(&lines->line, part);
	buf_reset(&lines->line);
	lines->skipping = true;
	lines->oversized++;
	return -E2BIG;
}

/* The newline has come: whether there is a line now. */
static bool end_line(struct kube_lines *lines)
{
	lines->told = !lines->skipping && span_trim(buf_view(&lines->line)).len > 0;
	lines->skipping = false;
	if (!lines->told)
		buf_reset(&lines->line);
	return lines->told;
}

int kube_lines_next(struct kube_lines *lines, struct span *piece, struct span *ret_line)
{
	if (lines->told)
		kube_lines_reset(lines);
	while (piece->len > 0) {
		const char *end = memchr(piece->ptr, '\n', piece->len);
		size_t len = end ? (size_t)(end - piece->ptr) : piece->len;
		int r = keep(lines, span_of(piece->ptr, len));
		*piece = span_of(piece->ptr + len, piece->len - len);
		if (r < 0)
			return r; /* the newline, if there is one, stays and ends the skipping */
		if (!end)
			return 0;
		*piece = span_of(piece->ptr + 1, piece->len - 1);
		if (end_line(lines)) {
			*ret_line = buf_view(&lines->line);
			return 1;
		}
	}
	return 0;
}
