/* What the files of the core process share. Everything here is touched by the loop's thread only, but for what says otherwise. */
#pragma once

#include <sys/types.h>

#include "budget.h"
#include "core.h"
#include "cost_history.h"
#include "costs.h"
#include "gleaner/discover.h"
#include "gleaner/export.h"
#include "gleaner/http.h"
#include "gleaner/kube.h"
#include "gleaner/loop.h"
#include "gleaner/scrape.h"
#include "gleaner/series.h"
#include "gleaner/spool.h"
#include "gleaner/status.h"
#include "gleaner/wire.h"
#include "monitors.h"
#include "probes.h"
#include "rights.h"
#include "secrets.h"
#include "settings.h"
#include "sources.h"
#include "trials.h"

struct core;
struct dial;

/* One scraper child and what is known of it. */
struct worker {
	struct core *core;
	unsigned index;
	pid_t pid; /* 0: not running */
	struct wire *wire;
	struct loop_timer *watchdog;   /* heartbeat overdue, or time to start again */
	uint64_t started_ns, heard_ns; /* monotonic */
	double heard_cpu_seconds;      /* its CPU time when it was last known to talk */
	uint64_t ingesting;            /* key of the target whose body is being parsed; 0: none */
	uint64_t deaths;               /* in a row, each soon after its start */
	bool proven;                   /* has parsed a body: what kills it now is no fault of its start */
	bool stopped;                  /* answered WIRE_STOPPED */
	struct wire_heartbeat heartbeat;
	struct dial *dials;
	size_t dial_count;
};

/* A job as the scrapers know it. */
struct core_job {
	struct target_job *job; /* id: job->content */
	size_t targets;
	struct target_credentials *sent; /* those that the scrapers have; NULL: none yet */
	uint64_t refused_ns;             /* monotonic: when a refusal last had the files read */
	bool stale;                      /* the files could not be read the last time */
};

/* A target and its history. */
struct core_target {
	struct target *target;
	struct core_job *job;
	uint64_t committed_tick_ns; /* of the last scrape whose points are in the spool */
	uint64_t not_before_ns;     /* wall clock: back-off after it killed a scraper */
	unsigned crashes;           /* in a row */
	bool fetching;              /* a scrape began, its body was not parsed yet */
	unsigned suspicions;        /* deaths of the scraper while fetching, in a row */
	unsigned refusals;          /* of connections, in a row */
	uint64_t asked_now_ns;      /* monotonic: when its port last opened and a scrape was asked for; 0: never */
	uint64_t scrapes, failures;
	struct wire_scraped last; /* last.key 0: not scraped yet */
	struct error last_error;
	uint64_t known_wall_ns; /* since when: where its sums begin */
	struct cost_history cost;
	struct budget budget;
};

enum { CORE_REASONS_MAX = 32 };

/* Counters over all targets and all scraper lives. */
struct core_totals {
	uint64_t scrapes, failures, samples, samples_kept, points, stale_points, tolerated, missed_ticks;
	uint64_t body_bytes, wire_bytes;
	uint64_t dropped[SERIES_DROP_COUNT];
	struct {
		char reason[WIRE_REASON_MAX];
		uint64_t count;
	} failed[CORE_REASONS_MAX]; /* by reason; the last one takes what does not fit */
	size_t failed_count;
	uint64_t scraper_starts, scraper_deaths, scraper_stuck;
	uint64_t lost_records, lost_points; /* came from a scraper, but the spool had no memory for them */
	uint64_t dials, dial_failures, dial_refused;
	uint64_t targets_refused;
	uint64_t stretches; /* of intervals, and back */
	uint64_t credentials_read, credentials_failed;
};

struct telemetry;

struct core {
	struct log log;
	struct clock clock;
	struct loop *loop;
	const struct core_options *options;
	const char *(*get_environment)(const char *name);
	struct settings *settings;
	uint64_t started_wall_ns;
	bool stopping;
	uint64_t stop_by_ns; /* monotonic; while stopping */

	struct http *http; /* for the kubelet */
	struct secrets *secrets;
	struct monitors *monitors; /* NULL while stopping */
	struct rights *rights;     /* NULL while stopping */
	struct sources *sources;   /* NULL while stopping */
	struct settings *
		sources_settings; /* what they borrow: the present ones, or those before a reload that left them alone */
	struct discover *discover;
	struct map jobs;    /* content -> struct core_job */
	struct map targets; /* key -> struct core_target */
	struct worker *workers;
	size_t worker_count;
	void (*workers_stopped)(struct core *core); /* set while stopping */
	struct loop_timer *stop_timer;

	struct loop_timer *rotate_timer;
	bool kubelet_by_name; /* its certificate is for the node's name, not for its address */
	uint64_t kubelet_renamed_ns;

	struct spool *spool;
	struct exporter *exporter;
	struct probes *probes;                /* NULL while stopping */
	struct probes_counters probes_before; /* of those before a reload */
	struct costs costs;
	struct trials *trials; /* NULL: discovery.listen is off */
	struct trials_counters trials_counted;
	struct status_server *status;
	struct telemetry *telemetry;

	struct core_totals totals;
	uint64_t reloads, reload_failures, last_reload_wall_ns;
	bool last_reload_ok;
	struct log_limit refused_log, scrape_log, dial_log;
};

/* ---- targets.c: discovery's differences -> scrapers ---------------------------------- */

int targets_init(struct core *core);
void targets_done(struct core *core);
struct core_target *targets_find(struct core *core, uint64_t key);
struct worker *targets_worker(struct core *core, uint64_t key);
/* Tells a new scraper everything it has to know. */
int targets_send_all(struct core *core, struct worker *worker);
/* A scrape of the target begins, or its body was read. */
void targets_fetching(struct core *core, uint64_t key, bool fetching);
void targets_none_fetching(struct core *core, const struct worker *worker);
/* How many are scraped less often than configured, because of their budgets. */
size_t targets_stretched(const struct core *core);
/* Its cost is known: within its budget? */
void targets_measured(struct core *core, struct core_target *target);
void targets_scraped(struct core *core, const struct wire_scraped *scraped, struct span error);

/* The job (again) to every scraper. */
void targets_tell_job(struct core *core, const struct target_job *job);

/* ---- rotate.c: credentials that change ------------------------------------------------- */

int rotate_start(struct core *core);
void rotate_stop(struct core *core);
/* A new job, or all: files that changed are read, and the scrapers told what they do not have yet. */
void rotate_job(struct core *core, struct core_job *known);
void rotate_all(struct core *core);
/* A scrape failed for this reason word: newer credentials may help. */
void rotate_refused(struct core *core, struct core_target *target, const char *reason);

/* ---- workers.c: the scraper children --------------------------------------------------- */

int workers_start(struct core *core);
/* Asks all scrapers to flush; stopped(core) is called once the last one is gone. */
void workers_stop(struct core *core, void (*stopped)(struct core *core));
/* Other settings: every scraper flushes, ends and is started again. */
void workers_restart(struct core *core);
void workers_free(struct core *core);
/* Sends to one scraper; a failure ends it (it will be replaced). */
void worker_send(struct worker *worker, enum wire_type type, const void *fixed, struct span tail);
/* The same with a descriptor (-1: none), which is owned by the call. */
void worker_send_fd(struct worker *worker, enum wire_type type, const void *fixed, struct span tail, int fd);
bool workers_all_alive(const struct core *core);

/* ---- dial.c: connected sockets, to allowed addresses only -------------------------------- */

void dial_start(struct worker *worker, uint64_t key);
void dial_cancel_all(struct worker *worker);
/* The target went or changed: an answer would be for an address that it no longer has. */
void dial_cancel(struct worker *worker, uint64_t key);

/* ---- telemetry.c: the agent's own metrics -------------------------------------------------- */

int telemetry_start(struct core *core);
void telemetry_stop(struct core *core);
/* The page of /metrics: names are documented in docs/metrics.md. */
void telemetry_render(struct core *core, struct buf *page);
/* The same as OpenMetrics, with the time since when each sum counts: what is sent as OTLP. */
void telemetry_render_openmetrics(struct core *core, struct buf *page);
/* CPU seconds and resident bytes (may be NULL) of a process, from /proc. 0 or -errno. */
int process_usage(pid_t pid, double *ret_cpu_seconds, double *ret_resident_bytes);

/* ---- cost_metrics.c: of them, those of single targets ---------------------------------------- */

void cost_metrics_render(struct core *core, struct buf *page, bool openmetrics);

/* ---- pages.c: what the status server shows --------------------------------------------------- */

extern const struct status_route core_routes[];
/* Escaped for HTML, without control characters. */
void pages_html(struct buf *out, struct span text);
/* ,"key":"value" */
void pages_json(struct buf *out, const char *key, struct span value);

/* ---- ports.c: of them, what the kernel says of listening ports ------------------------------ */

/* ,"probe":{...},"listeningPorts":[...] */
void ports_json(struct core *core, struct buf *out);
void ports_html(struct core *core, struct buf *out);

/* ---- core.c -------------------------------------------------------------------------------- */

/* Reads the configuration again; on any error the present one stays and err says why. */
int core_reload(struct core *core, struct error *err);
