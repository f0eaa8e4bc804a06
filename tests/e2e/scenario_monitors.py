"""Apps that know Prometheus and nothing else, by ServiceMonitors and PodMonitors."""

import os
import re
import statistics
import time

from e2e_test import API_JOB, GATEWAY, TABLE, Installed, NothingCrosses, api, install, right
from harness import agents, cluster
from harness.cluster import apply, get, kubectl, running_pods
from node.process import wait_until

# Of a Python app on prometheus_client, as the Collector's own receiver names them.
with open(os.path.join(cluster.ROOT, "tests/golden/otelcol-debug-detailed.txt"), encoding="utf-8") as golden:
    NAMES = sorted({*re.findall(r"^     -> Name: (\S+)$", golden.read(), re.M),
                    "process_open_fds", "process_start_time_seconds", "scrape_series_added"})  # where the capture ends
CRDS = [f"{kind}.monitoring.coreos.com" for kind in ("servicemonitors", "podmonitors", "scrapeconfigs")]
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def service(name, target_port):
    """Another Service of the pods of manifests/monitored.yaml, for the same ServiceMonitor."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "mon", "labels": {"app": "api"}},
            "spec": {"selector": {"app": "api"}, "ports": [{"name": "web", "port": 80, "targetPort": target_port}]}}


def service_monitor(name, selector, **endpoint):
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": name, "namespace": "mon"},
            "spec": {"selector": selector, "endpoints": [{"port": "web", "interval": "5s", **endpoint}]}}


def pod_monitor(name, selector, namespace="mon", **endpoint):
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": selector, "podMetricsEndpoints": [{"port": "prom", **endpoint}]}}


def right_in_mon(what, expected, **how):
    right(f"monitors: {what}", expected, namespace="mon", key=agents.job_and_address, **how)


class WalkThroughTest(Installed):
    """deploy/walk-through/app.yaml, unchanged; docs/kubernetes.md has it for kind."""

    def test_app_arrives_at_the_collector_as_its_service_monitor_says(self):
        (pod, (node, address)), = running_pods("default", "app=my-app").items()
        expected = agents.of_jobs("default", "app=my-app", ("serviceMonitor/default/my-app/0", "my-app", 18080))
        right("the app of the walk-through", expected, namespace="default", key=agents.job_and_address)
        point = GATEWAY.wait_for("the app's counter", lambda _: GATEWAY.of_pod(pod, "some_counter_total"), 45)[-1]
        self.assertEqual((point["type"], point["monotonic"], point["temporality"]), ("sum", True, 2))
        self.assertEqual(point["attributes"], {"container": "my-app", "endpoint": "prom", "namespace": "default", "pod": pod, "service": "my-app"})
        self.assertEqual((point["resource"]["service.name"], point["resource"]["service.instance.id"], point["resource"]["k8s.node.name"]),
                         ("my-app", f"{address}:18080", node))
        wait_until("all names in what the Collector prints", lambda: set(NAMES) <= set(GATEWAY.printed_names()), 45)
        self.assertEqual(set(NAMES) - {found["name"] for found in GATEWAY.of_pod(pod)}, set())

    def test_gleaners_own_debug_exporter_prints_the_same_names(self):
        self.addCleanup(install)
        install(config="exporters: {debug: {verbosity: detailed}}\n")
        (node, _), = running_pods("default", "app=my-app").values()
        agent, = [name for name, (where, _) in running_pods("gleaner", "app.kubernetes.io/name=gleaner").items() if where == node]

        def printed():
            return set(re.findall(r"^     -> Name: (\S+)$", kubectl("-n", "gleaner", "logs", agent), re.M))

        wait_until("all names in what gleaner prints", lambda: set(NAMES) <= printed(), 60, every=1)


class MonitorsTest(NothingCrosses):
    """The pods of manifests/monitored.yaml."""

    WHAT, PODS = "monitors", (("mon", "app=api"),)

    def setUp(self):
        super().setUp()
        agents.wait_until_right("2 pods", api(scale=2), within=30, namespace="mon", key=agents.job_and_address, up=True)

    def test_targets_are_right_when_pods_come_and_go(self):
        right_in_mon("2 -> 1", api(scale=1))
        with self.no_scrape_lost(5, ("mon", "app=api")):
            right_in_mon("1 -> 20", api(scale=20))
        with self.no_scrape_lost(5, ("mon", "app=api")):
            right_in_mon("20 -> 1", api(scale=1))
        with self.no_scrape_lost(5, ("shop", "app=web")):
            cluster.restart("mon", "api")
            right_in_mon("rolling restart", api())
            kubectl("-n", "mon", "delete", "pod", "-l", "app=api")
            cluster.rolled_out("deployment/api", "mon")
            right_in_mon("pod deleted", api())

    def test_changes_of_services_and_monitors_cost_other_targets_no_scrape(self):
        job = API_JOB[0]
        with self.no_scrape_lost(5, ("mon", "app=api")):
            apply([service("second", 8000)])
            right_in_mon("two Services", api((job, "second", 8000)))
            kubectl("-n", "mon", "delete", "service", "second")
            right_in_mon("one of them deleted", api())
            apply([pod_monitor("pods", {"matchLabels": {"app": "api"}}, interval="5s")])
            right_in_mon("and a PodMonitor", api(("podMonitor/mon/pods/0", None, 8000)))
            kubectl("-n", "mon", "delete", "podmonitor", "pods")
            right_in_mon("PodMonitor deleted", api())
            apply([service_monitor("wrong", {"matchLabels": {"app": "nobody"}})])
            apply([service_monitor("drops", {"matchLabels": {"app": "api"}}, relabelings=[
                {"sourceLabels": ["__meta_kubernetes_pod_name"], "regex": "api-.*", "action": "drop"}])])
            apply([service_monitor("more", {"matchLabels": {"app": "api"}})])
            right_in_mon("more, of which one drops and one selects nothing", api(("serviceMonitor/mon/more/0", "api", 8000)))
            kubectl("-n", "mon", "delete", "servicemonitor", "wrong", "drops", "more")
            right_in_mon("these deleted", api())

    def test_selector_and_relabeling_that_leave_nothing_leave_nothing(self):
        right_selector = {"matchLabels": {"app": "api"}}
        with self.no_scrape_lost(5, ("shop", "app=web")):
            apply([service_monitor("api", right_selector, relabelings=[{"sourceLabels": ["__meta_kubernetes_pod_name"], "regex": "api-.*", "action": "drop"}])])
            right_in_mon("dropped by a relabeling", dict)
            apply([service_monitor("api", {"matchLabels": {"app": "nobody"}}, relabelings=[])])
            right_in_mon("a selector that selects nothing", dict)
            apply([service_monitor("api", right_selector, relabelings=[])])
            right_in_mon("as it was", api())

    def test_crds_may_be_removed_and_come_back(self):
        monitors = [*get("servicemonitors", "-A"), *get("podmonitors", "-A")]
        with self.no_scrape_lost(5, ("shop", "app=web")):
            kubectl("delete", "crd", *CRDS)
            right_in_mon("CRDs removed", dict)
            cluster.kit("crds")
            for monitor in monitors:
                monitor["metadata"] = {key: monitor["metadata"][key] for key in ("name", "namespace")}
            apply(monitors)
            right_in_mon("CRDs and monitors added again", api())

    def test_rotated_token_is_taken(self):
        """All tokens become invalid at once, since the ServiceAccount is another one of the same name; the kubelets write new ones when they
        begin anew. Watches that run are not asked for a token, so the API server begins anew, too."""

        def failures():
            return [agents.metrics(address)["gleaner_kubelet_failures_total"] for address in agents.addresses().values()]

        def tokens():
            return [cluster.in_node(node, "cat", f"/proc/{cluster.in_node(node, 'pgrep', '-xo', 'gleaner').strip()}/root{TOKEN}") for node in cluster.NODES]

        old = tokens()
        with self.no_scrape_lost(5, ("shop", "app=web"), ("mon", "app=api")):
            before = failures()
            kubectl("-n", "gleaner", "delete", "serviceaccount", "gleaner")
            install()
            cluster.service("restart", "kube-apiserver")
            wait_until("the old token to be refused", lambda: all(now > then for now, then in zip(failures(), before)), 60)
            for node in cluster.NODES:
                cluster.service("restart", "kubelet", node)
            start = time.monotonic()
            wait_until("new tokens", lambda: not set(tokens()) & set(old), 120, every=0.5)
            TABLE.add("monitors: kubelets restarted, tokens rotated", f"{time.monotonic() - start:.1f} s")
            apply([pod_monitor("pods", {"matchLabels": {"app": "api"}}, interval="5s")])
            right_in_mon("and a PodMonitor by the new token", api(("podMonitor/mon/pods/0", None, 8000)))
        kubectl("-n", "mon", "delete", "podmonitor", "pods")
        right_in_mon("2 -> 4 by the new token", api(scale=4))


class LatencyTest(Installed):
    """How long a new pod's first sample takes, with an interval of 30 s."""

    PODS, EVERY = 10, 2.5  # one after the other, so that they do not share a poll of the kubelet

    def setUp(self):
        apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late"}}, pod_monitor("late", {}, namespace="late", interval="30s")])
        self.addCleanup(kubectl, "delete", "namespace", "late")
        self.ready, self.first, self.seen = {}, {}, len(GATEWAY.read())

    def look(self):
        for pod in get("pods", "-n", "late"):
            if any(found["type"] == "Ready" and found["status"] == "True" for found in pod["status"].get("conditions", ())):
                self.ready.setdefault(pod["metadata"]["name"], time.monotonic())
        points, now = GATEWAY.read(), time.monotonic()
        for point in points[self.seen:]:
            if point["name"] == "demo_requests_total":
                self.first.setdefault(point["attributes"].get("pod"), now)
        self.seen = len(points)

    def test_first_sample_comes_sooner_than_a_target_allocator_would_know_the_pod(self):
        names = [f"late-{number}" for number in range(self.PODS)]
        for name in names:
            apply([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "late"},
                    "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                        {"name": "app", "image": "localhost/app:1", "imagePullPolicy": "Never", "ports": [{"name": "prom", "containerPort": 8000}]}]}}])
            end = time.monotonic() + self.EVERY
            while time.monotonic() < end:
                self.look()
        wait_until("a sample of each", lambda: self.look() or set(names) <= self.first.keys() & self.ready.keys(), 90)
        delays = sorted(self.first[name] - self.ready[name] for name in names)
        TABLE.add(f"pod Ready to first sample, median of {len(delays)}", f"{statistics.median(delays):.1f} s", "30 s")
        TABLE.add("pod Ready to first sample, longest", f"{delays[-1]:.1f} s", "45 s")
        TABLE.add("  Collector and target allocator, by design", "70 s", "30 + 30 + 5 + 5 s")
        self.assertLess(statistics.median(delays), 30)
        self.assertLess(delays[-1], 45)
