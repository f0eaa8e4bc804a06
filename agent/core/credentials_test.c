/* Secrets through a source that the test plays: requests are read as text, answers are given when the test likes. */
#include "credentials.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLS_MAX = 16 };

struct kube_call {
	void (*done)(void *arg, const struct kube_api_answer *answer);
	void *arg;
	char what[128];
};

struct scene {
	struct test_clock now;
	struct loop *loop;
	struct credentials *credentials;
	struct kube_call *calls[CALLS_MAX]; /* under way, in their order */
	size_t call_count;
	struct buf events;
	bool needed;
};

static int source_get(void *arg, struct kube_resource resource, struct span namespace_, struct span name,
	void (*done)(void *arg, const struct kube_api_answer *answer), void *done_arg, struct kube_call **ret_call,
	struct error *err)
{
	struct scene *scene = arg;
	struct kube_call *call = calloc(1, sizeof(*call));
	if (!call)
		return error_set(err, ENOMEM, "out of memory");
	assert_true(scene->call_count < CALLS_MAX);
	call->done = done;
	call->arg = done_arg;
	snprintf(call->what, sizeof(call->what), "%s %.*s/%.*s", resource.name, SPAN_ARGS(namespace_), SPAN_ARGS(name));
	scene->calls[scene->call_count++] = call;
	*ret_call = call;
	return 0;
}

static void source_cancel(struct kube_call *call)
{
	free(call);
}

static void changed(void *arg, bool config_map, const char *namespace_, const char *name)
{
	struct scene *scene = arg;
	buf_printf(&scene->events, "%s %s/%s changed\n", config_map ? "ConfigMap" : "Secret", namespace_, name);
}

static void failed(
	void *arg, bool config_map, const char *namespace_, const char *name, bool kept, const struct error *err)
{
	struct scene *scene = arg;
	(void)config_map;
	buf_printf(&scene->events, "%s/%s %s: %s\n", namespace_, name, kept ? "kept" : "nothing", err->text);
}

static bool needed(void *arg, bool config_map, const char *namespace_, const char *name)
{
	const struct scene *scene = arg;
	(void)config_map, (void)namespace_, (void)name;
	return scene->needed;
}

static int scene_new(struct scene *scene)
{
	*scene = (struct scene){.now = {.mono_ns = NS_PER_SEC}, .needed = true};
	buf_init(&scene->events, 1 << 16);
	int result = loop_new(&scene->loop);
	if (result == 0)
		result = credentials_new(scene->loop, test_clock(&scene->now),
			(struct credentials_source){source_get, source_cancel, scene},
			(struct credentials_events){changed, failed, needed, scene}, &scene->credentials);
	return result;
}

static void scene_done(struct scene *scene)
{
	credentials_free(scene->credentials);
	loop_free(scene->loop);
	buf_done(&scene->events);
}

static int allow(struct scene *scene, const char *namespace_)
{
	struct option_strings namespaces = {&namespace_, namespace_ ? 1 : 0};
	return credentials_allow(scene->credentials, &namespaces);
}

static int setup(void **state)
{
	struct scene *scene = malloc(sizeof(*scene));
	assert_int_equal(scene_new(scene), 0);
	assert_int_equal(allow(scene, "shop"), 0);
	*state = scene;
	return 0;
}

static int teardown(void **state)
{
	scene_done(*state);
	free(*state);
	return 0;
}

static void assert_events(struct scene *scene, const char *expected)
{
	test_assert_text(buf_view(&scene->events), expected);
	buf_reset(&scene->events);
}

static struct credentials_reference secret(const char *name, const char *key)
{
	return (struct credentials_reference){.namespace_ = "shop", .name = name, .key = key};
}

static void assert_value(struct scene *scene, struct credentials_reference reference, const char *expected)
{
	struct span value = SPAN_NONE;
	struct error err = {""};
	if (credentials_get(scene->credentials, &reference, &value, &err) != 1)
		fail_msg("%s", err.text);
	test_assert_text(value, expected);
}

static void assert_none(struct scene *scene, struct credentials_reference reference, const char *why)
{
	struct span value = SPAN_NONE;
	struct error err = {""};
	assert_int_equal(credentials_get(scene->credentials, &reference, &value, &err), 0);
	assert_string_equal(err.text, why);
}

static void run_after(struct scene *scene, uint64_t delay_ns)
{
	scene->now.mono_ns += delay_ns;
	credentials_run(scene->credentials);
}

/* The request that was made first, and the answer to it. */
static void answer(struct scene *scene, const char *what, unsigned status, const char *body)
{
	struct kube_api_answer answer = {.status = status, .not_found = status == 404 && strstr(body, "not found")};
	struct arena arena;
	assert_true(scene->call_count > 0);
	struct kube_call *call = scene->calls[0];
	memmove(scene->calls, scene->calls + 1, --scene->call_count * sizeof(struct kube_call *));
	assert_string_equal(call->what, what);
	arena_init(&arena, 1 << 20);
	if (status == 200)
		assert_int_equal(json_parse(&arena, span_str(body), &answer.object, NULL), 0);
	else
		error_set(&answer.error, EIO, "%s", body);
	call->done(call->arg, &answer);
	arena_done(&arena);
}

#define LOGIN                                                                                                          \
	"{\"metadata\":{\"resourceVersion\":\"7\"},\"data\":{\"user\":\"YWRtaW4=\",\"password\":\"aHVudGVyMg==\"}}"

static void a_secret_is_read_when_it_is_asked_for(void **state)
{
	struct scene *scene = *state;
	run_after(scene, 0);
	assert_int_equal(scene->call_count, 0);
	assert_none(scene, secret("login", "user"), "Secret shop/login: not read yet");
	assert_none(scene, secret("login", "password"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	assert_int_equal(scene->call_count, 1);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_events(scene, "Secret shop/login changed\n");
	assert_value(scene, secret("login", "user"), "admin");
	assert_value(scene, secret("login", "password"), "hunter2");
	run_after(scene, NS_PER_SEC);
	assert_int_equal(scene->call_count, 0);
}

static void a_config_map_is_read_as_it_stands(void **state)
{
	struct scene *scene = *state;
	struct credentials_reference ca = {true, "shop", "ca", "ca.crt"}, binary = {true, "shop", "ca", "raw"};
	struct span value;
	assert_int_equal(credentials_get(scene->credentials, &ca, &value, NULL), 0);
	assert_int_equal(credentials_get(scene->credentials, &binary, &value, NULL), 0);
	run_after(scene, 0);
	answer(scene, "configmaps shop/ca", 200, "{\"data\":{\"ca.crt\":\"PEM\"},\"binaryData\":{\"raw\":\"Zm9v\"}}");
	assert_value(scene, ca, "PEM");
	assert_value(scene, binary, "foo");
}

static void only_namespaces_that_are_listed_are_read(void **state)
{
	struct scene *scene = *state;
	struct credentials_reference other = {false, "kube-system", "login", "user"};
	assert_none(scene, other, "Secret kube-system/login: monitors.secret_namespaces does not list kube-system");
	run_after(scene, 0);
	assert_int_equal(scene->call_count, 0);
	assert_none(scene, secret("login", "user"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_events(scene, "Secret shop/login changed\n");
	assert_int_equal(allow(scene, NULL), 0);
	assert_events(scene, "Secret shop/login changed\n");
	assert_none(scene, secret("login", "user"), "Secret shop/login: monitors.secret_namespaces does not list shop");
	run_after(scene, 3600 * NS_PER_SEC);
	assert_int_equal(scene->call_count, 0);
}

static void a_rotated_secret_is_found_within_five_minutes(void **state)
{
	struct scene *scene = *state;
	assert_none(scene, secret("login", "password"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_events(scene, "Secret shop/login changed\n");
	run_after(scene, 331 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_events(scene, ""); /* the same: not news */
	run_after(scene, 331 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 200, "{\"data\":{\"password\":\"bmV3\"}}");
	assert_events(scene, "Secret shop/login changed\n");
	assert_value(scene, secret("login", "password"), "new");
}

static void a_target_that_refuses_has_it_read_sooner_but_not_for_ever(void **state)
{
	struct scene *scene = *state;
	struct credentials_reference password = secret("login", "password");
	assert_none(scene, password, "Secret shop/login: not read yet");
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 200, LOGIN);
	credentials_refused(scene->credentials, &password);
	run_after(scene, 9 * NS_PER_SEC);
	assert_int_equal(scene->call_count, 0);
	run_after(scene, 2 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 200, LOGIN);
	credentials_refused(scene->credentials, &password);
	run_after(scene, 19 * NS_PER_SEC);
	assert_int_equal(scene->call_count, 0);
	run_after(scene, 2 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 200, "{\"data\":{\"password\":\"bmV3\"}}");
	credentials_refused(scene->credentials, &password); /* something new: from the beginning */
	run_after(scene, 11 * NS_PER_SEC);
	assert_int_equal(scene->call_count, 1);
}

static void the_last_good_value_lives_through_an_outage(void **state)
{
	struct scene *scene = *state;
	assert_none(scene, secret("login", "password"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_events(scene, "Secret shop/login changed\n");
	run_after(scene, 331 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 0, "connect: refused");
	assert_events(scene, "shop/login kept: connect: refused\n");
	run_after(scene, 2 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 0, "connect: refused");
	assert_events(scene, ""); /* said once */
	run_after(scene, 1500 * NS_PER_MS);
	assert_int_equal(scene->call_count, 0); /* the pause doubles */
	run_after(scene, NS_PER_SEC);
	answer(scene, "secrets shop/login", 403, "403: forbidden");
	assert_events(scene, "shop/login kept: 403: forbidden\n");
	run_after(scene, 67 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 404, "404: default backend"); /* not the API server's word */
	assert_events(scene, "shop/login kept: 404: default backend\n");
	assert_value(scene, secret("login", "password"), "hunter2");
	run_after(scene, 67 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_events(scene, "shop/login kept: \n");
}

static void a_secret_that_was_deleted_is_not_used_any_more(void **state)
{
	struct scene *scene = *state;
	assert_none(scene, secret("login", "password"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_events(scene, "Secret shop/login changed\n");
	run_after(scene, 331 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 404, "secrets \"login\" not found");
	assert_events(scene, "shop/login nothing: secrets \"login\" not found\nSecret shop/login changed\n");
	assert_none(scene, secret("login", "password"), "Secret shop/login: secrets \"login\" not found");
	run_after(scene, 67 * NS_PER_SEC);
	assert_int_equal(scene->call_count, 1);
}

static void what_is_missing_is_said_and_asked_for_again(void **state)
{
	struct scene *scene = *state;
	struct credentials_stats stats;
	assert_none(scene, secret("login", "token"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 403, "secrets \"login\" is forbidden");
	assert_events(scene, "shop/login nothing: secrets \"login\" is forbidden\nSecret shop/login changed\n");
	assert_none(scene, secret("login", "token"), "Secret shop/login: secrets \"login\" is forbidden");
	credentials_stats(scene->credentials, &stats);
	assert_int_equal(stats.objects, 1);
	assert_int_equal(stats.missing, 1);
	assert_int_equal(stats.failures, 1);
	run_after(scene, 67 * NS_PER_SEC);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_none(scene, secret("login", "token"), "Secret shop/login: it has no key `token` of at most 64 KiB");
	assert_events(scene, "shop/login nothing: \n");
	assert_none(scene, secret("login", "user"), "Secret shop/login: not read yet"); /* a key that is new */
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_value(scene, secret("login", "user"), "admin");
}

static void values_that_are_no_base64_or_too_large_are_none(void **state)
{
	struct scene *scene = *state;
	struct buf body;
	assert_none(scene, secret("login", "a"), "Secret shop/login: not read yet");
	assert_none(scene, secret("login", "b"), "Secret shop/login: not read yet");
	assert_none(scene, secret("login", "c"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	buf_init(&body, 1 << 20);
	buf_str(&body, "{\"data\":{\"a\":\"no base64\",\"c\":7,\"b\":\"");
	for (size_t i = 0; i <= CREDENTIALS_VALUE_MAX / 3; i++)
		buf_str(&body, "QUFB");
	buf_str(&body, "\"}}");
	buf_char(&body, '\0');
	answer(scene, "secrets shop/login", 200, body.ptr);
	buf_done(&body);
	assert_none(scene, secret("login", "a"), "Secret shop/login: it has no key `a` of at most 64 KiB");
	assert_none(scene, secret("login", "b"), "Secret shop/login: it has no key `b` of at most 64 KiB");
	assert_none(scene, secret("login", "c"), "Secret shop/login: it has no key `c` of at most 64 KiB");
}

static void what_nobody_needs_any_more_is_forgotten(void **state)
{
	struct scene *scene = *state;
	struct credentials_stats stats;
	assert_none(scene, secret("login", "user"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 200, LOGIN);
	scene->needed = false;
	run_after(scene, 331 * NS_PER_SEC);
	assert_int_equal(scene->call_count, 0);
	credentials_stats(scene->credentials, &stats);
	assert_int_equal(stats.objects, 0);
}

static void few_requests_are_under_way_at_a_time(void **state)
{
	struct scene *scene = *state;
	char name[16];
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		struct credentials_reference reference = secret(name, "user");
		struct span value;
		assert_int_equal(credentials_get(scene->credentials, &reference, &value, NULL), 0);
	}
	run_after(scene, 0);
	assert_int_equal(scene->call_count, 8);
	answer(scene, scene->calls[0]->what, 200, LOGIN);
	run_after(scene, 0);
	assert_int_equal(scene->call_count, 8);
	/* Whatever is under way in the end is cancelled. */
}

static void what_was_cancelled_is_asked_again(void **state)
{
	struct scene *scene = *state;
	assert_none(scene, secret("login", "user"), "Secret shop/login: not read yet");
	run_after(scene, 0);
	assert_int_equal(scene->call_count, 1);
	credentials_disconnect(scene->credentials);
	scene->call_count = 0;
	run_after(scene, 0);
	answer(scene, "secrets shop/login", 200, LOGIN);
	assert_value(scene, secret("login", "user"), "admin");
}

static int attempt(void *arg)
{
	(void)arg;
	struct scene scene;
	struct credentials_reference user = secret("login", "user");
	struct span value;
	int result = scene_new(&scene);
	if (result == 0)
		result = buf_reserve(&scene.events, 4096) ? allow(&scene, "shop") : -ENOMEM;
	if (result == 0)
		result = credentials_get(scene.credentials, &user, &value, NULL);
	scene_done(&scene);
	return result;
}

static void running_out_of_memory_fails_cleanly(void **state)
{
	(void)state;
	test_out_of_memory(attempt, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_secret_is_read_when_it_is_asked_for),
		TEST(a_config_map_is_read_as_it_stands),
		TEST(only_namespaces_that_are_listed_are_read),
		TEST(a_rotated_secret_is_found_within_five_minutes),
		TEST(a_target_that_refuses_has_it_read_sooner_but_not_for_ever),
		TEST(the_last_good_value_lives_through_an_outage),
		TEST(a_secret_that_was_deleted_is_not_used_any_more),
		TEST(what_is_missing_is_said_and_asked_for_again),
		TEST(values_that_are_no_base64_or_too_large_are_none),
		TEST(what_nobody_needs_any_more_is_forgotten),
		TEST(few_requests_are_under_way_at_a_time),
		TEST(what_was_cancelled_is_asked_again),
		cmocka_unit_test(running_out_of_memory_fails_cleanly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
