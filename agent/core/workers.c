/* The scraper children: started, watched, replaced.
 *
 * 1. A child is a fork and exec of this binary with one end of a socketpair. It is told the settings, the jobs and its targets.
 * 2. It says that it is alive every half second, and which body it is about to parse.
 * 3. When it dies (its socket closes) or falls silent for two seconds (while it parses: two seconds of CPU time; it is killed), another one is started at once. The target whose
 *    body was being parsed is to blame: it is named in the log and scraped again only after a growing pause; so is one
 *    that was being fetched at three crashes in a row. All others go on:
 *    the new child repeats each scrape whose points had not arrived.
 *
 * Failure: children that die again and again right after their start are started with growing pauses of up to 5 s.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "internal.h"

enum { SUSPICIONS_MAX = 3 };

/* A child that lived less than this, and parsed no body, died of its start. */
#define YOUNG_NS (2 * NS_PER_SEC)

/* However little CPU it gets, no body takes longer to parse. */
#define PARSING_TIMEOUT_NS (20 * NS_PER_SEC)
#define BLAME_INTERVAL_NS  (3600 * NS_PER_SEC)

static void worker_lost(struct worker *worker, const struct error *err);
static void worker_start(struct worker *worker);

/* ---- start -------------------------------------------------------------------------- */

static struct wire_settings worker_settings(const struct core *core)
{
	const struct scrape_options *scrape = &core->settings->scrape;
	return (struct wire_settings){
		.max_body_bytes = scrape->max_body_bytes,
		.max_samples = scrape->max_samples,
		.max_labels = scrape->max_labels,
		.max_line_bytes = scrape->max_line_bytes,
		.max_concurrent = scrape->max_concurrent,
		.series_memory_bytes = scrape->series_memory_bytes / core->worker_count,
		.batch_points = scrape->batch_points,
		.batch_bytes = scrape->batch_bytes,
		.batch_timeout_ns = scrape->batch_timeout_ns,
		.codec = (uint32_t)core->settings->exporters.otlphttp.compression,
	};
}

/* ---- messages ------------------------------------------------------------------------- */

static void take_record(struct worker *worker, const struct wire_message *message)
{
	const struct wire_record *record = message->fixed;
	struct core *core = worker->core;
	struct spool_record committed = {
		.codec = record->codec,
		.points = record->points,
		.t_min_ns = record->t_min_ns,
		.t_max_ns = record->t_max_ns,
		.uncompressed_bytes = (size_t)record->uncompressed_bytes,
		.body = message->tail,
	};
	int result = spool_push(core->spool, &committed);
	if (result == -ENOMEM) {
		core->totals.lost_records++;
		core->totals.lost_points += record->points;
		log_error(&core->log, "out of memory: a record of %u points is lost", record->points);
	}
}

/* Key of the target that a message is about; 0: of none. All of them begin with it. */
static uint64_t key_of(const struct wire_message *message)
{
	switch (message->type) {
	case WIRE_DIAL:
	case WIRE_FETCH:
	case WIRE_INGEST:
	case WIRE_SCRAPED:
	case WIRE_COST:
		return ((const struct wire_key *)message->fixed)->key;
	default:
		return 0;
	}
}

_Static_assert(
	offsetof(struct wire_scraped, key) == 0 && offsetof(struct wire_cost, key) == 0, "key_of reads it there");

static void worker_message(void *arg, const struct wire_message *message)
{
	struct worker *worker = arg;
	const struct wire_key *key = message->fixed;
	const struct wire_slot *slot = message->fixed;
	uint64_t about = key_of(message);
	if (about != 0 &&
		targets_worker(worker->core, about) != worker) { /* it speaks for another: it was taken over */
		struct error err;
		error_set(&err, EBADMSG, "it sent a message about a target of another scraper");
		worker_lost(worker, &err);
		return;
	}
	worker->heard_ns = clock_mono(&worker->core->clock);
	switch (message->type) {
	case WIRE_HEARTBEAT:
		memcpy(&worker->heartbeat, message->fixed, sizeof(worker->heartbeat));
		break;
	case WIRE_DIAL:
		dial_start(worker, key->key);
		break;
	case WIRE_FETCH:
		targets_fetching(worker->core, key->key, true);
		break;
	case WIRE_INGEST:
		targets_fetching(worker->core, key->key, false);
		worker->ingesting = key->key;
		worker->proven = true;
		break;
	case WIRE_RECORD:
		take_record(worker, message);
		break;
	case WIRE_SCRAPED:
		targets_scraped(worker->core, message->fixed, message->tail);
		break;
	case WIRE_COST:
		costs_measured(worker->core, message->fixed);
		break;
	case WIRE_SLOT_CLOSED:
		costs_give_back(worker, slot->slot, slot->map);
		break;
	case WIRE_STOPPED:
		worker->stopped = true;
		worker_lost(worker, NULL);
		break;
	default: /* wire checked the direction */
		break;
	}
}

static void worker_closed(void *arg, const struct error *err)
{
	struct error cause = *err;
	if (cause.text[0])
		error_wrap(&cause, EBADMSG, "its socket");
	worker_lost(arg, &cause);
}

/* ---- the end of a child, and the next one ----------------------------------------------- */

static void describe_exit(int status, struct error *ret_text)
{
	if (WIFSIGNALED(status))
		error_set(ret_text, EIO, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		error_set(ret_text, EIO, "exit status %d", WEXITSTATUS(status));
}

/* A target pauses: 2, 4, then 8 intervals (of an hour at most). */
static void blame(struct worker *worker, struct core_target *target, const char *cause, const char *while_doing)
{
	struct core *core = worker->core;
	uint64_t intervals = UINT64_C(2) << (target->crashes < 2 ? target->crashes : 2);
	uint64_t interval_ns = target->target->interval_ns;
	uint64_t pause_ns = intervals * (interval_ns < BLAME_INTERVAL_NS ? interval_ns : BLAME_INTERVAL_NS);
	target->crashes++;
	target->suspicions = 0;
	target->not_before_ns = clock_wall(&core->clock) + pause_ns;
	log_error(&core->log, "scraper %u: %s, while %s %.*s; that target pauses for %s; starting another",
		worker->index, cause, while_doing, SPAN_ARGS(target->target->url), duration_format(pause_ns).text);
}

/* A crash before any body is parsed (HTTP, TLS, inflating) may be the doing of each target that is being fetched. Who is among them
 * three times in a row is blamed; the others' reports clear them. Returns how many were blamed. */
static unsigned suspect(struct worker *worker, const char *cause)
{
	struct core *core = worker->core;
	const struct map_slot *slot;
	unsigned blamed = 0;
	for (size_t i = 0; (slot = map_next(&core->targets, &i));) {
		struct core_target *target = slot->value;
		if (!target->fetching || targets_worker(core, target->target->key) != worker ||
			++target->suspicions < SUSPICIONS_MAX)
			continue;
		blame(worker, target, cause, "fetching");
		blamed++;
	}
	return blamed;
}

/* own_doing: it was not killed from outside. */
static void find_culprit(struct worker *worker, bool own_doing, const char *cause)
{
	struct core *core = worker->core;
	struct core_target *target = worker->ingesting ? targets_find(core, worker->ingesting) : NULL;
	if (target)
		blame(worker, target, cause, "parsing the body of");
	else if (!own_doing || suspect(worker, cause) == 0)
		log_error(&core->log, "scraper %u: %s, while no body was being parsed; starting another", worker->index,
			cause);
	targets_none_fetching(core, worker);
}

static void worker_reap(struct worker *worker, int *ret_status)
{
	kill(worker->pid, SIGKILL); /* it may only have closed its socket */
	while (waitpid(worker->pid, ret_status, 0) < 0 && errno == EINTR)
		;
	worker->pid = 0;
}

static bool all_ended(const struct core *core)
{
	for (size_t i = 0; i < core->worker_count; i++) {
		if (core->workers[i].pid != 0)
			return false;
	}
	return true;
}

static void worker_lost(struct worker *worker, const struct error *err)
{
	struct core *core = worker->core;
	uint64_t now = clock_mono(&core->clock);
	int status = 0;
	dial_cancel_all(worker);
	wire_free(worker->wire);
	worker->wire = NULL;
	if (!worker->stopped) {
		struct error cause = {""};
		worker_reap(worker, &status);
		describe_exit(status, &cause);
		if (err && err->text[0])
			error_wrap(&cause, EIO, "%s", err->text);
		core->totals.scraper_deaths++;
		bool from_outside = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !(err && err->text[0]);
		find_culprit(worker, !from_outside, cause.text);
	} else {
		worker_reap(worker, &status);
	}
	costs_worker_gone(worker);
	worker->ingesting = 0;
	if (core->stopping) {
		if (all_ended(core))
			core->workers_stopped(core);
		return;
	}
	bool young = !worker->stopped && !worker->proven && now - worker->started_ns < YOUNG_NS;
	worker->deaths = young ? worker->deaths + 1 : 0;
	if (worker->deaths < 3) {
		worker_start(worker);
		return;
	}
	uint64_t pause_ns = worker->deaths < 10 ? worker->deaths * NS_PER_SEC / 2 : 5 * NS_PER_SEC;
	loop_timer_set(worker->watchdog, pause_ns);
}

static void worker_start(struct worker *worker)
{
	static const char *const argv[] = {"gleaner", "--scraper-fd", CHILD_FD_TEXT, NULL};
	struct core *core = worker->core;
	int fd;
	worker->stopped = worker->proven = false;
	worker->heartbeat = (struct wire_heartbeat){0};
	worker->started_ns = worker->heard_ns = clock_mono(&core->clock);
	int result = child_start(SOCK_STREAM, argv, &worker->pid, &fd);
	if (result == 0) {
		core->totals.scraper_starts++;
		result = wire_new(core->loop, fd, true, (struct wire_events){worker_message, worker_closed, worker},
			&worker->wire);
		if (result < 0)
			close(fd);
	}
	if (result == 0) {
		struct wire_settings settings = worker_settings(core);
		worker_send(worker, WIRE_SETTINGS, &settings, SPAN_NONE);
		costs_tell(worker);
		result = targets_send_all(core, worker);
	}
	if (result < 0) {
		log_error(&core->log, "start scraper %u: %s; trying again in 1s", worker->index, strerror(-result));
		int status;
		if (worker->pid != 0)
			worker_reap(worker, &status);
		wire_free(worker->wire);
		worker->wire = NULL;
		loop_timer_set(worker->watchdog, NS_PER_SEC);
		return;
	}
	loop_timer_set(worker->watchdog, WIRE_HEARTBEAT_NS);
}

/* A large body may take long where the CPU is limited: then it is CPU time that must not exceed the heartbeat's timeout. */
static bool still_parsing(const struct worker *worker, uint64_t silence_ns)
{
	double cpu_seconds;
	return worker->ingesting != 0 && silence_ns < PARSING_TIMEOUT_NS &&
	       process_usage(worker->pid, &cpu_seconds, NULL) == 0 &&
	       (cpu_seconds - worker->heard_cpu_seconds) * (double)NS_PER_SEC < (double)WIRE_HEARTBEAT_TIMEOUT_NS;
}

/* Every half second: is it still talking? Or, when it is not running, the pause before the next start is over. */
static void watchdog_fired(void *arg)
{
	struct worker *worker = arg;
	struct core *core = worker->core;
	if (worker->pid == 0) {
		if (!core->stopping)
			worker_start(worker);
		return;
	}
	uint64_t silence_ns = clock_mono(&core->clock) - worker->heard_ns;
	if (silence_ns > WIRE_HEARTBEAT_TIMEOUT_NS && !still_parsing(worker, silence_ns)) {
		core->totals.scraper_stuck++;
		struct error err;
		error_set(&err, ETIMEDOUT, "no heartbeat for %s", duration_format(silence_ns).text);
		worker_lost(worker, &err);
		return;
	}
	if (silence_ns < WIRE_HEARTBEAT_TIMEOUT_NS)
		process_usage(worker->pid, &worker->heard_cpu_seconds, NULL);
	loop_timer_set(worker->watchdog, WIRE_HEARTBEAT_NS);
}

/* ---- for the others ---------------------------------------------------------------------- */

void worker_send(struct worker *worker, enum wire_type type, const void *fixed, struct span tail)
{
	worker_send_fd(worker, type, fixed, tail, -1);
}

void worker_send_fd(struct worker *worker, enum wire_type type, const void *fixed, struct span tail, int fd)
{
	if (!worker->wire) { /* between two lives: the next one is told everything */
		if (fd >= 0)
			close(fd);
		return;
	}
	int result = wire_send(worker->wire, type, fixed, tail, fd);
	if (result < 0) {
		/* It does not read. Its socket closes when it is dead, and the rest follows from that. */
		log_error(
			&worker->core->log, "scraper %u does not take messages: %s", worker->index, strerror(-result));
		kill(worker->pid, SIGKILL);
	}
}

int workers_start(struct core *core)
{
	size_t count = (size_t)core->settings->scrape.workers;
	core->workers = calloc(count, sizeof(*core->workers));
	if (!core->workers)
		return -ENOMEM;
	core->worker_count = count;
	for (size_t i = 0; i < core->worker_count; i++) {
		struct worker *worker = &core->workers[i];
		*worker = (struct worker){.core = core, .index = (unsigned)i};
		int result = loop_timer_new(core->loop, watchdog_fired, worker, &worker->watchdog);
		if (result < 0)
			return result;
	}
	for (size_t i = 0; i < core->worker_count; i++)
		worker_start(&core->workers[i]);
	return 0;
}

void workers_stop(struct core *core, void (*stopped)(struct core *core))
{
	core->workers_stopped = stopped;
	for (size_t i = 0; i < core->worker_count; i++)
		worker_send(&core->workers[i], WIRE_STOP, NULL, SPAN_NONE);
	if (all_ended(core))
		stopped(core);
}

void workers_restart(struct core *core)
{
	for (size_t i = 0; i < core->worker_count; i++)
		worker_send(&core->workers[i], WIRE_STOP, NULL, SPAN_NONE);
}

void workers_free(struct core *core)
{
	for (size_t i = 0; i < core->worker_count; i++) {
		struct worker *worker = &core->workers[i];
		int status;
		dial_cancel_all(worker);
		wire_free(worker->wire);
		if (worker->pid != 0)
			worker_reap(worker, &status);
		loop_timer_free(worker->watchdog);
	}
	free(core->workers);
	core->workers = NULL;
	core->worker_count = 0;
}

bool workers_all_alive(const struct core *core)
{
	for (size_t i = 0; i < core->worker_count; i++) {
		if (core->workers[i].pid == 0)
			return false;
	}
	return true;
}
