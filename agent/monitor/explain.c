/* Why a monitor does not select a Service or pod, and a Service not a pod: the first requirement that does not hold, in words. What holds
 * is decided where discovery has it decided (selector.c, service.c). */
#include <errno.h>

#include "gleaner/monitor.h"

enum { SHOWN_MAX = 8 }; /* values, namespaces */

static void put_list(struct buf *out, const struct span *items, size_t count)
{
	for (size_t i = 0; i < count && i < SHOWN_MAX; i++)
		buf_printf(out, "%s%s", i > 0 ? ", " : "", escape_bytes(items[i]).text);
	if (count > SHOWN_MAX)
		buf_printf(out, " and %zu more", count - SHOWN_MAX);
}

static void put_present(struct buf *out, struct span key, struct labels labels)
{
	const struct label *found = NULL;
	for (size_t i = 0; !found && i < labels.count; i++) {
		if (span_eq(labels.items[i].name, key))
			found = &labels.items[i];
	}
	buf_printf(out, "label %s is ", escape_bytes(key).text);
	if (found)
		buf_printf(out, "\"%s\"", escape_bytes(found->value).text);
	else
		buf_str(out, "not there");
}

static void put_unmet(struct buf *out, const struct monitor_requirement *requirement, struct labels labels)
{
	put_present(out, requirement->key, labels);
	switch (requirement->operator_) {
	case MONITOR_IN:
		buf_str(out, requirement->value_count == 1 ? "; it must be \"" : "; it must be one of \"");
		break;
	case MONITOR_NOT_IN:
		buf_str(out, "; it must be none of \"");
		break;
	case MONITOR_EXISTS:
		buf_str(out, "; it must be there");
		return;
	case MONITOR_DOES_NOT_EXIST:
		buf_str(out, "; it must not be there");
		return;
	}
	put_list(out, requirement->values, requirement->value_count);
	buf_char(out, '"');
}

static void put_unreached(struct buf *out, const struct monitor *monitor, struct span namespace_)
{
	buf_printf(out, "its namespaceSelector does not have namespace %s, only ", escape_bytes(namespace_).text);
	if (monitor->namespace_count > 0)
		put_list(out, monitor->namespaces, monitor->namespace_count);
	else
		buf_str(out, "none");
}

static void keep_text(struct buf *text, struct error *why)
{
	error_set(why, EINVAL, "%.*s", SPAN_ARGS(buf_view(text)));
	buf_done(text);
}

bool monitor_explain(const struct monitor *monitor, struct span namespace_, struct labels labels, struct error *why)
{
	const struct monitor_requirement *unmet = monitor_selector_unmet(&monitor->selector, labels);
	bool reached = monitor_reaches(monitor, namespace_);
	if (reached && !unmet)
		return true;
	struct buf text;
	buf_init(&text, 8192);
	if (!reached)
		put_unreached(&text, monitor, namespace_);
	else
		put_unmet(&text, unmet, labels);
	keep_text(&text, why);
	return false;
}

bool monitor_service_explain(const struct monitor_service *service, struct labels pod_labels, struct error *why)
{
	const struct label *unmet = monitor_service_unmet(service, pod_labels);
	if (service->external_name || service->selector.count == 0) {
		error_set(why, EINVAL, "it has no selector");
		return false;
	}
	if (!unmet)
		return true;
	struct monitor_requirement requirement = {
		.key = unmet->name, .operator_ = MONITOR_IN, .values = &unmet->value, .value_count = 1};
	struct buf text;
	buf_init(&text, 8192);
	put_unmet(&text, &requirement, pod_labels);
	keep_text(&text, why);
	return false;
}
