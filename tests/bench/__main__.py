"""Command line: `python -m tests.bench run|scale|show`. `make bench` and `make bench-scale` call it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import report, scenarios
from tests.bench.baseline import Baseline, resolved, this_build
from tests.bench.fair import fair
from tests.bench.peer.agent_sandbox import AgentSandbox
from tests.bench.scale import Plan, scale
from tests.bench.scenarios import Turn, Turns, ceiling
from tests.bench.stage import Stage, described, simulated_cluster, staged
from tests.cluster import ClusterError
from tests.cluster.base import say
from tests.support.kubectl import tail

SCENARIOS = ("burst", "steady", "fair", "standing")
INTERRUPTED = 130
FEW = 500
"""Bursts up to this size take seconds, so there are more rounds of them."""


def numbers(text: str) -> list[int]:
    """`200,2000` as numbers."""
    return [int(part) for part in text.replace(",", " ").split()]


def parser(environ: dict[str, str]) -> argparse.ArgumentParser:
    """The command line; SCENARIOS, ROUNDS, BASELINE, PEER and OUT of the environment are defaults."""
    top = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure this build beside bare Pods, and beside another build")
    run.add_argument("--scenarios", default=environ.get("SCENARIOS", ",".join(SCENARIOS)))
    run.add_argument("--bursts", type=numbers, default=[200, 2000], help="sizes; each is deleted again, measured")
    run.add_argument("--rates", type=numbers, default=[10, 30], help="creations a second")
    run.add_argument("--seconds", type=float, default=60, help="how long each rate is kept")
    run.add_argument("--crowd", type=int, default=2000, help="Sandboxes of one namespace that others are made beside")
    run.add_argument("--standing", type=int, default=2000, help="Sandboxes that are there at a start")
    run.add_argument("--baseline", default=environ.get("BASELINE", ""), help="a JSON file, a folder, a git revision")
    run.add_argument("--peer", action="store_true", default=bool(environ.get("PEER")), help="agent-sandbox takes turns")
    run.add_argument("--rounds", type=int, default=environ.get("ROUNDS", "3"))
    grow = commands.add_parser("scale", help="measure how cost and latency grow")
    grow.add_argument("--sizes", type=numbers, default=[1000, 3000, 5000, 10000])
    grow.add_argument("--unrelated", type=int, default=5000, help="Pods that are not Sandmount's")
    grow.add_argument("--rate", type=float, default=10)
    grow.add_argument("--sample", type=int, default=200, help="objects created at that rate at each size")
    grow.add_argument("--rounds", type=int, default=environ.get("ROUNDS", "3"))
    for command, name in ((run, "bench"), (grow, "bench-scale")):
        command.add_argument("--out", type=Path, default=environ.get("OUT") or f"build/{name}.json")
        command.add_argument("--idle", type=float, default=60, help="seconds in which nothing happens")
    show = commands.add_parser("show", help="print the tables of a JSON file")
    show.add_argument("file", type=Path)
    show.add_argument("--baseline", type=Path, help="the JSON file of an earlier run")
    return top


async def measured(stage: Stage, arguments: argparse.Namespace) -> Turns:
    """All scenarios that were asked for, one after the other; those that leave Sandboxes behind come last."""
    if arguments.command == "scale":
        plan = Plan(
            arguments.sizes, arguments.unrelated, arguments.rate, arguments.sample, arguments.idle, arguments.rounds
        )
        async for turn in scale(stage, plan):
            yield turn
        return
    chosen, rounds = arguments.scenarios.replace(",", " ").split(), arguments.rounds
    parts: list[Turns] = []
    if "burst" in chosen:
        more = rounds + 2 if rounds > 1 else rounds
        parts += [scenarios.burst(stage, n, more if n <= FEW else rounds) for n in arguments.bursts]
    if "steady" in chosen:
        parts += [scenarios.steady(stage, rate, arguments.seconds, rounds) for rate in arguments.rates]
    if "fair" in chosen:
        parts.append(fair(stage, arguments.crowd, rounds))
    if "standing" in chosen:
        parts.append(scenarios.standing(stage, arguments.standing, arguments.idle, rounds))
    for part in parts:
        async for turn in part:
            yield turn


async def run(arguments: argparse.Namespace, baseline: Baseline) -> dict[str, Any]:
    """Measure, and write the JSON file anew after every turn. Returns what is in it."""
    settings = {k: str(v) for k, v in vars(arguments).items() if k not in ("command", "out")}
    about: dict[str, Any] = {"build": this_build(), "baseline": baseline.name, "machine": described()}
    about |= {"settings": settings, "begun": datetime.now(UTC).isoformat(timespec="seconds")}
    turns: list[Turn] = []
    found: dict[str, Any] = {}
    with simulated_cluster() as cluster:
        peer = AgentSandbox(cluster) if getattr(arguments, "peer", False) else None
        async with staged(cluster, baseline.folder, peer) as stage:
            about["generator"] = await ceiling(stage.generator)
            try:
                async for turn in measured(stage, arguments):
                    turns.append(turn)
                    found = report.document(about, turns)
                    report.write(arguments.out, found)
            except TimeoutError as error:
                logs = [line for s in stage.operators if s.operator for line in tail(s.operator.log)]
                raise ClusterError("\n".join([f"Not in time: {error}", *logs])) from error
    return found


def command(arguments: argparse.Namespace) -> None:
    """Do what the arguments say."""
    if arguments.command == "show":
        earlier = json.loads(arguments.baseline.read_text()) if arguments.baseline else None
        print(report.text(json.loads(arguments.file.read_text()), earlier))
        return
    arguments.out = Path(arguments.out)
    unknown = set(getattr(arguments, "scenarios", "").replace(",", " ").split()) - set(SCENARIOS)
    if unknown:
        raise ClusterError(f"There is no scenario {', '.join(sorted(unknown))}; there are: {', '.join(SCENARIOS)}.")
    with resolved(getattr(arguments, "baseline", "")) as baseline:
        found = asyncio.run(run(arguments, baseline))
        print(report.text(found, baseline.earlier))
        say(f"Written to {arguments.out}")


def main(work: Callable[[argparse.Namespace], None] = command) -> int:
    """Run, and turn errors that are meant for people into one message."""
    try:
        work(parser(dict(os.environ)).parse_args())
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
