/* bench_ingest: what a sample costs between body and batch, and what a series costs between two scrapes.
 *
 *   bench_ingest            all figures; about a minute
 *   bench_ingest quick      the small ones; some seconds
 *   bench_ingest page FILE  the figures of one page in text format
 *   bench_ingest WAY N      N scrapes (cold, warm, churn) and nothing else: for tools/bench, which counts instructions
 *
 * The page is made here, in the manner of kube-state-metrics: 27,000 samples, 5 MB, a seventh of the values differs from one
 * scrape to the next. Times are the thread's CPU time, the best of some repeats: on a shared machine the best is what repeats.
 */
#include "gleaner/codec.h"
#include "gleaner/series.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_SAMPLES = 27000, VERSIONS = 4, REPEATS = 7 };

static void check(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(-result));
		exit(1);
	}
}

static double cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static size_t resident_bytes(void)
{
	char line[128] = "";
	size_t pages = 0, unused;
	FILE *file = fopen("/proc/self/statm", "r");
	if (file && fgets(line, sizeof(line), file))
		sscanf(line, "%zu %zu", &unused, &pages);
	if (file)
		fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- pages --------------------------------------------------------------------------------------------- */

struct page {
	struct buf bytes; /* padding behind len */
	size_t samples;
};

static struct span page_body(const struct page *page)
{
	return span_of(page->bytes.ptr, page->bytes.len - EXPO_PADDING);
}

static void put_sample(struct buf *page, unsigned family, unsigned object, unsigned value)
{
	buf_printf(page,
		"kube_pod_container_status_%u{namespace=\"team-%u\",pod=\"checkout-%u-7d9f8c6b5d-%05x\",uid=\"0a1b2c3d-"
		"%04x-4e5f-"
		"8a9b-%012x\",container=\"server\",reason=\"Completed\"} %u\n",
		family, object % 40, object % 97, object * 2654435761U >> 12, object & 0xffff, object * 40503U, value);
}

/* version: a seventh of the values depends on it. first_object: the objects of one target differ from another's. */
static struct page make_page(size_t samples, unsigned version, unsigned first_object, bool shuffled)
{
	enum { FAMILIES = 30 };
	static const char padding[EXPO_PADDING];
	struct page page = {.samples = samples / FAMILIES * FAMILIES};
	unsigned objects = (unsigned)(samples / FAMILIES);
	unsigned *order = calloc(objects, sizeof(*order));
	struct rng rng;
	check(order ? 0 : -ENOMEM, "page");
	rng_init(&rng, version);
	buf_init(&page.bytes, 1 << 30);
	for (unsigned family = 0; family < FAMILIES; family++) {
		buf_printf(&page.bytes,
			"# HELP kube_pod_container_status_%u Describes the state that the container is in.\n"
			"# TYPE kube_pod_container_status_%u %s\n",
			family, family, family % 3 ? "gauge" : "counter");
		for (unsigned i = 0; i < objects; i++) {
			unsigned j = shuffled ? (unsigned)rng_below(&rng, i + 1) : i;
			order[i] = order[j];
			order[j] = i;
		}
		for (unsigned i = 0; i < objects; i++) {
			unsigned object = order[i];
			unsigned value = object % 7 ? object % 2 : object * 37 + version * 1013;
			put_sample(&page.bytes, family, first_object + object, value);
		}
	}
	free(order);
	check(buf_append(&page.bytes, padding, sizeof(padding)), "page");
	return page;
}

/* Histograms of ten buckets, as most services have them; timestamps: each sample carries one, as cAdvisor's do. */
static struct page make_histograms(size_t samples, unsigned version, bool timestamps)
{
	static const char *const bounds[] = {"0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "10", "+Inf"};
	static const char padding[EXPO_PADDING];
	const char *end = timestamps ? " 1700000000000" : "";
	struct page page = {.samples = 0};
	buf_init(&page.bytes, 1 << 30);
	buf_str(&page.bytes, "# HELP http_request_duration_seconds Time to answer.\n"
			     "# TYPE http_request_duration_seconds histogram\n");
	for (unsigned i = 0; page.samples < samples; i++) {
		char labels_text[64];
		unsigned count = i * 17 + version * 5;
		snprintf(labels_text, sizeof(labels_text), "handler=\"/api/v1/item-%u\",method=\"GET\"", i);
		for (unsigned bucket = 0; bucket < ARRAY_SIZE(bounds); bucket++)
			buf_printf(&page.bytes, "http_request_duration_seconds_bucket{%s,le=\"%s\"} %u%s\n",
				labels_text, bounds[bucket], count + bucket * 3, end);
		buf_printf(&page.bytes,
			"http_request_duration_seconds_sum{%s} %u.25%s\nhttp_request_duration_seconds_count{%s} %u%s\n",
			labels_text, count, end, labels_text, count + 27, end);
		page.samples += ARRAY_SIZE(bounds) + 2;
	}
	check(buf_append(&page.bytes, padding, sizeof(padding)), "page");
	return page;
}

/* ---- a cache and its batch ------------------------------------------------------------------------------- */

static const struct label labels[] = {{SPAN("container"), SPAN("kube-state-metrics")},
	{SPAN("instance"), SPAN("10.0.0.5:8080")}, {SPAN("job"), SPAN("kubernetes-pods")},
	{SPAN("namespace"), SPAN("kube-system")}, {SPAN("pod"), SPAN("ksm-0")}};

struct bench {
	struct series_store *store;
	struct series_target target;
	struct otlp_batch *batch;
	struct codec *codec; /* compresses what is sealed, when there is one */
	struct buf compressed;
	uint64_t time_ns, sealed_bytes, compressed_bytes;
	struct series_result result;
};

static int sealed(void *arg, const struct otlp_request *request)
{
	struct bench *bench = arg;
	bench->sealed_bytes += request->body.len;
	if (!bench->codec)
		return 0;
	buf_reset(&bench->compressed);
	int result = codec_compress(bench->codec, request->body, &bench->compressed);
	bench->compressed_bytes += bench->compressed.len;
	return result;
}

static void bench_init(struct bench *bench, uint64_t series_memory_bytes)
{
	*bench = (struct bench){.time_ns = UINT64_C(1700000000000000000)};
	bench->target = (struct series_target){
		.labels = {labels, ARRAY_SIZE(labels)},
		.honor_timestamps = true,
		.limits = {10000000, 128, 65536},
	};
	buf_init(&bench->compressed, 1 << 30);
	check(series_store_new(series_memory_bytes, &bench->store), "store");
	check(otlp_batch_new((struct otlp_batch_limits){8192, 3 << 20}, sealed, bench, &bench->batch), "batch");
}

static void bench_done(struct bench *bench)
{
	otlp_batch_free(bench->batch);
	series_store_free(bench->store);
	codec_free(bench->codec);
	buf_done(&bench->compressed);
}

static struct series_cache *new_cache(struct bench *bench)
{
	struct series_cache *cache = NULL;
	check(series_cache_new(bench->store, &bench->target, &cache), "cache");
	return cache;
}

static double scrape(struct bench *bench, struct series_cache *cache, const struct page *page)
{
	struct error err = {""};
	double start = cpu_ns();
	bench->time_ns += NS_PER_SEC;
	int result =
		series_ingest(cache, EXPO_TEXT, page_body(page), bench->time_ns, bench->batch, &bench->result, &err);
	if (result == 0)
		result = otlp_batch_seal(bench->batch);
	double took = cpu_ns() - start;
	check(result, err.text);
	return took;
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

static void report(const char *what, const struct page *page, double ns)
{
	printf("  %-44s %7.1f ns/sample %8.0f MB/s\n", what, ns / (double)page->samples,
		(double)page_body(page).len / ns * 1e3);
}

static double best_parse(const struct page *page)
{
	double best = 1e18;
	for (int i = 0; i < REPEATS; i++) {
		struct expo_parser parser;
		struct expo_entry entry;
		double start = cpu_ns();
		expo_init(&parser, EXPO_TEXT, page_body(page), 65536);
		while (expo_next(&parser, &entry) == 1)
			;
		double took = cpu_ns() - start;
		best = took < best ? took : best;
	}
	return best;
}

static double best_cold(const struct page *page, uint64_t memory)
{
	double best = 1e18;
	for (int i = 0; i < REPEATS; i++) {
		struct bench bench;
		bench_init(&bench, memory);
		struct series_cache *cache = new_cache(&bench);
		double took = scrape(&bench, cache, page);
		best = took < best ? took : best;
		series_cache_free(cache);
		bench_done(&bench);
	}
	return best;
}

/* Scrapes the pages in turn, again and again; the first round is not counted. */
static double best_warm(const struct page *pages, size_t count, uint64_t memory, int codec, uint64_t *ret_compressed)
{
	struct bench bench;
	double best = 1e18;
	bench_init(&bench, memory);
	struct series_cache *cache = new_cache(&bench);
	for (size_t i = 0; i < count; i++)
		scrape(&bench, cache, &pages[i]);
	if (codec != CODEC_NONE)
		check(codec_new((enum codec_kind)codec, &bench.codec), "codec");
	bench.compressed_bytes = 0;
	for (int round = 0; round < REPEATS; round++) {
		double took = 0;
		for (size_t i = 0; i < count; i++)
			took += scrape(&bench, cache, &pages[i]) / (double)count;
		best = took < best ? took : best;
	}
	if (ret_compressed)
		*ret_compressed = bench.compressed_bytes / (REPEATS * count);
	series_cache_free(cache);
	bench_done(&bench);
	return best;
}

static void bench_histograms(bool timestamps, const char *what)
{
	struct page pages[VERSIONS];
	for (unsigned i = 0; i < VERSIONS; i++)
		pages[i] = make_histograms(PAGE_SAMPLES, i, timestamps);
	report(what, &pages[0], best_warm(pages, VERSIONS, UINT64_MAX, CODEC_NONE, NULL));
	for (unsigned i = 0; i < VERSIONS; i++)
		buf_done(&pages[i].bytes);
}

static void bench_time(void)
{
	struct page same[VERSIONS], shuffled[VERSIONS], churned[VERSIONS];
	for (unsigned i = 0; i < VERSIONS; i++) {
		same[i] = make_page(PAGE_SAMPLES, i, 0, false);
		shuffled[i] = make_page(PAGE_SAMPLES, i, 0, true);
		churned[i] = make_page(PAGE_SAMPLES, i, i, false); /* an object goes, an object comes: 60 series */
	}
	const struct page *page = &same[0];
	printf("time: one target, %zu samples, %.2f MB\n", page->samples, (double)page_body(page).len / 1e6);
	report("parser alone, every line", page, best_parse(page));
	report("first scrape", page, best_cold(page, UINT64_MAX));
	double warm = best_warm(same, VERSIONS, UINT64_MAX, CODEC_NONE, NULL);
	report("warm scrape, body to batch", page, warm);
	report("  likewise, thawed before it", page, best_warm(same, VERSIONS, 0, CODEC_NONE, NULL));
	report("lines in another order each time", page, best_warm(shuffled, VERSIONS, UINT64_MAX, CODEC_NONE, NULL));
	report("60 series come, 60 go", page, best_warm(churned, VERSIONS, UINT64_MAX, CODEC_NONE, NULL));
	report("  likewise, thawed before and frozen after it", page,
		best_warm(churned, VERSIONS, 0, CODEC_NONE, NULL));
	bench_histograms(false, "histograms of ten buckets, warm");
	bench_histograms(true, "  likewise, with timestamps");
	for (int codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
		uint64_t bytes = 0;
		char what[64];
		double both = best_warm(same, VERSIONS, UINT64_MAX, codec, &bytes);
		snprintf(what, sizeof(what), "%s of the batches, %.1f B a sample", codec_name((enum codec_kind)codec),
			(double)bytes / (double)page->samples);
		report(what, page, both - warm);
	}
	for (unsigned i = 0; i < VERSIONS; i++) {
		buf_done(&same[i].bytes);
		buf_done(&shuffled[i].bytes);
		buf_done(&churned[i].bytes);
	}
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static void bench_memory(size_t series, uint64_t memory)
{
	enum { TARGET_SERIES = 9990 };
	size_t targets = series / 10000;
	struct series_cache **caches = calloc(targets, sizeof(struct series_cache *));
	struct bench bench;
	double cold_ns = 0, warm_ns = 0;
	check(caches ? 0 : -ENOMEM, "memory");
	malloc_trim(0);
	size_t before = resident_bytes();
	bench_init(&bench, memory);
	size_t rounds = 1 + (40 + targets - 1) / targets; /* enough for the store to come to rest */
	for (size_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < targets; i++) {
			struct page page =
				make_page(TARGET_SERIES, (unsigned)round, (unsigned)(i * TARGET_SERIES), false);
			if (!caches[i])
				caches[i] = new_cache(&bench);
			*(round ? &warm_ns : &cold_ns) += scrape(&bench, caches[i], &page);
			buf_done(&page.bytes);
		}
	}
	malloc_trim(0);
	struct series_stats stats;
	series_store_stats(bench.store, &stats);
	double all = (double)stats.series;
	printf("  %8.0f series, %4zu targets, %s: %6.1f B a series in blocks, %6.1f B resident, first scrape %5.0f ns, "
	       "next %4.0f ns\n",
		all, targets, memory ? "thawed" : "frozen", (double)(stats.thawed_bytes + stats.frozen_bytes) / all,
		(double)(resident_bytes() - before) / all, cold_ns / all, warm_ns / all / (double)(rounds - 1));
	for (size_t i = 0; i < targets; i++)
		series_cache_free(caches[i]);
	free(caches);
	bench_done(&bench);
}

/* Of a page of somebody else's making. */
static void bench_page(const char *path)
{
	static const char padding[EXPO_PADDING];
	struct page page = {.samples = 0};
	struct error err = {""};
	buf_init(&page.bytes, 1 << 30);
	check(file_read(path, &page.bytes, &err), err.text);
	check(buf_append(&page.bytes, padding, sizeof(padding)), "page");
	for (int thawed = 0; thawed <= 1; thawed++) {
		struct bench bench;
		struct series_stats stats;
		bench_init(&bench, thawed ? UINT64_MAX : 0);
		struct series_cache *cache = new_cache(&bench);
		scrape(&bench, cache, &page);
		page.samples = bench.result.samples;
		series_store_stats(bench.store, &stats);
		printf("%s: %llu series, %.1f B of text, %.1f B in the block each\n", thawed ? "thawed" : "frozen",
			(unsigned long long)stats.series, (double)page_body(&page).len / (double)stats.series,
			(double)(stats.thawed_bytes + stats.frozen_bytes) / (double)stats.series);
		series_cache_free(cache);
		bench_done(&bench);
		report("first scrape", &page, best_cold(&page, thawed ? UINT64_MAX : 0));
		report("warm scrape, body to batch", &page,
			best_warm(&page, 1, thawed ? UINT64_MAX : 0, CODEC_NONE, NULL));
	}
	buf_done(&page.bytes);
}

/* For profilers: one way of a scrape, and little else. */
static void bench_one(const char *way, int times)
{
	struct page pages[2];
	bool cold = strcmp(way, "cold") == 0;
	for (unsigned i = 0; i < 2; i++)
		pages[i] = make_page(PAGE_SAMPLES, i, strcmp(way, "churn") == 0 ? i : 0, false);
	struct bench bench;
	bench_init(&bench, UINT64_MAX);
	struct series_cache *cache = new_cache(&bench);
	for (int i = 0; i <= times; i++) {
		scrape(&bench, cache, &pages[i % 2]);
		if (cold) {
			series_cache_free(cache);
			cache = new_cache(&bench);
		}
	}
	series_cache_free(cache);
	bench_done(&bench);
	buf_done(&pages[0].bytes);
	buf_done(&pages[1].bytes);
}

int main(int argc, char **argv)
{
	bool quick = argc > 1 && strcmp(argv[1], "quick") == 0;
	if (argc > 2 && strcmp(argv[1], "page") == 0) {
		bench_page(argv[2]);
		return 0;
	}
	if (argc > 2) {
		bench_one(argv[1], atoi(argv[2]));
		return 0;
	}
	bench_time();
	puts("memory: targets of 10,000 series each");
	for (size_t series = 10000; series <= (quick ? 10000 : 1000000); series *= 10) {
		bench_memory(series, UINT64_MAX);
		bench_memory(series, 0);
	}
	return 0;
}
