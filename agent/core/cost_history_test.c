/* cost_history: the table of estimates row by row, and what may be believed when. */
#include "cost_history.h"

#include "test.h"

#include <errno.h>
#include <math.h>

#include "gleaner/probe.h"

#define US UINT64_C(1000)

/* A target as it is scraped every 15 s: work in us. */
struct script {
	struct cost_history history;
	uint64_t now_ns, process_ns;  /* monotonic; its CPU clock */
	uint64_t thread, woken, tail; /* T, C - T, after the last byte */
	uint64_t outside;             /* of the same scrape, seen by the process clock only */
	uint64_t idle;                /* between two scrapes */
	uint32_t tgid;
	bool windows, clock;
	uint32_t flags, new_connection, threads;
};

static struct script script_new(void)
{
	return (struct script){.now_ns = 1000 * NS_PER_SEC,
		.process_ns = 50 * NS_PER_SEC,
		.thread = 1000,
		.outside = 100,
		.tgid = 7,
		.windows = true,
		.clock = true,
		.threads = 1};
}

static void scrape(struct script *script, size_t times)
{
	for (; times > 0; times--) {
		struct wire_cost cost = {.key = 1,
			.measured = script->windows,
			.tgid = script->tgid,
			.flags = script->flags,
			.new_connection = script->new_connection};
		uint64_t work = script->thread + script->woken + script->tail + script->outside;
		script->now_ns += 15 * NS_PER_SEC;
		script->process_ns += script->idle * US;
		if (script->clock) {
			cost.process_before_ns = script->process_ns;
			cost.process_after_ns = script->process_ns + work * US;
			cost.read_before_ns = script->now_ns;
			cost.read_after_ns = script->now_ns + 15 * NS_PER_MS;
		}
		if (script->windows) {
			cost.thread_at_send_ns = script->thread * US;
			cost.thread_ns = (script->thread + script->tail) * US;
			cost.causal_ns = cost.causal_at_send_ns = script->woken * US;
			cost.other_ns = cost.other_at_send_ns = 30 * US;
			cost.first_byte_ns = 2 * NS_PER_MS;
			cost.switches = 4;
			cost.rx_bytes = 200;
			cost.tx_bytes = 5000;
			cost.threads = script->threads;
		}
		script->now_ns += 15 * NS_PER_MS;
		script->process_ns += work * US;
		assert_int_equal(cost_history_add(&script->history, &cost), 0);
	}
}

static void assert_near(double actual, double us)
{
	if (!(fabs(actual * 1e6 - us) <= 0.01 * us + 0.01))
		fail_msg("%.3f us is not %.3f us", actual * 1e6, us);
}

static void assert_estimate(struct script *script, enum cost_method method, double lower, double best, double upper)
{
	struct cost_estimate estimate = cost_history_estimate(&script->history);
	const double expected[] = {lower, best, upper};
	const double actual[] = {estimate.lower, estimate.best, estimate.upper};
	assert_string_equal(cost_method_name(estimate.method), cost_method_name(method));
	for (size_t i = 0; i < ARRAY_SIZE(actual); i++) {
		assert_int_equal(isnan(actual[i]), isnan(expected[i]));
		if (!isnan(expected[i]))
			assert_near(actual[i], expected[i]);
	}
}

static void assert_confidence(struct script *script, enum cost_confidence confidence)
{
	struct cost_estimate estimate = cost_history_estimate(&script->history);
	assert_string_equal(cost_confidence_name(estimate.confidence), cost_confidence_name(confidence));
}

static void assert_why(struct script *script, const char *part)
{
	struct cost_estimate estimate = cost_history_estimate(&script->history);
	if (!strstr(estimate.why, part))
		fail_msg("\"%s\" is not in \"%s\"", part, estimate.why);
}

/* ---- the table -------------------------------------------------------------------------------- */

static void a_quiet_process_is_known_by_its_clock(void **state)
{
	(void)state;
	struct script script = script_new();
	script.idle = 15000; /* of 15 s: 1 us in a window of 15 ms */
	scrape(&script, 12);
	assert_estimate(&script, COST_METHOD_PROCESS, 1000, 1085, 1100); /* less 15 us */
	assert_confidence(&script, COST_CONFIDENCE_HIGH);
	assert_why(&script, "which is little");
	cost_history_done(&script.history);
}

static void a_busy_process_is_known_by_its_threads(void **state)
{
	(void)state;
	struct script script = script_new();
	script.woken = 200;
	script.idle = 500000; /* 500 us in a window, and they are on its clock, too */
	script.outside = 600;
	scrape(&script, 12);
	assert_estimate(&script, COST_METHOD_CAUSAL, 1000, 1200, 1800);
	assert_confidence(&script, COST_CONFIDENCE_MEDIUM);
	assert_why(&script, "busy between scrapes");
	cost_history_done(&script.history);
}

static void a_process_that_serves_others_is_known_by_its_threads(void **state)
{
	(void)state;
	struct script script = script_new();
	script.flags = COST_SHARED;
	script.tail = 40;
	scrape(&script, 12);
	assert_estimate(&script, COST_METHOD_CAUSAL, 1000, 1000, 1140);
	assert_why(&script, "served others");
	assert_true(isnan(cost_history_estimate(&script.history).tail));
	cost_history_done(&script.history);
}

/* One scrape in ten may meet another client. */
static void one_shared_scrape_changes_nothing(void **state)
{
	(void)state;
	struct script script = script_new();
	scrape(&script, 11);
	script.flags = COST_SHARED;
	scrape(&script, 1);
	assert_estimate(&script, COST_METHOD_PROCESS, 1000, 1100, 1100);
	cost_history_done(&script.history);
}

static void without_the_clock_there_is_no_upper_bound(void **state)
{
	(void)state;
	struct script script = script_new();
	script.clock = false;
	script.woken = 100;
	scrape(&script, 12);
	assert_estimate(&script, COST_METHOD_CAUSAL, 1000, 1100, NAN);
	assert_why(&script, "hostPID");
	cost_history_done(&script.history);
}

static void a_pool_of_processes_has_no_clock(void **state)
{
	(void)state;
	struct script script = script_new();
	for (size_t i = 0; i < 12; i++) {
		script.tgid = 7 + i % 2;
		scrape(&script, 1);
	}
	assert_estimate(&script, COST_METHOD_CAUSAL, 1000, 1000, NAN);
	assert_why(&script, "processes that answer change");
	cost_history_done(&script.history);
}

static void without_cost_programs_the_clock_stands_alone(void **state)
{
	(void)state;
	struct script script = script_new();
	script.windows = false;
	script.idle = 200000; /* 200 us in a window */
	scrape(&script, 12);
	assert_estimate(&script, COST_METHOD_PROCESS, NAN, 900, 1100);
	assert_confidence(&script, COST_CONFIDENCE_MEDIUM); /* nothing bounds it from below */
	script.idle = 500000;
	scrape(&script, 15);
	assert_estimate(&script, COST_METHOD_PROCESS, NAN, NAN, 1100);
	assert_confidence(&script, COST_CONFIDENCE_NONE);
	assert_why(&script, "too much between scrapes");
	cost_history_done(&script.history);
}

static void what_is_not_measured_is_absent(void **state)
{
	(void)state;
	struct script script = script_new();
	assert_estimate(&script, COST_METHOD_NONE, NAN, NAN, NAN); /* nothing came yet */
	script.windows = script.clock = false;
	scrape(&script, 12);
	assert_estimate(&script, COST_METHOD_NONE, NAN, NAN, NAN);
	assert_confidence(&script, COST_CONFIDENCE_NONE);
	struct cost_estimate estimate = cost_history_estimate(&script.history);
	assert_true(isnan(estimate.other) && isnan(estimate.tail) && isnan(estimate.first_byte));
	assert_true(isnan(estimate.switches) && isnan(estimate.threads) && isnan(estimate.idle));
	assert_int_equal(estimate.scrapes, 0);
	struct cost_sums sums = cost_history_sums(&script.history);
	assert_int_equal(sums.measured, 0);
	assert_int_equal(sums.unmeasured, 12);
	cost_history_done(&script.history);
}

/* ---- how far to trust it ------------------------------------------------------------------------ */

static void less_than_three_scrapes_are_no_estimate(void **state)
{
	(void)state;
	struct script script = script_new();
	scrape(&script, 2);
	struct cost_estimate estimate = cost_history_estimate(&script.history);
	assert_true(isnan(estimate.best));
	assert_near(estimate.lower, 1000);
	assert_why(&script, "fewer than 3");
	scrape(&script, 1);
	assert_estimate(&script, COST_METHOD_PROCESS, 1000, 1100, 1100);
	cost_history_done(&script.history);
}

static void what_a_busy_process_burns_besides_is_not_the_scrapes(void **state)
{
	(void)state;
	struct script script = script_new();
	script.idle = 1100000;
	script.outside = 1100;
	scrape(&script, 12);
	assert_estimate(&script, COST_METHOD_CAUSAL, 1000, 1000, 2100);
	assert_confidence(&script, COST_CONFIDENCE_LOW); /* nothing confirms it */
	cost_history_done(&script.history);
}

static void confidence_grows_with_scrapes(void **state)
{
	(void)state;
	const struct {
		size_t scrapes;
		enum cost_confidence confidence;
	} cases[] = {{2, COST_CONFIDENCE_NONE}, {3, COST_CONFIDENCE_LOW}, {4, COST_CONFIDENCE_LOW},
		{5, COST_CONFIDENCE_MEDIUM}, {9, COST_CONFIDENCE_MEDIUM}, {10, COST_CONFIDENCE_HIGH}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct script script = script_new();
		scrape(&script, cases[i].scrapes);
		assert_confidence(&script, cases[i].confidence);
		cost_history_done(&script.history);
	}
}

static void confidence_falls_with_the_distance_of_the_bounds(void **state)
{
	(void)state;
	const struct {
		uint64_t outside;
		enum cost_confidence confidence;
	} cases[] = {{240, COST_CONFIDENCE_HIGH}, {260, COST_CONFIDENCE_MEDIUM}, {990, COST_CONFIDENCE_MEDIUM},
		{1010, COST_CONFIDENCE_LOW}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct script script = script_new();
		script.outside = cases[i].outside;
		scrape(&script, 12);
		assert_confidence(&script, cases[i].confidence);
		cost_history_done(&script.history);
	}
}

static void new_connections_are_never_high(void **state)
{
	(void)state;
	struct script script = script_new();
	script.new_connection = 1;
	scrape(&script, 12);
	assert_confidence(&script, COST_CONFIDENCE_MEDIUM);
	script.new_connection = 0;
	scrape(&script, 15);
	assert_confidence(&script, COST_CONFIDENCE_HIGH);
	cost_history_done(&script.history);
}

/* It might be Go, whose runtime works outside of the request. */
static void several_threads_without_the_clock_are_low(void **state)
{
	(void)state;
	struct script script = script_new();
	script.clock = false;
	scrape(&script, 12);
	assert_confidence(&script, COST_CONFIDENCE_MEDIUM);
	script.threads = 3;
	scrape(&script, 15);
	assert_confidence(&script, COST_CONFIDENCE_LOW);
	cost_history_done(&script.history);
}

/* ---- history --------------------------------------------------------------------------------------- */

static void a_restarted_process_starts_anew(void **state)
{
	(void)state;
	struct script script = script_new();
	scrape(&script, 15);
	script.tgid = 8;
	script.thread = 3000;
	scrape(&script, 2);
	assert_why(&script, "fewer than 3");
	scrape(&script, 1);
	assert_estimate(&script, COST_METHOD_PROCESS, 3000, 3100, 3100);
	assert_int_equal(cost_history_estimate(&script.history).scrapes, 3);
	cost_history_done(&script.history);
}

static void the_last_fifteen_count(void **state)
{
	(void)state;
	struct script script = script_new();
	script.thread = 9000;
	scrape(&script, 40);
	script.thread = 500;
	scrape(&script, 14);
	struct cost_estimate estimate = cost_history_estimate(&script.history);
	assert_near(estimate.best, 600);
	assert_near(estimate.best_p99, 9100);
	scrape(&script, 1);
	assert_near(cost_history_estimate(&script.history).best_p99, 600);
	assert_int_equal(estimate.scrapes, COST_HISTORY);
	cost_history_done(&script.history);
}

static void figures_beside_the_estimate_are_medians(void **state)
{
	(void)state;
	struct script script = script_new();
	script.tail = 40;
	script.idle = 15000;
	scrape(&script, 5);
	struct cost_estimate estimate = cost_history_estimate(&script.history);
	assert_near(estimate.other, 30);
	assert_near(estimate.tail, 40);
	assert_near(estimate.first_byte, 2000);
	assert_near(estimate.idle, 1000); /* us a second */
	assert_true(estimate.switches == 4 && estimate.threads == 1);
	cost_history_done(&script.history);
}

static void a_clock_that_went_back_is_no_reading(void **state)
{
	(void)state;
	struct cost_history history = {.windows = NULL};
	struct wire_cost cost = {.tgid = 7,
		.process_before_ns = 900,
		.process_after_ns = 100,
		.read_before_ns = 1000,
		.read_after_ns = 2000};
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(cost_history_add(&history, &cost), 0);
	assert_int_equal(cost_history_estimate(&history).method, COST_METHOD_NONE);
	cost_history_done(&history);
}

/* ---- sums -------------------------------------------------------------------------------------------- */

static void sums_grow_by_each_scrapes_own_figure(void **state)
{
	(void)state;
	struct script script = script_new();
	scrape(&script, 4);
	script.thread = 30000;
	scrape(&script, 1);
	struct cost_sums sums = cost_history_sums(&script.history);
	assert_near(sums.lower, 34000);
	assert_near(sums.upper, 34500);
	assert_near(sums.best, 2 * 1100 + 30100); /* none before the third scrape */
	assert_near(sums.other, 150);
	assert_int_equal(sums.switches, 20);
	assert_int_equal(sums.rx_bytes, 1000);
	assert_int_equal(sums.tx_bytes, 25000);
	assert_int_equal(sums.measured, 5);
	assert_int_equal(sums.unmeasured, 0);
	assert_int_equal(sums.buckets[5], 2); /* 1 ms < 1.1 ms <= 2.5 ms */
	assert_int_equal(sums.buckets[9], 1); /* 25 ms < 30.1 ms <= 50 ms */
	cost_history_done(&script.history);
}

static void the_agents_side_is_summed_by_stage(void **state)
{
	(void)state;
	struct cost_history history = {.windows = NULL};
	double p99;
	assert_true(isnan(cost_history_agent(&history, &p99)) && isnan(p99));
	struct wire_scraped scraped = {.fetch_cpu_ns = 10 * US,
		.parse_cpu_ns = 20 * US,
		.encode_cpu_ns = 30 * US,
		.compress_cpu_ns = 40 * US,
		.body_bytes = 1000,
		.wire_bytes = 300,
		.record_bytes = 100};
	for (size_t i = 0; i < 20; i++)
		cost_history_scraped(&history, &scraped);
	scraped.fetch_cpu_ns = 910 * US;
	cost_history_scraped(&history, &scraped);
	assert_near(cost_history_agent(&history, &p99), 100);
	assert_near(p99, 1000);
	assert_int_equal(history.agent.scrapes, 21);
	assert_int_equal(history.agent.cpu_ns[COST_FETCH], 1110 * US);
	assert_int_equal(history.agent.cpu_ns[COST_COMPRESS], 840 * US);
	assert_int_equal(history.agent.body_bytes, 21000);
	assert_int_equal(history.agent.wire_bytes, 6300);
	assert_int_equal(history.agent.record_bytes, 2100);
}

static int add_one(void *arg)
{
	(void)arg;
	struct cost_history history = {.windows = NULL};
	struct wire_cost cost = {.key = 1};
	int result = cost_history_add(&history, &cost);
	cost_history_done(&history);
	return result;
}

static void memory_may_run_out(void **state)
{
	(void)state;
	test_out_of_memory(add_one, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quiet_process_is_known_by_its_clock),
		cmocka_unit_test(a_busy_process_is_known_by_its_threads),
		cmocka_unit_test(a_process_that_serves_others_is_known_by_its_threads),
		cmocka_unit_test(one_shared_scrape_changes_nothing),
		cmocka_unit_test(without_the_clock_there_is_no_upper_bound),
		cmocka_unit_test(a_pool_of_processes_has_no_clock),
		cmocka_unit_test(without_cost_programs_the_clock_stands_alone),
		cmocka_unit_test(what_is_not_measured_is_absent),
		cmocka_unit_test(less_than_three_scrapes_are_no_estimate),
		cmocka_unit_test(what_a_busy_process_burns_besides_is_not_the_scrapes),
		cmocka_unit_test(confidence_grows_with_scrapes),
		cmocka_unit_test(confidence_falls_with_the_distance_of_the_bounds),
		cmocka_unit_test(new_connections_are_never_high),
		cmocka_unit_test(several_threads_without_the_clock_are_low),
		cmocka_unit_test(a_restarted_process_starts_anew),
		cmocka_unit_test(the_last_fifteen_count),
		cmocka_unit_test(figures_beside_the_estimate_are_medians),
		cmocka_unit_test(a_clock_that_went_back_is_no_reading),
		cmocka_unit_test(sums_grow_by_each_scrapes_own_figure),
		cmocka_unit_test(the_agents_side_is_summed_by_stage),
		cmocka_unit_test(memory_may_run_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
