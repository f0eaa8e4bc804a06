/* kubelet.metrics: jobs for the kubelet's own endpoints. */
#pragma once

#include "gleaner/kube.h"
#include "gleaner/target.h"

enum { KUBELET_JOBS_MAX = 4 };

/* Appends at most KUBELET_JOBS_MAX jobs that live as long as the arena (and the options) to jobs[*count].
 *   ret_host  the kubelet's address, for discover_settings.kubelet_host; also without jobs, then "" when it is not known
 *   returns   0; -EINVAL with err (no IP address is known), -ENOMEM */
int kubelet_jobs(const struct kube_options *kubelet, struct arena *arena, struct target_job_options *jobs,
	size_t *count, struct span *ret_host, struct error *err);
