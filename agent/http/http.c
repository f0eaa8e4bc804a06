/* The client: libcurl's multi interface on our loop.
 *
 *   1. http_start gives an easy handle its request and adds it to the multi
 *   2. libcurl asks for sockets to be watched (socket_changed) and for one timer (timer_changed)
 *   3. what becomes ready goes to curl_multi_socket_action, which calls back into request.c and response.c
 *   4. then, and only then, finished calls are taken out (drain) and their on_done is called
 *
 * No multi function is ever called from within libcurl's callbacks: a timer of 0 ms fires in the loop's next round.
 * Failure modes: when a socket cannot be watched for lack of memory, its call ends by its timeout; libcurl's own answer
 * to an error there is to kill the multi for good.
 */
#include "call.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	IDLE_CALLS = 32, /* an easy handle holds 5.7 KB */
};

struct watched_socket {
	struct http *http;
	struct http_call *call; /* that watched it last */
	curl_socket_t fd;
	struct loop_watch *watch;
};

/* ---- calls ------------------------------------------------------------------- */

static void call_free(struct http_call *call)
{
	if (!call)
		return;
	http_call_forget(call);
	if (call->easy)
		curl_easy_cleanup(call->easy);
	loop_timer_free(call->first_byte_timer);
	free(call);
}

static void call_unlink(struct http_call *call)
{
	if (call->prev)
		call->prev->next = call->next;
	else
		call->http->active = call->next;
	if (call->next)
		call->next->prev = call->prev;
	call->prev = call->next = NULL;
}

/* Out of libcurl's hands; the response stays until call_release. */
static void call_detach(struct http_call *call)
{
	loop_timer_cancel(call->first_byte_timer);
	curl_multi_remove_handle(call->http->multi, call->easy);
	call_unlink(call);
}

static void call_release(struct http_call *call)
{
	struct http *http = call->http;
	http_call_forget(call);
	if (http->idle_count >= IDLE_CALLS) {
		call_free(call);
		return;
	}
	call->next = http->idle;
	http->idle = call;
	http->idle_count++;
}

static void call_finish(struct http_call *call, CURLcode code)
{
	http_response_judge(call, code);
	call_detach(call);
	if (call->request.on_done)
		call->request.on_done(call->request.arg, &call->response);
	call_release(call);
}

static void first_byte_late(void *arg)
{
	struct http_call *call = arg;
	call->first_byte_late = true;
	call_finish(call, CURLE_OPERATION_TIMEDOUT);
}

static int call_new(struct http *http, struct http_call **ret_call)
{
	struct http_call *call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	call->http = http;
	call->fd = -1;
	int result = loop_timer_new(http->loop, first_byte_late, call, &call->first_byte_timer);
	if (result == 0)
		result = http_call_prepare(call);
	if (result < 0) {
		call_free(call);
		return result;
	}
	*ret_call = call;
	return 0;
}

static int call_take(struct http *http, struct http_call **ret_call)
{
	struct http_call *call = http->idle;
	if (!call)
		return call_new(http, ret_call);
	http->idle = call->next;
	http->idle_count--;
	call->next = NULL;
	*ret_call = call;
	return 0;
}

/* ---- libcurl and the loop ------------------------------------------------------ */

static void drain(struct http *http)
{
	int left;
	for (CURLMsg *message; (message = curl_multi_info_read(http->multi, &left));) {
		if (message->msg != CURLMSG_DONE)
			continue;
		CURLcode code = message->data.result;
		struct http_call *call = NULL;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		call_finish(call, code);
	}
}

/* Time that was spent for a call, if it is still there. */
static void charge(struct http *http, const struct http_call *call, uint64_t busy_ns)
{
	for (struct http_call *active = http->active; active; active = active->next)
		if (active == call)
			active->response.busy_ns += busy_ns;
}

static void socket_ready(void *arg, unsigned events)
{
	struct watched_socket *watched = arg;
	struct http *http = watched->http;
	int running;
	int ready = (events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0);
	struct http_call *call = watched->call;
	uint64_t started_ns = clock_mono(&http->clock);
	curl_multi_socket_action(http->multi, watched->fd, ready, &running); /* `watched` may be gone now */
	charge(http, call, clock_mono(&http->clock) - started_ns);
	drain(http);
}

/* A round of the timer sends requests, mostly: they share its time. */
static void share_round(struct http *http, uint64_t busy_ns)
{
	size_t sending = 0;
	for (const struct http_call *call = http->active; call; call = call->next)
		sending += call->sending;
	for (struct http_call *call = http->active; call && sending > 0; call = call->next) {
		if (call->sending)
			call->response.busy_ns += busy_ns / sending;
		call->sending = false;
	}
}

static void timer_fired(void *arg)
{
	struct http *http = arg;
	int running;
	uint64_t started_ns = clock_mono(&http->clock);
	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	share_round(http, clock_mono(&http->clock) - started_ns);
	drain(http);
}

static int timer_changed(CURLM *multi, long timeout_ms, void *arg)
{
	struct http *http = arg;
	(void)multi;
	if (timeout_ms < 0)
		loop_timer_cancel(http->timer);
	else
		loop_timer_set(http->timer, (uint64_t)timeout_ms * NS_PER_MS);
	return 0;
}

static void watched_socket_free(struct watched_socket *watched)
{
	if (!watched)
		return;
	loop_watch_free(watched->watch);
	free(watched);
}

static void watched_socket_new(struct http *http, struct http_call *call, curl_socket_t fd, unsigned events)
{
	struct watched_socket *watched = malloc(sizeof(*watched));
	if (!watched)
		return;
	*watched = (struct watched_socket){.http = http, .call = call, .fd = fd};
	if (loop_watch_new(http->loop, fd, events, socket_ready, watched, &watched->watch) < 0) {
		free(watched);
		return;
	}
	curl_multi_assign(http->multi, fd, watched);
}

static int socket_changed(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http *http = arg;
	struct watched_socket *watched = socket_arg;
	struct http_call *call = NULL;
	unsigned events = (what & CURL_POLL_IN ? LOOP_READ : 0u) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0u);
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
	if (what == CURL_POLL_REMOVE) {
		watched_socket_free(watched);
	} else if (watched) {
		watched->call = call;
		loop_watch_set(watched->watch, events);
	} else {
		watched_socket_new(http, call, fd, events);
	}
	return 0;
}

/* ---- life cycle ---------------------------------------------------------------- */

static int multi_prepare(struct http *http)
{
	http->multi = curl_multi_init();
	if (!http->multi)
		return -ENOMEM;
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, timer_changed);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_PIPELINING,
		http->options.http2 ? (long)CURLPIPE_MULTIPLEX : (long)CURLPIPE_NOTHING);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)http->options.max_connections);
	return 0;
}

const char *http_system_ca_file(void)
{
	return curl_version_info(CURLVERSION_NOW)->cainfo;
}

int http_new(struct loop *loop, struct http_options options, struct http **ret_http)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	struct http *http = calloc(1, sizeof(*http));
	if (!http) {
		curl_global_cleanup();
		return -ENOMEM;
	}
	http->loop = loop;
	http->clock = clock_system();
	http->options = options;
	if (http->options.max_connections == 0)
		http->options.max_connections = 1;
	int result = loop_timer_new(loop, timer_fired, http, &http->timer);
	if (result == 0)
		result = multi_prepare(http);
	if (result < 0) {
		http_free(http);
		return result;
	}
	*ret_http = http;
	return 0;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	while (http->active)
		http_cancel(http->active);
	while (http->idle) {
		struct http_call *call = http->idle;
		http->idle = call->next;
		call_free(call);
	}
	if (http->multi)
		curl_multi_cleanup(http->multi);
	loop_timer_free(http->timer);
	free(http);
	curl_global_cleanup();
}

int http_start(struct http *http, const struct http_request *request, struct http_call **ret_call, struct error *err)
{
	struct http_call *call;
	uint64_t started_ns = clock_mono(&http->clock);
	int result = call_take(http, &call);
	if (result < 0) {
		if (request->connected_fd >= 0)
			http_close(http, request->connected_fd);
		return error_set(err, -result, "out of memory");
	}
	result = http_call_apply(call, request, err);
	if (result == 0 && request->first_byte_timeout_ns > 0)
		result = loop_timer_set(call->first_byte_timer, request->first_byte_timeout_ns);
	if (result == 0 && curl_multi_add_handle(http->multi, call->easy) != CURLM_OK)
		result = error_set(err, ENOMEM, "out of memory");
	if (result < 0) {
		loop_timer_cancel(call->first_byte_timer);
		call_release(call);
		return result;
	}
	call->next = http->active;
	if (call->next)
		call->next->prev = call;
	http->active = call;
	call->response.busy_ns = clock_mono(&http->clock) - started_ns;
	if (ret_call)
		*ret_call = call;
	return 0;
}

void http_cancel(struct http_call *call)
{
	if (!call)
		return;
	call_detach(call);
	call_release(call);
}
