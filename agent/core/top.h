/* top: the node's targets by what scraping them costs, for `gleaner top`. */
#pragma once

#include "gleaner/base.h"

struct core;
struct status_request;
struct status_reply;

enum top_sort {
	TOP_SHARE, /* of a core, at the target */
	TOP_CPU,
	TOP_P99,
	TOP_AGENT,
	TOP_SAMPLES,
	TOP_IN,
	TOP_OUT,
	TOP_TOOK,
	TOP_NAME, /* the only one that ascends */
};
/* 0, -EINVAL. */
int top_sort_parse(struct span name, enum top_sort *ret_sort);

/* A table of at most `limit` targets, or all of them with their figures as JSON. */
void top_render(struct core *core, bool json, enum top_sort sort, size_t limit, struct buf *out);
/* The same for GET /api/v1/top?format=text|json&sort=KEY&limit=N. */
void top_page(struct core *core, const struct status_request *request, struct status_reply *reply);
