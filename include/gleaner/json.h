/* json: JSON as a tree, or as a stream of events. yajl lives here and nowhere else.
 *
 * For what Kubernetes' API sends, hostile until proven otherwise. The tree is for
 * objects: whole texts of some KiB to some MiB; it lies in the caller's arena, strings
 * are unescaped there. The stream is for lists of which little is wanted. No error
 * quotes the text: it may hold other people's secrets.
 */
#pragma once

#include "gleaner/base.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
const char *json_type_name(enum json_type type);

struct json {
	enum json_type type;
	bool boolean;
	struct span text; /* JSON_STRING: UTF-8, unescaped; JSON_NUMBER: as written */
	size_t count;     /* of an array or object */
	const struct json *items;
	const struct span
		*keys; /* of an object, in the order of the text; of a key written twice the last one counts */
};

enum { JSON_DEPTH_MAX = 64 };

/* One JSON value with nothing behind it but white space. NaN, comments, trailing commas and invalid UTF-8 are errors; of a
 * surrogate without its other half a question mark is left.
 *   returns  0; -EBADMSG with err (byte offset and cause, never a byte of the text), -ENOMEM (also: the arena's ceiling)
 *   cost     about 10 ns a byte; memory about twice the text for objects of Kubernetes, at worst 24 times */
int json_parse(struct arena *arena, struct span text, const struct json **ret_json, struct error *err);

/* Member of an object; NULL when absent, when it is null, or when object is NULL or no object: look-ups can be chained. */
const struct json *json_get(const struct json *object, const char *key);
/* json_get for "metadata.labels": names without dots in them. */
const struct json *json_path(const struct json *object, const char *path);
/* Text of a string member; `otherwise` when absent or no string. */
struct span json_string(const struct json *object, const char *key, struct span otherwise);
/* A number that is an integer within the range, written without fraction and exponent. 1; 0 absent; -EINVAL anything else. */
int json_integer(const struct json *object, const char *key, int64_t min, int64_t max, int64_t *ret_value);
/* true or false; `otherwise` when absent or no boolean. */
bool json_boolean(const struct json *object, const char *key, bool otherwise);

/* ---- a stream of events ------------------------------------------------------------ */

/* Texts die with the call. false ends the parse; whoever returned it knows why. All must be set. */
struct json_events {
	bool (*begin)(void *arg, enum json_type type); /* JSON_OBJECT, JSON_ARRAY; at most JSON_DEPTH_MAX are open */
	bool (*end)(void *arg, enum json_type type);
	bool (*key)(void *arg, struct span key);
	bool (*string)(void *arg, struct span text);
	bool (*number)(void *arg, struct span text); /* as written: no integer is too large */
	bool (*boolean)(void *arg, bool value);
	bool (*null)(void *arg);
	void *arg;
};

/* One JSON value in pieces of any size; small ones wait for each other, so events come late. */
struct json_stream;
int json_stream_new(struct json_events events, size_t max_bytes, struct json_stream **ret_stream);
void json_stream_free(struct json_stream *stream); /* NULL is fine */
/* Both: 0; -EBADMSG, -EMSGSIZE (more than max_bytes), -ENOMEM, -ECANCELED (an event returned false). The first failure stays. */
int json_stream_feed(struct json_stream *stream, struct span piece, struct error *err);
/* The text is complete: the remaining events come. */
int json_stream_end(struct json_stream *stream, struct error *err);

/* ---- between the two ------------------------------------------------------------------ */

/* Events -> trees: for those parts of a stream that are wanted as a whole. */
struct json_builder;
/* arena: borrowed; its ceiling is the builder's, too. 0 or -ENOMEM. */
int json_builder_new(struct arena *arena, struct json_builder **ret_builder);
void json_builder_free(struct json_builder *builder); /* NULL is fine */
/* What takes the events of a value from its first to its last; false: no memory. */
struct json_events json_builder_events(struct json_builder *builder);
/* The value whose last event just came; NULL: it has not, or there is no memory. The builder is as new then. */
const struct json *json_builder_take(struct json_builder *builder);
/* Forgets a value that was begun. */
void json_builder_reset(struct json_builder *builder);

/* Tree -> events. Returns whether all of them were wanted. */
bool json_walk(const struct json *json, const struct json_events *events);
