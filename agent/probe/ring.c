/* The reader's side of BPF_MAP_TYPE_RINGBUF. libbpf's needs bpf(2) to learn the map's size, which a process without
 * CAP_BPF may not call before kernel 5.19; the mapping itself needs nothing.
 *
 *   page 0             consumer position, u64: bytes taken since the map was made
 *   page 1             producer position, u64
 *   page 2...          data, then the same data again
 *   record             u32 length, bit 31 busy (being written), bit 30 discarded; u32 not ours; payload; rounded up to 8
 */
#include "ring.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RECORD_HEADER = 8 };
#define RECORD_BUSY      (UINT32_C(1) << 31)
#define RECORD_DISCARDED (UINT32_C(1) << 30)

int ring_map(int fd, size_t bytes, struct ring *ret_ring)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (consumer == MAP_FAILED)
		return -errno;
	void *producer = mmap(NULL, page + 2 * bytes, PROT_READ, MAP_SHARED, fd, (off_t)page);
	if (producer == MAP_FAILED) {
		int result = -errno;
		munmap(consumer, page);
		return result;
	}
	*ret_ring = (struct ring){.consumer = consumer,
		.producer = producer,
		.data = (const char *)producer + page,
		.bytes = bytes,
		.page_bytes = page};
	return 0;
}

void ring_unmap(struct ring *ring)
{
	if (!ring->consumer)
		return;
	munmap(ring->consumer, ring->page_bytes);
	munmap((void *)(uintptr_t)ring->producer, ring->page_bytes + 2 * ring->bytes);
	*ring = (struct ring){0};
}

static const uint32_t *record_at(const struct ring *ring, uint64_t position)
{
	return (const uint32_t *)(const void *)(ring->data + (position & (ring->bytes - 1)));
}

static void advance(struct ring *ring, uint64_t position, uint32_t length)
{
	uint64_t step = ((uint64_t)(length & ~RECORD_DISCARDED) + RECORD_HEADER + 7) & ~UINT64_C(7);
	__atomic_store_n(ring->consumer, position + step, __ATOMIC_RELEASE);
}

int ring_peek(struct ring *ring, struct span *ret_record)
{
	uint64_t position = *ring->consumer; /* ours alone */
	while (position < __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE)) {
		const uint32_t *header = record_at(ring, position);
		uint32_t length = __atomic_load_n(header, __ATOMIC_ACQUIRE);
		if (length & RECORD_BUSY)
			return 0;
		if (!(length & RECORD_DISCARDED)) {
			*ret_record = span_of((const char *)header + RECORD_HEADER, length);
			return 1;
		}
		advance(ring, position, length);
		position = *ring->consumer;
	}
	return 0;
}

void ring_take(struct ring *ring)
{
	uint64_t position = *ring->consumer;
	advance(ring, position, __atomic_load_n(record_at(ring, position), __ATOMIC_ACQUIRE));
}
