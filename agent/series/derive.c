/* Deriving a line: from its labels to the resource, scope, metric, point and member that its samples belong to.
 *
 * Runs once for each new text of a series (and again when metadata changed). What it finds or makes is in the draft.
 */
#include "ingest.h"

#include <errno.h>
#include <math.h>

/* ---- resource ------------------------------------------------------------------------------ */

int resource_add_info(struct labels_builder *attributes, struct labels labels)
{
	for (size_t i = 0; i < labels.count; i++) {
		struct span name = labels.items[i].name;
		if (!span_eq(name, SPAN("__name__")) && !span_eq(name, SPAN("job")) && !span_eq(name, SPAN("instance")))
			labels_set(attributes, name, labels.items[i].value);
	}
	return attributes->failed;
}

int resource_encode(const struct series_target *target, struct labels_builder *attributes, struct span job,
	struct span instance, struct buf *out)
{
	for (size_t i = 0; i < target->resource.count; i++) {
		struct label label = target->resource.items[i];
		if (labels_builder_get(attributes, label.name).len == 0)
			labels_set_borrowed(attributes, label.name, label.value);
	}
	labels_set_borrowed(attributes, SPAN("service.name"), job); /* the identity: never overruled (D-7) */
	labels_set_borrowed(attributes, SPAN("service.instance.id"), instance);
	struct labels labels = labels_builder_view(attributes);
	int result = attributes->failed;
	for (size_t i = 0; i < labels.count && result == 0; i++)
		result = otlp_resource_attribute(out, labels.items[i].name, labels.items[i].value);
	return result;
}

int64_t new_resource(struct ingest *in, struct span job, struct span instance)
{
	struct resource resource = {0};
	struct lookup *lookup = in_lookup(in, LOOKUP_RESOURCES);
	int result = lookup ? draft_text(in, job, &resource.job) : -ENOMEM;
	if (result == 0)
		result = draft_text(in, instance, &resource.instance);
	int64_t number = result < 0 ? result : draft_item(in, PART_RESOURCES, &resource, sizeof(resource));
	if (number < 0)
		return number;
	result = lookup_add(lookup, hash_two(in, hash_text(in, job), instance), (uint32_t)number);
	return result < 0 ? result : number;
}

/* the sample's own job and instance, where it has any. */
static int64_t find_resource(struct ingest *in, struct labels labels)
{
	struct span job = labels_get(labels, SPAN("job")), instance = labels_get(labels, SPAN("instance"));
	if (job.len == 0)
		job = labels_get(in->target->labels, SPAN("job"));
	if (instance.len == 0)
		instance = labels_get(in->target->labels, SPAN("instance"));
	if (job.len == 0 || instance.len == 0)
		return fail_scrape(in, SERIES_BAD_SERIES, "job or instance cannot be found from labels");
	struct lookup *lookup = in_lookup(in, LOOKUP_RESOURCES);
	if (!lookup)
		return -ENOMEM;
	uint32_t number;
	for (struct lookup_probe probe = lookup_probe(lookup, hash_two(in, hash_text(in, job), instance));
		lookup_next(lookup, &probe, &number);) {
		const struct resource *resource = &in->view.resources[number];
		if (span_eq(view_text(&in->view, resource->job), job) &&
			span_eq(view_text(&in->view, resource->instance), instance))
			return number;
	}
	return new_resource(in, job, instance);
}

/* ---- scope ----------------------------------------------------------------------------------- */

static const struct span scope_prefix = SPAN("otel_scope_");

static bool is_scope_label(struct span name)
{
	return span_starts_with(name, scope_prefix);
}

/* Encodes the scope that the labels describe, or the default one (S-80, S-81), into store->message. */
static int encode_scope(struct ingest *in, struct labels labels, struct span *ret_schema_url)
{
	struct span name = SPAN_NONE, version = SPAN_NONE;
	struct buf *attributes = &in->store->scope_attributes, *message = &in->store->message;
	bool described = false;
	buf_reset(attributes);
	buf_reset(message);
	*ret_schema_url = SPAN_NONE;
	for (size_t i = 0; i < labels.count; i++) {
		struct label label = labels.items[i];
		if (!is_scope_label(label.name))
			continue;
		struct span rest = span_of(label.name.ptr + scope_prefix.len, label.name.len - scope_prefix.len);
		described = true;
		if (span_eq(rest, SPAN("name")))
			name = label.value;
		else if (span_eq(rest, SPAN("version")))
			version = label.value;
		else if (span_eq(rest, SPAN("schema_url")))
			*ret_schema_url = label.value;
		else
			otlp_resource_attribute(attributes, rest, label.value);
	}
	if (!described) {
		name = SPAN("gleaner");
		version = SPAN(GLEANER_VERSION);
	}
	return attributes->failed ? attributes->failed : otlp_scope(message, name, version, buf_view(attributes));
}

static int64_t find_scope(struct ingest *in, uint32_t resource, struct labels labels)
{
	struct span schema_url;
	int result = encode_scope(in, labels, &schema_url);
	struct span message = buf_view(&in->store->message);
	struct lookup *lookup = in_lookup(in, LOOKUP_SCOPES);
	if (result < 0 || !lookup)
		return result < 0 ? result : -ENOMEM;
	uint64_t hash = hash_scope(in, resource, message, schema_url);
	uint32_t number;
	for (struct lookup_probe probe = lookup_probe(lookup, hash); lookup_next(lookup, &probe, &number);) {
		const struct scope *scope = &in->view.scopes[number];
		if (scope->resource == resource && span_eq(view_text(&in->view, scope->message), message) &&
			span_eq(view_text(&in->view, scope->schema_url), schema_url))
			return number;
	}
	struct scope scope = {.resource = resource};
	result = draft_text(in, message, &scope.message);
	if (result == 0)
		result = draft_text(in, schema_url, &scope.schema_url);
	int64_t added = result < 0 ? result : draft_item(in, PART_SCOPES, &scope, sizeof(scope));
	if (added >= 0)
		result = lookup_add(lookup, hash, (uint32_t)added);
	return result < 0 ? result : added;
}

/* ---- metric ------------------------------------------------------------------------------------ */

static uint32_t version_of(const struct ingest *in, const struct resolution *resolution)
{
	return resolution->family == NONE ? 0 : in->view.families[resolution->family].version;
}

/* replaces: the metric of the same scope and name that has an outdated head, or NONE. */
static int64_t new_metric(
	struct ingest *in, uint32_t scope, const struct resolution *resolution, uint32_t replaces, uint64_t hash)
{
	struct lookup *lookup = in_lookup(in, LOOKUP_METRICS), *names = in_lookup(in, LOOKUP_NAMES);
	struct buf *head = &in->store->message;
	struct metric metric = {
		.scope = scope,
		.identity = replaces == NONE ? in->view.metric_count : in->view.metrics[replaces].identity,
		.family = resolution->family,
		.version = version_of(in, resolution),
		.data = (uint8_t)family_data(resolution->type),
	};
	if (!lookup || !names)
		return -ENOMEM;
	buf_reset(head);
	otlp_metric_head(head, resolution->metric, resolution->description, resolution->unit,
		span_str(expo_type_name(resolution->type)));
	int known = head->failed ? head->failed : draft_has_metric(in, resolution->metric);
	if (known < 0)
		return known;
	int result = draft_text(in, buf_view(head), &metric.head);
	if (result == 0)
		result = draft_text(in, resolution->metric, &metric.name);
	int64_t number = result < 0 ? result : draft_item(in, PART_METRICS, &metric, sizeof(metric));
	if (number >= 0)
		result = lookup_add(lookup, hash, (uint32_t)number);
	if (number >= 0 && result == 0 && !known)
		result = lookup_add(names, hash_text(in, resolution->metric), (uint32_t)number);
	return result < 0 ? result : number;
}

/* The first sample of a family in this scrape decides what the metric is. On a warm scrape that was decided before. */
static int64_t find_metric(struct ingest *in, uint32_t scope, const struct resolution *resolution)
{
	struct lookup *lookup = in_lookup(in, LOOKUP_METRICS);
	if (!lookup)
		return -ENOMEM;
	uint64_t hash = hash_two(in, scope, resolution->metric);
	uint32_t number, newest = NONE;
	for (struct lookup_probe probe = lookup_probe(lookup, hash); lookup_next(lookup, &probe, &number);) {
		const struct metric *metric = &in->view.metrics[number];
		if (metric->scope == scope && span_eq(view_text(&in->view, metric->name), resolution->metric) &&
			(newest == NONE || number > newest))
			newest = number;
	}
	int64_t found = newest;
	const struct metric *metric = &in->view.metrics[newest == NONE ? 0 : newest];
	bool is_current =
		newest != NONE &&
		(!in->cold || metric->scrape == in->scrape ||
			(metric->family == resolution->family && metric->version == version_of(in, resolution)));
	if (!is_current)
		found = new_metric(in, scope, resolution, newest, hash);
	if (found >= 0)
		in->view.metrics[found].scrape = in->scrape;
	return found;
}

/* ---- point ---------------------------------------------------------------------------------------- */

/* Points of one class have records of one layout. */
static uint8_t class_of(uint8_t data)
{
	return data_is_number(data) ? OTLP_GAUGE : data;
}

static int encode_attributes(struct ingest *in, struct labels labels, uint8_t data)
{
	struct buf *attributes = &in->store->attributes;
	struct span bound = data == OTLP_HISTOGRAM ? SPAN("le") : data == OTLP_SUMMARY ? SPAN("quantile") : SPAN_NONE;
	buf_reset(attributes);
	for (size_t i = 0; i < labels.count; i++) {
		struct span name = labels.items[i].name;
		if (span_eq(name, SPAN("__name__")) || span_eq(name, SPAN("job")) || span_eq(name, SPAN("instance")) ||
			span_eq(name, bound) || is_scope_label(name))
			continue;
		otlp_point_attribute(attributes, (enum otlp_data)data, name, labels.items[i].value);
	}
	return attributes->failed;
}

static int64_t new_point(struct ingest *in, uint32_t metric, uint64_t hash)
{
	struct buf *records = &in->store->draft.part[PART_RECORDS];
	struct span attributes = buf_view(&in->store->attributes);
	uint8_t data = in->view.metrics[metric].data;
	struct point point = {
		.record = (uint32_t)records->len, .attributes = (uint32_t)attributes.len, .metric = metric};
	/* A histogram's record is encoded when its members are known; until then it only keeps the attributes. */
	if (data == OTLP_HISTOGRAM)
		otlp_histogram_record(records, attributes, NULL, 0, false);
	else if (data == OTLP_SUMMARY)
		otlp_summary_record(records, attributes, NULL, 0);
	else
		otlp_number_record(records, attributes);
	struct lookup *lookup = in_lookup(in, LOOKUP_POINTS);
	if (records->failed || !lookup)
		return records->failed ? records->failed : -ENOMEM;
	point.length = (uint32_t)records->len - point.record;
	int64_t number = draft_item(in, PART_POINTS, &point, sizeof(point));
	int result = number < 0 ? 0 : lookup_add(lookup, hash, (uint32_t)number);
	return result < 0 ? result : number;
}

static int64_t find_point(struct ingest *in, uint32_t metric_number, struct labels labels)
{
	const struct metric *metric = &in->view.metrics[metric_number];
	struct lookup *lookup = in_lookup(in, LOOKUP_POINTS);
	int result = lookup ? encode_attributes(in, labels, metric->data) : -ENOMEM;
	if (result < 0)
		return result;
	struct span attributes = buf_view(&in->store->attributes);
	uint64_t hash = hash_two(in, metric->identity, attributes);
	uint32_t number;
	for (struct lookup_probe probe = lookup_probe(lookup, hash); lookup_next(lookup, &probe, &number);) {
		struct point *point = &in->view.points[number];
		const struct metric *its = &in->view.metrics[point->metric];
		if (its->identity != metric->identity || class_of(its->data) != class_of(metric->data) ||
			!span_eq(view_attributes(&in->view, point), attributes))
			continue;
		if (point->metric != metric_number && data_is_number(metric->data))
			otlp_store64(view_record_end(&in->view, point) - 26, 0); /* its start; may be a gauge now */
		point->metric = metric_number;
		return number;
	}
	return new_point(in, metric_number, hash);
}

/* ---- member ----------------------------------------------------------------------------------------- */

static int64_t find_member(struct ingest *in, struct member member)
{
	struct lookup *lookup = in_lookup(in, LOOKUP_MEMBERS);
	if (!lookup)
		return -ENOMEM;
	uint64_t hash = hash_member(in, &member), absent = ABSENT_BITS;
	uint32_t number;
	for (struct lookup_probe probe = lookup_probe(lookup, hash); lookup_next(lookup, &probe, &number);) {
		const struct member *other = &in->view.members[number];
		if (other->point == member.point && other->kind == member.kind && other->bound == member.bound)
			return number;
	}
	int64_t added = draft_item(in, PART_MEMBERS, &member, sizeof(member));
	int result = added < 0 ? 0 : buf_append(&in->store->values, &absent, sizeof(absent));
	if (added >= 0 && result == 0)
		result = lookup_add(lookup, hash, (uint32_t)added);
	return result < 0 ? result : added;
}

static const uint8_t member_kinds[] = {
	[PART_OF_BOUND] = MEMBER_BOUND,
	[PART_OF_SUM] = MEMBER_SUM,
	[PART_OF_COUNT] = MEMBER_COUNT,
	[PART_OF_START] = MEMBER_START,
};

/* Reads le or quantile by the grammar of values (D-30). -EINVAL: the sample has none that is a number. */
static int read_bound(struct labels labels, enum expo_type type, double *ret_bound)
{
	struct span text = labels_get(labels, type == EXPO_TYPE_HISTOGRAM ? SPAN("le") : SPAN("quantile"));
	double bound;
	if (text.len == 0 || expo_number(text, &bound) < 0 || isnan(bound))
		return -EINVAL;
	*ret_bound = bound + 0.0; /* -0 is 0 */
	return 0;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static void set_role(struct ingest *in, uint32_t line, enum role role, uint32_t ref)
{
	in->view.lines[line].role = (uint8_t)role;
	in->view.lines[line].ref = ref;
}

static bool is_group(enum expo_type type)
{
	return type == EXPO_TYPE_HISTOGRAM || type == EXPO_TYPE_SUMMARY;
}

/* scope: where the metric is. The metric may be there with data of another class; then the sample is a metric of its own. */
static int64_t find_fitting_metric(struct ingest *in, uint32_t scope, struct span name, struct resolution *resolution)
{
	int64_t metric = find_metric(in, scope, resolution);
	if (metric < 0 || class_of(in->view.metrics[metric].data) == class_of((uint8_t)family_data(resolution->type)))
		return metric;
	*resolution = (struct resolution){.family = NONE, .part = PART_OF_VALUE, .metric = name};
	return find_metric(in, scope, resolution);
}

static int derive_point(struct ingest *in, uint32_t line, struct labels labels, struct span name,
	struct resolution *resolution, uint32_t scope)
{
	struct member member = {.bound = 0};
	if (is_group(resolution->type) && resolution->part == PART_OF_BOUND &&
		read_bound(labels, resolution->type, &member.bound) < 0) {
		set_role(in, line, ROLE_IGNORED, SERIES_DROP_BAD_BOUND);
		return 0;
	}
	int64_t number = find_fitting_metric(in, scope, name, resolution);
	if (number < 0)
		return (int)number;
	uint8_t data = in->view.metrics[number].data;
	if (!data_is_number(data) && !is_group(resolution->type)) { /* the name is a histogram's: nowhere to go */
		set_role(in, line, ROLE_IGNORED, SERIES_DROP_BAD_BOUND);
		return 0;
	}
	int64_t point = find_point(in, (uint32_t)number, labels);
	if (point < 0)
		return (int)point;
	if (data_is_number(data)) {
		set_role(in, line, resolution->part == PART_OF_START ? ROLE_START : ROLE_VALUE, (uint32_t)point);
		return 0;
	}
	member.point = (uint32_t)point;
	member.kind = member_kinds[resolution->part];
	int64_t found = find_member(in, member);
	if (found < 0)
		return (int)found;
	set_role(in, line, ROLE_MEMBER, (uint32_t)found);
	return 0;
}

/* Whether it is the very series that report_scrape writes, whose value is the scrape's to say, as in the receiver. */
static bool is_own_report(const struct ingest *in, struct labels labels, struct span name)
{
	struct labels ours = in->target->labels;
	bool own = family_is_report(name) && labels.count == ours.count + 1;
	for (size_t i = 0; i < ours.count && own; i++)
		own = span_eq(labels_get(labels, ours.items[i].name), ours.items[i].value);
	return own;
}

int derive_line(struct ingest *in, uint32_t line, const struct expo_entry *entry)
{
	struct labels labels;
	struct resolution resolution;
	int result = sample_labels(in, entry, &labels);
	if (result == 0)
		set_role(in, line, ROLE_DROPPED, 0);
	if (result <= 0)
		return result;
	int64_t resource = find_resource(in, labels);
	if (resource < 0)
		return (int)resource;
	struct span name = labels_get(labels, SPAN("__name__"));
	if (span_eq(name, SPAN("target_info"))) {
		set_role(in, line, ROLE_TARGET_INFO, (uint32_t)resource);
		return 0;
	}
	if (is_own_report(in, labels, name)) {
		set_role(in, line, ROLE_IGNORED, SERIES_DROP_DUPLICATE);
		return 0;
	}
	int64_t scope =
		find_scope(in, (uint32_t)resource, labels); /* first: a new one moves the texts that resolution holds */
	result = scope < 0 ? (int)scope : family_resolve(in, name, &resolution);
	if (result < 0)
		return result;
	if (resolution.type == EXPO_TYPE_GAUGEHISTOGRAM) {
		set_role(in, line, ROLE_IGNORED, SERIES_DROP_GAUGEHISTOGRAM);
		return 0;
	}
	return derive_point(in, line, labels, name, &resolution, (uint32_t)scope);
}
