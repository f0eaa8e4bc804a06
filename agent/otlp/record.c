/* Data point records: encoded once, patched by every scrape.
 *
 * A record is one `data_points` field of Gauge, Sum, Histogram or Summary, tag and length included. What never changes
 * (attributes, bounds, quantiles) stands in front, what a scrape changes has a fixed width and a fixed distance from the
 * end. Protobuf leaves the order of fields free. Layouts, offsets counted back from the end:
 *
 *   number      0a len | 3a.. attributes | 11 start | 19 time | 21 value
 *                                         -27        -18       -9
 *   histogram   0a len | 4a.. attributes | 3a len bounds | 32 len counts | [29 sum] | 21 count | 11 start | 19 time
 *                                                                          -36        -27        -18        -9
 *   summary     0a len | 3a.. attributes | (32 12 09 quantile 11 value)* | 21 count | 29 sum | 11 start | 19 time
 *                                           20 bytes each                  -36        -27      -18        -9
 *
 * The bucket counts (8 bytes each) end where the histogram's tail begins; a summary's entries likewise.
 */
#include "gleaner/otlp.h"

#include "encode.h"

#include <errno.h>

enum {
	RECORD_DATA_POINTS = 1, /* the field's number in Gauge, Sum, Histogram and Summary */
	POINT_START = 2,
	POINT_TIME = 3,
	NUMBER_VALUE = 4,
	NUMBER_EXEMPLARS = 5,
	NUMBER_ATTRIBUTES = 7, /* of summaries too */
	NUMBER_FLAGS = 8,      /* of summaries too */
	HISTOGRAM_COUNT = 4,
	HISTOGRAM_SUM = 5,
	HISTOGRAM_COUNTS = 6,
	HISTOGRAM_BOUNDS = 7,
	HISTOGRAM_EXEMPLARS = 8,
	HISTOGRAM_ATTRIBUTES = 9,
	HISTOGRAM_FLAGS = 10,
	SUMMARY_COUNT = 4,
	SUMMARY_SUM = 5,
	SUMMARY_QUANTILES = 6,
	QUANTILE_QUANTILE = 1,
	QUANTILE_VALUE = 2,
	EXEMPLAR_TIME = 2,
	EXEMPLAR_VALUE = 3,
	EXEMPLAR_SPAN_ID = 4,
	EXEMPLAR_TRACE_ID = 5,
	EXEMPLAR_ATTRIBUTES = 7,
};

enum { QUANTILE_BODY = 2 * FIELD_64_SIZE, QUANTILE_SIZE = 2 + QUANTILE_BODY };

static unsigned attributes_field(enum otlp_data data)
{
	return data == OTLP_HISTOGRAM ? HISTOGRAM_ATTRIBUTES : NUMBER_ATTRIBUTES;
}

int otlp_point_attribute(struct buf *attributes, enum otlp_data data, struct span key, struct span value)
{
	return encode_key_value(attributes, attributes_field(data), key, value);
}

int otlp_exemplar_attribute(struct buf *attributes, struct span key, struct span value)
{
	return encode_key_value(attributes, EXEMPLAR_ATTRIBUTES, key, value);
}

/* Starts a record of `body_size` bytes; NULL when out has no room. record_end is to be told where the body ended. */
static char *record_begin(struct buf *out, size_t body_size)
{
	char *at = buf_reserve(out, bytes_field_size(body_size));
	return at ? put_bytes_head(at, RECORD_DATA_POINTS, body_size) : NULL;
}

static int record_end(struct buf *out, const char *end)
{
	out->len = (size_t)(end - out->ptr);
	return 0;
}

int otlp_number_record(struct buf *out, struct span attributes)
{
	char *at = record_begin(out, attributes.len + 3 * FIELD_64_SIZE);
	if (!at)
		return out->failed;
	at = put_span(at, attributes);
	at = put_64_field(at, POINT_START, 0);
	at = put_64_field(at, POINT_TIME, 0);
	at = put_double_field(at, NUMBER_VALUE, 0);
	return record_end(out, at);
}

int otlp_histogram_record(
	struct buf *out, struct span attributes, const double *bounds, size_t bounds_count, bool has_sum)
{
	size_t bounds_len = bounds_count * 8, counts_len = bounds_len + 8;
	size_t bounds_size = bounds_count > 0 ? bytes_field_size(bounds_len) : 0;
	size_t tail = (has_sum ? 4 : 3) * FIELD_64_SIZE;
	char *at = record_begin(out, attributes.len + bounds_size + bytes_field_size(counts_len) + tail);
	if (!at)
		return out->failed;
	at = put_span(at, attributes);
	if (bounds_count > 0)
		at = put_bytes_field(at, HISTOGRAM_BOUNDS, span_of((const char *)bounds, bounds_len));
	at = put_bytes_head(at, HISTOGRAM_COUNTS, counts_len);
	memset(at, 0, counts_len);
	at += counts_len;
	if (has_sum)
		at = put_double_field(at, HISTOGRAM_SUM, 0);
	at = put_64_field(at, HISTOGRAM_COUNT, 0);
	at = put_64_field(at, POINT_START, 0);
	at = put_64_field(at, POINT_TIME, 0);
	return record_end(out, at);
}

/* A ValueAtQuantile with its tag. */
static char *put_quantile(char *at, double quantile)
{
	at = put_bytes_head(at, SUMMARY_QUANTILES, QUANTILE_BODY);
	at = put_double_field(at, QUANTILE_QUANTILE, quantile);
	return put_double_field(at, QUANTILE_VALUE, 0);
}

int otlp_summary_record(struct buf *out, struct span attributes, const double *quantiles, size_t quantiles_count)
{
	char *at = record_begin(out, attributes.len + quantiles_count * QUANTILE_SIZE + 4 * FIELD_64_SIZE);
	if (!at)
		return out->failed;
	at = put_span(at, attributes);
	for (size_t i = 0; i < quantiles_count; i++)
		at = put_quantile(at, quantiles[i]);
	at = put_64_field(at, SUMMARY_COUNT, 0);
	at = put_double_field(at, SUMMARY_SUM, 0);
	at = put_64_field(at, POINT_START, 0);
	at = put_64_field(at, POINT_TIME, 0);
	return record_end(out, at);
}

static void store_double(char *at, double value)
{
	memcpy(at, &value, sizeof(value));
}

void otlp_histogram_patch(char *end, uint64_t start_ns, uint64_t time_ns, uint64_t count, double sum, bool has_sum,
	const uint64_t *counts, size_t counts_count)
{
	otlp_store64(end - 8, time_ns);
	otlp_store64(end - 17, start_ns);
	otlp_store64(end - 26, count);
	if (has_sum)
		store_double(end - 35, sum);
	memcpy(end - (has_sum ? 36 : 27) - 8 * counts_count, counts, 8 * counts_count);
}

void otlp_summary_patch(char *end, uint64_t start_ns, uint64_t time_ns, uint64_t count, double sum,
	const double *values, size_t values_count)
{
	otlp_store64(end - 8, time_ns);
	otlp_store64(end - 17, start_ns);
	store_double(end - 26, sum);
	otlp_store64(end - 35, count);
	char *entry_end = end - 36 - QUANTILE_SIZE * values_count;
	for (size_t i = 0; i < values_count; i++) {
		entry_end += QUANTILE_SIZE;
		store_double(entry_end - 8, values[i]);
	}
}

/* The body of a record; -EBADMSG when it is not exactly one data_points field. */
static int record_body(struct span record, struct span *ret_body)
{
	struct field field;
	if (field_next(&record, &field) != 1 || record.len > 0 || field.number != RECORD_DATA_POINTS ||
		field.wire_type != WIRE_BYTES)
		return -EBADMSG;
	*ret_body = field.payload;
	return 0;
}

/* What a flagged point keeps of the live one: attributes, and (zeroed) as many counts or quantiles. */
static bool flagged_keeps(enum otlp_data data, const struct field *field)
{
	if (field->number == attributes_field(data))
		return true;
	if (data == OTLP_HISTOGRAM)
		return field->number == HISTOGRAM_BOUNDS || field->number == HISTOGRAM_COUNTS;
	return data == OTLP_SUMMARY && field->number == SUMMARY_QUANTILES && field->whole.len == QUANTILE_SIZE;
}

static char *put_flagged_field(char *at, enum otlp_data data, const struct field *field)
{
	at = put_span(at, field->whole);
	if (data == OTLP_HISTOGRAM && field->number == HISTOGRAM_COUNTS)
		memset(at - field->payload.len, 0, field->payload.len);
	if (data == OTLP_SUMMARY && field->number == SUMMARY_QUANTILES)
		store_double(at - 8, 0);
	return at;
}

static int flagged_size(enum otlp_data data, struct span body, size_t *ret_size)
{
	size_t size = FIELD_64_SIZE + 2; /* time and flags */
	struct field field;
	int result;
	while ((result = field_next(&body, &field)) == 1)
		size += flagged_keeps(data, &field) ? field.whole.len : 0;
	if (result == 0)
		*ret_size = size;
	return result;
}

int otlp_flagged_record(struct buf *out, enum otlp_data data, struct span record, uint64_t time_ns)
{
	struct span body;
	size_t size = 0;
	int result = record_body(record, &body);
	if (result == 0)
		result = flagged_size(data, body, &size);
	if (result < 0)
		return result;
	char *at = record_begin(out, size);
	if (!at)
		return out->failed;
	for (struct field field; field_next(&body, &field) == 1;)
		at = flagged_keeps(data, &field) ? put_flagged_field(at, data, &field) : at;
	*at++ = TAG(data == OTLP_HISTOGRAM ? HISTOGRAM_FLAGS : NUMBER_FLAGS, WIRE_VARINT);
	*at++ = 1;
	at = put_64_field(at, POINT_TIME, time_ns);
	return record_end(out, at);
}

static size_t exemplar_size(const struct otlp_exemplar *exemplar)
{
	return exemplar->attributes.len + 2 * FIELD_64_SIZE +
	       (exemplar->span_id.len > 0 ? bytes_field_size(exemplar->span_id.len) : 0) +
	       (exemplar->trace_id.len > 0 ? bytes_field_size(exemplar->trace_id.len) : 0);
}

static char *put_exemplar(char *at, unsigned field, const struct otlp_exemplar *exemplar)
{
	at = put_bytes_head(at, field, exemplar_size(exemplar));
	at = put_span(at, exemplar->attributes);
	at = put_64_field(at, EXEMPLAR_TIME, exemplar->time_ns);
	at = put_double_field(at, EXEMPLAR_VALUE, exemplar->value);
	if (exemplar->span_id.len > 0)
		at = put_bytes_field(at, EXEMPLAR_SPAN_ID, exemplar->span_id);
	if (exemplar->trace_id.len > 0)
		at = put_bytes_field(at, EXEMPLAR_TRACE_ID, exemplar->trace_id);
	return at;
}

int otlp_record_with_exemplars(
	struct buf *out, enum otlp_data data, struct span record, const struct otlp_exemplar *exemplars, size_t count)
{
	struct span body;
	int result = record_body(record, &body);
	if (result < 0)
		return result;
	size_t size = body.len;
	for (size_t i = 0; i < count; i++)
		size += bytes_field_size(exemplar_size(&exemplars[i]));
	char *at = record_begin(out, size);
	if (!at)
		return out->failed;
	/* In front, so that the tail stays where the patches expect it. */
	unsigned field = data == OTLP_HISTOGRAM ? HISTOGRAM_EXEMPLARS : NUMBER_EXEMPLARS;
	for (size_t i = 0; i < count; i++)
		at = put_exemplar(at, field, &exemplars[i]);
	return record_end(out, put_span(at, body));
}
