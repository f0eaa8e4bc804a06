/* message: one SOCK_SEQPACKET message with descriptors. */
#pragma once

#include <sys/types.h>

#include "gleaner/base.h"

enum { MESSAGE_FDS = 4 };

/* What core asks, and the head of the answer, which brings one descriptor when error is 0. */
enum { PROBE_ASK_SNAPSHOT = 1 };
struct probe_ask {
	uint32_t kind;
};
struct probe_reply {
	uint32_t kind;
	int32_t error;
};

/* 0 or -errno. */
int message_send(int socket, const void *bytes, size_t len, const int *fds, size_t fd_count);
/* Length of the message, at most max (a longer one is -EMSGSIZE); 0 hung up; -EAGAIN nothing there; -errno.
 * All descriptors of the message are the caller's, close-on-exec. */
ssize_t message_receive(int socket, void *bytes, size_t max, int ret_fds[MESSAGE_FDS], size_t *ret_fd_count);
