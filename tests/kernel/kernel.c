#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int kernel_ready(void)
{
	const char *missing = geteuid() != 0                                ? "root"
			      : access("/sys/kernel/btf/vmlinux", R_OK) < 0 ? "BTF in the kernel"
									    : NULL;
	if (!missing)
		return 0;
	fprintf(stderr, "\n*** SKIPPED: the eBPF programs are not tested here, it needs %s ***\n\n", missing);
	return KERNEL_SKIPPED;
}

int kernel_measures(void)
{
	int skipped = kernel_ready();
	if (skipped != 0 || loader_asked().cost)
		return skipped;
	fprintf(stderr, "\n*** SKIPPED: costs are not tested here, this kernel cannot measure them (5.11) ***\n\n");
	return KERNEL_SKIPPED;
}

uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t process_cpu_ns(pid_t pid)
{
	struct timespec cpu = {0};
	clockid_t clock;
	if (clock_getcpuclockid(pid, &clock) == 0)
		clock_gettime(clock, &cpu);
	return (uint64_t)cpu.tv_sec * NS_PER_SEC + (uint64_t)cpu.tv_nsec;
}

/* ---- the loader ------------------------------------------------------------------------ */

void loader_start(struct loader *loader, const char *const *extra)
{
	int sockets[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	const char *argv[16] = {PROBE_TOOL, "--fd", "3"};
	for (size_t i = 0; extra && extra[i]; i++)
		argv[3 + i] = extra[i];
	loader->pid = fork();
	assert_true(loader->pid >= 0);
	if (loader->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (sockets[1] == 3)
			fcntl(3, F_SETFD, 0);
		else
			dup2(sockets[1], 3);
		execv(PROBE_TOOL, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(sockets[1]);
	struct pollfd ready = {.fd = sockets[0], .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	struct error err = {0};
	if (probe_new(sockets[0], &loader->probe, &err) < 0)
		fail_msg("%s", err.text);
}

void loader_stop(struct loader *loader)
{
	int status;
	probe_free(loader->probe);
	assert_int_equal(waitpid(loader->pid, &status, 0), loader->pid);
	assert_int_equal(status, 0);
}

struct probe_hello loader_asked(void)
{
	struct loader loader;
	loader_start(&loader, NULL);
	struct probe_hello hello = *probe_hello(loader.probe);
	loader_stop(&loader);
	return hello;
}

/* ---- namespaces and sockets ------------------------------------------------------------ */

static void loopback_up(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

void netns_new(struct netns *ret_netns)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(own >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	loopback_up();
	struct netns netns = {.fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)};
	assert_true(netns.fd >= 0);
	assert_int_equal(setns(own, CLONE_NEWNET), 0);
	close(own);
	struct stat about;
	assert_int_equal(fstat(netns.fd, &about), 0);
	netns.inode = (uint32_t)about.st_ino;
	*ret_netns = netns;
}

void netns_free(struct netns *netns)
{
	close(netns->fd);
}

int netns_socket(const struct netns *netns, int family, int protocol)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(own >= 0);
	assert_int_equal(setns(netns->fd, CLONE_NEWNET), 0);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol), saved = errno;
	assert_int_equal(setns(own, CLONE_NEWNET), 0);
	close(own);
	errno = saved;
	return fd;
}

void listen_on(int fd, int family, uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	assert_true(fd >= 0);
	if (port != 0 && family == AF_INET)
		assert_int_equal(bind(fd, (struct sockaddr *)&v4, sizeof(v4)), 0);
	if (port != 0 && family == AF_INET6)
		assert_int_equal(bind(fd, (struct sockaddr *)&v6, sizeof(v6)), 0);
	assert_int_equal(listen(fd, 16), 0);
}

uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size), 0);
	return cookie;
}

uint16_t port_of(int fd)
{
	struct sockaddr_in6 address;
	socklen_t size = sizeof(address);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	return ntohs(address.sin6_port); /* at the same place in both families */
}

/* ---- events ------------------------------------------------------------------------------ */

static bool wait_event(struct loader *loader, const struct netns *netns, int timeout_ms, struct listen_event *ret_event)
{
	uint64_t end = now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	do {
		while (probe_event(loader->probe, ret_event) == 1)
			if (ret_event->head.netns == netns->inode)
				return true;
		struct pollfd ready = {.fd = probe_events_fd(loader->probe), .events = POLLIN};
		poll(&ready, 1, timeout_ms < 10 ? timeout_ms : 10);
	} while (now_ns() < end);
	return false;
}

struct listen_event next_event(struct loader *loader, const struct netns *netns)
{
	struct listen_event event = {0};
	assert_true(wait_event(loader, netns, 2000, &event));
	return event;
}

void no_event(struct loader *loader, const struct netns *netns)
{
	struct listen_event event;
	assert_false(wait_event(loader, netns, 50, &event));
}

bool has_snapshot(const struct loader *loader)
{
	bool has = probe_hello(loader->probe)->snapshot;
	if (!has)
		print_message("*** this kernel has no snapshot (5.11): without it ***\n");
	return has;
}

size_t snapshot_of(struct loader *loader, const struct netns *netns, struct listen_event *ret_events, size_t max)
{
	struct listen_event some[32];
	size_t count = 0;
	int fd = -1, got;
	assert_int_equal(probe_ask_snapshot(loader->probe), 0);
	struct pollfd ready = {.fd = probe_socket(loader->probe), .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 2000), 1);
	assert_int_equal(probe_answer(loader->probe, &fd), 1);
	while ((got = (int)probe_snapshot_read(fd, some, ARRAY_SIZE(some))) > 0)
		for (int i = 0; i < got; i++)
			if (some[i].head.netns == netns->inode && count < max)
				ret_events[count++] = some[i];
	assert_int_equal(got, 0);
	close(fd);
	return count;
}

/* ---- BPF objects ------------------------------------------------------------------------------ */

static void take_object(const char *path, struct bpf_objects *objects)
{
	static const char *const names[BPF_KINDS] = {"prog_id", "map_id", "link_id"};
	char line[256], name[32];
	uint32_t ids[BPF_KINDS] = {0}, id;
	FILE *info = fopen(path, "r");
	while (info && fgets(line, sizeof(line), info))
		for (int kind = 0; kind < BPF_KINDS; kind++)
			if (sscanf(line, "%31[a-z_]: %u", name, &id) == 2 && strcmp(name, names[kind]) == 0)
				ids[kind] = id;
	if (info)
		fclose(info);
	for (int kind = 0; kind < BPF_KINDS; kind++) {
		if (ids[kind] == 0 || (ids[BPF_LINKS] != 0 && kind != BPF_LINKS)) /* a link names its program too */
			continue;
		assert_true(objects->count[kind] < ARRAY_SIZE(objects->ids[kind]));
		objects->ids[kind][objects->count[kind]++] = ids[kind];
	}
}

void bpf_objects_of(pid_t pid, struct bpf_objects *ret_objects)
{
	char path[64];
	*ret_objects = (struct bpf_objects){0};
	for (int fd = 0; fd < 128; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
		take_object(path, ret_objects);
	}
}

static bool exists(enum bpf_kind kind, uint32_t id)
{
	static const int get_fd_by_id[BPF_KINDS] = {13, 14, 30}; /* BPF_PROG_, BPF_MAP_, BPF_LINK_GET_FD_BY_ID */
	struct {
		uint32_t id, next, flags;
	} attributes = {id, 0, 0};
	long fd = syscall(SYS_bpf, get_fd_by_id[kind], &attributes, sizeof(attributes));
	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

void assert_left(const struct bpf_objects *objects, unsigned programs, unsigned maps, unsigned links)
{
	unsigned left[BPF_KINDS] = {0};
	for (int tries = 0; tries < 200; tries++) {
		for (unsigned kind = 0; kind < BPF_KINDS; kind++) {
			left[kind] = 0;
			for (unsigned i = 0; i < objects->count[kind]; i++)
				left[kind] += exists(kind, objects->ids[kind][i]);
		}
		if (left[BPF_PROGRAMS] == programs && left[BPF_MAPS] == maps && left[BPF_LINKS] == links)
			break;
		poll(NULL, 0, 10);
	}
	assert_int_equal(left[BPF_PROGRAMS], programs);
	assert_int_equal(left[BPF_MAPS], maps);
	assert_int_equal(left[BPF_LINKS], links);
}
