"""The Reconciler in every state that a Sandbox can be in: looked at again while nothing changes, it writes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sandmount.answers import Refused
from sandmount.settings import OnRevoke, Settings
from tests.unit.builders import KEY, SETTINGS, STAMP, Json, host
from tests.unit.lives import at, container, evict, look, node, running, scheduled, stamp
from tests.unit.world import World, until, world

Setup = Callable[[World], Awaitable[None]]
WANTED = [host()]
REFUSED = Refused("exceeded quota", final=False)
PULL = "failed to pull and unpack image: not found"


def pending(waiting: Json | None = None, *conditions: Json, **more: Any) -> Setup:
    """A Pod that does not start."""

    async def setup(w: World) -> None:
        w.apply(volumes=WANTED)
        await w.settle()
        states = container(waiting=waiting, **more) if waiting else []
        w.change_pod(phase="Pending", conditions=list(conditions), containerStatuses=states)

    return setup


def lived(*steps: Callable[[World], Any], **fields: Any) -> Setup:
    """A Pod that ran, and what happened then; after each step all that follows at once is done."""

    async def setup(w: World) -> None:
        w.api.nodes["node-1"] = node()
        await running(w, **fields)
        for step in steps:
            if (made := step(w)) is not None:
                await made
            await w.settle()

    return setup


def applied(generation: int = 2, **fields: Any) -> Callable[[World], None]:
    return lambda w: w.apply(generation=generation, **fields)


def clock(seconds: float) -> Callable[[World], Awaitable[None]]:
    async def step(w: World) -> None:
        w.now = at(seconds)
        await look(w)

    return step


def gone(w: World) -> None:
    w.remove_pod()


def failed(w: World) -> None:
    w.change_pod(phase="Failed", conditions=[], containerStatuses=container(terminated={"exitCode": 1}))


def crashed(w: World) -> None:
    last = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": STAMP, "finishedAt": STAMP}}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s"}
    w.change_pod(conditions=[scheduled()], containerStatuses=container(count=4, last=last, waiting=waiting))


def unready(w: World) -> None:
    w.change_pod(
        conditions=[scheduled(), {"type": "Ready", "status": "False"}], containerStatuses=container(ready=True)
    )


def node_down(w: World) -> None:
    w.api.nodes["node-1"] = node(ready="Unknown")


def ended_by_somebody(w: World) -> None:
    w.change_pod(metadata={"deletionTimestamp": stamp(10)})


async def narrowed(w: World) -> None:
    await w.allow("- /srv", version=2)


async def lost_eleven_times(w: World) -> None:
    for _ in range(11):
        w.remove_pod()
        await w.settle()
        w.now = at((w.now - at(0)).total_seconds() + 301)
        await look(w)
        if KEY in w.api.pods:
            w.run_pod()
            await w.settle()


async def denied(w: World) -> None:
    w.apply(volumes=[host("/elsewhere")])


async def invalid(w: World) -> None:
    w.apply(image="")


async def taken(w: World) -> None:
    w.foreign_pod()
    w.apply()


async def previous(w: World) -> None:
    await running(w)
    w.apply(uid="another-uid")


async def refused(w: World) -> None:
    w.api.script["create_pod"] = [Refused("spec.x: Invalid value", final=True)] * 20
    w.apply()


async def held(w: World) -> None:
    await running(w)
    raw = w.api.sandboxes[KEY]
    raw["metadata"] |= {"deletionTimestamp": STAMP, "finalizers": ["example.com/keep"]}
    w.api.keep("Sandbox", raw)


async def paused(w: World) -> None:
    w.apply(paused=True, volumes=[host("/elsewhere")])


async def expired_unstarted(w: World) -> None:
    w.apply(expiresAt=stamp(-1))


async def created_late(w: World) -> None:
    w.apply(expiresAt=stamp(-9), expiryPolicy="Delete")
    w.api.sandboxes[KEY]["metadata"]["creationTimestamp"] = STAMP
    w.api.keep("Sandbox", w.api.sandboxes[KEY])


STATES: dict[str, tuple[Setup, str]] = {
    "just made": (pending(), "PodPending"),
    "no room": (
        pending(None, {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}),
        "Unschedulable",
    ),
    "being created": (pending({"reason": "ContainerCreating"}, scheduled(10)), "ContainerCreating"),
    "no image": (pending({"reason": "ErrImagePull", "message": PULL}, scheduled()), "ErrImagePull"),
    "ready": (lived(volumes=WANTED), "PodReady"),
    "ready with a timeout": (lived(timeoutSeconds=3600), "PodReady"),
    "ready after a loss": (lived(gone, World.run_pod, volumes=WANTED), "PodReady"),
    "ready for long after a loss": (lived(gone, World.run_pod, clock(10**6)), "PodReady"),
    "crash loop": (lived(crashed), "CrashLoopBackOff"),
    "cut off": (lived(node_down, unready), "NodeNotReady"),
    "ending": (lived(ended_by_somebody), "PodTerminating"),
    "late": (lived(ended_by_somebody, clock(20)), "PodTerminating"),
    "on a lost node": (lived(node_down, ended_by_somebody, clock(20)), "NodeLost"),
    "denied": (denied, "HostPathNotAllowed"),
    "revoked": (lived(narrowed, volumes=WANTED), "HostPathNotAllowed"),
    "revoked and gone": (lived(narrowed, gone, volumes=WANTED), "HostPathNotAllowed"),
    "invalid": (invalid, "InvalidSpec"),
    "name taken": (taken, "PodNameTaken"),
    "after another": (previous, "PreviousPodTerminating"),
    "held": (held, "SandboxDeleted"),
    "failed": (lived(failed, restartPolicy="Never"), "PodFailed"),
    "failed and gone": (lived(failed, gone, restartPolicy="Never"), "PodFailed"),
    "waiting for the third Pod": (lived(gone, World.run_pod, gone), "PodDeleted"),
    "evicted": (lived(evict), "Evicted"),
    "lost too often": (lived(lost_eleven_times), "RestartLimit"),
    "paused": (paused, "Paused"),
    "paused after it ran": (lived(applied(paused=True), gone), "Paused"),
    "pausing": (lived(applied(paused=True)), "Pausing"),
    "pausing on a lost node": (lived(node_down, applied(paused=True), clock(20)), "NodeLost"),
    "resuming": (lived(applied(paused=True), gone, applied(3)), "PodPending"),
    "done": (lived(lambda w: w.change_pod(phase="Succeeded"), restartPolicy="Never"), "Completed"),
    "done and gone": (lived(lambda w: w.change_pod(phase="Succeeded"), gone, restartPolicy="Never"), "Completed"),
    "expiring": (lived(clock(60), timeoutSeconds=60), "Expired"),
    "expired": (lived(clock(60), gone, timeoutSeconds=60), "Expired"),
    "expired unstarted": (expired_unstarted, "Expired"),
    "created late": (created_late, "Expired"),
    "expired while paused": (lived(applied(paused=True), gone, applied(3, paused=True, expiresAt=STAMP)), "Expired"),
}


def reason(w: World) -> str:
    """The reason that the status gives, of whichever condition there is."""
    found = w.conditions() if KEY in w.api.sandboxes else {}
    return next((found[kind][1] for kind in ("Ready", "Paused", "Finished") if kind in found), "")


async def wrote_again(setup: Setup, expected: str, settings: Settings) -> tuple[str, list[str]]:
    """What was written at three more looks, after the status gave that reason."""
    async with world("- /data", settings) as w:
        await setup(w)
        try:
            async with asyncio.timeout(20):
                await until(lambda: reason(w) == expected)
        except TimeoutError:
            return reason(w), ["no such reason"]
        for _ in range(3):
            await look(w)  # what the last write led to
        w.api.calls.clear()
        for seconds in (0, 0.5, 1):
            w.now = w.now + (at(seconds) - at(0))
            await look(w)
        written = w.writes()
        w.api.calls.clear()
        await asyncio.sleep(0.1)
        return reason(w), written if len(w.api.calls) < 3 else [f"a hot loop: {w.api.calls[:5]}"]


async def test_a_sandbox_that_is_looked_at_again_is_written_in_no_state() -> None:
    """All states at once, because a status of what is under way waits two seconds before it is written."""
    names = list(STATES)
    found = await asyncio.gather(*(wrote_again(*STATES[name], SETTINGS) for name in names))
    assert dict(zip(names, found, strict=True)) == {name: (STATES[name][1], []) for name in names}


async def test_a_sandbox_that_runs_on_although_it_is_no_longer_allowed_is_written_once() -> None:
    lenient = Settings(on_revoke=OnRevoke.WARN)
    assert await wrote_again(lived(narrowed, volumes=WANTED), "PodReady", lenient) == ("PodReady", [])


async def test_a_pod_that_is_refused_is_asked_for_again_and_its_status_is_not_written() -> None:
    found = await wrote_again(refused, "PodRefused", SETTINGS)
    assert found == ("PodRefused", ["create_pod"] * 3)
