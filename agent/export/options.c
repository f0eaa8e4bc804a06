/* The exporters: object, and what the OpenTelemetry variables add to it. */
#include "gleaner/export.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

/* ---- tables -------------------------------------------------------------------------- */

#define RETRY(field) offsetof(struct export_retry_options, field)
#define OTLP(field)  offsetof(struct export_otlphttp_options, field)

static int check_retry(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	const struct export_retry_options *retry = object;
	(void)arena;
	if (retry->initial_ns <= retry->max_ns)
		return 0;
	*ret_key = "initial_interval";
	return error_set(err, EINVAL, "initial_interval is longer than max_interval");
}

static const struct option_table retry_table = {
	.name = "retry_on_failure",
	.help = "How long to wait before a batch is sent again. Retries never end by themselves: the spool's max_bytes "
		"and "
		"max_age do that.",
	.size = sizeof(struct export_retry_options),
	.check = check_retry,
	.options =
		(const struct option[]){
			{.name = "initial_interval",
				.kind = OPTION_DURATION,
				.offset = RETRY(initial_ns),
				.value = "1s",
				.min = 10 * NS_PER_MS,
				.help = "The first wait; it doubles with every failure and is then drawn between zero "
					"and "
					"that."},
			{.name = "max_interval",
				.kind = OPTION_DURATION,
				.offset = RETRY(max_ns),
				.value = "1m",
				.min = 10 * NS_PER_MS,
				.help = "The longest wait. A Retry-After of the gateway may ask for up to 10 minutes."},
			{.name = NULL},
		},
};

static int check_header(const struct option_pair *pair, struct arena *arena, struct error *err)
{
	size_t size = strlen(pair->name) + strlen(pair->value) + sizeof(": ");
	char *line = arena_alloc(arena, size);
	if (!line)
		return error_set(err, ENOMEM, "out of memory");
	snprintf(line, size, "%s: %s", pair->name, pair->value);
	return http_check_header(line, err);
}

static int check_url(const char *url, const char *key, const char **ret_key, struct error *err)
{
	int result = url ? http_check_url(url, err) : 0;
	if (result < 0)
		*ret_key = key;
	return result;
}

static int check_otlphttp(void *object, struct arena *arena, const char **ret_key, struct error *err)
{
	const struct export_otlphttp_options *options = object;
	int result = check_url(options->endpoint, "endpoint", ret_key, err);
	if (result == 0)
		result = check_url(options->metrics_endpoint, "metrics_endpoint", ret_key, err);
	for (size_t i = 0; result == 0 && i < options->headers.count; i++) {
		result = check_header(&options->headers.items[i], arena, err);
		if (result < 0)
			*ret_key = "headers";
	}
	return result;
}

static const struct option_table otlphttp_table = {
	.name = "otlphttp",
	.help = "Delivery by OTLP over HTTP, protobuf encoding.",
	.size = sizeof(struct export_otlphttp_options),
	.choices_ignore_case = true,
	.check = check_otlphttp,
	.options =
		(const struct option[]){
			{.name = "endpoint",
				.kind = OPTION_STRING,
				.offset = OTLP(endpoint),
				.help = "Base URL of the gateway, http://gateway:4318; /v1/metrics is appended. Unset: "
					"OTEL_EXPORTER_OTLP_ENDPOINT."},
			{.name = "metrics_endpoint",
				.kind = OPTION_STRING,
				.offset = OTLP(metrics_endpoint),
				.help = "The whole URL to send to, instead of endpoint."},
			{.name = "headers",
				.kind = OPTION_PAIRS,
				.offset = OTLP(headers),
				.secret = true,
				.help = "Headers added to every request, such as Authorization."},
			{.name = "compression",
				.kind = OPTION_CHOICE,
				.offset = OTLP(compression),
				.value = "gzip",
				.choices = codec_choices,
				.given_offset = OTLP(compression_given),
				.help = "How batches are compressed."},
			{.name = "timeout",
				.kind = OPTION_DURATION,
				.offset = OTLP(timeout_ns),
				.value = "10s",
				.min = NS_PER_MS,
				.given_offset = OTLP(timeout_given),
				.help = "How long one request may take."},
			{.name = "tls",
				.kind = OPTION_OBJECT,
				.offset = OTLP(tls),
				.fields = &http_tls_table,
				.help = "Trust and identity for https."},
			{.name = "retry_on_failure",
				.kind = OPTION_OBJECT,
				.offset = OTLP(retry),
				.fields = &retry_table,
				.help = "Waits between attempts."},
			{.name = "max_connection_age",
				.kind = OPTION_DURATION,
				.offset = OTLP(max_connection_age_ns),
				.value = "5m",
				.min = NS_PER_SEC,
				.help = "A connection is replaced when older (20 % more or less, so that nodes do not "
					"do it "
					"at "
					"once): load spreads over a gateway that was scaled up."},
			{.name = NULL},
		},
};

static const char *const verbosity_choices[] = {"basic", "normal", "detailed", NULL};

static const struct option_table debug_table = {
	.name = "debug",
	.help = "Prints every batch to stderr, in the shape of the Collector's debug exporter.",
	.size = sizeof(struct export_debug_options),
	.choices_ignore_case = true,
	.options =
		(const struct option[]){
			{.name = "verbosity",
				.kind = OPTION_CHOICE,
				.offset = offsetof(struct export_debug_options, verbosity),
				.value = "basic",
				.choices = verbosity_choices,
				.help = "basic: counts; normal: one line a data point; detailed: everything."},
			{.name = NULL},
		},
};

const struct option_table export_options_table = {
	.name = "exporters",
	.help = "Where the metrics go.",
	.size = sizeof(struct export_options),
	.options =
		(const struct option[]){
			{.name = "otlphttp",
				.kind = OPTION_OBJECT,
				.offset = offsetof(struct export_options, otlphttp),
				.fields = &otlphttp_table,
				.given_offset = offsetof(struct export_options, otlphttp_given),
				.help = "The gateway."},
			{.name = "debug",
				.kind = OPTION_OBJECT,
				.offset = offsetof(struct export_options, debug),
				.fields = &debug_table,
				.given_offset = offsetof(struct export_options, debug.enabled),
				.help = "Printing for people, besides or instead of delivery."},
			{.name = NULL},
		},
};

/* ---- environment ----------------------------------------------------------------------- */

struct variable {
	char name[64];
	const char *value; /* NULL: unset or empty */
};

struct environment {
	struct arena *arena;
	const char *(*get)(const char *name);
	struct error *err;
};

/* The signal's own variable, else the one for all signals. */
static struct variable find(const struct environment *env, const char *suffix)
{
	static const char *const prefixes[] = {"OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_"};
	struct variable found = {.value = NULL};
	for (size_t i = 0; i < ARRAY_SIZE(prefixes) && !found.value; i++) {
		snprintf(found.name, sizeof(found.name), "%s%s", prefixes[i], suffix);
		const char *value = env->get(found.name);
		found.value = value && value[0] ? value : NULL;
	}
	return found;
}

static int no_memory(const struct environment *env)
{
	return error_set(env->err, ENOMEM, "out of memory");
}

static int put_text(const struct environment *env, const char *suffix, const char **text)
{
	struct variable variable = find(env, suffix);
	if (*text || !variable.value)
		return 0;
	*text = arena_strdup(env->arena, variable.value);
	return *text ? 0 : no_memory(env);
}

/* The general variable is a base URL, the signal's own one is used as it is. */
static int put_endpoint(const struct environment *env, struct export_otlphttp_options *otlp)
{
	struct variable variable = find(env, "ENDPOINT"), protocol = find(env, "PROTOCOL");
	if (otlp->endpoint || otlp->metrics_endpoint || !variable.value)
		return 0;
	if (protocol.value && strcmp(protocol.value, "http/protobuf") != 0)
		return error_set(env->err, EINVAL, "%s: only http/protobuf is supported", protocol.name);
	int result = http_check_url(variable.value, env->err);
	if (result < 0)
		return error_wrap(env->err, -result, "%s", variable.name);
	bool whole = strstr(variable.name, "_METRICS_") != NULL;
	return put_text(env, "ENDPOINT", whole ? &otlp->metrics_endpoint : &otlp->endpoint);
}

/* In place. False: a % that two hex digits do not follow, or %00. */
static bool percent_decode(char *text)
{
	char *out = text;
	for (const char *in = text; *in; in++) {
		if (*in != '%') {
			*out++ = *in;
			continue;
		}
		int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);
		if (low < 0 || (high == 0 && low == 0))
			return false;
		*out++ = (char)(high << 4 | low);
		in += 2;
	}
	*out = '\0';
	return true;
}

static int put_pair(const struct environment *env, struct span part, struct option_pair *pair)
{
	struct span name, value = part;
	if (!memchr(part.ptr, '=', part.len))
		return -EINVAL;
	span_next(&value, '=', &name);
	char *name_text = arena_spandup(env->arena, span_trim(name));
	char *value_text = arena_spandup(env->arena, span_trim(value));
	if (!name_text || !value_text)
		return -ENOMEM;
	if (!percent_decode(name_text) || !percent_decode(value_text))
		return -EINVAL;
	*pair = (struct option_pair){.name = name_text, .value = value_text};
	return check_header(pair, env->arena, NULL);
}

/* key=value,key=value, percent-encoded (W3C baggage without properties). */
static int put_headers(const struct environment *env, struct option_pairs *headers)
{
	struct variable variable = find(env, "HEADERS");
	if (headers->count > 0 || !variable.value)
		return 0;
	struct span rest = span_str(variable.value), part;
	size_t most = 1, count = 0;
	for (size_t i = 0; i < rest.len; i++)
		most += rest.ptr[i] == ',';
	struct option_pair *items = arena_alloc(env->arena, most * sizeof(*items));
	if (!items)
		return no_memory(env);
	while (span_next(&rest, ',', &part)) {
		if (span_trim(part).len == 0)
			continue;
		int result = put_pair(env, part, &items[count]);
		if (result == -ENOMEM)
			return no_memory(env);
		if (result < 0) /* without the text: it may be a secret */
			return error_set(env->err, EINVAL, "%s: entry %zu is not name=value, percent-encoded",
				variable.name, count + 1);
		count++;
	}
	*headers = (struct option_pairs){.items = items, .count = count};
	return 0;
}

static int put_compression(const struct environment *env, struct export_otlphttp_options *otlp)
{
	struct variable variable = find(env, "COMPRESSION");
	if (otlp->compression_given || !variable.value)
		return 0;
	for (int i = 0; codec_choices[i]; i++) {
		if (strcasecmp(variable.value, codec_choices[i]) == 0) {
			otlp->compression = i;
			return 0;
		}
	}
	return error_set(env->err, EINVAL, "%s: \"%s\" is none of none, gzip, zstd", variable.name,
		escape_bytes(span_str(variable.value)).text);
}

static int put_timeout(const struct environment *env, struct export_otlphttp_options *otlp)
{
	struct variable variable = find(env, "TIMEOUT");
	uint64_t ms;
	if (otlp->timeout_given || !variable.value)
		return 0;
	if (span_to_u64(span_str(variable.value), &ms) < 0 || ms == 0 || ms > UINT32_MAX)
		return error_set(env->err, EINVAL, "%s: \"%s\" is no number of milliseconds", variable.name,
			escape_bytes(span_str(variable.value)).text);
	otlp->timeout_ns = ms * NS_PER_MS;
	return 0;
}

int export_options_from_environment(
	struct export_options *options, struct arena *arena, const char *(*get)(const char *name), struct error *err)
{
	const struct environment env = {.arena = arena, .get = get, .err = err};
	struct export_otlphttp_options *otlp = &options->otlphttp;
	int result = put_endpoint(&env, otlp);
	if (result == 0)
		result = put_headers(&env, &otlp->headers);
	if (result == 0)
		result = put_compression(&env, otlp);
	if (result == 0)
		result = put_timeout(&env, otlp);
	if (result == 0)
		result = put_text(&env, "CERTIFICATE", &otlp->tls.ca_file);
	if (result == 0)
		result = put_text(&env, "CLIENT_CERTIFICATE", &otlp->tls.cert_file);
	if (result == 0)
		result = put_text(&env, "CLIENT_KEY", &otlp->tls.key_file);
	if (result == 0 && (otlp->endpoint || otlp->metrics_endpoint))
		options->otlphttp_given = true; /* shown and compared as if it had been written */
	return result;
}
