"""Pods of other shapes, and what goes wrong around pods that run; annotated ones and ones that a monitor selects."""

import os
import time

from e2e_test import MANIFESTS, NothingCrosses, api, right, web
from harness import agents, cluster
from harness.cluster import apply, delete, get, kubectl
from node.process import wait_until

ANNOTATED = "kubernetes-pods"
RUNNING = ("shop", "app=web"), ("mon", "app=api")


def everywhere(replicas=None):
    """The annotated and the monitored pods as right_everywhere() expects them, after a change of their number."""
    if replicas is not None:
        web(scale=replicas)
    return agents.together(agents.of_jobs("shop", "app=web", (ANNOTATED, None, 8000)), api(scale=replicas))


def right_everywhere(what, expected, **how):
    right(what, expected, namespace=("shop", "mon"), key=agents.job_and_address, **how)


class ShapesTest(NothingCrosses):
    WHAT, PODS = "pods of other shapes", RUNNING

    def test_sidecars_port_is_a_target_and_a_pod_in_the_nodes_network_is_one_of_monitors_only(self):
        manifest = os.path.join(MANIFESTS, "shapes.yaml")
        apply(manifest)
        kubectl("-n", "shapes", "wait", "--for=condition=Ready", "pod/sidecar", "pod/hostnet", "--timeout=60s")
        monitor = "podMonitor/shapes/metrics/0"
        expected = agents.together(
            agents.of_jobs("shapes", "app=sidecar", (ANNOTATED, None, 9102), (monitor, None, 9102)), agents.of_jobs("shapes", "app=hostnet", (monitor, None, 9001)))
        with self.no_scrape_lost(5, *RUNNING):
            right("a sidecar and a pod in the node's network", expected, namespace="shapes", key=agents.job_and_address)
        log = kubectl("-n", "gleaner", "logs", "-l", "app.kubernetes.io/name=gleaner", "--tail=-1")
        self.assertRegex(log, r"shapes/hostnet\b.*host_network")
        delete(manifest)
        right("and deleted", dict, namespace="shapes")

    def test_static_pod_is_a_target_with_the_uid_that_the_kubelet_gave_it(self):
        apply([{"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "static-app", "namespace": "default"},
                "spec": {"selector": {"matchLabels": {"app": "static-app"}}, "podMetricsEndpoints": [{"port": "prom", "interval": "5s"}]}}])
        self.addCleanup(kubectl, "delete", "podmonitor", "static-app")
        cluster.static_pod("node-b", "static-app", {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "static-app", "namespace": "default", "labels": {"app": "static-app"}, "annotations": {"prometheus.io/scrape": "true", "prometheus.io/interval": "5s"}},
            "spec": {"containers": [{"name": "app", "image": "localhost/app:1", "imagePullPolicy": "Never", "ports": [{"name": "prom", "containerPort": 8000}]}]}})
        self.addCleanup(lambda: wait_until("the static pod to end", lambda: not get("pods", "-l", "app=static-app"), 30))
        self.addCleanup(cluster.static_pod, "node-b", "static-app", None)
        kubectl("wait", "--for=create", "pod/static-app-node-b", "--timeout=30s")
        kubectl("wait", "--for=condition=Ready", "pod/static-app-node-b", "--timeout=60s")

        def name(target):
            return agents.job_and_address(target) if target["discoveredLabels"].get("__meta_kubernetes_pod_name") == "static-app-node-b" else None

        expected = agents.of_jobs("default", "app=static-app", (ANNOTATED, None, 8000), ("podMonitor/default/static-app/0", None, 8000))
        with self.no_scrape_lost(5, *RUNNING):
            right("a static pod", expected, namespace="default", key=name)
        uids = {target["discoveredLabels"]["__meta_kubernetes_pod_uid"] for target in agents.targets(agents.addresses()["node-b"]) if name(target)}
        self.assertEqual(uids, {get("pod", "static-app-node-b")["metadata"]["annotations"]["kubernetes.io/config.mirror"]})


class OutagesTest(NothingCrosses):
    WHAT, PODS = "outages", RUNNING

    def setUp(self):
        super().setUp()
        agents.wait_until_right("2 pods each", everywhere(2), within=15, namespace=("shop", "mon"), key=agents.job_and_address, up=True)

    def test_api_server_away_for_a_minute_costs_no_scrape(self):
        targets, addresses = everywhere()(), agents.addresses()
        with self.no_scrape_lost(5, *RUNNING):
            cluster.service("stop", "kube-apiserver")
            try:
                time.sleep(60)
                for node, address in addresses.items():
                    found = {agents.job_and_address(target) for target in agents.targets(address)} - {None}
                    self.assertLessEqual(set(targets[node]), found)
            finally:
                cluster.service("start", "kube-apiserver")
            wait_until("the API server", lambda: kubectl("get", "--raw", "/readyz", check=False) == "ok", 60)
        right_everywhere("after the API server was away for 60 s: 2 -> 4", everywhere(4))

    def test_restart_of_a_kubelet_costs_no_scrape(self):
        with self.no_scrape_lost(5, *RUNNING):
            cluster.service("restart", "kubelet", "node-b")
            time.sleep(15)
        right_everywhere("after a kubelet's restart: 2 -> 4", everywhere(4))

    def test_agents_that_are_replaced_scrape_again_within_30_seconds(self):
        kubectl("-n", "gleaner", "delete", "pod", "-l", "app.kubernetes.io/name=gleaner", "--wait=false")
        right_everywhere("after all agents were deleted", everywhere(), within=30, up=True)
