/* status: the agent's own HTTP server. libmicrohttpd lives here and nowhere else.
 *
 * One thread of the core process, bound to loopback by default. It serves a fixed table of
 * paths; what a page says is the business of who wrote the table. GET and HEAD only, but for routes marked `post`.
 */
#pragma once

#include "gleaner/option.h"

/* The status: object. */
struct status_options {
	bool enabled;
	const char *listen;       /* IP:PORT or [IPv6]:PORT; "127.0.0.1:9465" */
	uint64_t max_connections; /* 8; half as many for one address */
};
extern const struct option_table status_options_table;

struct status_request {
	struct span path; /* decoded, without the query */
	void *connection; /* the library's; for status_query */
};
/* Decoded value of a query parameter ("" for `?name`), or SPAN_NONE. Lives as long as the request. */
struct span status_query(const struct status_request *request, const char *name);

struct status_reply {
	/* All three are set to these before `serve` is called. */
	unsigned code;            /* 200 */
	const char *content_type; /* "text/plain; charset=utf-8" */
	struct buf body;          /* empty, at most 16 MiB; when it failed the answer is a 500 */
};

struct status_route {
	const char *path; /* exact; NULL ends the table */
	bool post;        /* POST (and PUT) only, else GET and HEAD only */
	/* Called in the server's thread. */
	void (*serve)(void *arg, const struct status_request *request, struct status_reply *reply);
};

struct status_server;
/* routes and arg must outlive the server; the options need not. Port 0 takes any free one.
 * 0; -errno with err ("listen on 127.0.0.1:9465: Address already in use; set status.listen"). */
int status_start(const struct status_options *options, const struct status_route *routes, void *arg,
	struct status_server **ret_server, struct error *err);
/* Returns when no `serve` runs any more. NULL is fine. */
void status_stop(struct status_server *server);
/* The port it listens on. */
uint16_t status_port(const struct status_server *server);
