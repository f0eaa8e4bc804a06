/* sources: where the core has the node's pods from, and the client of the API server that may be one of them. */
#pragma once

#include "gleaner/kube_api.h"

struct core;
struct settings;

/* What borrows from the settings that it was made of: `kubelet:`, `pods:` and `kubernetes:`. */
struct sources {
	struct core *core;
	struct kube_api *api;       /* NULL: no API server is known */
	struct kube_source *source; /* NULL: no pods are discovered */
	struct {
		const char *name; /* NULL: free */
		struct log_limit limit;
	} failures[KUBE_SOURCES_MAX]; /* each source's are said for themselves */
};

/* Starts what the settings ask for; pods go to discovery as they come. 0, or -errno with err. */
int sources_start(struct core *core, const struct settings *settings, struct sources **ret_sources, struct error *err);
void sources_free(struct sources *sources); /* NULL is fine */
/* Whether both ask for the same. */
bool sources_same(const struct settings *a, const struct settings *b);
/* A pod may have changed. Returns whether anybody can be asked. */
bool sources_nudge(struct sources *sources);

/* The names of the sources, the best first, or why there are none; for the log. */
void sources_names(const struct settings *settings, const struct sources *sources, struct buf *out);
/* Whether some source has answered, or there is none; else out says why not. */
bool sources_ready(const struct sources *sources, struct buf *out);
void sources_metrics(const struct sources *sources, struct buf *page);
/* ,"podSources":{...} */
void sources_json(const struct sources *sources, struct buf *out);
void sources_html(const struct sources *sources, struct buf *out);
