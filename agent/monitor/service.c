/* Services: what they select and how, and small things about JSON that all objects need. */
#include "read.h"

#include <errno.h>
#include <stdlib.h>

enum { SERVICE_BYTES_MAX = 1 << 20, SERVICE_PORTS_MAX = 1024 };

/* ---- JSON ------------------------------------------------------------------------------- */

uint64_t json_hash(const struct json *value, uint64_t seed)
{
	if (!value)
		return seed;
	uint64_t hash = seed * 31 + (uint64_t)value->type * 2 + value->boolean;
	hash = hash_bytes(value->text, hash);
	for (size_t i = 0; i < value->count; i++) {
		if (value->type == JSON_OBJECT)
			hash = hash_bytes(value->keys[i], hash);
		hash = json_hash(&value->items[i], hash);
	}
	return hash_bytes(span_u64(&hash), value->count);
}

static int by_name(const void *left, const void *right)
{
	return span_cmp(((const struct label *)left)->name, ((const struct label *)right)->name);
}

static bool copy_label(struct arena *arena, struct span name, struct span value, struct label *ret_label)
{
	ret_label->name = span_of(arena_spandup(arena, name), name.len);
	ret_label->value = span_of(arena_spandup(arena, value), value.len);
	return ret_label->name.ptr && ret_label->value.ptr;
}

int labels_of_json(struct arena *arena, const struct json *object, struct span without, struct labels *ret_labels)
{
	size_t members = object && object->type == JSON_OBJECT ? object->count : 0, count = 0;
	struct label *items = arena_alloc(arena, members * sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < members; i++) {
		const struct json *value = &object->items[i];
		if (value->type != JSON_STRING || (without.len > 0 && span_eq(object->keys[i], without)))
			continue;
		if (!copy_label(arena, object->keys[i], value->text, &items[count++]))
			return -ENOMEM;
	}
	if (count > 0)
		qsort(items, count, sizeof(*items), by_name);
	size_t unique = 0;
	for (size_t i = 0; i < count; i++) {
		if (i + 1 == count || !span_eq(items[i].name, items[i + 1].name))
			items[unique++] = items[i];
	}
	*ret_labels = (struct labels){items, unique};
	return 0;
}

/* ---- Service -------------------------------------------------------------------------------- */

static int copy_member(struct arena *arena, const struct json *object, const char *key, struct span *ret_text)
{
	struct span text = json_string(object, key, SPAN_NONE);
	*ret_text = span_of(arena_spandup(arena, text), text.len);
	return ret_text->ptr ? 0 : -ENOMEM;
}

static uint16_t port_of(const struct json *object, const char *key)
{
	int64_t number = 0;
	return json_integer(object, key, 1, 65535, &number) == 1 ? (uint16_t)number : 0;
}

static int read_port(struct monitor_service *service, const struct json *object, struct monitor_service_port *port)
{
	struct arena *arena = &service->arena;
	port->port = port_of(object, "port");
	port->target_number = port_of(object, "targetPort");
	if (copy_member(arena, object, "name", &port->name) < 0 ||
		copy_member(arena, object, "protocol", &port->protocol) < 0 ||
		copy_member(arena, object, "appProtocol", &port->app_protocol) < 0 ||
		copy_member(arena, object, "targetPort", &port->target_name) < 0)
		return -ENOMEM;
	if (port->protocol.len == 0)
		port->protocol = SPAN("TCP");
	return 0;
}

static int read_ports(struct monitor_service *service, const struct json *list)
{
	size_t count = list && list->type == JSON_ARRAY ? list->count : 0;
	count = count < SERVICE_PORTS_MAX ? count : SERVICE_PORTS_MAX;
	struct monitor_service_port *ports = arena_alloc(&service->arena, count * sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (read_port(service, &list->items[i], &ports[i]) < 0)
			return -ENOMEM;
	}
	service->ports = ports;
	service->port_count = count;
	return 0;
}

static int primary_family(const struct json *spec)
{
	const struct json *families = json_get(spec, "ipFamilies");
	if (!families || families->type != JSON_ARRAY || families->count == 0)
		return 0;
	return span_eq(families->items[0].text, SPAN("IPv6")) ? 6 : 4;
}

static int read_service(struct monitor_service *service, const struct json *object)
{
	const struct json *metadata = json_get(object, "metadata"), *spec = json_get(object, "spec");
	struct arena *arena = &service->arena;
	if (copy_member(arena, metadata, "namespace", &service->namespace_) < 0 ||
		copy_member(arena, metadata, "name", &service->name) < 0 ||
		copy_member(arena, metadata, "uid", &service->uid) < 0 ||
		labels_of_json(arena, json_get(metadata, "labels"), SPAN_NONE, &service->labels) < 0 ||
		labels_of_json(arena, json_get(metadata, "annotations"),
			SPAN("kubectl.kubernetes.io/last-applied-configuration"), &service->annotations) < 0 ||
		labels_of_json(arena, json_get(spec, "selector"), SPAN_NONE, &service->selector) < 0 ||
		read_ports(service, json_get(spec, "ports")) < 0)
		return -ENOMEM;
	service->external_name = span_eq(json_string(spec, "type", SPAN_NONE), SPAN("ExternalName"));
	service->publish_not_ready = json_boolean(spec, "publishNotReadyAddresses", false);
	service->family = primary_family(spec);
	return 0;
}

static uint64_t hash_labels(struct labels labels, uint64_t seed)
{
	uint64_t hash = seed + labels.count;
	for (size_t i = 0; i < labels.count; i++)
		hash = hash_bytes(labels.items[i].value, hash_bytes(labels.items[i].name, hash));
	return hash;
}

int monitor_service_parse(const struct json *object, struct monitor_service **ret_service, struct error *err)
{
	const struct json *metadata = json_get(object, "metadata");
	if (json_string(metadata, "name", SPAN_NONE).len == 0 || json_string(metadata, "namespace", SPAN_NONE).len == 0)
		return error_set(err, EINVAL, "a Service without name or namespace");
	struct monitor_service *service = calloc(1, sizeof(*service));
	if (!service)
		return error_set(err, ENOMEM, "out of memory");
	service->refs = 1;
	arena_init(&service->arena, SERVICE_BYTES_MAX);
	if (read_service(service, object) < 0) {
		bool too_large = service->arena.full;
		monitor_service_unref(service);
		return too_large ? error_set(err, E2BIG, "a Service of more than %d MiB", SERVICE_BYTES_MAX >> 20)
				 : error_set(err, ENOMEM, "out of memory");
	}
	service->hash = json_hash(json_get(object, "spec"),
		hash_labels(service->annotations,
			hash_labels(service->labels, hash_bytes(service->uid, hash_bytes(service->name, 0)))));
	*ret_service = service;
	return 0;
}

struct monitor_service *monitor_service_ref(struct monitor_service *service)
{
	service->refs++;
	return service;
}

void monitor_service_unref(struct monitor_service *service)
{
	if (!service || --service->refs > 0)
		return;
	arena_done(&service->arena);
	free(service);
}

/* ---- what it selects ---------------------------------------------------------------------------- */

const struct label *monitor_service_unmet(const struct monitor_service *service, struct labels pod_labels)
{
	struct labels wanted = service->selector;
	size_t at = 0;
	for (size_t i = 0; i < wanted.count; i++) { /* both are sorted */
		int order = -1;
		while (at < pod_labels.count && (order = span_cmp(pod_labels.items[at].name, wanted.items[i].name)) < 0)
			at++;
		if (at == pod_labels.count || order != 0 || !span_eq(pod_labels.items[at].value, wanted.items[i].value))
			return &wanted.items[i];
	}
	return NULL;
}

bool monitor_service_selects(const struct monitor_service *service, struct labels pod_labels)
{
	return !service->external_name && service->selector.count > 0 && !monitor_service_unmet(service, pod_labels);
}

bool monitor_service_is_kubelet(const struct monitor_service *service)
{
	struct span kubelet = SPAN("kubelet");
	return !service->external_name && service->selector.count == 0 &&
	       span_eq(service->namespace_, SPAN("kube-system")) &&
	       (span_eq(labels_get(service->labels, SPAN("k8s-app")), kubelet) ||
		       span_eq(labels_get(service->labels, SPAN("app.kubernetes.io/name")), kubelet));
}
