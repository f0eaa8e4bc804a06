/* Which source of pods is used. No clock, no network: tested as a table. All times are monotonic.
 *
 * The sources stand in a row, the best first. A source is asked when each one before it is unable: it cannot answer (no socket, no right), or
 * it could and has not for 30 s. It is used when it is the best that answers. Those before it go on being asked, and the first to
 * answer takes over; those behind it are not asked any more.
 *
 * A worse one takes over from one that did answer only 12 s after its first answer: an outage of the API server stops the kubelet's
 * answers (401) and the API server's own alike, and the kubelet is asked every 10 s. Until then, as whenever nobody answers, the last
 * list stands.
 */
#pragma once

#include "gleaner/kube.h"

#define KUBE_CHOICE_STARTING_NS (5 * NS_PER_SEC)  /* what may pass by itself: a kubelet that is starting */
#define KUBE_CHOICE_PATIENCE_NS (30 * NS_PER_SEC) /* with one that did answer */
#define KUBE_CHOICE_SETTLE_NS   (12 * NS_PER_SEC)

struct kube_choice_slot {
	bool asked;
	bool answers; /* its last word was an answer */
	bool failed;  /* its last word was a failure */
	bool worked;  /* has answered since it is asked */
	enum kube_failure kind;
	uint64_t since_ns; /* of its first answer, or failure, in a row */
};

enum { KUBE_CHOICE_NONE = KUBE_SOURCES_MAX };

struct kube_choice {
	struct kube_choice_slot slots[KUBE_SOURCES_MAX];
	size_t count;
	size_t used; /* or KUBE_CHOICE_NONE */
};

void kube_choice_init(struct kube_choice *choice, size_t count);
void kube_choice_answered(struct kube_choice *choice, size_t number, uint64_t now_ns);
void kube_choice_failed(struct kube_choice *choice, size_t number, enum kube_failure kind, uint64_t now_ns);
/* Brings slots[].asked and used up to date. Returns when to call it again; 0: not before another word. */
uint64_t kube_choice_decide(struct kube_choice *choice, uint64_t now_ns);
