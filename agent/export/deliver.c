/* Delivery: one record after the other, oldest first.
 *
 *   1. deliver_next peeks the oldest record; debug prints it, once
 *   2. it is POSTed with the Content-Encoding that it was made with
 *   3. answered: verdict.c says what it means
 *        delivered, refused   ack or drop, and on to the next one
 *        retry                the record goes back to the spool (whose bounds hold again), a wait, then step 1
 *
 * Failure modes: an outage fills the spool and costs its oldest records, counted there; a client that cannot be made for lack
 * of memory is waited for like an outage.
 */
#include "exporter.h"

#include <errno.h>
#include <unistd.h>

enum {
	MAX_DEBUG_BYTES = 512 * 1024 * 1024, /* of text; a detailed record of 8192 points takes about 8 MiB */
	MAX_REQUEST_BYTES = 64 * 1024 * 1024,
};
#define LAST_WAIT_NS (500 * NS_PER_MS)
#define IDLE_NS      (50 * NS_PER_SEC) /* below the usual 60 s of load balancers */

static void answered(void *arg, const struct http_response *response);

/* ---- statistics and log ------------------------------------------------------------------- */

static uint64_t *failure_counter(struct export_stats *stats, const struct http_response *response, enum verdict verdict)
{
	if (verdict == VERDICT_REFUSED)
		return &stats->failures_status_permanent;
	if (verdict_is_answer(response))
		return &stats->failures_status_retryable;
	switch (response->failure) {
	case HTTP_TIMEOUT:
		return &stats->failures_timeout;
	case HTTP_TLS:
	case HTTP_TLS_VERIFY:
		return &stats->failures_tls;
	default:
		return &stats->failures_connect;
	}
}

static void count(struct exporter *exporter, const struct http_response *response, const struct judgement *judgement)
{
	bool delivered = judgement->verdict == VERDICT_DELIVERED;
	exporter->failures = delivered || judgement->verdict == VERDICT_REFUSED ? 0 : exporter->failures + 1;
	pthread_mutex_lock(&exporter->lock);
	struct export_stats *stats = &exporter->stats;
	stats->consecutive_failures = exporter->failures;
	stats->last_error = delivered ? (struct error){""} : judgement->text;
	if (delivered)
		stats->last_success_wall_ns = clock_wall(&exporter->clock);
	else
		(*failure_counter(stats, response, judgement->verdict))++;
	pthread_mutex_unlock(&exporter->lock);
}

static void count_request(struct exporter *exporter)
{
	bool again = exporter->tried_id == exporter->record.id;
	if (!again)
		exporter->limited_failures = 0;
	exporter->tried_id = exporter->record.id;
	pthread_mutex_lock(&exporter->lock);
	exporter->stats.requests++;
	exporter->stats.retries += again;
	exporter->stats.sent_bytes += exporter->record.body.len;
	pthread_mutex_unlock(&exporter->lock);
}

static bool may_log(struct exporter *exporter, struct log_limit *limit)
{
	return log_allowed(limit, clock_mono(&exporter->clock));
}

/* ---- debug --------------------------------------------------------------------------------- */

static void write_all(int fd, struct span text)
{
	while (text.len > 0) {
		ssize_t written = write(fd, text.ptr, text.len);
		if (written < 0 && errno != EINTR)
			return;
		if (written > 0)
			text = span_of(text.ptr + written, text.len - (size_t)written);
	}
}

static void print_record(struct exporter *exporter)
{
	const struct spool_record *record = &exporter->record;
	struct buf request, text;
	struct time_text now;
	buf_init(&request, MAX_REQUEST_BYTES);
	buf_init(&text, MAX_DEBUG_BYTES);
	time_format(clock_wall(&exporter->clock), &now);
	int result = codec_decompress(record->codec, record->body, &request);
	if (result == 0)
		result = otlp_debug(buf_view(&request), (enum otlp_verbosity)exporter->destination->debug.verbosity,
			now.text, &text);
	if (result == 0)
		write_all(STDERR_FILENO, buf_view(&text));
	else if (may_log(exporter, &exporter->refused_log))
		log_error(exporter->log, "export: debug cannot print a record: %s", strerror(-result));
	buf_done(&request);
	buf_done(&text);
}

static void debug(struct exporter *exporter)
{
	if (!exporter->destination->debug.enabled || exporter->record.id <= exporter->printed_id)
		return;
	exporter->printed_id = exporter->record.id;
	print_record(exporter);
}

/* ---- sending --------------------------------------------------------------------------------- */

int deliver_renew_client(struct exporter *exporter)
{
	uint64_t age = exporter->destination->max_connection_age_ns;
	struct http_options options = {.max_connections = 2,
		.dials = true,
		.max_lifetime_ns = age - age / 5 + rng_below(&exporter->rng, age / 5 * 2 + 1),
		.max_idle_ns = IDLE_NS};
	struct http *http;
	int result = http_new(exporter->loop, options, &http);
	if (result < 0)
		return result;
	http_free(exporter->http);
	exporter->http = http;
	return 0;
}

static int keep_body(void *arg, struct span piece)
{
	struct exporter *exporter = arg;
	return buf_span(&exporter->response, piece);
}

static void wait_then_next(struct exporter *exporter, uint64_t wait_ns)
{
	if (exporter->stopping && wait_ns > LAST_WAIT_NS)
		wait_ns = LAST_WAIT_NS;
	loop_watch_set(exporter->spool_watch, 0);
	loop_timer_set(exporter->timer, wait_ns);
}

static void retry(struct exporter *exporter, uint64_t retry_after_ns, const char *why)
{
	uint64_t wait_ns =
		verdict_wait_ns(&exporter->destination->retry, exporter->failures, retry_after_ns, &exporter->rng);
	if (may_log(exporter, &exporter->failure_log))
		log_warn(exporter->log, "export: %s; attempt %llu, the next one in %s", why,
			(unsigned long long)exporter->failures, duration_format(wait_ns).text);
	wait_then_next(exporter, wait_ns);
}

static void send_failed(struct exporter *exporter, const struct error *err)
{
	struct http_response none = {.failure = HTTP_OTHER};
	struct judgement judgement = {.verdict = VERDICT_RETRY, .text = *err};
	spool_release(exporter->spool, exporter->record.id);
	count(exporter, &none, &judgement);
	retry(exporter, 0, err->text);
}

static void send_record(struct exporter *exporter)
{
	const struct destination *destination = exporter->destination;
	struct error err = {""};
	struct http_request request = {.url = destination->url,
		.post = true,
		.headers = destination->headers[exporter->record.codec],
		.body = exporter->record.body,
		.timeout_ns = destination->timeout_ns,
		.connect_timeout_ns = destination->connect_timeout_ns,
		.max_body_bytes = EXPORT_RESPONSE_BYTES,
		.tls = &destination->tls,
		.connected_fd = -1,
		.on_body = keep_body,
		.on_done = answered,
		.arg = exporter};
	buf_reset(&exporter->response);
	count_request(exporter);
	loop_watch_set(exporter->spool_watch, 0);
	if (http_start(exporter->http, &request, &exporter->call, &err) < 0)
		send_failed(exporter, &err);
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void delivered(struct exporter *exporter, uint64_t failures_before, const struct judgement *judgement)
{
	if (judgement->text.text[0] && may_log(exporter, &exporter->partial_log))
		log_warn(exporter->log, "export: %s", judgement->text.text);
	if (failures_before > 0) {
		log_info(exporter->log, "export: delivered again after %llu failed attempts",
			(unsigned long long)failures_before);
		exporter->failure_log.next_ns = 0; /* the next outage is news */
	}
	spool_ack(exporter->spool, exporter->record.id, judgement->rejected_points);
}

static void refused(struct exporter *exporter, const struct judgement *judgement)
{
	if (may_log(exporter, &exporter->refused_log))
		log_error(exporter->log, "export: %s refused a batch of %u points for good, it is dropped: %s",
			exporter->destination->url, exporter->record.points, judgement->text.text);
	spool_drop(exporter->spool, exporter->record.id, SPOOL_DROP_REFUSED);
}

/* Certificates rotate: what failed with the old files may work with the new ones. */
static void reload_tls(struct exporter *exporter)
{
	struct error err = {""};
	if (destination_reload_tls(exporter->destination, &err) < 0 && may_log(exporter, &exporter->refused_log))
		log_error(exporter->log, "export: tls: %s", err.text);
}

static void answered(void *arg, const struct http_response *response)
{
	struct exporter *exporter = arg;
	struct judgement judgement;
	uint64_t failures_before = exporter->failures;
	exporter->call = NULL;
	verdict_judge(response, buf_view(&exporter->response), &judgement);
	if (judgement.verdict == VERDICT_LIMITED && exporter->limited_failures++ >= VERDICT_LIMITED_RETRIES)
		judgement.verdict = VERDICT_REFUSED;
	count(exporter, response, &judgement);
	switch (judgement.verdict) {
	case VERDICT_DELIVERED:
		delivered(exporter, failures_before, &judgement);
		wait_then_next(exporter, 0);
		return;
	case VERDICT_REFUSED:
		refused(exporter, &judgement);
		wait_then_next(exporter, 0);
		return;
	default:
		spool_release(exporter->spool, exporter->record.id);
		if (response->failure == HTTP_TLS || response->failure == HTTP_TLS_VERIFY)
			reload_tls(exporter);
		retry(exporter, verdict_retry_after_ns(response->retry_after, clock_wall(&exporter->clock)),
			judgement.text.text);
	}
}

/* ---- steps --------------------------------------------------------------------------------------- */

static void take_over(struct exporter *exporter)
{
	pthread_mutex_lock(&exporter->lock);
	struct destination *pending = exporter->pending;
	exporter->pending = NULL;
	pthread_mutex_unlock(&exporter->lock);
	if (!pending)
		return;
	destination_free(exporter->destination);
	exporter->destination = pending;
	if (deliver_renew_client(exporter) < 0)
		log_error(exporter->log, "export: out of memory; connections of the old configuration are kept");
}

void deliver_next(struct exporter *exporter)
{
	if (exporter->call)
		return;
	take_over(exporter);
	loop_timer_cancel(exporter->timer);
	if (spool_peek(exporter->spool, &exporter->record) == 0) {
		if (exporter->stopping)
			loop_stop(exporter->loop);
		else
			loop_watch_set(exporter->spool_watch, LOOP_READ);
		return;
	}
	debug(exporter);
	if (exporter->destination->url) {
		send_record(exporter);
	} else {
		spool_ack(exporter->spool, exporter->record.id, 0);
		wait_then_next(exporter, 0);
	}
}

void deliver_last(struct exporter *exporter)
{
	exporter->stopping = true;
	exporter->failures = 0;
	deliver_next(exporter);
}
