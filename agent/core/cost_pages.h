/* cost_pages: what a scrape costs, as pages and tables write it. */
#pragma once

#include "cost_history.h"

struct core;
struct core_target;

struct cost_text {
	char text[24];
};
/* "41 us", "1.23 ms", "2.50 s"; "-" when not known. */
struct cost_text cost_time_text(double seconds);
/* "0.042%", "12.5%" */
struct cost_text cost_share_text(double share);
/* "812 B", "12.3 kB" */
struct cost_text cost_bytes_text(uint64_t bytes);

/* Of one target. `shown`: the best estimate, or, at_least, the lower bound; NAN: neither is known. Shares are of one core. */
struct cost_figures {
	struct cost_estimate estimate;
	uint64_t interval_ns; /* as it is now, stretched by a budget perhaps */
	bool at_least;
	double shown, share;
	double agent, agent_p99, agent_share;
};
struct cost_figures cost_figures(const struct core_target *target);

/* Why nothing is measured at the targets by eBPF; NULL: it is. */
const char *cost_missing(const struct core *core);

/* ,"cost":{...} */
void cost_json(struct buf *out, const struct core_target *target);
/* Two cells of a row of /targets. */
void cost_html(struct buf *out, const struct core_target *target);
