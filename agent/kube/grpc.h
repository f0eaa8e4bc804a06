/* One gRPC call over an AF_UNIX socket, on the event loop. nghttp2 lives behind this and nowhere else.
 *
 * HTTP/2 with prior knowledge; a call has a connection of its own, which ends with it. A unary call is a stream of one message.
 * Messages are never compressed: we do not offer it, and a compressed one is an error.
 */
#pragma once

#include "gleaner/loop.h"

enum grpc_status {
	GRPC_OK = 0,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_UNAUTHENTICATED = 16,
};

struct grpc_call;

struct grpc_result {
	/* grpc-status as the server said it; negative when it said none: -ETIMEDOUT, -ECONNRESET (the connection or stream broke), -EPROTO,
	 * -EMSGSIZE (a message above the ceiling), -ENOMEM, or what on_message returned. */
	int code;
	struct error error; /* set unless GRPC_OK: for people */
};

struct grpc_request {
	const char *socket;  /* path; copied by the call, as all here */
	const char *method;  /* "/v1alpha1.Pods/WatchPods"; a literal */
	struct span message; /* protobuf; at most 64 KiB */
	size_t max_message_bytes;
	uint64_t first_timeout_ns; /* until the first message, or the end */
	/* A stream that was quiet for so long is asked whether it lives (PING; Go's servers take one each 5 minutes), and has
	 * ping_timeout_ns to say so. 0: never. */
	uint64_t ping_interval_ns, ping_timeout_ns;
	/* One message, borrowed. Negative ends the call with that code. The call must not be cancelled in here. */
	int (*on_message)(void *arg, struct span message);
	/* The end, exactly once unless cancelled. The call is gone already; new ones may be started. */
	void (*on_done)(void *arg, const struct grpc_result *result);
	void *arg;
};
/* 0; what connect(2) says (-ENOENT, -EACCES, -ECONNREFUSED, ...), -ENAMETOOLONG, -ENOMEM; all with err, and without on_done. */
int grpc_start(struct loop *loop, const struct grpc_request *request, struct grpc_call **ret_call, struct error *err);
/* No callback comes any more. NULL is fine. */
void grpc_cancel(struct grpc_call *call);
