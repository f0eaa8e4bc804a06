/* See template.h. source: Go's regexp.Expand, documentation and behaviour. */
#include "template.h"

#include <errno.h>

enum { NO_GROUP = -1, EMPTY_GROUP = -2 };

/* Length of the letter or digit of a name at the front of text, 0 when it is something else. */
static size_t name_char(struct span text)
{
	unsigned char c = text.len ? (unsigned char)text.ptr[0] : 0;
	if (c < 0x80)
		return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
	/* Group names are ASCII, so a name with another letter in it is a group that does not exist; what matters is where it ends. Every
	 * character beyond ASCII counts as a letter here. */
	size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	return len <= text.len ? len : text.len;
}

/* Reads "$name" or "${name}" at the front of text. Returns its length, 0 when there is none. */
static size_t parse_variable(struct span text, struct span *ret_name)
{
	bool braces = text.len > 1 && text.ptr[1] == '{';
	size_t begin = braces ? 2 : 1, end = begin, step;
	while (end < text.len && (step = name_char(span_of(text.ptr + end, text.len - end))) > 0)
		end += step;
	if (end == begin || (braces && (end == text.len || text.ptr[end] != '}')))
		return 0;
	*ret_name = span_of(text.ptr + begin, end - begin);
	return end + braces;
}

static int find_group(const struct regex *regex, struct span name)
{
	size_t groups = regex ? regex_groups(regex) : 1;
	uint64_t number;
	/* "01" is no number, but may be a name. */
	bool is_number = (name.len == 1 || name.ptr[0] != '0') && span_to_u64(name, &number) == 0;
	if (is_number)
		return number <= groups ? (int)number : EMPTY_GROUP;
	size_t index = regex ? regex_group_index(regex, name.ptr, name.len) : 0;
	return index ? (int)index : EMPTY_GROUP;
}

static void add_piece(struct template *template, struct template_piece piece)
{
	if (piece.group == NO_GROUP && piece.literal.len == 0)
		return;
	template->pieces[template->count++] = piece;
	if (piece.group > 0 && (size_t)piece.group > template->groups)
		template->groups = (size_t)piece.group;
}

int template_compile(const struct regex *regex, struct span text, struct arena *arena, struct template *ret_template)
{
	size_t dollars = 0;
	for (size_t i = 0; i < text.len; i++)
		dollars += text.ptr[i] == '$';
	/* Each dollar ends a literal and adds at most one piece of its own. */
	struct template template = {arena_alloc(arena, (2 * dollars + 1) * sizeof(*template.pieces)), 0, 0};
	if (!template.pieces)
		return -ENOMEM;
	size_t begin = 0, at = 0;
	while (at < text.len) {
		struct span rest = span_of(text.ptr + at, text.len - at), name = SPAN_NONE;
		if (rest.ptr[0] != '$') {
			at++;
			continue;
		}
		bool escaped = rest.len > 1 && rest.ptr[1] == '$';
		size_t taken = escaped ? 2 : parse_variable(rest, &name);
		if (taken == 0) {
			at++; /* a plain dollar, part of the literal */
			continue;
		}
		/* Of `$$` the first dollar joins the literal before it. */
		add_piece(
			&template, (struct template_piece){span_of(text.ptr + begin, at + escaped - begin), NO_GROUP});
		if (!escaped)
			add_piece(&template, (struct template_piece){SPAN_NONE, find_group(regex, name)});
		at += taken;
		begin = at;
	}
	add_piece(&template, (struct template_piece){span_of(text.ptr + begin, text.len - begin), NO_GROUP});
	*ret_template = template;
	return 0;
}

bool template_is_literal(const struct template *template, struct span *ret_text)
{
	if (template->count > 1 || (template->count == 1 && template->pieces[0].group != NO_GROUP))
		return false;
	*ret_text = template->count ? template->pieces[0].literal : SPAN_NONE;
	return true;
}

static struct span piece_text(const struct template_piece *piece, const struct regex *regex, struct span matched)
{
	struct span text = SPAN_NONE;
	if (piece->group == NO_GROUP)
		return piece->literal;
	if (piece->group == EMPTY_GROUP)
		return text;
	if (!regex || piece->group == 0)
		return matched;
	text.ptr = regex_group(regex, (size_t)piece->group, &text.len);
	return text;
}

int template_expand(const struct template *template, const struct regex *regex, struct span matched,
	struct arena *arena, struct span *ret_text)
{
	if (template->count == 0) {
		*ret_text = SPAN_NONE;
		return 0;
	}
	if (template->count == 1) {
		*ret_text = piece_text(&template->pieces[0], regex, matched);
		return 0;
	}
	size_t len = 0;
	for (size_t i = 0; i < template->count; i++)
		len += piece_text(&template->pieces[i], regex, matched).len;
	char *text = arena_alloc(arena, len), *end = text;
	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < template->count; i++) {
		struct span part = piece_text(&template->pieces[i], regex, matched);
		if (part.len)
			end = mempcpy(end, part.ptr, part.len);
	}
	*ret_text = span_of(text, len);
	return 0;
}
