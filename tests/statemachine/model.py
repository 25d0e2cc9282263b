"""What must be true of a Sandbox when all is quiet, said again in other words than the operator's own.

Pure: from the objects as they are, the list in force, and what was done to the Sandbox. Knows nothing of plan.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.statemachine.lists import Listing, Mount, Wanted, place
from tests.support import Json

SLACK = timedelta(seconds=1)
"""Times in objects are cut off to the second."""

LABEL_UID = "sandmount.dev/sandbox-uid"
FIRST_WAIT, MOST_RESTARTS = 2.0, 10
LATE = 60.0
"""Seconds after its time by which a new Pod must be there, on the busiest machine."""


@dataclass
class Past:
    """What was done to one Sandbox, from its creation on."""

    uid: str
    created: datetime
    specs: list[tuple[Json, datetime]] = field(default_factory=list)
    """Each spec but the last one, with the time at which it was replaced."""
    spec: Json = field(default_factory=dict)
    removed: bool = False
    """Whether its deletion was asked for."""
    succeeded: bool = False
    """Whether a Pod of it was made to succeed."""
    failed: list[Json] = field(default_factory=list)
    """Pods of it that were made to fail by themselves."""
    losses: int = 0
    """How often its Pod was ended from outside, or may count as that after the operator's end."""
    calm: bool = False
    """Whether nothing was done since the last quiet time that may replace its Pod."""
    last_pod: str = ""
    """uid of the Pod that it had then."""

    def change(self, spec: Json, now: datetime) -> None:
        """Its spec was changed; a deadline that has passed may have ended its Pod, and is then no more."""
        if self._passed(self.spec, now) or built(spec) != built(self.spec) or bool(spec.get("paused")):
            self.calm = False
        self.specs.append((self.spec, now))
        self.spec = spec

    def has_failed(self, spec: Json, pod: Json | None = None) -> bool:
        """Whether a Pod of this spec has failed by itself, or this Pod."""
        some = [p for p in self.failed if not differs(p, spec)]
        return any(pod is None or p["metadata"]["uid"] == pod["metadata"]["uid"] for p in some)

    def may_have_expired(self, now: datetime) -> bool:
        """Whether a deadline that was in force has passed meanwhile."""
        return any(self._passed(spec, until) for spec, until in self._history(now))

    def may_be_gone(self, now: datetime) -> bool:
        """Whether its own expiryPolicy may have taken it; whether it ever ran, it cannot be asked any more."""
        over = False
        for spec, until in self._history(now):
            over = over or self._passed(spec, until)
            if over and spec.get("expiryPolicy") == "Delete":
                return True
        return False

    def _history(self, now: datetime) -> Iterable[tuple[Json, datetime]]:
        return [*self.specs, (self.spec, now)]

    def _passed(self, spec: Json, until: datetime) -> bool:
        end = spec.get("expiresAt")
        seconds = spec.get("timeoutSeconds")
        by_time = end is not None and datetime.fromisoformat(end) <= until + SLACK
        return by_time or (seconds is not None and self.created + timedelta(seconds=seconds) <= until + SLACK)


@dataclass(frozen=True)
class Seen:
    """A Sandbox, its Pod and the list at one time."""

    sandbox: Json | None
    pod: Json | None
    past: Past
    listing: Listing
    now: datetime
    doubtful: frozenset[str] = frozenset()
    """uids of Pods that were made while a list was in force that denies them."""
    ends: int = 0
    """How many of its Pods have ended."""

    @property
    def metadata(self) -> Json:
        """Its metadata."""
        metadata: Json = (self.sandbox or {})["metadata"]
        return metadata

    @property
    def spec(self) -> Json:
        """Its spec."""
        spec: Json = (self.sandbox or {})["spec"]
        return spec

    @property
    def status(self) -> Json:
        """Its status."""
        status: Json = (self.sandbox or {}).get("status") or {}
        return status

    @property
    def conditions(self) -> dict[str, Json]:
        """Its conditions by type."""
        return {c["type"]: c for c in self.status.get("conditions") or ()}

    @property
    def end(self) -> datetime | None:
        """Its deadline."""
        ends = [datetime.fromisoformat(self.spec["expiresAt"])] if self.spec.get("expiresAt") else []
        if self.spec.get("timeoutSeconds") and self.status.get("startedAt"):
            started = datetime.fromisoformat(self.status["startedAt"])
            ends.append(started + timedelta(seconds=self.spec["timeoutSeconds"]))
        return min(ends, default=None)

    @property
    def due(self) -> datetime | None:
        """When the next Pod is to be made, of a Sandbox that waits for it."""
        if "lostAt" not in self.status:
            return None
        count = self.status.get("restarts", 0)
        wait = 0.0 if count <= 1 else FIRST_WAIT ** (count - 1)
        return datetime.fromisoformat(self.status["lostAt"]) + timedelta(seconds=wait)

    @property
    def busy_until(self) -> datetime | None:
        """Until when something is to come by itself."""
        times = [t for t in (self.end, self.due) if t is not None and t > self.now - SLACK]
        return min(times, default=None)


def stamp(time: datetime) -> str:
    """As times stand in objects."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_seconds(seconds: float) -> str:
    """A time from now on, to the second and not before that."""
    now = datetime.now(UTC)
    return stamp(now + timedelta(seconds=math.ceil(seconds)))


def was_late(spec: Json, created: datetime) -> bool:
    """Whether its expiresAt had passed when it was created."""
    return bool(spec.get("expiresAt")) and datetime.fromisoformat(spec["expiresAt"]) <= created


def built(spec: Json) -> Json:
    """The part of a spec that its Pod is built from."""
    return {k: v for k, v in spec.items() if k not in ("timeoutSeconds", "expiresAt", "expiryPolicy", "paused")}


def wanted(spec: Json) -> list[Wanted]:
    """The host volumes of a spec."""
    volumes = [v for v in spec.get("volumes") or () if "host" in v]
    return [Wanted(v["name"], v["host"]["path"], v.get("readOnly", False)) for v in volumes]


def mounts_of(pod: Json) -> frozenset[Mount]:
    """What a Pod has of the host."""
    roots = {v["name"]: v["hostPath"]["path"] for v in pod["spec"].get("volumes") or () if "hostPath" in v}
    mounts = [m for c in pod["spec"]["containers"] for m in c.get("volumeMounts") or () if m["name"] in roots]
    found = (Mount(m["name"], roots[m["name"]], m.get("subPath", ""), m.get("readOnly", False)) for m in mounts)
    return frozenset(found)


def differs(pod: Json, spec: Json) -> str:
    """In what a Pod is another one than the spec asks for, but for the way to its host directories."""
    container = pod["spec"]["containers"][0]
    had = {(m.volume, place(m), m.read_only) for m in mounts_of(pod)}
    compared = {
        "image": (container["image"], spec["image"]),
        "env": (container.get("env") or [], spec.get("env") or []),
        "restartPolicy": (pod["spec"]["restartPolicy"], spec.get("restartPolicy", "Always")),
        "host directories": (had, {(w.name, w.path, w.read_only) for w in wanted(spec)}),
        "volumes": ({v["name"] for v in pod["spec"]["volumes"]}, {v["name"] for v in spec.get("volumes") or ()})
        if "volumes" in pod["spec"]
        else (0, len(spec.get("volumes") or ())),
    }
    return ", ".join(name for name, (one, other) in compared.items() if one != other)


def owner_of(pod: Json) -> str:
    """uid of the Sandbox that a Pod belongs to."""
    owners = [o["uid"] for o in pod["metadata"].get("ownerReferences") or () if o.get("controller")]
    return str(owners[0]) if owners else ""


def is_ready(pod: Json) -> bool:
    """Whether a Pod's condition Ready is True."""
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or ()}
    return conditions.get("Ready") == "True"
