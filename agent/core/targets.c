/* The targets of the node: what discovery reports goes to the scrapers, what the scrapers report is kept for the pages.
 *
 * A target belongs to the scraper `key mod workers`, for as long as the number of scrapers stays. Every scraper knows every job that
 * has targets.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

struct core_target *targets_find(struct core *core, uint64_t key)
{
	return map_get(&core->targets, span_u64(&key));
}

struct worker *targets_worker(struct core *core, uint64_t key)
{
	return &core->workers[key % core->worker_count];
}

/* ---- telling the scrapers --------------------------------------------------------------- */

static int send_job(struct worker *worker, const struct target_job *job)
{
	struct buf packed;
	buf_init(&packed, 4u << 20);
	packed.secret = true;
	int result = target_job_pack(job, &packed);
	if (result == 0)
		worker_send(worker, WIRE_JOB, &(struct wire_job){job->content}, buf_view(&packed));
	buf_done(&packed);
	return result;
}

void targets_tell_job(struct core *core, const struct target_job *job)
{
	for (size_t i = 0; i < core->worker_count; i++)
		send_job(&core->workers[i], job);
}

static int send_target(struct core *core, const struct core_target *target)
{
	struct worker *worker = targets_worker(core, target->target->key);
	struct wire_target fixed = {
		.key = target->target->key,
		.job_id = target->target->job->content,
		.resume_after_ns = target->committed_tick_ns,
		.not_before_ns = target->not_before_ns,
		.trial = trials_is_trial(core, target->target),
		.stretch = budget_stretch(&target->budget),
	};
	struct buf packed;
	buf_init(&packed, 4u << 20);
	int result = target_pack(target->target, &packed);
	if (result == 0)
		worker_send(worker, WIRE_TARGET, &fixed, buf_view(&packed));
	buf_done(&packed);
	return result;
}

int targets_send_all(struct core *core, struct worker *worker)
{
	const struct map_slot *slot;
	int result = 0;
	for (size_t i = 0; result == 0 && (slot = map_next(&core->jobs, &i));)
		result = send_job(worker, ((struct core_job *)slot->value)->job);
	for (size_t i = 0; result == 0 && (slot = map_next(&core->targets, &i));) {
		const struct core_target *target = slot->value;
		if (targets_worker(core, target->target->key) == worker)
			result = send_target(core, target);
	}
	return result;
}

/* ---- discovery's differences -------------------------------------------------------------- */

/* Finds or makes the job's record; a new one is told to all scrapers. NULL: no memory. */
static struct core_job *job_take(struct core *core, struct target_job *job)
{
	struct core_job *known = map_get(&core->jobs, span_u64(&job->content));
	if (known) {
		known->targets++;
		return known;
	}
	known = calloc(1, sizeof(*known));
	if (!known || map_put(&core->jobs, span_u64(&job->content), known) < 0) {
		free(known);
		return NULL;
	}
	known->job = target_job_ref(job);
	known->targets = 1;
	rotate_job(core, known);
	return known;
}

static void job_release(struct core *core, struct core_job *job)
{
	if (--job->targets > 0)
		return;
	for (size_t i = 0; i < core->worker_count; i++)
		worker_send(&core->workers[i], WIRE_JOB_GONE, &(struct wire_job){job->job->content}, SPAN_NONE);
	map_remove(&core->jobs, span_u64(&job->job->content));
	target_credentials_unref(job->sent);
	target_job_unref(job->job);
	free(job);
}

static void core_target_free(struct core *core, struct core_target *target)
{
	job_release(core, target->job);
	target_unref(target->target);
	cost_history_done(&target->cost);
	free(target);
}

static void target_added(void *arg, struct target *target)
{
	struct core *core = arg;
	struct core_target *added = calloc(1, sizeof(*added));
	struct core_job *job = added ? job_take(core, target->job) : NULL;
	if (!job) {
		free(added);
		log_error(&core->log, "target %.*s: out of memory, it is not scraped", SPAN_ARGS(target->url));
		return;
	}
	*added = (struct core_target){
		.target = target_ref(target), .job = job, .known_wall_ns = clock_wall(&core->clock)};
	if (map_put(&core->targets, span_u64(&target->key), added) < 0) {
		core_target_free(core, added);
		log_error(&core->log, "target %.*s: out of memory, it is not scraped", SPAN_ARGS(target->url));
		return;
	}
	send_target(core, added);
}

static void target_removed(void *arg, struct target *target)
{
	struct core *core = arg;
	struct core_target *gone = map_remove(&core->targets, span_u64(&target->key));
	if (!gone)
		return;
	dial_cancel(targets_worker(core, target->key), target->key);
	worker_send(targets_worker(core, target->key), WIRE_TARGET_GONE, &(struct wire_key){target->key}, SPAN_NONE);
	core_target_free(core, gone);
}

/* Same key, other content: the scraper replaces it and keeps the series cache where it can. */
static void target_changed(void *arg, struct target *old_target, struct target *target)
{
	struct core *core = arg;
	struct core_target *changed = targets_find(core, target->key);
	struct core_job *job = changed ? job_take(core, target->job) : NULL;
	if (!job) {
		target_removed(core, old_target);
		target_added(core, target);
		return;
	}
	struct core_job *old_job = changed->job;
	struct target *old = changed->target;
	map_remove(&core->targets, span_u64(&old->key)); /* its key lies in the old target */
	changed->target = target_ref(target);
	changed->job = job;
	budget_fit(&changed->budget, &job->job->budget, target->interval_ns);
	map_put(&core->targets, span_u64(&target->key), changed); /* cannot fail: a place was just freed */
	dial_cancel(targets_worker(core, target->key), target->key);
	send_target(core, changed);
	job_release(core, old_job);
	target_unref(old);
}

static void target_refused(void *arg, struct labels discovered, const struct error *err)
{
	struct core *core = arg;
	core->totals.targets_refused++;
	if (!log_allowed(&core->refused_log, clock_mono(&core->clock)))
		return;
	struct span pod = labels_get(discovered, SPAN("__meta_kubernetes_pod_name"));
	struct span namespace_ = labels_get(discovered, SPAN("__meta_kubernetes_namespace"));
	struct span address = labels_get(discovered, SPAN("__address__"));
	if (pod.len > 0)
		log_warn(&core->log, "pod %s/%s: %s", escape_bytes(namespace_).text, escape_bytes(pod).text, err->text);
	else if (address.len == 0)
		log_warn(&core->log, "job %s: %s", escape_bytes(labels_get(discovered, SPAN("job"))).text, err->text);
	else
		log_warn(&core->log, "target %s: %s", escape_bytes(address).text, err->text);
}

int targets_init(struct core *core)
{
	map_init(&core->jobs, 100000);
	map_init(&core->targets, 1000000);
	core->refused_log.interval_ns = NS_PER_SEC;
	core->scrape_log.interval_ns = NS_PER_SEC;
	struct discover_events events = {target_added, target_removed, target_changed, target_refused, core};
	return discover_new(events, &core->discover);
}

void targets_done(struct core *core)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&core->targets, &i));) {
		struct core_target *target = slot->value;
		target_unref(target->target);
		cost_history_done(&target->cost);
		free(target);
	}
	for (size_t i = 0; (slot = map_next(&core->jobs, &i));) {
		struct core_job *job = slot->value;
		target_credentials_unref(job->sent);
		target_job_unref(job->job);
		free(job);
	}
	map_done(&core->targets);
	map_done(&core->jobs);
	discover_free(core->discover);
}

/* ---- who is being fetched ----------------------------------------------------------------- */

void targets_fetching(struct core *core, uint64_t key, bool fetching)
{
	struct core_target *target = targets_find(core, key);
	if (target)
		target->fetching = fetching;
}

void targets_none_fetching(struct core *core, const struct worker *worker)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&core->targets, &i));) {
		struct core_target *target = slot->value;
		if (targets_worker(core, target->target->key) == worker)
			target->fetching = false;
	}
}

/* ---- what came of it ------------------------------------------------------------------------ */

static void count_failure(struct core_totals *totals, const char *reason)
{
	size_t i = 0;
	while (i < totals->failed_count && strcmp(totals->failed[i].reason, reason) != 0)
		i++;
	if (i == totals->failed_count) {
		if (totals->failed_count == CORE_REASONS_MAX)
			i--;
		else
			memcpy(totals->failed[totals->failed_count++].reason, reason, WIRE_REASON_MAX);
	}
	totals->failed[i].count++;
}

static void count_scrape(struct core_totals *totals, const struct wire_scraped *scraped)
{
	totals->scrapes++;
	totals->samples += scraped->samples;
	totals->samples_kept += scraped->samples_kept;
	totals->points += scraped->points;
	totals->stale_points += scraped->stale_points;
	totals->tolerated += scraped->tolerated;
	totals->missed_ticks += scraped->missed_ticks;
	totals->body_bytes += scraped->body_bytes;
	totals->wire_bytes += scraped->wire_bytes;
	for (size_t i = 0; i < SERIES_DROP_COUNT; i++)
		totals->dropped[i] += scraped->dropped[i];
	if (!scraped->up) {
		totals->failures++;
		count_failure(totals, scraped->reason);
	}
}

static void log_failure(struct core *core, const struct target *target, struct span error)
{
	struct log_limit *limit = &core->scrape_log;
	if (!log_allowed(limit, clock_mono(&core->clock)))
		return;
	log_warn(&core->log, "scrape of %.*s (job %s) failed: %s", SPAN_ARGS(target->url),
		escape_bytes(target->job->name).text, escape_bytes(error).text);
	if (limit->suppressed > 0)
		log_warn(&core->log, "%llu more targets failed since this was last said; /targets has them",
			(unsigned long long)limit->suppressed);
	limit->suppressed = 0;
}

void targets_scraped(struct core *core, const struct wire_scraped *scraped, struct span error)
{
	count_scrape(&core->totals, scraped);
	struct core_target *target = targets_find(core, scraped->key);
	if (!target) /* it went while the report was on its way */
		return;
	bool was_up = target->last.key == 0 || target->last.up;
	bool trial = trials_is_trial(core, target->target);
	target->last = *scraped;
	target->committed_tick_ns = scraped->tick_ns;
	target->scrapes++;
	cost_history_scraped(&target->cost, scraped);
	target->suspicions = 0;
	target->last_error.text[0] = '\0';
	trials_scraped(core, target->target, scraped);
	if (scraped->up) {
		target->crashes = 0;
		target->not_before_ns = 0;
		return;
	}
	target->failures++;
	error_set(&target->last_error, EIO, "%.*s", SPAN_ARGS(error));
	/* Said when it begins; the pages and `up` say that it goes on. That a port has no metrics is no failure. */
	if (was_up && !trial)
		log_failure(core, target->target, error);
	rotate_refused(core, target, scraped->reason);
}

static void log_stretch(
	struct core *core, const struct target *target, double cpu_seconds, uint32_t before, uint32_t now)
{
	uint64_t interval_ns = target->interval_ns * now;
	log_warn(&core->log,
		"%.*s (job %s): a scrape costs it %.3g ms of CPU, %s of its budget of %g %% of a core: scraped every "
		"%s now",
		SPAN_ARGS(target->url), escape_bytes(target->job->name).text, cpu_seconds * 1e3,
		now > before ? "more than its share" : "well within its share", target->job->budget.share * 100,
		duration_format(interval_ns).text);
}

void targets_measured(struct core *core, struct core_target *known)
{
	const struct target *target = known->target;
	uint32_t before = budget_stretch(&known->budget);
	if (target->job->budget.share <= 0)
		return;
	double cpu_seconds = cost_history_estimate(&known->cost).best;
	if (!budget_judge(&known->budget, &target->job->budget, target->interval_ns, cpu_seconds))
		return;
	uint32_t stretch = budget_stretch(&known->budget);
	struct wire_pace pace = {.key = target->key, .stretch = stretch};
	worker_send(targets_worker(core, target->key), WIRE_PACE, &pace, SPAN_NONE);
	core->totals.stretches++;
	log_stretch(core, target, cpu_seconds, before, stretch);
}

size_t targets_stretched(const struct core *core)
{
	const struct map_slot *slot;
	size_t count = 0;
	for (size_t i = 0; (slot = map_next(&core->targets, &i));)
		count += budget_stretch(&((struct core_target *)slot->value)->budget) > 1;
	return count;
}
