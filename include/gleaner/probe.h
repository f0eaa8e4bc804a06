/* probe: what only the kernel can tell: a port that starts to listen, and the CPU that a target burns to answer a scrape.
 *
 * Three parts.
 *   loader     `gleaner probe`, the privileged process (CAP_BPF + CAP_PERFMON): loads and attaches bpf/, hands descriptors over a Unix
 *              socket, gives up everything else, waits. When it ends everything is detached; nothing is pinned.
 *   consumer   core: maps the ring buffer and the cost slots from those descriptors. Calls bpf(2) never, needs no capability.
 *              scraper: the cost slots alone (struct cost).
 *   listeners  core: events and snapshots -> ports of pods that opened and closed. Pure bookkeeping, time comes from a clock.
 *
 * libbpf lives in the loader. All of it is optional: built without eBPF the loader says so, and the rest compiles.
 */
#pragma once

#include <sys/types.h>

#include "gleaner/base.h"

#include "bpf/cost.h"
#include "bpf/listen.h"

/* ---- loader ----------------------------------------------------------------------- */

/* `gleaner probe`: argv[0] is the word "probe".
 *   --check          loads and attaches everything, prints a line per program (name, state, reason), detaches; 0 when all is attached, else 3
 *   --fd N           serves one core over the connected SOCK_SEQPACKET socket N until it hangs up (how core starts a child)
 *   --listen PATH    serves one core after the other over a SOCK_SEQPACKET socket at PATH; the path's folder guards it
 *   --peer-uid UID   with --listen: who may connect besides root; own uid when left out
 *   --off NAME       leaves a program out, as if the kernel did not have it; may be repeated
 *   --strict         exits with 3 instead of serving with a program missing
 * Returns the exit status: 0, 1 failure, 2 usage, 3 as above. Writes to stdout and stderr. */
int probe_main(int argc, char **argv);

enum probe_state {
	PROBE_OFF, /* not asked for, or another program stands in for it */
	PROBE_ATTACHED,
	PROBE_UNSUPPORTED, /* the kernel has no such hook */
	PROBE_DENIED,      /* the reason names the missing right */
	PROBE_FAILED,
};
/* "attached", ... */
const char *probe_state_name(enum probe_state state);

struct probe_program {
	char name[24]; /* "on_listen" */
	uint32_t state;
	int32_t error; /* errno of the attempt, 0 when attached */
	char reason[96];
};

enum { PROBE_VERSION = 1, PROBE_PROGRAMS = 16 };

/* The loader's first message. Its descriptors, in this order: ring and .bss of listen, when `listen` is set; slots and .bss of cost,
 * when `cost` is set. */
struct probe_hello {
	uint32_t version;                /* PROBE_VERSION */
	uint32_t listen, snapshot, cost; /* 0 or 1: what works */
	uint32_t listen_version, cost_version;
	uint32_t byte_counts; /* cost: rx_bytes and tx_bytes are counted (kernel 6.3) */
	uint32_t program_count;
	struct probe_program programs[PROBE_PROGRAMS];
};

/* ---- consumer: core ----------------------------------------------------------------- */

struct probe;

/* Receives the hello that waits on `socket` (SOCK_SEQPACKET; call it when it is readable) and maps what comes with it.
 * The socket is the probe's when 0 is returned. 0; -EPROTO not a hello of this version; -ECONNRESET hung up; -errno. */
int probe_new(int socket, struct probe **ret_probe, struct error *err);
void probe_free(struct probe *probe);
const struct probe_hello *probe_hello(const struct probe *probe);

/* For the event loop. Readable: call probe_event until it returns 0. -1 when hello->listen is 0. */
int probe_events_fd(const struct probe *probe);
/* 1 and a copy of the next event, 0 none now. No system call. */
int probe_event(struct probe *probe, struct listen_event *ret_event);
/* Counters that BPF keeps; NULL when hello->listen is 0. */
const struct listen_shared *probe_listen_counters(const struct probe *probe);

/* Asks for all sockets that listen now. 0, -EOPNOTSUPP (hello->snapshot is 0), -errno. The answer makes probe_socket readable. */
int probe_ask_snapshot(struct probe *probe);
int probe_socket(const struct probe *probe);
/* When probe_socket is readable: 1 and the snapshot's descriptor (the caller's to close), 0 nothing, -ECONNRESET the loader is gone,
 * other -errno: this snapshot failed. */
int probe_answer(struct probe *probe, int *ret_snapshot_fd);
/* Reads up to `max` records of a snapshot: their number, 0 at the end, -errno. About 0.3 us per open file of the node in all. */
ssize_t probe_snapshot_read(int snapshot_fd, struct listen_event *ret_events, size_t max);

/* Descriptors of the cost maps, to be passed on to a scraper; they stay the probe's. -EOPNOTSUPP when hello->cost is 0. */
int probe_cost_fds(const struct probe *probe, int *ret_slots_fd, int *ret_shared_fd);

/* ---- consumer: cost of a scrape, core and scraper ------------------------------------- */

/* One slot per connection. Order of one connection:
 *   core      cost_dial, connect(), cost_dialed                 so that BPF knows the socket before the first byte
 *   scraper   cost_open, request, response, some ms, cost_close  for each request on it */
struct cost {
	struct cost_slot *slots; /* COST_SLOTS */
	struct cost_shared *shared;
};

/* 0 or -errno; the descriptors may be closed afterwards. */
int cost_map(int slots_fd, int shared_fd, struct cost *ret_cost);
void cost_unmap(struct cost *cost);
/* Before connect() of an unconnected TCP socket: BPF will tie it to the slot. One dial at a time in the whole agent. 0 or -errno. */
int cost_dial(struct cost *cost, uint32_t slot, int socket);
/* After connect() returned (also with EINPROGRESS). false: BPF has not seen it, the connection cannot be measured. */
bool cost_dialed(struct cost *cost, uint32_t slot);
/* Opens a window: port is the server's. Between the windows of one connection nothing need be registered again. */
void cost_open(struct cost *cost, uint32_t slot, uint16_t port, uint64_t now_mono_ns);
/* Closes it and copies the result. true when BPF recognised the request; else nothing was measured. */
bool cost_close(struct cost *cost, uint32_t slot, struct cost_slot *ret_slot);

/* ---- listeners: ports of pods --------------------------------------------------------- */

/* Pod UID and container ID in the names of a cgroup, `path` as of /proc/PID/cgroup or "parent/leaf": both cgroup drivers, static pods,
 * CRI-O, docker, kind, nested. The pod's UID comes out with dashes, or as the 32 hex digits of a static pod. */
struct cgroup_name {
	char pod_uid[40];      /* "" when the path names no pod */
	char container_id[72]; /* 64 hex digits, or "" */
};
/* true when a pod is named. Pure; linear. */
bool cgroup_name_parse(struct span path, struct cgroup_name *ret_name);
/* The same of the cgroup whose directory below `root` ("/sys/fs/cgroup") has this inode. 1, 0 no such cgroup or no pod's, -errno.
 * Walks the tree: some ms on a node with thousands of cgroups. */
int cgroup_name_by_id(const char *root, uint64_t id, struct cgroup_name *ret_name);

struct listener {
	char pod_uid[40]; /* "" not known: no pod's cgroup, and no pod is known in that namespace */
	char container_id[72];
	uint64_t netns_cookie;
	uint32_t netns;
	uint16_t family, port; /* 0: the kernel chose it, not known until the next snapshot */
	uint8_t address[16];
	uint8_t flags; /* LISTEN_V6ONLY, ... */
	char comm[17];
	uint64_t opened_ns; /* monotonic; when it was first seen for a snapshot's */
};

struct listeners_events {
	/* The port counts as open: it stayed so for `settle`, or it was in a snapshot. */
	void (*opened)(void *arg, const struct listener *listener);
	/* It had closed and opened again within `grace`, and stayed so for `settle`: never closed, but another server. May be NULL. */
	void (*reopened)(void *arg, const struct listener *listener);
	/* It has been closed for longer than `grace`. */
	void (*closed)(void *arg, const struct listener *listener);
	/* A cgroup of a pod that listeners_pod_add has not named: worth asking the kubelet. At most one a second in all. */
	void (*nudge)(void *arg, const char *pod_uid);
	/* Asked once per cgroup whose names do not tell the pod: cgroup_name_by_id, usually. NULL: such ports are nobody's. */
	bool (*cgroup)(void *arg, uint64_t cgroup_id, struct cgroup_name *ret_name);
	void *arg;
};

struct listeners_limits {
	uint64_t settle_ns;       /* 1 ms: a listen() that fails opens and closes */
	uint64_t grace_ns;        /* 5 s: a port that opens again meanwhile was never closed */
	uint64_t flap_window_ns;  /* 60 s: more than flap_closes closes in it, */
	uint32_t flap_closes;     /* 5, */
	uint64_t flap_settle_ns;  /* 10 s: and the port must stay open that long */
	uint64_t resync_ns;       /* 10 s: least time between snapshots after an overflow */
	uint64_t reconcile_ns;    /* 5 min: snapshot without a cause */
	size_t max_listeners;     /* 16,384, and */
	size_t max_per_namespace; /* 1,024, so that one pod cannot crowd out the others; more are not kept, counted */
};
struct listeners_limits listeners_default_limits(void);

struct listeners_counters {
	uint64_t events, overflows, flaps, disagreements, unattributed, over_limit, snapshots;
	uint64_t listeners; /* now */
};

struct listeners;
int listeners_new(struct clock clock, struct listeners_limits limits, struct listeners_events events,
	struct listeners **ret_listeners);
void listeners_free(struct listeners *listeners);

/* Pods of this node, as the kubelet tells them. Host-network pods share a namespace: they are told apart by cgroup only. */
int listeners_pod_add(struct listeners *listeners, const char *pod_uid, bool host_network);
void listeners_pod_remove(struct listeners *listeners, const char *pod_uid);

/* A live event. 0, -ENOMEM. */
int listeners_event(struct listeners *listeners, const struct listen_event *event);
/* A snapshot in any number of pieces. What it does not name and was there before `begin` is closed when `complete`. */
void listeners_snapshot_begin(struct listeners *listeners);
int listeners_snapshot_add(struct listeners *listeners, const struct listen_event *events, size_t count);
void listeners_snapshot_end(struct listeners *listeners, bool complete);
/* Events were lost, or the loader came back: a snapshot is wanted soon. */
void listeners_lost(struct listeners *listeners);
/* true when a snapshot should be asked for now (the question counts as asked). */
bool listeners_want_snapshot(struct listeners *listeners);
/* Two dials in a row were refused: the port is closed, whatever was heard. */
void listeners_refused(struct listeners *listeners, const struct listener *listener);

/* Does what is due. Returns when to call again (monotonic), UINT64_MAX never. */
uint64_t listeners_run(struct listeners *listeners);
/* All ports that count as open, in no order. */
void listeners_each(
	const struct listeners *listeners, void (*visit)(void *arg, const struct listener *listener), void *arg);
struct listeners_counters listeners_counters(const struct listeners *listeners);
