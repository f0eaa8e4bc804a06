/* See url.h. Percent-encoding as Go's net/url does it, since users compare. */
#include "url.h"

#include <errno.h>
#include <stdlib.h>

#define PARAM SPAN("__param_")

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c);
}

/* also: further bytes that stay; blank: what a blank becomes, NULL for %20. */
static void append_escaped(struct buf *out, struct span text, const char *also, const char *blank)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c != '\0' && (is_unreserved(c) || strchr(also, c)))
			buf_char(out, c);
		else if (c == ' ' && blank)
			buf_str(out, blank);
		else
			buf_printf(out, "%%%02X", (unsigned char)c);
	}
}

static void append_param(struct buf *out, char *separator, struct span name, struct span value)
{
	buf_char(out, *separator);
	append_escaped(out, name, "", "+");
	buf_char(out, '=');
	append_escaped(out, value, "", "+");
	*separator = '&';
}

/* A query key: its first value may come from the label, the others are the job's. */
struct param {
	struct span name;
	struct span label; /* empty: none */
	const struct option_strings *values;
};

static int param_cmp(const void *a, const void *b)
{
	return span_cmp(((const struct param *)a)->name, ((const struct param *)b)->name);
}

static struct param *find_param(struct param *params, size_t count, struct span name)
{
	for (size_t i = 0; i < count; i++)
		if (span_eq(params[i].name, name))
			return &params[i];
	return NULL;
}

static void append_query(struct buf *out, const struct param *params, size_t count)
{
	char separator = '?';
	for (size_t i = 0; i < count; i++) {
		size_t values = params[i].values ? params[i].values->count : 0;
		if (params[i].label.len > 0)
			append_param(out, &separator, params[i].name, params[i].label);
		for (size_t j = params[i].label.len > 0; j < values; j++)
			append_param(out, &separator, params[i].name, span_str(params[i].values->items[j]));
	}
}

static int collect_params(const struct target_job *job, struct labels finished, struct arena *scratch,
	struct param **ret_params, size_t *ret_count)
{
	struct param *params = arena_alloc(scratch, (job->params.count + finished.count) * sizeof(*params));
	size_t count = 0;
	if (!params)
		return -ENOMEM;
	for (; count < job->params.count; count++)
		params[count] = (struct param){
			span_str(job->params.items[count].name), SPAN_NONE, &job->params.items[count].values};
	for (size_t i = 0; i < finished.count; i++) {
		struct span name = finished.items[i].name;
		if (!span_starts_with(name, PARAM))
			continue;
		name = span_of(name.ptr + PARAM.len, name.len - PARAM.len);
		struct param *param = find_param(params, count, name);
		if (!param) {
			param = &params[count++];
			*param = (struct param){name, SPAN_NONE, NULL};
		}
		param->label = finished.items[i].value;
	}
	qsort(params, count, sizeof(*params), param_cmp);
	*ret_params = params;
	*ret_count = count;
	return 0;
}

int url_build(const struct target_job *job, const struct target *target, bool explicit_port, struct labels finished,
	struct arena *scratch, struct buf *out)
{
	struct span path = labels_get(finished, SPAN("__metrics_path__"));
	bool is_ipv6 = target->host.len > 0 && memchr(target->host.ptr, ':', target->host.len);
	struct param *params;
	size_t count;
	if (collect_params(job, finished, scratch, &params, &count) < 0)
		return -ENOMEM;
	buf_printf(out, is_ipv6 ? "%.*s://[%.*s]" : "%.*s://%.*s", SPAN_ARGS(target->scheme), SPAN_ARGS(target->host));
	if (explicit_port)
		buf_printf(out, ":%u", (unsigned)target->port);
	if (path.len > 0 && path.ptr[0] != '/')
		buf_char(out, '/');
	append_escaped(out, path, "$&+,/:;=@", NULL);
	append_query(out, params, count);
	return out->failed;
}
