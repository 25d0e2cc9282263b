"""Why a Pod does not run, in Kubernetes' own words, from what its status says. Pure; on the API server's JSON.

The kubelet, the scheduler and the node controller each have a place of their own for it. What is found here does not
change while nothing happens: the kubelet's words alternate between a try and the wait for the next one, and a status
that followed would be written for ever.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sandmount import times
from sandmount.memory import RAN_WELL

_BACK_OFF = re.compile(r"Back-off pulling image .*?: (?P<reason>[A-Z]\w+): (?P<message>.*)", re.DOTALL)
_NEVER_RAN = timedelta(0)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something is not running: a CamelCase reason and a sentence."""

    reason: str
    message: str
    told: bool = True
    """Whether people should hear of it: not of an end of the container that the Pod's own follows."""
    again: bool = False
    """Whether it is one more of a row of crashes, of which one telling is enough."""


def find_trouble(spec: Mapping[str, Any], status: Mapping[str, Any], container: Mapping[str, Any]) -> Trouble | None:
    """Why a Pod with this spec and status is not ready, if that is said. ``container`` is the status of its own one.

    The most telling reason first: of a Pod that failed its own, then the container's, then the scheduler's.
    """
    if status.get("reason"):  # Evicted, NodeLost and the like; the container's exit code is only what came of it
        return Trouble(status["reason"], status.get("message") or "")
    state = container.get("state") or {}
    if waiting := state.get("waiting"):
        return _waiting(waiting, container)
    if ended := state.get("terminated"):
        # "Completed" is what a Sandbox says that is finished; here the container will be started again.
        reason = ended.get("reason")
        crash = _crash(reason if reason and reason != "Completed" else "ContainerEnded", ended, container)
        return replace(crash, told=crash.told and _starts_again(spec, ended))
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return Trouble(scheduled.get("reason") or "PodNotScheduled", scheduled.get("message") or "")
    ready = condition(status, "Ready")
    if ready.get("status") == "False" and ready.get("message"):
        return Trouble(ready.get("reason") or "ContainersNotReady", ready["message"])
    return None


def is_disrupted(spec: Mapping[str, Any], status: Mapping[str, Any], container: Mapping[str, Any]) -> bool:
    """Whether a Pod failed by something that was done to it: evicted, preempted, its node shut down or restarted.

    The control plane marks most of it with the condition DisruptionTarget, the kubelet with a reason of the Pod's own.
    A container that is always started again cannot fail its Pod by itself.
    """
    if status.get("phase") != "Failed":
        return False
    ended = (container.get("state") or {}).get("terminated") or {}
    return (
        bool(status.get("reason"))
        or condition(status, "DisruptionTarget").get("status") == "True"
        or ended.get("reason") == "ContainerStatusUnknown"
        or spec.get("restartPolicy") == "Always"
    )


def ever_ran(container: Mapping[str, Any]) -> bool:
    """Whether a container was started at least once."""
    states = (container.get("state") or {}, container.get("lastState") or {})
    return bool(container.get("restartCount")) or any("running" in s or "terminated" in s for s in states)


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of that type; empty when there is none."""
    return next((c for c in status.get("conditions") or () if c["type"] == kind), {})


def _waiting(waiting: Mapping[str, Any], container: Mapping[str, Any]) -> Trouble:
    reason, message = waiting.get("reason") or "ContainerWaiting", waiting.get("message") or ""
    last = (container.get("lastState") or {}).get("terminated")
    if reason == "CrashLoopBackOff" and last:
        crash = _crash("OOMKilled" if last.get("reason") == "OOMKilled" else reason, last, container)
        return replace(crash, message=f"{crash.message}; {message}" if message else crash.message)
    if found := _BACK_OFF.fullmatch(message):
        return Trouble(found["reason"], found["message"])
    return Trouble(reason, message)


def _crash(reason: str, ended: Mapping[str, Any], container: Mapping[str, Any]) -> Trouble:
    words = f"the container ended with exit code {ended.get('exitCode')}"
    if reason in ("OOMKilled", "CrashLoopBackOff") and ended.get("reason"):
        words += f" ({ended['reason']})"
    if ended.get("message"):
        words += f": {ended['message']}"
    count = container.get("restartCount") or 0
    if count:
        words += f"; it was started again {count} time{'s' if count > 1 else ''}"
    return Trouble(reason, words, again=count > 0 and _ran_for(ended) < RAN_WELL)


def _starts_again(spec: Mapping[str, Any], ended: Mapping[str, Any]) -> bool:
    """Whether the kubelet starts a container again that ended so."""
    policy = spec.get("restartPolicy")
    return policy != "Never" and not (policy == "OnFailure" and ended.get("exitCode") == 0)


def _ran_for(ended: Mapping[str, Any]) -> timedelta:
    start, end = times.parse(ended.get("startedAt")), times.parse(ended.get("finishedAt"))
    return end - start if start and end else _NEVER_RAN
