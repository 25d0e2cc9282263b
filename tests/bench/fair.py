"""How soon a Sandbox is Ready while somebody else keeps the operator busy, beside bare Pods of the same moments."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.bench import bodies
from tests.bench.bodies import PART, PODS, SANDBOXES, Item, Kind
from tests.bench.figures import FLOOR, Measured, percentile
from tests.bench.generator import Generator
from tests.bench.scenarios import Turn, Turns
from tests.bench.stage import Stage, Subject, patience
from tests.cluster.base import say

PROBES = 60
RATE = 4.0
"""A second, of Sandboxes and of bare Pods each."""
EDITORS = 8
"""Sandboxes that are denied, and edited over and over, each by a connection of its own."""
OTHERS = 1
"""Number of the first Sandbox of the namespace where all that goes on; the probes are in another."""

Noise = Callable[[Stage, Subject, str], AbstractAsyncContextManager[None]]


async def fair(stage: Stage, crowd: int, rounds: int) -> Turns:
    """Quiet, and then beside each kind of noise."""
    noises: list[tuple[str, str, Noise]] = [
        ("quiet", "quiet", _quiet),
        ("edits", "beside a Sandbox that is edited all the time", _edits),
        ("denied", f"beside {EDITORS} denied Sandboxes that are edited all the time", _denied),
        ("crowd", f"beside {crowd:,} new Sandboxes of one namespace", _crowd_of(crowd)),
    ]
    for number in range(rounds):
        for subject in stage.operators:
            async with stage.running(subject):
                for name, title, noise in noises:
                    say(f"  {title}, round {number + 1} of {rounds}: {subject.whose}")
                    tag = f"{name}-{number}"
                    async with noise(stage, subject, f"{subject.whose}-{tag}"):
                        sandboxes, pods = await _probes(stage, subject, tag)
                    yield Turn(f"fair-{name}", title, number, subject.whose, sandboxes)
                    yield Turn(f"fair-{name}", title, number, FLOOR, pods)


async def _probes(stage: Stage, subject: Subject, tag: str) -> tuple[Measured, Measured]:
    """Sandboxes and bare Pods in a namespace of their own, at the same rate; all are deleted again."""
    whose = f"{subject.whose}-probe"
    sandboxes = bodies.sandboxes(PROBES, whose, f"{whose}-{tag}", step=PART)
    pods = bodies.pods(PROBES, whose, f"{whose}-pod-{tag}", step=PART)
    found = await asyncio.gather(
        _latencies(stage, SANDBOXES, whose, sandboxes), _latencies(stage, PODS, whose, pods, 1 / RATE / 2)
    )
    await stage.generator.delete([*sandboxes, *pods])
    return found


async def _latencies(stage: Stage, kind: Kind, whose: str, items: Sequence[Item], later: float = 0.0) -> Measured:
    await asyncio.sleep(later)
    async with stage.generator.watching(kind, whose) as seen, asyncio.timeout(patience(len(items))):
        sent = await stage.generator.create(items, RATE)
        await seen.until_ready(item.key for item in items)
    found = [1000 * (seen.ready[item.key] - sent.at[item.key]) for item in items]
    return Measured({f"p{p} ms": percentile(found, p / 100) for p in (50, 90, 99)})


@asynccontextmanager
async def _quiet(_stage: Stage, _subject: Subject, _tag: str) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _edits(stage: Stage, subject: Subject, tag: str) -> AsyncIterator[None]:
    """One Sandbox whose deadline is moved over and over."""
    items = bodies.sandboxes(1, f"{subject.whose}-noise", tag, first=OTHERS)
    async with _edited(stage, items):
        yield


@asynccontextmanager
async def _denied(stage: Stage, subject: Subject, tag: str) -> AsyncIterator[None]:
    items = bodies.refused(EDITORS, f"{subject.whose}-noise", tag, first=OTHERS)
    async with _edited(stage, items):
        yield


@asynccontextmanager
async def _edited(stage: Stage, items: Sequence[Item]) -> AsyncIterator[None]:
    async def edit(generator: Generator, item: Item) -> None:
        for number in itertools.count():
            end = f"2099-01-01T{number // 60 % 24:02}:{number % 60:02}:00Z"
            await generator.patch(item.path, {"spec": {"expiresAt": end}})

    async with Generator(stage.cluster.kubeconfig) as other:
        await other.create(items)
        tasks = [asyncio.create_task(edit(other, item)) for item in items]
        try:
            yield
            failed = [task for task in tasks if task.done()]
            for task in failed:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await other.delete(items)


def _crowd_of(count: int) -> Noise:
    @asynccontextmanager
    async def crowd(stage: Stage, subject: Subject, tag: str) -> AsyncIterator[None]:
        """Many at once, of which some are still to be made when the last probe is."""
        whose = f"{subject.whose}-noise"
        items = bodies.sandboxes(count, whose, tag, first=OTHERS, step=PART)
        async with Generator(stage.cluster.kubeconfig) as other, other.watching(SANDBOXES, whose) as seen:
            making = asyncio.create_task(other.create(items))
            yield
            async with asyncio.timeout(patience(count)):
                await making
                await seen.until_ready(item.key for item in items)
        await stage.remove(Subject(whose, SANDBOXES, subject.operator), items)

    return crowd
