#include "view.h"

#include "dump.h"

/* A list from a short text: "a1 b2" is pod a in state 1, pod b in state 2. */
static struct kube_pods *pods_of(const char *text)
{
	struct buf json;
	struct kube_pods *pods;
	struct error err = {""};
	struct span rest = span_str(text), word;
	const char *separator = "";
	buf_init(&json, 10000);
	buf_str(&json, "{\"kind\":\"PodList\",\"items\":[");
	while (span_next(&rest, ' ', &word)) {
		if (word.len != 2)
			continue;
		buf_printf(&json,
			"%s{\"metadata\":{\"uid\":\"%c\",\"namespace\":\"n\",\"name\":\"p\"},\"status\":{\"phase\":\"%"
			"c\"}}",
			separator, word.ptr[0], word.ptr[1]);
		separator = ",";
	}
	buf_str(&json, "]}");
	if (parse_pods(buf_view(&json), 100, 1 << 20, &pods, &err) < 0)
		fail_msg("%s", err.text);
	buf_done(&json);
	return pods;
}

static void check_published(const struct kube_view *view, const char *expected)
{
	struct buf text;
	buf_init(&text, 1000);
	for (size_t i = 0; i < view->published->count; i++) {
		const struct kube_pod *pod = &view->published->items[i];
		buf_printf(&text, "%s%.*s%.*s", i > 0 ? " " : "", SPAN_ARGS(pod->uid), SPAN_ARGS(pod->phase));
	}
	test_assert_text(buf_view(&text), expected);
	buf_done(&text);
}

static void poll(struct kube_view *view, const char *pods, uint64_t now_s, bool changed, const char *published)
{
	struct kube_pods *fresh = pods_of(pods);
	bool is_changed = !changed;
	assert_int_equal(kube_view_update(view, fresh, now_s * NS_PER_SEC, &is_changed), 0);
	kube_pods_unref(fresh);
	assert_int_equal(is_changed, changed);
	check_published(view, published);
}

static void only_changes_are_announced(void **state)
{
	(void)state;
	struct kube_view view = {0};
	poll(&view, "", 0, true, ""); /* the first answer is news, even an empty one */
	poll(&view, "a1 b1", 10, true, "a1 b1");
	poll(&view, "b1 a1", 20, false, "a1 b1");
	poll(&view, "a1 b2", 30, true, "a1 b2");
	poll(&view, "a1 b2 c1", 40, true, "a1 b2 c1");
	kube_view_done(&view);
}

static void missing_pod_is_dropped_by_the_second_poll_without_it(void **state)
{
	(void)state;
	struct kube_view view = {0};
	poll(&view, "a1 b1 c1", 0, true, "a1 b1 c1");
	assert_int_equal(kube_view_deadline(&view), 0);
	poll(&view, "a1 c1", 1, false, "a1 b1 c1");
	assert_int_equal(kube_view_deadline(&view), 16 * NS_PER_SEC);
	poll(&view, "a1 c1", 2, true, "a1 c1");
	assert_int_equal(kube_view_deadline(&view), 0);
	kube_view_done(&view);
}

static void pod_that_comes_back_was_never_gone(void **state)
{
	(void)state;
	struct kube_view view = {0};
	poll(&view, "a1 b1", 0, true, "a1 b1");
	poll(&view, "", 1, false, "a1 b1"); /* the kubelet has restarted */
	poll(&view, "a1", 2, true, "a1");
	poll(&view, "a1 b1", 3, true, "a1 b1");
	poll(&view, "a1", 4, false, "a1 b1");
	poll(&view, "a1 b1", 5, false, "a1 b1");
	poll(&view, "a1", 6, false, "a1 b1"); /* and its count starts anew */
	kube_view_done(&view);
}

static void pods_that_go_one_after_the_other_are_counted_each(void **state)
{
	(void)state;
	struct kube_view view = {0};
	poll(&view, "a1 b1 c1", 0, true, "a1 b1 c1");
	poll(&view, "b1 c1", 1, false, "a1 b1 c1");
	poll(&view, "c2", 2, true, "b1 c2");
	poll(&view, "d1", 3, true, "c2 d1");
	poll(&view, "d1", 4, true, "d1");
	kube_view_done(&view);
}

static void missing_pod_is_dropped_after_15_seconds_without_a_poll(void **state)
{
	(void)state;
	struct kube_view view = {0};
	assert_int_equal(kube_view_deadline(&view), 0);
	assert_false(kube_view_expire(&view, 100 * NS_PER_SEC));
	poll(&view, "a1 b1", 0, true, "a1 b1");
	assert_false(kube_view_expire(&view, 100 * NS_PER_SEC));
	poll(&view, "a1", 60, false, "a1 b1");
	assert_false(kube_view_expire(&view, 75 * NS_PER_SEC - 1));
	check_published(&view, "a1 b1");
	assert_true(kube_view_expire(&view, 75 * NS_PER_SEC));
	check_published(&view, "a1");
	assert_false(kube_view_expire(&view, 76 * NS_PER_SEC));
	kube_view_done(&view);
}

static void list_lives_as_long_as_its_listener_wants(void **state)
{
	(void)state;
	struct kube_view view = {0};
	poll(&view, "a1 b1", 0, true, "a1 b1");
	poll(&view, "a2", 1, true, "a2 b1");
	struct kube_pods *kept = kube_pods_ref(view.published);
	kube_view_done(&view);
	assert_true(span_eq(kube_pods_find(kept, SPAN("b"))->phase, SPAN("1"))); /* its text is the first list's */
	kube_pods_unref(kept);
}

static int update_once(void *arg)
{
	struct kube_pods **lists = arg;
	struct kube_view view = {0};
	bool changed;
	int r = kube_view_update(&view, lists[0], 0, &changed);
	if (r == 0)
		r = kube_view_update(&view, lists[1], 0, &changed);
	assert_true(view.published == NULL || view.published->count == 2);
	kube_view_done(&view);
	return r;
}

static void update_survives_no_memory(void **state)
{
	(void)state;
	struct kube_pods *lists[] = {pods_of("a1 b1"), pods_of("a1")};
	test_out_of_memory(update_once, lists);
	kube_pods_unref(lists[0]);
	kube_pods_unref(lists[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_changes_are_announced),
		cmocka_unit_test(missing_pod_is_dropped_by_the_second_poll_without_it),
		cmocka_unit_test(pod_that_comes_back_was_never_gone),
		cmocka_unit_test(pods_that_go_one_after_the_other_are_counted_each),
		cmocka_unit_test(missing_pod_is_dropped_after_15_seconds_without_a_poll),
		cmocka_unit_test(list_lives_as_long_as_its_listener_wants),
		cmocka_unit_test(update_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
