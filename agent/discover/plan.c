/* A configuration as discovery needs it: compiled jobs, the built-in job among them, and copies of the few options that are
 * still read after the start. */
#include "set.h"

#include <errno.h>
#include <stdlib.h>

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->job_count; i++) {
		target_job_unref(plan->jobs[i].job);
		target_credentials_unref(plan->jobs[i].credentials);
	}
	arena_done(&plan->arena);
	free(plan);
}

void plan_adopt(struct plan *plan)
{
	for (size_t i = 0; i < plan->job_count; i++)
		target_job_set_credentials(plan->jobs[i].job, plan->jobs[i].credentials);
}

static const struct target_job_options *find_job(
	const struct discover_settings *settings, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(settings->jobs[i].job_name, name) == 0)
			return &settings->jobs[i];
	}
	return NULL;
}

static struct target_job *present_job(const struct plan *present, const struct target_job *like)
{
	for (size_t i = 0; present && i < present->job_count; i++) {
		if (present->jobs[i].job->content == like->content && span_eq(present->jobs[i].job->name, like->name))
			return present->jobs[i].job;
	}
	return NULL;
}

static int add_job(struct plan *plan, const struct plan *present, const struct target_job_options *options,
	const struct target_global_options *global, struct error *err)
{
	struct target_job *job = NULL;
	int result = target_job_new(options, global, &job, err);
	if (result < 0)
		return result;
	struct target_credentials *credentials = target_credentials_ref(job->credentials);
	struct target_job *same = present_job(present, job);
	if (same) {
		target_job_unref(job);
		job = target_job_ref(same);
	}
	plan->jobs[plan->job_count++] = (struct plan_job){.job = job, .credentials = credentials};
	return 0;
}

static int copy_strings(struct arena *arena, struct option_strings from, struct option_strings *to)
{
	const char **items = arena_alloc(arena, (to->count + from.count) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	if (to->count > 0)
		memcpy(items, to->items, to->count * sizeof(*items));
	to->items = items;
	for (size_t i = 0; i < from.count; i++) {
		items[to->count] = arena_strdup(arena, from.items[i]);
		if (!items[to->count++])
			return -ENOMEM;
	}
	return 0;
}

/* Several kubernetes_sd_configs of a job are one: their namespaces together, all as soon as one of them wants all. */
static int read_kubernetes_sd(struct plan *plan, struct plan_job *job, const struct target_job_options *options)
{
	const struct target_kubernetes_sd *items = options->kubernetes_sd_configs.items;
	bool all = false;
	for (size_t i = 0; i < options->kubernetes_sd_configs.count; i++) {
		job->pods = true;
		all = all || items[i].namespaces.count == 0;
		if (copy_strings(&plan->arena, items[i].namespaces, &job->namespaces) < 0)
			return -ENOMEM;
	}
	if (all)
		job->namespaces = (struct option_strings){0};
	return 0;
}

static int add_configured_jobs(
	struct plan *plan, const struct plan *present, const struct discover_settings *settings, struct error *err)
{
	for (size_t i = 0; i < settings->job_count; i++) {
		const struct target_job_options *options = &settings->jobs[i];
		if (find_job(settings, i, options->job_name))
			return error_set(err, EINVAL, "%s:%u:%u: job_name \"%s\" is used twice",
				options->position.file ? options->position.file : "", options->position.line,
				options->position.column, options->job_name);
		int result = add_job(plan, present, options, settings->global, err);
		if (result == 0)
			result = read_kubernetes_sd(plan, &plan->jobs[i], options);
		if (result < 0)
			return result;
	}
	return 0;
}

/* The job of discovery.listen. */
static int add_listen_job(
	struct plan *plan, const struct plan *present, const struct discover_settings *settings, struct error *err)
{
	const struct discover_listen_options *listen = settings->listen;
	if (find_job(settings, settings->job_count, listen->job_name))
		return error_set(err, EINVAL, "discovery.listen.job_name: a scrape_config is called \"%s\", too",
			listen->job_name);
	plan->listen = *listen;
	plan->listen.namespaces = (struct option_strings){0};
	plan->listen.job_name = arena_strdup(&plan->arena, listen->job_name);
	plan->listen.metrics_path = arena_strdup(&plan->arena, listen->metrics_path);
	if (!plan->listen.job_name || !plan->listen.metrics_path ||
		copy_strings(&plan->arena, listen->namespaces, &plan->listen.namespaces) < 0)
		return -ENOMEM;
	struct target_job_options options = {
		.job_name = plan->listen.job_name,
		.metrics_path = plan->listen.metrics_path,
		.scheme = "http",
		.honor_labels = true,
		.honor_timestamps = true,
	};
	int result = add_job(plan, present, &options, settings->global, err);
	if (result == 0)
		plan->jobs[plan->job_count - 1].listening = true;
	return result;
}

static bool wants_annotations(const struct discover_settings *settings)
{
	return settings->annotations && settings->annotations->enabled &&
	       !find_job(settings, settings->job_count, settings->annotations->job_name);
}

/* The job of the gleaner rule; honor_labels as in the recipe that everybody uses. */
static int add_annotation_job(
	struct plan *plan, const struct plan *present, const struct discover_settings *settings, struct error *err)
{
	plan->annotations = *settings->annotations;
	plan->annotations.prefix = arena_strdup(&plan->arena, settings->annotations->prefix);
	plan->annotations.job_name = arena_strdup(&plan->arena, settings->annotations->job_name);
	if (!plan->annotations.prefix || !plan->annotations.job_name)
		return -ENOMEM;
	struct target_job_options options = {
		.job_name = plan->annotations.job_name,
		.metrics_path = "/metrics",
		.scheme = "http",
		.honor_labels = true,
		.honor_timestamps = true,
		.enable_compression = false, /* on the node identity is cheaper than gzip, for both sides */
	};
	int result = add_job(plan, present, &options, settings->global, err);
	if (result == 0)
		plan->jobs[plan->job_count - 1].annotated = true;
	return result;
}

static int copy_pairs(struct arena *arena, struct option_pairs *pairs)
{
	struct option_pair *items = arena_alloc(arena, pairs->count * sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < pairs->count; i++) {
		items[i].name = arena_strdup(arena, pairs->items[i].name);
		items[i].value = arena_strdup(arena, pairs->items[i].value);
		if (!items[i].name || !items[i].value)
			return -ENOMEM;
	}
	pairs->items = items;
	return 0;
}

static int copy_global(struct plan *plan, const struct target_global_options *global)
{
	plan->global = *global;
	if (copy_pairs(&plan->arena, &plan->global.external_labels) < 0)
		return -ENOMEM;
	return copy_pairs(&plan->arena, &plan->global.resource_attributes);
}

static int plan_fill(
	struct plan *plan, const struct plan *present, const struct discover_settings *settings, struct error *err)
{
	plan->jobs = arena_alloc(&plan->arena, (settings->job_count + 2) * sizeof(*plan->jobs));
	const char *node_name = arena_spandup(&plan->arena, settings->node_name);
	const char *kubelet_host = arena_spandup(&plan->arena, settings->kubelet_host);
	if (!plan->jobs || !node_name || !kubelet_host)
		return -ENOMEM;
	plan->node_name = span_of(node_name, settings->node_name.len);
	plan->kubelet_host = span_of(kubelet_host, settings->kubelet_host.len);
	if (copy_global(plan, settings->global) < 0)
		return -ENOMEM;
	int result = add_configured_jobs(plan, present, settings, err);
	if (result == 0 && wants_annotations(settings))
		result = add_annotation_job(plan, present, settings, err);
	if (result == 0 && settings->listen && settings->listen->enabled)
		result = add_listen_job(plan, present, settings, err);
	return result;
}

int plan_new(
	const struct discover_settings *settings, const struct plan *present, struct plan **ret_plan, struct error *err)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	if (!plan)
		return error_set(err, ENOMEM, "out of memory");
	arena_init(&plan->arena, SIZE_MAX);
	int result = plan_fill(plan, present, settings, err);
	if (result < 0) {
		plan_free(plan);
		return result == -ENOMEM ? error_set(err, ENOMEM, "out of memory") : result;
	}
	*ret_plan = plan;
	return 0;
}
