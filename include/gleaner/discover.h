/* discover: pods and static lists -> the set of targets, as differences.
 *
 * Runs in the core's loop. Holds the present set; each call that brings new facts
 * compares and reports only what is new and what is gone. A target that did not
 * change is never mentioned.
 */
#pragma once

#include "gleaner/kube.h"
#include "gleaner/monitor.h"
#include "gleaner/target.h"

/* The annotations: object: built-in discovery by the annotations prometheus.io/scrape and others (docs/annotations.md). */
struct discover_annotation_options {
	bool enabled;
	const char *job_name; /* "kubernetes-pods"; a configured job of this name replaces the rule */
	const char *prefix;   /* "prometheus.io" */
	uint64_t min_interval_ns, max_interval_ns; /* clamps of prometheus.io/interval (and scrape_interval), timeout */
	uint64_t max_targets_per_pod;
	bool host_network; /* annotated hostNetwork pods too */
};
extern const struct option_table discover_annotation_table;

/* The discovery.listen: object: ports that a pod listens on without declaring them (docs/ebpf.md). */
struct discover_listen_options {
	bool enabled;
	const char *job_name; /* "kubernetes-listen"; no scrape_config may have this name */
	const char *metrics_path;
	struct option_strings namespaces; /* empty: all */
	uint64_t max_ports_per_pod;
	bool host_network; /* hostNetwork pods too, but for the node's control ports */
};
extern const struct option_table discover_listen_table;

/* Only read during discover_configure: nothing of it need live on. */
struct discover_settings {
	const struct target_global_options *global;
	const struct target_job_options *jobs; /* as configured */
	size_t job_count;
	const struct discover_annotation_options *annotations;
	const struct discover_listen_options *listen; /* NULL: not enabled */
	struct span node_name;                        /* a pod of another node is ignored; empty: not checked */
	struct span
		kubelet_host; /* the one address of targets of jobs of_kubelet and of the kubelets' Service; empty: none */
};

/* Called from within discover_configure and discover_pods, when the new set is in force; they may ask, but not bring new facts.
 * First all that are gone, then changed and added in the order of the set, then refused. */
struct discover_events {
	void (*added)(void *arg, struct target *target);
	/* A changed target is reported as removed(old), added(new) with the same key; see also `changed`. */
	void (*removed)(void *arg, struct target *target);
	/* The same key with other content: the series cache may live on. NULL: removed + added. */
	void (*changed)(void *arg, struct target *old_target, struct target *target);
	/* A target that could not be made (bad annotation, bad interval, ...), or a job over its target_limit (discovered is then
	 * {job="..."}; it has no targets). Once per cause and pod until the next discover_configure. May be NULL. */
	void (*refused)(void *arg, struct labels discovered, const struct error *err);
	void *arg;
};

struct discover;
int discover_new(struct discover_events events, struct discover **ret_discover);
/* No events. */
void discover_free(struct discover *discover);
/* New configuration (start, reload). A job that is the same but for its credentials stays, and has those then. All or nothing: on failure the old one stays. err names the position in the file: a job as
 * target_job_new says, a static target that is no address of this host, a job_name that is used twice. 0, -EINVAL, -ENOMEM. */
int discover_configure(struct discover *discover, const struct discover_settings *settings, struct error *err);
/* A new list of pods; a reference is taken. NULL: none is known any more. 0; -ENOMEM: the old list stays. Cost: what changed; a pod whose hash is the same costs one
 * look-up for each job. */
int discover_pods(struct discover *discover, struct kube_pods *pods);

/* Other monitors or Services; a reference is taken; NULL: none. Their jobs come after the configured ones. A job is made when a pod of
 * this node needs it and lives until its monitor changes; a target is keyed by pod, container, port, Service and endpoint, and stays the
 * same target as long as these and its labels do. 0; -ENOMEM: the old ones stay. Cost: a few selectors for each pod and monitor. */
int discover_monitors(struct discover *discover, struct monitor_set *set);
/* Where the values of references come from (before this nothing is known); asked from within the calls above and below. */
void discover_use_secrets(struct discover *discover, struct monitor_secrets secrets);
/* Values changed, came or went: jobs with references ask again. One whose value is not known has no targets, and a refusal for each of its
 * pods that says why. 0; -ENOMEM. */
int discover_secrets_changed(struct discover *discover);
/* What discover_monitors was given last; borrowed, may be NULL. */
struct monitor_set *discover_monitor_set(const struct discover *discover);

/* Whether an open port of a pod may become a target of discovery.listen: the pod is selected, has an address and is running, declares
 * no such TCP port, and no other job has it as a target. The caller scrapes it once to see what it is. Cost: the pod's targets. */
bool discover_wants_port(const struct discover *discover, struct span pod_uid, uint16_t port);
/* Open ports that are targets of discovery.listen from now on, in any order; all of them each time. Strings are only read. Those that
 * discover_wants_port would refuse, and those beyond max_ports_per_pod, are left out. 0; -ENOMEM: the old ones stay. */
struct discover_port {
	char pod_uid[40];
	char container_id[72]; /* 64 hex digits, or "" */
	uint16_t port;
};
int discover_ports(struct discover *discover, const struct discover_port *ports, size_t count);

/* The present set, in the order of job and key; valid until the next call that changes it. */
struct target *const *discover_targets(const struct discover *discover, size_t *ret_count);
/* NULL when absent. */
struct target *discover_find(const struct discover *discover, uint64_t key);

/* Targets that relabelling dropped, for the targets page: their discovered labels and job. At most 1,000, and 1 MiB of labels. A
 * target that was kept through a change of its pod keeps the discovered labels it was made with. */
struct discover_dropped {
	struct labels discovered;
	struct span job_name;
	size_t rule; /* index of the relabel rule, or TARGET_NO_RULE: no address */
};
const struct discover_dropped *discover_dropped(const struct discover *discover, size_t *ret_count);

/* All that is refused now, in the order of the jobs: what `refused` has told since the configuration came, and is still so. */
void discover_each_refusal(const struct discover *discover,
	void (*visit)(void *arg, struct span job_name, struct labels discovered, const struct error *err), void *arg);

/* ---- explain.c: why a pod is scraped, or not ------------------------------------------------------------ */

enum discover_source { DISCOVER_BY_JOB, DISCOVER_BY_ANNOTATIONS, DISCOVER_BY_LISTENING, DISCOVER_BY_MONITOR };
enum { DISCOVER_REFUSALS_MAX = 8 };
/* What one source makes of one pod, in the present set. All is borrowed and lives until the next change. */
struct discover_answer {
	enum discover_source source;
	struct span job_name;                    /* "": of a monitor as a whole */
	const struct monitor_entry *entry;       /* of DISCOVER_BY_MONITOR */
	const struct monitor_endpoint *endpoint; /* likewise; NULL: why the monitor as a whole has nothing of the pod */
	bool asks;                               /* it selects the pod */
	bool near; /* it does not, but is of the pod's namespace or would if one thing were otherwise */
	bool almost; /* near, and somebody meant it: it is annotated, or a monitor that is not selected itself would ask */
	struct error why;             /* it does not ask, or nothing at all came of it: why */
	const struct target_job *job; /* NULL: there is none, refusals say why */
	/* What came of it. In force are those targets that discover_find finds by their keys; another one there is the same to a user. */
	struct target *const *targets;
	size_t target_count;
	const struct discover_dropped *dropped;
	size_t dropped_count;
	const struct error *refusals[DISCOVER_REFUSALS_MAX];
	size_t refusal_count;
	size_t over_limit; /* the job has none of its targets: there would be so many, and its target_limit is lower */
};
/* The pods as last told; NULL: none are known. */
const struct kube_pods *discover_known_pods(const struct discover *discover);
/* Asks every source, in the order of the jobs: those that could have pods, and (entry NULL) all monitors, else only this one.
 *   pod   one of discover_known_pods; NULL: what sources have besides pods, those that have something
 *   cost  the pod's selectors, for each monitor and Service of the namespace */
void discover_explain(struct discover *discover, const struct kube_pod *pod, const struct monitor_entry *entry,
	void (*visit)(void *arg, const struct discover_answer *answer), void *arg);

/* Whether the core may dial this target now: a pod's own addresses as the kubelet last told them, the node's for hostNetwork pods;
 * static targets: addresses of this host; the kubelet's: that of discover_settings. A pod that has ended is not dialled: its address may be another's. 0 with ret_address, -EACCES with err ("10.0.0.9 is not an address of pod ns/name"). */
int discover_dial_address(const struct discover *discover, const struct target *target,
	struct target_address *ret_address, struct error *err);
