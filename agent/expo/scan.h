/* What the two line parsers share. Every scanner reads from `at` and returns where it stopped; NULL means that
 * expo_fail has been called. All of them lean on the zero bytes behind the body: no class but the end has a NUL in it,
 * so that a loop over a class needs no bound, and whoever meets a NUL looks whether it is the end.
 */
#pragma once

#include "gleaner/expo.h"

/* The first failure of a line: reason is static text, at the byte to blame. Returns NULL for the scanners. */
static inline const char *expo_fail(struct expo_parser *parser, const char *at, const char *reason)
{
	parser->reason = reason;
	parser->offset = (size_t)(at - parser->start);
	return NULL;
}

/* Classes of bytes. */
enum {
	EXPO_NAME_START = 1,
	EXPO_NAME = 2,
	EXPO_LABEL_START = 4,
	EXPO_LABEL = 8,
	EXPO_QUOTED = 16, /* nothing to think about between quotes */
};
extern const unsigned char expo_classes[256];

static inline bool expo_is(const char *at, unsigned char class)
{
	return expo_classes[(unsigned char)*at] & class;
}

static inline bool expo_is_blank(const char *at)
{
	return *at == ' ' || *at == '\t';
}

static inline const char *expo_skip_blanks(const char *at)
{
	while (expo_is_blank(at))
		at++;
	return at;
}

/* The LF that ends the line, or the end of the body. */
static inline const char *expo_line_end(const struct expo_parser *parser, const char *at)
{
	const char *lf = memchr(at, '\n', (size_t)(parser->end - at));
	return lf ? lf : parser->end;
}

/* Past the LF at `at`, or the end of the body. */
static inline const char *expo_past_line(const struct expo_parser *parser, const char *at)
{
	return at < parser->end ? at + 1 : at;
}

/* A metric name, bare or quoted. */
const char *expo_scan_name(struct expo_parser *parser, const char *at, struct expo_text *ret_name);
/* Labels from behind the '{' to behind the '}'. name: where a quoted metric name goes if name->raw.ptr is NULL so far;
 * NULL for an exemplar, which has none. */
const char *expo_scan_labels(struct expo_parser *parser, const char *at, struct expo_text *name);
/* name, {labels}: fills name, series and labels of the entry. */
const char *expo_scan_series(struct expo_parser *parser, const char *at, struct expo_entry *entry);
/* A value or float timestamp with an error text for what is none. */
const char *expo_scan_value(struct expo_parser *parser, const char *at, const char *reason, double *ret_value);

/* Everything behind the prefix. Fill value, time_ms, has_exemplar and exemplar, and return the start of the next line. */
const char *expo_text_tail(struct expo_parser *parser, const char *at, bool tolerated, struct expo_entry *entry);
const char *expo_om_tail(struct expo_parser *parser, const char *at, struct expo_entry *entry);

int expo_text_next(struct expo_parser *parser, struct expo_entry *entry);
int expo_om_next(struct expo_parser *parser, struct expo_entry *entry);
