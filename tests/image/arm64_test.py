#!/usr/bin/python3
"""The container image for arm64, made on another machine and run in an emulator. Needs root (tools/build-arm64).

    tests/image/arm64_test.py
"""
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
PAGE = b"# TYPE requests_total counter\nrequests_total{code=\"200\"} 3\n"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # pylint: disable=invalid-name
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class Arm64Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        cls.addClassCleanup(folder.cleanup)
        path, cls.root = os.path.join(folder.name, "image.tar"), os.path.join(folder.name, "root")
        built = subprocess.run([os.path.join(ROOT, "tools/build-arm64")], stdout=subprocess.PIPE, text=True, check=False)
        if built.returncode != 0:
            raise AssertionError("tools/build-arm64 failed:\n" + "\n".join(built.stdout.splitlines()[-30:]))
        print(subprocess.run([os.path.join(ROOT, "tools/image"), "--binary", os.path.join(ROOT, "build/arm64/gleaner"), "--sysroot",
                              os.path.join(ROOT, "build/arm64/sysroot"), "--output", path], check=True, capture_output=True, text=True).stdout)
        with tarfile.open(path) as tar:
            def blob(descriptor):
                return tar.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()
            cls.described = json.load(tar.extractfile("index.json"))["manifests"][0]
            manifest = json.loads(blob(cls.described))
            cls.config = json.loads(blob(manifest["config"]))
            with tarfile.open(fileobj=io.BytesIO(blob(manifest["layers"][0]))) as files:
                files.extractall(cls.root)

    def emulated(self, *argv):
        return subprocess.run(["qemu-aarch64-static", "-L", self.root, os.path.join(self.root, "usr/bin/gleaner"), *argv],
                              capture_output=True, text=True, check=False)

    def test_image_is_said_to_be_for_arm64(self):
        self.assertEqual((self.config["architecture"], self.described["platform"]), ("arm64", {"architecture": "arm64", "os": "linux"}))

    def test_everything_that_runs_in_it_is_for_arm64(self):
        machines = set()
        for place, _, names in os.walk(self.root):
            for name in names:
                with open(os.path.join(place, name), "rb") as file:
                    head = file.read(20)
                if head[:4] == b"\x7fELF":
                    machines.add(int.from_bytes(head[18:20], "little"))
        self.assertEqual(machines, {183})  # EM_AARCH64

    def test_program_starts_with_what_is_in_the_image(self):
        result = self.emulated("version")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"^gleaner \d")

    def test_program_scrapes(self):
        with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            result = self.emulated("scrape", f"http://127.0.0.1:{server.server_port}/metrics")
            server.shutdown()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r'metric "requests_total" sum cumulative monotonic.*\n +point \{code="200"\} .*value=3\n')


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("not root: the packages of another architecture cannot be unpacked")
        sys.exit(77)
    unittest.main(verbosity=2)
