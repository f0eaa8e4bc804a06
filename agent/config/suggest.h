/* suggest: the nearest known word to a mistyped one. */
#pragma once

#include "gleaner/option.h"

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b; letter case, `-` and `_` are the same. Words of more than
 * 64 bytes are infinitely far (SIZE_MAX). No allocation. */
size_t suggest_distance(struct span a, struct span b);

/* The nearest of a NULL-terminated list, or of a table's keys, when it is near enough to be meant; else NULL. */
const char *suggest_from(struct span word, const char *const *choices);
const struct option *suggest_key(struct span word, const struct option_table *table);
