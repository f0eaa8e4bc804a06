/* Credentials of jobs while they change: files that are written anew, refusals by the target, a name that the kubelet's certificate has not.
 *
 * 1. Every ROTATE_INTERVAL_NS the files of jobs that have targets are looked at, a stat(2) each; a changed one makes other credentials.
 * 2. A target that answers 401 or 403 has its job's files read at once (at most once a second), and is scraped again when that
 *    brought anything new.
 * 3. Other credentials go to every scraper as the job again (WIRE_JOB); its targets, their series and their schedule stay.
 *
 * What cannot be read leaves the last good credentials in use; said when it begins.
 */
#include <errno.h>

#include "internal.h"

#define ROTATE_INTERVAL_NS (5 * NS_PER_SEC)
#define REFUSED_AGAIN_NS   NS_PER_SEC
#define RENAME_AGAIN_NS    (10 * NS_PER_SEC)

static void reread(struct core *core, struct core_job *known, bool force)
{
	struct target_job *job = known->job;
	struct target_credentials *fresh;
	struct error err = {""};
	int result = target_credentials_reread(job->credentials, force, &fresh, &err);
	if (result > 0) {
		core->totals.credentials_read++;
		target_job_set_credentials(job, fresh);
		target_credentials_unref(fresh);
	}
	if (result < 0) {
		core->totals.credentials_failed++;
		if (!known->stale)
			log_warn(&core->log, "job %s: %s; its last credentials stay in use",
				escape_bytes(job->name).text, err.text);
	}
	known->stale = result < 0;
}

/* The kubelet's certificate may be good for its address only, or for the node's name only. What is configured holds; else the one that
 * worked last. */
static void name_kubelet(struct core *core, struct target_job *job)
{
	struct target_credentials *renamed;
	if (!job->of_kubelet)
		return;
	const struct kube_options *kubelet = &core->settings->kubelet;
	struct span name = core->kubelet_by_name ? span_str(kubelet->node_name) : SPAN("");
	if (kubelet->tls.server_name || span_eq(job->credentials->server_name, name))
		return;
	if (target_credentials_rename(job->credentials, name, &renamed) < 0)
		return; /* tried again with the next tick */
	target_job_set_credentials(job, renamed);
	target_credentials_unref(renamed);
}

/* Whether there was anything new to tell. */
static bool tell(struct core *core, struct core_job *known)
{
	struct target_credentials *now = known->job->credentials, *sent = known->sent;
	if (sent == now)
		return false;
	known->sent = target_credentials_ref(now);
	bool news = !sent || !target_credentials_same(sent, now);
	target_credentials_unref(sent);
	if (news)
		targets_tell_job(core, known->job);
	return news;
}

void rotate_job(struct core *core, struct core_job *known)
{
	reread(core, known, false);
	name_kubelet(core, known->job);
	tell(core, known);
}

void rotate_all(struct core *core)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&core->jobs, &i));)
		rotate_job(core, slot->value);
}

static void tick(void *arg)
{
	struct core *core = arg;
	rotate_all(core);
	loop_timer_set(core->rotate_timer, ROTATE_INTERVAL_NS);
}

int rotate_start(struct core *core)
{
	int result = loop_timer_new(core->loop, tick, core, &core->rotate_timer);
	return result < 0 ? result : loop_timer_set(core->rotate_timer, ROTATE_INTERVAL_NS);
}

void rotate_stop(struct core *core)
{
	loop_timer_free(core->rotate_timer);
	core->rotate_timer = NULL;
}

static void scrape_again(struct core *core, const struct core_target *target)
{
	uint64_t key = target->target->key;
	worker_send(targets_worker(core, key), WIRE_SCRAPE_NOW, &(struct wire_key){key}, SPAN_NONE);
}

static void unauthorized(struct core *core, struct core_target *target)
{
	struct core_job *known = target->job;
	secrets_refused(core, known->job);
	uint64_t now_ns = clock_mono(&core->clock);
	if (!known->job->credentials->files || now_ns - known->refused_ns < REFUSED_AGAIN_NS)
		return;
	known->refused_ns = now_ns;
	reread(core, known, true);
	if (tell(core, known))
		scrape_again(core, target);
}

/* Several jobs have the same kubelet, and scrapes with the old name are still under way: the next change has to wait. */
static void unverified(struct core *core, struct core_target *target)
{
	const struct kube_options *kubelet = &core->settings->kubelet;
	uint64_t now_ns = clock_mono(&core->clock);
	if (!target->target->job->of_kubelet || kubelet->tls.server_name || !kubelet->node_name ||
		now_ns - core->kubelet_renamed_ns < RENAME_AGAIN_NS)
		return;
	core->kubelet_renamed_ns = now_ns;
	core->kubelet_by_name = !core->kubelet_by_name;
	rotate_all(core);
	scrape_again(core, target);
}

void rotate_refused(struct core *core, struct core_target *target, const char *reason)
{
	if (strcmp(reason, SCRAPE_UNAUTHORIZED) == 0)
		unauthorized(core, target);
	else if (strcmp(reason, http_failure_name(HTTP_TLS_VERIFY)) == 0)
		unverified(core, target);
}
