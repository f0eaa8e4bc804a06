/* An arena: chunks in a list, the newest first; bump allocation within the newest. */
#include "gleaner/base.h"

#include <stdlib.h>

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used; /* of data */
	max_align_t data[];
};

enum { ARENA_FIRST = 1024, ARENA_LARGEST = 256 * 1024 };

void arena_init(struct arena *arena, size_t max)
{
	*arena = (struct arena){.max = max};
}

static void chunk_free(const struct arena *arena, struct arena_chunk *chunk)
{
	if (arena->secret)
		explicit_bzero(chunk->data, chunk->used);
	free(chunk);
}

void arena_done(struct arena *arena)
{
	struct arena_chunk *chunk = arena->chunks;
	while (chunk) {
		struct arena_chunk *next = chunk->next;
		chunk_free(arena, chunk);
		chunk = next;
	}
	*arena = (struct arena){.max = arena->max, .secret = arena->secret};
}

void arena_reset(struct arena *arena)
{
	struct arena_chunk *largest = arena->chunks;
	for (struct arena_chunk *chunk = arena->chunks; chunk; chunk = chunk->next) {
		if (chunk->size > largest->size)
			largest = chunk;
	}
	for (struct arena_chunk *chunk = arena->chunks; chunk;) {
		struct arena_chunk *next = chunk->next;
		if (chunk != largest)
			chunk_free(arena, chunk);
		chunk = next;
	}
	if (largest) {
		if (arena->secret)
			explicit_bzero(largest->data, largest->used);
		largest->next = NULL;
		largest->used = 0;
	}
	arena->chunks = largest;
	arena->used = 0;
	arena->full = false;
}

static struct arena_chunk *chunk_new(const struct arena *arena, size_t at_least)
{
	size_t size = arena->chunks ? arena->chunks->size * 2 : ARENA_FIRST;
	if (size > ARENA_LARGEST)
		size = ARENA_LARGEST;
	if (size < at_least)
		size = at_least;
	struct arena_chunk *chunk = malloc(sizeof(*chunk) + size);
	if (chunk)
		*chunk = (struct arena_chunk){.size = size};
	return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = _Alignof(max_align_t);
	size_t room = arena->max - arena->used;
	size_t need = size <= SIZE_MAX / 2 ? (size + align - 1) / align * align : SIZE_MAX;
	arena->full = arena->full || need > room;
	if (need > room || need == SIZE_MAX)
		return NULL;
	struct arena_chunk *chunk = arena->chunks;
	if (!chunk || need > chunk->size - chunk->used) {
		chunk = chunk_new(arena, need);
		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	char *at = (char *)chunk->data + chunk->used;
	chunk->used += need;
	arena->used += need;
	memset(at, 0, need);
	return at;
}

char *arena_spandup(struct arena *arena, struct span s)
{
	char *copy = arena_alloc(arena, s.len + 1);
	if (copy && s.len > 0)
		memcpy(copy, s.ptr, s.len);
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_spandup(arena, span_str(text));
}
