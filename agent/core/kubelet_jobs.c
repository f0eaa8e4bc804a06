/* The kubelet's own endpoints as jobs: kubelet.metrics: [metrics, cadvisor, probes, resource].
 *
 * Labels as kube-prometheus has them (job="kubelet", metrics_path, node), so that its dashboards and alerts work. The same address, token
 * and certificates as for /pods: the token goes to the kubelet of this node, over verified TLS, and nowhere else. The jobs have no relabel
 * rules, their address is written here, and discover_dial_address knows it.
 *
 * cAdvisor's samples carry the time at which it looked at a container, which may be most of a minute ago; like everybody, we take them as of now.
 */
#include "kubelet_jobs.h"

#include <errno.h>
#include <stdio.h>

#define DEFAULT_PORT 10250

static const struct {
	const char *name, *job_name, *path;
	bool honor_timestamps;
} endpoints[KUBELET_JOBS_MAX] = {
	{"metrics", "kubelet/metrics", "/metrics", true},
	{"cadvisor", "kubelet/cadvisor", "/metrics/cadvisor", false},
	{"probes", "kubelet/probes", "/metrics/probes", true},
	{"resource", "kubelet/resource", "/metrics/resource", true},
};

static bool wants(const struct kube_options *kubelet, const char *name)
{
	for (size_t i = 0; i < kubelet->metrics.count; i++)
		if (strcmp(kubelet->metrics.items[i], name) == 0)
			return true;
	return false;
}

/* Where the kubelet is, as an IP address: what the scrapers are handed is a socket, and nobody looks up a name for it. */
struct place {
	bool https;
	struct target_address address;
	struct span host;
};

static int find_place(const struct kube_options *kubelet, struct place *ret_place, struct error *err)
{
	struct span endpoint = span_str(kubelet->endpoint), host = span_str(kubelet->host_ip);
	uint16_t port = 0;
	*ret_place = (struct place){.https = !span_starts_with(endpoint, SPAN("http://"))};
	if (endpoint.len > 0) {
		size_t scheme = ret_place->https ? 8 : 7;
		struct span authority = span_of(endpoint.ptr + scheme, endpoint.len - scheme), named;
		if (span_ends_with(authority, SPAN("/")))
			authority.len--;
		if (target_address_split(authority, &named, &port, err) < 0)
			return error_wrap(err, EINVAL, "kubelet.endpoint");
		if (target_address_parse(named, port, &ret_place->address) == 0)
			host = named;
		port = port ? port : ret_place->https ? 443 : 80;
	}
	if (target_address_parse(host, port ? port : DEFAULT_PORT, &ret_place->address) < 0)
		return error_set(err, EINVAL,
			"kubelet.metrics: the kubelet's address has to be known as an IP address: set kubelet.host_ip, "
			"or "
			"HOST_IP in the environment");
	ret_place->host = host;
	return 0;
}

static const char *format_address(const struct place *place, struct arena *arena)
{
	size_t size = place->host.len + sizeof("[]:65535");
	char *text = arena_alloc(arena, size);
	bool brackets = place->address.is_ipv6 && memchr(place->host.ptr, ':', place->host.len);
	if (text)
		snprintf(text, size, brackets ? "[%.*s]:%u" : "%.*s:%u", SPAN_ARGS(place->host), place->address.port);
	return text;
}

static int set_static(struct target_job_options *job, const char *address, const char *path, const char *node_name,
	struct arena *arena)
{
	struct target_static_config *config = arena_alloc(arena, sizeof(*config));
	struct option_pair *labels = arena_alloc(arena, 4 * sizeof(*labels));
	const char **targets = arena_alloc(arena, sizeof(*targets));
	if (!config || !labels || !targets)
		return -ENOMEM;
	targets[0] = address;
	labels[0] = (struct option_pair){"job", "kubelet"};
	labels[1] = (struct option_pair){"metrics_path", path};
	labels[2] = (struct option_pair){"node", node_name};
	labels[3] = (struct option_pair){"__meta_kubernetes_node_name", node_name}; /* resource k8s.node.name */
	config->targets = (struct option_strings){targets, 1};
	config->labels = (struct option_pairs){labels, node_name ? 4 : 2};
	job->static_configs = (struct option_objects){config, 1};
	return 0;
}

int kubelet_jobs(const struct kube_options *kubelet, struct arena *arena, struct target_job_options *jobs,
	size_t *count, struct span *ret_host, struct error *err)
{
	struct place place;
	int result = find_place(kubelet, &place, err);
	*ret_host = result == 0 ? place.host : SPAN("");
	if (result < 0 || kubelet->metrics.count == 0)
		return kubelet->metrics.count > 0 ? result : 0; /* nobody asked for it: it need not be known */
	const char *address = format_address(&place, arena);
	bool verified = place.https && !kubelet->tls.insecure_skip_verify;
	for (size_t i = 0; i < KUBELET_JOBS_MAX && address && result == 0; i++) {
		if (!wants(kubelet, endpoints[i].name))
			continue;
		struct target_job_options *job = &jobs[(*count)++];
		*job = (struct target_job_options){
			.job_name = endpoints[i].job_name,
			.metrics_path = endpoints[i].path,
			.scheme = place.https ? "https" : "http",
			.honor_labels = true, /* `namespace` and `pod` are those of the series */
			.honor_timestamps = endpoints[i].honor_timestamps,
			.authorization_given = verified,
			.authorization.credentials_file = verified ? kubelet->token_file : NULL,
			.tls_config = {.ca_file = verified ? kubelet->tls.ca_file : NULL,
				.server_name = kubelet->tls.server_name,
				.insecure_skip_verify = kubelet->tls.insecure_skip_verify},
			.of_kubelet = true,
		};
		result = set_static(job, address, endpoints[i].path, kubelet->node_name, arena);
	}
	return !address || result < 0 ? error_set(err, ENOMEM, "out of memory") : 0;
}
