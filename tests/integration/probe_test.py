#!/usr/bin/python3
"""The probe in the agent, on the small node: a port that opens is scraped at once, and without it nothing is lost.

    tools/with-node tests/integration/probe_test.py GLEANER [TEST...]

Pods have cgroups named as the kubelet names them: that is how a listening socket finds its pod. What needs eBPF is
skipped where the kernel or the rights do not allow it; what must hold without is tested everywhere.
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "../../tools")]

# pylint: disable=wrong-import-position
from node.agent import Agent, can_change_user
from node.cgroups import CONTAINER, give_cgroup, place_of_cgroups, remove_cgroup
from node.exporters import PYTHON
from node.node import Pod, small_node
from node.process import Failed, wait_until

BINARY, NODE, CGROUPS = None, None, None  # set once, by main
CAPABILITIES = ("bpf", "perfmon")
STARTS, PODS = 200, 10


def attaches():
    """Whether this kernel takes the program that sees sockets listen, from a user with two capabilities."""
    if not can_change_user():
        return False
    done = subprocess.run([BINARY, "probe", "--check"], stdout=subprocess.PIPE, text=True, check=False)
    return any(line.split()[:2] == ["on_listen", "attached"] for line in done.stdout.splitlines())


def late_pod(name, port, count, seconds, go):
    """A pod whose ports open late, in a cgroup as the kubelet makes it."""
    ports = [{"name": f"m{number}", "containerPort": number} for number in range(port, port + count)]
    pod = Pod(name, [], [{"name": "app", "image": "late:1", "ports": ports}], labels={"app": "late"}, ready_ports=[])
    late = os.path.join(HERE, "late.py")
    pod.processes.append(("late", [PYTHON, late, str(port), str(count), str(seconds), go, "{folder}/log"]))
    give_cgroup(CGROUPS, pod)
    return pod


class Starts:
    """The log of late.py, of some pods."""

    def __init__(self, pods):
        self.logs = [NODE.path("pods", pod.name, "log") for pod in pods]

    def read(self):
        """[(listen, first byte of the request, first byte of the answer)] in ns"""
        found = []
        for log in self.logs:
            with contextlib.suppress(FileNotFoundError), open(log, encoding="ascii") as file:
                found += [tuple(int(word) for word in line.split()[1:]) for line in file if line.endswith("\n")]
        return found


class ProbeTest(unittest.TestCase):
    def setUp(self):
        self.agent = None
        self.pods = []

    def tearDown(self):
        if self.agent and self.agent.process.running():
            self.agent.stop()
        for pod in self.pods:
            NODE.remove_pod(pod.name)
            remove_cgroup(pod)
        outcome = self._outcome.result
        if self.agent and any(test is self for test, _ in outcome.failures + outcome.errors):
            print(f"--- gleaner's log\n{self.agent.process.log_tail(40)}")

    def add_pods(self, pods, count, seconds=0, go="/"):
        name = self.id().rsplit(".", 1)[1][5:25].strip("_").replace("_", "-")
        new = [late_pod(f"late-{name}-{number}", 8000, count, seconds, go) for number in range(pods)]
        for pod in new:
            self.pods.append(NODE.add_pod(pod, wait=False))
        return new

    def start(self, interval="60s", capabilities=(), **more):
        keep = {"source_labels": ["__meta_kubernetes_pod_label_app"], "regex": "late", "action": "keep"}
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": "500ms"},
            "annotations": {"enabled": False},
            "telemetry": {"enabled": False},
            "scrape": {"batch_timeout": "100ms"},
            "scrape_configs": [
                {"job_name": "late", "kubernetes_sd_configs": [{"role": "pod"}], "relabel_configs": [keep]}
            ],
        }
        self.agent = Agent(NODE, BINARY, {**config, **more}, capabilities=capabilities)

    def metric(self, name):
        return self.agent.metrics().get(name, 0)

    def probe(self):
        return json.loads(self.agent.get("/api/v1/targets"))["data"]["probe"]

    def wait_for_state(self, state, seconds=15):
        what = f"the probe to be {state}"
        return wait_until(what, lambda: self.probe()["state"] == state, seconds, self.agent.process, every=0.05)

    def wait_for_targets(self, count, health=None):
        def fit():
            return sum(health in (None, target["health"]) for target in self.agent.targets())

        wait_until(f"{count} targets", lambda: fit() == count, 20, self.agent.process)

    def scrapes_go_on(self, seconds=5):
        """With an interval of 1 s: no tick is missed, no scrape fails."""
        before = {target["scrapeUrl"]: target["scrapes"] for target in self.agent.targets()}
        time.sleep(seconds)
        for target in self.agent.targets():
            self.assertGreaterEqual(target["scrapes"], before[target["scrapeUrl"]] + seconds - 1)
            self.assertEqual(target["health"], "up")
        self.assertEqual(self.metric("gleaner_scrape_ticks_missed_total"), 0)

    def top(self, *arguments):
        """What `gleaner top` prints."""
        command = [self.agent.binary, "top", *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    def needs_bpf(self):
        if not CGROUPS or not attaches():
            self.skipTest("no eBPF here: root, cgroups, BTF and CAP_BPF are needed")

    def child(self):
        """Pid of the probe that the core started."""
        return next(iter(self.agent.children("probe")), None)

    # -- with it

    def test_200_ports_are_scraped_as_they_open(self):
        self.needs_bpf()
        go = NODE.path("go-200")
        pods = self.add_pods(PODS, STARTS // PODS, 12, go)
        self.start(capabilities=CAPABILITIES)
        self.wait_for_targets(STARTS)
        self.wait_for_state("running")
        with open(go, "w", encoding="ascii"):
            pass
        starts = Starts(pods)
        wait_until(f"{STARTS} first scrapes", lambda: len(starts.read()) == STARTS, 40, self.agent.process)
        answered = sorted((answer - listen) / 1e6 for listen, _, answer in starts.read())
        median, p99 = answered[STARTS // 2], answered[STARTS * 99 // 100]
        waiting = os.getloadavg()[0] / os.cpu_count()
        print(
            f"{STARTS} starts, LISTEN to the first byte of the first scrape: p50 {median:.1f} ms, p99 {p99:.1f} ms, "
            f"longest {answered[-1]:.1f} ms (processes that want to run: {waiting:.1f} a CPU)"
        )
        self.assertLessEqual(median, 50)
        # A run must not fail for what others do on the machine; on a quiet one the bar is 50.
        self.assertLessEqual(p99, 50 if os.environ.get("GLEANER_STRICT") == "1" else 500)
        self.wait_for_targets(STARTS, "up")
        ports = json.loads(self.agent.get("/api/v1/targets"))["data"]["listeningPorts"]
        listening = [port for port in ports if port["scraped"]]
        self.assertEqual(len(listening), STARTS)
        self.assertEqual({port["pod"] for port in listening}, {pod.name for pod in pods})
        self.assertEqual({port["containerId"] for port in listening}, {CONTAINER})
        self.assertIn(f"default/{pods[0].name}", self.agent.get("/targets"))

    def test_new_pod_is_scraped_before_the_next_poll(self):
        self.needs_bpf()
        self.start(capabilities=CAPABILITIES, kubelet={"poll_interval": "60s"})
        self.wait_for_state("running")
        time.sleep(1.5)  # the kubelet is asked once a second at most
        starts = Starts(self.add_pods(1, 1))
        [(listen, _, answer)] = wait_until("a scrape", starts.read, 10, self.agent.process)
        print(f"pod that the kubelet had not told of: scraped {(answer - listen) / 1e6:.0f} ms after it listened")
        self.assertLess(answer - listen, 2e9)
        self.assertGreaterEqual(self.metric("gleaner_probe_nudges_total"), 1)

    def test_exporter_that_restarts_is_scraped_again(self):
        self.needs_bpf()
        [pod] = self.add_pods(1, 1)
        self.start(capabilities=CAPABILITIES)
        self.wait_for_targets(1)
        self.wait_for_state("running")
        NODE.running[pod.name][0].stop()
        time.sleep(1)
        log = NODE.path("pods", pod.name, "log")
        with contextlib.suppress(FileNotFoundError):
            os.remove(log)
        folder = os.path.dirname(log)
        again = [word.replace("{folder}", folder) for word in pod.processes[0][1]]
        NODE.running[pod.name] = [NODE.spawn("again", again, pod=pod)]
        [(listen, _, answer)] = wait_until("a scrape", Starts([pod]).read, 5, self.agent.process)
        self.assertLess(answer - listen, 0.5e9)

    def test_probe_killed_in_mid_flight_disturbs_nothing(self):
        self.needs_bpf()
        self.add_pods(2, 5)
        self.start("1s", CAPABILITIES)
        self.wait_for_targets(10, "up")
        self.wait_for_state("running")
        before = {target["scrapeUrl"]: target["scrapes"] for target in self.agent.targets()}
        started = time.monotonic()
        for _ in range(5):
            old = wait_until("a probe", self.child, 5, self.agent.process, every=0.01)
            os.kill(old, signal.SIGKILL)
            wait_until("another probe", lambda: self.child() not in (old, None), 10, self.agent.process, every=0.01)
        self.wait_for_state("running")
        passed = int(time.monotonic() - started)
        for target in self.agent.targets():
            self.assertGreaterEqual(target["scrapes"], before[target["scrapeUrl"]] + passed - 1)
        self.assertEqual(self.metric("gleaner_scrape_ticks_missed_total"), 0)
        self.assertGreaterEqual(self.metric("gleaner_probe_starts_total"), 6)
        self.assertEqual(self.agent.stop(), 0)

    def test_probe_of_a_second_container(self):
        self.needs_bpf()
        self.add_pods(1, 3)
        path = NODE.path("probe", "socket")
        self.start("1s", probe={"socket": path})
        self.wait_for_state("waiting")
        self.assertIn(path, self.probe()["reason"])
        loader = self.loader(path)
        self.wait_for_state("running", 40)
        self.wait_for_targets(3, "up")
        loader.signal(signal.SIGKILL)
        loader.stop()
        self.wait_for_state("waiting")
        self.scrapes_go_on()
        loader = self.loader(path)
        self.wait_for_state("running", 40)
        loader.stop()

    def loader(self, path):
        return NODE.spawn("loader", [self.agent.binary, "probe", "--listen", path, "--peer-uid", "65532"])

    def test_top_shows_what_scrapes_cost(self):
        self.needs_bpf()
        [pod] = self.add_pods(1, 1)
        self.start("1s", CAPABILITIES)

        def estimated():
            targets = json.loads(self.top("--json"))["data"]["targets"]
            return targets if targets and "bestSeconds" in targets[0]["cost"] else None

        [target] = wait_until("an estimate", estimated, 20, self.agent.process)
        cost = target["cost"]
        self.assertEqual(target["pod"], pod.name)
        self.assertIn(cost["method"], ("causal", "process"))
        self.assertTrue(0 < cost["lowerSeconds"] < 0.1 and 0 < cost["bestSeconds"] < 0.1, cost)
        self.assertGreater(cost["agent"]["cpuSeconds"], 0)
        lines = self.top("--once").splitlines()
        self.assertRegex(lines[0], r"1 targets, 1 up\. Scraping them takes .* of a core at 1 of them, .* here\.$")
        self.assertRegex(lines[-1], rf"^default/{pod.name}\S*:8000 +late +\S+ [um]s ")
        bounds = {f'bound="{bound}"' for bound in ("lower", "best")}
        found = [name for name in self.agent.metrics() if name.startswith("gleaner_target_scrape_cpu_seconds{")]
        self.assertTrue(all(any(bound in name for name in found) for bound in bounds), found)

    # -- without it

    def test_all_is_well_without_the_right(self):
        self.add_pods(2, 5)
        self.start("1s")
        self.wait_for_targets(10, "up")
        self.wait_for_state("unable")
        self.scrapes_go_on()
        self.assertIn("listening ports are not seen: ", self.probe()["reason"])
        self.assertIn("listening ports are not seen", self.agent.get("/targets"))
        self.assertEqual(self.agent.process.log_text().count("listening ports are not seen"), 1)
        self.assertEqual(self.metric("gleaner_probe_up"), 0)
        self.assertIsNone(self.child())

    def test_all_is_well_with_the_probe_off(self):
        self.add_pods(2, 5)
        self.start("1s", CAPABILITIES if can_change_user() else (), probe={"enabled": False})
        self.wait_for_targets(10, "up")
        self.scrapes_go_on()
        self.assertEqual(self.probe()["state"], "off")
        self.assertEqual(self.metric("gleaner_probe_starts_total"), 0)
        self.assertNotIn("probe", self.agent.process.log_text())
        self.assertIn("not measured by eBPF: probe.enabled is false", self.top("--once"))


def main():
    global BINARY, NODE, CGROUPS  # pylint: disable=global-statement
    BINARY = os.path.abspath(sys.argv.pop(1))
    CGROUPS = place_of_cgroups()
    try:
        with small_node() as NODE:
            NODE.start_kubelet()
            program = unittest.main(exit=False, verbosity=2)
    finally:
        if CGROUPS:
            os.rmdir(CGROUPS)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"integration: {error}")
