/* The URL of a target, P-07. */
#pragma once

#include "gleaner/target.h"

/* scheme://address/path?query. The path is a path whatever is in it; the query is the job's params with the first value of each
 * replaced by __param_<name>, keys sorted. Appends; 0 or out->failed. */
int url_build(const struct target_job *job, const struct target *target, bool explicit_port, struct labels finished,
	struct arena *scratch, struct buf *out);
