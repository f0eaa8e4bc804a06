/* Real exporters of Debian, in the bench's namespace, against the clock of their process over the whole run. */
#pragma once

#include "measure.h"

/* The first program that is not installed (tools/packages.txt, [node]), or NULL. */
const char *exporters_missing(void);

/* Starts one after the other, scrapes each over a kept connection and over new ones, prints a row each.
 * The bars are what is sound of a real program: T is no more than it burnt, PU no less. */
void exporters_measure(struct bench *bench);
