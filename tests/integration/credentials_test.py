#!/usr/bin/python3
"""Credentials on the small node: they open doors, rotate without a gap in any other target, and go to nobody else.

    tools/with-node tests/integration/credentials_test.py GLEANER [TEST...]
"""
import base64
import os
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "../../tools")]

# pylint: disable=wrong-import-position
from node.agent import Agent
from node.exporters import PYTHON, container
from node.node import Pod, small_node
from node.process import Failed, answers, wait_until

BINARY, NODE = None, None  # set once, by main
PORT = 9500
META = "__meta_kubernetes_pod_"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def guarded_pod(name, *options, **files):
    command = [PYTHON, os.path.join(HERE, "guarded.py"), str(PORT), "{folder}", *options]
    # The folder is there only with a file in it.
    return Pod(name, [("exporter", command)], [container(name, PORT, name)], files={"made": "", **files})


def job(pod, *relabel, **more):
    keep = {"source_labels": [META + "name"], "regex": pod, "action": "keep"}
    return {
        "job_name": pod,
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [keep, *relabel],
        **more,
    }


class Authority:
    """A CA in a folder of the node, and certificates of it."""

    def __init__(self, name):
        self.folder = os.path.dirname(NODE.path("authorities", name, "x"))
        self.make("req", "-x509", "-subj", f"/CN={name}", *self.new_key("ca"), "-out", self.at("ca.pem"))

    def at(self, name):
        return os.path.join(self.folder, name)

    def new_key(self, name):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.at(name + ".key")

    def make(self, *words):
        subprocess.run(["openssl", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sign(self, name, alternative):
        """(certificate, key) as texts; their files are world-readable, for gleaner's user."""
        request, extension = self.at(name + ".csr"), self.at(name + ".ext")
        with open(extension, "w", encoding="utf-8") as file:
            file.write(f"subjectAltName={alternative}\n")
        self.make("req", "-subj", f"/CN={name}", *self.new_key(name), "-out", request)
        signed = self.at(name + ".pem")
        issuer = ("-CA", self.at("ca.pem"), "-CAkey", self.at("ca.key"), "-CAcreateserial")
        self.make("x509", "-req", "-in", request, *issuer, "-extfile", extension, "-days", "2", "-out", signed)
        os.chmod(self.at(name + ".key"), 0o644)
        return self.read(name + ".pem"), self.read(name + ".key")

    def read(self, name):
        with open(self.at(name), encoding="utf-8") as file:
            return file.read()


class CredentialsTest(unittest.TestCase):
    agent = None

    def tearDown(self):
        if self.agent and self.agent.process.running():
            self.agent.stop()
        outcome = self._outcome.result
        if self.agent and any(test is self for test, _ in outcome.failures + outcome.errors):
            print(f"--- gleaner's log\n{self.agent.process.log_tail(60)}")

    def start(self, *jobs, **more):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
            "annotations": {"enabled": False},
            "telemetry": {"enabled": False},
            "scrape_configs": list(jobs),
        }
        self.agent = Agent(NODE, BINARY, {**config, **more})
        return self.agent

    def add(self, pod):
        NODE.add_pod(pod)
        self.addCleanup(NODE.remove_pod, pod.name)
        return pod

    def target(self, pool):
        return next((target for target in self.agent.targets() if target["scrapePool"] == pool), None)

    def wait_for(self, pool, health, seconds=15):
        def is_so():
            target = self.target(pool)
            return target and target["health"] == health and target

        return wait_until(f"{pool} to be {health}", is_so, seconds, self.agent.process)

    def visits(self, pod):
        """The Authorization headers that a guarded pod was shown."""
        path = NODE.path("pods", pod.name, "log")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()

    # -- doors

    def test_password_that_rotates_loses_no_target(self):
        pod = self.add(guarded_pod("guarded", expected=basic("admin", "one")))
        password = NODE.write("secrets/password", "one\n")
        os.chmod(password, 0o644)
        auth = {"username": "admin", "password_file": password}
        self.start(job("guarded", basic_auth=auth))
        scrapes = self.wait_for("guarded", "up")["scrapes"]
        NODE.write(f"pods/{pod.name}/expected", basic("admin", "two"))
        self.assertIn("401 Unauthorized", self.wait_for("guarded", "down", 5)["lastError"])
        rotated = time.monotonic()
        os.chmod(NODE.write("secrets/password", "two\n"), 0o644)
        self.assertGreater(self.wait_for("guarded", "up", 10)["scrapes"], scrapes, "the target began anew")
        print(f"a password that was written anew opened the door {time.monotonic() - rotated:.1f} s later")
        self.assertEqual(set(self.visits(pod)), {basic("admin", "one"), basic("admin", "two")})
        self.assertGreaterEqual(self.agent.metrics()["gleaner_credential_reads_total"], 1)
        os.unlink(password)
        wait_until("it to be said", lambda: "its last credentials stay" in self.agent.process.log_text(), 15)
        self.wait_for("guarded", "up")

    def test_reload_with_another_token_keeps_the_target(self):
        pod = self.add(guarded_pod("guarded", expected="Bearer one"))
        self.start(job("guarded", authorization={"credentials": "one"}))
        scrapes = self.wait_for("guarded", "up")["scrapes"]
        NODE.write(f"pods/{pod.name}/expected", "Bearer two")
        self.wait_for("guarded", "down", 5)
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
            "annotations": {"enabled": False},
            "telemetry": {"enabled": False},
        }
        self.agent.configure({**config, "scrape_configs": [job("guarded", authorization={"credentials": "two"})]})
        self.agent.reload()
        self.assertGreater(self.wait_for("guarded", "up", 5)["scrapes"], scrapes, "the target began anew")

    def test_client_certificate_opens_a_door(self):
        authority = Authority("cluster")
        cert, key = authority.sign("exporter", "DNS:exporter.example")
        authority.sign("gleaner", "DNS:gleaner")
        files = {"cert.pem": cert, "key.pem": key, "ca.pem": authority.read("ca.pem")}
        self.add(guarded_pod("locked", "--client-ca", "--tls", **files))
        tls = {"ca_file": authority.at("ca.pem"), "server_name": "exporter.example", "min_version": "TLS13"}
        ours = {"cert_file": authority.at("gleaner.pem"), "key_file": authority.at("gleaner.key")}
        self.start(
            job("locked", scheme="https", tls_config={**tls, **ours}),
            {**job("locked", scheme="https", tls_config=tls), "job_name": "without"},
            {**job("locked", scheme="https", tls_config={**ours, "server_name": "exporter.example"}), "job_name": "no ca"},
        )
        self.wait_for("locked", "up")
        self.wait_for("without", "down")
        self.assertIn("certificate", self.wait_for("no ca", "down")["lastError"])

    def test_versions_of_tls_have_bounds(self):
        authority = Authority("versions")
        cert, key = authority.sign("exporter", "DNS:exporter.example")
        files = {"cert.pem": cert, "key.pem": key}
        self.add(guarded_pod("old", "--tls", "TLSv1_1", **files))
        self.add(guarded_pod("new", "--tls", "TLSv1_3", **files))
        tls = {"ca_file": authority.at("ca.pem"), "server_name": "exporter.example"}
        self.start(
            job("old", scheme="https", tls_config={**tls, "min_version": "TLS10"}),
            {**job("old", scheme="https", tls_config=tls), "job_name": "too old"},
            job("new", scheme="https", tls_config=tls),
            {**job("new", scheme="https", tls_config={**tls, "max_version": "TLS12"}), "job_name": "too new"},
        )
        self.wait_for("old", "up")
        self.wait_for("new", "up")
        self.assertIn("TLS", self.wait_for("too old", "down")["lastError"])
        self.assertIn("TLS", self.wait_for("too new", "down")["lastError"])

    # -- nobody else

    def test_no_other_address_is_sent_anything(self):
        thief = self.add(guarded_pod("thief"))
        self.add(guarded_pod("victim"))
        self.add(guarded_pod("mover", "--redirect", f"http://{thief.ip}:{PORT}/metrics"))
        to = lambda address: {"target_label": "__address__", "replacement": f"{address}:{PORT}"}
        secret = {"authorization": {"credentials": "hunter2"}}
        self.start(
            {**job("victim", to(thief.ip), **secret), "job_name": "other pod"},
            {**job("victim", to("192.0.2.99"), **secret), "job_name": "other host"},
            {**job("victim", to("thief.example"), **secret), "job_name": "name"},
            job("mover", **secret),
        )
        self.assertIn("is not an address of pod default/victim", self.wait_for("other pod", "down")["lastError"])
        self.wait_for("other host", "down")
        self.wait_for("name", "down")
        self.assertIn("302 Found", self.wait_for("mover", "down")["lastError"])
        time.sleep(3)
        self.assertEqual(self.visits(thief), [])

    def test_secrets_are_shown_nowhere(self):
        pod = self.add(guarded_pod("guarded", expected=basic("admin", "hunter2")))
        token = job("guarded", authorization={"credentials": "hunter3"})
        self.start(
            job("guarded", basic_auth={"username": "admin", "password": "hunter2"}),
            {**token, "job_name": "refused"},
            log={"level": "debug"},
        )
        self.wait_for("guarded", "up")
        self.wait_for("refused", "down")
        shown = [self.agent.get(path) for path in ("/config", "/targets", "/metrics", "/api/v1/targets")]
        shown.append(self.agent.process.log_text())
        check = [self.agent.binary, "check", self.agent.config]
        shown.append(subprocess.run(check, stdout=subprocess.PIPE, text=True, check=False).stdout)
        self.assertIn("<secret>", shown[0])
        for text in shown:
            self.assertNotIn("hunter", text)
            self.assertNotIn(basic("admin", "hunter2")[6:], text)
        self.assertIn("Bearer hunter3", self.visits(pod))

    # -- the kubelet's own endpoints

    def wait_for_kubelet(self):
        for name in ("metrics", "cadvisor", "probes", "resource"):
            self.wait_for(f"kubelet/{name}", "up")

    def test_endpoints_of_the_kubelet_are_scraped_with_its_token(self):
        self.start(kubelet={"metrics": ["metrics", "cadvisor", "probes", "resource"]})
        self.wait_for_kubelet()
        labels = self.target("kubelet/cadvisor")["labels"]
        self.assertEqual(
            labels,
            {
                "job": "kubelet",
                "instance": f"{NODE.ip}:{NODE.kubelet_port}",
                "metrics_path": "/metrics/cadvisor",
                "node": NODE.name,
            },
        )
        scrapes = self.target("kubelet/cadvisor")["scrapes"]
        self.assertEqual(NODE.kubelet_control("rotate"), "ok")
        time.sleep(2.5)
        self.wait_for_kubelet()
        self.assertGreater(self.target("kubelet/cadvisor")["scrapes"], scrapes)

    def test_kubelet_whose_certificate_names_the_node_only(self):
        folder, port = os.path.dirname(NODE.path("kubelet-by-name", "x")), NODE.kubelet_port + 1
        command = [PYTHON, os.path.join(HERE, "../../tools/kubelet"), "--pods", NODE.path("pods.json"), "--dir", folder]
        where = ["--listen", f"{NODE.ip}:{port}", "--node", NODE.name, "--host-ip", NODE.ip, "--dns-only"]
        kubelet = NODE.spawn("kubelet-by-name", [*command, *where])
        self.addCleanup(kubelet.stop)
        wait_until("it to listen", lambda: answers(NODE.ip, port), 20, kubelet)
        files = {name: os.path.join(folder, name) for name in ("token", "ca.crt")}
        for path in files.values():
            os.chmod(path, 0o644)
        self.start(
            kubelet={
                "metrics": ["metrics", "probes"],
                "endpoint": f"https://{NODE.ip}:{port}",
                "token_file": files["token"],
                "tls": {"ca_file": files["ca.crt"]},
            }
        )
        self.wait_for("kubelet/metrics", "up", 5)
        self.wait_for("kubelet/probes", "up", 5)
        self.agent.reload()  # what was found out is not forgotten
        time.sleep(2.5)
        self.wait_for("kubelet/metrics", "up", 0.1)


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
