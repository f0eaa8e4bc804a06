/* Streaming gunzip of hostile input.
 *
 * 1. A member starts: the backend is reset (header, CRC and length of each member are checked by it).
 * 2. Room in `out` is given in small steps, never past max_out, so that a bomb's output is never written.
 * 3. After each step the ratio is checked against the input consumed so far.
 * 4. A member ends: what follows must be another member, inside the same limits.
 *
 * Any failure is final until codec_inflate_begin. What was appended to `out` before a failure means nothing.
 */
#include "gzip.h"

#include <errno.h>
#include <stdlib.h>

enum { STEP = 64 * 1024 };

struct codec_inflate {
	const struct gzip_backend *backend;
	void *state;
	struct codec_inflate_limits limits;
	size_t in_bytes, out_bytes; /* consumed and written since begin */
	bool in_member, any_member;
	int failed;
};

int codec_inflate_new_with(const struct gzip_backend *backend, struct codec_inflate **ret_inflate)
{
	struct codec_inflate *inflate = calloc(1, sizeof(*inflate));
	if (!inflate)
		return -ENOMEM;
	inflate->backend = backend;
	inflate->state = backend->inflate_new();
	if (!inflate->state) {
		free(inflate);
		return -ENOMEM;
	}
	*ret_inflate = inflate;
	return 0;
}

int codec_inflate_new(struct codec_inflate **ret_inflate)
{
	return codec_inflate_new_with(gzip_backends[0], ret_inflate);
}

void codec_inflate_free(struct codec_inflate *inflate)
{
	if (!inflate)
		return;
	inflate->backend->inflate_free(inflate->state);
	free(inflate);
}

void codec_inflate_begin(struct codec_inflate *inflate, struct codec_inflate_limits limits)
{
	inflate->limits = limits;
	inflate->in_bytes = inflate->out_bytes = 0;
	inflate->in_member = inflate->any_member = false;
	inflate->failed = 0;
}

static bool ratio_exceeded(const struct codec_inflate *inflate)
{
	const struct codec_inflate_limits *limits = &inflate->limits;
	return limits->max_ratio > 0 && inflate->out_bytes > limits->ratio_free &&
	       inflate->out_bytes / limits->max_ratio > inflate->in_bytes;
}

/* One call of the backend. 1 member ended, 0 go on, 2 all input is used, negative as codec_inflate_feed. */
static int step(struct codec_inflate *inflate, struct span *in, struct buf *out)
{
	size_t left = inflate->limits.max_out - inflate->out_bytes;
	char beyond, *at = &beyond; /* at the limit there is room for the byte that breaks it */
	size_t room = 1, in_before = in->len;
	if (left > 0) {
		size_t want = left < STEP ? left : STEP;
		at = codec_room(out, want, &room);
		room = room < want ? room : want;
	}
	if (!at)
		return out->failed;
	size_t got = room;
	int result = inflate->backend->inflate(inflate->state, in, at, &got);
	if (result >= 0 && left == 0 && got > 0)
		return -EMSGSIZE;
	out->len += left > 0 ? got : 0;
	inflate->out_bytes += got;
	inflate->in_bytes += in_before - in->len;
	if (result >= 0 && ratio_exceeded(inflate))
		return -EMSGSIZE;
	if (result == 0 && got < room)
		return in->len == 0 ? 2 : in->len < in_before || got > 0 ? 0 : -EBADMSG;
	return result;
}

int codec_inflate_feed(struct codec_inflate *inflate, struct span in, struct buf *out)
{
	while (inflate->failed == 0) {
		if (!inflate->in_member && in.len == 0)
			return 0;
		if (!inflate->in_member)
			inflate->backend->inflate_reset(inflate->state);
		inflate->in_member = true;
		int result = step(inflate, &in, out);
		if (result == 2)
			return 0;
		if (result == 1) {
			inflate->in_member = false;
			inflate->any_member = true;
		}
		inflate->failed = result < 0 ? result : 0;
	}
	return inflate->failed;
}

int codec_inflate_end(struct codec_inflate *inflate)
{
	if (inflate->failed == 0 && (inflate->in_member || !inflate->any_member))
		inflate->failed = -EBADMSG;
	return inflate->failed < 0 ? -EBADMSG : 0;
}
