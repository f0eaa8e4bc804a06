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

#include "build.h"

struct discover {
	struct discover_events events;
	struct plan *plan;           /* NULL until configured */
	struct monitored *monitored; /* never NULL */
	struct monitor_secrets secrets;
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
	if (set_new(&discover->set) < 0 || monitored_new(NULL, NULL, MONITORED_KEEP_NONE, &discover->monitored) < 0) {
		discover_free(discover);
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
	monitored_free(discover->monitored);
	kube_pods_unref(discover->pods);
	free(discover->ports);
	arena_done(&discover->scratch);
	free(discover);
}

/* ---- the next set -------------------------------------------------------------------------- */

static bool in_namespaces(struct option_strings namespaces, struct span name)
{
	for (size_t i = 0; i < namespaces.count; i++) {
		if (span_eq(span_str(namespaces.items[i]), name))
			return true;
	}
	return namespaces.count == 0;
}

bool build_job_wants(const struct plan_job *job, const struct kube_pod *pod)
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
	if (unchanged)
		return set_add_group(build->set, job_index, group_ref(unchanged));
	struct findings findings;
	arena_reset(build->scratch);
	findings_init(&findings, build->scratch, FOUND_LABEL_BYTES_MAX);
	int result = find(build, job, pod, ports, &findings);
	if (result < 0)
		return result;
	struct making making = {.job_index = job_index,
		.job = job->job,
		.origin = TARGET_POD,
		.uid = pod->uid,
		.hash = hash,
		.bytes_max = SIZE_MAX};
	return set_build_group(build->set, build->present, &making, &findings);
}

bool build_wants_pod(const struct build *build, const struct kube_pod *pod)
{
	bool elsewhere = build->plan->node_name.len > 0 && pod->node_name.len > 0 &&
			 !span_eq(pod->node_name, build->plan->node_name);
	return !elsewhere && pod->uid.len > 0;
}

static int build_pods(struct build *build)
{
	for (size_t i = 0; build->pods && i < build->pods->count; i++) {
		const struct kube_pod *pod = &build->pods->items[i];
		if (!build_wants_pod(build, pod))
			continue;
		for (size_t job = 0; job < build->plan->job_count; job++) {
			if (!build_job_wants(&build->plan->jobs[job], pod))
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

int find_static(const struct target_job_options *job, size_t config_at, struct findings *findings)
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

/* A monitor may choose among the ports of the kubelets' Service, and no other place of the node. */
static bool is_as_discovered(const struct target *target)
{
	struct span host;
	uint16_t port = 0;
	return target_address_split(labels_get(target->discovered, SPAN("__address__")), &host, &port, NULL) == 0 &&
	       port == target->port;
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
	if (!target->job->of_kubelet && !is_as_discovered(target))
		return error_set(err, EACCES, "port %u is not the kubelet's", (unsigned)target->port);
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
	struct making making = {.job_index = job_index,
		.job = build->plan->jobs[job_index].job,
		.origin = job->of_kubelet ? TARGET_KUBELET : TARGET_STATIC,
		.uid = SPAN(""),
		.bytes_max = SIZE_MAX};
	if (result == 0)
		result = set_build_group(build->set, build->present, &making, &findings);
	if (result < 0)
		return result;
	const struct target_static_config *configs = job->static_configs.items;
	const struct group *group = build->set->groups[build->set->group_count - 1].group;
	return check_static_group(build->plan, group, &configs[config_at], err);
}

static int build_statics(struct build *build, struct error *err)
{
	const struct set *present = build->present;
	for (size_t i = 0; !build->settings && i < present->group_count; i++) {
		const struct placed *placed = &present->groups[i];
		bool is_static = placed->job_index < build->plan->job_count && placed->group->uid.len == 0;
		if (is_static && set_add_group(build->set, placed->job_index, group_ref(placed->group)) < 0)
			return -ENOMEM;
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

static int build_set(struct build *build, struct error *err)
{
	int result = set_new(&build->set);
	if (result < 0)
		return result;
	result = build_statics(build, err);
	if (result == 0)
		result = build_pods(build);
	if (result == 0)
		result = build_monitored(build);
	if (result == 0)
		result = set_finish(build->set, build->plan->job_count + build->monitored->job_count);
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

/* What was in force before: what was refused for the same cause then is not said again. */
struct past {
	struct set *set;
	bool same_plan, same_monitored;
	size_t plan_jobs;
};

/* The job's place in the set before; SIZE_MAX: it was not there, or all is to be said again. */
static size_t place_before(const struct discover *discover, const struct past *past, size_t job_index)
{
	size_t jobs = discover->plan->job_count;
	if (!past->same_plan || (job_index >= jobs && past->same_monitored))
		return past->same_plan ? job_index : SIZE_MAX;
	if (job_index < jobs)
		return job_index;
	size_t before = discover->monitored->jobs[job_index - jobs].before;
	return before == MONITORED_NEW ? SIZE_MAX : past->plan_jobs + before;
}

static const struct target_job *job_at(const struct discover *discover, size_t job_index)
{
	size_t jobs = discover->plan->job_count;
	return job_index < jobs ? discover->plan->jobs[job_index].job : discover->monitored->jobs[job_index - jobs].job;
}

/* Known also of a job that could not be made. */
static struct span job_name_at(const struct discover *discover, size_t job_index)
{
	size_t jobs = discover->plan->job_count;
	return job_index < jobs ? discover->plan->jobs[job_index].job->name
				: span_str(discover->monitored->jobs[job_index - jobs].endpoint->options.job_name);
}

static void report_refusals(const struct discover *discover, const struct past *past)
{
	const struct discover_events *events = &discover->events;
	const struct set *now = discover->set;
	for (size_t i = 0; i < now->group_count; i++) {
		const struct group *group = now->groups[i].group;
		if (group->refusal_count == 0)
			continue;
		size_t place = place_before(discover, past, now->groups[i].job_index);
		const struct group *before = place == SIZE_MAX ? NULL : set_group(past->set, place, group->uid);
		for (size_t j = 0; j < group->refusal_count; j++) {
			const struct refusal *refusal = &group->refusals[j];
			if (!was_refused(before, &refusal->err))
				events->refused(events->arg, refusal->discovered, &refusal->err);
		}
	}
	for (size_t i = 0; i < now->job_count; i++) {
		size_t place = place_before(discover, past, i);
		bool said = place < past->set->job_count && past->set->over_limit[place] > 0;
		if (now->over_limit[i] > 0 && !said)
			report_over_limit(events, job_at(discover, i), now->over_limit[i]);
	}
}

/* Says what changed, and lets go of the set before. */
static void report(const struct discover *discover, const struct past *past)
{
	report_targets(&discover->events, past->set, discover->set);
	if (discover->events.refused)
		report_refusals(discover, past);
	set_free(past->set);
}

/* ---- verbs --------------------------------------------------------------------------------------------- */

/* The next set is of what is in force, unless the caller puts something else. */
struct build build_of_present(struct discover *discover)
{
	return (struct build){.plan = discover->plan,
		.monitored = discover->monitored,
		.pods = discover->pods,
		.ports = {discover->ports, discover->port_count},
		.secrets = &discover->secrets,
		.present = discover->set,
		.present_monitored = discover->monitored,
		.present_jobs = discover->plan ? discover->plan->job_count : 0,
		.scratch = &discover->scratch};
}

static struct past past_of(const struct discover *discover)
{
	return (struct past){.set = discover->set,
		.same_plan = true,
		.same_monitored = true,
		.plan_jobs = discover->plan ? discover->plan->job_count : 0};
}

static int configure(struct discover *discover, const struct discover_settings *settings, struct plan *plan,
	struct monitored *monitored, struct error *err)
{
	struct plan *old_plan = discover->plan;
	struct monitored *old_monitored = discover->monitored;
	struct past past = past_of(discover);
	struct build build = build_of_present(discover);
	build.plan = plan;
	build.monitored = monitored;
	build.settings = settings;
	int result = build_set(&build, err);
	if (result < 0)
		return result;
	discover->plan = plan;
	discover->monitored = monitored;
	discover->set = build.set;
	plan_adopt(plan);
	past.same_plan = false;
	report(discover, &past);
	plan_free(old_plan);
	monitored_free(old_monitored);
	return 0;
}

int discover_configure(struct discover *discover, const struct discover_settings *settings, struct error *err)
{
	struct plan *plan = NULL;
	struct monitored *monitored = NULL;
	int result = plan_new(settings, discover->plan, &plan, err);
	if (result < 0)
		return result;
	/* Jobs of monitors hang on the global options, too. */
	result = monitored_new(discover->monitored->set, discover->monitored, MONITORED_KEEP_NONE, &monitored);
	if (result == 0)
		result = configure(discover, settings, plan, monitored, err);
	if (result < 0) {
		plan_free(plan);
		monitored_free(monitored);
		return result == -ENOMEM ? error_set(err, ENOMEM, "out of memory") : result;
	}
	return 0;
}

/* Other pods, ports or monitors under the same plan: their set replaces the present one. Reporting is left to the caller, who first keeps
 * the new facts. */
static int rebuild(struct discover *discover, struct build *build)
{
	if (!discover->plan)
		return 0;
	int result = build_set(build, NULL);
	if (result == 0)
		discover->set = build->set;
	return result;
}

static void report_rebuilt(struct discover *discover, const struct past *past)
{
	if (discover->plan)
		report(discover, past);
}

int discover_pods(struct discover *discover, struct kube_pods *pods)
{
	struct past past = past_of(discover);
	struct build build = build_of_present(discover);
	build.pods = pods;
	int result = rebuild(discover, &build);
	if (result < 0)
		return result;
	kube_pods_unref(discover->pods);
	discover->pods = pods ? kube_pods_ref(pods) : NULL;
	report_rebuilt(discover, &past);
	return 0;
}

/* ---- monitors ----------------------------------------------------------------------------------------------- */

static int change_monitored(struct discover *discover, struct monitor_set *set, enum monitored_keep keep)
{
	struct monitored *old = discover->monitored, *monitored = NULL;
	struct past past = past_of(discover);
	struct build build = build_of_present(discover);
	int result = monitored_new(set, old, keep, &monitored);
	if (result < 0)
		return result;
	build.monitored = monitored;
	result = rebuild(discover, &build);
	if (result < 0) {
		monitored_free(monitored);
		return result;
	}
	discover->monitored = monitored;
	past.same_monitored = false;
	report_rebuilt(discover, &past);
	monitored_free(old);
	return 0;
}

int discover_monitors(struct discover *discover, struct monitor_set *set)
{
	return change_monitored(discover, set, MONITORED_KEEP_ALL);
}

void discover_use_secrets(struct discover *discover, struct monitor_secrets secrets)
{
	discover->secrets = secrets;
}

int discover_secrets_changed(struct discover *discover)
{
	return change_monitored(discover, discover->monitored->set, MONITORED_KEEP_WITHOUT_REFERENCES);
}

struct monitor_set *discover_monitor_set(const struct discover *discover)
{
	return discover->monitored->set;
}

const struct kube_pods *discover_known_pods(const struct discover *discover)
{
	return discover->pods;
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
	struct past past = past_of(discover);
	struct build build = build_of_present(discover);
	if (count > 0) {
		copy = malloc(count * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, ports, count * sizeof(*copy));
		qsort(copy, count, sizeof(*copy), compare_ports);
	}
	build.ports = (struct open_ports){copy, count};
	int result = rebuild(discover, &build);
	if (result < 0) {
		free(copy);
		return result;
	}
	free(discover->ports);
	discover->ports = copy;
	discover->port_count = count;
	report_rebuilt(discover, &past);
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

void discover_each_refusal(const struct discover *discover,
	void (*visit)(void *arg, struct span job_name, struct labels discovered, const struct error *err), void *arg)
{
	const struct set *set = discover->set;
	for (size_t i = 0; i < set->group_count; i++) {
		const struct group *group = set->groups[i].group;
		for (size_t j = 0; j < group->refusal_count; j++)
			visit(arg, job_name_at(discover, set->groups[i].job_index), group->refusals[j].discovered,
				&group->refusals[j].err);
	}
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
