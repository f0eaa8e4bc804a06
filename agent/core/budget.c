#include "budget.h"

#include <math.h>

/* Half the interval must fit with some room, else it would go to and fro. */
#define ROOM 0.8

uint32_t budget_stretch(const struct budget *budget)
{
	return budget->stretch ? budget->stretch : 1;
}

static bool set_stretch(struct budget *budget, uint32_t stretch)
{
	bool other = stretch != budget_stretch(budget);
	*budget = (struct budget){.stretch = stretch};
	return other;
}

void budget_fit(struct budget *budget, const struct target_budget_options *options, uint64_t interval_ns)
{
	uint32_t stretch = options->share > 0 ? budget_stretch(budget) : 1;
	while (stretch > 1 && stretch * interval_ns > options->max_interval_ns)
		stretch /= 2;
	set_stretch(budget, stretch);
}

bool budget_judge(
	struct budget *budget, const struct target_budget_options *options, uint64_t interval_ns, double cpu_seconds)
{
	uint32_t stretch = budget_stretch(budget);
	if (options->share <= 0 || isnan(cpu_seconds))
		return false;
	double allowed = options->share * (double)interval_ns / (double)NS_PER_SEC; /* seconds a scrape, unstretched */
	uint32_t half = stretch / 2;
	bool over = cpu_seconds > allowed * stretch;
	bool under = half > 0 && cpu_seconds <= ROOM * allowed * half;
	budget->over = over ? budget->over + 1 : 0;
	budget->under = under ? budget->under + 1 : 0;
	if (budget->over >= BUDGET_SCRAPES_OVER && stretch < BUDGET_STRETCH_MAX &&
		2 * stretch * interval_ns <= options->max_interval_ns)
		return set_stretch(budget, 2 * stretch);
	if (budget->under >= BUDGET_SCRAPES_UNDER)
		return set_stretch(budget, half);
	return false;
}
