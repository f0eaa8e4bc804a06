/* One small allocation for each object: uid and version (see known.h). */
#include "known.h"

#include <errno.h>
#include <stdlib.h>

struct kube_known_object {
	uint64_t round;
	uint64_t version_hash; /* compared with its own earlier ones only */
	size_t uid_len;
	char uid[];
};

void kube_known_init(struct kube_known *known)
{
	*known = (struct kube_known){0};
	map_init(&known->objects, KUBE_KNOWN_MAX);
}

void kube_known_done(struct kube_known *known)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&known->objects, &i));)
		free(slot->value);
	map_done(&known->objects);
}

void kube_known_begin(struct kube_known *known)
{
	known->round++;
}

int kube_known_put(struct kube_known *known, struct span uid, struct span resource_version)
{
	uint64_t version_hash = hash_bytes(resource_version, known->objects.seed);
	struct kube_known_object *object = map_get(&known->objects, uid);
	if (object) {
		bool changed = object->version_hash != version_hash;
		object->round = known->round;
		object->version_hash = version_hash;
		return changed;
	}
	object = malloc(sizeof(*object) + uid.len);
	if (!object)
		return -ENOMEM;
	*object = (struct kube_known_object){known->round, version_hash, uid.len};
	memcpy(object->uid, uid.ptr, uid.len);
	int r = map_put(&known->objects, span_of(object->uid, uid.len), object);
	if (r < 0)
		free(object);
	return r < 0 ? r : 1;
}

void kube_known_doubt(struct kube_known *known, struct span uid)
{
	struct kube_known_object *object = map_get(&known->objects, uid);
	if (object)
		object->version_hash = ~object->version_hash;
}

bool kube_known_remove(struct kube_known *known, struct span uid)
{
	struct kube_known_object *object = map_remove(&known->objects, uid);
	free(object);
	return object != NULL;
}

int kube_known_sweep(struct kube_known *known, bool all, void (*gone)(void *arg, struct span uid), void *arg)
{
	const struct map_slot *slot;
	size_t count = 0;
	struct kube_known_object **objects = malloc((known->objects.count + 1) * sizeof(*objects));
	if (!objects)
		return -ENOMEM;
	for (size_t i = 0; (slot = map_next(&known->objects, &i));) {
		struct kube_known_object *object = slot->value;
		if (all || object->round != known->round)
			objects[count++] = object;
	}
	for (size_t i = 0; i < count; i++) {
		struct span uid = span_of(objects[i]->uid, objects[i]->uid_len);
		map_remove(&known->objects, uid);
		gone(arg, uid);
		free(objects[i]);
	}
	free(objects);
	return 0;
}
