/* base: the small things every other module is written in.
 *
 * Spans, growing buffers with a ceiling, arenas, errors for people, a hash map,
 * label sets, clocks, random numbers and the log. Nothing here knows a metric, a
 * pod or a socket. Every function may be called in any process and any thread;
 * one object belongs to one thread at a time. Nothing here has static state.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define GLEANER_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_SIZE(array)         (sizeof(array) / sizeof((array)[0]))

#define NS_PER_SEC UINT64_C(1000000000)
#define NS_PER_MS  UINT64_C(1000000)

/* ---- span: bytes that somebody else owns ---------------------------------- */

struct span {
	const char *ptr; /* not NUL-terminated; may be NULL when len is 0 */
	size_t len;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})
#define SPAN_NONE     ((struct span){NULL, 0})
/* For printf's "%.*s". */
#define SPAN_ARGS(s) ((int)(s).len), ((s).ptr ? (s).ptr : "")

static inline struct span span_of(const char *ptr, size_t len)
{
	return (struct span){ptr, len};
}

/* NULL gives an empty span. */
static inline struct span span_str(const char *text)
{
	return (struct span){text, text ? strlen(text) : 0};
}

/* The bytes of a number, as the key of a map. */
static inline struct span span_u64(const uint64_t *number)
{
	return (struct span){(const char *)number, sizeof(*number)};
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Byte order, shorter first on a tie: the order of Go's and Prometheus' strings. */
int span_cmp(struct span a, struct span b);
bool span_starts_with(struct span s, struct span prefix);
bool span_ends_with(struct span s, struct span suffix);
/* Case is ignored for ASCII letters only. */
bool span_eq_nocase(struct span a, struct span b);
/* Without leading and trailing blanks, tabs, CR and LF. */
struct span span_trim(struct span s);
/* Takes the part before `separator` off the front of *rest. Returns false when *rest.ptr is NULL (all taken). */
bool span_next(struct span *rest, char separator, struct span *ret_part);
/* Decimal digits only, the whole span. Returns 0, -EINVAL, -ERANGE. */
int span_to_u64(struct span s, uint64_t *ret_value);
bool span_is_utf8(struct span s);
/* 0 to 15, either case; -1 for any other byte. */
int hex_digit(char c);
/* Bytes of the well-formed UTF-8 sequence that s begins with; 0 when there is none. */
size_t span_utf8_length(struct span s);

/* ---- error: what a person must read --------------------------------------- */

struct error {
	char text[512]; /* "" when nothing failed; cut, never overrun */
};

/* Both return -code, so that `return error_set(err, EINVAL, ...)` is the usual form. err may be NULL. */
int error_set(struct error *err, int code, const char *fmt, ...) GLEANER_PRINTF(3, 4);
/* Puts "what: " before the text that is there (or before strerror(code) when there is none). */
int error_wrap(struct error *err, int code, const char *fmt, ...) GLEANER_PRINTF(3, 4);
/* Tenant bytes for a log line or an error: printable ASCII as it is, the rest %XX, at most 128 bytes and "...". */
struct escaped {
	char text[132];
};
struct escaped escape_bytes(struct span bytes);

/* ---- buf: a byte string that grows up to a ceiling it was born with -------- */

struct buf {
	char *ptr;
	size_t len;
	size_t cap;
	size_t max;  /* no append makes len larger than this */
	int failed;  /* sticky: 0, -ENOMEM or -EMSGSIZE; appends after a failure do nothing */
	bool secret; /* set after buf_init: memory is overwritten before it is given back */
};

void buf_init(struct buf *buf, size_t max);
void buf_done(struct buf *buf);
/* Empty and no longer failed; the memory is kept. */
void buf_reset(struct buf *buf);
/* Room for `more` bytes past len (len is not changed). Returns where they go, or NULL (buf->failed is set). */
char *buf_reserve(struct buf *buf, size_t more);
/* All return 0 or buf->failed. */
int buf_append(struct buf *buf, const void *bytes, size_t len);
int buf_span(struct buf *buf, struct span s);
int buf_str(struct buf *buf, const char *text);
int buf_char(struct buf *buf, char c);
int buf_printf(struct buf *buf, const char *fmt, ...) GLEANER_PRINTF(2, 3);
/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD, control characters (C1 too) are escaped. */
int buf_json(struct buf *buf, struct span s);
/* RFC 4648 with padding and without line breaks, both ways; reading: -EBADMSG when it is anything else. */
int buf_base64(struct buf *buf, struct span bytes);
int buf_unbase64(struct buf *buf, struct span text);
static inline struct span buf_view(const struct buf *buf)
{
	return (struct span){buf->ptr, buf->len};
}

/* ---- arena: many small things that die together --------------------------- */

struct arena_chunk;
struct arena {
	struct arena_chunk *chunks;
	size_t used; /* bytes handed out since the last reset */
	size_t max;
	bool secret; /* set after arena_init: memory is overwritten before it is given back */
	bool full;   /* something did not fit below the ceiling since the last reset: not for want of memory */
};

void arena_init(struct arena *arena, size_t max);
void arena_done(struct arena *arena);
/* Forgets everything handed out, keeps the largest chunk. */
void arena_reset(struct arena *arena);
/* Zeroed and aligned for any type. NULL when memory or the ceiling is exhausted. size 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t size);
/* NULL-terminated copies; NULL on failure. */
char *arena_strdup(struct arena *arena, const char *text);
char *arena_spandup(struct arena *arena, struct span s);

/* ---- hash and map --------------------------------------------------------- */

/* XXH3 with a seed. Use hash_seed() for anything keyed by bytes from outside. */
uint64_t hash_bytes(struct span bytes, uint64_t seed);
/* Random, from getrandom(2). */
uint64_t hash_seed(void);

/* Spans to pointers; open addressing. Keys are borrowed and must outlive their entry. */
struct map_slot {
	struct span key;
	void *value; /* NULL: free */
};
struct map {
	struct map_slot *slots;
	size_t count, cap, max;
	uint64_t seed;
};
void map_init(struct map *map, size_t max_entries);
void map_done(struct map *map);
void map_clear(struct map *map);
/* NULL when absent. */
void *map_get(const struct map *map, struct span key);
/* Inserts or replaces (the old key's pointer is replaced too). value is not NULL. 0, -ENOMEM, -E2BIG. */
int map_put(struct map *map, struct span key, void *value);
/* Returns the value that was there, or NULL. */
void *map_remove(struct map *map, struct span key);
/* Walks all entries in no order: `for (size_t i = 0; (slot = map_next(map, &i));)`. Nothing may be put or removed meanwhile. */
const struct map_slot *map_next(const struct map *map, size_t *cursor);

/* ---- labels: a sorted set of name/value pairs ------------------------------ */

struct label {
	struct span name, value;
};

/* Sorted by name, names unique, no empty value (empty means absent, as in Prometheus). */
struct labels {
	const struct label *items;
	size_t count;
};

/* SPAN_NONE when absent. O(log n). */
struct span labels_get(struct labels labels, struct span name);

/* A label set under construction: what relabelling works on. Strings are copied into the builder's arena. */
struct labels_builder {
	struct arena *arena; /* borrowed; lives as long as the labels taken from it */
	struct label *items; /* sorted */
	size_t count, cap;
	int failed; /* sticky -ENOMEM */
};
void labels_builder_init(struct labels_builder *builder, struct arena *arena);
/* Copies; an empty value deletes. Returns 0 or -ENOMEM. */
int labels_set(struct labels_builder *builder, struct span name, struct span value);
/* As labels_set for strings that live in the arena already (or are literals). */
int labels_set_borrowed(struct labels_builder *builder, struct span name, struct span value);
void labels_delete(struct labels_builder *builder, struct span name);
struct span labels_builder_get(const struct labels_builder *builder, struct span name);
/* A view of the builder's present content; valid until its next change. */
struct labels labels_builder_view(const struct labels_builder *builder);
/* prefix and name with every character of name but [a-zA-Z0-9_] turned into '_', as Prometheus makes meta labels; NUL-terminated, in the
 * arena. SPAN_NONE: no memory. */
struct span label_name_sanitised(struct arena *arena, struct span prefix, struct span name);
/* Copies the set and its strings into the arena. 0 or -ENOMEM. */
int labels_copy(struct arena *arena, struct labels labels, struct labels *ret_copy);
/* {a="1", b="2"} with Prometheus' escaping. */
int buf_labels(struct buf *buf, struct labels labels);

/* ---- clock, durations, random numbers -------------------------------------- */

/* Time is asked for through this, so that tests bring their own. */
struct clock {
	uint64_t (*mono_ns)(void *arg);
	uint64_t (*wall_ns)(void *arg);
	void *arg;
};
struct clock clock_system(void);
static inline uint64_t clock_mono(const struct clock *clock)
{
	return clock->mono_ns(clock->arg);
}
static inline uint64_t clock_wall(const struct clock *clock)
{
	return clock->wall_ns(clock->arg);
}

/* Prometheus' grammar: "0", or units y w d h m s ms, biggest first, each once: 1h30m. 0, -EINVAL, -ERANGE. */
int duration_parse(struct span text, uint64_t *ret_ns);
/* The shortest text that duration_parse reads back, "1h30m"; below 1 ms rounded down to "0s". */
struct duration_text {
	char text[40];
};
struct duration_text duration_format(uint64_t ns);
/* "10MB", "64KiB", "0": powers of 1024 either way, as Prometheus; also a plain number of bytes. 0, -EINVAL, -ERANGE. */
int bytes_parse(struct span text, uint64_t *ret_bytes);

/* "2026-11-24T09:04:11.610Z" */
struct time_text {
	char text[40];
};
void time_format(uint64_t wall_ns, struct time_text *ret_text);

struct rng {
	uint64_t state[2];
};
void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
/* Uniform in [0, bound); 0 when bound is 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* ---- log -------------------------------------------------------------------- */

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* One write(2) a line, so that lines of several threads and processes do not mix. */
struct log {
	int fd; /* 2 */
	enum log_level level;
	enum log_format format;
	const char *role; /* "core", "scraper", ...; a field of every line */
};

/* The only change of a log that other threads write to already. */
void log_configure(struct log *log, enum log_level level, enum log_format format);

/* `time=2026-11-24T09:04:11.610Z level=info role=core msg="..."`. The message is escaped, at most 2 KiB. log may be NULL (silent). */
void log_write(const struct log *log, enum log_level level, const char *fmt, ...) GLEANER_PRINTF(3, 4);
#define log_debug(log, ...) log_write((log), LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(log, ...)  log_write((log), LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(log, ...)  log_write((log), LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(log, ...) log_write((log), LOG_LEVEL_ERROR, __VA_ARGS__)

/* For the owner of an operation that may fail often: true at most once per interval_ns; counts what was held back. */
struct log_limit {
	uint64_t interval_ns;
	uint64_t next_ns; /* monotonic */
	uint64_t suppressed;
};
bool log_allowed(struct log_limit *limit, uint64_t now_mono_ns);

/* ---- files ------------------------------------------------------------------- */

/* Appends a whole small file (config, token, CA). Regular files only (a FIFO does not hang it), at most out->max bytes.
 * 0; -errno with err ("open /x: No such file or directory", "/x: not a regular file"). */
int file_read(const char *path, struct buf *out, struct error *err);

/* ---- memory ------------------------------------------------------------------- */

/* To be called once a process has started: gives back what only its start needed (the libraries' symbol tables, free heap). Saves about
 * a third of the resident memory of a small agent. Nothing changes for anybody else. */
void memory_forget_start(void);

/* ---- metrics page: how gleaner's own counters become text ------------------- */

/* "# HELP/# TYPE" of a family in Prometheus' text format; type is counter, gauge, ... */
int metrics_family(struct buf *page, const char *name, const char *type, const char *help);
/* One sample; labels is "" or `a="b",c="d"` (already escaped). */
int metrics_sample(struct buf *page, const char *name, const char *labels, double value);
