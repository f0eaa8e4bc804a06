/* telemetry: the page of /metrics, and docs/metrics.md beside it. */
#include "internal.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>

/* A core with nothing in it but what the page asks. */
static void core_new(struct core *core)
{
	static struct settings settings = {.telemetry = {.target_costs = true}};
	struct spool_options spool_options = {.max_bytes = 64 << 20, .max_age_ns = 3600 * NS_PER_SEC};
	struct export_options options = {.debug.enabled = true};
	struct error err = {""};
	*core = (struct core){.clock = clock_system(), .settings = &settings, .log = {.fd = -1}};
	assert_int_equal(targets_init(core), 0);
	assert_int_equal(spool_new(&spool_options, core->clock, &core->spool), 0);
	assert_int_equal(exporter_start(&options, core->spool, NULL, core->clock, &core->exporter, &err), 0);
	strcpy(core->totals.failed[0].reason, "timeout");
	core->totals.failed[0].count = 2;
	core->totals.failed_count = 1;
}

static void core_done(struct core *core)
{
	targets_done(core);
	exporter_stop(core->exporter, 0);
	spool_free(core->spool);
}

struct names {
	char text[200][256]; /* "name type help" */
	size_t count;
};

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void add_name(struct names *names, struct span name, struct span type, struct span help)
{
	assert_true(names->count < ARRAY_SIZE(names->text));
	snprintf(names->text[names->count++], sizeof(names->text[0]), "%.*s %.*s %.*s", SPAN_ARGS(name),
		SPAN_ARGS(type), SPAN_ARGS(help));
}

/* "# HELP name help", "# TYPE name type" */
static void names_of_page(struct span page, struct names *names)
{
	struct span line, word, name, help = SPAN_NONE;
	while (span_next(&page, '\n', &line)) {
		if (!span_starts_with(line, SPAN("# ")))
			continue;
		span_next(&line, ' ', &word);
		span_next(&line, ' ', &word);
		span_next(&line, ' ', &name);
		if (span_eq(word, SPAN("HELP")))
			help = line;
		else
			add_name(names, name, line, help);
	}
}

/* "| `name` | type | meaning |" */
static void names_of_document(struct span document, struct names *names)
{
	struct span line, name, type, help;
	while (span_next(&document, '\n', &line)) {
		if (!span_starts_with(line, SPAN("| `")))
			continue;
		span_next(&line, '`', &name);
		span_next(&line, '`', &name);
		span_next(&line, '|', &type);
		span_next(&line, '|', &type);
		span_next(&line, '|', &help);
		add_name(names, name, span_trim(type), span_trim(help));
	}
}

static void every_metric_is_documented_and_the_other_way_round(void **state)
{
	(void)state;
	struct core core;
	struct names served = {.count = 0}, documented = {.count = 0};
	struct buf page;
	core_new(&core);
	buf_init(&page, 1 << 20);
	telemetry_render(&core, &page);
	names_of_page(buf_view(&page), &served);
	struct span document = test_file("../docs/metrics.md");
	names_of_document(document, &documented);
	assert_true(served.count > 30);
	qsort(served.text, served.count, sizeof(served.text[0]), compare);
	qsort(documented.text, documented.count, sizeof(documented.text[0]), compare);
	for (size_t i = 0; i < served.count || i < documented.count; i++)
		assert_string_equal(served.text[i], documented.text[i]);
	test_file_free(document);
	buf_done(&page);
	core_done(&core);
}

/* Each line of a page is one that our own parser takes. Returns the number of samples. */
static size_t parse(struct buf *page, enum expo_format format)
{
	struct expo_parser parser;
	struct expo_entry entry;
	size_t samples = 0;
	int result;
	char *padding = buf_reserve(page, EXPO_PADDING);
	memset(padding, 0, EXPO_PADDING);
	expo_init(&parser, format, buf_view(page), 4096);
	while ((result = expo_next(&parser, &entry)) == 1)
		samples += entry.kind == EXPO_SAMPLE;
	assert_int_equal(result, 0);
	return samples;
}

static void the_page_is_prometheus_text(void **state)
{
	(void)state;
	struct core core;
	struct buf page;
	core_new(&core);
	buf_init(&page, 1 << 20);
	telemetry_render(&core, &page);
	buf_char(&page, '\0');
	assert_non_null(strstr(page.ptr, "\ngleaner_scrapes_failed_total{reason=\"timeout\"} 2\n"));
	assert_non_null(strstr(page.ptr, "\ngleaner_process_resident_memory_bytes{role=\"core\"} "));
	page.len--;
	assert_true(parse(&page, EXPO_TEXT) > 40);
	buf_done(&page);
	core_done(&core);
}

/* What is sent: counters say since when they count. */
static void the_page_is_openmetrics_with_start_times(void **state)
{
	(void)state;
	struct core core;
	struct buf page;
	core_new(&core);
	core.started_wall_ns = 1000 * NS_PER_SEC + 500 * NS_PER_MS;
	buf_init(&page, 1 << 20);
	telemetry_render_openmetrics(&core, &page);
	buf_char(&page, '\0');
	assert_non_null(strstr(page.ptr, "\n# TYPE gleaner_scrapes_failed counter\n"
					 "gleaner_scrapes_failed_total{reason=\"timeout\"} 2\n"
					 "gleaner_scrapes_failed_created{reason=\"timeout\"} 1000.500000000\n"));
	assert_non_null(strstr(page.ptr, "\ngleaner_scrapes_total 0\ngleaner_scrapes_created 1000.500000000\n"));
	assert_non_null(strstr(page.ptr, "\n# TYPE gleaner_targets gauge\ngleaner_targets 0\n"));
	page.len--;
	assert_true(span_ends_with(buf_view(&page), SPAN("\n# EOF\n")));
	assert_true(parse(&page, EXPO_OPENMETRICS) > 80);
	buf_done(&page);
	core_done(&core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_metric_is_documented_and_the_other_way_round),
		cmocka_unit_test(the_page_is_prometheus_text),
		cmocka_unit_test(the_page_is_openmetrics_with_start_times),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
