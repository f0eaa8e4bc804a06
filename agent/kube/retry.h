/* When a request to the API server is to be sent again. No clock, no network: tested as a table. */
#pragma once

#include "gleaner/base.h"

struct kube_retry {
	unsigned failures;  /* in a row, of any kind */
	unsigned forbidden; /* answers 403 in a row */
	unsigned absent;    /* answers 404 in a row */
	unsigned ahead;     /* answers 504 in a row: our version is in the future */
	struct rng rng;
};

void kube_retry_init(struct kube_retry *retry, uint64_t seed);
void kube_retry_succeeded(struct kube_retry *retry);
/* status: of the answer; 0 when there was none. retry_after_ns: what the server asked for, or 0. Returns how long to wait. */
uint64_t kube_retry_failed(struct kube_retry *retry, unsigned status, uint64_t retry_after_ns);
