/* Tables -> docs/config.md and `gleaner help config`. A table that is used in several places is described once. */
#include "value.h"

#include "gleaner/config.h"

#include <stdio.h>

#define TABLES_MAX 64

/* The tables below a root in the order of first use. */
struct table_list {
	const struct option_table *items[TABLES_MAX];
	size_t count;
};

static void collect(const struct option_table *table, struct table_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i] == table)
			return;
	}
	if (list->count == TABLES_MAX)
		return;
	list->items[list->count++] = table;
	for (const struct option *option = table->options; option->name; option++) {
		if (option->fields)
			collect(option->fields, list);
	}
}

/* Every place of `wanted` below `table`: `scrape_configs[].relabel_configs[]`, ... */
static void put_places(const struct option_table *table, const struct option_table *wanted, const char *prefix,
	size_t *places, struct buf *out)
{
	for (const struct option *option = table->options; option->name; option++) {
		if (!option->fields)
			continue;
		char place[256];
		snprintf(place, sizeof(place), "%s%s%s", prefix, option->name,
			option->kind == OPTION_OBJECTS ? "[]" : "");
		if (option->fields == wanted)
			buf_printf(out, "%s`%s`", (*places)++ ? ", " : "", place);
		snprintf(place, sizeof(place), "%s%s%s.", prefix, option->name,
			option->kind == OPTION_OBJECTS ? "[]" : "");
		put_places(option->fields, wanted, place, places, out);
	}
}

static void put_cell(const char *text, struct buf *out)
{
	for (; text && *text; text++)
		buf_printf(out, strchr("|<", *text) ? "\\%c" : "%c", *text);
}

/* A heading's link, as the usual renderers make it: without dots. */
static void put_anchor(const char *heading, struct buf *out)
{
	for (; *heading; heading++) {
		if (*heading != '.')
			buf_char(out, *heading);
	}
}

static void put_row(const struct option *option, struct buf *out)
{
	buf_printf(out, "| `%s` | ", option->name);
	if (option->fields) {
		buf_printf(out, "%s[%s](#", option->kind == OPTION_OBJECTS ? "list of " : "", option->fields->name);
		put_anchor(option->fields->name, out);
		buf_char(out, ')');
	} else {
		value_brief(option, out);
	}
	buf_str(out, " | ");
	if (option->required)
		buf_str(out, "required");
	if (option->value) {
		buf_char(out, '`');
		put_cell(option->value, out);
		buf_char(out, '`');
	}
	if (option->environment)
		buf_printf(out, "%s`$%s`", option->value ? ", or " : "", option->environment);
	buf_str(out, " | ");
	put_cell(option->help, out);
	buf_str(out, " |\n");
}

static void put_section(const struct option_table *root, const struct option_table *table, struct buf *out)
{
	buf_printf(out, "\n## %s\n\n", table == root ? "The file" : table->name);
	if (table->help)
		buf_printf(out, "%s\n\n", table->help);
	if (table != root) {
		size_t places = 0;
		buf_str(out, "Where: ");
		put_places(root, table, "", &places, out);
		buf_str(out, ".\n\n");
	}
	buf_str(out, "| Key | Expects | Default | Meaning |\n|---|---|---|---|\n");
	for (const struct option *option = table->options; option->name; option++)
		put_row(option, out);
	if (!table->unsupported)
		return;
	buf_str(out, "\nKnown to Prometheus, not yet supported by this version: ");
	for (size_t i = 0; table->unsupported[i]; i++)
		buf_printf(out, "%s`%s`", i ? ", " : "", table->unsupported[i]);
	buf_str(out, ".\n");
}

static const char preamble[] =
	"# Configuration\n"
	"\n"
	"<!-- Generated from the option tables by `gleaner config-doc`; a test fails when this file is stale. -->\n"
	"\n"
	"One YAML file, given by `gleaner run --config FILE`; `gleaner check FILE` explains what is wrong with it. "
	"Keys that\n"
	"Prometheus has are named and behave as there. A key that is not listed here is an error, never ignored.\n"
	"\n"
	"- **Durations** are numbers with a unit, biggest first: `30s`, `1m30s`, `500ms` (units `y w d h m s ms`).\n"
	"- **Sizes** are numbers with a unit, powers of 1024 either way: `10MB`, `512KiB`, or plain bytes.\n"
	"- **Environment**: `${env:NAME}` and `${env:NAME:-default}` are replaced in values (not in keys); what is put "
	"in is a\n"
	"  single value, it cannot add keys. A variable that is not set gives a warning and an empty value, and a key "
	"that is\n"
	"  empty through it has its default.\n"
	"- **Dollars**: `$$` is read as `$`, as the OpenTelemetry Collector does. A `$` before anything else stays: "
	"write `$1`\n"
	"  and `${1}` in a relabel `replacement`, as in Prometheus (a pasted `$$1` means the same, with a warning).\n"
	"- **Not YAML's full language**: no anchors, aliases, merge keys and tags, no key twice, one document, at most "
	"16 levels\n"
	"  and 1 MiB.\n"
	"- A default of the form `$NAME` is taken from that environment variable where it is set.\n";

int config_document(const struct option_table *table, struct buf *out)
{
	struct table_list list = {.count = 0};
	collect(table, &list);
	buf_str(out, preamble);
	for (size_t i = 0; i < list.count; i++)
		put_section(table, list.items[i], out);
	return out->failed;
}

static void put_help(const struct option_table *table, unsigned indent, struct buf *out)
{
	for (const struct option *option = table->options; option->name; option++) {
		buf_printf(out, "%*s%s:", (int)indent, "", option->name);
		if (option->fields) {
			buf_printf(out, "%s %s\n", option->kind == OPTION_OBJECTS ? " # list;" : "  #",
				option->help ? option->help : "");
			put_help(option->fields, indent + 2, out);
			continue;
		}
		if (option->value)
			buf_printf(out, " %s", option->value);
		buf_str(out, "  # ");
		if (option->required)
			buf_str(out, "required; ");
		if (option->environment)
			buf_printf(out, "$%s; ", option->environment);
		value_brief(option, out);
		buf_printf(out, ". %s\n", option->help ? option->help : "");
	}
}

int config_help(const struct option_table *table, struct buf *out)
{
	put_help(table, 0, out);
	return out->failed;
}
