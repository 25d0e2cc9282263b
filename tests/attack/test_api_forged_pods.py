"""A Pod forged with all that ours have, the Sandbox's real uid and hash too, but with other mounts: it never stays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.attack.api_support import (
    WRITE,
    Tenant,
    genuine_pod,
    host_mounts,
    script,
    uid_of,
    wait_until_gone,
    wait_until_no_pod,
    wait_until_still,
    wait_until_written,
)
from tests.support import Json, OperatorProcess
from tests.support.fixtures import IMAGE, Sandboxes, host_volume

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")

Forge = Callable[[Json, Path], None]
"""Changes the spec of a genuine Pod; the path is a directory that no list allows."""

OUTSIDE_MOUNT = {"name": "outside", "mountPath": "/mnt/outside"}


def _other_root(spec: Json, outside: Path) -> None:
    spec["volumes"][0]["hostPath"]["path"] = str(outside)


def _no_sub_path(spec: Json, _: Path) -> None:
    del spec["containers"][0]["volumeMounts"][0]["subPath"]


def _writable(spec: Json, _: Path) -> None:
    mount = spec["containers"][0]["volumeMounts"][0]
    del mount["readOnly"], mount["recursiveReadOnly"]


def _mounted_twice(spec: Json, _: Path) -> None:
    spec["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": "/mnt/whole"})


def _extra_volume(spec: Json, outside: Path) -> None:
    spec["volumes"].append({"name": "outside", "hostPath": {"path": str(outside)}})
    spec["containers"][0]["volumeMounts"].append(OUTSIDE_MOUNT)


def _extra_volume_first(spec: Json, outside: Path) -> None:
    spec["volumes"].insert(0, {"name": "outside", "hostPath": {"path": str(outside)}})
    spec["containers"][0]["volumeMounts"].insert(0, OUTSIDE_MOUNT)


def _unused_volume(spec: Json, outside: Path) -> None:
    """For an ephemeral container to mount later."""
    spec["volumes"].append({"name": "outside", "hostPath": {"path": str(outside)}})


def _other_container(spec: Json, outside: Path) -> None:
    _unused_volume(spec, outside)
    command = script(WRITE.replace("/mnt/data", "/mnt/outside"))
    spec["containers"].append({"name": "other", "image": IMAGE, "command": command, "volumeMounts": [OUTSIDE_MOUNT]})


def _other_container_first(spec: Json, outside: Path) -> None:
    _other_container(spec, outside)
    spec["containers"].reverse()


def _init_container(spec: Json, outside: Path) -> None:
    _other_container(spec, outside)
    spec["initContainers"] = [spec["containers"].pop() | {"restartPolicy": "Always"}]


FORGED: Mapping[str, Forge] = {
    "other-root": _other_root,
    "no-sub-path": _no_sub_path,
    "writable": _writable,
    "mounted-twice": _mounted_twice,
    "extra-volume": _extra_volume,
    "extra-volume-first": _extra_volume_first,
    "unused-volume": _unused_volume,
    "other-container": _other_container,
    "other-container-first": _other_container_first,
    "init-container": _init_container,
}

BARE = ("extra-volume", "other-container")
"""Forged once more, without our labels: the operator finds such a Pod only because the name is taken."""


def forge(genuine: Json, change: Forge, outside: Path, *, labelled: bool) -> Json:
    """The Pod as somebody makes it."""
    pod = copy.deepcopy(genuine)
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    change(pod["spec"], outside)
    if not labelled:
        del pod["metadata"]["labels"]
    return pod


@pytest.mark.without_policy("makes Pods with our label, which the policy refuses")
def test_a_pod_with_our_hash_and_other_mounts_is_replaced_by_one_with_what_was_granted(
    sandboxes: Sandboxes, pod_user: Tenant, shared: Path, host: Path, operator: OperatorProcess
) -> None:
    outside = host / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    sandboxes.kube.set_allowlist(f"- {shared}\n")
    forged = {name: (change, True) for name, change in FORGED.items()}
    forged |= {f"bare-{name}": (FORGED[name], False) for name in BARE}
    pods: dict[str, Json] = {}
    with operator.away():
        volume = host_volume(shared, subPath="own", readOnly=True)
        sandboxes.kube.apply([sandboxes.manifest(name, volume, terminationGracePeriodSeconds=1) for name in forged])
        for name, (change, labelled) in forged.items():
            genuine = genuine_pod(sandboxes.get(name), f"- {shared}")
            pods[name] = forge(genuine, change, outside, labelled=labelled)
        pod_user.apply(pods.values())
        uids = {name: uid_of(sandboxes.pod(name)) for name in pods}
        for name in pods:
            if "container" in name:
                wait_until_written(outside / name)
    for name, uid in uids.items():
        wait_until_gone(sandboxes, name, uid)
    for name in pods:
        found = sandboxes.wait_ready(name)
        pod = sandboxes.pod(name)
        assert pod is not None and uid_of(pod) != uids[name]
        assert host_mounts(pod) == {(str(shared), "own", True)}, name
        (volume,) = found["status"]["volumes"]
        assert (volume["root"], volume["subPath"], volume["readOnly"]) == (str(shared), "own", True)
    wait_until_still(*(outside / name for name in pods))


@pytest.mark.without_policy("makes Pods with our label, which the policy refuses")
def test_a_forged_pod_of_a_denied_sandbox_does_not_stay_and_is_not_vouched_for(
    sandboxes: Sandboxes, pod_user: Tenant, shared: Path, host: Path
) -> None:
    outside = host / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    sandboxes.apply("denied", host_volume(outside), entrypoint=script(WRITE), terminationGracePeriodSeconds=1)
    sandboxes.wait_reason("denied", "HostPathNotAllowed")
    pod_user.apply(genuine_pod(sandboxes.get("denied"), f"- {outside}"))
    wait_until_no_pod(sandboxes, "denied")
    wait_until_still(outside / "denied")
    status = sandboxes.get("denied")["status"]
    sandboxes.wait_reason("denied", "HostPathNotAllowed")
    assert not {"startedAt"} & status.keys(), status
