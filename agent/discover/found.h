/* What the sources (role=pod, annotations, static lists) hand over to the set: targets before relabelling, and what could not
 * become one. A source builds label sets in the scratch arena of one pass over one pod; nothing of it outlives the pass.
 *
 * Whoever may write a pod's labels and annotations writes into this. So what one pod can make grow here is bounded (the
 * ceilings below), and a pod that is over them loses its own targets, never somebody else's. */
#pragma once

#include "gleaner/discover.h"

enum {
	FOUND_LABEL_BYTES_MAX = 1 << 20, /* of all label sets of a pod: some 250 ports of an ordinary pod */
	FOUND_META_MAX = 1024,           /* labels, and annotations, of a pod that become meta labels */
	FOUND_META_VALUE_MAX = 4096,     /* an annotation longer than this is only shown as present */
	FOUND_REFUSALS_MAX = 8,          /* different ones of a pod */
	/* Who may write a monitor may make many endpoints of many pods: what its targets take, and those of all monitors. */
	FOUND_MONITOR_BYTES_MAX = 16 << 20,
	FOUND_MONITORS_BYTES_MAX = 64 << 20,
};

struct found {
	struct span identity; /* for target_new */
	struct labels labels;
};
struct refusal {
	struct labels discovered;
	struct error err;
};
struct findings {
	struct arena *arena; /* scratch */
	struct found *items;
	size_t count, cap;
	struct refusal refusals[FOUND_REFUSALS_MAX];
	size_t refusal_count;
	size_t label_bytes, max_label_bytes;
	bool full; /* something was over max_label_bytes */
};

void findings_init(struct findings *findings, struct arena *scratch, size_t max_label_bytes);
/* Copies the array of labels, not the strings. Over max_label_bytes it becomes a refusal. 0, -ENOMEM. */
int findings_add(struct findings *findings, struct span identity, struct labels labels);
/* A cause that is there already is not repeated, causes beyond the maximum are left out. */
int findings_refuse(struct findings *findings, struct labels discovered, const struct error *err);

/* ---- pod_labels.c: the __meta_kubernetes_* labels of role=pod (semantics P-60 to P-65) --------- */

/* Of the pod itself. 0, -ENOMEM. */
int pod_labels_set_pod(struct labels_builder *labels, const struct kube_pod *pod);
/* Of a container and of one of its ports; NULL removes what an earlier call has set. */
int pod_labels_set_container(struct labels_builder *labels, const struct kube_container *container);
int pod_labels_set_port(struct labels_builder *labels, const struct kube_port *port);
/* Labels and annotations of a Service. */
int pod_labels_set_service(struct labels_builder *labels, struct labels service_labels, struct labels annotations);
/* __address__: host:port, [v6]:port; the bare address without a port (0). */
int pod_labels_set_address(struct labels_builder *labels, struct span ip, uint16_t port);
/* "<uid>/<container>/<port>" in the arena; SPAN_NONE when there is no memory. */
struct span pod_identity(struct arena *arena, const struct kube_pod *pod, struct span container, uint16_t port);
/* The same of the container's port at this place; of a number that it declares again, with the place. */
struct span port_identity(
	struct arena *arena, const struct kube_pod *pod, const struct kube_container *container, size_t at);

bool port_is_tcp(const struct kube_port *port);
/* ssh, etcd, the API server, kubelet, controller manager, scheduler and kube-proxy: what a hostNetwork pod's address leads to. */
bool port_is_control(uint16_t number);
/* Init containers have ended when the pod is Running, but for native sidecars. */
bool container_runs_with_pod(const struct kube_container *container);

/* One for each declared port of each container, init containers last; the bare address for a container without ports. */
int find_pod(const struct kube_pod *pod, struct findings *findings);

/* ---- annotations.c: the gleaner rule ----------------------------------------------------------- */

/* Whether the annotation is there, whatever it says. */
bool annotated_at_all(const struct discover_annotation_options *options, const struct kube_pod *pod);
/* Whether the pod is annotated to be scraped and can be; if not, why (may be NULL). */
bool annotated_asks(const struct discover_annotation_options *options, const struct kube_pod *pod, struct error *why);
int find_annotated(const struct discover_annotation_options *options, const struct target_job *job,
	const struct kube_pod *pod, struct findings *findings);

/* ---- listening.c: open ports that are not declared ------------------------------------------------ */

/* Those of one pod, sorted by number; `taken`: the pod's targets of other jobs. */
struct open_ports {
	const struct discover_port *items;
	size_t count;
};
/* Why no port of the pod is looked at; NULL: they are. */
const char *listening_declines(const struct discover_listen_options *options, const struct kube_pod *pod);
/* Whether the pod is one whose undeclared ports are looked at, and this is one. */
bool listening_wants(const struct discover_listen_options *options, const struct kube_pod *pod, uint16_t port);
int find_listening(const struct discover_listen_options *options, const struct kube_pod *pod, struct open_ports ports,
	struct findings *findings);
