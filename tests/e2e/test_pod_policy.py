"""manifests/policy: what the API server refuses about Pods of Sandboxes, and everything else that it must not hinder.

Each attack is also made without the policy, where it succeeds: else a refusal would say nothing about the policy.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support import Json, Kube, OperatorProcess, wait_until
from tests.support.fixtures import IMAGE, Sandboxes, host_volume
from tests.support.installation import MANIFESTS, SERVICE_ACCOUNT
from tests.support.kubectl import OPERATOR_NAMESPACE

POLICY = MANIFESTS / "policy"
TENANT = "policy-test-tenant"
RIGHTS = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]},
    {
        "apiGroups": [""],
        "resources": ["pods/status", "pods/ephemeralcontainers", "pods/eviction"],
        "verbs": ["get", "create", "patch", "update"],
    },
]
"""All that a tenant can be given on Pods: the policy is for those who may do more than create Sandboxes."""


@pytest.fixture(scope="module")
def policy(operator: OperatorProcess) -> Iterator[None]:
    """The policy, in force from the first test that wants it to the end of this file."""
    kube = operator.kube
    was_there = bool(kube.items("validatingadmissionpolicies"))
    kube.run("apply", "-k", str(POLICY))
    probe = json.dumps(foreign_pod("probe", "default", {"sandmount.dev/sandbox": "probe"}))  # an administrator's
    dry = ("create", "--dry-run=server", "-f", "-")
    wait_until("the policy is in force", lambda: "only the operator" in fed(kube, probe, *dry).stderr, 60)
    yield
    if not was_there:
        kube.run("delete", "--ignore-not-found", "-k", str(POLICY))


@pytest.fixture
def target(sandboxes: Sandboxes, shared: Path) -> str:
    """Namespace of a Sandbox named target with a host volume, where the tenant has all rights on Pods."""
    give_rights(sandboxes.kube, sandboxes.namespace)
    (shared / "inside").mkdir(exist_ok=True)
    sandboxes.apply("target", host_volume(shared, subPath="inside"))
    sandboxes.wait_ready("target")
    return sandboxes.namespace


def give_rights(kube: Kube, namespace: str) -> None:
    """Gives the tenant the rights in this namespace."""
    about = {"name": "tenant", "namespace": namespace}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": about, "rules": RIGHTS}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": about,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": TENANT}],
    }
    kube.apply([role, binding])


def foreign_pod(name: str, namespace: str, labels: dict[str, str] | None = None, **spec: object) -> Json:
    """A Pod with a hostPath volume that no Sandbox asked for."""
    container = {
        "name": "c",
        "image": IMAGE,
        "command": ["sleep", "600"],
        "volumeMounts": [{"name": "h", "mountPath": "/h"}],
    }
    volumes = [{"name": "h", "hostPath": {"path": "/srv"}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1, **spec},
    }


def fed(kube: Kube, text: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl with the text as standard input; the caller looks at what came of it."""
    command = [str(kube.binary), f"--kubeconfig={kube.kubeconfig}", *args]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


Attack = Callable[[Kube, str, bool], subprocess.CompletedProcess[str]]
"""Kube, namespace and whether it is only tried."""


def patched(patch: Json, pod: str = "target", *more: str) -> Attack:
    """A merge patch of a Pod."""

    def attack(kube: Kube, namespace: str, dry: bool) -> subprocess.CompletedProcess[str]:
        args = ["patch", "pod", pod, "-n", namespace, f"--as={TENANT}", "--type=merge", "-p", json.dumps(patch), *more]
        return fed(kube, "", *args, *(["--dry-run=server"] if dry else []))

    return attack


def created(labels: dict[str, str]) -> Attack:
    """A Pod with a hostPath volume and these labels, made by somebody else."""

    def attack(kube: Kube, namespace: str, dry: bool) -> subprocess.CompletedProcess[str]:
        pod = json.dumps(foreign_pod("foreign", namespace, labels))
        return fed(kube, pod, "create", "-f", "-", f"--as={TENANT}", *(["--dry-run=server"] if dry else []))

    return attack


def raw(verb: str, rest: str, body: Callable[[Kube, str], Json] | None = None) -> Attack:
    """A request that kubectl has no words for; ``rest`` follows the Pods of the namespace."""

    def attack(kube: Kube, namespace: str, dry: bool) -> subprocess.CompletedProcess[str]:
        path = f"/api/v1/namespaces/{namespace}/pods{rest}"
        if dry:
            path += ("&" if "?" in path else "?") + "dryRun=All"
        sent = ["-f", "-"] if body else []
        return fed(
            kube, json.dumps(body(kube, namespace)) if body else "", verb, "--raw", path, *sent, f"--as={TENANT}"
        )

    return attack


def debugged(pod: str = "target", **container: object) -> Attack:
    """An ephemeral container."""

    def body(kube: Kube, namespace: str) -> Json:
        found = kube.get("pod", pod, namespace)
        found["spec"]["ephemeralContainers"] = [{"name": "debug", "image": IMAGE, "command": ["true"], **container}]
        return found

    return raw("replace", f"/{pod}/ephemeralcontainers", body)


def evicted(pod: str = "target", seconds: int | None = None, version: str = "policy/v1") -> Attack:
    """An eviction."""

    def body(_: Kube, namespace: str) -> Json:
        options = {"deleteOptions": {"gracePeriodSeconds": seconds}} if seconds is not None else {}
        about = {"name": pod, "namespace": namespace}
        return {"apiVersion": version, "kind": "Eviction", "metadata": about, **options}

    return raw("create", f"/{pod}/eviction", body)


def labels(**changes: str | None) -> Json:
    """A patch of labels sandmount.dev/..."""
    return {"metadata": {"labels": {f"sandmount.dev/{k.replace('_', '-')}": v for k, v in changes.items()}}}


MOUNTS_IT = debugged(volumeMounts=[{"name": "data", "mountPath": "/host"}])
SYS_ADMIN = {"capabilities": {"add": ["SYS_ADMIN"]}}

ATTACKS: dict[str, tuple[Attack, str]] = {
    "a Pod with our label": (created({"sandmount.dev/sandbox": "target"}), "only the operator of Sandmount creates"),
    "our label on another's Pod": (patched(labels(sandbox="x"), "neighbour"), "tell the operator"),
    "another label of ours on our Pod": (patched(labels(extra="x")), "tell the operator"),
    "another value of our label": (patched(labels(sandbox="x")), "tell the operator"),
    "our label taken off": (patched(labels(sandbox=None)), "tell the operator"),
    "the uid's label taken off": (patched(labels(sandbox_uid=None)), "tell the operator"),
    "all labels taken off": (patched({"metadata": {"labels": None}}), "tell the operator"),
    "our label taken off by way of the status": (
        patched(labels(sandbox=None), "target", "--subresource=status"),
        "tell the operator",
    ),
    "the annotation changed": (
        patched({"metadata": {"annotations": {"sandmount.dev/built-from": "x"}}}),
        "written by the operator",
    ),
    "the annotation taken off by way of the status": (
        patched({"metadata": {"annotations": {"sandmount.dev/built-from": None}}}, "target", "--subresource=status"),
        "written by the operator",
    ),
    "no owner": (patched({"metadata": {"ownerReferences": None}}), "ownerReferences of a Sandbox's Pod"),
    "another container mounts it": (MOUNTS_IT, "an ephemeral container cannot mount a host volume"),
    "another container is privileged": (debugged(securityContext={"privileged": True}), "cannot be privileged"),
    "another container has a capability": (debugged(securityContext=SYS_ADMIN), "cannot be privileged"),
    "deleted in an hour": (raw("delete", "/target?gracePeriodSeconds=3600"), "at most 30 seconds to end"),
    "all deleted in an hour": (raw("delete", "?gracePeriodSeconds=3600"), "at most 30 seconds to end"),
    "deleted in 31 seconds": (raw("delete", "/target?gracePeriodSeconds=31"), "at most 30 seconds to end"),
    "evicted in an hour": (evicted(seconds=3600), "an eviction with deleteOptions.gracePeriodSeconds above 30"),
    "evicted in an hour, as of old": (
        evicted(seconds=3600, version="policy/v1beta1"),
        "an eviction with deleteOptions.gracePeriodSeconds above 30",
    ),
}


@pytest.fixture
def neighbour(kube: Kube, namespace: str) -> None:
    """A Pod with a hostPath volume that is not ours and has no label of ours; it runs nowhere."""
    kube.apply(foreign_pod("neighbour", namespace, nodeSelector={"no-such": "node"}))


@pytest.mark.without_policy("shows what it is good for")
@pytest.mark.usefixtures("neighbour")
def test_without_the_policy_every_attack_is_possible(kube: Kube, target: str) -> None:
    assert not kube.items("validatingadmissionpolicybindings"), "this test has to be the first"
    for name, (attack, _) in ATTACKS.items():
        done = attack(kube, target, True)
        assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.mark.usefixtures("neighbour", "policy")
def test_with_the_policy_every_attack_is_refused_with_a_reason(kube: Kube, target: str) -> None:
    before = kube.get("pod", "target", target)
    for name, (attack, words) in ATTACKS.items():
        done = attack(kube, target, False)
        assert done.returncode != 0, f"{name}: {done.stdout}"
        assert words in " ".join(done.stderr.split()), f"{name}: {done.stderr}"
        assert "(Forbidden)" in done.stderr, f"{name}: {done.stderr}"
    after = kube.get("pod", "target", target)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]
    assert after["spec"] == before["spec"]
    for key in ("labels", "annotations", "ownerReferences"):
        assert after["metadata"][key] == before["metadata"][key]
    assert kube.find("pod", "foreign", target) is None


HARMLESS: dict[str, Attack] = {
    "a label of somebody's own": patched({"metadata": {"labels": {"team": "a"}}}),
    "an annotation of somebody's own": patched({"metadata": {"annotations": {"note": "x"}}}),
    "the status": patched(
        {"status": {"conditions": [{"type": "example.com/gate", "status": "True"}]}}, "target", "--subresource=status"
    ),
    "a container that looks on": debugged(),
    "a container that traces": debugged(securityContext={"capabilities": {"add": ["SYS_PTRACE"]}}),
    "deleted in its own time": raw("delete", "/target"),
    "deleted in 30 seconds": raw("delete", "/target?gracePeriodSeconds=30"),
    "deleted at once": raw("delete", "/target?gracePeriodSeconds=0"),
    "evicted in its own time": evicted(),
    "evicted in 30 seconds": evicted(seconds=30),
    "a Pod of somebody's own": created({"app": "x"}),
    "another label of ours without the one that counts": patched(labels(extra="x"), "neighbour"),
    "another's Pod deleted in an hour": raw("delete", "/neighbour?gracePeriodSeconds=3600"),
    "another's Pod debugged as its owner likes": debugged(
        "neighbour", volumeMounts=[{"name": "h", "mountPath": "/h"}], securityContext={"privileged": True}
    ),
    "no owner of another's": patched({"metadata": {"ownerReferences": None}}, "neighbour"),
}


@pytest.mark.usefixtures("neighbour", "policy")
def test_the_policy_lets_everything_else_pass(kube: Kube, target: str) -> None:
    for name, attack in HARMLESS.items():
        done = attack(kube, target, True)
        assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.mark.usefixtures("policy")
def test_a_pod_with_our_label_and_without_host_volumes_is_anybody_s(kube: Kube, target: str) -> None:
    pod = foreign_pod("plain", target, {"sandmount.dev/sandbox": "plain"}, volumes=[{"name": "h", "emptyDir": {}}])
    done = fed(kube, json.dumps(pod), "create", "-f", "-", f"--as={TENANT}", "--dry-run=server")
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("policy")
def test_long_evictions_are_left_to_those_who_drain_nodes(kube: Kube, target: str) -> None:
    assert evicted(seconds=3600)(kube, target, True).returncode != 0
    path = f"/api/v1/namespaces/{target}/pods/target/eviction?dryRun=All"
    about = {"name": "target", "namespace": target}
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": about,
        "deleteOptions": {"gracePeriodSeconds": 3600},
    }
    assert fed(kube, json.dumps(body), "create", "--raw", path, "-f", "-").returncode == 0


@pytest.mark.usefixtures("policy")
def test_the_life_of_a_sandbox_is_as_it_was(sandboxes: Sandboxes, kube: Kube, shared: Path, target: str) -> None:
    # It was made Ready under the policy: created by the operator, scheduled, and its status written by the kubelet.
    uid = uid_of(kube, target)
    node = kube.get("pod", "target", target)["spec"]["nodeName"]
    try:
        kube.run("drain", node, "--force", "--pod-selector=sandmount.dev/sandbox=target", "--timeout=60s", seconds=90)
    finally:
        kube.run("uncordon", node)
    wait_until("the drained Pod is gone", lambda: uid_of(kube, target) != uid, 60)
    sandboxes.wait_ready("target")
    sandboxes.apply("target", host_volume(shared), env=[{"name": "A", "value": "b"}])  # replaced
    sandboxes.wait_ready("target")
    sandboxes.delete("target", "--cascade=orphan")  # the collector takes the owner reference, the operator the Pod
    wait_until("the Pod of no Sandbox is gone", lambda: kube.find("pod", "target", target) is None, 60)
    sandboxes.apply("target", host_volume(shared))
    sandboxes.wait_ready("target")
    kube.set_allowlist("none")
    wait_until("the Pod is revoked", lambda: kube.find("pod", "target", target) is None, 60)
    kube.set_allowlist(f"- {shared}\n")
    sandboxes.wait_ready("target")
    sandboxes.delete("target")
    wait_until("the Pod is collected", lambda: kube.find("pod", "target", target) is None, 60)


@pytest.mark.usefixtures("policy")
def test_a_namespace_with_sandboxes_can_be_deleted(kube: Kube, sandboxes: Sandboxes, shared: Path) -> None:
    doomed = f"{sandboxes.namespace}-doomed"
    kube.make_namespace(doomed)
    inside = replace(sandboxes, namespace=doomed)
    inside.apply("target", host_volume(shared))
    inside.wait_ready("target")
    kube.run("delete", "namespace", doomed, seconds=120)


@pytest.mark.usefixtures("policy")
def test_the_expressions_pass_the_api_server_s_type_check_and_name_the_operator_s_account(
    kube: Kube, operator: OperatorProcess
) -> None:
    assert operator.pid
    account = f"'system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}'"
    found = wait_until("they are checked", lambda: checked_policies(kube), 60)
    for policy in found:
        assert not policy["status"]["typeChecking"].get("expressionWarnings"), policy["status"]
        assert all(v["message"] and v["reason"] == "Forbidden" for v in policy["spec"]["validations"])
    assert account in json.dumps(found)
    given = yaml.safe_load((MANIFESTS / "base" / "serviceaccount.yaml").read_text())["metadata"]
    assert (given["namespace"], given["name"]) == (OPERATOR_NAMESPACE, SERVICE_ACCOUNT)


def uid_of(kube: Kube, namespace: str) -> str:
    """The uid of the target's Pod; nothing when there is none."""
    found = kube.find("pod", "target", namespace)
    return str(found["metadata"]["uid"]) if found else ""


def checked_policies(kube: Kube) -> list[Json] | None:
    """The two policies, once the API server has looked at their expressions."""
    names = ("pods.sandmount.dev", "evictions.sandmount.dev")
    found = [kube.get("validatingadmissionpolicy", name) for name in names]
    return found if all("typeChecking" in p.get("status", {}) for p in found) else None
