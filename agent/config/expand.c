/* Environment variables in values, as the OpenTelemetry Collector writes them, and Prometheus' `$1` left alone.
 *
 * The Collector takes every ${name} for a variable, so that a relabel replacement must be written $$1 there. Prometheus'
 * files say $1 and ${name} for regex groups. Only ${env:...} and $$ are therefore special; a file of either origin reads
 * the same here. Expansion works on a scalar's text after the YAML was parsed: a variable cannot add keys.
 */
#include "expand.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static bool is_name(struct span name)
{
	if (name.len == 0 || isdigit((unsigned char)name.ptr[0]))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (!isalnum((unsigned char)name.ptr[i]) && name.ptr[i] != '_')
			return false;
	}
	return true;
}

/* inner: what stands between "${env:" and "}". */
static int put_variable(struct span inner, struct expansion *expansion, struct buf *out, struct error *err)
{
	const char *mark = memmem(inner.ptr, inner.len, ":-", 2);
	struct span name = mark ? span_of(inner.ptr, (size_t)(mark - inner.ptr)) : inner;
	struct span fallback = mark ? span_of(mark + 2, inner.len - name.len - 2) : SPAN_NONE;
	char text[80];
	if (!is_name(name) || name.len >= sizeof(text))
		return error_set(err, EINVAL, "\"${env:%s}\": expected a variable's name such as ${env:NODE_NAME}",
			escape_bytes(inner).text);
	snprintf(text, sizeof(text), "%.*s", SPAN_ARGS(name));

	const char *value = expansion->get_environment(text);
	expansion->used = true;
	if (value && (value[0] || !mark))
		return buf_str(out, value);
	if (!mark)
		memcpy(expansion->unset, text, sizeof(text));
	return buf_span(out, fallback);
}

/* text: from "${" on. Names of a regex's groups are hardly ever in capitals. */
static void note_bare(struct span text, struct expansion *expansion)
{
	const char *end = memchr(text.ptr, '}', text.len);
	struct span name = span_of(text.ptr + 2, end ? (size_t)(end - text.ptr) - 2 : 0);
	for (size_t i = 0; i < name.len; i++) {
		if (islower((unsigned char)name.ptr[i]))
			return;
	}
	if (is_name(name) && name.len < sizeof(expansion->bare))
		snprintf(expansion->bare, sizeof(expansion->bare), "%.*s", SPAN_ARGS(name));
}

static bool names_group(struct span rest)
{
	if (rest.len > 0 && rest.ptr[0] == '{')
		rest = span_of(rest.ptr + 1, rest.len - 1);
	return rest.len > 0 && isdigit((unsigned char)rest.ptr[0]);
}

int expand_environment(struct span text, struct expansion *expansion, struct buf *out, struct error *err)
{
	const struct span opening = SPAN("${env:");
	while (text.len > 0) {
		const char *dollar = memchr(text.ptr, '$', text.len);
		size_t before = dollar ? (size_t)(dollar - text.ptr) : text.len;
		buf_append(out, text.ptr, before);
		text = span_of(text.ptr + before, text.len - before);
		if (span_starts_with(text, SPAN("$$"))) {
			text = span_of(text.ptr + 2, text.len - 2);
			expansion->dollar_group = expansion->dollar_group || names_group(text);
			buf_char(out, '$');
		} else if (span_starts_with(text, opening)) {
			struct span inner = span_of(text.ptr + opening.len, text.len - opening.len);
			const char *end = memchr(inner.ptr, '}', inner.len);
			if (!end)
				return error_set(
					err, EINVAL, "\"%s\": the closing } is missing", escape_bytes(text).text);
			inner.len = (size_t)(end - inner.ptr);
			int result = put_variable(inner, expansion, out, err);
			if (result < 0)
				return result;
			text = span_of(end + 1, text.len - opening.len - inner.len - 1);
		} else if (text.len > 0) {
			if (span_starts_with(text, SPAN("${")))
				note_bare(text, expansion);
			buf_char(out, '$');
			text = span_of(text.ptr + 1, text.len - 1);
		}
	}
	return out->failed;
}
