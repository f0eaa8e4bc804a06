/* What the watches have told, by name and by uid; and the sets that are built of it. An object is parsed once, when it
 * comes; sets share it.
 *
 * Failure modes: memory, its ceiling and objects without a name; what was there before stays.
 */
#include <errno.h>
#include <stdlib.h>

#include "read.h"

enum {
	OBJECTS_MAX = 1 << 20,      /* of a resource */
	STORE_BYTES_MAX = 64 << 20, /* of all objects together; 300 monitors and 2,000 Services have some 5 MiB */
	OBJECT_BYTES = 1 << 10,     /* of one besides its arena: structs, key, places in the maps */
};

struct namespace_ {
	struct span name, uid;
	struct labels labels;
	uint64_t hash;
	struct arena arena;
};

struct object {
	enum monitor_resource resource;
	struct span namespace_, uid; /* namespace_: "" of a Namespace */
	char *key;                   /* key_of */
	struct monitor *monitor;
	struct monitor_service *service;
	struct namespace_ *of_namespace;
};

struct monitor_store {
	const struct monitor_options *options;
	uint64_t salt;
	struct map objects[MONITOR_RESOURCES], by_uid[MONITOR_RESOURCES];
	size_t bytes; /* of all objects, about */
	struct monitor_selector selectors[MONITOR_KINDS], namespace_selectors[MONITOR_KINDS];
	struct arena arena;
};

/* ---- store and objects -------------------------------------------------------------------- */

static int read_selectors(struct monitor_store *store)
{
	const struct monitor_options *options = store->options;
	const struct monitor_selector_options *of[MONITOR_KINDS] = {
		&options->service_monitors, &options->pod_monitors, &options->scrape_configs};
	const struct monitor_selector_options *of_namespaces[MONITOR_KINDS] = {&options->service_monitor_namespaces,
		&options->pod_monitor_namespaces, &options->scrape_config_namespaces};
	for (size_t i = 0; i < MONITOR_KINDS; i++) {
		if (selector_of_options(&store->arena, of[i], &store->selectors[i]) < 0 ||
			selector_of_options(&store->arena, of_namespaces[i], &store->namespace_selectors[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

int monitor_store_new(const struct monitor_options *options, struct monitor_store **ret_store)
{
	struct monitor_store *store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	store->options = options;
	store->salt = hash_seed();
	arena_init(&store->arena, 4 << 20);
	for (size_t i = 0; i < MONITOR_RESOURCES; i++) {
		map_init(&store->objects[i], OBJECTS_MAX);
		map_init(&store->by_uid[i], OBJECTS_MAX);
	}
	if (read_selectors(store) < 0) {
		monitor_store_free(store);
		return -ENOMEM;
	}
	*ret_store = store;
	return 0;
}

static void namespace_free(struct namespace_ *namespace_)
{
	if (!namespace_)
		return;
	arena_done(&namespace_->arena);
	free(namespace_);
}

static void object_free(struct object *object)
{
	if (!object)
		return;
	monitor_unref(object->monitor);
	monitor_service_unref(object->service);
	namespace_free(object->of_namespace);
	free(object->key);
	free(object);
}

void monitor_store_free(struct monitor_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < MONITOR_RESOURCES; i++) {
		const struct map_slot *slot;
		for (size_t at = 0; (slot = map_next(&store->objects[i], &at));)
			object_free(slot->value);
		map_done(&store->objects[i]);
		map_done(&store->by_uid[i]);
	}
	arena_done(&store->arena);
	free(store);
}

/* ---- put and remove ---------------------------------------------------------------------------- */

/* "namespace/name"; of a Namespace "name". */
static char *key_of(struct span namespace_, struct span name)
{
	char *key = malloc(namespace_.len + name.len + 2), *end = key;
	if (!key)
		return NULL;
	if (namespace_.len > 0) {
		end = mempcpy(end, namespace_.ptr, namespace_.len);
		*end++ = '/';
	}
	*(char *)mempcpy(end, name.ptr, name.len) = '\0';
	return key;
}

static int namespace_parse(const struct json *object, struct namespace_ **ret_namespace, struct error *err)
{
	const struct json *labels = json_path(object, "metadata.labels");
	struct span name = json_string(json_get(object, "metadata"), "name", SPAN_NONE);
	if (name.len == 0)
		return error_set(err, EINVAL, "a Namespace without name");
	struct namespace_ *namespace_ = calloc(1, sizeof(*namespace_));
	if (!namespace_)
		return error_set(err, ENOMEM, "out of memory");
	arena_init(&namespace_->arena, 4 << 20);
	namespace_->hash = json_hash(labels, 0);
	struct span uid = json_string(json_get(object, "metadata"), "uid", SPAN_NONE);
	namespace_->name = span_of(arena_spandup(&namespace_->arena, name), name.len);
	namespace_->uid = span_of(arena_spandup(&namespace_->arena, uid), uid.len);
	if (!namespace_->name.ptr || !namespace_->uid.ptr ||
		labels_of_json(&namespace_->arena, labels, SPAN_NONE, &namespace_->labels) < 0) {
		namespace_free(namespace_);
		return error_set(err, ENOMEM, "out of memory");
	}
	*ret_namespace = namespace_;
	return 0;
}

static int object_parse(
	const struct monitor_store *store, struct object *object, const struct json *json, struct error *err)
{
	switch (object->resource) {
	case MONITOR_SERVICES:
		return monitor_service_parse(json, &object->service, err);
	case MONITOR_NAMESPACES:
		return namespace_parse(json, &object->of_namespace, err);
	default:
		return monitor_parse(
			(enum monitor_kind)object->resource, json, store->options, store->salt, &object->monitor, err);
	}
}

static size_t object_bytes(const struct object *object)
{
	if (!object)
		return 0;
	const struct arena *arena = object->monitor   ? &object->monitor->arena
				    : object->service ? &object->service->arena
						      : &object->of_namespace->arena;
	return arena->used + OBJECT_BYTES;
}

static uint64_t object_hash(const struct object *object)
{
	if (object->monitor)
		return object->monitor->hash;
	return object->service ? object->service->hash : object->of_namespace->hash;
}

/* Its place in the map. */
static int object_name(struct object *object)
{
	struct span name;
	if (object->monitor) {
		object->namespace_ = object->monitor->namespace_;
		object->uid = object->monitor->uid;
		name = object->monitor->name;
	} else if (object->service) {
		object->namespace_ = object->service->namespace_;
		object->uid = object->service->uid;
		name = object->service->name;
	} else {
		object->namespace_ = SPAN("");
		object->uid = object->of_namespace->uid;
		name = object->of_namespace->name;
	}
	object->key = key_of(object->namespace_, name);
	return object->key ? 0 : -ENOMEM;
}

static int object_new(const struct monitor_store *store, enum monitor_resource resource, const struct json *json,
	struct object **ret_object, struct error *err)
{
	struct object *object = calloc(1, sizeof(*object));
	if (!object)
		return error_set(err, ENOMEM, "out of memory");
	object->resource = resource;
	int result = object_parse(store, object, json, err);
	if (result == 0)
		result = object_name(object) < 0 ? error_set(err, ENOMEM, "out of memory") : 0;
	if (result < 0) {
		object_free(object);
		return result;
	}
	*ret_object = object;
	return 0;
}

/* Replaces `before`, which may be NULL; on failure nothing has changed. */
static int insert(struct monitor_store *store, struct object *object, struct object *before)
{
	struct map *names = &store->objects[object->resource], *uids = &store->by_uid[object->resource];
	int result = object->uid.len > 0 ? map_put(uids, object->uid, object) : 0;
	if (result < 0)
		return result;
	if (before && before->uid.len > 0 && !span_eq(before->uid, object->uid))
		map_remove(uids, before->uid);
	if (before)
		map_remove(names, span_str(before->key)); /* and so the next line cannot fail */
	result = map_put(names, span_str(object->key), object);
	if (result < 0 && object->uid.len > 0)
		map_remove(uids, object->uid);
	return result;
}

int monitor_store_put(
	struct monitor_store *store, enum monitor_resource resource, const struct json *json, struct error *err)
{
	struct object *object = NULL;
	int result = object_new(store, resource, json, &object, err);
	if (result < 0)
		return result;
	struct object *before = map_get(&store->objects[resource], span_str(object->key));
	if (before && object_hash(before) == object_hash(object) && span_eq(before->uid, object->uid)) {
		object_free(object);
		return 0;
	}
	size_t bytes = store->bytes - object_bytes(before) + object_bytes(object);
	result = bytes > STORE_BYTES_MAX ? -E2BIG : insert(store, object, before);
	if (result < 0) {
		object_free(object);
		return result == -ENOMEM
			       ? error_set(err, ENOMEM, "out of memory")
			       : error_set(err, E2BIG, "monitors and Services take more than %d MiB, or are too many",
					 STORE_BYTES_MAX >> 20);
	}
	store->bytes = bytes;
	object_free(before);
	return 1;
}

static void take_out(struct monitor_store *store, struct object *object)
{
	map_remove(&store->objects[object->resource], span_str(object->key));
	if (object->uid.len > 0)
		map_remove(&store->by_uid[object->resource], object->uid);
	store->bytes -= object_bytes(object);
	object_free(object);
}

bool monitor_store_remove(struct monitor_store *store, enum monitor_resource resource, struct span uid)
{
	struct object *object = map_get(&store->by_uid[resource], uid);
	if (object)
		take_out(store, object);
	return object != NULL;
}

static struct object *first_in(const struct map *objects, struct span namespace_)
{
	const struct map_slot *slot;
	for (size_t at = 0; (slot = map_next(objects, &at));) {
		struct object *object = slot->value;
		if (namespace_.len == 0 || span_eq(object->namespace_, namespace_))
			return object;
	}
	return NULL;
}

bool monitor_store_forget(struct monitor_store *store, enum monitor_resource resource, struct span namespace_)
{
	struct object *object;
	bool any = false;
	while ((object = first_in(&store->objects[resource], namespace_))) {
		take_out(store, object);
		any = true;
	}
	return any;
}

/* ---- sets ------------------------------------------------------------------------------------------ */

static bool is_among(struct option_strings names, struct span name)
{
	for (size_t i = 0; i < names.count; i++) {
		if (span_eq(span_str(names.items[i]), name))
			return true;
	}
	return false;
}

/* NULL: it is selected. */
static const char *why_not(const struct monitor_store *store, const struct monitor *monitor)
{
	const struct monitor_options *options = store->options;
	const bool given[MONITOR_KINDS] = {
		options->service_monitors_given, options->pod_monitors_given, options->scrape_configs_given};
	const struct monitor_selector *of_namespace = &store->namespace_selectors[monitor->kind];
	if (!given[monitor->kind])
		return "no selector for this kind is configured, which selects none; `{}` selects all";
	if (is_among(options->deny_namespaces, monitor->namespace_))
		return "its namespace is among monitors.deny_namespaces";
	if (options->allow_namespaces.count > 0 && !is_among(options->allow_namespaces, monitor->namespace_))
		return "its namespace is not among monitors.allow_namespaces";
	if (!monitor_selector_matches(&store->selectors[monitor->kind], monitor->labels))
		return "its labels do not match the configured selector";
	if (of_namespace->count == 0)
		return NULL;
	const struct object *object = map_get(&store->objects[MONITOR_NAMESPACES], monitor->namespace_);
	if (!object)
		return "its namespace is not known (yet), and the configured namespace selector asks for labels";
	if (!monitor_selector_matches(of_namespace, object->of_namespace->labels))
		return "the labels of its namespace do not match the configured namespace selector";
	return NULL;
}

static int compare_names(struct span a_namespace, struct span a_name, struct span b_namespace, struct span b_name)
{
	int order = span_cmp(a_namespace, b_namespace);
	return order ? order : span_cmp(a_name, b_name);
}

static int by_kind_and_name(const void *left, const void *right)
{
	const struct monitor *a = ((const struct monitor_entry *)left)->monitor,
			     *b = ((const struct monitor_entry *)right)->monitor;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return compare_names(a->namespace_, a->name, b->namespace_, b->name);
}

static int services_by_name(const void *left, const void *right)
{
	const struct monitor_service *a = *(struct monitor_service *const *)left,
				     *b = *(struct monitor_service *const *)right;
	return compare_names(a->namespace_, a->name, b->namespace_, b->name);
}

static void add_entries(const struct monitor_store *store, struct monitor_set *set, struct monitor_entry *entries)
{
	const struct map_slot *slot;
	for (size_t kind = 0; kind < MONITOR_KINDS; kind++) {
		for (size_t at = 0; (slot = map_next(&store->objects[kind], &at));) {
			struct monitor *monitor = ((struct object *)slot->value)->monitor;
			const char *reason = why_not(store, monitor);
			set->totals[kind]++;
			set->selected[kind] += reason == NULL;
			entries[set->entry_count++] = (struct monitor_entry){
				.monitor = monitor_ref(monitor), .selected = reason == NULL, .why_not = reason};
		}
	}
	if (set->entry_count > 0)
		qsort(entries, set->entry_count, sizeof(*entries), by_kind_and_name);
}

static void add_services(const struct monitor_store *store, struct monitor_set *set, struct monitor_service **services)
{
	const struct map_slot *slot;
	for (size_t at = 0; (slot = map_next(&store->objects[MONITOR_SERVICES], &at));)
		services[set->service_count++] = monitor_service_ref(((struct object *)slot->value)->service);
	if (set->service_count > 0)
		qsort(services, set->service_count, sizeof(struct monitor_service *), services_by_name);
}

int monitor_store_build(const struct monitor_store *store, struct monitor_set **ret_set)
{
	struct monitor_set *set = calloc(1, sizeof(*set));
	size_t monitors = 0;
	if (!set)
		return -ENOMEM;
	set->refs = 1;
	set->kubelet_service = store->options->kubelet_service;
	arena_init(&set->arena, SIZE_MAX);
	for (size_t i = 0; i < MONITOR_KINDS; i++)
		monitors += store->objects[i].count;
	struct monitor_entry *entries = arena_alloc(&set->arena, monitors * sizeof(*entries));
	struct monitor_service **services =
		arena_alloc(&set->arena, store->objects[MONITOR_SERVICES].count * sizeof(struct monitor_service *));
	if (!entries || !services) {
		monitor_set_unref(set);
		return -ENOMEM;
	}
	set->entries = entries;
	set->services = services;
	add_entries(store, set, entries);
	add_services(store, set, services);
	*ret_set = set;
	return 0;
}

struct monitor_set *monitor_set_ref(struct monitor_set *set)
{
	set->refs++;
	return set;
}

void monitor_set_unref(struct monitor_set *set)
{
	if (!set || --set->refs > 0)
		return;
	for (size_t i = 0; i < set->entry_count; i++)
		monitor_unref(set->entries[i].monitor);
	for (size_t i = 0; i < set->service_count; i++)
		monitor_service_unref(set->services[i]);
	arena_done(&set->arena);
	free(set);
}

struct monitor_service *const *monitor_set_services(
	const struct monitor_set *set, struct span namespace_, size_t *ret_count)
{
	size_t low = 0, high = set->service_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (span_cmp(set->services[middle]->namespace_, namespace_) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	size_t end = low;
	while (end < set->service_count && span_eq(set->services[end]->namespace_, namespace_))
		end++;
	*ret_count = end - low;
	return set->services + low;
}

bool monitor_set_reaches(const struct monitor_set *set, struct span namespace_)
{
	for (size_t i = 0; i < set->entry_count; i++) {
		const struct monitor *monitor = set->entries[i].monitor;
		bool counts =
			set->entries[i].selected && !monitor->rejected && monitor->kind == MONITOR_SERVICE_MONITOR;
		for (size_t j = 0; counts && !monitor->any_namespace && j < monitor->namespace_count; j++) {
			if (span_eq(monitor->namespaces[j], namespace_))
				return true;
		}
		if (counts && monitor->any_namespace)
			return true;
	}
	return false;
}
