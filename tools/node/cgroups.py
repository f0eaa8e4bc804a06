"""Cgroups named as the kubelet names them: how a listening socket finds its pod."""

import errno
import os
import tempfile

from .process import wait_until

CONTAINER = "c0ffee" * 10 + "cafe"


def place_of_cgroups():
    """A folder where we may make cgroups, in the hierarchy that the kernel tells of a socket; None: there is none."""
    root = "/sys/fs/cgroup/memory" if os.path.isdir("/sys/fs/cgroup/memory") else "/sys/fs/cgroup"
    try:
        return tempfile.mkdtemp(prefix="gleaner-test-", dir=root)
    except OSError:
        return None


def give_cgroup(place, pod):
    """The pod's processes will be in a cgroup of its own below `place`, when there is one."""
    if place:
        pod.cgroup = os.path.join(place, f"pod{pod.uid}", CONTAINER)
        os.makedirs(pod.cgroup)


def remove_cgroup(pod):
    """Once its processes have ended."""
    folder = pod.cgroup
    for _ in range(2 if folder else 0):
        wait_until("the pod's cgroup to be empty", lambda: can_remove(folder), 5)  # pylint: disable=cell-var-from-loop
        folder = os.path.dirname(folder)


def can_remove(folder):
    try:
        os.rmdir(folder)
        return True
    except OSError as error:
        return error.errno != errno.EBUSY
