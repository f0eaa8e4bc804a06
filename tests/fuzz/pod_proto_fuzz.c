// links: kube
/* A v1.Pod as the kubelet's Pods API sends it: refused, or a pod that keeps the promises of struct kube_pod. */
#include "gleaner/kube.h"

#include <errno.h>

#include "../../agent/kube/pod_proto.h"

#define CHECK(claim)                                                                                                   \
	do {                                                                                                           \
		if (!(claim))                                                                                          \
			__builtin_trap();                                                                              \
	} while (0)

static void check_labels(struct labels labels)
{
	for (size_t i = 1; i < labels.count; i++)
		CHECK(span_cmp(labels.items[i - 1].name, labels.items[i].name) < 0);
}

static void check_container(const struct kube_container *container)
{
	for (size_t i = 0; i < container->port_count; i++)
		CHECK(container->ports[i].number > 0 && container->ports[i].protocol.len > 0);
	CHECK(container->init || !container->sidecar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = span_of((const char *)data, size), uid = SPAN_NONE;
	struct kube_pods *one = NULL;
	struct error err = {""};
	int r = kube_pod_decode(bytes, SPAN("10.0.0.1"), &one, &err);
	int with_uid = kube_pod_decode_uid(bytes, &uid);
	CHECK(r == 0 || (err.text[0] && !one && (r == -EBADMSG || r == -EMSGSIZE || r == -ENOMEM)));
	if (r < 0)
		return 0;
	const struct kube_pod *pod = &one->items[0];
	CHECK(one->count == 1 && with_uid == 0);
	CHECK(pod->uid.len > 0 && pod->namespace_.len > 0 && pod->name.len > 0 && pod->ready.len > 0);
	CHECK((pod->pod_ip_count > 0) == (pod->pod_ip.len > 0));
	check_labels(pod->labels);
	check_labels(pod->annotations);
	for (size_t i = 0; i < pod->container_count; i++)
		check_container(&pod->containers[i]);
	kube_pods_unref(one);
	return 0;
}
