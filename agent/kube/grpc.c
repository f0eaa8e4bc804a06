/* A gRPC call (see grpc.h): connect, one HTTP/2 request, length-prefixed messages, grpc-status in the trailers.
 *
 * The response is: HEADERS (:status 200), DATA with {u8 compressed, u32 length, message} over and over, cut into frames anywhere, and HEADERS
 * with grpc-status and END_STREAM; an error at once has it all in the first HEADERS. nghttp2 acknowledges the server's pings and
 * settings and gives back flow-control credit as data is taken.
 *
 * nghttp2 calls us while it reads, and must not be freed meanwhile: what ends the call is only noted, and done when it has returned.
 */
#include "grpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

enum { PREFIX = 5, REQUEST_MAX = 65536, WINDOW = 1 << 20, READ_BYTES = 16384, READS_MAX = 16, REASON_MAX = 256 };

enum grpc_wait { WAIT_FIRST, WAIT_QUIET, WAIT_PONG };

struct grpc_call {
	struct loop *loop;
	struct grpc_request request; /* without socket and message */
	int fd;
	struct loop_watch *watch;
	unsigned watched;
	struct loop_timer *timer;
	enum grpc_wait wait; /* what the timer is for */
	nghttp2_session *session;
	struct buf out; /* the request's message, with its prefix */
	size_t out_sent;
	struct buf in; /* the message that is coming in, with its prefix */
	unsigned http_status;
	int grpc_status;   /* -1: none yet */
	struct buf reason; /* grpc-message */
	bool ended;
	struct grpc_result result;
};

/* ---- the end ------------------------------------------------------------------------ */

static void end(struct grpc_call *call, int code, const char *reason)
{
	if (call->ended)
		return;
	call->ended = true;
	call->result.code = code;
	if (code != GRPC_OK)
		error_set(&call->result.error, EIO, "%s: %s", call->request.method, reason);
}

/* What the response's headers and trailers make of the call. */
static void end_with_status(struct grpc_call *call)
{
	char text[200];
	if (call->http_status != 200) {
		snprintf(text, sizeof(text), "HTTP status %u", call->http_status);
		end(call, -EPROTO, text);
	} else if (call->grpc_status < 0) {
		end(call, -ECONNRESET, "the stream ended without a grpc-status");
	} else if (call->grpc_status == GRPC_OK && call->in.len > 0) {
		end(call, -EPROTO, "the stream ended in the middle of a message");
	} else {
		snprintf(text, sizeof(text), "grpc-status %d: %s", call->grpc_status,
			escape_bytes(buf_view(&call->reason)).text);
		end(call, call->grpc_status, text);
	}
}

void grpc_cancel(struct grpc_call *call)
{
	if (!call)
		return;
	loop_watch_free(call->watch);
	loop_timer_free(call->timer);
	nghttp2_session_del(call->session);
	if (call->fd >= 0)
		close(call->fd);
	buf_done(&call->out);
	buf_done(&call->in);
	buf_done(&call->reason);
	free(call);
}

/* Nothing of the call may be used behind this. */
static void finish(struct grpc_call *call)
{
	struct grpc_result result = call->result;
	struct grpc_request request = call->request;
	grpc_cancel(call);
	request.on_done(request.arg, &result);
}

/* ---- messages ------------------------------------------------------------------------- */

static size_t message_bytes(const struct buf *in)
{
	const unsigned char *p = (const unsigned char *)in->ptr;
	return (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
}

/* Bytes that are still missing of the prefix, then of the message. */
static size_t missing(const struct buf *in)
{
	return in->len < PREFIX ? PREFIX - in->len : PREFIX + message_bytes(in) - in->len;
}

/* The prefix is complete, or the message. */
static void advance(struct grpc_call *call)
{
	struct buf *in = &call->in;
	if (in->len == PREFIX && in->ptr[0] != 0)
		end(call, -EPROTO, "a compressed message");
	else if (in->len == PREFIX && message_bytes(in) > call->request.max_message_bytes)
		end(call, -EMSGSIZE, "a message larger than allowed");
	if (call->ended || missing(in) > 0)
		return;
	call->wait = WAIT_QUIET;
	int r = call->request.on_message(call->request.arg, span_of(in->ptr + PREFIX, in->len - PREFIX));
	buf_reset(in);
	if (r < 0)
		end(call, r, r == -ENOMEM ? "out of memory" : "a message that cannot be read");
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
	struct grpc_call *call = arg;
	(void)session, (void)flags, (void)stream;
	if (call->http_status != 200) /* the text of an error page */
		return 0;
	while (len > 0 && !call->ended) {
		size_t part = missing(&call->in);
		part = part < len ? part : len;
		if (buf_append(&call->in, data, part) < 0)
			end(call, -ENOMEM, "out of memory");
		else if (missing(&call->in) == 0 || call->in.len == PREFIX)
			advance(call);
		data += part;
		len -= part;
	}
	return call->ended ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- headers ---------------------------------------------------------------------------- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct grpc_call *call = arg;
	struct span key = span_of((const char *)name, name_len), text = span_of((const char *)value, value_len);
	uint64_t number;
	(void)session, (void)frame, (void)flags;
	if (span_eq(key, SPAN(":status")) && span_to_u64(text, &number) == 0)
		call->http_status = (unsigned)number;
	if (span_eq(key, SPAN("grpc-status")) && span_to_u64(text, &number) == 0 && number < 1000)
		call->grpc_status = (int)number;
	if (span_eq(key, SPAN("grpc-message")) &&
		text.len > 0) { /* without memory it is left out: the status says enough */
		buf_reset(&call->reason);
		buf_append(&call->reason, text.ptr, text.len < REASON_MAX ? text.len : REASON_MAX);
	}
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *arg)
{
	struct grpc_call *call = arg;
	(void)session, (void)stream;
	if (code == NGHTTP2_NO_ERROR || call->grpc_status >= 0)
		end_with_status(call);
	else
		end(call, -ECONNRESET, nghttp2_http2_strerror(code));
	return 0;
}

/* ---- bytes in and out ---------------------------------------------------------------------- */

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *arg)
{
	struct grpc_call *call = arg;
	(void)session, (void)flags;
	ssize_t sent = send(call->fd, data, len, MSG_NOSIGNAL);
	if (sent >= 0)
		return sent;
	if (errno == EAGAIN || errno == EINTR)
		return NGHTTP2_ERR_WOULDBLOCK;
	end(call, -ECONNRESET, strerror(errno));
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static ssize_t on_read_request(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct grpc_call *call = arg;
	size_t left = call->out.len - call->out_sent, part = left < room ? left : room;
	(void)session, (void)stream, (void)source;
	memcpy(to, call->out.ptr + call->out_sent, part);
	call->out_sent += part;
	if (call->out_sent == call->out.len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)part;
}

static void read_some(struct grpc_call *call)
{
	uint8_t bytes[READ_BYTES];
	for (int i = 0; i < READS_MAX && !call->ended; i++) {
		ssize_t len = recv(call->fd, bytes, sizeof(bytes), 0);
		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (len <= 0) {
			end(call, -ECONNRESET, "the connection was closed");
			return;
		}
		if (call->wait == WAIT_PONG) /* whatever it is, it lives */
			call->wait = WAIT_QUIET;
		ssize_t taken = nghttp2_session_mem_recv(call->session, bytes, (size_t)len);
		if (taken < 0)
			end(call, taken == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO, nghttp2_strerror((int)taken));
	}
}

static void write_some(struct grpc_call *call)
{
	int r = call->ended ? 0 : nghttp2_session_send(call->session);
	if (r < 0)
		end(call, r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ECONNRESET, nghttp2_strerror(r));
	unsigned wanted = LOOP_READ | (nghttp2_session_want_write(call->session) ? LOOP_WRITE : 0u);
	if (!call->ended && wanted != call->watched && loop_watch_set(call->watch, wanted) < 0)
		end(call, -ENOMEM, "out of memory");
	call->watched = wanted;
}

static void set_timer(struct grpc_call *call)
{
	const struct grpc_request *request = &call->request;
	if (call->wait == WAIT_QUIET && request->ping_interval_ns == 0)
		loop_timer_cancel(call->timer);
	else if (call->wait == WAIT_QUIET)
		loop_timer_set(call->timer, request->ping_interval_ns);
}

static void on_ready(void *arg, unsigned events)
{
	struct grpc_call *call = arg;
	if (events & LOOP_READ)
		read_some(call);
	write_some(call);
	if (call->ended)
		finish(call);
	else
		set_timer(call);
}

static void on_timer(void *arg)
{
	struct grpc_call *call = arg;
	if (call->wait == WAIT_QUIET) {
		call->wait = WAIT_PONG;
		loop_timer_set(call->timer, call->request.ping_timeout_ns);
		if (nghttp2_submit_ping(call->session, NGHTTP2_FLAG_NONE, NULL) < 0)
			end(call, -ENOMEM, "out of memory");
		write_some(call);
	} else {
		end(call, -ETIMEDOUT, call->wait == WAIT_PONG ? "no answer to a ping" : "no answer in time");
	}
	if (call->ended)
		finish(call);
}

/* ---- the start ------------------------------------------------------------------------------- */

static int connect_to(struct grpc_call *call, const char *path, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ENAMETOOLONG, "%s: the path of a socket has at most %zu bytes", path,
			sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (call->fd < 0 || connect(call->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int code = errno; /* EAGAIN: more clients wait than the server listens for */
		return error_set(err, code, "connect %s: %s", path, strerror(code));
	}
	return 0;
}

static int new_session(struct grpc_call *call)
{
	nghttp2_session_callbacks *callbacks;
	if (nghttp2_session_callbacks_new(&callbacks) < 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	int r = nghttp2_session_client_new(&call->session, callbacks, call);
	nghttp2_session_callbacks_del(callbacks);
	return r < 0 ? -ENOMEM : 0;
}

#define HEADER(name, value)                                                                                            \
	{                                                                                                              \
		(uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE               \
	}

static int submit(struct grpc_call *call)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
	const nghttp2_nv headers[] = {
		HEADER(":method", "POST"),
		HEADER(":scheme", "http"),
		HEADER(":path", call->request.method),
		HEADER(":authority", "localhost"),
		HEADER("content-type", "application/grpc"),
		HEADER("te", "trailers"),
		HEADER("user-agent", "gleaner/" GLEANER_VERSION),
	};
	const nghttp2_data_provider body = {.read_callback = on_read_request};
	if (nghttp2_submit_settings(call->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)) < 0 ||
		nghttp2_session_set_local_window_size(call->session, NGHTTP2_FLAG_NONE, 0, WINDOW) < 0 ||
		nghttp2_submit_request(call->session, NULL, headers, ARRAY_SIZE(headers), &body, NULL) < 0)
		return -ENOMEM;
	return 0;
}

static int write_message(struct buf *out, struct span message)
{
	const unsigned char prefix[PREFIX] = {0, 0, (unsigned char)(message.len >> 16),
		(unsigned char)(message.len >> 8), (unsigned char)message.len};
	buf_append(out, prefix, sizeof(prefix));
	return buf_span(out, message);
}

int grpc_start(struct loop *loop, const struct grpc_request *request, struct grpc_call **ret_call, struct error *err)
{
	struct grpc_call *call = calloc(1, sizeof(*call));
	if (!call)
		return error_set(err, ENOMEM, "out of memory");
	*call = (struct grpc_call){
		.loop = loop, .request = *request, .fd = -1, .watched = LOOP_READ | LOOP_WRITE, .grpc_status = -1};
	call->request.socket = NULL;
	call->request.message = SPAN_NONE;
	buf_init(&call->out, PREFIX + REQUEST_MAX);
	buf_init(&call->in, PREFIX + request->max_message_bytes);
	buf_init(&call->reason, REASON_MAX);
	int r = connect_to(call, request->socket, err);
	if (r < 0) {
		grpc_cancel(call);
		return r;
	}
	if (write_message(&call->out, request->message) < 0 || new_session(call) < 0 || submit(call) < 0 ||
		loop_watch_new(loop, call->fd, call->watched, on_ready, call, &call->watch) < 0 ||
		loop_timer_new(loop, on_timer, call, &call->timer) < 0 ||
		loop_timer_set(call->timer, request->first_timeout_ns) < 0) {
		grpc_cancel(call);
		return error_set(err, ENOMEM, "out of memory");
	}
	*ret_call = call;
	return 0;
}
