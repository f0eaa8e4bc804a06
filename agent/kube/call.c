/* One request, one object: Secrets and ConfigMaps by name, access reviews.
 *
 * The answer may be a Secret: the body and the tree of it are overwritten before their memory is given back.
 */
#include "call.h"

#include <errno.h>
#include <stdlib.h>

enum { OBJECT_MAX = 2 << 20, OBJECT_ARENA = 16 << 20 }; /* etcd takes objects of 1.5 MiB */

struct kube_call {
	struct kube_api *api;
	void (*done)(void *arg, const struct kube_api_answer *answer);
	void *arg;
	struct http_call *http_call;
	struct buf path, body, answer;
	bool retried;
};

static int start(struct kube_call *call, struct error *err);

static int on_headers(void *arg, const struct http_response *response)
{
	struct kube_call *call = arg;
	(void)response;
	buf_reset(&call->answer);
	return 0;
}

static int on_body(void *arg, struct span piece)
{
	struct kube_call *call = arg;
	call->api->stats.bytes += piece.len;
	return buf_span(&call->answer, piece);
}

/* {"kind":"Status","reason":"NotFound",...} */
static bool is_not_found(unsigned status, struct span refusal)
{
	struct arena arena;
	const struct json *object = NULL;
	if (status != 404)
		return false;
	arena_init(&arena, 32 * KUBE_REFUSAL_MAX);
	json_parse(&arena, refusal, &object, NULL);
	bool says_so = span_eq(json_string(object, "reason", SPAN_NONE), SPAN("NotFound"));
	arena_done(&arena);
	return says_so;
}

/* `call` may be gone afterwards. */
static void tell(struct kube_call *call, const struct http_response *response)
{
	struct kube_api_answer answer = {
		.status = response->status, .retry_after_ns = kube_api_retry_after(response), .error = {""}};
	struct arena arena;
	arena_init(&arena, OBJECT_ARENA);
	arena.secret = true;
	struct span body = buf_view(&call->answer);
	if (response->failure == HTTP_OK && (response->status == 200 || response->status == 201)) {
		json_parse(&arena, body, &answer.object, &answer.error);
	} else {
		body.len = body.len < KUBE_REFUSAL_MAX ? body.len : KUBE_REFUSAL_MAX;
		kube_api_describe(response, body, &answer.error);
		answer.not_found = response->failure == HTTP_OK && is_not_found(response->status, body);
	}
	call->done(call->arg, &answer);
	arena_done(&arena);
}

static void on_done(void *arg, const struct http_response *response)
{
	struct kube_call *call = arg;
	call->http_call = NULL;
	if (kube_api_ended(call->api, response) && !call->retried) {
		call->retried = true;
		if (start(call, NULL) == 0)
			return;
	}
	tell(call, response);
}

static int start(struct kube_call *call, struct error *err)
{
	struct kube_api_request request = {
		.path = call->path.ptr,
		.body = buf_view(&call->body),
		.timeout_ns = call->api->options->timeout_ns,
		.max_body_bytes = OBJECT_MAX,
		.on_headers = on_headers,
		.on_body = on_body,
		.on_done = on_done,
		.arg = call,
	};
	return kube_api_start(call->api, &request, &call->http_call, err);
}

int kube_call_new(struct kube_api *api, const char *path, struct span body,
	void (*done)(void *arg, const struct kube_api_answer *answer), void *arg, struct kube_call **ret_call,
	struct error *err)
{
	struct kube_call *call = calloc(1, sizeof(*call));
	if (!call)
		return error_set(err, ENOMEM, "out of memory");
	*call = (struct kube_call){.api = api, .done = done, .arg = arg};
	buf_init(&call->path, 65536);
	buf_init(&call->body, 65536);
	buf_init(&call->answer, OBJECT_MAX);
	call->answer.secret = true;
	buf_append(&call->path, path, strlen(path) + 1);
	buf_span(&call->body, body);
	int r = call->path.failed || call->body.failed ? error_set(err, ENOMEM, "out of memory") : start(call, err);
	if (r < 0) {
		kube_call_free(call);
		return r;
	}
	*ret_call = call;
	return 0;
}

int kube_api_get(struct kube_api *api, struct kube_resource resource, struct span namespace_, struct span name,
	void (*done)(void *arg, const struct kube_api_answer *answer), void *arg, struct kube_call **ret_call,
	struct error *err)
{
	struct buf path;
	buf_init(&path, 4096);
	int r = name.len > 0 ? kube_api_path(&path, resource, namespace_, name) : -EINVAL;
	if (r == 0)
		r = buf_char(&path, '\0');
	if (r == -EINVAL || r == -EMSGSIZE)
		r = error_set(err, EINVAL, "%s: \"%s\" can be no name", resource.name, escape_bytes(name).text);
	else if (r < 0)
		r = error_set(err, -r, "out of memory");
	else
		r = kube_call_new(api, path.ptr, SPAN_NONE, done, arg, ret_call, err);
	buf_done(&path);
	return r;
}

void kube_call_free(struct kube_call *call)
{
	if (!call)
		return;
	http_cancel(call->http_call);
	buf_done(&call->path);
	buf_done(&call->body);
	buf_done(&call->answer);
	free(call);
}
