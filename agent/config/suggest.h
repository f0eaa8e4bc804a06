/* suggest: the nearest known word to a mistyped one. */
#pragma once

#include "gleaner/config.h"

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b; letter case, `-` and `_` are the same. Words of more than
 * 64 bytes are infinitely far (SIZE_MAX). No allocation. */
size_t suggest_distance(struct span a, struct span b);

/* As config_suggest, among a table's keys. */
const struct option *suggest_key(struct span word, const struct option_table *table);
