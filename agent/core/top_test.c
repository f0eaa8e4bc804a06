/* top: the table and the JSON of `gleaner top`. */
#include "top.h"

#include "cost_pages.h"
#include "internal.h"
#include "test.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 10 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

struct scene {
	struct core core;
	struct worker worker;
	struct settings settings;
	struct test_clock clock;
};

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	scene->worker.core = &scene->core;
	scene->settings.kubelet.node_name = "node\x1b-a";
	scene->core = (struct core){.clock = test_clock(&scene->clock),
		.log = {.fd = -1},
		.settings = &scene->settings,
		.workers = &scene->worker,
		.worker_count = 1};
	assert_int_equal(targets_init(&scene->core), 0);
	*state = scene;
	return 0;
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	targets_done(&scene->core);
	free(scene);
	return 0;
}

static void configure(struct scene *scene, const char *const *addresses, size_t count)
{
	const char *list[8];
	memcpy(list, addresses, count * sizeof(*addresses));
	struct target_static_config config = {.targets = {list, count}};
	struct target_job_options job = {.job_name = "web", .static_configs = {&config, 1}};
	struct discover_settings settings = {.global = &global, .jobs = &job, .job_count = 1};
	struct error err = {""};
	if (discover_configure(scene->core.discover, &settings, &err) < 0)
		fail_msg("%s", err.text);
}

static struct core_target *target_at(struct scene *scene, uint16_t port)
{
	size_t count;
	struct target *const *targets = discover_targets(scene->core.discover, &count);
	for (size_t i = 0; i < count; i++) {
		if (targets[i]->port == port)
			return targets_find(&scene->core, targets[i]->key);
	}
	fail_msg("no target at port %u", port);
	return NULL;
}

/* `us` of CPU at the target, as often as that. */
static void measure(struct core_target *target, uint64_t us, size_t times)
{
	struct wire_cost cost = {
		.measured = 1, .tgid = 7, .thread_at_send_ns = us * 1000, .thread_ns = us * 1000, .threads = 1};
	for (size_t i = 0; i < times; i++)
		assert_int_equal(cost_history_add(&target->cost, &cost), 0);
}

static void scraped(struct scene *scene, struct core_target *target, bool up)
{
	struct wire_scraped scraped = {.key = target->target->key,
		.tick_ns = 1,
		.duration_ns = 4 * NS_PER_MS,
		.up = up,
		.fetch_cpu_ns = 100000,
		.parse_cpu_ns = 200000,
		.samples = 1234,
		.body_bytes = 50000,
		.wire_bytes = 12345,
		.record_bytes = 2000};
	targets_scraped(&scene->core, &scraped, SPAN(""));
}

static const char *const three[] = {"127.0.0.1:9100", "127.0.0.1:9101", "127.0.0.1:9102"};

static void assert_table(struct scene *scene, enum top_sort sort, size_t limit, const char *expected)
{
	struct buf out;
	buf_init(&out, 1 << 20);
	top_render(&scene->core, false, sort, limit, &out);
	test_assert_text(buf_view(&out), expected);
	buf_done(&out);
}

static void the_dearest_target_comes_first(void **state)
{
	struct scene *scene = *state;
	configure(scene, three, 3);
	measure(target_at(scene, 9101), 900, 2); /* no estimate yet */
	measure(target_at(scene, 9102), 1500, 12);
	scraped(scene, target_at(scene, 9102), true);
	scraped(scene, target_at(scene, 9101), false);
	assert_table(scene, TOP_SHARE, 10,
		"gleaner on node%1B-a: 3 targets, 1 up. Scraping them takes at least 0.024% of a core at 2 of them, "
		"0.006% here.\n"
		"The CPU time of targets is not measured by eBPF: there is no probe\n"
		"\n"
		"TARGET                                  JOB CPU/SCRAPE      P99    %CORE  METHOD             AGENT    "
		"%CORE  SAMPLES       IN      OUT  EVERY     TOOK\n"
		"http://127.0.0.1:9102/metrics           web    1.50 ms  1.50 ms   0.015%  causal medium     300 us   "
		"0.003%     1234  12.3 kB   2.0 kB    10s  4.00 ms\n"
		"http://127.0.0.1:9101/metrics [down]    web   >=900 us        -   0.009%  causal            300 us   "
		"0.003%     1234  12.3 kB   2.0 kB    10s  4.00 ms\n"
		"http://127.0.0.1:9100/metrics [not yet] web          -        -        -  -                      -    "
		"   "
		" -        0      0 B      0 B    10s        -\n");
}

static void the_limit_says_how_many_are_left(void **state)
{
	struct scene *scene = *state;
	configure(scene, three, 3);
	struct buf out;
	buf_init(&out, 1 << 20);
	top_render(&scene->core, false, TOP_NAME, 1, &out);
	assert_true(span_ends_with(buf_view(&out), SPAN("\n2 more.\n")));
	buf_done(&out);
}

static void a_stretched_interval_makes_a_smaller_share(void **state)
{
	struct scene *scene = *state;
	configure(scene, three, 1);
	struct core_target *target = target_at(scene, 9100);
	measure(target, 1000, 12);
	target->budget.stretch = 4;
	struct cost_figures figures = cost_figures(target);
	assert_int_equal(figures.interval_ns, 40 * NS_PER_SEC);
	assert_string_equal(cost_share_text(figures.share).text, "0.003%");
}

static void each_key_sorts(void **state)
{
	struct scene *scene = *state;
	const char *const names[] = {"share", "cpu", "p99", "agent", "samples", "in", "out", "took"};
	enum top_sort sort;
	configure(scene, three, 3);
	measure(target_at(scene, 9101), 900, 3);
	scraped(scene, target_at(scene, 9101), true);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf out;
		buf_init(&out, 1 << 20);
		assert_int_equal(top_sort_parse(span_str(names[i]), &sort), 0);
		top_render(&scene->core, true, sort, 1, &out);
		buf_char(&out, '\0');
		assert_non_null(strstr(out.ptr, "\"targets\":[{\"job\":\"web\",\"instance\":\"127.0.0.1:9101\""));
		buf_done(&out);
	}
	assert_int_equal(top_sort_parse(SPAN("name"), &sort), 0);
	assert_int_equal(top_sort_parse(SPAN("frobnicate"), &sort), -EINVAL);
}

static void json_has_what_is_known_and_nothing_else(void **state)
{
	struct scene *scene = *state;
	configure(scene, three, 1);
	measure(target_at(scene, 9100), 900, 2);
	struct buf out;
	buf_init(&out, 1 << 20);
	top_render(&scene->core, true, TOP_SHARE, 10, &out);
	test_assert_text(buf_view(&out),
		"{\"status\":\"success\",\"data\":{\"node\":\"node\\u001b-a\",\"notMeasuredBecause\":\"there is no "
		"probe\",\"targetCount\":1,\"up\":0,\"measured\":1,\"coreShare\":9e-05,\"agentCoreShare\":0,"
		"\"targets\":[{\"job\":\"web\",\"instance\":\"127.0.0.1:9100\",\"url\":\"http://127.0.0.1:9100/"
		"metrics\","
		"\"namespace\":\"\",\"pod\":\"\",\"container\":\"\",\"health\":\"unknown\",\"intervalSeconds\":10,"
		"\"lastDurationSeconds\":0,\"samples\":0,\"bodyBytes\":0,\"wireBytes\":0,\"recordBytes\":0,"
		"\"cost\":{\"method\":\"causal\",\"confidence\":\"none\",\"scrapes\":2,\"why\":\"fewer than 3 scrapes "
		"of "
		"this process are measured\",\"lowerSeconds\":0.0009,\"coreShare\":9e-05,"
		"\"otherSeconds\":0,\"tailSeconds\":0,\"contextSwitches\":0,\"threads\":1,\"agent\":{\"scrapes\":0,"
		"\"cpuSecondsTotal\":{\"fetch\":0,\"parse\":0,\"encode\":0,\"compress\":0},\"bodyBytesTotal\":0,"
		"\"wireBytesTotal\":0,\"recordBytesTotal\":0}}}]}}\n");
	buf_done(&out);
}

static void the_targets_page_says_which_estimate_and_why(void **state)
{
	struct scene *scene = *state;
	configure(scene, three, 1);
	struct core_target *target = target_at(scene, 9100);
	struct buf out;
	buf_init(&out, 1 << 20);
	measure(target, 1500, 12);
	scraped(scene, target, true);
	cost_html(&out, target);
	test_assert_text(buf_view(&out), "<td>1.50 ms, p99 1.50 ms; 0.015% of a core<br><code>causal, confidence "
					 "medium: threads that answered and "
					 "those they woke; the process clock is not visible (hostPID)</code></td><td "
					 "class=\"n\">300 us<br>0.003% of "
					 "a core</td>");
	buf_done(&out);
}

static void figures_are_short(void **state)
{
	(void)state;
	const struct {
		double seconds;
		const char *text;
	} times[] = {{NAN, "-"}, {0, "0.0 us"}, {4.26e-6, "4.3 us"}, {41e-6, "41 us"}, {999.4e-6, "999 us"},
		{999.6e-6, "1.00 ms"}, {12.34e-3, "12.3 ms"}, {250e-3, "250 ms"}, {1.5, "1.50 s"}, {12.5, "12.5 s"}};
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		assert_string_equal(cost_time_text(times[i].seconds).text, times[i].text);
	assert_string_equal(cost_share_text(NAN).text, "-");
	assert_string_equal(cost_share_text(0.00042).text, "0.042%");
	assert_string_equal(cost_share_text(0.125).text, "12.5%");
	assert_string_equal(cost_bytes_text(812).text, "812 B");
	assert_string_equal(cost_bytes_text(12345).text, "12.3 kB");
	assert_string_equal(cost_bytes_text(999999).text, "1.0 MB");
	assert_string_equal(cost_bytes_text(5000000000).text, "5.0 GB");
}

static int attempt(void *arg)
{
	struct buf out;
	buf_init(&out, 1 << 20);
	top_render(arg, false, TOP_SHARE, 10, &out);
	int result = out.failed;
	buf_done(&out);
	return result;
}

static void memory_may_run_out(void **state)
{
	struct scene *scene = *state;
	configure(scene, three, 3);
	test_out_of_memory(attempt, &scene->core);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(the_dearest_target_comes_first),
		TEST(the_limit_says_how_many_are_left),
		TEST(a_stretched_interval_makes_a_smaller_share),
		TEST(each_key_sorts),
		TEST(json_has_what_is_known_and_nothing_else),
		TEST(the_targets_page_says_which_estimate_and_why),
		cmocka_unit_test(figures_are_short),
		TEST(memory_may_run_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
