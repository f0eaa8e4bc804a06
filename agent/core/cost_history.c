/* Cost of a scrape: from readings to estimates.
 *
 * Each scrape is kept as a row of small numbers, NAN where something was not seen. An estimate looks at the rows of the present process
 * (one change of pid is a restart: what was before is another program's; more changes are a pool of processes, whose clocks mean nothing
 * to us), takes medians, and picks the method by the table below.
 *
 *   seen                                                            lower  best   upper  method
 *   clock of one process, quiet between scrapes, nobody else served  T      PU-b   PU     process
 *   the same, not quiet or others served                             T      C      PU     causal
 *   no clock, or of changing processes                               T      C      -      causal
 *   no cost programs, clock                                          -      PU-b   PU     process
 *   neither                                                          -      -      -      none
 *
 * Go cannot be told from other programs (threads and names look alike), and there C is up to a quarter low: collectors of the runtime
 * run outside of the request. So without the process clock only a target that answers with a single thread is trusted beyond `low`.
 */
#include "cost_history.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "gleaner/probe.h"

/* What is believed when. `share`: of the idle burn within the window, against the cost itself. */
#define QUIET_SHARE      0.10 /* below: the process clock may be the best estimate */
#define ALONE_SHARE      0.50 /* the same, when there is nothing else to go by */
#define HIGH_SPREAD      1.25 /* upper / lower */
#define MEDIUM_SPREAD    2.00
#define IDLE_GAP_SECONDS 0.1 /* shorter ones tell nothing of the idle burn */
enum { ESTIMATE_SCRAPES = 3, MEDIUM_SCRAPES = 5, HIGH_SCRAPES = 10 };

const double cost_buckets[COST_BUCKETS] = {
	50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5};

/* One scrape; seconds; NAN: not seen. */
struct cost_row {
	float thread, causal, other, tail; /* T, C, X */
	float process, length;             /* PU, and the time between its two readings */
	float idle;                        /* CPU a second since the scrape before */
	float first_byte, switches, threads;
	uint32_t tgid; /* 0: not known */
	bool shared, new_connection;
};

struct cost_windows {
	struct cost_row rows[COST_HISTORY]; /* a ring */
	uint64_t count;                     /* ever added */
	uint64_t process_ns, read_ns;       /* the last reading after a scrape; read_ns 0: none */
	uint32_t process_tgid;
	struct cost_sums sums;
};

/* Rows of the present process, newest first. */
struct cost_view {
	const struct cost_row *rows[COST_HISTORY];
	size_t count;
	bool one_process;
};

const char *cost_method_name(enum cost_method method)
{
	static const char *const names[] = {"none", "causal", "process"};
	return names[method];
}

const char *cost_confidence_name(enum cost_confidence confidence)
{
	static const char *const names[] = {"none", "low", "medium", "high"};
	return names[confidence];
}

const char *cost_stage_name(enum cost_stage stage)
{
	static const char *const names[] = {"fetch", "parse", "encode", "compress"};
	return names[stage];
}

void cost_history_done(struct cost_history *history)
{
	free(history->windows);
	history->windows = NULL;
}

/* ---- one scrape -> a row -------------------------------------------------------------------- */

static float seconds(uint64_t ns)
{
	return (float)((double)ns / 1e9);
}

static float difference(uint64_t from, uint64_t to)
{
	return to >= from ? seconds(to - from) : NAN;
}

/* A window without a send is no answer: its sums have no end. */
static void read_window(const struct wire_cost *cost, struct cost_row *row)
{
	if (!cost->measured || cost->thread_at_send_ns == 0)
		return;
	row->thread = seconds(cost->thread_at_send_ns);
	row->causal = seconds(cost->thread_at_send_ns + cost->causal_at_send_ns);
	row->other = seconds(cost->other_at_send_ns);
	row->switches = (float)cost->switches;
	row->threads = (float)cost->threads;
	row->shared = cost->flags & COST_SHARED;
	if (cost->first_byte_ns > 0)
		row->first_byte = seconds(cost->first_byte_ns);
	if (!row->shared) /* else other clients' work is in it */
		row->tail = difference(cost->thread_at_send_ns, cost->thread_ns) +
			    difference(cost->causal_at_send_ns, cost->causal_ns);
}

static void read_clock(struct cost_windows *windows, const struct wire_cost *cost, struct cost_row *row)
{
	bool known = cost->read_after_ns > 0 && cost->tgid != 0 && cost->process_after_ns >= cost->process_before_ns &&
		     cost->read_after_ns > cost->read_before_ns;
	if (known) {
		row->process = difference(cost->process_before_ns, cost->process_after_ns);
		row->length = difference(cost->read_before_ns, cost->read_after_ns);
	}
	if (known && windows->read_ns > 0 && windows->process_tgid == cost->tgid) {
		float gap = difference(windows->read_ns, cost->read_before_ns);
		if (gap >= IDLE_GAP_SECONDS)
			row->idle = difference(windows->process_ns, cost->process_before_ns) / gap;
	}
	windows->read_ns = known ? cost->read_after_ns : 0;
	windows->process_ns = cost->process_after_ns;
	windows->process_tgid = cost->tgid;
}

/* ---- medians -------------------------------------------------------------------------------- */

struct values {
	float items[COST_HISTORY]; /* sorted */
	size_t count;
};

static void put(struct values *values, float value)
{
	if (isnan(value))
		return;
	size_t i = values->count++;
	for (; i > 0 && values->items[i - 1] > value; i--)
		values->items[i] = values->items[i - 1];
	values->items[i] = value;
}

static double median(const struct values *values)
{
	size_t n = values->count;
	if (n == 0)
		return NAN;
	return ((double)values->items[(n - 1) / 2] + (double)values->items[n / 2]) / 2;
}

/* Nearest rank. */
static double p99(const struct values *values)
{
	size_t n = values->count;
	return n == 0 ? NAN : (double)values->items[(99 * n + 99) / 100 - 1];
}

static struct values column(const struct cost_view *view, size_t offset)
{
	struct values values = {.count = 0};
	for (size_t i = 0; i < view->count; i++) {
		float value;
		memcpy(&value, (const char *)view->rows[i] + offset, sizeof(value));
		put(&values, value);
	}
	return values;
}
#define COLUMN(view, field) column((view), offsetof(struct cost_row, field))

/* ---- rows -> estimate ------------------------------------------------------------------------ */

static struct cost_view view_of(const struct cost_windows *windows)
{
	struct cost_view view = {.one_process = true};
	size_t kept = windows->count < COST_HISTORY ? (size_t)windows->count : COST_HISTORY;
	size_t changes = 0, since_change = kept;
	uint32_t tgid = 0;
	for (size_t i = 0; i < kept; i++) {
		const struct cost_row *row = &windows->rows[(windows->count - 1 - i) % COST_HISTORY];
		view.rows[i] = row;
		if (row->tgid != 0 && tgid != 0 && row->tgid != tgid && changes++ == 0)
			since_change = i;
		tgid = row->tgid != 0 ? row->tgid : tgid;
	}
	view.one_process = changes <= 1;
	view.count = view.one_process ? since_change : kept;
	return view;
}

/* More than a tenth of the rows. */
static bool often(size_t count, size_t of)
{
	return 10 * count > of;
}

static bool often_shared(const struct cost_view *view)
{
	size_t count = 0;
	for (size_t i = 0; i < view->count; i++)
		count += view->rows[i]->shared;
	return often(count, view->count);
}

static bool often_new_connection(const struct cost_view *view)
{
	size_t count = 0;
	for (size_t i = 0; i < view->count; i++)
		count += view->rows[i]->new_connection;
	return often(count, view->count);
}

/* PU-b of one scrape. */
static float process_figure(const struct cost_row *row, double idle)
{
	double figure = (double)row->process - idle * (double)row->length;
	return (float)(isnan(figure) || figure > 0 ? figure : 0);
}

/* The figure of the method, for one scrape; NAN when it has none. */
static float row_figure(const struct cost_row *row, const struct cost_estimate *estimate)
{
	return estimate->method == COST_METHOD_PROCESS ? process_figure(row, estimate->idle) : row->causal;
}

static struct values figures(const struct cost_view *view, const struct cost_estimate *estimate)
{
	struct values values = {.count = 0};
	for (size_t i = 0; i < view->count; i++)
		put(&values, row_figure(view->rows[i], estimate));
	return values;
}

/* What goes on in the process anyway, as a share of what the scrape costs; NAN: not known yet. */
static double idle_share(const struct cost_view *view, const struct cost_estimate *estimate, double cost)
{
	struct values lengths = COLUMN(view, length);
	double burnt = estimate->idle * median(&lengths);
	return cost > 0 || isnan(cost) ? burnt / cost : burnt > 0 ? INFINITY : 0;
}

struct judged {
	struct cost_view view;
	bool windows, clock; /* seen at all */
	bool shared;
	double process_share; /* idle_share against PU-b */
};

static const char *why_causal(const struct judged *judged)
{
	if (!judged->view.one_process)
		return "threads that answered and those they woke; the processes that answer change";
	if (!judged->clock)
		return "threads that answered and those they woke; the process clock is not visible (hostPID)";
	if (judged->shared)
		return "threads that answered and those they woke; the process served others meanwhile";
	if (isnan(judged->process_share))
		return "threads that answered and those they woke; what the process burns between scrapes is not known";
	return "threads that answered and those they woke; the process is busy between scrapes, too";
}

/* The table at the top of this file. */
static void choose_method(struct judged *judged, struct cost_estimate *estimate)
{
	struct cost_estimate process = *estimate;
	process.method = COST_METHOD_PROCESS;
	struct values process_values = figures(&judged->view, &process);
	judged->process_share = idle_share(&judged->view, estimate, median(&process_values));
	if (!judged->windows && !judged->clock) {
		estimate->method = COST_METHOD_NONE;
		estimate->why =
			"nothing is measured: the probe's cost programs and the process's clock are both missing";
	} else if (!judged->windows) {
		estimate->method = COST_METHOD_PROCESS;
		estimate->why = "process clock, less what the process burns between scrapes; no cost programs run";
	} else if (!judged->clock) {
		estimate->method = COST_METHOD_CAUSAL;
		estimate->why = judged->view.one_process
					? "threads that answered and those they woke; the process clock is not visible "
					  "(hostPID)"
					: "threads that answered and those they woke; the processes that answer change";
	} else if (judged->process_share < QUIET_SHARE && !judged->shared) {
		estimate->method = COST_METHOD_PROCESS;
		estimate->why = "process clock, less what the process burns between scrapes, which is little";
	} else {
		estimate->method = COST_METHOD_CAUSAL;
		estimate->why = why_causal(judged);
	}
}

static void estimate_best(const struct judged *judged, struct cost_estimate *estimate)
{
	struct values values = figures(&judged->view, estimate);
	estimate->scrapes = (unsigned)values.count;
	if (estimate->method == COST_METHOD_NONE)
		return;
	double best = median(&values), share = idle_share(&judged->view, estimate, best);
	if (estimate->method == COST_METHOD_PROCESS && isnan(best)) /* PU without a gap before it */
		estimate->scrapes = (unsigned)COLUMN(&judged->view, process).count;
	if (values.count < ESTIMATE_SCRAPES) {
		estimate->why = "fewer than 3 scrapes of this process are measured";
	} else if (!judged->windows && !(share < ALONE_SHARE)) {
		estimate->why = "the process burns too much between scrapes to tell a scrape from the rest";
	} else {
		estimate->best = best;
		estimate->best_p99 = p99(&values);
	}
}

static enum cost_confidence confidence_of(const struct judged *judged, const struct cost_estimate *estimate)
{
	double floor = isnan(estimate->lower) ? estimate->best : estimate->lower;
	double spread = estimate->upper / floor; /* NAN without an upper bound */
	bool bounded = !isnan(estimate->lower) && !isnan(estimate->upper);
	if (isnan(estimate->best))
		return COST_CONFIDENCE_NONE;
	if (bounded && estimate->scrapes >= HIGH_SCRAPES && spread <= HIGH_SPREAD &&
		judged->process_share < QUIET_SHARE && !often_new_connection(&judged->view))
		return COST_CONFIDENCE_HIGH;
	if (estimate->scrapes < MEDIUM_SCRAPES)
		return COST_CONFIDENCE_LOW;
	if (isnan(estimate->upper)) /* the head of this file says why */
		return estimate->threads <= 1 ? COST_CONFIDENCE_MEDIUM : COST_CONFIDENCE_LOW;
	return spread <= MEDIUM_SPREAD ? COST_CONFIDENCE_MEDIUM : COST_CONFIDENCE_LOW;
}

static struct cost_estimate estimate_nothing(void)
{
	return (struct cost_estimate){
		.why = "",
		.lower = NAN,
		.best = NAN,
		.best_p99 = NAN,
		.upper = NAN,
		.other = NAN,
		.tail = NAN,
		.idle = NAN,
		.first_byte = NAN,
		.switches = NAN,
		.threads = NAN,
	};
}

static void estimate_medians(const struct judged *judged, struct cost_estimate *estimate)
{
	const struct cost_view *view = &judged->view;
	struct values thread = COLUMN(view, thread), process = COLUMN(view, process), other = COLUMN(view, other);
	struct values tail = COLUMN(view, tail), idle = COLUMN(view, idle), first_byte = COLUMN(view, first_byte);
	struct values switches = COLUMN(view, switches), threads = COLUMN(view, threads);
	estimate->lower = median(&thread);
	estimate->other = median(&other);
	estimate->tail = median(&tail);
	estimate->first_byte = median(&first_byte);
	estimate->switches = median(&switches);
	estimate->threads = median(&threads);
	if (judged->clock) {
		estimate->upper = median(&process);
		estimate->idle = median(&idle);
	}
}

static struct cost_estimate estimate(const struct cost_windows *windows)
{
	struct cost_estimate result = estimate_nothing();
	struct judged judged = {.view = view_of(windows)};
	judged.windows = COLUMN(&judged.view, thread).count > 0;
	judged.clock = judged.view.one_process && COLUMN(&judged.view, process).count > 0;
	judged.shared = often_shared(&judged.view);
	estimate_medians(&judged, &result);
	choose_method(&judged, &result);
	estimate_best(&judged, &result);
	result.confidence = confidence_of(&judged, &result);
	return result;
}

struct cost_estimate cost_history_estimate(const struct cost_history *history)
{
	static const struct cost_windows none;
	return estimate(history->windows ? history->windows : &none);
}

/* ---- sums ------------------------------------------------------------------------------------ */

static void add_seconds(double *sum, float value)
{
	if (!isnan(value))
		*sum += (double)value;
}

static void count_figure(struct cost_sums *sums, double figure)
{
	size_t i = 0;
	while (i < COST_BUCKETS && figure > cost_buckets[i])
		i++;
	sums->buckets[i]++;
	sums->best += figure;
}

/* `best` grows by this scrape's own figure of the method that holds now, and only while there is a best estimate. */
static void add_to_sums(struct cost_windows *windows, const struct wire_cost *cost, const struct cost_row *row)
{
	struct cost_sums *sums = &windows->sums;
	bool measured = !isnan(row->thread);
	sums->measured += measured;
	sums->unmeasured += !measured;
	add_seconds(&sums->lower, row->thread);
	add_seconds(&sums->other, row->other);
	if (measured) {
		sums->switches += cost->switches;
		sums->rx_bytes += cost->rx_bytes;
		sums->tx_bytes += cost->tx_bytes;
	}
	struct cost_estimate now = estimate(windows);
	float figure = row_figure(row, &now);
	if (!isnan(now.upper))
		add_seconds(&sums->upper, row->process);
	if (!isnan(now.best) && !isnan(figure))
		count_figure(sums, (double)figure);
}

int cost_history_add(struct cost_history *history, const struct wire_cost *cost)
{
	if (!history->windows)
		history->windows = calloc(1, sizeof(*history->windows));
	struct cost_windows *windows = history->windows;
	if (!windows)
		return -ENOMEM;
	struct cost_row row = {
		.thread = NAN,
		.causal = NAN,
		.other = NAN,
		.tail = NAN,
		.process = NAN,
		.length = NAN,
		.idle = NAN,
		.first_byte = NAN,
		.switches = NAN,
		.threads = NAN,
		.tgid = cost->tgid,
		.new_connection = cost->new_connection != 0,
	};
	read_window(cost, &row);
	read_clock(windows, cost, &row);
	windows->rows[windows->count++ % COST_HISTORY] = row;
	add_to_sums(windows, cost, &row);
	return 0;
}

struct cost_sums cost_history_sums(const struct cost_history *history)
{
	return history->windows ? history->windows->sums : (struct cost_sums){0};
}

/* ---- the agent's side -------------------------------------------------------------------------- */

void cost_history_scraped(struct cost_history *history, const struct wire_scraped *scraped)
{
	struct cost_agent *agent = &history->agent;
	uint64_t stages[COST_STAGES] = {
		scraped->fetch_cpu_ns, scraped->parse_cpu_ns, scraped->encode_cpu_ns, scraped->compress_cpu_ns};
	uint64_t all = 0;
	for (size_t i = 0; i < COST_STAGES; i++) {
		agent->cpu_ns[i] += stages[i];
		all += stages[i];
	}
	agent->body_bytes += scraped->body_bytes;
	agent->wire_bytes += scraped->wire_bytes;
	agent->record_bytes += scraped->record_bytes;
	history->agent_seconds[agent->scrapes++ % COST_HISTORY] = seconds(all);
}

double cost_history_agent(const struct cost_history *history, double *ret_p99)
{
	struct values values = {.count = 0};
	for (size_t i = 0; i < COST_HISTORY && i < history->agent.scrapes; i++)
		put(&values, history->agent_seconds[i]);
	*ret_p99 = p99(&values);
	return median(&values);
}
