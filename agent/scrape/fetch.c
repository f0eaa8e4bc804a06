/* Fetch: one GET of a target, by the rules of Prometheus' scrape loop (semantics 3.4).
 *
 *   1. the request: Accept, Accept-Encoding, User-Agent, the timeout as a header
 *   2. on_headers: only 200 is a success; gzip is inflated when Content-Encoding says exactly so, asked for or not
 *   3. on_body: bytes are counted after inflating; the limit itself is already too much, as in Prometheus
 *   4. done: EXPO_PADDING zero bytes behind the body, or one word for the counters and a sentence for people
 *
 * Failure modes: whatever the target does ends in `done`; what was received of a failed body means nothing.
 */
#include "gleaner/codec.h"
#include "gleaner/scrape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ACCEPT                                                                                                         \
	"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,"                                       \
	"application/openmetrics-text;version=0.0.1;q=0.6,"                                                            \
	"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,"                                                         \
	"text/plain;version=0.0.4;q=0.4,*/*;q=0.3"

const char scrape_accept[] = ACCEPT;

enum {
	MAX_RATIO = 100,                /* inflated to compressed, */
	RATIO_FREE_BYTES = 1024 * 1024, /* beyond these */
	ERROR_PAGE_BYTES = 64 * 1024, /* of an unwanted status: read and dropped, so that the connection can be kept */
	MAX_TEXT_BYTES = 4 * 1024 * 1024, /* URL and credentials */
	SMALL_BODY_BYTES = 1024 * 1024,   /* no common ceiling for bodies up to this */
};

struct scrape_fetch {
	struct http *http;
	struct http_call *call;        /* NULL: idle */
	struct codec_inflate *inflate; /* made when a target first sends gzip */
	struct buf text;               /* the request's NUL-terminated texts */
	struct http_tls tls;
	struct scrape_memory *memory; /* may be NULL */
	struct scrape_body *body;
	size_t counted_bytes; /* of body, in memory->used_bytes */
	size_t limit_bytes;   /* a body that reaches it fails */
	unsigned status;
	bool inflating;
	int failed; /* why on_headers or on_body gave up; 0: they did not */
	uint64_t dropped_bytes;
	void (*on_send)(void *arg, const struct http_endpoints *endpoints); /* may be NULL */
	void *send_arg;
	void (*done)(void *arg, const struct scrape_fetch_result *result);
	void *arg;
};

/* ---- memory of all bodies ----------------------------------------------------------- */

/* What the body has grown to. 0 or -ENOBUFS. */
static int count_memory(struct scrape_fetch *fetch)
{
	struct scrape_memory *memory = fetch->memory;
	size_t bytes = fetch->body->bytes.cap;
	if (!memory || bytes == fetch->counted_bytes)
		return 0;
	memory->used_bytes += bytes - fetch->counted_bytes;
	fetch->counted_bytes = bytes;
	bool small = fetch->body->bytes.len <= SMALL_BODY_BYTES;
	return !small && memory->used_bytes > memory->max_bytes ? -ENOBUFS : 0;
}

static void forget_memory(struct scrape_fetch *fetch)
{
	if (fetch->memory)
		fetch->memory->used_bytes -= fetch->counted_bytes;
	fetch->counted_bytes = 0;
}

int scrape_fetch_new(struct http *http, struct scrape_memory *memory, struct scrape_fetch **ret_fetch)
{
	struct scrape_fetch *fetch = calloc(1, sizeof(*fetch));
	if (!fetch)
		return -ENOMEM;
	fetch->http = http;
	fetch->memory = memory;
	buf_init(&fetch->text, MAX_TEXT_BYTES);
	fetch->text.secret = true;
	*ret_fetch = fetch;
	return 0;
}

void scrape_fetch_free(struct scrape_fetch *fetch)
{
	if (!fetch)
		return;
	scrape_fetch_cancel(fetch);
	codec_inflate_free(fetch->inflate);
	buf_done(&fetch->text);
	free(fetch);
}

void scrape_fetch_cancel(struct scrape_fetch *fetch)
{
	http_cancel(fetch->call);
	fetch->call = NULL;
	forget_memory(fetch);
}

/* ---- the end ------------------------------------------------------------------------ */

static void fail(struct scrape_fetch_result *result, const char *reason, const char *text)
{
	result->ok = false;
	result->reason = reason;
	error_set(&result->error, 0, "%s", text);
}

static void body_limit_hit(struct scrape_fetch_result *result)
{
	result->body_limit_hit = true;
	fail(result, "body_limit", "body size limit exceeded");
}

/* What on_headers or on_body gave up for. */
static void body_failed(struct scrape_fetch *fetch, struct scrape_fetch_result *result)
{
	if (fetch->failed == -EMSGSIZE && fetch->inflating && fetch->body->bytes.len + 1 < fetch->limit_bytes)
		fail(result, "gzip_ratio", "gzip body inflates to more than 100 times its size");
	else if (fetch->failed == -EMSGSIZE)
		body_limit_hit(result);
	else if (fetch->failed == -EBADMSG)
		fail(result, "gzip", "gzip body is corrupt or cut off");
	else if (fetch->failed == -ENOBUFS)
		fail(result, "memory", "too large beside the bodies of the other scrapes in flight");
	else
		fail(result, "memory", "out of memory for the body");
}

/* Whether the credentials may be to blame has a word of its own: the core looks for newer ones then. */
static void status_failed(unsigned status, struct scrape_fetch_result *result)
{
	const char *text = http_status_text(status);
	fail(result, status == 401 || status == 403 ? SCRAPE_UNAUTHORIZED : "http_status", "");
	error_set(&result->error, 0, "server returned HTTP status %u%s%s", status, text[0] ? " " : "", text);
}

static void pad_body(struct scrape_fetch *fetch, struct scrape_fetch_result *result)
{
	char *at = buf_reserve(&fetch->body->bytes, EXPO_PADDING);
	if (at)
		memset(at, 0, EXPO_PADDING);
	else
		fail(result, "memory", "out of memory for the body");
}

static void fetch_done(void *arg, const struct http_response *response)
{
	struct scrape_fetch *fetch = arg;
	struct scrape_fetch_result result = {.failure = response->failure,
		.connect_ns = response->connect_ns,
		.first_byte_ns = response->first_byte_ns,
		.total_ns = response->total_ns,
		.busy_ns = response->busy_ns};
	fetch->call = NULL;
	forget_memory(fetch);
	fetch->body->wire_bytes = response->body_bytes;
	if (response->failure == HTTP_OK && fetch->failed == 0 && fetch->inflating)
		fetch->failed = codec_inflate_end(fetch->inflate);
	if (response->status != 0 && response->status != 200)
		status_failed(response->status, &result);
	else if (fetch->failed)
		body_failed(fetch, &result);
	else if (response->failure == HTTP_BODY_LIMIT)
		body_limit_hit(&result);
	else if (response->failure != HTTP_OK)
		fail(&result, http_failure_name(response->failure), response->error.text);
	else
		result.ok = true;
	if (result.ok)
		pad_body(fetch, &result);
	fetch->done(fetch->arg, &result);
}

void scrape_fetch_watch(
	struct scrape_fetch *fetch, void (*on_send)(void *arg, const struct http_endpoints *endpoints), void *arg)
{
	fetch->on_send = on_send;
	fetch->send_arg = arg;
}

/* ---- the response --------------------------------------------------------------------- */

static void fetch_sends(void *arg, const struct http_endpoints *endpoints)
{
	struct scrape_fetch *fetch = arg;
	if (fetch->on_send)
		fetch->on_send(fetch->send_arg, endpoints);
}

static int fetch_headers(void *arg, const struct http_response *response)
{
	struct scrape_fetch *fetch = arg;
	struct scrape_body *body = fetch->body;
	snprintf(body->content_type, sizeof(body->content_type), "%.*s", SPAN_ARGS(response->content_type));
	fetch->status = response->status;
	if (response->status != 200 || !span_eq(response->content_encoding, SPAN("gzip")))
		return 0;
	if (!fetch->inflate)
		fetch->failed = codec_inflate_new(&fetch->inflate);
	if (fetch->failed)
		return fetch->failed;
	codec_inflate_begin(fetch->inflate,
		(struct codec_inflate_limits){
			.max_out = fetch->limit_bytes - 1, .max_ratio = MAX_RATIO, .ratio_free = RATIO_FREE_BYTES});
	fetch->inflating = true;
	return 0;
}

static int drop_error_page(struct scrape_fetch *fetch, struct span piece)
{
	fetch->dropped_bytes += piece.len;
	return fetch->dropped_bytes > ERROR_PAGE_BYTES ? -EMSGSIZE : 0;
}

static int fetch_body(void *arg, struct span piece)
{
	struct scrape_fetch *fetch = arg;
	struct buf *bytes = &fetch->body->bytes;
	if (fetch->status != 200)
		return drop_error_page(fetch, piece);
	if (fetch->inflating)
		fetch->failed = codec_inflate_feed(fetch->inflate, piece, bytes);
	else if (piece.len >= fetch->limit_bytes - bytes->len)
		fetch->failed = -EMSGSIZE;
	else
		fetch->failed = buf_span(bytes, piece);
	if (fetch->failed == 0)
		fetch->failed = count_memory(fetch);
	return fetch->failed;
}

/* ---- the request ------------------------------------------------------------------------ */

/* Seconds as the shortest decimal: 10, 0.5. */
static void format_seconds(uint64_t ns, char *text, size_t size)
{
	int len = snprintf(text, size, "%llu.%09llu", (unsigned long long)(ns / NS_PER_SEC),
		(unsigned long long)(ns % NS_PER_SEC));
	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.')
		len--;
	text[len] = '\0';
}

struct texts {
	const char *url, *authorization; /* authorization: NULL: none */
};

#define AUTHORIZATION "Authorization: "

/* Room was made for all texts at once, so none moves when the next one comes. */
static const char *keep_text(struct buf *text, struct span s)
{
	if (s.len == 0)
		return NULL;
	const char *at = text->ptr + text->len;
	buf_span(text, s);
	buf_char(text, '\0');
	return at;
}

static const char *keep_header(struct buf *text, struct span value)
{
	const char *at = text->ptr + text->len;
	if (value.len == 0)
		return NULL;
	buf_str(text, AUTHORIZATION);
	keep_text(text, value);
	return at;
}

/* The texts of the request: copies, for the job may get other credentials while it is under way. Go takes any certificate of a CA file for
 * an anchor; so partial_chain.
 *
 * Who receives the Authorization header: the other end of connected_fd, or of a connection that was kept from one, and nobody else. The
 * core connected it to the target's own address (agent/core/dial.c); this process cannot dial; redirects are not followed. */
static int make_texts(struct scrape_fetch *fetch, const struct target *target, struct texts *ret_texts)
{
	const struct target_job *job = target->job;
	const struct target_credentials *credentials = job->credentials;
	bool https = span_eq(target->scheme, SPAN("https"));
	struct span none = SPAN_NONE, ca = https ? credentials->ca : none, cert = https ? credentials->cert : none,
		    key = https ? credentials->key : none, server_name = https ? credentials->server_name : none;
	buf_reset(&fetch->text);
	if (!buf_reserve(&fetch->text, target->url.len + ca.len + cert.len + key.len + server_name.len +
					       sizeof(AUTHORIZATION) + credentials->authorization.len + 6))
		return fetch->text.failed;
	ret_texts->url = keep_text(&fetch->text, target->url);
	ret_texts->authorization = keep_header(&fetch->text, credentials->authorization);
	fetch->tls = (struct http_tls){.ca = keep_text(&fetch->text, ca),
		.cert = keep_text(&fetch->text, cert),
		.key = keep_text(&fetch->text, key),
		.server_name = keep_text(&fetch->text, server_name),
		.insecure_skip_verify = job->tls_insecure_skip_verify,
		.partial_chain = true,
		.min_version = job->tls_min_version,
		.max_version = job->tls_max_version};
	return 0;
}

static void begin(struct scrape_fetch *fetch, const struct target *target, uint64_t max_body_bytes)
{
	uint64_t limit = target->job->limits.body_size_limit;
	fetch->limit_bytes = limit > 0 && limit < max_body_bytes ? limit : max_body_bytes;
	fetch->body->bytes.max = fetch->limit_bytes + EXPO_PADDING;
	buf_reset(&fetch->body->bytes);
	fetch->body->content_type[0] = '\0';
	fetch->body->wire_bytes = 0;
	fetch->status = 0;
	fetch->inflating = false;
	fetch->failed = 0;
	fetch->dropped_bytes = 0;
}

int scrape_fetch_start(struct scrape_fetch *fetch, const struct target *target, int connected_fd,
	uint64_t max_body_bytes, uint64_t timeout_ns, struct scrape_body *body,
	void (*done)(void *arg, const struct scrape_fetch_result *result), void *arg, struct error *err)
{
	struct texts texts = {NULL, NULL};
	int result = make_texts(fetch, target, &texts);
	if (result < 0 || !texts.url) {
		if (connected_fd >= 0)
			close(connected_fd);
		return error_set(
			err, result < 0 ? -result : EINVAL, result < 0 ? "out of memory" : "target without a URL");
	}
	fetch->body = body;
	fetch->done = done;
	fetch->arg = arg;
	begin(fetch, target, max_body_bytes);
	char seconds[40], timeout[96];
	format_seconds(target->timeout_ns, seconds, sizeof(seconds));
	snprintf(timeout, sizeof(timeout), "X-Prometheus-Scrape-Timeout-Seconds: %s", seconds);
	const char *headers[] = {"Accept: " ACCEPT,
		target->job->enable_compression ? "Accept-Encoding: gzip" : "Accept-Encoding: identity",
		"User-Agent: gleaner/" GLEANER_VERSION, timeout, texts.authorization, NULL};
	struct http_request request = {.url = texts.url,
		.headers = headers,
		.timeout_ns = timeout_ns,
		.max_body_bytes = fetch->limit_bytes,
		.tls = &fetch->tls,
		.connected_fd = connected_fd,
		.on_send = fetch_sends,
		.on_headers = fetch_headers,
		.on_body = fetch_body,
		.on_done = fetch_done,
		.arg = fetch};
	return http_start(fetch->http, &request, &fetch->call, err);
}
