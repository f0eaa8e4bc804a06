/* scrape: when a target is due, the request, the report metrics. Scraper only (and `gleaner scrape`).
 *
 * schedule.c says which target is due, fetch.c gets its body, ingest.c is the story
 * of one scrape from body to batch, report.c adds up and scrape_*.
 */
#pragma once

#include "gleaner/http.h"
#include "gleaner/series.h"
#include "gleaner/target.h"

/* The scrape: object of the configuration: what holds for all jobs. */
struct scrape_options {
	uint64_t workers;             /* scraper processes, 1 */
	uint64_t max_body_bytes;      /* 64 MiB, uncompressed */
	uint64_t max_samples;         /* 250000 */
	uint64_t max_labels;          /* 128 */
	uint64_t max_line_bytes;      /* 64 KiB */
	uint64_t max_concurrent;      /* scrapes in flight, 32 */
	uint64_t series_memory_bytes; /* caches above it are frozen */
	uint64_t batch_points;        /* 8192 */
	uint64_t batch_bytes;         /* 3 MiB */
	uint64_t batch_timeout_ns;    /* 1s */
};
extern const struct option_table scrape_options_table;

/* ---- schedule ------------------------------------------------------------------ */

/* The first tick at or after now: t mod interval = key's hash mod interval, in wall-clock ns. Stable over restarts. */
uint64_t scrape_first_tick(uint64_t key, uint64_t interval_ns, uint64_t now_wall_ns);

/* Who is due. A heap of entries the owner embeds; one in flight per entry; missed ticks are counted, never queued. */
struct scrape_entry {
	uint64_t key, interval_ns;
	uint64_t
		tick_ns; /* the next (or, in flight, the present) tick, wall clock; or when scrape_schedule_now was called */
	uint64_t not_before_ns; /* of its back-off; 0: none */
	uint64_t missed;        /* ticks that passed while the entry was in flight or the process was late */
	size_t heap_index;      /* SIZE_MAX: not in the heap */
};
struct scrape_schedule {
	struct scrape_entry **heap;
	size_t count, cap;
};
void scrape_schedule_init(struct scrape_schedule *schedule);
void scrape_schedule_done(struct scrape_schedule *schedule);
/* resume_after_ns: the last tick known to be done (0: none). Only a tick of the present interval is caught up, those
 * before it are counted as missed. 0, -ENOMEM. */
int scrape_schedule_add(
	struct scrape_schedule *schedule, struct scrape_entry *entry, uint64_t resume_after_ns, uint64_t now_wall_ns);
void scrape_schedule_remove(struct scrape_schedule *schedule, struct scrape_entry *entry);
/* Takes the first entry that is due out of the heap (it is in flight now), or NULL; ret_wait_ns: until the next one is due. */
struct scrape_entry *scrape_schedule_due(struct scrape_schedule *schedule, uint64_t now_wall_ns, uint64_t *ret_wait_ns);
/* Its scrape ended: back into the heap at its next tick after now; not before `not_before_ns` (back-off; 0: none). */
int scrape_schedule_again(
	struct scrape_schedule *schedule, struct scrape_entry *entry, uint64_t not_before_ns, uint64_t now_wall_ns);
/* An entry that waits for its tick becomes due at once, at a time that is no tick; its phase stays. Nothing changes for one that is in
 * flight or backs off: false. */
bool scrape_schedule_now(struct scrape_schedule *schedule, struct scrape_entry *entry, uint64_t now_wall_ns);

/* ---- fetch ---------------------------------------------------------------------- */

/* The value of the Accept header (semantics 3.4, without protobuf). */
extern const char scrape_accept[];

/* Zeroed before its first use; buf_done(&body.bytes) when it is not needed any more. */
struct scrape_body {
	struct buf bytes; /* inflated; after a fetch that was ok EXPO_PADDING zero bytes stand behind len */
	char content_type[256];
	uint64_t wire_bytes;
};

/* What the bodies of all fetches that share it hold, and may hold together. A body of less than 1 MiB always may. */
struct scrape_memory {
	size_t used_bytes, max_bytes;
};

/* The reason word of a scrape that was answered 401 or 403. */
#define SCRAPE_UNAUTHORIZED "unauthorized"

struct scrape_fetch; /* one fetch in flight, or one that is idle and kept for its buffers */
struct scrape_fetch_result {
	enum http_failure failure; /* HTTP_NEED_SOCKET: give a socket and start again */
	bool ok;                   /* 200 and a whole body */
	bool body_limit_hit;
	/* Static word for counters: "connect", "timeout", "http_status", "body_limit", "gzip", ...; NULL when ok. */
	const char *reason;
	uint64_t connect_ns, first_byte_ns, total_ns; /* since the start; 0: did not get so far */
	uint64_t busy_ns;                             /* as in http_response */
	struct error error;                           /* "server returned HTTP status 500 Internal Server Error" */
};
/* memory: NULL: no ceiling but that of each body. */
int scrape_fetch_new(struct http *http, struct scrape_memory *memory, struct scrape_fetch **ret_fetch);
void scrape_fetch_free(struct scrape_fetch *fetch);
/* on_send as in http_request, of all its requests from now on. */
void scrape_fetch_watch(
	struct scrape_fetch *fetch, void (*on_send)(void *arg, const struct http_endpoints *endpoints), void *arg);
/* Starts the request of target's URL. done is called once unless cancelled, never from within, and may start the next one.
 *   connected_fd    as in http_request; -1 to try a kept connection
 *   max_body_bytes  ceiling besides the job's body_size_limit; a body of just so many bytes fails already (T-12)
 *   timeout_ns      for this request; the target is told its own timeout
 *   body            overwritten; untouched by others until done
 *   returns         0; -EINVAL (the URL), -ENOMEM */
int scrape_fetch_start(struct scrape_fetch *fetch, const struct target *target, int connected_fd,
	uint64_t max_body_bytes, uint64_t timeout_ns, struct scrape_body *body,
	void (*done)(void *arg, const struct scrape_fetch_result *result), void *arg, struct error *err);
void scrape_fetch_cancel(struct scrape_fetch *fetch);

/* ---- trial ------------------------------------------------------------------------ */

/* Whether a body is one of the formats and has a sample: for a port that nobody declared, which may serve anything. A page of plain
 * text, HTML or JSON is none. Reads at most 1,000 entries. body: followed by EXPO_PADDING zero bytes. */
bool scrape_is_exposition(struct span body, struct span content_type, size_t max_line_bytes);

/* ---- ingest ----------------------------------------------------------------------- */

/* What one scrape brought, and what became of it. */
struct scrape_input {
	bool ok; /* the fetch brought a body */
	bool body_limit_hit;
	struct span body; /* followed by EXPO_PADDING zero bytes */
	struct span content_type;
	uint64_t time_ns;     /* wall clock of the tick */
	uint64_t duration_ns; /* of the fetch; ingest adds its own time */
};
struct scrape_outcome {
	bool up;
	struct series_result series;
	struct error error; /* why up is 0 when the body was to blame */
	const char *reason; /* static word for counters, NULL when up */
	uint64_t ingest_ns, report_ns;
};

/* Everything a target needs in the scraper besides its schedule. */
struct scrape_target {
	struct target *target;
	struct relabel *metric_relabel; /* of its job; shared */
	struct series_cache *cache;
	struct buf report; /* encoded parts of the report metrics; layout in agent/scrape/report.c */
	bool reported;     /* report metrics were exported: their end must be told */
};
/* 0, -ENOMEM. The target and the rules are borrowed for as long as the scrape_target (or who takes over from it) lives. */
int scrape_target_init(struct scrape_target *scrape_target, struct target *target, struct relabel *metric_relabel,
	struct series_store *store, const struct scrape_options *options);
void scrape_target_done(struct scrape_target *scrape_target);
/* Moves old's series cache to its replacement when nothing that shapes a data point differs (labels, resource, metric rules,
 * honor_*): true, and old has nothing left to be marked stale. Else false, and old is as it was. */
bool scrape_target_take_over(struct scrape_target *scrape_target, struct scrape_target *old);

/* Body -> batch: stages 4 to 7 of the way of a scrape. Read it: it is the table of contents of the hot path.
 * 0 whatever the target did; -ENOMEM or the batch's error. */
int scrape_ingest(struct scrape_target *scrape_target, const struct scrape_input *input, struct otlp_batch *batch,
	const struct clock *clock, struct scrape_outcome *ret_outcome);
/* The target is gone: stale points for its series and its report metrics. 0; -ENOMEM or the batch's error. */
int scrape_target_gone(
	struct scrape_target *scrape_target, uint64_t time_ns, struct otlp_batch *batch, uint64_t *ret_stale_points);
