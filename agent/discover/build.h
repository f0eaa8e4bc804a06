/* A set while it is built: what it is made from, and the sources that more than one file uses. */
#pragma once

#include "monitored.h"
#include "set.h"

/* A group without uid is one of the static lists, so a pod without uid is none. */
struct build {
	const struct plan *plan;
	struct monitored *monitored;              /* never NULL */
	const struct kube_pods *pods;             /* may be NULL */
	struct open_ports ports;                  /* sorted by pod, then number */
	const struct discover_settings *settings; /* of a new plan; NULL: the plan is the present one */
	const struct monitor_secrets *secrets;
	const struct set *present;
	const struct monitored *present_monitored; /* the same as monitored: its jobs are where they were */
	size_t present_jobs;                       /* jobs of the present plan: monitors' jobs come after them */
	struct arena *scratch;
	struct set *set;
};

/* Whether pods of it are looked at: it is of this node and has a uid. */
bool build_wants_pod(const struct build *build, const struct kube_pod *pod);
/* Whether the job of the plan looks at the pod. */
bool build_job_wants(const struct plan_job *job, const struct kube_pod *pod);
/* Of what is in force now; set is NULL. */
struct build build_of_present(struct discover *discover);
/* One static_config of the job. 0, -ENOMEM. */
int find_static(const struct target_job_options *job, size_t config_at, struct findings *findings);

/* monitored.c: groups of all jobs of monitors. 0, -ENOMEM. */
int build_monitored(struct build *build);
