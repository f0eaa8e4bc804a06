/* Histograms and summaries: the values of their members become points when the body is read.
 *
 * Members stand in the order of their points, a point's in the order of kinds and bounds, so that one walk does it. A record
 * has a place for each bound and for the sum of its shape; when another set of members has values than the record was encoded
 * for, it is encoded anew (semantics 1.3, 1.6, R-44, R-45, R-50, Q-4).
 */
#include "ingest.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct group {
	uint32_t first, end; /* members */
	uint32_t point;
	uint8_t data;
	bool seen, reshaped; /* seen: any but the start time */
	bool has_count, has_sum;
	double count, sum;
	uint64_t start_ns;
};

/* ---- order of members --------------------------------------------------------------------------- */

struct sorted_member {
	struct member member;
	double value;
	uint32_t number;
};

static int by_place(const void *a, const void *b)
{
	const struct member *x = &((const struct sorted_member *)a)->member,
			    *y = &((const struct sorted_member *)b)->member;
	if (x->point != y->point)
		return x->point < y->point ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->bound < y->bound ? -1 : x->bound > y->bound;
}

static bool is_sorted(const struct view *view)
{
	for (uint32_t i = 1; i < view->member_count; i++) {
		struct sorted_member before = {.member = view->members[i - 1]}, here = {.member = view->members[i]};
		if (by_place(&before, &here) > 0)
			return false;
	}
	return true;
}

/* New members stand behind the old ones: sorts all and tells the lines their new numbers. */
static int sort_members(struct ingest *in)
{
	struct view *view = &in->view;
	uint32_t count = view->member_count;
	if (is_sorted(view))
		return 0;
	struct sorted_member *sorted = malloc(count * sizeof(*sorted));
	uint32_t *place = malloc(count * sizeof(*place));
	if (sorted && place) {
		for (uint32_t i = 0; i < count; i++)
			sorted[i] = (struct sorted_member){view->members[i], in_values(in)[i], i};
		qsort(sorted, count, sizeof(*sorted), by_place);
		for (uint32_t i = 0; i < count; i++) {
			view->members[i] = sorted[i].member;
			in_values(in)[i] = sorted[i].value;
			place[sorted[i].number] = i;
		}
		for (uint32_t i = 0; i < view->line_count; i++) {
			if (view->lines[i].role == ROLE_MEMBER)
				view->lines[i].ref = place[view->lines[i].ref];
		}
	}
	int result = sorted && place ? 0 : -ENOMEM;
	free(sorted);
	free(place);
	return result;
}

/* ---- one group --------------------------------------------------------------------------------------- */

/* Whether a member has a place in the record. A histogram's +Inf bucket is the rest of its count. */
static bool has_place(const struct member *member, uint8_t data)
{
	return (member->kind == MEMBER_BOUND && (data == OTLP_SUMMARY || member->bound != INFINITY)) ||
	       (member->kind == MEMBER_SUM && data == OTLP_HISTOGRAM);
}

static struct group read_group(const struct ingest *in, uint32_t first)
{
	const struct member *members = in->view.members;
	const double *values = in_values(in);
	struct group group = {.first = first, .end = first, .point = members[first].point};
	group.data = in->view.metrics[in->view.points[group.point].metric].data;
	group.reshaped = in->view.points[group.point].flags & POINT_MISSHAPEN;
	for (; group.end < in->view.member_count && members[group.end].point == group.point; group.end++) {
		const struct member *member = &members[group.end];
		double value = values[group.end];
		bool here = !is_absent(value);
		group.seen |= here && member->kind != MEMBER_START;
		group.reshaped |= has_place(member, group.data) && member->encoded != here;
		if (!here || member->kind == MEMBER_BOUND)
			continue;
		if (member->kind == MEMBER_COUNT) {
			group.has_count = true;
			group.count = value;
		} else if (member->kind == MEMBER_SUM) {
			group.has_sum = true;
			group.sum = value;
		} else {
			group.start_ns = start_ns(value);
		}
	}
	return group;
}

/* What uint64_t can hold after truncation. */
static bool is_count(double value)
{
	return value >= 0 && value < 18446744073709551616.0;
}

/* Room for a bound and a count of each member, and the rest of the count. */
static int make_room(struct ingest *in, const struct group *group)
{
	size_t bytes = (group->end - group->first + 1) * sizeof(uint64_t);
	buf_reset(&in->store->bounds);
	buf_reset(&in->store->counts);
	return buf_reserve(&in->store->bounds, bytes) && buf_reserve(&in->store->counts, bytes) ? 0 : -ENOMEM;
}

/* A double or uint64_t, for which there is room. */
static inline void put(struct buf *buf, const void *item)
{
	memcpy(buf->ptr + buf->len, item, sizeof(uint64_t));
	buf->len += sizeof(uint64_t);
}

/* Fills store->counts with the buckets' own counts, the last one being what is left of the count. False: R-44. */
static bool read_counts(struct ingest *in, const struct group *group)
{
	struct buf *counts = &in->store->counts;
	if (!is_count(group->count))
		return false;
	uint64_t below = 0, total = (uint64_t)group->count;
	double last = 0;
	for (uint32_t i = group->first; i < group->end; i++) {
		double value = in_values(in)[i];
		if (in->view.members[i].kind != MEMBER_BOUND || !has_place(&in->view.members[i], group->data) ||
			is_absent(value))
			continue;
		if (!is_count(value) || value < last || value > group->count)
			return false;
		uint64_t own = (uint64_t)value - below;
		put(counts, &own);
		below = (uint64_t)value;
		last = value;
	}
	uint64_t rest = total - below;
	put(counts, &rest);
	return true;
}

/* Fills store->bounds with the bounds, or store->counts with the values, of the quantiles that are here. */
static void read_bounds(struct ingest *in, const struct group *group)
{
	struct buf *bounds = &in->store->bounds, *values = &in->store->counts;
	for (uint32_t i = group->first; i < group->end; i++) {
		const struct member *member = &in->view.members[i];
		double value = in_values(in)[i];
		if (member->kind != MEMBER_BOUND || !has_place(member, group->data) || is_absent(value))
			continue;
		put(bounds, &member->bound);
		if (group->data == OTLP_SUMMARY)
			put(values, &value);
	}
}

static int encode_record(struct ingest *in, const struct group *group)
{
	int result = draft_open(in);
	if (result < 0)
		return result;
	struct buf *records = &in->store->draft.part[PART_RECORDS], *attributes = &in->store->attributes;
	struct point *point = &in->view.points[group->point];
	size_t start = records->len, bounds_count = in->store->bounds.len / sizeof(double);
	const double *bounds = (const double *)(const void *)in->store->bounds.ptr;
	buf_reset(attributes);
	buf_span(attributes, view_attributes(&in->view, point)); /* records may move */
	if (attributes->failed)
		return attributes->failed;
	result = group->data == OTLP_HISTOGRAM
			 ? otlp_histogram_record(records, buf_view(attributes), bounds, bounds_count, group->has_sum)
			 : otlp_summary_record(records, buf_view(attributes), bounds, bounds_count);
	if (result < 0)
		return result;
	point->record = (uint32_t)start;
	point->length = (uint32_t)(records->len - start);
	for (uint32_t i = group->first; i < group->end; i++)
		in->view.members[i].encoded =
			has_place(&in->view.members[i], group->data) && !is_absent(in_values(in)[i]);
	in->view = tables_view(&in->store->draft);
	in->changed = true;
	return 0;
}

static void patch_record(struct ingest *in, const struct group *group, uint64_t time_ns)
{
	const struct buf *counts = &in->store->counts;
	char *end = view_record_end(&in->view, &in->view.points[group->point]);
	if (group->data == OTLP_HISTOGRAM)
		otlp_histogram_patch(end, group->start_ns, time_ns, (uint64_t)group->count, group->sum, group->has_sum,
			(const uint64_t *)(const void *)counts->ptr, counts->len / sizeof(uint64_t));
	else
		otlp_summary_patch(end, group->start_ns, time_ns, (uint64_t)group->count, group->sum,
			(const double *)(const void *)counts->ptr, counts->len / sizeof(double));
}

static int produce(struct ingest *in, const struct group *group)
{
	const struct buf *times = &in->store->point_times;
	uint64_t time_ns = in->time_ns;
	if (in->timestamps && times->len > group->point * sizeof(time_ns))
		memcpy(&time_ns, times->ptr + group->point * sizeof(time_ns), sizeof(time_ns));
	int result = group->reshaped ? encode_record(in, group) : 0;
	if (result < 0)
		return result;
	patch_record(in, group, time_ns);
	in_widen(in, time_ns);
	struct point *point = &in->view.points[group->point];
	uint8_t flags = (uint8_t)((point->flags & POINT_EXPORTED) | POINT_PRODUCED |
				  (is_tracked(in, time_ns) ? POINT_TRACKED : 0));
	point->flags = flags;
	in->reflag |= !(flags & POINT_EXPORTED) != !(flags & POINT_TRACKED);
	return 0;
}

static int settle(struct ingest *in, const struct group *group)
{
	struct point *point = &in->view.points[group->point];
	enum series_drop reason = group->data == OTLP_HISTOGRAM ? SERIES_DROP_BAD_HISTOGRAM : SERIES_DROP_BAD_SUMMARY;
	if (!group->has_count) { /* it is gone, or never was */
		if (group->seen)
			in_drop(in, reason);
		return 0;
	}
	point->scrape = in->scrape;
	in->alive++;
	if (make_room(in, group) < 0)
		return -ENOMEM;
	bool good = group->data == OTLP_HISTOGRAM ? read_counts(in, group) : is_count(group->count);
	if (!good) {
		point->flags &= (uint8_t)~POINT_PRODUCED;
		in->holes++;
		in_drop(in, reason);
		return 0;
	}
	if (group->reshaped || group->data == OTLP_SUMMARY)
		read_bounds(in, group);
	return produce(in, group);
}

int groups_settle(struct ingest *in)
{
	int result = in->drafted ? sort_members(in) : 0;
	for (uint32_t i = 0; i < in->view.member_count && result == 0;) {
		struct group group = read_group(in, i);
		result = settle(in, &group);
		i = group.end;
	}
	return result;
}
