/* The loader as a process: what it says with fewer rights, what it keeps, and that nothing stays when it is killed.
 *
 * What this kernel can do is asked of a loader that runs as root, once: each test's state is its hello.
 */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, PROGRAMS = 12 };

/* Becomes nobody with exactly these capabilities (of the upper half: BPF, PERFMON), in a child that is about to exec. */
static bool become_nobody(uint32_t high)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {{0}, {high, high, high}};
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		return false;
	if (syscall(SYS_capset, &header, sets) < 0)
		return false;
	for (int capability = 32; capability < 64; capability++)
		if ((high >> (capability - 32)) & 1 &&
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
			return false;
	return true;
}

static bool hide_btf(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", "/sys/kernel/btf", "tmpfs", 0, NULL) == 0;
}

/* As the seccomp profile of an older container runtime: bpf(2) is EPERM, whatever the capabilities. */
static bool forbid_bpf(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(code), code};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static bool limit_memlock(rlim_t kib)
{
	return setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){kib << 10, kib << 10}) == 0;
}

/* The kernel's own default. */
static bool lock_little(void)
{
	return limit_memlock(64);
}

/* What the loader asks for where it matters. */
static bool lock_enough(void)
{
	return limit_memlock(4 << 10);
}

/* Where and as whom the loader runs: all zero is root. */
struct rights {
	bool nobody;
	uint32_t high;      /* nobody's capabilities */
	bool (*less)(void); /* takes something away, as root; or NULL */
};

/* Never returns. The tool is opened before the rights go: a build folder may be closed to nobody. */
static void run_tool(const struct rights *rights, char **argv)
{
	int tool = open(PROBE_TOOL, O_RDONLY | O_CLOEXEC);
	if (rights->less && !rights->less())
		_exit(126);
	if (rights->nobody && !become_nobody(rights->high))
		_exit(126);
	fexecve(tool, argv, environ);
	perror("fexecve");
	_exit(127);
}

#define BIT(capability) (1u << ((capability)-32))
enum { BOTH = BIT(CAP_BPF) | BIT(CAP_PERFMON) };

/* Runs the tool with these words: its exit status and output. */
static int run(const struct rights *rights, char **argv, char *ret_text, size_t size)
{
	int out[2], status;
	assert_int_equal(pipe(out), 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(out[1], 1);
		run_tool(rights, argv);
	}
	close(out[1]);
	size_t len = 0;
	for (ssize_t got; len < size - 1 && (got = read(out[0], ret_text + len, size - 1 - len)) > 0;)
		len += (size_t)got;
	ret_text[len] = '\0';
	close(out[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int check(const struct rights *rights, const char *off, char *ret_text, size_t size)
{
	char *argv[] = {"probe", "--check", off ? "--off" : NULL, (char *)(uintptr_t)off, NULL};
	return run(rights, argv, ret_text, size);
}

static const struct rights as_root = {0}, as_nobody = {.nobody = true}, with_both = {.nobody = true, .high = BOTH};

static unsigned count_of(const char *text, const char *word)
{
	unsigned count = 0;
	for (const char *at = text; (at = strstr(at, word)); at++)
		count++;
	return count;
}

static unsigned in_state(const struct probe_hello *hello, enum probe_state state)
{
	unsigned count = 0;
	for (size_t i = 0; i < hello->program_count; i++)
		count += hello->programs[i].state == state;
	return count;
}

/* A kernel without a hook or a helper loses whole features, each with its reason; nothing that it has fails. */
static void what_the_kernel_lacks_is_unsupported_and_nothing_fails(void **state)
{
	const struct probe_hello *here = *state;
	assert_int_equal(here->program_count, PROGRAMS);
	assert_int_equal(here->listen, 1);
	assert_int_equal(in_state(here, PROBE_ATTACHED), 1 + here->snapshot + (here->cost ? 8 : 0));
	assert_int_equal(in_state(here, PROBE_DENIED) + in_state(here, PROBE_FAILED), 0);
	unsigned missing = here->byte_counts ? 0 : here->cost ? 2 : 11 - here->snapshot;
	assert_int_equal(in_state(here, PROBE_UNSUPPORTED), missing);
	for (size_t i = 0; i < PROGRAMS; i++)
		if (here->programs[i].state == PROBE_UNSUPPORTED)
			assert_string_equal(
				here->programs[i].reason, "the kernel has no such hook, or a helper is missing");
	char text[4096];
	assert_int_equal(check(&as_root, NULL, text, sizeof(text)), missing > 0 ? 3 : 0);
	assert_int_equal(count_of(text, "\n"), PROGRAMS);
	assert_int_equal(count_of(text, " unsupported the kernel has no such hook, or a helper is missing"), missing);
}

static void two_capabilities_are_enough_for_anybody(void **state)
{
	const struct probe_hello *here = *state;
	char root[4096], nobody[4096];
	int status = check(&as_root, NULL, root, sizeof(root));
	assert_int_equal(check(&with_both, NULL, nobody, sizeof(nobody)), status);
	assert_int_equal(count_of(nobody, " attached "), in_state(here, PROBE_ATTACHED));
	assert_string_equal(nobody, root);
}

/* Maps count against the limit until 5.11, which brought the snapshot as well. */
static void a_limit_of_locked_memory_does_not_matter_or_is_named(void **state)
{
	const struct probe_hello *here = *state;
	char usual[4096], enough[4096], little[4096];
	check(&with_both, NULL, usual, sizeof(usual));
	check(&(struct rights){.nobody = true, .high = BOTH, .less = lock_enough}, NULL, enough, sizeof(enough));
	assert_string_equal(enough, usual);
	check(&(struct rights){.nobody = true, .high = BOTH, .less = lock_little}, NULL, little, sizeof(little));
	if (here->snapshot) {
		assert_string_equal(little, usual);
	} else {
		assert_int_equal(count_of(little, " attached "), 0);
		assert_non_null(strstr(little, "on_listen    denied      missing: RLIMIT_MEMLOCK 64 KiB < 4 MiB "
					       "(kernel < 5.11) (Operation not permitted)\n"));
	}
}

static void a_missing_capability_is_named(void **state)
{
	const struct probe_hello *here = *state;
	const struct {
		uint32_t have;
		const char *missing;
	} cases[] = {
		{0, "missing: CAP_BPF CAP_PERFMON (Operation not permitted)"},
		{BIT(CAP_BPF), "missing: CAP_PERFMON (Operation not permitted)"},
		{BIT(CAP_PERFMON), "missing: CAP_BPF (Operation not permitted)"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[4096];
		unsigned unsupported = in_state(here, PROBE_UNSUPPORTED);
		assert_int_equal(
			check(&(struct rights){.nobody = true, .high = cases[i].have}, NULL, text, sizeof(text)), 3);
		assert_int_equal(count_of(text, "\n"), PROGRAMS);
		assert_int_equal(count_of(text, " attached "), 0);
		assert_int_equal(count_of(text, " unsupported "), unsupported);
		assert_int_equal(count_of(text, " denied ") + count_of(text, " off "), PROGRAMS - unsupported);
		assert_int_equal(count_of(text, cases[i].missing), count_of(text, " denied "));
		assert_true(count_of(text, " denied ") >= in_state(here, PROBE_ATTACHED));
	}
}

static void other_programs_stand_in_where_they_can(void **state)
{
	const struct probe_hello *here = *state;
	char text[4096];
	assert_int_equal(check(&as_root, "snap_file", text, sizeof(text)), 3);
	assert_int_equal(count_of(text, " attached "), in_state(here, PROBE_ATTACHED) - here->snapshot);
	if (!here->cost)
		return;
	assert_int_equal(check(&as_root, "on_send", text, sizeof(text)), 3);
	assert_non_null(strstr(text, "on_recv2     attached"));
	assert_non_null(strstr(text, "on_send2     attached"));
	assert_non_null(strstr(text, "on_switch    attached"));
	assert_int_equal(check(&as_root, "on_switch", text, sizeof(text)), 3);
	assert_non_null(strstr(text, "on_listen    attached"));
	assert_true(strstr(text, "on_recv      off") || strstr(text, "on_recv      unsupported"));
}

static void without_btf_all_is_unsupported(void **state)
{
	(void)state;
	char text[4096];
	assert_int_equal(check(&(struct rights){.less = hide_btf}, NULL, text, sizeof(text)), 3);
	assert_int_equal(count_of(text, "\n"), PROGRAMS);
	assert_int_equal(count_of(text, " unsupported the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"), PROGRAMS);
}

static void a_seccomp_profile_that_refuses_bpf_is_named(void **state)
{
	const struct probe_hello *here = *state;
	const struct rights cases[] = {{.less = forbid_bpf}, {.less = forbid_bpf, .nobody = true, .high = BOTH}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[4096];
		assert_int_equal(check(&cases[i], NULL, text, sizeof(text)), 3);
		assert_int_equal(count_of(text, "\n"), PROGRAMS);
		assert_int_equal(count_of(text, " attached "), 0);
		assert_int_equal(count_of(text, " failed "), 0);
		assert_true(count_of(text, " denied ") >= 1 + here->snapshot);
		assert_int_equal(
			count_of(text, "refused by seccomp, an LSM or lockdown: CAP_BPF and CAP_PERFMON are there "
				       "(Operation not permitted)"),
			count_of(text, " denied "));
	}
}

static void strict_ends_where_lenient_serves(void **state)
{
	(void)state;
	char text[4096];
	char *all[] = {"probe", "--fd", "9", "--strict", NULL},
	     *off[] = {"probe", "--fd", "9", "--strict", "--off", "on_fork", NULL};
	assert_int_equal(run(&as_nobody, all, text, sizeof(text)), 3);
	assert_non_null(strstr(text, "on_listen    denied      missing: CAP_BPF CAP_PERFMON"));
	assert_int_equal(run(&(struct rights){.less = hide_btf}, all, text, sizeof(text)), 3);
	assert_int_equal(run(&as_root, off, text, sizeof(text)), 3);
	assert_non_null(strstr(text, "on_fork      off         not wanted"));
}

static void a_loader_that_can_do_nothing_says_so_and_stays(void **state)
{
	(void)state;
	const struct {
		struct rights rights;
		enum probe_state state;
		int error;
		const char *reason;
	} cases[] = {
		{{.nobody = true}, PROBE_DENIED, EPERM, "missing: CAP_BPF CAP_PERFMON"},
		{{.less = hide_btf}, PROBE_UNSUPPORTED, ENOENT, "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"},
		{{.less = forbid_bpf}, PROBE_DENIED, EPERM,
			"refused by seccomp, an LSM or lockdown: CAP_BPF and CAP_PERFMON are there"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int sockets[2], status;
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
		pid_t child = fork();
		if (child == 0) {
			char *argv[] = {"probe", "--fd", "9", NULL};
			if (dup2(sockets[1], 9) < 0)
				_exit(126);
			run_tool(&cases[i].rights, argv);
		}
		close(sockets[1]);
		struct pollfd ready = {.fd = sockets[0], .events = POLLIN};
		assert_int_equal(poll(&ready, 1, 10000), 1);
		struct probe *probe;
		assert_int_equal(probe_new(sockets[0], &probe, NULL), 0);
		const struct probe_hello *hello = probe_hello(probe);
		assert_int_equal(hello->listen + hello->snapshot + hello->cost, 0);
		assert_int_equal(hello->programs[0].state, cases[i].state);
		assert_int_equal(hello->programs[0].error, cases[i].error);
		assert_string_equal(hello->programs[0].reason, cases[i].reason);
		assert_int_equal(probe_events_fd(probe), -1);
		assert_int_equal(probe_ask_snapshot(probe), -EOPNOTSUPP);
		probe_free(probe);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
}

/* ---- what it keeps ---------------------------------------------------------------------------- */

static void assert_status_line(pid_t pid, const char *name, const char *value)
{
	char path[64], line[256], expected[100];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	snprintf(expected, sizeof(expected), "%s:\t%s\n", name, value);
	FILE *status = fopen(path, "r");
	assert_non_null(status);
	bool found = false;
	while (!found && fgets(line, sizeof(line), status))
		found = strcmp(line, expected) == 0;
	fclose(status);
	if (!found)
		fail_msg("no line \"%s: %s\"", name, value);
}

static void a_serving_loader_has_two_capabilities_and_a_filter(void **state)
{
	(void)state;
	struct loader loader;
	loader_start(&loader, NULL);
	poll(NULL, 0, 20); /* the hello is sent from within the sandbox; nothing to wait for but the scheduler */
	assert_status_line(loader.pid, "CapEff", "000000c000000000");
	assert_status_line(loader.pid, "CapPrm", "000000c000000000");
	assert_status_line(loader.pid, "CapBnd", "0000000000000000");
	assert_status_line(loader.pid, "NoNewPrivs", "1");
#ifndef __SANITIZE_ADDRESS__
	assert_status_line(loader.pid, "Seccomp", "2");
#endif
	struct netns netns;
	struct listen_event event;
	netns_new(&netns);
	if (probe_hello(loader.probe)->snapshot)
		assert_int_equal(snapshot_of(&loader, &netns, &event, 1), 0); /* still works */
	else
		assert_int_equal(probe_ask_snapshot(loader.probe), -EOPNOTSUPP);
	netns_free(&netns);
	loader_stop(&loader);
}

/* ---- its end ------------------------------------------------------------------------------------ */

static void nothing_stays_when_the_loader_is_killed(void **state)
{
	const struct probe_hello *here = *state;
	struct bpf_objects objects[50];
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		struct loader loader;
		loader_start(&loader, NULL);
		bpf_objects_of(loader.pid, &objects[i]);
		kill(loader.pid, SIGKILL);
		waitpid(loader.pid, NULL, 0);
		int fd;
		assert_int_equal(probe_answer(loader.probe, &fd), -ECONNRESET);
		probe_free(loader.probe);
	}
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		assert_int_equal(objects[i].count[BPF_PROGRAMS], in_state(here, PROBE_ATTACHED));
		assert_int_equal(objects[i].count[BPF_LINKS], in_state(here, PROBE_ATTACHED));
		assert_true(objects[i].count[BPF_MAPS] >= (here->cost ? 10 : 4));
		assert_left(&objects[i], 0, 0, 0);
	}
	print_message("50 loaders killed: none of %u programs, %u maps, %u links of each is left\n",
		objects[0].count[BPF_PROGRAMS], objects[0].count[BPF_MAPS], objects[0].count[BPF_LINKS]);
}

static void nothing_stays_when_it_is_killed_while_loading(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		if (child == 0) {
			int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
			dup2(null, 1);
			execl(PROBE_TOOL, "probe", "--check", (char *)NULL);
			_exit(127);
		}
		poll(NULL, 0, 5 * i);
		struct bpf_objects objects;
		kill(child, SIGSTOP);
		waitpid(child, NULL, WUNTRACED);
		bpf_objects_of(child, &objects);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		assert_left(&objects, 0, 0, 0);
	}
}

static void everything_is_detached_while_core_still_has_its_maps(void **state)
{
	const struct probe_hello *here = *state;
	struct loader loader;
	struct bpf_objects objects;
	loader_start(&loader, NULL);
	bpf_objects_of(loader.pid, &objects);
	kill(loader.pid, SIGKILL);
	waitpid(loader.pid, NULL, 0);
	assert_left(&objects, 0, 2 + (here->cost ? 2 : 0), 0); /* the ring, the slots and two .bss */
	probe_free(loader.probe);
	assert_left(&objects, 0, 0, 0);
}

/* ---- a socket with a name ------------------------------------------------------------------------ */

static int dial(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	for (int i = 0; i < 500 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++)
		poll(NULL, 0, 10);
	return fd;
}

/* A core that maps what there is and dies with a window open. */
static void come_and_go(int fd)
{
	int slots, shared;
	struct probe *probe;
	struct cost cost;
	assert_int_equal(probe_new(fd, &probe, NULL), 0);
	assert_int_equal(probe_cost_fds(probe, &slots, &shared), probe_hello(probe)->cost ? 0 : -EOPNOTSUPP);
	if (probe_hello(probe)->cost) {
		assert_int_equal(cost_map(slots, shared, &cost), 0);
		assert_int_equal(cost.shared->active, 0); /* though the last core died with one */
		cost_open(&cost, 5, 9100, now_ns());
		cost_unmap(&cost);
	}
	probe_free(probe);
}

static void one_core_after_the_other_is_served_and_strangers_are_not(void **state)
{
	(void)state;
	char directory[] = "/tmp/gleaner-probe-XXXXXX", path[100];
	assert_non_null(mkdtemp(directory));
	assert_int_equal(chmod(directory, 0755), 0);
	snprintf(path, sizeof(path), "%s/probe.sock", directory);
	pid_t child = fork();
	if (child == 0) {
		execl(PROBE_TOOL, "probe", "--listen", path, (char *)NULL);
		_exit(127);
	}
	for (int core = 0; core < 3; core++) {
		struct pollfd ready = {.fd = dial(path), .events = POLLIN};
		assert_int_equal(poll(&ready, 1, 5000), 1);
		come_and_go(ready.fd);
	}
	pid_t stranger = fork();
	if (stranger == 0) {
		char byte;
		if (setuid(NOBODY) < 0)
			_exit(1);
		_exit(recv(dial(path), &byte, 1, 0) == 0 ? 0 : 2);
	}
	int status;
	waitpid(stranger, &status, 0);
	assert_int_equal(status, 0);
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status));
	unlink(path);
	rmdir(directory);
}

static void wrong_usage_is_said(void **state)
{
	(void)state;
	const char *const wrong[][4] = {
		{NULL}, {"--fd", "x"}, {"--check", "--fd", "3"}, {"--check", "more"}, {"--peer-uid", "-1"}};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		pid_t child = fork();
		if (child == 0) {
			dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
			execl(PROBE_TOOL, "probe", wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3], (char *)NULL);
			_exit(127);
		}
		int status;
		waitpid(child, &status, 0);
		assert_int_equal(WEXITSTATUS(status), 2);
	}
}

static int ask_loader(void **state)
{
	limit_memlock(1 << 20); /* matters before 5.11; where it is refused the machine's own has to do */
	struct probe_hello *here = malloc(sizeof(*here));
	*here = loader_asked();
	*state = here;
	return 0;
}

static int forget_loader(void **state)
{
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_kernel_lacks_is_unsupported_and_nothing_fails),
		cmocka_unit_test(two_capabilities_are_enough_for_anybody),
		cmocka_unit_test(a_limit_of_locked_memory_does_not_matter_or_is_named),
		cmocka_unit_test(a_missing_capability_is_named),
		cmocka_unit_test(other_programs_stand_in_where_they_can),
		cmocka_unit_test(without_btf_all_is_unsupported),
		cmocka_unit_test(a_seccomp_profile_that_refuses_bpf_is_named),
		cmocka_unit_test(strict_ends_where_lenient_serves),
		cmocka_unit_test(a_loader_that_can_do_nothing_says_so_and_stays),
		cmocka_unit_test(a_serving_loader_has_two_capabilities_and_a_filter),
		cmocka_unit_test(nothing_stays_when_the_loader_is_killed),
		cmocka_unit_test(nothing_stays_when_it_is_killed_while_loading),
		cmocka_unit_test(everything_is_detached_while_core_still_has_its_maps),
		cmocka_unit_test(one_core_after_the_other_is_served_and_strangers_are_not),
		cmocka_unit_test(wrong_usage_is_said),
	};
	int skipped = kernel_ready();
	return skipped ? skipped : cmocka_run_group_tests(tests, ask_loader, forget_loader);
}
