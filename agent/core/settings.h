/* The whole configuration: every module's options in one struct, filled from one file and the environment. */
#pragma once

#include "gleaner/config.h"
#include "gleaner/discover.h"
#include "gleaner/export.h"
#include "gleaner/kube.h"
#include "gleaner/kube_api.h"
#include "gleaner/monitor.h"
#include "gleaner/scrape.h"
#include "gleaner/spool.h"
#include "gleaner/status.h"
#include "gleaner/target.h"

struct settings_log {
	int level;  /* enum log_level */
	int format; /* enum log_format */
};

struct settings_telemetry {
	bool enabled;         /* own metrics by OTLP */
	uint64_t interval_ns; /* 30s */
	bool target_costs;    /* metrics of each target */
};

enum { SETTINGS_PROBE_AUTO, SETTINGS_PROBE_ON, SETTINGS_PROBE_OFF };
struct settings_probe {
	int enabled;        /* as above */
	bool cost;          /* measure what scrapes cost their targets */
	const char *socket; /* NULL: a child is started */
};

struct settings_discovery {
	struct discover_listen_options listen;
};

struct settings {
	struct target_global_options
		global; /* its resource_attributes come from resource.attributes and OTEL_RESOURCE_ATTRIBUTES */
	struct option_objects scrape_configs; /* struct target_job_options */
	struct kube_options kubelet;
	struct kube_pods_options pods;
	struct kube_api_options kubernetes;
	struct monitor_options monitors;
	struct discover_annotation_options annotations;
	struct scrape_options scrape;
	struct spool_options spool;
	struct export_options exporters;
	struct status_options status;
	struct settings_log log;
	struct settings_telemetry telemetry;
	struct settings_probe probe;
	struct settings_discovery discovery;

	/* scrape_configs, and what kubelet.metrics adds. */
	struct target_job_options *jobs;
	size_t job_count;
	struct span kubelet_host; /* the kubelet's IP address; "": not known */
	const char *
		service_name; /* of gleaner's own metrics: OTEL_SERVICE_NAME, service.name of the attributes, "gleaner" */
	struct arena arena;   /* of everything above; overwritten in the end */
	unsigned refs;
};
extern const struct option_table settings_table;

/* Reads the file (path NULL: none), the environment (get: getenv), and checks what only the whole can tell: names twice, rules and
 * certificates of jobs, somewhere to send to.
 *   for_log        no line of the file is quoted: it may hold a secret
 *   problems_text  may be NULL; gets every complaint, warnings too, with line and caret, also on success
 *   err            one sentence: "x.yaml: 3 errors", "open x.yaml: No such file or directory"
 *   returns        0 with ret_settings (settings_free); -EINVAL, -ENOENT, ..., -ENOMEM */
int settings_load(const char *path, const char *(*get)(const char *name), bool for_log, struct buf *problems_text,
	struct settings **ret_settings, struct error *err);
struct settings *settings_ref(struct settings *settings);
/* Drops a reference; NULL is fine. */
void settings_free(struct settings *settings);
/* Whether an object of the file ("kubelet") says the same in both, defaults included. False also when there is no memory to tell. */
bool settings_same(const struct settings *a, const struct settings *b, const char *object);
