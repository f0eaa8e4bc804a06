/* The set of targets at one moment, made of groups, and what a configuration wants (the plan).
 *
 * A group is what one job makes of one pod, or of its static lists. Groups are immutable and refcounted: a pod whose record
 * did not change costs the next set one reference. A set is built beside the present one and replaces it as a whole, so a
 * failure half way leaves everything as it was. */
#pragma once

#include "found.h"

enum {
	DROPPED_MAX = 1000, /* targets shown as dropped, and the bytes of their labels */
	DROPPED_BYTES_MAX = 1 << 20,
};

/* ---- plan: a configuration, ready for use -------------------------------------------- */

struct plan_job {
	struct target_job *job;
	struct target_credentials *credentials; /* that the job gets when the plan is in force */
	bool pods;                              /* role=pod */
	bool annotated;                         /* the gleaner rule */
	bool listening;                         /* discovery.listen */
	struct option_strings namespaces;       /* of role=pod; empty: all */
};
struct plan {
	struct arena arena;
	struct plan_job *jobs;
	size_t job_count;
	struct discover_annotation_options annotations;
	struct discover_listen_options listen; /* enabled: its job is the last one */
	struct span node_name, kubelet_host;
	struct target_global_options global; /* for jobs of monitors */
};
/* present: the plan in force or NULL; a job with the same content is taken over from it. err as discover_configure. */
int plan_new(const struct discover_settings *settings, const struct plan *present, struct plan **ret_plan,
	struct error *err);
/* It is in force: jobs that were taken over get their new credentials. */
void plan_adopt(struct plan *plan);
void plan_free(struct plan *plan);

/* ---- groups ------------------------------------------------------------------------------ */

struct group {
	unsigned refs;
	struct target_job *job; /* NULL: it could not be made; there are only refusals */
	struct span uid;        /* of the pod; "": what the job has besides pods: its static lists, the kubelet */
	uint64_t hash;          /* of what it was made of: the pod, and its open ports and Services where they count */
	struct target **targets;
	size_t target_count;
	struct discover_dropped *dropped;
	size_t dropped_count, dropped_bytes;
	struct refusal *refusals;
	size_t refusal_count;
	size_t bytes; /* about what it takes */
	bool cut;     /* there was no room for all of its targets */
	struct arena arena;
};
struct group *group_ref(struct group *group);
void group_unref(struct group *group);

/* ---- the set ------------------------------------------------------------------------------- */

/* Jobs are known by their place: those of the plan, then those of monitors. It may be another one in the next set. */
struct placed {
	size_t job_index;
	struct group *group;
};
struct set {
	struct placed *groups; /* by job, then uid */
	size_t group_count, group_cap;
	struct target **targets; /* by job, then key; references are the groups' */
	size_t target_count;
	struct discover_dropped *dropped;
	size_t dropped_count, dropped_bytes;
	size_t *over_limit; /* per job: targets it would have had, when they exceed its target_limit, else 0 */
	size_t job_count;
	struct map by_key;
	struct arena arena;
};
int set_new(struct set **ret_set);
void set_free(struct set *set);
/* NULL when absent. */
struct group *set_group(const struct set *set, size_t job_index, struct span uid);
struct target *set_target(const struct set *set, uint64_t key);
/* Takes the reference, on failure too. 0, -ENOMEM. */
int set_add_group(struct set *set, size_t job_index, struct group *group);
/* What a group is made from. */
struct making {
	size_t job_index;
	struct target_job *job;
	enum target_origin origin;
	struct span uid;
	uint64_t hash;
	size_t bytes_max;
};
/* Why a group of a monitor is not complete. */
void group_no_room(struct error *ret_err);
/* Makes targets of what was found. A target that `present` holds with the same job and content is taken from there.
 *   returns  0; -ENOMEM. What cannot become a target is a refusal of the group. */
int set_build_group(
	struct set *set, const struct set *present, const struct making *making, const struct findings *findings);
/* All groups are there: fills targets, dropped, over_limit and by_key. 0, -ENOMEM. */
int set_finish(struct set *set, size_t job_count);
