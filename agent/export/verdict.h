/* verdict: what a response means for the record that was sent, and how long to wait before the next attempt. No I/O. */
#pragma once

#include "gleaner/export.h"

enum verdict {
	VERDICT_DELIVERED, /* accepted, wholly or partly */
	VERDICT_RETRY,     /* the same bytes again, without end */
	VERDICT_LIMITED,   /* again, but not for ever: a permanent error and a passing one look the same (500) */
	VERDICT_REFUSED,   /* for good: this record is not wanted */
};
enum { VERDICT_LIMITED_RETRIES = 3 };

struct judgement {
	enum verdict verdict;
	uint64_t rejected_points; /* delivered: not taken by the gateway */
	struct error text;        /* for people; "" when there is nothing to say */
};

/* A whole status line and headers came, and of the body what we read of any. */
bool verdict_is_answer(const struct http_response *response);
/* body: of the response, at most EXPORT_RESPONSE_BYTES of it. */
enum { EXPORT_RESPONSE_BYTES = 64 * 1024 };
void verdict_judge(const struct http_response *response, struct span body, struct judgement *ret_judgement);

/* Retry-After: seconds or an HTTP date, at most 600 s; 0 when there is none or it is garbage or past. */
uint64_t verdict_retry_after_ns(struct span retry_after, uint64_t now_wall_ns);
/* The wait before attempt number `failures` + 1: U(0.5, 1) of initial at first, then U(0, d) with d doubled every time, at most max.
 * A Retry-After is waited out, and up to 10 % more. */
uint64_t verdict_wait_ns(
	const struct export_retry_options *retry, uint64_t failures, uint64_t retry_after_ns, struct rng *rng);
