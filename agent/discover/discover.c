/* The present set of targets, and how it moves.
 *
 * 1. A configuration becomes a plan (plan.c), a list of pods comes from the kubelet, 2. the next set is built beside the
 * present one: each job looks at each pod whose record changed (pod_labels.c, annotations.c) and takes over what it made of
 * the others, 3. targets that are the same to a user are one (set.c), 4. the sets are exchanged, 5. the difference is
 * reported: removed, then changed and added.
 *
 * Failure modes: a pod that cannot be scraped as annotated is refused and reported once, with the cause; a static target of
 * another host fails the configuration; memory that runs out, or a bad configuration, leaves the present set as it is.
 */
#include "gleaner/discover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "set.h"

struct discover {
	struct discover_events events;
	struct plan *plan;           /* NULL until configured */
	struct kube_pods *pods;      /* NULL until told */
	struct discover_port *ports; /* sorted by pod, then number */
	size_t port_count;
	struct set *set;
	struct arena scratch; /* of one pod, while a set is built */
};

int discover_new(struct discover_events events, struct discover **ret_discover)
{
	struct discover *discover = calloc(1, sizeof(*discover));
	if (!discover)
		return -ENOMEM;
	discover->events = events;
	arena_init(&discover->scratch, 64 << 20);
	if (set_new(0, &discover->set) < 0) {
		free(discover);
		return -ENOMEM;
	}
	*ret_discover = discover;
	return 0;
}

void discover_free(struct discover *discover)
{
	if (!discover)
		return;
	set_free(discover->set);
	plan_free(discover->plan);
	kube_pods_unref(discover->pods);
	free(discover->ports);
	arena_done(&discover->scratch);
	free(discover);
}

/* ---- the next set -------------------------------------------------------------------------- */

/* What the next set is made from. A group without uid is one of the static lists, so a pod without uid is none. */
struct build {
	const struct plan *plan;
	const struct kube_pods *pods;             /* may be NULL */
	struct open_ports ports;                  /* sorted by pod, then number */
	const struct discover_settings *settings; /* of a new plan; NULL: the plan is the present one */
	const struct set *present;
	struct arena *scratch;
	struct set *set;
};

static bool in_namespaces(struct option_strings namespaces, struct span name)
{
	for (size_t i = 0; i < namespaces.count; i++) {
		if (span_eq(span_str(namespaces.items[i]), name))
			return true;
	}
	return namespaces.count == 0;
}

static bool wants_pod(const struct plan_job *job, const struct kube_pod *pod)
{
	return job->annotated || job->listening || (job->pods && in_namespaces(job->namespaces, pod->namespace_));
}

/* Of the sorted ports those of one pod. */
static struct open_ports ports_of(struct open_ports all, struct span pod_uid)
{
	size_t low = 0, high = all.count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (span_cmp(span_str(all.items[middle].pod_uid), pod_uid) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	size_t end = low;
	while (end < all.count && span_eq(span_str(all.items[end].pod_uid), pod_uid))
		end++;
	return (struct open_ports){all.items + low, end - low};
}

/* What the present set holds of this pod, when neither the plan nor what it was made of changed. */
static struct group *unchanged_group(
	const struct build *build, size_t job_index, const struct kube_pod *pod, uint64_t hash)
{
	struct group *group = build->settings ? NULL : set_group(build->present, job_index, pod->uid);
	return group && group->hash == hash ? group : NULL;
}

static int find(struct build *build, const struct plan_job *job, const struct kube_pod *pod, struct open_ports ports,
	struct findings *findings)
{
	if (job->annotated)
		return find_annotated(&build->plan->annotations, job->job, pod, findings);
	if (job->listening)
		return find_listening(&build->plan->listen, pod, ports, findings);
	return find_pod(pod, findings);
}

static int build_pod(struct build *build, size_t job_index, const struct kube_pod *pod)
{
	const struct plan_job *job = &build->plan->jobs[job_index];
	struct open_ports ports = {0};
	uint64_t hash = pod->hash;
	if (job->listening) {
		ports = ports_of(build->ports, pod->uid);
		hash = hash_bytes(span_of((const char *)ports.items, ports.count * sizeof(*ports.items)), pod->hash);
	}
	struct group *unchanged = unchanged_group(build, job_index, pod, hash);
	if (unchanged) {
		set_add_group(build->set, group_ref(unchanged));
		return 0;
	}
	struct findings findings;
	arena_reset(build->scratch);
	findings_init(&findings, build->scratch, FOUND_LABEL_BYTES_MAX);
	int result = find(build, job, pod, ports, &findings);
	if (result < 0)
		return result;
	return set_build_group(build->set, build->present, build->plan, job_index, pod, hash, &findings);
}

static int build_pods(struct build *build)
{
	for (size_t i = 0; build->pods && i < build->pods->count; i++) {
		const struct kube_pod *pod = &build->pods->items[i];
		bool elsewhere = build->plan->node_name.len > 0 && pod->node_name.len > 0 &&
				 !span_eq(pod->node_name, build->plan->node_name);
		if (elsewhere || pod->uid.len == 0)
			continue;
		for (size_t job = 0; job < build->plan->job_count; job++) {
			if (!wants_pod(&build->plan->jobs[job], pod))
				continue;
			int result = build_pod(build, job, pod);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

/* ---- static lists: one group for each static_config ---------------------------------------------- */

/* How often the address stands in the job's lists before this place. */
static size_t earlier_same(const struct target_job_options *job, size_t config_at, size_t target_at)
{
	const struct target_static_config *configs = job->static_configs.items;
	const char *address = configs[config_at].targets.items[target_at];
	size_t same = 0;
	for (size_t i = 0; i <= config_at; i++) {
		size_t count = i < config_at ? configs[i].targets.count : target_at;
		for (size_t j = 0; j < count; j++)
			same += strcmp(configs[i].targets.items[j], address) == 0;
	}
	return same;
}

/* The address; a later one that is the same gets a number, since its labels may differ. SPAN_NONE: no memory. */
static struct span static_identity(struct arena *arena, const char *address, size_t same)
{
	size_t size = strlen(address) + sizeof("#18446744073709551615");
	char *text = arena_alloc(arena, size);
	if (!text)
		return SPAN_NONE;
	int len = same ? snprintf(text, size, "%s#%zu", address, same) : snprintf(text, size, "%s", address);
	return span_of(text, (size_t)len);
}

static int find_static(const struct target_job_options *job, size_t config_at, struct findings *findings)
{
	const struct target_static_config *config =
		(const struct target_static_config *)job->static_configs.items + config_at;
	struct labels_builder labels;
	labels_builder_init(&labels, findings->arena);
	for (size_t i = 0; i < config->labels.count; i++)
		labels_set_borrowed(
			&labels, span_str(config->labels.items[i].name), span_str(config->labels.items[i].value));
	for (size_t i = 0; i < config->targets.count; i++) {
		const char *address = config->targets.items[i];
		if (labels_set_borrowed(&labels, SPAN("__address__"), span_str(address)) < 0)
			return -ENOMEM;
		size_t same = earlier_same(job, config_at, i);
		int result = findings_add(
			findings, static_identity(findings->arena, address, same), labels_builder_view(&labels));
		if (result < 0)
			return result;
	}
	return 0;
}

static int check_static_address(const struct target *target, struct target_address *ret_address, struct error *err)
{
	struct target_address address;
	struct escaped host = escape_bytes(target->host);
	if (target_address_parse(target->host, target->port, &address) < 0)
		return error_set(err, EACCES, "%s is not an IP address; names are not looked up", host.text);
	if (!target_address_is_local(&address))
		return error_set(
			err, EACCES, "%s is not an address of this host; only this node is scraped", host.text);
	*ret_address = address;
	return 0;
}

/* Whatever the labels say, only the kubelet is dialled: its jobs carry the ServiceAccount's token. */
static int check_kubelet_address(
	const struct plan *plan, const struct target *target, struct target_address *ret_address, struct error *err)
{
	struct target_address kubelet, address;
	if (target_address_parse(plan->kubelet_host, target->port, &kubelet) < 0 ||
		target_address_parse(target->host, target->port, &address) < 0 ||
		!target_address_same_host(&address, &kubelet))
		return error_set(
			err, EACCES, "%s is not the address of the node's kubelet", escape_bytes(target->host).text);
	*ret_address = address;
	return 0;
}

static int check_own_address(
	const struct plan *plan, const struct target *target, struct target_address *ret_address, struct error *err)
{
	return target->origin == TARGET_KUBELET ? check_kubelet_address(plan, target, ret_address, err)
						: check_static_address(target, ret_address, err);
}

/* A mistake in a static list is one of the configuration: it fails, and names the line. */
static int check_static_group(const struct plan *plan, const struct group *group,
	const struct target_static_config *config, struct error *err)
{
	struct error cause = {{0}};
	struct target_address address;
	if (group->refusal_count > 0)
		cause = group->refusals[0].err;
	for (size_t i = 0; i < group->target_count && cause.text[0] == '\0'; i++)
		check_own_address(plan, group->targets[i], &address, &cause);
	if (cause.text[0] == '\0')
		return 0;
	return error_set(err, EINVAL, "%s:%u:%u: static_configs: %s",
		config->position.file ? config->position.file : "", config->position.line, config->position.column,
		cause.text);
}

static int build_static(struct build *build, size_t job_index, size_t config_at, struct error *err)
{
	const struct target_job_options *job = &build->settings->jobs[job_index];
	struct findings findings;
	arena_reset(build->scratch);
	findings_init(&findings, build->scratch, SIZE_MAX);
	int result = find_static(job, config_at, &findings);
	if (result == 0)
		result = set_build_group(build->set, build->present, build->plan, job_index, NULL, 0, &findings);
	if (result < 0)
		return result;
	const struct target_static_config *configs = job->static_configs.items;
	const struct group *group = build->set->groups[build->set->group_count - 1];
	return check_static_group(build->plan, group, &configs[config_at], err);
}

static int build_statics(struct build *build, struct error *err)
{
	const struct set *present = build->present;
	for (size_t i = 0; !build->settings && i < present->group_count; i++) {
		if (present->groups[i]->uid.len == 0)
			set_add_group(build->set, group_ref(present->groups[i]));
	}
	for (size_t job = 0; build->settings && job < build->settings->job_count; job++) {
		for (size_t i = 0; i < build->settings->jobs[job].static_configs.count; i++) {
			int result = build_static(build, job, i, err);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

static size_t static_count(const struct build *build)
{
	size_t count = 0;
	for (size_t i = 0; build->settings && i < build->settings->job_count; i++)
		count += build->settings->jobs[i].static_configs.count;
	return build->settings ? count : build->present->group_count;
}

static int build_set(struct build *build, struct error *err)
{
	size_t pods = build->pods ? build->pods->count : 0;
	int result = set_new(pods * build->plan->job_count + static_count(build), &build->set);
	if (result < 0)
		return result;
	result = build_statics(build, err);
	if (result == 0)
		result = build_pods(build);
	if (result == 0)
		result = set_finish(build->set, build->plan);
	arena_done(build->scratch); /* until the next change, which may be hours away */
	if (result < 0)
		set_free(build->set);
	return result;
}

/* ---- the difference -------------------------------------------------------------------------------- */

static void report_targets(const struct discover_events *events, const struct set *old, const struct set *now)
{
	for (size_t i = 0; i < old->target_count; i++) {
		if (!set_target(now, old->targets[i]->key))
			events->removed(events->arg, old->targets[i]);
	}
	for (size_t i = 0; i < now->target_count; i++) {
		struct target *target = now->targets[i], *before = set_target(old, target->key);
		if (before == target)
			continue;
		if (before && events->changed) {
			events->changed(events->arg, before, target);
			continue;
		}
		if (before)
			events->removed(events->arg, before);
		events->added(events->arg, target);
	}
}

static bool was_refused(const struct group *group, const struct error *err)
{
	for (size_t i = 0; group && i < group->refusal_count; i++) {
		if (strcmp(group->refusals[i].err.text, err->text) == 0)
			return true;
	}
	return false;
}

static void report_over_limit(const struct discover_events *events, const struct target_job *job, size_t count)
{
	struct label label = {SPAN("job"), job->name};
	struct error err;
	error_set(&err, E2BIG, "%zu targets exceed the job's target_limit of %zu; none of them is scraped", count,
		(size_t)job->limits.target_limit);
	events->refused(events->arg, (struct labels){&label, 1}, &err);
}

/* same_plan: what was refused for the same cause before is not said again. */
static void report_refusals(const struct discover *discover, const struct set *old, bool same_plan)
{
	const struct discover_events *events = &discover->events;
	const struct set *now = discover->set;
	for (size_t i = 0; i < now->group_count; i++) {
		const struct group *group = now->groups[i];
		const struct group *before = same_plan ? set_group(old, group->job_index, group->uid) : NULL;
		for (size_t j = 0; j < group->refusal_count; j++) {
			const struct refusal *refusal = &group->refusals[j];
			if (!was_refused(before, &refusal->err))
				events->refused(events->arg, refusal->discovered, &refusal->err);
		}
	}
	for (size_t i = 0; i < discover->plan->job_count; i++) {
		if (now->over_limit[i] > 0 && !(same_plan && old->over_limit[i] > 0))
			report_over_limit(events, discover->plan->jobs[i].job, now->over_limit[i]);
	}
}

static void report(const struct discover *discover, const struct set *old, bool same_plan)
{
	report_targets(&discover->events, old, discover->set);
	if (discover->events.refused)
		report_refusals(discover, old, same_plan);
}

/* ---- verbs --------------------------------------------------------------------------------------------- */

int discover_configure(struct discover *discover, const struct discover_settings *settings, struct error *err)
{
	struct plan *plan = NULL, *old_plan = discover->plan;
	struct set *old = discover->set;
	int result = plan_new(settings, old_plan, &plan, err);
	if (result < 0)
		return result;
	struct build build = {.plan = plan,
		.pods = discover->pods,
		.ports = {discover->ports, discover->port_count},
		.settings = settings,
		.present = old,
		.scratch = &discover->scratch};
	result = build_set(&build, err);
	if (result < 0) {
		plan_free(plan);
		return result == -ENOMEM ? error_set(err, ENOMEM, "out of memory") : result;
	}
	discover->plan = plan;
	discover->set = build.set;
	plan_adopt(plan);
	report(discover, old, false);
	set_free(old);
	plan_free(old_plan);
	return 0;
}

/* Other pods or ports under the same plan: their set replaces the present one. Reporting is left to the caller, who first keeps the new
 * facts. */
static int rebuild(
	struct discover *discover, const struct kube_pods *pods, struct open_ports ports, struct set **ret_old)
{
	struct build build = {.plan = discover->plan,
		.pods = pods,
		.ports = ports,
		.present = discover->set,
		.scratch = &discover->scratch};
	*ret_old = NULL;
	if (!discover->plan)
		return 0;
	int result = build_set(&build, NULL);
	if (result < 0)
		return result;
	*ret_old = discover->set;
	discover->set = build.set;
	return 0;
}

static void report_rebuilt(struct discover *discover, struct set *old)
{
	if (!old)
		return;
	report(discover, old, true);
	set_free(old);
}

int discover_pods(struct discover *discover, struct kube_pods *pods)
{
	struct set *old;
	int result = rebuild(discover, pods, (struct open_ports){discover->ports, discover->port_count}, &old);
	if (result < 0)
		return result;
	kube_pods_unref(discover->pods);
	discover->pods = pods ? kube_pods_ref(pods) : NULL;
	report_rebuilt(discover, old);
	return 0;
}

/* ---- open ports ------------------------------------------------------------------------------------------- */

static int compare_ports(const void *left, const void *right)
{
	const struct discover_port *a = left, *b = right;
	int order = strcmp(a->pod_uid, b->pod_uid);
	return order != 0 ? order : (a->port > b->port) - (a->port < b->port);
}

int discover_ports(struct discover *discover, const struct discover_port *ports, size_t count)
{
	struct discover_port *copy = NULL;
	struct set *old;
	if (count > 0) {
		copy = malloc(count * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, ports, count * sizeof(*copy));
		qsort(copy, count, sizeof(*copy), compare_ports);
	}
	int result = rebuild(discover, discover->pods, (struct open_ports){copy, count}, &old);
	if (result < 0) {
		free(copy);
		return result;
	}
	free(discover->ports);
	discover->ports = copy;
	discover->port_count = count;
	report_rebuilt(discover, old);
	return 0;
}

bool discover_wants_port(const struct discover *discover, struct span pod_uid, uint16_t port)
{
	const struct plan *plan = discover->plan;
	const struct kube_pod *pod = discover->pods ? kube_pods_find(discover->pods, pod_uid) : NULL;
	if (!pod || !plan || !plan->listen.enabled || !listening_wants(&plan->listen, pod, port))
		return false;
	for (size_t i = 0; i < discover->set->target_count; i++) {
		const struct target *target = discover->set->targets[i];
		if (target->port == port && span_eq(target->pod_uid, pod_uid) &&
			!span_eq(target->job->name, span_str(plan->listen.job_name)))
			return false;
	}
	return true;
}

struct target *const *discover_targets(const struct discover *discover, size_t *ret_count)
{
	*ret_count = discover->set->target_count;
	return discover->set->targets;
}

struct target *discover_find(const struct discover *discover, uint64_t key)
{
	return set_target(discover->set, key);
}

const struct discover_dropped *discover_dropped(const struct discover *discover, size_t *ret_count)
{
	*ret_count = discover->set->dropped_count;
	return discover->set->dropped;
}

/* ---- may it be dialled? ----------------------------------------------------------------------------------- */

static bool is_address(const struct target_address *address, struct span ip)
{
	struct target_address own;
	return target_address_parse(ip, address->port, &own) == 0 && target_address_same_host(&own, address);
}

/* Whatever a pod's record says: loopback, link-local (metadata services), multicast, unspecified and broadcast are no pod's. */
static bool is_special(const struct target_address *address)
{
	const unsigned char *bytes = address->bytes;
	static const unsigned char zero[15];
	if (!address->is_ipv6)
		return bytes[0] == 127 || bytes[0] == 0 || bytes[0] >= 224 || (bytes[0] == 169 && bytes[1] == 254);
	bool unspecified_or_loopback = memcmp(bytes, zero, sizeof(zero)) == 0 && bytes[15] <= 1;
	return unspecified_or_loopback || bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
}

static bool belongs_to(const struct kube_pod *pod, const struct target_address *address)
{
	if (is_special(address))
		return false;
	bool own = is_address(address, pod->pod_ip) || (pod->host_network && is_address(address, pod->host_ip));
	for (size_t i = 0; !own && i < pod->pod_ip_count; i++)
		own = is_address(address, pod->pod_ips[i]);
	return own;
}

static int pod_dial_address(const struct discover *discover, const struct target *target,
	struct target_address *ret_address, struct error *err)
{
	const struct kube_pod *pod = discover->pods ? kube_pods_find(discover->pods, target->pod_uid) : NULL;
	struct target_address address;
	if (!pod)
		return error_set(err, EACCES, "the pod is gone");
	/* Its address may be another pod's already. */
	if (span_eq(pod->phase, SPAN("Succeeded")) || span_eq(pod->phase, SPAN("Failed")))
		return error_set(err, EACCES, "pod %.*s/%.*s has ended (%.*s)", SPAN_ARGS(pod->namespace_),
			SPAN_ARGS(pod->name), SPAN_ARGS(pod->phase));
	if (target_address_parse(target->host, target->port, &address) < 0 || !belongs_to(pod, &address))
		return error_set(err, EACCES, "%s is not an address of pod %.*s/%.*s", escape_bytes(target->host).text,
			SPAN_ARGS(pod->namespace_), SPAN_ARGS(pod->name));
	*ret_address = address;
	return 0;
}

int discover_dial_address(const struct discover *discover, const struct target *target,
	struct target_address *ret_address, struct error *err)
{
	if (target->origin != TARGET_POD)
		return check_own_address(discover->plan, target, ret_address, err);
	return pod_dial_address(discover, target, ret_address, err);
}
