#include "lookup.h"

#include <errno.h>
#include <stdlib.h>

/* A slot: tag in the high half, number + 1 in the low one; 0 is free. */
enum { LOOKUP_SMALLEST = 64 };

void lookup_done(struct lookup *lookup)
{
	free(lookup->slots);
	*lookup = (struct lookup){0};
}

static uint32_t tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

/* The home slot comes from the tag alone, so that a table can grow without the hashes. */
static size_t home_of(const struct lookup *lookup, uint32_t tag)
{
	return tag & (lookup->cap - 1);
}

static void put(struct lookup *lookup, uint64_t slot)
{
	size_t at = home_of(lookup, (uint32_t)(slot >> 32));
	while (lookup->slots[at] != 0)
		at = (at + 1) & (lookup->cap - 1);
	lookup->slots[at] = slot;
}

static int grow(struct lookup *lookup, size_t cap)
{
	struct lookup grown = {
		.slots = calloc(cap, sizeof(*grown.slots)), .cap = cap, .room = cap, .count = lookup->count};
	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < lookup->cap; i++) {
		if (lookup->slots[i] != 0)
			put(&grown, lookup->slots[i]);
	}
	free(lookup->slots);
	grown.filled = lookup->filled;
	*lookup = grown;
	return 0;
}

int lookup_reset(struct lookup *lookup, size_t count)
{
	size_t cap = LOOKUP_SMALLEST;
	while (cap < count * 2)
		cap *= 2;
	lookup->count = 0;
	lookup->filled = false;
	if (lookup->room < cap) {
		lookup_done(lookup);
		return grow(lookup, cap);
	}
	lookup->cap = cap;
	memset(lookup->slots, 0, cap * sizeof(*lookup->slots));
	return 0;
}

int lookup_add(struct lookup *lookup, uint64_t hash, uint32_t number)
{
	if ((lookup->count + 1) * 2 > lookup->cap && grow(lookup, lookup->cap ? lookup->cap * 2 : LOOKUP_SMALLEST) < 0)
		return -ENOMEM;
	put(lookup, (uint64_t)tag_of(hash) << 32 | ((uint64_t)number + 1));
	lookup->count++;
	return 0;
}

struct lookup_probe lookup_probe(const struct lookup *lookup, uint64_t hash)
{
	uint32_t tag = tag_of(hash);
	return (struct lookup_probe){tag, lookup->cap ? home_of(lookup, tag) : 0};
}

bool lookup_next(const struct lookup *lookup, struct lookup_probe *probe, uint32_t *ret_number)
{
	if (lookup->cap == 0)
		return false;
	for (;;) {
		uint64_t slot = lookup->slots[probe->at];
		if (slot == 0)
			return false;
		probe->at = (probe->at + 1) & (lookup->cap - 1);
		if ((uint32_t)(slot >> 32) == probe->tag) {
			*ret_number = (uint32_t)slot - 1;
			return true;
		}
	}
}
