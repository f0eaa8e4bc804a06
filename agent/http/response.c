/* The response: bytes are counted where they come in, because libcurl's own limits hold only for a declared length;
 * and how a call ended is turned into a kind of failure and a sentence for people.
 */
#include "call.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

enum { DEFAULT_MAX_HEADER_BYTES = 32 * 1024 };

const char *http_failure_name(enum http_failure failure)
{
	static const char *const names[] = {"ok", "need_socket", "connect", "timeout", "tls", "tls_verify",
		"body_limit", "header_limit", "protocol", "refused", "other"};
	return (size_t)failure < ARRAY_SIZE(names) ? names[failure] : "other";
}

/* ---- while it comes in ------------------------------------------------------------ */

static size_t max_header_bytes(const struct http_call *call)
{
	return call->request.max_header_bytes ? call->request.max_header_bytes : DEFAULT_MAX_HEADER_BYTES;
}

/* The first one of its name counts, as with Go's Header.Get. */
static void keep_value(struct span line, const char *name, char *text, size_t size, struct span *value)
{
	size_t len = strlen(name);
	if (value->ptr || line.len <= len || line.ptr[len] != ':' || strncasecmp(line.ptr, name, len) != 0)
		return;
	struct span found = span_trim(span_of(line.ptr + len + 1, line.len - len - 1));
	if (found.len > size)
		found.len = size;
	memcpy(text, found.ptr, found.len);
	*value = span_of(text, found.len);
}

static void forget_headers(struct http_response *response)
{
	response->content_type = response->content_encoding = response->retry_after = SPAN_NONE;
}

/* The empty line behind the headers. False: the caller does not want the body. */
static bool headers_complete(struct http_call *call)
{
	long status = 0;
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	call->response.status = (unsigned)status;
	if (status < 200 && status != 101)
		return true; /* an interim response; another one follows */
	call->headers_done = true;
	return !call->request.on_headers || call->request.on_headers(call->request.arg, &call->response) >= 0;
}

/* One whole line, also of interim responses and of trailers. */
static size_t header_line(char *bytes, size_t size, size_t count, void *arg)
{
	struct http_call *call = arg;
	struct http_response *response = &call->response;
	struct span line = span_of(bytes, size * count);
	loop_timer_cancel(call->first_byte_timer);
	call->header_bytes += line.len;
	if (call->header_bytes > max_header_bytes(call)) {
		call->verdict = HTTP_HEADER_LIMIT;
		return 0;
	}
	if (call->headers_done)
		return line.len;
	if (span_starts_with(line, SPAN("HTTP/")))
		forget_headers(response);
	keep_value(line, "content-type", call->content_type, sizeof(call->content_type), &response->content_type);
	keep_value(line, "content-encoding", call->content_encoding, sizeof(call->content_encoding),
		&response->content_encoding);
	keep_value(line, "retry-after", call->retry_after, sizeof(call->retry_after), &response->retry_after);
	if (span_trim(line).len == 0 && !headers_complete(call)) {
		call->verdict = HTTP_REFUSED;
		return 0;
	}
	return line.len;
}

static size_t body_piece(char *bytes, size_t size, size_t count, void *arg)
{
	struct http_call *call = arg;
	struct span piece = span_of(bytes, size * count);
	if (piece.len > call->request.max_body_bytes - call->response.body_bytes) {
		call->verdict = HTTP_BODY_LIMIT;
		return 0;
	}
	call->response.body_bytes += piece.len;
	if (call->request.on_body && call->request.on_body(call->request.arg, piece) < 0) {
		call->verdict = HTTP_REFUSED;
		return 0;
	}
	return piece.len;
}

int http_response_prepare(struct http_call *call)
{
	CURLcode code = 0;
	code |= curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, header_line);
	code |= curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
	code |= curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, body_piece);
	code |= curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
	return code == CURLE_OK ? 0 : -ENOMEM;
}

void http_response_begin(struct http_call *call)
{
	call->response = (struct http_response){.failure = HTTP_OK};
	call->verdict = HTTP_OK;
	call->first_byte_late = call->headers_done = call->sending = false;
	call->header_bytes = 0;
}

/* ---- the end ---------------------------------------------------------------------- */

static uint64_t info_ns(CURL *easy, CURLINFO info)
{
	curl_off_t us = 0;
	curl_easy_getinfo(easy, info, &us);
	return us > 0 ? (uint64_t)us * 1000 : 0;
}

static bool was_reused(CURL *easy)
{
	long connects = 0;
	curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
	return connects == 0;
}

/* libcurl's sentence; it may quote bytes of the peer. The first one counts, and of a connection that was reset at once that
 * is a complaint about getpeername. */
static struct escaped curl_text(const struct http_call *call, CURLcode code)
{
	bool useless = call->curl_error[0] == '\0' || strncmp(call->curl_error, "getpeername()", 13) == 0;
	const char *text = useless ? curl_easy_strerror(code) : call->curl_error;
	return escape_bytes(span_trim(span_str(text)));
}

static enum http_failure connect_failed(struct http_call *call, CURLcode code)
{
	struct error *err = &call->response.error;
	long number = 0;
	char reason[64];
	curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &number);
	if (number == 0)
		error_set(err, 0, "connect to %s:%s: %s", call->host, call->port, curl_text(call, code).text);
	else
		error_set(err, 0, "connect to %s:%s: %s", call->host, call->port,
			strerror_r((int)number, reason, sizeof(reason)));
	return HTTP_CONNECT;
}

static enum http_failure timed_out(struct http_call *call)
{
	struct error *err = &call->response.error;
	const struct http_request *request = &call->request;
	if (call->first_byte_late) {
		error_set(err, 0, "no answer within %s", duration_format(request->first_byte_timeout_ns).text);
	} else if (!was_reused(call->easy) && info_ns(call->easy, CURLINFO_CONNECT_TIME_T) == 0) {
		uint64_t limit_ns = request->connect_timeout_ns ? request->connect_timeout_ns : request->timeout_ns;
		error_set(err, 0, "connect to %s:%s: no answer within %s", call->host, call->port,
			duration_format(limit_ns).text);
		return HTTP_CONNECT;
	} else if (call->header_bytes == 0) {
		error_set(err, 0, "no answer within %s", duration_format(request->timeout_ns).text);
	} else {
		error_set(err, 0, "response not complete within %s (%llu bytes of body came)",
			duration_format(request->timeout_ns).text, (unsigned long long)call->response.body_bytes);
	}
	return HTTP_TIMEOUT;
}

/* The value of "Name:value" among what libcurl noted of the peer's own certificate. */
static const char *certificate_field(const struct curl_certinfo *info, const char *name)
{
	size_t len = strlen(name);
	for (const struct curl_slist *line = info->num_of_certs > 0 ? info->certinfo[0] : NULL; line; line = line->next)
		if (strncmp(line->data, name, len) == 0 && line->data[len] == ':')
			return line->data + len + 1;
	return NULL;
}

static enum http_failure verify_failed(struct http_call *call, CURLcode code)
{
	const struct http_tls *tls = call->request.tls;
	struct curl_certinfo *info = NULL;
	const char *names = NULL;
	curl_easy_getinfo(call->easy, CURLINFO_CERTINFO, &info);
	if (info && strstr(call->curl_error, "target host name")) {
		names = certificate_field(info, "X509v3 Subject Alternative Name");
		names = names ? names : certificate_field(info, "Subject");
	}
	if (names)
		error_set(&call->response.error, 0, "TLS: certificate is for %s, not %s",
			escape_bytes(span_str(names)).text, tls && tls->server_name ? tls->server_name : call->host);
	else
		error_set(&call->response.error, 0, "TLS: %s", curl_text(call, code).text);
	return HTTP_TLS_VERIFY;
}

static enum http_failure cut_off(struct http_call *call, CURLcode code)
{
	struct error *err = &call->response.error;
	/* A client certificate that the peer does not like shows only after the handshake (TLS 1.3). */
	if (strstr(call->curl_error, "SSL") && strstr(call->curl_error, "alert")) {
		error_set(err, 0, "TLS: %s", curl_text(call, code).text);
		return HTTP_TLS;
	}
	if (call->headers_done)
		error_set(err, 0, "response cut off after %llu bytes of body: %s",
			(unsigned long long)call->response.body_bytes, curl_text(call, code).text);
	else
		error_set(err, 0, "no response: %s", curl_text(call, code).text);
	return HTTP_PROTOCOL;
}

static enum http_failure headers_too_large(struct http_call *call)
{
	error_set(&call->response.error, 0, "headers larger than %zu bytes", max_header_bytes(call));
	return HTTP_HEADER_LIMIT;
}

static enum http_failure own_verdict(struct http_call *call)
{
	struct error *err = &call->response.error;
	if (call->verdict == HTTP_HEADER_LIMIT)
		return headers_too_large(call);
	if (call->verdict == HTTP_BODY_LIMIT)
		error_set(err, 0, "body larger than %zu bytes", call->request.max_body_bytes);
	else
		error_set(err, 0, "response refused");
	return call->verdict;
}

static enum http_failure need_socket(struct http_call *call)
{
	error_set(&call->response.error, 0, "no connection to %s:%s", call->host, call->port);
	return HTTP_NEED_SOCKET;
}

/* A kept connection that died before a byte of the response: libcurl tries again by itself where it notices in time. */
static bool is_stale(const struct http_call *call, CURLcode code)
{
	bool broken = code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING;
	return broken && call->header_bytes == 0 && !call->http->options.dials && was_reused(call->easy);
}

static enum http_failure judge(struct http_call *call, CURLcode code)
{
	if (call->verdict != HTTP_OK)
		return own_verdict(call);
	if (call->socket_refused || is_stale(call, code))
		return need_socket(call);
	switch (code) {
	case CURLE_OK:
		return HTTP_OK;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
		return connect_failed(call, code);
	case CURLE_OPERATION_TIMEDOUT:
		return timed_out(call);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		if (strstr(call->curl_error, "wrong version number"))
			error_set(&call->response.error, 0,
				"TLS: the answer is not TLS; is it http:// that is served there?");
		else
			error_set(&call->response.error, 0, "TLS: %s", curl_text(call, code).text);
		return HTTP_TLS;
	case CURLE_PEER_FAILED_VERIFICATION:
		return verify_failed(call, code);
	case CURLE_OUT_OF_MEMORY:
		/* What libcurl also says of a single header line above 100 KB. */
		if (!call->headers_done)
			return headers_too_large(call);
		break;
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: no status line */
	case CURLE_BAD_CONTENT_ENCODING: /* of a Transfer-Encoding */
	case CURLE_WRITE_ERROR:          /* as this */
		return cut_off(call, code);
	default:
		break;
	}
	error_set(&call->response.error, 0, "%s", curl_text(call, code).text);
	return HTTP_OTHER;
}

void http_response_judge(struct http_call *call, CURLcode code)
{
	struct http_response *response = &call->response;
	response->failure = judge(call, code);
	response->connect_ns = info_ns(call->easy, CURLINFO_APPCONNECT_TIME_T);
	if (response->connect_ns == 0)
		response->connect_ns = info_ns(call->easy, CURLINFO_CONNECT_TIME_T);
	response->first_byte_ns = info_ns(call->easy, CURLINFO_STARTTRANSFER_TIME_T);
	response->total_ns = info_ns(call->easy, CURLINFO_TOTAL_TIME_T);
	response->reused_connection = response->failure != HTTP_NEED_SOCKET && was_reused(call->easy);
}
