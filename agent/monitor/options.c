/* The monitors: object of the configuration. Keys are those of the target allocator's prometheus_cr, with its meaning of a selector that
 * is absent; both spellings of its LabelSelectors are taken, and this file's own. */
#include <errno.h>

#include "gleaner/monitor.h"

/* ---- LabelSelector ---------------------------------------------------------------------- */

static const char *const operator_choices[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};

static int expression_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	const struct monitor_expression_options *expression = object;
	bool wants_values = expression->operator_ == MONITOR_IN || expression->operator_ == MONITOR_NOT_IN;
	(void)arena;
	if (wants_values == (expression->values.count > 0))
		return 0;
	*ret_key = "values";
	return error_set(err, EINVAL, "%s %s", operator_choices[expression->operator_],
		wants_values ? "needs at least one value" : "takes no values");
}

#define EXPRESSION(field) offsetof(struct monitor_expression_options, field)
static const struct option expression_options[] = {
	{.name = "key", .kind = OPTION_STRING, .offset = EXPRESSION(key), .required = true, .help = "Name of a label."},
	{.name = "operator",
		.kind = OPTION_CHOICE,
		.offset = EXPRESSION(operator_),
		.required = true,
		.choices = operator_choices,
		.help = "How the label is compared with the values; NotIn and DoesNotExist hold for an object without "
			"the label."},
	{.name = "values", .kind = OPTION_STRINGS, .offset = EXPRESSION(values), .help = "Values of In and NotIn."},
	{.name = NULL},
};
static const struct option_table expression_table = {
	.name = "label_selector_requirement",
	.help = "One condition of a LabelSelector.",
	.size = sizeof(struct monitor_expression_options),
	.options = expression_options,
	.positioned = true,
	.choices_ignore_case = true,
	.check = expression_check,
};

/* Moves the other spelling into the first. False: both were written. */
static bool choose_pairs(struct option_pairs *chosen, struct option_pairs *other)
{
	if (other->count == 0)
		return true;
	bool alone = chosen->count == 0;
	*chosen = *other;
	*other = (struct option_pairs){0};
	return alone;
}

static bool choose_objects(struct option_objects *chosen, struct option_objects *other)
{
	if (other->count == 0)
		return true;
	bool alone = chosen->count == 0;
	*chosen = *other;
	*other = (struct option_objects){0};
	return alone;
}

static int selector_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	struct monitor_selector_options *selector = object;
	(void)arena;
	*ret_key = "match_labels";
	if (!choose_pairs(&selector->match_labels, &selector->camel_labels) ||
		!choose_pairs(&selector->match_labels, &selector->lower_labels))
		return error_set(err, EINVAL, "is written twice, in two spellings");
	*ret_key = "match_expressions";
	if (!choose_objects(&selector->match_expressions, &selector->camel_expressions) ||
		!choose_objects(&selector->match_expressions, &selector->lower_expressions))
		return error_set(err, EINVAL, "is written twice, in two spellings");
	return 0;
}

#define SELECTOR(field) offsetof(struct monitor_selector_options, field)
#define LABELS_ROW(key, field, text)                                                                                   \
	{                                                                                                              \
		.name = key, .kind = OPTION_PAIRS, .offset = SELECTOR(field), .help = text                             \
	}
#define EXPRESSIONS_ROW(key, field, text)                                                                              \
	{                                                                                                              \
		.name = key, .kind = OPTION_OBJECTS, .offset = SELECTOR(field), .fields = &expression_table,           \
		.help = text                                                                                           \
	}
static const struct option selector_options[] = {
	LABELS_ROW("match_labels", match_labels, "Labels that the object must have, with these values."),
	LABELS_ROW("matchLabels", camel_labels, "The same, as Kubernetes spells it."),
	LABELS_ROW("matchlabels", lower_labels, "The same, as the target allocator spells it."),
	EXPRESSIONS_ROW("match_expressions", match_expressions, "Conditions that must hold, too."),
	EXPRESSIONS_ROW("matchExpressions", camel_expressions, "The same, as Kubernetes spells it."),
	EXPRESSIONS_ROW("matchexpressions", lower_expressions, "The same, as the target allocator spells it."),
	{.name = NULL},
};
static const struct option_table selector_table = {
	.name = "label_selector",
	.help = "Objects by their labels, as in Kubernetes. `{}` is every object.",
	.size = sizeof(struct monitor_selector_options),
	.options = selector_options,
	.check = selector_check,
};

/* ---- scrape_classes --------------------------------------------------------------------------- */

static int class_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	const struct monitor_scrape_class *scrape_class = object;
	struct target_job_options job = {.authorization_given = scrape_class->authorization_given,
		.authorization = scrape_class->authorization,
		.tls_config = scrape_class->tls_config};
	const char *protocol = scrape_class->fallback_scrape_protocol;
	(void)arena;
	if (!protocol || target_check_protocol(protocol, err) == 0)
		return target_check_credentials(&job, ret_key, err);
	*ret_key = "fallback_scrape_protocol";
	return -EINVAL;
}

static const char *const class_unsupported[] = {
	"attachMetadata", "attach_metadata", "metricRelabelings", "tlsConfig", NULL};

#define CLASS(field) offsetof(struct monitor_scrape_class, field)
static const struct option class_options[] = {
	{.name = "name",
		.kind = OPTION_STRING,
		.offset = CLASS(name),
		.required = true,
		.help = "What a monitor's scrapeClass says."},
	{.name = "default",
		.kind = OPTION_BOOL,
		.offset = CLASS(is_default),
		.value = "false",
		.help = "Whether monitors without scrapeClass are of this class; at most one is."},
	{.name = "fallback_scrape_protocol",
		.kind = OPTION_STRING,
		.offset = CLASS(fallback_scrape_protocol),
		.help = "Of monitors without one of their own."},
	{.name = "authorization",
		.kind = OPTION_OBJECT,
		.offset = CLASS(authorization),
		.given_offset = CLASS(authorization_given),
		.fields = &target_authorization_table,
		.help = "Of endpoints without credentials of their own."},
	{.name = "tls_config",
		.kind = OPTION_OBJECT,
		.offset = CLASS(tls_config),
		.fields = &target_tls_table,
		.help = "Of endpoints without tlsConfig; those that have one take from here the authority and the "
			"certificate that they lack."},
	{.name = "relabelings",
		.kind = OPTION_OBJECTS,
		.offset = CLASS(relabelings),
		.fields = &relabel_rule_table,
		.help = "Relabelling of targets, before the monitor's own."},
	{.name = "metric_relabelings",
		.kind = OPTION_OBJECTS,
		.offset = CLASS(metric_relabelings),
		.fields = &relabel_rule_table,
		.help = "Relabelling of series, before the monitor's own."},
	{.name = NULL},
};
static const struct option_table class_table = {
	.name = "scrape_class",
	.help = "What several monitors have in common and no author of a monitor should have to know.",
	.size = sizeof(struct monitor_scrape_class),
	.options = class_options,
	.positioned = true,
	.check = class_check,
	.unsupported = class_unsupported,
};

/* ---- monitors ------------------------------------------------------------------------------------ */

static int monitors_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	struct monitor_options *options = object;
	const struct monitor_scrape_class *classes = options->scrape_classes.items;
	size_t defaults = 0;
	(void)arena;
	if (!options->enabled_given)
		options->enabled =
			options->service_monitors_given || options->pod_monitors_given || options->scrape_configs_given;
	*ret_key = "scrape_classes";
	for (size_t i = 0; i < options->scrape_classes.count; i++) {
		defaults += classes[i].is_default;
		for (size_t j = 0; j < i; j++) {
			if (strcmp(classes[i].name, classes[j].name) == 0)
				return error_set(err, EINVAL, "the name `%s` is used twice",
					escape_bytes(span_str(classes[i].name)).text);
		}
	}
	return defaults > 1 ? error_set(err, EINVAL, "more than one is the default") : 0;
}

#define SERVICES(field) (offsetof(struct monitor_options, services.field) - offsetof(struct monitor_options, services))
static const char *const scope_choices[] = {"cluster", "node-namespaces", NULL};
static const struct option services_options[] = {
	{.name = "scope",
		.kind = OPTION_CHOICE,
		.offset = SERVICES(scope),
		.value = "cluster",
		.choices = scope_choices,
		.help = "cluster: one watch for the Services of all namespaces; node-namespaces: one for each "
			"namespace that has a pod on the node and is within reach of a monitor, which is cheaper in "
			"clusters with thousands of Services."},
	{.name = NULL},
};
static const struct option_table services_table = {
	.name = "monitor_services",
	.help = "How Services are learned.",
	.size = sizeof(((struct monitor_options *)0)->services),
	.options = services_options,
};

#define MONITORS(field) offsetof(struct monitor_options, field)
#define SELECTOR_ROWS(key, field, what)                                                                                \
	{.name = key "_selector",                                                                                      \
		.kind = OPTION_OBJECT,                                                                                 \
		.offset = MONITORS(field##s),                                                                          \
		.given_offset = MONITORS(field##s_given),                                                              \
		.fields = &selector_table,                                                                             \
		.help = "Which " what "s to follow, by their labels. Not given: none; `{}`: all."},                    \
	{                                                                                                              \
		.name = key "_namespace_selector", .kind = OPTION_OBJECT, .offset = MONITORS(field##_namespaces),      \
		.fields = &selector_table,                                                                             \
		.help = "Namespaces whose " what "s count, by the namespaces' labels. Not given, or `{}`: all."        \
	}
static const struct option monitors_options[] = {
	{.name = "enabled",
		.kind = OPTION_BOOL,
		.offset = MONITORS(enabled),
		.given_offset = MONITORS(enabled_given),
		.help = "Whether to follow ServiceMonitors, PodMonitors and ScrapeConfigs of the API server. Not "
			"given: when "
			"one of the three selectors is."},
	SELECTOR_ROWS("service_monitor", service_monitor, "ServiceMonitor"),
	SELECTOR_ROWS("pod_monitor", pod_monitor, "PodMonitor"),
	SELECTOR_ROWS("scrape_config", scrape_config, "ScrapeConfig"),
	{.name = "allow_namespaces",
		.kind = OPTION_STRINGS,
		.offset = MONITORS(allow_namespaces),
		.help = "Names of the only namespaces whose monitors count. Not given: all."},
	{.name = "deny_namespaces",
		.kind = OPTION_STRINGS,
		.offset = MONITORS(deny_namespaces),
		.help = "Names of namespaces whose monitors do not count."},
	{.name = "secret_namespaces",
		.kind = OPTION_STRINGS,
		.offset = MONITORS(secret_namespaces),
		.help = "Names of the namespaces whose Secrets and ConfigMaps are read, by name and only when a "
			"monitor of a pod of this node refers to them. Not given: none. Needs the right to get them "
			"there."},
	{.name = "scrape_interval",
		.kind = OPTION_DURATION,
		.offset = MONITORS(scrape_interval_ns),
		.value = "30s",
		.min = NS_PER_MS,
		.help = "How often endpoints without an interval of their own are scraped."},
	{.name = "scrape_classes",
		.kind = OPTION_OBJECTS,
		.offset = MONITORS(scrape_classes),
		.fields = &class_table,
		.help = "What a monitor's scrapeClass stands for."},
	{.name = "services",
		.kind = OPTION_OBJECT,
		.offset = MONITORS(services),
		.fields = &services_table,
		.help = "How Services are learned."},
	{.name = "kubelet_service",
		.kind = OPTION_BOOL,
		.offset = MONITORS(kubelet_service),
		.value = "true",
		.help = "Take this node's kubelet for the endpoint of the Service that the operator makes for kubelets "
			"(in kube-system, with label k8s-app or app.kubernetes.io/name: kubelet)."},
	{.name = NULL},
};

/* Keys of the target allocator's file. */
static const char *const monitors_unsupported[] = {
	"deny_fs_access_through_sms", "probe_namespace_selector", "probe_selector", "scrape_protocols", NULL};

const struct option_table monitor_options_table = {
	.name = "monitors",
	.help = "ServiceMonitors, PodMonitors and ScrapeConfigs of the Prometheus operator, as far as they concern "
		"this "
		"node's pods (docs/monitors.md).",
	.size = sizeof(struct monitor_options),
	.options = monitors_options,
	.check = monitors_check,
	.unsupported = monitors_unsupported,
};

static bool asks(const struct monitor_selector_options *selector)
{
	return selector->match_labels.count > 0 || selector->match_expressions.count > 0;
}

bool monitor_options_need_namespaces(const struct monitor_options *options)
{
	return asks(&options->service_monitor_namespaces) || asks(&options->pod_monitor_namespaces) ||
	       asks(&options->scrape_config_namespaces);
}
