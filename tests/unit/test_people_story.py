"""kubectl sandbox why: one Sandbox in each state, in words."""

from datetime import timedelta
from typing import Any

import pytest

from sandmount.people.story import LAST_EVENTS, headline, story
from sandmount.people.words import duration, shown, until
from tests.unit.builders import NOW, Json

STAMP = "%Y-%m-%dT%H:%M:%SZ"


def ago(seconds: float) -> str:
    """A time as the API server writes it."""
    return (NOW - timedelta(seconds=seconds)).strftime(STAMP)


def condition(kind: str, status: str, reason: str, message: str, age: float = 60) -> Json:
    """A condition that has been so for that many seconds."""
    return {
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": ago(age),
        "observedGeneration": 1,
    }  # fmt: skip


def sandbox(*conditions: Json, spec: Json | None = None, **status: Any) -> Json:
    """A Sandbox as it is stored."""
    return {
        "metadata": {
            "namespace": "team-a", "name": "training", "uid": "u", "generation": 1, "creationTimestamp": ago(300),
        },
        "spec": {"image": "busybox:stable", **(spec or {})},
        "status": {"observedGeneration": 1, "conditions": list(conditions), **status},
    }  # fmt: skip


READY = condition("Ready", "True", "PodReady", "the container runs", 180)
DENIED = 'volume "data": host.path "/etc" is not on the allowlist'
VOLUME = {
    "name": "data", "host": {"path": "/srv/data"}, "subPath": "train", "mountPath": "/mnt/data", "readOnly": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (sandbox(READY), "team-a/training is ready: PodReady, for 3m: the container runs"),
        (
            sandbox(condition("Ready", "False", "ErrImagePull", "no such image", 30)),
            "team-a/training is not ready yet: ErrImagePull, for 30s: no such image",
        ),
        (
            sandbox(
                condition("Ready", "False", "HostPathNotAllowed", DENIED),
                condition("Stalled", "True", "HostPathNotAllowed", DENIED),
            ),
            f"team-a/training needs your help: HostPathNotAllowed, for 60s: {DENIED}",
        ),
        (
            sandbox(condition("Paused", "True", "Paused", "paused")),
            "team-a/training is paused: Paused, for 60s: paused",
        ),
        (
            sandbox(condition("Finished", "True", "Expired", "its deadline has passed")),
            "team-a/training has ended: Expired, for 60s: its deadline has passed",
        ),
        (sandbox(), "team-a/training: nothing is known of it yet"),
        (
            sandbox(observedGeneration=-1),
            "team-a/training: the operator has not seen its spec as it is now (created 5m ago); is it running?",
        ),
    ],
)
def test_the_headline_says_what_matters_most(found: Json, words: str) -> None:
    assert headline(found, NOW) == words


def test_a_sandbox_that_is_being_deleted_is_nothing_else() -> None:
    found = sandbox(READY)
    found["metadata"]["deletionTimestamp"] = ago(7)
    assert headline(found, NOW) == "team-a/training is being deleted, 7s"


def test_the_story_of_one_that_runs() -> None:
    ends = (NOW + timedelta(hours=2)).strftime(STAMP)
    found = sandbox(
        READY,
        condition("VolumesAllowed", "True", "Granted", "every host volume is on the allowlist"),
        spec={
            "volumes": [VOLUME, {"name": "scratch", "emptyDir": {}, "mountPath": "/scratch"}],
            "entrypoint": ["sleep", "9"], "expiryPolicy": "Delete",
        },
        volumes=[{"name": "data", "root": "/srv", "subPath": "data/train", "readOnly": True}],
        expiresAt=ends,
    )  # fmt: skip
    pod = {
        "metadata": {"name": "training"},
        "spec": {"nodeName": "node-1"},
        "status": {
            "phase": "Running", "podIP": "10.1.2.3",
            "containerStatuses": [
                {"name": "sandbox", "restartCount": 2, "state": {"running": {"startedAt": ago(90)}}},
                {"name": "injected", "state": {"waiting": {}}},
            ],
        },
    }  # fmt: skip
    assert list(story(found, pod, [], NOW)) == [
        "team-a/training is ready: PodReady, for 3m: the container runs",
        "  runs      busybox:stable: sleep 9",
        "  volume    data: host directory /srv/data, its directory train at /mnt/data, read-only; "
        "granted by the entry /srv",
        "  volume    scratch: an empty directory at /scratch, read and write",
        "  Pod       Running on node node-1, address 10.1.2.3",
        "  container running for 90s, started again 2 times",
        f"  ends      in 2h, at {ends} (Delete)",
    ]


def test_the_story_of_one_that_is_denied() -> None:
    denial = condition("VolumesAllowed", "False", "HostPathNotAllowed", DENIED)
    lines = list(story(sandbox(denial, spec={"volumes": [VOLUME]}), None, [], NOW))
    assert lines[2:] == [
        "  volume    data: host directory /srv/data, its directory train at /mnt/data, read-only; not mounted",
        f"  denied    {DENIED}",
        "  Pod       there is none",
    ]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"waiting": {"reason": "ErrImagePull", "message": "not found"}}, "waiting, ErrImagePull: not found"),
        ({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "ended with exit code 137 (OOMKilled)"),
        ({}, "waiting, to be started"),
    ],
)
def test_what_the_container_does(state: Json, words: str) -> None:
    pod = {"metadata": {}, "spec": {}, "status": {"containerStatuses": [{"name": "sandbox", "state": state}]}}
    assert list(story(sandbox(), pod, [], NOW))[-1] == f"  container {words}"


def test_who_may_not_see_pods_is_told_so_and_not_that_there_is_none() -> None:
    lines = list(story(sandbox(READY, podName="training"), None, [], NOW, hidden=True))
    assert lines[-1] == "  Pod       training; you may not see Pods here"


def event(reason: str, age: float, **more: Any) -> Json:
    """An Event."""
    return {
        "metadata": {"creationTimestamp": ago(9999)}, "involvedObject": {"kind": "Pod"}, "reason": reason,
        "message": f"words of {reason}", "lastTimestamp": ago(age), **more,
    }  # fmt: skip


def test_the_last_events_stand_in_order_whichever_way_they_were_written() -> None:
    events = [event(f"Old{n}", 1000 + n) for n in range(LAST_EVENTS)]
    events += [
        event("Third", 10),
        event("First", 0, lastTimestamp=None, eventTime=ago(40)),
        event("Second", 500, series={"lastObservedTime": ago(20)}),
    ]
    lines = list(story(sandbox(), None, events, NOW))[-LAST_EVENTS:]
    assert [line.split()[3].rstrip(":") for line in lines[-3:]] == ["First", "Second", "Third"]
    assert lines[-1] == "  10s ago   Pod Third: words of Third"
    assert not any("Old7" in line for line in lines)


def test_nothing_that_others_wrote_reaches_the_terminal_but_text() -> None:
    evil = "a\x1b[2Jb\nc\u202ed\x00"
    found = sandbox(condition("Ready", "False", "Error", evil), spec={"image": evil, "entrypoint": [evil]})
    text = "\n".join(story(found, None, [event("X", 1, message=evil)], NOW))
    assert not {"\x1b", "\x00", "\u202e"} & set(text)
    assert shown(evil) == "a [2Jb c d"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (310, "5m10s"), (1830, "30m"), (7260, "2h1m"),
     (86400 * 2 + 4 * 3600, "2d4h"), (86400 * 40, "40d")],
)  # fmt: skip
def test_durations_are_kubectl_s(seconds: float, words: str) -> None:
    assert duration(timedelta(seconds=seconds)) == words


def test_a_deadline_is_ahead_or_behind() -> None:
    assert until(NOW + timedelta(seconds=5), NOW) == "in 5s"
    assert until(NOW - timedelta(hours=3), NOW) == "3h ago"
