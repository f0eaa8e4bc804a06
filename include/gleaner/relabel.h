/* relabel: Prometheus relabelling. RE2 lives here (behind a C shim) and nowhere else.
 *
 * Linear time for every pattern. A compiled program is immutable and may be used
 * by one thread at a time. source: docs of relabel_config, semantics 3.9.
 */
#pragma once

#include "gleaner/option.h"

enum relabel_action {
	RELABEL_REPLACE,
	RELABEL_KEEP,
	RELABEL_DROP,
	RELABEL_KEEPEQUAL,
	RELABEL_DROPEQUAL,
	RELABEL_HASHMOD,
	RELABEL_LABELMAP,
	RELABEL_LABELDROP,
	RELABEL_LABELKEEP,
	RELABEL_LOWERCASE,
	RELABEL_UPPERCASE,
};

/* One relabel_config as configured. For rules that are made in C: NULL stands for the default. */
struct relabel_rule {
	struct option_position position;
	struct option_strings source_labels;
	const char *separator;    /* ";" */
	const char *regex;        /* "(.*)"; at most 4 KiB */
	uint64_t modulus;         /* hashmod */
	const char *target_label; /* NULL when unset */
	const char *replacement;  /* "$1" */
	int action;               /* enum relabel_action */
};
extern const struct option_table relabel_rule_table;

/* For people, on one line: `keep [a, b] =~ "x;y"`, `replace [a] =~ "(.+)" -> b = "$1"`; defaults are left out. 0 or out->failed. */
int relabel_rule_text(const struct relabel_rule *rule, struct buf *out);

struct relabel;
/* Compiles and validates; the rules are not needed afterwards. err names the rule and what is wrong: "rule 2: regex: missing ): `(a`".
 * No rules give a NULL program. 0, -EINVAL, -ENOMEM.
 *   cost       some KiB and tens of microseconds a regex; the default regex costs nothing */
int relabel_compile(const struct relabel_rule *rules, size_t count, struct relabel **ret_relabel, struct error *err);
void relabel_free(struct relabel *relabel);
/* About how many microseconds its regexes took to compile; relabel_compile refuses more than a second's worth. */
size_t relabel_cost(const struct relabel *relabel);

/* Applies the rules in order. relabel may be NULL (keeps all).
 *   labels     names and values are UTF-8 (what is not is matched by no dot); what a rule sets lives in labels->arena or is a part of
 *              a value that was there or of the program, which therefore outlives the labels
 *   ret_rule   when 0 is returned and ret_rule is not NULL: index of the rule that dropped
 *   returns    1 kept, 0 dropped, -ENOMEM */
int relabel_apply(const struct relabel *relabel, struct labels_builder *labels, size_t *ret_rule);

/* Prometheus' utf8 scheme: any non-empty UTF-8. */
bool label_name_valid(struct span name);
