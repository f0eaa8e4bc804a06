/* The watches that monitors need, and what they tell: into the store.
 *
 * services.scope: cluster has one list of all Services. node-namespaces has one for each namespace with a pod of this node that a selected
 * monitor may reach; it ends a minute after the last such pod has gone, so that a pod that is replaced costs no new list.
 */
#include "monitors.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

#define LINGER_NS   (60 * NS_PER_SEC)
#define LOG_FAIL_NS (30 * NS_PER_SEC)

static const struct kube_resource resources[MONITOR_RESOURCES] = {
	[MONITOR_SERVICE_MONITORS] = {"monitoring.coreos.com", "v1", "servicemonitors"},
	[MONITOR_POD_MONITORS] = {"monitoring.coreos.com", "v1", "podmonitors"},
	[MONITOR_SCRAPE_CONFIGS] = {"monitoring.coreos.com", "v1alpha1", "scrapeconfigs"},
	[MONITOR_SERVICES] = {"", "v1", "services"},
	[MONITOR_NAMESPACES] = {"", "v1", "namespaces"},
};

const char *monitors_resource_name(enum monitor_resource resource)
{
	return resources[resource].name;
}

/* ---- what they tell -------------------------------------------------------------------- */

static int on_upsert(void *arg, const struct kube_object *object)
{
	struct monitors_list *list = arg;
	struct monitors *monitors = list->monitors;
	struct error err = {""};
	int result = monitor_store_put(monitors->store, list->resource, object->json, &err);
	if (result > 0)
		monitors_changed(monitors);
	if (result < 0 && log_allowed(&monitors->refused_log, clock_mono(&monitors->core->clock)))
		log_warn(&monitors->core->log, "%s %s/%s: %s; what was known of it stays",
			monitors_resource_name(list->resource), escape_bytes(object->namespace_).text,
			escape_bytes(object->name).text, err.text[0] ? err.text : strerror(-result));
	return result == -ENOMEM ? result : 0;
}

static void on_removed(void *arg, struct span uid)
{
	struct monitors_list *list = arg;
	if (monitor_store_remove(list->monitors->store, list->resource, uid))
		monitors_changed(list->monitors);
}

static void settle(struct monitors_list *list)
{
	if (list->settled)
		return;
	list->settled = true;
	monitors_changed(list->monitors);
}

static void on_synced(void *arg)
{
	settle(arg);
}

static void say(struct monitors_list *list, enum kube_watch_state state, const struct error *err)
{
	const struct log *log = &list->monitors->core->log;
	const char *name = monitors_resource_name(list->resource), *of = list->namespace_ ? " of " : "",
		   *where = list->namespace_ ? list->namespace_ : "";
	bool again = list->said == state;
	list->said = state;
	if (state == KUBE_WATCH_SYNCED && !again)
		log_info(log, "%s%s%s: all are known again", name, of, where);
	if (state == KUBE_WATCH_SYNCED || state == KUBE_WATCH_STARTING ||
		!log_allowed(&list->failures_log, clock_mono(&list->monitors->core->clock)))
		return;
	if (state == KUBE_WATCH_ABSENT && !again)
		log_warn(log, "%s: the cluster does not have them (their CustomResourceDefinition is not installed)",
			name);
	else if (state != KUBE_WATCH_ABSENT)
		log_warn(log, "%s%s%s: %s; no target is lost by that", name, of, where, err->text);
}

static void on_state(void *arg, enum kube_watch_state state, const struct error *err)
{
	struct monitors_list *list = arg;
	if (state != KUBE_WATCH_SYNCED || list->failed)
		say(list, state, err);
	list->failed = state != KUBE_WATCH_SYNCED && state != KUBE_WATCH_STARTING;
	if (state == KUBE_WATCH_FORBIDDEN || state == KUBE_WATCH_ABSENT)
		settle(list);
}

/* ---- one list ------------------------------------------------------------------------------ */

static void close_list(struct monitors_list *list)
{
	struct monitors_past *past = &list->monitors->past[list->resource];
	if (list->watch) {
		struct kube_watch_stats stats;
		kube_watch_stats(list->watch, &stats);
		past->requests += stats.requests;
		past->lists += stats.lists;
		past->bytes += stats.bytes;
		past->events += stats.events;
		past->failures += stats.failures;
		past->oversized += stats.oversized;
	}
	kube_watch_free(list->watch);
	free(list->namespace_);
	free(list);
}

/* namespace_ empty: everywhere. */
static int open_list(struct monitors *monitors, enum monitor_resource resource, struct span namespace_,
	struct monitors_list **ret_list, struct error *err)
{
	struct monitors_list *list = calloc(1, sizeof(*list));
	if (!list)
		return error_set(err, ENOMEM, "out of memory");
	list->monitors = monitors;
	list->resource = resource;
	list->said = KUBE_WATCH_SYNCED;
	list->failures_log.interval_ns = LOG_FAIL_NS;
	if (namespace_.len > 0)
		list->namespace_ = strndup(namespace_.ptr, namespace_.len);
	struct kube_watch_options options = {.resource = resources[resource],
		.namespace_ = list->namespace_,
		.large = resource == MONITOR_SERVICES && !list->namespace_};
	struct kube_watch_events events = {on_upsert, on_removed, on_synced, on_state, list};
	int result = namespace_.len > 0 && !list->namespace_
			     ? error_set(err, ENOMEM, "out of memory")
			     : kube_watch_new(monitors->core->sources->api, &options, events, &list->watch, err);
	if (result < 0)
		close_list(list);
	else
		*ret_list = list;
	return result;
}

/* ---- those that nobody needs any more ---------------------------------------------------- */

static struct monitors_list *next_unused(const struct monitors *monitors)
{
	const struct map_slot *slot;
	struct monitors_list *first = NULL;
	for (size_t i = 0; (slot = map_next(&monitors->namespaces, &i));) {
		struct monitors_list *list = slot->value;
		if (list->unused_since_ns > 0 && (!first || list->unused_since_ns < first->unused_since_ns))
			first = list;
	}
	return first;
}

static void linger_due(void *arg)
{
	struct monitors *monitors = arg;
	uint64_t now = clock_mono(&monitors->core->clock);
	struct monitors_list *list;
	while ((list = next_unused(monitors)) && list->unused_since_ns + LINGER_NS <= now) {
		struct span name = span_str(list->namespace_);
		map_remove(&monitors->namespaces, name);
		if (monitor_store_forget(monitors->store, MONITOR_SERVICES, name))
			monitors_changed(monitors);
		close_list(list);
	}
	if (list)
		loop_timer_set(monitors->linger, list->unused_since_ns + LINGER_NS - now);
}

/* ---- those of the whole cluster --------------------------------------------------------------- */

int monitors_open_lists(struct monitors *monitors, struct error *err)
{
	const struct monitor_options *options = &monitors->settings->monitors;
	const bool needed[MONITOR_RESOURCES] = {
		[MONITOR_SERVICE_MONITORS] = options->service_monitors_given,
		[MONITOR_POD_MONITORS] = options->pod_monitors_given,
		[MONITOR_SCRAPE_CONFIGS] = options->scrape_configs_given,
		[MONITOR_SERVICES] =
			options->service_monitors_given && options->services.scope == MONITOR_SCOPE_CLUSTER,
		[MONITOR_NAMESPACES] = monitor_options_need_namespaces(options),
	};
	int result =
		monitors->linger ? 0 : loop_timer_new(monitors->core->loop, linger_due, monitors, &monitors->linger);
	if (result < 0)
		return error_set(err, -result, "out of memory");
	for (size_t i = 0; i < MONITOR_RESOURCES && result == 0; i++)
		if (needed[i])
			result = open_list(monitors, (enum monitor_resource)i, SPAN_NONE, &monitors->lists[i], err);
	return result;
}

void monitors_close_lists(struct monitors *monitors)
{
	const struct map_slot *slot;
	for (size_t i = 0; i < MONITOR_RESOURCES; i++) {
		if (monitors->lists[i])
			close_list(monitors->lists[i]);
		monitors->lists[i] = NULL;
	}
	for (size_t i = 0; (slot = map_next(&monitors->namespaces, &i));)
		close_list(slot->value);
	map_clear(&monitors->namespaces);
}

bool monitors_lists_settled(const struct monitors *monitors)
{
	for (size_t i = 0; i < MONITOR_RESOURCES; i++)
		if (monitors->lists[i] && !monitors->lists[i]->settled)
			return false;
	return true;
}

bool monitors_namespaces_settled(const struct monitors *monitors)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&monitors->namespaces, &i));)
		if (!((const struct monitors_list *)slot->value)->settled)
			return false;
	return true;
}

/* ---- those of namespaces ------------------------------------------------------------------------ */

static int want(struct monitors *monitors, const struct monitor_set *set, struct span name, struct error *err)
{
	struct monitors_list *list = map_get(&monitors->namespaces, name);
	if (list ? list->wanted : name.len == 0)
		return 0;
	if (!monitor_set_reaches(set, name))
		return 0;
	if (!list) {
		int result = open_list(monitors, MONITOR_SERVICES, name, &list, err);
		if (result == 0)
			result = map_put(&monitors->namespaces, span_str(list->namespace_), list);
		if (result < 0) {
			if (list)
				close_list(list);
			return err->text[0] ? result : error_set(err, -result, "%s", strerror(-result));
		}
	}
	list->wanted = true;
	list->unused_since_ns = 0;
	return 0;
}

/* Begins to wait where nothing is wanted. */
static void let_linger(struct monitors *monitors)
{
	uint64_t now = clock_mono(&monitors->core->clock);
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&monitors->namespaces, &i));) {
		struct monitors_list *list = slot->value;
		if (!list->wanted && list->unused_since_ns == 0)
			list->unused_since_ns = now;
	}
	struct monitors_list *first = next_unused(monitors);
	if (first)
		loop_timer_set(monitors->linger, first->unused_since_ns + LINGER_NS - now);
	else
		loop_timer_cancel(monitors->linger);
}

int monitors_follow_namespaces(struct monitors *monitors, const struct monitor_set *set, struct error *err)
{
	const struct map_slot *slot;
	int result = 0;
	for (size_t i = 0; (slot = map_next(&monitors->namespaces, &i));)
		((struct monitors_list *)slot->value)->wanted = false;
	for (size_t i = 0; monitors->pods && i < monitors->pods->count && result == 0; i++)
		result = want(monitors, set, monitors->pods->items[i].namespace_, err);
	if (result == 0 && monitors->settings->monitors.kubelet_service)
		result = want(monitors, set, SPAN("kube-system"), err);
	if (result < 0)
		return result;
	let_linger(monitors);
	return 0;
}
