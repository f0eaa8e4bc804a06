// links: expo
/* Every input is read as text, as strict text and as OpenMetrics. What holds for any bytes: spans lie inside the body,
 * offsets too, labels can be walked, and expo_tail reads the line as expo_next did. */
#include "gleaner/expo.h"

#include <stdlib.h>

#define CHECK(claim)                                                                                                   \
	do {                                                                                                           \
		if (!(claim))                                                                                          \
			__builtin_trap();                                                                              \
	} while (0)

static void check_inside(struct span outer, struct span inner)
{
	CHECK(inner.len == 0 || (inner.ptr >= outer.ptr && inner.ptr + inner.len <= outer.ptr + outer.len));
}

static void check_labels(enum expo_format format, struct span labels)
{
	struct span rest = labels;
	struct expo_text name, value;
	struct buf text;
	while (expo_label_next(format, &rest, &name, &value) > 0) {
		check_inside(labels, name.raw);
		check_inside(labels, value.raw);
		CHECK(name.raw.len > 0 && span_is_utf8(value.raw));
		buf_init(&text, value.raw.len);
		CHECK(expo_unescape(&text, value, false) == 0); /* never longer than before */
		buf_done(&text);
	}
}

static bool same_double(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static void check_tail(const struct expo_parser *after, const struct expo_entry *entry)
{
	struct expo_parser parser = *after;
	struct expo_entry tail = {0};
	parser.at = entry->line.ptr;
	CHECK(expo_tail(&parser, entry->prefix.len, &tail) == 1);
	CHECK(parser.at == after->at && same_double(tail.value, entry->value) && tail.time_ms == entry->time_ms &&
		tail.has_exemplar == entry->has_exemplar);
	if (entry->has_exemplar)
		CHECK(same_double(tail.exemplar.value, entry->exemplar.value) &&
			tail.exemplar.time_ms == entry->exemplar.time_ms &&
			span_eq(tail.exemplar.labels, entry->exemplar.labels));
}

static void check_entry(const struct expo_parser *parser, const struct expo_entry *entry)
{
	check_inside(span_of(parser->start, (size_t)(parser->end - parser->start)), entry->line);
	CHECK(entry->line.len > 0 && entry->line.ptr + entry->line.len == parser->at && entry->name.raw.len > 0);
	check_inside(entry->line, entry->name.raw);
	check_inside(entry->line, entry->text.raw);
	if (entry->kind != EXPO_SAMPLE)
		return;
	check_inside(entry->line, entry->prefix);
	check_inside(entry->prefix, entry->series);
	check_inside(entry->series, entry->labels);
	check_inside(entry->line, entry->exemplar.labels);
	check_labels(parser->format, entry->labels);
	if (entry->has_exemplar)
		check_labels(parser->format, entry->exemplar.labels);
	check_tail(parser, entry);
}

static void read_body(struct span body, enum expo_format format, bool strict)
{
	struct expo_parser parser;
	struct expo_entry entry;
	int r;
	expo_init(&parser, format, body, 100000);
	parser.strict = strict;
	for (const char *before = parser.at; (r = expo_next(&parser, &entry)) > 0; before = parser.at) {
		CHECK(parser.at > before && parser.at <= parser.end);
		check_entry(&parser, &entry);
		parser.at = entry.line.ptr;
		if (entry.kind != EXPO_SAMPLE && entry.line.ptr[entry.line.len - 1] == '\n')
			CHECK(expo_skip_same(&parser, entry.line));
		parser.at = entry.line.ptr + entry.line.len;
	}
	if (r < 0) {
		CHECK(parser.reason && parser.offset <= body.len && expo_error_line(&parser) >= 1);
		CHECK(expo_next(&parser, &entry) == r);
	} else {
		CHECK(parser.at == parser.end && expo_next(&parser, &entry) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *body = calloc(1, size + EXPO_PADDING);
	if (!body)
		return 0;
	memcpy(body, data, size);
	read_body(span_of(body, size), EXPO_TEXT, false);
	read_body(span_of(body, size), EXPO_TEXT, true);
	read_body(span_of(body, size), EXPO_OPENMETRICS, false);
	free(body);
	return 0;
}
