/* Windows on cost slots: plain memory that BPF and the agent share. The order of the stores is the protocol (bpf/cost.h). */
#include "gleaner/probe.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

int cost_map(int slots_fd, int shared_fd, struct cost *ret_cost)
{
	void *slots = mmap(NULL, (size_t)COST_SLOTS * COST_SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, slots_fd, 0);
	if (slots == MAP_FAILED)
		return -errno;
	void *shared = mmap(NULL, sizeof(struct cost_shared), PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
	if (shared == MAP_FAILED) {
		int result = -errno;
		munmap(slots, (size_t)COST_SLOTS * COST_SLOT_BYTES);
		return result;
	}
	*ret_cost = (struct cost){.slots = slots, .shared = shared};
	return 0;
}

void cost_unmap(struct cost *cost)
{
	if (!cost->slots)
		return;
	munmap(cost->slots, (size_t)COST_SLOTS * COST_SLOT_BYTES);
	munmap(cost->shared, sizeof(struct cost_shared));
	*cost = (struct cost){0};
}

int cost_dial(struct cost *cost, uint32_t slot, int socket)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);
	if (slot >= COST_SLOTS)
		return -EINVAL;
	/* Asking makes the cookie: from now on a plain load in BPF sees the same number. */
	if (getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0)
		return -errno;
	cost->slots[slot].cookie = 0;
	cost->shared->dial_slot = slot;
	__atomic_store_n(&cost->shared->dial_cookie, cookie, __ATOMIC_RELEASE);
	return 0;
}

bool cost_dialed(struct cost *cost, uint32_t slot)
{
	uint64_t expected = __atomic_exchange_n(&cost->shared->dial_cookie, 0, __ATOMIC_ACQ_REL);
	return slot < COST_SLOTS && expected != 0 &&
	       __atomic_load_n(&cost->slots[slot].cookie, __ATOMIC_ACQUIRE) == expected;
}

void cost_open(struct cost *cost, uint32_t index, uint16_t port, uint64_t now_mono_ns)
{
	if (index >= COST_SLOTS)
		return;
	struct cost_slot *slot = &cost->slots[index];
	uint64_t cookie = slot->cookie;
	__atomic_store_n(&slot->state, COST_FREE, __ATOMIC_RELEASE);
	memset((char *)slot + offsetof(struct cost_slot, cookie), 0,
		sizeof(*slot) - offsetof(struct cost_slot, cookie));
	slot->cookie = cookie;
	slot->opened_ns = now_mono_ns;
	slot->generation++;
	cost->shared->ports[port] = 1;
	/* In this order, as in cost_close: who is killed in between leaves the sum too high, never below zero. */
	__atomic_fetch_add(&cost->shared->active, 1, __ATOMIC_ACQ_REL);
	__atomic_store_n(&slot->state, COST_ARMED, __ATOMIC_RELEASE);
}

bool cost_close(struct cost *cost, uint32_t index, struct cost_slot *ret_slot)
{
	if (index >= COST_SLOTS)
		return false;
	struct cost_slot *slot = &cost->slots[index];
	uint32_t state = __atomic_exchange_n(&slot->state, COST_DONE, __ATOMIC_ACQ_REL);
	if (state != COST_ARMED && state != COST_RUNNING)
		return false;
	__atomic_fetch_sub(&cost->shared->active, 1, __ATOMIC_ACQ_REL);
	*ret_slot = *slot;
	return state == COST_RUNNING;
}
