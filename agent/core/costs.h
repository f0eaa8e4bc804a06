/* costs: core's part in measuring what scrapes cost their targets: the maps, the slots, who may use which. */
#pragma once

#include "gleaner/loop.h"
#include "gleaner/probe.h"
#include "gleaner/wire.h"

struct core;
struct worker;

struct costs_counters {
	uint64_t measured;
	uint64_t unmatched; /* BPF saw no request of ours (SNAT, say) */
	uint64_t mismatch;  /* the server sent another number of bytes than we got */
	uint64_t no_slot;   /* connections that are not measured because all slots are taken */
	uint64_t reaped;    /* windows that stayed open */
	uint64_t deaf;      /* connects that BPF did not see */
};

/* A slot that is in use. */
struct costs_slot {
	uint16_t port;
	uint64_t limit_ns; /* a window that is open for longer is closed here */
};

enum { COSTS_PAGE = 8, COSTS_PAGES = COST_SLOTS / COSTS_PAGE };

struct costs {
	struct core *core;
	struct cost cost; /* slots NULL: no probe that measures */
	int slots_fd, shared_fd;
	uint32_t map; /* number of the present maps; 0: none */
	uint32_t maps_so_far;
	struct error reason; /* why nothing is measured; "" it is */
	unsigned deaf;       /* in a row */
	struct loop_timer *timer;
	unsigned sweeps;
	uint32_t surplus; /* of `active` over the windows that are open, at the last sweep */
	/* Slots are given out by pages of 8 (4 KiB), so that two scrapers never share one. */
	struct {
		uint16_t worker; /* index + 1; 0: free */
		uint8_t used;    /* a bit a slot */
	} pages[COSTS_PAGES];
	struct costs_slot slots[COST_SLOTS];
	struct costs_counters counters;
};

/* 0 or -ENOMEM. */
int costs_init(struct core *core);
void costs_done(struct core *core);

/* The maps of a probe that loaded the cost programs; the descriptors stay the probe's, and open until it goes. */
void costs_maps_came(struct core *core, int slots_fd, int shared_fd);
/* It went, or has not loaded them: why nothing is measured. */
void costs_probe_gone(struct core *core, const char *why);
/* What a timer does every second while there are maps. */
void costs_sweep(struct core *core);
/* Tells a scraper of the present maps. */
void costs_tell(struct worker *worker);

/* A slot for a connection to `port`, of the present maps; WIRE_NO_SLOT: it is not measured. */
uint32_t costs_take(struct worker *worker, uint16_t port, uint64_t timeout_ns);
/* The scraper is done with it. Whatever is not a slot of this worker is ignored, so is one of earlier maps. */
void costs_give_back(struct worker *worker, uint32_t slot, uint32_t map);
void costs_worker_gone(struct worker *worker);

/* Around connect(): BPF is told which socket comes next. */
void costs_dial(struct core *core, uint32_t slot, int fd);
/* under_way: connect() got as far as sending. Whether BPF saw it; if not, the slot is to be given back. */
bool costs_dialled(struct core *core, uint32_t slot, bool under_way);

/* WIRE_COST. */
void costs_measured(struct core *core, const struct wire_cost *cost);

bool costs_are_measured(const struct core *core);
/* Connections with a slot, and windows that are open now. */
size_t costs_slots_used(const struct core *core);
uint32_t costs_windows_open(const struct core *core);
