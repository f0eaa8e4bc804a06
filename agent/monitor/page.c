/* What people ask about monitors: which are there, which are selected, what of them is not honoured, and by which rules they keep a target. */
#include <errno.h>
#include <stdio.h>

#include "gleaner/monitor.h"

const struct monitor_endpoint *monitor_set_endpoint(
	const struct monitor_set *set, struct span job_name, const struct monitor **ret_monitor)
{
	for (size_t i = 0; i < set->entry_count; i++) {
		const struct monitor *monitor = set->entries[i].monitor;
		for (size_t j = 0; set->entries[i].selected && j < monitor->endpoint_count; j++) {
			if (!span_eq(span_str(monitor->endpoints[j].options.job_name), job_name))
				continue;
			*ret_monitor = monitor;
			return &monitor->endpoints[j];
		}
	}
	return NULL;
}

static void put_text(struct buf *out, const char *before, struct span text)
{
	buf_str(out, before);
	buf_json(out, text);
}

static const char *boolean(bool value)
{
	return value ? "true" : "false";
}

static void put_findings(const struct monitor *monitor, struct buf *out)
{
	for (size_t i = 0; i < monitor->finding_count; i++) {
		const struct monitor_finding *finding = &monitor->findings[i];
		put_text(out, i ? ",{\"field\":" : "{\"field\":", span_str(finding->field));
		put_text(out, ",\"effect\":", span_str(monitor_effect_name(finding->effect)));
		put_text(out, ",\"reason\":", span_str(finding->reason));
		buf_char(out, '}');
	}
}

static int put_rules(struct option_objects rules, struct buf *out)
{
	const struct relabel_rule *items = rules.items;
	struct buf line;
	buf_init(&line, 16 << 10); /* a regex has at most 4 KiB */
	for (size_t i = 0; i < rules.count; i++) {
		buf_reset(&line);
		if (relabel_rule_text(&items[i], &line) == -ENOMEM)
			break;
		put_text(out, i ? "," : "", buf_view(&line));
	}
	int result = line.failed == -ENOMEM ? -ENOMEM : 0;
	buf_done(&line);
	return result;
}

static int put_endpoint(const struct monitor_endpoint *endpoint, struct buf *out)
{
	put_text(out, "{\"job\":", span_str(endpoint->options.job_name));
	buf_printf(out, ",\"refused\":%s,\"rules\":[", boolean(endpoint->refused));
	int result = put_rules(endpoint->options.relabel_configs, out);
	buf_str(out, "],\"references\":[");
	for (size_t i = 0; i < endpoint->reference_count; i++) {
		const struct monitor_reference *reference = &endpoint->references[i];
		buf_printf(out, "%s{\"kind\":\"%s\"", i ? "," : "", reference->config_map ? "ConfigMap" : "Secret");
		put_text(out, ",\"name\":", span_str(reference->name));
		put_text(out, ",\"key\":", span_str(reference->key));
		buf_char(out, '}');
	}
	buf_str(out, "]}");
	return result;
}

static int put_entry(const struct monitor_entry *entry, struct buf *out)
{
	const struct monitor *monitor = entry->monitor;
	int result = 0;
	put_text(out, "{\"kind\":", span_str(monitor_kind_name(monitor->kind)));
	put_text(out, ",\"namespace\":", monitor->namespace_);
	put_text(out, ",\"name\":", monitor->name);
	buf_printf(out, ",\"selected\":%s", boolean(entry->selected));
	if (!entry->selected)
		put_text(out, ",\"reason\":", span_str(entry->why_not));
	buf_printf(out, ",\"rejected\":%s,\"findings\":[", boolean(monitor->rejected));
	put_findings(monitor, out);
	buf_str(out, "],\"endpoints\":[");
	for (size_t i = 0; result == 0 && i < monitor->endpoint_count; i++) {
		if (i > 0)
			buf_char(out, ',');
		result = put_endpoint(&monitor->endpoints[i], out);
	}
	buf_str(out, "]}");
	return result;
}

int monitor_set_json(const struct monitor_set *set, struct buf *out)
{
	int result = 0;
	buf_char(out, '[');
	for (size_t i = 0; result == 0 && i < set->entry_count; i++) {
		if (i > 0)
			buf_char(out, ',');
		result = put_entry(&set->entries[i], out);
	}
	buf_char(out, ']');
	return result < 0 ? result : out->failed;
}

/* ---- metrics ------------------------------------------------------------------------------------ */

enum state { SELECTED, NOT_SELECTED, REJECTED, STATES };
struct counts {
	size_t monitors[MONITOR_KINDS][STATES];
	size_t findings[MONITOR_REJECTED + 1];
};

static void count(const struct monitor_entry *entry, struct counts *counts)
{
	const struct monitor *monitor = entry->monitor;
	enum state state = !entry->selected ? NOT_SELECTED : monitor->rejected ? REJECTED : SELECTED;
	counts->monitors[monitor->kind][state]++;
	for (size_t i = 0; entry->selected && i < monitor->finding_count; i++)
		counts->findings[monitor->findings[i].effect]++;
}

void monitor_set_metrics(const struct monitor_set *set, struct buf *page)
{
	static const char *const states[] = {"selected", "not_selected", "rejected"};
	static const char *const effects[] = {"ignored", "endpoint_refused", "monitor_rejected"};
	struct counts counts = {0};
	char labels[64];
	for (size_t i = 0; set && i < set->entry_count; i++)
		count(&set->entries[i], &counts);
	metrics_family(page, "gleaner_monitors", "gauge", "Monitors of the cluster, by kind and state.");
	for (size_t kind = 0; kind < MONITOR_KINDS; kind++) {
		for (size_t state = 0; state < STATES; state++) {
			snprintf(labels, sizeof(labels), "kind=\"%s\",state=\"%s\"",
				monitor_kind_name((enum monitor_kind)kind), states[state]);
			metrics_sample(page, "gleaner_monitors", labels, (double)counts.monitors[kind][state]);
		}
	}
	metrics_family(page, "gleaner_monitor_findings", "gauge",
		"Fields of selected monitors that are not honoured, by what that costs.");
	for (size_t effect = 0; effect <= MONITOR_REJECTED; effect++) {
		snprintf(labels, sizeof(labels), "effect=\"%s\"", effects[effect]);
		metrics_sample(page, "gleaner_monitor_findings", labels, (double)counts.findings[effect]);
	}
}
