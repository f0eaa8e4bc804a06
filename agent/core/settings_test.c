/* The real tables: defaults, environment, and broken files with the exact words that `gleaner check` finds for them. */
#include "settings.h"

#include "cli.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct variable {
	const char *name, *value;
};
/* What the code under test sees as its environment; set by each test. */
static const struct variable *variables;

static const char *environment(const char *name)
{
	for (const struct variable *variable = variables; variable && variable->name; variable++) {
		if (strcmp(variable->name, name) == 0)
			return variable->value;
	}
	return NULL;
}

/* Files are named from where they are, so that expected messages hold no machine's paths. */
static int enter_golden(void **state)
{
	(void)state;
	variables = NULL;
	return chdir(GLEANER_TESTS_DIR "/golden/config");
}

static struct settings *load(const char *path, const struct variable *environment_variables)
{
	struct settings *settings = NULL;
	struct buf problems;
	struct error err = {""};
	variables = environment_variables;
	buf_init(&problems, 1 << 20);
	int result = settings_load(path, environment, false, &problems, &settings, &err);
	if (result < 0)
		fail_msg("%s\n%.*s", err.text, SPAN_ARGS(buf_view(&problems)));
	buf_done(&problems);
	return settings;
}

static void endpoint_variable_alone_is_a_configuration(void **state)
{
	(void)state;
	const struct variable set[] = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://gateway:4318"}, {0}};
	struct settings *settings = load(NULL, set);
	assert_string_equal(settings->exporters.otlphttp.endpoint, "http://gateway:4318");
	assert_int_equal(settings->global.scrape_interval_ns, 60 * NS_PER_SEC);
	assert_int_equal(settings->global.scrape_timeout_ns, 10 * NS_PER_SEC);
	assert_int_equal(settings->scrape.workers, 1);
	assert_int_equal(settings->scrape.max_body_bytes, 64 << 20);
	assert_int_equal(settings->scrape.max_samples, 250000);
	assert_int_equal(settings->spool.max_bytes, 64 << 20);
	assert_true(settings->annotations.enabled);
	assert_true(settings->status.enabled);
	assert_int_equal(settings->log.level, LOG_LEVEL_INFO);
	assert_string_equal(settings->service_name, "gleaner");
	settings_free(settings);
}

static void file_with_an_endpoint_alone_is_a_configuration(void **state)
{
	(void)state;
	struct settings *settings = load("good-endpoint.yaml", NULL);
	assert_string_equal(settings->exporters.otlphttp.endpoint, "http://gateway:4318");
	assert_int_equal(settings->scrape_configs.count, 0);
	settings_free(settings);
}

static void file_wins_over_the_environment(void **state)
{
	(void)state;
	const struct variable set[] = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4318"},
		{"OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=other, team = a%2Cb,service.name=from-attributes"},
		{"OTEL_SERVICE_NAME", "agent"}, {0}};
	struct settings *settings = load("good-everything.yaml", set);
	assert_string_equal(settings->exporters.otlphttp.endpoint, "http://gateway:4318");
	assert_int_equal(settings->global.resource_attributes.count, 2);
	assert_string_equal(settings->global.resource_attributes.items[0].name, "k8s.cluster.name");
	assert_string_equal(settings->global.resource_attributes.items[0].value, "prod");
	assert_string_equal(settings->global.resource_attributes.items[1].name, "team");
	assert_string_equal(settings->global.resource_attributes.items[1].value, "a,b");
	assert_string_equal(settings->service_name, "agent");
	settings_free(settings);
}

static void a_bad_variable_is_the_one_complaint(void **state)
{
	(void)state;
	const struct variable set[] = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "gateway:4318"}, {0}};
	struct settings *settings = NULL;
	struct buf problems;
	struct error err = {""};
	variables = set;
	buf_init(&problems, 4096);
	assert_int_equal(settings_load(NULL, environment, false, &problems, &settings, &err), -EINVAL);
	buf_char(&problems, '\0');
	assert_string_equal(problems.ptr,
		"(no configuration file): error: OTEL_EXPORTER_OTLP_ENDPOINT: bad URL: http://HOST:PORT or "
		"https://HOST:PORT is expected\n");
	buf_done(&problems);
}

static void an_object_that_is_written_otherwise_may_be_the_same(void **state)
{
	(void)state;
	const struct variable one[] = {
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://gateway:4318"}, {"HOST_IP", "10.0.0.1"}, {0}};
	const struct variable two[] = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4318"}, {"HOST_IP", "10.0.0.1"},
		{"OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=a"}, {0}};
	struct settings *a = load(NULL, one), *b = load(NULL, two);
	assert_true(settings_same(a, b, "kubelet"));
	assert_true(settings_same(a, b, "status"));
	assert_false(settings_same(a, b, "resource"));
	settings_free(a);
	settings_free(b);
}

static void broken_resource_attributes_are_ignored_with_a_warning(void **state)
{
	(void)state;
	const char *const broken[] = {"novalue", "a=%4", "a=%zz", "a=%00", "=x"};
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		const struct variable set[] = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://gateway:4318"},
			{"OTEL_RESOURCE_ATTRIBUTES", broken[i]}, {0}};
		variables = set;
		struct settings *settings = NULL;
		struct buf problems;
		struct error err = {""};
		buf_init(&problems, 4096);
		assert_int_equal(settings_load(NULL, environment, false, &problems, &settings, &err), 0);
		test_assert_text(buf_view(&problems),
			"(no configuration file): warning: environment variable OTEL_RESOURCE_ATTRIBUTES: expected "
			"key=value,key=value with percent-encoded values; ignored\n");
		assert_int_equal(settings->global.resource_attributes.count, 0);
		settings_free(settings);
		buf_done(&problems);
	}
}

static void file_that_cannot_be_read_is_named(void **state)
{
	(void)state;
	struct settings *settings = NULL;
	struct error err = {""};
	assert_int_equal(settings_load("absent.yaml", environment, false, NULL, &settings, &err), -ENOENT);
	assert_string_equal(err.text, "open absent.yaml: No such file or directory");
	assert_int_equal(settings_load(".", environment, false, NULL, &settings, &err), -EINVAL);
	assert_null(settings);
}

static void assert_explained(const char *name)
{
	struct buf out;
	char path[256];
	buf_init(&out, 1 << 20);
	snprintf(path, sizeof(path), "golden/config/%s.expected", name);
	struct span expected = test_file(path);
	snprintf(path, sizeof(path), "%s.yaml", name);
	bool good = strncmp(name, "good", 4) == 0;
	assert_int_equal(cli_check_file(path, environment, &out), good ? 0 : 1);
	test_assert_text(buf_view(&out), expected.ptr);
	test_file_free(expected);
	buf_done(&out);
}

static void monitors_are_selected_in_any_spelling(void **state)
{
	(void)state;
	struct settings *settings = load("good-everything.yaml", NULL);
	const struct monitor_options *monitors = &settings->monitors;
	assert_true(monitors->enabled && monitors->kubelet_service);
	assert_true(monitors->service_monitors_given && monitors->pod_monitors_given);
	assert_false(monitors->scrape_configs_given);
	assert_int_equal(monitors->service_monitors.match_labels.count, 0);
	assert_string_equal(monitors->pod_monitors.match_labels.items[0].value, "shop");
	const struct monitor_expression_options *expression = monitors->pod_monitor_namespaces.match_expressions.items;
	assert_int_equal(expression->operator_, MONITOR_NOT_IN);
	assert_true(monitor_options_need_namespaces(monitors));
	assert_int_equal(monitors->services.scope, MONITOR_SCOPE_NODE_NAMESPACES);
	settings_free(settings);
	settings = load("good-endpoint.yaml", NULL);
	assert_false(settings->monitors.enabled);
	settings_free(settings);
}

static void broken_files_are_explained(void **state)
{
	(void)state;
	const char *const names[] = {"01-mistyped-keys", "02-wrong-types", "03-timeout-longer-than-interval",
		"04-same-job-twice", "05-relabel-rules", "06-target-on-another-host", "07-nowhere-to-send",
		"08-indentation", "09-yaml-extras", "10-of-prometheus-and-the-collector", "11-misplaced-keys",
		"12-environment", "13-monitors"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_explained(names[i]);
}

static void files_of_the_exporter_have_to_be_there(void **state)
{
	(void)state;
	const struct variable set[] = {{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent.pem"}, {0}};
	variables = set;
	struct buf out;
	buf_init(&out, 1 << 20);
	assert_int_equal(cli_check_file("good-endpoint.yaml", environment, &out), 1);
	test_assert_text(buf_view(&out),
		"good-endpoint.yaml: error: exporters.otlphttp.tls: open /nonexistent.pem: No such "
		"file or directory\n\ngood-endpoint.yaml: 1 error\n");
	buf_done(&out);
}

static void good_files_are_summed_up(void **state)
{
	(void)state;
	const struct variable set[] = {{"NODE_NAME", "node-1"}, {"HOST_IP", "192.0.2.1"}, {0}};
	variables = set;
	assert_explained("good-endpoint");
	assert_explained("good-everything");
	assert_explained("good-blackbox");
	assert_explained("good-redirects");
}

static void effective_configuration_reads_back_without_secrets(void **state)
{
	(void)state;
	struct settings *settings = load("good-everything.yaml", NULL);
	struct buf out;
	buf_init(&out, 1 << 20);
	assert_int_equal(config_print(settings, &settings_table, &out), 0);
	assert_null(memmem(out.ptr, out.len, "hunter2", 7));
	assert_non_null(memmem(out.ptr, out.len, "<secret>", 8));

	struct arena arena;
	arena_init(&arena, 1 << 20);
	struct settings again;
	struct config_problems problems;
	struct config_input input = {.name = "printed", .text = buf_view(&out), .get_environment = environment};
	int result = config_load(&input, &settings_table, &arena, &again, &problems);
	if (result < 0)
		fail_msg("line %u: %s", problems.items[0].line, problems.items[0].text);
	const struct target_job_options *jobs = again.scrape_configs.items;
	assert_string_equal(jobs[1].basic_auth.username, "agent");
	assert_string_equal(jobs[1].basic_auth.password, "<secret>");
	assert_string_equal(jobs[0].job_name, "self");
	arena_done(&arena);
	buf_done(&out);
	settings_free(settings);
}

static void reference_in_docs_is_not_stale(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1 << 20);
	assert_int_equal(config_document(&settings_table, &out), 0);
	struct span written = test_file("../docs/config.md");
	if (!span_eq(buf_view(&out), written))
		fail_msg("docs/config.md is stale: gleaner config-doc > docs/config.md");
	test_file_free(written);
	buf_done(&out);
}

/* Every row of every table, the root's included, has its sentence; and no key stands twice. */
static void assert_documented(const struct option_table *table)
{
	assert_non_null(table->name);
	assert_non_null(table->help);
	for (const struct option *option = table->options; option->name; option++) {
		if (!option->help || !option->help[0])
			fail_msg("%s.%s has no help", table->name, option->name);
		for (const struct option *other = option + 1; other->name; other++)
			assert_string_not_equal(option->name, other->name);
		if (option->fields)
			assert_documented(option->fields);
	}
}

static void every_key_is_documented(void **state)
{
	(void)state;
	assert_documented(&settings_table);
}

/* The log of an agent is read by more people than its configuration. */
static void a_log_quotes_no_line_of_the_file(void **state)
{
	(void)state;
	char path[] = "/tmp/gleaner_settings_XXXXXX";
	int fd = mkstemp(path);
	static const char text[] = "exporters: {otlphttp: {headers: {key: hunter2}, timout: 1s}}\n";
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	for (int for_log = 0; for_log < 2; for_log++) {
		struct settings *settings = NULL;
		struct buf problems;
		buf_init(&problems, 4096);
		assert_int_equal(settings_load(path, environment, for_log, &problems, &settings, NULL), -EINVAL);
		buf_char(&problems, '\0');
		assert_non_null(strstr(problems.ptr, ":1:49: error: exporters.otlphttp.timout: unknown key"));
		assert_int_equal(strstr(problems.ptr, "hunter2") == NULL, for_log);
		buf_done(&problems);
	}
	unlink(path);
}

static int attempt_load(void *arg)
{
	struct settings *settings = NULL;
	struct error err = {""};
	struct buf problems;
	buf_init(&problems, 1 << 20);
	int result = settings_load(arg, environment, false, &problems, &settings, &err);
	buf_done(&problems);
	if (result == 0)
		settings_free(settings);
	return result == -EINVAL ? 0 : result;
}

static void no_memory_is_reported_and_nothing_leaks(void **state)
{
	(void)state;
	const struct variable set[] = {{"OTEL_RESOURCE_ATTRIBUTES", "a=b%20c,d=e"}, {"OTEL_SERVICE_NAME", "x"}, {0}};
	variables = set;
	test_out_of_memory(attempt_load, (void *)"good-everything.yaml");
	test_out_of_memory(attempt_load, (void *)"04-same-job-twice.yaml");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_bad_variable_is_the_one_complaint, enter_golden),
		cmocka_unit_test_setup(endpoint_variable_alone_is_a_configuration, enter_golden),
		cmocka_unit_test_setup(file_with_an_endpoint_alone_is_a_configuration, enter_golden),
		cmocka_unit_test_setup(file_wins_over_the_environment, enter_golden),
		cmocka_unit_test_setup(an_object_that_is_written_otherwise_may_be_the_same, enter_golden),
		cmocka_unit_test_setup(broken_resource_attributes_are_ignored_with_a_warning, enter_golden),
		cmocka_unit_test_setup(file_that_cannot_be_read_is_named, enter_golden),
		cmocka_unit_test_setup(monitors_are_selected_in_any_spelling, enter_golden),
		cmocka_unit_test_setup(broken_files_are_explained, enter_golden),
		cmocka_unit_test_setup(files_of_the_exporter_have_to_be_there, enter_golden),
		cmocka_unit_test_setup(good_files_are_summed_up, enter_golden),
		cmocka_unit_test_setup(effective_configuration_reads_back_without_secrets, enter_golden),
		cmocka_unit_test_setup(reference_in_docs_is_not_stale, enter_golden),
		cmocka_unit_test_setup(every_key_is_documented, enter_golden),
		cmocka_unit_test_setup(a_log_quotes_no_line_of_the_file, enter_golden),
		cmocka_unit_test_setup(no_memory_is_reported_and_nothing_leaks, enter_golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
