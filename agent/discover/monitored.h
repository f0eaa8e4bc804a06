/* The jobs of monitors. Most monitors of a cluster have no pod on this node: a job is made when a pod needs it, and taken over for as
 * long as its monitor does not change. */
#pragma once

#include "found.h"

#define MONITORED_NEW SIZE_MAX

struct monitored_job {
	const struct monitor_endpoint *endpoint;
	struct target_job *job; /* NULL: not needed so far, or it could not be made */
	size_t before;          /* its place in the one that this replaces, or MONITORED_NEW */
};
/* A selected monitor and where its jobs are; endpoints that were refused have none. */
struct monitored_monitor {
	const struct monitor *monitor;
	size_t first_job, job_count;
	size_t room; /* bytes that its targets may still take; while a set is built */
	bool over;   /* and that this was not enough was said */
};
struct monitored {
	struct monitor_set *set; /* NULL: none */
	struct monitored_monitor *monitors;
	size_t monitor_count;
	struct monitored_job *jobs;
	size_t job_count;
	size_t room; /* as above, of all */
	struct arena arena;
};
/* What is taken over from `before` without looking at its content again. */
enum monitored_keep { MONITORED_KEEP_ALL, MONITORED_KEEP_WITHOUT_REFERENCES, MONITORED_KEEP_NONE };
/* set and before may be NULL. 0, -ENOMEM. */
int monitored_new(struct monitor_set *set, const struct monitored *before, enum monitored_keep keep,
	struct monitored **ret_monitored);
void monitored_free(struct monitored *monitored); /* NULL is fine */
/* Makes the job if there is none. One of `before` (may be NULL) with the same content is taken over and gets the new credentials.
 *   returns 0; -EINVAL, -ENOENT, ... with err: there is no job; -ENOMEM */
int monitored_make_job(struct monitored *monitored, size_t at, const struct monitored *before,
	const struct target_global_options *global, const struct monitor_secrets *secrets, struct error *err);

/* ---- services.c: what a Service makes of a pod, with the meta labels of both roles, endpoints and endpointslice -------- */

/* Whether the pod is an endpoint of Services at all. */
bool pod_is_endpoint(const struct kube_pod *pod);
/* One target for each port of the Service that the pod has, one for each other declared port. 0, -ENOMEM. */
int find_service(const struct kube_pod *pod, const struct monitor_service *service, struct findings *findings);
/* The Service of the kubelets: this node's. host: its address. 0, -ENOMEM. */
int find_kubelet(
	struct span host, struct span node_name, const struct monitor_service *service, struct findings *findings);
