"""build_pod: whole Pods, compared with literals."""

from copy import deepcopy
from typing import Any

import pytest

from sandmount.allowlist import Grant
from sandmount.observe import parse_pod
from sandmount.pod import build_pod, built_from, labels
from tests.unit.builders import NAME, NAMESPACE, UID, Json, host, spec

KEEP_ALIVE = ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"]
LINUX = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
            ]
        }
    }
}


def built(*grants: Grant, **fields: Any) -> dict[str, Any]:
    return build_pod(NAMESPACE, NAME, UID, spec(**fields), grants)


def metadata(built_from: str) -> dict[str, Any]:
    return {
        "name": "training",
        "namespace": "team-a",
        "labels": {
            "app.kubernetes.io/name": "sandbox",
            "app.kubernetes.io/instance": "training",
            "app.kubernetes.io/managed-by": "sandmount",
            "sandmount.dev/sandbox": "training",
            "sandmount.dev/sandbox-uid": "sandbox-uid",
        },
        "annotations": {"sandmount.dev/built-from": built_from},
        "ownerReferences": [
            {
                "apiVersion": "sandmount.dev/v1alpha1",
                "kind": "Sandbox",
                "name": "training",
                "uid": "sandbox-uid",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def pod_spec(volumes: list[Any], mounts: list[Any], **more: Any) -> dict[str, Any]:
    """The spec of a Pod of which only the volumes are interesting."""
    container = {
        "name": "sandbox",
        "image": "ubuntu",
        "imagePullPolicy": "IfNotPresent",
        "command": KEEP_ALIVE,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }
    return {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 10,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": volumes,
        **more,
    }


def test_the_smallest_sandbox_gives_this_pod() -> None:
    assert built() == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(built_from(spec(), ())),
        "spec": pod_spec([], []),
    }


def test_a_sandbox_with_everything_set_gives_this_pod() -> None:
    everything = spec(
        image="registry.example/tool:1.2",
        imagePullPolicy="Always",
        imagePullSecrets=[{"name": "regcred"}],
        entrypoint=["python", "train.py"],
        workingDir="/work",
        env=[
            {"name": "A", "value": "b"},
            {"name": "EMPTY", "value": ""},
            {"name": "UNSET"},
            {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}},
            {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
            {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        ],
        ports=[{"name": "http", "containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}],
        resources={"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi", "example.com/gpu": 1}},
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "supplementalGroups": [2000],
            "fsGroup": 2000,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": False,
        },
        runtimeClassName="gvisor",
        nodeSelector={"disk": "fast"},
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        restartPolicy="OnFailure",
        terminationGracePeriodSeconds=120,
        readinessProbe={"httpGet": {"port": 8080, "path": "/healthz"}, "periodSeconds": 5},
        volumes=[
            host("/data/shared", readOnly=True, subPath="datasets/train"),
            {"name": "cache", "mountPath": "/cache", "pvc": {"claimName": "cache"}, "subPath": "pip"},
            {"name": "tmp", "mountPath": "/scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
    )
    grants = [Grant("data", "/data", "shared/datasets/train", True)]
    assert build_pod(NAMESPACE, NAME, UID, everything, grants) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(built_from(everything, grants)),
        "spec": {
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 30,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "imagePullSecrets": [{"name": "regcred"}],
            "runtimeClassName": "gvisor",
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
            "affinity": LINUX,
            "securityContext": {
                "seccompProfile": {"type": "RuntimeDefault"},
                "supplementalGroups": [2000],
                "fsGroup": 2000,
            },
            "containers": [
                {
                    "name": "sandbox",
                    "image": "registry.example/tool:1.2",
                    "imagePullPolicy": "Always",
                    "command": ["python", "train.py"],
                    "workingDir": "/work",
                    "env": [
                        {"name": "A", "value": "b"},
                        {"name": "EMPTY", "value": ""},
                        {"name": "UNSET"},
                        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}},
                        {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
                        {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                        {"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
                    ],
                    "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}],
                    "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi", "example.com/gpu": 1}},
                    "readinessProbe": {"httpGet": {"port": 8080, "path": "/healthz"}, "periodSeconds": 5},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "runAsUser": 1000,
                        "runAsGroup": 1000,
                        "runAsNonRoot": True,
                        "readOnlyRootFilesystem": False,
                    },
                    "volumeMounts": [
                        {
                            "name": "data",
                            "mountPath": "/mnt/data",
                            "subPath": "shared/datasets/train",
                            "readOnly": True,
                            "recursiveReadOnly": "IfPossible",
                        },
                        {"name": "cache", "mountPath": "/cache", "subPath": "pip"},
                        {"name": "tmp", "mountPath": "/scratch"},
                    ],
                }
            ],
            "volumes": [
                {"name": "data", "hostPath": {"path": "/data", "type": "Directory"}},
                {"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}},
                {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            ],
        },
    }


@pytest.mark.parametrize(
    ("grant", "mount"),
    [
        (Grant("data", "/data/shared", "", False), {}),
        (Grant("data", "/data", "shared", False), {"subPath": "shared"}),
        (Grant("data", "/data/shared", "", True), {"readOnly": True, "recursiveReadOnly": "IfPossible"}),
        (
            Grant("data", "/data", "shared", True),
            {"subPath": "shared", "readOnly": True, "recursiveReadOnly": "IfPossible"},
        ),
    ],
)
def test_a_host_volume_is_its_root_as_host_path_on_a_linux_node(grant: Grant, mount: dict[str, Any]) -> None:
    assert built(grant, volumes=[host(readOnly=grant.read_only)])["spec"] == pod_spec(
        [{"name": "data", "hostPath": {"path": grant.root, "type": "Directory"}}],
        [{"name": "data", "mountPath": "/mnt/data", **mount}],
        affinity=LINUX,
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"pvc": {"claimName": "c"}}, {"persistentVolumeClaim": {"claimName": "c"}}),
        ({"emptyDir": {}}, {"emptyDir": {}}),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": 5}}, {"emptyDir": {"medium": "Memory", "sizeLimit": 5}}),
    ],
)
def test_other_volumes_are_passed_on_and_need_no_grant(source: dict[str, Any], expected: dict[str, Any]) -> None:
    volume = {"name": "v", "mountPath": "/v", **source, "readOnly": True, "subPath": "s"}
    mount = {"name": "v", "mountPath": "/v", "subPath": "s", "readOnly": True, "recursiveReadOnly": "IfPossible"}
    assert built(volumes=[volume])["spec"] == pod_spec([{"name": "v", **expected}], [mount])


@pytest.mark.parametrize(
    ("fields", "command"),
    [({}, KEEP_ALIVE), ({"entrypoint": []}, None), ({"entrypoint": ["a", "", "c"]}, ["a", "", "c"])],
)
def test_an_entrypoint_unset_keeps_alive_an_empty_one_is_the_images_own(fields: Any, command: list[str] | None) -> None:
    container = built(**fields)["spec"]["containers"][0]
    assert container.get("command") == command
    assert "args" not in container


@pytest.mark.parametrize("grants", [(), (Grant("other", "/data", "", False),)])
def test_a_host_volume_that_nobody_granted_is_a_key_error(grants: tuple[Grant, ...]) -> None:
    with pytest.raises(KeyError, match="data"):
        built(*grants, volumes=[host()])


def test_building_changes_neither_spec_nor_grants_and_shares_nothing_between_pods() -> None:
    wanted = spec(volumes=[host()], nodeSelector={"a": "b"}, resources={"limits": {"cpu": 1}}, entrypoint=["x"])
    grants = [Grant("data", "/data", "shared", False)]
    before = deepcopy((wanted, grants))
    first = build_pod(NAMESPACE, NAME, UID, wanted, grants)
    kept = deepcopy(first)
    second = build_pod(NAMESPACE, NAME, UID, wanted, grants)
    first["spec"]["nodeSelector"]["c"] = "d"
    first["spec"]["containers"][0]["command"].append("y")
    first["spec"]["containers"][0]["resources"]["limits"]["cpu"] = 2
    assert (wanted, grants) == before
    assert second == kept == build_pod(NAMESPACE, NAME, UID, wanted, grants)


def test_labels_name_the_sandbox_and_its_uid() -> None:
    assert labels(NAME, UID) == metadata("")["labels"]


def test_a_pod_always_has_a_second_to_end_so_that_it_is_never_forgotten_while_it_runs() -> None:
    made = build_pod("ns", "n", "u", spec(terminationGracePeriodSeconds=0), ())
    assert made["spec"]["terminationGracePeriodSeconds"] == 1


@pytest.mark.parametrize(("volumes", "given"), [([], 120), ([{"name": "c", "mountPath": "/c", "emptyDir": {}}], 120)])
def test_a_pod_without_host_volumes_has_the_time_to_end_that_it_asks_for(volumes: list[Json], given: int) -> None:
    made = build_pod("ns", "n", "u", spec(terminationGracePeriodSeconds=given, volumes=volumes), ())
    assert made["spec"]["terminationGracePeriodSeconds"] == given


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (1, 1), (30, 30), (31, 30), (300, 30)])
def test_a_pod_with_a_host_volume_ends_within_thirty_seconds_whoever_ends_it(asked: int, given: int) -> None:
    wanted = spec(terminationGracePeriodSeconds=asked, volumes=[host()])
    made = build_pod("ns", "n", "u", wanted, [Grant("data", "/data", "shared", False)])
    assert made["spec"]["terminationGracePeriodSeconds"] == given


def test_a_pod_goes_to_nodes_that_hold_all_of_its_roots_and_have_what_the_sandbox_selects() -> None:
    found = built(
        Grant("a", "/a", "", True, (("disk", "fast"), ("zone", "1"))),
        Grant("b", "/b", "", True, (("disk", "fast"), ("has-b", "true"))),
        volumes=[host("/a", "a", readOnly=True), host("/b", "b", readOnly=True)],
        nodeSelector={"disk": "own"},
    )["spec"]
    wanted = [("kubernetes.io/os", "linux"), ("disk", "fast"), ("has-b", "true"), ("zone", "1")]
    assert found["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": "In", "values": [value]} for key, value in wanted]}
        ]
    }
    assert found["nodeSelector"] == {"disk": "own"}


def test_a_pod_is_kept_to_the_node_that_has_its_host_directories() -> None:
    wanted = spec(volumes=[host()], nodeSelector={"disk": "own"})
    grants = [Grant("data", "/data", "shared", False, (("zone", "1"),))]
    free = build_pod(NAMESPACE, NAME, UID, wanted, grants)
    kept = build_pod(NAMESPACE, NAME, UID, wanted, grants, "node-1")
    assert kept["spec"]["affinity"] == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                            {"key": "zone", "operator": "In", "values": ["1"]},
                        ],
                        "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}],
                    }
                ]
            }
        }
    }
    assert {k: v for k, v in kept["spec"].items() if k != "affinity"} == {
        k: v for k, v in free["spec"].items() if k != "affinity"
    }
    assert "nodeName" not in kept["spec"]
    assert parse_pod({**kept, "metadata": {**kept["metadata"], "uid": "u", "resourceVersion": "1"}}).kept_to == "node-1"


@pytest.mark.parametrize("volumes", [[], [{"name": "e", "mountPath": "/e", "emptyDir": {}}]])
def test_a_pod_without_host_volumes_is_kept_nowhere(volumes: list[Json]) -> None:
    wanted = spec(volumes=volumes)
    assert build_pod(NAMESPACE, NAME, UID, wanted, [], "node-1") == build_pod(NAMESPACE, NAME, UID, wanted, [])


def test_no_deadline_and_no_pause_comes_into_a_pod() -> None:
    """A Pod's activeDeadlineSeconds can only be shortened, and moving a deadline renews a Sandbox."""
    fields = {"timeoutSeconds": 60, "expiresAt": "2026-12-01T00:00:00Z", "expiryPolicy": "Delete", "paused": True}
    assert built(**fields) == built()
