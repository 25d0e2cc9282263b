"""What is measured. Each scenario takes turns: bare Pods, this build, another build, and again.

Every turn begins with an operator that was just started, so no turn inherits what an earlier one left in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from tests.bench import bodies
from tests.bench.bodies import SANDBOXES, Item
from tests.bench.figures import CURRENT, Measured, percentile
from tests.bench.generator import Generator, Sent
from tests.bench.sightings import Sightings
from tests.bench.stage import PATIENCE, Stage, Subject, Window, patience
from tests.bench.usage import cpu_seconds, last_busy
from tests.cluster.base import say
from tests.scale.fleet import FIRST_LIST, SECOND_LIST, Fleet
from tests.support.kubectl import ALLOWLIST_KEY, ALLOWLIST_NAME, OPERATOR_NAMESPACE

ELSEWHERE = "- path: /srv/scale/elsewhere\n  namespaces: [elsewhere]\n"
"""An entry that concerns none of the Sandboxes."""
CONFIG_MAP = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps/{ALLOWLIST_NAME}"
CEILING = 600


@dataclass(frozen=True)
class Turn:
    """One measurement: of what, by whom, in which round. ``standing`` Sandboxes and ``unrelated`` Pods are there."""

    name: str
    title: str
    number: int
    whose: str
    measured: Measured
    standing: int = 0
    unrelated: int = 0


Turns = AsyncIterator[Turn]


async def ceiling(generator: Generator) -> dict[str, float]:
    """What the generator reaches against the API server alone: Sandboxes that no operator looks at."""
    items = bodies.sandboxes(CEILING, "ceiling", "ceiling")
    used = time.process_time()
    async with generator.watching(SANDBOXES, "ceiling") as seen:
        sent = await generator.create(items)
        used = time.process_time() - used
        await generator.delete(items)
        await seen.until_gone(item.key for item in items)
    return {"creations/s": round(CEILING / sent.seconds, 1), "share of a processor": round(used / sent.seconds, 2)}


async def create(
    stage: Stage, subject: Subject, items: list[Item], rate: float | None
) -> tuple[Measured, Sent, Sightings]:
    """Create these, wait until all are Ready, and count what that took."""
    keys = [item.key for item in items]
    async with stage.generator.watching(subject.kind, subject.whose) as seen:
        window = Window(stage, subject)
        async with asyncio.timeout(patience(len(items))):
            sent = await stage.generator.create(items, rate)
            await seen.until_ready(keys)
        window.created()
        used = await window.close(len(items))
    latencies = [1000 * (seen.ready[key] - sent.at[key]) for key in keys]
    seconds = max(seen.ready[key] for key in keys) - min(sent.at.values())
    figures = {"per second": len(items) / seconds}
    figures |= {f"p{p} ms": percentile(latencies, p / 100) for p in (50, 90, 99)}
    if seen.broken:
        figures["watches broken"] = seen.broken
    if sent.late:
        figures["late p99 ms"] = 1000 * percentile(sent.late, 0.99)
    return replace(used, figures={**figures, **used.figures}), sent, seen


async def delete(stage: Stage, subject: Subject, items: list[Item]) -> Measured:
    """Delete these, wait until they and their Pods are gone, and count what that took."""
    window = Window(stage, subject)
    begun = time.monotonic()
    gone = await stage.remove(subject, items)
    window.created()
    used = await window.close(len(items))
    return replace(used, figures={"per second": len(items) / (gone - begun), **used.figures})


async def burst(stage: Stage, count: int, rounds: int) -> Turns:
    """As many as the API server takes at once, until all are Ready; then the same for deleting them."""
    for number in range(rounds):
        for subject in stage.everybody:
            say(f"  burst of {count:,}, round {number + 1} of {rounds}: {subject.whose}")
            items = subject.items(count, f"burst-{number}")
            async with stage.running(subject):
                made, _, _ = await create(stage, subject, items, None)
                yield Turn(f"burst-{count}", f"burst of {count:,}", number, subject.whose, made)
                await stage.calm()
                gone = await delete(stage, subject, items)
                yield Turn(f"delete-{count}", f"delete of {count:,}", number, subject.whose, gone)


async def steady(stage: Stage, rate: float, seconds: float, rounds: int) -> Turns:
    """One after the other at a fixed rate, whatever becomes of the earlier ones."""
    for number in range(rounds):
        for subject in stage.subjects:
            say(f"  steady {rate:g}/s for {seconds:g} s, round {number + 1} of {rounds}: {subject.whose}")
            items = subject.items(max(1, round(rate * seconds)), f"steady-{number}")
            async with stage.running(subject):
                made, _, _ = await create(stage, subject, items, rate)
                yield Turn(f"steady-{rate:g}", f"steady {rate:g}/s", number, subject.whose, made)
                await stage.remove(subject, items)


async def standing(stage: Stage, count: int, idle_seconds: float, rounds: int) -> Turns:
    """Many Sandboxes that stand: what a start costs, doing nothing, and a change of the allowlist."""
    grouped = bodies.mixed(count, CURRENT, "standing")
    say(f"  making {count:,} Sandboxes")
    first, *_ = stage.operators
    async with stage.running(first), stage.generator.watching(SANDBOXES, CURRENT) as seen:
        async with asyncio.timeout(patience(count)):
            await stage.generator.create([item for _, item in grouped])
            await seen.until_ready(item.key for group, item in grouped if group != "second")
        await last_busy(first.pid or 0, PATIENCE)
    lists = (FIRST_LIST, SECOND_LIST)
    for number in range(rounds):
        for subject in stage.operators:
            say(f"  with {count:,} Sandboxes, round {number + 1} of {rounds}: {subject.whose}")
            async for turn in _standing_turn(stage, subject, grouped, idle_seconds if number == 0 else 0, lists):
                yield replace(turn, number=number, standing=count)
            lists = lists[1], lists[0]


async def _standing_turn(
    stage: Stage, subject: Subject, grouped: list[tuple[str, Item]], idle_seconds: float, lists: tuple[str, str]
) -> Turns:
    """One operator's turn with the Sandboxes that stand: the list changes from the first of these to the second."""
    count, whose = len(grouped), subject.whose
    try:
        yield Turn(f"start-{count}", f"start with {count:,}", 0, whose, await start(stage, subject))
        if idle_seconds:
            measured = await idle(stage, subject, idle_seconds)
            yield Turn(f"idle-{count}", f"idle for {idle_seconds:g} s with {count:,}", 0, whose, measured)
        measured = await change_nothing(stage, subject, lists[0])
        yield Turn(f"list-nobody-{count}", f"allowlist change for none of {count:,}", 0, whose, measured)
        measured = await change_few(stage, subject, grouped, lists[1])
        few = sum(group != "common" for group, _ in grouped)
        yield Turn(f"list-few-{count}", f"allowlist change for {few:,} of {count:,}", 0, whose, measured)
    finally:
        if subject.operator is not None:
            await asyncio.to_thread(subject.operator.stop)


async def start(stage: Stage, subject: Subject) -> Measured:
    """Start its operator, which goes on running, and wait until it has looked at all there is."""
    operator = subject.operator
    assert operator is not None
    await stage.calm()
    await asyncio.to_thread(operator.start)
    begun = time.monotonic()
    window = Window(stage, subject)
    await asyncio.to_thread(operator.wait_until_working, patience(0))
    known = time.monotonic()
    done = await last_busy(subject.pid or 0, PATIENCE)
    measured = window.measured(0)
    figures = {"all known s": known - begun, "all looked at s": done - begun, **measured.figures}
    figures["cpu s"] = cpu_seconds(subject.pid or 0)  # also of the moment between the start and the window
    figures.pop("cpu share")
    return replace(measured, figures=figures)


async def idle(stage: Stage, subject: Subject, seconds: float) -> Measured:
    """Nothing happens."""
    await last_busy(subject.pid or 0, PATIENCE)
    window = Window(stage, subject)
    await asyncio.sleep(seconds)
    return window.measured(0)


async def change_nothing(stage: Stage, subject: Subject, text: str) -> Measured:
    """Another list, which decides on no Sandbox in another way than this one."""
    operator = subject.operator
    assert operator is not None
    fleet = Fleet(stage.cluster, operator)
    await last_busy(subject.pid or 0, PATIENCE)
    loaded = fleet.lists_loaded()
    window = Window(stage, subject)
    await set_list(stage.generator, text + ELSEWHERE)
    async with asyncio.timeout(PATIENCE):
        while fleet.lists_loaded() == loaded:  # noqa: ASYNC110 - it is another process that loads it
            await asyncio.sleep(0.05)
    return await window.close(0)


async def change_few(stage: Stage, subject: Subject, grouped: list[tuple[str, Item]], text: str) -> Measured:
    """A list that stops those of one small group, and lets those of the other start."""
    winning = "second" if text == SECOND_LIST else "first"
    wanted = {item.key: group == winning for group, item in grouped if group != "common"}

    def is_so(key: str) -> bool:
        found = seen.now.get(key)
        return found is not None and found[0] is wanted[key]

    async with stage.generator.watching(SANDBOXES, CURRENT) as seen:
        window = Window(stage, subject)
        begun = time.monotonic()
        await set_list(stage.generator, text)
        async with asyncio.timeout(PATIENCE):
            await seen.until(lambda: all(map(is_so, wanted)))
        last = max((seen.now[key][1] for key in wanted), default=begun)
        measured = await window.close(len(wanted))
    return replace(measured, figures={"all told s": last - begun, **measured.figures})


async def set_list(generator: Generator, text: str) -> None:
    """Put this text into the allowlist's ConfigMap."""
    await generator.patch(CONFIG_MAP, {"data": {ALLOWLIST_KEY: text}})


def in_rounds(turns: list[Turn]) -> list[dict[str, dict[str, object]]]:
    """The turns of one scenario, as they stand in the JSON file: by round, and then by subject."""
    found: list[dict[str, dict[str, object]]] = [{} for _ in range(1 + max(t.number for t in turns))]
    for turn in turns:
        found[turn.number][turn.whose] = turn.measured.wire()
    return found
