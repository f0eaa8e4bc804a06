/* Collects complaints with their source line, and prints them with a caret.
 *
 * Everything is in the caller's arena, since the texts outlive the loader. A list that cannot grow makes the whole load
 * fail with -ENOMEM rather than lose a complaint.
 */
#include "problem.h"

#include <errno.h>
#include <stdio.h>

static const char *source_line(struct problems *problems, unsigned line)
{
	struct span rest = problems->text, part = SPAN_NONE;
	for (unsigned i = 0; i < line; i++) {
		if (!span_next(&rest, '\n', &part))
			return NULL;
	}
	if (part.len > 0 && part.ptr[part.len - 1] == '\r')
		part.len--;
	char *copy = arena_spandup(problems->arena, part);
	problems->failed = problems->failed || !copy;
	return copy;
}

static bool grow(struct problems *problems)
{
	if (problems->count < problems->cap)
		return true;
	size_t cap = problems->cap ? problems->cap * 2 : 8;
	struct config_problem *items = arena_alloc(problems->arena, cap * sizeof(*items));
	if (!items)
		return false;
	if (problems->count > 0)
		memcpy(items, problems->items, problems->count * sizeof(*items));
	problems->items = items;
	problems->cap = cap;
	return true;
}

static void add(struct problems *problems, struct problem_at at, const char *fmt, va_list args)
{
	problems->errors += !at.warning;
	if (problems->count >= PROBLEMS_MAX)
		return;
	char text[2048];
	vsnprintf(text, sizeof(text), fmt, args);
	char *copy = arena_strdup(problems->arena, text);
	if (!copy || !grow(problems)) {
		problems->failed = true;
		return;
	}
	problems->items[problems->count++] = (struct config_problem){
		.line = at.line,
		.column = at.column,
		.warning = at.warning,
		.text = copy,
		.source = at.line > 0 && !at.hide_source ? source_line(problems, at.line) : NULL,
	};
}

void problem_add(struct problems *problems, struct problem_at at, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(problems, at, fmt, args);
	va_end(args);
}

static bool stands_before(const struct config_problem *a, const struct config_problem *b)
{
	return a->line != b->line ? a->line < b->line : a->column < b->column;
}

/* Insertion sort: the list is short and nearly in order. */
void problems_sort(struct problems *problems)
{
	for (size_t i = 1; i < problems->count; i++) {
		struct config_problem moving = problems->items[i];
		size_t j = i;
		for (; j > 0 && stands_before(&moving, &problems->items[j - 1]); j--)
			problems->items[j] = problems->items[j - 1];
		problems->items[j] = moving;
	}
}

int config_problem_add(struct config_problems *problems, const struct config_input *input, struct arena *arena,
	struct option_position position, bool warning, const char *fmt, ...)
{
	struct problems list = {
		.arena = arena,
		.text = input->text,
		.items = problems->items,
		.count = problems->count,
		.cap = problems->count,
		.errors = problems->errors,
	};
	va_list args;
	va_start(args, fmt);
	add(&list, (struct problem_at){.line = position.line, .column = position.column, .warning = warning}, fmt,
		args);
	va_end(args);
	if (list.failed)
		return -ENOMEM;
	problems_sort(&list);
	*problems = (struct config_problems){.items = list.items, .count = list.count, .errors = list.errors};
	return 0;
}

/* The source line and a caret below the column (which counts code points). Of a long line only the part around it. */
static void print_source(const struct config_problem *problem, struct buf *out)
{
	const size_t before = 100, width = 160;
	struct span line = span_str(problem->source);
	size_t caret = 0;
	for (unsigned column = 1; column < problem->column && caret < line.len; column++) {
		size_t step = span_utf8_length(span_of(line.ptr + caret, line.len - caret));
		caret += step ? step : 1;
	}
	size_t start = caret > before ? caret - before : 0;
	while (start > 0 && start < line.len && ((unsigned char)line.ptr[start] & 0xc0) == 0x80)
		start++;
	size_t end = line.len - start > width ? start + width : line.len;

	buf_str(out, start > 0 ? "  ..." : "  ");
	for (size_t i = start; i < end; i++)
		buf_char(out, (unsigned char)line.ptr[i] < ' ' && line.ptr[i] != '\t' ? '?' : line.ptr[i]);
	buf_str(out, start > 0 ? "\n     " : "\n  ");
	for (size_t i = start; i < caret; i++) {
		if (((unsigned char)line.ptr[i] & 0xc0) != 0x80)
			buf_char(out, line.ptr[i] == '\t' ? '\t' : ' ');
	}
	buf_str(out, "^\n");
}

int config_problems_print(const struct config_input *input, const struct config_problems *problems, struct buf *out)
{
	for (size_t i = 0; i < problems->count; i++) {
		const struct config_problem *problem = &problems->items[i];
		buf_str(out, input->name);
		if (problem->line > 0)
			buf_printf(out, ":%u:%u", problem->line, problem->column);
		buf_printf(out, ": %s: %s\n", problem->warning ? "warning" : "error", problem->text);
		if (problem->source && problem->source[0] && !input->hide_source)
			print_source(problem, out);
	}
	size_t errors_shown = 0;
	for (size_t i = 0; i < problems->count; i++)
		errors_shown += !problems->items[i].warning;
	if (problems->errors > errors_shown)
		buf_printf(out, "%s: %zu more errors\n", input->name, problems->errors - errors_shown);
	return out->failed;
}
