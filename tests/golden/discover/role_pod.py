#!/usr/bin/env python3
"""Writes what role=pod finds in a captured PodList, by Prometheus' rules: the oracle of the test discover.captured.

    python3 role_pod.py ../kubernetes/kubelet_pods.json > role_pod.txt

It shares nothing with the agent but the rules (Prometheus, documentation of kubernetes_sd_config, role pod). One line
for each target: its labels as {a="b", ...}. Pods in the order of their uid; what is empty is absent. Where gleaner differs on
purpose: the sidecar label, no annotation value above 4 KiB, no last-applied-configuration (it holds the whole pod again), no
kubernetes.io/config.* (each source of pods writes others). A static pod belongs to its node: so says its mirror in the API.
"""
import json
import re
import sys

META = "__meta_kubernetes_"


def sanitised(name):
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def pod_labels(pod):
    meta, status = pod["metadata"], pod["status"]
    labels = {
        "namespace": meta["namespace"],
        "pod_name": meta["name"],
        "pod_uid": meta["uid"],
        "pod_ip": status["podIP"],
        "pod_host_ip": status.get("hostIP", ""),
        "pod_node_name": pod["spec"].get("nodeName", ""),
        "pod_phase": status["phase"],
        "pod_ready": "unknown",
    }
    for condition in status.get("conditions", []):
        if condition["type"] == "Ready":
            labels["pod_ready"] = condition["status"].lower()
    for owner in meta.get("ownerReferences", []):
        if owner.get("controller"):
            labels["pod_controller_kind"], labels["pod_controller_name"] = owner["kind"], owner["name"]
    if meta.get("annotations", {}).get("kubernetes.io/config.source", "api") != "api":
        labels["pod_controller_kind"], labels["pod_controller_name"] = "Node", labels["pod_node_name"]
    for name, value in meta.get("labels", {}).items():
        labels["pod_label_" + sanitised(name)] = value
        labels["pod_labelpresent_" + sanitised(name)] = "true"
    for name, value in meta.get("annotations", {}).items():
        if name == "kubectl.kubernetes.io/last-applied-configuration" or name.startswith("kubernetes.io/config."):
            continue
        if len(value.encode()) <= 4096:
            labels["pod_annotation_" + sanitised(name)] = value
        labels["pod_annotationpresent_" + sanitised(name)] = "true"
    return labels


def targets(pod):
    status, spec = pod["status"], pod["spec"]
    if not status.get("podIP"):
        return
    for key, init in (("containers", False), ("initContainers", True)):
        ids = {s["name"]: s.get("containerID", "") for s in status.get(key[:-1] + "Statuses", [])}
        for container in spec.get(key, []):
            labels = pod_labels(pod) | {
                "pod_container_name": container["name"],
                "pod_container_image": container["image"],
                "pod_container_id": ids.get(container["name"], ""),
                "pod_container_init": str(init).lower(),
                "pod_container_sidecar": str(init and container.get("restartPolicy") == "Always").lower(),
            }
            if not container.get("ports"):
                yield labels, status["podIP"]
            for port in container.get("ports", []):
                host = "[%s]" % status["podIP"] if ":" in status["podIP"] else status["podIP"]
                yield labels | {
                    "pod_container_port_name": port.get("name", ""),
                    "pod_container_port_number": str(port["containerPort"]),
                    "pod_container_port_protocol": port.get("protocol", "TCP"),
                }, "%s:%d" % (host, port["containerPort"])


def escaped(value):
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


for pod in sorted(json.load(open(sys.argv[1]))["items"], key=lambda pod: pod["metadata"]["uid"]):
    for meta, address in targets(pod):
        labels = {"__address__": address} | {META + name: value for name, value in meta.items()}
        pairs = sorted((name.encode(), name, value) for name, value in labels.items() if value)
        print("{" + ", ".join('%s="%s"' % (name, escaped(value)) for _, name, value in pairs) + "}")
