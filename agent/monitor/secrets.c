/* An endpoint's options with the values of its Secrets and ConfigMaps in place. */
#include <errno.h>
#include <stdlib.h>

#include "gleaner/monitor.h"

/* Where a value goes. */
static const char **place(struct target_job_options *options, enum monitor_use use)
{
	switch (use) {
	case MONITOR_USERNAME:
		return &options->basic_auth.username;
	case MONITOR_PASSWORD:
		return &options->basic_auth.password;
	case MONITOR_CREDENTIALS:
		return &options->authorization.credentials;
	case MONITOR_TLS_CA:
		return &options->tls_config.ca;
	case MONITOR_TLS_CERT:
		return &options->tls_config.cert;
	case MONITOR_TLS_KEY:
		return &options->tls_config.key;
	}
	return NULL;
}

static int fill(const struct monitor_reference *reference, const struct monitor_secrets *secrets, struct arena *arena,
	struct target_job_options *options, struct error *err)
{
	struct span value;
	int result = 0;
	if (secrets && secrets->get)
		result = secrets->get(secrets->arg, reference, &value, err);
	else
		error_set(err, EACCES, "Secrets and ConfigMaps are not read");
	if (result == -ENOMEM)
		return result;
	if (result <= 0) {
		error_wrap(err, ENOENT, "%s", reference->field);
		return 0;
	}
	if (value.len > 0 && memchr(value.ptr, '\0', value.len)) {
		error_set(err, EINVAL, "%s: the value holds a NUL byte", reference->field);
		return 0;
	}
	const char *copy = arena_spandup(arena, value);
	if (!copy)
		return -ENOMEM;
	*place(options, reference->use) = copy;
	options->basic_auth_given =
		options->basic_auth_given || reference->use == MONITOR_USERNAME || reference->use == MONITOR_PASSWORD;
	options->authorization_given = options->authorization_given || reference->use == MONITOR_CREDENTIALS;
	return 1;
}

int monitor_endpoint_options(const struct monitor_endpoint *endpoint, const struct monitor_secrets *secrets,
	struct arena *arena, struct target_job_options *ret_options, struct error *err)
{
	struct target_job_options options = endpoint->options;
	if (endpoint->authorization_type && endpoint->authorization_type[0])
		options.authorization.type = endpoint->authorization_type;
	int all = 1;
	/* All are asked for, also after one that is not known: they are fetched together then. err is of the first. */
	for (size_t i = 0; i < endpoint->reference_count; i++) {
		int result = fill(&endpoint->references[i], secrets, arena, &options, all == 1 ? err : NULL);
		if (result < 0)
			return result;
		all = all == 1 ? result : all;
	}
	if (all == 1)
		*ret_options = options;
	return all;
}
