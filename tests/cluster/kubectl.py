"""kubectl as a function, and the clean-up that all kinds of clusters share.

Only objects that carry a label of ours are ever deleted: a cluster may be somebody's own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster.base import PRODUCT_LABEL, TESTS_LABEL, ClusterError, wait_for

SANDBOXES = "sandboxes.sandmount.dev"
CLUSTER_WIDE = (
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "priorityclasses.scheduling.k8s.io",
)
GONE_SECONDS = 120


class Kubectl:
    """One kubectl with one kubeconfig."""

    def __init__(self, binary: Path, kubeconfig: Path) -> None:
        self.binary = binary
        self.kubeconfig = kubeconfig

    def try_run(self, *args: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run; the caller looks at the exit code. A timeout is the exit code 124."""
        command = [str(self.binary), f"--kubeconfig={self.kubeconfig}", *args]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"no answer within {seconds:g} s")
        except OSError as error:
            return subprocess.CompletedProcess(command, 127, "", str(error))

    def run(self, *args: str, seconds: float = 60) -> str:
        """Run and return what it printed. Raises ClusterError with its message when it fails."""
        done = self.try_run(*args, seconds=seconds)
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(args)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def items(self, *args: str) -> list[dict[str, Any]]:
        """The items of a `get`; raises when the lookup fails, so that a failure never looks like an empty list."""
        found: list[dict[str, Any]] = json.loads(self.run("get", *args, "-o", "json"))["items"]
        return found

    def api_answers(self) -> bool:
        """True when the API server says that it is ready."""
        return self.try_run("get", "--raw", "/readyz", "--request-timeout=3s", seconds=5).returncode == 0

    def ready_nodes(self) -> list[str]:
        """Names of the nodes that are Ready; none when the API server does not answer."""
        done = self.try_run("get", "nodes", "-o", "json", "--request-timeout=3s", seconds=5)
        if done.returncode:
            return []
        return [node["metadata"]["name"] for node in json.loads(done.stdout)["items"] if is_ready(node)]


def is_ready(node: dict[str, Any]) -> bool:
    """True when a node's condition Ready is True."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def find_kubectl() -> Path:
    """The kubectl on PATH."""
    found = shutil.which("kubectl")
    if found is None:
        raise ClusterError("kubectl is not on PATH: install it, or use SANDMOUNT_CLUSTER=local, which builds its own.")
    return Path(found)


def reset_cluster(kubectl: Kubectl, *, is_ours: bool) -> None:
    """Delete what tests left, and wait until it is gone.

    Namespaces with the label of tests go from any cluster. In a cluster that was made for Sandmount (`is_ours`) all
    Sandboxes, the CRD and everything cluster-wide with Sandmount's label go too; in somebody's own they may be in use.
    """
    labels = [TESTS_LABEL]
    if is_ours:
        labels.append(PRODUCT_LABEL)
        # What intercepts requests goes first: a webhook whose operator is dead would refuse the deletions below.
        for kind in CLUSTER_WIDE:
            kubectl.run("delete", kind, "-l", PRODUCT_LABEL, "--ignore-not-found", "--wait=false")
        delete_crd(kubectl)
    for label in labels:
        delete_namespaces(kubectl, label)
    for label in labels:
        wait_for(
            f"namespaces with {label} to be gone",
            partial(has_no_namespace, kubectl, label),
            GONE_SECONDS,
            hint=f"See `kubectl get namespaces -l {label} -o yaml`.",
        )


def has_no_namespace(kubectl: Kubectl, label: str) -> bool:
    """True when no namespace has the label."""
    return not kubectl.items("namespaces", "-l", label)


def delete_namespaces(kubectl: Kubectl, label: str) -> None:
    """Ask for the namespaces with the label to be deleted; does not wait."""
    for namespace in [item["metadata"]["name"] for item in kubectl.items("namespaces", "-l", label)]:
        # A Pod's grace period would make every reset half a minute long; nothing in a test Pod is worth the wait.
        kubectl.run("delete", "pods", "--all", "-n", namespace, "--grace-period=1", "--wait=false")
        kubectl.run("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


def delete_crd(kubectl: Kubectl) -> None:
    """Delete all Sandboxes and their definition, and wait."""
    if not kubectl.run("get", "crd", SANDBOXES, "-o", "name", "--ignore-not-found"):
        return
    kind = SANDBOXES.partition(".")[0]
    # Each namespace with one request: there may be thousands, and kubectl would ask for one after the other.
    for version, namespace in {(i["apiVersion"], i["metadata"]["namespace"]) for i in kubectl.items(SANDBOXES, "-A")}:
        kubectl.run("delete", "--raw", f"/apis/{version}/namespaces/{namespace}/{kind}", seconds=GONE_SECONDS)
    kubectl.run("delete", "crd", SANDBOXES, "--ignore-not-found", seconds=GONE_SECONDS)
