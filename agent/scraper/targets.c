/* The scraper's jobs and targets: a mirror of what the core decided. */
#include "scraper.h"

#include <errno.h>
#include <stdlib.h>

/* ---- jobs ----------------------------------------------------------------------- */

static void job_free(struct scraper_job *job)
{
	relabel_free(job->metric_relabel);
	target_job_unref(job->job);
	free(job);
}

static void job_release(struct scraper_job *job)
{
	job->targets--;
	if (job->targets == 0 && !job->current)
		job_free(job);
}

/* unpacked: a reference is taken. */
static int job_new(uint64_t id, struct target_job *unpacked, struct scraper_job **ret_job)
{
	struct scraper_job *job = calloc(1, sizeof(*job));
	struct error err = {""};
	if (!job)
		return -ENOMEM;
	job->id = id;
	job->job = target_job_ref(unpacked);
	int result = relabel_compile(job->job->metric_rules, job->job->metric_rule_count, &job->metric_relabel, &err);
	if (result < 0) {
		job_free(job);
		return result;
	}
	*ret_job = job;
	return 0;
}

void scraper_remove_job(struct scraper *scraper, uint64_t id)
{
	struct scraper_job *job = map_remove(&scraper->jobs, span_u64(&id));
	if (!job)
		return;
	job->current = false;
	if (job->targets == 0)
		job_free(job);
}

static int job_add(struct scraper *scraper, uint64_t id, struct target_job *unpacked)
{
	struct scraper_job *job;
	int result = job_new(id, unpacked, &job);
	if (result < 0)
		return result;
	result = map_put(&scraper->jobs, span_u64(&job->id), job);
	job->current = result == 0;
	if (result < 0)
		job_free(job);
	return result;
}

/* The id is a hash of all but the credentials: a job that is known already brings others of these, and nothing else. */
void scraper_put_job(struct scraper *scraper, uint64_t id, struct span packed)
{
	struct target_job *unpacked;
	struct scraper_job *known = map_get(&scraper->jobs, span_u64(&id));
	int result = target_job_unpack(packed, &unpacked);
	if (result == 0) {
		if (known)
			target_job_set_credentials(known->job, unpacked->credentials);
		else
			result = job_add(scraper, id, unpacked);
		target_job_unref(unpacked);
	}
	if (result < 0)
		scraper_fail(scraper, "job", result);
}

/* ---- targets ---------------------------------------------------------------------- */

struct scraper_target *scraper_find_target(struct scraper *scraper, uint64_t key)
{
	return map_get(&scraper->targets, span_u64(&key));
}

static void target_free(struct scraper *scraper, struct scraper_target *target)
{
	if (target->flight)
		flight_cancel(scraper, target);
	scrape_schedule_remove(&scraper->schedule, &target->entry);
	scrape_target_done(&target->scrape);
	target_unref(target->target);
	job_release(target->job);
	free(target);
}

static void stretch(struct scraper_target *target, uint32_t times)
{
	target->entry.interval_ns = target->target->interval_ns * (times ? times : 1);
}

void scraper_pace(struct scraper *scraper, uint64_t key, uint32_t times)
{
	struct scraper_target *target = scraper_find_target(scraper, key);
	if (target)
		stretch(target, times);
}

static int target_make(struct scraper *scraper, const struct wire_target *fixed, struct span packed,
	struct scraper_target **ret_target)
{
	struct scraper_job *job = map_get(&scraper->jobs, span_u64(&fixed->job_id));
	if (!job)
		return -EBADMSG;
	struct scraper_target *target = calloc(1, sizeof(*target));
	if (!target)
		return -ENOMEM;
	int result = target_unpack(packed, job->job, &target->target);
	if (result == 0)
		result = scrape_target_init(
			&target->scrape, target->target, job->metric_relabel, scraper->store, &scraper->options);
	if (result < 0) {
		target_unref(target->target);
		free(target);
		return result;
	}
	target->job = job;
	job->targets++;
	target->trial = fixed->trial;
	target->entry = (struct scrape_entry){.key = fixed->key, .heap_index = SIZE_MAX};
	stretch(target, fixed->stretch);
	*ret_target = target;
	return 0;
}

/* Puts a new or replaced target into the schedule. */
static int target_enter(struct scraper *scraper, struct scraper_target *target, const struct wire_target *fixed)
{
	uint64_t now = clock_wall(&scraper->clock);
	int result = map_put(&scraper->targets, span_u64(&target->entry.key), target);
	if (result < 0)
		return result;
	if (fixed->not_before_ns > now) {
		target->entry.tick_ns = now;
		return scrape_schedule_again(&scraper->schedule, &target->entry, fixed->not_before_ns, now);
	}
	result = scrape_schedule_add(&scraper->schedule, &target->entry, fixed->resume_after_ns, now);
	if (result == 0 && target->trial) /* need not wait for a tick */
		scrape_schedule_now(&scraper->schedule, &target->entry, now);
	return result;
}

void scraper_put_target(struct scraper *scraper, const struct wire_target *fixed, struct span packed)
{
	struct scraper_target *target, *old = scraper_find_target(scraper, fixed->key);
	int result = target_make(scraper, fixed, packed, &target);
	if (result < 0) {
		scraper_fail(scraper, "target", result);
		return;
	}
	if (old && !scrape_target_take_over(&target->scrape, &old->scrape))
		scraper_remove_target(scraper, fixed->key);
	else if (old) {
		map_remove(&scraper->targets, span_u64(&fixed->key));
		target_free(scraper, old);
	}
	result = target_enter(scraper, target, fixed);
	if (result < 0) {
		scraper_fail(scraper, "target", result);
		return;
	}
	flights_start_due(scraper);
}

void scraper_remove_target(struct scraper *scraper, uint64_t key)
{
	struct scraper_target *target = map_remove(&scraper->targets, span_u64(&key));
	uint64_t stale_points = 0;
	if (!target)
		return;
	if (target->flight)
		flight_cancel(scraper, target);
	int result =
		scrape_target_gone(&target->scrape, clock_wall(&scraper->clock), scraper->outbox.batch, &stale_points);
	target_free(scraper, target);
	if (result < 0)
		scraper_fail(scraper, "stale points", result);
	else if (stale_points > 0)
		outbox_touched(scraper);
}

void scraper_free_all(struct scraper *scraper)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&scraper->targets, &i));)
		target_free(scraper, slot->value);
	map_done(&scraper->targets);
	for (size_t i = 0; (slot = map_next(&scraper->jobs, &i));)
		job_free(slot->value);
	map_done(&scraper->jobs);
}
