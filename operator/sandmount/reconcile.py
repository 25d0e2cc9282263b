"""One pass over one Sandbox: gather, plan, apply, report.

Level-triggered: an event only says which Sandbox to look at, and every pass starts from what is known now. What to do
is decided in plan.py and what to say in status.py; this module carries it out and remembers nothing that a restarted
operator would miss.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from sandmount.allowlist import Allowlist
from sandmount.cluster import (
    ApiServer,
    Conflict,
    Exists,
    Json,
    Missing,
    Refused,
    Transient,
    Unanswered,
    words,
)
from sandmount.events import allowlist_events, event_about_sandbox
from sandmount.known import Known
from sandmount.observe import Key, Pod, Sandbox, parse_pod, parse_sandbox
from sandmount.plan import (
    PREVIOUS_POD_AGAIN,
    Action,
    CreatePod,
    DeletePod,
    Plan,
    RelabelPod,
    decided_anew,
    make_plan,
    not_yet,
    plan_without_sandbox,
    pod_changed,
    pod_refused,
)
from sandmount.queue import KeyedQueue
from sandmount.records import denial_records, grant_records
from sandmount.settings import Settings
from sandmount.status import Happening, Stage, compute_status, happenings, is_denied_anew, merge_patch

log = logging.getLogger(__name__)
decisions_log = logging.getLogger("sandmount.decisions")

Answer = Json | Unanswered

QUIET_SECONDS = 1.0
"""An in-between status waits this long: a Sandbox that is Ready sooner gets one status write in all."""

OUTDATED_AGAIN = 1.0
"""Seconds until a Sandbox is looked at again when a write found it outdated and no watch event came."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Reconciler:
    """The queue, the passes over what is in it, and what is known for them."""

    def __init__(self, api: ApiServer, settings: Settings, now: Callable[[], datetime] = _utc_now) -> None:
        self._api = api
        self._settings = settings
        self._now = now
        self._allowlist: Allowlist | None = None
        self._queue: KeyedQueue[Key] = KeyedQueue()
        self.known = Known(api, self._queue)
        self._made_under: dict[Key, str] = {}  # version of the list by which a Pod is being made
        self._moving_since: dict[Key, float] = {}
        self._alone_since: dict[Key, float] = {}
        self._allowlist_loaded = asyncio.Event()

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
            await self._write_event(self._settings.namespace, event)

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

    async def look_at(self, key: Key) -> None:
        """One pass."""
        sandbox = self.known.sandboxes.get(key)
        if sandbox is None:
            self._moving_since.pop(key, None)
            self._made_under.pop(key, None)
            self.known.unwatched.discard(key)
            await self._look_at_leftover(key, self.known.pods.get(key))
            return
        self._alone_since.pop(key, None)
        pod = await self._pod_at(key, sandbox)
        allowlist = self._allowlist
        if allowlist is None:
            raise Transient("no allowlist has been loaded yet")
        plan = make_plan(sandbox, allowlist, self._as_new(key, pod, allowlist), self._settings)
        if isinstance(plan.action, CreatePod) and "podName" in sandbox.status and await self._is_ghost(sandbox):
            return
        outcome = await self._act(sandbox, plan, allowlist)
        if pod is not None:
            self._made_under.pop(key, None)
        if outcome is None:
            self._queue.add(key)
        elif isinstance(plan.action, CreatePod) and self._allowlist is not allowlist:
            await self.look_at(key)  # at once, before the new Pod does anything
        else:
            await self._report(sandbox, outcome, allowlist)
            again = PREVIOUS_POD_AGAIN if pod is not None and not pod.labelled else None
            for seconds in (outcome.look_again, again):
                if seconds is not None:
                    self._queue.add_in(key, seconds)

    def _as_new(self, key: Key, pod: Pod | None, allowlist: Allowlist) -> Pod | None:
        """The Pod; as one that has never run when another list was loaded while it was being created.

        It was decided on by a list that is no longer in force, so no leniency with what runs applies to it.
        """
        if pod is None or self._made_under.get(key, allowlist.version) == allowlist.version:
            return pod
        return replace(pod, started=False)

    async def _pod_at(self, key: Key, sandbox: Sandbox) -> Pod | None:
        """The Pod of that name: from the watch, or read where the watch cannot tell.

        That is where it shows one that is not the Sandbox's, which may be long gone, and where it shows none although
        there was one: our label can be taken off a Pod, also while no operator is looking.
        """
        pod = self.known.pods.get(key)
        watched = pod is not None and pod.labelled and pod.owner_uid == sandbox.uid
        missed = key in self.known.unwatched or "podName" in sandbox.status
        if watched or (pod is None and not missed):
            return pod
        answer = await self._api.get_pod(key)
        if isinstance(answer, dict):
            found = parse_pod(answer)
            if found.labelled:
                self.known.unwatched.discard(key)
            if found.labelled or found.owner_uid == sandbox.uid:
                self.known.pods.put(found)
            return found
        if not isinstance(answer, Missing):
            raise Transient(f"the Pod cannot be read: {words(answer)}", retry_after=30)
        self.known.unwatched.discard(key)
        if pod is not None:
            self.known.pods.drop(pod)
        return None

    async def _is_ghost(self, sandbox: Sandbox) -> bool:
        """Whether a Sandbox that once had a Pod is no longer there.

        A broken watch can bring the end of a Pod before the end of its Sandbox; a live read keeps a Pod that nobody
        wants from being made. Not asked for first Pods, so those cost no read.
        """
        answer = await self._api.get_sandbox(sandbox.key)
        if isinstance(answer, dict) and answer["metadata"]["uid"] == sandbox.uid:
            return False
        if not isinstance(answer, dict | Missing):
            raise Transient(f"the Sandbox cannot be read: {words(answer)}", retry_after=30)
        self.known.sandboxes.drop(sandbox)
        self._queue.add(sandbox.key)
        return True

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
            await self._carry_out(key, plan.action)
        else:
            raise Transient(f"the Sandbox cannot be read: {words(answer)}", retry_after=30)

    async def _act(self, sandbox: Sandbox, plan: Plan, allowlist: Allowlist) -> Plan | None:
        """Carries out the plan's action, if it has one: the plan to report, None to look again."""
        if plan.action is None:
            return plan
        if isinstance(plan.action, CreatePod):
            self._made_under[sandbox.key] = allowlist.version
        try:
            outcome = await self._apply(sandbox, plan, plan.action)
        except Transient as error:
            await self._report(sandbox, not_yet(plan, str(error)), allowlist)
            raise
        if isinstance(plan.action, CreatePod) and outcome is plan:
            await self._take_back_if_changed(sandbox, plan, plan.action, allowlist)
            self._record(grant_records(sandbox, plan.action.grants, allowlist))
        return outcome

    async def _take_back_if_changed(
        self, sandbox: Sandbox, plan: Plan, action: CreatePod, allowlist: Allowlist
    ) -> None:
        """Deletes a new Pod that admission gave other host directories, and raises Transient for a later try."""
        pod = self.known.pods.get(sandbox.key)
        changed = pod_changed(plan, pod, action.grants) if pod is not None else None
        if changed is None or changed.action is None or changed.verdict is None:
            return
        await self._carry_out(sandbox.key, changed.action)
        await self._report(sandbox, changed, allowlist)
        raise Transient(changed.verdict.state.message, changed.look_again or 0.0)

    async def _apply(self, sandbox: Sandbox, plan: Plan, action: Action) -> Plan | None:
        """Carries out the action: the plan to report, or None when things are not as they were thought to be."""
        answer = await self._carry_out(sandbox.key, action)
        if isinstance(answer, dict) and isinstance(action, DeletePod) and not _is_told_by_status(plan):
            await self._tell(sandbox, Happening("Normal", action.reason, action.message))
        match answer, action:
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

    async def _carry_out(self, key: Key, action: Action) -> Answer:
        """Does it, and keeps what the answer says."""
        match action:
            case CreatePod():
                return await self._create(key, action)
            case DeletePod():
                return await self._delete(key, action)
            case RelabelPod():
                return await self._relabel(key, action)

    async def _create(self, key: Key, action: CreatePod) -> Answer:
        answer = await self._api.create_pod(action.body)
        if isinstance(answer, dict):
            self.known.pods.put(parse_pod(answer))
        elif isinstance(answer, Exists):
            self.known.unwatched.add(key)
        return answer

    async def _delete(self, key: Key, action: DeletePod) -> Answer:
        answer = await self._api.delete_pod(key, action.uid, action.grace)
        if isinstance(answer, dict):
            log.info("%s/%s: Pod deleted: %s: %s", *key, action.reason, action.message)
            if answer.get("kind") == "Pod":
                self.known.pods.update(parse_pod(answer))
        elif isinstance(answer, Missing | Conflict):
            self._forget_pod(key, action.uid)
        return answer

    async def _relabel(self, key: Key, action: RelabelPod) -> Answer:
        answer = await self._api.label_pod(key, action.uid, action.labels)
        if isinstance(answer, dict):
            log.warning("%s/%s: a label of ours had been changed on its Pod; put back", *key)
            self.known.unwatched.discard(key)
            self.known.pods.put(parse_pod(answer))
        elif isinstance(answer, Missing | Conflict):
            self._forget_pod(key, action.uid)
        return answer

    def _forget_pod(self, key: Key, uid: str) -> None:
        """The cache was behind: this Pod is gone. What stands there now is read."""
        known = self.known.pods.get(key)
        if known is not None and known.uid == uid:
            self.known.pods.drop(known)
        self.known.unwatched.add(key)

    async def _report(self, sandbox: Sandbox, plan: Plan, allowlist: Allowlist) -> None:
        """Writes the status when it changed, and the Events of the change."""
        key, verdict = sandbox.key, plan.verdict
        if verdict is None:
            return
        moving = verdict.state.stage is Stage.MOVING
        pod = self.known.pods.get(key)
        own = pod if pod is not None and pod.owner_uid == sandbox.uid else None
        status = compute_status(sandbox, verdict, own, self._now())
        patch = merge_patch(sandbox.status, status)
        if not patch:
            self._moving_since.pop(key, None)
            return
        if moving and (wait := self._quiet_left(key)) > 0:
            self._queue.add_in(key, wait)
            return
        answer = await self._api.patch_status(key, sandbox.uid, sandbox.resource_version, patch)
        self._moving_since.pop(key, None)
        if isinstance(answer, dict):
            self.known.sandboxes.update(parse_sandbox(answer))
            if verdict.denials and is_denied_anew(sandbox.status, status):
                self._record(denial_records(sandbox, verdict.denials, allowlist))
            for happening in happenings(sandbox.status, status):
                await self._tell(sandbox, happening)
        elif isinstance(answer, Conflict):
            self._queue.add_in(key, OUTDATED_AGAIN)
        elif isinstance(answer, Refused):
            log.error("%s/%s: its status cannot be written: %s", *key, answer.message)

    def _quiet_left(self, key: Key) -> float:
        """Seconds that an in-between status still waits."""
        now = asyncio.get_running_loop().time()
        return self._moving_since.setdefault(key, now) + QUIET_SECONDS - now

    def _record(self, lines: Iterable[str]) -> None:
        for line in lines:
            decisions_log.info(line)

    async def _tell(self, sandbox: Sandbox, happening: Happening) -> None:
        await self._write_event(sandbox.namespace, event_about_sandbox(sandbox, happening, self._now()))

    async def _write_event(self, namespace: str, body: Json) -> None:
        """Events are for people and help nobody when they are late, so a failed one is logged and not tried again."""
        try:
            answer = await self._api.create_event(namespace, body)
        except Transient as error:
            log.warning("an Event could not be written: %s", error)
        else:
            if not isinstance(answer, dict | Missing):
                log.warning("an Event could not be written: %s", words(answer))


def _is_told_by_status(plan: Plan) -> bool:
    """Whether the status of the same plan brings an Event of its own with the same words."""
    return plan.verdict is not None and plan.verdict.state.stage is Stage.STUCK
