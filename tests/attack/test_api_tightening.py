"""A list that is tightened while a Pod is being created, while the operator is away, and before a Pod is made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.api_races import DENIED, race, writer
from tests.attack.api_support import allowlist, uid_of, wait_until_gone, wait_until_no_pod, wait_until_still
from tests.support import OperatorProcess
from tests.support.fixtures import Recorder, Sandboxes

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")


def test_a_list_that_is_tightened_while_a_pod_is_being_created_leaves_none(
    sandboxes: Sandboxes, shared: Path, record_property: Recorder
) -> None:
    race(sandboxes, shared, record_property)


def test_a_list_that_is_tightened_while_the_operator_is_away_is_in_force_when_it_is_back(
    sandboxes: Sandboxes, shared: Path, operator: OperatorProcess
) -> None:
    sandboxes.kube.apply([writer(sandboxes, name, shared) for name in ("runs", "its-pod-is-deleted")])
    sandboxes.wait_ready("its-pod-is-deleted")
    sandboxes.wait_ready("runs")
    uid = uid_of(sandboxes.pod("runs"))
    with operator.away():
        sandboxes.kube.set_allowlist("none")
        sandboxes.kube.apply(writer(sandboxes, "new", shared))
        sandboxes.kube.delete("pod", "its-pod-is-deleted", sandboxes.namespace)
    wait_until_gone(sandboxes, "runs", uid)
    wait_until_still(shared / "runs")
    for name in ("runs", "new", "its-pod-is-deleted"):
        sandboxes.wait_reason(name, DENIED)
        assert sandboxes.pod(name) is None
    assert not (shared / "new").exists()


def test_a_list_that_goes_back_and_forth_ends_as_its_last_version_says(sandboxes: Sandboxes, shared: Path) -> None:
    names = [f"sandbox-{number}" for number in range(4)]
    sandboxes.kube.apply([writer(sandboxes, name, shared) for name in names])
    for last, is_allowed in (("none", False), (f"- {shared}\n", True), ("none", False)):
        other = "none" if is_allowed else f"- {shared}\n"
        sandboxes.kube.apply([allowlist(text) for text in [other, last] * 6])
        for name in names:
            if is_allowed:
                sandboxes.wait_ready(name)
            else:
                sandboxes.wait_reason(name, DENIED)
                wait_until_no_pod(sandboxes, name)
    wait_until_still(*(shared / name for name in names))
