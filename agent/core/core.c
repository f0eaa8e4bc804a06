/* The core process: start order, stop order, reload. The only code that knows everyone.
 *
 * Start: settings -> log -> loop -> spool -> exporter (thread) -> targets -> scrapers -> discovery (static now, pods as their source tells)
 *        -> own metrics -> probe -> status server (thread) -> run.
 * Stop (SIGTERM, SIGINT): the scrapers flush, the loop ends, the status server ends (it calls into the loop), the exporter drains, all
 *        within five seconds; what is still queued then is counted as dropped at shutdown and said.
 * Reload (SIGHUP, POST /-/reload): everything is read and checked before anything changes; on any error the running configuration stays.
 *        The sources of pods go on when nothing changed for them: they remember which pods were missing a moment ago.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

#define STOP_TIMEOUT_NS    (5 * NS_PER_SEC)
#define SCRAPER_TIMEOUT_NS (2 * NS_PER_SEC)

/* ---- discovery ------------------------------------------------------------------------- */

static struct discover_settings discover_settings(const struct settings *settings)
{
	return (struct discover_settings){
		.global = &settings->global,
		.jobs = settings->jobs,
		.job_count = settings->job_count,
		.annotations = &settings->annotations,
		.listen = &settings->discovery.listen,
		.node_name = span_str(settings->kubelet.node_name),
		.kubelet_host =
			settings->kubelet_host.len > 0 ? settings->kubelet_host : span_str(settings->kubelet.host_ip),
	};
}

/* ---- stop -------------------------------------------------------------------------------- */

static void scrapers_stopped(struct core *core)
{
	loop_stop(core->loop);
}

static void stop_timed_out(void *arg)
{
	struct core *core = arg;
	log_warn(&core->log, "a scraper did not flush within %s", duration_format(SCRAPER_TIMEOUT_NS).text);
	loop_stop(core->loop);
}

static void stop_requested(void *arg)
{
	struct core *core = arg;
	if (core->stopping) {
		log_warn(&core->log, "second signal: stopping without flushing");
		core->stop_by_ns = clock_mono(&core->clock);
		loop_stop(core->loop);
		return;
	}
	log_info(&core->log, "stopping: flushing");
	core->stopping = true;
	core->stop_by_ns = clock_mono(&core->clock) + STOP_TIMEOUT_NS;
	secrets_disconnect(core);
	monitors_free(core->monitors);
	core->monitors = NULL;
	rights_free(core->rights);
	core->rights = NULL;
	sources_free(core->sources);
	core->sources = NULL;
	telemetry_stop(core);
	probes_stop(core);
	trials_stop(core);
	loop_timer_set(core->stop_timer, SCRAPER_TIMEOUT_NS);
	workers_stop(core, scrapers_stopped);
}

/* After the loop: drain what is queued and say what became of everything. */
static void drain(struct core *core)
{
	struct spool_stats stats;
	uint64_t now = clock_mono(&core->clock);
	exporter_stop(core->exporter, core->stop_by_ns > now ? core->stop_by_ns - now : 0);
	core->exporter = NULL;
	spool_close(core->spool);
	spool_stats(core->spool, &stats);
	uint64_t dropped = 0;
	for (size_t i = 0; i < SPOOL_DROP_COUNT; i++)
		dropped += stats.dropped_points[i];
	log_info(&core->log,
		"stopped: %llu points committed = %llu delivered + %llu dropped (%llu of them at shutdown)",
		(unsigned long long)stats.committed_points, (unsigned long long)stats.delivered_points,
		(unsigned long long)dropped, (unsigned long long)stats.dropped_points[SPOOL_DROP_SHUTDOWN]);
}

/* ---- reload -------------------------------------------------------------------------------- */

/* What a running process keeps as it is. */
static void warn_of_kept(struct core *core, struct settings *settings)
{
	static const char *const kept[] = {"spool", "status"};
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		if (!settings_same(core->settings, settings, kept[i]))
			log_warn(&core->log, "%s: the change takes effect with the next start", kept[i]);
	}
	if (settings->scrape.workers != core->settings->scrape.workers) {
		log_warn(&core->log, "scrape.workers: the change takes effect with the next start");
		settings->scrape.workers = core->settings->scrape.workers;
	}
}

static void restart_telemetry(struct core *core)
{
	telemetry_stop(core);
	int result = telemetry_start(core);
	if (result == 0)
		return;
	telemetry_stop(core);
	log_error(&core->log, "own metrics: %s; they are not sent", strerror(-result));
}

/* They borrow the settings they were made with. */
static void adopt_sources(struct core *core, struct settings *settings, struct sources *sources)
{
	if (sources == core->sources)
		return;
	secrets_disconnect(core);
	monitors_disconnect(core->monitors);
	rights_disconnect(core->rights);
	sources_free(core->sources);
	if (core->sources_settings != core->settings)
		settings_free(core->sources_settings);
	core->sources = sources;
	core->sources_settings = settings;
	if (sources->source)
		return;
	if (discover_pods(core->discover, NULL) < 0)
		log_error(
			&core->log, "out of memory: the pods' targets stay, though nobody is asked for pods any more");
	probes_pods(core, NULL);
}

static void restart_probes(struct core *core)
{
	struct kube_pods *pods = core->probes && core->probes->pods ? kube_pods_ref(core->probes->pods) : NULL;
	probes_stop(core);
	if (probes_start(core) < 0)
		log_error(&core->log, "probe: out of memory; listening ports are not seen");
	probes_pods(core, pods);
	kube_pods_unref(pods);
}

/* What ports answered stays true, unless they are to be asked something else. */
static void restart_trials(struct core *core, const struct settings *old)
{
	const struct discover_listen_options *was = &old->discovery.listen, *is = &core->settings->discovery.listen;
	if (core->trials && is->enabled && strcmp(was->job_name, is->job_name) == 0 &&
		strcmp(was->metrics_path, is->metrics_path) == 0) {
		trials_review(core);
		return;
	}
	int result = core->trials ? discover_ports(core->discover, NULL, 0) : 0;
	trials_stop(core);
	if (result == 0)
		result = trials_start(core);
	if (result < 0)
		log_error(&core->log, "discovery.listen: %s", strerror(-result));
}

/* The part of a reload that cannot fail. */
static void adopt(struct core *core, struct settings *settings, struct sources *sources)
{
	struct settings *old = core->settings;
	bool same_codec = settings->exporters.otlphttp.compression == old->exporters.otlphttp.compression;
	warn_of_kept(core, settings);
	bool same_scrape = settings_same(old, settings, "scrape");
	bool same_probe = settings_same(old, settings, "probe");
	bool same_discovery = settings_same(old, settings, "discovery");
	bool same_telemetry = same_codec && settings_same(old, settings, "telemetry") &&
			      settings_same(old, settings, "resource") &&
			      strcmp(old->service_name, settings->service_name) == 0 && sources == core->sources;
	adopt_sources(core, settings, sources);
	core->settings = settings;
	secrets_configured(core);
	monitors_configured(core);
	rights_configured(core);
	rotate_all(core);
	log_configure(&core->log, (enum log_level)settings->log.level, (enum log_format)settings->log.format);
	if (!same_telemetry)
		restart_telemetry(core);
	if (!same_probe)
		restart_probes(core);
	if (!same_discovery)
		restart_trials(core, old);
	if (!same_codec || !same_scrape)
		workers_restart(core);
	if (core->sources_settings != old)
		settings_free(old);
}

/* Puts checked settings to work. Each step takes the new options whole or leaves the old ones; the first that fails undoes the
 * ones before it. */
static int apply(struct core *core, struct settings *settings, struct error *err)
{
	struct discover_settings discovery = discover_settings(settings);
	struct sources *sources = core->sources;
	int result = 0;
	if (!sources_same(core->settings, settings))
		result = sources_start(core, settings, &sources, err);
	if (result < 0)
		return result;
	result = exporter_configure(core->exporter, &settings->exporters, err);
	if (result == 0) {
		result = discover_configure(core->discover, &discovery, err);
		if (result < 0)
			exporter_configure(core->exporter, &core->settings->exporters, NULL);
	}
	if (result == 0)
		adopt(core, settings, sources);
	else if (sources != core->sources)
		sources_free(sources);
	return result;
}

/* Mistakes and warnings, one a line. */
static void log_problems(const struct core *core, struct span text)
{
	struct span line;
	while (span_next(&text, '\n', &line))
		if (line.len > 0)
			log_warn(&core->log, "%.*s", SPAN_ARGS(line));
}

int core_reload(struct core *core, struct error *err)
{
	struct settings *settings = NULL;
	struct buf problems;
	buf_init(&problems, 1 << 20);
	int result = settings_load(core->options->config_path, core->get_environment, true, &problems, &settings, err);
	if (result == 0) {
		result = apply(core, settings, err);
		if (result < 0)
			settings_free(settings);
	}
	log_problems(core, buf_view(&problems));
	buf_done(&problems);
	core->last_reload_ok = result == 0;
	core->last_reload_wall_ns = clock_wall(&core->clock);
	core->reloads++;
	if (result < 0) {
		core->reload_failures++;
		log_error(&core->log, "reload: %s; the running configuration stays", err->text);
	} else {
		log_info(&core->log, "configuration reloaded: %zu targets", core->targets.count);
	}
	return result;
}

static void reload_requested(void *arg)
{
	struct core *core = arg;
	struct error err = {""};
	if (!core->stopping)
		core_reload(core, &err);
}

/* ---- start ---------------------------------------------------------------------------------- */

static int start_parts(struct core *core, struct error *err)
{
	struct settings *settings = core->settings;
	struct http_options http_options = {.max_connections = 4, .dials = true, .max_lifetime_ns = 300 * NS_PER_SEC};
	struct discover_settings discovery = discover_settings(settings);
	int result = http_new(core->loop, http_options, &core->http);
	if (result == 0)
		result = loop_timer_new(core->loop, stop_timed_out, core, &core->stop_timer);
	if (result == 0)
		result = spool_new(&settings->spool, core->clock, &core->spool);
	if (result < 0)
		return error_set(err, -result, "start: %s", strerror(-result));
	result = exporter_start(&settings->exporters, core->spool, &core->log, core->clock, &core->exporter, err);
	if (result < 0)
		return result;
	result = targets_init(core);
	if (result == 0)
		result = costs_init(core);
	if (result == 0)
		result = workers_start(core);
	if (result < 0)
		return error_wrap(err, -result, "start scrapers");
	result = discover_configure(core->discover, &discovery, err);
	if (result == 0)
		result = secrets_start(core);
	if (result == 0)
		result = sources_start(core, settings, &core->sources, err);
	core->sources_settings = settings;
	if (result == 0)
		result = monitors_start(core, err);
	if (result == 0)
		result = rights_start(core);
	if (result == 0)
		result = rotate_start(core);
	if (result == 0)
		result = telemetry_start(core);
	if (result == 0)
		result = probes_start(core);
	if (result == 0)
		result = trials_start(core);
	if (result == 0 && settings->status.enabled)
		result = status_start(&settings->status, core_routes, core, &core->status, err);
	return result;
}

static int start_signals(struct core *core)
{
	signal(SIGPIPE, SIG_IGN);
	int result = loop_signal(core->loop, SIGTERM, stop_requested, core);
	if (result == 0)
		result = loop_signal(core->loop, SIGINT, stop_requested, core);
	if (result == 0)
		result = loop_signal(core->loop, SIGHUP, reload_requested, core);
	return result;
}

static void core_done(struct core *core)
{
	status_stop(core->status);
	probes_stop(core);
	telemetry_stop(core);
	trials_stop(core);
	rotate_stop(core);
	secrets_free(core->secrets);
	monitors_free(core->monitors);
	rights_free(core->rights);
	sources_free(core->sources);
	workers_free(core);
	costs_done(core);
	if (core->exporter)
		exporter_stop(core->exporter, 0);
	targets_done(core);
	http_free(core->http);
	spool_free(core->spool);
	loop_timer_free(core->stop_timer);
	loop_free(core->loop);
	if (core->sources_settings != core->settings)
		settings_free(core->sources_settings);
	settings_free(core->settings);
	free(core);
}

static bool wants_pods(const struct settings *settings)
{
	const struct target_job_options *jobs = settings->scrape_configs.items;
	for (size_t i = 0; i < settings->scrape_configs.count; i++) {
		if (jobs[i].kubernetes_sd_configs.count > 0)
			return true;
	}
	return false;
}

static void log_start(const struct core *core)
{
	const struct settings *settings = core->settings;
	const struct export_otlphttp_options *otlphttp = &settings->exporters.otlphttp;
	const char *endpoint = otlphttp->metrics_endpoint ? otlphttp->metrics_endpoint : otlphttp->endpoint;
	struct buf names;
	buf_init(&names, 1000);
	sources_names(settings, core->sources, &names);
	bool discovers = core->sources->source != NULL;
	log_info(&core->log,
		"gleaner " GLEANER_VERSION " started: node %s, pods from %.*s, gateway %s, %zu targets, status at %s",
		settings->kubelet.node_name ? settings->kubelet.node_name : "(unnamed)",
		SPAN_ARGS(discovers ? buf_view(&names) : SPAN("nowhere")), endpoint ? endpoint : "none (debug only)",
		core->targets.count, core->status ? settings->status.listen : "off");
	if (!discovers && (core->targets.count == 0 || wants_pods(settings)))
		log_warn(&core->log, "%.*s, so no pods are scraped%s", SPAN_ARGS(buf_view(&names)),
			core->targets.count == 0 ? "; there is nothing else to scrape" : "");
	buf_done(&names);
}

int core_run(const struct core_options *options)
{
	struct core *core = calloc(1, sizeof(*core));
	struct buf problems;
	struct error err = {""};
	if (!core)
		return 1;
	*core = (struct core){.log = {.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .role = "core"},
		.clock = clock_system(),
		.options = options,
		.get_environment = options->get_environment,
		.last_reload_ok = true};
	core->started_wall_ns = core->last_reload_wall_ns = clock_wall(&core->clock);
	buf_init(&problems, 1 << 20);
	int result =
		settings_load(options->config_path, options->get_environment, true, &problems, &core->settings, &err);
	if (result == 0) {
		core->log.level = (enum log_level)core->settings->log.level;
		core->log.format = (enum log_format)core->settings->log.format;
		result = loop_new(&core->loop);
	}
	if (result == 0)
		result = start_signals(core);
	if (result == 0)
		result = start_parts(core, &err);
	ssize_t ignored = problems.len ? write(STDERR_FILENO, problems.ptr, problems.len) : 0; /* warnings, too */
	(void)ignored;
	if (result < 0) {
		log_error(&core->log, "%s", err.text[0] ? err.text : strerror(-result));
	} else {
		log_start(core);
		memory_forget_start();
		loop_run(core->loop);
		status_stop(core->status);
		core->status = NULL;
		drain(core);
	}
	buf_done(&problems);
	core_done(core);
	return result < 0 ? 1 : 0;
}
