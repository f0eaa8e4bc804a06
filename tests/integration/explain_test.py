#!/usr/bin/python3
"""`gleaner explain` on the small node: the ten usual questions, asked as a person asks them.

    tools/with-node tests/integration/explain_test.py [--print] GLEANER [TEST...]

--print shows every answer (docs/explain.md has them).
"""
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
TOOLS = os.path.join(HERE, "../../tools")
sys.path[:0] = [TOOLS]

# pylint: disable=wrong-import-position
from node.agent import Agent
from node.exporters import PYTHON, python_app
from node.node import Pod, small_node
from node.process import Failed, answers, wait_until

BINARY, NODE, PRINT = None, None, False  # set once, by main
API_PORT = 6443
SERVE = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(sys.argv[3]))
        self.send_response(int(sys.argv[2]))
        self.send_header("Content-Type", sys.argv[4])
        self.end_headers()
        self.wfile.write(b"<p>hello</p>")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
"""


def server(name, status=200, delay=0, kind="text/html"):
    """A pod whose port 8000 answers like this."""
    argv = [PYTHON, "-c", SERVE, "8000", str(status), str(delay), kind]
    return Pod(name, [("app", argv)], [{"name": "app", "ports": [{"name": "http", "containerPort": 8000}]}], labels={"app": name})


def pod_monitor(name, app, port, endpoint=None, **spec):
    times = {"interval": "1s", "scrapeTimeout": "500ms"}
    spec = {"selector": {"matchLabels": {"app": app}}, "podMetricsEndpoints": [{"port": port, **times, **(endpoint or {})}], **spec}
    return {"metadata": {"name": name, "namespace": "default", "labels": {"team": "a"}}, "spec": spec}


def service_monitor(name, app, port, team="a"):
    times = {"interval": "1s", "scrapeTimeout": "500ms"}
    spec = {"selector": {"matchLabels": {"app": app}}, "endpoints": [{"port": port, **times}]}
    return {"metadata": {"name": name, "namespace": "default", "labels": {"team": team}}, "spec": spec}


def service(name, labels, selector):
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return {"metadata": metadata, "spec": {"selector": selector, "ports": [{"name": "web", "port": 80, "targetPort": "prom"}]}}


class ExplainTest(unittest.TestCase):
    agent = None

    @classmethod
    def setUpClass(cls):
        cls.tell()
        argv = [sys.executable, os.path.join(TOOLS, "node/apiserver.py"), "--objects", NODE.path("objects.json")]
        api = NODE.spawn("apiserver", [*argv, "--listen", f"{NODE.ip}:{API_PORT}", "--log", NODE.path("apiserver.requests")])
        wait_until("the API server to listen", lambda: answers(NODE.ip, API_PORT), 20, api)
        app = python_app()
        app.name, app.namespace, app.labels, app.annotations = "my-app-1", "default", {"app": "my-app"}, {}
        app.containers[0]["name"] = "my-app"
        NODE.add_pod(app)
        cls.app = app
        cls.agent = Agent(NODE, BINARY, {
            "telemetry": {"enabled": False},
            "global": {"scrape_interval": "1s", "scrape_timeout": "500ms"},
            "kubernetes": {"api_server": f"http://{NODE.ip}:{API_PORT}", "startup_jitter": "0s"},
            "monitors": {"service_monitor_selector": {"matchLabels": {"team": "a"}}, "pod_monitor_selector": {}},
        })

    @classmethod
    def tearDownClass(cls):
        cls.agent.stop()

    def tearDown(self):
        self.tell()
        outcome = self._outcome.result
        if any(test is self for test, _ in outcome.failures + outcome.errors):
            print(f"--- gleaner's log\n{self.agent.process.log_tail(30)}")

    @classmethod
    def tell(cls, **objects):
        NODE.write("objects.json", json.dumps({"services": [], "servicemonitors": [], "podmonitors": [], **objects}))

    def pod(self, pod):
        NODE.add_pod(pod, wait=bool(pod.processes))
        self.addCleanup(NODE.remove_pod, pod.name)

    def explain(self, *arguments):
        done = subprocess.run([BINARY, "explain", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.code = done.returncode
        return done.stdout

    def expect(self, arguments, *texts):
        """Until the answer has all texts."""
        try:
            wait_until(f"explain {arguments} to say {texts}", lambda: all(text in self.explain(*arguments) for text in texts), 15)
        except Failed:
            self.fail(f"explain {arguments} does not say {texts}, but\n{self.explain(*arguments)}")
        if PRINT:
            print(f"$ gleaner explain {' '.join(arguments)}\n{self.explain(*arguments)}")

    def test_01_pod_has_no_annotation_and_no_monitor(self):
        self.expect(["--pod", "default/my-app-1"], "Pod default/my-app-1: not scraped: nothing selects it", "it has no annotation prometheus.io/scrape")

    def test_02_annotation_is_wrong(self):
        bad = {"prometheus.io/scrape": "true", "prometheus.io/port": "nine"}
        for name, annotations in ("yes-1", {"prometheus.io/scrape": "yes"}), ("port-1", bad):
            self.pod(Pod(name, [], [{"name": "app", "ports": [{"name": "http", "containerPort": 8000}]}], annotations=annotations))
        self.expect(["--pod", "default/yes-1"], 'its annotation prometheus.io/scrape is "yes", not "true"')
        self.expect(["--pod", "default/port-1"], 'annotation prometheus.io/port: "nine" is not the name of a TCP port of the pod')

    def test_03_selector_of_the_monitor_matches_no_service(self):
        self.tell(services=[service("my-app", {"app": "other"}, {"app": "my-app"})], servicemonitors=[service_monitor("my-app", "my-app", "web")])
        self.expect(["--monitor", "default/my-app"], "its selector matches no Service", 'label app is "other"; it must be "my-app"')

    def test_04_service_selects_no_pod_of_this_node(self):
        self.tell(services=[service("my-app", {"app": "my-app"}, {"app": "shop"})], servicemonitors=[service_monitor("my-app", "my-app", "web")])
        self.expect(["--monitor", "default/my-app"], "no pod of this node is behind the Services", "0 pods of this node behind it")
        self.expect(["--pod", "default/elsewhere"], "not known on this node", "kubectl get pod -o wide")
        self.assertEqual(self.code, 1)

    def test_05_endpoint_names_a_port_that_the_service_does_not_have(self):
        self.tell(services=[service("my-app", {"app": "my-app"}, {"app": "my-app"})], servicemonitors=[service_monitor("my-app", "my-app", "prom")])
        self.expect(["--monitor", "default/my-app"], "ports: web 80", 'port_name="web"', "Next: ")

    def test_06_relabel_rule_drops_it(self):
        rule = {"action": "drop", "sourceLabels": ["__meta_kubernetes_pod_label_app"], "regex": "my-.*"}
        self.tell(podmonitors=[pod_monitor("direct", "my-app", "prom", {"relabelings": [rule]})])
        self.expect(["--pod", "default/my-app-1"], "relabel rule", '=~ "my-.*"; there: __meta_kubernetes_pod_label_app="my-app"')

    def test_07_monitor_is_not_selected(self):
        self.tell(services=[service("my-app", {"app": "my-app"}, {"app": "my-app"})], servicemonitors=[service_monitor("my-app", "my-app", "web", team="b")])
        self.expect(["--monitor", "default/my-app"], "ServiceMonitor default/my-app: not selected: its labels do not match the configured selector")
        self.expect(["--pod", "default/my-app-1"], "not scraped: it would select the pod, but is not selected itself")

    def test_08_target_is_down(self):
        for pod in server("error-1", status=500), server("slow-1", delay=3), server("page-1"):
            self.pod(pod)
        self.pod(Pod("closed-1", [], [{"name": "app", "ports": [{"name": "http", "containerPort": 8000}]}], labels={"app": "closed-1"}))
        self.tell(podmonitors=[pod_monitor(name, name, "http") for name in ("error-1", "slow-1", "page-1", "closed-1")])
        for name, text in ("error-1", "500"), ("slow-1", "(timeout)"), ("page-1", "(parse)"), ("closed-1", "Connection refused"):
            self.expect(["--pod", f"default/{name}"], f"Pod default/{name}: scraped as 1 target, 1 of them down", text, "Next: ")

    def test_09_limit_was_hit(self):
        self.tell(podmonitors=[
            pod_monitor("samples", "my-app", "prom", sampleLimit=1), pod_monitor("bytes", "my-app", "prom", bodySizeLimit="10B"),
        ])
        self.expect(["--monitor", "default/samples"], "(sample_limit)", "Next: raise sample_limit")
        self.expect(["--monitor", "default/bytes"], "(body_limit)", "Next: raise body_size_limit")

    def test_10_monitor_has_a_refused_field_or_a_missing_secret(self):
        secret = {"name": "login", "key": "user"}
        self.tell(podmonitors=[
            pod_monitor("oauth", "my-app", "prom", {"oauth2": {"tokenUrl": "https://login"}}),
            pod_monitor("secret", "my-app", "prom", {"basicAuth": {"username": secret, "password": secret}}),
        ])
        self.expect(["--monitor", "default/oauth"], "Refused: spec.podMetricsEndpoints[0].oauth2")
        self.expect(["--monitor", "default/secret"], "not scraped: spec.podMetricsEndpoints[0].basicAuth")

    def test_11_what_is_scraped_is_said_and_the_node_is_summed_up(self):
        self.tell(services=[service("my-app", {"app": "my-app"}, {"app": "my-app"})], servicemonitors=[service_monitor("my-app", "my-app", "web")])
        where = f"{self.app.ip}:{self.app.ports()[0]}"
        self.expect(["--pod", "default/my-app-1"], "Pod default/my-app-1: scraped as 1 target\n", f"http://{where}/metrics: up")
        self.expect([where], f"Address {where}: scraped as 1 target")
        self.expect([], "Node node-a: 1 target: 1 up", "ServiceMonitor: 1 of 1 selected", "serviceMonitor/default/my-app/0: 1 target")
        self.assertTrue(json.loads(self.explain("--json", "--pod", "default/my-app-1"))["data"]["scraped"])


def main():
    global BINARY, NODE, PRINT  # pylint: disable=global-statement
    if "--print" in sys.argv:
        PRINT = True
        sys.argv.remove("--print")
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
