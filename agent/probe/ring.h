/* ring: reads a BPF ring buffer by its descriptor, without bpf(2). */
#pragma once

#include "gleaner/base.h"

struct ring {
	uint64_t *consumer;       /* ours to write; page 0 */
	const uint64_t *producer; /* page 1 */
	const char *data;         /* mapped twice in a row, so that no record is split */
	size_t bytes, page_bytes;
};

/* bytes: the size of the map, a power of two. 0 or -errno. */
int ring_map(int fd, size_t bytes, struct ring *ret_ring);
void ring_unmap(struct ring *ring);
/* 1 and the next record, 0 none now. The record is valid until ring_take. */
int ring_peek(struct ring *ring, struct span *ret_record);
/* Gives the peeked record back. */
void ring_take(struct ring *ring);
