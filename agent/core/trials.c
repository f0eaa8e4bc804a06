/* discovery.listen: an undeclared port of a selected pod is asked once for metrics, and becomes a target when it has some.
 *
 * 1. The kernel tells of a port that opened; discovery says whether the pod is selected and the port nobody's yet.
 * 2. A few at a time become targets of the job whose first scrape is a trial: short, small, and without a trace in the data when the
 *    answer is no exposition (the scraper judges: a pod's bytes are not for the core).
 * 3. The answer is remembered until the port closes. One that did not answer is asked twice more, some seconds later.
 *
 * Failure: no memory for a port leaves it alone until the next review; a probe that is lost takes nothing away, its ports stay.
 */
#include "trials.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

enum { TRIALS_MAX = 4096, RUNNING_MAX = 4, ATTEMPTS_MAX = 3 };

#define AGAIN_NS (10 * NS_PER_SEC)

struct trial {
	struct discover_port port;
	enum trial_state state;
	unsigned attempts;
	uint64_t not_before_ns; /* monotonic; while waiting */
};

struct trials {
	struct core *core;
	struct trial *items;
	size_t count, cap;
	struct loop_timer *timer; /* everything is done from it: events come from within discovery and the listeners */
	struct trials_counters counters;
};

static struct trial *find(const struct trials *trials, struct span pod_uid, uint16_t port)
{
	for (size_t i = 0; i < trials->count; i++) {
		struct trial *trial = &trials->items[i];
		if (trial->port.port == port && span_eq(span_str(trial->port.pod_uid), pod_uid))
			return trial;
	}
	return NULL;
}

static void wake(struct trials *trials)
{
	loop_timer_set(trials->timer, 0);
}

/* ---- which ports -------------------------------------------------------------------------------- */

static void add(struct trials *trials, const struct listener *listener)
{
	if (trials->count == TRIALS_MAX) {
		trials->counters.over_limit++;
		return;
	}
	if (trials->count == trials->cap) {
		size_t cap = trials->cap ? trials->cap * 2 : 16;
		struct trial *items = realloc(trials->items, cap * sizeof(*items));
		if (!items)
			return;
		trials->items = items;
		trials->cap = cap;
	}
	struct trial *trial = &trials->items[trials->count++];
	memset(trial, 0, sizeof(*trial)); /* discovery hashes the port's bytes, padding included */
	memcpy(trial->port.pod_uid, listener->pod_uid, sizeof(trial->port.pod_uid));
	memcpy(trial->port.container_id, listener->container_id, sizeof(trial->port.container_id));
	trial->port.port = listener->port;
	wake(trials);
}

static void look_at(void *arg, const struct listener *listener)
{
	struct trials *trials = arg;
	struct span pod_uid = span_str(listener->pod_uid);
	if (pod_uid.len > 0 && !find(trials, pod_uid, listener->port) &&
		discover_wants_port(trials->core->discover, pod_uid, listener->port))
		add(trials, listener);
}

void trials_opened(struct core *core, const struct listener *listener)
{
	struct trials *trials = core->trials;
	if (!trials)
		return;
	struct trial *known = find(trials, span_str(listener->pod_uid), listener->port);
	if (!known) {
		look_at(trials, listener);
		return;
	}
	if (known->state != TRIAL_REFUSED) /* another server may be behind it now; one that was scraped goes on */
		return;
	known->state = TRIAL_WAITING;
	known->attempts = 0;
	known->not_before_ns = 0;
	wake(trials);
}

void trials_closed(struct core *core, const struct listener *listener)
{
	struct trials *trials = core->trials;
	struct trial *known = trials ? find(trials, span_str(listener->pod_uid), listener->port) : NULL;
	if (!known)
		return;
	*known = trials->items[--trials->count];
	wake(trials);
}

void trials_review(struct core *core)
{
	struct trials *trials = core->trials;
	if (!trials)
		return;
	for (size_t i = trials->count; i-- > 0;) {
		const struct discover_port *port = &trials->items[i].port;
		if (discover_wants_port(core->discover, span_str(port->pod_uid), port->port))
			continue;
		trials->items[i] = trials->items[--trials->count];
		wake(trials);
	}
	if (core->probes && core->probes->listeners)
		listeners_each(core->probes->listeners, look_at, trials);
}

/* ---- trials --------------------------------------------------------------------------------------- */

static bool may_run(const struct trial *trial, uint64_t now_ns)
{
	return trial->state == TRIAL_WAITING && trial->not_before_ns <= now_ns;
}

/* Lets the next ones run. Returns how long the first of those that wait for time has to wait. */
static uint64_t start_some(struct trials *trials)
{
	uint64_t now_ns = clock_mono(&trials->core->clock), wait_ns = UINT64_MAX;
	size_t running = 0;
	for (size_t i = 0; i < trials->count; i++)
		running += trials->items[i].state == TRIAL_RUNNING;
	for (size_t i = 0; i < trials->count; i++) {
		struct trial *trial = &trials->items[i];
		if (may_run(trial, now_ns) && running < RUNNING_MAX) {
			trial->state = TRIAL_RUNNING;
			trial->attempts++;
			running++;
		} else if (trial->state == TRIAL_WAITING && trial->not_before_ns > now_ns &&
			   trial->not_before_ns - now_ns < wait_ns) {
			wait_ns = trial->not_before_ns - now_ns;
		}
	}
	return wait_ns;
}

/* Tells discovery which ports are targets now. */
static int tell(struct trials *trials)
{
	struct discover_port *ports = calloc(trials->count + 1, sizeof(*ports));
	size_t count = 0;
	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < trials->count; i++) {
		if (trials->items[i].state == TRIAL_RUNNING || trials->items[i].state == TRIAL_ACCEPTED)
			ports[count++] = trials->items[i].port;
	}
	int result = discover_ports(trials->core->discover, ports, count);
	free(ports);
	return result;
}

static void work(void *arg)
{
	struct trials *trials = arg;
	uint64_t wait_ns = start_some(trials);
	int result = tell(trials);
	if (result < 0) {
		log_error(&trials->core->log, "discovery.listen: %s; trying again in %s", strerror(-result),
			duration_format(AGAIN_NS).text);
		wait_ns = AGAIN_NS;
	}
	if (wait_ns != UINT64_MAX)
		loop_timer_set(trials->timer, wait_ns);
}

static struct trial *trial_of(const struct core *core, const struct target *target)
{
	const struct trials *trials = core->trials;
	if (!trials || !span_eq(target->job->name, span_str(core->settings->discovery.listen.job_name)))
		return NULL;
	return find(trials, target->pod_uid, target->port);
}

bool trials_is_trial(const struct core *core, const struct target *target)
{
	const struct trial *trial = trial_of(core, target);
	return trial && trial->state == TRIAL_RUNNING;
}

static bool no_answer(const struct wire_scraped *scraped)
{
	return strcmp(scraped->reason, "connect") == 0 || strcmp(scraped->reason, "timeout") == 0;
}

void trials_scraped(struct core *core, const struct target *target, const struct wire_scraped *scraped)
{
	struct trial *trial = trial_of(core, target);
	if (!trial || trial->state != TRIAL_RUNNING)
		return;
	struct trials *trials = core->trials;
	if (scraped->up) {
		trial->state = TRIAL_ACCEPTED;
		trials->counters.accepted++;
	} else if (no_answer(scraped) && trial->attempts < ATTEMPTS_MAX) {
		trial->state = TRIAL_WAITING;
		trial->not_before_ns = clock_mono(&core->clock) + AGAIN_NS;
		trials->counters.failed++;
	} else {
		trial->state = TRIAL_REFUSED;
		if (no_answer(scraped))
			trials->counters.failed++;
		else
			trials->counters.refused++;
	}
	wake(trials);
}

/* ---- start, stop, pages ------------------------------------------------------------------------------- */

int trials_start(struct core *core)
{
	if (!core->settings->discovery.listen.enabled)
		return 0;
	struct trials *trials = calloc(1, sizeof(*trials));
	if (!trials)
		return -ENOMEM;
	trials->core = core;
	int result = loop_timer_new(core->loop, work, trials, &trials->timer);
	if (result < 0) {
		free(trials);
		return result;
	}
	core->trials = trials;
	trials_review(core);
	return 0;
}

void trials_stop(struct core *core)
{
	struct trials *trials = core->trials;
	core->trials = NULL;
	if (!trials)
		return;
	loop_timer_free(trials->timer);
	free(trials->items);
	free(trials);
}

const char *trials_verdict(const struct core *core, const struct listener *listener)
{
	static const char *const words[] = {
		[TRIAL_WAITING] = "waiting",
		[TRIAL_RUNNING] = "asked",
		[TRIAL_ACCEPTED] = "scraped",
		[TRIAL_REFUSED] = "no metrics",
	};
	const struct trial *trial =
		core->trials ? find(core->trials, span_str(listener->pod_uid), listener->port) : NULL;
	return trial ? words[trial->state] : NULL;
}

struct trials_counters trials_counters(const struct core *core)
{
	return core->trials ? core->trials->counters : (struct trials_counters){0};
}
