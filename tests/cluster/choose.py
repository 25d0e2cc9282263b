"""Which cluster to use: the user's own, kind, or the local one, in that order.

Decides only; starts nothing. The ambient KUBECONFIG is never looked at: tests delete things, and must not do that to
whatever cluster somebody happened to work with last.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.base import Cluster, ClusterError
from tests.cluster.given import GivenCluster
from tests.cluster.kind import KindCluster
from tests.cluster.local.cluster import LocalCluster

NAMES = ("given", "kind", "local")

NONE_POSSIBLE = """\
No Kubernetes cluster to use. One of these is enough:
  - a cluster of your own:  SANDMOUNT_KUBECONFIG=/path/to/kubeconfig (its one node is this machine)
  - kind:                   install Docker (`docker info` must answer), `kind` and `kubectl`
  - the local cluster:      Linux as root; it builds Kubernetes from source once (Go, or pip to get it)\
"""


@dataclass(frozen=True)
class Machine:
    """What the choice depends on; replaced as a whole in unit tests."""

    is_linux: bool
    is_root: bool
    find: Callable[[str], str | None]
    docker_answers: Callable[[], bool]

    @property
    def can_kind(self) -> bool:
        """True where kind could make a cluster."""
        return all(self.find(name) for name in ("kind", "docker", "kubectl")) and self.docker_answers()

    @property
    def can_local(self) -> bool:
        """True where the local cluster could run."""
        return self.is_linux and self.is_root


def docker_answers() -> bool:
    """True when a Docker engine answers within a few seconds."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def this_machine() -> Machine:
    """The machine that we run on."""
    return Machine(
        is_linux=sys.platform == "linux",
        is_root=os.geteuid() == 0,
        find=shutil.which,
        docker_answers=docker_answers,
    )


def choose_name(environ: Mapping[str, str], machine: Machine) -> str:
    """`given`, `kind` or `local`. Raises ClusterError when a setting is wrong or nothing is possible."""
    wanted = environ.get("SANDMOUNT_CLUSTER", "")
    if wanted and wanted not in NAMES:
        raise ClusterError(f"SANDMOUNT_CLUSTER={wanted!r} is none of: {', '.join(NAMES)}.")
    has_given = bool(environ.get("SANDMOUNT_KUBECONFIG"))
    if wanted == "given" and not has_given:
        raise ClusterError("SANDMOUNT_CLUSTER=given needs SANDMOUNT_KUBECONFIG, the path of a kubeconfig.")
    if wanted == "kind" and not machine.can_kind:
        raise ClusterError(
            "SANDMOUNT_CLUSTER=kind needs a Docker engine (`docker info` must answer) and `kind` on PATH."
        )
    if wanted == "local" and not machine.can_local:
        raise ClusterError(
            "SANDMOUNT_CLUSTER=local needs Linux and root (it makes network devices, mounts and cgroups)."
        )
    if wanted:
        return wanted
    if has_given:
        return "given"
    if machine.can_kind:
        return "kind"
    if machine.can_local:
        return "local"
    raise ClusterError(NONE_POSSIBLE)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where binaries and a running cluster's files live."""
    if own := environ.get("SANDMOUNT_CACHE"):
        return Path(own).absolute()
    if xdg := environ.get("XDG_CACHE_HOME"):
        return Path(xdg).absolute() / "sandmount"
    return Path("~/.cache/sandmount").expanduser()


def choose(environ: Mapping[str, str] | None = None, machine: Machine | None = None) -> Cluster:
    """The cluster to use; it is not started yet."""
    environ = os.environ if environ is None else environ
    machine = machine or this_machine()
    name = choose_name(environ, machine)
    if name == "given":
        return GivenCluster(Path(environ["SANDMOUNT_KUBECONFIG"]).expanduser().absolute())
    if name == "kind":
        return KindCluster(cache_folder(environ) / "kind", node_image=environ.get("SANDMOUNT_KIND_IMAGE") or None)
    return LocalCluster(cache_folder(environ))
