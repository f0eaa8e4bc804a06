/* v1.Pod, decoded by the numbers of its fields (k8s.io/api core/v1/generated.proto; proto2 never gives a number another meaning).
 *
 * Each message that is looked into has a function that takes one of its fields; `each` walks a message with it. So the depth of the
 * recursion is that of the functions, whatever the bytes say.
 */
#include "pod_proto.h"

#include <errno.h>

/* ---- wire format ------------------------------------------------------------------- */

static int take_varint(struct span *message, uint64_t *ret_value)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (message->len == 0)
			return -EBADMSG;
		unsigned char byte = (unsigned char)*message->ptr;
		*message = span_of(message->ptr + 1, message->len - 1);
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return 0;
		}
	}
	return -EBADMSG;
}

static int take_bytes(struct span *message, uint64_t len, struct span *ret_bytes)
{
	if (len > message->len)
		return -EBADMSG;
	*ret_bytes = span_of(message->ptr, (size_t)len);
	*message = span_of(message->ptr + len, message->len - (size_t)len);
	return 0;
}

int proto_next(struct span *message, struct proto_field *ret_field)
{
	enum { VARINT, FIXED64, BYTES, FIXED32 = 5 };
	struct proto_field field = {0};
	uint64_t tag;
	int r;
	if (message->len == 0)
		return 0;
	if (take_varint(message, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return -EBADMSG;
	field.number = (uint32_t)(tag >> 3);
	switch (tag & 7) {
	case VARINT:
		r = take_varint(message, &field.value);
		break;
	case FIXED64:
		r = take_bytes(message, 8, &field.bytes);
		break;
	case FIXED32:
		r = take_bytes(message, 4, &field.bytes);
		break;
	case BYTES:
		field.is_bytes = true;
		r = take_varint(message, &field.value);
		if (r == 0)
			r = take_bytes(message, field.value, &field.bytes);
		break;
	default: /* groups: nobody writes them */
		return -EBADMSG;
	}
	if (r < 0)
		return r;
	*ret_field = field;
	return 1;
}

/* ---- walking ------------------------------------------------------------------------- */

struct decode {
	struct arena *arena;
	struct kube_build build;
};

static int each(struct decode *decode, const struct proto_field *message,
	int (*take)(struct decode *decode, const struct proto_field *field, void *of), void *of)
{
	struct proto_field field;
	struct span rest = message->bytes;
	int r;
	if (!message->is_bytes)
		return -EBADMSG;
	while ((r = proto_next(&rest, &field)) > 0) {
		r = take(decode, &field, of);
		if (r < 0)
			return r;
	}
	return r;
}

static int keep(struct decode *decode, const struct proto_field *field, struct span *ret_kept)
{
	if (!field->is_bytes || !span_is_utf8(field->bytes))
		return -EBADMSG;
	char *copy = arena_spandup(decode->arena, field->bytes);
	if (!copy)
		return -ENOMEM;
	*ret_kept = span_of(copy, field->bytes.len);
	return 0;
}

/* 1: a new element of a list; 0: it is full; -ENOMEM. */
static int push(struct kube_list *list, size_t size, void **ret_entry)
{
	if (kube_list_is_full(list))
		return 0;
	*ret_entry = kube_list_push(list, size);
	return *ret_entry ? 1 : -ENOMEM;
}

/* ---- metadata -------------------------------------------------------------------------- */

static int take_pair(struct decode *decode, const struct proto_field *field, void *of)
{
	struct proto_field *pair = of; /* key, value: kept later, when it is known whether at all */
	(void)decode;
	if (field->number == 1 || field->number == 2)
		pair[field->number - 1] = *field;
	return 0;
}

static int take_label(struct decode *decode, const struct proto_field *message, struct kube_list *list)
{
	struct proto_field pair[2] = {{.is_bytes = true}, {.is_bytes = true}};
	void *entry;
	struct label label;
	int r = each(decode, message, take_pair, pair);
	if (r < 0 || span_eq(pair[0].bytes, SPAN("kubectl.kubernetes.io/last-applied-configuration")))
		return r;
	r = keep(decode, &pair[0], &label.name);
	if (r == 0)
		r = keep(decode, &pair[1], &label.value);
	if (r == 0)
		r = push(list, sizeof(label), &entry);
	if (r > 0)
		*(struct label *)entry = label;
	return r < 0 ? r : 0;
}

struct owner {
	struct span kind, name;
	bool controller;
};

static int take_owner(struct decode *decode, const struct proto_field *field, void *of)
{
	struct owner *owner = of;
	switch (field->number) {
	case 1:
		return keep(decode, field, &owner->kind);
	case 3:
		return keep(decode, field, &owner->name);
	case 6:
		owner->controller = field->value != 0;
		return 0;
	default:
		return 0;
	}
}

static int take_metadata(struct decode *decode, const struct proto_field *field, void *of)
{
	struct kube_pod *pod = of;
	struct owner owner = {.controller = false};
	int r;
	switch (field->number) {
	case 1:
		return keep(decode, field, &pod->name);
	case 3:
		return keep(decode, field, &pod->namespace_);
	case 5:
		return keep(decode, field, &pod->uid);
	case 9: /* deletionTimestamp */
		pod->terminating = true;
		return 0;
	case 11:
		return take_label(decode, field, &decode->build.labels);
	case 12:
		return take_label(decode, field, &decode->build.annotations);
	case 13:
		r = each(decode, field, take_owner, &owner);
		if (r == 0 && owner.controller) {
			pod->controller_kind = owner.kind;
			pod->controller_name = owner.name;
		}
		return r;
	default:
		return 0;
	}
}

/* ---- spec -------------------------------------------------------------------------------- */

static int take_port(struct decode *decode, const struct proto_field *field, void *of)
{
	struct kube_port *port = of;
	switch (field->number) {
	case 1:
		return keep(decode, field, &port->name);
	case 3:
		port->number = field->value <= UINT16_MAX ? (uint16_t)field->value : 0;
		return 0;
	case 4:
		return keep(decode, field, &port->protocol);
	default:
		return 0;
	}
}

static int take_container(struct decode *decode, const struct proto_field *field, void *of)
{
	struct kube_build_container *entry = of;
	void *port;
	int r;
	switch (field->number) {
	case 1:
		return keep(decode, field, &entry->container.name);
	case 2:
		return keep(decode, field, &entry->container.image);
	case 6:
		r = push(&decode->build.ports, sizeof(struct kube_port), &port);
		entry->port_count += r > 0;
		return r > 0 ? each(decode, field, take_port, port) : r;
	case 24: /* restartPolicy */
		entry->container.sidecar = entry->container.init && span_eq(field->bytes, SPAN("Always"));
		return 0;
	default:
		return 0;
	}
}

static int take_new_container(
	struct decode *decode, const struct proto_field *message, struct kube_list *list, bool init)
{
	void *entry;
	int r = push(list, sizeof(struct kube_build_container), &entry);
	if (r <= 0)
		return r;
	struct kube_build_container *container = entry;
	container->container.init = init;
	container->first_port = decode->build.ports.count;
	return each(decode, message, take_container, container);
}

static int take_spec(struct decode *decode, const struct proto_field *field, void *of)
{
	struct kube_pod *pod = of;
	switch (field->number) {
	case 2:
		return take_new_container(decode, field, &decode->build.containers, false);
	case 10:
		return keep(decode, field, &pod->node_name);
	case 11:
		pod->host_network = field->value != 0;
		return 0;
	case 20:
		return take_new_container(decode, field, &decode->build.inits, true);
	default:
		return 0;
	}
}

/* ---- status ------------------------------------------------------------------------------- */

static int take_state(struct decode *decode, const struct proto_field *field, void *of)
{
	struct kube_build_status *status = of;
	(void)decode;
	status->running |= field->number == 2;
	return 0;
}

static int take_container_status(struct decode *decode, const struct proto_field *field, void *of)
{
	struct kube_build_status *status = of;
	switch (field->number) {
	case 1:
		return keep(decode, field, &status->name);
	case 2:
		return each(decode, field, take_state, status);
	case 8:
		return keep(decode, field, &status->id);
	default:
		return 0;
	}
}

static int take_new_status(struct decode *decode, const struct proto_field *message, bool init)
{
	void *entry;
	int r = push(&decode->build.statuses, sizeof(struct kube_build_status), &entry);
	if (r <= 0)
		return r;
	((struct kube_build_status *)entry)->init = init;
	return each(decode, message, take_container_status, entry);
}

/* "True", "False", "Unknown" -> as Prometheus writes them. */
static int take_new_condition(struct decode *decode, const struct proto_field *message, struct kube_pod *pod)
{
	struct proto_field pair[2] = {{.is_bytes = true}, {.is_bytes = true}}; /* type, status: 1 and 2 as well */
	int r = each(decode, message, take_pair, pair);
	if (r == 0 && span_eq(pair[0].bytes, SPAN("Ready")))
		pod->ready = span_eq(pair[1].bytes, SPAN("True"))    ? SPAN("true")
			     : span_eq(pair[1].bytes, SPAN("False")) ? SPAN("false")
								     : SPAN("unknown");
	return r;
}

static int take_ip(struct decode *decode, const struct proto_field *field, void *of)
{
	return field->number == 1 ? keep(decode, field, of) : 0;
}

static int take_new_ip(struct decode *decode, const struct proto_field *message)
{
	struct span ip = SPAN_NONE;
	void *entry;
	int r = each(decode, message, take_ip, &ip);
	if (r < 0 || ip.len == 0)
		return r;
	r = push(&decode->build.pod_ips, sizeof(ip), &entry);
	if (r > 0)
		*(struct span *)entry = ip;
	return r < 0 ? r : 0;
}

static int take_status(struct decode *decode, const struct proto_field *field, void *of)
{
	struct kube_pod *pod = of;
	switch (field->number) {
	case 1:
		return keep(decode, field, &pod->phase);
	case 2:
		return take_new_condition(decode, field, pod);
	case 5:
		return keep(decode, field, &pod->host_ip);
	case 6:
		return keep(decode, field, &pod->pod_ip);
	case 8:
		return take_new_status(decode, field, false);
	case 10:
		return take_new_status(decode, field, true);
	case 12:
		return take_new_ip(decode, field);
	default:
		return 0;
	}
}

/* ---- the pod -------------------------------------------------------------------------------- */

static int take_pod(struct decode *decode, const struct proto_field *field, void *of)
{
	switch (field->number) {
	case 1:
		return each(decode, field, take_metadata, of);
	case 2:
		return each(decode, field, take_spec, of);
	case 3:
		return each(decode, field, take_status, of);
	default:
		return 0;
	}
}

static int decode_into(struct kube_pods *one, struct span bytes, struct span host_ip)
{
	const struct proto_field message = {.is_bytes = true, .bytes = bytes},
				 node = {.is_bytes = true, .bytes = host_ip};
	struct decode decode = {.arena = &one->arena};
	struct kube_pod *pod = arena_alloc(&one->arena, sizeof(*pod));
	struct span kept_host_ip = SPAN_NONE;
	kube_build_init(&decode.build);
	int r = pod ? each(&decode, &message, take_pod, &decode.build.pod) : -ENOMEM;
	if (r == 0)
		r = keep(&decode, &node, &kept_host_ip);
	if (r == 0)
		r = kube_build_finish(&decode.build, &one->arena, kept_host_ip, pod);
	kube_build_done(&decode.build);
	one->items = pod;
	one->count = 1;
	return r;
}

int kube_pod_decode(struct span bytes, struct span host_ip, struct kube_pods **ret_one, struct error *err)
{
	/* The smallest entries (an empty label, an empty port) take some fifty times their bytes. */
	struct kube_pods *one = kube_pods_new(bytes.len < SIZE_MAX / 256 ? 128 * bytes.len + 65536 : SIZE_MAX / 4);
	int r = one ? decode_into(one, bytes, host_ip) : -ENOMEM;
	if (r == 0) {
		*ret_one = one;
		return 0;
	}
	kube_pods_unref(one);
	return error_set(err, -r, "%s", r == -EBADMSG ? "not a pod" : "out of memory");
}

/* metadata.uid: 1.5 */
int kube_pod_decode_uid(struct span bytes, struct span *ret_uid)
{
	struct proto_field field;
	struct span uid = SPAN_NONE;
	int r;
	while ((r = proto_next(&bytes, &field)) > 0) {
		struct span metadata = field.number == 1 ? field.bytes : SPAN_NONE;
		while ((r = proto_next(&metadata, &field)) > 0)
			if (field.number == 5)
				uid = field.bytes;
		if (r < 0)
			return r;
	}
	if (r < 0 || uid.len == 0)
		return -EBADMSG;
	*ret_uid = uid;
	return 0;
}
