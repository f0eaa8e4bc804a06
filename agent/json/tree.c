/* A JSON text as a tree in an arena, and how to look things up in it.
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

struct tree {
	struct arena *arena;
	struct buf values; /* struct json */
	struct buf keys;   /* struct span; of the open objects */
	struct {
		size_t values, keys; /* how many there were when it began */
	} open[JSON_DEPTH_MAX];
	size_t depth;
};

static size_t value_count(const struct tree *tree)
{
	return tree->values.len / sizeof(struct json);
}

static size_t key_count(const struct tree *tree)
{
	return tree->keys.len / sizeof(struct span);
}

static bool push(struct tree *tree, struct json value)
{
	return buf_append(&tree->values, &value, sizeof(value)) == 0;
}

static bool copy(struct tree *tree, struct span text, struct span *ret_copy)
{
	char *bytes = arena_spandup(tree->arena, text);
	*ret_copy = span_of(bytes, text.len);
	return bytes != NULL;
}

static bool on_begin(void *arg, enum json_type type)
{
	struct tree *tree = arg;
	(void)type;
	tree->open[tree->depth].values = value_count(tree);
	tree->open[tree->depth].keys = key_count(tree);
	tree->depth++;
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
	struct tree *tree = arg;
	size_t first_value = tree->open[--tree->depth].values, first_key = tree->open[tree->depth].keys;
	struct json value = {.type = type, .count = value_count(tree) - first_value};
	value.items = take(tree->arena, &tree->values, first_value, sizeof(struct json));
	if (type == JSON_OBJECT)
		value.keys = take(tree->arena, &tree->keys, first_key, sizeof(struct span));
	return value.items && (value.keys || type == JSON_ARRAY) && push(tree, value);
}

static bool on_key(void *arg, struct span text)
{
	struct tree *tree = arg;
	struct span key;
	return copy(tree, text, &key) && buf_append(&tree->keys, &key, sizeof(key)) == 0;
}

static bool on_string(void *arg, struct span text)
{
	struct tree *tree = arg;
	struct json value = {.type = JSON_STRING};
	return copy(tree, text, &value.text) && push(tree, value);
}

static bool on_number(void *arg, struct span text)
{
	struct tree *tree = arg;
	struct json value = {.type = JSON_NUMBER};
	return copy(tree, text, &value.text) && push(tree, value);
}

static bool on_boolean(void *arg, bool boolean)
{
	return push(arg, (struct json){.type = JSON_BOOL, .boolean = boolean});
}

static bool on_null(void *arg)
{
	return push(arg, (struct json){.type = JSON_NULL});
}

static int read_tree(struct tree *tree, struct span text, struct error *err)
{
	struct json_stream *stream;
	int r = json_stream_new(
		(struct json_events){on_begin, on_end, on_key, on_string, on_number, on_boolean, on_null, tree},
		text.len, &stream);
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
	struct tree tree = {.arena = arena};
	size_t room = arena->used < arena->max ? arena->max - arena->used : 0;
	buf_init(&tree.values, room);
	buf_init(&tree.keys, room);
	int r = read_tree(&tree, text, err);
	if (r == 0) {
		const struct json *root = take(arena, &tree.values, 0, sizeof(*root));
		if (root)
			*ret_json = root;
		else
			r = error_set(err, ENOMEM, "no memory for so large an object");
	}
	buf_done(&tree.values);
	buf_done(&tree.keys);
	return r;
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
