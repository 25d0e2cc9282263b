"""What ``kubectl describe`` tells of a whole life: each transition once, in order, and nothing in a steady state."""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandmount import times
from tests.cluster import Cluster
from tests.support import Kube
from tests.support.audit import AuditLog, counted
from tests.support.fixtures import Sandboxes, host_volume

FROM_MAP = {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}
STORY = [
    ("Warning", "CreateContainerConfigError", 'configmap "settings" not found'),
    ("Normal", "Recovered", "no longer CreateContainerConfigError: the container runs"),
    ("Warning", "PodDeleted", "the Pod was deleted; a new Pod is made now (restart 1 of at most 10 in a row)"),
    ("Normal", "Recovered", "the Pod was made again: the container runs"),
    ("Normal", "PodReplaced", "the spec changed; the Pod is replaced"),
    ("Warning", "HostPathNotAllowed", 'volume "data": host.path "'),
    ("Normal", "Recovered", "no longer HostPathNotAllowed: "),
    ("Normal", "Paused", "paused is true: there is no Pod, and the Sandbox and its data stay"),
    ("Normal", "Resumed", "paused is no longer true"),
    ("Normal", "Expired", "expiresAt, "),
]
QUIET_SECONDS = 10.0


def told(kube: Kube, sandboxes: Sandboxes, name: str) -> list[tuple[str, str, str]]:
    """Type, reason and message of each Event, as ``kubectl describe`` prints them, oldest first."""
    lines = kube.run("describe", "sbx", name, "-n", sandboxes.namespace).partition("\nEvents:")[2].splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines if re.match(r"\s+(Normal|Warning) ", line)]
    return [(row[0], row[1], row[-1]) for row in rows]


def test_a_life_is_told_once_and_in_order(sandboxes: Sandboxes, kube: Kube, cluster: Cluster, shared: Path) -> None:
    spec = {"env": [FROM_MAP], "terminationGracePeriodSeconds": 1}
    volume = host_volume(shared)
    sandboxes.apply("life", volume, **spec)
    sandboxes.wait_reason("life", "CreateContainerConfigError")
    metadata = {"name": "settings", "namespace": sandboxes.namespace}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mode": "fast"}})
    sandboxes.wait_ready("life", seconds=120)
    kube.delete("pod", "life", sandboxes.namespace)
    sandboxes.wait_ready("life")
    sandboxes.apply("life", volume, **spec, workingDir="/mnt/data")
    sandboxes.wait_ready("life")
    kube.set_allowlist("none")
    sandboxes.wait_reason("life", "HostPathNotAllowed")
    kube.set_allowlist(f"- {shared}\n")
    sandboxes.wait_ready("life")
    sandboxes.apply("life", volume, **spec, workingDir="/mnt/data", paused=True)
    sandboxes.wait_reason("life", "Paused", kind="Paused")
    sandboxes.apply("life", volume, **spec, workingDir="/mnt/data")
    sandboxes.wait_ready("life")
    end = times.stamp(datetime.now(UTC) + timedelta(seconds=2))
    sandboxes.apply("life", volume, **spec, workingDir="/mnt/data", expiresAt=end)
    sandboxes.wait_reason("life", "Expired", kind="Finished")
    found = told(kube, sandboxes, "life")
    assert [event[:2] for event in found] == [event[:2] for event in STORY], found
    assert all(message.startswith(words) for (_, _, message), (_, _, words) in zip(found, STORY, strict=True)), found
    log = AuditLog.of(cluster)
    time.sleep(QUIET_SECONDS)
    assert counted(log.writes(sandboxes.namespace)) == "none"
