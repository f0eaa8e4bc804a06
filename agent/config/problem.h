/* problem: collects what is wrong with a configuration file. */
#pragma once

#include "gleaner/config.h"

#define PROBLEMS_MAX 100 /* of one file; what is beyond is counted only */

struct problems {
	struct arena *arena; /* texts and the list live here */
	struct span text;    /* the file, for the source lines */
	struct config_problem *items;
	size_t count, cap, errors;
	bool failed; /* no memory */
};

struct problem_at {
	unsigned line, column; /* from 1; 0: nowhere */
	bool warning;
	bool hide_source; /* the line may hold a secret */
};
void problem_add(struct problems *problems, struct problem_at at, const char *fmt, ...) GLEANER_PRINTF(3, 4);
/* Sorts by position (stable). */
void problems_sort(struct problems *problems);
