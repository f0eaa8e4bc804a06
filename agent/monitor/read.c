#include "read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "grammar.h"

enum { REASON_BYTES_MAX = 320 };

/* ---- path -------------------------------------------------------------------------------- */

static size_t path_append(struct reader *reader, const char *text)
{
	size_t before = reader->path_len, room = sizeof(reader->path) - 1 - before, len = strlen(text);
	memcpy(reader->path + before, text, len < room ? len : room);
	path_pop(reader, before + (len < room ? len : room));
	return before;
}

size_t path_push(struct reader *reader, const char *name)
{
	size_t before = reader->path_len > 0 ? path_append(reader, ".") : 0;
	path_append(reader, escape_bytes(span_str(name)).text);
	return before;
}

size_t path_push_index(struct reader *reader, size_t index)
{
	char text[32];
	snprintf(text, sizeof(text), "[%zu]", index);
	return path_append(reader, text);
}

void path_pop(struct reader *reader, size_t len)
{
	reader->path_len = len;
	reader->path[len] = '\0';
}

const char *path_copy(struct reader *reader)
{
	return read_copy(reader, span_of(reader->path, reader->path_len));
}

/* ---- memory and findings ------------------------------------------------------------------- */

void *read_alloc(struct reader *reader, size_t size)
{
	void *memory = arena_alloc(&reader->monitor->arena, size);
	reader->no_memory = reader->no_memory || !memory;
	return memory;
}

const char *read_copy(struct reader *reader, struct span text)
{
	const char *copy = arena_spandup(&reader->monitor->arena, text);
	reader->no_memory = reader->no_memory || !copy;
	return copy;
}

static void add_finding(struct reader *reader, enum monitor_effect effect, const char *text)
{
	struct monitor *monitor = reader->monitor;
	if (!monitor->findings)
		monitor->findings = read_alloc(reader, MONITOR_FINDINGS_MAX * sizeof(*monitor->findings));
	/* Why nothing is scraped is never left out. */
	if (monitor->finding_count == MONITOR_FINDINGS_MAX &&
		effect > monitor->findings[MONITOR_FINDINGS_MAX - 1].effect)
		monitor->finding_count--;
	if (monitor->finding_count == MONITOR_FINDINGS_MAX)
		return;
	struct monitor_finding finding = {
		.effect = effect, .field = path_copy(reader), .reason = read_copy(reader, span_str(text))};
	if (!reader->no_memory)
		((struct monitor_finding *)monitor->findings)[monitor->finding_count++] = finding;
}

void find(struct reader *reader, enum monitor_effect effect, const char *reason, ...)
{
	char text[REASON_BYTES_MAX];
	va_list args;
	va_start(args, reason);
	vsnprintf(text, sizeof(text), reason, args);
	va_end(args);
	reader->refused = reader->refused || effect == MONITOR_ENDPOINT_REFUSED;
	reader->monitor->rejected = reader->monitor->rejected || effect == MONITOR_REJECTED;
	add_finding(reader, effect, text);
}

/* ---- objects ---------------------------------------------------------------------------------- */

bool read_is(struct reader *reader, const struct json *value, enum json_type type)
{
	if (value->type == type)
		return true;
	find(reader, MONITOR_REJECTED, "is of type %s, %s is expected", json_type_name(value->type),
		json_type_name(type));
	return false;
}

static const struct field *find_field(const struct field *fields, struct span name)
{
	while (fields->name && !span_eq(span_str(fields->name), name))
		fields++;
	return fields->name ? fields : NULL;
}

void read_fields(struct reader *reader, const struct json *object, const struct field *fields, void *into)
{
	if (!object || !read_is(reader, object, JSON_OBJECT))
		return;
	for (size_t i = 0; i < object->count && !reader->no_memory; i++) {
		const struct field *field = find_field(fields, object->keys[i]);
		const char *name = field ? field->name : read_copy(reader, object->keys[i]);
		if (!name || object->items[i].type == JSON_NULL)
			continue;
		size_t path = path_push(reader, name);
		if (field)
			field->read(reader, field, &object->items[i], into);
		else
			find(reader, MONITOR_IGNORED, "is not known to this version");
		path_pop(reader, path);
	}
}

const char *read_string(struct reader *reader, const struct json *value)
{
	if (!read_is(reader, value, JSON_STRING))
		return NULL;
	if (value->text.len > 0 && memchr(value->text.ptr, '\0', value->text.len)) {
		find(reader, MONITOR_REJECTED, "holds a NUL byte");
		return NULL;
	}
	return read_copy(reader, value->text);
}

/* ---- fields --------------------------------------------------------------------------------------- */

#define AT(type, into, field) ((type *)(void *)((char *)(into) + (field)->offset))

void field_text(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	*AT(const char *, into, field) = read_string(reader, value);
}

void field_flag(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	if (read_is(reader, value, JSON_BOOL))
		*AT(bool, into, field) = value->boolean;
}

void field_count(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	if (read_is(reader, value, JSON_NUMBER) && span_to_u64(value->text, AT(uint64_t, into, field)) < 0)
		find(reader, MONITOR_REJECTED, "`%s` is not a whole number from 0 on", escape_bytes(value->text).text);
}

void field_texts(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	struct option_strings *texts = AT(struct option_strings, into, field);
	if (!read_is(reader, value, JSON_ARRAY))
		return;
	*texts = (struct option_strings){.items = read_alloc(reader, value->count * sizeof(*texts->items))};
	for (size_t i = 0; texts->items && i < value->count; i++) {
		size_t path = path_push_index(reader, i);
		const char *text = read_string(reader, &value->items[i]);
		path_pop(reader, path);
		if (text)
			texts->items[texts->count++] = text;
	}
}

/* {name: [values]}, by name. */
void field_lists(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	struct option_lists *lists = AT(struct option_lists, into, field);
	const struct field values = {.offset = offsetof(struct option_list, values)};
	if (!read_is(reader, value, JSON_OBJECT))
		return;
	*lists = (struct option_lists){.items = read_alloc(reader, value->count * sizeof(*lists->items))};
	for (size_t i = 0; lists->items && i < value->count; i++) {
		struct option_list list = {.name = read_copy(reader, value->keys[i])};
		if (!list.name || value->items[i].type == JSON_NULL)
			continue;
		size_t path = path_push(reader, list.name);
		if (list.name[0] == '\0' || strlen(list.name) != value->keys[i].len)
			find(reader, MONITOR_REJECTED, "is not a name");
		field_texts(reader, &values, &value->items[i], &list);
		path_pop(reader, path);
		lists->items[lists->count++] = list;
	}
}

void field_duration(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	if (read_is(reader, value, JSON_STRING) && grammar_duration(value->text, AT(uint64_t, into, field)) < 0)
		find(reader, MONITOR_REJECTED, "`%s` is not a duration", escape_bytes(value->text).text);
}

void field_bytes(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	if (read_is(reader, value, JSON_STRING) && grammar_byte_size(value->text, AT(uint64_t, into, field)) < 0)
		find(reader, MONITOR_REJECTED, "`%s` is not a size such as 10MB", escape_bytes(value->text).text);
}

void field_json(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	(void)reader;
	*AT(const struct json *, into, field) = value;
}

void field_object(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	read_fields(reader, value, field->fields, (char *)into + field->offset);
}

void field_skip(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	(void)reader, (void)field, (void)value, (void)into;
}

void field_protocol(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	const char *name = read_string(reader, value);
	struct error err;
	if (name && strcmp(name, "PrometheusProto") == 0)
		find(reader, MONITOR_IGNORED, "the protobuf format is not read");
	else if (name && target_check_protocol(name, &err) < 0)
		find(reader, MONITOR_REJECTED, "%s", err.text);
	else
		*AT(const char *, into, field) = name;
}

/* ---- fields that are not honoured --------------------------------------------------------------------- */

static bool asks_for_nothing(const struct json *value)
{
	switch (value->type) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return !value->boolean;
	case JSON_NUMBER:
		return span_eq(value->text, SPAN("0"));
	case JSON_STRING:
		return value->text.len == 0;
	case JSON_ARRAY:
	case JSON_OBJECT:
		return value->count == 0;
	}
	return false;
}

static void not_honoured(
	struct reader *reader, const struct field *field, const struct json *value, enum monitor_effect effect)
{
	if (!asks_for_nothing(value))
		find(reader, effect, "%s", field->reason);
}

void field_ignored(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	(void)into;
	not_honoured(reader, field, value, MONITOR_IGNORED);
}

void field_refused(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	(void)into;
	not_honoured(reader, field, value, MONITOR_ENDPOINT_REFUSED);
}

void field_rejected(struct reader *reader, const struct field *field, const struct json *value, void *into)
{
	(void)into;
	not_honoured(reader, field, value, MONITOR_REJECTED);
}
