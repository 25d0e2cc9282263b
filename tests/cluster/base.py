"""The interface that every kind of cluster has, and the words they share.

No process is started and no file is written here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

TESTS_LABEL = "app.kubernetes.io/part-of=sandmount-tests"
"""Tests put this label on every namespace they make; `reset` deletes nothing else of theirs."""

PRODUCT_LABEL = "app.kubernetes.io/part-of=sandmount"
"""What Sandmount's own manifests carry; `reset` deletes cluster-wide objects that have it."""

SIMULATED = "sandmount.test/simulated"
"""Label and taint of simulated nodes."""

ON_SIMULATED_NODES: Mapping[str, Any] = {
    "nodeSelector": {SIMULATED: "true"},
    "tolerations": [{"key": SIMULATED, "operator": "Exists"}],
}
"""What the spec of a Pod has in it that is to be on a simulated node."""

Progress = Callable[[str], None]


class ClusterError(Exception):
    """Something that a person has to do or to know; the message is written for them and says what to do."""


@dataclass(frozen=True)
class ComponentStatus:
    """One part of a cluster. `pid` is None where there is no process, or none that is ours to know."""

    name: str
    running: bool
    pid: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Status:
    """What a cluster looks like right now."""

    cluster: str
    components: tuple[ComponentStatus, ...]

    @property
    def is_up(self) -> bool:
        """True when there is something and all of it runs."""
        return bool(self.components) and all(component.running for component in self.components)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by component name, of those that have one."""
        return {component.name: component.pid for component in self.components if component.pid is not None}


class Cluster(Protocol):
    """A Kubernetes cluster that tests may use."""

    @property
    def name(self) -> str:
        """`given`, `kind` or `local`."""

    @property
    def kubeconfig(self) -> Path:
        """Credentials of an administrator; the file is there once `up` has returned."""

    @property
    def kubectl(self) -> Path:
        """A kubectl that fits this cluster."""

    @property
    def audit_log(self) -> Path | None:
        """The API server's audit log (JSON lines, level Metadata) where this machine can read it."""

    def up(self, host_dirs: Sequence[Path] = ()) -> None:
        """Start what is missing. Pods can then mount `host_dirs` (made if missing) by the same path."""

    def down(self) -> None:
        """Stop the cluster and leave nothing of it but what was costly to build."""

    def status(self) -> Status:
        """Look, without changing anything."""

    def load_image(self, archive: Path) -> None:
        """Make the images of an OCI or docker archive known to the node."""

    def reset(self) -> None:
        """Delete what tests and Sandmount left in the cluster, and wait until it is gone."""

    def compact_etcd(self) -> int:
        """Compact etcd to its current revision, so that older watches get 410 Gone. Returns the revision."""

    def restart(self, component: str) -> None:
        """Kill a component without warning, start it again, and wait until it answers."""

    def simulate_nodes(self, count: int) -> AbstractContextManager[tuple[str, ...]]:
        """So many nodes without a machine, inside; gives their names.

        A Pod with `ON_SIMULATED_NODES` is Ready there at once, and nothing of it runs. At the end the nodes go, with
        what is left on them.
        """


def say(line: str) -> None:
    """Print one line of progress at once, also where the output is not a terminal."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def make_host_dirs(host_dirs: Sequence[Path]) -> None:
    """Make those that are missing. Raises ClusterError for a path that cannot be a directory to mount."""
    for path in host_dirs:
        if not path.is_absolute():
            raise ClusterError(f"{path} is not an absolute path: Pods cannot mount it.")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"{path} is no directory and cannot be made ({error.strerror}); make it first."
            ) from error


def wait_for(what: str, answer: Callable[[], bool], seconds: float, *, hint: str = "") -> None:
    """Ask until the answer is yes. Raises ClusterError after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while not answer():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:g} s. {hint}".strip())
        time.sleep(pause)
        pause = min(pause * 1.3, 0.5)


def only_local(name: str, what: str) -> ClusterError:
    """The error for what only the local cluster can do."""
    return ClusterError(f"{what} needs the local cluster (SANDMOUNT_CLUSTER=local); this one is {name!r}.")
