"""What a user, a pipeline and the API server see of one Sandbox: Ready, two writes, columns, a confined Pod."""

import json
from datetime import timedelta
from functools import partial
from pathlib import Path

from sandmount.known import QUIET_SECONDS
from tests.cluster import Cluster
from tests.support import Kube, OperatorProcess, wait_until
from tests.support.audit import AuditLog
from tests.support.fixtures import USER, Recorder, Sandboxes, host_volume
from tests.support.kubectl import condition_of

RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


def test_kubectl_wait_returns_when_the_container_runs(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    sandboxes.apply("waited", host_volume(shared))
    kube.run("wait", "--for=condition=Ready", "sbx/waited", "-n", sandboxes.namespace, "--timeout=60s")
    pod = sandboxes.pod("waited")
    assert pod is not None
    assert "running" in pod["status"]["containerStatuses"][0]["state"]
    assert sandboxes.sh("waited", "id -u") == (0, f"{USER}\n")


def test_a_sandbox_that_is_ready_within_two_seconds_costs_two_writes(
    sandboxes: Sandboxes, cluster: Cluster, shared: Path, record_property: Recorder
) -> None:
    """A busy machine may need longer for one; each that was quick counts, and there must be five."""
    quick: dict[str, list[str]] = {}
    for name in [f"try-{number}" for number in range(25)]:
        log = AuditLog.of(cluster)
        sandboxes.apply(name, host_volume(shared))
        sandboxes.wait_ready(name)
        writes = log.writes(sandboxes.namespace)
        if writes[-1].at - writes[0].at < timedelta(seconds=QUIET_SECONDS):
            quick[name] = [f"{w.verb} {w.what}" for w in writes]
        if len(quick) == 5:
            break
    record_property("API writes by the operator, by Sandbox that was Ready within two seconds", json.dumps(quick))
    assert list(quick.values()) == [["create pods", "patch sandboxes/status"]] * 5
    events = sandboxes.kube.items("events", "-n", sandboxes.namespace)
    assert not [e for e in events if e["involvedObject"]["kind"] == "Sandbox"]


def test_a_sandbox_carries_nothing_of_the_operator_but_its_status(sandboxes: Sandboxes, shared: Path) -> None:
    wanted = sandboxes.manifest("clean", host_volume(shared))
    sandboxes.kube.apply(wanted)
    found = sandboxes.wait_ready("clean")
    assert "annotations" not in found["metadata"] and "finalizers" not in found["metadata"]
    defaults = {"imagePullPolicy": "IfNotPresent", "restartPolicy": "Always", "terminationGracePeriodSeconds": 10}
    assert found["spec"] == {**wanted["spec"], **defaults}


def test_everything_but_the_host_path_satisfies_pod_security_restricted(
    sandboxes: Sandboxes, kube: Kube, shared: Path
) -> None:
    kube.run("label", "namespace", sandboxes.namespace, RESTRICTED)
    context = {"runAsUser": USER, "runAsNonRoot": True}
    sandboxes.apply("cache", {"name": "c", "emptyDir": {}, "mountPath": "/cache"}, securityContext=context)
    sandboxes.apply("host", host_volume(shared), securityContext=context)
    sandboxes.wait_ready("cache")
    refused = sandboxes.wait_reason("host", "PodRefused")
    assert 'violates PodSecurity "restricted:latest"' in refused["message"]
    assert refused["message"].endswith('restricted volume types (volume "data" uses restricted volume type "hostPath")')


def test_columns_say_whether_it_is_up_where_and_why_not(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    sandboxes.apply("good", host_volume(shared))
    sandboxes.apply("bad", host_volume("/etc"))
    sandboxes.wait_ready("good")
    sandboxes.wait_reason("bad", "HostPathNotAllowed")
    lines = kube.run("get", "sbx", "-n", sandboxes.namespace, "-o", "wide").splitlines()
    assert lines[0].split() == [
        "NAME", "PHASE", "READY", "REASON", "NODE", "UNTIL", "AGE", "RESTARTS", "POD-IP", "MESSAGE",
    ]  # fmt: skip
    bad, good = (line.split() for line in lines[1:])
    assert bad[:4] == ["bad", "Failed", "False", "HostPathNotAllowed"] and "is not on the allowlist" in lines[1]
    assert good[:4] == ["good", "Running", "True", "PodReady"] and good[6].count(".") == 3


def test_a_changed_spec_replaces_the_pod_and_a_label_does_not(sandboxes: Sandboxes, kube: Kube, shared: Path) -> None:
    sandboxes.apply("changed", host_volume(shared))
    sandboxes.wait_ready("changed")
    first = sandboxes.pod("changed")
    kube.run("label", "sbx", "changed", "-n", sandboxes.namespace, "a=b")
    sandboxes.apply("changed", host_volume(shared), env=[{"name": "A", "value": "new"}])
    sandboxes.wait_ready("changed")
    second = sandboxes.pod("changed")
    assert first and second and first["metadata"]["uid"] != second["metadata"]["uid"]
    assert "a" not in second["metadata"]["labels"]
    assert sandboxes.sh("changed", "echo $A") == (0, "new\n")
    kube.run("label", "sbx", "changed", "-n", sandboxes.namespace, "a=c", "--overwrite")
    sandboxes.apply("other")
    sandboxes.wait_ready("other")
    third = sandboxes.pod("changed")
    assert third and third["metadata"]["uid"] == second["metadata"]["uid"]


def test_a_sandbox_that_runs_to_its_end_is_finished_and_stays_so(sandboxes: Sandboxes, kube: Kube) -> None:
    sandboxes.apply("job", entrypoint=["true"], restartPolicy="Never")
    finished = sandboxes.wait_reason("job", "Completed", kind="Finished")
    assert finished["status"] == "True"
    assert condition_of(sandboxes.get("job"), "Ready") is None
    kube.delete("pod", "job", sandboxes.namespace)
    sandboxes.apply("job", entrypoint=["sleep", "1000"], restartPolicy="Never")
    sandboxes.wait_reason("job", "Completed", kind="Finished")
    assert sandboxes.pod("job") is None


def test_a_sandbox_whose_pod_failed_is_stalled_until_its_spec_changes(sandboxes: Sandboxes) -> None:
    sandboxes.apply("fails", entrypoint=["sh", "-c", "exit 3"], restartPolicy="Never")
    stalled = sandboxes.wait_reason("fails", "PodFailed", kind="Stalled")
    assert "exit code 3" in stalled["message"]
    sandboxes.apply("fails", entrypoint=["sleep", "1000"], restartPolicy="Never")
    sandboxes.wait_ready("fails")


def test_a_pod_of_somebody_else_with_the_name_is_left_alone_and_named(sandboxes: Sandboxes, kube: Kube) -> None:
    container = {"name": "c", "image": "busybox:stable", "command": ["sleep", "1000"]}
    metadata = {"name": "taken", "namespace": sandboxes.namespace}
    foreign = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    kube.apply(foreign)
    uid = kube.get("pod", "taken", sandboxes.namespace)["metadata"]["uid"]
    sandboxes.apply("taken")
    said = sandboxes.wait_reason("taken", "PodNameTaken")
    assert said["message"].startswith('a Pod named "taken" exists and belongs to nobody; rename the Sandbox')
    assert kube.get("pod", "taken", sandboxes.namespace)["metadata"]["uid"] == uid
    events = kube.items("events", "-n", sandboxes.namespace, "--field-selector=reason=PodNameTaken")
    assert len(events) == 1 and events[0]["type"] == "Warning"
    kube.run("delete", "pod", "taken", "-n", sandboxes.namespace, "--now")
    sandboxes.wait_ready("taken", seconds=60)


def test_secrets_and_runtime_classes_need_the_admin_s_setting(sandboxes: Sandboxes) -> None:
    secret = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    sandboxes.apply("secret", env=[secret])
    sandboxes.apply("runtime", runtimeClassName="gvisor")
    assert "--secret-refs=allow" in sandboxes.wait_reason("secret", "SecretRefNotAllowed")["message"]
    assert "allowed here: none" in sandboxes.wait_reason("runtime", "RuntimeClassNotAllowed")["message"]


def test_deleting_a_sandbox_deletes_its_pod_in_each_way(sandboxes: Sandboxes, shared: Path) -> None:
    for name, how in (("bg", "--cascade=background"), ("fg", "--cascade=foreground")):
        sandboxes.apply(name, host_volume(shared))
        sandboxes.wait_ready(name)
        sandboxes.delete(name, how)
        wait_until(f"the Pod of {name} is gone", partial(has_no_pod, sandboxes, name), 30)


def has_no_pod(sandboxes: Sandboxes, name: str) -> bool:
    return sandboxes.pod(name) is None


def test_the_operator_logged_no_traceback(operator: OperatorProcess) -> None:
    assert "Traceback" not in operator.log.read_text()
