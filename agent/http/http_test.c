/* The client against a scripted server in a thread: what comes back, how each failure is named, which sockets are used. */
#include "fixture.h"

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

/* ---- memory ------------------------------------------------------------------------------ */

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
	static const struct test_reply hello = {.bytes = OK_HELLO};
	struct test_server *server = test_server_start(&hello, 1, NULL, NULL);
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
		cmocka_unit_test(out_of_memory_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
