/* The node's pods by a watch: the same pods as the kubelet tells, under the same uids. */
#include "api_fixture.h"
#include "dump.h"

#define POD(name, uid, rv, more)                                                                                       \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"uid\":\"" uid "\",\"resourceVersion\":\"" rv      \
	"\"" more "},\"spec\":{\"nodeName\":\"node-a\"},\"status\":{\"phase\":\"Running\"}}"
#define MIRROR(uid, rv)     POD("static", uid, rv, ",\"annotations\":{\"kubernetes.io/config.mirror\":\"abcdef\"}")
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"

static void on_pods(void *arg, struct kube_pods *pods)
{
	struct fixture *f = arg;
	buf_str(&f->log, "pods");
	for (size_t i = 0; i < pods->count; i++)
		buf_printf(&f->log, " %.*s=%.*s", SPAN_ARGS(pods->items[i].name), SPAN_ARGS(pods->items[i].uid));
	buf_char(&f->log, '\n');
	fixture_judge(f);
}

static void on_failed(void *arg, const struct error *err, uint64_t next_ns)
{
	struct fixture *f = arg;
	assert_int_equal(next_ns, 0);
	buf_printf(&f->log, "failed: %s\n", err->text);
	fixture_judge(f);
}

static void on_answered(void *arg)
{
	struct fixture *f = arg;
	buf_str(&f->log, "answered\n");
}

static struct kube_api_pods *start(struct fixture *f)
{
	struct kube_api_pods *pods;
	struct error err;
	struct kube_kubelet_events events = {.pods = on_pods, .failed = on_failed, .answered = on_answered, .arg = f};
	if (kube_api_pods_new(f->api, "node-a", "10.0.0.1", events, &pods, &err) < 0)
		fail_msg("%s", err.text);
	return pods;
}

static void changes_become_lists(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_stats stats;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "",
		SPAN("{\"metadata\":{\"resourceVersion\":\"20\"},\"items\":[" POD("a", "u1", "1", "") "," POD(
			"b", "u2", "2", "") "]}"));
	fixture_stream(&f,
		SPAN(EVENT("MODIFIED", POD("b", "u2", "21", "")) /* nothing of ours has changed */
			EVENT("MODIFIED", POD("b", "u2", "22", ",\"labels\":{\"x\":\"y\"}"))
				EVENT("ADDED", POD("c", "u0", "23", "")) EVENT("DELETED", POD("a", "u1", "24", ""))),
		false);
	fixture_start(&f, false);
	struct kube_api_pods *pods = start(&f);
	fixture_run(&f, "pods c=u0 b=u2", 1, 2);
	test_assert_text(buf_view(&f.log), "answered\npods a=u1 b=u2\nanswered\n"
					   "pods a=u1 b=u2\npods c=u0 a=u1 b=u2\npods c=u0 b=u2\n");
	fixture_request_has(
		&f, 0, "GET /api/v1/pods?timeoutSeconds=60&resourceVersion=0&fieldSelector=spec.nodeName%3Dnode-a");
	kube_api_pods_stats(pods, &stats);
	assert_int_equal(stats.polls, 2);
	assert_int_equal(stats.changes, 4);
	assert_int_equal(stats.pods, 2);
	assert_int_equal(stats.last_success_wall_ns, 1000 * NS_PER_SEC);
	assert_int_equal(stats.last_failure, KUBE_FAILURE_NONE);
	kube_api_pods_free(pods);
	fixture_stop(&f);
}

static void a_mirror_that_is_made_again_is_the_same_static_pod(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "",
		SPAN("{\"metadata\":{\"resourceVersion\":\"20\"},\"items\":[" MIRROR("m1", "1") "]}"));
	fixture_stream(&f,
		SPAN(EVENT("ADDED", MIRROR("m2", "21")) EVENT("DELETED", MIRROR("m1", "22"))
				EVENT("ADDED", POD("a", "u1", "23", "")) EVENT("DELETED", MIRROR("m2", "24"))),
		false);
	fixture_start(&f, false);
	struct kube_api_pods *pods = start(&f);
	fixture_run(&f, "pods a=u1\n", 1, 2);
	test_assert_text(
		buf_view(&f.log), "answered\npods static=abcdef\nanswered\npods static=abcdef a=u1\npods a=u1\n");
	kube_api_pods_free(pods);
	fixture_stop(&f);
}

static void failures_are_told_with_their_kind(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_stats stats;
	fixture_init(&f);
	fixture_captured(&f, GOLDEN "api_403.http");
	fixture_start(&f, false);
	struct kube_api_pods *pods = start(&f);
	fixture_run(&f, "failed: list pods: 403: ", 2, 0);
	kube_api_pods_stats(pods, &stats);
	assert_int_equal(stats.last_failure, KUBE_FAILURE_REFUSED);
	assert_true(stats.consecutive_failures >= 2);
	assert_non_null(strstr(stats.last_error.text, "403"));
	kube_api_pods_free(pods);
	fixture_stop(&f);
}

static struct kube_pods *kept;

static void keep_pods(void *arg, struct kube_pods *pods)
{
	kube_pods_unref(kept);
	kept = kube_pods_ref(pods);
	fixture_judge(arg);
}

/* The proof that a change of the source changes no target. */
static void captured_pods_are_those_that_the_kubelet_tells(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_pods *expected;
	struct kube_api_pods *pods;
	struct error err;
	struct span text = test_file("golden/kubernetes/kubelet_pods.json");
	assert_int_equal(parse_pods(text, text.len, text.len, &expected, &err), 0);
	fixture_init(&f);
	fixture_file(&f, GOLDEN "apiserver_pods_of_node.json");
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_kubelet_events events = {.pods = keep_pods, .failed = on_failed, .arg = &f};
	assert_int_equal(kube_api_pods_new(f.api, "node-a", NULL, events, &pods, &err), 0);
	fixture_run(&f, "", 0, 2);
	assert_non_null(kept);
	assert_int_equal(expected->count, 10);
	assert_int_equal(kept->count, 10);
	for (size_t i = 0; i < 10; i++) {
		struct buf left, right;
		buf_init(&left, 1 << 16);
		buf_init(&right, 1 << 16);
		assert_true(span_eq(kept->items[i].uid, expected->items[i].uid));
		dump_pod(&left, &kept->items[i]);
		dump_pod(&right, &expected->items[i]);
		buf_char(&right, '\0');
		test_assert_text(buf_view(&left), right.ptr);
		assert_true(kept->items[i].hash == expected->items[i].hash);
		buf_done(&left);
		buf_done(&right);
	}
	kube_api_pods_free(pods);
	fixture_stop(&f);
	kube_pods_unref(kept);
	kube_pods_unref(expected);
	test_file_free(text);
}

static void without_a_node_name_there_is_no_such_source(void **state)
{
	(void)state;
	struct kube_api_pods *pods;
	struct error err;
	struct kube_kubelet_events events = {.pods = on_pods};
	assert_int_equal(kube_api_pods_new(NULL, NULL, NULL, events, &pods, &err), -EINVAL);
	assert_non_null(strstr(err.text, "NODE_NAME"));
}

static int make(void *arg)
{
	struct fixture *f = arg;
	struct kube_api_pods *pods;
	struct error err;
	int r = kube_api_pods_new(f->api, "node-a", NULL, (struct kube_kubelet_events){.arg = f}, &pods, &err);
	if (r == 0)
		kube_api_pods_free(pods);
	return r;
}

static int read_pod(void *arg)
{
	struct kube_pods *one;
	int r = kube_pods_from_json(arg, SPAN("10.0.0.1"), &one);
	if (r == 0)
		kube_pods_unref(one);
	return r;
}

static void out_of_memory_is_told(void **state)
{
	(void)state;
	struct fixture f;
	struct arena arena;
	const struct json *json;
	struct error err;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", SPAN("{}"));
	fixture_start(&f, false);
	test_out_of_memory(make, &f);
	fixture_stop(&f);
	arena_init(&arena, 1 << 20);
	assert_int_equal(json_parse(&arena, SPAN(MIRROR("m1", "1")), &json, &err), 0);
	test_out_of_memory(read_pod, (void *)(uintptr_t)json);
	arena_done(&arena);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_become_lists),
		cmocka_unit_test(a_mirror_that_is_made_again_is_the_same_static_pod),
		cmocka_unit_test(failures_are_told_with_their_kind),
		cmocka_unit_test(captured_pods_are_those_that_the_kubelet_tells),
		cmocka_unit_test(without_a_node_name_there_is_no_such_source),
		cmocka_unit_test(out_of_memory_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
