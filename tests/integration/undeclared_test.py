#!/usr/bin/python3
"""Ports that nobody declared become targets when they speak metrics (discovery.listen), and budgets for what scrapes cost.

    tools/with-node tests/integration/undeclared_test.py GLEANER [TEST...]

Both need eBPF and are skipped where the kernel or the rights do not allow it; that nothing happens unless it was asked for
is tested everywhere.
"""
import contextlib
import json
import os
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "../../tools")]

# pylint: disable=wrong-import-position
from node.agent import Agent, can_change_user
from node.cgroups import give_cgroup, place_of_cgroups, remove_cgroup
from node.exporters import PYTHON
from node.node import Pod, small_node
from node.process import Failed, wait_until

BINARY, NODE, CGROUPS = None, None, None  # set once, by main
LISTEN = {"discovery": {"listen": {"enabled": True}}}


def attaches():
    if not can_change_user():
        return False
    done = subprocess.run([BINARY, "probe", "--check"], stdout=subprocess.PIPE, text=True, check=False)
    return all("attached" in line for line in done.stdout.splitlines() if line.split()[0] in ("on_listen", "on_switch"))


class UndeclaredTest(unittest.TestCase):
    def setUp(self):
        self.agent, self.pods = None, []

    def tearDown(self):
        if self.agent and self.agent.process.running():
            self.agent.stop()
        for pod in self.pods:
            NODE.remove_pod(pod.name)
            remove_cgroup(pod)
        outcome = self._outcome.result
        if self.agent and any(test is self for test, _ in outcome.failures + outcome.errors):
            print(f"--- gleaner's log\n{self.agent.process.log_tail(40)}")

    def needs_bpf(self):
        if not CGROUPS or not attaches():
            self.skipTest("no eBPF here: root, cgroups, BTF and CAP_BPF are needed")

    def start(self, config):
        base = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
            "telemetry": {"enabled": False},
            "scrape": {"batch_timeout": "100ms"},
        }
        self.agent = Agent(NODE, BINARY, {**base, **config}, capabilities=("bpf", "perfmon"))
        wait_until("the probe to run", lambda: self.data()["probe"]["state"] == "running", 15, self.agent.process)

    def add_pod(self, name, kind, port=8000, **more):
        """A pod that listens on a port; declared only in `more`."""
        pod = Pod(name, [], [{"name": "app", "image": "odd:1"}], ready_ports=[], **more)
        pod.processes.append(("odd", [PYTHON, os.path.join(HERE, "odd.py"), str(port), kind, "{folder}/log"]))
        give_cgroup(CGROUPS, pod)
        self.pods.append(NODE.add_pod(pod, wait=False))
        return pod

    def data(self):
        return json.loads(self.agent.get("/api/v1/targets"))["data"]

    def targets(self, health="up"):
        return [target for target in self.agent.targets() if target["health"] == health]

    def trial(self, pod):
        """What became of the pod's port: "scraped", "no metrics", ..."""
        ports = [port for port in self.data()["listeningPorts"] if port["pod"] == pod.name]
        return ports[0].get("trial") if ports else None

    def wait_for_trial(self, pod, verdict, seconds=10):
        what = f"the port of {pod.name} to be: {verdict}"
        wait_until(what, lambda: self.trial(pod) == verdict, seconds, self.agent.process, every=0.05)

    def requests(self, pod):
        with contextlib.suppress(FileNotFoundError), open(NODE.path("pods", pod.name, "log"), encoding="ascii") as log:
            return log.read().splitlines()
        return []

    # -- discovery.listen

    def test_port_with_metrics_becomes_a_target_and_leaves_when_it_closes(self):
        self.needs_bpf()
        self.start(LISTEN)
        pod = self.add_pod("open-metrics", "metrics")
        [target] = wait_until("a target", self.targets, 10, self.agent.process, every=0.05)
        self.wait_for_trial(pod, "scraped")
        self.assertEqual(target["scrapeUrl"], f"http://{pod.ip}:8000/metrics")
        self.assertEqual(target["labels"]["job"], "kubernetes-listen")
        self.assertEqual(target["labels"]["pod"], pod.name)
        wait_until("more scrapes", lambda: len(self.requests(pod)) >= 4, 10, self.agent.process)
        NODE.running[pod.name][0].stop()
        wait_until("no target", lambda: not self.agent.targets(), 20, self.agent.process)

    def test_what_is_no_exposition_is_asked_once_and_leaves_no_trace(self):
        self.needs_bpf()
        self.start(LISTEN)
        pod = self.add_pod("open-html", "html")
        self.wait_for_trial(pod, "no metrics")
        time.sleep(3)
        self.assertEqual(self.requests(pod), ["/metrics"])
        self.assertEqual(self.agent.targets(), [])
        metrics = self.agent.metrics()
        self.assertEqual(metrics["gleaner_spool_committed_points_total"], 0)
        self.assertEqual(metrics['gleaner_listen_trials_total{result="refused"}'], 1)

    def test_silent_port_is_asked_three_times_and_holds_nobody_up(self):
        self.needs_bpf()
        self.start({**LISTEN, "global": {"scrape_interval": "1s", "scrape_timeout": "200ms"}})
        silent = self.add_pod("open-mute", "mute")
        talking = self.add_pod("open-talk", "metrics")
        self.wait_for_trial(talking, "scraped")
        self.wait_for_trial(silent, "no metrics", 40)
        self.assertEqual(len(self.requests(silent)), 3)
        self.assertEqual(self.agent.metrics()['gleaner_listen_trials_total{result="failed"}'], 3)
        self.assertEqual(len(self.targets()), 1)

    def test_declined_declared_and_unselected_ports_are_left_alone(self):
        self.needs_bpf()
        listen = {"enabled": True, "namespaces": ["default"]}
        self.start({"discovery": {"listen": listen}})
        pods = [
            self.add_pod("open-declined", "metrics", annotations={"prometheus.io/scrape": "false"}),
            self.add_pod("open-elsewhere", "metrics", namespace="other"),
        ]
        seen = self.add_pod("open-seen", "metrics")
        self.wait_for_trial(seen, "scraped")
        time.sleep(2)
        self.assertEqual([self.requests(pod) for pod in pods], [[], []])
        self.assertEqual(len(self.agent.targets()), 1)

    def test_nothing_is_asked_unless_it_was_enabled(self):
        self.needs_bpf()
        self.start({})
        pod = self.add_pod("open-default", "metrics")
        wait_until("the port to be seen", lambda: self.data()["listeningPorts"], 10, self.agent.process)
        time.sleep(2)
        self.assertEqual(self.requests(pod), [])
        self.agent.configure({"discovery": {"listen": {"enabled": True}}})
        self.agent.reload()
        self.wait_for_trial(pod, "scraped")
        self.agent.configure({})
        self.agent.reload()
        wait_until("no target", lambda: not self.agent.targets(), 5, self.agent.process)

    # -- budgets

    def test_dear_target_is_scraped_less_often_and_back_again(self):
        self.needs_bpf()
        scrape = {"prometheus.io/scrape": "true", "prometheus.io/port": "8000"}
        pod = self.add_pod("dear", "dear", annotations=scrape)
        dear = NODE.path("pods", pod.name, "log.dear")
        with open(dear, "w", encoding="ascii"):
            pass
        times = {"scrape_interval": "200ms", "scrape_timeout": "200ms"}
        budget = {"scrape_cost_budget": 0.1, "scrape_cost_max_interval": "450ms"}
        self.start({"global": {**times, **budget}})

        def stretched():
            return [target.get("stretchedScrapeInterval") for target in self.targets()] == ["400ms"]

        wait_until("a longer interval", stretched, 30, self.agent.process)  # 60 ms in 200 ms is above 10 %
        self.assertRegex(self.agent.process.log_text(), r"10 % of a core: scraped every 400ms now")
        self.assertEqual(self.agent.metrics()["gleaner_targets_stretched"], 1)
        self.assertIn("400ms", self.agent.get("/targets"))
        before = len(self.requests(pod))
        time.sleep(4)
        self.assertTrue(7 <= len(self.requests(pod)) - before <= 12)
        time.sleep(5)
        self.assertTrue(stretched())  # never beyond scrape_cost_max_interval
        os.remove(dear)
        wait_until("the interval of the configuration", lambda: not stretched(), 30, self.agent.process)
        self.assertEqual(self.agent.metrics()["gleaner_targets_stretched"], 0)


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
