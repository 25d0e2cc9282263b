"""Pause and resume, readiness, fsGroup, and what does and does not replace a Pod, on a real kubelet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.audit import AuditLog
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.installation import REPOSITORY
from tests.support.kubectl import condition_of

NEWER_BUILD = REPOSITORY / "tests" / "e2e" / "newer_build"
SCRATCH = {"name": "scratch", "emptyDir": {}, "mountPath": "/scratch"}


def pod_uid(sandboxes: Sandboxes, name: str) -> str:
    """uid of its Pod, which has to be there."""
    found = sandboxes.pod(name)
    assert found is not None
    uid: str = found["metadata"]["uid"]
    return uid


def types(sandbox: Json) -> set[str]:
    """The types of its conditions."""
    return {c["type"] for c in sandbox["status"]["conditions"]}


def test_a_pause_takes_the_pod_keeps_the_data_and_ends_on_the_same_node(sandboxes: Sandboxes, shared: Path) -> None:
    sandboxes.apply("rests", host_volume(shared))
    before = sandboxes.wait_ready("rests")["status"]
    assert sandboxes.sh("rests", "echo kept > /mnt/data/file") == (0, "")
    sandboxes.apply("rests", host_volume(shared), paused=True)
    sandboxes.wait_reason("rests", "Paused", kind="Paused")
    assert sandboxes.pod("rests") is None
    paused = sandboxes.get("rests")
    assert types(paused) == {"Paused"}
    assert (paused["status"]["phase"], paused["status"]["nodeName"]) == ("Paused", before["nodeName"])
    assert (shared / "file").read_text() == "kept\n"
    sandboxes.apply("rests", host_volume(shared), paused=False)
    after = sandboxes.wait_ready("rests")["status"]
    assert sandboxes.sh("rests", "cat /mnt/data/file") == (0, "kept\n")
    assert (after["nodeName"], after["startedAt"]) == (before["nodeName"], before["startedAt"])
    assert "restarts" not in after
    events = sandboxes.kube.items("events", "-n", sandboxes.namespace)
    told = [e["reason"] for e in events if e["involvedObject"]["kind"] == "Sandbox"]
    assert sorted(told) == ["Paused", "Resumed"]


def test_while_it_is_being_paused_and_resumed_it_says_so(sandboxes: Sandboxes) -> None:
    slow = ["sh", "-c", "trap 'sleep 4; exit 0' TERM; while :; do sleep 0.1; done"]
    sandboxes.apply("slow", entrypoint=slow)
    sandboxes.wait_ready("slow")
    sandboxes.apply("slow", entrypoint=slow, paused=True)
    sandboxes.wait_reason("slow", "Pausing")
    assert sandboxes.get("slow")["status"]["phase"] == "Pausing"
    sandboxes.wait_reason("slow", "Paused", kind="Paused")
    probe = {"exec": {"command": ["test", "-e", "/scratch/ready"]}, "periodSeconds": 1}
    sandboxes.apply("slow", paused=False, readinessProbe=probe)
    sandboxes.wait_reason("slow", "ContainersNotReady")
    assert sandboxes.get("slow")["status"]["phase"] == "Resuming"


def test_what_the_list_no_longer_allows_does_not_come_back_from_a_pause(
    sandboxes: Sandboxes, kube: Kube, shared: Path
) -> None:
    sandboxes.apply("rests", host_volume(shared))
    sandboxes.wait_ready("rests")
    sandboxes.apply("rests", host_volume(shared), paused=True)
    sandboxes.wait_reason("rests", "Paused", kind="Paused")
    kube.set_allowlist("none")
    sandboxes.apply("rests", host_volume(shared), paused=False)
    sandboxes.wait_reason("rests", "HostPathNotAllowed")
    assert sandboxes.pod("rests") is None


def test_one_that_is_created_paused_has_no_pod_until_it_is_resumed(sandboxes: Sandboxes, cluster: Cluster) -> None:
    log = AuditLog.of(cluster)
    sandboxes.apply("later", paused=True)
    sandboxes.wait_reason("later", "Paused", kind="Paused")
    assert not [w for w in log.writes(sandboxes.namespace) if w.what == "pods"]
    sandboxes.apply("later", paused=False)
    sandboxes.wait_ready("later")


def test_a_change_of_the_lifecycle_leaves_the_pod_alone(sandboxes: Sandboxes) -> None:
    sandboxes.apply("same")
    sandboxes.wait_ready("same")
    uid = pod_uid(sandboxes, "same")
    lifecycle = {"timeoutSeconds": 3600, "expiresAt": "2199-01-01T00:00:00Z", "expiryPolicy": "Delete", "paused": False}
    sandboxes.apply("same", **lifecycle)
    found = sandboxes.wait_ready("same")
    assert found["status"]["observedGeneration"] == 2
    assert pod_uid(sandboxes, "same") == uid


@pytest.fixture
def newer(operator: OperatorProcess, cluster: Cluster) -> Iterator[None]:
    """In the operator's place, a later version: with a new field in the spec, and Pods that it builds differently."""
    operator.stop()
    try:
        with OperatorProcess(cluster, {"PYTHONPATH": f"{NEWER_BUILD}:{REPOSITORY / 'operator'}"}):
            yield
    finally:
        operator.start()
        operator.wait_until_working()


def test_an_upgrade_of_the_operator_replaces_no_pod_and_writes_nothing(
    sandboxes: Sandboxes, cluster: Cluster, shared: Path, request: pytest.FixtureRequest
) -> None:
    sandboxes.apply("kept", host_volume(shared, readOnly=True), timeoutSeconds=3600)
    sandboxes.wait_ready("kept")
    uid, log = pod_uid(sandboxes, "kept"), AuditLog.of(cluster)
    request.getfixturevalue("newer")
    sandboxes.apply("new")
    sandboxes.wait_ready("new")
    new = sandboxes.pod("new")
    assert new is not None and new["metadata"]["annotations"]["example.com/newer"] == "true"
    assert pod_uid(sandboxes, "kept") == uid
    assert not [w for w in log.writes(sandboxes.namespace) if w.name == "kept"]


def test_a_sandbox_with_a_readiness_probe_is_ready_when_the_probe_says_so(sandboxes: Sandboxes) -> None:
    probe = {"exec": {"command": ["test", "-e", "/scratch/ready"]}, "periodSeconds": 1}
    sandboxes.apply("probed", SCRATCH, readinessProbe=probe)
    sandboxes.wait_reason("probed", "ContainersNotReady")
    assert sandboxes.sh("probed", "touch /scratch/ready")[0] == 0
    sandboxes.wait_ready("probed")
    assert sandboxes.sh("probed", "rm /scratch/ready")[0] == 0
    sandboxes.wait_reason("probed", "ContainersNotReady")
    assert (condition_of(sandboxes.get("probed"), "Reconciling") or {})["status"] == "True"


def test_the_fs_group_owns_scratch_space_and_never_a_host_directory(sandboxes: Sandboxes, shared: Path) -> None:
    before = shared.stat().st_gid
    context = {"runAsUser": 1234, "runAsGroup": 1234, "fsGroup": 4321}
    sandboxes.apply("grouped", host_volume(shared, readOnly=True), SCRATCH, securityContext=context)
    sandboxes.wait_ready("grouped")
    assert sandboxes.sh("grouped", "touch /scratch/a && stat -c %g /scratch/a && id -G")[1].split() == [
        "4321",
        "1234",
        "4321",
    ]
    assert shared.stat().st_gid == before


def test_a_pod_that_is_told_to_end_and_does_not_is_waited_for(sandboxes: Sandboxes) -> None:
    deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    sandboxes.apply("deaf", entrypoint=deaf, terminationGracePeriodSeconds=5)
    sandboxes.wait_ready("deaf")
    uid = pod_uid(sandboxes, "deaf")
    sandboxes.apply("deaf", entrypoint=deaf, terminationGracePeriodSeconds=4)
    sandboxes.wait_reason("deaf", "PodReplaced")
    sandboxes.wait_ready("deaf")
    wait_until("another Pod runs", lambda: pod_uid(sandboxes, "deaf") != uid, 30)
