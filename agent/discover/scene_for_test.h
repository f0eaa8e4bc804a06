/* A scene for the tests of the set: a configuration and lists of pods; what happened is read as text. */
#pragma once

#include "pods_for_test.h"

#include <errno.h>
#include <stdio.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

struct scene {
	struct discover *discover;
	struct buf events; /* "+ job url", "- job url", "~ job url", "! pod: cause" */
};

static inline void write_target(struct buf *text, const char *what, const struct target *target)
{
	buf_printf(text, "%s %.*s %.*s\n", what, SPAN_ARGS(target->job->name), SPAN_ARGS(target->url));
}

static inline void added(void *arg, struct target *target)
{
	write_target(arg, "+", target);
}

static inline void removed(void *arg, struct target *target)
{
	write_target(arg, "-", target);
}

static inline void changed(void *arg, struct target *old_target, struct target *target)
{
	assert_ptr_not_equal(old_target, target);
	assert_int_equal(old_target->key, target->key);
	write_target(arg, "~", target);
}

static inline void refused(void *arg, struct labels discovered, const struct error *err)
{
	buf_printf(
		arg, "! %.*s: %s\n", SPAN_ARGS(labels_get(discovered, SPAN("__meta_kubernetes_pod_name"))), err->text);
}

static inline int scene_new(struct scene *scene)
{
	struct discover_events events = {
		.added = added, .removed = removed, .changed = changed, .refused = refused, .arg = &scene->events};
	scene->discover = NULL;
	buf_init(&scene->events, 1 << 20);
	return discover_new(events, &scene->discover);
}

static inline void scene_done(struct scene *scene)
{
	discover_free(scene->discover);
	buf_done(&scene->events);
}

static inline int setup(void **state)
{
	struct scene *scene = malloc(sizeof(*scene));
	assert_int_equal(scene_new(scene), 0);
	*state = scene;
	return 0;
}

static inline int teardown(void **state)
{
	scene_done(*state);
	free(*state);
	return 0;
}

/* What was reported since the last call. */
static inline void assert_events(struct scene *scene, const char *expected)
{
	test_assert_text(buf_view(&scene->events), expected);
	buf_reset(&scene->events);
}

static inline int configure(struct scene *scene, const struct target_job_options *jobs, size_t count, struct error *err)
{
	struct discover_settings settings = {
		.global = &global, .jobs = jobs, .job_count = count, .node_name = SPAN("node-a")};
	return discover_configure(scene->discover, &settings, err);
}

static inline void must_configure(struct scene *scene, const struct target_job_options *jobs, size_t count)
{
	struct error err = {{0}};
	if (configure(scene, jobs, count, &err) < 0)
		fail_msg("%s", err.text);
}

static inline int tell_pods(struct scene *scene, const struct kube_pod *pods, size_t count)
{
	struct kube_pods *list = pods_for_test(pods, count);
	int result = list ? discover_pods(scene->discover, list) : -ENOMEM;
	kube_pods_unref(list);
	return result;
}

static inline struct target *target_at(const struct scene *scene, size_t at)
{
	size_t count = 0;
	struct target *const *targets = discover_targets(scene->discover, &count);
	assert_true(at < count);
	return targets[at];
}

static inline size_t target_count(const struct scene *scene)
{
	size_t count = 0;
	discover_targets(scene->discover, &count);
	return count;
}

static inline struct target *target_with_url(const struct scene *scene, const char *url)
{
	for (size_t i = 0; i < target_count(scene); i++) {
		if (span_eq(target_at(scene, i)->url, span_str(url)))
			return target_at(scene, i);
	}
	fail_msg("no target %s", url);
	return NULL;
}

/* ---- configurations --------------------------------------------------------------------------- */

static struct target_kubernetes_sd role_pod[] = {{.role = "pod"}};

static inline struct target_job_options pod_job(const char *name)
{
	return (struct target_job_options){
		.job_name = name, .honor_timestamps = true, .kubernetes_sd_configs = {role_pod, 1}};
}

/* Keeps named ports "metrics" only; writes a pod's label "app" and its readiness where asked. */
static const char *port_name[] = {"__meta_kubernetes_pod_container_port_name"};
static const char *app_label[] = {"__meta_kubernetes_pod_label_app"};
static struct relabel_rule keep_metrics[] = {
	{
		.source_labels = {port_name, 1},
		.separator = ";",
		.regex = "metrics",
		.replacement = "$1",
		.action = RELABEL_KEEP,
	},
	{.source_labels = {app_label, 1},
		.separator = ";",
		.regex = "(.*)",
		.target_label = "app",
		.replacement = "$1",
		.action = RELABEL_REPLACE},
};

static inline struct target_job_options metrics_job(const char *name)
{
	struct target_job_options job = pod_job(name);
	job.relabel_configs = (struct option_objects){keep_metrics, ARRAY_SIZE(keep_metrics)};
	return job;
}

/* A pod of one container with one port "metrics". */
static const struct kube_port one_port[] = {TCP_PORT("metrics", 9000)};
static const struct kube_container one_container[] = {{CONTAINER("app", one_port)}};

static inline struct kube_pod small_pod(const char *name, const char *ip)
{
	return (struct kube_pod){.uid = span_str(name),
		.namespace_ = SPAN("shop"),
		.name = span_str(name),
		.node_name = SPAN("node-a"),
		.host_ip = SPAN("192.168.77.2"),
		.pod_ip = span_str(ip),
		.phase = SPAN("Running"),
		.ready = SPAN("true"),
		.containers = one_container,
		.container_count = 1,
		.hash = 1};
}

static inline struct target_job_options static_job(const char *name, struct target_static_config *configs, size_t count)
{
	return (struct target_job_options){.job_name = name, .static_configs = {configs, count}};
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
