/* Why a selector does not match, in words; and that the words agree with the decision. */
#include "monitors_for_test.h"

static const struct label labels[] = {{SPAN("app"), SPAN("api\x1b")}, {SPAN("empty"), SPAN("")}};

static void assert_why(const char *selector, const char *expected)
{
	char spec[1024];
	struct error why = {""};
	snprintf(spec, sizeof(spec), "{'selector':%s,'podMetricsEndpoints':[{'port':'http'}]}", selector);
	struct monitor *monitor = monitor_for_test(MONITOR_POD_MONITOR, spec, &plain_options);
	struct labels of_pod = {labels, ARRAY_SIZE(labels)};
	bool selects = monitor_explain(monitor, SPAN("shop"), of_pod, &why);
	assert_string_equal(why.text, expected);
	assert_int_equal(selects, monitor_selects(monitor, SPAN("shop"), of_pod));
	assert_int_equal(selects, expected[0] == '\0');
	monitor_unref(monitor);
}

#define EXPRESSION(text) "{'matchExpressions':[" text "]}"

static void first_requirement_that_does_not_hold_is_named(void **state)
{
	(void)state;
	assert_why("{}", "");
	assert_why("{'matchLabels':{'app':'web'}}", "label app is \"api%1B\"; it must be \"web\"");
	assert_why("{'matchLabels':{'zone':'a'}}", "label zone is not there; it must be \"a\"");
	assert_why("{'matchLabels':{'empty':'x'}}", "label empty is \"\"; it must be \"x\"");
	assert_why(EXPRESSION("{'key':'zone','operator':'NotIn','values':['a']}"), "");
	assert_why(EXPRESSION("{'key':'empty','operator':'In','values':['a','b']}"),
		"label empty is \"\"; it must be one of \"a, b\"");
	assert_why(EXPRESSION("{'key':'empty','operator':'NotIn','values':['','b']}"),
		"label empty is \"\"; it must be none of \", b\"");
	assert_why(EXPRESSION("{'key':'zone','operator':'Exists'}"), "label zone is not there; it must be there");
	assert_why(
		EXPRESSION("{'key':'empty','operator':'DoesNotExist'}"), "label empty is \"\"; it must not be there");
}

static void namespace_that_is_not_reached_is_named(void **state)
{
	(void)state;
	struct error why = {""};
	struct monitor *monitor = monitor_for_test(
		MONITOR_POD_MONITOR, "{'selector':{},'podMetricsEndpoints':[{'port':'http'}]}", &plain_options);
	assert_false(monitor_explain(monitor, SPAN("other"), (struct labels){0}, &why));
	assert_string_equal(why.text, "its namespaceSelector does not have namespace other, only shop");
	monitor_unref(monitor);
}

static void service_without_selector_selects_nothing(void **state)
{
	(void)state;
	struct error why = {""};
	struct monitor_service service = {.name = SPAN("web")};
	assert_false(monitor_service_explain(&service, (struct labels){labels, 2}, &why));
	assert_string_equal(why.text, "it has no selector");
	service.selector = (struct labels){labels, 1};
	assert_true(monitor_service_explain(&service, (struct labels){labels, 2}, &why));
	assert_false(monitor_service_explain(&service, (struct labels){labels + 1, 1}, &why));
	assert_string_equal(why.text, "label app is not there; it must be \"api%1B\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_requirement_that_does_not_hold_is_named),
		cmocka_unit_test(namespace_that_is_not_reached_is_named),
		cmocka_unit_test(service_without_selector_selects_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
