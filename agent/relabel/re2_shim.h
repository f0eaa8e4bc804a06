/* RE2 for C: the only door to the C++ in this program.
 *
 * Patterns mean what they mean to Prometheus: Go's RE2 syntax, anchored at both ends, the dot matches a newline, `$` is the end of the
 * text only. Matching is linear in pattern times text and never backtracks. No exception leaves the shim. Texts are UTF-8: a byte that
 * is not is matched by no dot. One regex belongs to one thread at a time. Only plain C types cross: base.h is not for C++.
 */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { REGEX_MAX_PATTERN = 4096 }; /* bytes */

struct regex;

/* Compiles. 0; -EINVAL with the reason ("missing ): (abc"), cut to reason_size; -ENOMEM. */
int regex_new(const char *pattern, size_t pattern_len, struct regex **ret_regex, char *reason, size_t reason_size);
void regex_free(struct regex *regex);

/* About how many microseconds it took to compile: literals are cheap; Unicode classes and repetitions make large programs of small patterns. */
size_t regex_cost(const struct regex *regex);
/* Number of capturing groups, the whole match not counted. */
size_t regex_groups(const struct regex *regex);
/* Index of a named group, 0 when there is none of that name. */
size_t regex_group_index(const struct regex *regex, const char *name, size_t name_len);

/* Whether the whole text matches.
 *   groups     keep captures up to this group for regex_group, 0: none are wanted. Asking for captures costs about 6 times as much,
 *              but only when the text matches.
 *   returns    1 match, 0 none, -ENOMEM */
int regex_match(struct regex *regex, const char *text, size_t text_len, size_t groups);
/* Group of the last match that asked for it; points into that match's text; empty when the group took no part. */
const char *regex_group(const struct regex *regex, size_t group, size_t *ret_len);

#ifdef __cplusplus
}
#endif
