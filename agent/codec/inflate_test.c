/* Hostile gzip: each case against each backend. */
#include "test.h"

#include "gzip.h"

#include <errno.h>
#include <stdlib.h>

enum { MAX = 16 << 20 };

static const struct codec_inflate_limits NO_LIMITS = {.max_out = MAX};

/* Appends a gzip member that holds `in`. */
static void add_member(struct buf *packed, struct span in)
{
	struct codec *codec = NULL;
	assert_int_equal(codec_new(CODEC_GZIP, &codec), 0);
	assert_int_equal(codec_compress(codec, in, packed), 0);
	codec_free(codec);
}

/* Feeds `packed` in pieces of `piece` bytes; the first error, or what codec_inflate_end says. */
static int inflate_pieces(struct codec_inflate *inflate, struct codec_inflate_limits limits, struct span packed,
	size_t piece, struct buf *out)
{
	codec_inflate_begin(inflate, limits);
	buf_reset(out);
	while (packed.len > 0) {
		size_t len = piece < packed.len ? piece : packed.len;
		int result = codec_inflate_feed(inflate, span_of(packed.ptr, len), out);
		if (result < 0)
			return result;
		packed = span_of(packed.ptr + len, packed.len - len);
	}
	return codec_inflate_end(inflate);
}

struct fixture {
	struct codec_inflate *inflate;
	struct buf packed, out;
};

static void fixture_init(struct fixture *fixture, size_t backend)
{
	assert_int_equal(codec_inflate_new_with(gzip_backends[backend], &fixture->inflate), 0);
	buf_init(&fixture->packed, MAX);
	buf_init(&fixture->out, MAX);
}

static void fixture_done(struct fixture *fixture)
{
	codec_inflate_free(fixture->inflate);
	buf_done(&fixture->packed);
	buf_done(&fixture->out);
}

static const char text[] = "# TYPE a counter\na_total{code=\"200\"} 12345\na_total{code=\"404\"} 99\nb 1\nb 2\n";

static void members_follow_each_other_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t b = 0; gzip_backends[b]; b++) {
		struct fixture f;
		fixture_init(&f, b);
		add_member(&f.packed, SPAN("one\n"));
		add_member(&f.packed, SPAN_NONE);
		add_member(&f.packed, span_str(text));
		add_member(&f.packed, SPAN("last"));
		struct buf expected;
		buf_init(&expected, MAX);
		buf_printf(&expected, "one\n%slast%c", text, '\0');
		for (size_t piece = 1; piece <= f.packed.len; piece++) {
			assert_int_equal(inflate_pieces(f.inflate, NO_LIMITS, buf_view(&f.packed), piece, &f.out), 0);
			test_assert_text(buf_view(&f.out), expected.ptr);
		}
		buf_done(&expected);
		fixture_done(&f);
	}
}

static void input_that_ends_inside_a_member_is_refused(void **state)
{
	(void)state;
	for (size_t b = 0; gzip_backends[b]; b++) {
		struct fixture f;
		fixture_init(&f, b);
		add_member(&f.packed, span_str(text));
		size_t first = f.packed.len;
		add_member(&f.packed, span_str(text));
		for (size_t len = 0; len <= f.packed.len; len++) {
			int expected = len == first || len == f.packed.len ? 0 : -EBADMSG;
			struct span cut = span_of(f.packed.ptr, len);
			assert_int_equal(inflate_pieces(f.inflate, NO_LIMITS, cut, SIZE_MAX, &f.out), expected);
			assert_int_equal(inflate_pieces(f.inflate, NO_LIMITS, cut, 5, &f.out), expected);
		}
		fixture_done(&f);
	}
}

static void a_flipped_bit_never_passes_as_another_body(void **state)
{
	(void)state;
	for (size_t b = 0; gzip_backends[b]; b++) {
		struct fixture f;
		fixture_init(&f, b);
		add_member(&f.packed, span_str(text));
		size_t refused = 0;
		for (size_t bit = 0; bit < f.packed.len * 8; bit++) {
			f.packed.ptr[bit / 8] ^= (char)(1 << bit % 8);
			int result = inflate_pieces(f.inflate, NO_LIMITS, buf_view(&f.packed), SIZE_MAX, &f.out);
			/* The header's time, flags and system may differ without harm. */
			assert_true(result == -EBADMSG || (result == 0 && span_eq(buf_view(&f.out), span_str(text))));
			refused += result < 0;
			f.packed.ptr[bit / 8] ^= (char)(1 << bit % 8);
		}
		assert_true(refused > f.packed.len * 8 - 80);
		fixture_done(&f);
	}
}

static void trailing_garbage_is_refused(void **state)
{
	(void)state;
	static const struct span tails[] = {
		SPAN("x"), SPAN("\n"), SPAN("\0\0\0\0"), SPAN("\x1f"), SPAN("\x1f\x8b\x08garbage")};
	for (size_t b = 0; gzip_backends[b]; b++) {
		for (size_t t = 0; t < ARRAY_SIZE(tails); t++) {
			struct fixture f;
			fixture_init(&f, b);
			add_member(&f.packed, span_str(text));
			buf_span(&f.packed, tails[t]);
			assert_int_equal(
				inflate_pieces(f.inflate, NO_LIMITS, buf_view(&f.packed), 7, &f.out), -EBADMSG);
			assert_int_equal(
				inflate_pieces(f.inflate, NO_LIMITS, buf_view(&f.packed), SIZE_MAX, &f.out), -EBADMSG);
			fixture_done(&f);
		}
	}
}

static void what_is_no_gzip_is_refused(void **state)
{
	(void)state;
	static const struct span bodies[] = {SPAN_NONE, SPAN("# TYPE a counter\n"),
		SPAN("\x78\x9c\x03\x00\x00\x00\x00\x01"),
		SPAN("\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		SPAN("\x1f\x9d\x90")};
	for (size_t b = 0; gzip_backends[b]; b++) {
		for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
			struct fixture f;
			fixture_init(&f, b);
			assert_int_equal(inflate_pieces(f.inflate, NO_LIMITS, bodies[i], 3, &f.out), -EBADMSG);
			fixture_done(&f);
		}
	}
}

/* A stored block with every optional header field: extra, name, comment, header CRC. */
static void optional_header_fields_are_skipped(void **state)
{
	(void)state;
	static const struct span member = SPAN("\x1f\x8b\x08\x1c\0\0\0\0\0\x03"
					       "\x05\0extra"
					       "name.txt\0"
					       "a comment\0"
					       "\x01\x02\0\xfd\xffhi"
					       "\xac\x2a\x93\xd8\x02\0\0\0");
	for (size_t b = 0; gzip_backends[b]; b++) {
		for (size_t piece = 1; piece <= member.len; piece++) {
			struct fixture f;
			fixture_init(&f, b);
			assert_int_equal(inflate_pieces(f.inflate, NO_LIMITS, member, piece, &f.out), 0);
			test_assert_text(buf_view(&f.out), "hi");
			fixture_done(&f);
		}
	}
}

static void a_bomb_stops_at_the_limit(void **state)
{
	(void)state;
	char *zeros = calloc(1, 4 << 20);
	for (size_t b = 0; gzip_backends[b]; b++) {
		struct fixture f;
		fixture_init(&f, b);
		add_member(&f.packed, span_of(zeros, 4 << 20));
		const size_t limits[] = {0, 1, 1000, 65536, 1 << 20, (4 << 20) - 1};
		for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
			struct codec_inflate_limits limit = {.max_out = limits[i]};
			assert_int_equal(
				inflate_pieces(f.inflate, limit, buf_view(&f.packed), 1000, &f.out), -EMSGSIZE);
			assert_true(f.out.len <= limits[i]);
		}
		struct codec_inflate_limits exact = {.max_out = 4 << 20};
		assert_int_equal(inflate_pieces(f.inflate, exact, buf_view(&f.packed), 1000, &f.out), 0);
		assert_int_equal(f.out.len, 4 << 20);
		fixture_done(&f);
	}
	free(zeros);
}

static void a_bomb_in_many_members_stops_at_the_limit(void **state)
{
	(void)state;
	char *zeros = calloc(1, 1 << 20);
	for (size_t b = 0; gzip_backends[b]; b++) {
		struct fixture f;
		fixture_init(&f, b);
		for (int i = 0; i < 8; i++)
			add_member(&f.packed, span_of(zeros, 1 << 20));
		struct codec_inflate_limits limit = {.max_out = (3 << 20) + 5};
		assert_int_equal(inflate_pieces(f.inflate, limit, buf_view(&f.packed), SIZE_MAX, &f.out), -EMSGSIZE);
		assert_true(f.out.len <= limit.max_out);
		fixture_done(&f);
	}
	free(zeros);
}

static void a_ratio_no_page_has_is_refused(void **state)
{
	(void)state;
	char *zeros = calloc(1, 4 << 20);
	for (size_t b = 0; gzip_backends[b]; b++) {
		struct fixture f;
		fixture_init(&f, b);
		add_member(&f.packed, span_of(zeros, 4 << 20));
		struct codec_inflate_limits limit = {.max_out = MAX, .max_ratio = 100, .ratio_free = 1 << 20};
		assert_int_equal(inflate_pieces(f.inflate, limit, buf_view(&f.packed), SIZE_MAX, &f.out), -EMSGSIZE);
		assert_true(f.out.len < (1 << 20) + 2 * 65536);
		limit.ratio_free = 4 << 20;
		assert_int_equal(inflate_pieces(f.inflate, limit, buf_view(&f.packed), SIZE_MAX, &f.out), 0);
		limit.ratio_free = 0;
		buf_reset(&f.packed);
		add_member(&f.packed, span_str(text));
		assert_int_equal(inflate_pieces(f.inflate, limit, buf_view(&f.packed), SIZE_MAX, &f.out), 0);
		fixture_done(&f);
	}
	free(zeros);
}

static void the_ceiling_of_the_buffer_holds_too(void **state)
{
	(void)state;
	for (size_t b = 0; gzip_backends[b]; b++) {
		struct fixture f;
		struct buf small;
		fixture_init(&f, b);
		buf_init(&small, 20);
		add_member(&f.packed, span_str(text));
		assert_int_equal(
			inflate_pieces(f.inflate, NO_LIMITS, buf_view(&f.packed), SIZE_MAX, &small), -EMSGSIZE);
		assert_true(small.len <= 20);
		buf_done(&small);
		fixture_done(&f);
	}
}

static void a_failure_lasts_until_the_next_body_begins(void **state)
{
	(void)state;
	for (size_t b = 0; gzip_backends[b]; b++) {
		struct fixture f;
		fixture_init(&f, b);
		add_member(&f.packed, span_str(text));
		codec_inflate_begin(f.inflate, NO_LIMITS);
		assert_int_equal(codec_inflate_feed(f.inflate, SPAN("garbage, not gzip"), &f.out), -EBADMSG);
		assert_int_equal(codec_inflate_feed(f.inflate, buf_view(&f.packed), &f.out), -EBADMSG);
		assert_int_equal(codec_inflate_end(f.inflate), -EBADMSG);
		size_t before = test_allocations();
		assert_int_equal(inflate_pieces(f.inflate, NO_LIMITS, buf_view(&f.packed), SIZE_MAX, &f.out), 0);
		assert_int_equal(inflate_pieces(f.inflate, NO_LIMITS, buf_view(&f.packed), SIZE_MAX, &f.out), 0);
		test_assert_text(buf_view(&f.out), text);
		assert_true(test_allocations() <= before + 1); /* the output's first buffer */
		fixture_done(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_follow_each_other_in_pieces_of_any_size),
		cmocka_unit_test(input_that_ends_inside_a_member_is_refused),
		cmocka_unit_test(a_flipped_bit_never_passes_as_another_body),
		cmocka_unit_test(trailing_garbage_is_refused),
		cmocka_unit_test(what_is_no_gzip_is_refused),
		cmocka_unit_test(optional_header_fields_are_skipped),
		cmocka_unit_test(a_bomb_stops_at_the_limit),
		cmocka_unit_test(a_bomb_in_many_members_stops_at_the_limit),
		cmocka_unit_test(a_ratio_no_page_has_is_refused),
		cmocka_unit_test(the_ceiling_of_the_buffer_holds_too),
		cmocka_unit_test(a_failure_lasts_until_the_next_body_begins),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
