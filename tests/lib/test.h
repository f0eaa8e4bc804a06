/* What every unit test includes: cmocka, files of tests/, and allocation control. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gleaner/base.h"

/* A file below tests/ ("golden/x.txt"), followed by 64 zero bytes; fails the test when it is not there. Free with test_file_free. */
struct span test_file(const char *path);
void test_file_free(struct span bytes);

/* Allocations (malloc, calloc, realloc) of the code under test since the program started. */
size_t test_allocations(void);
/* The n-th allocation from now (from 0) and all after it fail, until test_allocation_heal. */
void test_allocation_fail_after(size_t n);
void test_allocation_heal(void);

/* The out-of-memory loop: runs `attempt` with the n-th allocation failing, for n = 0, 1, ... until it returns 0 with no allocation
 * having failed. attempt must return -ENOMEM (anything else fails the test) and leak nothing when an allocation failed. */
void test_out_of_memory(int (*attempt)(void *arg), void *arg);

/* Asserts that two texts are equal; prints both and the first differing line when not. */
void test_assert_text(struct span actual, const char *expected);

/* A clock that stands still until it is moved. */
struct test_clock {
	uint64_t mono_ns, wall_ns;
};
struct clock test_clock(struct test_clock *state);
