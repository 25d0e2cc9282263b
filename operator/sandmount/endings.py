"""A Sandbox that has no Pod any more, or for now: deadlines, work that is done, and pauses. Pure.

An end is final: once the status says so nothing takes it back, whatever the spec becomes.
"""

from dataclasses import replace
from datetime import datetime

from sandmount.api import InvalidSpec
from sandmount.gathered import Gathered
from sandmount.lifetime import is_deleted_at_its_end, why_expired
from sandmount.memory import EXPIRED, Condition
from sandmount.observe import Pod, Sandbox
from sandmount.podstate import is_overdue, state_of, state_of_ending
from sandmount.status import Stage, State, Verdict, moving
from sandmount.steps import NODE_AGAIN, DeletePod, DeleteSandbox, Plan, soon, until_overdue


def at_its_end(gathered: Gathered) -> Plan | None:
    """What follows when the Sandbox is done, or its time is over; None while it lives."""
    sandbox, own, end = gathered.sandbox, gathered.own, gathered.deadline
    over = sandbox.memory.expired or (end is not None and end <= gathered.now)
    if over and gathered.deletable and is_deleted_at_its_end(sandbox):
        return Plan(DeleteSandbox(sandbox.uid, sandbox.resource_version, EXPIRED, _words_of_end(sandbox, end)))
    left = gathered.pod if gathered.is_orphaned else None
    if sandbox.memory.finished:
        return _finished(sandbox.memory.finished, own or left)
    if own is not None and own.phase == "Succeeded" and not own.deleting:
        # Before anything else: what is done must not be done twice. A Pod that is told to end may end with success too,
        # which says nothing about its work.
        return Plan(None, Verdict(state_of(own, None)))
    if over:
        return _expired(own or left, _words_of_end(sandbox, end), seen=sandbox.memory.expired)
    return None


def _finished(said: Condition, pod: Pod | None) -> Plan:
    """Final, so that a Pod which still runs must not: the condition may have been written by anybody."""
    phase = "Terminated" if said.reason == EXPIRED else "Succeeded"
    verdict = Verdict(State(Stage.FINISHED, phase, said.reason, said.message))
    if pod is None or pod.deleting or pod.phase in ("Succeeded", "Failed"):
        return Plan(None, verdict)
    return Plan(DeletePod(pod.uid, soon(pod), "Finished", "its Sandbox is finished"), verdict)


def _words_of_end(sandbox: Sandbox, end: datetime | None) -> str:
    """Which deadline passed: as it was once told, whatever the spec has become since."""
    memory = sandbox.memory
    said = next((c for c in (memory.finished, memory.ready) if c is not None and c.reason == EXPIRED), None)
    return said.message if said else why_expired(sandbox, end) if end else "its deadline has passed"


def _expired(pod: Pod | None, words: str, *, seen: bool) -> Plan:
    """The Pod goes, then the Sandbox is finished; the reason is there from the beginning, as it is never taken back."""
    if pod is None:
        return Plan(None, Verdict(State(Stage.FINISHED, "Terminated", EXPIRED, words)))
    verdict = Verdict(moving(EXPIRED, words, "Stopping"))
    if not seen:  # first: who has moved the deadline in time makes this write a conflict, and keeps the Pod
        return Plan(None, verdict, at_once=True)
    return Plan(None if pod.deleting else DeletePod(pod.uid, None, EXPIRED, words, told=False), verdict)


def paused(gathered: Gathered) -> Plan | None:
    """No Pod, for now; whether it may have its volumes is asked when it goes on."""
    spec, pod = gathered.sandbox.spec, gathered.own
    if isinstance(spec, InvalidSpec) or not spec.paused or gathered.is_orphaned:
        return None
    if pod is None:
        words = "paused is true: there is no Pod, and the Sandbox and its data stay; set paused to false to go on"
        return Plan(None, Verdict(State(Stage.PAUSED, "Paused", "Paused", words)))
    if is_overdue(pod, gathered.now):
        ending = state_of_ending(pod, gathered.node, gathered.now)
        return Plan(None, Verdict(replace(ending, phase="Pausing")), look_again=NODE_AGAIN)
    verdict = Verdict(moving("Pausing", "paused is true: the Pod is ending", "Pausing"))
    if pod.deleting:
        return Plan(None, verdict, look_again=until_overdue(pod, gathered.now))
    return Plan(DeletePod(pod.uid, None, "Paused", "paused is true", told=False), verdict)
