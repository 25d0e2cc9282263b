"""The picture of a run: `python tests/dashboard/plot.py build/dashboard.json docs/dashboard.png`.

Runs where matplotlib is (tests/bench/requirements.txt), and needs nothing else of this repository.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

UNITS = {"s": "s", "ops": "a second", "reqps": "a second", "short": ""}
COLUMNS = 2
MANY = 8
"""Series above which a legend needs two columns."""


def lines(axis: Any, panel: dict[str, Any], colours: Any) -> None:
    """A panel of type timeseries."""
    right: Any = axis.twinx() if panel["right"] else None
    drawn = []
    for place, (name, points) in enumerate(panel["series"].items()):
        own = right if name in panel["right"] else axis
        values = [float("nan") if v is None else v for _, v in points]
        drawn += own.plot([at for at, _ in points], values, label=name, linewidth=1.2, color=colours(place))
    axis.set(xlabel="seconds", ylabel=UNITS[panel["unit"]])
    for own in (axis, right) if right else (axis,):
        own.set_ylim(bottom=0)
        own.margins(x=0)
    if right:
        right.set_ylabel(", ".join(panel["right"]))
    axis.grid(visible=True, alpha=0.3)
    columns = 2 if len(drawn) > MANY else 1
    axis.legend(handles=drawn, fontsize=6, ncols=columns, loc="upper left", framealpha=0.7, labelspacing=0.2)


def figures(axis: Any, panel: dict[str, Any]) -> None:
    """A panel of type stat: the last value of each series."""
    axis.axis("off")
    for place, (name, points) in enumerate(panel["series"].items()):
        right = (place + 0.5) / len(panel["series"])
        last = next((v for _, v in reversed(points) if v is not None), None)
        shown = "-" if last is None else f"{last:g}"
        axis.text(right, 0.55, shown, ha="center", va="center", fontsize=26, transform=axis.transAxes)
        axis.text(right, 0.25, name, ha="center", va="center", fontsize=8, transform=axis.transAxes)


def draw(found: dict[str, Any], picture: Path) -> None:
    """Draw all panels into a PNG, in their order."""
    import matplotlib  # type: ignore[import-not-found] # noqa: PLC0415 - is not there where the tests run

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    rows = -(-len(found["panels"]) // COLUMNS)
    figure, axes = pyplot.subplots(rows, COLUMNS, figsize=(11, 2.9 * rows), dpi=82, squeeze=False)
    for axis, panel in zip(axes.flat, found["panels"], strict=False):
        if panel["type"] == "stat":
            figures(axis, panel)
        else:
            lines(axis, panel, matplotlib.colormaps["tab20" if len(panel["series"]) > MANY else "tab10"])
        axis.set_title(panel["title"], fontsize=10)
    for axis in list(axes.flat)[len(found["panels"]) :]:
        axis.axis("off")
    about = f"scraped every {found['everySeconds']} s, rates over {found['rateOver']}"
    figure.suptitle(f"The dashboard's panels, drawn by matplotlib from the data of a Prometheus ({about})", fontsize=10)
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, metadata={"Software": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
