/* status, over a real socket. */
#include "gleaner/status.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

static void serve_page(void *arg, const struct status_request *request, struct status_reply *reply)
{
	struct span name = status_query(request, "name");
	struct span flag = status_query(request, "flag");
	buf_printf(&reply->body, "%s path=%.*s name=%.*s flag=%s\n", (const char *)arg, SPAN_ARGS(request->path),
		SPAN_ARGS(name), flag.ptr ? "yes" : "no");
}

static void serve_reload(void *arg, const struct status_request *request, struct status_reply *reply)
{
	(void)arg, (void)request;
	reply->code = 202;
	reply->content_type = "application/json";
	buf_str(&reply->body, "{}");
}

static void serve_nothing(void *arg, const struct status_request *request, struct status_reply *reply)
{
	(void)arg, (void)request;
	reply->code = 204;
}

static void serve_too_much(void *arg, const struct status_request *request, struct status_reply *reply)
{
	(void)arg, (void)request;
	buf_str(&reply->body, "the beginning of something that must not be shown in part");
	assert_null(buf_reserve(&reply->body, 17 << 20));
}

static const struct status_route routes[] = {
	{.path = "/page", .serve = serve_page},
	{.path = "/-/reload", .post = true, .serve = serve_reload},
	{.path = "/nothing", .serve = serve_nothing},
	{.path = "/too-much", .serve = serve_too_much},
	{0},
};

static struct status_server *start(const char *listen_on)
{
	struct status_options options = {.enabled = true, .listen = listen_on, .max_connections = 8};
	struct status_server *server = NULL;
	struct error err = {{0}};
	if (status_start(&options, routes, "hello", &server, &err) < 0)
		fail_msg("%s", err.text);
	return server;
}

static int dial(const struct status_server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(status_port(server))};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	size_t len = strlen(text);
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Appends what comes until the other side closes. */
static void read_all(int fd, struct buf *out)
{
	char piece[4096];
	ssize_t got;
	while ((got = recv(fd, piece, sizeof(piece), 0)) > 0)
		buf_append(out, piece, (size_t)got);
	buf_char(out, '\0');
	close(fd);
}

/* The whole answer to one request; free with buf_done. */
static struct buf ask(const struct status_server *server, const char *request_line, const char *rest)
{
	char request[512];
	snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", request_line, rest);
	struct buf answer;
	buf_init(&answer, 1 << 20);
	int fd = dial(server);
	send_text(fd, request);
	read_all(fd, &answer);
	return answer;
}

static void assert_answer(const struct status_server *server, const char *request_line, const char *status,
	const char *header, const char *body)
{
	struct buf answer = ask(server, request_line, "");
	if (strncmp(answer.ptr, status, strlen(status)) != 0 || !strstr(answer.ptr, header))
		fail_msg("%s: expected %s with %s, got\n%s", request_line, status, header, answer.ptr);
	const char *end = strstr(answer.ptr, "\r\n\r\n");
	assert_non_null(end);
	assert_string_equal(end + 4, body);
	buf_done(&answer);
}

static void get_is_answered_with_the_page(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	assert_answer(server, "GET /page", "HTTP/1.1 200 ", "\r\nContent-Type: text/plain; charset=utf-8\r\n",
		"hello path=/page name= flag=no\n");
	assert_answer(server, "GET /page", "HTTP/1.1 200 ", "\r\nX-Content-Type-Options: nosniff\r\n",
		"hello path=/page name= flag=no\n");
	assert_answer(server, "GET /nothing", "HTTP/1.1 204 ", "\r\nCache-Control: no-store\r\n", "");
	status_stop(server);
}

static void query_values_are_decoded(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	assert_answer(server, "GET /page?name=a%20b+c&flag&name=second", "HTTP/1.1 200 ", "",
		"hello path=/page name=a b c flag=yes\n");
	status_stop(server);
}

static void head_has_the_headers_and_no_body(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	assert_answer(server, "HEAD /page", "HTTP/1.1 200 ", "\r\nContent-Length: 31\r\n", "");
	status_stop(server);
}

static void only_post_routes_take_post(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	assert_answer(server, "POST /-/reload", "HTTP/1.1 202 ", "\r\nContent-Type: application/json\r\n", "{}");
	assert_answer(server, "PUT /-/reload", "HTTP/1.1 202 ", "", "{}");
	assert_answer(
		server, "GET /-/reload", "HTTP/1.1 405 ", "\r\nAllow: POST, PUT\r\n", "/-/reload takes POST, PUT\n");
	assert_answer(server, "POST /page", "HTTP/1.1 405 ", "\r\nAllow: GET, HEAD\r\n", "/page takes GET, HEAD\n");
	assert_answer(server, "DELETE /page", "HTTP/1.1 405 ", "", "/page takes GET, HEAD\n");
	status_stop(server);
}

static void body_of_a_post_is_not_waited_for(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	struct buf answer = ask(server, "POST /-/reload", "Content-Length: 1000000\r\n"); /* never sent */
	assert_non_null(strstr(answer.ptr, "HTTP/1.1 202 "));
	buf_done(&answer);
	status_stop(server);
}

static void connection_is_kept_for_the_next_request(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	struct buf answers;
	buf_init(&answers, 1 << 20);
	int fd = dial(server);
	send_text(fd, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
		      "POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n"
		      "GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	read_all(fd, &answers);
	assert_non_null(strstr(answers.ptr, "HTTP/1.1 204 "));
	assert_non_null(strstr(answers.ptr, "HTTP/1.1 202 "));
	assert_non_null(strstr(answers.ptr, "hello path=/page"));
	buf_done(&answers);
	status_stop(server);
}

static void unknown_path_lists_the_paths(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	const char *list = "no such page; there are:\n"
			   "  GET, HEAD /page\n"
			   "  POST, PUT /-/reload\n"
			   "  GET, HEAD /nothing\n"
			   "  GET, HEAD /too-much\n";
	assert_answer(server, "GET /", "HTTP/1.1 404 ", "", list);
	assert_answer(server, "POST /page/", "HTTP/1.1 404 ", "", list);
	assert_answer(server, "GET /pag", "HTTP/1.1 404 ", "", list);
	status_stop(server);
}

static void page_that_does_not_fit_is_a_500_without_half_a_page(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	assert_answer(server, "GET /too-much", "HTTP/1.1 500 ", "", "the page did not fit into memory\n");
	status_stop(server);
}

static void headers_without_end_are_refused(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	int fd = dial(server);
	send_text(fd, "GET /page HTTP/1.1\r\nHost: x\r\nX: ");
	char block[1024];
	memset(block, 'a', sizeof(block));
	ssize_t sent = 1;
	for (size_t i = 0; i < 64 && sent > 0; i++)
		sent = send(fd, block, sizeof(block), MSG_NOSIGNAL);
	struct buf answer;
	buf_init(&answer, 1 << 20);
	read_all(fd, &answer); /* ends: the server closes; the answer itself may be lost to the reset */
	assert_null(strstr(answer.ptr, "200 OK"));
	buf_done(&answer);
	assert_answer(server, "GET /nothing", "HTTP/1.1 204 ", "", ""); /* and lives on */
	status_stop(server);
}

static void connections_of_one_address_are_limited(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0");
	int open[4];
	char byte;
	for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
		open[i] = dial(server);
		send_text(open[i], "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
		assert_int_equal(recv(open[i], &byte, 1, 0), 1); /* so it is being served */
	}
	int fifth = dial(server);
	assert_true(recv(fifth, &byte, 1, 0) <= 0);
	close(fifth);
	status_stop(server); /* with connections open */
	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		close(open[i]);
}

static void port_that_is_taken_is_an_error_with_the_next_step(void **state)
{
	(void)state;
	struct status_server *server = start("127.0.0.1:0"), *second = NULL;
	char listen_on[32], expected[128];
	snprintf(listen_on, sizeof(listen_on), "127.0.0.1:%u", status_port(server));
	struct status_options options = {.listen = listen_on, .max_connections = 8};
	struct error err = {{0}};
	assert_int_equal(status_start(&options, routes, NULL, &second, &err), -EADDRINUSE);
	snprintf(expected, sizeof(expected), "listen on %s: Address already in use; set status.listen", listen_on);
	assert_string_equal(err.text, expected);
	assert_null(second);
	status_stop(server);
}

static void ipv6_is_listened_on(void **state)
{
	(void)state;
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (fd >= 0)
			close(fd);
		skip(); /* no IPv6 on this machine */
	}
	close(fd);
	struct status_server *server = start("[::1]:0");
	address.sin6_port = htons(status_port(server));
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	status_stop(server);
}

static void listen_must_be_an_address_and_a_port(void **state)
{
	(void)state;
	static const char *const bad[] = {"", ":", "9465", ":9465", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
		"127.0.0.1:-1", "127.0.0.1: 1", "127.1:9465", "localhost:9465", "::1:9465", "[::1]", "[127.0.0.1]:9465",
		"[]:9465", "[::1]x:9465", "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:9465"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct status_options options = {.listen = bad[i], .max_connections = 8};
		struct error err = {{0}};
		const char *key = NULL;
		assert_int_equal(status_options_table.check(&options, NULL, &key, &err), -EINVAL);
		assert_string_equal(key, "listen");
		assert_non_null(strstr(err.text, "is not IP:PORT or [IPv6]:PORT"));
		struct status_server *server = NULL;
		assert_int_equal(status_start(&options, routes, NULL, &server, &err), -EINVAL);
	}
	static const char *const good[] = {"127.0.0.1:9465", "0.0.0.0:1", "[::]:9465", "[fe80::1]:0"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct status_options options = {.listen = good[i]};
		assert_int_equal(status_options_table.check(&options, NULL, NULL, NULL), 0);
	}
}

static int start_and_stop(void *arg)
{
	struct status_server *server = NULL;
	struct error err;
	int result = status_start(arg, routes, NULL, &server, &err);
	status_stop(server);
	return result;
}

static void memory_that_runs_out_is_reported(void **state)
{
	(void)state;
	struct status_options options = {.listen = "127.0.0.1:0", .max_connections = 8};
	test_out_of_memory(start_and_stop, &options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_is_answered_with_the_page),
		cmocka_unit_test(query_values_are_decoded),
		cmocka_unit_test(head_has_the_headers_and_no_body),
		cmocka_unit_test(only_post_routes_take_post),
		cmocka_unit_test(body_of_a_post_is_not_waited_for),
		cmocka_unit_test(connection_is_kept_for_the_next_request),
		cmocka_unit_test(unknown_path_lists_the_paths),
		cmocka_unit_test(page_that_does_not_fit_is_a_500_without_half_a_page),
		cmocka_unit_test(headers_without_end_are_refused),
		cmocka_unit_test(connections_of_one_address_are_limited),
		cmocka_unit_test(port_that_is_taken_is_an_error_with_the_next_step),
		cmocka_unit_test(ipv6_is_listened_on),
		cmocka_unit_test(listen_must_be_an_address_and_a_port),
		cmocka_unit_test(memory_that_runs_out_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
