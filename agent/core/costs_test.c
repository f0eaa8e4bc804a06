/* Costs: slots, deafness, the count behind the gate. The maps are plain memory; the test is the scrapers, and BPF. */
#include "internal.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 9100, ANOTHER_PORT = 9200 };
#define TIMEOUT_NS (10 * NS_PER_SEC)

struct scene {
	struct core core;
	struct settings settings;
	struct worker workers[2];
	struct test_clock time;
	int fd; /* a socket to dial with */
};

static int map_of(size_t size)
{
	int fd = memfd_create("map", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* What costs_probe_came does with a probe's descriptors. */
static void maps_come(struct scene *scene)
{
	int slots = map_of((size_t)COST_SLOTS * COST_SLOT_BYTES), shared = map_of(sizeof(struct cost_shared));
	costs_maps_came(&scene->core, slots, shared);
	assert_true(costs_are_measured(&scene->core));
	close(slots);
	close(shared);
}

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	scene->time.mono_ns = 1000 * NS_PER_SEC;
	for (unsigned i = 0; i < 2; i++)
		scene->workers[i] = (struct worker){.core = &scene->core, .index = i};
	scene->core = (struct core){.clock = test_clock(&scene->time),
		.log = {.fd = -1},
		.settings = &scene->settings,
		.workers = scene->workers,
		.worker_count = 2};
	assert_int_equal(loop_new(&scene->core.loop), 0);
	assert_int_equal(targets_init(&scene->core), 0);
	assert_int_equal(costs_init(&scene->core), 0);
	scene->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*state = scene;
	return 0;
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	costs_done(&scene->core);
	targets_done(&scene->core);
	loop_free(scene->core.loop);
	close(scene->fd);
	free(scene);
	return 0;
}

static struct cost *cost_of(struct scene *scene)
{
	return &scene->core.costs.cost;
}

static uint32_t take(struct scene *scene, unsigned worker)
{
	return costs_take(&scene->workers[worker], PORT, TIMEOUT_NS);
}

/* A dial that BPF sees, or not. */
static bool dial(struct scene *scene, uint32_t slot, bool seen)
{
	costs_dial(&scene->core, slot, scene->fd);
	if (seen)
		cost_of(scene)->slots[slot].cookie = cost_of(scene)->shared->dial_cookie;
	return costs_dialled(&scene->core, slot, true);
}

static void nothing_is_measured_without_a_probe(void **state)
{
	struct scene *scene = *state;
	assert_false(costs_are_measured(&scene->core));
	assert_int_equal(take(scene, 0), WIRE_NO_SLOT);
	costs_give_back(&scene->workers[0], 0, 0);
	assert_true(scene->core.costs.counters.no_slot == 0);
	assert_false(dial(scene, WIRE_NO_SLOT, false));
	assert_string_equal(scene->core.costs.reason.text, "there is no probe");
}

static void two_scrapers_share_no_page_of_slots(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	for (unsigned i = 0; i < 100; i++) {
		uint32_t slot = take(scene, i % 2);
		assert_int_equal(scene->core.costs.pages[slot / COSTS_PAGE].worker, i % 2 + 1);
	}
	assert_int_equal(costs_slots_used(&scene->core), 100);
}

static void all_slots_are_given_out_once(void **state)
{
	struct scene *scene = *state;
	bool seen[COST_SLOTS] = {false};
	maps_come(scene);
	for (size_t i = 0; i < COST_SLOTS; i++) {
		uint32_t slot = take(scene, 0);
		assert_true(slot < COST_SLOTS && !seen[slot]);
		seen[slot] = true;
	}
	assert_int_equal(take(scene, 0), WIRE_NO_SLOT);
	assert_int_equal(take(scene, 1), WIRE_NO_SLOT);
	assert_true(scene->core.costs.counters.no_slot == 2);
	costs_give_back(&scene->workers[0], 700, scene->core.costs.map);
	assert_int_equal(take(scene, 0), 700);
}

/* The scraper may say anything. */
static void only_an_own_slot_of_the_present_maps_is_given_back(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	uint32_t slot = take(scene, 0), map = scene->core.costs.map;
	costs_give_back(&scene->workers[1], slot, map);
	costs_give_back(&scene->workers[0], slot + 1, map);
	costs_give_back(&scene->workers[0], COST_SLOTS, map);
	costs_give_back(&scene->workers[0], WIRE_NO_SLOT, map);
	costs_give_back(&scene->workers[0], slot, map + 1);
	assert_int_equal(costs_slots_used(&scene->core), 1);
	costs_give_back(&scene->workers[0], slot, map);
	assert_int_equal(costs_slots_used(&scene->core), 0);
}

static void a_scraper_that_dies_leaves_its_slots_and_windows(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	uint32_t mine = take(scene, 0), idle = take(scene, 0), other = take(scene, 1);
	cost_open(cost_of(scene), mine, PORT, 0);
	cost_open(cost_of(scene), other, PORT, 0);
	costs_worker_gone(&scene->workers[0]);
	assert_int_equal(costs_windows_open(&scene->core), 1);
	assert_int_equal(costs_slots_used(&scene->core), 1);
	assert_int_equal(cost_of(scene)->slots[mine].state, COST_FREE);
	assert_int_equal(cost_of(scene)->slots[other].state, COST_ARMED);
	assert_int_equal(take(scene, 1), other + 1);
	assert_int_equal(take(scene, 0), mine);
	assert_int_equal(take(scene, 0), idle);
}

/* Killed between two stores: the count is one too high, and nobody else would ever lower it. */
static void the_count_behind_the_gate_is_set_right(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	cost_open(cost_of(scene), take(scene, 0), PORT, scene->time.mono_ns);
	cost_of(scene)->shared->active += 2;
	costs_sweep(&scene->core);
	assert_int_equal(costs_windows_open(&scene->core), 3); /* it could be a window that opens just now */
	costs_sweep(&scene->core);
	assert_int_equal(costs_windows_open(&scene->core), 1);
	costs_sweep(&scene->core);
	assert_int_equal(costs_windows_open(&scene->core), 1);
}

static void a_window_that_stays_open_is_closed(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	uint32_t slot = take(scene, 0);
	cost_open(cost_of(scene), slot, PORT, scene->time.mono_ns);
	scene->time.mono_ns += TIMEOUT_NS + NS_PER_SEC;
	costs_sweep(&scene->core);
	assert_int_equal(costs_windows_open(&scene->core), 1);
	scene->time.mono_ns++;
	costs_sweep(&scene->core);
	assert_int_equal(costs_windows_open(&scene->core), 0);
	assert_true(scene->core.costs.counters.reaped == 1);
	assert_int_equal(costs_slots_used(&scene->core), 1); /* the connection is still there */
}

static void ports_that_nobody_uses_leave_the_prefilter_after_a_minute(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	uint8_t *ports = cost_of(scene)->shared->ports;
	take(scene, 0);
	ports[PORT] = ports[ANOTHER_PORT] = 1;
	for (unsigned i = 0; i < 59; i++)
		costs_sweep(&scene->core);
	assert_int_equal(ports[ANOTHER_PORT], 1);
	costs_sweep(&scene->core);
	assert_int_equal(ports[ANOTHER_PORT], 0);
	assert_int_equal(ports[PORT], 1);
}

static void three_connects_that_bpf_does_not_see_end_it(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	uint32_t slot = take(scene, 0);
	assert_false(dial(scene, slot, false));
	assert_false(dial(scene, slot, false));
	assert_true(dial(scene, slot, true)); /* not in a row */
	assert_false(dial(scene, slot, false));
	assert_false(dial(scene, slot, false));
	costs_dial(&scene->core, slot, scene->fd);
	assert_false(costs_dialled(&scene->core, slot, false)); /* connect() did not get so far: proves nothing */
	assert_true(costs_are_measured(&scene->core));
	assert_false(dial(scene, slot, false));
	assert_false(costs_are_measured(&scene->core));
	assert_string_equal(scene->core.costs.reason.text, "3 connects in a row were not seen by BPF");
	assert_true(scene->core.costs.counters.deaf == 5);
	assert_int_equal(take(scene, 0), WIRE_NO_SLOT);
	maps_come(scene); /* another probe, another chance */
	assert_int_equal(take(scene, 0), 0);
}

static void slots_of_a_probe_that_went_mean_nothing(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	uint32_t slot = take(scene, 0), map = scene->core.costs.map;
	costs_probe_gone(&scene->core, "gone");
	assert_int_equal(costs_slots_used(&scene->core), 0);
	assert_int_equal(take(scene, 0), WIRE_NO_SLOT);
	costs_give_back(&scene->workers[0], slot, map);
	costs_worker_gone(&scene->workers[0]);
	maps_come(scene);
	assert_int_not_equal(scene->core.costs.map, map);
	take(scene, 0);
	costs_give_back(&scene->workers[0], slot, map);
	assert_int_equal(costs_slots_used(&scene->core), 1);
}

static void costs_are_counted_by_what_came_of_them(void **state)
{
	struct scene *scene = *state;
	maps_come(scene);
	costs_measured(&scene->core, &(struct wire_cost){.key = 1, .measured = 1});
	costs_measured(&scene->core, &(struct wire_cost){.key = 1, .flags = WIRE_COST_MISMATCH});
	costs_measured(&scene->core, &(struct wire_cost){.key = 1});
	costs_probe_gone(&scene->core, "gone");
	costs_measured(&scene->core, &(struct wire_cost){.key = 1}); /* no wonder */
	const struct costs_counters *counters = &scene->core.costs.counters;
	assert_true(counters->measured == 1 && counters->mismatch == 1 && counters->unmatched == 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_measured_without_a_probe),
		TEST(two_scrapers_share_no_page_of_slots),
		TEST(all_slots_are_given_out_once),
		TEST(only_an_own_slot_of_the_present_maps_is_given_back),
		TEST(a_scraper_that_dies_leaves_its_slots_and_windows),
		TEST(the_count_behind_the_gate_is_set_right),
		TEST(a_window_that_stays_open_is_closed),
		TEST(ports_that_nobody_uses_leave_the_prefilter_after_a_minute),
		TEST(three_connects_that_bpf_does_not_see_end_it),
		TEST(slots_of_a_probe_that_went_mean_nothing),
		TEST(costs_are_counted_by_what_came_of_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
