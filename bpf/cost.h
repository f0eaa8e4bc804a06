/* What bpf/cost.bpf.c and user space share: what answering one scrape costs the target.
 *
 * One slot per connection while it is open. The agent owns the first 64 bytes, BPF the rest. A *window* is one request on it:
 *   agent  zeroes BPF's part, stores generation (never used before), ports[port] = 1, active += 1, then state = ARMED (release)
 *   BPF    at the first read of the request by the server: RUNNING; adds while threads run
 *   agent  a few ms after the last byte of the response: state = DONE, active -= 1, reads
 * BPF bounds every index and follows no pointer that user space wrote: wrong words here make wrong figures and nothing else.
 */
#pragma once

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

enum { COST_VERSION = 1, COST_SLOTS = 1024, COST_SLOT_BYTES = 512, COST_PORTS = 65536 };

enum cost_state { COST_FREE, COST_ARMED, COST_RUNNING, COST_DONE };

/* cost_slot.flags, written by BPF. */
enum {
	COST_SHARED = 1,        /* a thread of the window served another connection of the same port meanwhile */
	COST_BYTES_UNKNOWN = 2, /* rx_bytes, tx_bytes are not counted on this kernel (before 6.3) */
};

/* `*_at_send`: the sum at the last send; the difference to the full sum is the tail. */
struct cost_sum {
	__u64 cpu_ns, cpu_at_send_ns;
	__u32 switches, switches_at_send; /* times a thread was taken off its CPU */
	__u32 threads, reserved;
};
_Static_assert(sizeof(struct cost_sum) == 32, "layout is shared");

struct cost_slot {
	/* the agent's */
	__u64 generation, opened_ns;
	__u32 state, reserved_agent;
	__u8 pad[40];
	/* BPF's */
	__u64 cookie; /* of our own socket; set while connect() runs: proof that BPF saw the dial */
	__u32 tgid, tid, netns, local_port; /* the server that read the request */
	__u64 cgroup_v2, cgroup_v1;
	__u64 first_recv_ns, first_send_ns, last_send_ns; /* CLOCK_MONOTONIC */
	__u64 rx_bytes, tx_bytes;
	__u32 recvs, sends;
	__u32 flags, hop_tgid;    /* the last process that answered the target itself */
	__u32 hops, reserved_bpf; /* messages that marked threads sent to other servers */
	struct cost_sum thread;   /* T: threads that read or write the connection */
	struct cost_sum causal;   /* C - T: threads of the same process that those woke or started, and theirs */
	struct cost_sum other;    /* X: servers that those asked, and processes that they forked */
	char comm[16];
	__u8 reserved[232];
};
_Static_assert(sizeof(struct cost_slot) == COST_SLOT_BYTES, "layout is shared");
_Static_assert(__builtin_offsetof(struct cost_slot, cookie) == 64, "BPF's part has its own cache lines");

/* The object's whole .bss, mapped by both sides. */
struct cost_shared {
	__u32 active;            /* open windows; 0: every program returns at once. The agent's */
	__u32 dial_slot;         /* the socket that is being connected: the agent's, one writer, */
	__u64 dial_cookie;       /* 0 when there is none */
	__u64 no_mark, no_watch; /* BPF's: a thread or a connection that did not fit into a map */
	__u8 pad[32];
	__u8 ports[COST_PORTS]; /* != 0: a window may be open on this server port. The agent's */
};
_Static_assert(__builtin_offsetof(struct cost_shared, ports) == 64, "layout is shared");
