/* The canonical text of a request: one line a point, in the order of the bytes. The form is shown in otlp.h. */
#include "read.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

static const Otlp__KeyValue *metadata_type(const Otlp__Metric *metric)
{
	for (size_t i = 0; i < metric->n_metadata; i++) {
		if (span_eq(span_pb(metric->metadata[i]->key), SPAN("prometheus.type")))
			return metric->metadata[i];
	}
	return NULL;
}

static void put_value(struct buf *out, const Otlp__AnyValue *value)
{
	switch (value ? value->value_case : OTLP__ANY_VALUE__VALUE__NOT_SET) {
	case OTLP__ANY_VALUE__VALUE_STRING_VALUE:
		buf_json(out, span_pb(value->string_value));
		break;
	case OTLP__ANY_VALUE__VALUE_BOOL_VALUE:
		buf_str(out, value->bool_value ? "true" : "false");
		break;
	case OTLP__ANY_VALUE__VALUE_INT_VALUE:
		buf_printf(out, "%" PRId64, value->int_value);
		break;
	case OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE:
		buf_printf(out, "double:%s", double_shortest(value->double_value).text);
		break;
	case OTLP__ANY_VALUE__VALUE_BYTES_VALUE:
		buf_str(out, "bytes:");
		buf_hex(out, span_pb(value->bytes_value));
		break;
	default:
		buf_str(out, "null");
	}
}

/* Keys that could be mistaken for the text around them are quoted. */
static void put_key(struct buf *out, struct span key)
{
	bool plain = key.len > 0;
	for (size_t i = 0; i < key.len; i++)
		plain = plain && (isalnum((unsigned char)key.ptr[i]) || strchr("_.-/", key.ptr[i])) && key.ptr[i];
	if (plain)
		buf_span(out, key);
	else
		buf_json(out, key);
}

static void put_attributes(struct buf *out, Otlp__KeyValue *const *attributes, size_t count, const char *separator)
{
	for (size_t i = 0; i < count; i++) {
		buf_str(out, i > 0 ? separator : "");
		put_key(out, span_pb(attributes[i]->key));
		buf_char(out, '=');
		put_value(out, attributes[i]->value);
	}
}

static void put_braced(struct buf *out, Otlp__KeyValue *const *attributes, size_t count)
{
	buf_char(out, '{');
	put_attributes(out, attributes, count, ",");
	buf_char(out, '}');
}

static void put_point_head(
	struct buf *out, Otlp__KeyValue *const *attributes, size_t count, uint64_t start_ns, uint64_t time_ns)
{
	buf_str(out, "   point ");
	put_braced(out, attributes, count);
	buf_printf(out, " start=%" PRIu64 " time=%" PRIu64, start_ns, time_ns);
}

static bool put_flags(struct buf *out, uint32_t flags)
{
	bool no_value = flags & OTLP__DATA_POINT_FLAGS__DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK;
	if (no_value)
		buf_str(out, " no_recorded_value");
	if (flags > 1)
		buf_printf(out, " flags=%" PRIu32, flags);
	return no_value;
}

static void put_exemplars(struct buf *out, Otlp__Exemplar *const *exemplars, size_t count)
{
	buf_char(out, '\n');
	for (size_t i = 0; i < count; i++) {
		const Otlp__Exemplar *exemplar = exemplars[i];
		buf_str(out, "    exemplar value=");
		if (exemplar->value_case == OTLP__EXEMPLAR__VALUE_AS_INT)
			buf_printf(out, "int:%" PRId64, exemplar->as_int);
		else if (exemplar->value_case == OTLP__EXEMPLAR__VALUE_AS_DOUBLE)
			buf_str(out, double_shortest(exemplar->as_double).text);
		buf_printf(out, " time=%" PRIu64 " trace_id=", exemplar->time_unix_nano);
		buf_hex(out, span_pb(exemplar->trace_id));
		buf_str(out, " span_id=");
		buf_hex(out, span_pb(exemplar->span_id));
		buf_char(out, ' ');
		put_braced(out, exemplar->filtered_attributes, exemplar->n_filtered_attributes);
		buf_char(out, '\n');
	}
}

static void put_doubles(struct buf *out, const char *name, const double *values, size_t count)
{
	buf_printf(out, " %s=[", name);
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%s%s", i > 0 ? "," : "", double_shortest(values[i]).text);
	buf_char(out, ']');
}

static void put_counts(struct buf *out, const char *name, const uint64_t *values, size_t count)
{
	buf_printf(out, " %s=[", name);
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%s%" PRIu64, i > 0 ? "," : "", values[i]);
	buf_char(out, ']');
}

static void put_number_point(struct buf *out, const Otlp__NumberDataPoint *point)
{
	put_point_head(out, point->attributes, point->n_attributes, point->start_time_unix_nano, point->time_unix_nano);
	put_flags(out, point->flags);
	if (point->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_DOUBLE)
		buf_printf(out, " value=%s", double_shortest(point->as_double).text);
	else if (point->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_INT)
		buf_printf(out, " value=int:%" PRId64, point->as_int);
	put_exemplars(out, point->exemplars, point->n_exemplars);
}

static void put_histogram_point(struct buf *out, const Otlp__HistogramDataPoint *point)
{
	put_point_head(out, point->attributes, point->n_attributes, point->start_time_unix_nano, point->time_unix_nano);
	if (!put_flags(out, point->flags) || point->count > 0)
		buf_printf(out, " count=%" PRIu64, point->count);
	if (point->_sum_case == OTLP__HISTOGRAM_DATA_POINT___SUM_SUM)
		buf_printf(out, " sum=%s", double_shortest(point->sum).text);
	if (point->_min_case == OTLP__HISTOGRAM_DATA_POINT___MIN_MIN)
		buf_printf(out, " min=%s", double_shortest(point->min).text);
	if (point->_max_case == OTLP__HISTOGRAM_DATA_POINT___MAX_MAX)
		buf_printf(out, " max=%s", double_shortest(point->max).text);
	put_doubles(out, "bounds", point->explicit_bounds, point->n_explicit_bounds);
	put_counts(out, "counts", point->bucket_counts, point->n_bucket_counts);
	put_exemplars(out, point->exemplars, point->n_exemplars);
}

static void put_buckets(struct buf *out, const char *name, const Otlp__ExponentialHistogramDataPoint__Buckets *buckets)
{
	if (!buckets)
		return;
	buf_printf(out, " %s=%" PRId32, name, buckets->offset);
	put_counts(out, "counts", buckets->bucket_counts, buckets->n_bucket_counts);
}

static void put_exponential_point(struct buf *out, const Otlp__ExponentialHistogramDataPoint *point)
{
	put_point_head(out, point->attributes, point->n_attributes, point->start_time_unix_nano, point->time_unix_nano);
	if (!put_flags(out, point->flags) || point->count > 0)
		buf_printf(out, " count=%" PRIu64, point->count);
	if (point->_sum_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___SUM_SUM)
		buf_printf(out, " sum=%s", double_shortest(point->sum).text);
	if (point->_min_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___MIN_MIN)
		buf_printf(out, " min=%s", double_shortest(point->min).text);
	if (point->_max_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___MAX_MAX)
		buf_printf(out, " max=%s", double_shortest(point->max).text);
	buf_printf(out, " scale=%" PRId32 " zero_count=%" PRIu64 " zero_threshold=%s", point->scale, point->zero_count,
		double_shortest(point->zero_threshold).text);
	put_buckets(out, "positive", point->positive);
	put_buckets(out, "negative", point->negative);
	put_exemplars(out, point->exemplars, point->n_exemplars);
}

static void put_summary_point(struct buf *out, const Otlp__SummaryDataPoint *point)
{
	put_point_head(out, point->attributes, point->n_attributes, point->start_time_unix_nano, point->time_unix_nano);
	if (!put_flags(out, point->flags) || point->count > 0)
		buf_printf(out, " count=%" PRIu64 " sum=%s", point->count, double_shortest(point->sum).text);
	buf_str(out, " quantiles={");
	for (size_t i = 0; i < point->n_quantile_values; i++) {
		const Otlp__SummaryDataPoint__ValueAtQuantile *entry = point->quantile_values[i];
		buf_printf(out, "%s%s:%s", i > 0 ? "," : "", double_shortest(entry->quantile).text,
			double_shortest(entry->value).text);
	}
	buf_str(out, "}\n");
}

static const char *temporality_name(Otlp__AggregationTemporality temporality)
{
	switch (temporality) {
	case OTLP__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_CUMULATIVE:
		return "cumulative";
	case OTLP__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_DELTA:
		return "delta";
	default:
		return "unspecified";
	}
}

static void put_kind(struct buf *out, const Otlp__Metric *metric)
{
	switch (metric->data_case) {
	case OTLP__METRIC__DATA_GAUGE:
		buf_str(out, " gauge");
		break;
	case OTLP__METRIC__DATA_SUM:
		buf_printf(out, " sum %s%s", temporality_name(metric->sum->aggregation_temporality),
			metric->sum->is_monotonic ? " monotonic" : "");
		break;
	case OTLP__METRIC__DATA_HISTOGRAM:
		buf_printf(out, " histogram %s", temporality_name(metric->histogram->aggregation_temporality));
		break;
	case OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM:
		buf_printf(out, " exponential_histogram %s",
			temporality_name(metric->exponential_histogram->aggregation_temporality));
		break;
	case OTLP__METRIC__DATA_SUMMARY:
		buf_str(out, " summary");
		break;
	default:
		buf_str(out, " none");
	}
}

static void put_metric_head(struct buf *out, const Otlp__Metric *metric)
{
	const Otlp__KeyValue *type = metadata_type(metric);
	buf_str(out, "  metric ");
	buf_json(out, span_pb(metric->name));
	put_kind(out, metric);
	buf_str(out, " unit=");
	buf_json(out, span_pb(metric->unit));
	if (type) {
		buf_str(out, " type=");
		put_value(out, type->value);
	}
	buf_str(out, " description=");
	buf_json(out, span_pb(metric->description));
	for (size_t i = 0; i < metric->n_metadata; i++) {
		if (metric->metadata[i] == type)
			continue;
		buf_str(out, " metadata ");
		put_attributes(out, &metric->metadata[i], 1, "");
	}
	buf_char(out, '\n');
}

static void put_metric(struct buf *out, const Otlp__Metric *metric)
{
	put_metric_head(out, metric);
	for (size_t i = 0; i < metric_points(metric); i++) {
		if (metric->data_case == OTLP__METRIC__DATA_GAUGE)
			put_number_point(out, metric->gauge->data_points[i]);
		else if (metric->data_case == OTLP__METRIC__DATA_SUM)
			put_number_point(out, metric->sum->data_points[i]);
		else if (metric->data_case == OTLP__METRIC__DATA_HISTOGRAM)
			put_histogram_point(out, metric->histogram->data_points[i]);
		else if (metric->data_case == OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM)
			put_exponential_point(out, metric->exponential_histogram->data_points[i]);
		else if (metric->data_case == OTLP__METRIC__DATA_SUMMARY)
			put_summary_point(out, metric->summary->data_points[i]);
	}
}

static void put_schema_url(struct buf *out, struct span schema_url)
{
	if (schema_url.len == 0)
		return;
	buf_str(out, " schema_url=");
	buf_json(out, schema_url);
}

static void put_scope(struct buf *out, const Otlp__ScopeMetrics *scope_metrics)
{
	const Otlp__InstrumentationScope *scope = scope_metrics->scope;
	buf_str(out, " scope");
	if (scope) {
		buf_char(out, ' ');
		buf_json(out, span_pb(scope->name));
		buf_char(out, ' ');
		buf_json(out, span_pb(scope->version));
		buf_str(out, scope->n_attributes > 0 ? " " : "");
		put_attributes(out, scope->attributes, scope->n_attributes, " ");
	}
	put_schema_url(out, span_pb(scope_metrics->schema_url));
	buf_char(out, '\n');
	for (size_t m = 0; m < scope_metrics->n_metrics; m++)
		put_metric(out, scope_metrics->metrics[m]);
}

int otlp_text(struct span request, struct buf *out)
{
	struct reading reading;
	int result = reading_begin(&reading, request);
	for (size_t r = 0; result == 0 && r < reading.request->n_resource_metrics; r++) {
		const Otlp__ResourceMetrics *metrics = reading.request->resource_metrics[r];
		const Otlp__Resource *resource = metrics->resource;
		buf_str(out, "resource");
		if (resource) {
			buf_str(out, resource->n_attributes > 0 ? " " : "");
			put_attributes(out, resource->attributes, resource->n_attributes, " ");
		}
		put_schema_url(out, span_pb(metrics->schema_url));
		buf_char(out, '\n');
		for (size_t s = 0; s < metrics->n_scope_metrics; s++)
			put_scope(out, metrics->scope_metrics[s]);
		result = out->failed;
	}
	reading_end(&reading);
	return result;
}
