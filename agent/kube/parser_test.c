#include <stdio.h>

#include "dump.h"

/* The smallest pod, with more text behind its metadata. */
#define POD(uid, more)  "{\"metadata\":{\"uid\":\"" uid "\",\"namespace\":\"n\",\"name\":\"p" uid "\"}" more "}"
#define LIST(items)     "{\"kind\":\"PodList\",\"items\":[" items "]}"
#define LIST_WITH(more) LIST(POD("1", more))

static int parse_text(const char *text, struct kube_pods **ret_pods, struct error *err)
{
	return parse_pods(span_str(text), 7, 1 << 20, ret_pods, err);
}

static void check_dump(const struct kube_pod *items, size_t count, const char *expected)
{
	struct buf out;
	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < count; i++)
		dump_pod(&out, &items[i]);
	test_assert_text(buf_view(&out), expected);
	buf_done(&out);
}

static void check_list(const char *text, const char *expected)
{
	struct kube_pods *pods;
	struct error err = {""};
	int r = parse_text(text, &pods, &err);
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
	check_dump(pods->items, pods->count, expected);
	kube_pods_unref(pods);
}

static int by_name(const void *a, const void *b)
{
	const struct kube_pod *left = a, *right = b;
	int order = span_cmp(left->namespace_, right->namespace_);
	return order ? order : span_cmp(left->name, right->name);
}

/* Captured bodies are dumped in the order of the names, since uids are random. */
static void check_file(const char *name, size_t piece)
{
	char path[100];
	struct kube_pods *pods;
	struct error err = {""};
	snprintf(path, sizeof(path), "golden/kubernetes/%s.json", name);
	struct span text = test_file(path);
	snprintf(path, sizeof(path), "golden/kubernetes/%s.txt", name);
	struct span expected = test_file(path);
	int r = parse_pods(text, piece, 1 << 20, &pods, &err);
	if (r < 0)
		fail_msg("%s: %d: %s", name, r, err.text);
	struct kube_pod *items = malloc(pods->count * sizeof(*items));
	assert_non_null(items);
	memcpy(items, pods->items, pods->count * sizeof(*items));
	qsort(items, pods->count, sizeof(*items), by_name);
	check_dump(items, pods->count, expected.ptr);
	free(items);
	kube_pods_unref(pods);
	test_file_free(expected);
	test_file_free(text);
}

static void captured_lists_are_read_in_pieces_of_any_size(void **state)
{
	(void)state;
	static const size_t pieces[] = {1 << 20, 1000, 1};
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		check_file("kubelet_pods", pieces[i]);
		check_file("kubelet_pods_1.20", pieces[i]);
	}
}

/* Takes minutes when every piece makes the whole annotation be read again. */
static void annotation_of_2_mb_in_pieces_of_one_byte_is_read_once(void **state)
{
	(void)state;
	struct kube_pods *pods;
	struct buf text;
	buf_init(&text, 4 << 20);
	buf_str(&text, "{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"1\",\"annotations\":{\"a\":\"");
	char *filler = buf_reserve(&text, 2000000);
	assert_non_null(filler);
	memset(filler, 'x', 2000000);
	text.len += 2000000;
	buf_str(&text, "\"},\"namespace\":\"n\",\"name\":\"p\"}}]}");
	assert_int_equal(parse_pods(buf_view(&text), 1, 4 << 20, &pods, NULL), 0);
	assert_int_equal(pods->count, 1);
	kube_pods_unref(pods);
	buf_done(&text);
}

static void list_without_pods_may_be_null_or_empty(void **state)
{
	(void)state;
	struct span text = test_file("golden/kubernetes/kubelet_pods_empty.json");
	check_list(text.ptr, "");
	test_file_free(text);
	check_list(LIST(""), "");
}

static void pod_with_every_field_is_kept(void **state)
{
	(void)state;
	check_list(
		"{\"items\":[{\"status\":{\"podIPs\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::1\"}],\"podIP\":\"10.0.0."
		"1\","
		"\"initContainerStatuses\":[{\"name\":\"s\",\"containerID\":\"containerd://"
		"2\",\"state\":{\"running\":{}}}],"
		"\"containerStatuses\":[{\"state\":{\"running\":null,\"terminated\":{\"exitCode\":1}},\"name\":\"c\","
		"\"containerID\":\"containerd://1\"}],\"hostIP\":\"192.0.2.1\",\"phase\":\"Running\","
		"\"conditions\":[{\"status\":\"True\",\"type\":\"Initialized\"},{\"status\":\"Unknown\",\"type\":"
		"\"Ready\"}]},"
		"\"spec\":{\"initContainers\":[{\"name\":\"i\",\"image\":\"x:1\"},{\"restartPolicy\":\"Always\","
		"\"name\":\"s\"}],"
		"\"containers\":[{\"name\":\"c\",\"image\":\"y:2\",\"env\":[{\"name\":\"A\",\"value\":\"secret\"}],"
		"\"ports\":["
		"{\"containerPort\":80},{\"name\":\"d\",\"containerPort\":53,\"protocol\":\"UDP\",\"hostPort\":54}]}],"
		"\"nodeName\":\"node-a\",\"hostNetwork\":true},"
		"\"metadata\":{\"uid\":\"1\",\"name\":\"p\",\"namespace\":\"n\",\"labels\":{\"b\":\"2\",\"a\":\"1\\n\"}"
		","
		"\"deletionTimestamp\":\"2026-11-24T10:40:26Z\",\"ownerReferences\":[{\"kind\":\"A\",\"name\":\"x\"},"
		"{\"controller\":true,\"name\":\"rs\",\"kind\":\"ReplicaSet\"},{\"kind\":\"B\",\"controller\":false}]}}"
		"],"
		"\"kind\":\"PodList\"}",
		"n/p node=node-a host=192.0.2.1 ip=10.0.0.1 ips=10.0.0.1,fd00::1 Running ready=unknown hostNetwork "
		"terminating "
		"of=ReplicaSet/rs\n"
		"  {a=\"1\\n\", b=\"2\"}\n"
		"  c y:2 id :80/TCP d:53/UDP\n"
		"  init i x:1\n"
		"  init sidecar s  running id\n");
}

static void absent_fields_are_empty_and_ready_is_unknown(void **state)
{
	(void)state;
	check_list(LIST(POD("2", "") "," POD("1", ",\"spec\":null,\"status\":{\"conditions\":null}")),
		"n/p1 node= host= ip=  ready=unknown\n  {}\n"
		"n/p2 node= host= ip=  ready=unknown\n  {}\n");
}

static void values_of_a_wrong_type_are_passed_over(void **state)
{
	(void)state;
	check_list(LIST_WITH(",\"spec\":{\"nodeName\":{\"containers\":[]},\"hostNetwork\":\"true\",\"containers\":{"
			     "\"name\":\"x\"},"
			     "\"initContainers\":[[{\"name\":\"y\"}],\"z\",7]},\"status\":[{\"phase\":\"no\"}]"),
		"n/p1 node= host= ip=  ready=unknown\n  {}\n");
}

static void ports_without_a_usable_number_are_left_out(void **state)
{
	(void)state;
	check_list(LIST_WITH(",\"spec\":{\"containers\":[{\"name\":\"c\",\"ports\":[{\"name\":\"a\"},{"
			     "\"containerPort\":65536},"
			     "{\"containerPort\":-1},{\"containerPort\":1e3},{\"containerPort\":99999999999999999999},"
			     "{\"name\":\"b\",\"containerPort\":65535}]}]}"),
		"n/p1 node= host= ip=  ready=unknown\n  {}\n  c  b:65535/TCP\n");
}

static void empty_label_values_are_kept_and_the_applied_manifest_is_not(void **state)
{
	(void)state;
	struct kube_pods *pods;
	assert_int_equal(
		parse_text(
			LIST("{\"metadata\":{\"uid\":\"1\",\"namespace\":\"n\",\"name\":\"p\",\"labels\":{\"e\":\"\"},"
			     "\"annotations\":{\"z\":\"1\",\"kubectl.kubernetes.io/last-applied-configuration\":\"x\","
			     "\"a\":\"2\",\"z\":\"3\"}}}"),
			&pods, NULL),
		0);
	const struct kube_pod *pod = kube_pods_find(pods, SPAN("1"));
	assert_int_equal(pod->labels.count, 1);
	assert_int_equal(pod->labels.items[0].value.len, 0);
	assert_int_equal(pod->annotations.count, 2); /* a name twice: one of them */
	assert_true(span_eq(labels_get(pod->annotations, SPAN("a")), SPAN("2")));
	kube_pods_unref(pods);
}

static void pods_are_found_by_uid_and_come_once(void **state)
{
	(void)state;
	struct kube_pods *pods;
	assert_int_equal(
		parse_text(LIST(POD("3", "") "," POD("1", "") "," POD("2", "") "," POD("1", "")), &pods, NULL), 0);
	assert_int_equal(pods->count, 3);
	assert_true(span_eq(kube_pods_find(pods, SPAN("2"))->name, SPAN("p2")));
	assert_null(kube_pods_find(pods, SPAN("4")));
	assert_null(kube_pods_find(pods, SPAN("")));
	kube_pods_unref(pods);
}

static void standalone_kubelet_gives_pods_the_address_of_the_host(void **state)
{
	(void)state;
	struct kube_pods_parser *parser;
	struct kube_pods *pods;
	assert_int_equal(kube_pods_parser_new(1 << 20, &parser), 0);
	assert_int_equal(kube_pods_parser_host_ip(parser, SPAN("192.0.2.7")), 0);
	struct span text = SPAN(LIST(POD("1", ",\"spec\":{\"hostNetwork\":true}") "," POD("2", "")));
	assert_int_equal(kube_pods_parser_feed(parser, text, NULL), 0);
	assert_int_equal(kube_pods_parser_end(parser, &pods, NULL), 0);
	kube_pods_parser_free(parser);
	check_dump(pods->items, pods->count,
		"n/p1 node= host=192.0.2.7 ip=192.0.2.7 ips=192.0.2.7  ready=unknown hostNetwork\n  {}\n"
		"n/p2 node= host=192.0.2.7 ip=  ready=unknown\n  {}\n");
	kube_pods_unref(pods);
}

static uint64_t hash_of(const char *text)
{
	struct kube_pods *pods;
	assert_int_equal(parse_text(text, &pods, NULL), 0);
	assert_int_equal(pods->count, 1);
	uint64_t hash = pods->items[0].hash;
	kube_pods_unref(pods);
	return hash;
}

static void hash_follows_our_fields_and_nothing_else(void **state)
{
	(void)state;
	uint64_t hash = hash_of(LIST_WITH(""));
	assert_true(
		hash == hash_of(LIST_WITH(",\"spec\":{\"volumes\":[{\"name\":\"v\"}],\"restartPolicy\":\"Never\"}")));
	static const char *const different[] = {
		LIST_WITH(",\"spec\":{\"nodeName\":\"a\"}"),
		LIST_WITH(",\"spec\":{\"hostNetwork\":true}"),
		LIST_WITH(",\"spec\":{\"containers\":[{\"name\":\"a\"}]}"),
		LIST_WITH(",\"spec\":{\"initContainers\":[{\"name\":\"a\"}]}"),
		LIST_WITH(",\"spec\":{\"initContainers\":[{\"name\":\"a\",\"restartPolicy\":\"Always\"}]}"),
		LIST_WITH(",\"spec\":{\"containers\":[{\"image\":\"a\"}]}"),
		LIST_WITH(",\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":1}]}]}"),
		LIST_WITH(",\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":1,\"name\":\"a\"}]}]}"),
		LIST_WITH(",\"status\":{\"phase\":\"a\"}"),
		LIST_WITH(",\"status\":{\"hostIP\":\"a\"}"),
		LIST_WITH(",\"status\":{\"podIP\":\"a\"}"),
		LIST_WITH(",\"status\":{\"podIPs\":[{\"ip\":\"a\"},{\"ip\":\"b\"}]}"),
		LIST_WITH(",\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}"),
		LIST_WITH(",\"metadata\":{\"labels\":{\"a\":\"\"}}"),
		LIST_WITH(",\"metadata\":{\"annotations\":{\"a\":\"\"}}"),
		LIST_WITH(",\"metadata\":{\"deletionTimestamp\":\"a\"}"),
		LIST_WITH(",\"metadata\":{\"ownerReferences\":[{\"kind\":\"a\",\"controller\":true}]}"),
	};
	for (size_t i = 0; i < ARRAY_SIZE(different); i++) {
		uint64_t other = hash_of(different[i]);
		for (size_t k = 0; k < i; k++)
			assert_true(other != hash_of(different[k]));
		assert_true(other != hash);
	}
}

static void what_is_no_list_of_pods_is_refused_without_quoting_it(void **state)
{
	(void)state;
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{"", "not JSON near byte 0"},
		{"Unauthorized", "not JSON near byte "},
		{"{}", "not a list of pods"},
		{"[]", "not a list of pods"},
		{"{\"kind\":\"PodList\"}", "not a list of pods"},
		{"{\"kind\":\"PodList\",\"items\":{}}", "not a list of pods"},
		{"{\"kind\":\"NodeList\",\"items\":[]}", "not a list of pods"},
		{LIST("{}"), "a pod without uid, namespace or name"},
		{LIST("null") "x", "not JSON near byte "},
		{LIST("{\"secret\":\"a\\qb\"}"), "not JSON near byte "},
		{"{\"kind\":\"PodList\",\"items\":[{\"secret\":\"a", "not JSON near byte "},
		{"{\"kind\":\"\xff\"}", "not JSON near byte "},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kube_pods *pods = NULL;
		struct error err = {""};
		assert_int_equal(parse_text(cases[i].text, &pods, &err), -EBADMSG);
		assert_null(pods);
		if (!span_starts_with(span_str(err.text), span_str(cases[i].reason)) || strstr(err.text, "secret"))
			fail_msg("\"%s\": %s", cases[i].text, err.text);
	}
}

static void failure_stays(void **state)
{
	(void)state;
	struct kube_pods_parser *parser;
	struct kube_pods *pods;
	struct error first = {""}, second = {""};
	assert_int_equal(kube_pods_parser_new(1 << 20, &parser), 0);
	assert_int_equal(kube_pods_parser_feed(parser, SPAN("{]"), &first), -EBADMSG);
	assert_int_equal(kube_pods_parser_feed(parser, SPAN(LIST("")), &second), -EBADMSG);
	assert_string_equal(first.text, second.text);
	assert_int_equal(kube_pods_parser_end(parser, &pods, NULL), -EBADMSG);
	kube_pods_parser_free(parser);
}

static void nesting_ends_at_64(void **state)
{
	(void)state;
	struct kube_pods *pods;
	struct error err = {""};
	static char bomb[100000];
	memset(bomb, '[', sizeof(bomb));
	assert_int_equal(parse_pods(span_of(bomb, sizeof(bomb)), 4096, 1 << 20, &pods, &err), -EBADMSG);
	assert_string_equal(err.text, "nested deeper than 64");
	for (size_t i = 0; i + 5 < sizeof(bomb); i += 5)
		memcpy(bomb + i, "{\"a\":", 5);
	assert_int_equal(parse_pods(span_of(bomb, sizeof(bomb)), 4096, 1 << 20, &pods, &err), -EBADMSG);
	assert_string_equal(err.text, "nested deeper than 64");
}

static void list_of_exactly_the_ceiling_is_read_and_one_byte_more_is_not(void **state)
{
	(void)state;
	struct kube_pods *pods;
	struct error err = {""};
	struct span text = SPAN(LIST(POD("1", "")));
	assert_int_equal(parse_pods(text, 10, text.len, &pods, &err), 0);
	kube_pods_unref(pods);
	assert_int_equal(parse_pods(text, 10, text.len - 1, &pods, &err), -EMSGSIZE);
	assert_string_equal(err.text, "the list of pods is larger than allowed");
}

static void what_a_pod_has_too_many_of_goes_by_and_the_other_pods_stay(void **state)
{
	static const struct {
		const char *before, *entry, *after;
	} lists[] = {
		{"\"spec\":{\"containers\":[{\"ports\":[", "{\"containerPort\":1}", "]}]}"},
		{"\"spec\":{\"containers\":[", "{\"name\":\"c\"}", "]}"},
		{"\"spec\":{\"initContainers\":[", "{\"ports\":[{\"containerPort\":1}]}", "]}"},
		{"\"status\":{\"containerStatuses\":[", "{\"name\":\"c\",\"state\":{\"running\":{}}}", "]}"},
		{"\"status\":{\"podIPs\":[", "{\"ip\":\"1.2.3.4\"}", "]}"},
	};
	(void)state;
	struct buf text;
	struct kube_pods *pods;
	struct error err = {""};
	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		buf_reset(&text);
		buf_printf(&text, "{\"kind\":\"PodList\",\"items\":[{%s%s", lists[i].before, lists[i].entry);
		for (int j = 0; j < KUBE_POD_LIST_MAX; j++)
			buf_printf(&text, ",%s", lists[i].entry);
		buf_printf(&text,
			"%s,\"metadata\":{\"uid\":\"1\",\"namespace\":\"n\",\"name\":\"a\"}},{\"metadata\":{\"uid\":"
			"\"2\","
			"\"namespace\":\"n\",\"name\":\"b\"}}]}",
			lists[i].after);
		assert_int_equal(parse_pods(buf_view(&text), 65536, 1 << 20, &pods, &err), 0);
		assert_int_equal(pods->count, 2);
		const struct kube_pod *pod = &pods->items[0];
		size_t ports = i == 0 ? pod->containers[0].port_count : 0;
		assert_true(ports + pod->container_count + pod->pod_ip_count <= KUBE_POD_LIST_MAX + 1);
		assert_true(i == 3 || ports + pod->container_count + pod->pod_ip_count >= KUBE_POD_LIST_MAX);
		kube_pods_unref(pods);
	}
	buf_done(&text);
}

static int parse_once(void *arg)
{
	struct kube_pods *pods;
	int r = parse_pods(*(const struct span *)arg, 100000, 1 << 20, &pods, NULL);
	if (r == 0)
		kube_pods_unref(pods);
	return r;
}

static void parsing_survives_no_memory(void **state)
{
	(void)state;
	struct span text = test_file("golden/kubernetes/kubelet_pods.json");
	test_out_of_memory(parse_once, &text);
	test_file_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(captured_lists_are_read_in_pieces_of_any_size),
		cmocka_unit_test(annotation_of_2_mb_in_pieces_of_one_byte_is_read_once),
		cmocka_unit_test(list_without_pods_may_be_null_or_empty),
		cmocka_unit_test(pod_with_every_field_is_kept),
		cmocka_unit_test(absent_fields_are_empty_and_ready_is_unknown),
		cmocka_unit_test(values_of_a_wrong_type_are_passed_over),
		cmocka_unit_test(ports_without_a_usable_number_are_left_out),
		cmocka_unit_test(empty_label_values_are_kept_and_the_applied_manifest_is_not),
		cmocka_unit_test(pods_are_found_by_uid_and_come_once),
		cmocka_unit_test(standalone_kubelet_gives_pods_the_address_of_the_host),
		cmocka_unit_test(hash_follows_our_fields_and_nothing_else),
		cmocka_unit_test(what_is_no_list_of_pods_is_refused_without_quoting_it),
		cmocka_unit_test(failure_stays),
		cmocka_unit_test(nesting_ends_at_64),
		cmocka_unit_test(list_of_exactly_the_ceiling_is_read_and_one_byte_more_is_not),
		cmocka_unit_test(what_a_pod_has_too_many_of_goes_by_and_the_other_pods_stay),
		cmocka_unit_test(parsing_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
