/* The entry points of the parser: they choose the format and keep the promises that hold for both. */
#include "number.h"
#include "scan.h"

void expo_init(struct expo_parser *parser, enum expo_format format, struct span body, size_t max_line)
{
	static const char empty[EXPO_PADDING];
	const char *start = body.len > 0 ? body.ptr : empty;
	*parser = (struct expo_parser){
		.format = format,
		.start = start,
		.at = start,
		.end = start + body.len,
		.max_line = max_line,
	};
}

int expo_next(struct expo_parser *parser, struct expo_entry *ret_entry)
{
	struct expo_entry entry = {.time_ms = EXPO_NO_TIME, .exemplar.time_ms = EXPO_NO_TIME};
	const char *before = parser->at;
	uint64_t tolerated = parser->tolerated;

	int r = parser->format == EXPO_TEXT ? expo_text_next(parser, &entry) : expo_om_next(parser, &entry);
	if (r > 0 && entry.line.len > parser->max_line) {
		expo_fail(parser, entry.line.ptr, "line longer than the limit");
		r = -EBADMSG;
	}
	if (r < 0) {
		parser->at = before;
		parser->tolerated = tolerated;
	}
	if (r > 0)
		*ret_entry = entry;
	return r;
}

/* Timestamps, exemplars, CR, odd blanks: whatever the inline way of expo_tail leaves. */
static int long_tail(struct expo_parser *parser, const char *at, struct expo_entry *ret_entry)
{
	struct expo_entry entry;
	uint64_t tolerated = parser->tolerated;
	const char *next = parser->format == EXPO_TEXT ? expo_text_tail(parser, at, expo_is_blank(parser->at), &entry)
						       : expo_om_tail(parser, at, &entry);
	if (!next || (size_t)(next - parser->at) > parser->max_line) {
		parser->tolerated = tolerated;
		return 0;
	}
	ret_entry->value = entry.value;
	ret_entry->time_ms = entry.time_ms;
	ret_entry->has_exemplar = entry.has_exemplar;
	if (entry.has_exemplar)
		ret_entry->exemplar = entry.exemplar;
	parser->at = next;
	return 1;
}

int expo_tail(struct expo_parser *parser, size_t prefix_len, struct expo_entry *ret_entry)
{
	const char *at = parser->at + prefix_len, *next;
	double value;
	if (expo_is_digit(at, NULL) && at[1] == '\n') { /* most values of most pages */
		value = *at - '0';
		next = at + 1;
	} else if (expo_scan_number(at, NULL, &next, &value) < 0 || *next != '\n') {
		return long_tail(parser, at, ret_entry);
	}
	next++;
	if ((size_t)(next - parser->at) > parser->max_line)
		return 0;
	parser->tolerated += expo_is_blank(parser->at); /* D-25; OpenMetrics has no such prefix */
	parser->at = next;
	ret_entry->value = value;
	ret_entry->time_ms = EXPO_NO_TIME;
	ret_entry->has_exemplar = false;
	return 1;
}

size_t expo_error_line(const struct expo_parser *parser)
{
	size_t line = 1;
	const char *stop = parser->start + parser->offset;
	for (const char *at = parser->start; (at = memchr(at, '\n', (size_t)(stop - at))); at++)
		line++;
	return line;
}

const char *expo_type_name(enum expo_type type)
{
	static const char *const names[] = {
		[EXPO_TYPE_UNKNOWN] = "unknown",
		[EXPO_TYPE_COUNTER] = "counter",
		[EXPO_TYPE_GAUGE] = "gauge",
		[EXPO_TYPE_HISTOGRAM] = "histogram",
		[EXPO_TYPE_GAUGEHISTOGRAM] = "gaugehistogram",
		[EXPO_TYPE_SUMMARY] = "summary",
		[EXPO_TYPE_INFO] = "info",
		[EXPO_TYPE_STATESET] = "stateset",
	};
	return names[type];
}

int expo_format_of(struct span content_type, enum expo_format fallback, enum expo_format *ret_format)
{
	struct span media_type = SPAN_NONE, rest = content_type;
	span_next(&rest, ';', &media_type);
	media_type = span_trim(media_type);
	if (span_eq_nocase(media_type, SPAN("application/vnd.google.protobuf")))
		return -EPROTONOSUPPORT;
	if (span_eq_nocase(media_type, SPAN("application/openmetrics-text")))
		*ret_format = EXPO_OPENMETRICS;
	else if (span_eq_nocase(media_type, SPAN("text/plain")))
		*ret_format = EXPO_TEXT;
	else
		*ret_format = fallback;
	return 0;
}
