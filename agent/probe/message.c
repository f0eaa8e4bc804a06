/* Messages between the loader and core: whole or not at all, since the socket keeps their bounds. */
#include "message.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char bytes[CMSG_SPACE(MESSAGE_FDS * sizeof(int))];
	struct cmsghdr align;
};

int message_send(int socket, const void *bytes, size_t len, const int *fds, size_t fd_count)
{
	struct iovec piece = {(void *)(uintptr_t)bytes, len};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
	union control control = {{0}};
	if (fd_count > MESSAGE_FDS)
		return -EINVAL;
	if (fd_count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		*header = (struct cmsghdr){.cmsg_len = CMSG_LEN(fd_count * sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void take_fds(struct msghdr *message, int ret_fds[MESSAGE_FDS], size_t *ret_fd_count)
{
	size_t count = 0;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < here; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
			if (count < MESSAGE_FDS)
				ret_fds[count++] = fd;
			else
				close(fd);
		}
	}
	*ret_fd_count = count;
}

ssize_t message_receive(int socket, void *bytes, size_t max, int ret_fds[MESSAGE_FDS], size_t *ret_fd_count)
{
	struct iovec piece = {bytes, max};
	union control control;
	struct msghdr message = {.msg_iov = &piece,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t len = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (len < 0)
		return -errno;
	take_fds(&message, ret_fds, ret_fd_count);
	if (!(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return len;
	for (size_t i = 0; i < *ret_fd_count; i++)
		close(ret_fds[i]);
	*ret_fd_count = 0;
	return -EMSGSIZE;
}
