/* Single objects, access reviews, and the configuration. */
#include "api_fixture.h"

#define REVIEW(allowed) SPAN("{\"kind\":\"SelfSubjectAccessReview\",\"spec\":{},\"status\":{\"allowed\":" allowed "}}")

static const struct kube_resource secrets = {"", "v1", "secrets"};

static void on_answer(void *arg, const struct kube_api_answer *answer)
{
	struct fixture *f = arg;
	buf_printf(&f->log, "%u %s%s%.*s\n", answer->status, answer->not_found ? "not found " : "", answer->error.text,
		SPAN_ARGS(json_string(json_get(answer->object, "data"), "token", SPAN_NONE)));
	fixture_judge(f);
}

static struct kube_call *get(struct fixture *f, const char *name)
{
	struct kube_call *call;
	struct error err;
	if (kube_api_get(f->api, secrets, SPAN("shop"), span_str(name), on_answer, f, &call, &err) < 0)
		fail_msg("%s", err.text);
	return call;
}

static void one_object_is_one_request(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", SPAN("{\"data\":{\"token\":\"c2VjcmV0\"}}"));
	fixture_captured(&f, GOLDEN "api_403.http");
	fixture_answer(&f, "404 Not Found", "",
		SPAN("{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"secrets \\\"x\\\" not found\"}"));
	fixture_answer(&f, "404 Not Found", "", SPAN("default backend - 404"));
	fixture_answer(&f, "429 Too Many Requests", "Retry-After: 2\r\n", SPAN(""));
	fixture_answer(&f, "200 OK", "", SPAN("{\"data\":"));
	fixture_start(&f, true);
	for (size_t i = 0; i < 6; i++) {
		struct kube_call *call = get(&f, i == 0 ? "a b/c" : "x");
		fixture_run(&f, "\n", i + 1, 0);
		kube_call_free(call);
	}
	test_assert_text(buf_view(&f.log),
		"200 c2VjcmV0\n"
		"403 403: servicemonitors.monitoring.coreos.com is forbidden: User "
		"\"system:serviceaccount:default:norights\" cannot list resource \"servicemonitors\" in API group "
		"\"monitoring.coreos.com\" at the cluster scope\n"
		"404 not found 404: secrets \"x\" not found\n"
		"404 404: default backend - 404\n"
		"429 429: Too Many Requests\n"
		"200 not JSON near byte 8: parse error: premature EOF\n");
	fixture_request_has(&f, 0, "GET /api/v1/namespaces/shop/secrets/a%20b%2Fc HTTP/1.1\r\n");
	fixture_request_has(&f, 0, "\r\nAuthorization: Bearer the-token\r\n");
	fixture_request_has(&f, 1, "GET /api/v1/namespaces/shop/secrets/x HTTP/1.1\r\n");
	fixture_stop(&f);
}

static void a_name_that_leaves_its_folder_is_refused(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_call *call;
	struct error err;
	static const char *const names[] = {"", ".", ".."};
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", SPAN("{}"));
	fixture_start(&f, false);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct span name = span_str(names[i]);
		assert_int_equal(kube_api_get(f.api, secrets, SPAN("n"), name, on_answer, &f, &call, &err), -EINVAL);
	}
	assert_int_equal(kube_api_get(f.api, secrets, SPAN(".."), SPAN("x"), on_answer, &f, &call, &err), -EINVAL);
	fixture_stop(&f);
}

static void a_call_that_is_freed_tells_nothing(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", SPAN("{}"));
	fixture_start(&f, false);
	kube_call_free(get(&f, "x"));
	struct kube_call *call = get(&f, "y");
	fixture_run(&f, "200", 1, 0);
	test_assert_text(buf_view(&f.log), "200 \n");
	kube_call_free(call);
	fixture_stop(&f);
}

static const struct kube_rule rules[] = {
	{"", "nodes", "pods", "get", NULL},
	{"", "services", NULL, "list", NULL},
	{"", "services", NULL, "watch", NULL},
	{"monitoring.coreos.com", "servicemonitors", "", "list", NULL},
	{"", "secrets", NULL, "get", "shop"},
};

static void on_review(void *arg, const bool *missing, const struct error *err)
{
	struct fixture *f = arg;
	if (missing)
		assert_int_equal(kube_rules_yaml(rules, missing, ARRAY_SIZE(rules), "gleaner-missing", &f->log), 0);
	buf_printf(&f->log, "done %s\n", err->text);
	fixture_judge(f);
}

static void missing_rules_are_yaml_to_add(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_review *review;
	struct error err;
	fixture_init(&f);
	for (size_t i = 0; i < 3; i++)
		fixture_answer(&f, "201 Created", "", REVIEW("false"));
	fixture_answer(&f, "201 Created", "", REVIEW("true"));
	fixture_answer(&f, "201 Created", "", REVIEW("false"));
	fixture_start(&f, true);
	assert_int_equal(kube_api_may(f.api, rules, ARRAY_SIZE(rules), on_review, &f, &review, &err), 0);
	fixture_run(&f, "done", 1, 0);
	test_assert_text(buf_view(&f.log), "apiVersion: rbac.authorization.k8s.io/v1\n"
					   "kind: ClusterRole\n"
					   "metadata:\n"
					   "  name: gleaner-missing\n"
					   "rules:\n"
					   "- apiGroups: [\"\"]\n"
					   "  resources: [\"nodes/pods\"]\n"
					   "  verbs: [\"get\"]\n"
					   "- apiGroups: [\"\"]\n"
					   "  resources: [\"services\"]\n"
					   "  verbs: [\"list\", \"watch\"]\n"
					   "---\n"
					   "apiVersion: rbac.authorization.k8s.io/v1\n"
					   "kind: Role\n"
					   "metadata:\n"
					   "  name: gleaner-missing\n"
					   "  namespace: \"shop\"\n"
					   "rules:\n"
					   "- apiGroups: [\"\"]\n"
					   "  resources: [\"secrets\"]\n"
					   "  verbs: [\"get\"]\n"
					   "done \n");
	fixture_request_has(&f, 0, "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.1\r\n");
	fixture_request_has(&f, 0, "\r\nContent-Type: application/json\r\n");
	fixture_request_has(&f, 0,
		"\"spec\":{\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"nodes\",\"subresource\":\"pods\"}}"
		"}");
	fixture_request_has(
		&f, 3, "{\"verb\":\"list\",\"group\":\"monitoring.coreos.com\",\"resource\":\"servicemonitors\"}");
	fixture_request_has(&f, 4, "\"namespace\":\"shop\"}");
	kube_review_free(review);
	fixture_stop(&f);
}

static void a_review_that_fails_says_so(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_review *review;
	struct error err;
	fixture_init(&f);
	fixture_answer(&f, "201 Created", "", REVIEW("true"));
	fixture_captured(&f, GOLDEN "api_401.http");
	fixture_start(&f, false);
	assert_int_equal(kube_api_may(f.api, rules, ARRAY_SIZE(rules), on_review, &f, &review, &err), 0);
	fixture_run(&f, "done", 1, 0);
	test_assert_text(buf_view(&f.log), "done access review: 401: Unauthorized\n");
	kube_review_free(review);
	fixture_stop(&f);
}

/* ---- options --------------------------------------------------------------------------- */

static int check(struct kube_api_options *options, struct arena *arena, const char **ret_key)
{
	struct error err;
	return kube_api_options_table.check(options, arena, ret_key, &err);
}

static void the_server_is_that_of_the_environment(void **state)
{
	(void)state;
	static const struct {
		const char *server, *host, *expected;
	} cases[] = {
		{NULL, "10.96.0.1", "https://10.96.0.1:443"},
		{NULL, "fd00::1", "https://[fd00::1]:443"},
		{NULL, "kubernetes.default.svc", "https://kubernetes.default.svc:443"},
		{"https://a:6443", "10.96.0.1", "https://a:6443"},
		{"http://127.0.0.1:8001/", "", "http://127.0.0.1:8001/"},
		{"", "", NULL},
		{NULL, NULL, NULL},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kube_api_options options = {
			.api_server = cases[i].server, .service_host = cases[i].host, .service_port = 443};
		struct arena arena;
		const char *key;
		arena_init(&arena, 4096);
		assert_int_equal(check(&options, &arena, &key), 0);
		assert_true(span_eq(span_str(options.api_server), span_str(cases[i].expected)));
		assert_int_equal(options.api_server == NULL, cases[i].expected == NULL);
		arena_done(&arena);
	}
}

static void a_server_that_is_no_address_is_refused(void **state)
{
	(void)state;
	struct arena arena;
	const char *key;
	arena_init(&arena, 4096);
	struct kube_api_options options = {.api_server = "10.96.0.1", .service_port = 443};
	assert_int_equal(check(&options, &arena, &key), -EINVAL);
	assert_string_equal(key, "api_server");
	options = (struct kube_api_options){.service_host = "a/b", .service_port = 443};
	assert_int_equal(check(&options, &arena, &key), -EINVAL);
	assert_string_equal(key, "service_host");
	arena_done(&arena);
}

static void without_a_server_there_is_no_client(void **state)
{
	(void)state;
	struct kube_api_options options = {.timeout_ns = NS_PER_SEC};
	struct kube_api *api;
	struct error err;
	assert_int_equal(kube_api_new(NULL, &options, clock_system(), &api, &err), -EINVAL);
	assert_non_null(strstr(err.text, "KUBERNETES_SERVICE_HOST"));
}

static void clients_begin_at_a_random_time(void **state)
{
	(void)state;
	struct fixture f;
	uint64_t sum_ns = 0, now_ns = 100 * NS_PER_SEC;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", SPAN("{}"));
	fixture_start(&f, false);
	f.options.startup_jitter_ns = 30 * NS_PER_SEC;
	for (int i = 0; i < 100; i++) {
		struct kube_api *api;
		struct error err;
		assert_int_equal(kube_api_new(f.loop, &f.options, test_clock(&f.clock), &api, &err), 0);
		assert_true(api->begin_ns >= now_ns && api->begin_ns <= now_ns + 30 * NS_PER_SEC);
		sum_ns += api->begin_ns - now_ns;
		kube_api_free(api);
	}
	assert_true(sum_ns > 1000 * NS_PER_SEC && sum_ns < 2000 * NS_PER_SEC);
	fixture_stop(&f);
}

static void without_rules_there_is_no_review(void **state)
{
	(void)state;
	struct kube_review *review;
	struct error err;
	assert_int_equal(kube_api_may(NULL, rules, 0, on_review, NULL, &review, &err), -EINVAL);
}

/* ---- memory ------------------------------------------------------------------------------- */

static int begin_calls(void *arg)
{
	struct fixture *f = arg;
	struct kube_call *call;
	struct kube_review *review;
	struct error err;
	int r = kube_api_get(f->api, secrets, SPAN("shop"), SPAN("x"), on_answer, f, &call, &err);
	if (r == 0)
		kube_call_free(call);
	if (r == 0)
		r = kube_api_may(f->api, rules, ARRAY_SIZE(rules), on_review, f, &review, &err);
	if (r == 0)
		kube_review_free(review);
	return r;
}

static void out_of_memory_is_told(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", SPAN("{}"));
	fixture_start(&f, false);
	test_out_of_memory(begin_calls, &f);
	fixture_stop(&f);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_object_is_one_request),
		cmocka_unit_test(a_name_that_leaves_its_folder_is_refused),
		cmocka_unit_test(a_call_that_is_freed_tells_nothing),
		cmocka_unit_test(missing_rules_are_yaml_to_add),
		cmocka_unit_test(a_review_that_fails_says_so),
		cmocka_unit_test(without_rules_there_is_no_review),
		cmocka_unit_test(clients_begin_at_a_random_time),
		cmocka_unit_test(the_server_is_that_of_the_environment),
		cmocka_unit_test(a_server_that_is_no_address_is_refused),
		cmocka_unit_test(without_a_server_there_is_no_client),
		cmocka_unit_test(out_of_memory_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
