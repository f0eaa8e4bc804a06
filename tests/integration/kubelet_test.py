#!/usr/bin/python3
"""The stand-in kubelet answers as the captured one: byte by byte where the answer is fixed, field by field where it is not."""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
GOLDEN = os.path.join(HERE, "../golden/kubernetes")
KUBELET = os.path.join(HERE, "../../tools/kubelet")
PODS = {
    "pods": [
        {
            "name": "web-1",
            "namespace": "shop",
            "ip": "10.244.0.5",
            "labels": {"app": "web"},
            "annotations": {"prometheus.io/scrape": "true"},
            "owner": {"kind": "ReplicaSet", "name": "web-5d4f"},
            "containers": [{"name": "app", "ports": [{"name": "metrics", "containerPort": 9100}]}],
        }
    ]
}


def golden(name):
    with open(os.path.join(GOLDEN, name), "rb") as file:
        return file.read()


def undated(answer):
    return re.sub(rb"Date: [^\r]*", b"Date: -", answer)


def shape(value):
    """The set of paths in a JSON value, without what depends on names."""
    if isinstance(value, dict):
        return {
            f"{re.sub(r'^[kf]:.*', 'managed', key)}/{below}"
            for key, item in value.items()
            for below in shape(item) or {""}
        }
    if isinstance(value, list):
        return {below for item in value for below in shape(item)}
    return {type(value).__name__}


class KubeletTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.pods = os.path.join(cls.folder.name, "pods.json")
        cls.describe(PODS)
        cls.process = subprocess.Popen(
            [sys.executable, KUBELET, "--pods", cls.pods, "--dir", cls.folder.name, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        cls.port = int(cls.process.stdout.readline().rsplit(":", 1)[1])

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        cls.process.wait()
        cls.process.stdout.close()
        cls.folder.cleanup()

    @classmethod
    def describe(cls, pods):
        with open(cls.pods + ".new", "w", encoding="utf-8") as file:
            json.dump(pods, file)
        os.rename(cls.pods + ".new", cls.pods)

    def ask(self, token="token", path="/pods"):
        """The whole answer to one request, as bytes."""
        tls = ssl.create_default_context(cafile=os.path.join(self.folder.name, "ca.crt"))
        authorization = ""
        if token:
            with open(os.path.join(self.folder.name, token), encoding="utf-8") as file:
                authorization = f"Authorization: Bearer {file.read()}\r\n"
        with tls.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port)), server_hostname="node-a"
        ) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: node-a\r\nConnection: close\r\n{authorization}\r\n".encode()
            )
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def control(self, *words):
        done = subprocess.run(
            [sys.executable, KUBELET, "--dir", self.folder.name, "--control", *words],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def body(self, answer):
        rest, body = answer.split(b"\r\n\r\n", 1)[1], b""
        while True:
            size, rest = rest.split(b"\r\n", 1)
            if int(size, 16) == 0:
                return body
            body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]

    def test_refusals_are_the_captured_ones(self):
        self.assertEqual(undated(self.ask(token=None)), undated(golden("kubelet_pods_401.http")))
        self.assertEqual(undated(self.ask(token="token-norights")), undated(golden("kubelet_pods_403.http")))

    def test_headers_are_the_captured_ones(self):
        head = self.ask().split(b"\r\n\r\n", 1)[0] + b"\r\n\r\n"
        self.assertEqual(undated(head).strip(), undated(golden("kubelet_pods_200.headers")).strip())

    def test_pod_has_the_fields_of_the_captured_one_and_the_facts_of_the_description(self):
        captured = next(
            pod
            for pod in json.loads(golden("kubelet_pods.json"))["items"]
            if pod["metadata"]["name"].startswith("my-app-")
        )
        [pod] = json.loads(self.body(self.ask()))["items"]
        for made in (pod, captured):
            for field in ("labels", "annotations"):
                made["metadata"][field] = {}
        self.assertEqual(shape(pod), shape(captured))
        self.assertEqual(
            (pod["metadata"]["name"], pod["metadata"]["namespace"], pod["status"]["podIP"]),
            ("web-1", "shop", "10.244.0.5"),
        )
        self.assertEqual(
            pod["spec"]["containers"][0]["ports"], [{"name": "metrics", "containerPort": 9100, "protocol": "TCP"}]
        )

    def test_description_is_read_again_when_it_changes(self):
        self.describe({"pods": [*PODS["pods"], {"name": "second"}]})
        self.assertEqual(len(json.loads(self.body(self.ask()))["items"]), 2)
        self.describe(PODS)

    def test_misbehaves_for_one_poll(self):
        for word in ("null", "vanish", "drip"):
            self.assertEqual(self.control(word), "ok")
        self.assertEqual(self.body(self.ask()), golden("kubelet_pods_empty.json"))
        self.assertEqual(json.loads(self.body(self.ask()))["items"], [])
        dripped = self.ask()
        self.assertGreater(dripped.count(b"\r\n1\r\n"), 2_000_000)
        self.assertEqual(len(json.loads(self.body(self.ask()))["items"]), 1)


if __name__ == "__main__":
    unittest.main()
