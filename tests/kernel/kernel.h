/* What the kernel tests share: a real loader as a child process, network namespaces of our own, the BPF objects of a process.
 *
 * The node is not ours alone: every test looks at events of its own namespaces only.
 */
#pragma once

#include <sys/types.h>

#include "test.h"

#include "gleaner/probe.h"

enum { KERNEL_SKIPPED = 77 };

/* 0, or KERNEL_SKIPPED after saying loudly why. */
int kernel_ready(void);
/* The same where nothing can be tested but costs, by what a loader says of this kernel. */
int kernel_measures(void);

struct loader {
	pid_t pid;
	struct probe *probe;
};

/* Starts `probe_tool --fd N [extra...]` and takes its hello. extra: NULL-terminated, or NULL. */
void loader_start(struct loader *loader, const char *const *extra);
/* Hangs up and waits for its end; fails the test when it did not end well. */
void loader_stop(struct loader *loader);
/* What a loader can do here as root: what a test may expect of this kernel, whatever its version. */
struct probe_hello loader_asked(void);

struct netns {
	int fd;
	uint32_t inode;
};
/* A network namespace with its loopback up. */
void netns_new(struct netns *ret_netns);
void netns_free(struct netns *netns);
/* A stream socket in it; protocol 0 or IPPROTO_MPTCP. -1 with errno. */
int netns_socket(const struct netns *netns, int family, int protocol);
/* Binds to the wildcard address and port (0: does not bind) and listens. */
void listen_on(int fd, int family, uint16_t port);
uint64_t cookie_of(int fd);
uint16_t port_of(int fd);

/* The next event of the namespace; fails the test when there is none within two seconds. */
struct listen_event next_event(struct loader *loader, const struct netns *netns);
/* Asserts that the namespace has none, which takes 50 ms. */
void no_event(struct loader *loader, const struct netns *netns);
/* Whether there are snapshots here; says so when not. */
bool has_snapshot(const struct loader *loader);
/* All records of a snapshot that are of the namespace, at most max; their number. */
size_t snapshot_of(struct loader *loader, const struct netns *netns, struct listen_event *ret_events, size_t max);

enum bpf_kind { BPF_PROGRAMS, BPF_MAPS, BPF_LINKS, BPF_KINDS };

/* The BPF objects that a process holds, by their numbers; what others on the machine have does not matter. */
struct bpf_objects {
	uint32_t ids[BPF_KINDS][64];
	unsigned count[BPF_KINDS];
};
void bpf_objects_of(pid_t pid, struct bpf_objects *ret_objects);
/* Waits up to two seconds until that many of them are left, for the kernel frees late; fails the test when it is another number. */
void assert_left(const struct bpf_objects *objects, unsigned programs, unsigned maps, unsigned links);

uint64_t now_ns(void);
/* CPU time of a whole process, by its clock. */
uint64_t process_cpu_ns(pid_t pid);
