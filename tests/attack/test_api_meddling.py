"""Somebody takes off what makes a Pod ours: it is mended or replaced, and a revocation still ends it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from sandmount.api import ANNOTATION_BUILT_FROM, LABEL_SANDBOX, LABEL_SANDBOX_UID
from tests.attack.api_support import (
    WRITE,
    Tenant,
    patch,
    script,
    uid_of,
    wait_until_gone,
    wait_until_still,
    wait_until_written,
    writes,
)
from tests.support import Json, OperatorProcess, wait_until
from tests.support.fixtures import Sandboxes, host_volume

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")


LABELS_OFF: Json = {"labels": {LABEL_SANDBOX: None, LABEL_SANDBOX_UID: None}}

MENDED: Mapping[str, Json] = {
    "label-off": {"labels": {LABEL_SANDBOX: None}},
    "uid-label-off": {"labels": {LABEL_SANDBOX_UID: None}},
    "labels-off": LABELS_OFF,
    "label-of-another": {"labels": {LABEL_SANDBOX: "another"}},
    "uid-label-of-another": {"labels": {LABEL_SANDBOX_UID: "00000000-0000-0000-0000-000000000000"}},
    "label-empty": {"labels": {LABEL_SANDBOX: "", LABEL_SANDBOX_UID: ""}},
}
"""Changes of a Pod's metadata after which the same Pod is as it was."""

REPLACED: Mapping[str, Json] = {
    "annotation-off": {"annotations": {ANNOTATION_BUILT_FROM: None}},
    "annotation-changed": {"annotations": {ANNOTATION_BUILT_FROM: "0.0"}},
    "owner-off": {"ownerReferences": None},
    "labels-and-annotation-off": LABELS_OFF | {"annotations": {ANNOTATION_BUILT_FROM: None}},
}
"""Changes after which the Pod cannot be told from another, so that a new one is made."""


@pytest.mark.without_policy("takes labels off, which the policy refuses")
def test_what_somebody_takes_off_a_pod_is_put_back_or_the_pod_is_replaced(
    sandboxes: Sandboxes, pod_user: Tenant, shared: Path
) -> None:
    names = [*MENDED, *REPLACED]
    sandboxes.kube.apply([sandboxes.manifest(n, host_volume(shared), entrypoint=script(WRITE)) for n in names])
    for name in names:
        sandboxes.wait_ready(name)
    before = {name: sandboxes.pod(name) or {} for name in names}
    for name, change in {**MENDED, **REPLACED}.items():
        patch(pod_user, "pod", name, sandboxes.namespace, {"metadata": change})

    def is_back(name: str) -> bool:
        pod = sandboxes.pod(name)
        return pod is not None and pod["metadata"]["labels"] == before[name]["metadata"]["labels"]

    for name in MENDED:
        wait_until(f"{name} is mended", partial(is_back, name), 60)
        assert uid_of(sandboxes.pod(name)) == uid_of(before[name]), name
        assert writes(shared / name)
    for name in REPLACED:
        wait_until_gone(sandboxes, name, uid_of(before[name]))
        sandboxes.wait_ready(name)


@pytest.mark.without_policy("takes labels off, which the policy refuses")
def test_a_pod_that_lost_our_labels_under_a_list_with_a_mistake_is_stopped_by_the_next_one(
    sandboxes: Sandboxes, pod_user: Tenant, shared: Path
) -> None:
    sandboxes.apply("bare", host_volume(shared), entrypoint=script(WRITE))
    volumes = sandboxes.wait_ready("bare")["status"]["volumes"]
    uid = uid_of(sandboxes.pod("bare"))
    sandboxes.kube.set_allowlist("- [")
    sandboxes.wait_reason("bare", "AllowlistUnreadable", kind="VolumesAllowed")
    patch(pod_user, "pod", "bare", sandboxes.namespace, {"metadata": LABELS_OFF})
    time.sleep(3)
    assert writes(shared / "bare")
    assert sandboxes.get("bare")["status"].get("volumes") == volumes, "what it has of the host is not hidden"
    sandboxes.kube.set_allowlist("none")
    wait_until_gone(sandboxes, "bare", uid, 30)
    wait_until_still(shared / "bare")


@pytest.mark.without_policy("takes labels off, which the policy refuses")
def test_a_pod_that_lost_our_labels_while_the_operator_was_away_is_stopped_when_it_is_no_longer_allowed(
    sandboxes: Sandboxes, pod_user: Tenant, operator: OperatorProcess, shared: Path
) -> None:
    sandboxes.apply("bare", host_volume(shared), entrypoint=script(WRITE))
    sandboxes.wait_ready("bare")
    wait_until_written(shared / "bare")
    uid = uid_of(sandboxes.pod("bare"))
    with operator.away():
        patch(pod_user, "pod", "bare", sandboxes.namespace, {"metadata": LABELS_OFF})
        sandboxes.kube.set_allowlist("none")
    wait_until_gone(sandboxes, "bare", uid, 30)
    wait_until_still(shared / "bare")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_somebody_declares_to_be_over_does_not_run_on_unseen(
    sandboxes: Sandboxes, pod_user: Tenant, shared: Path, phase: str
) -> None:
    sandboxes.apply("over", host_volume(shared), entrypoint=script(WRITE), terminationGracePeriodSeconds=1)
    sandboxes.wait_ready("over")
    wait_until_written(shared / "over")
    patch(pod_user, "pod", "over", sandboxes.namespace, {"status": {"phase": phase}}, "--subresource=status")
    sandboxes.kube.set_allowlist("none")
    wait_until_still(shared / "over")
