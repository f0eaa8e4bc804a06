/* A PodList as it streams in: yajl's events -> pods.
 *
 * A pod is mostly what gleaner must not keep (environment variables, volumes, managedFields). So the parser knows the
 * places that it wants, as rows of `steps`, and everything else is passed over with nothing but its depth counted:
 *
 *   1. A key moves from the place of its object to the place of its value (place_of_key); unknown: NOWHERE.
 *   2. A value that is an object or array pushes its place on a stack; a scalar is kept where keep_string and its
 *      siblings say.
 *   3. The end of a pod's object makes it a struct kube_pod (build.c).
 *
 * yajl traps: it has no depth limit (ours is the stack), integers that overflow end the parse (we take numbers as text),
 * its strings die with the callback (we copy).
 */
#include "pods.h"

#include <errno.h>
#include <stdlib.h>

#include <yajl/yajl_parse.h>

enum { DEPTH_MAX = 64, DIRECT_BYTES = 4096, WAIT_BYTES = 65536 };

enum place {
	NOWHERE,
	/* objects */
	LIST,
	POD,
	METADATA,
	SPEC,
	STATUS,
	LABELS,
	ANNOTATIONS,
	OWNER,
	CONTAINER,
	INIT_CONTAINER,
	PORT,
	CONDITION,
	POD_IP_ENTRY,
	CONTAINER_STATUS,
	INIT_STATUS,
	STATE,
	RUNNING,
	/* arrays */
	ITEMS,
	OWNERS,
	CONTAINERS,
	INIT_CONTAINERS,
	PORTS,
	CONDITIONS,
	POD_IPS,
	CONTAINER_STATUSES,
	INIT_STATUSES,
	/* scalars */
	LIST_KIND,
	POD_NAME,
	POD_NAMESPACE,
	POD_UID,
	POD_DELETION,
	POD_NODE,
	POD_HOST_NETWORK,
	POD_PHASE,
	POD_HOST_IP,
	POD_IP,
	POD_IPS_IP,
	LABEL_VALUE,
	ANNOTATION_VALUE,
	OWNER_KIND,
	OWNER_NAME,
	OWNER_CONTROLLER,
	CONTAINER_NAME,
	CONTAINER_IMAGE,
	CONTAINER_RESTART,
	PORT_NAME,
	PORT_NUMBER,
	PORT_PROTOCOL,
	CONDITION_TYPE,
	CONDITION_STATUS,
	STATUS_NAME,
	STATUS_ID,
};

static const struct step {
	unsigned char in;
	unsigned char to;
	const char *key;
} steps[] = {
	{LIST, LIST_KIND, "kind"},
	{LIST, ITEMS, "items"},
	{POD, METADATA, "metadata"},
	{POD, SPEC, "spec"},
	{POD, STATUS, "status"},
	{METADATA, POD_NAME, "name"},
	{METADATA, POD_NAMESPACE, "namespace"},
	{METADATA, POD_UID, "uid"},
	{METADATA, POD_DELETION, "deletionTimestamp"},
	{METADATA, LABELS, "labels"},
	{METADATA, ANNOTATIONS, "annotations"},
	{METADATA, OWNERS, "ownerReferences"},
	{OWNER, OWNER_KIND, "kind"},
	{OWNER, OWNER_NAME, "name"},
	{OWNER, OWNER_CONTROLLER, "controller"},
	{SPEC, POD_NODE, "nodeName"},
	{SPEC, POD_HOST_NETWORK, "hostNetwork"},
	{SPEC, CONTAINERS, "containers"},
	{SPEC, INIT_CONTAINERS, "initContainers"},
	{CONTAINER, CONTAINER_NAME, "name"},
	{CONTAINER, CONTAINER_IMAGE, "image"},
	{CONTAINER, PORTS, "ports"},
	{INIT_CONTAINER, CONTAINER_NAME, "name"},
	{INIT_CONTAINER, CONTAINER_IMAGE, "image"},
	{INIT_CONTAINER, CONTAINER_RESTART, "restartPolicy"},
	{INIT_CONTAINER, PORTS, "ports"},
	{PORT, PORT_NAME, "name"},
	{PORT, PORT_NUMBER, "containerPort"},
	{PORT, PORT_PROTOCOL, "protocol"},
	{STATUS, POD_PHASE, "phase"},
	{STATUS, POD_HOST_IP, "hostIP"},
	{STATUS, POD_IP, "podIP"},
	{STATUS, POD_IPS, "podIPs"},
	{STATUS, CONDITIONS, "conditions"},
	{STATUS, CONTAINER_STATUSES, "containerStatuses"},
	{STATUS, INIT_STATUSES, "initContainerStatuses"},
	{POD_IP_ENTRY, POD_IPS_IP, "ip"},
	{CONDITION, CONDITION_TYPE, "type"},
	{CONDITION, CONDITION_STATUS, "status"},
	{CONTAINER_STATUS, STATUS_NAME, "name"},
	{CONTAINER_STATUS, STATUS_ID, "containerID"},
	{CONTAINER_STATUS, STATE, "state"},
	{INIT_STATUS, STATUS_NAME, "name"},
	{INIT_STATUS, STATUS_ID, "containerID"},
	{INIT_STATUS, STATE, "state"},
	{STATE, RUNNING, "running"},
};

struct kube_pods_parser {
	yajl_handle yajl;
	size_t bytes, max_bytes; /* read by yajl; allowed */
	struct buf waiting;      /* the next bytes for yajl, see kube_pods_parser_feed */
	int failed;              /* sticky */
	struct error error;

	unsigned char stack[DEPTH_MAX]; /* places of the open objects and arrays */
	size_t depth;
	enum place next; /* of the value behind the last key */

	struct kube_pods *pods;
	struct span host_ip;
	struct kube_build build;
	struct kube_list items; /* struct kube_pod */
	bool is_pod_list, has_items;
	struct label label; /* its name; the value follows */
	struct {
		struct span kind, name;
		bool controller;
	} owner;
	struct {
		struct span type, status;
	} condition;
};

/* Returns 0, which makes yajl stop. */
static int stop(struct kube_pods_parser *parser, int code, const char *reason)
{
	parser->failed = error_set(&parser->error, code, "%s", reason);
	return 0;
}

static int stop_no_memory(struct kube_pods_parser *parser, const struct kube_list *list)
{
	if (list && list->count >= KUBE_LIST_MAX)
		return stop(parser, EMSGSIZE, "a list of more than 65536 entries");
	return stop(parser, ENOMEM, "out of memory");
}

/* ---- places ------------------------------------------------------------------------ */

static enum place element_of(enum place array)
{
	switch (array) {
	case ITEMS:
		return POD;
	case OWNERS:
		return OWNER;
	case CONTAINERS:
		return CONTAINER;
	case INIT_CONTAINERS:
		return INIT_CONTAINER;
	case PORTS:
		return PORT;
	case CONDITIONS:
		return CONDITION;
	case POD_IPS:
		return POD_IP_ENTRY;
	case CONTAINER_STATUSES:
		return CONTAINER_STATUS;
	case INIT_STATUSES:
		return INIT_STATUS;
	default:
		return NOWHERE;
	}
}

/* The place of the value that comes now. */
static enum place take_place(struct kube_pods_parser *parser)
{
	if (parser->depth == 0)
		return LIST;
	enum place top = parser->stack[parser->depth - 1];
	if (top >= ITEMS && top <= INIT_STATUSES)
		return element_of(top);
	enum place place = parser->next;
	parser->next = NOWHERE;
	return place;
}

static enum place place_of_key(enum place in, struct span key)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i].in == in && span_eq(span_str(steps[i].key), key))
			return steps[i].to;
	return NOWHERE;
}

/* ---- what is kept ------------------------------------------------------------------- */

static int keep(struct kube_pods_parser *parser, struct span text, struct span *ret_kept)
{
	char *copy = arena_spandup(&parser->pods->arena, text);
	if (!copy)
		return stop_no_memory(parser, NULL);
	*ret_kept = span_of(copy, text.len);
	return 1;
}

static void *last(struct kube_list *list, size_t size)
{
	return list->items + (list->count - 1) * size;
}

static struct kube_build_container *open_container(struct kube_pods_parser *parser)
{
	struct kube_build *build = &parser->build;
	for (size_t i = parser->depth; i-- > 0;) {
		if (parser->stack[i] == CONTAINER)
			return last(&build->containers, sizeof(struct kube_build_container));
		if (parser->stack[i] == INIT_CONTAINER)
			break;
	}
	return last(&build->inits, sizeof(struct kube_build_container));
}

/* Where a string goes, or NULL. The object around it is open, so its entry is the last of its list. */
static struct span *string_at(struct kube_pods_parser *parser, enum place place)
{
	struct kube_pod *pod = &parser->build.pod;
	struct kube_build *build = &parser->build;
	switch (place) {
	case POD_NAME:
		return &pod->name;
	case POD_NAMESPACE:
		return &pod->namespace_;
	case POD_UID:
		return &pod->uid;
	case POD_NODE:
		return &pod->node_name;
	case POD_PHASE:
		return &pod->phase;
	case POD_HOST_IP:
		return &pod->host_ip;
	case POD_IP:
		return &pod->pod_ip;
	case OWNER_KIND:
		return &parser->owner.kind;
	case OWNER_NAME:
		return &parser->owner.name;
	case CONTAINER_NAME:
		return &open_container(parser)->container.name;
	case CONTAINER_IMAGE:
		return &open_container(parser)->container.image;
	case PORT_NAME:
		return &((struct kube_port *)last(&build->ports, sizeof(struct kube_port)))->name;
	case PORT_PROTOCOL:
		return &((struct kube_port *)last(&build->ports, sizeof(struct kube_port)))->protocol;
	case CONDITION_TYPE:
		return &parser->condition.type;
	case CONDITION_STATUS:
		return &parser->condition.status;
	case STATUS_NAME:
		return &((struct kube_build_status *)last(&build->statuses, sizeof(struct kube_build_status)))->name;
	case STATUS_ID:
		return &((struct kube_build_status *)last(&build->statuses, sizeof(struct kube_build_status)))->id;
	default:
		return NULL;
	}
}

static int keep_label(struct kube_pods_parser *parser, struct kube_list *list, struct span value)
{
	struct label label = parser->label;
	if (span_eq(label.name, SPAN("kubectl.kubernetes.io/last-applied-configuration")))
		return 1;
	if (!keep(parser, value, &label.value))
		return 0;
	struct label *entry = kube_list_push(list, sizeof(*entry));
	if (!entry)
		return stop_no_memory(parser, list);
	*entry = label;
	return 1;
}

static int keep_pod_ip(struct kube_pods_parser *parser, struct span text)
{
	struct span *ip = text.len > 0 ? kube_list_push(&parser->build.pod_ips, sizeof(*ip)) : &(struct span){0};
	if (!ip)
		return stop_no_memory(parser, &parser->build.pod_ips);
	return keep(parser, text, ip);
}

static int keep_string(struct kube_pods_parser *parser, enum place place, struct span text)
{
	switch (place) {
	case LIST_KIND:
		parser->is_pod_list = span_eq(text, SPAN("PodList"));
		return 1;
	case POD_DELETION:
		parser->build.pod.terminating = true;
		return 1;
	case CONTAINER_RESTART:
		open_container(parser)->container.sidecar = span_eq(text, SPAN("Always"));
		return 1;
	case LABEL_VALUE:
		return keep_label(parser, &parser->build.labels, text);
	case ANNOTATION_VALUE:
		return keep_label(parser, &parser->build.annotations, text);
	case POD_IPS_IP:
		return keep_pod_ip(parser, text);
	default:
		break;
	}
	struct span *to = string_at(parser, place);
	return to ? keep(parser, text, to) : 1;
}

/* ---- objects ---------------------------------------------------------------------------- */

static int begin_container(struct kube_pods_parser *parser, struct kube_list *list, bool init)
{
	struct kube_build_container *entry = kube_list_push(list, sizeof(*entry));
	if (!entry)
		return stop_no_memory(parser, list);
	entry->container.init = init;
	entry->first_port = parser->build.ports.count;
	return 1;
}

static int begin_port(struct kube_pods_parser *parser)
{
	if (!kube_list_push(&parser->build.ports, sizeof(struct kube_port)))
		return stop_no_memory(parser, &parser->build.ports);
	open_container(parser)->port_count++;
	return 1;
}

static int begin_status(struct kube_pods_parser *parser, bool init)
{
	struct kube_build_status *entry = kube_list_push(&parser->build.statuses, sizeof(*entry));
	if (!entry)
		return stop_no_memory(parser, &parser->build.statuses);
	entry->init = init;
	return 1;
}

static int begin(struct kube_pods_parser *parser, enum place place)
{
	struct kube_build *build = &parser->build;
	switch (place) {
	case POD:
		kube_build_reset(build);
		return 1;
	case OWNER:
		parser->owner.kind = parser->owner.name = SPAN_NONE;
		parser->owner.controller = false;
		return 1;
	case CONDITION:
		parser->condition.type = parser->condition.status = SPAN_NONE;
		return 1;
	case CONTAINER:
		return begin_container(parser, &build->containers, false);
	case INIT_CONTAINER:
		return begin_container(parser, &build->inits, true);
	case PORT:
		return begin_port(parser);
	case CONTAINER_STATUS:
		return begin_status(parser, false);
	case INIT_STATUS:
		return begin_status(parser, true);
	case RUNNING:
		((struct kube_build_status *)last(&build->statuses, sizeof(struct kube_build_status)))->running = true;
		return 1;
	default:
		return 1;
	}
}

static int end_pod(struct kube_pods_parser *parser)
{
	struct kube_pod pod;
	int r = kube_build_finish(&parser->build, &parser->pods->arena, parser->host_ip, &pod);
	if (r == -EBADMSG)
		return stop(parser, EBADMSG, "a pod without uid, namespace or name");
	struct kube_pod *entry = r == 0 ? kube_list_push(&parser->items, sizeof(*entry)) : NULL;
	if (!entry)
		return stop_no_memory(parser, &parser->items);
	*entry = pod;
	return 1;
}

/* "True", "False", "Unknown" -> as Prometheus writes them. */
static void end_condition(struct kube_pods_parser *parser)
{
	struct span *ready = &parser->build.pod.ready;
	if (!span_eq(parser->condition.type, SPAN("Ready")))
		return;
	*ready = span_eq(parser->condition.status, SPAN("True"))    ? SPAN("true")
		 : span_eq(parser->condition.status, SPAN("False")) ? SPAN("false")
								    : SPAN("unknown");
}

static int end(struct kube_pods_parser *parser, enum place place)
{
	if (place == POD)
		return end_pod(parser);
	if (place == CONDITION)
		end_condition(parser);
	if (place == OWNER && parser->owner.controller) {
		parser->build.pod.controller_kind = parser->owner.kind;
		parser->build.pod.controller_name = parser->owner.name;
	}
	return 1;
}

/* ---- yajl's events ------------------------------------------------------------------------ */

static int push(struct kube_pods_parser *parser, enum place place)
{
	if (parser->depth == DEPTH_MAX)
		return stop(parser, EBADMSG, "nested deeper than 64");
	parser->stack[parser->depth++] = (unsigned char)place;
	return 1;
}

static int on_map_start(void *arg)
{
	struct kube_pods_parser *parser = arg;
	enum place place = take_place(parser);
	if (place > RUNNING)
		place = NOWHERE; /* an object where an array or a scalar belongs */
	return push(parser, place) && begin(parser, place);
}

static int on_map_end(void *arg)
{
	struct kube_pods_parser *parser = arg;
	parser->next = NOWHERE;
	return end(parser, parser->stack[--parser->depth]);
}

static int on_array_start(void *arg)
{
	struct kube_pods_parser *parser = arg;
	enum place place = take_place(parser);
	parser->has_items |= place == ITEMS;
	return push(parser, place >= ITEMS && place <= INIT_STATUSES ? place : NOWHERE);
}

static int on_array_end(void *arg)
{
	struct kube_pods_parser *parser = arg;
	parser->depth--;
	return 1;
}

static int on_key(void *arg, const unsigned char *text, size_t len)
{
	struct kube_pods_parser *parser = arg;
	struct span key = span_of((const char *)text, len);
	enum place in = parser->stack[parser->depth - 1];
	if (in == NOWHERE)
		return 1;
	if (in != LABELS && in != ANNOTATIONS) {
		parser->next = place_of_key(in, key);
		return 1;
	}
	parser->next = in == LABELS ? LABEL_VALUE : ANNOTATION_VALUE;
	return keep(parser, key, &parser->label.name);
}

static int on_string(void *arg, const unsigned char *text, size_t len)
{
	struct kube_pods_parser *parser = arg;
	return keep_string(parser, take_place(parser), span_of((const char *)text, len));
}

static int on_boolean(void *arg, int value)
{
	struct kube_pods_parser *parser = arg;
	enum place place = take_place(parser);
	if (place == POD_HOST_NETWORK)
		parser->build.pod.host_network = value;
	else if (place == OWNER_CONTROLLER)
		parser->owner.controller = value;
	return 1;
}

static int on_number(void *arg, const char *text, size_t len)
{
	struct kube_pods_parser *parser = arg;
	uint64_t number;
	if (take_place(parser) == PORT_NUMBER && span_to_u64(span_of(text, len), &number) == 0 && number <= 65535)
		((struct kube_port *)last(&parser->build.ports, sizeof(struct kube_port)))->number = (uint16_t)number;
	return 1;
}

static int on_null(void *arg)
{
	struct kube_pods_parser *parser = arg;
	parser->has_items |= take_place(parser) == ITEMS;
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_map_start,
	.yajl_map_key = on_key,
	.yajl_end_map = on_map_end,
	.yajl_start_array = on_array_start,
	.yajl_end_array = on_array_end,
};

/* ---- the parser's life ----------------------------------------------------------------------- */

int kube_pods_parser_new(size_t max_bytes, struct kube_pods_parser **ret_parser)
{
	struct kube_pods_parser *parser = calloc(1, sizeof(*parser));
	if (!parser)
		return -ENOMEM;
	parser->max_bytes = max_bytes;
	buf_init(&parser->waiting, 2 * WAIT_BYTES);
	kube_build_init(&parser->build);
	/* The smallest pod takes some ten times its text; 16 bytes more a string. */
	parser->pods = kube_pods_new(max_bytes < SIZE_MAX / 64 ? 16 * max_bytes + 65536 : SIZE_MAX / 4);
	parser->yajl = parser->pods ? yajl_alloc(&callbacks, NULL, parser) : NULL;
	if (!parser->yajl) {
		kube_pods_parser_free(parser);
		return -ENOMEM;
	}
	*ret_parser = parser;
	return 0;
}

int kube_pods_parser_host_ip(struct kube_pods_parser *parser, struct span host_ip)
{
	return keep(parser, host_ip, &parser->host_ip) ? 0 : -ENOMEM;
}

void kube_pods_parser_free(struct kube_pods_parser *parser)
{
	if (!parser)
		return;
	if (parser->yajl)
		yajl_free(parser->yajl);
	kube_pods_unref(parser->pods);
	kube_build_done(&parser->build);
	kube_list_done(&parser->items);
	buf_done(&parser->waiting);
	free(parser);
}

/* What yajl says, but for the text that it would quote. */
static void judge(struct kube_pods_parser *parser, yajl_status status)
{
	if (status == yajl_status_ok || parser->failed)
		return;
	unsigned char *text = yajl_get_error(parser->yajl, 0, NULL, 0);
	struct span reason = span_trim(span_str((const char *)text));
	parser->failed =
		error_set(&parser->error, EBADMSG, "not JSON near byte %zu: %.*s", parser->bytes, SPAN_ARGS(reason));
	yajl_free_error(parser->yajl, text);
}

static int failure(const struct kube_pods_parser *parser, struct error *err)
{
	return parser->failed ? error_set(err, -parser->failed, "%s", parser->error.text) : 0;
}

static void read_piece(struct kube_pods_parser *parser, struct span piece)
{
	yajl_status status = yajl_parse(parser->yajl, (const unsigned char *)piece.ptr, piece.len);
	parser->bytes += status == yajl_status_ok ? piece.len : yajl_get_bytes_consumed(parser->yajl);
	judge(parser, status);
}

static void read_waiting(struct kube_pods_parser *parser)
{
	if (!parser->failed && parser->waiting.len > 0)
		read_piece(parser, buf_view(&parser->waiting));
	buf_reset(&parser->waiting);
}

/* yajl reads a token that was cut from its start again with every piece: a long annotation in tiny chunks would keep the loop busy for
 * minutes. So behind the first few bytes, pieces wait until there is a large one. */
int kube_pods_parser_feed(struct kube_pods_parser *parser, struct span piece, struct error *err)
{
	if (parser->failed)
		return failure(parser, err);
	if (piece.len > parser->max_bytes - parser->bytes - parser->waiting.len) {
		stop(parser, EMSGSIZE, "the list of pods is larger than allowed");
		return failure(parser, err);
	}
	if (parser->bytes + parser->waiting.len + piece.len <= DIRECT_BYTES) {
		read_piece(parser, piece);
		return failure(parser, err);
	}
	while (piece.len > 0 && !parser->failed) {
		size_t part = piece.len < WAIT_BYTES ? piece.len : WAIT_BYTES;
		if (buf_append(&parser->waiting, piece.ptr, part) < 0)
			stop_no_memory(parser, NULL);
		else if (parser->waiting.len >= WAIT_BYTES)
			read_waiting(parser);
		piece = span_of(piece.ptr + part, piece.len - part);
	}
	return failure(parser, err);
}

static int compare_pods(const void *a, const void *b)
{
	const struct kube_pod *left = a, *right = b;
	return span_cmp(left->uid, right->uid);
}

static int finish(struct kube_pods_parser *parser)
{
	struct kube_pods *pods = parser->pods;
	struct kube_pod *items = arena_alloc(&pods->arena, parser->items.count * sizeof(*items));
	if (!items)
		return stop_no_memory(parser, NULL);
	size_t count = 0;
	if (parser->items.count > 0)
		memcpy(items, parser->items.items, parser->items.count * sizeof(*items));
	qsort(items, parser->items.count, sizeof(*items), compare_pods);
	for (size_t i = 0; i < parser->items.count; i++)
		if (i == 0 || !span_eq(items[i].uid, items[count - 1].uid))
			items[count++] = items[i];
	pods->items = items;
	pods->count = count;
	return 1;
}

int kube_pods_parser_end(struct kube_pods_parser *parser, struct kube_pods **ret_pods, struct error *err)
{
	read_waiting(parser);
	if (!parser->failed)
		judge(parser, yajl_complete_parse(parser->yajl));
	if (!parser->failed && (!parser->is_pod_list || !parser->has_items))
		stop(parser, EBADMSG, "not a list of pods");
	if (!parser->failed)
		finish(parser);
	if (parser->failed)
		return failure(parser, err);
	*ret_pods = parser->pods;
	parser->pods = NULL;
	parser->failed = -EBADMSG; /* nothing more may come */
	return 0;
}
