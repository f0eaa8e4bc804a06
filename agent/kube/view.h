/* What gleaner believes to run on the node, given what the polls said. No clock, no network: tested as a table.
 *
 * A kubelet that has just started lists only the pods that it has got to. So a pod that is missing is kept until a second
 * successful poll without it, or for 15 s after the first; a poll that fails says nothing about any pod.
 */
#pragma once

#include "pods.h"

#define KUBE_ABSENT_NS (15 * NS_PER_SEC)

struct kube_view {
	struct kube_pods *seen;      /* the last successful poll's list; NULL: none yet */
	struct kube_pods *published; /* that and the missing pods; what the listener has */
	uint64_t absent_since_ns;    /* when the missing ones were first missed */
};

void kube_view_done(struct kube_view *view);
/* A successful poll. Takes its own reference. ret_changed: view->published is another list than before. 0, -ENOMEM (no change). */
int kube_view_update(struct kube_view *view, struct kube_pods *fresh, uint64_t now_ns, bool *ret_changed);
/* When the missing pods are to be dropped; 0: none is missing. */
uint64_t kube_view_deadline(const struct kube_view *view);
/* Drops them; returns whether view->published is another list now. */
bool kube_view_expire(struct kube_view *view, uint64_t now_ns);
