/* The driver against a scripted server: what is sent, what is told, what is never sent. */
#include "dump.h"
#include "server.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD(status, type, length) "HTTP/1.1 " status "\r\nContent-Type: " type "\r\nContent-Length: " length "\r\n\r\n"
#define ONE_POD                                                                                                        \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"                      \
	"50\r\n{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"1\",\"namespace\":\"n\",\"name\":\"p\"}}]}"   \
	"\r\n0\r\n\r\n"
#define NO_POD                                                                                                         \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"                      \
	"1f\r\n{\"kind\":\"PodList\",\"items\":null}\r\n0\r\n\r\n"

static const struct test_reply one_pod[] = {{.bytes = ONE_POD}};

struct fixture {
	struct loop *loop;
	struct http *http;
	struct test_server *server;
	struct test_certificate authority, certificate;
	struct test_clock clock;
	struct kube_options options;
	struct kube_kubelet *kubelet;
	char folder[64], token_file[96], ca_file[96];

	size_t lists, failures, polls_wanted; /* polls_wanted: nudged after each until then */
	size_t pods;                          /* of the last list */
	struct error error;
	uint64_t next_poll_ns;
};

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* The poll's end: the next one at once, or the end of the loop. */
static void continue_or_stop(struct fixture *f)
{
	f->clock.mono_ns += 2 * NS_PER_SEC;
	struct kube_stats stats;
	kube_kubelet_stats(f->kubelet, &stats);
	if (stats.polls < f->polls_wanted)
		kube_kubelet_nudge(f->kubelet);
	else
		loop_stop(f->loop);
}

static void on_pods(void *arg, struct kube_pods *pods)
{
	struct fixture *f = arg;
	f->lists++;
	f->pods = pods->count;
	continue_or_stop(f);
}

static void on_failed(void *arg, const struct error *err, uint64_t next_poll_ns)
{
	struct fixture *f = arg;
	f->failures++;
	f->error = *err;
	f->next_poll_ns = next_poll_ns;
	continue_or_stop(f);
}

/* alt: of the server's certificate, or NULL for plain http. */
static void start(struct fixture *f, const struct test_reply *replies, size_t count, const char *alt)
{
	*f = (struct fixture){.clock = {.mono_ns = 100 * NS_PER_SEC, .wall_ns = 1000 * NS_PER_SEC}};
	snprintf(f->folder, sizeof(f->folder), "/tmp/gleaner-kubelet-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->token_file, sizeof(f->token_file), "%s/token", f->folder);
	snprintf(f->ca_file, sizeof(f->ca_file), "%s/ca.crt", f->folder);
	if (alt) {
		test_certificate_make("authority", "DNS:authority", NULL, &f->authority);
		test_certificate_make("node-a", alt, &f->authority, &f->certificate);
		write_file(f->token_file, "the-token\n");
		write_file(f->ca_file, f->authority.cert);
	}
	f->server = test_server_start(replies, count, alt ? &f->certificate : NULL, NULL);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(http_new(f->loop, (struct http_options){.max_connections = 2, .dials = true}, &f->http), 0);
	f->options = (struct kube_options){
		.enabled = true,
		.endpoint = test_server_url(f->server, "/"),
		.node_name = "node-a",
		.token_file = f->token_file,
		.tls.ca_file = f->ca_file,
		.poll_interval_ns = 10 * NS_PER_SEC,
		.timeout_ns = 5 * NS_PER_SEC,
		.max_body_bytes = 1 << 20,
	};
}

static void run(struct fixture *f, size_t polls)
{
	struct error err = {""};
	f->polls_wanted = polls;
	struct kube_kubelet_events events = {.pods = on_pods, .failed = on_failed, .arg = f};
	int r = kube_kubelet_new(f->loop, f->http, &f->options, test_clock(&f->clock), events, &f->kubelet, &err);
	if (r < 0)
		fail_msg("%s", err.text);
	assert_int_equal(loop_run(f->loop), 0);
}

static void stop(struct fixture *f)
{
	kube_kubelet_free(f->kubelet);
	http_free(f->http);
	loop_free(f->loop);
	test_server_stop(f->server);
	unlink(f->token_file);
	unlink(f->ca_file);
	rmdir(f->folder);
}

static bool request_has(const struct fixture *f, size_t number, const char *text)
{
	struct span request = test_server_request(f->server, number);
	return memmem(request.ptr, request.len, text, strlen(text)) != NULL;
}

static void check_error(const struct fixture *f, const char *text)
{
	if (!strstr(f->error.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, f->error.text);
}

static void pods_are_asked_for_with_the_token_over_verified_https(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, "IP:127.0.0.1");
	run(&f, 1);
	assert_int_equal(f.lists, 1);
	assert_int_equal(f.pods, 1);
	assert_true(request_has(&f, 0, "GET /pods HTTP/1.1\r\n"));
	assert_true(request_has(&f, 0, "\r\nAuthorization: Bearer the-token\r\n"));
	assert_true(request_has(&f, 0, "\r\nAccept: application/json\r\n"));
	struct kube_stats stats;
	kube_kubelet_stats(f.kubelet, &stats);
	assert_int_equal(stats.polls, 1);
	assert_int_equal(stats.failures, 0);
	assert_int_equal(stats.pods, 1);
	assert_int_equal(stats.last_success_wall_ns, 1000 * NS_PER_SEC);
	assert_string_equal(stats.last_error.text, "");
	stop(&f);
}

static void certificate_for_the_name_of_the_node_only_is_accepted(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, "DNS:node-a");
	run(&f, 1);
	assert_int_equal(f.failures, 0);
	assert_int_equal(f.lists, 1);
	assert_true(request_has(&f, 0, "Bearer the-token"));
	stop(&f);
}

static void certificate_of_nobody_we_trust_gets_no_token(void **state)
{
	(void)state;
	struct fixture f;
	struct test_certificate other;
	start(&f, one_pod, 1, "IP:127.0.0.1");
	test_certificate_make("other", "DNS:other", NULL, &other);
	write_file(f.ca_file, other.cert);
	run(&f, 1);
	assert_int_equal(f.failures, 1);
	assert_int_equal(test_server_requests(f.server), 0);
	check_error(&f, "TLS: ");
	check_error(&f, "(kubelet.tls.ca_file: /"); /* what to set for a kubelet that signs its own certificate */
	stop(&f);
}

static void certificate_for_another_name_is_refused_once_both_names_were_tried(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, "DNS:node-b");
	run(&f, 1);
	assert_int_equal(f.failures, 1);
	assert_int_equal(test_server_requests(f.server), 0);
	check_error(&f, "not node-a");
	stop(&f);
}

static void configured_server_name_is_the_only_one_tried(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, "DNS:node-a");
	f.options.tls.server_name = "node-c";
	run(&f, 1);
	assert_int_equal(f.failures, 1);
	check_error(&f, "not node-c");
	stop(&f);
}

static void plain_http_gets_no_token(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, NULL);
	write_file(f.token_file, "the-token");
	run(&f, 1);
	assert_int_equal(f.lists, 1);
	assert_false(request_has(&f, 0, "uthorization"));
	assert_false(request_has(&f, 0, "the-token"));
	stop(&f);
}

static void unverified_https_gets_no_token(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, "DNS:whoever");
	f.options.tls.insecure_skip_verify = true;
	run(&f, 1);
	assert_int_equal(f.lists, 1);
	assert_false(request_has(&f, 0, "the-token"));
	stop(&f);
}

static void token_is_read_again_when_the_file_changes(void **state)
{
	(void)state;
	static const struct test_reply replies[] = {{.bytes = NO_POD}, {.bytes = ONE_POD}};
	struct fixture f;
	start(&f, replies, 2, "IP:127.0.0.1");
	run(&f, 1);
	char other[128];
	snprintf(other, sizeof(other), "%s/new", f.folder);
	write_file(other, "another-token");
	assert_int_equal(rename(other, f.token_file), 0);
	f.polls_wanted = 2;
	kube_kubelet_nudge(f.kubelet);
	assert_int_equal(loop_run(f.loop), 0);
	assert_int_equal(f.lists, 2);
	assert_true(request_has(&f, 1, "Bearer another-token\r\n"));
	stop(&f);
}

static void missing_token_file_fails_the_poll_without_a_request(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, "IP:127.0.0.1");
	unlink(f.token_file);
	run(&f, 1);
	assert_int_equal(f.failures, 1);
	assert_int_equal(test_server_connections(f.server), 0);
	check_error(&f, "token_file: /tmp/");
	check_error(&f, "No such file or directory");
	stop(&f);
}

static void refusal_is_told_in_the_words_of_the_kubelet(void **state)
{
	(void)state;
	struct fixture f;
	struct span answer = test_file("golden/kubernetes/kubelet_pods_403.http");
	const struct test_reply replies[] = {{.bytes = answer.ptr, .len = answer.len}};
	start(&f, replies, 1, "IP:127.0.0.1");
	run(&f, 1);
	assert_int_equal(f.failures, 1);
	assert_string_equal(f.error.text, "GET /pods: status 403: Forbidden "
					  "(user=system:serviceaccount:default:norights, verb=get, resource=nodes, "
					  "subresource(s)=[pods proxy])");
	assert_true(f.next_poll_ns >= 30 * NS_PER_SEC);
	struct kube_stats stats;
	kube_kubelet_stats(f.kubelet, &stats);
	assert_int_equal(stats.consecutive_failures, 1);
	assert_string_equal(stats.last_error.text, f.error.text);
	stop(&f);
	test_file_free(answer);
}

static void refusal_is_escaped_and_cut(void **state)
{
	(void)state;
	struct fixture f;
	char answer[2000];
	int len = snprintf(
		answer, sizeof(answer), HEAD("401 Unauthorized", "text/plain", "1000") "a\x1b[31m%%%0*d", 993, 0);
	const struct test_reply replies[] = {{.bytes = answer, .len = (size_t)len}};
	start(&f, replies, 1, NULL);
	run(&f, 1);
	check_error(&f, "GET /pods: status 401: a%1B[31m%25000");
	check_error(&f, "000 (also when the API server is down)");
	assert_int_equal(strspn(strstr(f.error.text, "000"), "0"), 256 - 7);
	stop(&f);
}

static void failed_poll_loses_no_pod(void **state)
{
	(void)state;
	static const struct test_reply replies[] = {
		{.bytes = ONE_POD}, {.bytes = HEAD("500 Internal Server Error", "text/plain", "0")}};
	struct fixture f;
	start(&f, replies, 2, NULL);
	run(&f, 2);
	assert_int_equal(f.lists, 1);
	assert_int_equal(f.failures, 1);
	check_error(&f, "GET /pods: status 500: no reason given");
	assert_true(f.next_poll_ns >= 9 * NS_PER_SEC);
	struct kube_stats stats;
	kube_kubelet_stats(f.kubelet, &stats);
	assert_int_equal(stats.pods, 1);
	assert_int_equal(stats.changes, 1);
	stop(&f);
}

static void body_that_is_no_list_fails_the_poll(void **state)
{
	(void)state;
	static const struct test_reply garbage[] = {{.bytes = HEAD("200 OK", "text/html", "6") "<html>"}};
	static const struct test_reply cut[] = {
		{.bytes = "HTTP/1.1 200 OK\r\n\r\n{\"kind\":\"PodList\",\"items\":[", .then = TEST_CLOSE}};
	struct fixture f;
	start(&f, garbage, 1, NULL);
	run(&f, 1);
	check_error(&f, "GET /pods: not JSON near byte");
	stop(&f);
	start(&f, cut, 1, NULL);
	run(&f, 1);
	check_error(&f, "GET /pods: not JSON near byte");
	stop(&f);
}

static void body_above_the_ceiling_fails_the_poll(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, NULL);
	f.options.max_body_bytes = 20;
	run(&f, 1);
	assert_int_equal(f.failures, 1);
	assert_int_equal(f.lists, 0);
	assert_true(f.error.text[0]);
	stop(&f);
}

static void answer_in_single_bytes_is_read(void **state)
{
	(void)state;
	static const struct test_reply replies[] = {{.bytes = ONE_POD, .piece = 1}};
	struct fixture f;
	start(&f, replies, 1, NULL);
	run(&f, 1);
	assert_int_equal(f.pods, 1);
	stop(&f);
}

static void driver_can_be_freed_while_it_waits_for_an_answer(void **state)
{
	(void)state;
	static const struct test_reply hang[] = {{.bytes = NULL, .then = TEST_KEEP}};
	struct fixture f;
	start(&f, hang, 1, NULL);
	f.options.timeout_ns = 50 * NS_PER_MS;
	run(&f, 1);
	check_error(&f, "50ms");
	kube_kubelet_free(f.kubelet);
	f.kubelet = NULL;
	struct kube_kubelet_events events = {.pods = on_pods, .failed = on_failed, .arg = &f};
	assert_int_equal(
		kube_kubelet_new(f.loop, f.http, &f.options, test_clock(&f.clock), events, &f.kubelet, NULL), 0);
	kube_kubelet_nudge(f.kubelet);
	stop(&f);
}

static int make_driver(void *arg)
{
	struct fixture *f = arg;
	struct kube_kubelet *kubelet;
	struct kube_kubelet_events events = {.pods = on_pods, .failed = on_failed, .arg = f};
	int r = kube_kubelet_new(f->loop, f->http, &f->options, test_clock(&f->clock), events, &kubelet, NULL);
	if (r == 0)
		kube_kubelet_free(kubelet);
	return r;
}

static void making_a_driver_survives_no_memory(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, one_pod, 1, NULL);
	test_out_of_memory(make_driver, &f);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods_are_asked_for_with_the_token_over_verified_https),
		cmocka_unit_test(certificate_for_the_name_of_the_node_only_is_accepted),
		cmocka_unit_test(certificate_of_nobody_we_trust_gets_no_token),
		cmocka_unit_test(certificate_for_another_name_is_refused_once_both_names_were_tried),
		cmocka_unit_test(configured_server_name_is_the_only_one_tried),
		cmocka_unit_test(plain_http_gets_no_token),
		cmocka_unit_test(unverified_https_gets_no_token),
		cmocka_unit_test(token_is_read_again_when_the_file_changes),
		cmocka_unit_test(missing_token_file_fails_the_poll_without_a_request),
		cmocka_unit_test(refusal_is_told_in_the_words_of_the_kubelet),
		cmocka_unit_test(refusal_is_escaped_and_cut),
		cmocka_unit_test(failed_poll_loses_no_pod),
		cmocka_unit_test(body_that_is_no_list_fails_the_poll),
		cmocka_unit_test(body_above_the_ceiling_fails_the_poll),
		cmocka_unit_test(answer_in_single_bytes_is_read),
		cmocka_unit_test(driver_can_be_freed_while_it_waits_for_an_answer),
		cmocka_unit_test(making_a_driver_survives_no_memory),
	};
	signal(SIGPIPE, SIG_IGN); /* the server's, when a client gives up in the middle of a handshake */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
