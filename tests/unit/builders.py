"""What the unit tests are made of: the smallest valid object of each kind, with what a test changes in it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sandmount.allowlist import Allowlist, Grant
from sandmount.api import HostDirectory, SandboxSpec, Volume, parse_spec
from sandmount.listfile import parse
from sandmount.observe import Pod, Sandbox, parse_sandbox
from sandmount.pod import built_from
from sandmount.settings import EmptyAllowlist, Settings

Json = dict[str, Any]

NAMESPACE, NAME, UID, POD_UID = "team-a", "training", "sandbox-uid", "pod-uid"
KEY = (NAMESPACE, NAME)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = "2026-01-02T03:04:05Z"
LATER = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)
LATER_STAMP = "2026-01-02T04:00:00Z"
SETTINGS = Settings()


def raw_spec(**fields: Any) -> Json:
    """A spec as it comes from the API server."""
    return {"image": "ubuntu", **fields}


def spec(**fields: Any) -> SandboxSpec:
    """A valid spec, parsed."""
    found = parse_spec(raw_spec(**fields))
    assert isinstance(found, SandboxSpec), found
    return found


def problems(raw: object) -> tuple[str, ...]:
    """What is wrong with a raw spec; empty when nothing is."""
    found = parse_spec(raw)
    return () if isinstance(found, SandboxSpec) else found.problems


def host(path: str = "/data/shared", name: str = "data", **fields: Any) -> Json:
    """A host volume, mounted at /mnt/<name>."""
    return {"name": name, "host": {"path": path}, "mountPath": f"/mnt/{name}", **fields}


def raw_sandbox(status: Json | None = None, metadata: Json | None = None, **fields: Any) -> Json:
    """A Sandbox as it comes from the API server; ``fields`` are of its spec."""
    return {
        "apiVersion": "sandmount.dev/v1alpha1",
        "kind": "Sandbox",
        "metadata": {
            "namespace": NAMESPACE,
            "name": NAME,
            "uid": UID,
            "resourceVersion": "10",
            "generation": 1,
            **(metadata or {}),
        },
        "spec": raw_spec(**fields),
        "status": {"observedGeneration": -1} if status is None else status,
    }


def sandbox(status: Json | None = None, metadata: Json | None = None, **fields: Any) -> Sandbox:
    """A Sandbox, parsed; ``fields`` are of its spec."""
    return parse_sandbox(raw_sandbox(status, metadata, **fields))


def mount(grant: Grant) -> Volume:
    """A grant as the Pod's own spec shows it."""
    return Volume.model_construct(
        name=grant.volume,
        mount_path=f"/mnt/{grant.volume}",
        host=HostDirectory.model_construct(path=grant.root),
        sub_path=grant.sub_path or None,
        read_only=grant.read_only,
    )


def pod(sandbox_spec: SandboxSpec | None = None, grants: tuple[Grant, ...] = (), **changes: Any) -> Pod:
    """The Pod of ``sandbox()``, running and ready, built from that spec and those grants."""
    running = Pod(
        namespace=NAMESPACE,
        name=NAME,
        uid=POD_UID,
        resource_version="20",
        owner_uid=UID,
        owner=f"Sandbox {NAME}",
        labelled=True,
        made_for=UID,
        owned_by_namesake=True,
        built_from=built_from(sandbox_spec or spec(), grants),
        deleting=False,
        grace=10,
        host_mounts=tuple(mount(g) for g in grants),
        phase="Running",
        ready=True,
        ready_since=STAMP,
        started=True,
        pod_ip="10.0.0.7",
        node_name="node-1",
        trouble=None,
    )
    return replace(running, **changes)


def allowlist(text: str, version: str = "list/1", empty: EmptyAllowlist = EmptyAllowlist.ALLOW) -> Allowlist:
    """The allowlist in a YAML text."""
    return parse(text, version, empty)


def roots(*paths: str) -> Allowlist:
    """A valid allowlist of these roots."""
    found = allowlist("\n".join(f"- {p}" for p in paths))
    assert not found.bad_items
    return found


def config_map(text: str | None, version: int = 1) -> Json:
    """The allowlist's ConfigMap; without the key when ``text`` is None."""
    metadata = {"uid": "list", "resourceVersion": str(version)}
    return {"metadata": metadata} | ({} if text is None else {"data": {"allowed_host_paths": text}})


def condition(kind: str, value: str, reason: str, message: str, **changes: Any) -> Json:
    """A condition as it is stored, of generation 1 and NOW."""
    return {
        "type": kind,
        "status": value,
        "observedGeneration": 1,
        "lastTransitionTime": STAMP,
        "reason": reason,
        "message": message,
        **changes,
    }
