/* The verbs of a series cache.
 *
 * One good body:
 *   1. read_body     every line to its place: the line that followed last time (memcmp), one that moved (hash, verified), or
 *                    one that is new (derive.c)
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

/* ---- life -------------------------------------------------------------------------------------------- */

static struct buf *const *scratch_buffers(struct series_store *store, struct buf *list[static 14])
{
	struct buf *all[] = {&store->thawed, &store->seen, &store->values, &store->point_times, &store->runs,
		&store->exemplars, &store->exposed, &store->attributes, &store->scope_attributes, &store->message,
		&store->name, &store->scratch, &store->bounds, &store->counts};
	_Static_assert(ARRAY_SIZE(all) == 14, "as the callers have room for");
	memcpy(list, all, sizeof(all));
	return list;
}

int series_store_new(uint64_t series_memory_bytes, struct series_store **ret_store)
{
	struct series_store *store = calloc(1, sizeof(*store));
	struct buf *buffers[14];
	if (!store)
		return -ENOMEM;
	store->memory_bytes = series_memory_bytes;
	store->seed = hash_seed();
	scratch_buffers(store, buffers);
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
		buf_init(buffers[i], UINT32_MAX);
	tables_init(&store->draft);
	tables_init(&store->packed);
	arena_init(&store->exemplar_arena, UINT32_MAX);
	arena_init(&store->labels_arena, UINT32_MAX);
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
	struct buf *buffers[14];
	if (!store)
		return;
	scratch_buffers(store, buffers);
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
		buf_done(buffers[i]);
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

void series_cache_configure(struct series_cache *cache, const struct series_target *target)
{
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

/* ---- 1: the body ------------------------------------------------------------------------------------------ */

/* Notes that the line stood here in the body. */
static int note_run(struct ingest *in, uint32_t line)
{
	struct buf *runs = &in->store->runs;
	struct run *last = runs->len > 0 ? (struct run *)(void *)(runs->ptr + runs->len) - 1 : NULL;
	in->next = line + 1;
	if (last && last->first + last->count == line) {
		last->count++;
		return 0;
	}
	struct run run = {line, 1};
	return buf_append(runs, &run, sizeof(run));
}

static void note_other(struct ingest *in, uint32_t number)
{
	const struct line *line = &in->view.lines[number];
	in->lines_seen += !in_seen(in)[number];
	in_seen(in)[number] = 1;
	if (line->role == ROLE_TYPE)
		in->type_line = number;
}

static int count_sample(struct ingest *in)
{
	uint64_t limit = in->target->limits.max_samples;
	if (++in->result->samples > limit)
		return fail_scrape(in, SERIES_SAMPLE_LIMIT, "sample limit exceeded (%llu)", (unsigned long long)limit);
	return 0;
}

/* The line that followed last time. 1 it was, 0 it was not, negative: as take_sample. */
static int read_expected(struct ingest *in, struct expo_entry *entry)
{
	if (in->cold || in->next >= in->view.line_count)
		return 0;
	struct expo_parser *parser = &in->parser;
	const struct line *line = &in->view.lines[in->next];
	struct span key = view_key(&in->view, line);
	int result = 0;
	if (key.len > (size_t)(parser->end - parser->at) || memcmp(parser->at, key.ptr, key.len) != 0)
		return 0;
	if (!role_is_sample(line->role)) {
		parser->at += key.len;
		parser->tolerated += line->tolerated;
		note_other(in, in->next);
	} else if (expo_tail(parser, key.len, entry) == 1) {
		result = count_sample(in);
		if (result == 0)
			result = take_sample(in, in->next, entry);
	} else {
		return 0;
	}
	in->result->hits++;
	if (result == 0)
		result = note_run(in, in->next);
	return result < 0 ? result : 1;
}

/* What a line is known by: a sample by its series, any other by all of it. */
static int64_t find_line(struct ingest *in, struct span text, bool sample)
{
	const struct lookup *lookup = in_lookup(in, LOOKUP_LINES);
	if (!lookup)
		return -ENOMEM;
	uint32_t number;
	for (struct lookup_probe probe = lookup_probe(lookup, hash_text(in, text));
		lookup_next(lookup, &probe, &number);) {
		const struct line *line = &in->view.lines[number];
		bool is_sample = role_is_sample(line->role);
		struct span known = is_sample ? view_series(&in->view, line) : view_key(&in->view, line);
		if (is_sample == sample && span_eq(known, text))
			return number;
	}
	return NONE;
}

static int64_t add_line(struct ingest *in, struct line line, struct span key, struct span known_by)
{
	struct lookup *lookup = in_lookup(in, LOOKUP_LINES);
	int result = lookup ? draft_open(in) : -ENOMEM;
	int64_t number = result < 0 ? result : draft_line(in, line, key);
	if (number < 0)
		return number;
	result = lookup_add(lookup, hash_text(in, known_by), (uint32_t)number);
	return result < 0 ? result : number;
}

static uint8_t clamp(size_t blanks)
{
	return blanks < UINT8_MAX ? (uint8_t)blanks : UINT8_MAX;
}

/* Blanks beyond 255 are not part of the key; the line is then found by its hash. */
static int64_t add_sample_line(struct ingest *in, const struct expo_entry *entry)
{
	size_t lead = (size_t)(entry->series.ptr - entry->prefix.ptr);
	size_t blanks = entry->prefix.len - lead - entry->series.len;
	struct line line = {.role = ROLE_DROPPED, .lead = clamp(lead), .blanks = clamp(blanks)};
	struct span key = span_of(entry->series.ptr - line.lead, line.lead + entry->series.len + line.blanks);
	return add_line(in, line, key, entry->series);
}

/* A sample that did not stand where it was expected. */
static int read_sample(struct ingest *in, const struct expo_entry *entry)
{
	int result = count_sample(in);
	int64_t number = result < 0 ? result : find_line(in, entry->series, true);
	if (number < 0)
		return (int)number;
	bool is_new = number == NONE;
	bool derive = is_new || (in->cold && !in_seen(in)[number]);
	if (derive) {
		in->result->misses++;
		result = draft_open(in);
		if (result == 0 && is_new)
			number = add_sample_line(in, entry);
		if (result == 0 && number >= 0)
			result = derive_line(in, (uint32_t)number, entry);
		if (result < 0 || number < 0)
			return result < 0 ? result : (int)number;
		in->changed = true;
		in->result->series_added += is_new && in->view.lines[number].role != ROLE_DROPPED;
	} else {
		in->result->moved++;
	}
	result = take_sample(in, (uint32_t)number, entry);
	return result < 0 ? result : note_run(in, (uint32_t)number);
}

/* HELP, TYPE, UNIT. A last line without LF is not kept: the same bytes may be the start of a longer line. */
static int read_metadata(struct ingest *in, const struct expo_entry *entry, uint64_t tolerated)
{
	bool whole = entry->line.ptr[entry->line.len - 1] == '\n';
	int64_t number = whole ? find_line(in, entry->line, false) : NONE;
	if (number < 0)
		return (int)number;
	if (number != NONE && !in->cold) {
		in->result->moved++;
		note_other(in, (uint32_t)number);
		return note_run(in, (uint32_t)number);
	}
	uint32_t family = NONE;
	int result = draft_open(in);
	if (result == 0)
		result = family_line(in, entry, &family);
	if (result < 0 || !whole)
		return result;
	struct line line = {.role = entry->kind == EXPO_TYPE ? ROLE_TYPE : ROLE_META, .tolerated = clamp(tolerated)};
	if (number == NONE)
		number = add_line(in, line, entry->line, entry->line);
	if (number < 0)
		return (int)number;
	in->view.lines[number].ref = family;
	in->changed = true;
	in->result->misses++;
	note_other(in, (uint32_t)number);
	return note_run(in, (uint32_t)number);
}

/* Comments and blank lines before an entry are kept as one line, so that the next scrape can compare them as well. */
static int read_comments(struct ingest *in, struct span text)
{
	int64_t number = find_line(in, text, false);
	if (number == NONE) {
		number = add_line(in, (struct line){.role = ROLE_COMMENT}, text, text);
		in->changed = true;
	}
	if (number < 0)
		return (int)number;
	note_other(in, (uint32_t)number);
	return note_run(in, (uint32_t)number);
}

static int parse_failure(struct ingest *in)
{
	return fail_scrape(in, SERIES_PARSE, "line %zu: %s", expo_error_line(&in->parser), in->parser.reason);
}

/* 1 entry, 0 end of body, or negative. */
static int read_unexpected(struct ingest *in, struct expo_entry *entry)
{
	const char *before = in->parser.at;
	uint64_t tolerated = in->parser.tolerated;
	int result = expo_next(&in->parser, entry);
	if (result < 0)
		return parse_failure(in);
	if (result == 0)
		return 0;
	if (entry->line.ptr > before)
		result = read_comments(in, span_of(before, (size_t)(entry->line.ptr - before)));
	if (result < 0)
		return result;
	result = entry->kind == EXPO_SAMPLE ? read_sample(in, entry)
					    : read_metadata(in, entry, in->parser.tolerated - tolerated);
	return result < 0 ? result : 1;
}

static int read_body(struct ingest *in)
{
	struct expo_entry entry;
	int result;
	do {
		result = read_expected(in, &entry);
		if (result == 0)
			result = read_unexpected(in, &entry);
	} while (result > 0);
	in->result->tolerated = in->parser.tolerated;
	uint64_t limit = in->target->sample_limit;
	if (result == 0 && limit > 0 && in->result->samples_kept > limit)
		return fail_scrape(in, SERIES_SAMPLE_LIMIT, "sample limit exceeded (%llu)", (unsigned long long)limit);
	return result;
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

static int finish_changed(struct ingest *in, struct otlp_batch *batch)
{
	struct series_cache *cache = in->cache;
	struct buf resource;
	int result = pack_tables(in);
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
	in->changed |= in->lines_seen != in->view.line_count || has_aging_family(&in->view);
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
	uint64_t absent = ABSENT_BITS;
	buf_reset(&store->seen);
	buf_reset(&store->values);
	buf_reset(&store->runs);
	buf_reset(&store->exemplars);
	arena_reset(&store->exemplar_arena);
	for (int i = 0; i < LOOKUP_COUNT; i++)
		store->lookups[i].filled = false;
	char *seen = buf_reserve(&store->seen, in->view.line_count);
	if (!seen || !buf_reserve(&store->values, in->view.member_count * sizeof(absent)))
		return -ENOMEM;
	memset(seen, 0, in->view.line_count);
	store->seen.len = in->view.line_count;
	for (uint32_t i = 0; i < in->view.member_count; i++)
		buf_append(&store->values, &absent, sizeof(absent));
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
	expo_init(&in.parser, format, body, cache->target.limits.max_line_bytes);
	int result = prepare(&in);
	if (result == 0 && body.len > 0) /* P-25: no bytes are a good body without samples in any format */
		result = read_body(&in);
	if (result == 0)
		result = groups_settle(&in);
	if (result == -EMSGSIZE) /* the tables' ceiling: relabelling can make little text large */
		result = fail_scrape(&in, SERIES_BAD_SERIES, "the series are too large");
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
