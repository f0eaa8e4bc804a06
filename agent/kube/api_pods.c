/* The node's pods by a watch at the API server: events of objects -> lists of pods.
 *
 * The API server knows a static pod as its mirror, under an own uid, which changes when the mirror is made again; the pod that is told
 * has the uid of the static pod (build.c). So there are two uids of one pod: the object's, by which the watch speaks of it,
 * and the pod's own, by which it is stored. A pod goes when none of its objects is left.
 */
#include "gleaner/kube_api.h"
#include "pods.h"
#include "store.h"

#include <errno.h>
#include <stdlib.h>

struct alias {
	struct alias *next;
	size_t object_len, pod_len;
	char texts[]; /* the object's uid, the pod's uid */
};

struct kube_api_pods {
	struct kube_api *api;
	struct kube_watch *watch;
	struct kube_kubelet_events events;
	struct kube_store store;
	struct alias *aliases; /* of the pods whose uids differ: static pods */
	char *host_ip;
	bool is_synced; /* lists are told from then on */
	struct kube_stats stats;
};

/* ---- uids ------------------------------------------------------------------------------- */

static struct span object_uid(const struct alias *alias)
{
	return span_of(alias->texts, alias->object_len);
}

static struct span pod_uid(const struct alias *alias)
{
	return span_of(alias->texts + alias->object_len, alias->pod_len);
}

static struct alias **find_alias(struct kube_api_pods *pods, struct span object)
{
	struct alias **at = &pods->aliases;
	while (*at && !span_eq(object_uid(*at), object))
		at = &(*at)->next;
	return at;
}

static int remember_alias(struct kube_api_pods *pods, struct span object, struct span pod)
{
	if (span_eq(object, pod) || *find_alias(pods, object))
		return 0;
	struct alias *alias = malloc(sizeof(*alias) + object.len + pod.len);
	if (!alias)
		return -ENOMEM;
	*alias = (struct alias){pods->aliases, object.len, pod.len};
	memcpy(alias->texts, object.ptr, object.len);
	memcpy(alias->texts + object.len, pod.ptr, pod.len);
	pods->aliases = alias;
	return 0;
}

static bool has_alias(const struct kube_api_pods *pods, struct span pod)
{
	for (const struct alias *alias = pods->aliases; alias; alias = alias->next)
		if (span_eq(pod_uid(alias), pod))
			return true;
	return false;
}

/* Returns whether the pod was there and is gone. */
static bool remove_object(struct kube_api_pods *pods, struct span object)
{
	struct alias **at = find_alias(pods, object), *alias = *at;
	if (!alias)
		return kube_store_remove(&pods->store, object);
	*at = alias->next;
	bool gone = !has_alias(pods, pod_uid(alias)) && kube_store_remove(&pods->store, pod_uid(alias));
	free(alias);
	return gone;
}

/* ---- what the watch tells ------------------------------------------------------------------ */

static void publish(struct kube_api_pods *pods)
{
	struct kube_pods *list;
	if (!pods->is_synced)
		return;
	if (kube_store_list(&pods->store, &list) < 0) {
		error_set(&pods->stats.last_error, ENOMEM, "out of memory");
		return; /* the next change tells this one, too */
	}
	pods->stats.changes++;
	pods->stats.pods = list->count;
	pods->events.pods(pods->events.arg, list);
	kube_pods_unref(list);
}

static int on_upsert(void *arg, const struct kube_object *object)
{
	struct kube_api_pods *pods = arg;
	struct kube_pods *one;
	bool changed = false;
	int r = kube_pods_from_json(object->json, span_str(pods->host_ip), &one);
	if (r == 0) {
		r = remember_alias(pods, object->uid, one->items[0].uid);
		if (r == 0)
			r = kube_store_put(&pods->store, one, &changed);
		kube_pods_unref(one);
	}
	if (r < 0)
		error_set(&pods->stats.last_error, -r, "pod %s: %s", escape_bytes(object->name).text,
			r == -ENOMEM ? "out of memory" : "cannot be read");
	else if (changed)
		publish(pods);
	return r == -ENOMEM ? r : 0;
}

static void on_removed(void *arg, struct span uid)
{
	struct kube_api_pods *pods = arg;
	if (remove_object(pods, uid))
		publish(pods);
}

static void answered(struct kube_api_pods *pods)
{
	if (pods->events.answered)
		pods->events.answered(pods->events.arg);
}

static void on_synced(void *arg)
{
	struct kube_api_pods *pods = arg;
	answered(pods);
	if (pods->is_synced)
		return; /* what the new list changed was told as it came */
	pods->is_synced = true;
	publish(pods);
}

static void on_state(void *arg, enum kube_watch_state state, const struct error *err)
{
	struct kube_api_pods *pods = arg;
	pods->stats.last_error = *err;
	if (state == KUBE_WATCH_SYNCED) {
		pods->stats.consecutive_failures = 0;
		pods->stats.last_failure = KUBE_FAILURE_NONE;
		answered(pods);
		return;
	}
	pods->stats.failures++;
	pods->stats.consecutive_failures++;
	pods->stats.last_failure = state == KUBE_WATCH_FORBIDDEN ? KUBE_FAILURE_REFUSED : KUBE_FAILURE_TRANSIENT;
	if (pods->events.failed)
		pods->events.failed(pods->events.arg, err, 0);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int begin_watch(struct kube_api_pods *pods, const char *node_name, struct error *err)
{
	struct buf selector;
	buf_init(&selector, 4096);
	buf_printf(&selector, "spec.nodeName=%s", node_name);
	buf_char(&selector, '\0');
	struct kube_watch_options options = {.resource = {"", "v1", "pods"}, .field_selector = selector.ptr};
	struct kube_watch_events events = {on_upsert, on_removed, on_synced, on_state, pods};
	int r = selector.failed ? error_set(err, -selector.failed, "pods of the node: out of memory")
				: kube_watch_new(pods->api, &options, events, &pods->watch, err);
	buf_done(&selector);
	return r;
}

int kube_api_pods_new(struct kube_api *api, const char *node_name, const char *host_ip,
	struct kube_kubelet_events events, struct kube_api_pods **ret_pods, struct error *err)
{
	if (!node_name)
		return error_set(err, EINVAL, "pods from the API server: node_name (NODE_NAME) is not known");
	struct kube_api_pods *pods = calloc(1, sizeof(*pods));
	if (!pods)
		return error_set(err, ENOMEM, "pods from the API server: out of memory");
	pods->api = api;
	pods->events = events;
	kube_store_init(&pods->store, 0);
	pods->host_ip = strdup(host_ip ? host_ip : "");
	int r = pods->host_ip ? begin_watch(pods, node_name, err) : error_set(err, ENOMEM, "out of memory");
	if (r < 0) {
		kube_api_pods_free(pods);
		return error_wrap(err, -r, "pods from the API server");
	}
	*ret_pods = pods;
	return 0;
}

void kube_api_pods_free(struct kube_api_pods *pods)
{
	if (!pods)
		return;
	kube_watch_free(pods->watch);
	kube_store_done(&pods->store);
	for (struct alias *alias = pods->aliases; alias;) {
		struct alias *next = alias->next;
		free(alias);
		alias = next;
	}
	free(pods->host_ip);
	free(pods);
}

void kube_api_pods_stats(const struct kube_api_pods *pods, struct kube_stats *ret_stats)
{
	struct kube_watch_stats watch;
	kube_watch_stats(pods->watch, &watch);
	*ret_stats = pods->stats;
	ret_stats->polls = watch.requests;
	ret_stats->last_success_wall_ns =
		watch.last_event_wall_ns > watch.last_sync_wall_ns ? watch.last_event_wall_ns : watch.last_sync_wall_ns;
}
