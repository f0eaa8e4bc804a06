/* What the files of the API client share: one request, and words about its failure. */
#pragma once

#include "gleaner/kube_api.h"
#include "secret.h"

enum { KUBE_REFUSAL_MAX = 8192 }; /* bytes kept of the body of an answer that is an error */

struct kube_api {
	struct loop *loop;
	struct http *http;
	const struct kube_api_options *options;
	struct clock clock;
	bool verifies, is_https; /* as in kubelet.c: the token leaves only over a verified connection */
	struct kube_secret token, ca;
	struct http_tls tls;
	uint64_t begin_ns;  /* the start-up jitter is over then */
	bool no_watch_list; /* the server refused one */
	uint64_t hurry;     /* 1; a test divides all waits by more */
	struct rng rng;
	struct kube_api_stats stats;
};

struct kube_api_request {
	const char *path;                           /* with its query */
	struct span body;                           /* POST when not empty; lives until done */
	bool gzip;                                  /* accepted */
	uint64_t timeout_ns, first_byte_timeout_ns; /* the second may be 0: none */
	size_t max_body_bytes;
	int (*on_headers)(void *arg, const struct http_response *response);
	int (*on_body)(void *arg, struct span piece);
	void (*on_done)(void *arg, const struct http_response *response);
	void *arg;
};
/* Reads token and CA again if their files have changed. 0; -errno with err. */
int kube_api_start(
	struct kube_api *api, const struct kube_api_request *request, struct http_call **ret_call, struct error *err);
/* To be called at the end of every request, for the statistics. Returns true for a 401 whose token has changed since: ask again now. */
bool kube_api_ended(struct kube_api *api, const struct http_response *response);
/* Path of a kind of objects, or of one when name is not empty; escaped. namespace_ empty: none. 0; -EINVAL: "", "." or ".." as a name;
 * out->failed. */
int kube_api_path(struct buf *out, struct kube_resource resource, struct span namespace_, struct span name);
/* Appends text for a query: all but letters, digits, "-", "." and "_" as %XX. */
void kube_api_escape(struct buf *out, struct span text);
/* "403: services is forbidden: ..." of an answer that is no success, or why there is none. refusal: its body. */
void kube_api_describe(const struct http_response *response, struct span refusal, struct error *err);
/* Seconds of a Retry-After header; 0: none. */
uint64_t kube_api_retry_after(const struct http_response *response);
/* A wait, shorter in tests. */
uint64_t kube_api_wait(const struct kube_api *api, uint64_t ns);
