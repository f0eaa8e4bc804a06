/* What a cache costs and how it fails: allocations, freezing, running out of memory, hostile pages; and a model of it all. */
#include "test_cache.h"

static const char page[] = "# HELP c words\n# TYPE c counter\nc{x=\"1\"} 1\nc{x=\"2\"} 2\n# a comment\n"
			   "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n"
			   "# TYPE s summary\ns{quantile=\"0.5\"} 0.25\ns_sum 2\ns_count 8\n"
			   "target_info{version=\"1\"} 1\nlast 9\n";

/* As `page`, with other values. */
static const char page_later[] =
	"# HELP c words\n# TYPE c counter\nc{x=\"1\"} 1.5\nc{x=\"2\"} 1e9\n# a comment\n"
	"# TYPE h histogram\nh_bucket{le=\"1\"} 11\nh_bucket{le=\"+Inf\"} 33\nh_sum 44\nh_count 33\n"
	"# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 2\ns_count 88\n"
	"target_info{version=\"1\"} 1\nlast -Inf\n";

static void a_warm_scrape_allocates_nothing(void **state)
{
	(void)state;
	for (uint64_t memory = 0; memory <= 1 << 20; memory += 1 << 20) {
		struct test_cache test;
		assert_int_equal(test_cache_init(&test, memory), 0);
		assert_int_equal(test_cache_scrape(&test, page), 0);
		assert_int_equal(test_cache_scrape(&test, page_later), 0);
		struct otlp_batch *batch = test.batch;
		struct series_result result;
		buf_reset(&test.body);
		buf_append(&test.body, page, sizeof(page) - 1);
		size_t len = test.body.len;
		memset(buf_reserve(&test.body, EXPO_PADDING), 0, EXPO_PADDING);
		size_t before = test_allocations();
		assert_int_equal(
			series_ingest(test.cache, EXPO_TEXT, span_of(test.body.ptr, len), T0, batch, &result, NULL), 0);
		assert_int_equal(test_allocations() - before, 0);
		assert_int_equal(result.misses + result.moved, 0);
		assert_int_equal(result.points, 5);
		test_cache_done(&test);
	}
}

static void order_that_changes_allocates_nothing_either(void **state)
{
	(void)state;
	struct test_cache test;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	assert_int_equal(test_cache_scrape(&test, "a 1\nb 2\nc 3\n"), 0);
	assert_int_equal(test_cache_scrape(&test, "c 1\nb 2\na 3\n"), 0);
	buf_reset(&test.body);
	buf_str(&test.body, "b 1\nc 2\na 3\n");
	memset(buf_reserve(&test.body, EXPO_PADDING), 0, EXPO_PADDING);
	struct series_result result;
	size_t before = test_allocations();
	assert_int_equal(series_ingest(test.cache, EXPO_TEXT, buf_view(&test.body), T0, test.batch, &result, NULL), 0);
	assert_int_equal(test_allocations() - before, 0);
	assert_int_equal(result.moved, 2);
	assert_int_equal(result.hits, 1);
	for (int i = 0; i < 40; i++) /* the memory of drafts is given back meanwhile */
		assert_int_equal(test_cache_scrape(&test, "b 1\nc 2\na 3\n"), 0);
	assert_int_equal(test_cache_scrape(&test, "b 1\nd 2\na 3\n"), 0);
	assert_int_equal(test.result.stale_points, 1);
	test_cache_done(&test);
}

static void stats_follow_the_blocks(void **state)
{
	(void)state;
	struct test_cache test;
	struct series_stats stats;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	assert_int_equal(test_cache_scrape(&test, page), 0);
	series_store_stats(test.store, &stats);
	assert_int_equal(stats.series, 11);
	assert_int_equal(stats.rebuilds, 1);
	assert_true(stats.thawed_bytes > 0);
	assert_int_equal(stats.frozen_bytes, 0);
	series_cache_free(test.cache);
	test.cache = NULL;
	series_store_stats(test.store, &stats);
	assert_int_equal(stats.series, 0);
	assert_int_equal(stats.thawed_bytes, 0);
	test_cache_done(&test);

	assert_int_equal(test_cache_init(&test, 0), 0);
	assert_int_equal(test_cache_scrape(&test, page), 0);
	assert_int_equal(test_cache_scrape(&test, page_later), 0);
	assert_int_equal(test_cache_scrape(&test, page), 0);
	series_store_stats(test.store, &stats);
	assert_int_equal(stats.thawed_bytes, 0);
	assert_true(stats.frozen_bytes > 0);
	assert_int_equal(stats.thaws, 2);
	assert_int_equal(stats.freezes, 1); /* the set of series did not change */
	test_cache_done(&test);
}

static void a_frozen_block_is_thawed_for_good_when_room_appears(void **state)
{
	(void)state;
	struct test_cache test;
	struct series_stats stats;
	struct series_cache *other = NULL;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	assert_int_equal(test_cache_scrape(&test, page), 0);
	series_store_stats(test.store, &stats);
	uint64_t one_block = stats.thawed_bytes;
	test_cache_done(&test);

	assert_int_equal(test_cache_init(&test, one_block), 0);
	assert_int_equal(test_cache_scrape(&test, page), 0);
	other = test.cache;
	assert_int_equal(series_cache_new(test.store, &test.target, &test.cache), 0);
	assert_int_equal(test_cache_scrape(&test, page), 0);
	series_store_stats(test.store, &stats);
	assert_int_equal(stats.thawed_bytes, one_block);
	assert_true(stats.frozen_bytes > 0);
	series_cache_free(other);
	assert_int_equal(test_cache_scrape(&test, page_later), 0);
	series_store_stats(test.store, &stats);
	assert_int_equal(stats.thawed_bytes, one_block);
	assert_int_equal(stats.frozen_bytes, 0);
	assert_int_equal(test_cache_scrape(&test, page), 0);
	series_store_stats(test.store, &stats);
	assert_int_equal(stats.thaws, 1);
	test_cache_done(&test);
}

/* ---- running out of memory --------------------------------------------------------------------------- */

static int three_scrapes(void *arg)
{
	struct test_cache test;
	int result = test_cache_init(&test, UINT64_MAX);
	if (result == 0)
		result = test_cache_scrape(&test, arg);
	if (result == 0)
		result = test_cache_scrape(&test, "# TYPE c counter\nc{x=\"1\"} 1\nd 1 5000\n");
	if (result == 0)
		result = test_cache_fail(&test);
	test_cache_done(&test);
	return result;
}

static void running_out_of_memory_is_reported_and_leaks_nothing(void **state)
{
	(void)state;
	test_out_of_memory(three_scrapes, (void *)page);
	test_out_of_memory(three_scrapes,
		"# HELP a \\\\\na{x=\"\\\"\",job=\"y\",otel_scope_name=\"n\",otel_scope_k=\"v\"} 1\n# "
		"TYPE a counter\na 2\n");
}

/* The scrape after a failed allocation must be as if the failed one had not been (or as usual, if only sealing failed). */
static void the_scrape_after_a_failed_allocation_is_right(void **state)
{
	(void)state;
	for (size_t n = 0; n < 200; n++) {
		struct test_cache test, good;
		assert_int_equal(test_cache_init(&test, n % 2 ? 0 : UINT64_MAX), 0);
		assert_int_equal(test_cache_init(&good, UINT64_MAX), 0);
		assert_int_equal(test_cache_scrape(&test, "c{x=\"0\"} 5\n# TYPE h histogram\nh_count 1\n"), 0);
		assert_int_equal(test_cache_scrape(&good, "c{x=\"0\"} 5\n# TYPE h histogram\nh_count 1\n"), 0);
		test_allocation_fail_after(n);
		int result = test_cache_scrape(&test, page);
		test_allocation_heal();
		assert_true(result == 0 || result == -ENOMEM);
		if (result == 0) {
			test_cache_done(&test);
			test_cache_done(&good);
			return;
		}
		assert_int_equal(otlp_batch_seal(test.batch), 0); /* what was in the batch before the failure */
		if (test.ingested == 0)
			assert_int_equal(test_cache_scrape(&good, page), 0);
		good.time_ns = test.time_ns;
		assert_int_equal(test_cache_scrape(&test, page_later), 0);
		assert_int_equal(test_cache_scrape(&good, page_later), 0);
		buf_char(&good.text, '\0');
		test_assert_text(buf_view(&test.text), good.text.ptr);
		test_cache_done(&test);
		test_cache_done(&good);
	}
	fail_msg("the scrape never succeeds");
}

/* A batch that refuses points leaves the cache as it was before the scrape. */
static void the_scrape_after_a_refused_one_is_right(void **state)
{
	(void)state;
	for (uint64_t memory = 0; memory <= 1 << 20; memory += 1 << 20) {
		struct test_cache test;
		assert_int_equal(test_cache_init(&test, memory), 0);
		otlp_batch_free(test.batch);
		assert_int_equal(
			otlp_batch_new((struct otlp_batch_limits){1, 1 << 20}, test_cache_sealed, &test, &test.batch),
			0);
		assert_int_equal(test_cache_scrape(&test, "a 1\nb 2\nc 3\n"), 0);
		test.refuses = true;
		assert_int_equal(test_cache_scrape(&test, "a 4\nd 5\n"), -EIO);
		test.refuses = false;
		assert_int_equal(otlp_batch_seal(test.batch), 0);
		assert_int_equal(test_cache_scrape(&test, "a 6\nd 7\n"), 0);
		assert_int_equal(test.result.points, 2);
		assert_int_equal(test.result.stale_points, 2); /* b and c: nobody was told of their end */
		assert_int_equal(test.result.series_added, 1);
		test_cache_done(&test);
	}
}

/* ---- hostile pages -------------------------------------------------------------------------------------- */

/* Each of these is quadratic for somebody. @ is a number that grows. */
static void hostile_pages_cost_linear_time(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"a{x=\"@\"} 1\n",
		"# TYPE a@ counter\na@_total 1\n",
		"a{otel_scope_name=\"@\"} 1\n",
		"# TYPE a counter\na{x=\"@\"} 1\n# TYPE a gauge\n",
		"# TYPE h histogram\nh_bucket{le=\"@\"} 1\n",
		"target_info{x=\"@\"} 1\n",
		"# @\na 1\n",
		"a 1 @\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct buf body;
		struct test_cache test;
		buf_init(&body, 16 << 20);
		for (int n = 0; n < 20000; n++) {
			for (const char *at = lines[i]; *at; at++) {
				if (*at == '@')
					buf_printf(&body, "%d", n);
				else
					buf_char(&body, *at);
			}
		}
		buf_char(&body, '\0');
		assert_int_equal(test_cache_init(&test, 0), 0);
		assert_int_equal(test_cache_scrape(&test, body.ptr), 0);
		assert_int_equal(test_cache_scrape(&test, body.ptr), 0);
		assert_int_equal(test.result.failure, SERIES_OK);
		test_cache_done(&test);
		buf_done(&body);
	}
}

/* ---- a model ------------------------------------------------------------------------------------------------ */

enum { MODEL_SERIES = 24 };

/* A page of some of the series, in some order, with its values; what was there before and is not now becomes stale. */
struct model {
	bool here[MODEL_SERIES], before[MODEL_SERIES];
	unsigned value[MODEL_SERIES];
};

static void put_model_page(struct model *model, struct rng *rng, struct buf *body)
{
	unsigned order[MODEL_SERIES];
	for (unsigned i = 0; i < MODEL_SERIES; i++) {
		unsigned j = (unsigned)rng_below(rng, i + 1);
		order[i] = order[j];
		order[j] = i;
	}
	bool shuffled = rng_below(rng, 3) == 0;
	memcpy(model->before, model->here, sizeof(model->here));
	for (unsigned i = 0; i < MODEL_SERIES; i++) {
		unsigned n = shuffled ? order[i] : i;
		if (rng_below(rng, 8) == 0)
			model->here[n] = !model->here[n];
		model->value[n] = (unsigned)rng_below(rng, 1000);
		if (model->here[n])
			buf_printf(body, "m%u{n=\"%u\"} %u\n", n / 6, n, model->value[n]);
		if (rng_below(rng, 20) == 0)
			buf_str(body, "# a comment\n");
	}
	buf_char(body, '\0');
}

static void check_model(const struct model *model, const struct test_cache *test)
{
	size_t live = 0, stale = 0;
	for (unsigned n = 0; n < MODEL_SERIES; n++) {
		char line[160];
		live += model->here[n];
		stale += model->before[n] && !model->here[n];
		if (model->here[n])
			snprintf(line, sizeof(line), "point {n=\"%u\"} start=0 time=%llu value=%u\n", n,
				(unsigned long long)test->time_ns, model->value[n]);
		else
			snprintf(line, sizeof(line), "point {n=\"%u\"} start=0 time=%llu no_recorded_value\n", n,
				(unsigned long long)test->time_ns);
		bool found = test->text.len > 0 && memmem(test->text.ptr, test->text.len, line, strlen(line));
		if (found != (model->here[n] || model->before[n]))
			fail_msg(
				"%s is %s there:\n%.*s", line, found ? "" : "not", (int)test->text.len, test->text.ptr);
	}
	assert_int_equal(test->result.points, live);
	assert_int_equal(test->result.stale_points, stale);
}

static void random_pages_are_what_a_model_says(void **state)
{
	(void)state;
	struct rng rng;
	rng_init(&rng, 1);
	for (int run = 0; run < 20; run++) {
		struct model model = {.value = {0}};
		struct test_cache test;
		assert_int_equal(test_cache_init(&test, run % 2 ? 0 : UINT64_MAX), 0);
		for (int scrape = 0; scrape < 40; scrape++) {
			struct buf body;
			buf_init(&body, 1 << 16);
			put_model_page(&model, &rng, &body);
			assert_int_equal(test_cache_scrape(&test, body.ptr), 0);
			check_model(&model, &test);
			buf_done(&body);
		}
		test_cache_done(&test);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_warm_scrape_allocates_nothing),
		cmocka_unit_test(order_that_changes_allocates_nothing_either),
		cmocka_unit_test(stats_follow_the_blocks),
		cmocka_unit_test(a_frozen_block_is_thawed_for_good_when_room_appears),
		cmocka_unit_test(running_out_of_memory_is_reported_and_leaks_nothing),
		cmocka_unit_test(the_scrape_after_a_failed_allocation_is_right),
		cmocka_unit_test(the_scrape_after_a_refused_one_is_right),
		cmocka_unit_test(hostile_pages_cost_linear_time),
		cmocka_unit_test(random_pages_are_what_a_model_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
