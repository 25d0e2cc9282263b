"""How cost and latency grow with the number of Sandboxes, beside Pods that have nothing to do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.bench import bodies
from tests.bench.bodies import PODS
from tests.bench.figures import CURRENT
from tests.bench.scenarios import Turn, Turns, create, idle, start
from tests.bench.stage import PATIENCE, Stage, Subject, patience
from tests.bench.usage import last_busy
from tests.cluster.base import say

UNRELATED = "unrelated"
"""Whose Pods those are."""


@dataclass(frozen=True)
class Plan:
    """How many Sandboxes, one after the other; how many unrelated Pods; and the samples at each number."""

    sizes: Sequence[int]
    unrelated: int
    rate: float
    sample: int
    """Objects that are created at that rate beside those that stand, and deleted again."""
    idle_seconds: float
    rounds: int


async def scale(stage: Stage, plan: Plan) -> Turns:
    """The first size without unrelated Pods, then all sizes beside them."""
    first = plan.sizes[0]
    async for turn in _grow(stage, replace(plan, sizes=[first]), unrelated=0):
        yield replace(turn, name=f"alone-{turn.name}", title=f"{turn.title}, no unrelated Pods")
    say(f"  making {plan.unrelated:,} unrelated Pods")
    pods = bodies.pods(plan.unrelated, UNRELATED, UNRELATED)
    async with asyncio.timeout(patience(len(pods))), stage.generator.watching(PODS, UNRELATED) as seen:
        await stage.generator.create(pods)
        await seen.until_ready(item.key for item in pods)
    async for turn in _grow(stage, plan, plan.unrelated):
        yield replace(turn, title=f"{turn.title}, {plan.unrelated:,} unrelated Pods")


async def _grow(stage: Stage, plan: Plan, unrelated: int) -> Turns:
    """From nothing to the last size, with samples at each; what was made goes at the end."""
    subject = stage.operators[0]
    made: list[bodies.Item] = []
    operator = subject.operator
    assert operator is not None
    try:
        await asyncio.to_thread(operator.start)
        await asyncio.to_thread(operator.wait_until_working, PATIENCE)
        await stage.warm_up(subject)
        for size in plan.sizes:
            more = bodies.sandboxes(size - len(made), CURRENT, f"{CURRENT}-grown", first=len(made))
            say(f"  {len(made):,} to {size:,} Sandboxes beside {unrelated:,} unrelated Pods")
            await stage.calm()
            measured, _, _ = await create(stage, subject, more, None)
            made += more
            there = {"standing": size, "unrelated": unrelated}
            yield Turn(f"grow-{size}", f"grown to {size:,}", 0, CURRENT, measured, **there)
            async for turn in _samples(stage, plan, size):
                yield replace(turn, unrelated=unrelated)
            measured = await idle(stage, subject, plan.idle_seconds)
            yield Turn(f"idle-{size}", f"idle for {plan.idle_seconds:g} s with {size:,}", 0, CURRENT, measured, **there)
            await asyncio.to_thread(operator.stop)
            measured = await start(stage, subject)
            yield Turn(f"start-{size}", f"start with {size:,}", 0, CURRENT, measured, **there)
        if not unrelated:
            await stage.remove(subject, made)
    finally:
        await asyncio.to_thread(operator.stop)


async def _samples(stage: Stage, plan: Plan, size: int) -> Turns:
    """More at a fixed rate, beside those that stand: bare Pods and Sandboxes in turn."""
    for number in range(plan.rounds):
        for subject in _pair(stage):
            items = subject.items(plan.sample, f"next-{size}-{number}")
            if subject.pid is not None:
                await last_busy(subject.pid, PATIENCE)
            await stage.calm()
            measured, _, _ = await create(stage, subject, items, plan.rate)
            title = f"{plan.sample:,} more at {plan.rate:g}/s beside {size:,}"
            yield Turn(f"next-{size}", title, number, subject.whose, measured, standing=size)
            await stage.remove(subject, items)


def _pair(stage: Stage) -> Iterator[Subject]:
    """Bare Pods, and this build; its operator runs meanwhile in both."""
    return (s for s in stage.subjects if s.kind is PODS or s is stage.operators[0])
