/* What exporter.c (the thread and its outside) and deliver.c (what it does) share. */
#pragma once

#include "destination.h"
#include "verdict.h"

#include <pthread.h>

struct exporter {
	struct spool *spool;
	const struct log *log;
	struct clock clock;
	pthread_t thread;

	/* Under the lock: what other threads read and write. wake_fd is written after a change. */
	pthread_mutex_t lock;
	struct export_stats stats;
	struct destination *pending; /* of exporter_configure, not yet taken over */
	bool stop_wanted;
	uint64_t stop_deadline_ns; /* from the moment that the thread sees it */
	int wake_fd;

	/* The thread's own. */
	struct loop *loop;
	struct loop_watch *wake_watch;
	struct loop_watch *spool_watch; /* asks for nothing while a record is in hand or a wait is on */
	struct loop_timer *timer;       /* the wait between attempts */
	struct loop_timer *stop_timer;
	struct http *http;
	struct destination *destination;
	struct rng rng;
	bool stopping;

	struct http_call *call;     /* NULL: no request in flight */
	struct spool_record record; /* in flight of the spool while call is set */
	struct buf response;
	uint64_t printed_id;       /* newest record that debug has printed */
	uint64_t tried_id;         /* newest record that was sent, */
	unsigned limited_failures; /* how often it failed with VERDICT_LIMITED */
	uint64_t failures;         /* of the endpoint, in a row */
	struct log_limit failure_log, refused_log, partial_log;
};

/* deliver.c, all in the thread. */
/* Takes over new options, then sends the oldest record if nothing is in flight. */
void deliver_next(struct exporter *exporter);
/* From now on waits are short, and the loop stops when the spool is empty. */
void deliver_last(struct exporter *exporter);
/* A client for the present destination. 0, -ENOMEM (the old one stays). */
int deliver_renew_client(struct exporter *exporter);
