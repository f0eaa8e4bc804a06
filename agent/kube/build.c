/* One pod: from the loose parts that the parser found to the struct that is handed out. */
#include "pods.h"

#include <errno.h>
#include <stdlib.h>

void *kube_list_push(struct kube_list *list, size_t size)
{
	if (list->count == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 8;
		if (cap > KUBE_LIST_MAX)
			return NULL;
		char *items = realloc(list->items, cap * size);
		if (!items)
			return NULL;
		list->items = items;
		list->cap = cap;
	}
	return memset(list->items + list->count++ * size, 0, size);
}

void kube_list_done(struct kube_list *list)
{
	free(list->items);
	*list = (struct kube_list){0};
}

void kube_build_init(struct kube_build *build)
{
	*build = (struct kube_build){.pod.uid = SPAN_NONE};
	buf_init(&build->hashed, 64 << 20);
}

void kube_build_done(struct kube_build *build)
{
	kube_list_done(&build->containers);
	kube_list_done(&build->inits);
	kube_list_done(&build->ports);
	kube_list_done(&build->statuses);
	kube_list_done(&build->labels);
	kube_list_done(&build->annotations);
	kube_list_done(&build->pod_ips);
	buf_done(&build->hashed);
}

void kube_build_reset(struct kube_build *build)
{
	build->pod = (struct kube_pod){.uid = SPAN_NONE};
	build->containers.count = build->inits.count = build->ports.count = build->statuses.count = 0;
	build->labels.count = build->annotations.count = build->pod_ips.count = 0;
	buf_reset(&build->hashed);
}

/* ---- containers -------------------------------------------------------------- */

static const struct kube_build_status *find_status(const struct kube_build *build, struct span name, bool init)
{
	const struct kube_build_status *statuses = (const struct kube_build_status *)build->statuses.items;
	for (size_t i = 0; i < build->statuses.count; i++)
		if (statuses[i].init == init && span_eq(statuses[i].name, name))
			return &statuses[i];
	return NULL;
}

/* A port is usable when its number is one; TCP goes without saying. */
static size_t copy_ports(struct kube_port *to, const struct kube_port *from, size_t count)
{
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		if (from[i].number == 0)
			continue;
		to[kept] = from[i];
		if (to[kept].protocol.len == 0)
			to[kept].protocol = SPAN("TCP");
		kept++;
	}
	return kept;
}

static int finish_container(const struct kube_build *build, const struct kube_build_container *from,
	struct arena *arena, struct kube_container *ret_container)
{
	struct kube_container container = from->container;
	struct kube_port *ports = arena_alloc(arena, from->port_count * sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	const struct kube_port *found = (const struct kube_port *)build->ports.items;
	container.port_count = from->port_count > 0 ? copy_ports(ports, found + from->first_port, from->port_count) : 0;
	container.ports = ports;
	const struct kube_build_status *status = find_status(build, container.name, container.init);
	if (status) {
		container.id = status->id;
		container.running = status->running;
	}
	*ret_container = container;
	return 0;
}

static int finish_containers(struct kube_build *build, struct arena *arena)
{
	size_t ordinary = build->containers.count, count = ordinary + build->inits.count;
	struct kube_container *containers = arena_alloc(arena, count * sizeof(*containers));
	if (!containers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct kube_list *list = i < ordinary ? &build->containers : &build->inits;
		const struct kube_build_container *from =
			(const struct kube_build_container *)list->items + (i < ordinary ? i : i - ordinary);
		if (finish_container(build, from, arena, &containers[i]) < 0)
			return -ENOMEM;
	}
	build->pod.containers = containers;
	build->pod.container_count = count;
	return 0;
}

/* ---- labels, addresses --------------------------------------------------------- */

static int compare_labels(const void *a, const void *b)
{
	const struct label *left = a, *right = b;
	return span_cmp(left->name, right->name);
}

static int finish_labels(struct kube_list *list, struct arena *arena, struct labels *ret_labels)
{
	struct label *items = arena_alloc(arena, list->count * sizeof(*items));
	if (!items)
		return -ENOMEM;
	size_t count = 0;
	if (list->count > 0)
		memcpy(items, list->items, list->count * sizeof(*items));
	qsort(items, list->count, sizeof(*items), compare_labels);
	for (size_t i = 0; i < list->count; i++)
		if (i == 0 || !span_eq(items[i].name, items[count - 1].name))
			items[count++] = items[i];
	*ret_labels = (struct labels){items, count};
	return 0;
}

/* podIP, podIPs and hostIP say the same thing thrice, or leave it out. */
static int finish_addresses(struct kube_build *build, struct arena *arena, struct span host_ip)
{
	struct kube_pod *pod = &build->pod;
	struct span *ips = arena_alloc(arena, (build->pod_ips.count + 1) * sizeof(*ips));
	if (!ips)
		return -ENOMEM;
	if (pod->host_ip.len == 0)
		pod->host_ip = host_ip;
	if (build->pod_ips.count > 0)
		memcpy(ips, build->pod_ips.items, build->pod_ips.count * sizeof(*ips));
	pod->pod_ip_count = build->pod_ips.count;
	if (pod->pod_ip.len == 0 && pod->pod_ip_count > 0)
		pod->pod_ip = ips[0];
	if (pod->pod_ip.len == 0 && pod->host_network)
		pod->pod_ip = pod->host_ip;
	if (pod->pod_ip.len > 0 && pod->pod_ip_count == 0)
		ips[pod->pod_ip_count++] = pod->pod_ip;
	pod->pod_ips = ips;
	return 0;
}

/* ---- what sources of pods tell differently ------------------------------------------ */

static struct span build_annotation(const struct kube_list *annotations, struct span name)
{
	const struct label *items = (const struct label *)annotations->items;
	for (size_t i = 0; i < annotations->count; i++)
		if (span_eq(items[i].name, name))
			return items[i].value;
	return SPAN_NONE;
}

/* The kubelet tells of a static pod under the hash of its manifest, and of no owner. The API server has a mirror of it, with another
 * uid, whose annotation names that hash and whose owner is the node: uid of the one, owner of the other, as Prometheus shows it. Then
 * the annotations by which this was seen go: the kubelet adds more of them than the API server knows. */
static void finish_source(struct kube_build *build)
{
	struct kube_pod *pod = &build->pod;
	struct label *items = (struct label *)build->annotations.items;
	struct span mirrored = build_annotation(&build->annotations, SPAN("kubernetes.io/config.mirror"));
	struct span source = build_annotation(&build->annotations, SPAN("kubernetes.io/config.source"));
	if (mirrored.len > 0)
		pod->uid = mirrored;
	if (pod->controller_kind.len == 0 && source.len > 0 && !span_eq(source, SPAN("api"))) {
		pod->controller_kind = SPAN("Node");
		pod->controller_name = pod->node_name;
	}
	size_t kept = 0;
	for (size_t i = 0; i < build->annotations.count; i++)
		if (!span_starts_with(items[i].name, SPAN("kubernetes.io/config.")))
			items[kept++] = items[i];
	build->annotations.count = kept;
}

/* ---- hash ------------------------------------------------------------------------ */

static void put_number(struct buf *out, uint64_t number)
{
	buf_append(out, &number, sizeof(number));
}

static void put_span(struct buf *out, struct span s)
{
	put_number(out, s.len);
	buf_span(out, s);
}

static void put_labels(struct buf *out, struct labels labels)
{
	put_number(out, labels.count);
	for (size_t i = 0; i < labels.count; i++) {
		put_span(out, labels.items[i].name);
		put_span(out, labels.items[i].value);
	}
}

static void put_container(struct buf *out, const struct kube_container *container)
{
	put_span(out, container->name);
	put_span(out, container->image);
	put_span(out, container->id);
	put_number(
		out, (uint64_t)container->init | (uint64_t)container->sidecar << 1 | (uint64_t)container->running << 2);
	put_number(out, container->port_count);
	for (size_t i = 0; i < container->port_count; i++) {
		put_span(out, container->ports[i].name);
		put_span(out, container->ports[i].protocol);
		put_number(out, container->ports[i].number);
	}
}

/* All fields, each with its length, so that no two pods give the same bytes. */
static int finish_hash(struct kube_build *build)
{
	const struct kube_pod *pod = &build->pod;
	struct buf *out = &build->hashed;
	const struct span texts[] = {pod->uid, pod->namespace_, pod->name, pod->node_name, pod->host_ip, pod->pod_ip,
		pod->phase, pod->ready, pod->controller_kind, pod->controller_name};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		put_span(out, texts[i]);
	put_number(out, (uint64_t)pod->host_network | (uint64_t)pod->terminating << 1);
	put_labels(out, pod->labels);
	put_labels(out, pod->annotations);
	put_number(out, pod->pod_ip_count);
	for (size_t i = 0; i < pod->pod_ip_count; i++)
		put_span(out, pod->pod_ips[i]);
	put_number(out, pod->container_count);
	for (size_t i = 0; i < pod->container_count; i++)
		put_container(out, &pod->containers[i]);
	if (out->failed)
		return -ENOMEM;
	build->pod.hash = hash_bytes(buf_view(out), 0); /* compared with our own hashes only: no seed */
	return 0;
}

int kube_build_finish(struct kube_build *build, struct arena *arena, struct span host_ip, struct kube_pod *ret_pod)
{
	struct kube_pod *pod = &build->pod;
	if (pod->uid.len == 0 || pod->namespace_.len == 0 || pod->name.len == 0)
		return -EBADMSG;
	if (pod->ready.len == 0)
		pod->ready = SPAN("unknown");
	finish_source(build);
	if (finish_containers(build, arena) < 0 || finish_labels(&build->labels, arena, &pod->labels) < 0 ||
		finish_labels(&build->annotations, arena, &pod->annotations) < 0 ||
		finish_addresses(build, arena, host_ip) < 0 || finish_hash(build) < 0)
		return -ENOMEM;
	*ret_pod = *pod;
	return 0;
}
