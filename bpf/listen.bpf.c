/* Listening ports: one event when a TCP socket starts to listen, one when it stops; and, on request, all that listen now.
 *
 *   on_listen   every change of a TCP state; returns at once unless the state LISTEN is entered or left for CLOSE.
 *               (LISTEN -> SYN_RECV is every accepted connection: the child starts as a copy of its parent.)
 *   snap_file   iterator over all files of all processes of the creator's pid namespace; one record per (listening socket, descriptor);
 *               since 5.11 (the loader leaves it out below)
 *
 * Failure: a full ring or a namespace above its rate loses events, counted in `shared`; user space then asks for a snapshot.
 */
#include "listen.h"
#include "compat.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct listen_shared shared;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, LISTEN_RING_BYTES);
} events SEC(".maps");

/* One second of one network namespace. Two CPUs may count past each other; the bound need not be exact. */
struct rate {
	__u64 since_ns;
	__u32 count, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct rate);
} flood SEC(".maps");

static __always_inline void describe_socket(struct listen_head *head, struct sock *sk)
{
	struct net *net = sk->__sk_common.skc_net.net;
	head->version = LISTEN_VERSION;
	head->socket_id = socket_id(sk);
	head->netns = net->ns.inum;
	head->netns_cookie = netns_cookie(net);
	head->family = sk->__sk_common.skc_family;
	head->port = sk->__sk_common.skc_num;
	if (BPF_CORE_READ_BITFIELD(&sk->__sk_common, skc_ipv6only))
		head->flags |= LISTEN_V6ONLY;
	if (BPF_CORE_READ_BITFIELD(&sk->__sk_common, skc_reuseport))
		head->flags |= LISTEN_REUSEPORT;
	if (sk->sk_protocol == IPPROTO_MPTCP)
		head->flags |= LISTEN_MPTCP;
	__u32 *address = (__u32 *)head->address;
	if (head->family == AF_INET) {
		address[0] = sk->__sk_common.skc_rcv_saddr;
		return;
	}
	for (int i = 0; i < 4; i++)
		address[i] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i];
}

static __always_inline bool is_listener_protocol(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family, protocol = sk->sk_protocol;
	return (family == AF_INET || family == AF_INET6) && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

/* How many events of the namespace this second, with this one. */
static __always_inline __u32 rate_of(__u32 netns, __u64 now_ns)
{
	struct rate *rate = bpf_map_lookup_elem(&flood, &netns);
	if (!rate) {
		struct rate first = {.since_ns = now_ns, .count = 1};
		bpf_map_update_elem(&flood, &netns, &first, BPF_ANY);
		return 1;
	}
	if (now_ns - rate->since_ns >= 1000000000) {
		rate->since_ns = now_ns;
		rate->count = 0;
	}
	return ++rate->count;
}

static __always_inline void send_overflow(struct net *net, __u64 now_ns)
{
	struct listen_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&shared.dropped, 1);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->head.kind = LISTEN_OVERFLOW;
	event->head.version = LISTEN_VERSION;
	event->head.time_ns = now_ns;
	event->head.netns = net->ns.inum;
	event->head.netns_cookie = netns_cookie(net);
	bpf_ringbuf_submit(event, 0);
}

/* Before 5.11 the current task has no type, so nothing of it can be loaded but by bpf_probe_read_kernel. */
static __always_inline void untyped_cgroups(struct two_cgroups *ret)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *memory = 0;
	ret->v1 = 0;
	ret->v2 = BPF_CORE_READ(set, dfl_cgrp, kn);
	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return;
	bpf_core_read(
		&memory, sizeof(memory), &set->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)]);
	if (BPF_CORE_READ(memory, cgroup, root, hierarchy_id))
		ret->v1 = BPF_CORE_READ(memory, cgroup, kn);
}

static __always_inline void describe_caller(struct listen_event *event)
{
	__u64 id = bpf_get_current_pid_tgid();
	event->head.tgid = id >> 32;
	event->head.tid = (__u32)id;
	bpf_get_current_comm(event->head.comm, sizeof(event->head.comm));

	struct two_cgroups both;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		task_cgroups(bpf_get_current_task_btf(), &both);
		event->head.cgroup_v2 = both.v2->id;
		event->head.cgroup_v1 = both.v1 ? both.v1->id : 0;
	} else {
		event->head.cgroup_v2 = bpf_get_current_cgroup_id();
		if (!may_probe_read)
			return;
		untyped_cgroups(&both);
		struct kernfs_node *v1 =
			both.v1; /* BPF_CORE_READ would relocate two_cgroups too, which no kernel has */
		event->head.cgroup_v1 = v1 ? BPF_CORE_READ(v1, id) : 0;
	}
	if (!may_probe_read)
		return;
	cgroup_names(both.v2, event->names.v2_leaf, event->names.v2_parent, LISTEN_NAME);
	if (both.v1)
		cgroup_names(both.v1, event->names.v1_leaf, event->names.v1_parent, LISTEN_NAME);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_listen, struct sock *sk, int oldstate, int newstate)
{
	__u16 kind;
	if (newstate == TCP_LISTEN)
		kind = LISTEN_OPEN;
	else if (oldstate == TCP_LISTEN && newstate == TCP_CLOSE)
		kind = LISTEN_CLOSE;
	else
		return 0;
	if (!is_listener_protocol(sk))
		return 0;

	struct net *net = sk->__sk_common.skc_net.net;
	__u64 now_ns = bpf_ktime_get_ns();
	__u32 rate = rate_of(net->ns.inum, now_ns);
	if (rate > LISTEN_RATE) {
		__sync_fetch_and_add(&shared.overflow, 1);
		if (rate == LISTEN_RATE + 1)
			send_overflow(net, now_ns);
		return 0;
	}
	struct listen_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&shared.dropped, 1);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->head.kind = kind;
	event->head.time_ns = now_ns;
	describe_socket(&event->head, sk);
	describe_caller(event);
	bpf_ringbuf_submit(event, 0);
	__sync_fetch_and_add(&shared.events, 1);
	return 0;
}

/* ---- snapshot ------------------------------------------------------------------- */

static __always_inline void write_names(struct seq_file *seq, struct kernfs_node *node)
{
	char leaf[LISTEN_NAME] = {}, above[LISTEN_NAME] = {};
	if (node && may_probe_read)
		cgroup_names(node, leaf, above, LISTEN_NAME);
	bpf_seq_write(seq, leaf, sizeof(leaf));
	bpf_seq_write(seq, above, sizeof(above));
}

static __always_inline void write_snapshot(
	struct seq_file *seq, struct task_struct *task, __u32 fd, struct listen_head *head)
{
	struct two_cgroups both;
	task_cgroups(task, &both);
	head->kind = LISTEN_SNAPSHOT;
	head->fd = fd;
	head->tgid = task->tgid;
	head->tid = task->pid;
	head->cgroup_v2 = both.v2->id;
	head->cgroup_v1 = both.v1 ? both.v1->id : 0;
	__builtin_memcpy(head->comm, task->comm, sizeof(head->comm));
	bpf_seq_write(seq, head, sizeof(*head));
	write_names(seq, both.v2);
	write_names(seq, both.v1);
}

SEC("iter/task_file")
int snap_file(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	if (!task || !file || file->f_inode->i_sb->s_magic != SOCKFS_MAGIC)
		return 0;
	struct socket *socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	struct sock *sk = socket->sk;
	if (!sk || sk->__sk_common.skc_state != TCP_LISTEN || !is_listener_protocol(sk))
		return 0;
	struct listen_head head = {};
	describe_socket(&head, sk);
	write_snapshot(ctx->meta->seq, task, ctx->fd, &head);
	return 0;
}
