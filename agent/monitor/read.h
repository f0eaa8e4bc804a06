/* Reading an object of the API by a table of its fields: each field is read into a struct, or says why it is not honoured.
 * A field that is in no table is a finding, too, so that no half of an object is silent. */
#pragma once

#include "gleaner/monitor.h"

enum { NO_ENDPOINT = -1 };

struct reader {
	struct monitor *monitor; /* gets the findings; its arena all copies */
	bool refused;            /* the endpoint at hand */
	bool no_memory;          /* sticky */
	size_t regex_cost;       /* relabel_cost of all rules so far */
	char path[256];          /* "spec.endpoints[0]" */
	size_t path_len;
};

struct field {
	const char *name; /* NULL ends a table */
	/* value is never null. May be called through a pointer to `into`'s struct only. */
	void (*read)(struct reader *reader, const struct field *field, const struct json *value, void *into);
	size_t offset;              /* in `into` */
	const char *reason;         /* why it is not honoured */
	const struct field *fields; /* of an object */
	int tag;                    /* for `read` */
};
#define FIELD(name_, read_, type, member)                                                                              \
	{                                                                                                              \
		.name = name_, .read = read_, .offset = offsetof(type, member)                                         \
	}
#define NOT_HONOURED(name_, read_, why)                                                                                \
	{                                                                                                              \
		.name = name_, .read = read_, .reason = why                                                            \
	}

/* Adds to the path for as long as an inner value is read; path_pop gets what path_push returned. */
size_t path_push(struct reader *reader, const char *name);
size_t path_push_index(struct reader *reader, size_t index);
void path_pop(struct reader *reader, size_t len);
const char *path_copy(struct reader *reader);

/* A finding about what the path names. MONITOR_ENDPOINT_REFUSED refuses the endpoint at hand. */
void find(struct reader *reader, enum monitor_effect effect, const char *reason, ...) GLEANER_PRINTF(3, 4);

/* Copies; NULL and reader->no_memory when there is none. */
void *read_alloc(struct reader *reader, size_t size);
const char *read_copy(struct reader *reader, struct span text);

/* All members of an object; a value of another type rejects the object. */
void read_fields(struct reader *reader, const struct json *object, const struct field *fields, void *into);
/* Whether the value has this type; if not, the monitor is rejected: the API server would not have let it in. */
bool read_is(struct reader *reader, const struct json *value, enum json_type type);
/* A string without NUL, copied; NULL after a finding. */
const char *read_string(struct reader *reader, const struct json *value);

/* For tables. Where the type in the comment is what `offset` points to. */
void field_text(struct reader *, const struct field *, const struct json *, void *);     /* const char * */
void field_flag(struct reader *, const struct field *, const struct json *, void *);     /* bool */
void field_count(struct reader *, const struct field *, const struct json *, void *);    /* uint64_t */
void field_texts(struct reader *, const struct field *, const struct json *, void *);    /* struct option_strings */
void field_lists(struct reader *, const struct field *, const struct json *, void *);    /* struct option_lists */
void field_duration(struct reader *, const struct field *, const struct json *, void *); /* uint64_t ns */
void field_bytes(struct reader *, const struct field *, const struct json *, void *);    /* uint64_t */
void field_json(struct reader *, const struct field *, const struct json *, void *);     /* const struct json * */
void field_object(struct reader *, const struct field *, const struct json *, void *);   /* a struct, by `fields` */
void field_skip(struct reader *, const struct field *, const struct json *, void *); /* nothing to do, nothing to say */
void field_protocol(struct reader *, const struct field *, const struct json *, void *); /* const char * */
/* Findings with the field's reason, unless the value asks for nothing: false, 0, "", empty. */
void field_ignored(struct reader *, const struct field *, const struct json *, void *);
void field_refused(struct reader *, const struct field *, const struct json *, void *); /* the endpoint */
void field_rejected(struct reader *, const struct field *, const struct json *, void *);

/* selector.c: a LabelSelector of an object. Invalid: a finding that rejects. */
void read_selector(struct reader *reader, const struct json *object, struct monitor_selector *ret_selector);
/* Of the configuration. 0, -ENOMEM. */
int selector_of_options(
	struct arena *arena, const struct monitor_selector_options *options, struct monitor_selector *ret_selector);

/* service.c: a map of strings as labels, sorted, empty values kept, `without` left out. */
int labels_of_json(struct arena *arena, const struct json *object, struct span without, struct labels *ret_labels);
/* A hash of a value, names and all; NULL has one, too. */
uint64_t json_hash(const struct json *value, uint64_t seed);
