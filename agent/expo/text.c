/* Prometheus' text format, 0.0.4 and 1.0.0.
 *
 *   line      blanks (sample | "#" ...) LF      the last LF may be missing, empty lines are fine
 *   sample    series blanks value [blanks timestamp] blanks
 *   metadata  "#" blanks ("HELP" | "TYPE") blanks name blank text
 *   comment   any other line that starts with "#"
 *
 * A NUL at the start of a line ends the body, as in Prometheus (T-23). What is accepted beyond Prometheus' own parser
 * (D-12, D-25) is counted in parser->tolerated, and refused when parser->strict, blanks before a sample excepted.
 */
#include <errno.h>

#include "number.h"
#include "scan.h"

/* At the end of the line: its LF, a CR and the LF, or the end of the body. Returns where the next line starts. */
static const char *scan_line_end(struct expo_parser *parser, const char *at, const char *reason, bool *tolerated)
{
	const char *end = at;
	if (*at == '\r' && !parser->strict)
		end++;
	if (*end != '\n' && end < parser->end)
		return expo_fail(parser, at, reason);
	*tolerated |= end != at;
	return expo_past_line(parser, end);
}

/* Unix ms, with a sign that Prometheus refuses. */
static const char *scan_timestamp(struct expo_parser *parser, const char *at, int64_t *ret_time_ms, bool *tolerated)
{
	const char *start = at;
	int64_t time_ms = 0;
	bool negative = *at == '-' && !parser->strict;
	at += negative;
	if (!expo_is_digit(at, NULL))
		return expo_fail(parser, start, "expected a timestamp in milliseconds, or the end of the line");
	for (; expo_is_digit(at, NULL); at++)
		if (__builtin_mul_overflow(time_ms, 10, &time_ms) ||
			__builtin_add_overflow(time_ms, *at - '0', &time_ms))
			return expo_fail(parser, start, "timestamp too large");
	*ret_time_ms = negative ? -time_ms : time_ms;
	*tolerated |= negative;
	return at;
}

const char *expo_text_tail(struct expo_parser *parser, const char *at, bool tolerated, struct expo_entry *entry)
{
	entry->time_ms = EXPO_NO_TIME;
	entry->has_exemplar = false;
	at = expo_scan_value(parser, expo_skip_blanks(at), "expected a value after the series", &entry->value);
	if (!at)
		return NULL;
	const char *reason = "not a number";
	if (expo_is_blank(at)) {
		at = expo_skip_blanks(at);
		reason = "expected the end of the line after the timestamp";
		if (*at != '\n' && *at != '\r' && at < parser->end)
			at = scan_timestamp(parser, at, &entry->time_ms, &tolerated);
		if (!at)
			return NULL;
		at = expo_skip_blanks(at);
	}
	at = scan_line_end(parser, at, reason, &tolerated);
	if (at)
		parser->tolerated += tolerated;
	return at;
}

/* line: where the line starts; at: behind its blanks. */
static int read_sample(struct expo_parser *parser, const char *line, const char *at, struct expo_entry *entry)
{
	bool tolerated = at != line; /* D-25 */
	at = expo_scan_series(parser, at, entry);
	if (!at)
		return -EBADMSG;
	/* Prometheus reads `a-1` as a = -1. A prefix that ends in a name could not be told from a longer name. */
	if (!expo_is_blank(at) && at[-1] != '}') {
		bool ends = *at == '\n' || *at == '\r' || at == parser->end;
		expo_fail(parser, at, ends ? "expected a value after the series" : "not a metric name");
		return -EBADMSG;
	}
	at = expo_skip_blanks(at);
	entry->kind = EXPO_SAMPLE;
	entry->prefix = span_of(line, (size_t)(at - line));
	at = expo_text_tail(parser, at, tolerated, entry);
	if (!at)
		return -EBADMSG;
	entry->line = span_of(line, (size_t)(at - line));
	parser->at = at;
	return 1;
}

static int type_of(struct span word, enum expo_type *ret_type)
{
	static const enum expo_type types[] = {
		EXPO_TYPE_COUNTER, EXPO_TYPE_GAUGE, EXPO_TYPE_HISTOGRAM, EXPO_TYPE_SUMMARY};
	if (span_eq(word, SPAN("untyped"))) {
		*ret_type = EXPO_TYPE_UNKNOWN;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (span_eq(word, span_str(expo_type_name(types[i])))) {
			*ret_type = types[i];
			return 0;
		}
	}
	return -EINVAL;
}

/* at: behind the name; end: of the line without the LF. */
static int read_type(struct expo_parser *parser, const char *at, const char *end, struct expo_entry *entry)
{
	entry->kind = EXPO_TYPE;
	struct span word = span_of(at, (size_t)(end - at));
	if (word.len > 0 && expo_is_blank(word.ptr)) {
		word = span_of(at + 1, word.len - 1);
		if (type_of(word, &entry->type) == 0)
			return 1;
		if (!parser->strict && type_of(span_trim(word), &entry->type) == 0) {
			parser->tolerated++;
			return 1;
		}
	}
	expo_fail(parser, at, "expected counter, gauge, histogram, summary or untyped");
	return -EBADMSG;
}

static int read_help(struct expo_parser *parser, const char *at, const char *end, struct expo_entry *entry)
{
	entry->kind = EXPO_HELP;
	if (!parser->strict && end > at && end[-1] == '\r')
		end--;
	if (at < end) /* one byte, usually a blank, separates; Prometheus does not look at it */
		at++;
	entry->text.raw = span_of(at, (size_t)(end - at));
	entry->text.escaped = memchr(at, '\\', entry->text.raw.len) != NULL;
	if (span_is_utf8(entry->text.raw))
		return 1;
	expo_fail(parser, at, "HELP is not valid UTF-8");
	return -EBADMSG;
}

/* at: the '#'. 1 entry, 0 comment, -EBADMSG. */
static int read_comment(struct expo_parser *parser, const char *line, const char *at, struct expo_entry *entry)
{
	const char *end = expo_line_end(parser, at);
	parser->at = expo_past_line(parser, end);

	const char *word = expo_skip_blanks(at + 1);
	bool help = end - word > 4 && memcmp(word, "HELP", 4) == 0;
	bool type = end - word > 4 && memcmp(word, "TYPE", 4) == 0;
	if (word == at + 1 || !(help || type) || !expo_is_blank(word + 4))
		return 0;
	const char *name = expo_skip_blanks(word + 5);
	if (!parser->strict && (name == end || (*name == '\r' && name + 1 == end))) {
		parser->tolerated++; /* "# HELP " without a name */
		return 0;
	}
	const char *rest = expo_scan_name(parser, name, &entry->name);
	if (!rest)
		return -EBADMSG;
	end = expo_line_end(parser, rest); /* a quoted name may have had the first LF in it */
	parser->at = expo_past_line(parser, end);
	entry->line = span_of(line, (size_t)(parser->at - line));
	return help ? read_help(parser, rest, end, entry) : read_type(parser, rest, end, entry);
}

int expo_text_next(struct expo_parser *parser, struct expo_entry *entry)
{
	for (;;) {
		const char *line = parser->at, *at = expo_skip_blanks(line);
		bool tolerated = false;
		int r = 0;
		switch (*at) {
		case '\n':
			parser->at = at + 1;
			break;
		case '\0': /* the end, or a NUL that counts as one */
			parser->at = parser->end;
			return 0;
		case '#':
			r = read_comment(parser, line, at, entry);
			break;
		case '\r':
			at = scan_line_end(parser, at, "expected a metric name", &tolerated);
			if (!at)
				return -EBADMSG;
			parser->at = at;
			parser->tolerated++;
			break;
		default:
			return read_sample(parser, line, at, entry);
		}
		if (r != 0)
			return r;
	}
}
