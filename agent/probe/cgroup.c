/* Which pod a cgroup belongs to, by the names that kubelets and runtimes give.
 *
 *   cgroupfs driver   kubepods/burstable/pod<uid>/<container>
 *   systemd driver    kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid, _ for ->.slice/cri-containerd-<container>.scope
 *   both mixed up     ...slice:cri-containerd:<container>
 *   CRI-O             crio-<container>.scope, and crio-conmon-<container>.scope for its monitor, which is not the container
 *   static pods       pod<32 hex digits>: the hash of the manifest, which the API shows as annotation kubernetes.io/config.hash
 *   nested            docker/<id>/kubelet/kubepods/...: the last pod counts, and only what stands below it
 */
#include "gleaner/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { UID_LENGTH = 36, HASH_LENGTH = 32, CONTAINER_LENGTH = 64, DEPTH_MAX = 24, DIRECTORIES_MAX = 100000 };

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool all_hex(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_hex(s.ptr[i]))
			return false;
	return s.len > 0;
}

static struct span tail(struct span s, size_t len)
{
	return s.len >= len ? span_of(s.ptr + s.len - len, len) : SPAN_NONE;
}

static struct span without_suffix(struct span s, struct span suffix)
{
	return span_ends_with(s, suffix) ? span_of(s.ptr, s.len - suffix.len) : s;
}

/* 8-4-4-4-12 with '-' or '_'; written with '-'. */
static bool take_uid(struct span part, char *ret_uid)
{
	struct span last = tail(part, 3 + UID_LENGTH);
	if (last.len == 0 || !span_starts_with(last, SPAN("pod")))
		return false;
	char uid[UID_LENGTH + 1] = {0};
	for (size_t i = 0; i < UID_LENGTH; i++) {
		char c = last.ptr[3 + i];
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? c != '-' && c != '_' : !is_hex(c))
			return false;
		uid[i] = c;
		if (dash)
			uid[i] = '-';
	}
	memcpy(ret_uid, uid, sizeof(uid));
	return true;
}

static bool take_hash(struct span part, char *ret_uid)
{
	struct span last = tail(part, 3 + HASH_LENGTH);
	if (last.len == 0 || !span_starts_with(last, SPAN("pod")) || !all_hex(span_of(last.ptr + 3, HASH_LENGTH)))
		return false;
	memcpy(ret_uid, last.ptr + 3, HASH_LENGTH);
	ret_uid[HASH_LENGTH] = '\0';
	return true;
}

static void take_container(struct span part, char *ret_id)
{
	struct span id = tail(part, CONTAINER_LENGTH);
	if (!all_hex(id))
		return;
	struct span prefix = span_of(part.ptr, part.len - CONTAINER_LENGTH);
	if (prefix.len > 0 && prefix.ptr[prefix.len - 1] != '-')
		return;
	if (span_ends_with(prefix, SPAN("conmon-")))
		return;
	memcpy(ret_id, id.ptr, CONTAINER_LENGTH);
	ret_id[CONTAINER_LENGTH] = '\0';
}

/* Looks at one part of the path; a pod's name starts over. */
static void take_part(struct span part, struct cgroup_name *name)
{
	part = without_suffix(without_suffix(part, SPAN(".slice")), SPAN(".scope"));
	char uid[sizeof(name->pod_uid)];
	if (take_uid(part, uid) || take_hash(part, uid)) {
		memcpy(name->pod_uid, uid, sizeof(uid));
		name->container_id[0] = '\0';
	} else if (name->pod_uid[0] != '\0') {
		take_container(part, name->container_id);
	}
}

bool cgroup_name_parse(struct span path, struct cgroup_name *ret_name)
{
	struct cgroup_name name = {0};
	struct span rest = path, component;
	while (span_next(&rest, '/', &component)) {
		struct span pieces = component, part;
		while (span_next(&pieces, ':', &part))
			take_part(part, &name);
	}
	if (name.pod_uid[0] == '\0')
		return false;
	*ret_name = name;
	return true;
}

/* ---- by number ------------------------------------------------------------------------ */

struct walk {
	uint64_t id;
	struct buf path;
	size_t directories;
};

static int open_below(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* 1 found (walk->path), 0 not below this directory, -errno. Takes fd. */
static int walk_directory(struct walk *walk, int fd, unsigned depth)
{
	DIR *directory = fdopendir(fd);
	if (!directory) {
		int result = -errno;
		close(fd);
		return result;
	}
	size_t len = walk->path.len;
	int result = 0;
	for (struct dirent *entry; result == 0 && (entry = readdir(directory));) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		walk->path.len = len;
		if (buf_printf(&walk->path, "/%s", entry->d_name) < 0 || ++walk->directories > DIRECTORIES_MAX) {
			result = -E2BIG;
			break;
		}
		struct stat about;
		if (fstatat(dirfd(directory), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
			about.st_ino == walk->id) {
			result = 1;
			break;
		}
		int below = depth < DEPTH_MAX ? open_below(dirfd(directory), entry->d_name) : -1;
		if (below >= 0) /* it may be gone meanwhile */
			result = walk_directory(walk, below, depth + 1);
	}
	closedir(directory);
	return result;
}

int cgroup_name_by_id(const char *root, uint64_t id, struct cgroup_name *ret_name)
{
	struct walk walk = {.id = id};
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	buf_init(&walk.path, 8192);
	int result = walk_directory(&walk, fd, 0);
	if (result == 1)
		result = cgroup_name_parse(buf_view(&walk.path), ret_name) ? 1 : 0;
	buf_done(&walk.path);
	return result;
}
