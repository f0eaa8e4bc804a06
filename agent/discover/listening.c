/* discovery.listen: ports that a pod listens on, that it does not declare, and that turned out to speak an exposition format.
 *
 * Which ports are open the core knows from the kernel; whether they are worth it one scrape told. What is left for here is
 * which pods may be asked at all: of the wanted namespaces, running, not annotated with prometheus.io/scrape: "false", in a
 * network of their own unless that was allowed - and the node's control ports are never asked.
 */
#include "found.h"

#include <errno.h>

#define FIELD(field) .offset = offsetof(struct discover_listen_options, field)
const struct option_table discover_listen_table = {
	.name = "listen",
	.help = "Undeclared ports: one that opens is asked once for metrics, and scraped when it has some. Needs the "
		"probe.",
	.size = sizeof(struct discover_listen_options),
	.options =
		(const struct option[]){
			{.name = "enabled",
				.kind = OPTION_BOOL,
				FIELD(enabled),
				.value = "false",
				.help = "Whether pods' undeclared ports are asked for metrics as they open."},
			{.name = "job_name",
				.kind = OPTION_STRING,
				FIELD(job_name),
				.value = "kubernetes-listen",
				.help = "The job of these targets."},
			{.name = "metrics_path",
				.kind = OPTION_STRING,
				FIELD(metrics_path),
				.value = "/metrics",
				.help = "The path that is asked for, by plain HTTP."},
			{.name = "namespaces",
				.kind = OPTION_STRINGS,
				FIELD(namespaces),
				.help = "Only pods of these namespaces; empty: of all."},
			{.name = "max_ports_per_pod",
				.kind = OPTION_COUNT,
				FIELD(max_ports_per_pod),
				.value = "8",
				.min = 1,
				.max = 64,
				.help = "Undeclared ports of one pod that are asked and scraped; those beyond are left "
					"out."},
			{.name = "host_network",
				.kind = OPTION_BOOL,
				FIELD(host_network),
				.value = "false",
				.help = "Whether hostNetwork pods are asked; their ports are the node's."},
			{0},
		},
};

static bool is_declared(const struct kube_pod *pod, uint16_t number)
{
	for (size_t i = 0; i < pod->container_count; i++) {
		const struct kube_container *container = &pod->containers[i];
		for (size_t j = 0; container_runs_with_pod(container) && j < container->port_count; j++) {
			if (container->ports[j].number == number && port_is_tcp(&container->ports[j]))
				return true;
		}
	}
	return false;
}

const char *listening_declines(const struct discover_listen_options *options, const struct kube_pod *pod)
{
	bool named = options->namespaces.count == 0;
	for (size_t i = 0; !named && i < options->namespaces.count; i++)
		named = span_eq(span_str(options->namespaces.items[i]), pod->namespace_);
	if (!named)
		return "its namespace is not among discovery.listen.namespaces";
	if (span_eq(labels_get(pod->annotations, SPAN("prometheus.io/scrape")), SPAN("false")))
		return "its annotation prometheus.io/scrape is \"false\"";
	if (pod->host_network && !options->host_network)
		return "it is in the host's network, and discovery.listen.host_network is false";
	if (!span_eq(pod->phase, SPAN("Running")))
		return "it is not Running";
	return pod->pod_ip.len > 0 ? NULL : "it has no address yet";
}

bool listening_wants(const struct discover_listen_options *options, const struct kube_pod *pod, uint16_t port)
{
	return port != 0 && !listening_declines(options, pod) && !(pod->host_network && port_is_control(port)) &&
	       !is_declared(pod, port);
}

/* NULL: the kernel did not tell the container, or the kubelet does not know it yet. */
static const struct kube_container *container_of(const struct kube_pod *pod, struct span id)
{
	for (size_t i = 0; id.len > 0 && i < pod->container_count; i++) {
		if (span_ends_with(pod->containers[i].id, id))
			return &pod->containers[i];
	}
	return NULL;
}

int find_listening(const struct discover_listen_options *options, const struct kube_pod *pod, struct open_ports ports,
	struct findings *findings)
{
	struct labels_builder labels;
	size_t found = 0;
	labels_builder_init(&labels, findings->arena);
	labels_set_borrowed(&labels, SPAN("namespace"), pod->namespace_);
	labels_set_borrowed(&labels, SPAN("pod"), pod->name);
	labels_set_borrowed(&labels, SPAN("node"), pod->node_name);
	int result = pod_labels_set_pod(&labels, pod);
	for (size_t i = 0; result == 0 && i < ports.count && found < options->max_ports_per_pod; i++) {
		uint16_t number = ports.items[i].port;
		if (!listening_wants(options, pod, number))
			continue;
		const struct kube_container *container = container_of(pod, span_str(ports.items[i].container_id));
		struct span name = container ? container->name : SPAN_NONE;
		labels_set_borrowed(&labels, SPAN("container"), name);
		pod_labels_set_container(&labels, container);
		if (pod_labels_set_address(&labels, pod->pod_ip, number) < 0)
			return -ENOMEM;
		/* Without the container: it may become known only later, and the target stays the same. */
		result = findings_add(
			findings, pod_identity(findings->arena, pod, SPAN_NONE, number), labels_builder_view(&labels));
		found++;
	}
	return result;
}
