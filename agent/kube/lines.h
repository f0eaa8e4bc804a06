/* The lines of a watch: one event each, in pieces of any size. */
#pragma once

#include "gleaner/base.h"

struct kube_lines {
	struct buf line; /* the beginning of the next one */
	size_t max;      /* bytes of a line */
	bool skipping;   /* within a line that is longer */
	bool told;       /* the line is complete and was handed out */
	uint64_t oversized;
};

void kube_lines_init(struct kube_lines *lines, size_t max);
void kube_lines_done(struct kube_lines *lines);
/* Forgets the line that was begun. */
void kube_lines_reset(struct kube_lines *lines);
/* Takes the next complete line out of *piece (what is behind it stays there). Empty lines are passed over. The line is valid until the
 * next call. 1; 0: the piece is used up; -E2BIG: a line was too long and is left out (once for each); -ENOMEM. */
int kube_lines_next(struct kube_lines *lines, struct span *piece, struct span *ret_line);
