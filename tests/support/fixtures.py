"""One operator for all tests, with the rights of its ServiceAccount, and host directories for them to mount."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import rights
from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.support import Json, Kube, OperatorProcess
from tests.support.audit import AuditLog
from tests.support.deployment import OperatorDeployment
from tests.support.kubectl import condition_of, is_true, tail
from tests.support.places import HOST_DIRECTORY

Recorder = Callable[[str, object], None]
"""pytest's record_property: a name and a figure, printed at the end of the run."""

IMAGE = "busybox:stable"
USER = os.getuid() or 1234
"""User id that Sandboxes run as, and that owns the shared directory: no capability helps it anywhere else."""


HOW = os.environ.get("SANDMOUNT_TEST_OPERATOR", "process")
"""What the operator is: a `process` beside the cluster, or a Pod from the production `overlay` or the `chart`."""


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Iterator[OperatorProcess]:
    """An operator that works. A test that stops it starts it again."""
    if HOW == "process":
        with OperatorProcess(cluster) as running:
            yield running
        return
    with OperatorDeployment(cluster, HOW) as running:
        yield running
    rights.leave(cluster, f"{HOW}-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}")


@pytest.fixture(autouse=True)
def needs(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test says that it needs by its marks (pyproject.toml); most need nothing and run with any operator."""
    if (mark := request.node.get_closest_marker("process")) and HOW != "process":
        pytest.skip(f"needs the operator as a process: {mark.args[0]}")
    marks = [request.node.get_closest_marker(name) for name in ("settings", "without_policy")]
    if not any(marks):
        yield
        return
    operator: OperatorProcess = request.getfixturevalue("operator")
    with ExitStack() as needed:
        if marks[0]:
            needed.enter_context(operator.with_at_least({f"SANDMOUNT_{k}": v for k, v in marks[0].kwargs.items()}))
        if marks[1]:
            needed.enter_context(operator.without_policy())
        yield


@pytest.fixture
def no_traceback(operator: OperatorProcess) -> Iterator[None]:
    """The operator runs before and after, and reports no mistake of its own in between."""
    begun = operator.log.stat().st_size
    yield
    with operator.log.open("rb") as log:
        log.seek(begun)
        said = log.read().decode(errors="replace")
    assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:4000]
    assert operator.pid is not None, "\n".join(tail(operator.log))


@pytest.fixture
def audit(cluster: Cluster) -> AuditLog:
    """What is asked of the API server from now on."""
    return AuditLog.of(cluster)


@pytest.fixture
def kube(operator: OperatorProcess) -> Kube:
    """kubectl as an administrator, with an operator at work."""
    return operator.kube


@pytest.fixture
def host() -> Iterator[Path]:
    """A directory of the host, for ``shared`` (on the allowlist) and for what must not be reached from it."""
    HOST_DIRECTORY.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=HOST_DIRECTORY))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shared(host: Path, kube: Kube) -> Path:
    """The directory that the allowlist allows, owned by USER."""
    root = host / "shared"
    root.mkdir(mode=0o755)
    os.chown(root, USER, USER)
    kube.set_allowlist(f"- {root}\n")
    return root


@dataclass(frozen=True)
class Sandboxes:
    """Sandboxes of one namespace, for tests that read like what they are about."""

    kube: Kube
    namespace: str
    log: Path

    def apply(self, name: str, *volumes: Json, **spec: Any) -> None:
        """Create or change a Sandbox that runs as USER."""
        self.kube.apply(self.manifest(name, *volumes, **spec))

    def manifest(self, name: str, *volumes: Json, **spec: Any) -> Json:
        """A Sandbox as a user writes it."""
        defaults: Json = {"image": IMAGE, "securityContext": {"runAsUser": USER, "runAsGroup": USER}}
        return {
            "apiVersion": "sandmount.dev/v1alpha1",
            "kind": "Sandbox",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {**defaults, **({"volumes": list(volumes)} if volumes else {}), **spec},
        }

    def get(self, name: str) -> Json:
        """The Sandbox."""
        return self.kube.get(SANDBOXES, name, self.namespace)

    def pod(self, name: str) -> Json | None:
        """The Sandbox's Pod, or None."""
        return self.kube.find("pod", name, self.namespace)

    def wait_ready(self, name: str, seconds: float = 60) -> Json:
        """Returns when its condition Ready is True, about the spec as it is now."""
        return self._wait(name, "is Ready", lambda s: is_true(s, "Ready"), seconds)

    def wait_reason(self, name: str, reason: str, kind: str = "Ready", seconds: float = 60) -> Json:
        """Returns the condition when it has this reason."""

        def has_it(sandbox: Json) -> bool:
            found = condition_of(sandbox, kind)
            current = sandbox["status"].get("observedGeneration") == sandbox["metadata"]["generation"]
            return current and found is not None and found["reason"] == reason

        found = condition_of(self._wait(name, f"has {kind} with reason {reason}", has_it, seconds), kind)
        assert found is not None
        return found

    def delete(self, name: str, *how: str) -> None:
        """Delete it and wait until it is gone."""
        self.kube.run("delete", SANDBOXES, name, "-n", self.namespace, *how, seconds=60)

    def sh(self, name: str, command: str) -> tuple[int, str]:
        """Exit code and output of a shell command in its container."""
        done = self.kube.exec(name, self.namespace, "sh", "-c", command)
        return done.returncode, done.stdout + done.stderr

    def _wait(self, name: str, what: str, is_so: Any, seconds: float) -> Json:
        return self.kube.wait_for_sandbox(name, self.namespace, what, is_so, seconds=seconds, log=self.log)


@pytest.fixture
def sandboxes(kube: Kube, namespace: str, operator: OperatorProcess) -> Sandboxes:
    """Sandboxes in a new namespace."""
    return Sandboxes(kube, namespace, operator.log)


def host_volume(path: Path | str, mount_path: str = "/mnt/data", **more: Any) -> Json:
    """A host volume of a Sandbox."""
    return {"name": "data", "host": {"path": str(path)}, "mountPath": mount_path, **more}
