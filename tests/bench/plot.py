"""The plot of a scale run: `python tests/bench/plot.py build/bench-scale.json docs/performance-scale.png`.

Runs where matplotlib is (tests/bench/requirements.txt), and needs nothing else of this repository.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

Points = list[tuple[int, float]]
"""Sandboxes that stood, and a figure."""


def points(scenarios: dict[str, Any], kind: str, figure: str, whose: str = "sandmount") -> Points:
    """A figure's median at each size, of the scenarios `kind-SIZE`."""
    found: Points = []
    for name, record in scenarios.items():
        values = [r[whose]["figures"].get(figure) for r in record["rounds"] if whose in r]
        if name.rpartition("-")[0] == kind and any(v is not None for v in values):
            found.append((record["standing"], median(v for v in values if v is not None)))
    return sorted(found)


def panels(scenarios: dict[str, Any]) -> list[tuple[str, dict[str, Points]]]:
    """Title of each panel, and its lines by their names."""
    next_ms = {f"p{p}": points(scenarios, "next", f"p{p} ms") for p in (50, 99)}
    floor_ms = {f"p{p} of bare Pods": points(scenarios, "next", f"p{p} ms", "floor") for p in (50, 99)}
    return [
        (
            "Operator CPU per Sandbox, ms",
            {
                "while growing to the number": points(scenarios, "grow", "cpu ms/object"),
                "of more, beside them": points(scenarios, "next", "cpu ms/object"),
                "of more, no unrelated Pods": points(scenarios, "alone-next", "cpu ms/object"),
            },
        ),
        (
            "Operator memory, MiB",
            {
                "resident at rest": points(scenarios, "idle", "rss MiB"),
                "peak of a start": points(scenarios, "start", "peak MiB"),
                "resident, no unrelated Pods": points(scenarios, "alone-idle", "rss MiB"),
            },
        ),
        ("Create to Ready, ms", {**next_ms, **floor_ms}),
        ("Start until all were looked at, s", {"": points(scenarios, "start", "all looked at s")}),
    ]


def draw(found: dict[str, Any], picture: Path) -> None:
    """Draw all panels into a PNG."""
    import matplotlib  # type: ignore[import-not-found] # noqa: PLC0415 - is not there where the tests run

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.5), dpi=110)
    for axis, (title, lines) in zip(axes.flat, panels(found["scenarios"]), strict=True):
        for name, line in lines.items():
            if line:
                axis.plot(*zip(*line, strict=True), marker="o", label=name or None)
        ends = [point for line in lines.values() for point in line] or [(1, 1.0)]
        right, top = (1.08 * max(values) for values in zip(*ends, strict=True))
        axis.set(title=title, xlabel="Sandboxes", xlim=(0, right), ylim=(0, top or 1))
        axis.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
        axis.grid(visible=True, alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
    figure.suptitle(f"Sandmount {found['build']}, {found['settings']['unrelated']} unrelated Pods")
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, metadata={"Software": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
