/* What compile and the option table share: the defaults of a rule, and what is a rule at all. */
#pragma once

#include "gleaner/relabel.h"

#define RULE_SEPARATOR   ";"
#define RULE_REGEX       "(.*)"
#define RULE_REPLACEMENT "$1"

struct span rule_separator(const struct relabel_rule *rule);
struct span rule_regex(const struct relabel_rule *rule);
struct span rule_replacement(const struct relabel_rule *rule);

/* Everything that can be wrong with a rule but its regex. 0; -EINVAL with err and the key that is to blame. */
int rule_validate(const struct relabel_rule *rule, const char **ret_key, struct error *err);
