"""The Helm chart: it renders to the objects of the manifests, and its values are checked."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.program import program
from tests.support import Json, Kube
from tests.support.installation import MANIFESTS, REPOSITORY
from tests.support.kubectl import OPERATOR_NAMESPACE

CHART = REPOSITORY / "charts" / "sandmount"
BASE: Json = {
    "admission": "Off",
    "policy": False,
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": None, "memory": "512Mi"}},
}
EXTRAS = {"monitoring": "monitoring", "dashboard": "grafana"}
"""What the chart adds by a value, and the component of the manifests that does the same."""


@pytest.fixture(scope="module")
def helm() -> Path:
    """The program."""
    return program()


def render(helm: Path, values: Json, namespace: str = OPERATOR_NAMESPACE) -> subprocess.CompletedProcess[str]:
    """What `helm template` prints."""
    argv = [str(helm), "template", "sandmount", str(CHART), "-n", namespace, "--kube-version=1.36.0", "-f", "-"]
    return subprocess.run(argv, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=60)


def objects(text: str) -> dict[tuple[str, str], Json]:
    """By kind and name, with what has no order of its own in one order."""
    found = {}
    for item in yaml.safe_load_all(text):
        if item:
            found[item["kind"], item["metadata"]["name"]] = item
            if item["kind"] == "Deployment":
                [container] = item["spec"]["template"]["spec"]["containers"]
                for field in ("env", "ports"):
                    container[field].sort(key=lambda e: e["name"])
    return found


def rendered(helm: Path, values: Json, namespace: str = OPERATOR_NAMESPACE) -> dict[tuple[str, str], Json]:
    """The objects that the chart makes of these values."""
    done = render(helm, values, namespace)
    assert done.returncode == 0, done.stderr
    return objects(done.stdout)


@pytest.mark.parametrize(("folder", "values"), [("overlays/production", {}), (".", BASE)])
def test_the_chart_renders_to_the_objects_of_the_manifests(kube: Kube, helm: Path, folder: str, values: Json) -> None:
    """But for the namespace, which Helm makes; and for [], which the chart always takes for nothing."""
    wanted = objects(kube.run("kustomize", str(MANIFESTS / folder)))
    del wanted["Namespace", OPERATOR_NAMESPACE]
    found = rendered(helm, values)
    if folder == ".":
        [container] = found["Deployment", "sandmount-operator"]["spec"]["template"]["spec"]["containers"]
        container["env"].remove({"name": "SANDMOUNT_EMPTY_ALLOWLIST", "value": "deny"})
    assert found.keys() == wanted.keys()
    for key, item in wanted.items():
        assert found[key] == item, key


def test_with_cert_manager_it_renders_to_the_production_overlay_with_that_component(
    kube: Kube, helm: Path, tmp_path: Path
) -> None:
    overlay = yaml.safe_load((MANIFESTS / "overlays" / "production" / "kustomization.yaml").read_text())
    overlay["components"] = ["../../webhook-cert-manager"]  # as the comment there says
    for field in ("resources", "components"):
        found = [(MANIFESTS / "overlays" / "production" / part).resolve() for part in overlay[field]]
        overlay[field] = [os.path.relpath(part, tmp_path.resolve()) for part in found]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    wanted = objects(kube.run("kustomize", str(tmp_path)))
    del wanted["Namespace", OPERATOR_NAMESPACE]
    assert rendered(helm, {"certManager": True}) == wanted
    assert ("Certificate", "sandmount-webhook") in wanted


def test_monitoring_and_dashboard_are_those_of_the_components(kube: Kube, helm: Path, tmp_path: Path) -> None:
    parts = [
        os.path.relpath(MANIFESTS / name, tmp_path.resolve()) for name in ("overlays/production", *EXTRAS.values())
    ]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": parts[:1], "components": parts[1:]}))
    wanted = objects(kube.run("kustomize", str(tmp_path)))
    found = rendered(helm, {value: {"enabled": True} for value in EXTRAS})
    kinds = ("ServiceMonitor", "PrometheusRule", "ConfigMap")
    extras = [{key: item for key, item in all_.items() if key[0] in kinds} for all_ in (wanted, found)]
    assert extras[0] == extras[1]
    assert [kind for kind, _ in sorted(extras[0])] == sorted(kinds)


@pytest.mark.parametrize("namespace", ["elsewhere", "123"])
def test_every_namespace_is_the_release_s(helm: Path, namespace: str) -> None:
    extras = {"monitoring": {"enabled": True}, "dashboard": {"enabled": True}, "certManager": True}
    values = {**extras, "allowedHostPaths": ["/srv"]}
    text = render(helm, values, namespace).stdout
    assert "sandmount-system" not in text
    found = objects(text)
    assert {o["metadata"].get("namespace", namespace) for o in found.values()} == {namespace}
    assert {s["namespace"] for o in found.values() for s in o.get("subjects", ())} == {namespace}


@pytest.mark.parametrize(
    ("values", "data", "empty"),
    [
        ({}, None, "deny"),
        ({"allowedHostPaths": []}, {"allowed_host_paths": "none"}, "deny"),
        ({"allowAllHostPaths": True}, {"allowed_host_paths": "[]"}, "allow"),
    ],
)
def test_every_path_is_allowed_only_when_that_is_said(helm: Path, values: Json, data: Any, empty: str) -> None:
    found = rendered(helm, values)
    config_map = found.get(("ConfigMap", "sandmount-host-paths"))
    assert (config_map and config_map["data"]) == data
    assert config_map is None or config_map["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    [container] = found["Deployment", "sandmount-operator"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "SANDMOUNT_EMPTY_ALLOWLIST", "value": empty} in container["env"]


def test_a_list_is_written_as_it_was_given(helm: Path) -> None:
    entries = ["/srv/a", {"path": "/srv/b", "readOnly": True, "namespaces": ["ci-*"]}]
    data = rendered(helm, {"allowedHostPaths": entries})["ConfigMap", "sandmount-host-paths"]["data"]
    assert yaml.safe_load(data["allowed_host_paths"]) == entries


def test_settings_reach_the_operator(helm: Path) -> None:
    values = {
        "admission": "Warn", "onRevoke": "Warn", "secretRefs": "allow", "runtimeClasses": ["gvisor", "kata"],
        "workers": 4, "logFormat": "text", "verbose": True, "image": {"repository": "example/sandmount", "tag": "7"},
        "nodeSelector": {"pool": "system"}, "priorityClassName": "system-cluster-critical",
    }  # fmt: skip
    pod = rendered(helm, values)["Deployment", "sandmount-operator"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    found = {e["name"]: e.get("value") for e in container["env"]}
    del found["NAMESPACE"]
    assert found == {
        "SANDMOUNT_ADMISSION": "Warn", "SANDMOUNT_EMPTY_ALLOWLIST": "deny", "SANDMOUNT_LOG_FORMAT": "text",
        "SANDMOUNT_ON_REVOKE": "Warn", "SANDMOUNT_RUNTIME_CLASSES": "gvisor,kata", "SANDMOUNT_SECRET_REFS": "allow",
        "SANDMOUNT_VERBOSE": "true", "SANDMOUNT_WORKERS": "4",
    }  # fmt: skip
    assert (container["image"], pod["nodeSelector"]) == ("example/sandmount:7", {"pool": "system"})
    assert pod["priorityClassName"] == "system-cluster-critical"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"allowAllHostPaths": "true"}, "allowAllHostPaths"),
        ({"allowAllHostPaths": True, "allowedHostPaths": ["/srv"]}, "keep one of them"),
        ({"allowAllHostPaths": True, "allowedHostPaths": []}, "keep one of them"),
        ({"admission": None}, "admission"),
        ({"certManager": "yes"}, "certManager"),
        ({"policy": None}, "policy"),  # Helm takes null for "no default", so a key without a value would switch it off
        ({"networkPolicy": {"enabled": None}}, "enabled"),
        ({"networkPolicy": None}, "networkPolicy"),
        ({"allowAllHostPaths": None}, "allowAllHostPaths"),
        ({"allowedHostPaths": ["srv"]}, "allowedHostPaths"),
        ({"allowedHostPaths": ["/"]}, "allowedHostPaths"),
        ({"allowedHostPaths": [{"path": "/srv", "readonly": True}]}, "allowedHostPaths"),
        ({"workers": 0}, "workers"),
        ({"admission": "deny"}, "admission"),
        ({"admission": True}, "admission"),
        ({"replicas": 2}, "replicas"),
        ({"dashboard": {"enabled": "yes"}}, "dashboard"),
        ({"dashboard": True}, "dashboard"),
    ],
)
def test_a_value_that_is_wrong_is_refused_and_named(helm: Path, values: Json, words: str) -> None:
    done = render(helm, values)
    assert done.returncode != 0
    assert words in done.stderr


def test_helm_finds_nothing_to_say_against_it(helm: Path) -> None:
    done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("admission", [False, "Off"])
def test_off_without_quotes_is_off_too(helm: Path, admission: bool | str) -> None:
    """YAML takes it for false."""
    found = rendered(helm, {"admission": admission})
    assert not [kind for kind, _ in found if kind == "ValidatingWebhookConfiguration"]
    [container] = found["Deployment", "sandmount-operator"]["spec"]["template"]["spec"]["containers"]
    assert "SANDMOUNT_ADMISSION" not in {e["name"] for e in container["env"]}


def test_prometheus_finds_the_objects_by_labels_of_one_s_own(helm: Path) -> None:
    found = rendered(helm, {"monitoring": {"enabled": True, "labels": {"release": "prometheus"}}})
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert found[kind, "sandmount-operator"]["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.parametrize("nobody", [[], None])
def test_nobody_who_may_read_the_metrics_is_nobody(helm: Path, nobody: Any) -> None:
    """An empty `from` of a NetworkPolicy is everybody."""
    found = rendered(helm, {"networkPolicy": {"metricsFrom": nobody}})
    [rule] = found["NetworkPolicy", "sandmount-operator"]["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [9443]
