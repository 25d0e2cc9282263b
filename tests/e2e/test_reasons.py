"""Why a Sandbox does not run: each reason appears in the words of kubelet, scheduler or API server, and goes again."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import Json, Kube
from tests.support.fixtures import Recorder, Sandboxes, host_volume
from tests.verdicts import live

EATS_MEMORY = ["sh", "-c", "[ -e /mnt/data/enough ] && exec sleep 1000; x=a; while :; do x=$x$x; done"]
CRASHES = ["sh", "-c", "[ -e /mnt/data/enough ] && exec sleep 1000; exit 3"]


@dataclass(frozen=True)
class Case:
    """Something that keeps a Sandbox from running."""

    reason: str
    says: str
    """A regular expression for the message."""
    spec: Json
    state: str
    mend: Callable[["Ground"], None]


@dataclass(frozen=True)
class Ground:
    """What a case can change."""

    sandboxes: Sandboxes
    kube: Kube
    root: Path

    def make_config_map(self) -> None:
        """The one that a spec names."""
        metadata = {"name": "settings", "namespace": self.sandboxes.namespace}
        self.kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mode": "fast"}})

    def change_spec(self, **spec: Any) -> None:
        """Somebody writes what was asked for."""
        self.sandboxes.apply("trial", host_volume(self.root), **spec)

    def crash_no_more(self) -> None:
        """What the container looks for is there."""
        (self.root / "enough").touch()


FROM_MAP = {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}
CASES = {
    "image that cannot be pulled": Case(
        "ErrImageNeverPull",
        'Container image "not-there:1" is not present with pull policy of Never',
        {"image": "not-there:1", "imagePullPolicy": "Never"},
        "image-pull",
        Ground.change_spec,
    ),
    "no node": Case(
        "Unschedulable",
        "0/1 nodes are available: 1 node.*didn't match Pod's node affinity/selector",
        {"nodeSelector": {"no": "such"}},
        "unschedulable",
        Ground.change_spec,
    ),
    "configuration": Case(
        "CreateContainerConfigError",
        'configmap "settings" not found',
        {"env": [FROM_MAP]},
        "config-error",
        Ground.make_config_map,
    ),
    "out of memory": Case(
        "OOMKilled",
        r"the container ended with exit code 137 \(OOMKilled\)",
        {"entrypoint": EATS_MEMORY, "resources": {"limits": {"memory": "32Mi"}}},
        "crash-looping",
        Ground.crash_no_more,
    ),
    "crashes": Case(
        "Error", "the container ended with exit code 3", {"entrypoint": CRASHES}, "crash-looping", Ground.crash_no_more
    ),
}


@pytest.fixture
def ground(sandboxes: Sandboxes, kube: Kube, shared: Path) -> Ground:
    """Sandboxes, the cluster, and an allowed root."""
    return Ground(sandboxes, kube, shared)


@pytest.mark.parametrize("name", CASES)
def test_a_reason_appears_in_kubernetes_own_words_and_goes_when_it_is_over(
    name: str, ground: Ground, record_property: Recorder
) -> None:
    case, begun = CASES[name], time.monotonic()
    ground.change_spec(**case.spec)
    found = ground.sandboxes.wait_reason("trial", case.reason)
    record_property(f"{case.reason}: seconds from kubectl apply until it is told", round(time.monotonic() - begun, 1))
    assert re.search(case.says, found["message"]), found
    live.check(case.state, ground.sandboxes.get("trial"))
    case.mend(ground)
    ready = ground.sandboxes.wait_ready("trial", seconds=120)
    assert case.says not in str(ready["status"])
    events = [e for e in ground.kube.items("events", "-n", ground.sandboxes.namespace) if is_about_sandbox(e)]
    told = [e for e in events if e["reason"] in (case.reason, "CrashLoopBackOff") and e["type"] == "Warning"]
    assert len(told) == 1  # a crash may first be seen in the wait before the next start


def is_about_sandbox(event: Json) -> bool:
    return bool(event["involvedObject"]["kind"] == "Sandbox")


def test_a_root_that_is_missing_on_the_node_is_told_from_the_kubelets_event(
    sandboxes: Sandboxes, kube: Kube, host: Path, record_property: Recorder
) -> None:
    missing = host / "missing"
    kube.set_allowlist(f"- {missing}\n")
    sandboxes.apply("mounts", host_volume(missing))
    found = sandboxes.wait_reason("mounts", "FailedMount")
    assert found["message"].endswith(f"hostPath type check failed: {missing} is not a directory")
    live.check("failed-mount", sandboxes.get("mounts"))
    created = sandboxes.get("mounts")["metadata"]["creationTimestamp"]
    record_property("FailedMount: created, told", f"{created}, {found['lastTransitionTime']}")
    missing.mkdir(mode=0o755)
    sandboxes.wait_ready("mounts", seconds=150)
    told = [e["reason"] for e in kube.items("events", "-n", sandboxes.namespace) if is_about_sandbox(e)]
    assert sorted(told) == ["FailedMount", "Recovered"]


def test_a_refused_sub_path_is_told_with_the_place_on_the_node(sandboxes: Sandboxes, shared: Path) -> None:
    (shared / "link").symlink_to("/etc")
    sandboxes.apply("link", host_volume(shared / "link"))
    found = sandboxes.wait_reason("link", "CreateContainerConfigError")
    assert f'it is "{shared}/link" on the node' in found["message"]
    (shared / "link").unlink()
    (shared / "link").mkdir()
    sandboxes.wait_ready("link", seconds=120)


def test_a_quota_that_is_used_up_is_told_and_tried_again(sandboxes: Sandboxes, kube: Kube) -> None:
    metadata = {"name": "none", "namespace": sandboxes.namespace}
    kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}})
    sandboxes.apply("counted")
    assert "exceeded quota: none" in sandboxes.wait_reason("counted", "PodRefused")["message"]
    live.check("refused-by-quota", sandboxes.get("counted"))
    kube.delete("resourcequota", "none", sandboxes.namespace)
    sandboxes.wait_ready("counted", seconds=60)


def test_an_image_that_is_pulled_in_vain_is_written_once_and_not_at_every_try(sandboxes: Sandboxes, kube: Kube) -> None:
    sandboxes.apply("pulls", image="not-there.invalid/x:1")
    sandboxes.wait_reason("pulls", "ErrImagePull")
    first = sandboxes.get("pulls")["metadata"]["resourceVersion"]
    seen: set[str] = set()
    for _ in range(400):
        pod = sandboxes.pod("pulls")
        assert pod is not None
        seen |= {s["state"]["waiting"]["reason"] for s in pod["status"]["containerStatuses"] if "waiting" in s["state"]}
        if {"ErrImagePull", "ImagePullBackOff"} <= seen:
            break
    assert {"ErrImagePull", "ImagePullBackOff"} <= seen
    kube.run("wait", "--for=condition=Ready=False", "sbx/pulls", "-n", sandboxes.namespace, "--timeout=5s")
    assert sandboxes.get("pulls")["metadata"]["resourceVersion"] == first
