"""build_pod: a Sandbox and its grants to the one Pod that runs it.

Pure. What is not set here a Sandbox cannot reach: no privilege, added capability, host namespace, host port, service
account token, raw hostPath or label of the user's ever comes into the Pod. Every field that Pod Security's
"restricted" level asks for is set, but for hostPath volumes and the user id (see docs/safe-mounts.md).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from sandmount.allowlist import Grant
from sandmount.api import (
    ANNOTATION_BUILT_FROM,
    API_VERSION,
    CONTAINER,
    KIND,
    LABEL_SANDBOX,
    LABEL_SANDBOX_UID,
    SandboxSpec,
    Volume,
)

SHORTEST_GRACE = 1
"""Seconds. With 0 the API server forgets a Pod at once, while its container still runs and writes."""

LONGEST_GRACE = 30
"""Seconds for a Pod with host volumes: a kubelet that has begun to end a Pod within a longer time does not hurry when
it is asked again, so a revocation could come too late."""

KEEP_ALIVE = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done")
"""Runs until it is told to stop, and then stops at once: a plain ``sleep`` as process 1 ignores SIGTERM."""

_PASSED_ON = ("workingDir", "resources", "readinessProbe", "env", "ports")  # the same in a container


def labels(name: str, uid: str) -> dict[str, str]:
    """Labels of a Sandbox's Pod."""
    return {
        "app.kubernetes.io/name": "sandbox",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": "sandmount",
        LABEL_SANDBOX: name,
        LABEL_SANDBOX_UID: uid,
    }


def built_from(spec: SandboxSpec, grants: Sequence[Grant]) -> str:
    """What a Pod is built from, in short: ``<spec>.<grants>``, each a SHA-256 in hex.

    The spec counts as far as a Pod is built from it and it differs from the defaults, so a newer operator with more
    fields computes the same.
    """
    found = [[g.volume, g.root, g.sub_path, g.read_only, *([g.nodes] if g.nodes else [])] for g in grants]
    return f"{spec.digest}.{_digest(found)}"


def same_spec(one: str, other: str) -> bool:
    """Whether two values of built_from come from the same spec, whatever was granted."""
    return one.partition(".")[0] == other.partition(".")[0]


def build_pod(
    namespace: str, name: str, uid: str, spec: SandboxSpec, grants: Sequence[Grant], node_name: str | None = None
) -> dict[str, Any]:
    """The Pod of the Sandbox ``namespace/name`` with that uid.

    ``grants`` holds one Grant for each host volume of ``spec``; a missing one is a KeyError, so that a volume which
    nobody granted can never be mounted. ``node_name`` keeps a Pod with host volumes to the node that has what was
    written there; it is none of what a Pod is built from, so it never replaces one.
    """
    by_volume = {g.volume: g for g in grants}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels(name, uid),
            "annotations": {ANNOTATION_BUILT_FROM: built_from(spec, grants)},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": name,
                    "uid": uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": _pod_spec(spec, by_volume, node_name),
    }


def _pod_spec(spec: SandboxSpec, grants: dict[str, Grant], node_name: str | None) -> dict[str, Any]:
    wire = spec.to_wire()
    context = spec.security_context.to_wire()
    pod: dict[str, Any] = {
        "restartPolicy": spec.restart_policy,
        "terminationGracePeriodSeconds": _grace(spec),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "seccompProfile": {"type": "RuntimeDefault"},
            **{k: context[k] for k in ("supplementalGroups", "fsGroup") if k in context},
        },
        "containers": [_container(spec, wire, context, grants)],
        "volumes": [_volume(v, grants) for v in spec.volumes],
    }
    if any(v.host for v in spec.volumes):
        nodes = _nodes_with(grants.values(), node_name)
        pod["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": nodes}}
    return pod | {
        k: wire[k] for k in ("imagePullSecrets", "runtimeClassName", "nodeSelector", "tolerations") if k in wire
    }


def _grace(spec: SandboxSpec) -> int:
    """Seconds that the Pod has to end."""
    longest = LONGEST_GRACE if any(v.host for v in spec.volumes) else spec.termination_grace_period_seconds
    return max(SHORTEST_GRACE, min(spec.termination_grace_period_seconds, longest))


def _container(
    spec: SandboxSpec, wire: dict[str, Any], context: dict[str, Any], grants: dict[str, Grant]
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": spec.image_pull_policy,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            **{k: v for k, v in context.items() if k not in ("supplementalGroups", "fsGroup")},
        },
        "volumeMounts": [_mount(v, grants) for v in spec.volumes],
        **{k: wire[k] for k in _PASSED_ON if k in wire},
    }
    command = KEEP_ALIVE if spec.entrypoint is None else spec.entrypoint
    if command:
        container["command"] = list(command)
    return container


def _volume(volume: Volume, grants: dict[str, Grant]) -> dict[str, Any]:
    if volume.host is not None:
        source = {"hostPath": {"path": grants[volume.name].root, "type": "Directory"}}
    elif volume.pvc is not None:
        source = {"persistentVolumeClaim": {"claimName": volume.pvc.claim_name}}
    else:
        source = {"emptyDir": volume.empty_dir.to_wire() if volume.empty_dir else {}}
    return {"name": volume.name, **source}


def _mount(volume: Volume, grants: dict[str, Grant]) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": volume.name, "mountPath": volume.mount_path}
    if sub_path := grants[volume.name].sub_path if volume.host else volume.sub_path:
        mount["subPath"] = sub_path
    if volume.read_only:
        # Without the second, what is mounted below the directory on the host stays writable (KEP-3857).
        mount |= {"readOnly": True, "recursiveReadOnly": "IfPossible"}
    return mount


def node_labels(grants: Iterable[Grant]) -> list[tuple[str, str]]:
    """Labels of a node that holds all roots; a Linux one, because host paths are understood as it does."""
    return [("kubernetes.io/os", "linux"), *sorted({label for g in grants for label in g.nodes})]


def _nodes_with(grants: Iterable[Grant], node_name: str | None) -> dict[str, Any]:
    term: dict[str, Any] = {
        "matchExpressions": [{"key": key, "operator": "In", "values": [value]} for key, value in node_labels(grants)]
    }
    if node_name:
        term["matchFields"] = [{"key": "metadata.name", "operator": "In", "values": [node_name]}]
    return {"nodeSelectorTerms": [term]}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
