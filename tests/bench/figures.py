"""Figures and what is made of them: percentiles, medians, and ratios of pairs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

FLOOR, CURRENT, BASELINE, PEER = "floor", "sandmount", "baseline", "agent-sandbox"
"""Whose figures: bare Pods, this build of the operator, another build, and somebody else's operator."""
SUBJECTS = (FLOOR, CURRENT, BASELINE, PEER)
PAIRS = ((CURRENT, FLOOR), (BASELINE, FLOOR), (PEER, FLOOR), (CURRENT, BASELINE), (CURRENT, PEER))
"""Whose figure is held against whose."""


@dataclass(frozen=True)
class Measured:
    """Figures of one measurement by name, and the operator's requests meanwhile by verb and resource."""

    figures: Mapping[str, float]
    requests: Mapping[str, int] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        """As it stands in the JSON file."""
        return {"figures": {k: round(v, 4) for k, v in self.figures.items()}, "requests": dict(self.requests)}


@dataclass(frozen=True)
class Spread:
    """The least, the median and the most of several figures."""

    low: float
    middle: float
    high: float
    count: int


def percentile(values: Iterable[float], share: float) -> float:
    """The least value that at least this share of all does not exceed (nearest rank). Raises ValueError for none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there are no values")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> Spread | None:
    """The spread of these, None when there are none."""
    return Spread(min(values), median(values), max(values), len(values)) if values else None


def column(rounds: Iterable[Mapping[str, Any]], whose: str, figure: str) -> list[float]:
    """One figure in every round that has it."""
    return [r[whose]["figures"][figure] for r in rounds if figure in r.get(whose, {}).get("figures", {})]


def ratios(rounds: Iterable[Mapping[str, Any]], whose: str, to: str, figure: str) -> Spread | None:
    """One's figure over the other's, within each round that has both."""
    pairs = [(column([r], whose, figure), column([r], to, figure)) for r in rounds]
    return spread([a[0] / b[0] for a, b in pairs if a and b and b[0]])


def figures_in(rounds: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of all figures, in the order in which they were measured."""
    return list(dict.fromkeys(name for r in rounds for whose in r.values() for name in whose["figures"]))


def summary(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each figure: the median of each subject, and the spread of its ratios."""
    found: dict[str, Any] = {}
    for name in figures_in(rounds):
        row: dict[str, Any] = {}
        for whose in SUBJECTS:
            if middle := spread(column(rounds, whose, name)):
                row[whose] = vars(middle)
        row |= {f"{a}/{b}": vars(r) for a, b in PAIRS if (r := ratios(rounds, a, b, name))}
        found[name] = row
    return found
