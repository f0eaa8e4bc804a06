/* Lists of pods: counted references, search by uid, and a list made of two others. */
#include "pods.h"

#include <errno.h>
#include <stdlib.h>

struct kube_pods *kube_pods_new(size_t max_bytes)
{
	struct kube_pods *pods = malloc(sizeof(*pods));
	if (!pods)
		return NULL;
	*pods = (struct kube_pods){.refs = 1};
	arena_init(&pods->arena, max_bytes);
	return pods;
}

struct kube_pods *kube_pods_ref(struct kube_pods *pods)
{
	pods->refs++;
	return pods;
}

void kube_pods_unref(struct kube_pods *pods)
{
	if (!pods || --pods->refs > 0)
		return;
	for (size_t i = 0; i < pods->source_count; i++)
		kube_pods_unref(pods->sources[i]);
	arena_done(&pods->arena);
	free(pods);
}

const struct kube_pod *kube_pods_find(const struct kube_pods *pods, struct span uid)
{
	size_t low = 0, high = pods->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = span_cmp(pods->items[middle].uid, uid);
		if (order == 0)
			return &pods->items[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool kube_pods_equal(const struct kube_pods *a, const struct kube_pods *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->items[i].hash != b->items[i].hash)
			return false;
	return true;
}

static size_t count_missing(const struct kube_pods *from, const struct kube_pods *in)
{
	size_t count = 0;
	for (size_t i = 0; i < from->count; i++)
		count += kube_pods_find(in, from->items[i].uid) == NULL;
	return count;
}

int kube_pods_merge(struct kube_pods *newer, struct kube_pods *older, struct kube_pods **ret_pods)
{
	size_t missing = older ? count_missing(older, newer) : 0;
	if (missing == 0) {
		*ret_pods = kube_pods_ref(newer);
		return 0;
	}
	struct kube_pods *merged = kube_pods_new(SIZE_MAX / 4);
	struct kube_pod *items = merged ? arena_alloc(&merged->arena, (newer->count + missing) * sizeof(*items)) : NULL;
	struct kube_pods **sources = items ? arena_alloc(&merged->arena, 2 * sizeof(struct kube_pods *)) : NULL;
	if (!sources) {
		kube_pods_unref(merged);
		return -ENOMEM;
	}
	size_t count = 0;
	for (size_t n = 0, o = 0; n < newer->count || o < older->count;) {
		int order = n == newer->count   ? 1
			    : o == older->count ? -1
						: span_cmp(newer->items[n].uid, older->items[o].uid);
		items[count++] = order <= 0 ? newer->items[n] : older->items[o];
		n += order <= 0;
		o += order >= 0;
	}
	merged->items = items;
	merged->count = count;
	sources[0] = kube_pods_ref(newer);
	sources[1] = kube_pods_ref(older);
	merged->sources = sources;
	merged->source_count = 2;
	*ret_pods = merged;
	return 0;
}
