/* Target construction, rule by rule of semantics 3.2, and the resource of 2.10. */
#include "gleaner/target.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

/* One target made of "name=value|name=value", with what is needed to look at it. */
struct made {
	struct target *target;
	int result;
	size_t rule;
	struct error err;
};

static void set_labels(struct labels_builder *builder, const char *text)
{
	struct span rest = span_str(text), pair, name;
	while (span_next(&rest, '|', &pair)) {
		struct span value = pair;
		if (span_next(&value, '=', &name))
			labels_set(builder, name, value);
	}
}

static struct made make_of(const struct target_job_options *options, const struct target_global_options *globals,
	const char *labels, const char *identity)
{
	struct made made = {.rule = 99};
	struct target_job *job = NULL;
	struct arena arena;
	struct labels_builder builder;
	arena_init(&arena, 1 << 20);
	labels_builder_init(&builder, &arena);
	set_labels(&builder, labels);
	if (target_job_new(options, globals, &job, &made.err) < 0)
		fail_msg("%s", made.err.text);
	made.result = target_new(job, TARGET_POD, span_str(identity), labels_builder_view(&builder), &made.target,
		&made.rule, &made.err);
	target_job_unref(job);
	arena_done(&arena);
	return made;
}

static struct made make(const struct target_job_options *options, const char *labels)
{
	return make_of(options, &global, labels, "uid/container/80");
}

static void assert_labels(struct labels labels, const char *expected)
{
	struct buf out;
	buf_init(&out, 1 << 16);
	buf_labels(&out, labels);
	test_assert_text(buf_view(&out), expected);
	buf_done(&out);
}

static const struct target_job_options plain = {.job_name = "web"};

static void seeds_are_set_where_nothing_is(void **state)
{
	(void)state;
	struct made made = make(&plain, "__address__=10.0.0.1:80|a=b");
	assert_int_equal(made.result, 1);
	assert_labels(made.target->discovered, "{__address__=\"10.0.0.1:80\", __metrics_path__=\"/metrics\", "
					       "__scheme__=\"http\", __scrape_interval__=\"1m\", "
					       "__scrape_timeout__=\"10s\", a=\"b\", job=\"web\"}");
	assert_labels(made.target->labels, "{a=\"b\", instance=\"10.0.0.1:80\", job=\"web\"}");
	target_unref(made.target);

	static const char *const values[] = {"x", "y"};
	struct option_list param = {"module", {(const char **)values, 2}};
	struct target_job_options options = {.job_name = "web", .scheme = "https", .params = {&param, 1}};
	made = make(&options, "__address__=10.0.0.1|job=own|__scrape_interval__=30s|__scrape_timeout__=5s|__metrics_"
			      "path__=/own|instance=i");
	assert_int_equal(made.result, 1);
	assert_labels(made.target->discovered,
		"{__address__=\"10.0.0.1\", __metrics_path__=\"/own\", __param_module=\"x\", __scheme__=\"https\", "
		"__scrape_interval__=\"30s\", __scrape_timeout__=\"5s\", instance=\"i\", job=\"own\"}");
	assert_labels(made.target->labels, "{instance=\"i\", job=\"own\"}");
	assert_int_equal(made.target->interval_ns, 30 * NS_PER_SEC);
	assert_int_equal(made.target->timeout_ns, 5 * NS_PER_SEC);
	assert_int_equal(made.target->port, 443);
	target_unref(made.target);
}

static void a_label_cannot_ask_for_less_than_a_second_unless_the_job_does(void **state)
{
	(void)state;
	const char *hasty = "__address__=10.0.0.1:80|__scrape_interval__=1ms|__scrape_timeout__=1ms";
	struct made made = make(&plain, hasty);
	assert_int_equal(made.result, 1);
	assert_int_equal(made.target->interval_ns, NS_PER_SEC);
	assert_int_equal(made.target->timeout_ns, NS_PER_MS);
	target_unref(made.target);
	struct target_job_options fast = {.job_name = "fast", .scrape_interval_ns = 200 * NS_PER_MS};
	made = make(&fast, hasty);
	assert_int_equal(made.result, 1);
	assert_int_equal(made.target->interval_ns, 200 * NS_PER_MS);
	target_unref(made.target);
}

static void relabelling_may_drop_and_says_which_rule_did(void **state)
{
	(void)state;
	const char *source = "drop";
	struct relabel_rule rules[] = {{.target_label = "x", .replacement = "y"},
		{.source_labels = {&source, 1}, .regex = "yes", .action = RELABEL_DROP}};
	struct target_job_options options = {.job_name = "web", .relabel_configs = {rules, 2}};
	struct made made = make(&options, "__address__=10.0.0.1:80|drop=yes");
	assert_int_equal(made.result, 0);
	assert_int_equal(made.rule, 1);
	made = make(&options, "__address__=10.0.0.1:80|drop=no");
	assert_int_equal(made.result, 1);
	target_unref(made.target);
	made = make(&options, "drop=no");
	assert_int_equal(made.result, 0); /* no address, no rule to blame */
	assert_true(made.rule == TARGET_NO_RULE);
}

static void labels_that_make_no_target_are_errors(void **state)
{
	(void)state;
	static const struct {
		const char *labels, *err;
	} cases[] = {
		{"__address__=10.0.0.1:80/metrics", "__address__: `10.0.0.1:80/metrics` is not an address"},
		{"__address__=10.0.0.1:0", "__address__: "},
		{"__address__=a:80|__scrape_interval__=often", "__scrape_interval__: `often` is not a duration"},
		{"__address__=a:80|__scrape_interval__=0s", "__scrape_interval__: 0"},
		{"__address__=a:80|__scrape_timeout__=0", "__scrape_timeout__: 0"},
		{"__address__=a:80|__scrape_timeout__=1h", "__scrape_timeout__: 1h is longer than the interval, 1m"},
		{"__address__=a:80|__scheme__=ftp", "__scheme__: `ftp` is not http or https"},
		{"__address__=a:80|__unix_socket__=/x", "__unix_socket__: "},
		{"__address__=a:80|x=\xff", "label x: value is not UTF-8"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made made = make(&plain, cases[i].labels);
		assert_int_equal(made.result, -EINVAL);
		if (!strstr(made.err.text, cases[i].err))
			fail_msg("%s: %s", cases[i].labels, made.err.text);
		assert_null(made.target);
	}
}

/* Each doubles the label. */
static void rules_that_blow_up_a_label_are_an_error_of_the_target(void **state)
{
	(void)state;
	const char *source[] = {"a"};
	struct relabel_rule rules[40];
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		rules[i] =
			(struct relabel_rule){.source_labels = {source, 1}, .target_label = "a", .replacement = "$1$1"};
	struct target_job_options options = {.job_name = "web", .relabel_configs = {rules, ARRAY_SIZE(rules)}};
	struct made made = make(&options, "__address__=10.0.0.1:80|a=b");
	assert_int_equal(made.result, -EINVAL);
	assert_string_equal(made.err.text, "relabelling makes its labels too large");
}

static void meta_labels_go_and_reserved_ones_do_not_show(void **state)
{
	(void)state;
	struct made made = make(&plain, "__address__=10.0.0.1:80|__meta_kubernetes_pod_name=p|__tmp_x=1|_y=2");
	assert_labels(made.target->labels, "{_y=\"2\", instance=\"10.0.0.1:80\", job=\"web\"}");
	target_unref(made.target);
}

static void no_default_port_is_added_to_the_instance(void **state)
{
	(void)state;
	struct made made = make(&plain, "__address__=10.0.0.1");
	assert_labels(made.target->labels, "{instance=\"10.0.0.1\", job=\"web\"}");
	test_assert_text(made.target->url, "http://10.0.0.1/metrics");
	assert_int_equal(made.target->port, 80);
	target_unref(made.target);
}

static void external_labels_replace_target_labels(void **state)
{
	(void)state;
	struct option_pair pairs[] = {{"cluster", "eu"}, {"a", "external"}};
	struct target_global_options globals = global;
	globals.external_labels = (struct option_pairs){pairs, 2};
	struct made made = make_of(&plain, &globals, "__address__=a:80|a=own", "x");
	assert_labels(made.target->labels, "{a=\"external\", cluster=\"eu\", instance=\"a:80\", job=\"web\"}");
	target_unref(made.target);
}

static void urls_are_escaped_as_go_does(void **state)
{
	(void)state;
	static const struct {
		const char *labels, *url;
	} cases[] = {
		{"__address__=10.0.0.1:8080", "http://10.0.0.1:8080/metrics"},
		{"__address__=10.0.0.1:443|__scheme__=https", "https://10.0.0.1:443/metrics"},
		{"__address__=[fd00::1]:80", "http://[fd00::1]:80/metrics"},
		{"__address__=fd00::1", "http://[fd00::1]/metrics"},
		{"__address__=a:1|__metrics_path__=/probe?x=1&y=%20", "http://a:1/probe%3Fx=1&y=%2520"},
		{"__address__=a:1|__metrics_path__=stats/prometheus", "http://a:1/stats/prometheus"},
		{"__address__=a:1|__metrics_path__=/a b#c!(*)$&+,/:;=@-_.~\xc3\xa9",
			"http://a:1/a%20b%23c%21%28%2A%29$&+,/:;=@-_.~%C3%A9"},
		{"__address__=a:1|__param_z=1|__param_b=x y&/?%|__param_a=\xc3\xa9",
			"http://a:1/metrics?a=%C3%A9&b=x+y%26%2F%3F%25&z=1"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made made = make(&plain, cases[i].labels);
		if (made.result != 1)
			fail_msg("%s: %s", cases[i].labels, made.err.text);
		test_assert_text(made.target->url, cases[i].url);
		target_unref(made.target);
	}
}

static void the_first_value_of_a_param_comes_from_its_label(void **state)
{
	(void)state;
	static const char *const match[] = {"a", "b"}, *const zone[] = {"z"};
	struct option_list params[] = {
		{"zone", {(const char **)zone, 1}}, {"match[]", {(const char **)match, 2}}, {"none", {NULL, 0}}};
	struct target_job_options options = {.job_name = "web", .params = {params, 3}};
	struct made made = make(&options, "__address__=a:1|__param_match[]=c|__param_new=n");
	test_assert_text(made.target->url, "http://a:1/metrics?match%5B%5D=c&match%5B%5D=b&new=n&zone=z");
	target_unref(made.target);

	/* A rule that deletes the label does not delete the parameter. */
	struct relabel_rule rule = {.regex = "__param_.*", .action = RELABEL_LABELDROP};
	options.relabel_configs = (struct option_objects){&rule, 1};
	made = make(&options, "__address__=a:1");
	test_assert_text(made.target->url, "http://a:1/metrics?match%5B%5D=a&match%5B%5D=b&zone=z");
	target_unref(made.target);
}

static void a_url_without_end_is_refused(void **state)
{
	(void)state;
	char labels[20000];
	int len = snprintf(labels, sizeof(labels), "__address__=a:1|__metrics_path__=/");
	memset(labels + len, 'x', sizeof(labels) - (size_t)len);
	labels[sizeof(labels) - 1] = '\0';
	struct made made = make(&plain, labels);
	assert_int_equal(made.result, -EINVAL);
	assert_string_equal(made.err.text, "the URL is longer than 16384 bytes");
}

static void the_resource_tells_the_pod_of_before_relabelling(void **state)
{
	(void)state;
	struct relabel_rule rule = {.regex = "__meta_.*", .action = RELABEL_LABELDROP};
	struct target_job_options options = {.job_name = "web", .relabel_configs = {&rule, 1}};
	struct made made = make(&options,
		"__address__=10.0.0.1:80|__meta_kubernetes_namespace=ns|__meta_kubernetes_pod_name=p|"
		"__meta_kubernetes_pod_uid=u|__meta_kubernetes_pod_container_name=c|__meta_kubernetes_pod_node_name=n|"
		"__meta_kubernetes_node_name=other|__meta_kubernetes_pod_controller_kind=StatefulSet|"
		"__meta_kubernetes_pod_controller_name=db");
	assert_labels(made.target->resource,
		"{k8s.container.name=\"c\", k8s.namespace.name=\"ns\", k8s.node.name=\"n\", k8s.pod.name=\"p\", "
		"k8s.pod.uid=\"u\", "
		"k8s.statefulset.name=\"db\", server.address=\"10.0.0.1\", server.port=\"80\", url.scheme=\"http\"}");
	test_assert_text(made.target->pod_uid, "u");
	target_unref(made.target);
}

static void the_workload_is_named_by_the_kind_of_its_controller(void **state)
{
	(void)state;
	static const char *const kinds[][2] = {{"ReplicaSet", "k8s.replicaset.name"},
		{"DaemonSet", "k8s.daemonset.name"}, {"StatefulSet", "k8s.statefulset.name"}, {"Job", "k8s.job.name"},
		{"CronJob", "k8s.cronjob.name"}, {"replicaset", NULL}, {"Node", NULL}};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char labels[200], expected[200];
		snprintf(labels, sizeof(labels),
			"__address__=localhost|__meta_kubernetes_pod_controller_kind=%s|__meta_kubernetes_pod_"
			"controller_name=w",
			kinds[i][0]);
		snprintf(expected, sizeof(expected), "{%s%surl.scheme=\"http\"}", kinds[i][1] ? kinds[i][1] : "",
			kinds[i][1] ? "=\"w\", " : "");
		struct made made = make(&plain, labels);
		assert_labels(made.target->resource, expected);
		target_unref(made.target);
	}
}

static void the_server_is_that_of_the_url_after_relabelling(void **state)
{
	(void)state;
	struct relabel_rule rules[] = {{.target_label = "__scheme__", .replacement = "https"},
		{.target_label = "instance", .replacement = "elsewhere:1"}};
	struct target_job_options options = {.job_name = "web", .relabel_configs = {rules, 2}};
	struct made made = make(&options, "__address__=10.0.0.1");
	assert_labels(made.target->resource, "{server.address=\"10.0.0.1\", url.scheme=\"https\"}");
	target_unref(made.target);
	static const char *const nowhere[] = {"127.0.0.9:1", "[::1]:1", "0.0.0.0:1", "[::]:1", "localhost:1"};
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
		char labels[64];
		snprintf(labels, sizeof(labels), "__address__=%s", nowhere[i]);
		made = make(&plain, labels);
		assert_labels(made.target->resource, "{server.port=\"1\", url.scheme=\"http\"}");
		target_unref(made.target);
	}
}

static void the_key_is_of_origin_job_and_identity_alone(void **state)
{
	(void)state;
	struct target_job_options other = {.job_name = "we"};
	struct made a = make_of(&plain, &global, "__address__=a:1", "x"),
		    b = make_of(&plain, &global, "__address__=b:2|l=1", "x"),
		    c = make_of(&plain, &global, "__address__=a:1", "y"),
		    d = make_of(&other, &global, "__address__=a:1", "bx");
	assert_true(a.target->key == b.target->key);
	assert_true(a.target->content != b.target->content);
	assert_true(a.target->key != c.target->key);
	assert_true(a.target->content == c.target->content);
	assert_true(a.target->key != d.target->key);
	/* It must not change from one version to the next: the phase of every schedule hangs on it. */
	assert_int_equal(a.target->key, UINT64_C(0xe2bd657a863f9d00));
	target_unref(a.target);
	target_unref(b.target);
	target_unref(c.target);
	target_unref(d.target);
}

static void content_is_what_the_scraper_gets(void **state)
{
	(void)state;
	struct relabel_rule useless = {.target_label = "__tmp", .replacement = "x"};
	struct target_job_options same = {.job_name = "web", .relabel_configs = {&useless, 1}},
				  honor = {.job_name = "web", .honor_labels = true};
	struct made a = make(&plain, "__address__=a:1|__meta_kubernetes_pod_ready=true"),
		    b = make(&same, "__address__=a:1|__meta_kubernetes_pod_ready=false"),
		    c = make(&honor, "__address__=a:1|__meta_kubernetes_pod_ready=true"),
		    d = make(&plain, "__address__=a:1|__meta_kubernetes_pod_name=p");
	assert_true(a.target->content == b.target->content); /* a rule and a meta label that change nothing */
	assert_true(a.target->job->content != b.target->job->content);
	assert_true(a.target->content != c.target->content); /* a setting of the job */
	assert_true(a.target->content != d.target->content); /* a resource attribute */
	target_unref(a.target);
	target_unref(b.target);
	target_unref(c.target);
	target_unref(d.target);
}

static int attempt(void *arg)
{
	struct target_job *job = arg;
	struct arena arena;
	struct labels_builder builder;
	struct target *target = NULL;
	arena_init(&arena, 1 << 20);
	labels_builder_init(&builder, &arena);
	set_labels(&builder, "__address__=10.0.0.1:80|__meta_kubernetes_pod_name=p|__meta_kubernetes_pod_label_app=web|"
			     "__param_x=1|a=b");
	int result = builder.failed;
	if (result == 0)
		result = target_new(job, TARGET_POD, SPAN("id"), labels_builder_view(&builder), &target, NULL, NULL);
	target_unref(target);
	arena_done(&arena);
	return result == 1 ? 0 : result;
}

static void running_out_of_memory_fails_cleanly(void **state)
{
	(void)state;
	static const char *const values[] = {"v"};
	struct option_list param = {"q", {(const char **)values, 1}};
	struct relabel_rule rules[] = {{.regex = "__meta_kubernetes_pod_label_(.+)", .action = RELABEL_LABELMAP}};
	struct target_job_options options = {.job_name = "web", .params = {&param, 1}, .relabel_configs = {rules, 1}};
	struct target_job *job = NULL;
	assert_int_equal(target_job_new(&options, &global, &job, NULL), 0);
	test_out_of_memory(attempt, job);
	target_job_unref(job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seeds_are_set_where_nothing_is),
		cmocka_unit_test(a_label_cannot_ask_for_less_than_a_second_unless_the_job_does),
		cmocka_unit_test(relabelling_may_drop_and_says_which_rule_did),
		cmocka_unit_test(labels_that_make_no_target_are_errors),
		cmocka_unit_test(rules_that_blow_up_a_label_are_an_error_of_the_target),
		cmocka_unit_test(meta_labels_go_and_reserved_ones_do_not_show),
		cmocka_unit_test(no_default_port_is_added_to_the_instance),
		cmocka_unit_test(external_labels_replace_target_labels),
		cmocka_unit_test(urls_are_escaped_as_go_does),
		cmocka_unit_test(the_first_value_of_a_param_comes_from_its_label),
		cmocka_unit_test(a_url_without_end_is_refused),
		cmocka_unit_test(the_resource_tells_the_pod_of_before_relabelling),
		cmocka_unit_test(the_workload_is_named_by_the_kind_of_its_controller),
		cmocka_unit_test(the_server_is_that_of_the_url_after_relabelling),
		cmocka_unit_test(the_key_is_of_origin_job_and_identity_alone),
		cmocka_unit_test(content_is_what_the_scraper_gets),
		cmocka_unit_test(running_out_of_memory_fails_cleanly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
