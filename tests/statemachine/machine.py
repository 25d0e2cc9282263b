"""The rules: what users, admins, nodes and crashes do to a few Sandboxes, one after the other and without waiting.

What is drawn depends on what was drawn before, and never on how the cluster answers: a history can be played again.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.cluster.base import ON_SIMULATED_NODES
from tests.statemachine.client import PODS, SANDBOXES, Answer
from tests.statemachine.lists import LISTS, PATHS, USUAL, WIDE, Listing
from tests.statemachine.model import in_seconds
from tests.statemachine.world import World
from tests.support import Json

SLOTS = ("a", "b", "c")
DAY, SOON = 86400.0, 1.0

free = st.runner().flatmap(lambda machine: st.sampled_from([s for s in SLOTS if s not in machine.used]))
used = st.runner().flatmap(lambda machine: st.sampled_from(sorted(machine.used) or SLOTS))
"""A Sandbox; where there is none, of a name at which there may be one on its way out."""
lists = st.sampled_from((*LISTS, *6 * (WIDE,)))
"""Half of the time most is allowed: where nothing may run, little can go wrong."""
deadlines = st.sampled_from(("far", None, "far", None, "soon", "past"))
policies = st.sampled_from(("Retain", "Delete"))


@st.composite
def volumes(draw: st.DrawFn) -> list[Json]:
    """None, one or two host volumes, most of them on what most lists allow, and perhaps one that is nobody's."""
    number = draw(st.sampled_from((0, 1, 1, 2)))
    chosen = st.sampled_from((*PATHS, *2 * USUAL))
    paths = draw(st.lists(chosen, min_size=number, max_size=number, unique=True))
    found = [
        {"name": f"v{n}", "host": {"path": path}, "mountPath": f"/mnt/v{n}", "readOnly": draw(st.booleans())}
        for n, path in enumerate(paths)
    ]
    scratch = {"name": "scratch", "emptyDir": {}, "mountPath": "/scratch"}
    return [*found, scratch] if draw(st.booleans()) else found


@st.composite
def specs(draw: st.DrawFn) -> Json:
    """What a Sandbox begins with; its deadline is a word, and becomes a time when it is used."""
    rare = {"paused": st.just(True), "deadline": deadlines, "timeoutSeconds": st.sampled_from((60, 3600))}
    more = {key: draw(values) for key, values in rare.items() if draw(st.integers(0, 3)) == 0}
    return {
        "image": "busybox:stable",
        "restartPolicy": draw(st.sampled_from(("Always", "OnFailure", "Never"))),
        "terminationGracePeriodSeconds": draw(st.sampled_from((0, 10))),
        "expiryPolicy": draw(policies),
        "volumes": draw(volumes()),
        **more,
    }


def moment(word: str | None) -> str | None:
    """A deadline, from now on."""
    return in_seconds({"past": -3600.0, "soon": SOON, "far": DAY}[word]) if word else None


class Machine(RuleBasedStateMachine):
    """One history, with names of its own."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__()
        self.world = world
        self.prefix = f"h{number}"
        self.used: set[str] = set()
        self.stopped = False
        self.crashes = False
        self.rests = False
        self.steps = -1
        world.begin()

    def name(self, slot: str) -> str:
        """The Sandbox's name."""
        return f"{self.prefix}-{slot}"

    @initialize(
        listing=lists,
        crashes=st.sampled_from((False, False, True)),
        rests=st.sampled_from((False, False, True)),
        found=st.lists(specs(), min_size=1, max_size=len(SLOTS)),
    )
    def begin(self, listing: Listing, crashes: bool, rests: bool, found: list[Json]) -> None:
        if self.world.why:
            raise AssertionError(self.world.why)
        self.crashes, self.rests = crashes, rests
        self.world.set_list(listing)
        for slot, spec in zip(SLOTS, found, strict=False):
            self._create(slot, spec)

    @precondition(lambda self: len(self.used) < len(SLOTS))
    @rule(slot=free, spec=specs())
    def create(self, slot: str, spec: Json) -> None:
        self._create(slot, spec)

    def _create(self, slot: str, spec: Json) -> None:
        self.used.add(slot)
        spec = dict(spec)
        end = moment(spec.pop("deadline", None))
        extra: dict[str, Any] = {"expiresAt": end} if end else {}
        self.world.create(self.name(slot), {**ON_SIMULATED_NODES, **spec, **extra})

    @rule(slot=used, image=st.sampled_from(("busybox:stable", "busybox:1")), value=st.integers(0, 2))
    def edit_what_a_pod_is_built_from(self, slot: str, image: str, value: int) -> None:
        self.world.edit(self.name(slot), image=image, env=[{"name": "A", "value": str(value)}])

    @rule(slot=used, found=volumes())
    def edit_volumes(self, slot: str, found: list[Json]) -> None:
        self.world.edit(self.name(slot), volumes=found)

    @rule(slot=used, end=deadlines, seconds=st.sampled_from((None, 60, 3600)), policy=policies)
    def edit_deadline(self, slot: str, end: str | None, seconds: int | None, policy: str) -> None:
        self.world.edit(self.name(slot), expiresAt=moment(end), timeoutSeconds=seconds, expiryPolicy=policy)

    @rule(slot=used, value=st.sampled_from((False, False, True)))
    def pause(self, slot: str, value: bool) -> None:
        self.world.edit(self.name(slot), paused=value)

    @rule(slot=used, where=st.sampled_from(("labels", "annotations")), value=st.integers(0, 9))
    def touch(self, slot: str, where: str, value: int) -> None:
        body = {"metadata": {where: {"touched": str(value)}}}
        self.world.ask(f"touch {slot} {where}", "PATCH", f"{SANDBOXES}/{self.name(slot)}", body)

    @rule(listing=lists)
    def change_list(self, listing: Listing) -> None:
        if listing is not self.world.listing:
            self.world.set_list(listing)

    @rule(slot=used, grace=st.sampled_from((None, 0, 1)))
    def delete_pod(self, slot: str, grace: int | None) -> None:
        options = {} if grace is None else {"gracePeriodSeconds": grace}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        self._lose(slot, self.world.ask(f"delete-pod {slot} {grace}", "DELETE", f"{PODS}/{self.name(slot)}", body))

    @rule(slot=used)
    def evict_pod(self, slot: str) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": self.name(slot)}}
        self._lose(slot, self.world.ask(f"evict {slot}", "POST", f"{PODS}/{self.name(slot)}/eviction", body))

    @rule(slot=used, how=st.sampled_from(("Evicted", "Failed", "Succeeded")), patience=st.sampled_from((0.0, 1.0)))
    def end_pod(self, slot: str, how: str, patience: float) -> None:
        """What a kubelet says of a Pod that ran; of one that does not run, nothing."""
        pod = self.world.running_pod(self.name(slot), patience)
        past = self.world.pasts.get(self.name(slot))
        if pod is None or past is None:
            self.world.tell(f"end-no-pod {slot}")
            return
        past.succeeded |= how == "Succeeded"
        if how == "Failed" and pod["spec"]["restartPolicy"] != "Always":
            past.failed.append(pod)
        pod["status"] = ended(pod["status"], how)
        path = f"{PODS}/{self.name(slot)}/status"
        self._lose(slot, self.world.ask(f"end-pod {slot} {how}", "PUT", path, pod))

    @rule(slot=used, how=st.sampled_from(("Background", "Foreground", "Orphan")), next_one=st.none() | specs())
    def delete(self, slot: str, how: str, next_one: Json | None) -> None:
        """Perhaps there is another one of that name at once."""
        self.used.discard(slot)
        if self.name(slot) in self.world.pasts:
            self.world.pasts[self.name(slot)].removed = True
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": how}
        self.world.ask(f"delete {slot} {how}", "DELETE", f"{SANDBOXES}/{self.name(slot)}", body)
        if next_one is not None:
            self._create(slot, next_one)

    @rule(milliseconds=st.sampled_from((10, 50, 200)))
    def wait(self, milliseconds: int) -> None:
        time.sleep(milliseconds / 1000)

    @precondition(lambda self: self.crashes and not self.stopped)
    @rule()
    def kill_operator(self) -> None:
        """What it has asked to end it no longer knows, so that may count as lost."""
        self.stopped = True
        self.crashes = False
        self.world.operator.kill()
        for past in self.world.pasts.values():
            past.losses += 1
        self.world.tell("kill the operator")

    @precondition(lambda self: self.stopped)
    @rule()
    def start_operator(self) -> None:
        self.stopped = False
        self.world.operator.start()
        self.world.tell("start the operator")

    @precondition(lambda self: self.rests and len(self.used) > 1)
    @rule()
    def settle(self) -> None:
        self.stopped = False
        self.rests = False
        self.world.settle()

    @invariant()
    def count(self) -> None:
        """Called after each step, and first of all when it has begun."""
        self.steps += 1

    def teardown(self) -> None:
        """All must come right in the end, unless it has gone wrong before; then all goes."""
        try:
            if not self.world.why:
                self.world.settle()
        finally:
            self.world.remove(self.name(slot) for slot in SLOTS)
            self.world.lengths.append(self.steps)

    def _lose(self, slot: str, answer: Answer) -> None:
        past = self.world.pasts.get(self.name(slot))
        if past is not None and answer.ok:
            past.losses += 1
            past.calm = False


def ended(status: Json, how: str) -> Json:
    """A Pod's status when its container has ended, or the whole of it was evicted."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    code = 0 if how == "Succeeded" else 3
    state = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": now}}
    containers = [{**c, "ready": False, "started": False, "state": state} for c in status["containerStatuses"]]
    conditions = [{**c, "status": "False"} if "Ready" in c["type"] else c for c in status["conditions"]]
    found = {**status, "conditions": conditions, "phase": "Succeeded" if how == "Succeeded" else "Failed"}
    if how == "Evicted":
        return {**found, "reason": "Evicted", "message": "the node had too little memory"}
    return {**found, "containerStatuses": containers}
