/* Pods by uid, each with its own memory, and when it was last told of (see store.h). */
#include "store.h"

#include <errno.h>
#include <stdlib.h>

struct kube_stored {
	struct kube_pods *one;
	uint64_t round; /* of the sync that told of it last */
};

void kube_store_init(struct kube_store *store, uint64_t grace_ns)
{
	*store = (struct kube_store){.grace_ns = grace_ns};
	map_init(&store->pods, KUBE_STORE_MAX);
}

static void stored_free(struct kube_stored *stored)
{
	kube_pods_unref(stored->one);
	free(stored);
}

void kube_store_done(struct kube_store *store)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&store->pods, &i));)
		stored_free(slot->value);
	map_done(&store->pods);
}

void kube_store_begin(struct kube_store *store)
{
	store->round++;
	store->syncing = true;
}

void kube_store_synced(struct kube_store *store, uint64_t now_ns)
{
	const struct map_slot *slot;
	store->syncing = false;
	store->missing = 0;
	for (size_t i = 0; (slot = map_next(&store->pods, &i));)
		store->missing += ((const struct kube_stored *)slot->value)->round != store->round;
	store->until_ns = now_ns + store->grace_ns;
}

/* The pod is there, or about to go: not missing any more. */
static void told(struct kube_store *store, struct kube_stored *stored)
{
	if (!store->syncing && stored->round != store->round)
		store->missing--;
	stored->round = store->round;
}

int kube_store_put(struct kube_store *store, struct kube_pods *one, bool *ret_changed)
{
	struct span uid = one->items[0].uid;
	struct kube_stored *stored = map_get(&store->pods, uid);
	if (stored) {
		int r = map_put(&store->pods, uid, stored); /* the key lay in the pod that is replaced */
		if (r < 0)
			return r;
		*ret_changed = stored->one->items[0].hash != one->items[0].hash;
		kube_pods_ref(one);
		kube_pods_unref(stored->one);
		stored->one = one;
		told(store, stored);
		return 0;
	}
	stored = calloc(1, sizeof(*stored));
	int r = stored ? map_put(&store->pods, uid, stored) : -ENOMEM;
	if (r < 0) {
		free(stored);
		return r;
	}
	stored->one = kube_pods_ref(one);
	stored->round = store->round;
	*ret_changed = true;
	return 0;
}

bool kube_store_remove(struct kube_store *store, struct span uid)
{
	struct kube_stored *stored = map_remove(&store->pods, uid);
	if (!stored)
		return false;
	told(store, stored);
	stored_free(stored);
	return true;
}

uint64_t kube_store_deadline(const struct kube_store *store)
{
	return !store->syncing && store->missing > 0 ? store->until_ns : 0;
}

static struct kube_stored *find_missing(const struct kube_store *store)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&store->pods, &i));) {
		struct kube_stored *stored = slot->value;
		if (stored->round != store->round)
			return stored;
	}
	return NULL;
}

bool kube_store_expire(struct kube_store *store, uint64_t now_ns)
{
	uint64_t deadline_ns = kube_store_deadline(store);
	if (deadline_ns == 0 || now_ns < deadline_ns)
		return false;
	for (struct kube_stored *stored; (stored = find_missing(store));)
		kube_store_remove(store, stored->one->items[0].uid);
	return true;
}

static int compare_pods(const void *a, const void *b)
{
	const struct kube_pod *left = a, *right = b;
	return span_cmp(left->uid, right->uid);
}

int kube_store_list(const struct kube_store *store, struct kube_pods **ret_pods)
{
	size_t count = store->pods.count;
	struct kube_pods *pods = kube_pods_new(SIZE_MAX / 4);
	struct kube_pod *items = pods ? arena_alloc(&pods->arena, count * sizeof(*items)) : NULL;
	struct kube_pods **sources = items ? arena_alloc(&pods->arena, count * sizeof(struct kube_pods *)) : NULL;
	if (!sources) {
		kube_pods_unref(pods);
		return -ENOMEM;
	}
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&store->pods, &i));) {
		struct kube_stored *stored = slot->value;
		sources[pods->source_count] = kube_pods_ref(stored->one);
		items[pods->source_count++] = stored->one->items[0];
	}
	qsort(items, count, sizeof(*items), compare_pods);
	pods->sources = sources;
	pods->items = items;
	pods->count = count;
	*ret_pods = pods;
	return 0;
}
