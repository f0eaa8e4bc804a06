/* loop: watches, timers and calls from other threads, on the real libevent. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "gleaner/loop.h"

struct fixture {
	struct loop *loop;
	struct loop_watch *watch;
	struct loop_timer *timer;
	int fds[2];
	unsigned reads, ticks, calls;
};

static void stop_after_reading(void *arg, unsigned events)
{
	struct fixture *f = arg;
	char byte;
	assert_int_equal(events, LOOP_READ);
	assert_int_equal(read(f->fds[0], &byte, 1), 1);
	if (++f->reads == 2) {
		loop_watch_free(f->watch); /* from within its own callback */
		f->watch = NULL;
		loop_stop(f->loop);
	}
}

static void tick(void *arg)
{
	struct fixture *f = arg;
	f->ticks++;
	assert_int_equal(write(f->fds[1], "x", 1), 1);
	if (f->ticks < 2)
		assert_int_equal(loop_timer_set(f->timer, NS_PER_MS), 0);
}

static void timers_and_watches_run_in_the_loop(void **state)
{
	(void)state;
	struct fixture f = {0};
	assert_int_equal(pipe(f.fds), 0);
	assert_int_equal(loop_new(&f.loop), 0);
	assert_int_equal(loop_watch_new(f.loop, f.fds[0], LOOP_READ, stop_after_reading, &f, &f.watch), 0);
	assert_int_equal(loop_timer_new(f.loop, tick, &f, &f.timer), 0);
	assert_int_equal(loop_timer_set(f.timer, 0), 0);
	assert_int_equal(loop_run(f.loop), 0);
	assert_int_equal(f.reads, 2);
	assert_int_equal(f.ticks, 2);
	loop_timer_free(f.timer);
	loop_free(f.loop);
	close(f.fds[0]);
	close(f.fds[1]);
}

static void count_call(void *arg)
{
	((struct fixture *)arg)->calls++;
}

static void stop(void *arg)
{
	loop_stop(((struct fixture *)arg)->loop);
}

static void *call_from_another_thread(void *arg)
{
	struct fixture *f = arg;
	assert_int_equal(loop_call(f->loop, count_call, f, 10 * NS_PER_SEC), 0);
	assert_int_equal(f->calls, 1); /* it has run when loop_call returns */
	assert_int_equal(loop_post(f->loop, stop, f), 0);
	return NULL;
}

static void another_thread_can_call_and_wait(void **state)
{
	(void)state;
	struct fixture f = {0};
	pthread_t thread;
	assert_int_equal(loop_new(&f.loop), 0);
	assert_int_equal(pthread_create(&thread, NULL, call_from_another_thread, &f), 0);
	assert_int_equal(loop_run(f.loop), 0);
	pthread_join(thread, NULL);
	loop_free(f.loop);
}

static void a_call_into_a_loop_that_stands_still_times_out_and_never_runs(void **state)
{
	(void)state;
	struct fixture f = {0};
	assert_int_equal(loop_new(&f.loop), 0);
	assert_int_equal(loop_call(f.loop, count_call, &f, NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(loop_post(f.loop, stop, &f), 0);
	assert_int_equal(loop_run(f.loop), 0);
	assert_int_equal(f.calls, 0);
	loop_free(f.loop);
}

static int make_all(void *arg)
{
	struct loop *loop = NULL;
	struct loop_timer *timer = NULL;
	(void)arg;
	int result = loop_new(&loop);
	if (result == 0)
		result = loop_timer_new(loop, count_call, NULL, &timer);
	if (result == 0)
		result = loop_post(loop, count_call, NULL);
	loop_timer_free(timer);
	loop_free(loop);
	return result;
}

static void a_call_that_was_given_up_dies_with_its_loop(void **state)
{
	(void)state;
	struct fixture f = {0};
	assert_int_equal(loop_new(&f.loop), 0);
	assert_int_equal(loop_call(f.loop, count_call, &f, NS_PER_MS), -ETIMEDOUT);
	loop_free(f.loop); /* the leak checker looks on */
	assert_int_equal(f.calls, 0);
}

static void running_out_of_memory_is_an_error_and_no_leak(void **state)
{
	(void)state;
	test_out_of_memory(make_all, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_and_watches_run_in_the_loop),
		cmocka_unit_test(another_thread_can_call_and_wait),
		cmocka_unit_test(a_call_into_a_loop_that_stands_still_times_out_and_never_runs),
		cmocka_unit_test(a_call_that_was_given_up_dies_with_its_loop),
		cmocka_unit_test(running_out_of_memory_is_an_error_and_no_leak),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
