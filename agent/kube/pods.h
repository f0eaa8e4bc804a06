/* What the files of this module share about lists of pods. */
#pragma once

#include "gleaner/kube.h"

/* Empty, with one reference; max_bytes: of its arena. NULL: no memory. */
struct kube_pods *kube_pods_new(size_t max_bytes);
/* The same pods with the same fields, by their hashes. */
bool kube_pods_equal(const struct kube_pods *a, const struct kube_pods *b);
/* All pods of `newer`, and those of `older` that it lacks; older may be NULL. A new reference. 0, -ENOMEM. */
int kube_pods_merge(struct kube_pods *newer, struct kube_pods *older, struct kube_pods **ret_pods);

/* ---- one pod under construction (build.c) ------------------------------------ */

/* An array that grows, zeroed. */
struct kube_list {
	char *items;
	size_t count, cap;
};
/* A new element of `size` bytes at the end (always the same size for one list). NULL: no memory, or the ceiling of entries. */
void *kube_list_push(struct kube_list *list, size_t size);
void kube_list_done(struct kube_list *list);

/* What is above the second goes by: whoever may make a pod may give it 100,000 ports, and no other pod is to suffer from it. */
enum { KUBE_LIST_MAX = 65536, KUBE_POD_LIST_MAX = 4096 };
static inline bool kube_list_is_full(const struct kube_list *list)
{
	return list->count >= KUBE_POD_LIST_MAX;
}

struct kube_build_container {
	struct kube_container container; /* without ports */
	size_t first_port, port_count;   /* in kube_build.ports */
};
struct kube_build_status {
	struct span name, id;
	bool init, running;
};

/* The pod that is being read: its plain fields, and its lists in the order of the text. Strings lie in the list's arena already. */
struct kube_build {
	struct kube_pod pod;
	struct kube_list containers, inits;   /* struct kube_build_container */
	struct kube_list ports;               /* struct kube_port, those of one container in a row */
	struct kube_list statuses;            /* struct kube_build_status */
	struct kube_list labels, annotations; /* struct label */
	struct kube_list pod_ips;             /* struct span */
	struct buf hashed;
};
void kube_build_init(struct kube_build *build);
void kube_build_done(struct kube_build *build);
/* Forgets the last pod, keeps the memory. */
void kube_build_reset(struct kube_build *build);
/* Joins containers with their states, sorts the labels, fills what was left out, makes pods of all sources alike (a mirror pod
 * becomes the static pod it mirrors: same uid, same fields), counts the hash. host_ip as in kube_pods_parser_host_ip. 0; -EBADMSG (no
 * uid, namespace or name); -ENOMEM. */
int kube_build_finish(struct kube_build *build, struct arena *arena, struct span host_ip, struct kube_pod *ret_pod);

/* ---- one pod of a tree (parser.c) ---------------------------------------------- */

struct json;
/* A list of one pod, of a Pod as the API server has it. host_ip as in kube_pods_parser_host_ip; may be empty. 0; -EBADMSG, -ENOMEM. */
int kube_pods_from_json(const struct json *pod, struct span host_ip, struct kube_pods **ret_pods);
