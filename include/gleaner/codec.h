/* codec: compression out, decompression in. zlib, isa-l and zstd live here.
 *
 * Compressors are allocated once and reused (isa-l needs about 400 KiB of state).
 * Inflating is streamed and bounded: a pod's gzip bomb stops at the limit.
 */
#pragma once

#include "gleaner/base.h"

enum codec_kind { CODEC_NONE, CODEC_GZIP, CODEC_ZSTD };
/* "none", "gzip", "zstd": value of Content-Encoding (but for none). */
const char *codec_name(enum codec_kind kind);
extern const char *const codec_choices[]; /* NULL-terminated, for an option table */

struct codec;
/* gzip: isa-l level 1 (zlib level 1 where isa-l is not built in); zstd: level 1. 0, -ENOMEM. */
int codec_new(enum codec_kind kind, struct codec **ret_codec);
void codec_free(struct codec *codec);
/* Appends the compressed form of `in`. 0, -ENOMEM, -EMSGSIZE (out's ceiling). Cost: 130-190 ns a data point. */
int codec_compress(struct codec *codec, struct span in, struct buf *out);
/* Whole-buffer decompression of what a trusted side made. -EBADMSG, -EMSGSIZE (out's ceiling), -ENOMEM. */
int codec_decompress(enum codec_kind kind, struct span in, struct buf *out);

/* Streaming gunzip of hostile input: one encoding layer, gzip members allowed inside the same limits. */
struct codec_inflate;
struct codec_inflate_limits {
	size_t max_out;    /* bytes; out->max should be no smaller */
	size_t max_ratio;  /* output may be at most this times the input once past ratio_free bytes; 0: no limit */
	size_t ratio_free; /* 1 MiB */
};
int codec_inflate_new(struct codec_inflate **ret_inflate);
void codec_inflate_free(struct codec_inflate *inflate);
void codec_inflate_begin(struct codec_inflate *inflate, struct codec_inflate_limits limits);
/* Appends what `in` inflates to. 0, -EBADMSG (corrupt), -EMSGSIZE (a limit), -ENOMEM. */
int codec_inflate_feed(struct codec_inflate *inflate, struct span in, struct buf *out);
/* 0 when the input ended where a member ended (CRC checked), else -EBADMSG. */
int codec_inflate_end(struct codec_inflate *inflate);
