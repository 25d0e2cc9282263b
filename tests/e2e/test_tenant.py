"""The example of a tenant's namespace, applied by kustomize, with a user of its group and the operator at work."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster import Cluster
from tests.cluster.kubectl import SANDBOXES
from tests.e2e.webhook import fed
from tests.support import Json, Kube, wait_until
from tests.support.fixtures import Sandboxes, host_volume
from tests.support.installation import MANIFESTS, REPOSITORY
from tests.support.kubectl import NotInTimeError

TENANT = MANIFESTS / "tenant"
DOCUMENT = (REPOSITORY / "docs" / "install.md").read_text().partition("\n## Tenants\n")[2].partition("\n## ")[0]
ENFORCE = "pod-security.kubernetes.io/enforce"

QUOTA_SECONDS = 90.0
"""The controller of quotas asks every 30 seconds which kinds there are."""


def documented(language: str) -> str:
    """The one block of that language below "Tenants"."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    return str(found)


@dataclass(frozen=True)
class Tenant:
    """A namespace made of the example, and a user of its group."""

    sandboxes: Sandboxes
    user: tuple[str, ...]
    """kubectl's options to be that user."""

    @property
    def where(self) -> tuple[str, ...]:
        """kubectl's options to be that user, in the namespace."""
        return ("-n", self.sandboxes.namespace, *self.user)

    def apply(self, item: Json) -> subprocess.CompletedProcess[str]:
        """Apply as that user."""
        return fed(self.sandboxes.kube, item, "apply", *self.user)


def is_counted(kube: Kube, name: str, namespace: str) -> bool:
    """Whether this quota knows how many Sandboxes there are; until then it refuses all of them."""
    return f"count/{SANDBOXES}" in kube.get("resourcequota", name, namespace).get("status", {}).get("used", {})


def quotas_count(kube: Kube, namespace: str) -> bool:
    """Whether a new quota is counted: one that was made before the CRD was noticed is left alone for five minutes."""
    kube.run("create", "quota", "probe", f"--hard=count/{SANDBOXES}=1", "-n", namespace)
    try:
        wait_until("it is counted", lambda: is_counted(kube, "probe", namespace), 3)
    except NotInTimeError:
        return False
    finally:
        kube.delete("resourcequota", "probe", namespace)
    return True


@pytest.fixture
def tenant(sandboxes: Sandboxes, kube: Kube, tmp_path: Path) -> Tenant:
    """By the kustomization in the document, with this test's namespace as the team's."""
    wait_until("quotas count Sandboxes", lambda: quotas_count(kube, sandboxes.namespace), QUOTA_SECONDS)
    here, example = sandboxes.namespace, os.path.relpath(TENANT, tmp_path.resolve())
    text = documented("yaml").replace("manifests/tenant", example).replace("team-b", here)
    (tmp_path / "kustomization.yaml").write_text(text)
    said = kube.run("apply", "--server-side", "--force-conflicts", "-k", str(tmp_path))
    assert len(said.splitlines()) == len(list(TENANT.glob("*.yaml"))) - 1  # an object in each
    user = ("--as=alice", "--as-group=group-b", "--as-group=system:authenticated")
    ask = ("auth", "can-i", "create", SANDBOXES, "-n", here, *user)
    wait_until("the user has the role", lambda: kube.try_run(*ask).returncode == 0, 10)

    wait_until("the quota is counted", lambda: is_counted(kube, "sandboxes", here), 30)
    return Tenant(sandboxes, user)


def test_a_sandbox_with_a_host_volume_runs_for_a_user_of_the_group_with_the_limits_of_the_namespace(
    tenant: Tenant, shared: Path
) -> None:
    sandboxes = tenant.sandboxes
    done = tenant.apply(sandboxes.manifest("own", host_volume(shared)))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    sandboxes.wait_ready("own")
    assert sandboxes.sh("own", "echo written > /mnt/data/file")[0] == 0
    assert (shared / "file").read_text() == "written\n"
    pod = sandboxes.pod("own")
    assert pod is not None
    [container] = pod["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "256Mi"},
        "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "4Gi"},
    }


def test_the_user_cannot_create_a_pod_nor_change_what_the_namespace_is(tenant: Tenant, kube: Kube) -> None:
    metadata = {"name": "own", "namespace": tenant.sandboxes.namespace}
    container = {"name": "c", "image": "busybox:stable", "command": ["sleep", "1000"]}
    done = tenant.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
    assert done.returncode != 0
    assert "forbidden" in done.stderr.lower()
    of_pods = ("pods", "pods/exec", "pods/ephemeralcontainers", "deployments.apps", "jobs.batch")
    of_the_namespace = ("resourcequotas", "limitranges", "rolebindings", "networkpolicies")
    for resource in (*of_pods, *of_the_namespace):
        for verb in ("create", "update", "patch", "delete"):
            assert kube.try_run("auth", "can-i", verb, resource, *tenant.where).stdout.strip() == "no", resource
    change = ("--overwrite", f"{ENFORCE}=privileged")
    assert kube.try_run("label", "namespace", tenant.sandboxes.namespace, *change, *tenant.user).returncode != 0


def test_a_sandbox_above_the_quota_says_so_and_starts_when_there_is_room(tenant: Tenant, kube: Kube) -> None:
    sandboxes = tenant.sandboxes
    for name in ("first", "second"):
        assert tenant.apply(sandboxes.manifest(name)).returncode == 0
        sandboxes.wait_ready(name)
    assert tenant.apply(sandboxes.manifest("third")).returncode == 0
    found = sandboxes.wait_reason("third", "PodRefused")
    words = "exceeded quota: sandboxes, requested: pods=1, used: pods=2, limited: pods=2"
    assert found["message"] == f'pods "third" is forbidden: {words}'
    shown = kube.run("get", "sbx", "third", "-o", "wide", *tenant.where)
    assert "PodRefused" in shown and words in shown

    kube.run("patch", "sbx", "first", *tenant.where, "--type=merge", "-p", '{"spec":{"paused":true}}')
    sandboxes.wait_ready("third")
    kube.run("delete", "sbx", "second", *tenant.where, seconds=60)
    kube.run("patch", "sbx", "first", *tenant.where, "--type=merge", "-p", '{"spec":{"paused":false}}')
    sandboxes.wait_ready("first")


def test_a_sandbox_that_asks_for_more_than_there_is_names_what_it_asked_for(tenant: Tenant) -> None:
    much = {"requests": {"memory": "20Gi"}, "limits": {"memory": "20Gi"}}
    assert tenant.apply(tenant.sandboxes.manifest("much", resources=much)).returncode == 0
    message = tenant.sandboxes.wait_reason("much", "PodRefused")["message"]
    assert "exceeded quota: sandboxes, requested: requests.memory=20Gi, used: requests.memory=0, limited: " in message

    # The default limit is below that request.
    assert tenant.apply(tenant.sandboxes.manifest("half", resources={"requests": {"memory": "2Gi"}})).returncode == 0
    message = tenant.sandboxes.wait_reason("half", "PodRefused")["message"]
    assert "must be less than or equal to memory limit" in message


def test_more_sandboxes_than_the_quota_has_are_refused_at_apply(tenant: Tenant, kube: Kube) -> None:
    here = tenant.sandboxes.namespace
    change = f'{{"spec":{{"hard":{{"count/{SANDBOXES}":"1"}}}}}}'
    kube.run("patch", "resourcequota", "sandboxes", "-n", here, "--type=merge", "-p", change)
    limit = ("resourcequota", "sandboxes", here)
    wait_until("it counts", lambda: kube.get(*limit)["status"]["hard"][f"count/{SANDBOXES}"] == "1", 30)
    assert tenant.apply(tenant.sandboxes.manifest("one", paused=True)).returncode == 0
    done = tenant.apply(tenant.sandboxes.manifest("two", paused=True))
    assert done.returncode != 0
    assert f"exceeded quota: sandboxes, requested: count/{SANDBOXES}=1, used: count/{SANDBOXES}=1" in done.stderr


def test_without_the_defaults_a_quota_refuses_sandboxes_that_name_no_resources(tenant: Tenant, kube: Kube) -> None:
    kube.delete("limitrange", "sandboxes", tenant.sandboxes.namespace)
    assert tenant.apply(tenant.sandboxes.manifest("plain")).returncode == 0
    message = tenant.sandboxes.wait_reason("plain", "PodRefused")["message"]
    assert "must specify limits.cpu for: " in message


def test_what_a_limitrange_s_default_refuses_is_tried_again_when_the_sandbox_is_touched(
    sandboxes: Sandboxes, kube: Kube
) -> None:
    limits = {"type": "Container", "default": {"memory": "16Mi"}}
    metadata = {"name": "small", "namespace": sandboxes.namespace}
    kube.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": [limits]}})
    sandboxes.apply("large", resources={"requests": {"memory": "32Mi"}})
    refused = sandboxes.wait_reason("large", "PodRefused", "Stalled")
    assert "must be less than or equal to memory limit" in refused["message"]
    kube.delete("limitrange", "small", sandboxes.namespace)
    kube.run("label", SANDBOXES, "large", "-n", sandboxes.namespace, "touched=yes")
    sandboxes.wait_ready("large")


def test_under_baseline_a_host_volume_is_refused_and_a_sandbox_without_one_runs(
    tenant: Tenant, kube: Kube, shared: Path
) -> None:
    sandboxes = tenant.sandboxes
    kube.run("label", "namespace", sandboxes.namespace, "--overwrite", f"{ENFORCE}=baseline")
    assert tenant.apply(sandboxes.manifest("host", host_volume(shared))).returncode == 0
    refused = sandboxes.wait_reason("host", "PodRefused")
    assert refused["message"] == (
        'pods "host" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes (volume "data")'
    )
    cache = {"name": "cache", "emptyDir": {}, "mountPath": "/cache"}
    as_root = {"runAsUser": 0}
    assert tenant.apply(sandboxes.manifest("plain", cache, securityContext=as_root)).returncode == 0
    sandboxes.wait_ready("plain")


@pytest.fixture
def team_a(cluster: Cluster, kube: Kube) -> Iterator[dict[str, str]]:
    """Environment of a shell whose kubectl is an admin's; the example's namespace is removed afterwards."""
    assert kube.find("namespace", "team-a") is None, "the cluster has a namespace team-a, which this would change"
    path = f"{cluster.kubectl.parent}:{os.environ['PATH']}"
    yield {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)}
    kube.delete("namespace", "team-a")


def test_the_documented_commands_make_the_example_and_a_second_apply_changes_nothing(
    team_a: dict[str, str], kube: Kube
) -> None:
    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", command], cwd=REPOSITORY, env=team_a, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        return done.stdout

    first = documented("console")
    run(first)
    assert kube.try_run("auth", "can-i", "list", SANDBOXES, "-n", "team-a", "--as=alice").returncode == 0
    assert kube.try_run("auth", "can-i", "create", SANDBOXES, "-n", "team-a", "--as=alice").returncode != 0
    again = run(first.splitlines()[0]).splitlines()
    assert again and all(line.endswith(" unchanged") for line in again)
    made = [o for o in yaml.safe_load_all(kube.run("kustomize", str(TENANT))) if o["kind"] != "Namespace"]
    assert {o["metadata"]["namespace"] for o in made} == {"team-a"}
