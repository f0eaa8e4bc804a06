/* Exemplars of OpenMetrics text (semantics 1.7, 2.8): read when their sample comes, added to the point when it is emitted. */
#include "ingest.h"

#include <errno.h>

/* exactly `size` bytes in hex, not all zero. Empty when the text is no such id. */
static struct span read_id(struct arena *arena, struct span text, size_t size)
{
	unsigned char *id = text.len == 2 * size ? arena_alloc(arena, size) : NULL;
	unsigned char any = 0;
	for (size_t i = 0; id && i < size; i++) {
		int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);
		if (high < 0 || low < 0)
			return SPAN_NONE;
		id[i] = (unsigned char)(high << 4 | low);
		any |= id[i];
	}
	return any ? span_of((const char *)id, size) : SPAN_NONE;
}

/* An empty id says nothing; any other label keeps its empty value, as the receiver's does. */
static int add_label(struct ingest *in, struct otlp_exemplar *exemplar, struct span name, struct span value)
{
	struct arena *arena = &in->store->exemplar_arena;
	bool trace = span_eq_nocase(name, SPAN("trace_id")), span = span_eq_nocase(name, SPAN("span_id"));
	struct span id = trace ? read_id(arena, value, 16) : span ? read_id(arena, value, 8) : SPAN_NONE;
	if (id.len > 0)
		*(trace ? &exemplar->trace_id : &exemplar->span_id) = id;
	bool is_said = id.len > 0 || ((trace || span) && value.len == 0);
	return is_said ? 0 : otlp_exemplar_attribute(&in->store->attributes, name, value);
}

static int read_labels(struct ingest *in, struct span rest, struct otlp_exemplar *exemplar)
{
	struct buf *attributes = &in->store->attributes, *name = &in->store->name, *value = &in->store->scratch;
	struct expo_text raw_name, raw_value;
	buf_reset(attributes);
	while (expo_label_next(in->parser.format, &rest, &raw_name, &raw_value) == 1) {
		buf_reset(name);
		buf_reset(value);
		if (expo_unescape(name, raw_name, false) < 0 || expo_unescape(value, raw_value, false) < 0 ||
			add_label(in, exemplar, buf_view(name), buf_view(value)) < 0)
			return -ENOMEM;
	}
	const char *copy = arena_spandup(&in->store->exemplar_arena, buf_view(attributes));
	exemplar->attributes = span_of(copy, attributes->len);
	return copy ? 0 : -ENOMEM;
}

int exemplar_add(struct ingest *in, uint32_t point, const struct expo_entry *entry, uint64_t sample_time_ns)
{
	struct buf *exemplars = &in->store->exemplars;
	struct pending_exemplar pending = {
		.point = point, .order = (uint32_t)(exemplars->len / sizeof(struct pending_exemplar))};
	pending.exemplar.value = entry->exemplar.value;
	pending.exemplar.time_ns = entry->exemplar.time_ms == EXPO_NO_TIME || entry->exemplar.time_ms < 0
					   ? sample_time_ns
					   : (uint64_t)entry->exemplar.time_ms * NS_PER_MS;
	int result = read_labels(in, entry->exemplar.labels, &pending.exemplar);
	return result < 0 ? result : buf_append(exemplars, &pending, sizeof(pending));
}
