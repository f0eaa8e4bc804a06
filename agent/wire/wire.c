/* The transport: frames in and out of one stream socket, descriptors riding along.
 *
 * Out: messages are appended to one buffer; a descriptor is remembered with the offset of its message's first byte and sent with
 * exactly that byte, so a send never runs across the start of a message that brings one.
 * In: bytes gather in one buffer until a message is whole; descriptors gather in order. The kernel ends a recvmsg before
 * bytes that bring other descriptors, so the n-th descriptor belongs to the n-th message that announces one.
 * Failure: anything unexpected closes the connection; see `closed`.
 */
#include "gleaner/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct wire_header {
	uint32_t magic;
	uint16_t type, flags;
	uint32_t length;
	uint32_t zero;
};
_Static_assert(sizeof(struct wire_header) == 16, "the header is 16 bytes");
_Static_assert(sizeof(struct wire_settings) == 80, "documented size");
_Static_assert(sizeof(struct wire_target) == 40, "documented size");
_Static_assert(sizeof(struct wire_record) == 32, "documented size");

enum {
	WIRE_FLAG_FD = 1,
	WIRE_FDS_IN = 64,
	WIRE_FDS_OUT = 2048, /* each answers one of at most 2 * 1024 questions */
	WIRE_OUT_MAX = 64 << 20,
};

struct wire_fd {
	size_t offset; /* in the out buffer */
	int fd;
};

struct wire {
	struct loop *loop;
	struct loop_watch *watch;
	int fd;
	bool from_scraper, want_write;
	struct wire_events events;
	bool *freed; /* set while events run: wire_free in a callback tells the caller on the stack */

	struct buf in;
	size_t in_done; /* bytes of `in` that were handled */
	int fds_in[WIRE_FDS_IN];
	size_t fds_in_count;

	struct buf out;
	size_t out_done;
	struct wire_fd fds_out[WIRE_FDS_OUT];
	size_t fds_out_count;
};

static void wire_ready(void *arg, unsigned events);

int wire_new(struct loop *loop, int fd, bool from_scraper, struct wire_events events, struct wire **ret_wire)
{
	struct wire *wire = calloc(1, sizeof(*wire));
	if (!wire)
		return -ENOMEM;
	wire->loop = loop;
	wire->fd = fd;
	wire->from_scraper = from_scraper;
	wire->events = events;
	buf_init(&wire->in, WIRE_MAX + sizeof(struct wire_header) + 65536);
	buf_init(&wire->out, WIRE_OUT_MAX);
	/* Credentials of jobs go from the core to the scraper. */
	wire->out.secret = from_scraper;
	wire->in.secret = !from_scraper;
	int result = fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (result == 0)
		result = loop_watch_new(loop, fd, LOOP_READ, wire_ready, wire, &wire->watch);
	if (result < 0) {
		free(wire);
		return result;
	}
	*ret_wire = wire;
	return 0;
}

void wire_free(struct wire *wire)
{
	if (!wire)
		return;
	if (wire->freed)
		*wire->freed = true;
	loop_watch_free(wire->watch);
	for (size_t i = 0; i < wire->fds_in_count; i++)
		close(wire->fds_in[i]);
	for (size_t i = 0; i < wire->fds_out_count; i++)
		close(wire->fds_out[i].fd);
	close(wire->fd);
	buf_done(&wire->in);
	buf_done(&wire->out);
	free(wire);
}

size_t wire_backlog(const struct wire *wire)
{
	return wire->out.len - wire->out_done;
}

/* ---- out ------------------------------------------------------------------------ */

/* One sendmsg: up to the next message that brings a descriptor, with the descriptor of the first byte if it has one. */
static ssize_t send_some(struct wire *wire)
{
	size_t end = wire->out.len;
	bool with_fd = wire->fds_out_count > 0 && wire->fds_out[0].offset == wire->out_done;
	size_t next = with_fd ? 1 : 0;
	if (wire->fds_out_count > next)
		end = wire->fds_out[next].offset;
	struct iovec piece = {wire->out.ptr + wire->out_done, end - wire->out_done};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	if (with_fd) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		*header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(header), &wire->fds_out[0].fd, sizeof(int));
	}
	ssize_t sent = sendmsg(wire->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0 && with_fd) {
		close(wire->fds_out[0].fd);
		wire->fds_out_count--;
		memmove(wire->fds_out, wire->fds_out + 1, wire->fds_out_count * sizeof(wire->fds_out[0]));
	}
	return sent;
}

/* Sends what the socket takes; what is left waits for LOOP_WRITE. A broken pipe shows when reading. */
static void flush_out(struct wire *wire)
{
	bool blocked = false;
	while (wire->out_done < wire->out.len && !blocked) {
		ssize_t sent = send_some(wire);
		if (sent > 0)
			wire->out_done += (size_t)sent;
		else if (sent < 0 && errno != EINTR)
			blocked = true;
	}
	if (wire->out_done == wire->out.len && wire->out.len > 0) {
		if (wire->out.secret)
			explicit_bzero(wire->out.ptr, wire->out.len);
		buf_reset(&wire->out);
		wire->out_done = 0;
		if (wire->out.cap > 4u << 20) /* a burst is over: give its memory back */
			buf_done(&wire->out);
	}
	if (blocked != wire->want_write) {
		wire->want_write = blocked;
		loop_watch_set(wire->watch, LOOP_READ | (blocked ? LOOP_WRITE : 0u));
	}
}

/* Moves the unsent rest to the front, so that the buffer does not grow while the other side is slow; only when that rest
 * is the smaller half, so that a byte is moved once on average. */
static void compact_out(struct wire *wire)
{
	if (wire->out_done <= wire->out.len / 2)
		return;
	memmove(wire->out.ptr, wire->out.ptr + wire->out_done, wire->out.len - wire->out_done);
	wire->out.len -= wire->out_done;
	for (size_t i = 0; i < wire->fds_out_count; i++)
		wire->fds_out[i].offset -= wire->out_done;
	wire->out_done = 0;
}

int wire_send(struct wire *wire, enum wire_type type, const void *fixed, struct span tail, int fd)
{
	size_t fixed_size = wire_fixed_size(type);
	struct wire_header header = {
		WIRE_MAGIC, (uint16_t)type, fd >= 0 ? WIRE_FLAG_FD : 0, (uint32_t)(fixed_size + tail.len), 0};
	compact_out(wire);
	bool full = fd >= 0 && wire->fds_out_count == WIRE_FDS_OUT;
	if (full || !buf_reserve(&wire->out, sizeof(header) + fixed_size + tail.len)) {
		int result = wire->out.failed ? wire->out.failed : -EMSGSIZE;
		wire->out.failed = 0; /* this message was refused whole; the queue is intact */
		if (fd >= 0)
			close(fd);
		return result;
	}
	if (fd >= 0)
		wire->fds_out[wire->fds_out_count++] = (struct wire_fd){wire->out.len, fd};
	buf_append(&wire->out, &header, sizeof(header));
	buf_append(&wire->out, fixed, fixed_size);
	buf_span(&wire->out, tail);
	flush_out(wire);
	return 0;
}

/* ---- in ------------------------------------------------------------------------- */

static void keep_fds(struct wire *wire, struct msghdr *message)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
			if (wire->fds_in_count < WIRE_FDS_IN)
				wire->fds_in[wire->fds_in_count++] = fd;
			else
				close(fd); /* more than was ever announced: the check below finds the message without one */
		}
	}
}

/* 1 got something, 0 nothing there, -ECONNRESET the other side is gone, -ENOMEM. */
static int receive_some(struct wire *wire)
{
	if (wire->in_done > 0) {
		memmove(wire->in.ptr, wire->in.ptr + wire->in_done, wire->in.len - wire->in_done);
		wire->in.len -= wire->in_done;
		wire->in_done = 0;
	}
	size_t room = 65536;
	char *at = buf_reserve(&wire->in, room);
	if (!at)
		return -ENOMEM;
	struct iovec piece = {at, room};
	union {
		char bytes[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr message = {.msg_iov = &piece,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t got = recvmsg(wire->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
	keep_fds(wire, &message);
	wire->in.len += (size_t)got;
	return got > 0 ? 1 : -ECONNRESET;
}

/* Checks the message at the front and hands it over. 1 handled, 0 not whole yet, -EBADMSG; -ECANCELED: wire was freed. */
static int handle_one(struct wire *wire, struct error *err)
{
	struct wire_header header;
	const char *at = wire->in.ptr + wire->in_done;
	size_t there = wire->in.len - wire->in_done;
	if (there < sizeof(header))
		return 0;
	memcpy(&header, at, sizeof(header));
	if (header.magic != WIRE_MAGIC || header.length > WIRE_MAX || header.zero != 0 || header.flags > WIRE_FLAG_FD)
		return error_set(err, EBADMSG, "damaged header");
	if (there - sizeof(header) < header.length)
		return 0;

	/* The fixed struct is copied out: the buffer is not aligned. */
	union {
		struct wire_settings settings;
		struct wire_target target;
		struct wire_heartbeat heartbeat;
		struct wire_record record;
		struct wire_scraped scraped;
		struct wire_cost cost;
		uint64_t align;
	} fixed;
	memset(&fixed, 0, sizeof(fixed));
	memcpy(&fixed, at + sizeof(header), header.length < sizeof(fixed) ? header.length : sizeof(fixed));
	bool has_fd = header.flags & WIRE_FLAG_FD;
	if (has_fd && wire->fds_in_count == 0)
		return error_set(err, EBADMSG, "announced descriptor is missing");
	int result = wire_check(header.type, wire->from_scraper, &fixed, header.length, has_fd, err);
	if (result < 0)
		return result;

	struct wire_message message = {.type = header.type, .fixed = &fixed, .fd = -1};
	size_t fixed_size = wire_fixed_size(header.type);
	message.tail = span_of(at + sizeof(header) + fixed_size, header.length - fixed_size);
	if (has_fd) {
		message.fd = wire->fds_in[0];
		wire->fds_in_count--;
		memmove(wire->fds_in, wire->fds_in + 1, wire->fds_in_count * sizeof(wire->fds_in[0]));
	}
	wire->in_done += sizeof(header) + header.length;
	bool freed = false;
	wire->freed = &freed;
	wire->events.message(wire->events.arg, &message);
	if (freed)
		return -ECANCELED;
	wire->freed = NULL;
	return 1;
}

static void wire_ready(void *arg, unsigned events)
{
	struct wire *wire = arg;
	struct error err = {""};
	if (events & LOOP_WRITE)
		flush_out(wire);
	int result = receive_some(wire);
	int handled = 1;
	while (handled == 1)
		handled = handle_one(wire, &err);
	if (handled == -ECANCELED)
		return;
	if (handled < 0)
		result = handled;
	else if (result == -ENOMEM)
		error_set(&err, ENOMEM, "out of memory");
	if (result < 0) {
		loop_watch_set(wire->watch, 0);
		wire->events.closed(wire->events.arg, &err);
	}
}
