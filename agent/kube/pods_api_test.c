/* The driver against a scripted kubelet that replays what a real one sent. */
#include "pods_api.h"

#include "captured.h"
#include "grpc_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS_MAX = 32, REPLIES_MAX = 4 };

struct fixture {
	struct loop *loop;
	char folder[64], socket[96];
	struct test_grpc *server;
	struct test_grpc_reply replies[REPLIES_MAX];
	size_t reply_count;
	struct buf streams[REPLIES_MAX];
	struct captured_event events[EVENTS_MAX];
	size_t event_count;
	struct test_clock clock;
	struct kube_pods_api_options options;
	struct kube_pods_api *api;

	size_t lists, answers, failures;
	size_t stop_at_lists, stop_at_failures, stop_at_answers;
	struct kube_pods *last;
	struct error error;
	uint64_t next_ns;
};

static void on_pods(void *arg, struct kube_pods *pods)
{
	struct fixture *f = arg;
	kube_pods_ref(pods);
	kube_pods_unref(f->last);
	f->last = pods;
	if (++f->lists == f->stop_at_lists)
		loop_stop(f->loop);
}

static void on_failed(void *arg, const struct error *err, uint64_t next_ns)
{
	struct fixture *f = arg;
	f->error = *err;
	f->next_ns = next_ns;
	if (++f->failures == f->stop_at_failures)
		loop_stop(f->loop);
}

static void on_answered(void *arg)
{
	struct fixture *f = arg;
	if (++f->answers == f->stop_at_answers)
		loop_stop(f->loop);
}

static void setup(struct fixture *f)
{
	*f = (struct fixture){.clock = {.mono_ns = 100 * NS_PER_SEC, .wall_ns = 1000 * NS_PER_SEC}};
	snprintf(f->folder, sizeof(f->folder), "/tmp/gleaner-pods-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->socket, sizeof(f->socket), "%s/s.sock", f->folder);
	assert_int_equal(loop_new(&f->loop), 0);
	for (size_t i = 0; i < REPLIES_MAX; i++)
		buf_init(&f->streams[i], 1 << 20);
	f->event_count = captured_read(f->events, EVENTS_MAX);
	f->options.socket = f->socket;
}

static void teardown(struct fixture *f)
{
	kube_pods_api_free(f->api);
	if (f->server)
		test_grpc_stop(f->server);
	kube_pods_unref(f->last);
	for (size_t i = 0; i < REPLIES_MAX; i++)
		buf_done(&f->streams[i]);
	captured_free(f->events, f->event_count);
	loop_free(f->loop);
	rmdir(f->folder);
}

/* A WatchPodsEvent, appended to a stream. */
static void add_event(struct buf *stream, enum captured_type type, struct span pod)
{
	struct buf event;
	buf_init(&event, 1 << 20);
	buf_char(&event, 0x08);
	buf_char(&event, (char)type);
	if (pod.len > 0)
		buf_char(&event, 0x12);
	for (size_t len = pod.len; len > 0; len >>= 7)
		buf_char(&event, (char)((len & 0x7f) | (len > 0x7f ? 0x80 : 0)));
	buf_span(&event, pod);
	test_grpc_message(stream, buf_view(&event));
	buf_done(&event);
}

/* The next reply: the captured events first to last (not included), or none. */
static struct test_grpc_reply *add_reply(struct fixture *f, size_t first, size_t last)
{
	struct buf *stream = &f->streams[f->reply_count];
	for (size_t i = first; i < last; i++)
		add_event(stream, f->events[i].type, buf_view(&f->events[i].pod));
	struct test_grpc_reply *reply = &f->replies[f->reply_count++];
	*reply = (struct test_grpc_reply){.messages = buf_view(stream), .then = TEST_GRPC_STAY};
	return reply;
}

static void add_status(struct fixture *f, int status, const char *message)
{
	f->replies[f->reply_count++] = (struct test_grpc_reply){.status = status, .message = message};
}

static void run(struct fixture *f, size_t lists, size_t failures)
{
	struct kube_kubelet_events events = {on_pods, on_failed, on_answered, f};
	f->stop_at_lists = lists;
	f->stop_at_failures = failures;
	if (!f->server && f->reply_count > 0)
		f->server = test_grpc_start(f->socket, f->replies, f->reply_count);
	if (!f->api)
		assert_int_equal(
			kube_pods_api_new(f->loop, &f->options, test_clock(&f->clock), events, &f->api, NULL), 0);
	assert_int_equal(loop_run(f->loop), 0);
}

static void check_error(const struct fixture *f, const char *text)
{
	if (!strstr(f->error.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, f->error.text);
}

static bool has(const struct fixture *f, const char *name)
{
	for (size_t i = 0; i < f->last->count; i++)
		if (span_eq(f->last->items[i].name, span_str(name)))
			return true;
	return false;
}

static void pods_are_handed_over_once_all_were_told(void **state)
{
	(void)state;
	static const size_t frames[] = {0, 100, 1};
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		struct fixture f;
		setup(&f);
		add_reply(&f, 0, 11)->frame_bytes = frames[i];
		run(&f, 1, 0);
		assert_int_equal(f.last->count, 10);
		assert_int_equal(f.answers, 1);
		assert_int_equal(f.failures, 0);
		struct kube_stats stats;
		kube_pods_api_stats(f.api, &stats);
		assert_int_equal(stats.pods, 10);
		assert_int_equal(stats.last_success_wall_ns, 1000 * NS_PER_SEC);
		teardown(&f);
	}
}

static void changes_are_followed(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	add_reply(&f, 0, 12);
	run(&f, 1, 0);
	if (f.last->count < 11) /* the change came in a frame of its own */
		run(&f, 2, 0);
	assert_true(has(&f, "short-lived"));
	teardown(&f);
	setup(&f);
	add_reply(&f, 0, f.event_count); /* to the end of the pod */
	run(&f, 1, 0);
	while (has(&f, "short-lived"))
		run(&f, f.lists + 1, 0);
	assert_int_equal(f.last->count, 10);
	teardown(&f);
}

static void kubelet_without_v1beta1_is_asked_for_v1alpha1(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	add_status(&f, 12, "unknown service v1beta1.Pods");
	add_reply(&f, 0, 11);
	run(&f, 1, 0);
	assert_string_equal(test_grpc_path(f.server, 0), "/v1beta1.Pods/WatchPods");
	assert_string_equal(test_grpc_path(f.server, 1), "/v1alpha1.Pods/WatchPods");
	assert_int_equal(f.failures, 0);
	assert_int_equal(f.last->count, 10);
	teardown(&f);
}

static void kubelet_without_the_service_is_absent(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_stats stats;
	setup(&f);
	add_status(&f, 12, "unknown service");
	run(&f, 0, 1);
	assert_int_equal(test_grpc_calls(f.server), 2);
	kube_pods_api_stats(f.api, &stats);
	assert_int_equal(stats.last_failure, KUBE_FAILURE_ABSENT);
	check_error(&f, "grpc-status 12: unknown service");
	teardown(&f);
}

static void kubelet_that_is_starting_is_asked_again(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_stats stats;
	setup(&f);
	add_status(&f, 9, "Kubelet is initializing");
	add_reply(&f, 0, 11);
	run(&f, 0, 1);
	kube_pods_api_stats(f.api, &stats);
	assert_int_equal(stats.last_failure, KUBE_FAILURE_TRANSIENT);
	check_error(&f, "grpc-status 9: Kubelet is initializing");
	assert_true(f.next_ns >= 50 * NS_PER_MS && f.next_ns <= 100 * NS_PER_MS);
	run(&f, 1, 0);
	assert_int_equal(f.last->count, 10);
	kube_pods_api_stats(f.api, &stats);
	assert_int_equal(stats.consecutive_failures, 0);
	assert_string_equal(stats.last_error.text, "");
	teardown(&f);
}

static void dropped_watcher_comes_back_and_loses_nothing(void **state)
{
	(void)state;
	struct fixture f;
	struct test_grpc_reply *reply;
	setup(&f);
	reply = add_reply(&f, 0, 11);
	reply->then = TEST_GRPC_END;
	reply->status = 8;
	reply->message = "client too slow";
	add_reply(&f, 1, 11); /* the first pod is gone */
	run(&f, 0, 1);
	check_error(&f, "grpc-status 8: client too slow");
	f.stop_at_answers = 2;
	run(&f, 0, 0);
	while (!f.last)
		run(&f, 1, 0);
	assert_int_equal(f.last->count, 10);
	teardown(&f);
}

static void pod_that_went_while_the_stream_was_broken_stays_for_now(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	add_reply(&f, 0, 11)->then = TEST_GRPC_CLOSE;
	add_reply(&f, 1, 12); /* without the first, with one more */
	f.stop_at_answers = 2;
	run(&f, 0, 0);
	assert_int_equal(f.answers, 2);
	while (!f.last || !has(&f, "short-lived"))
		run(&f, f.lists + 1, 0);
	assert_int_equal(f.last->count, 11);
	assert_true(has(&f, "with-sidecar"));
	teardown(&f);
}

static void missing_socket_is_absent_and_asked_for_ever_less(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_stats stats;
	setup(&f);
	run(&f, 0, 1);
	check_error(&f, "s.sock: No such file or directory");
	kube_pods_api_stats(f.api, &stats);
	assert_int_equal(stats.last_failure, KUBE_FAILURE_ABSENT);
	run(&f, 0, 2);
	assert_true(f.next_ns >= 100 * NS_PER_MS);
	teardown(&f);
}

static void pod_that_cannot_be_read_is_counted_and_left_out(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_stats stats;
	setup(&f);
	add_event(&f.streams[0], CAPTURED_ADDED, SPAN("\x0a\x03\x0a\x01p"));
	add_event(&f.streams[0], CAPTURED_DELETED, SPAN("\x0a\x03\x0a\x01p"));
	add_event(&f.streams[0], (enum captured_type)9, SPAN("from a later kubelet"));
	add_reply(&f, 0, 11);
	run(&f, 1, 0);
	assert_int_equal(f.last->count, 10);
	kube_pods_api_stats(f.api, &stats);
	assert_int_equal(stats.failures, 2);
	assert_int_equal(stats.consecutive_failures, 0);
	teardown(&f);
}

static void stream_that_never_tells_all_is_a_failure(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	f.options.first_timeout_ns = 20 * NS_PER_MS;
	add_reply(&f, 0, 5); /* five pods, and then no word that this was all */
	run(&f, 0, 2);
	check_error(&f, "WatchPods: not all pods were told in time");
	assert_int_equal(f.lists, 0);
	assert_int_equal(f.answers, 0);
	teardown(&f);
}

static void driver_can_be_freed_at_any_time(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_kubelet_events events = {on_pods, on_failed, on_answered, &f};
	setup(&f);
	assert_int_equal(kube_pods_api_new(f.loop, &f.options, test_clock(&f.clock), events, &f.api, NULL), 0);
	kube_pods_api_free(f.api);
	f.api = NULL;
	add_reply(&f, 0, 11);
	run(&f, 1, 0);
	teardown(&f);
}

static int make_driver(void *arg)
{
	struct fixture *f = arg;
	struct kube_kubelet_events events = {on_pods, on_failed, on_answered, f};
	struct kube_pods_api *api;
	int r = kube_pods_api_new(f->loop, &f->options, test_clock(&f->clock), events, &api, NULL);
	if (r == 0)
		kube_pods_api_free(api);
	return r;
}

static void making_a_driver_survives_no_memory(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	test_out_of_memory(make_driver, &f);
	teardown(&f);
}

/* However early memory ends, the driver says so and comes back; the list is whole. */
static void stream_survives_no_memory(void **state)
{
	(void)state;
	for (size_t n = 0; n < 200; n += 7) {
		struct fixture f;
		setup(&f);
		add_reply(&f, 0, 11);
		struct kube_kubelet_events events = {on_pods, on_failed, on_answered, &f};
		assert_int_equal(kube_pods_api_new(f.loop, &f.options, test_clock(&f.clock), events, &f.api, NULL), 0);
		f.server = test_grpc_start(f.socket, f.replies, f.reply_count);
		f.stop_at_failures = f.stop_at_lists = 1;
		test_allocation_fail_after(n);
		assert_int_equal(loop_run(f.loop), 0);
		test_allocation_heal();
		if (f.lists == 0) {
			check_error(&f, "memory");
			run(&f, 1, 0);
		}
		assert_int_equal(f.last->count, 10);
		teardown(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods_are_handed_over_once_all_were_told),
		cmocka_unit_test(changes_are_followed),
		cmocka_unit_test(kubelet_without_v1beta1_is_asked_for_v1alpha1),
		cmocka_unit_test(kubelet_without_the_service_is_absent),
		cmocka_unit_test(kubelet_that_is_starting_is_asked_again),
		cmocka_unit_test(dropped_watcher_comes_back_and_loses_nothing),
		cmocka_unit_test(pod_that_went_while_the_stream_was_broken_stays_for_now),
		cmocka_unit_test(missing_socket_is_absent_and_asked_for_ever_less),
		cmocka_unit_test(pod_that_cannot_be_read_is_counted_and_left_out),
		cmocka_unit_test(stream_that_never_tells_all_is_a_failure),
		cmocka_unit_test(driver_can_be_freed_at_any_time),
		cmocka_unit_test(making_a_driver_survives_no_memory),
		cmocka_unit_test(stream_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
