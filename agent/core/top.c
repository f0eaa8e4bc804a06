/* The table of `gleaner top`: one line a target, the dearest first; the sums over all of them above. */
#include "top.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cost_pages.h"
#include "internal.h"

#define SORT_NAMES "share, cpu, p99, agent, samples, in, out, took, name"
/* CPU at the target: a scrape, p99, share, method; here: a scrape, share. */
#define FIGURES "%10s %8s %8s  %-15s %8s %8s"

enum { NAME_MAX_COLUMNS = 60 };

struct row {
	const struct core_target *target;
	struct cost_figures figures;
	double key; /* what is sorted by */
	size_t index;
};

struct sums {
	size_t up, known; /* known: what they cost is */
	double share, agent_share;
	bool at_least; /* some of them are lower bounds only */
};

int top_sort_parse(struct span name, enum top_sort *ret_sort)
{
	static const char *const names[] = {"share", "cpu", "p99", "agent", "samples", "in", "out", "took", "name"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (span_eq(name, span_str(names[i]))) {
			*ret_sort = (enum top_sort)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- rows ------------------------------------------------------------------------------------- */

static double key_of(const struct row *row, enum top_sort sort)
{
	const struct cost_figures *figures = &row->figures;
	const struct wire_scraped *last = &row->target->last;
	switch (sort) {
	case TOP_SHARE:
		return figures->share;
	case TOP_CPU:
		return figures->shown;
	case TOP_P99:
		return figures->estimate.best_p99;
	case TOP_AGENT:
		return figures->agent;
	case TOP_SAMPLES:
		return (double)last->samples;
	case TOP_IN:
		return (double)last->wire_bytes;
	case TOP_OUT:
		return (double)last->record_bytes;
	case TOP_TOOK:
		return (double)last->duration_ns;
	case TOP_NAME:
		break;
	}
	return 0;
}

/* What is not known comes last; ties stay in the order of the targets page, which is by name. */
static int compare(const void *a, const void *b)
{
	const struct row *one = a, *other = b;
	double x = isnan(one->key) ? -1 : one->key, y = isnan(other->key) ? -1 : other->key;
	if (x != y)
		return x < y ? 1 : -1;
	return one->index < other->index ? -1 : one->index > other->index;
}

static size_t make_rows(struct core *core, enum top_sort sort, struct row *rows, struct sums *sums)
{
	size_t count, made = 0;
	struct target *const *targets = discover_targets(core->discover, &count);
	for (size_t i = 0; i < count; i++) {
		const struct core_target *known = targets_find(core, targets[i]->key);
		if (!known)
			continue;
		struct row *row = &rows[made];
		*row = (struct row){.target = known, .figures = cost_figures(known), .index = made};
		row->key = key_of(row, sort);
		made++;
		sums->up += known->last.key != 0 && known->last.up;
		if (!isnan(row->figures.share)) {
			sums->known++;
			sums->share += row->figures.share;
			sums->at_least |= row->figures.at_least;
		}
		if (!isnan(row->figures.agent_share))
			sums->agent_share += row->figures.agent_share;
	}
	qsort(rows, made, sizeof(*rows), compare);
	return made;
}

static const char *node_name(const struct core *core, char *host, size_t size)
{
	if (core->settings->kubelet.node_name)
		return core->settings->kubelet.node_name;
	return gethostname(host, size) == 0 ? host : "this host";
}

/* ---- text ------------------------------------------------------------------------------------- */

static void text_head(const struct core *core, size_t count, const struct sums *sums, struct buf *out)
{
	char host[256] = "";
	const char *missing = cost_missing(core);
	buf_printf(out, "gleaner on %s: %zu targets, %zu up. Scraping them takes ",
		escape_bytes(span_str(node_name(core, host, sizeof(host) - 1))).text, count, sums->up);
	if (sums->known > 0)
		buf_printf(out, "%s%s of a core at %zu of them, ", sums->at_least ? "at least " : "",
			cost_share_text(sums->share).text, sums->known);
	buf_printf(out, "%s here.\n", cost_share_text(sums->agent_share).text);
	if (missing)
		buf_printf(out, "The CPU time of targets is not measured by eBPF: %s\n",
			escape_bytes(span_str(missing)).text);
	buf_char(out, '\n');
}

/* "default/web-0/app:8080", or the URL of what is no pod's. */
static void text_name(const struct core_target *known, struct buf *out)
{
	const struct target *target = known->target;
	struct span pod = labels_get(target->resource, SPAN("k8s.pod.name"));
	struct span container = labels_get(target->resource, SPAN("k8s.container.name"));
	if (pod.len == 0) {
		buf_str(out, escape_bytes(target->url).text);
	} else {
		buf_str(out, escape_bytes(labels_get(target->resource, SPAN("k8s.namespace.name"))).text);
		buf_printf(out, "/%s", escape_bytes(pod).text);
		if (container.len > 0)
			buf_printf(out, "/%s", escape_bytes(container).text);
		buf_printf(out, ":%u", target->port);
	}
	if (known->last.key == 0 || !known->last.up)
		buf_str(out, known->last.key == 0 ? " [not yet]" : " [down]");
}

static void text_figures(const struct row *row, struct buf *out)
{
	const struct cost_figures *figures = &row->figures;
	const struct wire_scraped *last = &row->target->last;
	bool none = figures->estimate.method == COST_METHOD_NONE;
	char cpu[40], method[40];
	snprintf(cpu, sizeof(cpu), "%s%s", figures->at_least && !isnan(figures->shown) ? ">=" : "",
		cost_time_text(figures->shown).text);
	snprintf(method, sizeof(method), "%s%s%s", none ? "-" : cost_method_name(figures->estimate.method),
		figures->at_least ? "" : " ",
		figures->at_least ? "" : cost_confidence_name(figures->estimate.confidence));
	buf_printf(out, FIGURES, cpu, cost_time_text(figures->estimate.best_p99).text,
		cost_share_text(figures->share).text, method, cost_time_text(figures->agent).text,
		cost_share_text(figures->agent_share).text);
	buf_printf(out, " %8llu %8s %8s %6s %8s\n", (unsigned long long)last->samples,
		cost_bytes_text(last->wire_bytes).text, cost_bytes_text(last->record_bytes).text,
		duration_format(figures->interval_ns).text,
		cost_time_text(last->key == 0 ? NAN : (double)last->duration_ns / 1e9).text);
}

/* Names first, so that a narrow terminal cuts off what matters least. */
static void text_table(const struct row *rows, size_t count, struct buf *out)
{
	int width = 0, job_width = 3;
	struct buf name;
	buf_init(&name, 1024);
	for (size_t i = 0; i < count; i++) {
		buf_reset(&name);
		text_name(rows[i].target, &name);
		int job = (int)strlen(escape_bytes(rows[i].target->target->job->name).text);
		width = width < (int)name.len ? (int)name.len : width;
		job_width = job_width < job ? job : job_width;
	}
	width = width > NAME_MAX_COLUMNS ? NAME_MAX_COLUMNS : width;
	job_width = job_width > NAME_MAX_COLUMNS ? NAME_MAX_COLUMNS : job_width;
	buf_printf(out, "%-*s %-*s " FIGURES " %8s %8s %8s %6s %8s\n", width, "TARGET", job_width, "JOB", "CPU/SCRAPE",
		"P99", "%CORE", "METHOD", "AGENT", "%CORE", "SAMPLES", "IN", "OUT", "EVERY", "TOOK");
	for (size_t i = 0; i < count; i++) {
		buf_reset(&name);
		text_name(rows[i].target, &name);
		buf_printf(out, "%-*.*s %-*s ", width, (int)name.len, name.ptr, job_width,
			escape_bytes(rows[i].target->target->job->name).text);
		text_figures(&rows[i], out);
	}
	if (name.failed)
		out->failed = name.failed;
	buf_done(&name);
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static void json_row(const struct row *row, struct buf *out)
{
	const struct target *target = row->target->target;
	const struct wire_scraped *last = &row->target->last;
	buf_str(out, "{\"job\":");
	buf_json(out, target->job->name);
	pages_json(out, "instance", labels_get(target->labels, SPAN("instance")));
	pages_json(out, "url", target->url);
	pages_json(out, "namespace", labels_get(target->resource, SPAN("k8s.namespace.name")));
	pages_json(out, "pod", labels_get(target->resource, SPAN("k8s.pod.name")));
	pages_json(out, "container", labels_get(target->resource, SPAN("k8s.container.name")));
	buf_printf(out,
		",\"health\":\"%s\",\"intervalSeconds\":%.9g,\"lastDurationSeconds\":%.9g,\"samples\":%llu,"
		"\"bodyBytes\":%llu,\"wireBytes\":%llu,\"recordBytes\":%llu",
		last->key == 0 ? "unknown"
		: last->up     ? "up"
			       : "down",
		(double)row->figures.interval_ns / 1e9, (double)last->duration_ns / 1e9,
		(unsigned long long)last->samples, (unsigned long long)last->body_bytes,
		(unsigned long long)last->wire_bytes, (unsigned long long)last->record_bytes);
	cost_json(out, row->target);
	buf_char(out, '}');
}

static void json_head(const struct core *core, size_t count, const struct sums *sums, struct buf *out)
{
	char host[256] = "";
	const char *missing = cost_missing(core);
	buf_str(out, "{\"status\":\"success\",\"data\":{\"node\":");
	buf_json(out, span_str(node_name(core, host, sizeof(host) - 1)));
	pages_json(out, "notMeasuredBecause", span_str(missing ? missing : ""));
	buf_printf(out,
		",\"targetCount\":%zu,\"up\":%zu,\"measured\":%zu,\"coreShare\":%.6g,\"agentCoreShare\":%.6g,"
		"\"targets\":[",
		count, sums->up, sums->known, sums->share, sums->agent_share);
}

/* ---- both ------------------------------------------------------------------------------------- */

void top_render(struct core *core, bool json, enum top_sort sort, size_t limit, struct buf *out)
{
	struct sums sums = {0};
	size_t count;
	discover_targets(core->discover, &count);
	struct row *rows = calloc(count + 1, sizeof(*rows));
	if (!rows) {
		out->failed = -ENOMEM;
		return;
	}
	count = make_rows(core, sort, rows, &sums);
	size_t shown = count < limit ? count : limit;
	if (json) {
		json_head(core, count, &sums, out);
		for (size_t i = 0; i < shown; i++) {
			buf_str(out, i ? "," : "");
			json_row(&rows[i], out);
		}
		buf_str(out, "]}}\n");
	} else {
		text_head(core, count, &sums, out);
		text_table(rows, shown, out);
		if (count > shown)
			buf_printf(out, "%zu more.\n", count - shown);
	}
	free(rows);
}

void top_page(struct core *core, const struct status_request *request, struct status_reply *reply)
{
	struct span format = status_query(request, "format"), sort_name = status_query(request, "sort");
	struct span limit_text = status_query(request, "limit");
	enum top_sort sort = TOP_SHARE;
	uint64_t limit = SIZE_MAX;
	bool json = format.len == 0 || span_eq(format, SPAN("json"));
	if ((!json && !span_eq(format, SPAN("text"))) || (sort_name.len > 0 && top_sort_parse(sort_name, &sort) < 0) ||
		(limit_text.len > 0 && span_to_u64(limit_text, &limit) < 0)) {
		reply->code = 400;
		buf_str(&reply->body, "format is text or json; sort one of " SORT_NAMES "; limit a number\n");
		return;
	}
	if (json)
		reply->content_type = "application/json";
	top_render(core, json, sort, (size_t)limit, &reply->body);
}
