/* Compression of whole bodies, and decompression of what a trusted side compressed. */
#include "gzip.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
	ZSTD_LEVEL = 1,
	ZSTD_WINDOW_LOG_MAX = 23, /* 8 MiB: what every decoder has to take; ours writes 512 KiB */
	CHUNK = 64 * 1024,
};

const char *const codec_choices[] = {"none", "gzip", "zstd", NULL};

const struct gzip_backend *const gzip_backends[] = {
#ifdef GLEANER_HAVE_ISAL
	&gzip_isal,
#endif
	&gzip_zlib,
	NULL,
};

const char *codec_name(enum codec_kind kind)
{
	return codec_choices[kind];
}

char *codec_room(struct buf *out, size_t want, size_t *ret_len)
{
	size_t left = out->max - out->len;
	size_t len = want < left ? want : left;
	char *at = buf_reserve(out, len > 0 ? len : 1);
	size_t spare = at ? out->cap - out->len : 0;
	if (at)
		*ret_len = spare < left ? spare : left;
	return at;
}

/* ---- compressing ------------------------------------------------------------- */

struct codec {
	enum codec_kind kind;
	const struct gzip_backend *gzip;
	void *gzip_state;
	ZSTD_CCtx *zstd;
};

int codec_new_with(const struct gzip_backend *backend, enum codec_kind kind, struct codec **ret_codec)
{
	struct codec *codec = calloc(1, sizeof(*codec));
	if (!codec)
		return -ENOMEM;
	codec->kind = kind;
	codec->gzip = backend;
	if (kind == CODEC_GZIP)
		codec->gzip_state = backend->deflate_new();
	if (kind == CODEC_ZSTD)
		codec->zstd = ZSTD_createCCtx();
	if ((kind == CODEC_GZIP && !codec->gzip_state) || (kind == CODEC_ZSTD && !codec->zstd)) {
		free(codec);
		return -ENOMEM;
	}
	if (kind == CODEC_ZSTD)
		ZSTD_CCtx_setParameter(codec->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	*ret_codec = codec;
	return 0;
}

int codec_new(enum codec_kind kind, struct codec **ret_codec)
{
	return codec_new_with(gzip_backends[0], kind, ret_codec);
}

void codec_free(struct codec *codec)
{
	if (!codec)
		return;
	if (codec->gzip_state)
		codec->gzip->deflate_free(codec->gzip_state);
	ZSTD_freeCCtx(codec->zstd);
	free(codec);
}

static int zstd_error(size_t result)
{
	switch (ZSTD_getErrorCode(result)) {
	case ZSTD_error_memory_allocation:
		return -ENOMEM;
	case ZSTD_error_dstSize_tooSmall:
		return -EMSGSIZE;
	default:
		return -EBADMSG;
	}
}

static int zstd_compress(ZSTD_CCtx *context, struct span in, struct buf *out)
{
	size_t room = 0;
	char *at = codec_room(out, ZSTD_compressBound(in.len), &room);
	if (!at)
		return out->failed;
	size_t result = ZSTD_compress2(context, at, room, in.ptr, in.len);
	if (ZSTD_isError(result))
		return zstd_error(result);
	out->len += result;
	return 0;
}

int codec_compress(struct codec *codec, struct span in, struct buf *out)
{
	size_t len_before = out->len;
	int result = 0;
	if (codec->kind == CODEC_GZIP)
		result = codec->gzip->deflate(codec->gzip_state, in, out);
	else if (codec->kind == CODEC_ZSTD)
		result = zstd_compress(codec->zstd, in, out);
	else
		result = buf_span(out, in);
	if (result < 0)
		out->len = len_before;
	return result;
}

/* ---- decompressing ----------------------------------------------------------- */

static int gunzip(struct span in, struct buf *out)
{
	struct codec_inflate *inflate = NULL;
	int result = codec_inflate_new(&inflate);
	if (result < 0)
		return result;
	codec_inflate_begin(inflate, (struct codec_inflate_limits){.max_out = out->max - out->len});
	result = codec_inflate_feed(inflate, in, out);
	if (result == 0)
		result = codec_inflate_end(inflate);
	codec_inflate_free(inflate);
	return result;
}

/* The room that the frame says it needs, else one chunk; with all of it zstd writes straight into `out`. */
static size_t zstd_room(struct span in)
{
	unsigned long long size = ZSTD_getFrameContentSize(in.ptr, in.len);
	return size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size == 0 ? CHUNK : (size_t)size;
}

static int zstd_decompress_all(ZSTD_DCtx *context, struct span in, struct buf *out)
{
	ZSTD_inBuffer input = {in.ptr, in.len, 0};
	size_t want = zstd_room(in), left = 1; /* of the frame; 0 where one ended */
	while (left > 0 || input.pos < input.size) {
		size_t room = 0;
		char *at = codec_room(out, want, &room);
		if (!at)
			return out->failed;
		ZSTD_outBuffer output = {at, room, 0};
		size_t pos_before = input.pos;
		left = ZSTD_decompressStream(context, &output, &input);
		if (ZSTD_isError(left))
			return zstd_error(left);
		out->len += output.pos;
		if (output.pos == 0 && input.pos == pos_before)
			return -EBADMSG; /* cut off */
		want = CHUNK;
	}
	return 0;
}

static int unzstd(struct span in, struct buf *out)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	if (!context)
		return -ENOMEM;
	ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	int result = zstd_decompress_all(context, in, out);
	ZSTD_freeDCtx(context);
	return result;
}

int codec_decompress(enum codec_kind kind, struct span in, struct buf *out)
{
	size_t len_before = out->len;
	int result = kind == CODEC_GZIP ? gunzip(in, out) : kind == CODEC_ZSTD ? unzstd(in, out) : buf_span(out, in);
	if (result < 0)
		out->len = len_before;
	return result;
}
