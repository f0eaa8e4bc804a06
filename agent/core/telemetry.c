/* The agent's own metrics: one page in Prometheus' text format, served at /metrics and, from the same bytes, sent as OTLP.
 *
 * The page goes, as OpenMetrics (which has start times), through the same ingest as a target's body (it is our own text, so the core may parse it) and into the spool beside the
 * targets' records. docs/metrics.md lists the names; a test holds the two together.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "internal.h"

/* A thousand targets take some 60,000 lines of 250 bytes (cost_metrics.c), the agent itself 100. */
enum { PAGE_MAX_BYTES = 64 << 20, PAGE_MAX_SAMPLES = 200000, PAGE_MAX_LINE_BYTES = 8192, AGENT_PAGE_MAX = 1 << 20 };

struct telemetry {
	struct core *core;
	struct loop_timer *timer;
	struct series_store *store;
	struct series_cache *cache;
	struct otlp_batch *batch;
	struct codec *codec;
	enum codec_kind codec_kind;
	struct buf page, compressed;
	struct arena arena; /* labels of the pseudo target */
};

/* ---- the page -------------------------------------------------------------------------- */

static void one(struct buf *page, const char *name, const char *type, const char *help, double value)
{
	metrics_family(page, name, type, help);
	metrics_sample(page, name, "", value);
}

/* reason="..." samples of one family. */
static void by_reason(struct buf *page, const char *name, const char *reason, uint64_t value)
{
	char labels[64];
	snprintf(labels, sizeof(labels), "reason=\"%s\"", reason);
	metrics_sample(page, name, labels, (double)value);
}

static void render_scrapes(const struct core *core, struct buf *page)
{
	const struct core_totals *totals = &core->totals;
	one(page, "gleaner_targets", "gauge", "Targets at present.", (double)core->targets.count);
	one(page, "gleaner_targets_refused_total", "counter",
		"Targets that could not be made (bad annotation, address).", (double)totals->targets_refused);
	one(page, "gleaner_targets_stretched", "gauge",
		"Targets whose interval is stretched because scraping them costs more than their scrape_cost_budget.",
		(double)targets_stretched(core));
	one(page, "gleaner_interval_changes_total", "counter", "Steps by which intervals were stretched, and back.",
		(double)totals->stretches);
	const struct trials_counters *trials = &core->trials_counted;
	metrics_family(page, "gleaner_listen_trials_total", "counter",
		"Undeclared ports that were asked for metrics (discovery.listen), by what came of it.");
	metrics_sample(page, "gleaner_listen_trials_total", "result=\"accepted\"", (double)trials->accepted);
	metrics_sample(page, "gleaner_listen_trials_total", "result=\"refused\"", (double)trials->refused);
	metrics_sample(page, "gleaner_listen_trials_total", "result=\"failed\"", (double)trials->failed);
	one(page, "gleaner_listen_ports_over_limit_total", "counter",
		"Undeclared ports that were not looked at because too many are known.", (double)trials->over_limit);
	one(page, "gleaner_scrapes_total", "counter", "Scrapes whose points are committed.", (double)totals->scrapes);
	metrics_family(page, "gleaner_scrapes_failed_total", "counter", "Scrapes with up = 0, by reason.");
	for (size_t i = 0; i < totals->failed_count; i++)
		by_reason(page, "gleaner_scrapes_failed_total", totals->failed[i].reason, totals->failed[i].count);
	one(page, "gleaner_scrape_ticks_missed_total", "counter",
		"Ticks without a scrape: the one before was in flight, or scrapers died.",
		(double)totals->missed_ticks);
	one(page, "gleaner_samples_total", "counter", "Samples parsed.", (double)totals->samples);
	one(page, "gleaner_samples_kept_total", "counter", "Samples left after metric relabelling.",
		(double)totals->samples_kept);
	metrics_family(page, "gleaner_samples_dropped_total", "counter",
		"Samples (of histograms and summaries: points) dropped after parsing, by reason.");
	for (size_t i = 0; i < SERIES_DROP_COUNT; i++)
		by_reason(page, "gleaner_samples_dropped_total", series_drop_name((enum series_drop)i),
			totals->dropped[i]);
	one(page, "gleaner_lines_tolerated_total", "counter", "Lines accepted that Prometheus' parser would refuse.",
		(double)totals->tolerated);
	one(page, "gleaner_points_total", "counter", "OTLP data points made of scrapes.", (double)totals->points);
	one(page, "gleaner_stale_points_total", "counter", "Points without a recorded value: series that went.",
		(double)totals->stale_points);
	one(page, "gleaner_scrape_body_bytes_total", "counter", "Bytes of bodies, inflated.",
		(double)totals->body_bytes);
	one(page, "gleaner_scrape_wire_bytes_total", "counter", "Bytes of bodies as received.",
		(double)totals->wire_bytes);
	one(page, "gleaner_dials_total", "counter", "Connections that scrapers asked for.", (double)totals->dials);
	one(page, "gleaner_dials_failed_total", "counter", "Of these, not connected.", (double)totals->dial_failures);
	one(page, "gleaner_dials_refused_total", "counter", "Of these, to an address that is not the target's own.",
		(double)totals->dial_refused);
	one(page, "gleaner_credential_reads_total", "counter",
		"Times that credentials of a job were read again from their files.", (double)totals->credentials_read);
	one(page, "gleaner_credential_failures_total", "counter",
		"Times that this failed; the job's last credentials stay in use.", (double)totals->credentials_failed);
}

static void render_scrapers(const struct core *core, struct buf *page)
{
	struct wire_heartbeat sum = {0};
	for (size_t i = 0; i < core->worker_count; i++) {
		const struct wire_heartbeat *heartbeat = &core->workers[i].heartbeat;
		sum.in_flight += heartbeat->in_flight;
		sum.series += heartbeat->series;
		sum.thawed_bytes += heartbeat->thawed_bytes;
		sum.frozen_bytes += heartbeat->frozen_bytes;
	}
	one(page, "gleaner_scraper_starts_total", "counter", "Scraper processes started.",
		(double)core->totals.scraper_starts);
	one(page, "gleaner_scraper_deaths_total", "counter", "Scraper processes that died.",
		(double)core->totals.scraper_deaths);
	one(page, "gleaner_scraper_stuck_total", "counter", "Of these, killed because they fell silent.",
		(double)core->totals.scraper_stuck);
	one(page, "gleaner_scrapes_in_flight", "gauge", "Scrapes in flight at the last heartbeat.",
		(double)sum.in_flight);
	one(page, "gleaner_series", "gauge", "Series in the caches.", (double)sum.series);
	one(page, "gleaner_series_thawed_bytes", "gauge", "Memory of caches that are ready.", (double)sum.thawed_bytes);
	one(page, "gleaner_series_frozen_bytes", "gauge", "Memory of caches that are compressed.",
		(double)sum.frozen_bytes);
}

static void render_spool(const struct core *core, struct buf *page)
{
	struct spool_stats stats;
	spool_stats(core->spool, &stats);
	one(page, "gleaner_spool_committed_records_total", "counter", "Records committed to the queue.",
		(double)stats.committed_records);
	one(page, "gleaner_spool_committed_points_total", "counter",
		"Points committed to the queue: delivered + dropped + queued.", (double)stats.committed_points);
	one(page, "gleaner_spool_delivered_records_total", "counter", "Records that the gateway took.",
		(double)stats.delivered_records);
	one(page, "gleaner_spool_delivered_points_total", "counter", "Points that the gateway took.",
		(double)stats.delivered_points);
	metrics_family(
		page, "gleaner_spool_dropped_points_total", "counter", "Points dropped from the queue, by reason.");
	for (size_t i = 0; i < SPOOL_DROP_COUNT; i++)
		by_reason(page, "gleaner_spool_dropped_points_total", spool_drop_name((enum spool_drop)i),
			stats.dropped_points[i]);
	one(page, "gleaner_spool_queued_records", "gauge", "Records that wait.", (double)stats.queued_records);
	one(page, "gleaner_spool_queued_points", "gauge", "Points that wait.", (double)stats.queued_points);
	one(page, "gleaner_spool_queued_bytes", "gauge", "Compressed bytes that wait.", (double)stats.queued_bytes);
	one(page, "gleaner_lost_points_total", "counter",
		"Points of records for which there was no memory: never committed.", (double)core->totals.lost_points);
}

static void render_export(const struct core *core, struct buf *page)
{
	struct export_stats stats;
	exporter_stats(core->exporter, &stats);
	one(page, "gleaner_export_requests_total", "counter", "Requests sent to the gateway.", (double)stats.requests);
	one(page, "gleaner_export_retries_total", "counter", "Of these, repeated ones.", (double)stats.retries);
	one(page, "gleaner_export_sent_bytes_total", "counter", "Bytes of request bodies.", (double)stats.sent_bytes);
	metrics_family(page, "gleaner_export_failures_total", "counter", "Requests that failed, by reason.");
	by_reason(page, "gleaner_export_failures_total", "connect", stats.failures_connect);
	by_reason(page, "gleaner_export_failures_total", "timeout", stats.failures_timeout);
	by_reason(page, "gleaner_export_failures_total", "tls", stats.failures_tls);
	by_reason(page, "gleaner_export_failures_total", "status_retryable", stats.failures_status_retryable);
	by_reason(page, "gleaner_export_failures_total", "status_permanent", stats.failures_status_permanent);
	one(page, "gleaner_export_consecutive_failures", "gauge", "Failures since the last success.",
		(double)stats.consecutive_failures);
}

/* program="on_listen",state="attached"; names come from the loader, so what could break the page is left out. */
static void probe_program(struct buf *page, const struct probe_program *program)
{
	char labels[96];
	if (program->name[strspn(program->name, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0')
		return;
	snprintf(labels, sizeof(labels), "program=\"%s\",state=\"%s\"", program->name,
		probe_state_name((enum probe_state)program->state));
	metrics_sample(page, "gleaner_probe_programs", labels, 1);
}

static void render_probe(const struct core *core, struct buf *page)
{
	const struct probes *probes = core->probes;
	struct probes_counters counters = probes ? probes_counters(probes) : core->probes_before;
	one(page, "gleaner_probe_up", "gauge", "1 while listening ports are seen as they open.",
		probes && probes->state == PROBES_RUNNING);
	metrics_family(page, "gleaner_probe_programs", "gauge",
		"Always 1; the eBPF programs of the last probe, and what became of each.");
	for (size_t i = 0; probes && i < probes->hello.program_count; i++)
		probe_program(page, &probes->hello.programs[i]);
	one(page, "gleaner_probe_starts_total", "counter", "Probes started, or called at their socket.",
		(double)counters.starts);
	one(page, "gleaner_probe_deaths_total", "counter", "Probes that ended while they were needed.",
		(double)counters.deaths);
	one(page, "gleaner_probe_listening_ports", "gauge", "Listening ports that the probe knows of.",
		probes ? (double)probes_port_count(probes) : 0);
	one(page, "gleaner_probe_ports_unattributed_total", "counter", "Ports that opened and are no pod's.",
		(double)counters.unattributed);
	one(page, "gleaner_probe_port_flaps_total", "counter",
		"Openings of ports that close all the time: they must stay open for 10 s.", (double)counters.flaps);
	one(page, "gleaner_probe_events_total", "counter", "Sockets that began or ceased to listen.",
		(double)counters.events);
	metrics_family(page, "gleaner_probe_events_lost_total", "counter",
		"Events that were not handed over, by reason; a snapshot makes up for them.");
	by_reason(page, "gleaner_probe_events_lost_total", "ring_full", counters.lost_ring);
	by_reason(page, "gleaner_probe_events_lost_total", "rate", counters.lost_rate);
	one(page, "gleaner_probe_snapshots_total", "counter", "Snapshots of all listening sockets.",
		(double)counters.snapshots);
	one(page, "gleaner_probe_scrapes_total", "counter", "Scrapes asked for because a port opened.",
		(double)counters.scrapes);
	one(page, "gleaner_probe_nudges_total", "counter",
		"Times that the source of pods was asked because a pod listens that it has not told of.",
		(double)counters.nudges);
}

static void render_costs(const struct core *core, struct buf *page)
{
	const struct costs_counters *counters = &core->costs.counters;
	one(page, "gleaner_probe_cost_up", "gauge", "1 while what scrapes cost their targets is measured.",
		costs_are_measured(core));
	one(page, "gleaner_probe_cost_measured_total", "counter", "Scrapes that were measured.",
		(double)counters->measured);
	one(page, "gleaner_probe_cost_unmatched_total", "counter",
		"Scrapes that were to be measured, but BPF saw no request at the server (an address translation in "
		"between, or a probe that just came).",
		(double)counters->unmatched);
	one(page, "gleaner_probe_cost_mismatch_total", "counter",
		"Scrapes that were not measured, since the server sent another number of bytes than came in.",
		(double)counters->mismatch);
	one(page, "gleaner_probe_cost_no_slot_total", "counter",
		"Connections that are not measured, since 1,024 others are.", (double)counters->no_slot);
	one(page, "gleaner_probe_cost_reaped_total", "counter", "Measurements that did not end by themselves.",
		(double)counters->reaped);
	one(page, "gleaner_probe_cost_deaf_total", "counter",
		"Connects that BPF did not see; three in a row end measuring until there is another probe.",
		(double)counters->deaf);
	one(page, "gleaner_probe_cost_slots", "gauge", "Connections that are measured.",
		(double)costs_slots_used(core));
	one(page, "gleaner_probe_cost_windows", "gauge", "Measurements under way.", costs_windows_open(core));
}

int process_usage(pid_t pid, double *ret_cpu_seconds, double *ret_resident_bytes)
{
	char path[64];
	unsigned long user, system;
	long resident;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return -errno;
	int fields = fscanf(file,
		"%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
		&user, &system, &resident);
	fclose(file);
	if (fields != 3)
		return -EBADMSG;
	*ret_cpu_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
	if (ret_resident_bytes)
		*ret_resident_bytes = (double)resident * (double)sysconf(_SC_PAGESIZE);
	return 0;
}

static void render_processes(const struct core *core, struct buf *page)
{
	double core_cpu = 0, core_resident = 0, scraper_cpu = 0, scraper_resident = 0;
	process_usage(getpid(), &core_cpu, &core_resident);
	for (size_t i = 0; i < core->worker_count; i++) {
		double cpu, resident;
		if (core->workers[i].pid && process_usage(core->workers[i].pid, &cpu, &resident) == 0) {
			scraper_cpu += cpu;
			scraper_resident += resident;
		}
	}
	double probe_cpu = 0, probe_resident = 0;
	if (core->probes && core->probes->pid)
		process_usage(core->probes->pid, &probe_cpu, &probe_resident);
	metrics_family(
		page, "gleaner_process_cpu_seconds", "gauge", "CPU time of the processes that run now, by role.");
	metrics_sample(page, "gleaner_process_cpu_seconds", "role=\"core\"", core_cpu);
	metrics_sample(page, "gleaner_process_cpu_seconds", "role=\"scraper\"", scraper_cpu);
	metrics_sample(page, "gleaner_process_cpu_seconds", "role=\"probe\"", probe_cpu);
	metrics_family(page, "gleaner_process_resident_memory_bytes", "gauge", "Resident memory, by role.");
	metrics_sample(page, "gleaner_process_resident_memory_bytes", "role=\"core\"", core_resident);
	metrics_sample(page, "gleaner_process_resident_memory_bytes", "role=\"scraper\"", scraper_resident);
	metrics_sample(page, "gleaner_process_resident_memory_bytes", "role=\"probe\"", probe_resident);
}

/* All but the metrics of single targets. */
static void render_agent(struct core *core, struct buf *page)
{
	metrics_family(page, "gleaner_build_info", "gauge", "Always 1; the version is a label.");
	metrics_sample(page, "gleaner_build_info", "version=\"" GLEANER_VERSION "\"", 1);
	one(page, "gleaner_start_time_seconds", "gauge", "When the core started.", (double)core->started_wall_ns / 1e9);
	one(page, "gleaner_config_last_reload_successful", "gauge", "1, or 0 when the last reload was refused.",
		core->last_reload_ok);
	one(page, "gleaner_config_last_reload_timestamp_seconds", "gauge", "When the configuration was last read.",
		(double)core->last_reload_wall_ns / 1e9);
	render_scrapes(core, page);
	render_scrapers(core, page);
	render_spool(core, page);
	render_export(core, page);
	sources_metrics(core->sources, page);
	monitors_metrics(core, page);
	rights_metrics(core->rights, page);
	secrets_metrics(core, page);
	render_probe(core, page);
	render_costs(core, page);
	render_processes(core, page);
}

void telemetry_render(struct core *core, struct buf *page)
{
	render_agent(core, page);
	if (core->settings->telemetry.target_costs)
		cost_metrics_render(core, page, false);
}

/* A counter's family is without its _total in OpenMetrics, and says since when it counts. (No gauge of the agent ends so, no label of
 * its own holds a blank.) */
static void openmetrics_line(struct span line, double created, struct buf *out)
{
	static const struct span ending = {"_total", 6};
	struct span word = SPAN(""), name, rest = line;
	bool comment = span_starts_with(line, SPAN("# "));
	for (int words = comment ? 3 : 1; words > 0; words--)
		span_next(&rest, ' ', &word);
	name = word;
	if (!comment)
		span_next(&word, '{', &name);
	size_t name_at = (size_t)(name.ptr - line.ptr), name_len = name.len;
	bool counter = span_ends_with(name, ending);
	if (counter)
		name_len -= ending.len;
	if (comment) {
		buf_append(out, line.ptr, name_at + name_len);
		buf_printf(out, " %.*s\n", SPAN_ARGS(rest));
		return;
	}
	buf_printf(out, "%.*s\n", SPAN_ARGS(line));
	if (counter)
		buf_printf(out, "%.*s_created%.*s %.9f\n", (int)name_len, name.ptr,
			(int)(line.len - rest.len - 1 - name.len), name.ptr + name.len, created);
}

void telemetry_render_openmetrics(struct core *core, struct buf *page)
{
	struct buf text;
	buf_init(&text, AGENT_PAGE_MAX);
	render_agent(core, &text);
	struct span rest = buf_view(&text), line;
	while (span_next(&rest, '\n', &line)) {
		if (line.len > 0)
			openmetrics_line(line, (double)core->started_wall_ns / 1e9, page);
	}
	if (core->settings->telemetry.target_costs)
		cost_metrics_render(core, page, true);
	buf_str(page, "# EOF\n");
	if (text.failed)
		page->failed = text.failed;
	buf_done(&text);
}

/* ---- the same as OTLP -------------------------------------------------------------------- */

static int commit(void *arg, const struct otlp_request *request)
{
	struct telemetry *telemetry = arg;
	struct spool_record record = {
		.codec = telemetry->codec_kind,
		.points = request->points,
		.t_min_ns = request->t_min_ns,
		.t_max_ns = request->t_max_ns,
		.uncompressed_bytes = request->body.len,
		.body = request->body,
	};
	if (telemetry->codec_kind != CODEC_NONE) {
		buf_reset(&telemetry->compressed);
		int result = codec_compress(telemetry->codec, request->body, &telemetry->compressed);
		if (result < 0)
			return result;
		record.body = buf_view(&telemetry->compressed);
	}
	return spool_push(telemetry->core->spool, &record);
}

static void telemetry_due(void *arg)
{
	struct telemetry *telemetry = arg;
	struct core *core = telemetry->core;
	struct series_result result;
	struct error err = {""};
	buf_reset(&telemetry->page);
	telemetry_render_openmetrics(core, &telemetry->page);
	char *padding = buf_reserve(&telemetry->page, EXPO_PADDING);
	int failed = -ENOMEM;
	if (padding) {
		memset(padding, 0, EXPO_PADDING);
		failed = series_ingest(telemetry->cache, EXPO_OPENMETRICS, buf_view(&telemetry->page),
			clock_wall(&core->clock), telemetry->batch, &result, &err);
	}
	if (failed == 0)
		failed = otlp_batch_seal(telemetry->batch);
	if (failed < 0)
		log_error(&core->log, "own metrics: %s", err.text[0] ? err.text : strerror(-failed));
	loop_timer_set(telemetry->timer, core->settings->telemetry.interval_ns);
}

/* The pseudo target: job is the service name ("gleaner"), instance the node's name. */
static int make_cache(struct telemetry *telemetry)
{
	const struct settings *settings = telemetry->core->settings;
	const char *node = settings->kubelet.node_name;
	char host[256] = "localhost";
	struct labels_builder labels, resource;
	arena_init(&telemetry->arena, 1 << 20);
	labels_builder_init(&labels, &telemetry->arena);
	labels_builder_init(&resource, &telemetry->arena);
	if (!node && gethostname(host, sizeof(host) - 1) < 0)
		return -errno;
	labels_set(&labels, SPAN("job"), span_str(settings->service_name));
	labels_set(&labels, SPAN("instance"), span_str(node ? node : host));
	for (size_t i = 0; i < settings->global.resource_attributes.count; i++) {
		const struct option_pair *pair = &settings->global.resource_attributes.items[i];
		labels_set(&resource, span_str(pair->name), span_str(pair->value));
	}
	if (node)
		labels_set(&resource, SPAN("k8s.node.name"), span_str(node));
	labels_set(&resource, SPAN("service.version"), SPAN(GLEANER_VERSION));
	if (labels.failed || resource.failed)
		return -ENOMEM;
	struct series_target target = {
		.labels = labels_builder_view(&labels),
		.resource = labels_builder_view(&resource),
		.limits = {.max_samples = PAGE_MAX_SAMPLES, .max_labels = 128, .max_line_bytes = PAGE_MAX_LINE_BYTES},
	};
	return series_cache_new(telemetry->store, &target, &telemetry->cache);
}

int telemetry_start(struct core *core)
{
	const struct settings *settings = core->settings;
	if (!settings->telemetry.enabled)
		return 0;
	struct telemetry *telemetry = calloc(1, sizeof(*telemetry));
	if (!telemetry)
		return -ENOMEM;
	core->telemetry = telemetry;
	*telemetry = (struct telemetry){
		.core = core, .codec_kind = (enum codec_kind)settings->exporters.otlphttp.compression};
	buf_init(&telemetry->page, PAGE_MAX_BYTES);
	buf_init(&telemetry->compressed, 2 << 20);
	struct otlp_batch_limits limits = {8192, 1 << 20};
	int result = series_store_new(UINT64_MAX, &telemetry->store);
	if (result == 0)
		result = make_cache(telemetry);
	if (result == 0)
		result = otlp_batch_new(limits, commit, telemetry, &telemetry->batch);
	if (result == 0 && telemetry->codec_kind != CODEC_NONE)
		result = codec_new(telemetry->codec_kind, &telemetry->codec);
	if (result == 0)
		result = loop_timer_new(core->loop, telemetry_due, telemetry, &telemetry->timer);
	if (result == 0)
		result = loop_timer_set(telemetry->timer, settings->telemetry.interval_ns);
	return result; /* telemetry_stop frees what there is */
}

void telemetry_stop(struct core *core)
{
	struct telemetry *telemetry = core->telemetry;
	core->telemetry = NULL;
	if (!telemetry)
		return;
	loop_timer_free(telemetry->timer);
	otlp_batch_free(telemetry->batch);
	series_cache_free(telemetry->cache);
	series_store_free(telemetry->store);
	codec_free(telemetry->codec);
	buf_done(&telemetry->page);
	buf_done(&telemetry->compressed);
	arena_done(&telemetry->arena);
	free(telemetry);
}
