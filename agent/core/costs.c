/* What scrapes cost their targets: who may write where.
 *
 * 1. A probe that has the cost programs brings two maps: slots and a few shared words. They are mapped here and sent to every scraper.
 * 2. A connection gets a slot before it is dialled; connect() tells BPF whose it is (costs_dial, costs_dialled; dial.c). The slot's
 *    number goes to the scraper with the socket, which opens a window in it for each request and tells what it says (WIRE_COST).
 * 3. The scraper says when the connection is closed; a scraper that dies leaves all its slots.
 * 4. Once a second: windows that stayed open are closed, and `active` is set right, the number that BPF's gate hangs on: a scraper
 *    that is killed between two stores leaves it one too high. Once a minute: ports that nobody uses leave BPF's prefilter.
 *
 * A scraper may write anything into the maps: wrong figures come of it, nothing else.
 * Failure: without maps, without a slot, or when BPF does not see our connects, scrapes go on and are not measured.
 */
#include "costs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "internal.h"

enum { DEAF_MAX = 3, PORTS_EVERY_SWEEPS = 60 };
#define SWEEP_NS NS_PER_SEC
#define GRACE_NS NS_PER_SEC

static bool is_open(uint32_t state)
{
	return state == COST_ARMED || state == COST_RUNNING;
}

static uint32_t state_of(const struct costs *costs, uint32_t slot)
{
	return __atomic_load_n(&costs->cost.slots[slot].state, __ATOMIC_ACQUIRE);
}

static bool is_used(const struct costs *costs, uint32_t slot)
{
	return (costs->pages[slot / COSTS_PAGE].used >> (slot % COSTS_PAGE)) & 1;
}

/* ---- slots ---------------------------------------------------------------------------------- */

static uint32_t take_of_page(struct costs *costs, size_t page, uint16_t owner)
{
	uint32_t bit = 0;
	while ((costs->pages[page].used >> bit) & 1)
		bit++;
	costs->pages[page].worker = owner;
	costs->pages[page].used |= (uint8_t)(1u << bit);
	return (uint32_t)page * COSTS_PAGE + bit;
}

uint32_t costs_take(struct worker *worker, uint16_t port, uint64_t timeout_ns)
{
	struct costs *costs = &worker->core->costs;
	uint16_t owner = (uint16_t)(worker->index + 1);
	if (!costs_are_measured(worker->core))
		return WIRE_NO_SLOT;
	size_t found = COSTS_PAGES;
	for (size_t page = 0; page < COSTS_PAGES; page++) {
		bool own = costs->pages[page].worker == owner && costs->pages[page].used != UINT8_MAX;
		if (own || (found == COSTS_PAGES && costs->pages[page].worker == 0))
			found = page;
		if (own)
			break;
	}
	if (found == COSTS_PAGES) {
		costs->counters.no_slot++;
		return WIRE_NO_SLOT;
	}
	uint32_t slot = take_of_page(costs, found, owner);
	costs->slots[slot] = (struct costs_slot){.port = port, .limit_ns = timeout_ns + GRACE_NS};
	return slot;
}

static void release(struct costs *costs, uint32_t slot)
{
	uint32_t state = __atomic_exchange_n(&costs->cost.slots[slot].state, COST_FREE, __ATOMIC_ACQ_REL);
	if (is_open(state))
		__atomic_fetch_sub(&costs->cost.shared->active, 1, __ATOMIC_ACQ_REL);
	size_t page = slot / COSTS_PAGE;
	costs->pages[page].used &= (uint8_t) ~(1u << (slot % COSTS_PAGE));
	if (costs->pages[page].used == 0)
		costs->pages[page].worker = 0;
}

void costs_give_back(struct worker *worker, uint32_t slot, uint32_t map)
{
	struct costs *costs = &worker->core->costs;
	if (costs->map == 0 || map != costs->map || slot >= COST_SLOTS || !is_used(costs, slot) ||
		costs->pages[slot / COSTS_PAGE].worker != worker->index + 1)
		return;
	release(costs, slot);
}

void costs_worker_gone(struct worker *worker)
{
	struct costs *costs = &worker->core->costs;
	for (uint32_t slot = 0; costs->map != 0 && slot < COST_SLOTS; slot++)
		costs_give_back(worker, slot, costs->map);
}

/* ---- once a second ---------------------------------------------------------------------------- */

static void reap(struct costs *costs, uint32_t slot, uint64_t now_ns)
{
	struct cost_slot unused;
	uint64_t opened_ns = costs->cost.slots[slot].opened_ns;
	if (now_ns < opened_ns || now_ns - opened_ns <= costs->slots[slot].limit_ns)
		return;
	cost_close(&costs->cost, slot, &unused);
	costs->counters.reaped++;
}

/* What was the same surplus a second ago is nobody's: no scraper stays between two stores for so long. */
static void correct_active(struct costs *costs, uint32_t open)
{
	uint32_t surplus = __atomic_load_n(&costs->cost.shared->active, __ATOMIC_ACQUIRE) - open;
	if (surplus != 0 && surplus == costs->surplus) {
		__atomic_fetch_sub(&costs->cost.shared->active, surplus, __ATOMIC_ACQ_REL);
		surplus = 0;
	}
	costs->surplus = surplus;
}

/* BPF adds ports of upstream servers; a window that needs one adds it again. */
static void clear_ports(struct costs *costs)
{
	uint8_t used[COST_PORTS / 8] = {0};
	for (uint32_t slot = 0; slot < COST_SLOTS; slot++)
		if (is_used(costs, slot))
			used[costs->slots[slot].port / 8] |= (uint8_t)(1u << (costs->slots[slot].port % 8));
	for (size_t port = 0; port < COST_PORTS; port++)
		if (costs->cost.shared->ports[port] && !((used[port / 8] >> (port % 8)) & 1))
			costs->cost.shared->ports[port] = 0;
}

void costs_sweep(struct core *core)
{
	struct costs *costs = &core->costs;
	uint64_t now_ns = clock_mono(&core->clock);
	uint32_t open = 0;
	for (uint32_t slot = 0; slot < COST_SLOTS; slot++) {
		if (is_used(costs, slot) && is_open(state_of(costs, slot)))
			reap(costs, slot, now_ns);
		open += is_used(costs, slot) && is_open(state_of(costs, slot));
	}
	correct_active(costs, open);
	if (++costs->sweeps % PORTS_EVERY_SWEEPS == 0)
		clear_ports(costs);
}

static void sweep_due(void *arg)
{
	struct core *core = arg;
	costs_sweep(core);
	loop_timer_set(core->costs.timer, SWEEP_NS);
}

/* ---- probes and scrapers ------------------------------------------------------------------------ */

int costs_init(struct core *core)
{
	core->costs = (struct costs){.core = core, .slots_fd = -1, .shared_fd = -1};
	error_set(&core->costs.reason, EIO, "there is no probe");
	return loop_timer_new(core->loop, sweep_due, core, &core->costs.timer);
}

void costs_done(struct core *core)
{
	if (!core->costs.core)
		return;
	costs_probe_gone(core, "");
	loop_timer_free(core->costs.timer);
}

static void send_map(struct worker *worker, enum wire_cost_part part, int fd)
{
	struct core *core = worker->core;
	struct wire_cost_map map = {
		.part = part, .map = core->costs.map, .processes = core->probes && probes_see_all_processes()};
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		log_error(&core->log, "hand the cost maps to scraper %u: %s", worker->index, strerror(errno));
	else
		worker_send_fd(worker, WIRE_COST_MAP, &map, SPAN_NONE, fd);
}

void costs_tell(struct worker *worker)
{
	const struct costs *costs = &worker->core->costs;
	if (costs->map == 0)
		return;
	send_map(worker, WIRE_COST_SLOTS, costs->slots_fd);
	send_map(worker, WIRE_COST_SHARED, costs->shared_fd);
}

void costs_maps_came(struct core *core, int slots_fd, int shared_fd)
{
	struct costs *costs = &core->costs;
	costs_probe_gone(core, "");
	int result = cost_map(slots_fd, shared_fd, &costs->cost);
	if (result < 0) {
		error_set(&costs->reason, -result, "map the slots: %s", strerror(-result));
		return;
	}
	costs->slots_fd = slots_fd;
	costs->shared_fd = shared_fd;
	costs->map = ++costs->maps_so_far;
	costs->deaf = 0;
	costs->surplus = 0;
	costs->reason.text[0] = '\0';
	for (size_t i = 0; i < core->worker_count; i++)
		costs_tell(&core->workers[i]);
	loop_timer_set(costs->timer, SWEEP_NS);
}

void costs_probe_gone(struct core *core, const char *why)
{
	struct costs *costs = &core->costs;
	if (costs->map != 0)
		loop_timer_cancel(costs->timer);
	cost_unmap(&costs->cost);
	memset(costs->pages, 0, sizeof(costs->pages));
	costs->map = 0;
	error_set(&costs->reason, EIO, "%s", why);
}

/* ---- our connects --------------------------------------------------------------------------------- */

void costs_dial(struct core *core, uint32_t slot, int fd)
{
	if (slot != WIRE_NO_SLOT)
		cost_dial(&core->costs.cost, slot, fd);
}

bool costs_dialled(struct core *core, uint32_t slot, bool under_way)
{
	struct costs *costs = &core->costs;
	if (slot == WIRE_NO_SLOT)
		return false;
	bool seen = cost_dialed(&costs->cost, slot);
	if (!under_way)
		return false;
	costs->deaf = seen ? 0 : costs->deaf + 1;
	costs->counters.deaf += !seen;
	if (costs->deaf >= DEAF_MAX && costs->reason.text[0] == '\0') {
		error_set(&costs->reason, EIO, "%d connects in a row were not seen by BPF", DEAF_MAX);
		log_warn(&core->log, "probe: the cost of scrapes is not measured: %s", costs->reason.text);
	}
	return seen;
}

/* ---- figures ----------------------------------------------------------------------------------------- */

void costs_measured(struct core *core, const struct wire_cost *cost)
{
	struct costs_counters *counters = &core->costs.counters;
	struct core_target *target = targets_find(core, cost->key);
	if (cost->measured)
		counters->measured++;
	else if (cost->flags & WIRE_COST_MISMATCH)
		counters->mismatch++;
	else if (core->costs.map != 0) /* else its probe went meanwhile */
		counters->unmatched++;
	if (target && cost_history_add(&target->cost, cost) < 0)
		log_error(&core->log, "out of memory: what a scrape cost is not kept");
	if (target)
		targets_measured(core, target);
}

bool costs_are_measured(const struct core *core)
{
	return core->costs.map != 0 && core->costs.reason.text[0] == '\0';
}

size_t costs_slots_used(const struct core *core)
{
	size_t count = 0;
	for (size_t page = 0; page < COSTS_PAGES; page++)
		count += (size_t)__builtin_popcount(core->costs.pages[page].used);
	return count;
}

uint32_t costs_windows_open(const struct core *core)
{
	return core->costs.map != 0 ? __atomic_load_n(&core->costs.cost.shared->active, __ATOMIC_ACQUIRE) : 0;
}
