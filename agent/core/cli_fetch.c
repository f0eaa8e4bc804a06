/* One GET at the status server of a running agent, for commands that show what it knows. */
#include "cli.h"

#include "gleaner/http.h"

#include <errno.h>

#define TIMEOUT_NS (5 * NS_PER_SEC)

enum { BODY_MAX_BYTES = 64 << 20 };

struct fetch {
	struct loop *loop;
	struct buf *body;
	unsigned status;
	enum http_failure failure;
	struct error error;
};

static int on_body(void *arg, struct span piece)
{
	struct fetch *fetch = arg;
	return buf_span(fetch->body, piece);
}

static void on_done(void *arg, const struct http_response *response)
{
	struct fetch *fetch = arg;
	fetch->status = response->status;
	fetch->failure = response->failure;
	fetch->error = response->error;
	loop_stop(fetch->loop);
}

static int fetch_url(struct fetch *fetch, const char *url, struct error *err)
{
	struct http *http = NULL;
	struct http_request request = {.url = url,
		.timeout_ns = TIMEOUT_NS,
		.max_body_bytes = BODY_MAX_BYTES,
		.connected_fd = -1,
		.on_body = on_body,
		.on_done = on_done,
		.arg = fetch};
	struct http_call *call;
	int result = http_new(fetch->loop, (struct http_options){.max_connections = 1, .dials = true}, &http);
	if (result == 0)
		result = http_start(http, &request, &call, err);
	if (result == 0)
		result = loop_run(fetch->loop);
	http_free(http);
	return result;
}

int cli_fetch(const char *address, const char *path, struct buf *body, unsigned *ret_status, struct error *err)
{
	struct fetch fetch = {.body = body};
	struct buf url;
	buf_init(&url, 4096);
	buf_printf(&url, "http://%s%s", address, path);
	buf_char(&url, '\0');
	int result = url.failed ? url.failed : loop_new(&fetch.loop);
	if (result == 0)
		result = fetch_url(&fetch, url.ptr, err);
	loop_free(fetch.loop);
	buf_done(&url);
	if (result < 0)
		return result;
	if (body->failed)
		return body->failed;
	if (fetch.failure == HTTP_CONNECT || fetch.failure == HTTP_TIMEOUT)
		return error_set(err, ECONNREFUSED,
			"no agent answers at %s: %s. Is it running? --address must be its status.listen",
			escape_bytes(span_str(address)).text, fetch.error.text);
	if (fetch.failure != HTTP_OK)
		return error_set(err, EPROTO, "%s: %s", escape_bytes(span_str(address)).text, fetch.error.text);
	*ret_status = fetch.status;
	return 0;
}
