/* probes: what core knows from the kernel about listening ports, and what it does with it. */
#pragma once

#include "gleaner/kube.h"
#include "gleaner/loop.h"
#include "gleaner/probe.h"

struct core;
struct core_target;

enum probes_state {
	PROBES_OFF,     /* not asked for */
	PROBES_WAITING, /* for the next attempt */
	PROBES_STARTING,
	PROBES_RUNNING,
	PROBES_UNABLE, /* this kernel, these rights: will not change by trying again */
};
const char *probes_state_name(enum probes_state state);

struct probes_counters {
	uint64_t starts, deaths, scrapes, nudges;
	uint64_t events, flaps, snapshots,
		unattributed; /* as of struct listeners_counters, over all lives of the probe */
	uint64_t lost_ring, lost_rate;
};

struct probes {
	struct core *core;
	enum probes_state state;
	struct error reason; /* why not running, or what is missing though it runs; "" nothing */
	struct error said;   /* the last reason that was logged */
	pid_t pid;           /* of the child; 0: none */
	int socket;          /* until the hello came; -1 */
	struct loop_watch *socket_watch, *events_watch;
	struct loop_timer *timer;     /* the hello is overdue, or the next attempt */
	struct loop_timer *run_timer; /* of the listeners */
	struct probe *probe;
	struct listeners *listeners;
	struct kube_pods *pods;    /* that the listeners know of */
	uint32_t own_netns;        /* static targets are in it */
	uint64_t connected_ns;     /* monotonic */
	uint64_t seen_from_ns;     /* what opened before was open when the probe came */
	bool snapshot_due_to_run;  /* the ports being told are a snapshot's */
	uint64_t failures;         /* in a row */
	struct probe_hello hello;  /* the last one */
	struct listen_shared base; /* the counters when it came */
	uint64_t dropped_seen;
	struct probes_counters before; /* of earlier lives */
};

/* Starts what `probe:` of the settings asks for. Scraping does not depend on it, so this cannot fail: reasons go to the log and the
 * status. 0 or -ENOMEM. */
int probes_start(struct core *core);
void probes_stop(struct core *core);
/* The kubelet's new list, after discovery has made targets of it. */
void probes_pods(struct core *core, struct kube_pods *pods);

/* The core's dial of a target: two refusals in a row close a port whose end was not heard. */
void probes_dialled(struct core *core, uint64_t key, bool refused);
/* What opened or opened again; called by the listeners. arg: the struct probes. */
void probes_port_opened(void *arg, const struct listener *listener);

/* Whether every process of the node can be named: we are in the host's pid namespace. */
bool probes_see_all_processes(void);

struct probes_counters probes_counters(const struct probes *probes);
/* Ports that listen now. */
size_t probes_port_count(const struct probes *probes);
/* All of them, sorted by pod, then port: an array to be freed, or NULL. */
struct listener *probes_ports(const struct probes *probes, size_t *ret_count);
/* The pod of a listener as the kubelet told it, or NULL. */
const struct kube_pod *probes_pod(const struct probes *probes, const struct listener *listener);
/* Whether a scrape of the target ends at this port. */
bool probes_is_port_of(const struct probes *probes, const struct listener *listener, const struct core_target *target);
