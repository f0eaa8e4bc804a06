/* From hints about sockets to ports of pods.
 *
 *   port    (namespace, family, address, port) with the *set* of sockets that listen there: SO_REUSEPORT has several, MPTCP two for
 *           one listen(). It is open while the set is not empty.
 *           PENDING --settle--> OPEN --set empty--> CLOSING --grace--> closed, forgotten
 *           A port that opens again while CLOSING was never closed, unless it flaps: then it counts as closed until it has stayed open.
 *   socket  by its id (cookie), which is the same in events and snapshots. A port whose number the kernel chooses has none yet when it
 *           opens; it waits, keyed by its socket, for the next snapshot.
 *   pod     by cgroup name, else by cgroup id, else by what is known of the namespace from earlier events of a pod in it.
 *
 * Snapshots win over silence, live events win over snapshots: an entry of a snapshot never replaces what is there, and a socket that
 * closed while the snapshot was read does not come back by it.
 */
#include "gleaner/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLOSED_MEANWHILE_MAX = 4096, CGROUP_CACHE = 256, PODS_MAX = 4096, NAMESPACES_MAX = 4096 };

struct port_key {
	uint64_t netns, socket_id; /* socket_id: 0 unless the port is unknown */
	uint8_t address[16];
	uint16_t family, port;
	uint32_t zero;
};

enum port_state { PORT_PENDING, PORT_OPEN, PORT_CLOSING, PORT_GONE };

struct listening; /* a socket */

struct port {
	struct port_key key;
	struct listener about;
	struct listening *sockets;
	enum port_state state;
	uint64_t due_ns; /* of the state; UINT64_MAX: none */
	uint64_t closes_since_ns;
	uint32_t closes;
	struct port *next_gone; /* while ports are being forgotten */
};

struct listening {
	uint64_t id;
	struct port *port;
	struct listening *next;
	uint64_t heard_ns;
	uint64_t snapshot; /* the last one that named it */
	bool mptcp;
	struct listening *next_unnamed; /* while a snapshot ends */
};

struct pod {
	char uid[40];
	bool host_network;
};

/* A namespace in which something listens, or that a pod has for itself. */
struct netns_entry {
	uint64_t netns;
	char pod_uid[40]; /* "": not known to be one pod's own */
	size_t ports;
	struct netns_entry *next_empty; /* while they are being forgotten */
};

struct cgroup_known {
	uint64_t id;
	struct cgroup_name name; /* pod_uid "": no pod's */
};

struct listeners {
	struct clock clock;
	struct listeners_limits limits;
	struct listeners_events events;
	struct listeners_counters counters;
	struct map ports, sockets, pods, namespaces; /* by key, id, uid, netns */
	struct cgroup_known cgroups[CGROUP_CACHE];
	uint64_t next_due_ns;

	bool wanted; /* a snapshot, not before want_at_ns; it satisfies when it begins after need_after_ns */
	uint64_t want_at_ns, need_after_ns, last_began_ns;
	uint64_t snapshot; /* number of the present or last one */
	bool in_snapshot;
	uint64_t closed_meanwhile[CLOSED_MEANWHILE_MAX];
	size_t closed_count;

	char nudge_uid[40]; /* "": none waits */
	uint64_t nudge_at_ns;
};

struct listeners_limits listeners_default_limits(void)
{
	return (struct listeners_limits){.settle_ns = NS_PER_MS,
		.grace_ns = 5 * NS_PER_SEC,
		.flap_window_ns = 60 * NS_PER_SEC,
		.flap_closes = 5,
		.flap_settle_ns = 10 * NS_PER_SEC,
		.resync_ns = 10 * NS_PER_SEC,
		.reconcile_ns = 300 * NS_PER_SEC,
		.max_listeners = 16384,
		.max_per_namespace = 1024};
}

int listeners_new(struct clock clock, struct listeners_limits limits, struct listeners_events events,
	struct listeners **ret_listeners)
{
	struct listeners *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->clock = clock;
	l->limits = limits;
	l->events = events;
	l->next_due_ns = UINT64_MAX;
	map_init(&l->ports, limits.max_listeners);
	map_init(&l->sockets, 2 * limits.max_listeners);
	map_init(&l->pods, PODS_MAX);
	map_init(&l->namespaces, NAMESPACES_MAX);
	l->wanted = true; /* what listens already */
	*ret_listeners = l;
	return 0;
}

static void free_values(struct map *map)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(map, &i));)
		free(slot->value);
	map_done(map);
}

void listeners_free(struct listeners *l)
{
	if (!l)
		return;
	free_values(&l->sockets);
	free_values(&l->ports);
	free_values(&l->pods);
	free_values(&l->namespaces);
	free(l);
}

static uint64_t now_of(const struct listeners *l)
{
	return clock_mono(&l->clock);
}

static void set_due(struct listeners *l, struct port *port, uint64_t due_ns)
{
	port->due_ns = due_ns;
	if (due_ns < l->next_due_ns)
		l->next_due_ns = due_ns;
}

/* ---- snapshots that are wanted ---------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* One that begins after need_after_ns, and not sooner than interval_ns after the last one. */
static void want_snapshot(struct listeners *l, uint64_t need_after_ns, uint64_t interval_ns)
{
	uint64_t at = later(need_after_ns, l->last_began_ns + interval_ns);
	if (!l->wanted || at < l->want_at_ns)
		l->want_at_ns = at;
	l->wanted = true;
	l->need_after_ns = later(l->need_after_ns, need_after_ns);
}

void listeners_lost(struct listeners *l)
{
	want_snapshot(l, now_of(l), l->limits.resync_ns);
}

bool listeners_want_snapshot(struct listeners *l)
{
	uint64_t now_ns = now_of(l);
	bool overdue = now_ns - l->last_began_ns >= l->limits.reconcile_ns;
	if (l->in_snapshot || !(overdue || (l->wanted && now_ns >= l->want_at_ns)))
		return false;
	l->wanted = false;
	l->last_began_ns = now_ns;
	if (l->need_after_ns > now_ns)
		want_snapshot(l, l->need_after_ns, l->limits.resync_ns);
	return true;
}

/* ---- pods ------------------------------------------------------------------------------- */

static void nudge(struct listeners *l, const char *uid)
{
	if (map_get(&l->pods, span_str(uid)))
		return;
	snprintf(l->nudge_uid, sizeof(l->nudge_uid), "%s", uid);
}

static void run_nudge(struct listeners *l, uint64_t now_ns)
{
	if (l->nudge_uid[0] == '\0' || now_ns < l->nudge_at_ns)
		return;
	char uid[sizeof(l->nudge_uid)];
	memcpy(uid, l->nudge_uid, sizeof(uid));
	l->nudge_uid[0] = '\0';
	l->nudge_at_ns = now_ns + NS_PER_SEC;
	if (l->events.nudge && !map_get(&l->pods, span_str(uid)))
		l->events.nudge(l->events.arg, uid);
}

/* Cookies are never used again; where there are none the number must do. */
static uint64_t netns_of(const struct listen_head *head)
{
	return head->netns_cookie ? head->netns_cookie : head->netns;
}

static struct span netns_key(const uint64_t *netns)
{
	return span_of((const char *)netns, sizeof(*netns));
}

static struct netns_entry *find_namespace(const struct listeners *l, uint64_t netns)
{
	return map_get(&l->namespaces, netns_key(&netns));
}

/* Gets or makes it. 0, -ENOMEM, -E2BIG. */
static int namespace_of(struct listeners *l, uint64_t netns, struct netns_entry **ret_entry)
{
	struct netns_entry *entry = find_namespace(l, netns);
	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		entry->netns = netns;
		int result = map_put(&l->namespaces, netns_key(&entry->netns), entry);
		if (result < 0) {
			free(entry);
			return result;
		}
	}
	*ret_entry = entry;
	return 0;
}

static void forget_if_empty(struct listeners *l, struct netns_entry *entry)
{
	if (entry->ports > 0 || entry->pod_uid[0] != '\0')
		return;
	map_remove(&l->namespaces, netns_key(&entry->netns));
	free(entry);
}

static void announce(struct listeners *l, struct port *port)
{
	if (port->about.pod_uid[0] == '\0')
		l->counters.unattributed++;
	if (l->events.opened)
		l->events.opened(l->events.arg, &port->about);
}

/* The namespace is the pod's own: what listens in it without a pod's cgroup is the pod's as well. */
static int learn_namespace(struct listeners *l, uint64_t netns, const char *uid)
{
	const struct pod *pod = map_get(&l->pods, span_str(uid));
	const struct netns_entry *before = find_namespace(l, netns);
	if (!pod || pod->host_network || (before && before->pod_uid[0] != '\0'))
		return 0;
	struct netns_entry *known;
	int result = namespace_of(l, netns, &known);
	if (result < 0)
		return result == -E2BIG ? 0 : result;
	memcpy(known->pod_uid, pod->uid, sizeof(known->pod_uid));
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&l->ports, &i));) {
		struct port *port = slot->value;
		if (port->key.netns != netns || port->about.pod_uid[0] != '\0')
			continue;
		memcpy(port->about.pod_uid, known->pod_uid, sizeof(known->pod_uid));
		if (port->state == PORT_OPEN)
			announce(l, port);
	}
	return 0;
}

int listeners_pod_add(struct listeners *l, const char *uid, bool host_network)
{
	struct pod *pod = map_get(&l->pods, span_str(uid));
	if (!pod) {
		pod = calloc(1, sizeof(*pod));
		if (!pod)
			return -ENOMEM;
		snprintf(pod->uid, sizeof(pod->uid), "%s", uid);
		int result = map_put(&l->pods, span_str(pod->uid), pod);
		if (result < 0) {
			free(pod);
			return result;
		}
	}
	pod->host_network = host_network;
	int result = 0;
	const struct map_slot *slot;
	for (size_t i = 0; result == 0 && (slot = map_next(&l->ports, &i));) {
		const struct port *port = slot->value;
		if (strcmp(port->about.pod_uid, uid) == 0)
			result = learn_namespace(l, port->key.netns, uid);
	}
	return result;
}

void listeners_pod_remove(struct listeners *l, const char *uid)
{
	const struct map_slot *slot;
	struct netns_entry *former = NULL;
	for (size_t i = 0; (slot = map_next(&l->namespaces, &i));) {
		struct netns_entry *entry = slot->value;
		if (strcmp(entry->pod_uid, uid) != 0)
			continue;
		entry->pod_uid[0] = '\0';
		entry->next_empty = former;
		former = entry;
	}
	while (former) {
		struct netns_entry *next = former->next_empty;
		forget_if_empty(l, former);
		former = next;
	}
	free(map_remove(&l->pods, span_str(uid)));
}

static bool parse_names(const char *above, const char *leaf, struct cgroup_name *ret_name)
{
	char path[2 * LISTEN_NAME + 2];
	snprintf(path, sizeof(path), "%.*s/%.*s", LISTEN_NAME, above, LISTEN_NAME, leaf);
	return cgroup_name_parse(span_str(path), ret_name);
}

/* A walk of the cgroup file system at most, remembered: names are cut off at two levels, and not readable under lockdown. */
static bool find_by_id(struct listeners *l, uint64_t id, struct cgroup_name *ret_name)
{
	if (id <= 1 || !l->events.cgroup)
		return false;
	struct cgroup_known *known = &l->cgroups[id % CGROUP_CACHE];
	if (known->id != id) {
		*known = (struct cgroup_known){.id = id};
		struct cgroup_name name = {0};
		if (l->events.cgroup(l->events.arg, id, &name))
			known->name = name;
	}
	*ret_name = known->name;
	return known->name.pod_uid[0] != '\0';
}

/* Fills in the pod. 0; -EXDEV cgroup and namespace disagree; -ENOMEM. */
static int attribute(struct listeners *l, const struct listen_event *event, struct listener *about)
{
	const struct listen_names *names = &event->names;
	struct cgroup_name name = {0};
	uint64_t netns = netns_of(&event->head);
	const struct netns_entry *known = find_namespace(l, netns);
	if (known && known->pod_uid[0] == '\0')
		known = NULL;
	bool found = parse_names(names->v2_parent, names->v2_leaf, &name) ||
		     parse_names(names->v1_parent, names->v1_leaf, &name) ||
		     find_by_id(l, event->head.cgroup_v1, &name) || find_by_id(l, event->head.cgroup_v2, &name);
	if (!found) {
		if (known)
			memcpy(about->pod_uid, known->pod_uid, sizeof(about->pod_uid));
		return 0;
	}
	nudge(l, name.pod_uid);
	if (known && strcmp(known->pod_uid, name.pod_uid) != 0) {
		l->counters.disagreements++;
		return -EXDEV;
	}
	memcpy(about->pod_uid, name.pod_uid, sizeof(about->pod_uid));
	memcpy(about->container_id, name.container_id, sizeof(about->container_id));
	return learn_namespace(l, netns, name.pod_uid);
}

/* ---- ports and sockets -------------------------------------------------------------------- */

static struct port_key key_of(const struct listen_head *head)
{
	struct port_key key = {.netns = netns_of(head), .family = head->family, .port = head->port};
	memcpy(key.address, head->address, sizeof(key.address));
	if (head->port == 0)
		key.socket_id = head->socket_id;
	return key;
}

static struct span key_span(const struct port_key *key)
{
	return span_of((const char *)key, sizeof(*key));
}

static struct span id_span(const uint64_t *id)
{
	return span_of((const char *)id, sizeof(*id));
}

static struct listening *socket_of(const struct listeners *l, uint64_t id)
{
	return map_get(&l->sockets, id_span(&id));
}

static void forget_port(struct listeners *l, struct port *port)
{
	map_remove(&l->ports, key_span(&port->key));
	struct netns_entry *entry = find_namespace(l, port->key.netns);
	entry->ports--;
	forget_if_empty(l, entry);
	free(port);
}

/* What is to be said of the port that the event opens. 0; -EXDEV: nobody's; -ENOMEM. */
static int describe(struct listeners *l, const struct listen_event *event, uint64_t now_ns, struct listener *ret_about)
{
	const struct listen_head *head = &event->head;
	struct listener about = {.netns_cookie = head->netns_cookie,
		.netns = head->netns,
		.family = head->family,
		.port = head->port,
		.flags = head->flags,
		.opened_ns = head->time_ns ? head->time_ns : now_ns};
	memcpy(about.address, head->address, sizeof(about.address));
	memcpy(about.comm, head->comm, sizeof(head->comm));
	int result = attribute(l, event, &about);
	if (result == 0)
		*ret_about = about;
	return result;
}

/* Forgets the closed ports that are only kept to see them flap. */
static void make_room(struct listeners *l)
{
	const struct map_slot *slot;
	struct port *gone = NULL;
	for (size_t i = 0; (slot = map_next(&l->ports, &i));) {
		struct port *port = slot->value;
		if (port->state != PORT_GONE)
			continue;
		port->next_gone = gone;
		gone = port;
	}
	while (gone) {
		struct port *next = gone->next_gone;
		forget_port(l, gone);
		gone = next;
	}
}

static int try_put(struct listeners *l, struct port *port)
{
	struct netns_entry *entry;
	int result = namespace_of(l, port->key.netns, &entry);
	if (result < 0)
		return result;
	result = entry->ports < l->limits.max_per_namespace ? map_put(&l->ports, key_span(&port->key), port) : -E2BIG;
	if (result == 0)
		entry->ports++;
	else
		forget_if_empty(l, entry);
	return result;
}

static int put_port(struct listeners *l, struct port *port)
{
	int result = try_put(l, port);
	if (result != -E2BIG)
		return result;
	make_room(l);
	result = try_put(l, port);
	l->counters.over_limit += result == -E2BIG;
	return result;
}

/* Gets or makes the port. 0; -EXDEV, -E2BIG: not kept, counted; -ENOMEM. */
static int port_of(struct listeners *l, const struct listen_event *event, uint64_t now_ns, struct port **ret_port)
{
	struct port_key key = key_of(&event->head);
	struct port *port = map_get(&l->ports, key_span(&key));
	if (port && port->state != PORT_GONE) {
		*ret_port = port;
		return 0;
	}
	struct listener about;
	int result = describe(l, event, now_ns, &about);
	if (result < 0)
		return result;
	if (!port) {
		port = calloc(1, sizeof(*port));
		if (!port)
			return -ENOMEM;
		*port = (struct port){.key = key, .state = PORT_GONE, .due_ns = UINT64_MAX, .closes_since_ns = now_ns};
		result = put_port(l, port);
		if (result < 0) {
			free(port);
			return result;
		}
	}
	port->about = about;
	*ret_port = port;
	return 0;
}

static bool flaps(const struct listeners *l, const struct port *port, uint64_t now_ns)
{
	return port->closes > l->limits.flap_closes && now_ns - port->closes_since_ns < l->limits.flap_window_ns;
}

/* The set was empty and is not any longer. */
static void port_opened(struct listeners *l, struct port *port, uint64_t now_ns, uint64_t settle_ns)
{
	bool announced = port->state == PORT_CLOSING;
	if (flaps(l, port, now_ns)) {
		l->counters.flaps++;
		port->state = PORT_PENDING;
		set_due(l, port, now_ns + l->limits.flap_settle_ns);
		if (announced && l->events.closed)
			l->events.closed(l->events.arg, &port->about);
	} else if (announced) {
		port->state = PORT_OPEN;
		set_due(l, port, now_ns + settle_ns);
	} else {
		port->state = PORT_PENDING;
		set_due(l, port, port->about.port ? now_ns + settle_ns : UINT64_MAX);
	}
}

static void port_closed(struct listeners *l, struct port *port, uint64_t now_ns)
{
	if (now_ns - port->closes_since_ns >= l->limits.flap_window_ns) {
		port->closes_since_ns = now_ns;
		port->closes = 0;
	}
	port->closes++;
	if (port->about.port == 0) {
		forget_port(l, port);
	} else if (port->state == PORT_OPEN) {
		port->state = PORT_CLOSING;
		set_due(l, port, now_ns + l->limits.grace_ns);
	} else {
		port->state = PORT_GONE; /* remembered for its closes */
		set_due(l, port, port->closes_since_ns + l->limits.flap_window_ns);
	}
}

/* Takes the socket out of its port's set. */
static void drop_socket(struct listeners *l, struct listening *socket, uint64_t now_ns)
{
	struct port *port = socket->port;
	struct listening **link = &port->sockets;
	while (*link != socket)
		link = &(*link)->next;
	*link = socket->next;
	map_remove(&l->sockets, id_span(&socket->id));
	free(socket);
	if (!port->sockets)
		port_closed(l, port, now_ns);
}

static int add_socket(struct listeners *l, const struct listen_event *event, uint64_t now_ns, uint64_t settle_ns)
{
	struct port *port;
	int result = port_of(l, event, now_ns, &port);
	if (result < 0)
		return result == -ENOMEM ? result : 0;
	struct listening *socket = calloc(1, sizeof(*socket));
	if (socket) {
		*socket = (struct listening){.id = event->head.socket_id,
			.port = port,
			.next = port->sockets,
			.heard_ns = now_ns,
			.snapshot = l->snapshot,
			.mptcp = event->head.flags & LISTEN_MPTCP};
		result = map_put(&l->sockets, id_span(&socket->id), socket);
	}
	if (!socket || result < 0) {
		free(socket);
		if (!port->sockets && port->state == PORT_GONE && port->closes == 0)
			forget_port(l, port);
		l->counters.over_limit += result == -E2BIG;
		return socket && result == -E2BIG ? 0 : -ENOMEM;
	}
	bool first = !port->sockets;
	port->sockets = socket;
	if (first)
		port_opened(l, port, now_ns, settle_ns);
	if (port->about.port == 0)
		want_snapshot(l, now_ns, NS_PER_SEC);
	return 0;
}

static bool same_port(const struct port *port, const struct listen_head *head)
{
	struct port_key key = key_of(head);
	return memcmp(&key, &port->key, sizeof(key)) == 0;
}

/* ---- live events -------------------------------------------------------------------------- */

static void close_event(struct listeners *l, uint64_t id, uint64_t now_ns)
{
	struct listening *socket = socket_of(l, id);
	if (l->in_snapshot) {
		if (l->closed_count < CLOSED_MEANWHILE_MAX)
			l->closed_meanwhile[l->closed_count++] = id;
		else
			want_snapshot(l, now_ns, l->limits.resync_ns);
	}
	if (socket)
		drop_socket(l, socket, now_ns);
}

int listeners_event(struct listeners *l, const struct listen_event *event)
{
	const struct listen_head *head = &event->head;
	uint64_t now_ns = now_of(l);
	l->counters.events++;
	if (head->kind == LISTEN_CLOSE) {
		close_event(l, head->socket_id, now_ns);
	} else if (head->kind == LISTEN_OVERFLOW) {
		/* Until that second is over, more may be lost without another word. */
		l->counters.overflows++;
		want_snapshot(l, now_ns + NS_PER_SEC, l->limits.resync_ns);
	} else if (head->kind == LISTEN_OPEN) {
		struct listening *socket = socket_of(l, head->socket_id);
		if (socket && same_port(socket->port, head))
			return 0;
		if (socket) /* its close was lost */
			drop_socket(l, socket, now_ns);
		return add_socket(l, event, now_ns, l->limits.settle_ns);
	}
	return 0;
}

void listeners_refused(struct listeners *l, const struct listener *listener)
{
	struct listen_head head = {.netns_cookie = listener->netns_cookie,
		.netns = listener->netns,
		.family = listener->family,
		.port = listener->port};
	memcpy(head.address, listener->address, sizeof(head.address));
	struct port_key key = key_of(&head);
	struct port *port = map_get(&l->ports, key_span(&key));
	uint64_t now_ns = now_of(l);
	for (bool last = !port || !port->sockets; !last;) {
		last = !port->sockets->next;
		drop_socket(l, port->sockets, now_ns);
	}
}

/* ---- snapshots ---------------------------------------------------------------------------- */

void listeners_snapshot_begin(struct listeners *l)
{
	l->snapshot++;
	l->in_snapshot = true;
	l->closed_count = 0;
	l->last_began_ns = now_of(l);
	l->counters.snapshots++;
}

static bool closed_meanwhile(const struct listeners *l, uint64_t id)
{
	for (size_t i = 0; i < l->closed_count; i++)
		if (l->closed_meanwhile[i] == id)
			return true;
	return false;
}

int listeners_snapshot_add(struct listeners *l, const struct listen_event *events, size_t count)
{
	uint64_t now_ns = now_of(l);
	int result = 0;
	for (size_t i = 0; result == 0 && i < count; i++) {
		const struct listen_head *head = &events[i].head;
		struct listening *socket = socket_of(l, head->socket_id);
		if (head->kind != LISTEN_SNAPSHOT || (!socket && closed_meanwhile(l, head->socket_id)))
			continue;
		if (socket && (socket->port->about.port != 0 || head->port == 0)) {
			socket->snapshot = l->snapshot;
			continue;
		}
		if (socket) /* now its port is known */
			drop_socket(l, socket, now_ns);
		if (head->port != 0)
			result = add_socket(l, &events[i], now_ns, 0);
	}
	return result;
}

/* An MPTCP listener's second socket has no file, so no snapshot names it: it lives as long as its sibling. */
static bool named_by_snapshot(const struct listeners *l, const struct listening *socket)
{
	bool named = socket->snapshot == l->snapshot;
	for (const struct listening *other = socket->port->sockets; other && !named; other = other->next)
		named = other->mptcp && other->snapshot == l->snapshot;
	return named;
}

void listeners_snapshot_end(struct listeners *l, bool complete)
{
	uint64_t now_ns = now_of(l);
	struct listening *unnamed = NULL;
	const struct map_slot *slot;
	l->in_snapshot = false;
	for (size_t i = 0; complete && (slot = map_next(&l->sockets, &i));) {
		struct listening *socket = slot->value;
		if (socket->heard_ns >= l->last_began_ns || named_by_snapshot(l, socket))
			continue;
		socket->next_unnamed = unnamed;
		unnamed = socket;
	}
	while (unnamed) {
		struct listening *next = unnamed->next_unnamed;
		drop_socket(l, unnamed, now_ns);
		unnamed = next;
	}
}

/* ---- time --------------------------------------------------------------------------------- */

static void run_port(struct listeners *l, struct port *port, uint64_t now_ns)
{
	if (port->state == PORT_PENDING) {
		port->state = PORT_OPEN;
		port->due_ns = UINT64_MAX;
		announce(l, port);
	} else if (port->state == PORT_OPEN) {
		port->due_ns = UINT64_MAX;
		if (l->events.reopened)
			l->events.reopened(l->events.arg, &port->about);
	} else if (port->state == PORT_CLOSING) {
		port->state = PORT_GONE;
		set_due(l, port, later(now_ns, port->closes_since_ns + l->limits.flap_window_ns));
		if (l->events.closed)
			l->events.closed(l->events.arg, &port->about);
	}
}

/* What is due of all ports; notes when the next one is. */
static void run_ports(struct listeners *l, uint64_t now_ns)
{
	const struct map_slot *slot;
	struct port *gone = NULL;
	l->next_due_ns = UINT64_MAX;
	for (size_t i = 0; (slot = map_next(&l->ports, &i));) {
		struct port *port = slot->value;
		if (port->due_ns <= now_ns && port->state == PORT_GONE) {
			port->next_gone = gone;
			gone = port;
			continue;
		}
		if (port->due_ns <= now_ns)
			run_port(l, port, now_ns);
		if (port->due_ns < l->next_due_ns)
			l->next_due_ns = port->due_ns;
	}
	while (gone) {
		struct port *next = gone->next_gone;
		forget_port(l, gone);
		gone = next;
	}
}

uint64_t listeners_run(struct listeners *l)
{
	uint64_t now_ns = now_of(l);
	if (now_ns >= l->next_due_ns)
		run_ports(l, now_ns);
	run_nudge(l, now_ns);
	uint64_t next = l->next_due_ns;
	if (l->nudge_uid[0] != '\0' && l->nudge_at_ns < next)
		next = l->nudge_at_ns;
	if (l->in_snapshot)
		return next;
	if (l->wanted && l->want_at_ns < next)
		next = l->want_at_ns;
	uint64_t reconcile = l->last_began_ns + l->limits.reconcile_ns;
	return reconcile < next ? reconcile : next;
}

void listeners_each(const struct listeners *l, void (*visit)(void *arg, const struct listener *listener), void *arg)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&l->ports, &i));) {
		const struct port *port = slot->value;
		if (port->state == PORT_OPEN || port->state == PORT_CLOSING)
			visit(arg, &port->about);
	}
}

struct listeners_counters listeners_counters(const struct listeners *l)
{
	struct listeners_counters counters = l->counters;
	counters.listeners = l->ports.count;
	return counters;
}
