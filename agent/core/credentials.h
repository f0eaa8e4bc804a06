/* credentials: values of Secrets and ConfigMaps that monitors refer to. Runs in core's loop.
 *
 * Only objects that somebody asked for, by name, and only in namespaces that the configuration lists. One GET an object, again every 5
 * minutes and when a target refuses what came of it. Values are in memory that is overwritten before it is given back, and in no message
 * of this module.
 */
#pragma once

#include "gleaner/kube_api.h"
#include "gleaner/loop.h"

struct credentials_reference {
	bool config_map; /* else a Secret */
	const char *namespace_, *name, *key;
};

/* Where objects come from: kube_api_get and kube_call_free, or a test's. */
struct credentials_source {
	int (*get)(void *arg, struct kube_resource resource, struct span namespace_, struct span name,
		void (*done)(void *arg, const struct kube_api_answer *answer), void *done_arg,
		struct kube_call **ret_call, struct error *err);
	void (*cancel)(struct kube_call *call);
	void *arg;
};

/* They must not call back into this module but for credentials_get. */
struct credentials_events {
	/* A value of this object that was asked for is there now, is another one, or is gone. */
	void (*changed)(void *arg, bool config_map, const char *namespace_, const char *name);
	/* For the log, once a cause: the object cannot be had; err "": it can again. `kept`: its last values stay in use. */
	void (*failed)(void *arg, bool config_map, const char *namespace_, const char *name, bool kept,
		const struct error *err);
	/* Whether anything still needs it: asked before each refresh, and what nobody needs is forgotten. */
	bool (*needed)(void *arg, bool config_map, const char *namespace_, const char *name);
	void *arg;
};

struct credentials_stats {
	size_t objects, missing; /* missing: of which no value is known */
	uint64_t requests, failures;
};

enum { CREDENTIALS_OBJECTS_MAX = 4096, CREDENTIALS_VALUE_MAX = 64 << 10 };

struct credentials;
int credentials_new(struct loop *loop, struct clock clock, struct credentials_source source,
	struct credentials_events events, struct credentials **ret_credentials);
void credentials_free(struct credentials *credentials); /* NULL is fine */
/* monitors.secret_namespaces: from where objects are read; copied. What is known of others is forgotten at once, and `changed` is told.
 * 0, -ENOMEM. */
int credentials_allow(struct credentials *credentials, const struct option_strings *namespaces);
/* The value as it is now; what was not asked for before is fetched, and `changed` tells.
 *   returns  1 with ret_value, valid until the loop runs again; 0 with err, a sentence that names the object and the key; -ENOMEM */
int credentials_get(struct credentials *credentials, const struct credentials_reference *reference,
	struct span *ret_value, struct error *err);
/* Requests under way are cancelled, their objects due again at once. */
void credentials_disconnect(struct credentials *credentials);
/* A target answered 401 or 403 to what came of it: fetched again soon. While that brings nothing new, at most after 10 s, 20 s, ... 5
 * minutes. */
void credentials_refused(struct credentials *credentials, const struct credentials_reference *reference);
void credentials_stats(const struct credentials *credentials, struct credentials_stats *ret_stats);
/* What its timer does: starts the requests that are due. Returns how long to wait for the next one; UINT64_MAX: none. */
uint64_t credentials_run(struct credentials *credentials);
