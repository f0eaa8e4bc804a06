"""OCI image archives without a container engine. The same files give the same bytes: entries are sorted, their owner is root, their time is 1970."""

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile

EPOCH = "1970-01-01T00:00:00Z"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def machine():
    """The architecture of this machine, as images call it."""
    return ARCHITECTURES.get(os.uname().machine, os.uname().machine)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def folder(root):
    """A folder's files as {path: (mode, bytes)}, links as {path: target}. What is neither is left out."""
    files = {}
    for place, folders, names in os.walk(root):
        for name in [*names, *folders]:
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                files[os.path.relpath(path, root)] = os.readlink(path)
            elif stat.S_ISREG(mode):
                files[os.path.relpath(path, root)] = (stat.S_IMODE(mode), read(path))
    return files


def member(name, content):
    entry = tarfile.TarInfo(name)
    entry.mtime = 0
    if content is None or isinstance(content, str):
        entry.type, entry.linkname = (tarfile.DIRTYPE, "") if content is None else (tarfile.SYMTYPE, content)
        entry.mode = 0o755
        return entry, None
    entry.mode, entry.size = content[0], len(content[1])
    return entry, io.BytesIO(content[1])


def archive(files):
    """A tar of what folder() gives, with the folders above, in order."""
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folders | set(files)):
            tar.addfile(*member(path, files.get(path)))
    return out.getvalue()


class Image:
    """An image of one layer.

    files    what folder() gives
    name     REPOSITORY:TAG
    config   the image configuration's `config`: {"Entrypoint": [..], "User": .., ..}
    """

    def __init__(self, files, name, config, architecture=None):
        architecture = architecture or machine()
        self.name, self.blobs, tar = name, {}, archive(files)
        layer = self.add("layer.v1.tar+gzip", gzip.compress(tar, mtime=0))
        descriptor = self.add_json("config.v1+json", {
            "architecture": architecture, "os": "linux", "created": EPOCH, "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
            "history": [{"created": EPOCH, "created_by": "tools/lib/oci.py"}]})
        self.manifest = self.add_json("manifest.v1+json", {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": descriptor, "layers": [layer]})
        self.manifest["platform"] = {"architecture": architecture, "os": "linux"}
        self.manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[-1]}
        self.packed, self.unpacked, self.digest = layer["size"], len(tar), self.manifest["digest"]

    def add(self, media, data):
        """The descriptor of what was added."""
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[f"blobs/sha256/{digest}"] = (0o644, data)
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(data)}

    def add_json(self, media, value):
        return self.add(media, json.dumps(value, sort_keys=True).encode())

    def save(self, path):
        """Writes the archive; a file that is there is replaced as a whole."""
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [self.manifest]}
        data = archive({
            **self.blobs,
            "oci-layout": (0o644, b'{"imageLayoutVersion":"1.0.0"}'),
            "index.json": (0o644, json.dumps(index, sort_keys=True).encode())})
        with open(path + ".part", "wb") as file:
            file.write(data)
        os.replace(path + ".part", path)
