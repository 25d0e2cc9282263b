"""The manifests as an admin applies them: the API server takes them, and removing them removes no Sandbox."""

import re
from pathlib import Path

import pytest
import yaml

from tests.e2e import webhook
from tests.support import Json, Kube, OperatorProcess
from tests.support.fixtures import Sandboxes
from tests.support.installation import CRDS, MANIFESTS


def rendered(kube: Kube, folder: Path) -> list[Json]:
    """The objects of a kustomization."""
    return list(yaml.safe_load_all(kube.run("kustomize", str(folder))))


@pytest.mark.parametrize("folder", [".", "overlays/development", "overlays/production"])
def test_the_api_server_takes_the_manifests_with_the_deployment(kube: Kube, folder: str) -> None:
    said = kube.run("apply", "--dry-run=server", "-k", str(MANIFESTS / folder))
    assert re.search(r"deployment.apps/sandmount-operator (created|configured) \(server dry run\)", said)
    assert "Warning" not in said  # of Pod Security: the operator's own namespace is "restricted"


@pytest.mark.parametrize(("overlay", "empty"), [("development", "allow"), ("production", "deny")])
def test_an_overlay_says_what_an_empty_list_means(kube: Kube, overlay: str, empty: str) -> None:
    [deployment] = [o for o in rendered(kube, MANIFESTS / "overlays" / overlay) if o["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert {e["name"]: e.get("value") for e in container["env"]}["SANDMOUNT_EMPTY_ALLOWLIST"] == empty


def test_grafana_s_sidecar_finds_the_dashboard_by_its_label_and_reads_the_file_as_it_is(
    kube: Kube, tmp_path: Path
) -> None:
    [found] = [o for o in yaml.safe_load_all(webhook.rendered(kube, tmp_path, "grafana")) if o["kind"] == "ConfigMap"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["data"] == {"sandmount.json": (MANIFESTS / "grafana" / "sandmount.json").read_text()}
    assert webhook.fed(kube, found, "apply", "--dry-run=server").returncode == 0


def test_the_crd_is_applied_on_its_own_so_that_removing_the_operator_removes_no_sandbox(kube: Kube) -> None:
    assert [o["kind"] for o in rendered(kube, CRDS)] == ["CustomResourceDefinition"]
    kinds = {o["kind"] for o in rendered(kube, MANIFESTS)}
    assert not kinds & {"CustomResourceDefinition", "Sandbox"}


def test_a_second_apply_changes_nothing(kube: Kube) -> None:
    for folder in (CRDS, MANIFESTS):
        kube.run("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", str(folder))
    assert kube.try_run("diff", "--server-side", "--force-conflicts", "-k", str(CRDS)).returncode == 0


def test_the_operator_s_rights_have_no_wildcard_no_secrets_and_no_exec(kube: Kube) -> None:
    rules = [r for o in rendered(kube, MANIFESTS) if o["kind"] in ("ClusterRole", "Role") for r in o["rules"]]
    assert rules
    for rule in rules:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "pods/exec", "pods/ephemeralcontainers"} & set(rule["resources"])
        assert "nodes" not in rule["resources"] or rule["verbs"] == ["get"]
        if "configmaps" in rule["resources"]:
            assert rule["resourceNames"] == ["sandmount-host-paths"]


def test_sandboxes_outlive_the_operator_s_manifests(
    sandboxes: Sandboxes, kube: Kube, operator: OperatorProcess
) -> None:
    sandboxes.apply("stays")
    uid = sandboxes.wait_ready("stays")["metadata"]["uid"]
    operator.stop()
    try:
        kube.run("delete", "--ignore-not-found", "-k", str(MANIFESTS), seconds=120)
        assert sandboxes.get("stays")["metadata"]["uid"] == uid
        pod = sandboxes.pod("stays")
        assert pod is not None and pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    finally:
        operator.install()
        operator.start()
        operator.wait_until_working()
    sandboxes.wait_ready("stays")
