/* Templates with `$`: target_label and replacement, compiled once and expanded by Go's rules (regexp.Expand).
 *
 * `$name` and `${name}` are a group by number or name; without braces the name is the longest run of letters, digits and `_`, so `$1x` is
 * the group "1x". `$$` is a dollar. A group that does not exist or took no part is empty. Any other `$` stays as it is.
 */
#pragma once

#include "re2_shim.h"

#include "gleaner/base.h"

struct template_piece {
	struct span literal; /* used when group < 0 */
	int group;           /* 0: the whole match */
};
struct template
{
	struct template_piece *pieces;
	size_t count;
	size_t groups; /* the highest group that is asked for */
};

/* regex: whose groups are meant; NULL for the regex `(.*)`. Literals point into text, pieces are in the arena. 0, -ENOMEM. */
int template_compile(const struct regex *regex, struct span text, struct arena *arena, struct template *ret_template);
/* The template without any group, or false. */
bool template_is_literal(const struct template *template, struct span *ret_text);
/* Expands with the groups of the last match of regex; with regex NULL both groups 0 and 1 are `matched`.
 * The result is in the arena or points into matched, or into the template. 0, -ENOMEM. */
int template_expand(const struct template *template, const struct regex *regex, struct span matched,
	struct arena *arena, struct span *ret_text);
