/* Blocks and drafts: laying tables out, looking at them. */
#include "block.h"

#include <errno.h>
#include <stdlib.h>

static size_t padded(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

enum { HEADER_SIZE = PART_COUNT * sizeof(uint32_t) };
_Static_assert(HEADER_SIZE % 8 == 0, "parts start aligned");

static struct view view_over(char *const part[PART_COUNT], const size_t bytes[PART_COUNT])
{
	struct view view = {
		.members = (void *)part[PART_MEMBERS],
		.lines = (void *)part[PART_LINES],
		.points = (void *)part[PART_POINTS],
		.metrics = (void *)part[PART_METRICS],
		.scopes = (void *)part[PART_SCOPES],
		.resources = (void *)part[PART_RESOURCES],
		.families = (void *)part[PART_FAMILIES],
		.keys = part[PART_KEYS],
		.records = part[PART_RECORDS],
		.text = part[PART_TEXT],
		.member_count = (uint32_t)(bytes[PART_MEMBERS] / sizeof(struct member)),
		.line_count = (uint32_t)(bytes[PART_LINES] / sizeof(struct line)),
		.point_count = (uint32_t)(bytes[PART_POINTS] / sizeof(struct point)),
		.metric_count = (uint32_t)(bytes[PART_METRICS] / sizeof(struct metric)),
		.scope_count = (uint32_t)(bytes[PART_SCOPES] / sizeof(struct scope)),
		.resource_count = (uint32_t)(bytes[PART_RESOURCES] / sizeof(struct resource)),
		.family_count = (uint32_t)(bytes[PART_FAMILIES] / sizeof(struct family)),
	};
	memcpy(view.bytes, bytes, sizeof(view.bytes));
	return view;
}

/* ---- drafts -------------------------------------------------------------------- */

void tables_init(struct tables *tables)
{
	for (int i = 0; i < PART_COUNT; i++)
		buf_init(&tables->part[i], UINT32_MAX / 2); /* offsets have 32 bits */
	/* A description stands here once for each metric of each scope, so a page can make it swell a thousandfold. */
	tables->part[PART_TEXT].max = 128 << 20;
}

void tables_done(struct tables *tables)
{
	for (int i = 0; i < PART_COUNT; i++)
		buf_done(&tables->part[i]);
}

void tables_reset(struct tables *tables)
{
	for (int i = 0; i < PART_COUNT; i++)
		buf_reset(&tables->part[i]);
}

struct view tables_view(const struct tables *tables)
{
	char *part[PART_COUNT];
	size_t bytes[PART_COUNT];
	for (int i = 0; i < PART_COUNT; i++) {
		part[i] = tables->part[i].ptr;
		bytes[i] = tables->part[i].len;
	}
	return view_over(part, bytes);
}

int tables_reserve(struct tables *tables, const struct view *view)
{
	for (int i = 0; i < PART_COUNT; i++) {
		if (!buf_reserve(&tables->part[i], view->bytes[i]))
			return tables->part[i].failed;
	}
	return 0;
}

int tables_failed(const struct tables *tables)
{
	for (int i = 0; i < PART_COUNT; i++) {
		if (tables->part[i].failed)
			return tables->part[i].failed;
	}
	return 0;
}

int tables_copy_block(struct tables *tables, const char *block)
{
	uint32_t bytes[PART_COUNT];
	memcpy(bytes, block, HEADER_SIZE);
	const char *at = block + HEADER_SIZE;
	for (int i = 0; i < PART_COUNT; i++) {
		buf_append(&tables->part[i], at, bytes[i]);
		at += padded(bytes[i]);
	}
	return tables_failed(tables);
}

int tables_text(struct tables *tables, struct span s, struct text *ret_text)
{
	struct buf *text = &tables->part[PART_TEXT];
	*ret_text = (struct text){(uint32_t)text->len, (uint32_t)s.len};
	return buf_span(text, s);
}

/* ---- blocks -------------------------------------------------------------------- */

size_t block_size(const char *block)
{
	uint32_t bytes[PART_COUNT];
	memcpy(bytes, block, HEADER_SIZE);
	size_t size = HEADER_SIZE;
	for (int i = 0; i < PART_COUNT; i++)
		size += padded(bytes[i]);
	return size;
}

struct view block_view(char *block)
{
	uint32_t header[PART_COUNT];
	memcpy(header, block, HEADER_SIZE);
	char *part[PART_COUNT], *at = block + HEADER_SIZE;
	size_t bytes[PART_COUNT];
	for (int i = 0; i < PART_COUNT; i++) {
		part[i] = at;
		bytes[i] = header[i];
		at += padded(header[i]);
	}
	return view_over(part, bytes);
}

char *block_new(const struct tables *tables)
{
	uint32_t bytes[PART_COUNT];
	size_t size = HEADER_SIZE;
	for (int i = 0; i < PART_COUNT; i++) {
		bytes[i] = (uint32_t)tables->part[i].len;
		size += padded(bytes[i]);
	}
	char *block = malloc(size);
	if (!block)
		return NULL;
	memcpy(block, bytes, HEADER_SIZE);
	char *at = block + HEADER_SIZE;
	for (int i = 0; i < PART_COUNT; i++) {
		if (bytes[i] > 0)
			memcpy(at, tables->part[i].ptr, bytes[i]);
		memset(at + bytes[i], 0, padded(bytes[i]) - bytes[i]);
		at += padded(bytes[i]);
	}
	return block;
}

struct span view_attributes(const struct view *view, const struct point *point)
{
	const char *at = view->records + point->record + 1;
	while (*at & (char)0x80)
		at++;
	return span_of(at + 1, point->attributes);
}
