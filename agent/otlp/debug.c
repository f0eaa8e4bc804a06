/* What the Collector's debug exporter prints, in its shape, so that what people do with that log works on ours.
 *
 *   TIME \t info \t Metrics \t {..., "resource metrics": 1, "metrics": 16, "data points": 22}
 *   TIME \t info \t <the tree, or for normal one line a point> \n \t {...}
 *
 * Captured from the Collector 0.165.0 (tests/golden/otlp/README.md). One difference: control characters but for the
 * newline are printed as \xNN, since a pod chooses them and a terminal obeys them.
 */
#include "read.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOG_FIELDS                                                                                                     \
	"{\"resource\": {\"service.name\": \"gleaner\", \"service.version\": \"" GLEANER_VERSION "\"}, "               \
	"\"otelcol.component.id\": \"debug\", \"otelcol.component.kind\": \"exporter\", \"otelcol.signal\": "          \
	"\"metrics\""

/* ---- values as Go prints them -------------------------------------------------- */

static void put_text(struct buf *out, struct span s)
{
	size_t done = 0;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		bool is_c1 = c == 0xc2 && i + 1 < s.len && (unsigned char)s.ptr[i + 1] < 0xa0; /* U+0080 to U+009F */
		if ((c >= 0x20 && c != 0x7f && !is_c1) || c == '\n')
			continue;
		buf_append(out, s.ptr + done, i - done);
		if (is_c1)
			buf_printf(out, "\\u%04x", (unsigned char)s.ptr[++i]);
		else
			buf_printf(out, "\\x%02x", c);
		done = i + 1;
	}
	buf_append(out, s.ptr + done, s.len - done);
}

/* "2026-11-24 09:04:11.604 +0000 UTC", the fraction as short as it can be. */
static void put_time(struct buf *out, uint64_t time_ns)
{
	int64_t ns = (int64_t)time_ns; /* as Go: what does not fit is before 1970 */
	int64_t fraction = ns % (int64_t)NS_PER_SEC;
	time_t seconds = (time_t)(ns / (int64_t)NS_PER_SEC);
	if (fraction < 0) {
		fraction += (int64_t)NS_PER_SEC;
		seconds--;
	}
	struct tm tm;
	char text[64], digits[16];
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	int len = snprintf(digits, sizeof(digits), ".%09" PRId64, fraction);
	while (len > 0 && (digits[len - 1] == '0' || digits[len - 1] == '.'))
		len--;
	buf_printf(out, "%s%.*s +0000 UTC", text, len, digits);
}

/* Go's %f */
static void put_fixed(struct buf *out, double value)
{
	if (isfinite(value))
		buf_printf(out, "%f", value);
	else
		buf_str(out, double_shortest(value).text);
}

/* Go's %v: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e6 on. */
static void put_shortest(struct buf *out, double value)
{
	char text[40];
	if (!isfinite(value)) {
		buf_str(out, double_shortest(value).text);
		return;
	}
	for (int digits = 0; digits <= 16; digits++) {
		snprintf(text, sizeof(text), "%.*e", digits, value);
		if (strtod(text, NULL) != value)
			continue;
		int exponent = atoi(strchr(text, 'e') + 1);
		if (exponent >= -4 && exponent < 6)
			snprintf(text, sizeof(text), "%.*f", digits > exponent ? digits - exponent : 0, value);
		break;
	}
	buf_str(out, text);
}

static void put_value(struct buf *out, const Otlp__AnyValue *value)
{
	switch (value ? value->value_case : OTLP__ANY_VALUE__VALUE__NOT_SET) {
	case OTLP__ANY_VALUE__VALUE_STRING_VALUE:
		put_text(out, span_pb(value->string_value));
		break;
	case OTLP__ANY_VALUE__VALUE_BOOL_VALUE:
		buf_str(out, value->bool_value ? "true" : "false");
		break;
	case OTLP__ANY_VALUE__VALUE_INT_VALUE:
		buf_printf(out, "%" PRId64, value->int_value);
		break;
	case OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE:
		put_shortest(out, value->double_value);
		break;
	case OTLP__ANY_VALUE__VALUE_BYTES_VALUE:
		buf_base64(out, span_pb(value->bytes_value));
		break;
	default:
		break;
	}
}

/* ---- detailed: the tree --------------------------------------------------------- */

static const char *value_kind(const Otlp__AnyValue *value)
{
	switch (value ? value->value_case : OTLP__ANY_VALUE__VALUE__NOT_SET) {
	case OTLP__ANY_VALUE__VALUE_STRING_VALUE:
		return "Str";
	case OTLP__ANY_VALUE__VALUE_BOOL_VALUE:
		return "Bool";
	case OTLP__ANY_VALUE__VALUE_INT_VALUE:
		return "Int";
	case OTLP__ANY_VALUE__VALUE_DOUBLE_VALUE:
		return "Double";
	case OTLP__ANY_VALUE__VALUE_BYTES_VALUE:
		return "Bytes";
	default:
		return "Empty";
	}
}

static void tree_attributes(
	struct buf *out, const char *title, const char *indent, Otlp__KeyValue *const *attributes, size_t count)
{
	if (count > 0)
		buf_printf(out, "%s\n", title);
	for (size_t i = 0; i < count; i++) {
		buf_printf(out, "%s-> ", indent);
		put_text(out, span_pb(attributes[i]->key));
		buf_printf(out, ": %s(", value_kind(attributes[i]->value));
		put_value(out, attributes[i]->value);
		buf_str(out, ")\n");
	}
}

static void tree_point_head(struct buf *out, const char *kind, size_t index, Otlp__KeyValue *const *attributes,
	size_t count, uint64_t start_ns, uint64_t time_ns)
{
	buf_printf(out, "%sDataPoints #%zu\n", kind, index);
	tree_attributes(out, "Data point attributes:", "     ", attributes, count);
	buf_str(out, "StartTimestamp: ");
	put_time(out, start_ns);
	buf_str(out, "\nTimestamp: ");
	put_time(out, time_ns);
	buf_char(out, '\n');
}

static void tree_double(struct buf *out, const char *name, double value)
{
	buf_printf(out, "%s: ", name);
	put_fixed(out, value);
	buf_char(out, '\n');
}

static void tree_exemplars(struct buf *out, Otlp__Exemplar *const *exemplars, size_t count)
{
	if (count > 0)
		buf_str(out, "Exemplars:\n");
	for (size_t i = 0; i < count; i++) {
		const Otlp__Exemplar *exemplar = exemplars[i];
		buf_printf(out, "Exemplar #%zu\n     -> Trace ID: ", i);
		buf_hex(out, span_pb(exemplar->trace_id));
		buf_str(out, "\n     -> Span ID: ");
		buf_hex(out, span_pb(exemplar->span_id));
		buf_str(out, "\n     -> Timestamp: ");
		put_time(out, exemplar->time_unix_nano);
		buf_char(out, '\n');
		if (exemplar->value_case == OTLP__EXEMPLAR__VALUE_AS_INT)
			buf_printf(out, "     -> Value: %" PRId64 "\n", exemplar->as_int);
		else if (exemplar->value_case == OTLP__EXEMPLAR__VALUE_AS_DOUBLE)
			tree_double(out, "     -> Value", exemplar->as_double);
		tree_attributes(out, "     -> FilteredAttributes:", "          ", exemplar->filtered_attributes,
			exemplar->n_filtered_attributes);
	}
}

static void tree_number_points(struct buf *out, Otlp__NumberDataPoint *const *points, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const Otlp__NumberDataPoint *point = points[i];
		tree_point_head(out, "Number", i, point->attributes, point->n_attributes, point->start_time_unix_nano,
			point->time_unix_nano);
		if (point->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_INT)
			buf_printf(out, "Value: %" PRId64 "\n", point->as_int);
		else if (point->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_DOUBLE)
			tree_double(out, "Value", point->as_double);
		tree_exemplars(out, point->exemplars, point->n_exemplars);
	}
}

static void tree_histogram_points(struct buf *out, const Otlp__Histogram *histogram)
{
	for (size_t i = 0; i < histogram->n_data_points; i++) {
		const Otlp__HistogramDataPoint *point = histogram->data_points[i];
		tree_point_head(out, "Histogram", i, point->attributes, point->n_attributes,
			point->start_time_unix_nano, point->time_unix_nano);
		buf_printf(out, "Count: %" PRIu64 "\n", point->count);
		if (point->_sum_case == OTLP__HISTOGRAM_DATA_POINT___SUM_SUM)
			tree_double(out, "Sum", point->sum);
		if (point->_min_case == OTLP__HISTOGRAM_DATA_POINT___MIN_MIN)
			tree_double(out, "Min", point->min);
		if (point->_max_case == OTLP__HISTOGRAM_DATA_POINT___MAX_MAX)
			tree_double(out, "Max", point->max);
		for (size_t k = 0; k < point->n_explicit_bounds; k++) {
			buf_printf(out, "ExplicitBounds #%zu: ", k);
			put_fixed(out, point->explicit_bounds[k]);
			buf_char(out, '\n');
		}
		for (size_t k = 0; k < point->n_bucket_counts; k++)
			buf_printf(out, "Buckets #%zu, Count: %" PRIu64 "\n", k, point->bucket_counts[k]);
		tree_exemplars(out, point->exemplars, point->n_exemplars);
	}
}

/* Bucket i of an exponential histogram lies between the powers i and i + 1 of 2^(2^-scale). By exp and not by exp2, as
 * the Collector, for the same last digit. */
static double exponential_bound(const Otlp__ExponentialHistogramDataPoint *point, int64_t index)
{
	return exp((double)index * (M_LN2 * exp2(-(double)point->scale)));
}

static void tree_exponential_buckets(struct buf *out, const Otlp__ExponentialHistogramDataPoint *point)
{
	const Otlp__ExponentialHistogramDataPoint__Buckets *buckets = point->negative;
	for (size_t k = buckets ? buckets->n_bucket_counts : 0; k-- > 0;) {
		int64_t index = (int64_t)buckets->offset + (int64_t)k;
		buf_str(out, "Bucket [");
		put_fixed(out, -exponential_bound(point, index + 1));
		buf_str(out, ", ");
		put_fixed(out, -exponential_bound(point, index));
		buf_printf(out, "), Count: %" PRIu64 "\n", buckets->bucket_counts[k]);
	}
	if (point->zero_count > 0)
		buf_printf(out, "Bucket [0, 0], Count: %" PRIu64 "\n", point->zero_count);
	buckets = point->positive;
	for (size_t k = 0; k < (buckets ? buckets->n_bucket_counts : 0); k++) {
		int64_t index = (int64_t)buckets->offset + (int64_t)k;
		buf_str(out, "Bucket (");
		put_fixed(out, exponential_bound(point, index));
		buf_str(out, ", ");
		put_fixed(out, exponential_bound(point, index + 1));
		buf_printf(out, "], Count: %" PRIu64 "\n", buckets->bucket_counts[k]);
	}
}

static void tree_exponential_points(struct buf *out, const Otlp__ExponentialHistogram *histogram)
{
	for (size_t i = 0; i < histogram->n_data_points; i++) {
		const Otlp__ExponentialHistogramDataPoint *point = histogram->data_points[i];
		tree_point_head(out, "ExponentialHistogram", i, point->attributes, point->n_attributes,
			point->start_time_unix_nano, point->time_unix_nano);
		buf_printf(out, "Count: %" PRIu64 "\n", point->count);
		if (point->_sum_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___SUM_SUM)
			tree_double(out, "Sum", point->sum);
		if (point->_min_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___MIN_MIN)
			tree_double(out, "Min", point->min);
		if (point->_max_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___MAX_MAX)
			tree_double(out, "Max", point->max);
		tree_exponential_buckets(out, point);
		tree_exemplars(out, point->exemplars, point->n_exemplars);
	}
}

static void tree_summary_points(struct buf *out, const Otlp__Summary *summary)
{
	for (size_t i = 0; i < summary->n_data_points; i++) {
		const Otlp__SummaryDataPoint *point = summary->data_points[i];
		tree_point_head(out, "Summary", i, point->attributes, point->n_attributes, point->start_time_unix_nano,
			point->time_unix_nano);
		buf_printf(out, "Count: %" PRIu64 "\n", point->count);
		tree_double(out, "Sum", point->sum);
		for (size_t k = 0; k < point->n_quantile_values; k++) {
			buf_printf(out, "QuantileValue #%zu: Quantile ", k);
			put_fixed(out, point->quantile_values[k]->quantile);
			buf_str(out, ", Value ");
			put_fixed(out, point->quantile_values[k]->value);
			buf_char(out, '\n');
		}
	}
}

static void tree_temporality(struct buf *out, Otlp__AggregationTemporality temporality)
{
	static const char *const names[] = {"Unspecified", "Delta", "Cumulative"};
	size_t index = (size_t)temporality < ARRAY_SIZE(names) ? (size_t)temporality : 0;
	buf_printf(out, "     -> AggregationTemporality: %s\n", names[index]);
}

static void tree_line(struct buf *out, const char *name, struct span value)
{
	buf_printf(out, "%s: ", name);
	put_text(out, value);
	buf_char(out, '\n');
}

static void tree_data(struct buf *out, const Otlp__Metric *metric)
{
	switch (metric->data_case) {
	case OTLP__METRIC__DATA_GAUGE:
		tree_number_points(out, metric->gauge->data_points, metric->gauge->n_data_points);
		break;
	case OTLP__METRIC__DATA_SUM:
		buf_printf(out, "     -> IsMonotonic: %s\n", metric->sum->is_monotonic ? "true" : "false");
		tree_temporality(out, metric->sum->aggregation_temporality);
		tree_number_points(out, metric->sum->data_points, metric->sum->n_data_points);
		break;
	case OTLP__METRIC__DATA_HISTOGRAM:
		tree_temporality(out, metric->histogram->aggregation_temporality);
		tree_histogram_points(out, metric->histogram);
		break;
	case OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM:
		tree_temporality(out, metric->exponential_histogram->aggregation_temporality);
		tree_exponential_points(out, metric->exponential_histogram);
		break;
	case OTLP__METRIC__DATA_SUMMARY:
		tree_summary_points(out, metric->summary);
		break;
	default:
		break;
	}
}

static void tree_metric(struct buf *out, const Otlp__Metric *metric, size_t index)
{
	static const char *const kinds[] = {
		[OTLP__METRIC__DATA__NOT_SET] = "Empty",
		[OTLP__METRIC__DATA_GAUGE] = "Gauge",
		[OTLP__METRIC__DATA_SUM] = "Sum",
		[OTLP__METRIC__DATA_HISTOGRAM] = "Histogram",
		[OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM] = "ExponentialHistogram",
		[OTLP__METRIC__DATA_SUMMARY] = "Summary",
	};
	buf_printf(out, "Metric #%zu\nDescriptor:\n", index);
	tree_line(out, "     -> Name", span_pb(metric->name));
	tree_line(out, "     -> Description", span_pb(metric->description));
	tree_line(out, "     -> Unit", span_pb(metric->unit));
	buf_printf(out, "     -> DataType: %s\n", kinds[metric->data_case]);
	tree_attributes(out, "     -> Metadata:", "          ", metric->metadata, metric->n_metadata);
	tree_data(out, metric);
}

static void tree_scope(struct buf *out, const Otlp__ScopeMetrics *metrics, size_t index)
{
	const Otlp__InstrumentationScope *scope = metrics->scope;
	buf_printf(out, "ScopeMetrics #%zu\n", index);
	tree_line(out, "ScopeMetrics SchemaURL", span_pb(metrics->schema_url));
	buf_str(out, "InstrumentationScope ");
	put_text(out, scope ? span_pb(scope->name) : SPAN_NONE);
	buf_char(out, ' ');
	put_text(out, scope ? span_pb(scope->version) : SPAN_NONE);
	buf_char(out, '\n');
	if (scope)
		tree_attributes(
			out, "InstrumentationScope attributes:", "     ", scope->attributes, scope->n_attributes);
	for (size_t m = 0; m < metrics->n_metrics; m++)
		tree_metric(out, metrics->metrics[m], m);
}

static void tree_resource(struct buf *out, const Otlp__ResourceMetrics *metrics, size_t index)
{
	buf_printf(out, "ResourceMetrics #%zu\n", index);
	tree_line(out, "Resource SchemaURL", span_pb(metrics->schema_url));
	if (metrics->resource)
		tree_attributes(out, "Resource attributes:", "     ", metrics->resource->attributes,
			metrics->resource->n_attributes);
	for (size_t s = 0; s < metrics->n_scope_metrics; s++)
		tree_scope(out, metrics->scope_metrics[s], s);
}

/* ---- normal: one line a point ---------------------------------------------------- */

static void line_attributes(
	struct buf *out, const char *before, const char *separator, Otlp__KeyValue *const *attributes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_str(out, i > 0 ? separator : before);
		put_text(out, span_pb(attributes[i]->key));
		buf_char(out, '=');
		put_value(out, attributes[i]->value);
	}
}

static void line_head(struct buf *out, const Otlp__Metric *metric, Otlp__KeyValue *const *attributes, size_t count)
{
	put_text(out, span_pb(metric->name));
	buf_char(out, '{');
	line_attributes(out, "", ",", attributes, count);
	buf_str(out, "} ");
}

static void line_double(struct buf *out, const char *before, double value)
{
	buf_str(out, before);
	put_shortest(out, value);
}

static void line_number(struct buf *out, const Otlp__Metric *metric, const Otlp__NumberDataPoint *point)
{
	line_head(out, metric, point->attributes, point->n_attributes);
	if (point->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_INT)
		buf_printf(out, "%" PRId64, point->as_int);
	else if (point->value_case == OTLP__NUMBER_DATA_POINT__VALUE_AS_DOUBLE)
		put_shortest(out, point->as_double);
	buf_char(out, '\n');
}

static void line_histogram(struct buf *out, const Otlp__Metric *metric, const Otlp__HistogramDataPoint *point)
{
	line_head(out, metric, point->attributes, point->n_attributes);
	buf_printf(out, "count=%" PRIu64, point->count);
	if (point->_sum_case == OTLP__HISTOGRAM_DATA_POINT___SUM_SUM)
		line_double(out, " sum=", point->sum);
	if (point->_min_case == OTLP__HISTOGRAM_DATA_POINT___MIN_MIN)
		line_double(out, " min=", point->min);
	if (point->_max_case == OTLP__HISTOGRAM_DATA_POINT___MAX_MAX)
		line_double(out, " max=", point->max);
	for (size_t k = 0; k < point->n_bucket_counts; k++) {
		buf_char(out, ' ');
		if (k < point->n_explicit_bounds) {
			line_double(out, "le", point->explicit_bounds[k]);
			buf_char(out, '=');
		}
		buf_printf(out, "%" PRIu64, point->bucket_counts[k]);
	}
	buf_char(out, '\n');
}

static void line_exponential_buckets(struct buf *out, const Otlp__ExponentialHistogramDataPoint *point)
{
	const Otlp__ExponentialHistogramDataPoint__Buckets *buckets = point->negative;
	for (size_t k = buckets ? buckets->n_bucket_counts : 0; k-- > 0;) {
		line_double(out, " le", -exponential_bound(point, (int64_t)buckets->offset + (int64_t)k));
		buf_printf(out, "=%" PRIu64, buckets->bucket_counts[k]);
	}
	if (point->zero_count > 0)
		buf_printf(out, " zero=%" PRIu64, point->zero_count);
	buckets = point->positive;
	for (size_t k = 0; k < (buckets ? buckets->n_bucket_counts : 0); k++) {
		line_double(out, " le", exponential_bound(point, (int64_t)buckets->offset + (int64_t)k + 1));
		buf_printf(out, "=%" PRIu64, buckets->bucket_counts[k]);
	}
}

static void line_exponential(
	struct buf *out, const Otlp__Metric *metric, const Otlp__ExponentialHistogramDataPoint *point)
{
	line_head(out, metric, point->attributes, point->n_attributes);
	buf_printf(out, "count=%" PRIu64, point->count);
	if (point->_sum_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___SUM_SUM)
		line_double(out, " sum=", point->sum);
	if (point->_min_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___MIN_MIN)
		line_double(out, " min=", point->min);
	if (point->_max_case == OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT___MAX_MAX)
		line_double(out, " max=", point->max);
	line_exponential_buckets(out, point);
	buf_char(out, '\n');
}

static void line_summary(struct buf *out, const Otlp__Metric *metric, const Otlp__SummaryDataPoint *point)
{
	line_head(out, metric, point->attributes, point->n_attributes);
	buf_printf(out, "count=%" PRIu64 " sum=", point->count);
	put_fixed(out, point->sum);
	for (size_t k = 0; k < point->n_quantile_values; k++) {
		line_double(out, " q", point->quantile_values[k]->quantile);
		line_double(out, "=", point->quantile_values[k]->value);
	}
	buf_char(out, '\n');
}

static void lines_metric(struct buf *out, const Otlp__Metric *metric)
{
	for (size_t i = 0; i < metric_points(metric); i++) {
		if (metric->data_case == OTLP__METRIC__DATA_GAUGE)
			line_number(out, metric, metric->gauge->data_points[i]);
		else if (metric->data_case == OTLP__METRIC__DATA_SUM)
			line_number(out, metric, metric->sum->data_points[i]);
		else if (metric->data_case == OTLP__METRIC__DATA_HISTOGRAM)
			line_histogram(out, metric, metric->histogram->data_points[i]);
		else if (metric->data_case == OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM)
			line_exponential(out, metric, metric->exponential_histogram->data_points[i]);
		else
			line_summary(out, metric, metric->summary->data_points[i]);
	}
}

static void line_schema_url(struct buf *out, struct span schema_url)
{
	if (schema_url.len == 0)
		return;
	buf_str(out, " [");
	put_text(out, schema_url);
	buf_char(out, ']');
}

static void lines_scope(struct buf *out, const Otlp__ScopeMetrics *metrics, size_t index)
{
	const Otlp__InstrumentationScope *scope = metrics->scope;
	buf_printf(out, "ScopeMetrics #%zu", index);
	if (scope && scope->name.len > 0) {
		buf_char(out, ' ');
		put_text(out, span_pb(scope->name));
	}
	if (scope && scope->version.len > 0) {
		buf_char(out, '@');
		put_text(out, span_pb(scope->version));
	}
	line_schema_url(out, span_pb(metrics->schema_url));
	if (scope)
		line_attributes(out, " ", " ", scope->attributes, scope->n_attributes);
	buf_char(out, '\n');
	for (size_t m = 0; m < metrics->n_metrics; m++)
		lines_metric(out, metrics->metrics[m]);
}

static void lines_resource(struct buf *out, const Otlp__ResourceMetrics *metrics, size_t index)
{
	buf_printf(out, "ResourceMetrics #%zu", index);
	line_schema_url(out, span_pb(metrics->schema_url));
	if (metrics->resource)
		line_attributes(out, " ", " ", metrics->resource->attributes, metrics->resource->n_attributes);
	buf_char(out, '\n');
	for (size_t s = 0; s < metrics->n_scope_metrics; s++)
		lines_scope(out, metrics->scope_metrics[s], s);
}

/* ---- the log lines ----------------------------------------------------------------- */

static void put_request(struct buf *out, const Otlp__ExportMetricsServiceRequest *request,
	enum otlp_verbosity verbosity, const char *time_text)
{
	buf_printf(out, "%s\tinfo\t", time_text);
	for (size_t r = 0; r < request->n_resource_metrics && out->failed == 0; r++) {
		if (verbosity == OTLP_DETAILED)
			tree_resource(out, request->resource_metrics[r], r);
		else
			lines_resource(out, request->resource_metrics[r], r);
	}
	buf_str(out, "\t" LOG_FIELDS "}\n");
}

int otlp_debug(struct span request, enum otlp_verbosity verbosity, const char *time_text, struct buf *out)
{
	struct reading reading;
	struct otlp_counts counts;
	int result = reading_begin(&reading, request);
	if (result == 0) {
		counts = reading_counts(&reading);
		buf_printf(out,
			"%s\tinfo\tMetrics\t" LOG_FIELDS ", \"resource metrics\": %" PRIu64 ", \"metrics\": %" PRIu64
			", \"data points\": %" PRIu64 "}\n",
			time_text, counts.resources, counts.metrics, counts.points);
		if (verbosity != OTLP_BASIC)
			put_request(out, reading.request, verbosity, time_text);
		result = out->failed;
	}
	reading_end(&reading);
	return result;
}
