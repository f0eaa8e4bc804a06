#!/usr/bin/python3
"""gleaner on a real Kubernetes of two nodes, installed as its users install it. Run by tools/e2e.

Files scenario_*.py beside this one add tests of their own; what they have in common is in harness/ and in this file's Installed.
"""

import contextlib
import os
import re
import sys
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../tools")]

# pylint: disable=wrong-import-position
from harness import agents, cluster, gateway, traffic
from harness.cluster import apply, get, kubectl
from harness.table import Table
from node.process import Failed, wait_until

WALK_THROUGH = os.path.join(cluster.ROOT, "deploy/walk-through")
MANIFESTS = os.path.join(HERE, "manifests")
ACCOUNT = "system:serviceaccount:gleaner:gleaner"
TABLE = Table()
GATEWAY = gateway.Gateway()


def prepare():
    GATEWAY.start()
    apply(os.path.join(WALK_THROUGH, "app.yaml"))
    for manifest in ("annotated.yaml", "monitored.yaml"):
        apply(os.path.join(MANIFESTS, manifest))
    cluster.rolled_out("deployment/my-app", "default")
    cluster.rolled_out("deployment/web", "shop")
    cluster.rolled_out("deployment/api", "mon")
    seconds = install()
    TABLE.add("kubectl apply -k, every agent ready", f"{seconds:.1f} s", "90 s")


def install(*components, config=""):
    """What a user does: kubectl apply -k of an overlay; the seconds until every agent is ready."""
    start = time.monotonic()
    with cluster.kustomization(gateway.ENDPOINT, *components, config=config) as overlay:
        kubectl("apply", "-k", overlay)
    cluster.rolled_out("daemonset/gleaner", "gleaner")
    return time.monotonic() - start


class Installed(unittest.TestCase):
    """A test of gleaner as it runs. On a failure it shows what the agents said."""

    maxDiff = None

    @contextlib.contextmanager
    def no_scrape_lost(self, interval, *selections):
        """What happens in its block costs the targets of the pods that are there no scrape, as seen by the Collector. Each selection is a
        namespace and a label."""
        def running():
            return {f"{selection[0]}/{pod}" for selection in selections for pod in cluster.running_pods(*selection)}

        pods, targets, start = running(), agents.jobs_and_instances(), time.time()
        self.assertLessEqual(pods, targets.keys())
        yield
        time.sleep(2 * interval + 2)
        end, still = time.time(), running()
        for pod in pods:
            times = gateway.scrape_times(GATEWAY.read(), pod.split("/")[1])
            for target in targets[pod]:
                found = [at for at in times.get(target, ()) if at > start - 2 * interval]
                if pod in still:  # and not only until something happened
                    self.assertGreater(max(found, default=0), end - 2 * interval - 2, f"{pod} {target}: not scraped any more")
                self.assertEqual(gateway.lost(found, interval), 0, f"{pod} {target}: {[round(at - start, 1) for at in found]}")

    def tearDown(self):
        outcome = self._outcome.result
        if any(test is self for test, _ in outcome.failures + outcome.errors):
            print(kubectl("-n", "gleaner", "get", "pods", "-o", "wide", check=False))
            print(kubectl("-n", "gleaner", "logs", "-l", "app.kubernetes.io/name=gleaner", "--prefix", "--all-containers", "--tail=30", check=False))


class NothingCrosses(Installed):
    """Whatever happens, no byte of a scrape goes to the other node, as the nodes' packet filters count and as the pods' own logs say."""

    WHAT, PODS = None, ()  # for the table; the pods whose logs are read: (namespace, label)

    @classmethod
    def setUpClass(cls):
        cls.crossed = 0
        cls.addClassCleanup(lambda: TABLE.add(f"{cls.WHAT}: to pods of the other node", f"{cls.crossed} bytes", "0"))

    def setUp(self):
        self.counters = traffic.Counters()  # of the agents as they are now

    def tearDown(self):
        super().tearDown()
        crossed = {node: found["elsewhere"][1] for node, found in self.counters.read().items()}
        type(self).crossed += sum(crossed.values())
        self.assertEqual(crossed, dict.fromkeys(cluster.NODES, 0))
        for namespace, label in self.PODS:
            for pod, (node, _) in cluster.running_pods(namespace, label).items():
                self.assertLessEqual(traffic.asking_nodes(namespace, pod), {node})


def right(what, expected, namespace="shop", within=15, **how):
    """All agents have exactly these targets of the namespace in time; a row of the table. On a machine that has far more to do than it can the
    time is doubled, and the row says so."""
    seconds = agents.wait_until_right(what, expected, 2 * within, namespace=namespace, **how)
    busy = os.getloadavg()[0] > 3 * os.cpu_count()
    limit = 2 * within if busy else within
    TABLE.add(f"{what}, targets right", f"{seconds:.1f} s", f"{limit} s{', on a busy machine' if busy else ''}")
    if seconds > limit:
        raise Failed(f"{what}: targets were right after {seconds:.1f} s, and not within {limit} s")


def web(*, scale=None):
    """The annotated pods as wait_until_right() expects them, after a change of their number."""
    if scale is not None:
        cluster.scale("shop", "web", scale)
    return agents.of_pods("shop", "app=web", 8000)


API_JOB = ("serviceMonitor/mon/api/0", "api", 8000)


def api(*more_jobs, scale=None):
    """The same of the pods that have a ServiceMonitor, for key=agents.job_and_address; and of more (job, Service, port) of theirs."""
    if scale is not None:
        cluster.scale("mon", "api", scale)
    return agents.of_jobs("mon", "app=api", API_JOB, *more_jobs)


class ManifestsTest(Installed):
    def test_api_server_accepts_every_manifest_without_a_warning(self):
        deploy = os.path.join(cluster.ROOT, "deploy/daemonset")
        for component in sorted(os.listdir(os.path.join(deploy, "components"))):
            with self.subTest(component), cluster.kustomization(gateway.ENDPOINT, component) as overlay:
                said = kubectl("apply", "--dry-run=server", "-k", overlay, warnings=True)
                # The namespace is not changed by a dry run, so it warns of what needs a privileged one.
                self.assertEqual([line for line in said.splitlines() if "Warning" in line and "would violate PodSecurity" not in line], [])
                self.assertIn("daemonset.apps/gleaner", said)

    def test_api_server_accepts_the_gateway_of_the_walk_through(self):
        kubectl("create", "namespace", "observability")
        said = kubectl("apply", "--dry-run=server", "-f", os.path.join(WALK_THROUGH, "gateway.yaml"), warnings=True)
        for what in ("configmap", "deployment.apps", "service"):
            self.assertIn(f"{what}/otel-collector created (server dry run)", said)

    def test_podsecurity_restricted_admits_the_base_and_nothing_more(self):
        self.assertEqual(get("namespace", "gleaner")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
        self.assertEqual(sorted(agents.addresses()), list(cluster.NODES))
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root", "namespace": "gleaner"},
               "spec": {"containers": [{"name": "c", "image": "localhost/bb:1", "securityContext": {"runAsUser": 0}}]}}
        with self.assertRaisesRegex(cluster.Refused, 'violates PodSecurity "restricted'):
            apply([pod])

    def test_rights_are_the_documented_ones_and_what_everybody_may(self):
        def may(account):
            rows = re.findall(r"^(\S+) +\[(.*?)\] +\[(.*?)\] +\[(.*?)\]$", kubectl("auth", "can-i", "--list", f"--as={account}", "-n", "gleaner"), re.M)
            return {(resource, names, verb) for resource, _, names, verbs in rows for verb in verbs.split()}

        monitors = [f"{kind}.monitoring.coreos.com" for kind in ("podmonitors", "scrapeconfigs", "servicemonitors")]
        documented = {(resource, "", "get") for resource in ("nodes/metrics", "nodes/pods")}
        documented |= {(resource, "", verb) for resource in ["services", *monitors] for verb in ("list", "watch")}
        self.assertEqual(may(ACCOUNT) - may("system:serviceaccount:gleaner:default"), documented)

    def test_agent_has_no_capability_and_no_way_to_get_one(self):
        for node in cluster.NODES:
            for pid in cluster.in_node(node, "pgrep", "-x", "gleaner").split():
                status = dict(re.findall(r"^(\w+):\t(.*)$", cluster.in_node(node, "cat", f"/proc/{pid}/status"), re.M))
                self.assertEqual((status["CapEff"], status["CapBnd"], status["NoNewPrivs"], status["Seccomp"], status["Uid"].split()[0]),
                                 ("0" * 16, "0" * 16, "1", "2", "65532"))


class AnnotatedTest(NothingCrosses):
    """What needs nothing but the kubelet."""

    WHAT, PODS = "annotated pods", (("shop", "app=web"),)

    def setUp(self):
        super().setUp()
        agents.wait_until_right("2 pods", web(scale=2), within=15, namespace="shop")

    def right(self, what, expected):
        right(f"annotated pods: {what}", expected)

    def test_targets_are_right_when_pods_come_and_go(self):
        self.right("2 -> 8", web(scale=8))
        self.right("8 -> 2", web(scale=2))
        with self.no_scrape_lost(5, ("mon", "app=api")):
            cluster.restart("shop", "web")
            self.right("rolling restart", web())

    def test_samples_arrive_with_the_pods_names_and_from_the_pods_node_only(self):
        for pod, (node, address) in cluster.running_pods("shop", "app=web").items():
            points = GATEWAY.wait_for(f"samples of {pod}", lambda _, pod=pod: GATEWAY.of_pod(pod, "demo_requests_total"), 15)
            resource = points[-1]["resource"]
            self.assertEqual({key: resource.get(key) for key in ("k8s.cluster.name", "k8s.namespace.name", "k8s.node.name", "k8s.container.name", "service.instance.id")}, {
                "k8s.cluster.name": "e2e", "k8s.namespace.name": "shop", "k8s.node.name": node, "k8s.container.name": "app", "service.instance.id": f"{address}:8000"})
            self.assertEqual((points[-1]["type"], points[-1]["temporality"], points[-1]["monotonic"]), ("sum", 2, True))
            self.assertEqual(traffic.asking_nodes("shop", pod), {node})

    def test_no_scrape_is_lost_while_other_pods_come_and_go(self):
        with self.no_scrape_lost(5, ("shop", "app=web")):
            self.right("2 -> 6", web(scale=6))
        web(scale=2)


class VariantsTest(Installed):
    """Each component of deploy/daemonset does on a cluster what it is for."""

    def tearDown(self):
        super().tearDown()
        install()

    def test_pods_come_from_the_pods_api_where_its_folder_is_mounted(self):
        install("pods-api")
        self.assertEqual(agents.pod_sources(), dict.fromkeys(cluster.NODES, "pods-api"))
        right("Pods API: 2 -> 6", web(scale=6))
        right("Pods API: 6 -> 2", web(scale=2))

    def test_pods_come_from_the_api_server_where_the_kubelet_refuses(self):
        install("api-pods")
        kubectl("delete", "clusterrolebinding", "gleaner-kubelet")
        wait_until("the API server to be asked", lambda: agents.pod_sources() == dict.fromkeys(cluster.NODES, "api-server"), 120)
        right("API server: 2 -> 6", web(scale=6))
        right("API server: 6 -> 2", web(scale=2))

    def test_agent_in_the_nodes_network_is_reached_from_the_node_only(self):
        install("hostnetwork")
        page = cluster.in_node("node-b", "curl", "-s", "http://127.0.0.1:9465/readyz")
        self.assertIn("gleaner is ready", page)
        with self.assertRaises(OSError):
            agents.fetch(cluster.ADDRESSES["node-b"], "/readyz")

    def test_probe_in_a_container_of_its_own_tells_gleaner_what_listens(self):
        install("ebpf")
        page = wait_until("the page", lambda: agents.fetch(agents.addresses()["node-a"], "/api/v1/targets"), 20)
        if "denied" in page or "unsupported" in page:
            self.skipTest("eBPF is not to be had here")
        fresh = web(scale=4)
        right("eBPF: 2 -> 4, and scraped", fresh, up=True)
        web(scale=2)


def main():
    sys.modules["e2e_test"] = sys.modules["__main__"]  # scenarios import what is set here
    scenarios = sorted(name.removesuffix(".py") for name in os.listdir(HERE) if re.fullmatch(r"scenario_\w+\.py", name))
    tests = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:] or ["e2e_test", *scenarios])
    try:
        prepare()
        succeeded = unittest.TextTestRunner(verbosity=2).run(tests).wasSuccessful()
    finally:
        GATEWAY.stop()
        TABLE.print()
    sys.exit(not succeeded)


if __name__ == "__main__":
    main()
