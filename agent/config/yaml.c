/* libfyaml's events -> tree, strictly.
 *
 *  1. Size and UTF-8 are checked before libfyaml sees a byte.
 *  2. Events build nodes; anchors, aliases, tags, complex keys and second documents are complained about as they come.
 *  3. A key that was there before in its mapping is a complaint that names the first one's line. (The event interface
 *     does not look; libfyaml's own document loader would stop at the first.)
 *  4. A syntax error ends the reading; its position and text come from libfyaml's diagnostics, which are collected and
 *     never printed.
 *
 * Positions: libfyaml's marks count from 0, its collected errors from 1; the mark of a quoted scalar stands behind the quote.
 */
#include "yaml.h"

#include <errno.h>
#include <libfyaml.h>

struct reader {
	struct arena *arena;
	struct problems *problems;
	struct yaml_node *stack[YAML_MAX_DEPTH];
	struct map keys[YAML_MAX_DEPTH]; /* of the mappings on the stack */
	size_t depth;
	struct yaml_node *root;
	struct yaml_node key;   /* pending key of the innermost mapping; line 0: none */
	struct problem_at last; /* where the last event stood that had a position, and the same as an offset */
	size_t last_offset;
	size_t nodes;
	unsigned documents;
	bool ended; /* a complaint after which reading on makes no sense */
	bool failed;
};

static struct problem_at here(const struct fy_mark *mark)
{
	return mark ? (struct problem_at){.line = (unsigned)mark->line + 1, .column = (unsigned)mark->column + 1}
		    : (struct problem_at){0};
}

/* The mark of an anchor, an alias or a quoted scalar stands behind its first sign. */
static struct problem_at before(struct problem_at at)
{
	at.column -= at.column > 1;
	return at;
}

static bool expects_key(const struct reader *reader)
{
	return reader->depth > 0 && reader->stack[reader->depth - 1]->kind == YAML_MAPPING && reader->key.key_line == 0;
}

static void take_key(struct reader *reader, const struct yaml_node *node)
{
	struct yaml_node *mapping = reader->stack[reader->depth - 1];
	struct map *keys = &reader->keys[reader->depth - 1];
	struct problem_at at = {.line = node->line, .column = node->column};
	struct yaml_node *before = map_get(keys, node->text);
	if (before) {
		problem_add(reader->problems, at, "%.*s: duplicate key; it stands in line %u already",
			SPAN_ARGS(node->text), before->line);
	} else {
		struct yaml_node *copy = arena_alloc(reader->arena, sizeof(*copy));
		if (copy)
			*copy = *node;
		if (!copy || map_put(keys, node->text, copy) < 0)
			reader->failed = true;
	}
	reader->key = (struct yaml_node){
		.key = node->text,
		.key_line = node->line ? node->line : mapping->line,
		.key_column = node->line ? node->column : mapping->column,
	};
}

static bool is_dash(struct span text)
{
	return text.len > 0 && text.ptr[0] == '-' && (text.len == 1 || text.ptr[1] == ' ' || text.ptr[1] == '\t');
}

/* An item that is a bare "-" has no token: its dash is the first of a line from the last thing on that had a position. */
static struct problem_at next_dash(struct reader *reader)
{
	struct span text = reader->problems->text, line;
	struct span rest = span_of(text.ptr + reader->last_offset, text.len - reader->last_offset);
	struct problem_at at = reader->last;
	for (; span_next(&rest, '\n', &line); at.line++, at.column = 1) {
		struct span trimmed = span_trim(line);
		if (is_dash(trimmed)) {
			at.column += (unsigned)(trimmed.ptr - line.ptr);
			reader->last = at;
			reader->last.column++;
			reader->last_offset = (size_t)(trimmed.ptr - text.ptr) + 1;
			return at;
		}
	}
	return reader->last;
}

/* Appends a node to the innermost collection, or makes it the root. Returns its place in the tree. */
static struct yaml_node *place(struct reader *reader, const struct yaml_node *content)
{
	struct yaml_node *node = arena_alloc(reader->arena, sizeof(*node));
	if (!node) {
		reader->failed = true;
		return NULL;
	}
	*node = *content;
	node->key = reader->key.key;
	node->key_line = reader->key.key_line;
	node->key_column = reader->key.key_column;
	if (node->line == 0) {
		struct problem_at at = {.line = node->key_line, .column = node->key_column};
		if (at.line == 0 && reader->depth > 0)
			at = next_dash(reader);
		node->line = at.line;
		node->column = at.column;
	}
	reader->key = (struct yaml_node){0};
	if (reader->depth == 0) {
		reader->root = node;
		return node;
	}
	struct yaml_node *parent = reader->stack[reader->depth - 1];
	*(parent->first ? &parent->last->next : &parent->first) = node;
	parent->last = node;
	parent->count++;
	return node;
}

static void complain_about_decoration(struct reader *reader, struct fy_event *event)
{
	struct fy_token *anchor = fy_event_get_anchor_token(event), *tag = fy_event_get_tag_token(event);
	if (anchor)
		problem_add(reader->problems, before(here(fy_token_start_mark(anchor))),
			"anchors (&name) are not allowed here; write the value where it is needed");
	if (tag)
		problem_add(reader->problems, here(fy_token_start_mark(tag)),
			"tags (!name) are not allowed here; each key knows the type of its value");
}

static bool is_null(struct span text, bool plain)
{
	return plain && (text.len == 0 || span_eq(text, SPAN("~")) || span_eq(text, SPAN("null")) ||
				span_eq(text, SPAN("Null")) || span_eq(text, SPAN("NULL")));
}

static void take_scalar(struct reader *reader, struct fy_event *event, struct problem_at at)
{
	struct fy_token *token = fy_event_get_token(event);
	size_t len = 0;
	const char *text = token ? fy_token_get_text(token, &len) : NULL;
	enum fy_scalar_style style = fy_token_scalar_style(token);
	bool quoted = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
	char *copy = arena_spandup(reader->arena, span_of(text, len));
	if (!copy) {
		reader->failed = true;
		return;
	}
	struct yaml_node node = {
		.kind = is_null(span_of(text, len), style == FYSS_PLAIN) ? YAML_NULL : YAML_SCALAR,
		.plain = style == FYSS_PLAIN,
		.text = span_of(copy, len),
		.line = at.line,
		.column = quoted ? before(at).column : at.column,
	};
	if (expects_key(reader))
		take_key(reader, &node);
	else
		place(reader, &node);
}

static void take_alias(struct reader *reader, struct problem_at at)
{
	problem_add(reader->problems, at, "aliases (*name) are not allowed here; write the value out");
	struct yaml_node node = {.kind = YAML_NULL, .line = at.line, .column = at.column};
	if (expects_key(reader))
		take_key(reader, &node);
	else
		place(reader, &node);
}

static void open_collection(struct reader *reader, enum yaml_kind kind, struct problem_at at)
{
	if (expects_key(reader)) {
		problem_add(reader->problems, at, "a key must be a text, not a list or a mapping");
		reader->ended = true;
		return;
	}
	if (reader->depth == YAML_MAX_DEPTH) {
		problem_add(reader->problems, at, "nested deeper than %d levels", YAML_MAX_DEPTH);
		reader->ended = true;
		return;
	}
	struct yaml_node content = {.kind = kind, .line = at.line, .column = at.column};
	struct yaml_node *node = place(reader, &content);
	if (!node)
		return;
	map_init(&reader->keys[reader->depth], YAML_MAX_NODES);
	reader->stack[reader->depth++] = node;
}

static void close_collection(struct reader *reader)
{
	if (reader->depth > 0)
		map_done(&reader->keys[--reader->depth]);
}

static void open_document(struct reader *reader, struct problem_at at)
{
	if (reader->documents++ == 0)
		return;
	problem_add(reader->problems, at, "a second document begins here; a configuration file holds one");
	reader->ended = true;
}

static void take_event(struct reader *reader, struct fy_event *event)
{
	const struct fy_mark *mark = fy_event_start_mark(event);
	struct problem_at at = here(mark);
	if (mark) {
		reader->last = at;
		reader->last_offset = mark->input_pos;
	}
	if (++reader->nodes > YAML_MAX_NODES) {
		problem_add(reader->problems, at, "more than %d values", YAML_MAX_NODES);
		reader->ended = true;
		return;
	}
	complain_about_decoration(reader, event);
	switch (event->type) {
	case FYET_DOCUMENT_START:
		open_document(reader, at);
		break;
	case FYET_MAPPING_START:
		open_collection(reader, YAML_MAPPING, at);
		break;
	case FYET_SEQUENCE_START:
		open_collection(reader, YAML_SEQUENCE, at);
		break;
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		close_collection(reader);
		break;
	case FYET_SCALAR:
		take_scalar(reader, event, at);
		break;
	case FYET_ALIAS:
		take_alias(reader, before(at));
		break;
	default:
		break;
	}
}

/* What libfyaml's shorter messages usually mean. */
static const char *syntax_hint(const char *message)
{
	static const char *const hints[][2] = {
		{"invalid multiline plain key", "is the next line indented too far, or with a tab?"},
		{"invalid nested block mapping", "a value that holds \": \" needs quotes"},
		{"could not find expected ':'", "is a colon missing?"},
		{"wrongly indented", "do the keys of one object begin in the same column?"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++) {
		if (strstr(message, hints[i][0]))
			return hints[i][1];
	}
	return NULL;
}

static void take_syntax_errors(struct reader *reader, struct fy_diag *diag)
{
	void *cursor = NULL;
	for (struct fy_diag_error *error; (error = fy_diag_errors_iterate(diag, &cursor));) {
		struct problem_at at = {.line = error->line > 0 ? (unsigned)error->line : 0,
			.column = error->column > 0 ? (unsigned)error->column : 1};
		const char *hint = syntax_hint(error->msg);
		problem_add(reader->problems, at, "YAML: %s%s%s", error->msg, hint ? "; " : "", hint ? hint : "");
		return; /* what follows the first is noise */
	}
	problem_add(reader->problems, (struct problem_at){0}, "YAML: not readable");
}

static void discard(struct fy_diag *diag, void *user, const char *bytes, size_t len)
{
	(void)diag, (void)user, (void)bytes, (void)len;
}

static void read_events(struct reader *reader, struct fy_parser *parser, struct fy_diag *diag)
{
	while (!reader->ended && !reader->failed) {
		struct fy_event *event = fy_parser_parse(parser);
		if (!event) {
			reader->ended = fy_parser_get_stream_error(parser);
			if (reader->ended)
				take_syntax_errors(reader, diag);
			return;
		}
		take_event(reader, event);
		fy_parser_event_free(parser, event);
	}
}

static int parse(struct reader *reader, struct span text)
{
	struct fy_diag_cfg diag_cfg;
	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL; /* by default it writes to stderr */
	diag_cfg.output_fn = discard;
	diag_cfg.colorize = false;
	struct fy_diag *diag = fy_diag_create(&diag_cfg);
	if (!diag)
		return -ENOMEM;
	fy_diag_set_collect_errors(diag, true);
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_JSON_NONE, .diag = diag};
	struct fy_parser *parser = fy_parser_create(&cfg);
	int result = parser && fy_parser_set_string(parser, text.ptr, text.len) == 0 ? 0 : -ENOMEM;
	if (result == 0)
		read_events(reader, parser, diag);
	fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return result;
}

/* The first byte that is no UTF-8, or NUL, which libfyaml takes for the end of the text. */
static bool is_text(struct span text, struct problems *problems)
{
	struct problem_at at = {.line = 1, .column = 1};
	for (size_t i = 0; i < text.len;) {
		size_t step = span_utf8_length(span_of(text.ptr + i, text.len - i));
		if (step == 0 || text.ptr[i] == '\0') {
			problem_add(problems, at, "not a text file: byte 0x%02x is not valid here (UTF-8 is expected)",
				(unsigned char)text.ptr[i]);
			return false;
		}
		at.column++;
		if (text.ptr[i] == '\n') {
			at.line++;
			at.column = 1;
		}
		i += step;
	}
	return true;
}

int yaml_read(struct span text, struct arena *arena, struct problems *problems, struct yaml_node **ret_root)
{
	*ret_root = NULL;
	if (text.len > YAML_MAX_BYTES) {
		problem_add(problems, (struct problem_at){0}, "%zu bytes; a configuration file may have at most 1 MiB",
			text.len);
		return problems->failed ? -ENOMEM : 0;
	}
	if (text.len == 0 || !is_text(text, problems))
		return problems->failed ? -ENOMEM : 0;

	struct reader reader = {.arena = arena, .problems = problems, .last = {.line = 1, .column = 1}};
	int result = parse(&reader, text);
	while (reader.depth > 0)
		close_collection(&reader);
	if (result < 0 || reader.failed || problems->failed)
		return -ENOMEM;
	*ret_root = reader.ended ? NULL : reader.root;
	return 0;
}
