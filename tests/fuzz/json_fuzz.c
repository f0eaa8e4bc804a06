// links: json
/* A text as a tree, and as events in pieces of a size that its last byte chooses: both take it, or both refuse it; a tree written
 * out again is the same tree. */
#include "gleaner/json.h"

#include <errno.h>

#define CHECK(claim)                                                                                                   \
	do {                                                                                                           \
		if (!(claim))                                                                                          \
			__builtin_trap();                                                                              \
	} while (0)

enum { ARENA = 8 << 20 };

static bool on_nesting(void *arg, enum json_type type)
{
	(void)arg;
	return type == JSON_OBJECT || type == JSON_ARRAY;
}

static bool on_text(void *arg, struct span text)
{
	*(size_t *)arg += text.len;
	return true;
}

static bool on_boolean(void *arg, bool value)
{
	*(size_t *)arg += value;
	return true;
}

static bool on_null(void *arg)
{
	return arg != NULL;
}

static int stream(struct span text, size_t piece)
{
	struct json_stream *stream;
	struct error err = {""};
	size_t seen = 0;
	int r = json_stream_new(
		(struct json_events){on_nesting, on_nesting, on_text, on_text, on_text, on_boolean, on_null, &seen},
		text.len, &stream);
	CHECK(r == 0);
	for (size_t at = 0; r == 0 && at < text.len; at += piece)
		r = json_stream_feed(
			stream, span_of(text.ptr + at, text.len - at < piece ? text.len - at : piece), &err);
	if (r == 0)
		r = json_stream_end(stream, &err);
	CHECK((r < 0) == (err.text[0] != 0));
	CHECK(seen <= text.len);
	json_stream_free(stream);
	return r;
}

static void write_tree(struct buf *out, const struct json *value)
{
	if (value->type == JSON_NUMBER)
		buf_span(out, value->text);
	else if (value->type == JSON_STRING)
		buf_json(out, value->text);
	else if (value->type == JSON_BOOL)
		buf_str(out, value->boolean ? "true" : "false");
	else if (value->type == JSON_NULL)
		buf_str(out, "null");
	if (value->type < JSON_ARRAY)
		return;
	buf_char(out, value->type == JSON_ARRAY ? '[' : '{');
	for (size_t i = 0; i < value->count; i++) {
		buf_str(out, i > 0 ? "," : "");
		if (value->type == JSON_OBJECT) {
			buf_json(out, value->keys[i]);
			buf_char(out, ':');
		}
		write_tree(out, &value->items[i]);
	}
	buf_char(out, value->type == JSON_ARRAY ? ']' : '}');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of((const char *)data, size);
	struct arena arena;
	struct buf first, second;
	const struct json *json, *again;
	struct error err = {""};
	arena_init(&arena, ARENA);
	buf_init(&first, ARENA);
	buf_init(&second, ARENA);
	int r = json_parse(&arena, text, &json, &err);
	CHECK(r == 0 || ((r == -EBADMSG || r == -ENOMEM) && err.text[0]));
	CHECK(r == -ENOMEM || stream(text, size > 0 ? data[size - 1] % 16 + 1 : 1) == r);
	if (r == 0) {
		write_tree(&first, json);
		CHECK(json_parse(&arena, buf_view(&first), &again, &err) == 0);
		write_tree(&second, again);
		CHECK(span_eq(buf_view(&first), buf_view(&second)));
		json_path(json, "metadata.name");
	}
	buf_done(&first);
	buf_done(&second);
	arena_done(&arena);
	return 0;
}
