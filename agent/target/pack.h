/* Parts of the packed form that job.c uses too: a job's content is a hash of it. */
#pragma once

#include "gleaner/target.h"

/* Bytes of one packed job or target: what a message between the processes holds. */
enum { TARGET_PACKED_MAX = 4 << 20 };

void pack_rules(const struct relabel_rule *rules, size_t count, struct buf *out);
void pack_pairs(const struct option_pairs *pairs, struct buf *out);
/* What target_pack writes but for key and content, which are made of it. */
int pack_target_body(const struct target *target, struct buf *out);
