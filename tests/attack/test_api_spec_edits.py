"""A spec that is edited after it was allowed, in whatever moment: no Pod ever has what was not granted."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from tests.attack.api_support import (
    WRITE,
    Mount,
    host_mounts,
    pods_followed,
    script,
    uid_of,
    wait_until_gone,
    wait_until_no_pod,
    wait_until_still,
    wait_until_written,
)
from tests.attack.canary import Canary, differences, facts
from tests.cluster import ClusterError
from tests.support import Json, OperatorProcess
from tests.support.fixtures import Sandboxes, host_volume

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")

ROUNDS = 12
DENIED = "HostPathNotAllowed"


def ever_mounted(pods: list[Json]) -> set[Mount]:
    """What any Pod ever had of the host."""
    return {mount for pod in pods for mount in host_mounts(pod)}


def short_lived(sandboxes: Sandboxes, name: str, *volumes: Json) -> Json:
    """A Sandbox that writes, and ends at once when it is told to."""
    return sandboxes.manifest(name, *volumes, entrypoint=script(WRITE), terminationGracePeriodSeconds=1)


def test_an_edit_that_asks_for_more_ends_the_pod_and_one_that_does_not_gives_a_new_one(
    sandboxes: Sandboxes, shared: Path, host: Path, canary: Canary
) -> None:
    read_only = host / "read-only"
    for each in (read_only, host / "shared-too"):
        each.mkdir()
        each.chmod(0o777)
    sandboxes.kube.set_allowlist(f"- {shared}\n- path: {read_only}\n  readOnly: true\n")
    safe, reading = host_volume(shared), {"name": "reading", "host": {"path": str(read_only)}, "mountPath": "/mnt/r"}
    before = {"edited": [safe], "flipped": [safe, reading | {"readOnly": True}]}
    asks_for_more: Mapping[str, tuple[str, list[Json]]] = {
        "path": (DENIED, [host_volume(canary.path)]),
        "lookalike": (DENIED, [host_volume(host / "shared-too")]),
        "parent": (DENIED, [host_volume(host)]),
        "below": (DENIED, [host_volume(canary.path, subPath="deeper")]),
        "added": (DENIED, [safe, host_volume(canary.path, "/mnt/more") | {"name": "more"}]),
        "same-name-other-place": (DENIED, [host_volume(canary.path, "/mnt/data", readOnly=True)]),
        "flipped": ("HostPathReadOnly", [safe, reading]),
    }
    fine = {"mount-path": [host_volume(shared, "/mnt/data/other")], "sub-path": [host_volume(shared, subPath="own")]}
    names = [*asks_for_more, *fine]
    untouched = facts(canary.path)
    with pods_followed(sandboxes.kube, sandboxes.namespace) as seen:
        sandboxes.kube.apply([short_lived(sandboxes, n, *before.get(n, before["edited"])) for n in names])
        for name in names:
            sandboxes.wait_ready(name)
        uids = {name: uid_of(sandboxes.pod(name)) for name in names}
        edited = {name: volumes for name, (_, volumes) in asks_for_more.items()} | fine
        sandboxes.kube.apply([short_lived(sandboxes, name, *volumes) for name, volumes in edited.items()])
        for name, uid in uids.items():
            wait_until_gone(sandboxes, name, uid)
        for name, (reason, _) in asks_for_more.items():
            sandboxes.wait_reason(name, reason)
            assert sandboxes.pod(name) is None
        wait_until_still(*(shared / name for name in asks_for_more))
        for name in fine:
            sandboxes.wait_ready(name)
    allowed = {(str(shared), "", False), (str(shared), "own", False), (str(read_only), "", True)}
    assert ever_mounted(seen) == allowed
    assert differences(untouched, facts(canary.path)) == []


def test_volumes_whose_names_are_swapped_keep_to_what_each_was_granted(sandboxes: Sandboxes, shared: Path) -> None:
    def volumes(reading: str, writing: str) -> list[Json]:
        return [
            {"name": reading, "host": {"path": str(shared / "in")}, "mountPath": "/mnt/in", "readOnly": True},
            {"name": writing, "host": {"path": str(shared / "out")}, "mountPath": "/mnt/data"},
        ]

    for each in ("in", "out"):
        (shared / each).mkdir()
        (shared / each).chmod(0o777)
    greedy = script(f"echo x > /mnt/in/stolen; {WRITE}")
    with pods_followed(sandboxes.kube, sandboxes.namespace) as seen:
        for one, other in pairwise(["a", "b", "a", "b"]):
            sandboxes.apply("swap", *volumes(one, other), entrypoint=greedy, terminationGracePeriodSeconds=1)
            sandboxes.wait_ready("swap")
            wait_until_written(shared / "out" / "swap")
    assert ever_mounted(seen) == {(str(shared), "in", True), (str(shared), "out", False)}
    assert not any((shared / "in").iterdir())


def test_an_edit_in_the_moment_of_creation_never_gets_what_was_not_granted(
    sandboxes: Sandboxes, shared: Path, canary: Canary
) -> None:
    """Each Sandbox is changed within milliseconds of its creation, some of them back and forth."""
    untouched = facts(canary.path)
    allowed, denied = host_volume(shared), host_volume(canary.path)
    ends: dict[str, bool] = {}
    writes: list[Json] = []
    for number in range(ROUNDS):
        name, steps = f"edit-{number}", [denied, allowed] * (number % 4 + 2)
        ends[name] = number % 2 == 0
        last = len(steps) if ends[name] else len(steps) - 1
        writes += [short_lived(sandboxes, name, volume) for volume in steps[number % 3 : last]]
    with pods_followed(sandboxes.kube, sandboxes.namespace) as seen:
        sandboxes.kube.apply(writes)
        for name, is_allowed in ends.items():
            if is_allowed:
                sandboxes.wait_ready(name)
            else:
                sandboxes.wait_reason(name, DENIED)
                wait_until_no_pod(sandboxes, name)
        wait_until_still(*(shared / name for name, is_allowed in ends.items() if not is_allowed))
    assert ever_mounted(seen) == {(str(shared), "", False)}
    assert differences(untouched, facts(canary.path)) == []


def test_an_edit_while_the_operator_is_away_is_decided_on_when_it_is_back(
    sandboxes: Sandboxes, shared: Path, canary: Canary, operator: OperatorProcess
) -> None:
    untouched = facts(canary.path)
    names = ("before", "between")
    sandboxes.kube.apply(short_lived(sandboxes, "before", host_volume(shared)))
    sandboxes.wait_ready("before")
    with pods_followed(sandboxes.kube, sandboxes.namespace) as seen, operator.away():
        sandboxes.kube.apply(short_lived(sandboxes, "between", host_volume(shared)))
        sandboxes.kube.apply([short_lived(sandboxes, name, host_volume(canary.path)) for name in names])
    for name in names:
        sandboxes.wait_reason(name, DENIED)
        wait_until_no_pod(sandboxes, name)
    wait_until_still(shared / "before")
    assert not (shared / "between").exists()
    assert ever_mounted(seen) <= {(str(shared), "", False)}
    assert differences(untouched, facts(canary.path)) == []


def test_an_edit_that_the_schema_refuses_changes_nothing(sandboxes: Sandboxes, shared: Path) -> None:
    sandboxes.kube.apply(short_lived(sandboxes, "kept", host_volume(shared)))
    sandboxes.wait_ready("kept")
    uid = uid_of(sandboxes.pod("kept"))
    for volume in (
        host_volume(shared, subPath="../outside"),
        host_volume(f"{shared}/../outside"),
        host_volume(shared, "/"),
        host_volume(shared, "/proc/self"),
        host_volume(shared, subPathExpr="$(X)"),
        {"name": "data", "hostPath": {"path": "/"}, "mountPath": "/mnt/data"},
    ):
        with pytest.raises(ClusterError):
            sandboxes.kube.apply(short_lived(sandboxes, "kept", volume))
    assert uid_of(sandboxes.pod("kept")) == uid
