/* Reading a body: every line to the line of the tables that it is, or to a new one.
 *
 * The line that followed last time is compared first; a sample that is it costs one memcmp, the number, and what take.c does.
 * Any other line is parsed, looked up by hash (and verified), and derived if it is new, or if the ingest is cold. Comments
 * and blank lines are skipped by the parser and not kept: some pages have one that is new each time.
 */
#include "ingest.h"

#include <errno.h>

/* Notes that the line stood here in the body. A line that comes again does not change what is expected. */
static int note_run(struct ingest *in, uint32_t line, bool again)
{
	struct buf *runs = &in->store->runs;
	struct run *last = runs->len > 0 ? (struct run *)(void *)(runs->ptr + runs->len) - 1 : NULL;
	if (again)
		return 0;
	in->next = line + 1;
	if (last && last->first + last->count == line) {
		last->count++;
		return 0;
	}
	struct run run = {line, 1};
	return buf_append(runs, &run, sizeof(run));
}

/* A family has a HELP, a TYPE and a UNIT line: so many, and as many samples, are enough for any page. */
static int note_metadata(struct ingest *in, uint32_t number)
{
	bool again = in_seen(in)[number];
	uint64_t limit = 4 * in->target->limits.max_samples;
	in->lines_seen += !again;
	in_seen(in)[number] = 1;
	if (in->lines_seen > limit)
		return fail_scrape(in, SERIES_SAMPLE_LIMIT, "more than %llu lines of samples and metadata",
			(unsigned long long)limit);
	if (in->view.lines[number].role == ROLE_TYPE)
		in->type_line = number;
	return note_run(in, number, again);
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
		result = note_metadata(in, in->next);
	} else if (expo_tail(parser, key.len, entry) == 1) {
		bool again = in_seen(in)[in->next];
		result = count_sample(in);
		if (result == 0)
			result = take_sample(in, in->next, entry);
		if (result == 0)
			result = note_run(in, in->next, again);
	} else {
		return 0;
	}
	in->result->hits++;
	return result < 0 ? result : 1;
}

/* What an entry is known by: a sample by its series, metadata by the whole line. */
static struct span known_by(const struct expo_entry *entry)
{
	return entry->kind == EXPO_SAMPLE ? entry->series : entry->line;
}

static bool is_line(const struct ingest *in, uint32_t number, const struct expo_entry *entry)
{
	const struct line *line = &in->view.lines[number];
	bool sample = role_is_sample(line->role);
	return sample == (entry->kind == EXPO_SAMPLE) &&
	       span_eq(sample ? view_series(&in->view, line) : view_key(&in->view, line), known_by(entry));
}

/* Its number, NONE, or -ENOMEM. It may well be the expected one, behind a comment or with other blanks. */
static int64_t find_line(struct ingest *in, const struct expo_entry *entry)
{
	if (in->next < in->view.line_count && is_line(in, in->next, entry))
		return in->next;
	const struct lookup *lookup = in_lookup(in, LOOKUP_LINES);
	if (!lookup)
		return -ENOMEM;
	uint32_t number;
	for (struct lookup_probe probe = lookup_probe(lookup, hash_text(in, known_by(entry)));
		lookup_next(lookup, &probe, &number);) {
		if (is_line(in, number, entry))
			return number;
	}
	return NONE;
}

/* Counts a line that is known, before the next one is expected. */
static void count_known(struct ingest *in, int64_t number)
{
	*(number == in->next ? &in->result->hits : &in->result->moved) += 1;
}

static int64_t add_line(struct ingest *in, struct line line, struct span key, const struct expo_entry *entry)
{
	struct lookup *lookup = in_lookup(in, LOOKUP_LINES);
	int result = lookup ? draft_open(in) : -ENOMEM;
	int64_t number = result < 0 ? result : draft_line(in, line, key);
	if (number < 0)
		return number;
	result = lookup_add(lookup, hash_text(in, known_by(entry)), (uint32_t)number);
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
	return add_line(in, line, key, entry);
}

/* A sample that did not stand where it was expected. */
static int read_sample(struct ingest *in, const struct expo_entry *entry)
{
	int result = count_sample(in);
	int64_t number = result < 0 ? result : find_line(in, entry);
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
		count_known(in, number);
	}
	bool again = in_seen(in)[number];
	result = take_sample(in, (uint32_t)number, entry);
	return result < 0 ? result : note_run(in, (uint32_t)number, again);
}

/* HELP, TYPE, UNIT. A last line without LF is not kept: the same bytes may be the start of a longer line. */
static int read_metadata(struct ingest *in, const struct expo_entry *entry, uint64_t tolerated)
{
	bool whole = entry->line.ptr[entry->line.len - 1] == '\n';
	int64_t number = whole ? find_line(in, entry) : NONE;
	if (number < 0)
		return (int)number;
	if (number != NONE && !in->cold) {
		count_known(in, number);
		return note_metadata(in, (uint32_t)number);
	}
	uint32_t family = NONE;
	int result = draft_open(in);
	if (result == 0)
		result = family_line(in, entry, &family);
	if (result < 0 || !whole)
		return result;
	struct line line = {.role = entry->kind == EXPO_TYPE ? ROLE_TYPE : ROLE_META, .tolerated = clamp(tolerated)};
	if (number == NONE)
		number = add_line(in, line, entry->line, entry);
	if (number < 0)
		return (int)number;
	in->view.lines[number].ref = family;
	in->changed = true;
	in->result->misses++;
	return note_metadata(in, (uint32_t)number);
}

static int parse_failure(struct ingest *in)
{
	return fail_scrape(in, SERIES_PARSE, "line %zu: %s", expo_error_line(&in->parser), in->parser.reason);
}

/* 1 entry, 0 end of body, or negative. */
static int read_unexpected(struct ingest *in, struct expo_entry *entry)
{
	uint64_t tolerated = in->parser.tolerated;
	int result = expo_next(&in->parser, entry);
	if (result < 0)
		return parse_failure(in);
	if (result == 0)
		return 0;
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
