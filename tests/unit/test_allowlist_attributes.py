"""Entries with attributes: who may use one, for what, on which nodes, and which of them can stand together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.allowlist import Allowlist, Denial, Entry, Grant, matches, overlap
from tests.unit.builders import allowlist, host, spec


def decide(text: str | Allowlist, namespace: str, path: str, **fields: Any) -> Grant | Denial:
    """The decision on a volume of that path."""
    (volume,) = spec(volumes=[host(path, **fields)]).volumes
    found = (allowlist(text) if isinstance(text, str) else text).decide(namespace, volume)
    assert found is not None
    return found


def may(text: str | Allowlist, namespace: str, path: str, **fields: Any) -> bool:
    return isinstance(decide(text, namespace, path, **fields), Grant)


def problems(text: str) -> list[tuple[int, str]]:
    return [(b.position, b.problem) for b in allowlist(text).bad_items]


FULL = """
- path: /data/shared/
  readOnly: true
  namespaces: [team-a, "ci-*"]
  nodes: {node-restriction.kubernetes.io/has-data: "true", disk: ""}
- path: /opt/cni/cache
  acknowledgeRisk: true
- /srv
"""


def test_all_attributes_are_read() -> None:
    assert allowlist(FULL).entries == (
        Entry(
            "/data/shared",
            1,
            read_only=True,
            namespaces=("team-a", "ci-*"),
            nodes=(("disk", ""), ("node-restriction.kubernetes.io/has-data", "true")),
        ),
        Entry("/opt/cni/cache", 2, acknowledge_risk=True),
        Entry("/srv", 3),
    )
    assert allowlist(FULL).firm


def test_a_mapping_with_nothing_but_a_path_is_a_plain_prefix() -> None:
    assert allowlist("- {path: /data}").entries == allowlist("- /data").entries


def test_a_key_that_stands_twice_is_not_yaml_that_is_read_here() -> None:
    found = allowlist("- path: /data\n  readOnly: true\n  readOnly: false\n")
    assert found.unusable is not None
    assert found.unusable[0] == "AllowlistUnreadable"
    assert "line 1" in found.unusable[1]


@pytest.mark.parametrize(
    ("namespace", "allowed"),
    [("team-a", True), ("ci-7", True), ("ci-", True), ("ci", False), ("team-ab", False), ("team", False), ("x", False)],
)
def test_an_entry_serves_the_namespaces_that_it_names(namespace: str, allowed: bool) -> None:
    assert may(FULL, namespace, "/data/shared/x", readOnly=True) is allowed
    assert may(FULL, namespace, "/srv")


@pytest.mark.parametrize("namespaces", ['["*"]', '[a, "*"]', '["*", "*"]'])
def test_a_lone_star_is_all_namespaces(namespaces: str) -> None:
    assert allowlist(f"- {{path: /data, namespaces: {namespaces}}}").entries == (Entry("/data", 1),)


def test_a_denial_shows_nothing_of_other_namespaces_entries() -> None:
    text = "- {path: /data/alpha, namespaces: [alpha]}\n- {path: /data/beta, namespaces: [beta], readOnly: true}"
    denial = decide(text, "beta", "/data/alpha/x", readOnly=True)
    assert isinstance(denial, Denial)
    assert denial.message == (
        'volume "data": host.path "/data/alpha/x" is not on the allowlist; '
        'allowed here: at or below "/data/beta" (read-only)'
    )
    nobody = decide(text, "gamma", "/data/alpha/x")
    assert isinstance(nobody, Denial)
    assert nobody.message.endswith("is not on the allowlist; no host path is allowed here")


def test_an_entry_for_others_denies_in_the_same_words_as_no_entry() -> None:
    text = "- {path: /data/alpha, namespaces: [alpha]}\n- /srv"
    one, other = decide(text, "beta", "/data/alpha"), decide("- /srv", "beta", "/data/alpha")
    assert one == other


def test_a_read_only_entry_grants_read_only_volumes_alone() -> None:
    text = "- {path: /data, readOnly: true}"
    assert decide(text, "any", "/data/x", readOnly=True) == Grant("data", "/data", "x", True)
    assert decide(text, "any", "/data/x") == Denial(
        "data",
        "/data/x",
        "HostPathReadOnly",
        'volume "data": host.path "/data/x" is read-only here: set readOnly: true on the volume; '
        'allowed here: at or below "/data" (read-only)',
    )


NESTED = """
- {path: /data, readOnly: true}
- {path: /data/alpha, namespaces: [alpha]}
- {path: /data/alpha/archive, readOnly: true, namespaces: [beta]}
"""


def test_an_entry_inside_a_read_only_one_decides_for_its_path() -> None:
    text = "- {path: /data, readOnly: true}\n- {path: /data/scratch}"
    assert decide(text, "any", "/data/scratch/x") == Grant("data", "/data/scratch", "x", False)
    assert decide(text, "any", "/data/x", readOnly=True) == Grant("data", "/data", "x", True)
    assert isinstance(decide(text, "any", "/data/x"), Denial)


def test_by_sub_path_both_entries_must_grant_and_the_root_is_the_outer_ones() -> None:
    text = "- {path: /data, readOnly: true}\n- {path: /data/scratch}"
    assert decide(text, "any", "/data", subPath="scratch/x", readOnly=True) == Grant("data", "/data", "scratch/x", True)
    denial = decide(text, "any", "/data", subPath="scratch/x")
    assert isinstance(denial, Denial)
    assert (denial.reason, denial.path) == ("HostPathReadOnly", "/data")


def test_an_entry_for_other_namespaces_is_an_exception_from_the_wider_one() -> None:
    text = "- {path: /data, readOnly: true}\n- {path: /data/alpha, namespaces: [alpha]}"
    assert may(text, "alpha", "/data/alpha/x")
    for sub_path in (None, "x"):
        denial = decide(text, "beta", "/data/alpha", subPath=sub_path, readOnly=True)
        assert isinstance(denial, Denial)
        assert 'is excepted from "/data" in namespace "beta"; allowed here: at or below "/data"' in denial.message
    assert not may(text, "beta", "/data", subPath="alpha", readOnly=True)
    assert may(text, "beta", "/data", subPath="alphabet", readOnly=True)


def test_nodes_of_both_deciding_entries_are_asked_for() -> None:
    text = (
        "- {path: /data, readOnly: true, nodes: {a: '1'}}\n- {path: /data/x, readOnly: true, nodes: {b: '2', a: '1'}}"
    )
    assert decide(text, "any", "/data", subPath="x", readOnly=True) == Grant(
        "data", "/data", "x", True, (("a", "1"), ("b", "2"))
    )
    assert decide(text, "any", "/data/y", readOnly=True) == Grant("data", "/data", "y", True, (("a", "1"),))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_root_inside_a_writable_one_is_bad_whatever_their_namespaces(order: tuple[int, int]) -> None:
    items = ["- {path: /data, namespaces: [a]}", "- {path: /data/x, readOnly: true, namespaces: [b]}"]
    found = allowlist("\n".join(items[i] for i in order))
    assert [e.root for e in found.entries] == ["/data"]
    (bad,) = found.bad_items
    assert bad.path == "/data/x"
    assert "or make the outer one readOnly" in bad.problem


def test_a_root_deep_inside_a_writable_one_is_bad_though_a_read_only_one_stands_between() -> None:
    found = allowlist("- /data\n- {path: /data/a, readOnly: true}\n- {path: /data/a/b, readOnly: true}")
    assert [e.root for e in found.entries] == ["/data"]
    assert [b.path for b in found.bad_items] == ["/data/a", "/data/a/b"]


def test_a_writable_twin_for_one_namespace_makes_what_lies_inside_bad() -> None:
    text = (
        "- {path: /d, readOnly: true, namespaces: [a]}\n- {path: /d, namespaces: [b]}\n- {path: /d/x, namespaces: [c]}"
    )
    assert [p for p, _ in problems(text)] == [3]


def test_roots_inside_read_only_ones_stand() -> None:
    assert problems(NESTED) == [
        (
            3,
            '"/data/alpha/archive" lies inside item 2, "/data/alpha": who may write there could replace it by a link; '
            "remove one of the two, or make the outer one readOnly",
        )
    ]
    assert problems("- {path: /a, readOnly: true}\n- {path: /a/b, readOnly: true}\n- /a/b/c") == []


def test_a_path_may_stand_twice_for_namespaces_that_do_not_overlap() -> None:
    text = "- {path: /data, namespaces: [a, 'x-*']}\n- {path: /data, readOnly: true, namespaces: [b]}"
    assert problems(text) == []
    assert may(text, "a", "/data")
    assert not may(text, "b", "/data")
    assert may(text, "b", "/data", readOnly=True)
    assert not may(text, "c", "/data", readOnly=True)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("[a]", "[b, a]", "a"),
        ("[a]", "['*']", "a"),
        ("['ci-*']", "[ci-7]", "ci-7"),
        ("[ci-7]", "['ci-*']", "ci-7"),
        ("['ci-*']", "['c*']", "ci-*"),
        ("['ci*']", "[ci]", "ci"),
    ],
)
def test_a_path_that_stands_twice_for_one_namespace_is_bad_and_denied(one: str, other: str, common: str) -> None:
    text = f"- {{path: /data, namespaces: {one}}}\n- {{path: /data, namespaces: {other}, readOnly: true}}"
    ((position, problem),) = problems(text)
    assert position == 2
    assert f'"/data" stands in item 1 too, and both are for namespaces "{common}"' in problem
    for namespace in ("a", "b", "ci", "ci-7"):
        assert not may(text, namespace, "/data", readOnly=True)


def test_the_same_said_twice_is_reported_and_denies_nothing() -> None:
    text = "- {path: /d, namespaces: [a, b], nodes: {x: y}}\n- {nodes: {x: y}, path: /d/, namespaces: [b, a]}"
    found = allowlist(text)
    assert found.firm
    assert found.repeated == ("/d",)
    assert may(text, "a", "/d")


@pytest.mark.parametrize("root", ["/etc", "/var/lib/kubelet/pods", "/var", "/usr/share/data", "/run"])
def test_a_directory_that_the_node_depends_on_needs_an_acknowledged_risk(root: str) -> None:
    assert allowlist(f"- {{path: {root}}}").entries == ()
    assert may(f"- {{path: {root}, acknowledgeRisk: true}}", "any", root)


names = st.from_regex(r"[a-c]{1,3}", fullmatch=True)
patterns = st.lists(names | names.map(lambda n: n + "*"), max_size=3).map(tuple)


@given(patterns, patterns, st.lists(names, min_size=8, max_size=8))
def test_entries_that_do_not_overlap_serve_no_namespace_in_common(
    one: tuple[str, ...], other: tuple[str, ...], namespaces: list[str]
) -> None:
    a, b = Entry("/d", 1, namespaces=one), Entry("/d", 2, namespaces=other)
    common = overlap(a, b)
    if common is None:
        assert not any(a.serves(n) and b.serves(n) for n in namespaces)
    else:
        assert a.serves(common.removesuffix("*"))
        assert b.serves(common.removesuffix("*"))
    assert (common is None) == (overlap(b, a) is None)


@given(names, names)
def test_a_pattern_matches_by_its_beginning(beginning: str, rest: str) -> None:
    assert matches(beginning + "*", beginning + rest)
    assert matches(beginning + "*", beginning)
    assert matches(beginning, beginning)
    assert not matches(beginning, beginning + rest)


def test_who_may_read_what_another_writes() -> None:
    text = """
- {path: /shared, namespaces: [producer]}
- {path: /shared, readOnly: true, namespaces: ["consumer-*"]}
- {path: /teams, namespaces: [a, b]}
- {path: /mine, namespaces: [producer]}
- /everyone
- {path: /public, readOnly: true}
- {path: /public/inbox, namespaces: [producer]}
"""
    found = allowlist(text)

    def reader(namespace: str, path: str) -> str | None:
        grant = decide(found, namespace, path)
        assert isinstance(grant, Grant), grant
        entry = found.read_by_others(namespace, grant)
        return entry.root if entry else None

    assert reader("producer", "/shared/x") == "/shared"
    assert reader("a", "/teams") == "/teams"
    assert reader("producer", "/mine") is None
    assert reader("producer", "/everyone") is None
    assert reader("producer", "/public/inbox") == "/public"
