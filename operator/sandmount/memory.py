"""What the operator reads back from the status that it wrote: all of it, and nothing of a status is read elsewhere.

Pure. A status can be written by whoever has a right to ``sandboxes/status``, and by an earlier version of this program,
so nothing here is believed: what has not the right shape is not there, and none of it can widen a grant. Who forges it
can end a Sandbox (``Finished``), move the end of ``timeoutSeconds`` (``startedAt``), choose among the nodes that spec
and allowlist leave (``nodeName``), and hurry or stop the making of a new Pod (``restarts``, ``lostAt``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandmount import times

_NODE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)

CONDITION = ("type", "status", "lastTransitionTime", "reason", "message")
"""What every condition has, all of it text."""

RAN_WELL = timedelta(minutes=10)
"""A Sandbox that was Ready for so long has recovered: what went wrong before no longer counts."""

EXPIRED = "Expired"
"""Reason of a Sandbox whose deadline has passed, from that moment on; it is never taken back."""

REPLACED = "PodReplaced"
"""Reason while a Pod ends that we have asked to, so that another one can be made."""

OURS = frozenset({EXPIRED, REPLACED})
"""Reasons that are read back, so that nobody else's words may be taken for them."""

GAVE_UP = frozenset({"PodFailed", "RestartLimit"})
"""Reasons of Stalled that stay until the spec changes, whatever becomes of the Pod."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A stored condition, as far as anything depends on it."""

    status: str
    reason: str
    message: str
    since: datetime | None
    """lastTransitionTime."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The past of a Sandbox."""

    phase: str = ""
    """For printing only: whether a Sandbox that is being started is being resumed."""
    same_spec: bool = True
    """Whether the status is about the spec as it is now."""
    had_pod: bool = False
    """Whether it had a Pod when the status was written."""
    node_name: str = ""
    """Where its Pod is, or was last."""
    started_at: datetime | None = None
    """When it was Ready for the first time."""
    expires_at: datetime | None = None
    """The deadline that was last told."""
    restarts: int = 0
    """How often in a row its Pod was lost and made again, for the spec as it is now."""
    lost_at: datetime | None = None
    """When its Pod was lost; None when it is not waiting for a new one."""
    ready: Condition | None = None
    finished: Condition | None = None
    """Only when True: it ran to its end or expired, and never runs again."""
    gave_up: Condition | None = None
    """Stalled for a reason of GAVE_UP, about the spec as it is now."""

    @property
    def expired(self) -> bool:
        """Whether its deadline was seen to pass."""
        return any(c is not None and c.reason == EXPIRED for c in (self.ready, self.finished))

    @property
    def was_replaced(self) -> bool:
        """Whether its last Pod was ending to be replaced: it was not lost."""
        return self.ready is not None and self.ready.reason == REPLACED

    def restarts_at(self, now: datetime) -> int:
        """``restarts``, forgotten when it is Ready and has been for long."""
        ready = self.ready
        well = ready is not None and ready.status == "True" and ready.since is not None
        return 0 if well and ready and ready.since and now - ready.since >= RAN_WELL else self.restarts


def recall(status: Mapping[str, Any], generation: int, digest: Callable[[], str] = str) -> Memory:
    """What a stored status says about the past of a Sandbox whose ``metadata.generation`` is this one.

    A changed spec is another try: what went wrong with an earlier one is not counted. Where only deadlines were changed
    it is no other: ``digest`` says what a Pod is built from, and is asked where the status has one to compare.
    """
    same_spec = status.get("observedGeneration") == generation
    if not same_spec and "builtFrom" in status:
        same_spec = status["builtFrom"] == digest() != ""
    conditions = by_type(status)
    finished, stalled = conditions.get("Finished"), conditions.get("Stalled")
    restarts = status.get("restarts")
    return Memory(
        phase=_text(status.get("phase")),
        same_spec=same_spec,
        had_pod="podName" in status,
        node_name=_node_name(status.get("nodeName")),
        started_at=times.parse(status.get("startedAt")),
        expires_at=times.parse(status.get("expiresAt")),
        restarts=restarts if same_spec and isinstance(restarts, int) and restarts > 0 else 0,
        lost_at=times.parse(status.get("lostAt")) if same_spec else None,
        ready=_condition(conditions.get("Ready")),
        finished=_condition(finished) if finished and finished["status"] == "True" else None,
        gave_up=_condition(stalled) if same_spec and stalled and _is_given_up(stalled) else None,
    )


def by_type(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The conditions of a status."""
    return {c["type"]: c for c in status.get("conditions") or ()}


def _is_given_up(stalled: Mapping[str, Any]) -> bool:
    return stalled["status"] == "True" and stalled["reason"] in GAVE_UP


def _condition(raw: Mapping[str, Any] | None) -> Condition | None:
    if raw is None:
        return None
    return Condition(raw["status"], raw["reason"], raw["message"], times.parse(raw["lastTransitionTime"]))


def _node_name(value: object) -> str:
    return value if isinstance(value, str) and _NODE.fullmatch(value) else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
