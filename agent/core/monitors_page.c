/* What the log, /metrics, /api/v1/monitors and /targets say of monitors. */
#include "monitors.h"

#include <stdio.h>

#include "internal.h"

enum { LINES_MAX = 50 }; /* of the log, for one set */

/* ---- log ------------------------------------------------------------------------------ */

static int compare_entries(const struct monitor *a, const struct monitor *b)
{
	int order = (a->kind > b->kind) - (a->kind < b->kind);
	if (order == 0)
		order = span_cmp(a->namespace_, b->namespace_);
	return order != 0 ? order : span_cmp(a->name, b->name);
}

/* Whether the set has it, selected, with the same spec. *at goes on from call to call: both sets have one order. */
static bool is_known(const struct monitor_set *before, size_t *at, const struct monitor *monitor)
{
	while (before && *at < before->entry_count) {
		const struct monitor_entry *entry = &before->entries[*at];
		int order = compare_entries(entry->monitor, monitor);
		if (order == 0)
			return entry->selected && entry->monitor->hash == monitor->hash;
		if (order > 0)
			return false;
		++*at;
	}
	return false;
}

static void log_findings(const struct log *log, const struct monitor *monitor, size_t *lines)
{
	for (size_t i = 0; i < monitor->finding_count; i++) {
		const struct monitor_finding *finding = &monitor->findings[i];
		if (++*lines <= LINES_MAX)
			log_warn(log, "%s %s/%s: %s: %s (%s)", monitor_kind_name(monitor->kind),
				escape_bytes(monitor->namespace_).text, escape_bytes(monitor->name).text,
				finding->field, finding->reason, monitor_effect_name(finding->effect));
	}
}

static void log_none(struct monitors *monitors, const struct monitor_set *set)
{
	static const char *const selectors[MONITOR_KINDS] = {
		"service_monitor_selector", "pod_monitor_selector", "scrape_config_selector"};
	for (size_t i = 0; i < MONITOR_KINDS; i++) {
		bool none = set->totals[i] > 0 && set->selected[i] == 0;
		if (none && !monitors->said_none[i])
			log_warn(&monitors->core->log,
				"0 of %zu %ss are selected by monitors.%s and the namespaces' selectors",
				set->totals[i], monitor_kind_name((enum monitor_kind)i), selectors[i]);
		monitors->said_none[i] = none;
	}
}

static void log_first(const struct monitors *monitors, const struct monitor_set *set)
{
	struct buf text;
	buf_init(&text, 1000);
	for (size_t i = 0; i < MONITOR_KINDS; i++)
		if (monitors->lists[i])
			buf_printf(&text, "%zu of %zu %ss, ", set->selected[i], set->totals[i],
				monitor_kind_name((enum monitor_kind)i));
	log_info(&monitors->core->log, "monitors are followed: %.*s%zu Services known", SPAN_ARGS(buf_view(&text)),
		set->service_count);
	buf_done(&text);
}

void monitors_log_set(struct monitors *monitors, const struct monitor_set *before, const struct monitor_set *set)
{
	const struct log *log = &monitors->core->log;
	size_t at = 0, lines = 0;
	if (!monitors->complete)
		log_first(monitors, set);
	log_none(monitors, set);
	for (size_t i = 0; i < set->entry_count; i++) {
		const struct monitor_entry *entry = &set->entries[i];
		if (entry->selected && entry->monitor->finding_count > 0 && !is_known(before, &at, entry->monitor))
			log_findings(log, entry->monitor, &lines);
	}
	if (lines > LINES_MAX)
		log_warn(log, "%zu more fields of monitors are not honoured: `gleaner explain`, /api/v1/monitors",
			lines - LINES_MAX);
}

/* ---- sums -------------------------------------------------------------------------------- */

enum { STATES = KUBE_WATCH_ABSENT + 1 };

/* Of one resource: its list, or those of all namespaces. */
struct sums {
	struct monitors_past past; /* and present */
	size_t objects, watches, states[STATES];
};

static void add(struct sums *sums, const struct monitors_list *list)
{
	struct kube_watch_stats stats;
	kube_watch_stats(list->watch, &stats);
	sums->watches++;
	sums->states[stats.state]++;
	sums->objects += stats.objects;
	sums->past.requests += stats.requests;
	sums->past.lists += stats.lists;
	sums->past.bytes += stats.bytes;
	sums->past.events += stats.events;
	sums->past.failures += stats.failures;
	sums->past.oversized += stats.oversized;
}

static struct sums sums_of(const struct monitors *monitors, enum monitor_resource resource)
{
	struct sums sums = {0};
	const struct map_slot *slot;
	if (!monitors)
		return sums;
	sums.past = monitors->past[resource];
	if (monitors->lists[resource])
		add(&sums, monitors->lists[resource]);
	for (size_t i = 0; resource == MONITOR_SERVICES && (slot = map_next(&monitors->namespaces, &i));)
		add(&sums, slot->value);
	return sums;
}

/* ---- /metrics -------------------------------------------------------------------------------- */

static void api_metrics(const struct core *core, struct buf *page)
{
	struct kube_api_stats stats = {0};
	if (core->sources && core->sources->api)
		kube_api_stats(core->sources->api, &stats);
	const struct {
		const char *name, *help;
		uint64_t value;
	} rows[] = {
		{"gleaner_api_requests_total", "Requests to the API server, watches included.", stats.requests},
		{"gleaner_api_received_bytes_total", "Bytes of its answers, as on the wire.", stats.bytes},
		{"gleaner_api_unauthorized_total", "Of the answers, 401.", stats.unauthorized},
		{"gleaner_api_throttled_total", "Of the answers, 429.", stats.too_many},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		metrics_family(page, rows[i].name, "counter", rows[i].help);
		metrics_sample(page, rows[i].name, "", (double)rows[i].value);
	}
}

static void watch_counters(const struct sums *sums, struct buf *page)
{
#define FIELD(field) offsetof(struct sums, field)
	static const struct {
		const char *name, *help;
		size_t offset;
	} rows[] = {
		{"gleaner_watch_requests_total", "Lists and watches asked of the API server, by resource.",
			FIELD(past.requests)},
		{"gleaner_watch_lists_total", "Times that all objects were read, by resource.", FIELD(past.lists)},
		{"gleaner_watch_received_bytes_total", "Bytes of lists and watches, as on the wire, by resource.",
			FIELD(past.bytes)},
		{"gleaner_watch_events_total", "Changes told, by resource.", FIELD(past.events)},
		{"gleaner_watch_failures_total", "Lists and watches that failed, by resource.", FIELD(past.failures)},
		{"gleaner_watch_oversized_total",
			"Objects too large to be read and left out, by resource: changes above 4 MiB, trees above 16 "
			"MiB.",
			FIELD(past.oversized)},
	};
#undef FIELD
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		metrics_family(page, rows[i].name, "counter", rows[i].help);
		for (size_t j = 0; j < MONITOR_RESOURCES; j++) {
			char labels[64];
			uint64_t value;
			memcpy(&value, (const char *)&sums[j] + rows[i].offset, sizeof(value));
			snprintf(labels, sizeof(labels), "resource=\"%s\"",
				monitors_resource_name((enum monitor_resource)j));
			if (sums[j].watches > 0 || value > 0)
				metrics_sample(page, rows[i].name, labels, (double)value);
		}
	}
}

void monitors_metrics(const struct core *core, struct buf *page)
{
	struct sums sums[MONITOR_RESOURCES];
	char labels[96];
	for (size_t i = 0; i < MONITOR_RESOURCES; i++)
		sums[i] = sums_of(core->monitors, (enum monitor_resource)i);
	monitor_set_metrics(discover_monitor_set(core->discover), page);
	metrics_family(page, "gleaner_watch_objects", "gauge", "Objects known of the API server, by resource.");
	for (size_t i = 0; i < MONITOR_RESOURCES; i++) {
		if (sums[i].watches == 0)
			continue;
		snprintf(labels, sizeof(labels), "resource=\"%s\"", monitors_resource_name((enum monitor_resource)i));
		metrics_sample(page, "gleaner_watch_objects", labels, (double)sums[i].objects);
	}
	metrics_family(page, "gleaner_watches", "gauge", "Watched lists, by resource and state.");
	for (size_t i = 0; i < MONITOR_RESOURCES; i++) {
		for (size_t j = 0; j < STATES && sums[i].watches > 0; j++) {
			snprintf(labels, sizeof(labels), "resource=\"%s\",state=\"%s\"",
				monitors_resource_name((enum monitor_resource)i),
				kube_watch_state_name((enum kube_watch_state)j));
			metrics_sample(page, "gleaner_watches", labels, (double)sums[i].states[j]);
		}
	}
	watch_counters(sums, page);
	api_metrics(core, page);
}

/* ---- /api/v1/monitors ------------------------------------------------------------------------- */

static void json_time(struct buf *out, const char *key, uint64_t wall_ns)
{
	struct time_text time = {"0001-01-01T00:00:00Z"};
	if (wall_ns > 0)
		time_format(wall_ns, &time);
	pages_json(out, key, span_str(time.text));
}

static void json_list(struct buf *out, const struct monitors_list *list, size_t *count)
{
	struct kube_watch_stats stats;
	if (!list)
		return;
	kube_watch_stats(list->watch, &stats);
	buf_printf(out,
		"%s{\"objects\":%zu,\"requests\":%llu,\"lists\":%llu,\"receivedBytes\":%llu,\"events\":%llu,"
		"\"failures\":%llu",
		(*count)++ > 0 ? "," : "", stats.objects, (unsigned long long)stats.requests,
		(unsigned long long)stats.lists, (unsigned long long)stats.bytes, (unsigned long long)stats.events,
		(unsigned long long)stats.failures);
	pages_json(out, "resource", span_str(monitors_resource_name(list->resource)));
	if (list->namespace_)
		pages_json(out, "namespace", span_str(list->namespace_));
	pages_json(out, "state", span_str(kube_watch_state_name(stats.state)));
	json_time(out, "lastSync", stats.last_sync_wall_ns);
	json_time(out, "lastEvent", stats.last_event_wall_ns);
	pages_json(out, "lastError", span_str(stats.last_error.text));
	buf_char(out, '}');
}

void monitors_json(const struct core *core, struct buf *out)
{
	const struct monitors *monitors = core->monitors;
	const struct monitor_set *set = discover_monitor_set(core->discover);
	const struct map_slot *slot;
	size_t count = 0;
	buf_printf(out, "{\"status\":\"success\",\"data\":{\"followed\":%s,\"complete\":%s",
		monitors && monitors->store ? "true" : "false", monitors && monitors->complete ? "true" : "false");
	if (monitors && monitors->why_not.text[0])
		pages_json(out, "reason", span_str(monitors->why_not.text));
	rights_json(core->rights, out);
	buf_str(out, ",\"watches\":[");
	for (size_t i = 0; monitors && i < MONITOR_RESOURCES; i++)
		json_list(out, monitors->lists[i], &count);
	for (size_t i = 0; monitors && (slot = map_next(&monitors->namespaces, &i));)
		json_list(out, slot->value, &count);
	buf_printf(out, "],\"services\":%zu,\"monitors\":", set ? set->service_count : 0);
	if (set)
		monitor_set_json(set, out);
	else
		buf_str(out, "[]");
	buf_str(out, "}}\n");
}

/* ---- /targets ------------------------------------------------------------------------------------ */

static void html_counts(const struct monitor_set *set, struct buf *out)
{
	buf_str(out, "<p>");
	for (size_t i = 0; i < MONITOR_KINDS; i++)
		buf_printf(out, "%zu of %zu %ss are selected. ", set->selected[i], set->totals[i],
			monitor_kind_name((enum monitor_kind)i));
	buf_printf(out, "%zu Services are known. More: <a href=\"/api/v1/monitors\">/api/v1/monitors</a>.</p>\n",
		set->service_count);
}

static void html_list(struct buf *out, const struct monitors_list *list)
{
	struct kube_watch_stats stats;
	if (!list)
		return;
	kube_watch_stats(list->watch, &stats);
	buf_printf(out, "<tr><td>%s", monitors_resource_name(list->resource));
	if (list->namespace_) {
		buf_str(out, " of ");
		pages_html(out, span_str(list->namespace_));
	}
	buf_printf(out,
		"</td><td>%s</td><td class=\"n\">%zu</td><td class=\"n\">%llu</td><td class=\"n\">%llu</td><td>",
		kube_watch_state_name(stats.state), stats.objects, (unsigned long long)stats.requests,
		(unsigned long long)stats.bytes);
	pages_html(out, span_str(stats.last_error.text));
	buf_str(out, "</td></tr>\n");
}

void monitors_html(const struct core *core, struct buf *out)
{
	const struct monitors *monitors = core->monitors;
	const struct monitor_set *set = discover_monitor_set(core->discover);
	const struct map_slot *slot;
	if (!monitors || (!monitors->store && !set))
		return;
	buf_str(out, "<h2>Monitors</h2>");
	if (set)
		html_counts(set, out);
	else
		buf_str(out, "<p>None are known yet.</p>\n");
	buf_str(out, "<table><thead><tr><th>Watched</th><th>State</th><th>Objects</th><th>Requests</th><th>Bytes</th>"
		     "<th>Error</th></tr></thead><tbody>\n");
	for (size_t i = 0; i < MONITOR_RESOURCES; i++)
		html_list(out, monitors->lists[i]);
	for (size_t i = 0; (slot = map_next(&monitors->namespaces, &i));)
		html_list(out, slot->value);
	buf_str(out, "</tbody></table>\n");
}
