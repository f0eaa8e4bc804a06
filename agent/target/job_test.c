/* The configuration's checks, and jobs made of it. What the tables themselves say is tested where files are loaded. */
#include "gleaner/target.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

static const struct option *find_option(const struct option_table *table, const char *name)
{
	for (const struct option *option = table->options; option->name; option++)
		if (strcmp(option->name, name) == 0)
			return option;
	fail_msg("no option %s", name);
	return NULL;
}

static void assert_refused(const struct option_table *table, void *object, const char *key, const char *text)
{
	const char *blamed = NULL;
	struct error err = {""};
	assert_int_equal(table->check(object, NULL, &blamed, &err), -EINVAL);
	assert_string_equal(blamed, key);
	if (!strstr(err.text, text))
		fail_msg("%s", err.text);
}

static void assert_accepted(const struct option_table *table, void *object)
{
	const char *blamed = NULL;
	struct error err = {""};
	if (table->check(object, NULL, &blamed, &err) != 0)
		fail_msg("%s: %s", blamed, err.text);
}

static void every_default_stands_in_the_table(void **state)
{
	(void)state;
	static const struct {
		const struct option_table *table;
		const char *name, *value;
	} cases[] = {
		{&target_global_table, "scrape_interval", "1m"},
		{&target_global_table, "scrape_timeout", "10s"},
		{&target_job_table, "metrics_path", "/metrics"},
		{&target_job_table, "scheme", "http"},
		{&target_job_table, "honor_labels", "false"},
		{&target_job_table, "honor_timestamps", "true"},
		{&target_job_table, "scrape_interval", NULL},
		{&target_job_table, "sample_limit", NULL},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *value = find_option(cases[i].table, cases[i].name)->value;
		assert_int_equal(value == NULL, cases[i].value == NULL);
		if (value)
			assert_string_equal(value, cases[i].value);
	}
}

static void the_default_timeout_is_never_longer_than_the_interval(void **state)
{
	(void)state;
	struct target_global_options options = {
		.scrape_interval_ns = 5 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	assert_accepted(&target_global_table, &options);
	assert_int_equal(options.scrape_timeout_ns, 5 * NS_PER_SEC);
	options.scrape_timeout_ns = 10 * NS_PER_SEC;
	options.scrape_timeout_given = true;
	assert_refused(&target_global_table, &options, "scrape_timeout", "10s is longer than scrape_interval, 5s");
}

static void external_labels_have_label_names(void **state)
{
	(void)state;
	struct option_pair pair = {"", "x"};
	struct target_global_options options = global;
	options.external_labels = (struct option_pairs){&pair, 1};
	assert_refused(&target_global_table, &options, "external_labels", "is not a label name");
	pair.name = "a.b";
	assert_accepted(&target_global_table, &options);
}

static void a_job_is_checked_key_by_key(void **state)
{
	(void)state;
	const struct target_job_options good = {.job_name = "web", .scheme = "https", .metrics_path = "/metrics"};
	struct target_job_options options = good;
	assert_accepted(&target_job_table, &options);
	options.job_name = "";
	assert_refused(&target_job_table, &options, "job_name", "a name is expected");
	options = good;
	options.scheme = "ftp";
	assert_refused(&target_job_table, &options, "scheme", "`ftp` is not http or https");
	options = good;
	options.scrape_interval_ns = NS_PER_SEC;
	options.scrape_timeout_ns = 2 * NS_PER_SEC;
	assert_refused(&target_job_table, &options, "scrape_timeout", "2s is longer than scrape_interval, 1s");
	options = good;
	options.fallback_scrape_protocol = "OpenMetricsText1.0.0";
	assert_accepted(&target_job_table, &options);
	options.fallback_scrape_protocol = "PrometheusProto";
	assert_refused(&target_job_table, &options, "fallback_scrape_protocol", "`PrometheusProto` is not one of");
	options = good;
	struct option_list param = {"", {NULL, 0}};
	options.params = (struct option_lists){&param, 1};
	assert_refused(&target_job_table, &options, "params", "no name");
}

static void only_pods_are_discovered(void **state)
{
	(void)state;
	const struct option_table *table = find_option(&target_job_table, "kubernetes_sd_configs")->fields;
	struct target_kubernetes_sd config = {.role = "pod"};
	assert_accepted(table, &config);
	config.role = "endpoints";
	assert_refused(table, &config, "role", "role `endpoints` is not supported, only `pod`");
}

static void static_targets_are_addresses_of_this_host(void **state)
{
	(void)state;
	const char *targets[] = {"127.0.0.1:9100", "[::1]:80", "localhost"};
	struct target_static_config config = {.position = {"f", 12, 5}, .targets = {targets, 3}};
	struct target_job_options options = {.job_name = "web", .scheme = "http", .static_configs = {&config, 1}};
	const struct option_table *table = find_option(&target_job_table, "static_configs")->fields;
	assert_accepted(table, &config);
	assert_accepted(&target_job_table, &options);
	targets[1] = "192.0.2.1:9100";
	assert_accepted(table, &config);
	assert_refused(&target_job_table, &options, "static_configs",
		"`192.0.2.1:9100` (targets[1] of the static_config in line 12) is not on this host");
	targets[1] = "example.com:80";
	assert_refused(&target_job_table, &options, "static_configs", "is not on this host");
	targets[1] = "http://127.0.0.1:80/metrics";
	assert_refused(&target_job_table, &options, "static_configs",
		"(targets[1] of the static_config in line 12) is not an address; host:port is expected");
	targets[1] = "[::1]:80";
	struct option_pair pair = {"", "x"};
	config.labels = (struct option_pairs){&pair, 1};
	assert_refused(table, &config, "labels", "is not a label name");
}

static void a_rule_that_writes_the_address_makes_any_static_target_welcome(void **state)
{
	(void)state;
	const char *targets[] = {"https://example.com"};
	struct target_static_config config = {.targets = {targets, 1}};
	struct relabel_rule rule = {.target_label = "__address__", .replacement = "127.0.0.1:9115"};
	struct target_job_options options = {.job_name = "blackbox",
		.scheme = "http",
		.static_configs = {&config, 1},
		.relabel_configs = {&rule, 1}};
	assert_accepted(find_option(&target_job_table, "static_configs")->fields, &config);
	assert_accepted(&target_job_table, &options);
	rule.target_label = "instance";
	assert_refused(&target_job_table, &options, "static_configs", "is not an address");
}

static struct target_job *make(const struct target_job_options *options, const struct target_global_options *globals)
{
	struct target_job *job = NULL;
	struct error err = {""};
	if (target_job_new(options, globals, &job, &err) < 0)
		fail_msg("%s", err.text);
	return job;
}

static void what_a_job_does_not_say_is_taken_from_global(void **state)
{
	(void)state;
	struct target_global_options globals = global;
	globals.limits = (struct target_limits){1, 2, 3, 4, 5, 6};
	globals.extra_scrape_metrics = true;
	struct target_job_options options = {.job_name = "web", .limits = {.label_limit = 30}};
	struct target_job *job = make(&options, &globals);
	assert_int_equal(job->interval_ns, 60 * NS_PER_SEC);
	assert_int_equal(job->timeout_ns, 10 * NS_PER_SEC);
	test_assert_text(job->metrics_path, "/metrics");
	test_assert_text(job->scheme, "http");
	assert_int_equal(job->limits.sample_limit, 1);
	assert_int_equal(job->limits.label_limit, 30);
	assert_int_equal(job->limits.target_limit, 6);
	assert_true(job->extra_scrape_metrics);
	assert_false(job->fallback_openmetrics);
	target_job_unref(job);

	options = (struct target_job_options){.job_name = "web",
		.scrape_interval_ns = 4 * NS_PER_SEC,
		.extra_scrape_metrics_given = true,
		.fallback_scrape_protocol = "OpenMetricsText0.0.1"};
	job = make(&options, &globals);
	assert_int_equal(job->timeout_ns, 4 * NS_PER_SEC);
	assert_false(job->extra_scrape_metrics);
	assert_true(job->fallback_openmetrics);
	target_job_unref(job);
}

static void a_job_owns_all_it_has(void **state)
{
	(void)state;
	char name[] = "web", value[] = "v", key[] = "k", regex[] = "a(.*)", source[] = "s";
	const char *values[] = {value}, *sources[] = {source};
	struct option_list param = {key, {values, 1}};
	struct relabel_rule rule = {.source_labels = {sources, 1}, .regex = regex, .action = RELABEL_KEEP};
	struct target_job_options options = {
		.job_name = name, .params = {&param, 1}, .metric_relabel_configs = {&rule, 1}};
	struct target_job *job = make(&options, &global);
	name[0] = value[0] = key[0] = regex[0] = source[0] = 'X';
	test_assert_text(job->name, "web");
	assert_string_equal(job->params.items[0].name, "k");
	assert_string_equal(job->params.items[0].values.items[0], "v");
	assert_string_equal(job->metric_rules[0].regex, "a(.*)");
	assert_string_equal(job->metric_rules[0].source_labels.items[0], "s");
	assert_ptr_equal(target_job_ref(job), job);
	target_job_unref(job);
	target_job_unref(job);
}

static void the_same_options_give_the_same_content(void **state)
{
	(void)state;
	struct relabel_rule rule = {.regex = "x", .action = RELABEL_KEEP};
	struct option_pair pair = {"a", "b"};
	struct target_global_options labelled = global;
	labelled.external_labels = (struct option_pairs){&pair, 1};
	struct target_job_options options = {.job_name = "web"},
				  ruled = {.job_name = "web", .relabel_configs = {&rule, 1}},
				  metric = {.job_name = "web", .metric_relabel_configs = {&rule, 1}};
	struct target_job *jobs[] = {make(&options, &global), make(&options, &global), make(&ruled, &global),
		make(&metric, &global), make(&options, &labelled)};
	assert_true(jobs[0]->content == jobs[1]->content && jobs[0]->packed == jobs[1]->packed);
	assert_true(jobs[0]->content != jobs[2]->content && jobs[0]->packed == jobs[2]->packed);
	assert_true(jobs[0]->content != jobs[3]->content && jobs[0]->packed != jobs[3]->packed);
	assert_true(jobs[0]->content != jobs[4]->content && jobs[0]->packed == jobs[4]->packed);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		target_job_unref(jobs[i]);
}

static void errors_name_the_job_and_the_key(void **state)
{
	(void)state;
	struct relabel_rule rule = {.regex = "(", .action = RELABEL_KEEP};
	struct target_job_options options[] = {
		{.job_name = "web", .relabel_configs = {&rule, 1}},
		{.job_name = "web", .metric_relabel_configs = {&rule, 1}},
		{.job_name = "web", .scrape_timeout_ns = 120 * NS_PER_SEC},
		{.job_name = "web", .tls_config = {.ca_file = "/nowhere/ca.pem"}},
	};
	static const char *const want[] = {
		"job `web`: relabel_configs: rule 0: regex: ", "job `web`: metric_relabel_configs: rule 0: regex: ",
		"job `web`: scrape_timeout: 2m is longer than the scrape_interval, 1m",
		"job `web`: tls_config.ca_file: open /nowhere/ca.pem: "};
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct target_job *job = NULL;
		struct error err = {""};
		assert_int_equal(target_job_new(&options[i], &global, &job, &err), i == 3 ? -ENOENT : -EINVAL);
		if (!strstr(err.text, want[i]))
			fail_msg("%s", err.text);
		assert_null(job);
	}
}

static void the_ca_file_is_read_into_the_job(void **state)
{
	(void)state;
	char path[] = "/tmp/gleaner_ca_XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "PEM\n", 4), 4);
	close(fd);
	struct target_job_options options = {.job_name = "web", .tls_config = {.ca_file = path, .server_name = "n"}};
	struct target_job *job = make(&options, &global);
	unlink(path);
	test_assert_text(job->credentials->ca, "PEM");
	test_assert_text(job->credentials->server_name, "n");
	target_job_unref(job);
}

/* Else a scraper could never be told of it, and none would start any more. */
static void a_job_that_no_message_holds_is_refused(void **state)
{
	(void)state;
	enum { LARGE = 5 << 20 };
	char *text = malloc(LARGE + 1);
	memset(text, 'x', LARGE);
	text[LARGE] = '\0';
	const char *values[] = {text};
	struct option_list param = {"q", {values, 1}};
	struct target_job_options options = {.job_name = "web", .params = {&param, 1}};
	struct target_job *job = NULL;
	struct error err = {""};
	assert_int_equal(target_job_new(&options, &global, &job, &err), -EINVAL);
	assert_string_equal(err.text, "job `web`: larger than 3 MiB, rules and parameters together");
	free(text);
}

static int attempt(void *arg)
{
	(void)arg;
	static const char *const values[] = {"v"};
	struct option_list param = {"q", {(const char **)values, 1}};
	struct option_pair pair = {"a", "b"};
	struct relabel_rule rule = {.regex = "x", .source_labels = {(const char **)values, 1}, .action = RELABEL_KEEP};
	struct target_global_options globals = global;
	globals.external_labels = (struct option_pairs){&pair, 1};
	struct target_job_options options = {.job_name = "web",
		.params = {&param, 1},
		.relabel_configs = {&rule, 1},
		.metric_relabel_configs = {&rule, 1},
		.tls_config = {.ca_file = GLEANER_TESTS_DIR "/golden/relabel/README.md"}};
	struct target_job *job = NULL;
	int result = target_job_new(&options, &globals, &job, NULL);
	target_job_unref(job);
	return result;
}

static void running_out_of_memory_fails_cleanly(void **state)
{
	(void)state;
	test_out_of_memory(attempt, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_default_stands_in_the_table),
		cmocka_unit_test(the_default_timeout_is_never_longer_than_the_interval),
		cmocka_unit_test(external_labels_have_label_names),
		cmocka_unit_test(a_job_is_checked_key_by_key),
		cmocka_unit_test(only_pods_are_discovered),
		cmocka_unit_test(static_targets_are_addresses_of_this_host),
		cmocka_unit_test(a_rule_that_writes_the_address_makes_any_static_target_welcome),
		cmocka_unit_test(what_a_job_does_not_say_is_taken_from_global),
		cmocka_unit_test(a_job_owns_all_it_has),
		cmocka_unit_test(the_same_options_give_the_same_content),
		cmocka_unit_test(errors_name_the_job_and_the_key),
		cmocka_unit_test(the_ca_file_is_read_into_the_job),
		cmocka_unit_test(a_job_that_no_message_holds_is_refused),
		cmocka_unit_test(running_out_of_memory_fails_cleanly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
