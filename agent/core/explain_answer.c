/* What one source makes of one pod, as an item of an explanation: verdict, targets and how they are, rules that dropped, next step. */
#include "explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

enum { TARGETS_SHOWN = 50, RULES_SHOWN = 8, VALUES_SHOWN = 8 };

struct counted explain_count(size_t count, const char *thing)
{
	struct counted counted;
	snprintf(counted.text, sizeof(counted.text), "%zu %s%s", count, thing, count == 1 ? "" : "s");
	return counted;
}

void explain_scraped(const struct tally *tally, const char *of, struct error *verdict)
{
	char down[64] = "";
	if (tally->down > 0)
		snprintf(down, sizeof(down), ", %zu of them down", tally->down);
	error_set(verdict, 0, "scraped as %s%s%s", explain_count(tally->targets, "target").text, of, down);
}

/* ---- targets ------------------------------------------------------------------------------------- */

/* What to look at, by the word that the scraper gives for the failure. */
static const char *next_of_failure(const char *reason)
{
	static const char *const steps[][2] = {
		{"connect",
			"does the process listen on the pod's address (not only on 127.0.0.1) and on this port? Does a "
			"NetworkPolicy keep the agent out?"},
		{"timeout", "raise scrape_timeout (scrapeTimeout), or find out why the target takes that long"},
		{"http_status",
			"ask it from the node: gleaner scrape URL. Is the path right, does it want credentials?"},
		{"content_type", "is this a metrics endpoint? If it is and cannot say so, set fallback_scrape_protocol "
				 "(fallbackScrapeProtocol)"},
		{"no_exposition", "is this a metrics endpoint? Check path and port"},
		{"parse", "is this a metrics endpoint? If it is, gleaner scrape URL shows the line that is wrong"},
		{"sample_limit", "raise sample_limit (sampleLimit), or drop metrics by metric_relabel_configs"},
		{"label_limit", "raise label_limit and its kin, or drop labels by metric_relabel_configs"},
		{"unauthorized",
			"it wants credentials: set basic_auth or authorization (basicAuth, authorization), or check "
			"those that are set"},
		{"body_limit", "raise body_size_limit (bodySizeLimit)"},
		{"tls", "check scheme, tls_config (tlsConfig) and the certificate's names"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (strncmp(reason, steps[i][0], strlen(steps[i][0])) == 0)
			return steps[i][1];
	}
	return NULL;
}

static void explain_failure(const struct core_target *known, struct report *report)
{
	const struct wire_scraped *last = &known->last;
	const char *next = next_of_failure(last->reason);
	explain_line(report, "note", "last error (%s): %s; %llu of %llu scrapes failed", last->reason,
		known->last_error.text, (unsigned long long)known->failures, (unsigned long long)known->scrapes);
	if (next)
		explain_line(report, "next", "%s", next);
}

static void explain_pauses(struct core *core, const struct core_target *known, struct report *report)
{
	const struct target *target = known->target;
	uint32_t stretch = budget_stretch(&known->budget);
	struct target_address address;
	struct error err = {""};
	struct time_text time;
	if (known->not_before_ns > clock_wall(&core->clock)) {
		time_format(known->not_before_ns, &time);
		explain_line(report, "note",
			"paused until %s: a scraper died while it parsed what the target sent, %u times in a row",
			time.text, known->crashes);
	}
	if (stretch > 1)
		explain_line(report, "note",
			"scraped every %s instead of every %s: a scrape costs it more than scrape_cost_budget allows",
			duration_format(target->interval_ns * stretch).text, duration_format(target->interval_ns).text);
	if (trials_is_trial(core, target))
		explain_line(report, "note", "on trial: its first scrape tells whether the port has metrics");
	if (known->job && known->job->stale)
		explain_line(report, "note", "the files of its credentials could not be read the last time");
	if (discover_dial_address(core->discover, target, &address, &err) < 0)
		explain_line(report, "note", "may not be dialled: %s", err.text);
}

bool explain_target(struct core *core, struct core_target *known, struct report *report)
{
	const struct target *target = known->target;
	const struct wire_scraped *last = &known->last;
	bool down = last->key != 0 && !last->up;
	uint64_t now = clock_wall(&core->clock);
	if (last->key == 0)
		explain_line(report, "target", "%.*s: not scraped yet; every %s", SPAN_ARGS(target->url),
			duration_format(target->interval_ns).text);
	else
		explain_line(report, "target",
			"%.*s: %s; last scrape %.1f s ago, took %.1f ms, %llu samples; every %s, timeout %s",
			SPAN_ARGS(target->url), down ? "down" : "up",
			now > last->tick_ns ? (double)(now - last->tick_ns) / 1e9 : 0.0,
			(double)last->duration_ns / 1e6, (unsigned long long)last->samples,
			duration_format(target->interval_ns).text, duration_format(target->timeout_ns).text);
	if (down)
		explain_failure(known, report);
	explain_pauses(core, known, report);
	return down;
}

/* ---- what was dropped ----------------------------------------------------------------------------------- */

/* The relabel_configs of a job, as they were written or generated; empty when the job has none. */
static struct option_objects rules_of(
	const struct core *core, struct span job_name, const struct monitor_endpoint *endpoint)
{
	if (endpoint)
		return endpoint->options.relabel_configs;
	for (size_t i = 0; i < core->settings->job_count; i++) {
		if (span_eq(span_str(core->settings->jobs[i].job_name), job_name))
			return core->settings->jobs[i].relabel_configs;
	}
	return (struct option_objects){0};
}

/* `a="x", b="y"` as the rule saw them. */
static void put_values(const struct relabel_rule *rules, size_t rule, const struct target_job *job,
	struct labels discovered, struct buf *out)
{
	struct option_strings sources = rules[rule].source_labels;
	struct relabel *program = NULL;
	struct labels labels;
	struct arena arena;
	arena_init(&arena, 4 << 20);
	if (target_labels_before(job, rules, rule, discovered, &arena, &program, &labels) == 0) {
		for (size_t i = 0; i < sources.count; i++) {
			struct span name = span_str(sources.items[i]);
			buf_printf(out, "%s%s=\"%s\"", i > 0 ? ", " : "", escape_bytes(name).text,
				escape_bytes(labels_get(labels, name)).text);
		}
	}
	relabel_free(program);
	arena_done(&arena);
}

static bool contains(struct span text, struct span part)
{
	return part.len > 0 && text.len >= part.len && memmem(text.ptr, text.len, part.ptr, part.len);
}

/* Values that all dropped targets had there: "x; y". What is there already is not repeated. */
static void put_all_values(const struct discover_dropped *dropped, size_t count, const struct relabel_rule *rules,
	size_t rule, const struct target_job *job, struct buf *out)
{
	struct buf one;
	size_t shown = 0;
	buf_init(&one, 4096);
	for (size_t i = 0; i < count && shown < VALUES_SHOWN; i++) {
		if (dropped[i].rule != rule)
			continue;
		buf_reset(&one);
		put_values(rules, rule, job, dropped[i].discovered, &one);
		if (one.len == 0 || contains(buf_view(out), buf_view(&one)))
			continue;
		buf_str(out, shown++ > 0 ? " or " : "");
		buf_span(out, buf_view(&one));
	}
	buf_done(&one);
}

static void explain_rule(const struct discover_dropped *dropped, size_t count, size_t times, size_t rule,
	struct option_objects rules, const struct target_job *job, struct report *report)
{
	const struct relabel_rule *items = rules.items;
	struct buf text, values;
	if (rule >= rules.count) {
		explain_line(report, "dropped", "%s by relabel rule %zu", explain_count(times, "port").text, rule);
		return;
	}
	buf_init(&text, 8192);
	buf_init(&values, 8192);
	relabel_rule_text(&items[rule], &text);
	put_all_values(dropped, count, items, rule, job, &values);
	explain_line(report, "dropped", "%s by relabel rule %zu: %.*s; there: %.*s", explain_count(times, "port").text,
		rule, SPAN_ARGS(buf_view(&text)), SPAN_ARGS(buf_view(&values)));
	buf_done(&text);
	buf_done(&values);
}

static bool came_before(const struct discover_dropped *dropped, size_t at)
{
	for (size_t i = 0; i < at; i++) {
		if (dropped[i].rule == dropped[at].rule)
			return true;
	}
	return false;
}

void explain_dropped(struct core *core, const struct discover_dropped *dropped, size_t count,
	const struct target_job *job, const struct monitor_endpoint *endpoint, struct report *report)
{
	size_t shown = 0;
	for (size_t i = 0; i < count && shown < RULES_SHOWN; i++) {
		size_t times = 0;
		if (came_before(dropped, i))
			continue;
		for (size_t j = i; j < count; j++)
			times += dropped[j].rule == dropped[i].rule;
		if (dropped[i].rule == TARGET_NO_RULE)
			explain_line(report, "dropped", "%s because relabelling left no __address__",
				explain_count(times, "port").text);
		else
			explain_rule(dropped, count, times, dropped[i].rule,
				rules_of(core, dropped[i].job_name, endpoint), job, report);
		shown++;
	}
}

/* ---- an answer ---------------------------------------------------------------------------------------------- */

static size_t in_force(const struct core *core, const struct discover_answer *answer)
{
	size_t count = 0;
	for (size_t i = 0; i < answer->target_count; i++)
		count += discover_find(core->discover, answer->targets[i]->key) == answer->targets[i];
	return count;
}

static void put_title(const struct discover_answer *answer, struct buf *out)
{
	const struct monitor *monitor = answer->entry ? answer->entry->monitor : NULL;
	switch (answer->source) {
	case DISCOVER_BY_JOB:
		buf_printf(out, "scrape_config %.*s", SPAN_ARGS(answer->job_name));
		break;
	case DISCOVER_BY_ANNOTATIONS:
		buf_printf(out, "annotations (job %.*s)", SPAN_ARGS(answer->job_name));
		break;
	case DISCOVER_BY_LISTENING:
		buf_printf(out, "discovery.listen (job %.*s)", SPAN_ARGS(answer->job_name));
		break;
	case DISCOVER_BY_MONITOR:
		buf_printf(out, "%s %.*s/%.*s", monitor_kind_name(monitor->kind), SPAN_ARGS(monitor->namespace_),
			SPAN_ARGS(monitor->name));
		if (answer->endpoint)
			buf_printf(out, ", endpoint %zu (job %.*s)", (size_t)(answer->endpoint - monitor->endpoints),
				SPAN_ARGS(answer->job_name));
	}
	buf_char(out, '\0');
}

static void judge(const struct discover_answer *answer, size_t targets, struct error *verdict)
{
	if (targets > 0)
		error_set(verdict, 0, "scraped as %s", explain_count(targets, "target").text);
	else if (!answer->asks)
		error_set(verdict, 0, "does not select it: %s", answer->why.text);
	else if (answer->over_limit > 0)
		error_set(verdict, 0,
			"not scraped: the job has %zu targets, its target_limit allows %zu, so none of them is",
			answer->over_limit, answer->job ? (size_t)answer->job->limits.target_limit : 0);
	else if (answer->why.text[0])
		error_set(verdict, 0, "not scraped: %s", answer->why.text);
	else if (answer->refusal_count > 0)
		error_set(verdict, 0, "not scraped: %s", answer->refusals[0]->text);
	else if (answer->target_count > 0)
		error_set(verdict, 0, "not scraped: the same target is there already");
	else if (answer->dropped_count > 0 && answer->dropped[0].rule != TARGET_NO_RULE)
		error_set(verdict, 0, "not scraped: relabel rule %zu drops it", answer->dropped[0].rule);
	else
		error_set(verdict, 0, "not scraped: relabelling drops it");
}

static void explain_targets(
	struct core *core, const struct discover_answer *answer, struct report *report, struct tally *tally)
{
	size_t shown = 0, same = 0;
	for (size_t i = 0; i < answer->target_count; i++) {
		const struct target *target = answer->targets[i];
		struct core_target *known = targets_find(core, target->key);
		if (discover_find(core->discover, target->key) != target) {
			same += answer->over_limit == 0;
			continue;
		}
		bool down = known && known->last.key != 0 && !known->last.up;
		tally->down += down;
		if (known && shown++ < TARGETS_SHOWN)
			explain_target(core, known, report);
	}
	if (shown > TARGETS_SHOWN)
		explain_line(report, "note", "%zu more targets", shown - TARGETS_SHOWN);
	if (same > 0)
		explain_line(report, "note", "%s left out: one with the same labels and URL is there already",
			explain_count(same, "target").text);
}

static void explain_findings(const struct discover_answer *answer, struct report *report)
{
	const struct monitor *monitor = answer->entry ? answer->entry->monitor : NULL;
	bool asked = answer->endpoint ? answer->endpoint->refused : monitor && monitor->rejected;
	for (size_t i = 0; asked && i < monitor->finding_count; i++)
		explain_line(report, "refused", "%s: %s (%s)", monitor->findings[i].field, monitor->findings[i].reason,
			monitor_effect_name(monitor->findings[i].effect));
}

/* Whether the rule that dropped looks at the names or numbers of ports. */
static bool is_about_ports(const struct core *core, const struct discover_answer *answer)
{
	struct option_objects rules = rules_of(core, answer->job_name, answer->endpoint);
	const struct relabel_rule *items = rules.items;
	size_t rule = answer->dropped[0].rule;
	for (size_t i = 0; rule < rules.count && i < items[rule].source_labels.count; i++) {
		if (strstr(items[rule].source_labels.items[i], "port_n"))
			return true;
	}
	return false;
}

static void explain_next(struct core *core, const struct discover_answer *answer, size_t targets, struct report *report)
{
	if (targets > 0)
		return;
	if (answer->source == DISCOVER_BY_ANNOTATIONS && !answer->asks)
		explain_line(report, "next",
			"annotate the pod template: prometheus.io/scrape: \"true\", prometheus.io/port: \"PORT\"; or "
			"let a PodMonitor or ServiceMonitor select it");
	else if (answer->over_limit > 0)
		explain_line(report, "next", "raise target_limit (targetLimit)");
	else if (answer->source == DISCOVER_BY_MONITOR && answer->entry && !answer->entry->selected && answer->near)
		explain_line(report, "next",
			"change the monitor's labels, or monitors.* in gleaner's configuration; gleaner explain "
			"--monitor %.*s/%.*s",
			SPAN_ARGS(answer->entry->monitor->namespace_), SPAN_ARGS(answer->entry->monitor->name));
	else if (answer->asks && answer->dropped_count > 0)
		explain_line(report, "next",
			is_about_ports(core, answer)
				? "name one of the ports that are there in the endpoint, or the rule"
				: "change the rule, or the labels that it looks at");
}

void explain_answer(struct core *core, const struct discover_answer *answer, const char *title, struct report *report,
	struct tally *tally)
{
	size_t targets = in_force(core, answer);
	struct error verdict = {""};
	struct buf name;
	buf_init(&name, 4096);
	put_title(answer, &name);
	judge(answer, targets, &verdict);
	tally->answers++;
	tally->asking += answer->asks;
	tally->near += answer->near;
	tally->targets += targets;
	tally->dropped += answer->dropped_count;
	tally->refused += answer->refusal_count;
	if (answer->asks && targets == 0 && tally->first_failure.text[0] == '\0')
		error_set(&tally->first_failure, 0, "%.300s", verdict.text + strlen("not scraped: "));
	if (answer->almost && tally->almost.text[0] == '\0')
		error_set(&tally->almost, 0, "%.300s", answer->why.text);
	if (name.failed)
		report->items.failed = name.failed;
	else
		explain_item(report, title ? title : name.ptr, targets > 0, verdict.text);
	explain_targets(core, answer, report, tally);
	for (size_t i = 0; i < answer->refusal_count; i++)
		explain_line(report, "refused", "%s", answer->refusals[i]->text);
	if (answer->job)
		explain_dropped(core, answer->dropped, answer->dropped_count, answer->job, answer->endpoint, report);
	explain_findings(answer, report);
	explain_next(core, answer, targets, report);
	buf_done(&name);
}
