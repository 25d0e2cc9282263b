"""Deadlines on a real kubelet: what ends, what is renewed, and what is final."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandmount import times
from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.audit import AuditLog
from tests.support.fixtures import Recorder, Sandboxes, host_volume
from tests.support.kubectl import condition_of


def in_seconds(seconds: float) -> str:
    """A time from now, as it is written into a manifest."""
    return times.stamp(datetime.now(UTC) + timedelta(seconds=seconds))


def wait_finished(sandboxes: Sandboxes, name: str) -> Json:
    """Its condition Finished, once it says Expired and the Pod is gone."""
    found = sandboxes.wait_reason(name, "Expired", kind="Finished")
    assert sandboxes.pod(name) is None
    return found


def test_a_sandbox_ends_at_its_time_and_stays_as_a_record(
    sandboxes: Sandboxes, cluster: Cluster, shared: Path, record_property: Recorder
) -> None:
    end = in_seconds(8)
    log = AuditLog.of(cluster)
    sandboxes.apply("ends", host_volume(shared), expiresAt=end)
    assert sandboxes.wait_ready("ends")["status"]["expiresAt"] == end
    finished = wait_finished(sandboxes, "ends")
    assert (finished["status"], finished["message"]) == ("True", f"expiresAt, {end}, has passed")
    deletion = next(r for r in log.writes(sandboxes.namespace) if (r.verb, r.what) == ("delete", "pods"))
    planned = times.parse(end)
    assert planned is not None
    record_property("seconds from the deadline to the deletion of the Pod", (deletion.at - planned).total_seconds())
    assert deletion.at >= planned
    status = sandboxes.get("ends")["status"]
    assert (status["phase"], status["nodeName"]) == ("Terminated", "sandmount-node")
    assert not {"Ready", "Reconciling", "Stalled"} & {c["type"] for c in status["conditions"]}


def test_what_has_expired_never_runs_again_whatever_the_spec_becomes(sandboxes: Sandboxes) -> None:
    sandboxes.apply("over", expiresAt=in_seconds(2))
    wait_finished(sandboxes, "over")
    sandboxes.apply("over", expiresAt=in_seconds(3600))
    sandboxes.apply("over", image="busybox:stable", env=[{"name": "A", "value": "b"}])
    sandboxes.apply("other")
    sandboxes.wait_ready("other")
    wait_finished(sandboxes, "over")


def test_a_deadline_that_is_moved_before_it_passes_renews_the_sandbox(sandboxes: Sandboxes) -> None:
    sandboxes.apply("renewed", expiresAt=in_seconds(6))
    before = sandboxes.wait_ready("renewed")
    later = in_seconds(3600)
    sandboxes.apply("renewed", expiresAt=later)
    wait_until("the new deadline is told", lambda: sandboxes.get("renewed")["status"].get("expiresAt") == later, 30)
    sandboxes.apply("clock", expiresAt=in_seconds(7))
    wait_finished(sandboxes, "clock")
    after = sandboxes.get("renewed")["status"]
    assert after["startedAt"] == before["status"]["startedAt"]
    assert (condition_of(sandboxes.get("renewed"), "Ready") or {})["status"] == "True"


def test_a_timeout_counts_from_the_first_time_that_it_was_ready(sandboxes: Sandboxes) -> None:
    sandboxes.apply("timed", timeoutSeconds=90)
    status = sandboxes.wait_ready("timed")["status"]
    started, ends = times.parse(status["startedAt"]), times.parse(status["expiresAt"])
    assert started is not None and ends is not None
    assert ends - started == timedelta(seconds=90)
    sandboxes.kube.delete("pod", "timed", sandboxes.namespace)
    sandboxes.wait_ready("timed")
    assert sandboxes.get("timed")["status"]["startedAt"] == status["startedAt"]


def test_a_sandbox_that_never_started_expires_too(sandboxes: Sandboxes) -> None:
    sandboxes.apply("denied", host_volume("/etc"), expiresAt=in_seconds(4))
    sandboxes.apply("nowhere", nodeSelector={"no": "such"}, expiresAt=in_seconds(4))
    sandboxes.wait_reason("denied", "HostPathNotAllowed")
    sandboxes.wait_reason("nowhere", "Unschedulable")
    for name in ("denied", "nowhere"):
        wait_finished(sandboxes, name)


def test_with_the_policy_delete_the_sandbox_goes_and_its_pod_with_it(sandboxes: Sandboxes, kube: Kube) -> None:
    sandboxes.apply("goes", expiresAt=in_seconds(5), expiryPolicy="Delete")
    sandboxes.wait_ready("goes")
    kube.run("wait", "--for=delete", "sbx/goes", "-n", sandboxes.namespace, "--timeout=30s")
    wait_until("the Pod is gone", lambda: sandboxes.pod("goes") is None, 30)
    (event,) = kube.items("events", "-n", sandboxes.namespace, "--field-selector=reason=Expired")
    assert event["message"].endswith("has passed; the Sandbox is deleted")


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_one_that_is_created_after_its_own_end_is_kept_so_that_nobody_creates_it_in_a_loop(
    sandboxes: Sandboxes, policy: str
) -> None:
    sandboxes.apply("late", expiresAt="2020-01-01T00:00:00Z", expiryPolicy=policy)
    finished = wait_finished(sandboxes, "late")
    assert finished["message"].endswith("before it was created; move expiresAt and create it again")
    uid = sandboxes.get("late")["metadata"]["uid"]
    sandboxes.apply("late", expiresAt="2020-01-01T00:00:00Z", expiryPolicy=policy)
    assert sandboxes.get("late")["metadata"]["uid"] == uid


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_deadline_that_passes_while_the_operator_is_down_is_acted_on_when_it_is_back(
    sandboxes: Sandboxes, kube: Kube, operator: OperatorProcess, policy: str
) -> None:
    end = in_seconds(8)
    sandboxes.apply("missed", expiresAt=end, expiryPolicy=policy)
    sandboxes.wait_ready("missed")
    operator.kill()
    try:
        wait_until("the deadline has passed", lambda: times.stamp(datetime.now(UTC)) > end, 30)
        assert sandboxes.pod("missed") is not None
    finally:
        operator.start()
        operator.wait_until_working()
    if policy == "Retain":
        wait_finished(sandboxes, "missed")
    else:
        kube.run("wait", "--for=delete", "sbx/missed", "-n", sandboxes.namespace, "--timeout=30s")


def test_a_finished_job_with_the_policy_delete_goes_at_its_deadline(sandboxes: Sandboxes, kube: Kube) -> None:
    sandboxes.apply("job", entrypoint=["true"], restartPolicy="Never", expiresAt=in_seconds(15), expiryPolicy="Delete")
    sandboxes.wait_reason("job", "Completed", kind="Finished")
    kube.run("wait", "--for=delete", f"{SANDBOXES}/job", "-n", sandboxes.namespace, "--timeout=30s")
