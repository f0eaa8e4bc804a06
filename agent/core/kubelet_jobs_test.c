/* Jobs for the kubelet's own endpoints: where they go, with what, and what they are called. */
#include "kubelet_jobs.h"
#include "test.h"

#include <errno.h>

struct made {
	struct arena arena;
	struct target_job_options jobs[KUBELET_JOBS_MAX];
	size_t count;
	struct span host;
};

static const char *const all[] = {"resource", "metrics", "cadvisor", "probes"};
static const struct option_strings all_metrics = {(const char **)all, 4};

static struct kube_options kubelet_options(const char *endpoint, const char *host_ip)
{
	return (struct kube_options){.endpoint = endpoint,
		.host_ip = host_ip,
		.node_name = "node-a",
		.token_file = "/token",
		.tls = {.ca_file = "/ca.crt"},
		.metrics = all_metrics};
}

static int make(const struct kube_options *options, struct made *made, struct error *err)
{
	*made = (struct made){.count = 0};
	arena_init(&made->arena, 1 << 16);
	return kubelet_jobs(options, &made->arena, made->jobs, &made->count, &made->host, err);
}

static const struct target_static_config *config_of(const struct target_job_options *job)
{
	assert_int_equal(job->static_configs.count, 1);
	return job->static_configs.items;
}

static const char *label_of(const struct target_job_options *job, const char *name)
{
	struct option_pairs labels = config_of(job)->labels;
	for (size_t i = 0; i < labels.count; i++)
		if (strcmp(labels.items[i].name, name) == 0)
			return labels.items[i].value;
	return NULL;
}

static void each_endpoint_is_a_job_with_the_labels_of_kube_prometheus(void **state)
{
	(void)state;
	static const char *const names[] = {
		"kubelet/metrics", "kubelet/cadvisor", "kubelet/probes", "kubelet/resource"};
	static const char *const paths[] = {"/metrics", "/metrics/cadvisor", "/metrics/probes", "/metrics/resource"};
	struct kube_options options = kubelet_options(NULL, "192.0.2.7");
	struct made made;
	assert_int_equal(make(&options, &made, NULL), 0);
	assert_int_equal(made.count, 4);
	test_assert_text(made.host, "192.0.2.7");
	for (size_t i = 0; i < 4; i++) {
		const struct target_job_options *job = &made.jobs[i];
		assert_string_equal(job->job_name, names[i]);
		assert_string_equal(job->metrics_path, paths[i]);
		assert_string_equal(job->scheme, "https");
		assert_string_equal(config_of(job)->targets.items[0], "192.0.2.7:10250");
		assert_string_equal(label_of(job, "job"), "kubelet");
		assert_string_equal(label_of(job, "metrics_path"), paths[i]);
		assert_string_equal(label_of(job, "node"), "node-a");
		assert_true(job->honor_labels && job->of_kubelet && job->authorization_given);
		assert_int_equal(job->honor_timestamps, i != 1); /* cAdvisor's are old */
		assert_string_equal(job->authorization.credentials_file, "/token");
		assert_string_equal(job->tls_config.ca_file, "/ca.crt");
		assert_int_equal(job->relabel_configs.count, 0);
	}
	arena_done(&made.arena);
}

static void the_address_is_that_of_the_pods_endpoint(void **state)
{
	(void)state;
	static const struct {
		const char *endpoint, *host_ip, *address;
	} cases[] = {
		{"https://192.0.2.8:10251/", "192.0.2.7", "192.0.2.8:10251"},
		{"https://192.0.2.8", NULL, "192.0.2.8:443"},
		{"https://node-a:10250", "192.0.2.7", "192.0.2.7:10250"}, /* a name is not looked up */
		{"https://[fd00::7]:10250", NULL, "[fd00::7]:10250"},
		{NULL, "fd00::7", "[fd00::7]:10250"},
		{"https://localhost:10250", NULL, "localhost:10250"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kube_options options = kubelet_options(cases[i].endpoint, cases[i].host_ip);
		struct made made;
		assert_int_equal(make(&options, &made, NULL), 0);
		assert_string_equal(config_of(&made.jobs[0])->targets.items[0], cases[i].address);
		arena_done(&made.arena);
	}
	struct kube_options options = kubelet_options("https://node-a:10250", NULL);
	struct made made;
	struct error err = {""};
	assert_int_equal(make(&options, &made, &err), -EINVAL);
	assert_non_null(strstr(err.text, "kubelet.metrics: the kubelet's address has to be known as an IP address"));
	arena_done(&made.arena);
}

static void the_token_goes_to_a_verified_kubelet_only(void **state)
{
	(void)state;
	struct kube_options plain = kubelet_options("http://192.0.2.7:10255", NULL);
	struct kube_options insecure = kubelet_options(NULL, "192.0.2.7");
	struct made made;
	insecure.tls.insecure_skip_verify = true;
	const struct kube_options *cases[] = {&plain, &insecure};
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(make(cases[i], &made, NULL), 0);
		assert_int_equal(made.count, 4);
		assert_false(made.jobs[0].authorization_given);
		assert_null(made.jobs[0].authorization.credentials_file);
		assert_string_equal(made.jobs[0].scheme, i == 0 ? "http" : "https");
		arena_done(&made.arena);
	}
}

static void nothing_is_scraped_unasked(void **state)
{
	(void)state;
	struct kube_options options = kubelet_options(NULL, "192.0.2.7");
	struct made made;
	options.metrics.count = 0;
	assert_int_equal(make(&options, &made, NULL), 0);
	assert_int_equal(made.count, 0);
	test_assert_text(made.host, "192.0.2.7"); /* monitors may be about the kubelet, too */
	options.host_ip = NULL;
	assert_int_equal(make(&options, &made, NULL), 0);
	test_assert_text(made.host, "");
}

static int attempt(void *arg)
{
	struct made made;
	int result = make(arg, &made, NULL);
	arena_done(&made.arena);
	return result;
}

static void running_out_of_memory_fails_cleanly(void **state)
{
	(void)state;
	struct kube_options options = kubelet_options(NULL, "192.0.2.7");
	test_out_of_memory(attempt, &options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_endpoint_is_a_job_with_the_labels_of_kube_prometheus),
		cmocka_unit_test(the_address_is_that_of_the_pods_endpoint),
		cmocka_unit_test(the_token_goes_to_a_verified_kubelet_only),
		cmocka_unit_test(nothing_is_scraped_unasked),
		cmocka_unit_test(running_out_of_memory_fails_cleanly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
