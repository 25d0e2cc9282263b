"""docs/troubleshooting.md: every reason has its place there, in the code's own words, and there are none but those."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandmount import healing, plan
from sandmount.allowlist import Allowlist, Grant
from sandmount.gathered import Gathered
from sandmount.listfile import load
from sandmount.memory import by_type
from sandmount.observe import Node, Pod, Sandbox
from sandmount.podstate import state_of, state_of_ending
from sandmount.settings import EmptyAllowlist
from sandmount.status import Verdict, compute_status
from sandmount.steps import Plan
from sandmount.trouble import Trouble, find_trouble
from tests.unit.builders import (
    NOW,
    SETTINGS,
    STAMP,
    Json,
    allowlist,
    config_map,
    host,
    mount,
    pod,
    roots,
    sandbox,
    spec,
)
from tests.unit.lives import at, container

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
RECORDED = sorted((REPOSITORY / "tests" / "verdicts" / "recorded").glob("*.json"))

CAMEL_CASE = re.compile(r"[A-Z]{0,3}[A-Z][a-z]+(?:[A-Z][A-Za-z]*)*")

NO_REASONS = {
    "types of conditions": "Ready Reconciling Stalled VolumesAllowed PodScheduled DisruptionTarget",
    "their values": "True False",
    "phases of Sandboxes and Pods": "Pending Running Resuming Stopping Succeeded Failed Terminated",
    "types and parts of Events": "Normal Warning Reconcile",
    "kinds": "ConfigMap Event Pod Sandbox DeleteOptions",
    "values of a spec, and of settings": (
        "Always OnFailure Never IfNotPresent Delete Retain Memory Directory Exists Equal In IfPossible RuntimeDefault "
        "NoExecute NoSchedule PreferNoSchedule CriticalAddonsOnly Deny Off Terminate Warn"
    ),
    "what the API server answers": "AlreadyExists NamespaceTerminating ValidatingAdmissionPolicy Background",
    "headers and classes": "Accept ApiServer BearerToken Entry Login",
    "categories of characters": "Cc Cf Cs Zl Zp Zs",
}
"""What looks like a reason in the code and is none. A new word that is on neither list fails a test."""

KUBERNETES = {
    "pkg/kubelet/images/types.go": "ErrImagePull ErrImageNeverPull ImageInspectError ImagePullBackOff InvalidImageName",
    "pkg/kubelet/kuberuntime/kuberuntime_container.go": "CreateContainerConfigError CreateContainerError",
    "pkg/kubelet/container/sync_result.go": "CrashLoopBackOff RunContainerError",
    "pkg/kubelet/events/event.go": "FailedMount FailedAttachVolume FailedCreatePodSandBox Preempting",
    "pkg/kubelet/eviction/helpers.go": "Evicted",
    "pkg/kubelet/nodeshutdown/nodeshutdown_manager.go": "NodeShutdown Terminated",
    "pkg/kubelet/lifecycle/predicate.go": "UnexpectedAdmissionError",
    "k8s.io/api/core/v1/types.go": "SchedulingGated Unschedulable",
    "the container runtime": "Error OOMKilled StartError",
}
"""Reasons of Kubernetes 1.36 that come through as they are, and where its source has them."""


def words_of_the_code() -> set[str]:
    """Every text in the operator's own modules that is written like a reason."""
    found = set()
    for module in (REPOSITORY / "operator" / "sandmount").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CAMEL_CASE.fullmatch(node.value):
                found.add(node.value)
    return found


def split(table: dict[str, str]) -> set[str]:
    return {word for words in table.values() for word in words.split()}


def recorded_reasons() -> set[str]:
    """Those of Sandboxes that a real cluster had."""
    statuses = [json.loads(file.read_text()).get("status", {}) for file in RECORDED]
    return {c["reason"] for status in statuses for c in status.get("conditions", ())}


def places() -> dict[str, int]:
    """The reasons that have a heading, or the first cell of a row, to themselves."""
    headings = re.findall(r"^### (`.*)$", DOCUMENT, re.MULTILINE)
    rows = re.findall(r"^\| (`[^|]*`) \|", DOCUMENT, re.MULTILINE)
    found: dict[str, int] = {}
    for line in (*headings, *rows):
        for word in re.findall(r"`([^`]+)`", line):
            found[word] = found.get(word, 0) + 1
    return found


def test_every_reason_of_the_code_has_its_place() -> None:
    missing = words_of_the_code() - split(NO_REASONS) - places().keys()
    assert not missing, f"neither in docs/troubleshooting.md nor among what is no reason: {sorted(missing)}"


def test_every_reason_that_a_real_cluster_gave_has_its_place() -> None:
    assert RECORDED
    assert recorded_reasons() <= places().keys()


def test_the_document_has_no_reason_that_the_code_does_not_know() -> None:
    known = (words_of_the_code() - split(NO_REASONS)) | split(KUBERNETES)
    assert places().keys() <= known, sorted(places().keys() - known)


def test_what_is_no_reason_is_in_the_code() -> None:
    assert split(NO_REASONS) <= words_of_the_code()


GRANT = Grant("data", "/srv/data", "train", read_only=False)
WANTED: dict[str, Any] = {"volumes": [host("/srv/data/train")]}
DOWN = Node("node-1", True, False, "Kubelet stopped posting node status.")
FOREIGN: dict[str, Any] = {"owner_uid": "u", "owner": "ReplicaSet web-1", "owned_by_namesake": False, "made_for": None}
ENDING: dict[str, Any] = {"deleting": True, "ends_at": NOW}
EMPTY = EmptyAllowlist.ALLOW
SECRET = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}}
DATA = roots("/srv/data")
OPEN = pod(spec(**WANTED), (GRANT,))


def judged(wanted: Sandbox, found: Pod | None = None, listed: Allowlist = DATA, **more: Any) -> Verdict:
    """What the plan says of it."""
    made = plan.make_plan(Gathered(wanted, listed, found, SETTINGS, NOW, **more))
    assert made.verdict is not None
    return made.verdict


def starting(status: Json | None = None, policy: str = "Always", **pending: Any) -> Verdict:
    """What a Pod says that is not ready, by the status of its container or its own."""
    fields: dict[str, Any] = {"phase": "Pending", "ready": False, "host_mounts": (mount(GRANT),), **pending}
    if status is not None:
        statuses = status.get("containerStatuses") or [{}]
        fields["trouble"] = find_trouble({"restartPolicy": policy}, status, statuses[0])
    return Verdict(state_of(pod(**fields), None))


def waiting(reason: str, message: str, **fields: Any) -> Verdict:
    return starting({"containerStatuses": container(waiting={"reason": reason, "message": message}, **fields)})


def ended(code: int, reason: str, count: int = 1) -> Verdict:
    return starting({"containerStatuses": container(count=count, terminated={"exitCode": code, "reason": reason})})


def told(reason: str, message: str) -> Verdict:
    """What an Event says."""
    return starting(trouble=Trouble(reason, message))


def denied(listed: Allowlist, **volume: Any) -> Verdict:
    return judged(sandbox(volumes=[host(**{"path": "/etc", **volume})]), listed=listed)


def refused(message: str, *, final: bool) -> Verdict:
    return _verdict(plan.pod_refused(Verdict(state_of(pod(), None)), final=final, message=message))


def not_created(message: str) -> Verdict:
    return _verdict(plan.not_yet(plan.make_plan(Gathered(sandbox(), DATA, None, SETTINGS, NOW)), message))


def changed() -> Verdict:
    made = plan.make_plan(Gathered(sandbox(**WANTED), DATA, None, SETTINGS, NOW))
    other = mount(Grant("host-certs", "/etc/ssl", "", read_only=True))
    found = plan.pod_changed(made, pod(host_mounts=(mount(GRANT), other)), (GRANT,))
    assert found is not None
    return _verdict(found)


def _verdict(made: Plan) -> Verdict:
    assert made.verdict is not None
    return made.verdict


def _lost(restarts: int, reason: str, message: str) -> Verdict:
    memory = sandbox({"observedGeneration": 1, "restarts": restarts}).memory
    return _verdict(healing.lost(memory, reason, message, NOW))


BAD = "- /srv/data:\n    readOnly: true\n"
EXCEPTED = "- {path: /srv, readOnly: true}\n- {path: /srv/private, namespaces: [team-b]}"
QUOTA = (
    'pods "training" is forbidden: exceeded quota: tenant, requested: requests.memory=2Gi, used: requests.memory=7Gi, '
    "limited: requests.memory=8Gi"
)
POD_SECURITY = 'pods "training" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes (volume "data")'
NO_NODE = (
    "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are "
    "available: 3 Preemption is not helpful for scheduling."
)
UNSCHEDULABLE = {
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": NO_NODE}]
}
SUBPATH = 'failed to prepare subPath for volumeMount "data" of container "sandbox"'

SAID: dict[str, Callable[[], Verdict]] = {
    "not on the list": lambda: denied(DATA),
    "nothing is": lambda: denied(allowlist("none")),
    "bad item": lambda: denied(allowlist("- /srv/data\n- path: /srv/other\n  readonly: true"), path="/srv/other/a"),
    "excepted": lambda: denied(allowlist(EXCEPTED), path="/srv/private", readOnly=True),
    "read-only": lambda: denied(allowlist("- {path: /srv/data, readOnly: true}"), path="/srv/data"),
    "no list": lambda: denied(load(None, EMPTY)),
    "no key": lambda: denied(load(config_map(None), EMPTY)),
    "no YAML": lambda: denied(load(config_map("- /srv/data\n  - /srv/other: ["), EMPTY)),
    "text": lambda: denied(load(config_map("/srv/data"), EMPTY)),
    "secret": lambda: judged(sandbox(env=[SECRET])),
    "runtime class": lambda: judged(sandbox(runtimeClassName="gvisor")),
    "invalid": lambda: judged(sandbox(volumes=[host("/srv/data", hostPath={"path": "/"})])),
    "quota": lambda: refused(QUOTA, final=False),
    "Pod Security": lambda: refused(POD_SECURITY, final=False),
    "changed": changed,
    "name taken": lambda: _verdict(plan.name_taken(pod(**FOREIGN))),
    "created": lambda: judged(sandbox()),
    "pending": starting,
    "creating": lambda: starting({"containerStatuses": container(waiting={"reason": "ContainerCreating"})}),
    "not ready": lambda: starting(
        {"conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady",
                         "message": "containers with unready status: [sandbox]"}]}, phase="Running"),
    "not created": lambda: not_created("create a Pod: 500 etcdserver: request timed out"),
    "previous": lambda: judged(sandbox(), pod(owner_uid="earlier")),
    "ending": lambda: Verdict(state_of_ending(pod(deleting=True, ends_at=at(5)), None, NOW)),
    "ending late": lambda: Verdict(state_of_ending(pod(**ENDING), None, at(60))),
    "replaced by spec": lambda: judged(sandbox(image="other"), pod()),
    "replaced by list": lambda: judged(sandbox(**WANTED), OPEN, roots("/srv/data/train")),
    "no node": lambda: starting(UNSCHEDULABLE),
    "kept to a node": lambda: starting(UNSCHEDULABLE, kept_to="node-1"),
    "no mount": lambda: told("FailedMount", 'MountVolume.SetUp failed for volume "data" : hostPath type check failed: '
                             "/srv/data is not a directory"),
    "no image": lambda: waiting("ErrImagePull", 'failed to pull and unpack image "registry.example/tool:9": not found'),
    "never pulled": lambda: waiting("ErrImageNeverPull",
                                    'Container image "tool:9" is not present with pull policy of Never'),
    "bad name": lambda: waiting("InvalidImageName", 'Failed to apply default image tag "UPPER": could not parse image '
                                "reference"),
    "no map": lambda: waiting("CreateContainerConfigError", 'configmap "settings" not found'),
    "leads out": lambda: waiting("CreateContainerConfigError", SUBPATH),
    "ready": lambda: Verdict(state_of(pod(), None)),
    "error": lambda: ended(3, "Error"),
    "memory": lambda: ended(137, "OOMKilled"),
    "success": lambda: ended(0, "Completed"),
    "crashes": lambda: waiting(
        "CrashLoopBackOff", "back-off 40s restarting failed container=sandbox pod=training_team-a", count=3,
        last={"terminated": {"exitCode": 3, "reason": "Error"}}),
    "deleted": lambda: _lost(1, "PodDeleted", "the Pod was deleted"),
    "evicted": lambda: _lost(0, "Evicted", "The node was low on resource: ephemeral-storage."),
    "disrupted": lambda: _lost(0, *healing.words_of(pod(phase="Failed", ready=False))),
    "node not ready": lambda: Verdict(state_of(pod(ready=False, cut_off=True), DOWN)),
    "node lost": lambda: Verdict(state_of_ending(pod(**ENDING), DOWN, at(60))),
    "too often": lambda: _lost(10, "PodDeleted", "the Pod was deleted"),
    "failed": lambda: starting({"containerStatuses": container(terminated={"exitCode": 4, "reason": "Error"})},
                               policy="Never", phase="Failed"),
    "done": lambda: judged(sandbox(restartPolicy="Never"), pod(phase="Succeeded", ready=False)),
    "pausing": lambda: judged(sandbox(paused=True), pod()),
    "paused": lambda: judged(sandbox(paused=True)),
    "expiring": lambda: judged(sandbox(expiresAt=STAMP), pod()),
    "expired": lambda: judged(sandbox(expiresAt=STAMP)),
    "timed out": lambda: judged(
        sandbox({"observedGeneration": 1, "startedAt": "2026-01-02T03:03:05Z"}, timeoutSeconds=60)),
    "held": lambda: judged(sandbox(metadata={"deletionTimestamp": STAMP, "finalizers": ["example.com/keep"]})),
}  # fmt: skip
"""A verdict for each sentence that the document quotes."""


def shown(verdict: Verdict) -> str:
    """PHASE, READY and REASON as ``kubectl get sbx`` has them, and the message of that condition below."""
    status = compute_status(sandbox(), verdict, None, NOW)
    conditions = by_type(status)
    rest = next((conditions[kind] for kind in ("Paused", "Finished") if kind in conditions), None)
    if rest is not None:
        return f"{status['phase']}\n{rest['type']}, {rest['reason']}: {rest['message']}\n"
    ready = conditions["Ready"]
    return f"{status['phase']}   {ready['status']}   {ready['reason']}\n{ready['message']}\n"


def quoted() -> Iterator[str]:
    """What the document shows of ``kubectl get sbx``."""
    for block in re.findall(r"^```text\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE):
        yield from re.findall(r"\S[^\n]*\n\S[^\n]*\n", block)


@pytest.mark.parametrize("name", SAID)
def test_the_document_has_the_operator_s_own_words(name: str) -> None:
    assert shown(SAID[name]()) in set(quoted())


def test_the_document_quotes_nothing_that_the_operator_does_not_say() -> None:
    assert set(quoted()) <= {shown(verdict()) for verdict in SAID.values()}
