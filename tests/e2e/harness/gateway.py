"""The gateway: a real Collector and the sink behind it, on node-a's address, beside the cluster.

The tests run in node-a's network namespace (tools/e2e), so pods reach what is started here at the node's address.
"""

import os
import re
import tempfile
import time

from node import gateway
from node.process import Failed, Process

from .cluster import ADDRESSES

ENDPOINT = f"http://{ADDRESSES['node-a']}:{gateway.OTLP_PORT}"


class Place:
    """A folder with files and processes; what tools/node's Sink and Gateway are started in."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="gleaner-e2e-")  # pylint: disable=consider-using-with
        self.processes = []

    def path(self, *names):
        path = os.path.join(self.folder.name, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def spawn(self, name, argv, env=None):
        self.processes.append(Process(name, ["setpriv", "--pdeathsig=KILL", *argv], self.path("log", f"{name}.log"), env))
        return self.processes[-1]

    def stop(self):
        for process in reversed(self.processes):
            process.stop(10)
        self.folder.cleanup()


class Gateway:
    def __init__(self):
        self.place, self.points, self.sink, self.collector = Place(), [], None, None

    def start(self):
        self.sink = gateway.Sink(self.place)
        self.collector = gateway.Gateway(self.place, verbosity="detailed", address=ADDRESSES["node-a"])

    def stop(self):
        self.place.stop()

    def read(self):
        """All data points that came since the start; each as tests/interop/sink.py describes it."""
        self.points += self.sink.new_points()
        return self.points

    def of_pod(self, pod, name=None, stale=False):
        """Points of one pod, by its resource attribute or, as a ServiceMonitor labels them, by the attribute `pod`."""
        return [
            point
            for point in self.read()
            if pod in (point["resource"].get("k8s.pod.name"), point["attributes"].get("pod"))
            and name in (None, point["name"])
            and bool(point["flags"]) == stale
        ]

    def wait_for(self, what, choose, within):
        """Waits for points that choose(all points) finds; returns them."""
        deadline = time.monotonic() + within
        while True:
            found = choose(self.read())
            if found:
                return found
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not at the Collector within {within} s; {len(self.points)} points are")
            time.sleep(0.2)

    def printed(self):
        """What the Collector's debug exporter printed."""
        return self.collector.process.log_text()

    def printed_names(self):
        """The seed's way to look: grep "Name:" | sort | uniq."""
        return sorted(set(re.findall(r"^     -> Name: (\S+)$", self.printed(), re.M)))


def scrape_times(points, pod):
    """{(job, instance): [seconds of each scrape that was up, ascending]} of one pod."""
    times = {}
    for point in points:
        if point["name"] == "up" and point["value"].get("double") == 1 and pod in (point["resource"].get("k8s.pod.name"), point["attributes"].get("pod")):
            target = point["resource"]["service.name"], point["resource"]["service.instance.id"]
            times.setdefault(target, []).append(point["time_ns"] / 1e9)
    return {target: sorted(found) for target, found in times.items()}


def lost(times, interval):
    """How many scrapes are absent between the first and the last of one target."""
    return sum(max(0, round((after - before) / interval) - 1) for before, after in zip(times, times[1:]))
