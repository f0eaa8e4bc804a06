/* Where a block stays between two scrapes: as it is while series_memory has room, else frozen, that is, compressed.
 *
 * Before compression all that the next scrape overwrites anyway is zeroed, offsets that are sums of lengths are left out, and
 * numbers that mostly count up are written as their difference from that: so neighbours look alike. A thaw undoes this.
 *
 * A block that finds no room is frozen itself, instead of making room by freezing the one that was used longest ago: targets
 * are scraped in turn, so that one is the very block that is needed next.
 */
#include "ingest.h"

#include <errno.h>
#include <stdlib.h>

/* ---- what compresses well ------------------------------------------------------------------------ */

/* Zeroes a histogram's record; its shape is that of its members, from `first` on. Returns the next point's first member. */
static uint32_t blank_histogram(const struct view *view, uint32_t first, struct buf *zeros)
{
	uint64_t zero = 0;
	uint32_t point = view->members[first].point, i = first;
	bool has_sum = false;
	buf_reset(zeros);
	buf_append(zeros, &zero, sizeof(zero)); /* the last bucket has no bound */
	for (; i < view->member_count && view->members[i].point == point; i++) {
		const struct member *member = &view->members[i];
		has_sum |= member->kind == MEMBER_SUM && member->encoded;
		if (member->kind == MEMBER_BOUND && member->encoded)
			buf_append(zeros, &zero, sizeof(zero));
	}
	if (view->metrics[view->points[point].metric].data == OTLP_HISTOGRAM && !zeros->failed &&
		!(view->points[point].flags & POINT_MISSHAPEN))
		otlp_histogram_patch(view_record_end(view, &view->points[point]), 0, 0, 0, 0, has_sum,
			(const uint64_t *)(const void *)zeros->ptr, zeros->len / sizeof(zero));
	return i;
}

/* Values, times and start times, which the next scrape writes anew. (Quantiles' values stay: few pages have many.) */
static void blank_records(const struct view *view, struct buf *zeros)
{
	for (uint32_t i = 0; i < view->point_count; i++) {
		const struct point *point = &view->points[i];
		uint8_t data = view->metrics[point->metric].data;
		if (data_is_number(data))
			otlp_number_patch(view_record_end(view, point), 0, 0, 0);
		else if (data == OTLP_SUMMARY)
			otlp_summary_patch(view_record_end(view, point), 0, 0, 0, 0, NULL, 0);
	}
	for (uint32_t i = 0; i < view->member_count;)
		i = blank_histogram(view, i, zeros);
}

/* The number that a reference most likely is: the one after the last of its kind. */
struct expected {
	uint32_t of_role[ROLE_COUNT];
};

static uint32_t *expect(struct expected *expected, const struct line *line)
{
	return &expected->of_role[line->role];
}

static void fold(const struct view *view)
{
	struct expected expected = {{0}};
	for (uint32_t i = 0; i < view->line_count; i++) {
		struct line *line = &view->lines[i];
		uint32_t *next = expect(&expected, line), ref = line->ref;
		line->key = 0;
		line->ref -= *next;
		*next = ref + 1;
	}
	uint32_t last = 0;
	for (uint32_t i = 0; i < view->member_count; i++) {
		uint32_t point = view->members[i].point;
		view->members[i].point -= last;
		last = point;
	}
	for (uint32_t i = 0; i < view->point_count; i++) {
		struct point *point = &view->points[i];
		point->record = point->metric = point->scrape = 0;
	}
}

static void unfold(const struct view *view)
{
	struct expected expected = {{0}};
	uint32_t at = 0, last = 0;
	for (uint32_t i = 0; i < view->line_count; i++) {
		struct line *line = &view->lines[i];
		uint32_t *next = expect(&expected, line);
		line->key = at;
		at += line->length;
		line->ref += *next;
		*next = line->ref + 1;
	}
	for (uint32_t i = 0; i < view->member_count; i++)
		last = view->members[i].point += last;
	at = 0;
	for (uint32_t i = 0; i < view->metric_count; i++) {
		const struct metric *metric = &view->metrics[i];
		for (uint32_t j = 0; j < metric->point_count; j++) {
			struct point *point = &view->points[metric->first_point + j];
			point->metric = i;
			point->record = at;
			at += point->length;
		}
	}
}

/* ---- keeping ------------------------------------------------------------------------------------------ */

void cache_drop(struct series_cache *cache)
{
	struct series_stats *stats = &cache->store->stats;
	stats->series -= cache->series;
	if (cache->block)
		stats->thawed_bytes -= cache->block_bytes;
	stats->frozen_bytes -= cache->frozen.len;
	cache->series = 0;
	free(cache->block);
	cache->block = NULL;
	buf_done(&cache->frozen);
}

/* Compresses into *out, exactly as large as needed. The block's content is folded whether or not there is memory. */
static int freeze(struct series_store *store, char *block, struct buf *out)
{
	struct buf *scratch = &store->scratch;
	struct view view = block_view(block);
	blank_records(&view, &store->counts);
	fold(&view);
	buf_reset(scratch);
	int result = codec_compress(store->zstd, span_of(block, block_size(block)), scratch);
	return result < 0 ? result : buf_span(out, buf_view(scratch));
}

static uint64_t count_series(const struct view *view)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < view->line_count; i++)
		count += role_is_sample(view->lines[i].role);
	return count;
}

static bool has_room(const struct series_cache *cache)
{
	const struct series_store *store = cache->store;
	return store->stats.thawed_bytes + cache->block_bytes <= store->memory_bytes;
}

static void keep_thawed(struct series_cache *cache, char *block)
{
	cache->block = block;
	cache->store->stats.thawed_bytes += cache->block_bytes;
}

static void keep_frozen(struct series_cache *cache, struct buf frozen)
{
	struct series_stats *stats = &cache->store->stats;
	stats->frozen_bytes += frozen.len - cache->frozen.len;
	stats->freezes++;
	buf_done(&cache->frozen);
	cache->frozen = frozen;
}

void cache_keep(struct series_cache *cache, char *block)
{
	struct series_store *store = cache->store;
	struct view view = block_view(block);
	struct buf frozen;
	buf_init(&frozen, SIZE_MAX / 2);
	cache_drop(cache);
	cache->block_bytes = block_size(block);
	cache->series = count_series(&view);
	store->stats.series += cache->series;
	if (has_room(cache)) {
		keep_thawed(cache, block);
	} else if (freeze(store, block, &frozen) == 0) {
		keep_frozen(cache, frozen);
		free(block);
	} else { /* no memory to freeze it: better too large than lost */
		buf_done(&frozen);
		unfold(&view);
		keep_thawed(cache, block);
	}
}

void cache_keep_same(struct series_cache *cache, char *block, bool touched)
{
	struct buf frozen;
	if (block == cache->block)
		return;
	char *copy = has_room(cache) ? malloc(cache->block_bytes) : NULL;
	if (copy) {
		memcpy(copy, block, cache->block_bytes);
		cache->store->stats.frozen_bytes -= cache->frozen.len;
		buf_done(&cache->frozen);
		keep_thawed(cache, copy);
	} else if (touched) {
		buf_init(&frozen, SIZE_MAX / 2);
		if (freeze(cache->store, block, &frozen) == 0)
			keep_frozen(cache, frozen);
		else /* no memory: what was to be noted is noted by the next scrape */
			buf_done(&frozen);
	}
}

char *cache_thaw(struct series_cache *cache, int *ret_failed)
{
	struct series_store *store = cache->store;
	*ret_failed = 0;
	if (cache->block || cache->frozen.len == 0)
		return cache->block;
	struct buf *thawed = &store->thawed;
	buf_reset(thawed);
	if (buf_reserve(thawed, cache->block_bytes))
		*ret_failed = codec_decompress(CODEC_ZSTD, buf_view(&cache->frozen), thawed);
	else
		*ret_failed = thawed->failed;
	if (*ret_failed < 0)
		return NULL;
	struct view view = block_view(thawed->ptr);
	unfold(&view);
	store->stats.thaws++;
	return thawed->ptr;
}
