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
	const char *listen;       /* "127.0.0.1:9465" */
	uint64_t max_connections; /* 8; per address 4 */
};
extern const struct option_table status_options_table;

struct status_request {
	struct span path;
	struct span query; /* value of ?name= by status_query */
	void *connection;
};
/* Value of a query parameter, or SPAN_NONE. */
struct span status_query(const struct status_request *request, const char *name);

struct status_reply {
	unsigned code;            /* 200 */
	const char *content_type; /* "text/plain; charset=utf-8" */
	struct buf body;
};

struct status_route {
	const char *path; /* exact; NULL ends the table */
	bool post;        /* POST (and PUT) only, else GET and HEAD only */
	/* Called in the server's thread. */
	void (*serve)(void *arg, const struct status_request *request, struct status_reply *reply);
};

struct status_server;
/* 0; -errno with err ("listen on 127.0.0.1:9465: Address already in use; set status.listen"). */
int status_start(const struct status_options *options, const struct status_route *routes, void *arg,
	struct status_server **ret_server, struct error *err);
void status_stop(struct status_server *server);
/* The port it got (listen with port 0: tests). */
uint16_t status_port(const struct status_server *server);
