/* What the tests of this folder share: a cache whose scrapes come out as text. */
#pragma once

#include "test.h"

#include "gleaner/series.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define T0 UINT64_C(1700000000000000000)

struct test_cache {
	struct series_store *store;
	struct series_cache *cache;
	struct otlp_batch *batch;
	struct series_target target;
	struct series_result result; /* of the last scrape */
	int ingested;                /* what series_ingest returned, -EINVAL: not called */
	struct error error;
	enum expo_format format;
	uint64_t time_ns; /* of the last scrape; each is one second after the one before */
	struct buf text;  /* of all that the last scrape sealed */
	struct buf body;
	uint64_t stale_points; /* of the last failed scrape */
	uint64_t series_memory_bytes;
	bool refuses; /* the batch: every seal fails with -EIO */
};

static int test_cache_sealed(void *arg, const struct otlp_request *request)
{
	struct test_cache *test = arg;
	return test->refuses ? -EIO : otlp_text(request->body, &test->text);
}

static const struct label test_cache_labels[] = {{SPAN("instance"), SPAN("i:1")}, {SPAN("job"), SPAN("j")}};

static int test_cache_init(struct test_cache *test, uint64_t series_memory_bytes)
{
	*test = (struct test_cache){
		.time_ns = T0 - NS_PER_SEC, .format = EXPO_TEXT, .series_memory_bytes = series_memory_bytes};
	test->target = (struct series_target){
		.labels = {test_cache_labels, 2},
		.honor_timestamps = true,
		.limits = {250000, 128, 65536},
	};
	buf_init(&test->text, 64 << 20);
	buf_init(&test->body, 64 << 20);
	int result = otlp_batch_new((struct otlp_batch_limits){8192, 3 << 20}, test_cache_sealed, test, &test->batch);
	if (result == 0)
		result = series_store_new(series_memory_bytes, &test->store);
	if (result == 0)
		result = series_cache_new(test->store, &test->target, &test->cache);
	return result;
}

static void test_cache_done(struct test_cache *test)
{
	series_cache_free(test->cache);
	series_store_free(test->store);
	otlp_batch_free(test->batch);
	buf_done(&test->text);
	buf_done(&test->body);
}

/* One scrape of the body; a failed one is told to the cache as scrape_ingest does it. */
static int test_cache_scrape(struct test_cache *test, const char *body)
{
	static const char padding[EXPO_PADDING];
	buf_reset(&test->body);
	buf_reset(&test->text);
	test->ingested = -EINVAL;
	test->time_ns += NS_PER_SEC;
	buf_str(&test->body, body);
	size_t len = test->body.len;
	if (buf_append(&test->body, padding, sizeof(padding)) < 0)
		return test->body.failed;
	test->stale_points = 0;
	series_cache_configure(test->cache, &test->target);
	test->ingested = series_ingest(test->cache, test->format, span_of(test->body.ptr, len), test->time_ns,
		test->batch, &test->result, &test->error);
	int result = test->ingested;
	if (result == -EBADMSG)
		result = series_fail(test->cache, test->time_ns, test->batch, &test->stale_points);
	return result < 0 ? result : otlp_batch_seal(test->batch);
}

/* What a fetch that failed does. */
static inline int test_cache_fail(struct test_cache *test)
{
	buf_reset(&test->text);
	test->time_ns += NS_PER_SEC;
	int result = series_fail(test->cache, test->time_ns, test->batch, &test->stale_points);
	return result < 0 ? result : otlp_batch_seal(test->batch);
}
