/* trials: which undeclared ports are asked, how often, and what is made of the answers. The test is the scraper; time is its own. */
#include "internal.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WEB   "aaaaaaaa-1d2e-4a33-9f10-aabbccddeeff"
#define OTHER "bbbbbbbb-1d2e-4a33-9f10-aabbccddeeff"
enum { DECLARED = 80, PORT = 9000, PER_POD = 3 };

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

struct scene {
	struct core core;
	struct worker worker;
	struct settings settings;
	struct test_clock time;
	struct probes probes; /* for the listeners */
	uint64_t socket_id;
	struct wire *scraper;
	size_t trials, ordinary; /* targets that the scraper was told of */
};

static void told(void *arg, const struct wire_message *message)
{
	struct scene *scene = arg;
	const struct wire_target *target = message->fixed;
	if (message->type == WIRE_TARGET) {
		scene->trials += target->trial;
		scene->ordinary += !target->trial;
	}
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

/* Two pods; the first declares port 80. */
static void configure(struct scene *scene)
{
	static const struct kube_port port = {.name = SPAN("http"), .protocol = SPAN("TCP"), .number = DECLARED};
	static const struct kube_container container = {
		.name = SPAN("app"), .running = true, .ports = &port, .port_count = 1};
	static const struct kube_pod pods[] = {
		{.uid = SPAN(WEB),
			.namespace_ = SPAN("shop"),
			.name = SPAN("web"),
			.pod_ip = SPAN("10.85.0.5"),
			.phase = SPAN("Running"),
			.containers = &container,
			.container_count = 1,
			.hash = 1},
		{.uid = SPAN(OTHER),
			.namespace_ = SPAN("shop"),
			.name = SPAN("other"),
			.pod_ip = SPAN("10.85.0.6"),
			.phase = SPAN("Running"),
			.hash = 2},
	};
	struct discover_settings settings = {.global = &global, .listen = &scene->settings.discovery.listen};
	struct error err = {""};
	struct kube_pods *list = calloc(1, sizeof(*list));
	*list = (struct kube_pods){.refs = 1, .items = pods, .count = ARRAY_SIZE(pods)};
	assert_int_equal(discover_configure(scene->core.discover, &settings, &err), 0);
	assert_int_equal(discover_pods(scene->core.discover, list), 0);
	kube_pods_unref(list);
}

static void on_closed(void *arg, const struct listener *listener)
{
	trials_closed(arg, listener);
}

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	scene->time.mono_ns = 1000 * NS_PER_SEC;
	scene->worker.core = &scene->core;
	scene->settings.discovery.listen = (struct discover_listen_options){
		.enabled = true, .job_name = "listen", .metrics_path = "/metrics", .max_ports_per_pod = PER_POD};
	scene->core = (struct core){.clock = test_clock(&scene->time),
		.log = {.fd = -1},
		.settings = &scene->settings,
		.workers = &scene->worker,
		.worker_count = 1,
		.probes = &scene->probes};
	assert_int_equal(loop_new(&scene->core.loop), 0);
	assert_int_equal(targets_init(&scene->core), 0);
	struct listeners_events events = {.closed = on_closed, .arg = &scene->core};
	assert_int_equal(
		listeners_new(scene->core.clock, listeners_default_limits(), events, &scene->probes.listeners), 0);
	struct wire_events to_core = {not_expected, closed, scene}, to_scraper = {told, closed, scene};
	assert_int_equal(wire_new(scene->core.loop, fds[0], true, to_core, &scene->worker.wire), 0);
	assert_int_equal(wire_new(scene->core.loop, fds[1], false, to_scraper, &scene->scraper), 0);
	configure(scene);
	assert_int_equal(trials_start(&scene->core), 0);
	*state = scene;
	return 0;
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	trials_stop(&scene->core);
	listeners_free(scene->probes.listeners);
	targets_done(&scene->core);
	wire_free(scene->worker.wire);
	wire_free(scene->scraper);
	loop_free(scene->core.loop);
	free(scene);
	return 0;
}

/* Lets what is due happen, and what was sent arrive. */
static void settle(struct scene *scene)
{
	for (int i = 0; i < 2; i++) {
		worker_send(&scene->worker, WIRE_STOP, NULL, SPAN_NONE);
		assert_int_equal(loop_run(scene->core.loop), 0);
	}
}

/* What the timer would do then; the loop's timers know real time only. */
static void pass(struct scene *scene, uint64_t ns)
{
	scene->time.mono_ns += ns;
	trials_work(&scene->core);
	settle(scene);
}

static struct listener listener_of(const char *uid, uint16_t port)
{
	struct listener listener = {.family = AF_INET, .port = port};
	snprintf(listener.pod_uid, sizeof(listener.pod_uid), "%s", uid);
	return listener;
}

static void opens(struct scene *scene, const char *uid, uint16_t port)
{
	struct listener listener = listener_of(uid, port);
	trials_opened(&scene->core, &listener, true);
	settle(scene);
}

static void closes(struct scene *scene, const char *uid, uint16_t port)
{
	struct listener listener = listener_of(uid, port);
	trials_closed(&scene->core, &listener);
	settle(scene);
}

/* The port in the eyes of the kernel, too. */
static void listens(struct scene *scene, const char *uid, uint16_t port, const uint8_t address[4])
{
	struct listen_event event = {.head = {.kind = LISTEN_OPEN,
					     .socket_id = ++scene->socket_id,
					     .netns_cookie = 5,
					     .family = AF_INET,
					     .port = port,
					     .version = LISTEN_VERSION}};
	memcpy(event.head.address, address, 4);
	snprintf(event.names.v2_leaf, sizeof(event.names.v2_leaf), "pod%s", uid);
	assert_int_equal(listeners_event(scene->probes.listeners, &event), 0);
	scene->time.mono_ns += NS_PER_MS;
	listeners_run(scene->probes.listeners);
}

static const char *verdict(struct scene *scene, const char *uid, uint16_t port)
{
	struct listener listener = listener_of(uid, port);
	const char *word = trials_verdict(&scene->core, &listener);
	return word ? word : "";
}

static struct core_target *target_of(struct scene *scene, const char *uid, uint16_t port)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&scene->core.targets, &i));) {
		struct core_target *known = slot->value;
		if (known->target->port == port && span_eq(known->target->pod_uid, span_str(uid)))
			return known;
	}
	return NULL;
}

/* A report of the port's scrape; reason "": up. */
static void answers(struct scene *scene, const char *uid, uint16_t port, const char *reason)
{
	struct core_target *known = target_of(scene, uid, port);
	assert_non_null(known);
	struct wire_scraped scraped = {.key = known->target->key, .up = reason[0] == '\0'};
	snprintf(scraped.reason, sizeof(scraped.reason), "%s", reason);
	targets_scraped(&scene->core, &scraped, span_str(reason));
	settle(scene);
}

static void assert_counted(
	const struct scene *scene, uint64_t accepted, uint64_t refused, uint64_t failed, uint64_t over_limit)
{
	const struct trials_counters *counted = &scene->core.trials_counted;
	assert_int_equal(counted->accepted, accepted);
	assert_int_equal(counted->refused, refused);
	assert_int_equal(counted->failed, failed);
	assert_int_equal(counted->over_limit, over_limit);
}

/* ---- one port ------------------------------------------------------------------------------------- */

static void a_port_with_metrics_becomes_an_ordinary_target(void **state)
{
	struct scene *scene = *state;
	opens(scene, WEB, PORT);
	assert_string_equal(verdict(scene, WEB, PORT), "asked");
	assert_int_equal(scene->trials, 1);
	assert_true(trials_is_trial(&scene->core, target_of(scene, WEB, PORT)->target));
	answers(scene, WEB, PORT, "");
	assert_string_equal(verdict(scene, WEB, PORT), "scraped");
	struct core_target *known = target_of(scene, WEB, PORT);
	assert_non_null(known);
	assert_false(trials_is_trial(&scene->core, known->target));
	assert_int_equal(scene->trials + scene->ordinary, 1); /* the scraper knows by itself */
	answers(scene, WEB, PORT, "timeout");                 /* it may fail now, like any other */
	assert_string_equal(verdict(scene, WEB, PORT), "scraped");
	assert_non_null(target_of(scene, WEB, PORT));
	assert_counted(scene, 1, 0, 0, 0);
}

static void a_port_without_metrics_is_left_alone_until_it_opens_again(void **state)
{
	struct scene *scene = *state;
	opens(scene, WEB, PORT);
	answers(scene, WEB, PORT, "no_exposition");
	assert_string_equal(verdict(scene, WEB, PORT), "no metrics");
	assert_null(target_of(scene, WEB, PORT));
	pass(scene, 3600 * NS_PER_SEC);
	assert_null(target_of(scene, WEB, PORT));
	opens(scene, WEB, PORT); /* within the grace: it was never closed */
	assert_string_equal(verdict(scene, WEB, PORT), "asked");
	answers(scene, WEB, PORT, "no_exposition");
	closes(scene, WEB, PORT);
	assert_string_equal(verdict(scene, WEB, PORT), "");
	opens(scene, WEB, PORT);
	assert_string_equal(verdict(scene, WEB, PORT), "asked");
	assert_int_equal(scene->trials, 3);
	assert_counted(scene, 0, 2, 0, 0);
}

static void a_port_that_does_not_answer_is_asked_three_times(void **state)
{
	struct scene *scene = *state;
	opens(scene, WEB, PORT);
	for (size_t attempt = 1; attempt < 3; attempt++) {
		answers(scene, WEB, PORT, attempt == 1 ? "connect" : "timeout");
		assert_string_equal(verdict(scene, WEB, PORT), "waiting");
		assert_null(target_of(scene, WEB, PORT));
		pass(scene, 9 * NS_PER_SEC);
		assert_null(target_of(scene, WEB, PORT));
		pass(scene, 2 * NS_PER_SEC);
		assert_int_equal(scene->trials, attempt + 1);
	}
	answers(scene, WEB, PORT, "timeout");
	assert_string_equal(verdict(scene, WEB, PORT), "no metrics");
	pass(scene, 60 * NS_PER_SEC);
	assert_int_equal(scene->trials, 3);
	assert_counted(scene, 0, 0, 3, 0);
}

static void a_target_goes_with_its_port(void **state)
{
	struct scene *scene = *state;
	opens(scene, WEB, PORT);
	answers(scene, WEB, PORT, "");
	closes(scene, WEB, PORT);
	assert_null(target_of(scene, WEB, PORT));
}

static void a_port_that_is_still_open_at_another_address_was_not_closed(void **state)
{
	struct scene *scene = *state;
	listens(scene, WEB, PORT, (const uint8_t[]){10, 85, 0, 5});
	opens(scene, WEB, PORT);
	answers(scene, WEB, PORT, "");
	closes(scene, WEB, PORT);
	assert_string_equal(verdict(scene, WEB, PORT), "scraped");
	assert_non_null(target_of(scene, WEB, PORT));
}

/* A probe that is started again finds all ports open. */
static void what_a_snapshot_finds_again_is_not_asked_again(void **state)
{
	struct scene *scene = *state;
	struct listener found = listener_of(WEB, PORT);
	trials_opened(&scene->core, &found, false);
	settle(scene);
	answers(scene, WEB, PORT, "no_exposition");
	trials_opened(&scene->core, &found, false);
	settle(scene);
	assert_string_equal(verdict(scene, WEB, PORT), "no metrics");
	snprintf(found.container_id, sizeof(found.container_id), "%064d", 7); /* that container was not asked */
	trials_opened(&scene->core, &found, false);
	settle(scene);
	assert_string_equal(verdict(scene, WEB, PORT), "asked");
}

/* ---- which ports ------------------------------------------------------------------------------------ */

static void ports_that_may_not_be_asked_are_not(void **state)
{
	struct scene *scene = *state;
	opens(scene, WEB, DECLARED);
	opens(scene, "", PORT);
	opens(scene, "cccccccc-1d2e-4a33-9f10-aabbccddeeff", PORT); /* a pod that nobody told of */
	struct listener inside = listener_of(WEB, PORT);
	inside.address[0] = 127;
	trials_opened(&scene->core, &inside, true);
	inside = (struct listener){.family = AF_INET6, .port = PORT, .pod_uid = WEB, .address = {[15] = 1}};
	trials_opened(&scene->core, &inside, true);
	settle(scene);
	assert_int_equal(scene->core.targets.count, 0);
	assert_string_equal(verdict(scene, WEB, PORT), "");
}

static void four_are_asked_at_a_time(void **state)
{
	struct scene *scene = *state;
	for (uint16_t i = 0; i < PER_POD; i++) {
		opens(scene, WEB, (uint16_t)(PORT + i));
		opens(scene, OTHER, (uint16_t)(PORT + i));
	}
	assert_int_equal(scene->core.targets.count, 4);
	assert_string_equal(verdict(scene, WEB, PORT + 2), "waiting");
	answers(scene, OTHER, PORT, "no_exposition");
	assert_string_equal(verdict(scene, WEB, PORT + 2), "asked");
	assert_int_equal(scene->core.targets.count, 4);
}

static void a_pod_with_many_ports_is_not_in_the_way_of_others(void **state)
{
	struct scene *scene = *state;
	for (uint16_t i = 0; i < 20; i++) {
		listens(scene, WEB, (uint16_t)(PORT + i), (const uint8_t[]){0, 0, 0, 0});
		opens(scene, WEB, (uint16_t)(PORT + i));
	}
	opens(scene, OTHER, PORT);
	assert_int_equal(scene->core.targets.count, PER_POD + 1);
	assert_string_equal(verdict(scene, OTHER, PORT), "asked");
	assert_string_equal(verdict(scene, WEB, PORT + PER_POD), "");
	assert_true(scene->core.trials_counted.over_limit >= 20 - PER_POD);
	/* One that closes makes room for one. */
	struct listener known = listener_of(WEB, PORT);
	listeners_refused(
		scene->probes.listeners, &(struct listener){.netns_cookie = 5, .family = AF_INET, .port = PORT});
	scene->time.mono_ns += 6 * NS_PER_SEC;
	listeners_run(scene->probes.listeners);
	settle(scene);
	assert_null(trials_verdict(&scene->core, &known));
	assert_int_equal(scene->core.targets.count, PER_POD + 1);
}

/* Its scraper died of it, say, or there was no memory for its target. */
static void a_trial_that_does_not_end_makes_room(void **state)
{
	struct scene *scene = *state;
	opens(scene, WEB, PORT);
	for (int attempt = 0; attempt < 3; attempt++) {
		assert_string_equal(verdict(scene, WEB, PORT), "asked");
		pass(scene, 21 * NS_PER_SEC);
		assert_null(target_of(scene, WEB, PORT));
		pass(scene, 11 * NS_PER_SEC);
	}
	assert_string_equal(verdict(scene, WEB, PORT), "no metrics");
	assert_counted(scene, 0, 0, 3, 0);
}

static void a_pod_that_is_not_selected_any_more_loses_its_targets(void **state)
{
	struct scene *scene = *state;
	opens(scene, WEB, PORT);
	answers(scene, WEB, PORT, "");
	scene->settings.discovery.listen.namespaces = (struct option_strings){(const char *[]){"elsewhere"}, 1};
	configure(scene);
	trials_review(&scene->core);
	settle(scene);
	assert_string_equal(verdict(scene, WEB, PORT), "");
	assert_null(target_of(scene, WEB, PORT));
}

static void without_the_option_nothing_is_asked(void **state)
{
	struct scene *scene = *state;
	trials_stop(&scene->core);
	scene->settings.discovery.listen.enabled = false;
	assert_int_equal(trials_start(&scene->core), 0);
	opens(scene, WEB, PORT);
	closes(scene, WEB, PORT);
	trials_review(&scene->core);
	assert_int_equal(scene->core.targets.count, 0);
	assert_string_equal(verdict(scene, WEB, PORT), "");
}

/* ---- memory ------------------------------------------------------------------------------------------- */

static int port_without_memory(void *arg)
{
	struct scene *scene = arg;
	struct listener listener = listener_of(WEB, PORT);
	trials_stop(&scene->core);
	int result = trials_start(&scene->core);
	if (result < 0)
		return result;
	trials_opened(&scene->core, &listener, true);
	return trials_verdict(&scene->core, &listener) ? 0 : -ENOMEM;
}

static void out_of_memory_leaves_a_port_alone(void **state)
{
	struct scene *scene = *state;
	test_out_of_memory(port_without_memory, scene);
	settle(scene);
	assert_string_equal(verdict(scene, WEB, PORT), "asked");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(a_port_with_metrics_becomes_an_ordinary_target),
		TEST(a_port_without_metrics_is_left_alone_until_it_opens_again),
		TEST(a_port_that_does_not_answer_is_asked_three_times),
		TEST(a_target_goes_with_its_port),
		TEST(a_port_that_is_still_open_at_another_address_was_not_closed),
		TEST(what_a_snapshot_finds_again_is_not_asked_again),
		TEST(ports_that_may_not_be_asked_are_not),
		TEST(four_are_asked_at_a_time),
		TEST(a_pod_with_many_ports_is_not_in_the_way_of_others),
		TEST(a_trial_that_does_not_end_makes_room),
		TEST(a_pod_that_is_not_selected_any_more_loses_its_targets),
		TEST(without_the_option_nothing_is_asked),
		TEST(out_of_memory_leaves_a_port_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
