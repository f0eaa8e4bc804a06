"""The cluster that tests/e2e/cluster started: kubectl, nodes, images."""

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
KIT = os.path.join(ROOT, "tests/e2e/cluster")
NODES = ("node-a", "node-b")
ADDRESSES = {"node-a": "192.168.77.2", "node-b": "192.168.77.3"}  # as cluster/lib.sh gives them
API_SERVER = "10.96.0.1"


class Refused(Exception):
    """A command ended with an error; the text is what it said."""


def run(*argv, text=None, check=True, warnings=False):
    """What the command wrote to standard output; with `warnings` to standard error, too."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise Refused(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout + (done.stderr if warnings else "")


def kit(script, *argv, **options):
    return run(os.path.join(KIT, script), *argv, **options)


def kubectl(*argv, **options):
    return kit("kubectl", *argv, **options)


def get(*argv):
    """The items of `kubectl get`, or the one object that was named."""
    found = json.loads(kubectl("get", *argv, "-o", "json"))
    return found["items"] if found["kind"] == "List" else found


def apply(manifest):
    """A manifest's path, or objects."""
    if isinstance(manifest, str):
        return kubectl("apply", "-f", manifest)
    return kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifest}))


def delete(manifest):
    return kubectl("delete", "--ignore-not-found", "-f", manifest)


class ApiServer:
    """The API server as its admin asks it, without kubectl: thousands of requests."""

    def __init__(self):
        keys = os.path.join(os.environ["GLEANER_CLUSTER_RUN"], "pki")
        context = ssl.create_default_context(cafile=os.path.join(keys, "ca.crt"))
        context.load_cert_chain(os.path.join(keys, "admin.crt"), os.path.join(keys, "admin.key"))
        self.connection = http.client.HTTPSConnection(ADDRESSES["node-a"], 6443, context=context, timeout=30)

    def ask(self, method, path, content):
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        self.connection.request(method, path, json.dumps(content), {"Content-Type": kind})
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {text}")


def in_node(node, *argv, **options):
    return kit("in-node", "-n", node, *argv, **options)


def service(action, name, node="node-a"):
    """Stops, starts or restarts a component of Kubernetes."""
    return kit("service", action, name, node)


def static_pod(node, name, manifest):
    """Writes a static pod's manifest for the kubelet of a node; None takes it away."""
    folder = os.path.join(os.environ["GLEANER_CLUSTER_RUN"], "nodes", node, "manifests")
    path = os.path.join(folder, f"{name}.json")
    if manifest is None:
        os.unlink(path)
        return
    with open(os.path.join(folder, f".{name}"), "w", encoding="utf-8") as file:  # the kubelet leaves hidden files alone
        json.dump(manifest, file)
    os.rename(file.name, path)


def rolled_out(what, namespace, seconds=90):
    kubectl("-n", namespace, "rollout", "status", what, f"--timeout={seconds}s")


def scale(namespace, deployment, replicas):
    """Returns when the new pods are ready; those that are too many may still be ending."""
    kubectl("-n", namespace, "scale", f"deployment/{deployment}", f"--replicas={replicas}")
    rolled_out(f"deployment/{deployment}", namespace)


def restart(namespace, deployment):
    kubectl("-n", namespace, "rollout", "restart", f"deployment/{deployment}")
    rolled_out(f"deployment/{deployment}", namespace)


def running_pods(namespace, label):
    """{name: (node, address)} of pods that are not being deleted."""
    return {
        pod["metadata"]["name"]: (pod["spec"]["nodeName"], pod["status"].get("podIP"))
        for pod in get("pods", "-n", namespace, "-l", label)
        if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
    }


@contextlib.contextmanager
def kustomization(gateway, *components, config=""):
    """The path of an overlay as a user would write it: deploy/daemonset's base with components, sending to this gateway, with lines added to
    gleaner.yaml."""
    with tempfile.TemporaryDirectory(prefix="gleaner-e2e-") as folder:
        deploy = os.path.relpath(os.path.join(ROOT, "deploy/daemonset"), os.path.realpath(folder))
        content = {
            "resources": [f"{deploy}/base"],
            "components": [f"{deploy}/components/{component}" for component in components],
            "configMapGenerator": [{
                "name": "gleaner-env", "behavior": "merge",
                "literals": [f"OTEL_EXPORTER_OTLP_ENDPOINT={gateway}", "OTEL_RESOURCE_ATTRIBUTES=k8s.cluster.name=e2e"]}],
        }
        if config:
            with open(os.path.join(ROOT, "deploy/daemonset/base/gleaner.yaml"), encoding="utf-8") as file:
                base = file.read()
            with open(os.path.join(folder, "gleaner.yaml"), "w", encoding="utf-8") as file:
                file.write(base + config)
            content["configMapGenerator"].append({"name": "gleaner", "behavior": "merge", "files": ["gleaner.yaml"]})
        with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)  # JSON is YAML
        yield folder
