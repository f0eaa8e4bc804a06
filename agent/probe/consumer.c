/* Core's end: what the loader handed over, mapped. No bpf(2), no capability.
 *
 * Failure: the loader ends -> its programs are detached, the maps live on until we unmap them; probe_answer says -ECONNRESET.
 */
#include "gleaner/probe.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "message.h"
#include "ring.h"

struct probe {
	int socket;
	struct probe_hello hello;
	int fds[MESSAGE_FDS];
	int events_fd, slots_fd, shared_fd; /* of fds, or -1 */
	struct ring ring;
	struct listen_shared *listen;
};

static int check_hello(struct probe *probe, ssize_t len, size_t fd_count, struct error *err)
{
	const struct probe_hello *hello = &probe->hello;
	if (len == 0)
		return error_set(err, ECONNRESET, "probe: hung up before it said anything");
	if ((size_t)len != sizeof(*hello) || hello->version != PROBE_VERSION || hello->program_count > PROBE_PROGRAMS)
		return error_set(err, EPROTO, "probe: not a hello of version %d", PROBE_VERSION);
	if ((hello->listen && hello->listen_version != LISTEN_VERSION) ||
		(hello->cost && hello->cost_version != COST_VERSION))
		return error_set(err, EPROTO, "probe: its events or slots have another version");
	if (fd_count != (hello->listen ? 2u : 0u) + (hello->cost ? 2u : 0u))
		return error_set(err, EPROTO, "probe: %zu descriptors came with the hello", fd_count);
	for (size_t i = 0; i < hello->program_count; i++) {
		probe->hello.programs[i].name[sizeof(hello->programs[i].name) - 1] = '\0';
		probe->hello.programs[i].reason[sizeof(hello->programs[i].reason) - 1] = '\0';
	}
	return 0;
}

static int map_all(struct probe *probe, struct error *err)
{
	size_t next = 0;
	if (probe->hello.listen) {
		probe->events_fd = probe->fds[next++];
		int result = ring_map(probe->events_fd, LISTEN_RING_BYTES, &probe->ring);
		if (result < 0)
			return error_set(err, -result, "probe: map the ring buffer: %s", strerror(-result));
		void *shared = mmap(NULL, sizeof(struct listen_shared), PROT_READ, MAP_SHARED, probe->fds[next++], 0);
		if (shared == MAP_FAILED)
			return error_set(err, errno, "probe: map the counters: %s", strerror(errno));
		probe->listen = shared;
	}
	if (probe->hello.cost) {
		probe->slots_fd = probe->fds[next++];
		probe->shared_fd = probe->fds[next++];
	}
	return 0;
}

int probe_new(int socket, struct probe **ret_probe, struct error *err)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	if (!probe)
		return error_set(err, ENOMEM, "probe: out of memory");
	*probe = (struct probe){.socket = -1, .events_fd = -1, .slots_fd = -1, .shared_fd = -1};
	for (size_t i = 0; i < MESSAGE_FDS; i++)
		probe->fds[i] = -1;
	size_t fd_count = 0;
	ssize_t len = message_receive(socket, &probe->hello, sizeof(probe->hello), probe->fds, &fd_count);
	int result = len < 0 ? error_set(err, (int)-len, "probe: receive the hello: %s", strerror((int)-len))
			     : check_hello(probe, len, fd_count, err);
	if (result == 0)
		result = map_all(probe, err);
	if (result < 0) {
		probe_free(probe);
		return result;
	}
	probe->socket = socket;
	*ret_probe = probe;
	return 0;
}

void probe_free(struct probe *probe)
{
	if (!probe)
		return;
	ring_unmap(&probe->ring);
	if (probe->listen)
		munmap(probe->listen, sizeof(*probe->listen));
	for (size_t i = 0; i < MESSAGE_FDS; i++)
		if (probe->fds[i] >= 0)
			close(probe->fds[i]);
	if (probe->socket >= 0)
		close(probe->socket);
	free(probe);
}

const struct probe_hello *probe_hello(const struct probe *probe)
{
	return &probe->hello;
}

const char *probe_state_name(enum probe_state state)
{
	static const char *const names[] = {
		[PROBE_OFF] = "off",
		[PROBE_ATTACHED] = "attached",
		[PROBE_UNSUPPORTED] = "unsupported",
		[PROBE_DENIED] = "denied",
		[PROBE_FAILED] = "failed",
	};
	return (unsigned)state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

/* ---- events ------------------------------------------------------------------------- */

int probe_events_fd(const struct probe *probe)
{
	return probe->events_fd;
}

int probe_event(struct probe *probe, struct listen_event *ret_event)
{
	struct span record;
	while (probe->ring.consumer && ring_peek(&probe->ring, &record) == 1) {
		bool whole = record.len == sizeof(*ret_event);
		if (whole)
			memcpy(ret_event, record.ptr, sizeof(*ret_event));
		ring_take(&probe->ring);
		if (whole)
			return 1;
	}
	return 0;
}

const struct listen_shared *probe_listen_counters(const struct probe *probe)
{
	return probe->listen;
}

/* ---- snapshot ----------------------------------------------------------------------- */

int probe_socket(const struct probe *probe)
{
	return probe->socket;
}

int probe_ask_snapshot(struct probe *probe)
{
	if (!probe->hello.snapshot)
		return -EOPNOTSUPP;
	return message_send(probe->socket, &(struct probe_ask){PROBE_ASK_SNAPSHOT}, sizeof(struct probe_ask), NULL, 0);
}

int probe_answer(struct probe *probe, int *ret_snapshot_fd)
{
	struct probe_reply reply = {0};
	int fds[MESSAGE_FDS];
	size_t count = 0;
	ssize_t len = message_receive(probe->socket, &reply, sizeof(reply), fds, &count);
	if (len == -EAGAIN)
		return 0;
	if (len == 0)
		return -ECONNRESET;
	if (len == (ssize_t)sizeof(reply) && reply.kind == PROBE_ASK_SNAPSHOT && reply.error == 0 && count == 1) {
		*ret_snapshot_fd = fds[0];
		return 1;
	}
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return len < 0 ? (int)len : reply.error < 0 ? reply.error : -EPROTO;
}

ssize_t probe_snapshot_read(int snapshot_fd, struct listen_event *ret_events, size_t max)
{
	char *bytes = (char *)ret_events;
	size_t have = 0;
	/* A read gives up with EAGAIN after a million files without a record; that is not the end. */
	while (have < max * sizeof(*ret_events)) {
		ssize_t got = read(snapshot_fd, bytes + have, max * sizeof(*ret_events) - have);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got < 0)
			return -errno;
		have += (size_t)got;
		if (got == 0 || have % sizeof(*ret_events) == 0)
			break;
	}
	return have % sizeof(*ret_events) == 0 ? (ssize_t)(have / sizeof(*ret_events)) : -EPROTO;
}

int probe_cost_fds(const struct probe *probe, int *ret_slots_fd, int *ret_shared_fd)
{
	if (probe->slots_fd < 0)
		return -EOPNOTSUPP;
	*ret_slots_fd = probe->slots_fd;
	*ret_shared_fd = probe->shared_fd;
	return 0;
}
