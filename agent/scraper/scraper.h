/* What the files of the scraper process share. */
#pragma once

#include "gleaner/codec.h"
#include "gleaner/scrape.h"
#include "gleaner/wire.h"
#include "windows.h"

struct flight;

/* A job as the core sent it, with its metric rules compiled. */
struct scraper_job {
	uint64_t id;
	size_t targets; /* that use it; a replaced job lives until the last one is gone */
	bool current;   /* is in scraper.jobs */
	struct target_job *job;
	struct relabel *metric_relabel;
};

struct scraper_target {
	struct target *target; /* held for `scrape`, which borrows it */
	struct scrape_target scrape;
	struct scrape_entry entry;
	struct scraper_job *job;
	struct flight *flight; /* NULL: waits for its tick */
	bool trial;            /* until its first exposition */
	uint32_t server_tgid;  /* the process that answered last, as BPF named it; 0: not known */
};

/* Our own time since the last reports were sent, that is to be shared among the scrapes whose points it was for. */
struct outbox_spent {
	uint64_t encode_ns, compress_ns, record_bytes, points;
};

/* Reports of scrapes whose points are still in the open batch. */
struct held_report {
	struct wire_scraped scraped;
	struct error error;
};

struct outbox {
	struct otlp_batch *batch;
	struct codec *codec;
	enum codec_kind codec_kind;
	struct buf compressed;
	struct held_report *held;
	size_t held_count, held_cap;
	struct loop_timer *timer; /* fires batch_timeout after the first point */
	bool timer_set;
	struct outbox_spent spent;
	uint64_t seal_ns; /* when the batch was told to seal; 0: it seals itself */
	uint64_t busy_ns; /* in records, ever */
};

struct scraper {
	struct loop *loop;
	struct wire *wire;
	struct http *http;
	struct buf system_ca; /* PEM, NUL-terminated; http borrows it */
	struct clock clock;
	uint64_t started_ns; /* monotonic */
	struct wire_settings settings;
	struct scrape_options options; /* the settings, as scrape_target_init wants them */
	bool configured, stopping;
	int exit_status;

	struct series_store *store;
	struct map jobs;    /* id -> struct scraper_job */
	struct map targets; /* key -> struct scraper_target */
	struct scrape_schedule schedule;
	struct loop_timer *due_timer, *heartbeat_timer;

	struct flight *idle_flights; /* last used first, so that few hold memory */
	size_t in_flight;
	size_t idle_body_bytes;
	struct scrape_memory body_memory; /* of the bodies that come in */
	uint64_t lines_hit, lines_moved, lines_missed;

	struct outbox outbox;
	struct windows windows;
};

const struct log *scraper_log(void);
/* Ends the process: what the core sent or the machine gave cannot be worked with. */
void scraper_fail(struct scraper *scraper, const char *what, int result);

/* sandbox.c. First thing: closes every descriptor but the standard streams and keep_fd. 0 or -errno. */
int sandbox_close_inherited(int keep_fd);
/* Once all libraries are initialised: gives up everything that the scraper does not need. 0 or -errno. */
int sandbox_enter(void);

/* jobs and targets: targets.c */
/* The interval becomes so many times the configured one. */
void scraper_pace(struct scraper *scraper, uint64_t key, uint32_t stretch);
void scraper_put_job(struct scraper *scraper, uint64_t id, struct span packed);
void scraper_remove_job(struct scraper *scraper, uint64_t id);
void scraper_put_target(struct scraper *scraper, const struct wire_target *fixed, struct span packed);
void scraper_remove_target(struct scraper *scraper, uint64_t key);
struct scraper_target *scraper_find_target(struct scraper *scraper, uint64_t key);
void scraper_free_all(struct scraper *scraper);

/* flight.c: one scrape from its tick to its report. */
void flights_start_due(struct scraper *scraper);
/* The target's port just opened: no use in waiting for its tick. */
void flight_start_now(struct scraper *scraper, uint64_t key);
void flight_got_socket(struct scraper *scraper, const struct wire_message *message);
void flight_cancel(struct scraper *scraper, struct scraper_target *target);
void flights_free(struct scraper *scraper);

/* outbox.c: batch -> records; reports are held back until their points are on the way. */
int outbox_init(struct scraper *scraper);
void outbox_done(struct scraper *scraper);
void outbox_hold(struct scraper *scraper, const struct wire_scraped *scraped, const struct error *error);
/* Points were added: sees to it that they leave within the batch timeout. */
void outbox_touched(struct scraper *scraper);
void outbox_flush(struct scraper *scraper);
/* A clock for our own CPU time, for a piece of work on so many bytes: to be read before and after it. */
uint64_t outbox_clock(const struct scraper *scraper, size_t bytes);
