/* Option tables + tree -> structs: the way of one configuration file.
 *
 *  1. yaml_read makes a tree of the text (yaml.c), in memory that is gone when config_load returns.
 *  2. load_object walks the root table and the tree side by side: a key that was written is read, one that was not gets its
 *     environment variable or its default; keys that no table knows are complained about with the nearest that one does.
 *  3. The table's check sees the filled object.
 *
 * Nothing stops at the first mistake. A field whose value was wrong holds its zero, and the whole file is refused.
 */
#include "expand.h"
#include "suggest.h"
#include "value.h"
#include "yaml.h"

#include <errno.h>
#include <stdio.h>

#define TREE_MAX_BYTES ((size_t)64 << 20)

struct loader {
	const struct config_input *input;
	const struct option_table *root;
	struct arena *arena;
	const char *file; /* in the arena */
	struct problems problems;
	bool failed; /* no memory */
};

/* Where the loader is, for messages: scrape_configs[0].params. On the stack of the calls that went there. */
struct path {
	const struct path *parent;
	struct span name;
	size_t index; /* SIZE_MAX: none */
};

static struct path path_key(const struct path *parent, struct span name)
{
	return (struct path){parent, name, SIZE_MAX};
}

static void path_print(const struct path *path, struct buf *out)
{
	if (!path || !path->parent)
		return;
	path_print(path->parent, out);
	if (path->index != SIZE_MAX)
		buf_printf(out, "[%zu]", path->index);
	else
		buf_printf(out, "%s%s", path->parent->parent ? "." : "", escape_bytes(path->name).text);
}

static void complain(struct loader *loader, struct problem_at at, const struct path *path, const char *fmt, ...)
	GLEANER_PRINTF(4, 5);

static void complain(struct loader *loader, struct problem_at at, const struct path *path, const char *fmt, ...)
{
	struct buf message;
	buf_init(&message, 2048);
	path_print(path, &message);
	if (message.len > 0)
		buf_str(&message, ": ");
	va_list args;
	char text[1024];
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	buf_str(&message, text);
	if (message.failed == -ENOMEM)
		loader->failed = true;
	problem_add(&loader->problems, at, "%.*s", (int)message.len, message.ptr ? message.ptr : "");
	buf_done(&message);
}

static struct problem_at value_at(const struct yaml_node *node)
{
	return node ? (struct problem_at){.line = node->line, .column = node->column} : (struct problem_at){0};
}

static struct problem_at key_at(const struct yaml_node *node)
{
	return (struct problem_at){.line = node->key_line, .column = node->key_column};
}

static void *field_of(const struct option *option, void *object)
{
	return (char *)object + option->offset;
}

static const char *kind_name(const struct yaml_node *node)
{
	static const char *const names[] = {[YAML_NULL] = "nothing",
		[YAML_SCALAR] = "a single value",
		[YAML_SEQUENCE] = "a list",
		[YAML_MAPPING] = "a mapping"};
	return names[node->kind];
}

static void complain_kind(
	struct loader *loader, const struct option *option, const struct yaml_node *node, const struct path *path)
{
	struct buf expected;
	buf_init(&expected, 1024);
	value_expected(option, &expected);
	const char *hint = option->kind == OPTION_OBJECTS && node->kind == YAML_MAPPING
				   ? "; put \"- \" before the first key of each"
				   : "";
	complain(loader, value_at(node), path, "expected %.*s, got %s%s", (int)expected.len,
		expected.ptr ? expected.ptr : "", kind_name(node), hint);
	loader->failed = loader->failed || expected.failed == -ENOMEM;
	buf_done(&expected);
}

/* ---- scalars ---------------------------------------------------------------- */

/* The text of a scalar with environment variables put in. false: complained. */
static bool expand(struct loader *loader, const struct yaml_node *node, const struct path *path, struct buf *out)
{
	struct expansion expansion = {.get_environment = loader->input->get_environment};
	struct error err = {0};
	int result = expand_environment(node->text, &expansion, out, &err);
	if (result == -ENOMEM) {
		loader->failed = true;
	} else if (result < 0) {
		complain(loader, value_at(node), path, "%s", result == -EMSGSIZE ? "longer than 1 MiB" : err.text);
	} else if (expansion.unset[0]) {
		struct problem_at at = value_at(node);
		at.warning = true;
		complain(loader, at, path, "the environment variable %s is not set; read as empty", expansion.unset);
	} else if (expansion.bare[0]) {
		struct problem_at at = value_at(node);
		at.warning = true;
		complain(loader, at, path, "${%s} is left as it stands; ${env:%s} is the environment variable",
			expansion.bare, expansion.bare);
	} else if (expansion.dollar_group) {
		struct problem_at at = value_at(node);
		at.warning = true;
		complain(loader, at, path,
			"\"$$\" before a group is read as \"$\", as a Collector's file needs it; here \"$1\" alone "
			"will do");
	}
	return result == 0;
}

/* Expands and copies. NULL: complained. */
static const char *load_text(struct loader *loader, const struct yaml_node *node, const struct path *path)
{
	struct buf text;
	buf_init(&text, YAML_MAX_BYTES);
	const char *copy = NULL;
	if (expand(loader, node, path, &text)) {
		copy = arena_spandup(loader->arena, buf_view(&text));
		loader->failed = loader->failed || !copy;
	}
	buf_done(&text);
	return copy;
}

/* Returns false when the scalar came to nothing: the default is to be used. */
static bool load_scalar(struct loader *loader, const struct option_table *table, const struct option *option,
	const struct yaml_node *node, const struct path *path, void *field)
{
	if (node->kind != YAML_SCALAR) {
		complain_kind(loader, option, node, path);
		return true;
	}
	struct buf text;
	buf_init(&text, YAML_MAX_BYTES);
	bool something = true;
	if (expand(loader, node, path, &text)) {
		something = text.len > 0 || !node->plain;
		struct error err = {0};
		int result = something ? value_read(option, table->choices_ignore_case, buf_view(&text), loader->arena,
						 field, &err)
				       : 0;
		struct problem_at at = value_at(node);
		at.hide_source = option->secret;
		if (result == -ENOMEM)
			loader->failed = true;
		else if (result < 0)
			complain(loader, at, path, "%s", err.text);
	}
	buf_done(&text);
	return something;
}

/* ---- lists and mappings of texts ----------------------------------------------- */

static void load_strings(struct loader *loader, const struct option *option, const struct yaml_node *node,
	const struct path *path, struct option_strings *ret_strings)
{
	bool single = node->kind == YAML_SCALAR;
	if (!single && node->kind != YAML_SEQUENCE) {
		complain_kind(loader, option, node, path);
		return;
	}
	size_t count = single ? 1 : node->count, index = 0;
	const char **items = arena_alloc(loader->arena, count * sizeof(*items));
	if (!items) {
		loader->failed = true;
		return;
	}
	for (const struct yaml_node *item = single ? node : node->first; item; item = single ? NULL : item->next) {
		struct path item_path = {path, SPAN_NONE, index};
		if (item->kind == YAML_SCALAR)
			items[index] = load_text(loader, item, single ? path : &item_path);
		else
			complain(loader, value_at(item), &item_path, "expected a text, got %s", kind_name(item));
		index++;
	}
	*ret_strings = (struct option_strings){items, count};
}

static void load_pairs(struct loader *loader, const struct option *option, const struct yaml_node *node,
	const struct path *path, struct option_pairs *ret_pairs)
{
	if (node->kind != YAML_MAPPING) {
		complain_kind(loader, option, node, path);
		return;
	}
	struct option_pair *pair = arena_alloc(loader->arena, node->count * sizeof(*pair));
	if (!pair) {
		loader->failed = true;
		return;
	}
	*ret_pairs = (struct option_pairs){pair, node->count};
	for (const struct yaml_node *item = node->first; item; item = item->next, pair++) {
		struct path item_path = path_key(path, item->key);
		pair->name = arena_spandup(loader->arena, item->key);
		loader->failed = loader->failed || !pair->name;
		pair->value = "";
		if (item->kind == YAML_SCALAR)
			pair->value = load_text(loader, item, &item_path);
		else if (item->kind != YAML_NULL)
			complain(loader, value_at(item), &item_path, "expected a text, got %s", kind_name(item));
	}
}

static void load_lists(struct loader *loader, const struct option *option, const struct yaml_node *node,
	const struct path *path, struct option_lists *ret_lists)
{
	if (node->kind != YAML_MAPPING) {
		complain_kind(loader, option, node, path);
		return;
	}
	struct option_list *list = arena_alloc(loader->arena, node->count * sizeof(*list));
	if (!list) {
		loader->failed = true;
		return;
	}
	*ret_lists = (struct option_lists){list, node->count};
	const struct option values = {.kind = OPTION_STRINGS};
	for (const struct yaml_node *item = node->first; item; item = item->next, list++) {
		struct path item_path = path_key(path, item->key);
		list->name = arena_spandup(loader->arena, item->key);
		loader->failed = loader->failed || !list->name;
		if (item->kind != YAML_NULL)
			load_strings(loader, &values, item, &item_path, &list->values);
	}
}

/* ---- unknown keys ----------------------------------------------------------------- */

/* "global.scrape_interval" for a key of that name anywhere in the tables. */
static bool find_elsewhere(const struct option_table *table, struct span key, const char *prefix, struct buf *out)
{
	for (const struct option *option = table->options; option->name; option++) {
		if (span_eq(key, span_str(option->name))) {
			buf_printf(out, "%s%s", prefix, option->name);
			return true;
		}
		if (!option->fields)
			continue;
		char inner[256];
		snprintf(inner, sizeof(inner), "%s%s%s.", prefix, option->name,
			option->kind == OPTION_OBJECTS ? "[]" : "");
		if (find_elsewhere(option->fields, key, inner, out))
			return true;
	}
	return false;
}

/* First below the object where it was written, then anywhere. */
static bool find_meant(struct loader *loader, const struct option_table *table, const struct yaml_node *node,
	const struct path *parent, struct buf *out)
{
	struct buf prefix;
	buf_init(&prefix, 256);
	path_print(parent, &prefix);
	buf_append(&prefix, ".", 2); /* with its NUL */
	const char *text = parent->parent && prefix.failed == 0 ? prefix.ptr : "";
	bool found = find_elsewhere(table, node->key, text, out) || find_elsewhere(loader->root, node->key, "", out);
	loader->failed = loader->failed || prefix.failed == -ENOMEM;
	buf_done(&prefix);
	return found;
}

static void list_keys(const struct option_table *table, struct buf *out)
{
	for (const struct option *option = table->options; option->name; option++)
		buf_printf(out, "%s%s", option == table->options ? "" : ", ", option->name);
}

static bool is_listed(struct span key, const char *const *names)
{
	for (; names && *names; names++) {
		if (span_eq(key, span_str(*names)))
			return true;
	}
	return false;
}

static void complain_unknown(struct loader *loader, const struct option_table *table, const struct yaml_node *node,
	const struct path *parent)
{
	struct path path = path_key(parent, node->key);
	struct buf hint;
	buf_init(&hint, 1000);
	const struct option *nearest = suggest_key(node->key, table);
	if (span_eq(node->key, SPAN("<<"))) {
		buf_str(&hint, "merge keys are not allowed; write the keys out");
	} else if (is_listed(node->key, table->unsupported)) {
		buf_str(&hint, "not yet supported by this version of gleaner");
	} else if (nearest) {
		buf_printf(&hint, "unknown key; did you mean %s? It expects ", nearest->name);
		value_expected(nearest, &hint);
	} else {
		buf_str(&hint, "unknown key; ");
		if (find_meant(loader, table, node, parent, &hint))
			buf_str(&hint, " is known, is that what you mean? Here ");
		buf_str(&hint, "expected one of ");
		list_keys(table, &hint);
	}
	loader->failed = loader->failed || hint.failed == -ENOMEM;
	complain(loader, key_at(node), &path, "%.*s", (int)hint.len, hint.ptr ? hint.ptr : "");
	buf_done(&hint);
}

/* ---- objects ------------------------------------------------------------------------ */

static void load_object(struct loader *loader, const struct option_table *table, const struct yaml_node *node,
	const struct path *path, void *object);

static void load_objects(struct loader *loader, const struct option *option, const struct yaml_node *node,
	const struct path *path, struct option_objects *ret_objects)
{
	if (node->kind != YAML_SEQUENCE) {
		complain_kind(loader, option, node, path);
		return;
	}
	const struct option_table *table = option->fields;
	char *items = arena_alloc(loader->arena, node->count * table->size);
	if (!items) {
		loader->failed = true;
		return;
	}
	*ret_objects = (struct option_objects){items, node->count};
	size_t index = 0;
	for (const struct yaml_node *item = node->first; item; item = item->next, index++) {
		struct path item_path = {path, SPAN_NONE, index};
		if (item->kind == YAML_MAPPING)
			load_object(loader, table, item, &item_path, items + index * table->size);
		else
			complain(loader, value_at(item), &item_path, "expected a mapping with keys such as %s, got %s",
				table->options[0].name, kind_name(item));
	}
}

static void set_default(struct loader *loader, const struct option_table *table, const struct option *option,
	const struct path *path, void *field)
{
	const char *variable = option->environment ? loader->input->get_environment(option->environment) : NULL;
	bool from_environment = variable && variable[0];
	const char *text = from_environment ? variable : option->value;
	if (!text)
		return;
	if (option->kind == OPTION_STRINGS) {
		const char **items = arena_alloc(loader->arena, sizeof(*items));
		if (items)
			items[0] = arena_strdup(loader->arena, text);
		loader->failed = loader->failed || !items || !items[0];
		*(struct option_strings *)field = (struct option_strings){items, 1};
		return;
	}
	struct error err = {0};
	int result = value_read(option, table->choices_ignore_case, span_str(text), loader->arena, field, &err);
	if (result == -ENOMEM)
		loader->failed = true;
	else if (result < 0)
		complain(loader, (struct problem_at){0}, path, "%s %s: %s",
			from_environment ? "environment variable" : "default",
			from_environment ? option->environment : text, err.text);
}

/* node: what was written, or NULL. Returns whether the key counts as written. */
static bool load_value(struct loader *loader, const struct option_table *table, const struct option *option,
	const struct yaml_node *node, const struct path *path, void *field)
{
	bool has_value = node && node->kind != YAML_NULL;
	if (option->kind == OPTION_OBJECT) {
		load_object(loader, option->fields, node, path, field);
		return node != NULL;
	}
	bool written = has_value;
	if (has_value && value_is_scalar(option->kind))
		written = load_scalar(loader, table, option, node, path, field);
	else if (has_value && option->kind == OPTION_STRINGS)
		load_strings(loader, option, node, path, field);
	else if (has_value && option->kind == OPTION_PAIRS)
		load_pairs(loader, option, node, path, field);
	else if (has_value && option->kind == OPTION_LISTS)
		load_lists(loader, option, node, path, field);
	else if (has_value)
		load_objects(loader, option, node, path, field);
	if (!written)
		set_default(loader, table, option, path, field);
	return written;
}

static const struct yaml_node *find_child(const struct yaml_node *node, const char *key)
{
	struct span name = span_str(key);
	for (const struct yaml_node *child = node ? node->first : NULL; child; child = child->next) {
		if (span_eq(child->key, name))
			return child;
	}
	return NULL;
}

static void load_keys(struct loader *loader, const struct option_table *table, const struct yaml_node *node,
	const struct path *path, void *object)
{
	for (const struct option *option = table->options; option->name; option++) {
		struct path key_path = path_key(path, span_str(option->name));
		const struct yaml_node *child = find_child(node, option->name);
		bool written = load_value(loader, table, option, child, &key_path, field_of(option, object));
		if (option->given_offset)
			*(bool *)((char *)object + option->given_offset) = written;
		if (!written && option->required && node) {
			struct buf expected;
			buf_init(&expected, 1024);
			value_expected(option, &expected);
			complain(loader, child ? key_at(child) : value_at(node), &key_path,
				"required, but not there; expected %.*s", (int)expected.len,
				expected.ptr ? expected.ptr : "");
			buf_done(&expected);
		}
	}
}

static void find_unknown(
	struct loader *loader, const struct option_table *table, const struct yaml_node *node, const struct path *path)
{
	for (const struct yaml_node *child = node->first; child; child = child->next) {
		bool known = false;
		for (const struct option *option = table->options; option->name && !known; option++)
			known = span_eq(child->key, span_str(option->name));
		if (!known && loader->problems.count < PROBLEMS_MAX)
			complain_unknown(loader, table, child, path);
	}
}

static bool is_secret(const struct option_table *table, const char *key)
{
	for (const struct option *option = table->options; key && option->name; option++) {
		if (strcmp(option->name, key) == 0)
			return option->secret;
	}
	return false;
}

static void check_object(struct loader *loader, const struct option_table *table, const struct yaml_node *node,
	const struct path *path, void *object)
{
	const char *key = NULL;
	struct error err = {0};
	int result = table->check(object, loader->arena, &key, &err);
	if (result == -ENOMEM) {
		loader->failed = true;
	} else if (result < 0) {
		const struct yaml_node *blamed = key ? find_child(node, key) : NULL;
		struct path key_path = path_key(path, span_str(key));
		struct problem_at at = value_at(blamed ? blamed : node);
		at.hide_source = is_secret(table, key);
		complain(loader, at, key ? &key_path : path, "%s", err.text);
	}
}

static void load_object(struct loader *loader, const struct option_table *table, const struct yaml_node *node,
	const struct path *path, void *object)
{
	size_t errors_before = loader->problems.errors;
	const struct yaml_node *mapping = node && node->kind == YAML_MAPPING ? node : NULL;
	if (table->positioned)
		*(struct option_position *)object = (struct option_position){
			.file = loader->file, .line = node ? node->line : 0, .column = node ? node->column : 0};
	if (node && node->kind != YAML_MAPPING && node->kind != YAML_NULL) {
		const struct option whole = {.kind = OPTION_OBJECT, .fields = table};
		complain_kind(loader, &whole, node, path);
	}
	load_keys(loader, table, mapping, path, object);
	if (mapping)
		find_unknown(loader, table, mapping, path);
	if (table->check && loader->problems.errors == errors_before && !loader->failed)
		check_object(loader, table, mapping, path, object);
}

/* ---- the whole file ------------------------------------------------------------------- */

static int load(struct loader *loader, struct arena *tree, void *ret_object)
{
	struct yaml_node *root;
	int result = yaml_read(loader->input->text, tree, &loader->problems, &root);
	if (result < 0)
		return result;
	struct path path = {0};
	if (loader->problems.errors == 0 || root)
		load_object(loader, loader->root, root, &path, ret_object);
	return loader->failed || loader->problems.failed ? -ENOMEM : 0;
}

int config_load(const struct config_input *input, const struct option_table *table, struct arena *arena,
	void *ret_object, struct config_problems *ret_problems)
{
	memset(ret_object, 0, table->size);
	*ret_problems = (struct config_problems){0};
	struct loader loader = {
		.input = input,
		.root = table,
		.arena = arena,
		.file = arena_strdup(arena, input->name),
		.problems = {.arena = arena, .text = input->text},
	};
	if (!loader.file)
		return -ENOMEM;
	struct arena tree;
	arena_init(&tree, TREE_MAX_BYTES);
	int result = load(&loader, &tree, ret_object);
	arena_done(&tree);
	if (result < 0)
		return result;
	problems_sort(&loader.problems);
	*ret_problems = (struct config_problems){
		.items = loader.problems.items, .count = loader.problems.count, .errors = loader.problems.errors};
	return loader.problems.errors > 0 ? -EINVAL : 0;
}
