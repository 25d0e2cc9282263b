"""The reader of manifests: as kubectl reads, with lines, and never a traceback whatever the text is."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandmount.check import documents
from sandmount.check.documents import MAX_BYTES, MAX_DEPTH, Document, Flaw, Node, line_of, plain, read


def values(text: str) -> list[Any]:
    """The documents of a text, which has no flaw."""
    found = list(read(text.encode()))
    assert all(isinstance(d, Document) and not d.flaws for d in found), found
    return [plain(d.root) for d in found if isinstance(d, Document)]


def problems(text: str | bytes) -> list[tuple[int, str]]:
    """The flaws of a text, with their lines."""
    found = []
    for item in read(text.encode() if isinstance(text, str) else text):
        found += [item] if isinstance(item, Flaw) else list(item.flaws)
    return [(f.line, f.problem) for f in found]


def only(text: str) -> Node:
    """The root of a text with one document."""
    [found] = read(text.encode())
    assert isinstance(found, Document)
    return found.root


def test_documents_come_one_by_one_without_the_empty_ones() -> None:
    assert values("# nothing\n---\na: 1\n---\n---\n~\n---\n- b\n...\n---\nnone\n") == [{"a": 1}, ["b"], "none"]
    assert values("") == values("---\n") == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", True), ("y", True), ("Off", False), ("n", False), ("tRUE", "tRUE"), ('"yes"', "yes"),
        ("017", 15), ("0o17", 15), ("0x1F", 31), ("-0x1F", -31), ("0b11", 3), ("1_000", 1000), ("08", 8), ("-0", 0),
        ("1e3", 1000), ("1000.0", 1000), (".5", 0.5), ("5.", 5), ("1:30", "1:30"), ("0x", "0x"), (".", "."),
        ("2001-01-01", "2001-01-01"), ("~", None), ("", None), ("=", "="), (".inf", ".inf"), ("1e999", "1e999"),
        ("9223372036854775808", 2**63), ("99999999999999999999", 1e20), ("1" * 500, "1" * 500),
        ("!!str 5", "5"), ('!!int "5"', 5), ("! 5", "5"), ("|\n  5\n", "5\n"),
    ],
)  # fmt: skip
def test_scalars_mean_what_they_mean_to_kubectl(written: str, meant: object) -> None:
    [found] = values(f"a: {written}")
    assert (found["a"], type(found["a"])) == (meant, type(meant))


def test_keys_are_text() -> None:
    assert values("{1: a, yes: b, 1.5: c, 'n': d}") == [{"1": "a", "true": "b", "1.5": "c", "n": "d"}]
    assert problems("~: 1") == problems("[a]: 1") == [(1, "a key is not text; put it in quotes")]


def test_a_quoted_merge_key_is_a_key() -> None:
    assert values('{"<<": 1}') == values("'<<': 1") == [{"<<": 1}]
    assert values("- <<") == [["<<"]]


def test_anchors_and_merge_keys_work() -> None:
    text = "a: &a {x: 1, z: 2}\nb: *a\nc: {<<: *a, z: 3}\nd: {<<: [{x: 9}, *a]}\n"
    assert values(text) == [
        {"a": {"x": 1, "z": 2}, "b": {"x": 1, "z": 2}, "c": {"x": 1, "z": 3}, "d": {"x": 9, "z": 2}}
    ]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 3, 'the key "a" stands twice; remove one'),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n  a: 3", 5, 'the key "a" stands twice; remove one'),
        ('{"a": 1,\n"a": 2}', 2, 'the key "a" stands twice; remove one'),
        ("x: &x {a: 1}\ny:\n  a: 2\n  <<: *x", 4, '<< replaces the key "a"; write << first'),
        ("a:\n  <<: 5", 2, "<< merges something that is not a mapping"),
        ("a: !Ref b", 1, 'the tag "!Ref" has no meaning in Kubernetes; remove it'),
        ("a: !!python/object:os.system {}", 1, 'the tag "tag:yaml.org,2002:python/object:os.system" has no meaning'),
    ],
)
def test_what_tools_read_differently_is_a_flaw_of_a_document_that_can_be_read(
    text: str, line: int, problem: str
) -> None:
    [(found_line, found)] = problems(text)
    assert found_line == line
    assert found.startswith(problem)
    assert all(isinstance(d, Document) for d in read(text.encode()))


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: *c", 2, "an alias names an anchor that is not there"),
        ("a: &a\n- *a", 2, "an alias names an anchor that is not there, or that it is a part of"),
        ("a: 1\n---\nb: c: d", 3, "is not valid YAML: mapping values are not allowed"),
        ("a: 1\nb:\n\tc: 1", 3, "is not valid YAML: found character that cannot start any token"),
        ("a: 'x", 1, "is not valid YAML"),
        (b"a: 1\nb: \xff", 2, "is not UTF-8 text (byte 8)"),
        (b"a: \x00", 1, "is not valid YAML"),
        ("[" * 200_000, 1, f"more than {MAX_DEPTH} collections lie inside one another"),
        ('{"a":' * 200_000, 1, f"more than {MAX_DEPTH} collections lie inside one another"),
        ("\n".join(" " * i + "a:" for i in range(300)), MAX_DEPTH + 1, f"more than {MAX_DEPTH} collections"),
    ],
)
def test_what_cannot_be_read_is_a_flaw_in_its_place(text: str | bytes, line: int, problem: str) -> None:
    found = problems(text)[-1]
    assert found[0] == line
    assert found[1].startswith(problem)


def test_what_came_before_the_flaw_is_read() -> None:
    found = list(read(b"a: 1\n---\n]\n---\nb: 1"))
    assert [type(f) for f in found] == [Document, Flaw]


def test_a_text_that_is_too_long_is_not_read() -> None:
    assert problems(b"a" * (MAX_BYTES + 1)) == [(1, "has more than 32 MiB; check it in parts")]


def test_aliases_count_as_what_they_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_VALUES", 1000)
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{n}: &{n} [{','.join(['*' + o] * 9)}]\n" for o, n in ("ab", "bc", "cd")
    )
    assert problems(bomb) == [(4, "one document has more than 1000 values, counting what aliases repeat")]
    merges = (
        "a: &a {" + ",".join(f"k{i}: 1" for i in range(200)) + "}\n" + "".join(f"m{i}: {{<<: *a}}\n" for i in range(9))
    )
    assert problems(merges)[-1][1].startswith("one document has more than 1000 values")
    assert values("- &a x\n" + "- *a\n" * 900) == [["x"] * 901]


def test_each_document_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_VALUES", 10)
    assert len(values("---\na: 1\n" * 100)) == 100


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, 1.5, true, null, "x\\n\\u00e9\\ud83d\\ude00\\/"], "b": {"c": {}}}',
        '\n\t{"a":\t1e3}\n{"b": -0.0}  ',
        '{"' + "k" * 2000 + '": 1}',
        '{"a": "{[\\"]}: ,#"}',
    ],
)
def test_json_is_read_as_json(text: str) -> None:
    decoder, rest, wanted = json.JSONDecoder(), text.strip(), []
    while rest:
        value, end = decoder.raw_decode(rest)
        wanted.append(value)
        rest = rest[end:].strip()
    assert values(text) == wanted


def test_half_a_surrogate_pair_is_replaced_as_kubectl_does() -> None:
    assert values('{"a": "x\\ud800y"}') == [{"a": "x\ufffdy"}]


def test_text_that_begins_like_json_and_is_yaml_is_yaml() -> None:
    assert values("{a: b}\n---\n{c: [d]}") == [{"a": "b"}, {"c": ["d"]}]


def test_lines_are_those_of_the_text() -> None:
    text = (
        "# c\n\nspec:\n  volumes:\n  - name: a\n    host:\n      path: /x\n  - {name: b,\n     host: 1}\ntext: |\n  x\n"
    )
    root = only(text)
    lines = {path: line_of(root, path) for path in [
        (), ("spec",), ("spec", "volumes", 0), ("spec", "volumes", 0, "host", "path"), ("spec", "volumes", 1),
        ("spec", "volumes", 1, "host", "path"), ("spec", "volumes", 7), ("nothing",), ("text",),
    ]}  # fmt: skip
    assert list(lines.values()) == [3, 4, 5, 7, 8, 9, 5, 3, 10]
    assert line_of(only(json.dumps({"a": [1, {"b": 2}]}, indent=1)), ("a", 1, "b")) == 5
    value = root.value
    assert isinstance(value, dict)
    assert (value["text"].literal, value["spec"].literal) == (True, False)


_SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@given(st.dictionaries(st.text(max_size=8), _JSON, max_size=4))
def test_every_json_object_is_read_as_it_is(value: dict[str, Any]) -> None:
    assert values(json.dumps(value)) == [value]
    assert values(json.dumps(value, ensure_ascii=False, indent=2)) == [value]


_PIECES = st.sampled_from(
    ["a", ": ", "- ", "\n", "\n  ", "---\n", "{", "}", "[", "]", ",", "&a ", "*a", "<<: ", "!!str ", "!x ", "|\n",
     ">-\n", "'", '"', "? ", "~", "1e3", "\t", "\\", "\x00", "\ud83d", "%YAML 1.1\n", "...\n", "#", "kind: Sandbox\n",
     "\ufeff", "\x85", "\u2028", "@", "`"]
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(_PIECES, max_size=30).map("".join) | st.text())
def test_no_text_is_too_much(text: str) -> None:
    for found in read(text.encode("utf-8", "surrogatepass")):
        if isinstance(found, Document):
            json.dumps(plain(found.root), allow_nan=False).encode()
        assert isinstance(found, Document | Flaw)


@settings(max_examples=300)
@given(st.binary())
def test_no_bytes_are_too_much(data: bytes) -> None:
    for found in read(data):
        assert isinstance(found, Document) or found.line >= 1
