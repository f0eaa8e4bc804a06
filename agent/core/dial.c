/* Connected sockets for the scrapers. Here, and only here, it is decided where a scrape may go.
 *
 * 1. The address is the target's, after all relabelling, as an IP literal.
 * 2. It must be an address that the kubelet lists for the target's pod now (the node's own for hostNetwork pods), or for a static
 *    target an address of this host. discover_dial_address holds the rule.
 * 3. A non-blocking connect; the connected socket goes to the scraper and is closed here.
 *
 * Failure: the scraper gets an errno and a sentence; it makes `up 0` of it. Every question is answered, or the scraper is replaced: a
 * flight would wait for ever. A scraper that asks for more sockets than it may have scrapes in flight gets errors.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

/* On the same node nothing takes longer that will ever answer. */
#define DIAL_TIMEOUT_NS (2 * NS_PER_SEC)

struct dial {
	struct dial *next, **link; /* in worker->dials */
	struct worker *worker;
	uint64_t key;
	int fd;
	struct loop_watch *watch;
	struct loop_timer *timer;
	struct target_address address;
	uint32_t slot, map; /* of the cost maps; WIRE_NO_SLOT: not measured */
};

static void dial_free(struct dial *dial)
{
	*dial->link = dial->next;
	if (dial->next)
		dial->next->link = dial->link;
	loop_watch_free(dial->watch);
	loop_timer_free(dial->timer);
	if (dial->fd >= 0)
		close(dial->fd);
	costs_give_back(dial->worker, dial->slot, dial->map);
	dial->worker->dial_count--;
	free(dial);
}

void dial_cancel(struct worker *worker, uint64_t key)
{
	for (struct dial *dial = worker->dials, *next; dial; dial = next) {
		next = dial->next;
		if (dial->key == key)
			dial_free(dial);
	}
}

void dial_cancel_all(struct worker *worker)
{
	while (worker->dials)
		dial_free(worker->dials);
}

static void answer_failure(struct worker *worker, uint64_t key, int error, const char *text)
{
	struct wire_socket socket = {.key = key, .error = (uint32_t)error, .slot = WIRE_NO_SLOT};
	worker->core->totals.dial_failures++;
	worker_send(worker, WIRE_SOCKET, &socket, span_str(text));
}

/* "connect to 10.0.0.1:80: Connection refused" */
static void dial_fail(struct dial *dial, int error)
{
	struct target *target = discover_find(dial->worker->core->discover, dial->key);
	struct error err = {""};
	probes_dialled(dial->worker->core, dial->key, error == ECONNREFUSED);
	error_wrap(&err, error, "connect to %.*s port %u", target ? (int)target->host.len : 0,
		target ? target->host.ptr : "", dial->address.port);
	answer_failure(dial->worker, dial->key, error, err.text);
	dial_free(dial);
}

static void dial_ready(void *arg, unsigned events)
{
	struct dial *dial = arg;
	int error = 0;
	socklen_t len = sizeof(error);
	(void)events;
	if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		dial_fail(dial, error);
		return;
	}
	/* The scraper keeps the socket open, so epoll would report it for ever if it were not taken out before it is closed here. */
	loop_watch_free(dial->watch);
	dial->watch = NULL;
	int fd = dial->fd;
	dial->fd = -1;
	probes_dialled(dial->worker->core, dial->key, false);
	bool measured = dial->map == dial->worker->core->costs.map; /* else the probe went meanwhile */
	struct wire_socket socket = {.key = dial->key, .slot = measured ? dial->slot : WIRE_NO_SLOT};
	dial->slot = WIRE_NO_SLOT; /* the scraper's */
	worker_send_fd(dial->worker, WIRE_SOCKET, &socket, SPAN_NONE, fd);
	dial_free(dial);
}

static void dial_timed_out(void *arg)
{
	dial_fail(arg, ETIMEDOUT);
}

static socklen_t socket_address(const struct target_address *address, struct sockaddr_storage *ret_sockaddr)
{
	memset(ret_sockaddr, 0, sizeof(*ret_sockaddr));
	if (address->is_ipv6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_sockaddr;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(address->port);
		memcpy(&in6->sin6_addr, address->bytes, 16);
		return sizeof(*in6);
	}
	struct sockaddr_in *in = (struct sockaddr_in *)ret_sockaddr;
	in->sin_family = AF_INET;
	in->sin_port = htons(address->port);
	memcpy(&in->sin_addr, address->bytes, 4);
	return sizeof(*in);
}

/* connect(2), with BPF told whose it is. 0 or a positive errno. */
static int connect_seen(struct dial *dial, const struct sockaddr_storage *sockaddr, socklen_t len)
{
	struct core *core = dial->worker->core;
	costs_dial(core, dial->slot, dial->fd);
	int error = connect(dial->fd, (const struct sockaddr *)sockaddr, len) < 0 ? errno : 0;
	if (error == EINPROGRESS)
		error = 0;
	if (!costs_dialled(core, dial->slot, error == 0)) {
		costs_give_back(dial->worker, dial->slot, dial->map);
		dial->slot = WIRE_NO_SLOT;
	}
	return error;
}

/* Starts the connect. 0, or a positive errno. */
static int dial_connect(struct dial *dial)
{
	struct sockaddr_storage sockaddr;
	socklen_t len = socket_address(&dial->address, &sockaddr);
	int on = 1;
	dial->fd = socket(sockaddr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (dial->fd < 0)
		return errno;
	setsockopt(dial->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	int error = connect_seen(dial, &sockaddr, len);
	if (error != 0)
		return error;
	struct loop *loop = dial->worker->core->loop;
	int result = loop_watch_new(loop, dial->fd, LOOP_WRITE, dial_ready, dial, &dial->watch);
	if (result == 0)
		result = loop_timer_new(loop, dial_timed_out, dial, &dial->timer);
	if (result == 0)
		result = loop_timer_set(dial->timer, DIAL_TIMEOUT_NS);
	return -result;
}

void dial_start(struct worker *worker, uint64_t key)
{
	struct core *core = worker->core;
	struct target *target = discover_find(core->discover, key);
	struct target_address address;
	struct error err = {""};
	core->totals.dials++;
	if (!target) {
		answer_failure(worker, key, ESRCH, "the target is gone");
		return;
	}
	int result = discover_dial_address(core->discover, target, &address, &err);
	if (result < 0) {
		core->totals.dial_refused++;
		answer_failure(worker, key, -result, err.text);
		return;
	}
	/* Twice: a scrape that was cancelled, because its target changed, leaves its dial behind. */
	if (worker->dial_count >= 2 * core->settings->scrape.max_concurrent) {
		answer_failure(worker, key, EMFILE, "too many connections are being made");
		return;
	}
	struct dial *dial = calloc(1, sizeof(*dial));
	if (!dial) {
		answer_failure(worker, key, ENOMEM, "out of memory");
		return;
	}
	*dial = (struct dial){.next = worker->dials,
		.link = &worker->dials,
		.worker = worker,
		.key = key,
		.fd = -1,
		.address = address,
		.slot = costs_take(worker, address.port, target->timeout_ns),
		.map = core->costs.map};
	if (dial->next)
		dial->next->link = &dial->next;
	worker->dials = dial;
	worker->dial_count++;
	int error = dial_connect(dial);
	if (error != 0)
		dial_fail(dial, error);
}
