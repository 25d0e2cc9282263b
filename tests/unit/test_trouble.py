"""trouble: why a Pod does not run, in the words of kubelet 1.36, and the same words while nothing changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.observe import parse_pod_events
from sandmount.trouble import Trouble, ever_ran, find_trouble, is_disrupted
from tests.unit.builders import Json
from tests.unit.lives import stamp

IMAGE = "nothere.invalid/x:1"
PULL = (
    f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": failed to do request: Head '
    '"https://nothere.invalid/v2/x/manifests/1": dial tcp: lookup nothere.invalid on 10.96.0.10:53: no such host'
)
WAIT = "back-off 40s restarting failed container=sandbox pod=training_team-a(0d5c3d8e-6f1c-4d6e-8a55-0f6c6f0a2b11)"
ALWAYS = {"restartPolicy": "Always"}


def found(container: Json | None = None, policy: str = "Always", **status: Any) -> Trouble | None:
    return find_trouble({"restartPolicy": policy}, status, container or {})


def waiting(reason: str, message: str = "", **fields: Any) -> Json:
    return {"state": {"waiting": {"reason": reason, "message": message}}, **fields}


def ended(code: int, reason: str = "Error", ran: float | None = None, **fields: Any) -> Json:
    """What is said of a container that ended; ``ran`` seconds after NOW, where it began."""
    times = {} if ran is None else {"startedAt": stamp(0), "finishedAt": stamp(ran)}
    return {"terminated": {"exitCode": code, "reason": reason, **times, **fields}}


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", PULL),
        ("ErrImagePull", "rpc error: code = Unknown desc = Error: not found"),
        ("ErrImagePull", "two\nlines: ErrOther: x"),
        ("ErrImageNeverPull", f'Container image "{IMAGE}" is not present with pull policy of Never'),
        ("ImageInspectError", "no such thing"),
    ],
)
def test_a_pull_that_fails_and_the_wait_for_the_next_one_are_the_same_trouble(reason: str, message: str) -> None:
    trying = found(waiting(reason, message))
    resting = found(waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": {reason}: {message}'))
    assert trying == resting == Trouble(reason, message)


@pytest.mark.parametrize(
    ("reason", "message", "expected"),
    [
        ("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"', None),
        ("InvalidImageName", 'Failed to apply default image tag "UPPER"', None),
        ("CreateContainerConfigError", 'configmap "m" not found', None),
        ("ContainerCreating", "", None),
        ("", "", Trouble("ContainerWaiting", "")),
        ("CrashLoopBackOff", WAIT, None),
    ],
)
def test_other_words_about_a_container_that_waits_are_the_kubelets(
    reason: str, message: str, expected: Trouble | None
) -> None:
    assert found(waiting(reason, message)) == (expected or Trouble(reason, message))
    assert found(waiting(reason, message) | {"state": {"waiting": {"reason": reason or None}}}) is not None


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"state": ended(1)}, Trouble("Error", "the container ended with exit code 1")),
        (
            {"state": ended(137, "OOMKilled")},
            Trouble("OOMKilled", "the container ended with exit code 137 (OOMKilled)"),
        ),
        (
            {"state": ended(2, message="no such file\n")},
            Trouble("Error", "the container ended with exit code 2: no such file\n"),
        ),
        (
            {"state": ended(1), "restartCount": 1},
            Trouble("Error", "the container ended with exit code 1; it was started again 1 time", again=True),
        ),
        (
            {"state": ended(1), "restartCount": 2},
            Trouble("Error", "the container ended with exit code 1; it was started again 2 times", again=True),
        ),
        (
            {"state": ended(1, ran=599), "restartCount": 7},
            Trouble("Error", "the container ended with exit code 1; it was started again 7 times", again=True),
        ),
        (
            {"state": ended(1, ran=600), "restartCount": 7},
            Trouble("Error", "the container ended with exit code 1; it was started again 7 times"),
        ),
        ({"state": ended(0, "Completed")}, Trouble("ContainerEnded", "the container ended with exit code 0")),
        ({"state": ended(0, "")}, Trouble("ContainerEnded", "the container ended with exit code 0")),
        (
            waiting("CrashLoopBackOff", WAIT, lastState=ended(3), restartCount=1),
            Trouble(
                "CrashLoopBackOff",
                f"the container ended with exit code 3 (Error); it was started again 1 time; {WAIT}",
                again=True,
            ),
        ),
        (
            waiting("CrashLoopBackOff", WAIT, lastState=ended(3, ran=5), restartCount=4),
            Trouble(
                "CrashLoopBackOff",
                f"the container ended with exit code 3 (Error); it was started again 4 times; {WAIT}",
                again=True,
            ),
        ),
        (
            waiting("CrashLoopBackOff", "", lastState=ended(137, "OOMKilled"), restartCount=1),
            Trouble(
                "OOMKilled",
                "the container ended with exit code 137 (OOMKilled); it was started again 1 time",
                again=True,
            ),
        ),
        (
            waiting("CrashLoopBackOff", "", lastState=ended(1, "StartError", message="exec: nope"), restartCount=0),
            Trouble("CrashLoopBackOff", "the container ended with exit code 1 (StartError): exec: nope"),
        ),
    ],
)
def test_a_crash_is_told_with_its_exit_code_and_only_the_first_of_a_row_is_an_events_cause(
    container: Json, expected: Trouble
) -> None:
    assert found(container) == expected


@pytest.mark.parametrize(
    ("policy", "code", "told"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_an_end_that_the_pods_own_follows_is_no_events_cause(policy: str, code: int, told: bool) -> None:
    trouble = found({"state": ended(code)}, policy)
    assert trouble is not None
    assert trouble.told is told


READY = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready: [sandbox]"}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


def test_the_pods_own_reason_is_told_before_the_containers_and_that_before_the_schedulers() -> None:
    conditions = [READY, UNSCHEDULABLE]
    crash = {"state": ended(137)}
    assert found(crash, reason="Evicted", message="memory", conditions=conditions) == Trouble("Evicted", "memory")
    assert found(crash, reason="NodeLost", conditions=conditions) == Trouble("NodeLost", "")
    assert found(crash, conditions=conditions) == Trouble("Error", "the container ended with exit code 137")
    assert found(conditions=conditions) == Trouble("Unschedulable", "0/3 nodes")
    assert found(conditions=[READY]) == Trouble("ContainersNotReady", "unready: [sandbox]")
    assert found({"state": {"running": {}}}, conditions=[{**READY, "status": "True"}]) is None


DISRUPTION = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]}


@pytest.mark.parametrize(
    ("status", "container", "disrupted"),
    [
        ({}, {"state": ended(1)}, False),
        ({"reason": "Evicted"}, {"state": ended(137)}, True),
        ({"reason": "NodeShutdown"}, {}, True),
        ({"reason": "UnexpectedAdmissionError"}, {}, True),
        (DISRUPTION, {"state": ended(143)}, True),
        ({"conditions": [{"type": "DisruptionTarget", "status": "False"}]}, {"state": ended(1)}, False),
        ({}, {"state": ended(137, "ContainerStatusUnknown")}, True),
        ({}, {"lastState": ended(137, "ContainerStatusUnknown")}, False),
        ({}, {}, False),
    ],
)
def test_a_pod_that_failed_was_disrupted_when_something_was_done_to_it(
    status: Json, container: Json, disrupted: bool
) -> None:
    for policy in ("Never", "OnFailure"):
        assert is_disrupted({"restartPolicy": policy}, {"phase": "Failed", **status}, container) is disrupted
        assert not is_disrupted({"restartPolicy": policy}, {"phase": "Running", **status}, container)
    assert is_disrupted(ALWAYS, {"phase": "Failed", **status}, container)
    for phase in ("Pending", "Running", "Succeeded", "Unknown"):
        assert not is_disrupted(ALWAYS, {"phase": phase, **status}, container)


states: st.SearchStrategy[Any] = st.sampled_from([{}, {"running": {}}, {"waiting": {}}, ended(1), None])


@given(states, states, st.sampled_from([0, 1, 9, None]))
def test_a_container_that_ran_is_known_by_any_trace_of_it(state: Any, last: Any, count: Any) -> None:
    traces = [bool(count), *("running" in (s or {}) or "terminated" in (s or {}) for s in (state, last))]
    assert ever_ran({"state": state, "lastState": last, "restartCount": count}) is any(traces)


json_scalars = st.none() | st.text(max_size=8) | st.sampled_from(["CrashLoopBackOff", "ImagePullBackOff", "Completed"])


@given(
    st.fixed_dictionaries({}, optional={"reason": json_scalars, "message": json_scalars}),
    st.fixed_dictionaries({}, optional={"reason": json_scalars, "message": json_scalars, "exitCode": st.integers()}),
    st.sampled_from(["waiting", "terminated", "running"]),
    st.integers(0, 3) | st.none(),
)
def test_no_words_of_a_kubelet_are_an_error(last: Json, now: Json, kind: str, count: int | None) -> None:
    container = {"state": {kind: now}, "lastState": {"terminated": last}, "restartCount": count}
    trouble = found(container)
    assert trouble is None or (trouble.reason, isinstance(trouble.message, str)) == (trouble.reason or "-", True)


# ---- Events


def event(message: str, seconds: float = 0, reason: str = "FailedMount", uid: str = "p", **fields: Any) -> Json:
    return {
        "involvedObject": {"uid": uid},
        "reason": reason,
        "message": message,
        "lastTimestamp": stamp(seconds),
        **fields,
    }


def test_of_the_warnings_that_were_seen_lately_about_a_pod_it_is_always_the_same() -> None:
    items = [
        event("an old one", 0),
        event("new", 200),
        event("not this one", 190),
        event("another's", 9, "FailedCreatePodSandBox", "q"),
    ]
    for order in (items, items[::-1]):
        assert parse_pod_events(order) == {
            "p": Trouble("FailedMount", "new"),
            "q": Trouble("FailedCreatePodSandBox", "another's"),
        }


def test_a_summary_of_all_volumes_comes_only_where_nothing_else_was_said() -> None:
    summary = event("Unable to attach or mount volumes: unmounted volumes=[data], timed out", 9)
    first = event('MountVolume.SetUp failed for volume "data" : hostPath type check failed', 0)
    assert parse_pod_events([summary]) == {"p": Trouble("FailedMount", summary["message"])}
    for order in ([summary, first], [first, summary]):
        assert parse_pod_events(order) == {"p": Trouble("FailedMount", first["message"])}


def test_the_time_of_an_event_is_found_wherever_it_is_written() -> None:
    old = event("old", 0)
    for newer in (
        {"series": {"lastObservedTime": "2026-01-02T03:04:09.000000Z"}},
        {"eventTime": "2026-01-02T03:04:09.000000Z"},
        {"lastTimestamp": stamp(4), "eventTime": None, "series": None},
    ):
        new = {"involvedObject": {"uid": "p"}, "reason": "FailedMount", "message": "new", **newer}
        for order in ([old, new], [new, old]):
            assert parse_pod_events(order) == {"p": Trouble("FailedMount", "new")}


@pytest.mark.parametrize("odd", [{}, {"involvedObject": None}, {"reason": None, "message": None}, {"reason": ""}])
def test_an_event_that_gives_no_reason_is_passed_over(odd: Json) -> None:
    assert parse_pod_events([odd]) == {}
