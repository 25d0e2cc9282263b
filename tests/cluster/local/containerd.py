"""containerd with folders of its own, and the images that it is given: none can be pulled.

Its default folders are never used, so a containerd of the machine itself is not disturbed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.base import ClusterError
from tests.cluster.image import PAUSE_IMAGE
from tests.cluster.local import mounts
from tests.cluster.local.component import Component, flags
from tests.cluster.local.files import write_atomically
from tests.cluster.local.layout import Layout
from tests.cluster.local.machine import find_cni
from tests.cluster.local.network import cni_config
from tests.cluster.local.state import State

# Filesystem drivers that a test cluster has no use for, what would make folders in /opt, and tracing.
DISABLED = [
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.mount-handler.v1.erofs",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.monitor.container.v1.restart",
    "io.containerd.image-verifier.v1.bindir",
]


def settings(layout: Layout, shim: Path, runc: str, cni: Path, snapshotter: str) -> dict[str, Any]:
    """containerd's configuration, version 4."""
    runtime = {
        "runtime_type": "io.containerd.runc.v2",
        "runtime_path": str(shim),
        "options": {"BinaryName": runc, "Root": str(layout.containerd_state / "runc"), "SystemdCgroup": False},
    }
    return {
        "version": 4,
        "root": str(layout.containerd_root),
        "state": str(layout.containerd_state),
        "imports": [],
        "disabled_plugins": DISABLED,
        "plugins": {
            "io.containerd.server.v1.grpc": {"address": str(layout.containerd_socket)},
            "io.containerd.server.v1.ttrpc": {"address": f"{layout.containerd_socket}.ttrpc"},
            "io.containerd.internal.v1.opt": {"path": str(layout.containerd_root / "opt")},
            "io.containerd.nri.v1.nri": {"disable": True},
            "io.containerd.shim.v1.manager": {"socket_dir": str(layout.shim_sockets)},
            # As with etcd: a test cluster does not have to survive a power cut.
            "io.containerd.metadata.v1.bolt": {"no_sync": True},
            "io.containerd.cri.v1.images": {"snapshotter": snapshotter, "pinned_images": {"sandbox": PAUSE_IMAGE}},
            "io.containerd.cri.v1.runtime": {
                # Without CAP_SYS_RESOURCE, as in many containers and CI machines, no Pod starts otherwise.
                "restrict_oom_score_adj": True,
                # It would load a profile into the kernel, which stays there.
                "disable_apparmor": True,
                "netns_mounts_under_state_dir": True,
                "cni": {
                    "bin_dirs": [str(cni)],
                    "conf_dir": str(layout.cni),
                    "use_internal_loopback": True,
                },
                "containerd": {"default_runtime_name": "runc", "runtimes": {"runc": runtime}},
            },
        },
    }


def to_toml(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """TOML of nested mappings. JSON's strings, numbers, booleans and flat lists are TOML's too."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in data.items() if not isinstance(value, Mapping)]
    header = [f"[{'.'.join(json.dumps(part) for part in path)}]"] if path else []
    tables = [to_toml(value, (*path, key)) for key, value in data.items() if isinstance(value, Mapping)]
    return "\n".join([*header, *plain, *tables])


def snapshotter_for(layout: Layout) -> str:
    """How layers are put together. The kernel refuses an overlay on an overlay; copying works everywhere."""
    return "native" if mounts.filesystem_of(layout.run) == "overlay" else "overlayfs"


def write_configs(layout: Layout, state: State, programs: Mapping[str, Path]) -> None:
    """Write containerd's and CNI's configuration."""
    runc, cni = shutil.which("runc"), find_cni()
    if runc is None or cni is None:
        raise ClusterError("runc and the CNI plugins are needed; were they removed after the cluster was started?")
    layout.cni.mkdir(exist_ok=True, mode=0o700)
    layout.shim_sockets.mkdir(exist_ok=True, mode=0o700)
    config = settings(layout, programs["containerd-shim-runc-v2"], runc, cni, snapshotter_for(layout))
    write_atomically(layout.config / "containerd.toml", to_toml(config))
    write_atomically(layout.cni / "10-sandmount.conflist", json.dumps(cni_config(layout, state), indent=1))


def ctr(layout: Layout, program: Path, *args: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run ctr in the namespace that the kubelet's images are in."""
    argv = [str(program), f"--address={layout.containerd_socket}", "--namespace=k8s.io", *args]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"no answer within {seconds:g} s")


def component(layout: Layout, programs: Mapping[str, Path]) -> Component:
    """containerd."""
    program = programs["containerd"]
    return Component(
        name="containerd",
        argv=flags(program, {"config": layout.config / "containerd.toml"}),
        answers=lambda _: ctr(layout, programs["ctr"], "version", seconds=5).returncode == 0,
        # CNI plugins and runc are started by it, and look for their tools.
        environ={"PATH": f"{program.parent}:{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"},
    )


def import_image(layout: Layout, program: Path, archive: Path) -> None:
    """Import an OCI or docker archive and unpack it."""
    if not archive.is_file():
        raise ClusterError(f"There is no image archive {archive}.")
    snapshotter = f"--snapshotter={snapshotter_for(layout)}"
    done = ctr(layout, program, "images", "import", "--local", snapshotter, str(archive), seconds=600)
    if done.returncode:
        raise ClusterError(f"{archive} cannot be imported: {done.stderr.strip()}")


def has_images(layout: Layout, program: Path, names: set[str]) -> bool:
    """True when all the named images are there."""
    done = ctr(layout, program, "images", "list", "--quiet")
    return done.returncode == 0 and names <= set(done.stdout.split())
