/* Values for monitors.
 *
 *   discovery asks (a pod of this node needs the job) -> credentials_get -> known, or asked of the API server
 *   an answer brings something new -> discovery makes those jobs again -> other credentials for the same targets, or targets at last
 */
#include "secrets.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

/* Answers come in bunches, and each one makes all jobs with references again. */
#define TELL_AFTER_NS (100 * NS_PER_MS)

/* ---- the API server ------------------------------------------------------------------------ */

static int get_object(void *arg, struct kube_resource resource, struct span namespace_, struct span name,
	void (*done)(void *arg, const struct kube_api_answer *answer), void *done_arg, struct kube_call **ret_call,
	struct error *err)
{
	struct core *core = arg;
	if (!core->sources || !core->sources->api)
		return error_set(err, ENOTCONN, "no API server is known (kubernetes.api_server)");
	return kube_api_get(core->sources->api, resource, namespace_, name, done, done_arg, ret_call, err);
}

/* ---- discovery ------------------------------------------------------------------------------ */

static struct credentials_reference reference_of(const struct monitor_reference *reference)
{
	return (struct credentials_reference){
		reference->config_map, reference->namespace_, reference->name, reference->key};
}

static int get_value(void *arg, const struct monitor_reference *reference, struct span *ret_value, struct error *err)
{
	struct secrets *secrets = arg;
	struct credentials_reference wanted = reference_of(reference);
	return credentials_get(secrets->credentials, &wanted, ret_value, err);
}

static void tell_discovery(void *arg)
{
	struct secrets *secrets = arg;
	struct core *core = secrets->core;
	int result = discover_secrets_changed(core->discover);
	if (result < 0) {
		log_error(&core->log, "discover: %s; credentials stay as they are", strerror(-result));
		loop_timer_set(secrets->timer, NS_PER_SEC);
		return;
	}
	rotate_all(core);
}

static void on_changed(void *arg, bool config_map, const char *namespace_, const char *name)
{
	struct secrets *secrets = arg;
	(void)config_map, (void)namespace_, (void)name;
	loop_timer_set(secrets->timer, TELL_AFTER_NS);
}

static void on_failed(
	void *arg, bool config_map, const char *namespace_, const char *name, bool kept, const struct error *err)
{
	struct secrets *secrets = arg;
	struct log *log = &secrets->core->log;
	const char *kind = config_map ? "ConfigMap" : "Secret";
	struct escaped shown_namespace = escape_bytes(span_str(namespace_)), shown_name = escape_bytes(span_str(name));
	if (err->text[0])
		log_warn(log, "%s %s/%s: %s; %s", kind, shown_namespace.text, shown_name.text, err->text,
			kept ? "its last values stay in use" : "what needs it is not scraped");
	else
		log_info(log, "%s %s/%s: read again", kind, shown_namespace.text, shown_name.text);
}

/* ---- which endpoints refer to what ------------------------------------------------------------ */

/* Calls `found` for each reference of the selected monitors, until it returns true. */
static bool any_reference(const struct core *core,
	bool (*found)(void *arg, const struct monitor_endpoint *endpoint, const struct monitor_reference *reference),
	void *arg)
{
	const struct monitor_set *set = discover_monitor_set(core->discover);
	for (size_t i = 0; set && i < set->entry_count; i++) {
		const struct monitor *monitor = set->entries[i].monitor;
		for (size_t j = 0; set->entries[i].selected && j < monitor->endpoint_count; j++) {
			const struct monitor_endpoint *endpoint = &monitor->endpoints[j];
			for (size_t k = 0; k < endpoint->reference_count; k++)
				if (found(arg, endpoint, &endpoint->references[k]))
					return true;
		}
	}
	return false;
}

static bool is_this_object(
	void *arg, const struct monitor_endpoint *endpoint, const struct monitor_reference *reference)
{
	const struct credentials_reference *object = arg;
	(void)endpoint;
	return reference->config_map == object->config_map && strcmp(reference->namespace_, object->namespace_) == 0 &&
	       strcmp(reference->name, object->name) == 0;
}

static bool is_needed(void *arg, bool config_map, const char *namespace_, const char *name)
{
	const struct secrets *secrets = arg;
	struct credentials_reference object = {config_map, namespace_, name, NULL};
	return any_reference(secrets->core, is_this_object, &object);
}

struct refusal_of {
	struct credentials *credentials;
	const struct target_job *job;
};

static bool read_again(void *arg, const struct monitor_endpoint *endpoint, const struct monitor_reference *reference)
{
	const struct refusal_of *refusal = arg;
	struct credentials_reference wanted = reference_of(reference);
	if (span_eq(span_str(endpoint->options.job_name), refusal->job->name))
		credentials_refused(refusal->credentials, &wanted);
	return false;
}

void secrets_refused(struct core *core, const struct target_job *job)
{
	struct refusal_of refusal = {core->secrets ? core->secrets->credentials : NULL, job};
	if (core->secrets)
		any_reference(core, read_again, &refusal);
}

/* ---- life ------------------------------------------------------------------------------------- */

int secrets_start(struct core *core)
{
	struct secrets *secrets = calloc(1, sizeof(*secrets));
	if (!secrets)
		return -ENOMEM;
	secrets->core = core;
	int result = loop_timer_new(core->loop, tell_discovery, secrets, &secrets->timer);
	if (result == 0)
		result = credentials_new(core->loop, core->clock,
			(struct credentials_source){get_object, kube_call_free, core},
			(struct credentials_events){on_changed, on_failed, is_needed, secrets}, &secrets->credentials);
	if (result < 0) {
		secrets_free(secrets);
		return result;
	}
	core->secrets = secrets;
	discover_use_secrets(core->discover, (struct monitor_secrets){get_value, secrets});
	secrets_configured(core);
	return 0;
}

void secrets_free(struct secrets *secrets)
{
	if (!secrets)
		return;
	credentials_free(secrets->credentials);
	loop_timer_free(secrets->timer);
	free(secrets);
}

void secrets_configured(struct core *core)
{
	int result = credentials_allow(core->secrets->credentials, &core->settings->monitors.secret_namespaces);
	if (result < 0)
		log_error(&core->log, "monitors.secret_namespaces: %s; those before stay", strerror(-result));
}

void secrets_disconnect(struct core *core)
{
	credentials_disconnect(core->secrets->credentials);
}

/* ---- what is shown of them ---------------------------------------------------------------------- */

static void one(struct buf *page, const char *name, const char *type, const char *help, double value)
{
	metrics_family(page, name, type, help);
	metrics_sample(page, name, "", value);
}

void secrets_metrics(const struct core *core, struct buf *page)
{
	struct credentials_stats stats = {0};
	if (core->secrets)
		credentials_stats(core->secrets->credentials, &stats);
	one(page, "gleaner_secrets", "gauge", "Secrets and ConfigMaps that targets of this node need.",
		(double)stats.objects);
	one(page, "gleaner_secrets_missing", "gauge",
		"Of these, none of the values is known: nothing is scraped with them.", (double)stats.missing);
	one(page, "gleaner_secret_requests_total", "counter", "Requests to the API server for them.",
		(double)stats.requests);
	one(page, "gleaner_secret_failures_total", "counter", "Of these, failed.", (double)stats.failures);
}
