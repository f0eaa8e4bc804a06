/* One fetch against a scripted server: the request that goes out, the body that comes back, how failures are worded. */
#include "gleaner/codec.h"
#include "gleaner/scrape.h"

#include "server.h"
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct fixture {
	struct loop *loop;
	struct http *http;
	struct test_server *server;
	struct scrape_fetch *fetch;
	struct target_credentials credentials;
	struct target_job job;
	struct target target;
	struct scrape_body body;
	struct scrape_memory memory;
	uint64_t max_body_bytes;
	struct scrape_fetch_result result;
	size_t done;
};

static void fetched(void *arg, const struct scrape_fetch_result *result)
{
	struct fixture *f = arg;
	f->result = *result;
	f->done++;
	loop_stop(f->loop);
}

static void start_server(struct fixture *f, bool dials, const struct test_reply *replies, size_t count,
	const struct test_certificate *tls, const char *client_ca)
{
	*f = (struct fixture){.max_body_bytes = 64 << 20, .memory.max_bytes = 128 << 20};
	f->server = test_server_start(replies, count, tls, client_ca);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(http_new(f->loop, (struct http_options){.max_connections = 4, .dials = dials}, &f->http), 0);
	assert_int_equal(scrape_fetch_new(f->http, &f->memory, &f->fetch), 0);
	f->job.credentials = &f->credentials;
	f->target = (struct target){.job = &f->job,
		.scheme = tls ? SPAN("https") : SPAN("http"),
		.url = span_str(test_server_url(f->server, "/metrics?a=b")),
		.timeout_ns = 5 * NS_PER_SEC};
}

static void start(struct fixture *f, bool dials, const struct test_reply *replies, size_t count,
	const struct test_certificate *tls)
{
	start_server(f, dials, replies, count, tls, NULL);
}

static void finish(struct fixture *f)
{
	scrape_fetch_free(f->fetch);
	buf_done(&f->body.bytes);
	http_free(f->http);
	loop_free(f->loop);
	test_server_stop(f->server);
}

static void fetch_with(struct fixture *f, int connected_fd)
{
	struct error err = {""};
	size_t done = f->done;
	assert_int_equal(scrape_fetch_start(f->fetch, &f->target, connected_fd, f->max_body_bytes, f->target.timeout_ns,
				 &f->body, fetched, f, &err),
		0);
	assert_int_equal(f->done, done);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->done, done + 1);
}

static void fetch(struct fixture *f)
{
	fetch_with(f, -1);
}

static void check_failure(const struct fixture *f, const char *reason, const char *text)
{
	assert_false(f->result.ok);
	assert_string_equal(f->result.reason, reason);
	assert_string_equal(f->result.error.text, text);
}

static void check_ok(const struct fixture *f, const char *expected)
{
	assert_string_equal(f->result.error.text, "");
	assert_true(f->result.ok);
	assert_null(f->result.reason);
	test_assert_text(buf_view(&f->body.bytes), expected);
	for (size_t i = 0; i < EXPO_PADDING; i++)
		assert_int_equal(f->body.bytes.ptr[f->body.bytes.len + i], 0);
}

/* A client that dials, `f`, and a server with these replies. */
#define START(...)                                                                                                     \
	const struct test_reply replies[] = {__VA_ARGS__};                                                             \
	struct fixture f;                                                                                              \
	start(&f, true, replies, ARRAY_SIZE(replies), NULL)

#define OK_UP "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 5\r\n\r\nup 1\n"

/* ---- request ------------------------------------------------------------------------ */

static void request_is_the_one_prometheus_sends(void **state)
{
	(void)state;
	START({.bytes = OK_UP});
	f.target.timeout_ns = 10 * NS_PER_SEC;
	fetch(&f);
	check_ok(&f, "up 1\n");
	char expected[1024];
	snprintf(expected, sizeof(expected),
		"GET /metrics?a=b HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
		"Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,"
		"application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,"
		"text/plain;version=0.0.4;q=0.4,*/*;q=0.3\r\nAccept-Encoding: identity\r\nUser-Agent: gleaner/%s\r\n"
		"X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n",
		test_server_port(f.server), GLEANER_VERSION);
	test_assert_text(test_server_request(f.server, 0), expected);
	assert_string_equal(f.body.content_type, "text/plain; version=0.0.4");
	assert_int_equal(f.body.wire_bytes, 5);
	finish(&f);
}

static void compression_is_asked_for_when_the_job_says_so(void **state)
{
	(void)state;
	START({.bytes = OK_UP});
	f.job.enable_compression = true;
	f.target.timeout_ns = 1500 * NS_PER_MS;
	fetch(&f);
	struct span sent = test_server_request(f.server, 0);
	assert_non_null(memmem(sent.ptr, sent.len, "\r\nAccept-Encoding: gzip\r\n", 25));
	assert_non_null(memmem(sent.ptr, sent.len, "\r\nX-Prometheus-Scrape-Timeout-Seconds: 1.5\r\n", 44));
	finish(&f);
}

static void fetch_needs_a_socket_then_keeps_it(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = OK_UP}};
	struct fixture f;
	start(&f, false, replies, 1, NULL);
	fetch(&f);
	assert_int_equal(f.result.failure, HTTP_NEED_SOCKET);
	assert_false(f.result.ok);
	fetch_with(&f, test_server_connect(f.server));
	check_ok(&f, "up 1\n");
	fetch(&f);
	check_ok(&f, "up 1\n");
	finish(&f);
}

static void tls_of_the_job_is_used(void **state)
{
	(void)state;
	struct test_certificate ca, node;
	const struct test_reply replies[] = {{.bytes = OK_UP}};
	struct fixture f;
	test_certificate_make("ca", NULL, NULL, &ca);
	test_certificate_make("pod", "DNS:pod.example", &ca, &node);
	start(&f, true, replies, 1, &node);
	f.credentials.ca = span_str(ca.cert);
	fetch(&f);
	check_failure(&f, "tls_verify", "TLS: certificate is for DNS:pod.example, not 127.0.0.1");
	f.credentials.server_name = SPAN("pod.example");
	fetch(&f);
	check_ok(&f, "up 1\n");
	finish(&f);
}

static void credentials_are_sent_as_they_are_now(void **state)
{
	(void)state;
	START({.bytes = OK_UP});
	f.credentials.authorization = SPAN("Basic dXNlcjpwYXNz");
	fetch(&f);
	check_ok(&f, "up 1\n");
	struct target_credentials rotated = {.authorization = SPAN("Bearer two")};
	f.job.credentials = &rotated;
	fetch(&f);
	check_ok(&f, "up 1\n");
	struct span first = test_server_request(f.server, 0), second = test_server_request(f.server, 1);
	assert_non_null(memmem(first.ptr, first.len, "\r\nAuthorization: Basic dXNlcjpwYXNz\r\n", 37));
	assert_non_null(memmem(second.ptr, second.len, "\r\nAuthorization: Bearer two\r\n", 29));
	finish(&f);
}

/* The redirect's target would get the header, if anybody went there. */
static void a_redirect_is_the_end_of_a_scrape_and_takes_nothing_elsewhere(void **state)
{
	(void)state;
	const struct test_reply elsewhere[] = {{.bytes = OK_UP}};
	struct test_server *other = test_server_start(elsewhere, 1, NULL, NULL);
	char redirect[256];
	snprintf(redirect, sizeof(redirect),
		"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%u/metrics\r\nContent-Length: 0\r\n\r\n",
		test_server_port(other));
	START({.bytes = redirect});
	f.credentials.authorization = SPAN("Bearer secret");
	fetch(&f);
	check_failure(&f, "http_status", "server returned HTTP status 302 Found");
	assert_int_equal(test_server_connections(other), 0);
	finish(&f);
	test_server_stop(other);
}

static void a_refusal_of_the_credentials_has_a_word_of_its_own(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"},
		{.bytes = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"});
	fetch(&f);
	check_failure(&f, "unauthorized", "server returned HTTP status 401 Unauthorized");
	fetch(&f);
	check_failure(&f, "unauthorized", "server returned HTTP status 403 Forbidden");
	assert_int_equal(test_server_requests(f.server), 2); /* no challenge is answered */
	finish(&f);
}

static void a_client_certificate_is_shown_to_who_asks_for_one(void **state)
{
	(void)state;
	struct test_certificate ca, node, client, stranger;
	const struct test_reply replies[] = {{.bytes = OK_UP}};
	test_certificate_make("ca", NULL, NULL, &ca);
	test_certificate_make("pod", "IP:127.0.0.1", &ca, &node);
	test_certificate_make("gleaner", "DNS:gleaner", &ca, &client);
	test_certificate_make("stranger", "DNS:stranger", NULL, &stranger);
	struct fixture f;
	start_server(&f, true, replies, 1, &node, ca.cert);
	f.credentials.ca = span_str(ca.cert);
	fetch(&f);
	assert_false(f.result.ok);
	f.credentials.cert = span_str(stranger.cert);
	f.credentials.key = span_str(stranger.key);
	fetch(&f);
	assert_false(f.result.ok);
	f.credentials.cert = span_str(client.cert);
	f.credentials.key = span_str(client.key);
	fetch(&f);
	check_ok(&f, "up 1\n");
	f.job.tls_min_version = f.job.tls_max_version = 12;
	fetch(&f);
	check_ok(&f, "up 1\n");
	finish(&f);
}

static void any_certificate_will_do_when_the_job_says_so(void **state)
{
	(void)state;
	struct test_certificate own;
	const struct test_reply replies[] = {{.bytes = OK_UP}};
	struct fixture f;
	test_certificate_make("pod", "DNS:elsewhere", NULL, &own);
	start(&f, true, replies, 1, &own);
	fetch(&f);
	check_failure(&f, "tls_verify", f.result.error.text);
	f.job.tls_insecure_skip_verify = true;
	fetch(&f);
	check_ok(&f, "up 1\n");
	finish(&f);
}

/* ---- response ------------------------------------------------------------------------ */

static void only_status_200_is_a_success(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nup 1\n"},
		{.bytes = "HTTP/1.1 204 No Content\r\n\r\n"}, {.bytes = "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"},
		{.bytes = "HTTP/1.1 799 \r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"});
	fetch(&f);
	check_failure(&f, "http_status", "server returned HTTP status 500 Internal Server Error");
	fetch(&f);
	check_failure(&f, "http_status", "server returned HTTP status 204 No Content");
	assert_int_equal(test_server_connections(f.server), 1); /* the error page was read, the connection is good */
	f.target.timeout_ns = 100 * NS_PER_MS;                  /* the redirect's body has no end */
	fetch(&f);
	check_failure(&f, "http_status", "server returned HTTP status 302 Found");
	f.target.timeout_ns = 5 * NS_PER_SEC;
	fetch(&f);
	check_failure(&f, "http_status", "server returned HTTP status 799");
	finish(&f);
}

/* Many large bodies at a time would be more memory than the process has. */
static void a_large_body_needs_room_beside_the_others(void **state)
{
	(void)state;
	struct buf page;
	buf_init(&page, 4 << 20);
	buf_printf(&page, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nx %01999997d\n", 0);
	START({.bytes = page.ptr, .len = page.len, .then = TEST_CLOSE});
	f.memory.used_bytes = 127 << 20; /* the others */
	fetch(&f);
	check_failure(&f, "memory", "too large beside the bodies of the other scrapes in flight");
	assert_int_equal(f.memory.used_bytes, 127 << 20);
	f.memory.used_bytes = 120 << 20;
	fetch(&f);
	assert_true(f.result.ok);
	assert_int_equal(f.memory.used_bytes, 120 << 20);
	finish(&f);
	buf_done(&page);
}

static void a_small_body_needs_none(void **state)
{
	(void)state;
	START({.bytes = OK_UP});
	f.memory.used_bytes = 500 << 20;
	fetch(&f);
	check_ok(&f, "up 1\n");
	assert_int_equal(f.memory.used_bytes, 500 << 20);
	finish(&f);
}

static void endless_error_page_is_cut(void **state)
{
	(void)state;
	struct buf page;
	buf_init(&page, 1 << 20);
	buf_printf(&page, "HTTP/1.1 500 X\r\nContent-Length: 200000\r\n\r\n%0200000d", 0);
	START({.bytes = page.ptr, .len = page.len});
	fetch(&f);
	check_failure(&f, "http_status", "server returned HTTP status 500 Internal Server Error");
	assert_int_equal(f.result.failure, HTTP_REFUSED);
	assert_int_equal(f.body.bytes.len, 0);
	finish(&f);
	buf_done(&page);
}

static void empty_body_is_a_success(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
	fetch(&f);
	check_ok(&f, "");
	assert_string_equal(f.body.content_type, "");
	finish(&f);
}

static void body_of_exactly_the_limit_fails(void **state)
{
	(void)state;
	START({.bytes = OK_UP});
	f.job.limits.body_size_limit = 5;
	fetch(&f);
	check_failure(&f, "body_limit", "body size limit exceeded");
	assert_true(f.result.body_limit_hit);
	f.job.limits.body_size_limit = 6;
	fetch(&f);
	check_ok(&f, "up 1\n");
	assert_false(f.result.body_limit_hit);
	f.max_body_bytes = 4; /* the ceiling of all jobs holds as well */
	fetch(&f);
	check_failure(&f, "body_limit", "body size limit exceeded");
	finish(&f);
}

static void append_gzip(struct buf *reply, const char *bytes, size_t len)
{
	struct codec *codec;
	assert_int_equal(codec_new(CODEC_GZIP, &codec), 0);
	assert_int_equal(codec_compress(codec, span_of(bytes, len), reply), 0);
	codec_free(codec);
}

static struct buf gzip_reply(const char *encoding, const char *bytes, size_t len)
{
	struct buf body, reply;
	buf_init(&body, 16 << 20);
	buf_init(&reply, 16 << 20);
	append_gzip(&body, bytes, len);
	buf_printf(
		&reply, "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n", encoding, body.len);
	buf_span(&reply, buf_view(&body));
	buf_done(&body);
	return reply;
}

static void gzip_is_inflated_also_when_not_asked_for(void **state)
{
	(void)state;
	struct buf reply = gzip_reply("gzip", "up 1\n", 5);
	START({.bytes = reply.ptr, .len = reply.len, .piece = 1}, {.bytes = reply.ptr, .len = reply.len});
	fetch(&f);
	check_ok(&f, "up 1\n");
	assert_true(f.body.wire_bytes > 5);
	f.job.limits.body_size_limit = 5; /* of inflated bytes */
	fetch(&f);
	check_failure(&f, "body_limit", "body size limit exceeded");
	f.job.limits.body_size_limit = 1000;
	fetch(&f);
	check_ok(&f, "up 1\n");
	finish(&f);
	buf_done(&reply);
}

static void other_encodings_are_left_to_the_parser(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 200 OK\r\nContent-Encoding: utf-8\r\nContent-Length: 5\r\n\r\nup 1\n"});
	fetch(&f);
	check_ok(&f, "up 1\n");
	finish(&f);
}

static void broken_gzip_is_named(void **state)
{
	(void)state;
	struct buf reply = gzip_reply("gzip", "up 1\n", 5), cut;
	buf_init(&cut, 4096);
	buf_str(&cut, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n");
	buf_append(&cut, reply.ptr + reply.len - 20, 5);
	START({.bytes = cut.ptr, .len = cut.len, .then = TEST_CLOSE},
		{.bytes = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"});
	fetch(&f);
	check_failure(&f, "gzip", "gzip body is corrupt or cut off");
	fetch(&f);
	check_failure(&f, "gzip", "gzip body is corrupt or cut off");
	finish(&f);
	buf_done(&reply);
	buf_done(&cut);
}

static void gzip_bomb_is_stopped_by_its_ratio(void **state)
{
	(void)state;
	size_t len = 8 << 20;
	char *zeros = calloc(1, len);
	struct buf reply = gzip_reply("gzip", zeros, len);
	assert_true(reply.len < len / 100);
	START({.bytes = reply.ptr, .len = reply.len});
	fetch(&f);
	check_failure(&f, "gzip_ratio", "gzip body inflates to more than 100 times its size");
	assert_false(f.result.body_limit_hit);
	assert_true(f.body.bytes.len < 2 << 20);
	finish(&f);
	buf_done(&reply);
	free(zeros);
}

static void failures_of_the_way_are_passed_on(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup 1\n", .then = TEST_CLOSE}, {.bytes = NULL});
	fetch(&f);
	assert_string_equal(f.result.reason, "protocol");
	f.target.timeout_ns = 30 * NS_PER_MS;
	fetch(&f);
	check_failure(&f, "timeout", "no answer within 30ms");
	char url[64], text[128];
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", test_closed_port());
	f.target.url = span_str(url);
	fetch(&f);
	snprintf(text, sizeof(text), "connect to %.*s: Connection refused", (int)strlen(url) - 8, url + 7);
	check_failure(&f, "connect", text);
	struct error err;
	f.target.url = SPAN("http://127.0.0.1:1/\n");
	assert_int_equal(
		scrape_fetch_start(f.fetch, &f.target, -1, 100, NS_PER_SEC, &f.body, fetched, &f, &err), -EINVAL);
	finish(&f);
}

static void cancelled_fetch_says_nothing(void **state)
{
	(void)state;
	START({.bytes = OK_UP});
	struct error err;
	assert_int_equal(scrape_fetch_start(f.fetch, &f.target, -1, 100, NS_PER_SEC, &f.body, fetched, &f, &err), 0);
	scrape_fetch_cancel(f.fetch);
	scrape_fetch_cancel(f.fetch);
	assert_int_equal(f.done, 0);
	fetch(&f);
	check_ok(&f, "up 1\n");
	finish(&f);
}

/* ---- memory --------------------------------------------------------------------------- */

static int attempt_fetch(void *arg)
{
	struct test_server *server = arg;
	struct fixture f = {.server = server};
	f.job.credentials = &f.credentials;
	f.target = (struct target){.job = &f.job,
		.scheme = SPAN("http"),
		.url = span_str(test_server_url(server, "/")),
		.timeout_ns = 50 * NS_PER_MS};
	int result = loop_new(&f.loop);
	if (result == 0)
		result = http_new(f.loop, (struct http_options){.max_connections = 4, .dials = true}, &f.http);
	if (result == 0)
		result = scrape_fetch_new(f.http, NULL, &f.fetch);
	if (result == 0)
		result = scrape_fetch_start(
			f.fetch, &f.target, -1, 4096, f.target.timeout_ns, &f.body, fetched, &f, NULL);
	if (result == 0)
		result = loop_run(f.loop);
	/* A socket that cannot be watched ends by its timeout. */
	if (result == 0 && !f.result.ok)
		result = -ENOMEM;
	scrape_fetch_free(f.fetch);
	buf_done(&f.body.bytes);
	http_free(f.http);
	loop_free(f.loop);
	return result;
}

static void out_of_memory_is_survived(void **state)
{
	(void)state;
	struct buf reply = gzip_reply("gzip", "up 1\n", 5);
	const struct test_reply replies[] = {{.bytes = reply.ptr, .len = reply.len}};
	struct test_server *server = test_server_start(replies, 1, NULL, NULL);
	test_out_of_memory(attempt_fetch, server);
	test_server_stop(server);
	buf_done(&reply);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_the_one_prometheus_sends),
		cmocka_unit_test(compression_is_asked_for_when_the_job_says_so),
		cmocka_unit_test(fetch_needs_a_socket_then_keeps_it),
		cmocka_unit_test(tls_of_the_job_is_used),
		cmocka_unit_test(credentials_are_sent_as_they_are_now),
		cmocka_unit_test(a_redirect_is_the_end_of_a_scrape_and_takes_nothing_elsewhere),
		cmocka_unit_test(a_refusal_of_the_credentials_has_a_word_of_its_own),
		cmocka_unit_test(a_client_certificate_is_shown_to_who_asks_for_one),
		cmocka_unit_test(any_certificate_will_do_when_the_job_says_so),
		cmocka_unit_test(only_status_200_is_a_success),
		cmocka_unit_test(a_large_body_needs_room_beside_the_others),
		cmocka_unit_test(a_small_body_needs_none),
		cmocka_unit_test(endless_error_page_is_cut),
		cmocka_unit_test(empty_body_is_a_success),
		cmocka_unit_test(body_of_exactly_the_limit_fails),
		cmocka_unit_test(gzip_is_inflated_also_when_not_asked_for),
		cmocka_unit_test(other_encodings_are_left_to_the_parser),
		cmocka_unit_test(broken_gzip_is_named),
		cmocka_unit_test(gzip_bomb_is_stopped_by_its_ratio),
		cmocka_unit_test(failures_of_the_way_are_passed_on),
		cmocka_unit_test(cancelled_fetch_says_nothing),
		cmocka_unit_test(out_of_memory_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
