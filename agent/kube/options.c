/* The kubelet: object of the configuration. */
#include "endpoint.h"
#include "gleaner/kube.h"

#include <errno.h>

static const struct option tls_options[] = {
	{.name = "ca_file",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_options, tls.ca_file) - offsetof(struct kube_options, tls),
		.value = KUBE_SERVICE_ACCOUNT "ca.crt",
		.help = "PEM file with the certificates to trust; read again when it changes. For a kubelet with a "
			"self-signed "
			"certificate: its kubelet.crt."},
	{.name = "server_name",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_options, tls.server_name) - offsetof(struct kube_options, tls),
		.help = "Name to ask for and to verify. Unset: the address that is called, then node_name."},
	{.name = "insecure_skip_verify",
		.kind = OPTION_BOOL,
		.offset = offsetof(struct kube_options, tls.insecure_skip_verify) - offsetof(struct kube_options, tls),
		.value = "false",
		.help = "Accept any certificate. The token is not sent then, so the kubelet must allow anonymous "
			"requests."},
	{.name = NULL},
};

static const struct option_table tls_table = {
	.name = "kubelet.tls",
	.help = "How the kubelet's certificate is verified.",
	.size = sizeof(((struct kube_options *)0)->tls),
	.options = tls_options,
};

static const struct option options[] = {
	{.name = "enabled",
		.kind = OPTION_BOOL,
		.offset = offsetof(struct kube_options, enabled),
		.given_offset = offsetof(struct kube_options, enabled_given),
		.help = "Whether pods are discovered. Unset: when endpoint, host_ip or node_name is known."},
	{.name = "endpoint",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_options, endpoint),
		.help = "https://HOST:PORT, or http://HOST:PORT for the read-only port. Unset: https://HOST_IP:10250."},
	{.name = "node_name",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_options, node_name),
		.environment = "NODE_NAME",
		.help = "Name of this node."},
	{.name = "host_ip",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_options, host_ip),
		.environment = "HOST_IP",
		.help = "Address of this node."},
	{.name = "token_file",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_options, token_file),
		.value = KUBE_SERVICE_ACCOUNT "token",
		.help = "File with the bearer token; read again when it changes. Never sent over http or with "
			"insecure_skip_verify."},
	{.name = "tls",
		.kind = OPTION_OBJECT,
		.offset = offsetof(struct kube_options, tls),
		.fields = &tls_table,
		.help = "How the kubelet's certificate is verified."},
	{.name = "poll_interval",
		.kind = OPTION_DURATION,
		.offset = offsetof(struct kube_options, poll_interval_ns),
		.value = "10s",
		.min = NS_PER_SEC,
		.max = 3600 * NS_PER_SEC,
		.help = "How often the kubelet is asked for its pods, +-10 %. A socket that starts to listen asks at "
			"once."},
	{.name = "timeout",
		.kind = OPTION_DURATION,
		.offset = offsetof(struct kube_options, timeout_ns),
		.value = "15s",
		.min = 100 * NS_PER_MS,
		.max = 300 * NS_PER_SEC,
		.help = "How long one answer may take; connecting at most 5s of it."},
	{.name = "max_body_bytes",
		.kind = OPTION_BYTES,
		.offset = offsetof(struct kube_options, max_body_bytes),
		.value = "32MiB",
		.min = 65536,
		.max = UINT64_C(1) << 30,
		.help = "Ceiling of one answer; a larger one is a failed poll. Read as a stream, so this is not "
			"memory."},
	{.name = "metrics",
		.kind = OPTION_STRINGS,
		.offset = offsetof(struct kube_options, metrics),
		.help = "The kubelet's own endpoints to scrape, any of metrics, cadvisor, probes and resource, with "
			"the "
			"token and tls above, as job `kubelet`. Needs host_ip, or an IP address as endpoint."},
	{.name = NULL},
};

static const char *const endpoint_names[] = {"metrics", "cadvisor", "probes", "resource"};

static int check_metrics(const struct option_strings *metrics, struct error *err)
{
	for (size_t i = 0; i < metrics->count; i++) {
		size_t known = 0;
		while (known < ARRAY_SIZE(endpoint_names) && strcmp(metrics->items[i], endpoint_names[known]) != 0)
			known++;
		if (known == ARRAY_SIZE(endpoint_names))
			return error_set(err, EINVAL, "`%s` is not one of metrics, cadvisor, probes, resource",
				escape_bytes(span_str(metrics->items[i])).text);
	}
	return 0;
}

static int check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	struct kube_options *kubelet = object;
	(void)arena;
	kube_unset_empty(&kubelet->endpoint);
	kube_unset_empty(&kubelet->host_ip);
	kube_unset_empty(&kubelet->node_name);
	kube_unset_empty(&kubelet->tls.server_name);
	bool known = kubelet->endpoint || kubelet->host_ip || kubelet->node_name;
	if (!kubelet->enabled_given)
		kubelet->enabled = known;
	*ret_key = "endpoint";
	if (kubelet->endpoint && !kube_is_endpoint(span_str(kubelet->endpoint)))
		return error_set(err, EINVAL, "expected https://HOST:PORT or http://HOST:PORT");
	*ret_key = "metrics";
	if (check_metrics(&kubelet->metrics, err) < 0)
		return -EINVAL;
	*ret_key = "enabled";
	if (kubelet->enabled && !known)
		return error_set(err, EINVAL, "needs endpoint, or HOST_IP in the environment");
	return 0;
}

const struct option_table kube_options_table = {
	.name = "kubelet",
	.help = "Where the node's pods are learned from: its own kubelet.",
	.size = sizeof(struct kube_options),
	.options = options,
	.check = check,
};
