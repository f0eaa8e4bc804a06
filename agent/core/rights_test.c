/* Which rights are asked for, and what is said of those that are missing. */
#include "internal.h"
#include "test.h"

static void assert_rules(const struct rights_doubts *doubts, const char *expected)
{
	struct kube_rule rules[RIGHTS_RULES_MAX];
	struct buf out;
	size_t count = rights_rules(doubts, rules);
	buf_init(&out, 4096);
	for (size_t i = 0; i < count; i++)
		buf_printf(&out, "%s %s%s%s%s%s\n", rules[i].verb, rules[i].resource, rules[i].subresource ? "/" : "",
			rules[i].subresource ? rules[i].subresource : "", rules[i].group[0] ? "." : "", rules[i].group);
	test_assert_text(out.len ? buf_view(&out) : SPAN(""), expected);
	buf_done(&out);
}

static void what_works_is_not_asked_for(void **state)
{
	(void)state;
	const struct rights_doubts none = {0};
	assert_rules(&none, "");
}

static void each_doubt_has_its_rules(void **state)
{
	(void)state;
	const struct rights_doubts all = {true, true, true, {true, true, true, true, true}};
	assert_rules(&all, "get nodes/pods\nget nodes/metrics\n"
			   "list servicemonitors.monitoring.coreos.com\nwatch servicemonitors.monitoring.coreos.com\n"
			   "list podmonitors.monitoring.coreos.com\nwatch podmonitors.monitoring.coreos.com\n"
			   "list scrapeconfigs.monitoring.coreos.com\nwatch scrapeconfigs.monitoring.coreos.com\n"
			   "list services\nwatch services\nlist namespaces\nwatch namespaces\nlist pods\nwatch pods\n");
	const struct rights_doubts services = {.resources[MONITOR_SERVICES] = true};
	assert_rules(&services, "list services\nwatch services\n");
}

static void missing_rights_are_shown_as_yaml(void **state)
{
	(void)state;
	struct rights rights = {.missing = {false, true}, .missing_count = 1};
	const struct rights_doubts services = {.resources[MONITOR_SERVICES] = true};
	struct buf out;
	rights.count = rights_rules(&services, rights.rules);
	buf_init(&out, 4096);
	rights_json(&rights, &out);
	test_assert_text(buf_view(&out),
		",\"missingRights\":\"apiVersion: rbac.authorization.k8s.io/v1\\nkind: ClusterRole\\nmetadata:\\n  "
		"name: "
		"gleaner-missing\\nrules:\\n- apiGroups: [\\\"\\\"]\\n  resources: [\\\"services\\\"]\\n  verbs: "
		"[\\\"watch\\\"]\\n\"");
	buf_reset(&out);
	rights_json(NULL, &out);
	test_assert_text(buf_view(&out), ",\"missingRights\":\"\"");
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_works_is_not_asked_for),
		cmocka_unit_test(each_doubt_has_its_rules),
		cmocka_unit_test(missing_rights_are_shown_as_yaml),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
