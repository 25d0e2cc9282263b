"""A Pod that went although nobody asked the operator for that: when the next one is made, and where. Pure.

First the loss is written into the status, then a new Pod is made: the count can then
neither be lost nor be forgotten by a restart of the operator.
"""

from collections.abc import Sequence
from datetime import datetime

from sandmount import times
from sandmount.allowlist import Grant
from sandmount.api import SandboxSpec
from sandmount.memory import OURS, Memory
from sandmount.observe import Node, Pod
from sandmount.pod import node_labels
from sandmount.status import Loss, Verdict, moving, stuck
from sandmount.steps import Plan

MOST_RESTARTS = 10
"""Pods in a row that are made again; after that somebody has to look. About a quarter of an hour in all."""

LONGEST_WAIT = 300.0
"""Seconds, as long as the kubelet waits at most before it starts a container again."""


def wait_before(restart: int) -> float:
    """Seconds between a loss and the new Pod, the first time in a row none, then 2, 4, 8 and so on."""
    return 0.0 if restart <= 1 else min(2.0 ** min(restart - 1, 16), LONGEST_WAIT)


def lost(memory: Memory, reason: str, message: str, now: datetime) -> Plan:
    """A Pod is gone, or of no use any more; that is written down."""
    count = min(memory.restarts_at(now), MOST_RESTARTS) + 1
    if count > MOST_RESTARTS:
        return Plan(None, _given_up(reason, message, Loss(count, now)))
    wait = wait_before(count)
    when = f"in {wait:.0f} s" if wait else "now"
    words = f"{message.rstrip('.')}; a new Pod is made {when} (restart {count} of at most {MOST_RESTARTS} in a row)"
    return Plan(None, Verdict(moving(reason, words, told=True), denials=(), loss=Loss(count, now)), at_once=True)


def waiting(memory: Memory, lost_at: datetime, now: datetime) -> Plan | None:
    """What there is to do until the next Pod is due; None when it is."""
    left = (times.later(lost_at, wait_before(memory.restarts)) - now).total_seconds()
    if left <= 0:
        return None
    said = memory.ready
    state = moving(said.reason, said.message) if said else moving("PodLost", "the Pod is gone")
    return Plan(None, Verdict(state, denials=(), loss=Loss(memory.restarts, lost_at)), look_again=left)


def same_node(spec: SandboxSpec, grants: Sequence[Grant], node: Node | None) -> str | None:
    """The node that a new Pod is kept to: the one that has what was written into its host directories.

    None when there are none, when that node is gone, and when spec or allowlist no longer let the Sandbox go there.
    """
    if node is None or not node.found or not any(v.host for v in spec.volumes):
        return None
    wanted = [*node_labels(grants), *spec.node_selector.items()]
    return node.name if all(node.labels.get(key) == value for key, value in wanted) else None


def words_of(pod: Pod) -> tuple[str, str]:
    """Reason and sentence about a Pod that was disrupted."""
    trouble = pod.trouble
    if trouble is None:
        return "PodDisrupted", "the Pod was ended from outside"
    reason = "PodDisrupted" if trouble.reason in OURS else trouble.reason  # which is ours, and read back
    return reason, trouble.message or f"the Pod ended: {trouble.reason}"


def _given_up(reason: str, message: str, loss: Loss) -> Verdict:
    words = (
        f"its Pod was lost {loss.restarts} times in a row, the last time as {reason}: {message}; no new one is made "
        "until the spec changes, or paused is set to true and back"
    )
    return Verdict(stuck("RestartLimit", words), denials=(), loss=loss)
