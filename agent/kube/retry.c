/* Waits between attempts (see retry.h). */
#include "retry.h"

/* Full jitter, as client-go has it: 5,000 agents that lost their API server together do not come back together. Its ceiling
 * of 30 s is too long for us: an agent has to have the right targets 15 s after the server is back. */
#define FIRST_NS     (800 * NS_PER_MS)
#define LONGEST_NS   (5 * NS_PER_SEC)
#define SHORTEST_NS  (100 * NS_PER_MS)
#define RETRY_MAX_NS (60 * NS_PER_SEC) /* of what a server may ask for */
enum {
	HOPEFUL = 3,  /* answers 403 while rights may still be on their way: the agent's own installation */
	PATIENT = 30, /* answers 404, five minutes, while a CRD may be on its way, or taken away and put back */
};

void kube_retry_init(struct kube_retry *retry, uint64_t seed)
{
	*retry = (struct kube_retry){0};
	rng_init(&retry->rng, seed);
}

void kube_retry_succeeded(struct kube_retry *retry)
{
	retry->failures = retry->forbidden = retry->absent = retry->ahead = 0;
}

static uint64_t between(struct kube_retry *retry, uint64_t low_ns, uint64_t high_ns)
{
	return low_ns + rng_below(&retry->rng, high_ns - low_ns + 1);
}

static uint64_t backoff(struct kube_retry *retry)
{
	unsigned doublings = retry->failures - 1;
	uint64_t limit_ns = doublings < 3 ? FIRST_NS << doublings : LONGEST_NS;
	return between(retry, SHORTEST_NS, limit_ns < LONGEST_NS ? limit_ns : LONGEST_NS);
}

uint64_t kube_retry_failed(struct kube_retry *retry, unsigned status, uint64_t retry_after_ns)
{
	retry->failures++;
	retry->forbidden = status == 403 ? retry->forbidden + 1 : 0;
	retry->absent = status == 404 ? retry->absent + 1 : 0;
	retry->ahead = status == 504 ? retry->ahead + 1 : 0;
	if (retry->forbidden > HOPEFUL || retry->absent > PATIENT)
		return between(retry, 54 * NS_PER_SEC, 66 * NS_PER_SEC);
	if (status == 403)
		return between(retry, 5 * NS_PER_SEC, 10 * NS_PER_SEC);
	if (status == 404) /* once may be a server that has just started: asked again soon */
		return retry->absent == 1 ? between(retry, 2 * NS_PER_SEC, 4 * NS_PER_SEC)
					  : between(retry, 5 * NS_PER_SEC, 15 * NS_PER_SEC);
	if (retry_after_ns > RETRY_MAX_NS)
		retry_after_ns = RETRY_MAX_NS;
	if (retry_after_ns > 0) /* it lives, and knows best */
		return between(retry, retry_after_ns, retry_after_ns + retry_after_ns / 2);
	return backoff(retry);
}
