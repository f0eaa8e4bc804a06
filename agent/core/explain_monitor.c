/* A monitor, for `gleaner explain`: whether it is selected itself, what it does not honour, which Services and pods of this node it leads
 * to, and what becomes of these. */
#include "explain.h"

#include <errno.h>
#include <stdio.h>

#include "internal.h"

enum { NEAREST_SHOWN = 5, SERVICES_SHOWN = 20 };

struct monitor_view {
	struct core *core;
	const struct monitor_entry *entry;
	const struct kube_pod *pod; /* at hand */
	struct report *report;
	struct tally tally;
	size_t pods;          /* with answers that ask */
	size_t unasked;       /* pods within reach that it does not ask for */
	struct error nearest; /* why not, of the first of them */
	struct span nearest_pod;
};

/* ---- pods ----------------------------------------------------------------------------------------- */

static void see_pod(void *arg, const struct discover_answer *answer)
{
	struct monitor_view *view = arg;
	const struct kube_pod *pod = view->pod;
	char title[512];
	if (pod && !answer->asks) {
		if (!answer->near)
			return;
		if (view->unasked++ == 0) {
			view->nearest = answer->why;
			view->nearest_pod = pod->name;
		}
		return;
	}
	size_t endpoint = answer->endpoint ? (size_t)(answer->endpoint - view->entry->monitor->endpoints) : 0;
	if (pod)
		snprintf(title, sizeof(title), "Pod %.*s/%.*s, endpoint %zu", SPAN_ARGS(pod->namespace_),
			SPAN_ARGS(pod->name), endpoint);
	else
		snprintf(title, sizeof(title), "Endpoint %zu", endpoint);
	explain_answer(view->core, answer, title, view->report, &view->tally);
}

static void see_pods(struct monitor_view *view)
{
	const struct kube_pods *pods = discover_known_pods(view->core->discover);
	discover_explain(view->core->discover, NULL, view->entry, see_pod, view);
	for (size_t i = 0; pods && i < pods->count; i++) {
		size_t asking = view->tally.asking;
		view->pod = &pods->items[i];
		discover_explain(view->core->discover, view->pod, view->entry, see_pod, view);
		view->pods += view->tally.asking > asking;
	}
}

/* ---- Services --------------------------------------------------------------------------------------- */

static size_t pods_behind(const struct core *core, const struct monitor_service *service)
{
	const struct kube_pods *pods = discover_known_pods(core->discover);
	size_t count = 0;
	for (size_t i = 0; pods && i < pods->count; i++)
		count += span_eq(pods->items[i].namespace_, service->namespace_) &&
			 monitor_service_selects(service, pods->items[i].labels);
	return count;
}

static void put_ports(const struct monitor_service *service, struct buf *out)
{
	for (size_t i = 0; i < service->port_count; i++)
		buf_printf(out, "%s%s %u", i > 0 ? ", " : "",
			service->ports[i].name.len > 0 ? escape_bytes(service->ports[i].name).text : "(unnamed)",
			service->ports[i].port);
	buf_str(out, service->port_count > 0 ? "" : "none");
}

static void describe_service(struct monitor_view *view, const struct monitor_service *service)
{
	struct buf ports;
	buf_init(&ports, 4096);
	put_ports(service, &ports);
	explain_line(view->report, "note", "%.*s/%.*s: %s of this node behind it; ports: %.*s",
		SPAN_ARGS(service->namespace_), SPAN_ARGS(service->name),
		explain_count(pods_behind(view->core, service), "pod").text, SPAN_ARGS(buf_view(&ports)));
	buf_done(&ports);
}

/* Which Services it selects; none: why not the first ones. Returns how many. */
static size_t see_services(struct monitor_view *view, const struct monitor_set *set)
{
	const struct monitor *monitor = view->entry->monitor;
	size_t selected = 0, missed = 0;
	char verdict[96];
	for (size_t i = 0; i < set->service_count; i++)
		selected += monitor_selects(monitor, set->services[i]->namespace_, set->services[i]->labels);
	snprintf(verdict, sizeof(verdict), "%zu of %zu known are selected", selected, set->service_count);
	explain_item(view->report, "Services", false, verdict);
	for (size_t i = 0, shown = 0; i < set->service_count && shown < SERVICES_SHOWN; i++) {
		const struct monitor_service *service = set->services[i];
		struct error why = {""};
		if (monitor_explain(monitor, service->namespace_, service->labels, &why)) {
			describe_service(view, service);
			shown++;
		} else if (selected == 0 && monitor_reaches(monitor, service->namespace_) && missed++ < NEAREST_SHOWN) {
			explain_line(view->report, "note", "not %.*s/%.*s: %s", SPAN_ARGS(service->namespace_),
				SPAN_ARGS(service->name), why.text);
		}
	}
	if (selected == 0 && missed == 0)
		explain_line(view->report, "note", "no Service is known in the namespaces of its namespaceSelector");
	if (selected == 0)
		explain_line(view->report, "next",
			"spec.selector is matched with the labels of the Service itself, not with those of its pods");
	return selected;
}

/* ---- verdict ------------------------------------------------------------------------------------------ */

static void see_findings(struct monitor_view *view)
{
	const struct monitor *monitor = view->entry->monitor;
	if (monitor->finding_count == 0)
		return;
	explain_item(view->report, "Fields that are not honoured", false, "");
	for (size_t i = 0; i < monitor->finding_count; i++)
		explain_line(view->report, "refused", "%s: %s (%s)", monitor->findings[i].field,
			monitor->findings[i].reason, monitor_effect_name(monitor->findings[i].effect));
}

static void judge(const struct monitor_view *view, bool through_services, size_t services, struct error *verdict)
{
	const struct tally *tally = &view->tally;
	const struct monitor_entry *entry = view->entry;
	char of_pods[96];
	snprintf(of_pods, sizeof(of_pods), " of %s of this node", explain_count(view->pods, "pod").text);
	if (!entry->selected)
		error_set(verdict, 0, "not selected: %s", entry->why_not);
	else if (entry->monitor->rejected)
		error_set(verdict, 0, "rejected: %s",
			entry->monitor->finding_count > 0 ? entry->monitor->findings[0].field : "");
	else if (tally->targets > 0)
		explain_scraped(tally, view->pods > 0 ? of_pods : "", verdict);
	else if (tally->first_failure.text[0])
		error_set(verdict, 0, "not scraped: %s", tally->first_failure.text);
	else if (through_services && services == 0)
		error_set(verdict, 0, "not scraped: its selector matches no Service");
	else if (through_services)
		error_set(verdict, 0, "nothing to scrape here: no pod of this node is behind the Services it selects");
	else
		error_set(verdict, 0, "nothing to scrape here: it selects no pod of this node");
}

static void see_nearest(struct monitor_view *view)
{
	if (view->pods > 0 || view->unasked == 0 || !view->entry->selected)
		return;
	explain_item(view->report, "Pods of this node", false, "");
	explain_line(view->report, "note", "%s within its namespaces, none selected; %.*s: %s",
		explain_count(view->unasked, "pod").text, SPAN_ARGS(view->nearest_pod), view->nearest.text);
	explain_line(view->report, "next", "pods of other nodes are scraped by the agents there");
}

static void explain_one(struct core *core, const struct monitor_entry *entry, bool json, struct buf *out)
{
	const struct monitor *monitor = entry->monitor;
	const struct monitor_set *set = discover_monitor_set(core->discover);
	bool through_services = monitor->kind == MONITOR_SERVICE_MONITOR;
	struct report report;
	struct monitor_view view = {.core = core, .entry = entry, .report = &report};
	struct error verdict = {""};
	char subject[512];
	explain_begin(&report, json);
	see_findings(&view);
	size_t services = through_services ? see_services(&view, set) : 0;
	see_pods(&view);
	see_nearest(&view);
	judge(&view, through_services, services, &verdict);
	if (!entry->selected) {
		explain_item(&report, "Selection", false, "");
		explain_line(&report, "next",
			"change the monitor's labels or its namespace's, or monitors.* in gleaner's configuration "
			"(/config)");
	}
	snprintf(subject, sizeof(subject), "%s %.*s/%.*s", monitor_kind_name(monitor->kind),
		SPAN_ARGS(monitor->namespace_), SPAN_ARGS(monitor->name));
	explain_finish(&report, subject, view.tally.targets > 0, verdict.text, out);
}

bool explain_monitors(struct core *core, struct span namespace_, struct span name, bool json, struct buf *out)
{
	const struct monitor_set *set = discover_monitor_set(core->discover);
	size_t found = 0;
	for (size_t i = 0; set && i < set->entry_count; i++) {
		const struct monitor *monitor = set->entries[i].monitor;
		if (!span_eq(monitor->namespace_, namespace_) || !span_eq(monitor->name, name))
			continue;
		if (json && found > 0) /* one document; a second kind of the same name is rare */
			break;
		buf_str(out, found++ > 0 ? "\n" : "");
		explain_one(core, &set->entries[i], json, out);
	}
	return found > 0;
}
