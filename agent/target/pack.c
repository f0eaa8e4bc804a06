/* Jobs and targets as bytes, for the way from the core to a scraper on the same machine. All numbers little-endian:
 *
 *   text     u32 length, bytes, NUL; length 0xffffffff and nothing behind it: NULL
 *   span     as text, never NULL
 *   list     u32 count, then the elements
 *
 *   job      u8 version 2 | u8 flags | u64 content | u64 packed | span name | u64 interval, timeout (ns) | span metrics_path, scheme
 *            | list params (text name, list of text) | u64 sample, body_size, label, name_length, value_length, target limit
 *            | list metric rules | u8 tls min, max version | credentials
 *   credentials   span authorization, ca, cert, key, server_name
 *   flags    1 honor_labels, 2 honor_timestamps, 4 track_timestamps_staleness, 8 enable_compression, 16 extra_scrape_metrics,
 *            32 fallback_openmetrics, 64 tls_insecure_skip_verify
 *   rule     u8 action | u64 modulus | text separator, regex, target_label, replacement | list of text source_labels
 *
 *   target   u8 version 2 | u64 key | u64 content | body
 *   body     u8 origin | u16 port | u64 interval, timeout (ns) | span pod_uid, scheme, host, url | labels | labels resource
 *   labels   list of span name, span value; sorted by name, no name twice, no value empty
 *
 * Unpacking copies the bytes once and points into the copy. What does not fit, or is left over, is -EBADMSG: then the core is not the
 * program that it should be.
 */
#include "pack.h"

#include "credentials.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

enum { PACK_VERSION = 2, TEXT_NULL = -1 };

enum {
	FLAG_HONOR_LABELS = 1,
	FLAG_HONOR_TIMESTAMPS = 2,
	FLAG_TRACK_STALENESS = 4,
	FLAG_COMPRESSION = 8,
	FLAG_EXTRA_METRICS = 16,
	FLAG_FALLBACK_OPENMETRICS = 32,
	FLAG_TLS_INSECURE = 64,
	FLAGS_ALL = 127,
};

/* ---- write ------------------------------------------------------------------------ */

static void put_u8(struct buf *out, uint8_t value)
{
	buf_append(out, &value, sizeof(value));
}

static void put_u16(struct buf *out, uint16_t value)
{
	value = htole16(value);
	buf_append(out, &value, sizeof(value));
}

static void put_u32(struct buf *out, uint32_t value)
{
	value = htole32(value);
	buf_append(out, &value, sizeof(value));
}

static void put_u64(struct buf *out, uint64_t value)
{
	value = htole64(value);
	buf_append(out, &value, sizeof(value));
}

static void put_span(struct buf *out, struct span s)
{
	put_u32(out, (uint32_t)s.len);
	buf_span(out, s);
	put_u8(out, 0);
}

static void put_text(struct buf *out, const char *text)
{
	if (text)
		put_span(out, span_str(text));
	else
		put_u32(out, (uint32_t)TEXT_NULL);
}

static void put_strings(struct buf *out, const struct option_strings *strings)
{
	put_u32(out, (uint32_t)strings->count);
	for (size_t i = 0; i < strings->count; i++)
		put_text(out, strings->items[i]);
}

static void put_labels(struct buf *out, struct labels labels)
{
	put_u32(out, (uint32_t)labels.count);
	for (size_t i = 0; i < labels.count; i++) {
		put_span(out, labels.items[i].name);
		put_span(out, labels.items[i].value);
	}
}

void pack_rules(const struct relabel_rule *rules, size_t count, struct buf *out)
{
	put_u32(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		put_u8(out, (uint8_t)rules[i].action);
		put_u64(out, rules[i].modulus);
		put_text(out, rules[i].separator);
		put_text(out, rules[i].regex);
		put_text(out, rules[i].target_label);
		put_text(out, rules[i].replacement);
		put_strings(out, &rules[i].source_labels);
	}
}

void pack_pairs(const struct option_pairs *pairs, struct buf *out)
{
	put_u32(out, (uint32_t)pairs->count);
	for (size_t i = 0; i < pairs->count; i++) {
		put_text(out, pairs->items[i].name);
		put_text(out, pairs->items[i].value);
	}
}

static uint8_t job_flags(const struct target_job *job)
{
	return (uint8_t)((job->honor_labels ? FLAG_HONOR_LABELS : 0) |
			 (job->honor_timestamps ? FLAG_HONOR_TIMESTAMPS : 0) |
			 (job->track_timestamps_staleness ? FLAG_TRACK_STALENESS : 0) |
			 (job->enable_compression ? FLAG_COMPRESSION : 0) |
			 (job->extra_scrape_metrics ? FLAG_EXTRA_METRICS : 0) |
			 (job->fallback_openmetrics ? FLAG_FALLBACK_OPENMETRICS : 0) |
			 (job->tls_insecure_skip_verify ? FLAG_TLS_INSECURE : 0));
}

int pack_job_body(const struct target_job *job, struct buf *out)
{
	put_u8(out, PACK_VERSION);
	put_u8(out, job_flags(job));
	put_u64(out, job->content);
	put_u64(out, job->packed);
	put_span(out, job->name);
	put_u64(out, job->interval_ns);
	put_u64(out, job->timeout_ns);
	put_span(out, job->metrics_path);
	put_span(out, job->scheme);
	put_u32(out, (uint32_t)job->params.count);
	for (size_t i = 0; i < job->params.count; i++) {
		put_text(out, job->params.items[i].name);
		put_strings(out, &job->params.items[i].values);
	}
	put_u64(out, job->limits.sample_limit);
	put_u64(out, job->limits.body_size_limit);
	put_u64(out, job->limits.label_limit);
	put_u64(out, job->limits.label_name_length_limit);
	put_u64(out, job->limits.label_value_length_limit);
	put_u64(out, job->limits.target_limit);
	pack_rules(job->metric_rules, job->metric_rule_count, out);
	put_u8(out, (uint8_t)job->tls_min_version);
	put_u8(out, (uint8_t)job->tls_max_version);
	return out->failed;
}

int target_job_pack(const struct target_job *job, struct buf *out)
{
	const struct target_credentials *credentials = job->credentials;
	pack_job_body(job, out);
	put_span(out, credentials->authorization);
	put_span(out, credentials->ca);
	put_span(out, credentials->cert);
	put_span(out, credentials->key);
	put_span(out, credentials->server_name);
	return out->failed;
}

int pack_target_body(const struct target *target, struct buf *out)
{
	put_u8(out, (uint8_t)target->origin);
	put_u16(out, target->port);
	put_u64(out, target->interval_ns);
	put_u64(out, target->timeout_ns);
	put_span(out, target->pod_uid);
	put_span(out, target->scheme);
	put_span(out, target->host);
	put_span(out, target->url);
	put_labels(out, target->labels);
	put_labels(out, target->resource);
	return out->failed;
}

int target_pack(const struct target *target, struct buf *out)
{
	put_u8(out, PACK_VERSION);
	put_u64(out, target->key);
	put_u64(out, target->content);
	return pack_target_body(target, out);
}

/* ---- read ------------------------------------------------------------------------- */

struct reader {
	const char *at, *end;
	struct arena *arena;
	int failed; /* sticky: 0, -EBADMSG, -ENOMEM; after it everything read is 0, NULL or empty */
};

static struct reader reader_init(struct span packed, struct arena *arena)
{
	struct reader reader = {.arena = arena};
	const char *copy = arena_spandup(arena, packed);
	if (!copy)
		reader.failed = -ENOMEM;
	else
		reader.at = copy, reader.end = copy + packed.len;
	return reader;
}

static void reader_require(struct reader *reader, bool condition)
{
	if (!condition && !reader->failed)
		reader->failed = -EBADMSG;
}

static bool take_bytes(struct reader *reader, void *out, size_t len)
{
	reader_require(reader, !reader->failed && (size_t)(reader->end - reader->at) >= len);
	if (reader->failed)
		return false;
	memcpy(out, reader->at, len);
	reader->at += len;
	return true;
}

static uint8_t take_u8(struct reader *reader)
{
	uint8_t value = 0;
	return take_bytes(reader, &value, sizeof(value)) ? value : 0;
}

static uint16_t take_u16(struct reader *reader)
{
	uint16_t value = 0;
	return take_bytes(reader, &value, sizeof(value)) ? le16toh(value) : 0;
}

static uint32_t take_u32(struct reader *reader)
{
	uint32_t value = 0;
	return take_bytes(reader, &value, sizeof(value)) ? le32toh(value) : 0;
}

static uint64_t take_u64(struct reader *reader)
{
	uint64_t value = 0;
	return take_bytes(reader, &value, sizeof(value)) ? le64toh(value) : 0;
}

/* The NUL behind it lets a span be used as a string, if it has none within. */
static struct span take_span_of(struct reader *reader, uint32_t len)
{
	reader_require(reader, !reader->failed && len < (size_t)(reader->end - reader->at) && reader->at[len] == '\0');
	if (reader->failed)
		return SPAN("");
	struct span s = span_of(reader->at, len);
	reader->at += (size_t)len + 1;
	return s;
}

static struct span take_span(struct reader *reader)
{
	return take_span_of(reader, take_u32(reader));
}

static const char *take_text_or_null(struct reader *reader)
{
	uint32_t len = take_u32(reader);
	if (len == (uint32_t)TEXT_NULL)
		return NULL;
	struct span s = take_span_of(reader, len);
	reader_require(reader, strlen(s.ptr) == s.len);
	return s.ptr;
}

static const char *take_text(struct reader *reader)
{
	const char *text = take_text_or_null(reader);
	reader_require(reader, text != NULL);
	return text ? text : "";
}

/* A count, and zeroed room for so many elements, each of which takes at least min_packed bytes: no count makes us allocate more than
 * what was sent is worth. */
static void *take_list(struct reader *reader, size_t element, size_t min_packed, size_t *ret_count)
{
	uint32_t count = take_u32(reader);
	reader_require(reader, !reader->failed && count <= (size_t)(reader->end - reader->at) / min_packed);
	void *items = reader->failed ? NULL : arena_alloc(reader->arena, count * element);
	if (!items && !reader->failed)
		reader->failed = -ENOMEM;
	*ret_count = items ? count : 0;
	return items;
}

static struct option_strings take_strings(struct reader *reader)
{
	struct option_strings strings;
	strings.items = take_list(reader, sizeof(*strings.items), 5, &strings.count);
	for (size_t i = 0; i < strings.count; i++)
		strings.items[i] = take_text(reader);
	return strings;
}

static struct option_lists take_params(struct reader *reader)
{
	struct option_lists params;
	params.items = take_list(reader, sizeof(*params.items), 9, &params.count);
	for (size_t i = 0; i < params.count; i++) {
		params.items[i].name = take_text(reader);
		params.items[i].values = take_strings(reader);
	}
	return params;
}

static struct relabel_rule *take_rules(struct reader *reader, size_t *ret_count)
{
	struct relabel_rule *rules = take_list(reader, sizeof(*rules), 29, ret_count);
	for (size_t i = 0; i < *ret_count; i++) {
		rules[i].action = take_u8(reader);
		rules[i].modulus = take_u64(reader);
		rules[i].separator = take_text_or_null(reader);
		rules[i].regex = take_text_or_null(reader);
		rules[i].target_label = take_text_or_null(reader);
		rules[i].replacement = take_text_or_null(reader);
		rules[i].source_labels = take_strings(reader);
		reader_require(reader, rules[i].action <= RELABEL_UPPERCASE);
	}
	return rules;
}

static struct labels take_labels(struct reader *reader)
{
	size_t count;
	struct label *items = take_list(reader, sizeof(*items), 10, &count);
	for (size_t i = 0; i < count; i++) {
		items[i].name = take_span(reader);
		items[i].value = take_span(reader);
		reader_require(reader, items[i].value.len > 0 && label_name_valid(items[i].name));
		reader_require(reader, i == 0 || span_cmp(items[i - 1].name, items[i].name) < 0);
	}
	return (struct labels){items, count};
}

static struct span take_scheme(struct reader *reader)
{
	struct span scheme = take_span(reader);
	reader_require(reader, span_eq(scheme, SPAN("http")) || span_eq(scheme, SPAN("https")));
	return scheme;
}

static void take_times(struct reader *reader, uint64_t *ret_interval_ns, uint64_t *ret_timeout_ns)
{
	*ret_interval_ns = take_u64(reader);
	*ret_timeout_ns = take_u64(reader);
	reader_require(reader, *ret_timeout_ns > 0 && *ret_timeout_ns <= *ret_interval_ns);
}

static void take_flags(struct reader *reader, struct target_job *job)
{
	uint8_t flags = take_u8(reader);
	reader_require(reader, (flags & ~FLAGS_ALL) == 0);
	job->honor_labels = flags & FLAG_HONOR_LABELS;
	job->honor_timestamps = flags & FLAG_HONOR_TIMESTAMPS;
	job->track_timestamps_staleness = flags & FLAG_TRACK_STALENESS;
	job->enable_compression = flags & FLAG_COMPRESSION;
	job->extra_scrape_metrics = flags & FLAG_EXTRA_METRICS;
	job->fallback_openmetrics = flags & FLAG_FALLBACK_OPENMETRICS;
	job->tls_insecure_skip_verify = flags & FLAG_TLS_INSECURE;
}

static int take_tls_version(struct reader *reader)
{
	uint8_t version = take_u8(reader);
	reader_require(reader, version == 0 || (version >= 10 && version <= 13));
	return version;
}

/* A span with an arena of its own; the bytes it came in are overwritten, for they live as long as the job. */
static struct span take_secret(struct reader *reader, struct arena *arena)
{
	struct span taken = take_span(reader);
	struct span kept = span_of(arena_spandup(arena, taken), taken.len);
	if (!kept.ptr && !reader->failed)
		reader->failed = -ENOMEM;
	if (taken.len > 0)
		explicit_bzero((char *)(uintptr_t)taken.ptr, taken.len);
	return kept.ptr ? kept : SPAN("");
}

static void take_credentials(struct reader *reader, struct target_credentials *credentials)
{
	credentials->authorization = take_secret(reader, &credentials->arena);
	credentials->ca = take_secret(reader, &credentials->arena);
	credentials->cert = take_secret(reader, &credentials->arena);
	credentials->key = take_secret(reader, &credentials->arena);
	credentials->server_name = take_secret(reader, &credentials->arena);
}

static int take_job(struct reader *reader, struct target_job *job)
{
	reader_require(reader, take_u8(reader) == PACK_VERSION);
	take_flags(reader, job);
	job->content = take_u64(reader);
	job->packed = take_u64(reader);
	job->name = take_span(reader);
	take_times(reader, &job->interval_ns, &job->timeout_ns);
	job->metrics_path = take_span(reader);
	job->scheme = take_scheme(reader);
	job->params = take_params(reader);
	job->limits.sample_limit = take_u64(reader);
	job->limits.body_size_limit = take_u64(reader);
	job->limits.label_limit = take_u64(reader);
	job->limits.label_name_length_limit = take_u64(reader);
	job->limits.label_value_length_limit = take_u64(reader);
	job->limits.target_limit = take_u64(reader);
	job->metric_rules = take_rules(reader, &job->metric_rule_count);
	job->tls_min_version = take_tls_version(reader);
	job->tls_max_version = take_tls_version(reader);
	take_credentials(reader, job->credentials);
	reader_require(reader, reader->at == reader->end);
	return reader->failed;
}

int target_job_unpack(struct span packed, struct target_job **ret_job)
{
	if (packed.len > TARGET_PACKED_MAX)
		return -EBADMSG;
	struct target_job *job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->refs = 1;
	/* The bytes and what is made of them: the worst is a list of empty strings, 5 bytes and a pointer each. */
	arena_init(&job->arena, (size_t)TARGET_PACKED_MAX * 8);
	job->credentials = target_credentials_empty();
	struct reader reader = reader_init(packed, &job->arena);
	int result = job->credentials ? take_job(&reader, job) : -ENOMEM;
	if (result < 0)
		target_job_unref(job);
	else
		*ret_job = job;
	return result;
}

static int take_target(struct reader *reader, struct target *target)
{
	reader_require(reader, take_u8(reader) == PACK_VERSION);
	target->key = take_u64(reader);
	target->content = take_u64(reader);
	uint8_t origin = take_u8(reader);
	reader_require(reader, origin <= TARGET_KUBELET);
	target->origin = (enum target_origin)origin;
	target->port = take_u16(reader);
	take_times(reader, &target->interval_ns, &target->timeout_ns);
	target->pod_uid = take_span(reader);
	target->scheme = take_scheme(reader);
	target->host = take_span(reader);
	target->url = take_span(reader);
	target->labels = take_labels(reader);
	target->resource = take_labels(reader);
	reader_require(reader, target->port > 0 && target->host.len > 0 && target->url.len > 0);
	reader_require(reader, reader->at == reader->end);
	return reader->failed;
}

int target_unpack(struct span packed, struct target_job *job, struct target **ret_target)
{
	if (packed.len > TARGET_PACKED_MAX)
		return -EBADMSG;
	struct target *target = calloc(1, sizeof(*target));
	if (!target)
		return -ENOMEM;
	target->refs = 1;
	target->job = target_job_ref(job);
	arena_init(&target->arena, (size_t)TARGET_PACKED_MAX * 8);
	struct reader reader = reader_init(packed, &target->arena);
	int result = take_target(&reader, target);
	if (result < 0)
		target_unref(target);
	else
		*ret_target = target;
	return result;
}
