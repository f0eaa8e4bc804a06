/* The tls: object of the configuration. Which file is read when is the business of the module that has the object. */
#include "gleaner/http.h"

#include <errno.h>

static const struct option options[] = {
	{.name = "ca_file",
		.kind = OPTION_STRING,
		.offset = offsetof(struct http_tls_options, ca_file),
		.help = "PEM file with the certificates to trust instead of the system's."},
	{.name = "cert_file",
		.kind = OPTION_STRING,
		.offset = offsetof(struct http_tls_options, cert_file),
		.help = "PEM file with the client certificate; needs key_file."},
	{.name = "key_file",
		.kind = OPTION_STRING,
		.offset = offsetof(struct http_tls_options, key_file),
		.help = "PEM file with the private key of the client certificate; needs cert_file."},
	{.name = "server_name",
		.kind = OPTION_STRING,
		.offset = offsetof(struct http_tls_options, server_name),
		.help = "Name to ask for and to verify instead of the URL's host."},
	{.name = "insecure_skip_verify",
		.kind = OPTION_BOOL,
		.offset = offsetof(struct http_tls_options, insecure_skip_verify),
		.value = "false",
		.help = "Accept any certificate. Whoever can redirect the traffic can then read and change it."},
	{.name = NULL},
};

static int check(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	const struct http_tls_options *tls = object;
	(void)arena;
	if (!tls->cert_file == !tls->key_file)
		return 0;
	*ret_key = tls->cert_file ? "cert_file" : "key_file";
	return error_set(err, EINVAL, "cert_file and key_file need each other");
}

const struct option_table http_tls_table = {
	.name = "tls",
	.help = "How to trust the peer of an https connection, and how to name ourselves to it.",
	.size = sizeof(struct http_tls_options),
	.options = options,
	.check = check,
};
