#include "set.h"

#include <errno.h>
#include <stdlib.h>

enum { GROUP_BYTES = 2048 }; /* of one without targets: the struct and a chunk of its arena, and refusals */

/* ---- groups -------------------------------------------------------------------------------- */

struct group *group_ref(struct group *group)
{
	group->refs++;
	return group;
}

void group_unref(struct group *group)
{
	if (!group || --group->refs > 0)
		return;
	for (size_t i = 0; i < group->target_count; i++)
		target_unref(group->targets[i]);
	target_job_unref(group->job);
	arena_done(&group->arena);
	free(group);
}

static int group_new(const struct making *making, const struct findings *findings, struct group **ret_group)
{
	struct group *group = calloc(1, sizeof(*group));
	if (!group)
		return -ENOMEM;
	*group = (struct group){.refs = 1, .job = making->job ? target_job_ref(making->job) : NULL};
	arena_init(&group->arena, SIZE_MAX);
	const char *uid_copy = arena_spandup(&group->arena, making->uid);
	group->uid = span_of(uid_copy, making->uid.len);
	group->hash = making->hash;
	group->bytes = GROUP_BYTES;
	group->targets = arena_alloc(&group->arena, findings->count * sizeof(struct target *));
	/* Every found target may still be refused or dropped. */
	size_t refusals = findings->refusal_count + findings->count;
	group->refusals = arena_alloc(&group->arena,
		(refusals < FOUND_REFUSALS_MAX ? refusals : FOUND_REFUSALS_MAX) * sizeof(struct refusal));
	if (!uid_copy || !group->targets || !group->refusals) {
		group_unref(group);
		return -ENOMEM;
	}
	*ret_group = group;
	return 0;
}

static int group_refuse(struct group *group, struct labels discovered, const struct error *err)
{
	for (size_t i = 0; i < group->refusal_count; i++) {
		if (strcmp(group->refusals[i].err.text, err->text) == 0)
			return 0;
	}
	if (group->refusal_count == FOUND_REFUSALS_MAX)
		return 0;
	struct refusal *refusal = &group->refusals[group->refusal_count];
	refusal->err = *err;
	if (labels_copy(&group->arena, discovered, &refusal->discovered) < 0)
		return -ENOMEM;
	group->refusal_count++;
	return 0;
}

/* ---- the set --------------------------------------------------------------------------------- */

int set_new(struct set **ret_set)
{
	struct set *set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	arena_init(&set->arena, SIZE_MAX);
	map_init(&set->by_key, SIZE_MAX);
	*ret_set = set;
	return 0;
}

void set_free(struct set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->group_count; i++)
		group_unref(set->groups[i].group);
	free(set->groups);
	map_done(&set->by_key);
	arena_done(&set->arena);
	free(set);
}

static int compare_groups(const void *left, const void *right)
{
	const struct placed *a = left, *b = right;
	if (a->job_index != b->job_index)
		return a->job_index < b->job_index ? -1 : 1;
	return span_cmp(a->group->uid, b->group->uid);
}

struct group *set_group(const struct set *set, size_t job_index, struct span uid)
{
	struct group wanted = {.uid = uid};
	struct placed key = {job_index, &wanted}, *found = NULL;
	if (set->group_count > 0)
		found = bsearch(&key, set->groups, set->group_count, sizeof(key), compare_groups);
	return found ? found->group : NULL;
}

struct target *set_target(const struct set *set, uint64_t key)
{
	return map_get(&set->by_key, span_u64(&key));
}

int set_add_group(struct set *set, size_t job_index, struct group *group)
{
	if (set->group_count == set->group_cap) {
		size_t cap = set->group_cap ? set->group_cap * 2 : 64;
		struct placed *groups = realloc(set->groups, cap * sizeof(*groups));
		if (!groups) {
			group_unref(group);
			return -ENOMEM;
		}
		set->groups = groups;
		set->group_cap = cap;
	}
	set->dropped_bytes += group->dropped_bytes;
	set->dropped_count += group->dropped_count;
	set->groups[set->group_count++] = (struct placed){job_index, group};
	return 0;
}

/* What does not fit below the ceilings is dropped all the same, and only not shown. */
static int show_dropped(const struct set *set, struct group *group, const struct found *found, size_t rule)
{
	size_t bytes = 0;
	for (size_t i = 0; i < found->labels.count; i++)
		bytes += sizeof(struct label) + found->labels.items[i].name.len + found->labels.items[i].value.len;
	if (set->dropped_count + group->dropped_count >= DROPPED_MAX ||
		set->dropped_bytes + group->dropped_bytes + bytes > DROPPED_BYTES_MAX)
		return 0;
	struct discover_dropped dropped = {.job_name = group->job->name, .rule = rule};
	if (labels_copy(&group->arena, found->labels, &dropped.discovered) < 0)
		return -ENOMEM;
	group->dropped[group->dropped_count++] = dropped;
	group->dropped_bytes += bytes;
	return 0;
}

static int add_found(const struct set *set, const struct set *present, struct group *group, enum target_origin origin,
	const struct found *found)
{
	struct target *target = NULL;
	size_t rule = 0;
	struct error err = {{0}};
	int result = target_new(group->job, origin, found->identity, found->labels, &target, &rule, &err);
	if (result == 0)
		return show_dropped(set, group, found, rule);
	if (result == -ENOMEM)
		return result;
	if (result < 0) {
		if (err.text[0] == '\0')
			error_set(&err, -result, "%s", strerror(-result));
		return group_refuse(group, found->labels, &err);
	}
	struct target *same = present ? set_target(present, target->key) : NULL;
	/* Of another job it is another target, whatever its content: credentials and budget are read from its job. */
	if (same && same->content == target->content && same->job == group->job) {
		target_unref(target);
		target = target_ref(same);
	}
	group->targets[group->target_count++] = target;
	group->bytes += sizeof(*target) + target->arena.used;
	return 0;
}

void group_no_room(struct error *ret_err)
{
	error_set(ret_err, E2BIG,
		"the targets of a monitor may take %d MiB, those of all monitors %d MiB; the rest is left out",
		FOUND_MONITOR_BYTES_MAX >> 20, FOUND_MONITORS_BYTES_MAX >> 20);
}

static int cut(struct group *group, const struct found *rest)
{
	struct error err;
	group->cut = true;
	group_no_room(&err);
	return group_refuse(group, rest->labels, &err);
}

static int fill_group(const struct set *set, const struct set *present, struct group *group,
	const struct making *making, const struct findings *findings)
{
	group->dropped = arena_alloc(&group->arena, findings->count * sizeof(*group->dropped));
	if (!group->dropped)
		return -ENOMEM;
	for (size_t i = 0; i < findings->refusal_count; i++) {
		if (group_refuse(group, findings->refusals[i].discovered, &findings->refusals[i].err) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < findings->count; i++) {
		if (group->bytes > making->bytes_max)
			return cut(group, &findings->items[i]);
		int result = add_found(set, present, group, making->origin, &findings->items[i]);
		if (result < 0)
			return result;
	}
	return 0;
}

int set_build_group(
	struct set *set, const struct set *present, const struct making *making, const struct findings *findings)
{
	struct group *group = NULL;
	int result = group_new(making, findings, &group);
	if (result < 0)
		return result;
	result = fill_group(set, present, group, making, findings);
	if (result < 0) {
		group_unref(group);
		return result;
	}
	return set_add_group(set, making->job_index, group);
}

/* ---- set_finish: from groups to one list -------------------------------------------------------- */

static int put_u64(struct buf *buf, uint64_t value)
{
	return buf_append(buf, &value, sizeof(value));
}

/* What makes two targets of a job the same to a user: final labels, URL and times (P-08). Written into the arena. */
static int same_to_user(struct arena *arena, struct buf *scratch, const struct target *target, struct span *ret_key)
{
	buf_reset(scratch);
	for (size_t i = 0; i < target->labels.count; i++) {
		put_u64(scratch, target->labels.items[i].name.len);
		buf_span(scratch, target->labels.items[i].name);
		put_u64(scratch, target->labels.items[i].value.len);
		buf_span(scratch, target->labels.items[i].value);
	}
	put_u64(scratch, target->interval_ns);
	put_u64(scratch, target->timeout_ns);
	if (buf_span(scratch, target->url) < 0)
		return -ENOMEM;
	const char *copy = arena_spandup(arena, buf_view(scratch));
	if (!copy)
		return -ENOMEM;
	*ret_key = span_of(copy, scratch->len);
	return 0;
}

struct flatten {
	struct set *set;
	struct map seen; /* of the job at hand */
	struct arena arena;
	struct buf scratch;
};

/* Appends the targets of a group that the job does not have yet. */
static int flatten_group(struct flatten *flatten, const struct group *group)
{
	struct set *set = flatten->set;
	for (size_t i = 0; i < group->target_count; i++) {
		struct target *target = group->targets[i];
		struct span key;
		int result = same_to_user(&flatten->arena, &flatten->scratch, target, &key);
		if (result < 0)
			return result;
		if (map_get(&flatten->seen, key) || set_target(set, target->key))
			continue;
		if (map_put(&flatten->seen, key, target) < 0 ||
			map_put(&set->by_key, span_u64(&target->key), target) < 0)
			return -ENOMEM;
		set->targets[set->target_count++] = target;
	}
	return 0;
}

static int compare_targets(const void *left, const void *right)
{
	const struct target *a = *(struct target *const *)left, *b = *(struct target *const *)right;
	return a->key < b->key ? -1 : a->key > b->key;
}

/* A job over its target_limit has no targets at all, as in Prometheus: a part of them would look like a working job. */
static void end_job(struct set *set, const struct target_job *job, size_t job_index, size_t first)
{
	size_t count = set->target_count - first;
	if (job->limits.target_limit > 0 && count > job->limits.target_limit) {
		set->over_limit[job_index] = count;
		for (size_t i = first; i < set->target_count; i++)
			map_remove(&set->by_key, span_u64(&set->targets[i]->key));
		set->target_count = first;
		return;
	}
	if (count > 0)
		qsort(&set->targets[first], count, sizeof(struct target *), compare_targets);
}

static int flatten_jobs(struct flatten *flatten)
{
	struct set *set = flatten->set;
	for (size_t at = 0; at < set->group_count;) {
		size_t first = set->target_count, job_index = set->groups[at].job_index;
		const struct target_job *job = set->groups[at].group->job;
		if (flatten->seen.count > 0)
			map_clear(&flatten->seen);
		arena_reset(&flatten->arena);
		for (; at < set->group_count && set->groups[at].job_index == job_index; at++) {
			int result = flatten_group(flatten, set->groups[at].group);
			if (result < 0)
				return result;
			job = job ? job : set->groups[at].group->job;
		}
		if (job)
			end_job(set, job, job_index, first);
	}
	return 0;
}

static void collect_dropped(struct set *set)
{
	size_t count = 0;
	for (size_t i = 0; i < set->group_count; i++) {
		const struct group *group = set->groups[i].group;
		for (size_t j = 0; j < group->dropped_count; j++)
			set->dropped[count++] = group->dropped[j];
	}
}

int set_finish(struct set *set, size_t job_count)
{
	size_t targets = 0;
	for (size_t i = 0; i < set->group_count; i++)
		targets += set->groups[i].group->target_count;
	if (set->group_count > 0)
		qsort(set->groups, set->group_count, sizeof(*set->groups), compare_groups);
	set->job_count = job_count;
	set->targets = arena_alloc(&set->arena, targets * sizeof(struct target *));
	set->dropped = arena_alloc(&set->arena, set->dropped_count * sizeof(*set->dropped));
	set->over_limit = arena_alloc(&set->arena, job_count * sizeof(*set->over_limit));
	if (!set->targets || !set->dropped || !set->over_limit)
		return -ENOMEM;
	collect_dropped(set);

	struct flatten flatten = {.set = set};
	map_init(&flatten.seen, SIZE_MAX);
	arena_init(&flatten.arena, SIZE_MAX);
	buf_init(&flatten.scratch, SIZE_MAX / 2);
	int result = flatten_jobs(&flatten);
	map_done(&flatten.seen);
	arena_done(&flatten.arena);
	buf_done(&flatten.scratch);
	return result;
}
