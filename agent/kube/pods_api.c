/* The Pods API driver: WatchPods of the kubelet, again and again.
 *
 * One stream: 1. Connect; the service is called v1beta1.Pods or v1alpha1.Pods, depending on the kubelet, and says UNIMPLEMENTED to the
 * other name: then that is asked at once. 2. ADDED for each pod, then INITIAL_SYNC_COMPLETE: only then the list is handed over. 3. Changes, which
 * are collected for a moment, since they come in bunches. 4. The end: the kubelet restarts, is still starting (FAILED_PRECONDITION), or we
 * were too slow (RESOURCE_EXHAUSTED). All pods stay, and it begins anew.
 *
 * A pod whose bytes cannot be read is left as it was, and counted: it is no reason to know nothing of all others.
 */
#include "pods_api.h"

#include "grpc.h"
#include "pod_proto.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_TIMEOUT_NS (15 * NS_PER_SEC)
#define PING_INTERVAL_NS (300 * NS_PER_SEC)
#define PING_TIMEOUT_NS  (20 * NS_PER_SEC)
#define MESSAGE_MAX      ((size_t)4 << 20)
/* A kubelet that has just started may not know all its pods. */
#define MISSING_NS (10 * NS_PER_SEC)
#define COLLECT_NS (20 * NS_PER_MS)

#define RETRY_NS        (100 * NS_PER_MS)
#define RETRY_LIMIT_NS  (5 * NS_PER_SEC)
#define ABSENT_LIMIT_NS (60 * NS_PER_SEC)
/* A stream that lived for so long was a good one: the next failure is the first again. */
#define GOOD_STREAM_NS (10 * NS_PER_SEC)

static const char *const methods[] = {"/v1beta1.Pods/WatchPods", "/v1alpha1.Pods/WatchPods"};

enum event_type { EVENT_ADDED = 1, EVENT_MODIFIED, EVENT_DELETED, EVENT_SYNCED };

struct kube_pods_api {
	struct loop *loop;
	struct kube_pods_api_options options;
	struct clock clock;
	struct kube_kubelet_events events;
	struct rng rng;

	struct grpc_call *call;
	size_t method;   /* of methods, which is asked */
	bool both_asked; /* since the last stream that answered */
	struct kube_store store;
	bool synced; /* this stream */
	uint64_t synced_ns;
	bool handed_over; /* ever */
	bool dirty;       /* the store has changed since */
	bool collecting;  /* hand_over is due */
	unsigned failures;
	struct loop_timer *connect_timer, *sync_timer, *collect_timer, *expire_timer;
	struct kube_stats stats;
};

/* ---- failures ------------------------------------------------------------------------ */

static enum kube_failure kind_of(int code)
{
	switch (code) {
	case -ENOENT:
	case -ENOTDIR:
	case GRPC_UNIMPLEMENTED:
		return KUBE_FAILURE_ABSENT;
	case -EACCES:
	case -EPERM:
	case -ENAMETOOLONG:
	case GRPC_PERMISSION_DENIED:
	case GRPC_UNAUTHENTICATED:
		return KUBE_FAILURE_REFUSED;
	default:
		return KUBE_FAILURE_TRANSIENT;
	}
}

/* Half of it is jitter, so that restarted kubelets are not asked by all at once. */
static uint64_t next_delay(struct kube_pods_api *api, enum kube_failure kind)
{
	bool patient = kind != KUBE_FAILURE_TRANSIENT && !api->handed_over;
	uint64_t limit_ns = patient ? ABSENT_LIMIT_NS : RETRY_LIMIT_NS, delay_ns = RETRY_NS;
	for (unsigned i = 0; i < api->failures && delay_ns < limit_ns; i++)
		delay_ns *= 2;
	if (delay_ns > limit_ns)
		delay_ns = limit_ns;
	api->failures++;
	return delay_ns / 2 + rng_below(&api->rng, delay_ns / 2 + 1);
}

static void failed(struct kube_pods_api *api, int code, const struct error *err)
{
	uint64_t now_ns = clock_mono(&api->clock);
	enum kube_failure kind = kind_of(code);
	if (api->synced && now_ns - api->synced_ns >= GOOD_STREAM_NS)
		api->failures = 0;
	api->synced = false;
	uint64_t delay_ns = next_delay(api, kind);
	loop_timer_cancel(api->sync_timer);
	api->stats.failures++;
	api->stats.consecutive_failures++;
	api->stats.last_failure = kind;
	api->stats.last_error = *err;
	loop_timer_set(api->connect_timer, delay_ns);
	if (api->events.failed)
		api->events.failed(api->events.arg, err, delay_ns);
}

/* ---- handing over ----------------------------------------------------------------------- */

static void restart(struct kube_pods_api *api, int code, const char *reason)
{
	struct error err;
	error_set(&err, code, "%s: %s", methods[api->method], reason);
	grpc_cancel(api->call);
	api->call = NULL;
	failed(api, -code, &err);
}

/* A stream that lives and answers pings, but does not come to its end of the beginning: nothing is known by it. */
static void sync_overdue(void *arg)
{
	restart(arg, ETIMEDOUT, "not all pods were told in time");
}

static void hand_over(void *arg)
{
	struct kube_pods_api *api = arg;
	struct kube_pods *pods;
	api->collecting = false;
	if (!api->dirty && api->handed_over)
		return;
	if (kube_store_list(&api->store, &pods) < 0) {
		restart(api, ENOMEM, "out of memory");
		return;
	}
	api->dirty = false;
	api->handed_over = true;
	api->stats.changes++;
	api->stats.pods = pods->count;
	api->events.pods(api->events.arg, pods);
	kube_pods_unref(pods);
}

static void expire(void *arg)
{
	struct kube_pods_api *api = arg;
	uint64_t now_ns = clock_mono(&api->clock), deadline_ns = kube_store_deadline(&api->store);
	if (kube_store_expire(&api->store, now_ns)) {
		api->dirty = true;
		hand_over(api);
	} else if (deadline_ns > 0) {
		loop_timer_set(api->expire_timer, deadline_ns > now_ns ? deadline_ns - now_ns : 0);
	}
}

/* All pods were told. */
static void synced(struct kube_pods_api *api)
{
	loop_timer_cancel(api->sync_timer);
	api->synced = true;
	api->synced_ns = clock_mono(&api->clock);
	api->both_asked = false;
	api->stats.consecutive_failures = 0;
	api->stats.last_failure = KUBE_FAILURE_NONE;
	api->stats.last_error.text[0] = '\0';
	kube_store_synced(&api->store, api->synced_ns);
	if (kube_store_deadline(&api->store) > 0)
		loop_timer_set(api->expire_timer, MISSING_NS);
	api->collecting = loop_timer_set(api->collect_timer, 0) == 0; /* behind the messages that are read now */
	if (api->events.answered)
		api->events.answered(api->events.arg);
}

/* ---- events --------------------------------------------------------------------------------- */

static int put(struct kube_pods_api *api, struct span bytes)
{
	struct kube_pods *one;
	bool changed = false;
	int r = kube_pod_decode(bytes, api->options.host_ip, &one, NULL);
	if (r == 0) {
		r = kube_store_put(&api->store, one, &changed);
		kube_pods_unref(one);
	}
	if (r < 0 && r != -ENOMEM)
		api->stats.failures++;
	api->dirty |= changed;
	return r == -ENOMEM ? r : 0;
}

static void take_away(struct kube_pods_api *api, struct span bytes)
{
	struct span uid;
	if (kube_pod_decode_uid(bytes, &uid) < 0)
		api->stats.failures++;
	else
		api->dirty |= kube_store_remove(&api->store, uid);
}

/* WatchPodsEvent {type = 1; pod = 2} */
static int on_message(void *arg, struct span message)
{
	struct kube_pods_api *api = arg;
	struct proto_field field;
	struct span pod = SPAN_NONE;
	uint64_t type = 0;
	int r;
	while ((r = proto_next(&message, &field)) > 0) {
		if (field.number == 1)
			type = field.value;
		if (field.number == 2)
			pod = field.bytes;
	}
	if (r == 0 && (type == EVENT_ADDED || type == EVENT_MODIFIED))
		r = put(api, pod);
	else if (r == 0 && type == EVENT_DELETED)
		take_away(api, pod);
	else if (r == 0 && type == EVENT_SYNCED && !api->synced)
		synced(api);
	api->stats.last_success_wall_ns = api->synced ? clock_wall(&api->clock) : api->stats.last_success_wall_ns;
	if (api->synced && api->dirty && !api->collecting)
		api->collecting = loop_timer_set(api->collect_timer, COLLECT_NS) == 0;
	return r;
}

static void connect_now(void *arg);

static void on_done(void *arg, const struct grpc_result *result)
{
	struct kube_pods_api *api = arg;
	struct error err = result->error;
	api->call = NULL;
	if (result->code == GRPC_UNIMPLEMENTED) {
		bool other_was_asked = api->both_asked;
		api->method = (api->method + 1) % ARRAY_SIZE(methods);
		api->both_asked = !api->both_asked;
		if (!other_was_asked) {
			connect_now(api);
			return;
		}
	}
	if (result->code == GRPC_OK)
		error_set(&err, ECONNRESET, "%s: the kubelet ended the stream", methods[api->method]);
	failed(api, result->code == GRPC_OK ? -ECONNRESET : result->code, &err);
}

static void connect_now(void *arg)
{
	struct kube_pods_api *api = arg;
	const struct kube_pods_api_options *options = &api->options;
	const struct grpc_request request = {
		.socket = options->socket,
		.method = methods[api->method],
		.max_message_bytes = MESSAGE_MAX,
		.first_timeout_ns = options->first_timeout_ns,
		.ping_interval_ns =
			options->ping_interval_ns + rng_below(&api->rng, options->ping_interval_ns / 10 + 1),
		.ping_timeout_ns = options->ping_timeout_ns,
		.on_message = on_message,
		.on_done = on_done,
		.arg = api,
	};
	struct error err = {""};
	api->stats.polls++;
	kube_store_begin(&api->store);
	int r = grpc_start(api->loop, &request, &api->call, &err);
	if (r == 0)
		loop_timer_set(api->sync_timer, 2 * options->first_timeout_ns);
	else
		failed(api, r, &err);
}

/* ---- the driver's life -------------------------------------------------------------------------- */

int kube_pods_api_new(struct loop *loop, const struct kube_pods_api_options *options, struct clock clock,
	struct kube_kubelet_events events, struct kube_pods_api **ret_api, struct error *err)
{
	struct kube_pods_api *api = calloc(1, sizeof(*api));
	if (!api)
		return error_set(err, ENOMEM, "out of memory");
	*api = (struct kube_pods_api){.loop = loop, .options = *options, .clock = clock, .events = events};
	if (api->options.first_timeout_ns == 0)
		api->options.first_timeout_ns = FIRST_TIMEOUT_NS;
	if (api->options.ping_interval_ns == 0)
		api->options.ping_interval_ns = PING_INTERVAL_NS;
	if (api->options.ping_timeout_ns == 0)
		api->options.ping_timeout_ns = PING_TIMEOUT_NS;
	rng_init(&api->rng, hash_seed());
	kube_store_init(&api->store, MISSING_NS);
	if (loop_timer_new(loop, connect_now, api, &api->connect_timer) < 0 ||
		loop_timer_new(loop, sync_overdue, api, &api->sync_timer) < 0 ||
		loop_timer_new(loop, hand_over, api, &api->collect_timer) < 0 ||
		loop_timer_new(loop, expire, api, &api->expire_timer) < 0 ||
		loop_timer_set(api->connect_timer, 0) < 0) {
		kube_pods_api_free(api);
		return error_set(err, ENOMEM, "out of memory");
	}
	*ret_api = api;
	return 0;
}

void kube_pods_api_free(struct kube_pods_api *api)
{
	if (!api)
		return;
	grpc_cancel(api->call);
	loop_timer_free(api->connect_timer);
	loop_timer_free(api->sync_timer);
	loop_timer_free(api->collect_timer);
	loop_timer_free(api->expire_timer);
	kube_store_done(&api->store);
	free(api);
}

void kube_pods_api_stats(const struct kube_pods_api *api, struct kube_stats *ret_stats)
{
	*ret_stats = api->stats;
}
