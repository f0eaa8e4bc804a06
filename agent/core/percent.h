/* percent: %XX in texts of the environment and of URLs. */
#pragma once

#include "gleaner/base.h"

/* Decodes into the arena. plus_is_blank: as in a query. 0; -EINVAL: a % without two hexadecimal digits, or %00; -ENOMEM. */
int percent_decode(struct span text, bool plus_is_blank, struct arena *arena, struct span *ret_text);
