#!/usr/bin/python3
"""What is installed on a cluster: the kustomization and the Helm chart make the same objects, and these keep their promises. No cluster is needed.

    tools/with-helm tests/deploy/deploy_test.py [TEST...]

The objects are compared field by field. Left aside is only what the two tools add each in their own way (TOOLS_OWN): labels of the release, the
hash that kustomize puts into the names of ConfigMaps, and the annotation that stands for it in the chart.
"""
import json
import os
import re
import subprocess
import tempfile
import unittest

import yaml

ROOT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../..")
DAEMONSET = os.path.join(ROOT, "deploy/daemonset")
CHART = os.path.join(ROOT, "deploy/helm/gleaner")
TOOLS_OWN = {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart", "checksum/config"}

# Component of the kustomization: the values that are the same in the chart.
VARIANTS = {
    "self-signed-kubelet": {"selfSignedKubelet": True},
    "ebpf": {"ebpf": {"enabled": True}},
    "pods-api": {"podsApi": True},
    "api-pods": {"apiPods": True},
    "kubelet-proxy-rbac": {"kubeletProxyRbac": True},
    "hostnetwork": {"hostNetwork": True},
    "namespace-selectors": {"namespaceSelectors": True},
    "secret-access": {"secretAccess": [{"namespace": "shop", "names": ["metrics-credentials"]}]},
    "pod-monitor": {"podMonitor": {"enabled": True}},
}
PRIVILEGED = {"self-signed-kubelet", "ebpf", "pods-api", "hostnetwork"}
RIGHTS = {
    ("", "services"): {"list", "watch"},
    ("monitoring.coreos.com", "servicemonitors"): {"list", "watch"},
    ("monitoring.coreos.com", "podmonitors"): {"list", "watch"},
    ("monitoring.coreos.com", "scrapeconfigs"): {"list", "watch"},
    ("", "nodes/pods"): {"get"},
    ("", "nodes/metrics"): {"get"},
}


def run(*argv, check=True):
    return subprocess.run(argv, check=check, capture_output=True, text=True)


def parsed(text):
    return [item for item in yaml.safe_load_all(text) if item]


def kustomized(*components):
    """The objects of the base with these components."""
    with tempfile.TemporaryDirectory(dir=DAEMONSET, prefix=".test-") as folder:
        with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as file:
            json.dump({"resources": ["../base"], "components": [f"../components/{name}" for name in components]}, file)
        return parsed(run("kustomize", "build", folder).stdout)


def helm(*values, check=True):
    """The output of `helm template` as release gleaner, with these values laid over each other."""
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for number, value in enumerate(values):
            files += ["--values", os.path.join(folder, str(number))]
            with open(files[-1], "w", encoding="utf-8") as file:
                json.dump(value, file)
        return run("helm", "template", "gleaner", CHART, "--namespace", "gleaner", *files, check=check)


def templated(*values):
    return parsed(helm(*values).stdout)


def comparable(value, hashed=frozenset()):
    """A value without what is the tools' own; lists of objects in one order, since theirs says nothing."""
    if isinstance(value, dict):
        kept = {key: comparable(item, hashed) for key, item in value.items() if key not in TOOLS_OWN}
        return {key: item for key, item in kept.items() if key != "annotations" or item}
    if isinstance(value, list):
        items = [comparable(item, hashed) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if items and isinstance(items[0], dict) else items
    return re.sub(r"-[a-z0-9]{10}$", "", value) if value in hashed else value


def by_name(objects):
    """{"Kind namespace/name": object}, ready for comparison; gleaner.yaml as what it says, not as text."""
    hashed = frozenset(item["metadata"]["name"] for item in objects if item["kind"] == "ConfigMap")
    found = {}
    for item in objects:
        item = comparable(item, hashed)
        if "gleaner.yaml" in item.get("data", {}):
            item["data"]["gleaner.yaml"] = yaml.safe_load(item["data"]["gleaner.yaml"])
        found[f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"] = item
    return found


def differences(one, other, path=""):
    """One line a field that differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [line for key in sorted(one.keys() | other.keys())
                for line in differences(one.get(key), other.get(key), f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for number, pair in enumerate(zip(one, other)) for line in differences(*pair, f"{path}[{number}]")]
    return [] if one == other else [f"{path}: kustomize {json.dumps(one)}, helm {json.dumps(other)}"]


def of_kind(objects, kind):
    return [item for item in objects if item["kind"] == kind]


def pod_of(objects):
    return of_kind(objects, "DaemonSet")[0]["spec"]["template"]["spec"]


def rights(objects):
    """{(group, resource): verbs} of all ClusterRoles."""
    return {(group, resource): set(rule["verbs"]) for role in of_kind(objects, "ClusterRole") for rule in role["rules"]
            for group in rule["apiGroups"] for resource in rule["resources"]}


class SameObjectsTest(unittest.TestCase):
    maxDiff = None

    def compare(self, components, *values):
        ours = {key: item for key, item in by_name(kustomized(*components)).items() if not key.startswith("Namespace ")}
        theirs = by_name(templated(*values))
        self.assertEqual(sorted(ours), sorted(theirs))
        self.assertEqual([line for key in ours for line in differences(ours[key], theirs[key], key)], [])

    def test_base_and_chart_make_the_same_objects(self):
        self.compare([])

    def test_each_component_and_its_value_make_the_same_objects(self):
        for component, value in VARIANTS.items():
            with self.subTest(component):
                self.compare([component], value)

    def test_all_components_together_and_all_values_make_the_same_objects(self):
        self.compare(list(VARIANTS), *VARIANTS.values())

    def test_every_component_is_compared(self):
        self.assertEqual(sorted(VARIANTS), sorted(os.listdir(os.path.join(DAEMONSET, "components"))))

    def test_a_difference_would_be_seen(self):
        base = by_name(kustomized())
        changed = by_name(templated({"resources": {"limits": {"memory": "1Gi"}}}))
        self.assertEqual(differences(base["DaemonSet gleaner/gleaner"], changed["DaemonSet gleaner/gleaner"]),
                         ['.spec.template.spec.containers[0].resources.limits.memory: kustomize "384Mi", helm "1Gi"'])


class ManifestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = kustomized()

    def test_overlays_are_the_base_and_the_component_of_their_name(self):
        for overlay in set(os.listdir(os.path.join(DAEMONSET, "overlays"))) - {"example"}:
            with self.subTest(overlay):
                self.assertEqual(parsed(run("kustomize", "build", os.path.join(DAEMONSET, "overlays", overlay)).stdout), kustomized(overlay))

    def test_overlay_changes_the_image_of_every_container_and_the_gateway_by_a_line_each(self):
        with tempfile.TemporaryDirectory(dir=DAEMONSET, prefix=".test-") as folder:
            with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as file:
                json.dump({"resources": ["../overlays/ebpf"], "images": [{"name": "localhost/gleaner", "newName": "registry.example.com/g", "newTag": "1"}],
                           "configMapGenerator": [{"name": "gleaner-env", "behavior": "merge", "literals": ["OTEL_EXPORTER_OTLP_ENDPOINT=http://other:4318"]}]}, file)
            objects = parsed(run("kustomize", "build", folder).stdout)
        self.assertEqual({container["image"] for container in pod_of(objects)["containers"]}, {"registry.example.com/g:1"})
        environment = [item["data"] for item in of_kind(objects, "ConfigMap") if "gleaner-env" in item["metadata"]["name"]][0]
        self.assertEqual((environment["OTEL_EXPORTER_OTLP_ENDPOINT"], environment["PROBE_SOCKET"]), ("http://other:4318", "/run/gleaner/probe.sock"))

    def test_rights_are_those_of_the_documentation_and_no_others(self):
        self.assertEqual(rights(self.base), RIGHTS)
        with open(os.path.join(ROOT, "docs/kubernetes.md"), encoding="utf-8") as file:
            rows = re.findall(r"^ *\| (?:`gleaner-[a-z]+`|) *\| (.*?) \| (.*?) \|", file.read(), re.M)
        told = {resource: set(verbs.split(", ")) for resources, verbs in rows for resource in re.findall(r"`([a-z/]+)`", resources)}
        self.assertEqual(told, {resource: verbs for (_, resource), verbs in RIGHTS.items()})

    def test_no_variant_lets_gleaner_write_or_list_secrets(self):
        for component in VARIANTS:
            for role in of_kind(kustomized(component), "ClusterRole") + of_kind(kustomized(component), "Role"):
                for rule in role["rules"]:
                    with self.subTest(component, role=role["metadata"]["name"]):
                        self.assertLessEqual(set(rule["verbs"]), {"get", "list", "watch"})
                        self.assertNotIn("*", rule["apiGroups"] + rule["resources"])
                        if "secrets" in rule["resources"]:
                            self.assertEqual((role["kind"], rule["verbs"]), ("Role", ["get"]))
                            self.assertTrue(rule["resourceNames"])

    def test_namespace_is_restricted_but_where_a_component_needs_more(self):
        for component in [None, *VARIANTS]:
            labels = of_kind(kustomized(*filter(None, [component])), "Namespace")[0]["metadata"]["labels"]
            level = "privileged" if component in PRIVILEGED else "restricted"
            with self.subTest(component):
                self.assertEqual({key: value for key, value in labels.items() if "pod-security" in key}, {
                    "pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/warn": level})

    def test_base_keeps_to_podsecurity_restricted(self):
        pod = pod_of(self.base)
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & set(pod))
        self.assertLessEqual({key for volume in pod["volumes"] for key in volume} - {"name"}, {"configMap", "projected"})
        for container in pod["containers"]:
            self.assertEqual(container["securityContext"], {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
            self.assertFalse([port for port in container["ports"] if "hostPort" in port])

    def test_only_the_probe_has_capabilities_and_only_two(self):
        containers = {container["name"]: container["securityContext"] for container in pod_of(kustomized(*VARIANTS))["containers"]}
        self.assertEqual(containers["gleaner"]["capabilities"], {"drop": ["ALL"]})
        self.assertEqual(containers["probe"]["capabilities"], {"drop": ["ALL"], "add": ["BPF", "PERFMON"]})
        self.assertTrue(all(not context["allowPrivilegeEscalation"] and context["readOnlyRootFilesystem"] for context in containers.values()))

    def test_probes_ask_the_port_that_is_listened_on(self):
        container = pod_of(self.base)["containers"][0]
        config = [item["data"]["gleaner.yaml"] for item in of_kind(self.base, "ConfigMap") if "gleaner.yaml" in item["data"]][0]
        self.assertEqual(yaml.safe_load(config)["status"]["listen"], "${env:STATUS_LISTEN:-0.0.0.0:%d}" % container["ports"][0]["containerPort"])
        for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": container["ports"][0]["name"]})


class ChartTest(unittest.TestCase):
    def test_chart_passes_helms_own_check(self):
        result = run("helm", "lint", "--strict", CHART, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_values_that_mean_nothing_are_refused_by_name(self):
        for value, word in (
            ({"ebpf": True}, "ebpf"),
            ({"ebpf": {"enable": True}}, "enable"),
            ({"gatway": {"endpoint": "http://x:4318"}}, "gatway"),
            ({"gateway": {"endpoint": "gateway:4318"}}, "endpoint"),
            ({"gateway": {}, "hostNetwork": "yes"}, "hostNetwork"),
            ({"secretAccess": [{"namespace": "shop"}]}, "names"),
            ({"secretAccess": [{"namespace": "shop", "names": []}]}, "names"),
            ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
            ({"env": {"A": 1}}, "env"),
        ):
            with self.subTest(value):
                result = helm(value, check=False)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn("values don't meet the specifications of the schema", result.stderr)
                self.assertIn(word, result.stderr)

    def test_every_value_has_its_place_in_the_schema(self):
        with open(os.path.join(CHART, "values.yaml"), encoding="utf-8") as values, open(os.path.join(CHART, "values.schema.json"), encoding="utf-8") as schema:
            # `global` is what helm itself passes to every chart.
            self.assertEqual(sorted([*yaml.safe_load(values), "global"]), sorted(json.load(schema)["properties"]))

    def test_another_release_name_keeps_out_of_the_way(self):
        objects = parsed(run("helm", "template", "second", CHART, "--namespace", "other").stdout)
        for item in objects:
            with self.subTest(item["kind"]):
                self.assertTrue(item["metadata"]["name"].startswith("second-gleaner"))
                self.assertEqual(item["metadata"].get("namespace", "other"), "other")
        selector = of_kind(objects, "DaemonSet")[0]["spec"]["selector"]["matchLabels"]
        self.assertEqual(selector["app.kubernetes.io/instance"], "second")

    def test_a_changed_configuration_rolls_out(self):
        def checksum(*values):
            return of_kind(templated(*values), "DaemonSet")[0]["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        sums = {checksum(), checksum({"config": {"log": {"level": "debug"}}}), checksum({"gateway": {"endpoint": "http://other:4318"}})}
        self.assertEqual(len(sums), 3)

    def test_values_reach_the_objects(self):
        objects = templated({
            "gateway": {"endpoint": "http://gw:4318"}, "resourceAttributes": {"k8s.cluster.name": "prod", "a": "b"}, "env": {"X": "1"},
            "image": {"repository": "r/g", "tag": "t"}, "imagePullSecrets": [{"name": "s"}], "affinity": {"nodeAffinity": {}}, "podLabels": {"l": "v"},
            "podAnnotations": {"n": "v"}, "serviceAccount": {"create": False, "name": "mine"}, "rbac": {"create": False},
            "networkPolicy": {"enabled": False}, "priorityClass": {"create": False, "name": "high"}})
        self.assertEqual(sorted(item["kind"] for item in objects), ["ConfigMap", "ConfigMap", "DaemonSet"])
        environment = [item["data"] for item in of_kind(objects, "ConfigMap") if item["metadata"]["name"] == "gleaner-env"][0]
        self.assertEqual(environment, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://gw:4318", "OTEL_RESOURCE_ATTRIBUTES": "a=b,k8s.cluster.name=prod", "X": "1"})
        pod, template = pod_of(objects), of_kind(objects, "DaemonSet")[0]["spec"]["template"]
        self.assertEqual((pod["serviceAccountName"], pod["priorityClassName"], pod["imagePullSecrets"], pod["affinity"], pod["containers"][0]["image"]),
                         ("mine", "high", [{"name": "s"}], {"nodeAffinity": {}}, "r/g:t"))
        self.assertEqual((template["metadata"]["labels"]["l"], template["metadata"]["annotations"]["n"]), ("v", "v"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
