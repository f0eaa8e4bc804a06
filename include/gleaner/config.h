/* config: YAML text -> structs, by option tables. libfyaml lives here and nowhere else.
 *
 * Knows no module: it gets a table. Every complaint has file, line, column, the key's path, what was expected and, for an unknown
 * key, the nearest known one; all complaints of a file are collected, not only the first.
 */
#pragma once

#include "gleaner/option.h"

struct config_problem {
	unsigned line, column; /* from 1 */
	bool warning;
	const char *text;   /* "scrape_configs[0].scrape_intervall: unknown key; did you mean scrape_interval?" */
	const char *source; /* the source line, for the caret; NULL when there is none */
};
struct config_problems {
	struct config_problem *items; /* in the order of the file */
	size_t count, errors;
};

struct config_input {
	const char *name; /* file name for messages */
	struct span text;
	const char *(*get_environment)(const char *name); /* for ${env:NAME}; getenv */
	bool hide_source; /* config_problems_print shows no line of the text: beside the mistake it may hold a secret */
};

/* Fills *ret_object (table->size bytes, zeroed first) with the defaults and what the text says. All strings go to the arena.
 * An empty text gives the defaults. ${env:NAME}, ${env:NAME:-default} and $$ are expanded as the Collector does, but a `$` before anything
 * else ($1, ${1}, ${name}) stays as it is (docs/config.md). No aliases, anchors or tags; depth 16; at most 1 MiB.
 * 0; -EINVAL when problems->errors > 0; -ENOMEM. */
int config_load(const struct config_input *input, const struct option_table *table, struct arena *arena,
	void *ret_object, struct config_problems *ret_problems);
/* Adds what only a look at the loaded whole can tell (a name twice); keeps the file's order. position.line 0: about no line.
 * Input and arena as in config_load. 0 or -ENOMEM. */
int config_problem_add(struct config_problems *problems, const struct config_input *input, struct arena *arena,
	struct option_position position, bool warning, const char *fmt, ...) GLEANER_PRINTF(6, 7);
/* "file:line:col: error: text\n  source line\n      ^\n" for each. */
int config_problems_print(const struct config_input *input, const struct config_problems *problems, struct buf *out);

/* The effective configuration as YAML, secrets as <secret>. */
int config_print(const void *object, const struct option_table *table, struct buf *out);
/* Whether both print the same, secrets included; false also without memory. */
bool config_same(const void *a, const void *b, const struct option_table *table);
/* docs/config.md (Markdown) and the short form for --help. */
int config_document(const struct option_table *table, struct buf *out);
int config_help(const struct option_table *table, struct buf *out);

/* The word of a NULL-terminated list that was probably meant, or NULL when none is near. */
const char *config_suggest(struct span word, const char *const *choices);
