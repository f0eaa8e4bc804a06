/* What a scrape costs, on the pages: one target's part of /targets and of the JSON, and how figures are written. */
#include <math.h>
#include <stdio.h>

#include "cost_pages.h"
#include "internal.h"

struct cost_text cost_time_text(double seconds)
{
	struct cost_text result;
	double us = seconds * 1e6;
	if (isnan(seconds))
		snprintf(result.text, sizeof(result.text), "-");
	else if (us < 999.5)
		snprintf(result.text, sizeof(result.text), us < 9.95 ? "%.1f us" : "%.0f us", us);
	else if (us < 999.5e3)
		snprintf(result.text, sizeof(result.text),
			us < 9995    ? "%.2f ms"
			: us < 99950 ? "%.1f ms"
				     : "%.0f ms",
			us / 1e3);
	else
		snprintf(result.text, sizeof(result.text), us < 9.995e6 ? "%.2f s" : "%.1f s", seconds);
	return result;
}

struct cost_text cost_share_text(double share)
{
	struct cost_text result;
	if (isnan(share))
		snprintf(result.text, sizeof(result.text), "-");
	else
		snprintf(result.text, sizeof(result.text), share < 0.0995 ? "%.3f%%" : "%.1f%%", share * 100);
	return result;
}

struct cost_text cost_bytes_text(uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB"};
	struct cost_text result;
	double value = (double)bytes;
	size_t unit = 0;
	for (; value >= 999.5 && unit + 1 < ARRAY_SIZE(units); unit++)
		value /= 1000;
	snprintf(result.text, sizeof(result.text), unit > 0 && value < 99.95 ? "%.1f %s" : "%.0f %s", value,
		units[unit]);
	return result;
}

struct cost_figures cost_figures(const struct core_target *target)
{
	struct cost_figures result = {.estimate = cost_history_estimate(&target->cost)};
	result.interval_ns = target->target->interval_ns * budget_stretch(&target->budget);
	double interval = (double)result.interval_ns / 1e9;
	result.at_least = isnan(result.estimate.best);
	result.shown = result.at_least ? result.estimate.lower : result.estimate.best;
	result.share = result.shown / interval;
	result.agent = cost_history_agent(&target->cost, &result.agent_p99);
	result.agent_share = result.agent / interval;
	return result;
}

const char *cost_missing(const struct core *core)
{
	if (costs_are_measured(core))
		return NULL;
	const struct probes *probes = core->probes;
	if (probes && probes->state != PROBES_RUNNING)
		return probes->reason.text[0] ? probes->reason.text : probes_state_name(probes->state);
	return core->costs.reason.text[0] ? core->costs.reason.text : "there is no probe";
}

/* ---- JSON ------------------------------------------------------------------------------------- */

static void json_number(struct buf *out, const char *key, double value)
{
	if (!isnan(value))
		buf_printf(out, ",\"%s\":%.6g", key, value);
}

static void json_agent(struct buf *out, const struct core_target *target, const struct cost_figures *figures)
{
	const struct cost_agent *agent = &target->cost.agent;
	buf_printf(out, ",\"agent\":{\"scrapes\":%llu", (unsigned long long)agent->scrapes);
	json_number(out, "cpuSeconds", figures->agent);
	json_number(out, "cpuP99Seconds", figures->agent_p99);
	json_number(out, "coreShare", figures->agent_share);
	buf_str(out, ",\"cpuSecondsTotal\":{");
	for (size_t i = 0; i < COST_STAGES; i++)
		buf_printf(out, "%s\"%s\":%.9g", i ? "," : "", cost_stage_name((enum cost_stage)i),
			(double)agent->cpu_ns[i] / 1e9);
	buf_printf(out, "},\"bodyBytesTotal\":%llu,\"wireBytesTotal\":%llu,\"recordBytesTotal\":%llu}",
		(unsigned long long)agent->body_bytes, (unsigned long long)agent->wire_bytes,
		(unsigned long long)agent->record_bytes);
}

void cost_json(struct buf *out, const struct core_target *target)
{
	struct cost_figures figures = cost_figures(target);
	const struct cost_estimate *estimate = &figures.estimate;
	buf_printf(out, ",\"cost\":{\"method\":\"%s\",\"confidence\":\"%s\",\"scrapes\":%u",
		cost_method_name(estimate->method), cost_confidence_name(estimate->confidence), estimate->scrapes);
	pages_json(out, "why", span_str(estimate->why));
	json_number(out, "lowerSeconds", estimate->lower);
	json_number(out, "bestSeconds", estimate->best);
	json_number(out, "bestP99Seconds", estimate->best_p99);
	json_number(out, "upperSeconds", estimate->upper);
	json_number(out, "coreShare", figures.share);
	json_number(out, "otherSeconds", estimate->other);
	json_number(out, "tailSeconds", estimate->tail);
	json_number(out, "idleCoreShare", estimate->idle);
	json_number(out, "firstByteSeconds", estimate->first_byte);
	json_number(out, "contextSwitches", estimate->switches);
	json_number(out, "threads", estimate->threads);
	json_agent(out, target, &figures);
	buf_char(out, '}');
}

/* ---- HTML ------------------------------------------------------------------------------------- */

/* Two cells: at the target, here. */
void cost_html(struct buf *out, const struct core_target *target)
{
	struct cost_figures figures = cost_figures(target);
	const struct cost_estimate *estimate = &figures.estimate;
	buf_str(out, "<td>");
	if (!isnan(figures.shown)) {
		buf_printf(out, "%s%s", figures.at_least ? "at least " : "", cost_time_text(figures.shown).text);
		if (!figures.at_least)
			buf_printf(out, ", p99 %s", cost_time_text(estimate->best_p99).text);
		buf_printf(out, "; %s of a core<br>", cost_share_text(figures.share).text);
	}
	buf_str(out, "<code>");
	if (!figures.at_least)
		buf_printf(out, "%s, confidence %s: ", cost_method_name(estimate->method),
			cost_confidence_name(estimate->confidence));
	pages_html(out, span_str(estimate->why));
	buf_printf(out, "</code></td><td class=\"n\">%s", cost_time_text(figures.agent).text);
	if (!isnan(figures.agent))
		buf_printf(out, "<br>%s of a core", cost_share_text(figures.agent_share).text);
	buf_str(out, "</td>");
}
