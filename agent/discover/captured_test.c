/* Discovery on a list that a real kubelet has sent. */
#include "found.h"

#include <stdlib.h>

#include "test.h"

static struct kube_pods *captured_pods(void)
{
	struct span body = test_file("golden/kubernetes/kubelet_pods.json");
	struct kube_pods_parser *parser = NULL;
	struct kube_pods *pods = NULL;
	struct error err = {{0}};
	assert_int_equal(kube_pods_parser_new(1 << 20, &parser), 0);
	assert_int_equal(kube_pods_parser_feed(parser, body, &err), 0);
	assert_int_equal(kube_pods_parser_end(parser, &pods, &err), 0);
	kube_pods_parser_free(parser);
	test_file_free(body);
	return pods;
}

static void assert_golden(const struct buf *actual, const char *path)
{
	struct span expected = test_file(path); /* zero bytes follow: a string */
	test_assert_text(buf_view(actual), expected.ptr);
	test_file_free(expected);
}

static void role_pod_finds_what_prometheus_would(void **state)
{
	(void)state;
	struct kube_pods *pods = captured_pods();
	struct buf text;
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < pods->count; i++) {
		struct arena arena;
		struct findings findings;
		arena_init(&arena, 1 << 20);
		findings_init(&findings, &arena, FOUND_LABEL_BYTES_MAX);
		assert_int_equal(find_pod(&pods->items[i], &findings), 0);
		for (size_t j = 0; j < findings.count; j++) {
			buf_labels(&text, findings.items[j].labels);
			buf_char(&text, '\n');
		}
		arena_done(&arena);
	}
	assert_golden(&text, "golden/discover/role_pod.txt"); /* made by role_pod.py beside it */
	buf_done(&text);
	kube_pods_unref(pods);
}

static void count_target(void *arg, struct target *target)
{
	(void)target;
	(*(size_t *)arg)++;
}

static int by_url(const void *left, const void *right)
{
	return span_cmp((*(struct target *const *)left)->url, (*(struct target *const *)right)->url);
}

static void annotated_pods_are_scraped_without_a_scrape_config(void **state)
{
	(void)state;
	struct kube_pods *pods = captured_pods();
	size_t added = 0, count = 0;
	struct discover_events events = {.added = count_target, .removed = count_target, .arg = &added};
	struct target_global_options global = {
		.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	struct discover_annotation_options annotations = {.enabled = true,
		.job_name = "kubernetes-pods",
		.prefix = "prometheus.io",
		.min_interval_ns = NS_PER_SEC,
		.max_interval_ns = 3600 * NS_PER_SEC,
		.max_targets_per_pod = 16};
	struct discover_settings settings = {
		.global = &global, .annotations = &annotations, .node_name = SPAN("node-a")};
	struct discover *discover = NULL;
	assert_int_equal(discover_new(events, &discover), 0);
	assert_int_equal(discover_configure(discover, &settings, NULL), 0);
	assert_int_equal(discover_pods(discover, pods), 0);

	struct target *const *targets = discover_targets(discover, &count);
	struct target *sorted[16];
	struct buf text;
	buf_init(&text, 1 << 20);
	assert_true(count == added && count <= ARRAY_SIZE(sorted));
	for (size_t i = 0; i < count; i++)
		sorted[i] = targets[i];
	qsort(sorted, count, sizeof(sorted[0]), by_url);
	for (size_t i = 0; i < count; i++) {
		struct target_address address;
		assert_int_equal(discover_dial_address(discover, sorted[i], &address, NULL), 0);
		buf_printf(&text, "%.*s ", SPAN_ARGS(sorted[i]->url));
		buf_labels(&text, sorted[i]->labels);
		buf_char(&text, '\n');
	}
	assert_golden(
		&text, "golden/discover/annotations.txt"); /* hostnet is in the host's network, so not among them */
	buf_done(&text);
	discover_free(discover);
	kube_pods_unref(pods);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(role_pod_finds_what_prometheus_would),
		cmocka_unit_test(annotated_pods_are_scraped_without_a_scrape_config),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
