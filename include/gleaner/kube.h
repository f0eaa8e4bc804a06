/* kube: the node's pods, as its own kubelet tells them.
 *
 * Runs in the core's loop. Polls `GET /pods` (HTTPS 10250 with a bearer token, or
 * plain HTTP 10255), parses the answer as a stream and hands over a list of pods
 * whenever one of gleaner's own fields changed. A failed poll loses nothing; a pod
 * that is absent is dropped only after two successful polls without it or 15 s.
 * The body (it holds other people's environment variables) is never kept or logged.
 */
#pragma once

#include "gleaner/http.h"

struct kube_port {
	struct span name, protocol; /* "" when unnamed; "TCP" when absent */
	uint16_t number;
};
struct kube_container {
	struct span name, image;
	struct span id; /* "containerd://..." ; "" before it was started */
	bool init;      /* from initContainers */
	bool sidecar;   /* init with restartPolicy Always */
	bool running;
	const struct kube_port *ports;
	size_t port_count;
};
struct kube_pod {
	struct span uid, namespace_, name, node_name, host_ip, pod_ip;
	struct span phase; /* "Running", ... */
	struct span ready; /* "true", "false", "unknown" */
	struct span controller_kind,
		controller_name; /* ownerReference with controller=true, or ""; a static pod's is its Node */
	bool host_network, terminating;
	/* Empty values are kept (Prometheus tells "empty" from "absent"); without kubectl's last-applied-configuration, which
	 * holds the whole pod again, and without kubernetes.io/config.*, which each source of pods writes in its own way. */
	struct labels labels, annotations;
	const struct span *pod_ips; /* status.podIPs, the primary first */
	size_t pod_ip_count;
	const struct kube_container *containers; /* containers, then init containers, in the order of the spec */
	size_t container_count;
	uint64_t hash; /* of all the fields above */
};

/* An immutable list that lives as long as somebody holds a reference. Sorted by uid, each uid once. */
struct kube_pods {
	unsigned refs;
	struct arena arena;
	struct kube_pods **sources; /* lists whose strings the items borrow; in the arena */
	size_t source_count;
	const struct kube_pod *items;
	size_t count;
};
struct kube_pods *kube_pods_ref(struct kube_pods *pods);
void kube_pods_unref(struct kube_pods *pods); /* NULL is fine */
/* NULL when absent. */
const struct kube_pod *kube_pods_find(const struct kube_pods *pods, struct span uid);

/* Reads a PodList in pieces (any piece sizes). Depth at most 64, size at most max_bytes. */
struct kube_pods_parser;
int kube_pods_parser_new(size_t max_bytes, struct kube_pods_parser **ret_parser);
/* The address of pods that have none: a standalone kubelet gives no pod a hostIP and no hostNetwork pod a podIP. Copied. 0 or -ENOMEM. */
int kube_pods_parser_host_ip(struct kube_pods_parser *parser, struct span host_ip);
/* 0; -EBADMSG, -EMSGSIZE, -ENOMEM with err set (never quotes the body). The first failure stays. */
int kube_pods_parser_feed(struct kube_pods_parser *parser, struct span piece, struct error *err);
/* The list, with one reference. `items: null` is an empty list; anything that is no PodList is -EBADMSG. */
int kube_pods_parser_end(struct kube_pods_parser *parser, struct kube_pods **ret_pods, struct error *err);
void kube_pods_parser_free(struct kube_pods_parser *parser);

/* The kubelet: object of the configuration. */
struct kube_options {
	bool enabled, enabled_given; /* default: whether endpoint, HOST_IP or NODE_NAME is known */
	const char *
		endpoint; /* https://HOST:PORT or http://HOST:PORT; NULL: https://${HOST_IP}:10250, or NODE_NAME for want of it */
	const char *node_name; /* NODE_NAME */
	const char *host_ip;   /* HOST_IP */
	const char
		*token_file; /* re-read when it changes; nothing is sent over plain HTTP or with insecure_skip_verify */
	struct {
		const char *ca_file;     /* default: the ServiceAccount's ca.crt */
		const char *server_name; /* default: HOST_IP is checked first, then NODE_NAME */
		bool insecure_skip_verify;
	} tls;
	uint64_t poll_interval_ns, timeout_ns;
	uint64_t max_body_bytes;
};
extern const struct option_table kube_options_table;

/* Why a source of pods does not answer, as far as it matters for what to do about it. */
enum kube_failure {
	KUBE_FAILURE_NONE,
	KUBE_FAILURE_TRANSIENT, /* refused connection, time-out, 5xx, a stream that broke: may work the next time */
	KUBE_FAILURE_REFUSED,   /* 401, 403, a certificate, a socket for root only: somebody must do something */
	KUBE_FAILURE_ABSENT,    /* no such socket, no such service: this kubelet has none */
};

/* Of one source of pods, whichever. */
struct kube_stats {
	uint64_t polls, failures, changes; /* polls: requests, or connections of a stream */
	uint64_t last_success_wall_ns;     /* 0: none yet */
	uint64_t consecutive_failures;
	size_t pods;
	enum kube_failure last_failure; /* set before events.failed is called */
	struct error last_error;        /* "" when the last poll was fine; includes a 401/403 body's text */
};

/* The kubelet poll driver. The first poll starts as soon as the loop runs; options live as long as the driver. It polls every
 * poll_interval +-10 %; after failures it waits twice as long each time, up to 60 s, after a 403 at least 30 s. */
struct kube_kubelet;
struct kube_kubelet_events {
	/* A new list, only when something changed (and once after the first success). Take a reference to keep it. */
	void (*pods)(void *arg, struct kube_pods *pods);
	/* After every poll that failed; for the log. */
	void (*failed)(void *arg, const struct error *err, uint64_t next_poll_ns);
	void *arg;
};
int kube_kubelet_new(struct loop *loop, struct http *http, const struct kube_options *options, struct clock clock,
	struct kube_kubelet_events events, struct kube_kubelet **ret_kubelet, struct error *err);
void kube_kubelet_free(struct kube_kubelet *kubelet);
/* Asks for a poll now (at most one a second; while polls fail, the back-off holds). */
void kube_kubelet_nudge(struct kube_kubelet *kubelet);
void kube_kubelet_stats(const struct kube_kubelet *kubelet, struct kube_stats *ret_stats);
