"""Thousands of Sandboxes in many namespaces, most of them on one root of the allowlist.

They are on simulated nodes, so no root has to be there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tests.cluster.base import ON_SIMULATED_NODES
from tests.cluster.local.cluster import LocalCluster
from tests.scale import load
from tests.scale.process import wait_until_idle
from tests.support import Json, OperatorProcess, wait_until
from tests.support.kubectl import condition_of, tail

Key = tuple[str, str]
"""Namespace and name."""

COUNT = 5000
NAMESPACES = tuple(f"scale-{number}" for number in range(10))
GROUP = "scale-group"
"""Label of a Sandbox that names its group."""

ROOTS = {"common": "/srv/scale/common", "first": "/srv/scale/first", "second": "/srv/scale/second"}
"""The root that a group's volumes are on."""

FIRST_LIST = f"- {ROOTS['common']}\n- {ROOTS['first']}\n"
SECOND_LIST = f"- {ROOTS['common']}\n- {ROOTS['second']}\n"

READY_SECONDS = 900.0


def group_of(number: int) -> str:
    """One of a hundred is in each small group, spread over all namespaces and over the time of their making."""
    return {98: "first", 99: "second"}.get(number // len(NAMESPACES) % 100, "common")


def sandbox(number: int, group: str, name: str = "") -> Json:
    """A Sandbox with a volume below its group's root."""
    directory = {"path": f"{ROOTS[group]}/team-{number % 50}"}
    return {
        "apiVersion": "sandmount.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {
            "name": name or f"{group}-{number:04}",
            "namespace": NAMESPACES[number % len(NAMESPACES)],
            "labels": {GROUP: group},
        },
        "spec": {
            "image": "busybox:stable",
            "entrypoint": ["sleep", "infinity"],
            "env": [{"name": "NUMBER", "value": str(number)}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            "volumes": [
                {"name": "data", "host": directory, "mountPath": "/mnt/data", "subPath": f"work/{number}"},
                {"name": "scratch", "emptyDir": {}, "mountPath": "/scratch"},
            ],
            **ON_SIMULATED_NODES,
        },
    }


def key_of(found: Json) -> Key:
    """Namespace and name."""
    return found["metadata"]["namespace"], found["metadata"]["name"]


def reason_in(found: Json) -> str:
    """The reason of its condition Ready; empty before it has one."""
    ready = condition_of(found, "Ready")
    return ready["reason"] if ready else ""


@dataclass
class Fleet:
    """All Sandboxes of one cluster, and their operator."""

    cluster: LocalCluster
    operator: OperatorProcess
    created_seconds: float = 0.0
    """What the creation of all Sandboxes took."""
    ready_seconds: float = 0.0
    """From the first creation until all were decided on, and Ready if allowed."""

    @property
    def pid(self) -> int:
        """The operator's process id; it has to run."""
        assert self.operator.pid is not None, "\n".join(tail(self.operator.log))
        return self.operator.pid

    @staticmethod
    def keys(group: str) -> set[Key]:
        """All that were made of a group."""
        return {key_of(sandbox(number, group)) for number in range(COUNT) if group_of(number) == group}

    def make(self) -> None:
        """Create all of them under the first list, and wait until they are as that list wants them."""
        self.operator.kube.set_allowlist(FIRST_LIST)
        for namespace in NAMESPACES:
            self.operator.kube.make_namespace(namespace)
        begun = time.monotonic()
        wanted = (sandbox(number, group_of(number)) for number in range(COUNT))
        load.do(self.cluster.kubeconfig, lambda api: api.create_all(wanted))
        self.created_seconds = time.monotonic() - begun
        self.wait_for({"common": "PodReady", "first": "PodReady", "second": "HostPathNotAllowed"}, READY_SECONDS)
        self.ready_seconds = time.monotonic() - begun

    def lists_loaded(self) -> int:
        """How many versions of the allowlist the operator has loaded, by its own log."""
        return self.operator.log.read_text().count("allowlist loaded")

    def told_by_events(self) -> set[Key]:
        """The Sandboxes that there are Events about."""
        about = (event["involvedObject"] for event in self.operator.kube.items("events", "--all-namespaces"))
        return {(item["namespace"], item["name"]) for item in about if item["kind"] == "Sandbox"}

    def look(self) -> list[Json]:
        """All Sandboxes as they are."""
        return load.do(self.cluster.kubeconfig, lambda api: api.sandboxes())

    def wait_for(self, reasons: dict[str, str], seconds: float) -> list[Json]:
        """Wait until every Sandbox of each group has that reason. Returns all of them."""

        def ask() -> list[Json] | None:
            wait_until_idle(self.pid, seconds)  # a look at all of them costs the API server half a second
            found = self.look()
            return found if all(reason == reasons[group] for group, reason in reasons_in(found)) else None

        return wait_until("the fleet has settled", ask, seconds, lambda: str(reasons_in(self.look())))


def reasons_in(sandboxes: Iterable[Json]) -> Counter[tuple[str, str]]:
    """How many there are of each group with each reason."""
    return Counter((found["metadata"]["labels"][GROUP], reason_in(found)) for found in sandboxes)
