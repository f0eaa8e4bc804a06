#!/usr/bin/python3
"""A stand-in for the API server's lists and watches, with the objects of a file; in the shapes of the captured ones.

    tools/node/apiserver.py --objects FILE --listen HOST:PORT --log FILE

FILE is JSON, read again whenever it changes: {"services": [...], "servicemonitors": [...]}, whole objects without uid and resourceVersion.
A resource that FILE does not have is a CustomResourceDefinition that is not installed. `"forbidden": ["services"]` answers 403. What
changes is told to the watches. Every request's path is a line of the log.
"""

import argparse
import http.server
import json
import os
import re
import socketserver
import threading
import time
import uuid

PATH = re.compile(r"/apis?(?:/([a-z.]+))?/v1(?:alpha1)?(?:/namespaces/([^/]+))?/([a-z]+)$")


class Objects:
    """The file's objects, each version of them with a number."""

    def __init__(self, path):
        self.path, self.stamp, self.version = path, None, 100
        self.lock, self.resources, self.forbidden = threading.Lock(), {}, []

    def read(self):
        """{resource: {uid: object}}"""
        with self.lock:
            stat = os.stat(self.path)
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self.stamp:
                self.stamp = stamp
                with open(self.path, encoding="utf-8") as file:
                    given = json.load(file)
                self.forbidden = given.pop("forbidden", [])
                self.resources = {name: self._numbered(name, items) for name, items in given.items()}
            return self.resources

    def _numbered(self, resource, items):
        before, after = self.resources.get(resource, {}), {}
        for item in items:
            metadata = item["metadata"]
            uid = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{metadata['name']}.{metadata.get('namespace', '')}.{resource}"))
            old = before.get(uid)
            if old:
                metadata.update(uid=uid, resourceVersion=old["metadata"]["resourceVersion"])
            if item != old:
                self.version += 1
                metadata.update(uid=uid, resourceVersion=str(self.version))
            after[uid] = item
        return after

    def of(self, resource, namespace):
        """{uid: object}; None: there is no such resource."""
        items = self.read().get(resource)
        if items is None or namespace is None:
            return items
        return {uid: item for uid, item in items.items() if item["metadata"].get("namespace") == namespace}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _whole(self, code, body, content_type="application/json"):
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _json(self, code, value):
        self._whole(code, json.dumps(value).encode())

    def do_GET(self):
        self.server.log(self.path)
        path, _, query = self.path.partition("?")
        match = PATH.match(path)
        resource, namespace = (match[3], match[2]) if match else (None, None)
        items = self.server.objects.of(resource, namespace)
        if resource in self.server.objects.forbidden:
            message = f'{resource} is forbidden: User "gleaner" cannot list resource "{resource}"'
            self._json(403, {"kind": "Status", "status": "Failure", "message": message, "reason": "Forbidden", "code": 403})
        elif items is None:
            self._whole(404, b"404 page not found\n", "text/plain; charset=utf-8")
        elif "watch=true" in query:
            self._watch(resource, namespace, {} if "sendInitialEvents=true" in query else dict(items), query)
        else:
            version = str(self.server.objects.version)
            self._json(200, {"kind": "List", "metadata": {"resourceVersion": version}, "items": list(items.values())})

    def _watch(self, resource, namespace, known, query):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if "sendInitialEvents=true" in query:
            self._tell_changes(resource, namespace, known)
            end = {"k8s.io/initial-events-end": "true"}
            version = str(self.server.objects.version)
            self._tell("BOOKMARK", {"metadata": {"resourceVersion": version, "annotations": end}})
        while self._tell_changes(resource, namespace, known):
            time.sleep(0.1)
        self.wfile.write(b"0\r\n\r\n")

    def _tell_changes(self, resource, namespace, known):
        now = self.server.objects.of(resource, namespace)
        for uid, item in (now or {}).items():
            if item != known.get(uid):
                self._tell("MODIFIED" if uid in known else "ADDED", item)
        for uid in set(known) - set(now or {}):
            self._tell("DELETED", known[uid])
        known.clear()
        known.update(now or {})
        return now is not None

    def _tell(self, event, item):
        line = json.dumps({"type": event, "object": item}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))

    def do_POST(self):  # SelfSubjectAccessReview
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = review["spec"]["resourceAttributes"]
        self.server.log(f"{asked['verb']} {asked['resource']}?")
        review["status"] = {"allowed": asked["resource"] not in self.server.objects.forbidden}
        self._json(201, review)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address, objects, log):
        self.objects, self.path = objects, log
        super().__init__(address, Handler)

    def log(self, line):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def handle_error(self, request, client_address):  # a client that went
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--log", required=True)
    args = parser.parse_args()
    host, port = args.listen.rsplit(":", 1)
    Server((host, int(port)), Objects(args.objects), args.log).serve_forever()


if __name__ == "__main__":
    main()
