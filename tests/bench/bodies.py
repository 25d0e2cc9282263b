"""What the generator creates: Sandboxes, and the bare Pods that the operator would make of them. Data only.

Bodies are JSON before the clock runs, so that none of that is paid for while it does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.cluster.base import ON_SIMULATED_NODES
from tests.scale import fleet
from tests.scale.fleet import NAMESPACES, ROOTS
from tests.support import Json

PART = len(NAMESPACES)
"""From one number to the next in the same namespace."""

LABEL = "sandmount.test/bench"
"""Label of all that the generator creates; the value says for whom."""


@dataclass(frozen=True)
class Kind:
    """A resource, by its paths."""

    plural: str
    prefix: str

    @property
    def everywhere(self) -> str:
        """Path of those in all namespaces."""
        return f"{self.prefix}/{self.plural}"

    def within(self, namespace: str) -> str:
        """Path of those in a namespace."""
        return f"{self.prefix}/namespaces/{namespace}/{self.plural}"


PODS = Kind("pods", "/api/v1")
SANDBOXES = Kind("sandboxes", "/apis/sandmount.dev/v1alpha1")
AGENT_SANDBOXES = Kind("sandboxes", "/apis/agents.x-k8s.io/v1beta1")


@dataclass(frozen=True)
class Item:
    """An object to be created. ``key`` is namespace/name."""

    key: str
    collection: str
    body: bytes

    @property
    def path(self) -> str:
        """Path of the object itself."""
        return f"{self.collection}/{self.key.partition('/')[2]}"


def sandboxes(count: int, whose: str, tag: str, first: int = 0, step: int = 1) -> list[Item]:
    """So many Sandboxes that the fleet's first list allows, named after the tag; with PART as step in one namespace."""
    numbers = range(first, first + count * step, step)
    return [_item(SANDBOXES, _sandbox(n, "common", tag), whose) for n in numbers]


def refused(count: int, whose: str, tag: str, first: int) -> list[Item]:
    """So many Sandboxes of one namespace that the fleet's first list denies."""
    numbers = range(first, first + count * PART, PART)
    return [_item(SANDBOXES, _sandbox(n, "second", tag), whose) for n in numbers]


def mixed(count: int, whose: str, tag: str) -> list[tuple[str, Item]]:
    """So many Sandboxes, each with its group: one of a hundred is in each of the small ones."""
    groups = ((n, fleet.group_of(n)) for n in range(count))
    return [(group, _item(SANDBOXES, _sandbox(n, group, tag), whose)) for n, group in groups]


def pods(count: int, whose: str, tag: str, step: int = 1) -> list[Item]:
    """As many bare Pods, each with the spec that the operator gives to the Pod of such a Sandbox."""
    return [_item(PODS, pod(n, f"{tag}-{n:05}"), whose) for n in range(0, count * step, step)]


def agent_sandboxes(count: int, whose: str, tag: str) -> list[Item]:
    """As many Sandboxes of the peer's, each with the same Pod as its template."""
    return [_item(AGENT_SANDBOXES, _agent_sandbox(pod(n, f"{tag}-{n:05}")), whose) for n in range(count)]


def _agent_sandbox(made: Json) -> Json:
    return {
        "apiVersion": "agents.x-k8s.io/v1beta1",
        "kind": "Sandbox",
        "metadata": made["metadata"],
        "spec": {"podTemplate": {"spec": made["spec"]}},
    }


def pod(number: int, name: str) -> Json:
    """The Pod of the fleet's Sandbox of that number in the group common, without owner, labels and annotation."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACES[number % len(NAMESPACES)]},
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 10,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(number)],
            "volumes": [
                {"name": "data", "hostPath": {"path": ROOTS["common"], "type": "Directory"}},
                {"name": "scratch", "emptyDir": {}},
            ],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _ON_LINUX}},
            **ON_SIMULATED_NODES,
        },
    }


_ON_LINUX = {
    "nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]},
    ]
}


def _container(number: int) -> Json:
    return {
        "name": "sandbox",
        "image": "busybox:stable",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/mnt/data", "subPath": f"team-{number % 50}/work/{number}"},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
        "command": ["sleep", "infinity"],
        "env": [{"name": "NUMBER", "value": str(number)}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }


def _sandbox(number: int, group: str, tag: str) -> Json:
    return fleet.sandbox(number, group, f"{tag}-{number:05}")


def _item(kind: Kind, body: Json, whose: str) -> Item:
    metadata = body["metadata"]
    labelled = {**body, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), LABEL: whose}}}
    key = f"{metadata['namespace']}/{metadata['name']}"
    return Item(key, kind.within(metadata["namespace"]), json.dumps(labelled, separators=(",", ":")).encode())
