"""The goals, as data: which figure, of whom, and the bound. Nothing fails when one is missed; it is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.figures import CURRENT, FLOOR, column, ratios

Scenarios = Mapping[str, Mapping[str, Any]]
"""By name, as in the JSON file."""


@dataclass(frozen=True)
class Goal:
    """A figure's median in a scenario, or its ratio to the floor's, and its bound."""

    scenario: str
    figure: str
    bound: float
    at_least: bool = False
    of_floor: bool = False
    per_standing: float = 0.0
    """What is added to the bound for each Sandbox."""

    def judge(self, scenarios: Scenarios) -> str | None:
        """One line for people, None when it was not measured."""
        record = scenarios.get(self.scenario)
        found = None if record is None else self._found(record["rounds"])
        if record is None or found is None:
            return None
        bound = self.bound + self.per_standing * record["standing"]
        met = found >= bound if self.at_least else found <= bound
        against = " of the floor's" if self.of_floor else ""
        relation = ">=" if self.at_least else "<="
        verdict = "met   " if met else "MISSED"
        return f"{verdict} {record['title']}: {self.figure}{against} {found:.3g}, goal {relation} {bound:.3g}"

    def _found(self, rounds: list[Mapping[str, Any]]) -> float | None:
        if self.of_floor:
            found = ratios(rounds, CURRENT, FLOOR, self.figure)
            return None if found is None else found.middle
        values = column(rounds, CURRENT, self.figure)
        return median(values) if values else None


RSS_MIB, RSS_MIB_EACH = 80e6 / 2**20, 12e3 / 2**20

GOALS = (
    Goal("burst-200", "per second", 0.75, at_least=True, of_floor=True),
    Goal("burst-2000", "per second", 0.65, at_least=True, of_floor=True),
    Goal("steady-10", "p50 ms", 1.5, of_floor=True),
    Goal("steady-10", "p99 ms", 2.0, of_floor=True),
    Goal("steady-10", "writes/object", 2),
    Goal("burst-2000", "cpu ms/object", 5),
    Goal("steady-10", "cpu ms/object", 5),
    Goal("idle-2000", "rss MiB", RSS_MIB, per_standing=RSS_MIB_EACH),
    Goal("start-2000", "all looked at s", 5),
    Goal("start-2000", "writes", 0),
    Goal("list-nobody-2000", "writes", 0),
    Goal("idle-2000", "writes", 0),
    Goal("idle-5000", "writes", 0),
    Goal("idle-5000", "cpu share", 0.01),
    Goal("idle-5000", "rss MiB", RSS_MIB, per_standing=RSS_MIB_EACH),
    Goal("idle-10000", "rss MiB", RSS_MIB, per_standing=RSS_MIB_EACH),
)

# Growth, and what must not matter: the same figure of two scenarios.
RATIOS = (
    ("CPU per Sandbox at 10,000 to that at 1,000", "cpu ms/object", "next-10000", "next-1000", 1.2),
    ("CPU per Sandbox, growing to 10,000 to growing to 1,000", "cpu ms/object", "grow-10000", "grow-1000", 1.2),
    ("CPU per Sandbox beside unrelated Pods to without", "cpu ms/object", "next-1000", "alone-next-1000", 1.1),
    ("RSS beside unrelated Pods to without", "rss MiB", "idle-1000", "alone-idle-1000", 1.1),
    ("p50 beside a Sandbox that is edited all the time to quiet", "p50 ms", "fair-edits", "fair-quiet", 2),
    ("p50 beside Sandboxes that are denied and edited to quiet", "p50 ms", "fair-denied", "fair-quiet", 2),
    ("p50 beside a crowd in another namespace to quiet", "p50 ms", "fair-crowd", "fair-quiet", 2),
    ("p50 beside unrelated Pods to without", "p50 ms", "next-1000", "alone-next-1000", 1.1),
)


def judged(scenarios: Scenarios) -> Iterator[str]:
    """A line for each goal that was measured."""
    yield from (line for goal in GOALS if (line := goal.judge(scenarios)))
    for title, figure, one, other, bound in RATIOS:
        a, b = (column(scenarios.get(name, {}).get("rounds", ()), CURRENT, figure) for name in (one, other))
        if a and b and median(b):
            found = median(a) / median(b)
            yield f"{'met   ' if found <= bound else 'MISSED'} {title}: {found:.3g}, goal <= {bound:g}"
