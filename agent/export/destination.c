#include "destination.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ARENA_BYTES = 1024 * 1024,
	TLS_TEXT_BYTES = 4 * 1024 * 1024,
};
#define CONNECT_TIMEOUT_NS (5 * NS_PER_SEC)

/* ---- tls ------------------------------------------------------------------------------- */

/* Appends a file and a NUL; *ret_at is where, SIZE_MAX when there is no such file to read. */
static int append_file(struct buf *text, const char *path, size_t *ret_at, struct error *err)
{
	*ret_at = SIZE_MAX;
	if (!path)
		return 0;
	size_t at = text->len;
	int result = file_read(path, text, err);
	if (result == 0 && buf_char(text, '\0') < 0)
		result = error_set(err, -text->failed, "out of memory");
	if (result == 0)
		*ret_at = at;
	return result;
}

static const char *text_at(const struct buf *text, size_t at)
{
	return at == SIZE_MAX ? NULL : text->ptr + at;
}

int destination_reload_tls(struct destination *destination, struct error *err)
{
	const struct http_tls_options *files = &destination->tls_files;
	struct buf text;
	size_t ca, cert, key;
	buf_init(&text, TLS_TEXT_BYTES);
	int result = append_file(&text, files->ca_file, &ca, err);
	if (result == 0)
		result = append_file(&text, files->cert_file, &cert, err);
	if (result == 0)
		result = append_file(&text, files->key_file, &key, err);
	if (result < 0) {
		buf_done(&text);
		return result;
	}
	buf_done(&destination->tls_text);
	destination->tls_text = text;
	/* A certificate of ca_file is an anchor even when it is no root, as in Go's TLS. */
	destination->tls = (struct http_tls){.ca = text_at(&text, ca),
		.cert = text_at(&text, cert),
		.key = text_at(&text, key),
		.server_name = files->server_name,
		.insecure_skip_verify = files->insecure_skip_verify,
		.partial_chain = true};
	return 0;
}

/* ---- copies ------------------------------------------------------------------------------- */

static char *join(struct arena *arena, const char *a, const char *b, const char *c)
{
	size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
	char *text = arena_alloc(arena, size);
	if (text)
		snprintf(text, size, "%s%s%s", a, b, c);
	return text;
}

static int copy_text(struct arena *arena, const char *text, const char **ret_copy)
{
	*ret_copy = text ? arena_strdup(arena, text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

static int copy_url(struct destination *destination, const struct export_otlphttp_options *otlp)
{
	struct span base = span_str(otlp->endpoint);
	if (otlp->metrics_endpoint)
		return copy_text(&destination->arena, otlp->metrics_endpoint, &destination->url);
	if (!otlp->endpoint)
		return 0;
	destination->url =
		join(&destination->arena, otlp->endpoint, span_ends_with(base, SPAN("/")) ? "" : "/", "v1/metrics");
	return destination->url ? 0 : -ENOMEM;
}

static const char *content_encoding(enum codec_kind codec)
{
	static const char *const lines[] = {
		[CODEC_NONE] = NULL, [CODEC_GZIP] = "Content-Encoding: gzip", [CODEC_ZSTD] = "Content-Encoding: zstd"};
	return lines[codec];
}

static int copy_headers(struct destination *destination, const struct option_pairs *pairs)
{
	struct arena *arena = &destination->arena;
	for (size_t codec = 0; codec < ARRAY_SIZE(destination->headers); codec++) {
		const char **lines = arena_alloc(arena, (pairs->count + 4) * sizeof(*lines));
		if (!lines)
			return -ENOMEM;
		size_t count = 0;
		lines[count++] = "Content-Type: application/x-protobuf";
		lines[count++] = "User-Agent: gleaner/" GLEANER_VERSION;
		if (content_encoding((enum codec_kind)codec))
			lines[count++] = content_encoding((enum codec_kind)codec);
		for (size_t i = 0; i < pairs->count; i++) {
			lines[count] = codec > 0 ? destination->headers[0][i + 2]
						 : join(arena, pairs->items[i].name, ": ", pairs->items[i].value);
			if (!lines[count++])
				return -ENOMEM;
		}
		lines[count] = NULL;
		destination->headers[codec] = lines;
	}
	return 0;
}

static int copy_files(struct destination *destination, const struct http_tls_options *tls)
{
	struct http_tls_options *files = &destination->tls_files;
	struct arena *arena = &destination->arena;
	files->insecure_skip_verify = tls->insecure_skip_verify;
	int result = copy_text(arena, tls->ca_file, &files->ca_file);
	if (result == 0)
		result = copy_text(arena, tls->cert_file, &files->cert_file);
	if (result == 0)
		result = copy_text(arena, tls->key_file, &files->key_file);
	return result == 0 ? copy_text(arena, tls->server_name, &files->server_name) : result;
}

static int fill(struct destination *destination, const struct export_options *options, struct error *err)
{
	const struct export_otlphttp_options *otlp = &options->otlphttp;
	destination->timeout_ns = otlp->timeout_ns;
	destination->connect_timeout_ns = otlp->timeout_ns < CONNECT_TIMEOUT_NS ? otlp->timeout_ns : CONNECT_TIMEOUT_NS;
	destination->retry = otlp->retry;
	destination->max_connection_age_ns = otlp->max_connection_age_ns;
	destination->debug = options->debug;
	if (copy_url(destination, otlp) < 0 || copy_headers(destination, &otlp->headers) < 0 ||
		copy_files(destination, &otlp->tls) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return destination_reload_tls(destination, err);
}

int destination_new(const struct export_options *options, struct destination **ret_destination, struct error *err)
{
	struct destination *destination = calloc(1, sizeof(*destination));
	if (!destination)
		return error_set(err, ENOMEM, "out of memory");
	arena_init(&destination->arena, ARENA_BYTES);
	buf_init(&destination->tls_text, TLS_TEXT_BYTES);
	int result = fill(destination, options, err);
	if (result < 0) {
		destination_free(destination);
		return result;
	}
	*ret_destination = destination;
	return 0;
}

int export_options_check_files(const struct export_options *options, struct error *err)
{
	struct destination *destination;
	int result = destination_new(options, &destination, err);
	if (result < 0)
		return result;
	destination_free(destination);
	return 0;
}

void destination_free(struct destination *destination)
{
	if (!destination)
		return;
	buf_done(&destination->tls_text);
	arena_done(&destination->arena);
	free(destination);
}
