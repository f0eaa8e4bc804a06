// links: kube
/* What an API server sends, at once and in pieces of a size that the input's last byte chooses: a list gives the same objects, a watch the
 * same lines. */
#include "../../agent/kube/lines.h"
#include "../../agent/kube/list.h"

#include <errno.h>

#define CHECK(claim)                                                                                                   \
	do {                                                                                                           \
		if (!(claim))                                                                                          \
			__builtin_trap();                                                                              \
	} while (0)

enum { LINE_MAX_BYTES = 2000, OBJECT_BYTES = 20000 };

static void on_item(void *arg, const struct json *object)
{
	struct span uid = json_string(json_get(object, "metadata"), "uid", SPAN("?"));
	buf_span(arg, uid);
	buf_char(arg, ' ');
}

static int read_list(struct span text, size_t piece, struct buf *out)
{
	struct kube_list_reader *reader;
	struct span version;
	struct error err = {""};
	CHECK(kube_list_reader_new(100000, OBJECT_BYTES, on_item, out, &reader) == 0);
	int r = 0;
	for (size_t at = 0; r == 0 && at < text.len; at += piece)
		r = kube_list_reader_feed(
			reader, span_of(text.ptr + at, text.len - at < piece ? text.len - at : piece), &err);
	if (r == 0)
		r = kube_list_reader_end(reader, &version, &err);
	CHECK((r < 0) == (err.text[0] != 0));
	if (r == 0)
		buf_span(out, version);
	kube_list_reader_free(reader);
	return r;
}

static void read_lines(struct span text, size_t piece, struct buf *out)
{
	struct kube_lines lines;
	kube_lines_init(&lines, LINE_MAX_BYTES);
	for (size_t at = 0; at < text.len; at += piece) {
		struct span rest = span_of(text.ptr + at, text.len - at < piece ? text.len - at : piece), line;
		for (int r; (r = kube_lines_next(&lines, &rest, &line)) != 0;) {
			CHECK(r == -E2BIG || (r == 1 && line.len > 0 && line.len <= LINE_MAX_BYTES));
			if (r == 1)
				buf_span(out, line);
			buf_char(out, r == 1 ? '\n' : '!');
		}
	}
	kube_lines_done(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of((const char *)data, size);
	size_t piece = size > 0 ? data[size - 1] % 64 + 1 : 1;
	struct buf whole, pieces;
	buf_init(&whole, SIZE_MAX / 2);
	buf_init(&pieces, SIZE_MAX / 2);
	CHECK(read_list(text, size + 1, &whole) == read_list(text, piece, &pieces));
	CHECK(span_eq(buf_view(&whole), buf_view(&pieces)));
	buf_reset(&whole);
	buf_reset(&pieces);
	read_lines(text, size + 1, &whole);
	read_lines(text, piece, &pieces);
	CHECK(span_eq(buf_view(&whole), buf_view(&pieces)));
	buf_done(&whole);
	buf_done(&pieces);
	return 0;
}
