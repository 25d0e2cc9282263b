"""Sandboxes to send: the smallest valid one, with one change. Pure; nothing here talks to a cluster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from itertools import cycle, islice
from typing import Any

Json = dict[str, Any]

KEY = "example.com/key"
"""The key that `place` uses where a path says {}."""

SIBLINGS: dict[str, Json] = {
    "": {"apiVersion": "sandmount.dev/v1alpha1", "kind": "Sandbox", "metadata": {"name": "trial"}},
    "metadata": {"name": "trial"},
    "spec": {"image": "busybox"},
    "spec.imagePullSecrets[]": {"name": "regcred"},
    "spec.env[]": {"name": "A"},
    "spec.env[].valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
    "spec.env[].valueFrom.secretKeyRef": {"name": "s", "key": "k"},
    "spec.env[].valueFrom.configMapKeyRef": {"name": "c", "key": "k"},
    "spec.env[].valueFrom.fieldRef": {"fieldPath": "metadata.name"},
    "spec.env[].valueFrom.resourceFieldRef": {"resource": "limits.cpu"},
    "spec.ports[]": {"containerPort": 8080},
    "spec.tolerations[]": {"key": "gpu"},
    "spec.readinessProbe": {"tcpSocket": {"port": 8080}},
    "spec.readinessProbe.httpGet": {"port": 8080},
    "spec.readinessProbe.tcpSocket": {"port": 8080},
    "spec.readinessProbe.exec": {"command": ["true"]},
    "spec.volumes[]": {"name": "data", "mountPath": "/mnt/data", "emptyDir": {}},
    "spec.volumes[].host": {"path": "/data"},
    "spec.volumes[].pvc": {"claimName": "cache"},
    "status.conditions[]": {
        "type": "Ready",
        "status": "True",
        "reason": "Running",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    },
    "status.volumes[]": {"name": "data"},
}
"""What else an object at a path needs to be valid."""

ONE_OF: dict[str, frozenset[str]] = {
    "spec.env[].valueFrom": frozenset({"secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"}),
    "spec.readinessProbe": frozenset({"httpGet", "tcpSocket", "exec"}),
    "spec.volumes[]": frozenset({"host", "pvc", "emptyDir"}),
}
"""Fields of which an object has only one, so that a sibling gives way."""


def place(path: str, value: object) -> Json:
    """The smallest valid Sandbox with `value` at `path`, such as `spec.volumes[].host.path`."""
    sandbox: Json = _build(re.findall(r"[^.\[\]{}]+|\[]|{}", path), "", value)
    if path and not path.startswith("spec"):
        sandbox["spec"] = deepcopy(SIBLINGS["spec"])
    return sandbox


def _build(parts: Sequence[str], here: str, value: object) -> Any:
    if not parts:
        return deepcopy(value)
    head, *rest = parts
    if head == "[]":
        return [_build(rest, here + "[]", value)]
    if head == "{}":
        return {KEY: _build(rest, here + "{}", value)}
    siblings = deepcopy(SIBLINGS.get(here, {}))
    if head in ONE_OF.get(here, ()):
        siblings = {name: sibling for name, sibling in siblings.items() if name not in ONE_OF[here]}
    return siblings | {head: _build(rest, f"{here}.{head}".lstrip("."), value)}


def spec(**fields: object) -> Json:
    """A Sandbox with these fields in its spec."""
    return place("spec", SIBLINGS["spec"] | fields)


def volume(name: str, mount_path: str, source: str = "emptyDir") -> Json:
    """A volume of this kind."""
    return {"name": name, "mountPath": mount_path, source: deepcopy(SIBLINGS.get(f"spec.volumes[].{source}", {}))}


def complete(path: str) -> Json:
    """The smallest valid object at a path."""
    return deepcopy(SIBLINGS[path] | ({"spec": SIBLINGS["spec"]} if path == "" else {}))


def relative_path(length: int) -> str:
    """A relative path of exactly this many characters, in components that are not too long."""
    text = "".join(islice(cycle("d" * 199 + "/"), length))
    return text[:-1] + "d" if text.endswith("/") else text


def absolute_path(length: int) -> str:
    """An absolute path of exactly this many characters."""
    return "/" + relative_path(length - 1)
