/* probes: which ports that open make a scrape, and what becomes of probes that hang up, may do nothing or do not come. The kernel's
 * side is in tests/integration/probe_test.py. */
#include "internal.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

#define UID "aaaaaaaa-1d2e-4a33-9f10-aabbccddeeff"

/* A core with a pod's port 80, and a static target at port 9100. Its scraper and its loader are this test. */
struct scene {
	struct core core;
	struct worker worker;
	struct settings settings;
	struct test_clock time;
	struct wire *scraper;
	size_t asked; /* for a scrape at once */
	char folder[64], path[80];
	int listener, loader; /* -1 */
};

static void told(void *arg, const struct wire_message *message)
{
	struct scene *scene = arg;
	scene->asked += message->type == WIRE_SCRAPE_NOW;
	if (message->type == WIRE_STOP)
		loop_stop(scene->core.loop);
}

static void closed(void *arg, const struct error *err)
{
	(void)arg;
	fail_msg("closed: %s", err->text);
}

static void not_expected(void *arg, const struct wire_message *message)
{
	(void)arg;
	fail_msg("message %d", (int)message->type);
}

static void discover(struct scene *scene)
{
	static const struct kube_port port = {.name = SPAN("http"), .protocol = SPAN("TCP"), .number = 80};
	static const struct kube_container container = {
		.name = SPAN("app"), .running = true, .ports = &port, .port_count = 1};
	static const struct kube_pod pod = {.uid = SPAN(UID),
		.namespace_ = SPAN("shop"),
		.name = SPAN("web"),
		.pod_ip = SPAN("10.85.0.5"),
		.phase = SPAN("Running"),
		.containers = &container,
		.container_count = 1,
		.hash = 1};
	const char *addresses[] = {"127.0.0.1:9100"};
	struct target_static_config fixed = {.targets = {addresses, 1}};
	struct target_kubernetes_sd role = {.role = "pod"};
	struct target_job_options jobs[] = {{.job_name = "pods", .kubernetes_sd_configs = {&role, 1}},
		{.job_name = "static", .static_configs = {&fixed, 1}}};
	struct discover_settings settings = {.global = &global, .jobs = jobs, .job_count = 2};
	struct error err = {""};
	struct kube_pods *pods = calloc(1, sizeof(*pods));
	*pods = (struct kube_pods){.refs = 1, .items = &pod, .count = 1};
	assert_int_equal(discover_configure(scene->core.discover, &settings, &err), 0);
	assert_int_equal(discover_pods(scene->core.discover, pods), 0);
	probes_pods(&scene->core, pods);
	kube_pods_unref(pods);
	assert_int_equal(scene->core.targets.count, 2);
}

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	scene->listener = scene->loader = -1;
	scene->time.mono_ns = 1000 * NS_PER_SEC;
	snprintf(scene->folder, sizeof(scene->folder), "/tmp/gleaner-probes-XXXXXX");
	assert_non_null(mkdtemp(scene->folder));
	snprintf(scene->path, sizeof(scene->path), "%s/socket", scene->folder);
	scene->worker.core = &scene->core;
	scene->core = (struct core){.clock = test_clock(&scene->time),
		.log = {.fd = -1},
		.settings = &scene->settings,
		.workers = &scene->worker,
		.worker_count = 1};
	assert_int_equal(loop_new(&scene->core.loop), 0);
	assert_int_equal(targets_init(&scene->core), 0);
	struct wire_events to_core = {not_expected, closed, scene}, to_scraper = {told, closed, scene};
	assert_int_equal(wire_new(scene->core.loop, fds[0], true, to_core, &scene->worker.wire), 0);
	assert_int_equal(wire_new(scene->core.loop, fds[1], false, to_scraper, &scene->scraper), 0);
	*state = scene;
	return 0;
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	probes_stop(&scene->core);
	targets_done(&scene->core);
	wire_free(scene->worker.wire);
	wire_free(scene->scraper);
	loop_free(scene->core.loop);
	if (scene->loader >= 0)
		close(scene->loader);
	if (scene->listener >= 0)
		close(scene->listener);
	unlink(scene->path);
	rmdir(scene->folder);
	free(scene);
	return 0;
}

/* Waits for what the core has sent so far. */
static size_t asked(struct scene *scene)
{
	worker_send(&scene->worker, WIRE_STOP, NULL, SPAN_NONE);
	assert_int_equal(loop_run(scene->core.loop), 0);
	size_t count = scene->asked;
	scene->asked = 0;
	return count;
}

/* ---- ports -------------------------------------------------------------------------------- */

static void start_off(struct scene *scene)
{
	scene->settings.probe.enabled = SETTINGS_PROBE_OFF;
	assert_int_equal(probes_start(&scene->core), 0);
	assert_int_equal(scene->core.probes->state, PROBES_OFF);
	discover(scene);
}

static struct listener port_of(const char *uid, uint16_t port, uint32_t netns)
{
	struct listener listener = {.netns = netns, .family = AF_INET, .port = port};
	snprintf(listener.pod_uid, sizeof(listener.pod_uid), "%s", uid);
	return listener;
}

static void a_port_that_opens_asks_for_its_targets_scrape(void **state)
{
	struct scene *scene = *state;
	start_off(scene);
	struct probes *probes = scene->core.probes;
	struct listener pods = port_of(UID, 80, 5), hosts = port_of("", 9100, probes->own_netns);
	const struct listener others[] = {port_of(UID, 81, 5), port_of("other", 80, 5), port_of("", 80, 5),
		port_of("", 9100, probes->own_netns + 1)};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		probes_port_opened(probes, &others[i]);
	assert_int_equal(asked(scene), 0);
	probes_port_opened(probes, &pods);
	probes_port_opened(probes, &hosts);
	assert_int_equal(asked(scene), 2);
	assert_int_equal(probes_counters(probes).scrapes, 2);
}

static void a_target_is_asked_for_once_a_second_at_most(void **state)
{
	struct scene *scene = *state;
	start_off(scene);
	struct listener port = port_of(UID, 80, 5);
	for (size_t i = 0; i < 10; i++) {
		probes_port_opened(scene->core.probes, &port);
		scene->time.mono_ns += 150 * NS_PER_MS;
	}
	assert_int_equal(asked(scene), 2);
}

/* Else the start of gleaner would be a scrape of the whole node at once. */
static void a_port_of_a_snapshot_is_asked_for_only_when_its_target_is_down(void **state)
{
	struct scene *scene = *state;
	start_off(scene);
	struct listener port = port_of(UID, 80, 5);
	struct core_target *known = NULL;
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&scene->core.targets, &i));) {
		struct core_target *target = slot->value;
		known = target->target->port == 80 ? target : known;
	}
	scene->core.probes->snapshot_due_to_run = true;
	probes_port_opened(scene->core.probes, &port);
	known->last = (struct wire_scraped){.key = known->target->key, .up = 1};
	probes_port_opened(scene->core.probes, &port);
	assert_int_equal(asked(scene), 0);
	known->last.up = 0;
	probes_port_opened(scene->core.probes, &port);
	assert_int_equal(asked(scene), 1);
}

/* ---- with listeners, as they are while a probe runs ------------------------------------------ */

static void open_port(struct scene *scene, uint64_t socket_id, uint16_t port)
{
	struct listen_event event = {.head = {.kind = LISTEN_OPEN,
					     .socket_id = socket_id,
					     .netns_cookie = 5,
					     .netns = 5,
					     .family = AF_INET,
					     .port = port,
					     .version = LISTEN_VERSION,
					     .comm = "<web>\x1b"}};
	snprintf(event.names.v2_leaf, sizeof(event.names.v2_leaf), "pod%s", UID);
	assert_int_equal(listeners_event(scene->core.probes->listeners, &event), 0);
	scene->time.mono_ns += NS_PER_MS;
	listeners_run(scene->core.probes->listeners);
}

static void start_listeners(struct scene *scene)
{
	scene->settings.probe.enabled = SETTINGS_PROBE_OFF;
	assert_int_equal(probes_start(&scene->core), 0);
	struct listeners_events events = {.opened = probes_port_opened, .arg = scene->core.probes};
	assert_int_equal(
		listeners_new(scene->core.clock, listeners_default_limits(), events, &scene->core.probes->listeners),
		0);
	assert_true(listeners_want_snapshot(scene->core.probes->listeners)); /* there is nobody to ask */
}

static void stop_listeners(struct scene *scene)
{
	listeners_free(scene->core.probes->listeners);
	scene->core.probes->listeners = NULL;
}

static void a_target_that_comes_after_its_port_is_asked_for_at_once(void **state)
{
	struct scene *scene = *state;
	start_listeners(scene);
	open_port(scene, 1, 80);
	discover(scene);
	assert_int_equal(asked(scene), 1);
	stop_listeners(scene);
}

static void a_target_whose_port_was_open_before_the_probe_waits_for_its_tick(void **state)
{
	struct scene *scene = *state;
	start_listeners(scene);
	open_port(scene, 1, 80);
	scene->time.mono_ns += NS_PER_SEC;
	scene->core.probes->seen_from_ns = scene->time.mono_ns;
	discover(scene);
	assert_int_equal(asked(scene), 0);
	stop_listeners(scene);
}

static void two_refused_dials_close_a_port(void **state)
{
	struct scene *scene = *state;
	start_listeners(scene);
	discover(scene);
	open_port(scene, 1, 80);
	open_port(scene, 2, 9999);
	assert_int_equal(probes_port_count(scene->core.probes), 2);
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&scene->core.targets, &i));) {
		uint64_t key = ((struct core_target *)slot->value)->target->key;
		probes_dialled(&scene->core, key, true);
		probes_dialled(&scene->core, key, false); /* not in a row */
		probes_dialled(&scene->core, key, true);
		scene->time.mono_ns += 6 * NS_PER_SEC;
		listeners_run(scene->core.probes->listeners);
		assert_int_equal(probes_port_count(scene->core.probes), 2);
	}
	for (size_t i = 0; (slot = map_next(&scene->core.targets, &i));)
		probes_dialled(&scene->core, ((struct core_target *)slot->value)->target->key, true);
	probes_dialled(&scene->core, 4711, true); /* went meanwhile */
	scene->time.mono_ns += 6 * NS_PER_SEC;
	listeners_run(scene->core.probes->listeners);
	assert_int_equal(probes_port_count(scene->core.probes), 1);
	stop_listeners(scene);
}

static void a_pods_text_on_the_pages_is_escaped(void **state)
{
	struct scene *scene = *state;
	struct buf out;
	start_listeners(scene);
	discover(scene);
	open_port(scene, 1, 80);
	scene->time.mono_ns += 2 * NS_PER_SEC;
	buf_init(&out, 1 << 16);
	ports_json(&scene->core, &out);
	test_assert_text(buf_view(&out),
		",\"probe\":{\"state\":\"off\",\"reason\":\"probe.enabled is "
		"false\",\"programs\":[],\"cost\":{\"measured\":false,\"reason\":\"\"}},"
		"\"listeningPorts\":[{\"port\":80,\"openSeconds\":2.001,\"scraped\":true,\"address\":\"0.0.0.0\","
		"\"podUid\":\"" UID "\",\"namespace\":\"shop\",\"pod\":\"web\",\"containerId\":\"\","
		"\"process\":\"<web>\\u001b\"}]");
	buf_reset(&out);
	ports_html(&scene->core, &out);
	buf_char(&out, '\0');
	assert_non_null(strstr(out.ptr, "<p>Probe: off; probe.enabled is false.</p>"));
	assert_non_null(strstr(out.ptr, "<td>shop/web</td><td class=\"n\">80</td><td>0.0.0.0</td>"));
	assert_non_null(strstr(out.ptr, "&lt;web&gt;\xef\xbf\xbd"));
	assert_null(strchr(out.ptr, '\x1b'));
	buf_done(&out);
	stop_listeners(scene);
}

/* ---- the probe itself --------------------------------------------------------------------------- */

static void listen_at_path(struct scene *scene)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, scene->path);
	scene->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(scene->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(scene->listener, 64), 0);
}

static void start_with_socket(struct scene *scene)
{
	scene->settings.probe.socket = scene->path;
	assert_int_equal(probes_start(&scene->core), 0);
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

static void run_until(struct scene *scene, enum probes_state state)
{
	struct loop_timer *timer;
	assert_int_equal(loop_timer_new(scene->core.loop, stop_loop, scene->core.loop, &timer), 0);
	for (size_t i = 0; scene->core.probes->state != state; i++) {
		assert_true(i < 5000);
		loop_timer_set(timer, NS_PER_MS);
		assert_int_equal(loop_run(scene->core.loop), 0);
	}
	loop_timer_free(timer);
}

static void accept_core(struct scene *scene)
{
	scene->loader = accept(scene->listener, NULL, NULL);
	assert_true(scene->loader >= 0);
}

static void a_probe_that_may_do_nothing_says_why_and_is_left_alone(void **state)
{
	struct scene *scene = *state;
	struct probe_hello hello = {.version = PROBE_VERSION,
		.program_count = 2,
		.programs = {{.name = "snap_file", .state = PROBE_OFF},
			{.name = "on_listen", .state = PROBE_DENIED, .error = EPERM, .reason = "CAP_BPF is missing"}}};
	listen_at_path(scene);
	start_with_socket(scene);
	assert_int_equal(scene->core.probes->state, PROBES_STARTING);
	accept_core(scene);
	assert_int_equal(send(scene->loader, &hello, sizeof(hello), 0), sizeof(hello));
	run_until(scene, PROBES_UNABLE);
	assert_string_equal(scene->core.probes->reason.text,
		"listening ports are not seen: on_listen is denied: CAP_BPF is missing");
	char byte;
	assert_int_equal(recv(scene->loader, &byte, 1, 0), 0); /* hung up */
	struct buf out;
	buf_init(&out, 1 << 16);
	ports_html(&scene->core, &out);
	buf_char(&out, '\0');
	assert_non_null(strstr(out.ptr, "on_listen denied CAP_BPF is missing"));
	assert_null(strstr(out.ptr, "snap_file")); /* off, as it should be */
	buf_done(&out);
}

static void a_probe_that_hangs_up_or_talks_nonsense_is_called_again(void **state)
{
	struct scene *scene = *state;
	listen_at_path(scene);
	start_with_socket(scene);
	accept_core(scene);
	close(scene->loader);
	run_until(scene, PROBES_WAITING);
	assert_non_null(strstr(scene->core.probes->reason.text, "hung up before it said anything"));
	run_until(scene, PROBES_STARTING);
	accept_core(scene);
	assert_int_equal(send(scene->loader, "nonsense", 8, 0), 8);
	run_until(scene, PROBES_WAITING);
	assert_non_null(strstr(scene->core.probes->reason.text, "not a hello of version 1"));
	assert_int_equal(probes_counters(scene->core.probes).starts, 2);
	assert_int_equal(scene->core.probes->failures, 2);
}

static void a_probe_that_is_not_there_is_waited_for(void **state)
{
	struct scene *scene = *state;
	start_with_socket(scene);
	assert_int_equal(scene->core.probes->state, PROBES_WAITING);
	assert_non_null(strstr(scene->core.probes->reason.text, scene->path));
	assert_non_null(strstr(scene->core.probes->reason.text, "No such file or directory"));
	listen_at_path(scene);
	run_until(scene, PROBES_STARTING);
}

static int start_and_stop(void *arg)
{
	struct scene *scene = arg;
	int result = probes_start(&scene->core);
	if (result == 0 && scene->core.probes->state != PROBES_STARTING)
		result = -ENOMEM; /* it is tried again */
	probes_stop(&scene->core);
	return result;
}

static void running_out_of_memory_is_no_end(void **state)
{
	struct scene *scene = *state;
	listen_at_path(scene);
	scene->settings.probe.socket = scene->path;
	test_out_of_memory(start_and_stop, scene);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(a_port_that_opens_asks_for_its_targets_scrape),
		TEST(a_target_is_asked_for_once_a_second_at_most),
		TEST(a_port_of_a_snapshot_is_asked_for_only_when_its_target_is_down),
		TEST(a_target_that_comes_after_its_port_is_asked_for_at_once),
		TEST(a_target_whose_port_was_open_before_the_probe_waits_for_its_tick),
		TEST(two_refused_dials_close_a_port),
		TEST(a_pods_text_on_the_pages_is_escaped),
		TEST(a_probe_that_may_do_nothing_says_why_and_is_left_alone),
		TEST(a_probe_that_hangs_up_or_talks_nonsense_is_called_again),
		TEST(a_probe_that_is_not_there_is_waited_for),
		TEST(running_out_of_memory_is_no_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
