/* The target allocator's conformance fixtures (tests/golden/relabel/README.md): label sets before and after relabelling. */
#include "labels.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>

enum { RULES_MAX = 8 };

/* What the lines so far say. */
struct fixture {
	struct arena arena; /* everything below */
	struct target_global_options global;
	struct target_job_options options;
	struct relabel_rule rules[RULES_MAX];
	struct target_job *job; /* of the options; NULL: to be made */
	struct labels_builder target;
	struct target *made; /* of the last target line; NULL: dropped */
	size_t cases, targets;
	struct span line;
};

static char *unescape(struct fixture *fixture, struct span text)
{
	char *copy = arena_spandup(&fixture->arena, text), *out = copy;
	assert_non_null(copy);
	for (const char *in = copy; *in; in++) {
		bool line_feed = in[0] == '\\' && in[1] == 'n';
		*out++ = line_feed ? '\n' : *in;
		in += line_feed;
	}
	*out = '\0';
	return copy;
}

static bool next_field(struct span *rest, struct span *ret_name, struct span *ret_value)
{
	if (!span_next(rest, ' ', ret_value))
		return false;
	assert_true(span_next(ret_value, '=', ret_name));
	return true;
}

static void read_labels(struct fixture *fixture, struct span rest, struct labels_builder *labels)
{
	struct span name, value;
	labels_builder_init(labels, &fixture->arena);
	while (next_field(&rest, &name, &value))
		assert_int_equal(labels_set_borrowed(labels, name, span_str(unescape(fixture, value))), 0);
}

static int action_of(struct span name)
{
	const struct option *option = relabel_rule_table.options;
	while (strcmp(option->name, "action") != 0)
		option++;
	for (int i = 0; option->choices[i]; i++)
		if (span_eq(span_str(option->choices[i]), name))
			return i;
	fail_msg("no action %.*s", SPAN_ARGS(name));
	return -1;
}

static struct option_strings read_list(struct fixture *fixture, struct span value)
{
	struct option_strings list = {arena_alloc(&fixture->arena, 8 * sizeof(*list.items)), 0};
	for (struct span part; list.count < 8 && span_next(&value, ',', &part);)
		list.items[list.count++] = unescape(fixture, part);
	return list;
}

static void read_rule(struct fixture *fixture, struct span rest)
{
	struct span name, value;
	assert_true(fixture->options.relabel_configs.count < RULES_MAX);
	struct relabel_rule *rule = &fixture->rules[fixture->options.relabel_configs.count++];
	*rule = (struct relabel_rule){.action = RELABEL_REPLACE};
	while (next_field(&rest, &name, &value)) {
		char *text = unescape(fixture, value);
		if (span_eq(name, SPAN("source_labels")))
			rule->source_labels = read_list(fixture, value);
		else if (span_eq(name, SPAN("regex")))
			rule->regex = text;
		else if (span_eq(name, SPAN("target_label")))
			rule->target_label = text;
		else if (span_eq(name, SPAN("replacement")))
			rule->replacement = text;
		else if (span_eq(name, SPAN("separator")))
			rule->separator = text;
		else if (span_eq(name, SPAN("modulus")))
			assert_int_equal(span_to_u64(value, &rule->modulus), 0);
		else if (span_eq(name, SPAN("action")))
			rule->action = action_of(value);
		else
			fail_msg("%.*s", SPAN_ARGS(fixture->line));
	}
}

static void read_target(struct fixture *fixture, struct span rest)
{
	struct error err = {""};
	if (!fixture->job && target_job_new(&fixture->options, &fixture->global, &fixture->job, &err) < 0)
		fail_msg("%s", err.text);
	read_labels(fixture, rest, &fixture->target);
	target_unref(fixture->made);
	fixture->made = NULL;
	int result = target_new(
		fixture->job, TARGET_STATIC, rest, labels_builder_view(&fixture->target), &fixture->made, NULL, &err);
	if (result < 0)
		fail_msg("%.*s: %s", SPAN_ARGS(fixture->line), err.text);
	fixture->targets++;
}

static void assert_labels(struct fixture *fixture, struct labels actual, struct span rest)
{
	struct labels_builder expected;
	struct buf have, want;
	buf_init(&have, 1 << 16);
	buf_init(&want, 1 << 16);
	read_labels(fixture, rest, &expected);
	buf_labels(&have, actual);
	buf_labels(&want, labels_builder_view(&expected));
	buf_char(&want, '\0');
	test_assert_text(buf_view(&have), want.ptr);
	buf_done(&have);
	buf_done(&want);
}

static void assert_after(struct fixture *fixture, struct span rest)
{
	struct labels_builder labels, expected;
	labels_builder_init(&labels, &fixture->arena);
	assert_int_equal(labels_seed(&labels, fixture->job, labels_builder_view(&fixture->target)), 0);
	assert_int_equal(relabel_apply(fixture->job->relabel, &labels, NULL), 1);
	assert_int_equal(labels_finish(&labels), 0);
	assert_labels(fixture, labels_builder_view(&labels), rest);

	/* And what the target made of it shows of it. */
	assert_non_null(fixture->made);
	read_labels(fixture, rest, &expected);
	for (size_t i = 0; i < fixture->made->labels.count; i++)
		assert_true(span_eq(labels_builder_get(&expected, fixture->made->labels.items[i].name),
			fixture->made->labels.items[i].value));
}

static void new_job(struct fixture *fixture, struct span name)
{
	target_job_unref(fixture->job);
	fixture->job = NULL;
	fixture->options = (struct target_job_options){.job_name = unescape(fixture, name)};
	fixture->options.relabel_configs.items = fixture->rules;
}

static void play(struct fixture *fixture)
{
	struct span rest = fixture->line, verb = SPAN_NONE;
	span_next(&rest, ' ', &verb);
	if (span_eq(verb, SPAN("case")))
		fixture->cases++;
	else if (span_eq(verb, SPAN("job")))
		new_job(fixture, rest);
	else if (span_eq(verb, SPAN("rule")))
		read_rule(fixture, rest);
	else if (span_eq(verb, SPAN("target")))
		read_target(fixture, rest);
	else if (span_eq(verb, SPAN("before")) && fixture->made)
		assert_labels(fixture, fixture->made->discovered, rest);
	else if (span_eq(verb, SPAN("after")))
		assert_after(fixture, rest);
	else if (span_eq(verb, SPAN("dropped")))
		assert_null(fixture->made);
}

static void the_target_allocators_fixtures_give_the_same_labels(void **state)
{
	(void)state;
	struct span text = test_file("golden/relabel/allocator.txt"), rest = text;
	struct fixture fixture = {
		.global = {.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC}};
	arena_init(&fixture.arena, 1 << 20);
	while (span_next(&rest, '\n', &fixture.line))
		play(&fixture);
	assert_int_equal(fixture.cases, 19);
	assert_int_equal(fixture.targets, 51);
	target_unref(fixture.made);
	target_job_unref(fixture.job);
	arena_done(&fixture.arena);
	test_file_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_target_allocators_fixtures_give_the_same_labels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
