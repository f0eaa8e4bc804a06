/* The root table, and what no module can check alone.
 *
 *  1. config_load fills the struct from the file (or from nothing).
 *  2. The OTEL_* variables fill what the file left open; the file wins.
 *  3. Jobs: a name twice (looked for even when the file has other mistakes), a rule or certificate that cannot be used (by making the job as discovery will), nothing to discover by.
 *  4. There must be somewhere to send to.
 */
#include "settings.h"

#include "kubelet_jobs.h"
#include "percent.h"

#include <errno.h>
#include <stdlib.h>

#define SETTINGS_MAX_BYTES ((size_t)64 << 20)
#define FILE_MAX_BYTES     ((size_t)1 << 20)

/* ---- tables ------------------------------------------------------------------------------- */

static const struct option resource_options[] = {
	{.name = "attributes",
		.kind = OPTION_PAIRS,
		.offset = 0,
		.help = "Resource attributes of everything that is sent, such as k8s.cluster.name. What "
			"OTEL_RESOURCE_ATTRIBUTES says is "
			"added. service.name names gleaner's own metrics only: a target's is its job."},
	{0},
};
static const struct option_table resource_table = {
	.name = "resource",
	.help = "What to say about where the metrics come from.",
	.size = sizeof(struct option_pairs),
	.options = resource_options,
};

static const char *const level_choices[] = {"debug", "info", "warn", "error", NULL};
static const char *const format_choices[] = {"logfmt", "json", NULL};
static const struct option log_options[] = {
	{.name = "level",
		.kind = OPTION_CHOICE,
		.offset = offsetof(struct settings_log, level),
		.value = "info",
		.choices = level_choices,
		.help = "The least important lines that are written."},
	{.name = "format",
		.kind = OPTION_CHOICE,
		.offset = offsetof(struct settings_log, format),
		.value = "logfmt",
		.choices = format_choices,
		.help = "The shape of a line."},
	{0},
};
static const struct option_table log_table = {
	.name = "log",
	.help = "gleaner's own log, on standard error.",
	.size = sizeof(struct settings_log),
	.options = log_options,
};

static const struct option telemetry_options[] = {
	{.name = "enabled",
		.kind = OPTION_BOOL,
		.offset = offsetof(struct settings_telemetry, enabled),
		.value = "true",
		.help = "Send gleaner's own metrics the way of all others."},
	{.name = "interval",
		.kind = OPTION_DURATION,
		.offset = offsetof(struct settings_telemetry, interval_ns),
		.value = "30s",
		.min = NS_PER_SEC,
		.max = 3600 * NS_PER_SEC,
		.help = "How often."},
	{.name = "target_costs",
		.kind = OPTION_BOOL,
		.offset = offsetof(struct settings_telemetry, target_costs),
		.value = "true",
		.help = "What scraping costs, as metrics of each target (`gleaner_target_*`, about 15 to 40 series a "
			"target); the targets page and `gleaner top` have it in any case."},
	{0},
};
static const struct option_table telemetry_table = {
	.name = "telemetry",
	.help = "gleaner's own metrics; they are served at the status server's /metrics in any case.",
	.size = sizeof(struct settings_telemetry),
	.options = telemetry_options,
};

static const char *const probe_choices[] = {"auto", "true", "false", NULL};
static const struct option probe_options[] = {
	{.name = "enabled",
		.kind = OPTION_CHOICE,
		.offset = offsetof(struct settings_probe, enabled),
		.value = "auto",
		.choices = probe_choices,
		.help = "Whether to use the probe; auto: when kernel and rights allow it; true: the same, with a "
			"warning when "
			"they do not."},
	{.name = "cost",
		.kind = OPTION_BOOL,
		.offset = offsetof(struct settings_probe, cost),
		.value = "true",
		.help = "Whether to measure what each scrape costs its target (CPU time)."},
	{.name = "socket",
		.kind = OPTION_STRING,
		.offset = offsetof(struct settings_probe, socket),
		.help = "Path of the socket of a `gleaner probe --listen PATH` in another container; without it, "
			"`gleaner run` starts "
			"a probe itself."},
	{0},
};
static const struct option discovery_options[] = {
	{.name = "listen",
		.kind = OPTION_OBJECT,
		.offset = offsetof(struct settings_discovery, listen),
		.fields = &discover_listen_table,
		.help = "Undeclared ports that speak an exposition format."},
	{0},
};

static const struct option_table discovery_table = {
	.name = "discovery",
	.help = "Targets that nobody declared, annotated or selected.",
	.size = sizeof(struct settings_discovery),
	.options = discovery_options,
};

static const struct option_table probe_table = {
	.name = "probe",
	.help = "What the kernel tells by eBPF: a target whose port opens is scraped at once, and each scrape's cost "
		"to "
		"its target is measured. Everything else works "
		"without "
		"it; what is missing, and why, is shown at /targets.",
	.size = sizeof(struct settings_probe),
	.options = probe_options,
};

#define OBJECT(key, field, table, what)                                                                                \
	{                                                                                                              \
		.name = key, .kind = OPTION_OBJECT, .offset = offsetof(struct settings, field), .fields = &(table),    \
		.help = what                                                                                           \
	}

static const struct option settings_options[] = {
	OBJECT("global", global, target_global_table, "Defaults of all scrape_configs."),
	{.name = "scrape_configs",
		.kind = OPTION_OBJECTS,
		.offset = offsetof(struct settings, scrape_configs),
		.fields = &target_job_table,
		.help = "What to scrape and how, one item a job, as in Prometheus."},
	OBJECT("kubelet", kubelet, kube_options_table, "The node's own kubelet."),
	OBJECT("pods", pods, kube_pods_options_table, "Where the node's pods are learned from."),
	OBJECT("kubernetes", kubernetes, kube_api_options_table, "The API server."),
	OBJECT("monitors", monitors, monitor_options_table,
		"ServiceMonitors, PodMonitors and ScrapeConfigs of the Prometheus operator."),
	OBJECT("annotations", annotations, discover_annotation_table, "Pods that ask for scraping by annotation."),
	OBJECT("scrape", scrape, scrape_options_table, "Scraper processes and their ceilings."),
	OBJECT("spool", spool, spool_options_table, "The queue before the gateway."),
	OBJECT("exporters", exporters, export_options_table, "Where the metrics go."),
	OBJECT("resource", global.resource_attributes, resource_table, "Attributes of everything that is sent."),
	OBJECT("status", status, status_options_table, "The agent's own HTTP server."),
	OBJECT("telemetry", telemetry, telemetry_table, "The agent's own metrics."),
	OBJECT("discovery", discovery, discovery_table, "Targets that nobody declared."),
	OBJECT("probe", probe, probe_table, "Listening ports and the cost of scrapes, by eBPF."),
	OBJECT("log", log, log_table, "The agent's log."),
	{0},
};

static const char *const settings_unsupported[] = {"alerting", "otlp", "remote_read", "remote_write", "rule_files",
	"runtime", "scrape_config_files", "storage", "tracing", NULL};

const struct option_table settings_table = {
	.name = "settings",
	.help = "Everything is optional but for somewhere to send to: `exporters.otlphttp.endpoint`, or the "
		"environment variable "
		"`OTEL_EXPORTER_OTLP_ENDPOINT`.",
	.size = sizeof(struct settings),
	.options = settings_options,
	.unsupported = settings_unsupported,
};

/* ---- loading ------------------------------------------------------------------------------- */

struct loading {
	struct settings *settings;
	struct config_input input;
	struct config_problems problems;
};

static int warn(struct loading *loading, const char *text)
{
	return config_problem_add(&loading->problems, &loading->input, &loading->settings->arena,
		(struct option_position){0}, true, "%s", text);
}

static int blame(struct loading *loading, struct option_position position, const char *text)
{
	return config_problem_add(
		&loading->problems, &loading->input, &loading->settings->arena, position, false, "%s", text);
}

static bool has_attribute(const struct option_pairs *attributes, struct span name)
{
	for (size_t i = 0; i < attributes->count; i++) {
		if (span_eq(span_str(attributes->items[i].name), name))
			return true;
	}
	return false;
}

static size_t count_of(struct span text, char c)
{
	size_t count = 0;
	for (size_t i = 0; i < text.len; i++)
		count += text.ptr[i] == c;
	return count;
}

/* OTEL_RESOURCE_ATTRIBUTES ("a=b,c=d", values percent-encoded) behind what the file says. A broken one counts as a whole as not
 * there, with a warning. 0, -ENOMEM. */
static int add_environment_attributes(struct loading *loading, const char *variable)
{
	struct settings *settings = loading->settings;
	struct option_pairs *attributes = &settings->global.resource_attributes;
	struct span rest = span_str(variable), part;
	size_t capacity = attributes->count + count_of(rest, ',') + 1, count = attributes->count;
	struct option_pair *items = arena_alloc(&settings->arena, capacity * sizeof(*items));
	if (!items)
		return -ENOMEM;
	if (count > 0)
		memcpy(items, attributes->items, count * sizeof(*items));
	while (span_next(&rest, ',', &part)) {
		part = span_trim(part);
		if (part.len == 0)
			continue;
		struct span value = part, name;
		span_next(&value, '=', &name);
		name = span_trim(name);
		struct span text;
		int result = value.ptr && name.len > 0
				     ? percent_decode(span_trim(value), false, &settings->arena, &text)
				     : -EINVAL;
		if (result == -ENOMEM)
			return result;
		if (result < 0)
			return warn(loading,
				"environment variable OTEL_RESOURCE_ATTRIBUTES: expected key=value,key=value with "
				"percent-encoded values; ignored");
		if (has_attribute(attributes, name))
			continue;
		items[count].name = arena_spandup(&settings->arena, name);
		items[count++].value = text.ptr;
		if (!items[count - 1].name)
			return -ENOMEM;
	}
	*attributes = (struct option_pairs){items, count};
	return 0;
}

/* service.name leaves the attributes: on a target's metrics it would replace the job's. */
static int take_service_name(struct loading *loading)
{
	struct settings *settings = loading->settings;
	struct option_pairs *attributes = &settings->global.resource_attributes;
	const char *variable = loading->input.get_environment("OTEL_SERVICE_NAME");
	settings->service_name = "gleaner";
	size_t kept = 0;
	for (size_t i = 0; i < attributes->count; i++) {
		if (strcmp(attributes->items[i].name, "service.name") == 0)
			settings->service_name = attributes->items[i].value;
		else
			attributes->items[kept++] = attributes->items[i];
	}
	attributes->count = kept;
	if (variable && variable[0])
		settings->service_name = arena_strdup(&settings->arena, variable);
	return settings->service_name ? 0 : -ENOMEM;
}

static int apply_environment(struct loading *loading)
{
	struct settings *settings = loading->settings;
	struct error err = {0};
	int result = export_options_from_environment(
		&settings->exporters, &settings->arena, loading->input.get_environment, &err);
	if (result == -EINVAL)
		result = blame(loading, (struct option_position){0}, err.text);
	const char *attributes = loading->input.get_environment("OTEL_RESOURCE_ATTRIBUTES");
	if (result == 0 && attributes)
		result = add_environment_attributes(loading, attributes);
	return result == 0 ? take_service_name(loading) : result;
}

static int check_names(struct loading *loading)
{
	const struct target_job_options *jobs = loading->settings->scrape_configs.items;
	int result = 0;
	for (size_t i = 1; i < loading->settings->scrape_configs.count && result == 0; i++) {
		size_t same = 0;
		while (jobs[i].job_name && same < i &&
			!(jobs[same].job_name && strcmp(jobs[same].job_name, jobs[i].job_name) == 0))
			same++;
		if (!jobs[i].job_name || same == i)
			continue;
		result = config_problem_add(&loading->problems, &loading->input, &loading->settings->arena,
			jobs[i].position, false,
			"scrape_configs[%zu].job_name: \"%s\" is the name of scrape_configs[%zu] (line %u) already", i,
			jobs[i].job_name, same, jobs[same].position.line);
	}
	return result;
}

static int check_job(struct loading *loading, const struct target_job_options *job, size_t index)
{
	struct config_problems *problems = &loading->problems;
	struct arena *arena = &loading->settings->arena;
	struct target_job *made;
	struct error err = {0};
	int result = target_job_new(job, &loading->settings->global, &made, &err);
	if (result == -ENOMEM)
		return result;
	if (result < 0)
		return config_problem_add(problems, &loading->input, arena, job->position, false,
			"scrape_configs[%zu]: %s", index, err.text);
	target_job_unref(made);
	if (job->follow_redirects)
		result = config_problem_add(problems, &loading->input, arena, job->position, true,
			"scrape_configs[%zu].follow_redirects: redirects are not followed: a target that answers with "
			"one is "
			"down",
			index);
	if (result < 0 || job->static_configs.count > 0 || job->kubernetes_sd_configs.count > 0)
		return result;
	return config_problem_add(problems, &loading->input, arena, job->position, true,
		"scrape_configs[%zu]: nothing is discovered by this job; add kubernetes_sd_configs or static_configs",
		index);
}

static int check_jobs(struct loading *loading)
{
	const struct option_objects *jobs = &loading->settings->scrape_configs;
	const struct target_job_options *items = jobs->items;
	int result = 0;
	for (size_t i = 0; i < jobs->count && result == 0; i++)
		result = check_job(loading, &items[i], i);
	return result;
}

static int list_jobs(struct loading *loading)
{
	struct settings *settings = loading->settings;
	size_t count = settings->scrape_configs.count;
	struct error err = {0};
	settings->jobs = arena_alloc(&settings->arena, (count + KUBELET_JOBS_MAX) * sizeof(*settings->jobs));
	if (!settings->jobs)
		return -ENOMEM;
	if (count > 0)
		memcpy(settings->jobs, settings->scrape_configs.items, count * sizeof(*settings->jobs));
	settings->job_count = count;
	int result = kubelet_jobs(&settings->kubelet, &settings->arena, settings->jobs, &settings->job_count,
		&settings->kubelet_host, &err);
	return result == -EINVAL ? blame(loading, (struct option_position){0}, err.text) : result;
}

static int check_destination(struct loading *loading)
{
	const struct export_options *exporters = &loading->settings->exporters;
	if (exporters->otlphttp.endpoint || exporters->otlphttp.metrics_endpoint || exporters->debug.enabled)
		return 0;
	return blame(loading, (struct option_position){0},
		"nowhere to send the metrics to; set exporters.otlphttp.endpoint (such as http://gateway:4318) or the "
		"environment "
		"variable OTEL_EXPORTER_OTLP_ENDPOINT, or print them with exporters: {debug: {}}");
}

static int fill(struct loading *loading)
{
	struct settings *settings = loading->settings;
	struct arena arena = settings->arena;
	int result = config_load(&loading->input, &settings_table, &arena, settings, &loading->problems);
	settings->arena = arena;
	if (result == 0 || result == -EINVAL)
		result = check_names(loading);
	if (result < 0 || loading->problems.errors > 0)
		return result < 0 ? result : -EINVAL;
	result = apply_environment(loading);
	bool environment_refused = loading->problems.errors > 0;
	if (result == 0)
		result = check_jobs(loading);
	if (result == 0)
		result = list_jobs(loading);
	if (result == 0 && !environment_refused) /* else a bad variable is why there is none */
		result = check_destination(loading);
	if (result < 0)
		return result;
	return loading->problems.errors > 0 ? -EINVAL : 0;
}

static int explain(const struct loading *loading, int result, struct buf *problems_text, struct error *err)
{
	if (problems_text && result != -ENOMEM &&
		config_problems_print(&loading->input, &loading->problems, problems_text) < 0)
		result = -ENOMEM;
	size_t errors = loading->problems.errors;
	if (result == -ENOMEM)
		error_set(err, ENOMEM, "%s: out of memory", loading->input.name);
	else if (result < 0)
		error_set(err, EINVAL, "%s: %zu error%s", loading->input.name, errors, errors == 1 ? "" : "s");
	return result;
}

int settings_load(const char *path, const char *(*get)(const char *name), bool for_log, struct buf *problems_text,
	struct settings **ret_settings, struct error *err)
{
	struct buf text;
	buf_init(&text, FILE_MAX_BYTES);
	text.secret = true;
	int result = path ? file_read(path, &text, err) : 0;
	struct settings *settings = result == 0 ? calloc(1, sizeof(*settings)) : NULL;
	if (result == 0 && !settings)
		result = error_set(err, ENOMEM, "out of memory");
	if (result == 0) {
		arena_init(&settings->arena, SETTINGS_MAX_BYTES);
		settings->arena.secret = true; /* passwords may be among the texts */
		struct loading loading = {.settings = settings,
			.input = {.name = path ? path : "(no configuration file)",
				.text = buf_view(&text),
				.get_environment = get,
				.hide_source = for_log}};
		result = explain(&loading, fill(&loading), problems_text, err);
	}
	buf_done(&text);
	if (settings)
		settings->refs = 1;
	if (result == 0)
		*ret_settings = settings;
	else
		settings_free(settings);
	return result;
}

bool settings_same(const struct settings *a, const struct settings *b, const char *object)
{
	const struct option *option = settings_options;
	while (strcmp(option->name, object) != 0)
		option++;
	return config_same((const char *)a + option->offset, (const char *)b + option->offset, option->fields);
}

struct settings *settings_ref(struct settings *settings)
{
	settings->refs++;
	return settings;
}

void settings_free(struct settings *settings)
{
	if (!settings || --settings->refs > 0)
		return;
	arena_done(&settings->arena);
	free(settings);
}
