/* The kubelet's Pods API: a stream of the node's pods over its own UNIX socket (Kubernetes 1.37; no right is asked for, but uid 0). */
#pragma once

#include "gleaner/kube.h"

struct kube_pods_api_options { /* copied, but for the texts */
	const char *socket;
	struct span host_ip;                                          /* as in kube_pods_parser_host_ip */
	uint64_t first_timeout_ns, ping_interval_ns, ping_timeout_ns; /* as in grpc_request; 0: the usual */
};

/* Connects as soon as the loop runs, and again whenever the stream has ended: after 100 ms, then twice as long each time, up to 5 s, or up
 * to a minute while there has never been a stream and there is no such socket. `failed` is called for each. */
struct kube_pods_api;
int kube_pods_api_new(struct loop *loop, const struct kube_pods_api_options *options, struct clock clock,
	struct kube_kubelet_events events, struct kube_pods_api **ret_api, struct error *err);
void kube_pods_api_free(struct kube_pods_api *api); /* NULL is fine; not from within its events */
void kube_pods_api_stats(const struct kube_pods_api *api, struct kube_stats *ret_stats);
