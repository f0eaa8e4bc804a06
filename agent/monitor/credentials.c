/* Credentials of an endpoint: never values, only where they are. References go to Secrets and ConfigMaps of the monitor's own namespace;
 * files of the agent are never read for an object that somebody else may write. */
#include "endpoint.h"

#include <stdio.h>

struct key_selector {
	const char *name, *key;
	bool optional; /* the operator asks for the key all the same, and so do we */
};

static const struct field selector_fields[] = {
	FIELD("name", field_text, struct key_selector, name),
	FIELD("key", field_text, struct key_selector, key),
	FIELD("optional", field_flag, struct key_selector, optional),
	{0},
};

static void add_reference(struct reader *reader, struct endpoint *endpoint, const struct json *value,
	enum monitor_use use, bool config_map)
{
	struct key_selector selector = {0};
	read_fields(reader, value, selector_fields, &selector);
	if (!selector.name || !selector.name[0] || !selector.key || !selector.key[0]) {
		find(reader, MONITOR_REJECTED, "name and key are expected");
		return;
	}
	for (size_t i = 0; i < endpoint->reference_count; i++) {
		if (endpoint->references[i].use == use) {
			find(reader, MONITOR_REJECTED, "is there twice");
			return;
		}
	}
	struct span namespace_ = reader->monitor->namespace_;
	endpoint->references[endpoint->reference_count++] = (struct monitor_reference){.use = use,
		.config_map = config_map,
		.namespace_ = read_copy(reader, namespace_),
		.name = selector.name,
		.key = selector.key,
		.field = path_copy(reader)};
}

static void field_secret(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	add_reference(reader, into, value, (enum monitor_use)field->tag, false);
}

static void field_config_map(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	add_reference(reader, into, value, (enum monitor_use)field->tag, true);
}

/* ---- who is asking ------------------------------------------------------------------------ */

static const struct field basic_fields[] = {
	{.name = "username", .read = field_secret, .tag = MONITOR_USERNAME},
	{.name = "password", .read = field_secret, .tag = MONITOR_PASSWORD},
	{0},
};

void field_basic_auth(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	struct endpoint *endpoint = into;
	size_t before = endpoint->reference_count;
	(void)field;
	endpoint->auth_methods++;
	read_fields(reader, value, basic_fields, endpoint);
	if (!reader->monitor->rejected && endpoint->reference_count != before + 2)
		find(reader, MONITOR_REJECTED, "username and password are expected");
}

static const struct field authorization_fields[] = {
	FIELD("type", field_text, struct endpoint, authorization_type),
	{.name = "credentials", .read = field_secret, .tag = MONITOR_CREDENTIALS},
	{0},
};

void field_authorization(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	struct endpoint *endpoint = into;
	size_t before = endpoint->reference_count;
	(void)field;
	endpoint->auth_methods++;
	read_fields(reader, value, authorization_fields, endpoint);
	struct span type = span_trim(span_str(endpoint->authorization_type));
	if (span_eq_nocase(type, SPAN("basic")))
		find(reader, MONITOR_REJECTED, "type: use basicAuth for `Basic`");
	else if (endpoint->reference_count == before)
		find(reader, MONITOR_IGNORED, "has no credentials");
}

void field_oauth2(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	(void)field, (void)value;
	((struct endpoint *)into)->auth_methods++;
	find(reader, MONITOR_ENDPOINT_REFUSED,
		"OAuth 2 is not supported: tokens come from another host, and the agent connects to none");
}

/* Written by tools with an empty name for "none". */
void field_bearer_secret(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	(void)field;
	if (value->type == JSON_OBJECT && json_string(value, "name", SPAN_NONE).len == 0)
		return;
	((struct endpoint *)into)->auth_methods++;
	add_reference(reader, into, value, MONITOR_CREDENTIALS, false);
}

/* ---- TLS -------------------------------------------------------------------------------------- */

static const struct field ca_fields[] = {
	{.name = "secret", .read = field_secret, .tag = MONITOR_TLS_CA},
	{.name = "configMap", .read = field_config_map, .tag = MONITOR_TLS_CA},
	{0},
};
static const struct field cert_fields[] = {
	{.name = "secret", .read = field_secret, .tag = MONITOR_TLS_CERT},
	{.name = "configMap", .read = field_config_map, .tag = MONITOR_TLS_CERT},
	{0},
};

static void field_key(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	((struct endpoint *)into)->has_key = true;
	field_secret(reader, field, value, into);
}

static void field_cert(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	size_t before = ((struct endpoint *)into)->reference_count;
	field_object(reader, field, value, into);
	((struct endpoint *)into)->has_cert = ((struct endpoint *)into)->reference_count > before;
}

static void field_version(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	static const char *const versions[] = {"TLS10", "TLS11", "TLS12", "TLS13"};
	if (!read_is(reader, value, JSON_STRING))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		if (span_eq(value->text, span_str(versions[i]))) {
			*(const char **)(void *)((char *)into + field->offset) = versions[i];
			return;
		}
	}
	find(reader, MONITOR_REJECTED, "`%s` is not a TLS version", escape_bytes(value->text).text);
}

#define TLS_FIELDS                                                                                                     \
	{.name = "ca", .read = field_object, .fields = ca_fields},                                                     \
		{.name = "cert", .read = field_cert, .fields = cert_fields},                                           \
		{.name = "keySecret", .read = field_key, .tag = MONITOR_TLS_KEY},                                      \
		FIELD("serverName", field_text, struct endpoint, options.tls_config.server_name),                      \
		FIELD("insecureSkipVerify", field_flag, struct endpoint, options.tls_config.insecure_skip_verify),     \
		FIELD("minVersion", field_version, struct endpoint, options.tls_config.min_version),                   \
		FIELD("maxVersion", field_version, struct endpoint, options.tls_config.max_version)

#define NO_FILES "files of the agent are not read for a monitor; use ca, cert and keySecret"

static const struct field safe_tls_fields[] = {TLS_FIELDS, {0}};
static const struct field tls_fields[] = {
	TLS_FIELDS,
	NOT_HONOURED("caFile", field_rejected, NO_FILES),
	NOT_HONOURED("certFile", field_rejected, NO_FILES),
	NOT_HONOURED("keyFile", field_rejected, NO_FILES),
	{0},
};

void field_tls(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	((struct endpoint *)into)->has_tls = true;
	read_fields(reader, value, field->tag == MONITOR_SERVICE_MONITOR ? tls_fields : safe_tls_fields, into);
}
