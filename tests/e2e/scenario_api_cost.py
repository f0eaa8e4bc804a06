"""What an agent costs the API server of a cluster with thousands of Services and hundreds of monitors, and what these cost the agent."""

import contextlib
import time

from e2e_test import TABLE, Installed, api, right, web
from harness import agents, cluster, traffic
from harness.cluster import apply, kubectl
from node.process import wait_until

SERVICES, MONITORS = 2000, 300
GROUP = "/apis/monitoring.coreos.com"
ASKED = {"/api/v1/services", f"{GROUP}/v1/servicemonitors", f"{GROUP}/v1/podmonitors", f"{GROUP}/v1alpha1/scrapeconfigs"}


def service(number):
    labels = {f"app.kubernetes.io/{key}": f"service-{number}" for key in ("name", "instance", "component", "part-of")}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "metrics", "port": 9090, "targetPort": "metrics"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"service-{number}", "labels": labels},
            "spec": {"clusterIP": "None", "selector": labels, "ports": ports}}  # headless: kube-proxy is not what is measured


def monitor(number):
    labels = {f"app.kubernetes.io/{key}": f"service-{number}" for key in ("name", "instance")}
    relabelings = [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}, {"action": "labeldrop", "regex": "pod_template_hash"}]
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": f"monitor-{number}", "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "endpoints": [{"port": "metrics", "interval": "30s", "relabelings": relabelings}]}}


def memory():
    """{node: MiB of all processes of its agent; what they share counts once}"""
    found = {}
    for node in cluster.NODES:
        rollups = [cluster.in_node(node, "cat", f"/proc/{pid}/smaps_rollup") for pid in cluster.in_node(node, "pgrep", "-x", "gleaner").split()]
        found[node] = sum(int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith("Pss:")) / 1024
    return found


class ApiCostTest(Installed):
    """Each limit is some three times what was measured: it is there to find a list that is read again, a watch too many, a field that grew."""

    def setUp(self):
        apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cost"}}])
        self.addCleanup(kubectl, "delete", "namespace", "cost")
        self.services, self.monitors = "/api/v1/namespaces/cost/services", f"{GROUP}/v1/namespaces/cost/servicemonitors"

    @contextlib.contextmanager
    def at_most(self, what, requests, kilobytes):
        """What each agent asks and gets in the block, with the packets' headers; nothing but watches that begin again. A row for the dearer
        one."""
        audit, counters = traffic.Audit(), traffic.Counters()
        yield
        found, asked = counters.read(), audit.requests()
        count = max(sum(asked[node].values()) for node in cluster.NODES)
        size = max(found[node]["api_sent"][1] + found[node]["api_received"][1] for node in cluster.NODES) / 1000
        TABLE.add(f"API server, one agent: {what}", f"{count} requests, {size:.1f} kB", f"{requests}, {kilobytes} kB")
        self.assertEqual({(verb, path) for one in asked.values() for verb, path in one if verb != "watch" or path not in ASKED}, set())
        self.assertLessEqual(count, requests)
        self.assertLessEqual(size, kilobytes)

    def known_to_all(self, services, monitors):
        """Whether every agent has that many Services and monitors of this test, at least."""
        pages = [agents.metrics(address) for address in agents.addresses().values()]
        return len(pages) == len(cluster.NODES) and all(
            page.get('gleaner_watch_objects{resource="services"}', 0) >= services and page.get('gleaner_watch_objects{resource="servicemonitors"}', 0) >= monitors
            for page in pages)

    def begin_anew(self):
        """The agents are replaced, and read everything."""
        audit = traffic.Audit()
        kubectl("-n", "gleaner", "delete", "pod", "-l", "app.kubernetes.io/name=gleaner")
        cluster.rolled_out("daemonset/gleaner", "gleaner")
        wait_until("all to be known", lambda: self.known_to_all(SERVICES, MONITORS), 60, every=0.5)
        asked = audit.requests()
        self.assertLessEqual({path for one in asked.values() for verb, path in one if verb in ("list", "watch")}, ASKED)
        size = max(agents.metrics(address)["gleaner_api_received_bytes_total"] for address in agents.addresses().values()) / 1000
        count = max(sum(one.values()) for one in asked.values())
        TABLE.add("API server, one agent: start", f"{count} requests, {size:.0f} kB", "12, 900 kB")
        self.assertLessEqual(count, 12)
        self.assertLessEqual(size, 900)

    def test_cost_with_2000_services_and_300_monitors(self):
        small, server = max(memory().values()), cluster.ApiServer()
        for number in range(SERVICES):
            server.ask("POST", self.services, service(number))
        for number in range(MONITORS):
            server.ask("POST", self.monitors, monitor(number))
        self.begin_anew()
        right("with 2,000 Services and 300 monitors", api(), namespace="mon", key=agents.job_and_address)
        with self.at_most("idle for a minute", requests=5, kilobytes=15):
            time.sleep(60)
        with self.at_most("16 pods come and go", requests=5, kilobytes=15):
            for replicas in (10, 2):
                web(scale=replicas)
                right(f"with 2,000 Services and 300 monitors: -> {replicas}", api(scale=replicas), namespace="mon", key=agents.job_and_address)
        with self.at_most("50 Services and 10 monitors change", requests=5, kilobytes=300):
            server = cluster.ApiServer()  # the old connection was idle for too long
            for number in range(50):
                server.ask("PATCH", f"{self.services}/service-{number}", {"metadata": {"annotations": {"changed": "yes"}}})
            for number in range(10):
                server.ask("PATCH", f"{self.monitors}/monitor-{number}", {"metadata": {"annotations": {"changed": "yes"}}})
            time.sleep(5)
        large = max(memory().values())
        TABLE.add("memory of an agent, with 2,000 Services and 300 monitors", f"{large:.1f} MiB (without: {small:.1f})", "60 MiB")
        self.assertLess(large, 60)
