/* After this, the loader can hand out snapshots and nothing else: no file, no socket of its own, no process, no other bpf(2) command.
 * The command is an argument of bpf(2), so the filter sees it. What is not allowed fails with EPERM.
 */
#include "sandbox.h"

#include "gleaner/base.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#error "no audit architecture for this processor: add it to agent/probe/sandbox.c"
#endif

enum { ITER_CREATE = 33 /* BPF_ITER_CREATE; not every linux/bpf.h has it */ };

static int keep_two_capabilities(void)
{
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {{0}};
	if (syscall(SYS_capget, &header, sets) < 0)
		return -errno;
	const uint32_t high = (1u << (CAP_BPF - 32)) | (1u << (CAP_PERFMON - 32));
	sets[0] = (struct __user_cap_data_struct){0};
	sets[1].permitted &= high;
	sets[1].effective = sets[1].permitted;
	sets[1].inheritable = 0;
	return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

#define LOAD(field)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
#define ALLOW        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define IF_NOT(what) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (what), 0, 1) /* skips the next instruction */
#define PERMIT(call) IF_NOT(SYS_##call), ALLOW

static int filter_calls(void)
{
	struct sock_filter filter[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0),
		REFUSE,
		LOAD(nr),
		PERMIT(recvmsg),
		PERMIT(sendmsg),
		PERMIT(ppoll),
		PERMIT(close),
		PERMIT(accept4),
		PERMIT(getsockopt),
		PERMIT(write),
		PERMIT(munmap),
		PERMIT(madvise),
		PERMIT(brk),
		PERMIT(rt_sigreturn),
		PERMIT(restart_syscall),
		PERMIT(exit_group),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 1, 0),
		REFUSE,
		LOAD(args[0]), /* the low word: little endian on both architectures */
		IF_NOT(ITER_CREATE),
		ALLOW,
		REFUSE,
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}

int probe_sandbox_enter(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	struct rlimit none = {0, 0};
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	int result = keep_two_capabilities();
#ifdef __SANITIZE_ADDRESS__ /* the leak checker starts a thread and attaches to its own process */
	(void)filter_calls;
	return result;
#else
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return result == 0 ? filter_calls() : result;
#endif
}
