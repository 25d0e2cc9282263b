"""What a Sandbox's own Pod, and the node that it is on, say about the Sandbox. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from sandmount import paths
from sandmount.memory import OURS
from sandmount.observe import Node, Pod
from sandmount.status import CALM, Stage, State, moving, stuck

OVERDUE = timedelta(seconds=5)
"""So much after its time to end, a Pod that is still there is looked into: the kubelet needs a second or two."""

FIRST_EVENTS = 2.0
"""Seconds after a Pod got its node when its Events are first read: most Pods run by then."""

LONGEST_BETWEEN_EVENTS = 60.0
_SILENT = frozenset({"ContainerCreating", "PodInitializing", "ContainersNotReady"})


def state_of(pod: Pod, node: Node | None) -> State:
    """How far a Pod is that nobody has asked to end. ``node`` is the one that it is on, or is kept to, if known."""
    trouble = pod.trouble
    words, reason = (trouble.message, trouble.reason) if trouble else ("", "")
    if reason in OURS:  # ours, and read back: an Event or a Pod's status may be anybody's
        reason = "PodNotReady"
    match pod.phase:
        case "Succeeded":
            return State(Stage.FINISHED, "Succeeded", "Completed", "the container ended with exit code 0")
        case "Failed":
            return stuck("PodFailed", f"the Pod failed: {_sentence([reason, words])}")
        case _ if pod.ready:
            return State(Stage.READY, "Running", "PodReady", "the container runs", told=not pod.restarted)
    if node is not None and pod.cut_off and not (node.found and node.ready):
        return moving("NodeNotReady", f"{_about(node)}; the Pod may still run there", told=True)
    told = trouble is not None and trouble.told and reason not in CALM
    state = moving(reason or "PodPending", _explained(pod, reason, words), told=told)
    return replace(state, again=trouble is not None and trouble.again)


def state_of_ending(pod: Pod, node: Node | None, now: datetime) -> State:
    """How far a Pod is that was asked to end, and is to be followed by another."""
    if not is_overdue(pod, now):
        return moving("PodTerminating", "waiting for the previous Pod to end")
    if node is not None and not (node.found and node.ready):
        words = f"{_about(node)}; its Pod cannot be told to end, and no other is made as long as it may still run"
        return moving("NodeLost", words, told=True)
    words = "the previous Pod should have ended and is still there; a finalizer may hold it, or its node is slow"
    return moving("PodTerminating", words)


def is_overdue(pod: Pod, now: datetime) -> bool:
    """Whether a Pod should have ended by now."""
    return pod.ends_at is not None and now >= pod.ends_at + OVERDUE


def events_due(pod: Pod, now: datetime) -> float | None:
    """Seconds until the Events of a Pod are to be read again, 0 for now; None when its status says all there is.

    A volume that cannot be set up, or a network that is missing, is told nowhere else. The kubelet tries again and
    again, ever more slowly, and so does this.
    """
    if pod.deleting or pod.phase != "Pending" or not _is_silent(pod) or pod.scheduled_at is None:
        return None
    left = FIRST_EVENTS - (now - pod.scheduled_at).total_seconds()
    return left if 0 < left <= FIRST_EVENTS else 0.0  # its clock may be ahead of ours


def is_step_to_start(before: Pod, now: Pod) -> bool:
    """Whether a Pod only came nearer to its start: there is nothing to be done, and it may be Ready in a moment."""
    if now.phase != "Pending" or not (_is_silent(before) and _is_silent(now)):
        return False
    step = replace(
        before,
        resource_version=now.resource_version,
        node_name=now.node_name,
        scheduled_at=now.scheduled_at,
        pod_ip=now.pod_ip,
        ready_since=now.ready_since,
        trouble=now.trouble,
    )
    return step == now


def events_again(pod: Pod, now: datetime) -> float:
    """Seconds until they are read once more."""
    age = (now - pod.scheduled_at).total_seconds() if pod.scheduled_at else 0.0
    return min(max(FIRST_EVENTS, age / 2), LONGEST_BETWEEN_EVENTS)


def _is_silent(pod: Pod) -> bool:
    """Whether its status says nothing of what may be in its way."""
    return pod.trouble is None or pod.trouble.reason in _SILENT


def _about(node: Node) -> str:
    """What is wrong with a node."""
    if not node.found:
        return f'node "{node.name}" is gone'
    return f'node "{node.name}" is not ready: {node.message.rstrip(".")}'


def _explained(pod: Pod, reason: str, words: str) -> str:
    if not words:
        return _without_words(pod, reason)
    if reason == "Unschedulable" and pod.kept_to:
        return f'{words.rstrip(".")}; it waits for node "{pod.kept_to}", where its host directories are'
    return _with_place(pod, words)


def _without_words(pod: Pod, reason: str) -> str:
    """The kubelet says nothing in a Pod's status while a volume is missing, only in Events."""
    roots = ", ".join(f'"{v.host.path}"' for v in pod.host_mounts if v.host)
    if reason == "ContainerCreating" and roots:
        return f'the container is being created; if it stays so: is {roots} a directory on node "{pod.node_name}"?'
    return "the Pod is being started"


def _with_place(pod: Pod, words: str) -> str:
    """The kubelet's words on a refused subPath, with the place that they are about: it names only the volume."""
    for volume in pod.host_mounts:
        if volume.host and volume.sub_path and "subPath" in words and f'"{volume.name}"' in words:
            root = volume.host.path
            place = paths.join(root, volume.sub_path)
            return f'{words}: it is "{place}" on the node, and a link there that leads out of "{root}" is refused'
    return words


def _sentence(parts: Iterable[str]) -> str:
    return ": ".join(p for p in parts if p) or "no reason is given"
