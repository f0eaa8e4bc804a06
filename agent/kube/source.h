/* What a source of pods is, for source.c: a driver by its functions. */
#pragma once

#include "gleaner/kube.h"

struct kube_driver {
	const char *name; /* as in pods.sources */
	/* context: of kube_source_part. 0 or -errno with err; nothing is told from within. */
	int (*start)(void *context, struct kube_kubelet_events events, void **ret_driver, struct error *err);
	void (*stop)(void *driver);
	void (*nudge)(void *driver); /* NULL: it tells by itself */
	void (*stats)(const void *driver, struct kube_stats *ret_stats);
};

struct kube_source_part {
	const struct kube_driver *driver;
	void *context; /* borrowed */
};

/* kube_source_new with the drivers given: the best first, at most KUBE_SOURCES_MAX. */
int kube_source_of(struct loop *loop, const struct kube_source_part *parts, size_t count, struct clock clock,
	struct kube_source_events events, struct kube_source **ret_source, struct error *err);
/* Memory (malloc) to be freed with the source. */
void kube_source_own(struct kube_source *source, void *memory);
/* What its timer does: what is due by the clock. For tests. */
void kube_source_tick(struct kube_source *source);
