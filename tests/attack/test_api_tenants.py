"""What else a tenant can say to the API server: names used again, metadata of all kinds, containers added to a Pod."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandmount.api import ANNOTATION_BUILT_FROM, LABEL_SANDBOX, LABEL_SANDBOX_UID
from tests.attack.api_support import (
    WRITE,
    genuine_pod,
    host_mounts,
    patch,
    script,
    tenant,
    uid_of,
    wait_until_gone,
    wait_until_no_pod,
    wait_until_still,
    wait_until_written,
    writes,
)
from tests.attack.canary import Canary, differences, facts
from tests.support import Kube
from tests.support.fixtures import IMAGE, USER, Sandboxes, host_volume

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")

DENIED = "HostPathNotAllowed"


@pytest.mark.parametrize("how", ["orphan", "background", "foreground"])
def test_a_name_that_is_used_again_gets_nothing_of_its_predecessor(
    sandboxes: Sandboxes, shared: Path, canary: Canary, how: str
) -> None:
    """A tenant deletes a Sandbox, perhaps leaving its Pod alone, and makes one of that name that is not allowed."""
    untouched = facts(canary.path)
    old = sandboxes.manifest("again", host_volume(shared), entrypoint=script(WRITE), terminationGracePeriodSeconds=1)
    sandboxes.kube.apply(old)
    sandboxes.wait_ready("again")
    wait_until_written(shared / "again")
    uid = uid_of(sandboxes.pod("again"))
    sandboxes.delete("again", f"--cascade={how}")
    sandboxes.apply("again", host_volume(canary.path))
    wait_until_gone(sandboxes, "again", uid)
    sandboxes.wait_reason("again", DENIED)
    wait_until_no_pod(sandboxes, "again")
    wait_until_still(shared / "again")
    assert "volumes" not in sandboxes.get("again")["status"]
    assert differences(untouched, facts(canary.path)) == []


def test_metadata_of_a_sandbox_does_not_reach_its_pod(sandboxes: Sandboxes, shared: Path) -> None:
    made = sandboxes.manifest("named", host_volume(shared))
    made["metadata"] |= {
        "labels": {LABEL_SANDBOX: "another", LABEL_SANDBOX_UID: "0", "app": "database"},
        "annotations": {
            ANNOTATION_BUILT_FROM: "0.0",
            "container.apparmor.security.beta.kubernetes.io/sandbox": "unconfined",
            "k8s.v1.cni.cncf.io/networks": "host",
        },
    }
    sandboxes.kube.apply(made)
    found = sandboxes.wait_ready("named")
    pod = sandboxes.pod("named")
    assert pod is not None
    wanted = genuine_pod(found, f"- {shared}")["metadata"]
    for part in ("labels", "annotations"):
        assert pod["metadata"][part] == wanted[part]


@pytest.mark.without_policy("adds a container, which the policy refuses")
def test_an_ephemeral_container_that_mounts_the_whole_root_ends_its_pod_and_gets_no_further_than_the_root(
    sandboxes: Sandboxes, kube: Kube, shared: Path, canary: Canary
) -> None:
    """Who has this right has the whole root for a moment; manifests/policy takes it away."""
    untouched = facts(canary.path)
    namespace = sandboxes.namespace
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["get", "patch"]},
    ]
    debugger = tenant(kube, namespace, f"debugger-{namespace}", *rules)
    sandboxes.apply("debugged", host_volume(shared, subPath="own"), terminationGracePeriodSeconds=1)
    sandboxes.wait_ready("debugged")
    uid = uid_of(sandboxes.pod("debugged"))
    (shared / "to-canary").symlink_to(canary.path)
    greedy = "while :; do echo x >> /mnt/whole/log; echo x >> /mnt/whole/to-canary/log; sleep 0.2; done"
    added = {
        "name": "added",
        "image": IMAGE,
        "command": script(greedy),
        "securityContext": {"runAsUser": USER},
        "volumeMounts": [{"name": "data", "mountPath": "/mnt/whole"}],
    }
    change = {"spec": {"ephemeralContainers": [added]}}
    patch(debugger, "pod", "debugged", namespace, change, "--subresource=ephemeralcontainers")
    wait_until_gone(sandboxes, "debugged", uid)
    sandboxes.wait_ready("debugged")
    pod = sandboxes.pod("debugged")
    assert pod is not None and host_mounts(pod) == {(str(shared), "own", False)}
    assert not writes(shared / "log")
    assert differences(untouched, facts(canary.path)) == []
