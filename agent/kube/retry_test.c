#include "retry.h"
#include "test.h"

static void check(struct kube_retry *retry, unsigned status, uint64_t asked_ns, uint64_t low_ns, uint64_t high_ns)
{
	uint64_t wait_ns = kube_retry_failed(retry, status, asked_ns);
	if (wait_ns < low_ns || wait_ns > high_ns)
		fail_msg("%llu ms for status %u", (unsigned long long)(wait_ns / NS_PER_MS), status);
}

static void waits_double_up_to_5_seconds_with_full_jitter(void **state)
{
	(void)state;
	uint64_t longest_ns = 0, shortest_ns = UINT64_MAX;
	for (uint64_t seed = 1; seed < 100; seed++) {
		struct kube_retry retry;
		kube_retry_init(&retry, seed);
		for (unsigned i = 0; i < 3; i++)
			check(&retry, 0, 0, 100 * NS_PER_MS, (800 * NS_PER_MS) << i);
		uint64_t wait_ns = 0;
		for (unsigned i = 0; i < 100; i++)
			wait_ns = kube_retry_failed(&retry, i % 2 ? 500 : 0, 0);
		longest_ns = wait_ns > longest_ns ? wait_ns : longest_ns;
		shortest_ns = wait_ns < shortest_ns ? wait_ns : shortest_ns;
	}
	assert_true(longest_ns > 4 * NS_PER_SEC && longest_ns <= 5 * NS_PER_SEC);
	assert_true(shortest_ns < NS_PER_SEC && shortest_ns >= 100 * NS_PER_MS);
}

static void versions_in_the_future_are_counted_in_a_row(void **state)
{
	struct kube_retry retry;
	(void)state;
	kube_retry_init(&retry, 1);
	kube_retry_failed(&retry, 504, 0);
	kube_retry_failed(&retry, 504, 0);
	assert_int_equal(retry.ahead, 2);
	kube_retry_failed(&retry, 502, 0); /* those were a load balancer's, while the server is away */
	kube_retry_failed(&retry, 504, 0);
	assert_int_equal(retry.ahead, 1);
}

static void success_begins_anew(void **state)
{
	struct kube_retry retry;
	(void)state;
	kube_retry_init(&retry, 1);
	for (unsigned i = 0; i < 20; i++)
		kube_retry_failed(&retry, 0, 0);
	kube_retry_succeeded(&retry);
	check(&retry, 0, 0, 100 * NS_PER_MS, 800 * NS_PER_MS);
}

static void what_the_server_asks_for_is_what_it_gets_up_to_a_minute(void **state)
{
	struct kube_retry retry;
	(void)state;
	kube_retry_init(&retry, 1);
	for (unsigned i = 0; i < 20; i++)
		check(&retry, 429, NS_PER_SEC, NS_PER_SEC, 1500 * NS_PER_MS);
	check(&retry, 503, 7200 * NS_PER_SEC, 60 * NS_PER_SEC, 90 * NS_PER_SEC);
}

static void a_refusal_is_asked_again_soon_and_later_every_minute(void **state)
{
	struct kube_retry retry;
	(void)state;
	kube_retry_init(&retry, 1);
	for (unsigned i = 0; i < 3; i++)
		check(&retry, 403, 0, 5 * NS_PER_SEC, 10 * NS_PER_SEC);
	check(&retry, 403, 0, 54 * NS_PER_SEC, 66 * NS_PER_SEC);
	check(&retry, 403, 0, 54 * NS_PER_SEC, 66 * NS_PER_SEC);
	kube_retry_succeeded(&retry);
	check(&retry, 403, 0, 5 * NS_PER_SEC, 10 * NS_PER_SEC);
}

static void a_missing_kind_is_asked_for_soon_and_after_5_minutes_every_minute(void **state)
{
	struct kube_retry retry;
	(void)state;
	kube_retry_init(&retry, 1);
	check(&retry, 404, 0, 2 * NS_PER_SEC, 4 * NS_PER_SEC);
	for (unsigned i = 1; i < 30; i++)
		check(&retry, 404, 0, 5 * NS_PER_SEC, 15 * NS_PER_SEC);
	for (unsigned i = 0; i < 100; i++)
		check(&retry, 404, 0, 54 * NS_PER_SEC, 66 * NS_PER_SEC);
	kube_retry_failed(&retry, 500, 0);
	check(&retry, 404, 0, 2 * NS_PER_SEC, 4 * NS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_double_up_to_5_seconds_with_full_jitter),
		cmocka_unit_test(versions_in_the_future_are_counted_in_a_row),
		cmocka_unit_test(success_begins_anew),
		cmocka_unit_test(what_the_server_asks_for_is_what_it_gets_up_to_a_minute),
		cmocka_unit_test(a_refusal_is_asked_again_soon_and_later_every_minute),
		cmocka_unit_test(a_missing_kind_is_asked_for_soon_and_after_5_minutes_every_minute),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
