/* `gleaner check`: every complaint about a file, or what it does in a few lines. */
#include "cli.h"

#include "settings.h"

#include <errno.h>

static void put_destination(const struct export_options *exporters, struct buf *out)
{
	const struct export_otlphttp_options *http = &exporters->otlphttp;
	const char *endpoint = http->metrics_endpoint ? http->metrics_endpoint : http->endpoint;
	bool slash = endpoint && span_ends_with(span_str(endpoint), SPAN("/"));
	const char *appended = http->metrics_endpoint ? "" : slash ? "v1/metrics" : "/v1/metrics";
	buf_str(out, "  sends to     ");
	if (endpoint)
		buf_printf(out, "%s%s (OTLP/HTTP, compression %s)", endpoint, appended,
			codec_name((enum codec_kind)http->compression));
	if (exporters->debug.enabled)
		buf_printf(out, "%sthe log (debug)", endpoint ? " and " : "");
	buf_char(out, '\n');
}

static void put_discovery(const struct settings *settings, struct buf *out)
{
	const struct kube_options *kubelet = &settings->kubelet;
	const struct option_strings *names = &settings->pods.sources;
	const struct discover_annotation_options *annotations = &settings->annotations;
	if (!kubelet->enabled && !(settings->pods.sources_given && names->count > 0)) {
		buf_printf(out, "  pods         none: %s\n",
			kubelet->enabled_given
				? "kubelet.enabled is false"
				: "no kubelet is known (kubelet.endpoint, or HOST_IP and NODE_NAME in the "
				  "environment)");
		return;
	}
	buf_printf(out, "  pods         of node %s, from%s", kubelet->node_name ? kubelet->node_name : "(unnamed)",
		names->count > 1 ? " the first that works of" : "");
	for (size_t i = 0; i < names->count; i++) {
		buf_printf(out, "%s %s", i > 0 ? "," : "", names->items[i]);
		if (strcmp(names->items[i], "kubelet") == 0)
			buf_printf(out, " (every %s)", duration_format(kubelet->poll_interval_ns).text);
	}
	buf_char(out, '\n');
	if (annotations->enabled)
		buf_printf(out, "  annotations  %s/*, as job %s\n", annotations->prefix, annotations->job_name);
}

static void put_selection(
	const char *kind, bool given, const struct monitor_selector_options *selector, struct buf *out)
{
	bool by_labels = selector->match_labels.count + selector->match_expressions.count > 0;
	buf_printf(out, "%s %s", !given ? "no" : by_labels ? "some" : "all", kind);
}

static void put_monitors(const struct monitor_options *monitors, struct buf *out)
{
	if (!monitors->enabled)
		return;
	buf_str(out, "  monitors     ");
	put_selection("ServiceMonitors, ", monitors->service_monitors_given, &monitors->service_monitors, out);
	put_selection("PodMonitors, ", monitors->pod_monitors_given, &monitors->pod_monitors, out);
	put_selection("ScrapeConfigs\n", monitors->scrape_configs_given, &monitors->scrape_configs, out);
}

static size_t count_static_targets(const struct target_job_options *job)
{
	const struct target_static_config *configs = job->static_configs.items;
	size_t count = 0;
	for (size_t i = 0; i < job->static_configs.count; i++)
		count += configs[i].targets.count;
	return count;
}

static void put_job(const struct settings *settings, const struct target_job_options *job, struct buf *out)
{
	uint64_t interval = job->scrape_interval_ns ? job->scrape_interval_ns : settings->global.scrape_interval_ns;
	size_t targets = count_static_targets(job);
	buf_printf(out, "  job          %s, every %s:%s", job->job_name, duration_format(interval).text,
		targets + job->kubernetes_sd_configs.count == 0 ? " nothing" : "");
	if (job->kubernetes_sd_configs.count > 0)
		buf_printf(out, " pods by %zu relabel rules", job->relabel_configs.count);
	if (targets > 0)
		buf_printf(out, "%s %zu static target%s", job->kubernetes_sd_configs.count > 0 ? "," : "", targets,
			targets == 1 ? "" : "s");
	buf_char(out, '\n');
}

static void put_summary(const struct settings *settings, struct buf *out)
{
	put_discovery(settings, out);
	put_monitors(&settings->monitors, out);
	for (size_t i = 0; i < settings->job_count; i++)
		put_job(settings, &settings->jobs[i], out);
	put_destination(&settings->exporters, out);
	buf_printf(out, "  status       %s%s\n", settings->status.enabled ? "http://" : "off",
		settings->status.enabled ? settings->status.listen : "");
}

int cli_check_file(const char *path, const char *(*get_environment)(const char *name), struct buf *out)
{
	struct settings *settings = NULL;
	struct error err = {0};
	size_t before = out->len;
	int result = settings_load(path, get_environment, false, out, &settings, &err);
	if (result < 0) {
		buf_printf(out, "%s%s\n", out->len > before ? "\n" : "gleaner check: ", err.text);
		return 1;
	}
	if (export_options_check_files(&settings->exporters, &err) < 0) {
		buf_printf(out, "%s: error: exporters.otlphttp.tls: %s\n\n%s: 1 error\n", path, err.text, path);
		settings_free(settings);
		return 1;
	}
	buf_printf(out, "%s: fine\n", path);
	put_summary(settings, out);
	settings_free(settings);
	return out->failed ? 1 : 0;
}
