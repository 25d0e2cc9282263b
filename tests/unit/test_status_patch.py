"""What is written of a status: only what changed; and which transitions are told as Events."""

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.allowlist import Denial
from sandmount.status import Happening, Stage, State, Verdict, compute_status, happenings, merge_patch
from tests.unit.builders import LATER, NOW, condition, host, pod, sandbox, spec

Json = dict[str, Any]

READY = State(Stage.READY, "Running", "PodReady", "the container runs")
MOVING = State(Stage.MOVING, "Pending", "PodCreated", "made")
STUCK = State(Stage.STUCK, "Failed", "HostPathNotAllowed", "no")
TAKEN = State(Stage.STUCK, "Failed", "PodNameTaken", "taken")
FINISHED = State(Stage.FINISHED, "Succeeded", "Completed", "it ended")
DENIALS = (Denial("data", "/data", "HostPathNotAllowed", "not this one"),)
MOUNTED = spec(volumes=[host(readOnly=True)]).volumes
NEW: Json = {"observedGeneration": -1}
"""The status of a Sandbox that no operator has seen."""

verdicts = st.builds(
    Verdict,
    st.sampled_from([READY, MOVING, STUCK, TAKEN, FINISHED]),
    st.sampled_from([None, (), DENIALS]),
)
pods = st.sampled_from(
    [None, pod(), pod(pod_ip=""), pod(host_mounts=MOUNTED, recursive_read_only={"/mnt/data": "Enabled"})]
)


def apply(patch: Any, target: Any) -> Any:
    """RFC 7386, as the API server does it."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = apply(value, found.get(key))
    return found


def computed(old: Json, verdict: Verdict, found: Any = None, generation: int = 1, hours: int = 0) -> Json:
    of = sandbox(old, {"generation": generation}, volumes=[host(readOnly=True)])
    return compute_status(of, verdict, found, NOW + timedelta(hours=hours))


@given(st.lists(st.tuples(verdicts, pods, st.integers(1, 3)), min_size=1, max_size=5))
def test_a_patch_turns_the_old_status_into_the_new_one_and_a_second_pass_writes_nothing(
    passes: list[tuple[Verdict, Any, int]],
) -> None:
    old = NEW
    for number, (verdict, found, generation) in enumerate(passes):
        new = computed(old, verdict, found, generation, number)
        old = apply(merge_patch(old, new), old)
        assert old == new
        again = computed(old, verdict, found, generation, number + 1000)
        assert merge_patch(old, again) == {}
        assert happenings(old, again, verdict.state) == []


@given(verdicts, verdicts, pods)
def test_computing_a_status_changes_nothing_that_it_was_given(first: Verdict, second: Verdict, found: Any) -> None:
    old = computed(NEW, first)
    kept = deepcopy(old)
    merge_patch(old, computed(old, second, found))
    assert old == kept


def test_a_patch_holds_only_what_changed_and_conditions_whole() -> None:
    old = computed(NEW, Verdict(MOVING, ()), pod())
    patch = merge_patch(old, computed(old, Verdict(READY, ()), pod()))
    assert set(patch) == {"phase", "conditions", "startedAt"}
    assert [c["type"] for c in patch["conditions"]] == ["Ready", "VolumesAllowed"]


def test_what_is_gone_is_removed() -> None:
    old = {"podIP": "10.0.0.7", "volumes": [], "phase": "Running", "written by an older version": 1}
    assert merge_patch(old, {"phase": "Running"}) == {
        "podIP": None,
        "volumes": None,
        "written by an older version": None,
    }


def told(old: Json, verdict: Verdict, found: Any = None) -> list[Happening]:
    return happenings(old, computed(old, verdict, found), verdict.state)


@pytest.mark.parametrize("verdict", [Verdict(MOVING, ()), Verdict(READY, ())])
def test_a_normal_first_start_tells_nothing(verdict: Verdict) -> None:
    assert told(NEW, verdict) == []
    assert told({}, verdict) == []
    assert told(computed(NEW, Verdict(MOVING, ())), verdict) == []


def test_getting_stuck_is_told_once() -> None:
    assert told(NEW, Verdict(STUCK, DENIALS)) == [Happening("Warning", "HostPathNotAllowed", "no")]
    stuck = computed(NEW, Verdict(STUCK, DENIALS))
    assert told(stuck, Verdict(STUCK, DENIALS)) == []


def test_getting_stuck_for_another_reason_is_told_again() -> None:
    stuck = computed(NEW, Verdict(STUCK, DENIALS))
    assert told(stuck, Verdict(TAKEN)) == [Happening("Warning", "PodNameTaken", "taken")]


def test_a_revocation_of_what_runs_is_told_as_stuck() -> None:
    ready = computed(NEW, Verdict(READY, ()))
    assert told(ready, Verdict(STUCK, DENIALS)) == [Happening("Warning", "HostPathNotAllowed", "no")]


def test_a_permission_that_is_lost_while_it_runs_on_is_told_once() -> None:
    ready = computed(NEW, Verdict(READY, ()))
    assert told(ready, Verdict(READY, DENIALS)) == [Happening("Warning", "HostPathNotAllowed", "not this one")]
    warned = computed(ready, Verdict(READY, DENIALS))
    assert told(warned, Verdict(READY, DENIALS)) == []
    assert told(warned, Verdict(MOVING, DENIALS)) == []


@pytest.mark.parametrize("verdict", [Verdict(READY, ()), Verdict(MOVING, ())])
def test_being_no_longer_stuck_is_told(verdict: Verdict) -> None:
    stuck = computed(NEW, Verdict(TAKEN))
    words = f"no longer PodNameTaken: {verdict.state.message}"
    assert told(stuck, verdict) == [Happening("Normal", "Recovered", words)]


def test_a_new_generation_of_the_same_state_is_written_and_not_told() -> None:
    stuck = computed(NEW, Verdict(STUCK, DENIALS))
    newer = computed(stuck, Verdict(STUCK, DENIALS), generation=2, hours=1)
    assert set(merge_patch(stuck, newer)) == {"observedGeneration", "conditions"}
    assert happenings(stuck, newer, STUCK) == []


def test_a_stored_status_of_another_shape_is_replaced() -> None:
    old = {
        "conditions": [condition("Ready", "Unknown", "x", "y"), condition("Strange", "True", "x", "y")],
        "x": {"y": 1},
    }
    new = compute_status(sandbox(old), Verdict(READY), None, LATER)
    assert apply(merge_patch(old, new), old) == new
    assert [c["type"] for c in new["conditions"]] == ["Ready"]
