/* A hash map from spans to pointers: open addressing, linear probing, backward-shift deletion. */
#include "gleaner/base.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(struct span bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes.ptr ? bytes.ptr : "", bytes.len, seed);
}

uint64_t hash_seed(void)
{
	uint64_t seed = 0;
	/* Eight bytes never come in part; before the pool is ready (early boot) it waits. */
	while (getrandom(&seed, sizeof(seed), 0) < 0 && errno == EINTR)
		;
	return seed;
}

void map_init(struct map *map, size_t max_entries)
{
	*map = (struct map){.max = max_entries, .seed = hash_seed()};
}

void map_done(struct map *map)
{
	free(map->slots);
	*map = (struct map){.max = map->max, .seed = map->seed};
}

void map_clear(struct map *map)
{
	if (map->slots)
		memset(map->slots, 0, map->cap * sizeof(*map->slots));
	map->count = 0;
}

/* The slot that holds the key, or the free one where it would go. cap is a power of two and never full. */
static struct map_slot *map_slot(const struct map *map, struct span key)
{
	size_t at = (size_t)hash_bytes(key, map->seed) & (map->cap - 1);
	while (map->slots[at].value && !span_eq(map->slots[at].key, key))
		at = (at + 1) & (map->cap - 1);
	return &map->slots[at];
}

void *map_get(const struct map *map, struct span key)
{
	return map->count ? map_slot(map, key)->value : NULL;
}

static int map_grow(struct map *map)
{
	struct map bigger = *map;
	bigger.cap = map->cap ? map->cap * 2 : 16;
	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < map->cap; i++) {
		if (map->slots[i].value)
			*map_slot(&bigger, map->slots[i].key) = map->slots[i];
	}
	free(map->slots);
	*map = bigger;
	return 0;
}

int map_put(struct map *map, struct span key, void *value)
{
	if (map->count + 1 > map->cap - map->cap / 4) { /* 3/4 full at most; also when cap is 0 */
		int result = map_grow(map);
		if (result < 0)
			return result;
	}
	struct map_slot *slot = map_slot(map, key);
	if (!slot->value) {
		if (map->count >= map->max)
			return -E2BIG;
		map->count++;
	}
	*slot = (struct map_slot){key, value};
	return 0;
}

void *map_remove(struct map *map, struct span key)
{
	if (!map->count)
		return NULL;
	struct map_slot *slot = map_slot(map, key);
	void *value = slot->value;
	if (!value)
		return NULL;
	size_t mask = map->cap - 1, hole = (size_t)(slot - map->slots);
	for (size_t at = (hole + 1) & mask; map->slots[at].value; at = (at + 1) & mask) {
		size_t home = (size_t)hash_bytes(map->slots[at].key, map->seed) & mask;
		if (((at - home) & mask) >= ((at - hole) & mask)) { /* may move back to the hole */
			map->slots[hole] = map->slots[at];
			hole = at;
		}
	}
	map->slots[hole] = (struct map_slot){0};
	map->count--;
	return value;
}

const struct map_slot *map_next(const struct map *map, size_t *cursor)
{
	while (*cursor < map->cap) {
		const struct map_slot *slot = &map->slots[(*cursor)++];
		if (slot->value)
			return slot;
	}
	return NULL;
}
