/* The probe: what only the kernel can tell, wired into the core. Everything works without it.
 *
 * 1. `gleaner probe` runs as a child of this binary, or in another container behind a socket (probe.socket). It loads the eBPF
 *    programs and hands over descriptors; from then on the core reads events out of shared memory.
 * 2. Events and snapshots become ports of pods (struct listeners).
 * 3. A port that opens, and that a target has, is scraped at once (WIRE_SCRAPE_NOW); so is a target that is discovered after its port
 *    opened. At most once a second for each target; ports that were open before the probe came wait for their ticks.
 * 4. A pod that listens and that the kubelet has not told of yet is asked for.
 *
 * Failure: a probe that ends is started (called) again with growing pauses, up to 30 s; what opened meanwhile comes with the first
 * snapshot of the next one. One that may not load anything is not started again: the log and the status say why. Scrapes go on by
 * their ticks all the time.
 */
#include "probes.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "internal.h"

enum { EVENTS_AT_ONCE = 512, SNAPSHOT_PIECE = 64 };

#define HELLO_TIMEOUT_NS (10 * NS_PER_SEC)
#define SHORT_LIFE_NS    (10 * NS_PER_SEC)
#define FIRST_PAUSE_NS   (100 * NS_PER_MS)
#define LONGEST_PAUSE_NS (30 * NS_PER_SEC)
#define SCRAPE_AGAIN_NS  NS_PER_SEC

/* An id names a cgroup within one hierarchy, and an event has two of them: only where there is one hierarchy the look-up is sound. */
#define CGROUP_ROOT     "/sys/fs/cgroup"
#define CGROUP_ONE_ROOT CGROUP_ROOT "/cgroup.controllers"
/* The first process's pid namespace has this inode: who is in it sees every process of the node. */
#define INIT_PID_NAMESPACE 0xeffffffcu

static void begin(struct probes *probes);

const char *probes_state_name(enum probes_state state)
{
	static const char *const names[] = {
		[PROBES_OFF] = "off",
		[PROBES_WAITING] = "waiting",
		[PROBES_STARTING] = "starting",
		[PROBES_RUNNING] = "running",
		[PROBES_UNABLE] = "unable",
	};
	return names[state];
}

static uint64_t now_of(const struct probes *probes)
{
	return clock_mono(&probes->core->clock);
}

/* Says why listening ports are not seen, once: the same reason again is not news. */
static void say(struct probes *probes, enum log_level level)
{
	if (strcmp(probes->said.text, probes->reason.text) == 0)
		return;
	probes->said = probes->reason;
	log_write(&probes->core->log, level, "probe: %s", probes->reason.text);
}

/* ---- a scrape at once --------------------------------------------------------------------- */

bool probes_is_port_of(const struct probes *probes, const struct listener *listener, const struct core_target *known)
{
	const struct target *target = known->target;
	if (target->port != listener->port)
		return false;
	if (target->origin == TARGET_STATIC)
		return listener->netns == probes->own_netns;
	return span_eq(target->pod_uid, span_str(listener->pod_uid));
}

static void scrape_now(struct probes *probes, struct core_target *known)
{
	struct core *core = probes->core;
	uint64_t now_ns = now_of(probes), key = known->target->key;
	if (known->asked_now_ns != 0 && now_ns - known->asked_now_ns < SCRAPE_AGAIN_NS)
		return;
	known->asked_now_ns = now_ns;
	probes->before.scrapes++;
	worker_send(targets_worker(core, key), WIRE_SCRAPE_NOW, &(struct wire_key){key}, SPAN_NONE);
}

void probes_port_opened(void *arg, const struct listener *listener)
{
	struct probes *probes = arg;
	trials_opened(probes->core, listener, !probes->snapshot_due_to_run);
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&probes->core->targets, &i));) {
		struct core_target *known = slot->value;
		if (!probes_is_port_of(probes, listener, known))
			continue;
		/* All ports of the node come with a snapshot. Only a target that is down has missed something. */
		bool down = known->last.key != 0 && !known->last.up;
		if (!probes->snapshot_due_to_run || down)
			scrape_now(probes, known);
	}
}

static void port_closed(void *arg, const struct listener *listener)
{
	struct probes *probes = arg;
	trials_closed(probes->core, listener);
}

/* For targets that came after their port had opened. */
static void scrape_new_targets(void *arg, const struct listener *listener)
{
	struct probes *probes = arg;
	const struct map_slot *slot;
	if (listener->opened_ns < probes->seen_from_ns)
		return;
	for (size_t i = 0; (slot = map_next(&probes->core->targets, &i));) {
		struct core_target *known = slot->value;
		bool is_new = known->last.key == 0 && known->asked_now_ns == 0;
		if (is_new && probes_is_port_of(probes, listener, known))
			scrape_now(probes, known);
	}
}

/* ---- pods ------------------------------------------------------------------------------------ */

static void on_nudge(void *arg, const char *pod_uid)
{
	struct probes *probes = arg;
	(void)pod_uid;
	if (sources_nudge(probes->core->sources))
		probes->before.nudges++;
}

static bool on_cgroup(void *arg, uint64_t cgroup_id, struct cgroup_name *ret_name)
{
	(void)arg;
	return cgroup_name_by_id(CGROUP_ROOT, cgroup_id, ret_name) == 1;
}

static void tell_pods(struct probes *probes, const struct kube_pods *old)
{
	int result = 0;
	char uid[40];
	for (size_t i = 0; old && i < old->count; i++) {
		snprintf(uid, sizeof(uid), "%.*s", SPAN_ARGS(old->items[i].uid));
		if (!probes->pods || !kube_pods_find(probes->pods, old->items[i].uid))
			listeners_pod_remove(probes->listeners, uid);
	}
	for (size_t i = 0; result == 0 && probes->pods && i < probes->pods->count; i++) {
		const struct kube_pod *pod = &probes->pods->items[i];
		snprintf(uid, sizeof(uid), "%.*s", SPAN_ARGS(pod->uid));
		result = listeners_pod_add(probes->listeners, uid, pod->host_network);
	}
	if (result < 0)
		log_error(&probes->core->log, "probe: pods: %s; ports of some are nobody's", strerror(-result));
}

void probes_pods(struct core *core, struct kube_pods *pods)
{
	struct probes *probes = core->probes;
	if (!probes)
		return;
	struct kube_pods *old = probes->pods;
	probes->pods = pods ? kube_pods_ref(pods) : NULL;
	if (probes->listeners) {
		tell_pods(probes, old);
		listeners_each(probes->listeners, scrape_new_targets, probes);
	}
	kube_pods_unref(old);
}

const struct kube_pod *probes_pod(const struct probes *probes, const struct listener *listener)
{
	return probes->pods ? kube_pods_find(probes->pods, span_str(listener->pod_uid)) : NULL;
}

/* ---- events and snapshots ------------------------------------------------------------------------ */

/* Another one follows in some minutes. */
static void snapshot_failed(struct probes *probes, int result)
{
	log_warn(&probes->core->log, "probe: snapshot: %s", strerror(-result));
	if (probes->seen_from_ns == UINT64_MAX)
		probes->seen_from_ns = now_of(probes);
}

static void run_listeners(struct probes *probes)
{
	uint64_t next_ns = listeners_run(probes->listeners), now_ns = now_of(probes);
	if (listeners_want_snapshot(probes->listeners)) {
		int result = probe_ask_snapshot(probes->probe);
		if (result < 0 && result != -EOPNOTSUPP)
			snapshot_failed(probes, result);
		next_ns = listeners_run(probes->listeners);
	}
	loop_timer_set(probes->run_timer, next_ns > now_ns ? next_ns - now_ns : 0);
}

static void run_due(void *arg)
{
	run_listeners(arg);
}

struct search {
	const struct probes *probes;
	const struct core_target *target;
	struct listener found;
	bool any;
};

/* Listening at another address of the pod than the one that is dialled proves nothing. */
static void search_port(void *arg, const struct listener *listener)
{
	static const uint8_t everywhere[sizeof(listener->address)] = {0};
	struct search *search = arg;
	if (memcmp(listener->address, everywhere, sizeof(everywhere)) != 0 ||
		!probes_is_port_of(search->probes, listener, search->target))
		return;
	search->found = *listener;
	search->any = true;
}

void probes_dialled(struct core *core, uint64_t key, bool refused)
{
	struct probes *probes = core->probes;
	struct core_target *known = targets_find(core, key);
	if (!known)
		return;
	known->refusals = refused ? known->refusals + 1 : 0;
	if (known->refusals < 2 || !probes || !probes->listeners)
		return;
	struct search search = {.probes = probes, .target = known};
	listeners_each(probes->listeners, search_port, &search);
	if (!search.any)
		return;
	listeners_refused(probes->listeners, &search.found);
	run_listeners(probes);
}

static void events_ready(void *arg, unsigned events)
{
	struct probes *probes = arg;
	struct listen_event event;
	(void)events;
	int result = 0;
	for (size_t i = 0; i < EVENTS_AT_ONCE && result == 0 && probe_event(probes->probe, &event) == 1; i++)
		result = listeners_event(probes->listeners, &event);
	uint64_t dropped = probe_listen_counters(probes->probe)->dropped;
	if (result < 0 || dropped != probes->dropped_seen)
		listeners_lost(probes->listeners);
	probes->dropped_seen = dropped;
	run_listeners(probes);
}

bool probes_see_all_processes(void)
{
	struct stat about;
	return stat("/proc/self/ns/pid", &about) == 0 && about.st_ino == INIT_PID_NAMESPACE;
}

/* What lies in the ring is older than the end of the snapshot, or of it: it is read afterwards and wins. */
static void take_snapshot(struct probes *probes, int fd)
{
	struct listen_event events[SNAPSHOT_PIECE];
	ssize_t count = 0;
	int result = 0;
	listeners_snapshot_begin(probes->listeners);
	while (result == 0 && (count = probe_snapshot_read(fd, events, SNAPSHOT_PIECE)) > 0)
		result = listeners_snapshot_add(probes->listeners, events, (size_t)count);
	close(fd);
	/* Not in the host's pid namespace it names our own processes only. */
	listeners_snapshot_end(probes->listeners, result == 0 && count == 0 && probes_see_all_processes());
	if (result < 0 || count < 0)
		snapshot_failed(probes, result < 0 ? result : (int)count);
	probes->snapshot_due_to_run = true;
	listeners_run(probes->listeners);
	probes->snapshot_due_to_run = false;
	if (probes->seen_from_ns == UINT64_MAX)
		probes->seen_from_ns = now_of(probes);
	run_listeners(probes);
}

/* ---- the end of a probe, and the next one ---------------------------------------------------------- */

static void reap(struct probes *probes)
{
	if (probes->pid == 0)
		return;
	kill(probes->pid, SIGKILL); /* it may only have closed its socket */
	while (waitpid(probes->pid, NULL, 0) < 0 && errno == EINTR)
		;
	probes->pid = 0;
}

/* Keeps what was counted. */
static void disconnect(struct probes *probes)
{
	if (probes->listeners)
		probes->before = probes_counters(probes);
	if (probes->run_timer) { /* else there was no memory to start */
		loop_timer_cancel(probes->timer);
		loop_timer_cancel(probes->run_timer);
	}
	loop_watch_free(probes->events_watch);
	loop_watch_free(probes->socket_watch);
	probes->events_watch = probes->socket_watch = NULL;
	listeners_free(probes->listeners);
	probes->listeners = NULL;
	costs_probe_gone(probes->core, "there is no probe");
	probe_free(probes->probe);
	probes->probe = NULL;
	if (probes->socket >= 0)
		close(probes->socket);
	probes->socket = -1;
	reap(probes);
}

static void unable(struct probes *probes)
{
	struct settings_probe *settings = &probes->core->settings->probe;
	disconnect(probes);
	probes->state = PROBES_UNABLE;
	say(probes, settings->enabled == SETTINGS_PROBE_AUTO ? LOG_LEVEL_INFO : LOG_LEVEL_WARN);
}

/* The reason is set. */
static void try_later(struct probes *probes)
{
	bool lived = probes->state == PROBES_RUNNING && now_of(probes) - probes->connected_ns >= SHORT_LIFE_NS;
	disconnect(probes);
	probes->failures = lived ? 0 : probes->failures + 1;
	uint64_t pause_ns = probes->failures < 10 ? FIRST_PAUSE_NS << probes->failures : LONGEST_PAUSE_NS;
	probes->state = PROBES_WAITING;
	say(probes, LOG_LEVEL_WARN);
	loop_timer_set(probes->timer, pause_ns < LONGEST_PAUSE_NS ? pause_ns : LONGEST_PAUSE_NS);
}

static void lost(struct probes *probes, const char *why)
{
	error_set(&probes->reason, EIO, "%s; scraping goes on without, another attempt follows", why);
	probes->before.deaths += probes->state == PROBES_RUNNING;
	try_later(probes);
}

static void timer_fired(void *arg)
{
	struct probes *probes = arg;
	if (probes->state == PROBES_STARTING)
		lost(probes, "no hello within 10s");
	else
		begin(probes);
}

/* ---- a probe that has come ---------------------------------------------------------------------------- */

static const struct probe_program *program_of(const struct probe_hello *hello, const char *name)
{
	for (size_t i = 0; i < hello->program_count; i++) {
		if (strcmp(hello->programs[i].name, name) == 0)
			return &hello->programs[i];
	}
	return NULL;
}

/* "listening ports are not seen: on_listen is denied: CAP_BPF is missing" */
static void explain(struct error *reason, const char *what, const struct probe_hello *hello, const char *name)
{
	const struct probe_program *program = program_of(hello, name);
	if (!program)
		program = &hello->programs[0];
	error_set(reason, EIO, "%s: %s is %s: %s", what, escape_bytes(span_str(program->name)).text,
		probe_state_name((enum probe_state)program->state), escape_bytes(span_str(program->reason)).text);
}

/* The first program that cost needs and that is not there. */
static void explain_cost(struct error *reason, const struct probe_hello *hello)
{
	static const char *const needed[] = {"on_dial", "on_switch", "on_recv", "on_recv2"};
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		const struct probe_program *program = program_of(hello, needed[i]);
		if (!program || program->state == PROBE_ATTACHED || program->state == PROBE_OFF)
			continue;
		error_set(reason, EIO, "%s is %s: %s", needed[i], probe_state_name((enum probe_state)program->state),
			escape_bytes(span_str(program->reason)).text);
		return;
	}
	error_set(reason, EIO, "the probe has not loaded the programs");
}

static void answer_ready(void *arg, unsigned events)
{
	struct probes *probes = arg;
	int fd = -1;
	(void)events;
	int result = probe_answer(probes->probe, &fd);
	if (result == 1)
		take_snapshot(probes, fd);
	else if (result == -ECONNRESET)
		lost(probes, "ended");
	else if (result < 0)
		snapshot_failed(probes, result);
}

static int connect_listeners(struct probes *probes)
{
	struct listeners_events events = {.opened = probes_port_opened,
		.reopened = probes_port_opened,
		.closed = port_closed,
		.nudge = on_nudge,
		.cgroup = access(CGROUP_ONE_ROOT, F_OK) == 0 ? on_cgroup : NULL,
		.arg = probes};
	struct loop *loop = probes->core->loop;
	int result = listeners_new(probes->core->clock, listeners_default_limits(), events, &probes->listeners);
	if (result == 0)
		result = loop_watch_new(
			loop, probe_events_fd(probes->probe), LOOP_READ, events_ready, probes, &probes->events_watch);
	if (result == 0)
		result = loop_watch_new(
			loop, probe_socket(probes->probe), LOOP_READ, answer_ready, probes, &probes->socket_watch);
	return result;
}

static void connect_costs(struct probes *probes)
{
	struct core *core = probes->core;
	const struct probe_hello *hello = &probes->hello;
	struct error reason = {""};
	if (!core->settings->probe.cost)
		error_set(&reason, EIO, "probe.cost is false");
	else if (!hello->cost)
		explain_cost(&reason, hello);
	int slots_fd, shared_fd;
	if (reason.text[0] || probe_cost_fds(probes->probe, &slots_fd, &shared_fd) < 0)
		costs_probe_gone(core, reason.text);
	else
		costs_maps_came(core, slots_fd, shared_fd);
	if (core->costs.reason.text[0])
		log_info(&core->log, "probe: the cost of scrapes is not measured: %s", core->costs.reason.text);
	else
		log_info(&core->log, "probe: the cost of scrapes is measured");
}

static void said_hello(struct probes *probes)
{
	const struct probe_hello *hello = probe_hello(probes->probe);
	probes->hello = *hello;
	if (!hello->listen) {
		explain(&probes->reason, "listening ports are not seen", hello, "on_listen");
		unable(probes);
		return;
	}
	probes->state = PROBES_RUNNING;
	probes->connected_ns = now_of(probes);
	probes->seen_from_ns = hello->snapshot ? UINT64_MAX : probes->connected_ns;
	probes->base = *probe_listen_counters(probes->probe);
	probes->dropped_seen = probes->base.dropped;
	int result = connect_listeners(probes);
	if (result < 0) {
		lost(probes, strerror(-result));
		return;
	}
	probes->reason.text[0] = '\0';
	if (!hello->snapshot)
		explain(&probes->reason, "ports that opened earlier are not seen", hello, "snap_file");
	else if (!probes_see_all_processes())
		error_set(&probes->reason, EIO,
			"ports that opened earlier are not seen: not in the host's pid namespace (hostPID)");
	probes->said = probes->reason;
	log_info(&probes->core->log, "probe: listening ports are seen as they open%s%s",
		probes->reason.text[0] ? "; " : "", probes->reason.text);
	tell_pods(probes, NULL);
	run_listeners(probes);
	connect_costs(probes);
}

static void hello_ready(void *arg, unsigned events)
{
	struct probes *probes = arg;
	struct error err = {""};
	(void)events;
	int result = probe_new(probes->socket, &probes->probe, &err);
	if (result == -EAGAIN)
		return;
	if (result < 0) {
		lost(probes, err.text);
		return;
	}
	probes->socket = -1; /* the probe's */
	loop_watch_free(probes->socket_watch);
	probes->socket_watch = NULL;
	loop_timer_cancel(probes->timer);
	said_hello(probes);
}

/* ---- start ----------------------------------------------------------------------------------------------- */

static int start_child(struct probes *probes)
{
	static const char *const with_cost[] = {"gleaner", "probe", "--fd", CHILD_FD_TEXT, NULL};
	/* Of the programs that measure cost none is loaded without on_dial. */
	static const char *const without[] = {"gleaner", "probe", "--fd", CHILD_FD_TEXT, "--off", "on_dial", NULL};
	const char *const *argv = probes->core->settings->probe.cost ? with_cost : without;
	return child_start(SOCK_SEQPACKET, argv, &probes->pid, &probes->socket);
}

/* Does not wait: a socket whose queue is full is as good as none. */
static int call(struct probes *probes, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int result = -errno;
		close(fd);
		return result;
	}
	probes->socket = fd;
	return 0;
}

static void begin(struct probes *probes)
{
	const char *path = probes->core->settings->probe.socket;
	struct error err = {""};
	probes->state = PROBES_STARTING;
	probes->before.starts++;
	int result = path ? call(probes, path) : start_child(probes);
	if (result == 0)
		result = loop_watch_new(
			probes->core->loop, probes->socket, LOOP_READ, hello_ready, probes, &probes->socket_watch);
	if (result < 0) {
		error_wrap(&err, -result, "%s", path ? path : "start a child");
		lost(probes, err.text);
		return;
	}
	loop_timer_set(probes->timer, HELLO_TIMEOUT_NS);
}

int probes_start(struct core *core)
{
	struct probes *probes = calloc(1, sizeof(*probes));
	struct stat about;
	if (!probes)
		return -ENOMEM;
	core->probes = probes;
	*probes = (struct probes){.core = core, .socket = -1, .before = core->probes_before};
	int result = loop_timer_new(core->loop, timer_fired, probes, &probes->timer);
	if (result == 0)
		result = loop_timer_new(core->loop, run_due, probes, &probes->run_timer);
	if (result < 0)
		return result;
	if (stat("/proc/self/ns/net", &about) == 0)
		probes->own_netns = (uint32_t)about.st_ino;
	if (core->settings->probe.enabled == SETTINGS_PROBE_OFF)
		error_set(&probes->reason, EIO, "probe.enabled is false");
	else
		begin(probes);
	return 0;
}

void probes_stop(struct core *core)
{
	struct probes *probes = core->probes;
	if (!probes)
		return;
	disconnect(probes);
	core->probes = NULL;
	core->probes_before = probes->before;
	kube_pods_unref(probes->pods);
	loop_timer_free(probes->timer);
	loop_timer_free(probes->run_timer);
	free(probes);
}

/* ---- for the pages ------------------------------------------------------------------------------------------ */

struct probes_counters probes_counters(const struct probes *probes)
{
	struct probes_counters sum = probes->before;
	if (!probes->listeners)
		return sum;
	struct listeners_counters now = listeners_counters(probes->listeners);
	const struct listen_shared *shared = probe_listen_counters(probes->probe);
	sum.events += now.events;
	sum.flaps += now.flaps;
	sum.snapshots += now.snapshots;
	sum.unattributed += now.unattributed;
	sum.lost_ring += shared->dropped - probes->base.dropped;
	sum.lost_rate += shared->overflow - probes->base.overflow;
	return sum;
}

struct collecting {
	struct listener *items;
	size_t count, cap;
};

static void count_port(void *arg, const struct listener *listener)
{
	(void)listener;
	(*(size_t *)arg)++;
}

size_t probes_port_count(const struct probes *probes)
{
	size_t count = 0;
	if (probes->listeners)
		listeners_each(probes->listeners, count_port, &count);
	return count;
}

static void collect(void *arg, const struct listener *listener)
{
	struct collecting *collecting = arg;
	if (collecting->count < collecting->cap)
		collecting->items[collecting->count++] = *listener;
}

static int compare_ports(const void *a, const void *b)
{
	const struct listener *left = a, *right = b;
	int result = strcmp(left->pod_uid, right->pod_uid);
	if (result == 0)
		result = left->port - right->port;
	return result ? result : memcmp(left->address, right->address, sizeof(left->address));
}

struct listener *probes_ports(const struct probes *probes, size_t *ret_count)
{
	struct collecting collecting = {.cap = probes_port_count(probes)};
	collecting.items = collecting.cap ? calloc(collecting.cap, sizeof(*collecting.items)) : NULL;
	*ret_count = 0;
	if (!collecting.items)
		return NULL;
	listeners_each(probes->listeners, collect, &collecting);
	qsort(collecting.items, collecting.count, sizeof(*collecting.items), compare_ports);
	*ret_count = collecting.count;
	return collecting.items;
}
