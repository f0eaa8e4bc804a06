// links: codec base
/* Gunzip of anything: within its limits, and the backends agree on what they both accept. */
#include "../../agent/codec/gzip.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_OUT = 256 * 1024 };

/* The first byte chooses the size of the pieces. */
static int inflate_all(const struct gzip_backend *backend, struct span in, size_t piece, struct buf *out)
{
	struct codec_inflate *inflate = NULL;
	if (codec_inflate_new_with(backend, &inflate) < 0)
		abort();
	codec_inflate_begin(
		inflate, (struct codec_inflate_limits){.max_out = MAX_OUT, .max_ratio = 200, .ratio_free = 1024});
	int result = 0;
	while (result == 0 && in.len > 0) {
		size_t len = piece < in.len ? piece : in.len;
		result = codec_inflate_feed(inflate, span_of(in.ptr, len), out);
		in = span_of(in.ptr + len, in.len - len);
	}
	if (result == 0)
		result = codec_inflate_end(inflate);
	codec_inflate_free(inflate);
	if (out->len > MAX_OUT)
		abort();
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf first, other;
	if (size == 0)
		return 0;
	struct span in = span_of((const char *)data + 1, size - 1);
	buf_init(&first, MAX_OUT);
	int first_result = inflate_all(gzip_backends[0], in, data[0] + 1u, &first);
	for (size_t b = 0; gzip_backends[b]; b++) {
		buf_init(&other, MAX_OUT);
		if (inflate_all(gzip_backends[b], in, SIZE_MAX, &other) == 0 && first_result == 0 &&
			!span_eq(buf_view(&first), buf_view(&other)))
			abort();
		buf_done(&other);
	}
	buf_done(&first);
	return 0;
}
