/* When an interval is stretched, how far, and when it comes back. */
#include "budget.h"
#include "test.h"

#include <math.h>

#define INTERVAL_NS (15 * NS_PER_SEC)

/* One per cent of a core: 150 ms a scrape at 15 s. */
static const struct target_budget_options one_percent = {.share = 0.01, .max_interval_ns = 120 * NS_PER_SEC};

/* Scrapes until the stretch changes; 0: it does not within `scrapes`. */
static unsigned scrapes_until_change(struct budget *budget, double cpu_seconds, unsigned scrapes)
{
	for (unsigned i = 1; i <= scrapes; i++) {
		if (budget_judge(budget, &one_percent, INTERVAL_NS, cpu_seconds))
			return i;
	}
	return 0;
}

static void without_a_budget_nothing_is_stretched(void **state)
{
	(void)state;
	struct budget budget = {0};
	struct target_budget_options none = {.max_interval_ns = 300 * NS_PER_SEC};
	for (unsigned i = 0; i < 100; i++)
		assert_false(budget_judge(&budget, &none, INTERVAL_NS, 10));
	assert_int_equal(budget_stretch(&budget), 1);
}

static void a_target_within_its_budget_stays_as_it_is(void **state)
{
	(void)state;
	struct budget budget = {0};
	assert_int_equal(scrapes_until_change(&budget, 0.150, 100), 0);
}

static void a_dear_target_is_stretched_stepwise_up_to_the_limit(void **state)
{
	(void)state;
	struct budget budget = {0};
	assert_int_equal(scrapes_until_change(&budget, 2.0, 100), BUDGET_SCRAPES_OVER);
	assert_int_equal(budget_stretch(&budget), 2);
	assert_int_equal(scrapes_until_change(&budget, 2.0, 100), BUDGET_SCRAPES_OVER);
	assert_int_equal(scrapes_until_change(&budget, 2.0, 100), BUDGET_SCRAPES_OVER);
	assert_int_equal(budget_stretch(&budget), 8);
	assert_int_equal(scrapes_until_change(&budget, 2.0, 100), 0); /* 16 times 15 s is more than 2 min */
	assert_int_equal(budget_stretch(&budget), 8);
}

static void one_cheap_scrape_among_dear_ones_starts_the_count_anew(void **state)
{
	(void)state;
	struct budget budget = {0};
	assert_int_equal(scrapes_until_change(&budget, 0.2, BUDGET_SCRAPES_OVER - 1), 0);
	assert_int_equal(scrapes_until_change(&budget, 0.1, 1), 0);
	assert_int_equal(scrapes_until_change(&budget, 0.2, BUDGET_SCRAPES_OVER - 1), 0);
	assert_int_equal(scrapes_until_change(&budget, 0.2, 1), 1);
}

static void it_comes_back_when_it_is_cheap_again(void **state)
{
	(void)state;
	struct budget budget = {.stretch = 4};
	assert_int_equal(scrapes_until_change(&budget, 0.01, 100), BUDGET_SCRAPES_UNDER);
	assert_int_equal(scrapes_until_change(&budget, 0.01, 100), BUDGET_SCRAPES_UNDER);
	assert_int_equal(budget_stretch(&budget), 1);
	assert_int_equal(scrapes_until_change(&budget, 0.01, 100), 0);
}

static void it_does_not_go_to_and_fro_at_the_edge(void **state)
{
	(void)state;
	struct budget budget = {.stretch = 2};
	assert_int_equal(scrapes_until_change(&budget, 0.149, 100), 0); /* would fit at 1, with no room left */
	assert_int_equal(scrapes_until_change(&budget, 0.119, 100), BUDGET_SCRAPES_UNDER);
}

static void what_is_not_known_changes_nothing(void **state)
{
	(void)state;
	struct budget budget = {.stretch = 2, .over = BUDGET_SCRAPES_OVER - 1};
	assert_int_equal(scrapes_until_change(&budget, NAN, 100), 0);
	assert_int_equal(scrapes_until_change(&budget, 2.0, 1), 1);
}

static void a_budget_that_is_taken_away_ends_the_stretch(void **state)
{
	(void)state;
	struct budget budget = {.stretch = 8};
	struct target_budget_options none = {.max_interval_ns = 300 * NS_PER_SEC};
	budget_fit(&budget, &none, INTERVAL_NS);
	assert_int_equal(budget_stretch(&budget), 1);
}

static void another_interval_or_limit_keeps_as_much_stretch_as_it_allows(void **state)
{
	(void)state;
	struct budget budget = {.stretch = 8, .under = 3};
	budget_fit(&budget, &one_percent, INTERVAL_NS); /* 120 s: just what is allowed */
	assert_int_equal(budget_stretch(&budget), 8);
	budget_fit(&budget, &one_percent, 60 * NS_PER_SEC);
	assert_int_equal(budget_stretch(&budget), 2);
	assert_int_equal(budget.under, 0);
	budget_fit(&budget, &one_percent, 200 * NS_PER_SEC); /* an interval above the limit is as configured */
	assert_int_equal(budget_stretch(&budget), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_budget_nothing_is_stretched),
		cmocka_unit_test(a_target_within_its_budget_stays_as_it_is),
		cmocka_unit_test(a_dear_target_is_stretched_stepwise_up_to_the_limit),
		cmocka_unit_test(one_cheap_scrape_among_dear_ones_starts_the_count_anew),
		cmocka_unit_test(it_comes_back_when_it_is_cheap_again),
		cmocka_unit_test(it_does_not_go_to_and_fro_at_the_edge),
		cmocka_unit_test(what_is_not_known_changes_nothing),
		cmocka_unit_test(a_budget_that_is_taken_away_ends_the_stretch),
		cmocka_unit_test(another_interval_or_limit_keeps_as_much_stretch_as_it_allows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
