/* A watch against a scripted API server: what is asked, what is told, what stays. */
#include "api_fixture.h"

#include "gleaner/codec.h"

#define PATH            "GET /apis/monitoring.coreos.com/v1/servicemonitors?"
#define LIST(rv, items) SPAN("{\"kind\":\"L\",\"metadata\":{\"resourceVersion\":\"" rv "\"},\"items\":[" items "]}")
#define OBJECT(name, rv)                                                                                               \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"uid\":\"uid-" name "\",\"resourceVersion\":\"" rv \
	"\"}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define BOOKMARK(rv)        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" rv "\"}}}\n"
#define ALL_TOLD(rv)                                                                                                   \
	"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" rv                                   \
	"\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
#define ERROR(code, message)                                                                                           \
	"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":" code ",\"message\":\"" message "\"}}\n"

/* Two objects, 10 and 11, as of version 20. */
#define TWO LIST("20", OBJECT("a", "10") "," OBJECT("b", "11"))

static void assert_log(struct fixture *f, const char *expected)
{
	test_assert_text(buf_view(&f->log), expected);
}

static void a_list_is_followed_by_a_watch_from_its_version(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_watch_stats stats;
	fixture_init(&f);
	fixture_file(&f, GOLDEN "servicemonitor_list.json");
	fixture_stream_file(&f, GOLDEN "servicemonitor_watch.ndjson", true);
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "removed", 1, 3);
	assert_log(&f, "upsert default/many-ports\nupsert default/my-app\nsynced\nsynced\n"
		       "upsert shop/short-lived\nupsert shop/short-lived\nremoved 42f3cd07\n");
	fixture_request_has(&f, 0, PATH "timeoutSeconds=60&resourceVersion=0 HTTP/1.1\r\n");
	fixture_request_has(&f, 0, "\r\nAccept: application/json\r\n");
	fixture_request_has(&f, 0, "\r\nAccept-Encoding: gzip\r\n");
	fixture_request_has(&f, 0, "\r\nUser-Agent: gleaner/" GLEANER_VERSION " (linux/");
	fixture_request_lacks(&f, 0, "limit");
	fixture_request_lacks(&f, 0, "Authorization"); /* plain http */
	fixture_request_has(&f, 1, PATH "watch=true&allowWatchBookmarks=true&timeoutSeconds=");
	fixture_request_has(&f, 1, "&resourceVersion=507 HTTP/1.1\r\n");
	fixture_request_lacks(&f, 1, "Accept-Encoding");
	fixture_request_has(&f, 2, "&resourceVersion=584 HTTP/1.1\r\n"); /* of a bookmark; no new list */
	kube_watch_stats(watch, &stats);
	assert_int_equal(stats.state, KUBE_WATCH_SYNCED);
	assert_int_equal(stats.objects, 2);
	assert_int_equal(stats.lists, 1);
	assert_int_equal(stats.events, 3);
	assert_int_equal(stats.requests, 3);
	assert_int_equal(stats.failures, 0);
	assert_true(stats.bytes > 8000);
	assert_int_equal(stats.last_sync_wall_ns, 1000 * NS_PER_SEC);
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void a_watch_list_is_one_request(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	f.options.watch_list = KUBE_WATCH_LIST_AUTO;
	fixture_stream_file(&f, GOLDEN "servicemonitor_watchlist.ndjson", true)->piece = 100;
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "removed", 1, 2);
	assert_log(&f, "upsert default/many-ports\nupsert default/my-app\nsynced\nsynced\n"
		       "upsert shop/short-lived\nupsert shop/short-lived\nremoved 42f3cd07\n");
	fixture_request_has(&f, 0, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0 HTTP");
	fixture_request_has(&f, 1, "&resourceVersion=584 HTTP/1.1\r\n");
	fixture_request_lacks(&f, 1, "sendInitialEvents");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void a_large_list_is_no_watch_list_by_itself(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_watch *watch;
	struct error err;
	fixture_init(&f);
	f.options.watch_list = KUBE_WATCH_LIST_AUTO;
	fixture_file(&f, GOLDEN "service_list.json");
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch_options options = {
		.resource = {"", "v1", "services"},
		.namespace_ = "shop",
		.label_selector = "release in (kps, x),!y",
		.field_selector = "metadata.name=a",
		.large = true,
	};
	assert_int_equal(kube_watch_new(f.api, &options, fixture_events(&f), &watch, &err), 0);
	fixture_run(&f, "synced", 1, 2);
	fixture_request_has(&f, 0,
		"GET /api/v1/namespaces/shop/services?timeoutSeconds=60&resourceVersion=0"
		"&labelSelector=release%20in%20%28kps%2C%20x%29%2C%21y&fieldSelector=metadata.name%3Da HTTP");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void a_server_without_watch_lists_is_remembered(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	f.options.watch_list = KUBE_WATCH_LIST_ON;
	fixture_captured(&f, GOLDEN "api_422_watchlist.http");
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_stream(&f, SPAN(ERROR("410", "too old")), true);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "synced", 3, 5);
	assert_int_equal(fixture_count(&f, "failing"), 0);
	fixture_request_has(&f, 0, "sendInitialEvents");
	for (size_t i = 1; i < 5; i++)
		fixture_request_lacks(&f, i, "sendInitialEvents");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void a_version_too_old_leads_to_a_list_and_only_differences_are_told(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_captured(&f, GOLDEN "api_410_watch.http");
	fixture_answer(&f, "200 OK", "", LIST("30", OBJECT("c", "25") "," OBJECT("a", "10")));
	fixture_captured(&f, GOLDEN "api_410_list_continue.http"); /* the other form, as an answer to the watch */
	fixture_answer(&f, "200 OK", "", LIST("40", OBJECT("a", "31") "," OBJECT("c", "25")));
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "upsert ns/a", 2, 6);
	assert_log(&f, "upsert ns/a\nupsert ns/b\nsynced\nsynced\n"
		       "upsert ns/c\nremoved uid-b\nsynced\n"
		       "upsert ns/a\nsynced\n");
	fixture_request_has(&f, 2, "&resourceVersion=20&resourceVersionMatch=NotOlderThan HTTP");
	fixture_request_has(&f, 4, "&resourceVersion=30&resourceVersionMatch=NotOlderThan HTTP");
	fixture_request_has(&f, 5, "&resourceVersion=40 HTTP");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void where_a_version_is_refused_any_will_do(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_captured(&f, GOLDEN "api_410_watch.http");
	for (int i = 0; i < 3; i++)
		fixture_captured(&f, GOLDEN "api_504_future_version.http"); /* etcd was restored: it counts from less */
	fixture_answer(&f, "200 OK", "", LIST("5", OBJECT("a", "3")));
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "removed uid-b", 1, 7);
	fixture_request_has(&f, 4, "&resourceVersion=20&resourceVersionMatch=NotOlderThan HTTP");
	fixture_request_has(&f, 5, PATH "timeoutSeconds=60 HTTP");
	fixture_request_has(&f, 6, "&resourceVersion=5 HTTP");
	fixture_log_has(&f, "failing: list servicemonitors: 504: Timeout: Too large resource version");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void refusals_and_failures_keep_what_was_told(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_watch_stats stats;
	struct kube_api_stats api_stats;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_answer(&f, "429 Too Many Requests", "Retry-After: 1\r\n", SPAN("slow down"));
	fixture_captured(&f, GOLDEN "api_403.http");
	fixture_reply(&f, strdup("HTTP/1.1 200 OK\r\nContent-Ty"), 0)->then = TEST_RESET;
	fixture_captured(&f, GOLDEN "api_401.http");
	fixture_stream(&f, SPAN(ERROR("500", "etcd\\u0007")), true);
	fixture_stream(&f, SPAN(EVENT("ADDED", OBJECT("c", "21"))), false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "upsert ns/c", 1, 7);
	assert_int_equal(fixture_count(&f, "removed"), 0);
	assert_int_equal(fixture_count(&f, "upsert"), 3);
	fixture_log_has(&f, "failing: watch servicemonitors: 429: slow down\n");
	fixture_log_has(&f, "forbidden: watch servicemonitors: 403: servicemonitors.monitoring.coreos.com is "
			    "forbidden: User \"system:serviceaccount:default:norights\" cannot list");
	fixture_log_has(&f, "failing: watch servicemonitors: no response: ");
	fixture_log_has(&f, "failing: watch servicemonitors: 401: Unauthorized\n");
	fixture_log_has(&f, "failing: watch servicemonitors: 500: etcd%07\n");
	fixture_request_has(&f, 6, "&resourceVersion=20 HTTP"); /* no new list was needed */
	kube_watch_stats(watch, &stats);
	assert_int_equal(stats.state, KUBE_WATCH_SYNCED);
	assert_int_equal(stats.failures, 5);
	assert_string_equal(stats.last_error.text, "");
	kube_api_stats(f.api, &api_stats);
	assert_int_equal(api_stats.requests, 7);
	assert_int_equal(api_stats.too_many, 1);
	assert_int_equal(api_stats.unauthorized, 1);
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void objects_of_a_missing_crd_go_after_two_answers_and_return(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_captured(&f, GOLDEN "api_404_no_crd.http");
	fixture_answer(&f, "200 OK", "", TWO); /* once may be a server that starts */
	fixture_stream(&f, SPAN(ERROR("410", "gone")), true);
	fixture_captured(&f, GOLDEN "api_404_no_crd.http");
	fixture_captured(&f, GOLDEN "api_404_no_crd.http");
	fixture_captured(&f, GOLDEN "api_404_no_crd.http");
	fixture_answer(&f, "200 OK", "", LIST("90", OBJECT("a", "80")));
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "upsert ns/a", 2, 9);
	assert_int_equal(fixture_count(&f, "removed"), 2);
	const char *log = fixture_log(&f);
	assert_true(strstr(log, "removed") < strstr(strstr(strstr(log, "absent") + 1, "absent") + 1, "absent"));
	assert_true(strstr(log, "removed") > strstr(strstr(log, "absent") + 1, "synced"));
	fixture_log_has(&f, "absent: list servicemonitors: 404: 404 page not found\n");
	fixture_request_has(&f, 7, PATH "timeoutSeconds=60&resourceVersion=0 HTTP");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void an_object_that_its_owner_has_no_memory_for_is_told_again(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	f.upserts_without_memory = 1;
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "synced\n", 2, 3);
	assert_log(&f, "upsert ns/a\nfailing: list servicemonitors: out of memory\n"
		       "upsert ns/a\nupsert ns/b\nsynced\nsynced\n");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void a_watch_list_without_an_end_leads_to_a_list(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	f.options.watch_list = KUBE_WATCH_LIST_ON;
	f.options.timeout_ns = 300 * NS_PER_MS;
	fixture_stream(&f, SPAN(EVENT("ADDED", OBJECT("a", "10"))), false);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "synced\n", 2, 3);
	assert_log(&f, "upsert ns/a\nfailing: watch servicemonitors: not all objects were told in time\n"
		       "upsert ns/b\nsynced\nsynced\n");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void kinds_of_the_core_are_never_absent(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_watch_options options = {.resource = {"", "v1", "pods"}};
	struct kube_watch *watch;
	struct error err;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", TWO);
	for (int i = 0; i < 4; i++)
		fixture_answer(&f, "404 Not Found", "", SPAN("default backend - 404"));
	fixture_stream(&f, SPAN(EVENT("ADDED", OBJECT("c", "21"))), false);
	fixture_start(&f, false);
	assert_int_equal(kube_watch_new(f.api, &options, fixture_events(&f), &watch, &err), 0);
	fixture_run(&f, "upsert ns/c", 1, 6);
	fixture_log_has(&f, "failing: watch pods: 404: default backend - 404\n");
	assert_int_equal(fixture_count(&f, "removed"), 0);
	assert_int_equal(fixture_count(&f, "absent"), 0);
	fixture_request_has(&f, 5, "&resourceVersion=20 HTTP");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void first_events_in_any_order_are_no_place_to_go_on_from(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	f.options.watch_list = KUBE_WATCH_LIST_ON;
	fixture_stream(&f, SPAN(EVENT("ADDED", OBJECT("a", "19")) EVENT("ADDED", OBJECT("b", "12"))), true);
	fixture_stream(&f,
		SPAN(EVENT("ADDED", OBJECT("a", "19")) EVENT("ADDED", OBJECT("c", "15")) ALL_TOLD("21") BOOKMARK("33")),
		true);
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "synced", 1, 3);
	assert_log(&f, "upsert ns/a\nupsert ns/b\n"
		       "failing: watch servicemonitors: it ended before all objects were told\n"
		       "upsert ns/c\nremoved uid-b\nsynced\nsynced\n");
	fixture_request_has(&f, 1, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0 HTTP");
	fixture_request_has(&f, 2, "&resourceVersion=33 HTTP");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void a_list_may_be_compressed(void **state)
{
	(void)state;
	struct fixture f;
	struct codec *codec;
	struct buf body;
	struct span list = test_file(GOLDEN "servicemonitor_list.json");
	fixture_init(&f);
	buf_init(&body, 1 << 20);
	assert_int_equal(codec_new(CODEC_GZIP, &codec), 0);
	assert_int_equal(codec_compress(codec, list, &body), 0);
	fixture_answer(&f, "200 OK", "Content-Encoding: gzip\r\n", span_of(body.ptr, body.len - 20));
	fixture_answer(&f, "200 OK", "Content-Encoding: gzip\r\n", buf_view(&body))->piece = 100;
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "synced", 1, 3);
	assert_int_equal(fixture_count(&f, "upsert"), 2);
	fixture_log_has(&f, "failing: list servicemonitors: bad gzip\n");
	kube_watch_free(watch);
	fixture_stop(&f);
	codec_free(codec);
	buf_done(&body);
	test_file_free(list);
}

static void a_list_that_inflates_beyond_the_ceiling_is_refused(void **state)
{
	(void)state;
	struct fixture f;
	struct codec *codec;
	struct buf body;
	static char blanks[2 << 20];
	fixture_init(&f);
	buf_init(&body, 1 << 20);
	memset(blanks, ' ', sizeof(blanks));
	assert_int_equal(codec_new(CODEC_GZIP, &codec), 0);
	assert_int_equal(codec_compress(codec, span_of(blanks, sizeof(blanks)), &body), 0);
	fixture_answer(&f, "200 OK", "Content-Encoding: gzip\r\n", buf_view(&body));
	fixture_answer(&f, "200 OK", "", span_of(blanks, sizeof(blanks)));
	fixture_answer(&f, "200 OK", "", SPAN("{\"items\":null}"));
	fixture_answer(&f, "200 OK", "", SPAN("[]x"));
	fixture_answer(
		&f, "200 OK", "", SPAN("{\"metadata\":{\"resourceVersion\":\"1\",\"continue\":\"x\"},\"items\":[]}"));
	fixture_answer(&f, "200 OK", "", LIST("1", "7"));
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "failing", 6, 6);
	static const char *const expected[] = {"a list larger than allowed\n", "body larger than 1048576 bytes\n",
		"not a list of objects\n", "not JSON near byte", "a part of a list, but all of it was asked for\n",
		"an object without uid, name or resourceVersion\n"};
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		fixture_log_has(&f, expected[i]);
	assert_int_equal(fixture_count(&f, "synced"), 0);
	kube_watch_free(watch);
	fixture_stop(&f);
	codec_free(codec);
	buf_done(&body);
}

static void an_event_too_large_leads_to_a_list(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_watch_stats stats;
	struct buf event;
	fixture_init(&f);
	buf_init(&event, 6 << 20);
	buf_str(&event, "{\"type\":\"ADDED\",\"object\":\"");
	size_t start = event.len;
	assert_non_null(buf_reserve(&event, 5 << 20));
	memset(event.ptr + start, 'x', 5 << 20);
	event.len += 5 << 20;
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_stream(&f, buf_view(&event), false); /* it never ends */
	fixture_answer(&f, "200 OK", "", LIST("30", OBJECT("a", "10") "," OBJECT("b", "11")));
	fixture_stream(&f, SPAN("nonsense\n"), false);
	fixture_answer(&f, "200 OK", "", LIST("31", OBJECT("a", "10") "," OBJECT("b", "11")));
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "synced", 6, 6);
	kube_watch_stats(watch, &stats);
	assert_int_equal(stats.oversized, 1);
	assert_int_equal(stats.lists, 3);
	assert_int_equal(fixture_count(&f, "upsert"), 2);
	assert_int_equal(fixture_count(&f, "removed"), 0);
	fixture_log_has(&f, "failing: watch servicemonitors: an event of more than 4 MiB\n");
	fixture_request_has(&f, 2, "&resourceVersion=20&resourceVersionMatch=NotOlderThan HTTP");
	kube_watch_free(watch);
	fixture_stop(&f);
	buf_done(&event);
}

static void a_watch_that_is_not_answered_is_asked_again(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	f.options.timeout_ns = 300 * NS_PER_MS;
	fixture_answer(&f, "200 OK", "", TWO);
	f.replies[f.reply_count++] = (struct test_reply){.bytes = NULL};
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "synced\n", 3, 3);
	assert_log(&f, "upsert ns/a\nupsert ns/b\nsynced\nsynced\n"
		       "failing: watch servicemonitors: no answer within 300ms\nsynced\n");
	fixture_request_has(&f, 2, "&resourceVersion=20 HTTP");
	kube_watch_free(watch);
	fixture_stop(&f);
}

/* 800 KB whose tree takes 25 MB: whoever may write a monitor could do that to every node. */
static void an_object_too_large_is_left_out(void **state)
{
	(void)state;
	struct fixture f;
	struct kube_watch_stats stats;
	struct buf large, text;
	fixture_init(&f);
	f.options.watch_list = KUBE_WATCH_LIST_AUTO;
	buf_init(&large, 1 << 20);
	buf_init(&text, 1 << 20);
	buf_str(&large, "{\"metadata\":{\"name\":\"large\",\"uid\":\"x\",\"resourceVersion\":\"3\"},\"x\":[0");
	for (size_t i = 0; i < 400000; i++)
		buf_str(&large, ",0");
	buf_str(&large, "]}");
	buf_printf(&text, "{\"type\":\"ADDED\",\"object\":%.*s}\n", SPAN_ARGS(buf_view(&large)));
	fixture_stream(&f, buf_view(&text), false);
	buf_reset(&text);
	buf_printf(&text, "{\"items\":[%s,%.*s,%s],\"metadata\":{\"resourceVersion\":\"20\"}}", OBJECT("a", "10"),
		SPAN_ARGS(buf_view(&large)), OBJECT("b", "11"));
	fixture_answer(&f, "200 OK", "", buf_view(&text));
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "synced\n", 2, 3);
	assert_log(&f, "failing: watch servicemonitors: no memory for so large an object\n"
		       "upsert ns/a\nupsert ns/b\nsynced\nsynced\n");
	kube_watch_stats(watch, &stats);
	assert_int_equal(stats.oversized, 1);
	fixture_request_has(&f, 1, "timeoutSeconds=60&resourceVersion=0 HTTP");
	kube_watch_free(watch);
	fixture_stop(&f);
	buf_done(&large);
	buf_done(&text);
}

static void no_connection_is_a_failure_that_is_told(void **state)
{
	(void)state;
	struct fixture f;
	char url[64];
	fixture_init(&f);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", test_closed_port());
	f.options.api_server = url;
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_start(&f, false);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "failing: list servicemonitors: connect to 127.0.0.1:", 3, 0);
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void a_rotated_token_is_read_again(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_captured(&f, GOLDEN "api_401.http");
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, true);
	f.api->hurry = 1;
	/* The first request has the old token; when its answer comes, the file has changed. */
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "", 0, 1);
	unlink(f.token_file);
	fixture_write(f.token_file, "another-token\n");
	fixture_run(&f, "synced", 1, 3);
	fixture_request_has(&f, 0, "\r\nAuthorization: Bearer the-token\r\n");
	fixture_request_has(&f, 1, "\r\nAuthorization: Bearer another-token\r\n");
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void no_token_goes_to_a_server_that_is_not_verified(void **state)
{
	(void)state;
	struct fixture f;
	struct test_certificate other;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_start(&f, true);
	test_certificate_make("other", "DNS:other", NULL, &other);
	fixture_write(f.ca_file, other.cert);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "failing: list servicemonitors: TLS: ", 1, 0);
	assert_int_equal(test_server_requests(f.server), 0);
	kube_watch_free(watch);
	fixture_stop(&f);
}

static void without_a_token_file_nothing_is_asked(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_stream(&f, SPAN_NONE, false);
	fixture_start(&f, true);
	unlink(f.token_file);
	struct kube_watch *watch = fixture_watch(&f);
	fixture_run(&f, "failing: ", 2, 0);
	fixture_log_has(&f, "token_file: /tmp/gleaner-api-");
	assert_int_equal(test_server_requests(f.server), 0);
	fixture_write(f.token_file, "the-token");
	fixture_run(&f, "synced", 2, 2);
	kube_watch_free(watch);
	fixture_stop(&f);
}

/* An owner that starts and ends other watches from within events. */
struct owner {
	struct fixture f;
	struct kube_watch *first, *second;
};

static void start_second(void *arg)
{
	struct owner *owner = arg;
	if (owner->second)
		return;
	owner->second = fixture_watch(&owner->f);
	fixture_on_synced(&owner->f);
}

static int ignore_upsert(void *arg, const struct kube_object *object)
{
	struct owner *owner = arg;
	(void)object;
	kube_watch_free(owner->second); /* at its second list */
	owner->second = NULL;
	return 0;
}

static void ignore_removed(void *arg, struct span uid)
{
	(void)arg;
	(void)uid;
}

static void watches_may_begin_and_end_within_events_of_another(void **state)
{
	(void)state;
	struct owner owner = {.second = NULL};
	struct kube_watch_options options = {.resource = {"", "v1", "services"}};
	struct error err;
	fixture_init(&owner.f);
	fixture_answer(&owner.f, "200 OK", "", LIST("1", ""));
	fixture_answer(&owner.f, "200 OK", "", TWO);
	fixture_start(&owner.f, false);
	struct kube_watch_events events = {ignore_upsert, ignore_removed, start_second, NULL, &owner};
	assert_int_equal(kube_watch_new(owner.f.api, &options, events, &owner.first, &err), 0);
	fixture_run(&owner.f, "synced", 1, 4);
	kube_watch_free(owner.first);
	kube_watch_free(owner.second);
	fixture_stop(&owner.f);
}

static int make_watch(void *arg)
{
	struct fixture *f = arg;
	struct kube_api *api;
	struct kube_watch *watch;
	struct error err;
	struct kube_watch_options options = {
		.resource = {"", "v1", "pods"}, .namespace_ = "a", .field_selector = "b=c"};
	int r = kube_api_new(f->loop, &f->options, test_clock(&f->clock), &api, &err);
	if (r < 0)
		return r;
	r = kube_watch_new(api, &options, fixture_events(f), &watch, &err);
	if (r == 0)
		kube_watch_free(watch);
	kube_api_free(api);
	return r;
}

static void out_of_memory_is_told(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_answer(&f, "200 OK", "", TWO);
	fixture_start(&f, false);
	test_out_of_memory(make_watch, &f);
	fixture_stop(&f);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_followed_by_a_watch_from_its_version),
		cmocka_unit_test(a_watch_list_is_one_request),
		cmocka_unit_test(a_large_list_is_no_watch_list_by_itself),
		cmocka_unit_test(a_server_without_watch_lists_is_remembered),
		cmocka_unit_test(a_version_too_old_leads_to_a_list_and_only_differences_are_told),
		cmocka_unit_test(where_a_version_is_refused_any_will_do),
		cmocka_unit_test(refusals_and_failures_keep_what_was_told),
		cmocka_unit_test(objects_of_a_missing_crd_go_after_two_answers_and_return),
		cmocka_unit_test(an_object_that_its_owner_has_no_memory_for_is_told_again),
		cmocka_unit_test(a_watch_list_without_an_end_leads_to_a_list),
		cmocka_unit_test(kinds_of_the_core_are_never_absent),
		cmocka_unit_test(first_events_in_any_order_are_no_place_to_go_on_from),
		cmocka_unit_test(a_list_may_be_compressed),
		cmocka_unit_test(a_list_that_inflates_beyond_the_ceiling_is_refused),
		cmocka_unit_test(an_event_too_large_leads_to_a_list),
		cmocka_unit_test(a_watch_that_is_not_answered_is_asked_again),
		cmocka_unit_test(an_object_too_large_is_left_out),
		cmocka_unit_test(no_connection_is_a_failure_that_is_told),
		cmocka_unit_test(a_rotated_token_is_read_again),
		cmocka_unit_test(no_token_goes_to_a_server_that_is_not_verified),
		cmocka_unit_test(without_a_token_file_nothing_is_asked),
		cmocka_unit_test(watches_may_begin_and_end_within_events_of_another),
		cmocka_unit_test(out_of_memory_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
