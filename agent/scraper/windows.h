/* windows: what scrapes cost their targets, measured by BPF through shared memory (bpf/cost.h). No system call but getsockopt and
 * clock_gettime; nothing is opened.
 *
 * One window is one request on a connection. It opens right before the request is sent, closes 3 ms after the last byte, and its
 * figures go to the core as WIRE_COST: nobody waits for it.
 */
#pragma once

#include "gleaner/http.h"
#include "gleaner/probe.h"
#include "gleaner/target.h"
#include "gleaner/wire.h"

struct scraper;
struct connection;

struct windows {
	struct scraper *scraper;
	struct cost cost;   /* slots NULL: no maps yet */
	int slots_fd;       /* until the second map comes; else -1 */
	uint32_t map;       /* number of the present maps; 0: none */
	bool processes;     /* clocks of BPF's tgids can be read */
	struct map by_ends; /* "local port remote port" -> struct connection; all that are not closed */
	struct connection **by_fd;
	size_t fd_cap;
	struct connection *active; /* with a request in flight or a window open; linked */
};

void windows_init(struct windows *windows, struct scraper *scraper);
void windows_done(struct windows *windows);
/* WIRE_COST_MAP. Connections of earlier maps are closed as soon as they are idle, so that their targets get measured ones. */
void windows_take_map(struct windows *windows, const struct wire_cost_map *map, int fd);
/* WIRE_SOCKET brought a connection. */
void windows_connected(struct windows *windows, int fd, uint32_t slot);
/* It is about to be closed; again for one that is closed already: nothing. */
void windows_closing(struct windows *windows, int fd);

/* The request of a scrape is sent over this connection. Its window; NULL when this request is not measured. `server_tgid`: of the target's
 * last window, 0 none. */
struct connection *windows_send(struct windows *windows, const struct http_endpoints *endpoints,
	const struct target *target, uint64_t key, uint64_t tick_ns, uint32_t server_tgid);
/* The last byte of the answer came (answered), or none will. The window is not the caller's any more. */
void windows_sent(struct connection *window, bool answered);
