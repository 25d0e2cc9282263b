"""The JSON file and the tables that are printed of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import goals
from tests.bench.figures import CURRENT, FLOOR, PAIRS, SUBJECTS, Spread, column, figures_in, ratios, spread, summary
from tests.bench.scenarios import Turn, in_rounds

IN_TOTAL = {"cpu s", "cpu share", "writes"}
"""Figures that are not printed where there are the same per object."""
ABOUT_THE_RUN = {"generator share", "others share", "late p99 ms", "watches broken"}
"""Figures of which no ratio says anything."""
BUSY_OTHERS = 0.2
"""Processors that others used meanwhile, from which on a run is not to be trusted."""


def document(about: Mapping[str, Any], turns: Iterable[Turn]) -> dict[str, Any]:
    """All that was measured, as it stands in the JSON file."""
    by_name: dict[str, list[Turn]] = {}
    for turn in turns:
        by_name.setdefault(turn.name, []).append(turn)
    scenarios: dict[str, Any] = {}
    for name, found in by_name.items():
        rounds = in_rounds(found)
        first = found[0]
        scenarios[name] = {
            "title": first.title,
            "standing": first.standing,
            "unrelated": first.unrelated,
            "summary": summary(rounds),
            "rounds": rounds,
        }
    return {"version": 1, "made": datetime.now(UTC).isoformat(timespec="seconds"), **about, "scenarios": scenarios}


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(found, indent=1) + "\n")
    new.replace(path)


def text(found: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> str:
    """Everything for people."""
    lines = [*_about(found)]
    for record in found["scenarios"].values():
        lines += ["", *_table(record["title"], record["rounds"])]
    lines += ["", "Goals:", *(f"  {line}" for line in goals.judged(found["scenarios"]))]
    if earlier is not None:
        lines += ["", *_against(found, earlier)]
    return "\n".join(lines)


def _about(found: Mapping[str, Any]) -> Iterator[str]:
    machine, generator = found["machine"], found["generator"]
    yield f"Build {found['build']}" + (f", against {found['baseline']}" if found.get("baseline") else "")
    what = f"{machine['cores']} x {machine['processor']}, {machine['memory MiB']} MiB"
    yield f"Machine: {what}, Linux {machine['kernel']}, Python {machine.get('python', 'unknown')}"
    yield (
        f"Generator alone: {generator['creations/s']:g} creations/s with {generator['share of a processor']:.0%} of a "
        "processor; its share in each scenario stands below"
    )
    others = [
        value
        for record in found["scenarios"].values()
        for whose in SUBJECTS
        for value in column(record["rounds"], whose, "others share")
    ]
    if others and max(others) > BUSY_OTHERS:
        yield f"WARNING: others used up to {max(others):.2f} processors of this machine meanwhile"


def _table(title: str, rounds: list[Mapping[str, Any]]) -> Iterator[str]:
    there = [whose for whose in SUBJECTS if any(whose in r for r in rounds)]
    pairs = [(a, b) for a, b in PAIRS if {a, b} <= set(there)]
    heads = [*there, *(f"{a}/{b} (min-max)" for a, b in pairs)]
    count = f"{len(rounds)} round{'s' if len(rounds) > 1 else ''}"
    yield f"{f'{title}, {count}':38}" + "".join(f"{h:>{_width(h)}}" for h in heads)
    names = figures_in(rounds)
    for name in names:
        if name in IN_TOTAL and "cpu ms/object" in names:
            continue
        cells = [_figure(spread(column(rounds, whose, name))) for whose in there]
        cells += ["" if name in ABOUT_THE_RUN else _ratio(ratios(rounds, a, b, name)) for a, b in pairs]
        yield f"  {name:36}" + "".join(f"{c:>{_width(h)}}" for h, c in zip(heads, cells, strict=True)).rstrip()
    for whose in there:
        last: Mapping[str, int] = next((r[whose]["requests"] for r in reversed(rounds) if whose in r), {})
        if last:
            yield f"  requests of {whose}: " + ", ".join(f"{n} x {kind}" for kind, n in sorted(last.items()))


def _against(found: Mapping[str, Any], earlier: Mapping[str, Any]) -> Iterator[str]:
    """Medians over those of an earlier run."""
    yield f"Against the run of {earlier['made']} ({earlier['build']}):"
    if found["machine"] != earlier["machine"]:
        yield "  WARNING: that was another machine; only what is a ratio to the floor can be compared"
    else:
        yield "  WARNING: that was at another time; only builds that take turns in one run can be compared closely"
    for name, record in found["scenarios"].items():
        old = earlier["scenarios"].get(name)
        if old is None:
            continue
        yield f"  {record['title']}"
        for figure in figures_in(record["rounds"]):
            yield from _compared(figure, record["rounds"], old["rounds"])


def _compared(figure: str, rounds: list[Mapping[str, Any]], old: list[Mapping[str, Any]]) -> Iterator[str]:
    now, then = (spread(column(r, CURRENT, figure)) for r in (rounds, old))
    if now and then and then.middle:
        yield f"    {figure:34}{_figure(then):>11} ->{_figure(now):>11}  x {now.middle / then.middle:.3f}"
    now, then = (ratios(r, CURRENT, FLOOR, figure) for r in (rounds, old))
    if now and then and then.middle:
        relative = now.middle / then.middle
        yield f"    {f'{figure}, of the floor':34}{then.middle:>11.3f} ->{now.middle:>11.3f}  x {relative:.3f}"


def _width(head: str) -> int:
    return max(11, len(head) + 2)


def _figure(found: Spread | None) -> str:
    if found is None:
        return "-"
    value = found.middle
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def _ratio(found: Spread | None) -> str:
    return "-" if found is None else f"{found.middle:.2f} ({found.low:.2f}-{found.high:.2f})"
