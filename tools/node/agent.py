"""gleaner on the node, run as a DaemonSet's container would: its own user, no capability, the token and CA as files."""

import json
import re
import shutil
import signal
import urllib.error
import urllib.request

from .gateway import OTLP_PORT
from .process import Failed, wait_until

STATUS = "http://127.0.0.1:9465"


def unprivileged(capabilities=()):
    """The words before a command that make it a user with nothing but these capabilities."""
    kept = "".join(f",+{name}" for name in capabilities)
    return [
        "setpriv",
        "--reuid=65532",
        "--regid=65532",
        "--clear-groups",
        "--no-new-privs",
        f"--inh-caps=-all{kept}",
        f"--ambient-caps=-all{kept}",
        f"--bounding-set=-all{kept}",
    ]


def merged(base, more):
    """`more` laid over `base`, objects key by key."""
    result = dict(base)
    for key, value in more.items():
        result[key] = (
            merged(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        )
    return result


class Agent:
    def __init__(self, node, binary, config=None, start=True, capabilities=()):
        self.node, self.capabilities = node, capabilities
        # A copy, since the user that it runs as need not be able to reach the build folder.
        self.binary = shutil.copy(binary, node.path("gleaner"))
        self.base = {
            "exporters": {"otlphttp": {"endpoint": f"http://127.0.0.1:{OTLP_PORT}"}},
            "kubelet": {
                "token_file": node.path("kubelet", "token"),
                "tls": {"ca_file": node.path("kubelet", "ca.crt")},
                "poll_interval": "1s",
            },
        }
        self.configure(config or {})
        if start:
            self.start()

    def configure(self, config):
        """Writes the configuration file; a running gleaner has to be told (reload)."""
        self.config = self.node.write("gleaner.yaml", json.dumps(merged(self.base, config), indent=1))  # JSON is YAML

    def start(self):
        # In a user namespace there may be no other user than root.
        drop = unprivileged(self.capabilities) if can_change_user() else []
        self.process = self.node.spawn(
            f"gleaner-{len(self.node.processes)}",
            [*drop, self.binary, "run", "--config", self.config],
            {"NODE_NAME": self.node.name, "HOST_IP": self.node.ip},
        )
        wait_until("gleaner to be ready", self.ready, 20, self.process)

    def ready(self):
        try:
            return self.get("/readyz").startswith("gleaner is ready")
        except (OSError, Failed):
            return False

    def get(self, path):
        try:
            with urllib.request.urlopen(STATUS + path, timeout=5) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise Failed(f"GET {path}: {error.code} {error.read().decode()}") from error

    def reload(self):
        self.process.signal(signal.SIGHUP)

    def targets(self):
        return json.loads(self.get("/api/v1/targets?state=active"))["data"]["activeTargets"]

    def metrics(self):
        """{name: value} and {name{labels}: value} of its own metrics page."""
        found = {}
        for line in self.get("/metrics").splitlines():
            if line and not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                found[series] = float(value)
                name = series.split("{", 1)[0]
                if name != series:
                    found[name] = found.get(name, 0) + float(value)
        return found

    def scrapers(self):
        """Pids of the scraper processes."""
        return self.children("--scraper-fd")

    def children(self, argument):
        """Pids of the core's children that were started with this argument."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split() if argument in arguments(pid)]

    def stop(self):
        return self.process.stop(10)


def arguments(pid):
    """Of a process; none of one that has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read().split("\0")
    except OSError:
        return []


def can_change_user():
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return any(int(size) > 65532 for size in re.findall(r"(\d+)\n", file.read()))
