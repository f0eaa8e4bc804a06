"""The part of tools/demo that runs on the small node.

tools/with-node tools/node/demo.py GLEANER [--for SECONDS]
"""

import argparse
import collections
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

# pylint: disable=wrong-import-position
from node.agent import STATUS, Agent
from node.exporters import all_exporters
from node.gateway import Gateway, Sink
from node.node import small_node
from node.process import Failed, wait_until

INTERVAL = 5
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
    def __init__(self, node, binary):
        say(f"starting {len(all_exporters())} pods, each in a network namespace of its own")
        for pod in all_exporters():
            node.add_pod(pod)
            print(f"    {pod.namespace + '/' + pod.name:<36} {pod.ip}:{pod.ports()[-1]}", flush=True)
        say("starting the stand-in kubelet, a real OpenTelemetry Collector, and gleaner")
        node.start_kubelet()
        self.node, self.sink = node, Sink(node)
        self.gateway = Gateway(node)
        self.agent = Agent(
            node, binary, {"global": {"scrape_interval": f"{INTERVAL}s"}, "telemetry": {"interval": f"{INTERVAL}s"}}
        )
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
        memory = sum(self.node.memory_kib(pid) for pid in (self.agent.process.pid, *self.agent.scrapers()))
        self.agent.stop()
        self.gateway.stop()
        self.arrivals.read()
        missing = print_summary(metrics, targets, self.arrivals, self.node.pods, memory)
        if missing:
            print(
                f"--- gleaner's log\n{self.agent.process.log_tail()}\n--- the Collector's log\n{self.gateway.process.log_tail(5)}"
            )
        return missing


def print_summary(metrics, targets, arrivals, pods, memory_kib):
    missing = []
    print(
        f"\n{'pod':<28}{'target':<28}{'state':<8}{'scrapes':>8}{'samples each':>14}{'metrics':>9}{'points in the Collector':>25}"
    )
    for target in sorted(targets, key=lambda target: target["scrapeUrl"]):
        name = target["discoveredLabels"].get("__meta_kubernetes_pod_name", "")
        points = arrivals.points[name]
        print(
            f"{name:<28}{target['scrapeUrl'].split('//')[1].split('/')[0]:<28}{target['health']:<8}{target['scrapes']:>8}"
            f"{target['lastScrapeSamples']:>14}{len(arrivals.names[name]):>9}{points:>25}"
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gleaner")
    parser.add_argument("--for", dest="seconds", type=float, default=0, metavar="SECONDS")
    args = parser.parse_args()
    with small_node() as node:
        demo = Demo(node, args.gleaner)
        try:
            demo.run(args.seconds)
        except KeyboardInterrupt:
            print()
        missing = demo.summary()
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
