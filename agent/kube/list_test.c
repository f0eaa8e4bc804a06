#include <errno.h>

#include "list.h"
#include "test.h"

static void on_item(void *arg, const struct json *object)
{
	struct span name = json_string(json_get(object, "metadata"), "name", object ? SPAN("?") : SPAN("large"));
	buf_printf(arg, "%.*s ", SPAN_ARGS(name));
}

static int read_list(struct span text, size_t piece, size_t item_bytes, struct buf *out)
{
	struct kube_list_reader *reader;
	struct span version = SPAN_NONE;
	struct error err = {""};
	int r = kube_list_reader_new(1 << 20, item_bytes, on_item, out, &reader);
	if (r < 0)
		return r;
	for (size_t at = 0; r == 0 && at < text.len; at += piece)
		r = kube_list_reader_feed(
			reader, span_of(text.ptr + at, text.len - at < piece ? text.len - at : piece), &err);
	if (r == 0)
		r = kube_list_reader_end(reader, &version, &err);
	if (r == 0)
		buf_printf(out, "at %.*s", SPAN_ARGS(version));
	else
		buf_str(out, err.text);
	kube_list_reader_free(reader);
	return r;
}

static void assert_list(struct span text, int result, const char *expected)
{
	for (size_t piece = 1; piece <= text.len; piece = piece * 3 + 1) {
		struct buf out;
		buf_init(&out, 1 << 16);
		assert_int_equal(read_list(text, piece, 1 << 20, &out), result);
		test_assert_text(buf_view(&out), expected);
		buf_done(&out);
	}
}

static void captured_lists_are_read_object_by_object(void **state)
{
	(void)state;
	static const char *const files[][2] = {
		{"servicemonitor_list.json", "many-ports my-app at 507"}, /* items before metadata */
		{"podmonitor_list.json", "with-sidecar at 507"},
		{"service_list.json", "kubernetes my-app headless many-ports at 507"},
		{"namespace_list.json", "default kube-node-lease kube-public kube-system shop at 507"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char path[128] = "golden/kubernetes-1.37/";
		struct span text = test_file(strcat(path, files[i][0]));
		assert_list(text, 0, files[i][1]);
		test_file_free(text);
	}
}

static void an_empty_list_has_null_or_no_items(void **state)
{
	(void)state;
	assert_list(SPAN("{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":null}"), 0, "at 7");
	assert_list(SPAN("{\"items\":[],\"metadata\":{\"resourceVersion\":\"7\"}}"), 0, "at 7");
}

static void what_is_no_whole_list_is_refused(void **state)
{
	(void)state;
	assert_list(SPAN("{\"metadata\":{\"resourceVersion\":\"7\"}}"), -EBADMSG, "not a list of objects");
	assert_list(SPAN("{\"items\":[]}"), -EBADMSG, "not a list of objects");
	assert_list(SPAN("[]"), -EBADMSG, "not a list of objects");
	assert_list(SPAN("\"items\""), -EBADMSG, "not a list of objects");
	assert_list(SPAN("{\"items\":{\"metadata\":{\"name\":\"x\"}},\"metadata\":\"y\"}"), -EBADMSG,
		"not a list of objects");
	assert_list(SPAN("{\"metadata\":{\"resourceVersion\":\"7\",\"continue\":\"c\"},\"items\":[]}"), -EBADMSG,
		"a part of a list, but all of it was asked for");
	struct buf out;
	buf_init(&out, 4096);
	assert_int_equal(read_list(SPAN("{\"items\":["), 100, 4096, &out), -EBADMSG);
	assert_true(span_starts_with(buf_view(&out), SPAN("not JSON near byte")));
	buf_done(&out);
}

static void elements_may_be_of_any_type(void **state)
{
	(void)state;
	assert_list(SPAN("{\"items\":[1,null,true,\"x\",[],{\"metadata\":{\"name\":\"a\"}},{}],"
			 "\"metadata\":{\"resourceVersion\":\"7\",\"x\":[{}]},\"other\":{\"items\":[{}]}}"),
		0, "? ? ? ? ? a ? at 7");
}

static void object_above_its_ceiling_is_left_out(void **state)
{
	struct buf text, out;
	(void)state;
	buf_init(&text, 1 << 20);
	buf_init(&out, 4096);
	buf_str(&text, "{\"items\":[{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\"},\"x\":[{}");
	for (size_t i = 0; i < 1000; i++)
		buf_str(&text, ",{}");
	buf_str(&text, "]},{\"metadata\":{\"name\":\"c\"}}],\"metadata\":{\"resourceVersion\":\"7\"}}");
	assert_int_equal(read_list(buf_view(&text), 100, 10000, &out), 0);
	test_assert_text(buf_view(&out), "a large c at 7");
	buf_done(&text);
	buf_done(&out);
}

/* What an event is charged with is never less than what the tree takes: the ceiling is met by the charge, not by the arena. */
static void ceiling_is_never_out_of_memory(void **state)
{
	static const char *const values[] = {"{}", "[]", "0", "\"\"", "{\"\":[]}", "null", "[[[\"a\"]]]"};
	struct buf text, out;
	(void)state;
	buf_init(&text, 1 << 20);
	buf_init(&out, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		for (size_t count = 0; count < 100; count++) {
			buf_reset(&text);
			buf_str(&text, "{\"items\":[[{}");
			for (size_t j = 0; j < count; j++)
				buf_printf(&text, ",%s", values[i]);
			buf_str(&text, "]],\"metadata\":{\"resourceVersion\":\"7\"}}");
			buf_reset(&out);
			assert_int_equal(read_list(buf_view(&text), 1000, 2000, &out), 0);
		}
		test_assert_text(buf_view(&out), "large at 7");
	}
	buf_done(&text);
	buf_done(&out);
}

static int attempt(void *arg)
{
	char room[4096];
	struct buf out = {.ptr = room, .cap = sizeof(room), .max = sizeof(room)}; /* it does not grow */
	return read_list(*(struct span *)arg, 1000, 1 << 20, &out);
}

static void out_of_memory_is_told(void **state)
{
	(void)state;
	struct span text = test_file("golden/kubernetes-1.37/servicemonitor_list.json");
	test_out_of_memory(attempt, &text);
	test_file_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(captured_lists_are_read_object_by_object),
		cmocka_unit_test(an_empty_list_has_null_or_no_items),
		cmocka_unit_test(what_is_no_whole_list_is_refused),
		cmocka_unit_test(elements_may_be_of_any_type),
		cmocka_unit_test(object_above_its_ceiling_is_left_out),
		cmocka_unit_test(ceiling_is_never_out_of_memory),
		cmocka_unit_test(out_of_memory_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
