/* destination: what one configuration says about where and how to send, copied and ready for use. */
#pragma once

#include "gleaner/export.h"

struct destination {
	struct arena arena;
	const char *url; /* NULL: nothing is sent */
	/* For each codec: NULL-terminated lines, Content-Encoding among them. */
	const char *const *headers[CODEC_ZSTD + 1];
	uint64_t timeout_ns, connect_timeout_ns;
	struct http_tls_options tls_files;
	struct http_tls tls; /* texts in tls_text */
	struct buf tls_text;
	struct export_retry_options retry;
	uint64_t max_connection_age_ns;
	struct export_debug_options debug;
};

/* Reads the tls files. 0; -ENOMEM, -EINVAL or file_read's error, with err. */
int destination_new(const struct export_options *options, struct destination **ret_destination, struct error *err);
void destination_free(struct destination *destination);
/* Reads the tls files again: certificates rotate. On failure the old texts stay. Not while a request uses them. */
int destination_reload_tls(struct destination *destination, struct error *err);
