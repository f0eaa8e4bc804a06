#!/usr/bin/python3
"""ServiceMonitors and PodMonitors on the small node, by a stand-in API server: what is scraped, with which labels, and what is asked for.

    tools/with-node tests/integration/monitors_test.py GLEANER [TEST...]
"""
import json
import os
import sys
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
TOOLS = os.path.join(HERE, "../../tools")
sys.path[:0] = [TOOLS]

# pylint: disable=wrong-import-position
from node.agent import Agent
from node.exporters import python_app
from node.node import Pod, small_node
from node.process import Failed, answers, wait_until

BINARY, NODE = None, None  # set once, by main
API_PORT = 6443


def monitor(name, selector, namespace="default", labels=None, **endpoint):
    """The walk-through's: the selector and one endpoint."""
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"metadata": metadata, "spec": {"selector": {"matchLabels": selector}, "endpoints": [{"port": "prom", "interval": "1s", "scrapeTimeout": "900ms", **endpoint}]}}


def pod_monitor(name, selector, port):
    metadata = {"name": name, "namespace": "default"}
    endpoints = [{"port": port, "interval": "1s", "scrapeTimeout": "900ms"}]
    return {"metadata": metadata, "spec": {"selector": {"matchLabels": selector}, "podMetricsEndpoints": endpoints}}


def service(name, selector, target_port, namespace="default"):
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"metadata": metadata, "spec": {"selector": selector, "ports": [{"name": "prom", "port": 80, "targetPort": target_port}]}}


class MonitorsTest(unittest.TestCase):
    agent = None

    @classmethod
    def setUpClass(cls):
        cls.log = NODE.path("apiserver.requests")
        cls.objects = {}
        cls.tell()
        program = os.path.join(TOOLS, "node/apiserver.py")
        where = ["--listen", f"{NODE.ip}:{API_PORT}", "--log", cls.log]
        cls.server = NODE.spawn("apiserver", [sys.executable, program, "--objects", NODE.path("objects.json"), *where])
        wait_until("the API server to listen", lambda: answers(NODE.ip, API_PORT), 20, cls.server)
        cls.pod = python_app()
        cls.pod.name, cls.pod.namespace, cls.pod.labels, cls.pod.annotations = "my-app-1", "default", {"app": "my-app"}, {}
        cls.pod.containers[0]["name"] = "my-app"
        cls.port = cls.pod.containers[0]["ports"][0]
        cls.port["name"] = "prom"
        NODE.add_pod(cls.pod)

    @classmethod
    def tearDownClass(cls):
        NODE.remove_pod(cls.pod.name)

    @classmethod
    def tell(cls, **objects):
        cls.objects.update(objects)
        NODE.write("objects.json", json.dumps(cls.objects))

    def setUp(self):
        self.objects.clear()
        self.tell(
            services=[service("my-app", {"app": "my-app"}, "prom")], podmonitors=[],
            servicemonitors=[monitor("my-app", {"app": "my-app"}, path="/metrics")],
        )
        with open(self.log, "w", encoding="utf-8"):
            pass

    def tearDown(self):
        if self.agent and self.agent.process.running():
            self.agent.stop()
        outcome = self._outcome.result
        if self.agent and any(test is self for test, _ in outcome.failures + outcome.errors):
            print(f"--- gleaner's log\n{self.agent.process.log_tail(60)}\n--- asked of the API server\n{self.asked()}")

    def start(self, monitors=None):
        self.agent = Agent(NODE, BINARY, {
            "annotations": {"enabled": False},
            "telemetry": {"enabled": False},
            "kubernetes": {"api_server": f"http://{NODE.ip}:{API_PORT}", "startup_jitter": "0s"},
            "monitors": {"service_monitor_selector": {}, "pod_monitor_selector": {}, **(monitors or {})},
        })
        return self.agent

    def asked(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read()

    def jobs(self):
        return sorted((target["scrapePool"], target["labels"]["pod"]) for target in self.agent.targets())

    def wait_for_jobs(self, *jobs, seconds=10):
        wait_until(f"the jobs {jobs}", lambda: self.jobs() == sorted((job, "my-app-1") for job in jobs), seconds, self.agent.process)

    def wait_for_log(self, text):
        wait_until(f"the log to say: {text}", lambda: text in self.agent.process.log_text(), 15, self.agent.process)

    def test_app_of_the_walk_through_has_exactly_its_labels(self):
        self.start()
        self.wait_for_jobs("serviceMonitor/default/my-app/0")
        target = wait_until("it to be up", lambda: next((t for t in self.agent.targets() if t["health"] == "up"), None), 10, self.agent.process)
        self.assertEqual(target["labels"], {
            "container": "my-app", "endpoint": "prom", "instance": f"{self.pod.ip}:{self.port['containerPort']}", "job": "my-app",
            "namespace": "default", "pod": "my-app-1", "service": "my-app",
        })
        self.assertNotIn("endpoints", self.asked())  # nor EndpointSlices
        self.assertNotIn("/pods", self.asked())
        self.assertNotIn("/secrets", self.asked())

    def test_events_change_targets_and_no_other_loses_a_scrape(self):
        self.start()
        self.wait_for_jobs("serviceMonitor/default/my-app/0")
        self.tell(podmonitors=[pod_monitor("direct", {"app": "my-app"}, "prom")])
        self.wait_for_jobs("serviceMonitor/default/my-app/0", "podMonitor/default/direct/0")
        self.tell(servicemonitors=[monitor("my-app", {"app": "nobody"})])
        self.wait_for_jobs("podMonitor/default/direct/0")
        self.tell(servicemonitors=[monitor("my-app", {"app": "my-app"})], podmonitors=[])
        self.wait_for_jobs("serviceMonitor/default/my-app/0")
        scrapes = self.agent.targets()[0]["scrapes"]
        self.tell(podmonitors=[pod_monitor("direct", {"app": "my-app"}, "prom")])
        self.wait_for_jobs("serviceMonitor/default/my-app/0", "podMonitor/default/direct/0")
        kept = next(target for target in self.agent.targets() if target["scrapePool"].startswith("serviceMonitor"))
        self.assertGreaterEqual(kept["scrapes"], scrapes)

    def test_services_are_asked_for_where_pods_are(self):
        self.start({"services": {"scope": "node-namespaces"}})
        self.wait_for_jobs("serviceMonitor/default/my-app/0")
        self.assertIn("/api/v1/namespaces/default/services?", self.asked())
        self.assertNotIn("/api/v1/services?", self.asked())
        other = Pod("other-1", [], [{"name": "app"}], namespace="other", labels={"app": "other"})
        NODE.add_pod(other, wait=False)
        self.addCleanup(NODE.remove_pod, other.name)
        self.tell(servicemonitors=[monitor("my-app", {"app": "my-app"}), monitor("other", {"app": "other"}, "other")])
        wait_until("Services of `other`", lambda: "/api/v1/namespaces/other/services?" in self.asked(), 10, self.agent.process)

    def test_selector_that_selects_nothing_is_said_and_a_reload_mends_it(self):
        self.tell(servicemonitors=[monitor("my-app", {"app": "my-app"}, labels={"team": "a"})])
        agent = self.start({"service_monitor_selector": {"matchLabels": {"team": "b"}}})
        self.wait_for_log("0 of 1 ServiceMonitors are selected by monitors.service_monitor_selector")
        self.assertEqual(self.jobs(), [])
        shown = json.loads(agent.get("/api/v1/monitors"))["data"]["monitors"]
        self.assertFalse(shown[0]["selected"])
        agent.configure(merged_monitors(agent, {"service_monitor_selector": {"matchLabels": {"team": "a"}}}))
        agent.reload()
        self.wait_for_jobs("serviceMonitor/default/my-app/0")

    def test_missing_right_is_said_as_yaml(self):
        self.tell(forbidden=["services"])
        self.start()
        self.wait_for_log("the ServiceAccount lacks 2 rights")
        self.wait_for_log('  - apiGroups: [\\"\\"]')
        self.tell(forbidden=[])
        self.wait_for_jobs("serviceMonitor/default/my-app/0", seconds=25)

    def test_definitions_that_go_take_their_targets_and_give_them_back(self):
        self.start()
        self.wait_for_jobs("serviceMonitor/default/my-app/0")
        monitors = self.objects.pop("servicemonitors")
        self.tell()
        self.wait_for_jobs(seconds=30)
        self.tell(servicemonitors=monitors)
        self.wait_for_jobs("serviceMonitor/default/my-app/0", seconds=30)


def merged_monitors(agent, monitors):
    with open(agent.config, encoding="utf-8") as file:
        config = json.load(file)
    config["monitors"].update(monitors)
    return config


def main():
    global BINARY, NODE  # pylint: disable=global-statement
    BINARY = os.path.abspath(sys.argv.pop(1))
    with small_node() as NODE:
        NODE.start_kubelet()
        program = unittest.main(exit=False, verbosity=2)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"integration: {error}")
