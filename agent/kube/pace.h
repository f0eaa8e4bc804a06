/* When the next poll is due. No clock, no network: tested as a table. All times are monotonic. */
#pragma once

#include "gleaner/base.h"

struct kube_pace {
	uint64_t interval_ns;
	uint64_t started_ns; /* the last poll; 0: none yet */
	unsigned failures;   /* in a row */
	bool succeeded;      /* ever */
	bool nudged;         /* while a poll was under way */
	unsigned follow_ups; /* polls that are still owed to the last nudge */
	struct rng rng;
};

void kube_pace_init(struct kube_pace *pace, uint64_t interval_ns, uint64_t seed);
void kube_pace_started(struct kube_pace *pace, uint64_t now_ns);
/* The poll that was under way has ended; both return how long to wait now. */
uint64_t kube_pace_succeeded(struct kube_pace *pace, uint64_t now_ns);
/* status: of the HTTP answer, 0 when there was none. */
uint64_t kube_pace_failed(struct kube_pace *pace, unsigned status);
/* Somebody wants a poll now, and gets two more 1 s and 3 s after it: a pod whose port just opened may be listed, but the kubelet writes its
 * phase and address half a second later. Returns how long to wait for it, or UINT64_MAX: what was planned stands. */
uint64_t kube_pace_nudged(struct kube_pace *pace, uint64_t now_ns, bool under_way);
