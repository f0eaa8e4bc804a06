/* wire: the messages between the core and a scraper, over one UNIX stream socket.
 *
 * A message is a 16-byte header, a fixed struct (its size depends on the type
 * alone) and a tail of bytes. Both sides run the same binary, so numbers are in the
 * host's order; but the scraper handles hostile bytes and may be taken over, so the
 * core checks every length and every range before it looks at anything:
 *
 *   offset size
 *   0      4    magic 0x31574c47 ("GLW1")
 *   4      2    type, enum wire_type
 *   6      2    flags: bit 0: a file descriptor comes with the first byte (SCM_RIGHTS)
 *   8      4    length of the fixed struct and the tail together, <= WIRE_MAX
 *   12     4    zero
 *   16     ..   the fixed struct of the type, then the tail
 *
 * Any damage is final: the connection is closed, and the core replaces the scraper.
 */
#pragma once

#include "gleaner/loop.h"

#define WIRE_MAGIC UINT32_C(0x31574c47)
#define WIRE_MAX   (16u << 20)

enum wire_type {
	/* core -> scraper */
	WIRE_SETTINGS = 1, /* struct wire_settings: the first message, once; other settings take another scraper */
	WIRE_JOB, /* struct wire_job, tail: target_job_pack. Before its targets; the same id again: other credentials */
	WIRE_JOB_GONE, /* struct wire_job: after its targets */
	WIRE_TARGET,   /* struct wire_target, tail: target_pack. A known key is replaced and keeps its series cache */
	WIRE_TARGET_GONE, /* struct wire_key: stale points are sent */
	WIRE_SCRAPE_NOW,  /* struct wire_key: its port just opened: due at once, unless in flight or backing off */
	WIRE_SOCKET,      /* struct wire_socket, fd when error is 0, tail: error text: the answer to WIRE_DIAL */
	WIRE_STOP,        /* no struct: finish, flush, answer WIRE_STOPPED, exit */
	/* scraper -> core */
	WIRE_HEARTBEAT, /* struct wire_heartbeat: every WIRE_HEARTBEAT_NS */
	WIRE_DIAL,      /* struct wire_key: a connected socket to this target is wanted */
	WIRE_INGEST, /* struct wire_key: this target's body is about to be parsed: whom to blame for a crash; key 0: it is done */
	WIRE_RECORD, /* struct wire_record, tail: the compressed OTLP request */
	WIRE_SCRAPED, /* struct wire_scraped, tail: error text. Sent once all points of the scrape are in records sent before */
	WIRE_STOPPED, /* no struct: everything is flushed */
	WIRE_FETCH, /* struct wire_key: a scrape of this target begins; until its WIRE_INGEST it is among the suspects of a crash */
	WIRE_COST, /* struct wire_cost: what one scrape cost; follows the last byte by some ms, WIRE_SCRAPED may come before or after */
	WIRE_SLOT_CLOSED, /* struct wire_slot: the connection of this slot is closed */
	/* core -> scraper */
	WIRE_COST_MAP, /* struct wire_cost_map, fd: the slots of a probe, then its shared words: scrapes are measured from now on */
	WIRE_PACE, /* struct wire_pace: from the next tick on */
	WIRE_TYPE_COUNT
};

#define WIRE_HEARTBEAT_NS         (500 * NS_PER_MS)
#define WIRE_HEARTBEAT_TIMEOUT_NS (2 * NS_PER_SEC)

struct wire_settings {
	uint64_t max_body_bytes, max_samples, max_labels, max_line_bytes, max_concurrent;
	uint64_t series_memory_bytes, batch_points, batch_bytes, batch_timeout_ns;
	uint32_t codec; /* enum codec_kind */
	uint32_t zero;
};

struct wire_job {
	uint64_t id;
};

struct wire_target {
	uint64_t key, job_id;
	uint64_t resume_after_ns; /* wall clock of the last tick whose points are committed; 0: none */
	uint64_t not_before_ns;   /* wall clock; back-off after it was blamed for a crash; 0: none */
	uint32_t
		trial; /* 1: nobody knows yet what its port speaks. The first scrape tells, at once: short and small, without a trace in the
			 * data and without another one when it is no exposition */
	uint32_t stretch; /* as of struct wire_pace */
};

struct wire_pace {
	uint64_t key;
	uint32_t stretch; /* 1..64: its interval is so many times the configured one */
	uint32_t zero;
};

struct wire_key {
	uint64_t key;
};

struct wire_socket {
	uint64_t key;
	uint32_t error; /* errno; 0: the socket comes along */
	uint32_t slot;  /* of the cost maps that came last; WIRE_NO_SLOT: this connection is not measured */
};
#define WIRE_NO_SLOT UINT32_MAX

enum wire_cost_part { WIRE_COST_SLOTS, WIRE_COST_SHARED };
struct wire_cost_map {
	uint32_t part; /* enum wire_cost_part; both come, in this order; slots of earlier maps mean nothing any more */
	uint32_t map;  /* number of these maps, never 0 */
	uint32_t processes; /* 1: a tgid of BPF names the same process here, so its clock can be read */
	uint32_t zero;
};

struct wire_slot {
	uint32_t slot, map;
};

/* One scrape as BPF saw it at the target (bpf/cost.h has the definitions), and the process clock around it. */
struct wire_cost {
	uint64_t key;
	uint64_t tick_ns;   /* wall clock, of the scrape */
	uint64_t thread_ns; /* T: lower bound. Tails (until the window closed) included, as in the next two */
	uint64_t causal_ns; /* C - T */
	uint64_t other_ns;  /* X: other processes; never added */
	uint64_t thread_at_send_ns, causal_at_send_ns, other_at_send_ns; /* the same until the last byte was sent */
	uint64_t switches;                                               /* of T and C together */
	uint64_t first_byte_ns;      /* from the server's first read to its first write; 0: unknown */
	uint64_t window_ns;          /* from the server's first read to its last write */
	uint64_t rx_bytes, tx_bytes; /* of the connection, as the server's socket counted them; 0 when unknown */
	/* CPU clock of process tgid, and when it was read (monotonic): just before the request and 5 ms after the last byte.
	 * All 0 where the process is not visible. */
	uint64_t process_before_ns, process_after_ns, read_before_ns, read_after_ns;
	uint32_t
		measured; /* 0: BPF did not recognise the request, or WIRE_COST_MISMATCH; all of the slot's figures are 0 */
	uint32_t
		flags; /* COST_SHARED (also when another port of the pod was scraped meanwhile), ... and the one below */
	uint32_t tgid, threads, hops;
	uint32_t new_connection; /* 1: this was the first request on it */
};

/* The server's socket sent another number of bytes than ours received: it was not, or not only, our request. */
#define WIRE_COST_MISMATCH (UINT32_C(1) << 31)

struct wire_heartbeat {
	uint64_t targets, in_flight;
	uint64_t series, thawed_bytes, frozen_bytes, thaws, freezes, rebuilds;
	uint64_t lines_hit, lines_moved, lines_missed;
};

struct wire_record {
	uint32_t codec; /* enum codec_kind */
	uint32_t points;
	uint64_t t_min_ns, t_max_ns;
	uint64_t uncompressed_bytes;
};

/* Why a scrape failed: a closed set, so that it can be a label of a counter. */
#define WIRE_REASON_MAX 24

#define WIRE_DROP_REASONS 16

struct wire_scraped {
	uint64_t key;
	uint64_t tick_ns;     /* wall clock */
	uint64_t duration_ns; /* fetch and ingest */
	/* The agent's own CPU time for this scrape: request and receiving; parsing; encoding and compressing what is sent (of a batch
	 * that several targets share, its share by points). */
	uint64_t fetch_cpu_ns, parse_cpu_ns, encode_cpu_ns, compress_cpu_ns;
	uint64_t record_bytes; /* its share of the compressed records */
	uint64_t connect_ns, first_byte_ns, ingest_ns;
	uint64_t body_bytes, wire_bytes;
	uint64_t samples, samples_kept, series_added, points, stale_points, tolerated;
	uint64_t missed_ticks;               /* since the last report */
	uint64_t dropped[WIRE_DROP_REASONS]; /* by enum series_drop */
	uint32_t up;                         /* 0 or 1 */
	uint32_t zero;
	char reason[WIRE_REASON_MAX]; /* lower-case word, NUL-terminated; "" when up */
};

struct wire_message {
	enum wire_type type;
	const void *fixed; /* aligned; NULL for types without a struct */
	struct span tail;
	int fd; /* -1 unless the type brings one; the receiver owns it */
};

struct wire;
struct wire_events {
	/* One whole, checked message; its bytes die when it returns. */
	void (*message)(void *arg, const struct wire_message *message);
	/* The other side is gone (err empty) or sent damage (err says what). The last event; wire_free may be called in it. */
	void (*closed)(void *arg, const struct error *err);
	void *arg;
};
/* fd: one end of a SOCK_STREAM socketpair, non-blocking from here on; owned. from_scraper: which direction's types are accepted. */
int wire_new(struct loop *loop, int fd, bool from_scraper, struct wire_events events, struct wire **ret_wire);
void wire_free(struct wire *wire);
/* Queues one message; fixed must be of the type's size. fd (-1: none) is owned by the call, also when it fails.
 * 0; -ENOMEM; -EMSGSIZE when more than 64 MiB or 2,048 descriptors wait (the other side is stuck). */
int wire_send(struct wire *wire, enum wire_type type, const void *fixed, struct span tail, int fd);
/* Bytes that the other side has not taken yet. */
size_t wire_backlog(const struct wire *wire);

/* Checks one message as received: direction, sizes, ranges, text. 0, -EBADMSG with err. Exposed for tests and fuzzing. */
int wire_check(enum wire_type type, bool from_scraper, const void *fixed, size_t fixed_and_tail_len, bool has_fd,
	struct error *err);
/* Size of the fixed struct of a type; 0 for none. */
size_t wire_fixed_size(enum wire_type type);
