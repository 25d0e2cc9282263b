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
from tests.support import Json, OperatorProcess
from tests.support.documents import blocks
from tests.support.fixtures import USER, Sandboxes, host_volume
from tests.support.installation import REPOSITORY

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


def test_nobody_adds_an_ephemeral_container_to_it(tenant: Sandboxes) -> None:
    tenant.wait_ready("own")
    added = {"spec": {"ephemeralContainers": [{"name": "look", "image": "busybox:stable"}]}}
    argv = ("patch", "pod", "own", "-n", "tenant", "--subresource=ephemeralcontainers", "-p", json.dumps(added))
    done = tenant.kube.try_run(*argv)  # not even an administrator
    assert done.returncode != 0
    assert REFUSED in done.stderr
