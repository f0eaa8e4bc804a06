/* What the kernel says of listening ports, on the pages: per pod, and whether one of them is scraped; and what the probe lacks. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "internal.h"

/* The address that is listened at: "0.0.0.0", "::", ... */
struct address_text {
	char text[INET6_ADDRSTRLEN];
};

static struct address_text address_text(const struct listener *listener)
{
	struct address_text result = {"?"};
	inet_ntop(
		listener->family == AF_INET6 ? AF_INET6 : AF_INET, listener->address, result.text, sizeof(result.text));
	return result;
}

static bool is_scraped(const struct core *core, const struct listener *listener)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&core->targets, &i));) {
		if (probes_is_port_of(core->probes, listener, slot->value))
			return true;
	}
	return false;
}

static double seconds_open(const struct core *core, const struct listener *listener)
{
	uint64_t now_ns = clock_mono(&core->clock);
	return now_ns > listener->opened_ns ? (double)(now_ns - listener->opened_ns) / 1e9 : 0;
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void json_probe(const struct probes *probes, struct buf *out)
{
	buf_printf(out, ",\"probe\":{\"state\":\"%s\"", probes_state_name(probes->state));
	pages_json(out, "reason", span_str(probes->reason.text));
	buf_str(out, ",\"programs\":[");
	for (size_t i = 0; i < probes->hello.program_count; i++) {
		const struct probe_program *program = &probes->hello.programs[i];
		buf_printf(
			out, "%s{\"state\":\"%s\"", i ? "," : "", probe_state_name((enum probe_state)program->state));
		pages_json(out, "name", span_str(program->name));
		pages_json(out, "reason", span_str(program->reason));
		buf_char(out, '}');
	}
	buf_printf(out, "],\"cost\":{\"measured\":%s", costs_are_measured(probes->core) ? "true" : "false");
	pages_json(out, "reason", span_str(probes->core->costs.reason.text));
	buf_str(out, "}}");
}

static void json_port(const struct core *core, const struct listener *listener, struct buf *out)
{
	const struct kube_pod *pod = probes_pod(core->probes, listener);
	buf_printf(out, "{\"port\":%u,\"openSeconds\":%.3f,\"scraped\":%s", listener->port,
		seconds_open(core, listener), is_scraped(core, listener) ? "true" : "false");
	pages_json(out, "address", span_str(address_text(listener).text));
	pages_json(out, "podUid", span_str(listener->pod_uid));
	pages_json(out, "namespace", pod ? pod->namespace_ : SPAN(""));
	pages_json(out, "pod", pod ? pod->name : SPAN(""));
	pages_json(out, "containerId", span_str(listener->container_id));
	pages_json(out, "process", span_str(listener->comm));
	const char *verdict = trials_verdict(core, listener);
	if (verdict)
		pages_json(out, "trial", span_str(verdict));
	buf_char(out, '}');
}

void ports_json(struct core *core, struct buf *out)
{
	size_t count;
	if (!core->probes)
		return;
	json_probe(core->probes, out);
	struct listener *ports = probes_ports(core->probes, &count);
	buf_str(out, ",\"listeningPorts\":[");
	for (size_t i = 0; i < count; i++) {
		buf_str(out, i ? "," : "");
		json_port(core, &ports[i], out);
	}
	buf_char(out, ']');
	free(ports);
}

/* ---- HTML --------------------------------------------------------------------------------- */

static void html_pod(const struct kube_pod *pod, const struct listener *listener, struct buf *out)
{
	if (pod) {
		pages_html(out, pod->namespace_);
		buf_char(out, '/');
		pages_html(out, pod->name);
	} else {
		pages_html(out, span_str(listener->pod_uid[0] ? listener->pod_uid : "(no pod)"));
	}
}

static void html_port(const struct core *core, const struct listener *listener, struct buf *out)
{
	const char *verdict = trials_verdict(core, listener);
	if (!verdict)
		verdict = "";
	buf_str(out, "<tr><td>");
	html_pod(probes_pod(core->probes, listener), listener, out);
	buf_printf(out, "</td><td class=\"n\">%u</td><td>%s</td><td>", listener->port, address_text(listener).text);
	pages_html(out, span_str(listener->comm));
	buf_printf(out, "</td><td class=\"n\">%.0f s</td><td>%s</td></tr>\n", seconds_open(core, listener),
		is_scraped(core, listener) ? "yes" : verdict);
}

/* What is missing, and why; all programs are in the JSON. */
static void html_probe(const struct probes *probes, struct buf *out)
{
	buf_printf(out, "<h2>Listening ports</h2><p>Probe: %s", probes_state_name(probes->state));
	if (probes->reason.text[0]) {
		buf_str(out, "; ");
		pages_html(out, span_str(probes->reason.text));
	}
	buf_str(out, ".</p>\n");
	bool begun = false;
	for (size_t i = 0; i < probes->hello.program_count; i++) {
		const struct probe_program *program = &probes->hello.programs[i];
		if (program->state == PROBE_ATTACHED || program->state == PROBE_OFF)
			continue;
		buf_str(out, begun ? "<br>" : "<p><code>");
		begun = true;
		pages_html(out, span_str(program->name));
		buf_printf(out, " %s ", probe_state_name((enum probe_state)program->state));
		pages_html(out, span_str(program->reason));
	}
	buf_str(out, begun ? "</code></p>\n" : "");
}

void ports_html(struct core *core, struct buf *out)
{
	size_t count;
	if (!core->probes)
		return;
	html_probe(core->probes, out);
	struct listener *ports = probes_ports(core->probes, &count);
	if (!ports)
		return;
	buf_str(out, "<table><thead><tr><th>Pod</th><th>Port</th><th>Address</th><th>Process</th><th>Open for</th>"
		     "<th>Scraped</th></tr></thead><tbody>\n");
	for (size_t i = 0; i < count; i++)
		html_port(core, &ports[i], out);
	buf_str(out, "</tbody></table>\n");
	free(ports);
}
