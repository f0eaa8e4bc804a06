/* role=pod: the meta labels, by hand-made pods of shapes that no captured list has. */
#include "pods_for_test.h"

#include <errno.h>
#include <stdio.h>

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

static struct findings find(const struct kube_pod *pod)
{
	struct findings findings;
	findings_init(&findings, &arena, FOUND_LABEL_BYTES_MAX);
	assert_int_equal(find_pod(pod, &findings), 0);
	return findings;
}

static void assert_label(const struct findings *findings, size_t at, const char *name, const char *value)
{
	assert_true(at < findings->count);
	test_assert_text(labels_get(findings->items[at].labels, span_str(name)), value);
}

/* Identities and addresses, a line for each. */
static void assert_found(const struct findings *findings, const char *expected)
{
	struct buf text;
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < findings->count; i++)
		buf_printf(&text, "%.*s %.*s\n", SPAN_ARGS(findings->items[i].identity),
			SPAN_ARGS(labels_get(findings->items[i].labels, SPAN("__address__"))));
	test_assert_text(buf_view(&text), expected);
	buf_done(&text);
}

static void every_declared_port_is_a_target_whatever_its_protocol(void **state)
{
	(void)state;
	struct kube_pod pod = web_pod();
	struct findings findings = find(&pod);
	assert_found(&findings, "uid-web/web/8080 10.85.0.5:8080\n"
				"uid-web/web/8081 10.85.0.5:8081\n"
				"uid-web/web/5353 10.85.0.5:5353\n"
				"uid-web/side/9100 10.85.0.5:9100\n"
				"uid-web/once/7000 10.85.0.5:7000\n"
				"uid-web/proxy/9102 10.85.0.5:9102\n");
	assert_label(&findings, 2, "__meta_kubernetes_pod_container_port_protocol", "UDP");
}

static void a_target_has_all_labels_of_pod_container_and_port(void **state)
{
	(void)state;
	static const struct label labels[] = {{SPAN("app.kubernetes.io/name"), SPAN("web")}, {SPAN("tier"), SPAN("")}};
	static const struct label annotations[] = {{SPAN("example.com/a-b"), SPAN("1")}};
	struct kube_pod pod = web_pod();
	pod.labels = (struct labels)LABELS(labels);
	pod.annotations = (struct labels)LABELS(annotations);
	struct findings findings = find(&pod);
	struct buf text;
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < findings.items[1].labels.count; i++) {
		struct label label = findings.items[1].labels.items[i];
		buf_printf(&text, "%.*s=%.*s\n", SPAN_ARGS(label.name), SPAN_ARGS(label.value));
	}
	test_assert_text(buf_view(&text), "__address__=10.85.0.5:8081\n"
					  "__meta_kubernetes_namespace=shop\n"
					  "__meta_kubernetes_pod_annotation_example_com_a_b=1\n"
					  "__meta_kubernetes_pod_annotationpresent_example_com_a_b=true\n"
					  "__meta_kubernetes_pod_container_id=containerd://web\n"
					  "__meta_kubernetes_pod_container_image=registry/web:1\n"
					  "__meta_kubernetes_pod_container_init=false\n"
					  "__meta_kubernetes_pod_container_name=web\n"
					  "__meta_kubernetes_pod_container_port_name=metrics\n"
					  "__meta_kubernetes_pod_container_port_number=8081\n"
					  "__meta_kubernetes_pod_container_port_protocol=TCP\n"
					  "__meta_kubernetes_pod_container_sidecar=false\n"
					  "__meta_kubernetes_pod_controller_kind=ReplicaSet\n"
					  "__meta_kubernetes_pod_controller_name=web\n"
					  "__meta_kubernetes_pod_host_ip=192.168.77.2\n"
					  "__meta_kubernetes_pod_ip=10.85.0.5\n"
					  "__meta_kubernetes_pod_label_app_kubernetes_io_name=web\n"
					  "__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name=true\n"
					  "__meta_kubernetes_pod_labelpresent_tier=true\n"
					  "__meta_kubernetes_pod_name=web-1\n"
					  "__meta_kubernetes_pod_node_name=node-a\n"
					  "__meta_kubernetes_pod_phase=Running\n"
					  "__meta_kubernetes_pod_ready=true\n"
					  "__meta_kubernetes_pod_uid=uid-web\n");
	buf_done(&text);
}

static void nothing_of_one_container_or_port_stays_for_the_next(void **state)
{
	(void)state;
	static const struct kube_container containers[] = {
		{CONTAINER("web", web_ports)}, {.name = SPAN("bare"), .init = true}, /* not started: no id */
	};
	struct kube_pod pod = web_pod();
	pod.containers = containers;
	pod.container_count = ARRAY_SIZE(containers);
	struct findings findings = find(&pod);
	assert_found(&findings, "uid-web/web/8080 10.85.0.5:8080\n"
				"uid-web/web/8081 10.85.0.5:8081\n"
				"uid-web/web/5353 10.85.0.5:5353\n"
				"uid-web/bare/0 10.85.0.5\n");
	assert_label(&findings, 3, "__meta_kubernetes_pod_container_id", "");
	assert_label(&findings, 3, "__meta_kubernetes_pod_container_init", "true");
	assert_label(&findings, 3, "__meta_kubernetes_pod_container_port_name", "");
	assert_label(&findings, 3, "__meta_kubernetes_pod_container_port_number", "");
	assert_label(&findings, 3, "__meta_kubernetes_pod_container_port_protocol", "");
}

static void sidecar_is_an_init_container_that_says_so(void **state)
{
	(void)state;
	struct kube_pod pod = web_pod();
	struct findings findings = find(&pod);
	assert_label(&findings, 4, "__meta_kubernetes_pod_container_init", "true");
	assert_label(&findings, 4, "__meta_kubernetes_pod_container_sidecar", "false");
	assert_label(&findings, 5, "__meta_kubernetes_pod_container_init", "true");
	assert_label(&findings, 5, "__meta_kubernetes_pod_container_sidecar", "true");
}

static void ipv6_stands_in_brackets_with_a_port_only(void **state)
{
	(void)state;
	static const struct kube_container containers[] = {{CONTAINER("side", side_ports)}, {.name = SPAN("bare")}};
	struct kube_pod pod = web_pod();
	pod.pod_ip = SPAN("fd00::5");
	pod.containers = containers;
	pod.container_count = ARRAY_SIZE(containers);
	struct findings findings = find(&pod);
	assert_found(&findings, "uid-web/side/9100 [fd00::5]:9100\nuid-web/bare/0 fd00::5\n");
}

static void number_declared_twice_gives_two_identities(void **state)
{
	(void)state;
	static const struct kube_port ports[] = {TCP_PORT("dns", 53), UDP_PORT("dns-udp", 53), TCP_PORT("", 53)};
	static const struct kube_container containers[] = {{CONTAINER("dns", ports)}};
	struct kube_pod pod = web_pod();
	pod.containers = containers;
	pod.container_count = 1;
	struct findings findings = find(&pod);
	assert_found(&findings, "uid-web/dns/53 10.85.0.5:53\n"
				"uid-web/dns/53/1 10.85.0.5:53\n"
				"uid-web/dns/53/2 10.85.0.5:53\n");
}

static void pod_without_address_has_no_targets(void **state)
{
	(void)state;
	struct kube_pod pod = web_pod();
	pod.pod_ip = SPAN("");
	assert_int_equal(find(&pod).count, 0);
}

static void phase_and_readiness_are_not_looked_at(void **state)
{
	(void)state;
	struct kube_pod pod = web_pod();
	pod.phase = SPAN("Failed");
	pod.ready = SPAN("unknown");
	pod.terminating = true;
	struct findings findings = find(&pod);
	assert_int_equal(findings.count, 6);
	assert_label(&findings, 0, "__meta_kubernetes_pod_phase", "Failed");
	assert_label(&findings, 0, "__meta_kubernetes_pod_ready", "unknown");
}

static void each_character_outside_of_the_alphabet_becomes_one_underscore(void **state)
{
	(void)state;
	static const struct label labels[] = {
		{SPAN("A-z.0/9_"), SPAN("a")}, {SPAN("caf\xc3\xa9\xe2\x82\xac!"), SPAN("b")}};
	struct kube_pod pod = web_pod();
	pod.labels = (struct labels)LABELS(labels);
	struct findings findings = find(&pod);
	assert_label(&findings, 0, "__meta_kubernetes_pod_label_A_z_0_9_", "a");
	assert_label(&findings, 0, "__meta_kubernetes_pod_label_caf___", "b");
}

static void long_annotation_is_only_present(void **state)
{
	(void)state;
	static char value[FOUND_META_VALUE_MAX + 1];
	memset(value, 'x', sizeof(value));
	struct label annotations[] = {
		{SPAN("fits"), {value, sizeof(value) - 1}}, {SPAN("long"), {value, sizeof(value)}}};
	struct kube_pod pod = web_pod();
	pod.annotations = (struct labels)LABELS(annotations);
	struct findings findings = find(&pod);
	struct labels labels = findings.items[0].labels;
	assert_int_equal(labels_get(labels, SPAN("__meta_kubernetes_pod_annotation_fits")).len, FOUND_META_VALUE_MAX);
	assert_int_equal(labels_get(labels, SPAN("__meta_kubernetes_pod_annotation_long")).len, 0);
	assert_label(&findings, 0, "__meta_kubernetes_pod_annotationpresent_long", "true");
}

/* 256 KiB of the smallest annotations, and thousands of ports: what a tenant could put into one pod. */
static void pod_that_asks_for_too_much_loses_its_own_targets_only(void **state)
{
	(void)state;
	enum { ANNOTATIONS = 50000, PORTS = 5000 };
	static char names[ANNOTATIONS][8];
	static struct label annotations[ANNOTATIONS];
	static struct kube_port ports[PORTS];
	for (size_t i = 0; i < ANNOTATIONS; i++) {
		int len = snprintf(names[i], sizeof(names[i]), i < ANNOTATIONS / 2 ? "a.%05zu" : "aB%05zu", i);
		annotations[i] = (struct label){{names[i], (size_t)len}, SPAN("x")};
	}
	for (size_t i = 0; i < PORTS; i++)
		ports[i] = (struct kube_port)TCP_PORT("", (uint16_t)(i + 1));
	struct kube_container container = {CONTAINER("c", ports)};
	struct kube_pod pod = web_pod();
	pod.annotations = (struct labels)LABELS(annotations);
	pod.containers = &container;
	pod.container_count = 1;

	struct findings findings = find(&pod);
	assert_true(findings.count > 0 && findings.count < 20);
	assert_true(findings.label_bytes <= FOUND_LABEL_BYTES_MAX);
	assert_int_equal(findings.refusal_count, 1);
	assert_string_equal(findings.refusals[0].err.text,
		"the labels of its targets take more than 1048576 bytes; the rest is left out");
	assert_true(arena.used < 16 << 20);
}

static int find_once(void *arg)
{
	struct arena fresh;
	struct findings findings;
	arena_init(&fresh, 1 << 20);
	findings_init(&findings, &fresh, FOUND_LABEL_BYTES_MAX);
	int result = find_pod(arg, &findings);
	arena_done(&fresh);
	return result;
}

static void memory_that_runs_out_is_reported(void **state)
{
	(void)state;
	static const struct label labels[] = {{SPAN("app"), SPAN("web")}};
	struct kube_pod pod = web_pod();
	pod.labels = (struct labels)LABELS(labels);
	test_out_of_memory(find_once, &pod);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_declared_port_is_a_target_whatever_its_protocol),
		TEST(a_target_has_all_labels_of_pod_container_and_port),
		TEST(nothing_of_one_container_or_port_stays_for_the_next),
		TEST(sidecar_is_an_init_container_that_says_so),
		TEST(ipv6_stands_in_brackets_with_a_port_only),
		TEST(number_declared_twice_gives_two_identities),
		TEST(pod_without_address_has_no_targets),
		TEST(phase_and_readiness_are_not_looked_at),
		TEST(each_character_outside_of_the_alphabet_becomes_one_underscore),
		TEST(long_annotation_is_only_present),
		TEST(pod_that_asks_for_too_much_loses_its_own_targets_only),
		TEST(memory_that_runs_out_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
