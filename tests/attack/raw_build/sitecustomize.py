"""An operator that mounts what was asked for, to show that the attack suite can fail.

Python imports this module by itself when its folder is on PYTHONPATH, before the operator's own code runs. The
allowlist decides as always, on the text of the paths; only the mount is the one that comparing text suggests: host.path
with subPath as the Pod's hostPath.
"""

from collections.abc import Sequence
from typing import Any

from sandmount import paths, pod
from sandmount.allowlist import Grant
from sandmount.api import SandboxSpec

_build_pod = pod.build_pod


def build_pod(
    namespace: str, name: str, uid: str, spec: SandboxSpec, grants: Sequence[Grant], node_name: str | None = None
) -> dict[str, Any]:
    """The Sandbox's Pod with the requested paths instead of roots, and without subPaths."""
    built = _build_pod(namespace, name, uid, spec, grants, node_name)
    asked = {v.name: paths.join(v.host.path, v.sub_path or "") for v in spec.volumes if v.host}
    for volume in built["spec"]["volumes"]:
        if volume["name"] in asked:
            volume["hostPath"]["path"] = asked[volume["name"]]
    for mount in built["spec"]["containers"][0]["volumeMounts"]:
        if mount["name"] in asked:
            mount.pop("subPath", None)
    return built


pod.build_pod = build_pod

from sandmount import plan  # noqa: E402 - it takes build_pod from there

plan.mounts_what_was_granted = lambda *_: True  # or it would replace every Pod that does not mount a root
