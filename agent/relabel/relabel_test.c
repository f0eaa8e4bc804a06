/* Relabelling, rule by rule. The cases from "a_match_..." to "the_type_..." restate the inputs and results of Prometheus' own relabelling
 * tests (prometheus/prometheus, model/relabel/relabel_test.go, Apache-2.0). */
#include "case.h"
#include "md5.h"
#include "re2_shim.h"
#include "test.h"

#include "gleaner/relabel.h"

#include <errno.h>
#include <stdio.h>

#define SOURCES(...)                                                                                                   \
	.source_labels = {.items = (const char *[]){__VA_ARGS__},                                                      \
		.count = sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)}

/* One rule, applied or refused. */
struct scene {
	const char *before, *after; /* "a=1|b=2", sorted; after NULL: dropped */
	struct relabel_rule rules[4];
	size_t count;
};
#define RULES(...)                                                                                                     \
	.rules = {__VA_ARGS__}, .count = sizeof((struct relabel_rule[]){__VA_ARGS__}) / sizeof(struct relabel_rule)

static void set_labels(struct labels_builder *builder, const char *text)
{
	struct span rest = span_str(text), pair, name;
	while (span_next(&rest, '|', &pair)) {
		struct span value = pair;
		if (span_next(&value, '=', &name))
			labels_set(builder, name, value);
	}
}

static void print_labels(const struct labels_builder *builder, struct buf *out)
{
	struct labels labels = labels_builder_view(builder);
	for (size_t i = 0; i < labels.count; i++)
		buf_printf(out, "%s%.*s=%.*s", i ? "|" : "", SPAN_ARGS(labels.items[i].name),
			SPAN_ARGS(labels.items[i].value));
}

static void play(const struct scene *scene)
{
	struct error err = {""};
	struct relabel *relabel = NULL;
	struct arena arena;
	struct labels_builder builder;
	struct buf out;
	arena_init(&arena, 1 << 20);
	buf_init(&out, 1 << 16);
	labels_builder_init(&builder, &arena);
	set_labels(&builder, scene->before);
	int result = relabel_compile(scene->rules, scene->count, &relabel, &err);
	if (result < 0)
		fail_msg("%s: %s", scene->before, err.text);
	result = relabel_apply(relabel, &builder, NULL);
	assert_int_equal(result, scene->after != NULL);
	if (scene->after) {
		print_labels(&builder, &out);
		test_assert_text(buf_view(&out), scene->after);
	}
	buf_done(&out);
	relabel_free(relabel);
	arena_done(&arena);
}

static void play_all(const struct scene *scenes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		play(&scenes[i]);
}

/* The text of the error, or "" when the rule is accepted. Static: one caller at a time. */
static const char *refusal(struct relabel_rule rule, struct error *err)
{
	struct relabel *relabel = NULL;
	*err = (struct error){""};
	int result = relabel_compile(&rule, 1, &relabel, err);
	assert_int_equal(result, err->text[0] ? -EINVAL : 0);
	relabel_free(relabel);
	return err->text;
}

/* ---- Prometheus' own cases ---------------------------------------------------- */

static void a_match_sets_the_target_and_a_missing_one_changes_nothing(void **state)
{
	(void)state;
	const struct scene scenes[] = {
		{"a=foo|b=bar|c=baz", "a=foo|b=bar|c=baz|d=choo-choo",
			RULES({SOURCES("a"), .regex = "f(.*)", .target_label = "d", .replacement = "ch${1}-ch${1}"})},
		{"a=foo|b=bar|c=baz", "a=boobam|b=bar|c=baz|d=boooom",
			RULES({SOURCES("a", "b"), .regex = "f(.*);(.*)r", .target_label = "a",
				      .replacement = "b${1}${2}m"},
				{SOURCES("c", "a"), .regex = "(b).*b(.*)ba(.*)", .target_label = "d",
					.replacement = "$1$2$2$3"})},
		{"a=abc", "a=abc|d=b", RULES({SOURCES("a"), .regex = ".*(b).*", .target_label = "d"})},
		{"a=boo", "a=boo", RULES({SOURCES("a"), .regex = "f", .target_label = "b", .replacement = "bar"})},
		{"a=some-name-value", "a=some-name-value|name=value",
			RULES({SOURCES("a"), .regex = "some-([^-]+)-([^,]+)", .target_label = "${1}",
				.replacement = "${2}"})},
		{"a=some-name-value", "a=some-name-value",
			RULES({SOURCES("a"), .regex = "some-([^-]+)-([^,]+)", .target_label = "${1}",
				.replacement = "${3}"})},
		{"a=some-name-0", "a=some-name-0",
			RULES({SOURCES("a"), .regex = "some-([^-]+)-([^,]+)", .target_label = "${3}",
				      .replacement = "${1}"},
				{SOURCES("a"), .regex = "some-([^-]+)-([^,]+)", .target_label = "${3}",
					.replacement = "${1}"},
				{SOURCES("a"), .regex = "some-([^-]+)(-[^,]+)", .target_label = "${3}",
					.replacement = "${1}"})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void keep_and_drop_go_by_the_whole_value(void **state)
{
	(void)state;
	const struct scene scenes[] = {
		{"a=foo", NULL,
			RULES({SOURCES("a"), .regex = ".*o.*", .action = RELABEL_DROP},
				{SOURCES("a"), .regex = "f(.*)", .target_label = "d", .replacement = "ch$1-ch$1"})},
		{"a=foo|b=bar", NULL, RULES({SOURCES("a"), .regex = ".*o.*", .action = RELABEL_DROP})},
		{"a=foo", "a=foo", RULES({SOURCES("a"), .regex = "no-match", .action = RELABEL_DROP})},
		{"a=foo", "a=foo", RULES({SOURCES("a"), .regex = "f|o", .action = RELABEL_DROP})},
		{"a=foo", NULL, RULES({SOURCES("a"), .regex = "no-match", .action = RELABEL_KEEP})},
		{"a=foo", "a=foo", RULES({SOURCES("a"), .regex = "f.*", .action = RELABEL_KEEP})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void keepequal_and_dropequal_compare_two_labels(void **state)
{
	(void)state;
#define PORTS "__port1=1234|__port2=5678|__tmp_port=1234"
	const struct scene scenes[] = {
		{PORTS, PORTS, RULES({SOURCES("__tmp_port"), .target_label = "__port1", .action = RELABEL_KEEPEQUAL})},
		{PORTS, NULL, RULES({SOURCES("__tmp_port"), .target_label = "__port1", .action = RELABEL_DROPEQUAL})},
		{PORTS, PORTS, RULES({SOURCES("__tmp_port"), .target_label = "__port2", .action = RELABEL_DROPEQUAL})},
		{PORTS, NULL, RULES({SOURCES("__tmp_port"), .target_label = "__port2", .action = RELABEL_KEEPEQUAL})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void hashmod_is_md5_of_the_value_modulo(void **state)
{
	(void)state;
	const struct scene scenes[] = {
		{"a=foo|b=bar|c=baz", "a=foo|b=bar|c=baz|d=976",
			RULES({SOURCES("c"), .target_label = "d", .modulus = 1000, .action = RELABEL_HASHMOD})},
		{"a=foo\nbar", "a=foo\nbar|b=734",
			RULES({SOURCES("a"), .target_label = "b", .modulus = 1000, .action = RELABEL_HASHMOD})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void labelmap_copies_and_labeldrop_labelkeep_remove_by_name(void **state)
{
	(void)state;
	const struct scene scenes[] = {
		{"a=foo|b1=bar|b2=baz", "a=foo|b1=bar|b2=baz|bar_b1=bar|bar_b2=baz",
			RULES({.regex = "(b.*)", .replacement = "bar_${1}", .action = RELABEL_LABELMAP})},
		{"__meta_my_bar=aaa|__meta_my_baz=bbb|__meta_other=ccc|a=foo",
			"__meta_my_bar=aaa|__meta_my_baz=bbb|__meta_other=ccc|a=foo|my_bar=aaa|my_baz=bbb",
			RULES({.regex = "__meta_(my.*)", .replacement = "${1}", .action = RELABEL_LABELMAP})},
		{"a=foo|b1=bar|b2=baz", "b1=bar|b2=baz", RULES({.regex = "(b.*)", .action = RELABEL_LABELKEEP})},
		{"a=foo|b1=bar|b2=baz", "a=foo", RULES({.regex = "(b.*)", .action = RELABEL_LABELDROP})},
		{"__meta_kubernetes_pod_annotation_XXX_metrics_port=9091|__meta_kubernetes_pod_container_port_name=foo",
			"__meta_kubernetes_pod_annotation_XXX_metrics_port=9091|__meta_kubernetes_pod_container_port_"
			"name=metrics",
			RULES({.regex = "^__meta_kubernetes_pod_container_port_name$", .action = RELABEL_LABELDROP},
				{SOURCES("__meta_kubernetes_pod_annotation_XXX_metrics_port"), .regex = "(.+)",
					.replacement = "metrics",
					.target_label = "__meta_kubernetes_pod_container_port_name"},
				{SOURCES("__meta_kubernetes_pod_container_port_name"), .regex = "^metrics$",
					.action = RELABEL_KEEP})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void tags_become_labels(void **state)
{
	(void)state;
	const struct scene scene = {"__meta_sd_tags=path:/secret,job:some-job,label:foo=bar",
		"__meta_sd_tags=path:/secret,job:some-job,label:foo=bar|__metrics_path__=/secret|foo=bar|job=some-job",
		RULES({SOURCES("__meta_sd_tags"), .regex = "(?:.+,|^)path:(/[^,]+).*", .replacement = "${1}",
			      .target_label = "__metrics_path__"},
			{SOURCES("__meta_sd_tags"), .regex = "(?:.+,|^)job:([^,]+).*", .replacement = "${1}",
				.target_label = "job"},
			{SOURCES("__meta_sd_tags"), .regex = "(?:.+,|^)label:([^=]+)=([^,]+).*", .replacement = "${2}",
				.target_label = "${1}"})};
	play(&scene);
}

static void lower_and_upper_case_go_to_the_target(void **state)
{
	(void)state;
	const struct scene scene = {"foo=bAr123Foo", "foo=bAr123Foo|foo_lowercase=bar123foo|foo_uppercase=BAR123FOO",
		RULES({SOURCES("foo"), .target_label = "foo_uppercase", .action = RELABEL_UPPERCASE},
			{SOURCES("foo"), .target_label = "foo_lowercase", .action = RELABEL_LOWERCASE})};
	play(&scene);
}

static void the_dot_matches_a_newline_and_names_may_be_utf8(void **state)
{
	(void)state;
#define LINES "line1\nline2"
	const struct scene scenes[] = {
		{"a=" LINES, "a=" LINES "|d=match",
			RULES({SOURCES("a"), .regex = "line1.*line2", .target_label = "d",
				.replacement = "match${1}"})},
		{"b=bar|utf-8.label=" LINES, "b=bar|d=match|utf-8.label=" LINES,
			RULES({SOURCES("utf-8.label"), .regex = "line1.*line2", .target_label = "d",
				.replacement = "match${1}"})},
		{"a=" LINES, "a=" LINES "|utf-8.label=match",
			RULES({SOURCES("a"), .regex = "line1.*line2", .target_label = "utf-8.label",
				.replacement = "match${1}"})},
		{"a=" LINES, "a=" LINES "|utf-8.label=match",
			RULES({SOURCES("a"), .regex = "line1.*line2", .target_label = "utf-8.label${1}",
				.replacement = "match${1}"})},
		{"a=" LINES, "a=" LINES "|label1_line1=val_line2|label2_line1=val_line2",
			RULES({SOURCES("a"), .regex = "(line1).*(?<second>line2)", .target_label = "label1_${1}",
				      .replacement = "val_${second}"},
				{SOURCES("a"), .regex = "(line1).*(?<second>line2)", .target_label = "label2_$1",
					.replacement = "val_$second"})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void the_type_and_unit_of_a_series_can_be_set(void **state)
{
	(void)state;
	const struct scene scenes[] = {
		{"__name__=http_requests_total", "__name__=http_requests_total|__type__=counter",
			RULES({SOURCES("__name__"), .regex = ".*_total$", .target_label = "__type__",
				.replacement = "counter"})},
		{"__name__=disk_usage_bytes", "__name__=disk_usage_bytes|__unit__=bytes",
			RULES({SOURCES("__name__"), .regex = ".*_bytes$", .target_label = "__unit__",
				.replacement = "bytes"})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void rules_are_validated_as_prometheus_does(void **state)
{
	(void)state;
	struct error err;
	static const char regex[] = "some-([^-]+)-([^,]+)";
	assert_non_null(strstr(refusal((struct relabel_rule){.action = 99}, &err), "unknown action"));
	assert_non_null(strstr(refusal((struct relabel_rule){.action = RELABEL_REPLACE}, &err),
		"rule 0: target_label: action replace needs a target_label"));
	assert_non_null(strstr(refusal((struct relabel_rule){.action = RELABEL_LOWERCASE}, &err),
		"action lowercase needs a target_label"));
	/* Any UTF-8 is a label name, `$` too; only replace expands it. */
	assert_string_equal(
		refusal((struct relabel_rule){.action = RELABEL_LOWERCASE, .replacement = "$1", .target_label = "${3}"},
			&err),
		"");
	static const char *const targets[] = {"${3}", "0${3}", "-${3}"};
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		assert_string_equal(refusal((struct relabel_rule){SOURCES("a"), .regex = regex, .replacement = "${1}",
						    .target_label = targets[i]},
					    &err),
			"");
	assert_string_equal(refusal((struct relabel_rule){.regex = "__meta_kubernetes_pod_label_(strimzi_io_.+)",
					    .replacement = "$1",
					    .action = RELABEL_LABELMAP},
				    &err),
		"");
	assert_string_equal(refusal(
				    (struct relabel_rule){
					    .regex = "__meta_(.+)", .replacement = "${1}", .action = RELABEL_LABELMAP},
				    &err),
		"");
	assert_non_null(strstr(
		refusal((struct relabel_rule){.action = RELABEL_HASHMOD, .target_label = "a"}, &err), "modulus"));
}

static void every_target_template_that_legacy_names_restrict_is_accepted(void **state)
{
	(void)state;
	static const char *const targets[] = {"-label", "label", "label${1}", "${1}label", "${1}", "${", "$", "${}",
		"foo${", "$1", "asd$2asd", "-foo${1}bar-", "bar.foo${1}bar", "_${1}_", "foo${bar}foo"};
	struct error err;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		assert_string_equal(refusal((struct relabel_rule){.target_label = targets[i]}, &err), "");
}

/* ---- our own ------------------------------------------------------------------- */

static void keys_that_an_action_has_no_use_for_are_refused(void **state)
{
	(void)state;
	struct error err;
	const struct {
		struct relabel_rule rule;
		const char *want;
	} cases[] = {
		{{.action = RELABEL_KEEPEQUAL, .target_label = "a", .regex = "x"},
			"action keepequal has no use for regex"},
		{{.action = RELABEL_DROPEQUAL, .target_label = "a", .separator = ","}, "no use for separator"},
		{{.action = RELABEL_DROPEQUAL, .target_label = "a", .modulus = 3}, "no use for modulus"},
		{{.action = RELABEL_KEEPEQUAL, .target_label = "a", .replacement = ""}, "no use for replacement"},
		{{.action = RELABEL_UPPERCASE, .target_label = "a", .replacement = "x"}, "no use for replacement"},
		{{.action = RELABEL_LABELDROP, SOURCES("a")}, "action labeldrop has no use for source_labels"},
		{{.action = RELABEL_LABELKEEP, .target_label = "a"}, "action labelkeep has no use for target_label"},
		{{.action = RELABEL_LABELKEEP, .separator = ""}, "no use for separator"},
		{{.action = RELABEL_LABELMAP, .replacement = ""}, "gives no label name"},
		{{.target_label = "a\xff"}, "`a%FF` is not a label name"},
		{{.target_label = "a", SOURCES("b", "")}, "source_labels: `` is not a label name"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_non_null(strstr(refusal(cases[i].rule, &err), cases[i].want));
}

static void what_go_refuses_as_a_regex_is_refused(void **state)
{
	(void)state;
	static const char *const patterns[] = {"(a", "a**", "a++", "a*+", "(?>a)", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)",
		"(a)\\1", "\\Z", "\\h", "\\K", "\\R", "\\X", "(?#x)", "a{1001}", "(a{1000}){1000}", "\\C", "a\\Cb",
		"(?P<n>a)(?P<n>b)", "(?<n>a)|(?<n>b)", "(?P<\xc3\xa9>a)", "[b-a]", "a\xff"};
	struct error err;
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct relabel_rule rule = {.action = RELABEL_KEEP, .regex = patterns[i]};
		if (!strstr(refusal(rule, &err), "rule 0: regex: "))
			fail_msg("`%s` is accepted", patterns[i]);
	}
	char longest[REGEX_MAX_PATTERN + 2];
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	struct relabel_rule rule = {.action = RELABEL_KEEP, .regex = longest};
	assert_string_equal(refusal(rule, &err), "rule 0: regex: longer than 4096 bytes");
	longest[REGEX_MAX_PATTERN] = '\0';
	assert_string_equal(refusal(rule, &err), "");
}

static void regexes_have_a_ceiling_together(void **state)
{
	(void)state;
	struct relabel_rule rules[60];
	struct relabel *relabel = NULL;
	struct error err = {""};
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		rules[i] = (struct relabel_rule){.action = RELABEL_KEEP, .regex = "(\\pL{9}){3}"};
	assert_int_equal(relabel_compile(rules, 1, &relabel, &err), 0);
	assert_in_range(relabel_cost(relabel), 10000, 50000);
	relabel_free(relabel);
	assert_int_equal(relabel_compile(rules, ARRAY_SIZE(rules), &relabel, &err), -EINVAL);
	assert_string_equal(err.text, "rule 30: the regular expressions so far are too large together");
	assert_int_equal(relabel_cost(NULL), 0);
}

static void what_go_takes_as_a_regex_is_taken(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *text;
		bool match;
	} cases[] = {
		{"(?i)abc", "AbC", true},
		{"\\pL+", "\xc3\xa9t\xc3\xa9", true},
		{"\\p{Greek}", "\xce\xb1", true},
		{"\\Aa\\z", "a", true},
		{"\\Q(?<n>\\E", "(?<n>", true}, /* nothing is rewritten within \Q..\E */
		{"[(?<n>]+", "n<", true},       /* nor within a class */
		{"[]a[:digit:]\\]]+(?<x>b)", "]1]ab", true},
		{"\\(?<n>", "(<n>", true}, /* nor after a backslash */
		{"[[:word:]]+", "a_1", true},
		{"(?<n>a|(?<m>b))", "b", true},
		{"a|ab", "ab", true}, /* the whole text, whichever branch */
		{"a$", "a\n", false}, /* `$` is the end of the text only */
		{"a.b", "a\nb", true},
		{"(?-s)a.b", "a\nb", false},
		{"", "", true},
		{"", "a", false},
		{".", "\xf0\x9f\x98\x80", true},
		{".", "\xff", false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct regex *regex = NULL;
		char reason[128] = "";
		int result = regex_new(cases[i].pattern, strlen(cases[i].pattern), &regex, reason, sizeof(reason));
		if (result < 0)
			fail_msg("`%s`: %s", cases[i].pattern, reason);
		if (regex_match(regex, cases[i].text, strlen(cases[i].text), 0) != cases[i].match)
			fail_msg("`%s` on `%s`", cases[i].pattern, cases[i].text);
		regex_free(regex);
	}
}

static void hostile_patterns_are_answered_in_linear_time(void **state)
{
	(void)state;
	static const char subject[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
	static const char *const patterns[] = {
		"(a+)+", "(a|aa)+", "(.*a){12}", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a?){30}a{30}"};
	uint64_t began = clock_system().mono_ns(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct regex *regex = NULL;
		char reason[128];
		assert_int_equal(regex_new(patterns[i], strlen(patterns[i]), &regex, reason, sizeof(reason)), 0);
		assert_int_equal(regex_match(regex, subject, sizeof(subject) - 1, 1), 0);
		regex_free(regex);
	}
	/* Microseconds; a backtracking matcher needs years. The bound only has to tell those apart. */
	assert_true(clock_system().mono_ns(NULL) - began < 5 * NS_PER_SEC);
}

static void dollars_expand_by_gos_rules(void **state)
{
	(void)state;
	static const struct {
		const char *replacement, *want; /* want NULL: empty, the label is deleted */
	} cases[] = {
		{"$1", "x"},
		{"${1}", "x"},
		{"$0", "xy"},
		{"$name", "y"},
		{"${name}", "y"},
		{"$1x", NULL}, /* group "1x" */
		{"${1}x", "xx"},
		{"a$1-$2b$2", "ax-y"}, /* $2b is a group that does not exist */
		{"$$", "$"},
		{"a$$1b", "a$1b"},
		{"$$$1", "$x"},
		{"$", "$"},
		{"a$-b", "a$-b"},
		{"${", "${"},
		{"${}", "${}"},
		{"${1", "${1"},
		{"${1-}$2", "${1-}y"},
		{"$9", NULL},
		{"$01", NULL},
		{"${unknown}", NULL},
		{"$99999999999999999999", NULL},
		{"$1\xc3\xa9", NULL}, /* a letter goes on with the name */
		{"plain", "plain"},
		{"", NULL},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char after[64];
		snprintf(after, sizeof(after), "a=xy%s%s", cases[i].want ? "|b=" : "",
			cases[i].want ? cases[i].want : "");
		struct scene scene = {"a=xy|b=old", after,
			RULES({SOURCES("a"), .regex = "(.)(?P<name>.)", .target_label = "b",
				.replacement = cases[i].replacement})};
		play(&scene);
	}
}

static void values_are_joined_and_absent_labels_are_empty(void **state)
{
	(void)state;
	const struct scene scenes[] = {
		{"a=1|c=3", "a=1|c=3|d=1;;3", RULES({SOURCES("a", "b", "c"), .target_label = "d"})},
		{"a=1|c=3", "a=1|c=3|d=13", RULES({SOURCES("a", "c"), .separator = "", .target_label = "d"})},
		{"a=1", "a=1|d=static", RULES({.target_label = "d", .replacement = "static"})},
		{"a=1|d=2", "a=1", RULES({SOURCES("b"), .target_label = "d"})},
		{"a=1|d=2", "a=1", RULES({SOURCES("a"), .target_label = "d", .replacement = ""})},
		{"a=1", NULL, RULES({SOURCES("b"), .regex = "", .action = RELABEL_DROP})},
		{"a=1", "a=1", RULES({SOURCES("b", "c"), .target_label = "a", .regex = ";", .action = RELABEL_KEEP})},
		{"a=1", "a=1", RULES({SOURCES("b"), .target_label = "c", .action = RELABEL_KEEPEQUAL})},
		{"a=1|b=x", "a=1", RULES({SOURCES("c"), .target_label = "b", .action = RELABEL_UPPERCASE})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void labelmap_does_not_see_what_it_made(void **state)
{
	(void)state;
	const struct scene scenes[] = {
		{"a=1|aa=2", "a=1|aa=1|aaa=2",
			RULES({.regex = "(a+)", .replacement = "a$1", .action = RELABEL_LABELMAP})},
		/* A rule whose new name is empty makes nothing. */
		{"a=1", "a=1", RULES({.regex = "a()", .replacement = "$1", .action = RELABEL_LABELMAP})},
	};
	play_all(scenes, ARRAY_SIZE(scenes));
}

static void the_rule_that_dropped_is_told(void **state)
{
	(void)state;
	struct relabel_rule rules[] = {{SOURCES("a"), .target_label = "b"},
		{SOURCES("b"), .regex = "1", .action = RELABEL_DROP}, {.target_label = "c", .replacement = "x"}};
	struct relabel *relabel = NULL;
	struct arena arena;
	struct labels_builder builder;
	size_t rule = 99;
	arena_init(&arena, 1 << 16);
	labels_builder_init(&builder, &arena);
	labels_set(&builder, SPAN("a"), SPAN("1"));
	assert_int_equal(relabel_compile(rules, 3, &relabel, NULL), 0);
	assert_int_equal(relabel_apply(relabel, &builder, &rule), 0);
	assert_int_equal(rule, 1);
	relabel_free(relabel);
	arena_done(&arena);
}

static void no_rules_keep_everything(void **state)
{
	(void)state;
	struct relabel *relabel = (struct relabel *)&relabel;
	struct labels_builder builder;
	struct arena arena;
	arena_init(&arena, 1 << 16);
	labels_builder_init(&builder, &arena);
	assert_int_equal(relabel_compile(NULL, 0, &relabel, NULL), 0);
	assert_null(relabel);
	assert_int_equal(relabel_apply(NULL, &builder, NULL), 1);
	arena_done(&arena);
}

static void case_mapping_covers_unicode(void **state)
{
	(void)state;
	static const struct {
		const char *text, *upper, *lower;
	} cases[] = {
		{"", "", ""},
		{"stra\xc3\x9f"
		 "e",
			"STRA\xc3\x9f"
			"E",
			"stra\xc3\x9f"
			"e"}, /* no letter becomes two */
		{"\xc3\x89t\xc3\xa9", "\xc3\x89T\xc3\x89", "\xc3\xa9t\xc3\xa9"},
		{"\xce\x91\xce\xb1\xcf\x82", "\xce\x91\xce\x91\xce\xa3", "\xce\xb1\xce\xb1\xcf\x82"},
		{"\xd0\x96\xd0\xb6", "\xd0\x96\xd0\x96", "\xd0\xb6\xd0\xb6"},
		{"\xc8\xbf", "\xe2\xb1\xbe", "\xc8\xbf"},                                 /* two bytes to three */
		{"\xf0\x90\x90\x80", "\xf0\x90\x90\x80", "\xf0\x90\x90\xa8"},             /* Deseret: four bytes */
		{"\xe4\xb8\xad\xff\xc3", "\xe4\xb8\xad\xff\xc3", "\xe4\xb8\xad\xff\xc3"}, /* no case, no UTF-8 */
	};
	struct arena arena;
	arena_init(&arena, 1 << 16);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		test_assert_text(case_upper(&arena, span_str(cases[i].text)), cases[i].upper);
		test_assert_text(case_lower(&arena, span_str(cases[i].text)), cases[i].lower);
	}
	arena_done(&arena);
}

static void md5_gives_the_digests_of_rfc_1321(void **state)
{
	(void)state;
	static const struct {
		const char *text, *digest;
	} cases[] = {
		{"", "d41d8cd98f00b204e9800998ecf8427e"},
		{"a", "0cc175b9c0f1b6a831c399e269772661"},
		{"abc", "900150983cd24fb0d6963f7d28e17f72"},
		{"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
		{"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
		{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"},
		{"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
			"57edf4a22be3c955ac49da2e2107b67a"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned char digest[16];
		char text[33];
		md5(span_str(cases[i].text), digest);
		for (size_t j = 0; j < 16; j++)
			snprintf(text + 2 * j, 3, "%02x", digest[j]);
		assert_string_equal(text, cases[i].digest);
	}
}

static void the_option_table_points_at_the_key(void **state)
{
	(void)state;
	struct relabel_rule rule = {.regex = "(a", .separator = ";", .replacement = "$1", .target_label = "a"};
	const char *key = NULL;
	struct error err = {""};
	assert_int_equal(relabel_rule_table.check(&rule, NULL, &key, &err), -EINVAL);
	assert_string_equal(key, "regex");
	assert_non_null(strstr(err.text, "missing )"));
	rule.regex = "(a)";
	rule.target_label = NULL;
	assert_int_equal(relabel_rule_table.check(&rule, NULL, &key, &err), -EINVAL);
	assert_string_equal(key, "target_label");
	rule.target_label = "b";
	assert_int_equal(relabel_rule_table.check(&rule, NULL, &key, &err), 0);
}

static int attempt(void *arg)
{
	(void)arg;
	const struct relabel_rule rules[] = {
		{SOURCES("a", "b"), .regex = "(.*);(.*)", .target_label = "x${1}", .replacement = "<$2$1>"},
		{SOURCES("a"), .target_label = "h", .modulus = 7, .action = RELABEL_HASHMOD},
		{SOURCES("a"), .target_label = "u", .action = RELABEL_UPPERCASE},
		{.regex = "(.)", .replacement = "m_$1", .action = RELABEL_LABELMAP},
		{.regex = "b", .action = RELABEL_LABELDROP},
	};
	struct relabel *relabel = NULL;
	struct arena arena;
	struct labels_builder builder;
	arena_init(&arena, 1 << 20);
	labels_builder_init(&builder, &arena);
	int result = relabel_compile(rules, ARRAY_SIZE(rules), &relabel, NULL);
	if (result == 0)
		result = labels_set(&builder, SPAN("a"), SPAN("1"));
	if (result == 0)
		result = labels_set(&builder, SPAN("b"), SPAN("2"));
	if (result == 0) {
		result = relabel_apply(relabel, &builder, NULL);
		result = result < 0 ? result : 0;
	}
	relabel_free(relabel);
	arena_done(&arena);
	return result;
}

static void running_out_of_memory_fails_cleanly(void **state)
{
	(void)state;
	test_out_of_memory(attempt, NULL);
}

static void a_rule_is_one_line_without_its_defaults(void **state)
{
	(void)state;
	const char *sources[] = {"a", "b\n"};
	static const struct {
		struct relabel_rule rule;
		const char *text;
	} cases[] = {
		{{.action = RELABEL_KEEP, .regex = "x\"y", .separator = ";"}, "keep [a, b%0A] =~ \"x\\\"y\""},
		{{.action = RELABEL_REPLACE,
			 .regex = "(.*)",
			 .target_label = "t",
			 .replacement = "$1",
			 .separator = "@"},
			"replace [a, b%0A] separator \"@\" -> t"},
		{{.action = RELABEL_HASHMOD, .modulus = 8, .target_label = "t"}, "hashmod [a, b%0A] % 8 -> t"},
		{{.action = 99}, "? [a, b%0A]"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct relabel_rule rule = cases[i].rule;
		struct buf text;
		rule.source_labels = (struct option_strings){sources, 2};
		buf_init(&text, 256);
		assert_int_equal(relabel_rule_text(&rule, &text), 0);
		test_assert_text(buf_view(&text), cases[i].text);
		buf_done(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_match_sets_the_target_and_a_missing_one_changes_nothing),
		cmocka_unit_test(keep_and_drop_go_by_the_whole_value),
		cmocka_unit_test(keepequal_and_dropequal_compare_two_labels),
		cmocka_unit_test(hashmod_is_md5_of_the_value_modulo),
		cmocka_unit_test(labelmap_copies_and_labeldrop_labelkeep_remove_by_name),
		cmocka_unit_test(tags_become_labels),
		cmocka_unit_test(lower_and_upper_case_go_to_the_target),
		cmocka_unit_test(the_dot_matches_a_newline_and_names_may_be_utf8),
		cmocka_unit_test(the_type_and_unit_of_a_series_can_be_set),
		cmocka_unit_test(rules_are_validated_as_prometheus_does),
		cmocka_unit_test(every_target_template_that_legacy_names_restrict_is_accepted),
		cmocka_unit_test(keys_that_an_action_has_no_use_for_are_refused),
		cmocka_unit_test(what_go_refuses_as_a_regex_is_refused),
		cmocka_unit_test(regexes_have_a_ceiling_together),
		cmocka_unit_test(what_go_takes_as_a_regex_is_taken),
		cmocka_unit_test(hostile_patterns_are_answered_in_linear_time),
		cmocka_unit_test(dollars_expand_by_gos_rules),
		cmocka_unit_test(values_are_joined_and_absent_labels_are_empty),
		cmocka_unit_test(labelmap_does_not_see_what_it_made),
		cmocka_unit_test(the_rule_that_dropped_is_told),
		cmocka_unit_test(no_rules_keep_everything),
		cmocka_unit_test(case_mapping_covers_unicode),
		cmocka_unit_test(md5_gives_the_digests_of_rfc_1321),
		cmocka_unit_test(the_option_table_points_at_the_key),
		cmocka_unit_test(a_rule_is_one_line_without_its_defaults),
		cmocka_unit_test(running_out_of_memory_fails_cleanly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
