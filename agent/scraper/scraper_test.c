/* The scraper process as the core meets it: a child at the other end of a socketpair. The test plays the core. */
#include "gleaner/scraper.h"

#include "gleaner/codec.h"
#include "gleaner/probe.h"
#include "gleaner/target.h"
#include "gleaner/wire.h"
#include "server.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE "# TYPE requests_total counter\nrequests_total 5\n"
static const struct test_reply good_page = {
	.bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 47\r\n\r\n" PAGE,
	.then = TEST_KEEP,
};

enum { SEEN_MAX = 64 };

struct scene {
	struct loop *loop;
	struct loop_timer *impatience;
	struct wire *wire;
	pid_t pid;
	struct target_job *job;
	struct target *target;
	struct test_server *server;

	enum wire_type awaited;
	size_t counts[WIRE_TYPE_COUNT];
	enum wire_type order[SEEN_MAX]; /* without heartbeats */
	size_t seen;
	bool closed;
	struct wire_scraped scraped;
	char error[512];
	struct wire_record record;
	struct wire_cost cost;
	struct wire_slot slot;
	struct cost maps;
};

static void received(void *arg, const struct wire_message *message)
{
	struct scene *scene = arg;
	scene->counts[message->type]++;
	if (message->type != WIRE_HEARTBEAT && scene->seen < SEEN_MAX)
		scene->order[scene->seen++] = message->type;
	if (message->type == WIRE_RECORD)
		memcpy(&scene->record, message->fixed, sizeof(scene->record));
	if (message->type == WIRE_SCRAPED) {
		memcpy(&scene->scraped, message->fixed, sizeof(scene->scraped));
		snprintf(scene->error, sizeof(scene->error), "%.*s", SPAN_ARGS(message->tail));
	}
	if (message->type == WIRE_COST)
		memcpy(&scene->cost, message->fixed, sizeof(scene->cost));
	if (message->type == WIRE_SLOT_CLOSED)
		memcpy(&scene->slot, message->fixed, sizeof(scene->slot));
	if (message->type == scene->awaited)
		loop_stop(scene->loop);
}

static void closed(void *arg, const struct error *err)
{
	struct scene *scene = arg;
	assert_string_equal(err->text, "");
	scene->closed = true;
	loop_stop(scene->loop);
}

static void impatient(void *arg)
{
	(void)arg;
	fail_msg("nothing came for 10 s");
}

/* Runs until so many messages of this type have come. */
static void await_count(struct scene *scene, enum wire_type type, size_t count)
{
	scene->awaited = type;
	loop_timer_set(scene->impatience, 10 * NS_PER_SEC);
	while (scene->counts[type] < count) {
		assert_false(scene->closed);
		assert_int_equal(loop_run(scene->loop), 0);
	}
}

/* Runs until the next message of this type. What came together with the last one that was awaited has been missed. */
static void await(struct scene *scene, enum wire_type type)
{
	await_count(scene, type, scene->counts[type] + 1);
}

static void tell(struct scene *scene, enum wire_type type, const void *fixed, struct span tail)
{
	assert_int_equal(wire_send(scene->wire, type, fixed, tail, -1), 0);
}

static int scene_new(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	scene->pid = fork();
	if (scene->pid == 0) {
		close(fds[0]);
		_exit(scraper_run(fds[1]));
	}
	close(fds[1]);
	/* After the fork: a child must not inherit a lock that the server's thread holds just then. */
	scene->server = test_server_start(&good_page, 1, NULL, NULL);
	assert_int_equal(loop_new(&scene->loop), 0);
	assert_int_equal(loop_timer_new(scene->loop, impatient, scene, &scene->impatience), 0);
	struct wire_events events = {received, closed, scene};
	assert_int_equal(wire_new(scene->loop, fds[0], true, events, &scene->wire), 0);
	*state = scene;
	return 0;
}

static int exit_status(struct scene *scene)
{
	int status;
	assert_int_equal(waitpid(scene->pid, &status, 0), scene->pid);
	scene->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int scene_free(void **state)
{
	struct scene *scene = *state;
	wire_free(scene->wire); /* the core goes away: so does the scraper */
	if (scene->pid)
		assert_int_equal(exit_status(scene), 0);
	loop_timer_free(scene->impatience);
	loop_free(scene->loop);
	target_unref(scene->target);
	target_job_unref(scene->job);
	test_server_stop(scene->server);
	cost_unmap(&scene->maps);
	free(scene);
	return 0;
}

static void send_settings(struct scene *scene)
{
	struct wire_settings settings = {.max_body_bytes = 1 << 20,
		.max_samples = 1000,
		.max_labels = 32,
		.max_line_bytes = 4096,
		.max_concurrent = 2,
		.series_memory_bytes = 1 << 20,
		.batch_points = 100,
		.batch_bytes = 1 << 20,
		.batch_timeout_ns = NS_PER_MS,
		.codec = CODEC_NONE};
	tell(scene, WIRE_SETTINGS, &settings, SPAN_NONE);
}

/* fixed: what is special about it. */
static void send_special_target(
	struct scene *scene, uint64_t interval_ns, uint64_t timeout_ns, struct wire_target fixed)
{
	struct target_global_options global = {.scrape_interval_ns = interval_ns, .scrape_timeout_ns = timeout_ns};
	struct target_job_options options = {.job_name = "web"};
	struct label address = {SPAN("__address__"), SPAN_NONE};
	struct error err = {""};
	struct buf packed;
	address.value = span_str(test_server_url(scene->server, "") + strlen("http://"));
	assert_int_equal(target_job_new(&options, &global, &scene->job, &err), 0);
	if (target_new(scene->job, TARGET_STATIC, SPAN("one"), (struct labels){&address, 1}, &scene->target, NULL,
		    &err) != 1)
		fail_msg("%s", err.text);
	buf_init(&packed, 1 << 20);
	target_job_pack(scene->job, &packed);
	tell(scene, WIRE_JOB, &(struct wire_job){scene->job->content}, buf_view(&packed));
	buf_reset(&packed);
	target_pack(scene->target, &packed);
	fixed.key = scene->target->key;
	fixed.job_id = scene->job->content;
	tell(scene, WIRE_TARGET, &fixed, buf_view(&packed));
	buf_done(&packed);
}

static void send_target_every(struct scene *scene, uint64_t interval_ns, uint64_t timeout_ns)
{
	send_special_target(scene, interval_ns, timeout_ns, (struct wire_target){0});
}

/* A target that is due every 200 ms. */
static void send_target(struct scene *scene, uint64_t timeout_ns)
{
	send_target_every(scene, 200 * NS_PER_MS, timeout_ns);
}

static void send_socket_with(struct scene *scene, uint32_t slot)
{
	struct wire_socket socket = {.key = scene->target->key, .slot = slot};
	assert_int_equal(
		wire_send(scene->wire, WIRE_SOCKET, &socket, SPAN_NONE, test_server_connect(scene->server)), 0);
}

static void send_socket(struct scene *scene)
{
	send_socket_with(scene, WIRE_NO_SLOT);
}

static int map_of(size_t size)
{
	int fd = memfd_create("map", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void send_maps(struct scene *scene)
{
	int slots = map_of((size_t)COST_SLOTS * COST_SLOT_BYTES), shared = map_of(sizeof(struct cost_shared));
	struct wire_cost_map map = {.part = WIRE_COST_SLOTS, .map = 1};
	assert_int_equal(cost_map(slots, shared, &scene->maps), 0);
	assert_int_equal(wire_send(scene->wire, WIRE_COST_MAP, &map, SPAN_NONE, slots), 0);
	map.part = WIRE_COST_SHARED;
	assert_int_equal(wire_send(scene->wire, WIRE_COST_MAP, &map, SPAN_NONE, shared), 0);
}

static void it_is_alive_before_it_knows_anything(void **state)
{
	await(*state, WIRE_HEARTBEAT);
}

/* The order is the promise: a report means that the points were handed over. */
static void a_scrape_is_reported_after_its_record(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_target(scene, 200 * NS_PER_MS);
	await(scene, WIRE_DIAL);
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	const enum wire_type expected[] = {WIRE_FETCH, WIRE_DIAL, WIRE_INGEST, WIRE_INGEST, WIRE_RECORD, WIRE_SCRAPED};
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_int_equal(scene->order[i], expected[i]);
	assert_string_equal(scene->error, "");
	assert_int_equal(scene->scraped.up, 1);
	assert_int_equal(scene->scraped.samples, 1);
	assert_true(scene->scraped.key == scene->target->key);
	assert_true(scene->record.points >= 6); /* with up and the report metrics */
	/* The connection is kept: the next one asks for nothing. */
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.up, 1);
	assert_int_equal(scene->counts[WIRE_DIAL], 1);
	assert_int_equal(test_server_connections(scene->server), 1);
}

static bool asked_with(const struct scene *scene, size_t number, const char *header)
{
	struct span request = test_server_request(scene->server, number);
	return memmem(request.ptr, request.len, header, strlen(header));
}

/* The job again under its id: the target stays, with its connection and its series. */
static void credentials_that_rotate_change_nothing_else(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_target(scene, 200 * NS_PER_MS);
	await(scene, WIRE_DIAL);
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.series_added, 1);
	assert_false(asked_with(scene, 0, "\r\nAuthorization:"));

	struct target_global_options global = {.scrape_interval_ns = NS_PER_SEC, .scrape_timeout_ns = NS_PER_SEC};
	struct target_job_options options = {.job_name = "web", .bearer_token = "two"};
	struct target_job *job = NULL;
	struct buf packed;
	buf_init(&packed, 1 << 20);
	assert_int_equal(target_job_new(&options, &global, &job, NULL), 0);
	target_job_pack(job, &packed);
	tell(scene, WIRE_JOB, &(struct wire_job){scene->job->content}, buf_view(&packed));
	buf_done(&packed);
	target_job_unref(job);
	size_t scrapes = 1;
	do {
		await(scene, WIRE_SCRAPED);
		assert_true(++scrapes < 6);
	} while (!asked_with(scene, scrapes - 1, "\r\nAuthorization: Bearer two\r\n"));
	assert_int_equal(scene->scraped.series_added, 0);
	assert_int_equal(scene->scraped.stale_points, 0);
	assert_int_equal(scene->counts[WIRE_DIAL], 1);
}

static void a_dial_that_was_refused_is_a_scrape_that_failed(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_target(scene, 200 * NS_PER_MS);
	await(scene, WIRE_DIAL);
	struct wire_socket refused = {.key = scene->target->key, .error = EACCES};
	tell(scene, WIRE_SOCKET, &refused, SPAN("10.0.0.9 is not an address of pod a/b"));
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.up, 0);
	assert_string_equal(scene->scraped.reason, "not_local");
	assert_string_equal(scene->error, "10.0.0.9 is not an address of pod a/b");
	assert_true(scene->record.points >= 5);
	await(scene, WIRE_DIAL); /* and it is tried again */
}

static void a_socket_that_comes_after_the_timeout_ends_this_scrape_only(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_target(scene, NS_PER_MS);
	await(scene, WIRE_DIAL);
	struct clock clock = clock_system();
	for (uint64_t asked_ns = clock_mono(&clock); clock_mono(&clock) - asked_ns < 2 * NS_PER_MS;)
		; /* the other process's timeout passes; there is no fake clock in it */
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.up, 0);
	assert_string_equal(scene->scraped.reason, "timeout");
	assert_string_equal(scene->error, "timed out while connecting");
	await(scene, WIRE_DIAL);
}

static void a_target_whose_port_opens_is_scraped_at_once(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_target_every(scene, 24 * 3600 * NS_PER_SEC, NS_PER_SEC);
	tell(scene, WIRE_SCRAPE_NOW, &(struct wire_key){scene->target->key + 1}, SPAN_NONE); /* went meanwhile */
	tell(scene, WIRE_SCRAPE_NOW, &(struct wire_key){scene->target->key}, SPAN_NONE);
	await(scene, WIRE_DIAL);                                                         /* the tick is hours away */
	tell(scene, WIRE_SCRAPE_NOW, &(struct wire_key){scene->target->key}, SPAN_NONE); /* in flight: no second one */
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.up, 1);
	assert_int_equal(scene->counts[WIRE_DIAL], 1);
}

/* ---- ports that nobody declared ------------------------------------------------------------- */

/* Its interval is over again and again meanwhile. */
static void assert_asked_once(struct scene *scene)
{
	tell(scene, WIRE_SCRAPE_NOW, &(struct wire_key){scene->target->key}, SPAN_NONE);
	await(scene, WIRE_HEARTBEAT);
	await(scene, WIRE_HEARTBEAT);
	assert_int_equal(scene->counts[WIRE_FETCH], 1);
	tell(scene, WIRE_TARGET_GONE, &(struct wire_key){scene->target->key}, SPAN_NONE);
	tell(scene, WIRE_STOP, NULL, SPAN_NONE);
	await(scene, WIRE_STOPPED);
	assert_int_equal(scene->counts[WIRE_RECORD], 0); /* not even a stale point */
}

static void a_trial_that_is_no_exposition_leaves_no_points_and_is_not_repeated(void **state)
{
	static const struct test_reply page = {
		.bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>",
		.then = TEST_KEEP,
	};
	struct scene *scene = *state;
	test_server_stop(scene->server);
	scene->server = test_server_start(&page, 1, NULL, NULL);
	send_settings(scene);
	send_special_target(scene, 200 * NS_PER_MS, 200 * NS_PER_MS, (struct wire_target){.trial = 1});
	await(scene, WIRE_DIAL);
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.up, 0);
	assert_string_equal(scene->scraped.reason, "no_exposition");
	assert_string_equal(scene->error, "the body is no exposition");
	assert_true(scene->scraped.points == 0 && scene->scraped.stale_points == 0);
	assert_asked_once(scene);
}

static void a_trial_that_nobody_answers_leaves_no_points_and_is_not_repeated(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_special_target(scene, 200 * NS_PER_MS, 200 * NS_PER_MS, (struct wire_target){.trial = 1});
	await(scene, WIRE_DIAL);
	tell(scene, WIRE_SOCKET, &(struct wire_socket){.key = scene->target->key, .error = ECONNREFUSED},
		SPAN("connect to 10.0.0.9 port 80: Connection refused"));
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.up, 0);
	assert_string_equal(scene->scraped.reason, "connect"); /* the core lets it try once more */
	assert_asked_once(scene);
}

static void a_trial_with_metrics_is_the_first_scrape_of_many(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	/* At once, though the first tick is hours away. */
	send_special_target(scene, 24 * 3600 * NS_PER_SEC, NS_PER_SEC, (struct wire_target){.trial = 1});
	await(scene, WIRE_DIAL);
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.up, 1);
	assert_true(scene->record.points >= 6);
	test_server_hang_up(scene->server);
	tell(scene, WIRE_SCRAPE_NOW, &(struct wire_key){scene->target->key}, SPAN_NONE);
	await(scene, WIRE_DIAL);
	tell(scene, WIRE_SOCKET, &(struct wire_socket){.key = scene->target->key, .error = ECONNREFUSED}, SPAN("no"));
	await(scene, WIRE_SCRAPED); /* it may fail now, as others may */
	assert_int_equal(scene->scraped.up, 0);
	assert_true(scene->scraped.stale_points > 0);
}

/* ---- intervals that are stretched ------------------------------------------------------------- */

/* From one scrape's tick to the next one's. */
static uint64_t next_gap(struct scene *scene)
{
	uint64_t before_ns = scene->scraped.tick_ns;
	await(scene, WIRE_SCRAPED);
	assert_true(scene->scraped.tick_ns > before_ns);
	return scene->scraped.tick_ns - before_ns;
}

static void an_interval_is_stretched_and_comes_back(void **state)
{
	const uint64_t interval_ns = 200 * NS_PER_MS;
	struct scene *scene = *state;
	send_settings(scene);
	send_special_target(scene, interval_ns, interval_ns, (struct wire_target){.stretch = 3});
	await(scene, WIRE_DIAL);
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	assert_true(next_gap(scene) % (3 * interval_ns) == 0); /* a busy machine misses some */
	tell(scene, WIRE_PACE, &(struct wire_pace){.key = scene->target->key, .stretch = 2}, SPAN_NONE);
	tell(scene, WIRE_PACE, &(struct wire_pace){.key = scene->target->key + 1, .stretch = 9}, SPAN_NONE); /* gone */
	next_gap(scene); /* this tick was set before */
	next_gap(scene);
	assert_true(next_gap(scene) % (2 * interval_ns) == 0);
	tell(scene, WIRE_PACE, &(struct wire_pace){.key = scene->target->key, .stretch = 1}, SPAN_NONE);
	for (size_t i = 0; next_gap(scene) % (2 * interval_ns) == 0; i++)
		assert_true(i < 10);
	assert_int_equal(scene->counts[WIRE_DIAL], 1);
}

/* ---- windows ------------------------------------------------------------------------------------ */

/* Nobody plays BPF here: the windows are there, and see nothing. */
static void each_request_on_a_slot_opens_a_window(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_maps(scene);
	send_target(scene, NS_PER_SEC); /* its timeout, too: a busy machine answers late */
	await(scene, WIRE_DIAL);
	send_socket_with(scene, 9);
	await(scene, WIRE_COST);
	assert_true(scene->cost.key == scene->target->key);
	assert_int_equal(scene->cost.measured, 0);
	assert_int_equal(scene->cost.new_connection, 1);
	assert_true(scene->maps.slots[9].generation == 1);
	await(scene, WIRE_COST);
	assert_int_equal(scene->cost.new_connection, 0);
	assert_true(scene->maps.slots[9].generation == 2);
	assert_int_equal(scene->maps.shared->active, 0);
	test_server_hang_up(scene->server);
	await(scene, WIRE_SLOT_CLOSED); /* found dead by the next scrape */
	assert_int_equal(scene->slot.slot, 9);
	assert_int_equal(scene->slot.map, 1);
	await_count(scene, WIRE_DIAL, 2);
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	assert_int_equal(scene->scraped.up, 1);
	assert_int_equal(scene->counts[WIRE_COST], 2); /* without a slot there is none */
}

static void our_own_time_is_a_part_of_the_report(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_target(scene, 200 * NS_PER_MS);
	await(scene, WIRE_DIAL);
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	const struct wire_scraped *scraped = &scene->scraped;
	assert_true(scraped->fetch_cpu_ns > 0 && scraped->fetch_cpu_ns < scraped->duration_ns);
	assert_true(scraped->parse_cpu_ns > 0 && scraped->encode_cpu_ns > 0);
	assert_true(scraped->record_bytes == scene->record.uncompressed_bytes); /* alone in it, and not compressed */
}

static void a_target_that_goes_leaves_stale_points(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	send_target(scene, 200 * NS_PER_MS);
	await(scene, WIRE_DIAL);
	send_socket(scene);
	await(scene, WIRE_SCRAPED);
	tell(scene, WIRE_TARGET_GONE, &(struct wire_key){scene->target->key}, SPAN_NONE);
	tell(scene, WIRE_JOB_GONE, &(struct wire_job){scene->job->content}, SPAN_NONE);
	tell(scene, WIRE_STOP, NULL, SPAN_NONE);
	await(scene, WIRE_STOPPED);
	assert_int_equal(scene->order[scene->seen - 1], WIRE_STOPPED);
	assert_int_equal(scene->order[scene->seen - 2], WIRE_RECORD);
	assert_true(scene->record.points >= 6);
}

/* What the kernel says of it. */
static void assert_status(pid_t pid, const char *line)
{
	char path[64], text[8192];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *file = fopen(path, "re");
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	if (!strstr(text, line))
		fail_msg("no `%s` in\n%s", line, text);
}

static void it_has_no_privileges(void **state)
{
	struct scene *scene = *state;
	await(scene, WIRE_HEARTBEAT);
	assert_status(scene->pid, "\nNoNewPrivs:\t1\n");
	assert_status(scene->pid, "\nCapPrm:\t0000000000000000\n");
	assert_status(scene->pid, "\nCapEff:\t0000000000000000\n");
	assert_status(scene->pid, "\nCapAmb:\t0000000000000000\n");
}

static void what_it_cannot_work_with_ends_it(void **state)
{
	struct scene *scene = *state;
	send_settings(scene);
	tell(scene, WIRE_TARGET, &(struct wire_target){.key = 1, .job_id = 2}, SPAN("damage"));
	tell(scene, WIRE_TARGET, &(struct wire_target){.key = 2, .job_id = 2}, SPAN("more"));
	assert_int_equal(exit_status(scene), 3);
}

static void messages_before_the_settings_end_it(void **state)
{
	struct scene *scene = *state;
	tell(scene, WIRE_STOP, NULL, SPAN_NONE);
	assert_int_equal(exit_status(scene), 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_new, scene_free)
	const struct CMUnitTest tests[] = {
		TEST(it_is_alive_before_it_knows_anything),
		TEST(a_scrape_is_reported_after_its_record),
		TEST(credentials_that_rotate_change_nothing_else),
		TEST(a_dial_that_was_refused_is_a_scrape_that_failed),
		TEST(a_socket_that_comes_after_the_timeout_ends_this_scrape_only),
		TEST(a_target_whose_port_opens_is_scraped_at_once),
		TEST(a_trial_that_is_no_exposition_leaves_no_points_and_is_not_repeated),
		TEST(a_trial_that_nobody_answers_leaves_no_points_and_is_not_repeated),
		TEST(a_trial_with_metrics_is_the_first_scrape_of_many),
		TEST(an_interval_is_stretched_and_comes_back),
		TEST(each_request_on_a_slot_opens_a_window),
		TEST(our_own_time_is_a_part_of_the_report),
		TEST(a_target_that_goes_leaves_stale_points),
		TEST(it_has_no_privileges),
		TEST(what_it_cannot_work_with_ends_it),
		TEST(messages_before_the_settings_end_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
