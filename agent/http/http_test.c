/* The client against a scripted server in a thread: what comes back, how each failure is named, which sockets are used. */
#include "gleaner/http.h"

#include "server.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int kept_body(void *arg, struct span piece)
{
	struct fixture *fixture = arg;
	fixture->pieces++;
	return fixture->refuse_body ? fixture->refuse_body : buf_span(&fixture->body, piece);
}

static int kept_headers(void *arg, const struct http_response *response)
{
	struct fixture *fixture = arg;
	assert_true(response->status >= 200);
	return fixture->refuse_headers;
}

static void kept_done(void *arg, const struct http_response *response)
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

static void kept_send(void *arg, const struct http_endpoints *ends)
{
	struct fixture *fixture = arg;
	snprintf(fixture->ends, sizeof(fixture->ends), "%s %u %s %u", ends->local_address, ends->local_port,
		ends->remote_address, ends->remote_port);
	fixture->sends++;
}

static void kept_close(void *arg, int fd)
{
	struct fixture *fixture = arg;
	(void)fd;
	fixture->closes++;
}

static struct http_request request_of(struct fixture *fixture, const char *url)
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

static void start(struct fixture *fixture, bool dials, const struct test_reply *replies, size_t count,
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

static void finish(struct fixture *fixture)
{
	http_free(fixture->http);
	loop_free(fixture->loop);
	test_server_stop(fixture->server);
	buf_done(&fixture->body);
}

static void run(struct fixture *fixture, const struct http_request *request)
{
	struct error err = {""};
	buf_reset(&fixture->body);
	fixture->pieces = 0;
	size_t done = fixture->done;
	assert_int_equal(http_start(fixture->http, request, NULL, &err), 0);
	assert_int_equal(fixture->done, done); /* never from within http_start */
	assert_int_equal(loop_run(fixture->loop), 0);
}

static void get(struct fixture *fixture, const char *path)
{
	struct http_request request = request_of(fixture, test_server_url(fixture->server, path));
	run(fixture, &request);
}

static void check_failure(const struct fixture *fixture, enum http_failure failure, const char *text)
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

/* ---- what comes back -------------------------------------------------------------- */

static void body_and_headers_arrive(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 200 OK\r\nContent-Type:  text/plain; version=0.0.4 \r\nContent-Encoding: gzip\r\n"
			"Retry-After: 7\r\nContent-Type: second\r\nContent-Length: 5\r\n\r\nhello"});
	get(&f, "/metrics?a=b&c=..%2F/../x");
	assert_int_equal(f.response.failure, HTTP_OK);
	assert_string_equal(f.response.error.text, "");
	assert_int_equal(f.response.status, 200);
	assert_string_equal(f.content_type, "text/plain; version=0.0.4");
	assert_string_equal(f.content_encoding, "gzip");
	assert_string_equal(f.retry_after, "7");
	test_assert_text(buf_view(&f.body), "hello");
	assert_int_equal(f.response.body_bytes, 5);
	assert_false(f.response.reused_connection);
	assert_true(f.response.total_ns > 0 && f.response.first_byte_ns <= f.response.total_ns);
	struct span sent = test_server_request(f.server, 0);
	assert_true(span_starts_with(sent, SPAN("GET /metrics?a=b&c=..%2F/../x HTTP/1.1\r\n")));
	finish(&f);
}

static void chunked_body_in_pieces_of_one_byte_arrives(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
			"chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n2;x=y\r\n\n!\r\n0\r\n"
			"Trailer: z\r\n\r\n",
		.piece = 1});
	get(&f, "/");
	assert_int_equal(f.response.failure, HTTP_OK);
	test_assert_text(buf_view(&f.body), "hi\n!");
	finish(&f);
}

static void body_that_ends_with_the_connection_is_complete(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.0 200 OK\r\n\r\nhello", .then = TEST_CLOSE});
	get(&f, "/");
	assert_int_equal(f.response.failure, HTTP_OK);
	test_assert_text(buf_view(&f.body), "hello");
	finish(&f);
}

static void interim_response_is_skipped(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 103 Early Hints\r\nContent-Type: wrong\r\n\r\n" OK_HELLO});
	get(&f, "/");
	assert_int_equal(f.response.failure, HTTP_OK);
	assert_int_equal(f.response.status, 200);
	assert_string_equal(f.content_type, "text/plain; version=0.0.4");
	finish(&f);
}

static void redirect_is_not_followed(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"},
		{.bytes = OK_HELLO});
	get(&f, "/");
	assert_int_equal(f.response.failure, HTTP_OK);
	assert_int_equal(f.response.status, 302);
	assert_int_equal(test_server_requests(f.server), 1);
	finish(&f);
}

static void post_sends_body_and_headers_and_no_expect(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO});
	struct buf big;
	buf_init(&big, 1 << 20);
	while (big.len < 40000)
		buf_str(&big, "0123456789");
	const char *headers[] = {"Content-Type: application/x-protobuf", "X-Token: secret", "X-Empty:", NULL};
	struct http_request request = request_of(&f, test_server_url(f.server, "/v1/metrics"));
	request.post = true;
	request.headers = headers;
	request.body = buf_view(&big);
	run(&f, &request);
	assert_int_equal(f.response.failure, HTTP_OK);
	struct span sent = test_server_request(f.server, 0);
	assert_true(span_starts_with(sent, SPAN("POST /v1/metrics HTTP/1.1\r\n")));
	assert_non_null(memmem(sent.ptr, sent.len, "\r\nContent-Type: application/x-protobuf\r\n", 40));
	assert_non_null(memmem(sent.ptr, sent.len, "\r\nX-Token: secret\r\n", 19));
	assert_non_null(memmem(sent.ptr, sent.len, "\r\nX-Empty:\r\n", 12));
	assert_non_null(memmem(sent.ptr, sent.len, "\r\nContent-Length: 40000\r\n", 25));
	assert_null(memmem(sent.ptr, sent.len, "Expect", 6));
	assert_true(span_ends_with(sent, buf_view(&big)));
	buf_done(&big);

	get(&f, "/next"); /* the same easy handle: nothing of the POST is left */
	sent = test_server_request(f.server, 1);
	assert_true(span_starts_with(sent, SPAN("GET /next HTTP/1.1\r\n")));
	assert_null(memmem(sent.ptr, sent.len, "X-Token", 7));
	assert_null(memmem(sent.ptr, sent.len, "Content-Type", 12));
	finish(&f);
}

/* ---- connections ------------------------------------------------------------------- */

static void connection_is_kept_and_reused(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO});
	get(&f, "/1");
	assert_false(f.response.reused_connection);
	get(&f, "/2");
	assert_true(f.response.reused_connection);
	assert_int_equal(test_server_connections(f.server), 1);
	finish(&f);
}

static void call_may_be_started_when_another_is_done(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO});
	f.next = request_of(&f, test_server_url(f.server, "/2"));
	get(&f, "/2");
	assert_int_equal(f.done, 2);
	assert_int_equal(f.response.failure, HTTP_OK);
	assert_int_equal(test_server_requests(f.server), 2);
	finish(&f);
}

static void stale_connection_is_replaced_by_a_client_that_dials(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO}, {.then = TEST_RESET}, {.bytes = OK_HELLO});
	get(&f, "/1");
	get(&f, "/2"); /* the server resets at the second request: libcurl asks again by itself */
	assert_int_equal(f.response.failure, HTTP_OK);
	assert_int_equal(test_server_requests(f.server), 3);
	finish(&f);
}

static void start_scraper(struct fixture *fixture, const struct test_reply *replies, size_t count)
{
	start(fixture, false, replies, count, NULL, NULL);
}

static void client_that_does_not_dial_asks_for_a_socket(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_HELLO}};
	struct fixture f;
	start_scraper(&f, replies, 1);
	get(&f, "/");
	check_failure(&f, HTTP_NEED_SOCKET, "no connection to 127.0.0.1:");
	assert_int_equal(test_server_connections(f.server), 0);
	finish(&f);
}

static void get_with_socket(struct fixture *fixture, const char *url)
{
	struct http_request request = request_of(fixture, url);
	request.connected_fd = test_server_connect(fixture->server);
	run(fixture, &request);
}

static void passed_socket_is_used_then_kept(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_HELLO}};
	struct fixture f;
	start_scraper(&f, replies, 1);
	get_with_socket(&f, test_server_url(f.server, "/1"));
	assert_int_equal(f.response.failure, HTTP_OK);
	test_assert_text(buf_view(&f.body), "hello");
	get(&f, "/2");
	assert_int_equal(f.response.failure, HTTP_OK);
	assert_true(f.response.reused_connection);
	assert_int_equal(test_server_connections(f.server), 1);
	finish(&f);
}

static void passed_socket_serves_a_name_that_nobody_resolves(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_HELLO}};
	struct fixture f;
	start_scraper(&f, replies, 1);
	char url[128];
	snprintf(url, sizeof(url), "http://no-such-host.invalid:%u/", test_server_port(f.server));
	get_with_socket(&f, url);
	assert_int_equal(f.response.failure, HTTP_OK);
	char host[128];
	int len = snprintf(host, sizeof(host), "\r\nHost: no-such-host.invalid:%u\r\n", test_server_port(f.server));
	struct span sent = test_server_request(f.server, 0);
	assert_non_null(memmem(sent.ptr, sent.len, host, (size_t)len));
	struct http_request request = request_of(&f, url);
	run(&f, &request);
	assert_int_equal(f.response.failure, HTTP_OK);
	/* Another name on the same port does not get this connection. */
	snprintf(url, sizeof(url), "http://other.invalid:%u/", test_server_port(f.server));
	run(&f, &request);
	assert_int_equal(f.response.failure, HTTP_NEED_SOCKET);
	finish(&f);
}

/* As http_endpoints has them. */
static void ends_of(int fd, char *ret_text, size_t size)
{
	struct sockaddr_in local, remote;
	socklen_t len = sizeof(local);
	char address[2][INET_ADDRSTRLEN];
	assert_int_equal(getsockname(fd, (struct sockaddr *)&local, &len), 0);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&remote, &len), 0);
	inet_ntop(AF_INET, &local.sin_addr, address[0], sizeof(address[0]));
	inet_ntop(AF_INET, &remote.sin_addr, address[1], sizeof(address[1]));
	snprintf(ret_text, size, "%s %u %s %u", address[0], ntohs(local.sin_port), address[1], ntohs(remote.sin_port));
}

static void connection_is_named_before_each_request(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_HELLO}};
	struct fixture f;
	char ends[sizeof(f.ends)];
	start_scraper(&f, replies, 1);
	struct http_request request = request_of(&f, test_server_url(f.server, "/1"));
	request.connected_fd = test_server_connect(f.server);
	ends_of(request.connected_fd, ends, sizeof(ends));
	run(&f, &request);
	assert_string_equal(f.ends, ends);
	f.ends[0] = '\0';
	get(&f, "/2"); /* the kept one */
	assert_string_equal(f.ends, ends);
	assert_int_equal(f.sends, 2);
	assert_int_equal(f.closes, 0);
	test_server_hang_up(f.server);
	get(&f, "/3");
	assert_int_equal(f.response.failure, HTTP_NEED_SOCKET);
	assert_int_equal(f.sends, 2);
	assert_int_equal(f.closes, 1);
	assert_true(f.response.busy_ns > 0);
	finish(&f);
}

/* The address is the socket's, not the one that libcurl would have connected to. */
static void connection_of_a_name_has_the_sockets_address(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_HELLO}};
	struct fixture f;
	char ends[sizeof(f.ends)], url[64];
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000002)}};
	socklen_t len = sizeof(address);
	start_scraper(&f, replies, 1);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
	assert_int_equal(errno, EINPROGRESS);
	close(accept(listener, NULL, NULL)); /* no answer comes */
	ends_of(fd, ends, sizeof(ends));
	snprintf(url, sizeof(url), "http://no-such-host.invalid:%u/", ntohs(address.sin_port));
	struct http_request request = request_of(&f, url);
	request.connected_fd = fd;
	run(&f, &request);
	assert_string_equal(f.ends, ends);
	assert_int_equal(f.closes, 1);
	close(listener);
	finish(&f);
}

/* Of a socket, by its inode: the server in this process may have got the number of a descriptor that was closed. */
static ino_t socket_inode(int fd)
{
	struct stat found;
	return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

static void unused_passed_socket_is_closed(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_HELLO}};
	struct fixture f;
	start_scraper(&f, replies, 1);
	get_with_socket(&f, test_server_url(f.server, "/1"));
	struct http_request request = request_of(&f, test_server_url(f.server, "/2"));
	int fd = request.connected_fd = test_server_connect(f.server);
	ino_t inode = socket_inode(fd);
	run(&f, &request);
	assert_true(f.response.reused_connection);
	assert_true(socket_inode(fd) != inode);
	assert_int_equal(f.closes, 1);

	struct error err;
	request.url = "no url";
	fd = request.connected_fd = test_server_connect(f.server);
	inode = socket_inode(fd);
	assert_int_equal(http_start(f.http, &request, NULL, &err), -EINVAL);
	assert_true(socket_inode(fd) != inode);

	struct http_call *call;
	request.url = test_server_url(f.server, "/3");
	fd = request.connected_fd = test_server_connect(f.server);
	inode = socket_inode(fd);
	assert_int_equal(http_start(f.http, &request, &call, &err), 0);
	http_cancel(call);
	assert_true(socket_inode(fd) != inode);
	finish(&f);
}

static void connection_closed_while_idle_needs_a_socket(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_HELLO}};
	struct fixture f;
	start_scraper(&f, replies, 1);
	get_with_socket(&f, test_server_url(f.server, "/1"));
	test_server_hang_up(f.server);
	get(&f, "/2");
	check_failure(&f, HTTP_NEED_SOCKET, "");
	get_with_socket(&f, test_server_url(f.server, "/2"));
	assert_int_equal(f.response.failure, HTTP_OK);
	finish(&f);
}

static void kept_connection_that_dies_before_an_answer_needs_a_socket(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_HELLO}, {.then = TEST_CLOSE}, {.bytes = OK_HELLO},
		{.then = TEST_RESET}, {.bytes = OK_HELLO}};
	struct fixture f;
	start_scraper(&f, replies, ARRAY_SIZE(replies));
	get_with_socket(&f, test_server_url(f.server, "/"));
	get(&f, "/closed");
	check_failure(&f, HTTP_NEED_SOCKET, "");
	get_with_socket(&f, test_server_url(f.server, "/"));
	get(&f, "/reset");
	check_failure(&f, HTTP_NEED_SOCKET, "");
	get_with_socket(&f, test_server_url(f.server, "/"));
	assert_int_equal(f.response.failure, HTTP_OK);
	finish(&f);
}

static void fresh_connection_that_dies_before_an_answer_is_a_failure(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.then = TEST_CLOSE}};
	struct fixture f;
	start_scraper(&f, replies, 1);
	get_with_socket(&f, test_server_url(f.server, "/"));
	check_failure(&f, HTTP_PROTOCOL, "no response: ");
	finish(&f);
}

/* ---- failures ------------------------------------------------------------------------ */

static void refused_connection_is_named(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO});
	char url[64], text[128];
	uint16_t port = test_closed_port();
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
	struct http_request request = request_of(&f, url);
	run(&f, &request);
	snprintf(text, sizeof(text), "connect to 127.0.0.1:%u: Connection refused", port);
	check_failure(&f, HTTP_CONNECT, text);
	assert_int_equal(f.response.status, 0);
	finish(&f);
}

static void name_that_does_not_resolve_is_a_connect_failure(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO});
	struct http_request request = request_of(&f, "http://[::ffff:127.0.0.1%25nozone]:1/");
	request.url = "http://x.invalid:1/";
	run(&f, &request);
	check_failure(&f, HTTP_CONNECT, "connect to x.invalid:1: Could not resolve host: x.invalid");
	finish(&f);
}

static void silent_server_times_out(void **state)
{
	(void)state;
	START({.bytes = NULL}, {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"}, {.bytes = NULL});
	struct http_request request = request_of(&f, test_server_url(f.server, "/"));
	request.timeout_ns = 30 * NS_PER_MS;
	run(&f, &request);
	check_failure(&f, HTTP_TIMEOUT, "no answer within 30ms");
	request.timeout_ns = 400 * NS_PER_MS; /* a busy machine needs some until the server has answered */
	run(&f, &request);
	check_failure(&f, HTTP_TIMEOUT, "response not complete within 400ms (4 bytes of body came)");
	request.timeout_ns = 5 * NS_PER_SEC;
	request.first_byte_timeout_ns = 20 * NS_PER_MS;
	run(&f, &request);
	check_failure(&f, HTTP_TIMEOUT, "no answer within 20ms");
	finish(&f);
}

static void first_byte_timeout_ends_with_the_first_byte(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"});
	struct http_request request = request_of(&f, test_server_url(f.server, "/"));
	request.first_byte_timeout_ns = 300 * NS_PER_MS;
	request.timeout_ns = 400 * NS_PER_MS;
	run(&f, &request);
	check_failure(&f, HTTP_TIMEOUT, "not complete within 400ms");
	finish(&f);
}

static void body_of_exactly_the_limit_passes_and_one_more_byte_fails(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO}, {.bytes = OK_HELLO},
		{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
			.piece = 1});
	struct http_request request = request_of(&f, test_server_url(f.server, "/"));
	request.max_body_bytes = 5;
	run(&f, &request);
	assert_int_equal(f.response.failure, HTTP_OK);
	request.max_body_bytes = 4;
	run(&f, &request);
	check_failure(&f, HTTP_BODY_LIMIT, "body larger than 4 bytes");
	run(&f, &request);
	check_failure(&f, HTTP_BODY_LIMIT, "body larger than 4 bytes");
	finish(&f);
}

static void headers_above_the_limit_fail(void **state)
{
	(void)state;
	struct buf many, line;
	buf_init(&many, 1 << 20);
	buf_init(&line, 1 << 20);
	buf_str(&many, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 40; i++)
		buf_printf(&many, "X-%d: %0999d\r\n", i, 0);
	buf_str(&many, "Content-Length: 0\r\n\r\n");
	buf_printf(&line, "HTTP/1.1 200 OK\r\nX: %0300000d\r\nContent-Length: 0\r\n\r\n", 0);
	START({.bytes = many.ptr, .len = many.len}, {.bytes = line.ptr, .len = line.len},
		{.bytes = many.ptr, .len = many.len});
	get(&f, "/");
	check_failure(&f, HTTP_HEADER_LIMIT, "headers larger than 32768 bytes");
	get(&f, "/");
	check_failure(&f, HTTP_HEADER_LIMIT, "headers larger than 32768 bytes");
	struct http_request request = request_of(&f, test_server_url(f.server, "/"));
	request.max_header_bytes = 64 * 1024;
	run(&f, &request);
	assert_int_equal(f.response.failure, HTTP_OK);
	finish(&f);
	buf_done(&many);
	buf_done(&line);
}

static void what_is_not_http_is_named(void **state)
{
	(void)state;
	START({.bytes = "SSH-2.0-OpenSSH_9.2\r\n", .then = TEST_CLOSE},
		{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", .then = TEST_CLOSE},
		{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", .then = TEST_CLOSE},
		{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", .then = TEST_RESET},
		{.bytes = "HTTP/1.1 200 OK\r\nX: y", .then = TEST_CLOSE},
		{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", .then = TEST_CLOSE});
	get(&f, "/");
	check_failure(&f, HTTP_PROTOCOL, "no response: Received HTTP/0.9 when not allowed");
	get(&f, "/");
	check_failure(&f, HTTP_PROTOCOL, "response cut off after 4 bytes of body: ");
	get(&f, "/");
	check_failure(&f, HTTP_PROTOCOL, "response cut off after 0 bytes of body: ");
	get(&f, "/");
	check_failure(&f, HTTP_PROTOCOL, "response cut off after ");
	get(&f, "/");
	assert_int_not_equal(f.response.failure, HTTP_NEED_SOCKET);
	get(&f, "/");
	assert_int_equal(f.response.failure, HTTP_PROTOCOL);
	finish(&f);
}

static void caller_may_refuse_headers_and_body(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO});
	f.refuse_headers = -EPERM;
	get(&f, "/");
	check_failure(&f, HTTP_REFUSED, "refused");
	assert_int_equal(f.response.status, 200);
	assert_int_equal(f.pieces, 0);
	f.refuse_headers = 0;
	f.refuse_body = -EPERM;
	get(&f, "/");
	check_failure(&f, HTTP_REFUSED, "refused");
	assert_int_equal(f.pieces, 1);
	finish(&f);
}

static void bad_url_or_header_is_refused_at_once(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO});
	static const char *const urls[] = {"ftp://127.0.0.1/", "127.0.0.1:80/metrics", "http://", "http://a b/",
		"http://127.0.0.1:99999/", "http://x/\n", ""};
	struct error err;
	struct http_request request = request_of(&f, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		request.url = urls[i];
		err.text[0] = '\0';
		assert_int_equal(http_start(f.http, &request, NULL, &err), -EINVAL);
		assert_true(span_starts_with(span_str(err.text), SPAN("bad URL: ")));
	}
	request.url = "gateway:4318";
	assert_int_equal(http_start(f.http, &request, NULL, &err), -EINVAL);
	assert_string_equal(err.text, "bad URL: http://HOST:PORT or https://HOST:PORT is expected");
	request.url = "http://user:hunter2@127.0.0.1/";
	assert_int_equal(http_start(f.http, &request, NULL, &err), -EINVAL);
	assert_string_equal(err.text, "bad URL: user and password do not belong into it");

	static const char *const lines[] = {"no colon", ": x", "a b: c", "X: sec\rret", "X: sec\nret", "X: sec\x7fret"};
	request.url = test_server_url(f.server, "/");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		request.headers = (const char *const[]){lines[i], NULL};
		assert_int_equal(http_start(f.http, &request, NULL, &err), -EINVAL);
		assert_true(span_starts_with(span_str(err.text), SPAN("bad header")));
		assert_null(strstr(err.text, "sec"));
	}
	request.headers = NULL;
	request.timeout_ns = 0;
	assert_int_equal(http_start(f.http, &request, NULL, &err), -EINVAL);
	assert_int_equal(f.done, 0);
	finish(&f);
}

static void cancelled_call_says_nothing_and_another_goes_on(void **state)
{
	(void)state;
	START({.bytes = OK_HELLO});
	struct http_call *call;
	struct http_request request = request_of(&f, test_server_url(f.server, "/"));
	assert_int_equal(http_start(f.http, &request, &call, NULL), 0);
	http_cancel(call);
	http_cancel(NULL);
	get(&f, "/2");
	assert_int_equal(f.done, 1);
	/* And a call in flight when the client goes away. */
	assert_int_equal(http_start(f.http, &request, &call, NULL), 0);
	finish(&f);
}

/* ---- TLS --------------------------------------------------------------------------------- */

struct certificates {
	struct test_certificate ca, ip, node, client, stranger;
};

static int make_certificates(void **state)
{
	struct certificates *made = calloc(1, sizeof(*made));
	test_certificate_make("test CA", NULL, NULL, &made->ca);
	test_certificate_make("ip", "IP:127.0.0.1", &made->ca, &made->ip);
	test_certificate_make("node-a", "DNS:node-a,IP:10.0.0.5", &made->ca, &made->node);
	test_certificate_make("gleaner", NULL, &made->ca, &made->client);
	test_certificate_make("stranger", "IP:127.0.0.1", NULL, &made->stranger);
	*state = made;
	return 0;
}

static int free_certificates(void **state)
{
	free(*state);
	return 0;
}

static void https(struct fixture *fixture, const struct http_tls *tls)
{
	struct http_request request = request_of(fixture, test_server_url(fixture->server, "/"));
	request.tls = tls;
	run(fixture, &request);
}

static const struct test_reply hello_replies[] = {{.bytes = OK_HELLO}};

static void certificate_of_a_given_ca_is_trusted(void **state)
{
	const struct certificates *made = *state;
	struct fixture f;
	start(&f, true, hello_replies, 1, &made->ip, NULL);
	https(&f, &(struct http_tls){.ca = made->ca.cert});
	assert_int_equal(f.response.failure, HTTP_OK);
	test_assert_text(buf_view(&f.body), "hello");
	https(&f, &(struct http_tls){.ca = made->ca.cert});
	assert_true(f.response.reused_connection);
	/* Who trusts others does not get the connection that was made. */
	https(&f, &(struct http_tls){.ca = made->stranger.cert});
	check_failure(&f, HTTP_TLS_VERIFY, "TLS: SSL certificate problem: ");
	finish(&f);
}

/* As a process that opens no files. */
static void a_text_may_stand_for_the_systems_certificates(void **state)
{
	const struct certificates *made = *state;
	struct fixture f;
	start(&f, true, hello_replies, 1, &made->ip, NULL);
	http_free(f.http);
	struct http_options options = {.max_connections = 8, .dials = true, .system_ca = made->ca.cert};
	assert_int_equal(http_new(f.loop, options, &f.http), 0);
	https(&f, NULL);
	assert_int_equal(f.response.failure, HTTP_OK);
	https(&f, &(struct http_tls){.ca = made->stranger.cert});
	check_failure(&f, HTTP_TLS_VERIFY, "TLS: SSL certificate problem: ");
	finish(&f);
	assert_non_null(http_system_ca_file());
}

static void unknown_certificate_is_not_trusted_unless_told_so(void **state)
{
	const struct certificates *made = *state;
	struct fixture f;
	start(&f, true, hello_replies, 1, &made->stranger, NULL);
	https(&f, NULL);
	check_failure(&f, HTTP_TLS_VERIFY, "TLS: SSL certificate problem: self-signed certificate");
	https(&f, &(struct http_tls){.insecure_skip_verify = true});
	assert_int_equal(f.response.failure, HTTP_OK);
	https(&f, &(struct http_tls){.ca = made->stranger.cert});
	assert_int_equal(f.response.failure, HTTP_OK);
	finish(&f);
}

static void leaf_is_a_trust_anchor_only_when_partial_chains_are_allowed(void **state)
{
	const struct certificates *made = *state;
	struct fixture f;
	start(&f, true, hello_replies, 1, &made->ip, NULL);
	https(&f, &(struct http_tls){.ca = made->ip.cert});
	check_failure(&f, HTTP_TLS_VERIFY, "TLS: SSL certificate problem: ");
	https(&f, &(struct http_tls){.ca = made->ip.cert, .partial_chain = true});
	assert_int_equal(f.response.failure, HTTP_OK);
	finish(&f);
}

static void certificate_of_another_name_is_refused_by_name(void **state)
{
	const struct certificates *made = *state;
	struct fixture f;
	start(&f, true, hello_replies, 1, &made->node, NULL);
	https(&f, &(struct http_tls){.ca = made->ca.cert});
	check_failure(&f, HTTP_TLS_VERIFY, "TLS: certificate is for DNS:node-a, IP Address:10.0.0.5, not 127.0.0.1");
	https(&f, &(struct http_tls){.ca = made->ca.cert, .server_name = "node-b"});
	check_failure(&f, HTTP_TLS_VERIFY, ", not node-b");
	https(&f, &(struct http_tls){.ca = made->ca.cert, .server_name = "node-a"});
	assert_int_equal(f.response.failure, HTTP_OK);
	char host[64];
	int len = snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%u\r\n", test_server_port(f.server));
	struct span sent = test_server_request(f.server, 0);
	assert_non_null(memmem(sent.ptr, sent.len, host, (size_t)len));
	finish(&f);
}

static void passed_socket_serves_https_with_a_server_name(void **state)
{
	const struct certificates *made = *state;
	struct fixture f;
	start(&f, false, hello_replies, 1, &made->node, NULL);
	struct http_tls tls = {.ca = made->ca.cert, .server_name = "node-a"};
	struct http_request request = request_of(&f, test_server_url(f.server, "/"));
	request.tls = &tls;
	request.connected_fd = test_server_connect(f.server);
	run(&f, &request);
	assert_int_equal(f.response.failure, HTTP_OK);
	https(&f, &tls);
	assert_true(f.response.reused_connection);
	finish(&f);
}

static void client_certificate_is_shown(void **state)
{
	const struct certificates *made = *state;
	struct fixture f;
	start(&f, true, hello_replies, 1, &made->ip, made->ca.cert);
	https(&f, &(struct http_tls){.ca = made->ca.cert});
	check_failure(&f, HTTP_TLS, "TLS: ");
	https(&f, &(struct http_tls){.ca = made->ca.cert, .cert = made->client.cert, .key = made->client.key});
	assert_int_equal(f.response.failure, HTTP_OK);
	https(&f, &(struct http_tls){.ca = made->ca.cert, .cert = "not PEM", .key = made->client.key});
	check_failure(&f, HTTP_TLS, "TLS: ");
	https(&f, &(struct http_tls){.ca = "not PEM"});
	check_failure(&f, HTTP_TLS, "TLS: ");
	finish(&f);
}

/* libcurl's connect phase includes the handshake. */
static void plain_http_port_is_no_tls(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 400 Bad Request\r\n\r\n", .then = TEST_CLOSE});
	char url[64];
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", test_server_port(f.server));
	struct http_request request = request_of(&f, url);
	request.timeout_ns = 200 * NS_PER_MS; /* the scripted server waits for the end of a request */
	run(&f, &request);
	check_failure(&f, HTTP_CONNECT, ": no answer within 200ms");
	finish(&f);
}

/* Takes one connection, waits for its first bytes and answers as a server that knows no TLS. */
static void *answer_plainly(void *arg)
{
	static const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
	char hello[64];
	int peer = accept(*(int *)arg, NULL, NULL);
	if (read(peer, hello, sizeof(hello)) > 0 && write(peer, answer, strlen(answer)) > 0)
		shutdown(peer, SHUT_WR);
	while (read(peer, hello, sizeof(hello)) > 0)
		;
	close(peer);
	return NULL;
}

static void plain_answer_to_a_handshake_is_named(void **state)
{
	(void)state;
	START({.bytes = NULL});
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, answer_plainly, &listener), 0);
	char url[64];
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", ntohs(address.sin_port));
	struct http_request request = request_of(&f, url);
	run(&f, &request);
	check_failure(&f, HTTP_TLS, "TLS: the answer is not TLS; is it http:// that is served there?");
	pthread_join(thread, NULL);
	close(listener);
	finish(&f);
}

/* ---- options, memory ----------------------------------------------------------------------- */

static void certificate_and_key_need_each_other(void **state)
{
	(void)state;
	struct http_tls_options tls = {.cert_file = "c", .key_file = "k"};
	const char *key = NULL;
	struct error err;
	assert_int_equal(http_tls_table.check(&tls, NULL, &key, &err), 0);
	tls.key_file = NULL;
	assert_int_equal(http_tls_table.check(&tls, NULL, &key, &err), -EINVAL);
	assert_string_equal(key, "cert_file");
}

static int attempt_request(void *arg)
{
	struct test_server *server = arg;
	struct fixture f = {.server = server};
	buf_init(&f.body, 4096);
	int result = loop_new(&f.loop);
	if (result == 0)
		result = http_new(f.loop, (struct http_options){.max_connections = 4, .dials = true}, &f.http);
	if (result == 0) {
		struct http_request request = request_of(&f, test_server_url(server, "/"));
		request.timeout_ns =
			400 * NS_PER_MS; /* what a busy machine needs; an attempt without a watch waits it out */
		result = http_start(f.http, &request, NULL, NULL);
	}
	if (result == 0) {
		result = loop_run(f.loop);
		/* A socket that cannot be watched ends by its timeout, a body that cannot be kept is refused. */
		if (result == 0 && f.response.failure != HTTP_OK)
			result = -ENOMEM;
	}
	http_free(f.http);
	loop_free(f.loop);
	buf_done(&f.body);
	return result;
}

static void out_of_memory_is_survived(void **state)
{
	(void)state;
	struct test_server *server = test_server_start(hello_replies, 1, NULL, NULL);
	test_out_of_memory(attempt_request, server);
	test_server_stop(server);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(body_and_headers_arrive),
		cmocka_unit_test(chunked_body_in_pieces_of_one_byte_arrives),
		cmocka_unit_test(body_that_ends_with_the_connection_is_complete),
		cmocka_unit_test(interim_response_is_skipped),
		cmocka_unit_test(redirect_is_not_followed),
		cmocka_unit_test(post_sends_body_and_headers_and_no_expect),
		cmocka_unit_test(connection_is_kept_and_reused),
		cmocka_unit_test(call_may_be_started_when_another_is_done),
		cmocka_unit_test(stale_connection_is_replaced_by_a_client_that_dials),
		cmocka_unit_test(client_that_does_not_dial_asks_for_a_socket),
		cmocka_unit_test(passed_socket_is_used_then_kept),
		cmocka_unit_test(passed_socket_serves_a_name_that_nobody_resolves),
		cmocka_unit_test(connection_is_named_before_each_request),
		cmocka_unit_test(connection_of_a_name_has_the_sockets_address),
		cmocka_unit_test(unused_passed_socket_is_closed),
		cmocka_unit_test(connection_closed_while_idle_needs_a_socket),
		cmocka_unit_test(kept_connection_that_dies_before_an_answer_needs_a_socket),
		cmocka_unit_test(fresh_connection_that_dies_before_an_answer_is_a_failure),
		cmocka_unit_test(refused_connection_is_named),
		cmocka_unit_test(name_that_does_not_resolve_is_a_connect_failure),
		cmocka_unit_test(silent_server_times_out),
		cmocka_unit_test(first_byte_timeout_ends_with_the_first_byte),
		cmocka_unit_test(body_of_exactly_the_limit_passes_and_one_more_byte_fails),
		cmocka_unit_test(headers_above_the_limit_fail),
		cmocka_unit_test(what_is_not_http_is_named),
		cmocka_unit_test(caller_may_refuse_headers_and_body),
		cmocka_unit_test(bad_url_or_header_is_refused_at_once),
		cmocka_unit_test(cancelled_call_says_nothing_and_another_goes_on),
		cmocka_unit_test(certificate_of_a_given_ca_is_trusted),
		cmocka_unit_test(a_text_may_stand_for_the_systems_certificates),
		cmocka_unit_test(unknown_certificate_is_not_trusted_unless_told_so),
		cmocka_unit_test(leaf_is_a_trust_anchor_only_when_partial_chains_are_allowed),
		cmocka_unit_test(certificate_of_another_name_is_refused_by_name),
		cmocka_unit_test(passed_socket_serves_https_with_a_server_name),
		cmocka_unit_test(client_certificate_is_shown),
		cmocka_unit_test(plain_http_port_is_no_tls),
		cmocka_unit_test(plain_answer_to_a_handshake_is_named),
		cmocka_unit_test(certificate_and_key_need_each_other),
		cmocka_unit_test(out_of_memory_is_survived),
	};
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
