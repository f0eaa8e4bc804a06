/* cost_history: what scraping one target costs, kept and judged. Pure bookkeeping: no clock, no I/O.
 *
 * Two sides. The target's: one struct wire_cost a scrape, of which the last COST_HISTORY are kept; figures are medians of these. The
 * agent's: one struct wire_scraped a scrape. Sums never go back while the target lives; a new target starts anew at 0.
 *
 * A figure that is not known is NAN, in sums: not added. It is never 0. None of them is exact: a best estimate says how it was come by
 * and how far to trust it. docs/metrics.md ("What a scrape costs") is the manual for users.
 */
#pragma once

#include "gleaner/wire.h"

enum { COST_HISTORY = 15 };

/* Where the best estimate comes from. */
enum cost_method {
	COST_METHOD_NONE,    /* nothing was measured: bytes and latency only */
	COST_METHOD_CAUSAL,  /* threads on the connection and those that they woke (C) */
	COST_METHOD_PROCESS, /* the process clock less what the process burns between scrapes (PU-b) */
};
const char *cost_method_name(enum cost_method method);

enum cost_confidence { COST_CONFIDENCE_NONE, COST_CONFIDENCE_LOW, COST_CONFIDENCE_MEDIUM, COST_CONFIDENCE_HIGH };
const char *cost_confidence_name(enum cost_confidence confidence);

/* Upper bounds of the histogram, seconds; a last bucket is for what is above. */
enum { COST_BUCKETS = 16 };
extern const double cost_buckets[COST_BUCKETS];

/* Medians of the last scrapes in seconds of CPU a scrape, unless said; NAN: not known. */
struct cost_estimate {
	enum cost_method method;
	enum cost_confidence confidence; /* none without a best estimate */
	const char *why;                 /* one sentence: why this method, or why there is no estimate */
	unsigned scrapes;                /* that it rests on: of the same process, at most COST_HISTORY */
	double lower;                    /* T */
	double best;
	double best_p99;   /* of the same scrapes; of 15 that is the largest */
	double upper;      /* PU */
	double other;      /* X: in other processes; in none of the figures above */
	double tail;       /* after the last byte was sent; in `upper` only */
	double idle;       /* cores that the process burns between scrapes */
	double first_byte; /* at the server, from reading the request to the first write */
	double switches, threads;
};

/* Sums since the target is known. */
struct cost_sums {
	double lower, best, upper, other; /* seconds */
	uint64_t buckets[COST_BUCKETS +
			 1]; /* of the best estimate; not cumulative. Their sum: scrapes that are in `best` */
	uint64_t switches, rx_bytes, tx_bytes;
	uint64_t measured, unmeasured; /* scrapes that BPF recognised, and did not */
};

enum cost_stage { COST_FETCH, COST_PARSE, COST_ENCODE, COST_COMPRESS, COST_STAGES };
const char *cost_stage_name(enum cost_stage stage);

/* The agent's own side. */
struct cost_agent {
	uint64_t scrapes;
	uint64_t cpu_ns[COST_STAGES];
	uint64_t body_bytes, wire_bytes, record_bytes;
};

struct cost_windows;
struct cost_history { /* all zero: new */
	struct cost_windows
		*windows; /* NULL until the first cost comes, so that targets which nobody measures are small */
	struct cost_agent agent;
	float agent_seconds[COST_HISTORY]; /* of the last scrapes, a ring */
};
void cost_history_done(struct cost_history *history);

/* The target's side of one scrape; about 5 us. 0; -ENOMEM (the scrape is not counted). */
int cost_history_add(struct cost_history *history, const struct wire_cost *cost);
/* The agent's side of one scrape. */
void cost_history_scraped(struct cost_history *history, const struct wire_scraped *scraped);

/* Some us. */
struct cost_estimate cost_history_estimate(const struct cost_history *history);
/* All 0 before the first cost. */
struct cost_sums cost_history_sums(const struct cost_history *history);
/* Median and p99 of the agent's CPU seconds of the last scrapes; NAN before the first. */
double cost_history_agent(const struct cost_history *history, double *ret_p99);
