/* The client against a scripted server: messages however they are cut, and every way in which a call ends. */
#include "grpc.h"

#include "grpc_server.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
	struct loop *loop;
	struct loop_timer *timer;
	char folder[64], socket[96];
	struct test_grpc *server;
	struct grpc_request request;
	struct grpc_call *call;
	struct buf got; /* the messages, each followed by a line's end */
	size_t messages, stop_after;
	int refuse_with;
	bool done;
	struct grpc_result result;
};

static int on_message(void *arg, struct span message)
{
	struct fixture *f = arg;
	buf_span(&f->got, message);
	buf_char(&f->got, '\n');
	if (++f->messages == f->stop_after)
		loop_stop(f->loop);
	return f->refuse_with;
}

static void on_done(void *arg, const struct grpc_result *result)
{
	struct fixture *f = arg;
	f->done = true;
	f->call = NULL;
	f->result = *result;
	loop_stop(f->loop);
}

static void setup(struct fixture *f, const struct test_grpc_reply *replies, size_t count)
{
	*f = (struct fixture){.loop = NULL};
	snprintf(f->folder, sizeof(f->folder), "/tmp/gleaner-grpc-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->socket, sizeof(f->socket), "%s/s.sock", f->folder);
	buf_init(&f->got, 1 << 22);
	assert_int_equal(loop_new(&f->loop), 0);
	if (count > 0)
		f->server = test_grpc_start(f->socket, replies, count);
	f->request = (struct grpc_request){
		.socket = f->socket,
		.method = "/v1alpha1.Pods/WatchPods",
		.max_message_bytes = 1 << 20,
		.first_timeout_ns = 5 * NS_PER_SEC,
		.on_message = on_message,
		.on_done = on_done,
		.arg = f,
	};
}

static void run(struct fixture *f)
{
	struct error err = {""};
	if (grpc_start(f->loop, &f->request, &f->call, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(loop_run(f->loop), 0);
}

static void teardown(struct fixture *f)
{
	grpc_cancel(f->call);
	if (f->server)
		test_grpc_stop(f->server);
	loop_free(f->loop);
	buf_done(&f->got);
	rmdir(f->folder);
}

static void check_end(struct fixture *f, const struct test_grpc_reply *reply, int code, const char *text)
{
	setup(f, reply, 1);
	run(f);
	assert_true(f->done);
	assert_int_equal(f->result.code, code);
	if (!strstr(f->result.error.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, f->result.error.text);
	teardown(f);
}

#define MESSAGES "\0\0\0\0\3one\0\0\0\0\0\0\0\0\0\5three"

static void messages_come_whole_however_they_are_cut(void **state)
{
	(void)state;
	static const size_t frames[] = {0, 1, 2, 3, 7};
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		const struct test_grpc_reply reply = {.messages = SPAN(MESSAGES), .frame_bytes = frames[i]};
		struct fixture f;
		setup(&f, &reply, 1);
		run(&f);
		assert_true(f.done);
		assert_int_equal(f.result.code, GRPC_OK);
		test_assert_text(buf_view(&f.got), "one\n\nthree\n");
		assert_string_equal(test_grpc_path(f.server, 0), "/v1alpha1.Pods/WatchPods");
		assert_int_equal(test_grpc_request_bytes(f.server), 5); /* an empty message */
		teardown(&f);
	}
}

static void message_larger_than_the_window_arrives(void **state)
{
	(void)state;
	struct buf large, out;
	struct fixture f;
	buf_init(&large, 4 << 20);
	buf_init(&out, 4 << 20);
	memset(buf_reserve(&large, 3 << 20), 'x', 3 << 20);
	large.len = 3 << 20;
	test_grpc_message(&out, buf_view(&large));
	const struct test_grpc_reply reply = {.messages = buf_view(&out)};
	setup(&f, &reply, 1);
	f.request.max_message_bytes = 3 << 20;
	run(&f);
	assert_int_equal(f.result.code, GRPC_OK);
	assert_int_equal(f.got.len, large.len + 1);
	teardown(&f);
	buf_done(&large);
	buf_done(&out);
}

static void status_of_the_server_is_told_in_its_words(void **state)
{
	(void)state;
	struct fixture f;
	const struct test_grpc_reply unknown = {.status = 12, .message = "unknown service v1beta1.Pods"};
	check_end(&f, &unknown, GRPC_UNIMPLEMENTED,
		"/v1alpha1.Pods/WatchPods: grpc-status 12: unknown service v1beta1.Pods");
	const struct test_grpc_reply dropped = {
		.messages = SPAN(MESSAGES), .frame_bytes = 4, .status = 8, .message = "too slow"};
	check_end(&f, &dropped, GRPC_RESOURCE_EXHAUSTED, "grpc-status 8: too slow");
}

static void stream_that_breaks_is_a_reset(void **state)
{
	(void)state;
	struct fixture f;
	const struct test_grpc_reply closed = {.messages = SPAN("\0\0\0\0\3on"), .then = TEST_GRPC_CLOSE};
	check_end(&f, &closed, -ECONNRESET, "the connection was closed");
	const struct test_grpc_reply half = {.messages = SPAN("\0\0\0\0\3on")};
	check_end(&f, &half, -EPROTO, "in the middle of a message");
	const struct test_grpc_reply page = {.http_status = "404", .messages = SPAN("404 page not found")};
	check_end(&f, &page, -EPROTO, "HTTP status 404");
}

static void message_that_cannot_be_taken_ends_the_call(void **state)
{
	(void)state;
	struct fixture f;
	const struct test_grpc_reply large = {.messages = SPAN("\0\377\0\0\0x"), .then = TEST_GRPC_STAY};
	check_end(&f, &large, -EMSGSIZE, "larger than allowed");
	const struct test_grpc_reply compressed = {.messages = SPAN("\1\0\0\0\1x"), .then = TEST_GRPC_STAY};
	check_end(&f, &compressed, -EPROTO, "compressed");
	const struct test_grpc_reply refused = {.messages = SPAN(MESSAGES), .then = TEST_GRPC_STAY};
	setup(&f, &refused, 1);
	f.refuse_with = -EBADMSG;
	run(&f);
	assert_int_equal(f.messages, 1);
	assert_int_equal(f.result.code, -EBADMSG);
	teardown(&f);
}

static void server_that_says_nothing_times_out(void **state)
{
	(void)state;
	struct fixture f;
	const struct test_grpc_reply silent = {.then = TEST_GRPC_STAY};
	setup(&f, &silent, 1);
	f.request.first_timeout_ns = 20 * NS_PER_MS;
	run(&f);
	assert_int_equal(f.result.code, -ETIMEDOUT);
	teardown(&f);
}

static void quiet_stream_is_asked_whether_it_lives(void **state)
{
	(void)state;
	struct fixture f;
	const struct test_grpc_reply quiet = {.messages = SPAN(MESSAGES), .then = TEST_GRPC_STAY};
	setup(&f, &quiet, 1);
	f.request.ping_interval_ns = f.request.ping_timeout_ns = 60 * NS_PER_SEC;
	f.stop_after = 3;
	run(&f); /* it lives, and no ping is due */
	assert_false(f.done);
	assert_int_equal(test_grpc_pings(f.server), 0);
	teardown(&f);
	const struct test_grpc_reply deaf = {.messages = SPAN(MESSAGES), .then = TEST_GRPC_DEAF};
	setup(&f, &deaf, 1);
	f.request.ping_interval_ns = f.request.ping_timeout_ns = 10 * NS_PER_MS;
	run(&f);
	assert_int_equal(f.result.code, -ETIMEDOUT);
	assert_int_equal(f.messages, 3);
	teardown(&f);
}

/* A second ping is sent only after the first was answered. */
static void stop_after_two_pings(void *arg)
{
	struct fixture *f = arg;
	if (test_grpc_pings(f->server) >= 2)
		loop_stop(f->loop);
	else
		loop_timer_set(f->timer, NS_PER_MS);
}

static void answered_ping_keeps_the_stream(void **state)
{
	(void)state;
	struct fixture f;
	const struct test_grpc_reply quiet = {.messages = SPAN(MESSAGES), .then = TEST_GRPC_STAY};
	setup(&f, &quiet, 1);
	f.request.ping_interval_ns = 5 * NS_PER_MS;
	f.request.ping_timeout_ns = 30 * NS_PER_SEC;
	assert_int_equal(loop_timer_new(f.loop, stop_after_two_pings, &f, &f.timer), 0);
	loop_timer_set(f.timer, NS_PER_MS);
	run(&f);
	assert_false(f.done);
	loop_timer_free(f.timer);
	teardown(&f);
}

static void socket_that_is_not_there_is_said_at_once(void **state)
{
	(void)state;
	struct fixture f;
	struct error err = {""};
	char path[200];
	setup(&f, NULL, 0);
	assert_int_equal(grpc_start(f.loop, &f.request, &f.call, &err), -ENOENT);
	assert_true(strstr(err.text, "s.sock: No such file or directory") != NULL);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	f.request.socket = path;
	assert_int_equal(grpc_start(f.loop, &f.request, &f.call, &err), -ENAMETOOLONG);
	teardown(&f);
}

static int call_once(void *arg)
{
	struct fixture *f = arg;
	f->done = false;
	int r = grpc_start(f->loop, &f->request, &f->call, NULL);
	if (r == 0) {
		loop_run(f->loop);
		r = f->result.code;
	}
	buf_reset(&f->got);
	return r;
}

static void call_survives_no_memory(void **state)
{
	(void)state;
	const struct test_grpc_reply reply = {.messages = SPAN(MESSAGES), .frame_bytes = 2};
	struct fixture f;
	setup(&f, &reply, 1);
	buf_reserve(&f.got, 1000);
	test_out_of_memory(call_once, &f);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_come_whole_however_they_are_cut),
		cmocka_unit_test(message_larger_than_the_window_arrives),
		cmocka_unit_test(status_of_the_server_is_told_in_its_words),
		cmocka_unit_test(stream_that_breaks_is_a_reset),
		cmocka_unit_test(message_that_cannot_be_taken_ends_the_call),
		cmocka_unit_test(server_that_says_nothing_times_out),
		cmocka_unit_test(quiet_stream_is_asked_whether_it_lives),
		cmocka_unit_test(answered_ping_keeps_the_stream),
		cmocka_unit_test(socket_that_is_not_there_is_said_at_once),
		cmocka_unit_test(call_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
