// links: config
/* Any bytes as a configuration file: loaded, complained about, printed, and what was printed loads again without an error. */
#include "gleaner/config.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses 2 KiB when a quoted text longer than its inline buffer ends in a syntax error. The file is the
 * operator's, and read at start and reload only. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

struct rule {
	struct option_position position;
	const char *action;
	uint64_t modulus;
};
struct sample {
	bool enabled;
	uint64_t limit, port, interval_ns, size;
	double ratio;
	const char *name;
	int color;
	struct option_strings hosts;
	struct option_pairs labels;
	struct option_lists params;
	struct option_objects rules;
	struct rule rule;
	bool rule_given;
};

static const struct option rule_options[] = {
	{.name = "action", .kind = OPTION_STRING, .offset = offsetof(struct rule, action), .required = true},
	{.name = "modulus", .kind = OPTION_COUNT, .offset = offsetof(struct rule, modulus), .max = 1000},
	{0},
};
static const struct option_table rule_table = {
	.name = "rule", .size = sizeof(struct rule), .options = rule_options, .positioned = true};
static const char *const colors[] = {"red", "green", NULL};
static const struct option sample_options[] = {
	{.name = "enabled", .kind = OPTION_BOOL, .offset = offsetof(struct sample, enabled), .value = "true"},
	{.name = "limit", .kind = OPTION_COUNT, .offset = offsetof(struct sample, limit)},
	{.name = "port", .kind = OPTION_PORT, .offset = offsetof(struct sample, port), .value = "80"},
	{.name = "scrape_interval", .kind = OPTION_DURATION, .offset = offsetof(struct sample, interval_ns)},
	{.name = "size", .kind = OPTION_BYTES, .offset = offsetof(struct sample, size)},
	{.name = "ratio", .kind = OPTION_DOUBLE, .offset = offsetof(struct sample, ratio)},
	{.name = "job_name", .kind = OPTION_STRING, .offset = offsetof(struct sample, name)},
	{.name = "color", .kind = OPTION_CHOICE, .offset = offsetof(struct sample, color), .choices = colors},
	{.name = "targets", .kind = OPTION_STRINGS, .offset = offsetof(struct sample, hosts)},
	{.name = "labels", .kind = OPTION_PAIRS, .offset = offsetof(struct sample, labels)},
	{.name = "params", .kind = OPTION_LISTS, .offset = offsetof(struct sample, params)},
	{.name = "scrape_configs",
		.kind = OPTION_OBJECTS,
		.offset = offsetof(struct sample, rules),
		.fields = &rule_table},
	{.name = "global",
		.kind = OPTION_OBJECT,
		.offset = offsetof(struct sample, rule),
		.fields = &rule_table,
		.given_offset = offsetof(struct sample, rule_given)},
	{0},
};
static const struct option_table table = {.name = "sample", .size = sizeof(struct sample), .options = sample_options};

static const char *environment(const char *name)
{
	return name[0] == 'A' ? "value" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_input input = {
		.name = "fuzz", .text = span_of((const char *)data, size), .get_environment = environment};
	struct sample sample;
	struct config_problems problems;
	struct buf out;
	struct arena arena;
	arena_init(&arena, (size_t)256 << 20);
	buf_init(&out, (size_t)256 << 20);
	if (config_load(&input, &table, &arena, &sample, &problems) == 0) {
		config_print(&sample, &table, &out);
		input.text = buf_view(&out);
		int result = config_load(&input, &table, &arena, &sample, &problems);
		if (result != 0 && out.len <= (1 << 20))
			abort(); /* what gleaner prints, gleaner reads */
	} else {
		config_problems_print(&input, &problems, &out);
	}
	buf_done(&out);
	arena_done(&arena);
	return 0;
}
