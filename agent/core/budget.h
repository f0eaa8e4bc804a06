/* budget: a target that is too dear to scrape is scraped less often, stepwise, and back again. Pure: counts and compares. */
#pragma once

#include "gleaner/target.h"

enum {
	BUDGET_SCRAPES_OVER = 5,   /* in a row above the budget: the interval is doubled */
	BUDGET_SCRAPES_UNDER = 10, /* in a row so cheap that half the interval would do: it is halved */
	BUDGET_STRETCH_MAX = 64,
};

struct budget {
	uint32_t stretch; /* the interval is so many times the configured one, a power of two; 0: as 1 */
	uint32_t over, under;
};

uint32_t budget_stretch(const struct budget *budget);
/* The options or the interval are others now: the stretch may not be more than they allow. */
void budget_fit(struct budget *budget, const struct target_budget_options *options, uint64_t interval_ns);
/* After a measured scrape.
 *   cpu_seconds  of the target for one scrape (the median of the last ones); NAN: not known, nothing changes
 *   returns      whether the stretch is another one now */
bool budget_judge(
	struct budget *budget, const struct target_budget_options *options, uint64_t interval_ns, double cpu_seconds);
