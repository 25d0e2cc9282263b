"""What pipelines see at every stage of a Sandbox's life: nothing to apply, no difference, and the right verdict."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandmount import times
from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.helm.program import program
from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.installation import REPOSITORY
from tests.support.kubectl import MANAGER
from tests.verdicts import live
from tests.verdicts.verdicts import HEALTH_CHECK

HEALTH_KEY = "resource.customizations.health.sandmount.dev_Sandbox"
NAME = "trial"
SLOW_TO_END = ["sh", "-c", "trap 'sleep 12; exit 0' TERM; while :; do sleep 0.1; done"]
NEVER_READY = {"exec": {"command": ["false"]}, "periodSeconds": 1}


@dataclass
class Stage:
    """A Sandbox on its way to a stage. ``manifest`` is what Git has."""

    sandboxes: Sandboxes
    root: Path
    kube: Kube
    manifest: Json = field(default_factory=dict)

    def apply(self, **spec: Any) -> None:
        """What the pipeline does."""
        self.manifest = self.sandboxes.manifest(NAME, host_volume(self.root), **spec)
        self.kube.apply(self.manifest)

    def ready(self, **spec: Any) -> None:
        """It runs."""
        self.apply(**spec)
        self.sandboxes.wait_ready(NAME)

    def denied(self) -> None:
        """Its path is on no list."""
        self.kube.set_allowlist("none")
        self.apply()
        self.sandboxes.wait_reason(NAME, "HostPathNotAllowed", kind="Stalled")

    def creating(self) -> None:
        """Its container runs and is not ready."""
        self.apply(readinessProbe=NEVER_READY)
        self.sandboxes.wait_reason(NAME, "ContainersNotReady")

    def name_taken(self) -> None:
        """Somebody else's Pod has its name."""
        metadata = {"name": NAME, "namespace": self.sandboxes.namespace}
        container = {"name": "c", "image": "busybox:stable", "command": ["sleep", "1000"]}
        self.kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
        self.apply()
        self.sandboxes.wait_reason(NAME, "PodNameTaken", kind="Stalled")

    def replaced(self) -> None:
        """Its Pod is ending, to make room for another."""
        self.ready(entrypoint=SLOW_TO_END, terminationGracePeriodSeconds=20)
        self.apply(entrypoint=SLOW_TO_END, terminationGracePeriodSeconds=20, env=[{"name": "A", "value": "b"}])
        self.sandboxes.wait_reason(NAME, "PodReplaced")

    def pausing(self) -> None:
        """Its Pod is ending."""
        self.ready(entrypoint=SLOW_TO_END, terminationGracePeriodSeconds=20)
        self.apply(entrypoint=SLOW_TO_END, terminationGracePeriodSeconds=20, paused=True)
        self.sandboxes.wait_reason(NAME, "Pausing")

    def paused(self) -> None:
        """It has no Pod for now."""
        self.ready()
        self.apply(paused=True)
        self.kube.run("wait", "--for=condition=Paused", f"sbx/{NAME}", "-n", self.sandboxes.namespace, "--timeout=60s")

    def resuming(self) -> None:
        """Its new Pod is not ready yet."""
        self.paused()
        self.apply(readinessProbe=NEVER_READY)
        self.sandboxes.wait_reason(NAME, "ContainersNotReady")
        assert self.sandboxes.get(NAME)["status"]["phase"] == "Resuming"

    def expiring(self) -> None:
        """Its time is over, and its Pod is ending."""
        self.apply(entrypoint=SLOW_TO_END, terminationGracePeriodSeconds=20, expiresAt=soon())
        self.sandboxes.wait_reason(NAME, "Expired")

    def expired(self) -> None:
        """Its time is over."""
        self.apply(expiresAt=soon())
        wait = f"sbx/{NAME}", "-n", self.sandboxes.namespace, "--timeout=60s"
        self.kube.run("wait", "--for=condition=Finished", *wait)

    def deleting(self) -> None:
        """It is being deleted in the foreground, and waits for its Pod."""
        self.ready(entrypoint=SLOW_TO_END, terminationGracePeriodSeconds=20)
        where = "-n", self.sandboxes.namespace
        self.kube.run("delete", SANDBOXES, NAME, *where, "--cascade=foreground", "--wait=false")
        wait_until("it is being deleted", lambda: "deletionTimestamp" in self.sandboxes.get(NAME)["metadata"], 30)

    def new(self) -> None:
        """Nobody has looked at it."""
        self.apply()

    def changed(self) -> None:
        """Nobody has looked at its new spec."""
        self.apply(env=[{"name": "A", "value": "b"}])


def soon() -> str:
    """A time that has not passed yet."""
    return times.stamp(datetime.now(UTC) + timedelta(seconds=5))


STAGES: dict[str, Callable[[Stage], None]] = {
    "ready": Stage.ready,
    "denied": Stage.denied,
    "creating": Stage.creating,
    "name-taken": Stage.name_taken,
    "replaced": Stage.replaced,
    "pausing": Stage.pausing,
    "paused": Stage.paused,
    "resuming": Stage.resuming,
    "expiring": Stage.expiring,
    "expired": Stage.expired,
    "deleting": Stage.deleting,
}
UNSEEN: dict[str, Callable[[Stage], None]] = {"new": Stage.new, "changed": Stage.changed}


@pytest.fixture
def stage(sandboxes: Sandboxes, shared: Path, kube: Kube) -> Stage:
    """A Sandbox that is to be."""
    return Stage(sandboxes, shared, kube)


@pytest.mark.parametrize("name", [*STAGES, *UNSEEN])
def test_at_every_stage_every_tool_reads_it_right_and_has_nothing_to_apply(
    name: str, stage: Stage, operator: OperatorProcess
) -> None:
    if name == "changed":
        stage.ready()
    away: AbstractContextManager[None] = operator.away() if name in UNSEEN else nullcontext()
    with away:
        (STAGES | UNSEEN)[name](stage)
        live.check(name, stage.sandboxes.get(NAME))
        before = stage.sandboxes.get(NAME)
        assert applied_again(stage) == before["metadata"]["generation"]
        assert difference(stage) == ""


def applied_again(stage: Stage) -> int:
    """The generation after two more server-side applies, in which the metadata of the object does not change."""
    found = [stage.sandboxes.get(NAME)["metadata"]]
    for _ in range(2):
        stage.kube.apply(stage.manifest)
        found.append(stage.sandboxes.get(NAME)["metadata"])
    fields = [[f for f in m.get("managedFields", ()) if f["manager"] == MANAGER] for m in found]
    assert fields[0] == fields[1] == fields[2]
    assert not any("annotations" in m or "sandmount" in str(m.get("finalizers")) for m in found)
    generation: int = found[-1]["generation"]
    return generation


def difference(stage: Stage) -> str:
    """What ``kubectl diff`` prints, server-side and the usual way."""
    text = json.dumps(stage.manifest)
    server_side = ("--server-side", "--force-conflicts", f"--field-manager={MANAGER}")
    return "".join(stage.kube.feed(text, "diff", *how, "-f", "-") for how in (server_side, ()))


def test_applying_twice_leaves_the_very_same_object(stage: Stage) -> None:
    stage.ready()
    before = stage.sandboxes.get(NAME)
    stage.kube.apply(stage.manifest)
    assert stage.sandboxes.get(NAME) == before


def test_no_field_of_the_spec_is_written_by_anybody_but_the_user(stage: Stage) -> None:
    stage.paused()
    stage.ready()
    found = stage.kube.run(
        "get", SANDBOXES, NAME, "-n", stage.sandboxes.namespace, "-o", "json", "--show-managed-fields"
    )
    managed = json.loads(found)["metadata"]["managedFields"]
    assert {m["manager"] for m in managed if "f:spec" in m["fieldsV1"]} == {MANAGER}
    assert {m.get("subresource") for m in managed if m["manager"] != MANAGER} == {"status"}


@pytest.mark.parametrize("how", ["background", "foreground", "orphan"])
def test_each_kind_of_deletion_ends_the_pod_and_kubectl_wait_sees_it(how: str, stage: Stage) -> None:
    stage.ready()
    where = "-n", stage.sandboxes.namespace
    stage.kube.run("delete", SANDBOXES, NAME, *where, f"--cascade={how}", "--wait=false")
    stage.kube.run("wait", "--for=delete", f"sbx/{NAME}", f"pod/{NAME}", *where, "--timeout=60s")
    assert stage.sandboxes.pod(NAME) is None


def test_pruning_takes_a_sandbox_that_is_no_longer_in_git_and_its_pod(stage: Stage) -> None:
    stage.ready()
    labelled = stage.manifest | {"metadata": stage.manifest["metadata"] | {"labels": {"in": "git"}}}
    other = stage.sandboxes.manifest("other", paused=True)
    other["metadata"]["labels"] = {"in": "git"}
    where = "-n", stage.sandboxes.namespace
    stage.kube.apply(labelled)
    allow = "--prune-allowlist=sandmount.dev/v1alpha1/Sandbox"
    text = json.dumps(other)
    stage.kube.feed(text, "apply", *where, "-l", "in=git", "--prune", allow, "-f", "-")
    assert stage.sandboxes.kube.find(SANDBOXES, NAME, stage.sandboxes.namespace) is not None  # not applied that way
    stage.kube.feed(json.dumps(labelled), "apply", *where, "-l", "in=git", "-f", "-")
    stage.kube.feed(text, "apply", *where, "-l", "in=git", "--prune", allow, "-f", "-")
    stage.kube.run("wait", "--for=delete", f"sbx/{NAME}", f"pod/{NAME}", *where, "--timeout=60s")
    assert stage.kube.find(SANDBOXES, "other", stage.sandboxes.namespace) is not None


def documented(part: str) -> str:
    """The one command of docs/gitops.md, or option of one, that has this in it."""
    text = (REPOSITORY / "docs" / "gitops.md").read_text()
    [found] = [b for b in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if part in b]
    return str(found)


@pytest.fixture
def shell(cluster: Cluster, kube: Kube) -> Callable[[str], str]:
    """Runs commands from the repository's folder, with kubectl set to the cluster, and returns what they print."""
    path = f"{kube.binary.parent}:{program().parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)}

    def run(command: str) -> str:
        argv = ["bash", "-e", "-o", "pipefail", "-c", command]
        done = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_health_check_is_patched_by_hand_into_an_argocd_cm_that_keeps_all_else(
    namespace: str, kube: Kube, shell: Callable[[str], str]
) -> None:
    labels = {"app.kubernetes.io/part-of": "argocd"}
    metadata = {"name": "argocd-cm", "namespace": namespace, "labels": labels}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"url": "kept"}})
    shell(documented("kubectl patch configmap argocd-cm").replace("-n argocd ", f"-n {namespace} "))
    found = kube.get("configmap", "argocd-cm", namespace)
    assert found["metadata"]["labels"] == labels
    assert found["data"] == {"url": "kept", HEALTH_KEY: HEALTH_CHECK.read_text()}


def test_helm_takes_the_documented_option_for_the_key_that_argo_cd_reads(
    tmp_path: Path, shell: Callable[[str], str]
) -> None:
    """Argo CD's chart writes ``configs.cm`` into argocd-cm; this one prints it."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: prints, version: 0.0.1}")
    (tmp_path / "templates" / "cm.yaml").write_text("data: {{ toJson .Values.configs.cm }}")
    printed = shell(f"helm template prints {tmp_path} {documented('--set-file')}")
    assert yaml.safe_load(printed)["data"] == {HEALTH_KEY: HEALTH_CHECK.read_text()}
