// links: kube
/* A PodList read at once and in pieces of a size that the input's last byte chooses: both give the same pods or the same refusal. */
#include "gleaner/kube.h"

#include <errno.h>
#include <stdlib.h>

#define CHECK(claim)                                                                                                   \
	do {                                                                                                           \
		if (!(claim))                                                                                          \
			__builtin_trap();                                                                              \
	} while (0)

static int parse(struct span text, size_t piece, struct kube_pods **ret_pods)
{
	struct kube_pods_parser *parser;
	struct error err = {""};
	int r = kube_pods_parser_new(100000, &parser);
	CHECK(r == 0);
	for (size_t at = 0; r == 0 && at < text.len; at += piece)
		r = kube_pods_parser_feed(
			parser, span_of(text.ptr + at, text.len - at < piece ? text.len - at : piece), &err);
	if (r == 0)
		r = kube_pods_parser_end(parser, ret_pods, &err);
	CHECK(r == 0 || (err.text[0] && (r == -EBADMSG || r == -EMSGSIZE || r == -ENOMEM)));
	kube_pods_parser_free(parser);
	return r;
}

static void check_container(const struct kube_container *container)
{
	for (size_t i = 0; i < container->port_count; i++)
		CHECK(container->ports[i].number > 0 && container->ports[i].protocol.len > 0);
	CHECK(container->init || !container->sidecar);
}

static void check_pod(const struct kube_pod *pod)
{
	CHECK(pod->uid.len > 0 && pod->namespace_.len > 0 && pod->name.len > 0 && pod->ready.len > 0);
	CHECK((pod->pod_ip_count > 0) == (pod->pod_ip.len > 0));
	for (size_t i = 1; i < pod->labels.count; i++)
		CHECK(span_cmp(pod->labels.items[i - 1].name, pod->labels.items[i].name) < 0);
	for (size_t i = 0; i < pod->container_count; i++)
		check_container(&pod->containers[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of((const char *)data, size);
	struct kube_pods *whole = NULL, *pieces = NULL;
	int r = parse(text, size + 1, &whole);
	CHECK(parse(text, size > 0 ? data[size - 1] % 16 + 1 : 1, &pieces) == r);
	if (r < 0)
		return 0;
	CHECK(whole->count == pieces->count);
	for (size_t i = 0; i < whole->count; i++) {
		check_pod(&whole->items[i]);
		CHECK(whole->items[i].hash == pieces->items[i].hash);
		CHECK(kube_pods_find(whole, whole->items[i].uid) == &whole->items[i]);
	}
	kube_pods_unref(whole);
	kube_pods_unref(pieces);
	return 0;
}
