/* JSON as a stream of events: what yajl lacks for texts from outside.
 *
 * yajl has no depth limit (ours is a count), its errors can quote the text (we leave that out), integers that overflow end
 * the parse (we take numbers as text). It also reads a token that was cut from its start again with every piece: a long
 * annotation in tiny chunks would keep the loop busy for minutes. So behind the first few bytes, pieces wait until there
 * is much to read, or no more may come (of json_parse's text, which may be a Secret, no copy is made so).
 */
#include "gleaner/json.h"

#include <errno.h>
#include <stdlib.h>

#include <yajl/yajl_parse.h>

enum { DIRECT_BYTES = 4096, WAIT_BYTES = 65536 };

struct json_stream {
	yajl_handle yajl;
	struct json_events events;
	size_t bytes, max_bytes; /* read by yajl; allowed */
	struct buf waiting;      /* the next bytes for yajl */
	unsigned char open[JSON_DEPTH_MAX];
	size_t depth;
	int failed; /* sticky */
	struct error error;
};

/* Returns 0, which makes yajl stop. */
static int stop(struct json_stream *stream, int code, const char *reason)
{
	stream->failed = error_set(&stream->error, code, "%s", reason);
	return 0;
}

static int go_on(struct json_stream *stream, bool wanted)
{
	return wanted ? 1 : stop(stream, ECANCELED, "not wanted any more");
}

/* ---- yajl's events ------------------------------------------------------------------ */

static int begin(struct json_stream *stream, enum json_type type)
{
	if (stream->depth == JSON_DEPTH_MAX)
		return stop(stream, EBADMSG, "nested deeper than 64");
	stream->open[stream->depth++] = (unsigned char)type;
	return go_on(stream, stream->events.begin(stream->events.arg, type));
}

static int on_end(void *arg)
{
	struct json_stream *stream = arg;
	enum json_type type = stream->open[--stream->depth];
	return go_on(stream, stream->events.end(stream->events.arg, type));
}

static int on_map_start(void *arg)
{
	return begin(arg, JSON_OBJECT);
}

static int on_array_start(void *arg)
{
	return begin(arg, JSON_ARRAY);
}

static int on_key(void *arg, const unsigned char *text, size_t len)
{
	struct json_stream *stream = arg;
	return go_on(stream, stream->events.key(stream->events.arg, span_of((const char *)text, len)));
}

static int on_string(void *arg, const unsigned char *text, size_t len)
{
	struct json_stream *stream = arg;
	return go_on(stream, stream->events.string(stream->events.arg, span_of((const char *)text, len)));
}

static int on_number(void *arg, const char *text, size_t len)
{
	struct json_stream *stream = arg;
	return go_on(stream, stream->events.number(stream->events.arg, span_of(text, len)));
}

static int on_boolean(void *arg, int value)
{
	struct json_stream *stream = arg;
	return go_on(stream, stream->events.boolean(stream->events.arg, value));
}

static int on_null(void *arg)
{
	struct json_stream *stream = arg;
	return go_on(stream, stream->events.null(stream->events.arg));
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_map_start,
	.yajl_map_key = on_key,
	.yajl_end_map = on_end,
	.yajl_start_array = on_array_start,
	.yajl_end_array = on_end,
};

/* ---- life ---------------------------------------------------------------------------- */

int json_stream_new(struct json_events events, size_t max_bytes, struct json_stream **ret_stream)
{
	struct json_stream *stream = calloc(1, sizeof(*stream));
	if (!stream)
		return -ENOMEM;
	stream->events = events;
	stream->max_bytes = max_bytes;
	buf_init(&stream->waiting, WAIT_BYTES);
	stream->yajl = yajl_alloc(&callbacks, NULL, stream);
	if (!stream->yajl) {
		free(stream);
		return -ENOMEM;
	}
	*ret_stream = stream;
	return 0;
}

void json_stream_free(struct json_stream *stream)
{
	if (!stream)
		return;
	yajl_free(stream->yajl);
	buf_done(&stream->waiting);
	free(stream);
}

/* What yajl says, but for the text that it would quote. */
static void judge(struct json_stream *stream, yajl_status status)
{
	if (status == yajl_status_ok || stream->failed)
		return;
	unsigned char *text = yajl_get_error(stream->yajl, 0, NULL, 0);
	struct span reason = span_trim(span_str((const char *)text));
	stream->failed =
		error_set(&stream->error, EBADMSG, "not JSON near byte %zu: %.*s", stream->bytes, SPAN_ARGS(reason));
	yajl_free_error(stream->yajl, text);
}

static int outcome(const struct json_stream *stream, struct error *err)
{
	return stream->failed ? error_set(err, -stream->failed, "%s", stream->error.text) : 0;
}

static void read_piece(struct json_stream *stream, struct span piece)
{
	if (stream->failed || piece.len == 0)
		return;
	yajl_status status = yajl_parse(stream->yajl, (const unsigned char *)piece.ptr, piece.len);
	stream->bytes += status == yajl_status_ok ? piece.len : yajl_get_bytes_consumed(stream->yajl);
	judge(stream, status);
}

static void read_waiting(struct json_stream *stream)
{
	read_piece(stream, buf_view(&stream->waiting));
	buf_reset(&stream->waiting);
}

int json_stream_feed(struct json_stream *stream, struct span piece, struct error *err)
{
	if (stream->failed)
		return outcome(stream, err);
	size_t unread = stream->waiting.len + piece.len;
	if (piece.len > stream->max_bytes - stream->bytes - stream->waiting.len) {
		stop(stream, EMSGSIZE, "larger than allowed");
	} else if (stream->bytes + unread <= DIRECT_BYTES || unread >= WAIT_BYTES ||
		   stream->bytes + unread == stream->max_bytes) {
		read_waiting(stream);
		read_piece(stream, piece);
	} else if (buf_span(&stream->waiting, piece) < 0) {
		stop(stream, ENOMEM, "out of memory");
	}
	return outcome(stream, err);
}

int json_stream_end(struct json_stream *stream, struct error *err)
{
	read_waiting(stream);
	if (!stream->failed)
		judge(stream, yajl_complete_parse(stream->yajl));
	return outcome(stream, err);
}
