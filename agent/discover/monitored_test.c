/* Monitors and Services on one node: from the API's objects (JSON, ' for ") and pods to targets, and what stays through events. */
#include <errno.h>
#include <stdio.h>

#include "build.h"
#include "pods_for_test.h"

#define META "__meta_kubernetes_"

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
static const struct monitor_options options = {.enabled = true,
	.service_monitors_given = true,
	.pod_monitors_given = true,
	.scrape_configs_given = true,
	.scrape_interval_ns = 30 * NS_PER_SEC,
	.kubelet_service = true};

struct scene {
	struct discover *discover;
	struct monitor_store *store;
	struct buf events; /* "+ job url", "- job url", "~ job url", "! job pod: cause" */
};

static void write_target(struct buf *text, const char *what, const struct target *target)
{
	buf_printf(text, "%s %.*s %.*s\n", what, SPAN_ARGS(target->job->name), SPAN_ARGS(target->url));
}

static void added(void *arg, struct target *target)
{
	write_target(arg, "+", target);
}

static void removed(void *arg, struct target *target)
{
	write_target(arg, "-", target);
}

static void changed(void *arg, struct target *old_target, struct target *target)
{
	assert_ptr_not_equal(old_target, target);
	write_target(arg, "~", target);
}

static void refused(void *arg, struct labels discovered, const struct error *err)
{
	buf_printf(arg, "! %.*s %.*s: %s\n", SPAN_ARGS(labels_get(discovered, SPAN("job"))),
		SPAN_ARGS(labels_get(discovered, SPAN(META "pod_name"))), err->text);
}

static int configure(struct discover *discover)
{
	struct discover_settings settings = {
		.global = &global, .node_name = SPAN("node-a"), .kubelet_host = SPAN("192.168.77.2")};
	return discover_configure(discover, &settings, NULL);
}

static int setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct discover_events events = {
		.added = added, .removed = removed, .changed = changed, .refused = refused, .arg = &scene->events};
	buf_init(&scene->events, 1 << 20);
	assert_int_equal(discover_new(events, &scene->discover), 0);
	assert_int_equal(configure(scene->discover), 0);
	assert_int_equal(monitor_store_new(&options, &scene->store), 0);
	*state = scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;
	discover_free(scene->discover);
	monitor_store_free(scene->store);
	buf_done(&scene->events);
	free(scene);
	return 0;
}

static void assert_events(struct scene *scene, const char *expected)
{
	test_assert_text(scene->events.len ? buf_view(&scene->events) : SPAN(""), expected);
	buf_reset(&scene->events);
}

static void put(struct scene *scene, enum monitor_resource resource, const char *text)
{
	struct arena arena;
	const struct json *json = NULL;
	struct error err = {{0}};
	arena_init(&arena, 1 << 20);
	char *copy = arena_strdup(&arena, text);
	for (char *at = copy; *at; at++)
		*at = *at == '\'' ? '"' : *at;
	assert_int_equal(json_parse(&arena, span_str(copy), &json, &err), 0);
	assert_true(monitor_store_put(scene->store, resource, json, &err) >= 0);
	arena_done(&arena);
}

static void put_named(struct scene *scene, enum monitor_resource resource, const char *name, const char *spec)
{
	char text[2048];
	snprintf(text, sizeof(text), "{'metadata':{'name':'%s','namespace':'shop','labels':{'app':'%s'}},'spec':%s}",
		name, name, spec);
	put(scene, resource, text);
}

static int apply(struct scene *scene)
{
	struct monitor_set *set = NULL;
	int result = monitor_store_build(scene->store, &set);
	if (result == 0)
		result = discover_monitors(scene->discover, set);
	monitor_set_unref(set);
	return result;
}

static void must_apply(struct scene *scene)
{
	assert_int_equal(apply(scene), 0);
}

static int tell_pods(struct scene *scene, const struct kube_pod *pods, size_t count)
{
	struct kube_pods *list = pods_for_test(pods, count);
	int result = list ? discover_pods(scene->discover, list) : -ENOMEM;
	kube_pods_unref(list);
	return result;
}

static struct target *target_at(const struct scene *scene, size_t at)
{
	size_t count = 0;
	struct target *const *targets = discover_targets(scene->discover, &count);
	assert_true(at < count);
	return targets[at];
}

static int by_text(const void *left, const void *right)
{
	return span_cmp(*(const struct span *)left, *(const struct span *)right);
}

/* "url{labels}" of each target, sorted. */
static void assert_targets(const struct scene *scene, const char *expected)
{
	size_t count = 0;
	struct target *const *targets = discover_targets(scene->discover, &count);
	struct arena arena;
	struct buf text;
	arena_init(&arena, 1 << 20);
	buf_init(&text, 1 << 20);
	struct span *lines = arena_alloc(&arena, count * sizeof(*lines));
	for (size_t i = 0; i < count; i++) {
		buf_reset(&text);
		buf_span(&text, targets[i]->url);
		buf_labels(&text, targets[i]->labels);
		lines[i] = span_of(arena_spandup(&arena, buf_view(&text)), text.len);
	}
	if (count > 0)
		qsort(lines, count, sizeof(*lines), by_text);
	buf_reset(&text);
	for (size_t i = 0; i < count; i++)
		buf_printf(&text, "%.*s\n", SPAN_ARGS(lines[i]));
	test_assert_text(text.len ? buf_view(&text) : SPAN(""), expected);
	buf_done(&text);
	arena_done(&arena);
}

/* ---- pods: app=web in shop, ports http 8080 and metrics 9090 ------------------------------------ */

static const struct label web_labels[] = {{SPAN("app"), SPAN("web")}, {SPAN("pod-template.hash"), SPAN("h1")}};
static const struct kube_port app_ports[] = {TCP_PORT("http", 8080), TCP_PORT("metrics", 9090)};
static const struct kube_container app_containers[] = {{CONTAINER("app", app_ports)}};
static const struct kube_port other_ports[] = {TCP_PORT("http", 8888)};
static const struct kube_container other_containers[] = {{CONTAINER("app", other_ports)}};

static struct kube_pod app_pod(const char *name, const char *ip)
{
	return (struct kube_pod){.uid = span_str(name),
		.namespace_ = SPAN("shop"),
		.name = span_str(name),
		.node_name = SPAN("node-a"),
		.host_ip = SPAN("192.168.77.2"),
		.pod_ip = span_str(ip),
		.phase = SPAN("Running"),
		.ready = SPAN("true"),
		.labels = LABELS(web_labels),
		.containers = app_containers,
		.container_count = 1,
		.hash = 1};
}

#define WEB_SERVICE "{'selector':{'app':'web'},'ports':[{'name':'web','port':80,'targetPort':'http'}]}"

/* ---- rows of the test catalogue -------------------------------------------------------------------- */

static void service_port_leads_to_the_pods_own_number(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pods[] = {app_pod("a", "10.85.0.2"), app_pod("b", "10.85.0.3")};
	pods[1].containers = other_containers;
	assert_int_equal(tell_pods(scene, pods, 2), 0);
	put_named(scene, MONITOR_SERVICES, "web", WEB_SERVICE);
	put_named(scene, MONITOR_SERVICE_MONITORS, "m",
		"{'selector':{'matchLabels':{'app':'web'}},'podTargetLabels':['pod-template.hash'],"
		"'endpoints':[{'port':'web','path':'/m','interval':'15s'}]}");
	must_apply(scene);
	assert_targets(scene, "http://10.85.0.2:8080/m{container=\"app\", endpoint=\"web\", "
			      "instance=\"10.85.0.2:8080\", job=\"web\", namespace=\"shop\", pod=\"a\", "
			      "pod_template_hash=\"h1\", service=\"web\"}\n"
			      "http://10.85.0.3:8888/m{container=\"app\", endpoint=\"web\", "
			      "instance=\"10.85.0.3:8888\", job=\"web\", namespace=\"shop\", pod=\"b\", "
			      "pod_template_hash=\"h1\", service=\"web\"}\n");
	assert_int_equal(target_at(scene, 0)->interval_ns, 15 * NS_PER_SEC);
	assert_true(span_eq(target_at(scene, 0)->job->name, SPAN("serviceMonitor/shop/m/0")));
	struct target_address address;
	assert_int_equal(discover_dial_address(scene->discover, target_at(scene, 0), &address, NULL), 0);
}

static void target_port_finds_ports_that_the_service_does_not_name(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pod = app_pod("a", "10.85.0.2");
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	put_named(scene, MONITOR_SERVICES, "web", WEB_SERVICE);
	put_named(scene, MONITOR_SERVICE_MONITORS, "m", "{'selector':{},'endpoints':[{'targetPort':'metrics'}]}");
	must_apply(scene);
	assert_targets(scene, "http://10.85.0.2:9090/metrics{container=\"app\", endpoint=\"metrics\", "
			      "instance=\"10.85.0.2:9090\", job=\"web\", namespace=\"shop\", pod=\"a\", "
			      "service=\"web\"}\n");
	struct labels discovered = target_at(scene, 0)->discovered;
	assert_null(labels_get(discovered, SPAN(META "endpoint_port_name")).ptr);
	assert_null(labels_get(discovered, SPAN(META "endpoint_address_target_kind")).ptr);
	assert_true(span_eq(labels_get(discovered, SPAN(META "service_label_app")), SPAN("web")));
}

static void unnamed_port_and_both_flavours_of_meta_labels(void **state)
{
	(void)state;
	struct arena arena;
	struct findings findings;
	struct kube_pod pod = app_pod("a", "10.85.0.2");
	struct monitor_service_port port = {.protocol = SPAN("TCP"), .port = 8080};
	struct label label = {SPAN("team.x"), SPAN("t")};
	struct monitor_service service = {.namespace_ = SPAN("shop"),
		.name = SPAN("web"),
		.labels = {&label, 1},
		.annotations = {&label, 1},
		.ports = &port,
		.port_count = 1};
	struct buf text;
	pod.labels = (struct labels){0};
	arena_init(&arena, 1 << 20);
	findings_init(&findings, &arena, FOUND_LABEL_BYTES_MAX);
	assert_int_equal(find_service(&pod, &service, &findings), 0);
	assert_int_equal(findings.count, 2); /* and metrics, which the Service does not name */
	assert_true(span_eq(findings.items[0].identity, SPAN("a/app/8080/web/")));
	buf_init(&text, 1 << 16);
	buf_labels(&text, findings.items[0].labels);
	test_assert_text(buf_view(&text),
		"{__address__=\"10.85.0.2:8080\", " META "endpoint_address_target_kind=\"Pod\", " META
		"endpoint_address_target_name=\"a\", " META "endpoint_node_name=\"node-a\", " META
		"endpoint_port_protocol=\"TCP\", " META "endpoint_ready=\"true\", " META "endpoints_name=\"web\", " META
		"endpointslice_address_target_kind=\"Pod\", " META "endpointslice_address_target_name=\"a\", " META
		"endpointslice_address_type=\"IPv4\", " META "endpointslice_endpoint_conditions_ready=\"true\", " META
		"endpointslice_endpoint_conditions_serving=\"true\", " META
		"endpointslice_endpoint_conditions_terminating=\"false\", " META
		"endpointslice_endpoint_node_name=\"node-a\", " META "endpointslice_port=\"8080\", " META
		"endpointslice_port_protocol=\"TCP\", " META "namespace=\"shop\", " META
		"pod_container_image=\"registry/app:1\", " META "pod_container_init=\"false\", " META
		"pod_container_name=\"app\", " META "pod_container_port_name=\"http\", " META
		"pod_container_port_number=\"8080\", " META "pod_container_port_protocol=\"TCP\", " META
		"pod_container_sidecar=\"false\", " META "pod_host_ip=\"192.168.77.2\", " META
		"pod_ip=\"10.85.0.2\", " META "pod_name=\"a\", " META "pod_node_name=\"node-a\", " META
		"pod_phase=\"Running\", " META "pod_ready=\"true\", " META "pod_uid=\"a\", " META
		"service_annotation_team_x=\"t\", " META "service_annotationpresent_team_x=\"true\", " META
		"service_label_team_x=\"t\", " META "service_labelpresent_team_x=\"true\", " META
		"service_name=\"web\"}");
	buf_done(&text);
	arena_done(&arena);
}

static void ended_and_unready_pods(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pods[] = {
		app_pod("a", "10.85.0.2"), app_pod("b", "10.85.0.3"), app_pod("c", ""), app_pod("d", "10.85.0.5")};
	pods[0].ready = SPAN("false");
	pods[1].phase = SPAN("Succeeded");
	pods[3].terminating = true;
	assert_int_equal(tell_pods(scene, pods, 4), 0);
	put_named(scene, MONITOR_SERVICES, "web", WEB_SERVICE);
	put_named(scene, MONITOR_SERVICE_MONITORS, "m", "{'selector':{},'endpoints':[{'port':'web'}]}");
	must_apply(scene);
	assert_events(scene, "+ serviceMonitor/shop/m/0 http://10.85.0.5:8080/metrics\n"
			     "+ serviceMonitor/shop/m/0 http://10.85.0.2:8080/metrics\n");
	struct labels discovered = target_at(scene, 1)->discovered; /* in the order of their keys */
	assert_true(span_eq(labels_get(discovered, SPAN(META "endpoint_ready")), SPAN("false")));
}

static void filter_running_false_keeps_pods_that_ended(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pod = app_pod("a", "10.85.0.2");
	pod.phase = SPAN("Failed");
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	put_named(scene, MONITOR_POD_MONITORS, "p",
		"{'selector':{},'podMetricsEndpoints':[{'port':'http'},{'port':'http','filterRunning':false}]}");
	must_apply(scene);
	assert_events(scene, "+ podMonitor/shop/p/1 http://10.85.0.2:8080/metrics\n");
	size_t count = 0;
	const struct discover_dropped *dropped = discover_dropped(scene->discover, &count);
	assert_int_equal(count, 3); /* both ports by the phase, port metrics by its name */
	assert_int_equal(dropped[0].rule, 1);
}

static void one_pod_through_two_services_and_two_monitors(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pod = app_pod("a", "10.85.0.2");
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	put_named(scene, MONITOR_SERVICES, "one", WEB_SERVICE);
	put_named(scene, MONITOR_SERVICES, "two", WEB_SERVICE);
	put_named(scene, MONITOR_SERVICE_MONITORS, "m",
		"{'selector':{'matchExpressions':[{'key':'x','operator':'NotIn','values':['y']}]},'endpoints':[{'port':"
		"'web'}]}");
	put_named(scene, MONITOR_SERVICE_MONITORS, "n",
		"{'selector':{'matchLabels':{'app':'two'}},'endpoints':[{'port':'web'}]}");
	must_apply(scene);
	assert_targets(scene,
		"http://10.85.0.2:8080/metrics{container=\"app\", endpoint=\"web\", "
		"instance=\"10.85.0.2:8080\", job=\"one\", namespace=\"shop\", pod=\"a\", service=\"one\"}\n"
		"http://10.85.0.2:8080/metrics{container=\"app\", endpoint=\"web\", "
		"instance=\"10.85.0.2:8080\", job=\"two\", namespace=\"shop\", pod=\"a\", service=\"two\"}\n"
		"http://10.85.0.2:8080/metrics{container=\"app\", endpoint=\"web\", "
		"instance=\"10.85.0.2:8080\", job=\"two\", namespace=\"shop\", pod=\"a\", service=\"two\"}\n");
}

static void pod_monitor_by_number_has_no_endpoint_label_and_its_name_as_job(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pods[] = {app_pod("a", "10.85.0.2"), app_pod("b", "10.85.0.3")};
	pods[1].namespace_ = SPAN("elsewhere");
	assert_int_equal(tell_pods(scene, pods, 2), 0);
	put_named(scene, MONITOR_POD_MONITORS, "p",
		"{'selector':{},'jobLabel':'none','podMetricsEndpoints':[{'portNumber':9090}]}");
	must_apply(scene);
	assert_targets(scene, "http://10.85.0.2:9090/metrics{container=\"app\", instance=\"10.85.0.2:9090\", "
			      "job=\"shop/p\", namespace=\"shop\", pod=\"a\"}\n");
}

static void job_label_falls_back_to_the_services_name(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pod = app_pod("a", "10.85.0.2");
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	put_named(scene, MONITOR_SERVICES, "svc", WEB_SERVICE);
	put_named(
		scene, MONITOR_SERVICE_MONITORS, "m", "{'selector':{},'jobLabel':'none','endpoints':[{'port':'web'}]}");
	put_named(scene, MONITOR_SERVICE_MONITORS, "n",
		"{'selector':{},'jobLabel':'app','targetLabels':['app'],'endpoints':[{'port':'web','path':'/n'}]}");
	must_apply(scene);
	assert_true(span_eq(labels_get(target_at(scene, 0)->labels, SPAN("job")), SPAN("svc")));
	assert_true(span_eq(labels_get(target_at(scene, 1)->labels, SPAN("app")), SPAN("svc")));
}

static void the_kubelets_service_is_this_nodes_kubelet(void **state)
{
	struct scene *scene = *state;
	put(scene, MONITOR_SERVICES,
		"{'metadata':{'name':'kubelet','namespace':'kube-system','labels':{'k8s-app':'kubelet'}},'spec':{'"
		"ports':["
		"{'name':'https-metrics','port':10250},{'name':'http-metrics','port':10255},{'name':'mine','port':22}]}"
		"}");
	put_named(scene, MONITOR_SERVICE_MONITORS, "m",
		"{'selector':{'matchLabels':{'k8s-app':'kubelet'}},'namespaceSelector':{'any':true},"
		"'endpoints':[{'port':'https-metrics','scheme':'https'},{'path':'/n','relabelings':["
		"{'sourceLabels':['__address__'],'regex':'(.*):10255','replacement':'$1:22','targetLabel':'__address__'"
		"}]}]}");
	must_apply(scene);
	assert_targets(scene,
		"http://192.168.77.2:10250/n{instance=\"192.168.77.2:10250\", job=\"kubelet\", "
		"namespace=\"kube-system\", "
		"node=\"node-a\", service=\"kubelet\"}\n"
		"http://192.168.77.2:22/n{instance=\"192.168.77.2:22\", job=\"kubelet\", namespace=\"kube-system\", "
		"node=\"node-a\", service=\"kubelet\"}\n"
		"https://192.168.77.2:10250/metrics{endpoint=\"https-metrics\", instance=\"192.168.77.2:10250\", "
		"job=\"kubelet\", namespace=\"kube-system\", node=\"node-a\", service=\"kubelet\"}\n");
	for (size_t i = 0; i < 3; i++) {
		struct target_address address;
		struct error err = {{0}};
		const struct target *target = target_at(scene, i);
		int expected = target->port == 22 ? -EACCES : 0;
		assert_int_equal(target->origin, TARGET_KUBELET);
		assert_int_equal(discover_dial_address(scene->discover, target, &address, &err), expected);
	}
}

static void dual_stack_service_uses_its_primary_family(void **state)
{
	struct scene *scene = *state;
	const struct span ips[] = {SPAN("10.85.0.2"), SPAN("fd00::2")};
	struct kube_pod pods[] = {app_pod("a", "10.85.0.2"), app_pod("b", "10.85.0.3")};
	pods[0].pod_ips = ips;
	pods[0].pod_ip_count = 2;
	assert_int_equal(tell_pods(scene, pods, 2), 0);
	put_named(scene, MONITOR_SERVICES, "web",
		"{'selector':{'app':'web'},'ipFamilies':['IPv6','IPv4'],'ports':[{'name':'web','port':8080}]}");
	put_named(scene, MONITOR_SERVICE_MONITORS, "m", "{'selector':{},'endpoints':[{'port':'web'}]}");
	must_apply(scene);
	assert_events(scene, "+ serviceMonitor/shop/m/0 http://[fd00::2]:8080/metrics\n");
}

static void host_network_pod_replaced_at_its_address_is_another_target(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pod = app_pod("a", "192.168.77.2");
	pod.host_network = true;
	put_named(scene, MONITOR_SERVICES, "web", WEB_SERVICE);
	put_named(scene, MONITOR_SERVICE_MONITORS, "m", "{'selector':{},'endpoints':[{'port':'web'}]}");
	must_apply(scene);
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	uint64_t key = target_at(scene, 0)->key;
	pod.uid = pod.name = SPAN("b");
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	assert_int_not_equal(target_at(scene, 0)->key, key);
	assert_true(span_eq(labels_get(target_at(scene, 0)->labels, SPAN("pod")), SPAN("b")));
}

/* ---- what stays through events ------------------------------------------------------------------------ */

static void unchanged_targets_stay_themselves_through_every_event(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pods[] = {app_pod("a", "10.85.0.2"), app_pod("b", "10.85.0.3")};
	put_named(scene, MONITOR_SERVICES, "web", WEB_SERVICE);
	put_named(scene, MONITOR_SERVICE_MONITORS, "m",
		"{'selector':{'matchLabels':{'app':'web'}},'endpoints':[{'port':'web'}]}");
	must_apply(scene);
	assert_int_equal(tell_pods(scene, pods, 1), 0);
	assert_events(scene, "+ serviceMonitor/shop/m/0 http://10.85.0.2:8080/metrics\n");
	struct target *target = target_ref(target_at(scene, 0));

	assert_int_equal(tell_pods(scene, pods, 2), 0); /* a pod more */
	assert_events(scene, "+ serviceMonitor/shop/m/0 http://10.85.0.3:8080/metrics\n");
	put_named(scene, MONITOR_SERVICE_MONITORS, "a",
		"{'selector':{},'endpoints':[{'port':'none'}]}"); /* comes first */
	must_apply(scene);
	put_named(scene, MONITOR_SERVICES, "other", "{'selector':{'app':'web'},'ports':[{'name':'x','port':1}]}");
	must_apply(scene);
	put(scene, MONITOR_SERVICES, /* the Service itself, in a way that no label shows */
		"{'metadata':{'name':'web','namespace':'shop','labels':{'app':'web'},'annotations':{'x':'y'}},'spec'"
		":" WEB_SERVICE "}");
	must_apply(scene);
	put_named(scene, MONITOR_SERVICE_MONITORS, "m", /* the monitor, likewise */
		"{'selector':{'matchLabels':{'app':'web'}},'endpoints':[{'port':'web','followRedirects':true}]}");
	must_apply(scene);
	assert_int_equal(configure(scene->discover), 0);
	assert_int_equal(discover_secrets_changed(scene->discover), 0);
	assert_events(scene, "");
	assert_ptr_equal(discover_find(scene->discover, target->key), target);
	target_unref(target);

	put_named(scene, MONITOR_SERVICE_MONITORS, "m",
		"{'selector':{'matchLabels':{'app':'web'}},'endpoints':[{'port':'web','interval':'5s'}]}");
	must_apply(scene);
	assert_events(scene, "~ serviceMonitor/shop/m/0 http://10.85.0.2:8080/metrics\n"
			     "~ serviceMonitor/shop/m/0 http://10.85.0.3:8080/metrics\n");
	assert_int_equal(discover_monitors(scene->discover, NULL), 0);
	assert_events(scene, "- serviceMonitor/shop/m/0 http://10.85.0.2:8080/metrics\n"
			     "- serviceMonitor/shop/m/0 http://10.85.0.3:8080/metrics\n");
}

static void wrong_scrape_timeout_rejects_the_monitor(void **state)
{
	struct scene *scene = *state;
	struct kube_pod pod = app_pod("a", "10.85.0.2");
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	put_named(scene, MONITOR_POD_MONITORS, "p",
		"{'selector':{},'podMetricsEndpoints':[{'port':'http'},{'port':'http','scrapeTimeout':'31s'}]}");
	must_apply(scene);
	assert_events(scene, "");
	const struct monitor *monitor = discover_monitor_set(scene->discover)->entries[0].monitor;
	assert_true(monitor->rejected);
	assert_string_equal(monitor->findings[0].field, "spec.podMetricsEndpoints[1]");
}

static void scrape_config_takes_static_targets_of_this_host_only(void **state)
{
	struct scene *scene = *state;
	put_named(scene, MONITOR_SCRAPE_CONFIGS, "c",
		"{'staticConfigs':[{'targets':['127.0.0.1:9100','192.0.2.1:9100'],'labels':{'env':'x'}}]}");
	must_apply(scene);
	assert_events(scene, "+ scrapeConfig/shop/c http://127.0.0.1:9100/metrics\n"
			     "!  : 192.0.2.1:9100 is not an address of this host; only this node is scraped\n");
	must_apply(scene);
	assert_events(scene, "");
}

/* ---- Secrets -------------------------------------------------------------------------------------------- */

struct vault {
	const char *value; /* NULL: not there */
	size_t asked;
};

static int get(void *arg, const struct monitor_reference *reference, struct span *ret_value, struct error *err)
{
	struct vault *vault = arg;
	vault->asked++;
	assert_string_equal(reference->namespace_, "shop");
	if (!vault->value) {
		error_set(err, ENOENT, "Secret shop/%s: not there", reference->name);
		return 0;
	}
	*ret_value = span_str(vault->value);
	return 1;
}

static void write_refusal(void *arg, struct span job_name, struct labels discovered, const struct error *err)
{
	buf_printf(arg, "%.*s %.*s: %s\n", SPAN_ARGS(job_name),
		SPAN_ARGS(labels_get(discovered, SPAN(META "pod_name"))), err->text);
}

static void values_are_asked_for_when_a_pod_needs_them_and_rotate_without_moving_a_target(void **state)
{
	struct scene *scene = *state;
	struct vault vault = {0};
	struct kube_pod pod = app_pod("a", "10.85.0.2");
	discover_use_secrets(scene->discover, (struct monitor_secrets){.get = get, .arg = &vault});
	put_named(scene, MONITOR_POD_MONITORS, "p",
		"{'selector':{},'podMetricsEndpoints':[{'port':'http','authorization':{'credentials':{'name':'s','key':"
		"'k'}}}]}");
	must_apply(scene);
	assert_int_equal(vault.asked, 0);
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	assert_events(scene, "! podMonitor/shop/p/0 a: spec.podMetricsEndpoints[0].authorization.credentials: "
			     "Secret shop/s: not there\n");
	pod.hash = 2;
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	assert_events(scene, ""); /* said once, and still so */
	discover_each_refusal(scene->discover, write_refusal, &scene->events);
	assert_events(scene, "podMonitor/shop/p/0 a: spec.podMetricsEndpoints[0].authorization.credentials: "
			     "Secret shop/s: not there\n");
	vault.value = "old";
	assert_int_equal(discover_secrets_changed(scene->discover), 0);
	assert_events(scene, "+ podMonitor/shop/p/0 http://10.85.0.2:8080/metrics\n");
	const struct target_job *job = target_at(scene, 0)->job;
	test_assert_text(job->credentials->authorization, "Bearer old");
	vault.value = "new";
	assert_int_equal(discover_secrets_changed(scene->discover), 0);
	assert_events(scene, "");
	test_assert_text(target_at(scene, 0)->job->credentials->authorization, "Bearer new");
	assert_ptr_equal(target_at(scene, 0)->job, job);
	vault.value = NULL;
	assert_int_equal(discover_secrets_changed(scene->discover), 0);
	assert_events(scene, "- podMonitor/shop/p/0 http://10.85.0.2:8080/metrics\n"
			     "! podMonitor/shop/p/0 a: spec.podMetricsEndpoints[0].authorization.credentials: "
			     "Secret shop/s: not there\n");
}

/* A rule that changes no label makes another job; the targets must not hang on the old one, whose credentials nobody rotates. */
static void values_rotate_also_after_a_change_of_the_monitor_that_no_label_shows(void **state)
{
	struct scene *scene = *state;
	struct vault vault = {.value = "old"};
	struct kube_pod pod = app_pod("a", "10.85.0.2");
	discover_use_secrets(scene->discover, (struct monitor_secrets){.get = get, .arg = &vault});
	put_named(scene, MONITOR_POD_MONITORS, "p",
		"{'selector':{},'podMetricsEndpoints':[{'port':'http','authorization':{'credentials':{'name':'s','key':"
		"'k'}}}]}");
	must_apply(scene);
	assert_int_equal(tell_pods(scene, &pod, 1), 0);
	assert_events(scene, "+ podMonitor/shop/p/0 http://10.85.0.2:8080/metrics\n");
	put_named(scene, MONITOR_POD_MONITORS, "p",
		"{'selector':{},'podMetricsEndpoints':[{'port':'http','authorization':{'credentials':{'name':'s','key':"
		"'k'}},'relabelings':[{'action':'labeldrop','regex':'none'}]}]}");
	must_apply(scene);
	assert_events(scene, "~ podMonitor/shop/p/0 http://10.85.0.2:8080/metrics\n");
	vault.value = "new";
	assert_int_equal(discover_secrets_changed(scene->discover), 0);
	assert_events(scene, "");
	test_assert_text(target_at(scene, 0)->job->credentials->authorization, "Bearer new");
}

/* Annotations of 200 KB. */
struct big {
	char value[4000], names[50][8];
	struct label labels[50];
};

static struct labels fill_big(struct big *big)
{
	memset(big->value, 'x', sizeof(big->value));
	for (size_t i = 0; i < ARRAY_SIZE(big->labels); i++) {
		snprintf(big->names[i], sizeof(big->names[i]), "a%02zu", i);
		big->labels[i] = (struct label){span_str(big->names[i]), span_of(big->value, sizeof(big->value))};
	}
	return (struct labels)LABELS(big->labels);
}

/* One small object can ask for any number of targets; what it gets has a ceiling, and its neighbours do not pay. */
static void monitor_that_asks_for_too_much_loses_its_own_targets(void **state)
{
	struct scene *scene = *state;
	struct big big;
	struct kube_pod pods[] = {app_pod("a", "10.85.0.2"), app_pod("b", "10.85.0.3")};
	pods[0].annotations = pods[1].annotations = fill_big(&big);
	struct buf spec;
	buf_init(&spec, 1 << 20);
	buf_str(&spec,
		"{'metadata':{'name':'greedy','namespace':'shop'},'spec':{'selector':{},'podMetricsEndpoints':[");
	for (size_t i = 0; i < 100; i++)
		buf_str(&spec, i ? ",{'port':'http'}" : "{'port':'http'}");
	buf_str(&spec, "]}}");
	buf_char(&spec, '\0');
	put(scene, MONITOR_POD_MONITORS, spec.ptr);
	put_named(scene, MONITOR_POD_MONITORS, "modest", "{'selector':{},'podMetricsEndpoints':[{'port':'http'}]}");
	must_apply(scene);
	buf_done(&spec);
	assert_int_equal(tell_pods(scene, pods, 2), 0);
	size_t count = 0, bytes_used = 0, modest = 0;
	struct target *const *targets = discover_targets(scene->discover, &count);
	for (size_t i = 0; i < count; i++) {
		bytes_used += targets[i]->arena.used;
		modest += span_eq(targets[i]->job->name, SPAN("podMonitor/shop/modest/0"));
	}
	assert_in_range(bytes_used, 15 << 20, 18 << 20);
	assert_int_equal(modest, 2);
	buf_reset(&scene->events);
	discover_each_refusal(scene->discover, write_refusal, &scene->events);
	buf_char(&scene->events, '\0');
	assert_non_null(strstr(scene->events.ptr, " a: the targets of a monitor may take 16 MiB, those of all monitors "
						  "64 MiB; the rest is left out\n"));
	buf_reset(&scene->events);
	pods[1].hash = 2; /* the same again: nobody moves, nothing is said twice */
	assert_int_equal(tell_pods(scene, pods, 2), 0);
	assert_events(scene, "");
}

/* Each Service makes a label set of the pod; what a thousand of them take has the same ceiling as what one takes. */
static void pod_behind_too_many_services_loses_its_own_targets(void **state)
{
	struct scene *scene = *state;
	static char names[900][320];
	static struct label many[900];
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		memset(names[i], 'n', sizeof(names[i]) - 1);
		names[i][0] = (char)('a' + i % 26), names[i][1] = (char)('a' + i / 26);
		many[i] = (struct label){span_str(names[i]), SPAN("v")};
	}
	struct kube_pod pods[] = {app_pod("a", "10.85.0.2"), app_pod("b", "10.85.0.3")};
	pods[0].annotations = (struct labels)LABELS(many);
	for (int i = 0; i < 300; i++) {
		char name[16];
		snprintf(name, sizeof(name), "s%03d", i);
		put_named(scene, MONITOR_SERVICES, name,
			i % 2 ? WEB_SERVICE : "{'selector':{'app':'web'},'ports':[{'port':1,'targetPort':'none'}]}");
	}
	put_named(scene, MONITOR_SERVICE_MONITORS, "m", "{'selector':{},'endpoints':[{'port':'web'}]}");
	must_apply(scene);
	assert_int_equal(tell_pods(scene, pods, 2), 0);
	size_t count = 0, of_b = 0;
	struct target *const *targets = discover_targets(scene->discover, &count);
	for (size_t i = 0; i < count; i++)
		of_b += span_eq(targets[i]->pod_uid, SPAN("b"));
	assert_int_equal(of_b, 150);
	assert_in_range(count - of_b, 1, 149);
}

/* ---- the node that was captured ---------------------------------------------------------------------------- */

static struct kube_pods *captured_pods(void)
{
	struct span body = test_file("golden/kubernetes/kubelet_pods_92.json");
	struct kube_pods_parser *parser = NULL;
	struct kube_pods *pods = NULL;
	assert_int_equal(kube_pods_parser_new(1 << 20, &parser), 0);
	assert_int_equal(kube_pods_parser_feed(parser, body, NULL), 0);
	assert_int_equal(kube_pods_parser_end(parser, &pods, NULL), 0);
	kube_pods_parser_free(parser);
	test_file_free(body);
	return pods;
}

/* "10.85.0.2:8000", sorted. */
static size_t captured_addresses(struct arena *arena, struct span *addresses)
{
	const struct json *json = NULL;
	struct span body = test_file("golden/kubernetes/endpointslice_92.json");
	assert_int_equal(json_parse(arena, body, &json, NULL), 0);
	test_file_free(body);
	const struct json *endpoints = json_get(&json_get(json, "items")->items[0], "endpoints");
	for (size_t i = 0; i < endpoints->count; i++) {
		char *text = arena_alloc(arena, 64);
		struct span ip = json_get(&endpoints->items[i], "addresses")->items[0].text;
		addresses[i] = span_of(text, (size_t)snprintf(text, 64, "%.*s:8000", SPAN_ARGS(ip)));
	}
	qsort(addresses, endpoints->count, sizeof(*addresses), by_text);
	return endpoints->count;
}

static void the_service_of_the_seed_leads_to_the_addresses_of_its_slice(void **state)
{
	struct scene *scene = *state;
	struct arena arena;
	struct span expected[128], found[128];
	struct kube_pods *pods = captured_pods();
	assert_int_equal(pods->count, 92);
	assert_int_equal(discover_pods(scene->discover, pods), 0);
	kube_pods_unref(pods);
	put(scene, MONITOR_SERVICES,
		"{'metadata':{'name':'my-app','namespace':'default','labels':{'app':'my-app'}},'spec':"
		"{'selector':{'app':'my-app'},'ports':[{'name':'prom','port':80,'targetPort':'prom'}]}}");
	put(scene, MONITOR_SERVICE_MONITORS,
		"{'metadata':{'name':'my-app','namespace':'default'},'spec':{'selector':"
		"{'matchLabels':{'app':'my-app'}},'endpoints':[{'port':'prom','path':'/metrics'}]}}");
	must_apply(scene);
	size_t count = 0;
	struct target *const *targets = discover_targets(scene->discover, &count);
	arena_init(&arena, 1 << 20);
	assert_int_equal(captured_addresses(&arena, expected), 91);
	assert_int_equal(count, 91);
	for (size_t i = 0; i < count; i++) {
		static const char *const names[] = {
			"container", "endpoint", "instance", "job", "namespace", "pod", "service"};
		assert_int_equal(targets[i]->labels.count, ARRAY_SIZE(names));
		for (size_t j = 0; j < ARRAY_SIZE(names); j++)
			assert_true(span_eq(targets[i]->labels.items[j].name, span_str(names[j])));
		found[i] = labels_get(targets[i]->labels, SPAN("instance"));
	}
	qsort(found, count, sizeof(*found), by_text);
	for (size_t i = 0; i < count; i++)
		test_assert_text(found[i], expected[i].ptr);
	arena_done(&arena);
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static int go_through_it(void *arg)
{
	struct scene *scene = arg;
	struct discover_events events = {
		.added = added, .removed = removed, .changed = changed, .refused = refused, .arg = &scene->events};
	struct kube_pod pods[] = {app_pod("a", "10.85.0.2"), app_pod("b", "10.85.0.3")};
	struct scene inner = {.store = scene->store};
	buf_reset(&scene->events);
	int result = discover_new(events, &inner.discover);
	if (result < 0)
		return result;
	result = configure(inner.discover);
	if (result == 0)
		result = tell_pods(&inner, pods, 1);
	if (result == 0)
		result = apply(&inner);
	if (result == 0)
		result = tell_pods(&inner, pods, 2);
	if (result == 0)
		result = apply(&inner);
	if (result == 0)
		result = discover_secrets_changed(inner.discover);
	discover_free(inner.discover);
	return result;
}

static void memory_that_runs_out_leaves_what_was(void **state)
{
	struct scene *scene = *state;
	struct vault vault = {.value = "x"};
	discover_use_secrets(scene->discover, (struct monitor_secrets){.get = get, .arg = &vault});
	put_named(scene, MONITOR_SERVICES, "web", WEB_SERVICE);
	put_named(scene, MONITOR_SERVICE_MONITORS, "m", "{'selector':{},'endpoints':[{'port':'web'}]}");
	put_named(scene, MONITOR_POD_MONITORS, "p",
		"{'selector':{},'podMetricsEndpoints':[{'port':'http','bearerTokenSecret':{'name':'s','key':'k'}}]}");
	put_named(scene, MONITOR_SCRAPE_CONFIGS, "c", "{'staticConfigs':[{'targets':['127.0.0.1:1','192.0.2.1:1']}]}");
	buf_reserve(&scene->events, 1 << 16); /* so that events do not allocate */
	test_out_of_memory(go_through_it, scene);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(service_port_leads_to_the_pods_own_number),
		TEST(target_port_finds_ports_that_the_service_does_not_name),
		TEST(unnamed_port_and_both_flavours_of_meta_labels),
		TEST(ended_and_unready_pods),
		TEST(filter_running_false_keeps_pods_that_ended),
		TEST(one_pod_through_two_services_and_two_monitors),
		TEST(pod_monitor_by_number_has_no_endpoint_label_and_its_name_as_job),
		TEST(job_label_falls_back_to_the_services_name),
		TEST(the_kubelets_service_is_this_nodes_kubelet),
		TEST(dual_stack_service_uses_its_primary_family),
		TEST(host_network_pod_replaced_at_its_address_is_another_target),
		TEST(unchanged_targets_stay_themselves_through_every_event),
		TEST(wrong_scrape_timeout_rejects_the_monitor),
		TEST(scrape_config_takes_static_targets_of_this_host_only),
		TEST(monitor_that_asks_for_too_much_loses_its_own_targets),
		TEST(pod_behind_too_many_services_loses_its_own_targets),
		TEST(values_rotate_also_after_a_change_of_the_monitor_that_no_label_shows),
		TEST(values_are_asked_for_when_a_pod_needs_them_and_rotate_without_moving_a_target),
		TEST(the_service_of_the_seed_leads_to_the_addresses_of_its_slice),
		TEST(memory_that_runs_out_leaves_what_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
