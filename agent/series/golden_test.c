/* The vectors of tests/golden/series: bodies, and what the scrapes of them become. Each file is replayed and compared with itself.
 *
 *   == words                  a case: a fresh cache
 *   -- target WORD...         honor_labels, ignore_timestamps, track_timestamps_staleness
 *   -- text | -- openmetrics  one scrape of the body that follows; each is one second after the one before, the first at
 *                             1700000000000000000
 *   -- fail                   one scrape without a body
 *   -- otlp, -- counts        what came of the scrape
 *
 * With GLEANER_GOLDEN_UPDATE set the files are rewritten: read the difference before you commit it.
 */
#include "test_cache.h"

#include "ingest.h"

static bool is_outcome(struct span heading)
{
	return span_eq(heading, SPAN("-- otlp")) || span_starts_with(heading, SPAN("-- counts"));
}

static bool is_heading(struct span line)
{
	return span_starts_with(line, SPAN("-- ")) || span_starts_with(line, SPAN("== "));
}

/* Takes a heading and what stands below it. */
static bool next_section(struct span *rest, struct span *ret_heading, struct span *ret_content)
{
	struct span line;
	if (rest->len == 0 || !span_next(rest, '\n', ret_heading))
		return false;
	const char *start = rest->ptr;
	for (struct span peek = *rest; peek.len > 0 && span_next(&peek, '\n', &line) && !is_heading(line);)
		*rest = peek;
	*ret_content = span_of(start, rest->ptr ? (size_t)(rest->ptr - start) : 0);
	return true;
}

static void set_target(struct series_target *target, struct span words)
{
	target->honor_labels = memmem(words.ptr, words.len, "honor_labels", 12) != NULL;
	target->honor_timestamps = memmem(words.ptr, words.len, "ignore_timestamps", 17) == NULL;
	target->track_timestamps_staleness = memmem(words.ptr, words.len, "track_timestamps_staleness", 26) != NULL;
}

static void put_outcome(const struct test_cache *test, bool failed_fetch, struct buf *out)
{
	static const char version[] = " scope \"gleaner\" \"" GLEANER_VERSION "\"";
	struct span line, rest = buf_view(&test->text);
	const struct series_result *result = &test->result;
	buf_str(out, "-- otlp\n");
	while (rest.len > 0 && span_next(&rest, '\n', &line)) {
		buf_span(out, span_eq(line, span_str(version)) ? SPAN(" scope \"gleaner\" \"VERSION\"") : line);
		buf_char(out, '\n');
	}
	if (failed_fetch || result->failure != SERIES_OK) {
		buf_printf(out, "-- counts stale=%llu%s%s\n", (unsigned long long)test->stale_points,
			failed_fetch ? "" : " error: ", failed_fetch ? "" : test->error.text);
		return;
	}
	buf_printf(out, "-- counts samples=%llu kept=%llu added=%llu points=%llu stale=%llu",
		(unsigned long long)result->samples, (unsigned long long)result->samples_kept,
		(unsigned long long)result->series_added, (unsigned long long)result->points,
		(unsigned long long)result->stale_points);
	if (result->tolerated)
		buf_printf(out, " tolerated=%llu", (unsigned long long)result->tolerated);
	for (int i = 0; i < SERIES_DROP_COUNT; i++) {
		if (result->dropped[i])
			buf_printf(out, " %s=%llu", series_drop_name((enum series_drop)i),
				(unsigned long long)result->dropped[i]);
	}
	buf_char(out, '\n');
}

static void replay_section(
	struct test_cache *test, bool cold, struct span heading, struct span content, struct buf *out)
{
	struct buf body;
	if (is_outcome(heading))
		return;
	buf_span(out, heading);
	buf_char(out, '\n');
	buf_span(out, content);
	if (span_starts_with(heading, SPAN("== "))) {
		test_cache_done(test);
		assert_int_equal(test_cache_init(test, test->series_memory_bytes), 0);
	} else if (span_starts_with(heading, SPAN("-- target"))) {
		set_target(&test->target, heading);
	} else if (span_eq(heading, SPAN("-- fail"))) {
		assert_int_equal(test_cache_fail(test), 0);
		put_outcome(test, true, out);
	} else {
		buf_init(&body, 1 << 20);
		buf_span(&body, content);
		buf_char(&body, '\0');
		test->cache->unsettled |= cold;
		test->format = span_eq(heading, SPAN("-- text")) ? EXPO_TEXT : EXPO_OPENMETRICS;
		assert_int_equal(test_cache_scrape(test, body.ptr), 0);
		put_outcome(test, false, out);
		buf_done(&body);
	}
}

static void replay(const char *name, uint64_t series_memory_bytes, bool cold)
{
	char path[128];
	snprintf(path, sizeof(path), "golden/series/%s.txt", name);
	struct span file = test_file(path), rest = file, heading, content;
	struct test_cache test;
	struct buf out;
	buf_init(&out, 1 << 22);
	assert_int_equal(test_cache_init(&test, series_memory_bytes), 0);
	/* What stands above the first case says what the file is for. */
	const char *first = memmem(rest.ptr, rest.len, "\n== ", 4);
	assert_non_null(first);
	buf_append(&out, rest.ptr, (size_t)(first + 1 - rest.ptr));
	rest = span_of(first + 1, rest.len - (size_t)(first + 1 - rest.ptr));
	while (next_section(&rest, &heading, &content))
		replay_section(&test, cold, heading, content, &out);
	if (getenv("GLEANER_GOLDEN_UPDATE")) {
		snprintf(path, sizeof(path), "%s/golden/series/%s.txt", GLEANER_TESTS_DIR, name);
		FILE *written = fopen(path, "w");
		assert_non_null(written);
		fwrite(out.ptr, 1, out.len, written);
		fclose(written);
	} else {
		buf_char(&out, '\0');
		test_assert_text(file, out.ptr);
	}
	test_cache_done(&test);
	test_file_free(file);
	buf_done(&out);
}

static const char *const files[] = {
	"types", "groups", "metadata", "staleness", "timestamps", "labels", "exemplars", "order"};

static void vectors_hold(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		replay(files[i], UINT64_MAX, false);
}

static void vectors_hold_when_every_block_is_frozen(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		replay(files[i], 0, false);
}

/* What a known line means is what it would mean if it were new. (All but the order of the output: that of the last file.) */
static void vectors_hold_when_every_line_is_derived_anew(void **state)
{
	(void)state;
	for (size_t i = 0; i + 1 < ARRAY_SIZE(files); i++)
		replay(files[i], UINT64_MAX, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_hold),
		cmocka_unit_test(vectors_hold_when_every_block_is_frozen),
		cmocka_unit_test(vectors_hold_when_every_line_is_derived_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
