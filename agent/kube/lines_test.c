#include <errno.h>

#include "lines.h"
#include "test.h"

/* What comes of a text in pieces: "line|", "!" for one that was too long. */
static void assert_lines(struct span text, size_t piece, size_t max, const char *expected)
{
	struct kube_lines lines;
	struct buf out;
	kube_lines_init(&lines, max);
	buf_init(&out, 1 << 16);
	for (size_t at = 0; at < text.len; at += piece) {
		struct span rest = span_of(text.ptr + at, text.len - at < piece ? text.len - at : piece), line;
		for (int r; (r = kube_lines_next(&lines, &rest, &line)) != 0;) {
			assert_true(r == 1 || r == -E2BIG);
			if (r == 1)
				buf_printf(&out, "%.*s|", SPAN_ARGS(line));
			else
				buf_char(&out, '!');
		}
		assert_int_equal(rest.len, 0);
	}
	test_assert_text(buf_view(&out), expected);
	kube_lines_done(&lines);
	buf_done(&out);
}

static void lines_are_the_same_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 20; piece++) {
		assert_lines(SPAN("one\ntwo\n\n \r\nthree\nhalf"), piece, 10, "one|two|three|");
		assert_lines(SPAN("0123456789\n0123456789a\nend\n"), piece, 10, "0123456789|!end|");
		assert_lines(SPAN("aaaaaaaaaaaaaaaaaaaaaaaaaaaa"), piece, 10, "!");
		assert_lines(SPAN("aaaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbbb\nc\n"), piece, 10, "!!c|");
	}
}

static void a_reset_forgets_the_line_that_was_begun(void **state)
{
	struct kube_lines lines;
	struct span piece = SPAN("half"), line;
	(void)state;
	kube_lines_init(&lines, 100);
	assert_int_equal(kube_lines_next(&lines, &piece, &line), 0);
	kube_lines_reset(&lines);
	piece = SPAN("whole\n");
	assert_int_equal(kube_lines_next(&lines, &piece, &line), 1);
	assert_true(span_eq(line, SPAN("whole")));
	kube_lines_done(&lines);
}

static int read_lines(void *arg)
{
	struct kube_lines lines;
	struct span piece = SPAN("a line\nand one"), line;
	int r;
	(void)arg;
	kube_lines_init(&lines, 100);
	while ((r = kube_lines_next(&lines, &piece, &line)) > 0)
		;
	kube_lines_done(&lines);
	return r;
}

static void out_of_memory_is_told(void **state)
{
	(void)state;
	test_out_of_memory(read_lines, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_the_same_in_pieces_of_any_size),
		cmocka_unit_test(a_reset_forgets_the_line_that_was_begun),
		cmocka_unit_test(out_of_memory_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
