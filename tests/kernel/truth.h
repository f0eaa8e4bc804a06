/* Servers that know what each of their answers cost, by the clocks of their own threads. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "kernel.h"

enum truth_mode {
	TRUTH_THREAD,   /* a thread per connection */
	TRUTH_LOOP,     /* one thread, poll() */
	TRUTH_PREFORK,  /* four processes that accept */
	TRUTH_FORK,     /* a process per connection */
	TRUTH_POOL,     /* a reader hands over to one of two workers, which answers */
	TRUTH_WORKERS,  /* a handler has four workers do the work, waits, and answers */
	TRUTH_SLEEPING, /* a thread per connection that sleeps three times 2 ms */
	TRUTH_SENDFILE, /* a thread per connection, the body by sendfile() */
	TRUTH_PROXY,    /* a thread per connection that has another server do the work, over one kept connection */
};

enum { TRUTH_REQUESTS = 256, TRUTH_NOT_OURS = UINT32_MAX };

/* A request on the wire. */
struct truth_request {
	uint32_t sequence; /* below TRUTH_REQUESTS: the cost is noted; TRUTH_NOT_OURS: it is not */
	uint32_t work_us;
};

struct truth_server {
	enum truth_mode mode;
	uint32_t body_bytes;
	uint16_t upstream_port; /* TRUTH_PROXY; that server has the same body_bytes */
	bool background;        /* another thread of the process burns 30 % of a CPU */
	uint16_t port;
	pid_t pid;
	/* CPU time of answering, from before the blocking read to after the last write; shared memory. */
	volatile uint64_t *cost_ns;
};

/* Starts it in the namespace; it listens when this returns. */
void truth_start(struct truth_server *server, const struct netns *netns);
void truth_stop(struct truth_server *server);
