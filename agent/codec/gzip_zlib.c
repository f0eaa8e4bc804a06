/* gzip by zlib: the fallback. Six times as expensive as isa-l to compress with, two and a half times to inflate. */
#include "gzip.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16, MEM_LEVEL = 8, LEVEL = 1, CHUNK = 64 * 1024 };

/* By our own malloc, so that a test can make it fail. */
static voidpf allocate(voidpf opaque, uInt items, uInt size)
{
	(void)opaque;
	return calloc(items, size);
}

static void release(voidpf opaque, voidpf address)
{
	(void)opaque;
	free(address);
}

static z_stream *stream_new(void)
{
	z_stream *stream = calloc(1, sizeof(*stream));
	if (stream) {
		stream->zalloc = allocate;
		stream->zfree = release;
	}
	return stream;
}

static void *zlib_deflate_new(void)
{
	z_stream *stream = stream_new();
	if (stream && deflateInit2(stream, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(stream);
		return NULL;
	}
	return stream;
}

static void zlib_deflate_free(void *state)
{
	if (state)
		deflateEnd(state);
	free(state);
}

static int zlib_deflate(void *state, struct span in, struct buf *out)
{
	z_stream *stream = state;
	if (in.len > UINT_MAX)
		return -EMSGSIZE;
	deflateReset(stream);
	stream->next_in = (Bytef *)in.ptr;
	stream->avail_in = (uInt)in.len;
	for (int result = Z_OK; result != Z_STREAM_END;) {
		size_t len = 0;
		char *at = codec_room(out, CHUNK, &len);
		if (!at)
			return out->failed;
		stream->next_out = (Bytef *)at;
		stream->avail_out = (uInt)len;
		result = deflate(stream, Z_FINISH);
		out->len += len - stream->avail_out;
	}
	return 0;
}

static void *zlib_inflate_new(void)
{
	z_stream *stream = stream_new();
	if (stream && inflateInit2(stream, GZIP_WINDOW) != Z_OK) {
		free(stream);
		return NULL;
	}
	return stream;
}

static void zlib_inflate_free(void *state)
{
	if (state)
		inflateEnd(state);
	free(state);
}

static void zlib_inflate_reset(void *state)
{
	inflateReset(state);
}

static int zlib_inflate(void *state, struct span *in, char *at, size_t *len)
{
	z_stream *stream = state;
	uInt in_len = in->len < UINT_MAX ? (uInt)in->len : UINT_MAX;
	uInt out_len = *len < UINT_MAX ? (uInt)*len : UINT_MAX;
	stream->next_in = (Bytef *)in->ptr;
	stream->avail_in = in_len;
	stream->next_out = (Bytef *)at;
	stream->avail_out = out_len;
	int result = inflate(stream, Z_NO_FLUSH);
	*len = out_len - stream->avail_out;
	*in = span_of((const char *)stream->next_in, in->len - (in_len - stream->avail_in));
	switch (result) {
	case Z_STREAM_END:
		return 1;
	case Z_OK:
	case Z_BUF_ERROR: /* no progress is possible without more input or room */
		return 0;
	case Z_MEM_ERROR:
		return -ENOMEM;
	default:
		return -EBADMSG;
	}
}

const struct gzip_backend gzip_zlib = {
	.name = "zlib",
	.deflate_new = zlib_deflate_new,
	.deflate_free = zlib_deflate_free,
	.deflate = zlib_deflate,
	.inflate_new = zlib_inflate_new,
	.inflate_free = zlib_inflate_free,
	.inflate_reset = zlib_inflate_reset,
	.inflate = zlib_inflate,
};
