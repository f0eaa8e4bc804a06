// links: monitor json target relabel base
/* An object of the API, the kind is said by its own `kind` (Service, Namespace, PodMonitor, ScrapeConfig, else ServiceMonitor). Whatever it
 * holds: a rejected monitor has no endpoint, and every rejection and refusal says why; an accepted endpoint becomes a job, or its options are
 * refused with a reason; no file is ever read for it. */
#include <errno.h>
#include <stdlib.h>

#include "gleaner/monitor.h"

static void must(bool fact)
{
	if (!fact)
		abort();
}

static enum monitor_resource resource_of(const struct json *object)
{
	static const struct {
		const char *kind;
		enum monitor_resource resource;
	} kinds[] = {{"Service", MONITOR_SERVICES}, {"Namespace", MONITOR_NAMESPACES},
		{"PodMonitor", MONITOR_POD_MONITORS}, {"ScrapeConfig", MONITOR_SCRAPE_CONFIGS}};
	struct span kind = json_string(object, "kind", SPAN_NONE);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (span_eq(kind, span_str(kinds[i].kind)))
			return kinds[i].resource;
	}
	return MONITOR_SERVICE_MONITORS;
}

static int one_value(void *arg, const struct monitor_reference *reference, struct span *ret_value, struct error *err)
{
	(void)arg, (void)err;
	must(reference->name[0] && reference->key[0] && reference->namespace_[0]);
	*ret_value = SPAN("value");
	return 1;
}

static void check_endpoint(const struct monitor_endpoint *endpoint)
{
	static const struct target_global_options global = {
		.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	const struct monitor_secrets secrets = {.get = one_value};
	struct target_job_options options;
	struct target_job *job = NULL;
	struct error err = {{0}};
	struct arena arena;
	arena_init(&arena, 1 << 20);
	must(monitor_endpoint_options(endpoint, &secrets, &arena, &options, &err) == 1);
	must(!options.tls_config.ca_file && !options.tls_config.cert_file && !options.tls_config.key_file);
	must(!options.bearer_token_file && !options.authorization.credentials_file);
	must(!options.basic_auth.username_file && !options.basic_auth.password_file);
	int result = target_job_new(&options, &global, &job, &err);
	must(result == 0 || err.text[0] != '\0');
	if (result == 0)
		target_job_unref(job);
	arena_done(&arena);
}

static void check_monitor(const struct monitor *monitor)
{
	must(!monitor->rejected || (monitor->endpoint_count == 0 && monitor->finding_count > 0));
	must(monitor->finding_count <= MONITOR_FINDINGS_MAX);
	for (size_t i = 0; i < monitor->finding_count; i++)
		must(monitor->findings[i].field[0] && monitor->findings[i].reason[0]);
	for (size_t i = 0; i < monitor->endpoint_count; i++) {
		must(!monitor->endpoints[i].refused || monitor->finding_count > 0);
		if (!monitor->endpoints[i].refused)
			check_endpoint(&monitor->endpoints[i]);
	}
	monitor_selects(monitor, monitor->namespace_, monitor->labels);
}

static void check_set(const struct monitor_set *set)
{
	for (size_t i = 0; i < set->entry_count; i++)
		check_monitor(set->entries[i].monitor);
	for (size_t i = 0; i < set->service_count; i++) {
		monitor_service_is_kubelet(set->services[i]);
		must(set->services[i]->selector.count == 0 || set->services[i]->external_name ||
			monitor_service_selects(set->services[i], set->services[i]->selector));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct monitor_options options = {.service_monitors_given = true,
		.pod_monitors_given = true,
		.scrape_configs_given = true,
		.scrape_interval_ns = 30 * NS_PER_SEC};
	struct arena arena;
	const struct json *object = NULL;
	struct monitor_store *store = NULL;
	struct monitor_set *set = NULL;
	struct error err = {{0}};
	arena_init(&arena, 64 << 20);
	must(monitor_store_new(&options, &store) == 0);
	if (json_parse(&arena, span_of((const char *)data, size), &object, &err) == 0) {
		int result = monitor_store_put(store, resource_of(object), object, &err);
		must(result == 1 || err.text[0] != '\0');
		must(monitor_store_build(store, &set) == 0);
		check_set(set);
		bool there = monitor_store_forget(store, resource_of(object), SPAN(""));
		must(there == (result == 1));
	}
	monitor_set_unref(set);
	monitor_store_free(store);
	arena_done(&arena);
	return 0;
}
