"""A text to its YAML or JSON events: what begins, what ends, which scalar, on which line. Pure.

Only what is written, one event after the other; documents.py makes documents of it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from sandmount.check.scalars import Scalar, from_plain

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml
_TEXT_TAGS = {"!", "tag:yaml.org,2002:str"}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null")}
_COLLECTION_TAGS = {"!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_JSON_PART = re.compile(r'"(?:[^"\\]++|\\.)*+"|[][{}]|[^\s\[\]{},:"]+|\n')


@dataclass(frozen=True, slots=True)
class Event:
    """The beginning of a collection, its end, a scalar, an alias, or the end of a document."""

    kind: str
    line: int
    value: Scalar = None
    anchor: str | None = None
    literal: bool = False
    problem: str | None = None


class Stopped(Exception):  # noqa: N818 - it names a condition
    """The text cannot be read on from this line, the first being 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem


def events(text: str) -> Iterator[Event]:
    """The events of a text. Raises Stopped where it is neither YAML nor JSON."""
    return _json_events(text) if _is_json(text) else _yaml_events(text)


def _yaml_events(text: str) -> Iterator[Event]:
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 1
            match event:
                case yaml.ScalarEvent():
                    yield _yaml_scalar(event, line)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
                    problem = _tag_problem(event.tag) if event.tag and event.tag not in _COLLECTION_TAGS else None
                    yield Event(kind, line, anchor=event.anchor, problem=problem)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    yield Event("end", line)
                case yaml.AliasEvent():
                    yield Event("alias", line, anchor=event.anchor)
                case yaml.DocumentEndEvent():
                    yield Event("done", line)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        words = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        raise Stopped(mark.line + 1 if mark else 1, f"is not valid YAML: {words}") from error


def _yaml_scalar(event: yaml.ScalarEvent, line: int) -> Event:
    is_plain = not event.style
    problem = None
    value: Scalar = event.value
    if event.tag in _PLAIN_TAGS or (event.tag is None and is_plain):
        value = from_plain(event.value)
    elif event.tag is not None and event.tag not in _TEXT_TAGS:
        problem = _tag_problem(event.tag)
    return Event("scalar", line, value, event.anchor, event.style == "|", problem)


def _tag_problem(tag: str) -> str:
    return f"the tag {json.dumps(tag[:120])} has no meaning in Kubernetes; remove it"


def _is_json(text: str) -> bool:
    """Whether it is one JSON object or several. YAML that looks like JSON is YAML."""
    decoder, at = json.JSONDecoder(), 0
    try:
        while (at := _after_space(text, at)) < len(text):
            if text[at] != "{":
                return False
            _, at = decoder.raw_decode(text, at)
    except (ValueError, RecursionError):
        return False
    return at > 0


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _json_events(text: str) -> Iterator[Event]:
    """The events of a text that is JSON; what separates values in it says nothing more."""
    line, depth = 1, 0
    for match in _JSON_PART.finditer(text):
        found = match[0]
        if found == "\n":
            line += 1
        elif found in "{[":
            depth += 1
            yield Event("map" if found == "{" else "list", line)
        elif found in "}]":
            depth -= 1
            yield Event("end", line)
            if not depth:
                yield Event("done", line)
        elif found.startswith('"'):
            halves = json.loads(found).encode("utf-16", "surrogatepass")  # kubectl reads half a pair so, too
            yield Event("scalar", line, halves.decode("utf-16", "replace"))
        else:
            yield Event("scalar", line, from_plain(found))
