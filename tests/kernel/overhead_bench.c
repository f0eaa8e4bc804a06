/* What the attached programs cost everybody else: CPU time of small workloads with the loader gone, there, and with a window open.
 *
 * Run by hand on a quiet machine: kernel_overhead_bench. Interleaved rounds, the best of several runs each, ratios with quartiles;
 * everything on one CPU, where a switch is all that a pipe round trip consists of.
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

enum { ROUNDS = 11, RUNS = 10, TRIPS = 2000, SLOT = 9 };

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

static void messages(void)
{
	struct sockaddr_in address;
	int listener = listener_of(&address), pair[2], on = 1;
	connect_pair(listener, &address, pair);
	setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	ping_pong(&(struct echo){pair[0], pair[0]}, &(struct echo){pair[1], pair[1]});
	close(pair[0]);
	close(pair[1]);
	close(listener);
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

static const struct workload {
	const char *name;
	void (*run)(void);
} workloads[] = {
	{"pipe round trip (2 switches)", pipes},
	{"TCP round trip (2 messages)", messages},
	{"connect + accept + close", connections},
	{"bind + listen + close", listeners_alone},
};
enum { WORKLOADS = ARRAY_SIZE(workloads) };

/* ---- measuring ------------------------------------------------------------------------------------------- */

enum { GONE, IDLE, OPEN, STATES };

/* Nanoseconds of CPU a trip, the best of RUNS. */
static double measure(const struct workload *workload)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < RUNS; i++) {
		uint64_t before = process_cpu_ns(getpid());
		workload->run();
		uint64_t spent = process_cpu_ns(getpid()) - before;
		best = spent < best ? spent : best;
	}
	return (double)best / TRIPS;
}

static void measure_all(double ret_ns[WORKLOADS])
{
	for (size_t i = 0; i < WORKLOADS; i++)
		ret_ns[i] = measure(&workloads[i]);
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
	assert_int_equal(probe_cost_fds(loader.probe, &slots, &shared), 0);
	assert_int_equal(cost_map(slots, shared, &cost), 0);
	cost_open(&cost, SLOT, 9100, now_ns());
	measure_all(ret_ns[OPEN]);
	cost_close(&cost, SLOT, &slot);
	cost_unmap(&cost);
	loader_stop(&loader);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void print_ratio(const double ns[ROUNDS][STATES][WORKLOADS], size_t workload, int state)
{
	double ratio[ROUNDS];
	for (int i = 0; i < ROUNDS; i++)
		ratio[i] = ns[i][state][workload] / ns[i][GONE][workload];
	qsort(ratio, ROUNDS, sizeof(ratio[0]), by_value);
	printf("   %.3f [%.3f..%.3f]", ratio[ROUNDS / 2], ratio[ROUNDS / 4], ratio[3 * ROUNDS / 4]);
}

int main(void)
{
	static double ns[ROUNDS][STATES][WORKLOADS];
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
	printf("%-30s %9s   %-22s   %-22s\n", "CPU time, loader gone", "ns", "attached, idle", "one window open");
	for (size_t i = 0; i < WORKLOADS; i++) {
		printf("%-30s %9.0f", workloads[i].name, ns[ROUNDS / 2][GONE][i]);
		print_ratio((const double(*)[STATES][WORKLOADS])ns, i, IDLE);
		print_ratio((const double(*)[STATES][WORKLOADS])ns, i, OPEN);
		printf("\n");
	}
	return EXIT_SUCCESS;
}
