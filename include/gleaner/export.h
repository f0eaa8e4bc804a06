/* export: delivery of spooled records to the gateway. One thread of the core process.
 *
 * OTLP/HTTP (protobuf) by POST, one request in flight, oldest first. Retries
 * connection errors and 429/502/503/504 with exponential back-off and full jitter, without
 * end (age and size bounds of the spool end it); honours Retry-After; counts and drops what the
 * gateway refuses for good; and, when asked, prints every record as the Collector's debug exporter does.
 */
#pragma once

#include "gleaner/http.h"
#include "gleaner/otlp.h"
#include "gleaner/spool.h"

struct export_retry_options {
	uint64_t initial_ns, max_ns; /* 1s, 60s */
};
struct export_otlphttp_options {
	const char *endpoint;         /* http://gateway:4318; /v1/metrics is appended (OTEL_EXPORTER_OTLP_ENDPOINT) */
	const char *metrics_endpoint; /* the whole URL instead (OTEL_EXPORTER_OTLP_METRICS_ENDPOINT) */
	struct option_pairs headers;  /* secrets: never logged or shown */
	int compression;     /* enum codec_kind: none, gzip (default), zstd; what the scraper makes records with */
	uint64_t timeout_ns; /* 10s */
	bool compression_given, timeout_given; /* the keys were written: the environment does not change them */
	struct http_tls_options tls;
	struct export_retry_options retry;
	uint64_t max_connection_age_ns; /* 300s, +-20 % */
};
struct export_debug_options {
	bool enabled;  /* the key was written */
	int verbosity; /* enum otlp_verbosity; basic */
};
/* The exporters: object. */
struct export_options {
	struct export_otlphttp_options otlphttp;
	bool otlphttp_given;
	struct export_debug_options debug;
};
extern const struct option_table export_options_table;

/* Applies OTEL_EXPORTER_OTLP_x and OTEL_EXPORTER_OTLP_METRICS_x (which wins) to what the configuration left unset, per the
 * OpenTelemetry specification: ENDPOINT, HEADERS, COMPRESSION, TIMEOUT (ms), CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY; PROTOCOL must be
 * http/protobuf. An empty variable is an unset one. get: getenv or a test's. 0, -ENOMEM, -EINVAL (err names the variable). */
int export_options_from_environment(
	struct export_options *options, struct arena *arena, const char *(*get)(const char *name), struct error *err);

/* Whether the files of tls can be read: what exporter_start would fail with. 0 or -errno with err. */
int export_options_check_files(const struct export_options *options, struct error *err);

struct export_stats {
	uint64_t requests, retries;
	uint64_t failures_connect, failures_timeout, failures_tls, failures_status_retryable, failures_status_permanent;
	uint64_t sent_bytes; /* bodies, compressed */
	uint64_t consecutive_failures;
	uint64_t last_success_wall_ns;
	struct error last_error; /* "" when the last request was fine */
};

struct exporter;
/* Starts the thread; options are copied, files of tls are read (again after a TLS failure, and by exporter_configure). With no otlphttp
 * endpoint records are acknowledged once debug has printed them. spool and log outlive the exporter. 0 or -errno with err. */
int exporter_start(const struct export_options *options, struct spool *spool, const struct log *log, struct clock clock,
	struct exporter **ret_exporter, struct error *err);
/* Sends what is queued until deadline_ns from now has passed, ends the thread and frees the exporter. Retries meanwhile wait half a second at
 * most. What is still in flight goes back to the spool. */
void exporter_stop(struct exporter *exporter, uint64_t deadline_ns);
/* New options (reload): take effect with the next request. 0 or -errno with err, the old ones stay. */
int exporter_configure(struct exporter *exporter, const struct export_options *options, struct error *err);
void exporter_stats(struct exporter *exporter, struct export_stats *ret_stats); /* any thread */
