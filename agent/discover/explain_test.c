/* Explanations of the pods that a real kubelet has sent: together they have exactly the targets in force. */
#include "gleaner/discover.h"

#include <errno.h>
#include <stdlib.h>

#include "test.h"

static struct kube_pods *captured_pods(void)
{
	struct span body = test_file("golden/kubernetes/kubelet_pods.json");
	struct kube_pods_parser *parser = NULL;
	struct kube_pods *pods = NULL;
	assert_int_equal(kube_pods_parser_new(1 << 20, &parser), 0);
	assert_int_equal(kube_pods_parser_feed(parser, body, NULL), 0);
	assert_int_equal(kube_pods_parser_end(parser, &pods, NULL), 0);
	kube_pods_parser_free(parser);
	test_file_free(body);
	return pods;
}

static void ignore(void *arg, struct target *target)
{
	(void)arg;
	(void)target;
}

struct seen {
	struct discover *discover;
	const struct kube_pod *pod;
	size_t targets, answers;
};

static void see(void *arg, const struct discover_answer *answer)
{
	struct seen *seen = arg;
	seen->answers++;
	for (size_t i = 0; i < answer->target_count; i++) {
		assert_true(answer->asks);
		assert_true(span_eq(answer->targets[i]->pod_uid, seen->pod->uid));
		seen->targets += discover_find(seen->discover, answer->targets[i]->key) == answer->targets[i];
	}
	if (answer->target_count + answer->dropped_count + answer->refusal_count == 0)
		assert_true(answer->why.text[0] != '\0'); /* nothing is silent */
	else if (!answer->asks)
		fail_msg("%s", answer->why.text);
}

static void answers_have_exactly_the_targets_in_force(void **state)
{
	(void)state;
	struct kube_pods *pods = captured_pods();
	const struct discover_events events = {.added = ignore, .removed = ignore};
	const struct target_global_options global = {
		.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	const struct discover_annotation_options annotations = {.enabled = true,
		.job_name = "kubernetes-pods",
		.prefix = "prometheus.io",
		.min_interval_ns = NS_PER_SEC,
		.max_interval_ns = 3600 * NS_PER_SEC,
		.max_targets_per_pod = 16};
	const char *names[] = {"default"};
	const char *sources[] = {"__meta_kubernetes_pod_container_port_number"};
	struct relabel_rule rule = {.source_labels = {sources, 1}, .regex = "8.*", .action = RELABEL_KEEP};
	struct target_kubernetes_sd sd = {.role = "pod", .namespaces = {names, 1}};
	const struct target_job_options job = {.job_name = "pods",
		.metrics_path = "/metrics",
		.scheme = "http",
		.relabel_configs = {&rule, 1},
		.kubernetes_sd_configs = {&sd, 1}};
	struct discover_settings settings = {.global = &global,
		.jobs = &job,
		.job_count = 1,
		.annotations = &annotations,
		.node_name = SPAN("node-a")};
	struct seen seen = {0};
	size_t count = 0;
	assert_int_equal(discover_new(events, &seen.discover), 0);
	assert_int_equal(discover_configure(seen.discover, &settings, NULL), 0);
	assert_int_equal(discover_pods(seen.discover, pods), 0);
	for (size_t i = 0; i < pods->count; i++) {
		seen.pod = &pods->items[i];
		discover_explain(seen.discover, seen.pod, NULL, see, &seen);
	}
	discover_targets(seen.discover, &count);
	assert_true(count > 0);
	assert_int_equal(seen.targets, count);
	assert_int_equal(seen.answers, 2 * pods->count);
	discover_free(seen.discover);
	kube_pods_unref(pods);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(answers_have_exactly_the_targets_in_force)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
