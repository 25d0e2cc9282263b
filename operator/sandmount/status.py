"""compute_status: what was found to the status that kubectl wait, kstatus, Argo CD and Flux read.

Pure. All conditions are computed from what was observed, at each pass; none is edited step by step. Reconciling and
Stalled are abnormal-true: absent when all is normal (sigs.k8s.io/cli-utils, pkg/kstatus).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sandmount.allowlist import Denial
from sandmount.api import Volume
from sandmount.observe import Pod, Sandbox

_REASON = re.compile(r"[A-Za-z](?:[A-Za-z0-9_,:]*[A-Za-z0-9_])?", re.ASCII)  # metav1.Condition.reason
_MAX_REASON = 1024
_MAX_MESSAGE = 4096


class Stage(Enum):
    """How far a Sandbox is; each gives one set of conditions."""

    READY = "it runs"
    MOVING = "something is under way that may still succeed"
    STUCK = "nothing will change until somebody changes something"
    FINISHED = "it ran to its end, and stays so"


@dataclass(frozen=True, slots=True)
class State:
    """What there is to say about a Sandbox. ``phase`` is for printing only; ``reason`` is CamelCase."""

    stage: Stage
    phase: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that the status says. ``denials`` is None when the spec could not be judged, empty when all is allowed."""

    state: State
    denials: tuple[Denial, ...] | None = None


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
    state = verdict.state
    status: dict[str, Any] = {
        "observedGeneration": sandbox.generation,
        "phase": state.phase,
        "conditions": _conditions(sandbox, state, verdict.denials, now),
    }
    if pod is not None:
        found = {"podName": pod.name, "podIP": pod.pod_ip, "nodeName": pod.node_name}
        status |= {k: v for k, v in found.items() if v}
    started = sandbox.status.get("startedAt") or (pod.ready_since if pod and state.stage is Stage.READY else None)
    if started:
        status["startedAt"] = started
    if pod is not None and pod.host_mounts:
        by_name = {v.name: _mounted(v, pod) for v in pod.host_mounts}  # a list map: admission may mount one twice
        status["volumes"] = list(by_name.values())
    elif state.stage is Stage.FINISHED and "volumes" in sandbox.status:
        status["volumes"] = sandbox.status["volumes"]  # the record of what it had
    return status


def finished_condition(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The stored condition which says that the Sandbox ran to its end; it then never runs again."""
    finished = _by_type(status).get("Finished")
    return finished if finished and finished["status"] == "True" else None


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns one status into the other."""
    return {k: v for k, v in new.items() if old.get(k) != v} | {k: None for k in old if k not in new}


def happenings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Happening]:
    """The Events of a transition: what got stuck, what lost its permission while running, and that it is over.

    None for a normal first start, and none when a status is written again with the same reasons.
    """
    before, after = _by_type(old), _by_type(new)
    found = []
    stalled, was = after.get("Stalled"), before.get("Stalled")
    if stalled and (was is None or was["reason"] != stalled["reason"]):
        found.append(Happening("Warning", stalled["reason"], stalled["message"]))
    allowed, was_allowed = after.get("VolumesAllowed"), before.get("VolumesAllowed")
    lost = allowed and allowed["status"] == "False" and not stalled
    if lost and allowed and (was_allowed is None or was_allowed["status"] == "True"):
        found.append(Happening("Warning", allowed["reason"], allowed["message"]))
    if was and not stalled:
        ready = after.get("Ready") or after.get("Finished") or {}
        found.append(Happening("Normal", "Recovered", f"no longer {was['reason']}: {ready.get('message', '')}"))
    return found


def is_denied_anew(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new status has denials that the old one had not, or others."""
    before, after = _by_type(old).get("VolumesAllowed"), _by_type(new).get("VolumesAllowed")
    if after is None or after["status"] == "True":
        return False
    return before is None or (before["status"], before["message"]) != ("False", after["message"])


def _conditions(
    sandbox: Sandbox, state: State, denials: Sequence[Denial] | None, now: datetime
) -> list[dict[str, Any]]:
    reason = state.reason if _REASON.fullmatch(state.reason) and len(state.reason) <= _MAX_REASON else "PodNotReady"
    wanted: list[tuple[str, str, str, str]] = []
    if state.stage is Stage.FINISHED:
        wanted.append(("Finished", "True", reason, state.message))
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
    before = _by_type(sandbox.status)
    return [
        {
            "type": kind,
            "status": value,
            "observedGeneration": sandbox.generation,
            "lastTransitionTime": _since(before.get(kind), value, now),
            "reason": why,
            "message": message if len(message) <= _MAX_MESSAGE else message[: _MAX_MESSAGE - 3] + "...",
        }
        for kind, value, why, message in wanted
    ]


def _since(before: Mapping[str, Any] | None, value: str, now: datetime) -> str:
    if before is not None and before["status"] == value:
        return str(before["lastTransitionTime"])
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _by_type(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {c["type"]: c for c in status.get("conditions") or ()}


def _mounted(volume: Volume, pod: Pod) -> dict[str, Any]:
    item: dict[str, Any] = {"name": volume.name, "readOnly": volume.read_only}
    if volume.host:
        item["root"] = volume.host.path
    if volume.sub_path:
        item["subPath"] = volume.sub_path
    if volume.mount_path in pod.recursive_read_only:
        item["recursiveReadOnly"] = pod.recursive_read_only[volume.mount_path]
    return item
