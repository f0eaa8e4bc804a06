/* One scrape from body to batch: what is up, what the report says, what is marked when a target goes or changes. */
#include "test.h"

#include "gleaner/scrape.h"

#include <errno.h>

#define T0 UINT64_C(1700000000000000000)
#define RESOURCE                                                                                                       \
	"resource server.address=\"10.0.0.5\" server.port=\"8080\" service.instance.id=\"10.0.0.5:8080\" "             \
	"service.name=\"web\""
#define SCOPE " scope \"gleaner\" \"" GLEANER_VERSION "\""

struct fixture {
	struct target_job *job;
	struct target *target;
	struct series_store *store;
	struct scrape_target scrape;
	struct otlp_batch *batch;
	struct test_clock clock;
	struct scrape_outcome outcome;
	struct buf text, body;
	uint64_t time_ns;
};

static const struct scrape_options options = {.max_samples = 1000, .max_labels = 20, .max_line_bytes = 4096};

static int keep_text(void *arg, const struct otlp_request *request)
{
	return otlp_text(request->body, arg);
}

static int make_target(
	const struct target_job_options *job, const char *zone, struct target_job **ret_job, struct target **ret_target)
{
	struct target_global_options global = {
		.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	struct label items[] = {{SPAN("__address__"), SPAN("10.0.0.5:8080")}, {SPAN("zone"), span_str(zone)}};
	int result = target_job_new(job, &global, ret_job, NULL);
	if (result < 0)
		return result;
	result = target_new(*ret_job, TARGET_STATIC, items[0].value, (struct labels){items, 2}, ret_target, NULL, NULL);
	return result == 1 ? 0 : result;
}

static int start(struct fixture *f, const struct target_job_options *job)
{
	*f = (struct fixture){.clock = {1, T0}, .time_ns = T0};
	buf_init(&f->text, 1 << 20);
	buf_init(&f->body, 1 << 20);
	int result = make_target(job, "a", &f->job, &f->target);
	if (result == 0)
		result = otlp_batch_new((struct otlp_batch_limits){8192, 1 << 20}, keep_text, &f->text, &f->batch);
	if (result == 0)
		result = series_store_new(0, &f->store);
	if (result == 0)
		result = scrape_target_init(&f->scrape, f->target, NULL, f->store, &options);
	return result;
}

static void finish(struct fixture *f)
{
	scrape_target_done(&f->scrape);
	series_store_free(f->store);
	otlp_batch_free(f->batch);
	target_unref(f->target);
	target_job_unref(f->job);
	buf_done(&f->text);
	buf_done(&f->body);
}

/* body NULL: the fetch failed. */
static int scrape(struct fixture *f, const char *content_type, const char *body)
{
	static const char padding[EXPO_PADDING];
	struct clock clock = test_clock(&f->clock);
	buf_reset(&f->text);
	buf_reset(&f->body);
	buf_str(&f->body, body ? body : "");
	size_t len = f->body.len;
	if (buf_append(&f->body, padding, sizeof(padding)) < 0)
		return f->body.failed;
	struct scrape_input input = {
		.ok = body != NULL,
		.body = span_of(f->body.ptr, len),
		.content_type = span_str(content_type),
		.time_ns = f->time_ns,
		.duration_ns = 250 * NS_PER_MS,
	};
	f->time_ns += NS_PER_SEC;
	int result = scrape_ingest(&f->scrape, &input, f->batch, &clock, &f->outcome);
	return result < 0 ? result : otlp_batch_seal(f->batch);
}

static const struct target_job_options plain = {.job_name = "web", .honor_timestamps = true};

#define REPORT_METRIC(name, description, unit)                                                                         \
	"  metric \"" name "\" gauge unit=\"" unit "\" type=\"gauge\" description=\"" description "\"\n"
#define REPORT_POINT(time, value) "   point {zone=\"a\"} start=0 time=" time " value=" value "\n"
/* The five report metrics of one scrape. */
#define REPORT(time, up, duration, scraped, kept, added)                                                               \
	REPORT_METRIC("up", "The scraping was successful", "")                                                         \
	REPORT_POINT(time, up)                                                                                         \
	REPORT_METRIC("scrape_duration_seconds", "Duration of the scrape", "s")                                        \
	REPORT_POINT(time, duration)                                                                                   \
	REPORT_METRIC("scrape_samples_scraped", "The number of samples the target exposed", "")                        \
	REPORT_POINT(time, scraped)                                                                                    \
	REPORT_METRIC("scrape_samples_post_metric_relabeling",                                                         \
		"The number of samples remaining after metric relabeling was applied", "")                             \
	REPORT_POINT(time, kept)                                                                                       \
	REPORT_METRIC("scrape_series_added", "The approximate number of new series in this scrape", "")                \
	REPORT_POINT(time, added)

static void a_good_scrape_is_up_and_reported(void **state)
{
	(void)state;
	struct fixture f;
	assert_int_equal(start(&f, &plain), 0);
	assert_int_equal(scrape(&f, "text/plain; version=0.0.4", "a 1\nb{zone=\"x\"} 2\n"), 0);
	assert_true(f.outcome.up);
	assert_null(f.outcome.reason);
	test_assert_text(buf_view(&f.text),
		RESOURCE " url.scheme=\"http\"\n" SCOPE "\n"
			 "  metric \"a\" gauge unit=\"\" type=\"unknown\" description=\"\"\n"
			 "   point {zone=\"a\"} start=0 time=1700000000000000000 value=1\n"
			 "  metric \"b\" gauge unit=\"\" type=\"unknown\" description=\"\"\n"
			 "   point {exported_zone=\"x\",zone=\"a\"} start=0 time=1700000000000000000 value=2\n" RESOURCE
			 " url.scheme=\"http\"\n" SCOPE "\n" REPORT("1700000000000000000", "1", "0.25", "2", "2", "2"));
	finish(&f);
}

static void a_failed_fetch_is_an_empty_scrape(void **state)
{
	(void)state;
	struct fixture f;
	assert_int_equal(start(&f, &plain), 0);
	assert_int_equal(scrape(&f, "text/plain", "a 1\n"), 0);
	assert_int_equal(scrape(&f, "", NULL), 0);
	assert_false(f.outcome.up);
	assert_int_equal(f.outcome.series.stale_points, 1);
	test_assert_text(buf_view(&f.text),
		RESOURCE " url.scheme=\"http\"\n" SCOPE "\n"
			 "  metric \"a\" gauge unit=\"\" type=\"unknown\" description=\"\"\n"
			 "   point {zone=\"a\"} start=0 time=1700000001000000000 no_recorded_value\n" RESOURCE
			 " url.scheme=\"http\"\n" SCOPE "\n" REPORT("1700000001000000000", "0", "0.25", "0", "0", "0"));
	finish(&f);
}

static void the_body_is_to_blame_by_name(void **state)
{
	(void)state;
	static const struct {
		const char *content_type, *body, *reason, *error;
	} cases[] = {
		{"text/plain", "a 1\nb\n", "parse", "line 2: expected a value after the series"},
		{"application/openmetrics-text; version=1.0.0", "a 1\n", "parse", "line 2: no # EOF at the end"},
		{"application/vnd.google.protobuf", "a 1\n", "content_type",
			"received unsupported Content-Type \"application/vnd.google.protobuf\""},
		{"text/plain", "a{x=\"1\",x=\"1\"} 1\n", "bad_series",
			"label name \"x\" is not unique: invalid sample"},
		{"text/plain", "a 1\nb 2\nc 3\n", "sample_limit", "sample limit exceeded (2)"},
		{"text/plain", "a{x=\"1\",y=\"2\",z=\"3\"} 1\n", "label_limit",
			"label_limit exceeded (metric: a, number of labels: 7, limit: 6)"},
	};
	struct target_job_options limited = plain;
	limited.limits.sample_limit = 2;
	limited.limits.label_limit = 6;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;
		assert_int_equal(start(&f, &limited), 0);
		assert_int_equal(scrape(&f, cases[i].content_type, cases[i].body), 0);
		assert_false(f.outcome.up);
		assert_string_equal(f.outcome.reason, cases[i].reason);
		assert_string_equal(f.outcome.error.text, cases[i].error);
		assert_int_equal(f.outcome.series.points, 0);
		finish(&f);
	}
}

static void an_unknown_content_type_takes_the_fallback(void **state)
{
	(void)state;
	struct fixture f;
	struct target_job_options job = plain;
	assert_int_equal(start(&f, &job), 0);
	assert_int_equal(scrape(&f, "", "# a comment\na 1\n"), 0);
	assert_true(f.outcome.up);
	finish(&f);
	job.fallback_scrape_protocol = "OpenMetricsText1.0.0";
	assert_int_equal(start(&f, &job), 0);
	assert_int_equal(scrape(&f, "weird/type", "# TYPE a info\na_info 1\n# EOF\n"), 0);
	assert_true(f.outcome.up);
	finish(&f);
}

static void extra_metrics_are_there_when_asked_for(void **state)
{
	(void)state;
	struct fixture f;
	struct target_job_options job = plain;
	job.extra_scrape_metrics = job.extra_scrape_metrics_given = true;
	job.limits.sample_limit = 7;
	assert_int_equal(start(&f, &job), 0);
	assert_int_equal(scrape(&f, "text/plain", "a 1\n"), 0);
	static const char tail[] =
		"  metric \"scrape_timeout_seconds\" gauge unit=\"\" type=\"unknown\" description=\"\"\n"
		"   point {zone=\"a\"} start=0 time=1700000000000000000 value=10\n"
		"  metric \"scrape_sample_limit\" gauge unit=\"\" type=\"unknown\" description=\"\"\n"
		"   point {zone=\"a\"} start=0 time=1700000000000000000 value=7\n"
		"  metric \"scrape_body_size_bytes\" gauge unit=\"\" type=\"unknown\" description=\"\"\n"
		"   point {zone=\"a\"} start=0 time=1700000000000000000 value=4\n";
	assert_true(span_ends_with(buf_view(&f.text), SPAN(tail)));

	struct clock clock = test_clock(&f.clock);
	struct scrape_input cut = {.body_limit_hit = true, .time_ns = T0};
	buf_reset(&f.text);
	assert_int_equal(scrape_ingest(&f.scrape, &cut, f.batch, &clock, &f.outcome), 0);
	assert_int_equal(otlp_batch_seal(f.batch), 0);
	assert_true(span_ends_with(buf_view(&f.text), SPAN("time=1700000000000000000 value=-1\n")));
	finish(&f);
}

static void a_target_that_goes_ends_its_series_and_its_report(void **state)
{
	(void)state;
	struct fixture f;
	uint64_t stale = 0;
	assert_int_equal(start(&f, &plain), 0);
	assert_int_equal(scrape_target_gone(&f.scrape, T0, f.batch, &stale), 0);
	assert_int_equal(stale, 0); /* nothing was ever said */
	assert_int_equal(scrape(&f, "text/plain", "a 1\n"), 0);
	assert_int_equal(scrape_target_gone(&f.scrape, T0, f.batch, &stale), 0);
	assert_int_equal(stale, 6);
	assert_int_equal(scrape_target_gone(&f.scrape, T0, f.batch, &stale), 0);
	assert_int_equal(stale, 0);
	finish(&f);
}

/* The cache of f goes to a target made of these options; returns whether it did. */
static bool take_over(struct fixture *f, const struct target_job_options *job, const char *zone)
{
	struct target_job *new_job = NULL;
	struct target *new_target = NULL;
	struct scrape_target replacement;
	assert_int_equal(make_target(job, zone, &new_job, &new_target), 0);
	assert_int_equal(scrape_target_init(&replacement, new_target, NULL, f->store, &options), 0);
	bool taken = scrape_target_take_over(&replacement, &f->scrape);
	if (taken) {
		scrape_target_done(&f->scrape);
		target_unref(f->target);
		target_job_unref(f->job);
		f->scrape = replacement;
		f->target = new_target;
		f->job = new_job;
		return true;
	}
	scrape_target_done(&replacement);
	target_unref(new_target);
	target_job_unref(new_job);
	return false;
}

static void a_replacement_takes_the_cache_over_when_its_points_are_the_same(void **state)
{
	(void)state;
	struct fixture f;
	const char *gone[] = {"gone"};
	struct relabel_rule rule = {.action = RELABEL_DROP, .source_labels = {gone, 1}, .regex = "x"};
	struct target_job_options other = plain;
	assert_int_equal(start(&f, &plain), 0);
	assert_int_equal(scrape(&f, "text/plain", "a 1\n"), 0);

	other.honor_labels = true;
	assert_false(take_over(&f, &other, "a"));
	other = plain;
	other.metric_relabel_configs = (struct option_objects){&rule, 1};
	assert_false(take_over(&f, &other, "a"));
	assert_false(take_over(&f, &plain, "b"));

	other = plain;
	other.scrape_interval_ns = 30 * NS_PER_SEC;
	other.limits.sample_limit = 1;
	assert_true(take_over(&f, &other, "a"));
	assert_int_equal(scrape(&f, "text/plain", "a 2\n"), 0);
	assert_int_equal(f.outcome.series.series_added, 0);
	assert_int_equal(f.outcome.series.hits, 1);
	assert_int_equal(scrape(&f, "text/plain", "a 2\nb 1\n"), 0); /* the new limits hold */
	assert_string_equal(f.outcome.reason, "sample_limit");
	uint64_t stale = 0;
	assert_int_equal(scrape_target_gone(&f.scrape, T0, f.batch, &stale), 0);
	assert_int_equal(stale, 5); /* the report was taken over, too */
	finish(&f);
}

static int attempt(void *arg)
{
	(void)arg;
	struct fixture f;
	uint64_t stale;
	int result = start(&f, &plain);
	if (result == 0)
		result = scrape(&f, "text/plain", "a 1\n");
	if (result == 0)
		result = scrape_target_gone(&f.scrape, T0, f.batch, &stale);
	finish(&f);
	return result;
}

static void running_out_of_memory_is_reported_and_leaks_nothing(void **state)
{
	(void)state;
	test_out_of_memory(attempt, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_scrape_is_up_and_reported),
		cmocka_unit_test(a_failed_fetch_is_an_empty_scrape),
		cmocka_unit_test(the_body_is_to_blame_by_name),
		cmocka_unit_test(an_unknown_content_type_takes_the_fallback),
		cmocka_unit_test(extra_metrics_are_there_when_asked_for),
		cmocka_unit_test(a_target_that_goes_ends_its_series_and_its_report),
		cmocka_unit_test(a_replacement_takes_the_cache_over_when_its_points_are_the_same),
		cmocka_unit_test(running_out_of_memory_is_reported_and_leaks_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
