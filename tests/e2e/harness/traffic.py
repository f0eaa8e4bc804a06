"""Who asked whom: the apps' own access logs, counters in the nodes' packet filter, and the API server's audit log."""

import collections
import json
import os

from . import agents, cluster

TABLE = "gleaner_e2e"


def askers(namespace, pod, container=None):
    """{peer address: requests for /metrics} as the app of cluster/src/app.c logs them."""
    log = cluster.kubectl("-n", namespace, "logs", pod, *(["-c", container] if container else []))
    return collections.Counter(line.split()[0] for line in log.splitlines() if " GET /metrics" in line)


def asking_nodes(namespace, pod):
    """The nodes whose pods asked it for /metrics since it began; agents that were replaced count, too."""
    return {cluster.NODES[int(address.split(".")[2])] for address in askers(namespace, pod)}


class Counters:
    """Packets and bytes of each agent, counted on its node from now on:

    elsewhere    to pods of another node, and to another node's own ports except the gateway's and the API server's (the tests' questions to
                 its status API are answered)
    api_sent     to the API server
    api_received from the API server
    """

    def __init__(self):
        self.of = agents.addresses()
        for node, address in self.of.items():
            others = ", ".join(ip for name, ip in cluster.ADDRESSES.items() if name != node)
            index = cluster.NODES.index(node)
            others_pods = ", ".join(f"10.85.{other}.0/24" for other in range(len(cluster.NODES)) if other != index)
            self.load(node, f"""
                table ip {TABLE} {{
                    counter elsewhere {{ }}
                    counter api_sent {{ }}
                    counter api_received {{ }}
                    chain sent {{
                        type filter hook prerouting priority -300
                        ip saddr {address} ip daddr {cluster.API_SERVER} counter name api_sent
                        ip saddr {address} ip daddr {{ {others_pods} }} counter name elsewhere
                        ip saddr {address} ip daddr {{ {others} }} tcp dport != {{ 4318, 6443 }} tcp sport != {agents.STATUS_PORT} counter name elsewhere
                    }}
                    chain received {{
                        type filter hook postrouting priority 300
                        ip saddr {cluster.API_SERVER} ip daddr {address} counter name api_received
                    }}
                }}""")

    @staticmethod
    def load(node, rules):
        cluster.in_node(node, "nft", "delete", "table", "ip", TABLE, check=False)
        cluster.in_node(node, "nft", "-f", "-", text=rules)

    def read(self):
        """{node: {counter: (packets, bytes)}}"""
        found = {}
        for node in self.of:
            items = json.loads(cluster.in_node(node, "nft", "-j", "list", "counters", "table", "ip", TABLE))["nftables"]
            found[node] = {item["counter"]["name"]: (item["counter"]["packets"], item["counter"]["bytes"]) for item in items if "counter" in item}
        return found


class Audit:
    """What gleaner's ServiceAccount asks the API server for from now on. Needs the audit log that tools/e2e switches on."""

    def __init__(self):
        self.path = os.environ["GLEANER_AUDIT_LOG"]
        self.offset = os.path.getsize(self.path) if os.path.exists(self.path) else 0
        self.known = {event["auditID"] for event in self.events(0)}

    def events(self, offset):
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                file.seek(offset)
                yield from (json.loads(line) for line in file if line.endswith("\n"))

    def requests(self):
        """{node: Counter of (verb, path without query)}; a watch counts once, when it begins."""
        asked = {event["auditID"]: event for event in self.events(self.offset) if event["auditID"] not in self.known}
        found = collections.defaultdict(collections.Counter)
        for event in asked.values():
            node = event["user"].get("extra", {}).get("authentication.kubernetes.io/node-name", ["?"])[0]
            found[node][event["verb"], event["requestURI"].split("?")[0]] += 1
        return found
