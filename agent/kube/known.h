/* Which objects were told to the owner of a watch, by uid: to tell which of them are gone, and which have not changed. */
#pragma once

#include "gleaner/base.h"

enum { KUBE_KNOWN_MAX = 500000 };

struct kube_known {
	struct map objects; /* uid -> struct kube_known_object */
	uint64_t round;     /* of the sync that is under way or was the last */
};

void kube_known_init(struct kube_known *known);
void kube_known_done(struct kube_known *known);
/* Begins a sync: what is not put until kube_known_sweep is gone. */
void kube_known_begin(struct kube_known *known);
/* 1: new, or another version of it; 0: known as it is; -ENOMEM, -E2BIG. */
int kube_known_put(struct kube_known *known, struct span uid, struct span resource_version);
/* The owner could not take its last version: the next put is of another one. */
void kube_known_doubt(struct kube_known *known, struct span uid);
/* Whether it was known. */
bool kube_known_remove(struct kube_known *known, struct span uid);
/* Takes out all that was not put since kube_known_begin and tells of each. all: everything. 0; -ENOMEM: nothing was done. */
int kube_known_sweep(struct kube_known *known, bool all, void (*gone)(void *arg, struct span uid), void *arg);
