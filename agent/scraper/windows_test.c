/* Windows: the test is the core, at the other end of the wire, and BPF, in the shared memory. */
#include "scraper.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEY = 77, SLOT = 5, ANSWER = 100, TICK = 1000 };

struct scene {
	struct scraper scraper;
	struct wire *core;
	struct loop_timer *impatience;
	struct scraper_target known; /* in scraper.targets */
	struct target target;
	int listener, server, client;
	struct cost bpf;
	size_t costs, slots_closed;
	struct wire_cost cost; /* the last one */
	struct wire_slot slot;
};

static void told(void *arg, const struct wire_message *message)
{
	struct scene *scene = arg;
	if (message->type == WIRE_COST) {
		memcpy(&scene->cost, message->fixed, sizeof(scene->cost));
		scene->costs++;
	} else if (message->type == WIRE_SLOT_CLOSED) {
		memcpy(&scene->slot, message->fixed, sizeof(scene->slot));
		scene->slots_closed++;
	}
	loop_stop(scene->scraper.loop);
}

static void ignore(void *arg, const struct wire_message *message)
{
	(void)arg, (void)message;
}

static void closed(void *arg, const struct error *err)
{
	(void)arg;
	fail_msg("closed: %s", err->text);
}

static void impatient(void *arg)
{
	(void)arg;
	fail_msg("nothing came for 10 s");
}

/* Until that many messages of each kind came. */
static void await(struct scene *scene, size_t costs, size_t slots_closed)
{
	loop_timer_set(scene->impatience, 10 * NS_PER_SEC);
	while (scene->costs < costs || scene->slots_closed < slots_closed)
		assert_int_equal(loop_run(scene->scraper.loop), 0);
	loop_timer_cancel(scene->impatience);
	assert_int_equal(scene->costs, costs);
	assert_int_equal(scene->slots_closed, slots_closed);
}

static int map_of(size_t size)
{
	int fd = memfd_create("map", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void give_maps(struct scene *scene, uint32_t number)
{
	int slots = map_of((size_t)COST_SLOTS * COST_SLOT_BYTES), shared = map_of(sizeof(struct cost_shared));
	cost_unmap(&scene->bpf);
	assert_int_equal(cost_map(slots, shared, &scene->bpf), 0);
	struct wire_cost_map map = {.part = WIRE_COST_SLOTS, .map = number, .processes = 1};
	windows_take_map(&scene->scraper.windows, &map, slots);
	map.part = WIRE_COST_SHARED;
	windows_take_map(&scene->scraper.windows, &map, shared);
}

/* A connection to a server that the test plays, too. */
static void connect_client(struct scene *scene, uint32_t slot)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(scene->target.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	scene->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(scene->client, (struct sockaddr *)&address, sizeof(address)), 0);
	scene->server = accept4(scene->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(scene->server >= 0);
	windows_connected(&scene->scraper.windows, scene->client, slot);
}

static void close_client(struct scene *scene)
{
	windows_closing(&scene->scraper.windows, scene->client);
	close(scene->client);
	close(scene->server);
	scene->client = scene->server = -1;
}

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct scraper *scraper = &scene->scraper;
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(any);
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	scraper->clock = clock_system();
	map_init(&scraper->targets, 10);
	assert_int_equal(loop_new(&scraper->loop), 0);
	assert_int_equal(loop_timer_new(scraper->loop, impatient, scene, &scene->impatience), 0);
	struct wire_events to_core = {told, closed, scene}, to_scraper = {ignore, closed, scene};
	assert_int_equal(wire_new(scraper->loop, fds[0], true, to_core, &scene->core), 0);
	assert_int_equal(wire_new(scraper->loop, fds[1], false, to_scraper, &scraper->wire), 0);
	windows_init(&scraper->windows, scraper);
	scene->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(scene->listener, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(scene->listener, 8), 0);
	assert_int_equal(getsockname(scene->listener, (struct sockaddr *)&any, &len), 0);
	scene->target = (struct target){.port = ntohs(any.sin_port), .pod_uid = SPAN("pod-a")};
	scene->known.entry.key = KEY;
	assert_int_equal(map_put(&scraper->targets, span_u64(&scene->known.entry.key), &scene->known), 0);
	give_maps(scene, 1);
	connect_client(scene, SLOT);
	*state = scene;
	return 0;
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	struct scraper *scraper = &scene->scraper;
	if (scene->client >= 0)
		close_client(scene);
	close(scene->listener);
	windows_done(&scraper->windows);
	cost_unmap(&scene->bpf);
	wire_free(scene->core);
	wire_free(scraper->wire);
	loop_timer_free(scene->impatience);
	loop_free(scraper->loop);
	map_done(&scraper->targets);
	free(scene);
	return 0;
}

/* ---- a request -------------------------------------------------------------------------- */

static struct connection *send_over(struct scene *scene, int fd)
{
	struct sockaddr_in local;
	socklen_t len = sizeof(local);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&local, &len), 0);
	struct http_endpoints ends = {.local_address = "127.0.0.1",
		.remote_address = "127.0.0.1",
		.local_port = ntohs(local.sin_port),
		.remote_port = scene->target.port};
	return windows_send(&scene->scraper.windows, &ends, &scene->target, KEY, TICK, scene->known.server_tgid);
}

/* BPF sees the request and what the server sends. */
static void recognise(struct scene *scene, uint32_t index, uint64_t tx_bytes)
{
	struct cost_slot *slot = &scene->bpf.slots[index];
	assert_int_equal(slot->state, COST_ARMED);
	slot->tgid = (uint32_t)getpid();
	slot->first_recv_ns = 1000;
	slot->first_send_ns = 3000;
	slot->last_send_ns = 9000;
	slot->rx_bytes = 11;
	slot->tx_bytes = tx_bytes;
	slot->thread = (struct cost_sum){.cpu_ns = 500, .cpu_at_send_ns = 400, .switches = 3, .threads = 1};
	slot->causal = (struct cost_sum){.cpu_ns = 70, .cpu_at_send_ns = 60, .switches = 2, .threads = 4};
	slot->other = (struct cost_sum){.cpu_ns = 9, .cpu_at_send_ns = 8};
	slot->state = COST_RUNNING;
}

static void answer(struct scene *scene)
{
	char bytes[ANSWER] = {0};
	assert_int_equal(send(scene->server, bytes, ANSWER, MSG_NOSIGNAL), ANSWER);
	assert_int_equal(recv(scene->client, bytes, ANSWER, MSG_WAITALL), ANSWER);
}

/* One measured scrape, up to its last byte. */
static struct connection *scrape(struct scene *scene)
{
	struct connection *window = send_over(scene, scene->client);
	assert_non_null(window);
	assert_int_equal(scene->bpf.shared->active, 1);
	assert_int_equal(scene->bpf.shared->ports[scene->target.port], 1);
	recognise(scene, SLOT, ANSWER);
	answer(scene);
	return window;
}

static void a_scrape_tells_what_it_cost(void **state)
{
	struct scene *scene = *state;
	windows_sent(scrape(scene), true);
	await(scene, 1, 0);
	struct wire_cost expected = {.key = KEY,
		.tick_ns = TICK,
		.thread_ns = 500,
		.causal_ns = 70,
		.other_ns = 9,
		.thread_at_send_ns = 400,
		.causal_at_send_ns = 60,
		.other_at_send_ns = 8,
		.switches = 5,
		.first_byte_ns = 2000,
		.window_ns = 8000,
		.rx_bytes = 11,
		.tx_bytes = ANSWER,
		.measured = 1,
		.tgid = (uint32_t)getpid(),
		.threads = 5,
		.new_connection = 1};
	assert_memory_equal(&scene->cost, &expected, sizeof(expected));
	assert_int_equal(scene->bpf.shared->active, 0);
	assert_int_equal(scene->known.server_tgid, getpid());
}

static void the_clock_of_the_process_that_answered_last_is_read(void **state)
{
	struct scene *scene = *state;
	windows_sent(scrape(scene), true);
	await(scene, 1, 0);
	assert_true(scene->cost.read_after_ns == 0);
	windows_sent(scrape(scene), true);
	await(scene, 2, 0);
	assert_true(scene->cost.process_before_ns > 0);
	assert_true(scene->cost.process_after_ns >= scene->cost.process_before_ns);
	assert_true(scene->cost.read_after_ns - scene->cost.read_before_ns >= 5 * NS_PER_MS);
	assert_int_equal(scene->cost.new_connection, 0);
}

static void another_process_than_before_has_no_clock(void **state)
{
	struct scene *scene = *state;
	scene->known.server_tgid = (uint32_t)getppid();
	windows_sent(scrape(scene), true);
	await(scene, 1, 0);
	assert_int_equal(scene->cost.measured, 1);
	assert_true(scene->cost.process_before_ns == 0 && scene->cost.read_before_ns == 0);
}

static void a_request_that_bpf_did_not_see_is_told_as_such(void **state)
{
	struct scene *scene = *state;
	struct connection *window = send_over(scene, scene->client);
	answer(scene);
	windows_sent(window, true);
	await(scene, 1, 0);
	assert_int_equal(scene->cost.measured, 0);
	assert_int_equal(scene->cost.flags, 0);
	assert_true(scene->cost.thread_ns == 0);
}

static void other_bytes_than_ours_are_not_believed(void **state)
{
	struct scene *scene = *state;
	struct connection *window = send_over(scene, scene->client);
	recognise(scene, SLOT, ANSWER + 1);
	answer(scene);
	windows_sent(window, true);
	await(scene, 1, 0);
	assert_int_equal(scene->cost.measured, 0);
	assert_int_equal(scene->cost.flags, WIRE_COST_MISMATCH);
	assert_true(scene->cost.thread_ns == 0);
}

static void a_kernel_that_counts_no_bytes_is_believed(void **state)
{
	struct scene *scene = *state;
	struct connection *window = send_over(scene, scene->client);
	recognise(scene, SLOT, 0);
	scene->bpf.slots[SLOT].flags = COST_BYTES_UNKNOWN;
	answer(scene);
	windows_sent(window, true);
	await(scene, 1, 0);
	assert_int_equal(scene->cost.measured, 1);
	assert_int_equal(scene->cost.flags, COST_BYTES_UNKNOWN);
}

/* As with HTTP/1.0: both ends close before the window does. */
static void a_connection_that_closes_gives_its_slot_back_after_its_cost(void **state)
{
	struct scene *scene = *state;
	struct connection *window = scrape(scene);
	shutdown(scene->server, SHUT_WR);
	char end;
	assert_int_equal(recv(scene->client, &end, 1, 0), 0);
	close_client(scene);
	windows_sent(window, true);
	await(scene, 1, 1);
	assert_int_equal(scene->cost.measured, 1);
	assert_int_equal(scene->slot.slot, SLOT);
	assert_int_equal(scene->slot.map, 1);
}

static void an_idle_connection_gives_its_slot_back_at_once(void **state)
{
	struct scene *scene = *state;
	close_client(scene);
	await(scene, 0, 1);
	assert_int_equal(scene->slot.slot, SLOT);
}

static void a_request_that_fails_costs_nothing(void **state)
{
	struct scene *scene = *state;
	struct connection *window = scrape(scene);
	close_client(scene);
	windows_sent(window, false);
	await(scene, 0, 1);
	assert_int_equal(scene->bpf.shared->active, 0);
}

static void the_next_request_ends_a_window_early(void **state)
{
	struct scene *scene = *state;
	windows_sent(scrape(scene), true);
	windows_sent(scrape(scene), true); /* within the 3 ms */
	await(scene, 2, 0);
	assert_int_equal(scene->cost.measured, 1);
	assert_int_equal(scene->bpf.shared->active, 0);
}

static void two_windows_of_one_pod_do_not_overlap(void **state)
{
	struct scene *scene = *state;
	struct connection *first = scrape(scene);
	int client = scene->client, server = scene->server;
	connect_client(scene, SLOT + 1);
	struct connection *second = send_over(scene, scene->client);
	assert_int_equal(scene->bpf.shared->active, 1);
	assert_int_equal(scene->bpf.slots[SLOT + 1].state, COST_FREE);
	answer(scene);
	windows_sent(second, true);
	windows_sent(first, true);
	await(scene, 1, 0);
	assert_int_equal(scene->cost.measured, 1);
	assert_int_equal(scene->cost.flags, COST_SHARED); /* the process worked for both */
	close_client(scene);
	scene->client = client;
	scene->server = server;
	await(scene, 1, 1);
}

/* The first one is not measured; the second one is, with a mark. */
static void a_window_beside_another_request_is_marked(void **state)
{
	struct scene *scene = *state;
	int measured = scene->client, server = scene->server;
	connect_client(scene, WIRE_NO_SLOT);
	struct connection *first = send_over(scene, scene->client);
	int unmeasured = scene->client, its_server = scene->server;
	scene->client = measured;
	scene->server = server;
	windows_sent(scrape(scene), true);
	await(scene, 1, 0);
	assert_int_equal(scene->cost.measured, 1);
	assert_int_equal(scene->cost.flags, COST_SHARED);
	windows_sent(first, true);
	windows_sent(scrape(scene), true);
	await(scene, 2, 0);
	assert_int_equal(scene->cost.flags, 0);
	windows_closing(&scene->scraper.windows, unmeasured);
	close(unmeasured);
	close(its_server);
}

static void windows_of_two_pods_may_overlap(void **state)
{
	struct scene *scene = *state;
	struct connection *first = scrape(scene);
	int client = scene->client, server = scene->server;
	connect_client(scene, SLOT + 1);
	scene->target.pod_uid = SPAN("pod-b");
	struct connection *second = send_over(scene, scene->client);
	assert_int_equal(scene->bpf.shared->active, 2);
	recognise(scene, SLOT + 1, ANSWER);
	answer(scene);
	windows_sent(second, true);
	windows_sent(first, true);
	await(scene, 2, 0);
	assert_int_equal(scene->cost.flags, 0);
	close_client(scene);
	scene->client = client;
	scene->server = server;
	await(scene, 2, 1);
}

static void a_connection_without_a_slot_is_not_measured(void **state)
{
	struct scene *scene = *state;
	close_client(scene);
	await(scene, 0, 1);
	connect_client(scene, WIRE_NO_SLOT);
	struct connection *window = send_over(scene, scene->client);
	assert_int_equal(scene->bpf.shared->active, 0);
	answer(scene);
	windows_sent(window, true);
	close_client(scene);
}

/* So that the next scrape comes over one that is measured. */
static void connections_of_earlier_maps_are_given_up(void **state)
{
	struct scene *scene = *state;
	char byte;
	give_maps(scene, 2);
	assert_int_equal(recv(scene->server, &byte, 1, MSG_DONTWAIT), -1); /* its first request is on the way */
	windows_sent(send_over(scene, scene->client), false);
	assert_int_equal(recv(scene->server, &byte, 1, 0), 0); /* idle: closed at once */
	close_client(scene);
	connect_client(scene, SLOT);
	struct connection *window = scrape(scene);
	give_maps(scene, 3);
	assert_int_equal(recv(scene->server, &byte, 1, MSG_DONTWAIT), -1); /* in flight: not yet */
	windows_sent(window, true);
	assert_int_equal(recv(scene->server, &byte, 1, 0), 0);
	close_client(scene);
	connect_client(scene, SLOT);
	windows_sent(scrape(scene), true);
	await(scene, 1, 0); /* nothing was told of what was before */
	give_maps(scene, 4);
	assert_int_equal(recv(scene->server, &byte, 1, 0), 0); /* idle, and was used */
}

static int connect_and_scrape(void *arg)
{
	struct scene *scene = arg;
	struct windows *windows = &scene->scraper.windows;
	struct connection *window;
	windows_closing(windows, scene->client);
	windows_connected(windows, scene->client, SLOT);
	size_t before = test_allocations();
	window = send_over(scene, scene->client);
	assert_int_equal(test_allocations(), before); /* a window needs no memory */
	if (!window)
		return -ENOMEM;
	windows_sent(window, false);
	return 0;
}

static void out_of_memory_is_survived(void **state)
{
	test_out_of_memory(connect_and_scrape, *state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(a_scrape_tells_what_it_cost),
		TEST(the_clock_of_the_process_that_answered_last_is_read),
		TEST(another_process_than_before_has_no_clock),
		TEST(a_request_that_bpf_did_not_see_is_told_as_such),
		TEST(other_bytes_than_ours_are_not_believed),
		TEST(a_kernel_that_counts_no_bytes_is_believed),
		TEST(a_connection_that_closes_gives_its_slot_back_after_its_cost),
		TEST(an_idle_connection_gives_its_slot_back_at_once),
		TEST(a_request_that_fails_costs_nothing),
		TEST(the_next_request_ends_a_window_early),
		TEST(two_windows_of_one_pod_do_not_overlap),
		TEST(a_window_beside_another_request_is_marked),
		TEST(windows_of_two_pods_may_overlap),
		TEST(a_connection_without_a_slot_is_not_measured),
		TEST(connections_of_earlier_maps_are_given_up),
		TEST(out_of_memory_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
