/* The pages of the status server: health, metrics, configuration, targets.
 *
 * A page is asked for in the server's thread and rendered in the loop's (loop_call), where all data may be read without a lock. A loop that
 * does not answer within two seconds makes every page 503: that is the health check.
 */
#include <errno.h>
#include <time.h>

#include "cost_pages.h"
#include "explain.h"
#include "gleaner/config.h"
#include "internal.h"
#include "top.h"

#define PAGE_TIMEOUT_NS (2 * NS_PER_SEC)

enum { PAGE_MAX = 64 << 20 };

struct page {
	struct core *core;
	const struct status_request *request;
	struct status_reply *reply;
	void (*render)(struct page *page);
};

static void page_render(void *arg)
{
	struct page *page = arg;
	page->render(page);
}

static void serve(
	void *arg, const struct status_request *request, struct status_reply *reply, void (*render)(struct page *page))
{
	struct page page = {arg, request, reply, render};
	reply->body.max = PAGE_MAX;
	int result = loop_call(page.core->loop, page_render, &page, PAGE_TIMEOUT_NS);
	if (result == 0 && !reply->body.failed)
		return;
	reply->code = 503;
	reply->content_type = "text/plain; charset=utf-8";
	buf_reset(&reply->body);
	buf_str(&reply->body, result < 0 ? "the event loop does not answer\n" : "out of memory for this page\n");
}

/* ---- health ------------------------------------------------------------------------------ */

static void render_healthy(struct page *page)
{
	buf_str(&page->reply->body, "gleaner is healthy.\n");
}

static void serve_healthy(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_healthy);
}

/* Ready: the scrapers run, some source of pods has answered once (when there is any), and so has the API server for each list of monitors,
 * if only to refuse. A gateway that is down changes nothing. */
static void render_ready(struct page *page)
{
	struct core *core = page->core;
	struct buf *out = &page->reply->body, why;
	buf_init(&why, 4096);
	if (!sources_ready(core->sources, &why))
		buf_printf(out, "not ready: %.*s\n", SPAN_ARGS(buf_view(&why)));
	else if (!monitors_ready(core->monitors, &why))
		buf_printf(out, "not ready: %.*s\n", SPAN_ARGS(buf_view(&why)));
	else if (!workers_all_alive(core))
		buf_str(out, "not ready: a scraper is being started\n");
	if (out->len > 0)
		page->reply->code = 503;
	else
		buf_str(out, "gleaner is ready.\n");
	buf_done(&why);
}

static void serve_ready(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_ready);
}

/* ---- reload, configuration, metrics -------------------------------------------------------- */

static void render_reload(struct page *page)
{
	struct error err = {""};
	if (core_reload(page->core, &err) < 0) {
		page->reply->code = 500;
		buf_printf(&page->reply->body,
			"failed to reload config: %s; the running one stays, the log says more\n", err.text);
	}
}

static void serve_reload(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_reload);
}

static void render_config(struct page *page)
{
	page->reply->content_type = "text/yaml; charset=utf-8";
	config_print(page->core->settings, &settings_table, &page->reply->body);
}

static void serve_config(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_config);
}

static void render_metrics(struct page *page)
{
	page->reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
	telemetry_render(page->core, &page->reply->body);
}

static void serve_metrics(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_metrics);
}

/* ---- /api/v1/targets, in the shape of Prometheus' API ---------------------------------------- */

static void json_labels(struct buf *out, struct labels labels)
{
	buf_char(out, '{');
	for (size_t i = 0; i < labels.count; i++) {
		if (i > 0)
			buf_char(out, ',');
		buf_json(out, labels.items[i].name);
		buf_char(out, ':');
		buf_json(out, labels.items[i].value);
	}
	buf_char(out, '}');
}

static const char *health(const struct core_target *target)
{
	if (target->last.key == 0)
		return "unknown";
	return target->last.up ? "up" : "down";
}

void pages_json(struct buf *out, const char *key, struct span value)
{
	buf_printf(out, ",\"%s\":", key);
	buf_json(out, value);
}

static void json_target(struct buf *out, const struct core_target *known)
{
	const struct target *target = known->target;
	struct time_text time = {"0001-01-01T00:00:00Z"};
	if (known->last.key != 0)
		time_format(known->last.tick_ns, &time);
	buf_str(out, "{\"discoveredLabels\":");
	json_labels(out, target->discovered);
	buf_str(out, ",\"labels\":");
	json_labels(out, target->labels);
	pages_json(out, "scrapePool", target->job->name);
	pages_json(out, "scrapeUrl", target->url);
	pages_json(out, "globalUrl", target->url);
	pages_json(out, "lastError", span_str(known->last_error.text));
	pages_json(out, "lastScrape", span_str(time.text));
	buf_printf(out, ",\"lastScrapeDuration\":%.9g,\"health\":\"%s\"", (double)known->last.duration_ns / 1e9,
		health(known));
	pages_json(out, "scrapeInterval", span_str(duration_format(target->interval_ns).text));
	if (budget_stretch(&known->budget) > 1)
		pages_json(out, "stretchedScrapeInterval",
			span_str(duration_format(target->interval_ns * budget_stretch(&known->budget)).text));
	pages_json(out, "scrapeTimeout", span_str(duration_format(target->timeout_ns).text));
	/* What Prometheus does not have. */
	buf_printf(out,
		",\"scrapes\":%llu,\"scrapeFailures\":%llu,\"lastScrapeSamples\":%llu,\"lastScrapeBodyBytes\":%llu",
		(unsigned long long)known->scrapes, (unsigned long long)known->failures,
		(unsigned long long)known->last.samples, (unsigned long long)known->last.body_bytes);
	cost_json(out, known);
	buf_char(out, '}');
}

static void render_api_targets(struct page *page)
{
	struct core *core = page->core;
	struct buf *out = &page->reply->body;
	struct span state = status_query(page->request, "state");
	size_t count, dropped_count, shown = 0;
	struct target *const *targets = discover_targets(core->discover, &count);
	const struct discover_dropped *dropped = discover_dropped(core->discover, &dropped_count);
	bool active = !span_eq(state, SPAN("dropped")), with_dropped = !span_eq(state, SPAN("active"));
	page->reply->content_type = "application/json";
	buf_str(out, "{\"status\":\"success\",\"data\":{\"activeTargets\":[");
	for (size_t i = 0; active && i < count; i++) {
		const struct core_target *known = targets_find(core, targets[i]->key);
		if (!known)
			continue;
		buf_str(out, shown++ ? "," : "");
		json_target(out, known);
	}
	buf_str(out, "],\"droppedTargets\":[");
	for (size_t i = 0; with_dropped && i < dropped_count; i++) {
		buf_str(out, i ? "," : "");
		buf_str(out, "{\"discoveredLabels\":");
		json_labels(out, dropped[i].discovered);
		pages_json(out, "scrapePool", dropped[i].job_name);
		if (dropped[i].rule != TARGET_NO_RULE) /* else: it had no address */
			buf_printf(out, ",\"relabelRule\":%zu", dropped[i].rule);
		buf_char(out, '}');
	}
	buf_char(out, ']');
	sources_json(core->sources, out);
	ports_json(core, out);
	buf_str(out, "}}\n");
}

static void serve_api_targets(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_api_targets);
}

/* ---- /targets, for people ---------------------------------------------------------------------- */

/* U+0000 to U+001F, U+007F to U+009F; where text is read by a terminal (curl), they are commands. */
static bool is_control(struct span text)
{
	unsigned char c = (unsigned char)text.ptr[0];
	return c < 0x20 || c == 0x7f || (c == 0xc2 && text.len > 1 && (unsigned char)text.ptr[1] < 0xa0);
}

void pages_html(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (is_control(span_of(text.ptr + i, text.len - i))) {
			buf_str(out, "\xef\xbf\xbd");
			i += (unsigned char)text.ptr[i] == 0xc2;
			continue;
		}
		switch (text.ptr[i]) {
		case '<':
			buf_str(out, "&lt;");
			break;
		case '>':
			buf_str(out, "&gt;");
			break;
		case '&':
			buf_str(out, "&amp;");
			break;
		case '"':
			buf_str(out, "&quot;");
			break;
		default:
			buf_char(out, text.ptr[i]);
		}
	}
}

static const char page_head[] =
	"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>gleaner: targets</title><style>"
	"body{font:14px system-ui,sans-serif;margin:1.5rem;color:#222}table{border-collapse:collapse;width:100%}"
	"th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}"
	"td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:12px;color:#555}"
	".up{color:#176f2c}.down{color:#a40e26;font-weight:600}.unknown{color:#666}</style></head><body>";

static void html_target(struct buf *out, const struct core_target *known, uint64_t now_ns)
{
	const struct target *target = known->target;
	struct buf labels;
	buf_init(&labels, 65536);
	buf_labels(&labels, target->labels);
	buf_str(out, "<tr><td>");
	pages_html(out, target->job->name);
	buf_str(out, "</td><td>");
	pages_html(out, target->url);
	buf_str(out, "<br><code>");
	pages_html(out, buf_view(&labels));
	buf_printf(out, "</code></td><td class=\"%s\">%s</td><td class=\"n\">", health(known), health(known));
	if (known->last.key == 0)
		buf_str(out, "never");
	else
		buf_printf(out, "%.1f s ago",
			now_ns > known->last.tick_ns ? (double)(now_ns - known->last.tick_ns) / 1e9 : 0.0);
	buf_printf(out, "</td><td class=\"n\">%.1f ms</td><td class=\"n\">%llu</td><td class=\"n\">%s",
		(double)known->last.duration_ns / 1e6, (unsigned long long)known->last.samples,
		duration_format(target->interval_ns).text);
	if (budget_stretch(&known->budget) > 1)
		buf_printf(out, ", stretched to %s",
			duration_format(target->interval_ns * budget_stretch(&known->budget)).text);
	buf_str(out, "</td>");
	cost_html(out, known);
	buf_str(out, "<td>");
	pages_html(out, span_str(known->last_error.text));
	buf_str(out, "</td></tr>\n");
	buf_done(&labels);
}

static void render_targets(struct page *page)
{
	struct core *core = page->core;
	struct buf *out = &page->reply->body;
	size_t count, dropped_count, up = 0;
	struct target *const *targets = discover_targets(core->discover, &count);
	discover_dropped(core->discover, &dropped_count);
	for (size_t i = 0; i < count; i++) {
		const struct core_target *known = targets_find(core, targets[i]->key);
		up += known && known->last.key != 0 && known->last.up;
	}
	page->reply->content_type = "text/html; charset=utf-8";
	buf_str(out, page_head);
	buf_printf(out,
		"<h1>Targets</h1><p>%zu targets, %zu up, %zu dropped by relabelling. "
		"The same as JSON: <a href=\"/api/v1/targets\">/api/v1/targets</a>. "
		"<a href=\"/config\">Configuration</a>, <a href=\"/metrics\">own metrics</a>.</p>"
		"<table><thead><tr><th>Job</th><th>Endpoint and labels</th><th>State</th><th>Last scrape</th>"
		"<th>Took</th><th>Samples</th><th>Interval</th><th>CPU of the target a scrape</th><th>CPU here</th>"
		"<th>Error</th></tr></thead><tbody>\n",
		count, up, dropped_count);
	uint64_t now = clock_wall(&core->clock);
	for (size_t i = 0; i < count; i++) {
		const struct core_target *known = targets_find(core, targets[i]->key);
		if (known)
			html_target(out, known, now);
	}
	buf_str(out, "</tbody></table>\n");
	sources_html(core->sources, out);
	monitors_html(core, out);
	ports_html(core, out);
	buf_str(out, "</body></html>\n");
}

static void serve_targets(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_targets);
}

/* ---- /api/v1/top: what `gleaner top` shows --------------------------------------------------- */

static void render_top(struct page *page)
{
	top_page(page->core, page->request, page->reply);
}

static void serve_top(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_top);
}

/* ---- /api/v1/explain: what `gleaner explain` shows --------------------------------------------- */

static void render_explain(struct page *page)
{
	explain_page(page->core, page->request, page->reply);
}

static void serve_explain(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_explain);
}

/* ---- /api/v1/monitors --------------------------------------------------------------------------- */

static void render_monitors(struct page *page)
{
	page->reply->content_type = "application/json";
	monitors_json(page->core, &page->reply->body);
}

static void serve_monitors(void *arg, const struct status_request *request, struct status_reply *reply)
{
	serve(arg, request, reply, render_monitors);
}

const struct status_route core_routes[] = {
	{"/", false, serve_targets},
	{"/targets", false, serve_targets},
	{"/api/v1/targets", false, serve_api_targets},
	{"/api/v1/explain", false, serve_explain},
	{"/api/v1/monitors", false, serve_monitors},
	{"/api/v1/top", false, serve_top},
	{"/metrics", false, serve_metrics},
	{"/config", false, serve_config},
	{"/healthz", false, serve_healthy},
	{"/-/healthy", false, serve_healthy},
	{"/readyz", false, serve_ready},
	{"/-/ready", false, serve_ready},
	{"/-/reload", true, serve_reload},
	{NULL, false, NULL},
};
