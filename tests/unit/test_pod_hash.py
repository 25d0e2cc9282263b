"""What a Pod was built from: equal for what is equal, another when the spec or a grant is another."""

from dataclasses import replace
from typing import Any

import pytest

from sandmount.allowlist import Grant
from sandmount.pod import build_pod, built_from, same_spec
from tests.unit.builders import host, spec

GRANT = Grant("data", "/data", "shared", False)


def test_equal_input_gives_an_equal_hash() -> None:
    one = built_from(spec(volumes=[host()], nodeSelector={"a": "1", "b": "2"}), [GRANT])
    other = built_from(spec(nodeSelector={"b": "2", "a": "1"}, volumes=[host()]), (replace(GRANT),))
    assert one == other
    assert same_spec(one, other)


CHANGES: list[dict[str, Any]] = [
    {"image": "debian"},
    {"imagePullPolicy": "Always"},
    {"imagePullSecrets": [{"name": "s"}]},
    {"entrypoint": []},
    {"entrypoint": ["a"]},
    {"entrypoint": ["a", ""]},
    {"workingDir": "/w"},
    {"env": [{"name": "A"}]},
    {"env": [{"name": "A", "value": ""}]},
    {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]},
    {"ports": [{"containerPort": 80}]},
    {"ports": [{"containerPort": 80, "protocol": "UDP"}]},
    {"resources": {"limits": {"cpu": "1"}}},
    {"resources": {"requests": {"cpu": "1"}}},
    {"securityContext": {"runAsUser": 0}},
    {"securityContext": {"runAsNonRoot": False}},
    {"runtimeClassName": "gvisor"},
    {"nodeSelector": {"a": "b"}},
    {"tolerations": [{"key": "a"}]},
    {"tolerations": [{"key": "a", "operator": "Exists"}]},
    {"restartPolicy": "Never"},
    {"terminationGracePeriodSeconds": 0},
    {"readinessProbe": {"tcpSocket": {"port": 80}}},
    {"readinessProbe": {"tcpSocket": {"port": "http"}}},
    {"volumes": [host()]},
    {"volumes": [host("/data/other")]},
    {"volumes": [host(mountPath="/elsewhere")]},
    {"volumes": [host(subPath="x")]},
    {"volumes": [host(readOnly=True)]},
    {"volumes": [{"name": "data", "mountPath": "/mnt/data", "emptyDir": {}}]},
    {"volumes": [{"name": "data", "mountPath": "/mnt/data", "emptyDir": {"medium": "Memory"}}]},
]


def test_every_change_of_the_spec_gives_another_hash() -> None:
    hashes = [built_from(spec(**fields), ()) for fields in [{}, *CHANGES]]
    assert len(set(hashes)) == len(hashes)
    assert not any(same_spec(hashes[0], other) for other in hashes[1:])


@pytest.mark.parametrize(
    "other",
    [
        (),
        (GRANT, GRANT),
        (replace(GRANT, volume="other"),),
        (replace(GRANT, root="/data/shared"),),
        (replace(GRANT, sub_path=""),),
        (replace(GRANT, read_only=True),),
    ],
)
def test_every_change_of_a_grant_gives_another_hash_of_the_same_spec(other: tuple[Grant, ...]) -> None:
    wanted = spec(volumes=[host()])
    before, after = built_from(wanted, (GRANT,)), built_from(wanted, other)
    assert before != after
    assert same_spec(before, after)


@pytest.mark.parametrize(
    ("left_out", "written"),
    [
        (
            {},
            {
                "imagePullPolicy": "IfNotPresent",
                "imagePullSecrets": [],
                "entrypoint": None,
                "workingDir": None,
                "env": [],
                "ports": [],
                "resources": {"requests": {}, "limits": {}},
                "securityContext": {"supplementalGroups": [], "runAsUser": None},
                "runtimeClassName": None,
                "nodeSelector": {},
                "tolerations": [],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 10,
                "readinessProbe": None,
                "volumes": [],
            },
        ),
        ({"resources": {}}, {"resources": {"limits": {}}}),
        ({"ports": [{"containerPort": 80}]}, {"ports": [{"containerPort": 80, "protocol": "TCP", "name": None}]}),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "a", "operator": "Equal", "value": None}]}),
        ({"env": [{"name": "A"}]}, {"env": [{"name": "A", "value": None, "valueFrom": None}]}),
        ({"volumes": [host()]}, {"volumes": [host(readOnly=False, subPath=None, pvc=None, emptyDir=None)]}),
        (
            {"volumes": [{"name": "e", "mountPath": "/e", "emptyDir": {}}]},
            {"volumes": [{"name": "e", "mountPath": "/e", "emptyDir": {"medium": "", "sizeLimit": None}}]},
        ),
        (
            {"readinessProbe": {"httpGet": {"port": 80}}},
            {"readinessProbe": {"httpGet": {"port": 80, "scheme": "HTTP", "path": None}, "exec": None}},
        ),
    ],
)
def test_defaults_written_out_give_the_hash_of_defaults_left_out(left_out: Any, written: Any) -> None:
    assert built_from(spec(**left_out), ()) == built_from(spec(**written), ())


def test_the_hash_is_the_same_in_every_process_and_version() -> None:
    """A change of this value would rebuild every Pod of every cluster when the operator is updated."""
    wanted = spec(volumes=[host(readOnly=True)], entrypoint=["a"], env=[{"name": "A", "value": "é"}])
    assert built_from(wanted, (GRANT,)) == (
        "f3ecddaa7713ec5aefac6d4727bab4b54357b1304ca9c9c2758623e662197e80."
        "383d41553829c7daabc28160e45ab7d669e7bc8504e63d22c1750e9fca017894"
    )
    assert built_from(spec(), ()) == (
        "45acb6cb38132f25c853f11b86875224b11c0a6b461886136884aa697063361b."
        "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
    )


@pytest.mark.parametrize("value", ["", "nonsense", "."])
def test_a_pod_without_our_annotation_has_another_spec(value: str) -> None:
    assert not same_spec(value, built_from(spec(), ()))


def test_the_nodes_of_a_grant_count_and_a_grant_without_nodes_is_as_before_there_were_any() -> None:
    wanted = spec(volumes=[host()])
    hashes = {
        built_from(wanted, (replace(GRANT, nodes=nodes),))
        for nodes in ((), (("a", "1"),), (("a", "2"),), (("a", "1"), ("b", "")))
    }
    assert len(hashes) == 4
    assert built_from(wanted, (GRANT,)).endswith("383d41553829c7daabc28160e45ab7d669e7bc8504e63d22c1750e9fca017894")


FULL: dict[str, Any] = {
    "imagePullPolicy": "Always",
    "imagePullSecrets": [{"name": "regcred"}],
    "entrypoint": ["python", "train.py"],
    "workingDir": "/work",
    "env": [{"name": "A", "value": "b"}, {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    "ports": [{"name": "http", "containerPort": 8080}],
    "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
    "securityContext": {
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "supplementalGroups": [2000],
        "fsGroup": 2000,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": False,
    },
    "runtimeClassName": "gvisor",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 30,
    "readinessProbe": {"httpGet": {"port": "http"}, "timeoutSeconds": 60},
    "volumes": [
        {"name": "data", "host": {"path": "/data/shared"}, "mountPath": "/mnt/data", "readOnly": True},
        {"name": "cache", "pvc": {"claimName": "cache"}, "mountPath": "/cache"},
    ],
}
ON_FAST = Grant("data", "/data", "shared", True, (("disk", "fast"),))
FULL_HASH = (
    "aaf6d21dd7be3bd1854960d609cfb1c4892bd258e18b8625edbebd55866ddd27."
    "5276f7e6defbea148319c35f6083437b31cbc24bd74064ba2efd638279537a88"
)
"""Computed with the operator before it had a lifecycle (commit 0888126)."""


def test_an_update_to_an_operator_with_a_lifecycle_rebuilds_no_pod() -> None:
    assert built_from(spec(**FULL), (ON_FAST,)) == FULL_HASH
    assert built_from(spec(), ()) == (
        "45acb6cb38132f25c853f11b86875224b11c0a6b461886136884aa697063361b."
        "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"timeoutSeconds": 60},
        {"expiresAt": "2026-12-01T00:00:00Z"},
        {"expiryPolicy": "Delete"},
        {"expiryPolicy": "Retain"},
        {"paused": True},
        {"timeoutSeconds": 60, "expiresAt": "2026-12-01T00:00:00.5+01:00", "expiryPolicy": "Delete", "paused": True},
    ],
)
def test_no_field_of_the_lifecycle_rebuilds_a_pod(fields: dict[str, Any]) -> None:
    assert built_from(spec(**FULL, **fields), (ON_FAST,)) == FULL_HASH
    assert built_from(spec(**fields), ()) == built_from(spec(), ())


def test_a_probes_own_timeout_is_none_of_the_lifecycles() -> None:
    probes = [{"tcpSocket": {"port": 80}, **more} for more in ({}, {"timeoutSeconds": 60}, {"timeoutSeconds": 61})]
    assert len({built_from(spec(readinessProbe=probe), ()) for probe in probes}) == 3


def test_the_node_that_a_pod_is_kept_to_is_none_of_what_it_is_built_from() -> None:
    wanted = spec(volumes=[host()])
    annotations = [build_pod("ns", "n", "u", wanted, (GRANT,), name)["metadata"] for name in (None, "node-1", "node-2")]
    assert annotations[0] == annotations[1] == annotations[2]
