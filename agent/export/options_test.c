/* What the OpenTelemetry variables do to the options, and what the tables refuse. */
#include "gleaner/export.h"

#include "test.h"

#include <errno.h>
#include <stdio.h>

/* Variables of the present test; getenv has no argument to hand them through. */
struct pair {
	const char *name, *value;
};
static const struct pair *present;

static const char *get(const char *name)
{
	for (const struct pair *pair = present; pair->name; pair++)
		if (strcmp(pair->name, name) == 0)
			return pair->value;
	return NULL;
}

struct fixture {
	struct arena arena;
	struct export_options options;
	struct error err;
	int result;
};

static void apply(struct fixture *f, const struct pair *variables)
{
	present = variables;
	f->err.text[0] = '\0';
	f->result = export_options_from_environment(&f->options, &f->arena, get, &f->err);
}

static struct fixture fixture_new(void)
{
	struct fixture f = {.options.otlphttp = {.compression = CODEC_GZIP, .timeout_ns = 10 * NS_PER_SEC}};
	arena_init(&f.arena, 1 << 16);
	return f;
}

#define APPLY(f, ...) apply((f), (const struct pair[]){__VA_ARGS__, {NULL, NULL}})

static void general_variables_fill_what_is_unset(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	APPLY(&f, {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://gw:4318/otlp"}, {"OTEL_EXPORTER_OTLP_COMPRESSION", "none"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "2500"}, {"OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"},
		{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem"}, {"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"});
	const struct export_otlphttp_options *otlp = &f.options.otlphttp;
	assert_int_equal(f.result, 0);
	assert_string_equal(otlp->endpoint, "http://gw:4318/otlp");
	assert_null(otlp->metrics_endpoint);
	assert_true(f.options.otlphttp_given);
	assert_int_equal(otlp->compression, CODEC_NONE);
	assert_int_equal(otlp->timeout_ns, 2500 * NS_PER_MS);
	assert_string_equal(otlp->tls.ca_file, "/ca.pem");
	assert_string_equal(otlp->tls.cert_file, "/cert.pem");
	assert_string_equal(otlp->tls.key_file, "/key.pem");
	arena_done(&f.arena);
}

static void variables_of_the_signal_win(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	APPLY(&f, {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://gw:4318"},
		{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:1/write"}, {"OTEL_EXPORTER_OTLP_HEADERS", "a=b"},
		{"OTEL_EXPORTER_OTLP_METRICS_HEADERS", "c=d"}, {"OTEL_EXPORTER_OTLP_TIMEOUT", "1"},
		{"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2"});
	const struct export_otlphttp_options *otlp = &f.options.otlphttp;
	assert_int_equal(f.result, 0);
	assert_null(otlp->endpoint);
	assert_string_equal(otlp->metrics_endpoint, "http://m:1/write");
	assert_int_equal(otlp->headers.count, 1);
	assert_string_equal(otlp->headers.items[0].name, "c");
	assert_int_equal(otlp->timeout_ns, 2 * NS_PER_MS);
	arena_done(&f.arena);
}

static void configuration_wins_over_the_environment(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	struct option_pair header = {.name = "x", .value = "y"};
	f.options.otlphttp.endpoint = "http://mine:1";
	f.options.otlphttp.headers = (struct option_pairs){.items = &header, .count = 1};
	f.options.otlphttp.compression_given = f.options.otlphttp.timeout_given = true;
	APPLY(&f, {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://gw:4318"},
		{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:1/write"}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=b"}, {"OTEL_EXPORTER_OTLP_COMPRESSION", "none"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "1"});
	assert_int_equal(f.result, 0);
	assert_string_equal(f.options.otlphttp.endpoint, "http://mine:1");
	assert_null(f.options.otlphttp.metrics_endpoint);
	assert_ptr_equal(f.options.otlphttp.headers.items, &header);
	assert_int_equal(f.options.otlphttp.compression, CODEC_GZIP);
	assert_int_equal(f.options.otlphttp.timeout_ns, 10 * NS_PER_SEC);
	arena_done(&f.arena);
}

static void empty_variable_is_unset(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	APPLY(&f, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", ""}, {"OTEL_EXPORTER_OTLP_ENDPOINT", ""},
		{"OTEL_EXPORTER_OTLP_HEADERS", ""}, {"OTEL_EXPORTER_OTLP_TIMEOUT", ""},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", ""});
	assert_int_equal(f.result, 0);
	assert_null(f.options.otlphttp.endpoint);
	assert_null(f.options.otlphttp.metrics_endpoint);
	assert_int_equal(f.options.otlphttp.headers.count, 0);
	arena_done(&f.arena);
}

static void headers_are_a_percent_encoded_list(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	APPLY(&f, {"OTEL_EXPORTER_OTLP_HEADERS", " Authorization = Basic%20YWI%3d ,, api-key=a=b,empty= ,"});
	const struct option_pairs *headers = &f.options.otlphttp.headers;
	assert_int_equal(f.result, 0);
	assert_int_equal(headers->count, 3);
	assert_string_equal(headers->items[0].name, "Authorization");
	assert_string_equal(headers->items[0].value, "Basic YWI=");
	assert_string_equal(headers->items[1].name, "api-key");
	assert_string_equal(headers->items[1].value, "a=b");
	assert_string_equal(headers->items[2].value, "");
	arena_done(&f.arena);
}

static void bad_variable_is_named_and_secrets_are_not_shown(void **state)
{
	(void)state;
	static const struct {
		struct pair variable;
		const char *text;
	} cases[] = {
		{{"OTEL_EXPORTER_OTLP_ENDPOINT", "gw:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT: bad URL: "},
		{{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:secret@gw"}, "OTEL_EXPORTER_OTLP_ENDPOINT: bad URL: user"},
		{{"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s"},
			"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: \"10s\" is no number of milliseconds"},
		{{"OTEL_EXPORTER_OTLP_TIMEOUT", "0"}, "OTEL_EXPORTER_OTLP_TIMEOUT: \"0\" is no number of milliseconds"},
		{{"OTEL_EXPORTER_OTLP_COMPRESSION", "snappy"},
			"OTEL_EXPORTER_OTLP_COMPRESSION: \"snappy\" is none of "},
		{{"OTEL_EXPORTER_OTLP_HEADERS", "a=b,secret"}, "OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not name=value"},
		{{"OTEL_EXPORTER_OTLP_HEADERS", "a=secret%zz"}, "OTEL_EXPORTER_OTLP_HEADERS: entry 1 is not"},
		{{"OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0ab"}, "OTEL_EXPORTER_OTLP_HEADERS: entry 1 is not"},
		{{"OTEL_EXPORTER_OTLP_HEADERS", "a=secret%00b"}, "OTEL_EXPORTER_OTLP_HEADERS: entry 1 is not"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f = fixture_new();
		APPLY(&f, cases[i].variable);
		assert_int_equal(f.result, -EINVAL);
		if (!span_starts_with(span_str(f.err.text), span_str(cases[i].text)))
			fail_msg("\"%s\" does not begin with \"%s\"", f.err.text, cases[i].text);
		assert_null(strstr(f.err.text, "secret"));
		arena_done(&f.arena);
	}
	struct fixture f = fixture_new();
	APPLY(&f, {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://gw:4317"}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"});
	assert_int_equal(f.result, -EINVAL);
	assert_string_equal(f.err.text, "OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is supported");
	arena_done(&f.arena);
}

static const struct option *find(const struct option_table *table, const char *name)
{
	for (const struct option *option = table->options; option->name; option++)
		if (strcmp(option->name, name) == 0)
			return option;
	fail_msg("no option %s", name);
	return NULL;
}

static void tables_blame_the_right_key(void **state)
{
	(void)state;
	const struct option_table *otlphttp = find(&export_options_table, "otlphttp")->fields;
	const struct option_table *retry = find(otlphttp, "retry_on_failure")->fields;
	struct export_otlphttp_options otlp = {.endpoint = "http://gw:4318"};
	struct option_pair header = {.name = "Authorization", .value = "sec\nret"};
	struct export_retry_options waits = {.initial_ns = 2, .max_ns = 1};
	struct arena arena;
	struct error err;
	const char *key = NULL;
	arena_init(&arena, 4096);
	assert_int_equal(otlphttp->check(&otlp, &arena, &key, &err), 0);
	otlp.headers = (struct option_pairs){.items = &header, .count = 1};
	assert_int_equal(otlphttp->check(&otlp, &arena, &key, &err), -EINVAL);
	assert_string_equal(key, "headers");
	assert_string_equal(err.text, "bad header Authorization: control byte in its value");
	otlp.metrics_endpoint = "unix:/x";
	assert_int_equal(otlphttp->check(&otlp, &arena, &key, &err), -EINVAL);
	assert_string_equal(key, "metrics_endpoint");
	otlp.endpoint = "gw";
	assert_int_equal(otlphttp->check(&otlp, &arena, &key, &err), -EINVAL);
	assert_string_equal(key, "endpoint");
	assert_int_equal(retry->check(&waits, &arena, &key, &err), -EINVAL);
	assert_string_equal(key, "initial_interval");
	assert_true(find(otlphttp, "headers")->secret);
	arena_done(&arena);
}

static int attempt(void *arg)
{
	(void)arg;
	struct fixture f = fixture_new();
	APPLY(&f, {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://gw:4318"}, {"OTEL_EXPORTER_OTLP_HEADERS", "a=b,c=d"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"});
	arena_done(&f.arena);
	return f.result;
}

static void out_of_memory_is_survived(void **state)
{
	(void)state;
	test_out_of_memory(attempt, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(general_variables_fill_what_is_unset),
		cmocka_unit_test(variables_of_the_signal_win),
		cmocka_unit_test(configuration_wins_over_the_environment),
		cmocka_unit_test(empty_variable_is_unset),
		cmocka_unit_test(headers_are_a_percent_encoded_list),
		cmocka_unit_test(bad_variable_is_named_and_secrets_are_not_shown),
		cmocka_unit_test(tables_blame_the_right_key),
		cmocka_unit_test(out_of_memory_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
