/* base: everything but the event loop. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void spans_compare_like_gos_strings(void **state)
{
	(void)state;
	assert_true(span_cmp(SPAN("a"), SPAN("b")) < 0);
	assert_true(span_cmp(SPAN("a"), SPAN("aa")) < 0);
	assert_true(span_cmp(SPAN("\xc3"), SPAN("z")) > 0);
	assert_int_equal(span_cmp(SPAN_NONE, SPAN("")), 0);
	assert_true(span_eq_nocase(SPAN("Keep"), SPAN("kEEP")));
	assert_true(span_ends_with(SPAN("foo_total"), SPAN("_total")));
	assert_false(span_ends_with(SPAN("total"), SPAN("_total")));
}

static void parts_between_separators_come_one_by_one(void **state)
{
	(void)state;
	struct span rest = SPAN("a,,b"), part;
	assert_true(span_next(&rest, ',', &part) && span_eq(part, SPAN("a")));
	assert_true(span_next(&rest, ',', &part) && part.len == 0);
	assert_true(span_next(&rest, ',', &part) && span_eq(part, SPAN("b")));
	assert_false(span_next(&rest, ',', &part));
}

static void utf8_is_checked_by_the_letter(void **state)
{
	(void)state;
	assert_true(span_is_utf8(SPAN("plain ascii, longer than a word, \xe2\x82\xac \xf0\x9f\x98\x80")));
	assert_true(span_is_utf8(SPAN("")));
	assert_false(span_is_utf8(SPAN("\xc0\x80")));         /* overlong */
	assert_false(span_is_utf8(SPAN("\xed\xa0\x80")));     /* surrogate */
	assert_false(span_is_utf8(SPAN("\xf4\x90\x80\x80"))); /* beyond U+10FFFF */
	assert_false(span_is_utf8(SPAN("abc\xe2\x82")));      /* cut off */
	assert_false(span_is_utf8(SPAN("\xff")));
}

static void numbers_are_digits_only(void **state)
{
	(void)state;
	uint64_t value = 7;
	assert_int_equal(span_to_u64(SPAN("18446744073709551615"), &value), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(span_to_u64(SPAN("18446744073709551616"), &value), -ERANGE);
	assert_int_equal(span_to_u64(SPAN("+1"), &value), -EINVAL);
	assert_int_equal(span_to_u64(SPAN(""), &value), -EINVAL);
}

static void hex_digits_of_either_case_are_read_and_nothing_else(void **state)
{
	(void)state;
	const char *const digits = "0123456789abcdef";
	for (int c = -128; c < 128; c++) {
		const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;
		assert_int_equal(hex_digit((char)c), at ? at - digits : -1);
	}
}

static void errors_read_from_the_outside_in(void **state)
{
	(void)state;
	struct error err = {""};
	assert_int_equal(error_set(&err, EINVAL, "no colon"), -EINVAL);
	assert_int_equal(error_wrap(&err, EINVAL, "line %d", 7), -EINVAL);
	assert_string_equal(err.text, "line 7: no colon");
	err.text[0] = '\0';
	error_wrap(&err, ENOENT, "open x");
	assert_string_equal(err.text, "open x: No such file or directory");
	assert_int_equal(error_set(NULL, EIO, "nobody reads this"), -EIO);
}

static void escaped_bytes_are_printable_and_short(void **state)
{
	(void)state;
	assert_string_equal(escape_bytes(SPAN("a\n%\x1b[2J")).text, "a%0A%25%1B[2J");
	char many[1000];
	memset(many, '\n', sizeof(many));
	struct escaped escaped = escape_bytes(span_of(many, sizeof(many)));
	assert_true(strlen(escaped.text) <= 131);
	assert_true(span_ends_with(span_str(escaped.text), SPAN("...")));
}

static void a_buffer_never_passes_its_ceiling(void **state)
{
	(void)state;
	struct buf buf;
	buf_init(&buf, 10);
	assert_int_equal(buf_str(&buf, "12345"), 0);
	assert_int_equal(buf_str(&buf, "67890"), 0);
	assert_int_equal(buf_char(&buf, 'x'), -EMSGSIZE);
	assert_int_equal(buf.len, 10);
	buf_reset(&buf);
	assert_int_equal(buf_printf(&buf, "%s", "1234567890"), 0); /* no room is asked for a NUL */
	assert_int_equal(buf_printf(&buf, "%d", 1), -EMSGSIZE);
	buf_done(&buf);
}

static void base64_is_read_as_it_is_written_and_not_otherwise(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
		{"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"}};
	static const char *const bad[] = {"Zg", "Zg=", "Z===", "=g==", "Zm9v\n", "Zh==", "Zm9=", "Zg==Zg==", "Zm-_"};
	struct buf buf;
	buf_init(&buf, 64);
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		buf_reset(&buf);
		assert_int_equal(buf_base64(&buf, span_str(pairs[i][0])), 0);
		test_assert_text(buf_view(&buf), pairs[i][1]);
		buf_reset(&buf);
		assert_int_equal(buf_unbase64(&buf, span_str(pairs[i][1])), 0);
		test_assert_text(buf_view(&buf), pairs[i][0]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(buf_unbase64(&buf, span_str(bad[i])), -EBADMSG);
	buf_done(&buf);
}

static void what_is_secret_is_overwritten(void **state)
{
	(void)state;
	struct buf buf;
	struct arena arena;
	buf_init(&buf, 4096);
	buf.secret = true;
	assert_int_equal(buf_str(&buf, "secret"), 0);
	assert_non_null(buf_reserve(&buf, 3000)); /* moves */
	test_assert_text(buf_view(&buf), "secret");
	buf_done(&buf);
	assert_true(buf.secret);
	arena_init(&arena, 4096);
	arena.secret = true;
	const char *text = arena_strdup(&arena, "secret");
	arena_reset(&arena);
	assert_string_equal(text, ""); /* its chunk is kept */
	arena_done(&arena);
	assert_true(arena.secret);
}

static void json_strings_are_valid_whatever_the_bytes(void **state)
{
	(void)state;
	struct buf buf;
	buf_init(&buf, 1000);
	buf_json(&buf, SPAN("a\"b\\\n\x01\xff\xe2\x82\xac"));
	test_assert_text(buf_view(&buf), "\"a\\\"b\\\\\\n\\u0001\xef\xbf\xbd\xe2\x82\xac\"");
	buf_done(&buf);
}

/* U+009B begins a terminal's control sequence as ESC [ does. */
static void json_strings_hold_no_control_character(void **state)
{
	(void)state;
	struct buf buf;
	buf_init(&buf, 1000);
	buf_json(&buf, SPAN("\x1b[2J\x7f\xc2\x9b\x32J\xc2\x80\xc2\xa0\xc3\x9b"));
	test_assert_text(buf_view(&buf), "\"\\u001b[2J\\u007f\\u009b2J\\u0080\xc2\xa0\xc3\x9b\"");
	buf_done(&buf);
}

static int use_everything_that_allocates(void *arg)
{
	(void)arg;
	int result = -ENOMEM;
	struct arena arena;
	struct map map;
	struct buf buf;
	struct labels_builder labels;
	arena_init(&arena, 1 << 20);
	map_init(&map, 1000);
	buf_init(&buf, 10000);
	labels_builder_init(&labels, &arena);
	for (int i = 0; i < 100; i++) {
		char name[16];
		snprintf(name, sizeof(name), "k%d", i);
		char *key = arena_strdup(&arena, name);
		if (!key || map_put(&map, span_str(key), key) < 0 || labels_set(&labels, span_str(name), SPAN("v")) < 0)
			goto out;
	}
	result = buf_labels(&buf, labels_builder_view(&labels));
	if (result == 0)
		result = buf_printf(&buf, "%300d", 1);
out:
	arena_done(&arena);
	map_done(&map);
	buf_done(&buf);
	return result;
}

static void running_out_of_memory_is_an_error_and_no_leak(void **state)
{
	(void)state;
	test_out_of_memory(use_everything_that_allocates, NULL);
}

static void a_name_is_sanitised_character_by_character(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 4096);
	test_assert_text(label_name_sanitised(&arena, SPAN("p_"), SPAN("a.b/C-9_\xc3\xa9\xff")), "p_a_b_C_9___");
	test_assert_text(label_name_sanitised(&arena, SPAN_NONE, SPAN("")), "");
	arena_done(&arena);
	arena_init(&arena, 8);
	assert_null(label_name_sanitised(&arena, SPAN("prefix_"), SPAN("name")).ptr);
	arena_done(&arena);
}

static void an_arena_keeps_its_ceiling_and_its_memory(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 4096);
	assert_non_null(arena_alloc(&arena, 0));
	assert_non_null(arena_alloc(&arena, 4096));
	assert_false(arena.full);
	assert_null(arena_alloc(&arena, 1));
	assert_true(arena.full);
	arena_reset(&arena);
	assert_false(arena.full);
	size_t before = test_allocations();
	char *again = arena_alloc(&arena, 4096);
	assert_non_null(again);
	assert_int_equal(again[4095], 0);
	assert_int_equal(test_allocations(), before);
	arena_done(&arena);
}

static void a_map_agrees_with_a_plain_array(void **state)
{
	(void)state;
	enum { KEYS = 300 };
	char keys[KEYS][8];
	bool present[KEYS] = {false};
	struct map map;
	struct rng rng;
	map_init(&map, 1000);
	rng_init(&rng, 42);
	for (int i = 0; i < KEYS; i++)
		snprintf(keys[i], sizeof(keys[i]), "%d", i);
	for (int step = 0; step < 20000; step++) {
		size_t i = (size_t)rng_below(&rng, KEYS);
		if (rng_below(&rng, 2)) {
			assert_int_equal(map_put(&map, span_str(keys[i]), keys[i]), 0);
			present[i] = true;
		} else {
			assert_ptr_equal(map_remove(&map, span_str(keys[i])), present[i] ? keys[i] : NULL);
			present[i] = false;
		}
	}
	size_t count = 0, walked = 0, cursor = 0;
	for (int i = 0; i < KEYS; i++) {
		assert_ptr_equal(map_get(&map, span_str(keys[i])), present[i] ? keys[i] : NULL);
		count += present[i];
	}
	while (map_next(&map, &cursor))
		walked++;
	assert_int_equal(map.count, count);
	assert_int_equal(walked, count);
	map_done(&map);
}

static void labels_stay_sorted_and_empty_means_absent(void **state)
{
	(void)state;
	struct arena arena;
	struct labels_builder builder;
	struct buf text;
	arena_init(&arena, 1 << 16);
	buf_init(&text, 1000);
	labels_builder_init(&builder, &arena);
	labels_set(&builder, SPAN("b"), SPAN("2"));
	labels_set(&builder, SPAN("a"), SPAN("1\"\n\\"));
	labels_set(&builder, SPAN("c"), SPAN("3"));
	labels_set(&builder, SPAN("b"), SPAN(""));
	labels_set(&builder, SPAN("c"), SPAN("4"));
	buf_labels(&text, labels_builder_view(&builder));
	test_assert_text(buf_view(&text), "{a=\"1\\\"\\n\\\\\", c=\"4\"}");
	assert_true(span_eq(labels_builder_get(&builder, SPAN("c")), SPAN("4")));
	assert_null(labels_builder_get(&builder, SPAN("b")).ptr);
	buf_done(&text);
	arena_done(&arena);
}

static void durations_follow_prometheus(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
		const char *printed;
	} good[] = {
		{"0", 0, "0s"},
		{"15s", 15 * NS_PER_SEC, "15s"},
		{"1h30m", 5400 * NS_PER_SEC, "1h30m"},
		{"1m500ms", 60 * NS_PER_SEC + 500 * NS_PER_MS, "1m500ms"},
		{"90m", 5400 * NS_PER_SEC, "1h30m"},
		{"2w", 14 * 24 * 3600 * NS_PER_SEC, "2w"},
		{"8d", 8 * 24 * 3600 * NS_PER_SEC, "8d"},
		{"292y", UINT64_C(292) * 365 * 24 * 3600 * NS_PER_SEC, "292y"},
	};
	static const char *const bad[] = {
		"", "1", "1.5h", "30m1h", "1m1m", "s", "-1s", "1s ", "1µs", "10ns", "99999y9s", "293y"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t ns = 1;
		assert_int_equal(duration_parse(span_str(good[i].text), &ns), 0);
		assert_true(ns == good[i].ns);
		assert_string_equal(duration_format(ns).text, good[i].printed);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t ns;
		if (duration_parse(span_str(bad[i]), &ns) >= 0)
			fail_msg("accepted: %s", bad[i]);
	}
}

static void sizes_are_powers_of_two_either_way(void **state)
{
	(void)state;
	uint64_t bytes;
	assert_int_equal(bytes_parse(SPAN("10MB"), &bytes), 0);
	assert_true(bytes == 10 << 20);
	assert_int_equal(bytes_parse(SPAN("64KiB"), &bytes), 0);
	assert_true(bytes == 65536);
	assert_int_equal(bytes_parse(SPAN("123"), &bytes), 0);
	assert_true(bytes == 123);
	assert_int_equal(bytes_parse(SPAN("1M"), &bytes), -EINVAL);
	assert_int_equal(bytes_parse(SPAN("MB"), &bytes), -EINVAL);
	assert_int_equal(bytes_parse(SPAN("99999999EB"), &bytes), -ERANGE);
}

static void reading_a_file_refuses_what_is_no_small_regular_file(void **state)
{
	(void)state;
	char dir[] = "/tmp/gleaner-base-XXXXXX", path[64], fifo[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	FILE *file = fopen(path, "w");
	fputs("0123456789", file);
	fclose(file);
	assert_int_equal(mkfifo(fifo, 0600), 0);

	struct buf buf;
	struct error err = {""};
	buf_init(&buf, 10);
	assert_int_equal(file_read(path, &buf, &err), 0);
	assert_int_equal(buf.len, 10);
	buf_done(&buf);
	buf_init(&buf, 9);
	assert_int_equal(file_read(path, &buf, &err), -EMSGSIZE);
	assert_non_null(strstr(err.text, "larger than 9 bytes"));
	buf_reset(&buf);
	assert_int_equal(file_read(fifo, &buf, &err), -EINVAL);
	err.text[0] = '\0';
	assert_int_equal(file_read("/nonexistent", &buf, &err), -ENOENT);
	assert_string_equal(err.text, "open /nonexistent: No such file or directory");
	buf_done(&buf);
	unlink(path);
	unlink(fifo);
	rmdir(dir);
}

static void a_log_line_is_one_escaped_line(void **state)
{
	(void)state;
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	struct log log = {.fd = fds[1], .level = LOG_LEVEL_INFO, .role = "core"};
	log_debug(&log, "not shown");
	log_warn(&log, "two\nlines of %s", "\"text\"");
	char line[512] = "";
	ssize_t len = read(fds[0], line, sizeof(line) - 1);
	assert_true(len > 0);
	assert_non_null(strstr(line, "Z level=warn role=core msg=\"two\\nlines of \\\"text\\\"\"\n"));
	assert_null(strstr(line, "not shown"));
	log_configure(&log, LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
	log_debug(&log, "shown now");
	len = read(fds[0], line, sizeof(line) - 1);
	assert_true(len > 0 && line[0] == '{');
	assert_non_null(strstr(line, "\"level\":\"debug\",\"role\":\"core\",\"msg\":\"shown now\"}\n"));
	close(fds[0]);
	close(fds[1]);
}

static void a_limited_log_counts_what_it_holds_back(void **state)
{
	(void)state;
	struct log_limit limit = {.interval_ns = 10};
	assert_true(log_allowed(&limit, 100));
	assert_false(log_allowed(&limit, 105));
	assert_false(log_allowed(&limit, 109));
	assert_true(log_allowed(&limit, 110));
	assert_true(limit.suppressed == 2);
}

static void a_metrics_page_is_prometheus_text(void **state)
{
	(void)state;
	struct buf page;
	buf_init(&page, 4096);
	metrics_family(&page, "x_total", "counter", "Help.");
	metrics_sample(&page, "x_total", "", 3);
	metrics_sample(&page, "x_total", "a=\"b\"", 0.5);
	test_assert_text(
		buf_view(&page), "# HELP x_total Help.\n# TYPE x_total counter\nx_total 3\nx_total{a=\"b\"} 0.5\n");
	buf_done(&page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_compare_like_gos_strings),
		cmocka_unit_test(parts_between_separators_come_one_by_one),
		cmocka_unit_test(utf8_is_checked_by_the_letter),
		cmocka_unit_test(numbers_are_digits_only),
		cmocka_unit_test(hex_digits_of_either_case_are_read_and_nothing_else),
		cmocka_unit_test(errors_read_from_the_outside_in),
		cmocka_unit_test(escaped_bytes_are_printable_and_short),
		cmocka_unit_test(a_buffer_never_passes_its_ceiling),
		cmocka_unit_test(base64_is_read_as_it_is_written_and_not_otherwise),
		cmocka_unit_test(what_is_secret_is_overwritten),
		cmocka_unit_test(json_strings_are_valid_whatever_the_bytes),
		cmocka_unit_test(json_strings_hold_no_control_character),
		cmocka_unit_test(running_out_of_memory_is_an_error_and_no_leak),
		cmocka_unit_test(a_name_is_sanitised_character_by_character),
		cmocka_unit_test(an_arena_keeps_its_ceiling_and_its_memory),
		cmocka_unit_test(a_map_agrees_with_a_plain_array),
		cmocka_unit_test(labels_stay_sorted_and_empty_means_absent),
		cmocka_unit_test(durations_follow_prometheus),
		cmocka_unit_test(sizes_are_powers_of_two_either_way),
		cmocka_unit_test(reading_a_file_refuses_what_is_no_small_regular_file),
		cmocka_unit_test(a_log_line_is_one_escaped_line),
		cmocka_unit_test(a_limited_log_counts_what_it_holds_back),
		cmocka_unit_test(a_metrics_page_is_prometheus_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
