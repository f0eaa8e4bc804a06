/* The configuration keys of `global` and `scrape_configs`: Prometheus' names, defaults and checks (semantics: scrape_config fields).
 *
 * Two rules are ours: a static target is on this host, and identity encoding is asked for unless enable_compression says otherwise.
 */
#include "credentials.h"

#include <errno.h>

/* ---- checks ---------------------------------------------------------------------- */

static int blame(const char **ret_key, const char *key)
{
	*ret_key = key;
	return -EINVAL;
}

static int check_names(const struct option_pairs *pairs, struct error *err)
{
	for (size_t i = 0; i < pairs->count; i++)
		if (!label_name_valid(span_str(pairs->items[i].name)))
			return error_set(err, EINVAL, "`%s` is not a label name, non-empty UTF-8 is expected",
				escape_bytes(span_str(pairs->items[i].name)).text);
	return 0;
}

static int check_budget(const struct target_budget_options *budget, struct error *err)
{
	if (budget->share >= 0 && budget->share <= 1024)
		return 0;
	return error_set(err, EINVAL, "%g is no share of a core, such as 0.01", budget->share);
}

static int global_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	(void)arena;
	struct target_global_options *global = object;
	if (!global->scrape_timeout_given && global->scrape_timeout_ns > global->scrape_interval_ns)
		global->scrape_timeout_ns = global->scrape_interval_ns;
	if (global->scrape_timeout_ns > global->scrape_interval_ns) {
		error_set(err, EINVAL, "%s is longer than scrape_interval, %s",
			duration_format(global->scrape_timeout_ns).text,
			duration_format(global->scrape_interval_ns).text);
		return blame(ret_key, "scrape_timeout");
	}
	if (check_budget(&global->budget, err) < 0)
		return blame(ret_key, "scrape_cost_budget");
	return check_names(&global->external_labels, err) < 0 ? blame(ret_key, "external_labels") : 0;
}

static int static_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	(void)arena;
	const struct target_static_config *config = object;
	return check_names(&config->labels, err) < 0 ? blame(ret_key, "labels") : 0;
}

static int kubernetes_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	(void)arena;
	const struct target_kubernetes_sd *config = object;
	if (span_eq(span_str(config->role), SPAN("pod")))
		return 0;
	error_set(err, EINVAL,
		"role `%s` is not supported, only `pod`: the kubelet knows the pods of its node and nothing else",
		escape_bytes(span_str(config->role)).text);
	return blame(ret_key, "role");
}

static bool writes_address(const struct option_objects *rules)
{
	const struct relabel_rule *rule = rules->items;
	for (size_t i = 0; i < rules->count; i++) {
		const char *target = rule[i].target_label;
		if (target && (strchr(target, '$') || strcmp(target, "__address__") == 0))
			return true;
	}
	return false;
}

static int check_static_target(const struct target_static_config *config, size_t index, struct error *err)
{
	struct span text = span_str(config->targets.items[index]), host = SPAN_NONE;
	struct target_address address;
	uint16_t port = 0;
	bool split = target_address_split(text, &host, &port, NULL) == 0;
	if (split && target_address_parse(host, port, &address) == 0 && target_address_is_local(&address))
		return 0;
	return error_set(err, EINVAL, "`%s` (targets[%zu] of the static_config in line %u) is not %s",
		escape_bytes(text).text, index, config->position.line,
		split ? "on this host; only this node is scraped, so host:port with 127.0.0.1, ::1, localhost or an "
			"IP address of this host is expected"
		      : "an address; host:port is expected, scheme and path have keys of their own");
}

/* Static targets are of this host; a rule that writes the address makes what stands in the file no address yet. */
static int check_static_targets(const struct target_job_options *job, struct error *err)
{
	const struct target_static_config *config = job->static_configs.items;
	if (writes_address(&job->relabel_configs))
		return 0;
	for (size_t i = 0; i < job->static_configs.count; i++)
		for (size_t j = 0; j < config[i].targets.count; j++)
			if (check_static_target(&config[i], j, err) < 0)
				return -EINVAL;
	return 0;
}

static int check_params(const struct option_lists *params, struct error *err)
{
	for (size_t i = 0; i < params->count; i++)
		if (!params->items[i].name[0])
			return error_set(err, EINVAL, "a parameter has no name");
	return 0;
}

static const char *const protocols[] = {
	"PrometheusText0.0.4", "PrometheusText1.0.0", "OpenMetricsText0.0.1", "OpenMetricsText1.0.0", NULL};

int target_check_protocol(const char *name, struct error *err)
{
	for (size_t i = 0; protocols[i]; i++)
		if (strcmp(name, protocols[i]) == 0)
			return 0;
	return error_set(err, EINVAL, "`%s` is not one of %s, %s, %s, %s", escape_bytes(span_str(name)).text,
		protocols[0], protocols[1], protocols[2], protocols[3]);
}

static int job_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	(void)arena;
	const struct target_job_options *job = object;
	struct span scheme = span_str(job->scheme);
	if (span_str(job->job_name).len == 0) {
		error_set(err, EINVAL, "a name is expected");
		return blame(ret_key, "job_name");
	}
	/* Against the interval of `global` only target_job_new can compare. */
	if (job->scrape_interval_ns > 0 && job->scrape_timeout_ns > job->scrape_interval_ns) {
		error_set(err, EINVAL, "%s is longer than scrape_interval, %s",
			duration_format(job->scrape_timeout_ns).text, duration_format(job->scrape_interval_ns).text);
		return blame(ret_key, "scrape_timeout");
	}
	if (!span_eq(scheme, SPAN("http")) && !span_eq(scheme, SPAN("https"))) {
		error_set(err, EINVAL, "`%s` is not http or https", escape_bytes(scheme).text);
		return blame(ret_key, "scheme");
	}
	if (check_budget(&job->budget, err) < 0)
		return blame(ret_key, "scrape_cost_budget");
	if (target_check_credentials(job, ret_key, err) < 0)
		return -EINVAL;
	if (check_params(&job->params, err) < 0)
		return blame(ret_key, "params");
	if (job->fallback_scrape_protocol && target_check_protocol(job->fallback_scrape_protocol, err) < 0)
		return blame(ret_key, "fallback_scrape_protocol");
	return check_static_targets(job, err) < 0 ? blame(ret_key, "static_configs") : 0;
}

/* ---- tables ---------------------------------------------------------------------- */

#define GLOBAL(field)        offsetof(struct target_global_options, field)
#define JOB(field)           offsetof(struct target_job_options, field)
#define STATIC(field)        offsetof(struct target_static_config, field)
#define SD(field)            offsetof(struct target_kubernetes_sd, field)
#define NONE_BELOW_1MS       .min = NS_PER_MS
#define FALLS_BACK_TO_GLOBAL " Not given: that of `global`."

/* The rows that `global` and a scrape_config share. */
#define LIMIT_ROWS(at, more)                                                                                           \
	{.name = "sample_limit",                                                                                       \
		.kind = OPTION_COUNT,                                                                                  \
		.offset = at(limits.sample_limit),                                                                     \
		.help = "Samples of one scrape, after metric relabelling, above which the scrape fails; 0: no limit "  \
			"of "                                                                                          \
			"its own." more},                                                                              \
		{.name = "body_size_limit",                                                                            \
			.kind = OPTION_BYTES,                                                                          \
			.offset = at(limits.body_size_limit),                                                          \
			.help = "Bytes of an uncompressed body from which on the scrape fails; 0: no limit of its "    \
				"own." more},                                                                          \
		{.name = "label_limit",                                                                                \
			.kind = OPTION_COUNT,                                                                          \
			.offset = at(limits.label_limit),                                                              \
			.help = "Labels of a series, name included, above which the scrape fails; 0: no limit of its " \
				"own." more},                                                                          \
		{.name = "label_name_length_limit",                                                                    \
			.kind = OPTION_COUNT,                                                                          \
			.offset = at(limits.label_name_length_limit),                                                  \
			.help = "Bytes of a label name above which the scrape fails; 0: no limit of its own." more},   \
		{.name = "label_value_length_limit",                                                                   \
			.kind = OPTION_COUNT,                                                                          \
			.offset = at(limits.label_value_length_limit),                                                 \
			.help = "Bytes of a label value above which the scrape fails; 0: no limit of its own." more},  \
	{                                                                                                              \
		.name = "target_limit", .kind = OPTION_COUNT, .offset = at(limits.target_limit),                       \
		.help = "Targets of a job above which none of them is scraped; 0: no limit." more                      \
	}

/* Both in global and in a scrape_config. */
#define BUDGET_ROWS(at, longest, more)                                                                                 \
	{.name = "scrape_cost_budget",                                                                                 \
		.kind = OPTION_DOUBLE,                                                                                 \
		.offset = at(budget.share),                                                                            \
		.help = "Share of a core, such as 0.01, that answering scrapes may cost a target; one that costs "     \
			"more, as the probe measures it, is scraped less often, down to scrape_cost_max_interval. "    \
			"0: no budget." more},                                                                         \
	{                                                                                                              \
		.name = "scrape_cost_max_interval", .kind = OPTION_DURATION, .offset = at(budget.max_interval_ns),     \
		.value = longest, .help = "No interval is stretched beyond this." more                                 \
	}

static const struct option global_options[] = {
	{.name = "scrape_interval",
		.kind = OPTION_DURATION,
		.offset = GLOBAL(scrape_interval_ns),
		.value = "1m",
		NONE_BELOW_1MS,
		.help = "How often targets are scraped."},
	{.name = "scrape_timeout",
		.kind = OPTION_DURATION,
		.offset = GLOBAL(scrape_timeout_ns),
		.given_offset = GLOBAL(scrape_timeout_given),
		.value = "10s",
		NONE_BELOW_1MS,
		.help = "How long a scrape may take, connecting included; not longer than the interval."},
	LIMIT_ROWS(GLOBAL, ""),
	{.name = "extra_scrape_metrics",
		.kind = OPTION_BOOL,
		.offset = GLOBAL(extra_scrape_metrics),
		.value = "false",
		.help = "Three more metrics about each scrape: scrape_timeout_seconds, scrape_sample_limit, "
			"scrape_body_size_bytes."},
	BUDGET_ROWS(GLOBAL, "5m", ""),
	{.name = "external_labels",
		.kind = OPTION_PAIRS,
		.offset = GLOBAL(external_labels),
		.help = "Labels that every target gets last; they replace target labels of the same name."},
	{.name = NULL},
};

static const char *const global_unsupported[] = {"always_scrape_classic_histograms",
	"convert_classic_histograms_to_nhcb", "evaluation_interval", "keep_dropped_targets",
	"metric_name_escaping_scheme", "metric_name_validation_scheme", "query_log_file", "rule_query_offset",
	"runtime", "scrape_failure_log_file", "scrape_native_histograms", "scrape_protocols", NULL};

const struct option_table target_global_table = {
	.name = "global",
	.help = "What holds for all scrape_configs that do not say otherwise.",
	.size = sizeof(struct target_global_options),
	.options = global_options,
	.check = global_check,
	.unsupported = global_unsupported,
};

static const struct option static_options[] = {
	{.name = "targets",
		.kind = OPTION_STRINGS,
		.offset = STATIC(targets),
		.help = "Addresses, host:port, of this host: 127.0.0.1, [::1], localhost or an IP address of one of "
			"its interfaces."},
	{.name = "labels", .kind = OPTION_PAIRS, .offset = STATIC(labels), .help = "Labels of these targets."},
	{.name = NULL},
};

static const struct option_table static_table = {
	.name = "static_config",
	.help = "Targets that are written down instead of discovered.",
	.size = sizeof(struct target_static_config),
	.options = static_options,
	.positioned = true,
	.check = static_check,
};

static const struct option namespaces_options[] = {
	{.name = "names",
		.kind = OPTION_STRINGS,
		.offset = 0,
		.help = "Names of the namespaces whose pods are taken; none: all."},
	{.name = NULL},
};

static const struct option_table namespaces_table = {
	.name = "namespaces",
	.help = "Which namespaces' pods are taken.",
	.size = sizeof(struct option_strings),
	.options = namespaces_options,
};

static const struct option kubernetes_options[] = {
	{.name = "role",
		.kind = OPTION_STRING,
		.offset = SD(role),
		.required = true,
		.help = "What is discovered; only `pod`: the pods of this node, as its kubelet lists them."},
	{.name = "namespaces",
		.kind = OPTION_OBJECT,
		.offset = SD(namespaces),
		.fields = &namespaces_table,
		.help = "Which namespaces' pods are taken."},
	{.name = NULL},
};

static const char *const kubernetes_unsupported[] = {"api_server", "attach_metadata", "authorization", "basic_auth",
	"enable_http2", "follow_redirects", "http_headers", "kubeconfig_file", "no_proxy", "oauth2",
	"proxy_connect_header", "proxy_from_environment", "proxy_url", "selectors", "tls_config", NULL};

static const struct option_table kubernetes_table = {
	.name = "kubernetes_sd_config",
	.help = "Discovery of the node's pods, with the meta labels of Prometheus' role pod.",
	.size = sizeof(struct target_kubernetes_sd),
	.options = kubernetes_options,
	.positioned = true,
	.check = kubernetes_check,
	.unsupported = kubernetes_unsupported,
};

static const struct option job_options[] = {
	{.name = "job_name",
		.kind = OPTION_STRING,
		.offset = JOB(job_name),
		.required = true,
		.help = "Name of the job, unique; label `job` and service.name of its targets."},
	{.name = "scrape_interval",
		.kind = OPTION_DURATION,
		.offset = JOB(scrape_interval_ns),
		.help = "How often targets are scraped." FALLS_BACK_TO_GLOBAL},
	{.name = "scrape_timeout",
		.kind = OPTION_DURATION,
		.offset = JOB(scrape_timeout_ns),
		.help = "How long a scrape may take, connecting included; not longer than the "
			"interval." FALLS_BACK_TO_GLOBAL},
	{.name = "metrics_path",
		.kind = OPTION_STRING,
		.offset = JOB(metrics_path),
		.value = "/metrics",
		.help = "Path of the URL, taken literally: a `?` in it is escaped, so a query belongs in `params`."},
	{.name = "scheme", .kind = OPTION_STRING, .offset = JOB(scheme), .value = "http", .help = "http or https."},
	{.name = "params",
		.kind = OPTION_LISTS,
		.offset = JOB(params),
		.help = "Query parameters of the URL, each with its values."},
	{.name = "honor_labels",
		.kind = OPTION_BOOL,
		.offset = JOB(honor_labels),
		.value = "false",
		.help = "Where a series has a label of the target already, keep the series' value instead of renaming "
			"it to "
			"exported_<name>."},
	{.name = "honor_timestamps",
		.kind = OPTION_BOOL,
		.offset = JOB(honor_timestamps),
		.value = "true",
		.help = "Take timestamps from the body where it has them."},
	{.name = "track_timestamps_staleness",
		.kind = OPTION_BOOL,
		.offset = JOB(track_timestamps_staleness),
		.value = "false",
		.help = "Send stale markers for series with timestamps of their own, too."},
	{.name = "enable_compression",
		.kind = OPTION_BOOL,
		.offset = JOB(enable_compression),
		.value = "false",
		.help = "Ask for gzip. Off, unlike in Prometheus: the way is only as long as the node, and compressing "
			"costs the "
			"target more than it saves. A compressed body is understood in any case."},
	LIMIT_ROWS(JOB, FALLS_BACK_TO_GLOBAL),
	{.name = "extra_scrape_metrics",
		.kind = OPTION_BOOL,
		.offset = JOB(extra_scrape_metrics),
		.given_offset = JOB(extra_scrape_metrics_given),
		.help = "Three more metrics about each scrape." FALLS_BACK_TO_GLOBAL},
	BUDGET_ROWS(JOB, NULL, FALLS_BACK_TO_GLOBAL),
	{.name = "fallback_scrape_protocol",
		.kind = OPTION_STRING,
		.offset = JOB(fallback_scrape_protocol),
		.value = "PrometheusText0.0.4",
		.help = "How a body without a usable Content-Type is read: PrometheusText0.0.4, PrometheusText1.0.0, "
			"OpenMetricsText0.0.1 or OpenMetricsText1.0.0."},
	{.name = "relabel_configs",
		.kind = OPTION_OBJECTS,
		.offset = JOB(relabel_configs),
		.fields = &relabel_rule_table,
		.help = "Relabelling of discovered targets."},
	{.name = "metric_relabel_configs",
		.kind = OPTION_OBJECTS,
		.offset = JOB(metric_relabel_configs),
		.fields = &relabel_rule_table,
		.help = "Relabelling of scraped series."},
	{.name = "static_configs",
		.kind = OPTION_OBJECTS,
		.offset = JOB(static_configs),
		.fields = &static_table,
		.help = "Targets that are written down; only of this host."},
	{.name = "kubernetes_sd_configs",
		.kind = OPTION_OBJECTS,
		.offset = JOB(kubernetes_sd_configs),
		.fields = &kubernetes_table,
		.help = "Discovery of this node's pods."},
	{.name = "basic_auth",
		.kind = OPTION_OBJECT,
		.offset = JOB(basic_auth),
		.given_offset = JOB(basic_auth_given),
		.fields = &target_basic_auth_table,
		.help = "User name and password. At most one of basic_auth, authorization and bearer_token. They go to "
			"the address of the target and nowhere else."},
	{.name = "authorization",
		.kind = OPTION_OBJECT,
		.offset = JOB(authorization),
		.given_offset = JOB(authorization_given),
		.fields = &target_authorization_table,
		.help = "An Authorization header, such as a bearer token."},
	{.name = "bearer_token",
		.kind = OPTION_STRING,
		.offset = JOB(bearer_token),
		.secret = true,
		.help = "Old name of authorization.credentials."},
	{.name = "bearer_token_file",
		.kind = OPTION_STRING,
		.offset = JOB(bearer_token_file),
		.help = "Old name of authorization.credentials_file."},
	{.name = "tls_config",
		.kind = OPTION_OBJECT,
		.offset = JOB(tls_config),
		.fields = &target_tls_table,
		.help = "TLS of the scrapes, for scheme https."},
	{.name = "follow_redirects",
		.kind = OPTION_BOOL,
		.offset = JOB(follow_redirects),
		.value = "false",
		.help = "Without effect, and `true` gives a warning: a redirect is never followed, for it may lead a "
			"scrape and its credentials off the node. The scrape fails with the status, such as 302."},
	{.name = "enable_http2",
		.kind = OPTION_BOOL,
		.offset = JOB(enable_http2),
		.value = "false",
		.help = "Without effect: targets are scraped with HTTP/1.1, one request at a time on a kept "
			"connection."},
	{.name = NULL},
};

static const char *const job_unsupported[] = {"always_scrape_classic_histograms", "azure_sd_configs",
	"consul_sd_configs", "convert_classic_histograms_to_nhcb", "digitalocean_sd_configs", "dns_sd_configs",
	"docker_sd_configs", "dockerswarm_sd_configs", "ec2_sd_configs", "eureka_sd_configs", "file_sd_configs",
	"gce_sd_configs", "hetzner_sd_configs", "http_headers", "http_sd_configs", "ionos_sd_configs",
	"keep_dropped_targets", "kuma_sd_configs", "lightsail_sd_configs", "linode_sd_configs", "marathon_sd_configs",
	"metric_name_escaping_scheme", "metric_name_validation_scheme", "native_histogram_bucket_limit",
	"native_histogram_min_bucket_factor", "nerve_sd_configs", "no_proxy", "nomad_sd_configs", "oauth2",
	"openstack_sd_configs", "ovhcloud_sd_configs", "proxy_connect_header", "proxy_from_environment", "proxy_url",
	"puppetdb_sd_configs", "scaleway_sd_configs", "scrape_failure_log_file", "scrape_native_histograms",
	"scrape_protocols", "serverset_sd_configs", "stackit_sd_configs", "triton_sd_configs", "uyuni_sd_configs",
	"vultr_sd_configs", NULL};

const struct option_table target_job_table = {
	.name = "scrape_config",
	.help = "One job: where its targets come from and how they are scraped, with Prometheus' keys.",
	.size = sizeof(struct target_job_options),
	.options = job_options,
	.positioned = true,
	.check = job_check,
	.unsupported = job_unsupported,
};
