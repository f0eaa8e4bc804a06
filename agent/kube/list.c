/* Reads {"metadata":{...},"items":[{...},...]} with the keys in any order: those of custom resources are sorted, so that the
 * items come before the metadata. Events of an item, and of the metadata, are passed to a builder.
 *
 * Whoever may write an object may write a large one, and a tree takes many times its text. So each event of an item is charged with what the
 * builder may take for it at most; an item that gets too dear goes by like all else that is not wanted.
 */
#include "list.h"

#include <errno.h>
#include <stdlib.h>

enum { METADATA_BYTES = 65536, EVENT_BYTES = sizeof(struct json) + sizeof(struct span) };

enum part { PART_OTHER, PART_METADATA, PART_ITEMS };

struct kube_list_reader {
	struct json_stream *stream;
	struct json_builder *item_builder, *metadata_builder;
	struct json_events to_item, to_metadata;
	struct arena item_arena, metadata_arena;
	size_t item_cost, item_bytes; /* of the present item; at most */
	size_t depth;
	enum part part; /* which member of the list we are in */
	void (*item)(void *arg, const struct json *object);
	void *arg;
	const struct json *metadata;
	bool has_items;
};

/* ---- events that nobody wants --------------------------------------------------------- */

static bool pass_type(void *arg, enum json_type type)
{
	(void)arg;
	(void)type;
	return true;
}

static bool pass_text(void *arg, struct span text)
{
	(void)arg;
	(void)text;
	return true;
}

static bool pass_boolean(void *arg, bool value)
{
	(void)arg;
	(void)value;
	return true;
}

static bool pass_null(void *arg)
{
	(void)arg;
	return true;
}

static const struct json_events nobody = {
	pass_type, pass_type, pass_text, pass_text, pass_text, pass_boolean, pass_null, NULL};

/* ---- events --------------------------------------------------------------------------- */

/* The depth at which the values stand that are built. */
static size_t wanted_depth(enum part part)
{
	return part == PART_METADATA ? 1 : part == PART_ITEMS ? 2 : SIZE_MAX;
}

/* Who gets an event of the present value. */
static const struct json_events *sink(struct kube_list_reader *reader, size_t text_bytes)
{
	if (reader->depth < wanted_depth(reader->part))
		return &nobody;
	if (reader->part == PART_METADATA)
		return &reader->to_metadata;
	reader->item_cost += EVENT_BYTES + text_bytes;
	return reader->item_cost > reader->item_bytes ? &nobody : &reader->to_item;
}

/* A value is complete: perhaps one of those that are wanted. */
static bool end_value(struct kube_list_reader *reader)
{
	if (reader->depth != wanted_depth(reader->part))
		return true;
	if (reader->part == PART_METADATA) {
		reader->metadata = json_builder_take(reader->metadata_builder);
		return reader->metadata != NULL;
	}
	bool too_large = reader->item_cost > reader->item_bytes;
	const struct json *object = too_large ? NULL : json_builder_take(reader->item_builder);
	if (!object && !too_large)
		return false;
	reader->item(reader->arg, object);
	arena_reset(&reader->item_arena);
	json_builder_reset(reader->item_builder);
	reader->item_cost = 0;
	return true;
}

static bool on_begin(void *arg, enum json_type type)
{
	struct kube_list_reader *reader = arg;
	if (reader->depth == 1 && reader->part == PART_ITEMS && type == JSON_ARRAY)
		reader->has_items = true;
	else if (reader->depth == 1 && reader->part == PART_ITEMS)
		reader->part = PART_OTHER; /* an object */
	const struct json_events *to = sink(reader, 0);
	reader->depth++;
	return to->begin(to->arg, type);
}

static bool on_end(void *arg, enum json_type type)
{
	struct kube_list_reader *reader = arg;
	reader->depth--;
	const struct json_events *to = sink(reader, 0);
	return to->end(to->arg, type) && end_value(reader);
}

static bool on_key(void *arg, struct span key)
{
	struct kube_list_reader *reader = arg;
	if (reader->depth == 1) {
		reader->part = span_eq(key, SPAN("metadata")) ? PART_METADATA
			       : span_eq(key, SPAN("items"))  ? PART_ITEMS
							      : PART_OTHER;
		return true;
	}
	const struct json_events *to = sink(reader, key.len);
	return to->key(to->arg, key);
}

static bool on_string(void *arg, struct span text)
{
	struct kube_list_reader *reader = arg;
	const struct json_events *to = sink(reader, text.len);
	return to->string(to->arg, text) && end_value(reader);
}

static bool on_number(void *arg, struct span text)
{
	struct kube_list_reader *reader = arg;
	const struct json_events *to = sink(reader, text.len);
	return to->number(to->arg, text) && end_value(reader);
}

static bool on_boolean(void *arg, bool value)
{
	struct kube_list_reader *reader = arg;
	const struct json_events *to = sink(reader, 0);
	return to->boolean(to->arg, value) && end_value(reader);
}

static bool on_null(void *arg)
{
	struct kube_list_reader *reader = arg;
	const struct json_events *to = sink(reader, 0);
	reader->has_items |= reader->depth == 1 && reader->part == PART_ITEMS;
	return to->null(to->arg) && end_value(reader);
}

int kube_list_reader_new(size_t max_bytes, size_t item_bytes, void (*item)(void *arg, const struct json *object),
	void *arg, struct kube_list_reader **ret_reader)
{
	struct kube_list_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	reader->item = item;
	reader->arg = arg;
	reader->item_bytes = item_bytes;
	arena_init(&reader->item_arena, item_bytes);
	arena_init(&reader->metadata_arena, METADATA_BYTES);
	struct json_events events = {on_begin, on_end, on_key, on_string, on_number, on_boolean, on_null, reader};
	if (json_builder_new(&reader->item_arena, &reader->item_builder) < 0 ||
		json_builder_new(&reader->metadata_arena, &reader->metadata_builder) < 0 ||
		json_stream_new(events, max_bytes, &reader->stream) < 0) {
		kube_list_reader_free(reader);
		return -ENOMEM;
	}
	reader->to_item = json_builder_events(reader->item_builder);
	reader->to_metadata = json_builder_events(reader->metadata_builder);
	*ret_reader = reader;
	return 0;
}

void kube_list_reader_free(struct kube_list_reader *reader)
{
	if (!reader)
		return;
	json_stream_free(reader->stream);
	json_builder_free(reader->item_builder);
	json_builder_free(reader->metadata_builder);
	arena_done(&reader->item_arena);
	arena_done(&reader->metadata_arena);
	free(reader);
}

/* The only one who ends the stream is a builder without memory. */
static int judge(int result, struct error *err)
{
	return result == -ECANCELED ? error_set(err, ENOMEM, "out of memory") : result;
}

int kube_list_reader_feed(struct kube_list_reader *reader, struct span piece, struct error *err)
{
	return judge(json_stream_feed(reader->stream, piece, err), err);
}

int kube_list_reader_end(struct kube_list_reader *reader, struct span *ret_resource_version, struct error *err)
{
	int r = judge(json_stream_end(reader->stream, err), err);
	if (r < 0)
		return r;
	struct span version = json_string(reader->metadata, "resourceVersion", SPAN_NONE);
	if (!reader->has_items || version.len == 0)
		return error_set(err, EBADMSG, "not a list of objects");
	if (json_string(reader->metadata, "continue", SPAN_NONE).len > 0)
		return error_set(err, EBADMSG, "a part of a list, but all of it was asked for");
	*ret_resource_version = version;
	return 0;
}
