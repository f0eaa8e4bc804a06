/* A relabel_config of the configuration file: its keys, and what Prometheus accepts. source: relabel_config in Prometheus'
 * documentation; what its configuration loader refuses. */
#include "rule.h"
#include "re2_shim.h"

#include <errno.h>

static const char *const action_names[] = {"replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap",
	"labeldrop", "labelkeep", "lowercase", "uppercase", NULL};

bool label_name_valid(struct span name)
{
	return name.len > 0 && span_is_utf8(name);
}

struct span rule_separator(const struct relabel_rule *rule)
{
	return span_str(rule->separator ? rule->separator : RULE_SEPARATOR);
}

struct span rule_regex(const struct relabel_rule *rule)
{
	return span_str(rule->regex ? rule->regex : RULE_REGEX);
}

struct span rule_replacement(const struct relabel_rule *rule)
{
	return span_str(rule->replacement ? rule->replacement : RULE_REPLACEMENT);
}

static void put_quoted(struct buf *out, const char *before, const char *text)
{
	if (!text)
		return;
	buf_str(out, before);
	buf_json(out, span_str(text));
}

int relabel_rule_text(const struct relabel_rule *rule, struct buf *out)
{
	bool known = rule->action >= 0 && rule->action <= RELABEL_UPPERCASE;
	buf_str(out, known ? action_names[rule->action] : "?");
	for (size_t i = 0; i < rule->source_labels.count; i++)
		buf_printf(out, "%s%s", i ? ", " : " [", escape_bytes(span_str(rule->source_labels.items[i])).text);
	if (rule->source_labels.count > 0)
		buf_char(out, ']');
	if (!span_eq(rule_separator(rule), SPAN(RULE_SEPARATOR)))
		put_quoted(out, " separator ", rule->separator);
	if (!span_eq(rule_regex(rule), SPAN(RULE_REGEX)))
		put_quoted(out, " =~ ", rule->regex);
	if (rule->modulus > 0)
		buf_printf(out, " %% %llu", (unsigned long long)rule->modulus);
	if (rule->target_label && rule->target_label[0])
		buf_printf(out, " -> %s", escape_bytes(span_str(rule->target_label)).text);
	if (!span_eq(rule_replacement(rule), SPAN(RULE_REPLACEMENT)))
		put_quoted(out, " = ", rule->replacement);
	return out->failed;
}

static bool needs_target(int action)
{
	return action == RELABEL_REPLACE || action == RELABEL_HASHMOD || action == RELABEL_LOWERCASE ||
	       action == RELABEL_UPPERCASE || action == RELABEL_KEEPEQUAL || action == RELABEL_DROPEQUAL;
}

/* The first key that was changed from its default though the action has no use for it, or NULL. */
static const char *unwanted_key(const struct relabel_rule *rule)
{
	bool equal = rule->action == RELABEL_KEEPEQUAL || rule->action == RELABEL_DROPEQUAL;
	bool names = rule->action == RELABEL_LABELDROP || rule->action == RELABEL_LABELKEEP;
	bool cases = rule->action == RELABEL_LOWERCASE || rule->action == RELABEL_UPPERCASE;
	if (names && rule->source_labels.count > 0)
		return "source_labels";
	if (names && rule->target_label && rule->target_label[0])
		return "target_label";
	if (equal && !span_eq(rule_regex(rule), SPAN(RULE_REGEX)))
		return "regex";
	if ((equal || names) && rule->modulus != 0)
		return "modulus";
	if ((equal || names) && !span_eq(rule_separator(rule), SPAN(RULE_SEPARATOR)))
		return "separator";
	if ((equal || names || cases) && !span_eq(rule_replacement(rule), SPAN(RULE_REPLACEMENT)))
		return "replacement";
	return NULL;
}

static int validate_names(const struct relabel_rule *rule, const char **ret_key, struct error *err)
{
	const char *action = action_names[rule->action];
	struct span target = span_str(rule->target_label);
	*ret_key = "source_labels";
	for (size_t i = 0; i < rule->source_labels.count; i++)
		if (!label_name_valid(span_str(rule->source_labels.items[i])))
			return error_set(err, EINVAL, "`%s` is not a label name",
				escape_bytes(span_str(rule->source_labels.items[i])).text);
	*ret_key = "target_label";
	if (needs_target(rule->action) && target.len == 0)
		return error_set(err, EINVAL, "action %s needs a target_label", action);
	if (target.len > 0 && !label_name_valid(target))
		return error_set(err, EINVAL, "`%s` is not a label name", escape_bytes(target).text);
	*ret_key = "replacement";
	if (rule->action == RELABEL_LABELMAP && !label_name_valid(rule_replacement(rule)))
		return error_set(err, EINVAL, "`%s` gives no label name", escape_bytes(rule_replacement(rule)).text);
	return 0;
}

int rule_validate(const struct relabel_rule *rule, const char **ret_key, struct error *err)
{
	if (rule->action < 0 || rule->action > RELABEL_UPPERCASE) {
		*ret_key = "action";
		return error_set(err, EINVAL, "unknown action");
	}
	int result = validate_names(rule, ret_key, err);
	if (result < 0)
		return result;
	*ret_key = "modulus";
	if (rule->action == RELABEL_HASHMOD && rule->modulus == 0)
		return error_set(err, EINVAL, "action hashmod needs a modulus above 0");
	*ret_key = unwanted_key(rule);
	if (*ret_key)
		return error_set(err, EINVAL, "action %s has no use for %s", action_names[rule->action], *ret_key);
	return 0;
}

/* The same checks as relabel_compile, but with the key to blame, and before anything is built from the file. */
static int rule_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	(void)arena;
	const struct relabel_rule *rule = object;
	const char *key = NULL;
	int result = rule_validate(rule, &key, err);
	if (result == 0) {
		struct span pattern = rule_regex(rule);
		struct regex *regex;
		char reason[256];
		key = "regex";
		result = regex_new(pattern.ptr, pattern.len, &regex, reason, sizeof(reason));
		if (result == -EINVAL)
			error_set(err, EINVAL, "%s", reason);
		else if (result == 0)
			regex_free(regex);
	}
	if (result < 0)
		*ret_key = key;
	return result;
}

#define FIELD(name) offsetof(struct relabel_rule, name)
static const struct option rule_options[] = {
	{.name = "source_labels",
		.kind = OPTION_STRINGS,
		.offset = FIELD(source_labels),
		.help = "Labels whose values, joined by `separator`, the action works on; a label that is absent "
			"counts as empty."},
	{.name = "separator",
		.kind = OPTION_STRING,
		.offset = FIELD(separator),
		.value = RULE_SEPARATOR,
		.help = "What stands between the values of `source_labels`."},
	{.name = "regex",
		.kind = OPTION_STRING,
		.offset = FIELD(regex),
		.value = RULE_REGEX,
		.help = "RE2 expression that the whole value (labelmap, labeldrop, labelkeep: label name) must match; "
			"`.` matches a "
			"newline too; at most 4096 bytes."},
	{.name = "modulus",
		.kind = OPTION_COUNT,
		.offset = FIELD(modulus),
		.help = "For action hashmod: the hash of the value modulo this number goes to `target_label`."},
	{.name = "target_label",
		.kind = OPTION_STRING,
		.offset = FIELD(target_label),
		.help = "Label that is set; for action replace it may contain groups of the regex (`${1}`)."},
	{.name = "replacement",
		.kind = OPTION_STRING,
		.offset = FIELD(replacement),
		.value = RULE_REPLACEMENT,
		.help = "New value, or for action labelmap the new name, with groups of the regex (`$1`, `${1}`, "
			"`${name}`); an empty result deletes the label."},
	{.name = "action",
		.kind = OPTION_CHOICE,
		.offset = FIELD(action),
		.value = "replace",
		.choices = action_names,
		.help = "What is done: set a label (replace, hashmod, lowercase, uppercase), keep or drop by value "
			"(keep, drop, "
			"keepequal, dropequal), or copy or remove labels by name (labelmap, labeldrop, labelkeep)."},
	{.name = NULL},
};

const struct option_table relabel_rule_table = {
	.name = "relabel_config",
	.help = "One step of relabelling, as in Prometheus.",
	.size = sizeof(struct relabel_rule),
	.options = rule_options,
	.positioned = true,
	.choices_ignore_case = true,
	.check = rule_check,
};
