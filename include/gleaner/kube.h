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
	struct option_strings metrics; /* its own endpoints to scrape: "metrics", "cadvisor", "probes", "resource" */
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
 * poll_interval +-10 %; after failures it waits twice as long each time, up to 10 s (a kubelet whose API server was away answers at
 * once when it is back), after a 403 30 s, up to 60 s. */
struct kube_kubelet;
struct kube_kubelet_events {
	/* A new list, only when something changed (and once after the first success). Take a reference to keep it. */
	void (*pods)(void *arg, struct kube_pods *pods);
	/* After every poll that failed; for the log. */
	void (*failed)(void *arg, const struct error *err, uint64_t next_poll_ns);
	/* After every poll that did not, whether or not it changed anything, and before `pods`. May be NULL. */
	void (*answered)(void *arg);
	void *arg;
};
int kube_kubelet_new(struct loop *loop, struct http *http, const struct kube_options *options, struct clock clock,
	struct kube_kubelet_events events, struct kube_kubelet **ret_kubelet, struct error *err);
void kube_kubelet_free(struct kube_kubelet *kubelet);
/* Asks for a poll now (at most one a second; while polls fail, the back-off holds). */
void kube_kubelet_nudge(struct kube_kubelet *kubelet);
void kube_kubelet_stats(const struct kube_kubelet *kubelet, struct kube_stats *ret_stats);

/* ---- the sources of pods, and which of them is used ----------------------------------- */

/* The pods: object of the configuration. */
struct kube_pods_options {
	struct option_strings sources; /* names, the best first */
	bool sources_given;
	const char *pods_api_socket;
};
extern const struct option_table kube_pods_options_table;

struct kube_api; /* gleaner/kube_api.h */

/* Borrowed: it lives as long as the source. */
struct kube_source_settings {
	const struct kube_pods_options *pods;
	const struct kube_options *kubelet;
	struct kube_api *api; /* NULL: no API server is known */
};
/* Whether any source is configured: without kubelet.enabled only those that pods.sources names. */
bool kube_source_wanted(const struct kube_source_settings *settings);

struct kube_source_events {
	/* A new list, only when something changed (and once after the first answer of all). Take a reference to keep it. */
	void (*pods)(void *arg, struct kube_pods *pods);
	/* Another source is used from now on. why: what is wrong with the better ones, "" when nothing; alarming: one of them needs help. */
	void (*chosen)(void *arg, const char *source, const char *why, bool alarming);
	/* The source that is used does not answer, or none does yet; no pod is lost by that. next_ns 0: unknown. */
	void (*failed)(void *arg, const char *source, const struct error *err, uint64_t next_ns);
	void *arg;
};

enum kube_source_state {
	KUBE_SOURCE_STANDBY, /* a better one answers */
	KUBE_SOURCE_TRYING,  /* was asked, has not answered yet, or not any more */
	KUBE_SOURCE_RUNNING, /* its pods are used */
};
const char *kube_source_state_name(enum kube_source_state state);

enum { KUBE_SOURCES_MAX = 3 };

struct kube_source_stats {
	const char *running; /* whose pods are used; NULL: none has answered yet */
	size_t pods;
	uint64_t changes;              /* lists handed over */
	uint64_t switches;             /* times that another source was chosen, the first included */
	uint64_t last_success_wall_ns; /* of any of them; 0: none yet */
	size_t count;
	struct {
		const char *name;
		enum kube_source_state state;
		struct kube_stats stats; /* over its present life */
	} sources[KUBE_SOURCES_MAX];     /* the configured ones that are possible, the best first */
};

/* The node's pods from the best source that works: the kubelet's Pods API (a stream), GET /pods of the kubelet (a poll), the API
 * server (a stream). All give the same pods, so a change of the source changes no target. The best one is asked first, a worse one only
 * when those before it cannot work now, or did not for 30 s; they go on being asked, and the first to answer again takes over. What
 * the new one does not list stays for 10 s. Failures never remove a pod.
 * 0; -EINVAL (no source), -ENOMEM. */
struct kube_source;
int kube_source_new(struct loop *loop, struct http *http, const struct kube_source_settings *settings,
	struct clock clock, struct kube_source_events events, struct kube_source **ret_source, struct error *err);
void kube_source_free(struct kube_source *source); /* NULL is fine; not from within its events */
/* A pod may have changed: asks the one that is used, when it must be asked. */
void kube_source_nudge(struct kube_source *source);
void kube_source_stats(const struct kube_source *source, struct kube_source_stats *ret_stats);
