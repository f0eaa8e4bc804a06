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

struct export_otlphttp_options {
	const char *endpoint;         /* http://gateway:4318; /v1/metrics is appended (OTEL_EXPORTER_OTLP_ENDPOINT) */
	const char *metrics_endpoint; /* the whole URL instead (OTEL_EXPORTER_OTLP_METRICS_ENDPOINT) */
	struct option_pairs headers;  /* secrets: never logged or shown */
	int compression;              /* enum codec_kind: none, gzip (default), zstd */
	uint64_t timeout_ns;          /* 10s */
	struct http_tls_options tls;
	uint64_t retry_initial_ns, retry_max_ns; /* 1s, 60s */
	uint64_t max_connection_age_ns;          /* 300s, +-20 % */
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

/* Applies OTEL_EXPORTER_OTLP_{,METRICS_}{ENDPOINT,HEADERS,COMPRESSION,TIMEOUT,CERTIFICATE} (per the OpenTelemetry specification) to what the
 * configuration left unset. get: getenv or a test's. err names the variable. */
int export_options_from_environment(
	struct export_options *options, struct arena *arena, const char *(*get)(const char *name), struct error *err);

struct export_stats {
	uint64_t requests, retries;
	uint64_t failures_connect, failures_timeout, failures_tls, failures_status_retryable, failures_status_permanent;
	uint64_t sent_bytes; /* bodies, compressed */
	uint64_t consecutive_failures;
	uint64_t last_success_wall_ns;
	struct error last_error; /* "" when the last request was fine */
};

struct exporter;
/* Starts the thread. With no otlphttp endpoint records are acknowledged once debug has printed them. */
int exporter_start(const struct export_options *options, struct spool *spool, const struct log *log, struct clock clock,
	struct exporter **ret_exporter, struct error *err);
/* Sends what is queued until deadline_ns from now has passed, then ends the thread. */
void exporter_stop(struct exporter *exporter, uint64_t deadline_ns);
/* New options (reload): take effect with the next request. 0 or -errno with err, the old ones stay. */
int exporter_configure(struct exporter *exporter, const struct export_options *options, struct error *err);
void exporter_stats(struct exporter *exporter, struct export_stats *ret_stats); /* any thread */
