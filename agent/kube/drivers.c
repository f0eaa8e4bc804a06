/* The three sources of pods as drivers, and the pods: object of the configuration, which names them. */
#include "gleaner/kube_api.h"
#include "pods_api.h"
#include "source.h"

#include <errno.h>
#include <stdlib.h>

enum source_kind { PODS_API, KUBELET, API_SERVER, SOURCE_KINDS };

/* What all drivers are made of. */
struct contexts {
	struct loop *loop;
	struct http *http;
	struct kube_source_settings settings;
	struct clock clock;
};

/* ---- the kubelet's Pods API ---------------------------------------------------------- */

static int pods_api_start(void *context, struct kube_kubelet_events events, void **ret_driver, struct error *err)
{
	const struct contexts *from = context;
	const struct kube_pods_api_options options = {
		.socket = from->settings.pods->pods_api_socket,
		.host_ip = span_str(from->settings.kubelet->host_ip),
	};
	struct kube_pods_api *api;
	int r = kube_pods_api_new(from->loop, &options, from->clock, events, &api, err);
	if (r == 0)
		*ret_driver = api;
	return r;
}

static void pods_api_stop(void *driver)
{
	kube_pods_api_free(driver);
}

static void pods_api_stats(const void *driver, struct kube_stats *ret_stats)
{
	kube_pods_api_stats(driver, ret_stats);
}

/* ---- GET /pods of the kubelet ----------------------------------------------------------- */

static int kubelet_start(void *context, struct kube_kubelet_events events, void **ret_driver, struct error *err)
{
	const struct contexts *from = context;
	struct kube_kubelet *kubelet;
	int r = kube_kubelet_new(from->loop, from->http, from->settings.kubelet, from->clock, events, &kubelet, err);
	if (r == 0)
		*ret_driver = kubelet;
	return r;
}

static void kubelet_stop(void *driver)
{
	kube_kubelet_free(driver);
}

static void kubelet_nudge(void *driver)
{
	kube_kubelet_nudge(driver);
}

static void kubelet_stats(const void *driver, struct kube_stats *ret_stats)
{
	kube_kubelet_stats(driver, ret_stats);
}

/* ---- the API server ------------------------------------------------------------------------ */

static int api_server_start(void *context, struct kube_kubelet_events events, void **ret_driver, struct error *err)
{
	const struct contexts *from = context;
	const struct kube_options *kubelet = from->settings.kubelet;
	struct kube_api_pods *pods;
	int r = kube_api_pods_new(from->settings.api, kubelet->node_name, kubelet->host_ip, events, &pods, err);
	if (r == 0)
		*ret_driver = pods;
	return r;
}

static void api_server_stop(void *driver)
{
	kube_api_pods_free(driver);
}

static void api_server_stats(const void *driver, struct kube_stats *ret_stats)
{
	kube_api_pods_stats(driver, ret_stats);
}

/* ---- the row -------------------------------------------------------------------------------- */

static const struct kube_driver drivers[SOURCE_KINDS] = {
	[PODS_API] = {"pods-api", pods_api_start, pods_api_stop, NULL, pods_api_stats},
	[KUBELET] = {"kubelet", kubelet_start, kubelet_stop, kubelet_nudge, kubelet_stats},
	[API_SERVER] = {"api-server", api_server_start, api_server_stop, NULL, api_server_stats},
};

static bool is_possible(const struct kube_source_settings *settings, enum source_kind kind)
{
	bool wanted = settings->kubelet->enabled || settings->pods->sources_given;
	switch (kind) {
	case PODS_API:
		return wanted && settings->pods->pods_api_socket;
	case KUBELET:
		return settings->kubelet->enabled;
	case API_SERVER:
		return wanted && settings->api && settings->kubelet->node_name;
	default:
		return false;
	}
}

/* SOURCE_KINDS: no such name. */
static enum source_kind kind_of(const char *name)
{
	size_t kind = 0;
	while (kind < SOURCE_KINDS && strcmp(drivers[kind].name, name) != 0)
		kind++;
	return (enum source_kind)kind;
}

static size_t make_row(const struct kube_source_settings *settings, void *context, struct kube_source_part *row)
{
	size_t count = 0;
	for (size_t i = 0; i < settings->pods->sources.count; i++) {
		enum source_kind kind = kind_of(settings->pods->sources.items[i]);
		if (kind < SOURCE_KINDS && is_possible(settings, kind))
			row[count++] = (struct kube_source_part){&drivers[kind], context};
	}
	return count;
}

bool kube_source_wanted(const struct kube_source_settings *settings)
{
	struct kube_source_part row[KUBE_SOURCES_MAX];
	return make_row(settings, NULL, row) > 0;
}

int kube_source_new(struct loop *loop, struct http *http, const struct kube_source_settings *settings,
	struct clock clock, struct kube_source_events events, struct kube_source **ret_source, struct error *err)
{
	struct kube_source_part row[KUBE_SOURCES_MAX];
	struct contexts *contexts = malloc(sizeof(*contexts));
	if (!contexts)
		return error_set(err, ENOMEM, "out of memory");
	*contexts = (struct contexts){loop, http, *settings, clock};
	size_t count = make_row(settings, contexts, row);
	int r = count == 0 ? error_set(err, EINVAL, "pods.sources: none of them is possible here")
			   : kube_source_of(loop, row, count, clock, events, ret_source, err);
	if (r < 0)
		free(contexts);
	else
		kube_source_own(*ret_source, contexts);
	return r;
}

/* ---- configuration ----------------------------------------------------------------------------- */

static const struct option options[] = {
	{.name = "sources",
		.kind = OPTION_STRINGS,
		.offset = offsetof(struct kube_pods_options, sources),
		.given_offset = offsetof(struct kube_pods_options, sources_given),
		.help = "Where the node's pods are learned from, the best first; those that cannot be used are passed "
			"over, "
			"and tried again from time to time: `pods-api` (the kubelet's socket), `kubelet` (GET /pods of "
			"it), `api-server` (a watch of this node's pods). "
			"Unset: all, in this order, where a kubelet is known (kubelet.enabled)."},
	{.name = "pods_api_socket",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_pods_options, pods_api_socket),
		.value = "/var/lib/kubelet/pods-api/pods-api.sock",
		.help = "Socket of the kubelet's Pods API (Kubernetes 1.37). Only uid 0 may use it; no capability is "
			"needed."},
	{.name = NULL},
};

static int check_sources(const struct option_strings *sources, struct error *err)
{
	for (size_t i = 0; i < sources->count; i++) {
		if (kind_of(sources->items[i]) == SOURCE_KINDS)
			return error_set(err, EINVAL, "expected pods-api, kubelet or api-server, not \"%s\"",
				escape_bytes(span_str(sources->items[i])).text);
		for (size_t j = 0; j < i; j++)
			if (strcmp(sources->items[i], sources->items[j]) == 0)
				return error_set(err, EINVAL, "%s stands there twice", sources->items[i]);
	}
	return 0;
}

static int check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	struct kube_pods_options *pods = object;
	if (pods->pods_api_socket && !*pods->pods_api_socket)
		pods->pods_api_socket = NULL;
	*ret_key = "pods_api_socket";
	if (pods->pods_api_socket && *pods->pods_api_socket != '/')
		return error_set(err, EINVAL, "expected the path of a socket, from /");
	*ret_key = "sources";
	if (!pods->sources_given) {
		pods->sources.items = arena_alloc(arena, SOURCE_KINDS * sizeof(*pods->sources.items));
		if (!pods->sources.items)
			return -ENOMEM;
		for (size_t i = 0; i < SOURCE_KINDS; i++)
			pods->sources.items[pods->sources.count++] = drivers[i].name;
	}
	return check_sources(&pods->sources, err);
}

const struct option_table kube_pods_options_table = {
	.name = "pods",
	.help = "The sources of the node's pods. All tell the same: which one is used changes no target.",
	.size = sizeof(struct kube_pods_options),
	.options = options,
	.check = check,
};
