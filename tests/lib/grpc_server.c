#include "grpc_server.h"

#include "test.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

enum { KEPT_PATHS = 64 };

struct test_grpc {
	const struct test_grpc_reply *replies;
	size_t reply_count;
	int listen_fd, stop_fd;
	pthread_t thread;
	size_t calls, pings, request_bytes; /* atomic */
	char paths[KEPT_PATHS][64];
	char socket[108];

	/* the connection that is open */
	int fd;
	nghttp2_session *session;
	const struct test_grpc_reply *reply; /* of the call that is open; NULL: none yet */
	size_t sent;
	bool close_now;
};

void test_grpc_message(struct buf *out, struct span message)
{
	const unsigned char prefix[5] = {0, (unsigned char)(message.len >> 24), (unsigned char)(message.len >> 16),
		(unsigned char)(message.len >> 8), (unsigned char)message.len};
	buf_append(out, prefix, sizeof(prefix));
	buf_span(out, message);
}

/* ---- one call ---------------------------------------------------------------------- */

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static const char *digits_of(int number, char text[4])
{
	char *at = text;
	if (number >= 10)
		*at++ = (char)('0' + number / 10);
	*at++ = (char)('0' + number % 10);
	*at = '\0';
	return text;
}

static ssize_t read_reply(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct test_grpc *server = arg;
	const struct test_grpc_reply *reply = server->reply;
	size_t left = reply->messages.len - server->sent, part = left < room ? left : room;
	char status[4];
	(void)source;
	if (reply->frame_bytes > 0 && part > reply->frame_bytes)
		part = reply->frame_bytes;
	if (part > 0)
		memcpy(to, reply->messages.ptr + server->sent, part);
	server->sent += part;
	if (server->sent < reply->messages.len)
		return (ssize_t)part;
	if (reply->then == TEST_GRPC_END) {
		const nghttp2_nv trailers[] = {header("grpc-status", digits_of(reply->status, status)),
			header("grpc-message", reply->message ? reply->message : "")};
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, stream, trailers, ARRAY_SIZE(trailers));
		return (ssize_t)part;
	}
	server->close_now = reply->then == TEST_GRPC_CLOSE;
	return part > 0 ? (ssize_t)part : NGHTTP2_ERR_DEFERRED;
}

static void answer(struct test_grpc *server, int32_t stream)
{
	size_t number = __atomic_load_n(&server->calls, __ATOMIC_SEQ_CST);
	const struct test_grpc_reply *reply =
		&server->replies[number < server->reply_count ? number : server->reply_count - 1];
	const nghttp2_data_provider body = {.read_callback = read_reply};
	bool at_once = reply->then == TEST_GRPC_END && reply->messages.len == 0;
	char status[4];
	const nghttp2_nv headers[] = {header(":status", reply->http_status ? reply->http_status : "200"),
		header("content-type", "application/grpc"), header("grpc-status", digits_of(reply->status, status)),
		header("grpc-message", reply->message ? reply->message : "")};
	server->reply = reply;
	server->sent = 0;
	nghttp2_submit_response(
		server->session, stream, headers, at_once ? ARRAY_SIZE(headers) : 2, at_once ? NULL : &body);
	__atomic_add_fetch(&server->calls, 1, __ATOMIC_SEQ_CST);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
	const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct test_grpc *server = arg;
	size_t number = __atomic_load_n(&server->calls, __ATOMIC_SEQ_CST);
	(void)session, (void)frame, (void)flags;
	if (number < KEPT_PATHS && span_eq(span_of((const char *)name, name_len), SPAN(":path")))
		memcpy(server->paths[number], value, value_len < 63 ? value_len : 63);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct test_grpc *server = arg;
	(void)session;
	if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
		__atomic_add_fetch(&server->pings, 1, __ATOMIC_SEQ_CST);
	if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
		frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		answer(server, frame->hd.stream_id);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
	struct test_grpc *server = arg;
	(void)session, (void)flags, (void)stream, (void)data;
	__atomic_add_fetch(&server->request_bytes, len, __ATOMIC_SEQ_CST);
	return 0;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *arg)
{
	struct test_grpc *server = arg;
	(void)session, (void)flags;
	ssize_t sent = send(server->fd, data, len, MSG_NOSIGNAL);
	return sent >= 0 ? sent : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- one connection ------------------------------------------------------------------- */

static void new_session(struct test_grpc *server)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_server_new(&server->session, callbacks, server);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(server->session, NGHTTP2_FLAG_NONE, NULL, 0);
	server->reply = NULL;
	server->close_now = false;
	__atomic_store_n(&server->request_bytes, 0, __ATOMIC_SEQ_CST);
}

/* Returns false when the connection is over. */
static bool serve_some(struct test_grpc *server)
{
	uint8_t bytes[4096];
	ssize_t len = recv(server->fd, bytes, sizeof(bytes), 0);
	return len > 0 && nghttp2_session_mem_recv(server->session, bytes, (size_t)len) >= 0 &&
	       nghttp2_session_send(server->session) == 0 && !server->close_now;
}

/* Returns false when the server is to stop. */
static bool serve_connection(struct test_grpc *server)
{
	bool stop = false;
	new_session(server);
	nghttp2_session_send(server->session);
	for (bool open = true; open && !stop;) {
		bool deaf = server->reply && server->reply->then == TEST_GRPC_DEAF;
		struct pollfd fds[] = {{server->stop_fd, POLLIN, 0}, {server->fd, deaf ? 0 : POLLIN, 0}};
		poll(fds, 2, -1);
		stop = fds[0].revents != 0;
		if (!stop && fds[1].revents)
			open = !deaf && serve_some(server);
	}
	nghttp2_session_del(server->session);
	close(server->fd);
	return !stop;
}

static void *serve(void *arg)
{
	struct test_grpc *server = arg;
	for (bool on = true; on;) {
		struct pollfd fds[] = {{server->stop_fd, POLLIN, 0}, {server->listen_fd, POLLIN, 0}};
		poll(fds, 2, -1);
		on = fds[0].revents == 0;
		server->fd = on ? accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (server->fd >= 0)
			on = serve_connection(server);
	}
	return NULL;
}

struct test_grpc *test_grpc_start(const char *socket_path, const struct test_grpc_reply *replies, size_t count)
{
	struct test_grpc *server = calloc(1, sizeof(*server));
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	assert_non_null(server);
	assert_true(strlen(socket_path) < sizeof(address.sun_path));
	strcpy(address.sun_path, socket_path);
	strcpy(server->socket, socket_path);
	server->replies = replies;
	server->reply_count = count;
	server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	server->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(bind(server->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server->listen_fd, 8), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
	return server;
}

void test_grpc_stop(struct test_grpc *server)
{
	assert_int_equal(eventfd_write(server->stop_fd, 1), 0);
	pthread_join(server->thread, NULL);
	close(server->stop_fd);
	close(server->listen_fd);
	unlink(server->socket);
	free(server);
}

size_t test_grpc_calls(const struct test_grpc *server)
{
	return __atomic_load_n(&server->calls, __ATOMIC_SEQ_CST);
}

size_t test_grpc_pings(const struct test_grpc *server)
{
	return __atomic_load_n(&server->pings, __ATOMIC_SEQ_CST);
}

const char *test_grpc_path(const struct test_grpc *server, size_t number)
{
	return server->paths[number];
}

size_t test_grpc_request_bytes(const struct test_grpc *server)
{
	return __atomic_load_n(&server->request_bytes, __ATOMIC_SEQ_CST);
}
