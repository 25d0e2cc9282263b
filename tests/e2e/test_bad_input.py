"""Bad input gets a clear error where it can first be known, and nothing is lost: no traceback, no hot loop."""

import json
import time
from pathlib import Path

import pytest

from tests.cluster import Cluster, ClusterError
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube, OperatorProcess
from tests.support.audit import AuditLog
from tests.support.fixtures import Recorder, Sandboxes, host_volume

QUIET_SECONDS = 3

REFUSED_BY_THE_API: dict[str, tuple[Json, str]] = {
    "no source": ({"name": "v", "mountPath": "/m"}, "exactly one of"),
    "two sources": (host_volume("/a", emptyDir={}), "exactly one of"),
    "relative": (host_volume("a/b"), "spec.volumes[0].host.path"),
    "dots": (host_volume("/a/../b"), "spec.volumes[0].host.path"),
    "double slash": (host_volume("/a//b"), "spec.volumes[0].host.path"),
    "trailing newline": (host_volume("/a\n"), "spec.volumes[0].host.path"),
    "NUL": (host_volume("/a\0b"), "spec.volumes[0].host.path"),
    "5,000 characters": (host_volume("/" + "a" * 5000), "spec.volumes[0].host.path"),
    "mountPath /": (host_volume("/a", mount_path="/"), "mountPath"),
    "mountPath /proc": (host_volume("/a", mount_path="/proc"), "mountPath"),
    "unknown field": (host_volume("/a", hostPath={"path": "/"}), "unknown field"),
}


@pytest.mark.parametrize("case", REFUSED_BY_THE_API)
def test_the_api_server_refuses_it_and_names_the_field(sandboxes: Sandboxes, case: str) -> None:
    volume, said = REFUSED_BY_THE_API[case]
    manifest = json.dumps(sandboxes.manifest("bad", volume))
    with pytest.raises(ClusterError) as error:
        sandboxes.kube.feed(manifest, "create", "-f", "-")
    assert said in str(error.value)


def test_what_only_the_operator_or_the_pod_api_can_know_is_said_on_the_sandbox_once(
    sandboxes: Sandboxes, kube: Kube, cluster: Cluster, operator: OperatorProcess
) -> None:
    wide = host_volume("/" + "語" * 200)  # 200 characters are 600 bytes, which no directory's name can have
    sandboxes.apply("wide", wide)
    sandboxes.apply("limits", resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})
    sandboxes.apply("field", env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nonsense"}}}])
    assert "255 bytes" in sandboxes.wait_reason("wide", "InvalidSpec")["message"]
    assert "must be less than or equal to cpu limit" in sandboxes.wait_reason("limits", "PodRefused")["message"]
    assert "metadata.nonsense" in sandboxes.wait_reason("field", "PodRefused", kind="Stalled")["message"]
    log = AuditLog.of(cluster)
    time.sleep(QUIET_SECONDS)
    assert [w.what for w in log.writes(sandboxes.namespace)] == []  # none of them is tried again
    assert "Traceback" not in operator.log.read_text()
    for name in ("wide", "limits", "field"):
        sandboxes.apply(name, env=[{"name": "A", "value": "mended"}])
        sandboxes.wait_ready(name)


def test_the_largest_sandbox_that_the_api_server_takes_is_served_or_refused_in_words(
    sandboxes: Sandboxes, operator: OperatorProcess, shared: Path, cluster: Cluster, record_property: Recorder
) -> None:
    """etcd takes 1.5 MiB; the schema bounds the spec, and labels fill the rest."""
    env = [{"name": f"V{i}", "value": "x" * 1024} for i in range(128)]
    script = ["sh", "-c", "sleep 1000", *["y" * 2048] * 61]
    sandboxes.apply("largest-runnable", host_volume(shared), env=env, entrypoint=script)
    manifest = sandboxes.manifest("too-large-to-run", host_volume(shared), env=env, entrypoint=script)
    size = 1_570_000 - len(json.dumps(manifest))
    pad = {f"p{i}": "z" * 63 for i in range(size // 60)}
    refusals = 0
    while refusals < 60:  # labels have no bound of their own: as many as etcd will still take
        manifest["metadata"]["labels"] = pad
        try:
            sandboxes.kube.feed(json.dumps(manifest), "create", "-f", "-")
            break
        except ClusterError as error:
            assert "too large" in str(error), error
            refusals += 1
            pad = dict(list(pad.items())[: int(len(pad) * 0.97)])
    assert refusals < 60
    record_property("largest Sandbox stored", f"{len(json.dumps(manifest)):,} bytes of JSON, after {refusals} refusals")
    sandboxes.wait_ready("largest-runnable")
    time.sleep(QUIET_SECONDS)
    log = AuditLog.of(cluster)
    time.sleep(QUIET_SECONDS)
    assert len(log.writes(sandboxes.namespace)) <= 2  # a container that cannot take it may crash; but no hot loop
    assert "Traceback" not in operator.log.read_text()
    sandboxes.apply("next", host_volume(shared))
    sandboxes.wait_ready("next")
    sandboxes.kube.delete(SANDBOXES, "too-large-to-run", sandboxes.namespace)
