"""docs/api.md, the reference of what a Sandbox may say: all of it is from crds/sandboxes.yaml. Pure, but for main.

`make api-docs` writes it.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.api.schema import Schema, bounds, crd, nodes, root, rules

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
WIDTH = 120
HALVES = ("spec", "status")
"""What has a section of its own, with one for each of its fields."""

INTRODUCTION = """\
# API reference

<!-- Made by `make api-docs` from crds/sandboxes.yaml. Change that file, not this one. -->

{description} Its apiVersion is `{version}` and its kind `{kind}`; kubectl takes {names}.

`kubectl explain {short}.spec` says the same in a terminal, and `sandmount crd` prints the schema behind it.

A field that is not said to be required may be left out. In a path, `[]` stands for each item of a list. The list below
a field has what the API server answers when a value breaks one of its rules. Only the operator can say whether the
[allowlist](allowlist.md) grants a volume, and what its [settings](settings.md) allow; what the reasons in a status mean
is in [status.md](status.md).
"""


def page() -> str:
    """The reference."""
    found = crd()["spec"]
    version = found["versions"][0]
    names = [found["names"]["singular"], found["names"]["plural"], *found["names"]["shortNames"]]
    introduction = INTRODUCTION.format(
        description=root()["description"],
        version=f"{found['group']}/{version['name']}",
        kind=found["names"]["kind"],
        names=_listed([f"`{name}`" for name in names], "or"),
        short=names[-1],
    )
    parts = [_wrapped(paragraph) for paragraph in introduction.split("\n\n")]
    for name, schema in root()["properties"].items():
        parts += _section(name, schema) if name in HALVES else _items(name, schema)
    return "\n\n".join([*parts, *_columns(version["additionalPrinterColumns"])]) + "\n"


def _section(name: str, schema: Schema) -> Iterator[str]:
    """One of the two halves of a Sandbox: a table of its fields, and each with all that is below it."""
    yield f"## {name}"
    yield _wrapped(_what(name, schema) + ".")
    yield _wrapped(_text(schema["description"]))
    rows = [f"| [`{n}`](#{name}{n.lower()}) | {_in_short(s)} |" for n, s in schema["properties"].items()]
    yield "\n".join(["| field | |", "|---|---|", *rows])
    for field, below in schema["properties"].items():
        path = f"{name}.{field}"
        yield f"### {path}"
        yield _wrapped(_what(path, below) + ".")
        yield _wrapped(_text(below["description"]))
        if said := _refusals(path):
            yield said
        yield from list(_items(path, below))[1:]


def _items(path: str, schema: Schema) -> Iterator[str]:
    """A field and all fields below it."""
    return (_item(p, s) for p, s in nodes(schema, path) if not p.endswith(("[]", "{}")))


def _item(path: str, schema: Schema) -> str:
    """A field as an item of a list, with what is said of it below."""
    parts = [_wrapped(f"- **`{path}`**: {_what(path, schema)}.", "  ")]
    if "description" in schema:
        parts.append(_wrapped("  " + _text(schema["description"]), "  "))
    if said := _refusals(path):
        parts.append(textwrap.indent(said, "  "))
    return "\n\n".join(parts)


def _what(path: str, schema: Schema) -> str:
    """Its type, whether it is required, its bounds and its default."""
    parts = [_type(schema)]
    if path in _required():
        parts.append("required")
    parts += _bounds(schema)
    if "default" in schema:
        default = schema["default"]
        parts.append(f"default `{default if isinstance(default, str) else json.dumps(default)}`")
    return ", ".join(parts)


@cache
def _required() -> set[str]:
    return {path for path, keyword in bounds() if keyword == "required"}


@cache
def _messages() -> dict[str, list[str]]:
    """By the field that they stand at."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, message in rules():
        found[path.rstrip("[]{}")].append(message)
    return found


def _type(schema: Schema, many: str = "") -> str:
    """The type in words; ``many`` is the s of more than one."""
    if schema.get("x-kubernetes-int-or-string"):
        return f"integer{many} or string{many}"
    if "items" in schema:
        return f"list{many} of {_type(schema['items'], 's')}"
    if "additionalProperties" in schema:
        return f"map{many} of {_type(schema['additionalProperties'], 's')} by name"
    return "time" if schema.get("format") == "date-time" else schema["type"] + many


def _bounds(schema: Schema) -> list[str]:
    """Its bounds in words, and those of its items or values."""
    found = []
    if "enum" in schema:
        found.append("one of " + ", ".join(f"`{value or json.dumps(value)}`" for value in schema["enum"]))
    for least, most, unit in (
        ("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " keys"),
    ):  # fmt: skip
        found += _span(schema.get(least), schema.get(most), unit)
    if "pattern" in schema:
        found.append(f"matches `{schema['pattern']}`")
    if keys := schema.get("x-kubernetes-list-map-keys"):
        found.append(f"no two with the same {_listed([f'`{key}`' for key in keys])}")
    below = schema.get("items") or schema.get("additionalProperties")
    return found + ([f"each {bound}" for bound in _bounds(below)] if below else [])


def _span(least: int | None, most: int | None, unit: str) -> list[str]:
    if least is not None and most is not None:
        return [f"{least} to {most}{unit}"]
    return [f"at least {least}{unit}"] if least is not None else [f"at most {most}{unit}"] if most is not None else []


def _refusals(path: str) -> str:
    """What the rules of a field say, and those of its items or values, each once."""
    return "\n".join(_wrapped(f"- {_text(message)}", "  ") for message in _messages().get(path, ()))


def _columns(columns: list[Schema]) -> Iterator[str]:
    yield "## Columns of kubectl get"
    rows = ["| column | | from | |", "|---|---|---|---|"]
    for column in columns:
        wide = "with `-o wide`" if column.get("priority") else ""
        rows.append(f"| {column['name']} | {wide} | `{column['jsonPath']}` | {_text(column['description'])} |")
    yield "\n".join(rows)


def _in_short(schema: Schema) -> str:
    """The first sentence of the description."""
    return _text(
        re.split(r"(?<=\.) |(?<=:) (?=[A-Z])", schema["description"])[0].removesuffix(":").removesuffix(".") + "."
    )


def _listed(words: list[str], last: str = "and") -> str:
    """One, two and three."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _text(plain: str) -> str:
    """Text in which Markdown sees no marks."""
    return re.sub(r"([*<>|`\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", plain)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
