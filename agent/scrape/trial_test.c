/* What passes for metrics on a port that nobody declared. */
#include "gleaner/scrape.h"
#include "test.h"

static bool is_exposition(const char *body, const char *content_type)
{
	struct buf padded;
	buf_init(&padded, 1 << 20);
	buf_str(&padded, body);
	size_t len = padded.len;
	for (size_t i = 0; i < EXPO_PADDING; i++)
		buf_char(&padded, '\0');
	bool result = scrape_is_exposition(span_of(padded.ptr, len), span_str(content_type), 4096);
	buf_done(&padded);
	return result;
}

static void a_page_of_metrics_is_one_in_both_formats(void **state)
{
	(void)state;
	assert_true(is_exposition("# TYPE a counter\na 1\n", "text/plain; version=0.0.4; charset=utf-8"));
	assert_true(is_exposition("a 1\nb{x=\"1\"} 2 1000\n", "text/plain"));
	assert_true(is_exposition("# TYPE a gauge\na 1\n# EOF\n", "application/openmetrics-text; version=1.0.0"));
	assert_true(is_exposition("a 1\n", ""));
}

static void what_other_servers_answer_is_none(void **state)
{
	(void)state;
	assert_false(is_exposition("a 1\n", "text/html; charset=utf-8"));
	assert_false(is_exposition("<html><body>404</body></html>\n", "text/plain"));
	assert_false(is_exposition("{\"a\": 1}\n", "application/json"));
	assert_false(is_exposition("OK\n", "text/plain"));
	assert_false(is_exposition("ok", ""));
	assert_false(
		is_exposition("a 1\n", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily"));
	assert_false(is_exposition("a 1\n", "application/openmetrics-text"));
}

static void a_page_without_a_sample_is_none(void **state)
{
	(void)state;
	assert_false(is_exposition("", "text/plain"));
	assert_false(is_exposition("# HELP a nothing here\n", "text/plain"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_of_metrics_is_one_in_both_formats),
		cmocka_unit_test(what_other_servers_answer_is_none),
		cmocka_unit_test(a_page_without_a_sample_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
