"""The node: namespaces, addresses, processes, and the description that the stand-in kubelet serves.

node 192.0.2.10 (on lo) ── veth, one per pod ── 10.244.0.N/32 in the pod's namespace, its process(es) listening there
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid

from .process import Failed, Process, answers, wait_until

TOOLS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
ROOT = os.path.dirname(TOOLS)
GATEWAY_OF_PODS = "10.244.0.1"


@dataclasses.dataclass
class Pod:
    """What runs in a pod, and what the kubelet tells about it."""

    name: str
    processes: list  # [(name, argv)]; {folder} in an argument is the pod's own folder
    containers: list  # as in tools/kubelet
    files: dict = dataclasses.field(default_factory=dict)  # name -> text, written to the pod's folder first
    namespace: str = "default"
    labels: dict = dataclasses.field(default_factory=dict)
    annotations: dict = dataclasses.field(default_factory=dict)
    owner: dict = None
    uid: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    ip: str = None
    ready_ports: list = None  # None: all declared ports
    cgroup: str = None  # folder of the cgroup that its processes are put into; None: they stay in ours

    def description(self):
        fields = ("name", "namespace", "labels", "annotations", "owner", "uid", "ip", "containers")
        return {field: getattr(self, field) for field in fields if getattr(self, field) is not None}

    def ports(self):
        return [port["containerPort"] for container in self.containers for port in container.get("ports", [])]


class Node:
    name = "node-a"
    ip = "192.0.2.10"
    kubelet_port = 10250

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="gleaner-node-", dir="/run")  # of tools/with-node's own, in memory
        os.chmod(self.folder, 0o755)
        self.pods, self.running, self.processes = {}, {}, []
        self.numbers = iter(range(10, 250))
        run("ip", "addr", "add", f"{self.ip}/32", "dev", "lo")

    def path(self, *names):
        path = os.path.join(self.folder, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, text):
        """A file in the node's folder, replaced as a whole."""
        path = self.path(name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)
        return path

    def spawn(self, name, argv, env=None, pod=None):
        if pod:
            argv = ["ip", "netns", "exec", pod.name, *argv]
            if pod.cgroup:  # before, since `ip netns exec` hides /sys
                argv = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', pod.cgroup, *argv]
        process = Process(name, argv, self.path("log", f"{name}.log"), env)
        self.processes.append(process)
        return process

    # -- pods

    def add_pod(self, pod, wait=True):
        number = next(self.numbers)
        pod.ip = f"10.244.0.{number}"
        inside = ("ip", "-n", pod.name)
        run("ip", "netns", "add", pod.name)
        run("ip", "link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", pod.name)
        run("ip", "link", "set", f"veth{number}", "up")
        run("ip", "addr", "add", f"{GATEWAY_OF_PODS}/32", "dev", f"veth{number}")
        run("ip", "route", "add", f"{pod.ip}/32", "dev", f"veth{number}")
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{pod.ip}/32", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", GATEWAY_OF_PODS, "dev", "eth0")
        run(*inside, "route", "add", "default", "via", GATEWAY_OF_PODS)
        self.pods[pod.name] = pod
        folder = os.path.dirname(self.path("pods", pod.name, "x"))
        for name, text in pod.files.items():
            self.write(os.path.join("pods", pod.name, name), text.replace("{folder}", folder))
        self.running[pod.name] = [
            self.spawn(f"{pod.name}.{name}", [word.replace("{folder}", folder) for word in argv], pod=pod)
            for name, argv in pod.processes
        ]
        if wait:
            self.wait_for_pod(pod)
        self.describe()
        return pod

    def wait_for_pod(self, pod):
        for port in pod.ports() if pod.ready_ports is None else pod.ready_ports:
            wait_until(f"{pod.name} to listen on {port}", lambda: answers(pod.ip, port), 30, self.running[pod.name][-1])

    def remove_pod(self, name):
        """The pod leaves as in a cluster: its processes end, its address goes, the kubelet no longer lists it."""
        for process in self.running.pop(name):
            process.stop()
        del self.pods[name]
        run("ip", "netns", "delete", name)
        self.describe()

    def describe(self):
        pods = [pod.description() for pod in self.pods.values()]
        self.write("pods.json", json.dumps({"pods": pods}, indent=1))

    @staticmethod
    def memory_kib(pid):
        """A process's share of memory (PSS)."""
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))

    # -- kubelet

    def start_kubelet(self):
        self.describe()
        self.kubelet = self.spawn(
            "kubelet",
            [
                sys.executable,
                os.path.join(TOOLS, "kubelet"),
                "--pods",
                self.path("pods.json"),
                "--dir",
                self.path("kubelet", ""),
                "--listen",
                f"{self.ip}:{self.kubelet_port}",
                "--node",
                self.name,
                "--host-ip",
                self.ip,
            ],
        )
        wait_until("the kubelet to listen", lambda: answers(self.ip, self.kubelet_port), 20, self.kubelet)
        for name in ("token", "ca.crt"):
            os.chmod(self.path("kubelet", name), 0o644)

    def kubelet_control(self, *words):
        """Sends a command of tools/kubelet; its answer."""
        done = subprocess.run(
            [sys.executable, os.path.join(TOOLS, "kubelet"), "--dir", self.path("kubelet", ""), "--control", *words],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.strip()

    # -- end

    def close(self):
        for process in reversed(self.processes):
            process.stop(5)
        shutil.rmtree(self.folder, ignore_errors=True)


def run(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(argv)}: {done.stdout.strip()}")


@contextlib.contextmanager
def small_node():
    """A node, closed at the end of the block however it ends (SIGTERM included)."""

    def terminate(*_):
        raise SystemExit(143)

    if "GLEANER_COLLECTOR" not in os.environ:
        raise Failed("run this by tools/with-node: it must not touch the machine's own network")
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    node = Node()
    try:
        yield node
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not stop the cleaning up
        node.close()
