"""A cluster that the user named with SANDMOUNT_KUBECONFIG.

It is theirs: nothing is started, stopped or deleted here but namespaces with the label of tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.cluster.base import ClusterError, ComponentStatus, Status, only_local, say
from tests.cluster.kubectl import Kubectl, find_kubectl, reset_cluster


class GivenCluster:
    """The user's own cluster."""

    name = "given"
    audit_log: Path | None = None

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    @property
    def kubectl(self) -> Path:
        """The kubectl on PATH."""
        return find_kubectl()

    @property
    def _kubectl(self) -> Kubectl:
        return Kubectl(self.kubectl, self.kubeconfig)

    def up(self, host_dirs: Sequence[Path] = ()) -> None:
        """Check that it answers. Whether a Pod sees `host_dirs` depends on its nodes, which we cannot change."""
        if not self.kubeconfig.is_file():
            raise ClusterError(f"SANDMOUNT_KUBECONFIG={self.kubeconfig}: there is no such file.")
        if not self._kubectl.api_answers():
            raise ClusterError(f"The cluster of SANDMOUNT_KUBECONFIG={self.kubeconfig} does not answer.")
        if host_dirs:
            wanted = ", ".join(str(path) for path in host_dirs)
            say(f"Your cluster answers. Its node must be this machine, or have these directories itself: {wanted}")

    def down(self) -> None:
        """Do nothing: it was not started by us."""
        say("The cluster is your own (SANDMOUNT_KUBECONFIG): it is left running.")

    def status(self) -> Status:
        """Whether the API server answers, and which nodes are Ready."""
        answers = self._kubectl.api_answers()
        nodes = self._kubectl.ready_nodes() if answers else []
        return Status(
            self.name,
            (
                ComponentStatus("kube-apiserver", answers, detail=str(self.kubeconfig)),
                ComponentStatus("nodes", bool(nodes), detail=", ".join(nodes)),
            ),
        )

    def load_image(self, archive: Path) -> None:
        """Refuse: how images reach the user's nodes is not ours to know."""
        raise ClusterError(f"Bring the image {archive} to your nodes yourself: this cluster is your own.")

    def reset(self) -> None:
        """Delete the namespaces that carry the label of tests; nothing else here is known to be ours."""
        reset_cluster(self._kubectl, is_ours=False)

    def compact_etcd(self) -> int:
        """Refuse."""
        raise only_local(self.name, "Compacting etcd")

    def restart(self, component: str) -> None:
        """Refuse."""
        raise only_local(self.name, f"Restarting {component}")

    def simulate_nodes(self, count: int) -> AbstractContextManager[tuple[str, ...]]:
        """Refuse."""
        raise only_local(self.name, f"Simulating {count} nodes")
