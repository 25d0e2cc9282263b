"""Where the local cluster keeps its things, and the names that make two of them on one machine distinct.

Names only: nothing is created here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.base import ClusterError

NODE_NAME = "sandmount-node"
MAX_SOCKET_PATH = 107  # sun_path has 108 bytes, the last one is NUL
SHIM_SOCKET_NAME = 1 + 64  # containerd names a shim's socket by a SHA-256 in hex
MAX_SHIM_FOLDER = 40  # containerd refuses a longer socket_dir


@dataclass(frozen=True)
class Layout:
    """Paths and names of one local cluster."""

    cache: Path

    @property
    def bin(self) -> Path:
        """What was costly to build; `down` keeps it."""
        return self.cache / "bin"

    @property
    def tools(self) -> Path:
        """A Go of our own, where the machine has none."""
        return self.cache / "tools"

    @property
    def run(self) -> Path:
        """All that belongs to a running cluster; `down` removes it."""
        return self.cache / "run"

    @property
    def ident(self) -> str:
        """Short name of this cluster, from where it lives: part of the bridge's and the cgroup's name."""
        return hashlib.sha256(str(self.run).encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        """Network device of the Pod network (at most 15 characters)."""
        return f"sandm-{self.ident}"

    @property
    def network(self) -> str:
        """The CNI network's name; CNI writes it into rules and file names that it makes outside of `run`."""
        return f"sandmount-{self.ident}"

    @property
    def cgroup(self) -> str:
        """The cgroup, in every hierarchy, below which all Pods are."""
        return f"sandmount-{self.ident}"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the cluster. Outside of `run`, which comes and goes."""
        return self.cache / "lock"

    @property
    def starting(self) -> Path:
        """Held while a cluster starts, by all that share the binaries: two at once could choose the same ports."""
        return self.bin.resolve().parent / "starting"

    @property
    def state(self) -> Path:
        """What was chosen at the first start: ports, addresses, what the machine was like."""
        return self.run / "state.json"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.run / "pki"

    @property
    def config(self) -> Path:
        """Configuration files of the components."""
        return self.run / "config"

    @property
    def logs(self) -> Path:
        """One log per component."""
        return self.run / "logs"

    @property
    def pids(self) -> Path:
        """One record per process that was started."""
        return self.run / "pids"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log."""
        return self.run / "audit" / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's credentials."""
        return self.run / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """containerd's gRPC socket."""
        return self.run / "c.sock"

    @property
    def containerd_root(self) -> Path:
        """Images and snapshots."""
        return self.run / "containerd"

    @property
    def containerd_state(self) -> Path:
        """What containerd keeps only while the machine runs: bundles, mounted root filesystems, network namespaces."""
        return self.run / "state"

    @property
    def shim_sockets(self) -> Path:
        """Folder of the shims' sockets; containerd limits the length of this path more than others."""
        inside = self.run / "s"
        return inside if len(str(inside)) <= MAX_SHIM_FOLDER else Path("/run") / self.network

    @property
    def kubelet_root(self) -> Path:
        """The kubelet's folder; bind mounts of host directories appear below it."""
        return self.run / "kubelet"

    @property
    def cni(self) -> Path:
        """CNI configuration."""
        return self.run / "cni"

    @property
    def cni_data(self) -> Path:
        """Which Pod has which address."""
        return self.run / "cni-data"

    def check(self) -> None:
        """Raise ClusterError when the cache folder's path is too long for sockets, or unfit for options."""
        if len(str(self.containerd_socket) + ".ttrpc") > MAX_SOCKET_PATH:
            raise ClusterError(
                f"The cache folder {self.cache} is too long a path for Unix sockets. Set SANDMOUNT_CACHE."
            )
        if not str(self.cache).isascii() or any(c in str(self.cache) for c in " \"'\\\n,:"):
            raise ClusterError(f"The cache folder {self.cache!s} has characters that Kubernetes' options cannot carry.")
