#include "store.h"

#include <stdio.h>

#include "dump.h"

/* Pod `uid` in the state `phase`, one letter each. */
static struct kube_pods *one_pod(char uid, char phase)
{
	char json[200];
	struct kube_pods *pods;
	struct error err = {""};
	snprintf(json, sizeof(json),
		"{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"%c\",\"namespace\":\"n\",\"name\":\"p\"},"
		"\"status\":{\"phase\":\"%c\"}}]}",
		uid, phase);
	if (parse_pods(span_str(json), 100, 1 << 20, &pods, &err) < 0)
		fail_msg("%s", err.text);
	return pods;
}

static void check_put(struct kube_store *store, const char *pod, bool expected)
{
	bool changed = !expected;
	struct kube_pods *one = one_pod(pod[0], pod[1]);
	assert_int_equal(kube_store_put(store, one, &changed), 0);
	kube_pods_unref(one);
	assert_int_equal(changed, expected);
}

static void check_list(const struct kube_store *store, const char *expected)
{
	struct buf text;
	struct kube_pods *pods;
	buf_init(&text, 1000);
	assert_int_equal(kube_store_list(store, &pods), 0);
	for (size_t i = 0; i < pods->count; i++)
		buf_printf(&text, "%s%.*s%.*s", i > 0 ? " " : "", SPAN_ARGS(pods->items[i].uid),
			SPAN_ARGS(pods->items[i].phase));
	test_assert_text(buf_view(&text), expected);
	kube_pods_unref(pods);
	buf_done(&text);
}

/* A store with a1 and b1, synced at 100 s; missing pods have 10 s. */
static void start(struct kube_store *store)
{
	kube_store_init(store, 10 * NS_PER_SEC);
	kube_store_begin(store);
	check_put(store, "b1", true);
	check_put(store, "a1", true);
	kube_store_synced(store, 100 * NS_PER_SEC);
	assert_int_equal(kube_store_deadline(store), 0);
}

static void pods_are_put_once_however_often_they_are_told(void **state)
{
	(void)state;
	struct kube_store store;
	start(&store);
	check_list(&store, "a1 b1");
	check_put(&store, "a1", false);
	check_put(&store, "a2", true);
	check_put(&store, "c1", true);
	check_list(&store, "a2 b1 c1");
	kube_store_done(&store);
}

static void removed_pod_is_gone_at_once(void **state)
{
	(void)state;
	struct kube_store store;
	start(&store);
	assert_true(kube_store_remove(&store, SPAN("a")));
	assert_false(kube_store_remove(&store, SPAN("a")));
	check_list(&store, "b1");
	kube_store_done(&store);
}

static void pods_missing_from_a_sync_go_after_the_grace(void **state)
{
	(void)state;
	struct kube_store store;
	start(&store);
	kube_store_begin(&store);
	check_put(&store, "b1", false);
	check_list(&store, "a1 b1");
	assert_int_equal(kube_store_deadline(&store), 0); /* nothing is missing before all was told */
	kube_store_synced(&store, 200 * NS_PER_SEC);
	assert_int_equal(kube_store_deadline(&store), 210 * NS_PER_SEC);
	assert_false(kube_store_expire(&store, 210 * NS_PER_SEC - 1));
	check_list(&store, "a1 b1");
	assert_true(kube_store_expire(&store, 210 * NS_PER_SEC));
	check_list(&store, "b1");
	assert_int_equal(kube_store_deadline(&store), 0);
	kube_store_done(&store);
}

static void missing_pod_that_is_told_of_later_stays(void **state)
{
	(void)state;
	struct kube_store store;
	start(&store);
	kube_store_begin(&store);
	kube_store_synced(&store, 200 * NS_PER_SEC);
	check_put(&store, "a1", false);
	assert_true(kube_store_remove(&store, SPAN("b")));
	assert_int_equal(kube_store_deadline(&store), 0);
	assert_false(kube_store_expire(&store, 300 * NS_PER_SEC));
	check_list(&store, "a1");
	kube_store_done(&store);
}

static void sync_that_breaks_off_loses_nothing(void **state)
{
	(void)state;
	struct kube_store store;
	start(&store);
	kube_store_begin(&store);
	check_put(&store, "b2", true);
	kube_store_begin(&store);
	assert_false(kube_store_expire(&store, 1000 * NS_PER_SEC));
	check_put(&store, "a1", false);
	kube_store_synced(&store, 1000 * NS_PER_SEC);
	check_list(&store, "a1 b2");
	assert_int_equal(kube_store_deadline(&store), 1010 * NS_PER_SEC); /* b */
	kube_store_done(&store);
}

static void list_outlives_the_store(void **state)
{
	(void)state;
	struct kube_store store;
	struct kube_pods *pods;
	start(&store);
	assert_int_equal(kube_store_list(&store, &pods), 0);
	check_put(&store, "a2", true);
	kube_store_done(&store);
	assert_true(span_eq(kube_pods_find(pods, SPAN("a"))->phase, SPAN("1")));
	kube_pods_unref(pods);
}

static int fill_and_list(void *arg)
{
	struct kube_pods **ones = arg;
	struct kube_store store;
	struct kube_pods *pods = NULL;
	bool changed;
	kube_store_init(&store, 0);
	int r = kube_store_put(&store, ones[0], &changed);
	if (r == 0)
		r = kube_store_put(&store, ones[1], &changed);
	if (r == 0)
		r = kube_store_list(&store, &pods);
	kube_pods_unref(pods);
	kube_store_done(&store);
	return r;
}

static void store_survives_no_memory(void **state)
{
	(void)state;
	struct kube_pods *ones[] = {one_pod('a', '1'), one_pod('a', '2')};
	test_out_of_memory(fill_and_list, ones);
	kube_pods_unref(ones[0]);
	kube_pods_unref(ones[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods_are_put_once_however_often_they_are_told),
		cmocka_unit_test(removed_pod_is_gone_at_once),
		cmocka_unit_test(pods_missing_from_a_sync_go_after_the_grace),
		cmocka_unit_test(missing_pod_that_is_told_of_later_stays),
		cmocka_unit_test(sync_that_breaks_off_loses_nothing),
		cmocka_unit_test(list_outlives_the_store),
		cmocka_unit_test(store_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
