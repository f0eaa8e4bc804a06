/* Numbers of items by the hash of what they are known by. The caller verifies what it finds.
 *
 * 8 bytes a slot (32 bits of hash, number + 1), linear probing, at most half full. Lives in a store's scratch memory and is
 * filled for one scrape, and only when that scrape asks: most never do.
 */
#pragma once

#include "gleaner/base.h"

struct lookup {
	uint64_t *slots;
	size_t cap, count; /* cap: a power of two, or 0 */
	size_t room;       /* slots allocated; a small cache does not clear what a large one needed */
	bool filled;       /* with what the present scrape's tables held */
};
struct lookup_probe {
	uint32_t tag;
	size_t at;
};

void lookup_done(struct lookup *lookup);
/* Empties, with room for `count` items. 0, -ENOMEM. */
int lookup_reset(struct lookup *lookup, size_t count);
/* 0, -ENOMEM. */
int lookup_add(struct lookup *lookup, uint64_t hash, uint32_t number);
/* `for (probe = lookup_probe(...); lookup_next(lookup, &probe, &number);)` gives every item of that hash, and maybe others. */
struct lookup_probe lookup_probe(const struct lookup *lookup, uint64_t hash);
bool lookup_next(const struct lookup *lookup, struct lookup_probe *probe, uint32_t *ret_number);
