/* The metrics that every scrape adds about itself: up, scrape_* (semantics 2.9). */
#pragma once

#include "gleaner/scrape.h"

/* Encodes what does not change between scrapes into scrape_target->report. 0, -ENOMEM. */
int report_init(struct scrape_target *scrape_target);
/* Appends the report of a scrape to the batch. */
int report_scrape(struct scrape_target *scrape_target, const struct scrape_input *input,
	const struct scrape_outcome *outcome, struct otlp_batch *batch);
/* Stale points for the report metrics, if there ever was a report. */
int report_gone(struct scrape_target *scrape_target, uint64_t time_ns, struct otlp_batch *batch, uint64_t *ret_points);
