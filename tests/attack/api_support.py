"""What attacks through the Kubernetes API share: tenants with rights of their own, what really ran, and forged Pods."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandmount.api import API_VERSION, KIND, SandboxSpec, parse_spec
from sandmount.judgement import decisions
from sandmount.listfile import parse
from sandmount.pod import build_pod
from sandmount.settings import EmptyAllowlist
from tests.support import Json, Kube, wait_until
from tests.support.fixtures import Sandboxes
from tests.support.kubectl import ALLOWLIST_KEY, ALLOWLIST_NAME, OPERATOR_NAMESPACE

WRITE = """
trap 'exit 0' TERM
exec >> /mnt/data/"$HOSTNAME"
while :; do echo x; sleep 0.2; done
"""
"""Writes into a file with the Pod's name until it is told to end. It does not make it again when a test removes it."""

STUBBORN = WRITE.replace("exit 0", "")
"""The same, and does not end when it is told to."""

STILL = 1.0
"""Seconds in which a file that is written to five times a second cannot stay as it is."""

SECONDS = 60.0

Mount = tuple[str, str, bool]
"""The directory of the host, the subPath, and whether it is read-only."""


def script(text: str) -> list[str]:
    """An entrypoint."""
    return ["sh", "-c", text]


def writes(*files: Path) -> bool:
    """Whether somebody writes into one of the files now."""
    before = _sizes(files)
    deadline = time.monotonic() + STILL
    while _sizes(files) == before:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def wait_until_written(file: Path) -> None:
    """Returns when something was written into the file."""
    wait_until(f"{file} is written to", lambda: file.exists() and file.stat().st_size > 0, SECONDS)


def wait_until_still(*files: Path, seconds: float = SECONDS) -> None:
    """Returns when nobody writes into any of the files any longer."""
    wait_until(f"nobody writes to {files}", lambda: not writes(*files), seconds)


def _sizes(files: Sequence[Path]) -> list[int]:
    return [file.stat().st_size if file.exists() else 0 for file in files]


def host_mounts(pod: Json) -> set[Mount]:
    """What any container of a Pod has of the host; the whole directory where a volume is mounted nowhere."""
    spec = pod["spec"]
    roots = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
    containers = [c for kind in ("initContainers", "containers", "ephemeralContainers") for c in spec.get(kind, ())]
    mounts = [m for c in containers for m in c.get("volumeMounts", ()) if m["name"] in roots]
    unused = roots.keys() - {m["name"] for m in mounts}
    found = {(roots[m["name"]], m.get("subPath", ""), m.get("readOnly", False)) for m in mounts}
    return found | {(roots[name], "", False) for name in unused}


@contextmanager
def pods_followed(kube: Kube, namespace: str) -> Iterator[list[Json]]:
    """A list that holds, when the block has ended, every state that any Pod of the namespace had in it."""
    seen: list[Json] = []
    pods = f"/api/v1/namespaces/{namespace}/pods"
    since = json.loads(kube.run("get", "--raw", f"{pods}?limit=1"))["metadata"]["resourceVersion"]
    command = [str(kube.binary), f"--kubeconfig={kube.kubeconfig}", "get", "--raw"]
    with tempfile.TemporaryFile("w+") as output:
        watch = subprocess.Popen([*command, f"{pods}?watch=1&resourceVersion={since}"], stdout=output)
        try:
            yield seen
            time.sleep(STILL)  # for what is still on its way
        finally:
            ended = watch.poll()
            watch.terminate()
            watch.wait()
        assert ended is None, f"the watch ended by itself with exit code {ended}"
        output.seek(0)
        events = [json.loads(line) for line in output if line.endswith("\n")]
    assert all(e["type"] in ("ADDED", "MODIFIED", "DELETED") for e in events), events
    seen += [e["object"] for e in events]


class Tenant(Kube):
    """kubectl as somebody with the rights that a namespace gave them, and no others."""

    def __init__(self, kube: Kube, user: str) -> None:
        super().__init__(kube.binary, kube.kubeconfig)
        self.user = user

    def try_run(self, *args: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        return super().try_run(f"--as={self.user}", *args, seconds=seconds)

    def _call(self, args: Sequence[str], text: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return super()._call([f"--as={self.user}", *args], text, seconds)


def patch(kube: Kube, kind: str, name: str, namespace: str, change: Json, *how: str) -> None:
    """A merge patch."""
    kube.run("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(change), *how)


SANDBOX_USER: Json = {"apiGroups": ["sandmount.dev"], "resources": ["sandboxes"], "verbs": ["*"]}
"""Everything with Sandboxes, and nothing else."""

POD_USER: Json = {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["*"]}
"""Everything with Pods and their status, and nothing else."""


def tenant(kube: Kube, namespace: str, user: str, *rules: Json) -> Tenant:
    """Somebody with these rights in the namespace; returns when the API server knows them."""
    role = {"name": user, "namespace": namespace}
    api = "rbac.authorization.k8s.io"
    kube.apply(
        [
            {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": role, "rules": list(rules)},
            {
                "apiVersion": f"{api}/v1",
                "kind": "RoleBinding",
                "metadata": role,
                "roleRef": {"apiGroup": api, "kind": "Role", "name": user},
                "subjects": [{"kind": "User", "name": user, "apiGroup": api}],
            },
        ]
    )
    found = Tenant(kube, user)
    what = f"{rules[0]['resources'][0]}.{rules[0]['apiGroups'][0]}".rstrip(".")
    verb = "get" if rules[0]["verbs"] == ["*"] else rules[0]["verbs"][0]
    wait_until(
        f"the rights of {user}", lambda: not found.try_run("auth", "can-i", verb, what, "-n", namespace).returncode, 30
    )
    return found


def genuine_pod(sandbox: Json, allowlist: str) -> Json:
    """The Pod that the operator would make of a Sandbox under a list; anybody can compute it."""
    metadata = sandbox["metadata"]
    spec = parse_spec(sandbox["spec"])
    assert isinstance(spec, SandboxSpec), spec
    grants, denials = decisions(metadata["namespace"], spec.volumes, parse(allowlist, "test", EmptyAllowlist.DENY))
    assert not denials, denials
    return build_pod(metadata["namespace"], metadata["name"], metadata["uid"], spec, grants)


def config_map(namespace: str, name: str, text: str, key: str = "text") -> Json:
    """A ConfigMap with one key."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: text}}


def allowlist(text: str) -> Json:
    """The operator's allowlist with this text."""
    return config_map(OPERATOR_NAMESPACE, ALLOWLIST_NAME, text, ALLOWLIST_KEY)


def owner(name: str, uid: str, kind: str = KIND, api_version: str = API_VERSION) -> Json:
    """A controller in ownerReferences."""
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": True}


def uid_of(found: Json | None) -> str:
    """The uid of an object that has to be there."""
    assert found is not None
    return str(found["metadata"]["uid"])


def wait_until_gone(sandboxes: Sandboxes, name: str, uid: str, seconds: float = SECONDS) -> None:
    """Returns when there is no Pod with this name and uid."""

    def gone() -> bool:
        pod = sandboxes.pod(name)
        return pod is None or uid_of(pod) != uid

    story = sandboxes.kube.story
    wait_until(f"Pod {name} {uid} is gone", gone, seconds, lambda: story(name, sandboxes.namespace, sandboxes.log))


def wait_until_no_pod(sandboxes: Sandboxes, name: str, seconds: float = SECONDS) -> None:
    """Returns when there is no Pod of this name."""
    story = sandboxes.kube.story
    wait_until(
        f"there is no Pod {name}",
        lambda: sandboxes.pod(name) is None,
        seconds,
        lambda: story(name, sandboxes.namespace, sandboxes.log),
    )
