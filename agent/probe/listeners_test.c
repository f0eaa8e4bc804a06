#include "test.h"

#include "gleaner/probe.h"

#include <errno.h>
#include <stdio.h>

#define UID_A "aaaaaaaa-1d2e-4a33-9f10-aabbccddeeff"
#define UID_B "bbbbbbbb-1d2e-4a33-9f10-aabbccddeeff"

/* What was told, as text: "+80/a " opened, "~80/a " again, "-80/a " closed, "?a " nudge; the letter is the first of the pod's UID. */
struct told {
	struct test_clock time;
	struct listeners *listeners;
	char text[1024];
};

static void tell(struct told *told, char what, unsigned port, const char *uid)
{
	size_t len = strlen(told->text);
	snprintf(told->text + len, sizeof(told->text) - len, "%c%u/%.1s ", what, port, uid[0] ? uid : "-");
}

static void on_opened(void *arg, const struct listener *listener)
{
	tell(arg, '+', listener->port, listener->pod_uid);
}

static void on_reopened(void *arg, const struct listener *listener)
{
	tell(arg, '~', listener->port, listener->pod_uid);
}

static void on_closed(void *arg, const struct listener *listener)
{
	tell(arg, '-', listener->port, listener->pod_uid);
}

static void on_nudge(void *arg, const char *uid)
{
	tell(arg, '?', 0, uid);
}

static bool on_cgroup(void *arg, uint64_t id, struct cgroup_name *ret_name)
{
	tell(arg, '#', (unsigned)id, "");
	if (id != 77)
		return false;
	snprintf(ret_name->pod_uid, sizeof(ret_name->pod_uid), UID_A);
	return true;
}

static struct told *setup_with(struct told *told, struct listeners_limits limits)
{
	*told = (struct told){.time = {.mono_ns = 1000 * NS_PER_SEC}};
	struct listeners_events events = {on_opened, on_reopened, on_closed, on_nudge, on_cgroup, told};
	assert_int_equal(listeners_new(test_clock(&told->time), limits, events, &told->listeners), 0);
	/* The first snapshot is wanted at once; these tests say when. */
	assert_true(listeners_want_snapshot(told->listeners));
	return told;
}

static void setup(struct told *told)
{
	setup_with(told, listeners_default_limits());
}

static struct listen_event event_of(enum listen_kind kind, uint64_t id, unsigned port, uint64_t netns, const char *uid)
{
	struct listen_event event = {.head = {.kind = (uint16_t)kind,
					     .socket_id = id,
					     .netns_cookie = netns,
					     .netns = (uint32_t)netns,
					     .family = 2,
					     .port = (uint16_t)port,
					     .version = LISTEN_VERSION,
					     .cgroup_v2 = 1}};
	if (uid)
		snprintf(event.names.v1_leaf, sizeof(event.names.v1_leaf), "pod%s", uid);
	return event;
}

static void happen(
	struct told *told, enum listen_kind kind, uint64_t id, unsigned port, uint64_t netns, const char *uid)
{
	struct listen_event event = event_of(kind, id, port, netns, uid);
	assert_int_equal(listeners_event(told->listeners, &event), 0);
}

static void pass_ms(struct told *told, uint64_t ms)
{
	told->time.mono_ns += ms * NS_PER_MS;
	listeners_run(told->listeners);
}

static void assert_told(struct told *told, const char *text)
{
	assert_string_equal(told->text, text);
	told->text[0] = '\0';
}

static void an_open_port_is_told_after_it_settled_and_a_closed_one_after_the_grace(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	listeners_pod_add(told.listeners, UID_A, false);
	happen(&told, LISTEN_OPEN, 1, 80, 9, UID_A);
	assert_int_equal(listeners_run(told.listeners), told.time.mono_ns + NS_PER_MS);
	assert_told(&told, "");
	pass_ms(&told, 1);
	assert_told(&told, "+80/a ");
	happen(&told, LISTEN_CLOSE, 1, 0, 9, UID_A);
	pass_ms(&told, 4999);
	assert_told(&told, "");
	pass_ms(&told, 1);
	assert_told(&told, "-80/a ");
	listeners_free(told.listeners);
}

static void a_listen_that_fails_is_not_told(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 80, 9, NULL);
	happen(&told, LISTEN_CLOSE, 1, 80, 9, NULL);
	pass_ms(&told, 70000);
	assert_told(&told, "");
	assert_int_equal(listeners_counters(told.listeners).listeners, 0);
	listeners_free(told.listeners);
}

static void a_port_that_opens_again_within_the_grace_was_never_closed(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 80, 9, NULL);
	pass_ms(&told, 1);
	happen(&told, LISTEN_CLOSE, 1, 80, 9, NULL);
	pass_ms(&told, 3000);
	happen(&told, LISTEN_OPEN, 2, 80, 9, NULL);
	assert_told(&told, "+80/- ");
	pass_ms(&told, 1);
	assert_told(&told, "~80/- ");
	pass_ms(&told, 60000);
	assert_told(&told, "");
	listeners_free(told.listeners);
}

static void reuseport_is_open_while_one_socket_is(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 80, 9, NULL);
	happen(&told, LISTEN_OPEN, 2, 80, 9, NULL);
	pass_ms(&told, 1);
	happen(&told, LISTEN_CLOSE, 1, 80, 9, NULL);
	pass_ms(&told, 60000);
	assert_told(&told, "+80/- ");
	happen(&told, LISTEN_CLOSE, 2, 80, 9, NULL);
	pass_ms(&told, 5000);
	assert_told(&told, "-80/- ");
	listeners_free(told.listeners);
}

static void one_listen_of_mptcp_is_one_port(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	struct listen_event outer = event_of(LISTEN_OPEN, 1, 80, 9, NULL),
			    inner = event_of(LISTEN_OPEN, 2, 80, 9, NULL);
	outer.head.flags = LISTEN_MPTCP;
	listeners_event(told.listeners, &outer);
	listeners_event(told.listeners, &inner);
	listeners_event(told.listeners, &outer);
	pass_ms(&told, 1);
	assert_told(&told, "+80/- ");
	/* A snapshot names the outer socket only. */
	listeners_snapshot_begin(told.listeners);
	outer.head.kind = LISTEN_SNAPSHOT;
	assert_int_equal(listeners_snapshot_add(told.listeners, &outer, 1), 0);
	listeners_snapshot_end(told.listeners, true);
	pass_ms(&told, 60000);
	assert_told(&told, "");
	happen(&told, LISTEN_CLOSE, 2, 80, 9, NULL);
	happen(&told, LISTEN_CLOSE, 1, 80, 9, NULL);
	pass_ms(&told, 5000);
	assert_told(&told, "-80/- ");
	listeners_free(told.listeners);
}

static void a_flapping_port_must_stay_open(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	for (uint64_t id = 1; id <= 7; id++) {
		happen(&told, LISTEN_OPEN, id, 80, 9, NULL);
		pass_ms(&told, 100);
		if (id < 7)
			happen(&told, LISTEN_CLOSE, id, 80, 9, NULL);
		pass_ms(&told, 100);
	}
	/* The sixth close was one too many: the seventh opening waits. */
	assert_told(&told, "+80/- ~80/- ~80/- ~80/- ~80/- ~80/- -80/- ");
	assert_int_equal(listeners_counters(told.listeners).flaps, 1);
	pass_ms(&told, 9700);
	assert_told(&told, "");
	pass_ms(&told, 100);
	assert_told(&told, "+80/- ");
	listeners_free(told.listeners);
}

static void a_port_of_the_kernels_choice_is_told_by_the_next_snapshot(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 0, 9, NULL);
	pass_ms(&told, 100);
	assert_false(listeners_want_snapshot(told.listeners)); /* at most one a second for this */
	pass_ms(&told, 900);
	assert_told(&told, "");
	assert_true(listeners_want_snapshot(told.listeners));
	struct listen_event named = event_of(LISTEN_SNAPSHOT, 1, 40001, 9, NULL);
	listeners_snapshot_begin(told.listeners);
	listeners_snapshot_add(told.listeners, &named, 1);
	listeners_snapshot_add(told.listeners, &named, 1); /* another descriptor of the same socket */
	listeners_snapshot_end(told.listeners, true);
	pass_ms(&told, 0);
	assert_told(&told, "+40001/- ");
	happen(&told, LISTEN_CLOSE, 1, 0, 9, NULL);
	pass_ms(&told, 5000);
	assert_told(&told, "-40001/- ");
	listeners_free(told.listeners);
}

static void a_snapshot_opens_what_was_missed_and_closes_what_is_gone(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 80, 9, NULL);
	pass_ms(&told, 10);
	assert_told(&told, "+80/- ");
	listeners_snapshot_begin(told.listeners);
	struct listen_event missed = event_of(LISTEN_SNAPSHOT, 5, 81, 9, NULL);
	happen(&told, LISTEN_OPEN, 6, 82, 9, NULL); /* meanwhile */
	listeners_snapshot_add(told.listeners, &missed, 1);
	listeners_snapshot_end(told.listeners, true);
	pass_ms(&told, 5000);
	assert_non_null(strstr(told.text, "+81/- "));
	assert_non_null(strstr(told.text, "+82/- "));
	assert_non_null(strstr(told.text, "-80/- "));
	listeners_free(told.listeners);
}

static void an_incomplete_snapshot_closes_nothing(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 80, 9, NULL);
	pass_ms(&told, 10);
	listeners_snapshot_begin(told.listeners);
	listeners_snapshot_end(told.listeners, false);
	pass_ms(&told, 60000);
	assert_told(&told, "+80/- ");
	listeners_free(told.listeners);
}

static void a_socket_that_closes_while_the_snapshot_is_read_does_not_come_back(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	listeners_snapshot_begin(told.listeners);
	happen(&told, LISTEN_CLOSE, 1, 80, 9, NULL);
	struct listen_event stale = event_of(LISTEN_SNAPSHOT, 1, 80, 9, NULL);
	listeners_snapshot_add(told.listeners, &stale, 1);
	listeners_snapshot_end(told.listeners, true);
	pass_ms(&told, 60000);
	assert_told(&told, "");
	listeners_free(told.listeners);
}

static void an_overflow_wants_a_snapshot_after_its_second_is_over(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	pass_ms(&told, 60000);
	struct listen_event overflow = {.head = {.kind = LISTEN_OVERFLOW, .netns = 9}};
	listeners_event(told.listeners, &overflow);
	pass_ms(&told, 999);
	assert_false(listeners_want_snapshot(told.listeners));
	listeners_event(told.listeners, &overflow);
	pass_ms(&told, 1);
	assert_true(listeners_want_snapshot(told.listeners));
	listeners_snapshot_begin(told.listeners);
	listeners_snapshot_end(told.listeners, true);
	/* The second overflow's second was not over: one more, ten seconds later. */
	pass_ms(&told, 9999);
	assert_false(listeners_want_snapshot(told.listeners));
	pass_ms(&told, 1);
	assert_true(listeners_want_snapshot(told.listeners));
	pass_ms(&told, 60000);
	assert_false(listeners_want_snapshot(told.listeners));
	pass_ms(&told, 240000);
	assert_true(listeners_want_snapshot(told.listeners)); /* every five minutes */
	listeners_free(told.listeners);
}

static void an_unknown_pod_nudges_once_a_second(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 80, 9, UID_A);
	pass_ms(&told, 0);
	assert_told(&told, "?0/a ");
	happen(&told, LISTEN_OPEN, 2, 81, 9, UID_A);
	happen(&told, LISTEN_OPEN, 3, 80, 10, UID_B);
	pass_ms(&told, 500);
	assert_null(strchr(told.text, '?'));
	told.text[0] = '\0';
	pass_ms(&told, 500);
	assert_told(&told, "?0/b ");
	listeners_free(told.listeners);
}

static void a_pods_namespace_names_what_has_left_its_cgroup(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 80, 9, NULL);
	happen(&told, LISTEN_OPEN, 2, 81, 9, UID_A);
	pass_ms(&told, 2);
	told.text[0] = '\0';
	listeners_pod_add(told.listeners, UID_A, false);
	assert_told(&told, "+80/a "); /* told again, with its pod */
	happen(&told, LISTEN_OPEN, 3, 82, 9, NULL);
	pass_ms(&told, 2);
	assert_told(&told, "+82/a ");
	/* A process in the cgroup of another pod: whose port is it? */
	happen(&told, LISTEN_OPEN, 4, 83, 9, UID_B);
	pass_ms(&told, 1000);
	assert_told(&told, "?0/b ");
	assert_int_equal(listeners_counters(told.listeners).disagreements, 1);
	listeners_pod_remove(told.listeners, UID_A);
	happen(&told, LISTEN_OPEN, 5, 84, 9, NULL);
	pass_ms(&told, 2);
	assert_told(&told, "+84/- ");
	listeners_free(told.listeners);
}

static void pods_of_the_host_network_share_a_namespace(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	listeners_pod_add(told.listeners, UID_A, true);
	listeners_pod_add(told.listeners, UID_B, true);
	happen(&told, LISTEN_OPEN, 1, 80, 9, UID_A);
	pass_ms(&told, 2);
	happen(&told, LISTEN_OPEN, 2, 81, 9, UID_B);
	pass_ms(&told, 2);
	happen(&told, LISTEN_OPEN, 3, 82, 9, NULL);
	pass_ms(&told, 2);
	assert_told(&told, "+80/a +81/b +82/- ");
	assert_int_equal(listeners_counters(told.listeners).disagreements, 0);
	listeners_free(told.listeners);
}

static void a_cgroup_without_names_is_looked_up_once(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	listeners_pod_add(told.listeners, UID_A, false);
	struct listen_event event = event_of(LISTEN_OPEN, 1, 80, 9, NULL);
	event.head.cgroup_v1 = 77;
	listeners_event(told.listeners, &event);
	event.head.socket_id = 2;
	event.head.port = 81;
	listeners_event(told.listeners, &event);
	pass_ms(&told, 2);
	assert_int_equal(strncmp(told.text, "#77/- ", 6), 0);
	assert_non_null(strstr(told.text, "+80/a "));
	assert_non_null(strstr(told.text, "+81/a "));
	assert_null(strstr(told.text + 6, "#"));
	listeners_free(told.listeners);
}

static void a_refused_port_closes(void **state)
{
	(void)state;
	struct told told;
	setup(&told);
	happen(&told, LISTEN_OPEN, 1, 80, 9, NULL);
	happen(&told, LISTEN_OPEN, 2, 80, 9, NULL);
	pass_ms(&told, 2);
	struct listener listener = {.netns_cookie = 9, .netns = 9, .family = 2, .port = 80};
	listeners_refused(told.listeners, &listener);
	listeners_refused(told.listeners, &listener);
	pass_ms(&told, 5000);
	assert_told(&told, "+80/- -80/- ");
	listeners_free(told.listeners);
}

static void closed_ports_make_room_when_the_table_is_full(void **state)
{
	(void)state;
	struct told told;
	struct listeners_limits limits = listeners_default_limits();
	limits.max_listeners = 4;
	setup_with(&told, limits);
	for (uint64_t id = 1; id <= 20; id++) {
		happen(&told, LISTEN_OPEN, id, (unsigned)(100 + id), 9, NULL);
		if (id > 3)
			happen(&told, LISTEN_CLOSE, id, (unsigned)(100 + id), 9, NULL);
	}
	assert_int_equal(listeners_counters(told.listeners).over_limit, 0);
	happen(&told, LISTEN_OPEN, 30, 130, 9, NULL);
	happen(&told, LISTEN_OPEN, 31, 131, 9, NULL);
	assert_int_equal(listeners_counters(told.listeners).over_limit, 1);
	listeners_free(told.listeners);
}

static void one_namespace_cannot_fill_the_table(void **state)
{
	(void)state;
	struct told told;
	struct listeners_limits limits = listeners_default_limits();
	limits.max_per_namespace = 3;
	setup_with(&told, limits);
	for (uint64_t id = 1; id <= 5; id++)
		happen(&told, LISTEN_OPEN, id, (unsigned)(100 + id), 9, NULL);
	happen(&told, LISTEN_OPEN, 6, 100, 10, NULL);
	assert_int_equal(listeners_counters(told.listeners).over_limit, 2);
	assert_int_equal(listeners_counters(told.listeners).listeners, 4);
	happen(&told, LISTEN_CLOSE, 1, 101, 9, NULL); /* makes room */
	happen(&told, LISTEN_OPEN, 7, 107, 9, NULL);
	assert_int_equal(listeners_counters(told.listeners).over_limit, 2);
	listeners_free(told.listeners);
}

static int live_through_all(void *arg)
{
	(void)arg;
	struct told told = {.time = {.mono_ns = NS_PER_SEC}};
	struct listeners_events events = {on_opened, NULL, on_closed, on_nudge, NULL, &told};
	struct listeners *l;
	int result = listeners_new(test_clock(&told.time), listeners_default_limits(), events, &l);
	if (result < 0)
		return result;
	struct listen_event open = event_of(LISTEN_OPEN, 1, 80, 9, UID_A),
			    missed = event_of(LISTEN_SNAPSHOT, 2, 81, 9, UID_A);
	if ((result = listeners_pod_add(l, UID_A, false)) == 0 && (result = listeners_event(l, &open)) == 0) {
		listeners_snapshot_begin(l);
		result = listeners_snapshot_add(l, &missed, 1);
		listeners_snapshot_end(l, true);
		listeners_run(l);
	}
	listeners_free(l);
	return result;
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	test_out_of_memory(live_through_all, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_open_port_is_told_after_it_settled_and_a_closed_one_after_the_grace),
		cmocka_unit_test(a_listen_that_fails_is_not_told),
		cmocka_unit_test(a_port_that_opens_again_within_the_grace_was_never_closed),
		cmocka_unit_test(reuseport_is_open_while_one_socket_is),
		cmocka_unit_test(one_listen_of_mptcp_is_one_port),
		cmocka_unit_test(a_flapping_port_must_stay_open),
		cmocka_unit_test(a_port_of_the_kernels_choice_is_told_by_the_next_snapshot),
		cmocka_unit_test(a_snapshot_opens_what_was_missed_and_closes_what_is_gone),
		cmocka_unit_test(an_incomplete_snapshot_closes_nothing),
		cmocka_unit_test(a_socket_that_closes_while_the_snapshot_is_read_does_not_come_back),
		cmocka_unit_test(an_overflow_wants_a_snapshot_after_its_second_is_over),
		cmocka_unit_test(an_unknown_pod_nudges_once_a_second),
		cmocka_unit_test(a_pods_namespace_names_what_has_left_its_cgroup),
		cmocka_unit_test(pods_of_the_host_network_share_a_namespace),
		cmocka_unit_test(a_cgroup_without_names_is_looked_up_once),
		cmocka_unit_test(a_refused_port_closes),
		cmocka_unit_test(closed_ports_make_room_when_the_table_is_full),
		cmocka_unit_test(one_namespace_cannot_fill_the_table),
		cmocka_unit_test(every_allocation_may_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
