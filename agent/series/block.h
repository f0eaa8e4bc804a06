/* The tables of one target: what lies in its block, and how to look at them.
 *
 * A block is one run of bytes without a pointer in it, so that it can be moved, compressed and thawed anywhere:
 *
 *   uint32_t bytes[PART_COUNT]   of each part
 *   the parts, in the order of enum part, each starting at a multiple of 8
 *
 * Items refer to each other by their number in their table. In a block (but not in a draft) everything stands in the
 * order in which it is used: keys and lines as in the last body, records by resource, scope, metric and point, the members
 * of a histogram by bound. A view is the same tables as typed pointers, over a block or over a draft.
 */
#pragma once

#include "gleaner/series.h"

enum part {
	PART_MEMBERS,
	PART_LINES,
	PART_POINTS,
	PART_METRICS,
	PART_SCOPES,
	PART_RESOURCES,
	PART_FAMILIES,
	PART_KEYS,    /* raw text of the lines */
	PART_RECORDS, /* encoded data points */
	PART_TEXT,    /* all other strings */
	PART_COUNT
};

#define NONE UINT32_MAX

/* A string in PART_TEXT. */
struct text {
	uint32_t at, len;
};

enum role {
	ROLE_VALUE,       /* sample: ref is a point that holds one number */
	ROLE_MEMBER,      /* sample: ref is a member of a histogram or summary */
	ROLE_START,       /* _created of a number: ref is its point */
	ROLE_TARGET_INFO, /* sample: ref is a resource */
	ROLE_DROPPED,     /* sample: metric relabelling dropped it */
	ROLE_IGNORED,     /* sample: kept, but no point: ref is an enum series_drop */
	ROLE_META,        /* HELP or UNIT: ref is a family */
	ROLE_TYPE,        /* likewise */
	ROLE_COUNT
};
static inline bool role_is_sample(uint8_t role)
{
	return role < ROLE_META;
}

/* One text of the body. A sample's is the text before the value, others are whole lines. */
struct line {
	uint32_t key, length; /* in PART_KEYS */
	uint32_t ref;
	uint8_t role;
	uint8_t lead, blanks; /* of a sample: blanks before and after the series */
	uint8_t tolerated;    /* of other lines: adds to the count each time (D-12) */
};

enum { MEMBER_BOUND, MEMBER_SUM, MEMBER_COUNT, MEMBER_START };

/* One series of a histogram or summary. */
struct member {
	double bound; /* le or quantile */
	uint32_t point;
	uint8_t kind;
	bool encoded; /* it has a place in the record */
};

enum {
	POINT_PRODUCED = 1,  /* has a value to export, if `scrape` is the present one */
	POINT_TRACKED = 2,   /* is to be marked stale when it goes */
	POINT_EXPORTED = 4,  /* was exported and tracked: its end must be told */
	POINT_MISSHAPEN = 8, /* its record has places for members that are gone */
	POINT_LIVE = POINT_PRODUCED | POINT_TRACKED | POINT_EXPORTED,
};

struct point {
	uint32_t record, length; /* in PART_RECORDS */
	uint32_t attributes;     /* bytes of the run of attributes in the record */
	uint32_t metric;
	uint32_t scrape; /* the last one that saw the point */
	uint8_t flags;
};

struct metric {
	struct text name, head;
	uint32_t scope;
	uint32_t identity;        /* metric number that its points are known by (a changed head makes a new metric) */
	uint32_t family, version; /* what the head was made of */
	uint32_t scrape;          /* the last one in which a sample was derived into it */
	uint32_t first_point, point_count;
	uint8_t data; /* enum otlp_data */
};

struct scope {
	struct text message, schema_url;
	uint32_t resource, first_metric, metric_count;
};

/* Number 0 is the target's own. */
struct resource {
	struct text job, instance, run;
	uint32_t first_scope, scope_count;
};

/* What HELP, TYPE and UNIT lines said. */
struct family {
	struct text name, help, unit;
	uint32_t version; /* grows with each change */
	uint8_t type;
	uint8_t age;   /* scrapes since a line of it was seen */
	bool used;     /* by a series */
	bool disputed; /* lines of one body say different things; which of them hold is known only while all are there */
};

struct view {
	struct member *members;
	struct line *lines;
	struct point *points;
	struct metric *metrics;
	struct scope *scopes;
	struct resource *resources;
	struct family *families;
	char *keys, *records, *text;
	uint32_t member_count, line_count, point_count, metric_count, scope_count, resource_count, family_count;
	size_t bytes[PART_COUNT];
};

/* Growing tables: a draft under construction. */
struct tables {
	struct buf part[PART_COUNT];
};
void tables_init(struct tables *tables);
void tables_done(struct tables *tables);
/* Empties; the memory is kept. */
void tables_reset(struct tables *tables);
struct view tables_view(const struct tables *tables);
/* Makes room for as much as the view holds, so that growing by doubling does not waste memory. 0, -ENOMEM. */
int tables_reserve(struct tables *tables, const struct view *view);
/* 0, -ENOMEM, -EMSGSIZE */
int tables_copy_block(struct tables *tables, const char *block);
int tables_failed(const struct tables *tables);
/* Appends to PART_TEXT. 0 or the buffer's failure. */
int tables_text(struct tables *tables, struct span s, struct text *ret_text);

size_t block_size(const char *block);
struct view block_view(char *block);
/* A block of the tables in one allocation, or NULL. Free with free. */
char *block_new(const struct tables *tables);

static inline struct span view_text(const struct view *view, struct text text)
{
	return span_of(view->text + text.at, text.len);
}
static inline struct span view_key(const struct view *view, const struct line *line)
{
	return span_of(view->keys + line->key, line->length);
}
/* A sample's text without the blanks around it. */
static inline struct span view_series(const struct view *view, const struct line *line)
{
	return span_of(view->keys + line->key + line->lead, line->length - line->lead - line->blanks);
}
static inline struct span view_record(const struct view *view, const struct point *point)
{
	return span_of(view->records + point->record, point->length);
}
static inline char *view_record_end(const struct view *view, const struct point *point)
{
	return view->records + point->record + point->length;
}
static inline bool data_is_number(uint8_t data)
{
	return data < OTLP_HISTOGRAM;
}
/* The run of attributes, which follows the record's tag and length. */
struct span view_attributes(const struct view *view, const struct point *point);
