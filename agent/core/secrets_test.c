/* A PodMonitor with basicAuth, from the API server's answer to the header of the scrape: the pieces as core puts them together. */
#include "internal.h"
#include "server.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>

#define MONITOR                                                                                                        \
	"{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"m-1\"},\"spec\":{\"selector\":{"             \
	"\"matchLabels\":{\"app\":\"web\"}},\"podMetricsEndpoints\":[{\"port\":\"metrics\",\"basicAuth\":{"            \
	"\"username\":{\"name\":\"login\",\"key\":\"user\"},\"password\":{\"name\":\"login\",\"key\":\"password\"}}}]" \
	"}}"
#define PODS                                                                                                           \
	"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"items\":[{\"metadata\":{\"name\":\"web-1\",\"namespace\":"      \
	"\"shop\","                                                                                                    \
	"\"uid\":\"p-1\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"nodeName\":\"node-a\",\"containers\":[{\"name\":"   \
	"\"app\",\"ports\":[{\"name\":\"metrics\",\"containerPort\":9100}]}]},\"status\":{\"phase\":\"Running\","      \
	"\"podIP\":\"10.244.0.5\",\"podIPs\":[{\"ip\":\"10.244.0.5\"}]}}]}"
#define ANSWER(status, body)                                                                                           \
	{                                                                                                              \
		.bytes = "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body,    \
		.then = TEST_CLOSE                                                                                     \
	}
#define SECRET(password)                                                                                               \
	"{\"kind\":\"Secret\",\"metadata\":{\"name\":\"login\",\"resourceVersion\":\"1\"},\"data\":{\"user\":"         \
	"\"YWRtaW4="                                                                                                   \
	"\",\"password\":\"" password "\"}}"

struct scene {
	struct core core;
	struct settings settings;
	struct sources sources;
	struct kube_api_options api;
	struct monitor_options monitors;
	struct monitor_store *store;
	struct test_server *server;
	struct loop_timer *impatience;
	const char *namespace_;
	struct target *target; /* NULL: none */
	char refused[512];
	size_t added, told;
};

static void added(void *arg, struct target *target)
{
	struct scene *scene = arg;
	scene->target = target;
	scene->added++;
	scene->told++;
	loop_stop(scene->core.loop);
}

static void removed(void *arg, struct target *target)
{
	struct scene *scene = arg;
	assert_ptr_equal(scene->target, target);
	scene->target = NULL;
}

static void refused(void *arg, struct labels discovered, const struct error *err)
{
	struct scene *scene = arg;
	(void)discovered;
	snprintf(scene->refused, sizeof(scene->refused), "%s", err->text);
	scene->told++;
	loop_stop(scene->core.loop);
}

static void impatient(void *arg)
{
	(void)arg;
	fail_msg("nothing came for 10 s");
}

static void tell_monitor(struct scene *scene)
{
	struct arena arena;
	const struct json *object;
	struct monitor_set *set;
	arena_init(&arena, 1 << 20);
	assert_int_equal(json_parse(&arena, span_str(MONITOR), &object, NULL), 0);
	assert_int_equal(monitor_store_new(&scene->monitors, &scene->store), 0);
	assert_int_equal(monitor_store_put(scene->store, MONITOR_POD_MONITORS, object, NULL), 1);
	assert_int_equal(monitor_store_build(scene->store, &set), 0);
	assert_int_equal(discover_monitors(scene->core.discover, set), 0);
	monitor_set_unref(set);
	arena_done(&arena);
}

static void tell_pod(struct scene *scene)
{
	struct kube_pods_parser *parser;
	struct kube_pods *pods;
	assert_int_equal(kube_pods_parser_new(1 << 20, &parser), 0);
	assert_int_equal(kube_pods_parser_feed(parser, span_str(PODS), NULL), 0);
	assert_int_equal(kube_pods_parser_end(parser, &pods, NULL), 0);
	assert_int_equal(discover_pods(scene->core.discover, pods), 0);
	kube_pods_unref(pods);
	kube_pods_parser_free(parser);
}

static void start(struct scene *scene, const char *namespace_, const struct test_reply *replies, size_t count)
{
	static const struct target_global_options global = {
		.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	struct discover_settings discovery = {.global = &global, .node_name = SPAN("node-a")};
	struct core *core = &scene->core;
	*scene = (struct scene){.namespace_ = namespace_};
	scene->server = test_server_start(replies, count, NULL, NULL);
	scene->monitors = (struct monitor_options){
		.enabled = true, .pod_monitors_given = true, .scrape_interval_ns = 30 * NS_PER_SEC};
	core->log = (struct log){.fd = -1, .level = LOG_LEVEL_ERROR, .role = "test"};
	core->clock = clock_system();
	core->settings = &scene->settings;
	scene->settings.monitors.secret_namespaces = (struct option_strings){&scene->namespace_, 1};
	core->sources = &scene->sources;
	map_init(&core->jobs, 10);
	assert_int_equal(loop_new(&core->loop), 0);
	assert_int_equal(loop_timer_new(core->loop, impatient, scene, &scene->impatience), 0);
	scene->api = (struct kube_api_options){.api_server = test_server_url(scene->server, ""),
		.timeout_ns = 5 * NS_PER_SEC,
		.max_list_bytes = 1 << 20};
	assert_int_equal(kube_api_new(core->loop, &scene->api, core->clock, &scene->sources.api, NULL), 0);
	struct discover_events events = {.added = added, .removed = removed, .refused = refused, .arg = scene};
	assert_int_equal(discover_new(events, &core->discover), 0);
	assert_int_equal(discover_configure(core->discover, &discovery, NULL), 0);
	assert_int_equal(secrets_start(core), 0);
	tell_monitor(scene);
	tell_pod(scene);
}

static void finish(struct scene *scene)
{
	secrets_free(scene->core.secrets);
	kube_api_free(scene->sources.api);
	discover_free(scene->core.discover);
	monitor_store_free(scene->store);
	map_done(&scene->core.jobs);
	loop_timer_free(scene->impatience);
	loop_free(scene->core.loop);
	test_server_stop(scene->server);
}

static void run_until_told(struct scene *scene)
{
	size_t before = scene->told;
	loop_timer_set(scene->impatience, 10 * NS_PER_SEC);
	while (scene->told == before) /* a stop from before the run counts, too */
		assert_int_equal(loop_run(scene->core.loop), 0);
}

static void a_target_appears_once_its_secret_is_read(void **state)
{
	(void)state;
	const struct test_reply replies[] = {ANSWER("200 OK", SECRET("aHVudGVyMg=="))};
	struct scene scene;
	start(&scene, "shop", replies, 1);
	assert_null(scene.target);
	assert_non_null(strstr(scene.refused, "Secret shop/login: not read yet"));
	run_until_told(&scene);
	if (!scene.target)
		fail_msg("%s", scene.refused);
	test_assert_text(scene.target->job->credentials->authorization, "Basic YWRtaW46aHVudGVyMg==");
	struct span request = test_server_request(scene.server, 0);
	assert_true(span_starts_with(request, SPAN("GET /api/v1/namespaces/shop/secrets/login HTTP/1.1\r\n")));
	finish(&scene);
}

static void a_namespace_that_is_not_listed_is_not_asked(void **state)
{
	(void)state;
	const struct test_reply replies[] = {ANSWER("200 OK", SECRET("aHVudGVyMg=="))};
	struct scene scene;
	start(&scene, "other", replies, 1);
	assert_null(scene.target);
	assert_non_null(strstr(scene.refused, "monitors.secret_namespaces does not list shop"));
	assert_int_equal(test_server_requests(scene.server), 0);
	finish(&scene);
}

static void what_the_server_says_is_why_nothing_is_scraped(void **state)
{
	(void)state;
	const struct test_reply replies[] = {ANSWER("403 Forbidden",
		"{\"kind\":\"Status\",\"message\":\"secrets \\\"login\\\" is forbidden\",\"code\":403}")};
	struct scene scene;
	start(&scene, "shop", replies, 1);
	scene.refused[0] = '\0';
	run_until_told(&scene);
	assert_null(scene.target);
	assert_non_null(strstr(scene.refused, "is forbidden"));
	finish(&scene);
}

static bool is_rotated(const struct scene *scene)
{
	return span_eq(scene->target->job->credentials->authorization, SPAN("Basic YWRtaW46bmV3"));
}

static void stop_when_rotated(void *arg)
{
	struct scene *scene = arg;
	if (is_rotated(scene))
		loop_stop(scene->core.loop);
	else
		loop_timer_set(scene->impatience, 10 * NS_PER_MS);
}

/* The namespace goes and comes: the quickest way to another reading. */
static void another_password_moves_no_target(void **state)
{
	(void)state;
	const struct test_reply replies[] = {
		ANSWER("200 OK", SECRET("aHVudGVyMg==")), ANSWER("200 OK", SECRET("bmV3"))};
	struct scene scene;
	struct loop_timer *poll;
	start(&scene, "shop", replies, 2);
	run_until_told(&scene);
	struct target *target = scene.target;
	/* What discovery has of the old value stays until it is told, which is 100 ms after the first of both changes. */
	scene.namespace_ = "other";
	secrets_configured(&scene.core);
	scene.namespace_ = "shop";
	secrets_configured(&scene.core);
	const struct credentials_reference wanted[] = {
		{false, "shop", "login", "user"}, {false, "shop", "login", "password"}};
	struct span value;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(credentials_get(scene.core.secrets->credentials, &wanted[i], &value, NULL), 0);
	loop_timer_free(scene.impatience);
	assert_int_equal(loop_timer_new(scene.core.loop, stop_when_rotated, &scene, &poll), 0);
	scene.impatience = poll;
	loop_timer_set(poll, 10 * NS_PER_MS);
	while (!is_rotated(&scene))
		assert_int_equal(loop_run(scene.core.loop), 0);
	assert_ptr_equal(scene.target, target);
	assert_int_equal(scene.added, 1);
	finish(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_target_appears_once_its_secret_is_read),
		cmocka_unit_test(a_namespace_that_is_not_listed_is_not_asked),
		cmocka_unit_test(what_the_server_says_is_why_nothing_is_scraped),
		cmocka_unit_test(another_password_moves_no_target),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
