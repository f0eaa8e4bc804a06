/* Where the pods come from: which source is used and why not a better one is said in the log once, and shown at /targets. */
#include "sources.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

/* ---- what they tell ---------------------------------------------------------------------- */

static void on_pods(void *arg, struct kube_pods *pods)
{
	struct core *core = ((struct sources *)arg)->core;
	size_t before = core->targets.count;
	int result = discover_pods(core->discover, pods);
	probes_pods(core, pods);
	monitors_pods(core->monitors, pods);
	trials_review(core);
	if (result < 0)
		log_error(&core->log, "discover: %s; the targets stay as they are", strerror(-result));
	else if (core->targets.count != before)
		log_info(&core->log, "%zu pods, %zu targets", pods->count, core->targets.count);
}

static void on_chosen(void *arg, const char *source, const char *why, bool alarming)
{
	struct core *core = ((struct sources *)arg)->core;
	log_write(&core->log, alarming ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "pods are learned from %s%s%s%s", source,
		*why ? " (" : "", why, *why ? ")" : "");
}

static void on_failed(void *arg, const char *source, const struct error *err, uint64_t next_ns)
{
	struct sources *sources = arg;
	struct core *core = sources->core;
	size_t i = 0;
	while (i + 1 < KUBE_SOURCES_MAX && sources->failures[i].name && strcmp(sources->failures[i].name, source) != 0)
		i++;
	sources->failures[i].name = source;
	sources->failures[i].limit.interval_ns = 30 * NS_PER_SEC;
	if (!log_allowed(&sources->failures[i].limit, clock_mono(&core->clock)))
		return;
	if (next_ns > 0)
		log_warn(&core->log, "%s: %s; no target is lost by that, next try in %s", source, err->text,
			duration_format(next_ns).text);
	else
		log_warn(&core->log, "%s: %s; no target is lost by that", source, err->text);
}

/* ---- life ----------------------------------------------------------------------------------- */

int sources_start(struct core *core, const struct settings *settings, struct sources **ret_sources, struct error *err)
{
	struct sources *sources = calloc(1, sizeof(*sources));
	if (!sources)
		return error_set(err, ENOMEM, "out of memory");
	sources->core = core;
	int result = 0;
	if (settings->kubernetes.api_server)
		result = kube_api_new(core->loop, &settings->kubernetes, core->clock, &sources->api, err);
	const struct kube_source_settings from = {&settings->pods, &settings->kubelet, sources->api};
	const struct kube_source_events events = {on_pods, on_chosen, on_failed, sources};
	if (result == 0 && kube_source_wanted(&from))
		result = kube_source_new(core->loop, core->http, &from, core->clock, events, &sources->source, err);
	if (result < 0) {
		sources_free(sources);
		return result;
	}
	*ret_sources = sources;
	return 0;
}

void sources_free(struct sources *sources)
{
	if (!sources)
		return;
	kube_source_free(sources->source);
	kube_api_free(sources->api);
	free(sources);
}

bool sources_same(const struct settings *a, const struct settings *b)
{
	return settings_same(a, b, "kubelet") && settings_same(a, b, "pods") && settings_same(a, b, "kubernetes");
}

bool sources_nudge(struct sources *sources)
{
	if (!sources || !sources->source)
		return false;
	kube_source_nudge(sources->source);
	return true;
}

/* ---- what is shown of them ------------------------------------------------------------------- */

static struct kube_source_stats stats_of(const struct sources *sources)
{
	struct kube_source_stats stats = {0};
	if (sources && sources->source)
		kube_source_stats(sources->source, &stats);
	return stats;
}

void sources_names(const struct settings *settings, const struct sources *sources, struct buf *out)
{
	struct kube_source_stats stats = stats_of(sources);
	for (size_t i = 0; i < stats.count; i++)
		buf_printf(out, "%s%s", i > 0 ? ", " : "", stats.sources[i].name);
	if (stats.count > 0)
		return;
	buf_str(out, settings->kubelet.enabled_given || settings->pods.sources_given
			     ? "kubelet.enabled and pods.sources leave none"
			     : "no kubelet is known (set HOST_IP and NODE_NAME, or kubelet.endpoint)");
}

bool sources_ready(const struct sources *sources, struct buf *out)
{
	struct kube_source_stats stats = stats_of(sources);
	if (stats.count == 0 || stats.last_success_wall_ns > 0)
		return true;
	buf_str(out, "no source of pods has answered yet");
	for (size_t i = 0; i < stats.count; i++)
		if (stats.sources[i].stats.last_error.text[0])
			buf_printf(out, "; %s: %s", stats.sources[i].name, stats.sources[i].stats.last_error.text);
	return false;
}

static void by_source(struct buf *page, const char *family, const char *source, double value)
{
	char labels[64];
	snprintf(labels, sizeof(labels), "source=\"%s\"", source);
	metrics_sample(page, family, labels, value);
}

static void one(struct buf *page, const char *name, const char *type, const char *help, double value)
{
	metrics_family(page, name, type, help);
	metrics_sample(page, name, "", value);
}

static void kubelet_metrics(const struct kube_source_stats *stats, struct buf *page)
{
	struct kube_stats kubelet = {0};
	for (size_t i = 0; i < stats->count; i++)
		if (strcmp(stats->sources[i].name, "kubelet") == 0)
			kubelet = stats->sources[i].stats;
	one(page, "gleaner_kubelet_polls_total", "counter", "Requests to the kubelet for the node's pods.",
		(double)kubelet.polls);
	one(page, "gleaner_kubelet_failures_total", "counter", "Of these, failed.", (double)kubelet.failures);
	one(page, "gleaner_kubelet_pods", "gauge", "Pods in the last answer.", (double)kubelet.pods);
	one(page, "gleaner_kubelet_last_success_timestamp_seconds", "gauge", "When the last one succeeded; 0: never.",
		(double)kubelet.last_success_wall_ns / 1e9);
}

void sources_metrics(const struct sources *sources, struct buf *page)
{
	struct kube_source_stats stats = stats_of(sources);
	one(page, "gleaner_pods", "gauge", "Pods of the node.", (double)stats.pods);
	metrics_family(page, "gleaner_pods_source", "gauge", "1 for the source whose pods are used, 0 for the others.");
	for (size_t i = 0; i < stats.count; i++)
		by_source(page, "gleaner_pods_source", stats.sources[i].name,
			stats.sources[i].state == KUBE_SOURCE_RUNNING);
	metrics_family(page, "gleaner_pods_source_failures_total", "counter",
		"Requests and streams that failed, by source of pods.");
	for (size_t i = 0; i < stats.count; i++)
		by_source(page, "gleaner_pods_source_failures_total", stats.sources[i].name,
			(double)stats.sources[i].stats.failures);
	one(page, "gleaner_pods_source_switches_total", "counter", "Times that another source was chosen.",
		(double)stats.switches);
	one(page, "gleaner_pods_last_success_timestamp_seconds", "gauge", "When a source last answered; 0: never.",
		(double)stats.last_success_wall_ns / 1e9);
	kubelet_metrics(&stats, page);
}

void sources_json(const struct sources *sources, struct buf *out)
{
	struct kube_source_stats stats = stats_of(sources);
	buf_printf(out, ",\"podSources\":{\"pods\":%zu", stats.pods);
	pages_json(out, "running", span_str(stats.running));
	buf_str(out, ",\"sources\":[");
	for (size_t i = 0; i < stats.count; i++) {
		struct time_text time = {"0001-01-01T00:00:00Z"};
		if (stats.sources[i].stats.last_success_wall_ns > 0)
			time_format(stats.sources[i].stats.last_success_wall_ns, &time);
		buf_printf(out, "%s{\"failures\":%llu", i > 0 ? "," : "",
			(unsigned long long)stats.sources[i].stats.failures);
		pages_json(out, "name", span_str(stats.sources[i].name));
		pages_json(out, "state", span_str(kube_source_state_name(stats.sources[i].state)));
		pages_json(out, "lastSuccess", span_str(time.text));
		pages_json(out, "lastError", span_str(stats.sources[i].stats.last_error.text));
		buf_char(out, '}');
	}
	buf_str(out, "]}");
}

void sources_html(const struct sources *sources, struct buf *out)
{
	struct kube_source_stats stats = stats_of(sources);
	if (stats.count == 0)
		return;
	buf_printf(out,
		"<h2>Pods</h2><p>%zu pods, from %s.</p><table><thead><tr><th>Source</th><th>State</th>"
		"<th>Failures</th><th>Error</th></tr></thead><tbody>\n",
		stats.pods, stats.running ? stats.running : "no source yet");
	for (size_t i = 0; i < stats.count; i++) {
		buf_printf(out, "<tr><td>%s</td><td>%s</td><td class=\"n\">%llu</td><td>", stats.sources[i].name,
			kube_source_state_name(stats.sources[i].state),
			(unsigned long long)stats.sources[i].stats.failures);
		pages_html(out, span_str(stats.sources[i].stats.last_error.text));
		buf_str(out, "</td></tr>\n");
	}
	buf_str(out, "</tbody></table>\n");
}
