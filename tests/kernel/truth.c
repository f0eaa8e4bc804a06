/* One request at a time per connection: read 8 bytes, burn CPU, write the body in two pieces.
 *
 * What a thread spends is noted right after the last write, so the client must wait a little before it reads the note.
 */
#include "truth.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 32, PREFORKED = 4, WORKERS = 4, POOL = 2, BODY_MAX = 1 << 20 };

static uint64_t thread_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static void burn(uint64_t us)
{
	for (uint64_t end = thread_ns() + us * 1000; thread_ns() < end;)
		for (volatile int i = 0; i < 200; i++)
			;
}

/* ---- reading and answering ----------------------------------------------------------------- */

static bool read_request(int fd, struct truth_request *ret_request)
{
	return recv(fd, ret_request, sizeof(*ret_request), MSG_WAITALL) == (ssize_t)sizeof(*ret_request);
}

static bool send_all(int fd, size_t bytes)
{
	static const char zeros[BODY_MAX];
	for (size_t sent = 0; sent < bytes;) {
		ssize_t now = send(fd, zeros, bytes - sent, MSG_NOSIGNAL);
		if (now < 0)
			return false;
		sent += (size_t)now;
	}
	return true;
}

static bool send_file(int fd, int file, size_t bytes)
{
	off_t offset = 0;
	while ((size_t)offset < bytes)
		if (sendfile(fd, file, &offset, bytes - (size_t)offset) <= 0)
			return false;
	return true;
}

static void note(const struct truth_server *server, const struct truth_request *request, uint64_t ns)
{
	if (request->sequence < TRUTH_REQUESTS)
		server->cost_ns[request->sequence] += ns;
}

/* Asks the upstream server; *upstream is -1 before the first time. */
static void pass_on(const struct truth_server *server, const struct truth_request *request, int *upstream)
{
	static _Thread_local char body[BODY_MAX];
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(server->upstream_port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	if (*upstream < 0) {
		int on = 1;
		*upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(*upstream, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (connect(*upstream, (struct sockaddr *)&to, sizeof(to)) < 0)
			_exit(1);
	}
	if (send(*upstream, request, sizeof(*request), MSG_NOSIGNAL) != (ssize_t)sizeof(*request) ||
		recv(*upstream, body, server->body_bytes, MSG_WAITALL) != (ssize_t)server->body_bytes)
		_exit(1);
}

static void work(const struct truth_server *server, const struct truth_request *request, int *upstream)
{
	if (server->mode == TRUTH_PROXY) {
		pass_on(server, request, upstream);
		return;
	}
	if (server->mode != TRUTH_SLEEPING) {
		burn(request->work_us);
		return;
	}
	for (int i = 0; i < 3; i++) {
		burn(request->work_us / 3);
		poll(NULL, 0, 2);
	}
}

/* A connection from its first request to its end, by one thread. */
static void serve_connection(const struct truth_server *server, int fd)
{
	struct truth_request request;
	int file = -1, upstream = -1;
	if (server->mode == TRUTH_SENDFILE) {
		file = memfd_create("body", MFD_CLOEXEC);
		if (ftruncate(file, BODY_MAX) < 0)
			_exit(1);
	}
	for (;;) {
		uint64_t before = thread_ns();
		if (!read_request(fd, &request))
			break;
		work(server, &request, &upstream);
		size_t half = server->body_bytes / 2;
		bool sent = file >= 0 ? send_file(fd, file, server->body_bytes)
				      : send_all(fd, half) && send_all(fd, server->body_bytes - half);
		if (!sent)
			break;
		note(server, &request, thread_ns() - before);
	}
	close(fd);
	if (file >= 0)
		close(file);
	if (upstream >= 0)
		close(upstream);
}

/* ---- architectures --------------------------------------------------------------------------- */

struct connection {
	const struct truth_server *server;
	int fd;
};

static void *connection_thread(void *arg)
{
	struct connection connection = *(struct connection *)arg;
	free(arg);
	serve_connection(connection.server, connection.fd);
	return NULL;
}

static int accept_one(int listener)
{
	int fd, on = 1;
	while ((fd = accept(listener, NULL, NULL)) < 0)
		if (errno != EINTR && errno != ECONNABORTED)
			_exit(1);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void run_threads(const struct truth_server *server, int listener)
{
	for (;;) {
		struct connection *connection = malloc(sizeof(*connection));
		*connection = (struct connection){server, accept_one(listener)};
		pthread_t thread;
		if (pthread_create(&thread, NULL, connection_thread, connection) != 0)
			_exit(1);
		pthread_detach(thread);
	}
}

static void run_loop(const struct truth_server *server, int listener)
{
	struct pollfd fds[CONNECTIONS] = {{.fd = listener, .events = POLLIN}};
	nfds_t count = 1;
	for (;;) {
		uint64_t before = thread_ns();
		if (poll(fds, count, -1) < 0)
			_exit(1);
		if ((fds[0].revents & POLLIN) && count < CONNECTIONS)
			fds[count++] = (struct pollfd){.fd = accept_one(listener), .events = POLLIN};
		for (nfds_t i = 1; i < count; i++) {
			struct truth_request request;
			if (!(fds[i].revents & (POLLIN | POLLHUP)))
				continue;
			if (!read_request(fds[i].fd, &request)) {
				close(fds[i].fd);
				fds[i--] = fds[--count];
				continue;
			}
			burn(request.work_us);
			send_all(fds[i].fd, server->body_bytes / 2);
			send_all(fds[i].fd, server->body_bytes - server->body_bytes / 2);
			uint64_t now = thread_ns();
			note(server, &request, now - before);
			before = now;
		}
	}
}

static void run_processes(const struct truth_server *server, int listener)
{
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; server->mode == TRUTH_PREFORK && i < PREFORKED; i++) {
		if (fork() != 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			serve_connection(server, accept_one(listener));
	}
	while (server->mode == TRUTH_PREFORK)
		pause();
	for (;;) {
		int fd = accept_one(listener);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve_connection(server, fd);
			_exit(0);
		}
		close(fd);
	}
}

/* Work that is handed over: to POOL workers that answer, or to WORKERS that do a part each. */
struct desk {
	const struct truth_server *server;
	pthread_mutex_t lock;
	pthread_cond_t some, finished;
	struct truth_request request;
	int fd;
	unsigned parts, unfinished; /* parts: not yet taken */
};

static void *desk_worker(void *arg)
{
	struct desk *desk = arg;
	for (;;) {
		pthread_mutex_lock(&desk->lock);
		while (desk->parts == 0)
			pthread_cond_wait(&desk->some, &desk->lock);
		uint64_t before = thread_ns();
		desk->parts--;
		struct truth_request request = desk->request;
		int fd = desk->fd;
		bool answers = desk->server->mode == TRUTH_POOL;
		pthread_mutex_unlock(&desk->lock);
		burn(answers ? request.work_us : request.work_us / WORKERS);
		if (answers) {
			send_all(fd, desk->server->body_bytes / 2);
			send_all(fd, desk->server->body_bytes - desk->server->body_bytes / 2);
		}
		uint64_t spent = thread_ns() - before;
		pthread_mutex_lock(&desk->lock);
		note(desk->server, &request, spent);
		if (--desk->unfinished == 0)
			pthread_cond_signal(&desk->finished);
		pthread_mutex_unlock(&desk->lock);
	}
	return NULL;
}

static void *desk_reader(void *arg)
{
	struct connection *connection = arg;
	struct desk desk = {.server = connection->server, .fd = connection->fd};
	bool pool = desk.server->mode == TRUTH_POOL;
	pthread_mutex_init(&desk.lock, NULL);
	pthread_cond_init(&desk.some, NULL);
	pthread_cond_init(&desk.finished, NULL);
	pthread_t thread;
	for (int i = 0; i < (pool ? POOL : WORKERS); i++)
		if (pthread_create(&thread, NULL, desk_worker, &desk) != 0)
			_exit(1);
	for (;;) {
		struct truth_request request;
		uint64_t before = thread_ns();
		if (!read_request(desk.fd, &request)) {
			close(desk.fd);
			pause(); /* the desk and its workers stay; a server lives for some seconds */
		}
		pthread_mutex_lock(&desk.lock);
		desk.request = request;
		desk.parts = desk.unfinished = pool ? 1 : WORKERS;
		note(desk.server, &request, thread_ns() - before);
		if (pool)
			pthread_cond_signal(&desk.some);
		else
			pthread_cond_broadcast(&desk.some);
		while (desk.unfinished > 0)
			pthread_cond_wait(&desk.finished, &desk.lock);
		pthread_mutex_unlock(&desk.lock);
		if (pool)
			continue;
		before = thread_ns();
		send_all(desk.fd, desk.server->body_bytes / 2);
		send_all(desk.fd, desk.server->body_bytes - desk.server->body_bytes / 2);
		note(desk.server, &request, thread_ns() - before);
	}
	return NULL;
}

static void run_desks(const struct truth_server *server, int listener)
{
	for (;;) {
		struct connection *connection = malloc(sizeof(*connection));
		*connection = (struct connection){server, accept_one(listener)};
		pthread_t thread;
		if (pthread_create(&thread, NULL, desk_reader, connection) != 0)
			_exit(1);
	}
}

static void *background_thread(void *arg)
{
	for (;;) {
		burn(3000);
		poll(NULL, 0, 7);
	}
	return arg;
}

static void run(const struct truth_server *server, int listener)
{
	pthread_t thread;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "truth");
	if (server->background && pthread_create(&thread, NULL, background_thread, NULL) != 0)
		_exit(1);
	if (server->mode == TRUTH_LOOP)
		run_loop(server, listener);
	else if (server->mode == TRUTH_PREFORK || server->mode == TRUTH_FORK)
		run_processes(server, listener);
	else if (server->mode == TRUTH_POOL || server->mode == TRUTH_WORKERS)
		run_desks(server, listener);
	else
		run_threads(server, listener);
}

void truth_start(struct truth_server *server, const struct netns *netns)
{
	size_t size = TRUTH_REQUESTS * sizeof(uint64_t);
	server->cost_ns = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(server->cost_ns != MAP_FAILED);
	int listener = netns_socket(netns, AF_INET, 0);
	listen_on(listener, AF_INET, server->port);
	server->pid = fork();
	assert_true(server->pid >= 0);
	if (server->pid == 0) {
		if (setns(netns->fd, CLONE_NEWNET) < 0)
			_exit(1);
		run(server, listener);
		_exit(0);
	}
	close(listener);
}

void truth_stop(struct truth_server *server)
{
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	munmap((void *)(uintptr_t)server->cost_ns, TRUTH_REQUESTS * sizeof(uint64_t));
}
