/* The relabel rules of an endpoint, in the order in which the operator writes them. Two parts are not rules here: the selector is
 * evaluated natively (exact strings; a rule would take `.` for any character), and sharding is not needed on one node.
 *
 * ServiceMonitor: job name; port; node, pod by target kind; namespace, service, pod, container; running; target labels; job; endpoint.
 * PodMonitor: job name; running; port; namespace, container, pod; pod target labels; job; endpoint.
 * Then, for all: the scrape class's relabelings, the endpoint's own.
 */
#include "endpoint.h"

#include <stdio.h>

#define META "__meta_kubernetes_"

enum { GENERATED_MAX = 16 }; /* rules but for target labels and those of users */

struct rules {
	struct reader *reader;
	struct relabel_rule *items;
	size_t count;
};

/* Up to two sources; NULL: fewer. All strings are borrowed. */
static void add(struct rules *rules, int action, const char *source, const char *second, const char *regex,
	const char *target, const char *replacement)
{
	struct relabel_rule rule = {
		.action = action, .regex = regex, .target_label = target, .replacement = replacement};
	rule.source_labels.items = read_alloc(rules->reader, 2 * sizeof(*rule.source_labels.items));
	if (!rules->items || !rule.source_labels.items)
		return;
	if (source)
		rule.source_labels.items[rule.source_labels.count++] = source;
	if (second)
		rule.source_labels.items[rule.source_labels.count++] = second;
	rules->items[rules->count++] = rule;
}

static void add_copy(struct rules *rules, const char *source, const char *target)
{
	add(rules, RELABEL_REPLACE, source, NULL, NULL, target, NULL);
}

static void add_copy_when_set(struct rules *rules, const char *source, const char *target)
{
	add(rules, RELABEL_REPLACE, source, NULL, "(.+)", target, NULL);
}

static void add_value(struct rules *rules, const char *target, const char *value)
{
	add(rules, RELABEL_REPLACE, NULL, NULL, NULL, target, value);
}

static void add_keep(struct rules *rules, const char *source, const char *regex)
{
	add(rules, RELABEL_KEEP, source, NULL, regex, NULL, NULL);
}

static void add_users(struct rules *rules, struct option_objects users)
{
	const struct relabel_rule *items = users.items;
	for (size_t i = 0; rules->items && i < users.count; i++)
		rules->items[rules->count++] = items[i];
}

static const char *copy_text(struct rules *rules, const char *text)
{
	return text ? read_copy(rules->reader, span_str(text)) : NULL;
}

/* Rules of the configuration may be gone before the monitor is. */
static void add_configured(struct rules *rules, struct option_objects configured)
{
	const struct relabel_rule *items = configured.items;
	for (size_t i = 0; rules->items && i < configured.count; i++) {
		struct relabel_rule rule = items[i];
		rule.position = (struct option_position){NULL, 0, 0};
		rule.separator = copy_text(rules, rule.separator);
		rule.regex = copy_text(rules, rule.regex);
		rule.target_label = copy_text(rules, rule.target_label);
		rule.replacement = copy_text(rules, rule.replacement);
		rule.source_labels.items = read_alloc(rules->reader, rule.source_labels.count * sizeof(const char *));
		for (size_t j = 0; rule.source_labels.items && j < rule.source_labels.count; j++)
			rule.source_labels.items[j] = copy_text(rules, items[i].source_labels.items[j]);
		rules->items[rules->count++] = rule;
	}
}

static const char *label(struct rules *rules, const char *prefix, const char *name)
{
	struct span text = label_name_sanitised(&rules->reader->monitor->arena, span_str(prefix), span_str(name));
	rules->reader->no_memory = rules->reader->no_memory || !text.ptr;
	return text.ptr;
}

static const char *number(struct rules *rules, uint64_t value)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return read_copy(rules->reader, span_of(text, (size_t)len));
}

static bool is_set(const char *text)
{
	return text && text[0] != '\0';
}

/* ---- parts ------------------------------------------------------------------------------------ */

static void add_running(struct rules *rules, const struct endpoint *endpoint)
{
	if (endpoint->filter_running)
		add(rules, RELABEL_DROP, META "pod_phase", NULL, "(Failed|Succeeded)", NULL, NULL);
}

static void add_target_port(struct rules *rules, const struct endpoint *endpoint)
{
	if (is_set(endpoint->target_name))
		add_keep(rules, META "pod_container_port_name", endpoint->target_name);
	else if (endpoint->target_number > 0)
		add_keep(rules, META "pod_container_port_number", number(rules, endpoint->target_number));
}

/* No endpoint label without a port name or targetPort, portNumber included. */
static void add_endpoint(struct rules *rules, const struct endpoint *endpoint)
{
	if (is_set(endpoint->port))
		add_value(rules, "endpoint", endpoint->port);
	else if (is_set(endpoint->target_name))
		add_value(rules, "endpoint", endpoint->target_name);
	else if (endpoint->target_number > 0)
		add_value(rules, "endpoint", number(rules, endpoint->target_number));
}

static void add_labels(struct rules *rules, const char *prefix, struct option_strings labels)
{
	for (size_t i = 0; i < labels.count; i++)
		add_copy_when_set(rules, label(rules, prefix, labels.items[i]), label(rules, "", labels.items[i]));
}

static void add_job_label(struct rules *rules, const char *prefix, const struct spec *spec)
{
	if (is_set(spec->job_label))
		add_copy_when_set(rules, label(rules, prefix, spec->job_label), "job");
}

/* ---- kinds --------------------------------------------------------------------------------------- */

static void add_service_rules(struct rules *rules, const struct spec *spec, const struct endpoint *endpoint)
{
	bool slices = spec->discovery_role && strcmp(spec->discovery_role, "EndpointSlice") == 0;
	const char *kind = slices ? META "endpointslice_address_target_kind" : META "endpoint_address_target_kind";
	const char *name = slices ? META "endpointslice_address_target_name" : META "endpoint_address_target_name";
	if (is_set(endpoint->port))
		add_keep(rules, slices ? META "endpointslice_port_name" : META "endpoint_port_name", endpoint->port);
	else
		add_target_port(rules, endpoint);
	add(rules, RELABEL_REPLACE, kind, name, "Node;(.*)", "node", NULL);
	add(rules, RELABEL_REPLACE, kind, name, "Pod;(.*)", "pod", NULL);
	add_copy(rules, META "namespace", "namespace");
	add_copy(rules, META "service_name", "service");
	add_copy(rules, META "pod_name", "pod");
	add_copy(rules, META "pod_container_name", "container");
	add_running(rules, endpoint);
	add_labels(rules, META "service_label_", spec->target_labels);
	add_labels(rules, META "pod_label_", spec->pod_target_labels);
	add_copy(rules, META "service_name", "job");
	add_job_label(rules, META "service_label_", spec);
	add_endpoint(rules, endpoint);
}

static void add_pod_rules(struct rules *rules, const struct spec *spec, const struct endpoint *endpoint)
{
	const struct monitor *monitor = rules->reader->monitor;
	char *job = read_alloc(rules->reader, monitor->namespace_.len + monitor->name.len + 2);
	if (job)
		sprintf(job, "%.*s/%.*s", SPAN_ARGS(monitor->namespace_), SPAN_ARGS(monitor->name));
	add_running(rules, endpoint);
	if (is_set(endpoint->port))
		add_keep(rules, META "pod_container_port_name", endpoint->port);
	else if (endpoint->port_number > 0)
		add_keep(rules, META "pod_container_port_number", number(rules, endpoint->port_number));
	else
		add_target_port(rules, endpoint);
	add_copy(rules, META "namespace", "namespace");
	add_copy(rules, META "pod_container_name", "container");
	add_copy(rules, META "pod_name", "pod");
	add_labels(rules, META "pod_label_", spec->pod_target_labels);
	add_value(rules, "job", job);
	add_job_label(rules, META "pod_label_", spec);
	add_endpoint(rules, endpoint);
}

static struct option_objects both(struct reader *reader, struct option_objects configured, struct option_objects users)
{
	struct rules rules = {.reader = reader,
		.items = read_alloc(reader, (configured.count + users.count) * sizeof(struct relabel_rule))};
	add_configured(&rules, configured);
	add_users(&rules, users);
	return (struct option_objects){rules.items, rules.count};
}

void generate_rules(struct reader *reader, const struct spec *spec, const struct monitor_scrape_class *scrape_class,
	struct endpoint *endpoint)
{
	struct option_objects of_class = {0}, metric_of_class = {0};
	if (scrape_class) {
		of_class = scrape_class->relabelings;
		metric_of_class = scrape_class->metric_relabelings;
	}
	size_t most = GENERATED_MAX + spec->target_labels.count + spec->pod_target_labels.count + of_class.count +
		      endpoint->relabelings.count;
	struct rules rules = {.reader = reader, .items = read_alloc(reader, most * sizeof(struct relabel_rule))};
	add_copy(&rules, "job", "__tmp_prometheus_job_name");
	if (reader->monitor->kind == MONITOR_SERVICE_MONITOR)
		add_service_rules(&rules, spec, endpoint);
	else if (reader->monitor->kind == MONITOR_POD_MONITOR)
		add_pod_rules(&rules, spec, endpoint);
	else if (is_set(spec->job_name))
		add_value(&rules, "job", spec->job_name);
	add_configured(&rules, of_class);
	add_users(&rules, endpoint->relabelings);
	endpoint->options.relabel_configs = (struct option_objects){rules.items, rules.count};
	endpoint->options.metric_relabel_configs = both(reader, metric_of_class, endpoint->metric_relabelings);
}
