"""Types of the fields of a spec: the bounds of the schema, once more, each with an error that says what to write.

Only what one value can be checked for; what fields have to do with each other is in api.py.
"""

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StrictInt, StrictStr

from sandmount import paths, times

MAX_TEXT = 131072
"""Characters of all arguments of a command, or of all values of environment variables, together."""


def _no_problem_with(problem: str | None, value: str) -> str:
    if problem:
        raise ValueError(problem)
    return value


def _host_path(path: str) -> str:
    problem = paths.problem_with_absolute(path)
    if path == "/":
        problem = "/ is the whole host; name the directory that is needed"
    return _no_problem_with(problem, path)


def _mount_path(path: str) -> str:
    return _no_problem_with(paths.problem_with_mount_path(path), path)


def _sub_path(path: str) -> str:
    return _no_problem_with(paths.problem_with_relative(path), path)


def _working_dir(path: str) -> str:
    problem = paths.problem_with_absolute(path)
    if not problem and paths.is_within(path, "/proc"):
        problem = f"{paths.quoted(path)} lies in /proc; choose a directory of the image or of a volume"
    return _no_problem_with(problem, path)


DnsLabel = Annotated[StrictStr, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\z")]
DnsSubdomain = Annotated[
    StrictStr,
    Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z"),
]
LabelKey = Annotated[
    StrictStr,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\z"),
]
LabelValue = Annotated[StrictStr, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\z")]
DataKey = Annotated[StrictStr, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+\z")]
_QUANTITY = re.compile(r"([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]{1,2})?", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?"
    r"(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII,
)
_PORT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)


def _quantity(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and len(value) <= 64 and _QUANTITY.fullmatch(value):
        return value
    raise ValueError("is not a quantity; write one such as 2, 500m or 1Gi")


def _port_name(name: str) -> str:
    if len(name) <= 15 and _PORT_NAME.fullmatch(name) and not name.replace("-", "").isdigit():
        return name
    raise ValueError("is not a port's name; write at most 15 lower-case letters, digits and '-', with a letter")


def _port_or_name(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    if isinstance(value, str):
        return _port_name(value)
    raise ValueError("is not a port; write 1 to 65535, or the name of one of the ports")


def _image(name: str) -> str:
    if any(unicodedata.category(c) in ("Cc", "Cf", "Zs", "Zl", "Zp") for c in name):
        raise ValueError("contains white space, a control or an invisible character; write a name such as ubuntu:24.04")
    return name


def _instant(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC)
    if isinstance(value, str) and _TIME.fullmatch(value) and (found := times.parse(value)):
        return found
    raise ValueError("is not a time; write one with its offset from UTC, such as 2026-12-01T00:00:00Z")


Quantity = Annotated[int | str, PlainValidator(_quantity)]
PortOrName = Annotated[int | str, PlainValidator(_port_or_name)]
Image = Annotated[StrictStr, Field(min_length=1, max_length=512), AfterValidator(_image)]
NodeLabels = Annotated[
    dict[Annotated[StrictStr, Field(max_length=317)], Annotated[StrictStr, Field(max_length=63)]], Field(max_length=32)
]
Id = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
Argument = Annotated[StrictStr, Field(max_length=8192)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
PortName = Annotated[StrictStr, AfterValidator(_port_name)]
Seconds = Annotated[StrictInt, Field(ge=1, le=3600)]
Timeout = Annotated[StrictInt, Field(ge=60, le=315_360_000)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
HostPath = Annotated[StrictStr, AfterValidator(_host_path)]
MountPath = Annotated[StrictStr, AfterValidator(_mount_path)]
SubPath = Annotated[StrictStr, AfterValidator(_sub_path)]
WorkingDir = Annotated[StrictStr, AfterValidator(_working_dir)]


def at_most_in_all(texts: Iterable[str]) -> None:
    """Raises ValueError when the texts are too long together: each Sandbox is held in memory, and a tenant has many."""
    length = sum(len(t) for t in texts)
    if length > MAX_TEXT:
        raise ValueError(f"has {length} characters in all; at most {MAX_TEXT}: put large texts into a ConfigMap")


def _arguments(arguments: tuple[str, ...]) -> tuple[str, ...]:
    at_most_in_all(arguments)
    return arguments


Arguments = Annotated[tuple[Argument, ...], Field(max_length=64), AfterValidator(_arguments)]
