/* The pods that a stream of changes tells of. No clock, no network: tested as a table.
 *
 * A stream begins with a sync: all that there is, each pod once or more, then a word that this was all. From then on it tells changes.
 * When it breaks, all pods stay; what the next sync does not tell of is kept for `grace_ns` more, since a kubelet that has just
 * started may not know yet what it runs. What is told to be gone is gone at once.
 */
#pragma once

#include "pods.h"

enum { KUBE_STORE_MAX = 10000 }; /* pods; a node has 110 by default */

struct kube_store {
	struct map pods; /* uid -> struct kube_stored */
	uint64_t grace_ns;
	uint64_t round;    /* counts syncs */
	bool syncing;      /* a sync has begun and not ended */
	size_t missing;    /* pods that the last sync did not tell of */
	uint64_t until_ns; /* when they go */
};

void kube_store_init(struct kube_store *store, uint64_t grace_ns);
void kube_store_done(struct kube_store *store);
void kube_store_begin(struct kube_store *store);
/* All pods were told. */
void kube_store_synced(struct kube_store *store, uint64_t now_ns);
/* A list of one pod, new or another version of one that is there; takes its own reference. ret_changed: it differs from the one before.
 * 0; -ENOMEM; -E2BIG (KUBE_STORE_MAX). */
int kube_store_put(struct kube_store *store, struct kube_pods *one, bool *ret_changed);
/* Returns whether it was there. */
bool kube_store_remove(struct kube_store *store, struct span uid);
/* When the missing pods are to go; 0: none is missing. */
uint64_t kube_store_deadline(const struct kube_store *store);
/* Returns whether any went. */
bool kube_store_expire(struct kube_store *store, uint64_t now_ns);
/* A list of all pods that borrows from those that were put. A new reference. 0, -ENOMEM. */
int kube_store_list(const struct kube_store *store, struct kube_pods **ret_pods);
