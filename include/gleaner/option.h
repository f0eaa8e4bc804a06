/* option: what can be configured, as data.
 *
 * A module that can be configured has a plain struct in its header and exports
 * one table of `struct option` that says how a key of the configuration file
 * fills that struct. From the same tables come the loader (config), `--help` and
 * docs/config.md, so a key cannot exist without its line of documentation.
 * Tables are const; structs are filled in an arena that lives as long as they.
 */
#pragma once

#include "gleaner/base.h"

enum option_kind {
	OPTION_BOOL,     /* bool */
	OPTION_COUNT,    /* uint64_t, a plain number */
	OPTION_PORT,     /* uint64_t 1-65535 */
	OPTION_DURATION, /* uint64_t ns; text as duration_parse */
	OPTION_BYTES,    /* uint64_t; text as bytes_parse */
	OPTION_DOUBLE,   /* double */
	OPTION_STRING,   /* const char *; NULL when unset */
	OPTION_CHOICE,   /* int: index into `choices` */
	OPTION_STRINGS,  /* struct option_strings: a YAML sequence of strings (a single string is one) */
	OPTION_PAIRS,    /* struct option_pairs: a YAML mapping of strings to strings */
	OPTION_LISTS,    /* struct option_lists: a mapping of strings to sequences of strings (params) */
	OPTION_OBJECT,   /* the nested struct itself, in place */
	OPTION_OBJECTS,  /* struct option_objects: a YAML sequence of mappings */
};

struct option_strings {
	const char **items;
	size_t count;
};
struct option_pair {
	const char *name, *value;
};
struct option_pairs {
	struct option_pair *items;
	size_t count;
};
struct option_list {
	const char *name;
	struct option_strings values;
};
struct option_lists {
	struct option_list *items;
	size_t count;
};
/* items points to `count` structs of the element table's size, one behind the other. */
struct option_objects {
	void *items;
	size_t count;
};

/* Where in the file an object stood; for errors that show only later. Put one first in a struct whose table has `positioned`. */
struct option_position {
	const char *file;
	unsigned line, column; /* from 1; 0 when it came from nowhere (defaults, environment) */
};

struct option_table;

struct option {
	const char *name; /* NULL ends a table */
	enum option_kind kind;
	size_t offset; /* offsetof(struct, field) */
	/* The default, as one would write it (STRINGS: one item); NULL: unset (0, NULL, empty). A key without a value (null), or
	 * with ${env:NAME} alone that is empty, counts as not written. */
	const char *value;
	const char *help;        /* one sentence for --help and docs/config.md, with the unit */
	const char *environment; /* variable that gives the default when set, or NULL */
	const char *const
		*choices;  /* OPTION_CHOICE: names, NULL-terminated; letter case is ignored when the table says so */
	uint64_t min, max; /* of COUNT, DURATION (ns), BYTES; max 0: none */
	const struct option_table *fields; /* OPTION_OBJECT, OPTION_OBJECTS */
	bool required;                     /* in an object that was written */
	bool secret;                       /* shown as <secret> wherever the configuration is shown */
	size_t given_offset;               /* when not 0: offsetof a bool that becomes true when the key was written */
};

struct option_table {
	const char *name; /* of the object, for the documentation: "scrape_config" */
	const char *help;
	size_t size;                  /* sizeof the struct */
	const struct option *options; /* ends with name == NULL */
	bool positioned;              /* the struct begins with a struct option_position */
	bool choices_ignore_case;
	/* What a table cannot say (timeout <= interval, a regex compiles). Called once the object is filled, its inner objects
	 * checked before it; not when one of its keys was wrong already. Also called for an object that was not written, so
	 * the defaults must pass. On failure returns -EINVAL, fills err and, when one key is to blame, *ret_key with its name,
	 * so that the error points at that key's value. May be NULL. */
	int (*check)(void *object, struct arena *arena, const char **ret_key, struct error *err);
	/* Keys that Prometheus or the Collector know and this version does not: the error says so. NULL-terminated, or NULL. */
	const char *const *unsupported;
};
