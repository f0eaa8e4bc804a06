/* What core makes of what a loader says, and the cost slots on plain memory files. */
#include "gleaner/probe.h"
#include "message.h"
#include "test.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static void pair_of(int sockets[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
}

static int memory_file(size_t size)
{
	int fd = memfd_create("map", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* Sends the hello and tries to make a probe of it; the sockets are closed. */
static int hear(const void *hello, size_t len, const int *fds, size_t count)
{
	int sockets[2];
	pair_of(sockets);
	if (hello)
		assert_int_equal(message_send(sockets[1], hello, len, fds, count), 0);
	close(sockets[1]);
	struct probe *probe = NULL;
	struct error err = {0};
	int result = probe_new(sockets[0], &probe, &err);
	assert_true(result == 0 || err.text[0] != '\0');
	if (result == 0)
		probe_free(probe);
	else
		close(sockets[0]);
	return result;
}

static void a_hello_without_anything_attached_is_fine(void **state)
{
	(void)state;
	struct probe_hello hello = {.version = PROBE_VERSION};
	assert_int_equal(hear(&hello, sizeof(hello), NULL, 0), 0);
}

static void a_hello_of_another_kind_is_refused(void **state)
{
	(void)state;
	struct probe_hello hello = {.version = PROBE_VERSION + 1};
	assert_int_equal(hear(&hello, sizeof(hello), NULL, 0), -EPROTO);
	hello.version = PROBE_VERSION;
	assert_int_equal(hear(&hello, sizeof(hello) - 1, NULL, 0), -EPROTO);
	hello.program_count = PROBE_PROGRAMS + 1;
	assert_int_equal(hear(&hello, sizeof(hello), NULL, 0), -EPROTO);
	hello = (struct probe_hello){.version = PROBE_VERSION, .listen = 1, .listen_version = LISTEN_VERSION};
	assert_int_equal(hear(&hello, sizeof(hello), NULL, 0), -EPROTO);
	hello.listen_version++;
	assert_int_equal(hear(&hello, sizeof(hello), NULL, 0), -EPROTO);
	char longer[sizeof(hello) + 1] = {0};
	assert_int_equal(hear(longer, sizeof(longer), NULL, 0), -EMSGSIZE);
	assert_int_equal(hear(NULL, 0, NULL, 0), -ECONNRESET);
}

static void an_event_in_the_ring_is_read(void **state)
{
	(void)state;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fds[2] = {memory_file(2 * page + 2 * LISTEN_RING_BYTES), memory_file(page)}, sockets[2];
	struct probe_hello hello = {.version = PROBE_VERSION, .listen = 1, .listen_version = LISTEN_VERSION};
	pair_of(sockets);
	assert_int_equal(message_send(sockets[1], &hello, sizeof(hello), fds, 2), 0);
	struct probe *probe;
	assert_int_equal(probe_new(sockets[0], &probe, NULL), 0);
	struct listen_event event = {.head = {.kind = LISTEN_OPEN, .port = 80}}, read = {0};
	uint32_t header[2] = {sizeof(event), 0}, odd[4] = {8, 0, 1, 2};
	uint64_t position = sizeof(odd) + sizeof(header) + sizeof(event);
	assert_int_equal(pwrite(fds[0], odd, sizeof(odd), (off_t)(2 * page)),
		sizeof(odd)); /* a record of another size is skipped */
	assert_int_equal(pwrite(fds[0], header, 8, (off_t)(2 * page + sizeof(odd))), 8);
	assert_int_equal(pwrite(fds[0], &event, sizeof(event), (off_t)(2 * page + sizeof(odd) + 8)), sizeof(event));
	assert_int_equal(pwrite(fds[0], &position, 8, (off_t)page), 8);
	assert_int_equal(probe_event(probe, &read), 1);
	assert_memory_equal(&read, &event, sizeof(event));
	assert_int_equal(probe_event(probe, &read), 0);
	assert_int_equal(probe_ask_snapshot(probe), -EOPNOTSUPP);
	int fd;
	assert_int_equal(probe_answer(probe, &fd), 0);
	close(sockets[1]);
	assert_int_equal(probe_answer(probe, &fd), -ECONNRESET);
	probe_free(probe);
	close(fds[0]);
	close(fds[1]);
}

static void a_window_opens_runs_and_closes(void **state)
{
	(void)state;
	int slots = memory_file((size_t)COST_SLOTS * COST_SLOT_BYTES), shared = memory_file(sizeof(struct cost_shared));
	struct cost cost;
	struct cost_slot result;
	assert_int_equal(cost_map(slots, shared, &cost), 0);
	cost_open(&cost, 3, 9100, 42);
	assert_int_equal(cost.shared->active, 1);
	assert_int_equal(cost.shared->ports[9100], 1);
	assert_int_equal(cost.slots[3].state, COST_ARMED);
	assert_false(cost_close(&cost, 3, &result)); /* BPF never saw it */
	assert_false(cost_close(&cost, 3, &result));
	assert_int_equal(cost.shared->active, 0);
	uint64_t generation = cost.slots[3].generation;
	cost.slots[3].thread.cpu_ns = 77; /* of an old window */
	cost.slots[3].cookie = 5;
	cost_open(&cost, 3, 9100, 43);
	assert_true(cost.slots[3].generation > generation);
	assert_int_equal(cost.slots[3].thread.cpu_ns, 0);
	cost.slots[3].state = COST_RUNNING;
	assert_true(cost_close(&cost, 3, &result));
	assert_int_equal(result.cookie, 5);
	assert_int_equal(result.opened_ns, 43);
	cost_open(&cost, COST_SLOTS, 9100, 44); /* out of bounds: nothing */
	assert_false(cost_close(&cost, COST_SLOTS, &result));
	assert_int_equal(cost.shared->active, 0);
	cost_unmap(&cost);
	close(slots);
	close(shared);
}

static void a_dial_that_nobody_saw_is_noticed(void **state)
{
	(void)state;
	int slots = memory_file((size_t)COST_SLOTS * COST_SLOT_BYTES), shared = memory_file(sizeof(struct cost_shared));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct cost cost;
	assert_int_equal(cost_map(slots, shared, &cost), 0);
	assert_int_equal(cost_dial(&cost, 7, fd), 0);
	assert_true(cost.shared->dial_cookie != 0);
	assert_int_equal(cost.shared->dial_slot, 7);
	cost.slots[7].cookie = cost.shared->dial_cookie; /* as BPF does */
	assert_true(cost_dialed(&cost, 7));
	assert_int_equal(cost.shared->dial_cookie, 0);
	assert_int_equal(cost_dial(&cost, 7, fd), 0);
	assert_false(cost_dialed(&cost, 7));
	assert_int_equal(cost_dial(&cost, COST_SLOTS, fd), -EINVAL);
	cost_unmap(&cost);
	close(fd);
	close(slots);
	close(shared);
}

static int hear_nothing_attached(void *arg)
{
	(void)arg;
	int sockets[2];
	pair_of(sockets);
	struct probe_hello hello = {.version = PROBE_VERSION};
	message_send(sockets[1], &hello, sizeof(hello), NULL, 0);
	struct probe *probe;
	int result = probe_new(sockets[0], &probe, NULL);
	if (result == 0)
		probe_free(probe);
	else
		close(sockets[0]);
	close(sockets[1]);
	return result;
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	test_out_of_memory(hear_nothing_attached, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_without_anything_attached_is_fine),
		cmocka_unit_test(a_hello_of_another_kind_is_refused),
		cmocka_unit_test(an_event_in_the_ring_is_read),
		cmocka_unit_test(a_window_opens_runs_and_closes),
		cmocka_unit_test(a_dial_that_nobody_saw_is_noticed),
		cmocka_unit_test(every_allocation_may_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
