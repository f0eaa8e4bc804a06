/* The labels that a relabel rule saw, for who asks why it dropped. */
#include <errno.h>

#include "labels.h"

int target_labels_before(const struct target_job *job, const struct relabel_rule *rules, size_t rule,
	struct labels discovered, struct arena *arena, struct relabel **ret_program, struct labels *ret_labels)
{
	struct labels_builder builder;
	struct relabel *program = NULL;
	labels_builder_init(&builder, arena);
	int result = labels_seed(&builder, job, discovered);
	if (result == 0)
		result = relabel_compile(rules, rule, &program, NULL);
	if (result == 0)
		result = relabel_apply(program, &builder, NULL);
	if (result < 0) {
		relabel_free(program);
		return result;
	}
	*ret_program = program; /* the labels borrow from it */
	*ret_labels = labels_builder_view(&builder);
	return 0;
}
