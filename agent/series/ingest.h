/* One body on its way through a cache: what the files of this folder share. See README.md for the order of things. */
#pragma once

#include "block.h"
#include "lookup.h"

enum lookup_kind {
	LOOKUP_LINES,
	LOOKUP_FAMILIES,
	LOOKUP_RESOURCES,
	LOOKUP_SCOPES,
	LOOKUP_METRICS, /* by scope and name */
	LOOKUP_NAMES,   /* one metric of each name */
	LOOKUP_POINTS,
	LOOKUP_MEMBERS,
	LOOKUP_COUNT
};

/* An exemplar waits for its point. The spans lie in the ingest's exemplar_arena. */
struct pending_exemplar {
	uint32_t point;
	uint32_t order; /* in the body */
	struct otlp_exemplar exemplar;
};

/* Lines of the body that stood in a row in the tables. */
struct run {
	uint32_t first, count;
};

struct series_store {
	uint64_t memory_bytes; /* thawed blocks may have this much */
	uint64_t seed;
	struct codec *zstd;
	struct series_stats stats;

	/* Scratch of the one ingest that runs at a time. */
	struct tables draft, packed; /* the tables while they change, and as they will be */
	struct lookup lookups[LOOKUP_COUNT];
	unsigned quiet; /* ingests since one drafted */
	union {
		struct {
			struct buf thawed;      /* a frozen block's content */
			struct buf seen;        /* a byte a line */
			struct buf values;      /* a double a member; ABSENT until its sample comes */
			struct buf point_times; /* uint64_t ns a point, 0: not yet; only with explicit timestamps */
			struct buf runs;        /* struct run */
			struct buf exemplars;   /* struct pending_exemplar */
			struct buf exposed;     /* struct label: a sample's labels as in the body, empty ones too */
			struct buf bounds;      /* double: of one histogram or summary */
			struct buf counts;      /* uint64_t, or double for a summary's values: likewise */
			/* Whatever is being built, by what it most often is. */
			struct buf attributes, scope_attributes, message, name, scratch;
		};
		struct buf buffers[14];
	};
	struct arena exemplar_arena;
	struct arena labels_arena; /* one sample's labels */
	struct arena pack_arena;
};

struct series_cache {
	struct series_store *store;
	struct series_target target;
	char *block;         /* thawed, or NULL */
	struct buf frozen;   /* else the compressed block */
	struct buf resource; /* the target's own, encoded */
	uint64_t series;
	size_t block_bytes;      /* thawed */
	enum expo_format format; /* of the last good body */
	uint32_t scrape;         /* grows by 1 each */
	bool unsettled;          /* series were derived under other metadata than will hold: derive anew */
	bool silent;             /* no point is exported: a failed scrape has nothing to say */
};

struct ingest {
	struct series_store *store;
	struct series_cache *cache;
	const struct series_target *target;
	struct series_result *result;
	struct error *err;
	char *block; /* what view lies in, unless drafted */
	struct view view;
	struct expo_parser parser;
	uint64_t time_ns;
	uint64_t t_min_ns, t_max_ns; /* of the points */
	uint32_t scrape;
	uint32_t next;       /* the line that is expected */
	uint32_t lines_seen; /* different ones */
	uint32_t alive;      /* points seen */
	uint32_t holes;      /* of these, not produced */
	uint32_t type_line;  /* the last TYPE line, NONE before the first */
	bool drafted;        /* view is the draft: items can be added */
	bool cold;           /* lines are derived anew when first seen */
	bool began_cold;     /* all of them */
	bool changed;        /* the tables are not what the next scrape needs */
	bool reflag;         /* some point is to be flagged another way */
	bool timestamps;     /* an explicit one was seen */
	bool unsettled;      /* for the next scrape */
};

/* No parsed value has these bits: every NaN of a body is the normal one. */
#define ABSENT_BITS UINT64_C(0x7ff0000000000002)
static inline bool is_absent(double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits == ABSENT_BITS;
}
static inline char *in_seen(const struct ingest *in)
{
	return in->store->seen.ptr;
}
static inline double *in_values(const struct ingest *in)
{
	return (double *)(void *)in->store->values.ptr;
}
/* A point of this time is exported. */
static inline void in_widen(struct ingest *in, uint64_t time_ns)
{
	if (time_ns < in->t_min_ns)
		in->t_min_ns = time_ns;
	if (time_ns > in->t_max_ns)
		in->t_max_ns = time_ns;
}
static inline void in_drop(struct ingest *in, enum series_drop reason)
{
	in->result->dropped[reason]++;
}

/* ---- draft.c: tables that can grow --------------------------------------------- */

/* Makes the view a draft, if it is none yet. 0, -ENOMEM, -EMSGSIZE. Pointers into the view are void afterwards. */
int draft_open(struct ingest *in);
/* Append an item; the new number, or a negative errno. */
int64_t draft_line(struct ingest *in, struct line line, struct span key);
int64_t draft_item(struct ingest *in, enum part part, const void *item, size_t size);
int draft_text(struct ingest *in, struct span s, struct text *ret_text);
/* Whether a metric of that name is there, in whatever scope. 1, 0, -ENOMEM. */
int draft_has_metric(struct ingest *in, struct span name);
/* The table of that kind, filled with what the view holds. NULL: no memory. */
struct lookup *in_lookup(struct ingest *in, enum lookup_kind kind);
uint64_t hash_text(const struct ingest *in, struct span text);
uint64_t hash_two(const struct ingest *in, uint64_t a, struct span b);
uint64_t hash_member(const struct ingest *in, const struct member *member);
uint64_t hash_scope(const struct ingest *in, uint32_t resource, struct span message, struct span schema_url);

/* ---- read.c: lines ------------------------------------------------------------------ */

/* Takes all samples of the body. 0; -EBADMSG with result->failure and err; -ENOMEM, -EMSGSIZE (a table's ceiling). */
int read_body(struct ingest *in);

/* ---- derive.c: a new line to what its samples mean ------------------------------- */

/* Fills role and ref of a sample's line. 0; -EBADMSG with result->failure and err; -ENOMEM. */
int derive_line(struct ingest *in, uint32_t line, const struct expo_entry *entry);
/* The run of a resource: the target's attributes, then what target_info adds (labels_builder: strings in its arena). 0, -ENOMEM. */
int resource_encode(const struct series_target *target, struct labels_builder *attributes, struct span job,
	struct span instance, struct buf *out);
/* Sets the labels of a target_info sample that describe the resource. */
int resource_add_info(struct labels_builder *attributes, struct labels labels);
/* Adds the resource; the target's own must be the first. */
int64_t new_resource(struct ingest *in, struct span job, struct span instance);

/* ---- labels.c: a sample's final labels ------------------------------------------ */

/* 1 with ret_labels (valid until the next call); 0 dropped by relabelling; -EBADMSG as derive_line; -ENOMEM. */
int sample_labels(struct ingest *in, const struct expo_entry *entry, struct labels *ret_labels);
/* Fails the scrape: result->failure, err. Returns -EBADMSG. */
int fail_scrape(struct ingest *in, enum series_failure failure, const char *fmt, ...) GLEANER_PRINTF(3, 4);

/* ---- family.c: metadata ------------------------------------------------------------ */

/* What a sample is to its family. */
enum family_part { PART_OF_VALUE, PART_OF_BOUND, PART_OF_SUM, PART_OF_COUNT, PART_OF_START };
struct resolution {
	uint32_t family; /* NONE: there is no metadata */
	enum expo_type type;
	enum family_part part;
	struct span metric;            /* name */
	struct span description, unit; /* unit: UCUM */
};
/* Which metric a sample of that name belongs to (semantics 2.6). 0, -ENOMEM. Valid until the view changes or the next call. */
int family_resolve(struct ingest *in, struct span name, struct resolution *ret_resolution);
/* A HELP, TYPE or UNIT line that is new or is read anew. ret_family: its number. 0; -EBADMSG with result->failure and err; -ENOMEM. */
int family_line(struct ingest *in, const struct expo_entry *entry, uint32_t *ret_family);
enum otlp_data family_data(enum expo_type type);
/* Whether the scrape itself reports a metric of that name. */
bool family_is_report(struct span name);
/* After the last line: whether the next scrape would derive every line to what it is now. */
void families_settle(struct ingest *in);

/* ---- unit.c ------------------------------------------------------------------------ */

/* UCUM for a UNIT word (semantics 1.1, D-14); may use `scratch`. */
struct span unit_ucum(struct span unit, struct buf *scratch);

/* ---- take.c: a sample to its place ------------------------------------------------- */

/* 0, -EBADMSG (no: samples are dropped, never refused), -ENOMEM. */
int take_sample(struct ingest *in, uint32_t line, const struct expo_entry *entry);
/* Seconds as written to ns; 0 (unset) for what is no time (D-6). */
uint64_t start_ns(double seconds);
/* Whether a point of that time is to be marked stale when it goes. */
bool is_tracked(const struct ingest *in, uint64_t time_ns);

/* ---- group.c: histograms and summaries ----------------------------------------------- */

/* After the last line: turns the values of members into points. 0, -ENOMEM. */
int groups_settle(struct ingest *in);

/* ---- pack.c -------------------------------------------------------------------------- */

/* Writes the tables of this body's series into store->packed; renumbers the pending exemplars. Ages the families. 0; -EBADMSG
 * (target_info is too large) as read_body; -ENOMEM. */
int pack_tables(struct ingest *in);

/* ---- emit.c --------------------------------------------------------------------------- */

/* The points that this scrape produced, in the order of the view. 0 or the batch's error. */
int emit_points(struct ingest *in, const struct view *view, struct otlp_batch *batch);
/* A flagged point for every exported point of the view that `scrape` did not see. 0 or the batch's error. */
int emit_stale(struct series_store *store, const struct view *view, uint32_t scrape, uint64_t time_ns,
	struct otlp_batch *batch, uint64_t *ret_count);

/* ---- exemplar.c ----------------------------------------------------------------------- */

int exemplar_add(struct ingest *in, uint32_t point, const struct expo_entry *entry, uint64_t sample_time_ns);

/* ---- freeze.c ---------------------------------------------------------------------------- */

/* The cache's block, thawed into the store's scratch if it is frozen; NULL with *ret_failed = 0 when there is none. */
char *cache_thaw(struct series_cache *cache, int *ret_failed);
/* Replaces the cache's block by one from block_new; freezes it when there is no room for it. */
void cache_keep(struct series_cache *cache, char *block);
/* The set of series is as it was. touched: but the content of the block that cache_thaw gave changed and shall last. */
void cache_keep_same(struct series_cache *cache, char *block, bool touched);
void cache_drop(struct series_cache *cache);
