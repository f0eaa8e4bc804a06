/* The node as a whole, for `gleaner explain` without arguments: where pods come from, what monitors there are, jobs, and why scrapes fail. */
#include "explain.h"

#include <errno.h>
#include <stdio.h>

#include "internal.h"

enum { JOBS_SHOWN = 100, REFUSALS_SHOWN = 20 };

struct sums {
	size_t targets, up, down, unknown;
};

static void count_target(struct core *core, const struct target *target, struct sums *sums)
{
	const struct core_target *known = targets_find(core, target->key);
	if (!known)
		return;
	sums->targets++;
	if (known->last.key == 0)
		sums->unknown++;
	else if (known->last.up)
		sums->up++;
	else
		sums->down++;
}

static void see_sources(struct core *core, struct report *report)
{
	struct kube_source_stats stats = {0};
	if (core->sources && core->sources->source)
		kube_source_stats(core->sources->source, &stats);
	explain_item(report, "Pods", false, stats.running ? stats.running : "no source of pods has answered");
	explain_line(report, "note", "%s known", explain_count(stats.pods, "pod").text);
	for (size_t i = 0; i < stats.count; i++)
		explain_line(report, "note", "%s: %s%s%s", stats.sources[i].name,
			kube_source_state_name(stats.sources[i].state),
			stats.sources[i].stats.last_error.text[0] ? ": " : "", stats.sources[i].stats.last_error.text);
	if (stats.count == 0)
		explain_line(report, "next", "set HOST_IP and NODE_NAME, or kubelet.endpoint");
}

static void see_monitors(const struct core *core, struct report *report)
{
	const struct monitor_set *set = discover_monitor_set(core->discover);
	explain_item(report, "Monitors", false, set ? "followed" : "none: they are not followed, or not known yet");
	for (size_t i = 0; set && i < MONITOR_KINDS; i++) {
		size_t rejected = 0, findings = 0;
		for (size_t j = 0; j < set->entry_count; j++) {
			const struct monitor *monitor = set->entries[j].monitor;
			if (monitor->kind != i || !set->entries[j].selected)
				continue;
			rejected += monitor->rejected;
			findings += monitor->finding_count;
		}
		explain_line(report, "note", "%s: %zu of %zu selected, %zu of these rejected, %zu fields not honoured",
			monitor_kind_name((enum monitor_kind)i), set->selected[i], set->totals[i], rejected, findings);
	}
	if (set)
		explain_line(report, "note", "%s known", explain_count(set->service_count, "Service").text);
}

/* Targets stand in the order of their jobs. */
static struct sums see_jobs(struct core *core, struct report *report)
{
	size_t count, jobs = 0;
	struct target *const *targets = discover_targets(core->discover, &count);
	struct sums all = {0};
	explain_item(report, "Jobs", false, "those that have targets");
	for (size_t at = 0; at < count;) {
		const struct target_job *job = targets[at]->job;
		struct sums sums = {0};
		for (; at < count && targets[at]->job == job; at++)
			count_target(core, targets[at], &sums);
		all.targets += sums.targets;
		all.up += sums.up;
		all.down += sums.down;
		all.unknown += sums.unknown;
		if (jobs++ < JOBS_SHOWN)
			explain_line(report, "target", "%.*s: %s: %zu up, %zu down, %zu not scraped yet",
				SPAN_ARGS(job->name), explain_count(sums.targets, "target").text, sums.up, sums.down,
				sums.unknown);
	}
	if (jobs > JOBS_SHOWN)
		explain_line(report, "note", "%zu more jobs", jobs - JOBS_SHOWN);
	return all;
}

struct refusals {
	struct report *report;
	size_t count;
};

static void see_refusal(void *arg, struct span job_name, struct labels discovered, const struct error *err)
{
	struct refusals *refusals = arg;
	if (refusals->count++ < REFUSALS_SHOWN)
		explain_line(refusals->report, "refused", "job %.*s, pod %.*s/%.*s: %s", SPAN_ARGS(job_name),
			SPAN_ARGS(labels_get(discovered, SPAN("__meta_kubernetes_namespace"))),
			SPAN_ARGS(labels_get(discovered, SPAN("__meta_kubernetes_pod_name"))), err->text);
}

static void see_reasons(struct core *core, struct report *report)
{
	struct refusals refusals = {.report = report};
	size_t dropped;
	discover_dropped(core->discover, &dropped);
	explain_item(report, "What is not scraped, and what failed", false, "");
	explain_line(report, "note", "%s dropped by relabelling (at most 1000 are kept)",
		explain_count(dropped, "target").text);
	discover_each_refusal(core->discover, see_refusal, &refusals);
	if (refusals.count > REFUSALS_SHOWN)
		explain_line(report, "note", "%zu more refusals", refusals.count - REFUSALS_SHOWN);
	for (size_t i = 0; i < core->totals.failed_count; i++)
		explain_line(report, "note", "%llu scrapes failed since the start: %s",
			(unsigned long long)core->totals.failed[i].count, core->totals.failed[i].reason);
	explain_line(report, "next", "gleaner explain --pod NAMESPACE/NAME, --monitor NAMESPACE/NAME, or an address");
}

void explain_node(struct core *core, bool json, struct buf *out)
{
	const char *node = core->settings->kubelet.node_name;
	struct report report;
	struct error verdict = {""};
	char subject[320];
	explain_begin(&report, json);
	see_sources(core, &report);
	see_monitors(core, &report);
	struct sums sums = see_jobs(core, &report);
	see_reasons(core, &report);
	error_set(&verdict, 0, "%s: %zu up, %zu down, %zu not scraped yet", explain_count(sums.targets, "target").text,
		sums.up, sums.down, sums.unknown);
	snprintf(subject, sizeof(subject), "Node %s", node ? node : "(this host)");
	explain_finish(&report, subject, sums.targets > 0, verdict.text, out);
}
