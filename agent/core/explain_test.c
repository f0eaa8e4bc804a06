/* explain: the ten usual questions, by name: why is it not scraped? Objects are JSON with ' for ". */
#include "explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"
#include "test.h"

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
static const struct discover_annotation_options annotations = {.enabled = true,
	.job_name = "kubernetes-pods",
	.prefix = "prometheus.io",
	.min_interval_ns = NS_PER_SEC,
	.max_interval_ns = 3600 * NS_PER_SEC,
	.max_targets_per_pod = 1};

struct scene {
	struct core core;
	struct worker worker;
	struct settings settings;
	struct test_clock clock;
	struct monitor_options options;
	struct monitor_store *store;
	struct target_job_options job; /* name NULL: none */
	struct kube_pod pod, other;
	bool other_too;
	struct buf out;
};

/* ---- scene: shop/web-1, behind Service shop/web, and the monitors of the test ------------------------- */

static const struct kube_port ports[] = {
	{.name = {"http", 4}, .protocol = {"TCP", 3}, .number = 8080},
	{.name = {"metrics", 7}, .protocol = {"TCP", 3}, .number = 9090},
};
static const struct kube_container containers[] = {
	{.name = {"app", 3}, .image = {"app:1", 5}, .running = true, .ports = ports, .port_count = 2}};
static const struct label web_labels[] = {{SPAN("app"), SPAN("web")}};
static const struct label api_labels[] = {{SPAN("app"), SPAN("api")}};

static struct kube_pod pod_named(const char *name, const char *ip, struct labels labels)
{
	return (struct kube_pod){.uid = span_str(name),
		.namespace_ = SPAN("shop"),
		.name = span_str(name),
		.node_name = SPAN("node-a"),
		.host_ip = SPAN("192.168.77.2"),
		.pod_ip = span_str(ip),
		.phase = SPAN("Running"),
		.ready = SPAN("true"),
		.labels = labels,
		.containers = containers,
		.container_count = 1,
		.hash = 1};
}

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	scene->worker.core = &scene->core;
	scene->settings.kubelet.node_name = "node-a";
	scene->core = (struct core){.clock = test_clock(&scene->clock),
		.log = {.fd = -1},
		.settings = &scene->settings,
		.workers = &scene->worker,
		.worker_count = 1};
	scene->options = (struct monitor_options){.enabled = true,
		.service_monitors_given = true,
		.pod_monitors_given = true,
		.scrape_configs_given = true,
		.scrape_interval_ns = 30 * NS_PER_SEC};
	scene->pod = pod_named("web-1", "10.85.0.5", (struct labels){web_labels, 1});
	scene->other = pod_named("api-1", "10.85.0.6", (struct labels){api_labels, 1});
	buf_init(&scene->out, 4 << 20);
	assert_int_equal(targets_init(&scene->core), 0);
	*state = scene;
	return 0;
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	targets_done(&scene->core);
	monitor_store_free(scene->store);
	buf_done(&scene->out);
	free(scene);
	return 0;
}

static void put(struct scene *scene, enum monitor_resource resource, const char *text)
{
	struct arena arena;
	const struct json *json = NULL;
	struct error err = {{0}};
	if (!scene->store)
		assert_int_equal(monitor_store_new(&scene->options, &scene->store), 0);
	arena_init(&arena, 1 << 20);
	char *copy = arena_strdup(&arena, text);
	for (char *at = copy; *at; at++)
		*at = *at == '\'' ? '"' : *at;
	assert_int_equal(json_parse(&arena, span_str(copy), &json, &err), 0);
	assert_true(monitor_store_put(scene->store, resource, json, &err) >= 0);
	arena_done(&arena);
}

static void put_service(struct scene *scene, const char *app, const char *selected)
{
	char text[1024];
	snprintf(text, sizeof(text),
		"{'metadata':{'name':'web','namespace':'shop','labels':{'app':'%s'}},'spec':{'selector':{'app':'%s'},"
		"'ports':[{'name':'web','port':80,'targetPort':'http'}]}}",
		app, selected);
	put(scene, MONITOR_SERVICES, text);
}

static void put_monitor(struct scene *scene, enum monitor_resource kind, const char *spec)
{
	char text[2048];
	snprintf(text, sizeof(text), "{'metadata':{'name':'m','namespace':'shop','labels':{'team':'a'}},'spec':%s}",
		spec);
	put(scene, kind, text);
}

#define SELECTS_WEB "'selector':{'matchLabels':{'app':'web'}}"

/* All that the test put becomes what is in force. */
static void begin(struct scene *scene)
{
	struct discover_settings settings = {.global = &global,
		.jobs = &scene->job,
		.job_count = scene->job.job_name != NULL,
		.annotations = &annotations,
		.node_name = SPAN("node-a")};
	struct error err = {{0}};
	struct monitor_set *set = NULL;
	scene->settings.jobs = &scene->job;
	scene->settings.job_count = settings.job_count;
	if (discover_configure(scene->core.discover, &settings, &err) < 0)
		fail_msg("%s", err.text);
	if (scene->store) {
		assert_int_equal(monitor_store_build(scene->store, &set), 0);
		assert_int_equal(discover_monitors(scene->core.discover, set), 0);
		monitor_set_unref(set);
	}
	struct kube_pods *pods = calloc(1, sizeof(*pods));
	arena_init(&pods->arena, 1 << 20);
	struct kube_pod *items = arena_alloc(&pods->arena, 2 * sizeof(*items));
	size_t count = 0;
	if (scene->other_too)
		items[count++] = scene->other;
	items[count++] = scene->pod;
	*pods = (struct kube_pods){.refs = 1, .arena = pods->arena, .items = items, .count = count};
	assert_int_equal(discover_pods(scene->core.discover, pods), 0);
	kube_pods_unref(pods);
}

/* ---- reading answers ------------------------------------------------------------------------------------- */

static unsigned ask(struct scene *scene, const char *kind, const char *name, bool json)
{
	struct explain_subject subject = {0};
	if (strcmp(kind, "pod") == 0)
		subject.pod = span_str(name);
	else if (strcmp(kind, "monitor") == 0)
		subject.monitor = span_str(name);
	else if (strcmp(kind, "address") == 0)
		subject.address = span_str(name);
	buf_reset(&scene->out);
	unsigned code = explain_render(&scene->core, &subject, json, &scene->out);
	buf_char(&scene->out, '\0');
	assert_int_equal(scene->out.failed, 0);
	return code;
}

static void assert_verdict(struct scene *scene, const char *kind, const char *name, const char *first_line)
{
	ask(scene, kind, name, false);
	char *end = strchr(scene->out.ptr, '\n');
	assert_non_null(end);
	*end = '\0';
	assert_string_equal(scene->out.ptr, first_line);
	*end = '\n';
}

static void assert_says(const struct scene *scene, const char *text)
{
	if (!strstr(scene->out.ptr, text))
		fail_msg("\"%s\" is not in\n%s", text, scene->out.ptr);
}

static struct core_target *only_target(struct scene *scene)
{
	size_t count;
	struct target *const *targets = discover_targets(scene->core.discover, &count);
	assert_int_equal(count, 1);
	return targets_find(&scene->core, targets[0]->key);
}

static void scraped(struct scene *scene, const char *reason, const char *error)
{
	struct wire_scraped scraped = {.key = only_target(scene)->target->key, .tick_ns = 1, .up = reason == NULL};
	if (reason)
		snprintf(scraped.reason, sizeof(scraped.reason), "%s", reason);
	targets_scraped(&scene->core, &scraped, span_str(error));
}

/* ---- the ten questions ---------------------------------------------------------------------------------------- */

static void question_1_no_annotation_and_no_monitor(void **state)
{
	struct scene *scene = *state;
	begin(scene);
	assert_verdict(scene, "pod", "shop/web-1",
		"Pod shop/web-1: not scraped: nothing selects it (no annotation, no monitor, no scrape_config)");
	assert_says(scene,
		"annotations (job kubernetes-pods): does not select it: it has no annotation prometheus.io/scrape\n"
		"  Next: annotate the pod template");
	assert_says(scene, "ports: http 8080/TCP of app, metrics 9090/TCP of app\n");
}

static void question_2_annotation_is_wrong(void **state)
{
	struct scene *scene = *state;
	struct label wrong[] = {{SPAN("prometheus.io/scrape"), SPAN("yes")}};
	struct label bad_port[] = {
		{SPAN("prometheus.io/port"), SPAN("nine")}, {SPAN("prometheus.io/scrape"), SPAN("true")}};
	scene->pod.annotations = (struct labels){wrong, 1};
	begin(scene);
	assert_verdict(scene, "pod", "shop/web-1",
		"Pod shop/web-1: not scraped: its annotation prometheus.io/scrape is \"yes\", not \"true\"");
	scene->pod.annotations = (struct labels){bad_port, 2};
	scene->pod.hash = 2;
	begin(scene);
	assert_verdict(scene, "pod", "shop/web-1",
		"Pod shop/web-1: not scraped: annotation prometheus.io/port: \"nine\" is not the name of a TCP port of "
		"the pod");
}

static void question_3_monitor_matches_no_service(void **state)
{
	struct scene *scene = *state;
	put_service(scene, "shop-web", "web");
	put_monitor(scene, MONITOR_SERVICE_MONITORS, "{" SELECTS_WEB ",'endpoints':[{'port':'web'}]}");
	begin(scene);
	assert_verdict(
		scene, "monitor", "shop/m", "ServiceMonitor shop/m: not scraped: its selector matches no Service");
	assert_says(scene, "Services: 0 of 1 known are selected\n"
			   "  not shop/web: label app is \"shop-web\"; it must be \"web\"\n");
	ask(scene, "pod", "shop/web-1", false);
	assert_says(scene, "it does not select Service web, which selects the pod: label app is \"shop-web\"; it must "
			   "be \"web\"");
}

static void question_4_service_selects_no_pod_of_this_node(void **state)
{
	struct scene *scene = *state;
	put_service(scene, "web", "shop");
	put_monitor(scene, MONITOR_SERVICE_MONITORS, "{" SELECTS_WEB ",'endpoints':[{'port':'web'}]}");
	begin(scene);
	assert_verdict(scene, "monitor", "shop/m",
		"ServiceMonitor shop/m: nothing to scrape here: no pod of this node is behind the Services it "
		"selects");
	assert_says(scene, "shop/web: 0 pods of this node behind it; ports: web 80\n");
	assert_says(scene, "web-1: Service web, which it selects, does not select the pod: label app is \"web\"; it "
			   "must be \"shop\"\n");
	assert_int_equal(ask(scene, "pod", "shop/elsewhere", false), 404);
	assert_says(scene, "Pod shop/elsewhere: not known on this node\n");
	assert_says(scene, "kubectl get pod -o wide");
}

static void question_5_endpoint_names_a_port_that_the_service_does_not_have(void **state)
{
	struct scene *scene = *state;
	put_service(scene, "web", "web");
	put_monitor(scene, MONITOR_SERVICE_MONITORS, "{" SELECTS_WEB ",'endpoints':[{'port':'prom'}]}");
	begin(scene);
	ask(scene, "monitor", "shop/m", false);
	assert_says(scene, "ports: web 80\n");
	assert_says(scene, "=~ \"prom\"; there: ");
	assert_says(scene, "port_name=\"web\"");
	assert_says(scene, "  Next: name one of the ports that are there");
	ask(scene, "pod", "shop/web-1", false);
	assert_says(scene, "ServiceMonitor shop/m, endpoint 0 (job serviceMonitor/shop/m/0): not scraped: relabel "
			   "rule");
}

static void question_6_relabel_rule_drops_it(void **state)
{
	struct scene *scene = *state;
	const char *sources[] = {"__meta_kubernetes_pod_label_app", "zone"};
	const char *node[] = {"__meta_kubernetes_pod_node_name"};
	struct relabel_rule rules[] = {{.source_labels = {node, 1}, .target_label = "zone", .action = RELABEL_REPLACE},
		{.source_labels = {sources, 2}, .regex = "api;.*", .action = RELABEL_KEEP}};
	struct target_kubernetes_sd sd = {.role = "pod"};
	scene->job = (struct target_job_options){.job_name = "pods",
		.metrics_path = "/metrics",
		.scheme = "http",
		.relabel_configs = {rules, 2},
		.kubernetes_sd_configs = {&sd, 1}};
	begin(scene);
	assert_verdict(scene, "pod", "shop/web-1", "Pod shop/web-1: not scraped: relabel rule 1 drops it");
	assert_says(scene, "Dropped: 2 ports by relabel rule 1: keep [__meta_kubernetes_pod_label_app, zone] =~ "
			   "\"api;.*\"; there: __meta_kubernetes_pod_label_app=\"web\", zone=\"node-a\"\n");
	ask(scene, "address", "10.85.0.5:8080", false);
	assert_says(scene, "  Dropped: by job pods, relabel rule 1\n");
}

static void question_7_monitor_is_not_selected(void **state)
{
	struct scene *scene = *state;
	struct option_pair wanted[] = {{"team", "b"}};
	scene->options.pod_monitors.match_labels.items = wanted;
	scene->options.pod_monitors.match_labels.count = 1;
	put_monitor(scene, MONITOR_POD_MONITORS, "{" SELECTS_WEB ",'podMetricsEndpoints':[{'port':'http'}]}");
	begin(scene);
	assert_verdict(scene, "monitor", "shop/m",
		"PodMonitor shop/m: not selected: its labels do not match the configured selector");
	ask(scene, "pod", "shop/web-1", false);
	assert_says(scene,
		"PodMonitor shop/m: does not select it: it would select the pod, but is not selected itself: "
		"its labels do not match the configured selector\n");
	scene->options.pod_monitors.match_labels.count = 0;
	const char *denied[] = {"shop"};
	scene->options.deny_namespaces = (struct option_strings){denied, 1};
	monitor_store_free(scene->store);
	scene->store = NULL;
	put_monitor(scene, MONITOR_POD_MONITORS, "{" SELECTS_WEB ",'podMetricsEndpoints':[{'port':'http'}]}");
	begin(scene);
	assert_verdict(scene, "monitor", "shop/m",
		"PodMonitor shop/m: not selected: its namespace is among monitors.deny_namespaces");
}

static void question_8_target_is_down(void **state)
{
	static const char *const failures[][2] = {{"connect", "connect to 10.85.0.5 port 8080: Connection refused"},
		{"http_status", "server returned HTTP status 500 Internal Server Error"},
		{"timeout", "no answer within 10s"}, {"no_exposition", "this is \x1b[2J no exposition"}};
	struct scene *scene = *state;
	put_monitor(scene, MONITOR_POD_MONITORS, "{" SELECTS_WEB ",'podMetricsEndpoints':[{'port':'http'}]}");
	begin(scene);
	assert_verdict(scene, "pod", "shop/web-1", "Pod shop/web-1: scraped as 1 target");
	assert_says(scene, "  http://10.85.0.5:8080/metrics: not scraped yet; every 30s\n");
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		scraped(scene, failures[i][0], failures[i][1]);
		assert_verdict(scene, "pod", "shop/web-1", "Pod shop/web-1: scraped as 1 target, 1 of them down");
		assert_says(scene, i < 3 ? failures[i][1] : "this is %1B[2J no exposition");
		assert_says(scene, "  Next: ");
	}
	assert_verdict(
		scene, "address", "10.85.0.5:8080", "Address 10.85.0.5:8080: scraped as 1 target, 1 of them down");
	assert_verdict(scene, "monitor", "shop/m",
		"PodMonitor shop/m: scraped as 1 target of 1 pod of this node, 1 of them down");
	scraped(scene, NULL, "");
	assert_verdict(scene, "pod", "shop/web-1", "Pod shop/web-1: scraped as 1 target");
	only_target(scene)->not_before_ns = UINT64_MAX / 2;
	only_target(scene)->crashes = 2;
	ask(scene, "pod", "shop/web-1", false);
	assert_says(scene, "a scraper died while it parsed what the target sent, 2 times in a row\n");
}

static void question_9_a_limit_was_hit(void **state)
{
	struct scene *scene = *state;
	struct label asked[] = {
		{SPAN("prometheus.io/port"), SPAN("http,metrics")}, {SPAN("prometheus.io/scrape"), SPAN("true")}};
	put_monitor(scene, MONITOR_POD_MONITORS,
		"{" SELECTS_WEB ",'targetLimit':1,'podMetricsEndpoints':[{'port':'http'}]}");
	scene->other.labels = scene->pod.labels;
	scene->other_too = true;
	begin(scene);
	assert_verdict(scene, "pod", "shop/web-1",
		"Pod shop/web-1: not scraped: the job has 2 targets, its target_limit allows 1, so none of them is");
	scene->other_too = false;
	scene->pod.annotations = (struct labels){asked, 2};
	scene->pod.hash = 2;
	monitor_store_free(scene->store);
	scene->store = NULL;
	put_service(scene, "web", "web");
	begin(scene);
	ask(scene, "pod", "shop/web-1", false);
	assert_says(scene, "Refused: more than 1 ports; the rest is left out (annotations.max_targets_per_pod)\n");
	scraped(scene, "sample_limit", "sample limit of 10 exceeded");
	ask(scene, "pod", "shop/web-1", false);
	assert_says(scene, "Next: raise sample_limit");
	scraped(scene, "body_limit", "body size limit exceeded");
	ask(scene, "pod", "shop/web-1", false);
	assert_says(scene, "Next: raise body_size_limit");
}

static void question_10_monitor_has_a_refused_field_or_a_missing_secret(void **state)
{
	struct scene *scene = *state;
	put_monitor(scene, MONITOR_POD_MONITORS,
		"{" SELECTS_WEB ",'podMetricsEndpoints':[{'port':'http','oauth2':{'tokenUrl':'https://x'}},"
		"{'port':'http','basicAuth':{'username':{'name':'s','key':'u'},'password':{'name':'s','key':'p'}}}]}");
	begin(scene);
	ask(scene, "monitor", "shop/m", false);
	assert_says(scene, "Refused: spec.podMetricsEndpoints[0].oauth2");
	assert_says(scene, "Refused: spec.podMetricsEndpoints[1].basicAuth.username: ");
	ask(scene, "pod", "shop/web-1", false);
	assert_says(scene, "endpoint 0 (job podMonitor/shop/m/0): not scraped: the endpoint is refused");
	assert_says(scene, "endpoint 1 (job podMonitor/shop/m/1): not scraped: spec.podMetricsEndpoints[1].basicAuth");
}

/* ---- and besides ----------------------------------------------------------------------------------------------------- */

static void answers_as_json_are_json_whatever_tenants_write(void **state)
{
	struct scene *scene = *state;
	struct label hostile[] = {{SPAN("prometheus.io/scrape"), SPAN("\x1b]0;\"}\xff")}};
	scene->pod.annotations = (struct labels){hostile, 1};
	put_service(scene, "web", "web");
	put_monitor(scene, MONITOR_SERVICE_MONITORS, "{" SELECTS_WEB ",'endpoints':[{'port':'prom'},{'port':'web'}]}");
	begin(scene);
	static const char *const subjects[][2] = {{"pod", "shop/web-1"}, {"pod", "shop/\"\n"}, {"monitor", "shop/m"},
		{"monitor", "x"}, {"address", "10.85.0.5"}, {"address", "http://10.85.0.5:8080/metrics"},
		{"address", "\xff"}, {"", ""}};
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
		struct arena arena;
		const struct json *json = NULL;
		arena_init(&arena, 16 << 20);
		ask(scene, subjects[i][0], subjects[i][1], true);
		struct span text = span_str(scene->out.ptr);
		assert_int_equal(json_parse(&arena, text, &json, NULL), 0);
		assert_null(memchr(text.ptr, 0x1b, text.len));
		arena_done(&arena);
		ask(scene, subjects[i][0], subjects[i][1], false);
		for (const char *at = scene->out.ptr; *at; at++)
			assert_true(*at == '\n' || (*at >= 0x20 && *at < 0x7f));
	}
}

static void node_is_summed_up(void **state)
{
	struct scene *scene = *state;
	put_service(scene, "web", "web");
	put_monitor(scene, MONITOR_SERVICE_MONITORS, "{" SELECTS_WEB ",'endpoints':[{'port':'web'}]}");
	begin(scene);
	scraped(scene, "timeout", "no answer within 10s");
	assert_verdict(scene, "", "", "Node node-a: 1 target: 0 up, 1 down, 0 not scraped yet");
	assert_says(scene, "  ServiceMonitor: 1 of 1 selected, 0 of these rejected, 0 fields not honoured\n");
	assert_says(scene, "  serviceMonitor/shop/m/0: 1 target: 0 up, 1 down, 0 not scraped yet\n");
	assert_says(scene, "  1 scrapes failed since the start: timeout\n");
}

static void answer_without_memory_fails(void **state)
{
	struct scene *scene = *state;
	struct buf small;
	struct explain_subject subject = {.pod = SPAN("shop/web-1")};
	begin(scene);
	buf_init(&small, 10);
	explain_render(&scene->core, &subject, false, &small);
	assert_int_equal(small.failed, -EMSGSIZE);
	buf_done(&small);
}

static int render_all(void *arg)
{
	static const struct explain_subject subjects[] = {{.pod = {"shop/web-1", 10}}, {.monitor = {"shop/m", 6}},
		{.address = {"10.85.0.5", 9}}, {.address = {"10.9.9.9", 8}}, {{0}, {0}, {0}}};
	struct scene *scene = arg;
	int result = 0;
	for (size_t i = 0; result == 0 && i < ARRAY_SIZE(subjects); i++) {
		struct buf out;
		buf_init(&out, 4 << 20);
		explain_render(&scene->core, &subjects[i], i % 2 == 0, &out);
		result = out.failed;
		buf_done(&out);
	}
	return result;
}

static void out_of_memory(void **state)
{
	struct scene *scene = *state;
	put_service(scene, "web", "web");
	put_monitor(scene, MONITOR_SERVICE_MONITORS, "{" SELECTS_WEB ",'endpoints':[{'port':'prom'},{'port':'web'}]}");
	begin(scene);
	test_out_of_memory(render_all, scene);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(question_1_no_annotation_and_no_monitor),
		TEST(question_2_annotation_is_wrong),
		TEST(question_3_monitor_matches_no_service),
		TEST(question_4_service_selects_no_pod_of_this_node),
		TEST(question_5_endpoint_names_a_port_that_the_service_does_not_have),
		TEST(question_6_relabel_rule_drops_it),
		TEST(question_7_monitor_is_not_selected),
		TEST(question_8_target_is_down),
		TEST(question_9_a_limit_was_hit),
		TEST(question_10_monitor_has_a_refused_field_or_a_missing_secret),
		TEST(answers_as_json_are_json_whatever_tenants_write),
		TEST(node_is_summed_up),
		TEST(answer_without_memory_fails),
		TEST(out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
