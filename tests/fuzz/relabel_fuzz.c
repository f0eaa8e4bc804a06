// links: relabel
/* One relabel rule on one label set, both from the input, in lines:
 *
 *   action (a letter, a is replace)   regex   target_label   replacement   separator   then name=value lines
 *
 * Both labels a and b are the sources. What is kept must still be a label set: sorted, unique, no empty value, and UTF-8 when the input is. */
#include "gleaner/relabel.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *next_line(struct span *rest, struct arena *arena)
{
	struct span line = SPAN("");
	return span_next(rest, '\n', &line) ? arena_spandup(arena, line) : "";
}

static void check_labels(struct labels labels, bool is_utf8)
{
	for (size_t i = 0; i < labels.count; i++) {
		bool sorted = i == 0 || span_cmp(labels.items[i - 1].name, labels.items[i].name) < 0;
		if (!sorted || labels.items[i].value.len == 0 || labels.items[i].name.len == 0)
			abort();
		if (is_utf8 && (!span_is_utf8(labels.items[i].name) || !span_is_utf8(labels.items[i].value)))
			abort();
	}
}

static void run(struct span input, struct arena *arena)
{
	struct span rest = input, line;
	static const char *const sources[] = {"a", "b"};
	struct relabel_rule rule = {.source_labels = {(const char **)sources, 2}, .modulus = 3};
	const char *action = next_line(&rest, arena);
	rule.action = action && action[0] ? (action[0] - 'a') & 15 : 0;
	rule.regex = next_line(&rest, arena);
	rule.target_label = next_line(&rest, arena);
	rule.replacement = next_line(&rest, arena);
	rule.separator = next_line(&rest, arena);
	if (rule.action == RELABEL_LABELDROP || rule.action == RELABEL_LABELKEEP || rule.action == RELABEL_KEEPEQUAL ||
		rule.action == RELABEL_DROPEQUAL)
		rule.modulus = 0;
	if (rule.action == RELABEL_LABELDROP || rule.action == RELABEL_LABELKEEP)
		rule.source_labels.count = 0;
	struct labels_builder builder;
	labels_builder_init(&builder, arena);
	for (struct span name; span_next(&rest, '\n', &line);) {
		struct span value = line;
		if (span_next(&value, '=', &name) && name.len > 0)
			labels_set(&builder, name, value);
	}
	struct relabel *relabel = NULL;
	struct error err;
	if (relabel_compile(&rule, 1, &relabel, &err) < 0)
		return;
	if (relabel_apply(relabel, &builder, NULL) == 1)
		check_labels(labels_builder_view(&builder), span_is_utf8(input));
	relabel_free(relabel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	arena_init(&arena, 16 << 20);
	run(span_of((const char *)data, size), &arena);
	arena_done(&arena);
	return 0;
}
