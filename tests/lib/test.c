#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *ptr);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *ptr);

/* Threads of a test may allocate too: the counters are atomic. */
static size_t allocations;
static size_t fail_from = SIZE_MAX; /* the value of `allocations` from which on they fail */
static size_t failed;

static bool may_allocate(void)
{
	size_t number = __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
	if (number < __atomic_load_n(&fail_from, __ATOMIC_RELAXED))
		return true;
	__atomic_fetch_add(&failed, 1, __ATOMIC_RELAXED);
	errno = ENOMEM;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
	return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
	return may_allocate() ? __real_realloc(old, size) : NULL;
}

void __wrap_free(void *ptr)
{
	__real_free(ptr);
}

size_t test_allocations(void)
{
	return __atomic_load_n(&allocations, __ATOMIC_RELAXED);
}

void test_allocation_fail_after(size_t n)
{
	failed = 0;
	__atomic_store_n(&fail_from, test_allocations() + n, __ATOMIC_RELAXED);
}

void test_allocation_heal(void)
{
	__atomic_store_n(&fail_from, SIZE_MAX, __ATOMIC_RELAXED);
}

void test_out_of_memory(int (*attempt)(void *arg), void *arg)
{
	for (size_t n = 0;; n++) {
		test_allocation_fail_after(n);
		int result = attempt(arg);
		test_allocation_heal();
		if (failed == 0) {
			assert_int_equal(result, 0);
			assert_true(n > 0); /* a loop over no allocation tests nothing */
			return;
		}
		if (result != -ENOMEM)
			fail_msg("allocation %zu failed, but the result is %d instead of -ENOMEM", n, result);
	}
}

struct span test_file(const char *path)
{
	char full[4096];
	snprintf(full, sizeof(full), "%s/%s", GLEANER_TESTS_DIR, path);
	FILE *file = fopen(full, "rb");
	if (!file)
		fail_msg("%s: %s", full, strerror(errno));
	fseek(file, 0, SEEK_END);
	long size = ftell(file);
	rewind(file);
	char *bytes = __real_calloc(1, (size_t)size + 64);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
	fclose(file);
	return span_of(bytes, (size_t)size);
}

void test_file_free(struct span bytes)
{
	__real_free((void *)bytes.ptr);
}

void test_assert_text(struct span actual, const char *expected)
{
	struct span want = span_str(expected);
	if (span_eq(actual, want))
		return;
	size_t line = 1, at = 0;
	while (at < actual.len && at < want.len && actual.ptr[at] == want.ptr[at])
		line += actual.ptr[at++] == '\n';
	fail_msg(
		"texts differ from line %zu on\n--- actual\n%.*s\n--- expected\n%s", line, SPAN_ARGS(actual), expected);
}

static uint64_t test_clock_mono(void *arg)
{
	return ((struct test_clock *)arg)->mono_ns;
}

static uint64_t test_clock_wall(void *arg)
{
	return ((struct test_clock *)arg)->wall_ns;
}

struct clock test_clock(struct test_clock *state)
{
	return (struct clock){test_clock_mono, test_clock_wall, state};
}
