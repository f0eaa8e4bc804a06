/* A window around a request, beside the truth: what the cost test, the exporters' test and the bench share.
 *
 * Medians only: single figures are off by what the hypervisor and interrupts take, which BPF's clock counts and a thread's does not.
 */
#pragma once

#include "core/cost_history.h"
#include "truth.h"

struct bench {
	struct loader loader;
	struct cost cost;
	struct netns netns;
	uint16_t next_port; /* a fresh one each time: processes of the last server may still be dying */
	unsigned runs;      /* of each scenario: odd, the middle of each figure counts */
	int gap_ms;         /* between two requests: the process clock's idle rate is taken from it */
	/* Over all rows so far: figures that must be bounds, and those that are. */
	unsigned lowers, lowers_held, uppers, uppers_held;
	unsigned high,
		high_wrong; /* runs after which the agent would be sure of its estimate, and those where it is wrong */
	unsigned missed;    /* rows beyond a bar */
	unsigned unseen;    /* requests that BPF did not recognise */
};

/* Starts a loader (extra: as of loader_start) and makes a namespace. */
void bench_start(struct bench *bench, const char *const *extra);
/* No window may be open, no thread or connection may have found a map full. */
void bench_stop(struct bench *bench);

enum { MEASURE_SLOT = 3, SETTLE_MS = 3, PROCESS_SETTLE_MS = 2 /* after that: the clock of a running process lags */ };

/* Connects to a port of the namespace's loopback, known to BPF before its first byte. */
int connect_measured(struct bench *bench, uint16_t port);

/* ---- rows of the table ------------------------------------------------------------------- */

enum figure { TRUTH_US, T, C, T2, C2, PU, PU_B, BEST, X_TRUTH_US, X, FIGURES }; /* errors in percent of the truth */

struct result {
	double value[FIGURES]; /* NAN: there is none */
	unsigned scrapes, recognised, exact_bytes, right_pid;
	/* What the agent would publish: of the last run, and how often it was sure of itself, and wrong by more than 5 %. */
	enum cost_method method;
	enum cost_confidence confidence;
	unsigned high, high_wrong;
};

/* A process clock around a window, by the monotonic clock. */
struct clocked {
	pid_t pid;
	uint64_t before_cpu_ns, before_ns, after_cpu_ns, after_ns;
};
/* Tells the agent's own bookkeeping of one window. Times go in stretched, for the agent believes no idle rate of a gap below 100 ms. */
void remember(struct bench *bench, struct cost_history *history, const struct cost_slot *slot,
	const struct clocked *clocked, bool new_connection);
/* Sets what concerns the agent's estimate, against the truth of its last scrapes. */
void judge_estimate(const struct cost_history *history, double truth_ns, struct result *result);

/* Limits of an error in percent: those of a quiet machine, and those of an emulated or a busy one. */
struct bar {
	enum figure of;
	double low, high, wide_low, wide_high;
};

struct row {
	const char *name, *with; /* with: "close", ... */
	uint32_t work_us;        /* 0: not ours to say */
	struct bar bars[2];
	unsigned bar_count;
};

/* The middle of each figure of an odd number of results; counts are summed. Sorts nothing of the caller's. */
struct result middle_of(const struct result *results, unsigned count);

/* Whether its errors are within the limits that count here. */
bool row_holds(const struct row *row, const struct result *result);

void print_head(void);
/* Prints the row, judges its bars and counts both into the bench. */
void print_row(struct bench *bench, const struct row *row, const struct result *result);
/* What the bounds came to; false when too few held. */
bool print_bounds(const struct bench *bench);

/* A test must not fail for its neighbours' work: by default the wide limits count, with GLEANER_STRICT=1 those of a quiet machine. */
bool strict(void);
/* Clock ticks that the hypervisor took since the boot. */
uint64_t stolen_ticks(void);

/* ---- scenarios: servers that know the truth ------------------------------------------------- */

enum { KEPT = 0, CLOSED = 1, OTHER_CLIENTS = 2, BACKGROUND = 4 };

struct scenario {
	const char *name;
	enum truth_mode mode;
	uint32_t work_us;
	unsigned with;
};

/* The middle of bench->runs runs of 50 requests each. */
struct result run_scenario(struct bench *bench, const struct scenario *scenario);
/* The row of it, with the bars that its architecture has. */
struct row row_of(const struct scenario *scenario);

/* One run; once connected, `beside` (which never returns; may be NULL) runs in another process meanwhile. */
struct result run_beside(struct bench *bench, const struct scenario *scenario, void (*beside)(struct bench *bench));
