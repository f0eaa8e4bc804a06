/* Every field of the CRDs: honoured, or a finding that says what it costs. */
#include <errno.h>
#include <stdio.h>

#include "monitors_for_test.h"

/* ---- no field is unknown, and each has its row in the documentation ------------------------- */

/* spec.endpoints[].port -> {'spec':{'selector':{},'endpoints':[{'port':{}}]}} */
static void put_path(struct buf *out, const char *path)
{
	char closing[64] = "";
	size_t depth = 0;
	struct span rest = span_str(path), part;
	buf_str(out, "{'metadata':{'name':'n','namespace':'s'},");
	while (span_next(&rest, '.', &part)) {
		bool list = span_ends_with(part, SPAN("[]"));
		if (depth > 0)
			buf_char(out, '{');
		buf_printf(out, "'%.*s':", (int)(part.len - 2 * list), part.ptr);
		if (list)
			buf_char(out, '[');
		if (depth > 0)
			closing[depth++] = '}';
		else
			closing[depth++] = ' ';
		if (list)
			closing[depth++] = ']';
	}
	buf_str(out, "{}");
	while (depth > 0)
		buf_char(out, closing[--depth]);
	buf_char(out, '}');
}

static enum monitor_kind kind_of(struct span name)
{
	for (int kind = 0; kind < MONITOR_KINDS; kind++) {
		if (span_eq(span_str(monitor_kind_name((enum monitor_kind)kind)), name))
			return (enum monitor_kind)kind;
	}
	fail_msg("%.*s", SPAN_ARGS(name));
	return MONITOR_KINDS;
}

static void assert_known(enum monitor_kind kind, const char *path)
{
	struct arena arena;
	struct buf text;
	struct monitor *monitor = NULL;
	arena_init(&arena, 1 << 20);
	buf_init(&text, 4096);
	put_path(&text, path);
	buf_char(&text, '\0');
	assert_int_equal(monitor_parse(kind, json_for_test(&arena, text.ptr), &plain_options, 1, &monitor, NULL), 0);
	for (size_t i = 0; i < monitor->finding_count; i++) {
		if (strstr(monitor->findings[i].reason, "not known"))
			fail_msg("%s %s: %s", monitor_kind_name(kind), path, monitor->findings[i].reason);
	}
	monitor_unref(monitor);
	buf_done(&text);
	arena_done(&arena);
}

/* `name` stands in the page, in backticks. */
static void assert_documented(const char *page, struct span path)
{
	char name[128];
	struct span rest = path, part = path;
	while (span_next(&rest, '.', &part))
		;
	part.len -= span_ends_with(part, SPAN("[]")) ? 2 : 0;
	snprintf(name, sizeof(name), "`%.*s`", SPAN_ARGS(part));
	if (!strstr(page, name))
		fail_msg("docs/monitors.md says nothing of %.*s", SPAN_ARGS(path));
}

static void every_field_of_the_crds_is_known_and_documented(void **state)
{
	(void)state;
	struct span fields = test_file("golden/monitor/fields.txt"), page = test_file("../docs/monitors.md");
	struct span rest = fields, line;
	size_t count = 0;
	while (span_next(&rest, '\n', &line)) {
		char path[256];
		struct span kind, tail = line;
		if (line.len == 0)
			continue;
		assert_true(span_next(&tail, ' ', &kind));
		snprintf(path, sizeof(path), "%.*s", SPAN_ARGS(tail));
		assert_known(kind_of(kind), path);
		assert_documented(page.ptr, tail);
		count++;
	}
	assert_true(count > 200);
	test_file_free(fields);
	test_file_free(page);
}

/* ---- what is not honoured --------------------------------------------------------------------- */

static void assert_spec(enum monitor_kind kind, const char *spec, const char *findings)
{
	struct monitor *monitor = monitor_for_test(kind, spec, &plain_options);
	assert_findings(monitor, findings);
	monitor_unref(monitor);
}

/* An endpoint of a ServiceMonitor. */
static void assert_endpoint(const char *endpoint, const char *findings)
{
	char spec[1024];
	snprintf(spec, sizeof(spec), "{'selector':{},'endpoints':[%s]}", endpoint);
	assert_spec(MONITOR_SERVICE_MONITOR, spec, findings);
}

#define ENDPOINT          "spec.endpoints[0]"
#define REJECTED          "monitor rejected: "
#define REJECTED_AT       "monitor rejected: " ENDPOINT
#define SECRET(name, key) "{'name':'" name "','key':'" key "'}"

static void whole_monitor_is_rejected_where_the_operator_does(void **state)
{
	(void)state;
	static const struct {
		const char *endpoint, *findings;
	} cases[] = {
		{"{'scrapeTimeout':'31s'}", REJECTED_AT " scrapeTimeout: 31s is longer than the interval, 30s\n"},
		{"{'interval':'5s','scrapeTimeout':'6s'}",
			REJECTED_AT " scrapeTimeout: 6s is longer than the interval, 5s\n"},
		{"{'basicAuth':{'username':" SECRET("a", "u") ",'password':" SECRET(
			 "a", "p") "},'bearerTokenSecret':" SECRET("a", "t") "}",
			REJECTED_AT " has more than one of basicAuth, authorization, oauth2 and bearer token\n"},
		{"{'authorization':{'type':' BASIC '}}",
			REJECTED_AT ".authorization type: use basicAuth for `Basic`\n"},
		{"{'tlsConfig':{'cert':{'secret':" SECRET("a", "c") "}}}",
			REJECTED_AT " tlsConfig has a certificate without its key\n"},
		{"{'tlsConfig':{'keySecret':" SECRET("a", "k") "}}",
			REJECTED_AT " tlsConfig has a key without its certificate\n"},
		{"{'tlsConfig':{'ca':{'secret':" SECRET("a", "c") ",'configMap':" SECRET("a", "c") "}}}",
			REJECTED_AT ".tlsConfig.ca.configMap is there twice\n"},
		{"{'tlsConfig':{'minVersion':'TLS13','maxVersion':'TLS12'}}",
			REJECTED_AT " tlsConfig: minVersion is newer than maxVersion\n"},
		{"{'tlsConfig':{'minVersion':'SSL3'}}",
			REJECTED_AT ".tlsConfig.minVersion `SSL3` is not a TLS version\n"},
		{"{'bearerTokenFile':'/var/run/token'}", REJECTED_AT
			".bearerTokenFile files of the agent are not read for a monitor; use authorization\n"},
		{"{'tlsConfig':{'caFile':'/ca'}}",
			REJECTED_AT ".tlsConfig.caFile files of the agent are not read for a monitor; use ca, cert and "
				    "keySecret\n"},
		{"{'basicAuth':{'username':" SECRET("a", "u") "}}",
			REJECTED_AT ".basicAuth username and password are expected\n"},
		{"{'basicAuth':{'username':{'key':'u'},'password':" SECRET("a", "p") "}}",
			REJECTED_AT ".basicAuth.username name and key are expected\n"},
		{"{'relabelings':[{'regex':'('}]}",
			REJECTED_AT ".relabelings rule 0: target_label: action replace needs a target_label\n"},
		{"{'metricRelabelings':[{'action':'explode'}]}",
			REJECTED_AT ".metricRelabelings[0].action `explode` is not an action\n"},
		{"{'port':'a('}", REJECTED_AT " port: rule 0: regex: missing ): a(\n"},
		{"{'interval':'1s1h'}", REJECTED_AT ".interval `1s1h` is not a duration\n"},
		{"{'scheme':'gopher'}", REJECTED_AT ".scheme `gopher` is not http or https\n"},
		{"{'targetPort':65536}", REJECTED_AT ".targetPort `65536` is not a port number\n"},
		{"{'honorLabels':'yes'}", REJECTED_AT ".honorLabels is of type string, boolean is expected\n"},
		{"{'path':'a\\u0000b'}", REJECTED_AT ".path holds a NUL byte\n"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_endpoint(cases[i].endpoint, cases[i].findings);
	}
	struct monitor *monitor = monitor_for_test(
		MONITOR_SERVICE_MONITOR, "{'selector':{},'endpoints':[{},{'scrapeTimeout':'1h'}]}", &plain_options);
	assert_true(monitor->rejected);
	assert_int_equal(monitor->endpoint_count, 0);
	monitor_unref(monitor);
}

static void spec_that_is_wrong_rejects_the_monitor(void **state)
{
	(void)state;
	static const struct {
		const char *spec, *findings;
	} cases[] = {
		{"{'endpoints':[]}", REJECTED "spec.selector is missing; `{}` selects everything\n"},
		{"null", REJECTED "spec is missing\n" REJECTED "spec.selector is missing; `{}` selects everything\n"},
		{"{'selector':{'matchExpressions':[{'key':'a','operator':'Near'}]}}",
			REJECTED "spec.selector.matchExpressions[0] operator: In, NotIn, Exists or DoesNotExist is "
				 "expected\n"},
		{"{'selector':{'matchExpressions':[{'key':'a','operator':'In'}]}}",
			REJECTED "spec.selector.matchExpressions[0] values: In and NotIn need at least one\n"},
		{"{'selector':{'matchExpressions':[{'key':'a','operator':'Exists','values':['b']}]}}",
			REJECTED "spec.selector.matchExpressions[0] values: Exists and DoesNotExist take none\n"},
		{"{'selector':{},'scrapeClass':'gold','endpoints':[{}]}",
			REJECTED ENDPOINT " scrapeClass: `gold` is not one of monitors.scrape_classes\n"},
		{"{'selector':{},'sampleLimit':-1}",
			REJECTED "spec.sampleLimit `-1` is not a whole number from 0 on\n"},
		{"{'selector':{},'bodySizeLimit':'10'}",
			REJECTED "spec.bodySizeLimit `10` is not a size such as 10MB\n"},
		{"{'selector':{},'nativeHistogramMinBucketFactor':'x'}",
			REJECTED "spec.nativeHistogramMinBucketFactor `x` is not a quantity\n"},
		{"{'selector':{},'fallbackScrapeProtocol':'HTML'}",
			REJECTED "spec.fallbackScrapeProtocol `HTML` is not one of PrometheusText0.0.4, "
				 "PrometheusText1.0.0, OpenMetricsText0.0.1, OpenMetricsText1.0.0\n"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_spec(MONITOR_SERVICE_MONITOR, cases[i].spec, cases[i].findings);
}

static void endpoint_is_refused_alone_where_scraping_it_would_be_wrong(void **state)
{
	(void)state;
	struct monitor *monitor = monitor_for_test(MONITOR_SERVICE_MONITOR,
		"{'selector':{},'endpoints':[{'oauth2':{'tokenUrl':'x'}},{'proxyUrl':'http://p'},{}]}", &plain_options);
	assert_findings(monitor, "endpoint refused: spec.endpoints[0].oauth2 OAuth 2 is not supported: tokens come "
				 "from another host, and the "
				 "agent connects to none\n"
				 "endpoint refused: spec.endpoints[1].proxyUrl no proxy is used: only pods of this "
				 "node are connected to, and "
				 "directly\n");
	assert_false(monitor->rejected);
	assert_true(monitor->endpoints[0].refused);
	assert_true(monitor->endpoints[1].refused);
	assert_false(monitor->endpoints[2].refused);
	monitor_unref(monitor);
}

static void ignored_fields_are_told_but_not_when_they_ask_for_nothing(void **state)
{
	(void)state;
	assert_endpoint("{'followRedirects':false,'enableHttp2':false,'proxyUrl':'','bearerTokenFile':'',"
			"'bearerTokenSecret':{'key':'','name':''},'oauth2':null,'port':null}",
		"");
	assert_endpoint("{'interval':'1ms'}", "ignored: " ENDPOINT " interval: 1ms is raised to 1s\n");
	assert_endpoint("{'followRedirects':true,'colour':'red'}",
		"ignored: " ENDPOINT ".followRedirects redirects are not followed: they would lead away from the pod\n"
		"ignored: " ENDPOINT ".colour is not known to this version\n");
	assert_spec(MONITOR_POD_MONITOR,
		"{'selector':{},'attachMetadata':{'node':true},'nativeHistogramMinBucketFactor':'1500m',"
		"'scrapeProtocols':['PrometheusProto'],'fallbackScrapeProtocol':'PrometheusProto'}",
		"ignored: spec.attachMetadata.node labels of the Node are not attached: __meta_kubernetes_node_* are "
		"empty\n"
		"ignored: spec.nativeHistogramMinBucketFactor native histograms are not read\n"
		"ignored: spec.scrapeProtocols formats are asked for in an order of our own; all but protobuf are "
		"read\n"
		"ignored: spec.fallbackScrapeProtocol the protobuf format is not read\n");
}

static void findings_have_a_maximum(void **state)
{
	(void)state;
	struct buf spec;
	buf_init(&spec, 8000);
	for (int i = 0; i < 100; i++)
		buf_printf(&spec, "%s'x%d':1", i ? "," : "{", i);
	buf_str(&spec, "}");
	buf_char(&spec, '\0');
	struct monitor *monitor = monitor_for_test(MONITOR_SERVICE_MONITOR, spec.ptr, &plain_options);
	assert_int_equal(monitor->finding_count, MONITOR_FINDINGS_MAX);
	/* but why nothing is scraped is always among them */
	const struct monitor_finding *last = &monitor->findings[MONITOR_FINDINGS_MAX - 1];
	assert_true(monitor->rejected);
	assert_int_equal(last->effect, MONITOR_REJECTED);
	assert_string_equal(last->field, "spec.selector");
	monitor_unref(monitor);
	buf_done(&spec);
}

/* The loop stands still while expressions compile. */
static void expressions_that_are_slow_to_compile_reject_the_monitor(void **state)
{
	(void)state;
	assert_endpoint("{'relabelings':[{'action':'keep','regex':'(\\\\pL{9}){3}'}]}", "");
	struct buf endpoint;
	buf_init(&endpoint, 8000);
	for (int i = 0; i < 10; i++)
		buf_printf(&endpoint, "%s{'action':'keep','regex':'(\\\\pL{9}){3}'}", i ? "," : "{'relabelings':[");
	buf_str(&endpoint, "]}");
	buf_char(&endpoint, '\0');
	assert_endpoint(endpoint.ptr, "monitor rejected: spec.endpoints[0].relabelings the monitor's regular "
				      "expressions are too large together\n");
	buf_done(&endpoint);
}

static void scrape_config_refuses_what_is_not_of_this_node(void **state)
{
	(void)state;
	const char *only =
		"only pods of this node are targets (kubernetesSDConfigs with role Pod, staticConfigs of this host)";
	char expected[512];
	snprintf(expected, sizeof(expected), REJECTED "spec.consulSDConfigs %s\n", only);
	assert_spec(MONITOR_SCRAPE_CONFIG, "{'consulSDConfigs':[{'server':'x'}]}", expected);
	snprintf(expected, sizeof(expected), REJECTED "spec.kubernetesSDConfigs[0] role: %s\n", only);
	assert_spec(MONITOR_SCRAPE_CONFIG, "{'kubernetesSDConfigs':[{'role':'Node'}]}", expected);
	assert_spec(MONITOR_SCRAPE_CONFIG,
		"{'kubernetesSDConfigs':[{'role':'pod','selectors':[{'role':'pod','label':'a=b'}]}]}",
		REJECTED "spec.kubernetesSDConfigs[0].selectors selectors are not evaluated; keep pods by a relabeling "
			 "instead\n");
	assert_spec(MONITOR_SCRAPE_CONFIG, "{'staticConfigs':[{'targets':['127.0.0.1:1'],'labels':{'':'x'}}]}",
		REJECTED "spec.staticConfigs[0].labels. is not a label name\n");
}

/* ---- what is honoured ----------------------------------------------------------------------------- */

static void fields_arrive_in_the_job(void **state)
{
	(void)state;
	struct monitor *monitor = monitor_for_test(MONITOR_SERVICE_MONITOR,
		"{'selector':{},'sampleLimit':1,'targetLimit':2,'labelLimit':3,'labelNameLengthLimit':4,"
		"'labelValueLengthLimit':5,'bodySizeLimit':'1.5KiB','fallbackScrapeProtocol':'OpenMetricsText1.0.0',"
		"'endpoints':[{'path':'/"
		"p','scheme':'HTTPS','params':{'a':['1','2'],'b':[]},'interval':'1m','scrapeTimeout':'9s',"
		"'honorLabels':true,'honorTimestamps':false,'trackTimestampsStaleness':true,'tlsConfig':{'serverName':'"
		"n',"
		"'insecureSkipVerify':true,'minVersion':'TLS12','maxVersion':'TLS13'}},{'interval':'','scrapeTimeout':'"
		"0'}]}",
		&plain_options);
	assert_findings(monitor, "");
	const struct target_job_options *job = &monitor->endpoints[0].options;
	assert_int_equal(job->limits.sample_limit, 1);
	assert_int_equal(job->limits.target_limit, 2);
	assert_int_equal(job->limits.label_limit, 3);
	assert_int_equal(job->limits.label_name_length_limit, 4);
	assert_int_equal(job->limits.label_value_length_limit, 5);
	assert_int_equal(job->limits.body_size_limit, 1536);
	assert_string_equal(job->fallback_scrape_protocol, "OpenMetricsText1.0.0");
	assert_string_equal(job->metrics_path, "/p");
	assert_string_equal(job->scheme, "https");
	assert_int_equal(job->params.count, 2);
	assert_string_equal(job->params.items[0].values.items[1], "2");
	assert_int_equal(job->params.items[1].values.count, 0);
	assert_int_equal(job->scrape_interval_ns, 60 * NS_PER_SEC);
	assert_int_equal(job->scrape_timeout_ns, 9 * NS_PER_SEC);
	assert_true(job->honor_labels && !job->honor_timestamps && job->track_timestamps_staleness);
	assert_string_equal(job->tls_config.server_name, "n");
	assert_string_equal(job->tls_config.min_version, "TLS12");
	assert_true(job->tls_config.insecure_skip_verify);
	job = &monitor->endpoints[1].options;
	assert_int_equal(job->scrape_interval_ns, 30 * NS_PER_SEC);
	assert_int_equal(job->scrape_timeout_ns, 0);
	assert_true(job->honor_timestamps && !job->honor_labels);
	monitor_unref(monitor);
}

static int known_value(void *arg, const struct monitor_reference *reference, struct span *ret_value, struct error *err)
{
	const char *missing = arg;
	if (missing && strcmp(reference->key, missing) == 0) {
		error_set(err, ENOENT, "no key %s in %s %s/%s", reference->key,
			reference->config_map ? "ConfigMap" : "Secret", reference->namespace_, reference->name);
		return 0;
	}
	*ret_value = span_str(reference->key);
	return 1;
}

static void references_become_values_in_their_places(void **state)
{
	(void)state;
	struct monitor *monitor = monitor_for_test(MONITOR_SERVICE_MONITOR,
		"{'selector':{},'endpoints':[{'basicAuth':{'username':" SECRET("s", "user") ",'password':" SECRET(
			"s", "pass") "},'tlsConfig':{'ca':{'configMap':" SECRET("c",
			"ca") "},'cert':{'secret':" SECRET("s", "cert") "},'keySecret':" SECRET("s",
			"key") "}},{'authorization':{'type':'Token','credentials':" SECRET("s", "tok") "}}]}",
		&plain_options);
	struct monitor_secrets secrets = {.get = known_value};
	struct target_job_options options;
	struct arena arena;
	struct error err = {{0}};
	arena_init(&arena, 1 << 16);
	assert_findings(monitor, "");
	assert_int_equal(monitor->endpoints[0].reference_count, 5);
	assert_int_equal(monitor_endpoint_options(&monitor->endpoints[0], &secrets, &arena, &options, &err), 1);
	assert_true(options.basic_auth_given && !options.authorization_given);
	assert_string_equal(options.basic_auth.username, "user");
	assert_string_equal(options.basic_auth.password, "pass");
	assert_string_equal(options.tls_config.ca, "ca");
	assert_string_equal(options.tls_config.cert, "cert");
	assert_string_equal(options.tls_config.key, "key");
	assert_int_equal(monitor_endpoint_options(&monitor->endpoints[1], &secrets, &arena, &options, &err), 1);
	assert_true(options.authorization_given);
	assert_string_equal(options.authorization.type, "Token");
	assert_string_equal(options.authorization.credentials, "tok");

	secrets.arg = (void *)(uintptr_t) "ca";
	assert_int_equal(monitor_endpoint_options(&monitor->endpoints[0], &secrets, &arena, &options, &err), 0);
	assert_string_equal(err.text, "spec.endpoints[0].tlsConfig.ca.configMap: no key ca in ConfigMap shop/c");
	assert_int_equal(monitor_endpoint_options(&monitor->endpoints[0], NULL, &arena, &options, &err), 0);
	assert_string_equal(err.text, "spec.endpoints[0].basicAuth.username: Secrets and ConfigMaps are not read");
	arena_done(&arena);
	monitor_unref(monitor);
}

static void namespaces_of_a_selector(void **state)
{
	(void)state;
	static const struct {
		const char *selector;
		bool own, other, any;
	} cases[] = {
		{"{}", true, false, false},
		{"{'matchNames':[]}", true, false, false},
		{"{'matchNames':['other']}", false, true, false},
		{"{'any':true,'matchNames':['other']}", true, true, true},
		{"{'any':false}", true, false, false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char spec[256];
		struct labels none = {0};
		snprintf(
			spec, sizeof(spec), "{'selector':{},'endpoints':[],'namespaceSelector':%s}", cases[i].selector);
		struct monitor *monitor = monitor_for_test(MONITOR_SERVICE_MONITOR, spec, &plain_options);
		assert_int_equal(monitor_selects(monitor, SPAN("shop"), none), cases[i].own);
		assert_int_equal(monitor_selects(monitor, SPAN("other"), none), cases[i].other);
		assert_int_equal(monitor_selects(monitor, SPAN("third"), none), cases[i].any);
		monitor_unref(monitor);
	}
}

static void object_that_is_none_is_an_error(void **state)
{
	(void)state;
	static const char *const objects[] = {"[]", "{}", "{'metadata':{'name':'a'}}", "{'metadata':{'namespace':'a'}}",
		"{'metadata':{'name':1,'namespace':'a'}}", "{'metadata':{'name':'a\\u0000b','namespace':'a'}}"};
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		struct arena arena;
		struct monitor *monitor = NULL;
		arena_init(&arena, 1 << 16);
		assert_int_equal(monitor_parse(MONITOR_POD_MONITOR, json_for_test(&arena, objects[i]), &plain_options,
					 1, &monitor, NULL),
			-EINVAL);
		arena_done(&arena);
	}
}

/* ---- memory --------------------------------------------------------------------------------------- */

struct parse {
	enum monitor_kind kind;
	const struct json *object;
	const struct monitor_options *options;
};

static int parse_it(void *arg)
{
	const struct parse *parse = arg;
	const struct monitor_secrets secrets = {.get = known_value};
	struct monitor *monitor = NULL;
	struct target_job_options options;
	struct arena arena;
	int result = monitor_parse(parse->kind, parse->object, parse->options, 1, &monitor, NULL);
	if (result < 0)
		return result;
	arena_init(&arena, 1 << 20);
	for (size_t i = 0; result >= 0 && i < monitor->endpoint_count; i++)
		result = monitor_endpoint_options(&monitor->endpoints[i], &secrets, &arena, &options, NULL);
	arena_done(&arena);
	monitor_unref(monitor);
	return result < 0 ? result : 0;
}

static void everything_survives_the_out_of_memory_loop(void **state)
{
	(void)state;
	static const char *const files[] = {"fuzz/corpus/monitor/servicemonitor-everything",
		"fuzz/corpus/monitor/podmonitor-everything", "fuzz/corpus/monitor/scrapeconfig-everything"};
	const char *sources[] = {"a"};
	struct relabel_rule rule = {.source_labels = {sources, 1}, .target_label = "b"};
	struct monitor_scrape_class scrape_class = {.name = "c",
		.is_default = true,
		.authorization_given = true,
		.authorization = {.type = "Bearer", .credentials = "x"},
		.tls_config = {.ca_file = "/ca", .server_name = "s"},
		.relabelings = {&rule, 1},
		.metric_relabelings = {&rule, 1}};
	struct monitor_options options = plain_options;
	options.scrape_classes = (struct option_objects){&scrape_class, 1};
	for (int kind = 0; kind < MONITOR_KINDS; kind++) {
		struct arena arena;
		struct parse parse = {.kind = (enum monitor_kind)kind, .options = &options};
		struct span text = test_file(files[kind]);
		arena_init(&arena, 1 << 20);
		assert_int_equal(json_parse(&arena, text, &parse.object, NULL), 0);
		test_out_of_memory(parse_it, &parse);
		arena_done(&arena);
		test_file_free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_the_crds_is_known_and_documented),
		cmocka_unit_test(whole_monitor_is_rejected_where_the_operator_does),
		cmocka_unit_test(spec_that_is_wrong_rejects_the_monitor),
		cmocka_unit_test(endpoint_is_refused_alone_where_scraping_it_would_be_wrong),
		cmocka_unit_test(ignored_fields_are_told_but_not_when_they_ask_for_nothing),
		cmocka_unit_test(findings_have_a_maximum),
		cmocka_unit_test(expressions_that_are_slow_to_compile_reject_the_monitor),
		cmocka_unit_test(scrape_config_refuses_what_is_not_of_this_node),
		cmocka_unit_test(fields_arrive_in_the_job),
		cmocka_unit_test(references_become_values_in_their_places),
		cmocka_unit_test(namespaces_of_a_selector),
		cmocka_unit_test(object_that_is_none_is_an_error),
		cmocka_unit_test(everything_survives_the_out_of_memory_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
