/* The event loop: libevent_core behind our own words, and a queue for calls from other threads. */
#include "gleaner/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct loop_waiting_call;

struct loop_job {
	struct loop_job *next;
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	struct event_base *base;
	struct loop_signal_watch *signals;
	/* Calls from other threads; the eventfd wakes the loop. */
	pthread_mutex_t lock;
	struct loop_job *first, *last;
	int wake_fd;
	struct loop_watch *wake;
};

struct loop_watch {
	struct loop *loop;
	struct event *event;
	int fd;
	void (*ready)(void *arg, unsigned events);
	void *arg;
};

struct loop_timer {
	struct event *event;
	void (*fired)(void *arg);
	void *arg;
};

struct loop_signal_watch {
	struct loop_signal_watch *next;
	struct event *event;
	void (*received)(void *arg);
	void *arg;
};

static struct loop_job *take_jobs(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	struct loop_job *jobs = loop->first;
	loop->first = loop->last = NULL;
	pthread_mutex_unlock(&loop->lock);
	return jobs;
}

static void run_jobs(void *arg, unsigned events)
{
	struct loop *loop = arg;
	uint64_t count;
	(void)events;
	if (read(loop->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	for (struct loop_job *job = take_jobs(loop); job;) {
		struct loop_job *next = job->next;
		job->fn(job->arg);
		free(job);
		job = next;
	}
}

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (!loop)
		return -ENOMEM;
	pthread_mutex_init(&loop->lock, NULL);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->base = event_base_new();
	int result = -ENOMEM;
	if (loop->wake_fd >= 0 && loop->base)
		result = loop_watch_new(loop, loop->wake_fd, LOOP_READ, run_jobs, loop, &loop->wake);
	if (result < 0) {
		loop_free(loop);
		return result;
	}
	*ret_loop = loop;
	return 0;
}

static void waiting_call_run(void *arg);
static void waiting_call_free(struct loop_waiting_call *call);

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	for (struct loop_job *job = take_jobs(loop); job;) {
		struct loop_job *next = job->next;
		if (job->fn == waiting_call_run) /* who waited has given up: no other thread calls any more */
			waiting_call_free(job->arg);
		free(job);
		job = next;
	}
	while (loop->signals) {
		struct loop_signal_watch *watch = loop->signals;
		loop->signals = watch->next;
		event_free(watch->event);
		free(watch);
	}
	loop_watch_free(loop->wake);
	if (loop->base)
		event_base_free(loop->base);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int loop_run(struct loop *loop)
{
	return event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0 ? -EIO : 0;
}

void loop_stop(struct loop *loop)
{
	event_base_loopbreak(loop->base);
}

static void watch_ready(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *watch = arg;
	(void)fd;
	watch->ready(watch->arg, (what & EV_READ ? LOOP_READ : 0u) | (what & EV_WRITE ? LOOP_WRITE : 0u));
}

static int watch_assign(struct loop_watch *watch, unsigned events)
{
	short what = (short)((events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0));
	if (what == 0)
		return 0;
	if (event_assign(watch->event, watch->loop->base, watch->fd, (short)(what | EV_PERSIST), watch_ready, watch) <
			0 ||
		event_add(watch->event, NULL) < 0)
		return -ENOMEM;
	return 0;
}

int loop_watch_new(struct loop *loop, int fd, unsigned events, void (*ready)(void *arg, unsigned events), void *arg,
	struct loop_watch **ret_watch)
{
	struct loop_watch *watch = malloc(sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	*watch = (struct loop_watch){.loop = loop, .fd = fd, .ready = ready, .arg = arg};
	watch->event = event_new(loop->base, fd, 0, watch_ready, watch);
	if (!watch->event) {
		free(watch);
		return -ENOMEM;
	}
	int result = watch_assign(watch, events);
	if (result < 0) {
		loop_watch_free(watch);
		return result;
	}
	*ret_watch = watch;
	return 0;
}

int loop_watch_set(struct loop_watch *watch, unsigned events)
{
	event_del(watch->event);
	return watch_assign(watch, events);
}

void loop_watch_free(struct loop_watch *watch)
{
	if (!watch)
		return;
	event_free(watch->event);
	free(watch);
}

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *timer = arg;
	(void)fd, (void)what;
	timer->fired(timer->arg);
}

int loop_timer_new(struct loop *loop, void (*fired)(void *arg), void *arg, struct loop_timer **ret_timer)
{
	struct loop_timer *timer = malloc(sizeof(*timer));
	if (!timer)
		return -ENOMEM;
	*timer = (struct loop_timer){.fired = fired, .arg = arg};
	timer->event = event_new(loop->base, -1, 0, timer_fired, timer);
	if (!timer->event) {
		free(timer);
		return -ENOMEM;
	}
	*ret_timer = timer;
	return 0;
}

int loop_timer_set(struct loop_timer *timer, uint64_t delay_ns)
{
	/* Rounded up: a timer that fires early makes its owner spin. */
	uint64_t us = delay_ns / 1000 + (delay_ns % 1000 != 0);
	struct timeval delay = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
	return event_add(timer->event, &delay) < 0 ? -ENOMEM : 0;
}

void loop_timer_cancel(struct loop_timer *timer)
{
	event_del(timer->event);
}

void loop_timer_free(struct loop_timer *timer)
{
	if (!timer)
		return;
	event_free(timer->event);
	free(timer);
}

static void signal_received(evutil_socket_t fd, short what, void *arg)
{
	struct loop_signal_watch *watch = arg;
	(void)fd, (void)what;
	watch->received(watch->arg);
}

int loop_signal(struct loop *loop, int signal_number, void (*received)(void *arg), void *arg)
{
	struct loop_signal_watch *watch = malloc(sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	*watch = (struct loop_signal_watch){.next = loop->signals, .received = received, .arg = arg};
	watch->event = evsignal_new(loop->base, signal_number, signal_received, watch);
	if (!watch->event || event_add(watch->event, NULL) < 0) {
		if (watch->event)
			event_free(watch->event);
		free(watch);
		return -ENOMEM;
	}
	loop->signals = watch;
	return 0;
}

int loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct loop_job *job = malloc(sizeof(*job));
	if (!job)
		return -ENOMEM;
	*job = (struct loop_job){.fn = fn, .arg = arg};
	pthread_mutex_lock(&loop->lock);
	if (loop->last)
		loop->last->next = job;
	else
		loop->first = job;
	loop->last = job;
	pthread_mutex_unlock(&loop->lock);
	uint64_t one = 1;
	/* Fails only when the counter is full, and then the loop is awake anyway. */
	ssize_t ignored = write(loop->wake_fd, &one, sizeof(one));
	(void)ignored;
	return 0;
}

/* A call that waits. Two parties hold it: who waits, and the posted job; the last one frees it. */
struct loop_waiting_call {
	pthread_mutex_t lock;
	pthread_cond_t done_changed;
	enum { CALL_WAITING, CALL_RUNNING, CALL_DONE, CALL_ABANDONED } state;
	void (*fn)(void *arg);
	void *arg;
};

static void waiting_call_free(struct loop_waiting_call *call)
{
	pthread_cond_destroy(&call->done_changed);
	pthread_mutex_destroy(&call->lock);
	free(call);
}

static void waiting_call_run(void *arg)
{
	struct loop_waiting_call *call = arg;
	pthread_mutex_lock(&call->lock);
	bool abandoned = call->state == CALL_ABANDONED;
	call->state = CALL_RUNNING;
	pthread_mutex_unlock(&call->lock);
	if (abandoned) {
		waiting_call_free(call);
		return;
	}
	call->fn(call->arg);
	pthread_mutex_lock(&call->lock);
	call->state = CALL_DONE;
	pthread_cond_signal(&call->done_changed);
	pthread_mutex_unlock(&call->lock);
}

int loop_call(struct loop *loop, void (*fn)(void *arg), void *arg, uint64_t timeout_ns)
{
	struct loop_waiting_call *call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	call->fn = fn;
	call->arg = arg;
	pthread_mutex_init(&call->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&call->done_changed, &attr);
	pthread_condattr_destroy(&attr);
	int result = loop_post(loop, waiting_call_run, call);
	if (result < 0) {
		waiting_call_free(call);
		return result;
	}
	struct clock clock = clock_system();
	uint64_t until = clock_mono(&clock) + timeout_ns;
	struct timespec deadline = {(time_t)(until / NS_PER_SEC), (long)(until % NS_PER_SEC)};
	pthread_mutex_lock(&call->lock);
	while (call->state == CALL_WAITING && result == 0)
		result = -pthread_cond_timedwait(&call->done_changed, &call->lock, &deadline);
	while (call->state == CALL_RUNNING)
		pthread_cond_wait(&call->done_changed, &call->lock);
	bool done = call->state == CALL_DONE;
	if (!done)
		call->state = CALL_ABANDONED;
	pthread_mutex_unlock(&call->lock);
	if (done)
		waiting_call_free(call);
	return done ? 0 : -ETIMEDOUT;
}
