/* Label sets: a sorted array, searched by halves. */
#include "gleaner/base.h"

#include <errno.h>

/* Index of the first label whose name is not below `name`. */
static size_t labels_lower_bound(const struct label *items, size_t count, struct span name)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (span_cmp(items[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct span labels_get(struct labels labels, struct span name)
{
	size_t at = labels_lower_bound(labels.items, labels.count, name);
	if (at < labels.count && span_eq(labels.items[at].name, name))
		return labels.items[at].value;
	return SPAN_NONE;
}

void labels_builder_init(struct labels_builder *builder, struct arena *arena)
{
	*builder = (struct labels_builder){.arena = arena};
}

static int labels_grow(struct labels_builder *builder)
{
	size_t cap = builder->cap ? builder->cap * 2 : 16;
	struct label *items = arena_alloc(builder->arena, cap * sizeof(*items));
	if (!items)
		return builder->failed = -ENOMEM;
	if (builder->count > 0)
		memcpy(items, builder->items, builder->count * sizeof(*items));
	builder->items = items;
	builder->cap = cap;
	return 0;
}

int labels_set_borrowed(struct labels_builder *builder, struct span name, struct span value)
{
	if (builder->failed)
		return builder->failed;
	if (value.len == 0) {
		labels_delete(builder, name);
		return 0;
	}
	size_t at = labels_lower_bound(builder->items, builder->count, name);
	if (at < builder->count && span_eq(builder->items[at].name, name)) {
		builder->items[at].value = value;
		return 0;
	}
	if (builder->count == builder->cap && labels_grow(builder) < 0)
		return builder->failed;
	memmove(builder->items + at + 1, builder->items + at, (builder->count - at) * sizeof(*builder->items));
	builder->items[at] = (struct label){name, value};
	builder->count++;
	return 0;
}

int labels_set(struct labels_builder *builder, struct span name, struct span value)
{
	if (builder->failed)
		return builder->failed;
	if (value.len == 0) {
		labels_delete(builder, name);
		return 0;
	}
	const char *name_copy = arena_spandup(builder->arena, name), *value_copy = arena_spandup(builder->arena, value);
	if (!name_copy || !value_copy)
		return builder->failed = -ENOMEM;
	return labels_set_borrowed(builder, span_of(name_copy, name.len), span_of(value_copy, value.len));
}

void labels_delete(struct labels_builder *builder, struct span name)
{
	size_t at = labels_lower_bound(builder->items, builder->count, name);
	if (at >= builder->count || !span_eq(builder->items[at].name, name))
		return;
	builder->count--;
	memmove(builder->items + at, builder->items + at + 1, (builder->count - at) * sizeof(*builder->items));
}

struct span labels_builder_get(const struct labels_builder *builder, struct span name)
{
	return labels_get(labels_builder_view(builder), name);
}

struct labels labels_builder_view(const struct labels_builder *builder)
{
	return (struct labels){builder->items, builder->count};
}

int labels_copy(struct arena *arena, struct labels labels, struct labels *ret_copy)
{
	struct label *items = arena_alloc(arena, labels.count * sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < labels.count; i++) {
		const struct label *from = &labels.items[i];
		items[i].name = span_of(arena_spandup(arena, from->name), from->name.len);
		items[i].value = span_of(arena_spandup(arena, from->value), from->value.len);
		if (!items[i].name.ptr || !items[i].value.ptr)
			return -ENOMEM;
	}
	*ret_copy = (struct labels){items, labels.count};
	return 0;
}

int buf_labels(struct buf *buf, struct labels labels)
{
	buf_char(buf, '{');
	for (size_t i = 0; i < labels.count; i++) {
		buf_str(buf, i ? ", " : "");
		buf_span(buf, labels.items[i].name);
		buf_str(buf, "=\"");
		for (size_t j = 0; j < labels.items[i].value.len; j++) {
			char c = labels.items[i].value.ptr[j];
			if (c == '\\' || c == '"' || c == '\n')
				buf_char(buf, '\\');
			buf_char(buf, c == '\n' ? 'n' : c);
		}
		buf_char(buf, '"');
	}
	return buf_char(buf, '}');
}

struct span label_name_sanitised(struct arena *arena, struct span prefix, struct span name)
{
	char *text = arena_alloc(arena, prefix.len + name.len + 1);
	if (!text)
		return SPAN_NONE;
	size_t len = prefix.len;
	if (len > 0)
		memcpy(text, prefix.ptr, len);
	for (size_t at = 0; at < name.len;) {
		char c = name.ptr[at];
		bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
		size_t width = span_utf8_length(span_of(name.ptr + at, name.len - at));
		text[len++] = fine ? c : '_';
		at += width ? width : 1;
	}
	return span_of(text, len);
}
