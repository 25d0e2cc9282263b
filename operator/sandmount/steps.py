"""What a plan is made of: the one thing that is done next, and what is said. Pure data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandmount.allowlist import Grant
from sandmount.observe import Pod
from sandmount.pod import LONGEST_GRACE, SHORTEST_GRACE
from sandmount.podstate import OVERDUE
from sandmount.status import Verdict

NODE_AGAIN = 30.0
"""Seconds until a node is looked up again that a Pod cannot come to, or cannot leave."""


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create this Pod, which mounts what was granted."""

    body: dict[str, Any]
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete the Pod with this uid, within ``grace`` seconds or, when None, within its own grace period."""

    uid: str
    grace: int | None
    reason: str
    message: str
    told: bool = True
    """Whether it has an Event of its own; not where the status that it leads to brings one."""


@dataclass(frozen=True, slots=True)
class RelabelPod:
    """Put our labels back on our Pod, so that the watch sees it again."""

    uid: str
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class DeleteSandbox:
    """Delete the Sandbox itself, in the version that was looked at and no other."""

    uid: str
    resource_version: str
    reason: str
    message: str


Action = CreatePod | DeletePod | RelabelPod | DeleteSandbox


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what to say. ``verdict`` None leaves the status as it is; ``look_again`` is in seconds."""

    action: Action | None = None
    verdict: Verdict | None = None
    look_again: float | None = None
    at_once: bool = False
    """Whether the status is written before anything else is done, because the next pass depends on it."""


def soon(pod: Pod) -> int:
    """Seconds for a Pod whose permission is gone."""
    return max(SHORTEST_GRACE, min(pod.grace, LONGEST_GRACE))


def until_overdue(pod: Pod, now: datetime) -> float:
    """Seconds until a Pod that was asked to end is looked into."""
    left = (pod.ends_at + OVERDUE - now).total_seconds() if pod.ends_at else 0.0
    return left if left > 0 else NODE_AGAIN
