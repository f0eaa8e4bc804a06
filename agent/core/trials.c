/* discovery.listen: an undeclared port of a selected pod is asked once for metrics, and becomes a target when it has some.
 *
 * 1. The kernel tells of a port that opened; discovery says whether the pod is selected and the port nobody's yet.
 * 2. A few at a time become targets of the job whose first scrape is a trial: short, small, and without a trace in the data when the
 *    answer is no exposition (the scraper judges: a pod's bytes are not for the core).
 * 3. The answer is remembered until the port closes. One that did not answer is asked twice more, some seconds later.
 *
 * Failure: no memory for a port leaves it alone until the next review; a probe that is lost takes nothing away, its ports stay. A trial
 * that does not come to an end (its target could not be made, or its scraper died of it) makes room for others.
 */
#include "trials.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "internal.h"

enum { TRIALS_MAX = 4096, RUNNING_MAX = 4, ATTEMPTS_MAX = 3 };

#define AGAIN_NS (10 * NS_PER_SEC)
/* A trial takes 2 s at most, and its report a second. */
#define PATIENCE_NS (20 * NS_PER_SEC)

struct trial {
	struct discover_port port;
	enum trial_state state;
	unsigned attempts;
	uint64_t due_ns; /* monotonic; waiting: not before; running: given up then */
};

struct trials {
	struct core *core;
	struct trial *items;
	size_t count, cap;
	struct loop_timer *timer; /* everything is done from it: events come from within discovery and the listeners */
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

static size_t count_of_pod(const struct trials *trials, struct span pod_uid)
{
	size_t count = 0;
	for (size_t i = 0; i < trials->count; i++)
		count += span_eq(span_str(trials->items[i].port.pod_uid), pod_uid);
	return count;
}

/* So many of one pod, whatever they answer: a pod that opens hundreds must not be in the way of the others. */
static bool is_over_limit(const struct trials *trials, struct span pod_uid)
{
	return trials->count == TRIALS_MAX ||
	       count_of_pod(trials, pod_uid) >= trials->core->settings->discovery.listen.max_ports_per_pod;
}

/* Who listens at a loopback address only cannot be asked at the pod's. */
static bool is_reachable(const struct listener *listener)
{
	static const uint8_t loopback[16] = {[15] = 1};
	if (listener->family == AF_INET)
		return listener->address[0] != 127;
	return memcmp(listener->address, loopback, sizeof(loopback)) != 0;
}

static void add(struct trials *trials, const struct listener *listener)
{
	if (is_over_limit(trials, span_str(listener->pod_uid))) {
		trials->core->trials_counted.over_limit++;
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
	if (pod_uid.len > 0 && is_reachable(listener) && !find(trials, pod_uid, listener->port) &&
		discover_wants_port(trials->core->discover, pod_uid, listener->port))
		add(trials, listener);
}

void trials_opened(struct core *core, const struct listener *listener, bool just_now)
{
	struct trials *trials = core->trials;
	if (!trials || !is_reachable(listener))
		return;
	struct trial *known = find(trials, span_str(listener->pod_uid), listener->port);
	if (!known) {
		look_at(trials, listener);
		return;
	}
	bool other_container =
		listener->container_id[0] != '\0' && strcmp(known->port.container_id, listener->container_id) != 0;
	if (other_container) {
		memcpy(known->port.container_id, listener->container_id, sizeof(known->port.container_id));
		wake(trials);
	}
	/* Another server may be behind it now; one that was scraped goes on. */
	if (known->state != TRIAL_REFUSED || !(just_now || other_container))
		return;
	known->state = TRIAL_WAITING;
	known->attempts = 0;
	known->due_ns = 0;
	wake(trials);
}

struct search {
	const struct listener *sought;
	bool found;
};

static void is_another(void *arg, const struct listener *listener)
{
	struct search *search = arg;
	search->found |= listener->port == search->sought->port && is_reachable(listener) &&
			 strcmp(listener->pod_uid, search->sought->pod_uid) == 0;
}

/* At another address, or of the other family. */
static bool is_still_open(const struct core *core, const struct listener *listener)
{
	struct search search = {.sought = listener};
	if (core->probes && core->probes->listeners)
		listeners_each(core->probes->listeners, is_another, &search);
	return search.found;
}

static void look_at_all(struct trials *trials)
{
	struct core *core = trials->core;
	if (core->probes && core->probes->listeners)
		listeners_each(core->probes->listeners, look_at, trials);
}

void trials_closed(struct core *core, const struct listener *listener)
{
	struct trials *trials = core->trials;
	struct trial *known = trials ? find(trials, span_str(listener->pod_uid), listener->port) : NULL;
	if (!known || is_still_open(core, listener))
		return;
	*known = trials->items[--trials->count];
	wake(trials);
	look_at_all(trials); /* there is room for another one of the pod */
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
	look_at_all(trials);
}

/* ---- trials --------------------------------------------------------------------------------------- */

static bool may_run(const struct trial *trial, uint64_t now_ns)
{
	return trial->state == TRIAL_WAITING && trial->due_ns <= now_ns;
}

static void unanswered(struct trials *trials, struct trial *trial)
{
	trial->state = trial->attempts < ATTEMPTS_MAX ? TRIAL_WAITING : TRIAL_REFUSED;
	trial->due_ns = clock_mono(&trials->core->clock) + AGAIN_NS;
	trials->core->trials_counted.failed++;
}

/* Gives up those that run for too long. Returns how many do run. */
static size_t running_now(struct trials *trials, uint64_t now_ns)
{
	size_t running = 0;
	for (size_t i = 0; i < trials->count; i++) {
		struct trial *trial = &trials->items[i];
		if (trial->state == TRIAL_RUNNING && trial->due_ns <= now_ns)
			unanswered(trials, trial);
		running += trial->state == TRIAL_RUNNING;
	}
	return running;
}

/* Lets the next ones run. Returns how long it is until time alone changes something. */
static uint64_t start_some(struct trials *trials)
{
	uint64_t now_ns = clock_mono(&trials->core->clock), wait_ns = UINT64_MAX;
	size_t running = running_now(trials, now_ns);
	for (size_t i = 0; i < trials->count; i++) {
		struct trial *trial = &trials->items[i];
		if (may_run(trial, now_ns) && running < RUNNING_MAX) {
			trial->state = TRIAL_RUNNING;
			trial->attempts++;
			trial->due_ns = now_ns + PATIENCE_NS;
			running++;
		}
		bool timed = trial->state == TRIAL_WAITING || trial->state == TRIAL_RUNNING;
		if (timed && trial->due_ns > now_ns && trial->due_ns - now_ns < wait_ns)
			wait_ns = trial->due_ns - now_ns;
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

void trials_work(struct core *core)
{
	struct trials *trials = core->trials;
	uint64_t wait_ns = start_some(trials);
	int result = tell(trials);
	if (result < 0) {
		log_error(&core->log, "discovery.listen: %s; trying again in %s", strerror(-result),
			duration_format(AGAIN_NS).text);
		wait_ns = AGAIN_NS;
	}
	if (wait_ns != UINT64_MAX)
		loop_timer_set(trials->timer, wait_ns);
}

static void work_is_due(void *arg)
{
	trials_work(arg);
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
		core->trials_counted.accepted++;
	} else if (no_answer(scraped)) {
		unanswered(trials, trial);
	} else {
		trial->state = TRIAL_REFUSED;
		core->trials_counted.refused++;
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
	int result = loop_timer_new(core->loop, work_is_due, core, &trials->timer);
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
