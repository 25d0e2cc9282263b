"""What the tests of a Sandbox's whole life share: Pods in every state, and an operator that is started again."""

from datetime import datetime, timedelta
from typing import Any

from sandmount import times
from tests.unit.builders import KEY, NOW, Json
from tests.unit.world import World


def at(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    """The same, as it is written."""
    return times.stamp(at(seconds))


def container(ready: bool = False, count: int = 0, last: Json | None = None, **state: Any) -> list[Json]:
    """The statuses of a Pod's containers: ours in this state."""
    return [{"name": "sandbox", "ready": ready, "restartCount": count, "state": state, "lastState": last or {}}]


def scheduled(seconds: float = 0) -> Json:
    """A Pod's condition that it has a node, since so many seconds after NOW."""
    return {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(seconds)}


def node(name: str = "node-1", ready: str = "True", **labels: str) -> Json:
    """A Linux node as the API server has it."""
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **labels}},
        "status": {"conditions": [{"type": "Ready", "status": ready, "message": "kubelet says so"}]},
    }


async def running(w: World, **fields: Any) -> None:
    """A Sandbox whose Pod is ready on node-1, and whose status says so."""
    w.apply(**fields)
    await w.settle()
    place(w)
    w.run_pod()
    await w.settle()
    w.api.calls.clear()


def place(w: World, name: str = "node-1") -> None:
    """The scheduler gives the Pod a node."""
    w.api.pods[KEY]["spec"]["nodeName"] = name
    w.api.keep("Pod", w.api.pods[KEY])


async def look(w: World) -> None:
    """Both objects are seen once more, unchanged, and all that follows at once is done."""
    if KEY in w.api.sandboxes:
        w.watch("Sandbox", w.api.sandboxes[KEY])
    if KEY in w.api.pods:
        w.watch("Pod", w.api.pods[KEY])
    await w.settle()


def evict(w: World, reason: str = "Evicted", message: str = "The node was low on resource: memory.") -> None:
    """The kubelet ends a Pod that did nothing wrong."""
    ended = container(terminated={"exitCode": 137, "reason": "Error"})
    w.change_pod(phase="Failed", reason=reason, message=message, conditions=[scheduled()], containerStatuses=ended)


async def hand_over(old: World, new: World) -> None:
    """The operator is started again: another Reconciler, and the same cluster."""
    old.api.changed = lambda _kind, _raw: None
    new.now = old.now
    new.api.version = old.api.version
    for kind, objects in (("Pod", old.api.pods), ("Sandbox", old.api.sandboxes)):
        for raw in objects.values():
            new.api.keep(kind, raw)
    new.api.nodes |= old.api.nodes
    await new.settle()
