/* series: the per-target cache from raw series text to ready OTLP data points.
 *
 * The heart of the hot path; scraper only. A target's cache is one relocatable
 * block (offsets, no pointers): keys, line index, records. A line that follows the
 * same line as last time costs one memcmp and two stores; a line that moved costs a
 * hash and a verification; only a new line is parsed for labels, relabelled and
 * encoded. Between scrapes blocks that find no room in the store's memory are kept compressed (frozen).
 */
#pragma once

#include "gleaner/codec.h"
#include "gleaner/expo.h"
#include "gleaner/otlp.h"
#include "gleaner/relabel.h"

/* The ceilings that hold whatever a job says. */
struct series_limits {
	uint64_t max_samples;    /* a scrape; 250000 */
	uint64_t max_labels;     /* of a series; 128 */
	uint64_t max_line_bytes; /* 64 KiB */
};

/* What all caches of one scraper share: scratch memory, the seed, the memory budget. Single-threaded. */
struct series_store;
int series_store_new(uint64_t series_memory_bytes, struct series_store **ret_store);
void series_store_free(struct series_store *store); /* after its caches */
struct series_stats {
	uint64_t series; /* in all caches */
	uint64_t thawed_bytes, frozen_bytes;
	uint64_t thaws, freezes, rebuilds;
};
void series_store_stats(const struct series_store *store, struct series_stats *ret_stats);

/* What a target contributes; spans and pointers must outlive the cache or be replaced by series_cache_configure. */
struct series_target {
	struct labels labels;                 /* public target labels, job and instance among them */
	struct labels resource;               /* further resource attributes */
	const struct relabel *metric_relabel; /* NULL: none */
	bool honor_labels, honor_timestamps, track_timestamps_staleness;
	struct series_limits limits;
	uint64_t sample_limit, label_limit, label_name_length_limit, label_value_length_limit; /* 0: none */
};

struct series_cache;
int series_cache_new(struct series_store *store, const struct series_target *target, struct series_cache **ret_cache);
void series_cache_free(struct series_cache *cache);

enum series_drop {
	SERIES_DROP_DUPLICATE,      /* or the scrape reports it */
	SERIES_DROP_PRE_EPOCH,      /* D-12 */
	SERIES_DROP_TOO_FAR_AHEAD,  /* */
	SERIES_DROP_TIMESTAMP,      /* */
	SERIES_DROP_GAUGEHISTOGRAM, /* D-1 */
	SERIES_DROP_BAD_HISTOGRAM,  /* D-10, R-45 */
	SERIES_DROP_BAD_SUMMARY,    /* S-51 */
	SERIES_DROP_BAD_BOUND,      /* D-30, R-51 */
	SERIES_DROP_COUNT
};
const char *series_drop_name(enum series_drop reason);

enum series_failure { SERIES_OK, SERIES_PARSE, SERIES_SAMPLE_LIMIT, SERIES_LABEL_LIMIT, SERIES_BAD_SERIES };

struct series_result {
	uint64_t samples;      /* parsed */
	uint64_t samples_kept; /* after metric relabelling */
	uint64_t series_added; /* new cache entries */
	uint64_t points, stale_points;
	uint64_t tolerated;
	uint64_t dropped[SERIES_DROP_COUNT]; /* samples; for histograms and summaries: points */
	enum series_failure failure;
	uint64_t hits, moved, misses; /* lines by way: followed as last time, found by hash, parsed */
};

/* Takes one good body into the cache and appends its points (and stale points of what vanished) to the batch.
 *   body     followed by EXPO_PADDING zero bytes
 *   time_ns  of the scrape: wall clock of its tick
 *   returns  0; -EBADMSG with err ("line 7: ...") and result->failure: nothing of the body was appended and the caller goes on with
 *            series_fail; -ENOMEM, or what the batch's sealed callback returned
 *   cost     no allocation when the set of series is as last time */
int series_ingest(struct series_cache *cache, enum expo_format format, struct span body, uint64_t time_ns,
	struct otlp_batch *batch, struct series_result *ret_result, struct error *err);
/* A failed scrape, or the target is gone: every live point gets its stale point once. The cache itself stays, so that a target
 * that comes back costs no more than any scrape. 0, -ENOMEM, or what the batch's sealed callback returned. */
int series_fail(struct series_cache *cache, uint64_t time_ns, struct otlp_batch *batch, uint64_t *ret_stale_points);
/* Other spans and pointers for the same content: nothing that shapes a data point differs. Limits may; those of labels then
 * cost the next scrape what a first one costs. */
void series_cache_configure(struct series_cache *cache, const struct series_target *target);
const struct series_target *series_cache_target(const struct series_cache *cache);
/* The encoded attributes of the target's own resource, for the report metrics; valid until the cache changes. */
struct span series_target_resource(const struct series_cache *cache);

/* The metrics that every scrape adds, as described by Prometheus and the Collector. A target that exposes one of these names
 * (a federation) gets the same description. */
#define SERIES_REPORT_METRICS 5
struct series_report_metric {
	struct span name, description, unit;
};
extern const struct series_report_metric series_report_metrics[SERIES_REPORT_METRICS];
