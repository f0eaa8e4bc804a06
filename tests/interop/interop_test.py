#!/usr/bin/python3
"""gleaner and the Collector's own prometheusreceiver scrape the same exporters at the same time; both results go through a real
Collector into the sink, and differ.py compares them.

    tools/with-node tests/interop/interop_test.py GLEANER [--seconds 24] [--keep FILE]

gleaner finds the targets through the stand-in kubelet (kubernetes_sd_configs, role pod); the receiver has them as static_configs with the
same __meta_kubernetes_* labels, made here by Prometheus' rules from the same description. Both have the same relabelling.
"""

import argparse
import os
import shutil
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../tools")]

# pylint: disable=wrong-import-position
import differ
import pages
from node.agent import Agent
from node.exporters import all_exporters, pages_pod
from node.gateway import Gateway, Sink
from node.node import small_node
from node.process import Failed, wait_until

INTERVAL = "2s"
PAGES = pages.page_names(os.path.join(HERE, "pages"))


def safe(name):
    return "".join(char if char.isascii() and (char.isalnum() or char == "_") else "_" for char in name)


def meta_labels(pod, node, container, port):
    """A pod's labels as Prometheus' kubernetes_sd gives them for role pod."""
    meta = {
        "namespace": pod.namespace,
        "pod_name": pod.name,
        "pod_ip": pod.ip,
        "pod_ready": "true",
        "pod_phase": "Running",
        "pod_node_name": node.name,
        "pod_host_ip": node.ip,
        "pod_uid": pod.uid,
        "pod_container_name": container["name"],
        "pod_container_image": container["image"],
        "pod_container_init": "false",
        "pod_container_port_name": port["name"],
        "pod_container_port_number": str(port["containerPort"]),
        "pod_container_port_protocol": "TCP",
    }
    if pod.owner:
        meta["pod_controller_kind"], meta["pod_controller_name"] = pod.owner["kind"], pod.owner["name"]
    for what in ("label", "annotation"):
        for name, value in getattr(pod, what + "s").items():
            meta[f"pod_{what}_{safe(name)}"] = value
            meta[f"pod_{what}present_{safe(name)}"] = "true"
    return {f"__meta_kubernetes_{name}": value for name, value in meta.items()}


def static_configs(node):
    return [
        {"targets": [f"{pod.ip}:{port['containerPort']}"], "labels": meta_labels(pod, node, container, port)}
        for pod in node.pods.values()
        for container in pod.containers
        for port in container["ports"]
    ]


def jobs(discovery):
    """Both scrapers' jobs; only where the targets come from differs."""
    meta = "__meta_kubernetes_"
    targets = [
        {"source_labels": [meta + "namespace"], "target_label": "namespace"},
        {"source_labels": [meta + "pod_name"], "target_label": "pod"},
        {"source_labels": [meta + "pod_container_name"], "target_label": "container"},
        {"action": "labelmap", "regex": meta + "pod_label_(.+)"},
    ]
    port_name, app = meta + "pod_container_port_name", meta + "pod_label_app"
    common = {"scrape_interval": INTERVAL, "scrape_timeout": "1s", **discovery}
    exporters = {
        "job_name": "exporters",
        **common,
        "relabel_configs": [
            {"source_labels": [port_name], "regex": "metrics|prom", "action": "keep"},
            {"source_labels": [app], "target_label": "job"},
            *targets,
        ],
        "metric_relabel_configs": [
            {"source_labels": ["__name__"], "regex": "go_memstats_(alloc|heap).*", "action": "drop"},
            {
                "source_labels": ["__name__", "device"],
                "separator": "@",
                "regex": "node_network_info@(.+)",
                "target_label": "dev",
                "replacement": "dev-${1}",
            },
            {"regex": "dialer_name|listener_name", "action": "labeldrop"},
        ],
    }
    the_pages = {
        "job_name": "pages",
        **common,
        "relabel_configs": [
            {"source_labels": [app], "regex": "pages", "action": "keep"},
            {"source_labels": [port_name], "regex": "honoured", "action": "drop"},
            {"source_labels": [port_name], "regex": "(.+)", "target_label": "job", "replacement": "$1"},
            *targets,
        ],
    }
    honoured = {
        "job_name": "honoured",
        **common,
        "honor_labels": True,
        "relabel_configs": [{"source_labels": [port_name], "regex": "honoured", "action": "keep"}, *targets],
    }
    return [exporters, the_pages, honoured]


def everyone_scraped(points):
    """Whether both sides have delivered something of every target."""
    seen = {(point["from"], point["resource"].get("service.instance.id")) for point in points}
    wanted = len(all_exporters()) + len(PAGES)
    return all(len({instance for sender, instance in seen if sender == side}) >= wanted for side in differ.SIDES)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gleaner", help="the binary")
    parser.add_argument(
        "--seconds", type=float, default=24, help="how long both scrape, half of it before series leave"
    )
    parser.add_argument("--keep", help="copy the sink's points to this file")
    args = parser.parse_args()

    with small_node() as node:
        for pod in (*all_exporters(), pages_pod(node, [name for name, _ in PAGES])):
            node.add_pod(pod)
        node.start_kubelet()
        sink = Sink(node)
        gateway = Gateway(node, jobs({"static_configs": static_configs(node)}))
        agent = Agent(
            node,
            args.gleaner,
            {
                "scrape_configs": jobs({"kubernetes_sd_configs": [{"role": "pod"}]}),
                "annotations": {"enabled": False},
                "telemetry": {"enabled": False},
            },
        )
        points = []

        def collect():
            points.extend(sink.new_points())
            return everyone_scraped(points)

        wait_until("both scrapers to have seen every target", collect, 40, agent.process)
        time.sleep(args.seconds / 2)
        node.write("phase", "2")
        time.sleep(args.seconds / 2)
        agent.stop()
        gateway.stop()
        points.extend(sink.new_points())
        if args.keep:
            shutil.copy(sink.path, args.keep)
        print(f"{len(points)} data points from {len(all_exporters())} exporters and {len(PAGES)} pages")
        return 1 if differ.report(differ.compare(points)) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"interop: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
