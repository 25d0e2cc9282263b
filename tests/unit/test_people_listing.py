"""kubectl sandbox ls and paths: the rows."""

from sandmount.allowlist import Allowlist, BadItem, Entry
from sandmount.people.listing import exceptions, paths, sandboxes
from tests.unit.builders import NOW
from tests.unit.test_people_story import READY, ago, condition, sandbox


def test_a_row_for_each_by_namespace_and_name() -> None:
    one, two, three = (
        sandbox(READY, phase="Running", nodeName="node-1", restarts=2),
        sandbox(),
        sandbox(observedGeneration=-1),
    )
    two["metadata"] |= {"name": "a", "creationTimestamp": ago(30)}
    three["metadata"]["namespace"] = "other"
    del three["status"]
    rows = sandboxes([one, two, three], NOW, everywhere=True)
    assert rows == [
        ["NAMESPACE", "NAME", "PHASE", "REASON", "NODE", "UNTIL", "AGE", "RESTARTS"],
        ["other", "training", "-", "-", "-", "-", "5m", "0"],
        ["team-a", "a", "-", "-", "-", "-", "30s", "0"],
        ["team-a", "training", "Running", "PodReady", "node-1", "-", "5m", "2"],
    ]
    assert [row[1:] for row in rows] == list(sandboxes([three, two, one], NOW, everywhere=False))


def test_what_has_ended_says_so_whatever_else_is_told() -> None:
    found = sandbox(READY, condition("Finished", "True", "Expired", "over"), phase="Terminated", expiresAt=ago(60))
    assert sandboxes([found], NOW, everywhere=False)[1][1:5] == ["Terminated", "Expired", "-", "60s ago"]


def test_a_namespace_sees_its_roots_and_nobody_else_s() -> None:
    allowlist = Allowlist(
        "1",
        (
            Entry("/srv/b", 1, nodes=(("disk", "ssd"),)),
            Entry("/srv/a", 2, read_only=True, namespaces=("team-*",)),
            Entry("/srv/c", 3, namespaces=("other",)),
        ),
        (BadItem(4, "bad"),),
    )
    assert paths(allowlist, "team-a") == [
        ["AT OR BELOW", "ACCESS", "ON NODES WITH"],
        ["/srv/a", "read-only", "any label"],
        ["/srv/b", "read and write", "disk=ssd"],
    ]


def test_no_root_every_root_and_no_list_are_said_in_words() -> None:
    assert paths(Allowlist("1"), "a") == 'No host path may be mounted in namespace "a"'
    assert paths(Allowlist("1", allows_all=True), "a") == "Every host path may be mounted: the allowlist is []"
    broken = Allowlist("1", unusable=("AllowlistMissing", "there is no ConfigMap"))
    assert paths(broken, "a") == "No host path may be mounted: there is no ConfigMap"


def test_what_lies_inside_a_root_and_is_closed_is_said() -> None:
    allowlist = Allowlist(
        "1",
        (
            Entry("/data", 1, read_only=True),
            Entry("/data/theirs", 2, namespaces=("other",)),
            Entry("/srv/theirs", 3, namespaces=("other",)),
        ),
        (BadItem(4, "bad", "/data/bad"), BadItem(5, "worse")),
    )
    assert list(exceptions(allowlist, "team-a")) == [
        "Not at or below /data/bad",
        "Not at or below /data/theirs",
        "2 items of the allowlist have a mistake in them and grant nothing",
    ]
    assert list(exceptions(Allowlist("1", (Entry("/data", 1),)), "team-a")) == []
