/* From a set of monitors to groups of targets:
 *
 *   for each pod     1. the Services of its namespace that select it     2. for each monitor those of them that it selects (a PodMonitor:
 *                    the pod itself)     3. for each endpoint a group, taken over when nothing of that changed
 *   for each monitor what it has besides pods: the kubelet, static lists
 *
 * Cost: a few selectors for each pod and monitor, nothing for endpoints that no pod needs.
 */
#include <errno.h>
#include <stdlib.h>

#include "build.h"

/* ---- jobs ------------------------------------------------------------------------------------ */

static size_t count_jobs(const struct monitor_set *set)
{
	size_t count = 0;
	for (size_t i = 0; set && i < set->entry_count; i++)
		count += set->entries[i].selected ? set->entries[i].monitor->endpoint_count : 0;
	return count;
}

static void add_jobs(struct monitored *monitored, const struct monitor *monitor)
{
	struct monitored_monitor *added = &monitored->monitors[monitored->monitor_count++];
	*added = (struct monitored_monitor){.monitor = monitor, .first_job = monitored->job_count};
	for (size_t i = 0; i < monitor->endpoint_count; i++) {
		if (!monitor->endpoints[i].refused)
			monitored->jobs[monitored->job_count++] =
				(struct monitored_job){.endpoint = &monitor->endpoints[i], .before = MONITORED_NEW};
	}
	added->job_count = monitored->job_count - added->first_job;
}

static bool keeps(const struct monitored_job *job, const struct monitored_job *before, enum monitored_keep keep)
{
	if (job->endpoint->hash != before->endpoint->hash || keep == MONITORED_KEEP_NONE)
		return false;
	return keep == MONITORED_KEEP_ALL || job->endpoint->reference_count == 0;
}

/* Finds each job's place in `before`, by its name. */
static int take_over(struct monitored *monitored, const struct monitored *before, enum monitored_keep keep)
{
	struct map places;
	int result = 0;
	map_init(&places, SIZE_MAX);
	for (size_t i = 0; result == 0 && i < before->job_count; i++)
		result = map_put(&places, span_str(before->jobs[i].endpoint->options.job_name), &before->jobs[i]);
	for (size_t i = 0; result == 0 && i < monitored->job_count; i++) {
		struct monitored_job *job = &monitored->jobs[i];
		const struct monitored_job *same = map_get(&places, span_str(job->endpoint->options.job_name));
		if (!same)
			continue;
		job->before = (size_t)(same - before->jobs);
		if (same->job && keeps(job, same, keep))
			job->job = target_job_ref(same->job);
	}
	map_done(&places);
	return result < 0 ? -ENOMEM : 0;
}

int monitored_new(struct monitor_set *set, const struct monitored *before, enum monitored_keep keep,
	struct monitored **ret_monitored)
{
	struct monitored *monitored = calloc(1, sizeof(*monitored));
	if (!monitored)
		return -ENOMEM;
	arena_init(&monitored->arena, SIZE_MAX);
	monitored->set = set ? monitor_set_ref(set) : NULL;
	monitored->monitors =
		arena_alloc(&monitored->arena, (set ? set->entry_count : 0) * sizeof(*monitored->monitors));
	monitored->jobs = arena_alloc(&monitored->arena, count_jobs(set) * sizeof(*monitored->jobs));
	int result = monitored->monitors && monitored->jobs ? 0 : -ENOMEM;
	for (size_t i = 0; result == 0 && set && i < set->entry_count; i++) {
		if (set->entries[i].selected)
			add_jobs(monitored, set->entries[i].monitor);
	}
	if (result == 0 && before)
		result = take_over(monitored, before, keep);
	if (result < 0) {
		monitored_free(monitored);
		return result;
	}
	*ret_monitored = monitored;
	return 0;
}

void monitored_free(struct monitored *monitored)
{
	if (!monitored)
		return;
	for (size_t i = 0; i < monitored->job_count; i++)
		target_job_unref(monitored->jobs[i].job);
	monitor_set_unref(monitored->set);
	arena_done(&monitored->arena);
	free(monitored);
}

int monitored_make_job(struct monitored *monitored, size_t at, const struct monitored *before,
	const struct target_global_options *global, const struct monitor_secrets *secrets, struct error *err)
{
	struct monitored_job *job = &monitored->jobs[at];
	struct target_job_options options;
	struct target_job *made = NULL, *same = NULL;
	struct arena values;
	if (job->job)
		return 0;
	arena_init(&values, 8 << 20);
	values.secret = true;
	int result = monitor_endpoint_options(job->endpoint, secrets, &values, &options, err);
	if (result == 1)
		result = target_job_new(&options, global, &made, err);
	else if (result == 0)
		result = -ENOENT;
	arena_done(&values);
	if (result < 0)
		return result;
	if (before && job->before != MONITORED_NEW)
		same = before->jobs[job->before].job;
	if (same && same->content == made->content) {
		target_job_set_credentials(same, made->credentials);
		target_job_unref(made);
		made = target_job_ref(same);
	}
	job->job = made;
	return 0;
}

/* ---- groups -------------------------------------------------------------------------------------- */

/* What a group of a monitor is made from: a pod, as such or through Services; without pod the kubelet's Services, or static lists. */
struct source {
	const struct kube_pod *pod;
	bool through_services;
	struct monitor_service *const *services;
	size_t service_count;
	uint64_t hash;
};

/* A ScrapeConfig is for all nodes: what is not of this one is refused here. */
static int refuse_remote(struct findings *findings)
{
	size_t kept = 0;
	for (size_t i = 0; i < findings->count; i++) {
		struct span text = labels_get(findings->items[i].labels, SPAN("__address__")), host;
		struct target_address address;
		struct error err;
		uint16_t port;
		if (target_address_split(text, &host, &port, NULL) == 0 &&
			target_address_parse(host, port, &address) == 0 && target_address_is_local(&address)) {
			findings->items[kept++] = findings->items[i];
			continue;
		}
		error_set(&err, EINVAL, "%s is not an address of this host; only this node is scraped",
			escape_bytes(text).text);
		if (findings_refuse(findings, findings->items[i].labels, &err) < 0)
			return -ENOMEM;
	}
	findings->count = kept;
	return 0;
}

static int find_statics(const struct target_job_options *options, struct findings *findings)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < options->static_configs.count; i++)
		result = find_static(options, i, findings);
	return result < 0 ? result : refuse_remote(findings);
}

static int find_source(const struct build *build, const struct source *source, const struct monitored_job *job,
	struct findings *findings)
{
	int result = 0;
	if (!source->through_services)
		return source->pod ? find_pod(source->pod, findings) : find_statics(&job->endpoint->options, findings);
	for (size_t i = 0; result == 0 && !findings->full && i < source->service_count; i++)
		result = source->pod ? find_service(source->pod, source->services[i], findings)
				     : find_kubelet(build->plan->kubelet_host, build->plan->node_name,
					       source->services[i], findings);
	return result;
}

/* Why there is no job, as a refusal of the pod. */
static int refuse(const struct source *source, const struct monitored_job *job, const struct error *err,
	struct findings *findings)
{
	struct labels_builder labels;
	labels_builder_init(&labels, findings->arena);
	labels_set_borrowed(&labels, SPAN("job"), span_str(job->endpoint->options.job_name));
	if (source->pod) {
		labels_set_borrowed(&labels, SPAN("__meta_kubernetes_namespace"), source->pod->namespace_);
		labels_set_borrowed(&labels, SPAN("__meta_kubernetes_pod_name"), source->pod->name);
	}
	return labels.failed < 0 ? -ENOMEM : findings_refuse(findings, labels_builder_view(&labels), err);
}

/* The group that the present set holds of this job and pod. */
static struct group *group_before(const struct build *build, size_t at, struct span uid)
{
	size_t before = build->monitored == build->present_monitored ? at : build->monitored->jobs[at].before;
	return before == MONITORED_NEW ? NULL : set_group(build->present, build->present_jobs + before, uid);
}

/* ---- room: an author of monitors can ask for any number of targets ------------------------- */

static size_t room_of(const struct build *build, const struct monitored_monitor *monitor)
{
	return monitor->room < build->monitored->room ? monitor->room : build->monitored->room;
}

static void take_room(struct build *build, struct monitored_monitor *monitor, const struct group *group)
{
	size_t room = room_of(build, monitor), bytes = group->bytes < room ? group->bytes : room;
	monitor->room -= bytes;
	build->monitored->room -= bytes;
	monitor->over = group->cut || room == 0;
}

static void reset_room(struct monitored *monitored)
{
	monitored->room = FOUND_MONITORS_BYTES_MAX;
	for (size_t i = 0; i < monitored->monitor_count; i++) {
		monitored->monitors[i].room = FOUND_MONITOR_BYTES_MAX;
		monitored->monitors[i].over = false;
	}
}

/* ---- one endpoint and one source ------------------------------------------------------------- */

/* err: why there is no job. */
static int make_group(struct build *build, const struct monitored_monitor *monitor, size_t at,
	const struct source *source, struct error *err)
{
	const struct monitored_job *job = &build->monitored->jobs[at];
	struct making making = {.job_index = build->plan->job_count + at,
		.job = job->job,
		.origin = source->pod                ? TARGET_POD
			  : source->through_services ? TARGET_KUBELET
						     : TARGET_STATIC,
		.uid = source->pod ? source->pod->uid : SPAN(""),
		.hash = source->hash,
		.bytes_max = room_of(build, monitor)};
	if (making.bytes_max == 0) {
		making.job = NULL;
		group_no_room(err);
	}
	struct findings findings;
	arena_reset(build->scratch);
	findings_init(&findings, build->scratch, FOUND_LABEL_BYTES_MAX);
	int result = making.job ? find_source(build, source, job, &findings) : refuse(source, job, err, &findings);
	return result < 0 ? result : set_build_group(build->set, build->present, &making, &findings);
}

static int build_group(
	struct build *build, const struct monitored_monitor *monitor, size_t at, const struct source *source)
{
	struct monitored_job *job = &build->monitored->jobs[at];
	struct group *before = group_before(build, at, source->pod ? source->pod->uid : SPAN(""));
	bool same = before && before->hash == source->hash && !before->cut && before->bytes <= room_of(build, monitor);
	struct error err = {{0}};
	int result = 0;
	/* What failed is tried again when monitors or Secrets changed, not at each change of a pod. */
	if (!job->job && !(same && build->monitored == build->present_monitored))
		result = monitored_make_job(
			build->monitored, at, build->present_monitored, &build->plan->global, build->secrets, &err);
	if (result == -ENOMEM)
		return result;
	if (result == 0 && same && before->job == job->job)
		return set_add_group(build->set, build->plan->job_count + at, group_ref(before));
	return make_group(build, monitor, at, source, &err);
}

static int build_monitor(struct build *build, struct monitored_monitor *monitor, const struct source *source)
{
	for (size_t i = 0; i < monitor->job_count && !monitor->over; i++) {
		int result = build_group(build, monitor, monitor->first_job + i, source);
		if (result < 0)
			return result;
		take_room(build, monitor, build->set->groups[build->set->group_count - 1].group);
	}
	return 0;
}

/* ---- pods ------------------------------------------------------------------------------------------- */

/* Lists of Services, as long as the longest namespace. */
struct lists {
	struct monitor_service **of_pod, **of_monitor;
	size_t of_pod_count;
};

static void list_services(const struct monitor_set *set, const struct kube_pod *pod, struct lists *lists)
{
	size_t count = 0;
	struct monitor_service *const *services = monitor_set_services(set, pod->namespace_, &count);
	lists->of_pod_count = 0;
	for (size_t i = 0; pod_is_endpoint(pod) && i < count; i++) {
		if (monitor_service_selects(services[i], pod->labels))
			lists->of_pod[lists->of_pod_count++] = services[i];
	}
}

/* Those of the services that the monitor selects, and a hash of them and `seed`. */
static struct source select_services(const struct monitor *monitor, struct monitor_service *const *services,
	size_t count, struct monitor_service **selected, uint64_t seed)
{
	struct source source = {.through_services = true, .services = selected, .hash = seed};
	for (size_t i = 0; i < count; i++) {
		if (!monitor_selects(monitor, services[i]->namespace_, services[i]->labels))
			continue;
		selected[source.service_count++] = services[i];
		source.hash = hash_bytes(span_u64(&services[i]->hash), source.hash);
	}
	return source;
}

static int build_pod(struct build *build, const struct kube_pod *pod, struct lists *lists)
{
	struct monitored *monitored = build->monitored;
	int result = 0;
	list_services(monitored->set, pod, lists);
	for (size_t i = 0; result == 0 && i < monitored->monitor_count; i++) {
		const struct monitor *monitor = monitored->monitors[i].monitor;
		struct source source = {.pod = pod, .hash = pod->hash};
		if (monitor->kind == MONITOR_SERVICE_MONITOR) {
			source = select_services(
				monitor, lists->of_pod, lists->of_pod_count, lists->of_monitor, pod->hash);
			source.pod = pod;
			if (source.service_count == 0)
				continue;
		} else if (!monitor->pods || !monitor_selects(monitor, pod->namespace_, pod->labels)) {
			continue;
		}
		result = build_monitor(build, &monitored->monitors[i], &source);
	}
	return result;
}

/* ---- what is there besides pods ------------------------------------------------------------------------- */

static size_t list_kubelets(const struct monitor_set *set, struct monitor_service **kubelets)
{
	size_t count = 0, found = 0;
	struct monitor_service *const *services = monitor_set_services(set, SPAN("kube-system"), &count);
	for (size_t i = 0; set->kubelet_service && i < count; i++) {
		if (monitor_service_is_kubelet(services[i]))
			kubelets[found++] = services[i];
	}
	return found;
}

static int build_without_pods(struct build *build, struct lists *lists)
{
	struct monitored *monitored = build->monitored;
	size_t kubelets = list_kubelets(monitored->set, lists->of_pod);
	uint64_t place = hash_bytes(build->plan->kubelet_host, hash_bytes(build->plan->node_name, 0));
	int result = 0;
	for (size_t i = 0; result == 0 && i < monitored->monitor_count; i++) {
		const struct monitor *monitor = monitored->monitors[i].monitor;
		struct source source = {0};
		if (monitor->kind == MONITOR_SERVICE_MONITOR)
			source = select_services(monitor, lists->of_pod, kubelets, lists->of_monitor, place);
		bool statics = monitor->endpoint_count > 0 && monitor->endpoints[0].options.static_configs.count > 0;
		if (source.service_count > 0 || statics)
			result = build_monitor(build, &monitored->monitors[i], &source);
	}
	return result;
}

int build_monitored(struct build *build)
{
	const struct monitor_set *set = build->monitored->set;
	if (!set || build->monitored->job_count == 0)
		return 0;
	struct monitor_service **room = malloc((2 * set->service_count + 1) * sizeof(struct monitor_service *));
	if (!room)
		return -ENOMEM;
	struct lists lists = {.of_pod = room, .of_monitor = room + set->service_count};
	reset_room(build->monitored);
	int result = build_without_pods(build, &lists);
	for (size_t i = 0; result == 0 && build->pods && i < build->pods->count; i++) {
		if (build_wants_pod(build, &build->pods->items[i]))
			result = build_pod(build, &build->pods->items[i], &lists);
	}
	free(room);
	return result;
}
