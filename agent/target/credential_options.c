/* The keys basic_auth, authorization and tls_config of a scrape_config: Prometheus' names, and its refusals in its words. */
#include "credentials.h"

#include <errno.h>

#define BASIC(field)         offsetof(struct target_basic_auth_options, field)
#define AUTHORIZATION(field) offsetof(struct target_authorization_options, field)
#define TLS(field)           offsetof(struct target_tls_options, field)
#define READ_AGAIN           " Read again when it changes."

static const struct option basic_options[] = {
	{.name = "username", .kind = OPTION_STRING, .offset = BASIC(username), .help = "User name."},
	{.name = "username_file",
		.kind = OPTION_STRING,
		.offset = BASIC(username_file),
		.help = "File with the user name instead." READ_AGAIN},
	{.name = "password", .kind = OPTION_STRING, .offset = BASIC(password), .secret = true, .help = "Password."},
	{.name = "password_file",
		.kind = OPTION_STRING,
		.offset = BASIC(password_file),
		.help = "File with the password instead, without the white space around it." READ_AGAIN},
	{.name = NULL},
};

static const char *const basic_unsupported[] = {"password_ref", "username_ref", NULL};

const struct option_table target_basic_auth_table = {
	.name = "basic_auth",
	.help = "User name and password, sent with every scrape.",
	.size = sizeof(struct target_basic_auth_options),
	.options = basic_options,
	.unsupported = basic_unsupported,
};

static const struct option authorization_options[] = {
	{.name = "type",
		.kind = OPTION_STRING,
		.offset = AUTHORIZATION(type),
		.value = "Bearer",
		.help = "First word of the Authorization header; not Basic, which has a key of its own."},
	{.name = "credentials",
		.kind = OPTION_STRING,
		.offset = AUTHORIZATION(credentials),
		.secret = true,
		.help = "What follows it: the token."},
	{.name = "credentials_file",
		.kind = OPTION_STRING,
		.offset = AUTHORIZATION(credentials_file),
		.help = "File with the token instead, without the white space around it." READ_AGAIN},
	{.name = NULL},
};

static const char *const authorization_unsupported[] = {"credentials_ref", NULL};

const struct option_table target_authorization_table = {
	.name = "authorization",
	.help = "An Authorization header, sent with every scrape.",
	.size = sizeof(struct target_authorization_options),
	.options = authorization_options,
	.unsupported = authorization_unsupported,
};

static const struct option tls_options[] = {
	{.name = "ca",
		.kind = OPTION_STRING,
		.offset = TLS(ca),
		.help = "PEM text with the authorities that may have signed a target's certificate; neither ca nor "
			"ca_file given: the system's."},
	{.name = "ca_file", .kind = OPTION_STRING, .offset = TLS(ca_file), .help = "PEM file with them." READ_AGAIN},
	{.name = "cert",
		.kind = OPTION_STRING,
		.offset = TLS(cert),
		.help = "PEM text of the client certificate, for targets that ask for one; needs a key."},
	{.name = "cert_file",
		.kind = OPTION_STRING,
		.offset = TLS(cert_file),
		.help = "PEM file with the client certificate." READ_AGAIN},
	{.name = "key",
		.kind = OPTION_STRING,
		.offset = TLS(key),
		.secret = true,
		.help = "PEM text of the client certificate's private key."},
	{.name = "key_file",
		.kind = OPTION_STRING,
		.offset = TLS(key_file),
		.help = "PEM file with the private key." READ_AGAIN},
	{.name = "server_name",
		.kind = OPTION_STRING,
		.offset = TLS(server_name),
		.help = "Name that the certificate must have; not given: the host of the address."},
	{.name = "insecure_skip_verify",
		.kind = OPTION_BOOL,
		.offset = TLS(insecure_skip_verify),
		.value = "false",
		.help = "Accept any certificate."},
	{.name = "min_version",
		.kind = OPTION_STRING,
		.offset = TLS(min_version),
		.value = "TLS12",
		.help = "The oldest version that is spoken: TLS10, TLS11, TLS12 or TLS13. Below TLS12 the signatures "
			"of "
			"that time are accepted, too."},
	{.name = "max_version",
		.kind = OPTION_STRING,
		.offset = TLS(max_version),
		.help = "The newest version that is spoken; not given: TLS13."},
	{.name = NULL},
};

static const char *const tls_unsupported[] = {"ca_ref", "cert_ref", "key_ref", NULL};

const struct option_table target_tls_table = {
	.name = "tls_config",
	.help = "TLS of the scrapes of a job whose scheme is https.",
	.size = sizeof(struct target_tls_options),
	.options = tls_options,
	.unsupported = tls_unsupported,
};

/* ---- checks, in Prometheus' words ----------------------------------------------------------- */

int credentials_tls_version(const char *name)
{
	static const char *const names[] = {"TLS10", "TLS11", "TLS12", "TLS13"};
	if (!name || !name[0])
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return 10 + (int)i;
	return -EINVAL;
}

static int check_basic_auth(const struct target_basic_auth_options *basic, struct error *err)
{
	if (basic->username && basic->username_file)
		return error_set(err, EINVAL, "at most one of basic_auth username & username_file must be configured");
	if (basic->password && basic->password_file)
		return error_set(err, EINVAL, "at most one of basic_auth password & password_file must be configured");
	return 0;
}

static int check_authorization(const struct target_job_options *options, struct error *err)
{
	const struct target_authorization_options *authorization = &options->authorization;
	struct span type = span_trim(span_str(authorization->type));
	if (options->bearer_token || options->bearer_token_file)
		return error_set(err, EINVAL, "authorization is not compatible with bearer_token & bearer_token_file");
	if (authorization->credentials && authorization->credentials_file)
		return error_set(
			err, EINVAL, "at most one of authorization credentials & credentials_file must be configured");
	if (span_eq_nocase(type, SPAN("basic")))
		return error_set(
			err, EINVAL, "authorization type cannot be set to \"basic\", use \"basic_auth\" instead");
	if (options->basic_auth_given)
		return error_set(err, EINVAL, "at most one of basic_auth, oauth2 & authorization must be configured");
	for (size_t i = 0; i < type.len; i++)
		if (type.ptr[i] <= ' ' || type.ptr[i] >= 0x7f)
			return error_set(err, EINVAL, "authorization type has to be one word");
	return 0;
}

static int check_tls_pairs(const struct target_tls_options *tls, struct error *err)
{
	bool cert = tls->cert || tls->cert_file, key = tls->key || tls->key_file;
	if (tls->ca && tls->ca_file)
		return error_set(err, EINVAL, "at most one of ca & ca_file must be configured");
	if (tls->cert && tls->cert_file)
		return error_set(err, EINVAL, "at most one of cert & cert_file must be configured");
	if (tls->key && tls->key_file)
		return error_set(err, EINVAL, "at most one of key & key_file must be configured");
	if (cert && !key)
		return error_set(err, EINVAL,
			"exactly one of key or key_file must be configured when a client certificate is configured");
	if (key && !cert)
		return error_set(err, EINVAL,
			"exactly one of cert or cert_file must be configured when a client key is configured");
	return 0;
}

static int check_tls_versions(const struct target_tls_options *tls, struct error *err)
{
	int min = credentials_tls_version(tls->min_version), max = credentials_tls_version(tls->max_version);
	if (min < 0 || max < 0)
		return error_set(err, EINVAL, "unknown TLS version: %s; one of TLS10, TLS11, TLS12, TLS13 is expected",
			escape_bytes(span_str(min < 0 ? tls->min_version : tls->max_version)).text);
	if (max > 0 && max < (min ? min : 12))
		return error_set(err, EINVAL,
			"tls_config.max_version must be greater than or equal to tls_config.min_version if both are "
			"specified");
	return 0;
}

int target_check_credentials(const struct target_job_options *options, const char **ret_key, struct error *err)
{
	bool bearer = options->bearer_token || options->bearer_token_file;
	*ret_key = "bearer_token";
	if (options->bearer_token && options->bearer_token_file)
		return error_set(err, EINVAL, "at most one of bearer_token & bearer_token_file must be configured");
	*ret_key = "basic_auth";
	if (options->basic_auth_given && bearer)
		return error_set(err, EINVAL,
			"at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured");
	if (options->basic_auth_given && check_basic_auth(&options->basic_auth, err) < 0)
		return -EINVAL;
	*ret_key = "authorization";
	if (options->authorization_given && check_authorization(options, err) < 0)
		return -EINVAL;
	*ret_key = "tls_config";
	if (check_tls_pairs(&options->tls_config, err) < 0)
		return -EINVAL;
	return check_tls_versions(&options->tls_config, err);
}
