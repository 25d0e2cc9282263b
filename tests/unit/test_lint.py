"""What is said about an allowlist itself, and on which line of which file."""

import json

import pytest

from sandmount.check.findings import Finding
from sandmount.check.lint import item_places, lint
from sandmount.check.listsource import ListSource, from_cluster, from_file
from sandmount.settings import EmptyAllowlist, Settings

SETTINGS = Settings()


def source(text: str, settings: Settings = SETTINGS) -> ListSource:
    """The allowlist in a file."""
    found = from_file("list.yaml", text.encode(), settings)
    assert isinstance(found, ListSource), found
    return found


def said(text: str, settings: Settings = SETTINGS) -> list[tuple[int, str, str, str]]:
    """Line, level, rule and message of each finding."""
    found = lint(source(text, settings))
    assert {f.place.file for f in found} <= {"list.yaml"}
    return [(f.place.line, f.level, f.rule, f.message) for f in found]


def test_a_list_without_anything_to_say() -> None:
    assert said("- {path: /data/a, readOnly: true}\n- {path: /data/b, namespaces: [team-b]}\n") == []
    assert said("none") == []


def test_a_bad_item_is_an_error_on_its_line_with_the_operator_s_words() -> None:
    text = "# roots\n- path: /data\n  readOnly: true\n\n- /etc\n- relative\n"
    bad = source(text).allowlist.bad_items
    assert [(line, level, rule) for line, level, rule, _ in said(text)] == [
        (5, "error", "AllowlistBadItem"),
        (6, "error", "AllowlistBadItem"),
    ]
    assert [message for *_, message in said(text)] == [f"{b}; it grants nothing" for b in bad]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (
            "- {path: /data, readOnly: true}\n- {path: /data/a, namespaces: ['*']}",
            [(2, "note", "NestedRoot"), (2, "note", "WritableEverywhere")],
        ),
        (
            "- {path: /data, readOnly: true}\n- {path: /data/a/b, namespaces: [team-a]}",
            [(2, "warning", "ReadableThroughOuter")],
        ),
        (
            "- {path: /data, readOnly: true, namespaces: [team-a]}\n- {path: /data/a, namespaces: ['team-*']}",
            [(2, "note", "NestedRoot")],
        ),
        (
            "- {path: /data, readOnly: true, namespaces: ['team-*']}\n- {path: /data/a, namespaces: [team-a]}",
            [(2, "warning", "ReadableThroughOuter")],
        ),
        (
            "- {path: /data, readOnly: true, namespaces: ['ci*']}\n- {path: /data/a, namespaces: [ci]}",
            [(2, "warning", "ReadableThroughOuter")],
        ),
        (
            "- {path: /data, readOnly: true, namespaces: [a, b]}\n"
            "- {path: /data/x, namespaces: [a]}\n- {path: /data/x, namespaces: [b], readOnly: true}",
            [(2, "note", "NestedRoot"), (3, "note", "NestedRoot"), (3, "note", "ReadOnlyAndWritable")],
        ),
        (
            "- {path: /data/a/b, readOnly: true}\n- {path: /data/a, readOnly: true}\n- {path: /data, readOnly: true}",
            [(1, "note", "NestedRoot"), (1, "note", "NestedRoot"), (2, "note", "NestedRoot")],
        ),
        ("- /data\n- /data/a", [(1, "note", "WritableEverywhere"), (2, "error", "AllowlistBadItem")]),
        ("- /data\n- /srv\n- /data/", [
            (1, "note", "WritableEverywhere"), (2, "note", "WritableEverywhere"),
            (3, "warning", "AllowlistRepeatedItem"),
        ]),
        ("- {path: /etc/x, acknowledgeRisk: true, readOnly: true}", [(1, "warning", "RiskyRoot")]),
        ("- {path: /data, acknowledgeRisk: true, readOnly: true}", [(1, "note", "UnneededAcknowledgeRisk")]),
        ("- {path: /data, acknowledgeRisk: false, readOnly: true}", []),
        ("- /data", [(1, "note", "WritableEverywhere")]),
        ("[]", [(1, "warning", "AllowlistAllowsAll")]),
    ],
)  # fmt: skip
def test_what_is_worth_a_thought(items: str, expected: list[tuple[int, str, str]]) -> None:
    assert [found[:3] for found in said(items)] == expected


def test_messages_name_items_and_namespaces() -> None:
    text = (
        "- {path: /data, readOnly: true, namespaces: [team-b, 'ci-*']}\n- {path: /data/a, namespaces: [team-a, ci-1]}\n"
    )
    assert said(text)[0][3] == (
        'item 2: "/data/a" lies inside item 1, "/data", through which namespaces "team-b", "ci-*" can read it '
        "although it is not for them"
    )
    everywhere = "- {path: /data, readOnly: true}\n- {path: /data/a, namespaces: [team-a]}\n"
    assert 'namespaces other than "team-a" can read it' in said(everywhere)[0][3]
    shared = "- {path: /d, readOnly: true, namespaces: [a]}\n- {path: /d, namespaces: [b]}\n"
    assert said(shared) == [
        (
            1,
            "note",
            "ReadOnlyAndWritable",
            'item 1: "/d" is read-only here and writable in item 2: these namespaces read what those write',
        )
    ]


def test_an_empty_list_that_allows_nothing_needs_no_warning() -> None:
    assert said("[]", Settings(empty_allowlist=EmptyAllowlist.DENY)) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "AllowlistNotAList"),
        ("a: b", "AllowlistNotAList"),
        ("[", "AllowlistUnreadable"),
        ("- *a", "AllowlistUnreadable"),
    ],
)
def test_a_list_that_cannot_be_used_is_invalid(text: str, rule: str) -> None:
    [(line, level, found, _)] = said(text)
    assert (line, level, found) == (1, "invalid", rule)


CONFIG_MAP = """apiVersion: apps/v1
kind: Deployment
metadata: {name: sandmount-host-paths, namespace: sandmount-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: sandmount-host-paths, namespace: sandmount-system}
data:
"""


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ("  allowed_host_paths: |\n    # roots\n    - /etc\n\n    - /root\n", [11, 13]),
        ("  allowed_host_paths: |2-  # why\n\n\n    - /etc\n    - /root\n", [12, 13]),
        ("  other: x\n  allowed_host_paths: >\n    - /etc\n\n    - /root\n", [10, 10]),
        ("  allowed_host_paths: '[/etc, /root]'\n", [9, 9]),
        ("  allowed_host_paths:\n    |\n    - /etc\n    - /root\n", [11, 12]),
    ],
)
def test_lines_of_items_are_those_of_the_file_that_holds_the_config_map(data: str, lines: list[int]) -> None:
    found = source(CONFIG_MAP + data)
    assert [f.place.line for f in lint(found)] == lines
    assert [item_places(found)[p].line for p in (1, 2)] == lines


def test_in_json_every_item_stands_where_the_text_does() -> None:
    metadata = {"name": "sandmount-host-paths", "namespace": "sandmount-system"}
    whole = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"allowed_host_paths": "- /etc\n- /usr"},
    }
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [whole]}, indent=1)
    line = 1 + text[: text.index("- /etc")].count("\n")
    assert [found[0] for found in said(text)] == [line, line]


def test_the_list_in_force_has_lines_of_its_own() -> None:
    metadata = {"uid": "u", "resourceVersion": "1"}
    found = from_cluster({"metadata": metadata, "data": {"allowed_host_paths": "- /data\n- /etc"}}, SETTINGS)
    assert [(f.place.file, f.place.line) for f in lint(found)] == [
        ("configmap/sandmount-system/sandmount-host-paths", 1),
        ("configmap/sandmount-system/sandmount-host-paths", 2),
    ]
    assert [f.rule for f in lint(from_cluster(None, SETTINGS))] == ["AllowlistMissing"]
    assert [f.rule for f in lint(from_cluster({"metadata": metadata}, SETTINGS))] == ["AllowlistKeyMissing"]


def refused(text: str) -> list[tuple[int, str]]:
    """Line and rule of what is wrong with a file that holds no list."""
    found = from_file("list.yaml", text.encode(), SETTINGS)
    assert isinstance(found, tuple), found
    assert all(isinstance(f, Finding) and f.level == "invalid" for f in found)
    return [(f.place.line, f.rule) for f in found]


def test_the_config_map_has_to_be_there_once_and_to_hold_text() -> None:
    list_text = "  allowed_host_paths: none\n"
    assert refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n") == [(1, "AllowlistMissing")]
    assert refused((CONFIG_MAP + list_text).replace("sandmount-system", "elsewhere")) == [(1, "AllowlistMissing")]
    assert refused(CONFIG_MAP + list_text + "---\n" + CONFIG_MAP + list_text) == [(15, "AllowlistMissing")]
    assert refused(CONFIG_MAP + "  allowed_host_paths: [/data]\n") == [(9, "AllowlistNotText")]
    assert refused(CONFIG_MAP + list_text * 2) == [(10, "UnclearYaml")]
    assert refused(CONFIG_MAP + "  allowed_host_paths: '" + "x" * 2**20 + "y'\n") == [(9, "AllowlistTooLong")]
    assert refused("- " + "x" * 2**20) == [(1, "AllowlistTooLong")]
    assert refused(CONFIG_MAP + list_text + "---\n]") == [(11, "Unreadable")]
    assert [f[2] for f in said(CONFIG_MAP + "  other: x\n")] == ["AllowlistKeyMissing"]
    assert [f[2] for f in said(CONFIG_MAP.replace(", namespace: sandmount-system", "") + list_text)] == []


def test_the_names_of_the_config_map_are_those_of_the_settings() -> None:
    text = (CONFIG_MAP + "  allowed_host_paths: '- /etc'\n").replace("sandmount-host-paths", "own")
    assert [f[2] for f in said(text, Settings(allowlist_name="own"))] == ["AllowlistBadItem"]
    found = from_file("f", text.encode(), Settings(allowlist_name="own", namespace="elsewhere"))
    assert isinstance(found, tuple) and found[0].rule == "AllowlistMissing"


def test_bytes_that_are_no_text_are_invalid() -> None:
    found = from_file("list.yaml", b"- /data\xff", SETTINGS)
    assert isinstance(found, tuple)
    assert [(f.rule, f.message) for f in found] == [("Unreadable", "is not UTF-8 text (byte 7)")]
