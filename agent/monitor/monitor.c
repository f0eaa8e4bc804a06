/* From an object of the API to a monitor:
 *
 *   1. name and labels     2. the spec, by its table of fields     3. each endpoint, by its table
 *   4. what fields only say together: scrape class, limits, times     5. the relabel rules     6. hashes
 *
 * Failure modes: an object that is wrong as a whole is a monitor that is rejected and says why; only memory and an object without a
 * name are errors.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "endpoint.h"
#include "grammar.h"

enum { MONITOR_BYTES_MAX = 1 << 20 }; /* an ordinary one has 2 KiB, and 2 KiB more for each endpoint */

const char *monitor_kind_name(enum monitor_kind kind)
{
	static const char *const names[] = {"ServiceMonitor", "PodMonitor", "ScrapeConfig"};
	return kind < MONITOR_KINDS ? names[kind] : "";
}

const char *monitor_effect_name(enum monitor_effect effect)
{
	static const char *const names[] = {"ignored", "endpoint refused", "monitor rejected"};
	return names[effect];
}

/* ---- tables --------------------------------------------------------------------------------- */

#define SPEC(name, read, member) FIELD(name, read, struct spec, member)
#define NO_NATIVE                "native histograms are not read"
#define ONLY_PODS                "only pods of this node are targets (kubernetesSDConfigs with role Pod, staticConfigs of this host)"

static void field_quantity(struct reader *reader, const struct field *field, const struct json *value, void *into);

/* Those of all three kinds. */
#define COMMON_FIELDS                                                                                                  \
	SPEC("scrapeClass", field_text, scrape_class),                                                                 \
		NOT_HONOURED("scrapeProtocols", field_ignored,                                                         \
			"formats are asked for in an order of our own; all but protobuf are read"),                    \
		SPEC("fallbackScrapeProtocol", field_protocol, fallback_protocol),                                     \
		NOT_HONOURED("keepDroppedTargets", field_ignored,                                                      \
			"dropped targets are kept for the targets page up to a maximum of our own"),                   \
		SPEC("bodySizeLimit", field_bytes, limits.body_size_limit),                                            \
		SPEC("sampleLimit", field_count, limits.sample_limit),                                                 \
		SPEC("targetLimit", field_count, limits.target_limit),                                                 \
		SPEC("labelLimit", field_count, limits.label_limit),                                                   \
		SPEC("labelNameLengthLimit", field_count, limits.label_name_length_limit),                             \
		SPEC("labelValueLengthLimit", field_count, limits.label_value_length_limit),                           \
		NOT_HONOURED("scrapeNativeHistograms", field_ignored, NO_NATIVE),                                      \
		NOT_HONOURED("scrapeClassicHistograms", field_ignored,                                                 \
			"classic histograms are read in any case; " NO_NATIVE),                                        \
		NOT_HONOURED("nativeHistogramBucketLimit", field_ignored, NO_NATIVE),                                  \
		NOT_HONOURED("nativeHistogramMinBucketFactor", field_quantity, NO_NATIVE),                             \
		NOT_HONOURED("convertClassicHistogramsToNHCB", field_ignored,                                          \
			"classic histograms are sent as OTLP histograms, which is the same in OTLP")

static const struct field attach_fields[] = {
	NOT_HONOURED("node", field_ignored, "labels of the Node are not attached: __meta_kubernetes_node_* are empty"),
	{0},
};
static const struct field namespace_fields[] = {
	SPEC("any", field_flag, any_namespace),
	SPEC("matchNames", field_texts, namespaces),
	{0},
};

#define SELECTING_FIELDS                                                                                               \
	SPEC("jobLabel", field_text, job_label), SPEC("podTargetLabels", field_texts, pod_target_labels),              \
		SPEC("selector", field_json,                                                                           \
			selector), /* Labels are compared exactly, which is what both mechanisms mean. */              \
		{.name = "selectorMechanism", .read = field_skip},                                                     \
		{.name = "namespaceSelector", .read = field_object, .fields = namespace_fields},                       \
	{                                                                                                              \
		.name = "attachMetadata", .read = field_object, .fields = attach_fields                                \
	}

static const struct field service_monitor_fields[] = {
	COMMON_FIELDS,
	SELECTING_FIELDS,
	SPEC("targetLabels", field_texts, target_labels),
	SPEC("endpoints", field_json, endpoints),
	SPEC("serviceDiscoveryRole", field_text, discovery_role),
	{0},
};
static const struct field pod_monitor_fields[] = {
	COMMON_FIELDS,
	SELECTING_FIELDS,
	SPEC("podMetricsEndpoints", field_json, endpoints),
	{0},
};

/* ---- tables of ScrapeConfig ------------------------------------------------------------------ */

#define OTHER_SD(name)                  NOT_HONOURED(name, field_rejected, ONLY_PODS)
#define OF_ENDPOINT(name, read, member) SPEC(name, read, endpoint.member)

static void field_endpoint(struct reader *reader, const struct field *field, const struct json *value, void *into);

static const struct field of_endpoint_fields[] = {
	{.name = "basicAuth", .read = field_basic_auth},
	{.name = "authorization", .read = field_authorization},
	{.name = "oauth2", .read = field_oauth2},
	{.name = "tlsConfig", .read = field_tls, .tag = MONITOR_SCRAPE_CONFIG},
};

static const struct field scrape_config_fields[] = {
	COMMON_FIELDS,
	SPEC("jobName", field_text, job_name),
	SPEC("staticConfigs", field_json, static_configs),
	SPEC("kubernetesSDConfigs", field_json, kubernetes),
	OF_ENDPOINT("relabelings", field_relabelings, relabelings),
	OF_ENDPOINT("metricRelabelings", field_relabelings, metric_relabelings),
	OF_ENDPOINT("metricsPath", field_text, options.metrics_path),
	OF_ENDPOINT("scrapeInterval", field_duration, options.scrape_interval_ns),
	OF_ENDPOINT("scrapeTimeout", field_duration, options.scrape_timeout_ns),
	OF_ENDPOINT("honorTimestamps", field_flag, options.honor_timestamps),
	OF_ENDPOINT("trackTimestampsStaleness", field_flag, options.track_timestamps_staleness),
	OF_ENDPOINT("honorLabels", field_flag, options.honor_labels),
	OF_ENDPOINT("params", field_lists, options.params),
	OF_ENDPOINT("scheme", field_scheme, options.scheme),
	OF_ENDPOINT("enableCompression", field_flag, options.enable_compression),
	NOT_HONOURED("enableHTTP2", field_ignored, "HTTP/1.1 is spoken"),
	{.name = "basicAuth", .read = field_endpoint, .fields = &of_endpoint_fields[0]},
	{.name = "authorization", .read = field_endpoint, .fields = &of_endpoint_fields[1]},
	{.name = "oauth2", .read = field_endpoint, .fields = &of_endpoint_fields[2]},
	{.name = "tlsConfig", .read = field_endpoint, .fields = &of_endpoint_fields[3]},
	NOT_HONOURED("proxyUrl", field_refused, "no proxy is used: only this node is connected to, and directly"),
	NOT_HONOURED("noProxy", field_ignored, "no proxy is used in any case"),
	NOT_HONOURED("proxyFromEnvironment", field_ignored, "no proxy is used"),
	NOT_HONOURED("proxyConnectHeader", field_ignored, "no proxy is used"),
	NOT_HONOURED("nameValidationScheme", field_ignored, "names may be any UTF-8"),
	NOT_HONOURED("nameEscapingScheme", field_ignored, "names are taken as the target gives them"),
	OTHER_SD("azureSDConfigs"),
	OTHER_SD("consulSDConfigs"),
	OTHER_SD("digitalOceanSDConfigs"),
	OTHER_SD("dnsSDConfigs"),
	OTHER_SD("dockerSDConfigs"),
	OTHER_SD("dockerSwarmSDConfigs"),
	OTHER_SD("ec2SDConfigs"),
	OTHER_SD("eurekaSDConfigs"),
	OTHER_SD("fileSDConfigs"),
	OTHER_SD("gceSDConfigs"),
	OTHER_SD("hetznerSDConfigs"),
	OTHER_SD("httpSDConfigs"),
	OTHER_SD("ionosSDConfigs"),
	OTHER_SD("kumaSDConfigs"),
	OTHER_SD("lightSailSDConfigs"),
	OTHER_SD("linodeSDConfigs"),
	OTHER_SD("nomadSDConfigs"),
	OTHER_SD("openstackSDConfigs"),
	OTHER_SD("ovhcloudSDConfigs"),
	OTHER_SD("puppetDBSDConfigs"),
	OTHER_SD("scalewaySDConfigs"),
	{0},
};

/* A field that ServiceMonitors have in an endpoint; `fields` says how it is read there. */
static void field_endpoint(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	field->fields->read(reader, field->fields, value, &((struct spec *)into)->endpoint);
}

struct kubernetes_sd {
	const char *role;
	bool own_namespace;
	struct option_strings namespaces;
};
static const struct field sd_namespace_fields[] = {
	FIELD("ownNamespace", field_flag, struct kubernetes_sd, own_namespace),
	FIELD("names", field_texts, struct kubernetes_sd, namespaces),
	{0},
};

#define OTHER_SERVER "pods come from this node's kubelet, no API server is asked"
static const struct field kubernetes_fields[] = {
	FIELD("role", field_text, struct kubernetes_sd, role),
	{.name = "namespaces", .read = field_object, .fields = sd_namespace_fields},
	NOT_HONOURED("selectors", field_rejected, "selectors are not evaluated; keep pods by a relabeling instead"),
	{.name = "attachMetadata", .read = field_object, .fields = attach_fields},
	NOT_HONOURED("apiServer", field_rejected, OTHER_SERVER),
	NOT_HONOURED("authorization", field_ignored, OTHER_SERVER),
	NOT_HONOURED("basicAuth", field_ignored, OTHER_SERVER),
	NOT_HONOURED("oauth2", field_ignored, OTHER_SERVER),
	NOT_HONOURED("tlsConfig", field_ignored, OTHER_SERVER),
	NOT_HONOURED("enableHTTP2", field_ignored, OTHER_SERVER),
	NOT_HONOURED("followRedirects", field_ignored, OTHER_SERVER),
	NOT_HONOURED("proxyUrl", field_ignored, OTHER_SERVER),
	NOT_HONOURED("noProxy", field_ignored, OTHER_SERVER),
	NOT_HONOURED("proxyFromEnvironment", field_ignored, OTHER_SERVER),
	NOT_HONOURED("proxyConnectHeader", field_ignored, OTHER_SERVER),
	{0},
};

static void field_pairs(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	struct option_pairs *pairs = (void *)((char *)into + field->offset);
	if (!read_is(reader, value, JSON_OBJECT))
		return;
	*pairs = (struct option_pairs){.items = read_alloc(reader, value->count * sizeof(*pairs->items))};
	for (size_t i = 0; pairs->items && i < value->count; i++) {
		struct option_pair pair = {.name = read_copy(reader, value->keys[i])};
		if (!pair.name)
			return;
		size_t path = path_push(reader, pair.name);
		if (strlen(pair.name) != value->keys[i].len || !label_name_valid(span_str(pair.name)))
			find(reader, MONITOR_REJECTED, "is not a label name");
		pair.value = read_string(reader, &value->items[i]);
		path_pop(reader, path);
		if (pair.value)
			pairs->items[pairs->count++] = pair;
	}
}

static const struct field static_fields[] = {
	FIELD("targets", field_texts, struct target_static_config, targets),
	FIELD("labels", field_pairs, struct target_static_config, labels),
	{0},
};

/* ---- parts of the spec --------------------------------------------------------------------------- */

static void field_quantity(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	if (value->type != JSON_NUMBER && !read_is(reader, value, JSON_STRING))
		return;
	if (grammar_is_quantity(value->text))
		field_ignored(reader, field, value, into);
	else
		find(reader, MONITOR_REJECTED, "`%s` is not a quantity", escape_bytes(value->text).text);
}

/* names, or the monitor's own namespace for want of any. */
static void set_namespaces(struct reader *reader, struct option_strings names, bool and_own)
{
	struct monitor *monitor = reader->monitor;
	struct span *spans = read_alloc(reader, (names.count + 1) * sizeof(*spans));
	if (!spans)
		return;
	for (size_t i = 0; i < names.count; i++)
		spans[i] = span_str(names.items[i]);
	if (and_own)
		spans[names.count] = monitor->namespace_;
	monitor->namespaces = spans;
	monitor->namespace_count = names.count + and_own;
}

static void read_selection(struct reader *reader, const struct spec *spec)
{
	reader->monitor->any_namespace = spec->any_namespace;
	set_namespaces(reader, spec->namespaces, spec->namespaces.count == 0);
	size_t path = path_push(reader, "selector");
	if (spec->selector)
		read_selector(reader, spec->selector, &reader->monitor->selector);
	else
		find(reader, MONITOR_REJECTED, "is missing; `{}` selects everything");
	path_pop(reader, path);
}

/* Several are one: their namespaces together, all as soon as one of them wants all. */
static void read_kubernetes(struct reader *reader, const struct json *configs)
{
	struct monitor *monitor = reader->monitor;
	struct option_strings names = {0};
	bool own = false;
	if (!configs || !read_is(reader, configs, JSON_ARRAY))
		return;
	size_t path = path_push(reader, "kubernetesSDConfigs");
	for (size_t i = 0; i < configs->count; i++) {
		struct kubernetes_sd sd = {0};
		size_t inner = path_push_index(reader, i);
		read_fields(reader, &configs->items[i], kubernetes_fields, &sd);
		if (!sd.role || !span_eq_nocase(span_str(sd.role), SPAN("pod")))
			find(reader, MONITOR_REJECTED, "role: " ONLY_PODS);
		path_pop(reader, inner);
		monitor->pods = true;
		monitor->any_namespace = monitor->any_namespace || (!sd.own_namespace && sd.namespaces.count == 0);
		own = own || sd.own_namespace;
		const char **items = read_alloc(reader, (names.count + sd.namespaces.count) * sizeof(*items));
		if (!items)
			break;
		for (size_t j = 0; j < names.count + sd.namespaces.count; j++)
			items[j] = j < names.count ? names.items[j] : sd.namespaces.items[j - names.count];
		names = (struct option_strings){items, names.count + sd.namespaces.count};
	}
	path_pop(reader, path);
	set_namespaces(reader, names, own);
}

static void read_statics(struct reader *reader, const struct json *configs, struct option_objects *ret_configs)
{
	if (!configs || !read_is(reader, configs, JSON_ARRAY))
		return;
	struct target_static_config *items = read_alloc(reader, configs->count * sizeof(*items));
	size_t path = path_push(reader, "staticConfigs");
	for (size_t i = 0; items && i < configs->count; i++) {
		size_t inner = path_push_index(reader, i);
		read_fields(reader, &configs->items[i], static_fields, &items[i]);
		path_pop(reader, inner);
	}
	path_pop(reader, path);
	*ret_configs = (struct option_objects){items, items ? configs->count : 0};
}

/* ---- endpoints ------------------------------------------------------------------------------------- */

/* The CRD's port is a name, the operator takes it for a regex; one that is none would fail only where there is a pod for it. */
static void check_port(struct reader *reader, const char *key, const char *port)
{
	struct relabel *relabel = NULL;
	struct error err = {{0}};
	struct relabel_rule rule = {.action = RELABEL_KEEP, .regex = port};
	if (!port || port[strspn(port, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] == '\0')
		return;
	int result = relabel_compile(&rule, 1, &relabel, &err);
	relabel_free(relabel);
	reader->no_memory = reader->no_memory || result == -ENOMEM;
	if (result == -EINVAL)
		find(reader, MONITOR_REJECTED, "%s: %s", key, err.text);
}

static bool has_reference(const struct endpoint *endpoint, enum monitor_use use)
{
	for (size_t i = 0; i < endpoint->reference_count; i++) {
		if (endpoint->references[i].use == use)
			return true;
	}
	return false;
}

static const char *copy_text(struct reader *reader, const char *text)
{
	return text ? read_copy(reader, span_str(text)) : NULL;
}

/* As the operator merges: authority and certificate where the endpoint has none, the rest only for one without tlsConfig. */
static void merge_tls(struct reader *reader, const struct target_tls_options *of_class, struct endpoint *endpoint)
{
	struct target_tls_options *tls = &endpoint->options.tls_config;
	if (!has_reference(endpoint, MONITOR_TLS_CA)) {
		tls->ca = copy_text(reader, of_class->ca);
		tls->ca_file = copy_text(reader, of_class->ca_file);
	}
	if (!endpoint->has_cert) {
		tls->cert = copy_text(reader, of_class->cert);
		tls->cert_file = copy_text(reader, of_class->cert_file);
		tls->key = copy_text(reader, of_class->key);
		tls->key_file = copy_text(reader, of_class->key_file);
	}
	if (endpoint->has_tls)
		return;
	tls->server_name = copy_text(reader, of_class->server_name);
	tls->min_version = copy_text(reader, of_class->min_version);
	tls->max_version = copy_text(reader, of_class->max_version);
	tls->insecure_skip_verify = of_class->insecure_skip_verify;
}

static void merge_class(
	struct reader *reader, const struct monitor_scrape_class *scrape_class, struct endpoint *endpoint)
{
	struct target_job_options *job = &endpoint->options;
	if (!scrape_class)
		return;
	if (!job->fallback_scrape_protocol)
		job->fallback_scrape_protocol = copy_text(reader, scrape_class->fallback_scrape_protocol);
	merge_tls(reader, &scrape_class->tls_config, endpoint);
	if (!scrape_class->authorization_given || endpoint->auth_methods > 0)
		return;
	job->authorization_given = true;
	job->authorization.type = copy_text(reader, scrape_class->authorization.type);
	job->authorization.credentials = copy_text(reader, scrape_class->authorization.credentials);
	job->authorization.credentials_file = copy_text(reader, scrape_class->authorization.credentials_file);
}

/* serviceMonitor/<ns>/<name>/<i>, podMonitor/..., scrapeConfig/<ns>/<name>. */
static const char *job_name(struct reader *reader, size_t index)
{
	static const char *const prefixes[] = {"serviceMonitor", "podMonitor", "scrapeConfig"};
	const struct monitor *monitor = reader->monitor;
	size_t size = monitor->namespace_.len + monitor->name.len + 48;
	char *name = read_alloc(reader, size);
	if (!name)
		return NULL;
	int len = snprintf(name, size, "%s/%.*s/%.*s", prefixes[monitor->kind], SPAN_ARGS(monitor->namespace_),
		SPAN_ARGS(monitor->name));
	if (monitor->kind != MONITOR_SCRAPE_CONFIG)
		snprintf(name + len, size - (size_t)len, "/%zu", index);
	return name;
}

/* All fields are read: makes the job of it. */
static void finish_endpoint(struct reader *reader, const struct spec *spec, const struct monitor_options *options,
	struct endpoint *from, struct monitor_endpoint *endpoint, size_t index)
{
	const struct monitor_scrape_class *scrape_class = find_scrape_class(reader, spec, options);
	from->options.job_name = job_name(reader, index);
	from->options.limits = spec->limits;
	from->options.fallback_scrape_protocol = spec->fallback_protocol;
	endpoint_check(reader, from, options);
	check_port(reader, "port", from->port);
	check_port(reader, "targetPort", from->target_name);
	merge_class(reader, scrape_class, from);
	generate_rules(reader, spec, scrape_class, from);
	struct monitor_reference *references = read_alloc(reader, from->reference_count * sizeof(*references));
	if (!references)
		return;
	if (from->reference_count > 0)
		memcpy(references, from->references, from->reference_count * sizeof(*references));
	*endpoint = (struct monitor_endpoint){.options = from->options,
		.authorization_type = from->authorization_type,
		.references = references,
		.reference_count = from->reference_count,
		.refused = reader->refused};
}

static void read_endpoint(struct reader *reader, const struct json *object, const struct spec *spec,
	const struct monitor_options *options, struct monitor_endpoint *endpoint, size_t index)
{
	struct endpoint from;
	endpoint_init(&from);
	reader->refused = false;
	bool of_service = reader->monitor->kind == MONITOR_SERVICE_MONITOR;
	read_fields(reader, object, of_service ? endpoint_service_fields : endpoint_pod_fields, &from);
	finish_endpoint(reader, spec, options, &from, endpoint, index);
}

static void read_endpoints(struct reader *reader, const struct spec *spec, const struct monitor_options *options)
{
	struct monitor *monitor = reader->monitor;
	bool of_service = monitor->kind == MONITOR_SERVICE_MONITOR;
	const struct json *list = spec->endpoints;
	if (!list || !read_is(reader, list, JSON_ARRAY))
		return;
	size_t count = list->count < MONITOR_ENDPOINTS_MAX ? list->count : MONITOR_ENDPOINTS_MAX;
	size_t path = path_push(reader, of_service ? "endpoints" : "podMetricsEndpoints");
	if (count < list->count)
		find(reader, MONITOR_REJECTED, "has more than %d items", MONITOR_ENDPOINTS_MAX);
	struct monitor_endpoint *endpoints = read_alloc(reader, count * sizeof(*endpoints));
	for (size_t i = 0; i < count && !monitor->rejected && !reader->no_memory; i++) {
		size_t inner = path_push_index(reader, i);
		read_endpoint(reader, &list->items[i], spec, options, &endpoints[i], i);
		path_pop(reader, inner);
	}
	path_pop(reader, path);
	monitor->endpoints = endpoints;
	monitor->endpoint_count = count;
}

/* ---- the object ---------------------------------------------------------------------------------------- */

static void read_scrape_config(struct reader *reader, struct spec *spec, const struct monitor_options *options)
{
	struct monitor_endpoint *endpoint = read_alloc(reader, sizeof(*endpoint));
	read_kubernetes(reader, spec->kubernetes);
	read_statics(reader, spec->static_configs, &spec->endpoint.options.static_configs);
	if (!endpoint)
		return;
	finish_endpoint(reader, spec, options, &spec->endpoint, endpoint, 0);
	reader->monitor->endpoints = endpoint;
	reader->monitor->endpoint_count = 1;
}

static void read_spec(struct reader *reader, const struct json *object, const struct monitor_options *options)
{
	static const struct field *const tables[] = {service_monitor_fields, pod_monitor_fields, scrape_config_fields};
	struct monitor *monitor = reader->monitor;
	struct spec spec = {0};
	endpoint_init(&spec.endpoint);
	size_t path = path_push(reader, "spec");
	const struct json *fields = json_get(object, "spec");
	if (!fields)
		find(reader, MONITOR_REJECTED, "is missing");
	read_fields(reader, fields, tables[monitor->kind], &spec);
	monitor->pods = monitor->kind == MONITOR_POD_MONITOR;
	if (monitor->kind == MONITOR_SCRAPE_CONFIG) {
		read_scrape_config(reader, &spec, options);
	} else {
		read_selection(reader, &spec);
		read_endpoints(reader, &spec, options);
	}
	path_pop(reader, path);
}

static int read_metadata(struct monitor *monitor, const struct json *object, struct error *err)
{
	const struct json *metadata = json_get(object, "metadata");
	struct span namespace_ = json_string(metadata, "namespace", SPAN_NONE);
	struct span name = json_string(metadata, "name", SPAN_NONE), uid = json_string(metadata, "uid", SPAN_NONE);
	if (name.len == 0 || namespace_.len == 0 || memchr(name.ptr, '\0', name.len) ||
		memchr(namespace_.ptr, '\0', namespace_.len))
		return error_set(err, EINVAL, "an object without name or namespace");
	monitor->namespace_ = span_of(arena_spandup(&monitor->arena, namespace_), namespace_.len);
	monitor->name = span_of(arena_spandup(&monitor->arena, name), name.len);
	monitor->uid = span_of(arena_spandup(&monitor->arena, uid), uid.len);
	if (!monitor->namespace_.ptr || !monitor->name.ptr || !monitor->uid.ptr)
		return -ENOMEM;
	return labels_of_json(&monitor->arena, json_get(metadata, "labels"), SPAN_NONE, &monitor->labels);
}

static void set_hashes(struct monitor *monitor, const struct json *object, uint64_t salt)
{
	uint64_t spec = json_hash(json_get(object, "spec"), salt);
	monitor->hash = json_hash(json_path(object, "metadata.labels"), spec);
	for (size_t i = 0; i < monitor->endpoint_count; i++)
		((struct monitor_endpoint *)monitor->endpoints)[i].hash = hash_bytes(span_u64(&spec), i);
}

static int parse(struct monitor *monitor, const struct json *object, const struct monitor_options *options,
	uint64_t salt, struct error *err)
{
	struct reader reader = {.monitor = monitor};
	int result = read_metadata(monitor, object, err);
	if (result < 0)
		return result;
	read_spec(&reader, object, options);
	if (reader.no_memory && monitor->arena.full)
		return error_set(err, E2BIG, "%.*s/%.*s takes more than %d MiB", SPAN_ARGS(monitor->namespace_),
			SPAN_ARGS(monitor->name), MONITOR_BYTES_MAX >> 20);
	if (reader.no_memory)
		return -ENOMEM;
	if (monitor->rejected)
		monitor->endpoint_count = 0;
	set_hashes(monitor, object, salt);
	return 0;
}

int monitor_parse(enum monitor_kind kind, const struct json *object, const struct monitor_options *options,
	uint64_t salt, struct monitor **ret_monitor, struct error *err)
{
	struct monitor *monitor = calloc(1, sizeof(*monitor));
	if (!monitor)
		return error_set(err, ENOMEM, "out of memory");
	monitor->refs = 1;
	monitor->kind = kind;
	arena_init(&monitor->arena, MONITOR_BYTES_MAX);
	int result = parse(monitor, object, options, salt, err);
	if (result < 0) {
		monitor_unref(monitor);
		return result == -ENOMEM ? error_set(err, ENOMEM, "out of memory") : result;
	}
	*ret_monitor = monitor;
	return 0;
}

struct monitor *monitor_ref(struct monitor *monitor)
{
	monitor->refs++;
	return monitor;
}

void monitor_unref(struct monitor *monitor)
{
	if (!monitor || --monitor->refs > 0)
		return;
	arena_done(&monitor->arena);
	free(monitor);
}

bool monitor_reaches(const struct monitor *monitor, struct span namespace_)
{
	bool reached = monitor->any_namespace;
	for (size_t i = 0; !reached && i < monitor->namespace_count; i++)
		reached = span_eq(monitor->namespaces[i], namespace_);
	return reached;
}

bool monitor_selects(const struct monitor *monitor, struct span namespace_, struct labels labels)
{
	return monitor_reaches(monitor, namespace_) && monitor_selector_matches(&monitor->selector, labels);
}
