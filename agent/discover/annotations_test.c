/* The gleaner rule, row by row: what is annotated, and what is scraped. */
#include "pods_for_test.h"

#include <errno.h>
#include <stdio.h>

static const struct discover_annotation_options defaults = {
	.enabled = true,
	.job_name = "kubernetes-pods",
	.prefix = "prometheus.io",
	.min_interval_ns = 5 * NS_PER_SEC,
	.max_interval_ns = 3600 * NS_PER_SEC,
	.max_targets_per_pod = 4,
};
static const struct target_job job = {.interval_ns = 60 * NS_PER_SEC, .timeout_ns = 10 * NS_PER_SEC};

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 64 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static struct findings find(const struct discover_annotation_options *options, const struct kube_pod *pod)
{
	struct findings findings;
	findings_init(&findings, &arena, FOUND_LABEL_BYTES_MAX);
	assert_int_equal(find_annotated(options, &job, pod, &findings), 0);
	return findings;
}

static void print_set(struct buf *text, struct labels labels, const char *label, const char *format)
{
	struct span value = labels_get(labels, span_str(label));
	if (value.len > 0) {
		buf_str(text, format);
		buf_span(text, value);
	}
}

/* "web 10.85.0.5:8081/path every=30s", a line for each target, then "! cause" for each refusal. */
static void print(const struct findings *findings, struct buf *text)
{
	for (size_t i = 0; i < findings->count; i++) {
		struct labels labels = findings->items[i].labels;
		print_set(text, labels, "container", "");
		print_set(text, labels, "__scheme__", " ");
		print_set(text, labels, "__address__", " ");
		print_set(text, labels, "__metrics_path__", "");
		for (size_t j = 0; j < labels.count; j++) {
			if (span_starts_with(labels.items[j].name, SPAN("__param_")))
				buf_printf(text, " %.*s=%.*s", SPAN_ARGS(labels.items[j].name),
					SPAN_ARGS(labels.items[j].value));
		}
		print_set(text, labels, "__scrape_interval__", " every=");
		print_set(text, labels, "__scrape_timeout__", " within=");
		buf_char(text, '\n');
	}
	for (size_t i = 0; i < findings->refusal_count; i++)
		buf_printf(text, "! %s\n", findings->refusals[i].err.text);
}

struct row {
	const char *annotations; /* "name=value;..." below prometheus.io/, scrape=true is added */
	const char *expected;
};

static void split_annotations(const char *text, struct labels_builder *builder)
{
	labels_set_borrowed(builder, SPAN("prometheus.io/scrape"), SPAN("true"));
	struct span rest = span_str(text), part;
	while (rest.len > 0 && span_next(&rest, ';', &part)) {
		struct span value = part, name;
		char key[128];
		span_next(&value, '=', &name);
		snprintf(key, sizeof(key), "prometheus.io/%.*s", SPAN_ARGS(name));
		labels_set(builder, span_str(key), value);
	}
}

static void check_rows(
	const struct discover_annotation_options *options, struct kube_pod pod, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct labels_builder annotations;
		struct buf text;
		labels_builder_init(&annotations, &arena);
		split_annotations(rows[i].annotations, &annotations);
		pod.annotations = labels_builder_view(&annotations);
		struct findings findings = find(options, &pod);
		buf_init(&text, 1 << 20);
		print(&findings, &text);
		if (!span_eq(buf_view(&text), span_str(rows[i].expected)))
			print_error("annotations: %s\n", rows[i].annotations);
		test_assert_text(buf_view(&text), rows[i].expected);
		buf_done(&text);
	}
}

static void ports_are_listed_or_chosen_by_name(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"", "web 10.85.0.5:8081\n"}, /* named like metrics; "never-metrics" is of an init container */
		{"port=8080", "web 10.85.0.5:8080\n"},
		{"port=8080,9100", "web 10.85.0.5:8080\nside 10.85.0.5:9100\n"},
		{"port= http , 9100 ,, ", "web 10.85.0.5:8080\nside 10.85.0.5:9100\n"},
		{"port=proxy", "proxy 10.85.0.5:9102\n"},
		{"port=4000", " 10.85.0.5:4000\n"}, /* declared by nobody, so of no container */
		{"port=10250", " 10.85.0.5:10250\n"},
		{"port=5353", " 10.85.0.5:5353\n"}, /* declared for UDP, which is another port */
		{"port=7000", " 10.85.0.5:7000\n"}, /* of an init container, which has ended */
		{"port=65535", " 10.85.0.5:65535\n"},
		{"port=0", "! annotation prometheus.io/port: \"0\" is not a port (1 to 65535)\n"},
		{"port=00000", "! annotation prometheus.io/port: \"00000\" is not a port (1 to 65535)\n"},
		{"port=65536", "! annotation prometheus.io/port: \"65536\" is not a port (1 to 65535)\n"},
		{"port=000080", "! annotation prometheus.io/port: \"000080\" is not a port (1 to 65535)\n"},
		{"port=dns", "! annotation prometheus.io/port: \"dns\" is not the name of a TCP port of the pod\n"},
		{"port=-1", "! annotation prometheus.io/port: \"-1\" is not the name of a TCP port of the pod\n"},
		{"port=never-metrics", "! annotation prometheus.io/port: \"never-metrics\" is not the name of a TCP "
				       "port of the pod\n"},
		{"port=evil.example.com:80", "! annotation prometheus.io/port: \"evil.example.com:80\" is not the name "
					     "of a TCP port of the pod\n"},
		{"port=8080,x", "web 10.85.0.5:8080\n! annotation prometheus.io/port: \"x\" is not the name of a TCP "
				"port of the pod\n"},
		{"port=1,2,3,4,5,6", " 10.85.0.5:1\n 10.85.0.5:2\n 10.85.0.5:3\n 10.85.0.5:4\n"
				     "! more than 4 ports; the rest is left out (annotations.max_targets_per_pod)\n"},
	};
	check_rows(&defaults, web_pod(), rows, ARRAY_SIZE(rows));
}

static void without_a_name_like_metrics_all_tcp_ports_are_scraped(void **state)
{
	(void)state;
	static const struct row rows[] = {{"", "side 10.85.0.5:9100\nproxy 10.85.0.5:9102\n"}};
	struct kube_pod pod = web_pod();
	pod.containers++;
	pod.container_count--;
	check_rows(&defaults, pod, rows, 1);
}

static void port_names_that_look_like_metrics_are_preferred(void **state)
{
	(void)state;
	static const struct kube_port named[] = {TCP_PORT("metrics", 1), TCP_PORT("prometheus", 2), TCP_PORT("prom", 3),
		TCP_PORT("http-metrics", 4), TCP_PORT("xmetrics", 5), TCP_PORT("metrics-x", 6), TCP_PORT("Metrics", 7),
		UDP_PORT("a-metrics", 8)};
	static const struct kube_container containers[] = {{CONTAINER("c", named)}};
	static const struct row rows[] = {{"", "c 10.85.0.5:1\nc 10.85.0.5:2\nc 10.85.0.5:3\nc 10.85.0.5:4\n"}};
	struct kube_pod pod = web_pod();
	pod.containers = containers;
	pod.container_count = 1;
	check_rows(&defaults, pod, rows, 1);
}

static void undeclared_number_belongs_to_the_only_container(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"port=4000", "bare 10.85.0.5:4000\n"},
		{"", "! annotated to be scraped, but it declares no TCP port; set annotation prometheus.io/port\n"},
	};
	static const struct kube_container containers[] = {
		{.name = SPAN("bare")}, {CONTAINER("once", once_ports), .init = true}};
	struct kube_pod pod = web_pod();
	pod.containers = containers;
	pod.container_count = ARRAY_SIZE(containers);
	check_rows(&defaults, pod, rows, ARRAY_SIZE(rows));
}

static void scheme_path_and_parameters_are_read(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"port=1;scheme=https", " https 10.85.0.5:1\n"},
		{"port=1;scheme=http;path=/m", " http 10.85.0.5:1/m\n"},
		{"port=1;scheme=HTTPS", "! annotation prometheus.io/scheme: \"HTTPS\" is not http or https\n"},
		{"port=1;scheme=file", "! annotation prometheus.io/scheme: \"file\" is not http or https\n"},
		{"port=1;path=m", " 10.85.0.5:1/m\n"},
		{"port=1;path=//evil.example.com/", " 10.85.0.5:1//evil.example.com/\n"},
		{"port=1;path=/m?a=1&b=x%20y+z&a=2&&=3&c&d=", " 10.85.0.5:1/m __param_a=1 __param_b=x y z\n"},
		{"port=1;path=/m?a=%zz%4&b=p?q=r", " 10.85.0.5:1/m __param_a=%zz%4 __param_b=p?q=r\n"},
		{"port=1;path=?a=1", " 10.85.0.5:1/ __param_a=1\n"},
		{"port=1;path=/m?", " 10.85.0.5:1/m\n"},
		{"port=1;path=/a b", "! annotation prometheus.io/path: \"/a b\" has blanks or control characters\n"},
		{"port=1;path=/a\r\nX: y",
			"! annotation prometheus.io/path: \"/a%0D%0AX: y\" has blanks or control characters\n"},
		{"port=1;param_module=http_2xx;param_=x;path=/probe?module=y&t=1",
			" 10.85.0.5:1/probe __param_module=http_2xx __param_t=1\n"},
	};
	check_rows(&defaults, web_pod(), rows, ARRAY_SIZE(rows));
}

static void times_are_clamped(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"port=1;interval=30s", " 10.85.0.5:1 every=30s within=10s\n"},
		{"port=1;scrape_interval=2m", " 10.85.0.5:1 every=2m within=10s\n"},
		{"port=1;interval=30s;scrape_interval=2m", " 10.85.0.5:1 every=30s within=10s\n"},
		{"port=1;interval=1s", " 10.85.0.5:1 every=5s within=5s\n"},
		{"port=1;interval=30d", " 10.85.0.5:1 every=1h within=10s\n"},
		{"port=1;timeout=2s", " 10.85.0.5:1 every=1m within=2s\n"},
		{"port=1;timeout=5m", " 10.85.0.5:1 every=1m within=1m\n"},
		{"port=1;timeout=20s;interval=15s", " 10.85.0.5:1 every=15s within=15s\n"},
		{"port=1;interval=often",
			"! annotation prometheus.io/interval: \"often\" is not a duration above zero (30s, 1m)\n"},
		{"port=1;interval=0",
			"! annotation prometheus.io/interval: \"0\" is not a duration above zero (30s, 1m)\n"},
		{"port=1;timeout=-1s",
			"! annotation prometheus.io/timeout: \"-1s\" is not a duration above zero (30s, 1m)\n"},
	};
	check_rows(&defaults, web_pod(), rows, ARRAY_SIZE(rows));
}

static void host_network_is_refused_unless_allowed_and_control_ports_always(void **state)
{
	(void)state;
	static const struct row refused[] = {
		{"port=8080",
			"! annotated to be scraped, but it is in the host's network; set annotations.host_network "
			"to allow it\n"},
	};
	static const struct row allowed[] = {
		{"port=8080", "web 192.168.77.2:8080\n"},
		{"port=4000", " 192.168.77.2:4000\n"},
		{"port=22", "! annotation prometheus.io/port: \"22\" is a control port of the node\n"},
		{"port=2379", "! annotation prometheus.io/port: \"2379\" is a control port of the node\n"},
		{"port=02380", "! annotation prometheus.io/port: \"02380\" is a control port of the node\n"},
		{"port=6443", "! annotation prometheus.io/port: \"6443\" is a control port of the node\n"},
		{"port=10249,10260", " 192.168.77.2:10249\n 192.168.77.2:10260\n"},
		{"port=10250", "! annotation prometheus.io/port: \"10250\" is a control port of the node\n"},
		{"port=10259", "! annotation prometheus.io/port: \"10259\" is a control port of the node\n"},
	};
	struct discover_annotation_options options = defaults;
	struct kube_pod pod = web_pod();
	pod.host_network = true;
	pod.pod_ip = pod.host_ip;
	check_rows(&options, pod, refused, ARRAY_SIZE(refused));
	options.host_network = true;
	check_rows(&options, pod, allowed, ARRAY_SIZE(allowed));
}

static void only_running_pods_that_say_true_are_looked_at(void **state)
{
	(void)state;
	static const char *const values[] = {"false", "TRUE", "1", "yes", " true", "true "};
	struct kube_pod pod = web_pod();
	assert_int_equal(find(&defaults, &pod).count, 0); /* no annotation at all */
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct label annotations[] = {{SPAN("prometheus.io/scrape"), span_str(values[i])}};
		pod.annotations = (struct labels)LABELS(annotations);
		assert_int_equal(find(&defaults, &pod).count, 0);
	}
	struct label annotations[] = {{SPAN("prometheus.io/scrape"), SPAN("true")}};
	pod.annotations = (struct labels)LABELS(annotations);
	assert_int_equal(find(&defaults, &pod).count, 1);
	pod.phase = SPAN("Pending");
	assert_int_equal(find(&defaults, &pod).count, 0);
	pod = web_pod();
	pod.annotations = (struct labels)LABELS(annotations);
	pod.pod_ip = SPAN("");
	assert_int_equal(find(&defaults, &pod).count, 0);
}

static void prefix_can_be_another(void **state)
{
	(void)state;
	struct discover_annotation_options options = defaults;
	options.prefix = "metrics.example.com";
	struct label annotations[] = {
		{SPAN("metrics.example.com/port"), SPAN("8080")}, {SPAN("metrics.example.com/scrape"), SPAN("true")}};
	struct kube_pod pod = web_pod();
	pod.annotations = (struct labels)LABELS(annotations);
	assert_int_equal(find(&options, &pod).count, 1);
	assert_int_equal(find(&defaults, &pod).count, 0);
}

static void targets_say_where_they_run(void **state)
{
	(void)state;
	struct label annotations[] = {{SPAN("prometheus.io/scrape"), SPAN("true")}};
	struct kube_pod pod = web_pod();
	pod.annotations = (struct labels)LABELS(annotations);
	struct findings findings = find(&defaults, &pod);
	struct labels labels = findings.items[0].labels;
	test_assert_text(findings.items[0].identity, "uid-web/web/8081");
	test_assert_text(labels_get(labels, SPAN("namespace")), "shop");
	test_assert_text(labels_get(labels, SPAN("pod")), "web-1");
	test_assert_text(labels_get(labels, SPAN("container")), "web");
	test_assert_text(labels_get(labels, SPAN("node")), "node-a");
	test_assert_text(labels_get(labels, SPAN("__meta_kubernetes_pod_uid")), "uid-web");
	test_assert_text(labels_get(labels, SPAN("__meta_kubernetes_pod_container_name")), "web");
	test_assert_text(labels_get(labels, SPAN("__meta_kubernetes_pod_container_port_name")), "metrics");
}

static void options_are_checked(void **state)
{
	(void)state;
	char long_prefix[255];
	memset(long_prefix, 'a', sizeof(long_prefix));
	long_prefix[254] = '\0';
	struct discover_annotation_options options = defaults;
	const char *key = NULL;
	struct error err;
	assert_int_equal(discover_annotation_table.check(&options, NULL, &key, &err), 0);
	options.prefix = long_prefix;
	assert_int_equal(discover_annotation_table.check(&options, NULL, &key, &err), -EINVAL);
	assert_string_equal(key, "prefix");
	options.prefix = "";
	assert_int_equal(discover_annotation_table.check(&options, NULL, &key, &err), -EINVAL);
	options = defaults;
	options.min_interval_ns = options.max_interval_ns + 1;
	assert_int_equal(discover_annotation_table.check(&options, NULL, &key, &err), -EINVAL);
	assert_string_equal(key, "min_interval");
}

static int find_once(void *arg)
{
	struct arena fresh;
	struct findings findings;
	arena_init(&fresh, 1 << 20);
	findings_init(&findings, &fresh, FOUND_LABEL_BYTES_MAX);
	int result = find_annotated(&defaults, &job, arg, &findings);
	arena_done(&fresh);
	return result;
}

static void memory_that_runs_out_is_reported(void **state)
{
	(void)state;
	static const struct label annotations[] = {
		{SPAN("prometheus.io/interval"), SPAN("30s")},
		{SPAN("prometheus.io/param_x"), SPAN("y")},
		{SPAN("prometheus.io/path"), SPAN("/m?a=b")},
		{SPAN("prometheus.io/port"), SPAN("8080,x,9100")},
		{SPAN("prometheus.io/scrape"), SPAN("true")},
	};
	struct kube_pod pod = web_pod();
	pod.annotations = (struct labels)LABELS(annotations);
	test_out_of_memory(find_once, &pod);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ports_are_listed_or_chosen_by_name),
		TEST(without_a_name_like_metrics_all_tcp_ports_are_scraped),
		TEST(port_names_that_look_like_metrics_are_preferred),
		TEST(undeclared_number_belongs_to_the_only_container),
		TEST(scheme_path_and_parameters_are_read),
		TEST(times_are_clamped),
		TEST(host_network_is_refused_unless_allowed_and_control_ports_always),
		TEST(only_running_pods_that_say_true_are_looked_at),
		TEST(prefix_can_be_another),
		TEST(targets_say_where_they_run),
		TEST(options_are_checked),
		TEST(memory_that_runs_out_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
