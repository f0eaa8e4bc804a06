/* Which addresses may be dialled, whatever relabelling made of a target. */
#include "scene_for_test.h"

/* A target whose address is whatever relabelling made of it. */
static int dial(struct scene *scene, struct kube_pod pod, const char *address, struct target_address *ret_address,
	struct error *err)
{
	static const char *uid[] = {"__meta_kubernetes_pod_uid"};
	struct relabel_rule rules[] = {
		{.separator = ";", .regex = "(.*)", .target_label = "__address__", .replacement = address},
		{.source_labels = {uid, 1},
			.separator = ";",
			.regex = "(.*)",
			.target_label = "uid",
			.replacement = "$1"},
	};
	struct target_job_options jobs[] = {pod_job("pods")};
	jobs[0].relabel_configs = (struct option_objects){rules, 2};
	struct kube_pod pods[] = {pod, small_pod("other", "10.85.0.77")};
	must_configure(scene, jobs, 1);
	assert_int_equal(tell_pods(scene, pods, 2), 0);
	for (size_t i = 0; i < target_count(scene); i++) {
		if (span_eq(target_at(scene, i)->pod_uid, pod.uid))
			return discover_dial_address(scene->discover, target_at(scene, i), ret_address, err);
	}
	fail_msg("%s made no target", address);
	return 0;
}

static void only_addresses_of_the_pod_itself_are_dialled(void **state)
{
	static const struct {
		const char *address;
		bool pod, host_network; /* whether an ordinary pod, one of the host's network may be dialled there */
	} rows[] = {
		{"10.85.0.5:8080", true, true},
		{"10.85.0.5:1", true, true}, /* any port */
		{"10.85.0.5", true, true},
		{"[fd00::5]:8080", true, true},
		{"[fd00:0:0::0005]:8080", true, true},
		{"[::ffff:10.85.0.5]:8080", true, true},
		{"10.85.0.77:9000", false, false},   /* another pod's */
		{"192.168.77.2:10250", false, true}, /* the node's */
		{"[::ffff:192.168.77.2]:1", false, true},
		{"192.168.77.3:1", false, false},
		{"127.0.0.1:8080", false, false},
		{"127.1.2.3:8080", false, false},
		{"localhost:8080", false, false},
		{"[::1]:8080", false, false},
		{"[::ffff:127.0.0.1]:8080", false, false},
		{"[::]:8080", false, false},
		{"0.0.0.0:8080", false, false},
		{"169.254.169.254:80", false, false},
		{"[::ffff:169.254.169.254]:80", false, false},
		{"[fe80::1]:80", false, false},
		{"224.0.0.1:80", false, false},
		{"255.255.255.255:80", false, false},
		{"[ff02::1]:80", false, false},
		{"8.8.8.8:53", false, false},
		{"evil.example.com:80", false, false},
		{"010.85.0.5:80", false, false}, /* octal to some */
		{"10.85.5:80", false, false},
		{"0x0a550005:80", false, false},
	};
	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		bool host_network = i % 2;
		struct kube_pod pod = web_pod();
		pod.host_network = host_network;
		struct target_address address;
		struct error err = {{0}};
		int expected = (host_network ? rows[i / 2].host_network : rows[i / 2].pod) ? 0 : -EACCES;
		int result = dial(*state, pod, rows[i / 2].address, &address, &err);
		if (result != expected)
			fail_msg("%s (host_network %d): %d %s", rows[i / 2].address, host_network, result, err.text);
		assert_int_equal(err.text[0] != '\0', expected != 0);
	}
}

static void record_that_claims_a_special_address_opens_no_door(void **state)
{
	static const char *const claims[] = {"127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0",
		"::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:127.0.0.1"};
	for (size_t i = 0; i < ARRAY_SIZE(claims); i++) {
		struct span ips[] = {span_str(claims[i])};
		struct kube_pod pod = web_pod();
		pod.pod_ip = ips[0];
		pod.pod_ips = ips;
		pod.pod_ip_count = 1;
		pod.host_network = i % 2;
		struct target_address address;
		struct error err;
		char dialled[64];
		snprintf(dialled, sizeof(dialled), strchr(claims[i], ':') ? "[%s]:80" : "%s:80", claims[i]);
		assert_int_equal(dial(*state, pod, dialled, &address, &err), -EACCES);
	}
}

static void dialled_address_carries_the_port(void **state)
{
	struct target_address address;
	struct error err;
	assert_int_equal(dial(*state, web_pod(), "10.85.0.5:8080", &address, &err), 0);
	assert_int_equal(address.port, 8080);
	assert_false(address.is_ipv6);
	assert_memory_equal(address.bytes, "\x0a\x55\x00\x05", 4);
	assert_int_equal(dial(*state, web_pod(), "10.85.0.6:8080", &address, &err), -EACCES);
	assert_string_equal(err.text, "10.85.0.6 is not an address of pod shop/web-1");
}

static void ended_pod_stays_a_target_but_is_not_dialled(void **state)
{
	struct target_address address;
	struct error err;
	struct kube_pod pod = web_pod();
	pod.phase = SPAN("Succeeded");
	assert_int_equal(dial(*state, pod, "10.85.0.5:8080", &address, &err), -EACCES);
	assert_string_equal(err.text, "pod shop/web-1 has ended (Succeeded)");
}

static void pod_that_left_is_not_dialled(void **state)
{
	struct scene *scene = *state;
	struct target_job_options jobs[] = {metrics_job("pods")};
	struct kube_pod pod = small_pod("a", "10.85.0.2");
	struct target_address address;
	struct error err;
	must_configure(scene, jobs, 1);
	tell_pods(scene, &pod, 1);
	struct target *target = target_ref(target_at(scene, 0));
	assert_int_equal(discover_dial_address(scene->discover, target, &address, &err), 0);
	pod.pod_ip = SPAN("10.85.0.9"); /* restarted in a new sandbox: the old address is no longer its own */
	pod.hash = 2;
	tell_pods(scene, &pod, 1);
	assert_int_equal(discover_dial_address(scene->discover, target, &address, &err), -EACCES);
	tell_pods(scene, NULL, 0);
	assert_int_equal(discover_dial_address(scene->discover, target, &address, &err), -EACCES);
	assert_string_equal(err.text, "the pod is gone");
	target_unref(target);
}

static void static_targets_are_dialled_on_this_host_only(void **state)
{
	struct scene *scene = *state;
	static const char *addresses[] = {"localhost:9465"};
	struct target_static_config configs[] = {{.targets = {addresses, 1}}};
	struct target_job_options jobs[] = {static_job("self", configs, 1)};
	struct target_address address;
	struct error err;
	must_configure(scene, jobs, 1);
	assert_int_equal(discover_dial_address(scene->discover, target_at(scene, 0), &address, &err), 0);
	assert_memory_equal(address.bytes, "\x7f\x00\x00\x01", 4);
	assert_int_equal(address.port, 9465);
}

/* Its token goes to the node's kubelet or nowhere, although the node's address is no address of the pod that we run in. */
static void kubelet_is_dialled_at_its_own_address_only(void **state)
{
	struct scene *scene = *state;
	static const char *addresses[] = {"192.0.2.7:10250"};
	struct target_static_config configs[] = {{.position = {"f", 3, 1}, .targets = {addresses, 1}}};
	struct target_job_options job = static_job("kubelet/metrics", configs, 1);
	struct discover_settings settings = {
		.global = &global, .jobs = &job, .job_count = 1, .kubelet_host = SPAN("192.0.2.7")};
	struct target_address address;
	struct error err = {""};
	assert_int_equal(discover_configure(scene->discover, &settings, &err), -EINVAL);
	assert_non_null(strstr(err.text, "192.0.2.7 is not an address of this host"));
	job.of_kubelet = true;
	assert_int_equal(discover_configure(scene->discover, &settings, &err), 0);
	struct target *target = target_at(scene, 0);
	assert_int_equal(target->origin, TARGET_KUBELET);
	assert_int_equal(discover_dial_address(scene->discover, target, &address, &err), 0);
	assert_memory_equal(address.bytes, "\xc0\x00\x02\x07", 4);
	assert_int_equal(address.port, 10250);
	target_ref(target);
	settings.kubelet_host = SPAN("192.0.2.8");
	assert_int_equal(discover_configure(scene->discover, &settings, &err), -EINVAL);
	assert_string_equal(err.text, "f:3:1: static_configs: 192.0.2.7 is not the address of the node's kubelet");
	addresses[0] = "192.0.2.8:10250";
	assert_int_equal(discover_configure(scene->discover, &settings, &err), 0);
	assert_int_equal(discover_dial_address(scene->discover, target, &address, &err), -EACCES);
	target_unref(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_addresses_of_the_pod_itself_are_dialled),
		TEST(record_that_claims_a_special_address_opens_no_door),
		TEST(dialled_address_carries_the_port),
		TEST(ended_pod_stays_a_target_but_is_not_dialled),
		TEST(pod_that_left_is_not_dialled),
		TEST(static_targets_are_dialled_on_this_host_only),
		TEST(kubelet_is_dialled_at_its_own_address_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
