"""What `reset` deletes, in which order, and what it leaves alone."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.cluster.base import TESTS_LABEL
from tests.cluster.kubectl import SANDBOXES, Kubectl, reset_cluster


class Recorder(Kubectl):
    """A cluster with one namespace of tests and one Sandbox elsewhere."""

    def __init__(self, *, has_crd: bool) -> None:
        super().__init__(Path("/kubectl"), Path("/kubeconfig"))
        self.has_crd = has_crd
        self.namespaces = ["test-1"]
        self.deleted: list[str] = []

    def try_run(self, *args: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        if args[0] == "delete":
            self.deleted.append(" ".join(arg for arg in args[1:] if not arg.startswith("--")))
            self.namespaces = [name for name in self.namespaces if args[1:3] != ("namespace", name)]
        found = "crd" if args[:2] == ("get", "crd") and self.has_crd else ""
        return subprocess.CompletedProcess(args, 0, found, "")

    def items(self, *args: str) -> list[dict[str, Any]]:
        if args[0] == SANDBOXES:
            return [{"apiVersion": "sandmount.dev/v1", "metadata": {"name": "demo", "namespace": "default"}}]
        names = self.namespaces if TESTS_LABEL in args else []
        return [{"metadata": {"name": name}} for name in names]


def test_a_cluster_of_somebody_else_loses_only_namespaces_of_tests() -> None:
    kubectl = Recorder(has_crd=True)
    reset_cluster(kubectl, is_ours=False)
    assert kubectl.deleted == ["pods -n test-1", "namespace test-1"]


def test_webhooks_go_before_what_they_could_refuse() -> None:
    kubectl = Recorder(has_crd=True)
    reset_cluster(kubectl, is_ours=True)
    order = [line.split(" ")[0] for line in kubectl.deleted]
    webhook = order.index("validatingwebhookconfigurations.admissionregistration.k8s.io")
    sandboxes = order.index("/apis/sandmount.dev/v1/namespaces/default/sandboxes")
    assert webhook < sandboxes < order.index("crd") < order.index("namespace")


def test_without_the_crd_it_is_not_deleted() -> None:
    kubectl = Recorder(has_crd=False)
    reset_cluster(kubectl, is_ours=True)
    assert not any(line.startswith("crd") for line in kubectl.deleted)
