/* Pods made by hand, for the tests of this folder. */
#pragma once

#include <stdlib.h>

#include "found.h"
#include "test.h"

#define TCP_PORT(port_name, port_number)                                                                               \
	{                                                                                                              \
		.name = SPAN(port_name), .protocol = SPAN("TCP"), .number = (port_number)                              \
	}
#define UDP_PORT(port_name, port_number)                                                                               \
	{                                                                                                              \
		.name = SPAN(port_name), .protocol = SPAN("UDP"), .number = (port_number)                              \
	}
#define CONTAINER(container_name, container_ports)                                                                     \
	.name = SPAN(container_name), .image = SPAN("registry/" container_name ":1"),                                  \
	.id = SPAN("containerd://" container_name), .running = true, .ports = (container_ports),                       \
	.port_count = ARRAY_SIZE(container_ports)
#define LABELS(items)                                                                                                  \
	{                                                                                                              \
		(items), ARRAY_SIZE(items)                                                                             \
	}

/* A list with one reference, by uid as the kubelet client's; the strings and arrays of the pods are borrowed. */
static inline struct kube_pods *pods_for_test(const struct kube_pod *items, size_t count)
{
	struct kube_pods *pods = calloc(1, sizeof(*pods));
	if (!pods)
		return NULL;
	arena_init(&pods->arena, 1 << 20);
	pods->refs = 1;
	struct kube_pod *copy = arena_alloc(&pods->arena, count * sizeof(*copy));
	if (!copy) {
		free(pods);
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		size_t at = i;
		for (; at > 0 && span_cmp(copy[at - 1].uid, items[i].uid) > 0; at--)
			copy[at] = copy[at - 1];
		copy[at] = items[i];
	}
	pods->items = copy;
	pods->count = count;
	return pods;
}

/* web: two TCP ports and a UDP one in the first container, an unnamed one in the second, an init container, a sidecar. */
static const struct kube_port web_ports[] = {TCP_PORT("http", 8080), TCP_PORT("metrics", 8081), UDP_PORT("dns", 5353)};
static const struct kube_port side_ports[] = {TCP_PORT("", 9100)};
static const struct kube_port once_ports[] = {TCP_PORT("never-metrics", 7000)};
static const struct kube_port proxy_ports[] = {TCP_PORT("proxy", 9102)};
static const struct kube_container web_containers[] = {
	{CONTAINER("web", web_ports)},
	{CONTAINER("side", side_ports)},
	{CONTAINER("once", once_ports), .init = true},
	{CONTAINER("proxy", proxy_ports), .init = true, .sidecar = true},
};
static const struct span web_ips[] = {{"10.85.0.5", 9}, {"fd00::5", 7}};

static inline struct kube_pod web_pod(void)
{
	return (struct kube_pod){
		.uid = SPAN("uid-web"),
		.namespace_ = SPAN("shop"),
		.name = SPAN("web-1"),
		.node_name = SPAN("node-a"),
		.host_ip = SPAN("192.168.77.2"),
		.pod_ip = SPAN("10.85.0.5"),
		.phase = SPAN("Running"),
		.ready = SPAN("true"),
		.controller_kind = SPAN("ReplicaSet"),
		.controller_name = SPAN("web"),
		.pod_ips = web_ips,
		.pod_ip_count = ARRAY_SIZE(web_ips),
		.containers = web_containers,
		.container_count = ARRAY_SIZE(web_containers),
		.hash = 1,
	};
}
