/* The scraper process: start, messages, heartbeat, stop.
 *
 * 1. Close what was inherited, initialise the libraries (they may read files), read the system's certificates, then give
 *    everything up (sandbox.c).
 * 2. The core's first message brings the settings; then jobs and targets come and go.
 * 3. The timer of the schedule starts what is due (flight.c); records and reports leave through the outbox.
 * 4. WIRE_STOP: seal, send, answer, exit. Should the core go away, exit at once: its successor starts its own scraper.
 *
 * Failure: whatever cannot be worked with (no memory, damage on the wire) ends the process. The core starts another, which
 * loses no committed scrape and no other target's.
 */
#include "gleaner/scraper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "scraper.h"

enum { EXIT_UNUSABLE = 3, SYSTEM_CA_BYTES = 4 << 20 };

const struct log *scraper_log(void)
{
	static const struct log log = {.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .role = "scraper"};
	return &log;
}

void scraper_fail(struct scraper *scraper, const char *what, int result)
{
	if (scraper->exit_status == 0)
		log_error(scraper_log(), "%s: %s; the scraper gives up and will be replaced", what, strerror(-result));
	scraper->exit_status = EXIT_UNUSABLE;
	scraper->stopping = true;
	loop_stop(scraper->loop);
}

static void send_heartbeat(void *arg)
{
	struct scraper *scraper = arg;
	struct series_stats stats = {0};
	if (scraper->store)
		series_store_stats(scraper->store, &stats);
	struct wire_heartbeat heartbeat = {
		.targets = scraper->targets.count,
		.in_flight = scraper->in_flight,
		.series = stats.series,
		.thawed_bytes = stats.thawed_bytes,
		.frozen_bytes = stats.frozen_bytes,
		.thaws = stats.thaws,
		.freezes = stats.freezes,
		.rebuilds = stats.rebuilds,
		.lines_hit = scraper->lines_hit,
		.lines_moved = scraper->lines_moved,
		.lines_missed = scraper->lines_missed,
	};
	int result = wire_send(scraper->wire, WIRE_HEARTBEAT, &heartbeat, SPAN_NONE, -1);
	if (result < 0)
		scraper_fail(scraper, "heartbeat", result);
	else
		loop_timer_set(scraper->heartbeat_timer, WIRE_HEARTBEAT_NS);
}

static void targets_are_due(void *arg)
{
	flights_start_due(arg);
}

static void take_settings(struct scraper *scraper, const struct wire_settings *settings)
{
	scraper->settings = *settings;
	scraper->body_memory.max_bytes = 2 * (size_t)settings->max_body_bytes;
	scraper->options = (struct scrape_options){
		.max_body_bytes = settings->max_body_bytes,
		.max_samples = settings->max_samples,
		.max_labels = settings->max_labels,
		.max_line_bytes = settings->max_line_bytes,
	};
	int result = series_store_new(settings->series_memory_bytes, &scraper->store);
	if (result == 0)
		result = outbox_init(scraper);
	if (result < 0)
		scraper_fail(scraper, "settings", result);
	scraper->configured = true;
}

/* Everything is sealed and sent; the process ends when the core closes its side. */
static void stop(struct scraper *scraper)
{
	scraper->stopping = true;
	outbox_flush(scraper);
	int result = wire_send(scraper->wire, WIRE_STOPPED, NULL, SPAN_NONE, -1);
	if (result < 0)
		scraper_fail(scraper, "stop", result);
}

static void on_message(void *arg, const struct wire_message *message)
{
	struct scraper *scraper = arg;
	const struct wire_key *key = message->fixed;
	const struct wire_job *job = message->fixed;
	if (!scraper->configured && message->type != WIRE_SETTINGS)
		scraper_fail(scraper, "message before the settings", -EBADMSG);
	if (scraper->exit_status != 0) { /* given up; what else has come is not looked at */
		if (message->fd >= 0)
			close(message->fd);
		return;
	}
	switch (message->type) {
	case WIRE_SETTINGS:
		if (!scraper->configured)
			take_settings(scraper, message->fixed);
		break;
	case WIRE_JOB:
		scraper_put_job(scraper, job->id, message->tail);
		break;
	case WIRE_JOB_GONE:
		scraper_remove_job(scraper, job->id);
		break;
	case WIRE_TARGET:
		scraper_put_target(scraper, message->fixed, message->tail);
		break;
	case WIRE_TARGET_GONE:
		scraper_remove_target(scraper, key->key);
		break;
	case WIRE_PACE: {
		const struct wire_pace *pace = message->fixed;
		scraper_pace(scraper, pace->key, pace->stretch);
		break;
	}
	case WIRE_SCRAPE_NOW:
		flight_start_now(scraper, key->key);
		break;
	case WIRE_SOCKET:
		flight_got_socket(scraper, message);
		break;
	case WIRE_COST_MAP:
		windows_take_map(&scraper->windows, message->fixed, message->fd);
		break;
	case WIRE_STOP:
		stop(scraper);
		break;
	default: /* wire checked the direction */
		break;
	}
}

static void on_closed(void *arg, const struct error *err)
{
	struct scraper *scraper = arg;
	if (err->text[0])
		log_error(scraper_log(), "connection to the core: %s", err->text);
	loop_stop(scraper->loop);
}

/* For https targets whose job names no ca_file. A host without the file has no such targets that are trusted. 0 or -ENOMEM. */
static int read_system_ca(struct scraper *scraper)
{
	const char *path = http_system_ca_file();
	buf_init(&scraper->system_ca, SYSTEM_CA_BYTES);
	int result = path ? file_read(path, &scraper->system_ca, NULL) : 0;
	if (result < 0 && result != -ENOMEM)
		buf_reset(&scraper->system_ca);
	return result == -ENOMEM ? result : buf_char(&scraper->system_ca, '\0');
}

static void socket_closes(void *arg, int fd)
{
	struct scraper *scraper = arg;
	windows_closing(&scraper->windows, fd);
}

static int scraper_init(struct scraper *scraper, int fd)
{
	scraper->clock = clock_system();
	scraper->started_ns = clock_mono(&scraper->clock);
	map_init(&scraper->jobs, 100000);
	map_init(&scraper->targets, 1000000);
	scrape_schedule_init(&scraper->schedule);
	windows_init(&scraper->windows, scraper);
	int result = loop_new(&scraper->loop);
	/* A connection is kept for each target; the core's dial is the only way to a new one. */
	struct http_options options = {
		.max_connections = 65536, .dials = false, .on_close = socket_closes, .close_arg = scraper};
	tzset(); /* else the first strftime or certificate opens /etc/localtime */
	if (result == 0)
		result = read_system_ca(scraper);
	options.system_ca = scraper->system_ca.ptr;
	if (result == 0)
		result = http_new(scraper->loop, options, &scraper->http);
	if (result == 0)
		result = loop_timer_new(scraper->loop, targets_are_due, scraper, &scraper->due_timer);
	if (result == 0)
		result = loop_timer_new(scraper->loop, send_heartbeat, scraper, &scraper->heartbeat_timer);
	if (result == 0)
		result = wire_new(
			scraper->loop, fd, false, (struct wire_events){on_message, on_closed, scraper}, &scraper->wire);
	return result;
}

static void scraper_done(struct scraper *scraper)
{
	scraper_free_all(scraper);
	flights_free(scraper);
	outbox_done(scraper);
	series_store_free(scraper->store);
	scrape_schedule_done(&scraper->schedule);
	loop_timer_free(scraper->due_timer);
	loop_timer_free(scraper->heartbeat_timer);
	http_free(scraper->http);
	windows_done(&scraper->windows);
	buf_done(&scraper->system_ca);
	wire_free(scraper->wire);
	loop_free(scraper->loop);
}

/* A signal to the whole process group (Ctrl-C) is the core's business: it asks for a flush. */
static void ignore_signals(void)
{
	const int signals[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP};
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
}

int scraper_run(int fd)
{
	ignore_signals();
	struct scraper *scraper = calloc(1, sizeof(*scraper));
	if (!scraper)
		return EXIT_UNUSABLE;
	int result = sandbox_close_inherited(fd);
	if (result == 0)
		result = scraper_init(scraper, fd);
	if (result == 0)
		result = sandbox_enter();
	if (result < 0) {
		log_error(scraper_log(), "start: %s", strerror(-result));
		scraper->exit_status = EXIT_UNUSABLE;
	} else {
		memory_forget_start();
		send_heartbeat(scraper);
		loop_run(scraper->loop);
	}
	int status = scraper->exit_status;
	scraper_done(scraper);
	free(scraper);
	return status;
}
