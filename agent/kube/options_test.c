#include "gleaner/kube.h"

#include "test.h"

#include <errno.h>

static int check(struct kube_options *options, const char **ret_key, struct error *err)
{
	*ret_key = NULL;
	return kube_options_table.check(options, NULL, ret_key, err);
}

static void discovery_is_on_when_the_node_is_known(void **state)
{
	(void)state;
	static const struct {
		struct kube_options options;
		bool enabled;
	} cases[] = {
		{{.endpoint = NULL}, false},
		{{.endpoint = "", .host_ip = "", .node_name = ""}, false}, /* from variables that are not there */
		{{.host_ip = "192.0.2.1"}, true},
		{{.node_name = "node-a"}, true},
		{{.endpoint = "http://127.0.0.1:10255"}, true},
		{{.host_ip = "192.0.2.1", .enabled_given = true}, false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kube_options options = cases[i].options;
		const char *key;
		assert_int_equal(check(&options, &key, NULL), 0);
		assert_int_equal(options.enabled, cases[i].enabled);
	}
}

static void discovery_of_an_unknown_node_is_refused(void **state)
{
	(void)state;
	struct kube_options options = {.enabled = true, .enabled_given = true};
	struct error err = {""};
	const char *key;
	assert_int_equal(check(&options, &key, &err), -EINVAL);
	assert_string_equal(key, "enabled");
	assert_non_null(strstr(err.text, "HOST_IP"));
}

static void endpoint_is_a_scheme_and_a_host(void **state)
{
	(void)state;
	static const char *const good[] = {"https://192.0.2.1:10250", "http://127.0.0.1:10255",
		"https://[fd00::1]:10250", "https://node-a/", "https://node-a:10250"};
	static const char *const bad[] = {" ", "192.0.2.1:10250", "ftp://a", "https://", "https:///", "https://a/pods",
		"https://a?b", "https://u@a", "https://a b", "https://a\n"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct kube_options options = {.endpoint = good[i]};
		const char *key;
		assert_int_equal(check(&options, &key, NULL), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct kube_options options = {.endpoint = bad[i]};
		const char *key;
		assert_int_equal(check(&options, &key, NULL), -EINVAL);
		assert_string_equal(key, "endpoint");
	}
}

static void own_endpoints_are_known_by_name(void **state)
{
	(void)state;
	const char *names[] = {"metrics", "cadvisor", "probes", "resource"};
	struct kube_options options = {.host_ip = "192.0.2.1", .metrics = {names, 4}};
	struct error err = {""};
	const char *key;
	assert_int_equal(check(&options, &key, &err), 0);
	names[1] = "cAdvisor";
	assert_int_equal(check(&options, &key, &err), -EINVAL);
	assert_string_equal(key, "metrics");
	assert_string_equal(err.text, "`cAdvisor` is not one of metrics, cadvisor, probes, resource");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(discovery_is_on_when_the_node_is_known),
		cmocka_unit_test(discovery_of_an_unknown_node_is_refused),
		cmocka_unit_test(endpoint_is_a_scheme_and_a_host),
		cmocka_unit_test(own_endpoints_are_known_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
