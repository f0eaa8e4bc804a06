"""Pods with real exporters from Debian, started as people start them."""

import os

from .node import ROOT, Pod

PAGES_PORT = 9300
PYTHON = "/usr/bin/python3"  # Debian's own: it has python3-prometheus-client


def annotations(port, **more):
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), **more}


def container(name, port, port_name="metrics", image=None):
    return {"name": name, "image": image or f"{name}:12", "ports": [{"name": port_name, "containerPort": port}]}


def node_exporter():
    return Pod(
        "node-exporter",
        [("exporter", ["prometheus-node-exporter", "--web.listen-address=:9100"])],
        [container("node-exporter", 9100)],
        namespace="monitoring",
        labels={"app": "node-exporter"},
        annotations=annotations(9100),
        owner={"kind": "DaemonSet", "name": "node-exporter"},
    )


def redis():
    return Pod(
        "redis-0",
        [
            ("server", ["redis-server", "--port", "6379", "--save", "", "--dir", "{folder}"]),
            (
                "exporter",
                ["prometheus-redis-exporter", "-redis.addr", "redis://127.0.0.1:6379", "-web.listen-address", ":9121"],
            ),
        ],
        [
            {"name": "redis", "image": "redis:7", "ports": [{"name": "redis", "containerPort": 6379}]},
            container("exporter", 9121),
        ],
        namespace="shop",
        labels={"app": "redis"},
        annotations=annotations(9121),
        owner={"kind": "StatefulSet", "name": "redis"},
    )


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; user root;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server { listen 8080; location = /stub_status { stub_status; } location / { return 200 "hello"; } }
}
"""


def nginx():
    return Pod(
        "web-7c9d-x2x4b",
        [
            ("server", ["nginx", "-p", "{folder}", "-e", "{folder}/error.log", "-c", "{folder}/nginx.conf"]),
            (
                "exporter",
                [
                    "prometheus-nginx-exporter",
                    "-nginx.scrape-uri=http://127.0.0.1:8080/stub_status",
                    "-nginx.retries=20",
                    "-nginx.retry-interval=250ms",
                    "-web.listen-address=:9113",
                ],
            ),
        ],
        [
            {"name": "nginx", "image": "nginx:1.22", "ports": [{"name": "http", "containerPort": 8080}]},
            container("exporter", 9113),
        ],
        files={"nginx.conf": NGINX},
        namespace="shop",
        labels={"app": "web", "pod-template-hash": "7c9d"},
        annotations=annotations(9113),
        owner={"kind": "ReplicaSet", "name": "web-7c9d"},
    )


PROMETHEUS = """
global: {scrape_interval: 5s}
scrape_configs: [{job_name: self, static_configs: [{targets: ["127.0.0.1:9090"]}]}]
"""


def prometheus():
    return Pod(
        "prometheus-0",
        [
            (
                "server",
                [
                    "prometheus",
                    "--config.file={folder}/prometheus.yml",
                    "--storage.tsdb.path={folder}/data",
                    "--web.listen-address=:9090",
                    "--web.console.templates={folder}",
                    "--web.console.libraries={folder}",
                ],
            )
        ],
        [container("prometheus", 9090)],
        files={"prometheus.yml": PROMETHEUS},
        namespace="monitoring",
        labels={"app": "prometheus"},
        annotations=annotations(9090),
        owner={"kind": "StatefulSet", "name": "prometheus"},
    )


def python_app():
    app = os.path.join(ROOT, "tests/interop/app.py")
    return Pod(
        "my-app-595b6bdcd7-pkkzg",
        [("app", [PYTHON, app])],
        [container("app", 18080, "prom", "app:1")],
        labels={"app": "my-app", "pod-template-hash": "595b6bdcd7"},
        annotations=annotations(18080),
        owner={"kind": "ReplicaSet", "name": "my-app-595b6bdcd7"},
    )


def late_app(go):
    """Its port opens once the file `go` is there."""
    late = os.path.join(ROOT, "tests/integration/late.py")
    return Pod(
        "job-1-9xq2p",
        [("app", [PYTHON, late, "8000", "1", "0", go, "{folder}/log"])],
        [container("app", 8000, image="late:1")],
        labels={"app": "late"},
        annotations=annotations(8000),
        owner={"kind": "Job", "name": "job-1"},
        ready_ports=[],
    )


def all_exporters():
    return [node_exporter(), redis(), nginx(), prometheus(), python_app()]


def pages_pod(node, names):
    """tests/interop/pages.py, one port a page, the port's name is the page's. node.write("phase", "2") makes series leave."""
    folder = os.path.join(ROOT, "tests/interop")
    ports = [{"name": name, "containerPort": port} for port, name in enumerate(names, PAGES_PORT)]
    return Pod(
        "pages",
        [
            (
                "server",
                [
                    PYTHON,
                    os.path.join(folder, "pages.py"),
                    os.path.join(folder, "pages"),
                    str(PAGES_PORT),
                    node.write("phase", "1"),
                ],
            )
        ],
        [{"name": "server", "image": "pages:1", "ports": ports}],
        namespace="interop",
        labels={"app": "pages"},
        owner={"kind": "DaemonSet", "name": "pages"},
    )
