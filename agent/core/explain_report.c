/* Text and JSON of an explanation. Both are one pass: items are written as they come, the head is put before them in the end. */
#include "explain.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ITEMS_MAX_BYTES = 1 << 20, LINE_MAX_BYTES = 2000, ROOM_BYTES = 6 * LINE_MAX_BYTES + 64 };

void explain_begin(struct report *report, bool json)
{
	*report = (struct report){.json = json};
	buf_init(&report->items, ITEMS_MAX_BYTES + 64);
	buf_init(&report->line, LINE_MAX_BYTES + 1);
}

/* Printable ASCII; other bytes as %XX. */
static void put_plain(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c >= 0x20 && c < 0x7f)
			buf_char(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

static void put_string(struct buf *out, const char *key, struct span value)
{
	buf_printf(out, "\"%s\":", key);
	buf_json(out, value);
}

static bool has_room(struct report *report)
{
	if (report->items.len + ROOM_BYTES <= ITEMS_MAX_BYTES)
		return true;
	report->left_out++;
	return false;
}

static void close_item(struct report *report)
{
	if (report->open && report->json)
		buf_str(&report->items, "]}");
	report->open = false;
}

void explain_item(struct report *report, const char *title, bool scraped, const char *verdict)
{
	close_item(report);
	if (!has_room(report))
		return;
	struct buf *out = &report->items;
	if (report->json) {
		buf_str(out, report->item_count > 0 ? ",{" : "{");
		put_string(out, "title", span_str(title));
		buf_printf(out, ",\"scraped\":%s,", scraped ? "true" : "false");
		put_string(out, "verdict", span_str(verdict));
		buf_str(out, ",\"lines\":[");
	} else {
		buf_char(out, '\n');
		put_plain(out, span_str(title));
		buf_str(out, verdict[0] ? ": " : "");
		put_plain(out, span_str(verdict));
		buf_char(out, '\n');
	}
	report->open = true;
	report->line_count = 0;
	report->item_count++;
}

static void put_line(struct report *report, const char *kind, struct span text)
{
	static const char *const titles[][2] = {{"next", "Next: "}, {"dropped", "Dropped: "}, {"refused", "Refused: "}};
	struct buf *out = &report->items;
	if (report->json) {
		buf_str(out, report->line_count++ > 0 ? ",{" : "{");
		put_string(out, "kind", span_str(kind));
		buf_char(out, ',');
		put_string(out, "text", text);
		buf_char(out, '}');
		return;
	}
	buf_str(out, "  ");
	for (size_t i = 0; i < ARRAY_SIZE(titles); i++)
		buf_str(out, strcmp(kind, titles[i][0]) == 0 ? titles[i][1] : "");
	put_plain(out, text);
	buf_char(out, '\n');
}

void explain_line(struct report *report, const char *kind, const char *fmt, ...)
{
	va_list arguments;
	if (!report->open || !has_room(report))
		return;
	buf_reset(&report->line);
	char *at = buf_reserve(&report->line, LINE_MAX_BYTES);
	if (!at) {
		report->items.failed = report->line.failed;
		return;
	}
	va_start(arguments, fmt);
	int len = vsnprintf(at, LINE_MAX_BYTES, fmt, arguments);
	va_end(arguments);
	if (len > 0)
		put_line(report, kind, span_of(at, len < LINE_MAX_BYTES ? (size_t)len : LINE_MAX_BYTES - 1));
}

void explain_discard(struct report *report)
{
	buf_done(&report->items);
	buf_done(&report->line);
}

void explain_finish(struct report *report, const char *subject, bool scraped, const char *verdict, struct buf *out)
{
	close_item(report);
	if (report->items.failed)
		out->failed = report->items.failed;
	if (report->json) {
		buf_str(out, "{\"status\":\"success\",\"data\":{");
		put_string(out, "subject", span_str(subject));
		buf_printf(out, ",\"scraped\":%s,", scraped ? "true" : "false");
		put_string(out, "verdict", span_str(verdict));
		buf_printf(out, ",\"leftOut\":%zu,\"items\":[", report->left_out);
		buf_span(out, buf_view(&report->items));
		buf_str(out, "]}}\n");
	} else {
		put_plain(out, span_str(subject));
		buf_str(out, ": ");
		put_plain(out, span_str(verdict));
		buf_char(out, '\n');
		buf_span(out, buf_view(&report->items));
		if (report->left_out > 0)
			buf_printf(out, "\n%zu more lines are left out.\n", report->left_out);
	}
	explain_discard(report);
}
