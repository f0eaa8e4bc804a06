"""The part of tools/demo that runs on the small node.

tools/with-node tools/node/demo.py GLEANER [--for SECONDS]
"""

import argparse
import collections
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

# pylint: disable=wrong-import-position
from node.agent import STATUS, Agent, can_change_user
from node.cgroups import give_cgroup, place_of_cgroups, remove_cgroup
from node.exporters import all_exporters, late_app
from node.gateway import Gateway, Sink
from node.node import small_node
from node.process import Failed, wait_until

INTERVAL = 5
LATE_AFTER = 2  # reports, then a pod starts
REPORT_METRICS = 5  # up and the like, which gleaner makes by itself


class Arrivals:
    """What the real Collector has passed on, by pod."""

    def __init__(self, sink):
        self.sink = sink
        self.points = collections.Counter()
        self.names = collections.defaultdict(set)

    def read(self):
        for point in self.sink.new_points():
            pod = point["resource"].get("k8s.pod.name")
            if pod:
                self.points[pod] += 1
                self.names[pod].add(point["name"])


class Demo:
    def __init__(self, node, binary, cgroups):
        self.cgroups, self.late, self.reports = cgroups, None, 0
        say(f"starting {len(all_exporters())} pods, each in a network namespace of its own")
        for pod in all_exporters():
            give_cgroup(cgroups, pod)
            node.add_pod(pod)
            print(f"    {pod.namespace + '/' + pod.name:<36} {pod.ip}:{pod.ports()[-1]}", flush=True)
        say("starting the stand-in kubelet, a real OpenTelemetry Collector, and gleaner")
        node.start_kubelet()
        self.node, self.sink = node, Sink(node)
        self.gateway = Gateway(node)
        config = {"global": {"scrape_interval": f"{INTERVAL}s"}, "telemetry": {"interval": f"{INTERVAL}s"}}
        rights = ("bpf", "perfmon") if can_change_user() else ()
        self.agent = Agent(node, binary, config, capabilities=rights)
        self.arrivals = Arrivals(self.sink)

    def show(self):
        """One line of how things stand."""
        self.arrivals.read()
        metrics = self.agent.metrics()
        up = sum(target["health"] == "up" for target in self.agent.targets())
        print(
            f"    {time.strftime('%H:%M:%S')}  targets up {up}/{metrics['gleaner_targets']:.0f}"
            f"  scrapes {metrics['gleaner_scrapes_total']:.0f}  samples {metrics['gleaner_samples_total']:.0f}"
            f"  committed {metrics['gleaner_spool_committed_points_total']:.0f}"
            f"  delivered {metrics['gleaner_spool_delivered_points_total']:.0f}"
            f"  points in the Collector {sum(self.arrivals.points.values())}",
            flush=True,
        )
        self.reports += 1
        if self.reports == LATE_AFTER:
            self.start_late()

    def start_late(self):
        """A pod whose port opens when the kubelet has told of the pod already; how soon it is scraped."""
        go = self.node.path("go")
        self.late = late_app(go)
        give_cgroup(self.cgroups, self.late)
        self.node.add_pod(self.late, wait=False)
        say(f"pod {self.late.namespace}/{self.late.name} starts")
        wait_until("its target", lambda: len(self.agent.targets()) == len(self.node.pods), 10)
        self.node.write("go", "")
        listen, request, _ = wait_until("its first scrape", self.first_scrape, 2 * INTERVAL)
        seen = self.agent.metrics()["gleaner_probe_up"] == 1
        print(
            f"    {time.strftime('%H:%M:%S')}  it began to listen at {self.late.ip}:{self.late.ports()[0]}, and was scraped "
            f"{(request - listen) / 1e6:.1f} ms later{'' if seen else ' (no eBPF here: at its tick)'}",
            flush=True,
        )

    def first_scrape(self):
        """ns of listen, of the request's and of the answer's first byte; None: it has not been scraped yet."""
        try:
            with open(self.node.path("pods", self.late.name, "log"), encoding="ascii") as file:
                line = file.readline()
        except FileNotFoundError:
            return None
        return [int(word) for word in line.split()[1:]] if line.endswith("\n") else None

    def run(self, seconds):
        say("gleaner runs; what it scrapes, and what arrives at the Collector:")
        if not seconds:
            say(
                "Ctrl-C ends it. The status page, from another terminal: "
                f"sudo nsenter --net=/proc/$(pgrep -f node/demo.py | tail -n 1)/ns/net curl -s {STATUS}/api/v1/targets"
            )
        deadline = time.monotonic() + seconds if seconds else float("inf")
        while time.monotonic() < deadline:
            time.sleep(min(INTERVAL, max(0.0, deadline - time.monotonic())))
            self.show()

    def summary(self):
        """Prints the table; the list of what did not arrive."""

        def delivered():
            metrics = self.agent.metrics()
            return metrics if metrics["gleaner_spool_queued_points"] == 0 else None

        metrics = wait_until("all that is committed to be delivered", delivered, 10)
        targets = self.agent.targets()
        processes = (self.agent.process.pid, *self.agent.scrapers(), *self.agent.children("probe"))
        memory = sum(self.node.memory_kib(pid) for pid in processes)
        unmeasured = json.loads(self.agent.get("/api/v1/top"))["data"]["notMeasuredBecause"]
        self.agent.stop()
        self.gateway.stop()
        self.arrivals.read()
        missing = print_summary(metrics, targets, self.arrivals, self.node.pods, memory)
        print(
            f"CPU a scrape is not known: {unmeasured}"
            if unmeasured
            else "CPU a scrape: of the target, by the threads that answered and those they woke (Go's runtime does more outside of them); here: gleaner's"
        )
        if missing:
            print(
                f"--- gleaner's log\n{self.agent.process.log_tail()}\n--- the Collector's log\n{self.gateway.process.log_tail(5)}"
            )
        return missing


def cpu_text(seconds):
    return "-" if seconds is None else f"{seconds * 1e3:.2f} ms"


def print_summary(metrics, targets, arrivals, pods, memory_kib):
    missing = []
    print(
        f"\n{'pod':<25}{'target':<19}{'state':<6}{'scrapes':>8}{'samples each':>14}{'metrics':>9}{'points in the Collector':>25}"
        f"{'CPU a scrape':>14}{'here':>9}"
    )
    for target in sorted(targets, key=lambda target: target["scrapeUrl"]):
        name = target["discoveredLabels"].get("__meta_kubernetes_pod_name", "")
        points = arrivals.points[name]
        print(
            f"{name:<25}{target['scrapeUrl'].split('//')[1].split('/')[0]:<19}{target['health']:<6}{target['scrapes']:>8}"
            f"{target['lastScrapeSamples']:>14}{len(arrivals.names[name]):>9}{points:>25}"
            f"{cpu_text(target['cost'].get('bestSeconds')):>14}{cpu_text(target['cost']['agent'].get('cpuSeconds')):>9}"
        )
        if target["health"] != "up":
            missing.append(f"{name}: {target['lastError'] or 'never scraped'}")
    for name in pods:
        if len(arrivals.names[name]) <= REPORT_METRICS:
            missing.append(f"no metric of {name} itself arrived")
    dropped = metrics.get("gleaner_spool_dropped_points_total", 0)
    committed, delivered, queued = (
        metrics[f"gleaner_spool_{what}"]
        for what in ("committed_points_total", "delivered_points_total", "queued_points")
    )
    rows = [
        ("targets", metrics["gleaner_targets"]),
        ("scrapes", metrics["gleaner_scrapes_total"]),
        ("samples", metrics["gleaner_samples_total"]),
        ("points committed", committed),
        ("points delivered", delivered),
        ("points dropped", dropped),
        ("points queued", queued),
    ]
    print()
    for name, value in rows:
        print(f"{name:<20}{value:>12.0f}")
    print(f"{'memory (PSS)':<20}{memory_kib / 1024:>8.1f} MiB  all processes of gleaner")
    if committed != delivered + dropped + queued:
        missing.append("committed is not delivered + dropped + queued")
    if dropped or queued:
        missing.append(f"{dropped + queued:.0f} points were not delivered")
    if metrics["gleaner_targets"] < len(pods):
        missing.append("a pod has no target")
    return missing


def say(text):
    print(f"==> {text}", flush=True)


def show(args, cgroups):
    with small_node() as node:
        demo = Demo(node, args.gleaner, cgroups)
        try:
            demo.run(args.seconds)
        except KeyboardInterrupt:
            print()
        missing = demo.summary()
        for pod in list(node.pods.values()):
            node.remove_pod(pod.name)
            remove_cgroup(pod)
    return missing


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gleaner")
    parser.add_argument("--for", dest="seconds", type=float, default=0, metavar="SECONDS")
    args = parser.parse_args()
    cgroups = place_of_cgroups()
    try:
        missing = show(args, cgroups)
    finally:
        if cgroups:
            os.rmdir(cgroups)
    for what in missing:
        print(f"demo: {what}", file=sys.stderr)
    print("everything arrived" if not missing else "NOT everything arrived")
    return 1 if missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
