/* dial: what a scraper gets for its question, over a real socketpair. */
#include "internal.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

/* A core with one worker whose scraper is this test. */
struct scene {
	struct core core;
	struct worker worker;
	struct settings settings;
	struct wire *scraper;
	size_t answers;
	struct wire_socket answer; /* the last one */
	char text[512];
	int fd;
};

static void answered(void *arg, const struct wire_message *message)
{
	struct scene *scene = arg;
	if (message->type != WIRE_SOCKET) /* jobs and targets */
		return;
	memcpy(&scene->answer, message->fixed, sizeof(scene->answer));
	memcpy(scene->text, message->tail.ptr, message->tail.len);
	scene->text[message->tail.len] = '\0';
	if (scene->fd >= 0)
		close(scene->fd);
	scene->fd = message->fd;
	scene->answers++;
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

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	scene->fd = -1;
	scene->settings.scrape.max_concurrent = 2;
	scene->worker.core = &scene->core;
	scene->core = (struct core){.clock = clock_system(),
		.log = {.fd = -1},
		.settings = &scene->settings,
		.workers = &scene->worker,
		.worker_count = 1};
	assert_int_equal(loop_new(&scene->core.loop), 0);
	assert_int_equal(targets_init(&scene->core), 0);
	assert_int_equal(wire_new(scene->core.loop, fds[0], true, (struct wire_events){not_expected, closed, scene},
				 &scene->worker.wire),
		0);
	assert_int_equal(wire_new(scene->core.loop, fds[1], false, (struct wire_events){answered, closed, scene},
				 &scene->scraper),
		0);
	*state = scene;
	return 0;
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	dial_cancel_all(&scene->worker);
	assert_int_equal(scene->worker.dial_count, 0);
	wire_free(scene->worker.wire);
	wire_free(scene->scraper);
	targets_done(&scene->core);
	loop_free(scene->core.loop);
	if (scene->fd >= 0)
		close(scene->fd);
	free(scene);
	return 0;
}

static void configure(struct scene *scene, const struct target_job_options *job)
{
	struct discover_settings settings = {.global = &global, .jobs = job, .job_count = 1};
	struct error err = {""};
	if (discover_configure(scene->core.discover, &settings, &err) < 0)
		fail_msg("%s", err.text);
}

static void configure_static(struct scene *scene, uint16_t port)
{
	char address[32];
	const char *addresses[] = {address};
	struct target_static_config config = {.targets = {addresses, 1}};
	struct target_job_options job = {.job_name = "static", .static_configs = {&config, 1}};
	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	configure(scene, &job);
}

/* One pod with one port, and a rule that writes __address__. */
static void configure_pod(struct scene *scene, const char *address)
{
	static const struct kube_port port = {.name = SPAN("http"), .protocol = SPAN("TCP"), .number = 80};
	static const struct kube_container container = {
		.name = SPAN("app"), .running = true, .ports = &port, .port_count = 1};
	static const struct kube_pod pod = {.uid = SPAN("uid"),
		.namespace_ = SPAN("shop"),
		.name = SPAN("web"),
		.pod_ip = SPAN("10.85.0.5"),
		.host_ip = SPAN("192.168.77.2"),
		.phase = SPAN("Running"),
		.containers = &container,
		.container_count = 1,
		.hash = 1};
	struct relabel_rule rule = {
		.target_label = "__address__", .replacement = address, .regex = "(.*)", .action = RELABEL_REPLACE};
	struct target_kubernetes_sd role = {.role = "pod"};
	struct target_job_options job = {
		.job_name = "pods", .kubernetes_sd_configs = {&role, 1}, .relabel_configs = {&rule, 1}};
	struct kube_pods *pods = calloc(1, sizeof(*pods));
	*pods = (struct kube_pods){.refs = 1, .items = &pod, .count = 1};
	configure(scene, &job);
	assert_int_equal(discover_pods(scene->core.discover, pods), 0);
	kube_pods_unref(pods);
}

static uint64_t only_key(const struct scene *scene)
{
	size_t count = 0;
	struct target *const *targets = discover_targets(scene->core.discover, &count);
	assert_int_equal(count, 1);
	return targets[0]->key;
}

static void ask(struct scene *scene, uint64_t key)
{
	size_t before = scene->answers;
	dial_start(&scene->worker, key);
	while (scene->answers == before)
		assert_int_equal(loop_run(scene->core.loop), 0);
	assert_true(scene->answer.key == key);
}

/* A socket bound to a free port of 127.0.0.1, listening or not. */
static int bind_port(bool listening, uint16_t *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	if (listening)
		assert_int_equal(listen(fd, 8), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void the_scraper_gets_a_connected_socket(void **state)
{
	struct scene *scene = *state;
	uint16_t port;
	int listener = bind_port(true, &port);
	configure_static(scene, port);
	ask(scene, only_key(scene));
	assert_int_equal(scene->answer.error, 0);
	assert_true(scene->fd >= 0);
	int peer = accept(listener, NULL, NULL);
	assert_int_equal(write(scene->fd, "x", 1), 1);
	char byte = 0;
	assert_int_equal(read(peer, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(scene->core.totals.dials, 1);
	assert_int_equal(scene->core.totals.dial_failures, 0);
	close(peer);
	close(listener);
}

static void a_refused_connection_is_told_with_its_address(void **state)
{
	struct scene *scene = *state;
	uint16_t port;
	char expected[128];
	int closed_port = bind_port(false, &port);
	configure_static(scene, port);
	ask(scene, only_key(scene));
	assert_int_equal(scene->answer.error, ECONNREFUSED);
	assert_int_equal(scene->fd, -1);
	snprintf(expected, sizeof(expected), "connect to 127.0.0.1 port %u: Connection refused", port);
	assert_string_equal(scene->text, expected);
	assert_int_equal(scene->core.totals.dial_failures, 1);
	close(closed_port);
}

/* After all relabelling, and whatever a rule made of the address. */
static void only_the_pods_own_addresses_are_dialled(void **state)
{
	struct scene *scene = *state;
	static const struct {
		const char *address, *text;
	} elsewhere[] = {
		{"10.85.0.6:80", "10.85.0.6 is not an address of pod shop/web"},
		{"192.168.77.2:10250",
			"192.168.77.2 is not an address of pod shop/web"}, /* not in the host's network */
		{"169.254.169.254:80", "169.254.169.254 is not an address of pod shop/web"},
		{"127.0.0.1:9465", "127.0.0.1 is not an address of pod shop/web"},
		{"localhost:9465", "localhost is not an address of pod shop/web"},
		{"[::1]:9465", "::1 is not an address of pod shop/web"},
		{"[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1 is not an address of pod shop/web"},
		{"example.org:80", "example.org is not an address of pod shop/web"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++) {
		configure_pod(scene, elsewhere[i].address);
		ask(scene, only_key(scene));
		assert_int_equal(scene->answer.error, EACCES);
		assert_string_equal(scene->text, elsewhere[i].text);
		assert_int_equal(scene->fd, -1);
	}
	assert_int_equal(scene->core.totals.dial_refused, ARRAY_SIZE(elsewhere));
}

static void an_unknown_target_gets_an_answer_too(void **state)
{
	struct scene *scene = *state;
	ask(scene, 4711);
	assert_int_equal(scene->answer.error, ESRCH);
	assert_string_equal(scene->text, "the target is gone");
}

/* A scraper that was taken over may not use up the core's descriptors. */
static void questions_beyond_the_scrapes_in_flight_are_refused(void **state)
{
	struct scene *scene = *state;
	uint16_t port;
	int listener = bind_port(true, &port);
	configure_static(scene, port);
	for (size_t i = 0; i < 4; i++) /* twice max_concurrent; answered only when the loop runs */
		dial_start(&scene->worker, only_key(scene));
	assert_int_equal(scene->worker.dial_count, 4);
	assert_int_equal(scene->core.totals.dial_failures, 0);
	dial_start(&scene->worker, only_key(scene));
	assert_int_equal(scene->worker.dial_count, 4);
	assert_int_equal(scene->core.totals.dial_failures, 1);
	close(listener);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(the_scraper_gets_a_connected_socket),
		TEST(a_refused_connection_is_told_with_its_address),
		TEST(only_the_pods_own_addresses_are_dialled),
		TEST(an_unknown_target_gets_an_answer_too),
		TEST(questions_beyond_the_scrapes_in_flight_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
