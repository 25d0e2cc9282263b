"""Builds images without a container engine; those that the tests use are a tar of Debian's static busybox.

The archive is a docker archive and an OCI layout at once, and the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.base import ClusterError

PAUSE_IMAGE = "sandmount.test/pause:1"
BUSYBOX_IMAGE = "docker.io/library/busybox:stable"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}

# Waits for a signal and stops at once: the first process of a Pod must not make every deletion wait. The loop only
# matters when somebody kills the sleep.
PAUSE = ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 2147483647 & wait $!; done"]
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\nnobody:x:65534:\n"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Entry:
    """A file, folder or link of an image; `data` of a link is what it points to."""

    path: str
    kind: bytes
    mode: int
    data: bytes = b""


def tar_of(entries: Sequence[Entry]) -> bytes:
    """A tar without anything that depends on when or where it was made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.type, info.mode, info.mtime = entry.kind, entry.mode, 0
            if entry.kind == tarfile.REGTYPE:
                info.size = len(entry.data)
                tar.addfile(info, io.BytesIO(entry.data))
            else:
                info.linkname = entry.data.decode()
                tar.addfile(info)
    return out.getvalue()


def folder(path: str, mode: int = 0o755) -> Entry:
    """A folder of an image."""
    return Entry(path, tarfile.DIRTYPE, mode)


def busybox_files(program: bytes, applets: Sequence[str]) -> list[Entry]:
    """The root filesystem: busybox, a link for each of its commands, and a minimal /etc."""
    links = [Entry(f"bin/{name}", tarfile.SYMTYPE, 0o777, b"busybox") for name in applets if name != "busybox"]
    return [
        *(folder(name) for name in ("bin", "dev", "etc", "mnt", "proc", "run", "sys", "usr", "usr/bin", "var")),
        folder("root", 0o700),
        folder("tmp", 0o1777),
        Entry("bin/busybox", tarfile.REGTYPE, 0o755, program),
        *links,
        Entry("usr/bin/env", tarfile.SYMTYPE, 0o777, b"../../bin/busybox"),
        Entry("etc/passwd", tarfile.REGTYPE, 0o644, ACCOUNTS.encode()),
        Entry("etc/group", tarfile.REGTYPE, 0o644, GROUP.encode()),
    ]


def architecture_of_machine() -> str:
    """What images call it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def digest(data: bytes) -> str:
    """The SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def blob(data: bytes, media_type: str) -> dict[str, Any]:
    """How a manifest refers to a blob."""
    return {"mediaType": media_type, "digest": f"sha256:{digest(data)}", "size": len(data)}


def image_archive(name: str, layers: Sequence[bytes], command: Sequence[str], architecture: str, **more: Any) -> bytes:
    """An archive of one image, its lowest layer first; ``more`` is what else its configuration says, as User."""
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Cmd": list(command),
                "Env": [PATH],
                **more,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}" for layer in layers]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "sandmount tests"} for _ in layers],
        }
    ).encode()
    oci = "application/vnd.oci.image"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": blob(config, f"{oci}.config.v1+json"),
            "layers": [blob(layer, f"{oci}.layer.v1.tar") for layer in layers],
        }
    ).encode()
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    index = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.index.v1+json",
        "manifests": [{**blob(manifest, f"{oci}.manifest.v1+json"), "annotations": annotations}],
    }
    paths = {data: f"blobs/sha256/{digest(data)}" for data in (config, *layers, manifest)}
    docker = [{"Config": paths[config], "RepoTags": [name], "Layers": [paths[layer] for layer in layers]}]
    return tar_of(
        [
            folder("blobs"),
            folder("blobs/sha256"),
            *(Entry(path, tarfile.REGTYPE, 0o644, data) for data, path in paths.items()),
            Entry("oci-layout", tarfile.REGTYPE, 0o644, b'{"imageLayoutVersion":"1.0.0"}'),
            Entry("index.json", tarfile.REGTYPE, 0o644, json.dumps(index).encode()),
            Entry("manifest.json", tarfile.REGTYPE, 0o644, json.dumps(docker).encode()),
        ]
    )


def applets_of(busybox: Path) -> list[str]:
    """The commands that a busybox has."""
    done = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{busybox} --list failed: {done.stderr.strip()}")
    return done.stdout.split()


def build_archives(busybox: Path, target: Path) -> dict[str, Path]:
    """Write an archive for each of our images into the folder. Returns their paths by image name."""
    layer = tar_of(busybox_files(busybox.read_bytes(), applets_of(busybox)))
    target.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, command in ((PAUSE_IMAGE, PAUSE), (BUSYBOX_IMAGE, ["sh"])):
        path = target / (name.rpartition("/")[2].replace(":", "-") + ".tar")
        path.write_bytes(image_archive(name, [layer], command, architecture_of_machine()))
        found[name] = path
    return found
