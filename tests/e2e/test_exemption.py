"""Pod Security exempts the operator, as docs/admins.md says: namespaces of tenants stay at "restricted"."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.local.cluster import LocalCluster
from tests.conftest import spare_cluster
from tests.e2e.webhook import fed
from tests.support import Json, OperatorProcess, wait_until
from tests.support.documents import blocks
from tests.support.fixtures import USER, Sandboxes, host_volume
from tests.support.installation import MANIFESTS, REPOSITORY

EDITOR = ("--as=alice", "--as-group=system:authenticated")
REFUSED = 'violates PodSecurity "restricted:latest"'


@pytest.fixture(scope="module")
def exempted(cluster: Cluster) -> Iterator[OperatorProcess]:
    """An operator at work, under its own account, in a cluster whose API server has the document's file."""
    if not isinstance(cluster, LocalCluster):
        pytest.skip("the configuration of the API server is only ours on the local cluster")
    [configuration] = [
        text for text in blocks(REPOSITORY / "docs" / "admins.md", "yaml") if "AdmissionConfiguration" in text
    ]
    with spare_cluster(cluster, configuration) as own, OperatorProcess(own) as operator:
        yield operator


@pytest.fixture
def tenant(exempted: OperatorProcess, host: Path) -> Iterator[Sandboxes]:
    """A namespace at "restricted", in which alice may edit, with a Sandbox of hers that has a host directory."""
    kube, root = exempted.kube, host / "shared"
    root.mkdir()
    os.chown(root, USER, USER)
    kube.set_allowlist(f"- {root}\n")
    kube.run("create", "namespace", "tenant")
    kube.run("label", "namespace", "tenant", "pod-security.kubernetes.io/enforce=restricted")
    for role in ("edit", "sandmount-editor"):
        kube.run("create", "rolebinding", role, f"--clusterrole={role}", "--user=alice", "-n", "tenant")
    found = Sandboxes(kube, "tenant", exempted.log)
    done = fed(kube, found.manifest("own", host_volume(root)), "apply", *EDITOR)
    assert done.returncode == 0, done.stderr
    yield found
    kube.run("delete", "namespace", "tenant", "--wait=true", seconds=120)


def pod_with(**spec: object) -> Json:
    """A Pod that "restricted" admits, but for what is given."""
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    container = {
        "name": "c", "image": "busybox:stable", "command": ["sleep", "1000"],
        "securityContext": {**safe, "runAsUser": USER, "seccompProfile": {"type": "RuntimeDefault"}},
    }  # fmt: skip
    metadata = {"name": "raw", "namespace": "tenant"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def test_a_tenant_s_sandbox_has_its_directory_and_no_other_pod_has_one(tenant: Sandboxes, host: Path) -> None:
    tenant.wait_ready("own")
    assert tenant.sh("own", "echo written > /mnt/data/file")[0] == 0
    assert (host / "shared" / "file").read_text() == "written\n"

    def apply(item: Json) -> str:
        done = fed(tenant.kube, item, "apply", "--dry-run=server", *EDITOR)
        return done.stdout if done.returncode == 0 else done.stderr

    assert "created (server dry run)" in apply(pod_with())
    volume = {"name": "etc", "hostPath": {"path": "/etc"}}
    assert REFUSED in apply(pod_with(volumes=[volume]))
    forged = pod_with(volumes=[volume])
    forged["metadata"]["labels"] = {"sandmount.dev/sandbox": "raw"}
    assert REFUSED in apply(forged)


def test_nobody_puts_an_ephemeral_container_or_another_image_into_its_pod(tenant: Sandboxes) -> None:
    tenant.wait_ready("own")
    kube, own = tenant.kube, ("pod", "own", "-n", "tenant")
    [safe] = pod_with()["spec"]["containers"]
    added = {"spec": {"ephemeralContainers": [{**safe, "name": "look"}]}}
    other = {"spec": {"containers": [{"name": "sandbox", "image": "other:stable"}]}}
    for patch, how in ((added, ("--subresource=ephemeralcontainers",)), (other, EDITOR)):
        done = kube.try_run("patch", *own, *how, "-p", json.dumps(patch))
        assert done.returncode != 0
        assert REFUSED in done.stderr and "hostPath" in done.stderr


def test_the_policy_beside_it_refuses_what_pod_security_does_not_look_at(tenant: Sandboxes) -> None:
    tenant.wait_ready("own")
    kube, own = tenant.kube, ("pod", "own", "-n", "tenant")
    strip = json.dumps({"metadata": {"labels": {"sandmount.dev/sandbox": None}, "ownerReferences": None}})
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "own", "namespace": "tenant"},
        "deleteOptions": {"gracePeriodSeconds": 3600},
    }
    path = "/api/v1/namespaces/tenant/pods/own"

    def strip_it() -> bool:
        return kube.try_run("patch", *own, "-p", strip, "--dry-run=server", *EDITOR).returncode == 0

    def evict_it() -> bool:
        return fed(kube, eviction, "create", "--raw", f"{path}/eviction?dryRun=All", *EDITOR).returncode == 0

    assert strip_it() and evict_it()
    kube.run("apply", "-k", str(MANIFESTS / "policy"))
    try:
        wait_until("the policy is in force", lambda: not strip_it() and not evict_it(), 30)
    finally:
        kube.run("delete", "-k", str(MANIFESTS / "policy"))
