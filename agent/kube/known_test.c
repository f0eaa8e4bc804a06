#include <errno.h>
#include <stdio.h>

#include "known.h"
#include "test.h"

static void gone(void *arg, struct span uid)
{
	size_t *count = arg;
	assert_true(uid.len > 0);
	++*count;
}

static void what_changed_and_what_is_gone_is_known(void **state)
{
	struct kube_known known;
	size_t count = 0;
	(void)state;
	kube_known_init(&known);
	kube_known_begin(&known);
	assert_int_equal(kube_known_put(&known, SPAN("a"), SPAN("1")), 1);
	assert_int_equal(kube_known_put(&known, SPAN("b"), SPAN("1")), 1);
	assert_int_equal(kube_known_put(&known, SPAN("a"), SPAN("1")), 0);
	assert_int_equal(kube_known_put(&known, SPAN("a"), SPAN("2")), 1);
	assert_int_equal(kube_known_sweep(&known, false, gone, &count), 0);
	assert_int_equal(count, 0);
	kube_known_begin(&known);
	assert_int_equal(kube_known_put(&known, SPAN("b"), SPAN("1")), 0);
	assert_int_equal(kube_known_sweep(&known, false, gone, &count), 0);
	assert_int_equal(count, 1);
	assert_false(kube_known_remove(&known, SPAN("a")));
	assert_true(kube_known_remove(&known, SPAN("b")));
	kube_known_done(&known);
}

static void all_of_many_can_go_at_once(void **state)
{
	struct kube_known known;
	size_t count = 0;
	(void)state;
	kube_known_init(&known);
	for (int i = 0; i < 5000; i++) {
		char uid[16];
		snprintf(uid, sizeof(uid), "uid-%d", i);
		assert_int_equal(kube_known_put(&known, span_str(uid), SPAN("1")), 1);
	}
	assert_int_equal(kube_known_sweep(&known, true, gone, &count), 0);
	assert_int_equal(count, 5000);
	assert_int_equal(known.objects.count, 0);
	kube_known_done(&known);
}

static int attempt(void *arg)
{
	struct kube_known known;
	size_t count = 0;
	(void)arg;
	kube_known_init(&known);
	int r = kube_known_put(&known, SPAN("a"), SPAN("1"));
	if (r >= 0)
		r = kube_known_put(&known, SPAN("b"), SPAN("1"));
	if (r >= 0)
		r = kube_known_sweep(&known, true, gone, &count);
	assert_int_equal(count, r < 0 ? 0 : 2);
	kube_known_done(&known);
	return r;
}

static void out_of_memory_is_told(void **state)
{
	(void)state;
	test_out_of_memory(attempt, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_changed_and_what_is_gone_is_known),
		cmocka_unit_test(all_of_many_can_go_at_once),
		cmocka_unit_test(out_of_memory_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
