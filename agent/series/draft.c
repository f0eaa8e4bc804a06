/* The draft: the block's tables, copied to where they can grow; and the lookup tables over them.
 *
 * A scrape that brings only known series never gets here. What it adds is numbered behind what the block had, so numbers
 * that were handed out stay true.
 */
#include "ingest.h"

#include <errno.h>

int draft_open(struct ingest *in)
{
	if (in->drafted)
		return 0;
	struct tables *draft = &in->store->draft;
	tables_reset(draft);
	int result = in->block ? tables_copy_block(draft, in->block) : 0;
	if (result < 0)
		return result;
	in->drafted = true;
	in->view = tables_view(draft);
	return 0;
}

int64_t draft_item(struct ingest *in, enum part part, const void *item, size_t size)
{
	struct buf *items = &in->store->draft.part[part];
	int64_t number = (int64_t)(items->len / size);
	int result = buf_append(items, item, size);
	in->view = tables_view(&in->store->draft);
	return result < 0 ? result : number;
}

int draft_text(struct ingest *in, struct span s, struct text *ret_text)
{
	int result = tables_text(&in->store->draft, s, ret_text);
	in->view = tables_view(&in->store->draft);
	return result;
}

int64_t draft_line(struct ingest *in, struct line line, struct span key)
{
	struct buf *keys = &in->store->draft.part[PART_KEYS];
	line.key = (uint32_t)keys->len;
	line.length = (uint32_t)key.len;
	int result = buf_span(keys, key);
	if (result == 0)
		result = buf_char(&in->store->seen, 0);
	return result < 0 ? result : draft_item(in, PART_LINES, &line, sizeof(line));
}

/* ---- what items are known by ------------------------------------------------------- */

uint64_t hash_text(const struct ingest *in, struct span text)
{
	return hash_bytes(text, in->store->seed);
}

uint64_t hash_two(const struct ingest *in, uint64_t a, struct span b)
{
	return hash_bytes(b, in->store->seed ^ (a + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

uint64_t hash_scope(const struct ingest *in, uint32_t resource, struct span message, struct span schema_url)
{
	return hash_two(in, hash_two(in, resource, message), schema_url);
}

uint64_t hash_member(const struct ingest *in, const struct member *member)
{
	return hash_two(in, (uint64_t)member->point << 2 | member->kind,
		span_of((const char *)&member->bound, sizeof(member->bound)));
}

static uint64_t hash_item(const struct ingest *in, enum lookup_kind kind, uint32_t i)
{
	const struct view *view = &in->view;
	switch (kind) {
	case LOOKUP_LINES:
		return hash_text(in, role_is_sample(view->lines[i].role) ? view_series(view, &view->lines[i])
									 : view_key(view, &view->lines[i]));
	case LOOKUP_FAMILIES:
		return hash_text(in, view_text(view, view->families[i].name));
	case LOOKUP_RESOURCES:
		return hash_two(in, hash_text(in, view_text(view, view->resources[i].job)),
			view_text(view, view->resources[i].instance));
	case LOOKUP_SCOPES:
		return hash_scope(in, view->scopes[i].resource, view_text(view, view->scopes[i].message),
			view_text(view, view->scopes[i].schema_url));
	case LOOKUP_METRICS:
		return hash_two(in, view->metrics[i].scope, view_text(view, view->metrics[i].name));
	case LOOKUP_NAMES:
		return hash_text(in, view_text(view, view->metrics[i].name));
	case LOOKUP_POINTS:
		return hash_two(
			in, view->metrics[view->points[i].metric].identity, view_attributes(view, &view->points[i]));
	case LOOKUP_MEMBERS:
		return hash_member(in, &view->members[i]);
	case LOOKUP_COUNT:
		break;
	}
	return 0;
}

static uint32_t count_of(const struct view *view, enum lookup_kind kind)
{
	const uint32_t counts[LOOKUP_COUNT] = {
		[LOOKUP_LINES] = view->line_count,
		[LOOKUP_FAMILIES] = view->family_count,
		[LOOKUP_RESOURCES] = view->resource_count,
		[LOOKUP_SCOPES] = view->scope_count,
		[LOOKUP_METRICS] = view->metric_count,
		[LOOKUP_NAMES] = view->metric_count,
		[LOOKUP_POINTS] = view->point_count,
		[LOOKUP_MEMBERS] = view->member_count,
	};
	return counts[kind];
}

static bool find_name(struct ingest *in, const struct lookup *names, struct span name)
{
	uint32_t number;
	for (struct lookup_probe probe = lookup_probe(names, hash_text(in, name));
		lookup_next(names, &probe, &number);) {
		if (span_eq(view_text(&in->view, in->view.metrics[number].name), name))
			return true;
	}
	return false;
}

int draft_has_metric(struct ingest *in, struct span name)
{
	const struct lookup *names = in_lookup(in, LOOKUP_NAMES);
	return names ? find_name(in, names, name) : -ENOMEM;
}

struct lookup *in_lookup(struct ingest *in, enum lookup_kind kind)
{
	struct lookup *lookup = &in->store->lookups[kind];
	if (lookup->filled)
		return lookup;
	uint32_t count = count_of(&in->view, kind);
	if (lookup_reset(lookup, count) < 0)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		/* One chain of a thousand equal names would be walked a thousand times. */
		if (kind == LOOKUP_NAMES && find_name(in, lookup, view_text(&in->view, in->view.metrics[i].name)))
			continue;
		if (lookup_add(lookup, hash_item(in, kind, i), i) < 0)
			return NULL;
	}
	lookup->filled = true;
	return lookup;
}
