/* The export thread against a scripted gateway: what is sent, what becomes of each record, and that nothing is lost from the count. */
#include "gleaner/export.h"

#include "server.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct fixture {
	struct test_server *server;
	struct spool *spool;
	struct export_options options;
	struct exporter *exporter;
	struct spool_stats spooled; /* after finish */
};

static struct export_options options_for(const char *endpoint)
{
	return (struct export_options){.otlphttp = {.endpoint = endpoint,
					       .compression = CODEC_GZIP,
					       .timeout_ns = 5 * NS_PER_SEC,
					       .retry = {.initial_ns = NS_PER_MS, .max_ns = 2 * NS_PER_MS},
					       .max_connection_age_ns = 300 * NS_PER_SEC}};
}

static void start(struct fixture *f, const struct test_reply *replies, size_t count)
{
	*f = (struct fixture){.server = test_server_start(replies, count, NULL, NULL)};
	struct spool_options spool_options = {.max_bytes = 1 << 20, .max_age_ns = 3600 * NS_PER_SEC};
	assert_int_equal(spool_new(&spool_options, clock_system(), &f->spool), 0);
	f->options = options_for(test_server_url(f->server, ""));
}

static void push(struct fixture *f, struct span body, enum codec_kind codec, uint32_t points)
{
	struct clock clock = clock_system();
	uint64_t now = clock_wall(&clock);
	struct spool_record record = {.codec = codec,
		.points = points,
		.t_min_ns = now,
		.t_max_ns = now,
		.uncompressed_bytes = body.len,
		.body = body};
	assert_int_equal(spool_push(f->spool, &record), 0);
}

static void export_start(struct fixture *f)
{
	struct error err = {""};
	assert_int_equal(exporter_start(&f->options, f->spool, NULL, clock_system(), &f->exporter, &err), 0);
}

/* Until the spool is empty, for at most five seconds; a fast test leaves after a few rounds of a millisecond. */
static void wait_empty(const struct fixture *f)
{
	struct spool_stats stats;
	for (int i = 0; i < 5000; i++) {
		spool_stats(f->spool, &stats);
		if (stats.queued_records == 0)
			return;
		nanosleep(&(struct timespec){.tv_nsec = (long)NS_PER_MS}, NULL);
	}
	fail_msg("%llu records are still queued", (unsigned long long)stats.queued_records);
}

static void wait_requests(const struct fixture *f, size_t requests)
{
	for (int i = 0; i < 5000 && test_server_requests(f->server) < requests; i++)
		nanosleep(&(struct timespec){.tv_nsec = (long)NS_PER_MS}, NULL);
	assert_true(test_server_requests(f->server) >= requests);
}

static void check_conservation(const struct spool_stats *stats)
{
	uint64_t records = stats->delivered_records + stats->queued_records;
	uint64_t points = stats->delivered_points + stats->queued_points;
	for (size_t i = 0; i < SPOOL_DROP_COUNT; i++) {
		records += stats->dropped_records[i];
		points += stats->dropped_points[i];
	}
	assert_int_equal(stats->committed_records, records);
	assert_int_equal(stats->committed_points, points);
}

static void stop(struct fixture *f, uint64_t deadline_ns)
{
	exporter_stop(f->exporter, deadline_ns);
	spool_close(f->spool);
	spool_stats(f->spool, &f->spooled);
	check_conservation(&f->spooled);
}

static void finish(struct fixture *f)
{
	spool_free(f->spool);
	test_server_stop(f->server);
}

#define START(...)                                                                                                     \
	const struct test_reply replies[] = {__VA_ARGS__};                                                             \
	struct fixture f;                                                                                              \
	start(&f, replies, ARRAY_SIZE(replies))

#define STATUS(line) "HTTP/1.1 " line "\r\nContent-Length: 0\r\n\r\n"
#define OK           STATUS("200 OK")

static bool sent_contains(const struct fixture *f, size_t number, const char *text)
{
	struct span sent = test_server_request(f->server, number);
	return memmem(sent.ptr, sent.len, text, strlen(text)) != NULL;
}

static struct export_stats stats_of(const struct fixture *f)
{
	struct export_stats stats;
	exporter_stats(f->exporter, &stats);
	return stats;
}

/* ---- what is sent ------------------------------------------------------------------------ */

static void records_go_out_oldest_first_on_one_connection(void **state)
{
	(void)state;
	START({.bytes = OK});
	struct option_pair header = {.name = "X-Token", .value = "abc"};
	f.options.otlphttp.headers = (struct option_pairs){.items = &header, .count = 1};
	push(&f, SPAN("one"), CODEC_GZIP, 10);
	push(&f, SPAN("two"), CODEC_ZSTD, 20);
	push(&f, SPAN("three"), CODEC_NONE, 30);
	export_start(&f);
	wait_empty(&f);
	struct export_stats stats = stats_of(&f);
	assert_int_equal(stats.requests, 3);
	assert_int_equal(stats.retries, 0);
	assert_int_equal(stats.sent_bytes, 11);
	assert_true(stats.last_success_wall_ns > 0);
	stop(&f, NS_PER_SEC);
	assert_int_equal(f.spooled.delivered_records, 3);
	assert_int_equal(f.spooled.delivered_points, 60);
	assert_int_equal(test_server_connections(f.server), 1);

	static const char *const bodies[] = {"one", "two", "three"};
	static const char *const encodings[] = {"Content-Encoding: gzip\r\n", "Content-Encoding: zstd\r\n", NULL};
	for (size_t i = 0; i < 3; i++) {
		struct span sent = test_server_request(f.server, i);
		assert_true(span_starts_with(sent, SPAN("POST /v1/metrics HTTP/1.1\r\n")));
		assert_true(sent_contains(&f, i, "\r\nContent-Type: application/x-protobuf\r\n"));
		assert_true(sent_contains(&f, i, "\r\nUser-Agent: gleaner/" GLEANER_VERSION "\r\n"));
		assert_true(sent_contains(&f, i, "\r\nX-Token: abc\r\n"));
		assert_int_equal(
			sent_contains(&f, i, encodings[i] ? encodings[i] : "Content-Encoding"), !!encodings[i]);
		assert_true(span_ends_with(sent, span_str(bodies[i])));
	}
	finish(&f);
}

static void record_that_comes_later_is_sent_when_it_comes(void **state)
{
	(void)state;
	START({.bytes = OK});
	export_start(&f);
	push(&f, SPAN("one"), CODEC_NONE, 1);
	wait_empty(&f);
	push(&f, SPAN("two"), CODEC_NONE, 1);
	wait_empty(&f);
	stop(&f, NS_PER_SEC);
	assert_int_equal(f.spooled.delivered_records, 2);
	finish(&f);
}

static void path_is_appended_to_the_endpoint_but_not_to_the_metrics_endpoint(void **state)
{
	(void)state;
	START({.bytes = OK});
	char endpoint[128], other[128];
	snprintf(endpoint, sizeof(endpoint), "%s", test_server_url(f.server, "/otlp/"));
	snprintf(other, sizeof(other), "%s", test_server_url(f.server, "/write?x=y"));
	f.options.otlphttp.endpoint = endpoint;
	push(&f, SPAN("one"), CODEC_NONE, 1);
	export_start(&f);
	wait_empty(&f);
	f.options.otlphttp.metrics_endpoint = other;
	assert_int_equal(exporter_configure(f.exporter, &f.options, NULL), 0);
	push(&f, SPAN("two"), CODEC_NONE, 1);
	stop(&f, 5 * NS_PER_SEC);
	assert_true(sent_contains(&f, 0, "POST /otlp/v1/metrics HTTP/1.1\r\n"));
	assert_true(sent_contains(&f, 1, "POST /write?x=y HTTP/1.1\r\n"));
	finish(&f);
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

static void retryable_failures_are_repeated_until_delivered(void **state)
{
	(void)state;
	START({.bytes = STATUS("429 Too Many Requests")}, {.bytes = STATUS("502 Bad Gateway")},
		{.bytes = STATUS("503 Service Unavailable")}, {.bytes = STATUS("504 Gateway Timeout")},
		{.then = TEST_RESET}, {.then = TEST_CLOSE}, {.bytes = "garbage\r\n\r\n", .then = TEST_CLOSE},
		{.bytes = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"},
		{.bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"}, {.bytes = OK});
	push(&f, SPAN("one"), CODEC_NONE, 7);
	export_start(&f);
	wait_empty(&f);
	struct export_stats stats = stats_of(&f);
	assert_int_equal(stats.retries, stats.requests - 1);
	assert_int_equal(stats.failures_status_retryable, 6);
	assert_true(stats.failures_connect >= 2);
	assert_int_equal(stats.failures_status_permanent, 0);
	assert_int_equal(stats.consecutive_failures, 0);
	assert_string_equal(stats.last_error.text, "");
	stop(&f, NS_PER_SEC);
	assert_int_equal(f.spooled.delivered_points, 7);
	for (size_t i = 0; i < test_server_requests(f.server); i++)
		assert_true(span_ends_with(test_server_request(f.server, i), SPAN("one")));
	finish(&f);
}

static void refusals_drop_the_record_and_the_next_one_goes_on(void **state)
{
	(void)state;
	START({.bytes = STATUS("400 Bad Request")}, {.bytes = STATUS("401 Unauthorized")},
		{.bytes = STATUS("404 Not Found")}, {.bytes = STATUS("413 Request Entity Too Large")}, {.bytes = OK});
	for (uint32_t i = 0; i < 5; i++)
		push(&f, SPAN("x"), CODEC_NONE, 1 + i);
	export_start(&f);
	wait_empty(&f);
	assert_int_equal(stats_of(&f).failures_status_permanent, 4);
	stop(&f, NS_PER_SEC);
	assert_int_equal(test_server_requests(f.server), 5);
	assert_int_equal(f.spooled.dropped_records[SPOOL_DROP_REFUSED], 4);
	assert_int_equal(f.spooled.dropped_points[SPOOL_DROP_REFUSED], 1 + 2 + 3 + 4);
	assert_int_equal(f.spooled.delivered_points, 5);
	finish(&f);
}

static void a_500_is_repeated_three_times_then_dropped(void **state)
{
	(void)state;
	START({.bytes = STATUS("500 Internal Server Error")}, {.bytes = STATUS("500 Internal Server Error")},
		{.bytes = STATUS("503 Service Unavailable")}, {.bytes = STATUS("501 Not Implemented")},
		{.bytes = STATUS("500 Internal Server Error")}, /* the fourth of its kind: "bad" is dropped */
		{.bytes = STATUS("500 Internal Server Error")}, {.bytes = OK});
	push(&f, SPAN("bad"), CODEC_NONE, 3);
	push(&f, SPAN("good"), CODEC_NONE, 4);
	export_start(&f);
	wait_empty(&f);
	struct export_stats stats = stats_of(&f);
	assert_int_equal(stats.failures_status_retryable, 5);
	assert_int_equal(stats.failures_status_permanent, 1);
	stop(&f, NS_PER_SEC);
	assert_int_equal(test_server_requests(f.server), 7);
	assert_int_equal(f.spooled.dropped_points[SPOOL_DROP_REFUSED], 3);
	assert_int_equal(f.spooled.delivered_points, 4);
	finish(&f);
}

static void partial_success_is_counted_and_not_repeated(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n"
			"\x0a\x07\x08\x03\x12\x03why"});
	push(&f, SPAN("one"), CODEC_NONE, 10);
	export_start(&f);
	wait_empty(&f);
	stop(&f, NS_PER_SEC);
	assert_int_equal(test_server_requests(f.server), 1);
	assert_int_equal(f.spooled.delivered_records, 1);
	assert_int_equal(f.spooled.delivered_points, 7);
	assert_int_equal(f.spooled.dropped_points[SPOOL_DROP_REJECTED], 3);
	finish(&f);
}

static void hanging_gateway_is_a_timeout_then_retried(void **state)
{
	(void)state;
	START({.bytes = NULL}, {.bytes = OK});
	f.options.otlphttp.timeout_ns = 30 * NS_PER_MS;
	push(&f, SPAN("one"), CODEC_NONE, 1);
	export_start(&f);
	wait_empty(&f);
	assert_int_equal(stats_of(&f).failures_timeout, 1);
	stop(&f, NS_PER_SEC);
	assert_int_equal(f.spooled.delivered_records, 1);
	finish(&f);
}

/* The 30 s of Retry-After are on when new options come: those are tried at once. */
static void new_options_are_used_at_once_even_in_a_wait(void **state)
{
	(void)state;
	START({.bytes = "HTTP/1.1 503 X\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"}, {.bytes = OK});
	push(&f, SPAN("one"), CODEC_NONE, 1);
	export_start(&f);
	wait_requests(&f, 1);
	for (int i = 0; i < 5000 && stats_of(&f).consecutive_failures == 0; i++)
		nanosleep(&(struct timespec){.tv_nsec = (long)NS_PER_MS}, NULL);
	assert_string_equal(stats_of(&f).last_error.text, "HTTP 503 Service Unavailable");
	f.options.otlphttp.timeout_ns = 4 * NS_PER_SEC;
	assert_int_equal(exporter_configure(f.exporter, &f.options, NULL), 0);
	wait_empty(&f);
	stop(&f, NS_PER_SEC);
	assert_int_equal(f.spooled.delivered_records, 1);
	finish(&f);
}

static void options_that_do_not_work_leave_the_old_ones(void **state)
{
	(void)state;
	START({.bytes = OK});
	struct error err = {""};
	export_start(&f);
	struct export_options bad = f.options;
	bad.otlphttp.tls.ca_file = "/nonexistent/ca.pem";
	assert_int_equal(exporter_configure(f.exporter, &bad, &err), -ENOENT);
	assert_string_equal(err.text, "exporters: open /nonexistent/ca.pem: No such file or directory");
	push(&f, SPAN("one"), CODEC_NONE, 1);
	wait_empty(&f);
	stop(&f, NS_PER_SEC);
	struct exporter *exporter;
	assert_int_equal(exporter_start(&bad, f.spool, NULL, clock_system(), &exporter, &err), -ENOENT);
	err.text[0] = '\0';
	assert_int_equal(export_options_check_files(&bad, &err), -ENOENT);
	assert_string_equal(err.text, "open /nonexistent/ca.pem: No such file or directory");
	assert_int_equal(export_options_check_files(&f.options, &err), 0);
	finish(&f);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void rotated_ca_file_is_read_again_after_a_tls_failure(void **state)
{
	(void)state;
	struct test_certificate old, present;
	char path[] = "/tmp/gleaner-test-ca-XXXXXX";
	close(mkstemp(path));
	test_certificate_make("old", "IP:127.0.0.1", NULL, &old);
	test_certificate_make("present", "IP:127.0.0.1", NULL, &present);
	write_file(path, old.cert);
	START({.bytes = OK});
	struct test_server *tls_server = test_server_start(replies, 1, &present, NULL);
	f.options.otlphttp.endpoint = test_server_url(tls_server, "");
	f.options.otlphttp.tls.ca_file = path;
	push(&f, SPAN("one"), CODEC_NONE, 1);
	export_start(&f);
	for (int i = 0; i < 5000 && stats_of(&f).failures_tls == 0; i++)
		nanosleep(&(struct timespec){.tv_nsec = (long)NS_PER_MS}, NULL);
	assert_true(stats_of(&f).failures_tls > 0);
	write_file(path, present.cert);
	wait_empty(&f);
	stop(&f, NS_PER_SEC);
	assert_int_equal(f.spooled.delivered_records, 1);
	test_server_stop(tls_server);
	unlink(path);
	finish(&f);
}

/* ---- the end ------------------------------------------------------------------------------------- */

static void stop_sends_what_is_queued(void **state)
{
	(void)state;
	START({.bytes = STATUS("503 X")}, {.bytes = OK});
	for (int i = 0; i < 20; i++)
		push(&f, SPAN("x"), CODEC_NONE, 1);
	export_start(&f);
	stop(&f, 5 * NS_PER_SEC);
	assert_int_equal(f.spooled.delivered_records, 20);
	finish(&f);
}

static void stop_ends_at_its_deadline_and_counts_the_rest(void **state)
{
	(void)state;
	START({.bytes = NULL});
	push(&f, SPAN("x"), CODEC_NONE, 2);
	push(&f, SPAN("y"), CODEC_NONE, 3);
	export_start(&f);
	wait_requests(&f, 1);
	stop(&f, 20 * NS_PER_MS);
	assert_int_equal(f.spooled.dropped_records[SPOOL_DROP_SHUTDOWN], 2);
	assert_int_equal(f.spooled.dropped_points[SPOOL_DROP_SHUTDOWN], 5);
	finish(&f);
}

static void stop_without_a_deadline_ends_at_once(void **state)
{
	(void)state;
	START({.bytes = NULL});
	push(&f, SPAN("x"), CODEC_NONE, 2);
	export_start(&f);
	stop(&f, 0);
	assert_int_equal(f.spooled.dropped_records[SPOOL_DROP_SHUTDOWN], 1);
	finish(&f);
}

/* ---- debug --------------------------------------------------------------------------------------- */

static int keep_request(void *arg, const struct otlp_request *request)
{
	return buf_span(arg, request->body);
}

/* A request with one gauge, "up". */
static void make_request(struct buf *request)
{
	struct buf head, record, scope;
	struct otlp_batch *batch;
	buf_init(&head, 4096);
	buf_init(&record, 4096);
	buf_init(&scope, 4096);
	assert_int_equal(otlp_metric_head(&head, SPAN("up"), SPAN("Up."), SPAN(""), SPAN("gauge")), 0);
	assert_int_equal(otlp_number_record(&record, SPAN_NONE), 0);
	assert_int_equal(otlp_scope(&scope, SPAN("gleaner"), SPAN("1"), SPAN_NONE), 0);
	struct otlp_batch_limits limits = {.max_points = 10, .max_bytes = 4096};
	assert_int_equal(otlp_batch_new(limits, keep_request, request, &batch), 0);
	assert_int_equal(otlp_batch_resource(batch, SPAN_NONE), 0);
	assert_int_equal(otlp_batch_scope(batch, buf_view(&scope), SPAN_NONE), 0);
	assert_int_equal(otlp_batch_metric(batch, buf_view(&head), OTLP_GAUGE), 0);
	assert_int_equal(otlp_batch_points(batch, buf_view(&record), 1, 1, 1), 0);
	assert_int_equal(otlp_batch_end(batch), 0);
	assert_int_equal(otlp_batch_seal(batch), 0);
	otlp_batch_free(batch);
	buf_done(&head);
	buf_done(&record);
	buf_done(&scope);
}

/* What a run with these records prints to stderr. */
static void printed_by(struct fixture *f, char *text, size_t size)
{
	char path[] = "/tmp/gleaner-test-stderr-XXXXXX";
	int fd = mkstemp(path), saved = dup(STDERR_FILENO);
	assert_true(fd >= 0 && saved >= 0);
	unlink(path);
	dup2(fd, STDERR_FILENO);
	export_start(f);
	wait_empty(f);
	stop(f, NS_PER_SEC);
	dup2(saved, STDERR_FILENO);
	close(saved);
	ssize_t len = pread(fd, text, size - 1, 0);
	assert_true(len >= 0);
	text[len] = '\0';
	close(fd);
}

static size_t occurrences(const char *text, const char *what)
{
	size_t found = 0;
	for (; (text = strstr(text, what)); text++)
		found++;
	return found;
}

static void debug_prints_every_record_once_and_acknowledges_without_an_endpoint(void **state)
{
	(void)state;
	struct buf request, packed;
	struct codec *codec;
	char text[16384];
	START({.bytes = STATUS("503 X")}, {.bytes = OK});
	buf_init(&request, 4096);
	buf_init(&packed, 4096);
	make_request(&request);
	assert_int_equal(codec_new(CODEC_GZIP, &codec), 0);
	assert_int_equal(codec_compress(codec, buf_view(&request), &packed), 0);
	codec_free(codec);
	f.options.debug = (struct export_debug_options){.enabled = true, .verbosity = OTLP_DETAILED};
	push(&f, buf_view(&packed), CODEC_GZIP, 1);
	push(&f, buf_view(&request), CODEC_NONE, 1);
	printed_by(&f, text, sizeof(text)); /* the first one is sent twice, but printed once */
	assert_int_equal(test_server_requests(f.server), 3);
	assert_int_equal(occurrences(text, "     -> Name: up\n"), 2);

	f.options.otlphttp.endpoint = NULL;
	f.options.debug.verbosity = OTLP_BASIC;
	push(&f, buf_view(&packed), CODEC_GZIP, 1);
	push(&f, SPAN("not gzip"), CODEC_GZIP, 1);
	printed_by(&f, text, sizeof(text));
	assert_int_equal(test_server_requests(f.server), 3);
	assert_int_equal(occurrences(text, "\"metrics\": 1, \"data points\": 1}"), 1);
	assert_int_equal(occurrences(text, "Name:"), 0);
	buf_done(&request);
	buf_done(&packed);
	finish(&f);
}

/* ---- memory --------------------------------------------------------------------------------------- */

static int attempt_start(void *arg)
{
	struct fixture *f = arg;
	struct exporter *exporter;
	int result = exporter_start(&f->options, f->spool, NULL, clock_system(), &exporter, NULL);
	if (result < 0)
		return result;
	result = exporter_configure(exporter, &f->options, NULL);
	exporter_stop(exporter, 0);
	return result;
}

static void out_of_memory_is_survived(void **state)
{
	(void)state;
	START({.bytes = OK});
	struct option_pair header = {.name = "X-Token", .value = "abc"};
	f.options.otlphttp.headers = (struct option_pairs){.items = &header, .count = 1};
	f.options.otlphttp.tls.server_name = "gateway";
	/* Not test_out_of_memory: the exporter's thread allocates too, and which thread gets the failing one is chance. The thread survives
	 * it and start succeeds, or start fails as a whole; neither may leak. */
	int result = 0;
	for (size_t n = 0; n < 64; n++) {
		test_allocation_fail_after(n);
		result = attempt_start(&f);
		test_allocation_heal();
		assert_true(n == 0 ? result == -ENOMEM : result == 0 || result == -ENOMEM);
	}
	assert_int_equal(result, 0); /* the last one came to no failure */
	finish(&f);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_go_out_oldest_first_on_one_connection),
		cmocka_unit_test(record_that_comes_later_is_sent_when_it_comes),
		cmocka_unit_test(path_is_appended_to_the_endpoint_but_not_to_the_metrics_endpoint),
		cmocka_unit_test(retryable_failures_are_repeated_until_delivered),
		cmocka_unit_test(refusals_drop_the_record_and_the_next_one_goes_on),
		cmocka_unit_test(a_500_is_repeated_three_times_then_dropped),
		cmocka_unit_test(partial_success_is_counted_and_not_repeated),
		cmocka_unit_test(hanging_gateway_is_a_timeout_then_retried),
		cmocka_unit_test(new_options_are_used_at_once_even_in_a_wait),
		cmocka_unit_test(options_that_do_not_work_leave_the_old_ones),
		cmocka_unit_test(rotated_ca_file_is_read_again_after_a_tls_failure),
		cmocka_unit_test(stop_sends_what_is_queued),
		cmocka_unit_test(stop_ends_at_its_deadline_and_counts_the_rest),
		cmocka_unit_test(stop_without_a_deadline_ends_at_once),
		cmocka_unit_test(debug_prints_every_record_once_and_acknowledges_without_an_endpoint),
		cmocka_unit_test(out_of_memory_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
