/* The process that holds a pod's namespaces: reaps children, ends on TERM or INT. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int s)
{
	(void)s;
	_exit(0);
}
static void reap(int s)
{
	(void)s;
	while (waitpid(-1, NULL, WNOHANG) > 0) {}
}

int main(void)
{
	struct sigaction e = {.sa_handler = end}, r = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
	sigaction(SIGINT, &e, NULL);
	sigaction(SIGTERM, &e, NULL);
	sigaction(SIGCHLD, &r, NULL);
	for (;;)
		pause();
}
