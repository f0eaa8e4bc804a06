/* The pods: object, and which sources it makes possible. */
#include "gleaner/kube_api.h"

#include "server.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>

struct case_of {
	bool kubelet_enabled, sources_given;
	const char *sources[KUBE_SOURCES_MAX];
	bool socket, api, node_name, wanted;
};

static struct kube_pods_options pods_of(const struct case_of *from)
{
	struct kube_pods_options pods = {
		.sources.items = (const char **)from->sources,
		.sources_given = from->sources_given,
		.pods_api_socket = from->socket ? "/s" : NULL,
	};
	while (pods.sources.count < KUBE_SOURCES_MAX && from->sources[pods.sources.count])
		pods.sources.count++;
	return pods;
}

static void sources_are_wanted_where_a_kubelet_is_known_or_they_are_named(void **state)
{
	(void)state;
	static const struct case_of cases[] = {
		{true, false, {"pods-api", "kubelet", "api-server"}, true, true, true, true},
		{false, false, {"pods-api", "kubelet", "api-server"}, true, true, true, false},
		{true, true, {NULL}, true, true, true, false},
		{false, true, {"pods-api"}, true, false, false, true},
		{true, true, {"pods-api"}, false, false, false, false},
		{false, true, {"kubelet"}, true, true, true, false},
		{true, false, {"kubelet"}, false, false, false, true},
		{false, true, {"api-server"}, false, true, true, true},
		{false, true, {"api-server"}, false, true, false, false},
		{false, true, {"api-server"}, false, false, true, false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kube_pods_options pods = pods_of(&cases[i]);
		struct kube_options kubelet = {
			.enabled = cases[i].kubelet_enabled, .node_name = cases[i].node_name ? "node-a" : NULL};
		struct kube_source_settings settings = {
			&pods, &kubelet, cases[i].api ? (struct kube_api *)&pods : NULL /* not looked into */};
		if (kube_source_wanted(&settings) != cases[i].wanted)
			fail_msg("case %zu", i);
	}
}

static void check_options(const char *const *names, size_t count, const char *socket, const char *key, const char *text)
{
	struct kube_pods_options pods = {
		.sources = {(const char **)names, count}, .sources_given = count > 0, .pods_api_socket = socket};
	struct arena arena;
	struct error err = {""};
	const char *at = "";
	arena_init(&arena, 1000);
	int r = kube_pods_options_table.check(&pods, &arena, &at, &err);
	assert_int_equal(r, key ? -EINVAL : 0);
	if (key) {
		assert_string_equal(at, key);
		assert_string_equal(err.text, text);
	} else if (count == 0) {
		assert_int_equal(pods.sources.count, 3);
		assert_string_equal(pods.sources.items[0], "pods-api");
		assert_string_equal(pods.sources.items[2], "api-server");
	}
	arena_done(&arena);
}

static void options_are_checked(void **state)
{
	(void)state;
	static const char *const wrong[] = {"kubelet", "kubelets"}, *const twice[] = {"kubelet", "pods-api", "kubelet"},
				 *const fine[] = {"api-server", "kubelet"};
	check_options(NULL, 0, "/s", NULL, NULL);
	check_options(fine, 2, "/s", NULL, NULL);
	check_options(wrong, 2, "/s", "sources", "expected pods-api, kubelet or api-server, not \"kubelets\"");
	check_options(twice, 3, "/s", "sources", "kubelet stands there twice");
	check_options(NULL, 0, "s", "pods_api_socket", "expected the path of a socket, from /");
}

struct run {
	struct loop *loop;
	char source[32];
	bool alarming;
	size_t pods;
};

static void on_pods(void *arg, struct kube_pods *pods)
{
	struct run *run = arg;
	run->pods = pods->count;
	loop_stop(run->loop);
}

static void on_chosen(void *arg, const char *source, const char *why, bool alarming)
{
	struct run *run = arg;
	assert_non_null(strstr(why, "pods-api: connect /nowhere/pods-api.sock: No such file or directory"));
	strcpy(run->source, source);
	run->alarming = alarming;
}

static void kubelet_is_polled_where_there_is_no_socket(void **state)
{
	(void)state;
	static const struct test_reply reply[] = {{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: "
							    "80\r\n\r\n{\"kind\":\"PodList\",\"items\":[{\"metadata\":{"
							    "\"uid\":\"1\",\"namespace\":\"n\",\"name\":\"p\"}}]}"}};
	struct run run = {.alarming = true};
	struct test_server *server = test_server_start(reply, 1, NULL, NULL);
	struct http *http;
	struct kube_source *source;
	const char *names[] = {"pods-api", "kubelet", "api-server"};
	struct kube_pods_options pods = {.sources = {names, 3}, .pods_api_socket = "/nowhere/pods-api.sock"};
	struct kube_options kubelet = {.enabled = true,
		.endpoint = test_server_url(server, "/"),
		.token_file = "/nowhere/token",
		.tls.ca_file = "/nowhere/ca.crt",
		.poll_interval_ns = 10 * NS_PER_SEC,
		.timeout_ns = 5 * NS_PER_SEC,
		.max_body_bytes = 1 << 20};
	struct kube_source_settings settings = {&pods, &kubelet, NULL};
	struct kube_source_events events = {.pods = on_pods, .chosen = on_chosen, .arg = &run};
	struct kube_source_stats stats;
	assert_int_equal(loop_new(&run.loop), 0);
	assert_int_equal(http_new(run.loop, (struct http_options){.max_connections = 2, .dials = true}, &http), 0);
	assert_int_equal(kube_source_new(run.loop, http, &settings, clock_system(), events, &source, NULL), 0);
	assert_int_equal(loop_run(run.loop), 0);
	assert_int_equal(run.pods, 1);
	assert_string_equal(run.source, "kubelet");
	assert_false(run.alarming);
	kube_source_stats(source, &stats);
	assert_int_equal(stats.count, 2); /* no API server is known */
	kube_source_free(source);
	http_free(http);
	loop_free(run.loop);
	test_server_stop(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sources_are_wanted_where_a_kubelet_is_known_or_they_are_named),
		cmocka_unit_test(options_are_checked),
		cmocka_unit_test(kubelet_is_polled_where_there_is_no_socket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
