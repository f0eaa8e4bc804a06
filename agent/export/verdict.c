/* The status table of OTLP/HTTP (docs: reliability, "OTLP delivery"; OTLP specification, "Failures").
 *
 *   2xx                           delivered; the body may reject points (partial success)
 *   200 that does not speak OTLP  retry: a mis-routed answer must not eat everything in silence
 *   3xx                           retry: never followed, headers are secrets
 *   429, 502, 503, 504            retry, Retry-After honoured
 *   other 4xx                     refused
 *   other 5xx, anything else      retry three times, then refused
 *   no response                   retry; a duplicate does no harm
 */
#include "verdict.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define MAX_RETRY_AFTER_NS (600 * NS_PER_SEC)

/* ---- responses ------------------------------------------------------------------------ */

static bool media_type_is(struct span content_type, struct span type)
{
	struct span media;
	return span_next(&content_type, ';', &media) && span_eq_nocase(span_trim(media), type);
}

static bool is_protobuf(struct span content_type)
{
	return media_type_is(content_type, SPAN("application/x-protobuf")) ||
	       media_type_is(content_type, SPAN("application/protobuf"));
}

static void judge_success(const struct http_response *response, struct span body, struct judgement *judgement)
{
	struct otlp_response otlp;
	judgement->verdict = VERDICT_DELIVERED;
	if (body.len == 0 || media_type_is(response->content_type, SPAN("application/json")))
		return;
	if (response->status == 200 && !is_protobuf(response->content_type)) {
		judgement->verdict = VERDICT_RETRY;
		error_set(&judgement->text, 0, "HTTP 200 with content type \"%s\": not an OTLP endpoint",
			escape_bytes(response->content_type).text);
	} else if (otlp_response_read(body, &otlp) < 0) {
		error_set(&judgement->text, 0, "HTTP %u, but the response is no OTLP", response->status);
	} else if (otlp.rejected > 0 || otlp.message[0]) {
		judgement->rejected_points = otlp.rejected;
		error_set(&judgement->text, 0, "partial success, %llu points rejected: %s",
			(unsigned long long)otlp.rejected, otlp.message);
	}
}

/* One byte tag and a length below 16384: what is needed of google.rpc.Status { int32 code = 1; string message = 2; }. */
static struct span status_message(struct span body)
{
	size_t at = 0;
	if (body.len > 0 && body.ptr[0] == 0x08) {
		for (at = 1; at < body.len && (body.ptr[at] & 0x80); at++)
			;
		at++;
	}
	if (at + 2 > body.len || body.ptr[at] != 0x12)
		return SPAN_NONE;
	size_t len = (unsigned char)body.ptr[at + 1];
	at += 2;
	if (len & 0x80) {
		if (at >= body.len)
			return SPAN_NONE;
		len = (len & 0x7f) | (size_t)(unsigned char)body.ptr[at++] << 7;
	}
	return span_of(body.ptr + at, len < body.len - at ? len : body.len - at);
}

/* What to do about a status that waiting does not cure. */
static const char *advice(unsigned status)
{
	if (status / 100 == 3)
		return " (redirects are not followed; set the endpoint that it leads to)";
	switch (status) {
	case 401:
	case 403:
		return " (credentials are set by exporters.otlphttp.headers)";
	case 404:
	case 405:
		return " (/v1/metrics is appended to exporters.otlphttp.endpoint, to metrics_endpoint nothing)";
	case 413:
		return " (scrape.batch_bytes makes batches smaller)";
	default:
		return "";
	}
}

static void describe_status(const struct http_response *response, struct span body, struct error *text)
{
	const char *name = http_status_text(response->status);
	struct span message = is_protobuf(response->content_type) ? status_message(body) : span_trim(body);
	error_set(text, 0, "HTTP %u%s%s%s%s%s", response->status, name[0] ? " " : "", name, advice(response->status),
		message.len ? ": " : "", escape_bytes(message).text);
}

static enum verdict verdict_of_status(unsigned status)
{
	if (status == 429 || status == 502 || status == 503 || status == 504 || status / 100 == 3)
		return VERDICT_RETRY;
	return status / 100 == 4 ? VERDICT_REFUSED : VERDICT_LIMITED;
}

bool verdict_is_answer(const struct http_response *response)
{
	return response->status != 0 && (response->failure == HTTP_OK || response->failure == HTTP_BODY_LIMIT);
}

void verdict_judge(const struct http_response *response, struct span body, struct judgement *ret_judgement)
{
	*ret_judgement = (struct judgement){.verdict = VERDICT_RETRY};
	if (!verdict_is_answer(response)) {
		ret_judgement->text = response->error;
	} else if (response->status / 100 == 2) {
		judge_success(response, body, ret_judgement);
	} else {
		ret_judgement->verdict = verdict_of_status(response->status);
		describe_status(response, body, &ret_judgement->text);
	}
}

/* ---- waits ---------------------------------------------------------------------------- */

uint64_t verdict_retry_after_ns(struct span retry_after, uint64_t now_wall_ns)
{
	uint64_t wait_ns = 0, seconds;
	int result = span_to_u64(retry_after, &seconds);
	if (result == 0) {
		wait_ns = seconds < MAX_RETRY_AFTER_NS / NS_PER_SEC ? seconds * NS_PER_SEC : MAX_RETRY_AFTER_NS;
	} else if (result == -ERANGE) {
		wait_ns = MAX_RETRY_AFTER_NS;
	} else {
		struct tm tm = {.tm_year = 0};
		char text[64];
		snprintf(text, sizeof(text), "%.*s", SPAN_ARGS(retry_after));
		const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
		time_t at = end && *end == '\0' ? timegm(&tm) : 0;
		uint64_t now = now_wall_ns / NS_PER_SEC;
		if (at > 0 && (uint64_t)at > now)
			wait_ns = (uint64_t)at - now < 600 ? ((uint64_t)at - now) * NS_PER_SEC : MAX_RETRY_AFTER_NS;
	}
	return wait_ns;
}

uint64_t verdict_wait_ns(
	const struct export_retry_options *retry, uint64_t failures, uint64_t retry_after_ns, struct rng *rng)
{
	if (retry_after_ns > 0)
		return retry_after_ns + rng_below(rng, retry_after_ns / 10 + 1);
	uint64_t bound = retry->initial_ns;
	if (failures <= 1)
		return bound / 2 + rng_below(rng, bound / 2 + 1);
	for (uint64_t i = 1; i < failures && bound < retry->max_ns; i++)
		bound *= 2;
	return rng_below(rng, (bound < retry->max_ns ? bound : retry->max_ns) + 1);
}
