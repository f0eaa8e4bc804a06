/* Requests to the API server: where it is, who we are, and single objects.
 *
 * Token and CA are files that are rotated; they are looked at (by path) before every request. The token goes nowhere but into
 * a header of an https request to a verified server.
 */
#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_NS (5 * NS_PER_SEC)

#ifdef __aarch64__
#define ARCHITECTURE "arm64"
#else
#define ARCHITECTURE "amd64"
#endif

enum { MAX_CONNECTIONS = 8 };

/* ---- texts ---------------------------------------------------------------------------- */

void kube_api_escape(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
			     c == '.' || c == '_';
		if (plain)
			buf_char(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

static int append_name(struct buf *out, struct span name)
{
	if (name.len == 0 || span_eq(name, SPAN(".")) || span_eq(name, SPAN("..")))
		return -EINVAL;
	buf_char(out, '/');
	kube_api_escape(out, name);
	return out->failed;
}

int kube_api_path(struct buf *out, struct kube_resource resource, struct span namespace_, struct span name)
{
	int r = buf_str(out, resource.group[0] ? "/apis" : "/api");
	if (r == 0 && resource.group[0])
		r = append_name(out, span_str(resource.group));
	if (r == 0)
		r = append_name(out, span_str(resource.version));
	if (r == 0 && namespace_.len > 0) {
		buf_str(out, "/namespaces");
		r = append_name(out, namespace_);
	}
	if (r == 0)
		r = append_name(out, span_str(resource.name));
	return r == 0 && name.len > 0 ? append_name(out, name) : r;
}

uint64_t kube_api_retry_after(const struct http_response *response)
{
	uint64_t seconds;
	return span_to_u64(response->retry_after, &seconds) == 0 && seconds < 86400 ? seconds * NS_PER_SEC : 0;
}

/* The message of a Status, or the text that there is instead. */
void kube_api_describe(const struct http_response *response, struct span refusal, struct error *err)
{
	struct arena arena;
	const struct json *status = NULL;
	if (response->failure != HTTP_OK) {
		*err = response->error;
		return;
	}
	arena_init(&arena, 32 * KUBE_REFUSAL_MAX);
	struct span text = span_trim(refusal);
	if (json_parse(&arena, refusal, &status, NULL) == 0)
		text = json_string(status, "message", SPAN_NONE);
	if (text.len == 0)
		text = span_str(http_status_text(response->status));
	size_t room = sizeof(err->text) - 16,
	       used = (size_t)snprintf(err->text, sizeof(err->text), "%u: ", response->status);
	for (size_t i = 0; i < text.len && used < room; i++)
		used += (size_t)snprintf(err->text + used, sizeof(err->text) - used,
			text.ptr[i] >= ' ' && text.ptr[i] < 0x7f ? "%c" : "%%%02X", (unsigned char)text.ptr[i]);
	arena_done(&arena);
}

/* ---- a request -------------------------------------------------------------------------- */

static int send_request(struct kube_api *api, const struct kube_api_request *request, struct buf *url,
	struct buf *authorization, struct http_call **ret_call, struct error *err)
{
	const char *headers[6] = {
		"Accept: application/json", "User-Agent: gleaner/" GLEANER_VERSION " (linux/" ARCHITECTURE ")"};
	size_t count = 2;
	if (request->gzip)
		headers[count++] = "Accept-Encoding: gzip";
	if (request->body.len > 0)
		headers[count++] = "Content-Type: application/json";
	if (api->verifies)
		headers[count++] = authorization->ptr;
	struct http_request call = {
		.url = url->ptr,
		.post = request->body.len > 0,
		.headers = headers,
		.body = request->body,
		.timeout_ns = request->timeout_ns,
		.first_byte_timeout_ns = request->first_byte_timeout_ns,
		.connect_timeout_ns =
			request->timeout_ns < CONNECT_TIMEOUT_NS ? request->timeout_ns : CONNECT_TIMEOUT_NS,
		.max_body_bytes = request->max_body_bytes,
		.tls = api->is_https ? &api->tls : NULL,
		.connected_fd = -1,
		.on_headers = request->on_headers,
		.on_body = request->on_body,
		.on_done = request->on_done,
		.arg = request->arg,
	};
	if (url->failed || authorization->failed)
		return error_set(err, ENOMEM, "out of memory");
	return http_start(api->http, &call, ret_call, err);
}

int kube_api_start(
	struct kube_api *api, const struct kube_api_request *request, struct http_call **ret_call, struct error *err)
{
	struct buf url, authorization;
	int r = api->verifies ? kube_secrets_read(&api->token, &api->ca, err) : 0;
	if (r < 0)
		return r;
	buf_init(&url, 65536);
	buf_init(&authorization, (1 << 20) + 64);
	authorization.secret = true;
	buf_str(&url, api->options->api_server);
	if (url.len > 0 && url.ptr[url.len - 1] == '/')
		url.len--;
	buf_append(&url, request->path, strlen(request->path) + 1);
	if (api->verifies)
		kube_secret_header(&api->token, &authorization);
	api->tls.ca = api->verifies ? api->ca.text.ptr : NULL;
	r = send_request(api, request, &url, &authorization, ret_call, err);
	buf_done(&authorization);
	buf_done(&url);
	if (r == 0)
		api->stats.requests++;
	return r;
}

bool kube_api_ended(struct kube_api *api, const struct http_response *response)
{
	bool changed = false;
	api->stats.too_many += response->status == 429;
	if (response->status != 401)
		return false;
	api->stats.unauthorized++;
	return api->verifies && kube_secret_read(&api->token, &changed, NULL) == 0 && changed;
}

uint64_t kube_api_wait(const struct kube_api *api, uint64_t ns)
{
	return ns / api->hurry;
}

/* ---- the client's life --------------------------------------------------------------------- */

int kube_api_new(struct loop *loop, const struct kube_api_options *options, struct clock clock,
	struct kube_api **ret_api, struct error *err)
{
	if (!options->api_server)
		return error_set(err, EINVAL,
			"kubernetes: no API server is known (api_server, or KUBERNETES_SERVICE_HOST in the "
			"environment)");
	struct kube_api *api = calloc(1, sizeof(*api));
	if (!api)
		return error_set(err, ENOMEM, "kubernetes: out of memory");
	api->loop = loop;
	api->options = options;
	api->clock = clock;
	api->hurry = 1;
	api->is_https = span_starts_with(span_str(options->api_server), SPAN("https://"));
	api->verifies = api->is_https && !options->tls.insecure_skip_verify;
	api->tls = (struct http_tls){.server_name = options->tls.server_name,
		.insecure_skip_verify = options->tls.insecure_skip_verify,
		.partial_chain = true};
	rng_init(&api->rng, hash_seed());
	api->begin_ns = clock_mono(&clock) + rng_below(&api->rng, options->startup_jitter_ns + 1);
	kube_secret_init(&api->token, options->token_file);
	kube_secret_init(&api->ca, options->tls.ca_file);
	int r = http_new(loop, (struct http_options){.max_connections = MAX_CONNECTIONS, .dials = true, .http2 = true},
		&api->http);
	if (r < 0) {
		kube_api_free(api);
		return error_wrap(err, -r, "kubernetes");
	}
	*ret_api = api;
	return 0;
}

void kube_api_free(struct kube_api *api)
{
	if (!api)
		return;
	http_free(api->http);
	kube_secret_done(&api->token);
	kube_secret_done(&api->ca);
	free(api);
}

void kube_api_stats(const struct kube_api *api, struct kube_api_stats *ret_stats)
{
	*ret_stats = api->stats;
}
