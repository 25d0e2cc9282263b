"""The table of DESIGN.md, asked of one Sandbox: in what its status, its Pod and the list do not fit each other.

Each function gives faults in order, of which only the first counts; one that is empty is none. A fault may still come
right, and is one only when it stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tests.statemachine.lists import Mount
from tests.statemachine.model import (
    LATE,
    MOST_RESTARTS,
    Seen,
    differs,
    is_ready,
    mounts_of,
    owner_of,
    stamp,
    wanted,
    was_late,
)

FAILED = {"Ready": ("False", "PodFailed"), "Stalled": ("True", "PodFailed")}


def misfit(seen: Seen) -> str:
    """What does not fit; empty when all does."""
    faults = _gone(seen) if seen.sandbox is None else _there(seen)
    return next((words for words in faults if words), "")


def kind_of(seen: Seen) -> str:
    """What it is, for people."""
    if seen.sandbox is None:
        return "gone"
    if rest := next((kind for kind in ("Finished", "Paused") if kind in seen.conditions), ""):
        return f"{rest} {seen.conditions[rest]['reason']}"
    ready, mounts = seen.conditions["Ready"], mounts_of(seen.pod) if seen.pod else ()
    return f"{ready['reason']}{', with host directories' if mounts else ''}"


def _gone(seen: Seen) -> Iterator[str]:
    if seen.pod is not None:
        yield "the Sandbox is gone, and its Pod is not"
    if not seen.past.removed and not seen.past.may_be_gone(seen.now):
        yield "it is gone although nobody deleted it and nothing let it expire"


def _there(seen: Seen) -> Iterator[str]:
    if seen.metadata.get("deletionTimestamp"):
        yield "it is being deleted"
    if seen.past.removed:
        yield "it was deleted and is still there"
    if seen.pod is not None and seen.pod["metadata"].get("deletionTimestamp"):
        yield "its Pod is ending"
    yield from _bookkeeping(seen)
    yield from _state(seen)


def _bookkeeping(seen: Seen) -> Iterator[str]:
    """What holds in every state."""
    status, pod, generation = seen.status, seen.pod, seen.metadata["generation"]
    outdated = [kind for kind, c in seen.conditions.items() if c.get("observedGeneration") != generation]
    if status.get("observedGeneration") != generation or outdated:
        yield f"observedGeneration is not {generation}: {status.get('observedGeneration')} {outdated}"
    if status.get("podName") != (pod["metadata"]["name"] if pod else None):
        yield f"podName is {status.get('podName')}, the Pod is {'there' if pod else 'not there'}"
    if pod and owner_of(pod) != seen.metadata["uid"]:
        yield "its Pod belongs to another Sandbox"
    if pod and status.get("podIP") != pod["status"].get("podIP"):
        yield f"podIP is {status.get('podIP')}, the Pod's {pod['status'].get('podIP')}"
    if pod and pod["spec"].get("nodeName") and status.get("nodeName") != pod["spec"]["nodeName"]:
        yield f"nodeName is {status.get('nodeName')}, the Pod's {pod['spec']['nodeName']}"
    finished = "Finished" in seen.conditions  # then it is a record of what it was
    if not finished and status.get("expiresAt") != (stamp(seen.end) if seen.end else None):
        yield f"expiresAt is {status.get('expiresAt')}, and should be {seen.end}"
    if status.get("restarts", 0) > max(seen.past.losses, seen.ends):
        # kwok deletes by name: its second deletion of a Pod that ends can hit the next one, which we did not ask for
        yield f"restarts is {status['restarts']} after {seen.past.losses} losses and the end of {seen.ends} Pods"
    shown = {Mount(v["name"], v["root"], v.get("subPath", ""), v["readOnly"]) for v in status.get("volumes") or ()}
    if pod and shown != mounts_of(pod):
        yield f"volumes is {shown}, the Pod has {set(mounts_of(pod))}"


def _state(seen: Seen) -> Iterator[str]:
    over, pod = seen.end is not None and seen.end <= seen.now, seen.pod
    decisions = [seen.listing.decide(w) for w in wanted(seen.spec)]
    reasons = [d for d in decisions if isinstance(d, str)]
    if "Finished" in seen.conditions:
        yield from _finished(seen)
    elif over:
        yield "its deadline has passed, and it is not finished"
    elif pod is not None and pod["status"].get("phase") == "Succeeded":
        yield "its Pod has succeeded, and it is not finished"
    elif seen.spec.get("paused"):
        yield "it is paused, and has a Pod" if pod else _says(seen, "Paused", Paused=("True", "Paused"))
    elif reasons:
        yield from _denied(seen, reasons[0])
    else:
        yield from _allowed(seen, frozenset(d for d in decisions if isinstance(d, Mount)))


def _finished(seen: Seen) -> Iterator[str]:
    reason, pod, past = seen.conditions["Finished"]["reason"], seen.pod, seen.past
    over = reason == "Expired" or (seen.end is not None and seen.end <= seen.now)
    kept = was_late(seen.spec, past.created) and "startedAt" not in seen.status
    if over and seen.spec.get("expiryPolicy") == "Delete" and not kept:
        yield "it has expired, and is not deleted although its expiryPolicy is Delete"
    if reason == "Expired":
        if not past.may_have_expired(seen.now):
            yield "it has expired, although no deadline of it has passed"
        yield "it has expired, and has a Pod" if pod else _says(seen, "Terminated", Finished=("True", "Expired"))
        return
    if not past.succeeded:
        yield "it is finished, although no Pod of it succeeded"
    if pod is not None and pod["status"]["phase"] not in ("Succeeded", "Failed"):
        yield "it is finished, and has a Pod that runs"
    yield _says(seen, "Succeeded", Finished=("True", "Completed"))


def _denied(seen: Seen, reason: str) -> Iterator[str]:
    """Denied by the list; a list with mistakes lets that go on which ran before."""
    pod, denied = seen.pod, ("False", reason)
    stalled = {"Ready": denied, "Stalled": ("True", reason), "VolumesAllowed": denied}
    if has_failed(seen):
        yield _says(seen, "Failed", **FAILED, VolumesAllowed=denied)
        return
    if pod is None:
        yield _says(seen, "Failed", **stalled)
        return
    if not seen.listing.lenient:
        yield f"it is denied ({reason}), and has a Pod"
    if pod["metadata"]["uid"] in seen.doubtful:
        yield f"its Pod was made when it was denied already ({reason}), and is still there"
    if differs(pod, seen.spec):
        yield _says(seen, "Failed", **stalled)
    elif not is_ready(pod):
        yield "its Pod is kept, and is not ready"
    else:
        yield _says(seen, "Running", Ready=("True", "PodReady"), VolumesAllowed=denied)


def _allowed(seen: Seen, grants: frozenset[Mount]) -> Iterator[str]:
    pod, granted = seen.pod, ("True", "Granted")
    if pod is not None and mounts_of(pod) != grants:
        yield f"its Pod mounts {set(mounts_of(pod))}, and {set(grants)} is granted"
    if pod is not None and (difference := differs(pod, seen.spec)):
        yield f"its Pod has another {difference}"
    if has_failed(seen):
        yield _says(seen, "Failed", **FAILED, VolumesAllowed=granted)
    elif pod is None:
        yield "" if _waits(seen) else "it is allowed, and has no Pod"
    elif not is_ready(pod):
        yield f"its Pod is not ready: {pod['status'].get('phase')} {pod['status'].get('reason', '')}"
    else:
        yield _says(seen, "Running", Ready=("True", "PodReady"), VolumesAllowed=granted)


def has_failed(seen: Seen) -> bool:
    """Whether its work has failed, with the spec as it is; the Pod that shows it may be gone by now."""
    if seen.pod is not None:
        return seen.pod["status"].get("phase") == "Failed" and seen.past.has_failed(seen.spec, seen.pod)
    told = seen.conditions.get("Stalled", {}).get("reason")
    return told == "PodFailed" and seen.past.has_failed(seen.spec)


def _waits(seen: Seen) -> bool:
    """Whether it lost its Pod more than once, and the next one is not due."""
    due, conditions = seen.due, seen.conditions
    if due is None or not 2 <= seen.status.get("restarts", 0) <= MOST_RESTARTS:
        return False
    moving = {"Ready": "False", "Reconciling": "True", "VolumesAllowed": "True"}
    return {k: c["status"] for k, c in conditions.items()} == moving and seen.now < due + timedelta(seconds=LATE)


def _says(seen: Seen, phase: str, **expected: tuple[str, str]) -> str:
    """In what the conditions are others than these, with status and reason, or the phase is another."""
    found = {kind: (c["status"], c["reason"]) for kind, c in seen.conditions.items()}
    if found != expected:
        return f"its conditions are {found}, and should be {expected}"
    if seen.status.get("phase") != phase:
        return f"its phase is {seen.status.get('phase')}, and should be {phase}"
    return "it has lostAt, and does not wait for a Pod" if "lostAt" in seen.status else ""
