/* What the vectors of golden_test.c do not reach: limits, metric relabelling, target labels, and the hash table. */
#include "test_cache.h"

#include "lookup.h"

static const struct label with_pod[] = {
	{SPAN("instance"), SPAN("i:1")}, {SPAN("job"), SPAN("j")}, {SPAN("pod"), SPAN("p")}};

/* The last scrape's text must have these words. */
static void assert_text_has(const struct test_cache *test, const char *words)
{
	if (!memmem(test->text.ptr, test->text.len, words, strlen(words)))
		fail_msg("no `%s` in:\n%.*s", words, (int)test->text.len, test->text.ptr);
}

static void target_labels_win_or_fill_gaps(void **state)
{
	(void)state;
	struct test_cache test;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	test.target.labels = (struct labels){with_pod, 3};
	assert_int_equal(test_cache_scrape(&test, "a{pod=\"x\",exported_pod=\"y\"} 1\nb{pod=\"\"} 2\n"), 0);
	assert_text_has(&test, "point {exported_exported_pod=\"x\",exported_pod=\"y\",pod=\"p\"} start=0");
	assert_text_has(&test, "point {pod=\"p\"} start=0");
	assert_int_equal(test_cache_scrape(&test, "a{job=\"1\",pod=\"2\",instance=\"3\",exported_pod=\"4\"} 1\n"), 0);
	assert_text_has(&test,
		"point {exported_exported_pod=\"2\",exported_instance=\"3\",exported_job=\"1\",exported_pod="
		"\"4\",pod=\"p\"} start=0");
	test_cache_done(&test);

	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	test.target.labels = (struct labels){with_pod, 3};
	test.target.honor_labels = true;
	assert_int_equal(test_cache_scrape(&test, "a{pod=\"x\"} 1\nb{pod=\"\"} 2\nc 3\n"), 0);
	assert_text_has(&test, "point {pod=\"x\"} start=0 time=1700000000000000000 value=1");
	assert_text_has(
		&test, "point {} start=0 time=1700000000000000000 value=2"); /* an empty label keeps ours away */
	assert_text_has(&test, "point {pod=\"p\"} start=0 time=1700000000000000000 value=3");
	test_cache_done(&test);
}

static void resource_attributes_of_the_target_are_there(void **state)
{
	(void)state;
	static const struct label resource[] = {{SPAN("k8s.pod.name"), SPAN("p")}, {SPAN("url.scheme"), SPAN("http")}};
	struct test_cache test;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	series_cache_free(test.cache);
	test.target.resource = (struct labels){resource, 2};
	assert_int_equal(series_cache_new(test.store, &test.target, &test.cache), 0);
	size_t bare = series_target_resource(test.cache).len;
	assert_int_equal(test_cache_scrape(&test, "a 1\n{\"target_info\",\"url.scheme\"=\"xy\",z=\"1\"} 1\n"), 0);
	assert_text_has(&test, "resource k8s.pod.name=\"p\" service.instance.id=\"i:1\" service.name=\"j\" "
			       "url.scheme=\"xy\" z=\"1\"\n");
	assert_true(series_target_resource(test.cache).len > bare); /* the report metrics have it, too */
	test_cache_done(&test);
}

/* One scrape that must fail with this message. */
static void assert_fails(struct series_target limits, enum expo_format format, const char *body,
	enum series_failure failure, const char *message)
{
	struct test_cache test;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	if (limits.labels.count == 0)
		limits.labels = test.target.labels;
	if (limits.limits.max_samples == 0)
		limits.limits = test.target.limits;
	test.target = limits;
	test.format = format;
	assert_int_equal(test_cache_scrape(&test, body), 0);
	assert_string_equal(test.error.text, message);
	assert_int_equal(test.result.failure, failure);
	assert_int_equal(test.text.len, 0);
	test_cache_done(&test);
}

static void bad_series_fail_the_scrape(void **state)
{
	(void)state;
	struct series_target none = {.honor_labels = false};
	assert_fails(none, EXPO_TEXT, "b 1\na{x=\"1\",x=\"2\"} 1\n", SERIES_BAD_SERIES,
		"label name \"x\" is not unique: invalid sample");
	assert_fails(none, EXPO_TEXT, "a{__name__=\"b\"} 1\n", SERIES_BAD_SERIES,
		"label name \"__name__\" is not unique: invalid sample");
	struct series_target nameless = {.honor_labels = true, .labels = {with_pod, 1}};
	assert_fails(nameless, EXPO_TEXT, "a 1\n", SERIES_BAD_SERIES, "job or instance cannot be found from labels");
	assert_fails(none, EXPO_TEXT, "a 1\nb\n", SERIES_PARSE, "line 2: expected a value after the series");
	assert_fails(none, EXPO_OPENMETRICS, "a 1\n", SERIES_PARSE, "line 2: no # EOF at the end");
}

static void limits_fail_the_scrape(void **state)
{
	(void)state;
	assert_fails((struct series_target){.sample_limit = 1}, EXPO_TEXT, "a 1\nb 1\n", SERIES_SAMPLE_LIMIT,
		"sample limit exceeded (1)");
	assert_fails((struct series_target){.limits = {1, 10, 1000}}, EXPO_TEXT, "a 1\nb 1\n", SERIES_SAMPLE_LIMIT,
		"sample limit exceeded (1)");
	assert_fails((struct series_target){.limits = {10, 1, 1000}}, EXPO_TEXT, "a{x=\"1\",y=\"2\"} 1\n",
		SERIES_LABEL_LIMIT, "more than 1 labels on one series");
	assert_fails((struct series_target){.limits = {10, 2, 1000}}, EXPO_TEXT,
		"target_info{x=\"1\",y=\"2\"} 1\ntarget_info{z=\"3\"} 1\n", SERIES_LABEL_LIMIT,
		"more than 2 labels in target_info");
	assert_fails((struct series_target){.label_limit = 3}, EXPO_TEXT, "a{x=\"1\"} 1\n", SERIES_LABEL_LIMIT,
		"label_limit exceeded (metric: a, number of labels: 4, limit: 3)");
	assert_fails((struct series_target){.label_name_length_limit = 8}, EXPO_TEXT, "a{x23456789=\"1\"} 1\n",
		SERIES_LABEL_LIMIT,
		"label_name_length_limit exceeded (metric: a, label name: x23456789, length: 9, limit: 8)");
	assert_fails((struct series_target){.label_value_length_limit = 3}, EXPO_TEXT, "a{x=\"1234\"} 1\n",
		SERIES_LABEL_LIMIT,
		"label_value_length_limit exceeded (metric: a, label name: x, value: \"1234\", length: 4, limit: 3)");
}

/* A reload keeps the cache of a target whose points stay as they are. */
static void a_new_limit_holds_for_known_series(void **state)
{
	(void)state;
	struct test_cache test;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	assert_int_equal(test_cache_scrape(&test, "a{x=\"1\"} 1\n"), 0);
	test.target.label_limit = 3; /* __name__, job and instance */
	assert_int_equal(test_cache_scrape(&test, "a{x=\"1\"} 1\n"), 0);
	assert_int_equal(test.result.failure, SERIES_LABEL_LIMIT);
	assert_int_equal(test.stale_points, 1);
	assert_int_equal(test_cache_scrape(&test, "a{x=\"1\"} 1\n"), 0);
	assert_int_equal(test.result.failure, SERIES_LABEL_LIMIT);
	test.target.label_limit = 0;
	for (int i = 0; i < 2; i++)
		assert_int_equal(test_cache_scrape(&test, "a{x=\"1\"} 1\n"), 0);
	assert_int_equal(test.result.failure, SERIES_OK);
	assert_int_equal(test.result.misses, 0);
	test_cache_done(&test);
}

/* The scrape itself says what up is; two values of one series at one time would be no answer. */
static void a_report_metric_that_the_target_exposes_gives_way(void **state)
{
	(void)state;
	struct test_cache test;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	test.target.labels = (struct labels){with_pod, 3};
	for (int i = 0; i < 2; i++) {
		assert_int_equal(test_cache_scrape(&test, "up 5\n"), 0);
		assert_int_equal(test.result.samples_kept, 1);
		assert_int_equal(test.result.dropped[SERIES_DROP_DUPLICATE], 1);
		assert_int_equal(test.text.len, 0);
	}
	assert_int_equal(test_cache_scrape(&test, "up{of=\"another\"} 5\nup_and_away 1\n"), 0);
	assert_text_has(&test, "description=\"The scraping was successful\"");
	assert_text_has(&test, "point {of=\"another\",pod=\"p\"} start=0");
	assert_int_equal(test.result.points, 2);
	test_cache_done(&test);
}

static void metric_relabelling_decides_what_is_kept(void **state)
{
	(void)state;
	struct test_cache test;
	struct relabel *relabel = NULL;
	const char *name[] = {"__name__"}, *le[] = {"le"};
	const struct relabel_rule rules[] = {
		{.action = RELABEL_DROP, .source_labels = {name, 1}, .regex = "gone.*"},
		{.action = RELABEL_REPLACE,
			.source_labels = {name, 1},
			.regex = "old(.*)",
			.target_label = "__name__",
			.replacement = "new$1"},
		{.action = RELABEL_REPLACE,
			.source_labels = {le, 1},
			.regex = "1.0",
			.target_label = "one",
			.replacement = "yes"},
		{.action = RELABEL_LABELDROP, .regex = "secret"},
	};
	struct error err;
	assert_int_equal(relabel_compile(rules, ARRAY_SIZE(rules), &relabel, &err), 0);
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	test.target.metric_relabel = relabel;
	assert_int_equal(test_cache_scrape(&test, "gone_1 1\nkept{secret=\"x\"} 2\n# TYPE old_h histogram\n"
						  "old_h_bucket{le=\"1\"} 3\n"),
		0);
	assert_text_has(&test, "metric \"kept\" gauge unit=\"\" type=\"unknown\"");
	assert_text_has(
		&test, "metric \"new_h_bucket\" gauge unit=\"\" type=\"unknown\""); /* that name has no metadata */
	assert_text_has(&test, "point {le=\"1.0\",one=\"yes\"} start=0");
	assert_int_equal(test.result.samples, 3);
	assert_int_equal(test.result.samples_kept, 2);
	assert_int_equal(test.result.series_added, 2);
	test_cache_done(&test);
	relabel_free(relabel);

	const struct relabel_rule nameless = {.action = RELABEL_LABELDROP, .regex = "__name__"};
	assert_int_equal(relabel_compile(&nameless, 1, &relabel, &err), 0);
	assert_fails((struct series_target){.metric_relabel = relabel}, EXPO_TEXT, "a 1\n", SERIES_BAD_SERIES,
		"missing metric name");
	relabel_free(relabel);
}

/* Each doubles the label: rules may be a tenant's. */
static void rules_that_blow_up_a_label_fail_the_scrape(void **state)
{
	(void)state;
	const char *source[] = {"a"};
	struct relabel *relabel = NULL;
	struct relabel_rule rules[40];
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		rules[i] =
			(struct relabel_rule){.source_labels = {source, 1}, .target_label = "a", .replacement = "$1$1"};
	assert_int_equal(relabel_compile(rules, ARRAY_SIZE(rules), &relabel, NULL), 0);
	assert_fails((struct series_target){.metric_relabel = relabel}, EXPO_TEXT, "a{a=\"b\"} 1\n", SERIES_BAD_SERIES,
		"relabelling makes its labels too large");
	relabel_free(relabel);
}

/* What Prometheus' parser makes of le below a TYPE line, seen where le stays a label. */
static void bounds_that_stay_labels_have_one_form(void **state)
{
	(void)state;
	static const struct {
		const char *written, *form;
	} cases[] = {
		{"1", "1.0"},
		{"10", "10.0"},
		{"100000", "100000.0"},
		{"1e6", "1e+06"},
		{"1234567", "1.234567e+06"},
		{"0.5", "0.5"},
		{".25e1", "2.5"},
		{"0.0001", "0.0001"},
		{"0.00001", "1e-05"},
		{"-0.1", "-0.1"},
		{"+Inf", "+Inf"},
		{"-inf", "-Inf"},
		{"nan", "NaN"},
		{"0x1", "0x1"},
		{"0.30000000000000004", "0.30000000000000004"},
	};
	const char *name[] = {"__name__"};
	const struct relabel_rule rule = {.action = RELABEL_REPLACE,
		.source_labels = {name, 1},
		.regex = "h_bucket",
		.target_label = "__name__",
		.replacement = "renamed"};
	struct relabel *relabel = NULL;
	struct error err;
	assert_int_equal(relabel_compile(&rule, 1, &relabel, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test_cache test;
		char body[128], point[128];
		snprintf(body, sizeof(body), "# TYPE h histogram\nh_bucket{le=\"%s\"} 1\n", cases[i].written);
		snprintf(point, sizeof(point), "point {le=\"%s\"}", cases[i].form);
		assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
		test.target.metric_relabel = relabel;
		assert_int_equal(test_cache_scrape(&test, body), 0);
		assert_text_has(&test, point);
		test_cache_done(&test);
	}
	relabel_free(relabel);
}

/* ---- metadata ------------------------------------------------------------------------------------------ */

/* The last line is not kept when no LF ends it, so each scrape reads it anew. */
static void a_body_that_ends_in_a_cut_comment_notes_what_it_exported(void **state)
{
	(void)state;
	struct test_cache test;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	for (int i = 0; i < 13; i++) /* until b is forgotten, and so every time new */
		assert_int_equal(test_cache_scrape(&test, "a 1\n# HELP b words"), 0);
	assert_int_equal(test_cache_scrape(&test, "a 1 1700000000500\n# HELP b words"), 0);
	assert_int_equal(test_cache_scrape(&test, "# HELP b words"), 0); /* a has no end */
	assert_int_equal(test.result.stale_points, 0);
	test_cache_done(&test);
}

static void metadata_without_end_fails_the_scrape(void **state)
{
	(void)state;
	struct test_cache test;
	struct buf body;
	buf_init(&body, 1 << 20);
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	test.target.limits.max_samples = 10;
	for (int i = 0; i < 40; i++)
		buf_printf(&body, "# HELP a%d %d\n", i % 10, i);
	buf_char(&body, '\0');
	assert_int_equal(test_cache_scrape(&test, body.ptr), 0);
	assert_int_equal(test.result.failure, SERIES_OK);
	body.len--;
	buf_str(&body, "# HELP a0 words\n");
	buf_char(&body, '\0');
	assert_int_equal(test_cache_scrape(&test, body.ptr), 0);
	assert_int_equal(test.result.failure, SERIES_SAMPLE_LIMIT);
	assert_string_equal(test.error.text, "more than 40 lines of samples and metadata");
	body.len = 0;
	for (int i = 0; i < 11; i++)
		buf_printf(&body, "# TYPE a%d gauge\n", i);
	buf_char(&body, '\0');
	assert_int_equal(test_cache_scrape(&test, body.ptr), 0);
	assert_string_equal(test.error.text, "more than 10 metric families");
	buf_done(&body);
	test_cache_done(&test);
}

/* Each scope repeats the description: a page of a few megabytes would become gigabytes. */
static void a_page_that_swells_fails_the_scrape(void **state)
{
	(void)state;
	struct test_cache test;
	struct buf body;
	buf_init(&body, 1 << 20);
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	buf_str(&body, "# HELP a ");
	for (int i = 0; i < 60000; i++)
		buf_char(&body, 'x');
	buf_char(&body, '\n');
	for (int i = 0; i < 2300; i++)
		buf_printf(&body, "a{otel_scope_n=\"%d\"} 1\n", i);
	buf_char(&body, '\0');
	assert_int_equal(test_cache_scrape(&test, body.ptr), 0);
	assert_int_equal(test.result.failure, SERIES_BAD_SERIES);
	assert_string_equal(test.error.text, "the series are too large");
	assert_int_equal(test_cache_scrape(&test, "a 1\n"), 0);
	assert_text_has(&test, "point {} start=0 time=1700000001000000000 value=1");
	buf_done(&body);
	test_cache_done(&test);
}

/* Two applications' pages in one, as a service mesh's sidecar serves them: each has its own words for the same family. */
static void contradicting_metadata_settles(void **state)
{
	(void)state;
	static const char page[] = "# HELP a one\n# TYPE a gauge\na{x=\"1\"} 1\n# HELP a two\na{x=\"2\"} 2\nb 3\n";
	struct test_cache test;
	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(test_cache_scrape(&test, page), 0);
		assert_int_equal(test.result.points, 3);
		assert_text_has(&test, "metric \"a\" gauge unit=\"\" type=\"gauge\" description=\"one\"");
	}
	assert_int_equal(test.result.misses, 0); /* nothing was derived anew */
	/* One of the two voices falls silent: the other is heard again. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			test_cache_scrape(&test, "# TYPE a gauge\na{x=\"1\"} 1\n# HELP a two\na{x=\"2\"} 2\nb 3\n"), 0);
	assert_text_has(&test, "description=\"two\"");
	assert_int_equal(test.result.misses, 0);
	test_cache_done(&test);

	assert_int_equal(test_cache_init(&test, UINT64_MAX), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(test_cache_scrape(&test, page), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			test_cache_scrape(
				&test, "a{x=\"0\"} 0\n# HELP a one\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n"),
			0);
	assert_text_has(&test, "description=\"one\"");
	test_cache_done(&test);
}

/* ---- the hash table ------------------------------------------------------------------------------------ */

static void lookup_finds_all_of_one_hash_and_grows(void **state)
{
	(void)state;
	struct lookup lookup = {0};
	uint32_t number;
	struct lookup_probe probe = lookup_probe(&lookup, 1);
	assert_false(lookup_next(&lookup, &probe, &number));
	assert_int_equal(lookup_reset(&lookup, 10), 0);
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(lookup_add(&lookup, (uint64_t)(i / 2) << 32, i), 0);
	for (uint32_t i = 0; i < 2500; i++) {
		unsigned found = 0;
		for (probe = lookup_probe(&lookup, (uint64_t)i << 32); lookup_next(&lookup, &probe, &number);)
			found += number / 2 == i;
		assert_int_equal(found, 2);
	}
	assert_int_equal(lookup_reset(&lookup, 10), 0);
	probe = lookup_probe(&lookup, 0);
	assert_false(lookup_next(&lookup, &probe, &number));
	lookup_done(&lookup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(target_labels_win_or_fill_gaps),
		cmocka_unit_test(resource_attributes_of_the_target_are_there),
		cmocka_unit_test(bad_series_fail_the_scrape),
		cmocka_unit_test(limits_fail_the_scrape),
		cmocka_unit_test(a_new_limit_holds_for_known_series),
		cmocka_unit_test(a_report_metric_that_the_target_exposes_gives_way),
		cmocka_unit_test(metric_relabelling_decides_what_is_kept),
		cmocka_unit_test(rules_that_blow_up_a_label_fail_the_scrape),
		cmocka_unit_test(bounds_that_stay_labels_have_one_form),
		cmocka_unit_test(a_body_that_ends_in_a_cut_comment_notes_what_it_exported),
		cmocka_unit_test(metadata_without_end_fails_the_scrape),
		cmocka_unit_test(a_page_that_swells_fails_the_scrape),
		cmocka_unit_test(contradicting_metadata_settles),
		cmocka_unit_test(lookup_finds_all_of_one_hash_and_grows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
