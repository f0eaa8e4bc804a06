/* Ports that open and close ten thousand times a second, and how fast one opening is known.
 *
 * The consumer here is what core will be: ring -> listeners, snapshots when they are wanted.
 */
#include "kernel.h"

#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RATE = 10000, FLOOD_SECONDS = 5, PORTS = 64, FIRST_PORT = 20000 };

struct consumer {
	struct loader loader;
	struct listeners *listeners;
	int snapshot_fd; /* -1 */
	uint64_t events;
};

static void consumer_start(struct consumer *consumer, struct listeners_limits limits)
{
	*consumer = (struct consumer){.snapshot_fd = -1};
	loader_start(&consumer->loader, NULL);
	assert_int_equal(listeners_new(clock_system(), limits, (struct listeners_events){0}, &consumer->listeners), 0);
}

static void consumer_stop(struct consumer *consumer)
{
	listeners_free(consumer->listeners);
	loader_stop(&consumer->loader);
}

static void read_snapshot(struct consumer *consumer)
{
	struct listen_event some[64];
	int got = (int)probe_snapshot_read(consumer->snapshot_fd, some, ARRAY_SIZE(some));
	assert_true(got >= 0);
	listeners_snapshot_add(consumer->listeners, some, (size_t)got);
	if (got > 0)
		return;
	listeners_snapshot_end(consumer->listeners, true);
	close(consumer->snapshot_fd);
	consumer->snapshot_fd = -1;
}

/* One turn of core's loop. */
static void turn(struct consumer *consumer)
{
	struct listen_event event;
	while (probe_event(consumer->loader.probe, &event) == 1) {
		consumer->events++;
		assert_int_equal(listeners_event(consumer->listeners, &event), 0);
	}
	if (consumer->snapshot_fd >= 0)
		read_snapshot(consumer);
	else if (listeners_want_snapshot(consumer->listeners))
		assert_int_equal(probe_ask_snapshot(consumer->loader.probe), 0);
	uint64_t next = listeners_run(consumer->listeners), now = now_ns();
	uint64_t wait_ms = next <= now ? 0 : (next - now) / NS_PER_MS + 1;
	struct pollfd ready[] = {{.fd = probe_events_fd(consumer->loader.probe), .events = POLLIN},
		{.fd = probe_socket(consumer->loader.probe), .events = POLLIN}};
	poll(ready, 2, consumer->snapshot_fd >= 0 ? 0 : wait_ms < 50 ? (int)wait_ms : 50);
	if ((ready[1].revents & POLLIN) && probe_answer(consumer->loader.probe, &consumer->snapshot_fd) == 1)
		listeners_snapshot_begin(consumer->listeners);
}

/* ---- flood ---------------------------------------------------------------------------------------- */

/* What the flooding process has open at its end. */
struct flood {
	volatile uint32_t stop, done;
	uint64_t changes, cpu_ns;
	uint8_t open[PORTS];
};

/* Opens or closes one port after the other, RATE times a second. */
static void flood(struct flood *flood, const struct netns *netns)
{
	int fds[PORTS];
	unsigned seed = 7, on = 1;
	uint64_t start = now_ns();
	setns(netns->fd, CLONE_NEWNET);
	for (size_t i = 0; i < PORTS; i++)
		fds[i] = -1;
	while (!flood->stop) {
		while (flood->changes * NS_PER_SEC / RATE > now_ns() - start)
			poll(NULL, 0, 1);
		size_t i = (size_t)rand_r(&seed) % PORTS;
		if (fds[i] >= 0) {
			close(fds[i]);
			fds[i] = -1;
		} else {
			struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(FIRST_PORT + i))};
			fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
			if (bind(fds[i], (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fds[i], 4) < 0)
				_exit(1);
		}
		flood->open[i] = fds[i] >= 0;
		flood->changes++;
	}
	flood->done = 1;
	pause(); /* holds them open */
}

struct found {
	uint32_t netns;
	uint8_t open[PORTS];
	unsigned others;
};

static void visit(void *arg, const struct listener *listener)
{
	struct found *found = arg;
	if (listener->netns != found->netns)
		return;
	if (listener->port >= FIRST_PORT && listener->port < FIRST_PORT + PORTS)
		found->open[listener->port - FIRST_PORT] = 1;
	else
		found->others++;
}

static bool found_exactly(struct consumer *consumer, const struct netns *netns, const struct flood *expected)
{
	struct found found = {.netns = netns->inode};
	listeners_each(consumer->listeners, visit, &found);
	return found.others == 0 && memcmp(found.open, expected->open, PORTS) == 0;
}

static void a_flood_costs_little_and_ends_with_the_exact_set(void **state)
{
	(void)state;
	struct netns netns;
	struct consumer consumer;
	struct flood *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct listeners_limits limits = listeners_default_limits();
	limits.grace_ns = 50 * NS_PER_MS;
	limits.flap_settle_ns =
		100 * NS_PER_MS; /* these two: so that the end is near; the cost is that of more work, not less */
	limits.resync_ns = 2 * NS_PER_SEC;
	assert_true(shared != MAP_FAILED);
	consumer_start(&consumer, limits);
	if (!has_snapshot(&consumer.loader)) {
		consumer_stop(&consumer);
		munmap(shared, sizeof(*shared));
		skip(); /* what is above the rate is found by snapshots only */
	}
	netns_new(&netns);
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		flood(shared, &netns);
	}
	uint64_t start = now_ns(), cpu = process_cpu_ns(getpid()), loader_cpu = process_cpu_ns(consumer.loader.pid);
	while (now_ns() - start < FLOOD_SECONDS * NS_PER_SEC)
		turn(&consumer);
	cpu = process_cpu_ns(getpid()) - cpu;
	loader_cpu = process_cpu_ns(consumer.loader.pid) - loader_cpu;
	shared->stop = 1;
	while (!shared->done)
		turn(&consumer);
	uint64_t ended = now_ns();
	while (!found_exactly(&consumer, &netns, shared) && now_ns() - ended < 10 * NS_PER_SEC)
		turn(&consumer);
	assert_true(found_exactly(&consumer, &netns, shared));
	/* And it stays so: nothing that was late changes it. */
	uint64_t exact = now_ns();
	while (now_ns() - exact < 3 * NS_PER_SEC)
		turn(&consumer);
	assert_true(found_exactly(&consumer, &netns, shared));
	const struct listen_shared *counters = probe_listen_counters(consumer.loader.probe);
	struct listeners_counters counted = listeners_counters(consumer.listeners);
	double share = 100.0 * (double)(cpu + loader_cpu) / (double)(FLOOD_SECONDS * NS_PER_SEC);
	print_message(
		"flood: %.0f changes/s for %d s, %llu events read, %llu above the rate, %llu dropped, %llu snapshots, "
		"%.2f %% of a core, exact %.1f s after its end\n",
		(double)shared->changes / FLOOD_SECONDS, FLOOD_SECONDS, (unsigned long long)consumer.events,
		(unsigned long long)counters->overflow, (unsigned long long)counters->dropped,
		(unsigned long long)counted.snapshots, share, (double)(exact - ended) / 1e9);
	assert_true(shared->changes > (uint64_t)RATE * FLOOD_SECONDS / 2);
	assert_true(counters->overflow > 0);
	assert_true(share <= 5.0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	consumer_stop(&consumer);
	netns_free(&netns);
	munmap(shared, sizeof(*shared));
}

/* ---- latency ---------------------------------------------------------------------------------------- */

enum { STARTS = 200 };

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* The child's listen() in the namespace; *entered gets the time right before it. */
static void listen_once(const struct netns *netns, volatile uint64_t *entered)
{
	int fd = netns_socket(netns, AF_INET, 0);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(9100)};
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		_exit(1);
	poll(NULL, 0, 2);
	*entered = now_ns();
	_exit(listen(fd, 16) < 0);
}

static void an_opening_is_known_in_well_under_fifty_milliseconds(void **state)
{
	(void)state;
	struct consumer consumer;
	uint64_t latency[STARTS];
	volatile uint64_t *entered =
		mmap(NULL, sizeof(*entered), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	consumer_start(&consumer, listeners_default_limits());
	for (size_t i = 0; i < STARTS; i++) {
		struct netns netns;
		struct listen_event event;
		netns_new(&netns);
		while (probe_event(consumer.loader.probe, &event) == 1)
			;
		pid_t child = fork();
		if (child == 0)
			listen_once(&netns, entered);
		do {
			while (probe_event(consumer.loader.probe, &event) != 1) {
				struct pollfd ready = {.fd = probe_events_fd(consumer.loader.probe), .events = POLLIN};
				assert_int_equal(poll(&ready, 1, 2000), 1);
			}
		} while (event.head.netns != netns.inode);
		latency[i] = now_ns() - *entered;
		assert_int_equal(event.head.kind, LISTEN_OPEN);
		waitpid(child, NULL, 0);
		netns_free(&netns);
	}
	qsort(latency, STARTS, sizeof(latency[0]), by_value);
	print_message("listen() to event in user space, %d starts in fresh namespaces: p50 %.0f us, p90 %.0f us, p99 "
		      "%.0f us, max %.1f ms\n",
		STARTS, (double)latency[STARTS / 2] / 1e3, (double)latency[STARTS * 9 / 10] / 1e3,
		(double)latency[STARTS * 99 / 100] / 1e3, (double)latency[STARTS - 1] / 1e6);
	assert_true(latency[STARTS / 2] <
		    10 * NS_PER_MS); /* the bar of the first scrape is 50 ms at p99; a loaded machine may be late */
	consumer_stop(&consumer);
	munmap((void *)(uintptr_t)entered, sizeof(*entered));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flood_costs_little_and_ends_with_the_exact_set),
		cmocka_unit_test(an_opening_is_known_in_well_under_fifty_milliseconds),
	};
	int skipped = kernel_ready();
	return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
