/* Parts of the packed form that job.c uses too: a job's content is a hash of it. */
#pragma once

#include "gleaner/target.h"

/* Bytes of one packed job or target: what a message between the processes holds. */
enum { TARGET_PACKED_MAX = 4 << 20 };
/* Of them, bytes of a job's credentials (agent/target/credentials.c sees to it) and of all else. */
enum { TARGET_CREDENTIALS_MAX = 1 << 20, TARGET_BODY_MAX = TARGET_PACKED_MAX - TARGET_CREDENTIALS_MAX };

void pack_rules(const struct relabel_rule *rules, size_t count, struct buf *out);
void pack_pairs(const struct option_pairs *pairs, struct buf *out);
/* What target_job_pack writes but for the credentials. */
int pack_job_body(const struct target_job *job, struct buf *out);
/* What target_pack writes but for key and content, which are made of it. */
int pack_target_body(const struct target *target, struct buf *out);
