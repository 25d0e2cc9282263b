"""The operator as a Pod: its image, the overlay for production or the chart, and its ServiceAccount's own rights.

Tests see no difference: it is started, stopped, killed and given other settings as the process beside the cluster is.
`SANDMOUNT_TEST_OPERATOR=overlay` or `chart` runs a suite with it, see docs/development.md.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.cluster import Cluster, operator_image
from tests.cluster.choose import cache_folder
from tests.cluster.local.cluster import LocalCluster
from tests.helm.program import program
from tests.support.installation import (
    CRDS,
    DEPLOYMENT,
    MANIFESTS,
    REPOSITORY,
    RIGHTS_SECONDS,
    Before,
    has_rights,
    look,
    wait_until_established,
)
from tests.support.kubectl import OPERATOR_NAMESPACE, Json, wait_until
from tests.support.operator import OperatorProcess

OVERLAY, CHART = MANIFESTS / "overlays" / "production", REPOSITORY / "charts" / "sandmount"
SELECTOR = "app.kubernetes.io/name=sandmount-operator"
GONE_SECONDS = 60.0
_FOLLOW = """tail -q -n +1 -F "$1/0.log" "$1/1.log" "$1/2.log" 2>/dev/null | sed -u 's/^[^ ]* std[a-z]* [FP] //'"""
"""Also of a container that the kubelet starts again, and without what the container runtime writes before each line."""


class OperatorDeployment(OperatorProcess):
    """One operator in the cluster. Its log is followed into a file, line by line as the container writes them."""

    defaults: ClassVar[Mapping[str, str]] = {"SANDMOUNT_EMPTY_ALLOWLIST": "deny", "SANDMOUNT_LOG_FORMAT": "json"}

    def __init__(self, cluster: Cluster, how: str) -> None:
        """``how`` is `overlay` or `chart`."""
        assert isinstance(cluster, LocalCluster), "the image is given to the local cluster only"
        super().__init__(cluster)
        self._cluster, self._how = cluster, how
        self._follower: subprocess.Popen[bytes] | None = None
        self._container: Json = {}

    @property
    def pid(self) -> int | None:
        """The process id that this machine knows its container by, while that runs."""
        pods = [p for p in self._pods() if "deletionTimestamp" not in p["metadata"]]
        states = pods[0]["status"].get("containerStatuses") or [] if pods else []
        running = [s["containerID"].rpartition("/")[2] for s in states if "running" in s["state"]]
        return _process_in(running[0]) if running else None

    def install(self) -> Before:
        """The CRD, and overlay or chart, with the image; without an operator that works yet."""
        found = look(self.kube)
        self.before = self.before or found
        self.kube.run("apply", "--server-side", "--force-conflicts", "-k", str(CRDS))
        wait_until_established(self.kube)
        self._cluster.load_image(operator_image.build(cache_folder(os.environ) / "bin" / "images"))
        if self._how == "chart":
            self._helm("upgrade", "--install", "sandmount", str(CHART), "-n", OPERATOR_NAMESPACE, "--create-namespace")
        else:
            self.kube.run("apply", "--server-side", "--force-conflicts", "-k", str(OVERLAY))
        self._container = self._deployment()["spec"]["template"]["spec"]["containers"][0]
        self.stop()
        wait_until("the rights of the operator's ServiceAccount", lambda: has_rights(self.kube), RIGHTS_SECONDS)
        return found

    def start(self) -> None:
        """Its Pod, with the settings as environment. Returns when the container runs: it may not work yet."""
        settings = {e["name"]: e for e in self._container["env"]}
        settings |= {name: {"name": name, "value": value} for name, value in self.settings.items()}
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._scale(1, list(settings.values()))
        wait_until("the operator's container runs", lambda: self.pid, GONE_SECONDS, self._last_words)
        with self.log.open("ab") as log:
            command = ["sh", "-c", _FOLLOW, "sh", str(self._container_logs())]
            self._follower = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.at_work.append(self)

    def _container_logs(self) -> Path:
        """Where the kubelet keeps it: kubectl would stop when the API server does."""
        [pod] = self._pods()
        folder = f"{OPERATOR_NAMESPACE}_{pod['metadata']['name']}_{pod['metadata']['uid']}"
        return self._cluster.layout.run / "pods" / folder / str(self._container["name"])

    def stop(self) -> None:
        """Scaled to nothing: it is told to end, and given the time that its Pod has."""
        self._scale(0)
        self._gone()

    def kill(self) -> None:
        """Ends it without warning, and for good."""
        pid = self.pid
        self._scale(0)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        self._gone()

    @contextmanager
    def without_policy(self) -> Iterator[None]:
        """Inside, the binding is away that puts the policy in force."""
        bindings = self.kube.items("validatingadmissionpolicybinding", "-l", "app.kubernetes.io/part-of=sandmount")
        assert bindings, "the policy is not installed"
        for binding in bindings:
            self.kube.delete(binding["kind"], binding["metadata"]["name"])
        try:
            yield
        finally:
            self.kube.apply([_without_server_s(binding) for binding in bindings])

    def _gone(self) -> None:
        wait_until("the operator's Pod is gone", lambda: not self._pods(), GONE_SECONDS)
        if self._follower is not None:
            os.killpg(self._follower.pid, signal.SIGTERM)
            self._follower.wait()
            self._follower = None
        super()._gone()

    def _deployment(self) -> Json:
        return self.kube.get("deployment", DEPLOYMENT, OPERATOR_NAMESPACE)

    def _scale(self, replicas: int, env: list[Json] | None = None) -> None:
        """Replaces the environment as a whole: a merge would keep what is set no longer."""
        change: list[Json] = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
        if env is not None:
            change.append({"op": "replace", "path": "/spec/template/spec/containers/0/env", "value": env})
        argv = ("patch", "deployment", DEPLOYMENT, "-n", OPERATOR_NAMESPACE, "--type=json", "-p", json.dumps(change))
        self.kube.run(*argv)

    def _pods(self) -> list[Json]:
        return self.kube.items("pods", "-n", OPERATOR_NAMESPACE, "-l", SELECTOR)

    def _helm(self, *argv: str) -> None:
        environment = {**os.environ, "KUBECONFIG": str(self.kube.kubeconfig)}
        subprocess.run([str(program()), *argv], env=environment, check=True, capture_output=True, timeout=120)


def _without_server_s(item: Json) -> Json:
    kept = ("name", "labels")
    return {**item, "metadata": {k: item["metadata"][k] for k in kept}}


def _process_in(container: str) -> int | None:
    """The first process of that container."""
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: int(p.name)):
        try:
            if container in (folder / "cgroup").read_text():
                return int(folder.name)
        except OSError:
            continue  # it has ended meanwhile
    return None
