/* Reading a body: every line to the line of the tables that it is, or to a new one.
 *
 * The line that followed last time is compared first; a sample that is it costs one memcmp, the number, and what take.c does.
 * Any other line is parsed, looked up by hash (and verified), and derived if it is new, or if the ingest is cold.
 */
#include "ingest.h"

#include <errno.h>

/* Notes that the line stood here in the body. */
static int note_run(struct ingest *in, uint32_t line)
{
	struct buf *runs = &in->store->runs;
	struct run *last = runs->len > 0 ? (struct run *)(void *)(runs->ptr + runs->len) - 1 : NULL;
	in->next = line + 1;
	if (last && last->first + last->count == line) {
		last->count++;
		return 0;
	}
	struct run run = {line, 1};
	return buf_append(runs, &run, sizeof(run));
}

static void note_other(struct ingest *in, uint32_t number)
{
	const struct line *line = &in->view.lines[number];
	in->lines_seen += !in_seen(in)[number];
	in_seen(in)[number] = 1;
	if (line->role == ROLE_TYPE)
		in->type_line = number;
}

static int count_sample(struct ingest *in)
{
	uint64_t limit = in->target->limits.max_samples;
	if (++in->result->samples > limit)
		return fail_scrape(in, SERIES_SAMPLE_LIMIT, "sample limit exceeded (%llu)", (unsigned long long)limit);
	return 0;
}

/* The line that followed last time. 1 it was, 0 it was not, negative: as take_sample. */
static int read_expected(struct ingest *in, struct expo_entry *entry)
{
	if (in->cold || in->next >= in->view.line_count)
		return 0;
	struct expo_parser *parser = &in->parser;
	const struct line *line = &in->view.lines[in->next];
	struct span key = view_key(&in->view, line);
	int result = 0;
	if (key.len > (size_t)(parser->end - parser->at) || memcmp(parser->at, key.ptr, key.len) != 0)
		return 0;
	if (!role_is_sample(line->role)) {
		parser->at += key.len;
		parser->tolerated += line->tolerated;
		note_other(in, in->next);
	} else if (expo_tail(parser, key.len, entry) == 1) {
		result = count_sample(in);
		if (result == 0)
			result = take_sample(in, in->next, entry);
	} else {
		return 0;
	}
	in->result->hits++;
	if (result == 0)
		result = note_run(in, in->next);
	return result < 0 ? result : 1;
}

/* What a line is known by: a sample by its series, any other by all of it. */
static int64_t find_line(struct ingest *in, struct span text, bool sample)
{
	const struct lookup *lookup = in_lookup(in, LOOKUP_LINES);
	if (!lookup)
		return -ENOMEM;
	uint32_t number;
	for (struct lookup_probe probe = lookup_probe(lookup, hash_text(in, text));
		lookup_next(lookup, &probe, &number);) {
		const struct line *line = &in->view.lines[number];
		bool is_sample = role_is_sample(line->role);
		struct span known = is_sample ? view_series(&in->view, line) : view_key(&in->view, line);
		if (is_sample == sample && span_eq(known, text))
			return number;
	}
	return NONE;
}

static int64_t add_line(struct ingest *in, struct line line, struct span key, struct span known_by)
{
	struct lookup *lookup = in_lookup(in, LOOKUP_LINES);
	int result = lookup ? draft_open(in) : -ENOMEM;
	int64_t number = result < 0 ? result : draft_line(in, line, key);
	if (number < 0)
		return number;
	result = lookup_add(lookup, hash_text(in, known_by), (uint32_t)number);
	return result < 0 ? result : number;
}

static uint8_t clamp(size_t blanks)
{
	return blanks < UINT8_MAX ? (uint8_t)blanks : UINT8_MAX;
}

/* Blanks beyond 255 are not part of the key; the line is then found by its hash. */
static int64_t add_sample_line(struct ingest *in, const struct expo_entry *entry)
{
	size_t lead = (size_t)(entry->series.ptr - entry->prefix.ptr);
	size_t blanks = entry->prefix.len - lead - entry->series.len;
	struct line line = {.role = ROLE_DROPPED, .lead = clamp(lead), .blanks = clamp(blanks)};
	struct span key = span_of(entry->series.ptr - line.lead, line.lead + entry->series.len + line.blanks);
	return add_line(in, line, key, entry->series);
}

/* A sample that did not stand where it was expected. */
static int read_sample(struct ingest *in, const struct expo_entry *entry)
{
	int result = count_sample(in);
	int64_t number = result < 0 ? result : find_line(in, entry->series, true);
	if (number < 0)
		return (int)number;
	bool is_new = number == NONE;
	bool derive = is_new || (in->cold && !in_seen(in)[number]);
	if (derive) {
		in->result->misses++;
		result = draft_open(in);
		if (result == 0 && is_new)
			number = add_sample_line(in, entry);
		if (result == 0 && number >= 0)
			result = derive_line(in, (uint32_t)number, entry);
		if (result < 0 || number < 0)
			return result < 0 ? result : (int)number;
		in->changed = true;
		in->result->series_added += is_new && in->view.lines[number].role != ROLE_DROPPED;
	} else {
		in->result->moved++;
	}
	result = take_sample(in, (uint32_t)number, entry);
	return result < 0 ? result : note_run(in, (uint32_t)number);
}

/* HELP, TYPE, UNIT. A last line without LF is not kept: the same bytes may be the start of a longer line. */
static int read_metadata(struct ingest *in, const struct expo_entry *entry, uint64_t tolerated)
{
	bool whole = entry->line.ptr[entry->line.len - 1] == '\n';
	int64_t number = whole ? find_line(in, entry->line, false) : NONE;
	if (number < 0)
		return (int)number;
	if (number != NONE && !in->cold) {
		in->result->moved++;
		note_other(in, (uint32_t)number);
		return note_run(in, (uint32_t)number);
	}
	uint32_t family = NONE;
	int result = draft_open(in);
	if (result == 0)
		result = family_line(in, entry, &family);
	if (result < 0 || !whole)
		return result;
	struct line line = {.role = entry->kind == EXPO_TYPE ? ROLE_TYPE : ROLE_META, .tolerated = clamp(tolerated)};
	if (number == NONE)
		number = add_line(in, line, entry->line, entry->line);
	if (number < 0)
		return (int)number;
	in->view.lines[number].ref = family;
	in->changed = true;
	in->result->misses++;
	note_other(in, (uint32_t)number);
	return note_run(in, (uint32_t)number);
}

/* Comments and blank lines before an entry are kept as one line, so that the next scrape can compare them as well. */
static int read_comments(struct ingest *in, struct span text)
{
	int64_t number = find_line(in, text, false);
	if (number == NONE) {
		number = add_line(in, (struct line){.role = ROLE_COMMENT}, text, text);
		in->changed = true;
	}
	if (number < 0)
		return (int)number;
	note_other(in, (uint32_t)number);
	return note_run(in, (uint32_t)number);
}

static int parse_failure(struct ingest *in)
{
	return fail_scrape(in, SERIES_PARSE, "line %zu: %s", expo_error_line(&in->parser), in->parser.reason);
}

/* 1 entry, 0 end of body, or negative. */
static int read_unexpected(struct ingest *in, struct expo_entry *entry)
{
	const char *before = in->parser.at;
	uint64_t tolerated = in->parser.tolerated;
	int result = expo_next(&in->parser, entry);
	if (result < 0)
		return parse_failure(in);
	if (result == 0)
		return 0;
	if (entry->line.ptr > before)
		result = read_comments(in, span_of(before, (size_t)(entry->line.ptr - before)));
	if (result < 0)
		return result;
	result = entry->kind == EXPO_SAMPLE ? read_sample(in, entry)
					    : read_metadata(in, entry, in->parser.tolerated - tolerated);
	return result < 0 ? result : 1;
}

int read_body(struct ingest *in)
{
	struct expo_entry entry;
	int result;
	do {
		result = read_expected(in, &entry);
		if (result == 0)
			result = read_unexpected(in, &entry);
	} while (result > 0);
	in->result->tolerated = in->parser.tolerated;
	uint64_t limit = in->target->sample_limit;
	if (result == 0 && limit > 0 && in->result->samples_kept > limit)
		return fail_scrape(in, SERIES_SAMPLE_LIMIT, "sample limit exceeded (%llu)", (unsigned long long)limit);
	return result;
}
