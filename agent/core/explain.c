/* What `gleaner explain` asks for: a pod, an address, a monitor, the node.
 *
 * The words come from discovery (discover_explain), which asks what it asks when it makes targets; here they are put in order, with what
 * is known of the targets' scrapes.
 */
#include "explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

enum { NOT_ASKING_SHOWN = 10 };

/* ---- a pod ------------------------------------------------------------------------------------------ */

struct pod_view {
	struct core *core;
	struct report report;
	struct tally tally;
	size_t far; /* monitors that have nothing to do with the pod */
	bool asking_only;
};

/* Those that ask first, then those that nearly do. */
static void see_answer(void *arg, const struct discover_answer *answer)
{
	struct pod_view *view = arg;
	if (view->asking_only != answer->asks)
		return;
	if (!answer->asks && (!answer->near || view->tally.near >= NOT_ASKING_SHOWN))
		view->far++;
	else
		explain_answer(view->core, answer, NULL, &view->report, &view->tally);
}

static void describe_ports(const struct kube_pod *pod, struct report *report)
{
	struct buf text;
	buf_init(&text, 4096);
	for (size_t i = 0; i < pod->container_count; i++) {
		const struct kube_container *container = &pod->containers[i];
		for (size_t j = 0; j < container->port_count; j++) {
			const struct kube_port *port = &container->ports[j];
			buf_printf(&text, "%s%.*s %u/%.*s of %.*s", text.len > 0 ? ", " : "",
				port->name.len > 0 ? (int)port->name.len : 9,
				port->name.len > 0 ? port->name.ptr : "(unnamed)", port->number,
				SPAN_ARGS(port->protocol), SPAN_ARGS(container->name));
		}
	}
	explain_line(
		report, "note", "ports: %.*s", text.len > 0 ? (int)text.len : 8, text.len > 0 ? text.ptr : "none are");
	buf_done(&text);
}

static void describe_pod(const struct kube_pod *pod, struct report *report)
{
	struct buf labels;
	buf_init(&labels, 4096);
	buf_labels(&labels, pod->labels);
	explain_item(report, "Pod", false, "as its kubelet tells it");
	explain_line(report, "note", "phase %.*s, ready %.*s, address %.*s%s%s", SPAN_ARGS(pod->phase),
		SPAN_ARGS(pod->ready), pod->pod_ip.len > 0 ? (int)pod->pod_ip.len : 4,
		pod->pod_ip.len > 0 ? pod->pod_ip.ptr : "none", pod->host_network ? ", in the host's network" : "",
		pod->terminating ? ", terminating" : "");
	if (labels.len > 0)
		explain_line(report, "note", "labels: %.*s", SPAN_ARGS(buf_view(&labels)));
	describe_ports(pod, report);
	buf_done(&labels);
}

static void judge_pod(const struct pod_view *view, struct error *verdict)
{
	const struct tally *tally = &view->tally;
	if (tally->targets > 0)
		explain_scraped(tally, "", verdict);
	else if (tally->first_failure.text[0])
		error_set(verdict, 0, "not scraped: %s", tally->first_failure.text);
	else if (tally->almost.text[0])
		error_set(verdict, 0, "not scraped: %s", tally->almost.text);
	else
		error_set(verdict, 0, "not scraped: nothing selects it (no annotation, no monitor, no scrape_config)");
}

static void explain_pod(struct core *core, const struct kube_pod *pod, bool json, struct buf *out)
{
	struct pod_view view = {.core = core, .asking_only = true};
	struct error verdict = {""};
	char subject[512];
	explain_begin(&view.report, json);
	describe_pod(pod, &view.report);
	discover_explain(core->discover, pod, NULL, see_answer, &view);
	view.asking_only = false;
	view.far = 0;
	discover_explain(core->discover, pod, NULL, see_answer, &view);
	view.far -= view.far < view.tally.asking ? view.far : view.tally.asking;
	if (view.far > 0) {
		explain_item(&view.report, "Others", false, "");
		explain_line(&view.report, "note", "%s select nothing of the pod's namespace, or not the pod",
			explain_count(view.far, "monitor").text);
	}
	judge_pod(&view, &verdict);
	snprintf(subject, sizeof(subject), "Pod %.*s/%.*s", SPAN_ARGS(pod->namespace_), SPAN_ARGS(pod->name));
	explain_finish(&view.report, subject, view.tally.targets > 0, verdict.text, out);
}

/* "NS/NAME"; without a slash the namespace is `default`. */
static void split_name(struct span text, struct span *ret_namespace, struct span *ret_name)
{
	const char *slash = memchr(text.ptr, '/', text.len);
	*ret_namespace = slash ? span_of(text.ptr, (size_t)(slash - text.ptr)) : SPAN("default");
	*ret_name = slash ? span_of(slash + 1, text.len - ret_namespace->len - 1) : text;
}

static const struct kube_pod *find_named(const struct kube_pods *pods, struct span namespace_, struct span name)
{
	for (size_t i = 0; pods && i < pods->count; i++) {
		if (span_eq(pods->items[i].name, name) && span_eq(pods->items[i].namespace_, namespace_))
			return &pods->items[i];
	}
	return NULL;
}

/* Nothing of that kind is known here. */
static unsigned unknown(
	struct core *core, const char *kind, struct span name, const char *next, bool json, struct buf *out)
{
	const struct kube_pods *pods = discover_known_pods(core->discover);
	struct report report;
	char subject[512];
	explain_begin(&report, json);
	explain_item(&report, "This node", false, "");
	if (pods)
		explain_line(&report, "note", "%s known", explain_count(pods->count, "pod").text);
	else
		explain_line(&report, "note", "no pods are known: no source of pods has answered yet; see /readyz");
	explain_line(&report, "next", "%s", next);
	snprintf(subject, sizeof(subject), "%s %.*s", kind, (int)(name.len < 400 ? name.len : 400), name.ptr);
	explain_finish(&report, subject, false, "not known on this node", out);
	return 404;
}

static unsigned explain_named_pod(struct core *core, struct span text, bool json, struct buf *out)
{
	struct span namespace_, name;
	split_name(text, &namespace_, &name);
	const struct kube_pod *pod = find_named(discover_known_pods(core->discover), namespace_, name);
	if (!pod)
		return unknown(core, "Pod", text,
			"each agent knows the pods of its own node: kubectl get pod -o wide says which that is", json,
			out);
	explain_pod(core, pod, json, out);
	return 200;
}

/* ---- an address ------------------------------------------------------------------------------------------- */

static bool has_address(const struct kube_pod *pod, struct span host)
{
	bool has = span_eq(pod->pod_ip, host);
	for (size_t i = 0; !has && i < pod->pod_ip_count; i++)
		has = span_eq(pod->pod_ips[i], host);
	return has && host.len > 0;
}

static bool is_asked_for(const struct target *target, struct span text, struct span host, uint16_t port)
{
	return span_eq(target->url, text) || span_eq(labels_get(target->labels, SPAN("instance")), text) ||
	       (span_eq(target->host, host) && (port == 0 || target->port == port));
}

/* "http://10.0.0.1:80/metrics" has an address, too. */
static void read_address(struct span text, struct span *ret_host, uint16_t *ret_port)
{
	const char *scheme = memmem(text.ptr, text.len, "://", 3);
	struct span rest = scheme ? span_of(scheme + 3, text.len - (size_t)(scheme + 3 - text.ptr)) : text, address;
	*ret_host = SPAN_NONE;
	*ret_port = 0;
	if (span_next(&rest, '/', &address))
		target_address_split(address, ret_host, ret_port, NULL);
}

/* Targets that were dropped at this address: the job and the rule. */
static void list_dropped(struct core *core, struct span host, uint16_t port, struct report *report)
{
	size_t count, shown = 0;
	const struct discover_dropped *dropped = discover_dropped(core->discover, &count);
	for (size_t i = 0; i < count && shown < NOT_ASKING_SHOWN; i++) {
		struct span own;
		uint16_t own_port = 0;
		if (target_address_split(
			    labels_get(dropped[i].discovered, SPAN("__address__")), &own, &own_port, NULL) < 0 ||
			!span_eq(own, host) || (port != 0 && own_port != port))
			continue;
		shown++;
		if (dropped[i].rule == TARGET_NO_RULE)
			explain_line(report, "dropped", "by job %.*s: relabelling left no __address__",
				SPAN_ARGS(dropped[i].job_name));
		else
			explain_line(report, "dropped", "by job %.*s, relabel rule %zu", SPAN_ARGS(dropped[i].job_name),
				dropped[i].rule);
	}
}

static void see_targets(struct core *core, struct span text, struct report *report, struct tally *tally)
{
	size_t count;
	struct target *const *targets = discover_targets(core->discover, &count);
	struct span host;
	uint16_t port;
	read_address(text, &host, &port);
	for (size_t i = 0; i < count; i++) {
		struct core_target *known = targets_find(core, targets[i]->key);
		struct error title = {""};
		if (!known || !is_asked_for(targets[i], text, host, port))
			continue;
		error_set(&title, 0, "Job %.*s", SPAN_ARGS(targets[i]->job->name));
		explain_item(report, title.text, true, "scraped");
		tally->down += explain_target(core, known, report);
		tally->targets++;
	}
}

/* Returns how many pods have the address. */
static size_t see_pods(struct core *core, struct span text, struct report *report)
{
	const struct kube_pods *pods = discover_known_pods(core->discover);
	struct span host;
	uint16_t port;
	size_t found = 0;
	read_address(text, &host, &port);
	for (size_t i = 0; pods && i < pods->count; i++) {
		const struct kube_pod *pod = &pods->items[i];
		if (!has_address(pod, host))
			continue;
		if (found++ == 0)
			explain_item(report, "Pods of this address", false, "");
		explain_line(report, "note", "pod %.*s/%.*s", SPAN_ARGS(pod->namespace_), SPAN_ARGS(pod->name));
		explain_line(report, "next", "gleaner explain --pod %.*s/%.*s", SPAN_ARGS(pod->namespace_),
			SPAN_ARGS(pod->name));
	}
	if (found > 0)
		list_dropped(core, host, port, report);
	return found;
}

static unsigned explain_address(struct core *core, struct span text, bool json, struct buf *out)
{
	struct report report;
	struct tally tally = {0};
	struct error verdict = {"not scraped: no target of the pods that have it is at this port"};
	char subject[512];
	explain_begin(&report, json);
	see_targets(core, text, &report, &tally);
	if (see_pods(core, text, &report) + tally.targets == 0) {
		explain_discard(&report);
		return unknown(core, "Address", text,
			"no pod and no target of this node has it; host:port, an IP address or a target's URL is "
			"expected",
			json, out);
	}
	if (tally.targets > 0)
		explain_scraped(&tally, "", &verdict);
	snprintf(subject, sizeof(subject), "Address %.*s", (int)(text.len < 400 ? text.len : 400), text.ptr);
	explain_finish(&report, subject, tally.targets > 0, verdict.text, out);
	return 200;
}

/* ---- the page -------------------------------------------------------------------------------------------------- */

static unsigned explain_named_monitor(struct core *core, struct span text, bool json, struct buf *out)
{
	struct span namespace_, name;
	split_name(text, &namespace_, &name);
	if (explain_monitors(core, namespace_, name, json, out))
		return 200;
	return unknown(core, "Monitor", text,
		discover_monitor_set(core->discover)
			? "no ServiceMonitor, PodMonitor or ScrapeConfig of this name is there (NAMESPACE/NAME)"
			: "monitors are not followed, or the API server has not answered yet: set monitors.* and look "
			  "at "
			  "/readyz",
		json, out);
}

unsigned explain_render(struct core *core, const struct explain_subject *subject, bool json, struct buf *out)
{
	if (subject->pod.len > 0)
		return explain_named_pod(core, subject->pod, json, out);
	if (subject->monitor.len > 0)
		return explain_named_monitor(core, subject->monitor, json, out);
	if (subject->address.len > 0)
		return explain_address(core, subject->address, json, out);
	explain_node(core, json, out);
	return 200;
}

void explain_page(struct core *core, const struct status_request *request, struct status_reply *reply)
{
	struct span format = status_query(request, "format");
	struct explain_subject subject = {
		status_query(request, "pod"), status_query(request, "monitor"), status_query(request, "address")};
	bool json = format.len == 0 || span_eq(format, SPAN("json"));
	int subjects = (subject.pod.len > 0) + (subject.monitor.len > 0) + (subject.address.len > 0);
	if ((!json && !span_eq(format, SPAN("text"))) || subjects > 1) {
		reply->code = 400;
		buf_str(&reply->body, "format is text or json; one of pod, monitor (NAMESPACE/NAME) and address\n");
		return;
	}
	if (json)
		reply->content_type = "application/json";
	reply->code = explain_render(core, &subject, json, &reply->body);
}
