/* From a scripted API server to what discovery has. PodMonitors only: one list, so that the requests have an order; Services are in
 * tests/integration/monitors_test.py. */
#include "internal.h"
#include "server.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAD(status) "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n"
#define MONITOR(name, team, more)                                                                                      \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"shop\",\"uid\":\"" name                                  \
	"\",\"resourceVersion\":\"1\",\"labels\":{\"team\":\"" team                                                    \
	"\"}},\"spec\":{\"selector\":{},\"podMetricsEndpoints\":[{\"port\":\"metrics\"" more "}]}}"
#define LIST(items)                                                                                                    \
	HEAD("200 OK")                                                                                                 \
	"Connection: close\r\n\r\n{\"kind\":\"L\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[" items "]}"
#define TWO     LIST(MONITOR("one", "a", "") "," MONITOR("two", "a", ""))
#define NOTHING HEAD("200 OK") "Transfer-Encoding: chunked\r\n\r\n"

struct scene {
	struct core core;
	struct sources sources;
	struct kube_api_options api;
	struct test_server *server;
	struct loop_timer *look;
	bool (*until)(struct scene *scene);
	uint64_t looks;
	size_t before; /* requests */
};

static struct settings *settings_new(const char *team)
{
	struct settings *settings = calloc(1, sizeof(*settings));
	assert_non_null(settings);
	settings->refs = 1;
	arena_init(&settings->arena, 1 << 20);
	settings->monitors.enabled = settings->monitors.pod_monitors_given = true;
	settings->monitors.scrape_interval_ns = 30 * NS_PER_SEC;
	if (!team)
		return settings;
	struct option_pair *pair = arena_alloc(&settings->arena, sizeof(*pair));
	*pair = (struct option_pair){"team", team};
	settings->monitors.pod_monitors.match_labels = (struct option_pairs){pair, 1};
	/* What config_print compares. */
	settings->monitors.pod_monitors.lower_labels = settings->monitors.pod_monitors.match_labels;
	settings->monitors.pod_monitors.camel_labels = settings->monitors.pod_monitors.match_labels;
	return settings;
}

static void look(void *arg)
{
	struct scene *scene = arg;
	if (scene->until(scene))
		loop_stop(scene->core.loop);
	else if (++scene->looks > 1000)
		fail_msg("it did not come in 10 s");
	else
		loop_timer_set(scene->look, 10 * NS_PER_MS);
}

static void run_until(struct scene *scene, bool (*until)(struct scene *scene))
{
	scene->until = until;
	scene->looks = 0;
	loop_timer_set(scene->look, 0);
	assert_int_equal(loop_run(scene->core.loop), 0);
}

static void added(void *arg, struct target *target)
{
	(void)arg, (void)target;
	fail_msg("there is no pod");
}

/* replies NULL: nobody listens; url NULL: no API server is known. */
static void start(struct scene *scene, struct settings *settings, const struct test_reply *replies, size_t count)
{
	static const struct target_global_options global = {
		.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	struct discover_settings discovery = {.global = &global};
	struct core *core = &scene->core;
	*scene = (struct scene){.core.settings = settings};
	core->log = (struct log){.fd = memfd_create("log", MFD_CLOEXEC), .level = LOG_LEVEL_INFO, .role = "test"};
	core->clock = clock_system();
	core->sources = &scene->sources;
	assert_int_equal(loop_new(&core->loop), 0);
	assert_int_equal(loop_timer_new(core->loop, look, scene, &scene->look), 0);
	if (count > 0) {
		scene->server = test_server_start(replies, count, NULL, NULL);
		scene->api = (struct kube_api_options){.api_server = test_server_url(scene->server, ""),
			.timeout_ns = 5 * NS_PER_SEC,
			.max_list_bytes = 1 << 20,
			.watch_list = KUBE_WATCH_LIST_OFF};
		assert_int_equal(kube_api_new(core->loop, &scene->api, core->clock, &scene->sources.api, NULL), 0);
	}
	struct discover_events events = {.added = added, .removed = added, .arg = scene};
	assert_int_equal(discover_new(events, &core->discover), 0);
	assert_int_equal(discover_configure(core->discover, &discovery, NULL), 0);
	assert_int_equal(monitors_start(core, NULL), 0);
}

static void finish(struct scene *scene)
{
	struct core *core = &scene->core;
	monitors_free(core->monitors);
	kube_api_free(scene->sources.api);
	discover_free(core->discover);
	settings_free(core->settings);
	loop_timer_free(scene->look);
	loop_free(core->loop);
	close(core->log.fd);
	if (scene->server)
		test_server_stop(scene->server);
}

static void assert_logged(const struct scene *scene, const char *text, size_t times)
{
	char bytes[16384];
	ssize_t len = pread(scene->core.log.fd, bytes, sizeof(bytes) - 1, 0);
	size_t count = 0;
	assert_true(len >= 0);
	bytes[len] = '\0';
	for (const char *at = bytes; (at = strstr(at, text)); at++)
		count++;
	if (count != times)
		fail_msg("%zu times, not %zu: %s\n%s", count, times, text, bytes);
}

static bool is_ready(const struct scene *scene)
{
	struct buf why;
	buf_init(&why, 1000);
	bool ready = monitors_ready(scene->core.monitors, &why);
	assert_int_equal(ready, why.len == 0);
	buf_done(&why);
	return ready;
}

static bool is_told(struct scene *scene)
{
	return scene->core.monitors->complete;
}

static bool is_failed(struct scene *scene)
{
	return scene->core.monitors->lists[MONITOR_POD_MONITORS]->failed;
}

static bool has_one(struct scene *scene)
{
	return discover_monitor_set(scene->core.discover)->entry_count == 1;
}

static const struct test_reply two_and_silence[] = {{.bytes = TWO, .then = TEST_CLOSE}, {.bytes = NOTHING}};

static void a_set_is_told_when_the_list_is_complete(void **state)
{
	(void)state;
	struct scene scene;
	start(&scene, settings_new(NULL), two_and_silence, 2);
	assert_false(is_ready(&scene));
	assert_null(discover_monitor_set(scene.core.discover));
	run_until(&scene, is_told);
	assert_true(is_ready(&scene));
	const struct monitor_set *set = discover_monitor_set(scene.core.discover);
	assert_int_equal(set->selected[MONITOR_POD_MONITOR], 2);
	assert_true(span_starts_with(
		test_server_request(scene.server, 0), SPAN("GET /apis/monitoring.coreos.com/v1/podmonitors?")));
	assert_logged(&scene, "monitors are followed: 2 of 2 PodMonitors, 0 Services known", 1);
	finish(&scene);
}

static void none_selected_is_said_once(void **state)
{
	(void)state;
	struct scene scene;
	start(&scene, settings_new("b"), two_and_silence, 2);
	run_until(&scene, is_told);
	monitors_log_set(scene.core.monitors, NULL, discover_monitor_set(scene.core.discover));
	assert_logged(&scene, "0 of 2 PodMonitors are selected by monitors.pod_monitor_selector", 1);
	finish(&scene);
}

static void a_field_that_is_not_honoured_is_said_once(void **state)
{
	(void)state;
	const struct test_reply replies[] = {
		{.bytes = LIST(MONITOR("one", "a", ",\"enableHttp2\":true,\"followRedirects\":true")),
			.then = TEST_CLOSE},
		{.bytes = NOTHING}};
	struct scene scene;
	start(&scene, settings_new(NULL), replies, 2);
	run_until(&scene, is_told);
	const struct monitor_set *set = discover_monitor_set(scene.core.discover);
	size_t findings = set->entries[0].monitor->finding_count;
	assert_true(findings > 0);
	assert_logged(&scene, "PodMonitor shop/one: spec.podMetricsEndpoints[0].", findings);
	monitors_log_set(scene.core.monitors, set, set);
	assert_logged(&scene, "PodMonitor shop/one: spec.podMetricsEndpoints[0].", findings);
	finish(&scene);
}

static void a_refused_list_holds_nothing_up(void **state)
{
	(void)state;
	const struct test_reply replies[] = {
		{.bytes = HEAD("403 Forbidden") "Connection: "
						"close\r\n\r\n{\"kind\":\"Status\",\"message\":\"no\",\"code\":403}",
			.then = TEST_CLOSE}};
	struct scene scene;
	start(&scene, settings_new(NULL), replies, 1);
	run_until(&scene, is_told);
	assert_true(is_ready(&scene));
	assert_int_equal(discover_monitor_set(scene.core.discover)->entry_count, 0);
	assert_logged(&scene, "podmonitors: list podmonitors: 403", 1);
	finish(&scene);
}

static void an_api_server_that_is_away_keeps_nobody_unready(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = NULL, .then = TEST_CLOSE}};
	struct scene scene;
	start(&scene, settings_new(NULL), replies, 1);
	assert_false(is_ready(&scene));
	run_until(&scene, is_failed);
	assert_true(is_ready(&scene));
	assert_null(discover_monitor_set(scene.core.discover));
	finish(&scene);
}

static void the_same_monitors_go_on_through_a_reload(void **state)
{
	(void)state;
	struct scene scene;
	start(&scene, settings_new("a"), two_and_silence, 2);
	run_until(&scene, is_told);
	struct monitor_set *set = discover_monitor_set(scene.core.discover);
	struct monitors_list *list = scene.core.monitors->lists[MONITOR_POD_MONITORS];
	settings_free(scene.core.settings);
	scene.core.settings = settings_new("a");
	monitors_configured(&scene.core);
	assert_ptr_equal(scene.core.monitors->lists[MONITOR_POD_MONITORS], list);
	assert_ptr_equal(discover_monitor_set(scene.core.discover), set);
	finish(&scene);
}

static void other_monitors_wait_until_they_are_complete(void **state)
{
	(void)state;
	const struct test_reply replies[] = {{.bytes = TWO, .then = TEST_CLOSE}, {.bytes = NOTHING},
		{.bytes = LIST(MONITOR("three", "b", "")), .then = TEST_CLOSE}, {.bytes = NOTHING}};
	struct scene scene;
	start(&scene, settings_new("a"), replies, 4);
	run_until(&scene, is_told);
	settings_free(scene.core.settings);
	scene.core.settings = settings_new("b");
	monitors_configured(&scene.core);
	assert_false(is_told(&scene));
	assert_int_equal(discover_monitor_set(scene.core.discover)->selected[MONITOR_POD_MONITOR], 2);
	run_until(&scene, has_one);
	assert_int_equal(discover_monitor_set(scene.core.discover)->selected[MONITOR_POD_MONITOR], 1);
	finish(&scene);
}

static void monitors_that_are_switched_off_are_gone(void **state)
{
	(void)state;
	struct scene scene;
	start(&scene, settings_new("a"), two_and_silence, 2);
	run_until(&scene, is_told);
	settings_free(scene.core.settings);
	scene.core.settings = settings_new("a");
	scene.core.settings->monitors.enabled = false;
	scene.core.settings->monitors.pod_monitors_given = false;
	monitors_configured(&scene.core);
	assert_null(discover_monitor_set(scene.core.discover));
	assert_true(is_ready(&scene));
	finish(&scene);
}

static void without_an_api_server_one_line_says_so(void **state)
{
	(void)state;
	struct scene scene;
	struct buf json;
	start(&scene, settings_new(NULL), NULL, 0);
	assert_true(is_ready(&scene));
	assert_logged(&scene, "monitors are not followed: no API server is known", 1);
	buf_init(&json, 65536);
	monitors_json(&scene.core, &json);
	assert_true(span_starts_with(buf_view(&json), SPAN("{\"status\":\"success\",\"data\":{\"followed\":false,"
							   "\"complete\":false,\"reason\":\"no API server")));
	buf_done(&json);
	finish(&scene);
}

static int start_and_free(void *arg)
{
	struct scene *scene = arg;
	int result = monitors_start(&scene->core, NULL);
	monitors_free(scene->core.monitors);
	scene->core.monitors = NULL;
	return result;
}

static void no_memory_is_reported_and_nothing_leaks(void **state)
{
	(void)state;
	struct scene scene;
	start(&scene, settings_new("a"), two_and_silence, 2);
	monitors_free(scene.core.monitors);
	scene.core.monitors = NULL;
	test_out_of_memory(start_and_free, &scene);
	finish(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_is_told_when_the_list_is_complete),
		cmocka_unit_test(none_selected_is_said_once),
		cmocka_unit_test(a_field_that_is_not_honoured_is_said_once),
		cmocka_unit_test(a_refused_list_holds_nothing_up),
		cmocka_unit_test(an_api_server_that_is_away_keeps_nobody_unready),
		cmocka_unit_test(the_same_monitors_go_on_through_a_reload),
		cmocka_unit_test(other_monitors_wait_until_they_are_complete),
		cmocka_unit_test(monitors_that_are_switched_off_are_gone),
		cmocka_unit_test(without_an_api_server_one_line_says_so),
		cmocka_unit_test(no_memory_is_reported_and_nothing_leaks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
