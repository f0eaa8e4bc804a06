/* The order of relabel rules in which the Prometheus operator generates them (its generator, v0.93), without the selector and
 * sharding. The first two tests were checked by hand against that order, rule by rule. */
#include <stdio.h>

#include "monitors_for_test.h"

#define M "__meta_kubernetes_"

static void service_monitor_rules_stand_in_the_operators_order(void **state)
{
	(void)state;
	struct monitor *monitor = monitor_for_test(MONITOR_SERVICE_MONITOR,
		"{'selector':{'matchLabels':{'app':'web'}},'jobLabel':'app.kubernetes.io/name',"
		"'targetLabels':['team','app.kubernetes.io/part-of'],'podTargetLabels':['pod-template.hash'],"
		"'endpoints':[{'port':'http','relabelings':[{'action':'Drop','sourceLabels':['a','b'],'regex':'x;y'}],"
		"'metricRelabelings':[{'action':'labeldrop','regex':'uid'}]}]}",
		&plain_options);
	assert_findings(monitor, "");
	assert_int_equal(monitor->endpoint_count, 1);
	assert_string_equal(monitor->endpoints[0].options.job_name, "serviceMonitor/shop/web/0");
	assert_rules(monitor->endpoints[0].options.relabel_configs,
		"replace [job] -> __tmp_prometheus_job_name\n"
		"keep [" M "endpoint_port_name] =~ http\n"
		"replace [" M "endpoint_address_target_kind " M "endpoint_address_target_name] =~ Node;(.*) -> node\n"
		"replace [" M "endpoint_address_target_kind " M "endpoint_address_target_name] =~ Pod;(.*) -> pod\n"
		"replace [" M "namespace] -> namespace\n"
		"replace [" M "service_name] -> service\n"
		"replace [" M "pod_name] -> pod\n"
		"replace [" M "pod_container_name] -> container\n"
		"drop [" M "pod_phase] =~ (Failed|Succeeded)\n"
		"replace [" M "service_label_team] =~ (.+) -> team\n"
		"replace [" M "service_label_app_kubernetes_io_part_of] =~ (.+) -> app_kubernetes_io_part_of\n"
		"replace [" M "pod_label_pod_template_hash] =~ (.+) -> pod_template_hash\n"
		"replace [" M "service_name] -> job\n"
		"replace [" M "service_label_app_kubernetes_io_name] =~ (.+) -> job\n"
		"replace [] -> endpoint = http\n"
		"drop [a b] =~ x;y\n");
	assert_rules(monitor->endpoints[0].options.metric_relabel_configs, "labeldrop [] =~ uid\n");
	monitor_unref(monitor);
}

static void pod_monitor_rules_stand_in_the_operators_order(void **state)
{
	(void)state;
	struct monitor *monitor = monitor_for_test(MONITOR_POD_MONITOR,
		"{'selector':{},'jobLabel':'app','podTargetLabels':['a.b'],"
		"'podMetricsEndpoints':[{'port':'metrics','relabelings':[{'targetLabel':'x','replacement':'y','regex':'"
		"'}]}]}",
		&plain_options);
	assert_findings(monitor, "");
	assert_string_equal(monitor->endpoints[0].options.job_name, "podMonitor/shop/web/0");
	assert_rules(monitor->endpoints[0].options.relabel_configs, "replace [job] -> __tmp_prometheus_job_name\n"
								    "drop [" M "pod_phase] =~ (Failed|Succeeded)\n"
								    "keep [" M "pod_container_port_name] =~ metrics\n"
								    "replace [" M "namespace] -> namespace\n"
								    "replace [" M "pod_container_name] -> container\n"
								    "replace [" M "pod_name] -> pod\n"
								    "replace [" M "pod_label_a_b] =~ (.+) -> a_b\n"
								    "replace [] -> job = shop/web\n"
								    "replace [" M "pod_label_app] =~ (.+) -> job\n"
								    "replace [] -> endpoint = metrics\n"
								    "replace [] -> x = y\n");
	monitor_unref(monitor);
}

static void assert_port_rules(enum monitor_kind kind, const char *endpoint, const char *keep, const char *label)
{
	char spec[512], rule[256] = "", last[128] = "";
	snprintf(spec, sizeof(spec), "{'selector':{},'%s':[%s]}",
		kind == MONITOR_POD_MONITOR ? "podMetricsEndpoints" : "endpoints", endpoint);
	struct monitor *monitor = monitor_for_test(kind, spec, &plain_options);
	struct option_objects all = monitor->endpoints[0].options.relabel_configs;
	const struct relabel_rule *rules = all.items, *end = &rules[all.count - 1];
	for (size_t i = 0; i < all.count; i++) {
		if (rules[i].action == RELABEL_KEEP)
			snprintf(rule, sizeof(rule), "%s=%s", rules[i].source_labels.items[0], rules[i].regex);
	}
	if (strcmp(end->target_label, "endpoint") == 0)
		snprintf(last, sizeof(last), "%s", end->replacement);
	assert_string_equal(rule, keep);
	assert_string_equal(last, label);
	monitor_unref(monitor);
}

static void ports_choose_the_rule_and_the_endpoint_label(void **state)
{
	(void)state;
	assert_port_rules(MONITOR_SERVICE_MONITOR, "{'port':'a','targetPort':9}", M "endpoint_port_name=a", "a");
	assert_port_rules(MONITOR_SERVICE_MONITOR, "{'targetPort':'b'}", M "pod_container_port_name=b", "b");
	assert_port_rules(MONITOR_SERVICE_MONITOR, "{'targetPort':9090}", M "pod_container_port_number=9090", "9090");
	assert_port_rules(MONITOR_SERVICE_MONITOR, "{}", "", "");
	assert_port_rules(MONITOR_POD_MONITOR, "{'port':'a','portNumber':9}", M "pod_container_port_name=a", "a");
	assert_port_rules(
		MONITOR_POD_MONITOR, "{'portNumber':9,'targetPort':'t'}", M "pod_container_port_number=9", "t");
	assert_port_rules(MONITOR_POD_MONITOR, "{'portNumber':9}", M "pod_container_port_number=9", "");
	assert_port_rules(MONITOR_POD_MONITOR, "{'targetPort':8}", M "pod_container_port_number=8", "8");
	assert_port_rules(MONITOR_POD_MONITOR, "{}", "", "");
}

static void slices_are_the_flavour_when_asked_for_and_running_is_not_filtered_when_not(void **state)
{
	(void)state;
	struct monitor *monitor = monitor_for_test(MONITOR_SERVICE_MONITOR,
		"{'selector':{},'serviceDiscoveryRole':'EndpointSlice','endpoints':[{'port':'p','filterRunning':false}]"
		"}",
		&plain_options);
	assert_rules(monitor->endpoints[0].options.relabel_configs,
		"replace [job] -> __tmp_prometheus_job_name\n"
		"keep [" M "endpointslice_port_name] =~ p\n"
		"replace [" M "endpointslice_address_target_kind " M
		"endpointslice_address_target_name] =~ Node;(.*) -> node\n"
		"replace [" M "endpointslice_address_target_kind " M
		"endpointslice_address_target_name] =~ Pod;(.*) -> pod\n"
		"replace [" M "namespace] -> namespace\n"
		"replace [" M "service_name] -> service\n"
		"replace [" M "pod_name] -> pod\n"
		"replace [" M "pod_container_name] -> container\n"
		"replace [" M "service_name] -> job\n"
		"replace [] -> endpoint = p\n");
	monitor_unref(monitor);
}

static void scrape_class_comes_before_the_endpoints_own(void **state)
{
	(void)state;
	const char *sources[] = {"s"};
	struct relabel_rule of_class = {.source_labels = {sources, 1}, .target_label = "class", .replacement = "c$1"};
	struct relabel_rule metric = {.action = RELABEL_LABELDROP, .regex = "secret"};
	struct monitor_scrape_class classes[] = {
		{.name = "other"},
		{.name = "tls",
			.is_default = true,
			.fallback_scrape_protocol = "OpenMetricsText1.0.0",
			.authorization_given = true,
			.authorization = {.type = "Bearer", .credentials_file = "/token"},
			.tls_config =
				{.ca_file = "/ca", .cert_file = "/cert", .key_file = "/key", .server_name = "name"},
			.relabelings = {&of_class, 1},
			.metric_relabelings = {&metric, 1}},
	};
	struct monitor_options options = plain_options;
	options.scrape_classes = (struct option_objects){classes, 2};
	struct monitor *monitor = monitor_for_test(MONITOR_POD_MONITOR,
		"{'selector':{},'podMetricsEndpoints':[{'filterRunning':false,"
		"'relabelings':[{'targetLabel':'x','replacement':'y'}],'metricRelabelings':[{'action':'keep'}]},"
		"{'tlsConfig':{'serverName':'mine','ca':{'secret':{'name':'n','key':'k'}}},"
		"'basicAuth':{'username':{'name':'n','key':'u'},'password':{'name':'n','key':'p'}}},"
		"{'tlsConfig':{'cert':{'secret':{'name':'n','key':'c'}},'keySecret':{'name':'n','key':'k'}}}]}",
		&options);
	assert_findings(monitor, "");
	const struct target_job_options *first = &monitor->endpoints[0].options,
					*second = &monitor->endpoints[1].options,
					*third = &monitor->endpoints[2].options;
	assert_rules(first->relabel_configs, "replace [job] -> __tmp_prometheus_job_name\n"
					     "replace [" M "namespace] -> namespace\n"
					     "replace [" M "pod_container_name] -> container\n"
					     "replace [" M "pod_name] -> pod\n"
					     "replace [] -> job = shop/web\n"
					     "replace [s] -> class = c$1\n"
					     "replace [] -> x = y\n");
	assert_rules(first->metric_relabel_configs, "labeldrop [] =~ secret\nkeep []\n");
	assert_string_equal(first->fallback_scrape_protocol, "OpenMetricsText1.0.0");
	assert_true(first->authorization_given);
	assert_string_equal(first->authorization.credentials_file, "/token");
	assert_string_equal(first->tls_config.ca_file, "/ca");
	assert_string_equal(first->tls_config.server_name, "name");
	assert_false(second->authorization_given); /* it has its own */
	assert_null(second->tls_config.ca_file);
	assert_string_equal(second->tls_config.server_name, "mine");
	assert_string_equal(second->tls_config.cert_file, "/cert");
	assert_string_equal(second->tls_config.key_file, "/key");
	assert_null(third->tls_config.cert_file);
	assert_null(third->tls_config.key_file);
	assert_string_equal(third->tls_config.ca_file, "/ca");
	assert_null(third->tls_config.server_name);
	monitor_unref(monitor);
}

static void scrape_config_has_only_its_own_rules(void **state)
{
	(void)state;
	struct monitor *monitor = monitor_for_test(MONITOR_SCRAPE_CONFIG,
		"{'jobName':'edge','kubernetesSDConfigs':[{'role':'Pod','namespaces':{'names':['a'],'ownNamespace':"
		"true}}],"
		"'staticConfigs':[{'targets':['127.0.0.1:9100'],'labels':{'env':'x'}}],'metricsPath':'/"
		"m','scheme':'HTTPS',"
		"'relabelings':[{'targetLabel':'x','replacement':'y'}]}",
		&plain_options);
	assert_findings(monitor, "");
	const struct target_job_options *job = &monitor->endpoints[0].options;
	assert_string_equal(job->job_name, "scrapeConfig/shop/web");
	assert_string_equal(job->metrics_path, "/m");
	assert_string_equal(job->scheme, "https");
	assert_rules(job->relabel_configs, "replace [job] -> __tmp_prometheus_job_name\n"
					   "replace [] -> job = edge\n"
					   "replace [] -> x = y\n");
	const struct target_static_config *statics = job->static_configs.items;
	assert_int_equal(job->static_configs.count, 1);
	assert_string_equal(statics[0].targets.items[0], "127.0.0.1:9100");
	assert_string_equal(statics[0].labels.items[0].value, "x");
	assert_true(monitor->pods);
	struct labels none = {0};
	assert_true(monitor_selects(monitor, SPAN("a"), none));
	assert_true(monitor_selects(monitor, SPAN("shop"), none));
	assert_false(monitor_selects(monitor, SPAN("b"), none));
	monitor_unref(monitor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(service_monitor_rules_stand_in_the_operators_order),
		cmocka_unit_test(pod_monitor_rules_stand_in_the_operators_order),
		cmocka_unit_test(ports_choose_the_rule_and_the_endpoint_label),
		cmocka_unit_test(slices_are_the_flavour_when_asked_for_and_running_is_not_filtered_when_not),
		cmocka_unit_test(scrape_class_comes_before_the_endpoints_own),
		cmocka_unit_test(scrape_config_has_only_its_own_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
