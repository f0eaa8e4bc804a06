/* For the tests of this module: pods as text, and PodLists read in pieces of any size. */
#pragma once

#include <errno.h>
#include <stdlib.h>

#include "pods.h"
#include "test.h"

static inline void dump_container(struct buf *out, const struct kube_container *container)
{
	buf_printf(out, "  %s%s%.*s %.*s%s", container->init ? "init " : "", container->sidecar ? "sidecar " : "",
		SPAN_ARGS(container->name), SPAN_ARGS(container->image), container->running ? " running" : "");
	buf_str(out, container->id.len > 0 ? " id" : "");
	for (size_t i = 0; i < container->port_count; i++)
		buf_printf(out, " %.*s:%u/%.*s", SPAN_ARGS(container->ports[i].name), container->ports[i].number,
			SPAN_ARGS(container->ports[i].protocol));
	buf_char(out, '\n');
}

static inline void dump_pod(struct buf *out, const struct kube_pod *pod)
{
	buf_printf(out, "%.*s/%.*s node=%.*s host=%.*s ip=%.*s", SPAN_ARGS(pod->namespace_), SPAN_ARGS(pod->name),
		SPAN_ARGS(pod->node_name), SPAN_ARGS(pod->host_ip), SPAN_ARGS(pod->pod_ip));
	for (size_t i = 0; i < pod->pod_ip_count; i++)
		buf_printf(out, "%s%.*s", i > 0 ? "," : " ips=", SPAN_ARGS(pod->pod_ips[i]));
	buf_printf(out, " %.*s ready=%.*s%s%s", SPAN_ARGS(pod->phase), SPAN_ARGS(pod->ready),
		pod->host_network ? " hostNetwork" : "", pod->terminating ? " terminating" : "");
	if (pod->controller_kind.len > 0)
		buf_printf(out, " of=%.*s/%.*s", SPAN_ARGS(pod->controller_kind), SPAN_ARGS(pod->controller_name));
	buf_str(out, "\n  ");
	buf_labels(out, pod->labels);
	buf_char(out, '\n');
	for (size_t i = 0; i < pod->container_count; i++)
		dump_container(out, &pod->containers[i]);
}

/* piece: bytes fed at a time. */
static inline int parse_pods(
	struct span text, size_t piece, size_t max_bytes, struct kube_pods **ret_pods, struct error *err)
{
	struct kube_pods_parser *parser;
	int r = kube_pods_parser_new(max_bytes, &parser);
	if (r < 0)
		return r;
	for (size_t at = 0; r == 0 && at < text.len; at += piece)
		r = kube_pods_parser_feed(
			parser, span_of(text.ptr + at, text.len - at < piece ? text.len - at : piece), err);
	if (r == 0)
		r = kube_pods_parser_end(parser, ret_pods, err);
	kube_pods_parser_free(parser);
	return r;
}
