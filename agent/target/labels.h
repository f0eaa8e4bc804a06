/* The label sets that a target goes through, P-01 to P-06. */
#pragma once

#include "gleaner/target.h"

/* Base labels: the discovered ones and what the job seeds where nothing is set. 0, -ENOMEM. */
int labels_seed(struct labels_builder *labels, const struct target_job *job, struct labels discovered);
/* After relabelling: meta labels go, instance is there. 0, -ENOMEM. */
int labels_finish(struct labels_builder *labels);
/* The labels of the samples: those not reserved, and the external ones. 0, -ENOMEM. */
int labels_public(struct labels_builder *out, const struct target_job *job, struct labels finished);
/* Resource attributes: of the URL, after relabelling, and of the pod, before it. 0, -ENOMEM. */
int labels_resource(struct labels_builder *out, const struct target *target, bool explicit_port, struct labels seeded);
