/* Upper and lower case, by code point, as Go's strings.ToUpper and ToLower do it: simple mappings, no locale, "ß" stays "ß". */
#pragma once

#include "gleaner/base.h"

/* A mapped copy in the arena; a span with a NULL pointer when memory is exhausted. Bytes that are no UTF-8 are copied. */
struct span case_upper(struct arena *arena, struct span text);
struct span case_lower(struct arena *arena, struct span text);
