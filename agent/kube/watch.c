/* A watched list: all objects of a kind, and what changes.
 *
 *   1. start_next sends what is due: a list, a watch from its resourceVersion, or both in one (WatchList: the watch begins with all
 *      objects and a bookmark that says so).
 *   2. libcurl's pieces wait in `pending`: the owner is told outside of libcurl's callbacks, where it may start requests of its own.
 *   3. consume reads them: a list through kube_list_reader, a watch line by line. put_object and remove_object tell the owner.
 *   4. synced: what was known and was not told again is gone.
 *   5. At the end of a request, finish decides what is next, and kube_retry when.
 *
 * Whatever fails, what was told stays; only a list without an object, or two answers 404, remove it. A version that is too old
 * (410) comes as a status or as an event; both lead to a new list, no older than what is known, or any if that fails (a
 * restored etcd has smaller versions).
 */
#include "api.h"
#include "known.h"
#include "lines.h"
#include "list.h"
#include "retry.h"

#include "gleaner/codec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define WATCH_SECONDS_MIN 300
#define WATCH_SECONDS_MAX 600
#define WATCH_GRACE_NS    (30 * NS_PER_SEC) /* for a server that does not end it by itself */
#define SHORT_WATCH_NS    NS_PER_SEC        /* ended sooner and without an event: a failure */

enum {
	EVENT_MAX = 4 << 20,
	OBJECT_MAX = 16 << 20,    /* of a tree: 10 times the 1.5 MiB of an object in etcd; usual is 2 to 5 */
	PENDING_MAX = 32 << 20,   /* not yet consumed */
	WATCH_BODY_MAX = 1 << 30, /* of one watch */
	VERSION_MAX = 128,
	FUTURE_MAX = 3, /* answers in a row that our version is in the future, before any version will do */
};

enum phase { PHASE_LIST, PHASE_WATCH_LIST, PHASE_WATCH };

struct kube_watch {
	struct kube_api *api;
	struct kube_watch_options options;
	struct kube_watch_events events;
	struct arena texts; /* of the options */
	struct loop_timer *start_timer, *consume_timer, *sync_timer;
	struct kube_retry retry;
	struct kube_known known;
	char version[VERSION_MAX + 1]; /* where the next watch begins; "": nowhere yet */
	bool any_version;              /* the next list: "not older than" failed */
	bool must_list;                /* a watch alone will not do */
	bool no_watch_list;            /* it would fail again: an object too large, or no end */

	/* The request under way. */
	enum phase phase;
	struct http_call *call;
	uint64_t started_ns, started_events;
	unsigned status;    /* of its answer, or of an ERROR event */
	bool is_open;       /* its answer began with a 200 */
	struct error error; /* why it has to end */
	int failed;
	struct buf refusal, pending, inflated;
	struct codec_inflate *inflate; /* NULL: plain */
	struct kube_list_reader *list;
	struct kube_lines lines;
	struct arena arena; /* of one event */

	struct kube_watch_stats stats;
};

const char *kube_watch_state_name(enum kube_watch_state state)
{
	static const char *const names[] = {"starting", "synced", "failing", "forbidden", "absent"};
	return names[state];
}

/* ---- what is told ------------------------------------------------------------------------ */

static void tell_state(struct kube_watch *watch, enum kube_watch_state state, const struct error *err)
{
	bool is_news = watch->stats.state != state || err->text[0];
	watch->stats.state = state;
	watch->stats.last_error = *err;
	if (is_news && watch->events.state)
		watch->events.state(watch->events.arg, state, err);
}

static int fail(struct kube_watch *watch, int code, const char *why)
{
	if (!watch->failed)
		watch->failed = error_set(&watch->error, code, "%s", why);
	return watch->failed;
}

static void tell_gone(void *arg, struct span uid)
{
	struct kube_watch *watch = arg;
	watch->events.removed(watch->events.arg, uid);
}

static bool keep_version(struct kube_watch *watch, struct span version)
{
	if (version.len == 0 || version.len > VERSION_MAX)
		return false;
	memcpy(watch->version, version.ptr, version.len);
	watch->version[version.len] = '\0';
	return true;
}

/* All objects of a list were told. */
static void synced(struct kube_watch *watch, struct span version)
{
	static const struct error none = {""};
	if (!keep_version(watch, version)) {
		fail(watch, EBADMSG, "a list without a resourceVersion");
		return;
	}
	if (kube_known_sweep(&watch->known, false, tell_gone, watch) < 0) {
		fail(watch, ENOMEM, "out of memory");
		return;
	}
	loop_timer_cancel(watch->sync_timer);
	watch->must_list = watch->any_version = false;
	watch->stats.lists++;
	watch->stats.objects = watch->known.objects.count;
	watch->stats.last_sync_wall_ns = clock_wall(&watch->api->clock);
	kube_retry_succeeded(&watch->retry);
	if (watch->events.synced)
		watch->events.synced(watch->events.arg);
	tell_state(watch, KUBE_WATCH_SYNCED, &none);
}

static bool read_object(const struct json *json, struct kube_object *ret_object)
{
	const struct json *metadata = json_get(json, "metadata");
	*ret_object = (struct kube_object){
		.uid = json_string(metadata, "uid", SPAN_NONE),
		.namespace_ = json_string(metadata, "namespace", SPAN_NONE),
		.name = json_string(metadata, "name", SPAN_NONE),
		.resource_version = json_string(metadata, "resourceVersion", SPAN_NONE),
		.json = json,
	};
	return ret_object->uid.len > 0 && ret_object->name.len > 0 && ret_object->resource_version.len > 0;
}

static void put_object(void *arg, const struct json *json)
{
	struct kube_watch *watch = arg;
	struct kube_object object;
	if (watch->failed)
		return;
	if (!json) {
		watch->stats.oversized++;
		return;
	}
	if (!read_object(json, &object)) {
		fail(watch, EBADMSG, "an object without uid, name or resourceVersion");
		return;
	}
	int r = kube_known_put(&watch->known, object.uid, object.resource_version);
	watch->stats.objects = watch->known.objects.count;
	if (r < 0)
		fail(watch, -r, r == -E2BIG ? "more than 500000 objects" : "out of memory");
	else if (r > 0 && watch->events.upsert(watch->events.arg, &object) < 0) {
		kube_known_doubt(&watch->known, object.uid);
		fail(watch, ENOMEM, "out of memory");
	}
}

static void remove_object(struct kube_watch *watch, const struct json *json)
{
	struct kube_object object;
	if (!read_object(json, &object))
		fail(watch, EBADMSG, "an object without uid, name or resourceVersion");
	else if (kube_known_remove(&watch->known, object.uid))
		watch->events.removed(watch->events.arg, object.uid);
	watch->stats.objects = watch->known.objects.count;
}

/* ---- the events of a watch ------------------------------------------------------------------ */

/* A Status: {"code":410,"reason":"Expired","message":"too old resource version: 1 (283)"}. */
static void take_error(struct kube_watch *watch, const struct json *status)
{
	int64_t code = 500;
	json_integer(status, "code", 100, 999, &code);
	struct escaped message = escape_bytes(json_string(status, "message", SPAN("no reason given")));
	watch->status = (unsigned)code;
	watch->failed = error_set(&watch->error, EREMOTEIO, "%u: %s", watch->status, message.text);
}

static void take_bookmark(struct kube_watch *watch, const struct json *object)
{
	const struct json *metadata = json_get(object, "metadata");
	struct span version = json_string(metadata, "resourceVersion", SPAN_NONE);
	struct span end = json_string(json_get(metadata, "annotations"), "k8s.io/initial-events-end", SPAN_NONE);
	if (!watch->must_list)
		keep_version(watch, version);
	else if (span_eq(end, SPAN("true")))
		synced(watch, version);
}

static void take_event(struct kube_watch *watch, const struct json *event)
{
	struct span type = json_string(event, "type", SPAN_NONE);
	const struct json *object = json_get(event, "object");
	if (span_eq(type, SPAN("ERROR"))) {
		take_error(watch, object);
		return;
	}
	if (span_eq(type, SPAN("BOOKMARK"))) {
		take_bookmark(watch, object);
		return;
	}
	watch->stats.events++;
	watch->stats.last_event_wall_ns = clock_wall(&watch->api->clock);
	if (span_eq(type, SPAN("ADDED")) || span_eq(type, SPAN("MODIFIED")))
		put_object(watch, object);
	else if (span_eq(type, SPAN("DELETED")))
		remove_object(watch, object);
	else
		fail(watch, EBADMSG, "an event of an unknown type");
	/* The first events of a WatchList come in no order: their versions are not where to go on from. */
	if (!watch->failed && !watch->must_list)
		keep_version(watch, json_string(json_get(object, "metadata"), "resourceVersion", SPAN_NONE));
}

static void consume_lines(struct kube_watch *watch, struct span bytes)
{
	struct span line;
	int r = 0;
	while (!watch->failed && (r = kube_lines_next(&watch->lines, &bytes, &line)) > 0) {
		const struct json *event;
		struct error why;
		r = json_parse(&watch->arena, line, &event, &why);
		if (r == 0)
			take_event(watch, event);
		else
			fail(watch, -r, why.text);
		arena_reset(&watch->arena);
	}
	if (r == -E2BIG) {
		watch->stats.oversized++;
		fail(watch, E2BIG, "an event of more than 4 MiB");
	} else if (r < 0) {
		fail(watch, -r, "out of memory");
	}
}

/* ---- the body ----------------------------------------------------------------------------------- */

static void consume_list(struct kube_watch *watch, struct span bytes)
{
	struct error why = {""};
	int r = 0;
	if (watch->inflate) {
		buf_reset(&watch->inflated);
		r = codec_inflate_feed(watch->inflate, bytes, &watch->inflated);
		bytes = buf_view(&watch->inflated);
		if (r < 0)
			error_set(&why, -r, r == -EMSGSIZE ? "a list larger than allowed" : "bad gzip");
	}
	if (r == 0)
		r = kube_list_reader_feed(watch->list, bytes, &why);
	if (r < 0)
		fail(watch, -r, why.text);
}

static void consume(struct kube_watch *watch)
{
	struct span bytes = buf_view(&watch->pending);
	if (bytes.len > 0 && !watch->failed) {
		if (watch->phase == PHASE_LIST)
			consume_list(watch, bytes);
		else
			consume_lines(watch, bytes);
	}
	buf_reset(&watch->pending);
}

static int prepare_list(struct kube_watch *watch, bool is_gzip)
{
	size_t max_bytes = watch->api->options->max_list_bytes;
	int r = kube_list_reader_new(max_bytes, OBJECT_MAX, put_object, watch, &watch->list);
	if (r == 0 && is_gzip)
		r = codec_inflate_new(&watch->inflate);
	if (r == 0 && is_gzip)
		codec_inflate_begin(watch->inflate, (struct codec_inflate_limits){.max_out = max_bytes});
	return r;
}

static int on_headers(void *arg, const struct http_response *response)
{
	struct kube_watch *watch = arg;
	watch->status = response->status;
	watch->is_open = response->status == 200;
	if (!watch->is_open)
		return 0;
	loop_timer_set(watch->consume_timer, 0);
	bool is_gzip = span_eq_nocase(response->content_encoding, SPAN("gzip"));
	if (watch->phase == PHASE_LIST && prepare_list(watch, is_gzip) < 0)
		return fail(watch, ENOMEM, "out of memory");
	return 0;
}

static int on_body(void *arg, struct span piece)
{
	struct kube_watch *watch = arg;
	watch->api->stats.bytes += piece.len;
	watch->stats.bytes += piece.len;
	if (!watch->is_open) {
		size_t room = KUBE_REFUSAL_MAX - watch->refusal.len;
		buf_append(&watch->refusal, piece.ptr, piece.len < room ? piece.len : room);
		return 0;
	}
	loop_timer_set(watch->consume_timer, 0);
	return buf_span(&watch->pending, piece) < 0 ? fail(watch, ENOMEM, "out of memory") : 0;
}

/* ---- the end of a request --------------------------------------------------------------------------- */

static void start_after(struct kube_watch *watch, uint64_t wait_ns)
{
	loop_timer_set(watch->start_timer, kube_api_wait(watch->api, wait_ns));
}

static void end_request(struct kube_watch *watch)
{
	http_cancel(watch->call);
	if (watch->consume_timer)
		loop_timer_cancel(watch->consume_timer);
	if (watch->sync_timer)
		loop_timer_cancel(watch->sync_timer);
	kube_list_reader_free(watch->list);
	codec_inflate_free(watch->inflate);
	watch->list = NULL;
	watch->inflate = NULL;
	watch->call = NULL;
	buf_done(&watch->pending); /* of a list it was large */
	buf_done(&watch->inflated);
}

static void list_ended(struct kube_watch *watch)
{
	struct span version = SPAN_NONE;
	struct error why;
	int r = watch->inflate ? codec_inflate_end(watch->inflate) : 0;
	if (r < 0)
		error_set(&why, -r, "bad gzip");
	else
		r = kube_list_reader_end(watch->list, &version, &why);
	if (r < 0)
		fail(watch, -r, why.text);
	else if (!watch->failed)
		synced(watch, version);
}

static bool uses_watch_list(const struct kube_watch *watch)
{
	int wanted = watch->api->options->watch_list;
	return !watch->api->no_watch_list && !watch->no_watch_list &&
	       (wanted == KUBE_WATCH_LIST_ON || (wanted == KUBE_WATCH_LIST_AUTO && !watch->options.large));
}

/* Our version is too old, or (a restored etcd) not reached yet, or not understood. */
static bool is_version_refused(const struct kube_watch *watch)
{
	bool is_future = watch->status == 504 && watch->retry.ahead + 1 >= FUTURE_MAX;
	return watch->status == 410 || watch->status == 400 || watch->status == 422 || is_future;
}

/* What the failure means for the next request. Returns whether it is a part of the protocol, and nobody's trouble. */
static bool learn(struct kube_watch *watch)
{
	if (watch->must_list && watch->phase == PHASE_WATCH_LIST && watch->status == 422) {
		watch->api->no_watch_list = true;
		return true;
	}
	bool is_too_large = watch->failed == -E2BIG || watch->failed == -ENOMEM;
	bool would_fail_again = is_too_large || watch->failed == -ETIMEDOUT;
	watch->no_watch_list |= watch->must_list && watch->phase == PHASE_WATCH_LIST && would_fail_again;
	if (watch->must_list && watch->version[0] && !watch->any_version && is_version_refused(watch)) {
		watch->any_version = true;
		return true;
	}
	if (watch->must_list)
		return false;
	watch->must_list = is_too_large || watch->failed == -EBADMSG || is_version_refused(watch);
	return watch->status == 410;
}

/* A CRD may be missing; the kinds of the core never are: whoever answers 404 for them is no API server. */
static bool is_absent(const struct kube_watch *watch)
{
	return watch->status == 404 && watch->options.resource.group[0];
}

static enum kube_watch_state state_of(const struct kube_watch *watch)
{
	return watch->status == 403 ? KUBE_WATCH_FORBIDDEN : is_absent(watch) ? KUBE_WATCH_ABSENT : KUBE_WATCH_FAILING;
}

/* The kind of objects is not there. One such answer may come from a server that has just started. */
static void forget_absent(struct kube_watch *watch)
{
	watch->must_list = true;
	if (watch->retry.absent > 1 && kube_known_sweep(&watch->known, true, tell_gone, watch) == 0)
		watch->version[0] = '\0';
	watch->stats.objects = watch->known.objects.count;
}

static void request_failed(struct kube_watch *watch, uint64_t retry_after_ns)
{
	watch->stats.failures++;
	bool is_expected = learn(watch);
	if (is_expected)
		kube_retry_succeeded(&watch->retry); /* the server lives: asked again at once, or nearly */
	unsigned status = watch->status == 404 && !is_absent(watch) ? 0 : watch->status;
	start_after(watch, kube_retry_failed(&watch->retry, status, retry_after_ns));
	if (is_absent(watch))
		forget_absent(watch);
	if (!is_expected)
		tell_state(watch, state_of(watch), &watch->error);
}

/* A watch ends every few minutes; one that ends at once, without a word, is a server in trouble. */
static bool was_useful(const struct kube_watch *watch)
{
	return watch->is_open && (watch->stats.events != watch->started_events ||
					 clock_mono(&watch->api->clock) - watch->started_ns >= SHORT_WATCH_NS);
}

static void finish(struct kube_watch *watch, uint64_t retry_after_ns)
{
	bool is_watch = watch->phase != PHASE_LIST;
	end_request(watch);
	if (is_watch && was_useful(watch))
		kube_retry_succeeded(&watch->retry);
	else if (is_watch && !watch->failed)
		fail(watch, ECONNRESET, "it ended at once");
	if (!watch->failed) {
		start_after(watch, 0);
		return;
	}
	error_wrap(&watch->error, EIO, "%s %s", is_watch ? "watch" : "list", watch->options.resource.name);
	request_failed(watch, retry_after_ns);
}

static void judge_answer(struct kube_watch *watch, const struct http_response *response)
{
	if (watch->failed)
		return;
	if (response->failure != HTTP_OK || response->status != 200) {
		watch->failed = -EIO;
		kube_api_describe(response, buf_view(&watch->refusal), &watch->error);
		if (response->failure != HTTP_OK)
			watch->status = 0;
	} else if (watch->phase == PHASE_LIST) {
		list_ended(watch);
	} else if (watch->must_list) {
		fail(watch, EBADMSG, "it ended before all objects were told");
	}
}

static void on_done(void *arg, const struct http_response *response)
{
	struct kube_watch *watch = arg;
	bool again = kube_api_ended(watch->api, response);
	watch->call = NULL;
	consume(watch);
	judge_answer(watch, response);
	if (again) {
		end_request(watch);
		start_after(watch, 0);
		return;
	}
	finish(watch, kube_api_retry_after(response));
}

/* Outside of libcurl's callbacks: what came is read. */
static void pieces_wait(void *arg)
{
	struct kube_watch *watch = arg;
	static const struct error none = {""};
	consume(watch);
	if (watch->failed)
		finish(watch, 0); /* what follows is of no use */
	else if (!watch->must_list)
		tell_state(watch, KUBE_WATCH_SYNCED, &none);
}

/* The stream lives, and its bookmark does not come: a cache of the server that waits for its etcd. */
static void sync_overdue(void *arg)
{
	struct kube_watch *watch = arg;
	fail(watch, ETIMEDOUT, "not all objects were told in time");
	finish(watch, 0);
}

/* ---- the start of a request ------------------------------------------------------------------------------ */

static void put_parameter(struct buf *path, const char *name, const char *value)
{
	buf_printf(path, "&%s=", name);
	kube_api_escape(path, span_str(value));
}

static void put_selectors(struct kube_watch *watch, struct buf *path)
{
	if (watch->options.label_selector)
		put_parameter(path, "labelSelector", watch->options.label_selector);
	if (watch->options.field_selector)
		put_parameter(path, "fieldSelector", watch->options.field_selector);
}

/* A first list may come from the server's cache, however old it is; a later one may not be older than what is known. */
static void put_list_version(struct kube_watch *watch, struct buf *path)
{
	if (watch->any_version)
		return;
	put_parameter(path, "resourceVersion", watch->version[0] ? watch->version : "0");
	if (watch->version[0] && watch->phase == PHASE_LIST)
		put_parameter(path, "resourceVersionMatch", "NotOlderThan");
}

static int put_path(struct kube_watch *watch, unsigned seconds, struct buf *path)
{
	int r = kube_api_path(path, watch->options.resource, span_str(watch->options.namespace_), SPAN_NONE);
	if (r < 0)
		return r;
	if (watch->phase == PHASE_LIST)
		buf_str(path, "?timeoutSeconds=60");
	else
		buf_printf(path, "?watch=true&allowWatchBookmarks=true&timeoutSeconds=%u", seconds);
	if (watch->phase == PHASE_WATCH_LIST)
		buf_str(path, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
	if (watch->phase == PHASE_WATCH)
		put_parameter(path, "resourceVersion", watch->version);
	else
		put_list_version(watch, path);
	put_selectors(watch, path);
	return buf_char(path, '\0');
}

static int send_request(struct kube_watch *watch, struct error *err)
{
	struct kube_api *api = watch->api;
	unsigned seconds =
		(unsigned)(WATCH_SECONDS_MIN + rng_below(&api->rng, WATCH_SECONDS_MAX - WATCH_SECONDS_MIN + 1));
	bool is_list = watch->phase == PHASE_LIST;
	struct buf path;
	buf_init(&path, 65536);
	int r = put_path(watch, seconds, &path);
	struct kube_api_request request = {
		.path = path.ptr,
		.gzip = is_list,
		.timeout_ns = is_list ? api->options->timeout_ns : seconds * NS_PER_SEC + WATCH_GRACE_NS,
		.first_byte_timeout_ns = api->options->timeout_ns, /* of a watch the headers come at once */
		.max_body_bytes = is_list ? api->options->max_list_bytes : WATCH_BODY_MAX,
		.on_headers = on_headers,
		.on_body = on_body,
		.on_done = on_done,
		.arg = watch,
	};
	r = r < 0 ? error_set(err, -r, "out of memory") : kube_api_start(api, &request, &watch->call, err);
	buf_done(&path);
	return r;
}

static void begin_request(struct kube_watch *watch)
{
	watch->phase = !watch->must_list ? PHASE_WATCH : uses_watch_list(watch) ? PHASE_WATCH_LIST : PHASE_LIST;
	if (watch->must_list)
		kube_known_begin(&watch->known);
	watch->status = 0;
	watch->is_open = false;
	watch->failed = 0;
	watch->error.text[0] = '\0';
	watch->started_ns = clock_mono(&watch->api->clock);
	watch->started_events = watch->stats.events;
	watch->stats.requests++;
	buf_reset(&watch->refusal);
	kube_lines_reset(&watch->lines);
	buf_init(&watch->pending, PENDING_MAX);
	buf_init(&watch->inflated, watch->api->options->max_list_bytes);
}

static void start_next(void *arg)
{
	struct kube_watch *watch = arg;
	begin_request(watch);
	int r = send_request(watch, &watch->error);
	if (r == 0 && watch->phase == PHASE_WATCH_LIST)
		loop_timer_set(watch->sync_timer, watch->api->options->timeout_ns);
	if (r == 0)
		return;
	watch->failed = r;
	end_request(watch);
	request_failed(watch, 0);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static int prepare(struct kube_watch *watch)
{
	struct kube_api *api = watch->api;
	uint64_t now_ns = clock_mono(&api->clock);
	int r = loop_timer_new(api->loop, start_next, watch, &watch->start_timer);
	if (r == 0)
		r = loop_timer_new(api->loop, pieces_wait, watch, &watch->consume_timer);
	if (r == 0)
		r = loop_timer_new(api->loop, sync_overdue, watch, &watch->sync_timer);
	const char **texts[] = {
		&watch->options.namespace_, &watch->options.label_selector, &watch->options.field_selector};
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
		if (*texts[i] && !(*texts[i] = arena_strdup(&watch->texts, *texts[i])))
			r = -ENOMEM;
	if (r == 0)
		start_after(watch, api->begin_ns > now_ns ? api->begin_ns - now_ns : 0);
	return r;
}

int kube_watch_new(struct kube_api *api, const struct kube_watch_options *options, struct kube_watch_events events,
	struct kube_watch **ret_watch, struct error *err)
{
	struct kube_watch *watch = calloc(1, sizeof(*watch));
	if (!watch)
		return error_set(err, ENOMEM, "out of memory");
	watch->api = api;
	watch->options = *options;
	watch->events = events;
	watch->must_list = true;
	kube_retry_init(&watch->retry, rng_next(&api->rng));
	kube_known_init(&watch->known);
	kube_lines_init(&watch->lines, EVENT_MAX);
	arena_init(&watch->arena, OBJECT_MAX);
	arena_init(&watch->texts, 65536);
	buf_init(&watch->refusal, KUBE_REFUSAL_MAX);
	int r = prepare(watch);
	if (r < 0) {
		kube_watch_free(watch);
		return error_set(err, -r, "watch %s: out of memory", options->resource.name);
	}
	*ret_watch = watch;
	return 0;
}

void kube_watch_free(struct kube_watch *watch)
{
	if (!watch)
		return;
	end_request(watch);
	loop_timer_free(watch->start_timer);
	loop_timer_free(watch->consume_timer);
	loop_timer_free(watch->sync_timer);
	kube_known_done(&watch->known);
	kube_lines_done(&watch->lines);
	arena_done(&watch->arena);
	arena_done(&watch->texts);
	buf_done(&watch->refusal);
	free(watch);
}

void kube_watch_stats(const struct kube_watch *watch, struct kube_watch_stats *ret_stats)
{
	*ret_stats = watch->stats;
}
