"""YAML and JSON as kubectl reads them, with the line of every value.

Pure, and made for texts of which nobody knows who wrote them: nothing here recurses, grows without bound or raises.
What cannot be read is a value, a Flaw. Anchors and merge keys work, and what they repeat counts as if it were written
out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandmount.check.scalars import MERGE, Scalar
from sandmount.check.yamltext import Event, Stopped, events

MAX_BYTES = 32 * 1024 * 1024
"""Of one text; all that 5,000 Sandboxes print is a fraction of it."""

MAX_VALUES = 2_000_000
"""Values in one document, those that aliases repeat included."""

MAX_DEPTH = 100
"""Collections inside one another."""

MAX_FLAWS = 20
"""Told of one document."""


@dataclass(slots=True)
class Node:
    """A value and the line where it begins, the first being 1."""

    line: int
    value: "Scalar | list[Node] | dict[str, Node]"
    literal: bool = False
    """Whether it is a text in a literal block (``|``), whose own first line is the next one."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that cannot be read, or that tools read differently, and the line where it stands."""

    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream. Whoever uses it looks at its flaws first; whoever does not, need not care."""

    root: Node
    flaws: tuple[Flaw, ...]


def read(data: bytes) -> Iterator[Document | Flaw]:
    """The documents of a stream, without the empty ones. A Flaw in their place comes last: the rest is not read."""
    if len(data) > MAX_BYTES:
        yield Flaw(1, f"has more than {MAX_BYTES // 2**20} MiB; check it in parts")
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield Flaw(1 + data.count(b"\n", 0, error.start), f"is not UTF-8 text (byte {error.start})")
        return
    yield from _composed(events(text))


def plain(node: Node) -> Any:
    """The value as it is in JSON. What aliases share is shared."""
    if isinstance(node.value, dict):
        return {k: plain(v) for k, v in node.value.items()}
    if isinstance(node.value, list):
        return [plain(v) for v in node.value]
    return node.value


def line_of(node: Node, path: tuple[str | int, ...]) -> int:
    """The line of what the path leads to, or of the last thing on the way that is there."""
    for part in path:
        inner = _inside(node.value, part)
        if inner is None:
            break
        node = inner
    return node.line


def _inside(value: object, part: str | int) -> Node | None:
    found: Node | None = None
    if isinstance(value, dict):
        found = value.get(part)
    elif isinstance(value, list) and isinstance(part, int) and part < len(value):
        found = value[part]
    return found


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    node: Node
    anchor: str | None
    before: int
    """Values that the document had before it."""
    key: str | None = None
    """In a mapping: the key whose value comes next."""
    merged: set[str] = field(default_factory=set)
    """Keys that a merge brought, which a later key may replace."""


class _Builder:
    """Builds one document from its events."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.flaws: list[Flaw] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0

    def take(self, event: Event) -> None:
        """The next event. Raises Stopped when the document cannot be read on."""
        if event.problem:
            self._tell(event.line, event.problem)
        match event.kind:
            case "map" | "list":
                self._begin(event)
            case "end":
                self._end()
            case "alias":
                self._repeat(event)
            case _:
                node = Node(event.line, event.value, event.literal)
                self._count_more(1, event.line)
                self._anchor(event.anchor, node, 1)
                self._add(node)

    def _tell(self, line: int, problem: str) -> None:
        if len(self.flaws) < MAX_FLAWS:
            self.flaws.append(Flaw(line, problem))

    def _begin(self, event: Event) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise Stopped(event.line, f"more than {MAX_DEPTH} collections lie inside one another")
        before = self._count
        self._count_more(1, event.line)
        empty: list[Node] | dict[str, Node] = {} if event.kind == "map" else []
        self._open.append(_Open(Node(event.line, empty), event.anchor, before))

    def _end(self) -> None:
        closed = self._open.pop()
        self._anchor(closed.anchor, closed.node, self._count - closed.before)
        self._add(closed.node)

    def _repeat(self, event: Event) -> None:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            raise Stopped(event.line, "an alias names an anchor that is not there, or that it is a part of")
        node, count = found
        self._count_more(count, event.line)
        self._add(Node(event.line, node.value))

    def _anchor(self, name: str | None, node: Node, count: int) -> None:
        if name is not None:
            self._anchors[name] = node, count

    def _count_more(self, count: int, line: int) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            raise Stopped(line, f"one document has more than {MAX_VALUES} values, counting what aliases repeat")

    def _add(self, node: Node) -> None:
        """Puts a value where it belongs: at the top, into a list, or as key or value into a mapping."""
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.key is None:
            parent.key = self._as_key(node)
        else:
            key, parent.key = parent.key, None
            self._put(parent, key, node)

    def _as_key(self, node: Node) -> str:
        match node.value:
            case str():
                return node.value
            case bool():
                return str(node.value).lower()
            case int() | float():
                return str(node.value)
        self._tell(node.line, "a key is not text; put it in quotes")
        return ""

    def _put(self, parent: _Open, key: str, node: Node) -> None:
        mapping = parent.node.value
        assert isinstance(mapping, dict)  # noqa: S101 - for mypy; _add has looked
        if key is MERGE:
            self._merge(parent, mapping, node)
            return
        if key in mapping and key not in parent.merged:
            self._tell(node.line, f"the key {json.dumps(key[:120])} stands twice; remove one")
        parent.merged.discard(key)
        mapping[key] = node

    def _merge(self, parent: _Open, mapping: dict[str, Node], node: Node) -> None:
        """``<<`` as kubectl reads it: what comes later wins, which other tools see differently, so that is a flaw."""
        sources = reversed(node.value) if isinstance(node.value, list) else [node]
        for source in sources:
            if not isinstance(source.value, dict):
                self._tell(node.line, "<< merges something that is not a mapping")
                continue
            for key, value in source.value.items():
                if key in mapping and key not in parent.merged:
                    self._tell(node.line, f"<< replaces the key {json.dumps(key[:120])}; write << first")
                parent.merged.add(key)
                mapping[key] = value


def _composed(stream: Iterator[Event]) -> Iterator[Document | Flaw]:
    builder = _Builder()
    try:
        for event in stream:
            if event.kind == "done":
                if builder.root is not None and builder.root.value is not None:
                    yield Document(builder.root, tuple(builder.flaws))
                builder = _Builder()
            else:
                builder.take(event)
    except Stopped as stopped:
        yield Flaw(stopped.line, stopped.problem)
