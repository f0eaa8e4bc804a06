/* Label sets of a target: seeded, finished, public, resource. source: semantics 3.2 (P-..), 2.10, D-8. */
#include "labels.h"

#include <errno.h>
#include <stdio.h>

#define META  SPAN("__meta_")
#define PARAM "__param_"

static bool is_set(const struct labels_builder *labels, struct span name)
{
	return labels_builder_get(labels, name).len > 0;
}

static void seed(struct labels_builder *labels, struct span name, struct span value)
{
	if (!is_set(labels, name))
		labels_set(labels, name, value);
}

static void seed_params(struct labels_builder *labels, const struct option_lists *params)
{
	for (size_t i = 0; i < params->count; i++) {
		const struct option_list *param = &params->items[i];
		size_t name_len = strlen(param->name);
		char *name = arena_alloc(labels->arena, sizeof(PARAM) + name_len);
		if (!name) {
			labels->failed = -ENOMEM;
			return;
		}
		memcpy(mempcpy(name, PARAM, sizeof(PARAM) - 1), param->name, name_len);
		if (param->values.count > 0)
			seed(labels, span_of(name, sizeof(PARAM) - 1 + name_len), span_str(param->values.items[0]));
	}
}

int labels_seed(struct labels_builder *labels, const struct target_job *job, struct labels discovered)
{
	for (size_t i = 0; i < discovered.count; i++)
		labels_set(labels, discovered.items[i].name, discovered.items[i].value);
	seed(labels, SPAN("job"), job->name);
	seed(labels, SPAN("__scrape_interval__"), span_str(duration_format(job->interval_ns).text));
	seed(labels, SPAN("__scrape_timeout__"), span_str(duration_format(job->timeout_ns).text));
	seed(labels, SPAN("__metrics_path__"), job->metrics_path);
	seed(labels, SPAN("__scheme__"), job->scheme);
	seed_params(labels, &job->params);
	return labels->failed;
}

int labels_finish(struct labels_builder *labels)
{
	for (size_t i = labels->count; i-- > 0;)
		if (span_starts_with(labels->items[i].name, META))
			labels_delete(labels, labels->items[i].name);
	seed(labels, SPAN("instance"), labels_builder_get(labels, SPAN("__address__")));
	return labels->failed;
}

int labels_public(struct labels_builder *out, const struct target_job *job, struct labels finished)
{
	for (size_t i = 0; i < finished.count; i++)
		if (!span_starts_with(finished.items[i].name, SPAN("__")))
			labels_set(out, finished.items[i].name, finished.items[i].value);
	for (size_t i = 0; i < job->external_labels.count; i++) {
		const struct option_pair *pair = &job->external_labels.items[i];
		labels_set(out, span_str(pair->name), span_str(pair->value));
	}
	return out->failed;
}

/* ---- resource ------------------------------------------------------------------------ */

/* The receiver leaves out what says nothing to others: loopback, unspecified, localhost. */
static bool names_a_host(struct span host)
{
	static const unsigned char nowhere[16] = {0}, loopback[16] = {[15] = 1};
	struct target_address address;
	if (target_address_parse(host, 0, &address) < 0)
		return true;
	if (!address.is_ipv6)
		return address.bytes[0] != 127 && memcmp(address.bytes, nowhere, 4) != 0;
	return memcmp(address.bytes, nowhere, 16) != 0 && memcmp(address.bytes, loopback, 16) != 0;
}

static void set_workload(struct labels_builder *out, struct labels seeded)
{
	static const struct {
		struct span kind, attribute;
	} kinds[] = {
		{{"ReplicaSet", 10}, {"k8s.replicaset.name", 19}},
		{{"DaemonSet", 9}, {"k8s.daemonset.name", 18}},
		{{"StatefulSet", 11}, {"k8s.statefulset.name", 20}},
		{{"Job", 3}, {"k8s.job.name", 12}},
		{{"CronJob", 7}, {"k8s.cronjob.name", 16}},
	};
	struct span kind = labels_get(seeded, SPAN("__meta_kubernetes_pod_controller_kind"));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (span_eq(kind, kinds[i].kind))
			labels_set(out, kinds[i].attribute,
				labels_get(seeded, SPAN("__meta_kubernetes_pod_controller_name")));
}

int labels_resource(struct labels_builder *out, const struct target *target, bool explicit_port, struct labels seeded)
{
	static const char *const names[][2] = {
		{"k8s.namespace.name", "__meta_kubernetes_namespace"},
		{"k8s.pod.name", "__meta_kubernetes_pod_name"},
		{"k8s.pod.uid", "__meta_kubernetes_pod_uid"},
		{"k8s.container.name", "__meta_kubernetes_pod_container_name"},
		/* The first that is there; hence the last to be set. */
		{"k8s.node.name", "__meta_kubernetes_endpoint_node_name"},
		{"k8s.node.name", "__meta_kubernetes_node_name"},
		{"k8s.node.name", "__meta_kubernetes_pod_node_name"},
	};
	const struct option_pairs *configured = &target->job->resource_attributes;
	for (size_t i = 0; i < configured->count; i++) /* first: what the kubelet says wins */
		labels_set(out, span_str(configured->items[i].name), span_str(configured->items[i].value));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct span value = labels_get(seeded, span_str(names[i][1]));
		if (value.len > 0)
			labels_set(out, span_str(names[i][0]), value);
	}
	set_workload(out, seeded);
	labels_set(out, SPAN("url.scheme"), target->scheme);
	if (names_a_host(target->host))
		labels_set(out, SPAN("server.address"), target->host);
	if (explicit_port) {
		char text[8];
		int len = snprintf(text, sizeof(text), "%u", (unsigned)target->port);
		labels_set(out, SPAN("server.port"), span_of(text, (size_t)len));
	}
	return out->failed;
}
