/* What bpf/listen.bpf.c and user space share: listening sockets as they open and close.
 *
 * An event is a hint, not the truth: events are dropped when the ring is full, and above LISTEN_RATE a second of one network namespace.
 * Bytes that a pod controls (comm, cgroup names) have a fixed length and are escaped before they are shown.
 */
#pragma once

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

enum {
	LISTEN_VERSION = 1,
	LISTEN_RING_BYTES = 1 << 20,
	LISTEN_RATE = 200, /* events a second of one network namespace; the next one becomes LISTEN_OVERFLOW */
	LISTEN_NAME = 96,
};

enum listen_kind { LISTEN_OPEN = 1, LISTEN_CLOSE, LISTEN_SNAPSHOT, LISTEN_OVERFLOW };

enum { LISTEN_V6ONLY = 1, LISTEN_REUSEPORT = 2, LISTEN_MPTCP = 4 };

struct listen_head {
	__u64 time_ns;      /* CLOCK_MONOTONIC; 0 in a snapshot */
	__u64 socket_id;    /* cookie; before 5.12: address of the sock xor a random word */
	__u64 netns_cookie; /* 0: not known (before 5.12) */
	__u64 cgroup_v2;    /* id of the kernfs node = inode of the cgroup's directory */
	__u64 cgroup_v1;    /* of the memory controller's own hierarchy; 0 on a pure v2 host */
	__u32 netns;        /* inode of the nsfs file; numbers are used again */
	__u32 tgid, tid;    /* who called listen(), in the initial pid namespace; snapshot: who has the file */
	__u32 fd;           /* snapshot only */
	__u16 kind;         /* enum listen_kind */
	__u16 family;       /* AF_INET, AF_INET6 */
	__u16 port;         /* 0: OPEN before the kernel chose one; usual at CLOSE of such a port */
	__u8 flags;
	__u8 version;     /* LISTEN_VERSION */
	__u8 address[16]; /* IPv4: the first four bytes */
	char comm[16];
};

/* Names of the cgroup's directory and of the one above; "": the root, or not readable. */
struct listen_names {
	char v2_leaf[LISTEN_NAME], v2_parent[LISTEN_NAME];
	char v1_leaf[LISTEN_NAME], v1_parent[LISTEN_NAME];
};

/* A record of the ring and of the snapshot. OVERFLOW has time_ns, netns and netns_cookie only. */
struct listen_event {
	struct listen_head head;
	struct listen_names names;
};
_Static_assert(sizeof(struct listen_head) == 96, "layout is shared");
_Static_assert(sizeof(struct listen_event) == 480, "layout is shared");

/* The object's whole .bss, mapped by both sides; BPF writes. */
struct listen_shared {
	__u64 events;   /* written to the ring */
	__u64 dropped;  /* the ring was full */
	__u64 overflow; /* above LISTEN_RATE */
};
