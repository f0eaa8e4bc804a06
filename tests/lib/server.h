/* A scripted HTTP server on 127.0.0.1 in a thread of its own, for tests of clients; it can misbehave in the ways that real ones do.
 * And certificates for it, made on the spot.
 *
 * After test_server_start the thread allocates nothing, so that out-of-memory loops count their own allocations only.
 */
#pragma once

#include "gleaner/base.h"

enum test_then { TEST_KEEP, TEST_CLOSE, TEST_RESET };

/* The answer to one request; requests of all connections take the replies in order, the last one repeats. */
struct test_reply {
	const char *bytes;   /* as they go out, status line included; NULL: none */
	size_t len;          /* 0: strlen(bytes) */
	size_t piece;        /* bytes a write; 0: all at once */
	enum test_then then; /* what happens to the connection afterwards; a hang is bytes NULL and TEST_KEEP */
};

/* PEM texts. */
struct test_certificate {
	char cert[4096], key[2048];
};
/* A P-256 certificate whose subject is CN=name and whose alternative name is `alt` ("DNS:node-a", "IP:127.0.0.1"); signed by issuer, or
 * by itself (a CA then) when issuer is NULL. */
void test_certificate_make(const char *name, const char *alt, const struct test_certificate *issuer,
	struct test_certificate *ret_certificate);

struct test_server;
/* tls: serve https with it; NULL: http. client_ca: a PEM certificate that clients must have been signed by, or NULL.
 * replies and tls live as long as the server. */
struct test_server *test_server_start(
	const struct test_reply *replies, size_t count, const struct test_certificate *tls, const char *client_ca);
void test_server_stop(struct test_server *server);
uint16_t test_server_port(const struct test_server *server);
/* http://127.0.0.1:port + path, until the server is stopped; one at a time. */
const char *test_server_url(struct test_server *server, const char *path);
/* A new connected socket to it, as a core process would pass one. */
int test_server_connect(const struct test_server *server);
size_t test_server_requests(const struct test_server *server);
size_t test_server_connections(const struct test_server *server);
/* Head and body of the number-th request (from 0); the first 64 of them are kept. */
struct span test_server_request(const struct test_server *server, size_t number);
/* Closes the connections that are open now, as a server does that is tired of idle ones; returns when they are closed. */
void test_server_hang_up(struct test_server *server);
/* A port of 127.0.0.1 that nothing listens on. */
uint16_t test_closed_port(void);
