/* Which source of pods is asked, and which is used (see choice.h). */
#include "choice.h"

void kube_choice_init(struct kube_choice *choice, size_t count)
{
	*choice = (struct kube_choice){.count = count, .used = KUBE_CHOICE_NONE};
}

void kube_choice_answered(struct kube_choice *choice, size_t number, uint64_t now_ns)
{
	struct kube_choice_slot *slot = &choice->slots[number];
	if (!slot->answers)
		slot->since_ns = now_ns;
	slot->answers = slot->worked = true;
	slot->failed = false;
}

void kube_choice_failed(struct kube_choice *choice, size_t number, enum kube_failure kind, uint64_t now_ns)
{
	struct kube_choice_slot *slot = &choice->slots[number];
	if (!slot->failed)
		slot->since_ns = now_ns;
	slot->failed = true;
	slot->answers = false;
	slot->kind = kind;
}

/* When a source counts as unable; UINT64_MAX: not before it fails. */
static uint64_t unable_at(const struct kube_choice_slot *slot)
{
	if (!slot->failed)
		return UINT64_MAX;
	if (slot->worked)
		return slot->since_ns + KUBE_CHOICE_PATIENCE_NS;
	return slot->kind == KUBE_FAILURE_TRANSIENT ? slot->since_ns + KUBE_CHOICE_STARTING_NS : slot->since_ns;
}

static void earlier(uint64_t *wake_ns, uint64_t at_ns)
{
	if (at_ns != UINT64_MAX && (*wake_ns == 0 || at_ns < *wake_ns))
		*wake_ns = at_ns;
}

static size_t best_that_answers(const struct kube_choice *choice)
{
	size_t best = 0;
	while (best < choice->count && !choice->slots[best].answers)
		best++;
	return best < choice->count ? best : KUBE_CHOICE_NONE;
}

static void use(struct kube_choice *choice, size_t best, uint64_t now_ns, uint64_t *wake_ns)
{
	if (best == KUBE_CHOICE_NONE)
		return;
	uint64_t settled_ns = choice->slots[best].since_ns + KUBE_CHOICE_SETTLE_NS;
	if (best <= choice->used || now_ns >= settled_ns)
		choice->used = best;
	else
		earlier(wake_ns, settled_ns);
}

uint64_t kube_choice_decide(struct kube_choice *choice, uint64_t now_ns)
{
	uint64_t wake_ns = 0;
	size_t best = best_that_answers(choice);
	bool wanted = true; /* all before it are unable */
	use(choice, best, now_ns, &wake_ns);
	for (size_t i = 0; i < choice->count; i++) {
		struct kube_choice_slot *slot = &choice->slots[i];
		if (best != KUBE_CHOICE_NONE && i > best)
			*slot = (struct kube_choice_slot){.asked = false};
		else if (wanted)
			slot->asked = true;
		uint64_t at_ns = unable_at(slot);
		if (wanted && at_ns > now_ns && i + 1 < choice->count && !choice->slots[i + 1].asked && best != i)
			earlier(&wake_ns, at_ns);
		wanted &= at_ns <= now_ns;
	}
	return wake_ns;
}
