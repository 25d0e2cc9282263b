"""memory: what is read back from a stored status, and that nothing in it is believed."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.memory import RAN_WELL, Condition, Memory, recall
from sandmount.observe import parse_sandbox
from sandmount.status import Stage, State, Verdict, compute_status, happenings, merge_patch
from tests.unit.builders import NOW, STAMP, Json, condition, raw_sandbox
from tests.unit.lives import at, stamp

FULL: Json = {
    "observedGeneration": 3,
    "phase": "Pending",
    "podName": "training",
    "nodeName": "node-1",
    "startedAt": "2026-01-02T03:04:05Z",
    "expiresAt": "2026-01-02T04:04:05+01:00",
    "restarts": 2,
    "lostAt": "2026-01-02T03:04:06Z",
    "conditions": [
        condition("Ready", "False", "PodDeleted", "the Pod was deleted"),
        condition("Stalled", "True", "RestartLimit", "too often"),
        condition("Finished", "True", "Completed", "it ended"),
    ],
}
READY = Condition("False", "PodDeleted", "the Pod was deleted", NOW)
GAVE_UP = Condition("True", "RestartLimit", "too often", NOW)
FINISHED = Condition("True", "Completed", "it ended", NOW)


def test_everything_is_read_back_of_a_status_about_the_spec_as_it_is() -> None:
    assert recall(FULL, 3) == Memory(
        phase="Pending",
        same_spec=True,
        had_pod=True,
        node_name="node-1",
        started_at=NOW,
        expires_at=NOW,
        restarts=2,
        lost_at=at(1),
        ready=READY,
        finished=FINISHED,
        gave_up=GAVE_UP,
    )


@pytest.mark.parametrize("generation", [2, 4])
def test_what_went_wrong_with_another_spec_is_not_counted_and_what_was_is_kept(generation: int) -> None:
    assert recall(FULL, generation) == Memory(
        phase="Pending",
        same_spec=False,
        had_pod=True,
        node_name="node-1",
        started_at=NOW,
        expires_at=NOW,
        restarts=0,
        lost_at=None,
        ready=READY,
        finished=FINISHED,
        gave_up=None,
    )


@pytest.mark.parametrize("status", [{}, {"observedGeneration": -1}])
def test_a_sandbox_that_nobody_has_seen_has_no_past(status: Json) -> None:
    assert recall(status, 1) == Memory(same_spec=False)


@pytest.mark.parametrize("reason", ["PodFailed", "RestartLimit"])
def test_nothing_is_tried_any_more_for_two_reasons(reason: str) -> None:
    found = recall({"observedGeneration": 1, "conditions": [condition("Stalled", "True", reason, "m")]}, 1)
    assert found.gave_up == Condition("True", reason, "m", NOW)


@pytest.mark.parametrize("reason", ["HostPathNotAllowed", "InvalidSpec", "PodNameTaken", "PodRefused", "PodChanged"])
def test_all_other_reasons_to_be_stalled_end_by_themselves(reason: str) -> None:
    found = recall({"observedGeneration": 1, "conditions": [condition("Stalled", "True", reason, "m")]}, 1)
    assert found.gave_up is None


@pytest.mark.parametrize("value", ["False", "Unknown", "true", ""])
def test_finished_counts_only_when_it_is_true(value: str) -> None:
    assert recall({"conditions": [condition("Finished", value, "Completed", "m")]}, 1).finished is None


@pytest.mark.parametrize(
    ("stored", "expired"),
    [
        ([], False),
        ([condition("Ready", "False", "Expired", "m")], True),
        ([condition("Ready", "False", "PodPending", "m")], False),
        ([condition("Finished", "True", "Expired", "m")], True),
        ([condition("Finished", "True", "Completed", "m")], False),
        ([condition("Finished", "False", "Expired", "m")], False),
        ([condition("Stalled", "True", "Expired", "m")], False),
    ],
)
def test_a_deadline_that_was_seen_to_pass_is_remembered(stored: list[Json], expired: bool) -> None:
    for generation in (1, 2):
        assert recall({"observedGeneration": 1, "conditions": stored}, generation).expired is expired


@pytest.mark.parametrize(
    ("field", "odd"),
    [
        ("restarts", [0, -1, -(10**9), 2.0, "2", None, [], {}, [2]]),
        (
            "lostAt",
            ["", "yesterday", "2026-01-02T03:04:05", "2026-01-02", 5, None, [], {}, "9999-12-31T23:59:59-23:59"],
        ),
        ("startedAt", ["", "x", "2026-01-02T03:04:05", 1767323045, True, None, [], {}, "0001-01-01T00:00:00+23:59"]),
        ("expiresAt", ["", "x", "2026-01-02T03:04:05", 1767323045, True, None, [], {}]),
        ("phase", [None, 5, [], {}, True]),
        ("nodeName", [None, 5, [], {}, True]),
        ("observedGeneration", [None, "1", [], {}, 1.5, -1]),
    ],
)
def test_what_has_not_the_right_shape_is_not_there(field: str, odd: list[object]) -> None:
    without = recall({k: v for k, v in FULL.items() if k != field}, 3)
    for value in odd:
        assert recall(FULL | {field: value}, 3) == without, value


@pytest.mark.parametrize(
    "conditions",
    [
        None,
        "Ready",
        5,
        {},
        {"type": "Ready"},
        ["Ready"],
        [None],
        [[]],
        [{"type": "Ready"}],
        [{**condition("Ready", "True", "Expired", "m"), "reason": 5}],
        [condition("Finished", "True", "Completed", "m"), {}],
    ],
)
def test_conditions_that_are_none_are_forgotten_all_together(conditions: object) -> None:
    found = parse_sandbox(raw_sandbox({"observedGeneration": 1, "conditions": conditions})).memory
    assert (found.ready, found.finished, found.gave_up) == (None, None, None)


def test_a_transition_time_that_is_none_is_not_there() -> None:
    raw = condition("Ready", "True", "PodReady", "m", lastTransitionTime="long ago")
    assert recall({"conditions": [raw]}, 1).ready == Condition("True", "PodReady", "m", None)


@pytest.mark.parametrize(
    ("ready", "left"),
    [
        (None, 4),
        (Condition("True", "PodReady", "", None), 4),
        (Condition("True", "PodReady", "", at(0)), 4),
        (Condition("True", "PodReady", "", at(-599)), 4),
        (Condition("True", "PodReady", "", at(-600)), 0),
        (Condition("True", "PodReady", "", at(-(10**6))), 0),
        (Condition("True", "PodReady", "", at(10**6)), 4),
        (Condition("False", "PodDeleted", "", at(-(10**6))), 4),
        (Condition("Unknown", "x", "", at(-(10**6))), 4),
    ],
)
def test_losses_are_forgiven_after_ten_minutes_of_being_ready(ready: Condition | None, left: int) -> None:
    assert timedelta(minutes=10) == RAN_WELL
    assert Memory(restarts=4, ready=ready).restarts_at(NOW) == left


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(STAMP),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
conditions = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["Ready", "Finished", "Stalled", "Paused", "x"]) | json_values,
            "status": st.sampled_from(["True", "False"]) | json_values,
            "reason": st.sampled_from(["Expired", "PodFailed", "RestartLimit"]) | json_values,
            "message": st.text() | json_values,
            "lastTransitionTime": st.just(STAMP) | json_values,
        },
    ),
    max_size=3,
)
FIELDS = (
    "phase",
    "podName",
    "nodeName",
    "startedAt",
    "expiresAt",
    "restarts",
    "lostAt",
    "volumes",
    "observedGeneration",
)
odd_statuses = json_values | st.fixed_dictionaries(
    {}, optional={"conditions": conditions | json_values} | dict.fromkeys(FIELDS, json_values)
)
STATES = [
    State(Stage.READY, "Running", "PodReady", "r"),
    State(Stage.MOVING, "Pending", "PodPending", "m", told=True),
    State(Stage.STUCK, "Failed", "PodFailed", "s"),
    State(Stage.PAUSED, "Paused", "Paused", "p"),
    State(Stage.FINISHED, "Terminated", "Expired", "f"),
]


@given(odd_statuses, st.integers(1, 3))
def test_no_status_whatever_its_shape_is_an_error(status: object, generation: int) -> None:
    raw = raw_sandbox({}, {"generation": generation})
    found = parse_sandbox({**raw, "status": status})
    memory = found.memory
    assert memory.restarts >= 0
    assert memory.restarts_at(NOW) in (0, memory.restarts)
    for time in (memory.started_at, memory.expires_at, memory.lost_at):
        assert time is None or isinstance(time, datetime)
        assert time is None or time.tzinfo is not None
    assert memory.same_spec or (memory.restarts, memory.lost_at, memory.gave_up) == (0, None, None)


@given(odd_statuses, st.sampled_from(STATES))
def test_any_status_is_mended_by_the_next_write(status: object, state: State) -> None:
    raw = raw_sandbox({})
    first = parse_sandbox({**raw, "status": status})
    written = compute_status(first, Verdict(state, ()), None, NOW)
    happenings(first.status, written, state)
    again = compute_status(parse_sandbox({**raw, "status": written}), Verdict(state, ()), None, NOW)
    assert merge_patch(written, again) == {}


def test_a_stored_time_in_another_form_is_written_anew_once() -> None:
    raw = raw_sandbox({"startedAt": "2026-01-02T04:04:05.7+01:00"})
    written = compute_status(parse_sandbox(raw), Verdict(STATES[0]), None, at(9))
    assert written["startedAt"] == stamp(0)
