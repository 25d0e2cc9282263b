"""Admission that changes a Pod's mounts: what was not granted does not run, and nothing is tried without pause."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.attack.api_support import WRITE, script, wait_until_no_pod, writes
from tests.cluster import Cluster
from tests.support import Json, Kube, wait_until
from tests.support.audit import AuditLog
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.kubectl import condition_of

pytest_plugins = ["tests.attack.api_fixtures"]
pytestmark = pytest.mark.usefixtures("no_traceback")

WATCHED_SECONDS = 8.0
MOST_CREATIONS = 2
KIND = "mutatingadmissionpolicies.admissionregistration.k8s.io"

Policy = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def policy(kube: Kube, namespace: str) -> Policy:
    """Inside, each new Pod of the namespace gets this JSON patch, which is an expression of CEL."""
    name = f"attack-{namespace}"
    api = "admissionregistration.k8s.io/v1"
    key = "kubernetes.io/metadata.name"

    @contextmanager
    def applied(patch: str) -> Iterator[None]:
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        matches: Json = {"resourceRules": [rule], "namespaceSelector": {"matchLabels": {key: namespace}}}
        mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}
        spec: Json = {
            "matchConstraints": matches,
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [mutation],
        }
        binding = {"apiVersion": api, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}}
        made = {"apiVersion": api, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec}
        try:
            kube.apply([made, binding | {"metadata": {"name": name}}])
            wait_until("the policy is in force", lambda: _in_force(kube, namespace), 30)
            yield
        finally:
            kube.delete("mutatingadmissionpolicybindings.admissionregistration.k8s.io", name)
            kube.delete(KIND, name)

    return applied


def _in_force(kube: Kube, namespace: str) -> bool:
    """Whether a Pod would be changed; none is made for that."""
    container = {"name": "c", "image": "x", "volumeMounts": [{"name": "data", "mountPath": "/mnt/data"}]}
    volumes = [{"name": "data", "hostPath": {"path": "/nowhere"}}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace}}
    text = json.dumps(pod | {"spec": {"containers": [container], "volumes": volumes}})
    answer = json.loads(kube.feed(text, "create", "--dry-run=server", "-o", "json", "-f", "-"))
    (mount, *_) = answer["spec"]["containers"][0]["volumeMounts"]
    return bool(mount.get("readOnly")) or sum("hostPath" in v for v in answer["spec"]["volumes"]) > 1


def test_a_pod_that_admission_gave_another_host_directory_is_taken_back_and_not_tried_without_pause(
    sandboxes: Sandboxes, shared: Path, host: Path, cluster: Cluster, policy: Policy
) -> None:
    outside = host / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    added = f'Object.spec.volumes{{name: "added", hostPath: Object.spec.volumes.hostPath{{path: "{outside}"}}}}'
    patch = f'[JSONPatch{{op: "add", path: "/spec/volumes/-", value: {added}}}]'
    audit = AuditLog.of(cluster)
    with policy(patch):
        sandboxes.apply("changed", host_volume(shared), entrypoint=script(WRITE))
        sandboxes.wait_reason("changed", "PodChanged")
        time.sleep(WATCHED_SECONDS)
        wait_until_no_pod(sandboxes, "changed")  # one that was just tried again may still be ending
    created = [r for r in audit.writes(sandboxes.namespace) if r.what == "pods" and r.verb == "create"]
    assert len(created) <= MOST_CREATIONS, [str(r) for r in created]
    assert not (shared / "changed").exists() or not writes(shared / "changed")


def test_a_pod_that_admission_made_read_only_is_not_tried_without_pause(
    sandboxes: Sandboxes, shared: Path, cluster: Cluster, policy: Policy
) -> None:
    patch = '[JSONPatch{op: "add", path: "/spec/containers/0/volumeMounts/0/readOnly", value: true}]'
    audit = AuditLog.of(cluster)
    with policy(patch):
        sandboxes.apply("changed", host_volume(shared))
        time.sleep(WATCHED_SECONDS)
    created = [r for r in audit.writes(sandboxes.namespace) if r.what == "pods" and r.verb == "create"]
    assert 1 <= len(created) <= MOST_CREATIONS, [str(r) for r in created]
    assert condition_of(sandboxes.get("changed"), "Stalled")
