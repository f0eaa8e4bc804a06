#include "server.h"

#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 32, KEPT_REQUESTS = 64, REQUEST_BYTES = 64 * 1024 };

struct connection {
	int fd; /* -1: free */
	SSL *ssl;
	size_t len;
	char bytes[REQUEST_BYTES];
};

struct kept_request {
	size_t len;
	char bytes[REQUEST_BYTES];
};

struct test_server {
	const struct test_reply *replies;
	size_t reply_count;
	SSL_CTX *ctx;
	int listen_fd, stop_fd, hang_up_fd, done_fd;
	uint16_t port;
	pthread_t thread;
	size_t requests, connections; /* atomic */
	struct connection open[CONNECTIONS];
	struct kept_request kept[KEPT_REQUESTS];
	char url[256];
};

/* ---- connections -------------------------------------------------------------- */

static void connection_close(struct connection *connection, enum test_then how)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};
	if (how == TEST_RESET)
		setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (connection->ssl)
		SSL_free(connection->ssl);
	close(connection->fd);
	*connection = (struct connection){.fd = -1};
}

static void accept_one(struct test_server *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	/* A client that goes away in the middle of a handshake must not hold the server. */
	struct timeval patience = {.tv_sec = 2};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct connection *connection = &server->open[i];
		if (connection->fd >= 0)
			continue;
		connection->fd = fd;
		connection->len = 0;
		if (server->ctx) {
			connection->ssl = SSL_new(server->ctx);
			SSL_set_fd(connection->ssl, fd);
			if (SSL_accept(connection->ssl) != 1) {
				/* The client may be writing already; a reset would hide our alert from it. */
				ERR_clear_error();
				shutdown(fd, SHUT_WR);
				while (recv(fd, connection->bytes, sizeof(connection->bytes), 0) > 0)
					;
				connection_close(connection, TEST_CLOSE);
				return;
			}
		}
		__atomic_fetch_add(&server->connections, 1, __ATOMIC_SEQ_CST);
		return;
	}
	close(fd);
}

static bool send_all(struct connection *connection, const char *bytes, size_t len, size_t piece)
{
	for (size_t at = 0; at < len;) {
		size_t want = piece && piece < len - at ? piece : len - at;
		ssize_t sent = connection->ssl ? SSL_write(connection->ssl, bytes + at, (int)want)
					       : send(connection->fd, bytes + at, want, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		at += (size_t)sent;
	}
	return true;
}

/* Bytes of the whole request that the input begins with; 0: not complete. */
static size_t request_length(struct connection *connection)
{
	char *end = memmem(connection->bytes, connection->len, "\r\n\r\n", 4);
	if (!end)
		return 0;
	size_t head = (size_t)(end - connection->bytes) + 4, body = 0;
	struct span rest = span_of(connection->bytes, head), line;
	while (span_next(&rest, '\n', &line)) {
		struct span name;
		if (span_next(&line, ':', &name) && span_eq_nocase(name, SPAN("content-length")))
			body = strtoul(line.ptr, NULL, 10);
	}
	return connection->len >= head + body ? head + body : 0;
}

static void answer(struct test_server *server, struct connection *connection, size_t len)
{
	size_t number = __atomic_load_n(&server->requests, __ATOMIC_SEQ_CST);
	if (number < KEPT_REQUESTS) {
		memcpy(server->kept[number].bytes, connection->bytes, len);
		server->kept[number].len = len;
	}
	connection->len -= len;
	memmove(connection->bytes, connection->bytes + len, connection->len);
	__atomic_store_n(&server->requests, number + 1, __ATOMIC_SEQ_CST);
	const struct test_reply *reply =
		&server->replies[number < server->reply_count ? number : server->reply_count - 1];
	bool sent = true;
	if (reply->bytes)
		sent = send_all(connection, reply->bytes, reply->len ? reply->len : strlen(reply->bytes), reply->piece);
	if (!sent || reply->then != TEST_KEEP)
		connection_close(connection, reply->then);
}

static void receive(struct test_server *server, struct connection *connection)
{
	size_t room = sizeof(connection->bytes) - connection->len;
	char *at = connection->bytes + connection->len;
	ssize_t got = connection->ssl ? SSL_read(connection->ssl, at, (int)room) : recv(connection->fd, at, room, 0);
	if (got <= 0) {
		ERR_clear_error();
		connection_close(connection, TEST_CLOSE);
		return;
	}
	connection->len += (size_t)got;
	for (size_t len; connection->fd >= 0 && (len = request_length(connection)) > 0;)
		answer(server, connection, len);
	if (connection->fd >= 0 && connection->ssl && SSL_pending(connection->ssl) > 0)
		receive(server, connection);
}

static void signal_fd(int fd)
{
	uint64_t one = 1;
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void wait_fd(int fd)
{
	uint64_t count;
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
}

static void hang_up(struct test_server *server)
{
	wait_fd(server->hang_up_fd);
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (server->open[i].fd >= 0)
			connection_close(&server->open[i], TEST_CLOSE);
	signal_fd(server->done_fd);
}

static void *serve(void *arg)
{
	struct test_server *server = arg;
	for (;;) {
		struct pollfd fds[3 + CONNECTIONS] = {{.fd = server->stop_fd, .events = POLLIN},
			{.fd = server->hang_up_fd, .events = POLLIN}, {.fd = server->listen_fd, .events = POLLIN}};
		for (size_t i = 0; i < CONNECTIONS; i++)
			fds[3 + i] = (struct pollfd){.fd = server->open[i].fd, .events = POLLIN};
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		for (size_t i = 0; i < CONNECTIONS; i++)
			if (fds[3 + i].revents && server->open[i].fd >= 0)
				receive(server, &server->open[i]);
		if (fds[1].revents)
			hang_up(server);
		if (fds[2].revents)
			accept_one(server);
	}
}

/* ---- life cycle ------------------------------------------------------------------ */

static int bound_socket(uint16_t *ret_port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static X509 *read_cert(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_non_null(cert);
	return cert;
}

static EVP_PKEY *read_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_non_null(key);
	return key;
}

static SSL_CTX *server_context(const struct test_certificate *tls, const char *client_ca)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	X509 *cert = read_cert(tls->cert);
	EVP_PKEY *key = read_key(tls->key);
	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
	if (client_ca) {
		X509 *ca = read_cert(client_ca);
		X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca);
		X509_free(ca);
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	return ctx;
}

struct test_server *test_server_start(
	const struct test_reply *replies, size_t count, const struct test_certificate *tls, const char *client_ca)
{
	struct test_server *server = calloc(1, sizeof(*server));
	assert_non_null(server);
	server->replies = replies;
	server->reply_count = count;
	server->ctx = tls ? server_context(tls, client_ca) : NULL;
	server->stop_fd = eventfd(0, EFD_CLOEXEC);
	server->hang_up_fd = eventfd(0, EFD_CLOEXEC);
	server->done_fd = eventfd(0, EFD_CLOEXEC);
	for (size_t i = 0; i < CONNECTIONS; i++)
		server->open[i].fd = -1;
	server->listen_fd = bound_socket(&server->port);
	assert_int_equal(listen(server->listen_fd, 64), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
	return server;
}

void test_server_stop(struct test_server *server)
{
	signal_fd(server->stop_fd);
	pthread_join(server->thread, NULL);
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (server->open[i].fd >= 0)
			connection_close(&server->open[i], TEST_CLOSE);
	SSL_CTX_free(server->ctx);
	close(server->listen_fd);
	close(server->stop_fd);
	close(server->hang_up_fd);
	close(server->done_fd);
	free(server);
}

uint16_t test_server_port(const struct test_server *server)
{
	return server->port;
}

const char *test_server_url(struct test_server *server, const char *path)
{
	snprintf(server->url, sizeof(server->url), "%s://127.0.0.1:%u%s", server->ctx ? "https" : "http", server->port,
		path);
	return server->url;
}

int test_server_connect(const struct test_server *server)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(server->port)};
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
	assert_int_equal(errno, EINPROGRESS);
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	assert_int_equal(poll(&ready, 1, 2000), 1);
	return fd;
}

size_t test_server_requests(const struct test_server *server)
{
	return __atomic_load_n(&server->requests, __ATOMIC_SEQ_CST);
}

size_t test_server_connections(const struct test_server *server)
{
	return __atomic_load_n(&server->connections, __ATOMIC_SEQ_CST);
}

struct span test_server_request(const struct test_server *server, size_t number)
{
	assert_true(number < KEPT_REQUESTS && number < test_server_requests(server));
	return span_of(server->kept[number].bytes, server->kept[number].len);
}

void test_server_hang_up(struct test_server *server)
{
	signal_fd(server->hang_up_fd);
	wait_fd(server->done_fd);
}

uint16_t test_closed_port(void)
{
	uint16_t port;
	close(bound_socket(&port));
	return port;
}

/* ---- certificates ------------------------------------------------------------------ */

static void write_pem(BIO *bio, char *text, size_t size)
{
	int len = BIO_read(bio, text, (int)size - 1);
	assert_true(len > 0 && (size_t)len < size - 1);
	text[len] = '\0';
	BIO_free(bio);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(extension);
	X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
}

static void sign(X509 *cert, EVP_PKEY *key, const struct test_certificate *issuer)
{
	if (!issuer) {
		X509_set_issuer_name(cert, X509_get_subject_name(cert));
		assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
		return;
	}
	X509 *ca = read_cert(issuer->cert);
	EVP_PKEY *ca_key = read_key(issuer->key);
	X509_set_issuer_name(cert, X509_get_subject_name(ca));
	assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
}

void test_certificate_make(const char *name, const char *alt, const struct test_certificate *issuer,
	struct test_certificate *ret_certificate)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	assert_non_null(key);
	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer ? 2 : 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(
		X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	add_extension(cert, NID_basic_constraints, issuer ? "CA:FALSE" : "CA:TRUE");
	if (alt)
		add_extension(cert, NID_subject_alt_name, alt);
	sign(cert, key, issuer);
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, cert);
	write_pem(bio, ret_certificate->cert, sizeof(ret_certificate->cert));
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	write_pem(bio, ret_certificate->key, sizeof(ret_certificate->key));
	X509_free(cert);
	EVP_PKEY_free(key);
}
