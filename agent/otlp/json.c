/* OTLP/JSON: protobuf's JSON mapping with OTLP's exceptions (ids in hex, enums as numbers). Fields that have their
 * default value are left out, as everywhere in that mapping. */
#include "read.h"

#include <inttypes.h>
#include <math.h>

/* ---- the JSON under construction --------------------------------------------- */

struct json {
	struct buf *out;
	bool comma; /* something stands before the next member or element */
};

static void element(struct json *json)
{
	if (json->comma)
		buf_char(json->out, ',');
	json->comma = true;
}

static void member(struct json *json, const char *name)
{
	element(json);
	buf_printf(json->out, "\"%s\":", name);
}

static void json_open(struct json *json, char bracket)
{
	buf_char(json->out, bracket);
	json->comma = false;
}

static void json_close(struct json *json, char bracket)
{
	buf_char(json->out, bracket);
	json->comma = true;
}

static void string_member(struct json *json, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	member(json, name);
	buf_json(json->out, value);
}

static void hex_member(struct json *json, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	member(json, name);
	buf_char(json->out, '"');
	buf_hex(json->out, value);
	buf_char(json->out, '"');
}

/* 64-bit integers are strings, since JavaScript's numbers hold 53 bits. */
static void u64_member(struct json *json, const char *name, uint64_t value)
{
	if (value == 0)
		return;
	member(json, name);
	buf_printf(json->out, "\"%" PRIu64 "\"", value);
}

static void i32_member(struct json *json, const char *name, int32_t value)
{
	if (value == 0)
		return;
	member(json, name);
	buf_printf(json->out, "%" PRId32, value);
}

static void u32_member(struct json *json, const char *name, uint32_t value)
{
	if (value == 0)
		return;
	member(json, name);
	buf_printf(json->out, "%" PRIu32, value);
}

static void put_double(struct json *json, double value)
{
	if (isinf(value))
		buf_str(json->out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	else if (isnan(value))
		buf_str(json->out, "\"NaN\"");
	else
		buf_str(json->out, double_shortest(value).text);
}

/* A double that is set, 0 or not. */
static void double_member(struct json *json, const char *name, double value)
{
	member(json, name);
	put_double(json, value);
}

static void doubles_member(struct json *json, const char *name, const double *values, size_t count)
{
	if (count == 0)
		return;
	member(json, name);
	json_open(json, '[');
	for (size_t i = 0; i < count; i++) {
		element(json);
		put_double(json, values[i]);
	}
	json_close(json, ']');
}

static void counts_member(struct json *json, const char *name, const uint64_t *values, size_t count)
{
	if (count == 0)
		return;
	member(json, name);
	json_open(json, '[');
	for (size_t i = 0; i < count; i++) {
		element(json);
		buf_printf(json->out, "\"%" PRIu64 "\"", values[i]);
	}
	json_close(json, ']');
}

/* ---- OTLP's messages ---------------------------------------------------------- */

static void put_any_value(struct json *json, const Otlp__AnyValue *value)
{
	json_open(json, '{');
	switch (value->value_case) {
	case OTLP__ANY_VALUE__VALUE_STRING_VALUE:
		member(json, "stringValue");
		buf_json(json->out, span_pb(value->string_value));
		break;
	case OTLP__ANY_VALUE__VALUE_BOOL_VALUE:
		member(json, "boolValue");
		buf_str(json->out, value->bool_value ? "true" : "false");
		break;
	case OTLP__ANY_VALUE__VALUE_INT_VALUE:
		member(json, "intValue");
		buf_printf(json->out, "\"%" PRId64 "\"", value->int_value);
		break;
	case OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE:
		double_member(json, "doubleValue", value->double_value);
		break;
	case OTLP__ANY_VALUE__VALUE_BYTES_VALUE:
		member(json, "bytesValue");
		buf_char(json->out, '"');
		buf_base64(json->out, span_pb(value->bytes_value));
		buf_char(json->out, '"');
		break;
	default:
		break;
	}
	json_close(json, '}');
}

static void attributes_member(struct json *json, const char *name, Otlp__KeyValue *const *attributes, size_t count)
{
	if (count == 0)
		return;
	member(json, name);
	json_open(json, '[');
	for (size_t i = 0; i < count; i++) {
		element(json);
		json_open(json, '{');
		string_member(json, "key", span_pb(attributes[i]->key));
		if (attributes[i]->value) {
			member(json, "value");
			put_any_value(json, attributes[i]->value);
		}
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void put_exemplar(struct json *json, const Otlp__Exemplar *exemplar)
{
	json_open(json, '{');
	attributes_member(json, "filteredAttributes", exemplar->filtered_attributes, exemplar->n_filtered_attributes);
	u64_member(json, "timeUnixNano", exemplar->time_unix_nano);
	if (exemplar->value_case == OTLP__EXEMPLAR__VALUE_AS_DOUBLE)
		double_member(json, "asDouble", exemplar->as_double);
	if (exemplar->value_case == OTLP__EXEMPLAR__VALUE_AS_INT) {
		member(json, "asInt");
		buf_printf(json->out, "\"%" PRId64 "\"", exemplar->as_int);
	}
	hex_member(json, "spanId", span_pb(exemplar->span_id));
	hex_member(json, "traceId", span_pb(exemplar->trace_id));
	json_close(json, '}');
}

static void exemplars_member(struct json *json, Otlp__Exemplar *const *exemplars, size_t count)
{
	if (count == 0)
		return;
	member(json, "exemplars");
	json_open(json, '[');
	for (size_t i = 0; i < count; i++) {
		element(json);
		put_exemplar(json, exemplars[i]);
	}
	json_close(json, ']');
}

static void put_number_point(struct json *json, const Otlp__NumberDataPoint *point)
{
	attributes_member(json, "attributes", point->attributes, point->n_attributes);
	u64_member(json, "startTimeUnixNano", point->start_time_unix_nano);
	u64_member(json, "timeUnixNano", point->time_unix_nano);
	if (point->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_DOUBLE)
		double_member(json, "asDouble", point->as_double);
	if (point->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_INT) {
		member(json, "asInt");
		buf_printf(json->out, "\"%" PRId64 "\"", point->as_int);
	}
	exemplars_member(json, point->exemplars, point->n_exemplars);
	u32_member(json, "flags", point->flags);
}

static void put_histogram_point(struct json *json, const Otlp__HistogramDataPoint *point)
{
	attributes_member(json, "attributes", point->attributes, point->n_attributes);
	u64_member(json, "startTimeUnixNano", point->start_time_unix_nano);
	u64_member(json, "timeUnixNano", point->time_unix_nano);
	u64_member(json, "count", point->count);
	if (point->_sum_case == OTLP__HISTOGRAM_DATA_POINT___SUM_SUM)
		double_member(json, "sum", point->sum);
	counts_member(json, "bucketCounts", point->bucket_counts, point->n_bucket_counts);
	doubles_member(json, "explicitBounds", point->explicit_bounds, point->n_explicit_bounds);
	exemplars_member(json, point->exemplars, point->n_exemplars);
	u32_member(json, "flags", point->flags);
	if (point->_min_case == OTLP__HISTOGRAM_DATA_POINT___MIN_MIN)
		double_member(json, "min", point->min);
	if (point->_max_case == OTLP__HISTOGRAM_DATA_POINT___MAX_MAX)
		double_member(json, "max", point->max);
}

static void buckets_member(
	struct json *json, const char *name, const Otlp__ExponentialHistogramDataPoint__Buckets *buckets)
{
	if (!buckets)
		return;
	member(json, name);
	json_open(json, '{');
	i32_member(json, "offset", buckets->offset);
	counts_member(json, "bucketCounts", buckets->bucket_counts, buckets->n_bucket_counts);
	json_close(json, '}');
}

static void put_exponential_point(struct json *json, const Otlp__ExponentialHistogramDataPoint *point)
{
	attributes_member(json, "attributes", point->attributes, point->n_attributes);
	u64_member(json, "startTimeUnixNano", point->start_time_unix_nano);
	u64_member(json, "timeUnixNano", point->time_unix_nano);
	u64_member(json, "count", point->count);
	if (point->_sum_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___SUM_SUM)
		double_member(json, "sum", point->sum);
	i32_member(json, "scale", point->scale);
	u64_member(json, "zeroCount", point->zero_count);
	buckets_member(json, "positive", point->positive);
	buckets_member(json, "negative", point->negative);
	u32_member(json, "flags", point->flags);
	exemplars_member(json, point->exemplars, point->n_exemplars);
	if (point->_min_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___MIN_MIN)
		double_member(json, "min", point->min);
	if (point->_max_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___MAX_MAX)
		double_member(json, "max", point->max);
	if (point->zero_threshold != 0)
		double_member(json, "zeroThreshold", point->zero_threshold);
}

static void put_summary_point(struct json *json, const Otlp__SummaryDataPoint *point)
{
	attributes_member(json, "attributes", point->attributes, point->n_attributes);
	u64_member(json, "startTimeUnixNano", point->start_time_unix_nano);
	u64_member(json, "timeUnixNano", point->time_unix_nano);
	u64_member(json, "count", point->count);
	if (point->sum != 0)
		double_member(json, "sum", point->sum);
	if (point->n_quantile_values > 0) {
		member(json, "quantileValues");
		json_open(json, '[');
		for (size_t i = 0; i < point->n_quantile_values; i++) {
			element(json);
			json_open(json, '{');
			double_member(json, "quantile", point->quantile_values[i]->quantile);
			double_member(json, "value", point->quantile_values[i]->value);
			json_close(json, '}');
		}
		json_close(json, ']');
	}
	u32_member(json, "flags", point->flags);
}

static void put_point(struct json *json, const Otlp__Metric *metric, size_t i)
{
	json_open(json, '{');
	if (metric->data_case == OTLP__METRIC__DATA_GAUGE)
		put_number_point(json, metric->gauge->data_points[i]);
	else if (metric->data_case == OTLP__METRIC__DATA_SUM)
		put_number_point(json, metric->sum->data_points[i]);
	else if (metric->data_case == OTLP__METRIC__DATA_HISTOGRAM)
		put_histogram_point(json, metric->histogram->data_points[i]);
	else if (metric->data_case == OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM)
		put_exponential_point(json, metric->exponential_histogram->data_points[i]);
	else
		put_summary_point(json, metric->summary->data_points[i]);
	json_close(json, '}');
}

static const char *const data_names[] = {
	[OTLP__METRIC__DATA_GAUGE] = "gauge",
	[OTLP__METRIC__DATA_SUM] = "sum",
	[OTLP__METRIC__DATA_HISTOGRAM] = "histogram",
	[OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM] = "exponentialHistogram",
	[OTLP__METRIC__DATA_SUMMARY] = "summary",
};

static void data_member(struct json *json, const Otlp__Metric *metric)
{
	if (metric->data_case == OTLP__METRIC__DATA__NOT_SET)
		return;
	member(json, data_names[metric->data_case]);
	json_open(json, '{');
	if (metric_points(metric) > 0) {
		member(json, "dataPoints");
		json_open(json, '[');
		for (size_t i = 0; i < metric_points(metric); i++) {
			element(json);
			put_point(json, metric, i);
		}
		json_close(json, ']');
	}
	if (metric->data_case == OTLP__METRIC__DATA_SUM) {
		i32_member(json, "aggregationTemporality", (int32_t)metric->sum->aggregation_temporality);
		if (metric->sum->is_monotonic) {
			member(json, "isMonotonic");
			buf_str(json->out, "true");
		}
	} else if (metric->data_case == OTLP__METRIC__DATA_HISTOGRAM) {
		i32_member(json, "aggregationTemporality", (int32_t)metric->histogram->aggregation_temporality);
	} else if (metric->data_case == OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM) {
		i32_member(json, "aggregationTemporality",
			(int32_t)metric->exponential_histogram->aggregation_temporality);
	}
	json_close(json, '}');
}

static void put_metric(struct json *json, const Otlp__Metric *metric)
{
	json_open(json, '{');
	string_member(json, "name", span_pb(metric->name));
	string_member(json, "description", span_pb(metric->description));
	string_member(json, "unit", span_pb(metric->unit));
	data_member(json, metric);
	attributes_member(json, "metadata", metric->metadata, metric->n_metadata);
	json_close(json, '}');
}

static void put_scope_metrics(struct json *json, const Otlp__ScopeMetrics *scope_metrics)
{
	const Otlp__InstrumentationScope *scope = scope_metrics->scope;
	json_open(json, '{');
	if (scope) {
		member(json, "scope");
		json_open(json, '{');
		string_member(json, "name", span_pb(scope->name));
		string_member(json, "version", span_pb(scope->version));
		attributes_member(json, "attributes", scope->attributes, scope->n_attributes);
		u32_member(json, "droppedAttributesCount", scope->dropped_attributes_count);
		json_close(json, '}');
	}
	member(json, "metrics");
	json_open(json, '[');
	for (size_t m = 0; m < scope_metrics->n_metrics; m++) {
		element(json);
		put_metric(json, scope_metrics->metrics[m]);
	}
	json_close(json, ']');
	string_member(json, "schemaUrl", span_pb(scope_metrics->schema_url));
	json_close(json, '}');
}

static void put_resource_metrics(struct json *json, const Otlp__ResourceMetrics *metrics)
{
	const Otlp__Resource *resource = metrics->resource;
	json_open(json, '{');
	if (resource) {
		member(json, "resource");
		json_open(json, '{');
		attributes_member(json, "attributes", resource->attributes, resource->n_attributes);
		u32_member(json, "droppedAttributesCount", resource->dropped_attributes_count);
		json_close(json, '}');
	}
	member(json, "scopeMetrics");
	json_open(json, '[');
	for (size_t s = 0; s < metrics->n_scope_metrics; s++) {
		element(json);
		put_scope_metrics(json, metrics->scope_metrics[s]);
	}
	json_close(json, ']');
	string_member(json, "schemaUrl", span_pb(metrics->schema_url));
	json_close(json, '}');
}

int otlp_json(struct span request, struct buf *out)
{
	struct reading reading;
	struct json json = {.out = out};
	int result = reading_begin(&reading, request);
	if (result == 0) {
		json_open(&json, '{');
		member(&json, "resourceMetrics");
		json_open(&json, '[');
		for (size_t r = 0; r < reading.request->n_resource_metrics && out->failed == 0; r++) {
			element(&json);
			put_resource_metrics(&json, reading.request->resource_metrics[r]);
		}
		json_close(&json, ']');
		json_close(&json, '}');
		result = out->failed;
	}
	reading_end(&reading);
	return result;
}
