"""The machine around the cluster: what must be installed, and what is put back afterwards.

Some places outside of the cache are written by the kubelet and by CNI whatever one configures. They are listed here,
with who writes them, and only our own entries in them are ever removed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.base import ClusterError, say
from tests.cluster.local import network
from tests.cluster.local.layout import Layout
from tests.cluster.local.processes import PROC, TAG, all_pids
from tests.cluster.local.state import State, load

# The kubelet sets the first ones, the CNI bridge plugin the last one.
SYSCTLS = ("vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops", "net.ipv4.ip_forward")

CONTAINER_LOGS = Path("/var/log/containers")  # the kubelet: a symbolic link per container
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")  # the kubelet, whatever its root folder is
CNI_RESULTS = Path("/var/lib/cni/results")  # CNI: a file per Pod
OUTSIDE = (
    CONTAINER_LOGS,
    DEVICE_PLUGINS,
    DEVICE_PLUGINS.parent,
    CNI_RESULTS,
    CNI_RESULTS.parent,
    Path("/etc/cni/net.d"),
    Path("/etc/cni"),
)

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/usr/libexec/cni"), Path("/opt/cni/bin"))
BUSYBOX = (Path("/bin/busybox"), Path("/usr/bin/busybox"))


def find_cni() -> Path | None:
    """The folder of the CNI plugins."""
    needed = ("bridge", "host-local", "portmap", "loopback")
    return next((folder for folder in CNI_FOLDERS if all((folder / name).exists() for name in needed)), None)


def find_busybox() -> Path | None:
    """A statically linked busybox."""
    return next((path for path in BUSYBOX if path.exists() and is_static(path)), None)


def is_static(program: Path) -> bool:
    """True when an ELF program names no dynamic loader (which stands near its beginning)."""
    with program.open("rb") as file:
        head = file.read(8192)
    return head.startswith(b"\x7fELF") and b"/ld-" not in head


def missing_packages() -> list[str]:
    """Debian's names of what is not installed."""
    found = {
        "runc": shutil.which("runc") is not None,
        "containernetworking-plugins": find_cni() is not None,
        "busybox-static": find_busybox() is not None,
        "iptables": shutil.which("iptables") is not None,
        "iproute2": shutil.which("ip") is not None,
    }
    return [package for package, is_there in found.items() if not is_there]


def install_missing() -> None:
    """Install what is missing with apt-get. Does nothing, and asks nobody, when all is there."""
    missing = missing_packages()
    if not missing:
        return
    apt_install(missing)
    if left := missing_packages():
        raise ClusterError(f"Installed, but still not found: {', '.join(left)}.")


def apt_install(packages: Sequence[str]) -> None:
    """Install these, by Debian's names. Raises ClusterError where that cannot be done."""
    if shutil.which("apt-get") is None:
        raise ClusterError(f"Install these, there is no apt-get here (the names are Debian's): {', '.join(packages)}.")
    say(f"Installing {', '.join(packages)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(argv, capture_output=True, text=True, env=environ, check=False)
        if done.returncode:
            raise ClusterError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")


def refuse_second_kubelet() -> None:
    """Raise ClusterError when a kubelet that is not Sandmount's runs here: both would claim the same fixed paths."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(DEVICE_PLUGINS / "kubelet.sock"))
        except OSError:
            return
    if not clusters_with_kubelet():
        raise ClusterError(
            "This machine is already a Kubernetes node (a kubelet answers at /var/lib/kubelet/device-plugins). "
            "Use that cluster: SANDMOUNT_KUBECONFIG=/path/to/its/kubeconfig"
        )


def clusters_with_kubelet() -> set[Path]:
    """Run folders of the local clusters on this machine whose kubelet runs."""
    found = set()
    for pid in all_pids():
        try:
            environ = (PROC / str(pid) / "environ").read_bytes()
            program = (PROC / str(pid) / "exe").readlink().name
        except OSError:
            continue
        tags = [part for part in environ.split(b"\0") if part.startswith(f"{TAG}=".encode())]
        if program.startswith("kubelet") and tags:
            found.add(Path(tags[0].decode().removeprefix(f"{TAG}=")))
    return found


def observe(layout: Layout, boot: str) -> dict[str, Any]:
    """What the machine is like without any local cluster: the fields of `State` that `put_back` needs.

    Where another local cluster runs, it saw the machine before us: what it noted down holds for both, and whichever
    ends last puts it back.
    """
    for run in clusters_with_kubelet() - {layout.run}:
        seen = load(run / layout.state.name)
        if seen is not None and seen.boot == boot:
            names = ("sysctls", "absent_folders", "had_portmap_chains")
            return {name: getattr(seen, name) for name in names}
    return {
        "sysctls": read_sysctls(),
        "absent_folders": absent_folders(),
        "had_portmap_chains": network.has_portmap_chains(network.nat_rules()),
    }


def sysctl_path(name: str) -> Path:
    """Where a kernel setting is read and written."""
    return PROC / "sys" / name.replace(".", "/")


def read_sysctls() -> dict[str, str]:
    """The settings that will be changed, as they are."""
    return {name: sysctl_path(name).read_text().strip() for name in SYSCTLS if sysctl_path(name).exists()}


def restore_sysctls(before: Mapping[str, str]) -> None:
    """Put the settings back."""
    for name, value in before.items():
        path = sysctl_path(name)
        if path.read_text().strip() != value:
            path.write_text(value)


def absent_folders() -> tuple[str, ...]:
    """Folders outside of the cache that are not there yet, and so are ours to remove."""
    return tuple(str(folder) for folder in OUTSIDE if not folder.exists())


def put_back(layout: Layout, state: State) -> None:
    """Remove what the cluster left outside of its folder, and restore kernel settings."""
    is_last = not clusters_with_kubelet() - {layout.run}
    if is_last:
        restore_sysctls(state.sysctls)
    for link in CONTAINER_LOGS.iterdir() if CONTAINER_LOGS.is_dir() else ():
        if link.is_symlink() and link.readlink().is_relative_to(layout.run):
            link.unlink()
    for result in CNI_RESULTS.glob(f"{layout.network}-*") if CNI_RESULTS.is_dir() else ():
        result.unlink()
    if str(DEVICE_PLUGINS) in state.absent_folders and is_last:
        for name in ("kubelet.sock", "DEPRECATION", "kubelet_internal_checkpoint"):
            (DEVICE_PLUGINS / name).unlink(missing_ok=True)
    for folder in state.absent_folders:
        remove_if_empty(Path(folder))


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that nobody else uses."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
