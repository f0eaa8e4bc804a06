/* The core process, as the command line starts it. */
#pragma once

#include "gleaner/base.h"

struct core_options {
	const char *config_path; /* NULL: no file, defaults and environment only */
	const char *(*get_environment)(const char *name);
};

/* Runs the agent until SIGTERM or SIGINT. Returns the exit status: 0, or 1 when it could not start (said on standard error). */
int core_run(const struct core_options *options);
