/* When a target is due.
 *
 * 1. A tick is a point of the wall clock with `t mod interval == offset`; the offset is a hash of the target's key, so the targets of a node
 *    spread over the interval and keep their phase through restarts.
 * 2. Entries wait in a binary heap by their next tick. A due entry leaves the heap (in flight) and comes back when its scrape
 *    ended, at the first tick after now: what passed meanwhile is counted as missed, never queued.
 * 3. A scraper that takes over from a dead one is told the last tick that was committed. When the tick after it belongs to
 *    the present interval, it is due at once: nobody loses a scrape to a neighbour's crash.
 * 4. An entry whose port just opened is due at once. That scrape stands between two ticks, which stay where they are.
 * Failure mode: a clock that jumps back makes entries wait at most one interval (see scrape_schedule_due).
 */
#include "gleaner/scrape.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t tick_offset(uint64_t key, uint64_t interval_ns)
{
	/* The key is a hash already, but of ours and public; the constant keeps other uses of its low bits apart. */
	return hash_bytes(span_of((const char *)&key, sizeof(key)), UINT64_C(0x7469636b)) % interval_ns;
}

uint64_t scrape_first_tick(uint64_t key, uint64_t interval_ns, uint64_t now_wall_ns)
{
	uint64_t offset = tick_offset(key, interval_ns);
	uint64_t begin = now_wall_ns - now_wall_ns % interval_ns;
	return begin + offset >= now_wall_ns ? begin + offset : begin + interval_ns + offset;
}

void scrape_schedule_init(struct scrape_schedule *schedule)
{
	*schedule = (struct scrape_schedule){0};
}

void scrape_schedule_done(struct scrape_schedule *schedule)
{
	free(schedule->heap);
	*schedule = (struct scrape_schedule){0};
}

static void heap_put(struct scrape_schedule *schedule, size_t at, struct scrape_entry *entry)
{
	schedule->heap[at] = entry;
	entry->heap_index = at;
}

static void sift_up(struct scrape_schedule *schedule, size_t at)
{
	struct scrape_entry *entry = schedule->heap[at];
	while (at > 0 && schedule->heap[(at - 1) / 2]->tick_ns > entry->tick_ns) {
		heap_put(schedule, at, schedule->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_put(schedule, at, entry);
}

static void sift_down(struct scrape_schedule *schedule, size_t at)
{
	struct scrape_entry *entry = schedule->heap[at];
	for (;;) {
		size_t child = 2 * at + 1;
		if (child + 1 < schedule->count && schedule->heap[child + 1]->tick_ns < schedule->heap[child]->tick_ns)
			child++;
		if (child >= schedule->count || schedule->heap[child]->tick_ns >= entry->tick_ns)
			break;
		heap_put(schedule, at, schedule->heap[child]);
		at = child;
	}
	heap_put(schedule, at, entry);
}

static int heap_add(struct scrape_schedule *schedule, struct scrape_entry *entry)
{
	if (schedule->count == schedule->cap) {
		size_t cap = schedule->cap ? schedule->cap * 2 : 64;
		struct scrape_entry **heap = realloc(schedule->heap, cap * sizeof(*heap));
		if (!heap)
			return -ENOMEM;
		schedule->heap = heap;
		schedule->cap = cap;
	}
	heap_put(schedule, schedule->count++, entry);
	sift_up(schedule, schedule->count - 1);
	return 0;
}

int scrape_schedule_add(
	struct scrape_schedule *schedule, struct scrape_entry *entry, uint64_t resume_after_ns, uint64_t now_wall_ns)
{
	entry->tick_ns = scrape_first_tick(entry->key, entry->interval_ns, now_wall_ns);
	entry->heap_index = SIZE_MAX;
	/* The tick of the present interval has passed. Was it scraped? */
	uint64_t passed = entry->tick_ns - entry->interval_ns;
	if (resume_after_ns != 0 && resume_after_ns < passed) {
		uint64_t ticks = (passed - resume_after_ns) / entry->interval_ns; /* 0: the interval was another one */
		entry->missed += ticks > 0 ? ticks - 1 : 0;
		entry->tick_ns = passed;
	}
	return heap_add(schedule, entry);
}

void scrape_schedule_remove(struct scrape_schedule *schedule, struct scrape_entry *entry)
{
	size_t at = entry->heap_index;
	if (at == SIZE_MAX)
		return;
	entry->heap_index = SIZE_MAX;
	struct scrape_entry *last = schedule->heap[--schedule->count];
	if (last == entry)
		return;
	heap_put(schedule, at, last);
	sift_down(schedule, at);
	sift_up(schedule, last->heap_index);
}

struct scrape_entry *scrape_schedule_due(struct scrape_schedule *schedule, uint64_t now_wall_ns, uint64_t *ret_wait_ns)
{
	*ret_wait_ns = UINT64_MAX;
	while (schedule->count > 0) {
		struct scrape_entry *entry = schedule->heap[0];
		if (entry->tick_ns <= now_wall_ns) {
			scrape_schedule_remove(schedule, entry);
			return entry;
		}
		/* More than two intervals ahead: the clock was set back. Find the phase again. */
		if (entry->not_before_ns == 0 && entry->tick_ns - now_wall_ns > 2 * entry->interval_ns) {
			entry->tick_ns = scrape_first_tick(entry->key, entry->interval_ns, now_wall_ns);
			sift_down(schedule, 0);
			continue;
		}
		*ret_wait_ns = entry->tick_ns - now_wall_ns;
		break;
	}
	return NULL;
}

int scrape_schedule_again(
	struct scrape_schedule *schedule, struct scrape_entry *entry, uint64_t not_before_ns, uint64_t now_wall_ns)
{
	uint64_t after = entry->tick_ns + 1 > now_wall_ns ? entry->tick_ns + 1 : now_wall_ns;
	uint64_t next = scrape_first_tick(entry->key, entry->interval_ns, after);
	if (next > entry->tick_ns)
		entry->missed += (next - entry->tick_ns - 1) / entry->interval_ns; /* ticks between the two */
	entry->not_before_ns = not_before_ns;
	if (not_before_ns > next)
		next = scrape_first_tick(entry->key, entry->interval_ns, not_before_ns);
	entry->tick_ns = next;
	return heap_add(schedule, entry);
}

bool scrape_schedule_now(struct scrape_schedule *schedule, struct scrape_entry *entry, uint64_t now_wall_ns)
{
	if (entry->heap_index == SIZE_MAX || entry->not_before_ns > now_wall_ns)
		return false;
	if (entry->tick_ns > now_wall_ns) { /* else it is due already */
		entry->tick_ns = now_wall_ns;
		sift_up(schedule, entry->heap_index);
	}
	return true;
}
