/* The labels that a sample has in the end: exposed, target's, relabelled, checked (semantics 3.6, 3.7).
 *
 * 1. labels as they stand in the body; a name twice fails the scrape (D-11)
 * 2. target labels: they win and the exposed one becomes exported_X, or (honor_labels) they fill gaps
 * 3. metric_relabel_configs
 * 4. a name is left, and no limit is passed
 */
#include "ingest.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int fail_scrape(struct ingest *in, enum series_failure failure, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	if (in->err)
		vsnprintf(in->err->text, sizeof(in->err->text), fmt, args);
	va_end(args);
	in->result->failure = failure;
	return -EBADMSG;
}

static struct label *exposed_labels(const struct ingest *in)
{
	return (struct label *)(void *)in->store->exposed.ptr;
}
static size_t exposed_count(const struct ingest *in)
{
	return in->store->exposed.len / sizeof(struct label);
}

/* ---- 1: as exposed ------------------------------------------------------------------ */

/* Go's strconv 'g' with the shortest digits, and ".0" where there is neither point nor exponent (semantics 3.5). */
static void format_bound(double value, char *out, size_t size)
{
	int digits = 0;
	do
		snprintf(out, size, "%.*e", digits, value);
	while (strtod(out, NULL) != value && ++digits < 17);
	int exponent = atoi(strchr(out, 'e') + 1);
	if (exponent < -4 || exponent >= 6)
		return; /* Go decides as if six digits were asked for */
	snprintf(out, size, "%.*f%s", digits > exponent ? digits - exponent : 0, value, digits > exponent ? "" : ".0");
}

/* Prometheus' parser writes le and quantile in one form below a TYPE line that says so. Rules and attributes see that form. */
static struct span normalised(struct ingest *in, struct span name, struct span value)
{
	double number;
	if (in->type_line == NONE || value.len == 0)
		return value;
	enum expo_type type = (enum expo_type)in->view.families[in->view.lines[in->type_line].ref].type;
	bool is_bound = (type == EXPO_TYPE_HISTOGRAM && span_eq(name, SPAN("le"))) ||
			(type == EXPO_TYPE_SUMMARY && span_eq(name, SPAN("quantile")));
	if (!is_bound || expo_number(value, &number) < 0)
		return value;
	if (isnan(number))
		return SPAN("NaN");
	if (isinf(number))
		return number > 0 ? SPAN("+Inf") : SPAN("-Inf");
	char text[40];
	format_bound(number, text, sizeof(text));
	const char *copy = arena_spandup(&in->store->labels_arena, span_str(text));
	return copy ? span_str(copy) : value;
}

static int unescaped(struct ingest *in, struct expo_text text, struct span *ret_span)
{
	*ret_span = text.raw;
	if (!text.escaped)
		return 0;
	struct buf *scratch = &in->store->scratch;
	buf_reset(scratch);
	if (expo_unescape(scratch, text, false) < 0)
		return scratch->failed;
	const char *copy = arena_spandup(&in->store->labels_arena, buf_view(scratch));
	*ret_span = span_of(copy, scratch->len);
	return copy ? 0 : -ENOMEM;
}

static int add_exposed(struct ingest *in, struct labels_builder *builder, struct span name, struct span value)
{
	const struct label *exposed = exposed_labels(in);
	size_t count = exposed_count(in);
	for (size_t i = 0; i < count; i++) {
		if (span_eq(exposed[i].name, name))
			return fail_scrape(in, SERIES_BAD_SERIES, "label name \"%s\" is not unique: invalid sample",
				escape_bytes(name).text);
	}
	/* The name is not counted here: it is no label in braces. */
	if (count > in->target->limits.max_labels)
		return fail_scrape(in, SERIES_LABEL_LIMIT, "more than %llu labels on one series",
			(unsigned long long)in->target->limits.max_labels);
	struct label label = {name, normalised(in, name, value)};
	int result = buf_append(&in->store->exposed, &label, sizeof(label));
	return result < 0 ? result : labels_set_borrowed(builder, label.name, label.value);
}

static int read_exposed(struct ingest *in, struct labels_builder *builder, const struct expo_entry *entry)
{
	struct span name, value, rest = entry->labels;
	struct expo_text raw_name, raw_value;
	buf_reset(&in->store->exposed);
	int result = unescaped(in, entry->name, &value);
	if (result == 0)
		result = add_exposed(in, builder, SPAN("__name__"), value);
	while (result == 0 && expo_label_next(in->parser.format, &rest, &raw_name, &raw_value) == 1) {
		result = unescaped(in, raw_name, &name);
		if (result == 0)
			result = unescaped(in, raw_value, &value);
		if (result == 0)
			result = add_exposed(in, builder, name, value);
	}
	return result;
}

/* ---- 2: the target's ----------------------------------------------------------------- */

static bool is_exposed(const struct ingest *in, struct span name)
{
	const struct label *exposed = exposed_labels(in);
	for (size_t i = 0; i < exposed_count(in); i++) {
		if (span_eq(exposed[i].name, name))
			return true;
	}
	return false;
}

/* An exposed label with an empty value counts here: it keeps the target's label away (T-22). */
static void fill_gaps(struct ingest *in, struct labels_builder *builder)
{
	for (size_t i = 0; i < in->target->labels.count; i++) {
		struct label label = in->target->labels.items[i];
		if (!is_exposed(in, label.name))
			labels_set_borrowed(builder, label.name, label.value);
	}
}

static int by_name_length(const void *a, const void *b)
{
	const struct label *x = a, *y = b;
	if (x->name.len != y->name.len)
		return x->name.len < y->name.len ? -1 : 1;
	return span_cmp(x->name, y->name);
}

static int export_label(struct ingest *in, struct labels_builder *builder, struct label label)
{
	struct buf *name = &in->store->scratch;
	buf_reset(name);
	buf_span(name, label.name);
	do {
		buf_str(name, "exported_");
		if (name->failed)
			return name->failed;
		memmove(name->ptr + strlen("exported_"), name->ptr, name->len - strlen("exported_"));
		memcpy(name->ptr, "exported_", strlen("exported_"));
	} while (labels_builder_get(builder, buf_view(name)).len > 0);
	return labels_set(builder, buf_view(name), label.value);
}

static int overrule(struct ingest *in, struct labels_builder *builder)
{
	struct labels ours = in->target->labels;
	struct label *clashes = arena_alloc(builder->arena, ours.count * sizeof(*clashes));
	size_t count = 0;
	if (!clashes)
		return -ENOMEM;
	for (size_t i = 0; i < ours.count; i++) {
		struct span exposed = labels_builder_get(builder, ours.items[i].name);
		if (exposed.len > 0)
			clashes[count++] = (struct label){ours.items[i].name, exposed};
		labels_set_borrowed(builder, ours.items[i].name, ours.items[i].value);
	}
	qsort(clashes, count, sizeof(*clashes), by_name_length);
	for (size_t i = 0; i < count; i++) {
		if (export_label(in, builder, clashes[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* ---- 4: checks ------------------------------------------------------------------------ */

/* For a message: at most 50 bytes, as Prometheus cuts them. */
static struct escaped cut(struct span s)
{
	return escape_bytes(span_of(s.ptr, s.len < 50 ? s.len : 50));
}

static int check_limits(struct ingest *in, struct labels labels, struct span name)
{
	const struct series_target *target = in->target;
	uint64_t limit = target->label_limit;
	if (limit > 0 && labels.count > limit)
		return fail_scrape(in, SERIES_LABEL_LIMIT,
			"label_limit exceeded (metric: %s, number of labels: %zu, limit: %llu)", cut(name).text,
			labels.count, (unsigned long long)limit);
	for (size_t i = 0; i < labels.count; i++) {
		struct label label = labels.items[i];
		limit = target->label_name_length_limit;
		if (limit > 0 && label.name.len > limit)
			return fail_scrape(in, SERIES_LABEL_LIMIT,
				"label_name_length_limit exceeded (metric: %s, label name: %s, length: %zu, limit: "
				"%llu)",
				cut(name).text, cut(label.name).text, label.name.len, (unsigned long long)limit);
		limit = target->label_value_length_limit;
		if (limit > 0 && label.value.len > limit)
			return fail_scrape(in, SERIES_LABEL_LIMIT,
				"label_value_length_limit exceeded (metric: %s, label name: %s, value: \"%s\", length: "
				"%zu, limit: %llu)",
				cut(name).text, cut(label.name).text, cut(label.value).text, label.value.len,
				(unsigned long long)limit);
	}
	return 0;
}

int sample_labels(struct ingest *in, const struct expo_entry *entry, struct labels *ret_labels)
{
	struct labels_builder builder;
	arena_reset(&in->store->labels_arena);
	labels_builder_init(&builder, &in->store->labels_arena);
	int result = read_exposed(in, &builder, entry);
	if (result < 0)
		return result;
	if (in->target->honor_labels)
		fill_gaps(in, &builder);
	else
		result = overrule(in, &builder);
	if (builder.failed || result < 0)
		return -ENOMEM;

	result = relabel_apply(in->target->metric_relabel, &builder, NULL);
	if (result < 0 && in->store->labels_arena.full)
		return fail_scrape(in, SERIES_BAD_SERIES, "relabelling makes its labels too large");
	struct labels labels = labels_builder_view(&builder);
	if (result <= 0 || labels.count == 0)
		return result < 0 ? result : 0;

	struct span name = labels_get(labels, SPAN("__name__"));
	if (name.len == 0)
		return fail_scrape(in, SERIES_BAD_SERIES, "missing metric name");
	result = check_limits(in, labels, name);
	if (result < 0)
		return result;
	*ret_labels = labels;
	return 1;
}
