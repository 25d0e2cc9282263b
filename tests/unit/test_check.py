"""Sandboxes before they are applied: what is found in a file, where it stands, and what the operator would say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandmount.check.findings import exit_code
from sandmount.check.manifests import contents
from sandmount.check.output import to_json, to_text
from sandmount.check.sandboxes import Report, check, report
from sandmount.judgement import judge
from sandmount.listfile import parse
from sandmount.settings import EmptyAllowlist, SecretRefs, Settings
from tests.api.cases_bounds import BOUNDS
from tests.api.cases_paths import RULES as PATH_RULES
from tests.api.cases_rules import RULES as OTHER_RULES
from tests.api.sandboxes import place
from tests.unit.builders import Json

RULES = (*OTHER_RULES, *PATH_RULES)

LIST = parse("- {path: /data, nodes: {disk: fast}}\n- {path: /ro, readOnly: true}\n", "v", EmptyAllowlist.ALLOW)

MANIFESTS = """# rendered
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: sandmount.dev/v1alpha1
kind: Sandbox
metadata:
  name: good
  namespace: team-a
spec:
  image: ubuntu:24.04
  env:
  volumes:
  - name: scratch
    emptyDir: {}
    mountPath: /scratch
  - host: {path: /data/x}
    name: data
    subPath: y
    mountPath: /mnt/data
---
apiVersion: v1
kind: List
items:
- apiVersion: sandmount.dev/v1alpha1
  kind: Sandbox
  metadata: {name: bad}
  spec:
    image: ubuntu:24.04
    volumes:
    - {name: a, host: {path: /etc}, mountPath: /a}
    - {name: b, host: {path: /ro}, mountPath: /b}
    - {name: c, host: {path: /ro}, readOnly: true, mountPath: /c}
- apiVersion: sandmount.dev/v1alpha1
  kind: Sandbox
  metadata: {name: wrong}
  spec:
    image: ubuntu:24.04
    volumes:
    - name: a
      host:
        path: data
      mountPath: /a
"""
MANIFESTS = MANIFESTS.replace("subPath: y", "subPath: sub")

EMPTY_LIST = {"kind": "List", "apiVersion": "v1", "items": []}


def checked(text: str, settings: Settings | None = None, namespace: str = "default") -> Report:
    """The report about one file."""
    found = contents("all.yaml", text.encode(), namespace)
    return report([found], check(found.sandboxes, LIST, settings or Settings()), ())


def said(text: str, settings: Settings | None = None) -> list[tuple[int, str, str]]:
    """Line, level and rule of each finding."""
    found = checked(text, settings).findings
    assert {f.place.file for f in found} <= {"all.yaml"}
    return [(f.place.line, f.level, f.rule) for f in found]


def sandbox(**fields: object) -> str:
    """A Sandbox in JSON, which is YAML too; ``fields`` replace those of the object."""
    whole: Json = {"apiVersion": "sandmount.dev/v1alpha1", "kind": "Sandbox", "metadata": {"name": "one"}}
    return json.dumps(whole | {"spec": {"image": "ubuntu:24.04"}} | fields)


def test_text_has_a_line_for_every_volume_and_every_problem() -> None:
    denial = 'is not on the allowlist; allowed here: at or below "/data", "/ro" (read-only)'
    assert to_text(checked(MANIFESTS)).splitlines() == [
        'all.yaml:18: granted: team-a/good: volume "data": root "/data", subPath "x/sub", writable, '
        "on nodes with disk=fast",
        f'all.yaml:32: denied: default/bad: HostPathNotAllowed: volume "a": host.path "/etc" {denial}',
        'all.yaml:33: denied: default/bad: HostPathReadOnly: volume "b": host.path "/ro" is read-only here: set '
        'readOnly: true on the volume; allowed here: at or below "/data", "/ro" (read-only)',
        'all.yaml:34: granted: default/bad: volume "c": root "/ro", read-only',
        'all.yaml:43: invalid: default/wrong: InvalidSpec: spec.volumes[0].host.path: "data" is not absolute; '
        "write a path that starts with /",
        "3 Sandboxes, 1 allowed; 1 object of other kinds not looked at; 1 invalid, 2 errors",
    ]


def test_json_has_all_of_it() -> None:
    found = json.loads(to_json(checked(MANIFESTS)))
    assert (found["exitCode"], found["otherObjects"]) == (2, 1)
    good, bad, wrong = found["sandboxes"]
    assert good == {
        "file": "all.yaml",
        "line": 6,
        "namespace": "team-a",
        "name": "good",
        "allowed": True,
        "problems": [],
        "refusal": None,
        "volumes": [
            {
                "name": "data",
                "line": 18,
                "decision": "granted",
                "root": "/data",
                "subPath": "x/sub",
                "readOnly": False,
                "nodes": {"disk": "fast"},
            }
        ],
        "warnings": [],
    }
    assert [(v["name"], v["decision"], v.get("reason")) for v in bad["volumes"]] == [
        ("a", "denied", "HostPathNotAllowed"),
        ("b", "denied", "HostPathReadOnly"),
        ("c", "granted", None),
    ]
    assert (bad["allowed"], wrong["allowed"], len(wrong["problems"])) == (False, False, 1)
    assert [f["rule"] for f in found["findings"]] == ["HostPathNotAllowed", "HostPathReadOnly", "InvalidSpec"]
    assert found["findings"][0] == {
        "file": "all.yaml",
        "line": 32,
        "level": "error",
        "rule": "HostPathNotAllowed",
        "message": bad["volumes"][0]["message"],
        "sandbox": "default/bad",
    }


def test_refusals_by_settings_are_errors_and_the_settings_count() -> None:
    env = [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    text = sandbox(spec={"image": "ubuntu:24.04", "env": env, "runtimeClassName": "gvisor"})
    assert said(text) == [(1, "error", "SecretRefNotAllowed")]
    allowed = Settings(secret_refs=SecretRefs.ALLOW)
    assert said(text, allowed) == [(1, "error", "RuntimeClassNotAllowed")]
    assert said(text, Settings(secret_refs=SecretRefs.ALLOW, runtime_classes=frozenset({"gvisor"}))) == []
    assert json.loads(to_json(checked(text)))["sandboxes"][0]["refusal"]["reason"] == "SecretRefNotAllowed"


def test_a_warning_of_the_operator_is_a_warning() -> None:
    found = checked(sandbox(spec={"image": "ubuntu"}))
    assert [(f.level, f.rule) for f in found.findings] == [("warning", "SandboxWarning")]
    assert exit_code(found.findings) == 0
    assert "allowed: default/one: it mounts no host directory" in to_text(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(1, "invalid", "NoObjects")]),
        ("# nothing\n---\n", [(1, "invalid", "NoObjects")]),
        ("just words", [(1, "invalid", "NotAnObject")]),
        ("- a\n", [(1, "invalid", "NotAnObject")]),
        ("a: 1\n---\n5\n", [(1, "invalid", "NotAnObject"), (3, "invalid", "NotAnObject")]),
        ("kind: Sandbox\nspec: {}\n", [(1, "invalid", "NotAnObject")]),
        ("apiVersion: v1\nkind: List\nitems: [5]\n", [(3, "invalid", "NotAnObject")]),
        ("a: b: c", [(1, "invalid", "Unreadable")]),
        (sandbox() + "\n]", [(2, "invalid", "Unreadable")]),
        (sandbox(apiVersion="sandmount.dev/v1"), [(1, "invalid", "UnknownVersion")]),
        (sandbox(kind="Sandbx"), [(1, "invalid", "UnknownVersion")]),
        (sandbox(spce={}), [(1, "invalid", "InvalidObject")]),
        (sandbox(status={"phase": "Running"}), []),
        (sandbox(metadata=5), [(1, "invalid", "InvalidObject")]),
        (sandbox(metadata={}), [(1, "invalid", "InvalidObject")]),
        (sandbox(metadata={"name": "Upper"}), [(1, "invalid", "InvalidObject")]),
        (sandbox(metadata={"name": 5}), [(1, "invalid", "InvalidObject")]),
        (sandbox(metadata={"name": "a" * 64}), [(1, "invalid", "InvalidSpec")]),
        (sandbox(metadata={"name": "a", "namespace": "no.dots"}), [(1, "invalid", "InvalidObject")]),
        (sandbox(metadata={"name": "a", "namespace": ["x"]}), [(1, "invalid", "InvalidObject")]),
        (sandbox(spec=None), [(1, "invalid", "InvalidSpec")]),
        (sandbox(spec=[]), [(1, "invalid", "InvalidSpec")]),
        (sandbox(spec={"image": "ubuntu:24.04", "volumes": [None]}), [(1, "invalid", "InvalidSpec")]),
        (sandbox(metadata={"generateName": "run-"}), []),
        (sandbox(metadata={"generateName": "run-", "name": "", "namespace": ""}), []),
        (sandbox(metadata={"generateName": "-run"}), [(1, "invalid", "InvalidObject")]),
        (sandbox(apiVersion="agents.x-k8s.io/v1alpha1"), []),
        (sandbox(kind="SandboxList", items=[json.loads(sandbox())]), []),
        (sandbox(kind="SandboxList", items=[{"metadata": {"name": "a"}, "spec": {"image": "ubuntu:24.04"}}]), []),
        (sandbox(kind="List", apiVersion="v1", items=[EMPTY_LIST]), [(1, "invalid", "NoObjects")]),
        (sandbox(spec={"image": "ubuntu:24.04", "env": None, "volumes": None, "nodeSelector": {"a": None}}), []),
    ],
)  # fmt: skip
def test_what_is_no_good_is_found_with_its_line(text: str, expected: list[tuple[int, str, str]]) -> None:
    assert said(text) == expected


def test_yaml_that_tools_read_differently_counts_only_where_it_is_a_sandbox() -> None:
    other = "apiVersion: v1\nkind: Service\nmetadata: {name: a, name: b}\n"
    assert said(other) == []
    assert said(sandbox()[:-1] + ',\n"kind": "Sandbox"}') == [(2, "invalid", "UnclearYaml")]


def test_what_is_wrong_with_a_document_is_told_once_and_not_without_end() -> None:
    items = [json.loads(sandbox(metadata={"name": f"s{i}"})) for i in range(50)]
    twice = ",".join(f'"k{i}": 1, "k{i}": 2' for i in range(50))
    text = f'{{"apiVersion": "v1", "kind": "List", "x": {{{twice}}}, "items": {json.dumps(items)}}}'
    assert [rule for _, _, rule in said(text)] == ["UnclearYaml"] * 20
    strange = {f"f{i}": 1 for i in range(50)}
    assert [rule for _, _, rule in said(sandbox(**strange))] == ["InvalidObject"] * 8


def test_namespaces_are_those_of_the_objects_or_the_given_one() -> None:
    three = sandbox() + "".join(sandbox(metadata={"name": "a", "namespace": n}) for n in ("own", ""))
    assert [s.judgement.namespace for s in checked(three, namespace="given").sandboxes] == ["given", "own", "given"]


def test_files_stay_in_the_order_they_were_named() -> None:
    texts = [
        contents(name, sandbox(spec=spec).encode(), "default") for name, spec in (("z", {}), ("a", {"image": "x:1"}))
    ]
    found = report(texts, check([m for t in texts for m in t.sandboxes], LIST, Settings()), ())
    assert [line.partition(":")[0] for line in to_text(found).splitlines()] == [
        "z",
        "a",
        "2 Sandboxes, 1 allowed; 1 invalid",
    ]


def test_nothing_written_in_a_manifest_reaches_the_terminal_as_it_is() -> None:
    evil = "\x1b[2J\r\n::error::\u202e"
    for text in (sandbox(spec={evil: 1, "image": "x"}), sandbox(metadata={"name": evil}), sandbox(kind=evil)):
        shown = to_text(checked(text))
        assert all(line.isprintable() for line in shown.splitlines()), shown
        assert to_json(checked(text)).isascii()
    assert len(to_text(checked(sandbox(spec={"x" * 1_000_000: 1})))) < 5000


def test_a_thousand_sandboxes_in_one_list_are_quick_enough_to_wait_for() -> None:
    items = [json.loads(sandbox(metadata={"name": f"s{i}"})) for i in range(1000)]
    found = checked(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert to_text(found).splitlines()[-1] == "1000 Sandboxes, 1000 allowed; nothing is wrong"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["name", "namespace", "spec", "metadata", "image", "volumes", "host", "path", "env", "kind", "items", "x", ""]
    ), inner, max_size=4),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "items", "kind"]), _VALUES))
def test_any_object_is_judged_or_found_to_be_none(fields: dict[str, object]) -> None:
    found = checked(sandbox(**fields))
    to_json(found)
    assert to_text(found).endswith("\n")
    assert all(s.judgement.allowed for s in found.sandboxes) or exit_code(found.findings) > 0


def test_the_words_are_those_of_the_operator() -> None:
    text = sandbox(spec={"image": "a:1", "volumes": [{"name": "v", "host": {"path": "/nope"}, "mountPath": "/m"}]})
    raw = json.loads(text)
    raw["metadata"]["namespace"] = "default"
    [denial] = judge(raw, LIST, Settings()).denials
    assert [f.message for f in checked(text).findings] == [denial.message]


def test_what_the_api_server_takes_or_refuses_is_valid_or_invalid_here() -> None:
    """The tables of tests/api, which run on a real API server. Only the operator counts the bytes of a name."""
    taken = [(b.path, b.accepted) for b in BOUNDS] + [(r.path, place(r.path, v)) for r in RULES for v in r.accepted]
    refused = [(b.path, b.refused) for b in BOUNDS] + [(r.path, place(r.path, v)) for r in RULES for v in r.refused]
    complaints = [f.message for p, s in taken if "status" not in s for f in checked(json.dumps(s)).findings]
    assert [c for c in complaints if c.startswith(("spec", "metadata")) and "255 bytes" not in c] == []
    let_pass = {p for p, s in refused if "status" not in s and exit_code(checked(json.dumps(s)).findings) != 2}
    assert let_pass == set()
    assert len(taken) + len(refused) > 800
