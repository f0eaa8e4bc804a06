/* The rhythm of polls: an interval with jitter, a back-off, nudges (see pace.h). */
#include "pace.h"

#define NUDGE_GAP_NS NS_PER_SEC
/* A request that is refused or goes nowhere costs nobody anything; what was missed meanwhile is to be known soon. */
#define BACKOFF_LIMIT_NS (10 * NS_PER_SEC)
enum { FOLLOW_UPS = 2 };
/* The kubelet keeps a refusal for 30 s: asking sooner gets the same answer. */
#define FORBIDDEN_NS       (30 * NS_PER_SEC)
#define FORBIDDEN_LIMIT_NS (60 * NS_PER_SEC)

void kube_pace_init(struct kube_pace *pace, uint64_t interval_ns, uint64_t seed)
{
	*pace = (struct kube_pace){.interval_ns = interval_ns};
	rng_init(&pace->rng, seed);
}

void kube_pace_started(struct kube_pace *pace, uint64_t now_ns)
{
	pace->started_ns = now_ns;
}

/* +-10 %, so that the agents of a cluster that started together do not stay together. */
static uint64_t jitter(struct kube_pace *pace, uint64_t delay_ns)
{
	return delay_ns - delay_ns / 10 + rng_below(&pace->rng, delay_ns / 5 + 1);
}

static uint64_t until_nudge(const struct kube_pace *pace, uint64_t now_ns)
{
	uint64_t due_ns = pace->started_ns + NUDGE_GAP_NS;
	return pace->started_ns == 0 || now_ns >= due_ns ? 0 : due_ns - now_ns;
}

uint64_t kube_pace_succeeded(struct kube_pace *pace, uint64_t now_ns)
{
	bool nudged = pace->nudged;
	pace->failures = 0;
	pace->succeeded = true;
	pace->nudged = false;
	if (nudged)
		return until_nudge(pace, now_ns);
	if (pace->follow_ups == 0)
		return jitter(pace, pace->interval_ns);
	uint64_t delay_ns = NUDGE_GAP_NS << (FOLLOW_UPS - pace->follow_ups--);
	return delay_ns < pace->interval_ns ? delay_ns : pace->interval_ns;
}

uint64_t kube_pace_failed(struct kube_pace *pace, unsigned status)
{
	/* A kubelet that never answered is probably just starting: begin with a second. */
	uint64_t delay_ns = pace->succeeded ? pace->interval_ns : NS_PER_SEC;
	uint64_t limit_ns = status == 403 ? FORBIDDEN_LIMIT_NS : BACKOFF_LIMIT_NS;
	if (limit_ns < pace->interval_ns)
		limit_ns = pace->interval_ns;
	for (unsigned i = 0; i < pace->failures && delay_ns < limit_ns; i++)
		delay_ns *= 2;
	if (delay_ns > limit_ns)
		delay_ns = limit_ns;
	pace->failures++;
	pace->nudged = false;
	pace->follow_ups = 0;
	delay_ns = jitter(pace, delay_ns);
	return status == 403 && delay_ns < FORBIDDEN_NS ? FORBIDDEN_NS : delay_ns;
}

uint64_t kube_pace_nudged(struct kube_pace *pace, uint64_t now_ns, bool under_way)
{
	if (under_way)
		pace->nudged = true;
	if (under_way || pace->failures == 0)
		pace->follow_ups = FOLLOW_UPS;
	return under_way || pace->failures > 0 ? UINT64_MAX : until_nudge(pace, now_ns);
}
