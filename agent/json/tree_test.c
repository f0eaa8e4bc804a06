#include <errno.h>

#include "gleaner/json.h"
#include "test.h"

enum { ARENA = 1 << 20 };

static void dump(struct buf *out, const struct json *value)
{
	switch (value->type) {
	case JSON_NULL:
		buf_str(out, "null");
		return;
	case JSON_BOOL:
		buf_str(out, value->boolean ? "true" : "false");
		return;
	case JSON_NUMBER:
		buf_span(out, value->text);
		return;
	case JSON_STRING:
		buf_json(out, value->text);
		return;
	default:
		break;
	}
	buf_char(out, value->type == JSON_ARRAY ? '[' : '{');
	for (size_t i = 0; i < value->count; i++) {
		buf_str(out, i > 0 ? "," : "");
		if (value->type == JSON_OBJECT) {
			buf_json(out, value->keys[i]);
			buf_char(out, ':');
		}
		dump(out, &value->items[i]);
	}
	buf_char(out, value->type == JSON_ARRAY ? ']' : '}');
}

static void assert_tree(struct span text, const char *expected)
{
	struct arena arena;
	const struct json *json;
	struct error err = {""};
	struct buf out;
	arena_init(&arena, ARENA);
	buf_init(&out, ARENA);
	int r = json_parse(&arena, text, &json, &err);
	if (r < 0)
		buf_str(&out, err.text);
	else
		dump(&out, json);
	test_assert_text(buf_view(&out), expected);
	assert_int_equal(r, err.text[0] ? -EBADMSG : 0);
	buf_done(&out);
	arena_done(&arena);
}

static void a_text_and_its_tree_say_the_same(void **state)
{
	static const char *const texts[] = {"{}", "[]", "null", "true", "\"\"", "[[],{},[{}]]",
		"{\"a\":1,\"b\":[-1.5e9,null,false,\"x\"],\"c\":{\"d\":{\"e\":[1,[2,[3]]]},\"f\":2},\"g\":\"h\"}",
		"123456789012345678901234567890"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_tree(span_str(texts[i]), texts[i]);
	assert_tree(SPAN(" [ 1 ,\t2 ]\r\n"), "[1,2]");
}

static void strings_are_unescaped(void **state)
{
	(void)state;
	assert_tree(SPAN("\"\\u00e9\\ud83d\\ude00\\/\\n\\\"\\\\\""), "\"\xc3\xa9\xf0\x9f\x98\x80/\\n\\\"\\\\\"");
	assert_tree(SPAN("\"a\\u0000b\""), "\"a\\u0000b\"");
	assert_tree(SPAN("\"\\ud83d\""), "\"?\"");
}

static void what_is_no_json_is_refused_with_its_place(void **state)
{
	(void)state;
	assert_tree(SPAN(""), "not JSON near byte 0: parse error: premature EOF");
	assert_tree(SPAN("{\"a\":"), "not JSON near byte 5: parse error: premature EOF");
	assert_tree(SPAN("{\"a\":1,}"), "not JSON near byte 8: parse error: invalid object key (must be a string)");
	assert_tree(SPAN("[1,]"), "not JSON near byte 4: parse error: unallowed token at this point in JSON text");
	assert_tree(SPAN("{}{}"), "not JSON near byte 3: parse error: trailing garbage");
	assert_tree(SPAN("[NaN]"), "not JSON near byte 2: lexical error: invalid char in json text.");
	assert_tree(SPAN("/*x*/1"),
		"not JSON near byte 0: lexical error: probable comment found in input text, comments are not enabled.");
	assert_tree(SPAN("\"\xff\""), "not JSON near byte 2: lexical error: invalid bytes in UTF8 string.");
	assert_tree(SPAN("[01]"), "not JSON near byte 3: parse error: after array element, I expect ',' or ']'");
}

static void depth_ends_at_64(void **state)
{
	char text[130];
	(void)state;
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	assert_tree(span_of(text + 1, 128), "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
					    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
	assert_tree(span_of(text, 130), "nested deeper than 64");
}

static void a_tree_told_as_events_builds_the_same_tree_again(void **state)
{
	struct arena arena, other;
	struct json_builder *builder;
	const struct json *json, *again;
	struct error err;
	struct buf first, second;
	(void)state;
	arena_init(&arena, ARENA);
	arena_init(&other, ARENA);
	buf_init(&first, ARENA);
	buf_init(&second, ARENA);
	struct span text = SPAN("{\"a\":[1,null,true,\"x\",{\"b\":[]}],\"c\":{}}");
	assert_int_equal(json_parse(&arena, text, &json, &err), 0);
	assert_int_equal(json_builder_new(&other, &builder), 0);
	struct json_events events = json_builder_events(builder);
	assert_true(events.begin(events.arg, JSON_OBJECT));
	assert_null(json_builder_take(builder)); /* not complete */
	json_builder_reset(builder);
	for (int round = 0; round < 2; round++) {
		assert_true(json_walk(json, &events));
		again = json_builder_take(builder);
		assert_non_null(again);
		assert_null(json_builder_take(builder));
	}
	dump(&first, json);
	dump(&second, again);
	assert_true(span_eq(buf_view(&first), buf_view(&second)));
	assert_true(span_eq(buf_view(&first), text));
	json_builder_free(builder);
	buf_done(&first);
	buf_done(&second);
	arena_done(&arena);
	arena_done(&other);
}

/* For the tests of the look-ups. */
static const struct json *parse(struct arena *arena, const char *text)
{
	const struct json *json;
	struct error err;
	arena_init(arena, ARENA);
	assert_int_equal(json_parse(arena, span_str(text), &json, &err), 0);
	return json;
}

static void members_are_found(void **state)
{
	struct arena arena;
	const struct json *json = parse(&arena, "{\"metadata\":{\"labels\":{\"a.b\":\"c\"},\"name\":\"n\"},"
						"\"gone\":null,\"twice\":1,\"twice\":\"2\",\"list\":[1]}");
	(void)state;
	assert_true(span_eq(json_path(json, "metadata.name")->text, SPAN("n")));
	assert_true(span_eq(json_string(json_path(json, "metadata.labels"), "a.b", SPAN_NONE), SPAN("c")));
	assert_true(span_eq(json_string(json, "twice", SPAN_NONE), SPAN("2")));
	assert_null(json_get(json, "gone"));
	assert_null(json_path(json, "gone.further"));
	assert_null(json_path(json, "metadata.labels.a.b"));
	assert_null(json_get(json_get(json, "list"), "x"));
	assert_null(json_get(json_get(json, "none"), "x"));
	assert_true(span_eq(json_string(json, "list", SPAN("otherwise")), SPAN("otherwise")));
	assert_string_equal(json_type_name(json_get(json, "list")->type), "array");
	arena_done(&arena);
}

static void numbers_are_integers_within_a_range(void **state)
{
	struct arena arena;
	const struct json *json = parse(&arena,
		"{\"one\":1,\"min\":-9223372036854775808,\"max\":9223372036854775807,\"more\":9223372036854775808,"
		"\"less\":-9223372036854775809,\"half\":0.5,\"text\":\"1\",\"null\":null}");
	int64_t value = 7;
	(void)state;
	assert_int_equal(json_integer(json, "one", 1, 1, &value), 1);
	assert_int_equal(value, 1);
	assert_int_equal(json_integer(json, "min", INT64_MIN, 0, &value), 1);
	assert_true(value == INT64_MIN);
	assert_int_equal(json_integer(json, "max", 0, INT64_MAX, &value), 1);
	assert_true(value == INT64_MAX);
	assert_int_equal(json_integer(json, "one", 2, 3, &value), -EINVAL);
	assert_int_equal(json_integer(json, "one", -3, 0, &value), -EINVAL);
	static const char *const wrong[] = {"more", "less", "half", "text"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(json_integer(json, wrong[i], INT64_MIN, INT64_MAX, &value), -EINVAL);
	assert_int_equal(json_integer(json, "null", 0, 9, &value), 0);
	assert_int_equal(json_integer(json, "none", 0, 9, &value), 0);
	assert_true(value == INT64_MAX);
	arena_done(&arena);
}

static void booleans_have_a_default(void **state)
{
	struct arena arena;
	const struct json *json = parse(&arena, "{\"yes\":true,\"no\":false,\"text\":\"true\",\"null\":null}");
	(void)state;
	assert_true(json_boolean(json, "yes", false));
	assert_false(json_boolean(json, "no", true));
	assert_true(json_boolean(json, "text", true));
	assert_true(json_boolean(json, "null", true));
	assert_false(json_boolean(json, "none", false));
	arena_done(&arena);
}

static void the_ceiling_of_the_arena_holds_for_the_work_too(void **state)
{
	static char text[20001];
	struct arena arena;
	const struct json *json;
	struct error err;
	(void)state;
	memset(text, '1', sizeof(text));
	for (size_t i = 0; i < sizeof(text); i += 2)
		text[i] = ',';
	text[0] = '[';
	text[sizeof(text) - 1] = ']';
	arena_init(&arena, 100000);
	assert_int_equal(json_parse(&arena, span_of(text, sizeof(text)), &json, &err), -ENOMEM);
	assert_string_equal(err.text, "no memory for so large an object");
	arena_done(&arena);
}

static int attempt(void *arg)
{
	struct arena arena;
	const struct json *json;
	struct error err;
	arena_init(&arena, ARENA);
	int r = json_parse(&arena, *(struct span *)arg, &json, &err);
	arena_done(&arena);
	return r;
}

static void out_of_memory_is_told(void **state)
{
	struct span text = test_file("golden/kubernetes/kubelet_pods.json");
	(void)state;
	test_out_of_memory(attempt, &text);
	test_file_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_and_its_tree_say_the_same),
		cmocka_unit_test(strings_are_unescaped),
		cmocka_unit_test(what_is_no_json_is_refused_with_its_place),
		cmocka_unit_test(depth_ends_at_64),
		cmocka_unit_test(a_tree_told_as_events_builds_the_same_tree_again),
		cmocka_unit_test(members_are_found),
		cmocka_unit_test(numbers_are_integers_within_a_range),
		cmocka_unit_test(booleans_have_a_default),
		cmocka_unit_test(the_ceiling_of_the_arena_holds_for_the_work_too),
		cmocka_unit_test(out_of_memory_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
