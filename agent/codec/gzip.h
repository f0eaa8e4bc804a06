/* The gzip backends: isa-l where it was found at build time, zlib always. Both are tested; the list's first is used. */
#pragma once

#include "gleaner/codec.h"

struct gzip_backend {
	const char *name;
	/* Compressing whole bodies; one state serves any number of them, one after the other. new: NULL when out of memory. */
	void *(*deflate_new)(void);
	void (*deflate_free)(void *state);
	/* Appends one gzip member. 0, -ENOMEM, -EMSGSIZE. */
	int (*deflate)(void *state, struct span in, struct buf *out);
	/* Inflating member by member: reset before each. */
	void *(*inflate_new)(void);
	void (*inflate_free)(void *state);
	void (*inflate_reset)(void *state);
	/* Takes input off the front of *in, writes at most *len bytes to `at` and sets *len to what it wrote.
	 * 1: the member ended, its CRC is right; 0: more input or more room is needed; -EBADMSG, -ENOMEM. */
	int (*inflate)(void *state, struct span *in, char *at, size_t *len);
};

/* Best first, NULL-terminated. */
extern const struct gzip_backend *const gzip_backends[];
extern const struct gzip_backend gzip_zlib;
#ifdef GLEANER_HAVE_ISAL
extern const struct gzip_backend gzip_isal;
#endif

/* codec_new and codec_inflate_new with a backend of the caller's choice. */
int codec_new_with(const struct gzip_backend *backend, enum codec_kind kind, struct codec **ret_codec);
int codec_inflate_new_with(const struct gzip_backend *backend, struct codec_inflate **ret_inflate);

/* Room of at least one byte and, where out's ceiling allows, of `want`. NULL when out->failed is set. */
char *codec_room(struct buf *out, size_t want, size_t *ret_len);
