/* spool: sealed records between the scraper and the gateway, oldest first.
 *
 * A record is a finished, compressed OTLP request. In this version records live in
 * memory: they survive an outage of the gateway, not the end of the process. The
 * interface is the one the disk queue will have. Thread-safe: the core's loop pushes, the export thread peeks
 * and acknowledges. At the ceiling the oldest records go first, counted.
 * Invariant, checked by tests after every operation:
 *   committed = delivered + dropped{reason} + queued        (in records and in points)
 */
#pragma once

#include "gleaner/codec.h"
#include "gleaner/option.h"

struct spool_record {
	uint64_t id; /* given by spool_push, rising */
	enum codec_kind codec;
	uint32_t points;
	uint64_t t_min_ns, t_max_ns;
	size_t uncompressed_bytes;
	struct span body;
};

enum spool_drop {
	SPOOL_DROP_SIZE,     /* the ceiling: oldest first */
	SPOOL_DROP_AGE,      /* older than max_age */
	SPOOL_DROP_REFUSED,  /* the gateway refused the record for good (4xx) */
	SPOOL_DROP_REJECTED, /* partial success: points the gateway did not take (its record counts as delivered) */
	SPOOL_DROP_SHUTDOWN, /* still queued when the process ended */
	SPOOL_DROP_COUNT
};
const char *spool_drop_name(enum spool_drop reason);

struct spool_options {
	uint64_t max_bytes;  /* 64 MiB: compressed bodies, and about 100 bytes for each record */
	uint64_t max_age_ns; /* 6h */
};
extern const struct option_table spool_options_table;

struct spool_stats {
	uint64_t committed_records, committed_points;
	uint64_t delivered_records, delivered_points;
	uint64_t dropped_records[SPOOL_DROP_COUNT], dropped_points[SPOOL_DROP_COUNT];
	uint64_t queued_records, queued_points, queued_bytes; /* in flight included; bytes as max_bytes counts them */
	uint64_t oldest_t_max_ns;                             /* of the oldest queued record; 0 when empty */
};

struct spool;
int spool_new(const struct spool_options *options, struct clock clock, struct spool **ret_spool);
void spool_free(struct spool *spool);
/* Commits a record; its body is copied. 0; -EMSGSIZE when it does not fit beside the records in flight, whatever else were dropped
 * (committed and counted as SPOOL_DROP_SIZE); -ENOMEM: not committed, the caller has to count it. */
int spool_push(struct spool *spool, const struct spool_record *record);
/* A file descriptor (eventfd) that is readable while records wait. Owned by the spool. */
int spool_fd(const struct spool *spool);

/* The oldest record that is not in flight; its body stays valid until spool_ack, spool_drop or spool_release of its id (drop-oldest
 * skips records in flight). 1, or 0 when there is none. The three below ignore an id that is not in flight. */
int spool_peek(struct spool *spool, struct spool_record *ret_record);
/* Delivered; of its points `rejected` were refused by the gateway (partial success). */
void spool_ack(struct spool *spool, uint64_t id, uint64_t rejected_points);
/* Not delivered, and never will be. */
void spool_drop(struct spool *spool, uint64_t id, enum spool_drop reason);
/* Not delivered; goes back to its place. */
void spool_release(struct spool *spool, uint64_t id);
/* At the end of the process, after the export thread's: what is queued, in flight included, is counted as SPOOL_DROP_SHUTDOWN. */
void spool_close(struct spool *spool);
void spool_stats(const struct spool *spool, struct spool_stats *ret_stats);
