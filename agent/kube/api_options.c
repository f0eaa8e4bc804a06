/* The API server: object of the configuration. */
#include "endpoint.h"
#include "gleaner/kube_api.h"

#include <errno.h>
#include <stdio.h>

static const struct option tls_options[] = {
	{.name = "ca_file",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_api_options, tls.ca_file) - offsetof(struct kube_api_options, tls),
		.value = KUBE_SERVICE_ACCOUNT "ca.crt",
		.help = "PEM file with the certificates to trust; read again when it changes."},
	{.name = "server_name",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_api_options, tls.server_name) - offsetof(struct kube_api_options, tls),
		.help = "Name to ask for and to verify. Unset: the host that is called."},
	{.name = "insecure_skip_verify",
		.kind = OPTION_BOOL,
		.offset = offsetof(struct kube_api_options, tls.insecure_skip_verify) -
			  offsetof(struct kube_api_options, tls),
		.value = "false",
		.help = "Accept any certificate. The token is not sent then."},
	{.name = NULL},
};

static const struct option_table tls_table = {
	.name = "kubernetes.tls",
	.help = "How the API server's certificate is verified.",
	.size = sizeof(((struct kube_api_options *)0)->tls),
	.options = tls_options,
};

static const char *const watch_list_choices[] = {"auto", "on", "off", NULL};

static const struct option options[] = {
	{.name = "api_server",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_api_options, api_server),
		.help = "https://HOST:PORT of the API server; over http:// no token is sent. Unset: service_host and "
			"service_port."},
	{.name = "service_host",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_api_options, service_host),
		.environment = "KUBERNETES_SERVICE_HOST",
		.help = "Address of the API server inside the cluster; every pod has it in its environment."},
	{.name = "service_port",
		.kind = OPTION_PORT,
		.offset = offsetof(struct kube_api_options, service_port),
		.value = "443",
		.environment = "KUBERNETES_SERVICE_PORT",
		.help = "Its port."},
	{.name = "token_file",
		.kind = OPTION_STRING,
		.offset = offsetof(struct kube_api_options, token_file),
		.value = KUBE_SERVICE_ACCOUNT "token",
		.help = "File with the bearer token; looked at before every request, read again when it has changed. "
			"Never sent over http or with insecure_skip_verify."},
	{.name = "tls",
		.kind = OPTION_OBJECT,
		.offset = offsetof(struct kube_api_options, tls),
		.fields = &tls_table,
		.help = "How the API server's certificate is verified."},
	{.name = "startup_jitter",
		.kind = OPTION_DURATION,
		.offset = offsetof(struct kube_api_options, startup_jitter_ns),
		.value = "1s",
		.max = 30 * NS_PER_SEC,
		.help = "The first request is sent after a random part of this; for clusters whose nodes start at "
			"once."},
	{.name = "timeout",
		.kind = OPTION_DURATION,
		.offset = offsetof(struct kube_api_options, timeout_ns),
		.value = "60s",
		.min = NS_PER_SEC,
		.max = 600 * NS_PER_SEC,
		.help = "How long a list or a single object may take; connecting at most 5s of it."},
	{.name = "max_list_bytes",
		.kind = OPTION_BYTES,
		.offset = offsetof(struct kube_api_options, max_list_bytes),
		.value = "64MiB",
		.min = 65536,
		.max = UINT64_C(1) << 30,
		.help = "Ceiling of one list, inflated. Read as a stream, so this is not memory."},
	{.name = "watch_list",
		.kind = OPTION_CHOICE,
		.offset = offsetof(struct kube_api_options, watch_list),
		.value = "auto",
		.choices = watch_list_choices,
		.help = "Whether a watch begins with a stream of all objects (WatchList) where the server can do that, "
			"or "
			"with a compressed list. auto: a list for Services, else a stream."},
	{.name = NULL},
};

/* https://[fd00::1]:443 of the address of the Service `kubernetes`. */
static int make_server(struct kube_api_options *api, struct arena *arena)
{
	char text[512];
	bool is_ipv6 = strchr(api->service_host, ':') && api->service_host[0] != '[';
	snprintf(text, sizeof(text), "https://%s%s%s:%llu", is_ipv6 ? "[" : "", api->service_host, is_ipv6 ? "]" : "",
		(unsigned long long)api->service_port);
	api->api_server = arena_strdup(arena, text);
	return api->api_server ? 0 : -ENOMEM;
}

static int check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	struct kube_api_options *api = object;
	kube_unset_empty(&api->api_server);
	kube_unset_empty(&api->service_host);
	kube_unset_empty(&api->tls.server_name);
	*ret_key = "api_server";
	if (api->api_server && !kube_is_endpoint(span_str(api->api_server)))
		return error_set(err, EINVAL, "expected https://HOST:PORT or http://HOST:PORT");
	if (api->api_server || !api->service_host)
		return 0;
	*ret_key = "service_host";
	if (make_server(api, arena) < 0)
		return error_set(err, ENOMEM, "out of memory");
	if (!kube_is_endpoint(span_str(api->api_server)))
		return error_set(err, EINVAL, "expected an address or a name");
	return 0;
}

const struct option_table kube_api_options_table = {
	.name = "kubernetes",
	.help = "The API server: for monitors, for Secrets that they name, and for pods where the kubelet gives none.",
	.size = sizeof(struct kube_api_options),
	.options = options,
	.check = check,
};
