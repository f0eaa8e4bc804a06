/* monitor: the Prometheus operator's objects as jobs, and Services as what they select.
 *
 * Pure: no socket, no clock. JSON objects of the API go into a store; out of the
 * store comes an immutable set that discover turns into targets of this node. Every
 * field of ServiceMonitor, PodMonitor and ScrapeConfig is honoured, or there is a
 * finding that says which one is not, why, and what that costs (docs/monitors.md).
 * Relabel rules stand in the operator's order (agent/monitor/generate.c).
 */
#pragma once

#include "gleaner/json.h"
#include "gleaner/target.h"

/* ---- configuration ----------------------------------------------------------------- */

/* A LabelSelector as written; the spelling of the Collector's target allocator (matchlabels) and Kubernetes' (matchLabels) are keys, too. */
struct monitor_selector_options {
	struct option_pairs match_labels;        /* after the check: of all three spellings */
	struct option_objects match_expressions; /* struct monitor_expression_options, likewise */
	struct option_pairs camel_labels, lower_labels;
	struct option_objects camel_expressions, lower_expressions;
};
struct monitor_expression_options {
	struct option_position position;
	const char *key;
	int operator_; /* enum monitor_operator */
	struct option_strings values;
};
struct monitor_scrape_class {
	struct option_position position;
	const char *name;
	bool is_default;
	const char *fallback_scrape_protocol;
	bool authorization_given;
	struct target_authorization_options authorization; /* of endpoints without credentials */
	struct target_tls_options
		tls_config; /* of endpoints without tlsConfig; of others the authority and the certificate, when they have none */
	struct option_objects relabelings, metric_relabelings; /* struct relabel_rule */
};
enum monitor_scope { MONITOR_SCOPE_CLUSTER, MONITOR_SCOPE_NODE_NAMESPACES };
/* The monitors: object. A selector that was not given selects nothing, `{}` everything; namespace selectors that were not given: everything. */
struct monitor_options {
	bool enabled, enabled_given; /* default: whether a selector was given */
	struct monitor_selector_options service_monitors, pod_monitors, scrape_configs;
	bool service_monitors_given, pod_monitors_given, scrape_configs_given;
	struct monitor_selector_options service_monitor_namespaces, pod_monitor_namespaces, scrape_config_namespaces;
	struct option_strings allow_namespaces, deny_namespaces; /* of the monitors; allow empty: all */
	struct option_strings secret_namespaces;                 /* whose Secrets and ConfigMaps are read; for core */
	uint64_t scrape_interval_ns;                             /* of endpoints without one */
	struct option_objects scrape_classes;                    /* struct monitor_scrape_class */
	struct {
		int scope; /* enum monitor_scope */
	} services;
	bool kubelet_service; /* emulate the endpoints of the operator's Service `kubelet` */
};
extern const struct option_table monitor_options_table;
/* Whether a namespace selector asks for labels, so that Namespaces have to be watched. */
bool monitor_options_need_namespaces(const struct monitor_options *options);

/* ---- selectors ------------------------------------------------------------------------ */

enum monitor_operator { MONITOR_IN, MONITOR_NOT_IN, MONITOR_EXISTS, MONITOR_DOES_NOT_EXIST };
struct monitor_requirement {
	struct span key;
	enum monitor_operator operator_;
	const struct span *values;
	size_t value_count;
};
/* All requirements hold; none: everything. matchLabels are requirements with one value. */
struct monitor_selector {
	const struct monitor_requirement *items;
	size_t count;
};
/* Exact strings; NotIn and DoesNotExist hold where the key is absent. labels: sorted by name, may have empty values. */
bool monitor_selector_matches(const struct monitor_selector *selector, struct labels labels);
/* The first requirement that does not hold; NULL: it matches. */
const struct monitor_requirement *monitor_selector_unmet(const struct monitor_selector *selector, struct labels labels);

/* ---- monitors -------------------------------------------------------------------------- */

enum monitor_kind { MONITOR_SERVICE_MONITOR, MONITOR_POD_MONITOR, MONITOR_SCRAPE_CONFIG, MONITOR_KINDS };
const char *monitor_kind_name(enum monitor_kind kind); /* "ServiceMonitor" */

/* What a field that is not honoured costs. */
enum monitor_effect {
	MONITOR_IGNORED,          /* the field has no effect, all else has */
	MONITOR_ENDPOINT_REFUSED, /* the endpoint is not scraped: without the field it would be scraped wrongly */
	MONITOR_REJECTED,         /* nothing of the object is scraped, as with the operator */
};
const char *monitor_effect_name(enum monitor_effect effect); /* "ignored", "endpoint refused", "monitor rejected" */
enum { MONITOR_FINDINGS_MAX = 32, MONITOR_ENDPOINTS_MAX = 1000 };
struct monitor_finding {
	enum monitor_effect effect;
	const char *field;  /* "spec.endpoints[0].tlsConfig.caFile"; tenant bytes are escaped */
	const char *reason; /* a sentence without a capital letter and full stop */
};

/* A key of a Secret or ConfigMap in the monitor's namespace that an endpoint needs before it can be scraped. */
enum monitor_use {
	MONITOR_USERNAME, /* of basicAuth */
	MONITOR_PASSWORD,
	MONITOR_CREDENTIALS, /* of authorization, or the bearer token */
	MONITOR_TLS_CA,
	MONITOR_TLS_CERT,
	MONITOR_TLS_KEY,
};
struct monitor_reference {
	enum monitor_use use;
	bool config_map; /* else a Secret */
	const char *namespace_, *name, *key;
	const char *field; /* for messages */
};

/* One endpoint = one job. */
struct monitor_endpoint {
	/* For target_job_new, complete but for what the references give. static_configs: of a ScrapeConfig. */
	struct target_job_options options;
	const char *authorization_type; /* of MONITOR_CREDENTIALS: "Bearer" */
	const struct monitor_reference *references;
	size_t reference_count;
	bool refused;  /* the findings say why */
	uint64_t hash; /* of all that makes the job, but for the referenced values */
};

/* Immutable, refcounted. */
struct monitor {
	unsigned refs;
	enum monitor_kind kind;
	struct span namespace_, name, uid;
	struct labels labels; /* empty values kept */
	bool rejected;        /* then there are no endpoints */
	bool pods; /* PodMonitor, and a ScrapeConfig with role Pod: pods are selected; ServiceMonitor: Services */
	struct monitor_selector selector;
	bool any_namespace;
	const struct span *namespaces; /* unless any_namespace */
	size_t namespace_count;
	const struct monitor_endpoint *endpoints;
	size_t endpoint_count;
	const struct monitor_finding *findings;
	size_t finding_count;
	uint64_t hash; /* of labels and spec */
	struct arena arena;
};
/* An object of the API (`{"metadata":{...},"spec":{...}}`). A bad spec gives a rejected monitor, no error.
 *   salt     goes into the hashes of the endpoints: another one for other options
 *   returns  0; -EINVAL with err (no object, no name), -E2BIG with err, -ENOMEM
 *   cost     some 10 us, and a regex compilation for each relabeling */
int monitor_parse(enum monitor_kind kind, const struct json *object, const struct monitor_options *options,
	uint64_t salt, struct monitor **ret_monitor, struct error *err);
struct monitor *monitor_ref(struct monitor *monitor);
void monitor_unref(struct monitor *monitor); /* NULL is fine */
/* Whether its namespaceSelector has this namespace. */
bool monitor_reaches(const struct monitor *monitor, struct span namespace_);
/* Whether it concerns Services (pods) of this namespace with these labels. */
bool monitor_selects(const struct monitor *monitor, struct span namespace_, struct labels labels);

/* Values of references, which discover asks for when a pod of this node needs the job.
 *   returns  1 with ret_value, valid until the next call of anything; 0 not known (yet) with err saying why; -ENOMEM */
struct monitor_secrets {
	int (*get)(void *arg, const struct monitor_reference *reference, struct span *ret_value, struct error *err);
	void *arg;
};
/* The endpoint's options with all values in place; strings in the arena, which the caller wipes. secrets->get NULL: nothing is known.
 * 1; 0 a value is missing, with err ("spec.endpoints[0].basicAuth.password: ..."); -ENOMEM. */
int monitor_endpoint_options(const struct monitor_endpoint *endpoint, const struct monitor_secrets *secrets,
	struct arena *arena, struct target_job_options *ret_options, struct error *err);

/* ---- Services and Namespaces ---------------------------------------------------------------- */

struct monitor_service_port {
	struct span name;     /* "" when unnamed */
	struct span protocol; /* "TCP" when absent */
	struct span app_protocol;
	uint16_t port;
	uint16_t target_number;  /* 0: target_name says, or nothing: port */
	struct span target_name; /* name of a container port */
};
/* Immutable, refcounted. */
struct monitor_service {
	unsigned refs;
	struct span namespace_, name, uid;
	struct labels labels, annotations; /* empty values kept; without kubectl's last-applied-configuration */
	struct labels selector;            /* empty: not backed by pods */
	bool external_name, publish_not_ready;
	int family; /* primary address family: 4, 6; 0 not said */
	const struct monitor_service_port *ports;
	size_t port_count;
	uint64_t hash;
	struct arena arena;
};
int monitor_service_parse(const struct json *object, struct monitor_service **ret_service, struct error *err);
struct monitor_service *monitor_service_ref(struct monitor_service *service);
void monitor_service_unref(struct monitor_service *service);
/* Whether the pods with these labels are behind the Service (namespace not looked at). */
bool monitor_service_selects(const struct monitor_service *service, struct labels pod_labels);
/* The first label of its selector that the pod does not have; NULL: it has all. */
const struct label *monitor_service_unmet(const struct monitor_service *service, struct labels pod_labels);
/* Whether it is the operator's Service for kubelets: in kube-system, k8s-app or app.kubernetes.io/name `kubelet`, without selector. */
bool monitor_service_is_kubelet(const struct monitor_service *service);

/* ---- explain.c: the same questions, answered in words. Return what the functions without "explain" do; when that is false, why has
 * the first requirement that does not hold ("label app is \"api\"; it must be \"web\""), tenants' bytes escaped. ---- */
bool monitor_explain(const struct monitor *monitor, struct span namespace_, struct labels labels, struct error *why);
bool monitor_service_explain(const struct monitor_service *service, struct labels pod_labels, struct error *why);

/* ---- set: one moment ---------------------------------------------------------------------------- */

struct monitor_entry {
	struct monitor *monitor;
	bool selected;
	const char *why_not; /* when not selected: a sentence */
};
/* Immutable, refcounted. */
struct monitor_set {
	unsigned refs;
	const struct monitor_entry *entries; /* by kind, namespace, name */
	size_t entry_count;
	size_t totals[MONITOR_KINDS], selected[MONITOR_KINDS]; /* "0 of N monitors selected" */
	struct monitor_service *const *services;               /* by namespace, name */
	size_t service_count;
	bool kubelet_service; /* of the options */
	struct arena arena;
};
struct monitor_set *monitor_set_ref(struct monitor_set *set);
void monitor_set_unref(struct monitor_set *set); /* NULL is fine */
/* The Services of a namespace, one behind the other. O(log n). */
struct monitor_service *const *monitor_set_services(
	const struct monitor_set *set, struct span namespace_, size_t *ret_count);
/* Whether any selected monitor may select Services of the namespace (services.scope: node-namespaces). */
bool monitor_set_reaches(const struct monitor_set *set, struct span namespace_);

/* Whose job this is ("serviceMonitor/ns/name/0"), for messages about it; NULL: no selected monitor's. */
const struct monitor_endpoint *monitor_set_endpoint(
	const struct monitor_set *set, struct span job_name, const struct monitor **ret_monitor);
/* A JSON array, an object for each monitor: {"kind","namespace","name","selected","reason","rejected","findings":[{"field","effect","reason"}],
 * "endpoints":[{"job","refused","rules":[text],"references":[{"kind","name","key"}]}]}; reason is absent when selected. Never a value of a
 * Secret. 0 or out->failed. */
int monitor_set_json(const struct monitor_set *set, struct buf *out);

/* gleaner_monitors by kind and state (selected, not_selected, rejected: selected, but wrong), gleaner_monitor_findings of selected monitors by
 * effect. set may be NULL. */
void monitor_set_metrics(const struct monitor_set *set, struct buf *page);

/* ---- store: what the watches have told ------------------------------------------------------------ */

enum monitor_resource {
	MONITOR_SERVICE_MONITORS, /* as enum monitor_kind */
	MONITOR_POD_MONITORS,
	MONITOR_SCRAPE_CONFIGS,
	MONITOR_SERVICES,
	MONITOR_NAMESPACES,
	MONITOR_RESOURCES,
};
struct monitor_store;
/* options live as long as the store and the sets built of it. Other options: another store, and a new list. */
int monitor_store_new(const struct monitor_options *options, struct monitor_store **ret_store);
void monitor_store_free(struct monitor_store *store);
/* A new object, or another version of one: by uid, and by namespace and name, whichever it shares with one that is there.
 *   returns  1 something changed that a set shows; 0 nothing did (status, managedFields); -EINVAL with err, -ENOMEM, -E2BIG
 *            (the object, or all of them together: 64 MiB): what was there before stays */
int monitor_store_put(
	struct monitor_store *store, enum monitor_resource resource, const struct json *object, struct error *err);
/* Whether it was there. */
bool monitor_store_remove(struct monitor_store *store, enum monitor_resource resource, struct span uid);
/* All of a resource, in one namespace or (empty) everywhere: it is not watched any more. Whether there was one. */
bool monitor_store_forget(struct monitor_store *store, enum monitor_resource resource, struct span namespace_);
/* What the store holds now. Parsed objects are shared with the sets before: cost some 100 ns an object. 0, -ENOMEM. */
int monitor_store_build(const struct monitor_store *store, struct monitor_set **ret_set);
