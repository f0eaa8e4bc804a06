/* Optimal string alignment distance in three rows on the stack. */
#include "suggest.h"

#include <ctype.h>

#define WORD_MAX 64

static char folded(char c)
{
	return c == '-' ? '_' : (char)tolower((unsigned char)c);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t suggest_distance(struct span a, struct span b)
{
	if (a.len > WORD_MAX || b.len > WORD_MAX)
		return SIZE_MAX;
	size_t rows[3][WORD_MAX + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];
	for (size_t j = 0; j <= b.len; j++)
		above[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			char x = folded(a.ptr[i - 1]), y = folded(b.ptr[j - 1]);
			row[j] = least(above[j - 1] + (x != y), least(above[j], row[j - 1]) + 1);
			bool swapped = i > 1 && j > 1 && x == folded(b.ptr[j - 2]) && y == folded(a.ptr[i - 2]);
			if (swapped)
				row[j] = least(row[j], before[j - 2] + 1);
		}
		size_t *oldest = before;
		before = above;
		above = row;
		row = oldest;
	}
	return above[b.len];
}

/* A third of the word may be wrong, at least one letter. */
static size_t tolerance(struct span word)
{
	return word.len < 3 ? 1 : word.len / 3;
}

const char *config_suggest(struct span word, const char *const *choices)
{
	const char *nearest = NULL;
	size_t best = tolerance(word) + 1;
	for (; *choices; choices++) {
		size_t distance = suggest_distance(word, span_str(*choices));
		if (distance < best) {
			best = distance;
			nearest = *choices;
		}
	}
	return nearest;
}

const struct option *suggest_key(struct span word, const struct option_table *table)
{
	const struct option *nearest = NULL;
	size_t best = tolerance(word) + 1;
	for (const struct option *option = table->options; option->name; option++) {
		size_t distance = suggest_distance(word, span_str(option->name));
		if (distance < best) {
			best = distance;
			nearest = option;
		}
	}
	return nearest;
}
