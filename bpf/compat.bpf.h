/* What moved between kernels 5.10 and today, in one place. Each shim picks its form by what the kernel's BTF says; the verifier
 * drops the other one, so a helper that a kernel lacks is never looked at.
 */
#pragma once

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* Set by the loader: bpf_probe_read_kernel works (it does not under lockdown=confidentiality). */
const volatile bool may_probe_read = true;
/* Set by the loader: what sock addresses are mixed with before they are seen outside. */
const volatile __u64 secret = 0;

/* struct net has a u64 cookie, and programs of our kind may ask for a socket's: both since 5.12. */
static __always_inline bool has_cookies(void)
{
	return bpf_core_field_exists(((struct net *)0)->net_cookie);
}

static __always_inline __u64 socket_id(struct sock *sk)
{
	if (has_cookies())
		return bpf_get_socket_cookie(sk);
	/* As a number: the verifier allows no arithmetic on the pointer. */
	__u64 address = 0;
	bpf_probe_read_kernel(&address, sizeof(address), &sk);
	return address ^ secret;
}

static __always_inline __u64 netns_cookie(struct net *net)
{
	return has_cookies() ? net->net_cookie : 0;
}

/* The cgroup in the default hierarchy, and in the memory controller's own one (NULL when that is the default hierarchy). */
struct two_cgroups {
	struct kernfs_node *v2, *v1;
};

static __always_inline void task_cgroups(struct task_struct *task, struct two_cgroups *ret)
{
	struct css_set *set = task->cgroups;
	ret->v1 = 0;
	ret->v2 = set->dfl_cgrp->kn;
	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return;
	struct cgroup *memory = set->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)]->cgroup;
	if (memory->root->hierarchy_id)
		ret->v1 = memory->kn;
}

/* Leaf and parent names, LISTEN_NAME bytes each. Only where bpf_probe_read_kernel works. */
static __always_inline void cgroup_names(struct kernfs_node *node, char *leaf, char *above, __u32 size)
{
	struct kernfs_node *parent;
	if (bpf_core_field_exists(((struct kernfs_node___renamed *)0)->__parent))
		parent = BPF_CORE_READ((struct kernfs_node___renamed *)node, __parent);
	else
		parent = BPF_CORE_READ(node, parent);
	bpf_probe_read_kernel_str(leaf, size, BPF_CORE_READ(node, name));
	if (parent)
		bpf_probe_read_kernel_str(above, size, BPF_CORE_READ(parent, name));
}
