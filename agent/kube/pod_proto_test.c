#include "pod_proto.h"

#include "captured.h"
#include "dump.h"

enum { EVENTS_MAX = 32 };

static struct kube_pods *decode(struct span bytes)
{
	struct kube_pods *one;
	struct error err = {""};
	if (kube_pod_decode(bytes, SPAN_NONE, &one, &err) < 0)
		fail_msg("%s", err.text);
	return one;
}

static struct kube_pods *parse_file(const char *path)
{
	struct span text = test_file(path);
	struct kube_pods *pods;
	struct error err = {""};
	if (parse_pods(text, text.len, 1 << 20, &pods, &err) < 0)
		fail_msg("%s", err.text);
	test_file_free(text);
	return pods;
}

/* The ADDED pods of the first sync, the very same, in both lists. */
static void check_same_as(const char *path)
{
	struct captured_event events[EVENTS_MAX];
	size_t count = captured_read(events, EVENTS_MAX), compared = 0;
	struct kube_pods *pods = parse_file(path);
	for (size_t i = 0; i < count && events[i].type == CAPTURED_ADDED; i++) {
		struct kube_pods *one = decode(buf_view(&events[i].pod));
		const struct kube_pod *same = kube_pods_find(pods, one->items[0].uid);
		struct buf from_proto, from_json;
		assert_non_null(same);
		buf_init(&from_proto, 1 << 20);
		buf_init(&from_json, 1 << 20);
		dump_pod(&from_proto, &one->items[0]);
		dump_pod(&from_json, same);
		buf_char(&from_json, '\0');
		test_assert_text(buf_view(&from_proto), from_json.ptr);
		assert_true(one->items[0].hash == same->hash);
		buf_done(&from_proto);
		buf_done(&from_json);
		kube_pods_unref(one);
		compared++;
	}
	assert_int_equal(compared, pods->count);
	kube_pods_unref(pods);
	captured_free(events, count);
}

static void pods_are_the_same_as_the_kubelet_lists_them(void **state)
{
	(void)state;
	check_same_as("golden/kubernetes/kubelet_pods.json");
}

static void pods_are_the_same_as_the_api_server_lists_them(void **state)
{
	(void)state;
	check_same_as("golden/kubernetes-1.37/apiserver_pods_of_node.json"); /* a mirror pod among them */
}

static void deleted_pod_has_a_uid(void **state)
{
	(void)state;
	struct captured_event events[EVENTS_MAX];
	size_t count = captured_read(events, EVENTS_MAX), deleted = 0;
	for (size_t i = 0; i < count; i++) {
		struct span uid = SPAN_NONE;
		if (events[i].type != CAPTURED_DELETED)
			continue;
		assert_int_equal(kube_pod_decode_uid(buf_view(&events[i].pod), &uid), 0);
		assert_int_equal(uid.len, 36);
		deleted++;
	}
	assert_int_equal(deleted, 1);
	assert_int_equal(kube_pod_decode_uid(SPAN("\x0a\x03\x2a\x01x"), &(struct span){0}), 0);
	assert_int_equal(kube_pod_decode_uid(SPAN("\x0a\x03\x0a\x01x"), &(struct span){0}), -EBADMSG);
	assert_int_equal(kube_pod_decode_uid(SPAN("\x0a\x04\x2a\x01x"), &(struct span){0}), -EBADMSG);
	captured_free(events, count);
}

#define NAMES "\x0a\x09\x0a\x01p\x1a\x01n\x2a\x01u" /* metadata {name, namespace, uid} */

static void check_dump(struct span bytes, const char *expected)
{
	struct kube_pods *one = decode(bytes);
	struct buf text;
	buf_init(&text, 10000);
	dump_pod(&text, &one->items[0]);
	test_assert_text(buf_view(&text), expected);
	buf_done(&text);
	kube_pods_unref(one);
}

static void what_is_left_out_has_its_default(void **state)
{
	(void)state;
	check_dump(SPAN(NAMES), "n/p node= host= ip=  ready=unknown\n  {}\n");
	/* a container with a port without name and protocol, one with number 0 and one with 65536 */
	check_dump(SPAN(NAMES "\x12\x11\x12\x0f\x0a\x01"
			      "c2\x02\x18\x50"
			      "2\x00"
			      "2\x04\x18\x80\x80\x04"),
		"n/p node= host= ip=  ready=unknown\n  {}\n  c  :80/TCP\n");
	/* a label without a value: there, and empty */
	check_dump(SPAN("\x0a\x0e\x0a\x01p\x1a\x01n\x2a\x01uZ\x03\x0a\x01k"),
		"n/p node= host= ip=  ready=unknown\n  {k=\"\"}\n");
}

static void restart_policy_makes_a_sidecar_of_init_containers_only(void **state)
{
	(void)state;
	check_dump(SPAN(NAMES "\x12\x1d"
			      "\x12\x0c\x0a\x01"
			      "c\xc2\x01\x06"
			      "Always"
			      "\xa2\x01\x0c\x0a\x01"
			      "i\xc2\x01\x06"
			      "Always"),
		"n/p node= host= ip=  ready=unknown\n  {}\n  c \n  init sidecar i \n");
}

static void check_refused(struct span bytes, int code)
{
	struct kube_pods *one = NULL;
	struct error err = {""};
	assert_int_equal(kube_pod_decode(bytes, SPAN_NONE, &one, &err), code);
	assert_true(err.text[0]);
	assert_null(one);
}

static void bytes_that_are_no_pod_are_refused(void **state)
{
	(void)state;
	check_refused(SPAN_NONE, -EBADMSG);                          /* no uid */
	check_refused(SPAN(NAMES "\x12"), -EBADMSG);                 /* a tag and nothing */
	check_refused(SPAN(NAMES "\x12\x05\x01"), -EBADMSG);         /* longer than what is there */
	check_refused(SPAN(NAMES "\x13\x14"), -EBADMSG);             /* a group */
	check_refused(SPAN(NAMES "\x10\x01"), -EBADMSG);             /* spec as a number */
	check_refused(SPAN(NAMES "\x02\x00"), -EBADMSG);             /* field 0 */
	check_refused(SPAN(NAMES "\x12\x03\x52\x01\xff"), -EBADMSG); /* no UTF-8 */
	check_refused(SPAN(NAMES "\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), -EBADMSG);
}

static void what_a_pod_has_too_many_of_goes_by(void **state)
{
	(void)state;
	struct buf spec, pod;
	buf_init(&spec, 1 << 20);
	buf_init(&pod, 1 << 20);
	struct kube_pods *one;
	for (size_t i = 0; i <= KUBE_POD_LIST_MAX; i++)
		buf_append(&spec, "\x12\x00", 2);
	buf_str(&pod, NAMES);
	buf_char(&pod, 0x12);
	for (size_t len = spec.len; len > 0; len >>= 7)
		buf_char(&pod, (char)((len & 0x7f) | (len > 0x7f ? 0x80 : 0)));
	buf_span(&pod, buf_view(&spec));
	assert_int_equal(kube_pod_decode(buf_view(&pod), SPAN_NONE, &one, NULL), 0);
	assert_int_equal(one->items[0].container_count, KUBE_POD_LIST_MAX);
	kube_pods_unref(one);
	buf_done(&spec);
	buf_done(&pod);
}

static void every_cut_of_a_pod_is_refused_or_read(void **state)
{
	(void)state;
	struct captured_event events[EVENTS_MAX];
	size_t count = captured_read(events, EVENTS_MAX);
	for (size_t len = 0; len < events[0].pod.len; len++) {
		struct kube_pods *one = NULL;
		char *copy = malloc(len + 1); /* so that a read past the end is seen */
		assert_non_null(copy);
		memcpy(copy, events[0].pod.ptr, len);
		int r = kube_pod_decode(span_of(copy, len), SPAN_NONE, &one, NULL);
		assert_true(r == 0 || r == -EBADMSG);
		kube_pods_unref(one);
		free(copy);
	}
	captured_free(events, count);
}

static int decode_once(void *arg)
{
	struct kube_pods *one;
	int r = kube_pod_decode(buf_view(arg), SPAN("10.0.0.1"), &one, NULL);
	if (r == 0)
		kube_pods_unref(one);
	return r;
}

static void decoding_survives_no_memory(void **state)
{
	(void)state;
	struct captured_event events[EVENTS_MAX];
	size_t count = captured_read(events, EVENTS_MAX);
	test_out_of_memory(decode_once, &events[1].pod);
	captured_free(events, count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods_are_the_same_as_the_kubelet_lists_them),
		cmocka_unit_test(pods_are_the_same_as_the_api_server_lists_them),
		cmocka_unit_test(deleted_pod_has_a_uid),
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(restart_policy_makes_a_sidecar_of_init_containers_only),
		cmocka_unit_test(bytes_that_are_no_pod_are_refused),
		cmocka_unit_test(what_a_pod_has_too_many_of_goes_by),
		cmocka_unit_test(every_cut_of_a_pod_is_refused_or_read),
		cmocka_unit_test(decoding_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
