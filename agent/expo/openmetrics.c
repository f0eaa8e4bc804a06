/* OpenMetrics 1.0 and 0.0.1, as strict as Prometheus' own parser and no stricter (docs/semantics.md, D-24).
 *
 *   sample    series " " value [" " timestamp] [" # {" labels "} " value [" " timestamp]] LF
 *   metadata  "# " ("HELP" | "TYPE" | "UNIT") " " name " " text LF
 *   end       "# EOF" [LF], and nothing behind it
 *
 * One space everywhere, timestamps in float seconds. OpenMetrics 2.0 would be another tokenizer beside this one.
 */
#include <errno.h>
#include <math.h>

#include "number.h"
#include "scan.h"

/* Float seconds to ms, cut to whole ones; what int64 cannot hold becomes its nearest end. */
static const char *scan_timestamp(struct expo_parser *parser, const char *at, int64_t *ret_time_ms)
{
	double seconds;
	const char *next = expo_scan_value(parser, at, "expected a timestamp in seconds", &seconds);
	if (!next)
		return NULL;
	if (!isfinite(seconds))
		return expo_fail(parser, at, "timestamp is not finite");
	double ms = trunc(seconds * 1000);
	*ret_time_ms = ms >= 0x1p63 ? INT64_MAX : ms <= -0x1p63 ? INT64_MIN + 1 : (int64_t)ms;
	return next;
}

static const char *scan_line_end(struct expo_parser *parser, const char *at, const char *reason)
{
	if (*at == '\n')
		return at + 1;
	return expo_fail(parser, at, at >= parser->end ? "no # EOF at the end" : reason);
}

/* at: behind " # {". */
static const char *scan_exemplar(struct expo_parser *parser, const char *at, struct expo_entry *entry)
{
	const char *start = at;
	at = expo_scan_labels(parser, at, NULL);
	if (!at)
		return NULL;
	entry->has_exemplar = true;
	entry->exemplar.time_ms = EXPO_NO_TIME;
	entry->exemplar.labels = span_of(start, (size_t)(at - start - 1));
	if (*at != ' ')
		return expo_fail(parser, at, "expected a space and a value after the exemplar's labels");
	at = expo_scan_value(parser, at + 1, "expected a value after the exemplar's labels", &entry->exemplar.value);
	if (at && *at == ' ')
		at = scan_timestamp(parser, at + 1, &entry->exemplar.time_ms);
	return at;
}

const char *expo_om_tail(struct expo_parser *parser, const char *at, struct expo_entry *entry)
{
	entry->time_ms = EXPO_NO_TIME;
	entry->has_exemplar = false;
	at = expo_scan_value(parser, at, "expected a value after the series", &entry->value);
	if (!at)
		return NULL;
	if (*at == ' ' && memcmp(at, " # {", 4) != 0)
		at = scan_timestamp(parser, at + 1, &entry->time_ms);
	if (at && memcmp(at, " # {", 4) == 0)
		at = scan_exemplar(parser, at + 4, entry);
	return at ? scan_line_end(parser, at, "expected the end of the line") : NULL;
}

static int read_sample(struct expo_parser *parser, struct expo_entry *entry)
{
	const char *line = parser->at;
	const char *at = expo_scan_series(parser, line, entry);
	if (!at)
		return -EBADMSG;
	if (*at != ' ') {
		expo_fail(parser, at, "expected a space and a value after the series");
		return -EBADMSG;
	}
	at++;
	entry->kind = EXPO_SAMPLE;
	entry->prefix = span_of(line, (size_t)(at - line));
	at = expo_om_tail(parser, at, entry);
	if (!at)
		return -EBADMSG;
	entry->line = span_of(line, (size_t)(at - line));
	parser->at = at;
	return 1;
}

static int read_type(struct expo_parser *parser, struct expo_entry *entry)
{
	entry->kind = EXPO_TYPE;
	for (enum expo_type type = EXPO_TYPE_UNKNOWN; type <= EXPO_TYPE_STATESET; type++) {
		if (span_eq(entry->text.raw, span_str(expo_type_name(type)))) {
			entry->type = type;
			entry->text = (struct expo_text){0};
			return 1;
		}
	}
	expo_fail(parser, entry->text.raw.ptr, "not a metric type");
	return -EBADMSG;
}

static int read_help(struct expo_parser *parser, struct expo_entry *entry)
{
	entry->kind = EXPO_HELP;
	if (span_is_utf8(entry->text.raw))
		return 1;
	expo_fail(parser, entry->text.raw.ptr, "HELP is not valid UTF-8");
	return -EBADMSG;
}

static int read_unit(struct expo_parser *parser, struct expo_entry *entry)
{
	struct span unit = entry->text.raw, name = entry->name.raw;
	entry->kind = EXPO_UNIT;
	if (unit.len == 0 ||
		(name.len > unit.len && span_ends_with(name, unit) && name.ptr[name.len - unit.len - 1] == '_'))
		return 1;
	expo_fail(parser, unit.ptr, "the unit is not a suffix of the metric's name");
	return -EBADMSG;
}

/* at: behind the keyword and its space. */
static int read_metadata(struct expo_parser *parser, const char *at, char keyword, struct expo_entry *entry)
{
	const char *line = parser->at;
	at = expo_scan_name(parser, at, &entry->name);
	if (!at)
		return -EBADMSG;
	const char *end = expo_line_end(parser, at);
	if (*at != ' ' || end == parser->end) {
		expo_fail(parser, at, end == parser->end ? "no # EOF at the end" : "expected a space after the name");
		return -EBADMSG;
	}
	entry->text.raw = span_of(at + 1, (size_t)(end - at - 1));
	entry->text.escaped = memchr(at + 1, '\\', entry->text.raw.len) != NULL;
	entry->line = span_of(line, (size_t)(end + 1 - line));
	int r = keyword == 'T'   ? read_type(parser, entry)
		: keyword == 'H' ? read_help(parser, entry)
				 : read_unit(parser, entry);
	if (r > 0)
		parser->at = end + 1;
	return r;
}

static int read_eof(struct expo_parser *parser, const char *at)
{
	if (*at == '\n')
		at++;
	if (at < parser->end) {
		expo_fail(parser, at, "data after # EOF");
		return -EBADMSG;
	}
	parser->saw_eof = true;
	parser->at = at;
	return 0;
}

int expo_om_next(struct expo_parser *parser, struct expo_entry *entry)
{
	const char *at = parser->at;
	if (at == parser->end) {
		if (parser->saw_eof || parser->start == parser->end) /* a body of 0 bytes is fine: P-25 */
			return 0;
		expo_fail(parser, at, "no # EOF at the end");
		return -EBADMSG;
	}
	if (*at != '#')
		return read_sample(parser, entry);
	if (memcmp(at, "# HELP ", 7) == 0 || memcmp(at, "# TYPE ", 7) == 0 || memcmp(at, "# UNIT ", 7) == 0)
		return read_metadata(parser, at + 7, at[2], entry);
	if (memcmp(at, "# EOF", 5) == 0)
		return read_eof(parser, at + 5);
	expo_fail(parser, at, "expected # HELP, # TYPE, # UNIT or # EOF");
	return -EBADMSG;
}
