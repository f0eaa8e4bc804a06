/* Metadata: what HELP, TYPE and UNIT lines said, and which family a sample belongs to (semantics 2.6, D-1, D-3, D-26).
 *
 * Metadata outlives its lines by eleven scrapes (T-14), so a type may be known before its line comes. A series is derived
 * once, under the metadata of that moment; when a line changes what a derived series rests on, the ingest goes cold: every
 * line that was not seen yet is derived anew, and so is all of the next scrape (the type known at a family's first sample
 * decides for this scrape, Q-9).
 */
#include "ingest.h"

#include <errno.h>

#define TYPE_BIT(type) (1U << EXPO_TYPE_##type)

static const struct suffix {
	struct span text;
	unsigned types; /* whose families it belongs to */
	enum family_part part;
} suffixes[] = {
	{{"_bucket", 7}, TYPE_BIT(COUNTER) | TYPE_BIT(HISTOGRAM) | TYPE_BIT(GAUGEHISTOGRAM), PART_OF_BOUND},
	{{"_count", 6}, TYPE_BIT(COUNTER) | TYPE_BIT(HISTOGRAM) | TYPE_BIT(SUMMARY) | TYPE_BIT(GAUGEHISTOGRAM),
		PART_OF_COUNT},
	{{"_sum", 4}, TYPE_BIT(COUNTER) | TYPE_BIT(HISTOGRAM) | TYPE_BIT(SUMMARY) | TYPE_BIT(GAUGEHISTOGRAM),
		PART_OF_SUM},
	{{"_total", 6}, TYPE_BIT(COUNTER), PART_OF_VALUE},
	{{"_info", 5}, TYPE_BIT(COUNTER) | TYPE_BIT(INFO), PART_OF_VALUE},
	{{"_created", 8},
		TYPE_BIT(COUNTER) | TYPE_BIT(HISTOGRAM) | TYPE_BIT(SUMMARY) | TYPE_BIT(GAUGEHISTOGRAM) |
			TYPE_BIT(INFO) | TYPE_BIT(STATESET),
		PART_OF_START},
	{{"_gcount", 7}, TYPE_BIT(GAUGEHISTOGRAM), PART_OF_COUNT},
	{{"_gsum", 5}, TYPE_BIT(GAUGEHISTOGRAM), PART_OF_SUM},
};

enum otlp_data family_data(enum expo_type type)
{
	switch (type) {
	case EXPO_TYPE_COUNTER:
		return OTLP_SUM;
	case EXPO_TYPE_INFO:
	case EXPO_TYPE_STATESET:
		return OTLP_SUM_NONMONOTONIC;
	case EXPO_TYPE_HISTOGRAM:
		return OTLP_HISTOGRAM;
	case EXPO_TYPE_SUMMARY:
		return OTLP_SUMMARY;
	default:
		return OTLP_GAUGE;
	}
}

const struct series_report_metric series_report_metrics[SERIES_REPORT_METRICS] = {
	{SPAN("up"), SPAN("The scraping was successful"), SPAN("")},
	{SPAN("scrape_duration_seconds"), SPAN("Duration of the scrape"), SPAN("s")},
	{SPAN("scrape_samples_scraped"), SPAN("The number of samples the target exposed"), SPAN("")},
	{SPAN("scrape_samples_post_metric_relabeling"),
		SPAN("The number of samples remaining after metric relabeling was applied"), SPAN("")},
	{SPAN("scrape_series_added"), SPAN("The approximate number of new series in this scrape"), SPAN("")},
};

/* NONE: not there. -ENOMEM. */
static int find_family(struct ingest *in, struct span name, uint32_t *ret_family)
{
	struct lookup *lookup = in_lookup(in, LOOKUP_FAMILIES);
	if (!lookup)
		return -ENOMEM;
	uint32_t number;
	*ret_family = NONE;
	for (struct lookup_probe probe = lookup_probe(lookup, hash_text(in, name));
		lookup_next(lookup, &probe, &number);) {
		if (span_eq(view_text(&in->view, in->view.families[number].name), name)) {
			*ret_family = number;
			return 0;
		}
	}
	return 0;
}

/* ---- from a sample's name to its family ------------------------------------------- */

static void resolve_to(struct ingest *in, uint32_t number, enum family_part part, struct span metric,
	struct resolution *ret_resolution)
{
	struct family *family = &in->view.families[number];
	family->used = true;
	*ret_resolution = (struct resolution){
		.family = number,
		.type = (enum expo_type)family->type,
		.part = part,
		.metric = metric,
		.description = view_text(&in->view, family->help),
		.unit = unit_ucum(view_text(&in->view, family->unit), &in->store->scratch),
	};
}

/* NULL: it is none. */
static const struct series_report_metric *find_report(struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(series_report_metrics); i++) {
		if (span_eq(series_report_metrics[i].name, name))
			return &series_report_metrics[i];
	}
	return NULL;
}

bool family_is_report(struct span name)
{
	return find_report(name) != NULL;
}

/* The metric of a suffixed sample. Counters keep the sample's name, info families the exposed one (D-3). */
static int suffixed_metric(struct ingest *in, enum expo_type type, struct span name, struct span base,
	const struct suffix *suffix, struct span *ret_metric)
{
	struct buf *built = &in->store->name;
	const char *end = NULL;
	if (type == EXPO_TYPE_COUNTER && suffix->part == PART_OF_START)
		end = "_total";
	else if (type == EXPO_TYPE_INFO && suffix->part == PART_OF_START && !span_ends_with(base, SPAN("_info")))
		end = "_info";
	*ret_metric =
		type == EXPO_TYPE_COUNTER || (type == EXPO_TYPE_INFO && suffix->part == PART_OF_VALUE) ? name : base;
	if (!end)
		return 0;
	buf_reset(built);
	buf_span(built, base);
	buf_str(built, end);
	*ret_metric = buf_view(built);
	return built->failed;
}

/* 1: the name is suffixed and belongs to a family; 0 not. */
static int resolve_suffixed(struct ingest *in, struct span name, struct resolution *ret_resolution)
{
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		const struct suffix *suffix = &suffixes[i];
		if (name.len <= suffix->text.len || !span_ends_with(name, suffix->text))
			continue;
		struct span base = span_of(name.ptr, name.len - suffix->text.len), metric = SPAN_NONE;
		uint32_t number;
		int result = find_family(in, base, &number);
		if (result < 0 || number == NONE)
			return result;
		enum expo_type type = (enum expo_type)in->view.families[number].type;
		if (!(suffix->types & 1U << type))
			return 0;
		enum family_part part = suffix->part;
		if (type == EXPO_TYPE_COUNTER && part != PART_OF_START)
			part = PART_OF_VALUE;
		result = suffixed_metric(in, type, name, base, suffix, &metric);
		if (result < 0)
			return result;
		resolve_to(in, number, part, metric, ret_resolution);
		return 1;
	}
	return 0;
}

int family_resolve(struct ingest *in, struct span name, struct resolution *ret_resolution)
{
	uint32_t number;
	const struct series_report_metric *report = find_report(name);
	if (report) {
		*ret_resolution = (struct resolution){
			NONE, EXPO_TYPE_GAUGE, PART_OF_VALUE, name, report->description, report->unit};
		return 0;
	}
	int result = find_family(in, name, &number);
	if (result < 0)
		return result;
	if (number != NONE) {
		uint8_t type = in->view.families[number].type;
		bool bound = type == EXPO_TYPE_HISTOGRAM || type == EXPO_TYPE_SUMMARY;
		resolve_to(in, number, bound ? PART_OF_BOUND : PART_OF_VALUE, name, ret_resolution);
		return 0;
	}
	result = resolve_suffixed(in, name, ret_resolution);
	if (result == 0)
		*ret_resolution = (struct resolution){.family = NONE, .part = PART_OF_VALUE, .metric = name};
	return result < 0 ? result : 0;
}

/* ---- lines of metadata ---------------------------------------------------------------- */

/* Whether a derived series may rest on what is known (or not known) of the family. 1, 0, -ENOMEM. */
static int family_matters(struct ingest *in, uint32_t number)
{
	struct family *family = &in->view.families[number];
	if (family->used)
		return 1;
	struct span name = view_text(&in->view, family->name);
	int result = draft_has_metric(in, name);
	struct buf *suffixed = &in->store->name;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes) && result == 0; i++) {
		buf_reset(suffixed);
		buf_span(suffixed, name);
		buf_span(suffixed, suffixes[i].text);
		result = suffixed->failed ? suffixed->failed : draft_has_metric(in, buf_view(suffixed));
	}
	return result;
}

/* From here on every line is derived anew when it is first seen. What was seen keeps its metric for this scrape. */
static void go_cold(struct ingest *in)
{
	in->unsettled = true;
	if (in->cold)
		return;
	in->cold = true;
	const struct view *view = &in->view;
	for (uint32_t i = 0; i < view->line_count; i++) {
		const struct line *line = &view->lines[i];
		uint32_t point = NONE;
		if (in_seen(in)[i] && (line->role == ROLE_VALUE || line->role == ROLE_START))
			point = line->ref;
		else if (in_seen(in)[i] && line->role == ROLE_MEMBER)
			point = view->members[line->ref].point;
		if (point != NONE)
			view->metrics[view->points[point].metric].scrape = in->scrape;
	}
}

static int new_family(struct ingest *in, struct span name, uint32_t *ret_family)
{
	struct family family = {.type = EXPO_TYPE_UNKNOWN};
	uint64_t limit = in->target->limits.max_samples; /* those without samples count, too, and stay for a while */
	if (in->view.family_count >= limit)
		return fail_scrape(
			in, SERIES_SAMPLE_LIMIT, "more than %llu metric families", (unsigned long long)limit);
	struct lookup *lookup = in_lookup(in, LOOKUP_FAMILIES);
	int result = lookup ? draft_text(in, name, &family.name) : -ENOMEM;
	if (result < 0)
		return result;
	int64_t number = draft_item(in, PART_FAMILIES, &family, sizeof(family));
	if (number < 0)
		return (int)number;
	*ret_family = (uint32_t)number;
	return lookup_add(lookup, hash_text(in, name), *ret_family);
}

/* Writes what the line says. 1: that is something new, 0, -ENOMEM. */
static int update_family(struct ingest *in, uint32_t number, const struct expo_entry *entry)
{
	struct family *family = &in->view.families[number];
	if (entry->kind == EXPO_TYPE) {
		bool changed = family->type != entry->type;
		family->type = (uint8_t)entry->type;
		return changed;
	}
	struct buf *text = &in->store->scratch;
	buf_reset(text);
	if (expo_unescape(text, entry->text, entry->kind == EXPO_HELP && in->parser.format == EXPO_TEXT) < 0)
		return text->failed;
	struct text *old = entry->kind == EXPO_HELP ? &family->help : &family->unit;
	if (span_eq(view_text(&in->view, *old), buf_view(text)))
		return 0;
	struct text fresh;
	int result = draft_text(in, buf_view(text), &fresh);
	family = &in->view.families[number];
	*(entry->kind == EXPO_HELP ? &family->help : &family->unit) = fresh;
	return result < 0 ? result : 1;
}

int family_line(struct ingest *in, const struct expo_entry *entry, uint32_t *ret_family)
{
	struct buf *name = &in->store->name;
	buf_reset(name);
	uint32_t number;
	int result = expo_unescape(name, entry->name, false);
	if (result == 0)
		result = find_family(in, buf_view(name), &number);
	bool is_new = result == 0 && number == NONE;
	if (is_new)
		result = new_family(in, buf_view(name), &number);
	if (result == 0)
		result = update_family(in, number, entry);
	if (result < 0)
		return result;
	*ret_family = number;
	if (result == 0 && !is_new)
		return 0;
	in->view.families[number].version++;
	result = family_matters(in, number);
	if (result > 0)
		go_cold(in);
	return result < 0 ? result : 0;
}

/* ---- contradictions --------------------------------------------------------------------- */

/* Two lines that contradict each other change the family in every scrape that reads them. But a scrape that read all of them,
 * and ended with what it began with, decided as the next one will. */
void families_settle(struct ingest *in)
{
	struct view before = block_view(in->block);
	bool same = in->view.family_count == before.family_count;
	for (uint32_t i = 0; i < before.family_count; i++) {
		struct family *family = &in->view.families[i];
		const struct family *old = &before.families[i];
		family->disputed = family->version != old->version;
		same &= family->type == old->type &&
			span_eq(view_text(&in->view, family->help), view_text(&before, old->help)) &&
			span_eq(view_text(&in->view, family->unit), view_text(&before, old->unit));
	}
	in->unsettled &= !same;
}
