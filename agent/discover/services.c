/* Services without EndpointSlices: which port of a pod each Service port leads to, and the labels that Prometheus' roles endpoints and
 * endpointslice would have given the target. Both flavours, since users' relabelings know either.
 *
 * What cannot be known here stays empty: the name of the slice, hostname and zone; labels and annotations of Endpoints.
 */
#include <errno.h>
#include <stdio.h>

#include "monitored.h"

#define META "__meta_kubernetes_"

/* Which numbers of the pod the Service's ports lead to. */
struct covered {
	uint16_t *numbers;
	size_t count;
};

bool pod_is_endpoint(const struct kube_pod *pod)
{
	return pod->pod_ip.len > 0 && !span_eq(pod->phase, SPAN("Succeeded")) && !span_eq(pod->phase, SPAN("Failed"));
}

static bool is_ipv6(struct span ip)
{
	return ip.len > 0 && memchr(ip.ptr, ':', ip.len);
}

/* The pod's address of the Service's primary family; empty: it has none. */
static struct span address_of(const struct kube_pod *pod, const struct monitor_service *service)
{
	bool wanted = service->family == 6;
	if (service->family == 0 || is_ipv6(pod->pod_ip) == wanted)
		return pod->pod_ip;
	for (size_t i = 0; i < pod->pod_ip_count; i++) {
		if (pod->pod_ips[i].len > 0 && is_ipv6(pod->pod_ips[i]) == wanted)
			return pod->pod_ips[i];
	}
	return SPAN_NONE;
}

/* ---- ports ------------------------------------------------------------------------------ */

/* Number of the container port of that name and protocol; init containers only when they stay. 0: none. */
static uint16_t named_port(const struct kube_pod *pod, struct span name, struct span protocol)
{
	for (size_t i = 0; i < pod->container_count; i++) {
		const struct kube_container *container = &pod->containers[i];
		for (size_t j = 0; (!container->init || container->sidecar) && j < container->port_count; j++) {
			if (span_eq(container->ports[j].name, name) && span_eq(container->ports[j].protocol, protocol))
				return container->ports[j].number;
		}
	}
	return 0;
}

static uint16_t resolve(const struct kube_pod *pod, const struct monitor_service_port *port)
{
	if (port->target_number != 0)
		return port->target_number;
	return port->target_name.len > 0 ? named_port(pod, port->target_name, port->protocol) : port->port;
}

static bool has_port(const struct kube_pod *pod, const struct monitor_service *service)
{
	for (size_t i = 0; i < service->port_count; i++) {
		if (resolve(pod, &service->ports[i]) != 0)
			return true;
	}
	return false;
}

/* By number only: of several containers the last that declares it, of several ports the first. */
static const struct kube_port *declared(
	const struct kube_pod *pod, uint16_t number, const struct kube_container **ret_container)
{
	const struct kube_port *found = NULL;
	*ret_container = NULL;
	for (size_t i = 0; i < pod->container_count; i++) {
		const struct kube_container *container = &pod->containers[i];
		for (size_t j = 0; j < container->port_count; j++) {
			if (container->ports[j].number != number)
				continue;
			found = &container->ports[j];
			*ret_container = container;
			break;
		}
	}
	return found;
}

static bool is_covered(const struct covered *covered, uint16_t number)
{
	for (size_t i = 0; i < covered->count; i++) {
		if (covered->numbers[i] == number)
			return true;
	}
	return false;
}

/* ---- labels --------------------------------------------------------------------------------- */

static int set_service(struct labels_builder *labels, const struct monitor_service *service)
{
	labels_set_borrowed(labels, SPAN(META "namespace"), service->namespace_);
	labels_set_borrowed(labels, SPAN(META "service_name"), service->name);
	labels_set_borrowed(labels, SPAN(META "endpoints_name"), service->name);
	return pod_labels_set_service(labels, service->labels, service->annotations);
}

/* Names of both flavours, one value. */
static void set_both(
	struct labels_builder *labels, struct span endpoints_name, struct span slice_name, struct span value)
{
	labels_set_borrowed(labels, endpoints_name, value);
	labels_set_borrowed(labels, slice_name, value);
}

static void set_target(struct labels_builder *labels, struct span kind, struct span name)
{
	set_both(labels, SPAN(META "endpoint_address_target_kind"), SPAN(META "endpointslice_address_target_kind"),
		kind);
	set_both(labels, SPAN(META "endpoint_address_target_name"), SPAN(META "endpointslice_address_target_name"),
		name);
}

static void set_service_port(
	struct labels_builder *labels, const struct monitor_service_port *port, uint16_t target_number)
{
	char number[8];
	snprintf(number, sizeof(number), "%u", target_number);
	set_both(labels, SPAN(META "endpoint_port_name"), SPAN(META "endpointslice_port_name"), port->name);
	set_both(labels, SPAN(META "endpoint_port_protocol"), SPAN(META "endpointslice_port_protocol"), port->protocol);
	labels_set_borrowed(labels, SPAN(META "endpointslice_port_app_protocol"), port->app_protocol);
	labels_set(labels, SPAN(META "endpointslice_port"), span_str(number));
}

static void set_address_labels(struct labels_builder *labels, const struct kube_pod *pod, struct span ip,
	const struct monitor_service *service)
{
	bool is_ready = span_eq(pod->ready, SPAN("true"));
	bool ready = service->publish_not_ready || (is_ready && !pod->terminating);
	set_both(labels, SPAN(META "endpoint_ready"), SPAN(META "endpointslice_endpoint_conditions_ready"),
		ready ? SPAN("true") : SPAN("false"));
	labels_set_borrowed(labels, SPAN(META "endpointslice_endpoint_conditions_serving"),
		is_ready ? SPAN("true") : SPAN("false"));
	labels_set_borrowed(labels, SPAN(META "endpointslice_endpoint_conditions_terminating"),
		pod->terminating ? SPAN("true") : SPAN("false"));
	set_both(
		labels, SPAN(META "endpoint_node_name"), SPAN(META "endpointslice_endpoint_node_name"), pod->node_name);
	labels_set_borrowed(labels, SPAN(META "endpointslice_address_type"), is_ipv6(ip) ? SPAN("IPv6") : SPAN("IPv4"));
	set_target(labels, SPAN("Pod"), pod->name);
}

static int set_declared(
	struct labels_builder *labels, const struct kube_container *container, const struct kube_port *port)
{
	pod_labels_set_container(labels, container);
	labels_delete(labels, SPAN(META "pod_container_id")); /* only role pod has it */
	return pod_labels_set_port(labels, port);
}

/* "<pod>/<container>/<number>/<service>/<service port>" */
static struct span identity(struct arena *arena, struct span of_port, struct span service, struct span port_name)
{
	size_t size = of_port.len + service.len + port_name.len + 3;
	char *text = of_port.ptr ? arena_alloc(arena, size) : NULL;
	if (!text)
		return SPAN_NONE;
	int len = snprintf(text, size, "%.*s/%.*s/%.*s", SPAN_ARGS(of_port), SPAN_ARGS(service), SPAN_ARGS(port_name));
	return span_of(text, (size_t)len);
}

/* ---- pods ----------------------------------------------------------------------------------------- */

static int find_service_port(const struct kube_pod *pod, const struct monitor_service *service,
	const struct monitor_service_port *port, struct span ip, uint16_t number, struct labels_builder *labels,
	struct findings *findings)
{
	const struct kube_container *container;
	const struct kube_port *declaration = declared(pod, number, &container);
	set_declared(labels, container, declaration);
	set_service_port(labels, port, number);
	if (pod_labels_set_address(labels, ip, number) < 0)
		return -ENOMEM;
	struct span of_port = pod_identity(findings->arena, pod, container ? container->name : SPAN_NONE, number);
	return findings_add(
		findings, identity(findings->arena, of_port, service->name, port->name), labels_builder_view(labels));
}

static int find_service_ports(const struct kube_pod *pod, const struct monitor_service *service, struct span ip,
	struct labels_builder *labels, struct covered *covered, struct findings *findings)
{
	for (size_t i = 0; i < service->port_count; i++) {
		uint16_t number = resolve(pod, &service->ports[i]);
		if (number == 0)
			continue;
		covered->numbers[covered->count++] = number;
		int result = find_service_port(pod, service, &service->ports[i], ip, number, labels, findings);
		if (result < 0)
			return result;
	}
	return 0;
}

/* Ports of the pod that the Service does not name are targets, too: that is how a monitor's targetPort finds them. */
static int find_other_ports(const struct kube_pod *pod, const struct monitor_service *service, struct span ip,
	struct labels_builder *labels, const struct covered *covered, struct findings *findings)
{
	for (size_t i = 0; i < pod->container_count; i++) {
		const struct kube_container *container = &pod->containers[i];
		for (size_t j = 0; j < container->port_count; j++) {
			if (is_covered(covered, container->ports[j].number))
				continue;
			set_declared(labels, container, &container->ports[j]);
			if (pod_labels_set_address(labels, ip, container->ports[j].number) < 0)
				return -ENOMEM;
			struct span of_port = port_identity(findings->arena, pod, container, j);
			int result =
				findings_add(findings, identity(findings->arena, of_port, service->name, SPAN_NONE),
					labels_builder_view(labels));
			if (result < 0)
				return result;
		}
	}
	return 0;
}

int find_service(const struct kube_pod *pod, const struct monitor_service *service, struct findings *findings)
{
	struct span ip = address_of(pod, service);
	struct covered covered = {.numbers = arena_alloc(findings->arena, service->port_count * sizeof(uint16_t))};
	struct labels_builder pod_only, labels;
	if (ip.len == 0 || !has_port(pod, service)) /* a thousand such Services must not cost a thousand label sets */
		return 0;
	labels_builder_init(&pod_only, findings->arena);
	labels_builder_init(&labels, findings->arena);
	if (!covered.numbers || pod_labels_set_pod(&labels, pod) < 0 || set_service(&labels, service) < 0 ||
		pod_labels_set_pod(&pod_only, pod) < 0 || set_service(&pod_only, service) < 0)
		return -ENOMEM;
	set_address_labels(&labels, pod, ip, service);
	int result = find_service_ports(pod, service, ip, &labels, &covered, findings);
	if (result < 0)
		return result;
	return find_other_ports(pod, service, ip, &pod_only, &covered, findings);
}

/* ---- the kubelet ------------------------------------------------------------------------------------- */

/* Names that the operator gives the ports; others of the Service are nobody's. */
static bool is_kubelet_port(struct span name)
{
	return span_eq(name, SPAN("https-metrics")) || span_eq(name, SPAN("http-metrics")) ||
	       span_eq(name, SPAN("cadvisor"));
}

static int find_kubelet_port(struct span host, const struct monitor_service *service,
	const struct monitor_service_port *port, struct labels_builder *labels, struct findings *findings)
{
	uint16_t number = port->target_number ? port->target_number : port->port;
	set_service_port(labels, port, number);
	if (pod_labels_set_address(labels, host, number) < 0)
		return -ENOMEM;
	return findings_add(findings, identity(findings->arena, SPAN("kubelet"), service->name, port->name),
		labels_builder_view(labels));
}

int find_kubelet(
	struct span host, struct span node_name, const struct monitor_service *service, struct findings *findings)
{
	struct labels_builder labels;
	labels_builder_init(&labels, findings->arena);
	if (host.len == 0 || set_service(&labels, service) < 0)
		return labels.failed;
	set_both(&labels, SPAN(META "endpoint_ready"), SPAN(META "endpointslice_endpoint_conditions_ready"),
		SPAN("true"));
	set_both(&labels, SPAN(META "endpoint_node_name"), SPAN(META "endpointslice_endpoint_node_name"), node_name);
	labels_set_borrowed(
		&labels, SPAN(META "endpointslice_address_type"), is_ipv6(host) ? SPAN("IPv6") : SPAN("IPv4"));
	set_target(&labels, SPAN("Node"), node_name);
	for (size_t i = 0; i < service->port_count; i++) {
		const struct monitor_service_port *port = &service->ports[i];
		if (!is_kubelet_port(port->name) || (port->target_number == 0 && port->port == 0))
			continue;
		int result = find_kubelet_port(host, service, port, &labels, findings);
		if (result < 0)
			return result;
	}
	return 0;
}
