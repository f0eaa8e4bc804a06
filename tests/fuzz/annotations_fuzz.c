// links: discover target relabel base
/* What a tenant writes into a pod's annotations: lines "name=value" below prometheus.io/, a first '!' puts the pod into the host's
 * network. Whatever is written, only the pod's own address is ever a target, within the clamps and the maximum. */
#include <stdlib.h>

#include "../../agent/discover/found.h"

static const struct kube_port ports[] = {
	{.name = SPAN("http"), .protocol = SPAN("TCP"), .number = 8080},
	{.name = SPAN("metrics"), .protocol = SPAN("TCP"), .number = 8081},
	{.name = SPAN("dns"), .protocol = SPAN("UDP"), .number = 53},
};
static const struct kube_container containers[] = {
	{.name = SPAN("web"), .ports = ports, .port_count = ARRAY_SIZE(ports)},
	{.name = SPAN("once"), .init = true, .ports = ports, .port_count = 1},
};
static const struct discover_annotation_options options = {
	.job_name = "kubernetes-pods",
	.prefix = "prometheus.io",
	.min_interval_ns = 5 * NS_PER_SEC,
	.max_interval_ns = 3600 * NS_PER_SEC,
	.max_targets_per_pod = 4,
	.host_network = true,
};

static void must(bool fact)
{
	if (!fact)
		abort();
}

static struct labels read_annotations(struct labels_builder *builder, struct span text)
{
	struct span line;
	while (span_next(&text, '\n', &line)) {
		char key[64] = "prometheus.io/";
		struct span value = line, name;
		if (span_next(&value, '=', &name) && name.len < sizeof(key) - strlen(key)) {
			memcpy(key + strlen(key), name.ptr, name.len);
			labels_set(builder, span_str(key), value);
		}
	}
	labels_set(builder, SPAN("prometheus.io/scrape"), SPAN("true"));
	return labels_builder_view(builder);
}

static void check_target(struct target_job *job, const struct found *found, struct span ip)
{
	struct target *target = NULL;
	struct error err = {{0}};
	int made = target_new(job, TARGET_POD, found->identity, found->labels, &target, NULL, &err);
	must(made != 0); /* there is no rule that could drop it */
	must(made == 1 || err.text[0] != '\0');
	if (made != 1)
		return;
	must(span_eq(target->host, ip));
	must(target->port != 0);
	must(target->interval_ns >= options.min_interval_ns && target->interval_ns <= options.max_interval_ns);
	must(target->timeout_ns <= target->interval_ns);
	for (size_t i = 0; i < target->url.len; i++)
		must((unsigned char)target->url.ptr[i] > ' ');
	target_unref(target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of((const char *)data, size);
	struct arena arena;
	struct labels_builder annotations;
	struct findings findings;
	struct target_job *job = NULL;
	struct target_global_options global = {
		.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};
	struct target_job_options job_options = {.job_name = "kubernetes-pods"};
	arena_init(&arena, 64 << 20);
	labels_builder_init(&annotations, &arena);
	findings_init(&findings, &arena, FOUND_LABEL_BYTES_MAX);
	must(target_job_new(&job_options, &global, &job, NULL) == 0);

	struct kube_pod pod = {
		.uid = SPAN("uid"),
		.namespace_ = SPAN("shop"),
		.name = SPAN("web-1"),
		.pod_ip = SPAN("10.85.0.5"),
		.phase = SPAN("Running"),
		.containers = containers,
		.container_count = ARRAY_SIZE(containers),
		.host_network = size > 0 && data[0] == '!',
	};
	pod.annotations = read_annotations(&annotations, pod.host_network ? span_of(text.ptr + 1, size - 1) : text);
	must(find_annotated(&options, job, &pod, &findings) == 0);
	must(findings.count <= options.max_targets_per_pod);
	for (size_t i = 0; i < findings.count; i++)
		check_target(job, &findings.items[i], pod.pod_ip);
	target_job_unref(job);
	arena_done(&arena);
	return 0;
}
