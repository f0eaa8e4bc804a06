/* The set and its differences. */
#include "scene_for_test.h"

/* ---- differences ---------------------------------------------------------------------------------- */

static void pods_that_come_and_go_are_reported(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pods[] = {small_pod("a", "10.85.0.2"), small_pod("b", "10.85.0.3")};
	assert_int_equal(tell_pods(scene, pods, 1), 0);
	assert_events(scene, ""); /* nothing is wanted yet */
	must_configure(scene, jobs, 1);
	assert_events(scene, "+ pods http://10.85.0.2:9000/metrics\n");
	assert_int_equal(tell_pods(scene, pods, 2), 0);
	assert_events(scene, "+ pods http://10.85.0.3:9000/metrics\n");
	assert_int_equal(tell_pods(scene, &pods[1], 1), 0);
	assert_events(scene, "- pods http://10.85.0.2:9000/metrics\n");
	assert_int_equal(tell_pods(scene, NULL, 0), 0);
	assert_events(scene, "- pods http://10.85.0.3:9000/metrics\n");
	assert_int_equal(target_count(scene), 0);
}

/* The kubelet was switched off. */
static void pods_that_are_not_known_any_more_go(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	must_configure(scene, jobs, 1);
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	assert_int_equal(discover_pods(scene->discover, NULL), 0);
	assert_events(scene, "+ pods http://10.85.0.2:9000/metrics\n- pods http://10.85.0.2:9000/metrics\n");
	must_configure(scene, jobs, 1);
	assert_int_equal(target_count(scene), 0);
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	assert_int_equal(target_count(scene), 1);
}

static void unchanged_target_is_never_mentioned_and_is_the_same_object(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pods[] = {small_pod("a", "10.85.0.2"), small_pod("b", "10.85.0.3")};
	must_configure(scene, jobs, 1);
	tell_pods(scene, pods, 2);
	struct target *a = target_with_url(scene, "http://10.85.0.2:9000/metrics");
	buf_reset(&scene->events);

	tell_pods(scene, pods, 2); /* the same record */
	pods[0].hash = 2;          /* another record, the same target */
	pods[0].ready = SPAN("false");
	tell_pods(scene, pods, 2);
	must_configure(scene, jobs, 1); /* a reload */
	struct kube_pod swapped[] = {pods[1], pods[0]};
	tell_pods(scene, swapped, 2); /* another order */

	assert_events(scene, "");
	assert_ptr_equal(target_with_url(scene, "http://10.85.0.2:9000/metrics"), a);
	assert_ptr_equal(discover_find(scene->discover, a->key), a);
	assert_null(discover_find(scene->discover, a->key + 1));
}

static void change_of_a_target_keeps_its_key(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	static const struct label labels[] = {{SPAN("app"), SPAN("web")}};
	struct kube_pod pods[] = {small_pod("a", "10.85.0.2"), small_pod("b", "10.85.0.3")};
	must_configure(scene, jobs, 1);
	tell_pods(scene, pods, 2);
	buf_reset(&scene->events);
	pods[0].labels = (struct labels)LABELS(labels);
	pods[0].hash = 2;
	tell_pods(scene, pods, 2);
	assert_events(scene, "~ pods http://10.85.0.2:9000/metrics\n");
	struct target *a = target_with_url(scene, "http://10.85.0.2:9000/metrics");
	test_assert_text(labels_get(a->labels, SPAN("app")), "web");
}

static void without_a_changed_callback_it_is_removed_and_added(void **state)
{
	(void)state;
	struct scene scene;
	struct discover_events events = {.added = added, .removed = removed, .arg = &scene.events};
	buf_init(&scene.events, 1 << 20);
	assert_int_equal(discover_new(events, &scene.discover), 0);
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	must_configure(&scene, jobs, 1);
	tell_pods(&scene, &pod, 1);
	jobs[0].scrape_interval_ns = 30 * NS_PER_SEC;
	must_configure(&scene, jobs, 1);
	assert_events(&scene, "+ pods http://10.85.0.2:9000/metrics\n"
			      "- pods http://10.85.0.2:9000/metrics\n"
			      "+ pods http://10.85.0.2:9000/metrics\n");
	scene_done(&scene);
}

static void pod_with_the_address_of_one_that_left_is_another_target(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod old = small_pod("ds-old", "192.168.77.2"), new = small_pod("ds-new", "192.168.77.2");
	must_configure(scene, jobs, 1);
	tell_pods(scene, &old, 1);
	uint64_t key = target_at(scene, 0)->key;
	tell_pods(scene, &new, 1);
	assert_events(scene, "+ pods http://192.168.77.2:9000/metrics\n"
			     "- pods http://192.168.77.2:9000/metrics\n"
			     "+ pods http://192.168.77.2:9000/metrics\n");
	assert_int_not_equal(target_at(scene, 0)->key, key);
}

static void targets_come_in_the_order_of_job_and_key(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("z"), metrics_job("a")};
	struct kube_pod pods[20];
	char names[20][16], ips[20][16];
	for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
		snprintf(names[i], sizeof(names[i]), "pod-%zu", i);
		snprintf(ips[i], sizeof(ips[i]), "10.85.1.%zu", i + 1);
		pods[i] = small_pod(names[i], ips[i]);
	}
	must_configure(scene, jobs, 2);
	tell_pods(scene, pods, ARRAY_SIZE(pods));
	assert_int_equal(target_count(scene), 40);
	for (size_t i = 1; i < 40; i++) {
		test_assert_text(target_at(scene, i)->job->name, i < 20 ? "z" : "a");
		assert_true(i == 20 || target_at(scene, i - 1)->key < target_at(scene, i)->key);
	}
}

/* ---- which pods, which targets ----------------------------------------------------------------------- */

static void pod_of_another_node_is_ignored(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	pod.node_name = SPAN("node-b");
	must_configure(scene, jobs, 1);
	tell_pods(scene, &pod, 1);
	assert_events(scene, "");
}

static void namespaces_select_pods(void **state)
{
	struct scene *scene = *state;
	static const char *names[] = {"shop", "bank"}, *elsewhere[] = {"elsewhere"};
	struct target_kubernetes_sd here[] = {
		{.role = "pod", .namespaces = {elsewhere, 1}}, {.role = "pod", .namespaces = {names, 2}}};
	struct target_kubernetes_sd not_here[] = {{.role = "pod", .namespaces = {elsewhere, 1}}};
	struct target_kubernetes_sd all[] = {{.role = "pod", .namespaces = {elsewhere, 1}}, {.role = "pod"}};
	struct target_job_options jobs[] = {metrics_job("here"), metrics_job("not-here"), metrics_job("all")};
	jobs[0].kubernetes_sd_configs = (struct option_objects){here, 2};
	jobs[1].kubernetes_sd_configs = (struct option_objects){not_here, 1};
	jobs[2].kubernetes_sd_configs = (struct option_objects){all, 2};
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	must_configure(scene, jobs, 3);
	tell_pods(scene, &pod, 1);
	assert_events(scene, "+ here http://10.85.0.2:9000/metrics\n+ all http://10.85.0.2:9000/metrics\n");
}

/* The recipe that everybody copies: the port of the annotation for each declared port, so all become the same. */
static void targets_that_are_the_same_to_a_user_are_one(void **state)
{
	struct scene *scene = *state;
	static const char *address[] = {"__address__"};
	static struct relabel_rule rules[] = {{.source_labels = {address, 1},
		.separator = ";",
		.regex = "([^:]+):.*",
		.target_label = "__address__",
		.replacement = "$1:8081",
		.action = RELABEL_REPLACE}};
	struct target_job_options jobs[] = {pod_job("recipe")};
	jobs[0].relabel_configs = (struct option_objects){rules, 1};
	struct kube_pod pod = web_pod();
	must_configure(scene, jobs, 1);
	tell_pods(scene, &pod, 1);
	assert_events(scene, "+ recipe http://10.85.0.5:8081/metrics\n");
	test_assert_text(
		labels_get(target_at(scene, 0)->discovered, SPAN("__meta_kubernetes_pod_container_port_number")),
		"8080"); /* the first of the pod's record */
	pod.hash = 2;
	tell_pods(scene, &pod, 1);
	assert_events(scene, "");
}

static void job_over_its_target_limit_has_no_targets(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	jobs[0].limits.target_limit = 2;
	struct kube_pod pods[] = {small_pod("a", "10.85.0.2"), small_pod("b", "10.85.0.3"), small_pod("c", "10.85.0.4"),
		small_pod("d", "10.85.0.5")};
	must_configure(scene, jobs, 1);
	tell_pods(scene, pods, 2);
	buf_reset(&scene->events);
	tell_pods(scene, pods, 3);
	assert_int_equal(target_count(scene), 0);
	assert_non_null(strstr(scene->events.ptr, "- pods http://10.85.0.2:9000/metrics\n"));
	assert_non_null(strstr(
		scene->events.ptr, "! : 3 targets exceed the job's target_limit of 2; none of them is scraped\n"));
	buf_reset(&scene->events);
	tell_pods(scene, pods, 4);
	assert_events(scene, ""); /* said once */
	tell_pods(scene, pods, 1);
	assert_events(scene, "+ pods http://10.85.0.2:9000/metrics\n");
}

static void dropped_targets_are_shown_with_their_rule(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pod = web_pod();
	must_configure(scene, jobs, 1);
	tell_pods(scene, &pod, 1);
	size_t count = 0;
	const struct discover_dropped *dropped = discover_dropped(scene->discover, &count);
	assert_int_equal(count, 5);
	test_assert_text(dropped[0].job_name, "pods");
	assert_int_equal(dropped[0].rule, 0);
	test_assert_text(labels_get(dropped[0].discovered, SPAN("__address__")), "10.85.0.5:8080");
	tell_pods(scene, NULL, 0);
	discover_dropped(scene->discover, &count);
	assert_int_equal(count, 0);
}

static void dropped_list_has_a_ceiling(void **state)
{
	struct scene *scene = *state;
	static char value[4000];
	memset(value, 'x', sizeof(value));
	struct label annotations[] = {{SPAN("a"), {value, sizeof(value)}}};
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pods[100];
	char names[100][16];
	must_configure(scene, jobs, 1);
	for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
		snprintf(names[i], sizeof(names[i]), "pod-%zu", i);
		pods[i] = web_pod();
		pods[i].uid = span_str(names[i]);
		pods[i].annotations = (struct labels)LABELS(annotations);
	}
	tell_pods(scene, pods, ARRAY_SIZE(pods));
	size_t count = 0, bytes = 0;
	const struct discover_dropped *dropped = discover_dropped(scene->discover, &count);
	for (size_t i = 0; i < count; i++)
		bytes += labels_get(dropped[i].discovered, SPAN("__meta_kubernetes_pod_annotation_a")).len;
	assert_in_range(bytes, 1 << 19, 1 << 20);
}

static void what_is_refused_is_said_once(void **state)
{
	struct scene *scene = *state;
	struct discover_annotation_options annotations = {.enabled = true,
		.job_name = "kubernetes-pods",
		.prefix = "prometheus.io",
		.min_interval_ns = NS_PER_SEC,
		.max_interval_ns = 60 * NS_PER_SEC,
		.max_targets_per_pod = 4};
	struct discover_settings settings = {.global = &global, .annotations = &annotations};
	struct label scrape[] = {
		{SPAN("prometheus.io/port"), SPAN("x,8080")}, {SPAN("prometheus.io/scrape"), SPAN("true")}};
	struct kube_pod pod = web_pod();
	pod.annotations = (struct labels)LABELS(scrape);
	assert_int_equal(discover_configure(scene->discover, &settings, NULL), 0);
	tell_pods(scene, &pod, 1);
	assert_events(scene,
		"+ kubernetes-pods http://10.85.0.5:8080/metrics\n"
		"! web-1: annotation prometheus.io/port: \"x\" is not the name of a TCP port of the pod\n");
	pod.hash = 2;
	tell_pods(scene, &pod, 1);
	assert_events(scene, "");
	scrape[0].value = SPAN("y,8080");
	pod.hash = 3;
	tell_pods(scene, &pod, 1);
	assert_events(
		scene, "! web-1: annotation prometheus.io/port: \"y\" is not the name of a TCP port of the pod\n");
}

static void bad_label_value_of_a_pod_costs_that_pod_only(void **state)
{
	struct scene *scene = *state;
	static const char *path[] = {"__meta_kubernetes_pod_label_interval"};
	static struct relabel_rule rules[] = {{.source_labels = {path, 1},
		.separator = ";",
		.regex = "(.+)",
		.target_label = "__scrape_interval__",
		.replacement = "$1",
		.action = RELABEL_REPLACE}};
	struct target_job_options jobs[] = {pod_job("pods")};
	jobs[0].relabel_configs = (struct option_objects){rules, 1};
	static const struct label labels[] = {{SPAN("interval"), SPAN("soon")}};
	struct kube_pod pods[] = {small_pod("a", "10.85.0.2"), small_pod("b", "10.85.0.3")};
	pods[0].labels = (struct labels)LABELS(labels);
	must_configure(scene, jobs, 1);
	tell_pods(scene, pods, 2);
	assert_events(
		scene, "+ pods http://10.85.0.3:9000/metrics\n! a: __scrape_interval__: `soon` is not a duration\n");
}

/* ---- the built-in job ----------------------------------------------------------------------------------- */

static void annotated_pods_need_no_scrape_config_and_yield_to_one(void **state)
{
	struct scene *scene = *state;
	char prefix[] = "prometheus.io", job_name[] = "kubernetes-pods";
	struct discover_annotation_options annotations = {.enabled = true,
		.job_name = job_name,
		.prefix = prefix,
		.min_interval_ns = NS_PER_SEC,
		.max_interval_ns = 60 * NS_PER_SEC,
		.max_targets_per_pod = 4};
	struct target_job_options jobs[] = {metrics_job("kubernetes-pods")};
	struct discover_settings settings = {.global = &global, .annotations = &annotations};
	static const struct label scrape[] = {
		{SPAN("prometheus.io/port"), SPAN("8080")}, {SPAN("prometheus.io/scrape"), SPAN("true")}};
	struct kube_pod pod = web_pod();
	pod.annotations = (struct labels)LABELS(scrape);
	assert_int_equal(discover_configure(scene->discover, &settings, NULL), 0);
	memset(prefix, 'x', 4); /* nothing of the settings is needed any more */
	memset(job_name, 'x', 4);
	tell_pods(scene, &pod, 1);
	assert_events(scene, "+ kubernetes-pods http://10.85.0.5:8080/metrics\n");
	assert_true(target_at(scene, 0)->job->honor_labels);
	test_assert_text(labels_get(target_at(scene, 0)->labels, SPAN("instance")), "10.85.0.5:8080");

	annotations.job_name = "kubernetes-pods";
	settings.jobs = jobs;
	settings.job_count = 1;
	assert_int_equal(discover_configure(scene->discover, &settings, NULL), 0);
	assert_events(scene, "- kubernetes-pods http://10.85.0.5:8080/metrics\n"
			     "+ kubernetes-pods http://10.85.0.5:8081/metrics\n");
	settings.job_count = 0;
	annotations.enabled = false;
	assert_int_equal(discover_configure(scene->discover, &settings, NULL), 0);
	assert_events(scene, "- kubernetes-pods http://10.85.0.5:8081/metrics\n");
}

/* ---- reload -------------------------------------------------------------------------------------------------- */

static void bad_configuration_leaves_everything_as_it_is(void **state)
{
	struct scene *scene = *state;
	static struct relabel_rule bad_rule[] = {
		{.regex = "(", .separator = ";", .target_label = "x", .replacement = "$1"}};
	struct target_job_options good[] = {metrics_job("pods")}, bad[] = {metrics_job("new"), metrics_job("bad")};
	bad[1].relabel_configs = (struct option_objects){bad_rule, 1};
	struct kube_pod pods[] = {small_pod("a", "10.85.0.2"), small_pod("b", "10.85.0.3")};
	struct error err = {{0}};
	must_configure(scene, good, 1);
	tell_pods(scene, pods, 1);
	struct target *a = target_at(scene, 0);
	buf_reset(&scene->events);
	assert_int_equal(configure(scene, bad, 2, &err), -EINVAL);
	assert_non_null(strstr(err.text, "relabel_configs"));
	assert_events(scene, "");
	assert_ptr_equal(target_at(scene, 0), a);
	tell_pods(scene, pods, 2); /* the old configuration works on */
	assert_events(scene, "+ pods http://10.85.0.3:9000/metrics\n");
}

static void job_name_used_twice_is_refused(void **state)
{
	struct target_job_options jobs[] = {pod_job("a"), pod_job("b"), pod_job("a")};
	jobs[2].position = (struct option_position){"gleaner.yaml", 17, 5};
	struct error err = {{0}};
	assert_int_equal(configure(*state, jobs, 3, &err), -EINVAL);
	assert_string_equal(err.text, "gleaner.yaml:17:5: job_name \"a\" is used twice");
}

static void reload_moves_only_the_job_that_changed(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("one"), metrics_job("two"), metrics_job("three")};
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	must_configure(scene, jobs, 3);
	tell_pods(scene, &pod, 1);
	buf_reset(&scene->events);
	struct target_job_options reloaded[] = {metrics_job("three"), metrics_job("two"), metrics_job("four")};
	reloaded[1].honor_labels = true;
	must_configure(scene, reloaded, 3);
	assert_events(scene, "- one http://10.85.0.2:9000/metrics\n"
			     "~ two http://10.85.0.2:9000/metrics\n"
			     "+ four http://10.85.0.2:9000/metrics\n");
}

static void other_credentials_move_no_target(void **state)
{
	struct scene *scene = *state;
	struct target_job_options job = metrics_job("one");
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	struct error err;
	job.bearer_token = "one";
	must_configure(scene, &job, 1);
	tell_pods(scene, &pod, 1);
	buf_reset(&scene->events);
	struct target *target = target_at(scene, 0);
	test_assert_text(target->job->credentials->authorization, "Bearer one");
	job.bearer_token = "two";
	struct target_job_options broken[] = {job, {.job_name = "one"}};
	assert_int_equal(configure(scene, broken, 2, &err), -EINVAL);
	test_assert_text(target->job->credentials->authorization, "Bearer one");
	must_configure(scene, &job, 1);
	assert_events(scene, "");
	assert_ptr_equal(target_at(scene, 0), target);
	test_assert_text(target->job->credentials->authorization, "Bearer two");
}

/* ---- static lists ------------------------------------------------------------------------------------------- */

static void static_targets_are_there_with_their_labels_through_all_polls(void **state)
{
	struct scene *scene = *state;
	static const char *addresses[] = {"127.0.0.1:9465", "localhost:9100", "[::1]:9465"},
			  *again[] = {"127.0.0.1:9465"};
	static struct option_pair team[] = {{"team", "infra"}};
	struct target_static_config configs[] = {
		{.targets = {addresses, 3}},
		{.targets = {again, 1}, .labels = {team, 1}}, /* other labels: another target */
		{.targets = {again, 1}},                      /* the same again */
	};
	struct target_job_options jobs[] = {static_job("self", configs, 3)};
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	must_configure(scene, jobs, 1);
	assert_int_equal(target_count(scene), 4);
	size_t with_team = 0;
	for (size_t i = 0; i < 4; i++)
		with_team += labels_get(target_at(scene, i)->labels, SPAN("team")).len > 0;
	assert_int_equal(with_team, 1);
	buf_reset(&scene->events);
	tell_pods(scene, &pod, 1);
	must_configure(scene, jobs, 1);
	tell_pods(scene, NULL, 0);
	assert_events(scene, "");
}

static void static_target_of_another_host_fails_and_names_the_line(void **state)
{
	struct scene *scene = *state;
	static const char *local[] = {"127.0.0.1:1"}, *away[] = {"127.0.0.1:2", "192.0.2.7:9100"},
			  *name[] = {"example.com:80"}, *bad[] = {"127.0.0.1:http"};
	struct target_static_config configs[] = {
		{.targets = {local, 1}}, {.position = {"gleaner.yaml", 9, 7}, .targets = {away, 2}}};
	struct target_job_options jobs[] = {static_job("self", configs, 2)};
	struct error err = {{0}};
	assert_int_equal(configure(scene, jobs, 1, &err), -EINVAL);
	assert_string_equal(err.text, "gleaner.yaml:9:7: static_configs: 192.0.2.7 is not an address of this host; "
				      "only this node is scraped");
	configs[1].targets = (struct option_strings){name, 1};
	assert_int_equal(configure(scene, jobs, 1, &err), -EINVAL);
	assert_string_equal(err.text,
		"gleaner.yaml:9:7: static_configs: example.com is not an IP address; names are not looked up");
	configs[1].targets = (struct option_strings){bad, 1};
	assert_int_equal(configure(scene, jobs, 1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "gleaner.yaml:9:7: static_configs: __address__: "));
	assert_int_equal(target_count(scene), 0);
}

/* ---- memory ----------------------------------------------------------------------------------------------------------- */

static int live_a_little(void *arg)
{
	(void)arg;
	struct scene scene;
	static const char *addresses[] = {"127.0.0.1:1"}, *again[] = {"127.0.0.1:1"};
	static struct option_pair team[] = {{"team", "infra"}};
	struct target_static_config configs[] = {
		{.targets = {addresses, 1}}, {.targets = {again, 1}, .labels = {team, 1}}};
	struct target_job_options jobs[] = {metrics_job("pods"), static_job("self", configs, 2)};
	struct kube_pod pods[] = {web_pod(), small_pod("a", "10.85.0.2")};
	struct error err;
	int result = scene_new(&scene);
	if (result == 0)
		result = configure(&scene, jobs, 2, &err);
	if (result == 0)
		result = tell_pods(&scene, pods, 2);
	if (result == 0)
		result = configure(&scene, jobs, 1, &err);
	scene_done(&scene);
	return result;
}

static void memory_that_runs_out_is_reported(void **state)
{
	(void)state;
	test_out_of_memory(live_a_little, NULL);
}

static int tell_more(void *arg)
{
	struct scene *scene = arg;
	struct kube_pod pods[] = {small_pod("b", "10.85.0.3"), web_pod()};
	struct target *a = target_at(scene, 0);
	buf_reset(&scene->events);
	int result = tell_pods(scene, pods, 2);
	if (result < 0) {
		assert_int_equal(target_count(scene), 1);
		assert_ptr_equal(target_at(scene, 0), a);
		assert_int_equal(scene->events.len, 0);
	}
	return result;
}

static void without_memory_the_present_set_stays(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	must_configure(scene, jobs, 1);
	tell_pods(scene, &pod, 1);
	buf_reserve(&scene->events, 4096); /* so that the test's own text needs no memory later */
	test_out_of_memory(tell_more, scene);
	assert_int_equal(target_count(scene), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pods_that_come_and_go_are_reported),
		TEST(pods_that_are_not_known_any_more_go),
		TEST(unchanged_target_is_never_mentioned_and_is_the_same_object),
		TEST(change_of_a_target_keeps_its_key),
		cmocka_unit_test(without_a_changed_callback_it_is_removed_and_added),
		TEST(pod_with_the_address_of_one_that_left_is_another_target),
		TEST(targets_come_in_the_order_of_job_and_key),
		TEST(pod_of_another_node_is_ignored),
		TEST(namespaces_select_pods),
		TEST(targets_that_are_the_same_to_a_user_are_one),
		TEST(job_over_its_target_limit_has_no_targets),
		TEST(dropped_targets_are_shown_with_their_rule),
		TEST(dropped_list_has_a_ceiling),
		TEST(what_is_refused_is_said_once),
		TEST(bad_label_value_of_a_pod_costs_that_pod_only),
		TEST(annotated_pods_need_no_scrape_config_and_yield_to_one),
		TEST(bad_configuration_leaves_everything_as_it_is),
		TEST(job_name_used_twice_is_refused),
		TEST(reload_moves_only_the_job_that_changed),
		TEST(other_credentials_move_no_target),
		TEST(static_targets_are_there_with_their_labels_through_all_polls),
		TEST(static_target_of_another_host_fails_and_names_the_line),
		cmocka_unit_test(memory_that_runs_out_is_reported),
		TEST(without_memory_the_present_set_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
