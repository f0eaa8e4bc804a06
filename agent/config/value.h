/* value: one scalar's text <-> one field of a struct, and the words for what a key expects. */
#pragma once

#include "gleaner/option.h"

/* BOOL to CHOICE: reads `text` into the field at `field`. Strings are copied to the arena.
 * 0, -ENOMEM, or -EINVAL with err ("expected a duration such as 30s, got \"abc\""; a secret's text is not quoted). */
int value_read(const struct option *option, bool choices_ignore_case, struct span text, struct arena *arena,
	void *field, struct error *err);

/* "a duration such as 30s or 1m30s of at least 1s": goes after "expected". */
void value_expected(const struct option *option, struct buf *out);
/* "duration of at least 1s": the same for a table of keys. */
void value_brief(const struct option *option, struct buf *out);

/* The field as one would write it, YAML quoting apart; false when it is unset (NULL, or 0 with no default). */
bool value_text(const struct option *option, const void *field, struct buf *out);
bool value_is_scalar(enum option_kind kind);
