/* The poll driver: GET /pods of the node's own kubelet, again and again.
 *
 * One poll: 1. token and CA are read again if their files changed. 2. A request with the name that the certificate was
 * last verified for. 3. The body goes to the parser piece by piece. 4. On a wrong certificate the other name is tried
 * once. 5. The list goes to the view, which knows what is still believed; a change is handed to the listener.
 *
 * Failures lose nothing and only lengthen the wait (pace.c). The token leaves this process only in a header of an https
 * request whose peer is verified.
 */
#include "pace.h"
#include "secret.h"
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_NS (5 * NS_PER_SEC)
/* A pod is missing: asked again so soon, so that one that has really gone is gone within 15 s. On a new connection the kubelet may have
 * just started, and then lists all that it runs only after a second or two. */
#define CONFIRM_NS         NS_PER_SEC
#define CONFIRM_STARTED_NS (5 * NS_PER_SEC)

enum { REFUSAL_MAX = 256 }; /* bytes of an error body that are shown */

struct kube_kubelet {
	struct loop *loop;
	struct http *http;
	const struct kube_options *options;
	struct clock clock;
	struct kube_kubelet_events events;

	struct buf url;
	bool verifies; /* https, and the certificate is checked: the token may be sent */
	bool is_https;
	struct kube_secret token, ca;
	struct kube_pace pace;
	struct kube_view view;
	struct loop_timer *poll_timer, *expire_timer;
	struct kube_stats stats;

	/* The poll under way. */
	struct http_call *call;
	struct http_tls tls;
	struct kube_pods_parser *parser;
	struct error body_error; /* why the parser refused the body */
	struct buf refusal;      /* body of an answer that is not 200 */
	bool by_node_name;       /* the name that was tried last: node_name instead of the URL's host */
	bool both_tried;
};

static void poll_now(void *arg);

/* ---- the end of a poll -------------------------------------------------------------- */

static void schedule(struct kube_kubelet *kubelet, uint64_t delay_ns)
{
	loop_timer_set(kubelet->poll_timer, delay_ns);
}

static void end_poll(struct kube_kubelet *kubelet)
{
	kube_pods_parser_free(kubelet->parser);
	kubelet->parser = NULL;
	kubelet->call = NULL;
}

static void poll_failed(
	struct kube_kubelet *kubelet, unsigned status, enum kube_failure failure, const struct error *err)
{
	end_poll(kubelet);
	kubelet->stats.last_failure = failure;
	kubelet->stats.failures++;
	kubelet->stats.consecutive_failures++;
	kubelet->stats.last_error = *err;
	uint64_t delay_ns = kube_pace_failed(&kubelet->pace, status);
	schedule(kubelet, delay_ns);
	if (kubelet->events.failed)
		kubelet->events.failed(kubelet->events.arg, err, delay_ns);
}

static void publish(struct kube_kubelet *kubelet)
{
	kubelet->stats.changes++;
	kubelet->stats.pods = kubelet->view.published->count;
	kubelet->events.pods(kubelet->events.arg, kubelet->view.published);
}

static void expire(void *arg)
{
	struct kube_kubelet *kubelet = arg;
	/* While polls fail, nothing is known, so nothing is dropped: the next success decides. */
	if (kubelet->stats.consecutive_failures == 0 && kube_view_expire(&kubelet->view, clock_mono(&kubelet->clock)))
		publish(kubelet);
}

static void poll_succeeded(struct kube_kubelet *kubelet, struct kube_pods *pods, bool new_connection)
{
	uint64_t now_ns = clock_mono(&kubelet->clock);
	bool changed;
	end_poll(kubelet);
	int r = kube_view_update(&kubelet->view, pods, now_ns, &changed);
	kube_pods_unref(pods);
	if (r < 0) {
		struct error err;
		error_set(&err, -r, "out of memory");
		poll_failed(kubelet, 0, KUBE_FAILURE_TRANSIENT, &err);
		return;
	}
	kubelet->stats.consecutive_failures = 0;
	kubelet->stats.last_failure = KUBE_FAILURE_NONE;
	kubelet->stats.last_error.text[0] = '\0';
	kubelet->stats.last_success_wall_ns = clock_wall(&kubelet->clock);
	uint64_t delay_ns = kube_pace_succeeded(&kubelet->pace, now_ns),
		 deadline_ns = kube_view_deadline(&kubelet->view);
	if (deadline_ns > 0) {
		loop_timer_set(kubelet->expire_timer, deadline_ns - now_ns);
		uint64_t confirm_ns = new_connection ? CONFIRM_STARTED_NS : CONFIRM_NS;
		delay_ns = delay_ns < confirm_ns ? delay_ns : confirm_ns;
	} else {
		loop_timer_cancel(kubelet->expire_timer);
	}
	schedule(kubelet, delay_ns);
	if (kubelet->events.answered)
		kubelet->events.answered(kubelet->events.arg);
	if (changed)
		publish(kubelet);
}

/* "403: Forbidden (user=..., resource=nodes, subresource(s)=[pods proxy])": the kubelet names the right that is missing. */
static void describe_refusal(const struct kube_kubelet *kubelet, unsigned status, struct error *err)
{
	char text[3 * REFUSAL_MAX + 1];
	size_t len = 0;
	struct span body = span_trim(buf_view(&kubelet->refusal));
	for (size_t i = 0; i < body.len; i++) {
		unsigned char c = (unsigned char)body.ptr[i];
		if (c >= ' ' && c < 0x7f && c != '%')
			text[len++] = (char)c;
		else
			len += (size_t)snprintf(text + len, 4, "%%%02X", c);
	}
	text[len] = '\0';
	const char *hint = status == 401 ? " (also when the API server is down)" : "";
	error_set(err, EACCES, "GET /pods: status %u: %s%s", status, len > 0 ? text : "no reason given", hint);
}

static enum kube_failure kind_of(const struct http_response *response)
{
	bool refused = response->failure == HTTP_TLS_VERIFY ||
		       (response->failure == HTTP_OK && (response->status == 401 || response->status == 403));
	bool absent = response->failure == HTTP_OK && response->status == 404;
	return refused ? KUBE_FAILURE_REFUSED : absent ? KUBE_FAILURE_ABSENT : KUBE_FAILURE_TRANSIENT;
}

static void judge_failure(struct kube_kubelet *kubelet, const struct http_response *response, struct error *err)
{
	if (response->failure == HTTP_REFUSED && kubelet->body_error.text[0])
		*err = kubelet->body_error;
	else if (response->failure == HTTP_TLS_VERIFY) /* mostly a kubelet that signs its own certificate */
		error_set(err, EACCES, "%s (kubelet.tls.ca_file: %s)", response->error.text,
			kubelet->options->tls.ca_file);
	else if (response->failure != HTTP_OK)
		*err = response->error;
	else
		describe_refusal(kubelet, response->status, err);
}

static int send_request(struct kube_kubelet *kubelet, struct error *err);

/* A certificate for another name, or an unknown one: some are good for the node's name only (SAN DNS:node-a). */
static bool try_other_name(struct kube_kubelet *kubelet, const struct http_response *response)
{
	const struct kube_options *options = kubelet->options;
	if (response->failure != HTTP_TLS_VERIFY || kubelet->both_tried || options->tls.server_name ||
		!options->node_name)
		return false;
	kubelet->both_tried = true;
	kubelet->by_node_name = !kubelet->by_node_name;
	kube_pods_parser_free(kubelet->parser);
	kubelet->parser = NULL;
	return send_request(kubelet, NULL) == 0;
}

static void on_done(void *arg, const struct http_response *response)
{
	struct kube_kubelet *kubelet = arg;
	struct kube_pods *pods;
	struct error err = {""};
	kubelet->call = NULL;
	if (try_other_name(kubelet, response))
		return;
	if (response->failure != HTTP_OK || response->status != 200) {
		judge_failure(kubelet, response, &err);
		poll_failed(kubelet, response->status, kind_of(response), &err);
		return;
	}
	if (kube_pods_parser_end(kubelet->parser, &pods, &err) < 0) {
		error_wrap(&err, EBADMSG, "GET /pods");
		poll_failed(kubelet, 200, KUBE_FAILURE_TRANSIENT, &err);
		return;
	}
	poll_succeeded(kubelet, pods, !response->reused_connection);
}

/* ---- the start of a poll -------------------------------------------------------------- */

static int on_headers(void *arg, const struct http_response *response)
{
	struct kube_kubelet *kubelet = arg;
	const struct kube_options *options = kubelet->options;
	kubelet->body_error.text[0] = '\0';
	buf_reset(&kubelet->refusal);
	kube_pods_parser_free(kubelet->parser);
	kubelet->parser = NULL;
	if (response->status != 200)
		return 0;
	int r = kube_pods_parser_new(options->max_body_bytes, &kubelet->parser);
	if (r == 0)
		r = kube_pods_parser_host_ip(kubelet->parser, span_str(options->host_ip));
	if (r < 0)
		error_set(&kubelet->body_error, -r, "out of memory");
	return r;
}

static int on_body(void *arg, struct span piece)
{
	struct kube_kubelet *kubelet = arg;
	if (!kubelet->parser) { /* not a 200: the beginning of its text is kept */
		size_t room = REFUSAL_MAX - kubelet->refusal.len;
		buf_append(&kubelet->refusal, piece.ptr, piece.len < room ? piece.len : room);
		return 0;
	}
	int r = kube_pods_parser_feed(kubelet->parser, piece, &kubelet->body_error);
	if (r < 0)
		error_wrap(&kubelet->body_error, -r, "GET /pods");
	return r;
}

static int send_request(struct kube_kubelet *kubelet, struct error *err)
{
	const struct kube_options *options = kubelet->options;
	struct buf authorization;
	buf_init(&authorization, (1 << 20) + 64);
	authorization.secret = true;
	if (kubelet->verifies)
		kube_secret_header(&kubelet->token, &authorization);
	kubelet->tls = (struct http_tls){
		.ca = kubelet->verifies ? kubelet->ca.text.ptr : NULL,
		.server_name = options->tls.server_name ? options->tls.server_name
			       : kubelet->by_node_name  ? options->node_name
							: NULL,
		.insecure_skip_verify = options->tls.insecure_skip_verify,
		.partial_chain = true,
	};
	const char *headers[] = {"Accept: application/json", kubelet->verifies ? authorization.ptr : NULL, NULL};
	struct http_request request = {
		.url = kubelet->url.ptr,
		.headers = headers,
		.timeout_ns = options->timeout_ns,
		.connect_timeout_ns =
			options->timeout_ns < CONNECT_TIMEOUT_NS ? options->timeout_ns : CONNECT_TIMEOUT_NS,
		.max_body_bytes = options->max_body_bytes,
		.tls = kubelet->is_https ? &kubelet->tls : NULL,
		.connected_fd = -1,
		.on_headers = on_headers,
		.on_body = on_body,
		.on_done = on_done,
		.arg = kubelet,
	};
	int r = authorization.failed ? error_set(err, ENOMEM, "out of memory")
				     : http_start(kubelet->http, &request, &kubelet->call, err);
	buf_done(&authorization);
	return r;
}

static void poll_now(void *arg)
{
	struct kube_kubelet *kubelet = arg;
	struct error err = {""};
	kube_pace_started(&kubelet->pace, clock_mono(&kubelet->clock));
	kubelet->stats.polls++;
	kubelet->both_tried = false;
	int r = kubelet->verifies ? kube_secrets_read(&kubelet->token, &kubelet->ca, &err) : 0;
	if (r == 0)
		r = send_request(kubelet, &err);
	if (r < 0) /* no token, no CA: nobody has given us the right */
		poll_failed(kubelet, 0, r == -ENOMEM ? KUBE_FAILURE_TRANSIENT : KUBE_FAILURE_REFUSED, &err);
}

/* ---- the driver's life ------------------------------------------------------------------ */

static int make_url(struct kube_kubelet *kubelet)
{
	const struct kube_options *options = kubelet->options;
	const char *host = options->host_ip ? options->host_ip : options->node_name;
	bool is_ipv6 = host && strchr(host, ':');
	buf_init(&kubelet->url, 4096);
	if (options->endpoint)
		buf_str(&kubelet->url, options->endpoint);
	else
		buf_printf(&kubelet->url, "https://%s%s%s:10250", is_ipv6 ? "[" : "", host ? host : "",
			is_ipv6 ? "]" : "");
	if (kubelet->url.len > 0 && kubelet->url.ptr[kubelet->url.len - 1] == '/')
		kubelet->url.len--;
	buf_append(&kubelet->url, "/pods", sizeof("/pods"));
	kubelet->is_https = span_starts_with(buf_view(&kubelet->url), SPAN("https://"));
	kubelet->verifies = kubelet->is_https && !options->tls.insecure_skip_verify;
	return kubelet->url.failed;
}

int kube_kubelet_new(struct loop *loop, struct http *http, const struct kube_options *options, struct clock clock,
	struct kube_kubelet_events events, struct kube_kubelet **ret_kubelet, struct error *err)
{
	struct kube_kubelet *kubelet = calloc(1, sizeof(*kubelet));
	if (!kubelet)
		return error_set(err, ENOMEM, "out of memory");
	kubelet->loop = loop;
	kubelet->http = http;
	kubelet->options = options;
	kubelet->clock = clock;
	kubelet->events = events;
	kube_pace_init(&kubelet->pace, options->poll_interval_ns, hash_seed());
	kube_secret_init(&kubelet->token, options->token_file);
	kube_secret_init(&kubelet->ca, options->tls.ca_file);
	buf_init(&kubelet->refusal, REFUSAL_MAX);

	int r = make_url(kubelet);
	if (r == 0)
		r = loop_timer_new(loop, poll_now, kubelet, &kubelet->poll_timer);
	if (r == 0)
		r = loop_timer_new(loop, expire, kubelet, &kubelet->expire_timer);
	if (r == 0)
		r = loop_timer_set(kubelet->poll_timer, 0);
	if (r < 0) {
		kube_kubelet_free(kubelet);
		return error_wrap(err, -r, "kubelet");
	}
	*ret_kubelet = kubelet;
	return 0;
}

void kube_kubelet_free(struct kube_kubelet *kubelet)
{
	if (!kubelet)
		return;
	http_cancel(kubelet->call);
	loop_timer_free(kubelet->poll_timer);
	loop_timer_free(kubelet->expire_timer);
	kube_pods_parser_free(kubelet->parser);
	kube_view_done(&kubelet->view);
	kube_secret_done(&kubelet->token);
	kube_secret_done(&kubelet->ca);
	buf_done(&kubelet->refusal);
	buf_done(&kubelet->url);
	free(kubelet);
}

void kube_kubelet_nudge(struct kube_kubelet *kubelet)
{
	uint64_t delay_ns = kube_pace_nudged(&kubelet->pace, clock_mono(&kubelet->clock), kubelet->call != NULL);
	if (delay_ns != UINT64_MAX)
		schedule(kubelet, delay_ns);
}

void kube_kubelet_stats(const struct kube_kubelet *kubelet, struct kube_stats *ret_stats)
{
	*ret_stats = kubelet->stats;
}
