/* The gleaner rule: annotations of a pod (prometheus.io/scrape and others) -> targets, without a scrape_config.
 *
 * 1. prometheus.io/scrape is "true", the pod is Running and has an address, 2. what holds for all its targets is read: scheme,
 * path with its query, parameters, interval and timeout, 3. the ports: those of prometheus.io/port (a list of numbers and port
 * names), else those that are named like metrics, else all TCP ports. One target for each.
 *
 * Whoever may annotate a pod decides what is read here, and nothing more than that: no host is ever taken from an
 * annotation, the interval is clamped, the number of targets is limited, and a pod in the host's network (whose address
 * is the node's) is left alone unless that was allowed - and the node's control ports even then.
 */
#include "found.h"

#include <errno.h>
#include <stdio.h>

static int check_options(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	(void)arena;
	const struct discover_annotation_options *options = object;
	if (options->prefix[0] == '\0' || strlen(options->prefix) > 253) {
		*ret_key = "prefix";
		return error_set(err, EINVAL, "must have 1 to 253 characters");
	}
	if (options->min_interval_ns > options->max_interval_ns) {
		*ret_key = "min_interval";
		return error_set(err, EINVAL, "is longer than max_interval");
	}
	return 0;
}

#define FIELD(field) .offset = offsetof(struct discover_annotation_options, field)
const struct option_table discover_annotation_table = {
	.name = "annotations",
	.help = "Built-in discovery of pods that are annotated with prometheus.io/scrape: \"true\".",
	.size = sizeof(struct discover_annotation_options),
	.options =
		(const struct option[]){
			{.name = "enabled",
				.kind = OPTION_BOOL,
				FIELD(enabled),
				.value = "true",
				.help = "Whether annotated pods are scraped without a scrape_config."},
			{.name = "job_name",
				.kind = OPTION_STRING,
				FIELD(job_name),
				.value = "kubernetes-pods",
				.help = "The job of these targets; a scrape_config of this name takes the place of the "
					"built-in discovery."},
			{.name = "prefix",
				.kind = OPTION_STRING,
				FIELD(prefix),
				.value = "prometheus.io",
				.help = "What stands before the slash in the annotations' names."},
			{.name = "min_interval",
				.kind = OPTION_DURATION,
				FIELD(min_interval_ns),
				.value = "5s",
				.min = NS_PER_SEC,
				.help = "An annotated interval shorter than this is raised to it."},
			{.name = "max_interval",
				.kind = OPTION_DURATION,
				FIELD(max_interval_ns),
				.value = "1h",
				.min = NS_PER_SEC,
				.help = "An annotated interval longer than this is lowered to it."},
			{.name = "max_targets_per_pod",
				.kind = OPTION_COUNT,
				FIELD(max_targets_per_pod),
				.value = "16",
				.min = 1,
				.max = 256,
				.help = "Ports of one pod that are scraped; those beyond are left out."},
			{.name = "host_network",
				.kind = OPTION_BOOL,
				FIELD(host_network),
				.value = "false",
				.help = "Whether annotations of hostNetwork pods count; their address is the node's."},
			{0},
		},
	.check = check_options,
};

struct rule {
	const struct discover_annotation_options *options;
	const struct target_job *job;
	const struct kube_pod *pod;
	struct findings *findings;
	struct labels_builder labels; /* what holds for all targets, then what holds for one */
	size_t added;
};

/* The value of <prefix>/<name>, or SPAN_NONE. */
static struct span annotation(const struct rule *rule, const char *name)
{
	char key[320];
	int len = snprintf(key, sizeof(key), "%s/%s", rule->options->prefix, name);
	return labels_get(rule->pod->annotations, span_of(key, (size_t)len));
}

static int bad_annotation(
	const struct rule *rule, const char *name, struct span value, const char *what, struct error *err)
{
	return error_set(err, EINVAL, "annotation %s/%s: \"%s\" %s", rule->options->prefix, name,
		escape_bytes(value).text, what);
}

/* ---- what holds for all targets of the pod ------------------------------------------------- */

static int read_scheme(struct rule *rule, struct error *err)
{
	struct span scheme = annotation(rule, "scheme");
	if (scheme.len > 0 && !span_eq(scheme, SPAN("http")) && !span_eq(scheme, SPAN("https")))
		return bad_annotation(rule, "scheme", scheme, "is not http or https", err);
	return labels_set_borrowed(&rule->labels, SPAN("__scheme__"), scheme);
}

/* %XX and '+' of a query string; what is no escape stays as it is. SPAN_NONE: no memory. */
static struct span query_unescape(struct arena *arena, struct span text)
{
	char *out = arena_alloc(arena, text.len + 1);
	if (!out)
		return SPAN_NONE;
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		bool escape = text.ptr[i] == '%' && text.len - i > 2 && hex_digit(text.ptr[i + 1]) >= 0 &&
			      hex_digit(text.ptr[i + 2]) >= 0;
		if (escape) {
			out[len++] = (char)(hex_digit(text.ptr[i + 1]) * 16 + hex_digit(text.ptr[i + 2]));
			i += 2;
		} else {
			out[len++] = text.ptr[i] == '+' ? ' ' : text.ptr[i];
		}
	}
	return span_of(out, len);
}

/* The first value of a parameter counts, as in Prometheus. */
static int add_param(struct rule *rule, struct span name, struct span value)
{
	struct arena *arena = rule->findings->arena;
	char *label = arena_alloc(arena, sizeof("__param_") + name.len);
	if (!label)
		return -ENOMEM;
	int len = snprintf(label, sizeof("__param_") + name.len, "__param_%.*s", SPAN_ARGS(name));
	struct span label_name = span_of(label, (size_t)len);
	if (name.len == 0 || labels_builder_get(&rule->labels, label_name).len > 0)
		return 0;
	return labels_set_borrowed(&rule->labels, label_name, value);
}

static int read_query(struct rule *rule, struct span query)
{
	struct arena *arena = rule->findings->arena;
	for (struct span pair; span_next(&query, '&', &pair);) {
		struct span name = SPAN_NONE, value = pair;
		span_next(&value, '=', &name);
		struct span plain_name = query_unescape(arena, name), plain_value = query_unescape(arena, value);
		if (!plain_name.ptr || !plain_value.ptr)
			return -ENOMEM;
		int result = add_param(rule, plain_name, plain_value);
		if (result < 0)
			return result;
	}
	return 0;
}

/* "/metrics", "metrics", "/probe?module=http&target=x": the query becomes parameters, since in __metrics_path__ a '?' is no
 * separator. */
static int read_path(struct rule *rule, struct error *err)
{
	struct span rest = annotation(rule, "path"), path;
	if (rest.len == 0)
		return 0;
	for (size_t i = 0; i < rest.len; i++) {
		if ((unsigned char)rest.ptr[i] <= ' ' || rest.ptr[i] == 0x7f)
			return bad_annotation(rule, "path", rest, "has blanks or control characters", err);
	}
	span_next(&rest, '?', &path);
	char *rooted = arena_alloc(rule->findings->arena, path.len + 2);
	if (!rooted)
		return -ENOMEM;
	bool has_root = path.len > 0 && path.ptr[0] == '/';
	int len = snprintf(rooted, path.len + 2, "%s%.*s", has_root ? "" : "/", SPAN_ARGS(path));
	labels_set_borrowed(&rule->labels, SPAN("__metrics_path__"), span_of(rooted, (size_t)len));
	return read_query(rule, rest);
}

/* prometheus.io/param_<name> */
static int read_params(struct rule *rule)
{
	char key[320];
	int len = snprintf(key, sizeof(key), "%s/param_", rule->options->prefix);
	struct span prefix = span_of(key, (size_t)len);
	for (size_t i = 0; i < rule->pod->annotations.count; i++) {
		struct label pair = rule->pod->annotations.items[i];
		if (!span_starts_with(pair.name, prefix))
			continue;
		struct span name = span_of(pair.name.ptr + prefix.len, pair.name.len - prefix.len);
		int result = add_param(rule, name, pair.value);
		if (result < 0)
			return result;
	}
	return 0;
}

static int read_duration(const struct rule *rule, const char *name, uint64_t *ret_ns, struct error *err)
{
	struct span text = annotation(rule, name);
	if (text.len == 0)
		return 0;
	uint64_t ns = 0;
	if (duration_parse(text, &ns) < 0 || ns < NS_PER_MS)
		return bad_annotation(rule, name, text, "is not a duration above zero (30s, 1m)", err);
	*ret_ns = ns;
	return 1;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

/* Nothing is set when nothing is annotated: the job's times hold. A timeout never exceeds its interval. */
static int read_times(struct rule *rule, struct error *err)
{
	uint64_t interval = rule->job->interval_ns, timeout = rule->job->timeout_ns;
	int has_interval = read_duration(rule, "interval", &interval, err);
	if (has_interval == 0)
		has_interval = read_duration(rule, "scrape_interval", &interval, err);
	int has_timeout = has_interval < 0 ? has_interval : read_duration(rule, "timeout", &timeout, err);
	if (has_timeout < 0)
		return has_timeout;
	if (!has_interval && !has_timeout)
		return 0;
	if (has_interval)
		interval = clamp(interval, rule->options->min_interval_ns, rule->options->max_interval_ns);
	timeout = clamp(timeout, NS_PER_MS, interval);
	labels_set(&rule->labels, SPAN("__scrape_interval__"), span_str(duration_format(interval).text));
	return labels_set(&rule->labels, SPAN("__scrape_timeout__"), span_str(duration_format(timeout).text));
}

static int read_common(struct rule *rule, struct error *err)
{
	const struct kube_pod *pod = rule->pod;
	labels_set_borrowed(&rule->labels, SPAN("namespace"), pod->namespace_);
	labels_set_borrowed(&rule->labels, SPAN("pod"), pod->name);
	labels_set_borrowed(&rule->labels, SPAN("node"), pod->node_name);
	int result = read_scheme(rule, err);
	if (result == 0)
		result = read_params(rule); /* before the path: they win over its query */
	if (result == 0)
		result = read_path(rule, err);
	if (result == 0)
		result = read_times(rule, err);
	return result < 0 ? result : rule->labels.failed;
}

/* ---- ports ------------------------------------------------------------------------------------ */

/* container and port may be NULL: a number that the pod does not declare. */
static int add_target(
	struct rule *rule, const struct kube_container *container, const struct kube_port *port, uint16_t number)
{
	const struct kube_pod *pod = rule->pod;
	struct labels_builder *labels = &rule->labels;
	struct span name = container ? container->name : SPAN_NONE;
	if (rule->added++ == rule->options->max_targets_per_pod) {
		struct error err;
		error_set(&err, E2BIG, "more than %zu ports; the rest is left out (annotations.max_targets_per_pod)",
			(size_t)rule->options->max_targets_per_pod);
		return findings_refuse(rule->findings, labels_builder_view(labels), &err);
	}
	if (rule->added > rule->options->max_targets_per_pod)
		return 0;
	labels_set_borrowed(labels, SPAN("container"), name);
	pod_labels_set_container(labels, container);
	pod_labels_set_port(labels, port);
	if (pod_labels_set_address(labels, pod->pod_ip, number) < 0)
		return -ENOMEM;
	return findings_add(
		rule->findings, pod_identity(rule->findings->arena, pod, name, number), labels_builder_view(labels));
}

/* The declared TCP port with this number, or with this name; NULL when there is none. */
static const struct kube_port *find_declared(
	const struct rule *rule, uint16_t number, struct span name, const struct kube_container **ret_container)
{
	for (size_t i = 0; i < rule->pod->container_count; i++) {
		const struct kube_container *container = &rule->pod->containers[i];
		for (size_t j = 0; container_runs_with_pod(container) && j < container->port_count; j++) {
			const struct kube_port *port = &container->ports[j];
			if (port_is_tcp(port) && (name.len > 0 ? span_eq(port->name, name) : port->number == number)) {
				*ret_container = container;
				return port;
			}
		}
	}
	return NULL;
}

/* The container of a number that nobody declares: clear only when there is one. */
static const struct kube_container *only_container(const struct kube_pod *pod)
{
	const struct kube_container *only = NULL;
	for (size_t i = 0; i < pod->container_count; i++) {
		if (!container_runs_with_pod(&pod->containers[i]))
			continue;
		if (only)
			return NULL;
		only = &pod->containers[i];
	}
	return only;
}

static bool is_number(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
	}
	return true;
}

/* One item of prometheus.io/port. 0; -EINVAL with err; -ENOMEM. */
static int add_listed_port(struct rule *rule, struct span item, struct error *err)
{
	uint64_t number = 0;
	const struct kube_container *container = NULL;
	if (!is_number(item)) {
		const struct kube_port *port = find_declared(rule, 0, item, &container);
		if (!port)
			return bad_annotation(rule, "port", item, "is not the name of a TCP port of the pod", err);
		return add_target(rule, container, port, port->number);
	}
	if (item.len > 5 || span_to_u64(item, &number) < 0 || number == 0 || number > UINT16_MAX)
		return bad_annotation(rule, "port", item, "is not a port (1 to 65535)", err);
	const struct kube_port *port = find_declared(rule, (uint16_t)number, SPAN_NONE, &container);
	if (!port && rule->pod->host_network && port_is_control((uint16_t)number))
		return bad_annotation(rule, "port", item, "is a control port of the node", err);
	return add_target(rule, port ? container : only_container(rule->pod), port, (uint16_t)number);
}

static int refuse(struct rule *rule, const struct error *err)
{
	return findings_refuse(rule->findings, labels_builder_view(&rule->labels), err);
}

/* A bad item costs itself only. */
static int add_listed_ports(struct rule *rule, struct span list)
{
	for (struct span item; span_next(&list, ',', &item);) {
		item = span_trim(item);
		if (item.len == 0)
			continue;
		struct error err = {{0}};
		int result = add_listed_port(rule, item, &err);
		if (result == -EINVAL)
			result = refuse(rule, &err);
		if (result < 0)
			return result;
	}
	return 0;
}

static bool named_like_metrics(const struct kube_port *port)
{
	return span_eq(port->name, SPAN("metrics")) || span_eq(port->name, SPAN("prometheus")) ||
	       span_eq(port->name, SPAN("prom")) || span_ends_with(port->name, SPAN("-metrics"));
}

static int add_declared_ports(struct rule *rule, bool only_named)
{
	for (size_t i = 0; i < rule->pod->container_count; i++) {
		const struct kube_container *container = &rule->pod->containers[i];
		for (size_t j = 0; container_runs_with_pod(container) && j < container->port_count; j++) {
			const struct kube_port *port = &container->ports[j];
			if (!port_is_tcp(port) || (only_named && !named_like_metrics(port)))
				continue;
			int result = add_target(rule, container, port, port->number);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

static int add_ports(struct rule *rule)
{
	struct span list = span_trim(annotation(rule, "port"));
	if (list.len > 0)
		return add_listed_ports(rule, list);
	int result = add_declared_ports(rule, true);
	if (result == 0 && rule->added == 0)
		result = add_declared_ports(rule, false);
	if (result < 0 || rule->added > 0)
		return result;
	struct error err;
	error_set(&err, EINVAL, "annotated to be scraped, but it declares no TCP port; set annotation %s/port",
		rule->options->prefix);
	return refuse(rule, &err);
}

bool annotated_at_all(const struct discover_annotation_options *options, const struct kube_pod *pod)
{
	const struct rule rule = {.options = options, .pod = pod};
	return annotation(&rule, "scrape").ptr;
}

bool annotated_asks(const struct discover_annotation_options *options, const struct kube_pod *pod, struct error *why)
{
	const struct rule rule = {.options = options, .pod = pod};
	struct span asked = annotation(&rule, "scrape");
	int result = 0;
	if (!asked.ptr)
		result = error_set(why, EINVAL, "it has no annotation %s/scrape", options->prefix);
	else if (!span_eq(asked, SPAN("true")))
		result = error_set(why, EINVAL, "its annotation %s/scrape is \"%s\", not \"true\"", options->prefix,
			escape_bytes(asked).text);
	else if (!span_eq(pod->phase, SPAN("Running")))
		result = error_set(why, EINVAL, "it is %s, not Running", escape_bytes(pod->phase).text);
	else if (pod->pod_ip.len == 0)
		result = error_set(why, EINVAL, "it has no address yet");
	return result == 0;
}

int find_annotated(const struct discover_annotation_options *options, const struct target_job *job,
	const struct kube_pod *pod, struct findings *findings)
{
	struct rule rule = {.options = options, .job = job, .pod = pod, .findings = findings};
	if (!annotated_asks(options, pod, NULL))
		return 0;
	labels_builder_init(&rule.labels, findings->arena);
	if (pod_labels_set_pod(&rule.labels, pod) < 0)
		return -ENOMEM;
	struct error err = {{0}};
	int result = 0;
	if (pod->host_network && !options->host_network)
		result = error_set(&err, EINVAL,
			"annotated to be scraped, but it is in the host's network; set "
			"annotations.host_network to allow it");
	if (result == 0)
		result = read_common(&rule, &err);
	if (result == -EINVAL)
		return refuse(&rule, &err);
	return result < 0 ? result : add_ports(&rule);
}
