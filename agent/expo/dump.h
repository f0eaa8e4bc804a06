/* For the tests of this module: a body as text, one line an entry, and tables of bodies with the dump they must give.
 *
 *   TYPE name counter        HELP name|text        UNIT name|text
 *   name{label|value,...} 1.5 @time # {label|value} 2 @time
 *   ! reason @offset:line    ~ lines tolerated, when there are any
 *
 * Each sample is also read by expo_tail, which must agree with expo_next. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "gleaner/expo.h"
#include "test.h"

struct dump_case {
	const char *name;
	struct span body; /* SPAN("..."), so that it may hold NUL */
	const char *expected;
};

static inline uint64_t dump_bits(double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static inline void dump_labels(struct buf *out, enum expo_format format, struct span labels)
{
	struct expo_text name, value;
	const char *separator = "{";
	while (expo_label_next(format, &labels, &name, &value) > 0) {
		buf_str(out, separator);
		expo_unescape(out, name, false);
		buf_char(out, '|');
		expo_unescape(out, value, false);
		separator = ",";
	}
	buf_str(out, separator[0] == ',' ? "}" : "");
}

static inline void dump_value(struct buf *out, double value, int64_t time_ms)
{
	buf_printf(out, " %.17g", value);
	if (time_ms != EXPO_NO_TIME)
		buf_printf(out, " @%lld", (long long)time_ms);
}

static inline void dump_entry(struct buf *out, enum expo_format format, const struct expo_entry *entry)
{
	static const char *const kinds[] = {"", "TYPE ", "HELP ", "UNIT "};
	buf_str(out, kinds[entry->kind]);
	expo_unescape(out, entry->name, false);
	switch (entry->kind) {
	case EXPO_TYPE:
		buf_printf(out, " %s", expo_type_name(entry->type));
		break;
	case EXPO_HELP:
	case EXPO_UNIT:
		buf_char(out, '|');
		expo_unescape(out, entry->text, format == EXPO_TEXT);
		break;
	case EXPO_SAMPLE:
		dump_labels(out, format, entry->labels);
		dump_value(out, entry->value, entry->time_ms);
		if (entry->has_exemplar) {
			buf_str(out, " # ");
			dump_labels(out, format, entry->exemplar.labels);
			dump_value(out, entry->exemplar.value, entry->exemplar.time_ms);
		}
		break;
	}
	buf_char(out, '\n');
}

static inline void dump_check_tail(
	const struct expo_parser *after, uint64_t tolerated_before, const struct expo_entry *entry)
{
	struct expo_parser parser = *after;
	struct expo_entry tail = {0};
	parser.at = entry->line.ptr;
	parser.tolerated = tolerated_before;
	assert_int_equal(expo_tail(&parser, entry->prefix.len, &tail), 1);
	assert_ptr_equal(parser.at, after->at);
	assert_int_equal(dump_bits(tail.value), dump_bits(entry->value));
	assert_int_equal(tail.time_ms, entry->time_ms);
	assert_int_equal(tail.has_exemplar, entry->has_exemplar);
	if (entry->has_exemplar) {
		assert_int_equal(dump_bits(tail.exemplar.value), dump_bits(entry->exemplar.value));
		assert_int_equal(tail.exemplar.time_ms, entry->exemplar.time_ms);
		assert_true(span_eq(tail.exemplar.labels, entry->exemplar.labels));
	}
}

/* The body is copied to where EXPO_PADDING zero bytes follow, and nothing else. */
static inline void dump_body(struct buf *out, enum expo_format format, struct span body, bool strict)
{
	char *copy = calloc(1, body.len + EXPO_PADDING);
	assert_non_null(copy);
	memcpy(copy, body.ptr, body.len);
	struct expo_parser parser;
	expo_init(&parser, format, span_of(copy, body.len), 1 << 20);
	parser.strict = strict;

	struct expo_entry entry;
	int r;
	uint64_t tolerated = 0;
	for (; (r = expo_next(&parser, &entry)) > 0; tolerated = parser.tolerated) {
		dump_entry(out, format, &entry);
		if (entry.kind == EXPO_SAMPLE)
			dump_check_tail(
				&parser, parser.tolerated > tolerated ? parser.tolerated - 1 : tolerated, &entry);
	}
	if (r < 0) {
		assert_int_equal(r, -EBADMSG);
		buf_printf(out, "! %s @%zu:%zu\n", parser.reason, parser.offset, expo_error_line(&parser));
	}
	if (parser.tolerated > 0)
		buf_printf(out, "~ %llu\n", (unsigned long long)parser.tolerated);
	free(copy);
}

static inline void dump_check(enum expo_format format, bool strict, const struct dump_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		dump_body(&out, format, cases[i].body, strict);
		if (out.failed || !span_eq(buf_view(&out), span_str(cases[i].expected)))
			print_error("case \"%s\":\n", cases[i].name);
		test_assert_text(buf_view(&out), cases[i].expected);
		buf_done(&out);
	}
}
