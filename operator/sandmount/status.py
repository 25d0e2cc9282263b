"""compute_status: what was found to the status that kubectl wait, kstatus, Argo CD and Flux read.

Pure. All conditions are computed from what was observed, at each pass; none is edited step by step. Reconciling and
Stalled are abnormal-true: absent when all is normal (sigs.k8s.io/cli-utils, pkg/kstatus).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sandmount import times
from sandmount.allowlist import Denial
from sandmount.api import SandboxSpec, Volume
from sandmount.lifetime import deadline
from sandmount.memory import GAVE_UP, Memory, by_type
from sandmount.observe import Pod, Sandbox

_REASON = re.compile(r"[A-Za-z](?:[A-Za-z0-9_,:]*[A-Za-z0-9_])?", re.ASCII)  # metav1.Condition.reason
_ID = re.compile(r"[0-9a-f]{12,}|(?<=:)[0-9]+(?=->)")  # of a container, or the port that a connection came from
_MAX_REASON = 1024
_MAX_MESSAGE = 4096

CALM = frozenset(
    {
        "PodCreated", "PodPending", "PodNotCreated", "PodReplaced", "PodTerminating", "PreviousPodTerminating",
        "ContainerCreating", "PodInitializing", "ContainersNotReady", "Pausing", "Expired", "SandboxDeleted",
    }
)  # fmt: skip
"""Reasons of Reconciling that are a step on the way, and no Event's cause."""

_STARTING = frozenset({"PodCreated", "PodPending", "ContainerCreating", "PodInitializing"})


class Stage(Enum):
    """How far a Sandbox is; each gives one set of conditions."""

    READY = "it runs"
    MOVING = "something is under way that may still succeed"
    STUCK = "nothing will change until somebody changes something"
    PAUSED = "it was told to have no Pod"
    FINISHED = "it ran to its end or its deadline, and stays so"


@dataclass(frozen=True, slots=True)
class State:
    """What there is to say about a Sandbox. ``phase`` is for printing only; ``reason`` is CamelCase."""

    stage: Stage
    phase: str
    reason: str
    message: str
    told: bool = field(default=False, compare=False)
    """Whether people should hear of it by an Event when it comes to this reason, or when it is over."""
    again: bool = field(default=False, compare=False)
    """Whether it is one more of a row, of which one telling is enough."""


def moving(reason: str, message: str, phase: str = "Pending", *, told: bool = False) -> State:
    """Something is under way."""
    return State(Stage.MOVING, phase, reason, message, told)


def stuck(reason: str, message: str) -> State:
    """Somebody has to change something."""
    return State(Stage.STUCK, "Failed", reason, message)


@dataclass(frozen=True, slots=True)
class Loss:
    """A Pod that went by itself: the how many-th in a row, and when that was seen."""

    restarts: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that the status says. ``denials`` is None when the spec could not be judged, empty when all is allowed.

    ``loss`` is there from when a Pod was lost until the next one is made.
    """

    state: State
    denials: tuple[Denial, ...] | None = None
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """A Kubernetes Event worth writing: ``Normal`` or ``Warning``, a reason and a message."""

    kind: str
    reason: str
    message: str


def compute_status(sandbox: Sandbox, verdict: Verdict, pod: Pod | None, now: datetime) -> dict[str, Any]:
    """The whole status. ``pod`` is the Sandbox's own, ``now`` dates the conditions that changed.

    ``status.volumes`` says what the Pod has of the host, read from the Pod itself.
    """
    state, memory = verdict.state, sandbox.memory
    status: dict[str, Any] = {
        "observedGeneration": sandbox.generation,
        "phase": _phase(state, memory),
        "conditions": _conditions(sandbox, state, verdict.denials, now),
    }
    if pod is not None:
        found = {"podName": pod.name, "podIP": pod.pod_ip}
        status |= {k: v for k, v in found.items() if v}
    if node_name := (pod.node_name if pod else "") or memory.node_name:
        status["nodeName"] = node_name
    started_at = first_ready(sandbox, pod if state.stage in (Stage.READY, Stage.FINISHED) else None)
    ends_at = memory.expires_at if memory.expired else deadline(sandbox, started_at)
    status |= {k: times.stamp(v) for k, v in (("startedAt", started_at), ("expiresAt", ends_at)) if v}
    status |= _restarts(verdict, memory, now)
    status |= _built_from(sandbox, status, state)
    if pod is not None and pod.host_mounts:
        by_name = {v.name: _mounted(v, pod) for v in pod.host_mounts}  # a list map: admission may mount one twice
        status["volumes"] = list(by_name.values())
    elif state.stage is Stage.FINISHED and "volumes" in sandbox.status:
        status["volumes"] = sandbox.status["volumes"]  # the record of what it had
    return status


def first_ready(sandbox: Sandbox, pod: Pod | None) -> datetime | None:
    """When the Sandbox was Ready for the first time: as it was once told, or else since when this Pod is.

    A Pod that was done before anybody saw it Ready counts from its end.
    """
    counts = pod is not None and (pod.ready or pod.phase == "Succeeded")
    return sandbox.memory.started_at or (times.parse(pod.ready_since) if pod and counts else None)


def _phase(state: State, memory: Memory) -> str:
    resuming = state.phase == "Pending" and memory.phase in ("Paused", "Pausing", "Resuming")
    return "Resuming" if resuming else state.phase


def _restarts(verdict: Verdict, memory: Memory, now: datetime) -> dict[str, Any]:
    """How often it was made again in a row, and since when it waits for the next time."""
    if verdict.loss is not None:
        return {"restarts": verdict.loss.restarts, "lostAt": times.stamp(verdict.loss.at)}
    if verdict.state.stage in (Stage.PAUSED, Stage.FINISHED):
        return {}
    count = memory.restarts if verdict.state.stage is Stage.READY else memory.restarts_at(now)
    return {"restarts": count} if count else {}


def _built_from(sandbox: Sandbox, status: Mapping[str, Any], state: State) -> dict[str, Any]:
    """What losses and failures are counted for, so that a change of the deadline alone is no other try."""
    counts = "restarts" in status or "lostAt" in status or state.reason in GAVE_UP
    return {"builtFrom": sandbox.spec.digest} if counts and isinstance(sandbox.spec, SandboxSpec) else {}


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns one status into the other."""
    return {k: v for k, v in new.items() if old.get(k) != v} | {k: None for k in old if k not in new}


def happenings(old: Mapping[str, Any], new: Mapping[str, Any], state: State) -> list[Happening]:
    """The Events of a transition from one status to another, of which ``state`` is the reason.

    None for a normal first start, and none when a status is written again with the same reasons.
    """
    before, after = by_type(old), by_type(new)
    ready, was_ready = after.get("Ready"), before.get("Ready") or {}
    stalled, was = after.get("Stalled"), before.get("Stalled")
    found = []
    if stalled and (was is None or was["reason"] != stalled["reason"]):
        found.append(Happening("Warning", stalled["reason"], stalled["message"]))
    allowed, was_allowed = after.get("VolumesAllowed"), before.get("VolumesAllowed")
    lost = allowed and allowed["status"] == "False" and not stalled
    if lost and allowed and (was_allowed is None or was_allowed["status"] == "True"):
        found.append(Happening("Warning", allowed["reason"], allowed["message"]))
    if state.stage is Stage.MOVING and state.told and ready and ready["reason"] != was_ready.get("reason"):
        found.append(Happening("Warning", ready["reason"], ready["message"]))
    found += [
        Happening("Normal", rest["reason"], rest["message"])
        for rest in (after.get(kind) for kind in ("Paused", "Finished") if kind not in before)
        if rest
    ]
    goes_on = not after.keys() & {"Paused", "Finished"} and state.reason not in ("InvalidSpec", "SandboxDeleted")
    if "Paused" in before and goes_on:
        found.append(Happening("Normal", "Resumed", "paused is no longer true"))
    if was and not stalled:
        now_is = ready or after.get("Finished") or after.get("Paused") or {}
        found.append(Happening("Normal", "Recovered", f"no longer {was['reason']}: {now_is.get('message', '')}"))
    elif state.stage is Stage.READY and state.told and _was_in_trouble(before):
        found.append(Happening("Normal", "Recovered", f"no longer {was_ready['reason']}: {state.message}"))
    elif state.stage is Stage.READY and state.told and _was_made_again(old):
        found.append(Happening("Normal", "Recovered", f"the Pod was made again: {state.message}"))
    return found


def _was_made_again(old: Mapping[str, Any]) -> bool:
    """Whether the status is about a new Pod that follows a lost one."""
    reconciling = by_type(old).get("Reconciling")
    return bool(old.get("restarts")) and reconciling is not None and reconciling["reason"] in _STARTING


def _was_in_trouble(before: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the last thing that was said is one that an Event was written about."""
    return "Reconciling" in before and before["Reconciling"]["reason"] not in CALM


def is_denied_anew(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new status has denials that the old one had not, or others."""
    before, after = by_type(old).get("VolumesAllowed"), by_type(new).get("VolumesAllowed")
    if after is None or after["status"] == "True":
        return False
    return before is None or (before["status"], before["message"]) != ("False", after["message"])


def _conditions(
    sandbox: Sandbox, state: State, denials: Sequence[Denial] | None, now: datetime
) -> list[dict[str, Any]]:
    reason = state.reason if _REASON.fullmatch(state.reason) and len(state.reason) <= _MAX_REASON else "PodNotReady"
    wanted: list[tuple[str, str, str, str]] = []
    if state.stage in (Stage.FINISHED, Stage.PAUSED):
        wanted.append((state.stage.name.title(), "True", reason, state.message))
    else:
        wanted.append(("Ready", str(state.stage is Stage.READY), reason, state.message))
    if state.stage is Stage.MOVING:
        wanted.append(("Reconciling", "True", reason, state.message))
    if state.stage is Stage.STUCK:
        wanted.append(("Stalled", "True", reason, state.message))
    if denials:
        wanted.append(("VolumesAllowed", "False", denials[0].reason, "; ".join(d.message for d in denials)))
    elif denials is not None:
        wanted.append(("VolumesAllowed", "True", "Granted", "every host volume is on the allowlist"))
    before = by_type(sandbox.status)
    return [
        {
            "type": kind,
            "status": value,
            "observedGeneration": sandbox.generation,
            "lastTransitionTime": _since(before.get(kind), value, now),
            "reason": why,
            "message": _steady(before.get(kind), message),
        }
        for kind, value, why, message in wanted
    ]


def _steady(before: Mapping[str, Any] | None, message: str) -> str:
    """The message; as it stands when only an id in it differs, as from one try to the next."""
    if len(message) > _MAX_MESSAGE:
        message = message[: _MAX_MESSAGE - 3] + "..."
    if before is not None and _ID.sub("", before["message"]) == _ID.sub("", message):
        return str(before["message"])
    return message


def _since(before: Mapping[str, Any] | None, value: str, now: datetime) -> str:
    if before is not None and before["status"] == value:
        return str(before["lastTransitionTime"])
    return times.stamp(now)


def _mounted(volume: Volume, pod: Pod) -> dict[str, Any]:
    item: dict[str, Any] = {"name": volume.name, "readOnly": volume.read_only}
    if volume.host:
        item["root"] = volume.host.path
    if volume.sub_path:
        item["subPath"] = volume.sub_path
    if volume.mount_path in pod.recursive_read_only:
        item["recursiveReadOnly"] = pod.recursive_read_only[volume.mount_path]
    return item
