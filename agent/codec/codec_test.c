/* Compression both ways, by both gzip backends. */
#include "test.h"

#include "gzip.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX = 16 << 20 };

/* What OTLP and exposition bodies look like to a compressor: runs that repeat, numbers that do not. */
static struct span make_body(size_t len)
{
	char *bytes = malloc(len + 64);
	struct rng rng;
	rng_init(&rng, 7);
	size_t at = 0;
	while (at < len) {
		char line[128];
		int n = snprintf(line, sizeof(line), "http_requests_total{code=\"%d\",path=\"/a\"} %d\n",
			(int)(200 + rng_below(&rng, 5)), (int)rng_below(&rng, 1000000));
		size_t take = (size_t)n < len - at ? (size_t)n : len - at;
		memcpy(bytes + at, line, take);
		at += take;
	}
	return span_of(bytes, len);
}

static void free_body(struct span body)
{
	free((void *)body.ptr);
}

static void compress_with(const struct gzip_backend *backend, enum codec_kind kind, struct span in, struct buf *out)
{
	struct codec *codec = NULL;
	assert_int_equal(codec_new_with(backend, kind, &codec), 0);
	assert_int_equal(codec_compress(codec, in, out), 0);
	codec_free(codec);
}

static const size_t sizes[] = {0, 1, 2, 100, 32767, 32768, 65535, 65536, 65537, 300000, 2000000};

static void every_codec_gives_back_what_it_took(void **state)
{
	(void)state;
	for (int kind = CODEC_NONE; kind <= CODEC_ZSTD; kind++) {
		struct codec *codec = NULL;
		assert_int_equal(codec_new((enum codec_kind)kind, &codec), 0);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct span body = make_body(sizes[i]);
			struct buf packed, unpacked;
			buf_init(&packed, MAX);
			buf_init(&unpacked, MAX);
			assert_int_equal(codec_compress(codec, body, &packed), 0);
			assert_int_equal(codec_decompress((enum codec_kind)kind, buf_view(&packed), &unpacked), 0);
			assert_true(span_eq(buf_view(&unpacked), body));
			if (kind != CODEC_NONE && sizes[i] > 30000)
				assert_true(packed.len < body.len / 3);
			buf_done(&packed);
			buf_done(&unpacked);
			free_body(body);
		}
		codec_free(codec);
	}
}

static void each_gzip_backend_reads_what_the_others_write(void **state)
{
	(void)state;
	for (size_t w = 0; gzip_backends[w]; w++) {
		for (size_t r = 0; gzip_backends[r]; r++) {
			for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
				struct span body = make_body(sizes[i]);
				struct buf packed, unpacked;
				struct codec_inflate *inflate = NULL;
				buf_init(&packed, MAX);
				buf_init(&unpacked, MAX);
				compress_with(gzip_backends[w], CODEC_GZIP, body, &packed);
				assert_int_equal(codec_inflate_new_with(gzip_backends[r], &inflate), 0);
				codec_inflate_begin(inflate, (struct codec_inflate_limits){.max_out = MAX});
				assert_int_equal(codec_inflate_feed(inflate, buf_view(&packed), &unpacked), 0);
				assert_int_equal(codec_inflate_end(inflate), 0);
				assert_true(span_eq(buf_view(&unpacked), body));
				codec_inflate_free(inflate);
				buf_done(&packed);
				buf_done(&unpacked);
				free_body(body);
			}
		}
	}
}

static void the_same_codec_gives_the_same_bytes_each_time(void **state)
{
	(void)state;
	for (int kind = CODEC_GZIP; kind <= CODEC_ZSTD; kind++) {
		struct span body = make_body(100000);
		struct codec *codec = NULL;
		struct buf first, again;
		buf_init(&first, MAX);
		buf_init(&again, MAX);
		assert_int_equal(codec_new((enum codec_kind)kind, &codec), 0);
		assert_int_equal(codec_compress(codec, body, &first), 0);
		assert_int_equal(codec_compress(codec, SPAN("something else"), &again), 0);
		buf_reset(&again);
		size_t before = test_allocations();
		assert_int_equal(codec_compress(codec, span_of(body.ptr, 0), &again), 0);
		buf_reset(&again);
		buf_reset(&first);
		assert_int_equal(codec_compress(codec, body, &first), 0);
		assert_int_equal(test_allocations(), before);
		assert_int_equal(codec_compress(codec, body, &again), 0);
		assert_true(span_eq(buf_view(&first), buf_view(&again)));
		codec_free(codec);
		buf_done(&first);
		buf_done(&again);
		free_body(body);
	}
}

static void output_stops_at_the_ceiling_and_takes_nothing_back(void **state)
{
	(void)state;
	struct span body = make_body(100000);
	for (int kind = CODEC_NONE; kind <= CODEC_ZSTD; kind++) {
		for (size_t b = 0; gzip_backends[b]; b++) {
			struct codec *codec = NULL;
			struct buf small, packed;
			buf_init(&small, 1000);
			buf_init(&packed, MAX);
			assert_int_equal(codec_new_with(gzip_backends[b], (enum codec_kind)kind, &codec), 0);
			buf_str(&small, "before");
			assert_int_equal(codec_compress(codec, body, &small), -EMSGSIZE);
			test_assert_text(buf_view(&small), "before");
			buf_reset(&small);
			buf_str(&small, "before");
			assert_int_equal(codec_compress(codec, body, &packed), 0);
			assert_int_equal(codec_decompress((enum codec_kind)kind, buf_view(&packed), &small), -EMSGSIZE);
			test_assert_text(buf_view(&small), "before");
			codec_free(codec);
			buf_done(&small);
			buf_done(&packed);
		}
	}
	free_body(body);
}

static void what_is_cut_off_is_refused(void **state)
{
	(void)state;
	struct span body = make_body(3000);
	for (int kind = CODEC_GZIP; kind <= CODEC_ZSTD; kind++) {
		struct buf packed, unpacked;
		buf_init(&packed, MAX);
		buf_init(&unpacked, MAX);
		compress_with(gzip_backends[0], (enum codec_kind)kind, body, &packed);
		for (size_t len = 0; len < packed.len; len++) {
			struct span cut = span_of(packed.ptr, len);
			assert_int_equal(codec_decompress((enum codec_kind)kind, cut, &unpacked), -EBADMSG);
			assert_int_equal(unpacked.len, 0);
		}
		buf_str(&packed, "x");
		assert_int_equal(codec_decompress((enum codec_kind)kind, buf_view(&packed), &unpacked), -EBADMSG);
		buf_done(&packed);
		buf_done(&unpacked);
	}
	free_body(body);
}

static void names_are_those_of_content_encoding(void **state)
{
	(void)state;
	assert_string_equal(codec_name(CODEC_NONE), "none");
	assert_string_equal(codec_name(CODEC_GZIP), "gzip");
	assert_string_equal(codec_name(CODEC_ZSTD), "zstd");
	assert_null(codec_choices[CODEC_ZSTD + 1]);
	codec_free(NULL);
	codec_inflate_free(NULL);
}

struct attempt {
	const struct gzip_backend *backend;
	enum codec_kind kind;
	struct span body, packed;
};

static int attempt_compress(void *arg)
{
	struct attempt *attempt = arg;
	struct codec *codec = NULL;
	struct buf out;
	buf_init(&out, MAX);
	int result = codec_new_with(attempt->backend, attempt->kind, &codec);
	if (result == 0)
		result = codec_compress(codec, attempt->body, &out);
	codec_free(codec);
	buf_done(&out);
	return result;
}

static int attempt_decompress(void *arg)
{
	struct attempt *attempt = arg;
	struct buf out;
	buf_init(&out, MAX);
	int result = codec_decompress(attempt->kind, attempt->packed, &out);
	buf_done(&out);
	return result;
}

static int attempt_inflate(void *arg)
{
	struct attempt *attempt = arg;
	struct codec_inflate *inflate = NULL;
	struct buf out;
	buf_init(&out, MAX);
	int result = codec_inflate_new_with(attempt->backend, &inflate);
	if (result == 0) {
		codec_inflate_begin(inflate, (struct codec_inflate_limits){.max_out = MAX});
		result = codec_inflate_feed(inflate, attempt->packed, &out);
	}
	if (result == 0)
		result = codec_inflate_end(inflate);
	codec_inflate_free(inflate);
	buf_done(&out);
	return result;
}

static void out_of_memory_is_an_error_and_no_leak(void **state)
{
	(void)state;
	struct span body = make_body(300000);
	for (int kind = CODEC_NONE; kind <= CODEC_ZSTD; kind++) {
		for (size_t b = 0; gzip_backends[b]; b++) {
			struct buf packed;
			buf_init(&packed, MAX);
			compress_with(gzip_backends[b], (enum codec_kind)kind, body, &packed);
			struct attempt attempt = {gzip_backends[b], (enum codec_kind)kind, body, buf_view(&packed)};
			test_out_of_memory(attempt_compress, &attempt);
			test_out_of_memory(attempt_decompress, &attempt);
			if (kind == CODEC_GZIP)
				test_out_of_memory(attempt_inflate, &attempt);
			buf_done(&packed);
		}
	}
	free_body(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_codec_gives_back_what_it_took),
		cmocka_unit_test(each_gzip_backend_reads_what_the_others_write),
		cmocka_unit_test(the_same_codec_gives_the_same_bytes_each_time),
		cmocka_unit_test(output_stops_at_the_ceiling_and_takes_nothing_back),
		cmocka_unit_test(what_is_cut_off_is_refused),
		cmocka_unit_test(names_are_those_of_content_encoding),
		cmocka_unit_test(out_of_memory_is_an_error_and_no_leak),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
