/* The agent's HTTP server: a table of paths in front of libmicrohttpd.
 *
 * 1. status_start binds the socket itself, so that an error can name the address and the next step, 2. the library's
 * thread reads requests, 3. `handle` finds the route, has it fill a page and hands the page's memory to the library.
 *
 * Failure modes: whoever reaches the port may try to hold it. The library's time limit is one of idleness only, so a byte
 * every few seconds keeps a connection for ever; what protects the agent are the limits on connections (in all and for one
 * address) and on the memory of each. Request bodies are never read.
 */
#include "gleaner/status.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IDLE_TIMEOUT_S = 10,
	CONNECTION_BYTES = 16 << 10, /* request line and headers; above it the library answers 431 */
	PAGE_MAX_BYTES = 16 << 20,
};

struct status_server {
	const struct status_route *routes;
	void *arg;
	struct MHD_Daemon *daemon;
	uint16_t port;
};

/* ---- where to listen --------------------------------------------------------------- */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_storage storage;
};

static int parse_host(const char *host, uint16_t port, union address *ret_address)
{
	union address address = {0};
	if (inet_pton(AF_INET, host, &address.v4.sin_addr) == 1) {
		address.v4.sin_family = AF_INET;
		address.v4.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, host, &address.v6.sin6_addr) == 1) {
		address.v6.sin6_family = AF_INET6;
		address.v6.sin6_port = htons(port);
	} else {
		return -EINVAL;
	}
	*ret_address = address;
	return 0;
}

/* "127.0.0.1:9465", "[::1]:9465". No names: what a name means can change under a running agent. */
static int parse_listen(const char *listen_on, union address *ret_address)
{
	struct span text = span_str(listen_on);
	const char *colon = strrchr(listen_on, ':');
	uint64_t port = 0;
	if (!colon || span_to_u64(span_str(colon + 1), &port) < 0 || port > UINT16_MAX)
		return -EINVAL;
	struct span host = span_of(text.ptr, (size_t)(colon - text.ptr));
	bool bracketed = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
	if (bracketed)
		host = span_of(host.ptr + 1, host.len - 2);

	char copy[INET6_ADDRSTRLEN];
	if (host.len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, host.ptr, host.len);
	copy[host.len] = '\0';
	bool has_colon = strchr(copy, ':') != NULL;
	return bracketed == has_colon ? parse_host(copy, (uint16_t)port, ret_address) : -EINVAL;
}

static int bad_listen(const char *listen_on, struct error *err)
{
	return error_set(err, EINVAL, "\"%s\" is not IP:PORT or [IPv6]:PORT", listen_on);
}

static int check_options(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	(void)arena;
	const struct status_options *options = object;
	union address address;
	if (parse_listen(options->listen, &address) == 0)
		return 0;
	*ret_key = "listen";
	return bad_listen(options->listen, err);
}

const struct option_table status_options_table = {
	.name = "status",
	.help = "The agent's own HTTP server: metrics, health, targets.",
	.size = sizeof(struct status_options),
	.options =
		(const struct option[]){
			{.name = "enabled",
				.kind = OPTION_BOOL,
				.offset = offsetof(struct status_options, enabled),
				.value = "true",
				.help = "Whether to serve at all."},
			{.name = "listen",
				.kind = OPTION_STRING,
				.offset = offsetof(struct status_options, listen),
				.value = "127.0.0.1:9465",
				.help = "IP:PORT or [IPv6]:PORT to listen on; whoever reaches it can read the names of "
					"all targets and reload the configuration."},
			{.name = "max_connections",
				.kind = OPTION_COUNT,
				.offset = offsetof(struct status_options, max_connections),
				.value = "8",
				.min = 2,
				.max = 1024,
				.help = "Connections served at the same time; one address gets half of them."},
			{0},
		},
	.check = check_options,
};

static int open_listener(const union address *address, uint16_t *ret_port)
{
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int one = 1;
	union address bound;
	socklen_t size = sizeof(bound);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, &address->any, sizeof(*address)) < 0 || listen(fd, 64) < 0 ||
		getsockname(fd, &bound.any, &size) < 0) {
		int code = -errno;
		close(fd);
		return code;
	}
	*ret_port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
	return fd;
}

/* ---- one request ------------------------------------------------------------------- */

struct span status_query(const struct status_request *request, const char *name)
{
	const char *value = NULL;
	size_t len = 0;
	if (MHD_lookup_connection_value_n(
		    request->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, &len) != MHD_YES)
		return SPAN_NONE;
	return value ? span_of(value, len) : SPAN("");
}

static bool method_allowed(const struct status_route *route, const char *method)
{
	if (route->post)
		return strcmp(method, MHD_HTTP_METHOD_POST) == 0 || strcmp(method, MHD_HTTP_METHOD_PUT) == 0;
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

static const char *allowed_methods(const struct status_route *route)
{
	return route->post ? "POST, PUT" : "GET, HEAD";
}

static const struct status_route *find_route(const struct status_route *routes, const char *path)
{
	while (routes->path && strcmp(routes->path, path) != 0)
		routes++;
	return routes->path ? routes : NULL;
}

static void say_not_found(const struct status_route *routes, struct status_reply *reply)
{
	reply->code = MHD_HTTP_NOT_FOUND;
	buf_str(&reply->body, "no such page; there are:\n");
	for (; routes->path; routes++)
		buf_printf(&reply->body, "  %-9s %s\n", allowed_methods(routes), routes->path);
}

static void say_method_not_allowed(const struct status_route *route, struct status_reply *reply)
{
	reply->code = MHD_HTTP_METHOD_NOT_ALLOWED;
	buf_printf(&reply->body, "%s takes %s\n", route->path, allowed_methods(route));
}

/* The page's memory becomes the library's. */
static struct MHD_Response *response_of(struct status_reply *reply)
{
	static char failed[] = "the page did not fit into memory\n";
	struct MHD_Response *response;
	if (reply->body.failed || reply->body.len == 0) {
		bool empty = !reply->body.failed;
		buf_done(&reply->body);
		reply->code = empty ? reply->code : MHD_HTTP_INTERNAL_SERVER_ERROR;
		return MHD_create_response_from_buffer(empty ? 0 : strlen(failed), failed, MHD_RESPMEM_PERSISTENT);
	}
	response = MHD_create_response_from_buffer(reply->body.len, reply->body.ptr, MHD_RESPMEM_MUST_FREE);
	if (!response)
		buf_done(&reply->body);
	return response;
}

static enum MHD_Result send_reply(
	struct MHD_Connection *connection, struct status_reply *reply, const struct status_route *refused)
{
	struct MHD_Response *response = response_of(reply);
	if (!response)
		return MHD_NO; /* closes the connection */
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff"); /* pages quote what pods wrote */
	if (refused)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allowed_methods(refused));
	enum MHD_Result result = MHD_queue_response(connection, reply->code, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer(
	const struct status_server *server, struct MHD_Connection *connection, const char *path, const char *method)
{
	struct status_request request = {.path = span_str(path), .connection = connection};
	struct status_reply reply = {.code = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
	buf_init(&reply.body, PAGE_MAX_BYTES);

	const struct status_route *route = find_route(server->routes, path);
	bool allowed = route && method_allowed(route, method);
	if (!route)
		say_not_found(server->routes, &reply);
	else if (!allowed)
		say_method_not_allowed(route, &reply);
	else
		route->serve(server->arg, &request, &reply);
	return send_reply(connection, &reply, route && !allowed ? route : NULL);
}

static bool announces_body(struct MHD_Connection *connection)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH) ||
	       MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

/* The library calls this when the headers are there, and again when the request is complete (*state tells which). An answer
 * to the first call closes the connection: right when a body would follow, else the second keeps it open. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
	const char *version, const char *upload, size_t *upload_bytes, void **state)
{
	(void)version, (void)upload, (void)upload_bytes;
	if (!*state && !announces_body(connection)) {
		*state = arg;
		return MHD_YES;
	}
	return answer(arg, connection, path, method);
}

/* ---- life cycle ---------------------------------------------------------------------- */

/* The library's thread starts with all signals blocked: they belong to the loop. */
static struct MHD_Daemon *start_daemon(struct status_server *server, int fd, unsigned connections)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, handle, server,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (connections + 1) / 2, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return daemon;
}

static int start_on(struct status_server *server, const struct status_options *options, struct error *err)
{
	union address address;
	if (parse_listen(options->listen, &address) < 0)
		return bad_listen(options->listen, err);
	int fd = open_listener(&address, &server->port);
	if (fd < 0)
		return error_set(err, -fd, "listen on %s: %s; set status.listen", options->listen, strerror(-fd));
	/* On failure the library has closed the socket in some cases and not in others; one lost descriptor of a start
	 * that failed is better than closing somebody else's. */
	server->daemon = start_daemon(server, fd, (unsigned)options->max_connections);
	return server->daemon ? 0 : error_set(err, ENOMEM, "start the thread of the status server");
}

int status_start(const struct status_options *options, const struct status_route *routes, void *arg,
	struct status_server **ret_server, struct error *err)
{
	struct status_server *server = calloc(1, sizeof(*server));
	if (!server)
		return error_set(err, ENOMEM, "out of memory");
	server->routes = routes;
	server->arg = arg;
	int result = start_on(server, options, err);
	if (result < 0) {
		free(server);
		return result;
	}
	*ret_server = server;
	return 0;
}

void status_stop(struct status_server *server)
{
	if (!server)
		return;
	MHD_stop_daemon(server->daemon);
	free(server);
}

uint16_t status_port(const struct status_server *server)
{
	return server->port;
}
