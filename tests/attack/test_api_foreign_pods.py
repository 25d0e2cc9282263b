"""A Pod that somebody made in advance with the Sandbox's name: never adopted, never touched, never vouched for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandmount.api import LABEL_SANDBOX, LABEL_SANDBOX_UID
from tests.attack.api_support import (
    WRITE,
    Tenant,
    genuine_pod,
    host_mounts,
    owner,
    script,
    uid_of,
    wait_until_written,
    writes,
)
from tests.cluster import Cluster
from tests.support import Json
from tests.support.audit import AuditLog
from tests.support.fixtures import IMAGE, USER, Sandboxes, host_volume

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")

SOMEBODY = str(uuid.UUID(int=1))
"""A uid that no Sandbox has."""


@dataclass(frozen=True)
class Forged:
    """What somebody writes into the metadata of a Pod named as the Sandbox."""

    labels: Mapping[str, str] = field(default_factory=dict)
    our_hash: bool = False
    """Whether it has our annotation, as the operator would write it."""
    owner_kind: str = ""
    """Kind of its controller: Sandbox for another Sandbox, ConfigMap for one of that name."""


FORGED: Mapping[str, Forged] = {
    "plain": Forged(),
    "our-label": Forged({LABEL_SANDBOX: "our-label"}),
    "our-labels-of-another": Forged({LABEL_SANDBOX: "another", LABEL_SANDBOX_UID: SOMEBODY}, our_hash=True),
    "our-hash": Forged({}, our_hash=True),
    "our-label-and-hash": Forged({LABEL_SANDBOX: "our-label-and-hash"}, our_hash=True),
    "uid-without-hash": Forged({LABEL_SANDBOX: "uid-without-hash", LABEL_SANDBOX_UID: SOMEBODY}),
    "of-a-config-map": Forged(
        {LABEL_SANDBOX: "of-a-config-map", LABEL_SANDBOX_UID: SOMEBODY}, our_hash=True, owner_kind="ConfigMap"
    ),
    "of-another-sandbox": Forged(
        {LABEL_SANDBOX: "of-another-sandbox", LABEL_SANDBOX_UID: SOMEBODY}, our_hash=True, owner_kind="Sandbox"
    ),
}


def forged_pod(sandboxes: Sandboxes, name: str, forged: Forged, owners: Mapping[str, Json], directory: Path) -> Json:
    """A Pod that writes into the directory for as long as it runs."""
    controller = owners.get(forged.owner_kind)
    made = sandboxes.manifest(name, host_volume(directory))
    made["metadata"]["uid"] = SOMEBODY
    genuine = genuine_pod(made, f"- {directory}")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": sandboxes.namespace,
            "labels": dict(forged.labels),
            "annotations": genuine["metadata"]["annotations"] if forged.our_hash else {},
            **({"ownerReferences": [controller]} if controller else {}),
        },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsUser": USER},
            "containers": [
                {
                    "name": "sandbox",
                    "image": IMAGE,
                    "command": script(WRITE),
                    "volumeMounts": [{"name": "data", "mountPath": "/mnt/data"}],
                }
            ],
            "volumes": [{"name": "data", "hostPath": {"path": str(directory)}}],
        },
    }


@pytest.mark.without_policy("makes Pods with our label, which the policy refuses")
def test_a_pod_made_in_advance_is_neither_adopted_nor_touched_nor_granted_anything(
    sandboxes: Sandboxes, pod_user: Tenant, shared: Path, host: Path, cluster: Cluster
) -> None:
    outside = host / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    owners = make_owners(sandboxes)
    pod_user.apply([forged_pod(sandboxes, name, forged, owners, outside) for name, forged in FORGED.items()])
    for name in FORGED:
        wait_until_written(outside / name)
    before = {name: sandboxes.pod(name) for name in FORGED}
    audit = AuditLog.of(cluster)
    sandboxes.kube.apply([sandboxes.manifest(name, host_volume(shared)) for name in FORGED])
    for name in FORGED:
        message = sandboxes.wait_reason(name, "PodNameTaken")["message"]
        assert f'a Pod named "{name}" exists and belongs to' in message
        status = sandboxes.get(name)["status"]
        assert not {"volumes", "podName", "podIP", "startedAt"} & status.keys(), status
    assert not any(shared.iterdir())
    for name, pod in before.items():
        now = sandboxes.pod(name)
        assert now is not None and pod is not None
        assert uid_of(now) == uid_of(pod), name
        for part in ("labels", "annotations", "ownerReferences"):
            assert now["metadata"].get(part) == pod["metadata"].get(part), name
        assert writes(outside / name), name
    touched = [r for r in audit.writes(sandboxes.namespace) if r.what == "pods" and r.succeeded]
    assert not touched, [str(r) for r in touched]


@pytest.mark.without_policy("makes Pods with our label, which the policy refuses")
def test_a_forged_pod_of_a_sandbox_that_never_was_goes_and_the_real_one_gets_its_own(
    sandboxes: Sandboxes, pod_user: Tenant, shared: Path, host: Path
) -> None:
    """Whoever writes all that our Pods have says that the Pod is ours, and ours without a Sandbox are deleted."""
    outside = host / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    every = Forged({LABEL_SANDBOX: "orphan", LABEL_SANDBOX_UID: SOMEBODY}, our_hash=True)
    owners = {"Sandbox": owner("owned", SOMEBODY)}
    owned = Forged({LABEL_SANDBOX: "owned", LABEL_SANDBOX_UID: SOMEBODY}, our_hash=True, owner_kind="Sandbox")
    pods = {"orphan": every, "owned": owned}
    pod_user.apply([forged_pod(sandboxes, name, forged, owners, outside) for name, forged in pods.items()])
    sandboxes.kube.apply([sandboxes.manifest(name, host_volume(shared)) for name in pods])
    for name in pods:
        found = sandboxes.wait_ready(name)
        assert found["status"]["volumes"] == [{"name": "data", "root": str(shared), "readOnly": False}]
        pod = sandboxes.pod(name)
        assert pod is not None
        assert host_mounts(pod) == {(str(shared), "", False)}
        assert [o["uid"] for o in pod["metadata"]["ownerReferences"]] == [uid_of(found)]
        assert not (outside / name).exists() or not writes(outside / name)


def make_owners(sandboxes: Sandboxes) -> dict[str, Json]:
    """Controllers that exist, by kind: a ConfigMap, and another Sandbox."""
    config_map = {"apiVersion": "v1", "kind": "ConfigMap"}
    metadata = {"name": "owner", "namespace": sandboxes.namespace}
    sandboxes.kube.apply(config_map | {"metadata": metadata})
    sandboxes.apply("another")
    found = uid_of(sandboxes.kube.get("configmap", "owner", sandboxes.namespace))
    return {
        "ConfigMap": owner("owner", found, "ConfigMap", "v1"),
        "Sandbox": owner("another", uid_of(sandboxes.get("another"))),
    }
