/* kube, the API server: watched lists of objects, single objects, and what the ServiceAccount may do.
 *
 * One `struct kube_api` per process, in the loop's thread; all its requests share one
 * HTTP/2 connection where the server speaks that. It asks for what it is told to and
 * for nothing else: no wildcard, no proxying. Errors hold the server's message, never an
 * object.
 */
#pragma once

#include "gleaner/json.h"
#include "gleaner/kube.h"

/* ---- configuration ------------------------------------------------------------------ */

enum kube_watch_list { KUBE_WATCH_LIST_AUTO, KUBE_WATCH_LIST_ON, KUBE_WATCH_LIST_OFF };

/* The kubernetes: object of the configuration. */
struct kube_api_options {
	const char *
		api_server; /* https://HOST:PORT; after the check: of the two below where not written; NULL: not known */
	const char *service_host; /* KUBERNETES_SERVICE_HOST */
	uint64_t service_port;    /* KUBERNETES_SERVICE_PORT */
	const char *token_file;   /* looked at before every request; not sent over http or with insecure_skip_verify */
	struct {
		const char *ca_file; /* default: the ServiceAccount's ca.crt */
		const char *server_name;
		bool insecure_skip_verify;
	} tls;
	uint64_t startup_jitter_ns;
	uint64_t timeout_ns;     /* of a list (also of one that is streamed) or a single object */
	uint64_t max_list_bytes; /* inflated */
	int watch_list;          /* enum kube_watch_list */
};
extern const struct option_table kube_api_options_table;

/* ---- the client ------------------------------------------------------------------------ */

struct kube_api;
/* options live as long as the client. -EINVAL when no server is known. Nothing is sent yet. */
int kube_api_new(struct loop *loop, const struct kube_api_options *options, struct clock clock,
	struct kube_api **ret_api, struct error *err);
/* After everything that was made with it. NULL is fine. */
void kube_api_free(struct kube_api *api);

struct kube_api_stats {
	uint64_t requests, bytes; /* bytes of bodies, on the wire */
	uint64_t unauthorized;    /* answers 401 */
	uint64_t too_many;        /* answers 429 */
};
void kube_api_stats(const struct kube_api *api, struct kube_api_stats *ret_stats);

/* Which kind of objects: {"monitoring.coreos.com", "v1", "servicemonitors"}, {"", "v1", "services"}. Literals. */
struct kube_resource {
	const char *group, *version, *name;
};

struct kube_api_answer {
	unsigned status;           /* 0: none came; error says why */
	bool not_found;            /* the API server says so; a 404 alone may be a load balancer's while it is away */
	const struct json *object; /* of a 200 or 201; dies with the callback, its memory is overwritten. Else NULL */
	struct error error;        /* "" when there is an object; the server's own message for a refusal */
	uint64_t retry_after_ns;   /* what the server asked for, or 0 */
};
/* A request under way. A 401 is asked again once when the token file has changed; else nothing is asked twice. */
struct kube_call;
/* One object; namespace_ empty for those that have none. `done` is called once, not from within, unless the call is freed before; it may
 * free the call. 0; -EINVAL (a name that can be none), -ENOMEM, or -errno of the token file, with err. */
int kube_api_get(struct kube_api *api, struct kube_resource resource, struct span namespace_, struct span name,
	void (*done)(void *arg, const struct kube_api_answer *answer), void *arg, struct kube_call **ret_call,
	struct error *err);
/* Also to be called after `done`. NULL is fine. */
void kube_call_free(struct kube_call *call);

/* ---- a watched list ---------------------------------------------------------------------- */

struct kube_watch_options { /* the texts are copied */
	struct kube_resource resource;
	const char *namespace_;                      /* NULL: the whole cluster */
	const char *label_selector, *field_selector; /* NULL: all; as kubectl takes them */
	bool large; /* thousands of objects: begun by a compressed list rather than a stream (watch_list: auto) */
};

/* Borrowed: dies with the callback. */
struct kube_object {
	struct span uid, namespace_, name, resource_version;
	const struct json
		*json; /* the whole object; those of built-in types have neither kind nor apiVersion in a list */
};

enum kube_watch_state {
	KUBE_WATCH_STARTING,  /* nothing is known yet */
	KUBE_WATCH_SYNCED,    /* what is known is what there is */
	KUBE_WATCH_FAILING,   /* no connection, an error: asked again within 5 s */
	KUBE_WATCH_FORBIDDEN, /* 403: asked again after 5-10 s, later every minute */
	KUBE_WATCH_ABSENT,    /* 404, the CRD is not there: asked again every 5-15 s, later every minute */
};
const char *kube_watch_state_name(enum kube_watch_state state);

/* What was told stays true through FAILING and FORBIDDEN. Of ABSENT all objects are told to be removed, once two answers said so. The
 * callbacks may do anything but free their own watch. */
struct kube_watch_events {
	/* New, or another version of it. 0; -ENOMEM: the watch fails, and the object is told again. */
	int (*upsert)(void *arg, const struct kube_object *object);
	/* Gone; only of objects that were told. */
	void (*removed)(void *arg, struct span uid);
	/* All that there is was told, after the start and after each time the list had to be read again. */
	void (*synced)(void *arg);
	/* err: why not synced; empty when it is. Told when the state changes, and with each further failure. May be NULL. */
	void (*state)(void *arg, enum kube_watch_state state, const struct error *err);
	void *arg;
};

struct kube_watch_stats {
	enum kube_watch_state state;
	size_t objects;
	uint64_t requests, lists; /* lists: times that all objects were read */
	uint64_t bytes, events;   /* on the wire; lines of watches but for bookmarks */
	uint64_t failures,
		oversized; /* oversized: events above 4 MiB (the list is read again then), and objects left out of lists: trees above 16 MiB */
	uint64_t last_sync_wall_ns, last_event_wall_ns; /* 0: none yet */
	struct error last_error;                        /* "" when synced */
};

/* Starts by itself once the loop runs, up to startup_jitter after the client was made. Cost: about 200 bytes an object. */
struct kube_watch;
int kube_watch_new(struct kube_api *api, const struct kube_watch_options *options, struct kube_watch_events events,
	struct kube_watch **ret_watch, struct error *err);
/* Nothing is told any more. NULL is fine. */
void kube_watch_free(struct kube_watch *watch);
void kube_watch_stats(const struct kube_watch *watch, struct kube_watch_stats *ret_stats);

/* ---- what the ServiceAccount may do --------------------------------------------------------- */

struct kube_rule {
	const char *group, *resource, *subresource, *verb; /* group "" is the core; subresource "" or NULL: none */
	const char *namespace_;                            /* NULL: everywhere */
};
/* Asks for the rules one after the other (SelfSubjectAccessReview, which every user may). */
struct kube_review;
/* done, once: missing[i] says that rules[i] is not allowed; err is empty, or says why it could not be learnt (then missing is NULL). It may
 * free the review. rules live until then. */
int kube_api_may(struct kube_api *api, const struct kube_rule *rules, size_t count,
	void (*done)(void *arg, const bool *missing, const struct error *err), void *arg,
	struct kube_review **ret_review, struct error *err);
void kube_review_free(struct kube_review *review); /* NULL is fine */
/* The missing rules as YAML: a ClusterRole, and a Role for each namespace, called `name`. 0 or out->failed. */
int kube_rules_yaml(
	const struct kube_rule *rules, const bool *missing, size_t count, const char *name, struct buf *out);

/* ---- the node's pods --------------------------------------------------------------------------- */

/* Another source of pods: a watch of the pods with spec.nodeName = node_name (rights: pods list and watch). Tells the same lists as
 * kube_kubelet; a mirror pod has the uid of the static pod that it mirrors. host_ip as in kube_pods_parser_host_ip, NULL: none. Both
 * are copied. `failed` is called with each failure of the watch, next_poll_ns is 0: unknown. */
struct kube_api_pods;
int kube_api_pods_new(struct kube_api *api, const char *node_name, const char *host_ip,
	struct kube_kubelet_events events, struct kube_api_pods **ret_pods, struct error *err);
void kube_api_pods_free(struct kube_api_pods *pods); /* NULL is fine; not from within its events */
void kube_api_pods_stats(const struct kube_api_pods *pods, struct kube_stats *ret_stats);
