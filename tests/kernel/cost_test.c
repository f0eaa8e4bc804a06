/* What BPF says a request cost the server, beside what the server's own thread clocks say. Prints the table of errors.
 *
 * Medians only: single figures are off by what the hypervisor and interrupts take, which BPF's clock counts and a thread's does not.
 */
#include "truth.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SCRAPES = 50, BODY = 20000, SETTLE_MS = 3, OTHERS = 2, SLOT = 3 };

enum { ALONE, RECONNECT = 1, OTHER_CLIENTS = 2, BACKGROUND = 4 };

/* What the error must be within, in percent. */
struct bar {
	char of; /* 'T', 'C', 'X' */
	double low, high;
};

struct scenario {
	const char *name;
	enum truth_mode mode;
	uint32_t work_us;
	unsigned with;
	const struct bar *bar; /* or NULL */
};

struct figures {
	uint64_t truth[SCRAPES], thread[SCRAPES], causal[SCRAPES], thread_tail[SCRAPES], causal_tail[SCRAPES],
		process[SCRAPES];
	uint64_t other_truth[SCRAPES], other[SCRAPES];
	unsigned recognised, exact_bytes, shared, right_pid;
};

struct bench {
	struct loader loader;
	struct cost cost;
	struct netns netns;
	uint16_t next_port; /* a fresh one each time: processes of the last server may still be dying */
};

/* ---- the client ------------------------------------------------------------------------------------- */

static int connect_measured(struct bench *bench, const struct truth_server *server)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(server->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = netns_socket(&bench->netns, AF_INET, 0), on = 1;
	assert_true(fd >= 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	assert_int_equal(cost_dial(&bench->cost, SLOT, fd), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_true(cost_dialed(&bench->cost, SLOT));
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

static void scrape(struct bench *bench, const struct truth_server servers[2], const struct scenario *scenario, int fd,
	unsigned i, struct figures *figures)
{
	struct cost_slot slot;
	const struct truth_server *server = &servers[0];
	uint64_t process = process_cpu_ns(server->pid);
	cost_open(&bench->cost, SLOT, server->port, now_ns());
	request(fd, i, scenario->work_us);
	poll(NULL, 0, SETTLE_MS);
	bool recognised = cost_close(&bench->cost, SLOT, &slot);
	poll(NULL, 0, 2);
	figures->process[i] = process_cpu_ns(server->pid) - process;
	if (!recognised)
		return;
	figures->recognised++;
	figures->exact_bytes += slot.tx_bytes == BODY && slot.rx_bytes == sizeof(struct truth_request);
	figures->shared += slot.flags & COST_SHARED;
	figures->right_pid +=
		(pid_t)slot.tgid == server->pid && slot.netns == bench->netns.inode && slot.local_port == server->port;
	figures->truth[i] = server->cost_ns[i];
	if (scenario->mode == TRUTH_PROXY)
		figures->other_truth[i] = servers[1].cost_ns[i];
	figures->other[i] = slot.other.cpu_at_send_ns;
	figures->thread[i] = slot.thread.cpu_at_send_ns;
	figures->causal[i] = slot.thread.cpu_at_send_ns + slot.causal.cpu_at_send_ns;
	figures->thread_tail[i] = slot.thread.cpu_ns;
	figures->causal_tail[i] = slot.thread.cpu_ns + slot.causal.cpu_ns;
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

/* ---- a scenario ---------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *values)
{
	qsort(values, SCRAPES, sizeof(values[0]), by_value);
	return values[SCRAPES / 2];
}

struct result {
	double truth_us, t, c, t2, c2, process; /* errors in percent */
	double other_truth_us, x;               /* of a proxy's upstream server */
	unsigned recognised, exact_bytes, shared, right_pid;
};

static double error_of(uint64_t *values, double truth)
{
	return 100.0 * ((double)median(values) / truth - 1);
}

static struct result result_of(struct figures *figures)
{
	double truth = (double)median(figures->truth), other = (double)median(figures->other_truth);
	return (struct result){
		.truth_us = truth / 1e3,
		.t = error_of(figures->thread, truth),
		.c = error_of(figures->causal, truth),
		.t2 = error_of(figures->thread_tail, truth),
		.c2 = error_of(figures->causal_tail, truth),
		.process = error_of(figures->process, truth),
		.other_truth_us = other / 1e3,
		.x = other > 0 ? error_of(figures->other, other) : 0,
		.recognised = figures->recognised,
		.exact_bytes = figures->exact_bytes,
		.shared = figures->shared,
		.right_pid = figures->right_pid,
	};
}

static void scrape_all(struct bench *bench, const struct truth_server servers[2], const struct scenario *scenario,
	struct figures *figures)
{
	int fd = connect_measured(bench, &servers[0]);
	request(fd, TRUTH_NOT_OURS, 100); /* the server is warm, and on its feet */
	poll(NULL, 0, 5);
	for (unsigned i = 0; i < SCRAPES; i++) {
		if (scenario->with & RECONNECT) {
			close(fd);
			fd = connect_measured(bench, &servers[0]);
		}
		scrape(bench, servers, scenario, fd, i, figures);
	}
	close(fd);
}

static struct result run_once(struct bench *bench, const struct scenario *scenario)
{
	struct figures figures = {0};
	uint16_t port = bench->next_port, upstream = port + 1;
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
	if (scenario->mode == TRUTH_PROXY)
		truth_start(&servers[1], &bench->netns);
	pid_t others = (scenario->with & OTHER_CLIENTS) ? start_others(bench, &servers[0]) : 0;
	scrape_all(bench, servers, scenario, &figures);
	if (others) {
		kill(others, SIGKILL);
		waitpid(others, NULL, 0);
	}
	truth_stop(&servers[0]);
	if (scenario->mode == TRUTH_PROXY)
		truth_stop(&servers[1]);
	return result_of(&figures);
}

/* What comes before the first hook (poll(), the way into recv()) and after the last is 5 to 15 us that T never sees. */
static const struct bar t_bar = {'T', -4, 4}, short_bar = {'T', -8, 4}, pool_bar = {'C', -10, 10},
			workers_bar = {'C', -5, 25}, x_bar = {'X', -5, 5};

static const struct scenario scenarios[] = {
	{"thread", TRUTH_THREAD, 200, ALONE, &short_bar},
	{"thread", TRUTH_THREAD, 500, ALONE, &t_bar},
	{"thread", TRUTH_THREAD, 2000, ALONE, &t_bar},
	{"loop", TRUTH_LOOP, 200, ALONE, &short_bar},
	{"loop", TRUTH_LOOP, 500, ALONE, &t_bar},
	{"loop", TRUTH_LOOP, 2000, ALONE, &t_bar},
	{"prefork", TRUTH_PREFORK, 500, ALONE, &t_bar},
	{"fork", TRUTH_FORK, 500, ALONE, &t_bar},
	{"thread, new connection", TRUTH_THREAD, 500, RECONNECT, NULL},
	{"thread, 2 others", TRUTH_THREAD, 1000, OTHER_CLIENTS, &t_bar},
	{"loop, 2 others", TRUTH_LOOP, 1000, OTHER_CLIENTS, &t_bar},
	{"thread, 30 % behind", TRUTH_THREAD, 1000, BACKGROUND, &t_bar},
	{"thread that sleeps", TRUTH_SLEEPING, 600, ALONE, NULL},
	{"sendfile", TRUTH_SENDFILE, 500, ALONE, NULL},
	{"proxy", TRUTH_PROXY, 1000, ALONE, &x_bar},
	{"proxy, 2 others", TRUTH_PROXY, 1000, OTHER_CLIENTS, &x_bar},
	{"pool", TRUTH_POOL, 200, ALONE, NULL},
	{"pool", TRUTH_POOL, 500, ALONE, &pool_bar},
	{"pool", TRUTH_POOL, 2000, ALONE, &pool_bar},
	{"pool, 30 % behind", TRUTH_POOL, 1000, BACKGROUND, &pool_bar},
	{"4 workers", TRUTH_WORKERS, 500, ALONE, &workers_bar},
	{"4 workers", TRUTH_WORKERS, 2000, ALONE, &workers_bar},
};

/* The error that has the bar. */
static double judged(const struct scenario *scenario, const struct result *result)
{
	char of = scenario->bar ? scenario->bar->of : 'T';
	return of == 'X' ? result->x : of == 'C' ? result->c : result->t;
}

/* The errors are CPU times of this machine: beside other work, or emulated, they are larger. A test run fails only for what is wrong by
 * far, five times the bar; GLEANER_STRICT=1 holds a quiet machine to the bars themselves. */
static double tolerance(void)
{
	return getenv("GLEANER_STRICT") ? 1 : 5;
}

static bool within(const struct scenario *scenario, const struct result *result, double times)
{
	double error = judged(scenario, result) / times;
	return !scenario->bar || (error >= scenario->bar->low && error <= scenario->bar->high);
}

/* The middle of three runs, by the figure that has a bar. */
static struct result run_three(struct bench *bench, const struct scenario *scenario)
{
	struct result results[3];
	for (int i = 0; i < 3; i++)
		results[i] = run_once(bench, scenario);
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 2 - i; j++)
			if (judged(scenario, &results[j]) > judged(scenario, &results[j + 1])) {
				struct result other = results[j];
				results[j] = results[j + 1];
				results[j + 1] = other;
			}
	return results[1];
}

static void print_row(const struct scenario *scenario, const struct result *result)
{
	char bar[40] = "";
	if (scenario->bar)
		snprintf(bar, sizeof(bar), "%c %+.0f..%+.0f %s", scenario->bar->of, scenario->bar->low,
			scenario->bar->high, within(scenario, result, 1) ? "ok" : "missed");
	print_message("%-24s %5u %8.0f %+7.1f %+7.1f %+7.1f %+7.1f %+8.1f %6u %6u %6u  %s\n", scenario->name,
		scenario->work_us, result->truth_us, result->t, result->c, result->t2, result->c2, result->process,
		result->recognised, result->exact_bytes, result->shared, bar);
	if (scenario->mode == TRUTH_PROXY)
		print_message("%-24s %5s %8.0f %+7.1f\n", "   its upstream, X", "", result->other_truth_us, result->x);
}

static uint64_t stolen_ticks(void)
{
	unsigned long long stolen = 0;
	FILE *stat = fopen("/proc/stat", "r");
	if (!stat || fscanf(stat, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &stolen) != 1)
		stolen = 0;
	if (stat)
		fclose(stat);
	return stolen;
}

static void measure(struct bench *bench, bool byte_counts)
{
	unsigned missed = 0;
	uint64_t stolen = stolen_ticks();
	print_message("%-24s %5s %8s %7s %7s %7s %7s %8s %6s %6s %6s  bar\n", "server", "us", "truth us", "T %", "C %",
		"T2 %", "C2 %", "PU %", "seen", "bytes", "shared");
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		if (!byte_counts && scenarios[i].mode == TRUTH_PROXY) /* those programs do not follow */
			continue;
		struct result result = run_three(bench, &scenarios[i]);
		print_row(&scenarios[i], &result);
		missed += !within(&scenarios[i], &result, tolerance());
		assert_int_equal(result.recognised, SCRAPES);
		if (byte_counts)
			assert_int_equal(result.exact_bytes, SCRAPES);
		if (scenarios[i].mode != TRUTH_PREFORK && scenarios[i].mode != TRUTH_FORK)
			assert_int_equal(result.right_pid, SCRAPES);
	}
	stolen = stolen_ticks() - stolen;
	if (missed > 0 && stolen > 0)
		print_message("*** %u bars missed while the hypervisor took %llu ticks: not judged ***\n", missed,
			(unsigned long long)stolen);
	else
		assert_int_equal(missed, 0);
}

static void bench_start(struct bench *bench, const char *const *extra)
{
	int slots, shared;
	loader_start(&bench->loader, extra);
	assert_int_equal(probe_cost_fds(bench->loader.probe, &slots, &shared), 0);
	assert_int_equal(cost_map(slots, shared, &bench->cost), 0);
	netns_new(&bench->netns);
	bench->next_port = 9100;
}

static void bench_stop(struct bench *bench)
{
	assert_int_equal(bench->cost.shared->active, 0);
	assert_int_equal(bench->cost.shared->no_mark + bench->cost.shared->no_watch, 0);
	netns_free(&bench->netns);
	cost_unmap(&bench->cost);
	loader_stop(&bench->loader);
}

static void the_cost_is_what_the_servers_clocks_say(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, NULL);
	bool counted = probe_hello(bench.loader.probe)->byte_counts;
	if (counted)
		measure(&bench, true);
	bench_stop(&bench);
	if (!counted) {
		print_message("*** this kernel has no sock_recv_length (6.3): skipped ***\n");
		skip();
	}
}

static void the_same_holds_with_the_programs_for_older_kernels(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, (const char *const[]){"--off", "on_recv", NULL});
	assert_false(probe_hello(bench.loader.probe)->byte_counts);
	measure(&bench, false);
	bench_stop(&bench);
}

/* Random bytes over every slot but those of our page, and over what core says of its dials: a scraper that was taken over. */
static pid_t start_vandal(struct bench *bench)
{
	pid_t child = fork();
	if (child != 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct rng rng;
	rng_init(&rng, 42);
	for (;;) {
		uint64_t word = rng_next(&rng);
		size_t slot = 8 + rng_below(&rng, COST_SLOTS - 8);
		size_t at = rng_below(&rng, COST_SLOT_BYTES / sizeof(word));
		/* Often a state and a generation that mean something. */
		((volatile uint64_t *)&bench->cost.slots[slot])[at] = word & 1 ? word : word >> 62;
		bench->cost.shared->dial_slot = (uint32_t)word;
		bench->cost.shared->dial_cookie = word >> 40;
	}
}

static void vandalised_slots_harm_no_other(void **state)
{
	(void)state;
	struct bench bench;
	struct figures figures = {0};
	const struct scenario scenario = {"thread", TRUTH_THREAD, 500, ALONE, NULL};
	bench_start(&bench, NULL);
	struct truth_server servers[2] = {{.mode = TRUTH_THREAD, .body_bytes = BODY, .port = bench.next_port}};
	truth_start(&servers[0], &bench.netns);
	int fd = connect_measured(&bench, &servers[0]);
	pid_t vandal = start_vandal(&bench);
	for (unsigned i = 0; i < SCRAPES; i++)
		scrape(&bench, servers, &scenario, fd, i, &figures);
	kill(vandal, SIGKILL);
	waitpid(vandal, NULL, 0);
	struct result result = result_of(&figures);
	assert_int_equal(result.recognised, SCRAPES);
	if (probe_hello(bench.loader.probe)->byte_counts)
		assert_int_equal(result.exact_bytes, SCRAPES);
	double error = result.t / tolerance();
	assert_true(error > -25 && error < 25); /* two busy processes on the machine: the bytes are what counts */
	close(fd);
	truth_stop(&servers[0]);
	bench_stop(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cost_is_what_the_servers_clocks_say),
		cmocka_unit_test(the_same_holds_with_the_programs_for_older_kernels),
		cmocka_unit_test(vandalised_slots_harm_no_other),
	};
	int skipped = kernel_ready();
	return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
