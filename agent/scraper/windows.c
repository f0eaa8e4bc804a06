/* Windows: opened and closed around the requests of scrapes, and told to the core.
 *
 *   core's socket      windows_connected   a connection, with its slot
 *   request is sent    windows_send        window open; process clock, bytes received so far
 *   last byte came     windows_sent        3 ms: BPF's window closes; 5 ms: process clock; WIRE_COST
 *   connection closes  windows_closing     WIRE_SLOT_CLOSED, once its window is told
 *
 * One window per process at a time: a request to a pod that has a window open is not measured. What is measured while the process works
 * for another request of ours is marked COST_SHARED. (Two ports of a pod are seldom due within the same milliseconds, and a tick does
 * not wait.)
 * What BPF says is believed when the server's socket sent as many bytes as ours received; the kernel counts both.
 * Failure: whatever goes wrong, the scrape is not measured, and nothing else happens.
 */
#include "windows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "scraper.h"

/* After the last byte: what the server does then still belongs to the request, and the clock of a running process is stale by up to a
 * tick (4 ms at HZ=250). */
#define CLOSE_AFTER_NS (3 * NS_PER_MS)
#define READ_AFTER_NS  (5 * NS_PER_MS)

enum phase {
	PHASE_IDLE,
	PHASE_BUSY,    /* a request without a window */
	PHASE_OPEN,    /* a request, its window is open */
	PHASE_SETTLES, /* answered; the window is still open */
	PHASE_READS,   /* closed; waits for the process clock */
};

struct connection {
	struct windows *windows;
	struct connection *next, **link; /* in windows->active, unless PHASE_IDLE */
	struct loop_timer *timer;
	int fd;             /* -1: closed */
	uint32_t slot, map; /* of which maps; 0: there were none */
	bool used;          /* had a request already */
	enum phase phase;

	/* Of the window. */
	uint64_t place; /* hash of whose process it is */
	uint64_t received_before, received_after;
	uint32_t server_tgid; /* whose clock was read before; 0: none */
	struct wire_cost cost;

	char ends[2 * INET6_ADDRSTRLEN + 16];
};

static uint64_t now_of(const struct windows *windows)
{
	return clock_mono(&windows->scraper->clock);
}

void windows_init(struct windows *windows, struct scraper *scraper)
{
	*windows = (struct windows){.scraper = scraper, .slots_fd = -1};
	map_init(&windows->by_ends, 65536);
}

/* ---- what the kernel counts -------------------------------------------------------------- */

/* Bytes that came in over the connection so far; its end counts as one to the kernel, not here. */
static uint64_t received_bytes(int fd)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return 0;
	bool ended = info.tcpi_state != 1 /* established */;
	return info.tcpi_bytes_received - (ended && info.tcpi_bytes_received > 0);
}

/* CPU clock of another process; 0 when it cannot be read. */
static uint64_t process_cpu_ns(uint32_t tgid)
{
	struct timespec time;
	clockid_t clock = (clockid_t)(((~tgid) << 3) | 2);
	if (tgid == 0 || clock_gettime(clock, &time) < 0)
		return 0;
	return (uint64_t)time.tv_sec * NS_PER_SEC + (uint64_t)time.tv_nsec;
}

/* ---- connections ------------------------------------------------------------------------- */

static void slot_closed(struct windows *windows, uint32_t slot, uint32_t map)
{
	if (slot == WIRE_NO_SLOT || map != windows->map)
		return;
	int result = wire_send(windows->scraper->wire, WIRE_SLOT_CLOSED, &(struct wire_slot){slot, map}, SPAN_NONE, -1);
	if (result < 0)
		scraper_fail(windows->scraper, "slot", result);
}

/* It is not in use any more. */
static void forget_window(struct connection *connection)
{
	loop_timer_cancel(connection->timer);
	if (connection->link) {
		*connection->link = connection->next;
		if (connection->next)
			connection->next->link = connection->link;
	}
	connection->link = NULL;
	connection->next = NULL;
}

static void connection_free(struct connection *connection)
{
	if (connection->timer) /* else there was no memory for it */
		forget_window(connection);
	loop_timer_free(connection->timer);
	free(connection);
}

/* Nobody uses it now: it goes when it is closed, and is closed when it is older than the maps. */
static void connection_idle(struct connection *connection)
{
	forget_window(connection);
	connection->phase = PHASE_IDLE;
	if (connection->fd < 0) {
		slot_closed(connection->windows, connection->slot, connection->map);
		connection_free(connection);
	} else if (connection->map != connection->windows->map) {
		/* Its owner, libcurl, finds it dead before the next request. */
		shutdown(connection->fd, SHUT_RDWR);
	}
}

static bool write_end(int fd, int (*name_of)(int, struct sockaddr *, socklen_t *), char *ret_text, uint16_t *ret_port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} address;
	socklen_t size = sizeof(address);
	if (name_of(fd, &address.any, &size) < 0)
		return false;
	bool is_ipv6 = address.any.sa_family == AF_INET6;
	*ret_port = ntohs(is_ipv6 ? address.in6.sin6_port : address.in.sin_port);
	const void *bytes = is_ipv6 ? (void *)&address.in6.sin6_addr : (void *)&address.in.sin_addr;
	return inet_ntop(address.any.sa_family, bytes, ret_text, INET6_ADDRSTRLEN) != NULL;
}

static struct span write_ends(struct connection *connection, const struct http_endpoints *ends)
{
	int len = snprintf(connection->ends, sizeof(connection->ends), "%s %u %s %u", ends->local_address,
		ends->local_port, ends->remote_address, ends->remote_port);
	return span_of(connection->ends, (size_t)len);
}

static bool make_room(struct windows *windows, int fd)
{
	size_t cap = windows->fd_cap ? windows->fd_cap : 64;
	while (cap <= (size_t)fd)
		cap *= 2;
	if (cap == windows->fd_cap)
		return true;
	struct connection **by_fd = realloc(windows->by_fd, cap * sizeof(struct connection *));
	if (!by_fd)
		return false;
	memset(by_fd + windows->fd_cap, 0, (cap - windows->fd_cap) * sizeof(struct connection *));
	windows->by_fd = by_fd;
	windows->fd_cap = cap;
	return true;
}

static void timer_fired(void *arg);

/* NULL: it is gone already, or there is no memory. */
static struct connection *connection_new(struct windows *windows, int fd, uint32_t slot)
{
	char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
	struct http_endpoints ends = {.local_address = local, .remote_address = remote};
	if (!write_end(fd, getsockname, local, &ends.local_port) ||
		!write_end(fd, getpeername, remote, &ends.remote_port) || !make_room(windows, fd))
		return NULL;
	struct connection *connection = calloc(1, sizeof(*connection));
	if (!connection)
		return NULL;
	*connection = (struct connection){.windows = windows, .fd = fd, .slot = slot, .map = windows->map};
	struct span key = write_ends(connection, &ends);
	if (loop_timer_new(windows->scraper->loop, timer_fired, connection, &connection->timer) < 0 ||
		map_put(&windows->by_ends, key, connection) < 0) {
		connection_free(connection);
		return NULL;
	}
	windows->by_fd[fd] = connection;
	return connection;
}

void windows_connected(struct windows *windows, int fd, uint32_t slot)
{
	if (!connection_new(windows, fd, slot))
		slot_closed(windows, slot, windows->map);
}

void windows_closing(struct windows *windows, int fd)
{
	struct connection *connection = (size_t)fd < windows->fd_cap ? windows->by_fd[fd] : NULL;
	if (!connection)
		return;
	if (connection->phase == PHASE_OPEN || connection->phase == PHASE_SETTLES)
		connection->received_after = received_bytes(fd);
	windows->by_fd[fd] = NULL;
	map_remove(&windows->by_ends, span_str(connection->ends));
	connection->fd = -1;
	if (connection->phase == PHASE_IDLE)
		connection_idle(connection);
}

/* ---- maps ----------------------------------------------------------------------------------- */

/* Windows on the earlier maps are lost. */
static void leave_maps(struct windows *windows)
{
	for (struct connection *connection = windows->active, *next; connection; connection = next) {
		next = connection->next;
		if (connection->phase == PHASE_OPEN)
			connection->phase = PHASE_BUSY;
		else if (connection->phase != PHASE_BUSY)
			connection_idle(connection);
	}
	/* One that had no request yet is about to have one. */
	for (size_t fd = 0; fd < windows->fd_cap; fd++)
		if (windows->by_fd[fd] && windows->by_fd[fd]->phase == PHASE_IDLE && windows->by_fd[fd]->used)
			connection_idle(windows->by_fd[fd]);
}

void windows_take_map(struct windows *windows, const struct wire_cost_map *map, int fd)
{
	if (map->part == WIRE_COST_SLOTS) {
		if (windows->slots_fd >= 0)
			close(windows->slots_fd);
		windows->slots_fd = fd;
		return;
	}
	cost_unmap(&windows->cost);
	windows->map = map->map;
	windows->processes = map->processes;
	leave_maps(windows);
	int result = cost_map(windows->slots_fd, fd, &windows->cost);
	if (result < 0)
		log_warn(scraper_log(), "map the cost of scrapes: %s; it is not measured", strerror(-result));
	close(fd);
	close(windows->slots_fd);
	windows->slots_fd = -1;
}

void windows_done(struct windows *windows)
{
	for (size_t fd = 0; fd < windows->fd_cap; fd++)
		if (windows->by_fd[fd])
			connection_free(windows->by_fd[fd]);
	while (windows->active) /* closed ones whose window is not told */
		connection_free(windows->active);
	free(windows->by_fd);
	map_done(&windows->by_ends);
	cost_unmap(&windows->cost);
	if (windows->slots_fd >= 0)
		close(windows->slots_fd);
}

/* ---- a window ------------------------------------------------------------------------------- */

/* Same pod: taken for the same process. Without a pod it is the address that tells. */
static uint64_t place_of(const struct target *target)
{
	if (target->pod_uid.len > 0)
		return hash_bytes(target->pod_uid, 0);
	return hash_bytes(target->host, target->port);
}

/* Whether a window of the same process is open. Whatever is measured while the process works for two is marked. */
static bool disturbs(struct connection *connection)
{
	bool found = false;
	for (struct connection *other = connection->windows->active; other; other = other->next) {
		if (other == connection || other->place != connection->place)
			continue;
		other->cost.flags |= COST_SHARED;
		connection->cost.flags |= COST_SHARED;
		found |= other->phase != PHASE_BUSY;
	}
	return found;
}

static void fill_cost(struct wire_cost *cost, const struct cost_slot *slot)
{
	cost->thread_ns = slot->thread.cpu_ns;
	cost->causal_ns = slot->causal.cpu_ns;
	cost->other_ns = slot->other.cpu_ns;
	cost->thread_at_send_ns = slot->thread.cpu_at_send_ns;
	cost->causal_at_send_ns = slot->causal.cpu_at_send_ns;
	cost->other_at_send_ns = slot->other.cpu_at_send_ns;
	cost->switches = (uint64_t)slot->thread.switches + slot->causal.switches;
	if (slot->first_send_ns > slot->first_recv_ns)
		cost->first_byte_ns = slot->first_send_ns - slot->first_recv_ns;
	if (slot->last_send_ns > slot->first_recv_ns)
		cost->window_ns = slot->last_send_ns - slot->first_recv_ns;
	cost->rx_bytes = slot->rx_bytes;
	cost->tx_bytes = slot->tx_bytes;
	cost->flags |= slot->flags & (COST_SHARED | COST_BYTES_UNKNOWN);
	cost->tgid = slot->tgid;
	cost->threads = slot->thread.threads + slot->causal.threads;
	cost->hops = slot->hops;
}

/* Closes the window and takes its figures. */
static void window_close(struct connection *connection)
{
	struct cost_slot slot;
	struct wire_cost *cost = &connection->cost;
	bool recognised = cost_close(&connection->windows->cost, connection->slot, &slot);
	connection->phase = PHASE_READS;
	if (!recognised)
		return;
	if (connection->fd >= 0)
		connection->received_after = received_bytes(connection->fd);
	bool counted = !(slot.flags & COST_BYTES_UNKNOWN);
	if (counted && slot.tx_bytes != connection->received_after - connection->received_before) {
		cost->flags = WIRE_COST_MISMATCH;
		return;
	}
	cost->measured = 1;
	fill_cost(cost, &slot);
}

/* The clock of the process that answered, when it is the one whose clock was read before. */
static void read_process(struct connection *connection)
{
	struct wire_cost *cost = &connection->cost;
	uint64_t after_ns = process_cpu_ns(cost->tgid);
	if (after_ns < cost->process_before_ns || after_ns == 0)
		return;
	cost->process_after_ns = after_ns;
	cost->read_after_ns = now_of(connection->windows);
}

/* Tells the core. */
static void window_end(struct connection *connection)
{
	struct scraper *scraper = connection->windows->scraper;
	struct wire_cost *cost = &connection->cost;
	struct scraper_target *target = scraper_find_target(scraper, cost->key);
	if (target && cost->measured)
		target->server_tgid = cost->tgid;
	if (cost->process_after_ns == 0)
		cost->process_before_ns = cost->read_before_ns = 0;
	int result = wire_send(scraper->wire, WIRE_COST, cost, SPAN_NONE, -1);
	if (result < 0)
		scraper_fail(scraper, "cost", result);
	connection_idle(connection);
}

static void timer_fired(void *arg)
{
	struct connection *connection = arg;
	if (connection->phase == PHASE_SETTLES) {
		window_close(connection);
		if (connection->server_tgid != 0 && connection->cost.tgid == connection->server_tgid) {
			loop_timer_set(connection->timer, READ_AFTER_NS - CLOSE_AFTER_NS);
			return;
		}
	} else {
		read_process(connection);
	}
	window_end(connection);
}

static void window_open(struct connection *connection, const struct target *target, uint32_t server_tgid)
{
	struct windows *windows = connection->windows;
	struct wire_cost *cost = &connection->cost;
	connection->received_before = received_bytes(connection->fd);
	connection->server_tgid = 0;
	if (windows->processes)
		cost->process_before_ns = process_cpu_ns(server_tgid);
	if (cost->process_before_ns != 0) {
		connection->server_tgid = server_tgid;
		cost->read_before_ns = now_of(windows);
	}
	connection->phase = PHASE_OPEN;
	cost_open(&windows->cost, connection->slot, target->port, now_of(windows));
}

struct connection *windows_send(struct windows *windows, const struct http_endpoints *endpoints,
	const struct target *target, uint64_t key, uint64_t tick_ns, uint32_t server_tgid)
{
	struct connection sought;
	struct connection *connection = map_get(&windows->by_ends, write_ends(&sought, endpoints));
	if (!connection)
		return NULL;
	/* The next request comes before the last one's window was told: it is told as it is. */
	if (connection->phase == PHASE_SETTLES)
		window_close(connection);
	if (connection->phase == PHASE_READS)
		window_end(connection);
	forget_window(connection);
	bool measurable = windows->cost.slots && connection->slot != WIRE_NO_SLOT && connection->map == windows->map;
	connection->phase = PHASE_BUSY;
	connection->cost = (struct wire_cost){.key = key, .tick_ns = tick_ns, .new_connection = !connection->used};
	connection->used = true;
	connection->place = place_of(target);
	connection->next = windows->active;
	connection->link = &windows->active;
	if (connection->next)
		connection->next->link = &connection->next;
	windows->active = connection;
	if (!disturbs(connection) && measurable)
		window_open(connection, target, server_tgid);
	return connection;
}

void windows_sent(struct connection *window, bool answered)
{
	struct cost_slot unused;
	if (window->phase == PHASE_OPEN && answered) {
		window->phase = PHASE_SETTLES;
		loop_timer_set(window->timer, CLOSE_AFTER_NS);
		return;
	}
	if (window->phase == PHASE_OPEN)
		cost_close(&window->windows->cost, window->slot, &unused);
	connection_idle(window);
}
