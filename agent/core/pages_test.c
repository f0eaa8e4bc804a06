/* pages: what the status server shows, of targets that write hostile text. */
#include "internal.h"
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* For the pages only: the real one is the whole program. */
int core_reload(struct core *core, struct error *err)
{
	core->reloads++;
	return core->reloads == 1 ? 0 : error_set(err, EINVAL, "gleaner.yaml: 2 errors");
}

struct scene {
	struct core core;
	struct worker worker;
	struct settings settings;
	pthread_t thread;
};

static void *run_loop(void *arg)
{
	struct core *core = arg;
	loop_run(core->loop);
	return NULL;
}

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

/* One target, whose labels a tenant wrote. */
static void configure(struct scene *scene)
{
	const char *addresses[] = {"127.0.0.1:9100"};
	struct option_pair labels[] = {{"app", "<script>alert(\"1\")</script>&\n\x1b[2J"}};
	struct target_static_config config = {.targets = {addresses, 1}, .labels = {labels, 1}};
	struct target_job_options job = {.job_name = "web", .static_configs = {&config, 1}};
	struct discover_settings settings = {.global = &global, .jobs = &job, .job_count = 1};
	struct error err = {""};
	if (discover_configure(scene->core.discover, &settings, &err) < 0)
		fail_msg("%s", err.text);
}

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	scene->worker = (struct worker){.core = &scene->core, .pid = getpid()};
	scene->core = (struct core){.clock = clock_system(),
		.log = {.fd = -1},
		.settings = &scene->settings,
		.workers = &scene->worker,
		.worker_count = 1};
	assert_int_equal(loop_new(&scene->core.loop), 0);
	assert_int_equal(targets_init(&scene->core), 0);
	configure(scene);
	assert_int_equal(pthread_create(&scene->thread, NULL, run_loop, &scene->core), 0);
	*state = scene;
	return 0;
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	assert_int_equal(loop_post(scene->core.loop, stop, scene->core.loop), 0);
	pthread_join(scene->thread, NULL);
	targets_done(&scene->core);
	loop_free(scene->core.loop);
	free(scene);
	return 0;
}

/* As the status server calls it. The text is NUL-terminated; buf_done(&reply.body). */
static struct status_reply get(struct scene *scene, const char *path)
{
	const struct status_route *route = core_routes;
	while (route->path && strcmp(route->path, path) != 0)
		route++;
	if (!route->path)
		fail_msg("no page %s", path);
	struct status_reply reply = {.code = 200, .content_type = "text/plain; charset=utf-8"};
	struct status_request request = {.path = span_str(path)};
	buf_init(&reply.body, 1 << 20);
	route->serve(&scene->core, &request, &reply);
	buf_char(&reply.body, '\0');
	return reply;
}

static void assert_page(struct scene *scene, const char *path, unsigned code, const char *text)
{
	struct status_reply reply = get(scene, path);
	assert_int_equal(reply.code, code);
	assert_string_equal(reply.body.ptr, text);
	buf_done(&reply.body);
}

struct report {
	struct core *core;
	struct wire_scraped scraped;
	struct span error;
};

static void take_report(void *arg)
{
	struct report *report = arg;
	targets_scraped(report->core, &report->scraped, report->error);
}

static void report_failure(struct scene *scene, struct span error)
{
	size_t count;
	struct target *const *targets = discover_targets(scene->core.discover, &count);
	struct report report = {
		&scene->core, {.key = targets[0]->key, .tick_ns = 1000 * NS_PER_SEC, .reason = "parse"}, error};
	assert_int_equal(loop_call(scene->core.loop, take_report, &report, NS_PER_SEC), 0);
}

static void a_tenants_text_is_no_markup(void **state)
{
	struct scene *scene = *state;
	report_failure(scene, SPAN("line 1: <img src=x> \xc2\x9b\x7f\xc3\xa9"));
	struct status_reply reply = get(scene, "/targets");
	assert_string_equal(reply.content_type, "text/html; charset=utf-8");
	assert_null(strstr(reply.body.ptr, "<script"));
	assert_null(strstr(reply.body.ptr, "<img"));
	assert_non_null(
		strstr(reply.body.ptr, "app=&quot;&lt;script&gt;alert(\\&quot;1\\&quot;)&lt;/script&gt;&amp;\\n"));
	assert_non_null(strstr(reply.body.ptr, "<td class=\"down\">down</td>"));
	assert_non_null(strstr(reply.body.ptr, "line 1: &lt;img src=x&gt; \xef\xbf\xbd\xef\xbf\xbd\xc3\xa9"));
	assert_null(strchr(reply.body.ptr, '\x1b'));
	buf_done(&reply.body);
}

static void targets_are_json_in_prometheus_shape(void **state)
{
	struct scene *scene = *state;
	report_failure(scene, SPAN("\"quoted\" \x1b[2J"));
	struct status_reply reply = get(scene, "/api/v1/targets");
	assert_string_equal(reply.content_type, "application/json");
	test_assert_text(span_str(reply.body.ptr),
		"{\"status\":\"success\",\"data\":{\"activeTargets\":[{\"discoveredLabels\":{"
		"\"__address__\":\"127.0.0.1:9100\",\"__metrics_path__\":\"/metrics\",\"__scheme__\":\"http\","
		"\"__scrape_interval__\":\"1m\",\"__scrape_timeout__\":\"10s\","
		"\"app\":\"<script>alert(\\\"1\\\")</script>&\\n\\u001b[2J\",\"job\":\"web\"},"
		"\"labels\":{\"app\":\"<script>alert(\\\"1\\\")</script>&\\n\\u001b[2J\","
		"\"instance\":\"127.0.0.1:9100\",\"job\":\"web\"},\"scrapePool\":\"web\","
		"\"scrapeUrl\":\"http://127.0.0.1:9100/metrics\",\"globalUrl\":\"http://127.0.0.1:9100/metrics\","
		"\"lastError\":\"\\\"quoted\\\" \\u001b[2J\",\"lastScrape\":\"1970-01-01T00:16:40.000Z\","
		"\"lastScrapeDuration\":0,\"health\":\"down\",\"scrapeInterval\":\"1m\",\"scrapeTimeout\":\"10s\","
		"\"scrapes\":1,\"scrapeFailures\":1,\"lastScrapeSamples\":0,\"lastScrapeBodyBytes\":0,"
		"\"cost\":{\"method\":\"none\",\"confidence\":\"none\",\"scrapes\":0,\"why\":\"nothing is measured: "
		"the "
		"probe's cost programs and the process's clock are both missing\",\"agent\":{\"scrapes\":1,"
		"\"cpuSeconds\":0,\"cpuP99Seconds\":0,\"coreShare\":0,\"cpuSecondsTotal\":{\"fetch\":0,\"parse\":0,"
		"\"encode\":0,\"compress\":0},\"bodyBytesTotal\":0,\"wireBytesTotal\":0,\"recordBytesTotal\":0}}}],"
		"\"droppedTargets\":[],\"podSources\":{\"pods\":0,\"running\":\"\",\"sources\":[]}}}\n");
	buf_done(&reply.body);
}

static void readiness_hangs_on_the_scrapers_and_health_does_not(void **state)
{
	struct scene *scene = *state;
	assert_page(scene, "/-/ready", 200, "gleaner is ready.\n");
	scene->worker.pid = 0;
	assert_page(scene, "/-/ready", 503, "not ready: a scraper is being started\n");
	assert_page(scene, "/readyz", 503, "not ready: a scraper is being started\n");
	assert_page(scene, "/healthz", 200, "gleaner is healthy.\n");
	assert_page(scene, "/-/healthy", 200, "gleaner is healthy.\n");
}

static void a_refused_reload_says_why(void **state)
{
	struct scene *scene = *state;
	assert_page(scene, "/-/reload", 200, "");
	assert_page(scene, "/-/reload", 500,
		"failed to reload config: gleaner.yaml: 2 errors; the running one stays, the log says more\n");
}

static void secrets_are_not_shown(void **state)
{
	struct scene *scene = *state;
	struct option_pair header = {"api-key", "hunter2"};
	scene->settings.exporters.otlphttp_given = true;
	scene->settings.exporters.otlphttp.endpoint = "http://gateway:4318";
	scene->settings.exporters.otlphttp.headers = (struct option_pairs){&header, 1};
	struct status_reply reply = get(scene, "/config");
	assert_string_equal(reply.content_type, "text/yaml; charset=utf-8");
	assert_null(strstr(reply.body.ptr, "hunter2"));
	assert_non_null(strstr(reply.body.ptr, "api-key: <secret>\n"));
	assert_non_null(strstr(reply.body.ptr, "endpoint: \"http://gateway:4318\"\n"));
	buf_done(&reply.body);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(a_tenants_text_is_no_markup),
		TEST(targets_are_json_in_prometheus_shape),
		TEST(readiness_hangs_on_the_scrapers_and_health_does_not),
		TEST(a_refused_reload_says_why),
		TEST(secrets_are_not_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
