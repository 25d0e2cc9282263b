"""Sandmount's objects in a cluster: the CRD and the manifests but the Deployment, and back to what was there before.

The operator itself is not installed here; it runs as a process beside the cluster, see `operator.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import ClusterError
from tests.cluster.kubectl import SANDBOXES
from tests.support.kubectl import ALLOWLIST_NAME, OPERATOR_NAMESPACE, Json, Kube, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
CRDS = REPOSITORY / "crds"
MANIFESTS = REPOSITORY / "manifests"

SERVICE_ACCOUNT = "sandmount-operator"
DEPLOYMENT = "sandmount-operator"
RIGHTS_SECONDS = 30.0
ENDING_SECONDS = 120.0


@dataclass(frozen=True)
class Before:
    """What of Sandmount a cluster had before `install`."""

    crd: bool
    namespace: bool
    allowlist: str | None


def install(kube: Kube) -> Before:
    """Install the CRD and the manifests, and wait until the ServiceAccount has its rights.

    An allowlist that is there stays as it is. Raises ClusterError when the operator's Deployment is there and not
    scaled to nothing: two operators at once are not what a test or a demo is about.
    """
    before = look(kube)
    found = kube.find("deployment", DEPLOYMENT, OPERATOR_NAMESPACE) if before.namespace else None
    if found is not None and found["spec"]["replicas"]:
        raise ClusterError(
            f"An operator is installed in this cluster (Deployment {DEPLOYMENT} in {OPERATOR_NAMESPACE}): "
            "use another cluster, or delete that Deployment first."
        )
    kube.run("apply", "--server-side", "--force-conflicts", "-k", str(CRDS))
    wait_until_established(kube)
    kube.apply(manifests(kube))
    wait_until("the rights of the operator's ServiceAccount", lambda: has_rights(kube), RIGHTS_SECONDS)
    return before


def wait_until_established(kube: Kube) -> None:
    """Returns when there can be Sandboxes. A CRD that has no conditions yet is an error to kubectl wait."""
    established = ("wait", "--for=condition=Established", f"crd/{SANDBOXES}", "--timeout=5s")
    wait_until("the CRD is established", lambda: kube.try_run(*established).returncode == 0, RIGHTS_SECONDS)


def look(kube: Kube) -> Before:
    """What is there now. A namespace that is just being removed, with all that is in it, is waited for."""
    wait_until("the end of the namespace that is being removed", lambda: not is_ending(kube), ENDING_SECONDS)
    return Before(
        crd=kube.find("crd", SANDBOXES) is not None,
        namespace=kube.find("namespace", OPERATOR_NAMESPACE) is not None,
        allowlist=kube.allowlist(),
    )


def put_back(kube: Kube, before: Before) -> None:
    """Remove what `install` brought; what was there before stays, with the allowlist that it had.

    The namespace takes some ten seconds to go, which is not waited for; the next `install` does.
    """
    if not before.crd:
        kube.delete("crd", SANDBOXES)
    if not before.namespace:
        listed = {"apiVersion": "v1", "kind": "List", "items": manifests(kube)}
        kube.feed(json.dumps(listed), "delete", "--ignore-not-found", "--wait=false", "-f", "-")
    elif before.allowlist is None:
        kube.delete("configmap", ALLOWLIST_NAME, OPERATOR_NAMESPACE)
    else:
        kube.set_allowlist(before.allowlist)


def is_ending(kube: Kube) -> bool:
    """Whether the operator's namespace is being deleted."""
    found = kube.find("namespace", OPERATOR_NAMESPACE)
    return found is not None and "deletionTimestamp" in found["metadata"]


def manifests(kube: Kube) -> list[Json]:
    """The objects of manifests/ without the Deployment."""
    rendered = yaml.safe_load_all(kube.run("kustomize", str(MANIFESTS)))
    return [item for item in rendered if item["kind"] != "Deployment"]


def has_rights(kube: Kube) -> bool:
    """Whether the API server has taken notice of the ServiceAccount's roles."""
    account = f"--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"
    questions = (
        ("list", SANDBOXES, "--all-namespaces"),
        ("create", "pods", "--all-namespaces"),
        ("watch", f"configmaps/{ALLOWLIST_NAME}", "-n", OPERATOR_NAMESPACE),
    )
    return all(kube.try_run("auth", "can-i", *question, account).returncode == 0 for question in questions)
