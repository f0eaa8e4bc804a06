/* up and scrape_*: gauges with the target's labels, under its own resource and the default scope.
 *
 * All of a target's report metrics have the same attributes, so one number record serves them all. scrape_target->report:
 *
 *   uint32_t end[PARTS]   where each part ends, counted from the first one
 *   the record, the scope message, the heads of the metrics
 */
#include "report.h"

#include <errno.h>

enum { EXTRA_METRICS = 3, METRICS_MAX = SERIES_REPORT_METRICS + EXTRA_METRICS };
enum { PART_RECORD, PART_SCOPE, PART_HEADS, PARTS = PART_HEADS + METRICS_MAX };

/* These have no description and, by their metadata, no known type. */
static const struct span extra_metrics[EXTRA_METRICS] = {
	SPAN("scrape_timeout_seconds"), SPAN("scrape_sample_limit"), SPAN("scrape_body_size_bytes")};

static size_t metrics_count(const struct scrape_target *scrape_target)
{
	return scrape_target->target->job->extra_scrape_metrics ? METRICS_MAX : SERIES_REPORT_METRICS;
}

/* ---- parts ------------------------------------------------------------------------- */

static int encode_record(const struct target *target, struct buf *out)
{
	struct buf attributes;
	buf_init(&attributes, out->max);
	for (size_t i = 0; i < target->labels.count; i++) {
		struct label label = target->labels.items[i];
		if (!span_eq(label.name, SPAN("job")) && !span_eq(label.name, SPAN("instance")))
			otlp_point_attribute(&attributes, OTLP_GAUGE, label.name, label.value);
	}
	int result = attributes.failed ? attributes.failed : otlp_number_record(out, buf_view(&attributes));
	buf_done(&attributes);
	return result;
}

static int encode_head(size_t metric, struct buf *out)
{
	if (metric >= SERIES_REPORT_METRICS)
		return otlp_metric_head(
			out, extra_metrics[metric - SERIES_REPORT_METRICS], SPAN_NONE, SPAN_NONE, SPAN("unknown"));
	const struct series_report_metric *known = &series_report_metrics[metric];
	return otlp_metric_head(out, known->name, known->description, known->unit, SPAN("gauge"));
}

static int encode_part(const struct scrape_target *scrape_target, size_t part, struct buf *out)
{
	if (part == PART_RECORD)
		return encode_record(scrape_target->target, out);
	if (part == PART_SCOPE)
		return otlp_scope(out, SPAN("gleaner"), SPAN(GLEANER_VERSION), SPAN_NONE);
	return encode_head(part - PART_HEADS, out);
}

int report_init(struct scrape_target *scrape_target)
{
	struct buf *report = &scrape_target->report;
	uint32_t end[PARTS] = {0};
	buf_init(report, UINT32_MAX);
	buf_append(report, end, sizeof(end));
	for (size_t part = 0; part < PART_HEADS + metrics_count(scrape_target) && !report->failed; part++) {
		if (encode_part(scrape_target, part, report) < 0)
			break;
		end[part] = (uint32_t)(report->len - sizeof(end));
	}
	if (report->failed)
		return -ENOMEM;
	memcpy(report->ptr, end, sizeof(end));
	return 0;
}

static struct span report_part(const struct scrape_target *scrape_target, size_t part)
{
	uint32_t end[PARTS];
	memcpy(end, scrape_target->report.ptr, sizeof(end));
	uint32_t start = part > 0 ? end[part - 1] : 0;
	return span_of(scrape_target->report.ptr + sizeof(end) + start, end[part] - start);
}

/* ---- points ------------------------------------------------------------------------- */

static void open_scope(const struct scrape_target *scrape_target, struct otlp_batch *batch)
{
	otlp_batch_resource(batch, series_target_resource(scrape_target->cache));
	otlp_batch_scope(batch, report_part(scrape_target, PART_SCOPE), SPAN_NONE);
}

static double body_bytes(const struct scrape_input *input)
{
	if (input->body_limit_hit)
		return -1;
	return input->ok ? (double)input->body.len : 0;
}

int report_scrape(struct scrape_target *scrape_target, const struct scrape_input *input,
	const struct scrape_outcome *outcome, struct otlp_batch *batch)
{
	const struct target *target = scrape_target->target;
	const double values[METRICS_MAX] = {
		outcome->up,
		(double)(input->duration_ns + outcome->ingest_ns) / 1e9,
		(double)outcome->series.samples,
		(double)outcome->series.samples_kept,
		(double)outcome->series.series_added,
		(double)target->timeout_ns / 1e9,
		(double)target->job->limits.sample_limit,
		body_bytes(input),
	};
	struct span record = report_part(scrape_target, PART_RECORD);
	char *end = scrape_target->report.ptr + (record.ptr - scrape_target->report.ptr) + record.len;
	int result = 0;
	open_scope(scrape_target, batch);
	for (size_t i = 0; i < metrics_count(scrape_target) && result == 0; i++) {
		otlp_number_patch(end, 0, input->time_ns, values[i]);
		otlp_batch_metric(batch, report_part(scrape_target, PART_HEADS + i), OTLP_GAUGE);
		result = otlp_batch_points(batch, record, 1, input->time_ns, input->time_ns);
	}
	otlp_batch_end(batch);
	scrape_target->reported |= result == 0;
	return result;
}

int report_gone(struct scrape_target *scrape_target, uint64_t time_ns, struct otlp_batch *batch, uint64_t *ret_points)
{
	struct buf flagged;
	if (!scrape_target->reported)
		return 0;
	buf_init(&flagged, UINT32_MAX);
	int result = otlp_flagged_record(&flagged, OTLP_GAUGE, report_part(scrape_target, PART_RECORD), time_ns);
	open_scope(scrape_target, batch);
	for (size_t i = 0; i < metrics_count(scrape_target) && result == 0; i++) {
		otlp_batch_metric(batch, report_part(scrape_target, PART_HEADS + i), OTLP_GAUGE);
		result = otlp_batch_points(batch, buf_view(&flagged), 1, time_ns, time_ns);
		*ret_points += result == 0;
	}
	otlp_batch_end(batch);
	buf_done(&flagged);
	scrape_target->reported = result < 0;
	return result;
}
