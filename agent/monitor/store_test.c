/* Selectors, Services and the store. */
#include <errno.h>
#include <stdio.h>

#include "monitors_for_test.h"

static void put(struct monitor_store *store, enum monitor_resource resource, const char *text, int expected)
{
	struct arena arena;
	struct error err = {{0}};
	arena_init(&arena, 1 << 20);
	assert_int_equal(monitor_store_put(store, resource, json_for_test(&arena, text), &err), expected);
	arena_done(&arena);
}

static void put_monitor(struct monitor_store *store, const char *namespace_, const char *name, const char *labels)
{
	char text[512];
	snprintf(text, sizeof(text),
		"{'metadata':{'name':'%s','namespace':'%s','labels':%s},'spec':{'selector':{},'endpoints':[{}]}}", name,
		namespace_, labels);
	put(store, MONITOR_SERVICE_MONITORS, text, 1);
}

static void assert_selected(const struct monitor_store *store, const char *expected)
{
	struct monitor_set *set = NULL;
	struct buf text;
	buf_init(&text, 4096);
	assert_int_equal(monitor_store_build(store, &set), 0);
	for (size_t i = 0; i < set->entry_count; i++) {
		if (set->entries[i].selected)
			buf_printf(&text, "%.*s/%.*s ", SPAN_ARGS(set->entries[i].monitor->namespace_),
				SPAN_ARGS(set->entries[i].monitor->name));
		else
			assert_non_null(set->entries[i].why_not);
	}
	test_assert_text(text.len ? buf_view(&text) : SPAN(""), expected);
	buf_done(&text);
	monitor_set_unref(set);
}

static struct monitor_store *store_with_three(const struct monitor_options *options)
{
	struct monitor_store *store = NULL;
	assert_int_equal(monitor_store_new(options, &store), 0);
	put_monitor(store, "a", "one", "{'team':'x'}");
	put_monitor(store, "b", "two", "{'team':'y'}");
	put_monitor(store, "b", "three", "{}");
	put(store, MONITOR_NAMESPACES, "{'metadata':{'name':'a','labels':{'kind':'prod'}}}", 1);
	put(store, MONITOR_NAMESPACES, "{'metadata':{'name':'b'}}", 1);
	return store;
}

static void absent_selector_selects_nothing_and_an_empty_one_everything(void **state)
{
	(void)state;
	struct monitor_options options = plain_options;
	struct monitor_store *store = store_with_three(&options);
	assert_selected(store, "a/one b/three b/two ");
	options.service_monitors_given = false;
	assert_selected(store, "");
	struct monitor_set *set = NULL;
	assert_int_equal(monitor_store_build(store, &set), 0);
	assert_int_equal(set->totals[MONITOR_SERVICE_MONITOR], 3);
	assert_int_equal(set->selected[MONITOR_SERVICE_MONITOR], 0);
	monitor_set_unref(set);
	monitor_store_free(store);
}

static void labels_and_namespaces_select(void **state)
{
	(void)state;
	struct option_pair team = {"team", "x"}, prod = {"kind", "prod"};
	struct monitor_options options = plain_options;
	options.service_monitors.match_labels = (struct option_pairs){&team, 1};
	struct monitor_store *store = store_with_three(&options);
	assert_selected(store, "a/one ");
	monitor_store_free(store);

	options = plain_options;
	options.service_monitor_namespaces.match_labels = (struct option_pairs){&prod, 1};
	assert_true(monitor_options_need_namespaces(&options));
	assert_false(monitor_options_need_namespaces(&plain_options));
	store = store_with_three(&options);
	assert_selected(store, "a/one ");
	monitor_store_free(store);

	const char *names[] = {"b"};
	options = plain_options;
	options.allow_namespaces = (struct option_strings){names, 1};
	store = store_with_three(&options);
	assert_selected(store, "b/three b/two ");
	options.allow_namespaces.count = 0;
	options.deny_namespaces = (struct option_strings){names, 1};
	assert_selected(store, "a/one ");
	monitor_store_free(store);
}

static void not_in_matches_where_the_key_is_absent(void **state)
{
	(void)state;
	struct label items[] = {{SPAN("app"), SPAN("a")}, {SPAN("empty"), SPAN("")}};
	struct labels labels = {items, 2};
	static const struct {
		const char *expression;
		bool matches;
	} cases[] = {
		{"{'key':'app','operator':'In','values':['b','a']}", true},
		{"{'key':'app','operator':'In','values':['A']}", false},
		{"{'key':'app','operator':'In','values':['.']}", false}, /* no regex */
		{"{'key':'none','operator':'In','values':['']}", false},
		{"{'key':'empty','operator':'In','values':['']}", true},
		{"{'key':'app','operator':'NotIn','values':['a']}", false},
		{"{'key':'none','operator':'NotIn','values':['a']}", true},
		{"{'key':'empty','operator':'Exists'}", true},
		{"{'key':'none','operator':'Exists'}", false},
		{"{'key':'app','operator':'DoesNotExist'}", false},
		{"{'key':'none','operator':'DoesNotExist'}", true},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char spec[256];
		snprintf(spec, sizeof(spec), "{'selector':{'matchExpressions':[%s]}}", cases[i].expression);
		struct monitor *monitor = monitor_for_test(MONITOR_POD_MONITOR, spec, &plain_options);
		assert_false(monitor->rejected);
		assert_int_equal(monitor_selects(monitor, SPAN("shop"), labels), cases[i].matches);
		assert_false(monitor_selects(monitor, SPAN("other"), (struct labels){0}));
		monitor_unref(monitor);
	}
}

static void an_object_that_did_not_change_is_told_apart(void **state)
{
	(void)state;
	struct monitor_store *store = NULL;
	assert_int_equal(monitor_store_new(&plain_options, &store), 0);
	put(store, MONITOR_SERVICES,
		"{'metadata':{'name':'s','namespace':'n','uid':'1','resourceVersion':'1'},'spec':{'selector':{'a':'b'}}"
		"}",
		1);
	put(store, MONITOR_SERVICES,
		"{'metadata':{'name':'s','namespace':'n','uid':'1','resourceVersion':'2'},'spec':{'selector':{'a':'b'}}"
		","
		"'status':{}}",
		0);
	put(store, MONITOR_SERVICES,
		"{'metadata':{'name':'s','namespace':'n','uid':'1'},'spec':{'selector':{'a':'c'}}}", 1);
	put(store, MONITOR_SERVICES, "{'metadata':{'namespace':'n'}}", -EINVAL);
	put(store, MONITOR_SERVICES, "[]", -EINVAL);
	assert_true(monitor_store_remove(store, MONITOR_SERVICES, SPAN("1")));
	assert_false(monitor_store_remove(store, MONITOR_SERVICES, SPAN("1")));
	monitor_store_free(store);
}

static void object_made_again_takes_the_place_of_the_old_one(void **state)
{
	(void)state;
	struct monitor_store *store = NULL;
	assert_int_equal(monitor_store_new(&plain_options, &store), 0);
	put(store, MONITOR_NAMESPACES, "{'metadata':{'name':'n','uid':'1'}}", 1);
	put(store, MONITOR_NAMESPACES, "{'metadata':{'name':'n','uid':'2'}}", 1);
	assert_false(monitor_store_remove(store, MONITOR_NAMESPACES, SPAN("1"))); /* told late */
	put(store, MONITOR_NAMESPACES, "{'metadata':{'name':'n','uid':'2'}}", 0);
	put(store, MONITOR_NAMESPACES, "{'metadata':{'name':'n'}}", 1);
	assert_false(monitor_store_remove(store, MONITOR_NAMESPACES, SPAN("")));
	assert_false(monitor_store_remove(store, MONITOR_NAMESPACES, SPAN("2")));
	monitor_store_free(store);
}

/* Annotations of n bytes. */
static int put_large(struct monitor_store *store, const char *name, size_t n, struct error *err)
{
	struct arena arena;
	struct buf text;
	buf_init(&text, 4 << 20);
	buf_printf(&text, "{'metadata':{'name':'%s','namespace':'n','uid':'%s','annotations':{'a':'", name, name);
	for (size_t i = 0; i < n / 1000; i++)
		buf_printf(&text, "%01000d", 0);
	buf_str(&text, "'}},'spec':{}}");
	buf_char(&text, '\0');
	arena_init(&arena, 16 << 20);
	int result = monitor_store_put(store, MONITOR_SERVICES, json_for_test(&arena, text.ptr), err);
	arena_done(&arena);
	buf_done(&text);
	return result;
}

static void all_objects_together_have_a_ceiling(void **state)
{
	(void)state;
	struct monitor_store *store = NULL;
	struct error err = {{0}};
	char name[8];
	int count = 0, result;
	assert_int_equal(monitor_store_new(&plain_options, &store), 0);
	assert_int_equal(put_large(store, "alone", 2000000, &err), -E2BIG);
	assert_string_equal(err.text, "a Service of more than 1 MiB");
	do {
		snprintf(name, sizeof(name), "s%d", count++);
		result = put_large(store, name, 1000000, &err);
	} while (result == 1);
	assert_int_equal(result, -E2BIG);
	assert_string_equal(err.text, "monitors and Services take more than 64 MiB, or are too many");
	assert_int_equal(count, 64 * 1024 * 1024 / 1000000 + 1);
	put(store, MONITOR_SERVICES, "{'metadata':{'name':'s1','namespace':'n','uid':'s1'},'spec':{}}", 1);
	assert_int_equal(put_large(store, name, 1000000, &err), 1); /* what got smaller left room */
	assert_true(monitor_store_remove(store, MONITOR_SERVICES, SPAN("s2")));
	assert_int_equal(put_large(store, "more", 1000000, &err), 1);
	monitor_store_free(store);
}

static void namespace_that_is_not_watched_any_more_is_forgotten(void **state)
{
	(void)state;
	struct monitor_store *store = store_with_three(&plain_options);
	assert_true(monitor_store_forget(store, MONITOR_SERVICE_MONITORS, SPAN("b")));
	assert_false(monitor_store_forget(store, MONITOR_SERVICE_MONITORS, SPAN("b")));
	assert_selected(store, "a/one ");
	assert_true(monitor_store_forget(store, MONITOR_SERVICE_MONITORS, SPAN("")));
	assert_selected(store, "");
	monitor_store_free(store);
}

static void services_of_a_namespace_lie_together(void **state)
{
	(void)state;
	struct monitor_store *store = store_with_three(&plain_options);
	struct monitor_set *set = NULL;
	size_t count = 0;
	put(store, MONITOR_SERVICES, "{'metadata':{'name':'z','namespace':'b'}}", 1);
	put(store, MONITOR_SERVICES, "{'metadata':{'name':'y','namespace':'b'}}", 1);
	put(store, MONITOR_SERVICES, "{'metadata':{'name':'x','namespace':'c'}}", 1);
	assert_int_equal(monitor_store_build(store, &set), 0);
	monitor_store_free(store); /* the set lives on */
	struct monitor_service *const *services = monitor_set_services(set, SPAN("b"), &count);
	assert_int_equal(count, 2);
	assert_true(span_eq(services[0]->name, SPAN("y")));
	monitor_set_services(set, SPAN("a"), &count);
	assert_int_equal(count, 0);
	assert_true(monitor_set_reaches(set, SPAN("b")));
	assert_false(monitor_set_reaches(set, SPAN("c"))); /* the monitors look at their own namespaces only */
	monitor_set_unref(set);
}

static struct monitor_service *service_for_test(const char *text)
{
	struct arena arena;
	struct monitor_service *service = NULL;
	arena_init(&arena, 1 << 16);
	assert_int_equal(monitor_service_parse(json_for_test(&arena, text), &service, NULL), 0);
	arena_done(&arena);
	return service;
}

static void service_selects_by_all_its_labels(void **state)
{
	(void)state;
	struct label items[] = {{SPAN("a"), SPAN("1")}, {SPAN("b"), SPAN("2")}, {SPAN("c"), SPAN("3")}};
	struct labels labels = {items, 3};
	static const struct {
		const char *spec;
		bool selects;
	} cases[] = {
		{"{'selector':{'a':'1','c':'3'}}", true},
		{"{'selector':{'b':'2'}}", true},
		{"{'selector':{'a':'1','c':'4'}}", false},
		{"{'selector':{'d':'1'}}", false},
		{"{'selector':{}}", false},
		{"{}", false},
		{"{'selector':{'a':'1'},'type':'ExternalName'}", false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[256];
		snprintf(text, sizeof(text), "{'metadata':{'name':'s','namespace':'n'},'spec':%s}", cases[i].spec);
		struct monitor_service *service = service_for_test(text);
		assert_int_equal(monitor_service_selects(service, labels), cases[i].selects);
		monitor_service_unref(service);
	}
}

static void kubelet_service_is_known_by_namespace_and_label(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool is_kubelet;
	} cases[] = {
		{"{'metadata':{'name':'kubelet','namespace':'kube-system','labels':{'k8s-app':'kubelet'}}}", true},
		{"{'metadata':{'name':'x','namespace':'kube-system','labels':{'app.kubernetes.io/name':'kubelet'}}}",
			true},
		{"{'metadata':{'name':'kubelet','namespace':'shop','labels':{'k8s-app':'kubelet'}}}", false},
		{"{'metadata':{'name':'kubelet','namespace':'kube-system'}}", false},
		{"{'metadata':{'name':'kubelet','namespace':'kube-system','labels':{'k8s-app':'kubelet'}},"
		 "'spec':{'selector':{'a':'b'}}}",
			false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct monitor_service *service = service_for_test(cases[i].text);
		assert_int_equal(monitor_service_is_kubelet(service), cases[i].is_kubelet);
		monitor_service_unref(service);
	}
}

static void service_ports_keep_names_and_numbers_apart(void **state)
{
	(void)state;
	struct monitor_service *service = service_for_test(
		"{'metadata':{'name':'s','namespace':'n','annotations':{'kubectl.kubernetes.io/"
		"last-applied-configuration':'{}',"
		"'x':''}},'spec':{'ipFamilies':['IPv6','IPv4'],'ports':[{'port':80,'targetPort':'http','name':'web'},"
		"{'port':81,'targetPort':8081,'protocol':'UDP'},{'port':82,'appProtocol':'h2c'}]}}");
	assert_int_equal(service->annotations.count, 1);
	assert_int_equal(service->family, 6);
	assert_int_equal(service->port_count, 3);
	assert_true(span_eq(service->ports[0].target_name, SPAN("http")));
	assert_int_equal(service->ports[0].target_number, 0);
	assert_int_equal(service->ports[1].target_number, 8081);
	assert_int_equal(service->ports[1].target_name.len, 0);
	assert_true(span_eq(service->ports[1].protocol, SPAN("UDP")));
	assert_true(span_eq(service->ports[2].protocol, SPAN("TCP")));
	assert_true(span_eq(service->ports[2].app_protocol, SPAN("h2c")));
	monitor_service_unref(service);
}

static void set_tells_about_its_monitors(void **state)
{
	(void)state;
	const char *names[] = {"b"};
	struct monitor_options options = plain_options;
	options.deny_namespaces = (struct option_strings){names, 1};
	struct monitor_store *store = NULL;
	struct monitor_set *set = NULL;
	const struct monitor *monitor = NULL;
	struct buf text;
	assert_int_equal(monitor_store_new(&options, &store), 0);
	put_monitor(store, "b", "one", "{}");
	put(store, MONITOR_POD_MONITORS,
		"{'metadata':{'name':'p','namespace':'a'},'spec':{'selector':{},'x':1,'podMetricsEndpoints':[{'port':'"
		"http',"
		"'filterRunning':false,'authorization':{'credentials':{'name':'s','key':'k'}}}]}}",
		1);
	assert_int_equal(monitor_store_build(store, &set), 0);
	buf_init(&text, 1 << 16);
	assert_int_equal(monitor_set_json(set, &text), 0);
	test_assert_text(buf_view(&text),
		"[{\"kind\":\"ServiceMonitor\",\"namespace\":\"b\",\"name\":\"one\",\"selected\":false,"
		"\"reason\":\"its namespace is among monitors.deny_namespaces\",\"rejected\":false,\"findings\":[],"
		"\"endpoints\":[{\"job\":\"serviceMonitor/b/one/0\",\"refused\":false,\"rules\":["
		"\"replace [job] -> __tmp_prometheus_job_name\","
		"\"replace [__meta_kubernetes_endpoint_address_target_kind, "
		"__meta_kubernetes_endpoint_address_target_name] =~ \\\"Node;(.*)\\\" -> node\","
		"\"replace [__meta_kubernetes_endpoint_address_target_kind, "
		"__meta_kubernetes_endpoint_address_target_name] =~ \\\"Pod;(.*)\\\" -> pod\","
		"\"replace [__meta_kubernetes_namespace] -> namespace\",\"replace [__meta_kubernetes_service_name] -> "
		"service\","
		"\"replace [__meta_kubernetes_pod_name] -> pod\",\"replace [__meta_kubernetes_pod_container_name] -> "
		"container\","
		"\"drop [__meta_kubernetes_pod_phase] =~ \\\"(Failed|Succeeded)\\\"\","
		"\"replace [__meta_kubernetes_service_name] -> job\"],\"references\":[]}]},"
		"{\"kind\":\"PodMonitor\",\"namespace\":\"a\",\"name\":\"p\",\"selected\":true,\"rejected\":false,"
		"\"findings\":[{\"field\":\"spec.x\",\"effect\":\"ignored\",\"reason\":\"is not known to this "
		"version\"}],"
		"\"endpoints\":[{\"job\":\"podMonitor/a/p/0\",\"refused\":false,\"rules\":["
		"\"replace [job] -> __tmp_prometheus_job_name\",\"keep [__meta_kubernetes_pod_container_port_name] =~ "
		"\\\"http\\\"\","
		"\"replace [__meta_kubernetes_namespace] -> namespace\",\"replace "
		"[__meta_kubernetes_pod_container_name] -> container\","
		"\"replace [__meta_kubernetes_pod_name] -> pod\",\"replace -> job = \\\"a/p\\\"\","
		"\"replace -> endpoint = "
		"\\\"http\\\"\"],\"references\":[{\"kind\":\"Secret\",\"name\":\"s\",\"key\":\"k\"}]}]}]");
	buf_reset(&text);
	monitor_set_metrics(set, &text);
	buf_char(&text, '\0');
	assert_non_null(strstr(text.ptr, "gleaner_monitors{kind=\"ServiceMonitor\",state=\"not_selected\"} 1\n"));
	assert_non_null(strstr(text.ptr, "gleaner_monitors{kind=\"PodMonitor\",state=\"selected\"} 1\n"));
	assert_non_null(strstr(text.ptr, "gleaner_monitors{kind=\"PodMonitor\",state=\"rejected\"} 0\n"));
	assert_non_null(strstr(text.ptr, "gleaner_monitor_findings{effect=\"ignored\"} 1\n"));
	const struct monitor_endpoint *endpoint = monitor_set_endpoint(set, SPAN("podMonitor/a/p/0"), &monitor);
	assert_ptr_equal(endpoint, &monitor->endpoints[0]);
	assert_null(monitor_set_endpoint(set, SPAN("serviceMonitor/b/one/0"), &monitor)); /* not selected */
	buf_done(&text);
	monitor_set_unref(set);
	monitor_store_free(store);
}

/* ---- memory ------------------------------------------------------------------------------- */

static const struct json *captured_list(struct arena *arena, const char *path)
{
	const struct json *json = NULL;
	struct span body = test_file(path);
	assert_int_equal(json_parse(arena, body, &json, NULL), 0);
	test_file_free(body);
	return json_get(json, "items");
}

struct lists {
	const struct json *monitors, *pod_monitors, *services, *namespaces;
};

static int put_all(struct monitor_store *store, enum monitor_resource resource, const struct json *items)
{
	int result = 0;
	for (size_t i = 0; result >= 0 && i < items->count; i++)
		result = monitor_store_put(store, resource, &items->items[i], NULL);
	return result < 0 ? result : 0;
}

static int fill_and_build(void *arg)
{
	const struct lists *lists = arg;
	struct monitor_store *store = NULL;
	struct monitor_set *set = NULL;
	int result = monitor_store_new(&plain_options, &store);
	if (result < 0)
		return result;
	result = put_all(store, MONITOR_SERVICE_MONITORS, lists->monitors);
	if (result == 0)
		result = put_all(store, MONITOR_POD_MONITORS, lists->pod_monitors);
	if (result == 0)
		result = put_all(store, MONITOR_SERVICES, lists->services);
	if (result == 0)
		result = put_all(store, MONITOR_NAMESPACES, lists->namespaces);
	if (result == 0)
		result = monitor_store_build(store, &set);
	if (result == 0) {
		struct buf text;
		buf_init(&text, 1 << 20);
		result = monitor_set_json(set, &text);
		buf_done(&text);
	}
	monitor_set_unref(set);
	monitor_store_free(store);
	return result;
}

static void captured_lists_survive_the_out_of_memory_loop(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 4 << 20);
	struct lists lists = {
		.monitors = captured_list(&arena, "golden/kubernetes-1.37/servicemonitor_list.json"),
		.pod_monitors = captured_list(&arena, "golden/kubernetes-1.37/podmonitor_list.json"),
		.services = captured_list(&arena, "golden/kubernetes-1.37/service_list.json"),
		.namespaces = captured_list(&arena, "golden/kubernetes-1.37/namespace_list.json"),
	};
	test_out_of_memory(fill_and_build, &lists);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_selector_selects_nothing_and_an_empty_one_everything),
		cmocka_unit_test(labels_and_namespaces_select),
		cmocka_unit_test(not_in_matches_where_the_key_is_absent),
		cmocka_unit_test(an_object_that_did_not_change_is_told_apart),
		cmocka_unit_test(object_made_again_takes_the_place_of_the_old_one),
		cmocka_unit_test(all_objects_together_have_a_ceiling),
		cmocka_unit_test(namespace_that_is_not_watched_any_more_is_forgotten),
		cmocka_unit_test(services_of_a_namespace_lie_together),
		cmocka_unit_test(service_selects_by_all_its_labels),
		cmocka_unit_test(kubelet_service_is_known_by_namespace_and_label),
		cmocka_unit_test(service_ports_keep_names_and_numbers_apart),
		cmocka_unit_test(set_tells_about_its_monitors),
		cmocka_unit_test(captured_lists_survive_the_out_of_memory_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
