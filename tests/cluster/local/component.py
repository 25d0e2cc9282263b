"""What a component of the cluster is: a program, its options, its port and how it says that it is well.

Data only; `cluster.py` starts and stops them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.local.api import Client


@dataclass(frozen=True)
class Component:
    """One process. `ports` are those that must be free before it starts."""

    name: str
    argv: tuple[str, ...]
    answers: Callable[[Client], bool]
    ports: tuple[tuple[str, int], ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


def flags(program: Path, options: Mapping[str, object]) -> tuple[str, ...]:
    """A command line from options; Go programs want `true` and `false`."""

    def text(value: object) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    return (str(program), *(f"--{name}={text(value)}" for name, value in options.items()))
