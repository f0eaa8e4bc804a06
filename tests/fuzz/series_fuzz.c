// links: series
/* Bodies in sequence through two caches, one of which is frozen after every scrape.
 *
 *   flags (one byte) | body | 0x01 | body | ...
 *
 * What holds for any bytes: whatever comes out is OTLP that another decoder reads; both caches give the same; a body that
 * fails leaves nothing but stale points; the second scrape of the last body misses no line. */
#include "gleaner/series.h"

#include <errno.h>
#include <stdlib.h>

#define CHECK(claim)                                                                                                   \
	do {                                                                                                           \
		if (!(claim))                                                                                          \
			__builtin_trap();                                                                              \
	} while (0)

enum { FLAG_OPENMETRICS = 1, FLAG_HONOR_LABELS = 2, FLAG_LIMITS = 4, FLAG_MIXED_FORMATS = 8, FLAG_TRACK = 16 };

struct side {
	struct series_store *store;
	struct series_cache *cache;
	struct otlp_batch *batch;
	struct buf text;
	struct series_result result;
};

static int sealed(void *arg, const struct otlp_request *request)
{
	struct side *side = arg;
	CHECK(otlp_text(request->body, &side->text) == 0);
	return 0;
}

static void side_init(struct side *side, const struct series_target *target, uint64_t memory)
{
	*side = (struct side){.store = NULL};
	buf_init(&side->text, SIZE_MAX / 2);
	CHECK(otlp_batch_new((struct otlp_batch_limits){16, 4096}, sealed, side, &side->batch) == 0);
	CHECK(series_store_new(memory, &side->store) == 0);
	CHECK(series_cache_new(side->store, target, &side->cache) == 0);
}

static void side_done(struct side *side)
{
	series_cache_free(side->cache);
	series_store_free(side->store);
	otlp_batch_free(side->batch);
	buf_done(&side->text);
}

static void side_scrape(struct side *side, enum expo_format format, struct span body, uint64_t time_ns)
{
	struct error err = {""};
	uint64_t stale = 0;
	buf_reset(&side->text);
	int result = series_ingest(side->cache, format, body, time_ns, side->batch, &side->result, &err);
	CHECK(result == 0 || result == -EBADMSG);
	CHECK((result == 0) == (side->result.failure == SERIES_OK));
	if (result < 0) {
		CHECK(err.text[0] != '\0' && otlp_batch_pending_points(side->batch) == 0);
		CHECK(series_fail(side->cache, time_ns, side->batch, &stale) == 0);
	}
	CHECK(otlp_batch_seal(side->batch) == 0);
}

static void scrape_both(
	struct side *thawed, struct side *frozen, enum expo_format format, struct span body, uint64_t time_ns)
{
	struct buf padded;
	static const char padding[EXPO_PADDING];
	buf_init(&padded, SIZE_MAX / 2);
	buf_span(&padded, body);
	buf_append(&padded, padding, sizeof(padding));
	struct span copy = span_of(padded.ptr, body.len);
	side_scrape(thawed, format, copy, time_ns);
	side_scrape(frozen, format, copy, time_ns);
	CHECK(span_eq(buf_view(&thawed->text), buf_view(&frozen->text)));
	buf_done(&padded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct label labels[] = {
		{SPAN("instance"), SPAN("i:1")}, {SPAN("job"), SPAN("j")}, {SPAN("pod"), SPAN("p")}};
	if (size == 0)
		return 0;
	unsigned flags = data[0];
	struct series_target target = {
		.labels = {labels, ARRAY_SIZE(labels)},
		.honor_labels = flags & FLAG_HONOR_LABELS,
		.honor_timestamps = true,
		.track_timestamps_staleness = flags & FLAG_TRACK,
		.limits = {1000, 16, 4096},
	};
	if (flags & FLAG_LIMITS) {
		target.sample_limit = 4;
		target.label_limit = 6;
	}
	struct side thawed, frozen;
	side_init(&thawed, &target, UINT64_MAX);
	side_init(&frozen, &target, 0);
	struct span body, rest = span_of((const char *)data + 1, size - 1);
	enum expo_format format = flags & FLAG_OPENMETRICS ? EXPO_OPENMETRICS : EXPO_TEXT;
	uint64_t time_ns = UINT64_C(1700000000000000000);
	while (rest.len > 0 && span_next(&rest, 1, &body)) {
		scrape_both(&thawed, &frozen, format, body, time_ns++);
		bool again = thawed.result.failure == SERIES_OK && rest.len == 0;
		/* Twice: metadata may have settled only after the first. */
		for (int i = 0; again && i < 2; i++)
			scrape_both(&thawed, &frozen, format, body, time_ns++);
		CHECK(!again || thawed.result.series_added == 0);
		if (flags & FLAG_MIXED_FORMATS)
			format = format == EXPO_TEXT ? EXPO_OPENMETRICS : EXPO_TEXT;
	}
	side_done(&thawed);
	side_done(&frozen);
	return 0;
}
