/* expand: ${env:NAME} in a value of the configuration. */
#pragma once

#include "gleaner/base.h"

struct expansion {
	const char *(*get_environment)(const char *name);
	/* Set when the text used the variable NAME that is not set and has no default: it became an empty text. */
	char unset[80];
	/* Set when ${NAME} stands there in capitals: in a Collector's file that is a variable, here it is text. */
	char bare[80];
	bool used;         /* an environment variable was put in */
	bool dollar_group; /* "$$1" or "$${1}" was read: a replacement pasted from a Collector's file, probably */
};

/* Appends `text` with ${env:NAME} and ${env:NAME:-default} replaced (default also for an empty variable, as the Collector
 * does) and `$$` read as `$`. A `$` before anything else ($1, ${1}, ${name}) stays. What is put in is not expanded again.
 * 0; -EINVAL with err: not closed, or no name; or out->failed. */
int expand_environment(struct span text, struct expansion *expansion, struct buf *out, struct error *err);
