#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

/* In the child, between fork and exec: async-signal-safe calls only. */
static void child_exec(int socket_fd, const char *const argv[])
{
	char *const no_environment[] = {NULL};
	int null_fd = open("/dev/null", O_RDWR);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	/* dup2 clears close-on-exec, but not onto itself. */
	if (socket_fd == CHILD_FD)
		fcntl(socket_fd, F_SETFD, 0);
	if (null_fd >= 0 && dup2(null_fd, 0) == 0 && dup2(null_fd, 1) == 1 && dup2(socket_fd, CHILD_FD) == CHILD_FD)
		execve("/proc/self/exe", (char *const *)argv, no_environment);
	_exit(127);
}

int child_start(int socket_type, const char *const argv[], pid_t *ret_pid, int *ret_fd)
{
	int fds[2];
	if (socketpair(AF_UNIX, socket_type | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0)
		child_exec(fds[1], argv);
	int result = pid < 0 ? -errno : 0;
	close(fds[1]);
	if (result < 0) {
		close(fds[0]);
		return result;
	}
	*ret_pid = pid;
	*ret_fd = fds[0];
	return 0;
}
