/* http: HTTP/1.1 (and, where wanted, HTTP/2) client on the event loop. libcurl lives here and nowhere else.
 *
 * One `struct http` per process or thread that has a loop; it owns the kept-alive
 * connections. No proxy, no redirects, no cookies, no netrc, no authentication of
 * its own accord, bodies counted byte by byte (libcurl's limits do not hold, see
 * docs/decisions). Callbacks run in the loop's thread. The process must ignore SIGPIPE:
 * OpenSSL writes to sockets without MSG_NOSIGNAL.
 */
#pragma once

#include "gleaner/loop.h"
#include "gleaner/option.h"

struct http;
struct http_call;

struct http_options {
	size_t max_connections;   /* kept alive at most */
	bool dials;               /* false (scraper): never opens a socket itself; see http_request.connected_fd */
	bool http2;               /* offered to https servers; requests share a connection then, many at a time */
	uint64_t max_lifetime_ns; /* a kept connection is not reused when older; 0: no limit */
	uint64_t max_idle_ns;     /* nor when it was idle for longer; 0: 5 minutes */
	/* PEM text that stands for the system's certificates, so that no file is opened; borrowed. NULL: the file is read for every
	 * connection whose request names no `ca`. */
	const char *system_ca;
	/* Optional: a socket (a passed one, or one that was opened here) is about to be closed. */
	void (*on_close)(void *arg, int fd);
	void *close_arg;
};
/* The file with the system's certificates; NULL when libcurl was built without one. */
const char *http_system_ca_file(void);
int http_new(struct loop *loop, struct http_options options, struct http **ret_http);
/* Cancels every call without its callback. Not from within a callback. */
void http_free(struct http *http);

/* What to trust and how to name ourselves. All texts are PEM or NULL; no file is read here. */
struct http_tls {
	const char *ca;          /* NULL: the system's certificates */
	const char *cert, *key;  /* client certificate */
	const char *server_name; /* SNI and verified name, instead of the URL's host */
	bool insecure_skip_verify;
	bool partial_chain;           /* a leaf in `ca` is a trust anchor */
	int min_version, max_version; /* 10 to 13: TLS 1.0 to 1.3; 0: TLS 1.2, the newest */
};

enum http_failure {
	HTTP_OK,          /* a response came, whatever its status */
	HTTP_NEED_SOCKET, /* no kept connection, and this http does not dial: call again with connected_fd */
	HTTP_CONNECT,     /* refused, unreachable, connect timeout, DNS */
	HTTP_TIMEOUT,     /* total or first byte */
	HTTP_TLS,         /* handshake failed */
	HTTP_TLS_VERIFY,  /* certificate not trusted or wrong name */
	HTTP_BODY_LIMIT,  /* more than max_body_bytes */
	HTTP_HEADER_LIMIT,
	HTTP_PROTOCOL, /* not HTTP, malformed, cut off in the middle */
	HTTP_REFUSED,  /* on_headers or on_body returned an error */
	HTTP_OTHER,
};
const char *http_failure_name(enum http_failure failure);
/* "Internal Server Error" for 500 (RFC 9110 and others as Go's net/http); "" for a status without a name. */
const char *http_status_text(unsigned status);

/* Which connection a request goes over: addresses as inet_ntop writes them. */
struct http_endpoints {
	const char *local_address, *remote_address;
	uint16_t local_port, remote_port;
};

struct http_response {
	enum http_failure failure;
	unsigned status;          /* 0 when none came */
	struct span content_type; /* header values, trimmed; empty when absent */
	struct span content_encoding;
	struct span retry_after;
	uint64_t body_bytes;                          /* on the wire, before our inflating */
	uint64_t connect_ns, first_byte_ns, total_ns; /* since the start of the call */
	uint64_t
		busy_ns; /* this thread spent on it, callbacks included: by the monotonic clock, 22 ns a reading (CPU clocks: 520) */
	bool reused_connection;
	struct error error; /* set unless HTTP_OK: for people */
};

struct http_request {
	const char *url;
	bool post; /* else GET */
	const char *const
		*headers;    /* "Name: value", NULL-terminated; copied; no CR, LF or other control bytes (-EINVAL) */
	struct span body;    /* POST; must live until done */
	uint64_t timeout_ns; /* total, connecting included; not 0 (-EINVAL) */
	uint64_t connect_timeout_ns;    /* 0: the total */
	uint64_t first_byte_timeout_ns; /* 0: none */
	size_t max_body_bytes;          /* on the wire; one byte more fails */
	size_t max_header_bytes;        /* 32 KiB when 0 */
	const struct http_tls *tls;     /* NULL: defaults; must live until done */
	/* A connected socket to use when no kept one serves; -1: none. Owned from here on, also when http_start fails. It was
	 * connected by a non-blocking connect(2) that returned EINPROGRESS, and whose end was learnt by poll and SO_ERROR, not by
	 * another connect (agent/http/request.c says why). */
	int connected_fd;
	/* Optional: the request is sent next, over this connection, which is ready (TLS is set up). More than once when a kept one turns
	 * out to be dead. */
	void (*on_send)(void *arg, const struct http_endpoints *endpoints);
	/* Optional: the status and headers are there, the body follows. Negative refuses it (HTTP_REFUSED). */
	int (*on_headers)(void *arg, const struct http_response *response);
	/* A piece of the body. Negative refuses the rest (HTTP_REFUSED). NULL: the body is dropped. */
	int (*on_body)(void *arg, struct span piece);
	/* The end, exactly once unless cancelled; the call is gone when it returns; new calls may be started in it. */
	void (*on_done)(void *arg, const struct http_response *response);
	void *arg;
};
/* 0, -EINVAL (bad URL or header: err says which), -ENOMEM. on_done is never called from within http_start. */
int http_start(struct http *http, const struct http_request *request, struct http_call **ret_call, struct error *err);
/* What http_start would say of a URL or a "Name: value", for checking a configuration. err never quotes a value. 0, -EINVAL, -ENOMEM. */
int http_check_url(const char *url, struct error *err);
int http_check_header(const char *line, struct error *err);
/* No callback comes any more. NULL is fine. Not from within on_headers/on_body (return an error there instead). */
void http_cancel(struct http_call *call);

/* The tls: object of the configuration (exporter, kubelet, scrape jobs). */
struct http_tls_options {
	const char *ca_file, *cert_file, *key_file, *server_name;
	bool insecure_skip_verify;
};
extern const struct option_table http_tls_table;
