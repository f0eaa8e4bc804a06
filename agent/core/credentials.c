/* Values of Secrets and ConfigMaps, fetched one object at a time.
 *
 *   asked for -> due at once -> GET -> values of the keys that were asked for; due again in 5 min
 *                                \-> not found: its values are gone; anything else: the last good ones stay; due again after a back-off
 *
 * An object holds only the keys that somebody asked for. A key that is new to a known object makes it due at once.
 */
#include "credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define REFRESH_NS       (300 * NS_PER_SEC)
#define RETRY_NS         NS_PER_SEC
#define RETRY_LIMIT_NS   (60 * NS_PER_SEC)
#define REFUSED_NS       (10 * NS_PER_SEC)
#define IN_FLIGHT_MAX    8
#define KEYS_MAX         64
#define NAME_BYTES_MAX   1024
#define NAMESPACES_BYTES (1 << 20)

struct value {
	struct value *next;
	char *key;
	bool known;
	struct buf text;
};

struct object {
	struct credentials *owner;
	bool config_map;
	char *id; /* "s/namespace/name"; the map's key */
	char *namespace_, *name;
	struct value *values;
	size_t value_count;
	bool answered;      /* err and the values tell what there is */
	struct error error; /* of the last answer; "" */
	struct error told;  /* what `failed` was told last */
	unsigned failures;  /* in a row */
	unsigned refusals;  /* by targets, since something new came */
	uint64_t asked_ns, due_ns;
	struct kube_call *call; /* NULL: none is under way */
};

struct credentials {
	struct credentials_source source;
	struct credentials_events events;
	struct clock clock;
	struct loop_timer *timer;
	struct map objects;
	size_t in_flight;
	struct arena arena; /* of the namespaces */
	struct option_strings namespaces;
	struct rng rng;
	uint64_t requests, failures;
};

/* ---- objects --------------------------------------------------------------------------- */

static const char *kind_name(bool config_map)
{
	return config_map ? "ConfigMap" : "Secret";
}

static void value_forget(struct value *value)
{
	buf_done(&value->text);
	value->known = false;
}

static void object_free(struct object *object)
{
	if (object->call) {
		object->owner->source.cancel(object->call);
		object->owner->in_flight--;
	}
	while (object->values) {
		struct value *value = object->values;
		object->values = value->next;
		value_forget(value);
		free(value->key);
		free(value);
	}
	free(object->id);
	free(object->namespace_);
	free(object->name);
	free(object);
}

/* "s/namespace/name"; -EINVAL when it is too long to be one. */
static int make_id(const struct credentials_reference *reference, char *ret_id, size_t size)
{
	int len = snprintf(
		ret_id, size, "%c/%s/%s", reference->config_map ? 'c' : 's', reference->namespace_, reference->name);
	return len < 0 || (size_t)len >= size ? -EINVAL : 0;
}

static struct object *object_find(const struct credentials *credentials, const struct credentials_reference *reference)
{
	char id[NAME_BYTES_MAX];
	return make_id(reference, id, sizeof(id)) < 0 ? NULL : map_get(&credentials->objects, span_str(id));
}

static int object_new(struct credentials *credentials, const struct credentials_reference *reference, const char *id,
	struct object **ret_object)
{
	struct object *object = calloc(1, sizeof(*object));
	if (!object)
		return -ENOMEM;
	object->owner = credentials;
	object->config_map = reference->config_map;
	object->id = strdup(id);
	object->namespace_ = strdup(reference->namespace_);
	object->name = strdup(reference->name);
	int result = object->id && object->namespace_ && object->name ? 0 : -ENOMEM;
	if (result == 0)
		result = map_put(&credentials->objects, span_str(object->id), object);
	if (result < 0)
		object_free(object);
	else
		*ret_object = object;
	return result;
}

static struct value *object_value(const struct object *object, const char *key)
{
	struct value *value = object->values;
	while (value && strcmp(value->key, key) != 0)
		value = value->next;
	return value;
}

static int object_add_value(struct object *object, const char *key, struct value **ret_value)
{
	if (object->value_count >= KEYS_MAX)
		return -E2BIG;
	struct value *value = calloc(1, sizeof(*value));
	char *copy = strdup(key);
	if (!value || !copy) {
		free(value);
		free(copy);
		return -ENOMEM;
	}
	value->key = copy;
	value->next = object->values;
	buf_init(&value->text, CREDENTIALS_VALUE_MAX);
	value->text.secret = true;
	object->values = value;
	object->value_count++;
	*ret_value = value;
	return 0;
}

static bool has_values(const struct object *object)
{
	for (const struct value *value = object->values; value; value = value->next)
		if (value->known)
			return true;
	return false;
}

/* ---- when ------------------------------------------------------------------------------- */

static void wake(struct credentials *credentials)
{
	loop_timer_set(credentials->timer, 0);
}

/* +-10 %, so that the agents of a cluster do not stay together. */
static uint64_t jitter(struct credentials *credentials, uint64_t delay_ns)
{
	return delay_ns - delay_ns / 10 + rng_below(&credentials->rng, delay_ns / 5 + 1);
}

static uint64_t doubled(uint64_t first_ns, unsigned times, uint64_t limit_ns)
{
	while (times-- > 0 && first_ns < limit_ns)
		first_ns *= 2;
	return first_ns < limit_ns ? first_ns : limit_ns;
}

static void due_in(struct object *object, uint64_t delay_ns)
{
	struct credentials *credentials = object->owner;
	object->due_ns = clock_mono(&credentials->clock) + jitter(credentials, delay_ns);
}

/* ---- answers ------------------------------------------------------------------------------ */

/* One value as the object has it: `data` of a Secret is base64, of a ConfigMap plain, `binaryData` of it base64 again. 1; 0 absent or no
 * base64, or too large; -ENOMEM. */
static int read_value(const struct object *object, const struct json *json, const char *key, struct buf *out)
{
	const struct json *member = json_get(json_get(json, "data"), key);
	bool encoded = !object->config_map;
	if (!member && object->config_map) {
		member = json_get(json_get(json, "binaryData"), key);
		encoded = true;
	}
	if (!member || member->type != JSON_STRING)
		return 0;
	int result = encoded ? buf_unbase64(out, member->text) : buf_span(out, member->text);
	return result == -ENOMEM ? result : result == 0;
}

/* Whether it is another value than before; -ENOMEM: it stays as it was. */
static int take_value(struct value *value, const struct object *object, const struct json *json)
{
	struct buf text;
	buf_init(&text, CREDENTIALS_VALUE_MAX);
	text.secret = true;
	int result = read_value(object, json, value->key, &text);
	bool known = result == 1;
	bool same = known == value->known && (!known || span_eq(buf_view(&text), buf_view(&value->text)));
	if (result < 0 || same) {
		buf_done(&text);
		return result < 0 ? result : 0;
	}
	value_forget(value);
	if (known)
		value->text = text;
	else
		buf_done(&text);
	value->known = known;
	return 1;
}

/* 1 something changed, 0 nothing did, -ENOMEM. */
static int take_object(struct object *object, const struct json *json)
{
	bool changed = !object->answered;
	for (struct value *value = object->values; value; value = value->next) {
		int result = take_value(value, object, json);
		if (result < 0)
			return result;
		changed = changed || result > 0;
	}
	return changed;
}

static void tell_failed(struct object *object)
{
	struct credentials *credentials = object->owner;
	if (strcmp(object->told.text, object->error.text) == 0)
		return;
	object->told = object->error;
	credentials->events.failed(credentials->events.arg, object->config_map, object->namespace_, object->name,
		has_values(object), &object->error);
}

static void fetched(struct object *object, const struct json *json)
{
	struct credentials *credentials = object->owner;
	int changed = take_object(object, json);
	if (changed < 0) {
		due_in(object, RETRY_NS);
		return;
	}
	object->answered = true;
	object->failures = 0;
	object->error.text[0] = '\0';
	if (changed)
		object->refusals = 0;
	due_in(object, REFRESH_NS);
	tell_failed(object);
	if (changed)
		credentials->events.changed(
			credentials->events.arg, object->config_map, object->namespace_, object->name);
}

/* Deleted: nobody may log in with it any more. Everything else may be an outage. */
static void not_fetched(struct object *object, const struct kube_api_answer *answer)
{
	struct credentials *credentials = object->owner;
	bool had = has_values(object), first = !object->answered;
	uint64_t delay_ns = doubled(RETRY_NS, object->failures++, RETRY_LIMIT_NS);
	bool refused = answer->status == 403 || answer->not_found;
	credentials->failures++;
	object->error = answer->error;
	object->answered = true;
	if (answer->not_found)
		for (struct value *value = object->values; value; value = value->next)
			value_forget(value);
	if (refused)
		delay_ns = RETRY_LIMIT_NS;
	if (answer->retry_after_ns > delay_ns && answer->retry_after_ns < REFRESH_NS)
		delay_ns = answer->retry_after_ns;
	due_in(object, delay_ns);
	tell_failed(object);
	if (first || (had && answer->not_found))
		credentials->events.changed(
			credentials->events.arg, object->config_map, object->namespace_, object->name);
}

static void done(void *arg, const struct kube_api_answer *answer)
{
	struct object *object = arg;
	struct credentials *credentials = object->owner;
	credentials->source.cancel(object->call);
	object->call = NULL;
	credentials->in_flight--;
	if (answer->object)
		fetched(object, answer->object);
	else
		not_fetched(object, answer);
	wake(credentials);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void ask(struct object *object, uint64_t now_ns)
{
	static const struct kube_resource resources[] = {{"", "v1", "secrets"}, {"", "v1", "configmaps"}};
	struct credentials *credentials = object->owner;
	struct kube_api_answer none = {.status = 0};
	object->asked_ns = now_ns;
	credentials->requests++;
	int result = credentials->source.get(credentials->source.arg, resources[object->config_map],
		span_str(object->namespace_), span_str(object->name), done, object, &object->call, &none.error);
	if (result == 0)
		credentials->in_flight++;
	else
		not_fetched(object, &none);
}

static void forget(struct credentials *credentials, struct object *object)
{
	map_remove(&credentials->objects, span_str(object->id));
	object_free(object);
}

/* The object that is due first; a map has no order, and there are few. */
static struct object *first_due(const struct credentials *credentials)
{
	const struct map_slot *slot;
	struct object *first = NULL;
	for (size_t i = 0; (slot = map_next(&credentials->objects, &i));) {
		struct object *object = slot->value;
		if (!object->call && (!first || object->due_ns < first->due_ns))
			first = object;
	}
	return first;
}

uint64_t credentials_run(struct credentials *credentials)
{
	const struct credentials_events *events = &credentials->events;
	uint64_t now_ns = clock_mono(&credentials->clock);
	struct object *object;
	while (credentials->in_flight < IN_FLIGHT_MAX && (object = first_due(credentials))) {
		if (object->due_ns > now_ns)
			return object->due_ns - now_ns;
		/* Not before its first answer: who asked is only about to need it. */
		if (object->answered &&
			!events->needed(events->arg, object->config_map, object->namespace_, object->name))
			forget(credentials, object);
		else
			ask(object, now_ns);
	}
	return UINT64_MAX; /* nothing to wait for, or an answer wakes it */
}

static void timer_fired(void *arg)
{
	struct credentials *credentials = arg;
	uint64_t wait_ns = credentials_run(credentials);
	if (wait_ns != UINT64_MAX)
		loop_timer_set(credentials->timer, wait_ns);
}

/* ---- for the owner ----------------------------------------------------------------------------- */

int credentials_new(struct loop *loop, struct clock clock, struct credentials_source source,
	struct credentials_events events, struct credentials **ret_credentials)
{
	struct credentials *credentials = calloc(1, sizeof(*credentials));
	if (!credentials)
		return -ENOMEM;
	credentials->source = source;
	credentials->events = events;
	credentials->clock = clock;
	map_init(&credentials->objects, CREDENTIALS_OBJECTS_MAX);
	arena_init(&credentials->arena, NAMESPACES_BYTES);
	rng_init(&credentials->rng, hash_seed());
	int result = loop_timer_new(loop, timer_fired, credentials, &credentials->timer);
	if (result < 0)
		credentials_free(credentials);
	else
		*ret_credentials = credentials;
	return result;
}

void credentials_free(struct credentials *credentials)
{
	const struct map_slot *slot;
	if (!credentials)
		return;
	for (size_t i = 0; (slot = map_next(&credentials->objects, &i));)
		object_free(slot->value);
	map_done(&credentials->objects);
	arena_done(&credentials->arena);
	loop_timer_free(credentials->timer);
	free(credentials);
}

static bool is_allowed(const struct credentials *credentials, const char *namespace_)
{
	for (size_t i = 0; i < credentials->namespaces.count; i++)
		if (strcmp(credentials->namespaces.items[i], namespace_) == 0)
			return true;
	return false;
}

static struct object *any_not_allowed(const struct credentials *credentials)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&credentials->objects, &i));) {
		struct object *object = slot->value;
		if (!is_allowed(credentials, object->namespace_))
			return object;
	}
	return NULL;
}

int credentials_allow(struct credentials *credentials, const struct option_strings *namespaces)
{
	const struct credentials_events *events = &credentials->events;
	struct arena arena;
	arena_init(&arena, NAMESPACES_BYTES);
	struct option_strings copy = {arena_alloc(&arena, namespaces->count * sizeof(*copy.items)), 0};
	bool ok = copy.items;
	for (; ok && copy.count < namespaces->count; copy.count++) {
		copy.items[copy.count] = arena_strdup(&arena, namespaces->items[copy.count]);
		ok = copy.items[copy.count];
	}
	if (!ok) {
		arena_done(&arena);
		return -ENOMEM;
	}
	arena_done(&credentials->arena);
	credentials->arena = arena;
	credentials->namespaces = copy;
	struct object *object;
	while ((object = any_not_allowed(credentials))) {
		map_remove(&credentials->objects, span_str(object->id)); /* so that a get in the event is a refusal */
		events->changed(events->arg, object->config_map, object->namespace_, object->name);
		object_free(object);
	}
	return 0;
}

/* The object and the key, made when they are asked for the first time. 0, -ENOMEM, -EINVAL, -E2BIG. */
static int want(struct credentials *credentials, const struct credentials_reference *reference,
	struct object **ret_object, struct value **ret_value)
{
	char id[NAME_BYTES_MAX];
	int result = make_id(reference, id, sizeof(id));
	struct object *object = result == 0 ? map_get(&credentials->objects, span_str(id)) : NULL;
	if (result == 0 && !object)
		result = object_new(credentials, reference, id, &object);
	if (result < 0)
		return result;
	struct value *value = object_value(object, reference->key);
	if (!value) {
		result = object_add_value(object, reference->key, &value);
		if (result < 0)
			return result;
		object->answered = false;
		object->due_ns = clock_mono(&credentials->clock);
		wake(credentials);
	}
	*ret_object = object;
	*ret_value = value;
	return 0;
}

int credentials_get(struct credentials *credentials, const struct credentials_reference *reference,
	struct span *ret_value, struct error *err)
{
	const char *kind = kind_name(reference->config_map);
	struct escaped namespace_ = escape_bytes(span_str(reference->namespace_)),
		       name = escape_bytes(span_str(reference->name)), key = escape_bytes(span_str(reference->key));
	struct object *object;
	struct value *value;
	if (!is_allowed(credentials, reference->namespace_)) {
		error_set(err, EACCES, "%s %s/%s: monitors.secret_namespaces does not list %s", kind, namespace_.text,
			name.text, namespace_.text);
		return 0;
	}
	int result = want(credentials, reference, &object, &value);
	if (result == -ENOMEM)
		return error_set(err, ENOMEM, "out of memory");
	if (result < 0) {
		error_set(err, -result, "%s %s/%s: %s", kind, namespace_.text, name.text,
			result == -EINVAL ? "its name is too long" : "more than are read at a time");
		return 0;
	}
	if (value->known) {
		*ret_value = value->text.ptr ? buf_view(&value->text) : SPAN("");
		return 1;
	}
	if (object->error.text[0])
		error_set(err, ENOENT, "%s %s/%s: %s", kind, namespace_.text, name.text, object->error.text);
	else if (!object->answered)
		error_set(err, EAGAIN, "%s %s/%s: not read yet", kind, namespace_.text, name.text);
	else
		error_set(err, ENOENT, "%s %s/%s: it has no key `%s` of at most %d KiB", kind, namespace_.text,
			name.text, key.text, CREDENTIALS_VALUE_MAX >> 10);
	return 0;
}

void credentials_refused(struct credentials *credentials, const struct credentials_reference *reference)
{
	struct object *object = object_find(credentials, reference);
	if (!object || object->call)
		return;
	uint64_t again_ns = object->asked_ns + doubled(REFUSED_NS, object->refusals, REFRESH_NS);
	if (object->due_ns <= again_ns)
		return;
	object->refusals++;
	object->due_ns = again_ns;
	wake(credentials);
}

void credentials_disconnect(struct credentials *credentials)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&credentials->objects, &i));) {
		struct object *object = slot->value;
		if (!object->call)
			continue;
		credentials->source.cancel(object->call);
		object->call = NULL;
		object->due_ns = clock_mono(&credentials->clock);
	}
	credentials->in_flight = 0;
	wake(credentials);
}

void credentials_stats(const struct credentials *credentials, struct credentials_stats *ret_stats)
{
	const struct map_slot *slot;
	*ret_stats = (struct credentials_stats){.objects = credentials->objects.count,
		.requests = credentials->requests,
		.failures = credentials->failures};
	for (size_t i = 0; (slot = map_next(&credentials->objects, &i));)
		ret_stats->missing += !has_values(slot->value);
}
