/* Points grouped under resource, scope and metric, cut into requests.
 *
 * A request is built in one buffer, front to back. A level (resource, scope, metric) is opened by its first point, not
 * by its announcement, so empty levels leave no bytes. An open level is a field whose length is not known yet: four
 * bytes are kept for it (a varint may be padded: a6 80 80 00 is 0x26) and filled in when the level closes.
 *
 *   0a len4                                      ResourceMetrics
 *      0a len resource
 *      12 len4                                   ScopeMetrics
 *         0a len scope  [1a len schema_url]
 *         12 len4                                Metric
 *            head
 *            2a|3a|4a|5a len4                    Gauge, Sum, Histogram or Summary
 *               [10 02 [18 01]]                  cumulative, monotonic
 *               records...
 *
 * When the next point does not fit, all levels close, the request goes to the callback, and the point opens the same
 * levels in the next request. The buffer is kept, so after the first request nothing is allocated.
 */
#include "gleaner/otlp.h"

#include "encode.h"

#include <errno.h>
#include <stdlib.h>

enum {
	LENGTH_SIZE = 4,
	LENGTH_MAX = (1 << 28) - 1, /* what four bytes of varint hold, and so the largest request */
	LEVEL_SIZE = 1 + LENGTH_SIZE,
};

enum level_kind { RESOURCE, SCOPE, METRIC, DATA, LEVELS };

struct otlp_batch {
	struct otlp_batch_limits limits;
	int (*sealed)(void *arg, const struct otlp_request *request);
	void *arg;
	struct buf body;
	struct otlp_request request; /* what is counted so far; body unset */
	/* What the caller announced. */
	struct span resource, scope, schema_url, head;
	enum otlp_data data;
	/* The levels that are open in body, outermost first: where their length goes. */
	int open;
	size_t length_at[LEVELS];
};

int otlp_batch_new(struct otlp_batch_limits limits, int (*sealed)(void *arg, const struct otlp_request *request),
	void *arg, struct otlp_batch **ret_batch)
{
	if (limits.max_points == 0 || limits.max_bytes == 0 || limits.max_bytes > LENGTH_MAX)
		return -EINVAL;
	struct otlp_batch *batch = calloc(1, sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	batch->limits = limits;
	batch->sealed = sealed;
	batch->arg = arg;
	buf_init(&batch->body, LENGTH_MAX);
	*ret_batch = batch;
	return 0;
}

void otlp_batch_free(struct otlp_batch *batch)
{
	if (!batch)
		return;
	buf_done(&batch->body);
	free(batch);
}

/* ---- levels ------------------------------------------------------------------ */

static void close_levels(struct otlp_batch *batch, enum level_kind outermost)
{
	for (; batch->open > (int)outermost; batch->open--) {
		size_t at = batch->length_at[batch->open - 1];
		size_t len = batch->body.len - at - LENGTH_SIZE;
		char *length = batch->body.ptr + at;
		length[0] = (char)(len | 0x80);
		length[1] = (char)(len >> 7 | 0x80);
		length[2] = (char)(len >> 14 | 0x80);
		length[3] = (char)(len >> 21);
	}
}

static char *put_level(struct otlp_batch *batch, char *at, unsigned field)
{
	*at++ = TAG(field, WIRE_BYTES);
	batch->length_at[batch->open++] = (size_t)(at - batch->body.ptr);
	return at + LENGTH_SIZE;
}

static const struct {
	unsigned field; /* in Metric */
	struct span settings;
} data_kinds[] = {
	[OTLP_GAUGE] = {5, {"", 0}},
	[OTLP_SUM] = {7, {"\x10\x02\x18\x01", 4}},
	[OTLP_SUM_NONMONOTONIC] = {7, {"\x10\x02", 2}},
	[OTLP_HISTOGRAM] = {9, {"\x10\x02", 2}},
	[OTLP_SUMMARY] = {11, {"", 0}},
};

static size_t scope_size(const struct otlp_batch *batch)
{
	return LEVEL_SIZE + bytes_field_size(batch->scope.len) +
	       (batch->schema_url.len > 0 ? bytes_field_size(batch->schema_url.len) : 0);
}

/* Bytes of the levels that the next point has to open. */
static size_t opening_size(const struct otlp_batch *batch)
{
	size_t size = 0;
	if (batch->open <= RESOURCE)
		size += LEVEL_SIZE + bytes_field_size(batch->resource.len);
	if (batch->open <= SCOPE)
		size += scope_size(batch);
	if (batch->open <= METRIC)
		size += LEVEL_SIZE + batch->head.len + LEVEL_SIZE + data_kinds[batch->data].settings.len;
	return size;
}

/* Writes opening_size bytes. */
static char *put_opening(struct otlp_batch *batch, char *at)
{
	if (batch->open <= RESOURCE) {
		at = put_level(batch, at, 1);
		at = put_bytes_field(at, 1, batch->resource);
		batch->request.resources++;
	}
	if (batch->open <= SCOPE) {
		at = put_level(batch, at, 2);
		at = put_bytes_field(at, 1, batch->scope);
		if (batch->schema_url.len > 0)
			at = put_bytes_field(at, 3, batch->schema_url);
	}
	if (batch->open <= METRIC) {
		at = put_level(batch, at, 2);
		at = put_span(at, batch->head);
		at = put_level(batch, at, data_kinds[batch->data].field);
		at = put_span(at, data_kinds[batch->data].settings);
		batch->request.metrics++;
	}
	return at;
}

/* Whether the request has `s` at an offset where `old_len` bytes of the same level were written. Asks the request and
 * not the announced span, whose memory the caller may have used again for the next announcement. */
static bool is_written(const struct otlp_batch *batch, size_t at, size_t old_len, struct span s)
{
	return span_eq(span_of(batch->body.ptr + at, old_len), s);
}

static bool resource_is_open(const struct otlp_batch *batch, struct span resource)
{
	size_t old_len = batch->resource.len;
	return batch->open > RESOURCE &&
	       is_written(
		       batch, batch->length_at[RESOURCE] + LENGTH_SIZE + 1 + varint_size(old_len), old_len, resource);
}

static bool scope_is_open(const struct otlp_batch *batch, struct span scope, struct span schema_url)
{
	size_t old_len = batch->scope.len, old_url_len = batch->schema_url.len;
	if (batch->open <= SCOPE || old_url_len != schema_url.len)
		return false;
	size_t at = batch->length_at[SCOPE] + LENGTH_SIZE + 1 + varint_size(old_len);
	size_t url_at = at + old_len + (old_url_len > 0 ? 1 + varint_size(old_url_len) : 0);
	return is_written(batch, at, old_len, scope) && is_written(batch, url_at, old_url_len, schema_url);
}

static bool metric_is_open(const struct otlp_batch *batch, struct span head, enum otlp_data data)
{
	return batch->open > METRIC && batch->data == data &&
	       is_written(batch, batch->length_at[METRIC] + LENGTH_SIZE, batch->head.len, head);
}

int otlp_batch_resource(struct otlp_batch *batch, struct span resource)
{
	if (!resource_is_open(batch, resource))
		close_levels(batch, RESOURCE);
	batch->resource = resource;
	return 0;
}

int otlp_batch_scope(struct otlp_batch *batch, struct span scope, struct span schema_url)
{
	if (!scope_is_open(batch, scope, schema_url))
		close_levels(batch, SCOPE);
	batch->scope = scope;
	batch->schema_url = schema_url;
	return 0;
}

int otlp_batch_metric(struct otlp_batch *batch, struct span head, enum otlp_data data)
{
	if (!metric_is_open(batch, head, data))
		close_levels(batch, METRIC);
	batch->head = head;
	batch->data = data;
	return 0;
}

int otlp_batch_end(struct otlp_batch *batch)
{
	close_levels(batch, RESOURCE);
	batch->resource = batch->scope = batch->schema_url = batch->head = SPAN_NONE;
	return 0;
}

/* ---- points ------------------------------------------------------------------ */

static int seal(struct otlp_batch *batch)
{
	struct otlp_request request = batch->request;
	close_levels(batch, RESOURCE);
	request.body = buf_view(&batch->body);
	batch->request = (struct otlp_request){.points = 0};
	int result = batch->sealed(batch->arg, &request);
	buf_reset(&batch->body);
	return result < 0 ? result : 0;
}

int otlp_batch_seal(struct otlp_batch *batch)
{
	return batch->request.points > 0 ? seal(batch) : 0;
}

uint32_t otlp_batch_pending_points(const struct otlp_batch *batch)
{
	return batch->request.points;
}

/* Takes records off the front of *records while they fit into `bytes` and `points`. */
static int take_fitting(
	struct span records, size_t bytes, uint32_t points, uint32_t count, struct span *ret_taken, uint32_t *ret_count)
{
	struct span rest = records;
	size_t taken = 0;
	uint32_t n = 0;
	for (struct field record; n < count && n < points; n++) {
		if (field_next(&rest, &record) != 1)
			return -EINVAL;
		if (taken + record.whole.len > bytes)
			break;
		taken += record.whole.len;
	}
	*ret_taken = span_of(records.ptr, taken);
	*ret_count = n;
	return 0;
}

/* As many of the run's first records as this request can take; none: it must be sealed first. */
static int next_run(const struct otlp_batch *batch, struct span records, uint32_t count, struct span *ret_taken,
	uint32_t *ret_count)
{
	size_t used = batch->body.len + opening_size(batch);
	size_t bytes = used < batch->limits.max_bytes ? batch->limits.max_bytes - used : 0;
	uint32_t points = batch->limits.max_points - batch->request.points;
	if (records.len <= bytes && count <= points) {
		*ret_taken = records;
		*ret_count = count;
		return 0;
	}
	int result = take_fitting(records, bytes, points, count, ret_taken, ret_count);
	/* A record that no request has room for gets one of its own. */
	if (result == 0 && *ret_count == 0 && batch->request.points == 0)
		result = take_fitting(records, SIZE_MAX, 1, count, ret_taken, ret_count);
	return result;
}

static int append_run(
	struct otlp_batch *batch, struct span records, uint32_t count, uint64_t t_min_ns, uint64_t t_max_ns)
{
	struct otlp_request *request = &batch->request;
	char *at = buf_reserve(&batch->body, opening_size(batch) + records.len);
	if (!at) {
		int failed = batch->body.failed;
		batch->body.failed = 0; /* nothing was written: the batch is as it was */
		return failed;
	}
	at = put_span(put_opening(batch, at), records);
	batch->body.len = (size_t)(at - batch->body.ptr);
	if (request->points == 0 || t_min_ns < request->t_min_ns)
		request->t_min_ns = t_min_ns;
	if (request->points == 0 || t_max_ns > request->t_max_ns)
		request->t_max_ns = t_max_ns;
	request->points += count;
	return 0;
}

int otlp_batch_points(
	struct otlp_batch *batch, struct span records, uint32_t count, uint64_t t_min_ns, uint64_t t_max_ns)
{
	while (count > 0) {
		struct span taken = SPAN_NONE;
		uint32_t taken_count = 0;
		int result = next_run(batch, records, count, &taken, &taken_count);
		if (result == 0 && taken_count == 0)
			result = seal(batch);
		if (result == 0 && taken_count > 0)
			result = append_run(batch, taken, taken_count, t_min_ns, t_max_ns);
		if (result < 0)
			return result;
		records = span_of(records.ptr + taken.len, records.len - taken.len);
		count -= taken_count;
	}
	return 0;
}
