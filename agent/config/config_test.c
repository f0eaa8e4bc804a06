/* config against a table that has every kind of option. The real tables meet real files in agent/core/settings_test.c. */
#include "gleaner/config.h"

#include "suggest.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>

struct sample_rule {
	struct option_position position;
	const char *action;
	uint64_t modulus;
};
struct sample {
	bool enabled;
	uint64_t limit, port, interval_ns, size;
	double ratio;
	const char *name, *password, *node;
	int color;
	struct option_strings hosts;
	struct option_pairs labels;
	struct option_lists params;
	struct {
		const char *endpoint;
		uint64_t timeout_ns;
		bool timeout_given;
	} target;
	bool target_given;
	struct option_objects rules;
};

static int rule_check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	(void)arena;
	const struct sample_rule *rule = object;
	if (rule->modulus != 13)
		return 0;
	*ret_key = "modulus";
	return error_set(err, EINVAL, "13 brings bad luck");
}

static const struct option rule_options[] = {
	{.name = "action",
		.kind = OPTION_STRING,
		.offset = offsetof(struct sample_rule, action),
		.value = NULL,
		.help = "What to do.",
		.required = true},
	{.name = "modulus",
		.kind = OPTION_COUNT,
		.offset = offsetof(struct sample_rule, modulus),
		.value = NULL,
		.help = "Of the hash.",
		.max = 100},
	{0},
};
static const struct option_table rule_table = {.name = "rule",
	.help = "One rule.",
	.size = sizeof(struct sample_rule),
	.options = rule_options,
	.positioned = true,
	.check = rule_check};

static const struct option target_options[] = {
	{.name = "endpoint",
		.kind = OPTION_STRING,
		.offset = offsetof(struct sample, target.endpoint) - offsetof(struct sample, target),
		.value = NULL,
		.help = "Where."},
	{.name = "timeout",
		.kind = OPTION_DURATION,
		.offset = offsetof(struct sample, target.timeout_ns) - offsetof(struct sample, target),
		.value = "10s",
		.help = "How long.",
		.min = NS_PER_SEC,
		.max = 3600 * NS_PER_SEC,
		.given_offset = offsetof(struct sample, target.timeout_given) - offsetof(struct sample, target)},
	{0},
};
static const struct option_table target_table = {
	.name = "target", .help = "A target.", .size = sizeof(((struct sample *)0)->target), .options = target_options};

static const char *const colors[] = {"red", "green", "blue", NULL};
static const char *const not_yet[] = {"remote_write", NULL};
static const struct option sample_options[] = {
	{.name = "enabled",
		.kind = OPTION_BOOL,
		.offset = offsetof(struct sample, enabled),
		.value = "true",
		.help = "Whether."},
	{.name = "limit",
		.kind = OPTION_COUNT,
		.offset = offsetof(struct sample, limit),
		.value = "5",
		.help = "How many | at most."},
	{.name = "port",
		.kind = OPTION_PORT,
		.offset = offsetof(struct sample, port),
		.value = "80",
		.help = "The port."},
	{.name = "interval",
		.kind = OPTION_DURATION,
		.offset = offsetof(struct sample, interval_ns),
		.value = "1m",
		.help = "How often."},
	{.name = "size",
		.kind = OPTION_BYTES,
		.offset = offsetof(struct sample, size),
		.value = "64KiB",
		.help = "How large."},
	{.name = "ratio",
		.kind = OPTION_DOUBLE,
		.offset = offsetof(struct sample, ratio),
		.value = "0.5",
		.help = "How much."},
	{.name = "name",
		.kind = OPTION_STRING,
		.offset = offsetof(struct sample, name),
		.value = NULL,
		.help = "A name."},
	{.name = "password",
		.kind = OPTION_STRING,
		.offset = offsetof(struct sample, password),
		.value = NULL,
		.help = "Not to be shown.",
		.secret = true},
	{.name = "node",
		.kind = OPTION_STRING,
		.offset = offsetof(struct sample, node),
		.value = NULL,
		.help = "The node.",
		.environment = "NODE_NAME"},
	{.name = "color",
		.kind = OPTION_CHOICE,
		.offset = offsetof(struct sample, color),
		.value = "green",
		.help = "Of the paint.",
		.choices = colors},
	{.name = "hosts",
		.kind = OPTION_STRINGS,
		.offset = offsetof(struct sample, hosts),
		.value = "localhost",
		.help = "Hosts."},
	{.name = "labels",
		.kind = OPTION_PAIRS,
		.offset = offsetof(struct sample, labels),
		.value = NULL,
		.help = "Labels."},
	{.name = "params",
		.kind = OPTION_LISTS,
		.offset = offsetof(struct sample, params),
		.value = NULL,
		.help = "Parameters."},
	{.name = "target",
		.kind = OPTION_OBJECT,
		.offset = offsetof(struct sample, target),
		.value = NULL,
		.help = "The target.",
		.fields = &target_table,
		.given_offset = offsetof(struct sample, target_given)},
	{.name = "rules",
		.kind = OPTION_OBJECTS,
		.offset = offsetof(struct sample, rules),
		.value = NULL,
		.help = "The rules.",
		.fields = &rule_table},
	{0},
};
static const struct option_table sample_table = {.name = "sample",
	.help = "All kinds.",
	.size = sizeof(struct sample),
	.options = sample_options,
	.unsupported = not_yet};

static const char *environment(const char *name)
{
	static const char *const variables[][2] = {{"NODE_NAME", "node-1"}, {"SECONDS", "15s"}, {"EMPTY", ""},
		{"YAML", "a: [1"}, {"DOLLAR", "${env:NODE_NAME}"}};
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		if (strcmp(name, variables[i][0]) == 0)
			return variables[i][1];
	}
	return NULL;
}

static const char *no_environment(const char *name)
{
	(void)name;
	return NULL;
}

struct fixture {
	struct arena arena;
	struct sample sample;
	struct config_problems problems;
	struct buf report;
};

static int load_with(struct fixture *fixture, struct span text, const char *(*get)(const char *name))
{
	arena_init(&fixture->arena, (size_t)16 << 20);
	buf_init(&fixture->report, (size_t)1 << 20);
	struct config_input input = {.name = "x.yaml", .text = text, .get_environment = get};
	int result = config_load(&input, &sample_table, &fixture->arena, &fixture->sample, &fixture->problems);
	if (result != -ENOMEM && config_problems_print(&input, &fixture->problems, &fixture->report) < 0)
		result = -ENOMEM;
	return result;
}

static int load(struct fixture *fixture, const char *text)
{
	return load_with(fixture, span_str(text), environment);
}

static void done(struct fixture *fixture)
{
	buf_done(&fixture->report);
	arena_done(&fixture->arena);
}

static void assert_report(const char *text, int result, const char *report)
{
	struct fixture fixture;
	assert_int_equal(load(&fixture, text), result);
	test_assert_text(buf_view(&fixture.report), report);
	done(&fixture);
}

static void empty_text_gives_the_defaults(void **state)
{
	(void)state;
	const char *const texts[] = {"", "# nothing\n", "---\n", "{}\n", "null"};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct fixture fixture;
		assert_int_equal(load_with(&fixture, span_str(texts[i]), no_environment), 0);
		const struct sample *sample = &fixture.sample;
		assert_true(sample->enabled);
		assert_int_equal(sample->limit, 5);
		assert_int_equal(sample->port, 80);
		assert_int_equal(sample->interval_ns, 60 * NS_PER_SEC);
		assert_int_equal(sample->size, 65536);
		assert_true(sample->ratio == 0.5);
		assert_null(sample->name);
		assert_null(sample->node);
		assert_int_equal(sample->color, 1);
		assert_int_equal(sample->hosts.count, 1);
		assert_string_equal(sample->hosts.items[0], "localhost");
		assert_int_equal(sample->target.timeout_ns, 10 * NS_PER_SEC);
		assert_false(sample->target.timeout_given);
		assert_false(sample->target_given);
		assert_int_equal(sample->rules.count, 0);
		assert_int_equal(fixture.problems.count, 0);
		done(&fixture);
	}
}

static void every_kind_is_read(void **state)
{
	(void)state;
	struct fixture fixture;
	assert_int_equal(load(&fixture, "enabled: no\nlimit: 7\nport: 443\ninterval: 1m30s\nsize: 10MB\nratio: 0.25\n"
					"name: 'it''s'\npassword: \"x y\"\ncolor: blue\nhosts: [a, \"b\"]\n"
					"labels: {team: core, empty: }\nparams:\n  match[]: [x, y]\n  one: z\n"
					"target: {timeout: 5s, endpoint: http://x:1}\n"
					"rules:\n- action: keep\n  modulus: 8\n- {action: drop}\n"),
		0);
	const struct sample *sample = &fixture.sample;
	assert_false(sample->enabled);
	assert_int_equal(sample->limit, 7);
	assert_int_equal(sample->port, 443);
	assert_int_equal(sample->interval_ns, 90 * NS_PER_SEC);
	assert_int_equal(sample->size, 10 << 20);
	assert_true(sample->ratio == 0.25);
	assert_string_equal(sample->name, "it's");
	assert_string_equal(sample->password, "x y");
	assert_string_equal(sample->node, "node-1");
	assert_int_equal(sample->color, 2);
	assert_string_equal(sample->hosts.items[1], "b");
	assert_string_equal(sample->labels.items[0].value, "core");
	assert_string_equal(sample->labels.items[1].value, "");
	assert_string_equal(sample->params.items[0].name, "match[]");
	assert_int_equal(sample->params.items[0].values.count, 2);
	assert_string_equal(sample->params.items[1].values.items[0], "z");
	assert_string_equal(sample->target.endpoint, "http://x:1");
	assert_true(sample->target_given && sample->target.timeout_given);
	const struct sample_rule *rules = sample->rules.items;
	assert_int_equal(sample->rules.count, 2);
	assert_int_equal(rules[0].modulus, 8);
	assert_int_equal(rules[0].position.line, 17);
	assert_int_equal(rules[0].position.column, 3);
	assert_string_equal(rules[0].position.file, "x.yaml");
	assert_string_equal(rules[1].action, "drop");
	done(&fixture);
}

static void key_without_a_value_counts_as_not_written(void **state)
{
	(void)state;
	struct fixture fixture;
	assert_int_equal(load(&fixture, "limit:\nhosts: ~\nrules:\ntarget:\nname: ${env:EMPTY}\n"), 0);
	assert_int_equal(fixture.sample.limit, 5);
	assert_int_equal(fixture.sample.hosts.count, 1);
	assert_null(fixture.sample.name);
	assert_true(fixture.sample.target_given); /* but an object is there */
	assert_int_equal(fixture.sample.target.timeout_ns, 10 * NS_PER_SEC);
	done(&fixture);
}

static void environment_is_put_into_values(void **state)
{
	(void)state;
	struct fixture fixture;
	assert_int_equal(
		load(&fixture, "interval: ${env:SECONDS}\nname: a-${env:NODE_NAME}-${env:NONE:-x:y}-${env:EMPTY:-z}\n"
			       "password: ${env:YAML}\nhosts: ['${env:DOLLAR}', $$]\n"),
		0);
	assert_int_equal(fixture.sample.interval_ns, 15 * NS_PER_SEC);
	assert_string_equal(fixture.sample.name, "a-node-1-x:y-z");
	assert_string_equal(fixture.sample.password, "a: [1");
	assert_string_equal(fixture.sample.hosts.items[0], "${env:NODE_NAME}"); /* not expanded again */
	assert_string_equal(fixture.sample.hosts.items[1], "$");
	assert_int_equal(fixture.problems.count, 0);
	done(&fixture);
}

static void dollar_before_anything_else_stays(void **state)
{
	(void)state;
	struct fixture fixture;
	assert_int_equal(load(&fixture, "hosts: [$1, '${1}x', '${name}', 'a$', '$${env:NODE_NAME}', ^x$|y$]\n"), 0);
	const char *const want[] = {"$1", "${1}x", "${name}", "a$", "${env:NODE_NAME}", "^x$|y$"};
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(fixture.sample.hosts.items[i], want[i]);
	assert_int_equal(fixture.problems.count, 0);
	done(&fixture);
}

static void dollars_of_a_collectors_file_give_a_warning(void **state)
{
	(void)state;
	struct fixture fixture;
	assert_int_equal(load(&fixture, "name: $$1:8080\n"), 0);
	assert_string_equal(fixture.sample.name, "$1:8080");
	test_assert_text(buf_view(&fixture.report), "x.yaml:1:7: warning: name: \"$$\" before a group is read as "
						    "\"$\", as a Collector's file needs it; here \"$1\" alone will do\n"
						    "  name: $$1:8080\n"
						    "        ^\n");
	done(&fixture);
}

static void variable_without_env_gives_a_warning_and_a_group_does_not(void **state)
{
	(void)state;
	struct fixture fixture;
	assert_int_equal(load(&fixture, "name: Bearer ${API_TOKEN}\n"), 0);
	assert_string_equal(fixture.sample.name, "Bearer ${API_TOKEN}");
	test_assert_text(buf_view(&fixture.report), "x.yaml:1:7: warning: name: ${API_TOKEN} is left as it stands; "
						    "${env:API_TOKEN} is the environment variable\n"
						    "  name: Bearer ${API_TOKEN}\n"
						    "        ^\n");
	done(&fixture);
	static const char *const silent[] = {"name: ${1}:80\n", "name: ${pod}\n", "name: ${}\n", "name: ${A\n",
		"name: ${\n", "name: $A\n", "name: ${A-B}\n", "name: $${A}\n"};
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		assert_int_equal(load(&fixture, silent[i]), 0);
		assert_int_equal(fixture.problems.count, 0);
		done(&fixture);
	}
}

static void variable_that_is_not_set_gives_a_warning_and_the_default(void **state)
{
	(void)state;
	struct fixture fixture;
	assert_int_equal(load(&fixture, "limit: ${env:NONE}\n"), 0);
	assert_int_equal(fixture.sample.limit, 5);
	test_assert_text(buf_view(&fixture.report),
		"x.yaml:1:8: warning: limit: the environment variable NONE is not set; read as empty\n"
		"  limit: ${env:NONE}\n"
		"         ^\n");
	done(&fixture);
}

static void broken_variables_are_explained(void **state)
{
	(void)state;
	assert_report("name: a ${env:NODE\n", -EINVAL,
		"x.yaml:1:7: error: name: \"${env:NODE\": the closing } is missing\n"
		"  name: a ${env:NODE\n"
		"        ^\n");
	assert_report("name: ${env:1 x}\n", -EINVAL,
		"x.yaml:1:7: error: name: \"${env:1 x}\": expected a variable's name such as ${env:NODE_NAME}\n"
		"  name: ${env:1 x}\n"
		"        ^\n");
}

static void all_mistakes_of_a_file_are_reported_in_its_order(void **state)
{
	(void)state;
	assert_report("rules:\n"
		      "  - acton: keep\n"
		      "    modulus: 200\n"
		      "  - action: keep\n"
		      "    modulus: 13\n"
		      "  -\n"
		      "interval: 30\n"
		      "color: gren\n"
		      "target: {timeout: 2h}\n"
		      "timeout: 5s\n"
		      "labels: [a=b]\n"
		      "hosts: {a: b}\n"
		      "remote_write: []\n"
		      "limit: 1.5\n",
		-EINVAL,
		"x.yaml:2:5: error: rules[0].action: required, but not there; expected a text\n"
		"    - acton: keep\n"
		"      ^\n"
		"x.yaml:2:5: error: rules[0].acton: unknown key; did you mean action? It expects a text\n"
		"    - acton: keep\n"
		"      ^\n"
		"x.yaml:3:14: error: rules[0].modulus: expected a whole number of at most 100, got \"200\"\n"
		"      modulus: 200\n"
		"               ^\n"
		"x.yaml:5:14: error: rules[1].modulus: 13 brings bad luck\n"
		"      modulus: 13\n"
		"               ^\n"
		"x.yaml:6:3: error: rules[2]: expected a mapping with keys such as action, got nothing\n"
		"    -\n"
		"    ^\n"
		"x.yaml:7:11: error: interval: expected a duration such as 30s or 1m30s, got \"30\"; did you mean "
		"30s?\n"
		"  interval: 30\n"
		"            ^\n"
		"x.yaml:8:8: error: color: expected one of red, green, blue, got \"gren\"; did you mean green?\n"
		"  color: gren\n"
		"         ^\n"
		"x.yaml:9:19: error: target.timeout: expected a duration such as 30s or 1m30s from 1s to 1h, got "
		"\"2h\"\n"
		"  target: {timeout: 2h}\n"
		"                    ^\n"
		"x.yaml:10:1: error: timeout: unknown key; target.timeout is known, is that what you mean? Here "
		"expected one of enabled, limit, port, interval, size, ratio, name, password, node, color, hosts, "
		"labels, params, target, rules\n"
		"  timeout: 5s\n"
		"  ^\n"
		"x.yaml:11:9: error: labels: expected a mapping of texts such as {name: value}, got a list\n"
		"  labels: [a=b]\n"
		"          ^\n"
		"x.yaml:12:8: error: hosts: expected a list of texts such as [a, b], got a mapping\n"
		"  hosts: {a: b}\n"
		"         ^\n"
		"x.yaml:13:1: error: remote_write: not yet supported by this version of gleaner\n"
		"  remote_write: []\n"
		"  ^\n"
		"x.yaml:14:8: error: limit: expected a whole number, got \"1.5\"\n"
		"  limit: 1.5\n"
		"         ^\n");
}

static void yaml_beyond_the_plain_language_is_refused(void **state)
{
	(void)state;
	assert_report("name: &n x\npassword: *n\nnode: !!str y\nname: z\n<<: {}\n", -EINVAL,
		"x.yaml:1:7: error: anchors (&name) are not allowed here; write the value where it is needed\n"
		"  name: &n x\n"
		"        ^\n"
		"x.yaml:2:11: error: aliases (*name) are not allowed here; write the value out\n"
		"  password: *n\n"
		"            ^\n"
		"x.yaml:3:7: error: tags (!name) are not allowed here; each key knows the type of its value\n"
		"  node: !!str y\n"
		"        ^\n"
		"x.yaml:4:1: error: name: duplicate key; it stands in line 1 already\n"
		"  name: z\n"
		"  ^\n"
		"x.yaml:5:1: error: <<: merge keys are not allowed; write the keys out\n"
		"  <<: {}\n"
		"  ^\n");
	assert_report("name: x\n---\nname: y\n", -EINVAL,
		"x.yaml:2:1: error: a second document begins here; a configuration file holds one\n"
		"  ---\n"
		"  ^\n");
	assert_report("{[a]: b}", -EINVAL,
		"x.yaml:1:2: error: a key must be a text, not a list or a mapping\n"
		"  {[a]: b}\n"
		"   ^\n");
}

static void syntax_error_has_its_position_and_nothing_else_is_reported(void **state)
{
	(void)state;
	assert_report("nmae: x\nlimit: 1\n  port: 2\n", -EINVAL,
		"x.yaml:2:8: error: YAML: invalid multiline plain key; is the next line indented too far, or with a "
		"tab?\n"
		"  limit: 1\n"
		"         ^\n");
	assert_report("name: \"x\n", -EINVAL,
		"x.yaml:1:8: error: YAML: double-quoted scalar without closing quote\n"
		"  name: \"x\n"
		"         ^\n");
}

static void deep_nesting_stops_at_sixteen_levels(void **state)
{
	(void)state;
	char text[10001];
	memset(text, '[', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	struct fixture fixture;
	assert_int_equal(load(&fixture, text), -EINVAL);
	assert_int_equal(fixture.problems.items[0].column, 17);
	assert_string_equal(fixture.problems.items[0].text, "nested deeper than 16 levels");
	done(&fixture);
}

static void files_that_are_no_text_or_too_large_are_refused(void **state)
{
	(void)state;
	assert_report("name: a\nnode: \xff\n", -EINVAL,
		"x.yaml:2:7: error: not a text file: byte 0xff is not valid here (UTF-8 is expected)\n"
		"  node: \xff\n"
		"        ^\n");
	struct fixture fixture;
	assert_int_equal(load_with(&fixture, SPAN("name: a\0b"), environment), -EINVAL);
	done(&fixture);
	size_t len = ((size_t)1 << 20) + 1;
	char *large = malloc(len);
	memset(large, '#', len);
	assert_int_equal(load_with(&fixture, span_of(large, len), environment), -EINVAL);
	test_assert_text(buf_view(&fixture.report),
		"x.yaml: error: 1048577 bytes; a configuration file may have at most 1 MiB\n");
	done(&fixture);
	free(large);
}

static void only_a_hundred_problems_are_kept(void **state)
{
	(void)state;
	struct buf text;
	buf_init(&text, (size_t)1 << 20);
	for (int i = 0; i < 150; i++)
		buf_printf(&text, "wrong%d: {a: &x 1}\n", i);
	struct fixture fixture;
	assert_int_equal(load_with(&fixture, buf_view(&text), environment), -EINVAL);
	assert_int_equal(fixture.problems.count, 100);
	assert_int_equal(fixture.problems.errors, 150);
	assert_non_null(strstr(fixture.report.ptr, "x.yaml: 50 more errors\n"));
	done(&fixture);
	buf_done(&text);
}

static void caret_stands_right_behind_wide_letters_and_in_long_lines(void **state)
{
	(void)state;
	assert_report("{name: \"\xc3\xa9\xc3\xa9\", limit: x}\n", -EINVAL,
		"x.yaml:1:21: error: limit: expected a whole number, got \"x\"\n"
		"  {name: \"\xc3\xa9\xc3\xa9\", limit: x}\n"
		"                      ^\n");
	struct buf text;
	buf_init(&text, 4096);
	buf_printf(&text, "{name: \"%0300d\", limit: x}\n", 0);
	struct fixture fixture;
	assert_int_equal(load_with(&fixture, buf_view(&text), environment), -EINVAL);
	const char *line = strstr(fixture.report.ptr, "\n  ...");
	const char *caret = strstr(fixture.report.ptr, "^\n");
	const char *below = caret - 1;
	while (*below != '\n')
		below--;
	assert_true(caret - below < 120);
	assert_int_equal(line[caret - below], 'x');
	done(&fixture);
	buf_done(&text);
}

static void wrong_secret_is_not_quoted(void **state)
{
	(void)state;
	static const struct option options[] = {{.name = "pin",
							.kind = OPTION_COUNT,
							.offset = offsetof(struct sample, limit),
							.value = NULL,
							.help = "A secret number.",
							.secret = true},
		{0}};
	static const struct option_table table = {.name = "t", .size = sizeof(struct sample), .options = options};
	struct fixture fixture;
	arena_init(&fixture.arena, (size_t)1 << 20);
	struct config_input input = {.name = "x.yaml", .text = SPAN("pin: hunter2\n"), .get_environment = environment};
	assert_int_equal(config_load(&input, &table, &fixture.arena, &fixture.sample, &fixture.problems), -EINVAL);
	assert_string_equal(fixture.problems.items[0].text, "pin: expected a whole number");
	assert_null(fixture.problems.items[0].source);
	arena_done(&fixture.arena);
}

static void effective_configuration_hides_secrets_and_reads_back(void **state)
{
	(void)state;
	struct fixture fixture, again;
	assert_int_equal(
		load(&fixture,
			"password: hunter2\nname: \"$$$${env:X} - true\"\nhosts: [a, 'true']\nlabels: {'a b': '1'}\n"
			"params: {m: [x]}\ntarget:\nrules: [{action: keep, modulus: 3}, {action: drop}]\n"),
		0);
	struct buf out;
	buf_init(&out, 65536);
	assert_int_equal(config_print(&fixture.sample, &sample_table, &out), 0);
	const char *want = "enabled: true\n"
			   "limit: 5\n"
			   "port: 80\n"
			   "interval: 1m\n"
			   "size: 64KiB\n"
			   "ratio: 0.5\n"
			   "name: \"$$$${env:X} - true\"\n"
			   "password: <secret>\n"
			   "node: node-1\n"
			   "color: green\n"
			   "hosts: [a, \"true\"]\n"
			   "labels:\n"
			   "  \"a b\": \"1\"\n"
			   "params:\n"
			   "  m: [x]\n"
			   "target:\n"
			   "  timeout: 10s\n"
			   "rules:\n"
			   "  - action: keep\n"
			   "    modulus: 3\n"
			   "  - action: drop\n";
	test_assert_text(buf_view(&out), want);
	assert_int_equal(load_with(&again, buf_view(&out), no_environment), 0);
	assert_string_equal(again.sample.name, fixture.sample.name);
	assert_string_equal(again.sample.password, "<secret>");
	done(&again);
	done(&fixture);
	buf_done(&out);
}

static void another_secret_is_another_configuration(void **state)
{
	(void)state;
	struct fixture one, same, other;
	assert_int_equal(load(&one, "password: hunter2\nname: a\n"), 0);
	assert_int_equal(load(&same, "name: a\npassword: 'hunter2'\n"), 0);
	assert_int_equal(load(&other, "password: hunter3\nname: a\n"), 0);
	assert_true(config_same(&one.sample, &same.sample, &sample_table));
	assert_false(config_same(&one.sample, &other.sample, &sample_table));
	done(&one);
	done(&same);
	done(&other);
}

static void documentation_has_every_key_once(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 65536);
	assert_int_equal(config_document(&sample_table, &out), 0);
	buf_char(&out, '\0');
	assert_non_null(strstr(out.ptr, "| `limit` | number | `5` | How many \\| at most. |\n"));
	assert_non_null(strstr(out.ptr, "| `node` | text | `$NODE_NAME` | The node. |\n"));
	assert_non_null(strstr(out.ptr, "| `rules` | list of [rule](#rule) |  | The rules. |\n"));
	assert_non_null(strstr(out.ptr, "\n## rule\n\nOne rule.\n\nWhere: `rules[]`.\n"));
	assert_non_null(strstr(out.ptr, "| `action` | text | required | What to do. |\n"));
	assert_non_null(strstr(out.ptr, "not yet supported by this version: `remote_write`.\n"));
	buf_reset(&out);
	assert_int_equal(config_help(&sample_table, &out), 0);
	buf_char(&out, '\0');
	assert_non_null(strstr(out.ptr, "\n  timeout: 10s  # duration from 1s to 1h. How long.\n"));
	buf_done(&out);
}

static void distance_counts_swapped_neighbours_once(void **state)
{
	(void)state;
	assert_int_equal(suggest_distance(SPAN("timeout"), SPAN("timeout")), 0);
	assert_int_equal(suggest_distance(SPAN("tiemout"), SPAN("timeout")), 1);
	assert_int_equal(suggest_distance(SPAN("scrape-Interval"), SPAN("scrape_interval")), 0);
	assert_int_equal(suggest_distance(SPAN(""), SPAN("abc")), 3);
	assert_int_equal(suggest_distance(SPAN("kitten"), SPAN("sitting")), 3);
	char longer[65];
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(suggest_distance(span_of(longer, sizeof(longer)), SPAN("x")), SIZE_MAX);
	assert_null(config_suggest(SPAN("zebra"), colors));
	assert_string_equal(config_suggest(SPAN("bleu"), colors), "blue");
}

static int attempt_everything(void *arg)
{
	(void)arg;
	struct fixture fixture;
	int result = load(&fixture, "name: ${env:NODE_NAME}\nhosts: [a, b]\nlabels: {a: b}\nparams: {a: [b]}\nrules:\n"
				    "- {action: keep}\n- {acton: keep}\ncolor: grn\ninterval: x\nlimit: ${env:NONE}\n");
	struct buf out;
	buf_init(&out, 65536);
	if (result != -ENOMEM && config_print(&fixture.sample, &sample_table, &out) < 0)
		result = -ENOMEM;
	buf_reset(&out);
	if (result != -ENOMEM && config_document(&sample_table, &out) < 0)
		result = -ENOMEM;
	buf_done(&out);
	done(&fixture);
	return result == -EINVAL ? 0 : result;
}

static void no_memory_is_reported_and_nothing_leaks(void **state)
{
	(void)state;
	test_out_of_memory(attempt_everything, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_text_gives_the_defaults),
		cmocka_unit_test(every_kind_is_read),
		cmocka_unit_test(key_without_a_value_counts_as_not_written),
		cmocka_unit_test(environment_is_put_into_values),
		cmocka_unit_test(dollar_before_anything_else_stays),
		cmocka_unit_test(dollars_of_a_collectors_file_give_a_warning),
		cmocka_unit_test(variable_without_env_gives_a_warning_and_a_group_does_not),
		cmocka_unit_test(variable_that_is_not_set_gives_a_warning_and_the_default),
		cmocka_unit_test(broken_variables_are_explained),
		cmocka_unit_test(all_mistakes_of_a_file_are_reported_in_its_order),
		cmocka_unit_test(yaml_beyond_the_plain_language_is_refused),
		cmocka_unit_test(syntax_error_has_its_position_and_nothing_else_is_reported),
		cmocka_unit_test(deep_nesting_stops_at_sixteen_levels),
		cmocka_unit_test(files_that_are_no_text_or_too_large_are_refused),
		cmocka_unit_test(only_a_hundred_problems_are_kept),
		cmocka_unit_test(caret_stands_right_behind_wide_letters_and_in_long_lines),
		cmocka_unit_test(wrong_secret_is_not_quoted),
		cmocka_unit_test(effective_configuration_hides_secrets_and_reads_back),
		cmocka_unit_test(another_secret_is_another_configuration),
		cmocka_unit_test(documentation_has_every_key_once),
		cmocka_unit_test(distance_counts_swapped_neighbours_once),
		cmocka_unit_test(no_memory_is_reported_and_nothing_leaks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
