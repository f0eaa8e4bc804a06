/* Loading with as much as the kernel and our rights allow.
 *
 *   1. every program whose hook the kernel's BTF does not name is left out: unsupported
 *   2. the rest is loaded together; when that fails each is tried alone, to know which ones, and the good ones are loaded together
 *   3. each is attached; a program may load where it cannot attach
 *   4. an object whose indispensable programs are not all there is tried on its next rung, then given up (its programs are off)
 *
 * Rungs.  listen: cgroup names by bpf_probe_read_kernel; without them (lockdown=confidentiality).
 *         cost: sock_recv_length and sock_send_length (6.3); tcp_rcv_space_adjust and net_dev_queue.
 */
#include "load.h"

#ifndef GLEANER_HAVE_BPF

#include <errno.h>
#include <stdlib.h>

struct loaded {
	struct probe_hello hello;
};

int load_all(const char *off, struct loaded **ret_loaded)
{
	(void)off;
	struct loaded *loaded = calloc(1, sizeof(*loaded));
	if (!loaded)
		return -ENOMEM;
	loaded->hello = (struct probe_hello){.version = PROBE_VERSION, .program_count = 1};
	loaded->hello.programs[0] = (struct probe_program){.name = "all",
		.state = PROBE_UNSUPPORTED,
		.error = ENOSYS,
		.reason = "this gleaner was built without eBPF"};
	*ret_loaded = loaded;
	return 0;
}

void load_free(struct loaded *loaded)
{
	free(loaded);
}

const struct probe_hello *load_hello(const struct loaded *loaded)
{
	return &loaded->hello;
}

size_t load_fds(const struct loaded *loaded, int ret_fds[4])
{
	(void)loaded, (void)ret_fds;
	return 0;
}

int load_snapshot_link(const struct loaded *loaded)
{
	(void)loaded;
	return -1;
}

#else

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/cost.skel.h>
#include <bpf/libbpf.h>
#include <bpf/listen.skel.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { LISTEN_PART, COST_PART, PARTS, RUNGS = 2 };

/* One program. needed: the rungs (bits) that are nothing without it; only: the rungs it belongs to. */
struct hook {
	const char *name, *btf;
	int kind; /* of the BTF type that proves the hook */
	uint8_t part, only, needed;
};
enum { RUNG_0 = 1, RUNG_1 = 2, EITHER = 3 };

static const struct hook hooks[] = {
	{"on_listen", "btf_trace_inet_sock_set_state", BTF_KIND_TYPEDEF, LISTEN_PART, EITHER, EITHER},
	{"snap_file", "bpf_iter_task_file", BTF_KIND_FUNC, LISTEN_PART, EITHER, 0},
	{"on_dial", "btf_trace_inet_sock_set_state", BTF_KIND_TYPEDEF, COST_PART, EITHER, EITHER},
	{"on_recv", "btf_trace_sock_recv_length", BTF_KIND_TYPEDEF, COST_PART, RUNG_0, RUNG_0},
	{"on_send", "btf_trace_sock_send_length", BTF_KIND_TYPEDEF, COST_PART, RUNG_0, RUNG_0},
	{"on_recv2", "btf_trace_tcp_rcv_space_adjust", BTF_KIND_TYPEDEF, COST_PART, RUNG_1, RUNG_1},
	{"on_send2", "btf_trace_net_dev_queue", BTF_KIND_TYPEDEF, COST_PART, RUNG_1, RUNG_1},
	{"on_switch", "btf_trace_sched_switch", BTF_KIND_TYPEDEF, COST_PART, EITHER, EITHER},
	{"on_waking", "btf_trace_sched_waking", BTF_KIND_TYPEDEF, COST_PART, EITHER, 0},
	{"on_fork", "btf_trace_sched_process_fork", BTF_KIND_TYPEDEF, COST_PART, EITHER, 0},
	{"on_timer_in", "btf_trace_hrtimer_expire_entry", BTF_KIND_TYPEDEF, COST_PART, EITHER, 0},
	{"on_timer_out", "btf_trace_hrtimer_expire_exit", BTF_KIND_TYPEDEF, COST_PART, EITHER, 0},
};
enum { HOOKS = ARRAY_SIZE(hooks) };
_Static_assert(ARRAY_SIZE(hooks) <= PROBE_PROGRAMS, "the hello has room for all");

struct loaded {
	struct probe_hello hello;
	struct listen_bpf *listen;
	struct cost_bpf *cost;
	struct bpf_link *links[HOOKS];
	uint64_t secret;
};

/* ---- why a program is not there ------------------------------------------------------- */

static void report(struct probe_program *program, enum probe_state state, int error, const char *reason)
{
	program->state = (uint32_t)state;
	program->error = error;
	snprintf(program->reason, sizeof(program->reason), "%s", reason);
}

static bool has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {{0}};
	if (syscall(SYS_capget, &header, sets) < 0)
		return false;
	return (sets[capability / 32].effective >> (capability % 32)) & 1;
}

static bool kernel_before(int major, int minor)
{
	struct utsname name;
	int have_major = 0, have_minor = 0;
	if (uname(&name) < 0 || sscanf(name.release, "%d.%d", &have_major, &have_minor) != 2)
		return false;
	return have_major < major || (have_major == major && have_minor < minor);
}

static void report_failure(struct probe_program *program, int error)
{
	bool admin = has_capability(CAP_SYS_ADMIN), bpf = admin || has_capability(CAP_BPF);
	bool perfmon = admin || has_capability(CAP_PERFMON);
	struct rlimit memlock = {0};
	getrlimit(RLIMIT_MEMLOCK, &memlock);
	char text[sizeof(program->reason)];
	if (error != EPERM && error != EACCES) {
		report(program, PROBE_FAILED, error, strerror(error));
	} else if (!bpf || !perfmon) {
		snprintf(text, sizeof(text), "missing:%s%s", bpf ? "" : " CAP_BPF", perfmon ? "" : " CAP_PERFMON");
		report(program, PROBE_DENIED, error, text);
	} else if (error == EACCES) {
		report(program, PROBE_FAILED, error, "the kernel's verifier refused it");
	} else if (kernel_before(5, 11) && memlock.rlim_cur < 4 << 20) {
		snprintf(text, sizeof(text), "missing: RLIMIT_MEMLOCK %llu KiB < 4 MiB (kernel < 5.11)",
			(unsigned long long)memlock.rlim_cur >> 10);
		report(program, PROBE_DENIED, error, text);
	} else {
		report(program, PROBE_DENIED, error,
			"refused by seccomp, an LSM or lockdown: CAP_BPF and CAP_PERFMON are there");
	}
}

/* ---- one object ------------------------------------------------------------------------ */

static void close_part(struct loaded *loaded, unsigned part)
{
	for (size_t i = 0; i < HOOKS; i++) {
		if (hooks[i].part != part)
			continue;
		bpf_link__destroy(loaded->links[i]);
		loaded->links[i] = NULL;
	}
	if (part == LISTEN_PART) {
		listen_bpf__destroy(loaded->listen);
		loaded->listen = NULL;
	} else {
		cost_bpf__destroy(loaded->cost);
		loaded->cost = NULL;
	}
}

/* Opens the object with the rung's settings. NULL: errno. */
static struct bpf_object *open_part(struct loaded *loaded, unsigned part, unsigned rung)
{
	close_part(loaded, part);
	if (part == LISTEN_PART) {
		loaded->listen = listen_bpf__open();
		if (!loaded->listen)
			return NULL;
		loaded->listen->rodata->may_probe_read = rung == 0;
		loaded->listen->rodata->secret = loaded->secret;
		return loaded->listen->obj;
	}
	loaded->cost = cost_bpf__open();
	if (!loaded->cost)
		return NULL;
	bool storage = !kernel_before(6, 4);
	loaded->cost->rodata->use_task_storage = storage;
	bpf_map__set_autocreate(storage ? loaded->cost->maps.marks_by_tid : loaded->cost->maps.marks, false);
	return loaded->cost->obj;
}

/* Loads the part with the programs of `mask`. 0 or -errno. */
static int load_part(struct loaded *loaded, unsigned part, unsigned rung, uint32_t mask)
{
	struct bpf_object *object = open_part(loaded, part, rung);
	if (!object)
		return -errno;
	for (size_t i = 0; i < HOOKS; i++)
		if (hooks[i].part == part)
			bpf_program__set_autoload(
				bpf_object__find_program_by_name(object, hooks[i].name), (mask >> i) & 1);
	return bpf_object__load(object);
}

/* Loads what can be loaded of `mask`; returns the programs that are. */
static uint32_t load_what_goes(struct loaded *loaded, unsigned part, unsigned rung, uint32_t mask)
{
	int result = load_part(loaded, part, rung, mask);
	if (result == 0)
		return mask;
	uint32_t good = 0;
	for (size_t i = 0; i < HOOKS; i++) {
		if (!((mask >> i) & 1))
			continue;
		int alone = load_part(loaded, part, rung, UINT32_C(1) << i);
		if (alone == 0)
			good |= UINT32_C(1) << i;
		else
			report_failure(&loaded->hello.programs[i], -alone);
	}
	if (good == 0 || good == mask || load_part(loaded, part, rung, good) < 0) {
		for (size_t i = 0; i < HOOKS; i++)
			if ((good >> i) & 1)
				report_failure(&loaded->hello.programs[i], -result);
		return 0;
	}
	return good;
}

static void attach(struct loaded *loaded, unsigned part, uint32_t mask)
{
	struct bpf_object *object = part == LISTEN_PART ? loaded->listen->obj : loaded->cost->obj;
	for (size_t i = 0; i < HOOKS; i++) {
		if (!((mask >> i) & 1))
			continue;
		loaded->links[i] = bpf_program__attach(bpf_object__find_program_by_name(object, hooks[i].name));
		if (loaded->links[i])
			report(&loaded->hello.programs[i], PROBE_ATTACHED, 0, "");
		else
			report_failure(&loaded->hello.programs[i], errno);
	}
}

/* true when the rung's indispensable programs are attached. */
static bool try_rung(struct loaded *loaded, unsigned part, unsigned rung, uint32_t candidates)
{
	uint32_t mask = 0, needed = 0;
	for (size_t i = 0; i < HOOKS; i++) {
		if (hooks[i].part != part)
			continue;
		if (hooks[i].needed & (1u << rung))
			needed |= UINT32_C(1) << i;
		if (hooks[i].only & (1u << rung))
			mask |= candidates & (UINT32_C(1) << i);
	}
	if ((mask & needed) != needed)
		return false;
	uint32_t good = load_what_goes(loaded, part, rung, mask);
	if ((good & needed) != needed)
		return false;
	attach(loaded, part, good);
	for (size_t i = 0; i < HOOKS; i++)
		if (((needed >> i) & 1) && !loaded->links[i])
			return false;
	return true;
}

static bool try_part(struct loaded *loaded, unsigned part, uint32_t candidates, unsigned *ret_rung)
{
	for (unsigned rung = 0; rung < RUNGS; rung++) {
		if (try_rung(loaded, part, rung, candidates)) {
			*ret_rung = rung;
			return true;
		}
	}
	close_part(loaded, part);
	/* What would have worked is not there either now; the reason stands with the one that did not. */
	for (size_t i = 0; i < HOOKS; i++)
		if (hooks[i].part == part && ((candidates >> i) & 1) &&
			(loaded->hello.programs[i].state == PROBE_ATTACHED ||
				loaded->hello.programs[i].state == PROBE_OFF))
			report(&loaded->hello.programs[i], PROBE_OFF, 0,
				"of no use without the programs that are missing");
	return false;
}

/* ---- all --------------------------------------------------------------------------------- */

static bool in_kernel(const struct btf *kernel, const struct hook *hook)
{
	if (btf__find_by_name_kind(kernel, hook->btf, (uint32_t)hook->kind) < 0)
		return false;
	/* Helpers of 5.11: the socket of a file, the current task with its type. */
	const char *helper = strcmp(hook->name, "snap_file") == 0 ? "bpf_sock_from_file"
			     : hook->part == COST_PART            ? "bpf_get_current_task_btf"
								  : NULL;
	return !helper || btf__find_by_name_kind(kernel, helper, BTF_KIND_FUNC) >= 0;
}

static bool is_off(const char *off, const char *name)
{
	char word[40];
	snprintf(word, sizeof(word), ",%s,", name);
	return strstr(off, word) != NULL;
}

/* The programs that are worth a try; the others' state is set. */
static uint32_t find_candidates(struct loaded *loaded, const char *off)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	uint32_t candidates = 0;
	for (size_t i = 0; i < HOOKS; i++) {
		struct probe_program *program = &loaded->hello.programs[i];
		snprintf(program->name, sizeof(program->name), "%s", hooks[i].name);
		if (is_off(off, hooks[i].name)) {
			report(program, PROBE_OFF, 0, "not wanted");
		} else if (!kernel) {
			report(program, PROBE_UNSUPPORTED, ENOENT, "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)");
		} else if (!in_kernel(kernel, &hooks[i])) {
			report(program, PROBE_UNSUPPORTED, ESRCH,
				"the kernel has no such hook, or a helper is missing");
		} else {
			candidates |= UINT32_C(1) << i;
			report(program, PROBE_OFF, 0, "not needed here");
		}
	}
	btf__free(kernel);
	return candidates;
}

static int be_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level, (void)format, (void)arguments;
	return 0;
}

int load_all(const char *off, struct loaded **ret_loaded)
{
	struct loaded *loaded = calloc(1, sizeof(*loaded));
	if (!loaded)
		return -ENOMEM;
	libbpf_set_print(be_quiet);
	loaded->secret = hash_seed();
	struct probe_hello *hello = &loaded->hello;
	*hello = (struct probe_hello){.version = PROBE_VERSION,
		.listen_version = LISTEN_VERSION,
		.cost_version = COST_VERSION,
		.program_count = HOOKS};
	uint32_t candidates = find_candidates(loaded, off);
	unsigned rung = 0;
	hello->listen = try_part(loaded, LISTEN_PART, candidates, &rung);
	hello->snapshot = load_snapshot_link(loaded) >= 0;
	hello->cost = try_part(loaded, COST_PART, candidates, &rung);
	hello->byte_counts = hello->cost && rung == 0;
	*ret_loaded = loaded;
	return 0;
}

void load_free(struct loaded *loaded)
{
	if (!loaded)
		return;
	close_part(loaded, LISTEN_PART);
	close_part(loaded, COST_PART);
	free(loaded);
}

const struct probe_hello *load_hello(const struct loaded *loaded)
{
	return &loaded->hello;
}

size_t load_fds(const struct loaded *loaded, int ret_fds[4])
{
	size_t count = 0;
	if (loaded->hello.listen) {
		ret_fds[count++] = bpf_map__fd(loaded->listen->maps.events);
		ret_fds[count++] = bpf_map__fd(loaded->listen->maps.bss);
	}
	if (loaded->hello.cost) {
		ret_fds[count++] = bpf_map__fd(loaded->cost->maps.slots);
		ret_fds[count++] = bpf_map__fd(loaded->cost->maps.bss);
	}
	return count;
}

int load_snapshot_link(const struct loaded *loaded)
{
	for (size_t i = 0; i < HOOKS; i++)
		if (strcmp(hooks[i].name, "snap_file") == 0 && loaded->links[i])
			return bpf_link__fd(loaded->links[i]);
	return -1;
}

#endif
