"""A status that somebody writes: mended, and it neither widens a grant, nor keeps anything running, nor makes work."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.attack.api_support import (
    SANDBOX_USER,
    WRITE,
    Tenant,
    patch,
    script,
    tenant,
    uid_of,
    wait_until_gone,
    wait_until_still,
    writes,
)
from tests.attack.canary import Canary, differences, facts
from tests.cluster import Cluster, ClusterError
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube, wait_until
from tests.support.audit import AuditLog
from tests.support.fixtures import Sandboxes, host_volume

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")

STATUS = "--subresource=status"
QUIET_SECONDS = 3.0
LIES = 15


@pytest.fixture
def liar(kube: Kube, namespace: str) -> Tenant:
    """Somebody who may write a status, which no role of Sandmount gives to users."""
    rule = {"apiGroups": ["sandmount.dev"], "resources": ["sandboxes/status"], "verbs": ["get", "patch"]}
    return tenant(kube, namespace, f"liar-{namespace}", SANDBOX_USER, rule)


def condition(kind: str, value: str, reason: str = "PodReady") -> Json:
    """A condition as a liar writes it."""
    since = "2020-01-01T00:00:00Z"
    words = {"reason": reason, "message": "trust me", "lastTransitionTime": since, "observedGeneration": 9}
    return {"type": kind, "status": value} | words


def lies(canary: Canary) -> Mapping[str, Json]:
    """What somebody may claim."""
    return {
        "volumes": {"volumes": [{"name": "data", "root": "/", "readOnly": False}]},
        "many-volumes": {"volumes": [{"name": f"v{n}", "root": str(canary.path)} for n in range(100)]},
        "no-volumes": {"volumes": None},
        "ready": {"conditions": [condition("Ready", "True"), condition("VolumesAllowed", "True")], "phase": "Running"},
        "allowed": {"conditions": [condition("VolumesAllowed", "True")]},
        "not-finished": {"conditions": [condition("Finished", "False")]},
        "unknown-condition": {"conditions": [condition("Trusted", "True")]},
        "no-conditions": {"conditions": None},
        "pod": {"podName": "another", "podIP": "127.0.0.1"},
        "node": {"nodeName": "elsewhere"},
        "restarts": {"restarts": 2**31 - 1, "lostAt": "2020-01-01T00:00:00Z", "builtFrom": "x"},
        "expires": {"expiresAt": "2020-01-01T00:00:00Z"},
        "started": {"startedAt": "2020-01-01T00:00:00Z"},
        "starts-later": {"startedAt": "2099-01-01T00:00:00Z"},
        "generation": {"observedGeneration": 10**9},
        "negative-generation": {"observedGeneration": -1},
        "phase": {"phase": "Paused"},
        "all-gone": dict.fromkeys(("volumes", "conditions", "podName", "phase", "observedGeneration", "startedAt")),
    }


KNOWN_FROM_IT = ("startedAt", "nodeName", "restarts", "builtFrom")
KEPT = {"started", "starts-later", "node", "restarts"}
"""What is not mended: when it started, where it was last, and what it lost, is only known from the status."""


def test_a_forged_status_is_mended_and_changes_nothing(
    sandboxes: Sandboxes, liar: Tenant, shared: Path, canary: Canary, cluster: Cluster
) -> None:
    untouched = facts(canary.path)
    claims = lies(canary)
    denied = {f"denied-{name}": claim for name, claim in claims.items()}
    volumes = {"allowed": host_volume(shared), "denied": host_volume(canary.path)}
    sandboxes.apply("allowed", volumes["allowed"], entrypoint=script(WRITE))
    sandboxes.kube.apply([sandboxes.manifest(name, volumes["denied"]) for name in denied])
    sandboxes.wait_ready("allowed")
    for name in denied:
        sandboxes.wait_reason(name, "HostPathNotAllowed")
    truth = {name: sandboxes.get(name)["status"] for name in (*denied, "allowed")}
    uid = uid_of(sandboxes.pod("allowed"))

    def is_mended(name: str) -> bool:
        return same(sandboxes.get(name)["status"], truth[name])

    for name, claim in denied.items():
        patch(liar, SANDBOXES, name, sandboxes.namespace, {"status": claim}, STATUS)
    for name, claim in claims.items():
        if name in KEPT:
            continue
        patch(liar, SANDBOXES, "allowed", sandboxes.namespace, {"status": claim}, STATUS)
        wait_until(f"{name} is mended", partial(is_mended, "allowed"), 30)
    for name in denied:
        wait_until(f"{name} is mended", partial(is_mended, name), 30)
    time.sleep(QUIET_SECONDS)
    audit = AuditLog.of(cluster)
    time.sleep(QUIET_SECONDS)
    assert not audit.writes(sandboxes.namespace), "it is mended once, not again and again"
    assert [p["metadata"]["uid"] for p in sandboxes.kube.items("pods", "-n", sandboxes.namespace)] == [uid]
    assert writes(shared / "allowed")
    assert differences(untouched, facts(canary.path)) == []


def same(one: Json, other: Json) -> bool:
    """Whether two status say the same, but for times and what is only known from them."""

    def said(status: Json) -> Json:
        conditions = [{k: v for k, v in c.items() if k != "lastTransitionTime"} for c in status.get("conditions", ())]
        return {k: v for k, v in status.items() if k not in KNOWN_FROM_IT} | {"conditions": conditions}

    return said(one) == said(other)


def test_a_forged_end_ends_the_pod_and_a_forged_permission_keeps_none(
    sandboxes: Sandboxes, liar: Tenant, shared: Path
) -> None:
    names = ("finished", "permitted")
    sandboxes.kube.apply([sandboxes.manifest(n, host_volume(shared), entrypoint=script(WRITE)) for n in names])
    for name in names:
        sandboxes.wait_ready(name)
    uids = {name: uid_of(sandboxes.pod(name)) for name in names}
    over = {"status": {"conditions": [condition("Finished", "True", "Completed")]}}
    patch(liar, SANDBOXES, "finished", sandboxes.namespace, over, STATUS)
    wait_until_gone(sandboxes, "finished", uids["finished"])
    permitted = {"status": {"conditions": [condition("Ready", "True"), condition("VolumesAllowed", "True", "Granted")]}}
    sandboxes.kube.set_allowlist("none")
    for _ in range(LIES):
        patch(liar, SANDBOXES, "permitted", sandboxes.namespace, permitted, STATUS)
    wait_until_gone(sandboxes, "permitted", uids["permitted"])
    sandboxes.wait_reason("permitted", "HostPathNotAllowed")
    wait_until_still(*(shared / name for name in names))
    assert not sandboxes.kube.items("pods", "-n", sandboxes.namespace)


def test_a_liar_makes_no_more_work_than_it_does_itself(
    sandboxes: Sandboxes, liar: Tenant, shared: Path, canary: Canary, cluster: Cluster
) -> None:
    sandboxes.apply("denied", host_volume(canary.path))
    sandboxes.wait_reason("denied", "HostPathNotAllowed")
    truth = sandboxes.get("denied")["status"]
    audit = AuditLog.of(cluster)
    for number in range(LIES):
        patch(liar, SANDBOXES, "denied", sandboxes.namespace, {"status": {"phase": f"lie {number}"}}, STATUS)
    wait_until("it is mended", lambda: same(sandboxes.get("denied")["status"], truth), 30)
    time.sleep(QUIET_SECONDS)
    written = [w for w in audit.writes(sandboxes.namespace) if w.name == "denied"]
    assert {w.what for w in written} == {"sandboxes/status"}, [str(w) for w in written]
    assert len(written) <= 2 * LIES


def test_who_may_write_sandboxes_does_not_write_their_status(sandboxes: Sandboxes, kube: Kube, canary: Canary) -> None:
    user = tenant(kube, sandboxes.namespace, f"user-{sandboxes.namespace}", SANDBOX_USER)
    made = sandboxes.manifest("made", host_volume(canary.path))
    claim = {"conditions": [condition("Ready", "True")], "volumes": [{"name": "data", "root": str(canary.path)}]}
    user.apply(made | {"status": claim})
    sandboxes.wait_reason("made", "HostPathNotAllowed")
    assert "volumes" not in sandboxes.get("made")["status"]
    with pytest.raises(ClusterError, match="forbidden"):
        patch(user, SANDBOXES, "made", sandboxes.namespace, {"status": claim}, STATUS)
