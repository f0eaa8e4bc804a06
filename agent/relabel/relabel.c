/* Compiled relabel rules and their application. One rule:
 *
 *   1. join the source labels' values     2. match (by RE2; not at all for the default regex)     3. act
 *
 * Failure modes: a pattern that RE2 does not take, at compile time; memory, at any time.
 */
#include "case.h"
#include "md5.h"
#include "rule.h"
#include "template.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	RULES_MAX_BYTES = 8 << 20, /* of a program, regexes not counted */
	RULES_MAX_COST = 1000000,  /* of its regexes */
};

struct compiled_rule {
	enum relabel_action action;
	struct span *sources;
	size_t source_count;
	struct span separator, target;
	struct regex *regex; /* NULL: `(.*)`, matches everything, group 1 is the value */
	uint64_t modulus;
	struct template target_template, replacement;
	size_t groups; /* the highest group that the templates ask for */
};

struct relabel {
	struct arena arena;
	struct compiled_rule *rules;
	size_t count, cost;
};

/* ---- compile ------------------------------------------------------------------ */

static bool copy_span(struct arena *arena, struct span s, struct span *ret_copy)
{
	*ret_copy = span_of(arena_spandup(arena, s), s.len);
	return ret_copy->ptr != NULL;
}

static int compile_regex(struct span pattern, struct regex **ret_regex, struct error *err)
{
	char reason[256];
	if (span_eq(pattern, SPAN(RULE_REGEX)))
		return 0;
	int result = regex_new(pattern.ptr, pattern.len, ret_regex, reason, sizeof(reason));
	return result == -EINVAL ? error_set(err, EINVAL, "regex: %s", reason) : result;
}

static int compile_templates(struct compiled_rule *out, struct span replacement, struct arena *arena)
{
	struct span copy;
	if (!copy_span(arena, replacement, &copy) || template_compile(out->regex, copy, arena, &out->replacement) < 0 ||
		template_compile(out->regex, out->target, arena, &out->target_template) < 0)
		return -ENOMEM;
	out->groups = out->replacement.groups;
	if (out->action == RELABEL_REPLACE && out->target_template.groups > out->groups)
		out->groups = out->target_template.groups;
	return 0;
}

static int compile_rule(
	const struct relabel_rule *rule, struct arena *arena, struct compiled_rule *out, struct error *err)
{
	const char *key = NULL;
	int result = rule_validate(rule, &key, err);
	if (result < 0)
		return error_wrap(err, -result, "%s", key);
	out->action = (enum relabel_action)rule->action;
	out->modulus = rule->modulus;
	out->source_count = rule->source_labels.count;
	out->sources = arena_alloc(arena, out->source_count * sizeof(*out->sources));
	if (!out->sources || !copy_span(arena, rule_separator(rule), &out->separator) ||
		!copy_span(arena, span_str(rule->target_label), &out->target))
		return -ENOMEM;
	for (size_t i = 0; i < out->source_count; i++)
		if (!copy_span(arena, span_str(rule->source_labels.items[i]), &out->sources[i]))
			return -ENOMEM;
	result = compile_regex(rule_regex(rule), &out->regex, err);
	return result < 0 ? result : compile_templates(out, rule_replacement(rule), arena);
}

int relabel_compile(const struct relabel_rule *rules, size_t count, struct relabel **ret_relabel, struct error *err)
{
	if (count == 0) {
		*ret_relabel = NULL;
		return 0;
	}
	struct relabel *relabel = calloc(1, sizeof(*relabel));
	if (!relabel)
		return error_set(err, ENOMEM, "out of memory");
	arena_init(&relabel->arena, RULES_MAX_BYTES);
	relabel->rules = arena_alloc(&relabel->arena, count * sizeof(*relabel->rules));
	int result = relabel->rules ? 0 : -ENOMEM;
	for (; result == 0 && relabel->count < count; relabel->count++) {
		struct error why = {""};
		struct compiled_rule *rule = &relabel->rules[relabel->count];
		result = compile_rule(&rules[relabel->count], &relabel->arena, rule, &why);
		relabel->cost += rule->regex ? regex_cost(rule->regex) : 0;
		if (result == 0 && relabel->cost > RULES_MAX_COST)
			result = error_set(&why, EINVAL, "the regular expressions so far are too large together");
		if (result == -EINVAL)
			error_set(err, EINVAL, "rule %zu: %s", relabel->count, why.text);
	}
	if (result == -ENOMEM)
		error_set(err, ENOMEM, "out of memory");
	if (result < 0) {
		relabel_free(relabel);
		return result;
	}
	*ret_relabel = relabel;
	return 0;
}

size_t relabel_cost(const struct relabel *relabel)
{
	return relabel ? relabel->cost : 0;
}

void relabel_free(struct relabel *relabel)
{
	if (!relabel)
		return;
	for (size_t i = 0; i < relabel->count; i++)
		if (relabel->rules[i].regex)
			regex_free(relabel->rules[i].regex);
	arena_done(&relabel->arena);
	free(relabel);
}

/* ---- apply --------------------------------------------------------------------- */

static int source_value(const struct compiled_rule *rule, struct labels_builder *labels, struct span *ret_value)
{
	if (rule->source_count <= 1) { /* nothing to join: no copy */
		*ret_value = rule->source_count ? labels_builder_get(labels, rule->sources[0]) : SPAN_NONE;
		return 0;
	}
	size_t len = rule->separator.len * (rule->source_count - 1);
	for (size_t i = 0; i < rule->source_count; i++)
		len += labels_builder_get(labels, rule->sources[i]).len;
	char *joined = arena_alloc(labels->arena, len), *end = joined;
	if (!joined)
		return -ENOMEM;
	for (size_t i = 0; i < rule->source_count; i++) {
		struct span value = labels_builder_get(labels, rule->sources[i]);
		if (i > 0)
			end = mempcpy(end, rule->separator.ptr, rule->separator.len);
		if (value.len > 0)
			end = mempcpy(end, value.ptr, value.len);
	}
	*ret_value = span_of(joined, len);
	return 0;
}

static int match(const struct compiled_rule *rule, struct span text, size_t groups)
{
	return rule->regex ? regex_match(rule->regex, text.ptr, text.len, groups) : 1;
}

static int replace(const struct compiled_rule *rule, struct labels_builder *labels, struct span value)
{
	struct span name, text;
	int matched = match(rule, value, rule->groups);
	if (matched <= 0)
		return matched < 0 ? matched : 1;
	if (template_expand(&rule->target_template, rule->regex, value, labels->arena, &name) < 0 ||
		template_expand(&rule->replacement, rule->regex, value, labels->arena, &text) < 0)
		return -ENOMEM;
	if (!label_name_valid(name))
		return 1;
	return labels_set_borrowed(labels, name, text) < 0 ? -ENOMEM : 1;
}

static int hash_modulus(const struct compiled_rule *rule, struct labels_builder *labels, struct span value)
{
	unsigned char digest[16];
	uint64_t hash;
	char text[24];
	md5(value, digest);
	memcpy(&hash, digest + 8, sizeof(hash));
	int len = snprintf(text, sizeof(text), "%" PRIu64, be64toh(hash) % rule->modulus);
	return labels_set(labels, rule->target, span_of(text, (size_t)len)) < 0 ? -ENOMEM : 1;
}

static int map_case(const struct compiled_rule *rule, struct labels_builder *labels, struct span value)
{
	struct span mapped =
		rule->action == RELABEL_UPPERCASE ? case_upper(labels->arena, value) : case_lower(labels->arena, value);
	if (!mapped.ptr || labels_set_borrowed(labels, rule->target, mapped) < 0)
		return -ENOMEM;
	return 1;
}

/* Works on the labels as they were before the rule, so that a name that it makes is not mapped again. */
static int map_names(const struct compiled_rule *rule, struct labels_builder *labels)
{
	struct labels view = labels_builder_view(labels);
	struct label *before = arena_alloc(labels->arena, view.count * sizeof(*before));
	if (!before)
		return -ENOMEM;
	if (view.count > 0)
		memcpy(before, view.items, view.count * sizeof(*before));
	for (size_t i = 0; i < view.count; i++) {
		struct span name;
		int matched = match(rule, before[i].name, rule->groups);
		if (matched == 0)
			continue;
		if (matched < 0 ||
			template_expand(&rule->replacement, rule->regex, before[i].name, labels->arena, &name) < 0)
			return -ENOMEM;
		if (label_name_valid(name) && labels_set_borrowed(labels, name, before[i].value) < 0)
			return -ENOMEM;
	}
	return 1;
}

static int drop_names(const struct compiled_rule *rule, struct labels_builder *labels, bool drop_matching)
{
	for (size_t i = labels->count; i-- > 0;) { /* from the end: deleting moves only what was seen */
		struct span name = labels->items[i].name;
		int matched = match(rule, name, 0);
		if (matched < 0)
			return matched;
		if ((matched == 1) == drop_matching)
			labels_delete(labels, name);
	}
	return 1;
}

/* 1 kept, 0 dropped, -ENOMEM. */
static int apply_rule(const struct compiled_rule *rule, struct labels_builder *labels)
{
	struct span value;
	int matched;
	if (source_value(rule, labels, &value) < 0)
		return -ENOMEM;
	switch (rule->action) {
	case RELABEL_KEEP:
		return match(rule, value, 0);
	case RELABEL_DROP:
		matched = match(rule, value, 0);
		return matched < 0 ? matched : !matched;
	case RELABEL_KEEPEQUAL:
		return span_eq(labels_builder_get(labels, rule->target), value);
	case RELABEL_DROPEQUAL:
		return !span_eq(labels_builder_get(labels, rule->target), value);
	case RELABEL_HASHMOD:
		return hash_modulus(rule, labels, value);
	case RELABEL_LABELMAP:
		return map_names(rule, labels);
	case RELABEL_LABELDROP:
		return drop_names(rule, labels, true);
	case RELABEL_LABELKEEP:
		return drop_names(rule, labels, false);
	case RELABEL_LOWERCASE:
	case RELABEL_UPPERCASE:
		return map_case(rule, labels, value);
	case RELABEL_REPLACE:
		break;
	}
	return replace(rule, labels, value);
}

int relabel_apply(const struct relabel *relabel, struct labels_builder *labels, size_t *ret_rule)
{
	for (size_t i = 0; relabel && i < relabel->count; i++) {
		int result = apply_rule(&relabel->rules[i], labels);
		if (result <= 0) {
			if (result == 0 && ret_rule)
				*ret_rule = i;
			return result;
		}
	}
	return labels->failed ? labels->failed : 1;
}
