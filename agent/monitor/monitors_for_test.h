/* Objects from JSON with single quotes, and a job's rules as text, for the tests of this folder. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "gleaner/monitor.h"
#include "test.h"

static const struct monitor_options plain_options = {.enabled = true,
	.service_monitors_given = true,
	.pod_monitors_given = true,
	.scrape_configs_given = true,
	.scrape_interval_ns = 30 * NS_PER_SEC,
	.kubelet_service = true};

/* ' stands for ". The tree lies in the arena. */
static inline const struct json *json_for_test(struct arena *arena, const char *text)
{
	const struct json *json = NULL;
	struct error err = {{0}};
	char *copy = arena_strdup(arena, text);
	assert_non_null(copy);
	for (char *at = copy; *at; at++) {
		if (*at == '\'')
			*at = '"';
	}
	int result = json_parse(arena, span_str(copy), &json, &err);
	assert_string_equal(err.text, "");
	assert_int_equal(result, 0);
	return json;
}

static inline struct monitor *monitor_for_test(
	enum monitor_kind kind, const char *spec, const struct monitor_options *options)
{
	struct arena arena;
	struct monitor *monitor = NULL;
	struct error err = {{0}};
	char text[8192];
	snprintf(text, sizeof(text), "{'metadata':{'name':'web','namespace':'shop','uid':'u-1'},'spec':%s}", spec);
	arena_init(&arena, 1 << 20);
	assert_int_equal(monitor_parse(kind, json_for_test(&arena, text), options, 1, &monitor, &err), 0);
	arena_done(&arena); /* nothing of the tree is needed any more */
	return monitor;
}

/* One line a rule: action [sources] =~ regex -> target = replacement. */
static inline void put_rules(struct buf *out, struct option_objects objects)
{
	static const char *const actions[] = {"replace", "keep", "drop", "keepequal", "dropequal", "hashmod",
		"labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"};
	const struct relabel_rule *rules = objects.items;
	for (size_t i = 0; i < objects.count; i++) {
		buf_printf(out, "%s [", actions[rules[i].action]);
		for (size_t j = 0; j < rules[i].source_labels.count; j++)
			buf_printf(out, "%s%s", j ? " " : "", rules[i].source_labels.items[j]);
		buf_str(out, "]");
		if (rules[i].regex)
			buf_printf(out, " =~ %s", rules[i].regex);
		if (rules[i].target_label)
			buf_printf(out, " -> %s", rules[i].target_label);
		if (rules[i].replacement)
			buf_printf(out, " = %s", rules[i].replacement);
		buf_char(out, '\n');
	}
}

static inline void assert_rules(struct option_objects rules, const char *expected)
{
	struct buf text;
	buf_init(&text, 1 << 20);
	put_rules(&text, rules);
	test_assert_text(buf_view(&text), expected);
	buf_done(&text);
}

/* One line a finding: effect: field reason. */
static inline void assert_findings(const struct monitor *monitor, const char *expected)
{
	struct buf text;
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < monitor->finding_count; i++) {
		const struct monitor_finding *finding = &monitor->findings[i];
		buf_printf(&text, "%s: %s %s\n", monitor_effect_name(finding->effect), finding->field, finding->reason);
	}
	test_assert_text(text.len ? buf_view(&text) : SPAN(""), expected);
	buf_done(&text);
}
