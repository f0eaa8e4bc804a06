/* The reader against a memory file that is laid out as the kernel lays out a ring buffer. */
#include "ring.h"
#include "test.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BYTES = 4096 };

struct fake {
	int fd;
	char *base; /* consumer page, producer page, data, data again */
	size_t page;
	struct ring ring;
};

static void setup(struct fake *fake)
{
	fake->page = (size_t)sysconf(_SC_PAGESIZE);
	fake->fd = memfd_create("ring", MFD_CLOEXEC);
	size_t size = 2 * fake->page + 2 * BYTES;
	assert_true(fake->fd >= 0);
	assert_int_equal(ftruncate(fake->fd, (off_t)size), 0);
	fake->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fake->fd, 0);
	assert_true(fake->base != MAP_FAILED);
	assert_int_equal(ring_map(fake->fd, BYTES, &fake->ring), 0);
}

static void teardown(struct fake *fake)
{
	ring_unmap(&fake->ring);
	ring_unmap(&fake->ring);
	munmap(fake->base, 2 * fake->page + 2 * BYTES);
	close(fake->fd);
}

static uint64_t *producer(struct fake *fake)
{
	return (uint64_t *)(void *)(fake->base + fake->page);
}

/* Writes both copies, as the kernel's double mapping would. */
static void put(struct fake *fake, const char *text, uint32_t flags)
{
	uint64_t position = *producer(fake) % BYTES;
	uint32_t len = (uint32_t)strlen(text), header[2] = {len | flags, 0};
	char record[64];
	memcpy(record, header, 8);
	memcpy(record + 8, text, len);
	for (size_t i = 0; i < 8 + len; i++) {
		fake->base[2 * fake->page + (position + i) % BYTES] = record[i];
		fake->base[2 * fake->page + BYTES + (position + i) % BYTES] = record[i];
	}
	*producer(fake) += (8 + len + 7) & ~7u;
}

static void assert_next(struct fake *fake, const char *text)
{
	struct span record;
	assert_int_equal(ring_peek(&fake->ring, &record), 1);
	assert_int_equal(record.len, strlen(text));
	assert_memory_equal(record.ptr, text, record.len);
	ring_take(&fake->ring);
}

static void records_come_in_order_and_once(void **state)
{
	(void)state;
	struct fake fake;
	struct span record;
	setup(&fake);
	assert_int_equal(ring_peek(&fake.ring, &record), 0);
	put(&fake, "first", 0);
	put(&fake, "second one", 0);
	assert_next(&fake, "first");
	assert_next(&fake, "second one");
	assert_int_equal(ring_peek(&fake.ring, &record), 0);
	assert_int_equal(*(uint64_t *)(void *)fake.base, *producer(&fake)); /* all given back */
	teardown(&fake);
}

static void discarded_records_are_skipped(void **state)
{
	(void)state;
	struct fake fake;
	setup(&fake);
	put(&fake, "never mind", UINT32_C(1) << 30);
	put(&fake, "this", 0);
	assert_next(&fake, "this");
	teardown(&fake);
}

static void a_record_that_is_being_written_is_waited_for(void **state)
{
	(void)state;
	struct fake fake;
	struct span record;
	setup(&fake);
	put(&fake, "half", UINT32_C(1) << 31);
	put(&fake, "after", 0);
	assert_int_equal(ring_peek(&fake.ring, &record), 0);
	((uint32_t *)(void *)(fake.base + 2 * fake.page))[0] = 4;
	assert_next(&fake, "half");
	assert_next(&fake, "after");
	teardown(&fake);
}

static void records_across_the_end_are_whole(void **state)
{
	(void)state;
	struct fake fake;
	setup(&fake);
	for (int i = 0; i < 1000; i++) {
		put(&fake, "thirteen byte", 0);
		assert_next(&fake, "thirteen byte");
	}
	teardown(&fake);
}

static void what_is_no_ring_is_an_error(void **state)
{
	(void)state;
	struct ring ring = {0};
	assert_int_equal(ring_map(-1, BYTES, &ring), -EBADF);
	assert_null(ring.consumer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_in_order_and_once),
		cmocka_unit_test(discarded_records_are_skipped),
		cmocka_unit_test(a_record_that_is_being_written_is_waited_for),
		cmocka_unit_test(records_across_the_end_are_whole),
		cmocka_unit_test(what_is_no_ring_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
