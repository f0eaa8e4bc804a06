/* What the attached programs cost everybody else: CPU time of small workloads with the loader gone, there, and with a window open.
 *
 * Not a test; `tools/bench ebpf` runs it, on a quiet machine. Interleaved rounds, the best of several runs each, ratios with quartiles;
 * everything on one CPU, where a switch is all that a pipe round trip consists of. The bars are what the
 * programs that are met on the way took each when they were designed, added up, to the next percent; the budget is the share of a CPU at
 * 10,000 switches a second.
 */
#include "kernel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 11, RUNS = 10, TRIPS = 2000, LISTENERS = 100, SLOT = 9, PROC_READS = 2000 };

enum { GONE, IDLE, OPEN, STATES };

/* ---- workloads: do TRIPS things ------------------------------------------------------------------------- */

struct echo {
	int in, out;
};

static void *echo_thread(void *arg)
{
	struct echo *echo = arg;
	char byte;
	for (int i = 0; i < TRIPS && read(echo->in, &byte, 1) == 1 && write(echo->out, &byte, 1) == 1; i++)
		;
	return NULL;
}

static void ping_pong(struct echo *here, struct echo *there)
{
	pthread_t thread;
	char byte = 0;
	assert_int_equal(pthread_create(&thread, NULL, echo_thread, there), 0);
	for (int i = 0; i < TRIPS; i++)
		assert_true(write(here->out, &byte, 1) == 1 && read(here->in, &byte, 1) == 1);
	pthread_join(thread, NULL);
}

static void pipes(void)
{
	int there[2], back[2];
	assert_int_equal(pipe(there), 0);
	assert_int_equal(pipe(back), 0);
	ping_pong(&(struct echo){back[0], there[1]}, &(struct echo){there[0], back[1]});
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
}

static int listener_of(struct sockaddr_in *ret_address)
{
	socklen_t size = sizeof(*ret_address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*ret_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	assert_int_equal(bind(fd, (struct sockaddr *)ret_address, size), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &size), 0);
	return fd;
}

static void connect_pair(int listener, const struct sockaddr_in *address, int pair[2])
{
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(pair[0], (const struct sockaddr *)address, sizeof(*address)), 0);
	pair[1] = accept(listener, NULL, NULL);
	assert_true(pair[1] >= 0);
}

static void tcp_pair(int pair[2])
{
	struct sockaddr_in address;
	int listener = listener_of(&address), on = 1;
	connect_pair(listener, &address, pair);
	setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	close(listener);
}

static void round_trips(void)
{
	int pair[2];
	tcp_pair(pair);
	ping_pong(&(struct echo){pair[0], pair[0]}, &(struct echo){pair[1], pair[1]});
	close(pair[0]);
	close(pair[1]);
}

/* A message each, by one thread: nothing is switched. */
static void send_and_receive(int pair[2])
{
	char byte = 0;
	for (int i = 0; i < TRIPS; i++)
		assert_true(send(pair[0], &byte, 1, 0) == 1 && recv(pair[1], &byte, 1, 0) == 1);
	close(pair[0]);
	close(pair[1]);
}

static void tcp_messages(void)
{
	int pair[2];
	tcp_pair(pair);
	send_and_receive(pair);
}

static void unix_messages(void)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	send_and_receive(pair);
}

static void connections(void)
{
	struct sockaddr_in address;
	int listener = listener_of(&address), pair[2];
	const struct linger reset = {1, 0}; /* no TIME_WAIT to run out of ports with */
	for (int i = 0; i < TRIPS; i++) {
		connect_pair(listener, &address, pair);
		setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(pair[0]);
		close(pair[1]);
	}
	close(listener);
}

static void listeners_alone(void)
{
	struct sockaddr_in address;
	for (int i = 0; i < TRIPS; i++)
		close(listener_of(&address));
}

/* As many as a namespace may before it counts as a flood: 200 events a second. */
static void few_listeners(void)
{
	struct sockaddr_in address;
	for (int i = 0; i < LISTENERS; i++)
		close(listener_of(&address));
}

/* Namespaces of one round: kept until its end, for the number of one that is gone is given to the next, with its bucket of events. */
static struct netns fresh[STATES * RUNS];
static unsigned fresh_count;

static void enter_fresh_netns(void)
{
	assert_true(fresh_count < ARRAY_SIZE(fresh));
	netns_new(&fresh[fresh_count]);
	assert_int_equal(setns(fresh[fresh_count++].fd, CLONE_NEWNET), 0);
}

static void free_fresh_netns(void)
{
	while (fresh_count > 0)
		netns_free(&fresh[--fresh_count]);
}

static const struct workload {
	const char *name;
	void (*prepare)(void); /* not measured; or NULL */
	void (*run)(void);
	unsigned trips;
	double bar_idle, bar_open; /* ratios */
} workloads[] = {
	{"pipe round trip (2 switches)", NULL, pipes, TRIPS, 1.05, 1.08},
	{"TCP message, sent and received", NULL, tcp_messages, TRIPS, 1.03, 1.05},
	{"TCP round trip (2 of each)", NULL, round_trips, TRIPS, 1.05, 1.08},
	{"AF_UNIX message, the same", NULL, unix_messages, TRIPS, 1.11, 1.11},
	{"connect + accept + close", NULL, connections, TRIPS, 1.03, 1.03},
	{"bind + listen + close", enter_fresh_netns, few_listeners, LISTENERS, 1.26, 1.26},
	{"the same, as a flood", NULL, listeners_alone, TRIPS, 1.26, 1.26},
};
enum { WORKLOADS = ARRAY_SIZE(workloads) };

/* ---- measuring ------------------------------------------------------------------------------------------- */

static double ns[ROUNDS][STATES][WORKLOADS];

/* Nanoseconds of CPU a trip, the best of RUNS. */
static double measure(const struct workload *workload)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < RUNS; i++) {
		if (workload->prepare)
			workload->prepare();
		uint64_t before = process_cpu_ns(getpid());
		workload->run();
		uint64_t spent = process_cpu_ns(getpid()) - before;
		best = spent < best ? spent : best;
	}
	return (double)best / workload->trips;
}

static void measure_all(double ret_ns[WORKLOADS])
{
	for (size_t i = 0; i < WORKLOADS; i++)
		ret_ns[i] = measure(&workloads[i]);
}

/* Nobody else reads the ring, and an event that finds it full is a cheap one. */
static void drain(struct loader *loader)
{
	struct listen_event event;
	while (probe_event(loader->probe, &event) == 1)
		;
}

static void run_round(double ret_ns[STATES][WORKLOADS])
{
	struct loader loader;
	struct cost cost;
	struct cost_slot slot;
	int slots, shared;
	measure_all(ret_ns[GONE]);
	loader_start(&loader, NULL);
	measure_all(ret_ns[IDLE]);
	drain(&loader);
	assert_int_equal(probe_cost_fds(loader.probe, &slots, &shared), 0);
	assert_int_equal(cost_map(slots, shared, &cost), 0);
	cost_open(&cost, SLOT, 9100, now_ns());
	measure_all(ret_ns[OPEN]);
	cost_close(&cost, SLOT, &slot);
	cost_unmap(&cost);
	loader_stop(&loader);
	free_fresh_netns();
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static const char *verdict(double value, double bar)
{
	return value <= bar ? "ok" : "MISSED";
}

static void print_ratio(size_t workload, int state, double bar)
{
	double ratio[ROUNDS];
	for (int i = 0; i < ROUNDS; i++)
		ratio[i] = ns[i][state][workload] / ns[i][GONE][workload];
	qsort(ratio, ROUNDS, sizeof(ratio[0]), by_value);
	printf("   %.3f [%.3f..%.3f] <= %.2f %-6s", ratio[ROUNDS / 2], ratio[ROUNDS / 4], ratio[3 * ROUNDS / 4], bar,
		verdict(ratio[ROUNDS / 2], bar));
}

/* The middle of the rounds: ns in the state, less those of `than` (STATES: nothing). */
static double median_of(size_t workload, int state, int than)
{
	double values[ROUNDS];
	for (int i = 0; i < ROUNDS; i++)
		values[i] = ns[i][state][workload] - (than < STATES ? ns[i][than][workload] : 0);
	qsort(values, ROUNDS, sizeof(values[0]), by_value);
	return values[ROUNDS / 2];
}

/* What 10,000 switches a second on every CPU are delayed, in percent of the CPU. */
static void print_budget(void)
{
	double idle = median_of(0, IDLE, GONE) / 2, open = median_of(0, OPEN, GONE) / 2;
	printf("a switch: +%.0f ns idle, +%.0f ns with a window open; at 10,000 a second %.2f %% and %.2f %% of a CPU; "
	       "budget 1 %%: %s\n",
		idle, open, idle / 1e3, open / 1e3, verdict(open / 1e3, 1));
}

/* What the mode without eBPF does instead: for a scrape two readings of a process clock, for the ports a file of each pod. */
static void print_proc(void)
{
	char page[4096];
	uint64_t start = process_cpu_ns(getpid()), clocks = 0;
	for (int i = 0; i < PROC_READS; i++)
		clocks += process_cpu_ns(getppid());
	uint64_t read_clocks = process_cpu_ns(getpid());
	for (int i = 0; i < PROC_READS / 20; i++) {
		FILE *table = fopen("/proc/self/net/tcp", "r");
		while (table && fgets(page, sizeof(page), table))
			clocks++;
		if (table)
			fclose(table);
	}
	uint64_t read_tables = process_cpu_ns(getpid());
	printf("mode proc instead: %.2f us for the process clock of a scrape (%s), %.0f us for the ports of one pod, "
	       "each time it looks\n",
		2 * (double)(read_clocks - start) / PROC_READS / 1e3, clocks > 0 ? "twice" : "not readable",
		(double)(read_tables - read_clocks) / (PROC_READS / 20.0) / 1e3);
}

int main(void)
{
	int skipped = kernel_ready();
	if (skipped)
		return skipped;
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		return EXIT_FAILURE;
	for (int i = 0; i < ROUNDS; i++)
		run_round(ns[i]);
	printf("%-30s %9s   %-37s   %-37s\n", "CPU time", "gone, ns", "attached, idle", "one window open");
	for (size_t i = 0; i < WORKLOADS; i++) {
		printf("%-30s %9.0f", workloads[i].name, median_of(i, GONE, STATES));
		print_ratio(i, IDLE, workloads[i].bar_idle);
		print_ratio(i, OPEN, workloads[i].bar_open);
		printf("\n");
	}
	print_budget();
	print_proc();
	return EXIT_SUCCESS;
}
