"""Kubernetes Events, as the API takes them."""

import socket
from datetime import timedelta

import pytest

from sandmount.events import allowlist_events, event_about_sandbox
from sandmount.settings import EmptyAllowlist, Settings
from sandmount.status import Happening
from tests.unit.builders import NOW, SETTINGS, Json, allowlist, config_map, roots, sandbox

WHEN = "2026-01-02T03:04:05.000000Z"


def test_an_event_about_a_sandbox_is_this() -> None:
    assert event_about_sandbox(sandbox(), Happening("Warning", "PodNameTaken", "in use"), NOW) == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "training.6475ef64cf340", "namespace": "team-a"},
        "eventTime": WHEN,
        "type": "Warning",
        "reason": "PodNameTaken",
        "note": "in use",
        "action": "Reconcile",
        "reportingController": "sandmount.dev/operator",
        "reportingInstance": socket.gethostname(),
        "regarding": {
            "apiVersion": "sandmount.dev/v1alpha1",
            "kind": "Sandbox",
            "namespace": "team-a",
            "name": "training",
            "uid": "sandbox-uid",
        },
    }


@pytest.mark.parametrize("letter", ["x", "é", "日", "🦊"])
@pytest.mark.parametrize("size", [1023, 1024, 1025, 5000])
def test_a_note_is_cut_at_1024_bytes_and_never_inside_a_character(letter: str, size: int) -> None:
    message = letter * (size // len(letter.encode()))
    note = event_about_sandbox(sandbox(), Happening("Normal", "R", message), NOW)["note"]
    assert len(note.encode()) <= 1024
    if size <= 1024:
        assert note == message
    elif len(message.encode()) > 1024:
        assert note.endswith("...")
        assert set(note.removesuffix("...")) == {letter}


def told(text: str, settings: Settings = SETTINGS) -> list[tuple[str, str, str]]:
    listed = allowlist(text, empty=settings.empty_allowlist)
    events = allowlist_events(listed, config_map(text), settings, NOW)
    return [(e["type"], e["reason"], e["note"]) for e in events]


def test_a_list_without_mistakes_tells_nothing() -> None:
    assert told("- /data\n- /srv") == []
    assert told("none") == []
    assert told("[]", Settings(empty_allowlist=EmptyAllowlist.DENY)) == []


def test_a_list_that_allows_everything_is_a_warning() -> None:
    words = "the list is empty, so EVERY host path is allowed; write the roots that are needed, or none"
    assert told("[]") == [("Warning", "AllowlistAllowsAll", words)]


def test_a_list_that_cannot_be_used_is_a_warning_with_its_reason() -> None:
    words = "the allowlist must be a YAML list of paths, [] or none; found a mapping"
    assert told("{}") == [("Warning", "AllowlistNotAList", f"{words}; every host path is denied until it is mended")]


def test_each_bad_item_and_each_repeated_path_is_a_warning() -> None:
    assert told("- /data\n- relative\n- /data\n- 5") == [
        (
            "Warning",
            "AllowlistBadItem",
            'item 2: "relative" is not absolute; write a path that starts with /; it grants nothing',
        ),
        (
            "Warning",
            "AllowlistBadItem",
            "item 4: is a number; write a plain path such as /data/shared, or a mapping with path; it grants nothing",
        ),
        ("Warning", "AllowlistRepeatedItem", "listed more than once, to no effect: /data"),
    ]


@pytest.mark.parametrize(("found", "uid"), [(config_map("- x"), "list"), (None, None)])
def test_an_event_about_the_list_names_the_config_map_in_the_operators_namespace(
    found: Json | None, uid: str | None
) -> None:
    settings = Settings(namespace="own", allowlist_name="paths")
    (event,) = allowlist_events(allowlist("- x"), found, settings, NOW)
    assert event["metadata"] == {"name": "paths.6475ef64cf340", "namespace": "own"}
    expected = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "own", "name": "paths"}
    assert event["regarding"] == expected | ({"uid": uid} if uid else {})


def test_a_valid_list_gives_no_event_whatever_its_length() -> None:
    assert allowlist_events(roots(*[f"/srv/{i}" for i in range(200)]), config_map(""), SETTINGS, NOW) == []


def test_names_are_in_the_order_of_time_and_valid_however_long_the_sandboxs_is() -> None:
    def name(of: str, seconds: float) -> str:
        about = sandbox(metadata={"name": of})
        event = event_about_sandbox(about, Happening("Normal", "R", ""), NOW + timedelta(seconds=seconds))
        found: str = event["metadata"]["name"]
        return found

    names = [name("training", seconds) for seconds in (0, 0.000001, 1, 3600, 10 * 365 * 86400)]
    assert names == sorted(names)
    long = name("a" * 199 + "-" + "b" * 53, 0)
    assert len(long) <= 253 and "-." not in long


def test_events_about_one_list_have_names_of_their_own() -> None:
    names = [e["metadata"]["name"] for e in allowlist_events(allowlist("- x\n- y\n- z"), None, SETTINGS, NOW)]
    assert len(set(names)) == len(names) == 3
