"""Annotated pods of other shapes, and what goes wrong around pods that run."""

import os
import time

from e2e_test import MANIFESTS, Installed, right, web
from harness import agents, cluster
from harness.cluster import apply, delete, get, kubectl
from node.process import wait_until


class ShapesTest(Installed):
    def test_sidecars_port_is_a_target_and_a_pod_in_the_nodes_network_is_not(self):
        manifest = os.path.join(MANIFESTS, "shapes.yaml")
        apply(manifest)
        kubectl("-n", "shapes", "wait", "--for=condition=Ready", "pod/sidecar", "pod/hostnet", "--timeout=60s")
        right("a sidecar", agents.of_pods("shapes", "app=sidecar", 9102), namespace="shapes")
        log = kubectl("-n", "gleaner", "logs", "-l", "app.kubernetes.io/name=gleaner", "--tail=-1")
        self.assertRegex(log, r"shapes/hostnet\b.*host_network")
        delete(manifest)
        right("and deleted", dict, namespace="shapes")

    def test_static_pod_is_a_target_with_the_uid_that_the_kubelet_gave_it(self):
        cluster.static_pod("node-b", "static-app", {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "static-app", "namespace": "default", "labels": {"app": "static-app"}, "annotations": {"prometheus.io/scrape": "true", "prometheus.io/interval": "5s"}},
            "spec": {"containers": [{"name": "app", "image": "localhost/app:1", "imagePullPolicy": "Never", "ports": [{"containerPort": 8000}]}]}})
        self.addCleanup(lambda: wait_until("the static pod to end", lambda: not get("pods", "-l", "app=static-app"), 30))
        self.addCleanup(cluster.static_pod, "node-b", "static-app", None)
        kubectl("wait", "--for=create", "pod/static-app-node-b", "--timeout=30s")
        kubectl("wait", "--for=condition=Ready", "pod/static-app-node-b", "--timeout=60s")

        def name(target):
            return agents.pod_and_address(target) if target["discoveredLabels"].get("__meta_kubernetes_pod_name") == "static-app-node-b" else None

        right("a static pod", agents.of_pods("default", "app=static-app", 8000), namespace="default", key=name)
        uids = {target["discoveredLabels"]["__meta_kubernetes_pod_uid"] for target in agents.targets(agents.addresses()["node-b"]) if name(target)}
        self.assertEqual(uids, {get("pod", "static-app-node-b")["metadata"]["annotations"]["kubernetes.io/config.mirror"]})


class OutagesTest(Installed):
    def setUp(self):
        agents.wait_until_right("2 pods", web(scale=2), within=15, namespace="shop", up=True)

    def test_api_server_away_for_a_minute_costs_no_scrape(self):
        targets, addresses = web()(), agents.addresses()
        with self.no_scrape_lost("shop", "app=web", interval=5):
            cluster.service("stop", "kube-apiserver")
            try:
                time.sleep(60)
                for node, address in addresses.items():
                    found = {agents.pod_and_address(target) for target in agents.targets(address)} - {None}
                    self.assertLessEqual(set(targets[node]), found)
            finally:
                cluster.service("start", "kube-apiserver")
            wait_until("the API server", lambda: kubectl("get", "--raw", "/readyz", check=False) == "ok", 60)
        right("after the API server was away for 60 s: 2 -> 4", web(scale=4))

    def test_restart_of_a_kubelet_costs_no_scrape(self):
        with self.no_scrape_lost("shop", "app=web", interval=5):
            cluster.service("restart", "kubelet", "node-b")
            time.sleep(15)
        right("after a kubelet's restart: 2 -> 4", web(scale=4))

    def test_agents_that_are_replaced_scrape_again_within_30_seconds(self):
        kubectl("-n", "gleaner", "delete", "pod", "-l", "app.kubernetes.io/name=gleaner", "--wait=false")
        right("after all agents were deleted", web(), within=30, up=True)
