/* A sample of a known line to its place: the number record, the member's value, the start time.
 *
 * The plain case (no timestamp of its own, no exemplar, first of its point in this scrape, as exported last time) is two
 * stores; the rest stands below it: explicit timestamps (R-54, R-56, D-12), repeated series, exemplars.
 */
#include "ingest.h"

#include <errno.h>
#include <math.h>

static const uint64_t ahead_max_ns = 600 * NS_PER_SEC; /* */

uint64_t start_ns(double seconds)
{
	if (!(seconds > 0) || seconds >= 9223372036.0)
		return 0;
	double whole = floor(seconds);
	return (uint64_t)whole * NS_PER_SEC +
	       (uint64_t)((seconds - whole) * 1e9); /* cut, not rounded, as the receiver */
}

static bool is_plain(const struct expo_entry *entry)
{
	return entry->time_ms == EXPO_NO_TIME && !entry->has_exemplar;
}

/* ---- timestamps ------------------------------------------------------------------------------ */

static bool has_own_time(const struct ingest *in, const struct expo_entry *entry)
{
	return entry->time_ms != EXPO_NO_TIME && in->target->honor_timestamps;
}

/* SERIES_DROP_COUNT: the time is good. */
static enum series_drop time_of(const struct ingest *in, const struct expo_entry *entry, uint64_t *ret_time_ns)
{
	*ret_time_ns = in->time_ns;
	if (!has_own_time(in, entry))
		return SERIES_DROP_COUNT;
	if (entry->time_ms < 0)
		return SERIES_DROP_PRE_EPOCH;
	if ((uint64_t)entry->time_ms > (in->time_ns + ahead_max_ns) / NS_PER_MS)
		return SERIES_DROP_TOO_FAR_AHEAD;
	*ret_time_ns = (uint64_t)entry->time_ms * NS_PER_MS;
	return SERIES_DROP_COUNT;
}

/* Times of all points so far; makes room for new points. NULL: no memory. */
static uint64_t *point_times(struct ingest *in)
{
	struct buf *times = &in->store->point_times;
	size_t need = in->view.point_count * sizeof(uint64_t);
	if (times->len < need) {
		char *more = buf_reserve(times, need - times->len);
		if (!more)
			return NULL;
		memset(more, 0, need - times->len);
		times->len = need;
	}
	return (uint64_t *)(void *)times->ptr;
}

/* The first explicit timestamp of the body: from here on the time of each histogram and summary is kept. */
static int begin_timestamps(struct ingest *in)
{
	in->timestamps = true;
	buf_reset(&in->store->point_times);
	uint64_t *times = point_times(in);
	if (!times)
		return -ENOMEM;
	for (uint32_t i = 0; i < in->view.member_count; i++) {
		if (!is_absent(in_values(in)[i]))
			times[in->view.members[i].point] = in->time_ns;
	}
	return 0;
}

bool is_tracked(const struct ingest *in, uint64_t time_ns)
{
	return time_ns == in->time_ns || in->target->track_timestamps_staleness;
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* The layout is otlp.h's: a number record ends 11 start, 19 time, 21 value. The start stays as it is. */
static void patch_number(char *end, uint64_t time_ns, double value)
{
	otlp_store64(end - 17, time_ns);
	memcpy(end - 8, &value, sizeof(value));
}

static uint64_t number_time(const char *end)
{
	uint64_t time_ns;
	memcpy(&time_ns, end - 17, sizeof(time_ns));
	return time_ns;
}

/* First sight of the point in this scrape; it counts as a hole until it has a value. */
static void see(struct ingest *in, struct point *point)
{
	if (point->scrape == in->scrape)
		return;
	point->scrape = in->scrape;
	point->flags &= (uint8_t)~POINT_PRODUCED;
	in->alive++;
	in->holes++;
}

static int take_value_slowly(struct ingest *in, uint32_t number, const struct expo_entry *entry, bool again)
{
	struct point *point = &in->view.points[number];
	char *end = view_record_end(&in->view, point);
	uint64_t time_ns;
	enum series_drop drop = time_of(in, entry, &time_ns);
	see(in, point);
	bool second = point->flags & POINT_PRODUCED;
	if (drop == SERIES_DROP_COUNT && second && number_time(end) != time_ns)
		drop = SERIES_DROP_TIMESTAMP;
	else if (drop == SERIES_DROP_COUNT && second && again)
		drop = SERIES_DROP_DUPLICATE;
	if (drop != SERIES_DROP_COUNT) {
		in_drop(in, drop);
		return 0;
	}
	if (second)
		in_drop(in, SERIES_DROP_DUPLICATE); /* the value that was there */
	else
		in->holes--;
	patch_number(end, time_ns, entry->value);
	in_widen(in, time_ns);
	point->flags = (uint8_t)((point->flags & POINT_EXPORTED) | POINT_PRODUCED |
				 (is_tracked(in, time_ns) ? POINT_TRACKED : 0));
	in->reflag |= !(point->flags & POINT_EXPORTED) != !(point->flags & POINT_TRACKED);
	return entry->has_exemplar ? exemplar_add(in, number, entry, time_ns) : 0;
}

static int take_value(struct ingest *in, uint32_t number, const struct expo_entry *entry, bool again)
{
	struct point *point = &in->view.points[number];
	if (!is_plain(entry) || point->scrape == in->scrape || point->flags != POINT_LIVE)
		return take_value_slowly(in, number, entry, again);
	patch_number(view_record_end(&in->view, point), in->time_ns, entry->value);
	point->scrape = in->scrape;
	in->alive++;
	return 0;
}

static void take_start(struct ingest *in, uint32_t number, const struct expo_entry *entry)
{
	uint64_t time_ns;
	enum series_drop drop = time_of(in, entry, &time_ns);
	if (drop != SERIES_DROP_COUNT) {
		in_drop(in, drop);
		return;
	}
	struct point *point = &in->view.points[number];
	/* a gauge has no start. */
	bool starts = in->view.metrics[point->metric].data != OTLP_GAUGE;
	otlp_store64(view_record_end(&in->view, point) - 26, starts ? start_ns(entry->value) : 0);
}

/* ---- histograms and summaries ------------------------------------------------------------------ */

/* SERIES_DROP_COUNT: the sample belongs to the point's moment. */
static enum series_drop join_group(struct ingest *in, uint32_t point, const struct expo_entry *entry, uint64_t *times)
{
	uint64_t time_ns;
	enum series_drop drop = time_of(in, entry, &time_ns);
	if (drop != SERIES_DROP_COUNT)
		return drop;
	if (times && times[point] == 0)
		times[point] = time_ns;
	return times && times[point] != time_ns ? SERIES_DROP_TIMESTAMP : SERIES_DROP_COUNT;
}

static int take_member_slowly(struct ingest *in, uint32_t number, const struct expo_entry *entry, bool again)
{
	const struct member *member = &in->view.members[number];
	uint64_t *times = NULL;
	if (!in->timestamps && has_own_time(in, entry) && begin_timestamps(in) < 0)
		return -ENOMEM;
	if (in->timestamps && !(times = point_times(in)))
		return -ENOMEM;
	enum series_drop drop = join_group(in, member->point, entry, times);
	double *value = &in_values(in)[number];
	bool second = !is_absent(*value);
	uint8_t data = in->view.metrics[in->view.points[member->point].metric].data;
	/* of a repeated bound the first stays, of all else the last. */
	if (drop == SERIES_DROP_COUNT && second && (again || (data == OTLP_HISTOGRAM && member->kind == MEMBER_BOUND)))
		drop = SERIES_DROP_DUPLICATE;
	if (drop != SERIES_DROP_COUNT) {
		in_drop(in, drop);
		return 0;
	}
	if (second)
		in_drop(in, SERIES_DROP_DUPLICATE);
	*value = entry->value;
	if (!entry->has_exemplar || data == OTLP_SUMMARY)
		return 0;
	return exemplar_add(in, member->point, entry, times ? times[member->point] : in->time_ns);
}

static int take_member(struct ingest *in, uint32_t number, const struct expo_entry *entry, bool again)
{
	double *value = &in_values(in)[number];
	if (!is_plain(entry) || in->timestamps || !is_absent(*value))
		return take_member_slowly(in, number, entry, again);
	*value = entry->value;
	return 0;
}

/* ---- all ------------------------------------------------------------------------------------------ */

int take_sample(struct ingest *in, uint32_t number, const struct expo_entry *entry)
{
	const struct line *line = &in->view.lines[number];
	bool again = in_seen(in)[number];
	in_seen(in)[number] = 1;
	in->lines_seen += !again;
	in->result->samples_kept += line->role != ROLE_DROPPED;
	switch (line->role) {
	case ROLE_VALUE:
		return take_value(in, line->ref, entry, again);
	case ROLE_MEMBER:
		return take_member(in, line->ref, entry, again);
	case ROLE_START:
		take_start(in, line->ref, entry);
		return 0;
	case ROLE_IGNORED:
		in_drop(in, (enum series_drop)line->ref);
		return 0;
	default: /* dropped, target_info: nothing to keep */
		return 0;
	}
}
