/* otlp: writes and reads OTLP metrics (opentelemetry-proto 1.x, ExportMetricsServiceRequest).
 *
 * Writing is our own and made for the hot path: a data point is encoded once as a
 * record whose variable parts have a fixed width and a fixed place at its end, and
 * every scrape patches them in place. Reading (tests, responses, the debug exporter,
 * JSON) is done by protobuf-c, generated from proto/; it shares nothing with the writer.
 */
#pragma once

#include "gleaner/base.h"

/* ---- data point records ---------------------------------------------------- */

enum otlp_data {
	OTLP_GAUGE,
	OTLP_SUM,              /* cumulative, monotonic */
	OTLP_SUM_NONMONOTONIC, /* cumulative, not monotonic: info, stateset */
	OTLP_HISTOGRAM,        /* cumulative, explicit bounds */
	OTLP_SUMMARY,
};

/* One attribute KeyValue{key, string value} of a data point of this kind, appended to a run of attributes. */
int otlp_point_attribute(struct buf *attributes, enum otlp_data data, struct span key, struct span value);
/* One attribute of a resource or a scope message. */
int otlp_resource_attribute(struct buf *resource, struct span key, struct span value);

/* Each appends one record, tag and length of `data_points` included, all patchable fields zero.
 *   attributes  a run made with otlp_point_attribute
 * The record's length depends on nothing but these arguments, so enclosing lengths stay valid when it is patched.
 *   number:     0a len | attributes | 11 start | 19 time | 21 value
 *   histogram:  0a len | attributes | 3a len bounds | 32 len counts | [29 sum] | 21 count | 11 start | 19 time
 *   summary:    0a len | attributes | (32 12 09 quantile 11 value)* | 21 count | 29 sum | 11 start | 19 time */
int otlp_number_record(struct buf *out, struct span attributes);
/* bounds: strictly increasing, without +Inf; bucket counts have one more. has_sum false: the sum is unset. */
int otlp_histogram_record(
	struct buf *out, struct span attributes, const double *bounds, size_t bounds_count, bool has_sum);
int otlp_summary_record(struct buf *out, struct span attributes, const double *quantiles, size_t quantiles_count);

static inline void otlp_store64(char *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value)); /* little-endian hosts only; agent/otlp/encode.h asserts that */
}

/* Patches: `end` is one past the record's last byte. Times in ns; start 0 means unset. */
static inline void otlp_number_patch(char *end, uint64_t start_ns, uint64_t time_ns, double value)
{
	otlp_store64(end - 26, start_ns);
	otlp_store64(end - 17, time_ns);
	memcpy(end - 8, &value, sizeof(value));
}
/* counts has bounds_count + 1 entries. sum is ignored when the record has none. */
void otlp_histogram_patch(char *end, uint64_t start_ns, uint64_t time_ns, uint64_t count, double sum, bool has_sum,
	const uint64_t *counts, size_t counts_count);
/* values in the order of the record's quantiles. */
void otlp_summary_patch(char *end, uint64_t start_ns, uint64_t time_ns, uint64_t count, double sum,
	const double *values, size_t values_count);

/* Appends a "no recorded value" point (flags bit 0) with the attributes (and bounds, quantiles) of a record, values
 * empty or zero (semantics ), start unset. */
int otlp_flagged_record(struct buf *out, enum otlp_data data, struct span record, uint64_t time_ns);

struct otlp_exemplar {
	double value;
	uint64_t time_ns;
	struct span trace_id, span_id; /* 16 and 8 raw bytes, or empty */
	struct span attributes;        /* run made with otlp_exemplar_attribute */
};
int otlp_exemplar_attribute(struct buf *attributes, struct span key, struct span value);
/* Appends a copy of a number or histogram record with exemplars added; the copy can be patched like the original. */
int otlp_record_with_exemplars(
	struct buf *out, enum otlp_data data, struct span record, const struct otlp_exemplar *exemplars, size_t count);

/* ---- metrics and batches ---------------------------------------------------- */

/* The part of a Metric message before its data: name, description, unit (UCUM), metadata {prometheus.type: type}. */
int otlp_metric_head(struct buf *out, struct span name, struct span description, struct span unit, struct span type);
/* InstrumentationScope message body: name, version, attributes (a run made with otlp_resource_attribute). */
int otlp_scope(struct buf *out, struct span name, struct span version, struct span scope_attributes);

struct otlp_request {
	struct span body; /* ExportMetricsServiceRequest; dies when the callback returns */
	uint32_t points;
	uint32_t metrics, resources;
	uint64_t t_min_ns, t_max_ns; /* of the points' times */
};

/* Points of many scrapes, grouped under resource, scope and metric, cut at max_points / max_bytes.
 * Not thread-safe. Steady state allocates nothing. */
struct otlp_batch;
struct otlp_batch_limits {
	uint32_t max_points; /* 8192 */
	size_t max_bytes;    /* 3 MiB, uncompressed */
};
/* sealed: called with each full request, and by otlp_batch_seal; a negative return is passed on by the call that sealed.
 * 0, -EINVAL (a limit of 0, max_bytes of 256 MiB or more), -ENOMEM. */
int otlp_batch_new(struct otlp_batch_limits limits, int (*sealed)(void *arg, const struct otlp_request *request),
	void *arg, struct otlp_batch **ret_batch);
void otlp_batch_free(struct otlp_batch *batch);
/* Each opens its level and closes what was open below; a level that is open with the same bytes just goes on. Spans need
 * to live until the level is closed (a cut re-opens all levels in the next request). Empty levels leave no bytes.
 *   resource  a run made with otlp_resource_attribute; scope: made with otlp_scope; head: made with otlp_metric_head */
int otlp_batch_resource(struct otlp_batch *batch, struct span resource);
int otlp_batch_scope(struct otlp_batch *batch, struct span scope, struct span schema_url);
int otlp_batch_metric(struct otlp_batch *batch, struct span head, enum otlp_data data);
/* A run of `count` whole records of the open metric. May seal in the middle of the run (between records); both requests
 * then carry the run's time range. A record that is larger than any request may be gets a request of its own.
 * 0; -ENOMEM (the run's rest was not taken, the batch is sound); -EINVAL (fewer than `count` records); what `sealed`
 * returned (the request counts as handed over, the run's rest was not taken).
 * Cost: one copy, 12 ns a point; a run that is cut is also walked. */
int otlp_batch_points(
	struct otlp_batch *batch, struct span records, uint32_t count, uint64_t t_min_ns, uint64_t t_max_ns);
/* Closes all levels (the spans given are no longer needed). */
int otlp_batch_end(struct otlp_batch *batch);
/* Seals what is there, if anything. Call only between otlp_batch_end and the next otlp_batch_resource. */
int otlp_batch_seal(struct otlp_batch *batch);
uint32_t otlp_batch_pending_points(const struct otlp_batch *batch);

/* ---- reading ------------------------------------------------------------------ */

/* Canonical text of a request, one line a point, in the order of the bytes; what golden tests compare:
 *   resource service.name="my-app" service.instance.id="10.0.0.1:80"
 *    scope "gleaner" "0.1.0" k="v"
 *     metric "http_requests_total" sum cumulative monotonic unit="" type="counter" description="..."
 *      point {code="200"} start=0 time=1700000000000000000 value=5
 *      point {..} start= time= count=5 sum=7 bounds=[1] counts=[3,2]
 *      point {..} start= time= count= sum= quantiles={0.5:1.5}
 *      point {..} start= time= no_recorded_value          (bounds= counts= quantiles= shown when present)
 *      exemplar lines below their point: exemplar value= time= trace_id= span_id= {attributes}
 * Integers are shown as value=int:5; a schema URL and min= max= of a histogram where there are any.
 * 0, -EBADMSG (not OTLP), -ENOMEM/-EMSGSIZE. */
int otlp_text(struct span request, struct buf *out);
/* OTLP/JSON of the request (protobuf JSON mapping of OTLP: lowerCamelCase, 64-bit integers as strings, ids in hex). */
int otlp_json(struct span request, struct buf *out);

enum otlp_verbosity { OTLP_BASIC, OTLP_NORMAL, OTLP_DETAILED };
/* What the Collector's debug exporter prints, in its shape (tests/golden/otlp/README.md), control characters escaped: an
 * info line with the counts, then for normal and detailed one more "line" that holds a line a point or the whole tree.
 * time_text: "2026-11-24T09:04:11.610Z". 0, -EBADMSG, -ENOMEM, -EMSGSIZE. */
int otlp_debug(struct span request, enum otlp_verbosity verbosity, const char *time_text, struct buf *out);

struct otlp_counts {
	uint64_t resources, metrics, points;
};
int otlp_count(struct span request, struct otlp_counts *ret_counts);

/* ExportMetricsServiceResponse. An empty body is a success. rejected: clamped to >= 0. message: as of escape_bytes.
 * 0, -EBADMSG, -ENOMEM. */
struct otlp_response {
	uint64_t rejected;
	char message[264];
};
int otlp_response_read(struct span body, struct otlp_response *ret_response);
