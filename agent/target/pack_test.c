/* Packed jobs and targets: the way there and back, and everything that can be wrong on the way. */
#include "gleaner/target.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>

struct packed {
	struct target_job *job;
	struct buf job_bytes, target_bytes;
};

static int setup(void **state)
{
	static const char *const values[] = {"v", ""}, *const sources[] = {"a", "b"};
	struct option_list params[] = {{"q", {(const char **)values, 2}}, {"empty", {NULL, 0}}};
	struct relabel_rule rules[] = {
		{.source_labels = {(const char **)sources, 2}, .regex = "x(.*)", .target_label = "t"},
		{.regex = "y", .action = RELABEL_LABELDROP}};
	struct target_global_options global = {
		.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	struct target_job_options options = {.job_name = "web",
		.scheme = "https",
		.params = {params, 2},
		.honor_labels = true,
		.honor_timestamps = true,
		.fallback_scrape_protocol = "OpenMetricsText1.0.0",
		.limits = {1, 2, 3, 4, 5, 6},
		.metric_relabel_configs = {rules, 2},
		.basic_auth_given = true,
		.basic_auth = {.username = "user", .password = "pass"},
		.tls_config = {.ca = "CA",
			.cert = "CERT",
			.key = "KEY",
			.server_name = "n",
			.insecure_skip_verify = true,
			.min_version = "TLS11"}};
	struct label items[] = {{SPAN("__address__"), SPAN("[fd00::1]:81")},
		{SPAN("__meta_kubernetes_pod_uid"), SPAN("u")}, {SPAN("a"), SPAN("b")}};
	struct packed *packed = calloc(1, sizeof(*packed));
	struct target *target = NULL;
	assert_non_null(packed);
	assert_int_equal(target_job_new(&options, &global, &packed->job, NULL), 0);
	assert_int_equal(
		target_new(packed->job, TARGET_POD, SPAN("u/c/81"), (struct labels){items, 3}, &target, NULL, NULL), 1);
	buf_init(&packed->job_bytes, 1 << 20);
	buf_init(&packed->target_bytes, 1 << 20);
	assert_int_equal(target_job_pack(packed->job, &packed->job_bytes), 0);
	assert_int_equal(target_pack(target, &packed->target_bytes), 0);
	target_unref(target);
	*state = packed;
	return 0;
}

static int teardown(void **state)
{
	struct packed *packed = *state;
	target_job_unref(packed->job);
	buf_done(&packed->job_bytes);
	buf_done(&packed->target_bytes);
	free(packed);
	return 0;
}

static void a_job_arrives_as_it_was_sent(void **state)
{
	struct packed *packed = *state;
	struct target_job *job = NULL;
	assert_int_equal(target_job_unpack(buf_view(&packed->job_bytes), &job), 0);
	assert_true(job->content == packed->job->content && job->packed == packed->job->packed);
	test_assert_text(job->name, "web");
	test_assert_text(job->scheme, "https");
	test_assert_text(job->metrics_path, "/metrics");
	assert_int_equal(job->interval_ns, 60 * NS_PER_SEC);
	assert_int_equal(job->timeout_ns, 10 * NS_PER_SEC);
	assert_true(job->honor_labels && job->honor_timestamps && job->fallback_openmetrics &&
		    job->tls_insecure_skip_verify);
	assert_false(job->track_timestamps_staleness || job->enable_compression || job->extra_scrape_metrics);
	assert_int_equal(job->limits.label_value_length_limit, 5);
	assert_int_equal(job->params.count, 2);
	assert_string_equal(job->params.items[0].values.items[0], "v");
	assert_int_equal(job->params.items[1].values.count, 0);
	assert_int_equal(job->metric_rule_count, 2);
	assert_string_equal(job->metric_rules[0].source_labels.items[1], "b");
	assert_string_equal(job->metric_rules[0].regex, "x(.*)");
	assert_null(job->metric_rules[1].target_label);
	assert_int_equal(job->metric_rules[1].action, RELABEL_LABELDROP);
	test_assert_text(job->credentials->authorization, "Basic dXNlcjpwYXNz");
	test_assert_text(job->credentials->ca, "CA");
	test_assert_text(job->credentials->cert, "CERT");
	test_assert_text(job->credentials->key, "KEY");
	test_assert_text(job->credentials->server_name, "n");
	assert_int_equal(job->tls_min_version, 11);
	assert_int_equal(job->tls_max_version, 0);
	assert_null(job->relabel);
	target_job_unref(job);
}

static void a_target_arrives_as_it_was_sent(void **state)
{
	struct packed *packed = *state;
	struct target *target = NULL;
	struct buf out;
	assert_int_equal(target_unpack(buf_view(&packed->target_bytes), packed->job, &target), 0);
	assert_ptr_equal(target->job, packed->job);
	assert_int_equal(target->origin, TARGET_POD);
	test_assert_text(target->pod_uid, "u");
	test_assert_text(target->host, "fd00::1");
	assert_int_equal(target->port, 81);
	test_assert_text(target->url, "https://[fd00::1]:81/metrics?q=v&q=");
	test_assert_text(labels_get(target->labels, SPAN("instance")), "[fd00::1]:81");
	test_assert_text(labels_get(target->resource, SPAN("server.port")), "81");
	buf_init(&out, 1 << 20);
	assert_int_equal(target_pack(target, &out), 0);
	assert_true(span_eq(buf_view(&out), buf_view(&packed->target_bytes)));
	buf_done(&out);
	target_unref(target);
}

static void bytes_that_are_missing_or_left_over_are_damage(void **state)
{
	struct packed *packed = *state;
	struct target_job *job = NULL;
	struct target *target = NULL;
	for (size_t len = 0; len < packed->job_bytes.len; len++)
		assert_int_equal(target_job_unpack(span_of(packed->job_bytes.ptr, len), &job), -EBADMSG);
	for (size_t len = 0; len < packed->target_bytes.len; len++)
		assert_int_equal(target_unpack(span_of(packed->target_bytes.ptr, len), packed->job, &target), -EBADMSG);
	buf_char(&packed->job_bytes, 0);
	buf_char(&packed->target_bytes, 0);
	assert_int_equal(target_job_unpack(buf_view(&packed->job_bytes), &job), -EBADMSG);
	assert_int_equal(target_unpack(buf_view(&packed->target_bytes), packed->job, &target), -EBADMSG);
	packed->job_bytes.len--;
	packed->target_bytes.len--;
	assert_int_equal(packed->job->refs, 1); /* no reference was kept */
}

/* Any byte may be anything: then it is refused, or is another valid target, which packs to the same bytes. */
static void a_changed_byte_is_refused_or_means_something(void **state)
{
	struct packed *packed = *state;
	size_t refused = 0;
	for (size_t at = 0; at < packed->target_bytes.len; at++) {
		struct target *target = NULL;
		struct buf out;
		char before = packed->target_bytes.ptr[at];
		packed->target_bytes.ptr[at] = (char)(before ^ 0xff);
		int result = target_unpack(buf_view(&packed->target_bytes), packed->job, &target);
		assert_true(result == 0 || result == -EBADMSG);
		refused += result != 0;
		if (result == 0) {
			buf_init(&out, 1 << 20);
			assert_int_equal(target_pack(target, &out), 0);
			assert_true(span_eq(buf_view(&out), buf_view(&packed->target_bytes)));
			buf_done(&out);
		}
		target_unref(target);
		packed->target_bytes.ptr[at] = before;
	}
	assert_true(refused > packed->target_bytes.len / 4);
}

static void another_version_is_refused(void **state)
{
	struct packed *packed = *state;
	struct target_job *job = NULL;
	struct target *target = NULL;
	packed->job_bytes.ptr[0] = packed->target_bytes.ptr[0] = 1;
	assert_int_equal(target_job_unpack(buf_view(&packed->job_bytes), &job), -EBADMSG);
	assert_int_equal(target_unpack(buf_view(&packed->target_bytes), packed->job, &target), -EBADMSG);
}

static void labels_out_of_order_are_refused(void **state)
{
	struct packed *packed = *state;
	struct target *target = NULL;
	/* The first label is a="b": renamed to z it would stand before instance and job. */
	char *name = memmem(packed->target_bytes.ptr, packed->target_bytes.len, "\1\0\0\0a\0\1\0\0\0b", 11);
	assert_non_null(name);
	name[4] = 'z';
	assert_int_equal(target_unpack(buf_view(&packed->target_bytes), packed->job, &target), -EBADMSG);
}

static int attempt(void *arg)
{
	struct packed *packed = arg;
	struct target_job *job = NULL;
	struct target *target = NULL;
	int result = target_job_unpack(buf_view(&packed->job_bytes), &job);
	if (result == 0)
		result = target_unpack(buf_view(&packed->target_bytes), job, &target);
	target_unref(target);
	target_job_unref(job);
	return result;
}

static void running_out_of_memory_fails_cleanly(void **state)
{
	test_out_of_memory(attempt, *state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_job_arrives_as_it_was_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_target_arrives_as_it_was_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(bytes_that_are_missing_or_left_over_are_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(a_changed_byte_is_refused_or_means_something, setup, teardown),
		cmocka_unit_test_setup_teardown(another_version_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(labels_out_of_order_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(running_out_of_memory_fails_cleanly, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
