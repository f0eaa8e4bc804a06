/* The sources of pods with drivers that do what the test says, and a clock that stands still. */
#include "source.h"

#include "dump.h"

#include <stdio.h>

enum { P, K, A, DRIVERS };

struct fake {
	struct kube_kubelet_events events;
	struct kube_stats stats;
	bool on;
	size_t starts, nudges;
};

struct fixture {
	struct loop *loop;
	struct test_clock clock;
	struct fake fakes[DRIVERS];
	struct kube_source *source;
	struct buf story; /* what was told */
};

/* ---- fake drivers ------------------------------------------------------------------------ */

static int fake_start(void *context, struct kube_kubelet_events events, void **ret_driver, struct error *err)
{
	struct fake *fake = context;
	(void)err;
	fake->events = events;
	fake->stats = (struct kube_stats){0};
	fake->on = true;
	fake->starts++;
	*ret_driver = fake;
	return 0;
}

static void fake_stop(void *driver)
{
	((struct fake *)driver)->on = false;
}

static void fake_nudge(void *driver)
{
	((struct fake *)driver)->nudges++;
}

static void fake_stats(const void *driver, struct kube_stats *ret_stats)
{
	*ret_stats = ((const struct fake *)driver)->stats;
}

static const struct kube_driver drivers[] = {
	{"pods-api", fake_start, fake_stop, NULL, fake_stats},
	{"kubelet", fake_start, fake_stop, fake_nudge, fake_stats},
	{"api-server", fake_start, fake_stop, NULL, fake_stats},
};

/* ---- the listener -------------------------------------------------------------------------- */

static void on_pods(void *arg, struct kube_pods *pods)
{
	struct fixture *f = arg;
	for (size_t i = 0; i < pods->count; i++)
		buf_printf(&f->story, "%.*s%.*s ", SPAN_ARGS(pods->items[i].uid), SPAN_ARGS(pods->items[i].phase));
	buf_str(&f->story, "\n");
}

static void on_chosen(void *arg, const char *source, const char *why, bool alarming)
{
	struct fixture *f = arg;
	buf_printf(&f->story, "%s%s (%s)\n", source, alarming ? "!" : "", why);
}

static void on_failed(void *arg, const char *source, const struct error *err, uint64_t next_ns)
{
	struct fixture *f = arg;
	(void)next_ns;
	buf_printf(&f->story, "%s failed: %s\n", source, err->text);
}

/* ---- the test's hands ------------------------------------------------------------------------ */

static void setup(struct fixture *f)
{
	*f = (struct fixture){.clock = {.mono_ns = 1000 * NS_PER_SEC, .wall_ns = 5 * NS_PER_SEC}};
	struct kube_source_events events = {on_pods, on_chosen, on_failed, f};
	struct kube_source_part parts[DRIVERS];
	for (size_t i = 0; i < DRIVERS; i++)
		parts[i] = (struct kube_source_part){&drivers[i], &f->fakes[i]};
	buf_init(&f->story, 10000);
	assert_int_equal(loop_new(&f->loop), 0);
	assert_int_equal(kube_source_of(f->loop, parts, DRIVERS, test_clock(&f->clock), events, &f->source, NULL), 0);
}

static void teardown(struct fixture *f)
{
	kube_source_free(f->source);
	for (size_t i = 0; i < DRIVERS; i++)
		assert_false(f->fakes[i].on);
	loop_free(f->loop);
	buf_done(&f->story);
}

/* "a1 b2": pod a in state 1, pod b in state 2. */
static void answer(struct fixture *f, size_t number, const char *text)
{
	struct fake *fake = &f->fakes[number];
	struct buf json;
	struct kube_pods *pods;
	struct span rest = span_str(text), word;
	buf_init(&json, 10000);
	buf_str(&json, "{\"kind\":\"PodList\",\"items\":[");
	for (size_t i = 0; rest.len > 0 && span_next(&rest, ' ', &word); i++)
		buf_printf(&json,
			"%s{\"metadata\":{\"uid\":\"%c\",\"namespace\":\"n\",\"name\":\"p\"},\"status\":{\"phase\":\"%"
			"c\"}}",
			i > 0 ? "," : "", word.ptr[0], word.ptr[1]);
	buf_str(&json, "]}");
	assert_int_equal(parse_pods(buf_view(&json), 100, 1 << 20, &pods, NULL), 0);
	buf_done(&json);
	assert_true(fake->on);
	fake->stats.last_failure = KUBE_FAILURE_NONE;
	fake->stats.last_error.text[0] = '\0';
	fake->events.answered(fake->events.arg);
	fake->events.pods(fake->events.arg, pods);
	kube_pods_unref(pods);
}

static void answer_the_same(struct fixture *f, size_t number)
{
	struct fake *fake = &f->fakes[number];
	assert_true(fake->on);
	fake->stats.last_failure = KUBE_FAILURE_NONE;
	fake->stats.last_error.text[0] = '\0';
	fake->events.answered(fake->events.arg);
}

static void fail_with(struct fixture *f, size_t number, enum kube_failure kind, const char *text)
{
	struct fake *fake = &f->fakes[number];
	assert_true(fake->on);
	fake->stats.last_failure = kind;
	error_set(&fake->stats.last_error, EIO, "%s", text);
	fake->events.failed(fake->events.arg, &fake->stats.last_error, NS_PER_SEC);
}

static void wait_for(struct fixture *f, unsigned seconds)
{
	f->clock.mono_ns += seconds * NS_PER_SEC;
	kube_source_tick(f->source);
}

static void check(struct fixture *f, const char *expected)
{
	test_assert_text(buf_view(&f->story), expected);
	buf_reset(&f->story);
}

static void check_on(const struct fixture *f, const char *expected)
{
	char on[DRIVERS + 1] = "";
	for (size_t i = 0, len = 0; i < DRIVERS; i++)
		if (f->fakes[i].on)
			on[len++] = "pka"[i];
	assert_string_equal(on, expected);
}

/* ---- the tests ---------------------------------------------------------------------------------- */

static void best_source_is_the_only_one_asked(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_source_stats stats;
	setup(&f);
	kube_source_stats(f.source, &stats);
	assert_null(stats.running);
	assert_int_equal(stats.last_success_wall_ns, 0);
	answer(&f, P, "a1 b1");
	answer(&f, P, "a1 b2");
	check(&f, "pods-api ()\na1 b1 \na1 b2 \n");
	check_on(&f, "p");
	kube_source_stats(f.source, &stats);
	assert_string_equal(stats.running, "pods-api");
	assert_int_equal(stats.pods, 2);
	assert_int_equal(stats.last_success_wall_ns, 5 * NS_PER_SEC);
	assert_int_equal(stats.sources[0].state, KUBE_SOURCE_RUNNING);
	assert_int_equal(stats.sources[1].state, KUBE_SOURCE_STANDBY);
	kube_source_nudge(f.source); /* it tells by itself */
	teardown(&f);
}

static void missing_socket_gives_way_without_a_fuss(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_source_stats stats;
	setup(&f);
	fail_with(&f, P, KUBE_FAILURE_ABSENT, "no socket");
	check_on(&f, "pk");
	answer(&f, K, "a1");
	check(&f, "kubelet (pods-api: no socket)\na1 \n");
	fail_with(&f, P, KUBE_FAILURE_ABSENT, "no socket");
	check(&f, "");
	kube_source_stats(f.source, &stats);
	assert_string_equal(stats.sources[0].stats.last_error.text, "no socket");
	assert_int_equal(stats.sources[0].state, KUBE_SOURCE_TRYING);
	kube_source_nudge(f.source);
	assert_int_equal(f.fakes[K].nudges, 1);
	teardown(&f);
}

static void refused_kubelet_gives_way_to_the_api_server_loudly(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	fail_with(&f, P, KUBE_FAILURE_ABSENT, "no socket");
	fail_with(&f, K, KUBE_FAILURE_REFUSED, "status 403");
	answer(&f, A, "a1");
	check(&f, "kubelet failed: status 403\napi-server! (pods-api: no socket; kubelet: status 403)\na1 \n");
	answer(&f, K, "a1"); /* somebody gave the right */
	check(&f, "kubelet (pods-api: no socket)\n");
	check_on(&f, "pk");
	teardown(&f);
}

static void change_of_the_source_changes_no_pod(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	fail_with(&f, P, KUBE_FAILURE_ABSENT, "no socket");
	answer(&f, K, "a1 b1");
	answer(&f, P, "a1 b1");
	check(&f, "kubelet (pods-api: no socket)\na1 b1 \npods-api ()\n");
	teardown(&f);
}

static void pod_that_the_new_source_lacks_stays_for_10_seconds(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	fail_with(&f, P, KUBE_FAILURE_ABSENT, "no socket");
	answer(&f, K, "a1 b1 c1");
	answer(&f, P, "a2");
	check(&f, "kubelet (pods-api: no socket)\na1 b1 c1 \npods-api ()\na2 b1 c1 \n");
	answer(&f, P, "a2 b1");
	wait_for(&f, 9);
	check(&f, "");
	wait_for(&f, 1);
	check(&f, "a2 b1 \n");
	teardown(&f);
}

static void outage_keeps_the_last_list(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	fail_with(&f, P, KUBE_FAILURE_ABSENT, "no socket");
	answer(&f, K, "a1");
	fail_with(&f, K, KUBE_FAILURE_REFUSED, "status 401");
	check_on(&f, "pk");
	wait_for(&f, 30);
	check_on(&f, "pka");
	fail_with(&f, A, KUBE_FAILURE_TRANSIENT, "refused");
	wait_for(&f, 600);
	check(&f, "kubelet (pods-api: no socket)\na1 \nkubelet failed: status 401\n");
	answer(&f, A, "a1 b1"); /* the API server is back, and so will be the kubelet */
	wait_for(&f, 11);
	answer_the_same(&f, K);
	answer(&f, K, "a1 b1");
	check(&f, "a1 b1 \n");
	check_on(&f, "pk");
	teardown(&f);
}

static void source_that_stays_away_is_replaced_and_comes_back(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	answer(&f, P, "a1");
	fail_with(&f, P, KUBE_FAILURE_TRANSIENT, "broken");
	wait_for(&f, 29);
	check_on(&f, "p");
	wait_for(&f, 1);
	check_on(&f, "pk");
	answer(&f, K, "a1 b1");
	wait_for(&f, 12);
	check(&f, "pods-api ()\na1 \npods-api failed: broken\nkubelet (pods-api: broken)\na1 b1 \n");
	wait_for(&f, 0);
	answer(&f, P, "a1"); /* it still has no b */
	check(&f, "pods-api ()\n");
	wait_for(&f, 10);
	check(&f, "a1 \n");
	assert_int_equal(f.fakes[K].starts, 1);
	teardown(&f);
}

static void pod_that_went_while_another_source_was_used_does_not_come_back(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	answer(&f, P, "a1 b1");
	fail_with(&f, P, KUBE_FAILURE_TRANSIENT, "broken");
	wait_for(&f, 30);
	answer(&f, K, "a1 b1");
	wait_for(&f, 12);
	answer_the_same(&f, P); /* in the same moment: what it has is as old as its silence */
	wait_for(&f, 10);
	assert_int_equal(f.fakes[P].starts, 2);
	answer(&f, K, "a2");
	check(&f, "pods-api ()\na1 b1 \npods-api failed: broken\nkubelet (pods-api: broken)\na2 \n");
	answer(&f, P, "a2");
	check(&f, "pods-api ()\n");
	wait_for(&f, 10);
	check(&f, "");
	teardown(&f);
}

static int make_source(void *arg)
{
	struct fixture *f = arg;
	struct kube_source_events events = {on_pods, on_chosen, on_failed, f};
	struct kube_source_part part = {&drivers[P], &f->fakes[P]};
	struct kube_source *source;
	int r = kube_source_of(f->loop, &part, 1, test_clock(&f->clock), events, &source, NULL);
	if (r == 0)
		kube_source_free(source);
	return r;
}

static void making_a_source_survives_no_memory(void **state)
{
	(void)state;
	struct fixture f;
	setup(&f);
	f.fakes[P].on = false;
	test_out_of_memory(make_source, &f);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(best_source_is_the_only_one_asked),
		cmocka_unit_test(missing_socket_gives_way_without_a_fuss),
		cmocka_unit_test(refused_kubelet_gives_way_to_the_api_server_loudly),
		cmocka_unit_test(change_of_the_source_changes_no_pod),
		cmocka_unit_test(pod_that_the_new_source_lacks_stays_for_10_seconds),
		cmocka_unit_test(outage_keeps_the_last_list),
		cmocka_unit_test(source_that_stays_away_is_replaced_and_comes_back),
		cmocka_unit_test(pod_that_went_while_another_source_was_used_does_not_come_back),
		cmocka_unit_test(making_a_source_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
