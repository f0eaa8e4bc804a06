/* Scrape cost: the CPU time that a target's threads spend on one request of ours.
 *
 *   on_dial       our connect(): socket cookie -> slot; when it is established, the server's view of the 4-tuple -> slot
 *   on_recv       a server thread reads our connection: the window starts, the thread is marked
 *   on_send       a thread writes to it: marked too; sums are noted as "at send"
 *   on_switch     a marked thread leaves or enters a CPU: its time is added
 *   on_waking     a marked thread wakes a thread of its process: that one is marked as causal
 *   on_fork       a marked thread starts a thread (causal) or a process (other)
 *   on_send       of a marked thread to a server of its own: who reads that is `other`
 *   on_timer_*    wake-ups out of a timer interrupt are nobody's doing
 *   on_recv2, on_send2: before 6.3, which has no sock_recv_length: no byte counts
 *
 * Marks carry the generation of their window, so a mark whose thread never comes back is harmless. A marked thread that reads another
 * connection of the same port serves somebody else: it pauses until it reads ours again.
 * Failure: what does not fit into a map is not counted, and that is counted in `shared`.
 */
#include "cost.h"
#include "compat.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by the loader: marks live in task storage (since 6.4; before, creating one in sched_waking may allocate under a lock). */
const volatile bool use_task_storage = false;

struct cost_shared shared;

/* The server's view of a connection; IPv4 as ::ffff:a.b.c.d. */
struct tuple {
	__u32 local[4], remote[4];
	__u16 local_port, remote_port;
	__u32 pad;
};

struct dialed {
	struct tuple tuple;
	__u32 slot, watched;
};

enum mark_kind { MARK_THREAD, MARK_CAUSAL, MARK_OTHER };

struct mark {
	__u64 generation, running_since_ns; /* 0: not on a CPU */
	__u32 slot, kind, paused;
	__u32 port; /* the server's, over whose connection it was marked; 0: not over a connection */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, COST_SLOTS);
	__type(key, __u32);
	__type(value, struct cost_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, COST_SLOTS);
	__type(key, __u64);
	__type(value, struct dialed);
} dialed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct tuple);
	__type(value, __u32);
} watches SEC(".maps");

/* Connections that marked threads sent something over to another server, as that server sees them. Stale ones do no harm. */
struct hop {
	__u64 generation;
	__u32 slot, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct tuple);
	__type(value, struct hop);
} hops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH); /* threads come and go */
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct mark);
} marks_by_tid SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mark);
} marks SEC(".maps");

/* One line per CPU, so that timers of one do not slow another. */
struct cpu {
	__u32 in_timer;
	__u8 pad[60];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct cpu);
} cpus SEC(".maps");

static __always_inline struct cost_slot *slot_at(__u32 index)
{
	return bpf_map_lookup_elem(&slots, &index);
}

static __always_inline struct cpu *this_cpu(void)
{
	__u32 cpu = bpf_get_smp_processor_id();
	return bpf_map_lookup_elem(&cpus, &cpu);
}

/* ---- marks ---------------------------------------------------------------------- */

static __always_inline struct mark *mark_of(struct task_struct *task)
{
	if (use_task_storage)
		return bpf_task_storage_get(&marks, task, 0, 0);
	__u32 tid = task->pid;
	return bpf_map_lookup_elem(&marks_by_tid, &tid);
}

static __always_inline struct mark *mark_new(struct task_struct *task)
{
	struct mark *mark;
	if (use_task_storage) {
		mark = bpf_task_storage_get(&marks, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	} else {
		struct mark none = {};
		__u32 tid = task->pid;
		bpf_map_update_elem(&marks_by_tid, &tid, &none, BPF_NOEXIST);
		mark = bpf_map_lookup_elem(&marks_by_tid, &tid);
	}
	if (!mark)
		__sync_fetch_and_add(&shared.no_mark, 1);
	return mark;
}

/* The mark's slot while the mark's window is open, else NULL. */
static __always_inline struct cost_slot *open_slot(struct mark *mark)
{
	struct cost_slot *slot = slot_at(mark->slot);
	if (!slot || slot->state != COST_RUNNING || slot->generation != mark->generation)
		return 0;
	return slot;
}

static __always_inline struct cost_sum *sum_of(struct cost_slot *slot, __u32 kind)
{
	return kind == MARK_THREAD ? &slot->thread : kind == MARK_CAUSAL ? &slot->causal : &slot->other;
}

/* Adds the time since the mark's thread was last charged; the thread stays on its CPU. */
static __always_inline void charge(struct mark *mark, struct cost_slot *slot, __u64 now_ns)
{
	__u64 since = mark->running_since_ns;
	if (since && !mark->paused && now_ns > since)
		__sync_fetch_and_add(&sum_of(slot, mark->kind)->cpu_ns, now_ns - since);
	mark->running_since_ns = now_ns;
}

static __always_inline void mark_set(
	struct mark *mark, __u32 index, struct cost_slot *slot, __u32 kind, __u32 port, __u64 running_since_ns)
{
	mark->slot = index;
	mark->kind = kind;
	mark->paused = 0;
	mark->port = port;
	mark->running_since_ns = running_since_ns;
	mark->generation = slot->generation;
	__sync_fetch_and_add(&sum_of(slot, kind)->threads, 1);
}

/* ---- our own connection --------------------------------------------------------- */

static __always_inline void copy_addresses(struct sock *sk, __u32 *local, __u32 *remote)
{
	struct sock_common *common = &sk->__sk_common;
	if (common->skc_family == AF_INET) {
		local[0] = local[1] = remote[0] = remote[1] = 0;
		local[2] = remote[2] = bpf_htonl(0xffff);
		local[3] = common->skc_rcv_saddr;
		remote[3] = common->skc_daddr;
		return;
	}
	for (int i = 0; i < 4; i++) {
		local[i] = common->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		remote[i] = common->skc_v6_daddr.in6_u.u6_addr32[i];
	}
}

static __always_inline void dial_started(struct sock *sk)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;
	if (cookie == 0 || cookie != shared.dial_cookie)
		return;
	struct dialed dial = {.slot = shared.dial_slot};
	struct cost_slot *slot = slot_at(dial.slot);
	if (!slot)
		return;
	slot->cookie = cookie;
	bpf_map_update_elem(&dialed, &cookie, &dial, BPF_ANY);
}

static __always_inline void dial_established(struct sock *sk)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;
	struct dialed *dial = cookie ? bpf_map_lookup_elem(&dialed, &cookie) : 0;
	if (!dial)
		return;
	/* Ours seen from the other side: local and remote change places. */
	copy_addresses(sk, dial->tuple.remote, dial->tuple.local);
	dial->tuple.remote_port = sk->__sk_common.skc_num;
	dial->tuple.local_port = bpf_ntohs(sk->__sk_common.skc_dport);
	dial->watched = 1;
	struct tuple key = dial->tuple;
	__u32 slot = dial->slot;
	if (bpf_map_update_elem(&watches, &key, &slot, BPF_ANY) < 0)
		__sync_fetch_and_add(&shared.no_watch, 1);
}

static __always_inline void dial_closed(struct sock *sk)
{
	__u64 cookie = sk->__sk_common.skc_cookie.counter;
	struct dialed *dial = cookie ? bpf_map_lookup_elem(&dialed, &cookie) : 0;
	if (!dial)
		return;
	struct tuple key = dial->tuple;
	if (dial->watched)
		bpf_map_delete_elem(&watches, &key);
	bpf_map_delete_elem(&dialed, &cookie);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_dial, struct sock *sk, int oldstate, int newstate)
{
	if (oldstate == TCP_CLOSE && newstate == TCP_SYN_SENT)
		dial_started(sk);
	else if (oldstate == TCP_SYN_SENT && newstate == TCP_ESTABLISHED)
		dial_established(sk);
	else if (newstate == TCP_CLOSE)
		dial_closed(sk);
	return 0;
}

/* ---- the server's reads and writes ---------------------------------------------- */

static __always_inline void server_view(struct sock *sk, struct tuple *ret_key)
{
	copy_addresses(sk, ret_key->local, ret_key->remote);
	ret_key->local_port = sk->__sk_common.skc_num;
	ret_key->remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
}

/* Index of the slot that watches this server-side socket, or COST_SLOTS. */
static __always_inline __u32 watched_slot(const struct tuple *key)
{
	__u32 *slot = bpf_map_lookup_elem(&watches, key);
	return slot ? *slot : COST_SLOTS;
}

/* The cheap question that nearly every message of the node is turned away by. */
static __always_inline bool is_candidate(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;
	return (family == AF_INET || family == AF_INET6) && shared.ports[sk->__sk_common.skc_num];
}

static __always_inline void window_started(
	struct cost_slot *slot, struct sock *sk, struct task_struct *task, __u64 now_ns)
{
	struct two_cgroups both;
	task_cgroups(task, &both);
	slot->tgid = task->tgid;
	slot->tid = task->pid;
	slot->netns = sk->__sk_common.skc_net.net->ns.inum;
	slot->local_port = sk->__sk_common.skc_num;
	slot->cgroup_v2 = both.v2->id;
	slot->cgroup_v1 = both.v1 ? both.v1->id : 0;
	bpf_get_current_comm(slot->comm, sizeof(slot->comm));
	slot->first_recv_ns = now_ns;
	slot->state = COST_RUNNING;
}

/* The current thread reads or writes a connection of the slot. A thread that is marked for the slot already keeps the nearer kind. */
static __always_inline struct mark *join(
	struct cost_slot *slot, __u32 index, __u32 kind, __u16 port, struct task_struct *task, __u64 now_ns)
{
	struct mark *mark = mark_new(task);
	if (!mark)
		return 0;
	struct cost_slot *before = open_slot(mark);
	if (before)
		charge(mark, before, now_ns);
	if (before == slot && mark->kind <= kind)
		mark->paused = 0;
	else
		mark_set(mark, index, slot, kind, port, now_ns);
	return mark;
}

/* Another server reads or writes what a marked thread sent it: its time is `other`. true when it was so. */
static __always_inline bool join_hop(const struct tuple *key, struct task_struct *task, __u64 now_ns)
{
	struct hop *hop = bpf_map_lookup_elem(&hops, key);
	struct cost_slot *slot = hop ? slot_at(hop->slot) : 0;
	if (!slot || slot->state != COST_RUNNING || slot->generation != hop->generation)
		return false;
	slot->hop_tgid = task->tgid;
	join(slot, hop->slot, MARK_OTHER, key->local_port, task, now_ns);
	return true;
}

/* A read of another connection: when the current thread is marked through the same port, it serves somebody else now. */
static __always_inline void leave(__u16 port, struct task_struct *task, __u64 now_ns)
{
	struct mark *mark = mark_of(task);
	struct cost_slot *slot = mark ? open_slot(mark) : 0;
	if (!slot || mark->paused || mark->port != port)
		return;
	charge(mark, slot, now_ns);
	mark->paused = 1;
	if (port == slot->local_port)
		slot->flags |= COST_SHARED;
}

static __always_inline void server_read(struct sock *sk, __u32 bytes, __u32 flags)
{
	if (!is_candidate(sk))
		return;
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 now_ns = bpf_ktime_get_ns();
	struct tuple key = {};
	server_view(sk, &key);
	__u32 index = watched_slot(&key);
	struct cost_slot *slot = slot_at(index);
	if (slot && slot->state == COST_ARMED)
		window_started(slot, sk, task, now_ns);
	if (!slot || slot->state != COST_RUNNING) {
		if (!join_hop(&key, task, now_ns))
			leave(key.local_port, task, now_ns);
		return;
	}
	slot->flags |= flags;
	__sync_fetch_and_add(&slot->recvs, 1);
	__sync_fetch_and_add(&slot->rx_bytes, bytes);
	join(slot, index, MARK_THREAD, key.local_port, task, now_ns);
}

static __always_inline void note_send(struct cost_slot *slot, __u32 bytes, __u64 now_ns)
{
	__sync_fetch_and_add(&slot->sends, 1);
	__sync_fetch_and_add(&slot->tx_bytes, bytes);
	if (!slot->first_send_ns)
		slot->first_send_ns = now_ns;
	slot->last_send_ns = now_ns;
	slot->thread.cpu_at_send_ns = slot->thread.cpu_ns;
	slot->thread.switches_at_send = slot->thread.switches;
	slot->causal.cpu_at_send_ns = slot->causal.cpu_ns;
	slot->causal.switches_at_send = slot->causal.switches;
	slot->other.cpu_at_send_ns = slot->other.cpu_ns;
	slot->other.switches_at_send = slot->other.switches;
}

/* Older verifiers (6.1) know no bound of what a byte swap makes, and the compiler drops a mask that it holds useless. */
static __always_inline __u32 as_index(__u32 port)
{
	asm volatile("" : "+r"(port));
	return port & 0xffff;
}

/* A marked thread sends to a server of its own: whoever reads that works for the window too. One hop deep. A connection is taken for an
 * outgoing one when its own port is the larger: those are chosen from above 32768. */
static __always_inline void follow_upstream(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family, port = bpf_ntohs(sk->__sk_common.skc_dport);
	if ((family != AF_INET && family != AF_INET6) || sk->__sk_common.skc_num < port)
		return;
	struct mark *mark = mark_of(bpf_get_current_task_btf());
	struct cost_slot *slot = mark ? open_slot(mark) : 0;
	if (!slot || mark->paused || mark->kind == MARK_OTHER)
		return;
	struct tuple key = {};
	copy_addresses(sk, key.remote, key.local);
	key.remote_port = sk->__sk_common.skc_num;
	key.local_port = port;
	struct hop hop = {.generation = mark->generation, .slot = mark->slot};
	shared.ports[as_index(port)] = 1;
	bpf_map_update_elem(&hops, &key, &hop, BPF_ANY);
	__sync_fetch_and_add(&slot->hops, 1);
}

static __always_inline void server_write(struct sock *sk, __u32 bytes)
{
	if (!is_candidate(sk)) {
		follow_upstream(sk);
		return;
	}
	struct tuple key = {};
	server_view(sk, &key);
	__u32 index = watched_slot(&key);
	struct cost_slot *slot = slot_at(index);
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 now_ns = bpf_ktime_get_ns();
	if (!slot || slot->state != COST_RUNNING)
		join_hop(&key, task, now_ns);
	else if (join(slot, index, MARK_THREAD, key.local_port, task, now_ns))
		note_send(slot, bytes, now_ns);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_recv, struct sock *sk, int ret, int flags)
{
	if (shared.active && ret > 0 && !(flags & MSG_PEEK))
		server_read(sk, ret, 0);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int ret, int flags)
{
	if (shared.active && ret > 0)
		server_write(sk, ret);
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(on_recv2, struct sock *sk)
{
	if (shared.active)
		server_read(sk, 0, COST_BYTES_UNKNOWN);
	return 0;
}

/* Segments leave in whatever context the last ACK came in: only those of the process that answers count, and none without data. */
SEC("tp_btf/net_dev_queue")
int BPF_PROG(on_send2, struct sk_buff *skb)
{
	if (!shared.active || skb->len <= 80)
		return 0;
	struct sock *sk = skb->sk;
	if (!sk || !is_candidate(sk))
		return 0;
	struct tuple key = {};
	server_view(sk, &key);
	struct cost_slot *slot = slot_at(watched_slot(&key));
	if (slot && slot->tgid == (__u32)(bpf_get_current_pid_tgid() >> 32))
		server_write(sk, 0);
	return 0;
}

/* ---- the scheduler -------------------------------------------------------------- */

static __always_inline void switched_out(struct mark *mark)
{
	struct cost_slot *slot = open_slot(mark);
	if (slot) {
		charge(mark, slot, bpf_ktime_get_ns());
		if (!mark->paused)
			__sync_fetch_and_add(&sum_of(slot, mark->kind)->switches, 1);
	}
	mark->running_since_ns = 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	if (!shared.active)
		return 0;
	struct mark *mark = mark_of(prev);
	if (mark)
		switched_out(mark);
	mark = mark_of(next);
	if (mark)
		mark->running_since_ns = bpf_ktime_get_ns();
	return 0;
}

/* Marks `task` as the doing of the current thread, when that is marked and at work for a window. */
static __always_inline void follow(struct task_struct *parent, struct task_struct *task, bool forked)
{
	struct mark *cause = mark_of(parent);
	struct cost_slot *slot = cause ? open_slot(cause) : 0;
	if (!slot || cause->paused)
		return;
	bool same_process = task->tgid == parent->tgid;
	if (!same_process && !forked)
		return;
	__u32 kind = !same_process || cause->kind == MARK_OTHER ? MARK_OTHER : MARK_CAUSAL;
	struct mark *mark = mark_new(task);
	if (mark && !open_slot(mark))
		mark_set(mark, cause->slot, slot, kind, 0, 0);
}

SEC("tp_btf/sched_waking")
int BPF_PROG(on_waking, struct task_struct *task)
{
	if (!shared.active)
		return 0;
	struct cpu *cpu = this_cpu();
	if (!cpu || cpu->in_timer)
		return 0;
	follow(bpf_get_current_task_btf(), task, false);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	if (shared.active)
		follow(parent, child, true);
	return 0;
}

SEC("tp_btf/hrtimer_expire_entry")
int BPF_PROG(on_timer_in)
{
	struct cpu *cpu = shared.active ? this_cpu() : 0;
	if (cpu)
		cpu->in_timer = 1;
	return 0;
}

/* Not behind the gate: it may close between the two. */
SEC("tp_btf/hrtimer_expire_exit")
int BPF_PROG(on_timer_out)
{
	struct cpu *cpu = this_cpu();
	if (cpu && cpu->in_timer)
		cpu->in_timer = 0;
	return 0;
}
