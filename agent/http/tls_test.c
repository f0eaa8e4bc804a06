/* The client and certificates: whom it trusts, how it names itself, and how each failure is named. */
#include "fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

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

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
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
	};
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
