/* loop: one event loop per process (core, scraper); libevent_core lives behind it.
 *
 * Callbacks run in the thread that called loop_run. Only loop_post and
 * loop_call may be used from other threads.
 */
#pragma once

#include "gleaner/base.h"

struct loop;
struct loop_watch; /* a file descriptor that is watched */
struct loop_timer;

/* 0 or -errno. */
int loop_new(struct loop **ret_loop);
void loop_free(struct loop *loop);
/* Runs until loop_stop. 0 or -errno. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

enum { LOOP_READ = 1, LOOP_WRITE = 2 };
/* events: what of LOOP_READ | LOOP_WRITE is wanted; level-triggered; the callback gets what is ready. fd stays the caller's. */
int loop_watch_new(struct loop *loop, int fd, unsigned events, void (*ready)(void *arg, unsigned events), void *arg,
	struct loop_watch **ret_watch);
int loop_watch_set(struct loop_watch *watch, unsigned events);
/* Takes effect at once, also from within a callback. NULL is fine. */
void loop_watch_free(struct loop_watch *watch);

int loop_timer_new(struct loop *loop, void (*fired)(void *arg), void *arg, struct loop_timer **ret_timer);
/* Fires once, delay_ns from now; replaces an earlier setting. */
int loop_timer_set(struct loop_timer *timer, uint64_t delay_ns);
void loop_timer_cancel(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

/* Calls `received` in the loop when the process gets the signal. */
int loop_signal(struct loop *loop, int signal_number, void (*received)(void *arg), void *arg);

/* From any thread: runs fn(arg) in the loop soon. 0 or -ENOMEM. */
int loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);
/* From another thread than the loop's: runs fn(arg) in the loop and waits for its end. 0, or -ETIMEDOUT when fn had not
 * started within timeout_ns (it will not run later), or -ENOMEM. */
int loop_call(struct loop *loop, void (*fn)(void *arg), void *arg, uint64_t timeout_ns);
