"""Apps that know Prometheus and nothing else, by ServiceMonitors and PodMonitors."""

import time

from e2e_test import GATEWAY, TABLE, Installed, right
from harness import agents, cluster, traffic
from harness.cluster import apply, kubectl, running_pods

APP = {"image": "localhost/app:1", "imagePullPolicy": "Never"}
NAMES = {  # of a Python app on prometheus_client, as the Collector's own receiver names them
    "some_counter_total", "python_info", "python_gc_objects_collected_total", "python_gc_objects_uncollectable_total", "python_gc_collections_total",
    "process_virtual_memory_bytes", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_max_fds", "process_open_fds",
    "process_start_time_seconds", "up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"}


def deployment(name, replicas, labels=None, ports=None, arguments=()):
    labels = {"app": name, **(labels or {})}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "mon"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "app", **APP, "args": list(arguments), "ports": ports or [{"name": "prom", "containerPort": 8000}]}]}}}}


def service(name, selector, ports, labels=None):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "mon", "labels": labels or {"app": name}},
            "spec": {"selector": selector, "ports": ports}}


def monitor(kind, name, selector, endpoint):
    endpoints = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}[kind]
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": {"name": name, "namespace": "mon"},
            "spec": {"selector": selector, endpoints: [{"interval": "5s", **endpoint}]}}


def job_and_pod(target):
    """A target as tests of monitors name it: job, pod and Service."""
    labels = target["labels"]
    return target["scrapePool"], labels.get("pod"), labels.get("service")


class WalkThroughTest(Installed):
    """deploy/walk-through/app.yaml, unchanged."""

    def test_app_arrives_at_the_collector_as_its_service_monitor_says(self):
        (pod, (node, address)), = running_pods("default", "app=my-app").items()
        right("the app of the walk-through", lambda: {node: [(f"default/{pod}", f"{address}:18080")]}, namespace="default")
        points = GATEWAY.wait_for("the app's counter", lambda _: GATEWAY.of_pod(pod, "some_counter_total"), 45)
        point = points[-1]
        self.assertEqual((point["type"], point["monotonic"], point["temporality"]), ("sum", True, 2))
        self.assertEqual(point["attributes"], {"container": "my-app", "endpoint": "prom", "namespace": "default", "pod": pod, "service": "my-app"})
        self.assertEqual((point["resource"]["service.name"], point["resource"]["service.instance.id"], point["resource"]["k8s.node.name"]),
                         ("my-app", f"{address}:18080", node))
        self.assertEqual(NAMES - set(GATEWAY.printed_names()), set())


class MonitorsTest(Installed):
    @classmethod
    def setUpClass(cls):
        apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mon"}}])
        cls.addClassCleanup(kubectl, "delete", "namespace", "mon")
        apply([deployment("shop", 2), service("shop", {"app": "shop"}, [{"name": "web", "port": 80, "targetPort": "prom"}]),
               monitor("ServiceMonitor", "shop", {"matchLabels": {"app": "shop"}}, {"port": "web"})])
        cluster.rolled_out("deployment/shop", "mon")
        cls.counters = traffic.Counters()

    def jobs(self, **services):
        """What right() expects: {job: Service} for each pod of the Deployment `shop`."""

        def expected():
            keys = {}
            for pod, (node, _) in running_pods("mon", "app=shop").items():
                keys.setdefault(node, []).extend((job.replace("__", "/"), pod, name) for job, name in services.items())
            return keys

        return expected

    def right(self, what, expected):
        right(f"monitors: {what}", expected, namespace="mon", key=job_and_pod)

    @property
    def shop(self):
        return self.jobs(serviceMonitor__mon__shop__0="shop")

    def scale(self, replicas):
        kubectl("-n", "mon", "scale", "deployment/shop", f"--replicas={replicas}")
        cluster.rolled_out("deployment/shop", "mon")

    def test_targets_are_right_from_1_to_20_pods_and_back(self):
        self.scale(1)
        self.right("1 pod", self.shop)
        with self.no_scrape_lost("mon", "app=shop", interval=5):
            self.scale(20)
            self.right("1 -> 20", self.shop)
        self.scale(2)
        self.right("20 -> 2", self.shop)
        kubectl("-n", "mon", "rollout", "restart", "deployment/shop")
        cluster.rolled_out("deployment/shop", "mon")
        self.right("rolling restart", self.shop)

    def test_one_pod_through_two_services_is_two_targets(self):
        more = service("second", {"app": "shop"}, [{"name": "web", "port": 80, "targetPort": 8000}], {"app": "shop"})
        apply([more])
        expected = self.shop

        def both():
            return {node: keys + [(job, pod, "second") for job, pod, _ in keys] for node, keys in expected().items()}

        self.right("two Services", both)
        kubectl("-n", "mon", "delete", "service", "second")
        self.right("one of them deleted", self.shop)

    def test_pod_monitor_comes_beside_and_goes(self):
        apply([monitor("PodMonitor", "pods", {"matchLabels": {"app": "shop"}}, {"port": "prom"})])
        expected = self.shop

        def both():
            return {node: keys + [("podMonitor/mon/pods/0", pod, None) for _, pod, _ in keys] for node, keys in expected().items()}

        self.right("and a PodMonitor", both)
        kubectl("-n", "mon", "delete", "podmonitor", "pods")
        self.right("PodMonitor deleted", self.shop)

    def test_relabeling_that_drops_and_selector_that_selects_nothing_leave_no_target(self):
        drop = {"sourceLabels": ["__meta_kubernetes_pod_name"], "regex": "shop-.*", "action": "drop"}
        apply([monitor("ServiceMonitor", "shop", {"matchLabels": {"app": "shop"}}, {"port": "web", "relabelings": [drop]})])
        self.right("dropped by a relabeling", dict)
        apply([monitor("ServiceMonitor", "shop", {"matchLabels": {"app": "nobody"}}, {"port": "web", "relabelings": []})])
        self.right("a selector that selects nothing", dict)
        apply([monitor("ServiceMonitor", "shop", {"matchLabels": {"app": "shop"}}, {"port": "web", "relabelings": []})])
        self.right("as it was", self.shop)

    def test_no_scrape_crosses_to_the_other_node(self):
        self.right("2 nodes", self.shop)
        for pod, (node, _) in running_pods("mon", "app=shop").items():
            self.assertLessEqual(set(traffic.askers("mon", pod)), {agents.addresses()[node]})
        self.assertEqual({node: counters["elsewhere"] for node, counters in self.counters.read().items()}, {node: (0, 0) for node in cluster.NODES})


class CostTest(Installed):
    def test_idle_agents_ask_the_api_server_for_nothing_but_watches(self):
        audit, counters = traffic.Audit(), traffic.Counters()
        time.sleep(60)
        requests = audit.requests()
        self.assertLessEqual({verb for verb, _ in requests}, {"watch", "list"})
        for node, found in counters.read().items():
            TABLE.add(f"API server, idle minute, {node}", f"{found['api_sent'][1] + found['api_received'][1]} bytes", "")
        TABLE.add("API server, idle minute, requests of all agents", str(sum(requests.values())), "")
