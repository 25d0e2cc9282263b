"""What becomes of a spec: which fields exist, which get a default, and that nothing else changes on the way in."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kubernetes.client import ApiException

from tests.api import schema
from tests.api.conftest import Sandboxes
from tests.api.sandboxes import SIBLINGS, Json, complete, place, spec

DEFAULTS = {"imagePullPolicy": "IfNotPresent", "restartPolicy": "Always", "terminationGracePeriodSeconds": 10}

EVERY_FIELD: Json = {
    "image": "ubuntu",
    "imagePullPolicy": "Never",
    "imagePullSecrets": [{"name": "regcred"}],
    "entrypoint": ["python", "train.py"],
    "workingDir": "/work",
    "env": [
        {"name": "A", "value": "b"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": False}}},
        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ],
    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"containerPort": 53}],
    "resources": {"requests": {"cpu": "100m", "nvidia.com/gpu": 1}, "limits": {"memory": "1Gi", "nvidia.com/gpu": 1}},
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 2000,
        "supplementalGroups": [2000],
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
    },
    "runtimeClassName": "gvisor",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60},
        {"key": "spot", "operator": "Exists"},
    ],
    "restartPolicy": "OnFailure",
    "terminationGracePeriodSeconds": 0,
    "readinessProbe": {
        "httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTPS"},
        "initialDelaySeconds": 1,
        "periodSeconds": 5,
        "timeoutSeconds": 2,
        "successThreshold": 1,
        "failureThreshold": 6,
    },
    "timeoutSeconds": 3600,
    "expiresAt": "2026-12-01T00:00:00+02:00",
    "expiryPolicy": "Delete",
    "paused": True,
    "volumes": [
        {
            "name": "data",
            "host": {"path": "/data/shared"},
            "mountPath": "/mnt/data",
            "readOnly": True,
            "subPath": "datasets/train",
        },
        {"name": "cache", "pvc": {"claimName": "cache"}, "mountPath": "/cache"},
        {"name": "fast", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}, "mountPath": "/fast"},
        {"name": "scratch", "emptyDir": {}, "mountPath": "/scratch", "readOnly": False},
    ],
}

OTHER_PROBES = ({"tcpSocket": {"port": 1}}, {"exec": {"command": ["true"]}})

OUT_OF_REACH = """
    spec.template spec.podTemplate spec.serviceAccountName spec.automountServiceAccountToken spec.nodeName
    spec.hostNetwork spec.hostPID spec.hostIPC spec.hostUsers spec.hostAliases spec.affinity spec.labels
    spec.initContainers spec.containers spec.envFrom spec.lifecycle spec.livenessProbe spec.schedulerName
    spec.priorityClassName spec.resourceClaims spec.volumeDevices spec.resources.claims
    spec.securityContext.privileged spec.securityContext.capabilities spec.securityContext.procMount
    spec.securityContext.allowPrivilegeEscalation spec.securityContext.seccompProfile spec.securityContext.sysctls
    spec.securityContext.seLinuxOptions spec.securityContext.appArmorProfile spec.ports[].hostPort
    spec.ports[].hostIP spec.env[].valueFrom.fileKeyRef spec.env[].valueFrom.resourceFieldRef.containerName
    spec.readinessProbe.grpc spec.readinessProbe.httpGet.host spec.readinessProbe.httpGet.httpHeaders
    spec.readinessProbe.tcpSocket.host spec.volumes[].hostPath spec.volumes[].subPathExpr
    spec.volumes[].mountPropagation spec.volumes[].recursiveReadOnly spec.volumes[].csi spec.volumes[].secret
    spec.volumes[].projected spec.volumes[].host.type spec.volumes[].pvc.readOnly
"""
"""Fields of Pods and containers that no Sandbox may set."""

NO_SUCH_FIELDS = """
    spec.command spec.args spec.nope spec.ttlSeconds spec.expires spec.suspend
    spec.imagePullSecrets[].nope spec.env[].nope spec.env[].valueFrom.secretKeyRef.nope spec.ports[].nope
    spec.env[].valueFrom.configMapKeyRef.nope spec.env[].valueFrom.fieldRef.apiVersion spec.tolerations[].nope
    spec.readinessProbe.exec.nope spec.volumes[].emptyDir.nope spec.volumes[].path
"""
"""What a hand may slip to."""

MAPS = ("spec.nodeSelector", "spec.resources.requests", "spec.resources.limits")

ITEMS_THAT_ARE_NOT_OBJECTS: dict[str, object] = {
    "spec.entrypoint[]": "a",
    "spec.securityContext.supplementalGroups[]": 1,
    "spec.readinessProbe.exec.command[]": "a",
}
ITEMS = [path for path, _ in schema.nodes(schema.root()) if path.startswith("spec") and path.endswith("[]")]


def test_a_small_spec_gets_three_defaults_and_nothing_else(sandboxes: Sandboxes) -> None:
    assert sandboxes.try_create(spec(image="busybox"))["spec"] == {"image": "busybox"} | DEFAULTS


def test_a_spec_with_every_field_is_stored_as_it_was_sent(sandboxes: Sandboxes) -> None:
    assert sandboxes.try_create(spec(**EVERY_FIELD))["spec"] == EVERY_FIELD


def test_the_spec_with_every_field_has_every_field_of_the_schema() -> None:
    written = set(_fields(EVERY_FIELD, "spec")).union(
        *(_fields(probe, "spec.readinessProbe") for probe in OTHER_PROBES)
    )
    known = {path for path, _ in schema.nodes(schema.root()) if path.startswith("spec") and path[-1] not in "]}"}

    assert written == known


@pytest.mark.parametrize("probe", OTHER_PROBES, ids=json.dumps)
def test_a_probe_is_stored_as_it_was_sent(sandboxes: Sandboxes, probe: Json) -> None:
    assert sandboxes.try_create(spec(readinessProbe=probe))["spec"]["readinessProbe"] == probe


@pytest.mark.parametrize("path", ITEMS)
def test_a_list_item_gets_no_default(sandboxes: Sandboxes, path: str) -> None:
    sent = place(path, complete(path) if path in SIBLINGS else ITEMS_THAT_ARE_NOT_OBJECTS[path])

    assert sandboxes.try_create(sent)["spec"] == sent["spec"] | DEFAULTS


def test_null_is_the_same_as_not_written(sandboxes: Sandboxes) -> None:
    """So that a template may leave a field empty."""
    sent = spec(image="busybox", entrypoint=None, env=[{"name": "A", "value": None}], restartPolicy=None, volumes=None)

    assert sandboxes.try_create(sent)["spec"] == {"image": "busybox", "env": [{"name": "A"}]} | DEFAULTS


def test_an_empty_entrypoint_is_kept_apart_from_none(sandboxes: Sandboxes) -> None:
    assert sandboxes.try_create(spec(image="busybox", entrypoint=[]))["spec"]["entrypoint"] == []


@pytest.mark.parametrize("path", [*OUT_OF_REACH.split(), *NO_SUCH_FIELDS.split()])
def test_a_field_that_does_not_exist_is_refused_by_name(sandboxes: Sandboxes, path: str) -> None:
    with pytest.raises(ApiException) as caught:
        sandboxes.try_create(place(path, {}))

    assert caught.value.status == 400
    assert f'unknown field "{path.replace("[]", "[0]")}"' in json.loads(caught.value.body)["message"]


@pytest.mark.parametrize("path", [*OUT_OF_REACH.split(), *NO_SUCH_FIELDS.split()])
def test_a_field_that_does_not_exist_is_dropped_when_the_client_asks_for_no_check(
    sandboxes: Sandboxes, path: str
) -> None:
    created = sandboxes.try_create(place(path, "anything"), unknown_fields="Ignore")

    assert "anything" not in json.dumps(created["spec"])


@pytest.mark.parametrize("part", ["spec", "spec.volumes", "spec.volumes[]", "spec.env", "spec.resources"])
@pytest.mark.parametrize("value", [1, "text", True, [[]]], ids=json.dumps)
def test_a_value_of_another_type_is_refused(sandboxes: Sandboxes, part: str, value: object) -> None:
    with pytest.raises(ApiException) as caught:
        sandboxes.try_create(place(part, value))

    assert caught.value.status in (400, 422)


def test_the_schema_keeps_no_unknown_fields_and_has_defaults_only_where_it_should() -> None:
    defaults: Json = {}
    for path, node in schema.nodes(schema.root()):
        assert "x-kubernetes-preserve-unknown-fields" not in node, path
        assert "x-kubernetes-embedded-resource" not in node, path
        assert not node.get("nullable"), path
        defaults |= {path: node["default"]} if "default" in node else {}

    expected: Json = {f"spec.{name}": value for name, value in DEFAULTS.items()}
    assert defaults == expected | {"status": {"observedGeneration": -1}}


def test_every_list_says_how_it_merges_and_every_field_what_it_means() -> None:
    for path, node in schema.nodes(schema.root()):
        assert node.get("type") != "array" or "x-kubernetes-list-type" in node, path
        if not path.startswith("metadata") and not path.endswith(("[]", "{}")):
            assert node.get("description", "").endswith("."), path


def _fields(value: object, path: str) -> Iterator[str]:
    """The paths of all fields in a value; keys of maps are data, not fields."""
    if isinstance(value, list):
        for item in value:
            yield from (field for field in _fields(item, path + "[]") if not field.endswith("[]"))
    else:
        yield path
        if isinstance(value, dict) and path not in MAPS:
            for name, child in value.items():
                yield path + "." + name
                yield from _fields(child, f"{path}.{name}")
