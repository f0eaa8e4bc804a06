/* The status table, Retry-After and the waits. */
#include "verdict.h"

#include "test.h"

#include <stdio.h>

static struct judgement judge(unsigned status, const char *content_type, struct span body)
{
	struct http_response response = {.failure = HTTP_OK, .status = status, .content_type = span_str(content_type)};
	struct judgement judgement;
	verdict_judge(&response, body, &judgement);
	return judgement;
}

static void statuses_are_judged_by_the_table(void **state)
{
	(void)state;
	static const struct {
		unsigned status;
		enum verdict verdict;
	} rows[] = {
		{200, VERDICT_DELIVERED},
		{202, VERDICT_DELIVERED},
		{204, VERDICT_DELIVERED},
		{301, VERDICT_RETRY},
		{307, VERDICT_RETRY},
		{429, VERDICT_RETRY},
		{502, VERDICT_RETRY},
		{503, VERDICT_RETRY},
		{504, VERDICT_RETRY},
		{400, VERDICT_REFUSED},
		{401, VERDICT_REFUSED},
		{403, VERDICT_REFUSED},
		{404, VERDICT_REFUSED},
		{408, VERDICT_REFUSED},
		{413, VERDICT_REFUSED},
		{499, VERDICT_REFUSED},
		{500, VERDICT_LIMITED},
		{501, VERDICT_LIMITED},
		{507, VERDICT_LIMITED},
		{599, VERDICT_LIMITED},
		{101, VERDICT_LIMITED},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (judge(rows[i].status, "", SPAN_NONE).verdict != rows[i].verdict)
			fail_msg("status %u", rows[i].status);
}

static void failures_without_an_answer_are_retried(void **state)
{
	(void)state;
	for (int failure = HTTP_CONNECT; failure <= HTTP_OTHER; failure++) {
		if (failure == HTTP_BODY_LIMIT)
			continue;
		struct http_response response = {
			.failure = (enum http_failure)failure, .status = 200, .error.text = "why"};
		struct judgement judgement;
		verdict_judge(&response, SPAN_NONE, &judgement);
		assert_int_equal(judgement.verdict, VERDICT_RETRY);
		assert_string_equal(judgement.text.text, "why");
	}
}

static void accepted_request_with_an_endless_answer_is_delivered(void **state)
{
	(void)state;
	struct http_response response = {.failure = HTTP_BODY_LIMIT,
		.status = 200,
		.content_type = SPAN("application/x-protobuf"),
		.error.text = "body larger than 65536 bytes"};
	struct judgement judgement;
	verdict_judge(&response, SPAN("\x0a\xff"), &judgement);
	assert_int_equal(judgement.verdict, VERDICT_DELIVERED);
	assert_string_equal(judgement.text.text, "HTTP 200, but the response is no OTLP");
}

/* ExportMetricsServiceResponse { partial_success { rejected_data_points: 3  error_message: "why" } } */
#define PARTIAL "\x0a\x07\x08\x03\x12\x03why"

static void partial_success_counts_what_was_rejected(void **state)
{
	(void)state;
	struct judgement judgement = judge(200, "application/x-protobuf", SPAN(PARTIAL));
	assert_int_equal(judgement.verdict, VERDICT_DELIVERED);
	assert_int_equal(judgement.rejected_points, 3);
	assert_string_equal(judgement.text.text, "partial success, 3 points rejected: why");
	judgement = judge(200, "application/json; charset=utf-8", SPAN("{}"));
	assert_int_equal(judgement.verdict, VERDICT_DELIVERED);
	assert_int_equal(judgement.rejected_points, 0);
}

static void a_200_of_something_else_delivers_nothing(void **state)
{
	(void)state;
	struct judgement judgement = judge(200, "text/html", SPAN("<html>log in, please</html>"));
	assert_int_equal(judgement.verdict, VERDICT_RETRY);
	assert_string_equal(judgement.text.text, "HTTP 200 with content type \"text/html\": not an OTLP endpoint");
}

static void refusals_say_what_the_gateway_says(void **state)
{
	(void)state;
	struct judgement judgement = judge(400, "application/x-protobuf",
		SPAN("\x08\x03\x12\x05"
		     "bad\x01!rest"));
	assert_string_equal(judgement.text.text, "HTTP 400 Bad Request: bad%01!");
	judgement = judge(400, "application/x-protobuf", SPAN("\x12\x7fshort"));
	assert_string_equal(judgement.text.text, "HTTP 400 Bad Request: short");
	judgement = judge(400, "application/x-protobuf", SPAN("\x12\x85\x01long"));
	assert_string_equal(judgement.text.text, "HTTP 400 Bad Request: long");
	judgement = judge(404, "text/plain", SPAN("404 page not found\n"));
	assert_string_equal(judgement.text.text, "HTTP 404 Not Found (/v1/metrics is appended to "
						 "exporters.otlphttp.endpoint, to metrics_endpoint nothing): "
						 "404 page not found");
	assert_string_equal(judge(401, "text/plain", SPAN("no")).text.text,
		"HTTP 401 Unauthorized (credentials are set by exporters.otlphttp.headers): no");
	assert_string_equal(judge(302, "text/plain", SPAN_NONE).text.text,
		"HTTP 302 Found (redirects are not followed; set the endpoint that it leads to)");
	assert_string_equal(judge(413, "text/plain", SPAN_NONE).text.text,
		"HTTP 413 Request Entity Too Large (scrape.batch_bytes makes batches smaller)");
	judgement = judge(499, "", SPAN_NONE);
	assert_string_equal(judgement.text.text, "HTTP 499");
	static const char *const broken[] = {"\x08", "\x08\xff", "\x12", "\x12\x85", "\x08\x03\x12", "x"};
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		assert_string_equal(
			judge(400, "application/x-protobuf", span_str(broken[i])).text.text, "HTTP 400 Bad Request");
}

/* 2023-11-14 22:13:20 UTC */
#define NOW (UINT64_C(1700000000) * NS_PER_SEC)

static void retry_after_has_two_forms_and_a_ceiling(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t seconds;
	} rows[] = {
		{"", 0},
		{"0", 0},
		{"7", 7},
		{"601", 600},
		{"99999999999999999999999", 600},
		{"-5", 0},
		{"1.5", 0},
		{"soon", 0},
		{"Tue, 14 Nov 2023 22:13:50 GMT", 30},
		{"Tue, 14 Nov 2023 22:13:20 GMT", 0},
		{"Tue, 14 Nov 2023 22:00:00 GMT", 0},
		{"Tue, 14 Nov 2028 22:00:00 GMT", 600},
		{"Tue, 14 Nov 2023 22:13:50 GMT and more", 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t wait_ns = verdict_retry_after_ns(span_str(rows[i].text), NOW + 5);
		if (wait_ns != rows[i].seconds * NS_PER_SEC)
			fail_msg("\"%s\": %llu", rows[i].text, (unsigned long long)wait_ns);
	}
}

static void waits_double_under_full_jitter_up_to_the_cap(void **state)
{
	(void)state;
	struct export_retry_options retry = {.initial_ns = 1000, .max_ns = 60000};
	struct rng rng;
	rng_init(&rng, 1);
	static const uint64_t bounds[] = {1000, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
	for (size_t failures = 1; failures < ARRAY_SIZE(bounds); failures++) {
		uint64_t least = UINT64_MAX, most = 0;
		for (int i = 0; i < 1000; i++) {
			uint64_t wait_ns = verdict_wait_ns(&retry, failures, 0, &rng);
			least = wait_ns < least ? wait_ns : least;
			most = wait_ns > most ? wait_ns : most;
		}
		assert_true(most <= bounds[failures] && most > bounds[failures] * 9 / 10);
		assert_true(failures == 1 ? least >= 500 : least < bounds[failures] / 10);
	}
	assert_true(verdict_wait_ns(&retry, UINT64_MAX, 0, &rng) <= 60000);
}

static void retry_after_is_never_cut_short(void **state)
{
	(void)state;
	struct export_retry_options retry = {.initial_ns = 1, .max_ns = 2};
	struct rng rng;
	rng_init(&rng, 1);
	for (int i = 0; i < 1000; i++) {
		uint64_t wait_ns = verdict_wait_ns(&retry, 3, 5000, &rng);
		assert_true(wait_ns >= 5000 && wait_ns <= 5500);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses_are_judged_by_the_table),
		cmocka_unit_test(failures_without_an_answer_are_retried),
		cmocka_unit_test(accepted_request_with_an_endless_answer_is_delivered),
		cmocka_unit_test(partial_success_counts_what_was_rejected),
		cmocka_unit_test(a_200_of_something_else_delivers_nothing),
		cmocka_unit_test(refusals_say_what_the_gateway_says),
		cmocka_unit_test(retry_after_has_two_forms_and_a_ceiling),
		cmocka_unit_test(waits_double_under_full_jitter_up_to_the_cap),
		cmocka_unit_test(retry_after_is_never_cut_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
