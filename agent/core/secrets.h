/* secrets: where discovery has the values from that monitors refer to. Between agent/core/credentials.c, the API server and discovery. */
#pragma once

#include "credentials.h"

struct core;
struct target_job;

struct secrets {
	struct core *core;
	struct credentials *credentials;
	struct loop_timer *timer; /* set: something changed that discovery was not told of */
};

/* Before the first monitor; discovery asks from then on. 0, -errno. */
int secrets_start(struct core *core);
void secrets_free(struct secrets *secrets); /* NULL is fine */
/* monitors.secret_namespaces may have changed. */
void secrets_configured(struct core *core);
/* The client of the API server is about to go: what is under way is asked again, of the next one. */
void secrets_disconnect(struct core *core);
/* A target of the job answered 401 or 403: what the job refers to is read again soon. */
void secrets_refused(struct core *core, const struct target_job *job);
void secrets_metrics(const struct core *core, struct buf *page);
