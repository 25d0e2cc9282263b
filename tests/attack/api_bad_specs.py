"""Specs that must never become a Pod, each with what is wrong with it; for a CRD that no longer says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support import Json
from tests.support.fixtures import IMAGE, host_volume

INVALID = "InvalidSpec"


def bad_specs(root: str) -> Iterator[tuple[str, Any, str]]:
    """Name, spec and the reason that the operator gives. ``root`` is on the allowlist."""
    for group in (_volumes(root), _pod_fields(), _container_fields(), _wrong_types(root)):
        for name, spec in group:
            yield name, spec, INVALID
    secret = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    yield "secret", {"image": IMAGE, "env": [secret]}, "SecretRefNotAllowed"
    yield "runtime-class", {"image": IMAGE, "runtimeClassName": "privileged"}, "RuntimeClassNotAllowed"


def _volumes(root: str) -> Iterator[tuple[str, Json]]:
    fine = host_volume(root)
    host_paths: tuple[Any, ...] = (
        "..", "", "relative", f"{root}/..", f"{root}/../..", f"{root}/./x", f"{root}//x", f"{root}/", f"{root}\n",
         f"{root}/\0", f"{root}/\u200b", "x" * 2000, f"/{'y' * 300}", 5, None, [root], {"path": root},
    )  # fmt: skip
    for number, path in enumerate(host_paths):
        yield f"path-{number}", _with(fine | {"host": {"path": path}})
    for number, path in enumerate(
        ("..", "../outside", "a/../..", "/etc", ".", "a//b", "a/", "a\n", "$(\0)", 5, ["a"], True)
    ):
        yield f"sub-path-{number}", _with(fine | {"subPath": path})
    for number, path in enumerate(
        ("/", "/etc", "/proc", "/proc/self", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm", "/run", "/var/run",  # noqa: S108
         "relative", "..", "/a/../proc", "/a//b", "/a/", "/a:b", "/proc/", "//proc", "", "/a\n", 5, None, ["/a"])
    ):  # fmt: skip
        yield f"mount-path-{number}", _with(fine | {"mountPath": path})
    extras: tuple[Json, ...] = (
        {"hostPath": {"path": "/"}}, {"pvc": {"claimName": "c"}}, {"emptyDir": {}}, {"subPathExpr": "$(A)"},
         {"mountPropagation": "Bidirectional"}, {"recursiveReadOnly": "Disabled"}, {"readOnly": "false"},
         {"readOnly": 0}, {"host": {"path": root, "type": "DirectoryOrCreate"}}, {"host": None}, {"host": root},
         {"name": "A_B"}, {"name": ""},
    )  # fmt: skip
    for number, extra in enumerate(extras):
        yield f"volume-{number}", _with(fine | extra)
    for source in ("hostPath", "nfs", "csi", "projected", "secret", "configMap", "image", "ephemeral"):
        yield f"source-{source.lower()}", _with({"name": "data", source: {"path": "/"}, "mountPath": "/mnt/data"})
    yield "inside", _with(fine, host_volume(root, "/mnt/data/in") | {"name": "in"})
    yield "same-mount-path", _with(fine, fine | {"name": "other"})
    yield "same-name", _with(fine, host_volume(root, "/mnt/other"))
    yield "too-many", _with(*(host_volume(root, f"/mnt/{n}") | {"name": f"v{n}"} for n in range(33)))


def _pod_fields() -> Iterator[tuple[str, Json]]:
    for field, value in {
        "hostNetwork": True, "hostPID": True, "hostIPC": True, "hostUsers": True, "privileged": True, "nodeName": "n",
        "serviceAccountName": "default", "automountServiceAccountToken": True, "shareProcessNamespace": True,
        "priorityClassName": "system-node-critical", "schedulerName": "mine", "containers": [], "initContainers": [],
        "ephemeralContainers": [], "template": {}, "podTemplate": {}, "affinity": {}, "hostAliases": [],
        "dnsConfig": {}, "restartPolicy": "always", "lifecycle": {}, "livenessProbe": {}, "envFrom": [],
        "command": ["sh"],
        "volumeMounts": [], "volumeDevices": [], "stdin": True, "metadata": {}, "annotations": {}, "labels": {},
    }.items():  # fmt: skip
        yield f"pod-{field.lower()}", {"image": IMAGE, field: value}
    for number, toleration in enumerate(
        ({"operator": "Exists"}, {"key": "node-role.kubernetes.io/control-plane"}, {"key": "", "operator": "Exists"},
         {"key": "virtual-kubelet.io/provider"}, {"key": "CriticalAddonsOnly", "operator": "Exists"},
         {"key": None, "operator": "Exists"})
    ):  # fmt: skip
        yield f"toleration-{number}", {"image": IMAGE, "tolerations": [toleration]}


def _container_fields() -> Iterator[tuple[str, Json]]:
    for field, value in {
        "privileged": True, "allowPrivilegeEscalation": True, "capabilities": {"add": ["SYS_ADMIN"]},
        "procMount": "Unmasked", "seccompProfile": {"type": "Unconfined"}, "appArmorProfile": {"type": "Unconfined"},
        "seLinuxOptions": {}, "sysctls": [], "windowsOptions": {}, "runAsUser": -1,
    }.items():  # fmt: skip
        yield f"security-{field.lower()}", {"image": IMAGE, "securityContext": {field: value}}
    for field, value in {"hostPort": 80, "hostIP": "0.0.0.0"}.items():  # noqa: S104
        yield f"port-{field.lower()}", {"image": IMAGE, "ports": [{"containerPort": 80, field: value}]}
    for field, value in {"httpGet": {"port": 80, "host": "10.0.0.1"}, "grpc": {"port": 80}}.items():
        yield f"probe-{field.lower()}", {"image": IMAGE, "readinessProbe": {field: value}}
    for field, value in {"fileKeyRef": {}, "serviceAccountToken": {}}.items():
        yield f"env-{field.lower()}", {"image": IMAGE, "env": [{"name": "A", "valueFrom": {field: value}}]}
    yield "working-dir", {"image": IMAGE, "workingDir": "/proc/self/fd"}


def _wrong_types(root: str) -> Iterator[tuple[str, Any]]:
    yield from (("spec-text", "text"), ("spec-list", []), ("spec-number", 5), ("spec-null", None), ("spec-empty", {}))
    for number, image in enumerate(("", " ", "a b", "a\n", 5, None, [IMAGE], "x" * 600)):
        yield f"image-{number}", {"image": image}
    no_lists: tuple[Any, ...] = ("text", {"data": host_volume(root)}, 5, None, [None], ["/"], [[]])
    for number, volumes in enumerate(no_lists):
        yield f"volumes-{number}", {"image": IMAGE, "volumes": volumes}
    for number, seconds in enumerate((-1, 301, "10", 1.5, True, 10**20)):
        yield f"grace-{number}", {"image": IMAGE, "terminationGracePeriodSeconds": seconds}
    for number, entrypoint in enumerate(("sh", [5], {"a": "b"}, [None])):
        yield f"entrypoint-{number}", {"image": IMAGE, "entrypoint": entrypoint}


def _with(*volumes: Json) -> Json:
    return {"image": IMAGE, "volumes": list(volumes)}
