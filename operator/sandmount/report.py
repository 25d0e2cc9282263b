"""Report: writes the status when it changed, and the Events and lines of the log that go with the change."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sandmount.allowlist import Allowlist, Grant
from sandmount.answers import Conflict, Json, Missing, Refused, Transient, words
from sandmount.cluster import ApiServer
from sandmount.events import event_about_sandbox
from sandmount.known import QUIET_SECONDS, Known
from sandmount.logs import DECISIONS
from sandmount.metrics import Metrics
from sandmount.observe import Key, Pod, Sandbox
from sandmount.queue import KeyedQueue
from sandmount.records import denial_records, grant_records
from sandmount.status import Happening, Stage, State, Verdict, compute_status, happenings, is_denied_anew, merge_patch
from sandmount.steps import Plan

log = logging.getLogger(__name__)
decisions_log = logging.getLogger(DECISIONS)

REFUSED_AGAIN = 30.0
"""Seconds until a status that was refused is written again."""

OUTDATED_AGAIN = 1.0
"""Seconds until a Sandbox is looked at again when a write found it outdated and no watch event came."""


class Reporter:
    """What all passes say."""

    def __init__(
        self, api: ApiServer, known: Known, queue: KeyedQueue[Key], metrics: Metrics, now: Callable[[], datetime]
    ) -> None:
        self._api = api
        self._known = known
        self._queue = queue
        self._metrics = metrics
        self._now = now
        self._row_told: dict[Key, str] = {}  # uid of the Pod that crashes in a row, which was told

    def forget(self, key: Key) -> None:
        """The Sandbox is gone."""
        self._known.untold.pop(key, None)
        self._row_told.pop(key, None)

    async def report(self, sandbox: Sandbox, plan: Plan, allowlist: Allowlist) -> None:
        """Writes the status when it changed, and the Events of the change."""
        key, verdict = sandbox.key, plan.verdict
        if verdict is None:
            return
        pod = self._known.pods.get(key)
        own = pod if pod is not None and pod.owner_uid == sandbox.uid else None
        status = compute_status(sandbox, verdict, own, self._now())
        patch = merge_patch(sandbox.status, status)
        if not patch:
            self._known.untold.pop(key, None)
            return
        moving = verdict.state.stage is Stage.MOVING
        if moving and not plan.at_once and (wait := self._quiet_left(key)) > 0:
            self._queue.add_in(key, wait)
            return
        answer = await self._api.patch_status(key, sandbox.uid, sandbox.resource_version, patch)
        self._known.untold.pop(key, None)
        match answer:
            case dict():
                written = self._known.wrote_sandbox(answer)
                if plan.at_once:
                    self._go_on(key, written, verdict)
                self._count(sandbox, verdict, status, allowlist)
                await self._tell_of_change(sandbox, verdict.state, status, own)
            case Conflict():
                self._queue.add_in(key, OUTDATED_AGAIN)
            case Missing():
                self._known.sandboxes.drop(sandbox)
                self._queue.add(key)
            case Refused(message):
                self._queue.add_in(key, REFUSED_AGAIN)
                log.error("%s/%s: its status cannot be written: %s", *key, message)

    def _count(self, sandbox: Sandbox, verdict: Verdict, status: Json, allowlist: Allowlist) -> None:
        """What auditors and Prometheus are told of a new status."""
        if verdict.denials and is_denied_anew(sandbox.status, status):
            self._metrics.denied(verdict.denials)
            _record(denial_records(sandbox, verdict.denials, allowlist))
        if "startedAt" in status and "startedAt" not in sandbox.status and sandbox.created is not None:
            self._metrics.became_ready((self._now() - sandbox.created).total_seconds())

    async def _tell_of_change(self, sandbox: Sandbox, state: State, status: Json, pod: Pod | None) -> None:
        uid = pod.uid if pod else ""
        for happening in happenings(sandbox.status, status, state):
            is_row = state.told and happening.reason == state.reason
            if not (is_row and state.again and self._row_told.get(sandbox.key) == uid):
                await self.tell(sandbox, happening)
            if is_row:
                self._row_told[sandbox.key] = uid

    def _go_on(self, key: Key, written: Sandbox, verdict: Verdict) -> None:
        """The next pass depends on what was written; a CRD of an earlier version may have dropped it."""
        if verdict.loss is None or written.memory.lost_at is not None:
            self._queue.add(key)
        else:
            log.error("%s/%s: lostAt was not kept: apply the CRD of this version", *key)
            self._queue.add_in(key, REFUSED_AGAIN)

    def _quiet_left(self, key: Key) -> float:
        """Seconds that an in-between status still waits; it may be about a step that nobody has looked at so far."""
        now = asyncio.get_running_loop().time()
        return self._known.untold.setdefault(key, now) + QUIET_SECONDS - now

    def granted(self, sandbox: Sandbox, grants: Sequence[Grant], allowlist: Allowlist) -> None:
        """A Pod with these grants was created."""
        self._metrics.granted(grants)
        _record(grant_records(sandbox, grants, allowlist))

    async def tell(self, sandbox: Sandbox, happening: Happening) -> None:
        """Writes an Event about a Sandbox."""
        await self.write_event(sandbox.namespace, event_about_sandbox(sandbox, happening, self._now()))

    async def write_event(self, namespace: str, body: Json) -> None:
        """Events are for people and help nobody when they are late, so a failed one is logged and not tried again."""
        try:
            answer = await self._api.create_event(namespace, body)
        except Transient as error:
            log.warning("an Event could not be written: %s", error)
        else:
            if not isinstance(answer, dict | Missing):
                log.warning("an Event could not be written: %s", words(answer))


def _record(lines: Iterable[str]) -> None:
    """Puts decisions into the log."""
    for line in lines:
        decisions_log.info(line)
