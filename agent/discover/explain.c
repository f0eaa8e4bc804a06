/* Why a pod is a target of a source, or is not. What came of it is read from the present set; the words for what did not come from the
 * functions that discovery itself asks, so that an explanation cannot say something else than what was done. */
#include <errno.h>

#include "build.h"

struct explain {
	struct build build; /* what is in force */
	const struct kube_pod *pod;
	void (*visit)(void *arg, const struct discover_answer *answer);
	void *arg;
};

/* ---- what came of it ----------------------------------------------------------------------------- */

/* False: the source has nothing to do with the pod. */
static bool read_group(const struct explain *explain, size_t job_index, struct discover_answer *answer)
{
	const struct set *set = explain->build.present;
	const struct group *group = set_group(set, job_index, explain->pod ? explain->pod->uid : SPAN(""));
	if (!group)
		return false;
	answer->asks = true;
	answer->job = group->job;
	answer->targets = group->targets;
	answer->target_count = group->target_count;
	answer->dropped = group->dropped;
	answer->dropped_count = group->dropped_count;
	for (size_t i = 0; i < group->refusal_count && i < DISCOVER_REFUSALS_MAX; i++)
		answer->refusals[answer->refusal_count++] = &group->refusals[i].err;
	if (job_index < set->job_count)
		answer->over_limit = set->over_limit[job_index];
	return true;
}

static bool has_nothing(const struct discover_answer *answer)
{
	return answer->target_count + answer->dropped_count + answer->refusal_count == 0;
}

/* ---- jobs of the configuration ---------------------------------------------------------------------- */

static void words_of_job(const struct explain *explain, const struct plan_job *job, struct discover_answer *answer)
{
	const struct plan *plan = explain->build.plan;
	const struct kube_pod *pod = explain->pod;
	if (!answer->asks)
		error_set(&answer->why, EINVAL, "namespace %s is not among its kubernetes_sd_configs' namespaces",
			escape_bytes(pod->namespace_).text);
	else if (job->annotated)
		answer->asks = annotated_asks(&plan->annotations, pod, &answer->why);
	else if (job->listening && listening_declines(&plan->listen, pod))
		error_set(&answer->why, EINVAL, "%s", listening_declines(&plan->listen, pod));
	else if (job->listening && has_nothing(answer))
		error_set(&answer->why, EINVAL, "no undeclared port of it is known to be open and to have metrics");
	else if (has_nothing(answer))
		error_set(&answer->why, EINVAL, pod->pod_ip.len > 0 ? "it has no containers" : "it has no address yet");
	if (job->listening)
		answer->asks = answer->why.text[0] == '\0';
	answer->near = !answer->asks;
	answer->almost = answer->near && job->annotated && annotated_at_all(&plan->annotations, pod);
}

static void explain_job(const struct explain *explain, size_t at)
{
	const struct plan_job *job = &explain->build.plan->jobs[at];
	struct discover_answer answer = {.source = job->annotated   ? DISCOVER_BY_ANNOTATIONS
						   : job->listening ? DISCOVER_BY_LISTENING
								    : DISCOVER_BY_JOB,
		.job_name = job->job->name};
	bool has = read_group(explain, at, &answer);
	if (!explain->pod) {
		if (has)
			explain->visit(explain->arg, &answer);
		return;
	}
	if (!job->pods && !job->annotated && !job->listening) /* static lists only */
		return;
	words_of_job(explain, job, &answer);
	explain->visit(explain->arg, &answer);
}

/* ---- monitors --------------------------------------------------------------------------------------------- */

/* Whether a Service leads from the monitor to the pod; if not, the one that comes nearest. */
static bool explain_services(
	const struct monitor_set *set, const struct monitor *monitor, const struct kube_pod *pod, struct error *why)
{
	size_t count = 0, behind = 0;
	struct monitor_service *const *services = monitor_set_services(set, pod->namespace_, &count);
	bool chosen_said = false;
	if (!pod_is_endpoint(pod)) {
		error_set(why, EINVAL, pod->pod_ip.len > 0 ? "the pod has ended" : "the pod has no address yet");
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		struct error of_monitor = {{0}}, of_service = {{0}};
		bool chosen = monitor_explain(monitor, services[i]->namespace_, services[i]->labels, &of_monitor);
		bool selects = monitor_service_explain(services[i], pod->labels, &of_service);
		struct escaped name = escape_bytes(services[i]->name);
		if (chosen && selects)
			return true;
		if (chosen && !chosen_said)
			error_set(why, EINVAL, "Service %s, which it selects, does not select the pod: %s", name.text,
				of_service.text);
		else if (selects && !chosen_said && behind == 0)
			error_set(why, EINVAL, "it does not select Service %s, which selects the pod: %s", name.text,
				of_monitor.text);
		chosen_said |= chosen;
		behind += selects;
	}
	if (!chosen_said && behind == 0)
		error_set(why, EINVAL, "none of the %zu Services of namespace %s selects the pod", count,
			escape_bytes(pod->namespace_).text);
	return false;
}

/* Whether the monitor, if it is selected itself, asks for the pod. */
static bool would_ask(
	const struct monitor_set *set, const struct monitor *monitor, const struct kube_pod *pod, struct error *why)
{
	if (monitor->kind == MONITOR_SERVICE_MONITOR && !monitor_reaches(monitor, pod->namespace_))
		return monitor_explain(monitor, pod->namespace_, (struct labels){0}, why);
	if (monitor->kind == MONITOR_SERVICE_MONITOR)
		return explain_services(set, monitor, pod, why);
	if (!monitor->pods) {
		error_set(why, EINVAL, "it selects no pods");
		return false;
	}
	return monitor_explain(monitor, pod->namespace_, pod->labels, why);
}

static void explain_endpoint(
	const struct explain *explain, const struct monitor_entry *entry, size_t at, struct discover_answer *answer)
{
	const struct monitored *monitored = explain->build.monitored;
	const struct monitor_endpoint *endpoint = &entry->monitor->endpoints[at];
	answer->entry = entry;
	answer->endpoint = endpoint;
	answer->job_name = span_str(endpoint->options.job_name);
	if (endpoint->refused) {
		answer->asks = true;
		error_set(&answer->why, EINVAL, "the endpoint is refused because of one of its fields");
		return;
	}
	for (size_t i = 0; i < monitored->job_count; i++) {
		if (monitored->jobs[i].endpoint == endpoint)
			read_group(explain, explain->build.plan->job_count + i, answer);
	}
	if (answer->asks && has_nothing(answer))
		error_set(&answer->why, EINVAL, "%s",
			entry->monitor->kind == MONITOR_SERVICE_MONITOR
				? "no port of the Service leads to a port of the pod"
				: "the pod has no address yet");
}

static void explain_endpoints(const struct explain *explain, const struct monitor_entry *entry)
{
	for (size_t i = 0; i < entry->monitor->endpoint_count; i++) {
		struct discover_answer answer = {.source = DISCOVER_BY_MONITOR};
		explain_endpoint(explain, entry, i, &answer);
		if (explain->pod || (answer.asks && !has_nothing(&answer)))
			explain->visit(explain->arg, &answer);
	}
}

static void explain_monitor(const struct explain *explain, const struct monitor_entry *entry)
{
	const struct monitor *monitor = entry->monitor;
	struct discover_answer answer = {.source = DISCOVER_BY_MONITOR, .entry = entry};
	struct error why = {{0}};
	if (!explain->pod) {
		explain_endpoints(explain, entry);
		return;
	}
	bool would = would_ask(explain->build.monitored->set, monitor, explain->pod, &why);
	if (would && entry->selected && !monitor->rejected) {
		explain_endpoints(explain, entry);
		return;
	}
	answer.near = would || monitor_reaches(monitor, explain->pod->namespace_);
	answer.almost = would && !entry->selected;
	if (answer.almost)
		error_set(
			&answer.why, EINVAL, "it would select the pod, but is not selected itself: %s", entry->why_not);
	else if (monitor->rejected)
		error_set(&answer.why, EINVAL, "the monitor is rejected because of one of its fields");
	else
		answer.why = why;
	explain->visit(explain->arg, &answer);
}

void discover_explain(struct discover *discover, const struct kube_pod *pod, const struct monitor_entry *entry,
	void (*visit)(void *arg, const struct discover_answer *answer), void *arg)
{
	struct explain explain = {.build = build_of_present(discover), .pod = pod, .visit = visit, .arg = arg};
	const struct plan *plan = explain.build.plan;
	const struct monitor_set *set = explain.build.monitored->set;
	for (size_t i = 0; plan && !entry && i < plan->job_count; i++)
		explain_job(&explain, i);
	for (size_t i = 0; plan && set && i < set->entry_count; i++) {
		if (!entry || entry == &set->entries[i])
			explain_monitor(&explain, &set->entries[i]);
	}
}
