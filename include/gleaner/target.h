/* target: from discovered labels to something that can be scraped.
 *
 * Holds the scrape_config of the configuration file (Prometheus' keys), turns a
 * discovered label set into a target by Prometheus' rules (semantics 3.2), and
 * packs jobs and targets for the way to the scraper. Jobs and targets are
 * immutable and refcounted; a target with the same key and the same content is
 * the same target, through every poll and reload.
 */
#pragma once

#include "gleaner/relabel.h"

/* ---- configuration ---------------------------------------------------------- */

struct target_limits {
	uint64_t sample_limit;    /* 0: none (the ceiling of scrape_options still holds) */
	uint64_t body_size_limit; /* bytes, uncompressed */
	uint64_t label_limit, label_name_length_limit, label_value_length_limit;
	uint64_t target_limit;
};
/* What answering the scrapes of one target may cost it. A target that costs more is scraped less often. */
struct target_budget_options {
	double share;             /* CPU seconds a second: 0.01 is one per cent of a core; 0: no budget */
	uint64_t max_interval_ns; /* its interval is never stretched beyond this */
};
struct target_global_options {
	uint64_t scrape_interval_ns,
		scrape_timeout_ns; /* 1m; 10s, or the interval when that is shorter and no timeout was given */
	bool scrape_timeout_given;
	struct target_limits limits;
	bool extra_scrape_metrics;
	struct target_budget_options budget;
	struct option_pairs external_labels;     /* overwrite target labels of the same name */
	struct option_pairs resource_attributes; /* of every target; not a key of this table: resource.attributes */
};
extern const struct option_table target_global_table;

/* Addresses must be of this host, which is checked when the file is read, unless a relabel rule of the job writes __address__;
 * what is dialled is checked again in any case. */
struct target_static_config {
	struct option_position position;
	struct option_strings targets; /* host:port */
	struct option_pairs labels;
};
/* PEM texts and files; of each pair at most one. Files are for those who write the configuration file: whoever makes a job of somebody
 * else's words (an object of the cluster) leaves every *_file NULL. */
struct target_tls_options {
	const char *ca, *ca_file, *cert, *cert_file, *key, *key_file, *server_name;
	bool insecure_skip_verify;
	const char *min_version, *max_version; /* "TLS10" to "TLS13"; NULL: TLS12, the newest */
};
struct target_basic_auth_options {
	const char *username, *username_file, *password, *password_file;
};
struct target_authorization_options {
	const char *type; /* NULL: Bearer */
	const char *credentials, *credentials_file;
};
/* One scrape_config as written; 0 / NULL fall back to global. */
struct target_job_options {
	struct option_position position;
	const char *job_name;
	uint64_t scrape_interval_ns, scrape_timeout_ns;
	const char *metrics_path, *scheme;
	struct option_lists params;
	bool honor_labels, honor_timestamps, track_timestamps_staleness, enable_compression;
	bool extra_scrape_metrics, extra_scrape_metrics_given;
	struct target_budget_options budget;
	const char *fallback_scrape_protocol;
	struct target_limits limits;
	struct option_objects relabel_configs;        /* struct relabel_rule */
	struct option_objects metric_relabel_configs; /* struct relabel_rule */
	struct option_objects static_configs;         /* struct target_static_config */
	struct option_objects kubernetes_sd_configs;  /* struct target_kubernetes_sd */
	/* At most one of these; what holds for files in target_tls_options holds here. */
	bool basic_auth_given, authorization_given;
	struct target_basic_auth_options basic_auth;
	struct target_authorization_options authorization;
	const char *bearer_token, *bearer_token_file; /* deprecated spelling of authorization */
	struct target_tls_options tls_config;
	bool follow_redirects, enable_http2; /* accepted, without effect */
	/* Not a key: the targets are the node's own kubelet, whose address discovery knows (discover_settings.kubelet_host). */
	bool of_kubelet;
};
struct target_kubernetes_sd {
	struct option_position position;
	const char *role;                 /* pod */
	struct option_strings namespaces; /* namespaces.names; empty: all */
};
extern const struct option_table target_job_table;
extern const struct option_table target_basic_auth_table, target_authorization_table,
	target_tls_table; /* parts of it */

/* Only what Prometheus refuses, in its words: two ways to log in, a certificate without its key. Part of target_job_table's check; for
 * jobs that come another way. 0; -EINVAL with err, ret_key the key to blame. */
int target_check_credentials(const struct target_job_options *options, const char **ret_key, struct error *err);

/* Whether that is a fallback_scrape_protocol. 0; -EINVAL with err, which has all names. */
int target_check_protocol(const char *name, struct error *err);

/* ---- credentials ------------------------------------------------------------------ */

/* How a job's scrapes show who asks, and whom they trust: values, and in core where these came from. Immutable and refcounted; a job
 * gets others as a whole when a file or a Secret changes, and nothing else of it changes then: not its content, not its targets, not their
 * series. All memory is overwritten before it is given back. Never logged, printed or served. */
struct target_credentials {
	unsigned refs;
	struct span authorization;             /* value of the header; empty: none is sent */
	struct span ca, cert, key;             /* PEM text; empty: the system's, none, none */
	struct span server_name;               /* that the certificate must have; empty: the host of the address */
	struct target_credential_files *files; /* only in core; NULL: it came without files */
	struct arena arena;
};
struct target_credentials *target_credentials_ref(struct target_credentials *credentials);
void target_credentials_unref(struct target_credentials *credentials); /* NULL is fine */
/* Whether a scrape does the same with both. */
bool target_credentials_same(const struct target_credentials *a, const struct target_credentials *b);
/* Reads the files again when one of them was written or replaced (always: `force`). 1 with ret_fresh; 0 nothing changed; -errno with err,
 * which names key and file. Cost: a stat(2) a file. */
int target_credentials_reread(const struct target_credentials *credentials, bool force,
	struct target_credentials **ret_fresh, struct error *err);
/* A copy, files included, with another server_name. 0, -ENOMEM. */
int target_credentials_rename(
	const struct target_credentials *credentials, struct span server_name, struct target_credentials **ret_renamed);

/* ---- job ---------------------------------------------------------------------- */

/* What all targets of a job share, ready for use. Global defaults are already in. */
struct target_job {
	unsigned refs;
	uint64_t content; /* hash of all below but the credentials: the same content is the same job */
	uint64_t packed;  /* hash of what the scraper gets of it (target_job_pack) */
	struct span name;
	uint64_t interval_ns, timeout_ns;
	struct span metrics_path, scheme;
	struct option_lists params;
	bool honor_labels, honor_timestamps, track_timestamps_staleness, enable_compression, extra_scrape_metrics;
	bool fallback_openmetrics; /* else text 0.0.4 */
	struct target_limits limits;
	struct target_budget_options budget;     /* only in core */
	const struct relabel_rule *metric_rules; /* sources; the scraper compiles them */
	size_t metric_rule_count;
	struct relabel *relabel;                 /* compiled relabel_configs; only in core; NULL: none */
	struct option_pairs external_labels;     /* only in core; the targets have them among their labels */
	struct option_pairs resource_attributes; /* only in core, likewise */
	bool tls_insecure_skip_verify;
	int tls_min_version, tls_max_version; /* 10 to 13 for TLS 1.0 to 1.3; 0: the default */
	bool of_kubelet;                      /* only in core */
	/* The one thing that changes: never NULL, in neither hash. Whoever holds the job reads it anew for every scrape. */
	struct target_credentials *credentials;
	struct arena arena;
};
/* Copies the options, compiles the relabel rules, reads the files of the credentials. err names job and key: "job `web`: scrape_timeout: ...".
 * 0, -EINVAL, -ENOMEM, or what reading the file gave. */
int target_job_new(const struct target_job_options *options, const struct target_global_options *global,
	struct target_job **ret_job, struct error *err);
struct target_job *target_job_ref(struct target_job *job);
void target_job_unref(struct target_job *job);
/* Takes a reference. A job of the same content that was made anew (a reload, a Secret that changed) hands its credentials to the one that
 * is in use in this way. */
void target_job_set_credentials(struct target_job *job, struct target_credentials *credentials);
/* For wire: everything but `relabel`, external_labels and resource_attributes; layout in agent/target/pack.c. The credentials are in it:
 * out->secret should be set. 0 or out->failed. */
int target_job_pack(const struct target_job *job, struct buf *out);
/* -EBADMSG on any damage, -ENOMEM. */
int target_job_unpack(struct span packed, struct target_job **ret_job);

/* What others than the operator may ask for: an annotation, a monitor, a label that relabelling turns into __scrape_interval__. A shorter
 * interval is raised to it, unless the job's own is as short. */
#define TARGET_LEAST_INTERVAL_NS NS_PER_SEC

/* ---- target -------------------------------------------------------------------- */

enum target_origin {
	TARGET_STATIC,
	TARGET_POD,
	TARGET_KUBELET, /* of a job of_kubelet: the node's own kubelet, whose address is of the node and not of this pod */
};

struct target {
	unsigned refs;
	uint64_t key;     /* identity: origin, job, pod uid, container, port (static: the address) */
	uint64_t content; /* hash of everything the scraper uses, the job included; same key and content: unchanged */
	enum target_origin origin;
	struct target_job *job;
	struct span pod_uid;      /* TARGET_POD: whose addresses may be dialled */
	struct labels labels;     /* public target labels, job and instance among them */
	struct labels discovered; /* before relabelling; for the targets page; not packed */
	struct labels resource;   /* attributes but service.name and service.instance.id: server.*, url.scheme, k8s.* */
	struct span scheme;       /* http or https */
	struct span host;         /* of __address__, without port and brackets; a name or an IP literal */
	uint16_t port;            /* explicit or by the scheme */
	struct span url;          /* scheme://address/path?query, percent-encoded as Go does it */
	uint64_t interval_ns, timeout_ns;
	struct arena arena;
};

/* Builds a target from a discovered label set (labels of the pod or static_config, `__address__` and `__meta_*` included).
 *   identity   what makes the key besides origin and the job's name, e.g. "<pod uid>/<container>/<port>"
 *   discovered borrowed only for the call
 *   ret_rule   when 0 is returned and ret_rule is not NULL: the rule that dropped, TARGET_NO_RULE when __address__ was empty
 *   returns    1 with ret_target; 0 dropped by relabelling or because __address__ is empty; -EINVAL with err (bad address,
 *              interval, ...); -ENOMEM
 *   cost       the relabel rules and some KiB of copies
 * Seeds job, __scheme__, ...; relabels; resource attributes come from the __meta_kubernetes_* labels of *before* relabelling. */
#define TARGET_NO_RULE SIZE_MAX
int target_new(struct target_job *job, enum target_origin origin, struct span identity, struct labels discovered,
	struct target **ret_target, size_t *ret_rule, struct error *err);
/* The labels that the rule at this place sees: seeded, and relabelled by the rules before it. They live in the arena and borrow from
 * ret_program (relabel_free; NULL is fine). Compiles those rules: for explanations. 0, -EINVAL, -ENOMEM. */
int target_labels_before(const struct target_job *job, const struct relabel_rule *rules, size_t rule,
	struct labels discovered, struct arena *arena, struct relabel **ret_program, struct labels *ret_labels);
struct target *target_ref(struct target *target);
void target_unref(struct target *target);
int target_pack(const struct target *target, struct buf *out);
/* job: the unpacked job that the target belongs to (a reference is taken). -EBADMSG on any damage. */
int target_unpack(struct span packed, struct target_job *job, struct target **ret_target);

/* ---- addresses -------------------------------------------------------------------- */

/* Splits an __address__ as Prometheus reads it: host:port, [v6]:port, host, v6.
 *   ret_port   0 when there is none
 *   returns    0; -EINVAL with err */
int target_address_split(struct span address, struct span *ret_host, uint16_t *ret_port, struct error *err);

struct target_address {
	bool is_ipv6; /* IPv4-mapped IPv6 is turned into IPv4 */
	unsigned char bytes[16];
	uint16_t port;
};
/* IP literals only (dotted quad, RFC 5952 forms; no zone, no octal, no shorthand), and "localhost" as 127.0.0.1. 0, -EINVAL. */
int target_address_parse(struct span host, uint16_t port, struct target_address *ret_address);
bool target_address_same_host(const struct target_address *a, const struct target_address *b);
/* Loopback (127.0.0.0/8, ::1), or an address of one of this host's interfaces (getifaddrs); link-local ones need a zone and are not.
 * False, too, when the interfaces cannot be listed. */
bool target_address_is_local(const struct target_address *address);
