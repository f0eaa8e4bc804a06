/* The metrics of single targets: what scraping each of them costs, on both sides. docs/metrics.md has the names.
 *
 * The page is written family by family, so each target's estimate and labels are made first. As OpenMetrics it has `_created`: the
 * moment since which the target's sums count, which is their start time in OTLP.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

enum {
	TARGETS_MAX = 1000, /* the others have no metrics of their own; their number is one */
	LABEL_MAX_BYTES = 256,
	LABELS_MAX_BYTES = 4 << 20, /* of all targets */
	SAMPLE_LABELS_MAX_BYTES = 8192,
};

struct row {
	const struct core_target *target;
	size_t labels_at, labels_len;
	struct cost_estimate estimate;
	struct cost_sums sums;
};

struct writer {
	struct buf *page;
	bool openmetrics;
	struct buf labels; /* of all rows */
	struct buf sample; /* labels of one sample, NUL-terminated */
};

struct family {
	const char *name; /* a counter's ends in _total */
	const char *type, *help;
	void (*render)(struct writer *writer, const struct family *family, const struct row *row);
};

/* ---- labels ----------------------------------------------------------------------------------- */

/* A pod's bytes: escaped, cut, and UTF-8 whatever comes. */
static void put_label(struct buf *out, const char *name, struct span value)
{
	size_t length;
	if (value.len == 0)
		return;
	buf_printf(out, "%s=\"", name);
	for (size_t i = 0; i < value.len && i < LABEL_MAX_BYTES; i += length) {
		struct span rest = span_of(value.ptr + i, value.len - i);
		length = span_utf8_length(rest);
		if (rest.ptr[0] == '\n')
			buf_str(out, "\\n");
		else if (rest.ptr[0] == '"' || rest.ptr[0] == '\\')
			buf_printf(out, "\\%c", rest.ptr[0]);
		else if (length == 0)
			buf_str(out, "\xef\xbf\xbd");
		else
			buf_append(out, rest.ptr, length);
		length = length == 0 ? 1 : length;
	}
	buf_str(out, "\",");
}

static struct span without_query(struct span url)
{
	struct span path = url;
	span_next(&url, '?', &path);
	return path;
}

/* Each label ends in a comma. */
static void put_labels(struct buf *out, const struct target *target)
{
	put_label(out, "scrape_job", labels_get(target->labels, SPAN("job")));
	put_label(out, "scrape_instance", labels_get(target->labels, SPAN("instance")));
	put_label(out, "target", without_query(target->url));
	put_label(out, "namespace", labels_get(target->resource, SPAN("k8s.namespace.name")));
	put_label(out, "pod", labels_get(target->resource, SPAN("k8s.pod.name")));
	put_label(out, "container", labels_get(target->resource, SPAN("k8s.container.name")));
}

/* ---- samples ---------------------------------------------------------------------------------- */

static void sample(struct writer *writer, const char *name, const struct row *row, const char *extra, double value)
{
	buf_reset(&writer->sample);
	buf_append(&writer->sample, writer->labels.ptr + row->labels_at, row->labels_len);
	buf_str(&writer->sample, extra);
	if (extra[0] == '\0' && row->labels_len > 0)
		writer->sample.len--; /* the last comma */
	if (buf_char(&writer->sample, '\0') == 0)
		metrics_sample(writer->page, name, writer->sample.ptr, value);
}

static void gauge(
	struct writer *writer, const struct family *family, const struct row *row, const char *extra, double value)
{
	if (!isnan(value))
		sample(writer, family->name, row, extra, value);
}

/* `name` with another ending, in place of `ending`. */
struct name {
	char text[96];
};
static struct name renamed(const char *name, const char *ending, const char *other)
{
	struct name result;
	int keep = (int)(strlen(name) - strlen(ending));
	snprintf(result.text, sizeof(result.text), "%.*s%s", keep, name, other);
	return result;
}

static void created(struct writer *writer, const char *name, const struct row *row, const char *extra)
{
	if (writer->openmetrics)
		sample(writer, name, row, extra, (double)row->target->known_wall_ns / 1e9);
}

static void counter(
	struct writer *writer, const struct family *family, const struct row *row, const char *extra, double value)
{
	sample(writer, family->name, row, extra, value);
	created(writer, renamed(family->name, "_total", "_created").text, row, extra);
}

static void head(struct writer *writer, const struct family *family)
{
	bool cut = writer->openmetrics && strcmp(family->type, "counter") == 0;
	metrics_family(writer->page, renamed(family->name, cut ? "_total" : "", "").text, family->type, family->help);
}

/* ---- families --------------------------------------------------------------------------------- */

static void render_cpu(struct writer *writer, const struct family *family, const struct row *row)
{
	gauge(writer, family, row, "bound=\"lower\"", row->estimate.lower);
	gauge(writer, family, row, "bound=\"best\"", row->estimate.best);
	gauge(writer, family, row, "bound=\"upper\"", row->estimate.upper);
}

static void render_confidence(struct writer *writer, const struct family *family, const struct row *row)
{
	char extra[32];
	snprintf(extra, sizeof(extra), "method=\"%s\"", cost_method_name(row->estimate.method));
	gauge(writer, family, row, extra, (double)row->estimate.confidence);
}

static void render_other(struct writer *writer, const struct family *family, const struct row *row)
{
	gauge(writer, family, row, "", row->estimate.other);
}

static void render_tail(struct writer *writer, const struct family *family, const struct row *row)
{
	gauge(writer, family, row, "", row->estimate.tail);
}

static void render_first_byte(struct writer *writer, const struct family *family, const struct row *row)
{
	gauge(writer, family, row, "", row->estimate.first_byte);
}

static void render_threads(struct writer *writer, const struct family *family, const struct row *row)
{
	gauge(writer, family, row, "", row->estimate.threads);
}

static void render_histogram(struct writer *writer, const struct family *family, const struct row *row)
{
	struct name bucket = renamed(family->name, "", "_bucket");
	uint64_t below = 0;
	char extra[32];
	if (!row->target->cost.windows)
		return;
	for (size_t i = 0; i < COST_BUCKETS; i++) {
		below += row->sums.buckets[i];
		snprintf(extra, sizeof(extra), "le=\"%g\"", cost_buckets[i]);
		sample(writer, bucket.text, row, extra, (double)below);
	}
	below += row->sums.buckets[COST_BUCKETS];
	sample(writer, bucket.text, row, "le=\"+Inf\"", (double)below);
	sample(writer, renamed(family->name, "", "_sum").text, row, "", row->sums.best);
	sample(writer, renamed(family->name, "", "_count").text, row, "", (double)below);
	created(writer, renamed(family->name, "", "_created").text, row, "");
}

/* A sum that never had anything to add is absent: its figure is not known here. */
static void known_sum(
	struct writer *writer, const struct family *family, const struct row *row, const char *extra, double sum)
{
	if (sum > 0)
		counter(writer, family, row, extra, sum);
}

static void render_cpu_sums(struct writer *writer, const struct family *family, const struct row *row)
{
	known_sum(writer, family, row, "bound=\"lower\"", row->sums.lower);
	known_sum(writer, family, row, "bound=\"best\"", row->sums.best);
	known_sum(writer, family, row, "bound=\"upper\"", row->sums.upper);
}

static void render_other_sum(struct writer *writer, const struct family *family, const struct row *row)
{
	if (row->sums.measured > 0)
		counter(writer, family, row, "", row->sums.other);
}

static void render_switches(struct writer *writer, const struct family *family, const struct row *row)
{
	if (row->sums.measured > 0)
		counter(writer, family, row, "", (double)row->sums.switches);
}

static void render_windows(struct writer *writer, const struct family *family, const struct row *row)
{
	if (!row->target->cost.windows)
		return;
	counter(writer, family, row, "result=\"measured\"", (double)row->sums.measured);
	counter(writer, family, row, "result=\"unmeasured\"", (double)row->sums.unmeasured);
}

static void render_agent_cpu(struct writer *writer, const struct family *family, const struct row *row)
{
	char extra[32];
	for (size_t i = 0; i < COST_STAGES; i++) {
		snprintf(extra, sizeof(extra), "stage=\"%s\"", cost_stage_name((enum cost_stage)i));
		counter(writer, family, row, extra, (double)row->target->cost.agent.cpu_ns[i] / 1e9);
	}
}

static void render_scrapes(struct writer *writer, const struct family *family, const struct row *row)
{
	counter(writer, family, row, "", (double)row->target->cost.agent.scrapes);
}

static void render_body_bytes(struct writer *writer, const struct family *family, const struct row *row)
{
	counter(writer, family, row, "", (double)row->target->cost.agent.body_bytes);
}

static void render_wire_bytes(struct writer *writer, const struct family *family, const struct row *row)
{
	counter(writer, family, row, "", (double)row->target->cost.agent.wire_bytes);
}

static void render_record_bytes(struct writer *writer, const struct family *family, const struct row *row)
{
	counter(writer, family, row, "", (double)row->target->cost.agent.record_bytes);
}

static const struct family families[] = {
	{"gleaner_target_scrape_cpu_seconds", "gauge",
		"CPU time of the target for one scrape, median of the last 15; by bound.", render_cpu},
	{"gleaner_target_scrape_cpu_confidence", "gauge",
		"How far to trust the best estimate, by its method: 0 there is none, 1 low, 2 medium, 3 high.",
		render_confidence},
	{"gleaner_target_scrape_other_cpu_seconds", "gauge",
		"CPU time of other processes that the target asked for one scrape, median of the last 15.",
		render_other},
	{"gleaner_target_scrape_tail_cpu_seconds", "gauge",
		"CPU time of the target's threads after the last byte of a scrape was sent, median of the last 15.",
		render_tail},
	{"gleaner_target_scrape_first_byte_seconds", "gauge",
		"From reading the request to the first write, at the target, median of the last 15.",
		render_first_byte},
	{"gleaner_target_scrape_threads", "gauge",
		"Threads of the target that work for one scrape, median of the last 15.", render_threads},
	{"gleaner_target_cpu_per_scrape_seconds", "histogram", "The best estimates of single scrapes.",
		render_histogram},
	{"gleaner_target_cpu_seconds_total", "counter", "CPU time of the target for scrapes, by bound.",
		render_cpu_sums},
	{"gleaner_target_other_cpu_seconds_total", "counter",
		"CPU time of other processes that the target asked for scrapes.", render_other_sum},
	{"gleaner_target_context_switches_total", "counter", "Context switches of the target's threads during scrapes.",
		render_switches},
	{"gleaner_target_windows_total", "counter",
		"Scrapes during which the target was watched, by whether its work was recognised.", render_windows},
	{"gleaner_target_agent_cpu_seconds_total", "counter",
		"gleaner's own CPU time for scrapes of the target, by stage.", render_agent_cpu},
	{"gleaner_target_scrapes_total", "counter", "Scrapes of the target.", render_scrapes},
	{"gleaner_target_body_bytes_total", "counter", "Bytes of the target's bodies, inflated.", render_body_bytes},
	{"gleaner_target_wire_bytes_total", "counter", "Bytes of the target's bodies as received.", render_wire_bytes},
	{"gleaner_target_record_bytes_total", "counter", "Bytes of the target's points as sent, compressed.",
		render_record_bytes},
};

/* ---- the page --------------------------------------------------------------------------------- */

static size_t make_rows(struct core *core, struct writer *writer, struct row *rows, size_t *ret_omitted)
{
	size_t count, made = 0;
	struct target *const *targets = discover_targets(core->discover, &count);
	*ret_omitted = 0;
	for (size_t i = 0; i < count; i++) {
		const struct core_target *known = targets_find(core, targets[i]->key);
		if (!known)
			continue;
		if (made == TARGETS_MAX) {
			++*ret_omitted;
			continue;
		}
		struct row *row = &rows[made++];
		*row = (struct row){known, writer->labels.len, 0, cost_history_estimate(&known->cost),
			cost_history_sums(&known->cost)};
		put_labels(&writer->labels, known->target);
		row->labels_len = writer->labels.len - row->labels_at;
	}
	return made;
}

void cost_metrics_render(struct core *core, struct buf *page, bool openmetrics)
{
	static const struct family omitted_family = {"gleaner_targets_without_cost", "gauge",
		"Targets beyond the first 1,000, which have no metrics of their own.", NULL};
	struct writer writer = {.page = page, .openmetrics = openmetrics};
	struct row *rows = calloc(TARGETS_MAX, sizeof(*rows));
	size_t omitted = 0;
	buf_init(&writer.labels, LABELS_MAX_BYTES);
	buf_init(&writer.sample, SAMPLE_LABELS_MAX_BYTES);
	size_t count = rows ? make_rows(core, &writer, rows, &omitted) : 0;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		head(&writer, &families[i]);
		for (size_t j = 0; j < count; j++)
			families[i].render(&writer, &families[i], &rows[j]);
	}
	head(&writer, &omitted_family);
	metrics_sample(page, omitted_family.name, "", (double)omitted);
	if (!rows)
		page->failed = -ENOMEM;
	else if (writer.labels.failed)
		page->failed = writer.labels.failed;
	free(rows);
	buf_done(&writer.labels);
	buf_done(&writer.sample);
}
