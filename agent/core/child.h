/* A child process: this binary in another role, at the other end of a socket. */
#pragma once

#include <sys/types.h>

/* The descriptor that is the child's end of the socket. */
#define CHILD_FD      3
#define CHILD_FD_TEXT "3"

/* Starts `gleaner argv[1] ...` with standard input and output at /dev/null, our standard error, CHILD_FD, and no environment (it may hold
 * secrets, such as OTEL_EXPORTER_OTLP_HEADERS). Signals to the whole process group (Ctrl-C) are the core's business: the child
 * ignores them, and ends with its socket.
 *   socket_type  SOCK_STREAM or SOCK_SEQPACKET
 *   ret_fd       our end, close-on-exec
 * 0 or -errno. Reaping it is the caller's. */
int child_start(int socket_type, const char *const argv[], pid_t *ret_pid, int *ret_fd);
