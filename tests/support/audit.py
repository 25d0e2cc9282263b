"""What the operator asked of the API server, read from its audit log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.cluster import Cluster, ClusterError
from tests.support.installation import SERVICE_ACCOUNT
from tests.support.kubectl import OPERATOR_NAMESPACE, Json

OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"
WRITING = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass(frozen=True)
class Request:
    """One request that was answered. ``what`` is the resource, with its subresource: ``sandboxes/status``."""

    verb: str
    what: str
    namespace: str
    name: str
    code: int
    at: datetime
    """When the API server received it."""

    @property
    def is_write(self) -> bool:
        """Whether it was meant to change something."""
        return self.verb in WRITING

    @property
    def succeeded(self) -> bool:
        """Whether it did what was asked."""
        return self.code < 300

    def __str__(self) -> str:
        return f"{self.verb} {self.what} {self.namespace}/{self.name}: {self.code}"


class AuditLog:
    """The audit log of a cluster, from a place in it on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = 0
        self.begin()

    @classmethod
    def of(cls, cluster: Cluster) -> AuditLog:
        """From now on. Raises ClusterError where the log cannot be read."""
        if cluster.audit_log is None:
            raise ClusterError(f"The audit log of cluster {cluster.name!r} cannot be read from here.")
        return cls(cluster.audit_log)

    def begin(self) -> None:
        """Forget what was logged until now."""
        self._start = self._path.stat().st_size

    def requests(self, user: str = OPERATOR) -> list[Request]:
        """What this user has asked since the beginning, in order of the answers."""
        with self._path.open("rb") as log:
            log.seek(self._start)
            lines = [line for line in log if line.endswith(b"\n") and user.encode() in line]
        return [_request(event) for event in map(json.loads, lines) if event["user"]["username"] == user]

    def writes(self, namespace: str, user: str = OPERATOR) -> list[Request]:
        """Those that were meant to change something in the namespace, whether they did or not."""
        return [r for r in self.requests(user) if r.is_write and r.namespace == namespace]


def counted(requests: Iterable[Request]) -> str:
    """How many there are of each kind, for people."""
    kinds = Counter(f"{r.verb} {r.what} {r.code}" for r in requests)
    return ", ".join(f"{number} x {kind}" for kind, number in sorted(kinds.items())) or "none"


def _request(event: Json) -> Request:
    about = event.get("objectRef") or {}
    return Request(
        verb=event["verb"],
        what="/".join(about[k] for k in ("resource", "subresource") if about.get(k)),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
    )
