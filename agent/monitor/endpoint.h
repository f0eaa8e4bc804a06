/* One endpoint of a monitor on its way to a job: what its fields say (endpoint.c, credentials.c), then the relabel rules that the
 * operator would generate for it (generate.c). */
#pragma once

#include "read.h"

enum { REFERENCES_MAX = 6 };

struct endpoint {
	const char *port;        /* SM: name of a Service port, PM: of a container port */
	const char *target_name; /* targetPort: a name ... */
	uint64_t target_number;  /* ... or a number */
	uint64_t port_number;    /* PM */
	bool filter_running;     /* default true */
	unsigned auth_methods;   /* how many */
	bool has_tls, has_cert, has_key;
	const char *authorization_type;
	struct monitor_reference references[REFERENCES_MAX];
	size_t reference_count;
	struct option_objects relabelings, metric_relabelings; /* its own */
	struct target_job_options options;
};

/* What the spec says for all endpoints. */
struct spec {
	const char *job_label, *job_name, *scrape_class;
	struct option_strings target_labels, pod_target_labels;
	const char *discovery_role;
	const char *fallback_protocol;
	struct target_limits limits;
	const struct json *selector, *endpoints;
	bool any_namespace;
	struct option_strings namespaces;
	const struct json *static_configs, *kubernetes;
	struct endpoint endpoint; /* ScrapeConfig: its only one */
};

void endpoint_init(struct endpoint *endpoint);
extern const struct field endpoint_service_fields[], endpoint_pod_fields[];
/* Credentials, for all kinds; a part of the tables above. */
void field_basic_auth(struct reader *, const struct field *, const struct json *, void *);
void field_authorization(struct reader *, const struct field *, const struct json *, void *);
void field_oauth2(struct reader *, const struct field *, const struct json *, void *);
void field_bearer_secret(struct reader *, const struct field *, const struct json *, void *);
void field_tls(struct reader *, const struct field *, const struct json *, void *);
/* What the fields only say together. */
void endpoint_check(struct reader *reader, struct endpoint *endpoint, const struct monitor_options *options);
void field_scheme(struct reader *, const struct field *, const struct json *, void *);
void field_relabelings(struct reader *, const struct field *, const struct json *, void *); /* struct option_objects */

/* The scrape class that holds for the spec, NULL: none. An unknown one is a finding. */
const struct monitor_scrape_class *find_scrape_class(
	struct reader *reader, const struct spec *spec, const struct monitor_options *options);

/* Fills endpoint->options.relabel_configs and metric_relabel_configs. */
void generate_rules(struct reader *reader, const struct spec *spec, const struct monitor_scrape_class *scrape_class,
	struct endpoint *endpoint);
