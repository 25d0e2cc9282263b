"""What a check has to say: a level, a rule, a sentence and the line that it is about. Pure."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

LONGEST_LINE = 2000
"""Characters of one line for people; what is longer was written to be a nuisance."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Level(StrEnum):
    """How much a finding weighs. The first two decide the exit code."""

    INVALID = "invalid"
    """The input cannot be judged."""
    ERROR = "error"
    """The operator would refuse it, or it breaks what Sandmount promises."""
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, the first being 1. ``file`` is a name for people, "stdin" for standard input."""

    file: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should know. ``rule`` is a CamelCase reason that stays the same between versions."""

    place: Place
    level: Level
    rule: str
    message: str
    about: str = ""
    """Namespace and name of the Sandbox that it is about, if it is about one."""


def exit_code(findings: Iterable[Finding]) -> int:
    """0: nothing is wrong; 1: something would be refused or breaks a promise; 2: something could not be judged."""
    levels = {f.level for f in findings}
    return 2 if Level.INVALID in levels else int(Level.ERROR in levels)


def printable(text: str) -> str:
    """The text for a terminal, on one line: nothing written into a manifest or a file's name moves the cursor."""
    cut = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}... ({len(text)} characters)"
    if cut.isprintable():
        return cut
    return "".join(c if unicodedata.category(c) not in _UNPRINTABLE else _escaped(c) for c in cut)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) > 0xFF else f"\\x{ord(character):02x}"
