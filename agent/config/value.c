/* Scalars of the configuration: reading, printing, and saying what is expected. One switch each; a new kind of option
 * shows up in all three. */
#include "value.h"

#include "suggest.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool value_is_scalar(enum option_kind kind)
{
	return kind <= OPTION_CHOICE;
}

/* 64MiB where the number of bytes allows it, else plain bytes. */
static void put_bytes(uint64_t bytes, struct buf *out)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;
	while (bytes > 0 && bytes % 1024 == 0 && unit + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	buf_printf(out, "%" PRIu64 "%s", bytes, units[unit]);
}

static void put_amount(enum option_kind kind, uint64_t amount, struct buf *out)
{
	if (kind == OPTION_DURATION)
		buf_str(out, duration_format(amount).text);
	else if (kind == OPTION_BYTES)
		put_bytes(amount, out);
	else
		buf_printf(out, "%" PRIu64, amount);
}

static void put_range(const struct option *option, struct buf *out)
{
	bool ranged = option->kind == OPTION_COUNT || option->kind == OPTION_DURATION || option->kind == OPTION_BYTES;
	if (!ranged || (option->min == 0 && option->max == 0))
		return;
	buf_str(out, option->max == 0 ? " of at least " : option->min == 0 ? " of at most " : " from ");
	if (option->min > 0 || option->max == 0)
		put_amount(option->kind, option->min, out);
	if (option->min > 0 && option->max > 0)
		buf_str(out, " to ");
	if (option->max > 0)
		put_amount(option->kind, option->max, out);
}

static void put_choices(const struct option *option, struct buf *out)
{
	buf_str(out, "one of ");
	for (size_t i = 0; option->choices[i]; i++)
		buf_printf(out, "%s%s", i ? ", " : "", option->choices[i]);
}

static void put_keys(const struct option_table *table, struct buf *out)
{
	const struct option *keys = table->options;
	if (keys[0].name)
		buf_printf(out, " with keys such as %s", keys[0].name);
	if (keys[0].name && keys[1].name)
		buf_printf(out, " and %s", keys[1].name);
}

void value_expected(const struct option *option, struct buf *out)
{
	static const char *const phrases[] = {
		[OPTION_BOOL] = "true or false",
		[OPTION_COUNT] = "a whole number",
		[OPTION_PORT] = "a port number from 1 to 65535",
		[OPTION_DURATION] = "a duration such as 30s or 1m30s",
		[OPTION_BYTES] = "a size such as 10MB or 512KiB",
		[OPTION_DOUBLE] = "a number such as 0.5",
		[OPTION_STRING] = "a text",
		[OPTION_CHOICE] = "",
		[OPTION_STRINGS] = "a list of texts such as [a, b]",
		[OPTION_PAIRS] = "a mapping of texts such as {name: value}",
		[OPTION_LISTS] = "a mapping of lists such as {name: [a, b]}",
		[OPTION_OBJECT] = "a mapping",
		[OPTION_OBJECTS] = "a list of mappings",
	};
	buf_str(out, phrases[option->kind]);
	if (option->kind == OPTION_CHOICE)
		put_choices(option, out);
	if (option->fields)
		put_keys(option->fields, out);
	put_range(option, out);
}

void value_brief(const struct option *option, struct buf *out)
{
	static const char *const names[] = {
		[OPTION_BOOL] = "true or false",
		[OPTION_COUNT] = "number",
		[OPTION_PORT] = "port number",
		[OPTION_DURATION] = "duration",
		[OPTION_BYTES] = "size",
		[OPTION_DOUBLE] = "number",
		[OPTION_STRING] = "text",
		[OPTION_CHOICE] = "",
		[OPTION_STRINGS] = "list of texts",
		[OPTION_PAIRS] = "mapping of texts",
		[OPTION_LISTS] = "mapping of lists of texts",
		[OPTION_OBJECT] = "mapping",
		[OPTION_OBJECTS] = "list of mappings",
	};
	buf_str(out, names[option->kind]);
	if (option->kind == OPTION_CHOICE)
		put_choices(option, out);
	put_range(option, out);
}

/* The usual complaint, with a hint where the mistake is a known one. */
static int unexpected(const struct option *option, struct span text, struct error *err)
{
	struct buf message;
	buf_init(&message, 1024);
	buf_str(&message, "expected ");
	value_expected(option, &message);
	if (!option->secret)
		buf_printf(&message, ", got \"%s\"", escape_bytes(text).text);

	uint64_t number;
	if (option->kind == OPTION_DURATION && span_to_u64(text, &number) == 0)
		buf_printf(&message, "; did you mean %" PRIu64 "s?", number);
	if (option->kind == OPTION_CHOICE) {
		const char *nearest = config_suggest(text, option->choices);
		if (nearest)
			buf_printf(&message, "; did you mean %s?", nearest);
	}
	int result =
		message.failed == -ENOMEM ? -ENOMEM : error_set(err, EINVAL, "%.*s", (int)message.len, message.ptr);
	buf_done(&message);
	return result;
}

static bool read_bool(struct span text, bool *ret_value)
{
	static const char *const yes[] = {"true", "yes", "on"};
	static const char *const no[] = {"false", "no", "off"};
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		bool is_yes = span_eq_nocase(text, span_str(yes[i]));
		if (is_yes || span_eq_nocase(text, span_str(no[i]))) {
			*ret_value = is_yes;
			return true;
		}
	}
	return false;
}

static bool read_double(struct span text, double *ret_value)
{
	char copy[64];
	if (text.len == 0 || text.len >= sizeof(copy) || strchr(" \t\n", text.ptr[0]))
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	char *end;
	double value = strtod(copy, &end);
	if (*end || !isfinite(value))
		return false;
	*ret_value = value;
	return true;
}

static bool read_choice(const struct option *option, bool ignore_case, struct span text, int *ret_value)
{
	for (int i = 0; option->choices[i]; i++) {
		struct span choice = span_str(option->choices[i]);
		if (span_eq(text, choice) || (ignore_case && span_eq_nocase(text, choice))) {
			*ret_value = i;
			return true;
		}
	}
	return false;
}

static bool read_amount(const struct option *option, struct span text, uint64_t *ret_amount)
{
	uint64_t amount = 0;
	int result = option->kind == OPTION_DURATION ? duration_parse(text, &amount)
		     : option->kind == OPTION_BYTES  ? bytes_parse(text, &amount)
						     : span_to_u64(text, &amount);
	if (result < 0 || (option->kind == OPTION_PORT && (amount < 1 || amount > 65535)))
		return false;
	if (amount < option->min || (option->max > 0 && amount > option->max))
		return false;
	*ret_amount = amount;
	return true;
}

int value_read(const struct option *option, bool choices_ignore_case, struct span text, struct arena *arena,
	void *field, struct error *err)
{
	bool ok = false;
	switch (option->kind) {
	case OPTION_BOOL:
		ok = read_bool(text, field);
		break;
	case OPTION_COUNT:
	case OPTION_PORT:
	case OPTION_DURATION:
	case OPTION_BYTES:
		ok = read_amount(option, text, field);
		break;
	case OPTION_DOUBLE:
		ok = read_double(text, field);
		break;
	case OPTION_CHOICE:
		ok = read_choice(option, choices_ignore_case, text, field);
		break;
	case OPTION_STRING: {
		char *copy = arena_spandup(arena, text);
		if (!copy)
			return -ENOMEM;
		*(const char **)field = copy;
		return 0;
	}
	default:
		break;
	}
	return ok ? 0 : unexpected(option, text, err);
}

bool value_text(const struct option *option, const void *field, struct buf *out)
{
	uint64_t amount;
	switch (option->kind) {
	case OPTION_BOOL:
		buf_str(out, *(const bool *)field ? "true" : "false");
		return *(const bool *)field || option->value;
	case OPTION_COUNT:
	case OPTION_PORT:
	case OPTION_DURATION:
	case OPTION_BYTES:
		amount = *(const uint64_t *)field;
		put_amount(option->kind, amount, out);
		return amount > 0 || option->value;
	case OPTION_DOUBLE:
		buf_printf(out, "%.17g", *(const double *)field);
		return *(const double *)field != 0 || option->value;
	case OPTION_CHOICE:
		buf_str(out, option->choices[*(const int *)field]);
		return true;
	case OPTION_STRING:
		buf_str(out, *(const char *const *)field ? *(const char *const *)field : "");
		return *(const char *const *)field != NULL;
	default:
		return false;
	}
}
