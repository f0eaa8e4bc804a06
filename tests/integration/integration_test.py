#!/usr/bin/python3
"""gleaner on the small node when things go wrong, or change: nothing may be lost in silence.

    tools/with-node tests/integration/integration_test.py [--probe MODE] GLEANER [TEST...]

Each test runs a gleaner of its own on one shared node (kubelet stand-in, real Collector, sink). What is checked is what the sink, behind the real
Collector, has seen.

All of it must hold whatever becomes of the probe. MODE: `denied` (default: gleaner has no capability), `off` (by configuration), `killed` (it has
its two capabilities, and dies again and again).
"""

import argparse
import collections
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "../interop"), os.path.join(HERE, "../../tools")]

# pylint: disable=wrong-import-position
import pages
from node.agent import Agent, can_change_user, merged
from node.exporters import container, pages_pod, python_app
from node.gateway import Gateway, Sink
from node.node import Pod, small_node
from node.process import Failed, wait_until

BINARY, PROBE = None, None  # set by the command line
NODE, SINK, GATEWAY = None, None, None  # set once, by main
NAMES = [name for name, _ in pages.page_names(os.path.join(HERE, "../interop/pages"))]
INTERVAL = 1


def job(name, port_name, **more):
    """All ports of that name (a regex), one target each."""
    meta = "__meta_kubernetes_pod_"
    return {
        "job_name": name,
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [
            {"source_labels": [meta + "container_port_name"], "regex": port_name, "action": "keep"},
            {"source_labels": [meta + "name"], "target_label": "pod"},
        ],
        **more,
    }


class Arrived:
    """What the sink has of gleaner since the test began."""

    def __init__(self):
        quiet_since = time.monotonic()
        while time.monotonic() < quiet_since + 0.7:  # the Collector may still be passing on what the last test sent
            if SINK.new_points():
                quiet_since = time.monotonic()
            time.sleep(0.1)
        self.points = []

    def read(self):
        self.points += [point for point in SINK.new_points() if point["from"] == "gleaner"]
        return self.points

    def ups(self):
        """{instance: [time of each `up` point in seconds, ascending]}, of targets only."""
        times = collections.defaultdict(list)
        for point in self.read():
            if point["name"] == "up" and not point["flags"] and "k8s.pod.name" in point["resource"]:
                times[point["resource"]["service.instance.id"]].append(point["time_ns"] / 1e9)
        return {instance: sorted(found) for instance, found in times.items()}

    def of_pod(self, name, stale):
        return [
            point
            for point in self.read()
            if point["resource"].get("k8s.pod.name") == name and bool(point["flags"]) == stale
        ]


def series(points):
    return {(point["name"], point["type"], str(sorted(point["attributes"].items()))) for point in points}


def gaps(times, interval=INTERVAL):
    """How many ticks are absent between the first and the last."""
    return sum(max(0, round((after - before) / interval) - 1) for before, after in zip(times, times[1:]))


def probe_runs():
    if not can_change_user():
        return False
    done = subprocess.run([BINARY, "probe", "--check"], stdout=subprocess.PIPE, text=True, check=False)
    return " attached " in done.stdout


class AgentWithProbe(Agent):
    """gleaner whose probe is as the command line says."""

    def __init__(self, config):
        super().__init__(NODE, BINARY, config, capabilities=("bpf", "perfmon") if PROBE == "killed" else ())
        self.kills = 0
        if PROBE == "killed":
            threading.Thread(target=self.kill_probes, daemon=True).start()

    def configure(self, config):
        super().configure(merged({"probe": {"enabled": False}} if PROBE == "off" else {}, config))

    def kill_probes(self):
        chance = random.Random(2)
        while self.process.running():
            with contextlib.suppress(OSError):
                for pid in self.children("probe"):
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1
            time.sleep(chance.uniform(0.2, 1))  # while it loads, and while it serves


class NodeTest(unittest.TestCase):
    def setUp(self):
        self.arrived = Arrived()
        self.agent = None

    def tearDown(self):
        NODE.kubelet_control("forbid", "0")
        if self.agent and self.agent.process.running():
            self.agent.stop()
        outcome = self._outcome.result
        if self.agent and any(test is self for test, _ in outcome.failures + outcome.errors):
            print(f"--- gleaner's log\n{self.agent.process.log_tail(60)}")
        if PROBE == "killed" and self.agent:
            self.assertGreater(self.agent.kills, 0, "there was no probe to kill")

    def start(self, *jobs, targets=len(NAMES), **more):
        config = {
            "global": {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": "500ms"},
            "annotations": {"enabled": False},
            "telemetry": {"enabled": False},
            "scrape_configs": list(jobs) or [job("pages", "|".join(NAMES))],
        }
        self.agent = AgentWithProbe({**config, **more})
        self.wait_for_targets(targets)
        return self.agent

    def wait_for_targets(self, count):
        wait_until(
            f"{count} targets to be up",
            lambda: sum(target["health"] == "up" for target in self.agent.targets()) == count,
            15,
            self.agent.process,
        )

    def metric(self, name):
        return self.agent.metrics().get(name, 0)

    def wait_delivered(self, seconds=10):
        wait_until(
            "the queue to be empty",
            lambda: self.metric("gleaner_spool_queued_points") == 0,
            seconds,
            self.agent.process,
        )

    def assert_no_gaps(self):
        """Every tick of every target. What the Collector has taken comes to the sink a little later, one batch overtaking the other."""

        def found():
            return {instance: gaps(times) for instance, times in self.arrived.ups().items() if gaps(times)}

        deadline = time.monotonic() + 10
        while found() and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertEqual(found(), {})

    def scrape_for(self, seconds):
        time.sleep(seconds)

    # -- the processes

    def test_200_scraper_kills_lose_no_other_targets_scrape(self):
        # A scrape counts once its record is with the core, which is batch_timeout later; the killer leaves that much time now and then.
        interval = 2
        self.start(
            **{
                "global": {"scrape_interval": f"{interval}s", "scrape_timeout": "500ms"},
                "scrape": {"batch_timeout": "100ms"},
            }
        )
        chance = random.Random(1)
        replaced = []
        for _ in range(200):
            [old] = wait_until("a scraper", self.agent.scrapers, 2, self.agent.process, every=0.001)
            os.kill(old, signal.SIGKILL)
            killed = time.monotonic()
            wait_until(
                "another scraper",
                lambda: any(pid != old for pid in self.agent.scrapers()),
                5,
                self.agent.process,
                every=0.001,
            )
            replaced.append(time.monotonic() - killed)
            time.sleep(chance.uniform(0.1, 0.5))
        self.scrape_for(2 * interval)
        self.wait_delivered()
        self.assertGreaterEqual(self.metric("gleaner_scraper_deaths_total"), 200)
        self.assertEqual(self.agent.stop(), 0)
        blamed = collections.Counter(
            re.findall(r"while parsing the body of http://([^/]+)/", self.agent.process.log_text())
        )
        lost = {
            instance: gaps(times, interval) for instance, times in self.arrived.ups().items() if gaps(times, interval)
        }
        replaced.sort()
        scrapes = sum(len(times) for times in self.arrived.ups().values())
        print(
            f"200 kills, {scrapes} scrapes: replaced in {1000 * replaced[100]:.0f} ms (median), {1000 * replaced[-1]:.0f} ms (longest);"
            f" bodies that were being parsed: {sum(blamed.values())}"
        )
        self.assertEqual({instance: count for instance, count in lost.items() if instance not in blamed}, {})
        self.assertEqual(len(self.arrived.ups()), len(NAMES))
        self.assertLess(replaced[100], 0.1)

    def test_stuck_scraper_is_replaced(self):
        self.start()
        [old] = self.agent.scrapers()
        os.kill(old, signal.SIGSTOP)
        wait_until("another scraper", lambda: self.agent.scrapers() not in ([old], []), 5, self.agent.process)
        self.assertEqual(self.metric("gleaner_scraper_stuck_total"), 1)
        before = self.metric("gleaner_scrapes_total")
        wait_until(
            "scrapes to go on",
            lambda: self.metric("gleaner_scrapes_total") > before + len(NAMES),
            5,
            self.agent.process,
        )

    def test_scraper_with_little_cpu_gets_the_time_that_a_large_body_takes(self):
        lines = "".join(f'large{{i="{number}"}} 1\n' for number in range(200_000))
        server = ("server", ["/usr/bin/python3", "-m", "http.server", "--directory", "{folder}", "9400"])
        pod = NODE.add_pod(Pod("large", [server], [container("large", 9400, "large")], files={"metrics": lines}))
        self.addCleanup(NODE.remove_pod, pod.name)
        config = {"global": {"scrape_interval": "60s"}, "annotations": {"enabled": False}, "telemetry": {"enabled": False}}
        self.agent = AgentWithProbe({**config, "scrape_configs": [{**job("large", "large"), "scrape_interval": "5s"}]})
        [scraper] = wait_until("a scraper", self.agent.scrapers, 5, self.agent.process)
        started, deadline = time.monotonic(), time.monotonic() + 60
        parsed = False
        while not parsed and time.monotonic() < deadline:
            for _ in range(10):  # as under a CPU limit of a tenth: 10 ms of every 100
                os.kill(scraper, signal.SIGSTOP)
                time.sleep(0.09)
                os.kill(scraper, signal.SIGCONT)
                time.sleep(0.01)
            parsed = any(target["health"] == "up" for target in self.agent.targets())
        self.assertTrue(parsed, self.agent.process.log_tail())
        self.assertEqual(self.agent.scrapers(), [scraper], "it was replaced")
        print(f"200,000 samples at a tenth of a CPU: {time.monotonic() - started:.1f} s after the start")

    def test_crashes_while_fetching_are_blamed_on_who_is_always_in_flight(self):
        pod = NODE.add_pod(python_app())
        self.addCleanup(NODE.remove_pod, pod.name)
        self.start(
            job("pages", "|".join(NAMES)),
            job("app", "prom"),
            targets=len(NAMES) + 1,
            **{"global": {"scrape_interval": "3s", "scrape_timeout": "3s"}, "scrape": {"batch_timeout": "100ms"}},
        )
        [server] = NODE.running[pod.name]
        server.signal(signal.SIGSTOP)  # it accepts, and never answers
        self.addCleanup(server.signal, signal.SIGCONT)
        # Whatever phase its tick has: at some point three crashes in a row fall into one fetch of three seconds.
        for _ in range(24):
            [old] = wait_until("a scraper", self.agent.scrapers, 2, self.agent.process, every=0.01)
            os.kill(old, signal.SIGSEGV)
            wait_until(
                "another scraper",
                lambda: any(pid != old for pid in self.agent.scrapers()),
                5,
                self.agent.process,
                every=0.01,
            )
            time.sleep(0.5)
            if f"while fetching http://{pod.ip}:" in self.agent.process.log_text():
                break
        self.assertIn(f"while fetching http://{pod.ip}:", self.agent.process.log_text())
        self.assertEqual(re.findall(r"while fetching http://([^/:]+):", self.agent.process.log_text()), [pod.ip])
        before = self.metric("gleaner_scrapes_total")
        wait_until(
            "scrapes to go on",
            lambda: self.metric("gleaner_scrapes_total") > before + len(NAMES),
            10,
            self.agent.process,
        )

    def test_sigterm_flushes_what_was_scraped(self):
        self.start()
        self.scrape_for(1.3)
        scrapes = {target["labels"]["instance"]: target["scrapes"] for target in self.agent.targets()}
        started = time.monotonic()
        status = self.agent.stop()
        took = time.monotonic() - started
        time.sleep(0.5)
        self.assertEqual(status, 0)
        self.assertLess(took, 5)
        for instance, times in self.arrived.ups().items():
            self.assertGreaterEqual(len(times), scrapes[instance], instance)
        committed, delivered = re.search(
            r"stopped: (\d+) points committed = (\d+) delivered", self.agent.process.log_text()
        ).groups()
        self.assertEqual(committed, delivered)
        self.assertEqual(len(self.arrived.read()), int(delivered))

    # -- pods and the kubelet

    def test_pod_that_leaves_gets_its_stale_points(self):
        pod = NODE.add_pod(python_app())
        self.addCleanup(lambda: pod.name in NODE.pods and NODE.remove_pod(pod.name))
        self.start(job("pages", "|".join(NAMES)), job("app", "prom"), targets=len(NAMES) + 1)
        self.scrape_for(2.5)
        NODE.remove_pod(pod.name)
        wait_until("the target to go", lambda: len(self.agent.targets()) == len(NAMES), 20, self.agent.process)
        # 2.1 intervals after the first missed tick, as Prometheus does, and the batch's second.
        wait_until("stale points", lambda: self.arrived.of_pod(pod.name, stale=True), 10, self.agent.process)
        time.sleep(1.5)
        live, stale = (series(self.arrived.of_pod(pod.name, stale)) for stale in (False, True))
        self.assertEqual(stale, live)
        self.assertIn("up", {name for name, _, _ in stale})

    def test_misbehaving_kubelet_loses_no_target(self):
        self.start()
        # Last what makes it wait: 30 s after a refusal.
        for words in (("null",), ("vanish",), ("drip",), ("cut",), ("unauthorized", "3")):
            with self.subTest(" ".join(words)):
                scrapes = {target["scrapeUrl"]: target["scrapes"] for target in self.agent.targets()}
                self.assertEqual(NODE.kubelet_control(*words), "ok")
                self.polls_again_with_all_targets()
                for target in self.agent.targets():
                    self.assertGreater(target["scrapes"], scrapes[target["scrapeUrl"]], "the target began anew")
        self.assertGreaterEqual(self.metric("gleaner_kubelet_failures_total"), 2)  # cut, unauthorized
        self.assert_no_gaps()
        self.assertFalse([point for point in self.arrived.points if point["flags"]], "no series may go stale by that")

    def test_refusal_of_the_kubelet_is_told_in_its_own_words(self):
        self.start()
        self.assertEqual(NODE.kubelet_control("forbid", "5"), "ok")
        wait_until(
            "the refusal to be logged",
            lambda: "verb=get, resource=nodes, subresource(s)=[pods proxy]" in self.agent.process.log_text(),
            5,
            self.agent.process,
        )
        self.scrape_for(2)
        self.assertEqual(self.metric("gleaner_targets"), len(NAMES))
        self.wait_for_targets(len(NAMES))

    def polls_again_with_all_targets(self):
        """Waits for three more answers with pods; all targets must be there all the time."""
        polls = int(NODE.kubelet_control("polls"))
        deadline = time.monotonic() + 75
        while int(NODE.kubelet_control("polls")) < polls + 3:
            self.assertEqual(self.metric("gleaner_targets"), len(NAMES))
            self.assertLess(time.monotonic(), deadline, "no polls any more")
            time.sleep(0.3)

    # -- configuration

    def test_reload_adds_jobs_and_keeps_unchanged_targets(self):
        pod = NODE.add_pod(python_app())
        self.addCleanup(NODE.remove_pod, pod.name)
        self.start()
        self.scrape_for(2)
        before = {target["scrapeUrl"]: target["scrapes"] for target in self.agent.targets()}
        base = {
            "global": {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": "500ms"},
            "annotations": {"enabled": False},
            "telemetry": {"enabled": False},
        }
        two = [job("pages", "|".join(NAMES)), job("app", "prom")]
        self.agent.configure({**base, "scrape_configs": two})
        self.agent.reload()
        self.wait_for_targets(len(NAMES) + 1)
        for target in self.agent.targets():
            self.assertGreaterEqual(target["scrapes"], before.get(target["scrapeUrl"], 0))
        self.agent.configure({**base, "scrape_configs": [{**two[0], "scrape_intervall": "1s"}]})
        self.agent.reload()
        wait_until(
            "the reload to be refused",
            lambda: self.metric("gleaner_config_last_reload_successful") == 0,
            5,
            self.agent.process,
        )
        self.assertEqual(len(self.agent.targets()), len(NAMES) + 1)
        self.assertIn("did you mean", self.agent.process.log_text())
        self.agent.configure({**base, "scrape_configs": two[:1]})
        self.agent.reload()
        wait_until("the job to go", lambda: len(self.agent.targets()) == len(NAMES), 5, self.agent.process)
        self.assertEqual(self.metric("gleaner_config_last_reload_successful"), 1)
        self.wait_delivered()
        self.assert_no_gaps()

    # -- the gateway

    def test_gateway_that_was_down_gets_everything(self):
        self.start()
        GATEWAY.stop()
        self.addCleanup(lambda: GATEWAY.process.running() or GATEWAY.start())
        self.scrape_for(6)
        self.assertGreater(self.metric("gleaner_spool_queued_points"), 0)
        self.assertTrue(self.agent.ready())
        GATEWAY.start()
        self.wait_delivered(60)
        metrics = self.agent.metrics()
        self.assertEqual(metrics.get("gleaner_spool_dropped_points_total", 0), 0)
        self.assertGreater(metrics["gleaner_export_retries_total"], 0)
        self.assert_no_gaps()
        self.assertEqual(self.agent.stop(), 0)
        delivered = int(re.search(r"points committed = (\d+) delivered", self.agent.process.log_text())[1])
        # More: one request may have been repeated.
        wait_until("all of it to be in the sink", lambda: len(self.arrived.read()) >= delivered, 10)


def main():
    global BINARY, PROBE, NODE, SINK, GATEWAY  # pylint: disable=global-statement
    words = argparse.ArgumentParser(allow_abbrev=False)
    words.add_argument("--probe", choices=("denied", "off", "killed"), default="denied")
    words.add_argument("gleaner")
    options, rest = words.parse_known_args()
    BINARY, PROBE = os.path.abspath(options.gleaner), options.probe
    if PROBE == "killed" and not probe_runs():
        print("*** SKIPPED: a probe that can be killed needs root, BTF and CAP_BPF ***")
        return 77
    with small_node() as NODE:
        NODE.add_pod(pages_pod(NODE, NAMES))
        NODE.start_kubelet()
        SINK = Sink(NODE)
        GATEWAY = Gateway(NODE)
        program = unittest.main(argv=[sys.argv[0], *rest], exit=False, verbosity=2)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"integration: {error}")
