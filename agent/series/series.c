/* The verbs of a series cache.
 *
 * One good body:
 *   1. read_body     every line to its place: the line that followed last time, one that moved, or one that is new
 *   2. groups_settle histograms and summaries become points
 *   3. pack_tables   only when the set of series changed: the tables of the next scrape
 *   4. emit_points   then stale points for what is gone
 *   5. commit        what was exported is noted
 * Until 4 nothing outside the store's scratch memory and the values in the block is touched, so a body that fails in its last
 * line leaves no trace; an error of the batch in 4 leaves the cache as it was before the scrape.
 */
#include "ingest.h"

#include <errno.h>
#include <stdlib.h>

/* While one series' labels are made; a line has 64 KiB, and relabel rules may make more of it. */
enum { LABELS_MAX_BYTES = 16 << 20 };

/* ---- life -------------------------------------------------------------------------------------------- */

_Static_assert(offsetof(struct series_store, scratch) + sizeof(struct buf) ==
		       offsetof(struct series_store, buffers) + sizeof(((struct series_store *)0)->buffers),
	"buffers are the named ones, all of them");

int series_store_new(uint64_t series_memory_bytes, struct series_store **ret_store)
{
	struct series_store *store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	store->memory_bytes = series_memory_bytes;
	store->seed = hash_seed();
	for (size_t i = 0; i < ARRAY_SIZE(store->buffers); i++)
		buf_init(&store->buffers[i], UINT32_MAX);
	tables_init(&store->draft);
	tables_init(&store->packed);
	arena_init(&store->exemplar_arena, UINT32_MAX);
	arena_init(&store->labels_arena, LABELS_MAX_BYTES);
	arena_init(&store->pack_arena, SIZE_MAX / 2);
	if (codec_new(CODEC_ZSTD, &store->zstd) < 0) {
		series_store_free(store);
		return -ENOMEM;
	}
	*ret_store = store;
	return 0;
}

/* What only scrapes with new series need. */
static void free_draft(struct series_store *store)
{
	buf_done(&store->scratch); /* as large as a block when it was used to freeze one */
	tables_done(&store->draft);
	tables_done(&store->packed);
	for (int i = 0; i < LOOKUP_COUNT; i++)
		lookup_done(&store->lookups[i]);
	arena_done(&store->pack_arena);
}

void series_store_free(struct series_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(store->buffers); i++)
		buf_done(&store->buffers[i]);
	free_draft(store);
	arena_done(&store->exemplar_arena);
	arena_done(&store->labels_arena);
	codec_free(store->zstd);
	free(store);
}

void series_store_stats(const struct series_store *store, struct series_stats *ret_stats)
{
	*ret_stats = store->stats;
}

const char *series_drop_name(enum series_drop reason)
{
	static const char *const names[SERIES_DROP_COUNT] = {
		[SERIES_DROP_DUPLICATE] = "duplicate",
		[SERIES_DROP_PRE_EPOCH] = "pre_epoch",
		[SERIES_DROP_TOO_FAR_AHEAD] = "too_far_ahead",
		[SERIES_DROP_TIMESTAMP] = "inconsistent_timestamp",
		[SERIES_DROP_GAUGEHISTOGRAM] = "gaugehistogram",
		[SERIES_DROP_BAD_HISTOGRAM] = "bad_histogram",
		[SERIES_DROP_BAD_SUMMARY] = "bad_summary",
		[SERIES_DROP_BAD_BOUND] = "bad_bound",
	};
	return names[reason];
}

/* The target's own resource, as it is without target_info. */
static int encode_own_resource(struct series_store *store, const struct series_target *target, struct buf *out)
{
	struct labels_builder attributes;
	arena_reset(&store->labels_arena);
	labels_builder_init(&attributes, &store->labels_arena);
	return resource_encode(target, &attributes, labels_get(target->labels, SPAN("job")),
		labels_get(target->labels, SPAN("instance")), out);
}

static bool same_limits(const struct series_target *a, const struct series_target *b)
{
	return a->limits.max_labels == b->limits.max_labels && a->label_limit == b->label_limit &&
	       a->label_name_length_limit == b->label_name_length_limit &&
	       a->label_value_length_limit == b->label_value_length_limit;
}

/* Limits of labels are looked at when a line is derived. */
void series_cache_configure(struct series_cache *cache, const struct series_target *target)
{
	cache->unsettled |= !same_limits(&cache->target, target);
	cache->target = *target;
}

const struct series_target *series_cache_target(const struct series_cache *cache)
{
	return &cache->target;
}

int series_cache_new(struct series_store *store, const struct series_target *target, struct series_cache **ret_cache)
{
	struct series_cache *cache = calloc(1, sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	cache->store = store;
	cache->target = *target;
	buf_init(&cache->frozen, SIZE_MAX / 2);
	buf_init(&cache->resource, UINT32_MAX);
	if (encode_own_resource(store, target, &cache->resource) < 0) {
		series_cache_free(cache);
		return -ENOMEM;
	}
	*ret_cache = cache;
	return 0;
}

void series_cache_free(struct series_cache *cache)
{
	if (!cache)
		return;
	cache_drop(cache);
	buf_done(&cache->resource);
	free(cache);
}

struct span series_target_resource(const struct series_cache *cache)
{
	return buf_view(&cache->resource);
}

/* ---- 3 to 5: what came of it --------------------------------------------------------------------------------- */

static bool has_aging_family(const struct view *view)
{
	for (uint32_t i = 0; i < view->family_count; i++) {
		if (view->families[i].age > 0)
			return true;
	}
	return false;
}

/* Notes which points have an end that must be told. */
static void mark_exported(const struct ingest *in, const struct view *view)
{
	for (uint32_t i = 0; i < view->point_count; i++) {
		struct point *point = &view->points[i];
		bool exported = point->flags & POINT_EXPORTED;
		if (point->scrape != in->scrape)
			exported = false;
		else if (point->flags & POINT_PRODUCED)
			exported = point->flags & POINT_TRACKED;
		point->flags = (uint8_t)((point->flags & ~POINT_EXPORTED) | (exported ? POINT_EXPORTED : 0));
	}
}

static int emit(struct ingest *in, const struct view *fresh, struct otlp_batch *batch)
{
	int result = emit_points(in, fresh, batch);
	if (result == 0 && (in->changed || in->alive < in->view.point_count))
		result = emit_stale(in->store, &in->view, in->scrape, in->time_ns, batch, &in->result->stale_points);
	in->result->points = in->alive - in->holes;
	return result;
}

static int finish_unchanged(struct ingest *in, struct otlp_batch *batch)
{
	int result = emit(in, &in->view, batch);
	if (result < 0)
		return result;
	bool touched = in->reflag || in->result->stale_points > 0;
	if (touched)
		mark_exported(in, &in->view);
	cache_keep_same(in->cache, in->block, touched);
	return 0;
}

/* A table's ceiling: relabelling and scopes can make little text large. */
static int fail_too_large(struct ingest *in)
{
	return fail_scrape(in, SERIES_BAD_SERIES, "the series are too large");
}

static int finish_changed(struct ingest *in, struct otlp_batch *batch)
{
	struct series_cache *cache = in->cache;
	struct buf resource;
	int result = pack_tables(in);
	if (result == -EMSGSIZE)
		result = fail_too_large(in);
	char *block = result == 0 ? block_new(&in->store->packed) : NULL;
	if (!block)
		return result < 0 ? result : -ENOMEM;
	struct view fresh = block_view(block);
	buf_init(&resource, UINT32_MAX);
	result = buf_span(&resource, view_text(&fresh, fresh.resources[0].run));
	if (result == 0)
		result = emit(in, &fresh, batch);
	if (result < 0) {
		buf_done(&resource);
		free(block);
		return result;
	}
	mark_exported(in, &fresh);
	buf_done(&cache->resource);
	cache->resource = resource;
	cache_keep(cache, block);
	in->store->stats.rebuilds++;
	return 0;
}

static int finish(struct ingest *in, struct otlp_batch *batch)
{
	/* A draft that added nothing (a last line of metadata without LF) still has the flags that this scrape set. */
	if (in->began_cold && in->block)
		families_settle(in);
	in->changed |= in->drafted || in->lines_seen != in->view.line_count || has_aging_family(&in->view);
	/* An empty body of a target that never had a series still leaves a block, with nothing but the target's resource. */
	int result = in->changed || !in->block ? finish_changed(in, batch) : finish_unchanged(in, batch);
	if (result < 0)
		return result;
	in->cache->unsettled = in->unsettled;
	in->cache->format = in->parser.format;
	in->cache->silent = false;
	return 0;
}

/* ---- ingest ------------------------------------------------------------------------------------------------------ */

/* Scratch for as many lines and members as the cache has. */
static int prepare_scratch(struct ingest *in)
{
	struct series_store *store = in->store;
	size_t values_bytes = in->view.member_count * sizeof(double);
	buf_reset(&store->seen);
	buf_reset(&store->values);
	buf_reset(&store->runs);
	buf_reset(&store->exemplars);
	arena_reset(&store->exemplar_arena);
	for (int i = 0; i < LOOKUP_COUNT; i++)
		store->lookups[i].filled = false;
	char *seen = buf_reserve(&store->seen, in->view.line_count);
	uint64_t *values = (uint64_t *)(void *)buf_reserve(&store->values, values_bytes);
	if (!seen || !values)
		return -ENOMEM;
	memset(seen, 0, in->view.line_count);
	store->seen.len = in->view.line_count;
	for (uint32_t i = 0; i < in->view.member_count; i++)
		values[i] = ABSENT_BITS;
	store->values.len = values_bytes;
	return 0;
}

/* Resource 0 is the target's own. */
static int prepare_draft(struct ingest *in)
{
	int result = draft_open(in);
	if (result < 0)
		return result;
	int64_t own = new_resource(
		in, labels_get(in->target->labels, SPAN("job")), labels_get(in->target->labels, SPAN("instance")));
	return own < 0 ? (int)own : 0;
}

static int prepare(struct ingest *in)
{
	int result;
	in->block = cache_thaw(in->cache, &result);
	if (result < 0)
		return result;
	if (in->block)
		in->view = block_view(in->block);
	result = prepare_scratch(in);
	return result == 0 && !in->block ? prepare_draft(in) : result;
}

/* A draft is as large as the largest cache, and a page fault for each 4 KiB of it costs more than the copy itself: so its memory
 * stays while series come and go, and is given back when they have not for a while. */
static void quieten(struct series_store *store, bool drafted)
{
	enum { QUIET_INGESTS = 32 };
	store->quiet = drafted ? 0 : store->quiet + 1;
	if (store->quiet == QUIET_INGESTS)
		free_draft(store);
}

int series_ingest(struct series_cache *cache, enum expo_format format, struct span body, uint64_t time_ns,
	struct otlp_batch *batch, struct series_result *ret_result, struct error *err)
{
	*ret_result = (struct series_result){.failure = SERIES_OK};
	struct ingest in = {
		.store = cache->store,
		.cache = cache,
		.target = &cache->target,
		.result = ret_result,
		.err = err,
		.time_ns = time_ns,
		.t_min_ns = time_ns,
		.t_max_ns = time_ns,
		.scrape = ++cache->scrape,
		.type_line = NONE,
		.cold = cache->unsettled || cache->format != format,
	};
	in.began_cold = in.cold;
	expo_init(&in.parser, format, body, cache->target.limits.max_line_bytes);
	int result = prepare(&in);
	if (result == 0 && body.len > 0) /* P-25: no bytes are a good body without samples in any format */
		result = read_body(&in);
	if (result == 0)
		result = groups_settle(&in);
	if (result == -EMSGSIZE)
		result = fail_too_large(&in);
	if (result == 0)
		result = finish(&in, batch);
	quieten(cache->store, in.drafted || in.changed);
	return result;
}

int series_fail(struct series_cache *cache, uint64_t time_ns, struct otlp_batch *batch, uint64_t *ret_stale_points)
{
	int result = 0;
	uint64_t count = 0;
	char *block = cache->silent ? NULL : cache_thaw(cache, &result);
	if (block) {
		struct view view = block_view(block);
		struct ingest nothing = {.scrape = ++cache->scrape};
		result = emit_stale(cache->store, &view, nothing.scrape, time_ns, batch, &count);
		if (result == 0) {
			mark_exported(&nothing, &view);
			cache_keep_same(cache, block, count > 0);
		}
	}
	if (result < 0)
		return result;
	cache->silent = true;
	*ret_stale_points = count;
	return 0;
}
