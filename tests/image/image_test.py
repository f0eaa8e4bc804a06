#!/usr/bin/python3
"""The container image, made and run as the manifests of deploy/daemonset run it.

    tests/image/image_test.py GLEANER

The program runs from the unpacked image in a user namespace, as uid 65532 with nothing else in sight. Needs python3-yaml, and root or user namespaces.
"""
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest

import yaml

ROOT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../..")
DEPLOY = os.path.join(ROOT, "deploy/daemonset")
BASE = os.path.join(DEPLOY, "base")
BINARY = sys.argv.pop(1)


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


class ImageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.path = cls.make("image.tar")
        cls.root = os.path.join(cls.folder.name, "root")
        with tarfile.open(cls.path) as tar:
            cls.index = json.load(tar.extractfile("index.json"))
            cls.manifest = json.loads(cls.blob(tar, cls.index["manifests"][0]))
            cls.config = json.loads(cls.blob(tar, cls.manifest["config"]))
            for layer in cls.manifest["layers"]:
                with tarfile.open(fileobj=io.BytesIO(cls.blob(tar, layer))) as files:
                    files.extractall(cls.root)

    @classmethod
    def make(cls, name):
        path = os.path.join(cls.folder.name, name)
        subprocess.run([os.path.join(ROOT, "tools/image"), "--binary", BINARY, "--output", path, "--name", "localhost/gleaner:test"],
                       check=True, stdout=subprocess.DEVNULL)
        return path

    @staticmethod
    def blob(tar, descriptor):
        data = tar.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()
        assert len(data) == descriptor["size"]
        return data

    def inside(self, *args, **env):
        user = self.config["config"]["User"].split(":")
        return subprocess.run(
            ["unshare", "--user", f"--map-user={user[0]}", f"--map-group={user[1]}", "--root", self.root, *self.config["config"]["Entrypoint"], *args],
            env=env, capture_output=True, text=True, check=False)

    def test_same_binary_gives_the_same_bytes(self):
        self.assertEqual(read(self.path), read(self.make("again.tar")))

    def test_image_runs_gleaner_as_a_numeric_user(self):
        self.assertEqual(self.config["config"]["User"], "65532:65532")
        self.assertEqual(self.config["config"]["Entrypoint"], ["/usr/bin/gleaner"])
        self.assertEqual(self.index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/gleaner:test")

    def test_program_runs_with_what_is_in_the_image(self):
        result = self.inside("version")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"^gleaner \d")

    def test_configuration_of_the_daemonset_is_accepted_without_a_warning(self):
        target = os.path.join(self.root, "etc/gleaner")
        os.makedirs(target, exist_ok=True)
        with open(os.path.join(target, "gleaner.yaml"), "wb") as file:
            file.write(read(BASE, "gleaner.yaml"))
        # The environment that the manifest gives.
        literals = dict(line.split("=", 1) for item in yaml.safe_load(read(BASE, "kustomization.yaml"))["configMapGenerator"]
                        for line in item.get("literals", ()))
        result = self.inside("check", "/etc/gleaner/gleaner.yaml", NODE_NAME="node-a", HOST_IP="192.0.2.1", **literals)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        self.assertNotIn("warning", result.stdout)

    def test_nothing_in_the_image_can_be_written_by_its_user_or_raises_privileges(self):
        for folder, _, files in os.walk(self.root):
            for name in [".", *files]:
                self.assertEqual(os.lstat(os.path.join(folder, name)).st_mode & 0o6022, 0, os.path.join(folder, name))


if __name__ == "__main__":
    unittest.main(verbosity=2)
