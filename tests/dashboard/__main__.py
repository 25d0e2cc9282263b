"""Command line: `python -m tests.dashboard build/dashboard.json`. `make dashboard-picture` calls it, then `plot.py`.

A real operator works in a local cluster of its own; a real Prometheus scrapes it, and is then asked all that the
dashboard asks.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.cluster import ClusterError, choose
from tests.cluster.base import say
from tests.cluster.local import mounts
from tests.cluster.local.cluster import LocalCluster
from tests.conftest import spare_cluster
from tests.dashboard.story import Story, prepare
from tests.support import OperatorProcess, wait_until
from tests.support.places import HOST_DIRECTORY
from tests.support.ports import LOCAL, free_port
from tests.support.prometheus import legend, panels, prometheus, results

EVERY_SECONDS = 2
RATE_OVER = "20s"
"""Grafana takes rates over four scrapes or more; more, because so few Sandboxes come at a time here."""

Point = tuple[float, float | None]


def series(base: str, target: dict[str, Any], begun: int, ended: int) -> dict[str, list[Point]]:
    """What a panel's query has from one time to the other: seconds since the first, and the value, by its legend.

    There is a point at each step: as in Grafana, nothing is drawn where there was no value.
    """
    times = {"start": str(begun), "end": str(ended), "step": str(EVERY_SECONDS)}
    found: dict[str, list[Point]] = {}
    for item in results(base, "query_range", query=target["expr"], **times):
        there = {round(at): number(text) for at, text in item["values"]}
        steps = range(begun, ended + 1, EVERY_SECONDS)
        found[legend(target, item["metric"])] = [(at - begun, there.get(at)) for at in steps]
    return found


def number(text: str) -> float | None:
    """A value as Prometheus writes it; None for what Grafana leaves blank."""
    value = float(text)
    return value if math.isfinite(value) else None


def record(base: str, begun: int, ended: int) -> list[dict[str, Any]]:
    """Each panel's title, kind, unit, series, and which of them are measured on the right.

    Raises ClusterError when a query has no answer.
    """
    found = []
    for panel in panels(RATE_OVER):
        lines: dict[str, list[Point]] = {}
        for target in panel["targets"]:
            more = series(base, target, begun, ended)
            if not more:
                raise ClusterError(f"{panel['title']}: Prometheus has nothing for {target['expr']}")
            lines |= more
        config = panel["fieldConfig"]
        right = [
            rule["matcher"]["options"]
            for rule in config["overrides"]
            if {"id": "custom.axisPlacement", "value": "right"} in rule["properties"]
        ]
        about = {"title": panel["title"], "type": panel["type"], "unit": config["defaults"]["unit"], "right": right}
        found.append(about | {"series": lines})
    return found


def run(file: Path) -> None:
    """Watch the story, and write what the dashboard shows of it."""
    first = choose()
    if not isinstance(first, LocalCluster):
        raise ClusterError("The picture is made in a local cluster of its own: SANDMOUNT_CLUSTER=local.")
    first.prepare()
    HOST_DIRECTORY.mkdir(parents=True, exist_ok=True)
    root, folder = Path(tempfile.mkdtemp(dir=HOST_DIRECTORY)), Path(tempfile.mkdtemp(prefix="sandmount-prometheus-"))
    root.chmod(0o755)
    prepare(root)
    port = free_port()
    settings = {"SANDMOUNT_HTTP_ADDRESS": LOCAL, "SANDMOUNT_HTTP_PORT": str(port)}
    try:
        with (
            spare_cluster(first) as cluster,
            OperatorProcess(cluster, settings) as operator,
            prometheus(port, folder, f"{EVERY_SECONDS}s") as base,
        ):
            wait_until(
                "Prometheus has seen the operator", lambda: results(base, "query", query="sandmount_build_info"), 60
            )
            begun = int(time.time())
            Story(operator.kube, root).tell()
            found = record(base, begun, int(time.time()))
    finally:
        mounts.remove_folder(root)
        mounts.remove_folder(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"rateOver": RATE_OVER, "everySeconds": EVERY_SECONDS, "panels": found}))
    say(f"Written to {file}")


if __name__ == "__main__":
    try:
        run(Path(sys.argv[1]))
    except ClusterError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
