/* For the tests of the API client: a scripted API server, a client of it, and a log of what it told. */
#pragma once

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api.h"
#include "server.h"
#include "test.h"

#define GOLDEN "golden/kubernetes-1.37/"

enum { FIXTURE_REPLIES = 16, FIXTURE_HURRY = 2000 };

struct fixture {
	struct loop *loop;
	struct loop_timer *patience, *later;
	struct test_server *server;
	struct test_reply replies[FIXTURE_REPLIES];
	char *texts[FIXTURE_REPLIES];
	size_t reply_count;
	struct test_certificate authority, certificate;
	struct test_clock clock;
	struct kube_api_options options;
	struct kube_api *api;
	char folder[64], token_file[96], ca_file[96];
	struct buf log;
	const char *until;               /* the loop ends once the log has this text, */
	size_t times;                    /* so many times, */
	size_t requests;                 /* and the server so many requests */
	unsigned upserts_without_memory; /* the first ones fail */
};

/* ---- replies --------------------------------------------------------------------------- */

static inline struct test_reply *fixture_reply(struct fixture *f, char *text, size_t len)
{
	assert_true(f->reply_count < FIXTURE_REPLIES);
	struct test_reply *reply = &f->replies[f->reply_count];
	f->texts[f->reply_count++] = text;
	*reply = (struct test_reply){.bytes = text, .len = len};
	return reply;
}

/* headers: further ones, each with its CRLF. */
static inline struct test_reply *fixture_answer(
	struct fixture *f, const char *status, const char *headers, struct span body)
{
	struct buf out;
	buf_init(&out, SIZE_MAX / 2);
	buf_printf(&out, "HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n", status,
		headers, body.len);
	buf_span(&out, body);
	return fixture_reply(f, out.ptr, out.len);
}

static inline struct test_reply *fixture_file(struct fixture *f, const char *path)
{
	struct span body = test_file(path);
	struct test_reply *reply = fixture_answer(f, "200 OK", "", body);
	test_file_free(body);
	return reply;
}

/* A captured *.http. Chunked ones were stored decoded: they end with their connection here. */
static inline struct test_reply *fixture_captured(struct fixture *f, const char *path)
{
	static const char chunked[] = "Transfer-Encoding: chunked\r\n";
	struct span whole = test_file(path);
	struct buf out;
	buf_init(&out, SIZE_MAX / 2);
	buf_span(&out, whole);
	char *at = memmem(out.ptr, out.len, chunked, sizeof(chunked) - 1);
	if (at) {
		size_t rest = out.len - (size_t)(at - out.ptr) - (sizeof(chunked) - 1);
		memmove(at, at + sizeof(chunked) - 1, rest);
		out.len -= sizeof(chunked) - 1;
	}
	struct test_reply *reply = fixture_reply(f, out.ptr, out.len);
	reply->then = at ? TEST_CLOSE : TEST_KEEP;
	test_file_free(whole);
	return reply;
}

/* A watch with these lines; it stays open unless `ends`. */
static inline struct test_reply *fixture_stream(struct fixture *f, struct span lines, bool ends)
{
	struct buf out;
	buf_init(&out, SIZE_MAX / 2);
	buf_str(&out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
	if (lines.len > 0) {
		buf_printf(&out, "%zx\r\n", lines.len);
		buf_span(&out, lines);
		buf_str(&out, "\r\n");
	}
	buf_str(&out, ends ? "0\r\n\r\n" : "");
	return fixture_reply(f, out.ptr, out.len);
}

static inline struct test_reply *fixture_stream_file(struct fixture *f, const char *path, bool ends)
{
	struct span lines = test_file(path);
	struct test_reply *reply = fixture_stream(f, lines, ends);
	test_file_free(lines);
	return reply;
}

/* ---- life ---------------------------------------------------------------------------------- */

static inline void fixture_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static inline void fixture_out_of_patience(void *arg)
{
	struct fixture *f = arg;
	print_error("log so far:\n%.*s\n%zu requests\n", SPAN_ARGS(buf_view(&f->log)), test_server_requests(f->server));
	fail_msg("\"%s\" has not come", f->until);
}

static inline void fixture_init(struct fixture *f)
{
	*f = (struct fixture){.clock = {.mono_ns = 100 * NS_PER_SEC, .wall_ns = 1000 * NS_PER_SEC}};
	buf_init(&f->log, 1 << 20);
	snprintf(f->folder, sizeof(f->folder), "/tmp/gleaner-api-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->token_file, sizeof(f->token_file), "%s/token", f->folder);
	snprintf(f->ca_file, sizeof(f->ca_file), "%s/ca.crt", f->folder);
	f->options = (struct kube_api_options){
		.token_file = f->token_file,
		.tls.ca_file = f->ca_file,
		.timeout_ns = 5 * NS_PER_SEC,
		.max_list_bytes = 1 << 20,
		.watch_list = KUBE_WATCH_LIST_OFF,
	};
}

/* After the replies were made. */
static inline void fixture_start(struct fixture *f, bool tls)
{
	struct error err = {""};
	if (tls) {
		test_certificate_make("authority", "DNS:authority", NULL, &f->authority);
		test_certificate_make("kubernetes", "IP:127.0.0.1", &f->authority, &f->certificate);
		fixture_write(f->token_file, "the-token\n");
		fixture_write(f->ca_file, f->authority.cert);
	}
	f->server = test_server_start(f->replies, f->reply_count, tls ? &f->certificate : NULL, NULL);
	if (!f->options.api_server)
		f->options.api_server = test_server_url(f->server, "/");
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(loop_timer_new(f->loop, fixture_out_of_patience, f, &f->patience), 0);
	if (kube_api_new(f->loop, &f->options, test_clock(&f->clock), &f->api, &err) < 0)
		fail_msg("%s", err.text);
	f->api->hurry = FIXTURE_HURRY;
}

static inline void fixture_stop(struct fixture *f)
{
	kube_api_free(f->api);
	loop_timer_free(f->patience);
	loop_timer_free(f->later);
	loop_free(f->loop);
	test_server_stop(f->server);
	for (size_t i = 0; i < f->reply_count; i++)
		free(f->texts[i]);
	buf_done(&f->log);
	unlink(f->token_file);
	unlink(f->ca_file);
	rmdir(f->folder);
}

/* The log, NUL-terminated. */
static inline const char *fixture_log(struct fixture *f)
{
	assert_int_equal(buf_char(&f->log, '\0'), 0);
	f->log.len--;
	return f->log.ptr;
}

static inline void fixture_log_has(struct fixture *f, const char *text)
{
	if (!strstr(fixture_log(f), text))
		fail_msg("\"%s\" is not in\n%s", text, f->log.ptr);
}

static inline size_t fixture_count(const struct fixture *f, const char *text)
{
	size_t count = 0;
	for (struct span rest = buf_view(&f->log); rest.len > 0; count++) {
		const char *at = memmem(rest.ptr, rest.len, text, strlen(text));
		if (!at)
			break;
		rest = span_of(at + 1, (size_t)(rest.ptr + rest.len - at) - 1);
	}
	return count;
}

static inline void fixture_judge(struct fixture *f)
{
	if (fixture_count(f, f->until) >= f->times && test_server_requests(f->server) >= f->requests)
		loop_stop(f->loop);
}

static inline void fixture_look_again(void *arg)
{
	struct fixture *f = arg;
	fixture_judge(f);
	loop_timer_set(f->later, 5 * NS_PER_MS);
}

/* Runs until the log has the text so many times and the server has got so many requests (0: any number). */
static inline void fixture_run(struct fixture *f, const char *until, size_t times, size_t requests)
{
	f->until = until;
	f->times = times;
	f->requests = requests;
	if (!f->later)
		assert_int_equal(loop_timer_new(f->loop, fixture_look_again, f, &f->later), 0);
	loop_timer_set(f->later, 0);
	loop_timer_set(f->patience, 10 * NS_PER_SEC);
	assert_int_equal(loop_run(f->loop), 0);
	loop_timer_cancel(f->patience);
}

static inline void fixture_request_has(const struct fixture *f, size_t number, const char *text)
{
	struct span request = test_server_request(f->server, number);
	if (!memmem(request.ptr, request.len, text, strlen(text)))
		fail_msg("\"%s\" is not in\n%.*s", text, SPAN_ARGS(request));
}

static inline void fixture_request_lacks(const struct fixture *f, size_t number, const char *text)
{
	struct span request = test_server_request(f->server, number);
	if (memmem(request.ptr, request.len, text, strlen(text)))
		fail_msg("\"%s\" is in\n%.*s", text, SPAN_ARGS(request));
}

/* ---- a watch that is written down -------------------------------------------------------------- */

static inline int fixture_on_upsert(void *arg, const struct kube_object *object)
{
	struct fixture *f = arg;
	buf_printf(&f->log, "upsert %.*s/%.*s\n", SPAN_ARGS(object->namespace_), SPAN_ARGS(object->name));
	assert_true(span_eq(json_string(json_get(object->json, "metadata"), "uid", SPAN_NONE), object->uid));
	fixture_judge(f);
	if (f->upserts_without_memory == 0)
		return 0;
	f->upserts_without_memory--;
	return -ENOMEM;
}

static inline void fixture_on_removed(void *arg, struct span uid)
{
	struct fixture *f = arg;
	buf_printf(&f->log, "removed %.*s\n", uid.len < 8 ? (int)uid.len : 8, uid.ptr);
	fixture_judge(f);
}

static inline void fixture_on_synced(void *arg)
{
	struct fixture *f = arg;
	buf_str(&f->log, "synced\n");
	fixture_judge(f);
}

static inline void fixture_on_state(void *arg, enum kube_watch_state state, const struct error *err)
{
	struct fixture *f = arg;
	buf_printf(&f->log, "%s%s%s\n", kube_watch_state_name(state), err->text[0] ? ": " : "", err->text);
	fixture_judge(f);
}

static inline struct kube_watch_events fixture_events(struct fixture *f)
{
	return (struct kube_watch_events){
		fixture_on_upsert, fixture_on_removed, fixture_on_synced, fixture_on_state, f};
}

static inline struct kube_watch *fixture_watch(struct fixture *f)
{
	struct kube_watch_options options = {.resource = {"monitoring.coreos.com", "v1", "servicemonitors"}};
	struct kube_watch *watch;
	struct error err;
	assert_int_equal(kube_watch_new(f->api, &options, fixture_events(f), &watch, &err), 0);
	return watch;
}
