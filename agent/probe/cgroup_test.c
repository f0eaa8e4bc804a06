#include "test.h"

#include "gleaner/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "0f5a2cbe-1d2e-4a33-9f10-aabbccddeeff"

static void assert_names(const char *path, const char *uid, const char *container)
{
	struct cgroup_name name = {0};
	assert_true(cgroup_name_parse(span_str(path), &name));
	assert_string_equal(name.pod_uid, uid);
	assert_string_equal(name.container_id, container);
}

static void assert_no_pod(const char *path)
{
	struct cgroup_name name;
	assert_false(cgroup_name_parse(span_str(path), &name));
}

static void cgroupfs_driver_names_pod_and_container(void **state)
{
	(void)state;
	assert_names("/kubepods/burstable/pod" UID "/" CID, UID, CID);
	assert_names("/kubepods/pod" UID "/" CID, UID, CID);
	assert_names("pod" UID "/" CID, UID, CID);
	assert_names("/kubepods/besteffort/pod" UID, UID, "");
}

static void systemd_driver_has_underscores_and_suffixes(void **state)
{
	(void)state;
	assert_names("/kubepods.slice/kubepods-burstable.slice/"
		     "kubepods-burstable-pod0f5a2cbe_1d2e_4a33_9f10_aabbccddeeff.slice/"
		     "cri-containerd-" CID ".scope",
		UID, CID);
	assert_names("kubepods-pod0f5a2cbe_1d2e_4a33_9f10_aabbccddeeff.slice/docker-" CID ".scope", UID, CID);
}

static void colons_of_mixed_up_drivers_separate(void **state)
{
	(void)state;
	assert_names(
		"/system.slice/kubepods-burstable-pod0f5a2cbe_1d2e_4a33_9f10_aabbccddeeff.slice:cri-containerd:" CID,
		UID, CID);
}

static void static_pods_have_a_hash(void **state)
{
	(void)state;
	assert_names("/kubepods/burstable/pod7d21c3f5c1b1f1a0b8a4b7d9e1f2a3b4/" CID, "7d21c3f5c1b1f1a0b8a4b7d9e1f2a3b4",
		CID);
}

static void conmon_is_not_the_container(void **state)
{
	(void)state;
	const char *slice = "/kubepods.slice/kubepods-pod0f5a2cbe_1d2e_4a33_9f10_aabbccddeeff.slice/";
	char path[400];
	snprintf(path, sizeof(path), "%scrio-conmon-" CID ".scope", slice);
	assert_names(path, UID, "");
	snprintf(path, sizeof(path), "%scrio-" CID ".scope", slice);
	assert_names(path, UID, CID);
}

static void nesting_and_private_namespaces_do_not_matter(void **state)
{
	(void)state;
	assert_names("/docker/" CID "/kubelet/kubepods/burstable/pod" UID "/" CID, UID, CID);
	assert_names(
		"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod0f5a2cbe_1d2e_4a33_9f10_aabbccddeeff.slice/"
		"cri-containerd-" CID ".scope/init.scope",
		UID, CID);
	assert_names("/../../pod" UID "/" CID, UID, CID);
}

static void what_is_no_pod_is_no_pod(void **state)
{
	(void)state;
	assert_no_pod("");
	assert_no_pod("/");
	assert_no_pod("/system.slice/nginx.service");
	assert_no_pod("/docker/" CID);
	assert_no_pod("/kubepods/burstable/pod0f5a2cbe-1d2e-4a33-9f10-aabbccddeef/" CID);
	assert_no_pod("/kubepods/burstable/pod0f5a2cbe-1d2e-4a33-9f10-aabbccddeefg/" CID);
	assert_no_pod("/kubepods/burstable/pod" CID);
}

static void a_cgroup_is_found_by_its_inode(void **state)
{
	(void)state;
	char root[] = "/tmp/gleaner-cgroup-XXXXXX", pod[200], container[300];
	assert_non_null(mkdtemp(root));
	snprintf(pod, sizeof(pod), "%s/pod" UID, root);
	snprintf(container, sizeof(container), "%s/" CID, pod);
	assert_int_equal(mkdir(pod, 0700), 0);
	assert_int_equal(mkdir(container, 0700), 0);
	struct stat about;
	assert_int_equal(stat(container, &about), 0);
	struct cgroup_name name = {0};
	assert_int_equal(cgroup_name_by_id(root, about.st_ino, &name), 1);
	assert_string_equal(name.pod_uid, UID);
	assert_string_equal(name.container_id, CID);
	assert_int_equal(cgroup_name_by_id(root, about.st_ino + 1000000, &name), 0);
	rmdir(container);
	rmdir(pod);
	rmdir(root);
	assert_int_equal(cgroup_name_by_id(root, about.st_ino, &name), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cgroupfs_driver_names_pod_and_container),
		cmocka_unit_test(systemd_driver_has_underscores_and_suffixes),
		cmocka_unit_test(colons_of_mixed_up_drivers_separate),
		cmocka_unit_test(static_pods_have_a_hash),
		cmocka_unit_test(conmon_is_not_the_container),
		cmocka_unit_test(nesting_and_private_namespaces_do_not_matter),
		cmocka_unit_test(what_is_no_pod_is_no_pod),
		cmocka_unit_test(a_cgroup_is_found_by_its_inode),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
