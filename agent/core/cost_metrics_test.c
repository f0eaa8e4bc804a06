/* cost_metrics: the pages of single targets, as text and as OpenMetrics. */
#include "internal.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

struct scene {
	struct core core;
	struct worker worker;
	struct settings settings;
	struct test_clock clock;
};

/* Two targets; whoever named the first has read about injection. */
static void configure(struct scene *scene, size_t count)
{
	const char *addresses[] = {"127.0.0.1:9100", "127.0.0.1:9101"};
	struct option_pair labels[] = {{"instance", "a\"b\\c\nd"}};
	struct target_static_config configs[] = {
		{.targets = {&addresses[0], 1}, .labels = {labels, 1}}, {.targets = {&addresses[1], 1}}};
	struct target_job_options job = {.job_name = "web", .static_configs = {configs, count}};
	struct discover_settings settings = {.global = &global, .jobs = &job, .job_count = 1};
	struct error err = {""};
	if (discover_configure(scene->core.discover, &settings, &err) < 0)
		fail_msg("%s", err.text);
}

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	scene->clock.wall_ns = 1000 * NS_PER_SEC;
	scene->worker.core = &scene->core;
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

static struct core_target *target_of(struct scene *scene, size_t index)
{
	size_t count;
	struct target *const *targets = discover_targets(scene->core.discover, &count);
	assert_true(index < count);
	return targets_find(&scene->core, targets[index]->key);
}

static void measure(struct core_target *target, size_t times)
{
	struct wire_cost cost = {.measured = 1,
		.tgid = 7,
		.thread_at_send_ns = 2 * NS_PER_MS,
		.thread_ns = 2 * NS_PER_MS,
		.causal_ns = NS_PER_MS,
		.causal_at_send_ns = NS_PER_MS,
		.switches = 3,
		.threads = 2,
		.first_byte_ns = 4 * NS_PER_MS};
	for (size_t i = 0; i < times; i++)
		assert_int_equal(cost_history_add(&target->cost, &cost), 0);
}

static void scraped(struct core_target *target)
{
	struct wire_scraped scraped = {.fetch_cpu_ns = NS_PER_MS,
		.parse_cpu_ns = 2 * NS_PER_MS,
		.body_bytes = 1000,
		.wire_bytes = 500,
		.record_bytes = 100};
	cost_history_scraped(&target->cost, &scraped);
}

/* The page without comments. NUL-terminated; buf_done. */
static struct buf render(struct scene *scene, bool openmetrics)
{
	struct buf page, samples;
	buf_init(&page, 1 << 20);
	buf_init(&samples, 1 << 20);
	cost_metrics_render(&scene->core, &page, openmetrics);
	assert_int_equal(page.failed, 0);
	struct span rest = buf_view(&page), line;
	while (span_next(&rest, '\n', &line)) {
		if (line.len > 0 && line.ptr[0] != '#')
			buf_printf(&samples, "%.*s\n", SPAN_ARGS(line));
	}
	buf_done(&page);
	return samples;
}

#define LABELS "scrape_job=\"web\",scrape_instance=\"a\\\"b\\\\c\\nd\",target=\"http://127.0.0.1:9100/metrics\""

static void a_target_that_nobody_measures_has_the_agents_side_only(void **state)
{
	struct scene *scene = *state;
	configure(scene, 1);
	scraped(target_of(scene, 0));
	struct buf page = render(scene, false);
	test_assert_text(buf_view(&page), "gleaner_target_scrape_cpu_confidence{" LABELS ",method=\"none\"} 0\n"
					  "gleaner_target_agent_cpu_seconds_total{" LABELS ",stage=\"fetch\"} 0.001\n"
					  "gleaner_target_agent_cpu_seconds_total{" LABELS ",stage=\"parse\"} 0.002\n"
					  "gleaner_target_agent_cpu_seconds_total{" LABELS ",stage=\"encode\"} 0\n"
					  "gleaner_target_agent_cpu_seconds_total{" LABELS ",stage=\"compress\"} 0\n"
					  "gleaner_target_scrapes_total{" LABELS "} 1\n"
					  "gleaner_target_body_bytes_total{" LABELS "} 1000\n"
					  "gleaner_target_wire_bytes_total{" LABELS "} 500\n"
					  "gleaner_target_record_bytes_total{" LABELS "} 100\n"
					  "gleaner_targets_without_cost 0\n");
	buf_done(&page);
}

static void assert_has(const struct buf *page, const char *line)
{
	if (!strstr(page->ptr, line))
		fail_msg("no %s in\n%s", line, page->ptr);
}

static void a_measured_target_has_both_sides(void **state)
{
	struct scene *scene = *state;
	configure(scene, 1);
	measure(target_of(scene, 0), 4);
	struct buf page = render(scene, false);
	buf_char(&page, '\0');
	assert_has(&page, "gleaner_target_scrape_cpu_seconds{" LABELS ",bound=\"lower\"} 0.002");
	assert_has(&page, "gleaner_target_scrape_cpu_seconds{" LABELS ",bound=\"best\"} 0.003");
	assert_null(strstr(page.ptr, "bound=\"upper\""));
	assert_has(&page, "gleaner_target_scrape_cpu_confidence{" LABELS ",method=\"causal\"} 1\n");
	assert_has(&page, "gleaner_target_scrape_threads{" LABELS "} 2\n");
	assert_has(&page, "gleaner_target_cpu_per_scrape_seconds_bucket{" LABELS ",le=\"0.0025\"} 0\n");
	assert_has(&page, "gleaner_target_cpu_per_scrape_seconds_bucket{" LABELS ",le=\"0.005\"} 2\n");
	assert_has(&page, "gleaner_target_cpu_per_scrape_seconds_bucket{" LABELS ",le=\"+Inf\"} 2\n");
	assert_has(&page, "gleaner_target_cpu_per_scrape_seconds_count{" LABELS "} 2\n");
	assert_has(&page, "gleaner_target_cpu_seconds_total{" LABELS ",bound=\"lower\"} 0.008");
	assert_has(&page, "gleaner_target_context_switches_total{" LABELS "} 12\n");
	assert_has(&page, "gleaner_target_windows_total{" LABELS ",result=\"measured\"} 4\n");
	assert_null(strstr(page.ptr, "_created"));
	buf_done(&page);
}

static void openmetrics_says_since_when_a_target_is_known(void **state)
{
	struct scene *scene = *state;
	configure(scene, 1);
	scene->clock.wall_ns = 1500 * NS_PER_SEC;
	configure(scene, 2);
	measure(target_of(scene, 1), 4);
	scraped(target_of(scene, 1));
	struct buf page = render(scene, true);
	buf_char(&page, '\0');
	assert_has(&page, "gleaner_target_scrapes_created{" LABELS "} 1000\n");
	const char *second = "scrape_job=\"web\",scrape_instance=\"127.0.0.1:9101\","
			     "target=\"http://127.0.0.1:9101/metrics\"";
	char line[256];
	snprintf(line, sizeof(line), "gleaner_target_scrapes_created{%s} 1500\n", second);
	assert_has(&page, line);
	snprintf(line, sizeof(line), "gleaner_target_cpu_per_scrape_seconds_created{%s} 1500\n", second);
	assert_has(&page, line);
	buf_done(&page);
}

static void a_target_that_comes_back_starts_anew(void **state)
{
	struct scene *scene = *state;
	configure(scene, 1);
	measure(target_of(scene, 0), 4);
	scraped(target_of(scene, 0));
	configure(scene, 0);
	scene->clock.wall_ns = 1500 * NS_PER_SEC;
	configure(scene, 1);
	struct buf page = render(scene, true);
	buf_char(&page, '\0');
	assert_has(&page, "gleaner_target_scrapes_total{" LABELS "} 0\n");
	assert_has(&page, "gleaner_target_scrapes_created{" LABELS "} 1500\n");
	assert_null(strstr(page.ptr, "gleaner_target_windows_total"));
	buf_done(&page);
}

/* The last of many gets no metrics, and the page says so; 500 fit into what is sent as OTLP. */
static void targets_beyond_the_ceiling_are_counted(void **state)
{
	struct scene *scene = *state;
	enum { COUNT = 1010 };
	static char texts[COUNT][32];
	static const char *addresses[COUNT];
	for (size_t i = 0; i < COUNT; i++) {
		snprintf(texts[i], sizeof(texts[i]), "127.0.0.1:%zu", 10000 + i);
		addresses[i] = texts[i];
	}
	struct target_static_config config = {.targets = {addresses, COUNT}};
	struct target_job_options job = {.job_name = "web", .static_configs = {&config, 1}};
	struct discover_settings settings = {.global = &global, .jobs = &job, .job_count = 1};
	struct error err = {""};
	assert_int_equal(discover_configure(scene->core.discover, &settings, &err), 0);
	for (size_t i = 0; i < COUNT; i++)
		measure(target_of(scene, i), 3);
	struct buf page;
	buf_init(&page, 64 << 20);
	cost_metrics_render(&scene->core, &page, true);
	assert_int_equal(page.failed, 0);
	buf_char(&page, '\0');
	assert_has(&page, "gleaner_targets_without_cost 10\n");
	buf_done(&page);
}

static int attempt(void *arg)
{
	struct buf page;
	buf_init(&page, 1 << 20);
	cost_metrics_render(arg, &page, true);
	int result = page.failed;
	buf_done(&page);
	return result;
}

static void memory_may_run_out(void **state)
{
	struct scene *scene = *state;
	configure(scene, 1);
	measure(target_of(scene, 0), 4);
	test_out_of_memory(attempt, &scene->core);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(a_target_that_nobody_measures_has_the_agents_side_only),
		TEST(a_measured_target_has_both_sides),
		TEST(openmetrics_says_since_when_a_target_is_known),
		TEST(a_target_that_comes_back_starts_anew),
		TEST(targets_beyond_the_ceiling_are_counted),
		TEST(memory_may_run_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
