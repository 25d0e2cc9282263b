"""What is kept of an object that the API server sent: the few facts that decisions are made of.

Whole objects are not kept: a Pod is tens of kilobytes, and nothing may depend on a field that is not named here.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sandmount import times
from sandmount.api import (
    ANNOTATION_BUILT_FROM,
    API_VERSION,
    CONTAINER,
    KIND,
    LABEL_SANDBOX,
    LABEL_SANDBOX_UID,
    MAX_NAME,
    HostDirectory,
    InvalidSpec,
    SandboxSpec,
    Volume,
    parse_spec,
)
from sandmount.memory import CONDITION, Memory, recall
from sandmount.trouble import Trouble, condition, ever_ran, find_trouble, is_disrupted

_COLLECTORS = {"foregroundDeletion", "orphan"}
"""Finalizers of the garbage collector itself."""

NEVER = datetime.min.replace(tzinfo=UTC)

SHORT = 64
"""Characters of a text that may stand in many objects, as reasons and times do."""

VOLUMES = 4096
"""Mounts of Pods that are remembered, as many as there may be in Pods that are being started."""

LONGEST_MOUNT = 512
"""Characters of the paths of a mount that is remembered, so that all of them have some megabytes at most."""

LATELY = timedelta(seconds=150)
"""The kubelet says at least so often that a volume is still missing."""

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A Sandbox; ``status`` is the stored one, as it is on the wire."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    deleting: bool
    held: bool
    """Whether somebody's finalizer keeps it although it is being deleted; the garbage collector then leaves its Pod."""
    spec: SandboxSpec | InvalidSpec
    status: Mapping[str, Any]
    memory: Memory
    """What that status says about the past."""
    created: datetime | None = None

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Node:
    """A node that was looked up by its name; not ``found`` when there is no such node."""

    name: str
    found: bool
    ready: bool = False
    message: str = ""
    """What its condition Ready says."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pod:
    """A Pod that has a Sandbox's name or our label."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    owner_uid: str | None
    """uid of the controller in ownerReferences."""
    owner: str
    """That controller for people, as ``ReplicaSet web-1``; ``nobody`` without one."""
    labelled: bool
    """Whether our label names the Pod itself, as on every Pod of ours; on a copy under another name it does not."""
    made_for: str | None
    """uid of the Sandbox that the Pod was made for, by our own label: outlives the removal of the owner reference."""
    owned_by_namesake: bool
    """Whether the controller is a Sandbox of the Pod's name, today's or an earlier one."""
    built_from: str
    deleting: bool
    phase: str
    ready: bool
    ready_since: str | None
    """When the Ready condition last changed, RFC 3339."""
    started: bool
    """Whether its container ever ran; a Pod that never did has touched nothing."""
    pod_ip: str
    node_name: str
    grace: int
    """Seconds that its spec gives it to end."""
    host_mounts: tuple[Volume, ...]
    """What it has of the host in any of its containers, whatever the Sandbox asks for by now."""
    trouble: Trouble | None
    """Why it is not ready, when the Pod's status says so."""
    recursive_read_only: Mapping[str, str] = field(default_factory=dict)
    """Mount path to ``Enabled`` or ``Disabled``, as the kubelet reports it."""
    disrupted: bool = False
    """Whether it failed for a reason that is not its container's own: it may do better on another try."""
    ends_at: datetime | None = None
    """When its time to end is over; None when nobody has asked it to."""
    scheduled_at: datetime | None = None
    """When it got its node."""
    kept_to: str = ""
    """The one node that its affinity names."""
    cut_off: bool = False
    """Whether its container is ready as the kubelet last said, and the Pod is not: its node may be lost."""
    restarted: bool = False
    """Whether the kubelet has started its container again."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def is_left_over(self) -> bool:
        """Whether it is a Pod of ours whose owner is gone, or is a Sandbox of the same name that may be."""
        ours = self.labelled and self.made_for is not None and bool(self.built_from)
        return ours and (self.owner_uid is None or self.owned_by_namesake)


def parse_named_spec(name: str, raw: object) -> SandboxSpec | InvalidSpec:
    """The spec of a Sandbox of that name, or what is wrong with either."""
    if len(name) > MAX_NAME:
        return InvalidSpec((f"metadata.name: has {len(name)} characters; at most {MAX_NAME}",))
    return parse_spec(raw)


def parse_sandbox(raw: Mapping[str, Any], known: Sandbox | None = None) -> Sandbox:
    """A Sandbox from the API server's JSON. The spec is not read again when it is ``known`` with this generation."""
    metadata, status = raw["metadata"], _stored_status(raw.get("status"))
    if known is not None and (known.uid, known.generation) == (metadata["uid"], metadata.get("generation")):
        spec = known.spec
    else:
        spec = parse_named_spec(metadata["name"], _sharing_text(raw.get("spec")))
    return Sandbox(
        namespace=_shared(metadata["namespace"]),
        name=_shared(metadata["name"]),
        uid=_shared(metadata["uid"]),
        resource_version=metadata["resourceVersion"],
        generation=metadata.get("generation", 1),
        deleting="deletionTimestamp" in metadata,
        held=bool(set(metadata.get("finalizers") or ()) - _COLLECTORS),
        spec=spec,
        status=status,
        memory=recall(status, metadata.get("generation", 1), lambda: getattr(spec, "digest", "")),
        created=times.parse(metadata.get("creationTimestamp")),
    )


def _stored_status(raw: object) -> Mapping[str, Any]:
    """The status without conditions that are none. The schema refuses those, unless somebody took it away.

    What is left out differs from what is computed, so the next write mends it.
    """
    status = _sharing_text(raw) if isinstance(raw, dict) else {}
    conditions = status.get("conditions") or []
    if isinstance(conditions, list) and all(_is_condition(c) for c in conditions):
        return status
    return {k: v for k, v in status.items() if k != "conditions"}


def _sharing_text(value: Any) -> Any:
    """The same with names and short texts shared with all other objects, which spares 4 KB of each Sandbox."""
    if isinstance(value, str):
        return _shared(value)
    if isinstance(value, dict):  # not Mapping: an abstract class is asked ten times as long
        return {sys.intern(k): _sharing_text(v) for k, v in value.items()}
    return [_sharing_text(v) for v in value] if isinstance(value, list) else value


def _shared(text: str) -> str:
    """The same text, kept once for all that have it as long as it is short."""
    return sys.intern(text) if len(text) <= SHORT else text


def _is_condition(item: object) -> bool:
    return isinstance(item, dict) and all(isinstance(item.get(k), str) for k in CONDITION)


def parse_pod(raw: Mapping[str, Any]) -> Pod:
    """A Pod from the API server's JSON."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    labels = metadata.get("labels") or {}
    owner = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), None)
    ready = condition(status, "Ready")
    # By name: admission may have added containers, and the kubelet sorts.
    container = _named(status.get("containerStatuses"), CONTAINER)
    namesake = [KIND, API_VERSION, metadata["name"]]
    return Pod(
        namespace=_shared(metadata["namespace"]),
        name=_shared(metadata["name"]),
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owner_uid=_shared(owner["uid"]) if owner else None,
        owner=f"{owner['kind']} {owner['name']}" if owner else "nobody",
        labelled=labels.get(LABEL_SANDBOX) == metadata["name"],
        made_for=_shared(labels[LABEL_SANDBOX_UID]) if LABEL_SANDBOX_UID in labels else None,
        owned_by_namesake=bool(owner and [owner[k] for k in ("kind", "apiVersion", "name")] == namesake),
        built_from=(metadata.get("annotations") or {}).get(ANNOTATION_BUILT_FROM, ""),
        deleting="deletionTimestamp" in metadata,
        phase=_shared(status.get("phase", "Pending")),
        ready=ready.get("status") == "True",
        ready_since=ready.get("lastTransitionTime"),
        started=ever_ran(container),
        pod_ip=_shared(status.get("podIP", "")),
        node_name=_shared(spec.get("nodeName", "")),
        grace=spec.get("terminationGracePeriodSeconds", 30),
        host_mounts=_host_mounts(spec),
        trouble=find_trouble(spec, status, container),
        recursive_read_only={
            m["mountPath"]: m["recursiveReadOnly"]
            for m in container.get("volumeMounts") or ()
            if "recursiveReadOnly" in m
        },
        disrupted=is_disrupted(spec, status, container),
        ends_at=times.parse(metadata.get("deletionTimestamp")),
        scheduled_at=_scheduled_at(status),
        kept_to=_kept_to(spec),
        cut_off=bool(container.get("ready")) and ready.get("status") != "True",
        restarted=bool(container.get("restartCount")),
    )


def parse_node(raw: Mapping[str, Any]) -> Node:
    """A Node from the API server's JSON."""
    metadata = raw["metadata"]
    ready = condition(raw.get("status") or {}, "Ready")
    words = ready.get("message") or ready.get("reason") or "it has not reported yet"
    return Node(metadata["name"], True, ready.get("status") == "True", words, metadata.get("labels") or {})


def parse_pod_events(items: Iterable[Mapping[str, Any]]) -> dict[str, Trouble]:
    """What warnings say about each Pod, by the Pod's uid, from Events (core/v1).

    Of all that were seen lately the same one each time, or two volumes that are missing would be told in turn; the
    kubelet's summary of them only where nothing else was said.
    """
    about: dict[str, list[tuple[datetime, Trouble]]] = {}
    for item in items:
        uid = (item.get("involvedObject") or {}).get("uid") or ""
        if item.get("reason"):
            about.setdefault(uid, []).append((last_seen(item), Trouble(item["reason"], item.get("message") or "")))
    return {uid: _most_telling(found) for uid, found in about.items()}


def _most_telling(found: Sequence[tuple[datetime, Trouble]]) -> Trouble:
    newest = max(when for when, _ in found)
    lately = [trouble for when, trouble in found if newest - when <= LATELY]
    return min(lately, key=lambda t: (t.message.startswith("Unable to attach or mount volumes"), t.reason, t.message))


def last_seen(event: Mapping[str, Any]) -> datetime:
    """When an Event was seen last, else NEVER; old and new ways of writing Events keep it in different places."""
    stamps = ((event.get("series") or {}).get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((t for t in map(times.parse, stamps) if t), default=NEVER)


def _scheduled_at(status: Mapping[str, Any]) -> datetime | None:
    scheduled = condition(status, "PodScheduled")
    return times.parse(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None


def _kept_to(spec: Mapping[str, Any]) -> str:
    """The node that pod.py wrote into the affinity."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    fields = [f for term in required.get("nodeSelectorTerms") or () for f in term.get("matchFields") or ()]
    return str(fields[0]["values"][0]) if fields and fields[0].get("values") else ""


def _named(items: Iterable[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any]:
    return next((i for i in items or () if i["name"] == name), {})


_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


def _host_mounts(spec: Mapping[str, Any]) -> tuple[Volume, ...]:
    """The host directories that a Pod has, written as the volumes of a spec that would mount the same.

    Those of every container, whoever added it; one that no container mounts yet counts as a whole.
    """
    roots = {v["name"]: v["hostPath"]["path"] for v in spec.get("volumes") or () if "hostPath" in v}
    containers = [c for kind in _CONTAINERS for c in spec.get(kind) or ()]
    mounts = [m for c in containers for m in c.get("volumeMounts") or () if m["name"] in roots]
    unused = [{"name": name, "mountPath": ""} for name in roots.keys() - {m["name"] for m in mounts}]
    return tuple(
        _host_volume(
            mount["name"],
            mount["mountPath"],
            roots[mount["name"]],
            mount.get("subPath") or mount.get("subPathExpr"),
            mount.get("readOnly", False),
        )
        for mount in (*mounts, *unused)
    )


def _host_volume(name: str, mount_path: str, root: str, sub_path: str | None, read_only: bool) -> Volume:
    """Made once for all events of a Pod, unless its texts are long: who writes them must not choose what is kept."""
    is_short = len(mount_path) + len(root) + len(sub_path or "") <= LONGEST_MOUNT
    return (_remembered if is_short else _made)(name, mount_path, root, sub_path, read_only)


def _made(name: str, mount_path: str, root: str, sub_path: str | None, read_only: bool) -> Volume:
    host = HostDirectory.model_construct(path=_shared(root))
    return Volume.model_construct(
        name=_shared(name), mount_path=_shared(mount_path), host=host, sub_path=sub_path, read_only=read_only
    )


_remembered = lru_cache(VOLUMES)(_made)
