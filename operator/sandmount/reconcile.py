"""One pass over one Sandbox: gather, plan, apply, report.

Level-triggered: an event only says which Sandbox to look at, and every pass starts from what is known now. What to do
is decided in plan.py and what to say in status.py; this module carries it out and remembers nothing that a restarted
operator would miss.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from sandmount.allowlist import Allowlist
from sandmount.answers import Conflict, Json, Missing, Refused, Transient, words
from sandmount.apply import Answer, Hands
from sandmount.cluster import ApiServer
from sandmount.endings import at_its_end
from sandmount.events import allowlist_events
from sandmount.gather import Gatherer
from sandmount.gathered import Gathered, node_wanted
from sandmount.known import Known
from sandmount.metrics import Metrics, Snapshot, phases
from sandmount.observe import Key, Pod, Sandbox, parse_sandbox
from sandmount.pace import Pace
from sandmount.plan import (
    PREVIOUS_POD_AGAIN,
    decided_anew,
    make_plan,
    not_yet,
    plan_without_sandbox,
    pod_changed,
    pod_refused,
)
from sandmount.podstate import events_again, events_due
from sandmount.queue import KeyedQueue
from sandmount.report import OUTDATED_AGAIN, Reporter
from sandmount.settings import Settings
from sandmount.status import Happening
from sandmount.steps import Action, CreatePod, DeletePod, DeleteSandbox, Plan

log = logging.getLogger(__name__)

DELETED_AGAIN = 30.0
"""Seconds until a Sandbox that may not be deleted at its end is tried again."""

CLOCK_SECONDS = 5.0
"""Seconds between two comparisons of the clocks, one for the whole process."""

SET_CLOCK_SECONDS = 0.5
"""Seconds by which a clock has to be set to be noticed; what keeps it right otherwise moves it by far less."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _namespace_of(key: Key) -> str:
    return key[0]


def _share_of(workers: int) -> int:
    """How many of the workers one namespace may keep busy: what is slow there must not stop all others."""
    return max(1, workers * 3 // 4)


class Reconciler:
    """The queue, the passes over what is in it, and what is known for them."""

    def __init__(
        self,
        api: ApiServer,
        settings: Settings,
        metrics: Metrics,
        now: Callable[[], datetime] = _utc_now,
        pace: Pace[Key] | None = None,
    ) -> None:
        self._api = api
        self._settings = settings
        self._now = now
        self._allowlist: Allowlist | None = None
        self._queue: KeyedQueue[Key] = KeyedQueue(
            _namespace_of, _share_of(settings.workers), Pace() if pace is None else pace, is_begun=self._is_begun
        )
        self.known = Known(api, self._queue)
        self._gatherer = Gatherer(api, self.known)
        self._hands = Hands(api, self.known)
        self._reporter = Reporter(api, self.known, self._queue, metrics, now)
        self._made_under: dict[Key, str] = {}  # version of the list by which a Pod is being made
        self._alone_since: dict[Key, float] = {}
        self._allowlist_loaded = asyncio.Event()

    def _is_begun(self, key: Key) -> bool:
        """Whether it has a Pod, or was looked at before: then somebody may be waiting for what it lost."""
        sandbox = self.known.sandboxes.get(key)
        looked_at = sandbox is None or sandbox.status.get("observedGeneration", -1) != -1
        return looked_at or self.known.pods.get(key) is not None

    async def saw_allowlist(self, allowlist: Allowlist, config_map: Json | None) -> None:
        """A list was loaded; every Sandbox that it may decide on in another way is looked at again."""
        known, self._allowlist = self._allowlist, allowlist
        self._allowlist_loaded.set()
        if known is not None and known.version == allowlist.version:
            return
        for sandbox in self.known.sandboxes.values():
            if known is None or decided_anew(sandbox, known, allowlist):
                self._queue.add(sandbox.key)
        roots, bad = len(allowlist.entries), len(allowlist.bad_items)
        log.info("allowlist loaded, roots: %d, bad items: %d, version: %s", roots, bad, allowlist.version)
        for event in allowlist_events(allowlist, config_map, self._settings, self._now()):
            log.warning("allowlist: %s", event["note"])
            await self._reporter.write_event(self._settings.namespace, event)

    def missing(self) -> Iterator[str]:
        """What has to be known before the first decision, and is not yet."""
        if self._allowlist is None:
            yield "the allowlist"
        yield from self.known.missing()

    def snapshot(self) -> Snapshot:
        """What there is now, for whoever counts."""
        told = [(s.namespace, str(s.status.get("phase") or "")) for s in self.known.sandboxes.values()]
        queue, ready = self._queue, not any(self.missing())
        return Snapshot(phases(told), len(queue), queue.oldest_seconds(), queue.retries, self._allowlist, ready)

    async def begin(self) -> None:
        """Returns when there is a list to decide by, and everything to decide on is known."""
        await self._allowlist_loaded.wait()
        await self.known.wait_until_filled()

    async def work(self) -> None:
        """One worker: takes keys from the queue for ever."""
        while True:
            key = await self._queue.get()
            try:
                await self.look_at(key)
            except Transient as error:
                delay = self._queue.retry(key, error.retry_after)
                log.warning("%s/%s: %s; again in %.1f s", *key, error, delay)
            except Exception:  # a mistake of ours in one Sandbox must not stop all others; it is loud, and slow
                delay = self._queue.retry(key)
                log.exception("%s/%s: unexpected error; again in %.1f s", *key, delay)
            else:
                self._queue.done(key)

    async def watch_clock(self, every: float = CLOCK_SECONDS) -> None:
        """Looks at every Sandbox that has a deadline when the clock was set, or the machine slept.

        Wake-ups are by a clock that only runs while the machine does and that nobody sets; deadlines are by the other.
        """
        apart = self._clocks_apart()
        while True:
            await asyncio.sleep(every)
            if abs(self._clocks_apart() - apart) > SET_CLOCK_SECONDS:
                apart = self._clocks_apart()
                log.info("the clock was set; looking at all deadlines again")
                for sandbox in self.known.sandboxes.values():
                    if sandbox.memory.expires_at is not None:
                        self._queue.add(sandbox.key)

    def _clocks_apart(self) -> float:
        return self._now().timestamp() - asyncio.get_running_loop().time()

    async def look_at(self, key: Key) -> None:
        """One pass."""
        sandbox = self.known.sandboxes.get(key)
        if sandbox is None:
            self._forget(key)
            await self._look_at_leftover(key, self.known.pods.get(key))
            return
        self._alone_since.pop(key, None)
        gathered = await self._gather(sandbox)
        plan, allowlist = make_plan(gathered), gathered.allowlist
        if _makes_it_again(sandbox, plan) and await self._gatherer.is_ghost(sandbox):
            self._queue.add(key)
            return
        outcome = await self._act(gathered, plan, allowlist)
        if gathered.pod is not None:
            self._made_under.pop(key, None)
        if outcome is None:
            self._queue.add(key)
        elif isinstance(plan.action, CreatePod) and self._allowlist is not allowlist:
            await self.look_at(key)  # at once, before the new Pod does anything
        else:
            await self._reporter.report(sandbox, outcome, allowlist)
            for seconds in self._wake_ups(gathered, outcome):
                self._queue.add_in(key, seconds)

    def _forget(self, key: Key) -> None:
        """A Sandbox that is gone."""
        self._reporter.forget(key)
        self._made_under.pop(key, None)
        self._hands.ended.pop(key, None)
        self.known.unwatched.discard(key)

    async def _gather(self, sandbox: Sandbox) -> Gathered:
        """All that the plan is made of."""
        key, now = sandbox.key, self._now()
        pod = await self._gatherer.pod_at(key, sandbox)
        pod = await self._gatherer.with_events(pod, now)
        allowlist = self._allowlist
        if allowlist is None:
            raise Transient("no allowlist has been loaded yet")
        pod = self._as_new(key, pod, allowlist)
        ended = self._hands.has_ended(key, pod)
        return await self._with_node(Gathered(sandbox, allowlist, pod, self._settings, now, ended=ended))

    async def _with_node(self, gathered: Gathered) -> Gathered:
        """The same, with its node: nothing that is done waits for a node that cannot be read, but a new Pod."""
        sandbox, pod = gathered.sandbox, gathered.pod
        name = node_wanted(sandbox, pod, gathered.now)
        if name is None:
            return gathered
        plan = make_plan(gathered)
        if pod is None and not isinstance(plan.action, CreatePod):
            return gathered  # only a new Pod asks where the last one was
        try:
            return replace(gathered, node=await self._gatherer.node(name))
        except Transient as error:
            if isinstance(plan.action, CreatePod):
                await self._reporter.report(sandbox, not_yet(plan, str(error)), gathered.allowlist)
                raise
            log.warning("%s/%s: %s", *sandbox.key, error)
            return gathered

    def _wake_ups(self, gathered: Gathered, outcome: Plan) -> Iterator[float]:
        """Seconds until the Sandbox is looked at again although nothing has happened."""
        pod, now = gathered.pod, gathered.now
        if outcome.look_again is not None:
            yield outcome.look_again
        if pod is not None and not pod.labelled:
            yield PREVIOUS_POD_AGAIN
        if gathered.deadline is not None and gathered.deadline > now:
            yield (gathered.deadline - now).total_seconds()
        seen = self.known.pods.get(gathered.sandbox.key)  # as its status is, without what Events told
        if seen is not None and (due := events_due(seen, now)) is not None:
            yield due or events_again(seen, now)

    def _as_new(self, key: Key, pod: Pod | None, allowlist: Allowlist) -> Pod | None:
        """The Pod; as one that has never run when another list was loaded while it was being created.

        It was decided on by a list that is no longer in force, so no leniency with what runs applies to it.
        """
        if pod is None or self._made_under.get(key, allowlist.version) == allowlist.version:
            return pod
        return replace(pod, started=False)

    async def _look_at_leftover(self, key: Key, pod: Pod | None) -> None:
        """A Pod whose Sandbox the cache does not know. Only a live read tells whether it is really gone."""
        if pod is None:
            self._alone_since.pop(key, None)
            return
        now = asyncio.get_running_loop().time()
        plan = plan_without_sandbox(pod, waited=now - self._alone_since.setdefault(key, now))
        if plan.look_again is not None:
            self._queue.add_in(key, plan.look_again)
        if plan.action is None:
            return
        answer = await self._api.get_sandbox(key)
        if isinstance(answer, dict) and answer["metadata"]["uid"] == pod.made_for:
            self.known.sandboxes.put(parse_sandbox(answer))
            self._queue.add(key)
        elif isinstance(answer, dict | Missing):
            await self._hands.carry_out(key, plan.action)
        else:
            raise Transient(f"the Sandbox cannot be read: {words(answer)}", retry_after=30)

    async def _act(self, gathered: Gathered, plan: Plan, allowlist: Allowlist) -> Plan | None:
        """Carries out the plan's action, if it has one: the plan to report, None to look again."""
        sandbox = gathered.sandbox
        if plan.action is None:
            return plan
        if isinstance(plan.action, CreatePod):
            self._made_under[sandbox.key] = allowlist.version
        try:
            outcome = await self._apply(gathered, plan, plan.action)
        except Transient as error:
            if isinstance(plan.action, DeleteSandbox):
                await self._end_without_deletion(gathered)
            else:
                await self._reporter.report(sandbox, not_yet(plan, str(error)), allowlist)
            raise
        if isinstance(plan.action, CreatePod) and outcome is plan:
            await self._take_back_if_changed(sandbox, plan, plan.action, allowlist)
            self._reporter.granted(sandbox, plan.action.grants, allowlist)
        return outcome

    async def _take_back_if_changed(
        self, sandbox: Sandbox, plan: Plan, action: CreatePod, allowlist: Allowlist
    ) -> None:
        """Deletes a new Pod that admission gave other host directories, and raises Transient for a later try."""
        pod = self.known.pods.get(sandbox.key)
        changed = pod_changed(plan, pod, action.grants) if pod is not None else None
        if changed is None or changed.action is None or changed.verdict is None:
            return
        await self._hands.carry_out(sandbox.key, changed.action)
        await self._reporter.report(sandbox, changed, allowlist)
        raise Transient(changed.verdict.state.message, changed.look_again or 0.0)

    async def _apply(self, gathered: Gathered, plan: Plan, action: Action) -> Plan | None:
        """Carries out the action: the plan to report, or None when things are not as they were thought to be."""
        sandbox = gathered.sandbox
        answer = await self._hands.carry_out(sandbox.key, action)
        if isinstance(answer, dict) and isinstance(action, DeletePod) and action.told:
            await self._reporter.tell(sandbox, Happening("Normal", action.reason, action.message))
        match answer, action:
            case _, DeleteSandbox():
                return await self._after_deletion(gathered, action, answer)
            case dict(), _:
                return plan
            case Refused(message, final), CreatePod() if plan.verdict is not None:
                return pod_refused(plan.verdict, final=final, message=message)
            case Missing(), CreatePod():
                return Plan()  # its namespace is going away, and the Sandbox with it
            case Refused(message), _:
                raise Transient(f"{type(action).__name__} was refused: {message}", retry_after=30)
            case Conflict(), CreatePod():
                raise Transient("the Pod's creation met a conflict")  # a quota that others were counting too
        return None

    async def _end_without_deletion(self, gathered: Gathered) -> None:
        """Its Pod goes all the same, when the Sandbox itself cannot be deleted at its end."""
        kept = at_its_end(replace(gathered, deletable=False))
        outcome = await self._act(gathered, kept, gathered.allowlist) if kept else None
        if outcome is not None:
            await self._reporter.report(gathered.sandbox, outcome, gathered.allowlist)

    async def _after_deletion(self, gathered: Gathered, action: DeleteSandbox, answer: Answer) -> Plan | None:
        """What there is left to do about a Sandbox that was to be deleted at its end."""
        sandbox = gathered.sandbox
        if isinstance(answer, Conflict):
            return Plan(look_again=OUTDATED_AGAIN)
        if isinstance(answer, Refused):
            log.error("%s/%s: cannot be deleted at its end: %s", *sandbox.key, answer.message)
            await self._end_without_deletion(gathered)
            return Plan(look_again=DELETED_AGAIN)
        words = f"{action.message}; the Sandbox is deleted"
        await self._reporter.tell(sandbox, Happening("Normal", action.reason, words))
        return Plan()


def _makes_it_again(sandbox: Sandbox, plan: Plan) -> bool:
    """Whether a Pod follows one that was there before, now or after the loss is written down."""
    again = sandbox.memory.had_pod or sandbox.memory.lost_at is not None
    is_lost = plan.at_once and plan.verdict is not None and plan.verdict.loss is not None
    return is_lost or (again and isinstance(plan.action, CreatePod))
