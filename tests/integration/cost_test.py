#!/usr/bin/python3
"""What scrapes cost their targets, measured in the agent on the small node's real exporters; and that nothing is lost or left behind.

    tools/with-node tests/integration/cost_test.py GLEANER [TEST...]

How right the figures are is another test's business (tests/kernel). What needs eBPF is skipped where the kernel or the rights do not
allow it; what must hold without is tested everywhere.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "../../tools")]

# pylint: disable=wrong-import-position
from node.agent import Agent, can_change_user
from node.exporters import all_exporters
from node.node import small_node
from node.process import Failed, wait_until

BINARY, NODE = None, None  # set once, by main
CAPABILITIES = ("bpf", "perfmon")
KILLS = 15
MEASURED = "gleaner_probe_cost_measured_total"
COUNTERS = ("measured", "unmatched", "mismatch", "no_slot", "reaped", "deaf")


def attaches():
    """Whether this kernel takes the programs that measure, from a user with two capabilities."""
    if not can_change_user():
        return False
    done = subprocess.run([BINARY, "probe", "--check"], stdout=subprocess.PIPE, text=True, check=False)
    return any(line.split()[:2] == ["on_switch", "attached"] for line in done.stdout.splitlines())


class CostTest(unittest.TestCase):
    def setUp(self):
        self.agent = None

    def tearDown(self):
        if self.agent and self.agent.process.running():
            self.agent.stop()
        outcome = self._outcome.result
        if self.agent and any(test is self for test, _ in outcome.failures + outcome.errors):
            print(f"--- gleaner's log\n{self.agent.process.log_tail(40)}")

    def start(self, capabilities=(), **more):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
            "telemetry": {"enabled": False},
            "scrape": {"batch_timeout": "100ms"},
        }
        self.agent = Agent(NODE, BINARY, {**config, **more}, capabilities=capabilities)
        count = sum(pod.annotations.get("prometheus.io/scrape") == "true" for pod in NODE.pods.values())
        self.assertGreaterEqual(count, 5)
        wait_until("all targets to be up", lambda: self.healthy() == count, 20, self.agent.process)
        self.targets = count

    def healthy(self):
        return sum(target["health"] == "up" for target in self.agent.targets())

    def metric(self, name):
        return self.agent.metrics().get(name, 0)

    def cost(self):
        return json.loads(self.agent.get("/api/v1/targets"))["data"]["probe"]["cost"]

    def needs_bpf(self):
        if not attaches():
            self.skipTest("no eBPF here: root, BTF and CAP_BPF are needed")

    def wait_until_measured(self):
        wait_until("costs to be measured", lambda: self.cost()["measured"], 15, self.agent.process, every=0.05)

    def measured_now(self, seconds=5):
        """What happened meanwhile, of some counters."""
        names = {name: f"gleaner_probe_cost_{name}_total" for name in COUNTERS}
        names["scrapes"] = "gleaner_scrapes_total"
        before = self.agent.metrics()
        time.sleep(seconds)
        after = self.agent.metrics()
        return {name: after[metric] - before[metric] for name, metric in names.items()}

    def assert_all_measured(self, seconds=5):
        found = self.measured_now(seconds)
        print(f"{self.id().rsplit('.', 1)[1]}: {found}")
        self.assertGreaterEqual(found["scrapes"], self.targets * (seconds - 1))
        # What is under way at either end; and two ports of one pod that are due at once.
        self.assertGreaterEqual(found["measured"], found["scrapes"] - 2)
        for name in COUNTERS[1:]:
            self.assertEqual(found[name], 0, name)

    def leave_all(self):
        """No target any more: nothing may be left."""
        self.agent.configure({"annotations": {"enabled": False}, "telemetry": {"enabled": False}})
        self.agent.reload()
        wait_until("no target", lambda: not self.agent.targets(), 10, self.agent.process)
        wait_until("all slots to be free", lambda: self.metric("gleaner_probe_cost_slots") == 0, 5, self.agent.process)
        wait_until("no open window", lambda: self.metric("gleaner_probe_cost_windows") == 0, 5, self.agent.process)

    # -- with it

    def test_every_scrape_is_measured(self):
        self.needs_bpf()
        self.start(CAPABILITIES)
        self.wait_until_measured()
        time.sleep(2)  # connections from before are given up, at their next scrape
        self.assert_all_measured(8)
        self.assertLessEqual(self.metric("gleaner_probe_cost_slots"), self.targets)
        self.leave_all()

    def test_scrapers_killed_in_mid_flight_leave_nothing(self):
        self.needs_bpf()
        self.start(CAPABILITIES, scrape={"workers": 2, "batch_timeout": "100ms"})
        self.wait_until_measured()
        for _ in range(KILLS):
            time.sleep(random.uniform(0.05, 0.4))
            for pid in self.agent.scrapers():
                os.kill(pid, signal.SIGKILL)
        wait_until("all targets to be up", lambda: self.healthy() == self.targets, 20, self.agent.process)
        time.sleep(2)
        self.assert_all_measured()
        self.assertEqual(self.metric("gleaner_probe_cost_reaped_total"), 0)
        self.leave_all()

    def test_probe_that_returns_measures_again(self):
        self.needs_bpf()
        self.start(CAPABILITIES)
        self.wait_until_measured()
        for _ in range(3):
            [old] = self.agent.children("probe")
            os.kill(old, signal.SIGKILL)
            wait_until("another probe", lambda: self.agent.children("probe") not in ([old], []), 10, every=0.01)
            self.wait_until_measured()
        time.sleep(2)
        self.assert_all_measured()
        self.assertEqual(self.metric("gleaner_scrape_ticks_missed_total"), 0)
        self.leave_all()

    # -- without it

    def assert_scrapes_go_on(self, why):
        found = self.measured_now()
        self.assertGreaterEqual(found["scrapes"], self.targets * 4)
        self.assertEqual(self.healthy(), self.targets)
        self.assertEqual(self.metric(MEASURED), 0)
        self.assertFalse(self.cost()["measured"])
        self.assertIn(why, self.cost()["reason"])

    def test_costs_are_not_measured_when_that_is_not_wanted(self):
        self.start(CAPABILITIES if can_change_user() else (), probe={"cost": False})
        self.assert_scrapes_go_on("probe.cost is false" if attaches() else "")

    def test_all_is_well_without_the_right(self):
        self.start()
        self.assert_scrapes_go_on("")

    def test_all_is_well_with_the_probe_off(self):
        self.start(CAPABILITIES if can_change_user() else (), probe={"enabled": False})
        self.assert_scrapes_go_on("there is no probe")


def main():
    global BINARY, NODE  # pylint: disable=global-statement
    BINARY = os.path.abspath(sys.argv.pop(1))
    with small_node() as NODE:
        for pod in all_exporters():
            NODE.add_pod(pod)
        NODE.start_kubelet()
        program = unittest.main(exit=False, verbosity=2)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"integration: {error}")
