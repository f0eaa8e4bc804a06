/* schedule: phases, order, missed ticks, taking over. Time is an argument: nothing sleeps. */
#include "test.h"

#include <errno.h>

#include "gleaner/scrape.h"

static const uint64_t S = NS_PER_SEC;

static void a_phase_is_stable_and_within_the_interval(void **state)
{
	(void)state;
	for (uint64_t key = 1; key < 100; key++) {
		uint64_t first = scrape_first_tick(key, 15u * S, 1700000000 * S);
		assert_true(first >= 1700000000 * S && first < 1700000015 * S);
		assert_true(scrape_first_tick(key, 15u * S, first) == first);
		assert_true(scrape_first_tick(key, 15u * S, first + 1) == first + 15u * S);
		/* After a restart an hour later the phase is the same. */
		assert_true((scrape_first_tick(key, 15u * S, first + 3600u * S) - first) % (15u * S) == 0);
	}
}

static void phases_spread_over_the_interval(void **state)
{
	size_t tenths[10] = {0};
	(void)state;
	for (uint64_t key = 0; key < 1000; key++)
		tenths[scrape_first_tick(key, 10u * S, 0) / S % 10]++;
	for (size_t i = 0; i < 10; i++)
		assert_in_range(tenths[i], 60, 140);
}

static void entries_come_due_in_the_order_of_their_ticks(void **state)
{
	enum { COUNT = 200 };
	struct scrape_entry entries[COUNT], *entry;
	struct scrape_schedule schedule;
	uint64_t wait, last = 0;
	(void)state;
	scrape_schedule_init(&schedule);
	for (size_t i = 0; i < COUNT; i++) {
		entries[i] = (struct scrape_entry){.key = i, .interval_ns = 10u * S};
		assert_int_equal(scrape_schedule_add(&schedule, &entries[i], 0, 1000u * S), 0);
	}
	for (size_t i = 0; i < COUNT; i += 3) /* removing from the middle keeps the order */
		scrape_schedule_remove(&schedule, &entries[i]);
	assert_null(scrape_schedule_due(&schedule, 1000u * S - 1, &wait));
	size_t due = 0;
	while ((entry = scrape_schedule_due(&schedule, 1010u * S, &wait))) {
		assert_true(entry->tick_ns >= last);
		assert_int_equal(entry->heap_index, SIZE_MAX);
		assert_true(entry->key % 3 != 0);
		last = entry->tick_ns;
		due++;
	}
	assert_int_equal(due, COUNT - (COUNT + 2) / 3);
	assert_true(wait == UINT64_MAX);
	scrape_schedule_done(&schedule);
}

static void a_late_scrape_misses_ticks_and_queues_none(void **state)
{
	struct scrape_entry entry = {.key = 5, .interval_ns = 10u * S};
	struct scrape_schedule schedule;
	uint64_t wait;
	(void)state;
	scrape_schedule_init(&schedule);
	scrape_schedule_add(&schedule, &entry, 0, 0);
	uint64_t tick = entry.tick_ns;
	assert_ptr_equal(scrape_schedule_due(&schedule, tick, &wait), &entry);
	/* It took 25 s: the ticks after 10 and 20 s have passed. */
	assert_int_equal(scrape_schedule_again(&schedule, &entry, 0, tick + 25u * S), 0);
	assert_int_equal(entry.missed, 2);
	assert_true(entry.tick_ns == tick + 30u * S);
	assert_null(scrape_schedule_due(&schedule, tick + 25u * S, &wait));
	assert_true(wait == 5u * S);
	scrape_schedule_done(&schedule);
}

static void a_quick_scrape_waits_for_its_next_tick(void **state)
{
	struct scrape_entry entry = {.key = 5, .interval_ns = 10u * S};
	struct scrape_schedule schedule;
	uint64_t wait;
	(void)state;
	scrape_schedule_init(&schedule);
	scrape_schedule_add(&schedule, &entry, 0, 0);
	uint64_t tick = entry.tick_ns;
	scrape_schedule_due(&schedule, tick + 3, &wait);
	scrape_schedule_again(&schedule, &entry, 0, tick + 1000);
	assert_int_equal(entry.missed, 0);
	assert_true(entry.tick_ns == tick + 10u * S);
	scrape_schedule_done(&schedule);
}

static void a_new_scraper_catches_up_only_the_tick_of_the_present_interval(void **state)
{
	struct scrape_entry entry = {.key = 5, .interval_ns = 10u * S};
	struct scrape_schedule schedule;
	uint64_t tick = scrape_first_tick(5, 10u * S, 100u * S), wait;
	uint64_t now = tick + 1u * S;
	const struct {
		uint64_t resume_after;
		uint64_t expected, missed;
	} rows[] = {
		{0, tick + 10u * S, 0},    /* nothing known: no tick is made up */
		{tick, tick + 10u * S, 0}, /* was scraped */
		{tick - 10u * S, tick, 0}, /* was not: due at once */
		{tick - 50u * S, tick, 4}, /* older ones are gone, counted */
		{tick - 3u * S, tick, 0},  /* of another interval */
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		scrape_schedule_init(&schedule);
		entry.missed = 0;
		scrape_schedule_add(&schedule, &entry, rows[i].resume_after, now);
		assert_true(entry.tick_ns == rows[i].expected);
		assert_int_equal(entry.missed, rows[i].missed);
		assert_int_equal(scrape_schedule_due(&schedule, now, &wait) == &entry, rows[i].expected <= now);
		scrape_schedule_done(&schedule);
	}
}

static void a_clock_set_back_costs_at_most_one_interval(void **state)
{
	struct scrape_entry entry = {.key = 5, .interval_ns = 10u * S};
	struct scrape_schedule schedule;
	uint64_t wait;
	(void)state;
	scrape_schedule_init(&schedule);
	scrape_schedule_add(&schedule, &entry, 0, 100000u * S);
	assert_null(scrape_schedule_due(&schedule, 500u * S, &wait));
	assert_true(wait <= 10u * S);
	scrape_schedule_done(&schedule);
}

static void back_off_keeps_the_phase(void **state)
{
	struct scrape_entry entry = {.key = 5, .interval_ns = 10u * S};
	struct scrape_schedule schedule;
	uint64_t wait;
	(void)state;
	scrape_schedule_init(&schedule);
	scrape_schedule_add(&schedule, &entry, 0, 0);
	uint64_t tick = entry.tick_ns;
	scrape_schedule_due(&schedule, tick, &wait);
	scrape_schedule_again(&schedule, &entry, tick + 61u * S, tick + 1);
	assert_true(entry.tick_ns == tick + 70u * S);
	assert_null(scrape_schedule_due(&schedule, tick + 2, &wait)); /* a long wait is not a clock set back */
	assert_true(entry.tick_ns == tick + 70u * S);
	scrape_schedule_done(&schedule);
}

static void a_port_that_opens_is_scraped_between_two_ticks(void **state)
{
	struct scrape_entry entries[3] = {{.key = 5, .interval_ns = 10u * S}, {.key = 6, .interval_ns = 10u * S},
		{.key = 7, .interval_ns = 10u * S}};
	struct scrape_entry *entry = &entries[2];
	struct scrape_schedule schedule;
	uint64_t wait, now = 1000u * S;
	(void)state;
	scrape_schedule_init(&schedule);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		scrape_schedule_add(&schedule, &entries[i], 0, now);
	uint64_t tick = entry->tick_ns;
	now = tick - 1u * S;
	while (scrape_schedule_due(&schedule, now, &wait)) /* the others */
		;
	assert_true(scrape_schedule_now(&schedule, entry, now));
	assert_ptr_equal(scrape_schedule_due(&schedule, now, &wait), entry);
	assert_true(entry->tick_ns == now);
	assert_false(scrape_schedule_now(&schedule, entry, now + 1)); /* in flight */
	scrape_schedule_again(&schedule, entry, 0, now + 10);
	assert_true(entry->tick_ns == tick);
	assert_int_equal(entry->missed, 0);
	scrape_schedule_remove(&schedule, entry);
	scrape_schedule_done(&schedule);
}

static void what_is_missed_by_such_a_scrape_counts(void **state)
{
	struct scrape_entry entry = {.key = 5, .interval_ns = 10u * S};
	struct scrape_schedule schedule;
	uint64_t wait;
	(void)state;
	scrape_schedule_init(&schedule);
	scrape_schedule_add(&schedule, &entry, 0, 1000u * S);
	uint64_t tick = entry.tick_ns;
	assert_true(scrape_schedule_now(&schedule, &entry, tick - 4u * S));
	scrape_schedule_due(&schedule, tick - 4u * S, &wait);
	scrape_schedule_again(&schedule, &entry, 0, tick + 1u * S); /* it took 5 s */
	assert_int_equal(entry.missed, 1);
	assert_true(entry.tick_ns == tick + 10u * S);
	scrape_schedule_done(&schedule);
}

static void a_port_that_opens_ends_no_back_off(void **state)
{
	struct scrape_entry entry = {.key = 5, .interval_ns = 10u * S};
	struct scrape_schedule schedule;
	uint64_t wait;
	(void)state;
	scrape_schedule_init(&schedule);
	scrape_schedule_add(&schedule, &entry, 0, 0);
	uint64_t tick = entry.tick_ns;
	scrape_schedule_due(&schedule, tick, &wait);
	scrape_schedule_again(&schedule, &entry, tick + 61u * S, tick + 1);
	assert_false(scrape_schedule_now(&schedule, &entry, tick + 60u * S));
	assert_true(entry.tick_ns == tick + 70u * S);
	assert_true(scrape_schedule_now(&schedule, &entry, tick + 61u * S)); /* it is over */
	assert_ptr_equal(scrape_schedule_due(&schedule, tick + 61u * S, &wait), &entry);
	scrape_schedule_done(&schedule);
}

static int add_one(void *arg)
{
	struct scrape_entry entry = {.key = 5, .interval_ns = 10u * S};
	struct scrape_schedule schedule;
	(void)arg;
	scrape_schedule_init(&schedule);
	int result = scrape_schedule_add(&schedule, &entry, 0, 0);
	scrape_schedule_done(&schedule);
	return result;
}

static void running_out_of_memory_is_an_error_and_no_leak(void **state)
{
	(void)state;
	test_out_of_memory(add_one, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_phase_is_stable_and_within_the_interval),
		cmocka_unit_test(phases_spread_over_the_interval),
		cmocka_unit_test(entries_come_due_in_the_order_of_their_ticks),
		cmocka_unit_test(a_late_scrape_misses_ticks_and_queues_none),
		cmocka_unit_test(a_quick_scrape_waits_for_its_next_tick),
		cmocka_unit_test(a_new_scraper_catches_up_only_the_tick_of_the_present_interval),
		cmocka_unit_test(a_clock_set_back_costs_at_most_one_interval),
		cmocka_unit_test(back_off_keeps_the_phase),
		cmocka_unit_test(a_port_that_opens_is_scraped_between_two_ticks),
		cmocka_unit_test(what_is_missed_by_such_a_scrape_counts),
		cmocka_unit_test(a_port_that_opens_ends_no_back_off),
		cmocka_unit_test(running_out_of_memory_is_an_error_and_no_leak),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
