/* monitors: the API server's ServiceMonitors, PodMonitors, ScrapeConfigs, Services and Namespaces, watched, for discovery. */
#pragma once

#include "gleaner/kube_api.h"
#include "gleaner/monitor.h"

struct core;
struct settings;
struct monitors;

/* One watched list. */
struct monitors_list {
	struct monitors *monitors;
	enum monitor_resource resource;
	char *namespace_; /* NULL: the whole cluster */
	struct kube_watch *watch;
	bool settled;                  /* all was told once, or the server said that there is nothing for us */
	bool failed;                   /* or it was asked in vain */
	bool wanted;                   /* while it is decided which namespaces are */
	uint64_t unused_since_ns;      /* monotonic, when no pod of this node is there any more; 0: there is */
	enum kube_watch_state said;    /* what the log says of it last */
	struct log_limit failures_log; /* each list's failures are said for themselves */
};

/* Sums over watches that ended. */
struct monitors_past {
	uint64_t requests, lists, bytes, events, failures, oversized;
};

struct monitors {
	struct core *core;
	struct settings *settings;   /* a reference: of the store and the lists; NULL: nothing is followed */
	struct settings *told;       /* a reference: of the set that discovery has; NULL: it has none */
	struct error why_not;        /* nothing is followed; "" when something is */
	struct monitor_store *store; /* NULL: nothing is followed */
	struct monitors_list *lists[MONITOR_RESOURCES]; /* of the whole cluster; NULL: not needed */
	struct map namespaces;     /* name -> struct monitors_list of its Services (services.scope: node-namespaces) */
	struct kube_pods *pods;    /* a reference; NULL: none are known */
	struct loop_timer *build;  /* set: something changed that discovery was not told of */
	struct loop_timer *linger; /* set: some list is of no use any more */
	uint64_t changed_ns;       /* monotonic: since when discovery is behind; 0: it is not */
	bool complete;             /* discovery was told all that these lists hold, once */
	bool said_none[MONITOR_KINDS]; /* "0 of N are selected" */
	struct log_limit refused_log;
	struct monitors_past past[MONITOR_RESOURCES];
};

/* Follows what the present settings ask for. 0, -errno with err. */
int monitors_start(struct core *core, struct error *err);
void monitors_free(struct monitors *monitors); /* NULL is fine */
/* The client of the API server is about to go: nothing is watched until monitors_configured. Discovery keeps what it has. */
void monitors_disconnect(struct monitors *monitors);
/* The settings, or the client, may be others: goes on, or begins again; discovery keeps the old set until the new one is complete. */
void monitors_configured(struct core *core);
/* The node's pods; for which namespaces' Services are of interest. A reference is taken. */
void monitors_pods(struct monitors *monitors, struct kube_pods *pods);
/* Whether discovery has the first monitors, each list was asked in vain once, or there are none to be had; else out says what is missing. */
bool monitors_ready(const struct monitors *monitors, struct buf *out);

/* ---- monitors_lists.c: the watches --------------------------------------------------- */

/* Those of the whole cluster that the settings ask for. 0; -errno with err: the caller closes what was begun. */
int monitors_open_lists(struct monitors *monitors, struct error *err);
void monitors_close_lists(struct monitors *monitors);
bool monitors_lists_settled(const struct monitors *monitors);
bool monitors_namespaces_settled(const struct monitors *monitors);
/* Lists of Services begin where a pod of this node is that a monitor of the set may select, and end 60 s after the last one has gone. 0,
 * -errno with err: some have not begun. */
int monitors_follow_namespaces(struct monitors *monitors, const struct monitor_set *set, struct error *err);
/* What discovery has is not what the store has. */
void monitors_changed(struct monitors *monitors);
const char *monitors_resource_name(enum monitor_resource resource); /* "servicemonitors" */

/* ---- monitors_page.c: what is shown of them -------------------------------------------- */

/* One line for each field that is not honoured, of monitors that were not there before; "0 of N are selected". */
void monitors_log_set(struct monitors *monitors, const struct monitor_set *before, const struct monitor_set *set);
void monitors_metrics(const struct core *core, struct buf *page);
/* The body of /api/v1/monitors. */
void monitors_json(const struct core *core, struct buf *out);
void monitors_html(const struct core *core, struct buf *out);
