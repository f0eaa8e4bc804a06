/* A scripted gRPC server on an AF_UNIX socket in a thread of its own, for tests of clients. One client at a time.
 *
 * After test_grpc_start the thread allocates nothing of ours, so that out-of-memory loops count their own allocations only.
 */
#pragma once

#include "gleaner/base.h"

enum test_grpc_then {
	TEST_GRPC_END,   /* trailers with `status` */
	TEST_GRPC_STAY,  /* the stream stays open */
	TEST_GRPC_CLOSE, /* the connection is closed behind the messages */
	TEST_GRPC_DEAF,  /* stays open, and nothing is read any more: no ping is answered */
};

/* The answer to one call; calls of all connections take the replies in order, the last one repeats. */
struct test_grpc_reply {
	struct span messages; /* as they go out, with their prefixes; see test_grpc_message */
	size_t frame_bytes;   /* of a DATA frame at most; 0: as many as fit */
	enum test_grpc_then then;
	int status; /* grpc-status; TEST_GRPC_END without messages: in the headers, as Go's server does */
	const char *message;
	const char *http_status; /* NULL: "200" */
};

/* Appends a message with its prefix. */
void test_grpc_message(struct buf *out, struct span message);

struct test_grpc;
/* replies live as long as the server. */
struct test_grpc *test_grpc_start(const char *socket, const struct test_grpc_reply *replies, size_t count);
void test_grpc_stop(struct test_grpc *server); /* and unlinks the socket */
size_t test_grpc_calls(const struct test_grpc *server);
size_t test_grpc_pings(const struct test_grpc *server);
/* :path of the number-th call (from 0); the first 64 are kept. */
const char *test_grpc_path(const struct test_grpc *server, size_t number);
/* Bytes of the request's body of the last call. */
size_t test_grpc_request_bytes(const struct test_grpc *server);
