/* The story of one scrape, from body to batch.
 *
 *   1. Content-Type -> format                          expo_format_of
 *   2. lines -> data points, stale points              series_ingest
 *   3. a failed scrape is an empty one: all stale      series_fail
 *   4. what the scrape itself was like                 report_scrape
 *
 * Whatever the target sent, the batch holds whole points of a whole scrape, or none of it and up 0.
 */
#include "report.h"

#include <errno.h>

/* ---- one scrape ------------------------------------------------------------------------------ */

static const char *failure_word(enum series_failure failure)
{
	static const char *const words[] = {
		[SERIES_OK] = NULL,
		[SERIES_PARSE] = "parse",
		[SERIES_SAMPLE_LIMIT] = "sample_limit",
		[SERIES_LABEL_LIMIT] = "label_limit",
		[SERIES_BAD_SERIES] = "bad_series",
	};
	return words[failure];
}

/* 1 up, 0 the body is to blame (outcome->reason, outcome->error), or a negative errno that is not. */
static int ingest_body(struct scrape_target *scrape_target, const struct scrape_input *input, struct otlp_batch *batch,
	struct scrape_outcome *outcome)
{
	enum expo_format format = EXPO_TEXT;
	enum expo_format fallback = scrape_target->target->job->fallback_openmetrics ? EXPO_OPENMETRICS : EXPO_TEXT;
	if (expo_format_of(input->content_type, fallback, &format) < 0) {
		error_set(&outcome->error, EPROTONOSUPPORT, "received unsupported Content-Type \"%s\"",
			escape_bytes(input->content_type).text);
		outcome->reason = "content_type";
		return 0;
	}
	int result = series_ingest(
		scrape_target->cache, format, input->body, input->time_ns, batch, &outcome->series, &outcome->error);
	outcome->reason = failure_word(outcome->series.failure);
	if (outcome->reason)
		return 0;
	return result < 0 ? result : 1;
}

int scrape_ingest(struct scrape_target *scrape_target, const struct scrape_input *input, struct otlp_batch *batch,
	const struct clock *clock, struct scrape_outcome *ret_outcome)
{
	uint64_t started_ns = clock_mono(clock);
	*ret_outcome = (struct scrape_outcome){.up = false};
	int result = input->ok ? ingest_body(scrape_target, input, batch, ret_outcome) : 0;
	ret_outcome->up = result > 0;
	if (result == 0)
		result = series_fail(scrape_target->cache, input->time_ns, batch, &ret_outcome->series.stale_points);
	if (result < 0)
		return result;
	uint64_t ingested_ns = clock_mono(clock);
	ret_outcome->ingest_ns = ingested_ns - started_ns;
	result = report_scrape(scrape_target, input, ret_outcome, batch);
	ret_outcome->report_ns = clock_mono(clock) - ingested_ns;
	return result;
}

/* ---- the target ------------------------------------------------------------------------------- */

static struct series_target series_target_of(const struct target *target, const struct relabel *metric_relabel)
{
	const struct target_job *job = target->job;
	return (struct series_target){
		.labels = target->labels,
		.resource = target->resource,
		.metric_relabel = metric_relabel,
		.honor_labels = job->honor_labels,
		.honor_timestamps = job->honor_timestamps,
		.track_timestamps_staleness = job->track_timestamps_staleness,
		.sample_limit = job->limits.sample_limit,
		.label_limit = job->limits.label_limit,
		.label_name_length_limit = job->limits.label_name_length_limit,
		.label_value_length_limit = job->limits.label_value_length_limit,
	};
}

int scrape_target_init(struct scrape_target *scrape_target, struct target *target, struct relabel *metric_relabel,
	struct series_store *store, const struct scrape_options *options)
{
	struct series_target series = series_target_of(target, metric_relabel);
	series.limits = (struct series_limits){options->max_samples, options->max_labels, options->max_line_bytes};
	*scrape_target = (struct scrape_target){.target = target, .metric_relabel = metric_relabel};
	int result = report_init(scrape_target);
	if (result == 0)
		result = series_cache_new(store, &series, &scrape_target->cache);
	if (result < 0)
		scrape_target_done(scrape_target);
	return result;
}

void scrape_target_done(struct scrape_target *scrape_target)
{
	series_cache_free(scrape_target->cache);
	buf_done(&scrape_target->report);
	*scrape_target = (struct scrape_target){.target = NULL};
}

int scrape_target_gone(
	struct scrape_target *scrape_target, uint64_t time_ns, struct otlp_batch *batch, uint64_t *ret_stale_points)
{
	uint64_t points = 0;
	int result = series_fail(scrape_target->cache, time_ns, batch, &points);
	if (result == 0)
		result = report_gone(scrape_target, time_ns, batch, &points);
	*ret_stale_points = points;
	return result;
}

/* ---- from an old target to its replacement ---------------------------------------------------------- */

static bool same_labels(struct labels a, struct labels b)
{
	bool same = a.count == b.count;
	for (size_t i = 0; same && i < a.count; i++)
		same = span_eq(a.items[i].name, b.items[i].name) && span_eq(a.items[i].value, b.items[i].value);
	return same;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_rule(const struct relabel_rule *a, const struct relabel_rule *b)
{
	bool same = a->action == b->action && a->modulus == b->modulus && same_text(a->separator, b->separator) &&
		    same_text(a->regex, b->regex) && same_text(a->target_label, b->target_label) &&
		    same_text(a->replacement, b->replacement) && a->source_labels.count == b->source_labels.count;
	for (size_t i = 0; same && i < a->source_labels.count; i++)
		same = same_text(a->source_labels.items[i], b->source_labels.items[i]);
	return same;
}

/* Whether the same body makes the same points for both. */
static bool same_points(const struct target *a, const struct target *b)
{
	const struct target_job *x = a->job, *y = b->job;
	bool same = same_labels(a->labels, b->labels) && same_labels(a->resource, b->resource) &&
		    x->honor_labels == y->honor_labels && x->honor_timestamps == y->honor_timestamps &&
		    x->track_timestamps_staleness == y->track_timestamps_staleness &&
		    x->extra_scrape_metrics == y->extra_scrape_metrics && x->metric_rule_count == y->metric_rule_count;
	for (size_t i = 0; same && i < x->metric_rule_count; i++)
		same = same_rule(&x->metric_rules[i], &y->metric_rules[i]);
	return same;
}

bool scrape_target_take_over(struct scrape_target *scrape_target, struct scrape_target *old)
{
	if (!same_points(scrape_target->target, old->target))
		return false;
	struct series_cache *fresh = scrape_target->cache;
	scrape_target->cache = old->cache;
	scrape_target->reported = old->reported;
	old->cache = NULL;
	old->reported = false;
	series_cache_configure(scrape_target->cache, series_cache_target(fresh));
	series_cache_free(fresh);
	return true;
}
