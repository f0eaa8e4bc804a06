#include "pace.h"

#include "test.h"

#define SECONDS(n) ((uint64_t)((n)*1e9))

static void check_about(uint64_t delay_ns, double seconds)
{
	if (delay_ns < SECONDS(seconds * 0.9) - 1 || delay_ns > SECONDS(seconds * 1.1) + 1)
		fail_msg("%.3f s is not about %.0f s", (double)delay_ns / 1e9, seconds);
}

static struct kube_pace pace_new(void)
{
	struct kube_pace pace;
	kube_pace_init(&pace, SECONDS(10), 1);
	return pace;
}

static void interval_has_ten_per_cent_of_jitter(void **state)
{
	(void)state;
	struct kube_pace pace = pace_new();
	uint64_t least = UINT64_MAX, most = 0;
	for (int i = 0; i < 1000; i++) {
		uint64_t delay_ns = kube_pace_succeeded(&pace, 0);
		check_about(delay_ns, 10);
		least = delay_ns < least ? delay_ns : least;
		most = delay_ns > most ? delay_ns : most;
	}
	assert_true(least < SECONDS(9.1) && most > SECONDS(10.9));
}

static void failures_double_the_wait_up_to_10_seconds(void **state)
{
	(void)state;
	struct kube_pace pace = pace_new();
	static const double first[] = {1, 2, 4, 8, 10, 10}; /* it never answered: it may be starting */
	for (size_t i = 0; i < ARRAY_SIZE(first); i++)
		check_about(kube_pace_failed(&pace, 0), first[i]);
	check_about(kube_pace_succeeded(&pace, 0), 10);
	static const double later[] = {10, 10, 10};
	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		check_about(kube_pace_failed(&pace, 401), later[i]);
	for (int i = 0; i < 1000; i++)
		check_about(kube_pace_failed(&pace, 0), 10);
	check_about(kube_pace_succeeded(&pace, 0), 10);
	check_about(kube_pace_failed(&pace, 0), 10);
}

static void long_interval_is_never_shortened(void **state)
{
	(void)state;
	struct kube_pace pace;
	kube_pace_init(&pace, SECONDS(300), 1);
	check_about(kube_pace_succeeded(&pace, 0), 300);
	check_about(kube_pace_failed(&pace, 0), 300);
	check_about(kube_pace_failed(&pace, 0), 300);
}

static void forbidden_waits_30_seconds_at_least(void **state)
{
	(void)state;
	struct kube_pace pace = pace_new();
	for (int i = 0; i < 5; i++)
		assert_true(kube_pace_failed(&pace, 403) == SECONDS(30));
	assert_true(kube_pace_failed(&pace, 403) >= SECONDS(30)); /* 32 s, with jitter */
	check_about(kube_pace_failed(&pace, 403), 60);
}

static void nudge_is_served_once_a_second(void **state)
{
	(void)state;
	struct kube_pace pace = pace_new();
	assert_int_equal(kube_pace_nudged(&pace, SECONDS(100), false), 0); /* before the first poll */
	kube_pace_started(&pace, SECONDS(100));
	kube_pace_succeeded(&pace, SECONDS(100.1));
	assert_int_equal(kube_pace_nudged(&pace, SECONDS(100.25), false), SECONDS(0.75));
	assert_int_equal(kube_pace_nudged(&pace, SECONDS(100.5), false), SECONDS(0.5));
	assert_int_equal(kube_pace_nudged(&pace, SECONDS(101), false), 0);
	assert_int_equal(kube_pace_nudged(&pace, SECONDS(105), false), 0);
}

static void nudge_while_a_poll_is_under_way_asks_for_another(void **state)
{
	(void)state;
	struct kube_pace pace = pace_new();
	kube_pace_started(&pace, SECONDS(100));
	assert_true(kube_pace_nudged(&pace, SECONDS(100.1), true) == UINT64_MAX);
	assert_int_equal(kube_pace_succeeded(&pace, SECONDS(100.25)), SECONDS(0.75));
	kube_pace_started(&pace, SECONDS(101));
	assert_int_equal(kube_pace_succeeded(&pace, SECONDS(101.1)), SECONDS(1)); /* once; then what follows a nudge */
	kube_pace_started(&pace, SECONDS(111));
	assert_true(kube_pace_nudged(&pace, SECONDS(111), true) == UINT64_MAX);
	assert_int_equal(kube_pace_succeeded(&pace, SECONDS(115)), 0);
}

static void nudge_is_followed_up_until_the_kubelet_has_written_the_pods_address(void **state)
{
	(void)state;
	struct kube_pace pace = pace_new();
	kube_pace_started(&pace, SECONDS(100));
	check_about(kube_pace_succeeded(&pace, SECONDS(100)), 10);
	assert_int_equal(kube_pace_nudged(&pace, SECONDS(105), false), 0);
	assert_int_equal(kube_pace_succeeded(&pace, SECONDS(105.1)), SECONDS(1));
	assert_int_equal(kube_pace_succeeded(&pace, SECONDS(106.1)), SECONDS(2));
	check_about(kube_pace_succeeded(&pace, SECONDS(108.1)), 10);
	kube_pace_nudged(&pace, SECONDS(112), false);
	check_about(kube_pace_failed(&pace, 0), 10); /* a back-off ends it */
	check_about(kube_pace_succeeded(&pace, SECONDS(122)), 10);
}

static void nudge_does_not_shorten_a_back_off(void **state)
{
	(void)state;
	struct kube_pace pace = pace_new();
	kube_pace_started(&pace, SECONDS(100));
	assert_true(kube_pace_nudged(&pace, SECONDS(100), true) == UINT64_MAX);
	check_about(kube_pace_failed(&pace, 0), 1);
	assert_true(kube_pace_nudged(&pace, SECONDS(200), false) == UINT64_MAX);
	kube_pace_started(&pace, SECONDS(300));
	check_about(kube_pace_succeeded(&pace, SECONDS(300)), 10);
	assert_int_equal(kube_pace_nudged(&pace, SECONDS(302), false), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interval_has_ten_per_cent_of_jitter),
		cmocka_unit_test(failures_double_the_wait_up_to_10_seconds),
		cmocka_unit_test(long_interval_is_never_shortened),
		cmocka_unit_test(forbidden_waits_30_seconds_at_least),
		cmocka_unit_test(nudge_is_served_once_a_second),
		cmocka_unit_test(nudge_while_a_poll_is_under_way_asks_for_another),
		cmocka_unit_test(nudge_is_followed_up_until_the_kubelet_has_written_the_pods_address),
		cmocka_unit_test(nudge_does_not_shorten_a_back_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
