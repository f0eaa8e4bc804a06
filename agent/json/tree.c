/* Trees in an arena: from a text or from events, back to events, and how to look things up in them.
 *
 * A value that is read goes to the end of `values` (and its key to the end of `keys`). Where an object or array ends, all
 * that was read since its beginning moves to the arena, and the object or array itself is one value more. So each child
 * array is allocated once, in its exact size.
 */
#include "gleaner/json.h"

#include <errno.h>
#include <stdlib.h>

const char *json_type_name(enum json_type type)
{
	static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
	return names[type];
}

/* ---- reading ---------------------------------------------------------------------- */

struct json_builder {
	struct arena *arena;
	struct buf values; /* struct json */
	struct buf keys;   /* struct span; of the open objects */
	struct {
		size_t values, keys; /* how many there were when it began */
	} open[JSON_DEPTH_MAX];
	size_t depth;
};

static size_t value_count(const struct json_builder *builder)
{
	return builder->values.len / sizeof(struct json);
}

static size_t key_count(const struct json_builder *builder)
{
	return builder->keys.len / sizeof(struct span);
}

static bool push(struct json_builder *builder, struct json value)
{
	return buf_append(&builder->values, &value, sizeof(value)) == 0;
}

static bool copy(struct json_builder *builder, struct span text, struct span *ret_copy)
{
	char *bytes = arena_spandup(builder->arena, text);
	*ret_copy = span_of(bytes, text.len);
	return bytes != NULL;
}

static bool on_begin(void *arg, enum json_type type)
{
	struct json_builder *builder = arg;
	(void)type;
	builder->open[builder->depth].values = value_count(builder);
	builder->open[builder->depth].keys = key_count(builder);
	builder->depth++;
	return true;
}

/* The entries of a list from `first` on, in the arena; gone from the list. NULL: no memory. */
static void *take(struct arena *arena, struct buf *list, size_t first, size_t size)
{
	size_t bytes = list->len - first * size;
	void *taken = arena_alloc(arena, bytes);
	if (taken && bytes > 0)
		memcpy(taken, list->ptr + first * size, bytes);
	list->len -= bytes;
	return taken;
}

static bool on_end(void *arg, enum json_type type)
{
	struct json_builder *builder = arg;
	size_t first_value = builder->open[--builder->depth].values, first_key = builder->open[builder->depth].keys;
	struct json value = {.type = type, .count = value_count(builder) - first_value};
	value.items = take(builder->arena, &builder->values, first_value, sizeof(struct json));
	if (type == JSON_OBJECT)
		value.keys = take(builder->arena, &builder->keys, first_key, sizeof(struct span));
	return value.items && (value.keys || type == JSON_ARRAY) && push(builder, value);
}

static bool on_key(void *arg, struct span text)
{
	struct json_builder *builder = arg;
	struct span key;
	return copy(builder, text, &key) && buf_append(&builder->keys, &key, sizeof(key)) == 0;
}

static bool on_string(void *arg, struct span text)
{
	struct json_builder *builder = arg;
	struct json value = {.type = JSON_STRING};
	return copy(builder, text, &value.text) && push(builder, value);
}

static bool on_number(void *arg, struct span text)
{
	struct json_builder *builder = arg;
	struct json value = {.type = JSON_NUMBER};
	return copy(builder, text, &value.text) && push(builder, value);
}

static bool on_boolean(void *arg, bool boolean)
{
	return push(arg, (struct json){.type = JSON_BOOL, .boolean = boolean});
}

static bool on_null(void *arg)
{
	return push(arg, (struct json){.type = JSON_NULL});
}

int json_builder_new(struct arena *arena, struct json_builder **ret_builder)
{
	struct json_builder *builder = calloc(1, sizeof(*builder));
	if (!builder)
		return -ENOMEM;
	builder->arena = arena;
	json_builder_reset(builder);
	*ret_builder = builder;
	return 0;
}

void json_builder_free(struct json_builder *builder)
{
	if (!builder)
		return;
	buf_done(&builder->values);
	buf_done(&builder->keys);
	free(builder);
}

void json_builder_reset(struct json_builder *builder)
{
	struct arena *arena = builder->arena;
	builder->depth = 0;
	buf_reset(&builder->values);
	buf_reset(&builder->keys);
	builder->values.max = builder->keys.max = arena->used < arena->max ? arena->max - arena->used : 0;
	builder->values.secret = builder->keys.secret = arena->secret;
}

struct json_events json_builder_events(struct json_builder *builder)
{
	return (struct json_events){on_begin, on_end, on_key, on_string, on_number, on_boolean, on_null, builder};
}

const struct json *json_builder_take(struct json_builder *builder)
{
	if (builder->depth > 0 || value_count(builder) != 1)
		return NULL;
	const struct json *value = take(builder->arena, &builder->values, 0, sizeof(*value));
	json_builder_reset(builder);
	return value;
}

static int read_tree(struct json_builder *builder, struct span text, struct error *err)
{
	struct json_stream *stream;
	int r = json_stream_new(json_builder_events(builder), text.len, &stream);
	if (r < 0)
		return error_set(err, ENOMEM, "out of memory");
	r = json_stream_feed(stream, text, err);
	if (r == 0)
		r = json_stream_end(stream, err);
	json_stream_free(stream);
	return r == -ECANCELED ? error_set(err, ENOMEM, "no memory for so large an object") : r;
}

int json_parse(struct arena *arena, struct span text, const struct json **ret_json, struct error *err)
{
	struct json_builder *builder;
	if (json_builder_new(arena, &builder) < 0)
		return error_set(err, ENOMEM, "out of memory");
	int r = read_tree(builder, text, err);
	const struct json *json = r == 0 ? json_builder_take(builder) : NULL;
	if (r == 0 && !json)
		r = error_set(err, ENOMEM, "no memory for so large an object");
	json_builder_free(builder);
	if (r == 0)
		*ret_json = json;
	return r;
}

/* ---- telling ------------------------------------------------------------------------ */

static bool walk_members(const struct json *json, const struct json_events *events)
{
	if (!events->begin(events->arg, json->type))
		return false;
	for (size_t i = 0; i < json->count; i++) {
		if (json->type == JSON_OBJECT && !events->key(events->arg, json->keys[i]))
			return false;
		if (!json_walk(&json->items[i], events))
			return false;
	}
	return events->end(events->arg, json->type);
}

bool json_walk(const struct json *json, const struct json_events *events)
{
	switch (json->type) {
	case JSON_NULL:
		return events->null(events->arg);
	case JSON_BOOL:
		return events->boolean(events->arg, json->boolean);
	case JSON_NUMBER:
		return events->number(events->arg, json->text);
	case JSON_STRING:
		return events->string(events->arg, json->text);
	default:
		return walk_members(json, events);
	}
}

/* ---- looking up --------------------------------------------------------------------- */

static const struct json *member(const struct json *object, struct span key)
{
	if (!object || object->type != JSON_OBJECT)
		return NULL;
	for (size_t i = object->count; i-- > 0;)
		if (span_eq(object->keys[i], key))
			return object->items[i].type == JSON_NULL ? NULL : &object->items[i];
	return NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
	return member(object, span_str(key));
}

const struct json *json_path(const struct json *object, const char *path)
{
	struct span rest = span_str(path), name;
	while (object && span_next(&rest, '.', &name))
		object = member(object, name);
	return object;
}

struct span json_string(const struct json *object, const char *key, struct span otherwise)
{
	const struct json *value = json_get(object, key);
	return value && value->type == JSON_STRING ? value->text : otherwise;
}

/* Digits with or without a minus. 0 or -EINVAL. */
static int to_integer(struct span text, int64_t *ret_value)
{
	bool negative = text.len > 0 && text.ptr[0] == '-';
	uint64_t magnitude;
	if (span_to_u64(negative ? span_of(text.ptr + 1, text.len - 1) : text, &magnitude) < 0 ||
		magnitude > (uint64_t)INT64_MAX + negative)
		return -EINVAL;
	*ret_value = negative ? (int64_t)-magnitude : (int64_t)magnitude;
	return 0;
}

int json_integer(const struct json *object, const char *key, int64_t min, int64_t max, int64_t *ret_value)
{
	const struct json *value = json_get(object, key);
	int64_t number;
	if (!value)
		return 0;
	if (value->type != JSON_NUMBER || to_integer(value->text, &number) < 0 || number < min || number > max)
		return -EINVAL;
	*ret_value = number;
	return 1;
}

bool json_boolean(const struct json *object, const char *key, bool otherwise)
{
	const struct json *value = json_get(object, key);
	return value && value->type == JSON_BOOL ? value->boolean : otherwise;
}
