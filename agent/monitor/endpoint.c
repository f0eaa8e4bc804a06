/* The fields of an endpoint of a ServiceMonitor or PodMonitor. */
#include "endpoint.h"

#include <errno.h>

/* Of a monitor. The loop stands still while they compile, on every node: 0.2 s. Ordinary monitors have some hundred, large ones 30,000. */
enum { REGEX_COST_MAX = 200000 };

/* ---- relabelings ------------------------------------------------------------------------ */

static void field_action(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	static const char *const names[] = {"replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap",
		"labeldrop", "labelkeep", "lowercase", "uppercase"};
	(void)field;
	if (!read_is(reader, value, JSON_STRING))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (span_eq_nocase(value->text, span_str(names[i]))) {
			((struct relabel_rule *)into)->action = (int)i;
			return;
		}
	}
	find(reader, MONITOR_REJECTED, "`%s` is not an action", escape_bytes(value->text).text);
}

/* "" is the default, as the operator has it: to match the empty string only is written ^$. */
static void field_regex(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	const char *regex = read_string(reader, value);
	(void)field;
	((struct relabel_rule *)into)->regex = regex && regex[0] ? regex : NULL;
}

static const struct field rule_fields[] = {
	FIELD("sourceLabels", field_texts, struct relabel_rule, source_labels),
	FIELD("separator", field_text, struct relabel_rule, separator),
	FIELD("targetLabel", field_text, struct relabel_rule, target_label),
	{.name = "regex", .read = field_regex},
	FIELD("modulus", field_count, struct relabel_rule, modulus),
	FIELD("replacement", field_text, struct relabel_rule, replacement),
	FIELD("action", field_action, struct relabel_rule, action),
	{0},
};

/* Compiled only to be refused here and not on the node that has a pod for it. */
static void check_rules(struct reader *reader, const struct relabel_rule *rules, size_t count)
{
	struct relabel *relabel = NULL;
	struct error err = {{0}};
	int result = relabel_compile(rules, count, &relabel, &err);
	reader->regex_cost += relabel_cost(relabel);
	relabel_free(relabel);
	reader->no_memory = reader->no_memory || result == -ENOMEM;
	if (result == -EINVAL)
		find(reader, MONITOR_REJECTED, "%s", err.text);
	else if (reader->regex_cost > REGEX_COST_MAX)
		find(reader, MONITOR_REJECTED, "the monitor's regular expressions are too large together");
}

void field_relabelings(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	struct option_objects *objects = (void *)((char *)into + field->offset);
	if (!read_is(reader, value, JSON_ARRAY))
		return;
	struct relabel_rule *rules = read_alloc(reader, value->count * sizeof(*rules));
	for (size_t i = 0; rules && i < value->count; i++) {
		size_t path = path_push_index(reader, i);
		read_fields(reader, &value->items[i], rule_fields, &rules[i]);
		path_pop(reader, path);
	}
	*objects = (struct option_objects){rules, rules ? value->count : 0};
	if (!reader->monitor->rejected && !reader->no_memory)
		check_rules(reader, rules, objects->count);
}

/* ---- other fields -------------------------------------------------------------------------- */

void field_scheme(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	const char **scheme = (void *)((char *)into + field->offset);
	if (!read_is(reader, value, JSON_STRING) || value->text.len == 0)
		return;
	if (span_eq_nocase(value->text, SPAN("http")))
		*scheme = "http";
	else if (span_eq_nocase(value->text, SPAN("https")))
		*scheme = "https";
	else
		find(reader, MONITOR_REJECTED, "`%s` is not http or https", escape_bytes(value->text).text);
}

static bool port_number(struct reader *reader, const struct json *value, uint64_t *ret_number)
{
	uint64_t number = 0;
	if (span_to_u64(value->text, &number) == 0 && number <= 65535) {
		*ret_number = number;
		return true;
	}
	find(reader, MONITOR_REJECTED, "`%s` is not a port number", escape_bytes(value->text).text);
	return false;
}

static void field_port_number(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	(void)field;
	if (read_is(reader, value, JSON_NUMBER))
		port_number(reader, value, &((struct endpoint *)into)->port_number);
}

static void field_target_port(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	struct endpoint *endpoint = into;
	(void)field;
	if (value->type == JSON_NUMBER)
		port_number(reader, value, &endpoint->target_number);
	else
		endpoint->target_name = read_string(reader, value);
}

static void field_path(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	const char *path = read_string(reader, value);
	(void)field;
	if (path && path[0] != '\0')
		((struct endpoint *)into)->options.metrics_path = path;
}

#define ENDPOINT(name, read, member) FIELD(name, read, struct endpoint, member)

/* Those that the endpoints of both kinds have. */
#define COMMON_FIELDS                                                                                                  \
	ENDPOINT("port", field_text, port), {.name = "targetPort", .read = field_target_port},                         \
		{.name = "path", .read = field_path}, ENDPOINT("scheme", field_scheme, options.scheme),                \
		ENDPOINT("params", field_lists, options.params),                                                       \
		ENDPOINT("interval", field_duration, options.scrape_interval_ns),                                      \
		ENDPOINT("scrapeTimeout", field_duration, options.scrape_timeout_ns),                                  \
		NOT_HONOURED("followRedirects", field_ignored,                                                         \
			"redirects are not followed: they would lead away from the pod"),                              \
		NOT_HONOURED("enableHttp2", field_ignored, "HTTP/1.1 is spoken"),                                      \
		NOT_HONOURED("proxyUrl", field_refused,                                                                \
			"no proxy is used: only pods of this node are connected to, and directly"),                    \
		NOT_HONOURED("noProxy", field_ignored, "no proxy is used in any case"),                                \
		NOT_HONOURED("proxyFromEnvironment", field_ignored,                                                    \
			"no proxy is used: only pods of this node are connected to, and directly"),                    \
		NOT_HONOURED("proxyConnectHeader", field_ignored, "no proxy is used"),                                 \
		ENDPOINT("honorLabels", field_flag, options.honor_labels),                                             \
		ENDPOINT("honorTimestamps", field_flag, options.honor_timestamps),                                     \
		ENDPOINT("trackTimestampsStaleness", field_flag, options.track_timestamps_staleness),                  \
		ENDPOINT("relabelings", field_relabelings, relabelings),                                               \
		ENDPOINT("metricRelabelings", field_relabelings, metric_relabelings),                                  \
		ENDPOINT("filterRunning", field_flag, filter_running),                                                 \
		{.name = "authorization", .read = field_authorization},                                                \
		{.name = "basicAuth", .read = field_basic_auth}, {.name = "oauth2", .read = field_oauth2},             \
	{                                                                                                              \
		.name = "bearerTokenSecret", .read = field_bearer_secret                                               \
	}

const struct field endpoint_service_fields[] = {
	COMMON_FIELDS,
	NOT_HONOURED(
		"bearerTokenFile", field_rejected, "files of the agent are not read for a monitor; use authorization"),
	{.name = "tlsConfig", .read = field_tls, .tag = MONITOR_SERVICE_MONITOR},
	{0},
};

const struct field endpoint_pod_fields[] = {
	COMMON_FIELDS,
	{.name = "portNumber", .read = field_port_number},
	{.name = "tlsConfig", .read = field_tls, .tag = MONITOR_POD_MONITOR},
	{0},
};

/* ---- the endpoint as a whole ------------------------------------------------------------------------ */

void endpoint_init(struct endpoint *endpoint)
{
	*endpoint = (struct endpoint){.filter_running = true, .options = {.honor_timestamps = true}};
}

void endpoint_check(struct reader *reader, struct endpoint *endpoint, const struct monitor_options *options)
{
	struct target_job_options *job = &endpoint->options;
	if (endpoint->auth_methods > 1)
		find(reader, MONITOR_REJECTED,
			"has more than one of basicAuth, authorization, oauth2 and bearer token");
	if (endpoint->has_cert != endpoint->has_key)
		find(reader, MONITOR_REJECTED, "tlsConfig has %s",
			endpoint->has_cert ? "a certificate without its key" : "a key without its certificate");
	if (job->tls_config.min_version && job->tls_config.max_version &&
		strcmp(job->tls_config.min_version, job->tls_config.max_version) > 0)
		find(reader, MONITOR_REJECTED, "tlsConfig: minVersion is newer than maxVersion");
	if (job->scrape_interval_ns == 0)
		job->scrape_interval_ns = options->scrape_interval_ns;
	if (job->scrape_timeout_ns > job->scrape_interval_ns)
		find(reader, MONITOR_REJECTED, "scrapeTimeout: %s is longer than the interval, %s",
			duration_format(job->scrape_timeout_ns).text, duration_format(job->scrape_interval_ns).text);
	if (job->scrape_interval_ns < TARGET_LEAST_INTERVAL_NS) {
		find(reader, MONITOR_IGNORED, "interval: %s is raised to %s",
			duration_format(job->scrape_interval_ns).text, duration_format(TARGET_LEAST_INTERVAL_NS).text);
		job->scrape_interval_ns = TARGET_LEAST_INTERVAL_NS;
	}
}

const struct monitor_scrape_class *find_scrape_class(
	struct reader *reader, const struct spec *spec, const struct monitor_options *options)
{
	const struct monitor_scrape_class *classes = options->scrape_classes.items;
	bool named = spec->scrape_class && spec->scrape_class[0];
	for (size_t i = 0; i < options->scrape_classes.count; i++) {
		if (named ? strcmp(classes[i].name, spec->scrape_class) == 0 : classes[i].is_default)
			return &classes[i];
	}
	if (named)
		find(reader, MONITOR_REJECTED, "scrapeClass: `%s` is not one of monitors.scrape_classes",
			escape_bytes(span_str(spec->scrape_class)).text);
	return NULL;
}
