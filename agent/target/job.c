/* A job: one scrape_config with the global defaults in, everything copied, ready for use. */
#include "credentials.h"
#include "pack.h"

#include <errno.h>
#include <stdlib.h>

enum { JOB_MAX_BYTES = 16 << 20 };

#define DEFAULT_METRICS_PATH "/metrics"
#define DEFAULT_SCHEME       "http"

/* ---- copies: NULL, or ok == false, when memory is exhausted -------------------------- */

static const char *copy_text(struct arena *arena, const char *text, bool *ok)
{
	const char *copy = text ? arena_strdup(arena, text) : NULL;
	*ok = *ok && (copy || !text);
	return copy;
}

static struct span copy_span(struct arena *arena, const char *text, bool *ok)
{
	const char *copy = copy_text(arena, text ? text : "", ok);
	return span_str(copy);
}

static struct option_strings copy_strings(struct arena *arena, const struct option_strings *strings, bool *ok)
{
	struct option_strings copy = {arena_alloc(arena, strings->count * sizeof(*copy.items)), 0};
	*ok = *ok && copy.items;
	for (; *ok && copy.count < strings->count; copy.count++)
		copy.items[copy.count] = copy_text(arena, strings->items[copy.count], ok);
	return copy;
}

static struct option_lists copy_params(struct arena *arena, const struct option_lists *params, bool *ok)
{
	struct option_lists copy = {arena_alloc(arena, params->count * sizeof(*copy.items)), 0};
	*ok = *ok && copy.items;
	for (; *ok && copy.count < params->count; copy.count++) {
		copy.items[copy.count].name = copy_text(arena, params->items[copy.count].name, ok);
		copy.items[copy.count].values = copy_strings(arena, &params->items[copy.count].values, ok);
	}
	return copy;
}

static struct option_pairs copy_pairs(struct arena *arena, const struct option_pairs *pairs, bool *ok)
{
	struct option_pairs copy = {arena_alloc(arena, pairs->count * sizeof(*copy.items)), 0};
	*ok = *ok && copy.items;
	for (; *ok && copy.count < pairs->count; copy.count++) {
		copy.items[copy.count].name = copy_text(arena, pairs->items[copy.count].name, ok);
		copy.items[copy.count].value = copy_text(arena, pairs->items[copy.count].value, ok);
	}
	return copy;
}

static const struct relabel_rule *copy_rules(
	struct arena *arena, const struct relabel_rule *rules, size_t count, bool *ok)
{
	struct relabel_rule *copy = arena_alloc(arena, count * sizeof(*copy));
	*ok = *ok && copy;
	for (size_t i = 0; *ok && i < count; i++) {
		copy[i] = rules[i];
		copy[i].position = (struct option_position){NULL, 0, 0}; /* the file is not needed any more */
		copy[i].source_labels = copy_strings(arena, &rules[i].source_labels, ok);
		copy[i].separator = copy_text(arena, rules[i].separator, ok);
		copy[i].regex = copy_text(arena, rules[i].regex, ok);
		copy[i].target_label = copy_text(arena, rules[i].target_label, ok);
		copy[i].replacement = copy_text(arena, rules[i].replacement, ok);
	}
	return copy;
}

/* ---- a job of its options ------------------------------------------------------------ */

static uint64_t either(uint64_t own, uint64_t global)
{
	return own ? own : global;
}

static struct target_limits merge_limits(const struct target_limits *own, const struct target_limits *global)
{
	return (struct target_limits){
		.sample_limit = either(own->sample_limit, global->sample_limit),
		.body_size_limit = either(own->body_size_limit, global->body_size_limit),
		.label_limit = either(own->label_limit, global->label_limit),
		.label_name_length_limit = either(own->label_name_length_limit, global->label_name_length_limit),
		.label_value_length_limit = either(own->label_value_length_limit, global->label_value_length_limit),
		.target_limit = either(own->target_limit, global->target_limit),
	};
}

static int merge_times(struct target_job *job, const struct target_job_options *options,
	const struct target_global_options *global, struct error *err)
{
	job->interval_ns = either(options->scrape_interval_ns, global->scrape_interval_ns);
	job->timeout_ns = options->scrape_timeout_ns;
	if (job->timeout_ns == 0)
		job->timeout_ns =
			global->scrape_timeout_ns < job->interval_ns ? global->scrape_timeout_ns : job->interval_ns;
	if (job->timeout_ns > job->interval_ns)
		return error_set(err, EINVAL, "scrape_timeout: %s is longer than the scrape_interval, %s",
			duration_format(job->timeout_ns).text, duration_format(job->interval_ns).text);
	if (job->timeout_ns == 0)
		return error_set(err, EINVAL, "scrape_interval: 0");
	return 0;
}

static int fill(struct target_job *job, const struct target_job_options *options,
	const struct target_global_options *global, struct error *err)
{
	bool ok = true;
	struct arena *arena = &job->arena;
	job->name = copy_span(arena, options->job_name, &ok);
	job->metrics_path = copy_span(arena, options->metrics_path ? options->metrics_path : DEFAULT_METRICS_PATH, &ok);
	job->scheme = copy_span(arena, options->scheme ? options->scheme : DEFAULT_SCHEME, &ok);
	job->params = copy_params(arena, &options->params, &ok);
	job->external_labels = copy_pairs(arena, &global->external_labels, &ok);
	job->resource_attributes = copy_pairs(arena, &global->resource_attributes, &ok);
	job->honor_labels = options->honor_labels;
	job->honor_timestamps = options->honor_timestamps;
	job->track_timestamps_staleness = options->track_timestamps_staleness;
	job->enable_compression = options->enable_compression;
	job->extra_scrape_metrics =
		options->extra_scrape_metrics_given ? options->extra_scrape_metrics : global->extra_scrape_metrics;
	job->fallback_openmetrics =
		span_starts_with(span_str(options->fallback_scrape_protocol), SPAN("OpenMetricsText"));
	job->limits = merge_limits(&options->limits, &global->limits);
	job->budget.share = options->budget.share > 0 ? options->budget.share : global->budget.share;
	job->budget.max_interval_ns = either(options->budget.max_interval_ns, global->budget.max_interval_ns);
	job->metric_rule_count = options->metric_relabel_configs.count;
	job->metric_rules =
		copy_rules(arena, options->metric_relabel_configs.items, options->metric_relabel_configs.count, &ok);
	job->tls_insecure_skip_verify = options->tls_config.insecure_skip_verify;
	job->tls_min_version = credentials_tls_version(options->tls_config.min_version);
	job->tls_max_version = credentials_tls_version(options->tls_config.max_version);
	job->of_kubelet = options->of_kubelet;
	return ok ? merge_times(job, options, global, err) : error_set(err, ENOMEM, "out of memory");
}

static int compile_rules(struct target_job *job, const struct target_job_options *options, struct error *err)
{
	struct relabel *metric_relabel = NULL;
	int result =
		relabel_compile(options->relabel_configs.items, options->relabel_configs.count, &job->relabel, err);
	if (result < 0)
		return error_wrap(err, -result, "relabel_configs");
	/* The scraper compiles these for itself; here they are only tried. */
	result = relabel_compile(job->metric_rules, job->metric_rule_count, &metric_relabel, err);
	relabel_free(metric_relabel);
	return result < 0 ? error_wrap(err, -result, "metric_relabel_configs") : 0;
}

/* `packed` is of what target_job_pack writes but for the credentials (while both hashes are 0), `content` of the target rules, too. */
static int hash_content(struct target_job *job, const struct target_job_options *options, struct error *err)
{
	struct buf bytes;
	buf_init(&bytes, JOB_MAX_BYTES);
	pack_job_body(job, &bytes);
	bool fits = bytes.len <= TARGET_BODY_MAX;
	uint64_t packed = hash_bytes(buf_view(&bytes), 0);
	pack_rules(options->relabel_configs.items, options->relabel_configs.count, &bytes);
	pack_pairs(&job->external_labels, &bytes);
	pack_pairs(&job->resource_attributes, &bytes);
	buf_append(&bytes, &job->budget.share, sizeof(job->budget.share));
	buf_append(&bytes, &job->budget.max_interval_ns, sizeof(job->budget.max_interval_ns));
	buf_char(&bytes, (char)job->of_kubelet);
	uint64_t content = hash_bytes(buf_view(&bytes), 0);
	int result = bytes.failed;
	buf_done(&bytes);
	if (result < 0)
		return error_set(err, -result, "%s", result == -ENOMEM ? "out of memory" : "too large");
	if (!fits)
		return error_set(
			err, EINVAL, "larger than %d MiB, rules and parameters together", TARGET_BODY_MAX >> 20);
	job->packed = packed;
	job->content = content;
	return 0;
}

int target_job_new(const struct target_job_options *options, const struct target_global_options *global,
	struct target_job **ret_job, struct error *err)
{
	struct target_job *job = calloc(1, sizeof(*job));
	if (!job)
		return error_set(err, ENOMEM, "out of memory");
	job->refs = 1;
	arena_init(&job->arena, JOB_MAX_BYTES);
	int result = fill(job, options, global, err);
	if (result == 0)
		result = compile_rules(job, options, err);
	const char *key = NULL;
	if (result == 0)
		result = target_check_credentials(options, &key, err);
	if (result == 0)
		result = target_credentials_new(options, &job->credentials, err);
	if (result == 0)
		result = hash_content(job, options, err);
	if (result < 0) {
		target_job_unref(job);
		return error_wrap(err, -result, "job `%s`", escape_bytes(span_str(options->job_name)).text);
	}
	*ret_job = job;
	return 0;
}

struct target_job *target_job_ref(struct target_job *job)
{
	job->refs++;
	return job;
}

void target_job_unref(struct target_job *job)
{
	if (!job || --job->refs > 0)
		return;
	relabel_free(job->relabel);
	target_credentials_unref(job->credentials);
	arena_done(&job->arena);
	free(job);
}

void target_job_set_credentials(struct target_job *job, struct target_credentials *credentials)
{
	struct target_credentials *old = job->credentials;
	job->credentials = target_credentials_ref(credentials);
	target_credentials_unref(old);
}
