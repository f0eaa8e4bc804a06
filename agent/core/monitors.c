/* From watched lists to discovery.
 *
 *   an object comes -> monitor_store -> 200 ms without another one, at most 1 s -> monitor_set -> discover_monitors
 *
 * Discovery is told of the first set when every list is complete, or was refused: no target comes and goes at the start. From then on it
 * has what the lists last told, through every outage. Other settings make another store and other lists; discovery keeps the set of the
 * old ones until the new ones are complete.
 */
#include "monitors.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

#define QUIET_NS (200 * NS_PER_MS)
#define LATE_NS  NS_PER_SEC
#define AGAIN_NS NS_PER_SEC

enum { NAMESPACES_MAX = 4096 }; /* with lists of their own */

/* ---- telling ------------------------------------------------------------------------- */

void monitors_changed(struct monitors *monitors)
{
	uint64_t now = clock_mono(&monitors->core->clock);
	if (monitors->changed_ns == 0)
		monitors->changed_ns = now;
	uint64_t latest = monitors->changed_ns + LATE_NS;
	uint64_t wait = latest > now ? latest - now : 0;
	loop_timer_set(monitors->build, wait < QUIET_NS ? wait : QUIET_NS);
}

static bool by_namespace(const struct settings *settings)
{
	return settings->monitors.services.scope == MONITOR_SCOPE_NODE_NAMESPACES;
}

static int tell(struct monitors *monitors, struct monitor_set *set)
{
	struct discover *discover = monitors->core->discover;
	struct monitor_set *before = discover_monitor_set(discover);
	before = before ? monitor_set_ref(before) : NULL;
	int result = discover_monitors(discover, set);
	if (result == 0) {
		monitors_log_set(monitors, before, set);
		monitors->complete = true;
	}
	monitor_set_unref(before);
	if (result == 0 && monitors->told != monitors->settings) {
		settings_free(monitors->told);
		monitors->told = settings_ref(monitors->settings);
	}
	return result;
}

/* The set goes to discovery, unless Services that it needs are on their way. */
static int review(struct monitors *monitors, struct error *err)
{
	struct monitor_set *set;
	size_t targets = monitors->core->targets.count;
	int result = monitor_store_build(monitors->store, &set);
	if (result < 0)
		return error_set(err, -result, "out of memory");
	if (by_namespace(monitors->settings))
		result = monitors_follow_namespaces(monitors, set, err);
	if (result == 0 && (monitors->complete || monitors_namespaces_settled(monitors))) {
		result = tell(monitors, set);
		if (result < 0)
			error_set(err, -result, "out of memory");
	}
	monitor_set_unref(set);
	if (monitors->core->targets.count != targets)
		log_info(&monitors->core->log, "monitors or Services changed: %zu targets",
			monitors->core->targets.count);
	return result;
}

static void build_due(void *arg)
{
	struct monitors *monitors = arg;
	struct error err = {""};
	monitors->changed_ns = 0;
	if (!monitors->store || !monitors_lists_settled(monitors) || review(monitors, &err) == 0)
		return;
	log_error(&monitors->core->log, "monitors: %s; the targets stay as they are", err.text);
	loop_timer_set(monitors->build, AGAIN_NS);
}

void monitors_pods(struct monitors *monitors, struct kube_pods *pods)
{
	if (!monitors)
		return;
	kube_pods_unref(monitors->pods);
	monitors->pods = pods ? kube_pods_ref(pods) : NULL;
	if (monitors->store && by_namespace(monitors->settings))
		monitors_changed(monitors);
}

/* ---- life ----------------------------------------------------------------------------- */

/* Discovery knows of none from now on. */
static void tell_none(struct monitors *monitors)
{
	if (!monitors->told)
		return;
	if (discover_monitors(monitors->core->discover, NULL) < 0) {
		log_error(&monitors->core->log, "out of memory: the monitors' targets stay as they are");
		return;
	}
	settings_free(monitors->told);
	monitors->told = NULL;
}

static void let_go(struct monitors *monitors)
{
	monitors_close_lists(monitors);
	monitor_store_free(monitors->store);
	monitors->store = NULL;
	settings_free(monitors->settings);
	monitors->settings = NULL;
	monitors->complete = false;
	monitors->changed_ns = 0;
	memset(monitors->said_none, 0, sizeof(monitors->said_none));
	if (monitors->build)
		loop_timer_cancel(monitors->build);
}

/* Why the settings follow nothing; whether that has to be said. */
static bool why_not(const struct core *core, struct error *ret_why)
{
	const struct monitor_options *options = &core->settings->monitors;
	if (!options->enabled) {
		error_set(ret_why, EINVAL, "monitors.enabled is false%s",
			options->enabled_given ? "" : ": no selector is given");
		return false;
	}
	if (!options->service_monitors_given && !options->pod_monitors_given && !options->scrape_configs_given)
		error_set(ret_why, EINVAL, "no selector is given (monitors.service_monitor_selector: {} selects all)");
	else if (!core->sources || !core->sources->api)
		error_set(ret_why, ENOTCONN,
			"no API server is known (KUBERNETES_SERVICE_HOST is not in the environment, and "
			"kubernetes.api_server is not set)");
	return ret_why->text[0] != '\0';
}

/* Begins with what the present settings ask for. */
static int follow(struct monitors *monitors, struct error *err)
{
	struct core *core = monitors->core;
	monitors->why_not = (struct error){""};
	if (why_not(core, &monitors->why_not))
		log_warn(&core->log, "monitors are not followed: %s", monitors->why_not.text);
	if (monitors->why_not.text[0]) {
		tell_none(monitors);
		return 0;
	}
	int result = monitor_store_new(&core->settings->monitors, &monitors->store);
	if (result < 0)
		return error_set(err, -result, "out of memory");
	monitors->settings = settings_ref(core->settings);
	return monitors_open_lists(monitors, err);
}

int monitors_start(struct core *core, struct error *err)
{
	struct monitors *monitors = calloc(1, sizeof(*monitors));
	if (!monitors)
		return error_set(err, ENOMEM, "out of memory");
	core->monitors = monitors;
	monitors->core = core;
	monitors->refused_log.interval_ns = 30 * NS_PER_SEC;
	map_init(&monitors->namespaces, NAMESPACES_MAX);
	int result = loop_timer_new(core->loop, build_due, monitors, &monitors->build);
	if (result < 0)
		return error_set(err, -result, "out of memory");
	result = follow(monitors, err);
	return result < 0 ? error_wrap(err, -result, "monitors") : 0;
}

void monitors_free(struct monitors *monitors)
{
	if (!monitors)
		return;
	let_go(monitors);
	map_done(&monitors->namespaces);
	kube_pods_unref(monitors->pods);
	loop_timer_free(monitors->build);
	loop_timer_free(monitors->linger);
	settings_free(monitors->told);
	free(monitors);
}

void monitors_disconnect(struct monitors *monitors)
{
	if (monitors)
		let_go(monitors);
}

void monitors_configured(struct core *core)
{
	struct monitors *monitors = core->monitors;
	struct error err = {""};
	if (monitors->settings && settings_same(monitors->settings, core->settings, "monitors"))
		return;
	let_go(monitors);
	if (follow(monitors, &err) == 0)
		return;
	let_go(monitors);
	monitors->why_not = err;
	log_error(&core->log, "monitors: %s; those known stay, until the next reload nothing is learnt of others",
		err.text);
}

/* ---- ready ------------------------------------------------------------------------------ */

static bool is_missing(const struct monitors_list *list)
{
	return list && !list->settled && !list->failed;
}

bool monitors_ready(const struct monitors *monitors, struct buf *out)
{
	if (!monitors || !monitors->store || monitors->complete)
		return true;
	for (size_t i = 0; i < MONITOR_RESOURCES; i++) {
		if (!is_missing(monitors->lists[i]))
			continue;
		buf_printf(out, "the API server has not told its %s yet",
			monitors_resource_name((enum monitor_resource)i));
		return false;
	}
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&monitors->namespaces, &i));) {
		if (!is_missing(slot->value))
			continue;
		buf_printf(out, "the API server has not told the services of %.*s yet", SPAN_ARGS(slot->key));
		return false;
	}
	/* A list was asked in vain: the agent is as ready as it gets. Or all are here, and discovery is told in a moment. */
	if (!monitors_lists_settled(monitors) || !monitors_namespaces_settled(monitors))
		return true;
	buf_str(out, "the first monitors are on their way");
	return false;
}
