"""gleaner's DaemonSet as it runs: what each node's agent says about itself."""

import collections
import json
import re
import time
import urllib.request

from node.process import Failed

from . import cluster

STATUS_PORT = 9465


def fetch(address, path):
    with urllib.request.urlopen(f"http://{address}:{STATUS_PORT}{path}", timeout=5) as answer:
        return answer.read().decode()


def addresses():
    """{node: address of its agent's pod}"""
    pods = cluster.running_pods("gleaner", "app.kubernetes.io/name=gleaner")
    return {node: address for node, address in pods.values() if address}


def targets(address):
    return json.loads(fetch(address, "/api/v1/targets?state=active"))["data"]["activeTargets"]


def metrics(address):
    """{name{labels}: value} of the agent's own metrics page."""
    lines = (line for line in fetch(address, "/metrics").splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}


def pod_sources():
    """{node: where its agent has the pods from: "pods-api", "kubelet" or "api-server"}"""
    found = {}
    for node, address in addresses().items():
        used = [series for series, value in metrics(address).items() if series.startswith("gleaner_pods_source{") and value == 1]
        found[node] = re.search(r'source="([^"]+)"', used[0]).group(1) if used else None
    return found


def pod_and_address(target):
    """A target as tests name it: ("namespace/pod", "address:port"). None for what is no pod."""
    found = target["discoveredLabels"]
    pod = found.get("__meta_kubernetes_pod_name")
    return (f"{found['__meta_kubernetes_namespace']}/{pod}", target["scrapeUrl"].split("/")[2]) if pod else None


def job_and_address(target):
    """A target as tests of monitors name it: (job, Service or None, "namespace/pod", "address:port"). None for what is no pod."""
    pod = pod_and_address(target)
    return (target["scrapePool"], target["labels"].get("service"), *pod) if pod else None


def jobs_and_instances():
    """{"namespace/pod": {(job, instance)}} of all agents' targets, as gateway.scrape_times() has them."""
    found = collections.defaultdict(set)
    for address in addresses().values():
        for target in targets(address):
            pod, labels = pod_and_address(target), target["labels"]
            if pod:
                found[pod[0]].add((labels["job"], labels["instance"]))
    return found


def seen(key=pod_and_address, namespace=None, up=False):
    """{node: Counter of key(target)} of all agents; a target that is there twice counts twice. `namespace` may be several, a tuple. With `up`,
    only those that answered."""
    found, namespaces = {}, (namespace,) if isinstance(namespace, str) else namespace
    for node, address in addresses().items():
        chosen = [
            target
            for target in targets(address)
            if (not up or target["health"] == "up")
            and (namespaces is None or target["discoveredLabels"].get("__meta_kubernetes_namespace") in namespaces)
        ]
        found[node] = collections.Counter(key(target) for target in chosen)
        found[node].pop(None, None)
    return found


def wait_until_right(what, expected, within=15, **how):
    """Waits until all agents together have exactly the expected targets (a function that gives {node: iterable of keys}, asked each time, since
    pods move); the seconds that it took. `how` is seen()'s."""
    start = time.monotonic()
    while True:
        try:
            found = seen(**how)
        except OSError as error:  # an agent that is being replaced
            found = {"": collections.Counter([str(error)])}
        wanted = {node: collections.Counter(keys) for node, keys in expected().items()}
        wanted.update({node: collections.Counter() for node in cluster.NODES if node not in wanted})
        if found == wanted:
            return time.monotonic() - start
        if time.monotonic() > start + within:
            lines = [
                f"{node}: missing {dict(wanted.get(node, collections.Counter()) - found.get(node, collections.Counter()))}, "
                f"too many {dict(found.get(node, collections.Counter()) - wanted.get(node, collections.Counter()))}"
                for node in sorted(wanted.keys() | found.keys())
            ]
            raise Failed(f"{what}: targets are not right within {within} s\n" + "\n".join(lines))
        time.sleep(0.25)


def of_pods(namespace, label, *ports):
    """What wait_until_right() expects when each of these pods is a target at each port of its own node's agent."""

    def expected():
        keys = collections.defaultdict(list)
        for pod, (node, address) in cluster.running_pods(namespace, label).items():
            keys[node] += [(f"{namespace}/{pod}", f"{address}:{port}") for port in ports]
        return keys

    return expected


def of_jobs(namespace, label, *jobs):
    """What wait_until_right() expects, with key=job_and_address, when each of these pods is a target of each of these (job, Service or None,
    port)."""

    def expected():
        keys = collections.defaultdict(list)
        for pod, (node, address) in cluster.running_pods(namespace, label).items():
            keys[node] += [(job, service, f"{namespace}/{pod}", f"{address}:{port}") for job, service, port in jobs]
        return keys

    return expected


def together(*expected):
    """All of what these expect."""

    def sums():
        keys = collections.defaultdict(list)
        for one in expected:
            for node, found in one().items():
                keys[node] += found
        return keys

    return sums
