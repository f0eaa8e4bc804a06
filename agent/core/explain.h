/* explain: why something of the node is scraped, or is not, in words; for `gleaner explain`. */
#pragma once

#include "gleaner/discover.h"

struct core;
struct core_target;
struct status_request;
struct status_reply;

/* GET /api/v1/explain?pod=NS/NAME | monitor=NS/NAME | address=ADDRESS &format=text|json; without a subject: the node. */
void explain_page(struct core *core, const struct status_request *request, struct status_reply *reply);
/* The same for who has no request; one of the subjects, or none, is not empty. Returns 200, or 404: there is no such thing here (which the
 * answer says, and what to do). */
struct explain_subject {
	struct span pod, monitor, address;
};
unsigned explain_render(struct core *core, const struct explain_subject *subject, bool json, struct buf *out);

/* ---- explain_report.c: an answer while it is written ---------------------------------------------- */

/* A verdict, then items, each a title with a verdict and lines. Lines are cut at 2,000 bytes and made printable, whoever wrote what is in
 * them; 1 MiB in all, the rest is left out and counted. */
struct report {
	bool json;
	struct buf items, line;
	size_t item_count, line_count, left_out;
	bool open; /* an item is */
};
void explain_begin(struct report *report, bool json);
/* Begins an item and ends the one before. */
void explain_item(struct report *report, const char *title, bool scraped, const char *verdict);
/* kind: "target", "dropped", "refused", "note", "next". */
void explain_line(struct report *report, const char *kind, const char *fmt, ...) GLEANER_PRINTF(3, 4);
void explain_discard(struct report *report);
/* Puts it all together and frees it. */
void explain_finish(struct report *report, const char *subject, bool scraped, const char *verdict, struct buf *out);

/* ---- explain_answer.c: what one source makes of a pod ------------------------------------------------- */

/* Sums over answers. */
struct tally {
	size_t answers, asking, near, targets, down, dropped, refused;
	struct error almost;        /* why one that is meant for the pod does not ask; "" none */
	struct error first_failure; /* of a source that asks and has nothing; "" none */
};
/* An item: title, verdict, targets, rules that dropped, refusals, what to do next; into the tally, too. title may be NULL: the source. */
void explain_answer(struct core *core, const struct discover_answer *answer, const char *title, struct report *report,
	struct tally *tally);
/* Lines of one target: health, last error, pauses. Returns whether it is down. */
bool explain_target(struct core *core, struct core_target *known, struct report *report);
/* Lines of one item: the rules that dropped, each once. */
void explain_dropped(struct core *core, const struct discover_dropped *dropped, size_t count,
	const struct target_job *job, const struct monitor_endpoint *endpoint, struct report *report);
/* "1 target", "2 targets" */
struct counted {
	char text[64];
};
struct counted explain_count(size_t count, const char *thing);
/* "scraped as 2 targets<of>, 1 of them down" */
void explain_scraped(const struct tally *tally, const char *of, struct error *verdict);

/* ---- explain_monitor.c, explain_node.c -------------------------------------------------------------------- */

/* Every monitor of this name, of whichever kind. Returns whether there is one. */
bool explain_monitors(struct core *core, struct span namespace_, struct span name, bool json, struct buf *out);
void explain_node(struct core *core, bool json, struct buf *out);
