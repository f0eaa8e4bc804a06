/* Points to the batch: whole runs of records where all is as it should be, single points where it is not. */
#include "ingest.h"

#include <errno.h>
#include <stdlib.h>

/* Pending exemplars by point, and how far they are used. */
struct exemplars {
	const struct pending_exemplar *items;
	size_t count, at;
};

static int by_point(const void *a, const void *b)
{
	const struct pending_exemplar *x = a, *y = b;
	if (x->point != y->point)
		return x->point < y->point ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static struct exemplars sort_exemplars(struct series_store *store)
{
	struct pending_exemplar *items = (struct pending_exemplar *)(void *)store->exemplars.ptr;
	size_t count = store->exemplars.len / sizeof(*items);
	if (count > 1)
		qsort(items, count, sizeof(*items), by_point);
	return (struct exemplars){items, count, 0};
}

/* The next point at or behind `point` that has exemplars; NONE. */
static uint32_t next_with_exemplars(struct exemplars *exemplars, uint32_t point)
{
	while (exemplars->at < exemplars->count && exemplars->items[exemplars->at].point < point)
		exemplars->at++;
	return exemplars->at < exemplars->count ? exemplars->items[exemplars->at].point : NONE;
}

static int emit_with_exemplars(struct ingest *in, const struct view *view, uint32_t number, uint8_t data,
	struct exemplars *exemplars, struct otlp_batch *batch)
{
	struct buf *record = &in->store->message, *list = &in->store->scratch;
	buf_reset(record);
	buf_reset(list);
	for (; exemplars->at < exemplars->count && exemplars->items[exemplars->at].point == number; exemplars->at++)
		buf_append(list, &exemplars->items[exemplars->at].exemplar, sizeof(struct otlp_exemplar));
	if (list->failed)
		return list->failed;
	int result = otlp_record_with_exemplars(record, (enum otlp_data)data, view_record(view, &view->points[number]),
		(const struct otlp_exemplar *)(const void *)list->ptr, list->len / sizeof(struct otlp_exemplar));
	return result < 0 ? result : otlp_batch_points(batch, buf_view(record), 1, in->t_min_ns, in->t_max_ns);
}

/* first..end are all produced. */
static int emit_run(struct ingest *in, const struct view *view, uint32_t first, uint32_t end, struct otlp_batch *batch)
{
	if (first == end)
		return 0;
	const struct point *last = &view->points[end - 1];
	struct span records = span_of(
		view->records + view->points[first].record, last->record + last->length - view->points[first].record);
	return otlp_batch_points(batch, records, end - first, in->t_min_ns, in->t_max_ns);
}

static int emit_metric(struct ingest *in, const struct view *view, const struct metric *metric,
	struct exemplars *exemplars, struct otlp_batch *batch)
{
	uint32_t first = metric->first_point, end = first + metric->point_count, run = first;
	bool all = in->alive == view->point_count && in->holes == 0;
	otlp_batch_metric(batch, view_text(view, metric->head), (enum otlp_data)metric->data);
	if (all && next_with_exemplars(exemplars, first) >= end)
		return emit_run(in, view, first, end, batch);
	int result = 0;
	for (uint32_t i = first; i < end && result == 0; i++) {
		const struct point *point = &view->points[i];
		bool produced = point->scrape == in->scrape && (point->flags & POINT_PRODUCED);
		bool special = produced && next_with_exemplars(exemplars, i) == i;
		if (produced && !special)
			continue;
		result = emit_run(in, view, run, i, batch);
		run = i + 1;
		if (special && result == 0)
			result = emit_with_exemplars(in, view, i, metric->data, exemplars, batch);
	}
	return result < 0 ? result : emit_run(in, view, run, end, batch);
}

static int emit_scope(struct ingest *in, const struct view *view, const struct scope *scope,
	struct exemplars *exemplars, struct otlp_batch *batch)
{
	int result = otlp_batch_scope(batch, view_text(view, scope->message), view_text(view, scope->schema_url));
	for (uint32_t i = 0; i < scope->metric_count && result == 0; i++)
		result = emit_metric(in, view, &view->metrics[scope->first_metric + i], exemplars, batch);
	return result;
}

int emit_points(struct ingest *in, const struct view *view, struct otlp_batch *batch)
{
	struct exemplars exemplars = sort_exemplars(in->store);
	int result = 0;
	for (uint32_t i = 0; i < view->resource_count && result == 0; i++) {
		const struct resource *resource = &view->resources[i];
		result = otlp_batch_resource(batch, view_text(view, resource->run));
		for (uint32_t j = 0; j < resource->scope_count && result == 0; j++)
			result = emit_scope(in, view, &view->scopes[resource->first_scope + j], &exemplars, batch);
	}
	otlp_batch_end(batch);
	return result;
}

/* ---- stale ------------------------------------------------------------------------------------------------- */

/* Announces the levels of a metric; the batch knows which of them are open already. */
static void open_metric(const struct view *view, const struct metric *metric, struct otlp_batch *batch)
{
	const struct scope *scope = &view->scopes[metric->scope];
	otlp_batch_resource(batch, view_text(view, view->resources[scope->resource].run));
	otlp_batch_scope(batch, view_text(view, scope->message), view_text(view, scope->schema_url));
	otlp_batch_metric(batch, view_text(view, metric->head), (enum otlp_data)metric->data);
}

int emit_stale(struct series_store *store, const struct view *view, uint32_t scrape, uint64_t time_ns,
	struct otlp_batch *batch, uint64_t *ret_count)
{
	struct buf *record = &store->message;
	uint32_t open = NONE;
	int result = 0;
	for (uint32_t i = 0; i < view->point_count && result == 0; i++) {
		const struct point *point = &view->points[i];
		const struct metric *metric = &view->metrics[point->metric];
		if (!(point->flags & POINT_EXPORTED) || point->scrape == scrape)
			continue;
		if (point->metric != open)
			open_metric(view, metric, batch);
		open = point->metric;
		buf_reset(record);
		result = otlp_flagged_record(record, (enum otlp_data)metric->data, view_record(view, point), time_ns);
		if (result == 0)
			result = otlp_batch_points(batch, buf_view(record), 1, time_ns, time_ns);
		*ret_count += result == 0;
	}
	otlp_batch_end(batch);
	return result;
}
