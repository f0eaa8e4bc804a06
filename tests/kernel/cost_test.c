/* What BPF says a request cost the server, beside what the server's own thread clocks say. Prints the table of errors; that of
 * docs/ebpf.md, with more rows, is printed by cost_bench.c. */
#include "measure.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* The first rows of each architecture that tell most. */
static const struct scenario scenarios[] = {
	{"thread", TRUTH_THREAD, 200, KEPT},
	{"thread", TRUTH_THREAD, 500, KEPT},
	{"thread", TRUTH_THREAD, 2000, KEPT},
	{"loop", TRUTH_LOOP, 200, KEPT},
	{"loop", TRUTH_LOOP, 500, KEPT},
	{"prefork", TRUTH_PREFORK, 500, KEPT},
	{"fork", TRUTH_FORK, 500, KEPT},
	{"thread", TRUTH_THREAD, 500, CLOSED},
	{"thread", TRUTH_THREAD, 1000, OTHER_CLIENTS},
	{"loop", TRUTH_LOOP, 1000, OTHER_CLIENTS},
	{"prefork", TRUTH_PREFORK, 1000, OTHER_CLIENTS},
	{"thread", TRUTH_THREAD, 1000, BACKGROUND},
	{"thread that sleeps", TRUTH_SLEEPING, 600, KEPT},
	{"sendfile", TRUTH_SENDFILE, 500, KEPT},
	{"proxy", TRUTH_PROXY, 1000, KEPT},
	{"proxy", TRUTH_PROXY, 1000, OTHER_CLIENTS},
	{"pool", TRUTH_POOL, 500, KEPT},
	{"pool", TRUTH_POOL, 500, CLOSED},
	{"pool", TRUTH_POOL, 1000, BACKGROUND},
	{"4 workers", TRUTH_WORKERS, 500, KEPT},
	{"4 workers", TRUTH_WORKERS, 2000, KEPT},
};

/* A server that loses the CPU between its last send and the hook behind it may come there after the window's end. */
static bool counts_hold(const struct result *result, bool byte_counts)
{
	return !byte_counts || result->exact_bytes == result->scrapes;
}

static void measure(struct bench *bench, bool byte_counts)
{
	uint64_t stolen = stolen_ticks();
	print_head();
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		const struct scenario *scenario = &scenarios[i];
		struct row row = row_of(scenario);
		if (!byte_counts && scenario->mode == TRUTH_PROXY) /* those programs do not follow */
			continue;
		struct result result = run_scenario(bench, scenario);
		for (int again = 0; again < 2 && !(row_holds(&row, &result) && counts_hold(&result, byte_counts));
			again++)
			result = run_scenario(bench, scenario); /* a neighbour's moment, perhaps */
		print_row(bench, &row, &result);
		assert_int_equal(result.recognised, result.scrapes);
		assert_true(counts_hold(&result, byte_counts));
		if (scenario->mode != TRUTH_PREFORK && scenario->mode != TRUTH_FORK)
			assert_int_equal(result.right_pid, result.scrapes);
	}
	bool bounded = print_bounds(bench);
	stolen = stolen_ticks() - stolen;
	if ((bench->missed > 0 || !bounded) && stolen > 0)
		print_message("*** missed in %u rows while the hypervisor took %llu ticks: not judged ***\n",
			bench->missed, (unsigned long long)stolen);
	else
		assert_true(bench->missed == 0 && bounded);
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

/* A scraper that was taken over: random bytes over every slot but those of our page, over what core says of its dials, over the ports but
 * those of our servers, and over BPF's counters. Never returns. */
static void vandalise(struct bench *bench)
{
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
		bench->cost.shared->ports[10000 + rng_below(&rng, COST_PORTS - 10000)] = (uint8_t)word;
	}
}

static void vandalised_slots_harm_no_other(void **state)
{
	(void)state;
	struct bench bench;
	const struct scenario scenario = {"thread", TRUTH_THREAD, 500, KEPT};
	bench_start(&bench, NULL);
	struct result result = run_beside(&bench, &scenario, vandalise);
	assert_int_equal(result.recognised, result.scrapes);
	if (probe_hello(bench.loader.probe)->byte_counts)
		assert_int_equal(result.exact_bytes, result.scrapes);
	/* Two busy processes on the machine: the bytes are what counts. */
	double limit = strict() ? 25 : 125;
	assert_true(result.value[T] > -limit && result.value[T] < limit);
	bench_stop(&bench);
}

/* The same over everything, the gate and our own slot too. */
static void vandalise_all(struct bench *bench)
{
	struct rng rng;
	rng_init(&rng, 43);
	for (;;) {
		uint64_t word = rng_next(&rng);
		size_t at = rng_below(&rng, (size_t)COST_SLOTS * COST_SLOT_BYTES / sizeof(word));
		((volatile uint64_t *)bench->cost.slots)[at] = word & 1 ? word : word >> 62;
		at = rng_below(&rng, sizeof(struct cost_shared));
		((volatile uint8_t *)bench->cost.shared)[word & 2 ? at : at % 64] = (uint8_t)(word >> 8);
	}
}

static void nothing_breaks_when_all_shared_memory_is_vandalised(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, NULL);
	const struct scenario scenario = {"pool", TRUTH_POOL, 200, KEPT};
	const struct scenario after = {"thread", TRUTH_THREAD, 500, KEPT};
	struct result result =
		run_beside(&bench, &scenario, vandalise_all); /* the figures are anything; the answers came */
	assert_int_equal(result.scrapes, 50);
	struct cost_shared *shared = bench.cost.shared;
	memset(shared, 0, sizeof(*shared));
	memset(bench.cost.slots, 0, (size_t)COST_SLOTS * COST_SLOT_BYTES);
	bench.cost.slots[MEASURE_SLOT].generation = UINT64_C(1) << 40; /* one that no mark of a thread has */
	result = run_beside(&bench, &after, NULL);
	assert_int_equal(result.recognised, result.scrapes);
	bench_stop(&bench);
}

static long resident_pages(pid_t pid)
{
	char path[64];
	long pages = -1;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	FILE *file = fopen(path, "r");
	if (!file || fscanf(file, "%*d %ld", &pages) != 1)
		pages = -1;
	if (file)
		fclose(file);
	return pages;
}

/* bench_stop asserts that no connection found a map full. */
static void ten_thousand_connections_leave_no_trace(void **state)
{
	(void)state;
	struct bench bench;
	bench_start(&bench, NULL);
	const struct linger reset = {1, 0};
	int listener = netns_socket(&bench.netns, AF_INET, 0);
	listen_on(listener, AF_INET, bench.next_port);
	long before = resident_pages(bench.loader.pid);
	assert_true(before > 0);
	for (int i = 0; i < 10000; i++) {
		int fd = connect_measured(&bench, bench.next_port), accepted = accept(listener, NULL, NULL);
		assert_true(accepted >= 0);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
		close(accepted);
	}
	close(listener);
	assert_int_equal(resident_pages(bench.loader.pid), before);
	bench.next_port++;
	const struct scenario after = {"thread", TRUTH_THREAD, 500, KEPT};
	struct result result = run_beside(&bench, &after, NULL);
	assert_int_equal(result.recognised, result.scrapes);
	bench_stop(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cost_is_what_the_servers_clocks_say),
		cmocka_unit_test(the_same_holds_with_the_programs_for_older_kernels),
		cmocka_unit_test(vandalised_slots_harm_no_other),
		cmocka_unit_test(nothing_breaks_when_all_shared_memory_is_vandalised),
		cmocka_unit_test(ten_thousand_connections_leave_no_trace),
	};
	int skipped = kernel_measures();
	return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
