/* Label selectors: what matches, and how they are written in objects and in the configuration. */
#include "read.h"

#include <errno.h>
#include <stdlib.h>

static const char *const operator_names[] = {"In", "NotIn", "Exists", "DoesNotExist"};

/* Empty values count as present: SPAN_NONE only when the key is absent. */
static bool get(struct labels labels, struct span key, struct span *ret_value)
{
	size_t low = 0, high = labels.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = span_cmp(labels.items[middle].name, key);
		if (order == 0) {
			*ret_value = labels.items[middle].value;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static bool is_among(const struct monitor_requirement *requirement, struct span value)
{
	for (size_t i = 0; i < requirement->value_count; i++) {
		if (span_eq(requirement->values[i], value))
			return true;
	}
	return false;
}

static bool holds(const struct monitor_requirement *requirement, struct labels labels)
{
	struct span value;
	bool present = get(labels, requirement->key, &value);
	switch (requirement->operator_) {
	case MONITOR_IN:
		return present && is_among(requirement, value);
	case MONITOR_NOT_IN:
		return !present || !is_among(requirement, value);
	case MONITOR_EXISTS:
		return present;
	case MONITOR_DOES_NOT_EXIST:
		return !present;
	}
	return false;
}

const struct monitor_requirement *monitor_selector_unmet(const struct monitor_selector *selector, struct labels labels)
{
	for (size_t i = 0; i < selector->count; i++) {
		if (!holds(&selector->items[i], labels))
			return &selector->items[i];
	}
	return NULL;
}

bool monitor_selector_matches(const struct monitor_selector *selector, struct labels labels)
{
	return !monitor_selector_unmet(selector, labels);
}

/* What the API server's validation says of an expression; NULL: fine. */
static const char *expression_fault(enum monitor_operator operator_, size_t value_count)
{
	bool wants_values = operator_ == MONITOR_IN || operator_ == MONITOR_NOT_IN;
	if (wants_values && value_count == 0)
		return "values: In and NotIn need at least one";
	if (!wants_values && value_count > 0)
		return "values: Exists and DoesNotExist take none";
	return NULL;
}

/* ---- of an object -------------------------------------------------------------------------- */

struct expression {
	const char *key, *operator_;
	struct option_strings values;
};

static const struct field expression_fields[] = {
	FIELD("key", field_text, struct expression, key),
	FIELD("operator", field_text, struct expression, operator_),
	FIELD("values", field_texts, struct expression, values),
	{0},
};

static int operator_of(const char *name)
{
	for (int i = 0; name && i <= MONITOR_DOES_NOT_EXIST; i++) {
		if (strcmp(name, operator_names[i]) == 0)
			return i;
	}
	return -EINVAL;
}

static const struct span *spans_of(struct arena *arena, struct option_strings strings)
{
	struct span *spans = arena_alloc(arena, strings.count * sizeof(*spans));
	for (size_t i = 0; spans && i < strings.count; i++)
		spans[i] = span_str(strings.items[i]);
	return spans;
}

static void read_expression(struct reader *reader, const struct json *value, struct monitor_requirement *requirement)
{
	struct expression expression = {0};
	read_fields(reader, value, expression_fields, &expression);
	int operator_ = operator_of(expression.operator_);
	const char *fault = operator_ < 0 ? "operator: In, NotIn, Exists or DoesNotExist is expected"
					  : expression_fault((enum monitor_operator)operator_, expression.values.count);
	if (!expression.key || expression.key[0] == '\0')
		fault = "key: a label is expected";
	if (fault)
		find(reader, MONITOR_REJECTED, "%s", fault);
	*requirement = (struct monitor_requirement){.key = span_str(expression.key),
		.operator_ = fault ? MONITOR_IN : (enum monitor_operator)operator_,
		.values = spans_of(&reader->monitor->arena, expression.values),
		.value_count = expression.values.count};
	reader->no_memory = reader->no_memory || !requirement->values;
}

static void read_label(
	struct reader *reader, struct span key, const struct json *value, struct monitor_requirement *requirement)
{
	const char *name = read_copy(reader, key);
	if (!name)
		return;
	size_t path = path_push(reader, name);
	struct span *values = read_alloc(reader, sizeof(*values));
	const char *text = read_string(reader, value);
	path_pop(reader, path);
	if (values && text)
		*values = span_str(text);
	*requirement = (struct monitor_requirement){
		.key = span_str(name), .operator_ = MONITOR_IN, .values = values, .value_count = text ? 1 : 0};
}

struct selector {
	const struct json *labels, *expressions;
};

static const struct field selector_fields[] = {
	FIELD("matchLabels", field_json, struct selector, labels),
	FIELD("matchExpressions", field_json, struct selector, expressions),
	{0},
};

void read_selector(struct reader *reader, const struct json *object, struct monitor_selector *ret_selector)
{
	struct selector selector = {0};
	read_fields(reader, object, selector_fields, &selector);
	size_t labels = 0, expressions = 0;
	if (selector.labels && read_is(reader, selector.labels, JSON_OBJECT))
		labels = selector.labels->count;
	if (selector.expressions && read_is(reader, selector.expressions, JSON_ARRAY))
		expressions = selector.expressions->count;
	struct monitor_requirement *items = read_alloc(reader, (labels + expressions) * sizeof(*items));
	size_t path = path_push(reader, "matchLabels");
	for (size_t i = 0; items && i < labels; i++)
		read_label(reader, selector.labels->keys[i], &selector.labels->items[i], &items[i]);
	path_pop(reader, path);
	path = path_push(reader, "matchExpressions");
	for (size_t i = 0; items && i < expressions; i++) {
		size_t inner = path_push_index(reader, i);
		read_expression(reader, &selector.expressions->items[i], &items[labels + i]);
		path_pop(reader, inner);
	}
	path_pop(reader, path);
	*ret_selector = (struct monitor_selector){items, items ? labels + expressions : 0};
}

/* ---- of the configuration -------------------------------------------------------------------------- */

static bool values_of_label(struct arena *arena, const char *value, struct monitor_requirement *requirement)
{
	struct span *values = arena_alloc(arena, sizeof(*values));
	if (!values)
		return false;
	*values = span_str(value);
	requirement->values = values;
	requirement->value_count = 1;
	return true;
}

int selector_of_options(
	struct arena *arena, const struct monitor_selector_options *options, struct monitor_selector *ret_selector)
{
	const struct monitor_expression_options *expressions = options->match_expressions.items;
	size_t labels = options->match_labels.count, count = labels + options->match_expressions.count;
	struct monitor_requirement *items = arena_alloc(arena, count * sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < labels; i++) {
		items[i] = (struct monitor_requirement){.key = span_str(options->match_labels.items[i].name)};
		if (!values_of_label(arena, options->match_labels.items[i].value, &items[i]))
			return -ENOMEM;
	}
	for (size_t i = labels; i < count; i++) {
		const struct monitor_expression_options *from = &expressions[i - labels];
		items[i] = (struct monitor_requirement){.key = span_str(from->key),
			.operator_ = (enum monitor_operator)from->operator_,
			.values = spans_of(arena, from->values),
			.value_count = from->values.count};
		if (!items[i].values)
			return -ENOMEM;
	}
	*ret_selector = (struct monitor_selector){items, count};
	return 0;
}
