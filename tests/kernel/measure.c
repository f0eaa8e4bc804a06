#include "measure.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SCRAPES = 50, BODY = 20000, OTHERS = 2, RUNS_MAX = 9 };

/* ---- set-up ------------------------------------------------------------------------------------------- */

void bench_start(struct bench *bench, const char *const *extra)
{
	int slots, shared;
	*bench = (struct bench){.next_port = 9100, .runs = 3, .gap_ms = 1};
	loader_start(&bench->loader, extra);
	assert_int_equal(probe_cost_fds(bench->loader.probe, &slots, &shared), 0);
	assert_int_equal(cost_map(slots, shared, &bench->cost), 0);
	netns_new(&bench->netns);
}

void bench_stop(struct bench *bench)
{
	assert_int_equal(bench->cost.shared->active, 0);
	assert_int_equal(bench->cost.shared->no_mark + bench->cost.shared->no_watch, 0);
	netns_free(&bench->netns);
	cost_unmap(&bench->cost);
	loader_stop(&bench->loader);
}

bool strict(void)
{
	return getenv("GLEANER_STRICT") != NULL;
}

/* In tools/kernel-matrix, where times mean little. */
static bool emulated(void)
{
	return getenv("GLEANER_EMULATED") != NULL;
}

uint64_t stolen_ticks(void)
{
	unsigned long long stolen = 0;
	FILE *stat = fopen("/proc/stat", "r");
	if (!stat || fscanf(stat, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &stolen) != 1)
		stolen = 0;
	if (stat)
		fclose(stat);
	return stolen;
}

/* ---- figures ------------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* Of those that are there; NAN when fewer than half are. */
static double median(const double *values, size_t count)
{
	double sorted[SCRAPES];
	size_t there = 0;
	for (size_t i = 0; i < count; i++)
		if (!isnan(values[i]))
			sorted[there++] = values[i];
	if (there == 0 || there < count / 2)
		return NAN;
	qsort(sorted, there, sizeof(sorted[0]), by_value);
	return sorted[there / 2];
}

struct result middle_of(const struct result *results, unsigned count)
{
	struct result middle = {0};
	double values[RUNS_MAX];
	assert_true(count <= RUNS_MAX);
	for (int figure = 0; figure < FIGURES; figure++) {
		for (unsigned i = 0; i < count; i++)
			values[i] = results[i].value[figure];
		middle.value[figure] = median(values, count);
	}
	for (unsigned i = 0; i < count; i++) {
		middle.scrapes += results[i].scrapes;
		middle.recognised += results[i].recognised;
		middle.exact_bytes += results[i].exact_bytes;
		middle.right_pid += results[i].right_pid;
		middle.high += results[i].high;
		middle.high_wrong += results[i].high_wrong;
	}
	middle.method = results[count - 1].method;
	middle.confidence = results[count - 1].confidence;
	return middle;
}

/* ---- the table ---------------------------------------------------------------------------------------- */

static const char *const figure_names[FIGURES] = {[T] = "T", [C] = "C", [PU] = "PU", [PU_B] = "PU-b", [X] = "X"};

void print_head(void)
{
	print_message("%-18s %-9s %5s %8s %7s %7s %7s %7s %8s %7s %7s %-14s %5s %6s  %s\n", "server", "with", "us",
		"truth us", "T %", "C %", "T2 %", "C2 %", "PU %", "PU-b %", "best %", "by, confidence", "seen", "bytes",
		"bars");
}

static void print_percent(int width, double value)
{
	if (isnan(value))
		print_message(" %*s", width, "-");
	else
		print_message(" %+*.1f", width, value);
}

static bool within(const struct bar *bar, double value, bool exactly)
{
	double low = exactly ? bar->low : bar->wide_low, high = exactly ? bar->high : bar->wide_high;
	return value >= low && value <= high;
}

static void print_bar(const struct bar *bar, double value)
{
	const char *of = figure_names[bar->of];
	bool exactly = !emulated();
	double low = exactly ? bar->low : bar->wide_low, high = exactly ? bar->high : bar->wide_high;
	if (low <= -100)
		print_message(" %s <= %+.0f", of, high);
	else if (high >= 100)
		print_message(" %s >= %+.0f", of, low);
	else
		print_message(" %s %+.0f..%+.0f", of, low, high);
	print_message(" %s", within(bar, value, exactly) ? "ok" : "MISSED");
}

static void count_bounds(struct bench *bench, const struct result *result)
{
	bench->high += result->high;
	bench->high_wrong += result->high_wrong;
	bench->lowers++;
	bench->lowers_held += result->value[T] <= 3;
	if (isnan(result->value[PU]))
		return;
	bench->uppers++;
	bench->uppers_held += result->value[PU] >= -3;
}

static void print_count(int width, unsigned count, unsigned of)
{
	if (count == of)
		print_message(" %*s", width, "all");
	else if (count == 0)
		print_message(" %*s", width, "-");
	else
		print_message(" %*.0f%%", width - 1, 100.0 * count / of);
}

bool row_holds(const struct row *row, const struct result *result)
{
	/* That T of short work misses its bar is known, and said in docs/ebpf.md. */
	bool is_short = row->work_us > 0 && row->work_us < 500;
	for (unsigned i = 0; i < row->bar_count; i++)
		if (!within(&row->bars[i], result->value[row->bars[i].of], strict() && !is_short))
			return false;
	return true;
}

void print_row(struct bench *bench, const struct row *row, const struct result *result)
{
	char us[16] = "";
	if (row->work_us > 0)
		snprintf(us, sizeof(us), "%u", row->work_us);
	print_message("%-18s %-9s %5s %8.0f", row->name, row->with, us, result->value[TRUTH_US]);
	for (int figure = T; figure <= C2; figure++)
		print_percent(7, result->value[figure]);
	print_percent(8, result->value[PU]);
	print_percent(7, result->value[PU_B]);
	print_percent(7, result->value[BEST]);
	print_message(" %-7s %-6s", cost_method_name(result->method), cost_confidence_name(result->confidence));
	print_count(5, result->recognised, result->scrapes);
	print_count(6, result->exact_bytes, result->scrapes);
	print_message(" ");
	for (unsigned i = 0; i < row->bar_count; i++)
		print_bar(&row->bars[i], result->value[row->bars[i].of]);
	print_message("\n");
	if (!isnan(result->value[X]))
		print_message("%-18s %-9s %5s %8.0f %+7.1f  (X)\n", "  its upstream", "", "", result->value[X_TRUTH_US],
			result->value[X]);
	bench->missed += !row_holds(row, result);
	bench->unseen += result->scrapes - result->recognised;
	count_bounds(bench, result);
}

bool print_bounds(const struct bench *bench)
{
	unsigned all = bench->lowers + bench->uppers, held = bench->lowers_held + bench->uppers_held;
	bool enough = held * 100 >= all * 95;
	print_message("bounds: T <= 1.03 truth in %u of %u rows, truth <= 1.03 PU in %u of %u; 95 %% of them: %s\n",
		bench->lowers_held, bench->lowers, bench->uppers_held, bench->uppers, enough ? "ok" : "MISSED");
	if (bench->high > 0)
		print_message("confidence: high after %u runs, best within 5 %% in all but %u of them: %s\n",
			bench->high, bench->high_wrong, bench->high_wrong == 0 ? "ok" : "MISSED");
	if (!strict())
		return held * 100 >= all * 70;
	return enough && bench->high_wrong == 0;
}

/* ---- what the agent would say ----------------------------------------------------------------------- */

void remember(struct bench *bench, struct cost_history *history, const struct cost_slot *slot,
	const struct clocked *clocked, bool new_connection)
{
	uint64_t stretch = (uint64_t)(200 / bench->gap_ms);
	struct wire_cost cost = {
		.measured = 1,
		.thread_ns = slot->thread.cpu_ns,
		.causal_ns = slot->causal.cpu_ns,
		.other_ns = slot->other.cpu_ns,
		.thread_at_send_ns = slot->thread.cpu_at_send_ns,
		.causal_at_send_ns = slot->causal.cpu_at_send_ns,
		.other_at_send_ns = slot->other.cpu_at_send_ns,
		.first_byte_ns = slot->first_send_ns - slot->first_recv_ns,
		.flags = slot->flags,
		.tgid = slot->tgid,
		.threads = slot->thread.threads + slot->causal.threads,
		.new_connection = new_connection,
	};
	if ((pid_t)slot->tgid == clocked->pid && clocked->after_cpu_ns >= clocked->before_cpu_ns) {
		cost.process_before_ns = clocked->before_cpu_ns;
		cost.process_after_ns = clocked->after_cpu_ns;
		cost.read_before_ns = clocked->before_ns * stretch;
		cost.read_after_ns = clocked->after_ns * stretch;
	}
	assert_int_equal(cost_history_add(history, &cost), 0);
}

void judge_estimate(const struct cost_history *history, double truth_ns, struct result *result)
{
	struct cost_estimate estimate = cost_history_estimate(history);
	double error = 100 * (estimate.best * 1e9 / truth_ns - 1);
	result->value[BEST] = error;
	result->method = estimate.method;
	result->confidence = estimate.confidence;
	result->high = estimate.confidence == COST_CONFIDENCE_HIGH;
	result->high_wrong = result->high && fabs(error) > 5;
}

/* ---- the client --------------------------------------------------------------------------------------- */

int connect_measured(struct bench *bench, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = netns_socket(&bench->netns, AF_INET, 0), on = 1;
	assert_true(fd >= 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	assert_int_equal(cost_dial(&bench->cost, MEASURE_SLOT, fd), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_true(cost_dialed(&bench->cost, MEASURE_SLOT));
	return fd;
}

static void request(int fd, uint32_t sequence, uint32_t work_us)
{
	static char body[BODY];
	struct truth_request ask = {sequence, work_us};
	if (send(fd, &ask, sizeof(ask), MSG_NOSIGNAL) != (ssize_t)sizeof(ask) ||
		recv(fd, body, BODY, MSG_WAITALL) != BODY)
		fail_msg("request %u failed", sequence);
}

/* Two more clients of the same server, busy about half of the time. */
static pid_t start_others(struct bench *bench, const struct truth_server *server)
{
	pid_t child = fork();
	if (child != 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int fds[OTHERS];
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(server->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	for (int i = 0; i < OTHERS; i++) {
		fds[i] = netns_socket(&bench->netns, AF_INET, 0);
		if (connect(fds[i], (struct sockaddr *)&to, sizeof(to)) < 0)
			_exit(1);
	}
	for (;;)
		for (int i = 0; i < OTHERS; i++) {
			request(fds[i], TRUTH_NOT_OURS, 300);
			poll(NULL, 0, 1);
		}
}

/* ---- one run of a scenario ---------------------------------------------------------------------------- */

/* Of one run, ns of CPU each. The process clock is that of the process which answered last, as the agent knows no other. */
struct figures {
	double truth[SCRAPES], thread[SCRAPES], causal[SCRAPES], thread_tail[SCRAPES], causal_tail[SCRAPES];
	double process[SCRAPES], process_ns[SCRAPES], idle_rate[SCRAPES];
	double other_truth[SCRAPES], other[SCRAPES];
	unsigned recognised, exact_bytes, right_pid;
	pid_t pid;
	struct cost_history history;
};

static void note_slot(const struct bench *bench, const struct truth_server *server, struct figures *figures, unsigned i,
	const struct cost_slot *slot)
{
	figures->pid = (pid_t)slot->tgid;
	figures->recognised++;
	figures->exact_bytes += slot->tx_bytes == BODY && slot->rx_bytes == sizeof(struct truth_request);
	figures->right_pid += (pid_t)slot->tgid == server->pid && slot->netns == bench->netns.inode &&
			      slot->local_port == server->port;
	figures->thread[i] = (double)slot->thread.cpu_at_send_ns;
	figures->causal[i] = (double)(slot->thread.cpu_at_send_ns + slot->causal.cpu_at_send_ns);
	figures->thread_tail[i] = (double)slot->thread.cpu_ns;
	figures->causal_tail[i] = (double)(slot->thread.cpu_ns + slot->causal.cpu_ns);
	figures->other[i] = (double)slot->other.cpu_at_send_ns;
}

/* The connection is *fd; a new one is made within the process clock's window, as the agent does. */
static void scrape(struct bench *bench, const struct truth_server servers[2], const struct scenario *scenario, int *fd,
	unsigned i, struct figures *figures)
{
	struct cost_slot slot;
	const struct truth_server *server = &servers[0];
	struct clocked clocked = {.pid = figures->pid};
	uint64_t idle_cpu = process_cpu_ns(clocked.pid), idle = now_ns();
	poll(NULL, 0, bench->gap_ms);
	clocked.before_cpu_ns = process_cpu_ns(clocked.pid);
	clocked.before_ns = now_ns();
	if (scenario->with & CLOSED) {
		close(*fd);
		*fd = connect_measured(bench, server->port);
	}
	cost_open(&bench->cost, MEASURE_SLOT, server->port, now_ns());
	request(*fd, i, scenario->work_us);
	poll(NULL, 0, SETTLE_MS);
	bool recognised = cost_close(&bench->cost, MEASURE_SLOT, &slot);
	poll(NULL, 0, PROCESS_SETTLE_MS);
	clocked.after_cpu_ns = process_cpu_ns(clocked.pid);
	clocked.after_ns = now_ns();
	figures->idle_rate[i] = (double)(clocked.before_cpu_ns - idle_cpu) / (double)(clocked.before_ns - idle);
	figures->process_ns[i] = (double)(clocked.after_ns - clocked.before_ns);
	figures->process[i] = NAN;
	figures->truth[i] = (double)server->cost_ns[i];
	figures->other_truth[i] = scenario->mode == TRUTH_PROXY ? (double)servers[1].cost_ns[i] : NAN;
	if (!recognised)
		return;
	if ((pid_t)slot.tgid == clocked.pid && clocked.after_cpu_ns > clocked.before_cpu_ns)
		figures->process[i] = (double)(clocked.after_cpu_ns - clocked.before_cpu_ns);
	note_slot(bench, server, figures, i, &slot);
	remember(bench, &figures->history, &slot, &clocked, scenario->with & CLOSED);
}

static double error_of(const double *values, double truth)
{
	return 100 * (median(values, SCRAPES) / truth - 1);
}

static struct result result_of(struct figures *figures)
{
	double truth = median(figures->truth, SCRAPES), other = median(figures->other_truth, SCRAPES);
	double idle = median(figures->idle_rate, SCRAPES), without_idle[SCRAPES];
	for (unsigned i = 0; i < SCRAPES; i++)
		without_idle[i] = figures->process[i] - idle * figures->process_ns[i];
	struct result result = {
		.value = {[TRUTH_US] = truth / 1e3,
			[T] = error_of(figures->thread, truth),
			[C] = error_of(figures->causal, truth),
			[T2] = error_of(figures->thread_tail, truth),
			[C2] = error_of(figures->causal_tail, truth),
			[PU] = error_of(figures->process, truth),
			[PU_B] = error_of(without_idle, truth),
			[X_TRUTH_US] = other / 1e3,
			[X] = error_of(figures->other, other)},
		.scrapes = SCRAPES,
		.recognised = figures->recognised,
		.exact_bytes = figures->exact_bytes,
		.right_pid = figures->right_pid,
	};
	const unsigned last = SCRAPES - COST_HISTORY;
	judge_estimate(&figures->history, median(figures->truth + last, COST_HISTORY), &result);
	cost_history_done(&figures->history);
	return result;
}

static pid_t start_beside(struct bench *bench, void (*beside)(struct bench *bench))
{
	pid_t child = fork();
	if (child != 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	beside(bench);
	_exit(1);
}

static void stop_child(pid_t child)
{
	if (child <= 0)
		return;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void scrape_all(struct bench *bench, const struct truth_server servers[2], const struct scenario *scenario,
	struct figures *figures, void (*beside)(struct bench *bench))
{
	int fd = connect_measured(bench, servers[0].port);
	request(fd, TRUTH_NOT_OURS, 100); /* the server is warm, and on its feet */
	poll(NULL, 0, 5);
	pid_t another = beside ? start_beside(bench, beside) : 0;
	for (unsigned i = 0; i < SCRAPES; i++)
		scrape(bench, servers, scenario, &fd, i, figures);
	stop_child(another);
	close(fd);
}

struct result run_beside(struct bench *bench, const struct scenario *scenario, void (*beside)(struct bench *bench))
{
	struct figures figures = {0};
	uint16_t port = bench->next_port, upstream = port + 1;
	bool proxy = scenario->mode == TRUTH_PROXY;
	struct truth_server servers[2] = {
		{.mode = scenario->mode,
			.body_bytes = BODY,
			.background = scenario->with & BACKGROUND,
			.port = port,
			.upstream_port = upstream},
		{.mode = TRUTH_THREAD, .body_bytes = BODY, .port = upstream},
	};
	bench->next_port += 2;
	truth_start(&servers[0], &bench->netns);
	if (proxy)
		truth_start(&servers[1], &bench->netns);
	figures.pid = servers[0].pid;
	pid_t others = (scenario->with & OTHER_CLIENTS) ? start_others(bench, &servers[0]) : 0;
	scrape_all(bench, servers, scenario, &figures, beside);
	stop_child(others);
	truth_stop(&servers[0]);
	if (proxy)
		truth_stop(&servers[1]);
	return result_of(&figures);
}

/* ---- scenarios ------------------------------------------------------------------------------------------ */

struct result run_scenario(struct bench *bench, const struct scenario *scenario)
{
	struct result results[RUNS_MAX];
	for (unsigned i = 0; i < bench->runs; i++)
		results[i] = run_beside(bench, scenario, NULL);
	return middle_of(results, bench->runs);
}

struct row row_of(const struct scenario *scenario)
{
	struct row row = {.name = scenario->name, .work_us = scenario->work_us};
	/* What comes before the first hook and after the last is 5 to 15 us, emulated 50, that T never sees. */
	const double wide = scenario->work_us < 500 ? -40 : -20;
	row.with = scenario->with & CLOSED          ? "close"
		   : scenario->with & OTHER_CLIENTS ? "2 clients"
		   : scenario->with & BACKGROUND    ? "30 % CPU"
						    : "";
	switch (scenario->mode) {
	case TRUTH_THREAD:
	case TRUTH_LOOP:
		if (scenario->with == KEPT)
			row.bars[1] = (struct bar){PU_B, -3, 3, -20, 20};
		/* fall through */
	case TRUTH_PREFORK:
	case TRUTH_FORK:
		row.bars[0] = (struct bar){T, -4, 4, wide, 20};
		row.bar_count = row.bars[1].of ? 2 : 1;
		break;
	case TRUTH_POOL:
		row.bars[0] = (struct bar){C, -10, 10, -30, 30};
		row.bar_count = scenario->work_us >= 500;
		break;
	case TRUTH_WORKERS:
		row.bars[0] = (struct bar){C, -5, 25, -30, 50};
		row.bar_count = scenario->work_us >= 500;
		break;
	case TRUTH_PROXY:
		row.bars[0] = (struct bar){X, -5, 5, -25, 25};
		row.bar_count = 1;
		break;
	case TRUTH_SLEEPING:
	case TRUTH_SENDFILE:
		break;
	}
	return row;
}
