"""One case for each bound of the schema: the last value that is accepted, the first that is refused, and the error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.api.sandboxes import KEY, Json, absolute_path, complete, place, relative_path


@dataclass(frozen=True)
class Bound:
    """A keyword of the schema at a path."""

    path: str
    keyword: str
    accepted: Json
    refused: Json
    says: str

    def __str__(self) -> str:
        return f"{self.path} {self.keyword}"


TEXTS: dict[str, tuple[int, Callable[[int], str]]] = {
    "metadata.name": (63, "a".__mul__),
    "spec.image": (512, "a".__mul__),
    "spec.imagePullSecrets[].name": (253, "a".__mul__),
    "spec.entrypoint[]": (8192, "a".__mul__),
    "spec.workingDir": (1024, absolute_path),
    "spec.env[].name": (256, "A".__mul__),
    "spec.env[].value": (4096, "a".__mul__),
    "spec.env[].valueFrom.secretKeyRef.name": (253, "a".__mul__),
    "spec.env[].valueFrom.secretKeyRef.key": (253, "a".__mul__),
    "spec.env[].valueFrom.configMapKeyRef.name": (253, "a".__mul__),
    "spec.env[].valueFrom.configMapKeyRef.key": (253, "a".__mul__),
    "spec.env[].valueFrom.fieldRef.fieldPath": (512, "a".__mul__),
    "spec.env[].valueFrom.resourceFieldRef.resource": (512, "a".__mul__),
    "spec.env[].valueFrom.resourceFieldRef.divisor": (64, "1".__mul__),
    "spec.ports[].name": (15, "a".__mul__),
    "spec.resources.requests{}": (64, "1".__mul__),
    "spec.resources.limits{}": (64, "1".__mul__),
    "spec.runtimeClassName": (253, "a".__mul__),
    "spec.nodeSelector{}": (63, "a".__mul__),
    "spec.tolerations[].key": (317, "a".__mul__),
    "spec.tolerations[].value": (63, "a".__mul__),
    "spec.expiresAt": (35, lambda length: "2026-12-01T00:00:00.123456789+00:00".ljust(length, "0")),
    "spec.readinessProbe.httpGet.path": (1024, absolute_path),
    "spec.readinessProbe.httpGet.port": (15, "a".__mul__),
    "spec.readinessProbe.tcpSocket.port": (15, "a".__mul__),
    "spec.readinessProbe.exec.command[]": (8192, "a".__mul__),
    "spec.volumes[].name": (63, "a".__mul__),
    "spec.volumes[].host.path": (1024, absolute_path),
    "spec.volumes[].pvc.claimName": (253, "a".__mul__),
    "spec.volumes[].emptyDir.sizeLimit": (64, "1".__mul__),
    "spec.volumes[].mountPath": (1024, absolute_path),
    "spec.volumes[].subPath": (1024, relative_path),
    "status.conditions[].type": (316, "a".__mul__),
    "status.conditions[].reason": (1024, "a".__mul__),
    "status.conditions[].message": (32768, "a".__mul__),
}
"""Path -> most characters, and a text of so many characters."""

NOT_EMPTY = (
    "spec.image",
    "spec.env[].valueFrom.secretKeyRef.name",
    "spec.env[].valueFrom.configMapKeyRef.name",
    "spec.env[].valueFrom.fieldRef.fieldPath",
    "spec.env[].valueFrom.resourceFieldRef.resource",
    "status.conditions[].reason",
)

NUMBERS: dict[str, tuple[int, int | None]] = {
    "spec.ports[].containerPort": (1, 65535),
    "spec.securityContext.runAsUser": (0, 2**31 - 1),
    "spec.securityContext.runAsGroup": (0, 2**31 - 1),
    "spec.securityContext.fsGroup": (0, 2**31 - 1),
    "spec.securityContext.supplementalGroups[]": (0, 2**31 - 1),
    "spec.terminationGracePeriodSeconds": (0, 300),
    "spec.timeoutSeconds": (60, 315_360_000),
    "spec.readinessProbe.initialDelaySeconds": (0, 3600),
    "spec.readinessProbe.periodSeconds": (1, 3600),
    "spec.readinessProbe.timeoutSeconds": (1, 3600),
    "spec.readinessProbe.successThreshold": (1, 10),
    "spec.readinessProbe.failureThreshold": (1, 100),
    "status.conditions[].observedGeneration": (0, None),
    "status.restarts": (0, None),
}
"""Path -> least and most."""

COUNTS: dict[str, tuple[int, Callable[[int], object]]] = {
    "spec.imagePullSecrets": (16, lambda count: [{"name": f"s{i}"} for i in range(count)]),
    "spec.entrypoint": (64, lambda count: ["a"] * count),
    "spec.env": (128, lambda count: [{"name": f"A{i}"} for i in range(count)]),
    "spec.ports": (32, lambda count: [{"containerPort": 1 + i} for i in range(count)]),
    "spec.securityContext.supplementalGroups": (32, lambda count: list(range(count))),
    "spec.tolerations": (32, lambda count: [{"key": "gpu"}] * count),
    "spec.readinessProbe.exec.command": (64, lambda count: ["a"] * count),
    "spec.volumes": (
        32, lambda count: [{"name": f"v{i}", "mountPath": f"/v{i}", "emptyDir": {}} for i in range(count)],
    ),
}  # fmt: skip
"""List -> most items, and a value with so many."""

KEYS: dict[str, tuple[int, Callable[[int], object]]] = {
    "spec.resources.requests": (16, lambda count: {f"{KEY}{i}": 1 for i in range(count)}),
    "spec.resources.limits": (16, lambda count: {f"{KEY}{i}": 1 for i in range(count)}),
    "spec.nodeSelector": (32, lambda count: {f"{KEY}{i}": "a" for i in range(count)}),
}
"""Map -> most keys, and a value with so many."""

CHOICES: dict[str, tuple[str, ...]] = {
    "spec.imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "spec.ports[].protocol": ("TCP", "UDP", "SCTP"),
    "spec.tolerations[].operator": ("Exists", "Equal"),
    "spec.tolerations[].effect": ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    "spec.restartPolicy": ("Always", "OnFailure", "Never"),
    "spec.expiryPolicy": ("Retain", "Delete"),
    "spec.readinessProbe.httpGet.scheme": ("HTTP", "HTTPS"),
    "spec.volumes[].emptyDir.medium": ("", "Memory"),
    "status.conditions[].status": ("True", "False", "Unknown"),
    "status.volumes[].recursiveReadOnly": ("Enabled", "Disabled", ""),
}

REQUIRED = (
    ("", "spec"),
    ("spec", "image"),
    ("spec.imagePullSecrets[]", "name"),
    ("spec.env[]", "name"),
    ("spec.env[].valueFrom.secretKeyRef", "name"),
    ("spec.env[].valueFrom.secretKeyRef", "key"),
    ("spec.env[].valueFrom.configMapKeyRef", "name"),
    ("spec.env[].valueFrom.configMapKeyRef", "key"),
    ("spec.env[].valueFrom.fieldRef", "fieldPath"),
    ("spec.env[].valueFrom.resourceFieldRef", "resource"),
    ("spec.ports[]", "containerPort"),
    ("spec.tolerations[]", "key"),
    ("spec.readinessProbe.httpGet", "port"),
    ("spec.readinessProbe.tcpSocket", "port"),
    ("spec.readinessProbe.exec", "command"),
    ("spec.volumes[]", "name"),
    ("spec.volumes[]", "mountPath"),
    ("spec.volumes[].host", "path"),
    ("spec.volumes[].pvc", "claimName"),
    ("status.conditions[]", "type"),
    ("status.conditions[]", "status"),
    ("status.conditions[]", "reason"),
    ("status.conditions[]", "message"),
    ("status.conditions[]", "lastTransitionTime"),
    ("status.volumes[]", "name"),
)

UNIQUE = ("spec.imagePullSecrets", "spec.env", "spec.volumes", "status.conditions", "status.volumes")
"""Lists that are keyed, so that a key cannot be there twice."""


def _texts() -> Iterator[Bound]:
    for path, (most, text) in TEXTS.items():
        says = f"may not be more than {most} "
        yield Bound(path, "maxLength", place(path, text(most)), place(path, text(most + 1)), says)
    for path in NOT_EMPTY:
        yield Bound(path, "minLength", place(path, "a"), place(path, ""), "should be at least 1 chars long")


def _numbers() -> Iterator[Bound]:
    for path, (least, most) in NUMBERS.items():
        says = f"should be greater than or equal to {least}"
        yield Bound(path, "minimum", place(path, least), place(path, least - 1), says)
        if most is not None:
            says = f"should be less than or equal to {most}"
            yield Bound(path, "maximum", place(path, most), place(path, most + 1), says)


def _counts() -> Iterator[Bound]:
    for path, (most, value) in COUNTS.items():
        says = f"must have at most {most} items"
        yield Bound(path, "maxItems", place(path, value(most)), place(path, value(most + 1)), says)
    for path, (most, value) in KEYS.items():
        says = f"must have at most {most} "
        yield Bound(path, "maxProperties", place(path, value(most)), place(path, value(most + 1)), says)
    command = "spec.readinessProbe.exec.command"
    yield Bound(command, "minItems", place(command, ["a"]), place(command, []), "should have at least 1 items")


def _choices() -> Iterator[Bound]:
    for path, values in CHOICES.items():
        for value in values:
            yield Bound(path, "enum", place(path, value), place(path, f"not-{value}"), "supported values: ")


def _fields() -> Iterator[Bound]:
    for path, name in REQUIRED:
        accepted = place(path, complete(path))
        refused = place(path, {field: value for field, value in complete(path).items() if field != name})
        yield Bound(f"{path}.{name}".lstrip("."), "required", accepted, refused, "Required value")


def _keyed() -> Iterator[Bound]:
    for path in UNIQUE:
        one = complete(path + "[]")
        yield Bound(path + "[]", "unique", place(path, [one]), place(path, [one, one]), "Duplicate value")


def _patterns() -> Iterator[Bound]:
    """Only of status, which the operator writes: what people write has rules with readable messages instead."""
    path = "status.conditions[].type"
    yield Bound(path, "pattern", place(path, "sandmount.dev/Ready"), place(path, "Not ready"), "should match")
    path = "status.conditions[].reason"
    yield Bound(path, "pattern", place(path, "MountFailed"), place(path, "it failed"), "should match")


BOUNDS = (*_texts(), *_numbers(), *_counts(), *_choices(), *_fields(), *_keyed(), *_patterns())
