/* One scrape in flight, from its tick to its report.
 *
 *   due -> fetch on a kept connection -> (none there: ask the core to dial -> fetch on the new socket) -> ingest -> report
 *
 * The timeout covers all of it. Every way out ends in flight_land, which always ingests: a failed fetch is an empty
 * scrape (up 0, stale points). Failure of the core's dial comes as the answer's errno and text.
 */
#include "scraper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What a trial may take. */
enum { TRIAL_BODY_BYTES = 4 << 20 };
#define TRIAL_TIMEOUT_NS (2 * NS_PER_SEC)

/* Body buffers kept for the next scrape, all idle flights together. */
enum { IDLE_BODY_BYTES = 8 << 20 };

struct flight {
	struct flight *next_idle;
	struct scraper *scraper;
	struct scraper_target *target;
	struct scrape_fetch *fetch;
	struct scrape_body body;
	uint64_t start_mono_ns;
	uint64_t fetch_ns;         /* our own time for the requests that came to nothing */
	struct connection *window; /* of the request that was sent; NULL: none, or its connection is not known */
	uint64_t parse_ns;         /* our own time for its body */
	bool dialling;
};

static void flight_fetched(void *arg, const struct scrape_fetch_result *result);

static uint64_t flight_elapsed(const struct flight *flight)
{
	return clock_mono(&flight->scraper->clock) - flight->start_mono_ns;
}

/* ---- the window of its request (windows.h) ------------------------------------------ */

static void flight_answered(struct flight *flight, bool whole)
{
	if (flight->window)
		windows_sent(flight->window, whole);
	flight->window = NULL;
}

static void flight_sends(void *arg, const struct http_endpoints *endpoints)
{
	struct flight *flight = arg;
	const struct scraper_target *target = flight->target;
	flight_answered(flight, false); /* of an attempt over a connection that was dead */
	flight->window = windows_send(&flight->scraper->windows, endpoints, target->target, target->entry.key,
		target->entry.tick_ns, target->server_tgid);
}

static void close_socket(struct scraper *scraper, int fd)
{
	if (fd < 0)
		return;
	windows_closing(&scraper->windows, fd);
	close(fd);
}

/* ---- the pool ------------------------------------------------------------------- */

static struct flight *flight_take(struct scraper *scraper)
{
	struct flight *flight = scraper->idle_flights;
	if (flight) {
		scraper->idle_flights = flight->next_idle;
		scraper->idle_body_bytes -= flight->body.bytes.cap;
		return flight;
	}
	flight = calloc(1, sizeof(*flight));
	if (!flight)
		return NULL;
	flight->scraper = scraper;
	buf_init(&flight->body.bytes, (size_t)scraper->settings.max_body_bytes + EXPO_PADDING);
	if (scrape_fetch_new(scraper->http, &scraper->body_memory, &flight->fetch) < 0) {
		free(flight);
		return NULL;
	}
	scrape_fetch_watch(flight->fetch, flight_sends, flight);
	return flight;
}

static void flight_put_back(struct scraper *scraper, struct flight *flight)
{
	flight->target->flight = NULL;
	flight->target = NULL;
	flight->fetch_ns = flight->parse_ns = 0;
	if (scraper->idle_body_bytes + flight->body.bytes.cap > IDLE_BODY_BYTES)
		buf_done(&flight->body.bytes);
	scraper->idle_body_bytes += flight->body.bytes.cap;
	flight->next_idle = scraper->idle_flights;
	scraper->idle_flights = flight;
	scraper->in_flight--;
}

void flights_free(struct scraper *scraper)
{
	while (scraper->idle_flights) {
		struct flight *flight = scraper->idle_flights;
		scraper->idle_flights = flight->next_idle;
		scrape_fetch_free(flight->fetch);
		buf_done(&flight->body.bytes);
		free(flight);
	}
}

void flight_cancel(struct scraper *scraper, struct scraper_target *target)
{
	if (!target->flight->dialling)
		scrape_fetch_cancel(target->flight->fetch);
	flight_answered(target->flight, false);
	flight_put_back(scraper, target->flight);
}

/* ---- the end of a scrape ----------------------------------------------------------- */

static void fill_report(const struct flight *flight, const struct scrape_fetch_result *fetched,
	const struct scrape_outcome *outcome, struct wire_scraped *scraped)
{
	const struct series_result *series = &outcome->series;
	struct scrape_entry *entry = &flight->target->entry;
	*scraped = (struct wire_scraped){
		.key = entry->key,
		.tick_ns = entry->tick_ns,
		.duration_ns = flight_elapsed(flight),
		.connect_ns = fetched->connect_ns,
		.first_byte_ns = fetched->first_byte_ns,
		.ingest_ns = outcome->ingest_ns + outcome->report_ns,
		.body_bytes = fetched->ok ? flight->body.bytes.len : 0,
		.wire_bytes = flight->body.wire_bytes,
		.samples = series->samples,
		.samples_kept = series->samples_kept,
		.series_added = series->series_added,
		.points = series->points,
		.stale_points = series->stale_points,
		.tolerated = series->tolerated,
		.missed_ticks = entry->missed,
		.fetch_cpu_ns = flight->fetch_ns,
		.parse_cpu_ns = flight->parse_ns,
		.up = outcome->up,
	};
	_Static_assert(SERIES_DROP_COUNT <= WIRE_DROP_REASONS, "every reason has its place in the message");
	memcpy(scraped->dropped, series->dropped, sizeof(series->dropped));
	const char *reason = fetched->ok ? outcome->reason : fetched->reason;
	if (reason)
		snprintf(scraped->reason, sizeof(scraped->reason), "%s", reason);
	entry->missed = 0;
}

/* A trial whose answer is no exposition. */
static bool is_refused(const struct flight *flight, const struct scrape_input *input, struct scrape_outcome *outcome)
{
	if (!flight->target->trial)
		return false;
	if (input->ok &&
		scrape_is_exposition(input->body, input->content_type, flight->scraper->settings.max_line_bytes))
		return false;
	outcome->reason = "no_exposition";
	error_set(&outcome->error, EPROTO, "the body is no exposition");
	return true;
}

/* With the time it took, without that of a record that was sent because the batch was full. */
static int flight_ingest(struct flight *flight, const struct scrape_input *input, struct scrape_outcome *outcome)
{
	struct scraper *scraper = flight->scraper;
	uint64_t started_ns = outbox_clock(scraper, input->body.len), records_ns = scraper->outbox.busy_ns;
	int result = scrape_ingest(&flight->target->scrape, input, scraper->outbox.batch, &scraper->clock, outcome);
	uint64_t took_ns = outbox_clock(scraper, input->body.len) - started_ns;
	records_ns = scraper->outbox.busy_ns - records_ns;
	flight->parse_ns = took_ns > records_ns ? took_ns - records_ns : 0;
	return result;
}

/* Body (or failure) -> batch -> report -> back into the schedule. */
static void flight_land(struct flight *flight, const struct scrape_fetch_result *fetched)
{
	struct scraper *scraper = flight->scraper;
	struct scraper_target *target = flight->target;
	struct scrape_input input = {
		.ok = fetched->ok,
		.body_limit_hit = fetched->body_limit_hit,
		.body = buf_view(&flight->body.bytes),
		.content_type = span_str(flight->body.content_type),
		.time_ns = target->entry.tick_ns,
		.duration_ns = flight_elapsed(flight),
	};
	struct scrape_outcome outcome = {0};
	/* From here on a crash is this target's doing. */
	int result = wire_send(scraper->wire, WIRE_INGEST, &(struct wire_key){target->entry.key}, SPAN_NONE, -1);
	bool refused = result == 0 && is_refused(flight, &input, &outcome);
	if (result == 0 && !refused)
		result = flight_ingest(flight, &input, &outcome);
	if (result == 0)
		result = wire_send(scraper->wire, WIRE_INGEST, &(struct wire_key){0}, SPAN_NONE, -1);
	if (result < 0) {
		scraper_fail(scraper, "ingest", result);
		return;
	}
	scraper->lines_hit += outcome.series.hits;
	scraper->lines_moved += outcome.series.moved;
	scraper->lines_missed += outcome.series.misses;
	struct wire_scraped scraped;
	fill_report(flight, fetched, &outcome, &scraped);
	outbox_hold(scraper, &scraped, fetched->ok ? &outcome.error : &fetched->error);
	outbox_touched(scraper);

	flight_put_back(scraper, flight);
	if (refused) /* the core takes it away, or lets it try once more */
		return;
	target->trial = false;
	result = scrape_schedule_again(&scraper->schedule, &target->entry, 0, clock_wall(&scraper->clock));
	if (result < 0)
		scraper_fail(scraper, "schedule", result);
}

/* ---- the way there ------------------------------------------------------------------ */

static void flight_fail(struct flight *flight, enum http_failure failure, const char *reason, const char *text)
{
	struct scrape_fetch_result result = {.failure = failure, .reason = reason, .total_ns = flight_elapsed(flight)};
	error_set(&result.error, EIO, "%s", text);
	flight_land(flight, &result);
}

static void flight_fetch(struct flight *flight, int connected_fd)
{
	const struct target *target = flight->target->target;
	uint64_t elapsed = flight_elapsed(flight);
	struct error err = {""};
	flight->dialling = false;
	bool trial = flight->target->trial;
	uint64_t max_body_bytes = flight->scraper->settings.max_body_bytes, timeout_ns = target->timeout_ns;
	if (trial && timeout_ns > TRIAL_TIMEOUT_NS)
		timeout_ns = TRIAL_TIMEOUT_NS;
	if (trial && max_body_bytes > TRIAL_BODY_BYTES)
		max_body_bytes = TRIAL_BODY_BYTES;
	if (elapsed >= timeout_ns) {
		close_socket(flight->scraper, connected_fd);
		flight_fail(flight, HTTP_TIMEOUT, "timeout", "timed out while connecting");
		return;
	}
	int result = scrape_fetch_start(flight->fetch, target, connected_fd, max_body_bytes, timeout_ns - elapsed,
		&flight->body, flight_fetched, flight, &err);
	if (result < 0) {
		if (connected_fd >= 0) /* closed by the call */
			windows_closing(&flight->scraper->windows, connected_fd);
		flight_fail(flight, HTTP_OTHER, "request", err.text);
	}
}

static void flight_fetched(void *arg, const struct scrape_fetch_result *fetched)
{
	struct flight *flight = arg;
	struct scraper *scraper = flight->scraper;
	flight_answered(flight, fetched->failure == HTTP_OK);
	flight->fetch_ns += fetched->busy_ns;
	if (fetched->failure == HTTP_NEED_SOCKET) {
		flight->dialling = true;
		int result = wire_send(
			scraper->wire, WIRE_DIAL, &(struct wire_key){flight->target->entry.key}, SPAN_NONE, -1);
		if (result < 0)
			scraper_fail(scraper, "ask for a socket", result);
		return;
	}
	flight_land(flight, fetched);
	flights_start_due(scraper);
}

void flight_got_socket(struct scraper *scraper, const struct wire_message *message)
{
	const struct wire_socket *socket = message->fixed;
	struct scraper_target *target = scraper_find_target(scraper, socket->key);
	if (message->fd >= 0)
		windows_connected(&scraper->windows, message->fd, socket->slot);
	if (!target || !target->flight || !target->flight->dialling) {
		close_socket(scraper, message->fd); /* the target went, or changed, meanwhile */
		return;
	}
	struct error text;
	error_set(&text, (int)socket->error, "%.*s", SPAN_ARGS(message->tail));
	if (socket->error == 0)
		flight_fetch(target->flight, message->fd);
	else
		flight_fail(target->flight, HTTP_CONNECT, socket->error == EACCES ? "not_local" : "connect", text.text);
	flights_start_due(scraper); /* in both cases: the flight may have landed, too late for a fetch */
}

void flights_start_due(struct scraper *scraper)
{
	uint64_t wait_ns = 0;
	while (!scraper->stopping && scraper->in_flight < scraper->settings.max_concurrent) {
		struct scrape_entry *entry =
			scrape_schedule_due(&scraper->schedule, clock_wall(&scraper->clock), &wait_ns);
		if (!entry) {
			if (wait_ns != UINT64_MAX)
				loop_timer_set(scraper->due_timer, wait_ns);
			return;
		}
		struct scraper_target *target =
			(struct scraper_target *)((char *)entry - offsetof(struct scraper_target, entry));
		struct flight *flight = flight_take(scraper);
		if (!flight) {
			scraper_fail(scraper, "start a scrape", -ENOMEM);
			return;
		}
		scraper->in_flight++;
		target->flight = flight;
		flight->target = target;
		flight->start_mono_ns = clock_mono(&scraper->clock);
		int result = wire_send(scraper->wire, WIRE_FETCH, &(struct wire_key){entry->key}, SPAN_NONE, -1);
		if (result < 0) {
			scraper_fail(scraper, "start a scrape", result);
			return;
		}
		flight_fetch(flight, -1);
	}
}

void flight_start_now(struct scraper *scraper, uint64_t key)
{
	struct scraper_target *target = scraper_find_target(scraper, key);
	if (target && scrape_schedule_now(&scraper->schedule, &target->entry, clock_wall(&scraper->clock)))
		flights_start_due(scraper);
}
