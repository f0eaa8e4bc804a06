/* role=pod: what a pod's record says, as meta labels with Prometheus' names, one set for each declared port.
 *
 * No phase and no readiness is looked at (P-60): that is what relabelling is for. One label goes beyond Prometheus:
 * __meta_kubernetes_pod_container_sidecar, since a rule that drops init containers drops native sidecars with them.
 */
#include "found.h"

#include <errno.h>
#include <stdio.h>

#define META "__meta_kubernetes_"

/* ---- findings ------------------------------------------------------------------------ */

void findings_init(struct findings *findings, struct arena *scratch, size_t max_label_bytes)
{
	*findings = (struct findings){.arena = scratch, .max_label_bytes = max_label_bytes};
}

static size_t label_bytes(struct labels labels)
{
	size_t bytes = labels.count * sizeof(*labels.items);
	for (size_t i = 0; i < labels.count; i++)
		bytes += labels.items[i].name.len + labels.items[i].value.len;
	return bytes;
}

static int findings_grow(struct findings *findings)
{
	size_t cap = findings->cap ? findings->cap * 2 : 8;
	struct found *items = arena_alloc(findings->arena, cap * sizeof(*items));
	if (!items)
		return -ENOMEM;
	if (findings->count > 0)
		memcpy(items, findings->items, findings->count * sizeof(*items));
	findings->items = items;
	findings->cap = cap;
	return 0;
}

static int labels_copy_array(struct arena *arena, struct labels labels, struct labels *ret_labels)
{
	struct label *items = arena_alloc(arena, labels.count * sizeof(*items));
	if (!items)
		return -ENOMEM;
	if (labels.count > 0)
		memcpy(items, labels.items, labels.count * sizeof(*items));
	*ret_labels = (struct labels){items, labels.count};
	return 0;
}

int findings_add(struct findings *findings, struct span identity, struct labels labels)
{
	size_t bytes = label_bytes(labels);
	if (bytes > findings->max_label_bytes - findings->label_bytes) {
		struct error err;
		findings->full = true;
		error_set(&err, E2BIG, "the labels of its targets take more than %zu bytes; the rest is left out",
			findings->max_label_bytes);
		return findings_refuse(findings, labels, &err);
	}
	struct found found = {.identity = identity};
	if (!identity.ptr || (findings->count == findings->cap && findings_grow(findings) < 0) ||
		labels_copy_array(findings->arena, labels, &found.labels) < 0)
		return -ENOMEM;
	findings->label_bytes += bytes;
	findings->items[findings->count++] = found;
	return 0;
}

int findings_refuse(struct findings *findings, struct labels discovered, const struct error *err)
{
	for (size_t i = 0; i < findings->refusal_count; i++) {
		if (strcmp(findings->refusals[i].err.text, err->text) == 0)
			return 0;
	}
	if (findings->refusal_count == FOUND_REFUSALS_MAX)
		return 0;
	struct refusal refusal = {.err = *err};
	if (labels_copy_array(findings->arena, discovered, &refusal.discovered) < 0)
		return -ENOMEM;
	findings->refusals[findings->refusal_count++] = refusal;
	return 0;
}

/* ---- labels ---------------------------------------------------------------------------- */

static int set_sanitised(struct labels_builder *labels, struct span prefix, struct span key, struct span value)
{
	struct span name = label_name_sanitised(labels->arena, prefix, key);
	if (!name.ptr)
		return labels->failed = -ENOMEM;
	return labels_set_borrowed(labels, name, value);
}

/* <prefix>_<key> = value and <prefix>present_<key> = true. */
static int set_pairs(
	struct labels_builder *labels, struct labels pairs, struct span prefix, struct span present, size_t value_max)
{
	size_t count = pairs.count < FOUND_META_MAX ? pairs.count : FOUND_META_MAX;
	for (size_t i = 0; i < count; i++) {
		struct label pair = pairs.items[i];
		if (pair.value.len <= value_max)
			set_sanitised(labels, prefix, pair.name, pair.value);
		set_sanitised(labels, present, pair.name, SPAN("true"));
	}
	return labels->failed;
}

int pod_labels_set_pod(struct labels_builder *labels, const struct kube_pod *pod)
{
	labels_set_borrowed(labels, SPAN(META "namespace"), pod->namespace_);
	set_pairs(labels, pod->annotations, SPAN(META "pod_annotation_"), SPAN(META "pod_annotationpresent_"),
		FOUND_META_VALUE_MAX);
	labels_set_borrowed(labels, SPAN(META "pod_controller_kind"), pod->controller_kind);
	labels_set_borrowed(labels, SPAN(META "pod_controller_name"), pod->controller_name);
	labels_set_borrowed(labels, SPAN(META "pod_host_ip"), pod->host_ip);
	labels_set_borrowed(labels, SPAN(META "pod_ip"), pod->pod_ip);
	set_pairs(labels, pod->labels, SPAN(META "pod_label_"), SPAN(META "pod_labelpresent_"), SIZE_MAX);
	labels_set_borrowed(labels, SPAN(META "pod_name"), pod->name);
	labels_set_borrowed(labels, SPAN(META "pod_node_name"), pod->node_name);
	labels_set_borrowed(labels, SPAN(META "pod_phase"), pod->phase);
	labels_set_borrowed(labels, SPAN(META "pod_ready"), pod->ready);
	return labels_set_borrowed(labels, SPAN(META "pod_uid"), pod->uid);
}

int pod_labels_set_service(struct labels_builder *labels, struct labels service_labels, struct labels annotations)
{
	set_pairs(labels, service_labels, SPAN(META "service_label_"), SPAN(META "service_labelpresent_"), SIZE_MAX);
	return set_pairs(labels, annotations, SPAN(META "service_annotation_"), SPAN(META "service_annotationpresent_"),
		FOUND_META_VALUE_MAX);
}

int pod_labels_set_container(struct labels_builder *labels, const struct kube_container *container)
{
	static const struct kube_container none;
	const struct kube_container *from = container ? container : &none;
	struct span init = from->init ? SPAN("true") : SPAN("false");
	struct span sidecar = from->sidecar ? SPAN("true") : SPAN("false");
	labels_set_borrowed(labels, SPAN(META "pod_container_id"), from->id);
	labels_set_borrowed(labels, SPAN(META "pod_container_image"), from->image);
	labels_set_borrowed(labels, SPAN(META "pod_container_init"), container ? init : SPAN_NONE);
	labels_set_borrowed(labels, SPAN(META "pod_container_name"), from->name);
	return labels_set_borrowed(labels, SPAN(META "pod_container_sidecar"), container ? sidecar : SPAN_NONE);
}

int pod_labels_set_port(struct labels_builder *labels, const struct kube_port *port)
{
	char number[8] = "";
	if (port)
		snprintf(number, sizeof(number), "%u", port->number);
	labels_set_borrowed(labels, SPAN(META "pod_container_port_name"), port ? port->name : SPAN_NONE);
	labels_set_borrowed(labels, SPAN(META "pod_container_port_protocol"), port ? port->protocol : SPAN_NONE);
	return labels_set(labels, SPAN(META "pod_container_port_number"), span_str(number));
}

int pod_labels_set_address(struct labels_builder *labels, struct span ip, uint16_t port)
{
	if (port == 0)
		return labels_set_borrowed(labels, SPAN("__address__"), ip);
	bool is_ipv6 = ip.len > 0 && memchr(ip.ptr, ':', ip.len);
	char text[80];
	int len = snprintf(text, sizeof(text), is_ipv6 ? "[%.*s]:%u" : "%.*s:%u", SPAN_ARGS(ip), port);
	if ((size_t)len >= sizeof(text)) /* no address; target_new says so */
		return labels_set_borrowed(labels, SPAN("__address__"), ip);
	return labels_set(labels, SPAN("__address__"), span_str(text));
}

struct span pod_identity(struct arena *arena, const struct kube_pod *pod, struct span container, uint16_t port)
{
	size_t size = pod->uid.len + container.len + sizeof("//65535");
	char *text = arena_alloc(arena, size);
	if (!text)
		return SPAN_NONE;
	int len = snprintf(text, size, "%.*s/%.*s/%u", SPAN_ARGS(pod->uid), SPAN_ARGS(container), port);
	return span_of(text, (size_t)len);
}

/* ---- what every rule asks of a pod's record ------------------------------------------------- */

bool port_is_tcp(const struct kube_port *port)
{
	return span_eq(port->protocol, SPAN("TCP"));
}

bool port_is_control(uint16_t number)
{
	return number == 22 || number == 2379 || number == 2380 || number == 6443 ||
	       (number >= 10250 && number <= 10259);
}

bool container_runs_with_pod(const struct kube_container *container)
{
	return !container->init || container->sidecar;
}

/* ---- role=pod ----------------------------------------------------------------------------- */

/* A number may be declared twice in one container (TCP and UDP, named and not): the later ones get their place as a suffix. */
struct span port_identity(
	struct arena *arena, const struct kube_pod *pod, const struct kube_container *container, size_t at)
{
	struct span plain = pod_identity(arena, pod, container->name, container->ports[at].number);
	size_t first = 0;
	while (container->ports[first].number != container->ports[at].number)
		first++;
	if (first == at || !plain.ptr)
		return plain;
	size_t size = plain.len + sizeof("/18446744073709551615");
	char *text = arena_alloc(arena, size);
	if (!text)
		return SPAN_NONE;
	return span_of(text, (size_t)snprintf(text, size, "%.*s/%zu", SPAN_ARGS(plain), at));
}

static int find_container(const struct kube_pod *pod, const struct kube_container *container,
	struct labels_builder *labels, struct findings *findings)
{
	pod_labels_set_container(labels, container);
	if (container->port_count == 0) {
		pod_labels_set_port(labels, NULL);
		if (pod_labels_set_address(labels, pod->pod_ip, 0) < 0)
			return -ENOMEM;
		return findings_add(
			findings, pod_identity(findings->arena, pod, container->name, 0), labels_builder_view(labels));
	}
	for (size_t i = 0; i < container->port_count; i++) {
		pod_labels_set_port(labels, &container->ports[i]);
		if (pod_labels_set_address(labels, pod->pod_ip, container->ports[i].number) < 0)
			return -ENOMEM;
		int result = findings_add(
			findings, port_identity(findings->arena, pod, container, i), labels_builder_view(labels));
		if (result < 0)
			return result;
	}
	return 0;
}

int find_pod(const struct kube_pod *pod, struct findings *findings)
{
	if (pod->pod_ip.len == 0)
		return 0;
	struct labels_builder labels;
	labels_builder_init(&labels, findings->arena);
	int result = pod_labels_set_pod(&labels, pod);
	for (size_t i = 0; result == 0 && i < pod->container_count; i++)
		result = find_container(pod, &pod->containers[i], &labels, findings);
	return result;
}
