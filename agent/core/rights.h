/* rights: what the configuration needs that the ServiceAccount may not do, asked of the API server once a configuration. */
#pragma once

#include "gleaner/kube_api.h"
#include "gleaner/monitor.h"

struct core;

enum { RIGHTS_RULES_MAX = 16 };

struct rights {
	struct core *core;
	struct loop_timer *timer;   /* set: to be asked */
	struct kube_review *review; /* NULL: nothing is asked now */
	struct kube_rule rules[RIGHTS_RULES_MAX];
	bool missing[RIGHTS_RULES_MAX];
	size_t count, missing_count;
	bool failed; /* the last time nothing could be learnt, which was said */
};

/* What may be in doubt, of what the configuration needs: a right that was used already (a list that is synced, a kubelet that answered) is
 * no question. Secrets are none either: they are granted by name, and the log says each that is refused. */
struct rights_doubts {
	bool kubelet_pods, kubelet_metrics, api_pods;
	bool resources[MONITOR_RESOURCES]; /* their lists */
};
size_t rights_rules(const struct rights_doubts *doubts, struct kube_rule rules[RIGHTS_RULES_MAX]);

/* 0, -ENOMEM. */
int rights_start(struct core *core);
void rights_free(struct rights *rights); /* NULL is fine */
/* The client of the API server is about to go. */
void rights_disconnect(struct rights *rights);
/* The settings may be others: asked (again) a few seconds from now. */
void rights_configured(struct core *core);
/* gleaner_missing_rights */
void rights_metrics(const struct rights *rights, struct buf *page);
/* ,"missingRights":"YAML"; "" when there are none. */
void rights_json(const struct rights *rights, struct buf *out);
