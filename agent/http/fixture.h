/* For the tests of this module: a client, a scripted server in a thread, and the outcome of the last call. */
#pragma once

#include "gleaner/http.h"

#include "server.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>

/* One client, one server, the outcome of the last call. */
struct fixture {
	struct loop *loop;
	struct http *http;
	struct test_server *server;
	struct buf body;
	struct http_response response; /* spans are dead; see the texts */
	char content_type[64], content_encoding[64], retry_after[64];
	size_t done, pieces;
	int refuse_headers, refuse_body;
	struct http_request next; /* started from within on_done when next.url is set */
	size_t sends, closes;
	char ends[160]; /* of the last request that was sent */
};

static inline int kept_body(void *arg, struct span piece)
{
	struct fixture *fixture = arg;
	fixture->pieces++;
	return fixture->refuse_body ? fixture->refuse_body : buf_span(&fixture->body, piece);
}

static inline int kept_headers(void *arg, const struct http_response *response)
{
	struct fixture *fixture = arg;
	assert_true(response->status >= 200);
	return fixture->refuse_headers;
}

static inline void kept_done(void *arg, const struct http_response *response)
{
	struct fixture *fixture = arg;
	fixture->response = *response;
	snprintf(fixture->content_type, sizeof(fixture->content_type), "%.*s", SPAN_ARGS(response->content_type));
	snprintf(fixture->content_encoding, sizeof(fixture->content_encoding), "%.*s",
		SPAN_ARGS(response->content_encoding));
	snprintf(fixture->retry_after, sizeof(fixture->retry_after), "%.*s", SPAN_ARGS(response->retry_after));
	fixture->done++;
	if (fixture->next.url) {
		struct http_request next = fixture->next;
		fixture->next.url = NULL;
		assert_int_equal(http_start(fixture->http, &next, NULL, NULL), 0);
	} else {
		loop_stop(fixture->loop);
	}
}

static inline void kept_send(void *arg, const struct http_endpoints *ends)
{
	struct fixture *fixture = arg;
	snprintf(fixture->ends, sizeof(fixture->ends), "%s %u %s %u", ends->local_address, ends->local_port,
		ends->remote_address, ends->remote_port);
	fixture->sends++;
}

static inline void kept_close(void *arg, int fd)
{
	struct fixture *fixture = arg;
	(void)fd;
	fixture->closes++;
}

static inline struct http_request request_of(struct fixture *fixture, const char *url)
{
	return (struct http_request){.url = url,
		.timeout_ns = 5 * NS_PER_SEC,
		.max_body_bytes = 1 << 20,
		.connected_fd = -1,
		.on_send = kept_send,
		.on_headers = kept_headers,
		.on_body = kept_body,
		.on_done = kept_done,
		.arg = fixture};
}

static inline void start(struct fixture *fixture, bool dials, const struct test_reply *replies, size_t count,
	const struct test_certificate *tls, const char *client_ca)
{
	*fixture = (struct fixture){.done = 0};
	buf_init(&fixture->body, 8 << 20);
	fixture->server = test_server_start(replies, count, tls, client_ca);
	assert_int_equal(loop_new(&fixture->loop), 0);
	struct http_options options = {
		.max_connections = 8, .dials = dials, .on_close = kept_close, .close_arg = fixture};
	assert_int_equal(http_new(fixture->loop, options, &fixture->http), 0);
}

static inline void finish(struct fixture *fixture)
{
	http_free(fixture->http);
	loop_free(fixture->loop);
	test_server_stop(fixture->server);
	buf_done(&fixture->body);
}

static inline void run(struct fixture *fixture, const struct http_request *request)
{
	struct error err = {""};
	buf_reset(&fixture->body);
	fixture->pieces = 0;
	size_t done = fixture->done;
	assert_int_equal(http_start(fixture->http, request, NULL, &err), 0);
	assert_int_equal(fixture->done, done); /* never from within http_start */
	assert_int_equal(loop_run(fixture->loop), 0);
}

static inline void get(struct fixture *fixture, const char *path)
{
	struct http_request request = request_of(fixture, test_server_url(fixture->server, path));
	run(fixture, &request);
}

static inline void check_failure(const struct fixture *fixture, enum http_failure failure, const char *text)
{
	assert_string_equal(http_failure_name(fixture->response.failure), http_failure_name(failure));
	if (!strstr(fixture->response.error.text, text))
		fail_msg("\"%s\" does not contain \"%s\"", fixture->response.error.text, text);
}

/* A client that dials, `f`, and a server with these replies. */
#define START(...)                                                                                                     \
	const struct test_reply replies[] = {__VA_ARGS__};                                                             \
	struct fixture f;                                                                                              \
	start(&f, true, replies, ARRAY_SIZE(replies), NULL, NULL)

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 5\r\n\r\nhello"
