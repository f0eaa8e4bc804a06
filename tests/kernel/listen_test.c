/* Listening sockets as the real program tells them. */
#include "kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

struct kernel {
	struct loader loader;
	struct netns netns;
	/* Sockets by what user space knows of them, and the id that their first event gave them. */
	struct {
		uint64_t cookie, id;
	} sockets[8];
	size_t socket_count;
};

static int setup(void **state)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	loader_start(&kernel->loader, NULL);
	assert_true(probe_hello(kernel->loader.probe)->listen);
	netns_new(&kernel->netns);
	*state = kernel;
	return 0;
}

static int teardown(void **state)
{
	struct kernel *kernel = *state;
	netns_free(&kernel->netns);
	loader_stop(&kernel->loader);
	free(kernel);
	return 0;
}

/* The id is the cookie. A kernel that does not tell cookies (netns_cookie is 0) gives an id that is the socket's as long as it lives. */
static void assert_id(struct kernel *kernel, const struct listen_head *head, uint64_t cookie)
{
	if (head->netns_cookie != 0) {
		assert_int_equal(head->socket_id, cookie);
		return;
	}
	for (size_t i = 0; i < kernel->socket_count; i++) {
		if (kernel->sockets[i].cookie == cookie) {
			assert_int_equal(head->socket_id, kernel->sockets[i].id);
			return;
		}
		assert_int_not_equal(head->socket_id, kernel->sockets[i].id);
	}
	assert_int_not_equal(head->socket_id, 0);
	assert_true(kernel->socket_count < ARRAY_SIZE(kernel->sockets));
	kernel->sockets[kernel->socket_count].cookie = cookie;
	kernel->sockets[kernel->socket_count++].id = head->socket_id;
}

static struct listen_event assert_event(struct kernel *kernel, enum listen_kind kind, uint64_t cookie, uint16_t port)
{
	struct listen_event event = next_event(&kernel->loader, &kernel->netns);
	assert_int_equal(event.head.kind, kind);
	assert_int_equal(event.head.port, port);
	assert_id(kernel, &event.head, cookie);
	return event;
}

static void open_and_close(struct kernel *kernel, int family)
{
	int fd = netns_socket(&kernel->netns, family, 0);
	uint64_t cookie = cookie_of(fd), netns_cookie = 0, before = now_ns();
	socklen_t size = sizeof(netns_cookie);
	listen_on(fd, family, 9100);
	struct listen_event event = assert_event(kernel, LISTEN_OPEN, cookie, 9100);
	assert_true(event.head.time_ns > before && event.head.time_ns < now_ns());
	assert_int_equal(event.head.family, family);
	assert_int_equal(event.head.version, LISTEN_VERSION);
	assert_int_equal(event.head.tgid, getpid());
	assert_int_equal(event.head.tid, syscall(SYS_gettid));
	char comm[17] = {0};
	prctl(PR_GET_NAME, comm);
	assert_string_equal(event.head.comm, comm);
	if (getsockopt(fd, SOL_SOCKET, 71 /* SO_NETNS_COOKIE, 5.14 */, &netns_cookie, &size) == 0)
		assert_int_equal(event.head.netns_cookie, netns_cookie);
	close(fd);
	assert_event(kernel, LISTEN_CLOSE, cookie, 9100);
	no_event(&kernel->loader, &kernel->netns);
}

static void a_v4_listener_is_told_when_it_opens_and_closes(void **state)
{
	open_and_close(*state, AF_INET);
}

static void a_v6_listener_is_told_when_it_opens_and_closes(void **state)
{
	open_and_close(*state, AF_INET6);
}

static void the_address_is_the_bound_one(void **state)
{
	struct kernel *kernel = *state;
	int fd = netns_socket(&kernel->netns, AF_INET, 0), fd6 = netns_socket(&kernel->netns, AF_INET6, 0), on = 1;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(81), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(82), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	setsockopt(fd6, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&v4, sizeof(v4)), 0);
	assert_int_equal(bind(fd6, (struct sockaddr *)&v6, sizeof(v6)), 0);
	assert_int_equal(listen(fd, 1), 0);
	struct listen_event event = assert_event(kernel, LISTEN_OPEN, cookie_of(fd), 81);
	assert_memory_equal(event.head.address, "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(event.head.flags, 0);
	assert_int_equal(listen(fd6, 1), 0);
	event = assert_event(kernel, LISTEN_OPEN, cookie_of(fd6), 82);
	assert_memory_equal(event.head.address, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_int_equal(event.head.flags, LISTEN_V6ONLY);
	close(fd);
	close(fd6);
}

static void a_port_of_the_kernels_choice_is_named_by_the_snapshot(void **state)
{
	struct kernel *kernel = *state;
	int fd = netns_socket(&kernel->netns, AF_INET, 0);
	uint64_t cookie = cookie_of(fd);
	listen_on(fd, AF_INET, 0);
	assert_event(kernel, LISTEN_OPEN, cookie, 0);
	struct listen_event named[4];
	if (has_snapshot(&kernel->loader)) {
		assert_int_equal(snapshot_of(&kernel->loader, &kernel->netns, named, 4), 1);
		assert_id(kernel, &named[0].head, cookie);
		assert_int_equal(named[0].head.port, port_of(fd));
	}
	close(fd);
	assert_event(kernel, LISTEN_CLOSE, cookie, 0);
}

static void every_socket_of_a_shared_port_is_told(void **state)
{
	struct kernel *kernel = *state;
	int fds[2], on = 1;
	for (int i = 0; i < 2; i++) {
		fds[i] = netns_socket(&kernel->netns, AF_INET, 0);
		assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
		listen_on(fds[i], AF_INET, 83);
		struct listen_event event = assert_event(kernel, LISTEN_OPEN, cookie_of(fds[i]), 83);
		assert_int_equal(event.head.flags, LISTEN_REUSEPORT);
	}
	uint64_t second = cookie_of(fds[1]), first = cookie_of(fds[0]);
	close(fds[1]);
	assert_event(kernel, LISTEN_CLOSE, second, 83);
	close(fds[0]);
	assert_event(kernel, LISTEN_CLOSE, first, 83);
}

static void a_forked_listener_closes_with_its_last_holder(void **state)
{
	struct kernel *kernel = *state;
	int fd = netns_socket(&kernel->netns, AF_INET, 0), gate[2];
	uint64_t cookie = cookie_of(fd);
	listen_on(fd, AF_INET, 84);
	assert_event(kernel, LISTEN_OPEN, cookie, 84);
	assert_int_equal(pipe(gate), 0);
	pid_t child = fork();
	if (child == 0) {
		char byte;
		close(gate[1]);
		_exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(fd);
	no_event(&kernel->loader, &kernel->netns);
	close(gate[0]);
	close(gate[1]);
	waitpid(child, NULL, 0);
	assert_event(kernel, LISTEN_CLOSE, cookie, 84);
}

static void a_listen_that_fails_opens_and_closes(void **state)
{
	struct kernel *kernel = *state;
	int fds[2], on = 1;
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(85)};
	for (int i = 0; i < 2; i++) {
		fds[i] = netns_socket(&kernel->netns, AF_INET, 0);
		assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
		assert_int_equal(bind(fds[i], (struct sockaddr *)&any, sizeof(any)), 0);
	}
	assert_int_equal(listen(fds[0], 1), 0);
	assert_event(kernel, LISTEN_OPEN, cookie_of(fds[0]), 85);
	uint64_t second = cookie_of(fds[1]);
	assert_int_equal(listen(fds[1], 1), -1);
	assert_int_equal(errno, EADDRINUSE);
	struct listen_event event = next_event(&kernel->loader, &kernel->netns);
	assert_id(kernel, &event.head, second);
	event = next_event(&kernel->loader, &kernel->netns);
	assert_int_equal(event.head.kind, LISTEN_CLOSE);
	assert_id(kernel, &event.head, second);
	close(fds[0]);
	close(fds[1]);
}

static void a_listener_that_listens_again_keeps_its_id(void **state)
{
	struct kernel *kernel = *state;
	int fd = netns_socket(&kernel->netns, AF_INET, 0);
	uint64_t cookie = cookie_of(fd);
	listen_on(fd, AF_INET, 86);
	assert_event(kernel, LISTEN_OPEN, cookie, 86);
	assert_int_equal(listen(fd, 64), 0); /* another backlog */
	no_event(&kernel->loader, &kernel->netns);
	assert_int_equal(shutdown(fd, SHUT_RD), 0);
	assert_event(kernel, LISTEN_CLOSE, cookie, 86);
	assert_int_equal(listen(fd, 16), 0);
	assert_event(kernel, LISTEN_OPEN, cookie, 86);
	close(fd);
}

static void connections_are_not_told(void **state)
{
	struct kernel *kernel = *state;
	int fd = netns_socket(&kernel->netns, AF_INET, 0);
	listen_on(fd, AF_INET, 87);
	next_event(&kernel->loader, &kernel->netns);
	for (int i = 0; i < 20; i++) {
		struct sockaddr_in to = {
			.sin_family = AF_INET, .sin_port = htons(87), .sin_addr = {htonl(INADDR_LOOPBACK)}};
		int client = netns_socket(&kernel->netns, AF_INET, 0);
		assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof(to)), 0);
		close(accept(fd, NULL, NULL));
		close(client);
	}
	no_event(&kernel->loader, &kernel->netns);
	close(fd);
}

static void count_open(void *arg, const struct listener *listener)
{
	*(unsigned *)arg += listener->port == 88;
}

static void one_listen_of_mptcp_is_one_port(void **state)
{
	struct kernel *kernel = *state;
	int fd = netns_socket(&kernel->netns, AF_INET, IPPROTO_MPTCP);
	if (fd < 0) {
		print_message("this kernel has no MPTCP: skipped\n");
		skip();
	}
	struct listeners *listeners;
	assert_int_equal(
		listeners_new(clock_system(), listeners_default_limits(), (struct listeners_events){0}, &listeners), 0);
	listen_on(fd, AF_INET, 88);
	for (int i = 0; i < 2; i++) {
		struct listen_event event = next_event(&kernel->loader, &kernel->netns);
		assert_int_equal(event.head.kind, LISTEN_OPEN);
		assert_int_equal(listeners_event(listeners, &event), 0);
	}
	poll(NULL, 0, 5);
	unsigned open = 0;
	listeners_run(listeners);
	listeners_each(listeners, count_open, &open);
	assert_int_equal(open, 1);
	listeners_free(listeners);
	close(fd);
}

static void what_listened_before_the_loader_is_in_the_snapshot(void **state)
{
	struct kernel *kernel = *state;
	if (!has_snapshot(&kernel->loader))
		skip();
	int fd = netns_socket(&kernel->netns, AF_INET6, 0);
	listen_on(fd, AF_INET6, 89);
	loader_stop(&kernel->loader);
	loader_start(&kernel->loader, NULL);
	struct listen_event found[4];
	assert_int_equal(snapshot_of(&kernel->loader, &kernel->netns, found, 4), 1);
	assert_int_equal(found[0].head.kind, LISTEN_SNAPSHOT);
	assert_id(kernel, &found[0].head, cookie_of(fd));
	assert_int_equal(found[0].head.port, 89);
	assert_int_equal(found[0].head.tgid, getpid());
	assert_int_equal(found[0].head.fd, fd);
	close(fd);
	assert_int_equal(snapshot_of(&kernel->loader, &kernel->netns, found, 4), 0);
}

/* ---- pods ------------------------------------------------------------------------------------ */

#define CID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "0f5a2cbe-1d2e-4a33-9f10-aabbccddeeff"

static void listen_in_cgroup(struct kernel *kernel, const char *directory)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	FILE *procs = fopen(path, "w");
	int fd = netns_socket(&kernel->netns, AF_INET, 0);
	if (!procs || fprintf(procs, "%d", getpid()) < 0 || fclose(procs) != 0 || fd < 0)
		_exit(1);
	listen_on(fd, AF_INET, 90);
	_exit(0);
}

/* Makes root/gleaner-test-PID/podUID/CID, listens in it, and asserts what the event says of it. */
static void listen_in_pod(struct kernel *kernel, const char *root, bool v1)
{
	char top[200], pod[260], container[400];
	snprintf(top, sizeof(top), "%s/gleaner-test-%d", root, getpid());
	snprintf(pod, sizeof(pod), "%s/pod" UID, top);
	snprintf(container, sizeof(container), "%s/" CID, pod);
	assert_int_equal(mkdir(top, 0755), 0);
	assert_int_equal(mkdir(pod, 0755), 0);
	assert_int_equal(mkdir(container, 0755), 0);
	struct stat about;
	assert_int_equal(stat(container, &about), 0);
	pid_t child = fork();
	if (child == 0)
		listen_in_cgroup(kernel, container);
	int status;
	waitpid(child, &status, 0);
	struct cgroup_name by_id = {0};
	int found = cgroup_name_by_id(root, about.st_ino, &by_id);
	rmdir(container);
	rmdir(pod);
	rmdir(top);
	assert_int_equal(status, 0);
	struct listen_event event = next_event(&kernel->loader, &kernel->netns);
	assert_int_equal(v1 ? event.head.cgroup_v1 : event.head.cgroup_v2, about.st_ino);
	assert_string_equal(v1 ? event.names.v1_leaf : event.names.v2_leaf, CID);
	assert_string_equal(v1 ? event.names.v1_parent : event.names.v2_parent, "pod" UID);
	assert_int_equal(found, 1);
	assert_string_equal(by_id.pod_uid, UID);
	next_event(&kernel->loader, &kernel->netns); /* the close */
}

static void an_event_names_the_cgroup_of_its_pod(void **state)
{
	struct kernel *kernel = *state;
	const struct {
		const char *root;
		bool v1;
	} roots[] = {{"/sys/fs/cgroup/memory", true}, {"/sys/fs/cgroup/unified", false}, {"/sys/fs/cgroup", false}};
	unsigned tried = 0;
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		char procs[200];
		snprintf(procs, sizeof(procs), "%s/cgroup.procs", roots[i].root);
		if (access(procs, W_OK) < 0)
			continue;
		listen_in_pod(kernel, roots[i].root, roots[i].v1);
		tried++;
	}
	assert_true(tried > 0);
}

/* ---- core's rights -------------------------------------------------------------------------- */

/* From here on bpf(2) kills. */
static bool forbid_bpf(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

/* Exit status: 0, or the step that failed. */
static int consume_without_rights(int socket, int listener)
{
	struct listen_event event;
	struct probe *probe;
	struct cost cost;
	int slots, shared, fd;
	if (setgid(65534) < 0 || setuid(65534) < 0 || !forbid_bpf())
		return 1;
	if (probe_new(socket, &probe, NULL) < 0)
		return 2;
	if (listen(listener, 1) < 0 || probe_event(probe, &event) != 1)
		return 3;
	if (probe_hello(probe)->cost &&
		(probe_cost_fds(probe, &slots, &shared) < 0 || cost_map(slots, shared, &cost) < 0))
		return 4;
	if (!probe_hello(probe)->snapshot)
		return 0;
	struct pollfd ready = {.fd = probe_socket(probe), .events = POLLIN};
	if (probe_ask_snapshot(probe) < 0 || poll(&ready, 1, 2000) != 1 || probe_answer(probe, &fd) != 1)
		return 5;
	if (probe_snapshot_read(fd, &event, 1) != 1)
		return 6;
	return 0;
}

static void core_needs_no_right_and_no_bpf_call(void **state)
{
	struct kernel *kernel = *state;
	int sockets[2], listener = netns_socket(&kernel->netns, AF_INET, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
	char number[12];
	snprintf(number, sizeof(number), "%d", sockets[1]);
	pid_t loader = fork();
	if (loader == 0) {
		close(sockets[0]);
		execl(PROBE_TOOL, "probe_tool", "--fd", number, (char *)NULL);
		_exit(127);
	}
	close(sockets[1]);
	struct pollfd ready = {.fd = sockets[0], .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	pid_t core = fork();
	if (core == 0)
		_exit(consume_without_rights(sockets[0], listener));
	close(sockets[0]);
	int status;
	waitpid(core, &status, 0);
	assert_int_equal(status, 0);
	waitpid(loader, &status, 0);
	assert_int_equal(status, 0);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_v4_listener_is_told_when_it_opens_and_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_v6_listener_is_told_when_it_opens_and_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(the_address_is_the_bound_one, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_of_the_kernels_choice_is_named_by_the_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(every_socket_of_a_shared_port_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_forked_listener_closes_with_its_last_holder, setup, teardown),
		cmocka_unit_test_setup_teardown(a_listen_that_fails_opens_and_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_listener_that_listens_again_keeps_its_id, setup, teardown),
		cmocka_unit_test_setup_teardown(connections_are_not_told, setup, teardown),
		cmocka_unit_test_setup_teardown(one_listen_of_mptcp_is_one_port, setup, teardown),
		cmocka_unit_test_setup_teardown(what_listened_before_the_loader_is_in_the_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(an_event_names_the_cgroup_of_its_pod, setup, teardown),
		cmocka_unit_test_setup_teardown(core_needs_no_right_and_no_bpf_call, setup, teardown),
	};
	int skipped = kernel_ready();
	return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
