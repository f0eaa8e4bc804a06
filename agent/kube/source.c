/* The node's pods from the best source that works.
 *
 * choice.c decides who is asked and who is used; here that is done. Each driver's last list is kept. What is handed over is the list of the
 * one that is used, and for 10 s after a change of the source also the pods that only the one before it had: two sources do not hear of
 * a pod in the same moment, and a target must not go and come again.
 *
 * A source that another one took over from begins anew: what it told before is old by the time it speaks again, and pods that went
 * meanwhile must not come back.
 */
#include "source.h"

#include "choice.h"
#include "pods.h"

#include <errno.h>
#include <stdlib.h>

#define HOLD_NS  (10 * NS_PER_SEC)
#define AGAIN_NS (10 * NS_PER_SEC) /* when there was no memory */

struct kube_source_slot {
	struct kube_source *source;
	size_t number;
	struct kube_source_part part;
	void *driver; /* NULL: it is not asked */
	struct kube_pods *list;
	bool outdated;           /* another one took over: it has to begin anew */
	struct kube_stats stats; /* when it was stopped */
};

struct kube_source {
	struct loop *loop;
	struct clock clock;
	struct kube_source_events events;
	struct kube_choice choice;
	struct kube_source_slot slots[KUBE_SOURCES_MAX];
	size_t used;            /* as choice.used, once it has been said */
	struct kube_pods *held; /* what there was at the last change of the source; NULL: long ago */
	uint64_t held_until_ns;
	struct kube_pods *published;
	struct loop_timer *timer;
	uint64_t changes, switches, last_success_wall_ns;
	void *own; /* the contexts of kube_source_new's drivers */
};

static void decide(struct kube_source *source);

/* ---- handing over --------------------------------------------------------------------- */

static void publish(struct kube_source *source)
{
	struct kube_pods *list = source->used == KUBE_CHOICE_NONE ? NULL : source->slots[source->used].list, *merged;
	if (!list)
		return;
	if (kube_pods_merge(list, source->held, &merged) < 0) {
		loop_timer_set(source->timer, AGAIN_NS); /* the old list stands */
		return;
	}
	bool changed = !source->published || !kube_pods_equal(source->published, merged);
	kube_pods_unref(source->published);
	source->published = merged;
	if (!changed)
		return;
	source->changes++;
	source->events.pods(source->events.arg, merged);
}

static void driver_stats(const struct kube_source_slot *slot, struct kube_stats *ret_stats)
{
	if (slot->driver)
		slot->part.driver->stats(slot->driver, ret_stats);
	else
		*ret_stats = slot->stats;
}

/* What is wrong with the better ones. */
static bool explain(const struct kube_source *source, struct buf *out)
{
	bool alarming = false;
	for (size_t i = 0; i < source->choice.used; i++) {
		struct kube_stats stats;
		driver_stats(&source->slots[i], &stats);
		alarming |= stats.last_failure == KUBE_FAILURE_REFUSED;
		if (stats.last_error.text[0])
			buf_printf(out, "%s%s: %s", out->len > 0 ? "; " : "", source->slots[i].part.driver->name,
				stats.last_error.text);
	}
	buf_char(out, '\0');
	return alarming;
}

/* Another source than before is used from now on. */
static void adopt_choice(struct kube_source *source)
{
	struct buf why;
	if (source->choice.used == source->used)
		return;
	buf_init(&why, 4096);
	bool alarming = explain(source, &why);
	if (source->published) {
		kube_pods_unref(source->held);
		source->held = kube_pods_ref(source->published);
		source->held_until_ns = clock_mono(&source->clock) + HOLD_NS;
	}
	source->used = source->choice.used;
	source->switches++;
	for (size_t i = 0; i < source->used; i++)
		source->slots[i].outdated = source->slots[i].list != NULL;
	if (source->events.chosen)
		source->events.chosen(source->events.arg, source->slots[source->used].part.driver->name,
			why.failed ? "" : why.ptr, alarming);
	buf_done(&why);
}

/* ---- the drivers ------------------------------------------------------------------------ */

static void on_answered(void *arg)
{
	struct kube_source_slot *slot = arg;
	struct kube_source *source = slot->source;
	if (slot->outdated)
		return;
	source->last_success_wall_ns = clock_wall(&source->clock);
	if (!slot->list) /* nothing to use yet: the first list comes now */
		return;
	kube_choice_answered(&source->choice, slot->number, clock_mono(&source->clock));
	decide(source);
}

static void on_pods(void *arg, struct kube_pods *pods)
{
	struct kube_source_slot *slot = arg;
	if (slot->outdated)
		return;
	kube_pods_ref(pods);
	kube_pods_unref(slot->list);
	slot->list = pods;
	on_answered(slot);
}

/* Of those that are not used only what a person could do something about is said, and only until one is used. */
static void on_failed(void *arg, const struct error *err, uint64_t next_ns)
{
	struct kube_source_slot *slot = arg;
	struct kube_source *source = slot->source;
	struct kube_stats stats;
	driver_stats(slot, &stats);
	bool matters = source->used == slot->number ||
		       (source->used == KUBE_CHOICE_NONE && stats.last_failure != KUBE_FAILURE_ABSENT);
	if (matters && source->events.failed)
		source->events.failed(source->events.arg, slot->part.driver->name, err, next_ns);
	kube_choice_failed(&source->choice, slot->number, stats.last_failure, clock_mono(&source->clock));
	decide(source);
}

static void stop(struct kube_source_slot *slot)
{
	if (!slot->driver)
		return;
	slot->part.driver->stats(slot->driver, &slot->stats);
	slot->part.driver->stop(slot->driver);
	slot->driver = NULL;
	kube_pods_unref(slot->list);
	slot->list = NULL;
	slot->outdated = false;
}

static int start(struct kube_source_slot *slot, struct error *err)
{
	struct kube_kubelet_events events = {
		.pods = on_pods, .failed = on_failed, .answered = on_answered, .arg = slot};
	return slot->part.driver->start(slot->part.context, events, &slot->driver, err);
}

static void earlier(uint64_t *wake_ns, uint64_t at_ns)
{
	if (at_ns > 0 && (*wake_ns == 0 || at_ns < *wake_ns))
		*wake_ns = at_ns;
}

/* Stops and starts what choice says, hands over what is new by that, and sets the timer. */
static void decide(struct kube_source *source)
{
	uint64_t now_ns = clock_mono(&source->clock);
	uint64_t wake_ns = kube_choice_decide(&source->choice, now_ns);
	adopt_choice(source);
	for (size_t i = 0; i < source->choice.count; i++) {
		struct kube_source_slot *slot = &source->slots[i];
		if (!source->choice.slots[i].asked)
			stop(slot);
		else if (!slot->driver && start(slot, NULL) < 0)
			earlier(&wake_ns, now_ns + AGAIN_NS);
		if (slot->outdated) /* not now: it may be the one that is speaking */
			earlier(&wake_ns, now_ns);
	}
	if (source->held)
		earlier(&wake_ns, source->held_until_ns);
	if (wake_ns > 0)
		loop_timer_set(source->timer, wake_ns > now_ns ? wake_ns - now_ns : 0);
	else
		loop_timer_cancel(source->timer);
	publish(source);
}

void kube_source_tick(struct kube_source *source)
{
	if (source->held && clock_mono(&source->clock) >= source->held_until_ns) {
		kube_pods_unref(source->held);
		source->held = NULL;
	}
	for (size_t i = 0; i < source->choice.count; i++)
		if (source->slots[i].outdated)
			stop(&source->slots[i]);
	decide(source);
}

static void on_timer(void *arg)
{
	kube_source_tick(arg);
}

/* ---- its life ------------------------------------------------------------------------------- */

int kube_source_of(struct loop *loop, const struct kube_source_part *parts, size_t count, struct clock clock,
	struct kube_source_events events, struct kube_source **ret_source, struct error *err)
{
	struct kube_source *source = calloc(1, sizeof(*source));
	if (!source)
		return error_set(err, ENOMEM, "out of memory");
	*source = (struct kube_source){.loop = loop, .clock = clock, .events = events, .used = KUBE_CHOICE_NONE};
	kube_choice_init(&source->choice, count);
	for (size_t i = 0; i < count; i++)
		source->slots[i] = (struct kube_source_slot){.source = source, .number = i, .part = parts[i]};
	kube_choice_decide(&source->choice, clock_mono(&clock));
	int r = loop_timer_new(loop, on_timer, source, &source->timer);
	if (r == 0)
		r = start(&source->slots[0], err);
	if (r < 0) {
		kube_source_free(source);
		return r;
	}
	*ret_source = source;
	return 0;
}

void kube_source_free(struct kube_source *source)
{
	if (!source)
		return;
	for (size_t i = 0; i < source->choice.count; i++)
		stop(&source->slots[i]);
	loop_timer_free(source->timer);
	kube_pods_unref(source->held);
	kube_pods_unref(source->published);
	free(source->own);
	free(source);
}

void kube_source_own(struct kube_source *source, void *memory)
{
	source->own = memory;
}

void kube_source_nudge(struct kube_source *source)
{
	const struct kube_source_slot *slot = source->used == KUBE_CHOICE_NONE ? NULL : &source->slots[source->used];
	if (slot && slot->driver && slot->part.driver->nudge)
		slot->part.driver->nudge(slot->driver);
}

const char *kube_source_state_name(enum kube_source_state state)
{
	static const char *const names[] = {"standby", "trying", "running"};
	return names[state];
}

void kube_source_stats(const struct kube_source *source, struct kube_source_stats *ret_stats)
{
	struct kube_source_stats stats = {
		.running = source->used == KUBE_CHOICE_NONE ? NULL : source->slots[source->used].part.driver->name,
		.pods = source->published ? source->published->count : 0,
		.changes = source->changes,
		.switches = source->switches,
		.last_success_wall_ns = source->last_success_wall_ns,
		.count = source->choice.count,
	};
	for (size_t i = 0; i < stats.count; i++) {
		stats.sources[i].name = source->slots[i].part.driver->name;
		stats.sources[i].state = !source->slots[i].driver ? KUBE_SOURCE_STANDBY
					 : i == source->used      ? KUBE_SOURCE_RUNNING
								  : KUBE_SOURCE_TRYING;
		driver_stats(&source->slots[i], &stats.sources[i].stats);
	}
	*ret_stats = stats;
}
