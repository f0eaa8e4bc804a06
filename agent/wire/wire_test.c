/* wire: messages over a real socketpair, and damage of every kind. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gleaner/wire.h"

struct side {
	struct loop *loop;
	struct wire *wire;
	size_t messages, closed, stop_after;
	struct wire_message last;
	struct wire_scraped last_scraped;
	size_t last_tail_len;
	unsigned long tail_sum;
	int last_fd;
	struct error err;
};

static void on_message(void *arg, const struct wire_message *message)
{
	struct side *side = arg;
	side->messages++;
	side->last = *message;
	if (message->type == WIRE_SCRAPED)
		memcpy(&side->last_scraped, message->fixed, sizeof(side->last_scraped));
	side->last_tail_len = message->tail.len;
	for (size_t i = 0; i < message->tail.len; i++)
		side->tail_sum += (unsigned char)message->tail.ptr[i];
	if (message->fd >= 0) {
		if (side->last_fd >= 0)
			close(side->last_fd);
		side->last_fd = message->fd;
	}
	if (side->messages == side->stop_after)
		loop_stop(side->loop);
}

static void on_closed(void *arg, const struct error *err)
{
	struct side *side = arg;
	side->closed++;
	side->err = *err;
	loop_stop(side->loop);
}

/* The core's side of a connection; the scraper's end is returned as a raw socket. */
static int core_side_new(struct side *side)
{
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*side = (struct side){.last_fd = -1};
	assert_int_equal(loop_new(&side->loop), 0);
	struct wire_events events = {on_message, on_closed, side};
	assert_int_equal(wire_new(side->loop, fds[0], true, events, &side->wire), 0);
	return fds[1];
}

static void side_done(struct side *side)
{
	wire_free(side->wire);
	loop_free(side->loop);
	if (side->last_fd >= 0)
		close(side->last_fd);
}

static void messages_arrive_whole_and_in_order(void **state)
{
	(void)state;
	struct side core, scraper = {.last_fd = -1, .stop_after = 1};
	int fd = core_side_new(&core);
	scraper.loop = core.loop;
	struct wire_events events = {on_message, on_closed, &scraper};
	assert_int_equal(wire_new(core.loop, fd, false, events, &scraper.wire), 0);

	enum { BIG = 3 << 20 };
	char *body = malloc(BIG);
	memset(body, 1, BIG);
	struct wire_record record = {.codec = 1, .points = 5, .t_min_ns = 1, .t_max_ns = 2};
	struct wire_scraped scraped = {.key = 7, .up = 0, .reason = "http_status"};
	core.stop_after = 3;
	assert_int_equal(wire_send(scraper.wire, WIRE_DIAL, &(struct wire_key){7}, SPAN_NONE, -1), 0);
	assert_int_equal(wire_send(scraper.wire, WIRE_RECORD, &record, span_of(body, BIG), -1), 0);
	assert_int_equal(wire_send(scraper.wire, WIRE_SCRAPED, &scraped, SPAN("text"), -1), 0);
	assert_int_equal(loop_run(core.loop), 0);
	assert_int_equal(core.messages, 3);
	assert_int_equal(core.tail_sum, (unsigned long)BIG + 't' + 'e' + 'x' + 't');
	assert_string_equal(core.last_scraped.reason, "http_status");
	assert_int_equal(wire_backlog(scraper.wire), 0);
	free(body);
	wire_free(scraper.wire);
	side_done(&core);
}

static void descriptors_stay_with_their_messages(void **state)
{
	(void)state;
	struct side core, scraper = {.last_fd = -1, .stop_after = 40};
	int fd = core_side_new(&core), pipes[20][2];
	scraper.loop = core.loop;
	struct wire_events events = {on_message, on_closed, &scraper};
	assert_int_equal(wire_new(core.loop, fd, false, events, &scraper.wire), 0);
	for (size_t i = 0; i < 20; i++) {
		assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
		struct wire_socket refused = {.key = i, .error = ECONNREFUSED}, given = {.key = i};
		assert_int_equal(wire_send(core.wire, WIRE_SOCKET, &refused, SPAN("refused"), -1), 0);
		assert_int_equal(wire_send(core.wire, WIRE_SOCKET, &given, SPAN_NONE, pipes[i][1]), 0);
	}
	assert_int_equal(loop_run(core.loop), 0);
	assert_int_equal(scraper.messages, 40);
	/* The last descriptor is the last pipe's end; the others were closed by on_message: their pipes are at an end. */
	char byte = 'x';
	assert_int_equal(write(scraper.last_fd, &byte, 1), 1);
	for (size_t i = 0; i < 20; i++) {
		assert_int_equal(read(pipes[i][0], &byte, 1), i == 19 ? 1 : 0);
		close(pipes[i][0]);
	}
	close(scraper.last_fd);
	wire_free(scraper.wire);
	side_done(&core);
}

/* A scraper that parses a large body while many connections get ready: more than its socket holds. */
static void descriptors_wait_for_a_peer_that_is_busy(void **state)
{
	(void)state;
	enum { MANY = 600 };
	struct side core, scraper = {.last_fd = -1, .stop_after = MANY + 1};
	int fd = core_side_new(&core), given = open("/dev/null", O_RDONLY | O_CLOEXEC);
	scraper.loop = core.loop;
	struct wire_events events = {on_message, on_closed, &scraper};
	for (uint64_t i = 0; i < MANY; i++) {
		struct wire_socket socket = {.key = i};
		int copy = fcntl(given, F_DUPFD_CLOEXEC, 0);
		assert_int_equal(wire_send(core.wire, WIRE_SOCKET, &socket, SPAN_NONE, copy), 0);
	}
	assert_int_equal(wire_send(core.wire, WIRE_TARGET_GONE, &(struct wire_key){1}, SPAN_NONE, -1), 0);
	assert_int_equal(wire_new(core.loop, fd, false, events, &scraper.wire), 0);
	assert_int_equal(loop_run(core.loop), 0);
	assert_int_equal(scraper.messages, MANY + 1);
	assert_int_equal(scraper.closed, 0);
	close(given);
	close(scraper.last_fd);
	wire_free(scraper.wire);
	side_done(&core);
}

static void a_closed_peer_is_reported_once(void **state)
{
	(void)state;
	struct side core;
	int fd = core_side_new(&core);
	close(fd);
	assert_int_equal(loop_run(core.loop), 0);
	assert_int_equal(core.closed, 1);
	assert_string_equal(core.err.text, "");
	side_done(&core);
}

struct raw_message {
	uint32_t magic;
	uint16_t type, flags;
	uint32_t length, zero;
	char rest[512];
};

static void damage_closes_the_connection(void **state)
{
	(void)state;
	const struct {
		struct raw_message message;
		const char *reason;
	} rows[] = {
		{{0x12345678, WIRE_DIAL, 0, 8, 0, ""}, "damaged header"},
		{{WIRE_MAGIC, WIRE_DIAL, 0, WIRE_MAX + 1, 0, ""}, "damaged header"},
		{{WIRE_MAGIC, WIRE_DIAL, 8, 8, 0, ""}, "damaged header"},
		{{WIRE_MAGIC, WIRE_DIAL, 0, 8, 1, ""}, "damaged header"},
		{{WIRE_MAGIC, WIRE_DIAL, 1, 8, 0, ""}, "announced descriptor is missing"},
		{{WIRE_MAGIC, WIRE_DIAL, 0, 7, 0, ""}, "message type 10 with 7 bytes"},
		{{WIRE_MAGIC, WIRE_DIAL, 0, 9, 0, ""}, "message type 10 with 9 bytes"},
		{{WIRE_MAGIC, WIRE_TARGET, 0, 32, 0, ""}, "message type 4 goes the other way"},
		{{WIRE_MAGIC, WIRE_SCRAPE_NOW, 0, 8, 0, ""}, "message type 6 goes the other way"},
		{{WIRE_MAGIC, 99, 0, 0, 0, ""}, "unknown message type 99"},
		{{WIRE_MAGIC, 0, 0, 0, 0, ""}, "unknown message type 0"},
		{{WIRE_MAGIC, WIRE_RECORD, 0, 33, 0, ""}, "record: empty"},
		{{WIRE_MAGIC, WIRE_RECORD, 0, 33, 0, "\x09"}, "record: unknown codec 9"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct side core;
		int fd = core_side_new(&core);
		assert_int_equal(write(fd, &rows[i].message, sizeof(rows[i].message)), sizeof(rows[i].message));
		assert_int_equal(loop_run(core.loop), 0);
		assert_int_equal(core.messages, 0);
		assert_string_equal(core.err.text, rows[i].reason);
		close(fd);
		side_done(&core);
	}
}

static void a_reason_must_be_a_word(void **state)
{
	(void)state;
	struct wire_scraped scraped = {.reason = "Not A Word"};
	struct error err;
	assert_int_equal(wire_check(WIRE_SCRAPED, true, &scraped, sizeof(scraped), false, &err), -EBADMSG);
	memset(scraped.reason, 'a', sizeof(scraped.reason));
	assert_int_equal(wire_check(WIRE_SCRAPED, true, &scraped, sizeof(scraped), false, &err), -EBADMSG);
	scraped.reason[3] = '\0';
	assert_int_equal(wire_check(WIRE_SCRAPED, true, &scraped, sizeof(scraped), false, &err), 0);
	scraped.up = 2;
	assert_int_equal(wire_check(WIRE_SCRAPED, true, &scraped, sizeof(scraped), false, &err), -EBADMSG);
}

static int send_one(void *arg)
{
	struct side core;
	int fds[2];
	(void)arg;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	core = (struct side){.last_fd = -1};
	int result = loop_new(&core.loop);
	if (result == 0)
		result = wire_new(
			core.loop, fds[0], true, (struct wire_events){on_message, on_closed, &core}, &core.wire);
	if (result == 0)
		result = wire_send(core.wire, WIRE_TARGET, &(struct wire_target){0}, SPAN("tail"), -1);
	if (core.wire)
		wire_free(core.wire);
	else
		close(fds[0]);
	loop_free(core.loop);
	close(fds[1]);
	return result;
}

static void costs_and_their_maps_must_be_possible(void **state)
{
	struct error err;
	struct wire_cost cost = {.measured = 1, .new_connection = 1, .process_before_ns = 5, .process_after_ns = 5};
	struct wire_cost_map map = {.part = WIRE_COST_SHARED, .map = 1, .processes = 1};
	(void)state;
	assert_int_equal(wire_check(WIRE_COST, true, &cost, sizeof(cost), false, &err), 0);
	cost.process_before_ns = 6;
	assert_int_equal(wire_check(WIRE_COST, true, &cost, sizeof(cost), false, &err), -EBADMSG);
	cost = (struct wire_cost){.measured = 2};
	assert_int_equal(wire_check(WIRE_COST, true, &cost, sizeof(cost), false, &err), -EBADMSG);
	cost = (struct wire_cost){.read_before_ns = 1};
	assert_int_equal(wire_check(WIRE_COST, true, &cost, sizeof(cost), false, &err), -EBADMSG);
	assert_int_equal(wire_check(WIRE_COST_MAP, false, &map, sizeof(map), true, &err), 0);
	assert_int_equal(wire_check(WIRE_COST_MAP, false, &map, sizeof(map), false, &err), -EBADMSG);
	assert_int_equal(wire_check(WIRE_COST_MAP, true, &map, sizeof(map), true, &err), -EBADMSG);
	map.map = 0;
	assert_int_equal(wire_check(WIRE_COST_MAP, false, &map, sizeof(map), true, &err), -EBADMSG);
}

static void running_out_of_memory_is_an_error_and_no_leak(void **state)
{
	(void)state;
	test_out_of_memory(send_one, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_arrive_whole_and_in_order),
		cmocka_unit_test(descriptors_stay_with_their_messages),
		cmocka_unit_test(descriptors_wait_for_a_peer_that_is_busy),
		cmocka_unit_test(a_closed_peer_is_reported_once),
		cmocka_unit_test(damage_closes_the_connection),
		cmocka_unit_test(a_reason_must_be_a_word),
		cmocka_unit_test(costs_and_their_maps_must_be_possible),
		cmocka_unit_test(running_out_of_memory_is_an_error_and_no_leak),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
