/* A PodList as it streams in: json's events -> pods.
 *
 * A pod is mostly what gleaner must not keep (environment variables, volumes, managedFields). So the parser knows the
 * places that it wants, as rows of `steps`, and everything else is passed over with nothing but its depth counted:
 *
 *   1. A key moves from the place of its object to the place of its value (place_of_key); unknown: NOWHERE.
 *   2. A value that is an object or array pushes its place on a stack; a scalar is kept where keep_string and its
 *      siblings say.
 *   3. The end of a pod's object makes it a struct kube_pod (build.c).
 */
#include "pods.h"

#include <errno.h>
#include <stdlib.h>

#include "gleaner/json.h"

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
	struct json_stream *stream;
	int failed; /* sticky */
	struct error error;

	unsigned char stack[JSON_DEPTH_MAX]; /* places of the open objects and arrays */
	size_t depth;
	enum place root; /* of the whole text */
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

/* Returns false, which ends the parse. */
static bool stop(struct kube_pods_parser *parser, int code, const char *reason)
{
	parser->failed = error_set(&parser->error, code, "%s", reason);
	return false;
}

static bool stop_no_memory(struct kube_pods_parser *parser, const struct kube_list *list)
{
	if (list && list->count >= KUBE_LIST_MAX)
		return stop(parser, EMSGSIZE, "more than 65536 pods");
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
		return parser->root;
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

static bool keep(struct kube_pods_parser *parser, struct span text, struct span *ret_kept)
{
	char *copy = arena_spandup(&parser->pods->arena, text);
	if (!copy)
		return stop_no_memory(parser, NULL);
	*ret_kept = span_of(copy, text.len);
	return true;
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

static bool keep_label(struct kube_pods_parser *parser, struct kube_list *list, struct span value)
{
	struct label label = parser->label;
	if (kube_list_is_full(list) || span_eq(label.name, SPAN("kubectl.kubernetes.io/last-applied-configuration")))
		return true;
	if (!keep(parser, value, &label.value))
		return false;
	struct label *entry = kube_list_push(list, sizeof(*entry));
	if (!entry)
		return stop_no_memory(parser, list);
	*entry = label;
	return true;
}

static bool keep_pod_ip(struct kube_pods_parser *parser, struct span text)
{
	if (text.len == 0 || kube_list_is_full(&parser->build.pod_ips))
		return true;
	struct span *ip = kube_list_push(&parser->build.pod_ips, sizeof(*ip));
	if (!ip)
		return stop_no_memory(parser, &parser->build.pod_ips);
	return keep(parser, text, ip);
}

static bool keep_string(struct kube_pods_parser *parser, enum place place, struct span text)
{
	switch (place) {
	case LIST_KIND:
		parser->is_pod_list = span_eq(text, SPAN("PodList"));
		return true;
	case POD_DELETION:
		parser->build.pod.terminating = true;
		return true;
	case CONTAINER_RESTART:
		open_container(parser)->container.sidecar = span_eq(text, SPAN("Always"));
		return true;
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

static bool begin_container(struct kube_pods_parser *parser, struct kube_list *list, bool init)
{
	struct kube_build_container *entry = kube_list_push(list, sizeof(*entry));
	if (!entry)
		return stop_no_memory(parser, list);
	entry->container.init = init;
	entry->first_port = parser->build.ports.count;
	return true;
}

static bool begin_port(struct kube_pods_parser *parser)
{
	if (!kube_list_push(&parser->build.ports, sizeof(struct kube_port)))
		return stop_no_memory(parser, &parser->build.ports);
	open_container(parser)->port_count++;
	return true;
}

static bool begin_status(struct kube_pods_parser *parser, bool init)
{
	struct kube_build_status *entry = kube_list_push(&parser->build.statuses, sizeof(*entry));
	if (!entry)
		return stop_no_memory(parser, &parser->build.statuses);
	entry->init = init;
	return true;
}

static bool begin(struct kube_pods_parser *parser, enum place place)
{
	struct kube_build *build = &parser->build;
	switch (place) {
	case POD:
		kube_build_reset(build);
		return true;
	case OWNER:
		parser->owner.kind = parser->owner.name = SPAN_NONE;
		parser->owner.controller = false;
		return true;
	case CONDITION:
		parser->condition.type = parser->condition.status = SPAN_NONE;
		return true;
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
		return true;
	default:
		return true;
	}
}

static bool end_pod(struct kube_pods_parser *parser)
{
	struct kube_pod pod;
	int r = kube_build_finish(&parser->build, &parser->pods->arena, parser->host_ip, &pod);
	if (r == -EBADMSG)
		return stop(parser, EBADMSG, "a pod without uid, namespace or name");
	struct kube_pod *entry = r == 0 ? kube_list_push(&parser->items, sizeof(*entry)) : NULL;
	if (!entry)
		return stop_no_memory(parser, &parser->items);
	*entry = pod;
	return true;
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

static bool end(struct kube_pods_parser *parser, enum place place)
{
	if (place == POD)
		return end_pod(parser);
	if (place == CONDITION)
		end_condition(parser);
	if (place == OWNER && parser->owner.controller) {
		parser->build.pod.controller_kind = parser->owner.kind;
		parser->build.pod.controller_name = parser->owner.name;
	}
	return true;
}

/* ---- json's events ------------------------------------------------------------------------ */

static bool is_array(enum place place)
{
	return place >= ITEMS && place <= INIT_STATUSES;
}

/* Whether there is no room for the object of this place. */
static bool is_full(const struct kube_build *build, enum place place)
{
	switch (place) {
	case CONTAINER:
		return kube_list_is_full(&build->containers);
	case INIT_CONTAINER:
		return kube_list_is_full(&build->inits);
	case PORT:
		return kube_list_is_full(&build->ports);
	case CONTAINER_STATUS:
	case INIT_STATUS:
		return kube_list_is_full(&build->statuses);
	default:
		return false;
	}
}

static bool on_begin(void *arg, enum json_type type)
{
	struct kube_pods_parser *parser = arg;
	enum place place = take_place(parser);
	if (type == JSON_ARRAY ? !is_array(place) : place > RUNNING)
		place = NOWHERE; /* another type than belongs there */
	if (is_full(&parser->build, place))
		place = NOWHERE;
	parser->has_items |= place == ITEMS;
	parser->stack[parser->depth++] = (unsigned char)place;
	return type == JSON_ARRAY || begin(parser, place);
}

static bool on_end(void *arg, enum json_type type)
{
	struct kube_pods_parser *parser = arg;
	enum place place = parser->stack[--parser->depth];
	if (type == JSON_ARRAY)
		return true;
	parser->next = NOWHERE;
	return end(parser, place);
}

static bool on_key(void *arg, struct span key)
{
	struct kube_pods_parser *parser = arg;
	enum place in = parser->stack[parser->depth - 1];
	if (in == NOWHERE)
		return true;
	if (in != LABELS && in != ANNOTATIONS) {
		parser->next = place_of_key(in, key);
		return true;
	}
	parser->next = in == LABELS ? LABEL_VALUE : ANNOTATION_VALUE;
	return keep(parser, key, &parser->label.name);
}

static bool on_string(void *arg, struct span text)
{
	struct kube_pods_parser *parser = arg;
	return keep_string(parser, take_place(parser), text);
}

static bool on_boolean(void *arg, bool value)
{
	struct kube_pods_parser *parser = arg;
	enum place place = take_place(parser);
	if (place == POD_HOST_NETWORK)
		parser->build.pod.host_network = value;
	else if (place == OWNER_CONTROLLER)
		parser->owner.controller = value;
	return true;
}

static bool on_number(void *arg, struct span text)
{
	struct kube_pods_parser *parser = arg;
	uint64_t number;
	if (take_place(parser) == PORT_NUMBER && span_to_u64(text, &number) == 0 && number <= 65535)
		((struct kube_port *)last(&parser->build.ports, sizeof(struct kube_port)))->number = (uint16_t)number;
	return true;
}

static bool on_null(void *arg)
{
	struct kube_pods_parser *parser = arg;
	parser->has_items |= take_place(parser) == ITEMS;
	return true;
}

/* ---- the parser's life ----------------------------------------------------------------------- */

static struct json_events events_of(struct kube_pods_parser *parser)
{
	return (struct json_events){on_begin, on_end, on_key, on_string, on_number, on_boolean, on_null, parser};
}

static int parser_new(enum place root, size_t max_bytes, struct kube_pods_parser **ret_parser)
{
	struct kube_pods_parser *parser = calloc(1, sizeof(*parser));
	if (!parser)
		return -ENOMEM;
	parser->root = root;
	kube_build_init(&parser->build);
	/* The smallest pod takes some ten times its text; 16 bytes more a string. */
	parser->pods = kube_pods_new(max_bytes < SIZE_MAX / 64 ? 16 * max_bytes + 65536 : SIZE_MAX / 4);
	if (!parser->pods || json_stream_new(events_of(parser), max_bytes, &parser->stream) < 0) {
		kube_pods_parser_free(parser);
		return -ENOMEM;
	}
	*ret_parser = parser;
	return 0;
}

int kube_pods_parser_new(size_t max_bytes, struct kube_pods_parser **ret_parser)
{
	return parser_new(LIST, max_bytes, ret_parser);
}

int kube_pods_parser_host_ip(struct kube_pods_parser *parser, struct span host_ip)
{
	return keep(parser, host_ip, &parser->host_ip) ? 0 : -ENOMEM;
}

void kube_pods_parser_free(struct kube_pods_parser *parser)
{
	if (!parser)
		return;
	json_stream_free(parser->stream);
	kube_pods_unref(parser->pods);
	kube_build_done(&parser->build);
	kube_list_done(&parser->items);
	free(parser);
}

/* What the stream says, but when it was ended by us. */
static void judge(struct kube_pods_parser *parser, int result, const struct error *err)
{
	if (result == -EMSGSIZE)
		stop(parser, EMSGSIZE, "the list of pods is larger than allowed");
	else if (result < 0 && result != -ECANCELED)
		stop(parser, -result, err->text);
}

static int outcome(const struct kube_pods_parser *parser, struct error *err)
{
	return parser->failed ? error_set(err, -parser->failed, "%s", parser->error.text) : 0;
}

int kube_pods_parser_feed(struct kube_pods_parser *parser, struct span piece, struct error *err)
{
	struct error cause;
	if (!parser->failed)
		judge(parser, json_stream_feed(parser->stream, piece, &cause), &cause);
	return outcome(parser, err);
}

static int compare_pods(const void *a, const void *b)
{
	const struct kube_pod *left = a, *right = b;
	return span_cmp(left->uid, right->uid);
}

static bool finish(struct kube_pods_parser *parser)
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
	return true;
}

int kube_pods_parser_end(struct kube_pods_parser *parser, struct kube_pods **ret_pods, struct error *err)
{
	struct error cause;
	if (!parser->failed)
		judge(parser, json_stream_end(parser->stream, &cause), &cause);
	if (!parser->failed && (!parser->is_pod_list || !parser->has_items))
		stop(parser, EBADMSG, "not a list of pods");
	if (!parser->failed)
		finish(parser);
	if (parser->failed)
		return outcome(parser, err);
	*ret_pods = parser->pods;
	parser->pods = NULL;
	parser->failed = -EBADMSG; /* nothing more may come */
	return 0;
}

int kube_pods_from_json(const struct json *pod, struct span host_ip, struct kube_pods **ret_pods)
{
	struct kube_pods_parser *parser;
	int r = parser_new(POD, SIZE_MAX, &parser);
	if (r < 0)
		return r;
	struct json_events events = events_of(parser);
	r = kube_pods_parser_host_ip(parser, host_ip);
	if (r == 0 && json_walk(pod, &events) && parser->items.count == 1 && finish(parser)) {
		*ret_pods = parser->pods;
		parser->pods = NULL;
	} else if (r == 0) {
		r = parser->failed ? parser->failed : -EBADMSG;
	}
	kube_pods_parser_free(parser);
	return r;
}
