/* Structs -> YAML: the effective configuration, with every default in its place and secrets hidden.
 *
 * What is unset and has no default leaves no line; an object without lines leaves none either, unless it was written.
 * The result reads back as the same configuration, secrets apart.
 */
#include "value.h"

#include "gleaner/config.h"

struct printer {
	struct buf *out;
	unsigned indent;
	bool dash;  /* the next line begins an item of a list */
	bool plain; /* secrets are not hidden: for config_same */
};

static bool hides(const struct printer *printer, const struct option *option)
{
	return option->secret && !printer->plain;
}

static void begin_line(struct printer *printer)
{
	unsigned blanks = printer->dash ? printer->indent - 2 : printer->indent;
	buf_printf(printer->out, "%*s%s", (int)blanks, "", printer->dash ? "- " : "");
	printer->dash = false;
}

static bool is_plain(struct span text)
{
	static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (span_eq_nocase(text, span_str(words[i])))
			return false;
	}
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
		bool inside = (c >= '0' && c <= '9') || c == '.' || c == '-';
		if (!letter && (i == 0 || !inside))
			return false;
	}
	return text.len > 0;
}

/* In quotes where YAML could read anything but this text; `$` doubled where it would be read as a variable. */
static void put_text(struct span text, struct buf *out)
{
	if (is_plain(text)) {
		buf_span(out, text);
		return;
	}
	struct buf escaped;
	buf_init(&escaped, SIZE_MAX / 2);
	escaped.secret = true;
	for (size_t i = 0; i < text.len; i++) {
		struct span rest = span_of(text.ptr + i, text.len - i);
		if (span_starts_with(rest, SPAN("${env:")) || span_starts_with(rest, SPAN("$$")))
			buf_char(&escaped, '$');
		buf_char(&escaped, text.ptr[i]);
	}
	buf_json(out, buf_view(&escaped));
	if (escaped.failed)
		out->failed = escaped.failed;
	buf_done(&escaped);
}

static void put_strings(const struct option_strings *strings, bool secret, struct buf *out)
{
	buf_char(out, '[');
	for (size_t i = 0; i < strings->count; i++) {
		buf_str(out, i ? ", " : "");
		put_text(secret ? SPAN("<secret>") : span_str(strings->items[i]), out);
	}
	buf_char(out, ']');
}

static void put_scalar(struct printer *printer, const struct option *option, const void *field)
{
	struct buf text;
	buf_init(&text, SIZE_MAX / 2);
	text.secret = true;
	if (value_text(option, field, &text)) {
		begin_line(printer);
		buf_printf(printer->out, "%s: ", option->name);
		if (hides(printer, option))
			buf_str(printer->out, "<secret>");
		else if (option->kind == OPTION_STRING)
			put_text(buf_view(&text), printer->out);
		else
			buf_span(printer->out, buf_view(&text));
		buf_char(printer->out, '\n');
	}
	if (text.failed)
		printer->out->failed = text.failed;
	buf_done(&text);
}

static void put_heading(struct printer *printer, const char *name)
{
	begin_line(printer);
	buf_printf(printer->out, "%s:\n", name);
}

static void put_pairs(struct printer *printer, const struct option *option, const struct option_pairs *pairs)
{
	if (pairs->count == 0)
		return;
	put_heading(printer, option->name);
	printer->indent += 2;
	for (size_t i = 0; i < pairs->count; i++) {
		begin_line(printer);
		put_text(span_str(pairs->items[i].name), printer->out);
		buf_str(printer->out, ": ");
		if (hides(printer, option))
			buf_str(printer->out, "<secret>");
		else
			put_text(span_str(pairs->items[i].value), printer->out);
		buf_char(printer->out, '\n');
	}
	printer->indent -= 2;
}

static void put_lists(struct printer *printer, const struct option *option, const struct option_lists *lists)
{
	if (lists->count == 0)
		return;
	put_heading(printer, option->name);
	printer->indent += 2;
	for (size_t i = 0; i < lists->count; i++) {
		begin_line(printer);
		put_text(span_str(lists->items[i].name), printer->out);
		buf_str(printer->out, ": ");
		put_strings(&lists->items[i].values, hides(printer, option), printer->out);
		buf_char(printer->out, '\n');
	}
	printer->indent -= 2;
}

static void put_keys(struct printer *printer, const struct option_table *table, const void *object);

static void put_object(struct printer *printer, const struct option *option, const void *field, bool written)
{
	size_t before = printer->out->len;
	bool dash = printer->dash;
	put_heading(printer, option->name);
	size_t heading_end = printer->out->len;
	printer->indent += 2;
	put_keys(printer, option->fields, field);
	printer->indent -= 2;
	if (printer->out->len > heading_end || written)
		return;
	printer->out->len = before;
	printer->dash = dash;
}

static void put_objects(struct printer *printer, const struct option *option, const struct option_objects *objects)
{
	if (objects->count == 0)
		return;
	put_heading(printer, option->name);
	printer->indent += 4;
	for (size_t i = 0; i < objects->count; i++) {
		printer->dash = true;
		put_keys(printer, option->fields, (const char *)objects->items + i * option->fields->size);
		if (printer->dash) { /* no key left a line */
			begin_line(printer);
			buf_str(printer->out, "{}\n");
		}
	}
	printer->indent -= 4;
}

static void put_keys(struct printer *printer, const struct option_table *table, const void *object)
{
	for (const struct option *option = table->options; option->name; option++) {
		const void *field = (const char *)object + option->offset;
		bool written = option->given_offset && *(const bool *)((const char *)object + option->given_offset);
		bool hidden = option->given_offset && option->kind == OPTION_OBJECT && !written;
		if (hidden)
			continue;
		if (value_is_scalar(option->kind)) {
			put_scalar(printer, option, field);
		} else if (option->kind == OPTION_OBJECT) {
			put_object(printer, option, field, written);
		} else if (option->kind == OPTION_OBJECTS) {
			put_objects(printer, option, field);
		} else if (option->kind == OPTION_PAIRS) {
			put_pairs(printer, option, field);
		} else if (option->kind == OPTION_LISTS) {
			put_lists(printer, option, field);
		} else if (((const struct option_strings *)field)->count > 0) {
			begin_line(printer);
			buf_printf(printer->out, "%s: ", option->name);
			put_strings(field, hides(printer, option), printer->out);
			buf_char(printer->out, '\n');
		}
	}
}

int config_print(const void *object, const struct option_table *table, struct buf *out)
{
	struct printer printer = {.out = out};
	size_t before = out->len;
	put_keys(&printer, table, object);
	if (out->len == before)
		buf_str(out, "{}\n");
	return out->failed;
}

bool config_same(const void *a, const void *b, const struct option_table *table)
{
	struct buf texts[2];
	const void *const objects[] = {a, b};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct printer printer = {.out = &texts[i], .plain = true};
		buf_init(&texts[i], SIZE_MAX / 2);
		texts[i].secret = true;
		put_keys(&printer, table, objects[i]);
	}
	bool same = !texts[0].failed && !texts[1].failed && span_eq(buf_view(&texts[0]), buf_view(&texts[1]));
	buf_done(&texts[0]);
	buf_done(&texts[1]);
	return same;
}
