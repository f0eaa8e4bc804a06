/* Names, quotes, braces: what stands before the value of a sample, and how to take it apart again.
 *
 *   series   name | name { labels } | { "quoted name", labels }
 *   labels   (name = "value" | "quoted name" = "value") , ...
 *
 * Text allows blanks around everything, LF inside a value and a missing comma; OpenMetrics does not. Both allow a comma
 * before the brace, LF in a quoted name and NUL in a value. Quoted names and values are valid UTF-8; a name is not empty.
 */
#include "number.h"
#include "scan.h"

/* The table is built from ranges: 0x21 ! and on. NUL is in no class. */
#define LETTER (EXPO_NAME_START | EXPO_NAME | EXPO_LABEL_START | EXPO_LABEL | EXPO_QUOTED)
#define DIGIT  (EXPO_NAME | EXPO_LABEL | EXPO_QUOTED)
const unsigned char expo_classes[256] = {
	[0x01 ... '\n' - 1] = EXPO_QUOTED,
	['\n' + 1 ... '"' - 1] = EXPO_QUOTED,
	['"' + 1 ... '0' - 1] = EXPO_QUOTED,
	['0' ... '9'] = DIGIT,
	[':'] = EXPO_NAME_START | EXPO_NAME | EXPO_QUOTED,
	[':' + 1 ... 'A' - 1] = EXPO_QUOTED,
	['A' ... 'Z'] = LETTER,
	['['] = EXPO_QUOTED,
	['\\' + 1 ... '_' - 1] = EXPO_QUOTED,
	['_'] = LETTER,
	['`'] = EXPO_QUOTED,
	['a' ... 'z'] = LETTER,
	['z' + 1 ... 0x7f] = EXPO_QUOTED,
};

/* What may stand between quotes beside the bytes of EXPO_QUOTED. */
enum { ALLOW_LF = 1, ALLOW_NUL = 2 };

/* From the opening quote to behind the closing one. */
static const char *scan_quoted(
	struct expo_parser *parser, const char *at, unsigned allowed, const char *reason, struct expo_text *ret_text)
{
	const char *open = at++;
	bool escaped = false, high = false;
	for (;;) {
		while (expo_is(at, EXPO_QUOTED))
			at++;
		if (*at == '"')
			break;
		if (*at == '\\') {
			escaped = true;
			at++;
			if (*at == '"' || *at == '\\')
				at++;
			else if (*at == '\n')
				return expo_fail(parser, at, "LF behind a backslash");
			continue;
		}
		if (at >= parser->end || (*at == '\n' && !(allowed & ALLOW_LF)))
			return expo_fail(parser, at, "no closing quote");
		if (*at == '\0' && !(allowed & ALLOW_NUL))
			return expo_fail(parser, at, "NUL where none may be");
		high |= (unsigned char)*at >= 0x80;
		at++;
	}
	struct span raw = span_of(open + 1, (size_t)(at - open - 1));
	if (high && !span_is_utf8(raw))
		return expo_fail(parser, open, reason);
	*ret_text = (struct expo_text){raw, escaped};
	return at + 1;
}

static const char *scan_quoted_name(
	struct expo_parser *parser, const char *at, unsigned allowed, struct expo_text *ret_name)
{
	const char *next = scan_quoted(parser, at, allowed, "name is not valid UTF-8", ret_name);
	if (next && ret_name->raw.len == 0)
		return expo_fail(parser, at, "empty name");
	return next;
}

const char *expo_scan_name(struct expo_parser *parser, const char *at, struct expo_text *ret_name)
{
	if (*at == '"')
		return scan_quoted_name(parser, at, ALLOW_LF, ret_name);
	const char *start = at;
	if (!expo_is(at, EXPO_NAME_START))
		return expo_fail(parser, at, "expected a metric name");
	while (expo_is(at, EXPO_NAME))
		at++;
	*ret_name = (struct expo_text){span_of(start, (size_t)(at - start)), false};
	return at;
}

/* Text has blanks where OpenMetrics has none. */
static const char *skip(const struct expo_parser *parser, const char *at)
{
	return parser->format == EXPO_TEXT ? expo_skip_blanks(at) : at;
}

static const char *scan_label_name(
	struct expo_parser *parser, const char *at, unsigned allowed, struct expo_text *ret_name)
{
	if (*at == '"')
		return scan_quoted_name(parser, at, allowed, ret_name);
	const char *start = at;
	if (!expo_is(at, EXPO_LABEL_START))
		return expo_fail(parser, at, "expected a label name");
	while (expo_is(at, EXPO_LABEL))
		at++;
	*ret_name = (struct expo_text){span_of(start, (size_t)(at - start)), false};
	return at;
}

/* "name" without a value: the metric's. */
static const char *take_metric_name(
	struct expo_parser *parser, const char *start, const char *at, struct expo_text quoted, struct expo_text *name)
{
	if (*start != '"' || !name || (*at != ',' && *at != '}'))
		return expo_fail(parser, at, "expected '=' after the label name");
	if (name->raw.ptr)
		return expo_fail(parser, start, "second metric name");
	*name = quoted;
	return *at == ',' ? at + 1 : at;
}

/* ="value" and what separates it from the next. */
static const char *scan_label_value(struct expo_parser *parser, const char *at, unsigned allowed)
{
	struct expo_text value;
	at = skip(parser, at + 1);
	if (*at != '"')
		return expo_fail(parser, at, "expected a label value in quotes");
	at = scan_quoted(parser, at, allowed, "label value is not valid UTF-8", &value);
	if (!at)
		return NULL;
	at = skip(parser, at);
	if (*at == ',')
		return at + 1;
	if (parser->format == EXPO_OPENMETRICS && *at != '}')
		return expo_fail(parser, at, "expected ',' or '}' after the label value");
	return at; /* text: the comma may be missing */
}

const char *expo_scan_labels(struct expo_parser *parser, const char *at, struct expo_text *name)
{
	/* An exemplar, which only OpenMetrics has, allows neither anywhere. */
	unsigned in_names = name ? ALLOW_LF : 0;
	unsigned in_values = !name ? 0 : parser->format == EXPO_TEXT ? ALLOW_LF | ALLOW_NUL : ALLOW_NUL;
	for (;;) {
		at = skip(parser, at);
		if (*at == '}')
			return at + 1;
		struct expo_text label;
		const char *start = at;
		at = scan_label_name(parser, at, in_names, &label);
		if (!at)
			return NULL;
		at = skip(parser, at);
		at = *at == '=' ? scan_label_value(parser, at, in_values)
				: take_metric_name(parser, start, at, label, name);
		if (!at)
			return NULL;
	}
}

const char *expo_scan_series(struct expo_parser *parser, const char *at, struct expo_entry *entry)
{
	const char *start = at;
	if (*at != '{') {
		if (*at == '"')
			return expo_fail(parser, at, "a quoted metric name belongs inside the braces");
		at = expo_scan_name(parser, at, &entry->name);
		if (!at)
			return NULL;
	}
	entry->series = span_of(start, (size_t)(at - start));
	const char *brace = skip(parser, at);
	if (*brace != '{')
		return at;
	at = expo_scan_labels(parser, brace + 1, &entry->name);
	if (!at)
		return NULL;
	if (!entry->name.raw.ptr)
		return expo_fail(parser, start, "no metric name");
	entry->labels = span_of(brace + 1, (size_t)(at - brace - 2));
	entry->series = span_of(start, (size_t)(at - start));
	return at;
}

const char *expo_scan_value(struct expo_parser *parser, const char *at, const char *reason, double *ret_value)
{
	const char *next;
	int r = expo_scan_number(at, NULL, &next, ret_value);
	if (r == -ERANGE)
		return expo_fail(parser, at, "number too large");
	return r == 0 ? next : expo_fail(parser, at, reason);
}

/* ---- taking accepted labels apart ------------------------------------------ */

static struct span take(struct span *rest, size_t len)
{
	struct span taken = span_of(rest->ptr, len);
	rest->ptr += len;
	rest->len -= len;
	return taken;
}

/* Blanks, and commas when `commas`. */
static void drop(struct span *rest, bool commas)
{
	size_t len = 0;
	while (len < rest->len && (expo_is_blank(rest->ptr + len) || (commas && rest->ptr[len] == ',')))
		len++;
	take(rest, len);
}

/* The text between quotes, the quotes dropped. */
static struct expo_text take_quoted(struct span *rest)
{
	struct expo_text text = {0};
	take(rest, 1);
	size_t len = 0;
	for (; len < rest->len && rest->ptr[len] != '"'; len++) {
		if (rest->ptr[len] == '\\') {
			text.escaped = true;
			len += len + 1 < rest->len;
		}
	}
	text.raw = take(rest, len);
	take(rest, rest->len > 0);
	return text;
}

static struct expo_text take_name(struct span *rest)
{
	if (*rest->ptr == '"')
		return take_quoted(rest);
	size_t len = 1;
	while (len < rest->len && expo_is(rest->ptr + len, EXPO_LABEL))
		len++;
	return (struct expo_text){take(rest, len), false};
}

int expo_label_next(enum expo_format format, struct span *rest, struct expo_text *ret_name, struct expo_text *ret_value)
{
	(void)format; /* what the formats differ in was checked before; blanks that cannot be here do no harm */
	for (;;) {
		drop(rest, true);
		if (rest->len == 0)
			return 0;
		struct expo_text name = take_name(rest);
		drop(rest, false);
		if (rest->len == 0 || *rest->ptr != '=')
			continue; /* the metric's name */
		take(rest, 1);
		drop(rest, false);
		if (rest->len == 0)
			return 0;
		*ret_value = take_quoted(rest);
		*ret_name = name;
		return 1;
	}
}

int expo_unescape(struct buf *out, struct expo_text text, bool in_help)
{
	struct span rest = text.raw;
	const char *slash;
	while (text.escaped && (slash = memchr(rest.ptr, '\\', rest.len))) {
		size_t before = (size_t)(slash - rest.ptr);
		char c = before + 1 < rest.len ? slash[1] : '\0';
		buf_span(out, take(&rest, before));
		if (c == 'n' || c == '\\' || (c == '"' && !in_help)) {
			buf_char(out, c == 'n' ? '\n' : c);
			take(&rest, 2);
		} else { /* not an escape: it stays as it is */
			buf_span(out, take(&rest, c ? 2 : 1));
		}
	}
	return buf_span(out, rest);
}
