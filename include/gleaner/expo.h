/* expo: Prometheus exposition formats, read without allocation.
 *
 * Text 0.0.4 / 1.0.0 (one parser) and OpenMetrics 1.0 / 0.0.1. A pull parser:
 * each call gives the next entry as spans into the body. Runs in the scraper
 * only; every byte it sees may be hostile. Linear time, no recursion, no state
 * beyond the struct, never reads outside [body.ptr, body.ptr + body.len + EXPO_PADDING).
 * source: Prometheus text format 0.0.4, OpenMetrics 1.0 "Text format", and what
 * Prometheus' own parsers accept where the documents are silent (docs/semantics.md).
 */
#pragma once

#include "gleaner/base.h"

/* The body must be followed by this many readable zero bytes: numbers are loaded eight bytes at a time. */
#define EXPO_PADDING 64
#define EXPO_NO_TIME INT64_MIN

enum expo_format { EXPO_TEXT, EXPO_OPENMETRICS };

enum expo_type {
	EXPO_TYPE_UNKNOWN, /* also text's "untyped" and no TYPE at all */
	EXPO_TYPE_COUNTER,
	EXPO_TYPE_GAUGE,
	EXPO_TYPE_HISTOGRAM,
	EXPO_TYPE_GAUGEHISTOGRAM,
	EXPO_TYPE_SUMMARY,
	EXPO_TYPE_INFO,
	EXPO_TYPE_STATESET,
};
/* "counter", ...: the value of the OTLP metadata key prometheus.type. */
const char *expo_type_name(enum expo_type type);

enum expo_kind { EXPO_SAMPLE, EXPO_TYPE, EXPO_HELP, EXPO_UNIT };

/* Text between quotes as it stood in the body; escapes are still in it when `escaped`. */
struct expo_text {
	struct span raw;
	bool escaped;
};

struct expo_entry {
	enum expo_kind kind;
	struct span line;      /* the whole line(s) with the LF (unless the body ends first), leading blanks included */
	struct expo_text name; /* sample: metric name; TYPE, HELP, UNIT: the family's */

	/* EXPO_SAMPLE */
	struct span
		series; /* from the name to the end of the braces: the key of the series cache, no blanks around it */
	struct span
		prefix; /* from the start of `line` up to the first byte of the value: what the fast path compares */
	struct span labels; /* raw text inside the braces, for expo_label_next; empty without braces */
	double value;       /* every NaN is the normal one, 0x7ff8000000000001 */
	int64_t time_ms;    /* Unix ms as written, EXPO_NO_TIME if absent; may be negative */
	bool has_exemplar;  /* OpenMetrics only */
	struct {
		struct span labels; /* raw, for expo_label_next */
		double value;
		int64_t time_ms; /* EXPO_NO_TIME if absent */
	} exemplar;

	/* EXPO_TYPE */
	enum expo_type type;
	/* EXPO_HELP, EXPO_UNIT */
	struct expo_text text;
};

struct expo_parser {
	enum expo_format format;
	const char *start, *at, *end;
	bool saw_eof;       /* OpenMetrics' # EOF */
	bool strict;        /* no tolerance for CR before LF and the like (D-12) */
	uint64_t tolerated; /* lines accepted although Prometheus' text parser would refuse them (D-12, D-25) */
	size_t max_line;    /* bytes; a longer line is an error */
	/* Set when expo_next returned -EBADMSG: */
	const char *reason; /* static text: "expected a value after the series", "no # EOF at the end", ... */
	size_t offset;      /* of the offending byte in the body */
			    /* Line number of `offset`, from 1; counted only when asked for: see expo_error_line. */
};

void expo_init(struct expo_parser *parser, enum expo_format format, struct span body, size_t max_line);

/* Reads the next entry of an exposition body. Comments and blank lines are skipped.
 *   ret_entry  set when 1 is returned; its spans point into the body and live as long as it does
 *   returns    1 entry, 0 end of body, -EBADMSG bad line (parser->reason, parser->offset are set)
 *   units      ret_entry->time_ms: Unix ms as written, EXPO_NO_TIME if absent
 *   cost       linear in the line, no allocation
 *   source     Prometheus text format 0.0.4; OpenMetrics 1.0, "Text format" */
int expo_next(struct expo_parser *parser, struct expo_entry *ret_entry);

/* The fast path: reads value, timestamp and exemplar of a sample whose prefix (that of an earlier entry) is known to stand
 * at parser->at (the caller compared prefix_len bytes), and moves past the line. Fills only value, time_ms, has_exemplar
 * and, when there is one, exemplar.
 *   returns  1; 0 when what follows is no such tail: nothing moved, expo_next reads the line (it may be another series,
 *            as `a {x="1"} 5` after `a 5`) or says what is wrong with it
 *   cost     a few ns for a short decimal and LF */
int expo_tail(struct expo_parser *parser, size_t prefix_len, struct expo_entry *ret_entry);

/* If a HELP, TYPE or UNIT line with exactly these bytes (entry->line) stands at parser->at, moves past it and returns true.
 * Such a line's tolerance is not counted again. */
static inline bool expo_skip_same(struct expo_parser *parser, struct span line)
{
	if (line.len == 0 ||
		line.ptr[line.len - 1] != '\n' || /* the last line of a body, cut: the same bytes may go on */
		line.len > (size_t)(parser->end - parser->at) || memcmp(parser->at, line.ptr, line.len) != 0)
		return false;
	parser->at += line.len;
	return true;
}

/* 1-based line of parser->offset. Cost: linear in the body; for error messages. */
size_t expo_error_line(const struct expo_parser *parser);

/* Walks the labels of a sample or an exemplar that expo_next accepted.
 *   rest     starts as entry->labels, is consumed
 *   returns  1 with ret_name and ret_value, 0 at the end. A quoted metric name inside the braces is skipped. */
int expo_label_next(
	enum expo_format format, struct span *rest, struct expo_text *ret_name, struct expo_text *ret_value);

/* Appends the text with its escapes resolved (\\ \" \n; HELP of text format: \\ \n only: in_help). 0 or buf->failed. */
int expo_unescape(struct buf *out, struct expo_text text, bool in_help);

/* A number by the value grammar (semantics 3.5): sign, digits, point, exponent, inf, infinity, nan; no hex, no '_'.
 * The whole span must be the number. Correctly rounded, independent of the locale. 0, -EINVAL, -ERANGE (overflow). */
int expo_number(struct span text, double *ret_value);

/* Which format a Content-Type header asks for (media type only, parameters ignored; semantics 3.4 P-24, D-13).
 * Blank, unparsable or unknown: `fallback`; protobuf: -EPROTONOSUPPORT. */
int expo_format_of(struct span content_type, enum expo_format fallback, enum expo_format *ret_format);
