/* Undeclared ports: which may be asked, and what target they make. */
#include "pods_for_test.h"

#include <errno.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
static const char *shop_namespace[] = {"shop"};

struct scene {
	struct discover *discover;
	struct discover_listen_options listen;
	size_t events;
};

static void happened(void *arg, struct target *target)
{
	struct scene *scene = arg;
	(void)target;
	scene->events++;
}

static int setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	scene->listen = (struct discover_listen_options){
		.enabled = true, .job_name = "listen", .metrics_path = "/metrics", .max_ports_per_pod = 2};
	struct discover_events events = {.added = happened, .removed = happened, .arg = scene};
	assert_int_equal(discover_new(events, &scene->discover), 0);
	*state = scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;
	discover_free(scene->discover);
	free(scene);
	return 0;
}

static void must_configure(struct scene *scene, const struct target_job_options *jobs, size_t count)
{
	struct error err = {{0}};
	struct discover_settings settings = {.global = &global,
		.jobs = jobs,
		.job_count = count,
		.listen = &scene->listen,
		.node_name = SPAN("node-a")};
	if (discover_configure(scene->discover, &settings, &err) < 0)
		fail_msg("%s", err.text);
}

static void tell_pod(struct scene *scene, struct kube_pod pod)
{
	struct kube_pods *list = pods_for_test(&pod, 1);
	assert_int_equal(discover_pods(scene->discover, list), 0);
	kube_pods_unref(list);
}

static bool wants(const struct scene *scene, uint16_t port)
{
	return discover_wants_port(scene->discover, SPAN("uid-web"), port);
}

static size_t target_count(const struct scene *scene)
{
	size_t count = 0;
	discover_targets(scene->discover, &count);
	return count;
}

static const struct discover_port three_ports[] = {
	{.pod_uid = "uid-web", .port = 7777, .container_id = "side"},
	{.pod_uid = "uid-web", .port = 8888},
	{.pod_uid = "uid-web", .port = 9999},
};

static void only_undeclared_ports_of_running_pods_are_wanted(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pod = web_pod();
	must_configure(scene, NULL, 0);
	assert_false(wants(scene, 7777)); /* no pod yet */
	tell_pod(scene, pod);
	assert_true(wants(scene, 7777));
	assert_true(wants(scene, 5353)); /* declared for UDP only */
	assert_true(wants(scene, 7000)); /* of an init container, which has ended */
	assert_false(wants(scene, 8081));
	assert_false(wants(scene, 9102)); /* of a sidecar */
	assert_false(wants(scene, 0));
	assert_false(discover_wants_port(scene->discover, SPAN("uid-other"), 7777));
	pod.phase = SPAN("Pending");
	pod.hash++;
	tell_pod(scene, pod);
	assert_false(wants(scene, 7777));
}

static void namespace_annotation_and_network_decide(void **state)
{
	static const struct label declines[] = {{SPAN("prometheus.io/scrape"), SPAN("false")}};
	struct scene *scene = *state;
	struct kube_pod pod = web_pod();
	scene->listen.namespaces = (struct option_strings){shop_namespace, 1};
	must_configure(scene, NULL, 0);
	tell_pod(scene, pod);
	assert_true(wants(scene, 7777));
	pod.namespace_ = SPAN("other");
	pod.hash++;
	tell_pod(scene, pod);
	assert_false(wants(scene, 7777));
	pod = web_pod();
	pod.annotations = (struct labels)LABELS(declines);
	pod.hash += 2;
	tell_pod(scene, pod);
	assert_false(wants(scene, 7777));
	pod = web_pod();
	pod.host_network = true;
	pod.hash += 3;
	tell_pod(scene, pod);
	assert_false(wants(scene, 7777));
	scene->listen.host_network = true;
	must_configure(scene, NULL, 0);
	assert_true(wants(scene, 7777));
	assert_false(wants(scene, 10250));
}

static void a_port_of_another_jobs_target_is_not_wanted(void **state)
{
	static const struct label asks[] = {
		{SPAN("prometheus.io/port"), SPAN("7777")}, {SPAN("prometheus.io/scrape"), SPAN("true")}};
	struct scene *scene = *state;
	struct kube_pod pod = web_pod();
	struct error err = {{0}};
	struct discover_annotation_options annotations = {.enabled = true,
		.job_name = "pods",
		.prefix = "prometheus.io",
		.min_interval_ns = NS_PER_SEC,
		.max_interval_ns = NS_PER_SEC,
		.max_targets_per_pod = 4};
	struct discover_settings settings = {
		.global = &global, .annotations = &annotations, .listen = &scene->listen, .node_name = SPAN("node-a")};
	assert_int_equal(discover_configure(scene->discover, &settings, &err), 0);
	pod.annotations = (struct labels)LABELS(asks);
	tell_pod(scene, pod);
	assert_int_equal(target_count(scene), 1);
	assert_false(wants(scene, 7777));
	assert_true(wants(scene, 7778));
}

static void an_open_port_becomes_a_target_of_its_pod(void **state)
{
	struct scene *scene = *state;
	must_configure(scene, NULL, 0);
	tell_pod(scene, web_pod());
	assert_int_equal(discover_ports(scene->discover, three_ports, 1), 0);
	assert_int_equal(target_count(scene), 1);
	size_t count;
	const struct target *target = discover_targets(scene->discover, &count)[0];
	test_assert_text(target->url, "http://10.85.0.5:7777/metrics");
	test_assert_text(labels_get(target->labels, SPAN("job")), "listen");
	test_assert_text(labels_get(target->labels, SPAN("namespace")), "shop");
	test_assert_text(labels_get(target->labels, SPAN("pod")), "web-1");
	test_assert_text(labels_get(target->labels, SPAN("container")), "side");
	test_assert_text(target->pod_uid, "uid-web");
	assert_true(wants(scene, 7777)); /* it is not in its own way */

	size_t before = scene->events;
	assert_int_equal(discover_ports(scene->discover, three_ports, 1), 0);
	assert_int_equal(scene->events, before);
	assert_int_equal(discover_ports(scene->discover, NULL, 0), 0);
	assert_int_equal(target_count(scene), 0);
}

static void ports_beyond_the_limit_and_declared_ones_are_left_out(void **state)
{
	static const struct discover_port declared[] = {{.pod_uid = "uid-web", .port = 8081}};
	struct scene *scene = *state;
	must_configure(scene, NULL, 0);
	tell_pod(scene, web_pod());
	assert_int_equal(discover_ports(scene->discover, three_ports, 3), 0);
	assert_int_equal(target_count(scene), 2);
	assert_int_equal(discover_ports(scene->discover, declared, 1), 0);
	assert_int_equal(target_count(scene), 0);
}

static void a_configured_job_of_the_same_name_is_refused(void **state)
{
	struct scene *scene = *state;
	struct target_job_options job = {.job_name = "listen"};
	struct error err = {{0}};
	struct discover_settings settings = {.global = &global, .jobs = &job, .job_count = 1, .listen = &scene->listen};
	assert_int_equal(discover_configure(scene->discover, &settings, &err), -EINVAL);
	assert_string_equal(err.text, "discovery.listen.job_name: a scrape_config is called \"listen\", too");
}

static int tell_ports(void *arg)
{
	struct scene *scene = arg;
	int result = discover_ports(scene->discover, three_ports, 3);
	if (result < 0)
		assert_int_equal(target_count(scene), 0);
	return result;
}

static void without_memory_the_old_ports_stay(void **state)
{
	struct scene *scene = *state;
	must_configure(scene, NULL, 0);
	tell_pod(scene, web_pod());
	test_out_of_memory(tell_ports, scene);
	assert_int_equal(target_count(scene), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_undeclared_ports_of_running_pods_are_wanted),
		TEST(namespace_annotation_and_network_decide),
		TEST(a_port_of_another_jobs_target_is_not_wanted),
		TEST(an_open_port_becomes_a_target_of_its_pod),
		TEST(ports_beyond_the_limit_and_declared_ones_are_left_out),
		TEST(a_configured_job_of_the_same_name_is_refused),
		TEST(without_memory_the_old_ports_stay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
