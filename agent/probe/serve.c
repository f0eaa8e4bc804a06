/* Runs in the sandbox: recvmsg, sendmsg, ppoll, accept4, close, and BPF_ITER_CREATE.
 *
 * When a peer is gone the gate of the cost programs is shut: a core that dies with windows open must not leave the node paying for them.
 * The ring keeps what happens meanwhile; the next peer goes on where the last one stopped.
 */
#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "message.h"

enum { ITER_CREATE = 33 };

/* As bpf_iter_create of libbpf. */
static int make_iterator(int link_fd)
{
	struct {
		uint32_t link_fd, flags;
	} attributes = {(uint32_t)link_fd, 0};
	long fd = syscall(SYS_bpf, ITER_CREATE, &attributes, sizeof(attributes));
	return fd < 0 ? -errno : (int)fd;
}

static int answer(const struct loaded *loaded, int socket, const struct probe_ask *ask)
{
	struct probe_reply reply = {.kind = ask->kind, .error = -EOPNOTSUPP};
	int link_fd = load_snapshot_link(loaded), fd = -1;
	if (ask->kind == PROBE_ASK_SNAPSHOT && link_fd >= 0) {
		fd = make_iterator(link_fd);
		reply.error = fd < 0 ? fd : 0;
	}
	int result = message_send(socket, &reply, sizeof(reply), &fd, fd >= 0 ? 1 : 0);
	if (fd >= 0)
		close(fd);
	return result;
}

static int serve_until_hangup(const struct loaded *loaded, int socket)
{
	for (;;) {
		struct pollfd ready = {.fd = socket, .events = POLLIN};
		if (ppoll(&ready, 1, NULL, NULL) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		struct probe_ask ask = {0};
		int fds[MESSAGE_FDS];
		size_t count = 0;
		ssize_t len = message_receive(socket, &ask, sizeof(ask), fds, &count);
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
		if (len == -EAGAIN)
			continue;
		if (len == 0 || len == -ECONNRESET)
			return 0;
		int result = len == (ssize_t)sizeof(ask) ? answer(loaded, socket, &ask) : -EPROTO;
		if (result < 0)
			return result == -EPIPE ? 0 : result;
	}
}

int serve_peer(const struct loaded *loaded, struct cost *cost, int socket)
{
	int fds[4];
	size_t count = load_fds(loaded, fds);
	int result = message_send(socket, load_hello(loaded), sizeof(struct probe_hello), fds, count);
	if (result == 0)
		result = serve_until_hangup(loaded, socket);
	close(socket);
	if (cost->shared) {
		__atomic_store_n(&cost->shared->active, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&cost->shared->dial_cookie, 0, __ATOMIC_RELEASE);
		memset(cost->shared->ports, 0, sizeof(cost->shared->ports));
	}
	return result;
}

int serve_all(const struct loaded *loaded, struct cost *cost, int listener, unsigned uid)
{
	for (;;) {
		int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (socket < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (socket < 0)
			return -errno;
		struct ucred peer = {.uid = (uid_t)-1};
		socklen_t size = sizeof(peer);
		if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || (peer.uid != 0 && peer.uid != uid))
			close(socket);
		else
			serve_peer(loaded, cost, socket);
	}
}
