/* From the open batch to the core.
 *
 * 1. Scrapes append points to one batch; it seals itself when full, and the timer seals it when its first point gets old.
 * 2. A sealed request is compressed and sent as a record.
 * 3. Only then are the reports of the scrapes in it sent: a report means "committed", and a scraper that replaces this one repeats
 *    every scrape without a report.
 */
#include "scraper.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define YOUNG_NS (10 * NS_PER_SEC)

/* Work on this much takes 150 us and more. */
enum { LONG_WORK_BYTES = 256 << 10 };

/* A CPU clock is a system call: 520 ns where the monotonic clock takes 22, and a scrape of 20 KB takes 60 us in all. But the monotonic
 * clock counts what others run meanwhile, which is likely only where the work takes long; there the call costs less than 1 %. */
uint64_t outbox_clock(const struct scraper *scraper, size_t bytes)
{
	struct timespec time;
	if (bytes < LONG_WORK_BYTES || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) < 0)
		return clock_mono(&scraper->clock);
	return (uint64_t)time.tv_sec * NS_PER_SEC + (uint64_t)time.tv_nsec;
}

/* Points of a scrape, in whatever records. */
static uint64_t weight(const struct wire_scraped *scraped)
{
	return scraped->points + scraped->stale_points + SERIES_REPORT_METRICS;
}

/* By points. all: no other scrape has points in what was sent. */
static void share_spent(struct outbox *outbox, bool all)
{
	struct outbox_spent *spent = &outbox->spent, given = {0};
	uint64_t points = 0;
	for (size_t i = 0; i < outbox->held_count; i++)
		points += weight(&outbox->held[i].scraped);
	if (!all && points < spent->points)
		points = spent->points;
	for (size_t i = 0; i < outbox->held_count; i++) {
		struct wire_scraped *scraped = &outbox->held[i].scraped;
		uint64_t own = weight(scraped);
		scraped->encode_cpu_ns = spent->encode_ns * own / points;
		scraped->compress_cpu_ns = spent->compress_ns * own / points;
		scraped->record_bytes = spent->record_bytes * own / points;
		given.encode_ns += scraped->encode_cpu_ns;
		given.compress_ns += scraped->compress_cpu_ns;
		given.record_bytes += scraped->record_bytes;
		given.points += own;
	}
	/* The rest belongs to the scrape that is being parsed: its report comes with another record. */
	spent->encode_ns -= given.encode_ns;
	spent->compress_ns -= given.compress_ns;
	spent->record_bytes -= given.record_bytes;
	spent->points -= given.points < spent->points ? given.points : spent->points;
}

static void send_held(struct scraper *scraper, bool all)
{
	struct outbox *outbox = &scraper->outbox;
	if (outbox->held_count > 0)
		share_spent(outbox, all);
	for (size_t i = 0; i < outbox->held_count; i++) {
		const struct held_report *report = &outbox->held[i];
		int result = wire_send(scraper->wire, WIRE_SCRAPED, &report->scraped, span_str(report->error.text), -1);
		if (result < 0)
			scraper_fail(scraper, "send report", result);
	}
	outbox->held_count = 0;
}

/* otlp_batch's callback. */
static int send_record(void *arg, const struct otlp_request *request)
{
	struct scraper *scraper = arg;
	struct outbox *outbox = &scraper->outbox;
	struct wire_record record = {
		.codec = outbox->codec_kind,
		.points = request->points,
		.t_min_ns = request->t_min_ns,
		.t_max_ns = request->t_max_ns,
		.uncompressed_bytes = request->body.len,
	};
	struct span body = request->body;
	struct outbox_spent *spent = &outbox->spent;
	if (outbox->seal_ns != 0)
		spent->encode_ns += clock_mono(&scraper->clock) - outbox->seal_ns;
	uint64_t started_ns = outbox_clock(scraper, request->body.len);
	if (outbox->codec_kind != CODEC_NONE) {
		buf_reset(&outbox->compressed);
		int result = codec_compress(outbox->codec, request->body, &outbox->compressed);
		if (result < 0)
			return result;
		body = buf_view(&outbox->compressed);
	}
	uint64_t compressed_ns = outbox_clock(scraper, request->body.len);
	spent->compress_ns += compressed_ns - started_ns;
	spent->record_bytes += body.len;
	spent->points += request->points;
	int result = wire_send(scraper->wire, WIRE_RECORD, &record, body, -1);
	if (result == 0)
		send_held(scraper, outbox->seal_ns != 0);
	outbox->busy_ns += outbox_clock(scraper, request->body.len) - started_ns;
	return result;
}

void outbox_flush(struct scraper *scraper)
{
	struct outbox *outbox = &scraper->outbox;
	loop_timer_cancel(outbox->timer);
	outbox->timer_set = false;
	outbox->seal_ns = clock_mono(&scraper->clock);
	int result = otlp_batch_seal(outbox->batch);
	outbox->seal_ns = 0;
	if (result < 0)
		scraper_fail(scraper, "seal batch", result);
	send_held(scraper, true); /* of scrapes that ended exactly when the batch was full */
	outbox->spent = (struct outbox_spent){0};
}

static void batch_is_old(void *arg)
{
	outbox_flush(arg);
}

/* A scraper that was killed has a successor that may be killed, too: what a young one has is handed over soon, so that even kills
 * in a row lose nobody's scrape. */
static uint64_t batch_timeout(const struct scraper *scraper)
{
	bool young = clock_mono(&scraper->clock) - scraper->started_ns < YOUNG_NS;
	return scraper->settings.batch_timeout_ns / (young ? 20 : 1);
}

void outbox_touched(struct scraper *scraper)
{
	struct outbox *outbox = &scraper->outbox;
	if (outbox->timer_set)
		return;
	outbox->timer_set = true;
	loop_timer_set(outbox->timer, batch_timeout(scraper));
}

void outbox_hold(struct scraper *scraper, const struct wire_scraped *scraped, const struct error *error)
{
	struct outbox *outbox = &scraper->outbox;
	if (outbox->held_count == outbox->held_cap) {
		size_t cap = outbox->held_cap ? outbox->held_cap * 2 : 64;
		struct held_report *held = realloc(outbox->held, cap * sizeof(*held));
		if (!held) {
			scraper_fail(scraper, "hold report", -ENOMEM);
			return;
		}
		outbox->held = held;
		outbox->held_cap = cap;
	}
	outbox->held[outbox->held_count++] = (struct held_report){*scraped, *error};
}

int outbox_init(struct scraper *scraper)
{
	struct outbox *outbox = &scraper->outbox;
	const struct wire_settings *settings = &scraper->settings;
	outbox->codec_kind = settings->codec;
	buf_init(&outbox->compressed, WIRE_MAX - sizeof(struct wire_record));
	int result = outbox->codec_kind == CODEC_NONE ? 0 : codec_new(outbox->codec_kind, &outbox->codec);
	struct otlp_batch_limits limits = {(uint32_t)settings->batch_points, (size_t)settings->batch_bytes};
	if (result == 0)
		result = otlp_batch_new(limits, send_record, scraper, &outbox->batch);
	if (result == 0)
		result = loop_timer_new(scraper->loop, batch_is_old, scraper, &outbox->timer);
	return result;
}

void outbox_done(struct scraper *scraper)
{
	struct outbox *outbox = &scraper->outbox;
	loop_timer_free(outbox->timer);
	otlp_batch_free(outbox->batch);
	codec_free(outbox->codec);
	buf_done(&outbox->compressed);
	free(outbox->held);
}
