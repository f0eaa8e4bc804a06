/* trials: ports that pods listen on without declaring them (discovery.listen). Each is asked once; what it answered is remembered. */
#pragma once

#include "gleaner/probe.h"

struct core;
struct target;
struct wire_scraped;

enum trial_state {
	TRIAL_WAITING,  /* for its turn, or for another attempt */
	TRIAL_RUNNING,  /* it is a target; its first scrape decides */
	TRIAL_ACCEPTED, /* it speaks an exposition format and is scraped like any other target */
	TRIAL_REFUSED,  /* it does not; asked again when it closes and opens */
};

struct trials_counters {
	uint64_t accepted, refused, failed; /* failed: no answer, to be asked again or not */
	uint64_t over_limit; /* times that a port was not looked at: too many are known, of its pod or in all */
};

/* Does nothing unless discovery.listen is enabled. 0, -ENOMEM. */
int trials_start(struct core *core);
void trials_stop(struct core *core);

/* A port opened, or opened again; just_now: and was not merely found open by a snapshot. It closed for good. */
void trials_opened(struct core *core, const struct listener *listener, bool just_now);
void trials_closed(struct core *core, const struct listener *listener);
/* Pods, targets or listening ports are others now: some ports may be wanted, some not any more. */
void trials_review(struct core *core);

/* What a timer does when something changed or is due; not while discovery.listen is off. */
void trials_work(struct core *core);

/* Whether the next scrape of the target is a trial. Cost: the ports that are known. */
bool trials_is_trial(const struct core *core, const struct target *target);
/* What came of a scrape of any target. */
void trials_scraped(struct core *core, const struct target *target, const struct wire_scraped *scraped);

/* "waiting", "asked", "scraped", "no metrics"; NULL when the port was not looked at. */
const char *trials_verdict(const struct core *core, const struct listener *listener);
