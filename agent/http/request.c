/* The request: how an easy handle is set up. What never changes is set once (http_call_prepare), the rest for every call.
 *
 * Names and sockets. Connections are kept by the URL's host and port. Two things bend where libcurl connects to, both with
 * CONNECT_TO, which leaves that key, the Host header, SNI and the verified name alone:
 *   - tls.server_name takes the host's place in the URL, and CONNECT_TO leads to the real one;
 *   - a client that does not dial must not resolve either, so a host that is no IP literal leads to a dummy address;
 *     the socket that it would belong to is passed in, or the call ends with HTTP_NEED_SOCKET.
 *
 * A passed socket and connect(2). libcurl 7.88 calls connect() even for a socket that is declared connected, and takes
 * EISCONN for a failure (8.0 does not). But Linux answers 0 to the *second* connect() of a socket whose first one was
 * non-blocking, if nothing but poll and SO_ERROR happened in between: that is why http_request.connected_fd asks for
 * such a socket. The address given is not looked at then. A seccomp filter may answer EINPROGRESS instead.
 */
#include "call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum {
	RECEIVE_BUFFER_BYTES = 64 * 1024, /* 25 -> 20 us for a body of 20 KB */
	PEER_DEAD_MS = 20 * 1000,         /* TCP_USER_TIMEOUT */
	MAX_HEADER_NAME = 254,
};
#define DEFAULT_MAX_IDLE_NS (300 * NS_PER_SEC)

/* ---- sockets ------------------------------------------------------------------- */

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_call *call = arg;
	(void)purpose;
	if (call->fd >= 0) {
		int fd = call->fd;
		call->fd = -1;
		call->passed = true;
		return fd;
	}
	if (!call->http->options.dials) {
		call->socket_refused = true;
		return CURL_SOCKET_BAD;
	}
	/* CLOEXEC: the process starts children. */
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	unsigned peer_dead_ms = PEER_DEAD_MS;
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &peer_dead_ms, sizeof(peer_dead_ms));
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int socket_opened(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	struct http_call *call = arg;
	(void)fd;
	(void)purpose;
	bool passed = call->passed;
	call->passed = false;
	return passed ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

void http_close(struct http *http, int fd)
{
	if (http->options.on_close)
		http->options.on_close(http->options.close_arg, fd);
	close(fd);
}

static int close_socket(void *arg, curl_socket_t fd)
{
	http_close(arg, fd);
	return 0;
}

static int before_request(void *arg, char *remote_address, char *local_address, int remote_port, int local_port)
{
	struct http_call *call = arg;
	struct http_endpoints endpoints = {.local_address = local_address,
		.remote_address = remote_address,
		.local_port = (uint16_t)local_port,
		.remote_port = (uint16_t)remote_port};
	call->sending = true;
	if (call->request.on_send)
		call->request.on_send(call->request.arg, &endpoints);
	return CURL_PREREQFUNC_OK;
}

/* ---- once ---------------------------------------------------------------------- */

static long seconds(uint64_t ns)
{
	return ns == 0 ? 0 : (long)((ns + NS_PER_SEC - 1) / NS_PER_SEC);
}

/* No proxy, redirect, cookie, netrc, authentication or HTTP/0.9; no signal; no compression of libcurl's. */
static int prepare_protocol(CURL *easy, const struct http_options *options)
{
	uint64_t idle_ns = options->max_idle_ns ? options->max_idle_ns : DEFAULT_MAX_IDLE_NS;
	CURLcode code = 0;
	code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	code |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
		options->http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
	code |= curl_easy_setopt(easy, CURLOPT_PIPEWAIT, options->http2 ? 1L : 0L);
	code |= curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	code |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	code |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
	code |= curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	code |= curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	code |= curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_NONE);
	code |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER_BYTES);
	code |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 30L);
	code |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 10L);
	code |= curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 30L);
	code |= curl_easy_setopt(easy, CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, seconds(idle_ns));
	code |= curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, seconds(options->max_lifetime_ns));
	code |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	/* With a CApath libcurl parses the system's 140 certificates for every connection: 25 ms instead of 1.3. */
	code |= curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	code |= curl_easy_setopt(easy, CURLOPT_CERTINFO, 1L); /* to say whose certificate it was */
	return code == CURLE_OK ? 0 : -ENOMEM;
}

int http_call_prepare(struct http_call *call)
{
	call->easy = curl_easy_init();
	if (!call->easy)
		return -ENOMEM;
	CURLcode code = 0;
	code |= curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
	code |= curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->curl_error);
	code |= curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	code |= curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETDATA, call);
	code |= curl_easy_setopt(call->easy, CURLOPT_SOCKOPTFUNCTION, socket_opened);
	code |= curl_easy_setopt(call->easy, CURLOPT_SOCKOPTDATA, call);
	/* The connection outlives the call. */
	code |= curl_easy_setopt(call->easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	code |= curl_easy_setopt(call->easy, CURLOPT_CLOSESOCKETDATA, call->http);
	code |= curl_easy_setopt(call->easy, CURLOPT_PREREQFUNCTION, before_request);
	code |= curl_easy_setopt(call->easy, CURLOPT_PREREQDATA, call);
	if (code != CURLE_OK || http_response_prepare(call) < 0)
		return -ENOMEM;
	return prepare_protocol(call->easy, &call->http->options);
}

/* ---- for every call ------------------------------------------------------------- */

/* Not the text itself: a secret may stand in it. */
#define URL_EXPECTED "http://HOST:PORT or https://HOST:PORT is expected"

static int url_error(struct error *err, const char *what, CURLUcode code)
{
	if (code == CURLUE_OUT_OF_MEMORY)
		return error_set(err, ENOMEM, "out of memory");
	if (code == CURLUE_USER_NOT_ALLOWED)
		return error_set(err, EINVAL, "bad %s: user and password do not belong into it", what);
	if (code == CURLUE_BAD_SCHEME || code == CURLUE_UNSUPPORTED_SCHEME || code == CURLUE_MALFORMED_INPUT)
		return error_set(err, EINVAL, "bad %s: " URL_EXPECTED, what);
	return error_set(err, EINVAL, "bad %s: %s", what, curl_url_strerror(code));
}

/* One part of the URL as text; -EINVAL when it does not fit. */
static int url_part(CURLU *url, CURLUPart what, unsigned flags, char *ret_text, size_t size, struct error *err)
{
	char *part = NULL;
	CURLUcode code = curl_url_get(url, what, &part, flags);
	if (code != CURLUE_OK)
		return url_error(err, "URL", code);
	int len = snprintf(ret_text, size, "%s", part);
	curl_free(part);
	if (len < 0 || (size_t)len >= size)
		return error_set(err, EINVAL, "bad URL: a part of it is longer than %zu bytes", size - 1);
	return 0;
}

/* host and port of a URL that we can talk to. */
static int read_url(CURLU *url, const char *text, char *ret_host, size_t host_size, char *ret_port, size_t port_size,
	struct error *err)
{
	CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS);
	if (code != CURLUE_OK)
		return url_error(err, "URL", code);
	char scheme[16];
	int result = url_part(url, CURLUPART_SCHEME, 0, scheme, sizeof(scheme), err);
	if (result < 0)
		return result;
	if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		return error_set(err, EINVAL, "bad URL: " URL_EXPECTED);
	result = url_part(url, CURLUPART_HOST, 0, ret_host, host_size, err);
	if (result < 0)
		return result;
	return url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, ret_port, port_size, err);
}

int http_check_url(const char *text, struct error *err)
{
	char host[256], port[8];
	CURLU *url = curl_url();
	if (!url)
		return error_set(err, ENOMEM, "out of memory");
	int result = read_url(url, text, host, sizeof(host), port, sizeof(port), err);
	curl_url_cleanup(url);
	return result;
}

static int apply_url(struct http_call *call, const char *text, struct error *err)
{
	call->url = curl_url();
	if (!call->url)
		return error_set(err, ENOMEM, "out of memory");
	return read_url(call->url, text, call->host, sizeof(call->host), call->port, sizeof(call->port), err);
}

static bool is_literal(const char *host)
{
	struct in_addr v4;
	return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

static int append(struct curl_slist **list, const char *line, struct error *err)
{
	struct curl_slist *longer = curl_slist_append(*list, line);
	if (!longer)
		return error_set(err, ENOMEM, "out of memory");
	*list = longer;
	return 0;
}

/* See the top of the file. */
static int apply_address(struct http_call *call, struct error *err)
{
	const struct http_tls *tls = call->request.tls;
	const char *server_name = tls ? tls->server_name : NULL;
	bool unresolvable = !call->http->options.dials && !is_literal(call->host);
	if (server_name) {
		CURLUcode code = curl_url_set(call->url, CURLUPART_HOST, server_name, 0);
		if (code != CURLUE_OK)
			return url_error(err, "tls server_name", code);
		char line[sizeof("Host: :") + sizeof(call->host) + sizeof(call->port)];
		snprintf(line, sizeof(line), "Host: %s:%s", call->host, call->port);
		int result = append(&call->headers, line, err);
		if (result < 0)
			return result;
	}
	if (!server_name && !unresolvable)
		return 0;
	char entry[sizeof(":::") + sizeof(call->host) + sizeof(call->port)];
	snprintf(entry, sizeof(entry), "::%s:%s", unresolvable ? "127.0.0.1" : call->host, call->port);
	return append(&call->connect_to, entry, err);
}

static bool is_token(struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", name.ptr[i]))
			return false;
	return name.len > 0;
}

int http_check_header(const char *line, struct error *err)
{
	struct span rest = span_str(line), name = SPAN_NONE;
	if (!strchr(line, ':') || !span_next(&rest, ':', &name) || !is_token(name))
		return error_set(err, EINVAL, "bad header: its name has to be of letters, digits and dashes");
	if (name.len > MAX_HEADER_NAME)
		return error_set(err, EINVAL, "bad header: its name is longer than %d bytes", MAX_HEADER_NAME);
	for (size_t i = 0; i < rest.len; i++) {
		unsigned char c = (unsigned char)rest.ptr[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return error_set(err, EINVAL, "bad header %.*s: control byte in its value", SPAN_ARGS(name));
	}
	return 0;
}

static int apply_header(struct http_call *call, const char *line, struct error *err)
{
	int result = http_check_header(line, err);
	if (result < 0)
		return result;
	size_t name_len = (size_t)(strchr(line, ':') - line);
	if (span_trim(span_str(line + name_len + 1)).len > 0)
		return append(&call->headers, line, err);
	/* libcurl takes "Name:" for "do not send Name"; what sends an empty value is "Name;". */
	char empty[MAX_HEADER_NAME + 2];
	snprintf(empty, sizeof(empty), "%.*s;", (int)name_len, line);
	return append(&call->headers, empty, err);
}

static int apply_headers(struct http_call *call, struct error *err)
{
	/* Without this a POST of more than 1 MB waits a second for "100 Continue". */
	int result = append(&call->headers, "Expect:", err);
	for (const char *const *line = call->request.headers; result == 0 && line && *line; line++)
		result = apply_header(call, *line, err);
	return result;
}

static CURLcode set_blob(CURL *easy, CURLoption option, const char *text)
{
	struct curl_blob blob = {
		.data = (void *)(uintptr_t)text, .len = text ? strlen(text) : 0, .flags = CURL_BLOB_COPY};
	return curl_easy_setopt(easy, option, text ? &blob : NULL);
}

/* Before 1.2 handshakes are signed with SHA-1, which OpenSSL does at security level 0 only. */
static CURLcode apply_versions(CURL *easy, const struct http_tls *tls)
{
	static const long min_versions[] = {
		CURL_SSLVERSION_TLSv1_0, CURL_SSLVERSION_TLSv1_1, CURL_SSLVERSION_TLSv1_2, CURL_SSLVERSION_TLSv1_3};
	static const long max_versions[] = {CURL_SSLVERSION_MAX_TLSv1_0, CURL_SSLVERSION_MAX_TLSv1_1,
		CURL_SSLVERSION_MAX_TLSv1_2, CURL_SSLVERSION_MAX_TLSv1_3};
	int min = tls->min_version ? tls->min_version : 12;
	long max = tls->max_version ? max_versions[tls->max_version - 10] : (long)CURL_SSLVERSION_MAX_DEFAULT;
	CURLcode code = curl_easy_setopt(easy, CURLOPT_SSLVERSION, min_versions[min - 10] | max);
	return code | curl_easy_setopt(easy, CURLOPT_SSL_CIPHER_LIST, min < 12 ? "DEFAULT:@SECLEVEL=0" : NULL);
}

static CURLcode apply_tls(const struct http_call *call)
{
	static const struct http_tls defaults = {.ca = NULL};
	const struct http_tls *tls = call->request.tls ? call->request.tls : &defaults;
	bool is_https = strncasecmp(call->request.url, "https:", 6) == 0; /* a copy of 200 KB is for those only */
	const char *ca = tls->ca ? tls->ca : is_https ? call->http->options.system_ca : NULL;
	CURL *easy = call->easy;
	CURLcode code = 0;
	code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls->insecure_skip_verify ? 0L : 1L);
	code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->insecure_skip_verify ? 0L : 2L);
	code |= curl_easy_setopt(easy, CURLOPT_SSL_OPTIONS, tls->partial_chain ? 0L : (long)CURLSSLOPT_NO_PARTIALCHAIN);
	code |= set_blob(easy, CURLOPT_CAINFO_BLOB, ca);
	code |= set_blob(easy, CURLOPT_SSLCERT_BLOB, tls->cert);
	code |= set_blob(easy, CURLOPT_SSLKEY_BLOB, tls->key);
	return code | apply_versions(easy, tls);
}

static long milliseconds(uint64_t ns)
{
	return (long)((ns + NS_PER_MS - 1) / NS_PER_MS);
}

static CURLcode apply_options(struct http_call *call)
{
	const struct http_request *request = &call->request;
	CURL *easy = call->easy;
	uint64_t connect_ns = request->connect_timeout_ns ? request->connect_timeout_ns : request->timeout_ns;
	CURLcode code = 0;
	code |= curl_easy_setopt(easy, CURLOPT_CURLU, call->url);
	code |= curl_easy_setopt(easy, CURLOPT_CONNECT_TO, call->connect_to);
	code |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
	code |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds(request->timeout_ns));
	code |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(connect_ns));
	if (request->post) {
		code |= curl_easy_setopt(easy, CURLOPT_POST, 1L);
		code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.len ? request->body.ptr : "");
		code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
	} else {
		code |= curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	return code | apply_tls(call);
}

int http_call_apply(struct http_call *call, const struct http_request *request, struct error *err)
{
	call->request = *request;
	call->fd = request->connected_fd;
	call->passed = call->socket_refused = false;
	call->curl_error[0] = '\0';
	http_response_begin(call);
	if (request->timeout_ns == 0)
		return error_set(err, EINVAL, "a request without a timeout");
	int result = apply_url(call, request->url, err);
	if (result == 0)
		result = apply_address(call, err);
	if (result == 0)
		result = apply_headers(call, err);
	if (result == 0 && apply_options(call) != CURLE_OK)
		result = error_set(err, ENOMEM, "out of memory");
	return result;
}

void http_call_forget(struct http_call *call)
{
	if (call->fd >= 0)
		http_close(call->http, call->fd);
	call->fd = -1;
	if (call->easy) {
		curl_easy_setopt(call->easy, CURLOPT_CURLU, NULL);
		curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, NULL);
		curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, NULL);
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, NULL);
	}
	curl_url_cleanup(call->url);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->connect_to);
	call->url = NULL;
	call->headers = call->connect_to = NULL;
}
