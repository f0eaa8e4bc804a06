/* What the scraper gives up before it sees the first byte of a pod: privileges, descriptors, memory without end.
 *
 * Standard input and output are /dev/null already (the core saw to it); standard error stays, for the last words of a crash.
 */
#include "scraper.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int drop_capabilities(void)
{
	/* The bounding set needs CAP_SETPCAP: without it there is nothing to lose either, since no_new_privs is set. */
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int set_limits(void)
{
	const struct {
		int resource;
		rlim_t limit;
	} limits[] = {
		{RLIMIT_CORE, 0},  /* its memory is other people's metrics */
		{RLIMIT_NPROC, 0}, /* no child, no thread */
		{RLIMIT_MSGQUEUE, 0},
		{RLIMIT_MEMLOCK, 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct rlimit limit = {limits[i].limit, limits[i].limit};
		if (setrlimit((__rlimit_resource_t)limits[i].resource, &limit) < 0)
			return -errno;
	}
	/* One kept connection a target. */
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
	files.rlim_max = files.rlim_cur;
	return setrlimit(RLIMIT_NOFILE, &files) < 0 ? -errno : 0;
}

int sandbox_close_inherited(int keep_fd)
{
	if (keep_fd > 3 && syscall(SYS_close_range, 3u, (unsigned)keep_fd - 1, 0u) < 0)
		return -errno;
	return syscall(SYS_close_range, (unsigned)keep_fd + 1, ~0u, 0u) < 0 ? -errno : 0;
}

int sandbox_enter(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
#ifndef __SANITIZE_ADDRESS__ /* the leak checker attaches to its own process */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
#endif
	int result = set_limits();
	return result == 0 ? drop_capabilities() : result;
}
