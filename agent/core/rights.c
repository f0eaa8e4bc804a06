/* Missing rights, said before anybody wonders: each is a target that does not appear.
 *
 * A few seconds after the start and after a reload, when it is known which lists came, the API server is asked for the rest. What is
 * missing is logged as the YAML to add. That is all that follows: a source or list that is refused is asked again by itself.
 */
#include "rights.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

#define AFTER_NS (5 * NS_PER_SEC)
#define AGAIN_NS (60 * NS_PER_SEC)
#define NAME     "gleaner-missing"

/* ---- what is needed ----------------------------------------------------------------------- */

size_t rights_rules(const struct rights_doubts *doubts, struct kube_rule rules[RIGHTS_RULES_MAX])
{
	static const struct kube_rule listed[MONITOR_RESOURCES] = {
		[MONITOR_SERVICE_MONITORS] = {.group = "monitoring.coreos.com", .resource = "servicemonitors"},
		[MONITOR_POD_MONITORS] = {.group = "monitoring.coreos.com", .resource = "podmonitors"},
		[MONITOR_SCRAPE_CONFIGS] = {.group = "monitoring.coreos.com", .resource = "scrapeconfigs"},
		[MONITOR_SERVICES] = {.group = "", .resource = "services"},
		[MONITOR_NAMESPACES] = {.group = "", .resource = "namespaces"},
	};
	static const char *const verbs[] = {"list", "watch"};
	const struct kube_rule pods = {.group = "", .resource = "pods"};
	size_t count = 0;
	if (doubts->kubelet_pods)
		rules[count++] = (struct kube_rule){"", "nodes", "pods", "get", NULL};
	if (doubts->kubelet_metrics)
		rules[count++] = (struct kube_rule){"", "nodes", "metrics", "get", NULL};
	for (size_t i = 0; i <= MONITOR_RESOURCES; i++) {
		bool doubted = i < MONITOR_RESOURCES ? doubts->resources[i] : doubts->api_pods;
		for (size_t j = 0; doubted && j < ARRAY_SIZE(verbs); j++) {
			rules[count] = i < MONITOR_RESOURCES ? listed[i] : pods;
			rules[count++].verb = verbs[j];
		}
	}
	return count;
}

static void doubt_pods(const struct core *core, struct rights_doubts *doubts)
{
	struct kube_source_stats stats = {0};
	if (core->sources->source)
		kube_source_stats(core->sources->source, &stats);
	for (size_t i = 0; i < stats.count; i++) {
		bool answered = stats.sources[i].stats.last_success_wall_ns > 0;
		bool used = stats.sources[i].state != KUBE_SOURCE_STANDBY;
		if (strcmp(stats.sources[i].name, "kubelet") == 0)
			doubts->kubelet_pods = used && !answered;
		if (strcmp(stats.sources[i].name, "api-server") == 0)
			doubts->api_pods = used && !answered;
	}
}

static bool is_synced(const struct monitors_list *list)
{
	struct kube_watch_stats stats;
	kube_watch_stats(list->watch, &stats);
	return stats.state == KUBE_WATCH_SYNCED;
}

static void doubt_lists(const struct monitors *monitors, struct rights_doubts *doubts)
{
	const struct map_slot *slot;
	if (!monitors)
		return;
	for (size_t i = 0; i < MONITOR_RESOURCES; i++)
		doubts->resources[i] = monitors->lists[i] && !is_synced(monitors->lists[i]);
	for (size_t i = 0; (slot = map_next(&monitors->namespaces, &i));)
		if (!is_synced(slot->value))
			doubts->resources[MONITOR_SERVICES] = true;
}

/* ---- asking ------------------------------------------------------------------------------------ */

static void failed(struct rights *rights, const struct error *err)
{
	if (!rights->failed)
		log_info(
			&rights->core->log, "which rights are missing could not be learnt: %s; asked again", err->text);
	rights->failed = true;
	loop_timer_set(rights->timer, AGAIN_NS);
}

/* A line of YAML is a line of the log, so that people can read it. */
static void log_missing(const struct rights *rights)
{
	const struct log *log = &rights->core->log;
	struct buf yaml;
	struct span rest, line;
	buf_init(&yaml, 65536);
	kube_rules_yaml(rights->rules, rights->missing, rights->count, NAME, &yaml);
	log_warn(log,
		"the ServiceAccount lacks %zu rights that this configuration needs; to be added, and bound to it:",
		rights->missing_count);
	rest = buf_view(&yaml);
	while (span_next(&rest, '\n', &line))
		if (line.len > 0)
			log_warn(log, "  %.*s", SPAN_ARGS(line));
	buf_done(&yaml);
}

static void answered(void *arg, const bool *missing, const struct error *err)
{
	struct rights *rights = arg;
	size_t count = 0;
	for (size_t i = 0; missing && i < rights->count; i++) {
		rights->missing[i] = missing[i];
		count += missing[i];
	}
	struct error why = *err;
	bool learnt = missing != NULL;
	kube_review_free(rights->review);
	rights->review = NULL;
	if (!learnt) {
		failed(rights, &why);
		return;
	}
	rights->failed = false;
	rights->missing_count = count;
	if (count > 0)
		log_missing(rights);
}

static void ask(void *arg)
{
	struct rights *rights = arg;
	struct core *core = rights->core;
	struct rights_doubts doubts = {.kubelet_metrics = core->settings->kubelet.metrics.count > 0};
	struct error err = {""};
	if (!core->sources || !core->sources->api || rights->review)
		return;
	doubt_pods(core, &doubts);
	doubt_lists(core->monitors, &doubts);
	rights->missing_count = 0;
	rights->count = rights_rules(&doubts, rights->rules);
	if (rights->count > 0 && kube_api_may(core->sources->api, rights->rules, rights->count, answered, rights,
					 &rights->review, &err) < 0)
		failed(rights, &err);
}

/* ---- life ---------------------------------------------------------------------------------------- */

int rights_start(struct core *core)
{
	struct rights *rights = calloc(1, sizeof(*rights));
	if (!rights)
		return -ENOMEM;
	core->rights = rights;
	rights->core = core;
	int result = loop_timer_new(core->loop, ask, rights, &rights->timer);
	if (result == 0)
		rights_configured(core);
	return result;
}

void rights_free(struct rights *rights)
{
	if (!rights)
		return;
	kube_review_free(rights->review);
	loop_timer_free(rights->timer);
	free(rights);
}

void rights_disconnect(struct rights *rights)
{
	if (!rights)
		return;
	kube_review_free(rights->review);
	rights->review = NULL;
}

void rights_configured(struct core *core)
{
	loop_timer_set(core->rights->timer, AFTER_NS + core->settings->kubernetes.startup_jitter_ns);
}

/* ---- what is shown of them ----------------------------------------------------------------------- */

void rights_metrics(const struct rights *rights, struct buf *page)
{
	metrics_family(page, "gleaner_missing_rights", "gauge",
		"Rights that the configuration needs and the ServiceAccount lacks, as last asked.");
	metrics_sample(page, "gleaner_missing_rights", "", rights ? (double)rights->missing_count : 0);
}

void rights_json(const struct rights *rights, struct buf *out)
{
	struct buf yaml;
	buf_init(&yaml, 65536);
	if (rights && rights->missing_count > 0)
		kube_rules_yaml(rights->rules, rights->missing, rights->count, NAME, &yaml);
	pages_json(out, "missingRights", yaml.len > 0 ? buf_view(&yaml) : SPAN(""));
	buf_done(&yaml);
}
