"""docs/api.md is what the CRD says, and all of it."""

import re

import pytest

from tests.api import reference
from tests.api.schema import Schema, crd, nodes, root, rules

PAGE = reference.PAGE.read_text(encoding="utf-8")
FIELDS = [path for path, _ in nodes(root()) if path and not path.endswith(("[]", "{}"))]
COLUMNS = crd()["spec"]["versions"][0]["additionalPrinterColumns"]


def about(path: str) -> str:
    """What the page has about a field, on one line: up to the next field."""
    heading = rf"^(?:- \*\*`{re.escape(path)}`\*\*: |##+ {re.escape(path)}\n\n)"
    found = re.split(r"\n\n(?:##|- \*\*)", re.split(heading, PAGE, maxsplit=1, flags=re.MULTILINE)[1], maxsplit=1)[0]
    return re.sub(r"\s+", " ", found).replace("\\", "")


def test_the_page_is_what_make_api_docs_would_write() -> None:
    assert reference.page() == PAGE, "run make api-docs"


def test_each_field_is_there_once_with_its_description() -> None:
    assert len(FIELDS) > 100
    for path, schema in nodes(root()):
        if path in FIELDS:
            heading = rf"^(- \*\*`{re.escape(path)}`\*\*: |##+ {re.escape(path)}$)"
            assert len(re.findall(heading, PAGE, re.MULTILINE)) == 1, path
            assert schema.get("description", "") in about(path)


def test_each_field_of_spec_and_status_is_linked_from_the_table_above_it() -> None:
    headings = {line.removeprefix("### ") for line in PAGE.splitlines() if line.startswith("### ")}
    links = {f"#{heading.replace('.', '').lower()}" for heading in headings}
    assert set(re.findall(r"^\| \[`\w+`\]\((#\w+)\)", PAGE, re.MULTILINE)) == links
    assert len(links) == len(headings)


def test_each_message_of_each_rule_stands_at_its_field() -> None:
    assert len(list(rules())) > 50
    for path, message in rules():
        assert f"- {message}" in about(path.rstrip("[]{}")), path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("spec", "object, required."),
        ("spec.image", "string, required, 1 to 512 characters."),
        ("spec.imagePullPolicy", "string, one of `Always`, `IfNotPresent`, `Never`, default `IfNotPresent`."),
        ("spec.entrypoint", "list of strings, at most 64 items, each at most 8192 characters."),
        ("spec.terminationGracePeriodSeconds", "integer, 0 to 300, default `10`."),
        ("spec.nodeSelector", "map of strings by name, at most 32 keys, each at most 63 characters."),
        ("spec.volumes", "list of objects, at most 32 items, no two with the same `name`."),
        ("spec.volumes[].emptyDir.medium", 'string, one of `""`, `Memory`.'),
        ("spec.volumes[].emptyDir.sizeLimit", "integer or string, at most 64 characters."),
        ("spec.resources.limits", "map of integers or strings by name, at most 16 keys, each at most 64 characters."),
        ("status", 'object, default `{"observedGeneration": -1}`.'),
        ("status.startedAt", "time."),
        ("status.restarts", "integer, at least 0."),
        ("status.conditions[].reason", "string, required, 1 to 1024 characters, matches `^[A-Za-z]("),
    ],
)
def test_type_bounds_and_default_are_in_words(path: str, words: str) -> None:
    assert about(path).startswith(words)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column["name"]))
def test_each_column_is_there(column: Schema) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {column['name']} |"))
    assert column["description"] in row
    assert f"`{column['jsonPath']}`" in row
    assert ("-o wide" in row) == bool(column.get("priority"))


def test_no_text_of_the_schema_is_a_mark_of_markdown() -> None:
    for path, schema in nodes(root()):
        assert "*" not in schema.get("description", ""), path
    assert "'\\_'" in PAGE
