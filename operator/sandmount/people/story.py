"""``kubectl sandbox why``: one Sandbox from its spec to what its Pod last met with, in plain words. Pure.

Every sentence comes from what the API server has; nothing is decided again here, so it can never say otherwise than the
operator.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sandmount import times
from sandmount.api import CONTAINER
from sandmount.memory import by_type
from sandmount.observe import NEVER, last_seen
from sandmount.people.words import shown, since, until

LAST_EVENTS = 8

Object = Mapping[str, Any]


def story(
    sandbox: Object, pod: Object | None, events: Sequence[Object], now: datetime, *, hidden: bool = False
) -> Iterator[str]:
    """The lines, the most important one first.

    ``events`` are those about the Sandbox and about its Pod, in any order. ``hidden``: who asks may not see Pods.
    """
    yield headline(sandbox, now)
    yield from _spec(sandbox)
    yield from _volumes(sandbox)
    if hidden:
        name = (sandbox.get("status") or {}).get("podName")
        yield f"  Pod       {f'{shown(name)}; ' if name else ''}you may not see Pods here"
    else:
        yield from _pod(pod, now)
    yield from _deadline(sandbox, now)
    yield from _events(events, now)


def headline(sandbox: Object, now: datetime) -> str:
    """What it is, and since when."""
    metadata, status = sandbox["metadata"], sandbox.get("status") or {}
    name = f"{metadata['namespace']}/{metadata['name']}"
    conditions = by_type(status)
    if "deletionTimestamp" in metadata:
        return f"{name} is being deleted, {since(times.parse(metadata['deletionTimestamp']), now)}"
    if status.get("observedGeneration", -1) < metadata.get("generation", 1):
        age = since(times.parse(metadata.get("creationTimestamp")), now)
        return f"{name}: the operator has not seen its spec as it is now (created {age} ago); is it running?"
    for kind, words in (("Finished", "has ended"), ("Paused", "is paused"), ("Stalled", "needs your help")):
        if kind in conditions:
            return f"{name} {words}: {_why(conditions[kind], now)}"
    ready = conditions.get("Ready", {})
    if ready.get("status") == "True":
        return f"{name} is ready: {_why(ready, now)}"
    return f"{name} is not ready yet: {_why(ready, now)}" if ready else f"{name}: nothing is known of it yet"


def _why(condition: Object, now: datetime) -> str:
    age = since(times.parse(condition.get("lastTransitionTime")), now)
    return f"{shown(condition.get('reason'))}, for {age}: {shown(condition.get('message'))}"


def _spec(sandbox: Object) -> Iterator[str]:
    spec = sandbox.get("spec") or {}
    command = spec.get("entrypoint")
    runs = "stays alive" if command is None else shown(" ".join(map(str, command))) or "what the image starts"
    yield f"  runs      {shown(spec.get('image'))}: {runs}"


def _volumes(sandbox: Object) -> Iterator[str]:
    status = sandbox.get("status") or {}
    granted = {v.get("name"): v for v in status.get("volumes") or ()}
    allowed = by_type(status).get("VolumesAllowed")
    for volume in (sandbox.get("spec") or {}).get("volumes") or ():
        yield f"  volume    {shown(volume.get('name'))}: {_volume(volume, granted.get(volume.get('name')))}"
    if allowed and allowed.get("status") == "False":
        yield f"  denied    {shown(allowed.get('message'))}"


def _volume(volume: Object, granted: Object | None) -> str:
    access = "read-only" if volume.get("readOnly") else "read and write"
    where = f"at {shown(volume.get('mountPath'))}, {access}"
    below = f", its directory {shown(volume['subPath'])}" if volume.get("subPath") else ""
    if "host" not in volume:
        source = f"claim {shown(volume['pvc'].get('claimName'))}" if volume.get("pvc") else "an empty directory"
        return f"{source}{below} {where}"
    path = f"host directory {shown(volume['host'].get('path'))}{below} {where}"
    return f"{path}; granted by the entry {shown(granted.get('root'))}" if granted else f"{path}; not mounted"


def _pod(pod: Object | None, now: datetime) -> Iterator[str]:
    if pod is None:
        yield "  Pod       there is none"
        return
    status = pod.get("status") or {}
    node, address = pod.get("spec", {}).get("nodeName"), status.get("podIP")
    ending = ", being deleted" if "deletionTimestamp" in pod["metadata"] else ""
    where = f" on node {shown(node)}" if node else ", on no node yet"
    yield f"  Pod       {shown(status.get('phase'))}{where}{f', address {shown(address)}' if address else ''}{ending}"
    for container in status.get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            yield f"  container {_container(container, now)}"


def _container(container: Object, now: datetime) -> str:
    state = container.get("state") or {}
    kind = next(iter(state), "waiting")
    about = state.get(kind) or {}
    restarts = f", started again {container['restartCount']} times" if container.get("restartCount") else ""
    if kind == "running":
        return f"running for {since(times.parse(about.get('startedAt')), now)}{restarts}"
    if kind == "terminated":
        return f"ended with exit code {about.get('exitCode')} ({shown(about.get('reason'))}){restarts}"
    words = f": {shown(about['message'])}" if about.get("message") else ""
    return f"waiting, {shown(about.get('reason') or 'to be started')}{words}{restarts}"


def _deadline(sandbox: Object, now: datetime) -> Iterator[str]:
    ends = times.parse((sandbox.get("status") or {}).get("expiresAt"))
    if ends is not None:
        policy = (sandbox.get("spec") or {}).get("expiryPolicy") or "Retain"
        yield f"  ends      {until(ends, now)}, at {times.stamp(ends)} ({policy})"


def _events(events: Sequence[Object], now: datetime) -> Iterator[str]:
    """The last ones, as they came."""
    for event in sorted(events, key=_when)[-LAST_EVENTS:]:
        kind = (event.get("involvedObject") or {}).get("kind")
        age, words = since(_when(event), now), shown(event.get("message"))
        yield f"  {age + ' ago':9} {shown(kind)} {shown(event.get('reason'))}: {words}"


def _when(event: Object) -> datetime:
    """When it was seen last, or at least made."""
    found = last_seen(event)
    return found if found > NEVER else times.parse(event["metadata"].get("creationTimestamp")) or NEVER
